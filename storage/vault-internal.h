#ifndef PNGW_STORAGE_VAULT_INTERNAL_H
#define PNGW_STORAGE_VAULT_INTERNAL_H

/*
 * What the vault's own files share: the handle, the file format and the sealing of one record.
 *
 * Format, schema 2; doc/vault.md has all of it. The master key of a generation gives the seal key
 * of that generation. The row of a generation in table master holds, sealed under it, the keys that
 * stay the same through all generations: names, ledger tags, ledger signatures.
 *
 * A record is a row (name, sequence, generation, sealed). name is the kind in one byte, the owner's
 * hash, the item's hash; the table is ordered by it and has no other index, so that a commit of one
 * record touches one page. Walks in order of sequence sort. sealed is nonce || cipher text || tag.
 * Nonces are random, not the sequence: a file put back from a backup counts on from an old
 * sequence, and a nonce must not come twice under one key. 96 random bits are good for 2^32 writes.
 * The associated data is ctx("pngw vault record", schema, generation, kind, sequence, owner hash,
 * item hash), so a row moved, renamed or exchanged does not open. Plain text: owner size and item
 * size in one byte each, owner, item, content.
 *
 * Sequences are reserved in blocks: meta.reserved is at least as high as any that a durable row
 * has, and a vault that is opened counts on from there.
 */

#include <inttypes.h>
#include <sqlite3.h>

#include "protocol/p1.h"
#include "storage/vault-wrap.h"
#include "storage/vault.h"

#define VAULT_APPLICATION_ID 0x504e4757 /* "PNGW" */
#define VAULT_NAME_SIZE      (1 + 2 * VAULT_HASH_SIZE)
#define VAULT_PLAIN_HEADER   2
#define VAULT_PLAIN_MAX      (VAULT_PLAIN_HEADER + VAULT_OWNER_MAX + VAULT_ITEM_MAX + VAULT_CONTENT_MAX)
#define VAULT_OVERHEAD       (P1_NONCE_SIZE + P1_SEAL_OVERHEAD)
#define VAULT_SEQUENCE_BLOCK 4096
/* So many nonces are drawn at a time. */
#define VAULT_NONCES         64
#define VAULT_GENERATIONS    2
#define VAULT_WRAPS_MAX      ((size_t)VAULT_SLOTS * VAULT_GENERATIONS)

/* Kinds of the vault's own records; those of enum vault_kind are below 128. */
enum {
	VAULT_KIND_SENDER = 129,   /* item: slot, one byte; the sender of vault_wrap_seal() */
	VAULT_KIND_ANCHOR = 130,   /* the anchor's specification, once it holds a state */
	VAULT_KIND_RESTORED = 131, /* there from a restore until the ledger tells of it */
};

/* The same in every generation. KEY_SIZE each. */
struct vault_keys {
	struct secret *names;
	struct secret *tags;    /* the ledger's names */
	struct secret *signing; /* the ledger's Ed25519 private key, the seed of RFC 8032 */
};

struct vault_generation {
	uint32_t number; /* from 1; 0: none */
	struct secret *master;
	struct secret *seal;
};

/* Where sealing anew stands. */
struct vault_rekey {
	uint8_t cursor[VAULT_NAME_SIZE]; /* the lowest name not yet looked at */
	bool wait;                       /* batches sealed with the older generation are queued */
	bool careful;                    /* one record a transaction: a page is damaged */
	bool log;                        /* the log may hold old rows and is to be emptied */
	int error;
	uint64_t done;
	uint64_t total;
	uint64_t damaged;
};

enum vault_statement {
	STATEMENT_BEGIN,
	STATEMENT_COMMIT,
	STATEMENT_ROLLBACK,
	STATEMENT_READ,
	STATEMENT_PUT,
	STATEMENT_ERASE,
	STATEMENT_ERASE_OWNER,
	STATEMENT_TRIM,
	STATEMENT_GET,
	STATEMENT_NAMES,
	STATEMENT_RESERVE,
	STATEMENT_COUNT,
	STATEMENT_FIRST_OF_TABLES = STATEMENT_PUT,
};

struct vault {
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENT_COUNT];
	char *path;
	uint8_t id[VAULT_ID_SIZE];
	struct vault_keys keys;
	/*
	 * Newest first. The second is there while its records are being sealed anew: a record is
	 * opened with the seal key of the generation its row names, and sealed with the newest.
	 */
	struct vault_generation generations[VAULT_GENERATIONS];
	struct vault_rekey rekey;
	/* Random ones, each taken once: drawing one alone costs as much as the sealing. */
	uint8_t nonces[VAULT_NONCES][P1_NONCE_SIZE];
	size_t nonce_count;
	int64_t sequence; /* the last one given out */
	int64_t reserved; /* as in the file */
	struct vault_batch *first;
	struct vault_batch **last;
	struct vault_ledger *ledger;
	bool closing;
	bool reading; /* see vault_read_row() */
	bool stale;   /* the log may hold what was erased: vault_scrub() */
};

