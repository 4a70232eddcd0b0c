#include "storage/vault-backup.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/file.h"
#include "storage/ledger.h"
#include "storage/vault-internal.h"
#include "storage/vault-ledger.h"

/* The bytes of a database file that SQLite locks, whatever its mode (its file format, 2.3). */
#define SQLITE_LOCK_FIRST 0x40000000
#define SQLITE_LOCK_COUNT 512

#define COPY_BLOCK   65536
#define REPLACED_MAX 99

/* The copy that a restore or a drill makes beside the vault, and what opening it makes. */
struct places {
	char *vault_ledger;
	char *copy;
	char *copy_log;
	char *copy_ledger;
};

static int failed(int r, const char *path, char *why, size_t why_size)
{
	snprintf(why, why_size, "restore %s: %s", path, strerror(r < 0 ? -r : EIO));
	return r;
}

static bool name_file(char **out, const char *path, const char *suffix)
{
	if (asprintf(out, "%s%s", path, suffix) >= 0)
		return true;
	*out = NULL;
	return false;
}

static bool places_set(struct places *p, const char *path, const char *suffix)
{
	*p = (struct places){0};
	return name_file(&p->vault_ledger, path, ".ledger") && name_file(&p->copy, path, suffix) &&
	       name_file(&p->copy_log, p->copy, "-wal") &&
	       name_file(&p->copy_ledger, p->copy, ".ledger");
}

static void remove_copy(const struct places *p)
{
	unlink(p->copy);
	unlink(p->copy_log);
	unlink(p->copy_ledger);
}

static void places_clear(struct places *p)
{
	free(p->vault_ledger);
	free(p->copy);
	free(p->copy_log);
	free(p->copy_ledger);
}

