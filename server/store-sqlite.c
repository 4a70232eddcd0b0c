#include "server/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/p1.h"

/*
 * Secrets are sealed under the key file's key: a random nonce, then ChaCha20-Poly1305, whose
 * associated data names the record, so that a sealed value cannot be moved to another one. Names
 * and indices are in the clear: the operator lists them.
 */

#define SCHEMA_VERSION  1
#define BUSY_TIMEOUT_MS 5000
#define SEALED_MAX      (P1_NONCE_SIZE + SECRET_MAX_SIZE + P1_SEAL_OVERHEAD)

static const char schema[] =
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

enum statement {
	GET_ACCOUNT,
	GET_ELEMENT,
	GET_EUKEY,
	GET_TEMPORARY_KEY,
	GET_ANSWER,
	GET_SECRET,
	EACH_ACCOUNT,
	EACH_ELEMENT,
	EACH_KEY,
	ADD_ACCOUNT,
	ADD_ELEMENT,
	CHANGE_ELEMENT,
	ADD_EUKEY,
	MARK_HELD,
	DROP_BELOW,
	RELEASE_ELEMENT,
	RELEASE_KEYS,
	PUT_TEMPORARY_KEY,
	ADD_ANSWER,
	TRIM_ANSWERS,
	PUT_SUBSCRIPTION,
	ADD_SECRET,
	BEGIN,
	COMMIT,
	ROLLBACK,
	STATEMENTS
};

static const char *const sql[STATEMENTS] = {
	[GET_ACCOUNT] = "SELECT salt, iterations, ph FROM account WHERE user = ?1",
	[GET_ELEMENT] = "SELECT mode, owner, last_index FROM element WHERE entity = ?1",
	[GET_EUKEY] = "SELECT key FROM eukey WHERE entity = ?1 AND idx = ?2 AND user = ?3",
	[GET_TEMPORARY_KEY] = "SELECT key, passphrase FROM temporary_key WHERE entity = ?1",
	[GET_ANSWER] = "SELECT sha256, http, body FROM answer WHERE id = ?1",
	[GET_SECRET] = "SELECT value FROM secret WHERE name = ?1",
	[EACH_ACCOUNT] = "SELECT user, iterations FROM account ORDER BY user",
	[EACH_ELEMENT] = "SELECT entity, mode, owner, last_index FROM element ORDER BY entity",
	[EACH_KEY] = "SELECT user, entity, idx, held, key FROM eukey ORDER BY user, entity, idx",
	[ADD_ACCOUNT] = "INSERT INTO account VALUES (?1, ?2, ?3, ?4)",
	[ADD_ELEMENT] = "INSERT INTO element VALUES (?1, ?2, ?3, ?4)",
	[CHANGE_ELEMENT] = ("UPDATE element SET mode = ?2, owner = ?3, last_index = ?4"
			    " WHERE entity = ?1 AND last_index = ?5"),
	[ADD_EUKEY] = "INSERT INTO eukey VALUES (?1, ?2, ?3, 0, ?4)",
	[MARK_HELD] = "UPDATE eukey SET held = (idx = ?2) WHERE entity = ?1 AND user = ?3",
	[DROP_BELOW] = "DELETE FROM eukey WHERE entity = ?1 AND idx < ?2 AND user = ?3",
	[RELEASE_ELEMENT] = "UPDATE element SET owner = '' WHERE entity = ?1",
	[RELEASE_KEYS] = "DELETE FROM eukey WHERE entity = ?1",
	[PUT_TEMPORARY_KEY] = "INSERT OR REPLACE INTO temporary_key VALUES (?1, ?2, ?3)",
	[ADD_ANSWER] = "INSERT INTO answer VALUES (?1, ?2, ?3, ?4, ?5)",
	[TRIM_ANSWERS] = "DELETE FROM answer WHERE time < ?1",
	[PUT_SUBSCRIPTION] = "INSERT OR REPLACE INTO subscription VALUES (?1, ?2, ?3)",
	[ADD_SECRET] = "INSERT INTO secret VALUES (?1, ?2)",
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
};

