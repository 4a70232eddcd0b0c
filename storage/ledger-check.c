#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger-check.h"

/* What became of a key so far. */
enum key_state {
	KEY_ABSENT,  /* never seen */
	KEY_POOL,    /* issued into the vault */
	KEY_RELAYED, /* issued by Figure 5, 6 or 8: not into the pool */
	KEY_LOST,    /* issued, then a rollback came */
	KEY_SPENT,
	KEY_INSTALLED,
	KEY_ERASED, /* unspent */
	KEY_GONE,   /* erased after it was spent or installed */
	KEY_STATE_COUNT,
};

enum key_event { ON_ISSUED, ON_SPENT, ON_INSTALLED, ON_ERASED, KEY_EVENT_COUNT };

/* A cell is the next state, or one of these, negative. */
enum {
	BAD_TWICE = -1,
	BAD_NOT_ISSUED = -2,
	BAD_NOT_SPENT = -3,
	BAD_SPENT_TWICE = -4,
	BAD_AFTER_ERASED = -5,
	BAD_ROLLED_BACK = -6,
	BAD_AFTER_INSTALLED = -7,
	BAD_RELAYED = -8,
};

static const short transitions[KEY_STATE_COUNT][KEY_EVENT_COUNT] = {
	[KEY_ABSENT] = {[ON_ISSUED] = KEY_POOL,
			[ON_SPENT] = BAD_NOT_ISSUED,
			[ON_INSTALLED] = BAD_NOT_ISSUED,
			[ON_ERASED] = BAD_NOT_ISSUED},
	[KEY_POOL] = {[ON_ISSUED] = BAD_TWICE,
		      [ON_SPENT] = KEY_SPENT,
		      [ON_INSTALLED] = BAD_NOT_SPENT,
		      [ON_ERASED] = KEY_ERASED},
	[KEY_RELAYED] = {[ON_ISSUED] = BAD_TWICE,
			 [ON_SPENT] = BAD_RELAYED,
			 [ON_INSTALLED] = KEY_INSTALLED,
			 [ON_ERASED] = KEY_ERASED},
	[KEY_LOST] = {[ON_ISSUED] = BAD_TWICE,
		      [ON_SPENT] = BAD_ROLLED_BACK,
		      [ON_INSTALLED] = KEY_INSTALLED,
		      [ON_ERASED] = KEY_ERASED},
	[KEY_SPENT] = {[ON_ISSUED] = BAD_TWICE,
		       [ON_SPENT] = BAD_SPENT_TWICE,
		       [ON_INSTALLED] = KEY_INSTALLED,
		       [ON_ERASED] = KEY_GONE},
	[KEY_INSTALLED] = {[ON_ISSUED] = BAD_TWICE,
			   [ON_SPENT] = BAD_AFTER_INSTALLED,
			   [ON_INSTALLED] = KEY_INSTALLED,
			   [ON_ERASED] = KEY_GONE},
	[KEY_ERASED] = {[ON_ISSUED] = BAD_TWICE,
			[ON_SPENT] = BAD_AFTER_ERASED,
			[ON_INSTALLED] = BAD_AFTER_ERASED,
			[ON_ERASED] = KEY_ERASED},
	[KEY_GONE] = {[ON_ISSUED] = BAD_TWICE,
		      [ON_SPENT] = BAD_AFTER_ERASED,
		      [ON_INSTALLED] = BAD_AFTER_ERASED,
		      [ON_ERASED] = KEY_GONE},
};

static const char *bad_text(int bad)
{
	switch (bad) {
	case BAD_TWICE:
		return "was issued before";
	case BAD_NOT_ISSUED:
		return "was never issued";
	case BAD_NOT_SPENT:
		return "was installed out of the pool without having been spent";
	case BAD_SPENT_TWICE:
		return "was spent before";
	case BAD_AFTER_ERASED:
		return "was erased before";
	case BAD_ROLLED_BACK:
		return "was issued before a rollback, it may have been spent already";
	case BAD_RELAYED:
		return "was relayed to its device and never in the pool";
	case BAD_AFTER_INSTALLED:
		return "was installed before";
	}
	return "is wrong";
}

struct key {
	uint8_t entity[LEDGER_TAG_SIZE];
	uint32_t index;
	uint8_t state;
	bool seen_issued;
	bool ever_spent;
	bool ever_installed;
};

