#include "server/store-sqlite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Steps a query that gives one row at most: 0 there is one, STORE_ABSENT, or an error. */
static int one(sqlite3_stmt *st)
{
	int code = sqlite3_step(st);

	if (code == SQLITE_ROW)
		return 0;
	return code == SQLITE_DONE ? STORE_ABSENT : store_row_error(code);
}

int store_sqlite_account(struct store *store, struct bytes user, struct store_account *out)
{
	struct sqlite_store *s = store_sqlite_of(store);
	sqlite3_stmt *st = s->statements[GET_ACCOUNT];
	struct store_account found = {.ph = NULL};
	struct p1_context name;
	struct bytes salt;
	int r;

	store_row_text(st, 1, user);
	r = one(st);
	if (r == 0) {
		salt = store_row_column(st, 0);
		found.iterations = (uint32_t)sqlite3_column_int64(st, 1);
		found.blocked = sqlite3_column_int(st, 3) != 0;
		if (salt.size != SALT_SIZE || name_set(&found.user, user) < 0)
			r = STORE_DAMAGED;
		else
			memcpy(found.salt, salt.data, SALT_SIZE);
	}
	if (r == 0) {
		store_row_name(&name, "account", user, bytes_of(found.salt, SALT_SIZE),
			       found.iterations);
		r = store_row_unseal(s, &name, store_row_column(st, 2), &found.ph);
	}
	store_row_done(st);
	if (r == 0)
		*out = found;
	return r;
}

static enum reset_state reset_of(int value)
{
	return value == RESET_CONFIRMED     ? RESET_CONFIRMED
	       : value == RESET_UNCONFIRMED ? RESET_UNCONFIRMED
					    : RESET_NONE;
}

/* mode, owner, last_index, epoch, revoked_index, reset, former, since: columns from at on. */
static int read_element(sqlite3_stmt *st, int at, struct bytes entity, struct store_element *out)
{
	struct store_element found = {
		.mode = sqlite3_column_int(st, at) == ENTITY_PNGW ? ENTITY_PNGW : ENTITY_PNE,
		.last_index = (uint32_t)sqlite3_column_int64(st, at + 2),
		.revocation = {.epoch = (uint32_t)sqlite3_column_int64(st, at + 3),
			       .key_index = (uint32_t)sqlite3_column_int64(st, at + 4),
			       .reset = reset_of(sqlite3_column_int(st, at + 5)),
			       .since = sqlite3_column_int64(st, at + 7)}};
	struct bytes owner = store_row_column(st, at + 1);
	struct bytes former = store_row_column(st, at + 6);

	if (name_set(&found.entity, entity) < 0 ||
	    (owner.size > 0 && name_set(&found.owner, owner) < 0) ||
	    (former.size > 0 && name_set(&found.revocation.owner, former) < 0))
		return STORE_DAMAGED;
	*out = found;
	return 0;
}

int store_sqlite_element(struct store *store, struct bytes entity, struct store_element *out)
{
	sqlite3_stmt *st = store_sqlite_of(store)->statements[GET_ELEMENT];
	int r;

	store_row_text(st, 1, entity);
	r = one(st);
	if (r == 0)
		r = read_element(st, 0, entity, out);
	store_row_done(st);
	return r;
}

int store_sqlite_eukey(struct store *store, struct bytes user, struct bytes entity, uint32_t index,
		       struct secret **out)
{
	struct sqlite_store *s = store_sqlite_of(store);
	sqlite3_stmt *st = s->statements[GET_EUKEY];
	struct p1_context name;
	int r;

	store_row_text(st, 1, entity);
	(void)sqlite3_bind_int64(st, 2, index);
	store_row_text(st, 3, user);
	r = one(st);
	if (r == 0) {
		store_row_name(&name, "eukey", user, entity, index);
		r = store_row_unseal(s, &name, store_row_column(st, 0), out);
	}
	store_row_done(st);
	return r;
}

int store_sqlite_keys(struct store *store, struct bytes user, struct bytes entity,
		      struct store_key out[STORE_KEYS_MAX])
{
	struct sqlite_store *s = store_sqlite_of(store);
	sqlite3_stmt *st = s->statements[GET_KEYS];
	struct store_key found[STORE_KEYS_MAX] = {{.index = 0}};
	struct p1_context name;
	size_t count = 0;
	int code = SQLITE_ROW, r = 0;

