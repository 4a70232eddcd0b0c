/* Sealing every record anew under another master key, some at each flush. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/hidden.h"
#include "storage/vault-internal.h"
#include "storage/vault-manage.h"

/* What one flush does at most: a few milliseconds. */
#define STEP_RECORDS 32
#define STEP_VISITED 4096

int vault_sender_read(struct vault *v, uint8_t slot, struct secret **out)
{
	const struct vault_id id = {(enum vault_kind)VAULT_KIND_SENDER, BYTES_NONE,
				    bytes_of(&slot, 1)};
	struct vault_content content = {NULL, 0};
	int r = vault_get(v, &id, &content);

	if (r == 0 && content.size != KEY_SIZE)
		r = VAULT_DAMAGED;
	if (r == 0) {
		*out = secret_copy(bytes_of(content.data, content.size));
		r = *out ? 0 : -ENOMEM;
	}
	vault_content_free(&content);
	return r;
}

int vault_sender_erase(struct vault *v, uint8_t slot)
{
	const struct vault_id id = {(enum vault_kind)VAULT_KIND_SENDER, BYTES_NONE,
				    bytes_of(&slot, 1)};
	sqlite3_stmt *s = v->statements[STATEMENT_ERASE];
	uint8_t name[VAULT_NAME_SIZE];
	int r = vault_name(&v->keys, &id, name);

	if (r != 0)
		return r;
	r = sqlite3_bind_blob(s, 1, name, VAULT_NAME_SIZE, SQLITE_STATIC);
	return r == SQLITE_OK ? vault_run(v, STATEMENT_ERASE) : vault_errno(r);
}

int vault_generation_missing(struct vault *v, uint32_t *out)
{
	sqlite3_stmt *s = NULL;
	int r = sqlite3_prepare_v2(v->db,
				   "SELECT generation FROM master WHERE generation NOT IN (?1, ?2)"
				   " LIMIT 1",
				   -1, &s, NULL);

	*out = 0;
	for (int i = 0; r == SQLITE_OK && i < VAULT_GENERATIONS; i++)
		r = sqlite3_bind_int64(s, i + 1, v->generations[i].number);
	if (r == SQLITE_OK)
		r = sqlite3_step(s);
	if (r == SQLITE_ROW)
		*out = (uint32_t)sqlite3_column_int64(s, 0);
	(void)sqlite3_finalize(s);
	return r == SQLITE_ROW || r == SQLITE_DONE ? 0 : vault_errno(r);
}

struct beginning {
	struct vault_generation next;
	struct vault_wrap wraps[VAULT_SLOTS];
	size_t count;
};

static int write_beginning(struct vault *v, void *arg)
{
	struct beginning *b = arg;
	int r = vault_master_write(v, &b->next);

	for (size_t i = 0; r == 0 && i < b->count; i++)
		r = vault_wrap_write(v, &b->wraps[i]);
	return r;
}

static int seal_wraps(struct vault *v, struct beginning *b, char *why, size_t why_size)
{
	int r = vault_wraps(v, b->wraps, &b->count);

	for (size_t i = 0; r == 0 && i < b->count; i++) {
		SCOPED_SECRET *sender = NULL;

		r = vault_sender_read(v, b->wraps[i].slot, &sender);
		b->wraps[i].generation = b->next.number;
		if (r == 0)
			r = vault_wrap_seal(&b->wraps[i], v->id, sender, b->next.master);
		if (r > 0 || r == -EBADMSG) {
			snprintf(why, why_size,
				 "slot %u cannot be given a new master: rotate or remove it",
				 b->wraps[i].slot);
			return VAULT_REFUSED;
		}
	}
	return r;
}

