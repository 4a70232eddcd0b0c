#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "storage/ledger-check.h"

/*
 * Ledgers are told as stories: I7a1 is "key 1 of a was issued by Figure 7", S spent, N installed,
 * W renewed, R revoked up to, E erased, T reset, B9 rolled back while 9 entries were known. C is
 * created, O the same with keys from before; a story that begins with neither is given a C.
 */
struct story {
	const char *text;
	uint32_t bad; /* sequence of the entry found wrong, 0: sound */
	const char *says;
};

#define STORY_MAX 64

struct ledger {
	uint8_t bytes[LEDGER_HEADER_SIZE + STORY_MAX * LEDGER_ENTRY_SIZE];
	size_t size;
	struct ledger_state state;
};

struct keys {
	struct secret *signing;
	struct secret *tag;
	uint8_t public_key[KEY_SIZE];
	uint8_t vault_id[LEDGER_VAULT_ID_SIZE];
	struct ledger_signer signer;
};

static void keys_make(struct keys *k, uint8_t seed)
{
	uint8_t raw[KEY_SIZE];

	memset(raw, seed, sizeof(raw));
	k->signing = secret_copy(bytes_of(raw, sizeof(raw)));
	raw[0] ^= 1;
	k->tag = secret_copy(bytes_of(raw, sizeof(raw)));
	memset(k->vault_id, 0x76, sizeof(k->vault_id));
	ck_assert_int_eq(p1_ed25519_public(k->signing, k->public_key), 0);
	k->signer = (struct ledger_signer){k->vault_id, k->public_key, k->signing, k->tag};
}

static void keys_drop(struct keys *k)
{
	secret_unref(k->signing);
	secret_unref(k->tag);
}

static uint8_t *entry_at(struct ledger *l, uint32_t number)
{
	return l->bytes + LEDGER_HEADER_SIZE + (size_t)(number - 1) * LEDGER_ENTRY_SIZE;
}

static void begin(struct ledger *l, const struct keys *k)
{
	ck_assert_int_eq(ledger_header_make(&k->signer, l->bytes), 0);
	ck_assert_int_eq(ledger_state_begin(l->bytes, &l->state), 0);
	l->size = LEDGER_HEADER_SIZE;
}

static void append(struct ledger *l, const struct keys *k, const struct ledger_fact *fact)
{
	ck_assert_uint_le(l->size + LEDGER_ENTRY_SIZE, sizeof(l->bytes));
	ck_assert_int_eq(ledger_entry_make(&k->signer, fact, &l->state, l->bytes + l->size), 0);
	l->size += LEDGER_ENTRY_SIZE;
}

static enum ledger_event event_of(char letter)
{
	static const char letters[] = ".CISNWRETB";

	return (enum ledger_event)(strchr(letters, letter) - letters);
}

static void tell(struct ledger *l, const struct keys *k, const char *text)
{
	struct ledger_fact fact = {.time = 1700000000 + l->size, .user = bytes_text("anna")};

	if (text[0] != 'C' && text[0] != 'O' && text[0] != 'B')
		append(l, k, &(struct ledger_fact){.event = LEDGER_CREATED});
	while (*text) {
		char letter = *text++;
		char entity = '\0';

		fact.reason = letter == 'O' ? LEDGER_REASON_OLDER : LEDGER_REASON_NONE;
		fact.event = letter == 'O' ? LEDGER_CREATED : event_of(letter);
		fact.figure = 7;
		if (letter == 'I')
			fact.figure = (uint8_t)(*text++ - '0');
		if (*text >= 'a' && *text <= 'z')
			entity = *text++;
		fact.entity = bytes_of(&entity, entity ? 1 : 0);
		fact.key_index = 0;
		while (*text >= '0' && *text <= '9')
			fact.key_index = 10 * fact.key_index + (uint32_t)(*text++ - '0');
		fact.known = letter == 'B' ? fact.key_index : 0;
		append(l, k, &fact);
		while (*text == ' ')
			text++;
	}
}

