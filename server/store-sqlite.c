#include "server/store-sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/*
 * Secrets, and answers, which may carry the right to reset a device, are sealed under the key
 * file's key: a random nonce, then ChaCha20-Poly1305, whose associated data names the record, so
 * that a sealed value cannot be moved to another one. Names and indices are in the clear: the
 * operator lists them.
 */

#define BUSY_TIMEOUT_MS 5000

#define REVOCATION "epoch, revoked_index, reset, former, since"

/* Nothing becomes a user's who is locked out by now. */
#define UNLESS_BLOCKED " AND NOT EXISTS (SELECT 1 FROM account WHERE user = ?3 AND blocked = 1)"

static const char *const sql[STATEMENTS] = {
	[GET_ACCOUNT] = "SELECT salt, iterations, ph, blocked FROM account WHERE user = ?1",
	[GET_ELEMENT] =
		("SELECT mode, owner, last_index, " REVOCATION " FROM element WHERE entity = ?1"),
	[GET_EUKEY] = "SELECT key FROM eukey WHERE entity = ?1 AND idx = ?2 AND user = ?3",
	[GET_KEYS] =
		"SELECT idx, key FROM eukey WHERE entity = ?1 AND user = ?2 ORDER BY idx LIMIT ?3",
	[GET_RESETS] =
		("SELECT idx, epoch, id, told, macs FROM reset WHERE entity = ?1 AND user = ?2"
		 " AND epoch = (SELECT max(epoch) FROM reset WHERE entity = ?1 AND user = ?2)"
		 " ORDER BY idx"),
	[GET_VAULT_STATE] = "SELECT sequence, head FROM vault WHERE gateway = ?1 AND vault = ?2",
	[GET_HANDOVER] = "SELECT term, holder, since FROM handover WHERE gateway = ?1",
	[GET_TEMPORARY_KEY] = "SELECT key, passphrase FROM temporary_key WHERE entity = ?1",
	[GET_ANSWER] = "SELECT sha256, http, body FROM answer WHERE id = ?1",
	[GET_SECRET] = "SELECT value FROM secret WHERE name = ?1",
	[EACH_ACCOUNT] = "SELECT user, iterations, blocked FROM account ORDER BY user",
	[EACH_ELEMENT] = ("SELECT entity, mode, owner, last_index, " REVOCATION
			  " FROM element ORDER BY entity"),
	[EACH_KEY] = "SELECT user, entity, idx, held, key FROM eukey ORDER BY user, entity, idx",
	[EACH_HANDOVER] = "SELECT term, holder, since, gateway FROM handover ORDER BY gateway",
	[EACH_VAULT_STATE] =
		"SELECT gateway, vault, sequence, time FROM vault ORDER BY gateway, vault",
	[ADD_ACCOUNT] = "INSERT INTO account (user, salt, iterations, ph) VALUES (?1, ?2, ?3, ?4)",
	[BLOCK_ACCOUNT] = "UPDATE account SET blocked = ?2 WHERE user = ?1",
	[ADD_ELEMENT] = ("INSERT INTO element (entity, mode, owner, last_index)"
			 " SELECT ?1, ?2, ?3, ?4 WHERE 1" UNLESS_BLOCKED),
	[CHANGE_ELEMENT] = ("UPDATE element SET mode = ?2, owner = ?3, last_index = ?4"
			    " WHERE entity = ?1 AND last_index = ?5 AND epoch = ?6" UNLESS_BLOCKED),
	[REVOKE_ELEMENT] =
		("UPDATE element SET epoch = ?2, revoked_index = ?3, reset = ?4, since = ?5,"
		 " last_index = max(last_index, ?3),"
		 " former = CASE owner WHEN '' THEN former ELSE owner END, owner = ''"
		 " WHERE entity = ?1 AND last_index = ?6 AND epoch = ?7"),
	[ADD_EUKEY] = ("INSERT INTO eukey SELECT ?1, ?2, ?3, 0, ?4 WHERE 1" UNLESS_BLOCKED),
	[MARK_HELD] = "UPDATE eukey SET held = (idx = ?2) WHERE entity = ?1 AND user = ?3",
	[DROP_BELOW] = "DELETE FROM eukey WHERE entity = ?1 AND idx < ?2 AND user = ?3",
	[DROP_REVOKED] = "DELETE FROM eukey WHERE entity = ?1 AND idx <= ?2",
	[RESET_NEEDLESS] = "UPDATE element SET reset = 2 WHERE entity = ?1 AND reset = 1",
	[CONFIRM_RESET] = "UPDATE element SET reset = 2 WHERE entity = ?1 AND epoch = ?2",
	[DROP_RESETS] = "DELETE FROM reset WHERE entity = ?1",
	[ADD_RESET] = "INSERT INTO reset VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)",
	[TOLD_RESETS] = ("UPDATE reset SET told = told + 1"
			 " WHERE entity = ?1 AND epoch = ?2 AND user = ?3"),
	[RELEASE_ELEMENT] = "UPDATE element SET owner = '' WHERE entity = ?1",
	[RELEASE_KEYS] = "DELETE FROM eukey WHERE entity = ?1",
	[PUT_TEMPORARY_KEY] = "INSERT OR REPLACE INTO temporary_key VALUES (?1, ?2, ?3)",
	[ADD_VAULT_STATE] = "INSERT INTO vault VALUES (?1, ?2, ?3, ?4, ?5)",
	[CHANGE_VAULT_STATE] = ("UPDATE vault SET sequence = ?3, head = ?4, time = ?5"
				" WHERE gateway = ?1 AND vault = ?2 AND sequence = ?6"),
	[TRIM_VAULT_STATES] = ("DELETE FROM vault WHERE gateway = ?1 AND vault NOT IN"
			       " (SELECT vault FROM vault WHERE gateway = ?1"
			       " ORDER BY vault = ?3 DESC, time DESC LIMIT ?2)"),
	[FORGET_VAULT_STATE] = "DELETE FROM vault WHERE gateway = ?1 AND vault = ?2",
	[ADD_HANDOVER] = "INSERT INTO handover VALUES (?1, ?2, ?3, ?4)",
	[CHANGE_HANDOVER] = ("UPDATE handover SET term = ?2, holder = ?3, since = ?4"
			     " WHERE gateway = ?1 AND term = ?5"),
	[FORGET_HANDOVER] = "DELETE FROM handover WHERE gateway = ?1",
	[ADD_ANSWER] = "INSERT INTO answer VALUES (?1, ?2, ?3, ?4, ?5)",
	[TRIM_ANSWERS] = "DELETE FROM answer WHERE time < ?1",
	[PUT_SUBSCRIPTION] = "INSERT OR REPLACE INTO subscription VALUES (?1, ?2, ?3)",
	[ADD_SECRET] = "INSERT INTO secret VALUES (?1, ?2)",
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
};

