#include "server/store-sqlite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Runs a statement whose last parameter is sealed; the others are bound already. */
static int execute_sealed(struct sqlite_store *s, enum statement which, int at,
			  const struct p1_context *name, const struct secret *value)
{
	uint8_t sealed[STORE_SEALED_MAX];
	const size_t size = value ? P1_NONCE_SIZE + secret_size(value) + P1_SEAL_OVERHEAD : 0;
	int r = value ? store_row_seal(s, name, secret_bytes(value), sealed) : -EINVAL;

	if (r < 0) {
		store_row_done(s->statements[which]);
		return r;
	}
	store_row_blob(s->statements[which], at, bytes_of(sealed, size));
	return store_row_execute(s, which);
}

static int put_account(struct sqlite_store *s, const struct store_change *c)
{
	sqlite3_stmt *st = s->statements[ADD_ACCOUNT];
	struct p1_context name;

	store_row_name(&name, "account", name_bytes(&c->user), bytes_of(c->salt, SALT_SIZE),
		       c->iterations);
	store_row_text(st, 1, name_bytes(&c->user));
	store_row_blob(st, 2, bytes_of(c->salt, SALT_SIZE));
	(void)sqlite3_bind_int64(st, 3, c->iterations);
	return execute_sealed(s, ADD_ACCOUNT, 4, &name, c->secret);
}

static int block_account(struct sqlite_store *s, const struct store_change *c)
{
	sqlite3_stmt *st = s->statements[BLOCK_ACCOUNT];
	int r;

	store_row_text(st, 1, name_bytes(&c->user));
	(void)sqlite3_bind_int(st, 2, c->blocked ? 1 : 0);
	r = store_row_execute(s, BLOCK_ACCOUNT);
	return r == 0 && sqlite3_changes(s->db) == 0 ? STORE_CONFLICT : r;
}

static void bind_element(sqlite3_stmt *st, const struct store_change *c)
{
	store_row_text(st, 1, name_bytes(&c->entity));
	(void)sqlite3_bind_int(st, 2, (int)c->mode);
	store_row_text(st, 3, name_bytes(&c->owner));
	(void)sqlite3_bind_int64(st, 4, c->index);
}

static int put_element(struct sqlite_store *s, const struct store_change *c)
{
	int r;

	bind_element(s->statements[CHANGE_ELEMENT], c);
	(void)sqlite3_bind_int64(s->statements[CHANGE_ELEMENT], 5, c->expected);
	(void)sqlite3_bind_int64(s->statements[CHANGE_ELEMENT], 6, c->expected_epoch);
	r = store_row_execute(s, CHANGE_ELEMENT);
	if (r != 0 || sqlite3_changes(s->db) > 0)
		return r;
	if (c->expected > 0 || c->expected_epoch > 0)
		return STORE_CONFLICT;
	bind_element(s->statements[ADD_ELEMENT], c);
	r = store_row_execute(s, ADD_ELEMENT);
	return r == 0 && sqlite3_changes(s->db) == 0 ? STORE_CONFLICT : r;
}

static int put_eukey(struct sqlite_store *s, const struct store_change *c)
{
	sqlite3_stmt *st = s->statements[ADD_EUKEY];
	struct p1_context name;
	int r;

	store_row_name(&name, "eukey", name_bytes(&c->user), name_bytes(&c->entity), c->index);
	store_row_text(st, 1, name_bytes(&c->entity));
	(void)sqlite3_bind_int64(st, 2, c->index);
	store_row_text(st, 3, name_bytes(&c->user));
	r = execute_sealed(s, ADD_EUKEY, 4, &name, c->secret);
	return r == 0 && sqlite3_changes(s->db) == 0 ? STORE_CONFLICT : r;
}