static void make(struct ledger *l, const struct keys *k, const char *text)
{
	begin(l, k);
	tell(l, k, text);
}

/* step: bytes a feed. */
static int verify_in_steps(const struct ledger *l, size_t step,
			   const struct ledger_expected *expected, const uint8_t *key,
			   struct ledger_defect *defect, struct ledger_account *account)
{
	struct ledger_check *c = NULL;
	int r = 0;

	memset(defect, 0, sizeof(*defect));
	ck_assert_int_eq(ledger_check_new(NULL, NULL, &c), 0);
	if (key)
		ledger_check_key(c, key);
	if (expected)
		ck_assert_int_eq(ledger_check_expect(c, expected), 0);
	for (size_t at = 0; r == 0 && at < l->size; at += step)
		r = ledger_check_feed(
			c, bytes_of(l->bytes + at, l->size - at < step ? l->size - at : step));
	if (r == 0)
		r = ledger_check_end(c);
	ck_assert_int_ge(r, 0);
	if (r == LEDGER_DEFECT) {
		*defect = *ledger_check_defect(c);
		ck_assert_int_eq(ledger_check_feed(c, bytes_of("", 1)), LEDGER_DEFECT);
		ck_assert_int_eq(ledger_check_end(c), LEDGER_DEFECT);
		ck_assert_uint_gt(strlen(defect->text), 10);
	}
	if (account)
		ledger_check_account(c, account);
	ledger_check_free(c);
	return r;
}

static int verify(const struct ledger *l, const struct ledger_expected *expected,
		  struct ledger_defect *defect)
{
	return verify_in_steps(l, 4096, expected, NULL, defect, NULL);
}

static struct ledger_expected newest(const struct ledger *l)
{
	struct ledger_expected e = {.sequence = l->state.sequence, .who = "the test"};

	memcpy(e.head, l->state.head, sizeof(e.head));
	return e;
}

static const struct story stories[] = {
	{"C", 0, NULL},
	{"I7a1 I7a2 I7b1 Sa1 Na1 Ea1 Sa2 Wa2", 0, NULL},
	{"I7a1 I7a2 Ea1 Ea2 Ea2", 0, NULL},
	{"I5a1 Na1 I6b1 Nb1 I8g1 Ng1 Eg1", 0, NULL},
	{"I7a1 Sa1 Ea1", 0, NULL},
	{"I7a1 Sa1 Na1 Na1", 0, NULL},
	{"I7a1 Ea0 Ta", 0, NULL},
	{"I7a1 I7a2 Ra2 Ea1 Ea2 Ta I7a3 Sa3 Na3", 0, NULL},
	{"I7a1 Ea1 Ra1 Ta I7b1 Sb1", 0, NULL},
	{"I7a1 I7a2 Sa1 B4 Ea2 I7a3 Sa3 Na3 Na1", 0, NULL},
	{"I7a1 B9 Ea1 Ea2 Na3 I7a4 Sa4", 0, NULL},
	{"O Sa1 Na1 Eb3 I7b4 Sb4", 0, NULL},
	{"O Sa1 B9 Na2 Ea4", 0, NULL},
	{"O Sa1 B Na2 Ea4 I7a5 Sa5", 0, NULL},
	{"B9 Na2 Ea4 I7a5 Sa5", 0, NULL},

	{"I7a1 Ca1", 3, "created once"},
	{"I7a1 I7a1", 3, "issued before"},
	{"I7a1 Sa1 I7a1", 4, "issued before"},
	{"I7a1 Sa1 Na1 Ea1 I7a1", 6, "issued before"},
	{"I5a1 I7a1", 3, "issued before"},
	{"Sa1", 2, "never issued"},
	{"I7a1 Sb1", 3, "never issued"},
	{"I7a1 Sa2", 3, "never issued"},
	{"Na1", 2, "never issued"},
	{"Ea1", 2, "never issued"},
	{"I7a1 Na1", 3, "without having been spent"},
	{"I7a1 Sa1 Sa1", 4, "spent before"},
	{"I7a1 Sa1 Na1 Sa1", 5, "installed before"},
	{"I5a1 Sa1", 3, "never in the pool"},
	{"I7a1 Ea1 Sa1", 4, "erased before"},
	{"I7a1 Ea1 Na1", 4, "erased before"},
	{"I7a1 Sa1 Ea1 Sa1", 5, "erased before"},
	{"I7a1 Sa1 Ea1 Wa1", 5, "erased before"},
	{"I7a1 I7a2 Ra1 Sa2 Sa1", 6, "up to 1 were revoked"},
	{"I7a1 Sa1 Ra1 Na1", 5, "up to 1 were revoked"},
	{"I7a1 Sa1 Ra1 Wa1", 5, "up to 1 were revoked"},
	{"Ra4 Ra2 I7a3", 4, "up to 4 were revoked"},
	{"I7a1 B2 Sa1", 4, "before a rollback"},
	{"I7a1 B9 Sa1", 11, "before a rollback"},
	{"I7a1 B9 Sa2", 11, "never issued"},
	{"O B9 Sa2", 11, "never issued"},
	{"O Sa1 B Sa2", 4, "never issued"},
	{"B0", 1, "begins with being created, or a gap"},
	{"B9 Sa2", 11, "never issued"},
	{"I7a1 B9 I7a1", 11, "issued before"},
	{"I7a0", 2, "names no key"},
	{"I7a1 Sa0", 3, "names no key"},
};
#define STORY_COUNT ((int)(sizeof(stories) / sizeof(stories[0])))

