/* The decisions about pools of pre-issued EUKeys, and the service clock. */

#include <check.h>
#include <errno.h>

#include "gateway/pool.h"
#include "protocol/clock.h"

static const struct pool_limits limits = {
	.low_water = 2, .size = 5, .lifetime_s = 100, .renew_s = 50};

static void add(struct pool *p, uint32_t index, enum key_state state, uint64_t since)
{
	struct pool_key key = {.index = index, .state = state, .since = since, .repeatable = true};

	ck_assert_int_eq(pool_add(p, &key), 0);
}

static uint32_t index_of(const struct pool_key *key)
{
	return key ? key->index : 0;
}

START_TEST(keys_are_issued_in_rising_order_and_never_passed_ones)
{
	struct pool p = {0};

	ck_assert_ptr_null(pool_next(&p, &limits, 0));
	ck_assert_ptr_null(pool_current(&p));
	ck_assert_ptr_null(pool_repeat(&p));
	ck_assert_uint_eq(pool_spent(&p), 0);
	for (uint32_t i = 9; i > 0; i--)
		add(&p, i == 4 ? 40 : i, KEY_UNSPENT, 10);
	ck_assert_int_eq(pool_add(&p, &p.keys[3]), -EEXIST);
	ck_assert_uint_eq(index_of(pool_next(&p, &limits, 20)), 1);
	ck_assert_uint_eq(pool_left(&p, &limits, 20), 9);
	p.keys[1].state = KEY_ISSUED;
	ck_assert_uint_eq(index_of(pool_next(&p, &limits, 20)), 3);
	ck_assert_int_eq(pool_fate(&p, &p.keys[0], &limits, 20), POOL_PASSED);
	ck_assert_int_eq(pool_fate(&p, &p.keys[1], &limits, 20), POOL_KEEP);
	ck_assert_uint_eq(index_of(pool_repeat(&p)), 2);
	p.keys[2].state = KEY_DELIVERED;
	ck_assert_ptr_null(pool_repeat(&p));
	ck_assert_uint_eq(index_of(pool_current(&p)), 3);
	ck_assert_int_eq(pool_fate(&p, &p.keys[1], &limits, 20), POOL_REPLACED);
	ck_assert_int_eq(pool_fate(&p, &p.keys[2], &limits, 20), POOL_KEEP);
	ck_assert_uint_eq(index_of(pool_next(&p, &limits, 20)), 5);
	ck_assert_uint_eq(pool_left(&p, &limits, 20), 6);
	p.keys[8].state = KEY_ISSUED;
	p.keys[8].repeatable = false;
	ck_assert_ptr_null(pool_next(&p, &limits, 20));
	ck_assert_ptr_null(pool_repeat(&p));
	pool_clear(&p);
}
END_TEST

START_TEST(revoked_keys_are_neither_issued_nor_repeated)
{
	struct pool p = {.floor = 2};

	add(&p, 1, KEY_ISSUED, 0);
	add(&p, 2, KEY_UNSPENT, 0);
	ck_assert_ptr_null(pool_repeat(&p));
	ck_assert_ptr_null(pool_next(&p, &limits, 0));
	ck_assert_uint_eq(pool_left(&p, &limits, 0), 0);
	add(&p, 3, KEY_UNSPENT, 0);
	ck_assert_uint_eq(index_of(pool_next(&p, &limits, 0)), 3);
	pool_clear(&p);
}
END_TEST

START_TEST(unspent_keys_expire_at_their_lifetime)
{
	struct pool_limits ever = limits;
	struct pool p = {0};

	ever.lifetime_s = 0;
	add(&p, 1, KEY_UNSPENT, 10);
	add(&p, 2, KEY_UNSPENT, 11);
	add(&p, 3, KEY_ISSUED, 0);
	p.keys[2].index = 0; /* an issued one does not expire */
	ck_assert_int_eq(pool_fate(&p, &p.keys[0], &limits, 109), POOL_KEEP);
	ck_assert_int_eq(pool_fate(&p, &p.keys[0], &limits, 110), POOL_EXPIRED);
	ck_assert_int_eq(pool_fate(&p, &p.keys[0], &ever, 110), POOL_KEEP);
	ck_assert_int_eq(pool_fate(&p, &p.keys[2], &limits, 110), POOL_KEEP);
	ck_assert_uint_eq(index_of(pool_next(&p, &limits, 110)), 2);
	ck_assert_uint_eq(pool_left(&p, &limits, 110), 1);
	ck_assert_uint_eq(pool_left(&p, &limits, 111), 0);
	/* A clock that went back makes nothing older. */
	ck_assert_uint_eq(pool_left(&p, &limits, 0), 2);
	pool_clear(&p);
}
END_TEST