/* A row as it lies in the file, without what is sealed. */
struct vault_row {
	uint8_t name[VAULT_NAME_SIZE];
	int64_t sequence;
	uint32_t generation;
};

/* The negative errno for an SQLite result that is not OK, ROW or DONE. */
int vault_errno(int sqlite_result);
/* The same for a failed write, of which db's log knows what the system said. */
int vault_db_errno(sqlite3 *db, int sqlite_result);

/* The name of a record, and the lowest and highest names that records of an owner can have. */
int vault_name(const struct vault_keys *keys, const struct vault_id *id,
	       uint8_t out[VAULT_NAME_SIZE]);
int vault_name_range(const struct vault_keys *keys, int kind, struct bytes owner,
		     uint8_t low[VAULT_NAME_SIZE], uint8_t high[VAULT_NAME_SIZE]);
/* The same for all records of a kind. */
void vault_name_range_of_kind(int kind, uint8_t low[VAULT_NAME_SIZE],
			      uint8_t high[VAULT_NAME_SIZE]);

/* Lays out what is sealed, in a new hidden buffer. NULL when memory is out. */
uint8_t *vault_plain_new(struct bytes owner, struct bytes item, struct bytes content, size_t *size);
/* Views into plain. 0 or VAULT_DAMAGED. */
int vault_plain_split(struct bytes plain, struct bytes *owner, struct bytes *item,
		      struct bytes *content);

/* Sets row->generation to the newest and seals; sealed has plain.size + VAULT_OVERHEAD bytes. */
int vault_seal(struct vault *v, struct vault_row *row, struct bytes plain, uint8_t *sealed);
/* 0, VAULT_DAMAGED or a negative errno. plain has sealed.size - VAULT_OVERHEAD bytes. */
int vault_unseal(const struct vault *v, const struct vault_row *row, struct bytes sealed,
		 uint8_t *plain);

/*
 * Reads and opens the record of row->name, and sets row's other fields. plain has VAULT_PLAIN_MAX
 * bytes, or is NULL: then *plain_new becomes a hidden buffer of the right size. 0, VAULT_ABSENT,
 * VAULT_DAMAGED or a negative errno.
 *
 * It leaves a read transaction open, so that the next record costs less; vault_read_end() ends it.
 * vault_transaction() calls that, and so must whoever else wants the file for himself.
 */
void vault_read_end(struct vault *v);
int vault_read_row(struct vault *v, struct vault_row *row, uint8_t *plain, uint8_t **plain_new,
		   size_t *plain_size);

/* Runs a write statement whose parameters are bound, and resets it. */
int vault_run(struct vault *v, enum vault_statement which);
/* Binds and runs STATEMENT_PUT. */
int vault_write_row(struct vault *v, const struct vault_row *row, struct bytes sealed);
/* Seals and writes one record in the transaction that is open. */
int vault_write_record(struct vault *v, const struct vault_id *id, struct bytes content);

/*
 * Calls each for every row with low <= name <= high in the order of names. Where a page cannot be
 * read, what lies on it is left out and *gaps counts it, as it does a row whose name is none; the
 * walk goes on behind it. each may read
 * from the vault but not walk; 0 to go on, anything else ends the walk and is returned.
 */
typedef int vault_row_fn(void *arg, const uint8_t name[VAULT_NAME_SIZE], int64_t sequence,
			 uint32_t generation);
int vault_walk_rows(struct vault *v, const uint8_t low[VAULT_NAME_SIZE],
		    const uint8_t high[VAULT_NAME_SIZE], vault_row_fn *each, void *arg,
		    size_t *gaps);

/*
 * One transaction around within(v, arg), which writes: durable when this returns 0, and nothing of
 * it is there when it returns anything else.
 */
typedef int vault_within_fn(struct vault *v, void *arg);
int vault_transaction(struct vault *v, vault_within_fn *within, void *arg);

enum vault_operation_type {
	OPERATION_PUT,
	OPERATION_ERASE,
	OPERATION_ERASE_OWNER,
	OPERATION_ERASE_DAMAGED,
	OPERATION_TRIM
};

/* Plain from the caller's hands to vault_submit(), sealed from then on. */
struct vault_operation {
	enum vault_operation_type type;
	uint8_t kind;
	uint8_t owner_size;
	uint8_t item_size;
	uint8_t owner[VAULT_OWNER_MAX];
	uint8_t item[VAULT_ITEM_MAX];
	struct vault_row row;
	uint8_t *plain;
	size_t plain_size;
	uint8_t *sealed;
	size_t sealed_size;
	size_t keep;
};

/*
 * A batch. Its operations are executed by vault_flush() in one transaction with those of other
 * batches, or in one of its own when a page that another one needs is damaged.
 */
struct vault_batch {
	struct vault_batch *next;
	struct vault_operation *operations;
	size_t count;
	size_t capacity;
	struct vault_fact *facts; /* for the ledger */
	size_t fact_count;
	int failed; /* a negative errno that vault_submit() returns */
	int result;
	vault_done_fn *done;
	void *arg;
};