static int copy_descriptor(int from, int to)
{
	uint8_t *block = malloc(COPY_BLOCK);
	int r = block ? 0 : -ENOMEM;

	while (r == 0) {
		ssize_t n = read(from, block, COPY_BLOCK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			break;
		r = n < 0 ? -errno : file_write_all(to, bytes_of(block, (size_t)n));
	}
	if (r == 0 && fsync(to) < 0)
		r = -errno;
	free(block);
	return r;
}

/* A private copy at to, in place of anything that an earlier attempt left. */
static int copy_file(const char *from, const char *to)
{
	struct stat st;
	int target;
	int source;
	int r;

	if (unlink(to) < 0 && errno != ENOENT)
		return -errno;
	source = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (source < 0)
		return -errno;
	if (fstat(source, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(source);
		return -EINVAL;
	}
	target = open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (target < 0) {
		r = -errno;
		close(source);
		return r;
	}
	r = copy_descriptor(source, target);
	close(source);
	if (close(target) < 0 && r == 0)
		r = -errno;
	if (r < 0)
		unlink(to);
	return r;
}

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/*
 * How far the ledger beside the vault's place has come, and whether it is that of the vault with
 * this id. Nothing is told of a file that is none.
 */
static int compare_ledger(const struct places *p, const uint8_t id[VAULT_ID_SIZE],
			  struct vault_drill *out)
{
	int fd = open(p->vault_ledger, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	uint8_t header[LEDGER_HEADER_SIZE];
	uint8_t entry[LEDGER_ENTRY_SIZE];
	uint8_t own[LEDGER_VAULT_ID_SIZE];
	uint8_t public_key[KEY_SIZE];
	struct ledger_entry e;
	struct stat st;
	off_t count;
	int r = LEDGER_REFUSED;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) == 0 && pread(fd, header, sizeof(header), 0) == LEDGER_HEADER_SIZE)
		r = ledger_header_check(header, own, public_key);
	if (r == 0) {
		out->other_vault = memcmp(own, id, sizeof(own)) != 0;
		count = (st.st_size - LEDGER_HEADER_SIZE) / LEDGER_ENTRY_SIZE;
		r = LEDGER_REFUSED;
		if (count > 0 && pread(fd, entry, sizeof(entry),
				       LEDGER_HEADER_SIZE + (count - 1) * LEDGER_ENTRY_SIZE) ==
					 LEDGER_ENTRY_SIZE)
			r = ledger_entry_verify(public_key, own, entry);
	}
	close(fd);
	if (r == 0) {
		ledger_entry_decode(entry, &e);
		out->present_entries = e.sequence;
	}
	return r < 0 ? r : 0;
}

static int examine(struct vault *v, const struct places *p, struct vault_scan *found,
		   struct vault_drill *out)
{
	struct ledger_state state;
	int r = vault_scan(v, NULL, NULL, found);

	if (r != 0)
		return r;
	vault_ledger_state(v, &state);
	out->backup_entries = state.sequence;
	return compare_ledger(p, v->id, out);
}

/* Opens the copy. keep: it is to be the vault, and is marked as one that was put back. */
static int drill(const struct vault_options *options, const struct places *p, bool keep,
		 struct vault_drill *out, char *why, size_t why_size)
{
	struct vault_options drilled = *options;
	struct vault_scan found = {.sound = true};
	struct vault *v = NULL;
	int r;

	drilled.path = p->copy;
	drilled.create = false;
	drilled.anchor = NULL;
	r = vault_open(&drilled, &v, why, why_size);
	if (r != 0)
		return r;
	r = examine(v, p, &found, out);
	out->records = found.records;
	out->damaged = found.damaged + found.gaps;
	if (r == 0 && keep && out->damaged == 0 && found.sound && !out->other_vault) {
		r = vault_transaction(v, vault_restored_mark, NULL);
		if (r == 0)
			r = vault_log_empty(v);
	}
	vault_close(v);
	if (r != 0)
		return failed(r, p->copy, why, why_size);
	if (out->damaged == 0 && found.sound)
		return 0;
	snprintf(why, why_size, "the backup is damaged: %zu of %zu records do not open%s%s",
		 found.damaged, found.records, found.gaps > 0 ? ", others cannot be read" : "",
		 found.sound ? "" : ", records may be missing");
	return VAULT_DAMAGED;
}

/* A backup, or a vault that was copied with its log: what is in the log was acknowledged, too. */
static int copy_backup(const char *backup, const struct places *p)
{
	char *log = NULL;
	int r = name_file(&log, backup, "-wal") ? copy_file(backup, p->copy) : -ENOMEM;

	if (r == 0 && exists(log))
		r = copy_file(log, p->copy_log);
	free(log);
	return r;
}

/* Whoever restores may be root: the vault stays whose it was, or becomes the folder's owner's. */
static int give_to_owner(const char *copy, const char *vault)
{
	struct stat st;
	char *folder = NULL;
	int r = stat(vault, &st);

	if (r < 0) {
		folder = strdup(vault);
		r = folder ? stat(dirname(folder), &st) : -1;
	}
	if (r == 0 && st.st_uid != geteuid())
		r = chown(copy, st.st_uid, st.st_gid);
	r = r < 0 ? -errno : 0;
	free(folder);
	return r;
}

/* Leaves the drilled copy at p->copy when all is well and keep is set, else nothing. */
static int prepare(const struct vault_options *options, const char *backup, const struct places *p,
		   bool keep, struct vault_drill *out, char *why, size_t why_size)
{
	struct stat a, b;
	int r;

	*out = (struct vault_drill){.present = exists(options->path)};
	if (stat(backup, &a) == 0 && stat(options->path, &b) == 0 && a.st_dev == b.st_dev &&
	    a.st_ino == b.st_ino) {
		snprintf(why, why_size, "restore %s: that is the vault itself", backup);
		return -EINVAL;
	}
	remove_copy(p);
	r = copy_backup(backup, p);
	if (r < 0)
		return failed(r, backup, why, why_size);
	r = drill(options, p, keep, out, why, why_size);
	if (r != 0 || !keep) {
		remove_copy(p);
	} else {
		unlink(p->copy_log);
		unlink(p->copy_ledger);
	}
	return r;
}

int vault_restore_check(const struct vault_options *options, const char *backup,
			struct vault_drill *out, char *why, size_t why_size)
{
	struct places p;
	int r = -ENOMEM;

	if (places_set(&p, options->path, ".drill"))
		r = prepare(options, backup, &p, false, out, why, why_size);
	else
		failed(r, backup, why, why_size);
	places_clear(&p);
	return r;
}

/*
 * Moves the log of the vault that is to be replaced into it, as far as it is good. VAULT_LOCKED
 * when somebody has it open; what else is wrong with it does not matter here.
 */
static int settle(const struct vault_options *options)
{
	sqlite3 *db = NULL;
	int r = sqlite3_open_v2(options->path, &db,
				SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
				options->vfs);

	if (r == SQLITE_OK)
		r = sqlite3_exec(db,
				 "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL;"
				 "BEGIN EXCLUSIVE; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
				 NULL, NULL, NULL);
	(void)sqlite3_close(db);
	return (r & 0xff) == SQLITE_BUSY ? VAULT_LOCKED : 0;
}

/* A descriptor that keeps everybody else from opening the vault, or a negative errno. */
static int lock_out(const char *path)
{
	struct flock lock = {.l_type = F_WRLCK,
			     .l_whence = SEEK_SET,
			     .l_start = SQLITE_LOCK_FIRST,
			     .l_len = SQLITE_LOCK_COUNT};
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	int r;

	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_SETLK, &lock) == 0)
		return fd;
	r = errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;
	close(fd);
	return r;
}

