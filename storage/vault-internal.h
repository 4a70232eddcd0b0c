#ifndef PNGW_STORAGE_VAULT_INTERNAL_H
#define PNGW_STORAGE_VAULT_INTERNAL_H

/*
 * What the vault's own files share: the handle, the file format and the sealing of one record.
 *
 * Format, schema 1. The key file's 32 bytes give two keys by HKDF: one seals, one hashes names. A
 * row is (sequence, kind, owner hash, item hash, nonce, sealed). Nonces are random, not the
 * sequence: a file put back from a backup counts on from an old sequence, and a nonce must not
 * come twice under one key. 96 random bits are good for 2^32 writes. The associated data is
 * ctx("pngw vault record", schema, kind, sequence, owner hash, item hash), so a row moved, renamed
 * or exchanged does not open. Sealed: owner size and item size in one byte each, owner, item,
 * content. The row of kind 0 is written when the vault is made and tells a wrong key from a right
 * one.
 */

#include <sqlite3.h>

#include "protocol/p1.h"
#include "storage/vault-key.h"
#include "storage/vault.h"

#define VAULT_SCHEMA         1
#define VAULT_APPLICATION_ID 0x504e4757 /* "PNGW" */
#define VAULT_KIND_CHECK     0
#define VAULT_HASH_SIZE      32
#define VAULT_PLAIN_HEADER   2
#define VAULT_PLAIN_MAX      (VAULT_PLAIN_HEADER + VAULT_OWNER_MAX + VAULT_ITEM_MAX + VAULT_CONTENT_MAX)

struct vault_keys {
	struct secret *seal;
	struct secret *names;
};

enum vault_statement {
	STATEMENT_BEGIN,
	STATEMENT_COMMIT,
	STATEMENT_ROLLBACK,
	STATEMENT_PUT,
	STATEMENT_ERASE,
	STATEMENT_ERASE_OWNER,
	STATEMENT_TRIM,
	STATEMENT_GET,
	STATEMENT_NEXT,
	STATEMENT_NEXT_OF_OWNER,
	STATEMENT_COUNT,
};

struct vault {
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENT_COUNT];
	struct vault_keys keys;
	int64_t sequence; /* the last one given out */
	struct vault_batch *first;
	struct vault_batch **last;
	bool closing;
};

/* A row as it lies in the file, without the content. */
struct vault_row {
	int kind;
	int64_t sequence;
	uint8_t owner[VAULT_HASH_SIZE];
	uint8_t item[VAULT_HASH_SIZE];
	uint8_t nonce[P1_NONCE_SIZE];
};

/* The negative errno for an SQLite result that is not OK, ROW or DONE. */
int vault_errno(int sqlite_result);
/* The same for a failed write, of which db's log knows what the system said. */
int vault_db_errno(sqlite3 *db, int sqlite_result);

int vault_hash_owner(const struct vault_keys *keys, int kind, struct bytes owner,
		     uint8_t out[VAULT_HASH_SIZE]);
int vault_hash_item(const struct vault_keys *keys, int kind, struct bytes item,
		    uint8_t out[VAULT_HASH_SIZE]);

/* Lays out what is sealed, in a new hidden buffer. NULL when memory is out. */
uint8_t *vault_plain_new(struct bytes owner, struct bytes item, struct bytes content, size_t *size);

/* Chooses row->nonce and seals; sealed has plain.size + P1_SEAL_OVERHEAD bytes. */
int vault_seal(const struct vault_keys *keys, struct vault_row *row, struct bytes plain,
	       uint8_t *sealed);
/* 0, VAULT_DAMAGED or a negative errno. plain has sealed.size - P1_SEAL_OVERHEAD bytes. */
int vault_unseal(const struct vault_keys *keys, const struct vault_row *row, struct bytes sealed,
		 uint8_t *plain);

/* Runs a write statement whose parameters are bound, and resets it. */
int vault_run(struct vault *v, enum vault_statement which);
/* Binds and runs STATEMENT_PUT. */
int vault_write_row(struct vault *v, const struct vault_row *row, struct bytes sealed);

/* vault-batch.c: everything queued ends with -ECANCELED. */
void vault_batches_cancel(struct vault *v);

/* vault-key.c: schema 1, where the key file was the master. Outcomes as in vault-key.h. */
int vault_key_read(const char *path, struct vault_keys *out, char *why, size_t why_size);
int vault_keys_derive(const struct secret *master, struct vault_keys *out);
void vault_keys_clear(struct vault_keys *keys);
/* Makes the directory entry of path durable. */
int vault_sync_directory(const char *path);

#endif