static void assert_story(const struct story *s, const struct ledger *l, int r,
			 const struct ledger_defect *d)
{
	ck_assert_msg(r == (s->bad ? LEDGER_DEFECT : 0), "%s: %d %s", s->text, r, d->text);
	if (r == 0)
		return;
	ck_assert_msg(d->sequence == s->bad, "%s: entry %u: %s", s->text, d->sequence, d->text);
	ck_assert_msg(strstr(d->text, s->says) != NULL, "%s: %s", s->text, d->text);
	/* In each of them the last entry is the wrong one. */
	ck_assert_uint_eq(d->offset, l->size - LEDGER_ENTRY_SIZE);
}

START_TEST(test_stories)
{
	static const size_t steps[] = {1, 7, LEDGER_ENTRY_SIZE, 1 << 20};
	struct ledger_defect d;
	struct ledger l;
	struct keys k;

	keys_make(&k, 3);
	make(&l, &k, stories[_i].text);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		int r = verify_in_steps(&l, steps[i], NULL, k.public_key, &d, NULL);

		assert_story(stories + _i, &l, r, &d);
	}
	keys_drop(&k);
}
END_TEST

START_TEST(test_account)
{
	struct ledger_account a;
	struct ledger_defect d;
	struct ledger l;
	struct keys k;

	keys_make(&k, 3);
	make(&l, &k,
	     "I7a1 I7a2 I7a3 I7a4 I7a5 I5b1 Nb1 I6c1 Sa1 Na1 Ea1 Sa2 Ea3 B0 Na4 I7a6 I7a7"
	     " I7d1 I7d2 Rd1 I7e1 Re1 Ee1");
	ck_assert_int_eq(verify_in_steps(&l, 4096, NULL, NULL, &d, &a), 0);
	ck_assert_uint_eq(a.issued, 12);
	ck_assert_uint_eq(a.spent, 2);
	ck_assert_uint_eq(a.relayed, 3); /* a4: installed, although its spending was lost */
	ck_assert_uint_eq(a.erased, 2);
	ck_assert_uint_eq(a.lost, 1);
	ck_assert_uint_eq(a.revoked, 1);
	ck_assert_uint_eq(a.pool, 3);
	ck_assert_uint_eq(a.installed, 3);
	ck_assert_uint_eq(a.unseen, 0);
	ck_assert_uint_eq(a.issued, a.pool + a.relayed + a.spent + a.erased + a.revoked + a.lost);
	make(&l, &k, "O Sa1 I7a2 B20 Na9");
	ck_assert_int_eq(verify_in_steps(&l, 4096, NULL, NULL, &d, &a), 0);
	ck_assert_uint_eq(a.unseen, 2);
	ck_assert_uint_eq(a.issued, 1);
	ck_assert_uint_eq(a.lost, 1);
	keys_drop(&k);
}
END_TEST