int store_row_error(int code)
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

void store_row_text(sqlite3_stmt *st, int at, struct bytes text)
{
	(void)sqlite3_bind_text(st, at, text.data ? (const char *)text.data : "", (int)text.size,
				SQLITE_STATIC);
}

void store_row_blob(sqlite3_stmt *st, int at, struct bytes blob)
{
	(void)sqlite3_bind_blob(st, at, blob.data ? (const void *)blob.data : "", (int)blob.size,
				SQLITE_STATIC);
}

struct bytes store_row_column(sqlite3_stmt *st, int at)
{
	const void *data = sqlite3_column_blob(st, at);

	return bytes_of(data, (size_t)sqlite3_column_bytes(st, at));
}

void store_row_done(sqlite3_stmt *st)
{
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
}

void store_row_name(struct p1_context *c, const char *what, struct bytes a, struct bytes b,
		    uint32_t index)
{
	p1_context_begin(c, "CPNS server store");
	p1_context_add(c, bytes_text(what));
	p1_context_add(c, a);
	p1_context_add(c, b);
	p1_context_add_index(c, index);
}

void store_row_answer_name(struct p1_context *c, struct bytes id, struct bytes request_sha256,
			   int http)
{
	store_row_name(c, "answer", id, request_sha256, (uint32_t)http);
}

void store_row_reset_name(struct p1_context *c, struct bytes user, struct bytes entity,
			  uint32_t epoch, uint32_t index, struct bytes id)
{
	store_row_name(c, "reset", user, entity, index);
	p1_context_add_index(c, epoch);
	p1_context_add(c, id);
}

int store_row_seal(const struct sqlite_store *s, const struct p1_context *name, struct bytes plain,
		   uint8_t *out)
{
	int r = p1_random(out, P1_NONCE_SIZE);

	if (r == 0)
		r = p1_seal(s->key, out, bytes_of(name->data, name->size),
			    plain.data ? plain : bytes_text(""), out + P1_NONCE_SIZE);
	return r;
}