int vault_hold(const char *path)
{
	const struct vault_options options = {.path = path};

	if (!exists(path))
		return -ENOENT;
	return settle(&options) == 0 ? lock_out(path) : -EBUSY;
}

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	return lstat(a, &x) == 0 && lstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* path.replaced, path.replaced.2 ..., with the name of its log. */
static int name_replaced(const char *path, int i, char **name, char **log)
{
	char suffix[24];

	*name = *log = NULL;
	snprintf(suffix, sizeof(suffix), i == 1 ? ".replaced" : ".replaced.%d", i);
	if (name_file(name, path, suffix) && name_file(log, *name, "-wal"))
		return 0;
	free(*name);
	*name = NULL;
	return -ENOMEM;
}

/* The first of them that is free, or is the vault itself: left by a restore that was cut short. */
static int free_name(const char *path, char **name, char **log)
{
	for (int i = 1; i <= REPLACED_MAX; i++) {
		int r = name_replaced(path, i, name, log);

		if (r != 0)
			return r;
		if (same_file(*name, path) && (unlink(*name) < 0 || unlink(*log) < 0) &&
		    errno != ENOENT)
			r = -errno;
		if (r == 0 && !exists(*name) && !exists(*log))
			return 0;
		free(*name);
		free(*log);
		*name = *log = NULL;
		if (r != 0)
			return r;
	}
	return -EEXIST;
}

/*
 * Vault and log keep their names until the restored one takes that of the vault, so that there
 * always is one with its log. A log is moved away even where its vault is gone.
 */
static int keep_replaced(const char *path, const char *own_log)
{
	char *name = NULL;
	char *log = NULL;
	bool gone = false;
	int r = free_name(path, &name, &log);

	if (r == 0 && link(path, name) < 0) {
		gone = errno == ENOENT;
		r = gone ? 0 : -errno;
	}
	if (r == 0 && (gone ? rename(own_log, log) : link(own_log, log)) < 0 && errno != ENOENT)
		r = -errno;
	free(name);
	free(log);
	return r;
}

/* Whether the log at path's is one that a replaced vault has taken along. */
static int log_is_replaced(const char *path, const char *own_log, bool *out)
{
	char *name = NULL;
	char *log = NULL;
	int r = 0;

	*out = false;
	for (int i = 1; r == 0 && !*out && i <= REPLACED_MAX; i++) {
		r = name_replaced(path, i, &name, &log);
		if (r == 0)
			*out = same_file(log, own_log) && exists(name) && !same_file(name, path);
		free(name);
		free(log);
	}
	return r;
}

