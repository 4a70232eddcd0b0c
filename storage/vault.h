#ifndef PNGW_STORAGE_VAULT_H
#define PNGW_STORAGE_VAULT_H

/*
 * The vault: a small encrypted store for the secrets of a PN GW or a PNE. Callers ask for records,
 * never for rows: no SQL, file name or cipher leaves this header.
 *
 * A record is (kind, owner, item) -> content. owner is most often an Entity ID, item tells several
 * records of one owner apart (a key index, a message id) and may be empty. Names are kept only as
 * keyed hashes; content, names, kind and sequence are authenticated together.
 *
 * Writes are batches. A batch is atomic: all of it or nothing. vault_submit() queues, vault_flush()
 * makes everything queued durable in one commit and then tells each submitter; a reader sees only
 * what is durable. The owner calls vault_flush() once per turn of its event loop. One thread.
 */

#include <stdint.h>

#include "protocol/bytes.h"
#include "protocol/secret.h"
#include "storage/ledger.h"

struct vault;
struct vault_batch;

/* What is written; an older one is brought to it when it is opened. */
#define VAULT_SCHEMA 2

/* Stable numbers, part of the file format: never reused. */
enum vault_kind {
	VAULT_IDENTITY = 1,      /* what this device knows of itself and its owner */
	VAULT_TEMPORARY_KEY = 2, /* owner: PNE */
	VAULT_EUKEY = 3,         /* owner: entity, item: key index */
	VAULT_USER = 4,          /* a PNE's installed User ID and hash of user-password */
	VAULT_ANSWER = 5,        /* item: message id; what was answered to it */
	VAULT_PNE = 6,           /* owner: PNE; whose it is */
	VAULT_DELIVERY = 7,      /* owner: PNE, item: key index; a report the server has not had */
	VAULT_PROCEDURE = 8,     /* item: procedure; one that is under way */
	VAULT_REVOCATION = 9,    /* owner: entity; what is revoked, and its reset */
	VAULT_CLOCK = 10,        /* the service clock */
	VAULT_VERIFIER = 11,     /* owner: user; what checks a password without the server */
	VAULT_BLUETOOTH = 12,    /* owner: PNE; where it is found */
	VAULT_HANDOVER = 13,     /* which box this is of those that were this PN GW */
};

/* Largest content, owner and item in bytes. */
#define VAULT_CONTENT_MAX 20000
#define VAULT_OWNER_MAX   64
#define VAULT_ITEM_MAX    64

/* Size of the keyed hashes that stand for names in the file. */
#define VAULT_HASH_SIZE 16

/* Stable numbers, part of the file format. */
enum vault_source {
	VAULT_SOURCE_KEY_FILE = 1,
	VAULT_SOURCE_PASSPHRASE = 2,
};

/*
 * One thing that opens the vault. A key file holds 64 hex digits, is 0600 or stricter and belongs
 * to the process's user or to root; inside $CREDENTIALS_DIRECTORY it may be 0440. Its path may be
 * "credential:NAME", which is $CREDENTIALS_DIRECTORY/NAME.
 */
struct vault_opener {
	enum vault_source source;
	const char *path;          /* of a key file */
	struct secret *passphrase; /* borrowed */
};

/*
 * Where the vault is and what opens it. The openers are tried in order until one does. create makes
 * vault and key files when none of them is there (never one without the other).
 */
struct vault_options {
	const char *path;
	const struct vault_opener *openers;
	size_t opener_count;
	bool create;
	/*
	 * What tells that an older copy was put back: "file:PATH", "tpm:HANDLE", or "" for none.
	 * NULL asks none either, but the vault still misses the one it remembers when it is gone.
	 */
	const char *anchor;
	const char *vfs; /* name of an SQLite VFS, NULL for the system's */
};

/* Positive outcomes. */
enum {
	VAULT_ABSENT = 1,   /* no such record */
	VAULT_DAMAGED = 2,  /* the record, or the file, does not open: wrong key or altered */
	VAULT_NEWER = 3,    /* the file's schema is newer than this program; it was not touched */
	VAULT_KEY_FILE = 4, /* the key file is missing, malformed, or readable by others */
	VAULT_LOCKED = 5,   /* another process has it open */
	VAULT_LEDGER = 6,   /* the ledger's file is cut off or was altered */
	VAULT_ANCHOR = 7,   /* the anchor is gone, damaged, of another vault, or cannot be read */
};