static int mark_held(struct sqlite_store *s, const struct store_change *c)
{
	static const enum statement both[] = {MARK_HELD, DROP_BELOW};
	struct secret *key = NULL;
	int r = store_sqlite_eukey(&s->store, name_bytes(&c->user), name_bytes(&c->entity),
				   c->index, &key);

	secret_unref(key);
	/* Somebody proved a higher index in the meantime: nothing to forget. */
	if (r == STORE_ABSENT)
		return 0;
	for (size_t i = 0; i < 2 && r == 0; i++) {
		sqlite3_stmt *st = s->statements[both[i]];

		store_row_text(st, 1, name_bytes(&c->entity));
		(void)sqlite3_bind_int64(st, 2, c->index);
		store_row_text(st, 3, name_bytes(&c->user));
		r = store_row_execute(s, both[i]);
	}
	/* What was revoked is overwritten in the device: as good as erased. */
	if (r == 0) {
		store_row_text(s->statements[RESET_NEEDLESS], 1, name_bytes(&c->entity));
		r = store_row_execute(s, RESET_NEEDLESS);
	}
	if (r == 0) {
		store_row_text(s->statements[DROP_RESETS], 1, name_bytes(&c->entity));
		r = store_row_execute(s, DROP_RESETS);
	}
	return r;
}

static int revoke(struct sqlite_store *s, const struct store_change *c)
{
	sqlite3_stmt *st = s->statements[REVOKE_ELEMENT];
	int r;

	store_row_text(st, 1, name_bytes(&c->entity));
	(void)sqlite3_bind_int64(st, 2, c->epoch);
	(void)sqlite3_bind_int64(st, 3, c->index);
	(void)sqlite3_bind_int(st, 4, (int)c->reset);
	(void)sqlite3_bind_int64(st, 5, c->time);
	(void)sqlite3_bind_int64(st, 6, c->expected);
	(void)sqlite3_bind_int64(st, 7, c->expected_epoch);
	r = store_row_execute(s, REVOKE_ELEMENT);
	if (r != 0)
		return r;
	if (sqlite3_changes(s->db) == 0)
		return STORE_CONFLICT;
	st = s->statements[DROP_REVOKED];
	store_row_text(st, 1, name_bytes(&c->entity));
	(void)sqlite3_bind_int64(st, 2, c->index);
	return store_row_execute(s, DROP_REVOKED);
}

static int put_reset(struct sqlite_store *s, const struct store_change *c)
{
	sqlite3_stmt *st = s->statements[ADD_RESET];
	const struct bytes id = bytes_of(c->id.b, sizeof(c->id.b));
	struct p1_context name;

	store_row_reset_name(&name, name_bytes(&c->user), name_bytes(&c->entity), c->epoch,
			     c->index, id);
	store_row_text(st, 1, name_bytes(&c->entity));
	(void)sqlite3_bind_int64(st, 2, c->epoch);
	(void)sqlite3_bind_int64(st, 3, c->index);
	store_row_text(st, 4, name_bytes(&c->user));
	store_row_blob(st, 5, id);
	return execute_sealed(s, ADD_RESET, 6, &name, c->secret);
}

static int resets_told(struct sqlite_store *s, const struct store_change *c)
{
	sqlite3_stmt *st = s->statements[TOLD_RESETS];

	store_row_text(st, 1, name_bytes(&c->entity));
	(void)sqlite3_bind_int64(st, 2, c->epoch);
	store_row_text(st, 3, name_bytes(&c->user));
	return store_row_execute(s, TOLD_RESETS);
}

static int reset_done(struct sqlite_store *s, const struct store_change *c)
{
	sqlite3_stmt *st = s->statements[CONFIRM_RESET];
	int r;

	store_row_text(st, 1, name_bytes(&c->entity));
	(void)sqlite3_bind_int64(st, 2, c->epoch);
	r = store_row_execute(s, CONFIRM_RESET);
	if (r != 0 || sqlite3_changes(s->db) == 0)
		return r;
	store_row_text(s->statements[DROP_RESETS], 1, name_bytes(&c->entity));
	return store_row_execute(s, DROP_RESETS);
}

