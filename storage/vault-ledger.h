#ifndef PNGW_STORAGE_VAULT_LEDGER_H
#define PNGW_STORAGE_VAULT_LEDGER_H

/*
 * How the vault keeps its ledger; used by the vault's own files alone.
 *
 * An entry is first a row of table ledger, written in the transaction of the batch it tells of, and
 * after the commit is written to the file <vault>.ledger. The file is flushed now and then; rows
 * whose entries are durable in it go with a later transaction, but the newest stays for ever. So
 * the file can be short of entries after a crash or on a full disk, and is then completed from the
 * rows.
 *
 * Row: the entry's place in the file, counted from 0 (4 bytes, big-endian), and the entry. Place
 * and sequence differ behind a gap.
 */

#include "storage/anchor.h"
#include "storage/vault-internal.h"

#define LEDGER_ROW_SIZE (4 + LEDGER_ENTRY_SIZE)

/* So many entries may wait for their flush. Each is a row, read and compared after a crash. */
#define LEDGER_UNSYNCED_MAX 64

/* What a batch brings. */
struct vault_fact {
	struct ledger_fact fact; /* its names point to nowhere */
	struct name entity;
	struct name user;
};

struct ledger_row {
	uint32_t place;
	uint8_t entry[LEDGER_ENTRY_SIZE];
};

enum ledger_statement {
	LEDGER_INSERT,
	LEDGER_TRIM,
	LEDGER_SELECT,
	LEDGER_STATEMENTS,
};

struct vault_ledger {
	char *path;
	int fd;                                      /* -1: there is no file yet */
	sqlite3_stmt *statements[LEDGER_STATEMENTS]; /* made when first needed */
	bool keyed;                                  /* public_key and header are made */
	uint8_t public_key[KEY_SIZE];
	uint8_t header[LEDGER_HEADER_SIZE];

	struct ledger_state own;   /* committed */
	struct ledger_state chain; /* what the next entry follows; not own after a rollback */
	uint32_t place;            /* of the next entry */

	/* Entries of the transaction that is open, and where it will have led. */
	struct ledger_row *made;
	size_t made_count;
	size_t made_capacity;
	struct ledger_state next;
	uint32_t next_place;
	bool older;         /* the vault has keys and no ledger yet */
	bool told_rollback; /* this transaction has the entry about the rollback */

	uint32_t filed;  /* places below it are in the file */
	uint32_t synced; /* places below it are durable in the file */
	bool named;      /* the file's name is durable */
	uint32_t synced_sequence;
	uint32_t trimmed_sequence;

	struct vault_rollback rollback;
	bool rolled_back; /* rollback was found at open */
	bool owes;        /* and no entry says so yet */
	bool marked;      /* by a restore; the record goes with that entry */

	struct anchor *anchor;
	uint32_t anchored;   /* the sequence it is known to have */
	int64_t anchored_at; /* monotonic seconds; 0: not in this process */
	char *specification; /* of the anchor; "" for none */
	bool remembers;      /* the vault's record of it says so already */
	bool remembering;    /* this transaction has that record */

	bool ready;   /* opened in good order */
	bool damaged; /* the rows cannot be read: no fact can be told */
	int trouble;
	const char *trouble_with;
};

/* vault-ledger.c */

/* The record that a restore leaves in a vault; within a transaction. */
int vault_restored_mark(struct vault *v, void *none);

/* Makes public_key and header. */
int vault_ledger_keys(struct vault *v);
struct ledger_signer vault_ledger_signer(const struct vault *v);
/*
 * The rows above a sequence, in order, in a new array (the caller's to free()) of *count. A row
 * that is none: VAULT_DAMAGED.
 */
int vault_ledger_rows(struct vault *v, int64_t above, struct ledger_row **out, size_t *count);
/* 0, LEDGER_REFUSED when there is no whole entry at place, or a negative errno. */
int vault_ledger_read(const struct vault_ledger *l, uint32_t place,
		      uint8_t entry[LEDGER_ENTRY_SIZE]);
/* The anchor is advanced, if it is behind; now: even if it was not long ago. */
void vault_ledger_advance(struct vault *v, bool now);
/* Writes down which anchor the vault has, once it has one; a failure is a trouble. */
void vault_ledger_remember(struct vault *v);
/* Both, where they are due; for quiet moments. */
void vault_ledger_catch_up(struct vault *v);
/* No fact can be told from now on. */
void vault_ledger_damaged(struct vault_ledger *l);
/* Flushes the file, durable with its name. */
int vault_ledger_sync(struct vault_ledger *l);

/*
 * Around a transaction: vault_ledger_begin() before it, for the batches from first up to end;
 * vault_ledger_execute() within it, for each of them in order; vault_ledger_end() with its result.
 */
int vault_ledger_begin(struct vault *v, const struct vault_batch *first,
		       const struct vault_batch *end);
int vault_ledger_execute(struct vault *v, const struct vault_batch *b);
void vault_ledger_end(struct vault *v, int result);

/* A batch's facts go with it. */
void vault_facts_free(struct vault_batch *b);

/*
 * vault-ledger-open.c: once the vault is open and nobody else has it. 0 (a rollback that was found
 * too, or damaged rows), VAULT_LEDGER, VAULT_ANCHOR or a negative errno, and a sentence in why.
 */
int vault_ledger_open(struct vault *v, const struct vault_options *options, char *why,
		      size_t why_size);
void vault_ledger_close(struct vault *v);

#endif
