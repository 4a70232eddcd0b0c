#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "storage/vault-internal.h"
#include "storage/vault-ledger.h"

/*
 * So many pages of the log are moved into the file at once. More would be written less often each,
 * but a log of twice as many pages takes SQLite a second block of memory for its index.
 */
#define CHECKPOINT_PAGES "2000"
/* Room for the upper levels of 100 000 records. */
#define CACHE_KIB        "4000"

const char vault_schema_sql[] = "CREATE TABLE meta ("
				" id INTEGER PRIMARY KEY CHECK (id = 1),"
				" vault BLOB NOT NULL,"
				" reserved INTEGER NOT NULL"
				") STRICT;"
				"CREATE TABLE master ("
				" generation INTEGER PRIMARY KEY,"
				" nonce BLOB NOT NULL,"
				" sealed BLOB NOT NULL"
				") STRICT;"
				"CREATE TABLE wrap ("
				" slot INTEGER NOT NULL,"
				" generation INTEGER NOT NULL,"
				" source INTEGER NOT NULL,"
				" label TEXT NOT NULL,"
				" public BLOB NOT NULL,"
				" parameters BLOB NOT NULL,"
				" ephemeral BLOB NOT NULL,"
				" sealed BLOB NOT NULL,"
				" PRIMARY KEY (slot, generation)"
				") STRICT, WITHOUT ROWID;"
				"CREATE TABLE record ("
				" name BLOB PRIMARY KEY,"
				" sequence INTEGER NOT NULL,"
				" generation INTEGER NOT NULL,"
				" sealed BLOB NOT NULL"
				") STRICT, WITHOUT ROWID;"
				"CREATE TABLE ledger ("
				" sequence INTEGER PRIMARY KEY,"
				" entry BLOB NOT NULL"
				") STRICT;";

