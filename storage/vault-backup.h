#ifndef PNGW_STORAGE_VAULT_BACKUP_H
#define PNGW_STORAGE_VAULT_BACKUP_H

/*
 * Backups of a vault, and putting one back. A backup is a sealed vault like its original: the same
 * wraps open it, and re-keying the original afterwards does not change what opens the backup.
 */

#include "storage/vault-manage.h"

struct vault_backup;

/*
 * A backup of an open vault into the file path, in steps, so that an event loop serves in between.
 * It is built as path`.new` (mode 0600), which an earlier attempt may have left; what is at path is
 * replaced in the end, all at once. It has everything that was durable before its last step.
 * On 0 *out is the caller's to vault_backup_end() before it closes the vault. -EINVAL for a path
 * that is the vault's own, -EEXIST where path is a file with something else in it than a vault, or
 * has a `-wal` beside it.
 */
int vault_backup_begin(struct vault *v, const char *path, struct vault_backup **out, char *why,
		       size_t why_size);

/* Positive outcome: call again. */
#define VAULT_BACKUP_MORE 1

/*
 * Copies up to pages pages (of 4 KiB). VAULT_BACKUP_MORE, 0 once the backup is durable at its path,
 * or a negative errno with one sentence in why; after either of the latter only
 * vault_backup_end() may be called.
 */
int vault_backup_step(struct vault_backup *b, int pages, char *why, size_t why_size);

struct vault_backup_progress {
	int done; /* pages, as of the last step; total may grow */
	int total;
};
void vault_backup_progress(const struct vault_backup *b, struct vault_backup_progress *out);

/* Removes what is not finished. NULL is allowed. */
void vault_backup_end(struct vault_backup *b);

/*
 * Keeps everybody from opening the vault at path, whose log is moved into it first: a descriptor,
 * which lasts until any descriptor of that file is closed by this process. -ENOENT: there is none;
 * -EBUSY: it is in use; another negative errno.
 */
int vault_hold(const char *path);

/* What a drill found. */
struct vault_drill {
	uint64_t records;
	uint64_t damaged;         /* or on pages that cannot be read */
	bool present;             /* there is a vault now */
	bool other_vault;         /* the ledger's file is that of another vault */
	uint32_t backup_entries;  /* the ledger's newest entry in the backup */
	uint32_t present_entries; /* the newest in the ledger's file; 0 when nothing tells */
};

/*
 * A drill: proves that the backup, with the `-wal` beside it if there is one, opens with these
 * openers and that every record in it does, in private copies beside options->path, which are
 * removed afterwards. The vault at options->path and its ledger are only read and may be in use.
 * options->anchor is not asked and create is ignored. 0 when the backup is good (out->damaged is
 * 0), VAULT_DAMAGED, another outcome of vault_open(), or a negative errno, with one sentence in
 * why. present_entries - backup_entries is what would be lost: at least, as a vault that serves may
 * have some that its file has not yet. Slow for large vaults and passphrases; any thread.
 */
int vault_restore_check(const struct vault_options *options, const char *backup,
			struct vault_drill *out, char *why, size_t why_size);

/*
 * The drill, and when it passes the backup takes the vault's place. Durable on return. Where root
 * restores, it is the user's who owned the vault, else of who owns the folder. What was
 * there is kept as options->path`.replaced` (or `.replaced.N`), its log likewise; the ledger's file
 * stays, so that the next vault_open() finds that an older state was put back. VAULT_LOCKED when
 * the vault is in use.
 */
int vault_restore(const struct vault_options *options, const char *backup, struct vault_drill *out,
		  char *why, size_t why_size);

#endif
