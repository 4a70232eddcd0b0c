#include "vault-model.h"

#include <stdio.h>
#include <string.h>

#include <check.h>

#include "storage/ledger-check.h"

#define BATCHES_MAX 320
#define ITEMS_MAX   320
#define TRIMS_MAX   8
#define NAME_SIZE   16

struct item {
	enum vault_kind kind;
	char owner[NAME_SIZE];
	char item[NAME_SIZE];
	unsigned batch;
	unsigned number;
	size_t size;
};

struct state {
	struct item items[ITEMS_MAX]; /* in the order in which they were written last */
	size_t count;
};

static struct {
	struct state states[BATCHES_MAX];
	unsigned batches;
	unsigned puts;
	struct item trims[TRIMS_MAX];
	size_t trim_count;
} model;

static const enum vault_kind kinds[] = {VAULT_TEMPORARY_KEY, VAULT_EUKEY, VAULT_ANSWER, VAULT_PNE,
					VAULT_DELIVERY};

static void nothing(bool begins)
{
	(void)begins;
}

void (*model_around)(bool begins) = nothing;

void model_reset(void)
{
	model.batches = 0;
	model.puts = 0;
	model.trim_count = 0;
	model.states[0].count = 0;
}

static struct state *current(void)
{
	return &model.states[model.batches];
}

static void remove_at(struct state *s, size_t i)
{
	memmove(&s->items[i], &s->items[i + 1], (s->count - i - 1) * sizeof(s->items[0]));
	s->count--;
}

static bool is_of(const struct item *i, enum vault_kind kind, const char *owner)
{
	return i->kind == kind && strcmp(i->owner, owner) == 0;
}

/* The vault trims after everything else of a batch, so this is done again after each change. */
static void apply_trims(void)
{
	struct state *s = current();

	for (size_t t = 0; t < model.trim_count; t++) {
		size_t kept = 0;

		for (size_t i = s->count; i-- > 0;) {
			if (is_of(&s->items[i], model.trims[t].kind, model.trims[t].owner) &&
			    kept++ >= model.trims[t].size)
				remove_at(s, i);
		}
	}
}

struct vault_batch *model_batch(void)
{
	struct vault_batch *b;

	model_around(true);
	b = vault_batch_new();
	model_around(false);
	ck_assert_uint_lt(model.batches + 1, BATCHES_MAX);
	model.states[model.batches + 1] = model.states[model.batches];
	model.batches++;
	model.trim_count = 0;
	return b;
}

static void content_of(const struct item *i, uint8_t *out)
{
	char text[64];
	int size = snprintf(text, sizeof(text), "batch %u record %u of %s/%s. ", i->batch,
			    i->number, i->owner, i->item);

	for (size_t at = 0; at < i->size; at++)
		out[at] = (uint8_t)text[at % (size_t)size];
}

void model_put(struct vault_batch *b, enum vault_kind kind, const char *owner, const char *item,
	       size_t size)
{
	static uint8_t content[VAULT_CONTENT_MAX];
	struct vault_id id = {kind, bytes_text(owner), bytes_text(item)};
	struct state *s = current();
	struct item *i;

	for (size_t at = 0; at < s->count; at++) {
		if (is_of(&s->items[at], kind, owner) && strcmp(s->items[at].item, item) == 0) {
			remove_at(s, at);
			break;
		}
	}
	ck_assert_uint_lt(s->count, ITEMS_MAX);
	i = &s->items[s->count++];
	*i = (struct item){
		.kind = kind, .batch = model.batches, .number = ++model.puts, .size = size};
	(void)snprintf(i->owner, NAME_SIZE, "%s", owner);
	(void)snprintf(i->item, NAME_SIZE, "%s", item);
	content_of(i, content);
	model_around(true);
	if (b)
		vault_batch_put(b, &id, bytes_of(content, size));
	model_around(false);
	apply_trims();
}

void model_erase(struct vault_batch *b, enum vault_kind kind, const char *owner, const char *item)
{
	struct vault_id id = {kind, bytes_text(owner), bytes_text(item)};
	struct state *s = current();

	for (size_t at = s->count; at-- > 0;) {
		if (is_of(&s->items[at], kind, owner) && strcmp(s->items[at].item, item) == 0)
			remove_at(s, at);
	}
	model_around(true);
	if (b)
		vault_batch_erase(b, &id);
	model_around(false);
}

void model_erase_owner(struct vault_batch *b, enum vault_kind kind, const char *owner)
{
	struct state *s = current();

	for (size_t at = s->count; at-- > 0;) {
		if (is_of(&s->items[at], kind, owner))
			remove_at(s, at);
	}
	model_around(true);
	if (b)
		vault_batch_erase_owner(b, kind, bytes_text(owner));
	model_around(false);
}

void model_trim(struct vault_batch *b, enum vault_kind kind, const char *owner, size_t keep)
{
	struct item *t = &model.trims[model.trim_count];

	ck_assert_uint_lt(model.trim_count, TRIMS_MAX);
	*t = (struct item){.kind = kind, .size = keep};
	(void)snprintf(t->owner, NAME_SIZE, "%s", owner);
	model.trim_count++;
	apply_trims();
	model_around(true);
	if (b)
		vault_batch_trim(b, kind, bytes_text(owner), keep);
	model_around(false);
}