static const char sample[] = "I7a1 I7a2 Sa1 Na1 B9 Ea2";

/* Of the byte at offset: which entry it belongs to, counted from 1; 0 is the header. */
static uint32_t place_of(size_t offset)
{
	if (offset < LEDGER_HEADER_SIZE)
		return 0;
	return (uint32_t)((offset - LEDGER_HEADER_SIZE) / LEDGER_ENTRY_SIZE) + 1;
}

static uint64_t offset_of(uint32_t place)
{
	return place ? LEDGER_HEADER_SIZE + (uint64_t)(place - 1) * LEDGER_ENTRY_SIZE : 0;
}

/* Under valgrind every seventh place has to do. */
static size_t stride(void)
{
	return getenv("PNGW_VALGRIND") ? 7 : 1;
}

/* The sample's gap is behind its fifth entry: what comes at its sixth place is numbered 6 still. */
START_TEST(test_flipped)
{
	struct ledger_defect d;
	struct ledger l;
	struct keys k;

	keys_make(&k, 3);
	make(&l, &k, sample);
	for (size_t at = 0; at < l.size; at += stride()) {
		const uint32_t place = place_of(at);

		l.bytes[at] ^= (uint8_t)(1 << at % 8);
		ck_assert_msg(verify(&l, NULL, &d) == LEDGER_DEFECT, "byte %zu", at);
		ck_assert_msg(d.offset == offset_of(place), "byte %zu is placed at %lu: %s", at,
			      (unsigned long)d.offset, d.text);
		ck_assert_uint_eq(d.sequence, place < 7 ? place : 11);
		l.bytes[at] ^= (uint8_t)(1 << at % 8);
	}
	ck_assert_int_eq(verify(&l, NULL, &d), 0);
	keys_drop(&k);
}
END_TEST

START_TEST(test_cut)
{
	struct ledger_expected head;
	struct ledger_defect d;
	struct ledger l;
	struct keys k;
	size_t whole;

	keys_make(&k, 3);
	make(&l, &k, sample);
	head = newest(&l);
	whole = l.size;
	ck_assert_int_eq(verify(&l, &head, &d), 0);
	for (l.size = 0; l.size < whole; l.size += stride()) {
		const uint32_t place = place_of(l.size);
		const bool torn = l.size != offset_of(place);

		ck_assert_int_eq(verify(&l, &head, &d), LEDGER_DEFECT);
		ck_assert_uint_eq(d.offset, offset_of(place));
		ck_assert_uint_eq(d.sequence, place < 7 ? place : 11);
		/* Without a head whole entries cannot be missed, but a torn one is. */
		ck_assert_int_eq(verify(&l, NULL, &d),
				 torn || l.size <= LEDGER_HEADER_SIZE ? LEDGER_DEFECT : 0);
	}
	keys_drop(&k);
}
END_TEST

START_TEST(test_expected)
{
	struct ledger_expected head;
	struct ledger_defect d;
	struct ledger l;
	struct keys k;

	keys_make(&k, 3);
	make(&l, &k, "I7a1");
	head = newest(&l);
	make(&l, &k, "I7a1 Sa1");
	ck_assert_int_eq(verify(&l, &head, &d), 0);
	head.head[31] ^= 1;
	ck_assert_int_eq(verify(&l, &head, &d), LEDGER_DEFECT);
	ck_assert_uint_eq(d.sequence, 2);
	ck_assert_ptr_nonnull(strstr(d.text, "another entry than the test saw"));
	make(&l, &k, "I7a1 B9 Ea1");
	head.sequence = 5;
	ck_assert_int_eq(verify(&l, &head, &d), LEDGER_DEFECT);
	ck_assert_uint_eq(d.sequence, 5);
	ck_assert_uint_eq(d.offset, offset_of(3));
	ck_assert_ptr_nonnull(strstr(d.text, "lies in a gap"));
	keys_drop(&k);
}
END_TEST

