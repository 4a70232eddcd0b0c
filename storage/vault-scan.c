/* Every record is opened once, past what cannot be read: what of a vault is damaged. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/hidden.h"
#include "storage/vault-internal.h"

/* 0, VAULT_DAMAGED or a negative errno. plain has VAULT_PLAIN_MAX bytes. */
static int try_row(struct vault *v, const uint8_t name[VAULT_NAME_SIZE], uint8_t *plain)
{
	struct bytes owner, item, content;
	struct vault_row row;
	size_t size = 0;
	int r;

	memcpy(row.name, name, sizeof(row.name));
	r = vault_read_row(v, &row, plain, NULL, &size);
	return r == 0 ? vault_plain_split(bytes_of(plain, size), &owner, &item, &content) : r;
}

struct scan {
	struct vault *v;
	vault_damaged_fn *each;
	void *arg;
	uint8_t *plain;
	struct vault_cursor *at;
	size_t left;
	struct vault_scan *totals;
};

static int scan_row(void *arg, const uint8_t name[VAULT_NAME_SIZE], int64_t sequence,
		    uint32_t generation)
{
	struct scan *s = arg;
	int r = try_row(s->v, name, s->plain);

	(void)generation;
	if (r < 0)
		return r;
	s->totals->records++;
	if (r > 0) {
		s->totals->damaged++;
		if (s->each)
			s->each(s->arg, (enum vault_kind)name[0], sequence, name + 1);
	}
	/* No kind has the highest of all names. */
	(void)vault_name_after(name, s->at->low);
	return --s->left == 0;
}

/* Whether the tables' pages fit together: a row behind a wrong pointer is not found by any walk. */
static int check_pages(struct vault *v, bool *sound)
{
	sqlite3_stmt *s = NULL;
	int r = sqlite3_prepare_v2(v->db, "PRAGMA quick_check(1)", -1, &s, NULL);

	if (r == SQLITE_OK)
		r = sqlite3_step(s);
	if (r == SQLITE_ROW)
		*sound = strcmp((const char *)sqlite3_column_text(s, 0), "ok") == 0;
	else
		*sound = false;
	(void)sqlite3_finalize(s);
	if (r == SQLITE_ROW || r == SQLITE_DONE || vault_errno(r) == -EBADMSG)
		return 0;
	return vault_errno(r);
}

int vault_scan_some(struct vault *v, struct vault_cursor *at, size_t most, vault_damaged_fn *each,
		    void *arg, struct vault_scan *totals)
{
	struct scan s = {
		.v = v, .each = each, .arg = arg, .at = at, .left = most, .totals = totals};
	uint8_t low[VAULT_NAME_SIZE];
	uint8_t high[VAULT_NAME_SIZE];
	size_t gaps = 0;
	int r;

	memcpy(low, at->low, sizeof(low));
	memset(high, 0xff, sizeof(high));
	s.plain = hidden_new(VAULT_PLAIN_MAX);
	if (!s.plain)
		return -ENOMEM;
	r = vault_walk_rows(v, low, high, scan_row, &s, &gaps);
	hidden_free(s.plain);
	totals->gaps += gaps;
	if (r == 1)
		return 0;
	if (r == 0)
		r = check_pages(v, &totals->sound);
	at->ended = r == 0;
	return r;
}

int vault_scan(struct vault *v, vault_damaged_fn *each, void *arg, struct vault_scan *totals)
{
	struct vault_cursor at = {.ended = false};
	struct vault_scan found = {.records = 0};
	int r = vault_scan_some(v, &at, SIZE_MAX, each, arg, &found);

	if (r == 0)
		*totals = found;
	return r;
}

bool vault_owner_is(const struct vault *v, enum vault_kind kind, struct bytes owner,
		    const uint8_t hash[VAULT_HASH_SIZE])
{
	const struct vault_id id = {kind, owner, BYTES_NONE};
	uint8_t name[VAULT_NAME_SIZE];

	return owner.size <= VAULT_OWNER_MAX && vault_name(&v->keys, &id, name) == 0 &&
	       memcmp(name + 1, hash, VAULT_HASH_SIZE) == 0;
}

struct damaged_names {
	struct vault *v;
	uint8_t *plain;
	uint8_t (*names)[VAULT_NAME_SIZE];
	size_t count;
};

static int keep_damaged(void *arg, const uint8_t name[VAULT_NAME_SIZE], int64_t sequence,
			uint32_t generation)
{
	struct damaged_names *d = arg;
	uint8_t(*names)[VAULT_NAME_SIZE];
	int r = try_row(d->v, name, d->plain);

	(void)sequence;
	(void)generation;
	if (r <= 0)
		return r;
	names = reallocarray(d->names, d->count + 1, sizeof(*names));
	if (!names)
		return -ENOMEM;
	d->names = names;
	memcpy(d->names[d->count++], name, VAULT_NAME_SIZE);
	return 0;
}

int vault_erase_damaged(struct vault *v, const uint8_t low[VAULT_NAME_SIZE],
			const uint8_t high[VAULT_NAME_SIZE])
{
	struct damaged_names d = {.v = v, .plain = hidden_new(VAULT_PLAIN_MAX)};
	sqlite3_stmt *s = v->statements[STATEMENT_ERASE];
	size_t gaps = 0;
	int r = d.plain ? vault_walk_rows(v, low, high, keep_damaged, &d, &gaps) : -ENOMEM;

	for (size_t i = 0; r == 0 && i < d.count; i++) {
		r = sqlite3_bind_blob(s, 1, d.names[i], VAULT_NAME_SIZE, SQLITE_STATIC);
		r = r == SQLITE_OK ? vault_run(v, STATEMENT_ERASE) : vault_errno(r);
	}
	free(d.names);
	hidden_free(d.plain);
	return r;
}
