#include "storage/vault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/hidden.h"
#include "storage/vault-internal.h"

int vault_errno(int sqlite_result)
{
	if (sqlite_result == SQLITE_IOERR_NOMEM)
		return -ENOMEM;
	switch (sqlite_result & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_PERM:
	case SQLITE_AUTH:
	case SQLITE_CANTOPEN:
		return -EACCES;
	/* Of statements that are right, this is what a table that lacks a column comes to. */
	case SQLITE_ERROR:
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_CONSTRAINT:
		return -EBADMSG;
	default:
		return -EIO;
	}
}

int vault_db_errno(sqlite3 *db, int sqlite_result)
{
	int r = vault_errno(sqlite_result);
	sqlite3_file *log = NULL;
	int last = 0;

	if (r != -EIO || !db ||
	    sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) != SQLITE_OK ||
	    !log || !log->pMethods ||
	    log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &last) != SQLITE_OK)
		return r;
	switch (last) {
	case EROFS:
		return -EROFS;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return -ENOSPC;
	}
	return r;
}

static int hash_owner(const struct vault_keys *keys, int kind, struct bytes owner,
		      uint8_t out[VAULT_HASH_SIZE])
{
	uint8_t text[1 + VAULT_OWNER_MAX] = {(uint8_t)kind};

	if (owner.size > VAULT_OWNER_MAX)
		return -EINVAL;
	if (owner.size > 0)
		memcpy(text + 1, owner.data, owner.size);
	return p1_siphash(secret_bytes(keys->names).data, bytes_of(text, 1 + owner.size), out);
}

int vault_name(const struct vault_keys *keys, const struct vault_id *id,
	       uint8_t out[VAULT_NAME_SIZE])
{
	/* What is hashed for the item begins as the name does: kind, owner's hash. */
	uint8_t text[1 + VAULT_HASH_SIZE + VAULT_ITEM_MAX];
	int r;

	if (id->item.size > VAULT_ITEM_MAX)
		return -EINVAL;
	out[0] = (uint8_t)id->kind;
	r = hash_owner(keys, (int)id->kind, id->owner, out + 1);
	if (r != 0)
		return r;
	memcpy(text, out, 1 + VAULT_HASH_SIZE);
	if (id->item.size > 0)
		memcpy(text + 1 + VAULT_HASH_SIZE, id->item.data, id->item.size);
	return p1_siphash(secret_bytes(keys->names).data + KEY_SIZE / 2,
			  bytes_of(text, 1 + VAULT_HASH_SIZE + id->item.size),
			  out + 1 + VAULT_HASH_SIZE);
}

void vault_name_range_of_kind(int kind, uint8_t low[VAULT_NAME_SIZE], uint8_t high[VAULT_NAME_SIZE])
{
	memset(low, 0, VAULT_NAME_SIZE);
	memset(high, 0xff, VAULT_NAME_SIZE);
	low[0] = high[0] = (uint8_t)kind;
}

int vault_name_range(const struct vault_keys *keys, int kind, struct bytes owner,
		     uint8_t low[VAULT_NAME_SIZE], uint8_t high[VAULT_NAME_SIZE])
{
	int r;

	vault_name_range_of_kind(kind, low, high);
	r = hash_owner(keys, kind, owner, low + 1);
	memcpy(high + 1, low + 1, VAULT_HASH_SIZE);
	return r;
}

static void row_context(const struct vault_row *row, struct p1_context *out)
{
	uint8_t sequence[8];

	for (size_t i = 0; i < sizeof(sequence); i++)
		sequence[i] = (uint8_t)((uint64_t)row->sequence >> (56 - 8 * i));
	p1_context_begin(out, "pngw vault record");
	p1_context_add_index(out, VAULT_SCHEMA);
	p1_context_add_index(out, row->generation);
	p1_context_add_index(out, row->name[0]);
	p1_context_add(out, bytes_of(sequence, sizeof(sequence)));
	p1_context_add(out, bytes_of(row->name + 1, VAULT_HASH_SIZE));
	p1_context_add(out, bytes_of(row->name + 1 + VAULT_HASH_SIZE, VAULT_HASH_SIZE));
}