/* Whole entries moved, left out, repeated. */
START_TEST(test_rearranged)
{
	struct ledger_defect d;
	struct ledger l, copy;
	struct keys k;

	keys_make(&k, 3);
	make(&l, &k, "I7a1 I7b1 I7c1 I7d1");
	copy = l;
	memcpy(entry_at(&copy, 3), entry_at(&l, 4), LEDGER_ENTRY_SIZE);
	memcpy(entry_at(&copy, 4), entry_at(&l, 3), LEDGER_ENTRY_SIZE);
	ck_assert_int_eq(verify(&copy, NULL, &d), LEDGER_DEFECT);
	ck_assert_uint_eq(d.sequence, 3);
	ck_assert_str_eq(d.text, "entry 3 is missing, entry 4 is in its place");
	copy = l;
	memmove(entry_at(&copy, 2), entry_at(&l, 3), 3 * LEDGER_ENTRY_SIZE);
	copy.size -= LEDGER_ENTRY_SIZE;
	ck_assert_int_eq(verify(&copy, NULL, &d), LEDGER_DEFECT);
	ck_assert_uint_eq(d.sequence, 2);
	copy = l;
	memmove(entry_at(&copy, 4), entry_at(&l, 3), 3 * LEDGER_ENTRY_SIZE);
	copy.size += LEDGER_ENTRY_SIZE;
	ck_assert_int_eq(verify(&copy, NULL, &d), LEDGER_DEFECT);
	ck_assert_uint_eq(d.sequence, 4);
	keys_drop(&k);
}
END_TEST

/* Two histories that the same key signed, and the tail of one behind the head of the other. */
START_TEST(test_spliced)
{
	struct ledger_defect d;
	struct ledger l, other;
	struct keys k;

	keys_make(&k, 3);
	make(&l, &k, "I7a1 I7b1 I7c1");
	make(&other, &k, "I7a1 I7x1 I7c1");
	memcpy(entry_at(&l, 4), entry_at(&other, 4), LEDGER_ENTRY_SIZE);
	ck_assert_int_eq(verify(&l, NULL, &d), LEDGER_DEFECT);
	ck_assert_uint_eq(d.sequence, 4);
	ck_assert_str_eq(d.text, "it does not follow the entry before it");
	keys_drop(&k);
}
END_TEST

START_TEST(test_other_key)
{
	struct ledger_defect d;
	struct ledger l, other;
	struct keys k, thief;

	keys_make(&k, 3);
	keys_make(&thief, 4);
	make(&l, &k, "I7a1");
	/* The next entry is well made, but by another key. */
	other = l;
	append(&other, &thief,
	       &(struct ledger_fact){
		       .event = LEDGER_SPENT, .entity = bytes_text("a"), .key_index = 1});
	ck_assert_int_eq(verify(&other, NULL, &d), LEDGER_DEFECT);
	ck_assert_uint_eq(d.sequence, 3);
	ck_assert_ptr_nonnull(strstr(d.text, "signature"));
	/* All of it is by another key: sound, but not ours. */
	make(&other, &thief, "I7a1");
	ck_assert_int_eq(verify(&other, NULL, &d), 0);
	ck_assert_int_eq(verify_in_steps(&other, 4096, NULL, k.public_key, &d, NULL),
			 LEDGER_DEFECT);
	ck_assert_uint_eq(d.sequence, 0);
	ck_assert_uint_eq(d.offset, 0);
	/* Another vault's header in front of ours. */
	memset(thief.vault_id, 1, sizeof(thief.vault_id));
	ck_assert_int_eq(ledger_header_make(&thief.signer, other.bytes), 0);
	memcpy(l.bytes, other.bytes, LEDGER_HEADER_SIZE);
	ck_assert_int_eq(verify(&l, NULL, &d), LEDGER_DEFECT);
	ck_assert_uint_eq(d.sequence, 1);
	keys_drop(&k);
	keys_drop(&thief);
}
END_TEST