static int drop_replaced_log(const char *path, const char *own_log)
{
	bool replaced = false;
	int r = log_is_replaced(path, own_log, &replaced);

	if (r == 0 && replaced && unlink(own_log) < 0)
		r = -errno;
	return r == 0 && replaced ? file_sync_folder_of(path) : r;
}

int vault_restore_finish(const char *path)
{
	char *own_log = NULL;
	struct stat st;
	int fd;
	int r = 0;

	if (!name_file(&own_log, path, "-wal"))
		return -ENOMEM;
	if (lstat(own_log, &st) == 0 && st.st_nlink > 1 && exists(path)) {
		/* One who has the vault open has been here, or is just restoring it. */
		fd = lock_out(path);
		r = fd < 0 ? fd : drop_replaced_log(path, own_log);
		if (fd >= 0)
			close(fd);
	}
	free(own_log);
	return r == -EBUSY ? 0 : r;
}

static int exchange(const struct vault_options *options, const struct places *p,
		    const char *own_log)
{
	int r = keep_replaced(options->path, own_log);

	/* Both names of the old one are durable before the new one replaces it, */
	if (r == 0)
		r = file_sync_folder_of(options->path);
	if (r == 0 && rename(p->copy, options->path) < 0)
		r = -errno;
	if (r == 0)
		r = file_sync_folder_of(options->path);
	/* and that is before the log goes. In between vault_restore_finish() knows whose it is. */
	return r == 0 ? drop_replaced_log(options->path, own_log) : r;
}

static int take_place(const struct vault_options *options, const struct places *p)
{
	char *own_log = NULL;
	/* Nobody opens the restored one before it is without that log. */
	int fd = lock_out(p->copy);
	int r = fd < 0 ? fd : 0;

	if (r == 0)
		r = name_file(&own_log, options->path, "-wal") ? exchange(options, p, own_log)
							       : -ENOMEM;
	if (fd >= 0)
		close(fd);
	free(own_log);
	return r;
}

static int restore_locked(const struct vault_options *options, const char *backup,
			  const struct places *p, struct vault_drill *out, char *why,
			  size_t why_size)
{
	int r = prepare(options, backup, p, true, out, why, why_size);

	if (r != 0)
		return r;
	if (out->other_vault) {
		unlink(p->copy);
		snprintf(why, why_size, "%s is of another vault: move %s and its ledger away first",
			 backup, options->path);
		return VAULT_REFUSED;
	}
	r = give_to_owner(p->copy, options->path);
	if (r == 0)
		r = take_place(options, p);
	if (r < 0) {
		unlink(p->copy);
		return failed(r, options->path, why, why_size);
	}
	return 0;
}

static int restore(const struct vault_options *options, const char *backup, const struct places *p,
		   struct vault_drill *out, char *why, size_t why_size)
{
	int fd = -ENOENT;
	int r;

	if (exists(options->path))
		fd = settle(options) == 0 ? lock_out(options->path) : -EBUSY;
	if (fd == -EBUSY) {
		snprintf(why, why_size, "vault %s is in use: stop what uses it first",
			 options->path);
		return VAULT_LOCKED;
	}
	if (fd < 0 && fd != -ENOENT)
		return failed(fd, options->path, why, why_size);
	r = restore_locked(options, backup, p, out, why, why_size);
	if (fd >= 0)
		close(fd);
	return r;
}

int vault_restore(const struct vault_options *options, const char *backup, struct vault_drill *out,
		  char *why, size_t why_size)
{
	struct places p;
	int r = -ENOMEM;

	if (places_set(&p, options->path, ".restore"))
		r = restore(options, backup, &p, out, why, why_size);
	else
		failed(r, backup, why, why_size);
	places_clear(&p);
	return r;
}