struct entity {
	uint8_t tag[LEDGER_TAG_SIZE];
	uint32_t revoked;
	bool used;
};

/* Open addressing; at most half full. An unused key has state KEY_ABSENT. */
struct ledger_check {
	ledger_gap_fn *on_gap;
	void *arg;
	struct key *keys;
	size_t key_room;
	size_t key_count;
	struct entity *entities;
	size_t entity_room;
	size_t entity_count;

	struct ledger_expected expected[LEDGER_EXPECTED_MAX];
	size_t expected_count;
	bool pinned;
	uint8_t pin[KEY_SIZE];

	uint8_t piece[LEDGER_ENTRY_SIZE]; /* the larger of the two */
	size_t piece_size;
	uint64_t offset; /* of the piece */
	bool has_header;
	bool older;       /* keys from before the ledger may turn up */
	bool gap;         /* keys issued in a gap may turn up */
	bool rolled_back; /* what was unspent and unseen may not be spent any more */
	bool broken;      /* a defect was found */
	uint32_t entries;
	uint8_t public_key[KEY_SIZE];
	struct ledger_state state;
	struct ledger_defect defect;
};

_Static_assert(LEDGER_HEADER_SIZE <= LEDGER_ENTRY_SIZE, "piece holds both");

int ledger_check_new(ledger_gap_fn *on_gap, void *arg, struct ledger_check **out)
{
	struct ledger_check *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->on_gap = on_gap;
	c->arg = arg;
	*out = c;
	return 0;
}

void ledger_check_free(struct ledger_check *c)
{
	if (!c)
		return;
	free(c->keys);
	free(c->entities);
	free(c);
}

void ledger_check_key(struct ledger_check *c, const uint8_t public_key[KEY_SIZE])
{
	memcpy(c->pin, public_key, KEY_SIZE);
	c->pinned = true;
}

int ledger_check_expect(struct ledger_check *c, const struct ledger_expected *e)
{
	if (e->sequence == 0)
		return 0;
	if (c->expected_count == LEDGER_EXPECTED_MAX)
		return -ENOSPC;
	c->expected[c->expected_count++] = *e;
	return 0;
}

static __attribute__((format(printf, 3, 4))) int defect(struct ledger_check *c, uint32_t sequence,
							const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(c->defect.text, sizeof(c->defect.text), format, list);
	va_end(list);
	c->defect.sequence = sequence;
	c->defect.offset = c->offset;
	c->broken = true;
	return LEDGER_DEFECT;
}

/* Tags are outputs of an HMAC: their first bytes are as good as a hash. */
static size_t slot_of(const uint8_t *tag, uint32_t index, size_t room)
{
	uint64_t hash;

	memcpy(&hash, tag, sizeof(hash));
	hash ^= (uint64_t)index * UINT64_C(0x9e3779b97f4a7c15);
	hash ^= hash >> 29;
	return (size_t)hash & (room - 1);
}

static struct key *key_slot(struct key *keys, size_t room, const uint8_t *tag, uint32_t index)
{
	size_t i = slot_of(tag, index, room);

	while (keys[i].state != KEY_ABSENT &&
	       (keys[i].index != index || memcmp(keys[i].entity, tag, LEDGER_TAG_SIZE) != 0))
		i = (i + 1) & (room - 1);
	return keys + i;
}

static struct entity *entity_slot(struct entity *entities, size_t room, const uint8_t *tag)
{
	size_t i = slot_of(tag, 0, room);

	while (entities[i].used && memcmp(entities[i].tag, tag, LEDGER_TAG_SIZE) != 0)
		i = (i + 1) & (room - 1);
	return entities + i;
}

static int key_find(struct ledger_check *c, const uint8_t *tag, uint32_t index, struct key **out)
{
	if (2 * (c->key_count + 1) > c->key_room) {
		size_t room = c->key_room ? 2 * c->key_room : 64;
		struct key *keys = calloc(room, sizeof(*keys));

		if (!keys)
			return -ENOMEM;
		for (size_t i = 0; i < c->key_room; i++) {
			const struct key *k = c->keys + i;

			if (k->state != KEY_ABSENT)
				*key_slot(keys, room, k->entity, k->index) = *k;
		}
		free(c->keys);
		c->keys = keys;
		c->key_room = room;
	}
	*out = key_slot(c->keys, c->key_room, tag, index);
	return 0;
}

