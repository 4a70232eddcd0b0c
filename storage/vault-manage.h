#ifndef PNGW_STORAGE_VAULT_MANAGE_H
#define PNGW_STORAGE_VAULT_MANAGE_H

/*
 * What is done to the keys of an open vault: wraps added, removed, replaced; every record sealed
 * anew under another master key while the vault serves; "will it still open?".
 *
 * Functions return 0, VAULT_REFUSED, an outcome of storage/vault.h or a negative errno, and where
 * they have why, it then holds one sentence. Those that change something do it in one commit: it is
 * durable on return 0 and has not happened otherwise. Batches that wait for vault_flush() are not
 * touched.
 */

#include "storage/vault-wrap.h"

/* Positive outcome: it may not be done, why says the reason. */
#define VAULT_REFUSED 16

/* The wraps of the newest master by slot, as they lie in the file. */
int vault_wraps(struct vault *v, struct vault_wrap out[VAULT_SLOTS], size_t *count);

/* A secret that is to open the vault, made on any thread and added on the vault's. */
struct vault_prepared {
	struct vault_wrap wrap; /* source, label, parameters */
	struct secret *secret;
};

/*
 * Reads the opener's key file or stretches its passphrase (slow, see vault_wrap_secret()); with
 * create a key file that is not there is made. label is for people, NULL for the file's name or
 * "passphrase". On 0 *out is the caller's to vault_prepared_clear(). VAULT_REFUSED for a label that
 * cannot be one.
 */
int vault_wrap_prepare(const struct vault_opener *opener, const char *label, bool create,
		       struct vault_prepared *out, char *why, size_t why_size);
void vault_prepared_clear(struct vault_prepared *p);

/*
 * Gives the secret a slot of its own; *slot tells which. VAULT_REFUSED when all slots are taken or
 * the secret has one already.
 */
int vault_wrap_add(struct vault *v, const struct vault_prepared *p, uint8_t *slot, char *why,
		   size_t why_size);
/*
 * The secret takes the place of the slot's. VAULT_REFUSED when there is no such slot or the secret
 * has one already.
 */
int vault_wrap_rotate(struct vault *v, uint8_t slot, const struct vault_prepared *p, char *why,
		      size_t why_size);
/* VAULT_REFUSED when there is no such slot or it is the last. */
int vault_wrap_remove(struct vault *v, uint8_t slot, char *why, size_t why_size);
/*
 * What a removed or replaced secret could open, it still opens in older copies of the file: only
 * re-keying makes it worthless for what is written from then on.
 */

/*
 * Begins re-keying: a new master key, sealed for every slot. New writes use it at once, and each
 * vault_flush() seals some of the older records anew, also one with nothing else to write. When
 * none is left the old master and its wraps are erased from the file and its log. A vault that was
 * closed in between goes on when it is open again. VAULT_REFUSED while one is under way, or
 * where the slot that opened the vault lacks an older master that is still needed.
 */
int vault_rekey_begin(struct vault *v, char *why, size_t why_size);

/*
 * Whether vault_flush() has records to seal anew. vault_pending() does not count these: a loop
 * serves first, and flushes for this when it has nothing else to do.
 */
bool vault_rekey_pending(const struct vault *v);

struct vault_rekey_progress {
	uint32_t from; /* generation; 0 when nothing is under way */
	uint32_t to;
	uint64_t done;    /* records sealed anew since it began or the vault was opened */
	uint64_t total;   /* as counted when it began; 0 after the vault was opened again */
	uint64_t damaged; /* that do not open and were left as they are */
	int error;        /* why it stands still, a negative errno: the next write tries again */
};
void vault_rekey_progress(const struct vault *v, struct vault_rekey_progress *out);

/* How one opener fares, read afresh. */
struct vault_opener_check {
	int result;   /* 0: it opens a slot; an outcome or errno of vault_wrap_secret(), or
			 VAULT_REFUSED: it opens no slot */
	uint8_t slot; /* the first that it opens */
	char why[160];
};

/* Whether secret opens that slot to the master that is in use. Fast. 0 or VAULT_REFUSED. */
int vault_check_slot(struct vault *v, uint8_t slot, const struct secret *secret);

/*
 * Tries an opener on every wrap of its source until one opens. A key file is fast; a passphrase
 * costs a scrypt for each wrap of that source that is tried: for a vault that serves, let a worker
 * thread call vault_wrap_secret() and give the secret to vault_check_slot().
 */
void vault_check_opener(struct vault *v, const struct vault_opener *opener,
			struct vault_opener_check *out);

/*
 * Whether the rows of the newest master and of every wrap are as they should be, as far as that
 * shows without their secrets. 0, VAULT_DAMAGED or a negative errno.
 */
int vault_check_rows(struct vault *v, char *why, size_t why_size);

/* How many records there are, the vault's own included. 0 or a negative errno. */
int vault_count_records(struct vault *v, uint64_t *out);

/*
 * Opens up to max records (0: all), beginning at a random one, so that repeated samples differ.
 * 0 or a negative errno; *damaged are those of *records that do not open.
 */
int vault_check_records(struct vault *v, uint64_t max, uint64_t *records, uint64_t *damaged);

#endif