	store_row_text(st, 1, entity);
	store_row_text(st, 2, user);
	(void)sqlite3_bind_int(st, 3, STORE_KEYS_MAX);
	while (r == 0 && count < STORE_KEYS_MAX && (code = sqlite3_step(st)) == SQLITE_ROW) {
		found[count].index = (uint32_t)sqlite3_column_int64(st, 0);
		store_row_name(&name, "eukey", user, entity, found[count].index);
		r = store_row_unseal(s, &name, store_row_column(st, 1), &found[count].key);
		r = r == STORE_DAMAGED ? 0 : r;
		count++;
	}
	store_row_done(st);
	if (r == 0)
		r = store_row_error(code);
	if (r == 0 && count == 0)
		r = STORE_ABSENT;
	if (r == 0)
		memcpy(out, found, sizeof(found));
	else
		store_keys_clear(found);
	return r;
}

/* One row of the newest epoch: idx, epoch, id, told, macs. */
static int read_reset(struct sqlite_store *s, sqlite3_stmt *st, struct bytes user,
		      struct bytes entity, struct store_resets *out)
{
	struct store_reset *reset = &out->list[out->count];
	const struct bytes id = store_row_column(st, 2);
	SCOPED_SECRET *macs = NULL;
	struct p1_context name;
	int r;

	reset->key_index = (uint32_t)sqlite3_column_int64(st, 0);
	out->epoch = (uint32_t)sqlite3_column_int64(st, 1);
	out->told = (uint32_t)sqlite3_column_int64(st, 3);
	store_row_reset_name(&name, user, entity, out->epoch, reset->key_index, id);
	r = store_row_unseal(s, &name, store_row_column(st, 4), &macs);
	if (r != 0)
		return r;
	if (id.size != sizeof(out->id.b) ||
	    secret_size(macs) != sizeof(reset->proof) + sizeof(reset->confirmation))
		return STORE_DAMAGED;
	memcpy(out->id.b, id.data, id.size);
	memcpy(reset->proof, secret_bytes(macs).data, sizeof(reset->proof));
	memcpy(reset->confirmation, secret_bytes(macs).data + sizeof(reset->proof),
	       sizeof(reset->confirmation));
	out->count++;
	return 0;
}

int store_sqlite_resets(struct store *store, struct bytes user, struct bytes entity,
			struct store_resets *out)
{
	struct sqlite_store *s = store_sqlite_of(store);
	sqlite3_stmt *st = s->statements[GET_RESETS];
	struct store_resets found = {.count = 0};
	int code = SQLITE_ROW, r = 0;

	store_row_text(st, 1, entity);
	store_row_text(st, 2, user);
	while (r == 0 && found.count < STORE_KEYS_MAX && (code = sqlite3_step(st)) == SQLITE_ROW) {
		r = read_reset(s, st, user, entity, &found);
		found.damaged += r == STORE_DAMAGED ? 1 : 0;
		r = r == STORE_DAMAGED ? 0 : r;
	}
	store_row_done(st);
	if (r == 0)
		r = store_row_error(code);
	if (r == 0 && found.count == 0)
		r = found.damaged > 0 ? STORE_DAMAGED : STORE_ABSENT;
	if (r == 0)
		*out = found;
	wipe(&found, sizeof(found));
	return r;
}

int store_sqlite_vault_state(struct store *store, struct bytes gateway, const uint8_t vault_id[16],
			     struct store_vault_state *out)
{
	sqlite3_stmt *st = store_sqlite_of(store)->statements[GET_VAULT_STATE];
	struct bytes head;
	int r;

	store_row_text(st, 1, gateway);
	store_row_blob(st, 2, bytes_of(vault_id, sizeof(out->vault_id)));
	r = one(st);
	if (r == 0) {
		head = store_row_column(st, 1);
		if (head.size == sizeof(out->head)) {
			memcpy(out->vault_id, vault_id, sizeof(out->vault_id));
			out->sequence = (uint32_t)sqlite3_column_int64(st, 0);
			memcpy(out->head, head.data, head.size);
		} else {
			r = STORE_DAMAGED;
		}
	}
	store_row_done(st);
	return r;
}