unsigned model_batches(void)
{
	return model.batches;
}

void model_take_back(void)
{
	model.batches--;
}

static bool same(const struct item *i, struct bytes owner, struct bytes item, struct bytes content)
{
	static uint8_t expected[VAULT_CONTENT_MAX];

	if (!bytes_equal(owner, bytes_text(i->owner)) || !bytes_equal(item, bytes_text(i->item)) ||
	    content.size != i->size)
		return false;
	content_of(i, expected);
	return bytes_equal(content, bytes_of(expected, i->size));
}

struct comparison {
	const struct state *state;
	enum vault_kind kind;
	size_t at; /* the next item to look at */
	bool differs;
};

static int compare_one(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct comparison *c = arg;

	while (c->at < c->state->count && c->state->items[c->at].kind != c->kind)
		c->at++;
	if (c->at == c->state->count || !same(&c->state->items[c->at], owner, item, content))
		c->differs = true;
	c->at++;
	return c->differs;
}

static bool walks_match(struct vault *v, const struct state *s, char *why, size_t why_size)
{
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		struct comparison c = {s, kinds[k], 0, false};
		size_t damaged = 0;
		int r = vault_each(v, kinds[k], BYTES_NONE, compare_one, &c, &damaged);

		if (r < 0 || damaged > 0) {
			(void)snprintf(why, why_size, "a walk of kind %d ends with %d, %zu damaged",
				       (int)kinds[k], r, damaged);
			return false;
		}
		while (c.at < s->count && s->items[c.at].kind != kinds[k])
			c.at++;
		if (c.differs || c.at < s->count) {
			(void)snprintf(why, why_size, "kind %d holds something else or too little",
				       (int)kinds[k]);
			return false;
		}
	}
	return true;
}

static bool reads_match(struct vault *v, const struct state *s, char *why, size_t why_size)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct item *item = &s->items[i];
		struct vault_id id = {item->kind, bytes_text(item->owner), bytes_text(item->item)};
		struct vault_content c = {NULL, 0};
		int r = vault_get(v, &id, &c);
		bool right = r == 0 && same(item, id.owner, id.item, bytes_of(c.data, c.size));

		vault_content_free(&c);
		if (!right) {
			(void)snprintf(why, why_size, "reading %s/%s gives %d", item->owner,
				       item->item, r);
			return false;
		}
	}
	return true;
}

int model_match(struct vault *v, unsigned lowest, unsigned highest, char *why, size_t why_size)
{
	for (unsigned n = lowest; n <= highest; n++) {
		const struct state *s = &model.states[n];

		if (walks_match(v, s, why, why_size) && reads_match(v, s, why, why_size))
			return (int)n;
	}
	return -1;
}

struct truth {
	enum vault_kind kind;
	size_t served;
	bool lie;
};

static int check_truth(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct truth *t = arg;

	for (unsigned n = 0; n <= model.batches; n++) {
		for (size_t i = 0; i < model.states[n].count; i++) {
			if (model.states[n].items[i].kind == t->kind &&
			    same(&model.states[n].items[i], owner, item, content)) {
				t->served++;
				return 0;
			}
		}
	}
	t->lie = true;
	return 1;
}

bool model_serves_truth(struct vault *v, size_t *served, size_t *damaged)
{
	bool truthful = true;

	*served = 0;
	*damaged = 0;
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		struct truth t = {kinds[k], 0, false};
		size_t bad = 0;
		int r = vault_each(v, kinds[k], BYTES_NONE, check_truth, &t, &bad);

		*served += t.served;
		*damaged += bad + (r < 0);
		truthful = truthful && !t.lie;
	}
	return truthful;
}

bool model_ledger_proven(const char *path, const struct ledger_state *end, char *why,
			 size_t why_size)
{
	static uint8_t data[1000 * LEDGER_ENTRY_SIZE];
	struct ledger_expected expected = {.sequence = end->sequence, .who = "the vault"};
	struct ledger_check *check = NULL;
	FILE *f = fopen(path, "rb");
	size_t size;
	bool proven;

	if (!f) {
		(void)snprintf(why, why_size, "there is none");
		return end->sequence == 0;
	}
	size = fread(data, 1, sizeof(data), f);
	(void)fclose(f);
	memcpy(expected.head, end->head, sizeof(expected.head));
	ck_assert_int_eq(ledger_check_new(NULL, NULL, &check), 0);
	ck_assert_int_eq(ledger_check_expect(check, &expected), 0);
	proven =
		ledger_check_feed(check, bytes_of(data, size)) == 0 && ledger_check_end(check) == 0;
	if (!proven)
		(void)snprintf(why, why_size, "%s", ledger_check_defect(check)->text);
	else if (ledger_check_entries(check) != end->sequence)
		(void)snprintf(why, why_size, "%u entries of %u", ledger_check_entries(check),
			       end->sequence);
	proven = proven && ledger_check_entries(check) == end->sequence;
	ledger_check_free(check);
	return proven;
}