static int entity_find(struct ledger_check *c, const uint8_t *tag, struct entity **out)
{
	struct entity *e;

	if (2 * (c->entity_count + 1) > c->entity_room) {
		size_t room = c->entity_room ? 2 * c->entity_room : 64;
		struct entity *entities = calloc(room, sizeof(*entities));

		if (!entities)
			return -ENOMEM;
		for (size_t i = 0; i < c->entity_room; i++) {
			if (c->entities[i].used)
				*entity_slot(entities, room, c->entities[i].tag) = c->entities[i];
		}
		free(c->entities);
		c->entities = entities;
		c->entity_room = room;
	}
	e = entity_slot(c->entities, c->entity_room, tag);
	if (!e->used) {
		memcpy(e->tag, tag, LEDGER_TAG_SIZE);
		e->used = true;
		c->entity_count++;
	}
	*out = e;
	return 0;
}

/* A key whose issue the ledger cannot show, and why that is no defect. */
static bool may_be_unseen(const struct ledger_check *c, enum key_event event)
{
	if (event == ON_SPENT)
		return c->older && !c->rolled_back;
	return c->older || c->gap;
}

static const enum key_state unseen_next[KEY_EVENT_COUNT] = {
	[ON_ISSUED] = KEY_POOL,
	[ON_SPENT] = KEY_SPENT,
	[ON_INSTALLED] = KEY_INSTALLED,
	[ON_ERASED] = KEY_GONE,
};

static const char *hex_tag(const uint8_t *tag, char out[2 * LEDGER_TAG_SIZE + 1])
{
	(void)hex_encode(bytes_of(tag, LEDGER_TAG_SIZE), out, 2 * LEDGER_TAG_SIZE + 1);
	return out;
}

static int move(struct ledger_check *c, const struct ledger_entry *e, struct key *k,
		enum key_event event)
{
	int next = transitions[k->state][event];
	char tag[2 * LEDGER_TAG_SIZE + 1];

	if (next == BAD_NOT_ISSUED && may_be_unseen(c, event))
		next = (int)unseen_next[event];
	if (next == KEY_POOL && (e->figure == 5 || e->figure == 6 || e->figure == 8))
		next = KEY_RELAYED;
	if (next < 0)
		return defect(c, e->sequence, "key %u of %s is %s, but it %s", e->key_index,
			      hex_tag(e->entity, tag), ledger_event_text(e->event), bad_text(next));
	if (k->state == KEY_ABSENT) {
		memcpy(k->entity, e->entity, LEDGER_TAG_SIZE);
		k->index = e->key_index;
		c->key_count++;
	}
	k->state = (uint8_t)next;
	k->seen_issued = k->seen_issued || event == ON_ISSUED;
	k->ever_spent = k->ever_spent || event == ON_SPENT;
	k->ever_installed = k->ever_installed || event == ON_INSTALLED;
	return 0;
}

static int on_key(struct ledger_check *c, const struct ledger_entry *e, enum key_event event)
{
	char tag[2 * LEDGER_TAG_SIZE + 1];
	struct entity *entity = NULL;
	struct key *k = NULL;
	int r;

	/* Keys are numbered from 1. Material that has no number, a Temporary Key, may be erased. */
	if (e->key_index == 0)
		return event == ON_ERASED ? 0 : defect(c, e->sequence, "it names no key");
	r = entity_find(c, e->entity, &entity);
	if (r == 0)
		r = key_find(c, e->entity, e->key_index, &k);
	if (r != 0)
		return r;
	if (event != ON_ERASED && e->key_index <= entity->revoked)
		return defect(c, e->sequence,
			      "key %u of %s is %s, but its keys up to %u were revoked",
			      e->key_index, hex_tag(e->entity, tag), ledger_event_text(e->event),
			      entity->revoked);
	return move(c, e, k, event);
}

static int on_revoked(struct ledger_check *c, const struct ledger_entry *e)
{
	struct entity *entity = NULL;
	int r = entity_find(c, e->entity, &entity);

	if (r == 0 && e->key_index > entity->revoked)
		entity->revoked = e->key_index;
	return r;
}

