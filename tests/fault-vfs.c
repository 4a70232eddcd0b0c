#include "fault-vfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>
#include <sqlite3.h>

static struct {
	struct fault plan;
	unsigned counts[FAULT_OPERATIONS];
	unsigned struck;
	int last_errno;
	sqlite3_vfs *real;
	sqlite3_vfs vfs;
} faults;

/* What SQLite is told where the system would have told an errno. */
static const int io_results[FAULT_OPERATIONS] = {
	[FAULT_READ] = SQLITE_IOERR_READ,     [FAULT_WRITE] = SQLITE_IOERR_WRITE,
	[FAULT_SYNC] = SQLITE_IOERR_FSYNC,    [FAULT_TRUNCATE] = SQLITE_IOERR_TRUNCATE,
	[FAULT_DELETE] = SQLITE_IOERR_DELETE, [FAULT_OPEN] = SQLITE_CANTOPEN,
};

void fault_plan(const struct fault *f)
{
	static const struct fault none = {.kind = FAULT_NONE};

	faults.plan = f ? *f : none;
	memset(faults.counts, 0, sizeof(faults.counts));
	faults.struck = 0;
	faults.last_errno = 0;
}

unsigned fault_count(enum fault_operation operation)
{
	return faults.counts[operation];
}

unsigned fault_struck(void)
{
	return faults.struck;
}

enum fault_kind fault_next(enum fault_operation operation)
{
	unsigned n = ++faults.counts[operation];
	const struct fault *f = &faults.plan;

	faults.last_errno = 0;
	if (f->kind == FAULT_NONE || f->operation != operation || n < f->at ||
	    (n > f->at && !f->lasting) || (f->times > 0 && n >= f->at + f->times))
		return FAULT_NONE;
	faults.struck++;
	return f->kind;
}

int fault_errno(enum fault_kind kind)
{
	switch (kind) {
	case FAULT_IO:
		return EIO;
	case FAULT_FULL:
		return ENOSPC;
	case FAULT_MEMORY:
		return ENOMEM;
	case FAULT_READ_ONLY:
		return EROFS;
	case FAULT_NONE:
	case FAULT_TORN:
	case FAULT_DROPPED:
		break;
	}
	return 0;
}

size_t fault_torn_size(uint64_t offset, size_t size)
{
	uint64_t end = (offset + size / 2 + 511) / 512 * 512;

	return end >= offset + size ? 0 : (size_t)(end - offset);
}

/* SQLITE_OK, or what the operation fails with. */
static int result_of(enum fault_kind kind, enum fault_operation operation)
{
	faults.last_errno = fault_errno(kind);
	switch (kind) {
	case FAULT_NONE:
	case FAULT_TORN:
	case FAULT_DROPPED:
		return SQLITE_OK;
	case FAULT_FULL:
		return operation == FAULT_WRITE ? SQLITE_FULL : io_results[operation];
	case FAULT_MEMORY:
		return operation == FAULT_OPEN ? SQLITE_NOMEM : SQLITE_IOERR_NOMEM;
	case FAULT_IO:
	case FAULT_READ_ONLY:
		break;
	}
	return io_results[operation];
}

/* The file as SQLite sees it; the real one lies behind it. */
struct fault_file {
	sqlite3_file base;
	int file;
	bool sync_folder; /* the first flush of a new log flushes its folder, as the real one does
			   */
	char *folder;
	int last_errno;
	sqlite3_file *real;
};

static struct fault_file *of(sqlite3_file *f)
{
	return (struct fault_file *)(void *)f;
}

static int file_close(sqlite3_file *f)
{
	int r = of(f)->real->pMethods ? of(f)->real->pMethods->xClose(of(f)->real) : SQLITE_OK;

	free(of(f)->folder);
	return r;
}

static int file_read(sqlite3_file *f, void *data, int size, sqlite3_int64 offset)
{
	int r = result_of(fault_next(FAULT_READ), FAULT_READ);

	return r ? r : of(f)->real->pMethods->xRead(of(f)->real, data, size, offset);
}

/* What the file itself remembers, as the system's does. */
static int told(sqlite3_file *f, enum fault_kind kind, enum fault_operation operation)
{
	if (fault_errno(kind))
		of(f)->last_errno = fault_errno(kind);
	return result_of(kind, operation);
}

static int file_write(sqlite3_file *f, const void *data, int size, sqlite3_int64 offset)
{
	enum fault_kind kind = fault_next(FAULT_WRITE);
	int r = told(f, kind, FAULT_WRITE);

	if (kind == FAULT_TORN)
		size = (int)fault_torn_size((uint64_t)offset, (size_t)size);
	if (r != SQLITE_OK || kind == FAULT_DROPPED || size == 0)
		return r;
	r = of(f)->real->pMethods->xWrite(of(f)->real, data, size, offset);
	if (r == SQLITE_OK)
		disk_wrote(of(f)->file, (uint64_t)offset, data, (size_t)size);
	return r;
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	enum fault_kind kind = fault_next(FAULT_TRUNCATE);
	int r = told(f, kind, FAULT_TRUNCATE);

	if (r != SQLITE_OK || kind == FAULT_DROPPED)
		return r;
	r = of(f)->real->pMethods->xTruncate(of(f)->real, size);
	if (r == SQLITE_OK)
		disk_truncated(of(f)->file, (uint64_t)size);
	return r;
}

