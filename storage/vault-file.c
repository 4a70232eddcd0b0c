#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/hidden.h"
#include "storage/vault-internal.h"

#define TEXT_OF(x)     TEXT_OF_ARG(x)
#define TEXT_OF_ARG(x) #x

static const char schema[] = "PRAGMA application_id = " TEXT_OF(
	VAULT_APPLICATION_ID) ";"
			      "PRAGMA user_version = " TEXT_OF(
				      VAULT_SCHEMA) ";"
						    "CREATE TABLE record ("
						    " sequence INTEGER PRIMARY KEY AUTOINCREMENT,"
						    " kind INTEGER NOT NULL,"
						    " owner BLOB NOT NULL,"
						    " item BLOB NOT NULL,"
						    " nonce BLOB NOT NULL,"
						    " sealed BLOB NOT NULL"
						    ") STRICT;"
						    "CREATE UNIQUE INDEX record_name ON record "
						    "(kind, owner, item);"
						    "CREATE INDEX record_of_owner ON record (kind, "
						    "owner, sequence);"
						    "CREATE INDEX record_of_kind ON record (kind, "
						    "sequence);";

static const char *const statements[STATEMENT_COUNT] = {
	[STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
	[STATEMENT_COMMIT] = "COMMIT",
	[STATEMENT_ROLLBACK] = "ROLLBACK",
	/* A clash of sequences must fail, so this is not INSERT OR REPLACE. */
	[STATEMENT_PUT] =
		"INSERT INTO record (sequence, kind, owner, item, nonce, sealed)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (kind, owner, item) DO UPDATE SET"
		" sequence = excluded.sequence, nonce = excluded.nonce, sealed = excluded.sealed",
	[STATEMENT_ERASE] = "DELETE FROM record WHERE kind = ?1 AND owner = ?2 AND item = ?3",
	[STATEMENT_ERASE_OWNER] = "DELETE FROM record WHERE kind = ?1 AND owner = ?2",
	[STATEMENT_TRIM] =
		"DELETE FROM record WHERE kind = ?1 AND owner = ?2 AND sequence <= (SELECT sequence"
		" FROM record WHERE kind = ?1 AND owner = ?2 ORDER BY sequence DESC LIMIT 1 OFFSET "
		"?3)",
	[STATEMENT_GET] = "SELECT sequence, owner, item, nonce, sealed FROM record"
			  " WHERE kind = ?1 AND owner = ?2 AND item = ?3",
	[STATEMENT_NEXT] = "SELECT sequence, owner, item, nonce, sealed FROM record"
			   " WHERE kind = ?1 AND sequence > ?2 ORDER BY sequence LIMIT 1",
	[STATEMENT_NEXT_OF_OWNER] =
		"SELECT sequence, owner, item, nonce, sealed FROM record"
		" WHERE kind = ?1 AND sequence > ?2 AND owner = ?3 ORDER BY sequence LIMIT 1",
};

/* What the row of kind 0 holds. */
static const char check_content[] = "pngw vault";

static void explain(char *why, size_t why_size, const char *path, const char *what)
{
	snprintf(why, why_size, "vault %s: %s", path, what);
}

/* The one place that turns a failed SQLite call of the opening into an outcome with a sentence. */
static int opening_failed(int sqlite_result, const char *path, char *why, size_t why_size)
{
	int r = vault_errno(sqlite_result);

	if (r == -EBUSY) {
		explain(why, why_size, path, "another process has it open");
		return VAULT_LOCKED;
	}
	if (r == -EBADMSG) {
		explain(why, why_size, path, "the file is damaged or is not a vault");
		return VAULT_DAMAGED;
	}
	explain(why, why_size, path, sqlite3_errstr(sqlite_result));
	return r;
}

static int open_database(const char *path, const char *vfs, sqlite3 **out)
{
	sqlite3 *db = NULL;
	int r = sqlite3_open_v2(path, &db,
				SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
				vfs);

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
				 "PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON",
				 NULL, NULL, NULL);
	if (r != SQLITE_OK) {
		(void)sqlite3_close(db);
		return r;
	}
	*out = db;
	return SQLITE_OK;
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

static int check_schema(sqlite3 *db, const char *path, char *why, size_t why_size)
{
	int64_t application = 0;
	int64_t version = 0;
	int r = query_number(db, "PRAGMA application_id", &application);

	if (r == SQLITE_OK)
		r = query_number(db, "PRAGMA user_version", &version);
	if (r != SQLITE_OK)
		return opening_failed(r, path, why, why_size);
	if (application != VAULT_APPLICATION_ID || version < VAULT_SCHEMA) {
		explain(why, why_size, path, "the file is not a vault");
		return VAULT_DAMAGED;
	}
	if (version > VAULT_SCHEMA) {
		snprintf(why, why_size, "vault %s has schema %lld; this program knows %d", path,
			 (long long)version, VAULT_SCHEMA);
		return VAULT_NEWER;
	}
	return 0;
}

static int prepare_statements(struct vault *v)
{
	for (size_t i = 0; i < STATEMENT_COUNT; i++) {
		int r = sqlite3_prepare_v3(v->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
					   &v->statements[i], NULL);

		if (r != SQLITE_OK)
			return r;
	}
	return SQLITE_OK;
}

static int start_writing(struct vault *v)
{
	int64_t highest = 0;
	int64_t given = 0;
	int r;

	r = sqlite3_exec(v->db,
			 "PRAGMA journal_mode = WAL; PRAGMA journal_size_limit = 0;"
			 "BEGIN EXCLUSIVE; COMMIT",
			 NULL, NULL, NULL);
	if (r == SQLITE_OK)
		r = sqlite3_db_config(v->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	if (r == SQLITE_OK)
		r = prepare_statements(v);
	if (r == SQLITE_OK)
		r = query_number(v->db, "SELECT max(sequence) FROM record", &highest);
	if (r == SQLITE_OK)
		r = query_number(v->db, "SELECT seq FROM sqlite_sequence WHERE name = 'record'",
				 &given);
	v->sequence = highest > given ? highest : given;
	return r;
}

static int check_key(struct vault *v, const char *path, char *why, size_t why_size)
{
	const struct vault_id id = {.kind = (enum vault_kind)VAULT_KIND_CHECK};
	struct vault_content content = {NULL, 0};
	int r = vault_get(v, &id, &content);

	if (r == 0 && !bytes_equal(bytes_of(content.data, content.size), bytes_text(check_content)))
		r = VAULT_DAMAGED;
	vault_content_free(&content);
	if (r > 0) {
		explain(why, why_size, path,
			"the key file does not open it: wrong key, or altered");
		return VAULT_DAMAGED;
	}
	if (r < 0)
		explain(why, why_size, path, strerror(-r));
	return r;
}

void vault_close(struct vault *v)
{
	if (!v)
		return;
	v->closing = true;
	vault_batches_cancel(v);
	for (size_t i = 0; i < STATEMENT_COUNT; i++)
		(void)sqlite3_finalize(v->statements[i]);
	(void)sqlite3_close(v->db);
	vault_keys_clear(&v->keys);
	free(v);
}

/* Takes keys over, on failure too. */
static int open_vault(const char *path, const char *vfs, struct vault_keys *keys,
		      struct vault **out, char *why, size_t why_size)
{
	struct vault *v = calloc(1, sizeof(*v));
	int r;

	if (!v) {
		vault_keys_clear(keys);
		explain(why, why_size, path, strerror(ENOMEM));
		return -ENOMEM;
	}
	v->last = &v->first;
	v->keys = *keys;
	*keys = (struct vault_keys){NULL, NULL};
	r = open_database(path, vfs, &v->db);
	if (r != SQLITE_OK) {
		r = opening_failed(r, path, why, why_size);
		goto fail;
	}
	r = check_schema(v->db, path, why, why_size);
	if (r != 0)
		goto fail;
	r = start_writing(v);
	if (r != SQLITE_OK) {
		r = opening_failed(r, path, why, why_size);
		goto fail;
	}
	r = check_key(v, path, why, why_size);
	if (r != 0)
		goto fail;
	*out = v;
	return 0;
fail:
	vault_close(v);
	return r;
}

/* The check row, through an ordinary handle without a queue. */
static int write_check(sqlite3 *db, const struct vault_keys *keys)
{
	struct vault v = {.db = db, .keys = *keys};
	struct vault_row row = {.kind = VAULT_KIND_CHECK, .sequence = 1};
	uint8_t sealed[sizeof(check_content) + VAULT_PLAIN_HEADER + P1_SEAL_OVERHEAD];
	size_t size = 0;
	uint8_t *plain;
	int r;

	plain = vault_plain_new(BYTES_NONE, BYTES_NONE, bytes_text(check_content), &size);
	if (!plain)
		return -ENOMEM;
	r = vault_hash_owner(keys, row.kind, BYTES_NONE, row.owner);
	if (r == 0)
		r = vault_hash_item(keys, row.kind, BYTES_NONE, row.item);
	if (r == 0)
		r = vault_seal(keys, &row, bytes_of(plain, size), sealed);
	hidden_free(plain);
	if (r != 0)
		return r;
	r = sqlite3_prepare_v2(db, statements[STATEMENT_PUT], -1, &v.statements[STATEMENT_PUT],
			       NULL);
	if (r != SQLITE_OK)
		return vault_errno(r);
	r = vault_write_row(&v, &row, bytes_of(sealed, size + P1_SEAL_OVERHEAD));
	(void)sqlite3_finalize(v.statements[STATEMENT_PUT]);
	return r;
}

static int make_database(const char *path, const char *vfs, const struct vault_keys *keys)
{
	sqlite3 *db = NULL;
	int r = open_database(path, vfs, &db);

	if (r != SQLITE_OK)
		return vault_errno(r);
	r = sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL);
	if (r == SQLITE_OK)
		r = sqlite3_exec(db, schema, NULL, NULL, NULL);
	r = r == SQLITE_OK ? write_check(db, keys) : vault_errno(r);
	if (r == 0) {
		r = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
		r = r == SQLITE_OK ? 0 : vault_errno(r);
	}
	if (sqlite3_close(db) != SQLITE_OK && r == 0)
		r = -EIO;
	return r;
}

static int finish_create(const char *new_path, const char *path)
{
	if (rename(new_path, path) < 0)
		return -errno;
	return vault_sync_directory(path);
}

/*
 * The vault is built under another name, then the key file is written, then the vault gets its
 * name: whenever the power goes, the next start either begins anew or finishes this one.
 */
static int create_both(const struct vault_options *options, const char *new_path, int new_fd,
		       char *why, size_t why_size)
{
	SCOPED_SECRET *master = secret_random(KEY_SIZE);
	struct vault_keys keys = {NULL, NULL};
	int r = master ? vault_keys_derive(master, &keys) : -ENOMEM;

	if (r == 0 && ftruncate(new_fd, 0) < 0)
		r = -errno;
	if (r == 0)
		r = make_database(new_path, options->vfs, &keys);
	vault_keys_clear(&keys);
	if (r == 0)
		r = vault_sync_directory(new_path);
	if (r != 0) {
		r = r < 0 ? r : -EIO;
		explain(why, why_size, new_path, strerror(-r));
		return r;
	}
	r = vault_key_create(options->openers[0].path, master, why, why_size);
	if (r != 0)
		return r;
	r = finish_create(new_path, options->path);
	if (r < 0)
		explain(why, why_size, options->path, strerror(-r));
	return r;
}

static bool exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 || errno != ENOENT;
}