/*
 * Opens, or creates and opens. 0: *out is the caller's to vault_close(). A positive outcome or a
 * negative errno otherwise, and why (of why_size bytes) holds one sentence for a person. A
 * passphrase makes it slow. It may run on any thread; the vault is then used from one at a time.
 */
int vault_open(const struct vault_options *options, struct vault **out, char *why, size_t why_size);

/*
 * Flushes nothing: batches that were not flushed get -ECANCELED, then everything is closed. NULL is
 * allowed.
 */
void vault_close(struct vault *v);

/* Identity of a record; borrowed for the call. */
struct vault_id {
	enum vault_kind kind;
	struct bytes owner;
	struct bytes item;
};

/*
 * The content of a record as a new buffer in *out (wipes itself on vault_content_free()). 0,
 * VAULT_ABSENT, VAULT_DAMAGED or a negative errno.
 */
struct vault_content {
	uint8_t *data;
	size_t size;
};
int vault_get(struct vault *v, const struct vault_id *id, struct vault_content *out);
void vault_content_free(struct vault_content *c);

/*
 * Calls each for every record of a kind, and of one owner unless owner is BYTES_NONE, in the order
 * of their sequence (oldest write first). The views live only during the call, which must not write
 * to the vault. each returns 0 to go on, anything else ends the walk and is returned. A damaged
 * record is passed over and counted in *damaged (may be NULL).
 */
typedef int vault_each_fn(void *arg, struct bytes owner, struct bytes item, struct bytes content);
int vault_each(struct vault *v, enum vault_kind kind, struct bytes owner, vault_each_fn *each,
	       void *arg, size_t *damaged);

/*
 * The same for a kind, a piece at a time and in no order: at most `most` records are looked at,
 * those behind *at, which begins with all zero; ended is set once there are no more. A record that
 * is written between two pieces may be shown or not; every other one is shown once. Where each
 * ended the walk, the next piece does not show again what this one showed.
 */
struct vault_cursor {
	uint8_t low[1 + 2 * VAULT_HASH_SIZE];
	size_t looked_at;
	bool begun, ended;
};
int vault_each_some(struct vault *v, enum vault_kind kind, struct vault_cursor *at, size_t most,
		    vault_each_fn *each, void *arg);

/* A new empty batch, or NULL when memory is out. Everything put into it is copied. */
struct vault_batch *vault_batch_new(void);
/* Only one that was not submitted; wipes; NULL allowed. */
void vault_batch_free(struct vault_batch *b);

/*
 * Adds to the batch. A failure (memory, -EINVAL for a size over the limits) is remembered and makes
 * vault_submit() fail, so that callers may check once.
 */
void vault_batch_put(struct vault_batch *b, const struct vault_id *id, struct bytes content);
void vault_batch_erase(struct vault_batch *b, const struct vault_id *id); /* absent is no error */
/* Erases all records of a kind and owner. */
void vault_batch_erase_owner(struct vault_batch *b, enum vault_kind kind, struct bytes owner);
/* Erases those records of a kind and owner that are damaged. */
void vault_batch_erase_damaged(struct vault_batch *b, enum vault_kind kind, struct bytes owner);
/* Keeps the newest keep records of a kind and owner, this batch's included; erases older ones. */
void vault_batch_trim(struct vault_batch *b, enum vault_kind kind, struct bytes owner, size_t keep);

/*
 * Queues b and takes it over, on failure too. On 0, done is called exactly once, from vault_flush()
 * or vault_close(), with 0 once the batch is durable or a negative errno when nothing of it is. On
 * a negative errno done is not called. When a disk fails to flush, it may have what it was told to:
 * if the power goes before another batch is acknowledged, the failed one may be there, whole.
 */
typedef void vault_done_fn(void *arg, int result);
int vault_submit(struct vault *v, struct vault_batch *b, vault_done_fn *done, void *arg);

/* Whether something waits for vault_flush(). */
bool vault_pending(const struct vault *v);

/*
 * Commits everything that was submitted, then calls each done. Returns how many batches were told.
 * done may submit further batches: they wait for the next flush.
 */
size_t vault_flush(struct vault *v);

