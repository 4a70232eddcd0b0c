#include "storage/vault.h"

#include <errno.h>
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

static int hash_name(const struct vault_keys *keys, const char *role, int kind, struct bytes name,
		     uint8_t out[VAULT_HASH_SIZE])
{
	struct p1_context context;

	p1_context_begin(&context, role);
	p1_context_add_index(&context, (uint32_t)kind);
	p1_context_add(&context, name);
	if (context.overflow)
		return -ENOBUFS;
	return p1_hmac(keys->names, bytes_of(context.data, context.size), out);
}

int vault_hash_owner(const struct vault_keys *keys, int kind, struct bytes owner,
		     uint8_t out[VAULT_HASH_SIZE])
{
	return hash_name(keys, "owner", kind, owner, out);
}

int vault_hash_item(const struct vault_keys *keys, int kind, struct bytes item,
		    uint8_t out[VAULT_HASH_SIZE])
{
	return hash_name(keys, "item", kind, item, out);
}

static void row_context(const struct vault_row *row, struct p1_context *out)
{
	uint8_t sequence[8];

	for (size_t i = 0; i < sizeof(sequence); i++)
		sequence[i] = (uint8_t)((uint64_t)row->sequence >> (56 - 8 * i));
	p1_context_begin(out, "pngw vault record");
	p1_context_add_index(out, VAULT_SCHEMA);
	p1_context_add_index(out, (uint32_t)row->kind);
	p1_context_add(out, bytes_of(sequence, sizeof(sequence)));
	p1_context_add(out, bytes_of(row->owner, sizeof(row->owner)));
	p1_context_add(out, bytes_of(row->item, sizeof(row->item)));
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

static int plain_split(struct bytes plain, struct bytes *owner, struct bytes *item,
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

int vault_seal(const struct vault_keys *keys, struct vault_row *row, struct bytes plain,
	       uint8_t *sealed)
{
	struct p1_context ad;
	int r;

	row_context(row, &ad);
	if (ad.overflow)
		return -ENOBUFS;
	r = p1_random(row->nonce, sizeof(row->nonce));
	if (r != 0)
		return r;
	return p1_seal(keys->seal, row->nonce, bytes_of(ad.data, ad.size), plain, sealed);
}

int vault_unseal(const struct vault_keys *keys, const struct vault_row *row, struct bytes sealed,
		 uint8_t *plain)
{
	struct p1_context ad;
	int r;

	row_context(row, &ad);
	if (ad.overflow)
		return -ENOBUFS;
	r = p1_open(keys->seal, row->nonce, bytes_of(ad.data, ad.size), sealed, plain);
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
	int r = sqlite3_bind_int64(s, 1, row->sequence);

	if (r == SQLITE_OK)
		r = sqlite3_bind_int(s, 2, row->kind);
	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(s, 3, row->owner, VAULT_HASH_SIZE, SQLITE_STATIC);
	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(s, 4, row->item, VAULT_HASH_SIZE, SQLITE_STATIC);
	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(s, 5, row->nonce, P1_NONCE_SIZE, SQLITE_STATIC);
	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(s, 6, sealed.data, (int)sealed.size, SQLITE_STATIC);
	return r == SQLITE_OK ? vault_run(v, STATEMENT_PUT) : vault_errno(r);
}

static bool column_bytes(sqlite3_stmt *s, int column, size_t size, uint8_t *out)
{
	const void *data = sqlite3_column_blob(s, column);

	if (!data || (size_t)sqlite3_column_bytes(s, column) != size)
		return false;
	memcpy(out, data, size);
	return true;
}

/*
 * Opens the row that s stands on: columns sequence, owner, item, nonce, sealed. plain has
 * VAULT_PLAIN_MAX bytes, or NULL: then *plain_new becomes a hidden buffer of the right size.
 */
static int open_row(struct vault *v, sqlite3_stmt *s, int kind, uint8_t *plain, uint8_t **plain_new,
		    size_t *plain_size)
{
	struct vault_row row = {.kind = kind, .sequence = sqlite3_column_int64(s, 0)};
	uint8_t *target = plain;
	const void *sealed;
	size_t size;
	int r;

	if (!column_bytes(s, 1, sizeof(row.owner), row.owner) ||
	    !column_bytes(s, 2, sizeof(row.item), row.item) ||
	    !column_bytes(s, 3, sizeof(row.nonce), row.nonce))
		return VAULT_DAMAGED;
	sealed = sqlite3_column_blob(s, 4);
	size = (size_t)sqlite3_column_bytes(s, 4);
	if (!sealed || size < P1_SEAL_OVERHEAD || size - P1_SEAL_OVERHEAD > VAULT_PLAIN_MAX)
		return VAULT_DAMAGED;
	*plain_size = size - P1_SEAL_OVERHEAD;
	if (!target)
		target = hidden_new(*plain_size);
	if (!target)
		return -ENOMEM;
	r = vault_unseal(&v->keys, &row, bytes_of(sealed, size), target);
	if (!plain && r != 0)
		hidden_free(target);
	else if (!plain)
		*plain_new = target;
	return r;
}

static int get_row(struct vault *v, const struct vault_row *row, uint8_t **plain, size_t *size)
{
	sqlite3_stmt *s = v->statements[STATEMENT_GET];
	int r = sqlite3_bind_int(s, 1, row->kind);

	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(s, 2, row->owner, VAULT_HASH_SIZE, SQLITE_STATIC);
	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(s, 3, row->item, VAULT_HASH_SIZE, SQLITE_STATIC);
	if (r == SQLITE_OK)
		r = sqlite3_step(s);
	if (r == SQLITE_ROW)
		r = open_row(v, s, row->kind, NULL, plain, size);
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
	struct vault_row row = {.kind = (int)id->kind};
	struct bytes owner, item, content;
	uint8_t *plain = NULL;
	size_t size = 0;
	int r;

	if (id->owner.size > VAULT_OWNER_MAX || id->item.size > VAULT_ITEM_MAX)
		return -EINVAL;
	r = vault_hash_owner(&v->keys, row.kind, id->owner, row.owner);
	if (r == 0)
		r = vault_hash_item(&v->keys, row.kind, id->item, row.item);
	if (r == 0)
		r = get_row(v, &row, &plain, &size);
	if (r != 0)
		return r;
	r = plain_split(bytes_of(plain, size), &owner, &item, &content);
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

/* Walks by sequence with one lookup a record, so that each may read from the vault in between. */
struct walk {
	struct vault *v;
	int kind;
	const uint8_t *owner; /* hash, or NULL for all */
	int64_t sequence;
	uint8_t *plain;
	size_t plain_size;
};

/* 0 and the next record is in plain, VAULT_ABSENT at the end, VAULT_DAMAGED for one to pass over.
 */
static int walk_next(struct walk *w)
{
	enum vault_statement which = w->owner ? STATEMENT_NEXT_OF_OWNER : STATEMENT_NEXT;
	sqlite3_stmt *s = w->v->statements[which];
	int r = sqlite3_bind_int(s, 1, w->kind);

	if (r == SQLITE_OK)
		r = sqlite3_bind_int64(s, 2, w->sequence);
	if (r == SQLITE_OK && w->owner)
		r = sqlite3_bind_blob(s, 3, w->owner, VAULT_HASH_SIZE, SQLITE_STATIC);
	if (r == SQLITE_OK)
		r = sqlite3_step(s);
	if (r == SQLITE_ROW) {
		w->sequence = sqlite3_column_int64(s, 0);
		r = open_row(w->v, s, w->kind, w->plain, NULL, &w->plain_size);
	} else {
		r = r == SQLITE_DONE ? VAULT_ABSENT : vault_errno(r);
	}
	(void)sqlite3_reset(s);
	(void)sqlite3_clear_bindings(s);
	return r;
}

static int walk_all(struct walk *w, vault_each_fn *each, void *arg, size_t *damaged)
{
	for (;;) {
		struct bytes owner, item, content;
		int r = walk_next(w);

		if (r == VAULT_ABSENT)
			return 0;
		if (r == 0)
			r = plain_split(bytes_of(w->plain, w->plain_size), &owner, &item, &content);
		if (r == 0)
			r = each(arg, owner, item, content);
		else if (r == VAULT_DAMAGED) {
			(*damaged)++;
			r = 0;
		}
		if (r != 0)
			return r;
	}
}

int vault_each(struct vault *v, enum vault_kind kind, struct bytes owner, vault_each_fn *each,
	       void *arg, size_t *damaged)
{
	struct walk w = {.v = v, .kind = (int)kind, .sequence = INT64_MIN};
	uint8_t hash[VAULT_HASH_SIZE];
	size_t passed_over = 0;
	int r = 0;

	if (owner.size > VAULT_OWNER_MAX)
		return -EINVAL;
	if (owner.data) {
		r = vault_hash_owner(&v->keys, w.kind, owner, hash);
		w.owner = hash;
	}
	if (r != 0)
		return r;
	w.plain = hidden_new(VAULT_PLAIN_MAX);
	if (!w.plain)
		return -ENOMEM;
	r = walk_all(&w, each, arg, &passed_over);
	hidden_free(w.plain);
	if (damaged)
		*damaged = passed_over;
	return r;
}
