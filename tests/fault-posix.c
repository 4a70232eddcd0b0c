/*
 * The file operations of our own code, by the linker's --wrap: counted, failed and recorded like
 * those of SQLite. Reads are left alone, flushes are only recorded.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "fault-vfs.h"

#define DESCRIPTORS 1024

static struct {
	int file; /* one more than its number, so that 0 is none */
	char folder[128];
} descriptors[DESCRIPTORS];

int fault_checkpoint_pages;

int __real_sqlite3_exec(sqlite3 *db, const char *sql, int (*each)(void *, int, char **, char **),
			void *arg, char **error);
int __real_open(const char *path, int flags, ...);
ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __real_pwrite(int fd, const void *data, size_t size, off_t offset);
int __real_ftruncate(int fd, off_t size);
int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __real_rename(const char *from, const char *to);
int __real_renameat2(int from_folder, const char *from, int to_folder, const char *to,
		     unsigned flags);
int __real_unlink(const char *path);
int __real_link(const char *from, const char *to);
int __real_close(int fd);
int __wrap_sqlite3_exec(sqlite3 *db, const char *sql, int (*each)(void *, int, char **, char **),
			void *arg, char **error);
int __wrap_open(const char *path, int flags, ...);
ssize_t __wrap_write(int fd, const void *data, size_t size);
ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t offset);
int __wrap_ftruncate(int fd, off_t size);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_rename(const char *from, const char *to);
int __wrap_renameat2(int from_folder, const char *from, int to_folder, const char *to,
		     unsigned flags);
int __wrap_unlink(const char *path);
int __wrap_link(const char *from, const char *to);
int __wrap_close(int fd);

static int recorded(int fd)
{
	return fd >= 0 && fd < DESCRIPTORS ? descriptors[fd].file - 1 : DISK_NO_FILE;
}

/* 0, or -1 and errno is set. */
static int planned(enum fault_operation operation, enum fault_kind *kind)
{
	*kind = fault_next(operation);
	if (fault_errno(*kind) == 0)
		return 0;
	errno = fault_errno(*kind);
	return -1;
}

int __wrap_open(const char *path, int flags, ...)
{
	enum fault_kind kind;
	mode_t mode = 0;
	struct stat st;
	bool absent = stat(path, &st) < 0;
	va_list list;
	int fd;

	if (flags & O_CREAT) {
		va_start(list, flags);
		mode = va_arg(list, mode_t);
		va_end(list);
	}
	if (planned(FAULT_OPEN, &kind) < 0)
		return -1;
	fd = __real_open(path, flags, mode);
	if (fd < 0 || fd >= DESCRIPTORS)
		return fd;
	descriptors[fd].file = 0;
	descriptors[fd].folder[0] = '\0';
	if (flags & O_DIRECTORY)
		(void)snprintf(descriptors[fd].folder, sizeof(descriptors[fd].folder), "%s", path);
	else
		descriptors[fd].file =
			1 + disk_opened(path, absent && (flags & O_CREAT), flags & O_TRUNC);
	return fd;
}

ssize_t __wrap_write(int fd, const void *data, size_t size)
{
	int file = recorded(fd);
	enum fault_kind kind;
	off_t at;
	ssize_t n;

	if (file == DISK_NO_FILE)
		return __real_write(fd, data, size);
	if (planned(FAULT_WRITE, &kind) < 0)
		return -1;
	if (kind == FAULT_DROPPED)
		return lseek(fd, (off_t)size, SEEK_CUR) < 0 ? -1 : (ssize_t)size;
	n = __real_write(fd, data, kind == FAULT_TORN && size > 1 ? size / 2 : size);
	at = lseek(fd, 0, SEEK_CUR);
	if (n > 0)
		disk_wrote(file, (uint64_t)(at - n), data, (size_t)n);
	return n;
}

ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t offset)
{
	int file = recorded(fd);
	enum fault_kind kind;
	ssize_t n;

	if (file == DISK_NO_FILE)
		return __real_pwrite(fd, data, size, offset);
	if (planned(FAULT_WRITE, &kind) < 0)
		return -1;
	if (kind == FAULT_DROPPED)
		return (ssize_t)size;
	n = __real_pwrite(fd, data, kind == FAULT_TORN && size > 1 ? size / 2 : size, offset);
	if (n > 0)
		disk_wrote(file, (uint64_t)offset, data, (size_t)n);
	return n;
}

int __wrap_ftruncate(int fd, off_t size)
{
	enum fault_kind kind;
	int r;

	if (recorded(fd) == DISK_NO_FILE)
		return __real_ftruncate(fd, size);
	if (planned(FAULT_TRUNCATE, &kind) < 0)
		return -1;
	r = __real_ftruncate(fd, size);
	if (r == 0)
		disk_truncated(recorded(fd), (uint64_t)size);
	return r;
}

static int sync_recorded(int fd)
{
	enum fault_kind kind;

	if (planned(FAULT_SYNC, &kind) < 0)
		return -1;
	if (kind == FAULT_DROPPED)
		return 0;
	if (recorded(fd) != DISK_NO_FILE)
		disk_synced(recorded(fd));
	else
		disk_folder_synced(descriptors[fd].folder);
	return 0;
}

static bool is_ours(int fd)
{
	return recorded(fd) != DISK_NO_FILE ||
	       (fd >= 0 && fd < DESCRIPTORS && descriptors[fd].folder[0]);
}

int __wrap_fsync(int fd)
{
	return is_ours(fd) ? sync_recorded(fd) : __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
	return is_ours(fd) ? sync_recorded(fd) : __real_fdatasync(fd);
}

int __wrap_rename(const char *from, const char *to)
{
	int r = __real_rename(from, to);

	if (r == 0)
		disk_renamed(from, to);
	return r;
}

int __wrap_renameat2(int from_folder, const char *from, int to_folder, const char *to,
		     unsigned flags)
{
	int r = __real_renameat2(from_folder, from, to_folder, to, flags);

	if (r == 0)
		disk_renamed(from, to);
	return r;
}

int __wrap_unlink(const char *path)
{
	enum fault_kind kind;
	int r;

	if (planned(FAULT_DELETE, &kind) < 0)
		return -1;
	r = __real_unlink(path);
	if (r == 0)
		disk_unlinked(path);
	return r;
}

int __wrap_link(const char *from, const char *to)
{
	int r = __real_link(from, to);

	if (r == 0)
		disk_linked(from, to);
	return r;
}

int __wrap_close(int fd)
{
	if (fd >= 0 && fd < DESCRIPTORS)
		memset(&descriptors[fd], 0, sizeof(descriptors[fd]));
	return __real_close(fd);
}

int __wrap_sqlite3_exec(sqlite3 *db, const char *sql, int (*each)(void *, int, char **, char **),
			void *arg, char **error)
{
	int r = __real_sqlite3_exec(db, sql, each, arg, error);

	if (r == SQLITE_OK && fault_checkpoint_pages && strstr(sql, "wal_autocheckpoint"))
		r = sqlite3_wal_autocheckpoint(db, fault_checkpoint_pages);
	return r;
}