START_TEST(filling_begins_at_low_water_and_ends_when_full)
{
	struct pool_limits never = limits;
	bool filling = false;

	never.size = 0;
	ck_assert_uint_eq(pool_wants(&limits, 5, &filling), 0);
	ck_assert_uint_eq(pool_wants(&limits, 3, &filling), 0);
	ck_assert_uint_eq(pool_wants(&limits, 2, &filling), 3);
	ck_assert_uint_eq(pool_wants(&limits, 4, &filling), 1);
	ck_assert_uint_eq(pool_wants(&limits, 5, &filling), 0);
	ck_assert_uint_eq(pool_wants(&limits, 4, &filling), 0);
	ck_assert_uint_eq(pool_wants(&limits, 7, &filling), 0);
	ck_assert_uint_eq(pool_wants(&limits, 0, &filling), 5);
	ck_assert_uint_eq(pool_wants(&never, 0, &filling), 0);
	ck_assert(!filling);
}
END_TEST

START_TEST(a_key_is_renewed_when_it_was_held_long_enough)
{
	struct pool_limits never = limits;
	struct pool p = {0};

	never.renew_s = 0;
	add(&p, 1, KEY_ISSUED, 5);
	ck_assert_uint_eq(pool_renew_at(&p, &limits), POOL_NEVER);
	add(&p, 2, KEY_DELIVERED, 7);
	ck_assert_uint_eq(pool_renew_at(&p, &limits), 57);
	ck_assert_uint_eq(pool_renew_at(&p, &never), POOL_NEVER);
	pool_clear(&p);
}
END_TEST

START_TEST(the_service_clock_believes_plausible_gaps_only)
{
	struct clock_mark mark = {.service = 1000, .wall = 1700000000};

	ck_assert_uint_eq(clock_resume(&mark, 1700000000), 1000);
	ck_assert_uint_eq(clock_resume(&mark, 1700000060), 1060);
	ck_assert_uint_eq(clock_resume(&mark, 1700000000 + CLOCK_GAP_MAX), 1000 + CLOCK_GAP_MAX);
	ck_assert_uint_eq(clock_resume(&mark, 1700000001 + CLOCK_GAP_MAX), 1000);
	ck_assert_uint_eq(clock_resume(&mark, 1699999999), 1000);
	ck_assert_uint_eq(clock_resume(&mark, 0), 1000);
	ck_assert_uint_eq(clock_resume(&mark, UINT64_MAX), 1000);
}
END_TEST

START_TEST(the_last_good_time_outlives_a_clock_that_lost_it)
{
	ck_assert_uint_eq(clock_latest(1700000000, 1700000000), 1700000000);
	ck_assert_uint_eq(clock_latest(1700000000, 1800000000), 1800000000);
	ck_assert_uint_eq(clock_latest(1700000000, 1700000000 - CLOCK_DRIFT),
			  1700000000 - CLOCK_DRIFT);
	ck_assert_uint_eq(clock_latest(1700000000, 1699999999 - CLOCK_DRIFT), 1700000000);
	ck_assert_uint_eq(clock_latest(1700000000, 5), 1700000000);
	ck_assert_uint_eq(clock_latest(0, 5), 5);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool");
	TCase *c = tcase_create("pool");
	SRunner *runner;
	int failed;

	tcase_add_test(c, keys_are_issued_in_rising_order_and_never_passed_ones);
	tcase_add_test(c, revoked_keys_are_neither_issued_nor_repeated);
	tcase_add_test(c, unspent_keys_expire_at_their_lifetime);
	tcase_add_test(c, filling_begins_at_low_water_and_ends_when_full);
	tcase_add_test(c, a_key_is_renewed_when_it_was_held_long_enough);
	tcase_add_test(c, the_service_clock_believes_plausible_gaps_only);
	tcase_add_test(c, the_last_good_time_outlives_a_clock_that_lost_it);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
