/* Revocations as records, and how they merge: no core, no PNE. */

#include "gateway/revoke.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTITY "headset-1"

struct rig {
	char folder[64];
	struct vault *vault;
	struct name entity, alice, bob;
};

static void done(void *arg, int result)
{
	(void)arg;
	ck_assert_int_eq(result, 0);
}

static void rig_open(struct rig *r)
{
	char path[128], key[128], why[256] = "";
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key};
	struct vault_options options = {
		.path = path, .openers = &opener, .opener_count = 1, .create = true};

	(void)snprintf(path, sizeof(path), "%s/vault", r->folder);
	(void)snprintf(key, sizeof(key), "%s/key", r->folder);
	ck_assert_msg(vault_open(&options, &r->vault, why, sizeof(why)) == 0, "%s", why);
}

static void rig_begin(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	strcpy(r->folder, "/tmp/test-revoke-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(r->folder));
	ck_assert_int_eq(name_set(&r->entity, bytes_text(ENTITY)), 0);
	ck_assert_int_eq(name_set(&r->alice, bytes_text("alice")), 0);
	ck_assert_int_eq(name_set(&r->bob, bytes_text("bob")), 0);
	rig_open(r);
}

static void rig_end(struct rig *r)
{
	char command[128];

	vault_close(r->vault);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", r->folder);
	ck_assert_int_eq(system(command), 0);
	ck_assert_uint_eq(secret_count(), 0);
}

static void write_now(struct rig *r, struct vault_batch *b)
{
	ck_assert_int_eq(vault_submit(r->vault, b, done, NULL), 0);
	(void)vault_flush(r->vault);
}

static void put_key(struct rig *r, const struct name *user, uint32_t index, enum key_state state)
{
	SCOPED_SECRET *key = secret_random(KEY_SIZE);
	struct vault_batch *b = vault_batch_new();

	ck_assert_ptr_nonnull(key);
	records_put_eukey(b, &r->entity, user, index, key, state, 0);
	write_now(r, b);
}

static struct reset_attempt attempt(const struct rig *r, uint8_t fill, size_t count)
{
	struct reset_attempt a = {.user = r->alice, .count = count};

	memset(a.id.b, fill, sizeof(a.id.b));
	for (size_t i = 0; i < count; i++) {
		a.keys[i].index = (uint32_t)(fill * 100U + i);
		memset(a.keys[i].proof, fill, P1_MAC_SIZE);
		memset(a.keys[i].confirmation, (int)(fill + 50 + i), P1_MAC_SIZE);
	}
	return a;
}

START_TEST(a_record_is_read_as_it_was_written)
{
	struct rig rig;
	struct revocation r = {.epoch = 7,
			       .key_index = 99,
			       .reset = RESET_UNCONFIRMED,
			       .told = true,
			       .by_server = true,
			       .forgotten = true,
			       .since = UINT64_C(0x123456789abc),
			       .seen = STATUS_TRIGGER_REJECTED,
			       .seen_index = 101};
	struct revocation back;
	struct vault_batch *b = vault_batch_new();
	uint32_t index;

	rig_begin(&rig);
	ck_assert_int_eq(revocation_get(rig.vault, &rig.entity, &back), VAULT_ABSENT);
	ck_assert_uint_eq(back.epoch, 0);
	ck_assert_int_eq(revocation_index(rig.vault, &rig.entity, &index), 0);
	ck_assert_uint_eq(index, 0);
	r.entity = rig.entity;
	for (uint8_t i = 1; i <= RESET_ATTEMPTS_MAX; i++) {
		struct reset_attempt a = attempt(&rig, i, i == 1 ? RESET_KEYS_MAX : i);

		revocation_add_attempt(&r, &a);
	}
	revocation_put(b, &r);
	write_now(&rig, b);
	ck_assert_int_eq(revocation_get(rig.vault, &rig.entity, &back), 0);
	ck_assert(name_equal(&back.entity, &r.entity));
	ck_assert_uint_eq(back.epoch, 7);
	ck_assert_uint_eq(back.key_index, 99);
	ck_assert_int_eq(back.reset, RESET_UNCONFIRMED);
	ck_assert(back.told && back.by_server && back.forgotten);
	ck_assert_uint_eq(back.since, r.since);
	ck_assert_int_eq(back.seen, STATUS_TRIGGER_REJECTED);
	ck_assert_uint_eq(back.seen_index, 101);
	ck_assert_uint_eq(back.attempts_count, RESET_ATTEMPTS_MAX);
	for (size_t i = 0; i < RESET_ATTEMPTS_MAX; i++) {
		const struct reset_attempt *x = &r.attempts[i], *y = &back.attempts[i];

		ck_assert(message_id_equal(&x->id, &y->id));
		ck_assert(name_equal(&x->user, &y->user));
		ck_assert_uint_eq(x->count, y->count);
		for (size_t k = 0; k < x->count; k++) {
			ck_assert_uint_eq(x->keys[k].index, y->keys[k].index);
			ck_assert_mem_eq(x->keys[k].proof, y->keys[k].proof, P1_MAC_SIZE);
			ck_assert_mem_eq(x->keys[k].confirmation, y->keys[k].confirmation,
					 P1_MAC_SIZE);
		}
	}
	ck_assert_int_eq(revocation_index(rig.vault, &rig.entity, &index), 0);
	ck_assert_uint_eq(index, 99);
	rig_end(&rig);
}
END_TEST

START_TEST(the_oldest_attempt_makes_room)
{
	struct revocation r = {.epoch = 1};
	struct rig rig;

	rig_begin(&rig);
	for (uint8_t i = 1; i <= RESET_ATTEMPTS_MAX + 1; i++) {
		struct reset_attempt a = attempt(&rig, i, 1);

		revocation_add_attempt(&r, &a);
		revocation_add_attempt(&r, &a);
	}
	ck_assert_uint_eq(r.attempts_count, RESET_ATTEMPTS_MAX);
	ck_assert_uint_eq(r.attempts[0].id.b[0], 2);
	ck_assert_uint_eq(r.attempts[RESET_ATTEMPTS_MAX - 1].id.b[0], RESET_ATTEMPTS_MAX + 1);
	rig_end(&rig);
}
END_TEST

/* Two users' keys were sent; those that were not sent prove nothing. */
START_TEST(attempts_are_made_of_what_was_sent)
{
	struct revocation r = {.epoch = 1};
	struct rig rig;

	rig_begin(&rig);
	r.entity = rig.entity;
	for (uint32_t i = 1; i <= 10; i++)
		put_key(&rig, &rig.alice, i, i == 10 ? KEY_DELIVERED : KEY_ISSUED);
	put_key(&rig, &rig.bob, 11, KEY_ISSUED);
	put_key(&rig, &rig.bob, 12, KEY_UNSPENT);
	ck_assert_int_eq(revocation_prepare(&r, rig.vault, UINT32_MAX), 0);
	ck_assert_uint_eq(r.key_index, 12);
	ck_assert_uint_eq(r.attempts_count, 2);
	ck_assert(name_equal(&r.attempts[0].user, &rig.bob));
	ck_assert_uint_eq(r.attempts[0].count, 1);
	ck_assert_uint_eq(r.attempts[0].keys[0].index, 11);
	ck_assert(name_equal(&r.attempts[1].user, &rig.alice));
	ck_assert_uint_eq(r.attempts[1].count, RESET_KEYS_MAX - 1);
	for (uint32_t i = 0; i < RESET_KEYS_MAX - 1; i++)
		ck_assert_uint_eq(r.attempts[1].keys[i].index, 10 - i);
	/* The server revoked up to 5: what came after is no concern. */
	memset(&r, 0, sizeof(r));
	r.entity = rig.entity;
	ck_assert_int_eq(revocation_prepare(&r, rig.vault, 5), 0);
	ck_assert_uint_eq(r.key_index, 5);
	ck_assert_uint_eq(r.attempts_count, 1);
	ck_assert_uint_eq(r.attempts[0].count, 5);
	rig_end(&rig);
}
END_TEST

/* epoch, key index and reset here, at the server, and afterwards; what that means. */
static const struct merge_row {
	uint32_t epoch, index;
	enum reset_state reset;
	uint32_t server_epoch, server_index;
	enum reset_state server_reset;
	uint32_t after_epoch, after_index;
	enum reset_state after_reset;
	enum revocation_change change;
} merges[] = {
	{0, 0, RESET_NONE, 0, 0, RESET_NONE, 0, 0, RESET_NONE, REVOCATION_SAME},
	{0, 0, RESET_NONE, 1, 5, RESET_UNCONFIRMED, 1, 5, RESET_UNCONFIRMED, REVOCATION_RAISED},
	{1, 5, RESET_UNCONFIRMED, 0, 0, RESET_NONE, 1, 5, RESET_UNCONFIRMED, REVOCATION_SAME},
	{1, 5, RESET_UNCONFIRMED, 1, 5, RESET_UNCONFIRMED, 1, 5, RESET_UNCONFIRMED,
	 REVOCATION_SAME},
	{1, 5, RESET_UNCONFIRMED, 1, 9, RESET_UNCONFIRMED, 1, 9, RESET_UNCONFIRMED,
	 REVOCATION_RAISED},
	{1, 9, RESET_UNCONFIRMED, 1, 5, RESET_CONFIRMED, 1, 9, RESET_CONFIRMED,
	 REVOCATION_CONFIRMED},
	{1, 5, RESET_CONFIRMED, 1, 5, RESET_UNCONFIRMED, 1, 5, RESET_CONFIRMED, REVOCATION_SAME},
	{1, 5, RESET_CONFIRMED, 2, 5, RESET_UNCONFIRMED, 2, 5, RESET_UNCONFIRMED,
	 REVOCATION_RAISED},
	{2, 9, RESET_UNCONFIRMED, 3, 5, RESET_UNCONFIRMED, 3, 9, RESET_UNCONFIRMED,
	 REVOCATION_RAISED},
	{2, 9, RESET_UNCONFIRMED, 1, 12, RESET_CONFIRMED, 2, 9, RESET_UNCONFIRMED, REVOCATION_SAME},
	{1, 5, RESET_UNCONFIRMED, 2, 9, RESET_CONFIRMED, 2, 9, RESET_CONFIRMED, REVOCATION_RAISED},
};
#define MERGES (sizeof(merges) / sizeof(merges[0]))

START_TEST(both_sides_merge_by_the_higher)
{
	const struct merge_row *row = &merges[_i];
	struct revocation r = {
		.epoch = row->epoch, .key_index = row->index, .reset = row->reset, .told = true};
	struct m_element_state server = {.epoch = row->server_epoch,
					 .key_index = row->server_index,
					 .reset = row->server_reset};

	ck_assert_int_eq(revocation_merge(&r, &server), row->change);
	ck_assert_uint_eq(r.epoch, row->after_epoch);
	ck_assert_uint_eq(r.key_index, row->after_index);
	ck_assert_int_eq(r.reset, row->after_reset);
	ck_assert(r.by_server == (row->server_epoch > row->epoch));
	/* Once more changes nothing. */
	ck_assert_int_eq(revocation_merge(&r, &server), REVOCATION_SAME);
}
END_TEST

static struct m_reset_authorization authorization(uint32_t epoch, uint32_t index, uint8_t *id)
{
	static uint8_t mac[P1_MAC_SIZE];

	return (struct m_reset_authorization){.entity_id = bytes_text(ENTITY),
					      .user_id = bytes_text("alice"),
					      .epoch = epoch,
					      .key_index = index,
					      .message_id = bytes_of(id, MESSAGE_ID_SIZE),
					      .proof = bytes_of(mac, sizeof(mac)),
					      .confirmation = bytes_of(mac, sizeof(mac))};
}

START_TEST(proofs_of_one_request_come_one_by_one)
{
	uint8_t first[MESSAGE_ID_SIZE] = {1}, second[MESSAGE_ID_SIZE] = {2};
	struct revocation r = {.epoch = 2, .reset = RESET_UNCONFIRMED};
	struct m_reset_authorization a = authorization(2, 5, first);

	ck_assert(!revocation_wants_reset(&r));
	ck_assert(revocation_authorize(&r, &a));
	ck_assert(!revocation_authorize(&r, &a));
	a = authorization(2, 6, first);
	ck_assert(revocation_authorize(&r, &a));
	ck_assert_uint_eq(r.attempts_count, 1);
	ck_assert_uint_eq(r.attempts[0].count, 2);
	a = authorization(1, 3, second);
	ck_assert(revocation_authorize(&r, &a));
	ck_assert_uint_eq(r.attempts_count, 2);
	ck_assert(revocation_wants_reset(&r));
	/* Another user's cannot be in the same request. */
	a = authorization(2, 7, first);
	a.user_id = bytes_text("bob");
	ck_assert(!revocation_authorize(&r, &a));
	/* Of an epoch that is not heard of yet, or when none is wanted. */
	a = authorization(3, 9, second);
	ck_assert(!revocation_authorize(&r, &a));
	r.forgotten = true;
	ck_assert(!revocation_wants_reset(&r));
	revocation_confirm(&r);
	a = authorization(2, 9, second);
	ck_assert(!revocation_authorize(&r, &a));
	ck_assert_uint_eq(r.attempts_count, 0);
}
END_TEST

START_TEST(only_the_right_answer_confirms)
{
	struct message m = {.kind = MESSAGE_pne_reset_response};
	struct m_pne_reset_response *q = &m.pne_reset_response;
	struct revocation r = {.epoch = 1, .reset = RESET_UNCONFIRMED, .told = true};
	struct message_id id, other = {{9}};
	struct receipt receipt = {.status = STATUS_STORAGE_FAILED};
	struct name gateway;
	struct rig rig;
	struct reset_attempt a;
	uint8_t wrong[P1_MAC_SIZE] = {0};
	char seen[160];

	rig_begin(&rig);
	r.entity = rig.entity;
	a = attempt(&rig, 3, 2);
	revocation_add_attempt(&r, &a);
	id = a.id;
	ck_assert_int_eq(name_set(&gateway, bytes_text("gateway-1")), 0);
	q->status = STATUS_OK;
	q->key_index = 301;
	q->confirmation = bytes_of(a.keys[1].confirmation, P1_MAC_SIZE);
	message_envelope(&m, &other, &other, &rig.entity, &gateway);
	ck_assert_int_eq(revocation_answered(&r, &m), REVOCATION_SAME);
	message_envelope(&m, &other, &id, &gateway, &rig.entity);
	ck_assert_int_eq(revocation_answered(&r, &m), REVOCATION_SAME);
	message_envelope(&m, &other, &id, &rig.entity, &gateway);
	ck_assert_str_eq(revocation_seen(&r, seen, sizeof(seen)), "");
	q->confirmation = bytes_of(wrong, sizeof(wrong));
	ck_assert_int_eq(revocation_answered(&r, &m), REVOCATION_REFUSED);
	ck_assert_ptr_nonnull(strstr(revocation_seen(&r, seen, sizeof(seen)), "wrong proof"));
	q->confirmation = BYTES_NONE;
	ck_assert_int_eq(revocation_answered(&r, &m), REVOCATION_REFUSED);
	q->confirmation = bytes_of(a.keys[1].confirmation, P1_MAC_SIZE);
	q->key_index = 300;
	ck_assert_int_eq(revocation_answered(&r, &m), REVOCATION_REFUSED);
	q->key_index = 7;
	q->status = STATUS_NOT_EXPECTED;
	ck_assert_int_eq(revocation_answered(&r, &m), REVOCATION_REFUSED);
	ck_assert_ptr_nonnull(strstr(revocation_seen(&r, seen, sizeof(seen)), "index is 7"));
	ck_assert_int_eq(revocation_receipt(&r, &receipt), REVOCATION_SAME);
	receipt.id = id;
	ck_assert_int_eq(revocation_receipt(&r, &receipt), REVOCATION_REFUSED);
	ck_assert_int_eq(r.seen, STATUS_STORAGE_FAILED);
	ck_assert(r.told);
	q->status = STATUS_OK;
	q->key_index = 301;
	ck_assert_int_eq(revocation_answered(&r, &m), REVOCATION_CONFIRMED);
	ck_assert_int_eq(r.reset, RESET_CONFIRMED);
	ck_assert(!r.told);
	ck_assert_str_eq(revocation_seen(&r, seen, sizeof(seen)), "");
	ck_assert_int_eq(revocation_answered(&r, &m), REVOCATION_SAME);
	rig_end(&rig);
}
END_TEST

START_TEST(altered_records_are_refused)
{
	static const uint8_t zeros[64];
	struct revocation r;

	for (size_t i = 0; i < sizeof(zeros); i++)
		ck_assert_int_lt(revocation_parse(bytes_text(ENTITY), bytes_of(zeros, i), &r), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gateway-revoke");
	TCase *tc = tcase_create("revocations");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_record_is_read_as_it_was_written);
	tcase_add_test(tc, the_oldest_attempt_makes_room);
	tcase_add_test(tc, attempts_are_made_of_what_was_sent);
	tcase_add_loop_test(tc, both_sides_merge_by_the_higher, 0, MERGES);
	tcase_add_test(tc, proofs_of_one_request_come_one_by_one);
	tcase_add_test(tc, only_the_right_answer_confirms);
	tcase_add_test(tc, altered_records_are_refused);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