struct sqlite_store {
	struct store store;
	sqlite3 *db;
	struct secret *key;
	sqlite3_stmt *statements[STATEMENTS];
};

static struct sqlite_store *of(struct store *s)
{
	return (struct sqlite_store *)s;
}

static int error_of(int code)
{
	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW:
		return 0;
	case SQLITE_CONSTRAINT:
		return STORE_CONFLICT;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return STORE_DAMAGED;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -EACCES;
	default:
		return -EIO;
	}
}

/* Binding copies nothing: what is bound outlives the statement's reset. A failure shows in step. */
static void bind_text(sqlite3_stmt *st, int at, struct bytes text)
{
	(void)sqlite3_bind_text(st, at, text.data ? (const char *)text.data : "", (int)text.size,
				SQLITE_STATIC);
}

static void bind_blob(sqlite3_stmt *st, int at, struct bytes blob)
{
	(void)sqlite3_bind_blob(st, at, blob.data ? (const void *)blob.data : "", (int)blob.size,
				SQLITE_STATIC);
}

static struct bytes column(sqlite3_stmt *st, int at)
{
	const void *data = sqlite3_column_blob(st, at);

	return bytes_of(data, (size_t)sqlite3_column_bytes(st, at));
}

static void done(sqlite3_stmt *st)
{
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
}

/* What a sealed value belongs to. */
static void record_name(struct p1_context *c, const char *what, struct bytes a, struct bytes b,
			uint32_t index)
{
	p1_context_begin(c, "CPNS server store");
	p1_context_add(c, bytes_text(what));
	p1_context_add(c, a);
	p1_context_add(c, b);
	p1_context_add_index(c, index);
}

static int seal(const struct sqlite_store *s, const struct p1_context *name,
		const struct secret *value, uint8_t *out, size_t *size)
{
	int r = p1_random(out, P1_NONCE_SIZE);

	if (r == 0)
		r = p1_seal(s->key, out, bytes_of(name->data, name->size), secret_bytes(value),
			    out + P1_NONCE_SIZE);
	*size = P1_NONCE_SIZE + secret_size(value) + P1_SEAL_OVERHEAD;
	return r;
}

static int unseal(const struct sqlite_store *s, const struct p1_context *name, struct bytes sealed,
		  struct secret **out)
{
	struct secret *value;
	int r;

	if (sealed.size <= P1_NONCE_SIZE + P1_SEAL_OVERHEAD || sealed.size > SEALED_MAX)
		return STORE_DAMAGED;
	value = secret_new(sealed.size - P1_NONCE_SIZE - P1_SEAL_OVERHEAD);
	if (!value)
		return -ENOMEM;
	r = p1_open(s->key, sealed.data, bytes_of(name->data, name->size),
		    bytes_of(sealed.data + P1_NONCE_SIZE, sealed.size - P1_NONCE_SIZE),
		    secret_buffer(value));
	if (r != 0) {
		secret_unref(value);
		return r > 0 ? STORE_DAMAGED : r;
	}
	*out = value;
	return 0;
}

/* Steps a query that gives one row at most: 0 there is one, STORE_ABSENT, or an error. */
static int one(sqlite3_stmt *st)
{
	int code = sqlite3_step(st);

	if (code == SQLITE_ROW)
		return 0;
	return code == SQLITE_DONE ? STORE_ABSENT : error_of(code);
}

static int get_account(struct store *store, struct bytes user, struct store_account *out)
{
	struct sqlite_store *s = of(store);
	sqlite3_stmt *st = s->statements[GET_ACCOUNT];
	struct store_account found = {.ph = NULL};
	struct p1_context name;
	struct bytes salt;
	int r;

	bind_text(st, 1, user);
	r = one(st);
	if (r == 0) {
		salt = column(st, 0);
		found.iterations = (uint32_t)sqlite3_column_int64(st, 1);
		if (salt.size != SALT_SIZE || name_set(&found.user, user) < 0)
			r = STORE_DAMAGED;
		else
			memcpy(found.salt, salt.data, SALT_SIZE);
	}
	if (r == 0) {
		record_name(&name, "account", user, bytes_of(found.salt, SALT_SIZE),
			    found.iterations);
		r = unseal(s, &name, column(st, 2), &found.ph);
	}
	done(st);
	if (r == 0)
		*out = found;
	return r;
}

