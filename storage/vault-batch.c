#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/hidden.h"
#include "storage/vault-internal.h"
#include "storage/vault-ledger.h"

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
	vault_facts_free(b);
	free(b);
}

static struct vault_operation *grow(struct vault_batch *b)
{
	struct vault_operation *operations;
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

static struct vault_operation *add(struct vault_batch *b, enum vault_operation_type type,
				   enum vault_kind kind, struct bytes owner, struct bytes item)
{
	struct vault_operation *o;

	if (b->failed)
		return NULL;
	if (owner.size > VAULT_OWNER_MAX || item.size > VAULT_ITEM_MAX || (int)kind < 1 ||
	    (int)kind > UINT8_MAX) {
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
	o->kind = (uint8_t)kind;
	if (owner.size > 0)
		memcpy(o->owner, owner.data, owner.size);
	o->owner_size = (uint8_t)owner.size;
	if (item.size > 0)
		memcpy(o->item, item.data, item.size);
	o->item_size = (uint8_t)item.size;
	b->count++;
	return o;
}

void vault_batch_put(struct vault_batch *b, const struct vault_id *id, struct bytes content)
{
	struct vault_operation *o;

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

void vault_batch_erase_damaged(struct vault_batch *b, enum vault_kind kind, struct bytes owner)
{
	add(b, OPERATION_ERASE_DAMAGED, kind, owner, BYTES_NONE);
}

void vault_batch_trim(struct vault_batch *b, enum vault_kind kind, struct bytes owner, size_t keep)
{
	struct vault_operation *o = add(b, OPERATION_TRIM, kind, owner, BYTES_NONE);

	if (o)
		o->keep = keep;
}

static struct vault_id id_of(const struct vault_operation *o)
{
	return (struct vault_id){(enum vault_kind)o->kind, bytes_of(o->owner, o->owner_size),
				 bytes_of(o->item, o->item_size)};
}

/* Names become hashes, content becomes sealed and its plain form goes. */
static int prepare(struct vault *v, struct vault_operation *o)
{
	const struct vault_id id = id_of(o);
	int r = vault_name(&v->keys, &id, o->row.name);

	if (r != 0 || o->type != OPERATION_PUT)
		return r;
	if (v->sequence >= INT64_MAX - VAULT_SEQUENCE_BLOCK)
		return -EOVERFLOW;
	o->row.sequence = ++v->sequence;
	o->sealed_size = o->plain_size + VAULT_OVERHEAD;
	o->sealed = malloc(o->sealed_size);
	if (!o->sealed)
		return -ENOMEM;
	r = vault_seal(v, &o->row, bytes_of(o->plain, o->plain_size), o->sealed);
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

static int run_bound(struct vault *v, enum vault_statement which, int bound)
{
	return bound == SQLITE_OK ? vault_run(v, which) : vault_errno(bound);
}

/* Erases all records of an owner, or the damaged ones, or all but the newest keep. */
static int execute_on_owner(struct vault *v, const struct vault_operation *o)
{
	const enum vault_statement which =
		o->type == OPERATION_TRIM ? STATEMENT_TRIM : STATEMENT_ERASE_OWNER;
	sqlite3_stmt *s = v->statements[which];
	const struct vault_id id = id_of(o);
	uint8_t low[VAULT_NAME_SIZE];
	uint8_t high[VAULT_NAME_SIZE];
	int r = vault_name_range(&v->keys, o->kind, id.owner, low, high);

	if (r != 0)
		return r;
	if (o->type == OPERATION_ERASE_DAMAGED)
		return vault_erase_damaged(v, low, high);
	r = sqlite3_bind_blob(s, 1, low, VAULT_NAME_SIZE, SQLITE_STATIC);
	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(s, 2, high, VAULT_NAME_SIZE, SQLITE_STATIC);
	if (r == SQLITE_OK && o->type == OPERATION_TRIM)
		r = sqlite3_bind_int64(s, 3, o->keep > INT64_MAX ? INT64_MAX : (int64_t)o->keep);
	return run_bound(v, which, r);
}

static int execute_on_record(struct vault *v, const struct vault_operation *o)
{
	sqlite3_stmt *s = v->statements[STATEMENT_ERASE];
	int r;

	if (o->type == OPERATION_PUT)
		return vault_write_row(v, &o->row, bytes_of(o->sealed, o->sealed_size));
	r = sqlite3_bind_blob(s, 1, o->row.name, VAULT_NAME_SIZE, SQLITE_STATIC);
	return run_bound(v, STATEMENT_ERASE, r);
}

static bool is_on_owner(const struct vault_operation *o)
{
	return o->type == OPERATION_ERASE_OWNER || o->type == OPERATION_ERASE_DAMAGED ||
	       o->type == OPERATION_TRIM;
}

/*
 * Puts and erasures of single records that follow one another. They are executed in the order of
 * names, which is that of the file, and of those of one record only the last.
 */
struct run_entry {
	const struct vault_operation *operation;
	size_t order;
};

struct run {
	struct run_entry *entries;
	size_t count;
};

static int compare_entries(const void *a, const void *b)
{
	const struct run_entry *x = a;
	const struct run_entry *y = b;
	int r = memcmp(x->operation->row.name, y->operation->row.name, VAULT_NAME_SIZE);

	if (r == 0)
		r = x->order < y->order ? -1 : 1;
	return r;
}

static int execute_run(struct vault *v, struct run *run)
{
	int r = 0;

	qsort(run->entries, run->count, sizeof(*run->entries), compare_entries);
	for (size_t i = 0; r == 0 && i < run->count; i++) {
		const struct vault_operation *o = run->entries[i].operation;

		if (i + 1 < run->count &&
		    memcmp(o->row.name, run->entries[i + 1].operation->row.name, VAULT_NAME_SIZE) ==
			    0)
			continue;
		r = execute_on_record(v, o);
	}
	run->count = 0;
	return r;
}

static int execute(struct vault *v, struct run *run, const struct vault_operation *o)
{
	int r;

	if (!is_on_owner(o)) {
		run->entries[run->count] = (struct run_entry){o, run->count};
		run->count++;
		return 0;
	}
	r = execute_run(v, run);
	return r == 0 ? execute_on_owner(v, o) : r;
}

/* Trims come last in their batch: they count what the batch puts, wherever they stand in it. */
static int execute_batch(struct vault *v, struct run *run, const struct vault_batch *b)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < b->count; i++) {
		if (b->operations[i].type != OPERATION_TRIM)
			r = execute(v, run, b->operations + i);
	}
	for (size_t i = 0; r == 0 && i < b->count; i++) {
		if (b->operations[i].type == OPERATION_TRIM)
			r = execute(v, run, b->operations + i);
	}
	return r;
}

/* The batches from first up to end, which is NULL or behind it. */
struct group {
	const struct vault_batch *first;
	const struct vault_batch *end;
	struct run run;
};

static int execute_group(struct vault *v, void *arg)
{
	struct group *g = arg;
	int r = 0;

	for (const struct vault_batch *b = g->first; r == 0 && b != g->end; b = b->next)
		r = execute_batch(v, &g->run, b);
	if (r == 0)
		r = execute_run(v, &g->run);
	for (const struct vault_batch *b = g->first; r == 0 && b != g->end; b = b->next)
		r = vault_ledger_execute(v, b);
	return r;
}

static int reserve(struct vault *v, int64_t sequence)
{
	return run_bound(v, STATEMENT_RESERVE,
			 sqlite3_bind_int64(v->statements[STATEMENT_RESERVE], 1, sequence));
}

int vault_transaction(struct vault *v, vault_within_fn *within, void *arg)
{
	int64_t reserved = v->reserved;
	int r = 0;

	vault_read_end(v);
	/* One that could not even be rolled back, because memory was out. */
	if (!sqlite3_get_autocommit(v->db))
		r = vault_run(v, STATEMENT_ROLLBACK);
	if (r == 0)
		r = vault_run(v, STATEMENT_BEGIN);
	if (r < 0)
		return r;
	r = within(v, arg);
	if (r == 0 && v->sequence > reserved) {
		reserved = v->sequence + VAULT_SEQUENCE_BLOCK;
		r = reserve(v, reserved);
	}
	if (r == 0)
		r = vault_run(v, STATEMENT_COMMIT);
	v->stale = v->stale || r == 0;
	if (r == 0)
		v->reserved = reserved;
	/* After a full disk or a failed write SQLite may have rolled back by itself. */
	else if (!sqlite3_get_autocommit(v->db))
		(void)vault_run(v, STATEMENT_ROLLBACK);
	return r;
}

static int commit(struct vault *v, const struct vault_batch *first, const struct vault_batch *end)
{
	struct group g = {.first = first, .end = end};
	size_t count = 1;
	int r;

	for (const struct vault_batch *b = first; b != end; b = b->next)
		count += b->count;
	g.run.entries = calloc(count, sizeof(*g.run.entries));
	if (!g.run.entries)
		return -ENOMEM;
	r = vault_ledger_begin(v, first, end);
	if (r == 0)
		r = vault_transaction(v, execute_group, &g);
	vault_ledger_end(v, r);
	free(g.run.entries);
	return r;
}

/*
 * All in one commit. When a page that is needed is damaged, each in its own, so that only those
 * fail that need it.
 */
static void commit_queue(struct vault *v, struct vault_batch *queue)
{
	int r = commit(v, queue, NULL);

	for (struct vault_batch *b = queue; b; b = b->next)
		b->result = r == -EBADMSG && queue->next ? commit(v, b, b->next) : r;
}

static struct vault_batch *take_queue(struct vault *v)
{
	struct vault_batch *first = v->first;

	v->first = NULL;
	v->last = &v->first;
	return first;
}

static size_t tell(struct vault_batch *b)
{
	size_t told = 0;

	while (b) {
		struct vault_batch *next = b->next;
		vault_done_fn *done = b->done;
		void *arg = b->arg;
		int result = b->result;

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
	struct vault_batch *queue = take_queue(v);

	for (struct vault_batch *b = queue; b; b = b->next)
		b->result = -ECANCELED;
	tell(queue);
}

size_t vault_flush(struct vault *v)
{
	struct vault_batch *queue = take_queue(v);
	size_t told = 0;

	v->rekey.wait = false;
	if (queue) {
		commit_queue(v, queue);
		told = tell(queue);
	}
	vault_rekey_step(v);
	return told;
}
