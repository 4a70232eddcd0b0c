/* Walks over many records: by name, past pages that cannot be read, and in order of sequence. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/hidden.h"
#include "storage/vault-internal.h"

/* How many rows a walk sorts at a time: their names and sequences are all it keeps in memory. */
#define WALK_FIRST 64
#define WALK_MAX   4096

bool vault_name_after(const uint8_t a[VAULT_NAME_SIZE], uint8_t out[VAULT_NAME_SIZE])
{
	memmove(out, a, VAULT_NAME_SIZE);
	for (size_t i = VAULT_NAME_SIZE; i-- > 0;) {
		if (++out[i] != 0)
			return true;
	}
	return false;
}

/* Halfway between a and b, towards a. */
static void name_between(const uint8_t a[VAULT_NAME_SIZE], const uint8_t b[VAULT_NAME_SIZE],
			 uint8_t out[VAULT_NAME_SIZE])
{
	unsigned int carry = 0;

	for (size_t i = VAULT_NAME_SIZE; i-- > 0;) {
		unsigned int sum = (unsigned int)a[i] + b[i] + carry;

		out[i] = (uint8_t)sum;
		carry = sum >> 8;
	}
	for (size_t i = 0; i < VAULT_NAME_SIZE; i++) {
		unsigned int next = (unsigned int)out[i] & 1;

		out[i] = (uint8_t)(out[i] >> 1 | carry << 7);
		carry = next;
	}
}

/*
 * Steps through the rows from low to high, or only to the first where each is NULL. low moves
 * along: on return it is the lowest name not yet seen. -EBADMSG where a page cannot be read.
 */
static int step_rows(struct vault *v, uint8_t low[VAULT_NAME_SIZE],
		     const uint8_t high[VAULT_NAME_SIZE], vault_row_fn *each, void *arg,
		     size_t *malformed, bool *finished)
{
	sqlite3_stmt *s = v->statements[STATEMENT_NAMES];
	int result = 0;
	int r = sqlite3_bind_blob(s, 1, low, VAULT_NAME_SIZE, SQLITE_TRANSIENT);

	*finished = false;
	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(s, 2, high, VAULT_NAME_SIZE, SQLITE_STATIC);
	while (r == SQLITE_OK || r == SQLITE_ROW) {
		const uint8_t *name;
		int64_t generation;

		r = sqlite3_step(s);
		if (r != SQLITE_ROW)
			break;
		name = sqlite3_column_blob(s, 0);
		if (!name || sqlite3_column_bytes(s, 0) != VAULT_NAME_SIZE) {
			++*malformed;
			continue;
		}
		generation = sqlite3_column_int64(s, 2);
		if (generation < 0 || generation > UINT32_MAX)
			generation = 0;
		*finished = !vault_name_after(name, low);
		if (each)
			result = each(arg, name, sqlite3_column_int64(s, 1), (uint32_t)generation);
		if (result != 0 || *finished || !each)
			break;
	}
	if (result == 0 && r == SQLITE_DONE)
		*finished = true;
	else if (result == 0 && r != SQLITE_ROW)
		result = vault_errno(r);
	(void)sqlite3_reset(s);
	(void)sqlite3_clear_bindings(s);
	return result;
}

/* a + b, or false when that is more than a name can be. */
static bool name_add(const uint8_t a[VAULT_NAME_SIZE], const uint8_t b[VAULT_NAME_SIZE],
		     uint8_t out[VAULT_NAME_SIZE])
{
	unsigned int carry = 0;

	for (size_t i = VAULT_NAME_SIZE; i-- > 0;) {
		unsigned int sum = (unsigned int)a[i] + b[i] + carry;

		out[i] = (uint8_t)sum;
		carry = sum >> 8;
	}
	return carry == 0;
}

/* A quarter more, and at least one. */
static bool name_grow(uint8_t name[VAULT_NAME_SIZE])
{
	static const uint8_t one[VAULT_NAME_SIZE] = {[VAULT_NAME_SIZE - 1] = 1};
	uint8_t quarter[VAULT_NAME_SIZE];

	for (size_t i = 0; i < VAULT_NAME_SIZE; i++)
		quarter[i] = (uint8_t)(name[i] >> 2 | (i > 0 ? name[i - 1] << 6 : 0));
	return name_add(name, quarter, name) && name_add(name, one, name);
}