static int read_element(sqlite3_stmt *st, int at, struct bytes entity, struct store_element *out)
{
	struct store_element found = {
		.mode = sqlite3_column_int(st, at) == ENTITY_PNGW ? ENTITY_PNGW : ENTITY_PNE,
		.last_index = (uint32_t)sqlite3_column_int64(st, at + 2)};
	struct bytes owner = column(st, at + 1);

	if (name_set(&found.entity, entity) < 0 ||
	    (owner.size > 0 && name_set(&found.owner, owner) < 0))
		return STORE_DAMAGED;
	*out = found;
	return 0;
}

static int get_element(struct store *store, struct bytes entity, struct store_element *out)
{
	sqlite3_stmt *st = of(store)->statements[GET_ELEMENT];
	int r;

	bind_text(st, 1, entity);
	r = one(st);
	if (r == 0)
		r = read_element(st, 0, entity, out);
	done(st);
	return r;
}

static int get_eukey(struct store *store, struct bytes user, struct bytes entity, uint32_t index,
		     struct secret **out)
{
	struct sqlite_store *s = of(store);
	sqlite3_stmt *st = s->statements[GET_EUKEY];
	struct p1_context name;
	int r;

	bind_text(st, 1, entity);
	(void)sqlite3_bind_int64(st, 2, index);
	bind_text(st, 3, user);
	r = one(st);
	if (r == 0) {
		record_name(&name, "eukey", user, entity, index);
		r = unseal(s, &name, column(st, 0), out);
	}
	done(st);
	return r;
}

static int get_temporary_key(struct store *store, struct bytes entity,
			     struct store_temporary_key *out)
{
	struct sqlite_store *s = of(store);
	sqlite3_stmt *st = s->statements[GET_TEMPORARY_KEY];
	struct store_temporary_key found = {.key = NULL};
	struct p1_context name;
	int r;

	bind_text(st, 1, entity);
	r = one(st);
	if (r == 0) {
		found.passphrase = sqlite3_column_int(st, 1) != 0;
		record_name(&name, "temporary key", entity, BYTES_NONE, found.passphrase ? 1 : 0);
		r = unseal(s, &name, column(st, 0), &found.key);
	}
	done(st);
	if (r == 0)
		*out = found;
	return r;
}

static int get_answer(struct store *store, const struct message_id *id, struct store_answer *out)
{
	sqlite3_stmt *st = of(store)->statements[GET_ANSWER];
	struct store_answer found = {.body = NULL};
	struct bytes sha256, body;
	int r;

	bind_blob(st, 1, bytes_of(id->b, sizeof(id->b)));
	r = one(st);
	if (r == 0) {
		sha256 = column(st, 0);
		found.http = sqlite3_column_int(st, 1);
		body = column(st, 2);
		found.body_size = body.size;
		found.body = malloc(body.size + 1);
		if (sha256.size != sizeof(found.request_sha256))
			r = STORE_DAMAGED;
		else if (!found.body)
			r = -ENOMEM;
	}
	if (r == 0) {
		memcpy(found.request_sha256, sha256.data, sha256.size);
		if (body.size > 0)
			memcpy(found.body, body.data, body.size);
		*out = found;
	} else {
		free(found.body);
	}
	done(st);
	return r;
}

static int get_secret(struct store *store, const char *what, struct secret **out)
{
	struct sqlite_store *s = of(store);
	sqlite3_stmt *st = s->statements[GET_SECRET];
	struct p1_context name;
	int r;

	bind_text(st, 1, bytes_text(what));
	r = one(st);
	if (r == 0) {
		record_name(&name, "secret", bytes_text(what), BYTES_NONE, 0);
		r = unseal(s, &name, column(st, 0), out);
	}
	done(st);
	return r;
}

