/*
 * What was erased or replaced stands, sealed, in the log until that is written over. Here the log
 * is moved into the file, overwritten where it lies and cut to nothing, so that its blocks do not
 * keep it either when they become free.
 */

#include <errno.h>

#include "storage/vault-internal.h"
#include "storage/vault-ledger.h"

#define ZEROS  65536
#define HEADER 32 /* of the log: SQLite's format */

static int overwrite(sqlite3_file *log)
{
	static const uint8_t zeros[ZEROS];
	sqlite3_int64 size = 0;
	int r = log->pMethods->xFileSize(log, &size);

	if (r != SQLITE_OK || size == 0)
		return r;
	/* First its header, for good: a log of which only the end is gone tells an older state. */
	r = log->pMethods->xWrite(log, zeros, HEADER, 0);
	if (r == SQLITE_OK)
		r = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
	for (sqlite3_int64 at = HEADER; r == SQLITE_OK && at < size; at += ZEROS)
		r = log->pMethods->xWrite(log, zeros, size - at < ZEROS ? (int)(size - at) : ZEROS,
					  at);
	return r == SQLITE_OK ? log->pMethods->xSync(log, SQLITE_SYNC_NORMAL) : r;
}

static int scrub(struct vault *v)
{
	sqlite3_file *log = NULL;
	int frames = 0;
	int moved = 0;
	int r;

	/* RESTART: all is in the file and durable there, or this fails. */
	r = sqlite3_wal_checkpoint_v2(v->db, NULL, SQLITE_CHECKPOINT_RESTART, &frames, &moved);
	if (r != SQLITE_OK || frames != moved)
		return r == SQLITE_OK ? SQLITE_BUSY : r;
	r = sqlite3_file_control(v->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
	if (r == SQLITE_OK && log && log->pMethods)
		r = overwrite(log);
	if (r != SQLITE_OK)
		return r;
	return sqlite3_wal_checkpoint_v2(v->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}

int vault_log_empty(struct vault *v)
{
	int r;

	vault_read_end(v);
	r = scrub(v);
	v->rekey.log = r != SQLITE_OK;
	v->stale = r != SQLITE_OK;
	return r == SQLITE_OK ? 0 : vault_errno(r);
}

int vault_scrub(struct vault *v)
{
	vault_ledger_catch_up(v);
	return v->stale ? vault_log_empty(v) : 0;
}
