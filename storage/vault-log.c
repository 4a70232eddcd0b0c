/*
 * The log of a vault, with fewer and larger writes: SQLite writes each frame of a commit in two
 * pieces, and only then flushes. Here the pieces that lie one behind the other are put together
 * and written at once, at the latest before they are flushed. What is durable when, and in which
 * order, is the same: before a flush nothing is promised about what was written.
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/vault-internal.h"

/* What waits at most. SQLite's own VFS takes less than 128 KiB at a time. */
#define WAITING_FIRST ((size_t)15 << 10)
#define WAITING_MAX   ((size_t)120 << 10)

/* Only for logs. The file of the VFS below lies behind it. */
struct log_file {
	sqlite3_file base;
	sqlite3_file *below;
	uint8_t *waiting;
	size_t size;
	size_t capacity;
	sqlite3_int64 offset; /* of what waits */
};

/* One for each VFS below. They stay: SQLite knows them by address. */
struct log_vfs {
	sqlite3_vfs vfs;
	sqlite3_vfs *below;
	struct log_vfs *next;
	char name[64];
};

static struct log_vfs *all;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

_Static_assert(sizeof(struct log_file) % 8 == 0, "the file below is aligned");

static struct log_file *of(sqlite3_file *f)
{
	return (struct log_file *)(void *)f;
}

/* What could not be written is given up, as a write that failed is: SQLite rolls back. */
static int write_waiting(struct log_file *f)
{
	size_t size = f->size;

	f->size = 0;
	if (size == 0)
		return SQLITE_OK;
	return f->below->pMethods->xWrite(f->below, f->waiting, (int)size, f->offset);
}

static bool make_room(struct log_file *f, size_t size)
{
	size_t capacity = f->capacity ? f->capacity : WAITING_FIRST;
	uint8_t *waiting;

	while (capacity < size)
		capacity *= 2;
	if (capacity == f->capacity)
		return true;
	waiting = capacity <= WAITING_MAX ? realloc(f->waiting, capacity) : NULL;
	if (!waiting)
		return false;
	f->waiting = waiting;
	f->capacity = capacity;
	return true;
}

static int log_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
	struct log_file *f = of(file);
	int r = SQLITE_OK;

	if (f->size > 0 &&
	    (offset != f->offset + (sqlite3_int64)f->size || !make_room(f, f->size + (size_t)size)))
		r = write_waiting(f);
	if (r != SQLITE_OK)
		return r;
	if (!make_room(f, f->size + (size_t)size))
		return f->below->pMethods->xWrite(f->below, data, size, offset);
	if (f->size == 0)
		f->offset = offset;
	memcpy(f->waiting + f->size, data, (size_t)size);
	f->size += (size_t)size;
	return SQLITE_OK;
}

static int log_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
	struct log_file *f = of(file);
	const sqlite3_int64 end = f->offset + (sqlite3_int64)f->size;
	int r = SQLITE_OK;

	if (offset >= f->offset && offset + size <= end) {
		memcpy(data, f->waiting + (offset - f->offset), (size_t)size);
		return SQLITE_OK;
	}
	if (f->size > 0 && offset < end && offset + size > f->offset)
		r = write_waiting(f);
	return r == SQLITE_OK ? f->below->pMethods->xRead(f->below, data, size, offset) : r;
}

static int log_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	int r = write_waiting(of(file));

	return r == SQLITE_OK ? of(file)->below->pMethods->xTruncate(of(file)->below, size) : r;
}

static int log_sync(sqlite3_file *file, int flags)
{
	int r = write_waiting(of(file));

	return r == SQLITE_OK ? of(file)->below->pMethods->xSync(of(file)->below, flags) : r;
}

static int log_size(sqlite3_file *file, sqlite3_int64 *size)
{
	int r = write_waiting(of(file));

	return r == SQLITE_OK ? of(file)->below->pMethods->xFileSize(of(file)->below, size) : r;
}

/* What waits was not flushed, so it is promised to nobody. */
static int log_close(sqlite3_file *file)
{
	free(of(file)->waiting);
	return of(file)->below->pMethods->xClose(of(file)->below);
}

static int log_lock(sqlite3_file *file, int level)
{
	return of(file)->below->pMethods->xLock(of(file)->below, level);
}

static int log_unlock(sqlite3_file *file, int level)
{
	return of(file)->below->pMethods->xUnlock(of(file)->below, level);
}

static int log_check_lock(sqlite3_file *file, int *out)
{
	return of(file)->below->pMethods->xCheckReservedLock(of(file)->below, out);
}

static int log_control(sqlite3_file *file, int operation, void *arg)
{
	return of(file)->below->pMethods->xFileControl(of(file)->below, operation, arg);
}

static int log_sector(sqlite3_file *file)
{
	return of(file)->below->pMethods->xSectorSize(of(file)->below);
}

static int log_device(sqlite3_file *file)
{
	return of(file)->below->pMethods->xDeviceCharacteristics(of(file)->below);
}

static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = log_close,
	.xRead = log_read,
	.xWrite = log_write,
	.xTruncate = log_truncate,
	.xSync = log_sync,
	.xFileSize = log_size,
	.xLock = log_lock,
	.xUnlock = log_unlock,
	.xCheckReservedLock = log_check_lock,
	.xFileControl = log_control,
	.xSectorSize = log_sector,
	.xDeviceCharacteristics = log_device,
};

static int log_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags,
		    int *out)
{
	sqlite3_vfs *below = ((struct log_vfs *)(void *)vfs)->below;
	struct log_file *f = of(file);
	int r;

	if (!(flags & SQLITE_OPEN_WAL))
		return below->xOpen(below, name, file, flags, out);
	memset(f, 0, sizeof(*f));
	f->below = (sqlite3_file *)(void *)(f + 1);
	r = below->xOpen(below, name, f->below, flags, out);
	if (f->below->pMethods)
		f->base.pMethods = &methods;
	return r;
}

/* Its other functions are those of below, which know their VFS by pAppData: that is the same. */
static int new_vfs(sqlite3_vfs *below, struct log_vfs **out)
{
	struct log_vfs *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return SQLITE_NOMEM;
	(void)snprintf(l->name, sizeof(l->name), "pngw-vault over %p", (void *)below);
	l->vfs = *below;
	l->vfs.szOsFile += (int)sizeof(struct log_file);
	l->vfs.zName = l->name;
	l->vfs.pNext = NULL;
	l->vfs.xOpen = log_open;
	l->below = below;
	r = sqlite3_vfs_register(&l->vfs, 0);
	if (r != SQLITE_OK) {
		free(l);
		return r;
	}
	l->next = all;
	all = l;
	*out = l;
	return SQLITE_OK;
}

int vault_log_vfs(const char *below, const char **out)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(below);
	struct log_vfs *l;
	int r = SQLITE_OK;

	if (!vfs)
		return SQLITE_ERROR;
	pthread_mutex_lock(&lock);
	l = all;
	while (l && l->below != vfs)
		l = l->next;
	if (!l)
		r = new_vfs(vfs, &l);
	pthread_mutex_unlock(&lock);
	if (r == SQLITE_OK)
		*out = l->name;
	return r;
}