static int each_account(struct store *store, store_account_fn *each, void *arg)
{
	sqlite3_stmt *st = of(store)->statements[EACH_ACCOUNT];
	int r, code = SQLITE_DONE;

	for (r = 0; r == 0 && (code = sqlite3_step(st)) == SQLITE_ROW;)
		r = each(arg, column(st, 0), (uint32_t)sqlite3_column_int64(st, 1));
	done(st);
	return r != 0 ? r : error_of(code);
}

static int each_element(struct store *store, store_element_fn *each, void *arg)
{
	sqlite3_stmt *st = of(store)->statements[EACH_ELEMENT];
	struct store_element element;
	int r, code = SQLITE_DONE;

	for (r = 0; r == 0 && (code = sqlite3_step(st)) == SQLITE_ROW;) {
		r = read_element(st, 1, column(st, 0), &element);
		if (r == 0)
			r = each(arg, &element);
	}
	done(st);
	return r != 0 ? r : error_of(code);
}

static int each_key(struct store *store, store_key_fn *each, void *arg)
{
	struct sqlite_store *s = of(store);
	sqlite3_stmt *st = s->statements[EACH_KEY];
	int r, code = SQLITE_DONE;

	for (r = 0; r == 0 && (code = sqlite3_step(st)) == SQLITE_ROW;) {
		struct store_key_row row = {.user = column(st, 0),
					    .entity = column(st, 1),
					    .index = (uint32_t)sqlite3_column_int64(st, 2),
					    .held = sqlite3_column_int(st, 3) != 0};
		struct p1_context name;

		record_name(&name, "eukey", row.user, row.entity, row.index);
		r = unseal(s, &name, column(st, 4), &row.key);
		if (r == 0)
			r = each(arg, &row);
		secret_unref(row.key);
	}
	done(st);
	return r != 0 ? r : error_of(code);
}

static int execute(struct sqlite_store *s, enum statement which)
{
	int r = error_of(sqlite3_step(s->statements[which]));

	done(s->statements[which]);
	return r;
}

/* Runs a statement whose last parameter is sealed; the others are bound already. */
static int execute_sealed(struct sqlite_store *s, enum statement which, int at,
			  const struct p1_context *name, const struct secret *value)
{
	uint8_t sealed[SEALED_MAX];
	size_t size = 0;
	int r = value ? seal(s, name, value, sealed, &size) : -EINVAL;

	if (r < 0) {
		done(s->statements[which]);
		return r;
	}
	bind_blob(s->statements[which], at, bytes_of(sealed, size));
	return execute(s, which);
}

static int put_account(struct sqlite_store *s, const struct store_change *c)
{
	sqlite3_stmt *st = s->statements[ADD_ACCOUNT];
	struct p1_context name;

	record_name(&name, "account", name_bytes(&c->user), bytes_of(c->salt, SALT_SIZE),
		    c->iterations);
	bind_text(st, 1, name_bytes(&c->user));
	bind_blob(st, 2, bytes_of(c->salt, SALT_SIZE));
	(void)sqlite3_bind_int64(st, 3, c->iterations);
	return execute_sealed(s, ADD_ACCOUNT, 4, &name, c->secret);
}

static void bind_element(sqlite3_stmt *st, const struct store_change *c)
{
	bind_text(st, 1, name_bytes(&c->entity));
	(void)sqlite3_bind_int(st, 2, (int)c->mode);
	bind_text(st, 3, name_bytes(&c->owner));
	(void)sqlite3_bind_int64(st, 4, c->index);
}

static int put_element(struct sqlite_store *s, const struct store_change *c)
{
	int r;

	bind_element(s->statements[CHANGE_ELEMENT], c);
	(void)sqlite3_bind_int64(s->statements[CHANGE_ELEMENT], 5, c->expected);
	r = execute(s, CHANGE_ELEMENT);
	if (r != 0 || sqlite3_changes(s->db) > 0)
		return r;
	if (c->expected > 0)
		return STORE_CONFLICT;
	bind_element(s->statements[ADD_ELEMENT], c);
	return execute(s, ADD_ELEMENT);
}

