#include "storage/vault-backup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/file.h"
#include "storage/vault-internal.h"

struct vault_backup {
	sqlite3_backup *copy; /* NULL once it ended */
	sqlite3 *target;
	char *path;
	char *new_path;
	struct vault_backup_progress progress;
	bool made; /* new_path is ours */
};

static int failed(int r, const char *path, char *why, size_t why_size)
{
	snprintf(why, why_size, "backup %s: %s", path, strerror(-r));
	return r;
}

/* Whether both names are one file; a file that is not there is no other. */
static bool same_file(const char *a, const char *b)
{
	struct stat sa, sb;

	return a && b && stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

/* Whether what is there may be replaced: a vault, or nothing in it. */
static bool replaceable(const char *path)
{
	static const char magic[16] = "SQLite format 3";
	static const uint8_t id[4] = {'P', 'N', 'G', 'W'};
	uint8_t header[72];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT;
	n = pread(fd, header, sizeof(header), 0);
	close(fd);
	return n == 0 || (n == sizeof(header) && memcmp(header, magic, sizeof(magic)) == 0 &&
			  memcmp(header + 68, id, sizeof(id)) == 0);
}

static int check_target(struct vault *v, const char *path, char *why, size_t why_size)
{
	const char *own = sqlite3_db_filename(v->db, "main");
	char *log = NULL;
	struct stat st;
	int r = 0;

	if (same_file(path, own) || same_file(path, sqlite3_filename_wal(own))) {
		snprintf(why, why_size, "backup %s: that is the vault itself", path);
		return -EINVAL;
	}
	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		snprintf(why, why_size, "backup %s: there is something that is no file", path);
		return -EEXIST;
	}
	if (!replaceable(path)) {
		snprintf(why, why_size, "backup %s: the file that is there is not a vault's", path);
		return -EEXIST;
	}
	if (asprintf(&log, "%s-wal", path) < 0)
		return failed(-ENOMEM, path, why, why_size);
	/* It would be taken for the new file's log. */
	if (lstat(log, &st) == 0) {
		snprintf(why, why_size, "backup %s: an older one is open, or was (%s)", path, log);
		r = -EEXIST;
	}
	free(log);
	return r;
}

/* The file must be ours alone before SQLite sees it. */
static int make_target(struct vault *v, struct vault_backup *b)
{
	sqlite3_vfs *vfs = NULL;
	int fd;
	int r;

	if (unlink(b->new_path) < 0 && errno != ENOENT)
		return -errno;
	fd = open(b->new_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	b->made = true;
	close(fd);
	(void)sqlite3_file_control(v->db, "main", SQLITE_FCNTL_VFS_POINTER, (void *)&vfs);
	r = sqlite3_open_v2(b->new_path, &b->target,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
			    vfs ? vfs->zName : NULL);
	/* A crash leaves nothing that anybody would open; the file is synchronised at the end. */
	if (r == SQLITE_OK)
		r = sqlite3_exec(b->target,
				 "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
				 "PRAGMA locking_mode = EXCLUSIVE; PRAGMA mmap_size = 0",
				 NULL, NULL, NULL);
	return r == SQLITE_OK ? 0 : vault_errno(r);
}

int vault_backup_begin(struct vault *v, const char *path, struct vault_backup **out, char *why,
		       size_t why_size)
{
	struct vault_backup *b;
	int r = check_target(v, path, why, why_size);

	if (r != 0)
		return r;
	b = calloc(1, sizeof(*b));
	if (!b)
		return failed(-ENOMEM, path, why, why_size);
	b->path = strdup(path);
	if (!b->path || asprintf(&b->new_path, "%s.new", path) < 0) {
		b->new_path = NULL;
		vault_backup_end(b);
		return failed(-ENOMEM, path, why, why_size);
	}
	r = make_target(v, b);
	if (r == 0) {
		b->copy = sqlite3_backup_init(b->target, "main", v->db, "main");
		if (!b->copy)
			r = vault_errno(sqlite3_extended_errcode(b->target));
	}
	if (r != 0) {
		vault_backup_end(b);
		return failed(r, path, why, why_size);
	}
	*out = b;
	return 0;
}

static int sync_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		r = -errno;
	close(fd);
	return r;
}

static int close_target(struct vault_backup *b)
{
	int r = SQLITE_OK;

	if (b->copy)
		r = sqlite3_backup_finish(b->copy);
	b->copy = NULL;
	if (b->target && sqlite3_close(b->target) != SQLITE_OK && r == SQLITE_OK)
		r = SQLITE_IOERR;
	b->target = NULL;
	return r == SQLITE_OK ? 0 : vault_errno(r);
}

static int finish(struct vault_backup *b)
{
	int r = close_target(b);

	if (r == 0)
		r = sync_file(b->new_path);
	if (r == 0 && rename(b->new_path, b->path) < 0)
		r = -errno;
	if (r == 0) {
		b->made = false;
		r = file_sync_folder_of(b->path);
	}
	return r;
}

int vault_backup_step(struct vault_backup *b, int pages, char *why, size_t why_size)
{
	int r;

	if (!b->copy)
		return -EINVAL;
	r = sqlite3_backup_step(b->copy, pages > 0 ? pages : 1);
	b->progress.total = sqlite3_backup_pagecount(b->copy);
	b->progress.done = b->progress.total - sqlite3_backup_remaining(b->copy);
	if (r == SQLITE_OK)
		return VAULT_BACKUP_MORE;
	if (r == SQLITE_DONE) {
		r = finish(b);
	} else {
		r = vault_errno(r);
		(void)close_target(b);
	}
	if (r != 0)
		return failed(r, b->path, why, why_size);
	return 0;
}

void vault_backup_progress(const struct vault_backup *b, struct vault_backup_progress *out)
{
	*out = b->progress;
}

void vault_backup_end(struct vault_backup *b)
{
	if (!b)
		return;
	(void)close_target(b);
	if (b->made && b->new_path)
		unlink(b->new_path);
	free(b->new_path);
	free(b->path);
	free(b);
}