static int put_vault_state(struct sqlite_store *s, const struct store_change *c)
{
	const enum statement which = c->known ? CHANGE_VAULT_STATE : ADD_VAULT_STATE;
	sqlite3_stmt *st = s->statements[which];
	int r;

	store_row_text(st, 1, name_bytes(&c->entity));
	store_row_blob(st, 2, bytes_of(c->vault.vault_id, sizeof(c->vault.vault_id)));
	(void)sqlite3_bind_int64(st, 3, c->vault.sequence);
	store_row_blob(st, 4, bytes_of(c->vault.head, sizeof(c->vault.head)));
	(void)sqlite3_bind_int64(st, 5, c->time);
	if (c->known)
		(void)sqlite3_bind_int64(st, 6, c->expected);
	r = store_row_execute(s, which);
	if (r == 0 && sqlite3_changes(s->db) == 0)
		return STORE_CONFLICT;
	if (r != 0 || c->known)
		return r;
	st = s->statements[TRIM_VAULT_STATES];
	store_row_text(st, 1, name_bytes(&c->entity));
	(void)sqlite3_bind_int(st, 2, STORE_VAULTS_MAX);
	store_row_blob(st, 3, bytes_of(c->vault.vault_id, sizeof(c->vault.vault_id)));
	return store_row_execute(s, TRIM_VAULT_STATES);
}

static int forget_vault_state(struct sqlite_store *s, const struct store_change *c)
{
	sqlite3_stmt *st = s->statements[FORGET_VAULT_STATE];

	store_row_text(st, 1, name_bytes(&c->entity));
	store_row_blob(st, 2, bytes_of(c->vault.vault_id, sizeof(c->vault.vault_id)));
	return store_row_execute(s, FORGET_VAULT_STATE);
}

static int put_handover(struct sqlite_store *s, const struct store_change *c)
{
	const enum statement which = c->expected > 0 ? CHANGE_HANDOVER : ADD_HANDOVER;
	sqlite3_stmt *st = s->statements[which];
	int r;

	store_row_text(st, 1, name_bytes(&c->entity));
	(void)sqlite3_bind_int64(st, 2, c->handover.term);
	store_row_blob(st, 3, bytes_of(c->handover.holder, sizeof(c->handover.holder)));
	(void)sqlite3_bind_int64(st, 4, c->handover.since);
	if (c->expected > 0)
		(void)sqlite3_bind_int64(st, 5, c->expected);
	r = store_row_execute(s, which);
	return r == 0 && sqlite3_changes(s->db) == 0 ? STORE_CONFLICT : r;
}

static int release(struct sqlite_store *s, const struct store_change *c)
{
	int r;

	store_row_text(s->statements[RELEASE_KEYS], 1, name_bytes(&c->entity));
	r = store_row_execute(s, RELEASE_KEYS);
	if (r != 0)
		return r;
	store_row_text(s->statements[RELEASE_ELEMENT], 1, name_bytes(&c->entity));
	return store_row_execute(s, RELEASE_ELEMENT);
}

static int put_temporary_key(struct sqlite_store *s, const struct store_change *c)
{
	sqlite3_stmt *st = s->statements[PUT_TEMPORARY_KEY];
	struct p1_context name;

	store_row_name(&name, "temporary key", name_bytes(&c->entity), BYTES_NONE,
		       c->passphrase ? 1 : 0);
	store_row_text(st, 1, name_bytes(&c->entity));
	(void)sqlite3_bind_int(st, 2, c->passphrase ? 1 : 0);
	return execute_sealed(s, PUT_TEMPORARY_KEY, 3, &name, c->secret);
}

