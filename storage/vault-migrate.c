/*
 * Older schemas. Each step takes a vault from one schema to the next and is kept for ever; all that
 * are needed run in one transaction, so that a vault is of the old schema or of the new one.
 *
 * Schema 1. The key file's 32 bytes gave two keys: seal key = HKDF(key file, "", ctx("pngw vault
 * seal")), name key = HKDF(key file, "", ctx("pngw vault names")). Table record (sequence, kind,
 * owner, item, nonce, sealed) with owner = HMAC(name key, ctx("owner", kind, name)), item =
 * HMAC(name key, ctx("item", kind, name)) and the associated data ctx("pngw vault record", 1, kind,
 * sequence, owner, item). The row of kind 0 told a wrong key from a right one. In schema 2 the key
 * file opens slot 1.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/hidden.h"
#include "storage/vault-internal.h"
#include "storage/vault-key.h"

#define OLD_HASH_SIZE 32
#define OLD_CHECK     "pngw vault"

struct old_row {
	int64_t sequence;
	int64_t kind;
	uint8_t owner[OLD_HASH_SIZE];
	uint8_t item[OLD_HASH_SIZE];
	uint8_t nonce[P1_NONCE_SIZE];
	struct bytes sealed;
};

static int exec(struct vault *v, const char *sql)
{
	int r = sqlite3_exec(v->db, sql, NULL, NULL, NULL);

	return r == SQLITE_OK ? 0 : vault_errno(r);
}

static int old_key(const struct secret *file, const char *label, struct secret **out)
{
	struct p1_context context;

	p1_context_begin(&context, label);
	return p1_hkdf(file, BYTES_NONE, &context, KEY_SIZE, out);
}

static bool column_copy(sqlite3_stmt *s, int column, size_t size, uint8_t *out)
{
	const void *data = sqlite3_column_blob(s, column);

	if (!data || (size_t)sqlite3_column_bytes(s, column) != size)
		return false;
	memcpy(out, data, size);
	return true;
}

/* The row s stands on: columns sequence, kind, owner, item, nonce, sealed. */
static bool old_row_of(sqlite3_stmt *s, struct old_row *row)
{
	const void *sealed = sqlite3_column_blob(s, 5);

	row->sequence = sqlite3_column_int64(s, 0);
	row->kind = sqlite3_column_int64(s, 1);
	row->sealed = bytes_of(sealed, sealed ? (size_t)sqlite3_column_bytes(s, 5) : 0);
	return column_copy(s, 2, OLD_HASH_SIZE, row->owner) &&
	       column_copy(s, 3, OLD_HASH_SIZE, row->item) &&
	       column_copy(s, 4, P1_NONCE_SIZE, row->nonce) &&
	       row->sealed.size >= P1_SEAL_OVERHEAD &&
	       row->sealed.size - P1_SEAL_OVERHEAD <= VAULT_PLAIN_MAX;
}

/* plain has VAULT_PLAIN_MAX bytes. 0, P1_REFUSED or a negative errno. */
static int old_open(const struct secret *seal, const struct old_row *row, uint8_t *plain)
{
	uint8_t sequence[8];
	struct p1_context ad;

	for (size_t i = 0; i < sizeof(sequence); i++)
		sequence[i] = (uint8_t)((uint64_t)row->sequence >> (56 - 8 * i));
	p1_context_begin(&ad, "pngw vault record");
	p1_context_add_index(&ad, 1);
	p1_context_add_index(&ad, (uint32_t)row->kind);
	p1_context_add(&ad, bytes_of(sequence, sizeof(sequence)));
	p1_context_add(&ad, bytes_of(row->owner, sizeof(row->owner)));
	p1_context_add(&ad, bytes_of(row->item, sizeof(row->item)));
	return p1_open(seal, row->nonce, bytes_of(ad.data, ad.size), row->sealed, plain);
}