static int put_eukey(struct sqlite_store *s, const struct store_change *c)
{
	sqlite3_stmt *st = s->statements[ADD_EUKEY];
	struct p1_context name;

	record_name(&name, "eukey", name_bytes(&c->user), name_bytes(&c->entity), c->index);
	bind_text(st, 1, name_bytes(&c->entity));
	(void)sqlite3_bind_int64(st, 2, c->index);
	bind_text(st, 3, name_bytes(&c->user));
	return execute_sealed(s, ADD_EUKEY, 4, &name, c->secret);
}

static int mark_held(struct sqlite_store *s, const struct store_change *c)
{
	static const enum statement both[] = {MARK_HELD, DROP_BELOW};
	struct secret *key = NULL;
	int r = get_eukey(&s->store, name_bytes(&c->user), name_bytes(&c->entity), c->index, &key);

	secret_unref(key);
	/* Somebody proved a higher index in the meantime: nothing to forget. */
	if (r == STORE_ABSENT)
		return 0;
	for (size_t i = 0; i < 2 && r == 0; i++) {
		sqlite3_stmt *st = s->statements[both[i]];

		bind_text(st, 1, name_bytes(&c->entity));
		(void)sqlite3_bind_int64(st, 2, c->index);
		bind_text(st, 3, name_bytes(&c->user));
		r = execute(s, both[i]);
	}
	return r;
}

static int release(struct sqlite_store *s, const struct store_change *c)
{
	int r;

	bind_text(s->statements[RELEASE_KEYS], 1, name_bytes(&c->entity));
	r = execute(s, RELEASE_KEYS);
	if (r != 0)
		return r;
	bind_text(s->statements[RELEASE_ELEMENT], 1, name_bytes(&c->entity));
	return execute(s, RELEASE_ELEMENT);
}

static int put_temporary_key(struct sqlite_store *s, const struct store_change *c)
{
	sqlite3_stmt *st = s->statements[PUT_TEMPORARY_KEY];
	struct p1_context name;

	record_name(&name, "temporary key", name_bytes(&c->entity), BYTES_NONE,
		    c->passphrase ? 1 : 0);
	bind_text(st, 1, name_bytes(&c->entity));
	(void)sqlite3_bind_int(st, 2, c->passphrase ? 1 : 0);
	return execute_sealed(s, PUT_TEMPORARY_KEY, 3, &name, c->secret);
}

static int put_answer(struct sqlite_store *s, const struct store_change *c)
{
	sqlite3_stmt *st = s->statements[ADD_ANSWER];

	bind_blob(st, 1, bytes_of(c->id.b, sizeof(c->id.b)));
	(void)sqlite3_bind_int64(st, 2, c->time);
	bind_blob(st, 3, bytes_of(c->request_sha256, sizeof(c->request_sha256)));
	(void)sqlite3_bind_int(st, 4, c->http);
	bind_blob(st, 5, bytes_of(c->data, c->data_size));
	return execute(s, ADD_ANSWER);
}

static int put_subscription(struct sqlite_store *s, const struct store_change *c)
{
	sqlite3_stmt *st = s->statements[PUT_SUBSCRIPTION];

	bind_text(st, 1, name_bytes(&c->user));
	bind_text(st, 2, name_bytes(&c->entity));
	bind_blob(st, 3, bytes_of(c->data, c->data_size));
	return execute(s, PUT_SUBSCRIPTION);
}

static int put_secret(struct sqlite_store *s, const struct store_change *c)
{
	sqlite3_stmt *st = s->statements[ADD_SECRET];
	struct p1_context name;

	record_name(&name, "secret", bytes_text(c->label), BYTES_NONE, 0);
	bind_text(st, 1, bytes_text(c->label));
	return execute_sealed(s, ADD_SECRET, 2, &name, c->secret);
}

