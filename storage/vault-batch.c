#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/hidden.h"
#include "storage/vault-internal.h"

enum operation_type { OPERATION_PUT, OPERATION_ERASE, OPERATION_ERASE_OWNER, OPERATION_TRIM };

/* Plain from the caller's hands to vault_submit(), sealed from then on. */
struct operation {
	enum operation_type type;
	struct vault_row row;
	uint8_t owner[VAULT_OWNER_MAX];
	uint8_t item[VAULT_ITEM_MAX];
	size_t owner_size;
	size_t item_size;
	uint8_t *plain;
	size_t plain_size;
	uint8_t *sealed;
	size_t sealed_size;
	size_t keep;
};

struct vault_batch {
	struct vault_batch *next;
	struct operation *operations;
	size_t count;
	size_t capacity;
	int failed;
	vault_done_fn *done;
	void *arg;
};

struct vault_batch *vault_batch_new(void)
{
	return calloc(1, sizeof(struct vault_batch));
}

void vault_batch_free(struct vault_batch *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->count; i++) {
		hidden_free(b->operations[i].plain);
		free(b->operations[i].sealed);
	}
	free(b->operations);
	free(b);
}

static struct operation *grow(struct vault_batch *b)
{
	struct operation *operations;
	size_t capacity = b->capacity ? 2 * b->capacity : 4;

	if (b->count < b->capacity)
		return b->operations + b->count;
	operations = reallocarray(b->operations, capacity, sizeof(*operations));
	if (!operations)
		return NULL;
	b->operations = operations;
	b->capacity = capacity;
	return operations + b->count;
}

static struct operation *add(struct vault_batch *b, enum operation_type type, enum vault_kind kind,
			     struct bytes owner, struct bytes item)
{
	struct operation *o;

	if (b->failed)
		return NULL;
	if (owner.size > VAULT_OWNER_MAX || item.size > VAULT_ITEM_MAX ||
	    (int)kind <= VAULT_KIND_CHECK) {
		b->failed = -EINVAL;
		return NULL;
	}
	o = grow(b);
	if (!o) {
		b->failed = -ENOMEM;
		return NULL;
	}
	memset(o, 0, sizeof(*o));
	o->type = type;
	o->row.kind = (int)kind;
	if (owner.size > 0)
		memcpy(o->owner, owner.data, owner.size);
	o->owner_size = owner.size;
	if (item.size > 0)
		memcpy(o->item, item.data, item.size);
	o->item_size = item.size;
	b->count++;
	return o;
}

void vault_batch_put(struct vault_batch *b, const struct vault_id *id, struct bytes content)
{
	struct operation *o;

	if (content.size > VAULT_CONTENT_MAX) {
		b->failed = b->failed ? b->failed : -EINVAL;
		return;
	}
	o = add(b, OPERATION_PUT, id->kind, id->owner, id->item);
	if (!o)
		return;
	o->plain = vault_plain_new(id->owner, id->item, content, &o->plain_size);
	if (!o->plain)
		b->failed = -ENOMEM;
}

void vault_batch_erase(struct vault_batch *b, const struct vault_id *id)
{
	add(b, OPERATION_ERASE, id->kind, id->owner, id->item);
}

void vault_batch_erase_owner(struct vault_batch *b, enum vault_kind kind, struct bytes owner)
{
	add(b, OPERATION_ERASE_OWNER, kind, owner, BYTES_NONE);
}

void vault_batch_trim(struct vault_batch *b, enum vault_kind kind, struct bytes owner, size_t keep)
{
	struct operation *o = add(b, OPERATION_TRIM, kind, owner, BYTES_NONE);

	if (o)
		o->keep = keep;
}

/* Names become hashes, content becomes sealed and its plain form goes. */
static int prepare(struct vault *v, struct operation *o)
{
	int r;

	r = vault_hash_owner(&v->keys, o->row.kind, bytes_of(o->owner, o->owner_size),
			     o->row.owner);
	if (r == 0)
		r = vault_hash_item(&v->keys, o->row.kind, bytes_of(o->item, o->item_size),
				    o->row.item);
	if (r != 0 || o->type != OPERATION_PUT)
		return r;
	if (v->sequence == INT64_MAX)
		return -EOVERFLOW;
	o->row.sequence = ++v->sequence;
	o->sealed_size = o->plain_size + P1_SEAL_OVERHEAD;
	o->sealed = malloc(o->sealed_size);
	if (!o->sealed)
		return -ENOMEM;
	r = vault_seal(&v->keys, &o->row, bytes_of(o->plain, o->plain_size), o->sealed);
	hidden_free(o->plain);
	o->plain = NULL;
	return r;
}