/* Whether the key file is that of this vault: 0, VAULT_DAMAGED or a negative errno. */
static int old_check(struct vault *v, const struct secret *seal, uint8_t *plain)
{
	const size_t header = VAULT_PLAIN_HEADER;
	struct old_row row;
	sqlite3_stmt *s = NULL;
	int r = sqlite3_prepare_v2(v->db,
				   "SELECT sequence, kind, owner, item, nonce, sealed FROM record_1"
				   " WHERE kind = 0",
				   -1, &s, NULL);

	if (r == SQLITE_OK)
		r = sqlite3_step(s);
	if (r != SQLITE_ROW)
		r = r == SQLITE_DONE ? VAULT_DAMAGED : vault_errno(r);
	else if (!old_row_of(s, &row))
		r = VAULT_DAMAGED;
	else
		r = old_open(seal, &row, plain) == 0 &&
				    row.sealed.size ==
					    header + strlen(OLD_CHECK) + P1_SEAL_OVERHEAD &&
				    memcmp(plain + header, OLD_CHECK, strlen(OLD_CHECK)) == 0
			    ? 0
			    : VAULT_DAMAGED;
	(void)sqlite3_finalize(s);
	return r == -EBADMSG ? VAULT_DAMAGED : r;
}

/* What does not open is kept as it is, under a name of its own: it goes on being reported. */
static int keep_damaged(struct vault *v, const struct old_row *old)
{
	struct vault_row row = {.sequence = old->sequence, .generation = 1};

	row.name[0] = (uint8_t)old->kind;
	memcpy(row.name + 1, old->owner, VAULT_HASH_SIZE);
	memcpy(row.name + 1 + VAULT_HASH_SIZE, old->item, VAULT_HASH_SIZE);
	return vault_write_row(v, &row, old->sealed.data ? old->sealed : bytes_of("", 0));
}

/* sealed has VAULT_PLAIN_MAX + VAULT_OVERHEAD bytes. */
static int convert(struct vault *v, const struct old_row *old, struct bytes plain, uint8_t *sealed)
{
	struct vault_row row = {.sequence = old->sequence};
	struct bytes content;
	struct vault_id id = {.kind = (enum vault_kind)old->kind};
	int r = vault_plain_split(plain, &id.owner, &id.item, &content);

	if (r != 0)
		return keep_damaged(v, old);
	r = vault_name(&v->keys, &id, row.name);
	if (r == 0)
		r = vault_seal(v, &row, plain, sealed);
	return r == 0 ? vault_write_row(v, &row, bytes_of(sealed, plain.size + VAULT_OVERHEAD)) : r;
}

static int convert_all(struct vault *v, const struct secret *seal, uint8_t *plain, uint8_t *sealed)
{
	sqlite3_stmt *s = NULL;
	int result = 0;
	int r = sqlite3_prepare_v2(v->db,
				   "SELECT sequence, kind, owner, item, nonce, sealed FROM record_1"
				   " WHERE kind BETWEEN 1 AND 127 ORDER BY sequence",
				   -1, &s, NULL);

	while (result == 0 && (r == SQLITE_OK || r == SQLITE_ROW)) {
		struct old_row old = {.sequence = 0};
		bool formed;

		r = sqlite3_step(s);
		if (r != SQLITE_ROW)
			break;
		formed = old_row_of(s, &old);
		result = formed ? old_open(seal, &old, plain) : P1_REFUSED;
		if (result == 0)
			result = convert(v, &old,
					 bytes_of(plain, old.sealed.size - P1_SEAL_OVERHEAD),
					 sealed);
		else if (result == P1_REFUSED)
			result = keep_damaged(v, &old);
	}
	(void)sqlite3_finalize(s);
	if (result == 0 && r != SQLITE_DONE && r != SQLITE_ROW)
		result = vault_errno(r);
	return result;
}

static int old_sequence(struct vault *v, int64_t *out)
{
	sqlite3_stmt *s = NULL;
	int r = sqlite3_prepare_v2(v->db,
				   "SELECT max((SELECT coalesce(max(sequence), 0) FROM record_1),"
				   " (SELECT coalesce(max(seq), 0) FROM sqlite_sequence"
				   " WHERE name IN ('record', 'record_1')))",
				   -1, &s, NULL);

	if (r == SQLITE_OK)
		r = sqlite3_step(s);
	if (r == SQLITE_ROW)
		*out = sqlite3_column_int64(s, 0);
	(void)sqlite3_finalize(s);
	return r == SQLITE_ROW ? 0 : vault_errno(r);
}