/* vault-scan.c: within a transaction, erases what is damaged from low to high. */
int vault_erase_damaged(struct vault *v, const uint8_t low[VAULT_NAME_SIZE],
			const uint8_t high[VAULT_NAME_SIZE]);

/* vault-walk.c: the lowest name above a, or false when a is the highest. */
bool vault_name_after(const uint8_t a[VAULT_NAME_SIZE], uint8_t out[VAULT_NAME_SIZE]);

/*
 * vault-rekey.c. A step is what one flush does, after its batches; one that fails is kept in
 * v->rekey.error. The log counts as one that may hold old rows when a vault is opened after a
 * crash.
 */
void vault_rekey_opened(struct vault *v);
void vault_rekey_step(struct vault *v);
/*
 * A generation that has a row but was not opened, or 0: the wrap of the slot that opened the vault
 * is spoiled for it, another slot's may not be. Its records must not be given up.
 */
#define VAULT_MISSING_TEXT "generation %" PRIu32 " of the master key does not open: try another key"
int vault_generation_missing(struct vault *v, uint32_t *out);
/* vault-scrub.c: moves the log into the file, overwrites it and cuts it to nothing. */
int vault_log_empty(struct vault *v);
/* The sender of a slot: 0 and a new reference, or as vault_get(). Erasing is within a transaction.
 */
int vault_sender_read(struct vault *v, uint8_t slot, struct secret **out);
int vault_sender_erase(struct vault *v, uint8_t slot);

/* vault-batch.c: everything queued ends with -ECANCELED. */
void vault_batches_cancel(struct vault *v);

/*
 * vault-rows.c: the rows that open a vault. Those that write do so in the transaction that is open.
 */

/* The seal key of a master; takes a reference to it. Clearing drops both. */
int vault_generation_set(struct vault_generation *g, const uint8_t id[VAULT_ID_SIZE],
			 uint32_t number, struct secret *master);
void vault_generation_clear(struct vault_generation *g);
void vault_keys_clear(struct vault_keys *keys);

/* A new id, new keys and a first generation for v, and their rows. */
int vault_rows_new(struct vault *v);
/* Reads id and reserved sequence. 0, VAULT_DAMAGED or a negative errno. */
int vault_meta_read(struct vault *v);
int vault_meta_write(struct vault *v);
/* Writes v's keys sealed under g. */
int vault_master_write(struct vault *v, const struct vault_generation *g);
/* 0 and new references in *out, VAULT_ABSENT, VAULT_DAMAGED or a negative errno. */
int vault_master_read(struct vault *v, const struct vault_generation *g, struct vault_keys *out);

/* Writes or replaces the row of w's slot and generation. */
int vault_wrap_write(struct vault *v, const struct vault_wrap *w);
/*
 * Every wrap, the newest generation first, then by slot. Malformed rows are left out. out has
 * VAULT_WRAPS_MAX elements.
 */
int vault_wraps_read(struct vault *v, struct vault_wrap *out, size_t *count);
/*
 * Gives slot w->slot to secret: seals the master of each generation that v has, writes the wraps
 * and the sender. Of w slot, source, label and parameters are set; the rest is filled in.
 */
int vault_slot_write(struct vault *v, struct vault_wrap *w, const struct secret *secret);
/*
 * Opens v's generations and keys with the first opener that fits a wrap. 0, VAULT_KEY_FILE,
 * VAULT_DAMAGED or a negative errno, and a sentence in why.
 */
int vault_unlock(struct vault *v, const struct vault_options *options, char *why, size_t why_size);

/*
 * vault-migrate.c: brings the vault from schema version, which is older, to VAULT_SCHEMA in one
 * transaction. v has its database, nothing else. Outcomes as for vault_unlock().
 */
int vault_migrate(struct vault *v, int64_t version, const struct vault_options *options, char *why,
		  size_t why_size);

/* vault-file.c */
void vault_explain(char *why, size_t why_size, const char *path, const char *what);
extern const char vault_schema_sql[];
/* The statements that need the tables. Returns an SQLite result. */
int vault_prepare(struct vault *v);
bool vault_exists(const char *path);
/* Opens the vault at path, which is there; of options path and create are not looked at. */
int vault_open_existing(const struct vault_options *options, const char *path, struct vault **out,
			char *why, size_t why_size);
/* A handle with an open database and nothing else. */
int vault_open_handle(const struct vault_options *options, const char *path, struct vault **out,
		      char *why, size_t why_size);

/*
 * vault-log.c: *out becomes the name of a VFS that writes logs in larger pieces, over the one
 * called below (NULL: the system's). It lasts. Returns an SQLite result.
 */
int vault_log_vfs(const char *below, const char **out);

/*
 * vault-restore.c: where the power went between a restored vault's taking its name and the end of
 * the replaced one's log, that log goes; it has a second name. Before the vault is opened. 0 or a
 * negative errno.
 */
int vault_restore_finish(const char *path);

/* vault-create.c: makes a vault where there is none. */
int vault_create(const struct vault_options *options, char *why, size_t why_size);

#endif