/* Whatever was in the pool may have been spent in the state that was lost. */
static int on_rolled_back(struct ledger_check *c, const struct ledger_entry *e)
{
	const uint32_t first = c->state.sequence + 1;

	for (size_t i = 0; i < c->key_room; i++) {
		struct key *k = c->keys + i;

		if (k->state == KEY_POOL)
			k->state = KEY_LOST;
	}
	c->rolled_back = true;
	if (e->sequence > first) {
		c->gap = true;
		if (c->on_gap)
			c->on_gap(c->arg, first, e->sequence - 1, e->sequence);
	}
	return 0;
}

static int meaning(struct ledger_check *c, const struct ledger_entry *e)
{
	switch ((enum ledger_event)e->event) {
	case LEDGER_CREATED:
		if (e->sequence != 1)
			return defect(c, e->sequence, "a ledger is created once");
		c->older = e->reason == LEDGER_REASON_OLDER;
		return 0;
	case LEDGER_ISSUED:
		return on_key(c, e, ON_ISSUED);
	case LEDGER_SPENT:
		return on_key(c, e, ON_SPENT);
	case LEDGER_INSTALLED:
	case LEDGER_RENEWED:
		return on_key(c, e, ON_INSTALLED);
	case LEDGER_REVOKED:
		return on_revoked(c, e);
	case LEDGER_ERASED:
		return on_key(c, e, ON_ERASED);
	case LEDGER_RESET:
		return 0;
	case LEDGER_ROLLED_BACK:
		return on_rolled_back(c, e);
	}
	return defect(c, e->sequence, "there is no event %u", e->event);
}

static int take_header(struct ledger_check *c)
{
	int r = ledger_header_check(c->piece, c->state.vault_id, c->public_key);

	if (r > 0)
		return defect(c, 0, "the header is not a ledger's, or was altered");
	if (r < 0)
		return r;
	if (c->pinned && memcmp(c->pin, c->public_key, KEY_SIZE) != 0)
		return defect(c, 0, "it is signed with another key than the one that was given");
	r = ledger_state_begin(c->piece, &c->state);
	c->has_header = r == 0;
	return r;
}

/* Number, chain and form: what holds for entries of every event. */
static int check_form(struct ledger_check *c, const struct ledger_entry *e)
{
	const uint32_t wanted = c->state.sequence + 1;
	const bool declared = e->event == LEDGER_ROLLED_BACK && e->sequence > wanted;

	if (e->sequence != wanted && !declared)
		return defect(c, wanted, "entry %u is missing, entry %u is in its place", wanted,
			      e->sequence);
	if (memcmp(e->previous, c->state.head, LEDGER_HASH_SIZE) != 0)
		return defect(c, e->sequence, "it does not follow the entry before it");
	if (e->event == LEDGER_ROLLED_BACK && e->key_index != c->state.sequence)
		return defect(c, e->sequence, "it declares another gap than there is");
	if (c->state.sequence == 0 && e->event != LEDGER_CREATED && !declared)
		return defect(c, e->sequence, "a ledger begins with being created, or a gap");
	if (e->reserved != 0 || e->reason > LEDGER_REASON_MAX)
		return defect(c, e->sequence, "it is not of this version of the format");
	return 0;
}

static int check_expected(struct ledger_check *c, uint32_t before)
{
	for (size_t i = 0; i < c->expected_count; i++) {
		const struct ledger_expected *e = c->expected + i;

		if (e->sequence > before && e->sequence < c->state.sequence)
			return defect(c, e->sequence, "%s saw entry %u, which lies in a gap",
				      e->who, e->sequence);
		if (e->sequence == c->state.sequence &&
		    memcmp(e->head, c->state.head, LEDGER_HASH_SIZE) != 0)
			return defect(c, e->sequence, "it is another entry than %s saw", e->who);
	}
	return 0;
}

static int take_entry(struct ledger_check *c)
{
	const uint32_t before = c->state.sequence;
	struct ledger_state next = c->state;
	struct ledger_entry e;
	int r = ledger_entry_verify(c->public_key, c->state.vault_id, c->piece);

	if (r > 0)
		return defect(c, before + 1,
			      "the signature does not verify: the entry was altered");
	if (r < 0)
		return r;
	ledger_entry_decode(c->piece, &e);
	r = check_form(c, &e);
	if (r == 0)
		r = meaning(c, &e);
	if (r == 0)
		r = p1_sha256(bytes_of(c->piece, LEDGER_ENTRY_SIZE), next.head);
	if (r != 0)
		return r;
	next.sequence = e.sequence;
	c->state = next;
	c->entries++;
	return check_expected(c, before);
}