static bool same_file(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* Finishes a creation that the power cut short after the key file was written. */
static int resume_create(const struct vault_options *options, const char *new_path, char *why,
			 size_t why_size)
{
	struct vault_keys keys = {NULL, NULL};
	struct vault *v = NULL;
	int r = vault_key_read(options->openers[0].path, &keys, why, why_size);

	if (r == 0)
		r = open_vault(new_path, options->vfs, &keys, &v, why, why_size);
	if (r != 0)
		return r;
	vault_close(v);
	r = finish_create(new_path, options->path);
	if (r < 0)
		explain(why, why_size, options->path, strerror(-r));
	return r;
}

static int create_locked(const struct vault_options *options, const char *new_path, int new_fd,
			 bool resumable, char *why, size_t why_size)
{
	if (flock(new_fd, LOCK_EX | LOCK_NB) < 0 || !same_file(new_fd, new_path)) {
		explain(why, why_size, options->path, "another process is making it");
		return VAULT_LOCKED;
	}
	if (exists(options->path)) {
		unlink(new_path);
		return 0;
	}
	if (!exists(options->openers[0].path))
		return create_both(options, new_path, new_fd, why, why_size);
	if (resumable)
		return resume_create(options, new_path, why, why_size);
	unlink(new_path);
	snprintf(why, why_size, "vault %s is missing although key file %s is there", options->path,
		 options->openers[0].path);
	return -ENOENT;
}

/* Makes vault and key file when neither is there. */
static int create(const struct vault_options *options, char *why, size_t why_size)
{
	char *new_path = NULL;
	bool resumable;
	int fd;
	int r;

	if (asprintf(&new_path, "%s.new", options->path) < 0) {
		explain(why, why_size, options->path, strerror(ENOMEM));
		return -ENOMEM;
	}
	resumable = exists(new_path);
	fd = open(new_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		r = -errno;
		explain(why, why_size, options->path, strerror(-r));
	} else {
		r = create_locked(options, new_path, fd, resumable, why, why_size);
		/* Last: closing it before SQLite is done would drop SQLite's own locks. */
		close(fd);
	}
	free(new_path);
	return r;
}

int vault_open(const struct vault_options *options, struct vault **out, char *why, size_t why_size)
{
	struct vault_keys keys = {NULL, NULL};
	int r;

	if (why_size > 0)
		why[0] = '\0';
	if (options->opener_count != 1 || options->openers[0].source != VAULT_SOURCE_KEY_FILE) {
		explain(why, why_size, options->path, "it takes one key file");
		return -EINVAL;
	}
	if (options->create && !exists(options->path)) {
		r = create(options, why, why_size);
		if (r != 0)
			return r;
	}
	if (!exists(options->path)) {
		explain(why, why_size, options->path, strerror(ENOENT));
		return -ENOENT;
	}
	r = vault_key_read(options->openers[0].path, &keys, why, why_size);
	if (r != 0)
		return r;
	return open_vault(options->path, options->vfs, &keys, out, why, why_size);
}