/*
 * What was erased or replaced may stand in the log, sealed, until it is overwritten: that is done
 * here, where there is anything, and by vault_close(). It moves the log into the file and may take
 * some 10 ms; for quiet moments, now and then. 0 or a negative errno: -EBUSY while a backup is
 * being made. Everything stays as it was then, and the next one does it. An anchor that is not
 * written with each commit is advanced here, too, when it is due.
 */
int vault_scrub(struct vault *v);

/*
 * Whether the vault still answers, at little cost; for a watchdog. 0, or a negative errno: -ESTALE
 * when the file that is open is no longer the one at its path.
 */
int vault_alive(struct vault *v);

/*
 * Opens every record once and calls each, which may be NULL, for those that are damaged: in the
 * order of names, with the owner's hash as vault_owner_is() knows it. Records on a page that cannot
 * be read at all cannot be named; gaps counts such places. each may not use the vault. It takes a
 * second for some 50 000 records. 0 or a negative errno, and totals is untouched then.
 */
struct vault_scan {
	size_t records; /* that were found, damaged ones included */
	size_t damaged;
	size_t gaps;
	bool sound; /* the pages fit together; if not, records may be missing unseen */
};
typedef void vault_damaged_fn(void *arg, enum vault_kind kind, int64_t sequence,
			      const uint8_t owner[VAULT_HASH_SIZE]);
int vault_scan(struct vault *v, vault_damaged_fn *each, void *arg, struct vault_scan *totals);

/*
 * The same, a piece at a time: at most `most` records, which is not 0, are opened, those behind
 * *at. Both *at and *totals begin with all zero. The last piece, after which at->ended is set, also
 * looks whether the pages fit together: some 40 ms for 100 000 records. On a negative errno *totals
 * is of no use.
 */
int vault_scan_some(struct vault *v, struct vault_cursor *at, size_t most, vault_damaged_fn *each,
		    void *arg, struct vault_scan *totals);

bool vault_owner_is(const struct vault *v, enum vault_kind kind, struct bytes owner,
		    const uint8_t hash[VAULT_HASH_SIZE]);

/*
 * Adds an entry to the ledger, in the same transaction as the batch: doc/ledger.md. Entries are
 * numbered in the order of commits, and within a batch in the order of these calls. The file
 * <path>.ledger comes with the first. Failures are remembered as above: memory, -EINVAL for a fact
 * that is none. An entry that cannot be written to the file now (disk full) is no failure: it is in
 * the vault and follows later.
 */
void vault_batch_ledger(struct vault_batch *b, const struct ledger_fact *fact);

/* The newest entry that is durable in the vault; sequence 0 while there is none. */
void vault_ledger_state(const struct vault *v, struct ledger_state *out);

/*
 * Calls each for up to count of the newest entries, oldest first. each may not use the vault but
 * for vault_ledger_names(): whether the entry's tag is that of a name; what is "entity" or "user".
 * 0, VAULT_DAMAGED or a negative errno.
 */
typedef void vault_entry_fn(void *arg, const struct ledger_entry *entry);
int vault_ledger_tail(struct vault *v, uint32_t count, vault_entry_fn *each, void *arg);
bool vault_ledger_names(const struct vault *v, const char *what, struct bytes name,
			const uint8_t tag[LEDGER_TAG_SIZE]);

/*
 * Whether what somebody saw of this vault's ledger is not in it: a sequence above the newest, or
 * one under which it has another entry, so that an older copy was put back and has gone on by
 * itself. One whose entry is not there to compare, in a declared gap, passes. 0 or a negative
 * errno.
 */
int vault_ledger_other(struct vault *v, const struct ledger_state *seen, bool *other);

/*
 * What was found at open: somebody knows a later or another state than this vault, so an older copy
 * of it was put back. NULL when nothing was. Keys that are unspent in it may have been spent. The
 * first fact afterwards is preceded by an entry LEDGER_ROLLED_BACK, unless it is that itself;
 * sequences go on behind known.
 */
struct vault_rollback {
	uint32_t own;
	uint32_t known;
	const char *who; /* "anchor", "ledger file", "lost ledger file", "restore" */
};
const struct vault_rollback *vault_rollback(const struct vault *v);

/*
 * A negative errno while the ledger's file, the anchor or the vault's own record of the anchor
 * cannot be brought up to date, 0 otherwise.
 * with says which of them, for a person.
 */
int vault_ledger_trouble(const struct vault *v, const char **with);

#endif
