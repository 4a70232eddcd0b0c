/* The wraps of an open vault, and whether it would open again. */

#include "storage/vault-manage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/hidden.h"
#include "storage/vault-internal.h"
#include "storage/vault-key.h"

static int failed(struct vault *v, int r, char *why, size_t why_size)
{
	if (r != 0 && r != VAULT_REFUSED)
		snprintf(why, why_size, "vault %s: %s", v->path,
			 r < 0 ? strerror(-r) : "its wraps are damaged");
	return r;
}

int vault_wraps(struct vault *v, struct vault_wrap out[VAULT_SLOTS], size_t *count)
{
	struct vault_wrap all[VAULT_WRAPS_MAX];
	size_t all_count = 0;
	size_t n = 0;
	int r = vault_wraps_read(v, all, &all_count);

	if (r != 0)
		return r;
	for (size_t i = 0; i < all_count && n < VAULT_SLOTS; i++) {
		if (all[i].generation == v->generations[0].number)
			out[n++] = all[i];
	}
	*count = n;
	return 0;
}

static const struct vault_wrap *find_slot(const struct vault_wrap *wraps, size_t count,
					  uint8_t slot)
{
	for (size_t i = 0; i < count; i++) {
		if (wraps[i].slot == slot)
			return &wraps[i];
	}
	return NULL;
}

static const char *default_label(const struct vault_opener *opener)
{
	const char *slash;

	switch (opener->source) {
	case VAULT_SOURCE_KEY_FILE:
		slash = strrchr(opener->path, '/');
		return slash && slash[1] != '\0' ? slash + 1 : opener->path;
	case VAULT_SOURCE_PASSPHRASE:
		return "passphrase";
	}
	return "";
}

/* The secret of a new key file, durable on return. */
static int make_key_file(const char *path, struct secret **out, char *why, size_t why_size)
{
	SCOPED_SECRET *secret = secret_random(KEY_SIZE);
	int r;

	if (!secret) {
		snprintf(why, why_size, "key file %s: %s", path, strerror(ENOMEM));
		return -ENOMEM;
	}
	r = vault_key_create(path, secret, why, why_size);
	if (r == 0)
		*out = secret_ref(secret);
	return r;
}

int vault_wrap_prepare(const struct vault_opener *opener, const char *label, bool create,
		       struct vault_prepared *out, char *why, size_t why_size)
{
	struct vault_prepared p = {.secret = NULL};
	bool there = true;
	int r;

	if (opener->source == VAULT_SOURCE_KEY_FILE && !opener->path) {
		snprintf(why, why_size, "an opener without a key file");
		return -EINVAL;
	}
	/* The slot is chosen when it is added. */
	r = vault_wrap_begin(&p.wrap, 1, opener->source, label ? label : default_label(opener));
	if (r == -EINVAL) {
		snprintf(why, why_size, "a label has 1 to %d printable ASCII characters",
			 VAULT_LABEL_MAX);
		return VAULT_REFUSED;
	}
	if (r < 0) {
		snprintf(why, why_size, "%s", strerror(-r));
		return r;
	}
	if (opener->source == VAULT_SOURCE_KEY_FILE && create)
		r = vault_key_exists(opener->path, &there, why, why_size);
	if (r == 0 && !there)
		r = make_key_file(opener->path, &p.secret, why, why_size);
	else if (r == 0)
		r = vault_wrap_secret(opener, &p.wrap, &p.secret, why, why_size);
	if (r == 0)
		*out = p;
	return r;
}

void vault_prepared_clear(struct vault_prepared *p)
{
	secret_clear(&p->secret);
}

/* The slot that the secret opens as things are, or 0. */
static int slot_of(struct vault *v, const struct vault_wrap *wraps, size_t count,
		   const struct secret *secret, uint8_t *slot)
{
	*slot = 0;
	for (size_t i = 0; i < count && *slot == 0; i++) {
		SCOPED_SECRET *master = NULL;
		int r = vault_wrap_open(&wraps[i], v->id, secret, &master);

		if (r < 0)
			return r;
		if (r == 0)
			*slot = wraps[i].slot;
	}
	return 0;
}

struct slot_write {
	struct vault_wrap wrap;
	const struct secret *secret;
};

static int write_slot(struct vault *v, void *arg)
{
	struct slot_write *w = arg;

	return vault_slot_write(v, &w->wrap, w->secret);
}

