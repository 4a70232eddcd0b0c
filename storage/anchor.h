#ifndef PNGW_STORAGE_ANCHOR_H
#define PNGW_STORAGE_ANCHOR_H

/*
 * An anchor: where the newest ledger state is kept apart from the vault, so that an older copy of
 * the vault shows. It holds a statement (vault id, sequence, head) signed by the ledger's key:
 * whoever can write to it can put back an older statement, but not make one, nor mix two.
 *
 * An anchor is advanced after the vault's commit is durable, and so is never ahead of it.
 *
 * Specifications: "file:PATH", a file that should be on another medium than the vault (the
 * directory must exist); "tpm:HANDLE" or "tpm:HANDLE,TCTI", an NV index of a TPM 2.0, for example
 * tpm:0x01500020; TCTI is how tpm2-tss reaches it, where it cannot find out.
 */

#include "storage/ledger.h"

struct anchor;

/* The statement: vault id, sequence (big-endian), head, signature. */
#define ANCHOR_STATEMENT_SIZE (LEDGER_VAULT_ID_SIZE + 4 + LEDGER_HASH_SIZE + P1_SIGNATURE_SIZE)

/* Positive outcomes. */
enum {
	ANCHOR_ABSENT = 1,  /* nothing was anchored yet, or it was taken away */
	ANCHOR_DAMAGED = 2, /* what is there is not a statement of this vault's key */
	ANCHOR_UNKNOWN = 3, /* the specification is none, or names what this build does not have */
};

/*
 * 0 and the caller's *out; a positive outcome or negative errno and one sentence in why otherwise.
 * Nothing is read yet. auth, KEY_SIZE bytes, is what the medium asks for where it knows such a
 * thing: the vault's own secret.
 */
int anchor_open(const char *specification, struct secret *auth, struct anchor **out, char *why,
		size_t why_size);
void anchor_close(struct anchor *a); /* NULL is allowed */

/*
 * The statement there is, when it verifies. Blocks on the medium. why as above.
 */
int anchor_read(struct anchor *a, const uint8_t vault_id[LEDGER_VAULT_ID_SIZE],
		const uint8_t public_key[KEY_SIZE], struct ledger_state *out, char *why,
		size_t why_size);

/* Makes the statement the anchor's, durable on return. 0 or a negative errno. */
int anchor_write(struct anchor *a, const uint8_t statement[ANCHOR_STATEMENT_SIZE]);

/*
 * The least number of seconds between two writes that the medium bears: 0 for a file; a TPM's NV
 * memory wears out and is slow, so an anchor in it bounds how far back a rollback can go unseen
 * instead of excluding it.
 */
unsigned anchor_interval(const struct anchor *a);

int anchor_statement_make(const struct ledger_signer *s, const struct ledger_state *state,
			  uint8_t out[ANCHOR_STATEMENT_SIZE]);
/* 0, ANCHOR_DAMAGED or a negative errno. */
int anchor_statement_check(const uint8_t statement[ANCHOR_STATEMENT_SIZE],
			   const uint8_t vault_id[LEDGER_VAULT_ID_SIZE],
			   const uint8_t public_key[KEY_SIZE], struct ledger_state *out);

/* anchor_read() of a file by its path. */
int anchor_file_read(const char *path, const uint8_t vault_id[LEDGER_VAULT_ID_SIZE],
		     const uint8_t public_key[KEY_SIZE], struct ledger_state *out, char *why,
		     size_t why_size);

/* What a kind of anchor brings: used by anchor.c and the kinds alone. */
struct anchor_kind {
	const char *prefix;
	unsigned interval;
	/* place is what follows the prefix; auth may be NULL where it is only read. */
	int (*open)(const char *place, struct secret *auth, void **context, char *why,
		    size_t why_size);
	void (*close)(void *context);
	/* 0, ANCHOR_ABSENT, ANCHOR_DAMAGED (not the form of a statement) or a negative errno. */
	int (*read)(void *context, uint8_t statement[ANCHOR_STATEMENT_SIZE]);
	int (*write)(void *context, const uint8_t statement[ANCHOR_STATEMENT_SIZE]);
};
extern const struct anchor_kind anchor_kind_file;
extern const struct anchor_kind anchor_kind_tpm;

#endif