/* The real flush is left out: what a power cut leaves is this file's own business. */
static int file_sync(sqlite3_file *f, int flags)
{
	enum fault_kind kind = fault_next(FAULT_SYNC);
	int r = told(f, kind, FAULT_SYNC);

	(void)flags;
	if (r != SQLITE_OK || kind == FAULT_DROPPED)
		return r;
	disk_synced(of(f)->file);
	if (of(f)->sync_folder)
		disk_folder_synced(of(f)->folder);
	of(f)->sync_folder = false;
	return SQLITE_OK;
}

static int file_size(sqlite3_file *f, sqlite3_int64 *size)
{
	return of(f)->real->pMethods->xFileSize(of(f)->real, size);
}

static int file_lock(sqlite3_file *f, int level)
{
	return of(f)->real->pMethods->xLock(of(f)->real, level);
}

static int file_unlock(sqlite3_file *f, int level)
{
	return of(f)->real->pMethods->xUnlock(of(f)->real, level);
}

static int file_check_lock(sqlite3_file *f, int *out)
{
	return of(f)->real->pMethods->xCheckReservedLock(of(f)->real, out);
}

static int file_control(sqlite3_file *f, int operation, void *arg)
{
	if (operation == SQLITE_FCNTL_LAST_ERRNO && of(f)->last_errno) {
		*(int *)arg = of(f)->last_errno;
		return SQLITE_OK;
	}
	return of(f)->real->pMethods->xFileControl(of(f)->real, operation, arg);
}

static int file_sector(sqlite3_file *f)
{
	return of(f)->real->pMethods->xSectorSize(of(f)->real);
}

static int file_device(sqlite3_file *f)
{
	return of(f)->real->pMethods->xDeviceCharacteristics(of(f)->real);
}

/* Version 1: no shared memory, no mapped pages. */
static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = file_close,
	.xRead = file_read,
	.xWrite = file_write,
	.xTruncate = file_truncate,
	.xSync = file_sync,
	.xFileSize = file_size,
	.xLock = file_lock,
	.xUnlock = file_unlock,
	.xCheckReservedLock = file_check_lock,
	.xFileControl = file_control,
	.xSectorSize = file_sector,
	.xDeviceCharacteristics = file_device,
};

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
}

static int vfs_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *f, int flags, int *out)
{
	const int logs = SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL;
	struct fault_file *file = of(f);
	enum fault_kind kind = fault_next(FAULT_OPEN);
	int r = result_of(kind, FAULT_OPEN);
	struct stat st;
	bool created;

	(void)vfs;
	memset(file, 0, sizeof(*file));
	file->file = DISK_NO_FILE;
	file->real = (sqlite3_file *)(void *)(file + 1);
	if (r != SQLITE_OK)
		return r;
	created = name && stat(name, &st) < 0;
	r = faults.real->xOpen(faults.real, name, file->real, flags, out);
	if (r != SQLITE_OK && !file->real->pMethods)
		return r;
	f->pMethods = &methods;
	if (r == SQLITE_OK && name) {
		file->file = disk_opened(name, created, false);
		file->sync_folder = (flags & SQLITE_OPEN_CREATE) && (flags & logs);
		file->folder = folder_of(name);
	}
	return r;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
	enum fault_kind kind = fault_next(FAULT_DELETE);
	int r = result_of(kind, FAULT_DELETE);
	char *folder;

	(void)vfs;
	if (r != SQLITE_OK || kind == FAULT_DROPPED)
		return r;
	r = faults.real->xDelete(faults.real, name, 0);
	if (r == SQLITE_OK)
		disk_unlinked(name);
	if (r == SQLITE_OK && sync_folder) {
		folder = folder_of(name);
		disk_folder_synced(folder);
		free(folder);
	}
	return r;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
	(void)vfs;
	return faults.real->xAccess(faults.real, name, flags, out);
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
	(void)vfs;
	return faults.real->xFullPathname(faults.real, name, size, out);
}

static int vfs_random(sqlite3_vfs *vfs, int size, char *out)
{
	(void)vfs;
	return faults.real->xRandomness(faults.real, size, out);
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
	(void)vfs;
	return faults.real->xSleep(faults.real, microseconds);
}

static int vfs_time(sqlite3_vfs *vfs, double *out)
{
	(void)vfs;
	return faults.real->xCurrentTime(faults.real, out);
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *out)
{
	(void)vfs;
	if (faults.last_errno)
		return faults.last_errno;
	return faults.real->xGetLastError(faults.real, size, out);
}

void fault_vfs_register(bool as_default)
{
	if (!faults.real) {
		faults.real = sqlite3_vfs_find(NULL);
		ck_assert_ptr_nonnull(faults.real);
		faults.vfs = (sqlite3_vfs){
			.iVersion = 1,
			.szOsFile = (int)sizeof(struct fault_file) + faults.real->szOsFile,
			.mxPathname = faults.real->mxPathname,
			.zName = FAULT_VFS,
			.xOpen = vfs_open,
			.xDelete = vfs_delete,
			.xAccess = vfs_access,
			.xFullPathname = vfs_full_path,
			.xRandomness = vfs_random,
			.xSleep = vfs_sleep,
			.xCurrentTime = vfs_time,
			.xGetLastError = vfs_last_error,
		};
	}
	ck_assert_int_eq(sqlite3_vfs_register(&faults.vfs, as_default), SQLITE_OK);
}