/* slot 0: the first free one. */
static int give_slot(struct vault *v, uint8_t slot, const struct vault_prepared *p, uint8_t *given,
		     char *why, size_t why_size)
{
	struct slot_write write = {.wrap = p->wrap, .secret = p->secret};
	struct vault_wrap wraps[VAULT_SLOTS];
	uint8_t taken = 0;
	size_t count = 0;
	int r = vault_wraps(v, wraps, &count);

	if (r == 0)
		r = slot_of(v, wraps, count, p->secret, &taken);
	if (r != 0)
		return r;
	if (taken != 0) {
		snprintf(why, why_size, "that secret opens slot %u already", taken);
		return VAULT_REFUSED;
	}
	if (slot == 0) {
		for (slot = 1; slot <= VAULT_SLOTS && find_slot(wraps, count, slot);)
			slot++;
		if (slot > VAULT_SLOTS) {
			snprintf(why, why_size, "all %d slots are taken", VAULT_SLOTS);
			return VAULT_REFUSED;
		}
	} else if (!find_slot(wraps, count, slot)) {
		snprintf(why, why_size, "there is no slot %u", slot);
		return VAULT_REFUSED;
	}
	write.wrap.slot = slot;
	r = vault_transaction(v, write_slot, &write);
	if (r == 0 && given)
		*given = slot;
	return r;
}

int vault_wrap_add(struct vault *v, const struct vault_prepared *p, uint8_t *slot, char *why,
		   size_t why_size)
{
	return failed(v, give_slot(v, 0, p, slot, why, why_size), why, why_size);
}

int vault_wrap_rotate(struct vault *v, uint8_t slot, const struct vault_prepared *p, char *why,
		      size_t why_size)
{
	int r;

	if (slot < 1 || slot > VAULT_SLOTS) {
		snprintf(why, why_size, "slots are numbered from 1 to %d", VAULT_SLOTS);
		return VAULT_REFUSED;
	}
	r = give_slot(v, slot, p, NULL, why, why_size);
	if (r == 0)
		(void)vault_log_empty(v);
	return failed(v, r, why, why_size);
}

static int erase_slot(struct vault *v, void *arg)
{
	static const char *const statements[] = {
		/* In place first: the old bytes are gone wherever a page is split or joined. */
		"UPDATE wrap SET ephemeral = zeroblob(32), sealed = zeroblob(48) WHERE slot = ?1",
		"DELETE FROM wrap WHERE slot = ?1",
	};
	const uint8_t *slot = arg;
	int r = SQLITE_OK;

	for (size_t i = 0; r == SQLITE_OK && i < sizeof(statements) / sizeof(statements[0]); i++) {
		sqlite3_stmt *s = NULL;

		r = sqlite3_prepare_v2(v->db, statements[i], -1, &s, NULL);
		if (r == SQLITE_OK)
			r = sqlite3_bind_int(s, 1, *slot);
		if (r == SQLITE_OK)
			r = sqlite3_step(s) == SQLITE_DONE ? SQLITE_OK
							   : sqlite3_extended_errcode(v->db);
		(void)sqlite3_finalize(s);
	}
	if (r != SQLITE_OK)
		return vault_errno(r);
	return vault_sender_erase(v, *slot);
}

int vault_wrap_remove(struct vault *v, uint8_t slot, char *why, size_t why_size)
{
	struct vault_wrap wraps[VAULT_SLOTS];
	size_t count = 0;
	int r = vault_wraps(v, wraps, &count);

	if (r != 0)
		return failed(v, r, why, why_size);
	if (!find_slot(wraps, count, slot)) {
		snprintf(why, why_size, "there is no slot %u", slot);
		return VAULT_REFUSED;
	}
	if (count == 1) {
		snprintf(why, why_size, "slot %u is the last: nothing would open the vault", slot);
		return VAULT_REFUSED;
	}
	r = vault_transaction(v, erase_slot, &slot);
	if (r == 0)
		(void)vault_log_empty(v);
	return failed(v, r, why, why_size);
}

int vault_check_slot(struct vault *v, uint8_t slot, const struct secret *secret)
{
	struct vault_wrap wraps[VAULT_SLOTS];
	SCOPED_SECRET *master = NULL;
	const struct vault_wrap *w;
	size_t count = 0;
	int r = vault_wraps(v, wraps, &count);

	if (r != 0)
		return r;
	w = find_slot(wraps, count, slot);
	if (!w)
		return VAULT_REFUSED;
	r = vault_wrap_open(w, v->id, secret, &master);
	if (r < 0)
		return r;
	return r == 0 && secret_equal(master, v->generations[0].master) ? 0 : VAULT_REFUSED;
}

void vault_check_opener(struct vault *v, const struct vault_opener *opener,
			struct vault_opener_check *out)
{
	struct vault_wrap wraps[VAULT_SLOTS];
	size_t count = 0;