static const char *const statements[STATEMENT_COUNT] = {
	[STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
	[STATEMENT_COMMIT] = "COMMIT",
	[STATEMENT_ROLLBACK] = "ROLLBACK",
	[STATEMENT_READ] = "BEGIN DEFERRED",
	[STATEMENT_PUT] = "INSERT INTO record (name, sequence, generation, sealed)"
			  " VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) DO UPDATE SET"
			  " sequence = ?2, generation = ?3, sealed = ?4",
	[STATEMENT_ERASE] = "DELETE FROM record WHERE name = ?1",
	[STATEMENT_ERASE_OWNER] = "DELETE FROM record WHERE name BETWEEN ?1 AND ?2",
	[STATEMENT_TRIM] =
		"DELETE FROM record WHERE name BETWEEN ?1 AND ?2 AND sequence <= (SELECT sequence"
		" FROM record WHERE name BETWEEN ?1 AND ?2 ORDER BY sequence DESC LIMIT 1 OFFSET "
		"?3)",
	[STATEMENT_GET] = "SELECT sequence, generation, sealed FROM record WHERE name = ?1",
	[STATEMENT_NAMES] = "SELECT name, sequence, generation FROM record"
			    " WHERE name BETWEEN ?1 AND ?2 ORDER BY name",
	[STATEMENT_RESERVE] = "UPDATE meta SET reserved = ?1 WHERE id = 1",
};

void vault_explain(char *why, size_t why_size, const char *path, const char *what)
{
	snprintf(why, why_size, "vault %s: %s", path, what);
}

/* The one place that turns a failed SQLite call of the opening into an outcome with a sentence. */
static int opening_failed(int sqlite_result, const char *path, char *why, size_t why_size)
{
	int r = vault_errno(sqlite_result);
	struct statvfs st;

	/* SQLite has no word for it where a file cannot be made. */
	if ((r == -EIO || r == -EACCES) && statvfs(path, &st) == 0 && (st.f_flag & ST_RDONLY))
		r = -EROFS;
	if (r == -EBUSY) {
		vault_explain(why, why_size, path, "another process has it open");
		return VAULT_LOCKED;
	}
	if (r == -EBADMSG) {
		vault_explain(why, why_size, path, "the file is damaged or is not a vault");
		return VAULT_DAMAGED;
	}
	vault_explain(why, why_size, path,
		      r == -EROFS ? strerror(EROFS) : sqlite3_errstr(sqlite_result));
	return r;
}

static int open_database(const char *path, const char *vfs, sqlite3 **out)
{
	const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	const char *log_vfs = NULL;
	sqlite3 *db = NULL;
	int r = vault_log_vfs(vfs, &log_vfs);

	if (r == SQLITE_OK)
		r = sqlite3_open_v2(path, &db, flags, log_vfs);
	/* Until the schema is known to be ours, closing must not move the log into the file. */
	if (r == SQLITE_OK)
		r = sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (r == SQLITE_OK)
		r = sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	if (r == SQLITE_OK)
		r = sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	if (r == SQLITE_OK)
		r = sqlite3_exec(db,
				 "PRAGMA locking_mode = EXCLUSIVE; PRAGMA secure_delete = ON;"
				 "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;"
				 "PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON;"
				 "PRAGMA cache_size = -" CACHE_KIB,
				 NULL, NULL, NULL);
	if (r != SQLITE_OK) {
		(void)sqlite3_close(db);
		return r;
	}
	*out = db;
	return SQLITE_OK;
}

/* The statements from first up to end. */
static int prepare(struct vault *v, enum vault_statement first, enum vault_statement end)
{
	for (enum vault_statement i = first; i < end; i++) {
		int r = sqlite3_prepare_v3(v->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
					   &v->statements[i], NULL);

		if (r != SQLITE_OK)
			return r;
	}
	return SQLITE_OK;
}

int vault_open_handle(const struct vault_options *options, const char *path, struct vault **out,
		      char *why, size_t why_size)
{
	struct vault *v = calloc(1, sizeof(*v));
	int r;

	if (v) {
		v->last = &v->first;
		v->path = strdup(path);
	}
	if (!v || !v->path) {
		free(v);
		vault_explain(why, why_size, path, strerror(ENOMEM));
		return -ENOMEM;
	}
	r = open_database(path, options->vfs, &v->db);
	if (r == SQLITE_OK)
		r = prepare(v, STATEMENT_BEGIN, STATEMENT_FIRST_OF_TABLES);
	if (r != SQLITE_OK) {
		vault_close(v);
		return opening_failed(r, path, why, why_size);
	}
	*out = v;
	return 0;
}

void vault_close(struct vault *v)
{
	if (!v)
		return;
	v->closing = true;
	vault_batches_cancel(v);
	vault_ledger_close(v);
	(void)vault_scrub(v);
	for (size_t i = 0; i < STATEMENT_COUNT; i++)
		(void)sqlite3_finalize(v->statements[i]);
	(void)sqlite3_close(v->db);
	for (size_t i = 0; i < VAULT_GENERATIONS; i++)
		vault_generation_clear(&v->generations[i]);
	vault_keys_clear(&v->keys);
	free(v->path);
	free(v);
}

int vault_prepare(struct vault *v)
{
	return prepare(v, STATEMENT_FIRST_OF_TABLES, STATEMENT_COUNT);
}

static int query_number(sqlite3 *db, const char *sql, int64_t *out)
{
	sqlite3_stmt *s = NULL;
	int r = sqlite3_prepare_v2(db, sql, -1, &s, NULL);

	if (r != SQLITE_OK)
		return r;
	r = sqlite3_step(s);
	if (r == SQLITE_ROW) {
		*out = sqlite3_column_int64(s, 0);
		r = SQLITE_OK;
	} else if (r == SQLITE_DONE) {
		*out = 0;
		r = SQLITE_OK;
	}
	(void)sqlite3_finalize(s);
	return r;
}

static int check_schema(struct vault *v, int64_t *version, char *why, size_t why_size)
{
	int64_t application = 0;
	int r = query_number(v->db, "PRAGMA application_id", &application);

	if (r == SQLITE_OK)
		r = query_number(v->db, "PRAGMA user_version", version);
	if (r != SQLITE_OK)
		return opening_failed(r, v->path, why, why_size);
	if (application != VAULT_APPLICATION_ID || *version < 1) {
		vault_explain(why, why_size, v->path, "the file is not a vault");
		return VAULT_DAMAGED;
	}
	if (*version > VAULT_SCHEMA) {
		snprintf(why, why_size,
			 "vault %s was made by a newer pngwd (schema %lld, this one knows %d): "
			 "install that again, or restore the backup from before",
			 v->path, (long long)*version, VAULT_SCHEMA);
		return VAULT_NEWER;
	}
	return 0;
}

/*
 * Takes the file for this process. The log keeps its length when it begins anew: writing over what
 * is there is cheaper to make durable than making it longer. vault_close() removes it.
 */
static int take_file(struct vault *v)
{
	int r = sqlite3_exec(v->db,
			     "PRAGMA journal_mode = WAL; PRAGMA journal_size_limit = -1;"
			     "PRAGMA wal_autocheckpoint = " CHECKPOINT_PAGES ";"
			     "BEGIN EXCLUSIVE; COMMIT",
			     NULL, NULL, NULL);

	if (r == SQLITE_OK)
		r = sqlite3_db_config(v->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	return r;
}

static int load(struct vault *v, const struct vault_options *options, char *why, size_t why_size)
{
	int64_t version = 0;
	int r = check_schema(v, &version, why, why_size);

	if (r != 0)
		return r;
	r = take_file(v);
	if (r != SQLITE_OK)
		return opening_failed(r, v->path, why, why_size);
	if (version < VAULT_SCHEMA) {
		r = vault_migrate(v, version, options, why, why_size);
		if (r != 0)
			return r;
	}
	r = vault_prepare(v);
	if (r != SQLITE_OK)
		return opening_failed(r, v->path, why, why_size);
	r = vault_meta_read(v);
	if (r != 0) {
		vault_explain(why, why_size, v->path, r > 0 ? "the file is damaged" : strerror(-r));
		return r;
	}
	return vault_unlock(v, options, why, why_size);
}

int vault_open_existing(const struct vault_options *options, const char *path, struct vault **out,
			char *why, size_t why_size)
{
	struct vault *v = NULL;
	int r = vault_open_handle(options, path, &v, why, why_size);

	if (!v)
		return r;
	r = load(v, options, why, why_size);
	if (r == 0)
		r = vault_ledger_open(v, options, why, why_size);
	if (r != 0) {
		vault_close(v);
		return r == -EBADMSG ? VAULT_DAMAGED : r;
	}
	vault_rekey_opened(v);
	v->stale = v->rekey.log;
	*out = v;
	return r;
}

bool vault_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 || errno != ENOENT;
}

int vault_open(const struct vault_options *options, struct vault **out, char *why, size_t why_size)
{
	int r;

	if (why_size > 0)
		why[0] = '\0';
	if (options->opener_count == 0 || options->opener_count > VAULT_SLOTS) {
		vault_explain(why, why_size, options->path, "one to eight keys may be given");
		return -EINVAL;
	}
	if (options->create && !vault_exists(options->path)) {
		r = vault_create(options, why, why_size);
		if (r != 0)
			return r;
	}
	if (!vault_exists(options->path)) {
		vault_explain(why, why_size, options->path, strerror(ENOENT));
		return -ENOENT;
	}
	r = vault_restore_finish(options->path);
	if (r != 0) {
		vault_explain(why, why_size, options->path, strerror(-r));
		return r;
	}
	return vault_open_existing(options, options->path, out, why, why_size);
}