/* Signed, so only by a faulty or newer writer, but not of the form. */
static void assert_form(const struct keys *k, size_t at, uint8_t value, uint32_t bad)
{
	struct ledger_defect d;
	struct p1_context c;
	struct ledger l;
	uint8_t *entry;

	make(&l, k, "I7a5");
	entry = entry_at(&l, 2);
	entry[at] = value;
	p1_context_begin(&c, "pngw ledger");
	p1_context_add(&c, bytes_of(k->vault_id, sizeof(k->vault_id)));
	p1_context_add(&c, bytes_of(entry, LEDGER_ENTRY_SIZE - P1_SIGNATURE_SIZE));
	ck_assert_int_eq(p1_ed25519_sign(k->signing, k->public_key, bytes_of(c.data, c.size),
					 entry + LEDGER_ENTRY_SIZE - P1_SIGNATURE_SIZE),
			 0);
	ck_assert_int_eq(verify(&l, NULL, &d), LEDGER_DEFECT);
	ck_assert_uint_eq(d.sequence, bad);
}

START_TEST(test_form)
{
	struct ledger_defect d;
	struct ledger l;
	struct keys k;

	keys_make(&k, 3);
	assert_form(&k, 3, 9, 2);  /* sequence */
	assert_form(&k, 12, 0, 2); /* event */
	assert_form(&k, 12, 77, 2);
	assert_form(&k, 12, LEDGER_ROLLED_BACK, 2);
	assert_form(&k, 13, 77, 2); /* reason */
	assert_form(&k, 15, 1, 2);  /* reserved */
	assert_form(&k, 56, 0, 2);  /* previous */
	begin(&l, &k);
	ck_assert_int_eq(verify(&l, NULL, &d), LEDGER_DEFECT);
	append(&l, &k, &(struct ledger_fact){.event = LEDGER_ISSUED, .key_index = 1});
	ck_assert_int_eq(verify(&l, NULL, &d), LEDGER_DEFECT);
	ck_assert_uint_eq(d.sequence, 1);
	keys_drop(&k);
}
END_TEST

START_TEST(test_refused_facts)
{
	struct ledger_state before, state;
	uint8_t entry[LEDGER_ENTRY_SIZE];
	struct ledger_fact fact = {.event = (enum ledger_event)0};
	struct ledger l;
	struct keys k;
	char name[NAME_MAX_SIZE + 1];

	keys_make(&k, 3);
	begin(&l, &k);
	state = before = l.state;
	memset(name, 'x', sizeof(name));
	ck_assert_int_eq(ledger_entry_make(&k.signer, &fact, &state, entry), -EINVAL);
	fact.event = (enum ledger_event)(LEDGER_EVENT_MAX + 1);
	ck_assert_int_eq(ledger_entry_make(&k.signer, &fact, &state, entry), -EINVAL);
	fact.event = LEDGER_ISSUED;
	fact.entity = bytes_of(name, sizeof(name));
	ck_assert_int_eq(ledger_entry_make(&k.signer, &fact, &state, entry), -EINVAL);
	fact.entity.size = NAME_MAX_SIZE;
	ck_assert_int_eq(memcmp(&state, &before, sizeof(state)), 0);
	state.sequence = UINT32_MAX;
	ck_assert_int_eq(ledger_entry_make(&k.signer, &fact, &state, entry), -EOVERFLOW);
	state.sequence = UINT32_MAX - 1;
	ck_assert_int_eq(ledger_entry_make(&k.signer, &fact, &state, entry), 0);
	ck_assert_uint_eq(state.sequence, UINT32_MAX);
	keys_drop(&k);
}
END_TEST

struct entities {
	unsigned count;
	uint32_t issued;
	uint32_t revoked;
};

static void on_entity(void *arg, const uint8_t entity[LEDGER_TAG_SIZE],
		      const struct ledger_account *account, uint32_t revoked)
{
	struct entities *seen = arg;

	(void)entity;
	seen->count++;
	seen->issued += account->issued;
	seen->revoked += revoked;
}

