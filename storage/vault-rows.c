/* The rows that open a vault: its id, the sealed keys of each generation, the wraps. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "storage/vault-internal.h"
#include "storage/vault-key.h"

#define MASTER_PLAIN_SIZE  ((size_t)3 * KEY_SIZE)
#define MASTER_SEALED_SIZE (MASTER_PLAIN_SIZE + P1_SEAL_OVERHEAD)
#define PARAMETERS_SIZE    (VAULT_WRAP_SALT_SIZE + 3)

int vault_generation_set(struct vault_generation *g, const uint8_t id[VAULT_ID_SIZE],
			 uint32_t number, struct secret *master)
{
	struct p1_context context;
	struct secret *seal = NULL;
	int r;

	p1_context_begin(&context, "pngw vault seal");
	p1_context_add_index(&context, VAULT_SCHEMA);
	r = p1_hkdf(master, bytes_of(id, VAULT_ID_SIZE), &context, KEY_SIZE, &seal);
	if (r == 0)
		*g = (struct vault_generation){number, secret_ref(master), seal};
	return r;
}

void vault_generation_clear(struct vault_generation *g)
{
	secret_clear(&g->master);
	secret_clear(&g->seal);
	g->number = 0;
}

void vault_keys_clear(struct vault_keys *keys)
{
	secret_clear(&keys->names);
	secret_clear(&keys->tags);
	secret_clear(&keys->signing);
}

/* The outcome of a step that was to write: 0 or a negative errno. Finalizes s. */
static int finish_write(sqlite3_stmt *s, int r)
{
	if (r == SQLITE_OK)
		r = sqlite3_step(s);
	(void)sqlite3_finalize(s);
	return r == SQLITE_DONE ? 0 : vault_errno(r);
}

int vault_meta_write(struct vault *v)
{
	sqlite3_stmt *s = NULL;
	int r = sqlite3_prepare_v2(
		v->db, "INSERT INTO meta (id, vault, reserved) VALUES (1, ?1, ?2)", -1, &s, NULL);

	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(s, 1, v->id, VAULT_ID_SIZE, SQLITE_STATIC);
	if (r == SQLITE_OK)
		r = sqlite3_bind_int64(s, 2, v->sequence);
	r = finish_write(s, r);
	if (r == 0)
		v->reserved = v->sequence;
	return r;
}

static bool column_copy(sqlite3_stmt *s, int column, size_t size, uint8_t *out)
{
	const void *data = sqlite3_column_blob(s, column);

	if (!data || (size_t)sqlite3_column_bytes(s, column) != size)
		return false;
	memcpy(out, data, size);
	return true;
}

int vault_meta_read(struct vault *v)
{
	sqlite3_stmt *s = NULL;
	int r = sqlite3_prepare_v2(v->db, "SELECT vault, reserved FROM meta WHERE id = 1", -1, &s,
				   NULL);

	if (r == SQLITE_OK)
		r = sqlite3_step(s);
	if (r == SQLITE_ROW) {
		v->reserved = v->sequence = sqlite3_column_int64(s, 1);
		r = column_copy(s, 0, VAULT_ID_SIZE, v->id) && v->sequence >= 0 ? 0 : VAULT_DAMAGED;
	} else {
		r = r == SQLITE_DONE ? VAULT_DAMAGED : vault_errno(r);
	}
	(void)sqlite3_finalize(s);
	return r == -EBADMSG ? VAULT_DAMAGED : r;
}

static int master_context(const struct vault *v, uint32_t generation, struct p1_context *out)
{
	p1_context_begin(out, "pngw vault master");
	p1_context_add_index(out, VAULT_SCHEMA);
	p1_context_add(out, bytes_of(v->id, VAULT_ID_SIZE));
	p1_context_add_index(out, generation);
	return out->overflow ? -ENOBUFS : 0;
}

