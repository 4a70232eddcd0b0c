/* The set of names, also with as many as a large vault has. */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/names.h"

static const struct name *numbered(unsigned number)
{
	static struct name n;

	(void)snprintf(n.text, sizeof(n.text), "headset-%u", number);
	return &n;
}

START_TEST(each_name_is_there_once_in_the_order_of_its_coming)
{
	struct names n = {.count = 0};

	ck_assert_uint_eq(gateway_names_find(&n, numbered(1)), NAMES_NONE);
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_int_eq(gateway_names_add(&n, numbered(i * 7 % 500)), 0);
	ck_assert_uint_eq(n.count, 500);
	for (unsigned i = 0; i < 500; i++) {
		ck_assert(name_equal(&n.list[i], numbered(i * 7 % 500)));
		ck_assert_uint_eq(gateway_names_find(&n, numbered(i * 7 % 500)), i);
	}
	ck_assert_uint_eq(gateway_names_find(&n, numbered(500)), NAMES_NONE);
	gateway_names_free(&n);
	ck_assert_uint_eq(n.count, 0);
	ck_assert_int_eq(gateway_names_add(&n, numbered(1)), 0);
	gateway_names_free(&n);
}
END_TEST

START_TEST(what_is_taken_out_gives_its_place_to_the_last)
{
	struct names n = {.count = 0};
	struct name last;

	srand(1);
	for (unsigned i = 0; i < 300; i++)
		ck_assert_int_eq(gateway_names_add(&n, numbered(i)), 0);
	while (n.count > 0) {
		size_t place = (size_t)rand() % n.count;
		struct name gone = n.list[place];

		last = n.list[n.count - 1];
		gateway_names_remove(&n, place);
		ck_assert_uint_eq(gateway_names_find(&n, &gone), NAMES_NONE);
		if (!name_equal(&gone, &last))
			ck_assert_uint_eq(gateway_names_find(&n, &last), place);
		for (size_t i = 0; i < n.count; i++)
			ck_assert_uint_eq(gateway_names_find(&n, &n.list[i]), i);
	}
	gateway_names_free(&n);
}
END_TEST

/*
 * What a chain holds is counted rather than timed: a search that goes through all would need
 * 20 000 steps, one in a set needs two or three.
 */
START_TEST(no_search_goes_through_many)
{
	struct names n = {.count = 0};
	size_t longest = 0;

	for (unsigned i = 0; i < 20000; i++)
		ck_assert_int_eq(gateway_names_add(&n, numbered(i)), 0);
	for (size_t i = 0; i < n.room; i++) {
		size_t length = 0;

		for (uint32_t at = n.first[i]; at != 0; at = n.next[at - 1])
			length++;
		longest = length > longest ? length : longest;
	}
	ck_assert_uint_lt(longest, 20);
	gateway_names_free(&n);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("names");
	TCase *c = tcase_create("names");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, c);
	tcase_add_test(c, each_name_is_there_once_in_the_order_of_its_coming);
	tcase_add_test(c, what_is_taken_out_gives_its_place_to_the_last);
	tcase_add_test(c, no_search_goes_through_many);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