int ledger_check_feed(struct ledger_check *c, struct bytes data)
{
	while (data.size > 0) {
		const size_t whole = c->has_header ? LEDGER_ENTRY_SIZE : LEDGER_HEADER_SIZE;
		size_t now = whole - c->piece_size;
		int r;

		if (c->broken)
			return LEDGER_DEFECT;
		now = now < data.size ? now : data.size;
		memcpy(c->piece + c->piece_size, data.data, now);
		c->piece_size += now;
		data = bytes_of(data.data + now, data.size - now);
		if (c->piece_size < whole)
			return 0;
		r = c->has_header ? take_entry(c) : take_header(c);
		if (r != 0)
			return r;
		c->piece_size = 0;
		c->offset += whole;
	}
	return c->broken ? LEDGER_DEFECT : 0;
}

int ledger_check_end(struct ledger_check *c)
{
	const uint32_t wanted = c->state.sequence + 1;

	if (c->broken)
		return LEDGER_DEFECT;
	if (!c->has_header)
		return defect(c, 0, "the file ends after %zu bytes of its header", c->piece_size);
	if (c->piece_size > 0)
		return defect(c, wanted, "the file ends after %zu of the entry's %d bytes",
			      c->piece_size, LEDGER_ENTRY_SIZE);
	for (size_t i = 0; i < c->expected_count; i++) {
		const struct ledger_expected *e = c->expected + i;

		if (e->sequence > c->state.sequence)
			return defect(c, wanted, "the file ends here, %s saw %u entries", e->who,
				      e->sequence);
	}
	if (c->entries == 0)
		return defect(c, wanted, "there is no entry, not even the first");
	return 0;
}

const struct ledger_defect *ledger_check_defect(const struct ledger_check *c)
{
	return &c->defect;
}

const struct ledger_state *ledger_check_state(const struct ledger_check *c)
{
	return &c->state;
}

const uint8_t *ledger_check_public_key(const struct ledger_check *c)
{
	return c->public_key;
}

uint32_t ledger_check_entries(const struct ledger_check *c)
{
	return c->entries;
}

static void count_key(const struct key *k, const struct entity *e, struct ledger_account *out)
{
	const bool waiting = k->state == KEY_POOL || k->state == KEY_LOST;

	out->installed += k->ever_installed;
	if (!k->seen_issued) {
		out->unseen++;
		return;
	}
	out->issued++;
	if (k->ever_spent)
		out->spent++;
	else if (waiting && k->index <= e->revoked)
		out->revoked++;
	else if (k->state == KEY_POOL)
		out->pool++;
	else if (k->state == KEY_LOST)
		out->lost++;
	else if (k->state == KEY_ERASED)
		out->erased++;
	else
		out->relayed++;
}

void ledger_check_account(const struct ledger_check *c, struct ledger_account *out)
{
	*out = (struct ledger_account){0};
	for (size_t i = 0; i < c->key_room; i++) {
		const struct key *k = c->keys + i;

		if (k->state != KEY_ABSENT)
			count_key(k, entity_slot(c->entities, c->entity_room, k->entity), out);
	}
}

int ledger_check_entities(const struct ledger_check *c, ledger_entity_fn *each, void *arg)
{
	struct ledger_account *accounts = calloc(c->entity_room + 1, sizeof(*accounts));

	if (!accounts)
		return -ENOMEM;
	for (size_t i = 0; i < c->key_room; i++) {
		const struct key *k = c->keys + i;
		const struct entity *e;

		if (k->state == KEY_ABSENT)
			continue;
		e = entity_slot(c->entities, c->entity_room, k->entity);
		count_key(k, e, accounts + (e - c->entities));
	}
	for (size_t i = 0; i < c->entity_room; i++) {
		const struct entity *e = c->entities + i;

		if (e->used)
			each(arg, e->tag, accounts + i, e->revoked);
	}
	free(accounts);
	return 0;
}