int store_row_unseal(const struct sqlite_store *s, const struct p1_context *name,
		     struct bytes sealed, struct secret **out)
{
	struct secret *value;
	int r;

	if (sealed.size <= P1_NONCE_SIZE + P1_SEAL_OVERHEAD || sealed.size > STORE_SEALED_MAX)
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

int store_row_execute(struct sqlite_store *s, enum statement which)
{
	int r = store_row_error(sqlite3_step(s->statements[which]));

	store_row_done(s->statements[which]);
	return r;
}

static void close_store(struct store *store)
{
	struct sqlite_store *s = store_sqlite_of(store);

	for (size_t i = 0; i < STATEMENTS; i++)
		(void)sqlite3_finalize(s->statements[i]);
	(void)sqlite3_close(s->db);
	secret_unref(s->key);
	free(s);
}

const struct store_ops store_sqlite_ops = {
	.account = store_sqlite_account,
	.element = store_sqlite_element,
	.eukey = store_sqlite_eukey,
	.keys = store_sqlite_keys,
	.temporary_key = store_sqlite_temporary_key,
	.resets = store_sqlite_resets,
	.vault_state = store_sqlite_vault_state,
	.handover = store_sqlite_handover,
	.answer = store_sqlite_answer,
	.secret = store_sqlite_secret,
	.each_account = store_sqlite_each_account,
	.each_element = store_sqlite_each_element,
	.each_key = store_sqlite_each_key,
	.each_handover = store_sqlite_each_handover,
	.each_vault = store_sqlite_each_vault,
	.commit = store_sqlite_commit,
	.alive = store_sqlite_alive,
	.close = close_store,
};

static int prepare(struct sqlite_store *s, bool create, char *why, size_t why_size)
{
	int r;

	(void)sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
	r = store_sqlite_schema(s, create);
	for (size_t i = 0; i < STATEMENTS && r == 0; i++)
		r = store_row_error(sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
						       &s->statements[i], NULL));
	if (r == STORE_NEWER)
		(void)snprintf(why, why_size, "the store was written by a newer version");
	else if (r == STORE_ABSENT)
		(void)snprintf(why, why_size, "the store does not open: it is empty");
	else if (r == STORE_DAMAGED)
		(void)snprintf(why, why_size,
			       "the store does not open: it is damaged, or its key is another");
	else if (r != 0)
		(void)snprintf(why, why_size, "the store does not open: %s", sqlite3_errmsg(s->db));
	return r;
}

int store_open_sqlite(const struct store_sqlite_options *options, struct store **out, char *why,
		      size_t why_size)
{
	struct sqlite_store *s = calloc(1, sizeof(*s));
	struct secret *check = NULL;
	bool make = false;
	mode_t mask;
	int r;

	(void)snprintf(why, why_size, "out of memory");
	if (!s)
		return -ENOMEM;
	s->store.ops = &store_sqlite_ops;
	r = store_sqlite_key(options, &make, &s->key, why, why_size);
	if (r != 0)
		goto failed;
	mask = umask(077);
	r = store_row_error(sqlite3_open_v2(options->path, &s->db,
					    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
						    (make ? SQLITE_OPEN_CREATE : 0),
					    NULL));
	if (r == 0)
		r = prepare(s, make, why, why_size);
	else
		(void)snprintf(why, why_size, "%s: %s", options->path, sqlite3_errmsg(s->db));
	(void)umask(mask);
	if (r != 0)
		goto failed;
	/* A wrong key file shows at the start and not with the first request. */
	r = store_sqlite_secret(&s->store, STORE_SECRET_UNKNOWN_USER, &check);
	secret_unref(check);
	if (r != 0 && r != STORE_ABSENT) {
		(void)snprintf(why, why_size, "%s: the store does not open with the key of %s",
			       options->path, options->key_file);
		goto failed;
	}
	r = make ? store_sqlite_made(options) : 0;
	if (r < 0) {
		(void)snprintf(why, why_size, "%s.new: %s", options->key_file, strerror(-r));
		goto failed;
	}
	why[0] = '\0';
	*out = &s->store;
	return 0;
failed:
	close_store(&s->store);
	return r;
}
