#ifndef PNGW_PROTOCOL_P1_H
#define PNGW_PROTOCOL_P1_H

/*
 * Security profile P1: every formula of the project in one place, so that it can be replaced when
 * the text of OMA CPNS section 7 is at hand. HKDF and HMAC use SHA-256 (RFC 5869, RFC 2104).
 *
 * Functions return 0, a negative errno, or where stated a positive outcome. Results that are
 * secrets are new references, the caller's to drop; on any failure *out is untouched.
 */

#include "protocol/bytes.h"
#include "protocol/message.h"
#include "protocol/secret.h"

#define P1_PASSWORD_MAX              128     /* bytes of NFC UTF-8 */
#define P1_ITERATIONS_DEFAULT        600000U /* the server's policy */
#define P1_ITERATIONS_FLOOR          100000U /* a client's, unless configured otherwise */
#define P1_MAC_SIZE                  32
#define P1_WRAPPED_KEY_SIZE          40 /* RFC 3394 adds 8 bytes to a KEY_SIZE key */
#define P1_TEMPORARY_KEY_MIN         16
#define P1_TEMPORARY_KEY_MAX         64
#define P1_WRAPPED_TEMPORARY_KEY_MAX 80
#define P1_SEALED_PASSWORD_SIZE      145 /* 1 + P1_PASSWORD_MAX + 16 */
#define P1_EXPORTER_LABEL            "EXPORTER-CPNS-P1-gateway-key"

/*
 * Positive outcome: the bytes do not unwrap or open with this key. Nothing else is said on purpose.
 */
#define P1_REFUSED 1

/* size random bytes into out. */
int p1_random(uint8_t *out, size_t size);

/*
 * The concatenation ctx(...): each argument preceded by its length as 4 bytes, big-endian.
 * Begins with the label as its first argument, or empty where label is NULL. Adding more than fits
 * fails the context, and its later use returns -ENOBUFS.
 */
struct p1_context {
	uint8_t data[512];
	size_t size;
	bool overflow;
};
void p1_context_begin(struct p1_context *c, const char *label);
void p1_context_add(struct p1_context *c, struct bytes b);
/* An argument of 4 bytes, big-endian. */
void p1_context_add_index(struct p1_context *c, uint32_t index);

/*
 * A password as typed becomes the NFC UTF-8 that is hashed. -EINVAL: not UTF-8, empty, contains a
 * control character, or longer than P1_PASSWORD_MAX after normalisation.
 */
int p1_password(struct bytes typed, struct secret **out);

/*
 * PH = PBKDF2-HMAC-SHA-256(password, salt, iterations, 32). About 1.25 µs an iteration: never on an
 * event loop. Touches no shared state, so it may run on a worker thread.
 */
int p1_password_hash(const struct secret *password, const uint8_t salt[SALT_SIZE],
		     uint32_t iterations, struct secret **out);

/* As p1_password_hash() for a salt of any size: what published vectors are tested with. */
int p1_pbkdf2(const struct secret *password, struct bytes salt, uint32_t iterations,
	      struct secret **out);

/*
 * The salt that a request for an unknown user gets: stable for that name. HMAC(key, user)[0..15].
 */
int p1_unknown_salt(const struct secret *key, struct bytes user, uint8_t out[SALT_SIZE]);

/*
 * scrypt (RFC 7914) of 32 bytes with N = 2^log_n. It takes 128 * r * N bytes of memory (32 MiB for
 * 15, 8, 1) and about 0.15 s: never on an event loop, any thread. -ENOMEM where that much is not to
 * be had, -EINVAL for parameters that wolfCrypt does not take. The large table goes back to the
 * kernel, wolfCrypt's two blocks of 128 * r * p bytes are wiped before anybody else gets them.
 */
int p1_scrypt(const struct secret *password, struct bytes salt, uint8_t log_n, uint8_t r, uint8_t p,
	      struct secret **out);

/* HKDF(secret, salt, context) of out_size (<= 64) bytes. */
int p1_hkdf(const struct secret *secret, struct bytes salt, const struct p1_context *context,
	    size_t out_size, struct secret **out);

/* HMAC(HKDF(secret, "", derive), over). */
int p1_mac(const struct secret *secret, const struct p1_context *derive,
	   const struct p1_context *over, uint8_t out[P1_MAC_SIZE]);

/*
 * wrap(secret, salt, context, key): AES-256 key wrap (RFC 3394) of key under
 * HKDF(secret, salt, context). out has key size + 8 bytes. -EINVAL unless key is 16..72 bytes and a
 * multiple of 8.
 */