/* Whether a row, or the end, is found from there: 0, -EBADMSG or another negative errno. */
static int probe(struct vault *v, const uint8_t from[VAULT_NAME_SIZE],
		 const uint8_t high[VAULT_NAME_SIZE])
{
	uint8_t at[VAULT_NAME_SIZE];
	size_t malformed = 0;
	bool end;

	memcpy(at, from, sizeof(at));
	return step_rows(v, at, high, NULL, NULL, &malformed, &end);
}

/*
 * Moves low past what cannot be read: to the lowest name from where a row or the end is found.
 * First in steps that grow slowly, so that between two such places nothing is passed over that can
 * be read, then by halving the last step.
 */
static int skip_damage(struct vault *v, uint8_t low[VAULT_NAME_SIZE],
		       const uint8_t high[VAULT_NAME_SIZE], bool *finished)
{
	uint8_t bad[VAULT_NAME_SIZE];
	uint8_t good[VAULT_NAME_SIZE];
	uint8_t middle[VAULT_NAME_SIZE];
	uint8_t step[VAULT_NAME_SIZE] = {0};
	int r;

	memcpy(bad, low, sizeof(bad));
	do {
		if (!name_grow(step) || !name_add(low, step, good) ||
		    memcmp(good, high, sizeof(good)) >= 0) {
			memcpy(good, high, sizeof(good));
			break;
		}
		r = probe(v, good, high);
		if (r == -EBADMSG)
			memcpy(bad, good, sizeof(bad));
		else if (r < 0)
			return r;
	} while (r == -EBADMSG);
	for (;;) {
		name_between(bad, good, middle);
		if (memcmp(middle, bad, sizeof(middle)) == 0)
			break;
		r = probe(v, middle, high);
		if (r < 0 && r != -EBADMSG)
			return r;
		memcpy(r == 0 ? good : bad, middle, sizeof(middle));
	}
	memcpy(low, good, sizeof(good));
	*finished = memcmp(good, high, sizeof(good)) == 0;
	return 0;
}

int vault_walk_rows(struct vault *v, const uint8_t low[VAULT_NAME_SIZE],
		    const uint8_t high[VAULT_NAME_SIZE], vault_row_fn *each, void *arg,
		    size_t *gaps)
{
	uint8_t at[VAULT_NAME_SIZE];
	bool finished = false;

	memcpy(at, low, sizeof(at));
	*gaps = 0;
	while (!finished) {
		int r = step_rows(v, at, high, each, arg, gaps, &finished);

		if (r == -EBADMSG) {
			++*gaps;
			r = skip_damage(v, at, high, &finished);
		}
		if (r != 0)
			return r;
	}
	return 0;
}

struct place {
	int64_t sequence;
	uint8_t name[VAULT_NAME_SIZE];
};

/* The places that come next in the order of sequence: those after `after`, at most WALK_MAX. */
struct places {
	struct place *places;
	size_t count;
	size_t capacity;
	bool begun;
	bool full; /* there are more than these */
	struct place after;
};

static int compare_places(const void *a, const void *b)
{
	const struct place *x = a;
	const struct place *y = b;

	if (x->sequence != y->sequence)
		return x->sequence < y->sequence ? -1 : 1;
	return memcmp(x->name, y->name, sizeof(x->name));
}

static int make_room(struct places *p)
{
	size_t capacity = p->capacity ? 2 * p->capacity : WALK_FIRST;
	struct place *places;

	if (p->count == (size_t)2 * WALK_MAX) {
		qsort(p->places, p->count, sizeof(*p->places), compare_places);
		p->count = WALK_MAX;
		p->full = true;
	}
	if (p->count < p->capacity)
		return 0;
	places = reallocarray(p->places, capacity, sizeof(*places));
	if (!places)
		return -ENOMEM;
	p->places = places;
	p->capacity = capacity;
	return 0;
}

static int keep_place(void *arg, const uint8_t name[VAULT_NAME_SIZE], int64_t sequence,
		      uint32_t generation)
{
	struct places *p = arg;
	struct place place = {.sequence = sequence};
	int r;

	(void)generation;
	memcpy(place.name, name, sizeof(place.name));
	if (p->begun && compare_places(&place, &p->after) <= 0)
		return 0;
	if (p->full && compare_places(&place, &p->places[WALK_MAX - 1]) > 0)
		return 0;
	r = make_room(p);
	if (r == 0)
		p->places[p->count++] = place;
	return r;
}