int vault_master_write(struct vault *v, const struct vault_generation *g)
{
	SCOPED_SECRET *plain = secret_new(MASTER_PLAIN_SIZE);
	uint8_t nonce[P1_NONCE_SIZE];
	uint8_t sealed[MASTER_SEALED_SIZE];
	struct p1_context ad;
	sqlite3_stmt *s = NULL;
	int r;

	if (!plain)
		return -ENOMEM;
	memcpy(secret_buffer(plain), secret_bytes(v->keys.names).data, KEY_SIZE);
	memcpy(secret_buffer(plain) + KEY_SIZE, secret_bytes(v->keys.tags).data, KEY_SIZE);
	memcpy(secret_buffer(plain) + (size_t)2 * KEY_SIZE, secret_bytes(v->keys.signing).data,
	       KEY_SIZE);
	r = master_context(v, g->number, &ad);
	if (r == 0)
		r = p1_random(nonce, sizeof(nonce));
	if (r == 0)
		r = p1_seal(g->seal, nonce, bytes_of(ad.data, ad.size), secret_bytes(plain),
			    sealed);
	if (r != 0)
		return r;
	r = sqlite3_prepare_v2(
		v->db,
		"INSERT OR REPLACE INTO master (generation, nonce, sealed) VALUES (?1, ?2, ?3)", -1,
		&s, NULL);
	if (r == SQLITE_OK)
		r = sqlite3_bind_int64(s, 1, g->number);
	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(s, 2, nonce, sizeof(nonce), SQLITE_STATIC);
	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(s, 3, sealed, sizeof(sealed), SQLITE_STATIC);
	return finish_write(s, r);
}

static int master_row(struct vault *v, uint32_t generation, uint8_t nonce[P1_NONCE_SIZE],
		      uint8_t sealed[MASTER_SEALED_SIZE])
{
	sqlite3_stmt *s = NULL;
	int r = sqlite3_prepare_v2(v->db, "SELECT nonce, sealed FROM master WHERE generation = ?1",
				   -1, &s, NULL);

	if (r == SQLITE_OK)
		r = sqlite3_bind_int64(s, 1, generation);
	if (r == SQLITE_OK)
		r = sqlite3_step(s);
	if (r == SQLITE_ROW)
		r = column_copy(s, 0, P1_NONCE_SIZE, nonce) &&
				    column_copy(s, 1, MASTER_SEALED_SIZE, sealed)
			    ? 0
			    : VAULT_DAMAGED;
	else
		r = r == SQLITE_DONE ? VAULT_ABSENT : vault_errno(r);
	(void)sqlite3_finalize(s);
	return r;
}

int vault_master_read(struct vault *v, const struct vault_generation *g, struct vault_keys *out)
{
	SCOPED_SECRET *plain = secret_new(MASTER_PLAIN_SIZE);
	struct vault_keys keys;
	uint8_t nonce[P1_NONCE_SIZE];
	uint8_t sealed[MASTER_SEALED_SIZE];
	struct p1_context ad;
	const uint8_t *at;
	int r;

	if (!plain)
		return -ENOMEM;
	r = master_row(v, g->number, nonce, sealed);
	if (r == 0)
		r = master_context(v, g->number, &ad);
	if (r != 0)
		return r;
	r = p1_open(g->seal, nonce, bytes_of(ad.data, ad.size), bytes_of(sealed, sizeof(sealed)),
		    secret_buffer(plain));
	if (r != 0)
		return r > 0 ? VAULT_DAMAGED : r;
	at = secret_bytes(plain).data;
	keys.names = secret_copy(bytes_of(at, KEY_SIZE));
	keys.tags = secret_copy(bytes_of(at + KEY_SIZE, KEY_SIZE));
	keys.signing = secret_copy(bytes_of(at + (size_t)2 * KEY_SIZE, KEY_SIZE));
	if (!keys.names || !keys.tags || !keys.signing) {
		vault_keys_clear(&keys);
		return -ENOMEM;
	}
	*out = keys;
	return 0;
}

int vault_rows_new(struct vault *v)
{
	SCOPED_SECRET *master = secret_random(KEY_SIZE);
	int r;

	v->keys.names = secret_random(KEY_SIZE);
	v->keys.tags = secret_random(KEY_SIZE);
	v->keys.signing = secret_random(KEY_SIZE);
	if (!master || !v->keys.names || !v->keys.tags || !v->keys.signing)
		return -ENOMEM;
	r = p1_random(v->id, sizeof(v->id));
	if (r == 0)
		r = vault_generation_set(&v->generations[0], v->id, 1, master);
	if (r == 0)
		r = vault_meta_write(v);
	return r == 0 ? vault_master_write(v, &v->generations[0]) : r;
}