static int put_answer(struct sqlite_store *s, const struct store_change *c)
{
	sqlite3_stmt *st = s->statements[ADD_ANSWER];
	const struct bytes id = bytes_of(c->id.b, sizeof(c->id.b));
	const struct bytes sha256 = bytes_of(c->request_sha256, sizeof(c->request_sha256));
	const size_t size = P1_NONCE_SIZE + c->data_size + P1_SEAL_OVERHEAD;
	uint8_t *sealed = malloc(size);
	struct p1_context name;
	int r;

	if (!sealed)
		return -ENOMEM;
	store_row_answer_name(&name, id, sha256, c->http);
	r = store_row_seal(s, &name, bytes_of(c->data, c->data_size), sealed);
	if (r == 0) {
		store_row_blob(st, 1, id);
		(void)sqlite3_bind_int64(st, 2, c->time);
		store_row_blob(st, 3, sha256);
		(void)sqlite3_bind_int(st, 4, c->http);
		store_row_blob(st, 5, bytes_of(sealed, size));
		r = store_row_execute(s, ADD_ANSWER);
	}
	free(sealed);
	return r;
}

static int put_subscription(struct sqlite_store *s, const struct store_change *c)
{
	sqlite3_stmt *st = s->statements[PUT_SUBSCRIPTION];

	store_row_text(st, 1, name_bytes(&c->user));
	store_row_text(st, 2, name_bytes(&c->entity));
	store_row_blob(st, 3, bytes_of(c->data, c->data_size));
	return store_row_execute(s, PUT_SUBSCRIPTION);
}

static int put_secret(struct sqlite_store *s, const struct store_change *c)
{
	sqlite3_stmt *st = s->statements[ADD_SECRET];
	struct p1_context name;

	store_row_name(&name, "secret", bytes_text(c->label), BYTES_NONE, 0);
	store_row_text(st, 1, bytes_text(c->label));
	return execute_sealed(s, ADD_SECRET, 2, &name, c->secret);
}

static int apply(struct sqlite_store *s, const struct store_change *c)
{
	switch (c->kind) {
	case STORE_ADD_ACCOUNT:
		return put_account(s, c);
	case STORE_BLOCK_ACCOUNT:
		return block_account(s, c);
	case STORE_PUT_ELEMENT:
		return put_element(s, c);
	case STORE_ADD_EUKEY:
		return put_eukey(s, c);
	case STORE_HELD:
		return mark_held(s, c);
	case STORE_RELEASE:
		return release(s, c);
	case STORE_REVOKE:
		return revoke(s, c);
	case STORE_ADD_RESET:
		return put_reset(s, c);
	case STORE_RESETS_TOLD:
		return resets_told(s, c);
	case STORE_RESET_DONE:
		return reset_done(s, c);
	case STORE_PUT_VAULT_STATE:
		return put_vault_state(s, c);
	case STORE_FORGET_VAULT_STATE:
		return forget_vault_state(s, c);
	case STORE_PUT_HANDOVER:
		return put_handover(s, c);
	case STORE_FORGET_HANDOVER:
		store_row_text(s->statements[FORGET_HANDOVER], 1, name_bytes(&c->entity));
		return store_row_execute(s, FORGET_HANDOVER);
	case STORE_PUT_TEMPORARY_KEY:
		return put_temporary_key(s, c);
	case STORE_PUT_ANSWER:
		return put_answer(s, c);
	case STORE_TRIM_ANSWERS:
		(void)sqlite3_bind_int64(s->statements[TRIM_ANSWERS], 1, c->time);
		return store_row_execute(s, TRIM_ANSWERS);
	case STORE_PUT_SUBSCRIPTION:
		return put_subscription(s, c);
	case STORE_ADD_SECRET:
		return put_secret(s, c);
	}
	return -EINVAL;
}

int store_sqlite_commit(struct store *store, const struct store_batch *b)
{
	struct sqlite_store *s = store_sqlite_of(store);
	int r = store_row_execute(s, BEGIN);

	if (r != 0)
		return r;
	for (const struct store_change *c = b->first; c && r == 0; c = c->next)
		r = apply(s, c);
	if (r == 0)
		r = store_row_execute(s, COMMIT);
	/* After a failed COMMIT there may be nothing left to roll back: that is no further error.
	 */
	if (r != 0 && !sqlite3_get_autocommit(s->db))
		(void)store_row_execute(s, ROLLBACK);
	return r;
}