/* Room for one record, and the secret that the transaction is tried with. */
struct migration {
	int64_t version;
	const struct secret *secret;
	uint8_t *plain;
	uint8_t *sealed;
};

static int from_1(struct vault *v, const struct migration *m)
{
	SCOPED_SECRET *seal = NULL;
	struct vault_wrap wrap;
	int r = exec(v, "ALTER TABLE record RENAME TO record_1");

	if (r == 0)
		r = old_key(m->secret, "pngw vault seal", &seal);
	if (r == 0)
		r = old_check(v, seal, m->plain);
	if (r == 0)
		r = exec(v, vault_schema_sql);
	if (r == 0 && vault_prepare(v) != SQLITE_OK)
		r = vault_errno(sqlite3_errcode(v->db));
	if (r == 0)
		r = old_sequence(v, &v->sequence);
	if (r == 0)
		r = vault_rows_new(v);
	if (r == 0)
		r = convert_all(v, seal, m->plain, m->sealed);
	if (r == 0)
		r = vault_wrap_begin(&wrap, 1, VAULT_SOURCE_KEY_FILE, "key file");
	if (r == 0)
		r = vault_slot_write(v, &wrap, m->secret);
	return r == 0 ? exec(v, "DROP TABLE record_1; PRAGMA user_version = 2") : r;
}

/* Each from the schema of its place to the next. */
static int (*const steps[VAULT_SCHEMA])(struct vault *v, const struct migration *m) = {
	[1] = from_1,
};

static int run_steps(struct vault *v, void *arg)
{
	const struct migration *m = arg;
	int r = 0;

	for (int64_t version = m->version; r == 0 && version < VAULT_SCHEMA; version++)
		r = steps[version](v, m);
	return r;
}

/* What a failed attempt left in the handle, and what vault_unlock() is to find out by itself. */
static void forget(struct vault *v)
{
	vault_keys_clear(&v->keys);
	for (size_t i = 0; i < VAULT_GENERATIONS; i++)
		vault_generation_clear(&v->generations[i]);
	for (size_t i = STATEMENT_FIRST_OF_TABLES; i < STATEMENT_COUNT; i++) {
		(void)sqlite3_finalize(v->statements[i]);
		v->statements[i] = NULL;
	}
}

static int try_key_file(struct vault *v, struct migration *m, const char *path, char *why,
			size_t why_size)
{
	SCOPED_SECRET *secret = NULL;
	int r = vault_key_load(path, &secret, why, why_size);

	if (r != 0)
		return r;
	m->secret = secret;
	r = vault_transaction(v, run_steps, m);
	forget(v);
	if (r > 0)
		vault_explain(why, why_size, v->path,
			      "the key file does not open it: a wrong one, or altered");
	else if (r < 0)
		vault_explain(why, why_size, v->path, strerror(-r));
	return r > 0 ? VAULT_DAMAGED : r;
}

int vault_migrate(struct vault *v, int64_t version, const struct vault_options *options, char *why,
		  size_t why_size)
{
	struct migration m = {.version = version};
	int r = VAULT_KEY_FILE;

	m.plain = hidden_new(VAULT_PLAIN_MAX);
	m.sealed = malloc(VAULT_PLAIN_MAX + VAULT_OVERHEAD);
	if (!m.plain || !m.sealed) {
		vault_explain(why, why_size, v->path, strerror(ENOMEM));
		r = -ENOMEM;
	} else {
		vault_explain(why, why_size, v->path,
			      "an older one, which only its key file opens");
	}
	for (size_t i = 0; r != -ENOMEM && r != 0 && i < options->opener_count; i++) {
		if (options->openers[i].source == VAULT_SOURCE_KEY_FILE)
			r = try_key_file(v, &m, options->openers[i].path, why, why_size);
	}
	hidden_free(m.plain);
	free(m.sealed);
	/* The log has the old records too. A failure here leaves that to the next time. */
	if (r == 0)
		(void)vault_log_empty(v);
	return r;
}