int vault_wrap_write(struct vault *v, const struct vault_wrap *w)
{
	uint8_t parameters[PARAMETERS_SIZE];
	sqlite3_stmt *s = NULL;
	int r = sqlite3_prepare_v2(v->db,
				   "INSERT OR REPLACE INTO wrap (slot, generation, source, label,"
				   " public, parameters, ephemeral, sealed)"
				   " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
				   -1, &s, NULL);

	memcpy(parameters, w->salt, VAULT_WRAP_SALT_SIZE);
	parameters[VAULT_WRAP_SALT_SIZE] = w->log_n;
	parameters[VAULT_WRAP_SALT_SIZE + 1] = w->r;
	parameters[VAULT_WRAP_SALT_SIZE + 2] = w->p;
	if (r == SQLITE_OK)
		r = sqlite3_bind_int(s, 1, w->slot);
	if (r == SQLITE_OK)
		r = sqlite3_bind_int64(s, 2, w->generation);
	if (r == SQLITE_OK)
		r = sqlite3_bind_int(s, 3, (int)w->source);
	if (r == SQLITE_OK)
		r = sqlite3_bind_text(s, 4, w->label, -1, SQLITE_STATIC);
	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(s, 5, w->public_key, KEY_SIZE, SQLITE_STATIC);
	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(s, 6, parameters, sizeof(parameters), SQLITE_STATIC);
	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(s, 7, w->ephemeral, KEY_SIZE, SQLITE_STATIC);
	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(s, 8, w->sealed, VAULT_WRAP_SEALED_SIZE, SQLITE_STATIC);
	return finish_write(s, r);
}

/* Whether s stands on a row that can be a wrap. */
static bool wrap_of(sqlite3_stmt *s, struct vault_wrap *out)
{
	struct vault_wrap w = {.slot = 0};
	uint8_t parameters[PARAMETERS_SIZE];
	int64_t slot = sqlite3_column_int64(s, 0);
	int64_t generation = sqlite3_column_int64(s, 1);
	int64_t source = sqlite3_column_int64(s, 2);
	const unsigned char *label = sqlite3_column_text(s, 3);
	int label_size = sqlite3_column_bytes(s, 3);

	if (slot < 1 || slot > VAULT_SLOTS || generation < 1 || generation > UINT32_MAX || !label ||
	    label_size > VAULT_LABEL_MAX ||
	    (source != VAULT_SOURCE_KEY_FILE && source != VAULT_SOURCE_PASSPHRASE))
		return false;
	if (!column_copy(s, 4, KEY_SIZE, w.public_key) ||
	    !column_copy(s, 5, PARAMETERS_SIZE, parameters) ||
	    !column_copy(s, 6, KEY_SIZE, w.ephemeral) ||
	    !column_copy(s, 7, VAULT_WRAP_SEALED_SIZE, w.sealed))
		return false;
	w.slot = (uint8_t)slot;
	w.generation = (uint32_t)generation;
	w.source = (enum vault_source)source;
	memcpy(w.label, label, (size_t)label_size);
	memcpy(w.salt, parameters, VAULT_WRAP_SALT_SIZE);
	w.log_n = parameters[VAULT_WRAP_SALT_SIZE];
	w.r = parameters[VAULT_WRAP_SALT_SIZE + 1];
	w.p = parameters[VAULT_WRAP_SALT_SIZE + 2];
	*out = w;
	return true;
}

int vault_wraps_read(struct vault *v, struct vault_wrap *out, size_t *count)
{
	sqlite3_stmt *s = NULL;
	int r = sqlite3_prepare_v2(v->db,
				   "SELECT slot, generation, source, label, public, parameters,"
				   " ephemeral, sealed FROM wrap ORDER BY generation DESC, slot",
				   -1, &s, NULL);

	*count = 0;
	while (r == SQLITE_OK || r == SQLITE_ROW) {
		r = sqlite3_step(s);
		if (r == SQLITE_ROW && *count < VAULT_WRAPS_MAX && wrap_of(s, &out[*count]))
			++*count;
	}
	(void)sqlite3_finalize(s);
	return r == SQLITE_DONE ? 0 : vault_errno(r);
}