/* 0 or STORE_DAMAGED. */
static int read_handover(sqlite3_stmt *st, struct store_handover *out)
{
	const struct bytes holder = store_row_column(st, 1);
	const sqlite3_int64 term = sqlite3_column_int64(st, 0);

	if (holder.size != sizeof(out->holder) || term < 1 || term > UINT32_MAX)
		return STORE_DAMAGED;
	out->term = (uint32_t)term;
	memcpy(out->holder, holder.data, holder.size);
	out->since = sqlite3_column_int64(st, 2);
	return 0;
}

int store_sqlite_handover(struct store *store, struct bytes gateway, struct store_handover *out)
{
	sqlite3_stmt *st = store_sqlite_of(store)->statements[GET_HANDOVER];
	int r;

	store_row_text(st, 1, gateway);
	r = one(st);
	if (r == 0)
		r = read_handover(st, out);
	store_row_done(st);
	return r;
}

int store_sqlite_each_handover(struct store *store, store_handover_fn *each, void *arg)
{
	sqlite3_stmt *st = store_sqlite_of(store)->statements[EACH_HANDOVER];
	struct store_handover h;
	int r, code = SQLITE_DONE;

	for (r = 0; r == 0 && (code = sqlite3_step(st)) == SQLITE_ROW;) {
		r = read_handover(st, &h);
		if (r == 0)
			r = each(arg, store_row_column(st, 3), &h);
	}
	store_row_done(st);
	return r != 0 ? r : store_row_error(code);
}

int store_sqlite_each_vault(struct store *store, store_vault_fn *each, void *arg)
{
	sqlite3_stmt *st = store_sqlite_of(store)->statements[EACH_VAULT_STATE];
	int r, code = SQLITE_DONE;

	for (r = 0; r == 0 && (code = sqlite3_step(st)) == SQLITE_ROW;)
		r = each(arg, store_row_column(st, 0), store_row_column(st, 1),
			 (uint32_t)sqlite3_column_int64(st, 2), sqlite3_column_int64(st, 3));
	store_row_done(st);
	return r != 0 ? r : store_row_error(code);
}

int store_sqlite_temporary_key(struct store *store, struct bytes entity,
			       struct store_temporary_key *out)
{
	struct sqlite_store *s = store_sqlite_of(store);
	sqlite3_stmt *st = s->statements[GET_TEMPORARY_KEY];
	struct store_temporary_key found = {.key = NULL};
	struct p1_context name;
	int r;

	store_row_text(st, 1, entity);
	r = one(st);
	if (r == 0) {
		found.passphrase = sqlite3_column_int(st, 1) != 0;
		store_row_name(&name, "temporary key", entity, BYTES_NONE,
			       found.passphrase ? 1 : 0);
		r = store_row_unseal(s, &name, store_row_column(st, 0), &found.key);
	}
	store_row_done(st);
	if (r == 0)
		*out = found;
	return r;
}

/* The body, in memory of its own. */
static int open_body(const struct sqlite_store *s, sqlite3_stmt *st, struct bytes id,
		     struct store_answer *out)
{
	const struct bytes sealed = store_row_column(st, 2);
	struct p1_context name;
	int r;

	if (sealed.size < P1_NONCE_SIZE + P1_SEAL_OVERHEAD)
		return STORE_DAMAGED;
	out->body_size = sealed.size - P1_NONCE_SIZE - P1_SEAL_OVERHEAD;
	out->body = malloc(out->body_size + 1);
	if (!out->body)
		return -ENOMEM;
	store_row_answer_name(&name, id, bytes_of(out->request_sha256, sizeof(out->request_sha256)),
			      out->http);
	r = p1_open(s->key, sealed.data, bytes_of(name.data, name.size),
		    bytes_of(sealed.data + P1_NONCE_SIZE, sealed.size - P1_NONCE_SIZE), out->body);
	return r > 0 ? STORE_DAMAGED : r;
}