/* More keys and entities than the tables begin with. */
START_TEST(test_many)
{
	struct entities seen = {0};
	struct ledger_check *c = NULL;
	struct ledger_account a;
	struct ledger_fact fact = {.event = LEDGER_CREATED};
	static uint8_t entry[LEDGER_ENTRY_SIZE];
	struct ledger l;
	struct keys k;

	keys_make(&k, 3);
	begin(&l, &k);
	ck_assert_int_eq(ledger_check_new(NULL, NULL, &c), 0);
	ck_assert_int_eq(ledger_check_feed(c, bytes_of(l.bytes, LEDGER_HEADER_SIZE)), 0);
	for (uint32_t i = 0; i <= 300; i++) {
		char name[16];

		snprintf(name, sizeof(name), "pne%u", i % 100);
		if (i > 0)
			fact = (struct ledger_fact){.event = LEDGER_ISSUED,
						    .figure = 7,
						    .entity = bytes_text(name),
						    .key_index = i};
		if (i == 300)
			fact.event = LEDGER_REVOKED;
		ck_assert_int_eq(ledger_entry_make(&k.signer, &fact, &l.state, entry), 0);
		ck_assert_int_eq(ledger_check_feed(c, bytes_of(entry, sizeof(entry))), 0);
	}
	ck_assert_int_eq(ledger_check_end(c), 0);
	ledger_check_account(c, &a);
	ck_assert_uint_eq(a.issued, 299);
	ck_assert_uint_eq(a.revoked, 2);
	ck_assert_uint_eq(a.pool, 297);
	ck_assert_int_eq(ledger_check_entities(c, on_entity, &seen), 0);
	ck_assert_uint_eq(seen.count, 100);
	ck_assert_uint_eq(seen.issued, 299);
	ck_assert_uint_eq(seen.revoked, 300);
	ledger_check_free(c);
	keys_drop(&k);
}
END_TEST

static void write_ledger(const char *directory, const char *name, const struct ledger *l)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.ledger", directory, name);
	f = fopen(path, "wb");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(l->bytes, 1, l->size, f), l->size);
	ck_assert_int_eq(fclose(f), 0);
}

/* For the tests of the program and of the second verifier: sound and unsound ledgers as files. */
START_TEST(test_write)
{
	const char *directory = getenv("LEDGER_DIRECTORY");
	struct ledger l;
	struct keys k;
	char name[64];
	size_t whole;

	keys_make(&k, 3);
	for (int i = 0; i < STORY_COUNT; i++) {
		make(&l, &k, stories[i].text);
		snprintf(name, sizeof(name), "%s-story-%02d", stories[i].bad ? "bad" : "good", i);
		write_ledger(directory, name, &l);
	}
	make(&l, &k, sample);
	write_ledger(directory, "good-sample", &l);
	whole = l.size;
	for (size_t at = 0; at < whole; at += 13) {
		l.bytes[at] ^= (uint8_t)(1 << at % 8);
		snprintf(name, sizeof(name), "bad-flip-%04zu", at);
		write_ledger(directory, name, &l);
		l.bytes[at] ^= (uint8_t)(1 << at % 8);
		l.size = at;
		/* A whole number of entries looks sound, short of a head. */
		snprintf(name, sizeof(name), "cut-%04zu", at);
		write_ledger(directory, name, &l);
		l.size = whole;
	}
	keys_drop(&k);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ledger");
	TCase *t = tcase_create("ledger");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_stories, 0, STORY_COUNT);
	tcase_add_test(t, test_account);
	tcase_add_test(t, test_flipped);
	tcase_add_test(t, test_cut);
	tcase_add_test(t, test_expected);
	tcase_add_test(t, test_rearranged);
	tcase_add_test(t, test_spliced);
	tcase_add_test(t, test_other_key);
	tcase_add_test(t, test_form);
	tcase_add_test(t, test_refused_facts);
	tcase_add_test(t, test_many);
	if (getenv("LEDGER_DIRECTORY"))
		tcase_add_test(t, test_write);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