static int apply(struct sqlite_store *s, const struct store_change *c)
{
	switch (c->kind) {
	case STORE_ADD_ACCOUNT:
		return put_account(s, c);
	case STORE_PUT_ELEMENT:
		return put_element(s, c);
	case STORE_ADD_EUKEY:
		return put_eukey(s, c);
	case STORE_HELD:
		return mark_held(s, c);
	case STORE_RELEASE:
		return release(s, c);
	case STORE_PUT_TEMPORARY_KEY:
		return put_temporary_key(s, c);
	case STORE_PUT_ANSWER:
		return put_answer(s, c);
	case STORE_TRIM_ANSWERS:
		(void)sqlite3_bind_int64(s->statements[TRIM_ANSWERS], 1, c->time);
		return execute(s, TRIM_ANSWERS);
	case STORE_PUT_SUBSCRIPTION:
		return put_subscription(s, c);
	case STORE_ADD_SECRET:
		return put_secret(s, c);
	}
	return -EINVAL;
}

static int commit(struct store *store, const struct store_batch *b)
{
	struct sqlite_store *s = of(store);
	int r = execute(s, BEGIN);

	if (r != 0)
		return r;
	for (const struct store_change *c = b->first; c && r == 0; c = c->next)
		r = apply(s, c);
	if (r == 0)
		r = execute(s, COMMIT);
	/* After a failed COMMIT there may be nothing left to roll back: that is no further error.
	 */
	if (r != 0 && !sqlite3_get_autocommit(s->db))
		(void)execute(s, ROLLBACK);
	return r;
}

static void close_store(struct store *store)
{
	struct sqlite_store *s = of(store);

	for (size_t i = 0; i < STATEMENTS; i++)
		(void)sqlite3_finalize(s->statements[i]);
	(void)sqlite3_close(s->db);
	secret_unref(s->key);
	free(s);
}

static const struct store_ops ops = {
	.account = get_account,
	.element = get_element,
	.eukey = get_eukey,
	.temporary_key = get_temporary_key,
	.answer = get_answer,
	.secret = get_secret,
	.each_account = each_account,
	.each_element = each_element,
	.each_key = each_key,
	.commit = commit,
	.close = close_store,
};

#define KEY_FILE_SIZE (2 * KEY_SIZE + 1)

static int write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			size -= (size_t)n;
		}
	}
	return 0;
}

static int create_key_file(const char *path, struct secret **out)
{
	struct secret *key = secret_random(KEY_SIZE);
	struct secret *text = secret_new(KEY_FILE_SIZE + 1);
	int fd, r = -ENOMEM;

	if (!key || !text ||
	    hex_encode(secret_bytes(key), (char *)secret_buffer(text), KEY_FILE_SIZE + 1) < 0)
		goto out;
	secret_buffer(text)[2 * KEY_SIZE] = '\n';
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		r = -errno;
		goto out;
	}
	r = write_all(fd, (const char *)secret_buffer(text), KEY_FILE_SIZE);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r < 0)
		(void)unlink(path);
out:
	secret_unref(text);
	if (r < 0)
		secret_clear(&key);
	*out = key;
	return r;
}

static int read_key_file(const char *path, struct secret **out)
{
	struct secret *text = secret_new(KEY_FILE_SIZE);
	struct secret *key = secret_new(KEY_SIZE);
	struct stat st;
	size_t size = 0, got = 0;
	ssize_t n = 1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = STORE_KEY_FILE;

	if (fd < 0 || !text || !key)
		goto out;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077) != 0)
		goto out;
	while (n > 0 && got < KEY_FILE_SIZE) {
		n = read(fd, secret_buffer(text) + got, KEY_FILE_SIZE - got);
		got += n > 0 ? (size_t)n : 0;
	}
	if (got < (size_t)2 * KEY_SIZE ||
	    hex_decode(bytes_of(secret_buffer(text), (size_t)2 * KEY_SIZE), secret_buffer(key),
		       KEY_SIZE, &size) < 0)
		goto out;
	*out = key;
	key = NULL;
	r = 0;
out:
	if (fd >= 0)
		(void)close(fd);
	secret_unref(text);
	secret_unref(key);
	return r;
}