int vault_submit(struct vault *v, struct vault_batch *b, vault_done_fn *done, void *arg)
{
	int r = v->closing ? -ECANCELED : b->failed;

	for (size_t i = 0; r == 0 && i < b->count; i++)
		r = prepare(v, b->operations + i);
	if (r != 0) {
		vault_batch_free(b);
		return r < 0 ? r : -EIO;
	}
	b->done = done;
	b->arg = arg;
	*v->last = b;
	v->last = &b->next;
	return 0;
}

bool vault_pending(const struct vault *v)
{
	return v->first != NULL;
}

static int bind_owner(sqlite3_stmt *s, const struct operation *o)
{
	int r = sqlite3_bind_int(s, 1, o->row.kind);

	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(s, 2, o->row.owner, VAULT_HASH_SIZE, SQLITE_STATIC);
	return r;
}

static int run_bound(struct vault *v, enum vault_statement which, int bound)
{
	return bound == SQLITE_OK ? vault_run(v, which) : vault_errno(bound);
}

static int execute(struct vault *v, const struct operation *o)
{
	int64_t keep = o->keep > INT64_MAX ? INT64_MAX : (int64_t)o->keep;
	sqlite3_stmt *s;
	int r;

	switch (o->type) {
	case OPERATION_PUT:
		return vault_write_row(v, &o->row, bytes_of(o->sealed, o->sealed_size));
	case OPERATION_ERASE:
		s = v->statements[STATEMENT_ERASE];
		r = bind_owner(s, o);
		if (r == SQLITE_OK)
			r = sqlite3_bind_blob(s, 3, o->row.item, VAULT_HASH_SIZE, SQLITE_STATIC);
		return run_bound(v, STATEMENT_ERASE, r);
	case OPERATION_ERASE_OWNER:
		r = bind_owner(v->statements[STATEMENT_ERASE_OWNER], o);
		return run_bound(v, STATEMENT_ERASE_OWNER, r);
	case OPERATION_TRIM:
		s = v->statements[STATEMENT_TRIM];
		r = bind_owner(s, o);
		if (r == SQLITE_OK)
			r = sqlite3_bind_int64(s, 3, keep);
		return run_bound(v, STATEMENT_TRIM, r);
	}
	return -EINVAL;
}

/* Trims come last in their batch: they count what the batch puts, wherever they stand in it. */
static int execute_batch(struct vault *v, const struct vault_batch *b)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < b->count; i++) {
		if (b->operations[i].type != OPERATION_TRIM)
			r = execute(v, b->operations + i);
	}
	for (size_t i = 0; r == 0 && i < b->count; i++) {
		if (b->operations[i].type == OPERATION_TRIM)
			r = execute(v, b->operations + i);
	}
	return r;
}

static int commit(struct vault *v, const struct vault_batch *first)
{
	int r = vault_run(v, STATEMENT_BEGIN);

	if (r < 0)
		return r;
	for (const struct vault_batch *b = first; r == 0 && b; b = b->next)
		r = execute_batch(v, b);
	if (r == 0)
		r = vault_run(v, STATEMENT_COMMIT);
	/* After a full disk or a failed write SQLite may have rolled back by itself. */
	if (r < 0 && !sqlite3_get_autocommit(v->db))
		(void)vault_run(v, STATEMENT_ROLLBACK);
	return r;
}

static struct vault_batch *take_queue(struct vault *v)
{
	struct vault_batch *first = v->first;

	v->first = NULL;
	v->last = &v->first;
	return first;
}

static size_t tell(struct vault_batch *b, int result)
{
	size_t told = 0;

	while (b) {
		struct vault_batch *next = b->next;
		vault_done_fn *done = b->done;
		void *arg = b->arg;

		vault_batch_free(b);
		if (done)
			done(arg, result);
		told++;
		b = next;
	}
	return told;
}

void vault_batches_cancel(struct vault *v)
{
	tell(take_queue(v), -ECANCELED);
}

size_t vault_flush(struct vault *v)
{
	struct vault_batch *queue = take_queue(v);

	return queue ? tell(queue, commit(v, queue)) : 0;
}