int p1_wrap(const struct secret *secret, struct bytes salt, const struct p1_context *context,
	    const struct secret *key, uint8_t *out);

/* The reverse. P1_REFUSED when the integrity check fails or the size cannot be right. */
int p1_unwrap(const struct secret *secret, struct bytes salt, const struct p1_context *context,
	      struct bytes wrapped, struct secret **out);

/* The same under a KEK of KEY_SIZE bytes itself: what RFC 3394's vectors are tested with. */
int p1_key_wrap(const struct secret *kek, const struct secret *key, uint8_t *out);
int p1_key_unwrap(const struct secret *kek, struct bytes wrapped, struct secret **out);

/* The contexts of the table in doc/protocol.md. */
enum p1_key_use {
	P1_EUKEY,       /* "CPNS P1 EUKey": Figures 5 and 8 */
	P1_KEK,         /* "CPNS P1 KEK": Figure 6 */
	P1_SET,         /* "CPNS P1 set": Figure 7 step 5, an EUKey */
	P1_NOTIFICATION /* "CPNS P1 notification": Figure 7 step 6 */
};
void p1_key_context(struct p1_context *c, enum p1_key_use use, struct bytes user,
		    struct bytes entity, uint32_t index);

/* ctx("CPNS P1 set", user, entity, "TK"). */
void p1_temporary_key_context(struct p1_context *c, struct bytes user, struct bytes entity);

/*
 * A Temporary Key of 16..64 bytes travels as its length in one byte, the key, and zeros up to a
 * multiple of 8, wrapped. out has P1_WRAPPED_TEMPORARY_KEY_MAX bytes, *out_size is what was used.
 */
int p1_wrap_temporary_key(const struct secret *secret, struct bytes salt, struct bytes user,
			  struct bytes entity, const struct secret *temporary_key, uint8_t *out,
			  size_t *out_size);
/* P1_REFUSED also when the padding is wrong. */
int p1_unwrap_temporary_key(const struct secret *secret, struct bytes salt, struct bytes user,
			    struct bytes entity, struct bytes wrapped, struct secret **out);

/*
 * A Temporary Key that is a printed passphrase:
 * PBKDF2(passphrase, ctx("CPNS P1 TK", entity), 100 000).
 */
int p1_stretch_temporary_key(const struct secret *passphrase, struct bytes entity,
			     struct secret **out);

/*
 * AuthData of a trigger or a request (Figure 6 steps 7 and 8):
 * HMAC(HKDF(PH, "", ctx("CPNS P1 auth", message name)), ctx(user, source, target, rand, id)).
 */
int p1_auth_data(const struct secret *ph, const char *message_name, struct bytes user,
		 struct bytes source, struct bytes target, struct bytes rand,
		 const struct message_id *id, uint8_t out[P1_MAC_SIZE]);

/*
 * Proof that the sender of message id holds the EUKey of that index; carried by HeldKey, by
 * receipts and by delivery reports:
 * HMAC(HKDF(EUKey, "", ctx("CPNS P1 held")), ctx(user, entity, index, id)).
 */
int p1_held_proof(const struct secret *eukey, struct bytes user, struct bytes entity,
		  uint32_t index, const struct message_id *id, uint8_t out[P1_MAC_SIZE]);

/*
 * What a PN GW shows to get further EUKeys for a PNE without its user: that it was given the EUKey
 * of that index. The label and the PN GW's Entity ID keep a PNE's receipt, which anybody on an
 * insecure PAN may record, from being one.
 * HMAC(HKDF(EUKey, "", ctx("CPNS P1 refill")), ctx(user, entity, index, id, gateway)).
 */
int p1_refill_proof(const struct secret *eukey, struct bytes user, struct bytes entity,
		    uint32_t index, const struct message_id *id, struct bytes gateway,
		    uint8_t out[P1_MAC_SIZE]);

/*
 * The right to reset a PNE, and the PNE's word that it has erased that EUKey. id is that of the
 * PNEResetRequest.
 * HMAC(HKDF(EUKey, "", ctx("CPNS P1 reset")), ctx(user, entity, index, id)); the confirmation's
 * label is "CPNS P1 reset done".
 */
int p1_reset_proof(const struct secret *eukey, struct bytes user, struct bytes entity,
		   uint32_t index, const struct message_id *id, uint8_t out[P1_MAC_SIZE]);