uint8_t *vault_plain_new(struct bytes owner, struct bytes item, struct bytes content, size_t *size)
{
	uint8_t *plain = hidden_new(VAULT_PLAIN_HEADER + owner.size + item.size + content.size);
	uint8_t *at = plain;

	if (!plain)
		return NULL;
	*at++ = (uint8_t)owner.size;
	*at++ = (uint8_t)item.size;
	if (owner.size > 0)
		memcpy(at, owner.data, owner.size);
	at += owner.size;
	if (item.size > 0)
		memcpy(at, item.data, item.size);
	at += item.size;
	if (content.size > 0)
		memcpy(at, content.data, content.size);
	at += content.size;
	*size = (size_t)(at - plain);
	return plain;
}

int vault_plain_split(struct bytes plain, struct bytes *owner, struct bytes *item,
		      struct bytes *content)
{
	size_t names;

	if (plain.size < VAULT_PLAIN_HEADER)
		return VAULT_DAMAGED;
	names = (size_t)plain.data[0] + plain.data[1];
	if (plain.size - VAULT_PLAIN_HEADER < names)
		return VAULT_DAMAGED;
	*owner = bytes_of(plain.data + VAULT_PLAIN_HEADER, plain.data[0]);
	*item = bytes_of(owner->data + owner->size, plain.data[1]);
	*content = bytes_of(item->data + item->size, plain.size - VAULT_PLAIN_HEADER - names);
	return 0;
}

/* A vault is not used on both sides of a fork(), so a child takes none that its parent takes. */
static int take_nonce(struct vault *v, uint8_t out[P1_NONCE_SIZE])
{
	if (v->nonce_count == 0) {
		int r = p1_random(v->nonces[0], sizeof(v->nonces));

		if (r != 0)
			return r;
		v->nonce_count = VAULT_NONCES;
	}
	memcpy(out, v->nonces[--v->nonce_count], P1_NONCE_SIZE);
	return 0;
}

int vault_seal(struct vault *v, struct vault_row *row, struct bytes plain, uint8_t *sealed)
{
	struct p1_context ad;
	int r;

	row->generation = v->generations[0].number;
	row_context(row, &ad);
	if (ad.overflow)
		return -ENOBUFS;
	r = take_nonce(v, sealed);
	if (r != 0)
		return r;
	return p1_seal(v->generations[0].seal, sealed, bytes_of(ad.data, ad.size), plain,
		       sealed + P1_NONCE_SIZE);
}

static const struct secret *seal_key_of(const struct vault *v, uint32_t generation)
{
	for (size_t i = 0; i < VAULT_GENERATIONS; i++) {
		if (v->generations[i].number == generation && generation != 0)
			return v->generations[i].seal;
	}
	return NULL;
}

int vault_unseal(const struct vault *v, const struct vault_row *row, struct bytes sealed,
		 uint8_t *plain)
{
	const struct secret *key = seal_key_of(v, row->generation);
	struct p1_context ad;
	int r;

	if (!key || sealed.size < VAULT_OVERHEAD)
		return VAULT_DAMAGED;
	row_context(row, &ad);
	if (ad.overflow)
		return -ENOBUFS;
	r = p1_open(key, sealed.data, bytes_of(ad.data, ad.size),
		    bytes_of(sealed.data + P1_NONCE_SIZE, sealed.size - P1_NONCE_SIZE), plain);
	return r > 0 ? VAULT_DAMAGED : r;
}

int vault_run(struct vault *v, enum vault_statement which)
{
	sqlite3_stmt *s = v->statements[which];
	int r = sqlite3_step(s);

	/* The reset repeats the step's error; bindings go so that nothing points at dead memory. */
	(void)sqlite3_reset(s);
	(void)sqlite3_clear_bindings(s);
	return r == SQLITE_DONE || r == SQLITE_ROW ? 0 : vault_db_errno(v->db, r);
}

int vault_write_row(struct vault *v, const struct vault_row *row, struct bytes sealed)
{
	sqlite3_stmt *s = v->statements[STATEMENT_PUT];
	int r = sqlite3_bind_blob(s, 1, row->name, VAULT_NAME_SIZE, SQLITE_STATIC);

	if (r == SQLITE_OK)
		r = sqlite3_bind_int64(s, 2, row->sequence);
	if (r == SQLITE_OK)
		r = sqlite3_bind_int64(s, 3, row->generation);
	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(s, 4, sealed.data, (int)sealed.size, SQLITE_STATIC);
	return r == SQLITE_OK ? vault_run(v, STATEMENT_PUT) : vault_errno(r);
}