int vault_count_records(struct vault *v, uint64_t *out)
{
	sqlite3_stmt *s = NULL;
	int r = sqlite3_prepare_v2(v->db, "SELECT count(*) FROM record", -1, &s, NULL);

	if (r == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
		*out = (uint64_t)sqlite3_column_int64(s, 0);
	else
		r = sqlite3_extended_errcode(v->db);
	(void)sqlite3_finalize(s);
	return r == SQLITE_OK ? 0 : vault_errno(r);
}

static int begin(struct vault *v, struct beginning *b, char *why, size_t why_size)
{
	SCOPED_SECRET *master = secret_random(KEY_SIZE);
	uint64_t total = 0;
	int r;

	if (!master)
		return -ENOMEM;
	r = vault_generation_set(&b->next, v->id, v->generations[0].number + 1, master);
	if (r == 0)
		r = seal_wraps(v, b, why, why_size);
	if (r == 0 && vault_count_records(v, &total) < 0)
		total = 0; /* a damaged page: only the progress lacks it */
	if (r == 0)
		r = vault_transaction(v, write_beginning, b);
	if (r != 0) {
		vault_generation_clear(&b->next);
		return r;
	}
	v->generations[1] = v->generations[0];
	v->generations[0] = b->next;
	v->rekey = (struct vault_rekey){.total = total, .wait = v->first != NULL};
	return 0;
}

int vault_rekey_begin(struct vault *v, char *why, size_t why_size)
{
	struct beginning b = {.count = 0};
	uint32_t missing = 0;
	int r;

	if (v->generations[1].number != 0) {
		snprintf(why, why_size, "re-keying from generation %" PRIu32 " is under way",
			 v->generations[1].number);
		return VAULT_REFUSED;
	}
	if (v->generations[0].number == UINT32_MAX) {
		snprintf(why, why_size, "there is no generation after this one");
		return VAULT_REFUSED;
	}
	r = vault_generation_missing(v, &missing);
	if (missing != 0) {
		snprintf(why, why_size, VAULT_MISSING_TEXT, missing);
		return VAULT_REFUSED;
	}
	if (r == 0)
		r = begin(v, &b, why, why_size);
	if (r < 0)
		snprintf(why, why_size, "vault %s: %s", v->path, strerror(-r));
	return r;
}

bool vault_rekey_pending(const struct vault *v)
{
	return (v->generations[1].number != 0 || v->rekey.log) && v->rekey.error == 0;
}

void vault_rekey_progress(const struct vault *v, struct vault_rekey_progress *out)
{
	*out = (struct vault_rekey_progress){.from = v->generations[1].number,
					     .to = v->generations[0].number,
					     .done = v->rekey.done,
					     .total = v->rekey.total,
					     .damaged = v->rekey.damaged,
					     .error = v->rekey.error};
}

void vault_rekey_opened(struct vault *v)
{
	const char *log = sqlite3_filename_wal(sqlite3_db_filename(v->db, "main"));
	struct stat st;

	v->rekey = (struct vault_rekey){.log = log && stat(log, &st) == 0 && st.st_size > 0};
}

struct step {
	uint8_t names[STEP_RECORDS][VAULT_NAME_SIZE];
	size_t count;
	size_t limit;
	size_t visited;
	uint32_t newest;
	uint8_t last[VAULT_NAME_SIZE];
	uint8_t *plain;
	uint64_t done;
	uint64_t damaged;
};

#define ENOUGH 1

static int collect(void *arg, const uint8_t name[VAULT_NAME_SIZE], int64_t sequence,
		   uint32_t generation)
{
	struct step *s = arg;

	(void)sequence;
	if (s->count == s->limit || s->visited == STEP_VISITED)
		return ENOUGH;
	s->visited++;
	memcpy(s->last, name, VAULT_NAME_SIZE);
	if (generation != s->newest)
		memcpy(s->names[s->count++], name, VAULT_NAME_SIZE);
	return 0;
}

/* The record keeps its sequence: it was not written, only sealed anew. */
static int reseal(struct vault *v, struct step *s, const uint8_t name[VAULT_NAME_SIZE])
{
	struct vault_row row = {.sequence = 0};
	uint8_t *sealed;
	size_t size = 0;
	int r;

	memcpy(row.name, name, VAULT_NAME_SIZE);
	r = vault_read_row(v, &row, s->plain, NULL, &size);
	if (r == VAULT_DAMAGED)
		s->damaged++;
	if (r != 0)
		return r < 0 ? r : 0;
	sealed = malloc(size + VAULT_OVERHEAD);
	if (!sealed)
		return -ENOMEM;
	r = vault_seal(v, &row, bytes_of(s->plain, size), sealed);
	if (r == 0)
		r = vault_write_row(v, &row, bytes_of(sealed, size + VAULT_OVERHEAD));
	free(sealed);
	if (r == 0)
		s->done++;
	return r;
}

static int reseal_all(struct vault *v, void *arg)
{
	struct step *s = arg;
	int r = 0;

	s->done = s->damaged = 0;
	for (size_t i = 0; r == 0 && i < s->count; i++)
		r = reseal(v, s, s->names[i]);
	return r;
}

/* Erases in place first: the old bytes are gone wherever a page is split or joined. */
static int erase_old(struct vault *v, void *arg)
{
	static const char *const statements[] = {
		"UPDATE wrap SET ephemeral = zeroblob(32), sealed = zeroblob(48)"
		" WHERE generation < ?1",
		"DELETE FROM wrap WHERE generation < ?1",
		"UPDATE master SET sealed = zeroblob(length(sealed)) WHERE generation < ?1",
		"DELETE FROM master WHERE generation < ?1",
	};
	int r = SQLITE_DONE;

	(void)arg;
	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
		sqlite3_stmt *s = NULL;

		r = sqlite3_prepare_v2(v->db, statements[i], -1, &s, NULL);
		if (r == SQLITE_OK)
			r = sqlite3_bind_int64(s, 1, v->generations[0].number);
		if (r == SQLITE_OK)
			r = sqlite3_step(s);
		(void)sqlite3_finalize(s);
		if (r != SQLITE_DONE)
			return vault_errno(r);
	}
	return 0;
}