static int user_version(sqlite3 *db, int *out)
{
	sqlite3_stmt *st = NULL;
	int code = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &st, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_step(st);
	if (code == SQLITE_ROW)
		*out = sqlite3_column_int(st, 0);
	(void)sqlite3_finalize(st);
	return error_of(code);
}

static int make_schema(sqlite3 *db)
{
	int version = 0;
	int r = error_of(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL));

	if (r == 0)
		r = user_version(db, &version);
	if (r == 0 && version == 0)
		r = error_of(sqlite3_exec(db, schema, NULL, NULL, NULL));
	if (r == 0 && version == 0)
		r = error_of(sqlite3_exec(db, "PRAGMA user_version = 1", NULL, NULL, NULL));
	if (r == 0)
		r = error_of(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL));
	return r;
}

static int prepare(struct sqlite_store *s, bool create, char *why, size_t why_size)
{
	int version = 0;
	int r;

	(void)sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
	r = user_version(s->db, &version);
	if (r == 0 && version > SCHEMA_VERSION) {
		(void)snprintf(why, why_size, "the store was written by a newer version");
		return STORE_NEWER;
	}
	if (r == 0)
		r = error_of(sqlite3_exec(s->db,
					  "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
					  "PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF",
					  NULL, NULL, NULL));
	if (r == 0 && version == 0)
		r = create ? make_schema(s->db) : STORE_ABSENT;
	for (size_t i = 0; i < STATEMENTS && r == 0; i++)
		r = error_of(sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
						&s->statements[i], NULL));
	if (r != 0)
		(void)snprintf(why, why_size, "the store does not open: %s",
			       r == STORE_ABSENT ? "it is empty" : sqlite3_errmsg(s->db));
	return r;
}

/* The key, made together with the store when neither is there. */
static int find_key(const struct store_sqlite_options *o, struct secret **out, char *why,
		    size_t why_size)
{
	const bool has_store = access(o->path, F_OK) == 0;
	const bool has_key = access(o->key_file, F_OK) == 0;
	int r;

	if (!has_store && !o->create) {
		(void)snprintf(why, why_size, "%s: no such store", o->path);
		return STORE_ABSENT;
	}
	if (!has_key && !has_store) {
		r = create_key_file(o->key_file, out);
		if (r < 0)
			(void)snprintf(why, why_size, "%s: %s", o->key_file, strerror(-r));
		return r;
	}
	r = read_key_file(o->key_file, out);
	if (r != 0)
		(void)snprintf(why, why_size,
			       "%s: the key file must hold 64 hex digits and be readable by its "
			       "owner only",
			       o->key_file);
	return r;
}

int store_open_sqlite(const struct store_sqlite_options *options, struct store **out, char *why,
		      size_t why_size)
{
	struct sqlite_store *s = calloc(1, sizeof(*s));
	struct secret *check = NULL;
	mode_t mask;
	int r;

	(void)snprintf(why, why_size, "out of memory");
	if (!s)
		return -ENOMEM;
	s->store.ops = &ops;
	r = find_key(options, &s->key, why, why_size);
	if (r != 0)
		goto failed;
	mask = umask(077);
	r = error_of(sqlite3_open_v2(options->path, &s->db,
				     SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
					     (options->create ? SQLITE_OPEN_CREATE : 0),
				     NULL));
	if (r == 0)
		r = prepare(s, options->create, why, why_size);
	else
		(void)snprintf(why, why_size, "%s: %s", options->path, sqlite3_errmsg(s->db));
	(void)umask(mask);
	if (r != 0)
		goto failed;
	/* A wrong key file shows at the start and not with the first request. */
	r = get_secret(&s->store, STORE_SECRET_UNKNOWN_USER, &check);
	secret_unref(check);
	if (r != 0 && r != STORE_ABSENT) {
		(void)snprintf(why, why_size, "%s: the store does not open with the key of %s",
			       options->path, options->key_file);
		goto failed;
	}
	why[0] = '\0';
	*out = &s->store;
	return 0;
failed:
	close_store(&s->store);
	return r;
}