int vault_write_record(struct vault *v, const struct vault_id *id, struct bytes content)
{
	struct vault_row row = {.sequence = v->sequence + 1};
	uint8_t *sealed = NULL;
	uint8_t *plain;
	size_t size = 0;
	int r;

	if (v->sequence >= INT64_MAX - VAULT_SEQUENCE_BLOCK)
		return -EOVERFLOW;
	v->sequence++;
	plain = vault_plain_new(id->owner, id->item, content, &size);
	if (plain)
		sealed = malloc(size + VAULT_OVERHEAD);
	r = sealed ? vault_name(&v->keys, id, row.name) : -ENOMEM;
	if (r == 0)
		r = vault_seal(v, &row, bytes_of(plain, size), sealed);
	if (r == 0)
		r = vault_write_row(v, &row, bytes_of(sealed, size + VAULT_OVERHEAD));
	hidden_free(plain);
	free(sealed);
	return r;
}

/* Opens the row that s stands on: columns sequence, generation, sealed. */
static int open_row(struct vault *v, sqlite3_stmt *s, struct vault_row *row, uint8_t *plain,
		    uint8_t **plain_new, size_t *plain_size)
{
	uint8_t *target = plain;
	int64_t generation = sqlite3_column_int64(s, 1);
	const void *sealed = sqlite3_column_blob(s, 2);
	size_t size = (size_t)sqlite3_column_bytes(s, 2);
	int r;

	row->sequence = sqlite3_column_int64(s, 0);
	if (generation < 0 || generation > UINT32_MAX)
		return VAULT_DAMAGED;
	row->generation = (uint32_t)generation;
	if (!sealed || size < VAULT_OVERHEAD || size - VAULT_OVERHEAD > VAULT_PLAIN_MAX)
		return VAULT_DAMAGED;
	*plain_size = size - VAULT_OVERHEAD;
	if (!target)
		target = hidden_new(*plain_size);
	if (!target)
		return -ENOMEM;
	r = vault_unseal(v, row, bytes_of(sealed, size), target);
	if (!plain && r != 0)
		hidden_free(target);
	else if (!plain)
		*plain_new = target;
	return r;
}

void vault_read_end(struct vault *v)
{
	/* After an error SQLite may have ended it by itself. */
	if (v->reading && !sqlite3_get_autocommit(v->db) && vault_run(v, STATEMENT_COMMIT) != 0)
		(void)vault_run(v, STATEMENT_ROLLBACK);
	v->reading = false;
}

int vault_read_row(struct vault *v, struct vault_row *row, uint8_t *plain, uint8_t **plain_new,
		   size_t *plain_size)
{
	sqlite3_stmt *s = v->statements[STATEMENT_GET];
	int r;

	/* Without it the statement makes do with one of its own. */
	if (sqlite3_get_autocommit(v->db))
		v->reading = vault_run(v, STATEMENT_READ) == 0;
	r = sqlite3_bind_blob(s, 1, row->name, VAULT_NAME_SIZE, SQLITE_STATIC);
	if (r == SQLITE_OK)
		r = sqlite3_step(s);
	if (r == SQLITE_ROW)
		r = open_row(v, s, row, plain, plain_new, plain_size);
	else if (r == SQLITE_DONE)
		r = VAULT_ABSENT;
	else
		r = vault_errno(r) == -EBADMSG ? VAULT_DAMAGED : vault_errno(r);
	(void)sqlite3_reset(s);
	(void)sqlite3_clear_bindings(s);
	return r;
}

int vault_get(struct vault *v, const struct vault_id *id, struct vault_content *out)
{
	struct bytes owner, item, content;
	struct vault_row row;
	uint8_t *plain = NULL;
	size_t size = 0;
	int r;

	if (id->owner.size > VAULT_OWNER_MAX || id->item.size > VAULT_ITEM_MAX)
		return -EINVAL;
	r = vault_name(&v->keys, id, row.name);
	if (r == 0)
		r = vault_read_row(v, &row, NULL, &plain, &size);
	if (r != 0)
		return r;
	r = vault_plain_split(bytes_of(plain, size), &owner, &item, &content);
	if (r != 0 || !bytes_equal(owner, id->owner) || !bytes_equal(item, id->item)) {
		hidden_free(plain);
		return VAULT_DAMAGED;
	}
	memmove(plain, content.data, content.size);
	wipe(plain + content.size, size - content.size);
	*out = (struct vault_content){plain, content.size};
	return 0;
}

void vault_content_free(struct vault_content *c)
{
	hidden_free(c->data);
	*c = (struct vault_content){NULL, 0};
}
