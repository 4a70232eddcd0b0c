#ifndef PNGW_STORAGE_VAULT_WRAP_H
#define PNGW_STORAGE_VAULT_WRAP_H

/*
 * A wrap: one generation of the vault's master key, sealed so that one secret opens it. A vault has
 * up to VAULT_SLOTS of them, each of which opens it alone.
 *
 * The secret S of a slot is a key file's KEY_SIZE bytes, or scrypt(passphrase, salt, 2^log_n, r,
 *p). private = HKDF(S, vault id, ctx("pngw vault wrap private", slot)), an X25519 private key
 *	sender  = HKDF(S, vault id, ctx("pngw vault wrap sender", slot))
 * Sealing a master M, with a new X25519 key e each time:
 *	context = ctx("pngw vault wrap", VAULT_WRAP_FORMAT, vault id, slot, generation, source)
 *	KEK     = HKDF(X25519(e, public) || sender, ephemeral || public, context)
 *	sealed  = ChaCha20-Poly1305(KEK, zero nonce, context || ctx(label, parameters), M)
 * with parameters = salt || log_n || r || p, and numbers in contexts as 4 bytes, big-endian.
 *
 * So a later master is sealed for a slot by whoever has the vault open, while its secret is away:
 * that takes the public key, which lies in the file, and sender, which the vault keeps sealed. Who
 * only writes to the file has no sender and cannot have a master of his own accepted; who once had
 * a master has no private key and cannot open the next.
 *
 * These functions touch no vault and share no state: they may run on any thread.
 */

#include "storage/vault.h"

#define VAULT_WRAP_FORMAT      2 /* the schema in which wraps appeared */
#define VAULT_SLOTS            8 /* numbered from 1 */
#define VAULT_LABEL_MAX        32
#define VAULT_ID_SIZE          16
#define VAULT_WRAP_SALT_SIZE   16
#define VAULT_WRAP_SEALED_SIZE 48 /* KEY_SIZE + P1_SEAL_OVERHEAD */

struct vault_wrap {
	uint8_t slot;
	enum vault_source source;
	uint32_t generation;
	char label[VAULT_LABEL_MAX + 1]; /* for people: which key file, whose passphrase */
	uint8_t public_key[KEY_SIZE];
	uint8_t salt[VAULT_WRAP_SALT_SIZE]; /* this and what follows: zero for a key file */
	uint8_t log_n;
	uint8_t r;
	uint8_t p;
	uint8_t ephemeral[KEY_SIZE];
	uint8_t sealed[VAULT_WRAP_SEALED_SIZE];
};

/*
 * A wrap to be: everything zero but slot, source, label and for a passphrase a random salt and
 * 2^15, 8, 1. -EINVAL for a slot out of 1..VAULT_SLOTS, an unknown source, or a label that is
 * empty, longer than VAULT_LABEL_MAX or not of printable ASCII.
 */
int vault_wrap_begin(struct vault_wrap *w, uint8_t slot, enum vault_source source,
		     const char *label);

/*
 * The secret S of an opener, a new reference in *out. For a passphrase the parameters of the wrap
 * are needed and it is slow: 0.15 s and 32 MiB for 2^15, 8, 1; more than 256 MiB is refused, so
 * that an altered row cannot exhaust the memory. For a key file parameters may be NULL. The opener
 * must be of the wrap's source. Returns 0, VAULT_KEY_FILE (no usable key file or passphrase),
 * VAULT_DAMAGED (parameters out of bounds) or a negative errno; why then holds one sentence.
 */
int vault_wrap_secret(const struct vault_opener *opener, const struct vault_wrap *parameters,
		      struct secret **out, char *why, size_t why_size);

/* The slot's keys; private_key and sender are new references. private_key may be NULL. */
int vault_wrap_keys(const struct secret *secret, const uint8_t vault_id[VAULT_ID_SIZE],
		    uint8_t slot, uint8_t public_key[KEY_SIZE], struct secret **private_key,
		    struct secret **sender);

/*
 * Seals master (KEY_SIZE bytes) for w, of which everything but ephemeral and sealed is set; these
 * are filled in. 0 or a negative errno (-EBADMSG: a public key that cannot be one).
 */
int vault_wrap_seal(struct vault_wrap *w, const uint8_t vault_id[VAULT_ID_SIZE],
		    const struct secret *sender, const struct secret *master);

/* 0 with a new reference in *master, P1_REFUSED when it does not open, or a negative errno. */
int vault_wrap_open(const struct vault_wrap *w, const uint8_t vault_id[VAULT_ID_SIZE],
		    const struct secret *secret, struct secret **master);

#endif
