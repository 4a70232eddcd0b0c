#include "server/store-sqlite.h"

#include <errno.h>
#include <stdlib.h>

/*
 * Schema 1: as first released. Schema 2: revocations, resets, vault states; answers are sealed.
 * Schema 3: hand-overs of PN GWs. A new store is made as schema 1 and brought up like an old one,
 * so there is one way to each schema.
 */

#define SCHEMA_VERSION 3

static const char schema_1[] =
	"CREATE TABLE account (user TEXT PRIMARY KEY, salt BLOB NOT NULL, iterations INTEGER NOT "
	"NULL,"
	" ph BLOB NOT NULL) STRICT, WITHOUT ROWID;"
	"CREATE TABLE element (entity TEXT PRIMARY KEY, mode INTEGER NOT NULL, owner TEXT NOT NULL,"
	" last_index INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
	"CREATE TABLE eukey (entity TEXT NOT NULL, idx INTEGER NOT NULL, user TEXT NOT NULL,"
	" held INTEGER NOT NULL, key BLOB NOT NULL, PRIMARY KEY (entity, idx)) STRICT, WITHOUT "
	"ROWID;"
	"CREATE TABLE temporary_key (entity TEXT PRIMARY KEY, passphrase INTEGER NOT NULL,"
	" key BLOB NOT NULL) STRICT, WITHOUT ROWID;"
	"CREATE TABLE answer (id BLOB PRIMARY KEY, time INTEGER NOT NULL, sha256 BLOB NOT NULL,"
	" http INTEGER NOT NULL, body BLOB NOT NULL) STRICT, WITHOUT ROWID;"
	"CREATE INDEX answer_time ON answer (time);"
	"CREATE TABLE subscription (user TEXT NOT NULL, gateway TEXT NOT NULL, text BLOB NOT NULL,"
	" PRIMARY KEY (user, gateway)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE secret (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;";

static const char schema_2[] =
	"ALTER TABLE account ADD COLUMN blocked INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE element ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE element ADD COLUMN revoked_index INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE element ADD COLUMN reset INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE element ADD COLUMN former TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE element ADD COLUMN since INTEGER NOT NULL DEFAULT 0;"
	"CREATE TABLE reset (entity TEXT NOT NULL, epoch INTEGER NOT NULL, idx INTEGER NOT NULL,"
	" user TEXT NOT NULL, id BLOB NOT NULL, told INTEGER NOT NULL, macs BLOB NOT NULL,"
	" PRIMARY KEY (entity, epoch, idx)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE vault (gateway TEXT NOT NULL, vault BLOB NOT NULL, sequence INTEGER NOT NULL,"
	" head BLOB NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (gateway, vault)) STRICT,"
	" WITHOUT ROWID;";

static const char schema_3[] =
	"CREATE TABLE handover (gateway TEXT PRIMARY KEY, term INTEGER NOT NULL, holder BLOB NOT"
	" NULL, since INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
	"PRAGMA user_version = 3;";

static int run(struct sqlite_store *s, const char *sql)
{
	return store_row_error(sqlite3_exec(s->db, sql, NULL, NULL, NULL));
}

static int prepared(struct sqlite_store *s, const char *sql, sqlite3_stmt **out)
{
	return store_row_error(sqlite3_prepare_v2(s->db, sql, -1, out, NULL));
}

static int user_version(struct sqlite_store *s, int *out)
{
	sqlite3_stmt *st = NULL;
	int r = prepared(s, "PRAGMA user_version", &st);
	int code = r == 0 ? sqlite3_step(st) : SQLITE_OK;

	if (code == SQLITE_ROW)
		*out = sqlite3_column_int(st, 0);
	(void)sqlite3_finalize(st);
	return r != 0 ? r : store_row_error(code);
}

/* Before anything is sealed under it: a wrong key must not mix with the right one. */
static int check_key(struct sqlite_store *s)
{
	sqlite3_stmt *st = NULL;
	struct secret *secret = NULL;
	struct p1_context name;
	int r = prepared(s, "SELECT value FROM secret WHERE name = ?1", &st);

	if (r == 0) {
		store_row_text(st, 1, bytes_text(STORE_SECRET_UNKNOWN_USER));
		store_row_name(&name, "secret", bytes_text(STORE_SECRET_UNKNOWN_USER), BYTES_NONE,
			       0);
		r = sqlite3_step(st) == SQLITE_ROW
			    ? store_row_unseal(s, &name, store_row_column(st, 0), &secret)
			    : 0;
	}
	secret_unref(secret);
	(void)sqlite3_finalize(st);
	return r;
}

/* The row that st stands on: id, sha256, http, body. */
static int seal_answer(struct sqlite_store *s, sqlite3_stmt *st, sqlite3_stmt *change)
{
	const struct bytes id = store_row_column(st, 0), body = store_row_column(st, 3);
	const size_t size = P1_NONCE_SIZE + body.size + P1_SEAL_OVERHEAD;
	uint8_t *sealed = malloc(size);
	struct p1_context name;
	int r;

	if (!sealed)
		return -ENOMEM;
	store_row_answer_name(&name, id, store_row_column(st, 1), sqlite3_column_int(st, 2));
	r = store_row_seal(s, &name, body, sealed);
	if (r == 0) {
		store_row_blob(change, 1, id);
		store_row_blob(change, 2, bytes_of(sealed, size));
		r = store_row_error(sqlite3_step(change));
		store_row_done(change);
	}
	free(sealed);
	return r;
}

/* The primary key stays, so the walk is not disturbed by its own changes. */
static int seal_answers(struct sqlite_store *s)
{
	sqlite3_stmt *st = NULL, *change = NULL;
	int code = SQLITE_DONE;
	int r = prepared(s, "SELECT id, sha256, http, body FROM answer ORDER BY id", &st);

	if (r == 0)
		r = prepared(s, "UPDATE answer SET body = ?2 WHERE id = ?1", &change);
	while (r == 0 && (code = sqlite3_step(st)) == SQLITE_ROW)
		r = seal_answer(s, st, change);
	(void)sqlite3_finalize(st);
	(void)sqlite3_finalize(change);
	return r != 0 ? r : store_row_error(code);
}

/* In a transaction. Another process may have been first: the version is read again. */
static int migrate(struct sqlite_store *s)
{
	int version = 0;
	int r = user_version(s, &version);

	if (r == 0 && version > SCHEMA_VERSION)
		return STORE_NEWER;
	if (r == 0 && version == SCHEMA_VERSION)
		return 0;
	if (r == 0)
		r = version == 0 ? run(s, schema_1) : check_key(s);
	if (r == 0 && version < 2)
		r = run(s, schema_2);
	if (r == 0 && version < 2)
		r = seal_answers(s);
	return r == 0 ? run(s, schema_3) : r;
}

int store_sqlite_schema(struct sqlite_store *s, bool create)
{
	int version = 0;
	int r = user_version(s, &version);

	if (r == 0 && version > SCHEMA_VERSION)
		return STORE_NEWER;
	if (r == 0)
		r = run(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
			   "PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF");
	if (r != 0 || version == SCHEMA_VERSION)
		return r;
	if (version == 0 && !create)
		return STORE_ABSENT;
	r = run(s, "BEGIN IMMEDIATE");
	if (r != 0)
		return r;
	r = migrate(s);
	if (r == 0)
		r = run(s, "COMMIT");
	if (r != 0 && !sqlite3_get_autocommit(s->db))
		(void)run(s, "ROLLBACK");
	return r;
}