int store_sqlite_answer(struct store *store, const struct message_id *id, struct store_answer *out)
{
	struct sqlite_store *s = store_sqlite_of(store);
	sqlite3_stmt *st = s->statements[GET_ANSWER];
	const struct bytes id_bytes = bytes_of(id->b, sizeof(id->b));
	struct store_answer found = {.body = NULL};
	struct bytes sha256;
	int r;

	store_row_blob(st, 1, id_bytes);
	r = one(st);
	if (r == 0) {
		sha256 = store_row_column(st, 0);
		found.http = sqlite3_column_int(st, 1);
		if (sha256.size == sizeof(found.request_sha256)) {
			memcpy(found.request_sha256, sha256.data, sha256.size);
			r = open_body(s, st, id_bytes, &found);
		} else {
			r = STORE_DAMAGED;
		}
	}
	store_row_done(st);
	if (r == 0)
		*out = found;
	else
		free(found.body);
	return r;
}

int store_sqlite_secret(struct store *store, const char *what, struct secret **out)
{
	struct sqlite_store *s = store_sqlite_of(store);
	sqlite3_stmt *st = s->statements[GET_SECRET];
	struct p1_context name;
	int r;

	store_row_text(st, 1, bytes_text(what));
	r = one(st);
	if (r == 0) {
		store_row_name(&name, "secret", bytes_text(what), BYTES_NONE, 0);
		r = store_row_unseal(s, &name, store_row_column(st, 0), out);
	}
	store_row_done(st);
	return r;
}

int store_sqlite_alive(struct store *store)
{
	struct sqlite_store *s = store_sqlite_of(store);
	struct secret *unknown = NULL;
	int moved = 0;
	int r;

	(void)sqlite3_file_control(s->db, NULL, SQLITE_FCNTL_HAS_MOVED, &moved);
	if (moved)
		return -ESTALE;
	r = store_sqlite_secret(store, STORE_SECRET_UNKNOWN_USER, &unknown);
	secret_unref(unknown);
	/* Absent or damaged, it was looked for. */
	return r < 0 ? r : 0;
}

int store_sqlite_each_account(struct store *store, store_account_fn *each, void *arg)
{
	sqlite3_stmt *st = store_sqlite_of(store)->statements[EACH_ACCOUNT];
	int r, code = SQLITE_DONE;

	for (r = 0; r == 0 && (code = sqlite3_step(st)) == SQLITE_ROW;)
		r = each(arg, store_row_column(st, 0), (uint32_t)sqlite3_column_int64(st, 1),
			 sqlite3_column_int(st, 2) != 0);
	store_row_done(st);
	return r != 0 ? r : store_row_error(code);
}

int store_sqlite_each_element(struct store *store, store_element_fn *each, void *arg)
{
	sqlite3_stmt *st = store_sqlite_of(store)->statements[EACH_ELEMENT];
	struct store_element element;
	bool damaged = false;
	int r, code = SQLITE_DONE;

	for (r = 0; r == 0 && (code = sqlite3_step(st)) == SQLITE_ROW;) {
		if (read_element(st, 1, store_row_column(st, 0), &element) == 0)
			r = each(arg, &element);
		else
			damaged = true;
	}
	store_row_done(st);
	if (r == 0)
		r = store_row_error(code);
	return r == 0 && damaged ? STORE_DAMAGED : r;
}

int store_sqlite_each_key(struct store *store, store_key_fn *each, void *arg)
{
	struct sqlite_store *s = store_sqlite_of(store);
	sqlite3_stmt *st = s->statements[EACH_KEY];
	int r, code = SQLITE_DONE;

	for (r = 0; r == 0 && (code = sqlite3_step(st)) == SQLITE_ROW;) {
		struct store_key_row row = {.user = store_row_column(st, 0),
					    .entity = store_row_column(st, 1),
					    .index = (uint32_t)sqlite3_column_int64(st, 2),
					    .held = sqlite3_column_int(st, 3) != 0};
		struct p1_context name;

		store_row_name(&name, "eukey", row.user, row.entity, row.index);
		r = store_row_unseal(s, &name, store_row_column(st, 4), &row.key);
		if (r == 0 || r == STORE_DAMAGED)
			r = each(arg, &row);
		secret_unref(row.key);
	}
	store_row_done(st);
	return r != 0 ? r : store_row_error(code);
}
