#include <errno.h>

#include <check.h>

#include "tests/bluez-seen.h"
#include "tests/fault-memory.h"

#define MOST 200u /* allocations of a start, more than there are */

/* Without Check's assertions, which allocate too. */
static void count_device(struct bluez_watcher *w, const struct bluez_device *d,
			 enum bluez_change change)
{
	struct seen *s = (struct seen *)w;

	(void)d;
	if (change == BLUEZ_DEVICE_ADDED)
		s->added++;
	else if (change == BLUEZ_DEVICE_GONE)
		s->gone++;
}

static bool is_complete(void *arg)
{
	const struct seen *s = arg;

	return bluez_state(s->bluez) == BLUEZ_READY && s->added > s->gone;
}

/* Whichever allocation fails, once: said at once, or made up for. */
START_TEST(memory_runs_out_once)
{
	struct bluez_options options = options_of();
	unsigned at;

	options.alias = "name";
	options.pairable = true;
	for (at = 1; at <= MOST; at++) {
		struct seen s = {.watcher = {.device = count_device}};
		int rc;

		fake_bluez_tell(fake, "adapter add hci0 " A0);
		fake_bluez_tell(fake, "device add hci0/" NEAR);
		fault_memory_plan(at, false);
		fault_memory_arm(true);
		rc = bluez_new(&loop, &options, &s.bluez);
		if (rc == 0) {
			bool complete;

			bluez_watch(s.bluez, &s.watcher);
			bluez_start(s.bluez);
			complete = fake_bluez_run(&loop, SOON, is_complete, &s);
			fault_memory_arm(false);
			ck_assert_msg(complete, "allocation %u: %s", at,
				      bluez_state_text(bluez_state(s.bluez)));
			ck_assert(!fake_bluez_run(&loop, 20, never, NULL));
			finish(&s);
			/* Nothing of it was left out. */
			ck_assert_str_eq(fake_bluez_tell(fake, "get hci0 Alias"), "name");
			ck_assert_str_eq(fake_bluez_tell(fake, "get hci0 Pairable"), "true");
		} else {
			fault_memory_arm(false);
			ck_assert_int_eq(rc, -ENOMEM);
		}
		fake_bluez_tell(fake, "adapter remove hci0");
		if (fault_memory_struck() == 0)
			break;
	}
	ck_assert_uint_gt(at, 10);
	ck_assert_uint_lt(at, MOST);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bluez faults");
	TCase *tcase = tcase_create("memory");
	SRunner *runner;
	int failed;

	if (!fake_bluez_possible())
		return 77;
	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, memory_runs_out_once);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