	*out = (struct vault_opener_check){.result = vault_wraps(v, wraps, &count)};
	if (out->result != 0) {
		failed(v, out->result, out->why, sizeof(out->why));
		return;
	}
	out->result = VAULT_REFUSED;
	snprintf(out->why, sizeof(out->why), "it opens no slot of the vault");
	for (size_t i = 0; i < count; i++) {
		SCOPED_SECRET *secret = NULL;
		int r;

		if (wraps[i].source != opener->source)
			continue;
		r = vault_wrap_secret(opener, &wraps[i], &secret, out->why, sizeof(out->why));
		if (r != 0) {
			out->result = r;
			return;
		}
		if (vault_check_slot(v, wraps[i].slot, secret) == 0) {
			out->result = 0;
			out->slot = wraps[i].slot;
			out->why[0] = '\0';
			return;
		}
	}
}

int vault_check_rows(struct vault *v, char *why, size_t why_size)
{
	struct vault_keys keys = {NULL, NULL, NULL};
	struct vault_wrap wraps[VAULT_SLOTS];
	uint32_t missing = 0;
	size_t count = 0;
	bool same = false;
	int r = vault_master_read(v, &v->generations[0], &keys);

	if (r == 0)
		same = secret_equal(keys.names, v->keys.names) &&
		       secret_equal(keys.tags, v->keys.tags) &&
		       secret_equal(keys.signing, v->keys.signing);
	vault_keys_clear(&keys);
	if (r < 0)
		return failed(v, r, why, why_size);
	if (r > 0 || !same) {
		snprintf(why, why_size, "the row of the master key does not open");
		return VAULT_DAMAGED;
	}
	r = vault_generation_missing(v, &missing);
	if (r == 0)
		r = vault_wraps(v, wraps, &count);
	if (r != 0)
		return failed(v, r, why, why_size);
	if (missing != 0) {
		snprintf(why, why_size, VAULT_MISSING_TEXT, missing);
		return VAULT_DAMAGED;
	}
	if (count == 0) {
		snprintf(why, why_size, "no wrap is left: nothing would open the vault");
		return VAULT_DAMAGED;
	}
	for (size_t i = 0; i < count; i++) {
		SCOPED_SECRET *sender = NULL;

		r = vault_sender_read(v, wraps[i].slot, &sender);
		if (r == 0)
			continue;
		snprintf(why, why_size, "slot %u could not be given a new master", wraps[i].slot);
		return r < 0 ? r : VAULT_DAMAGED;
	}
	return 0;
}

struct sampling {
	struct vault *v;
	uint8_t *plain;
	uint64_t max;
	uint64_t records;
	uint64_t damaged;
};

/* Ends a walk that has seen enough. */
#define ENOUGH 1

static int open_one(void *arg, const uint8_t name[VAULT_NAME_SIZE], int64_t sequence,
		    uint32_t generation)
{
	struct sampling *s = arg;
	struct vault_row row = {.sequence = sequence, .generation = generation};
	size_t size = 0;
	int r;

	if (s->max != 0 && s->records >= s->max)
		return ENOUGH;
	memcpy(row.name, name, VAULT_NAME_SIZE);
	r = vault_read_row(s->v, &row, s->plain, NULL, &size);
	if (r < 0)
		return r;
	s->records++;
	if (r != 0)
		s->damaged++;
	return 0;
}

static int sample(struct sampling *s)
{
	uint8_t low[VAULT_NAME_SIZE] = {0};
	uint8_t middle[VAULT_NAME_SIZE];
	uint8_t high[VAULT_NAME_SIZE];
	size_t gaps = 0;
	int r = p1_random(middle, sizeof(middle));

	if (r != 0)
		return r;
	memset(high, 0xff, sizeof(high));
	middle[0] %= VAULT_HANDOVER + 1;
	if (s->max == 0)
		memset(middle, 0, sizeof(middle));
	r = vault_walk_rows(s->v, middle, high, open_one, s, &gaps);
	s->damaged += gaps;
	s->records += gaps;
	if (r != 0 || s->max == 0)
		return r == ENOUGH ? 0 : r;
	gaps = 0;
	r = vault_walk_rows(s->v, low, middle, open_one, s, &gaps);
	s->damaged += gaps;
	s->records += gaps;
	return r == ENOUGH ? 0 : r;
}

int vault_check_records(struct vault *v, uint64_t max, uint64_t *records, uint64_t *damaged)
{
	struct sampling s = {.v = v, .max = max, .plain = hidden_new(VAULT_PLAIN_MAX)};
	int r;

	if (!s.plain)
		return -ENOMEM;
	r = sample(&s);
	hidden_free(s.plain);
	*records = s.records;
	*damaged = s.damaged;
	return r;
}