/* One record of a walk: 0, or what each returned, or a negative errno. */
static int show(struct vault *v, const struct place *place, uint8_t *plain, vault_each_fn *each,
		void *arg, size_t *damaged)
{
	struct bytes owner, item, content;
	struct vault_row row;
	size_t size = 0;
	int r;

	memcpy(row.name, place->name, sizeof(row.name));
	r = vault_read_row(v, &row, plain, NULL, &size);
	if (r == 0)
		r = vault_plain_split(bytes_of(plain, size), &owner, &item, &content);
	if (r == 0)
		return each(arg, owner, item, content);
	if (r == VAULT_DAMAGED)
		++*damaged;
	return r < 0 ? r : 0;
}

static int walk(struct vault *v, struct places *p, const uint8_t low[VAULT_NAME_SIZE],
		const uint8_t high[VAULT_NAME_SIZE], vault_each_fn *each, void *arg,
		size_t *damaged)
{
	uint8_t *plain = hidden_new(VAULT_PLAIN_MAX);
	size_t gaps = 0;
	int r = plain ? 0 : -ENOMEM;

	do {
		p->count = 0;
		p->full = false;
		if (r == 0)
			r = vault_walk_rows(v, low, high, keep_place, p, &gaps);
		if (p->count > 0)
			qsort(p->places, p->count, sizeof(*p->places), compare_places);
		if (p->count > WALK_MAX) {
			p->count = WALK_MAX;
			p->full = true;
		}
		for (size_t i = 0; r == 0 && i < p->count; i++)
			r = show(v, &p->places[i], plain, each, arg, damaged);
		p->begun = true;
		if (p->count > 0)
			p->after = p->places[p->count - 1];
	} while (r == 0 && p->full);
	*damaged += gaps;
	hidden_free(plain);
	return r;
}

int vault_each(struct vault *v, enum vault_kind kind, struct bytes owner, vault_each_fn *each,
	       void *arg, size_t *damaged)
{
	struct places places = {.places = NULL};
	uint8_t low[VAULT_NAME_SIZE];
	uint8_t high[VAULT_NAME_SIZE];
	size_t passed_over = 0;
	int r = 0;

	if (owner.size > VAULT_OWNER_MAX)
		return -EINVAL;
	if (owner.data)
		r = vault_name_range(&v->keys, (int)kind, owner, low, high);
	else
		vault_name_range_of_kind((int)kind, low, high);
	if (r == 0)
		r = walk(v, &places, low, high, each, arg, &passed_over);
	free(places.places);
	if (damaged)
		*damaged = passed_over;
	return r;
}

struct some {
	struct place *places;
	size_t count, most;
};

static int keep_some(void *arg, const uint8_t name[VAULT_NAME_SIZE], int64_t sequence,
		     uint32_t generation)
{
	struct some *s = arg;

	(void)sequence;
	(void)generation;
	memcpy(s->places[s->count++].name, name, VAULT_NAME_SIZE);
	return s->count == s->most;
}

int vault_each_some(struct vault *v, enum vault_kind kind, struct vault_cursor *at, size_t most,
		    vault_each_fn *each, void *arg)
{
	struct some s = {.places = calloc(most, sizeof(*s.places)), .most = most};
	uint8_t low[VAULT_NAME_SIZE], high[VAULT_NAME_SIZE];
	uint8_t *plain = hidden_new(VAULT_PLAIN_MAX);
	size_t passed_over = 0;
	bool ended;
	int r = s.places && plain ? 0 : -ENOMEM;

	vault_name_range_of_kind((int)kind, low, high);
	if (at->begun)
		memcpy(low, at->low, sizeof(low));
	if (r == 0)
		r = vault_walk_rows(v, low, high, keep_some, &s, &passed_over);
	ended = r == 0;
	r = r == 1 ? 0 : r;
	at->begun = true;
	at->looked_at += s.count;
	for (size_t i = 0; r == 0 && i < s.count; i++) {
		/* No kind has the highest of all names. */
		(void)vault_name_after(s.places[i].name, at->low);
		r = show(v, &s.places[i], plain, each, arg, &passed_over);
	}
	at->ended = ended && r == 0;
	hidden_free(plain);
	free(s.places);
	return r;
}