static int finish(struct vault *v)
{
	int r = vault_transaction(v, erase_old, NULL);

	if (r == 0) {
		vault_generation_clear(&v->generations[1]);
		v->rekey.log = true;
	}
	return r;
}

/*
 * Names from the cursor on. A page that cannot be read or changed must not keep the rest from being
 * done: after -EBADMSG one record at a time, and the one that fails is left.
 */
static int advance(struct vault *v, struct step *s)
{
	uint8_t high[VAULT_NAME_SIZE];
	size_t gaps = 0;
	bool more;
	int r;

	memset(high, 0xff, sizeof(high));
	s->newest = v->generations[0].number;
	s->limit = v->rekey.careful ? 1 : STEP_RECORDS;
	r = vault_walk_rows(v, v->rekey.cursor, high, collect, s, &gaps);
	more = r == ENOUGH;
	if (r < 0)
		return r;
	r = s->count > 0 ? vault_transaction(v, reseal_all, s) : 0;
	if (r == -EBADMSG && !v->rekey.careful) {
		v->rekey.careful = true;
		return 0;
	}
	if (r == -EBADMSG) {
		s->done = 0;
		s->damaged = 1;
		r = 0;
	}
	if (r != 0)
		return r;
	v->rekey.done += s->done;
	v->rekey.damaged += s->damaged + gaps;
	if (more && vault_name_after(s->last, v->rekey.cursor))
		return 0;
	return finish(v);
}

static int step(struct vault *v)
{
	struct step *s;
	int r;

	if (v->generations[1].number == 0)
		return vault_log_empty(v);
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->plain = hidden_new(VAULT_PLAIN_MAX);
	r = s->plain ? advance(v, s) : -ENOMEM;
	hidden_free(s->plain);
	free(s);
	if (r == 0 && v->generations[1].number == 0)
		r = vault_log_empty(v);
	return r;
}

void vault_rekey_step(struct vault *v)
{
	if ((v->generations[1].number != 0 || v->rekey.log) && !v->rekey.wait)
		v->rekey.error = step(v);
}