int vault_slot_write(struct vault *v, struct vault_wrap *w, const struct secret *secret)
{
	const struct vault_id id = {(enum vault_kind)VAULT_KIND_SENDER, BYTES_NONE,
				    bytes_of(&w->slot, 1)};
	SCOPED_SECRET *sender = NULL;
	int r = vault_wrap_keys(secret, v->id, w->slot, w->public_key, NULL, &sender);

	for (size_t i = 0; r == 0 && i < VAULT_GENERATIONS; i++) {
		if (v->generations[i].number == 0)
			continue;
		w->generation = v->generations[i].number;
		r = vault_wrap_seal(w, v->id, sender, v->generations[i].master);
		if (r == 0)
			r = vault_wrap_write(v, w);
	}
	return r == 0 ? vault_write_record(v, &id, secret_bytes(sender)) : r;
}

/* Opens every generation for which the wrap's slot has one, newest first. */
static int open_slot(struct vault *v, const struct vault_wrap *wraps, size_t count, uint8_t slot,
		     const struct secret *secret)
{
	size_t opened = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < count && opened < VAULT_GENERATIONS; i++) {
		SCOPED_SECRET *master = NULL;

		if (wraps[i].slot != slot)
			continue;
		r = vault_wrap_open(&wraps[i], v->id, secret, &master);
		if (r == 0)
			r = vault_generation_set(&v->generations[opened], v->id,
						 wraps[i].generation, master);
		if (r == 0)
			opened++;
		else if (r > 0 && opened > 0)
			r = 0;
	}
	if (r == 0)
		r = vault_master_read(v, &v->generations[0], &v->keys);
	if (r != 0) {
		for (size_t i = 0; i < VAULT_GENERATIONS; i++)
			vault_generation_clear(&v->generations[i]);
	}
	return r > 0 ? VAULT_DAMAGED : r;
}

/*
 * One opener against the slots of its source. A key file is one secret for all of them; with a
 * passphrase each slot has its own parameters.
 */
static int try_opener(struct vault *v, const struct vault_opener *opener,
		      const struct vault_wrap *wraps, size_t count, char *why, size_t why_size)
{
	int result = VAULT_DAMAGED;

	snprintf(why, why_size, "vault %s: the %s does not open it: a wrong one, or altered",
		 v->path, opener->source == VAULT_SOURCE_KEY_FILE ? "key file" : "passphrase");
	for (size_t i = 0; i < count; i++) {
		SCOPED_SECRET *secret = NULL;
		int r;

		if (wraps[i].source != opener->source || wraps[i].generation != wraps[0].generation)
			continue;
		r = vault_wrap_secret(opener, &wraps[i], &secret, why, why_size);
		if (r == VAULT_KEY_FILE || r < 0)
			return r;
		if (r == 0)
			r = open_slot(v, wraps, count, wraps[i].slot, secret);
		if (r <= 0)
			return r;
		result = r;
	}
	return result;
}

int vault_unlock(struct vault *v, const struct vault_options *options, char *why, size_t why_size)
{
	struct vault_wrap wraps[VAULT_WRAPS_MAX];
	size_t count = 0;
	int result = VAULT_KEY_FILE;
	int r = vault_wraps_read(v, wraps, &count);

	if (r < 0) {
		vault_explain(why, why_size, v->path, strerror(-r));
		return r == -EBADMSG ? VAULT_DAMAGED : r;
	}
	vault_explain(why, why_size, v->path, "nothing is given that opens it");
	for (size_t i = 0; i < options->opener_count; i++) {
		char reason[256] = "";

		r = try_opener(v, &options->openers[i], wraps, count, reason, sizeof(reason));
		if (r == 0) {
			if (why_size > 0)
				why[0] = '\0';
			return 0;
		}
		/* The first is what one was expected to open it with; a wrong key outweighs none.
		 */
		if (i == 0 || (result == VAULT_KEY_FILE && r != VAULT_KEY_FILE)) {
			result = r;
			snprintf(why, why_size, "%s", reason);
		}
	}
	return result;
}