int p1_reset_confirmation(const struct secret *eukey, struct bytes user, struct bytes entity,
			  uint32_t index, const struct message_id *id, uint8_t out[P1_MAC_SIZE]);

/*
 * What two sides compare to see that they hold the same key without showing it; challenge is
 * chosen afresh by whoever compares.
 * First 8 bytes of
 * HMAC(HKDF(EUKey, "", ctx("CPNS P1 fingerprint")), ctx(challenge, user, entity, index)).
 */
#define P1_FINGERPRINT_SIZE 8
int p1_fingerprint(const struct secret *eukey, struct bytes challenge, struct bytes user,
		   struct bytes entity, uint32_t index, uint8_t out[P1_FINGERPRINT_SIZE]);

/*
 * Encrypted user-password: ChaCha20-Poly1305 (RFC 8439) under
 * HKDF(secret, rand, ctx("CPNS P1 password", user, binding...)), zero nonce: the key is used once.
 * An empty binding is left out of the context.
 * secret is the PN GW's key towards the server (binding empty) or the PAN's shared secret towards a
 * PNE (binding: both hellos, see pan/link.h). Plain text: length in one byte, password, zeros.
 */
int p1_seal_password(const struct secret *secret, struct bytes rand, struct bytes user,
		     struct bytes binding, const struct secret *password,
		     uint8_t out[P1_SEALED_PASSWORD_SIZE]);
int p1_open_password(const struct secret *secret, struct bytes rand, struct bytes user,
		     struct bytes binding, struct bytes sealed, struct secret **out);

/* Hash chain: the key below k. K[i-1] = HKDF(K[i], "", ctx("CPNS P1 chain")). */
int p1_chain_below(const struct secret *k, struct secret **out);

/* ChaCha20-Poly1305 with a 12-byte nonce, for records at rest. sealed has plain.size + 16 bytes. */
#define P1_SEAL_OVERHEAD 16
#define P1_NONCE_SIZE    12
int p1_seal(const struct secret *key, const uint8_t nonce[P1_NONCE_SIZE], struct bytes ad,
	    struct bytes plain, uint8_t *sealed);
/* plain has sealed.size - 16 bytes. P1_REFUSED when it does not open; plain is then wiped. */
int p1_open(const struct secret *key, const uint8_t nonce[P1_NONCE_SIZE], struct bytes ad,
	    struct bytes sealed, uint8_t *plain);

/* SHA-256 and HMAC-SHA-256 of things that are not secret. */
int p1_sha256(struct bytes data, uint8_t out[32]);
int p1_hmac(const struct secret *key, struct bytes data, uint8_t out[P1_MAC_SIZE]);

/*
 * SipHash-2-4 with 16 bytes of output (Aumasson and Bernstein, 2012): a keyed pseudo-random
 * function for short inputs, for what stands for a name in a file. One thirtieth of p1_hmac()'s
 * time, in a place where that would be half of a read. Not for what outlives its key or leaves its
 * file.
 */
#define P1_SIPHASH_SIZE 16
int p1_siphash(const uint8_t key[P1_SIPHASH_SIZE], struct bytes data, uint8_t out[P1_SIPHASH_SIZE]);

/* X25519 (RFC 7748). The private key is a secret of KEY_SIZE bytes. */
int p1_x25519_generate(struct secret **private_key, uint8_t public_key[KEY_SIZE]);
/* The public key of a private one that was derived, not generated. */
int p1_x25519_public(const struct secret *private_key, uint8_t public_key[KEY_SIZE]);
/* P1_REFUSED for a public key that gives the all-zero secret. */
int p1_x25519_shared(const struct secret *private_key, const uint8_t peer_public[KEY_SIZE],
		     struct secret **out);

/*
 * Ed25519 (RFC 8032). The private key is a secret of KEY_SIZE bytes; the public key given to sign
 * must be the one that belongs to it.
 */
#define P1_SIGNATURE_SIZE 64
int p1_ed25519_public(const struct secret *private_key, uint8_t out[KEY_SIZE]);
int p1_ed25519_sign(const struct secret *private_key, const uint8_t public_key[KEY_SIZE],
		    struct bytes message, uint8_t signature[P1_SIGNATURE_SIZE]);
/* 0, P1_REFUSED (a malformed key too) or a negative errno. */
int p1_ed25519_verify(const uint8_t public_key[KEY_SIZE], struct bytes message,
		      const uint8_t signature[P1_SIGNATURE_SIZE]);

#endif
