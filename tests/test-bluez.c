#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <check.h>

#include "tests/bluez-seen.h"

/* How often word occurs in what was called since the last time. */
static int calls_with(const char *word)
{
	const char *at = fake_bluez_tell(fake, "calls");
	int n = 0;

	for (; (at = strstr(at, word)); at++)
		n++;
	return n;
}

START_TEST(everything_comes_late)
{
	struct bluez_options options = options_of();
	struct seen s;

	options.alias = "gate way";
	options.pairable = true;
	begin(&s, &options);
	ck_assert(!fake_bluez_run(&loop, 100, never, NULL));
	fake_bluez_bus_start(fake);
	await(&s, BLUEZ_NO_DAEMON);
	fake_bluez_tell(fake, "daemon start");
	await(&s, BLUEZ_NO_ADAPTER);
	ck_assert_int_eq(bluez_power(s.bluez, true), -ENODEV);
	ck_assert_int_eq(bluez_discoverable(s.bluez, 1), -ENODEV);
	fake_bluez_tell(fake, "adapter add hci0 " A0);
	await(&s, BLUEZ_READY);
	ck_assert_str_eq(s.states, "s-bdoR");
	ck_assert_str_eq(bluez_adapter(s.bluez), "/org/bluez/hci0");
	ck_assert_str_eq(bluez_adapter_address(s.bluez), A0);
	ck_assert_str_eq(fake_bluez_tell(fake, "get hci0 Alias"), "gate way");
	ck_assert_str_eq(fake_bluez_tell(fake, "get hci0 Pairable"), "true");
	finish(&s);
	ck_assert_str_eq(s.states, "s-bdoR-");
}
END_TEST

START_TEST(everything_is_there)
{
	struct bluez_options options = options_of();
	struct seen s;

	fake_bluez_tell(fake, "adapter add hci0 " A0 " Powered=b:true");
	fake_bluez_tell(fake, "device add hci0/" NEAR " Name=s:one Bonded=b:true");
	begin(&s, &options);
	await(&s, BLUEZ_READY);
	ck_assert_str_eq(s.states, "sR");
	ck_assert_int_eq(s.added, 1);
	ck_assert_str_eq(s.last.name, "one");
	ck_assert(s.last.bonded);
	/* It was as it should be: nothing was set. */
	ck_assert_int_eq(calls_with("Set"), 0);
	finish(&s);
}
END_TEST

START_TEST(bus_and_daemon_restart)
{
	struct bluez_options options = options_of();
	struct seen s;

	fake_bluez_tell(fake, "adapter add hci0 " A0 " Powered=b:true");
	fake_bluez_tell(fake, "device add hci0/" NEAR);
	begin(&s, &options);
	await(&s, BLUEZ_READY);
	fake_bluez_tell(fake, "daemon stop");
	await(&s, BLUEZ_NO_DAEMON);
	ck_assert_int_eq(s.gone, 1);
	ck_assert_ptr_null(bluez_find(s.bluez, NEAR));
	fake_bluez_tell(fake, "daemon start");
	await(&s, BLUEZ_NO_ADAPTER);
	fake_bluez_tell(fake, "adapter add hci0 " A0);
	fake_bluez_tell(fake, "device add hci0/" NEAR);
	await(&s, BLUEZ_READY);
	ck_assert(fake_bluez_run(&loop, SOON, has_added_twice, &s));
	ck_assert_ptr_nonnull(bluez_find(s.bluez, NEAR));
	fake_bluez_bus_stop(fake);
	await(&s, BLUEZ_NO_BUS);
	ck_assert_ptr_null(bluez_bus(s.bluez));
	fake_bluez_tell(fake, "daemon stop");
	fake_bluez_bus_start(fake);
	await(&s, BLUEZ_NO_DAEMON);
	fake_bluez_tell(fake, "daemon start");
	await(&s, BLUEZ_NO_ADAPTER);
	fake_bluez_tell(fake, "adapter add hci0 " A0 " Powered=b:true");
	await(&s, BLUEZ_READY);
	ck_assert_str_eq(s.states, "sRbdoR-bdR");
	finish(&s);
}
END_TEST

START_TEST(adapter_goes_and_comes)
{
	struct bluez_options options = options_of();
	struct seen s;

	fake_bluez_tell(fake, "adapter add hci0 " A0 " Powered=b:true");
	fake_bluez_tell(fake, "device add hci0/" NEAR);
	begin(&s, &options);
	await(&s, BLUEZ_READY);
	fake_bluez_tell(fake, "adapter remove hci0");
	await(&s, BLUEZ_NO_ADAPTER);
	ck_assert_int_eq(s.gone, 1);
	ck_assert_ptr_null(bluez_adapter(s.bluez));
	fake_bluez_tell(fake, "adapter add hci1 " A1);
	await(&s, BLUEZ_READY);
	ck_assert_str_eq(bluez_adapter_address(s.bluez), A1);
	ck_assert_str_eq(s.states, "sRdoR");
	finish(&s);
}
END_TEST

START_TEST(adapter_is_chosen)
{
	static const char *const wanted[] = {"", "hci2", "00:aa:01:01:00:11"};
	static const char *const got[] = {"/org/bluez/hci1", "/org/bluez/hci2", "/org/bluez/hci10"};
	struct bluez_options options = options_of();
	struct seen s;

	fake_bluez_tell(fake, "adapter add hci10 " A1 " Powered=b:true");
	fake_bluez_tell(fake, "adapter add hci2 00:00:00:00:00:02 Powered=b:true");
	fake_bluez_tell(fake, "adapter add hci1 " A0 " Powered=b:true");
	fake_bluez_tell(fake, "device add hci1/" NEAR);
	fake_bluez_tell(fake, "device add hci10/" NEAR);
	options.adapter = wanted[_i];
	begin(&s, &options);
	await(&s, BLUEZ_READY);
	ck_assert_str_eq(bluez_adapter(s.bluez), got[_i]);
	/* Devices of the others are not seen. */
	ck_assert_int_eq(s.added, _i == 1 ? 0 : 1);
	/* Nor is it changed while it is there. */
	fake_bluez_tell(fake, "adapter add hci0 00:00:00:00:00:03 Powered=b:true");
	fake_bluez_tell(fake, "device add hci0/" NEAR);
	ck_assert(!fake_bluez_run(&loop, 100, never, NULL));
	ck_assert_str_eq(bluez_adapter(s.bluez), got[_i]);
	ck_assert_int_eq(s.added, _i == 1 ? 0 : 1);
	fake_bluez_tell(fake, "adapter remove %s", got[_i] + strlen("/org/bluez/"));
	if (_i == 0) {
		ck_assert(fake_bluez_run(&loop, SOON, has_added_twice, &s));
		ck_assert_str_eq(bluez_adapter(s.bluez), "/org/bluez/hci0");
		ck_assert_int_eq(s.gone, 1);
		ck_assert_str_eq(s.states, "sRdR");
	} else {
		await(&s, BLUEZ_NO_ADAPTER);
	}
	finish(&s);
}
END_TEST

START_TEST(adapter_names)
{
	static const char *const bad[] = {
		"hci",   "hcix",           "eth0",
		"hci0 ", "00:00:00:00:00", "hci00000000000000000000000000000000000"};
	struct bluez_options options = options_of();
	struct bluez *b;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		options.adapter = bad[i];
		ck_assert_int_eq(bluez_new(&loop, &options, &b), -EINVAL);
	}
}
END_TEST

START_TEST(what_a_person_switches_off_stays_off)
{
	struct bluez_options options = options_of();
	struct seen s;

	fake_bluez_tell(fake, "adapter add hci0 " A0);
	begin(&s, &options);
	await(&s, BLUEZ_READY);
	fake_bluez_tell(fake, "set hci0 Powered=b:false");
	await(&s, BLUEZ_OFF);
	ck_assert_int_eq(bluez_discoverable(s.bluez, 1), -ENETDOWN);
	(void)calls_with("Set");
	ck_assert(!fake_bluez_run(&loop, 1300, never, NULL));
	ck_assert_int_eq(calls_with("Powered"), 0);
	ck_assert_int_eq(bluez_state(s.bluez), BLUEZ_OFF);
	ck_assert_int_eq(bluez_power(s.bluez, true), 0);
	await(&s, BLUEZ_READY);
	ck_assert_int_eq(bluez_power(s.bluez, false), 0);
	await(&s, BLUEZ_OFF);
	ck_assert(!fake_bluez_run(&loop, 1300, never, NULL));
	ck_assert_int_eq(bluez_state(s.bluez), BLUEZ_OFF);
	finish(&s);
}
END_TEST

START_TEST(off_is_left_alone)
{
	struct bluez_options options = options_of();
	struct seen s;

	options.power_on = false;
	fake_bluez_tell(fake, "adapter add hci0 " A0);
	begin(&s, &options);
	await(&s, BLUEZ_OFF);
	ck_assert(!fake_bluez_run(&loop, 1300, never, NULL));
	ck_assert_int_eq(calls_with("Set"), 0);
	fake_bluez_tell(fake, "set hci0 Powered=b:true");
	await(&s, BLUEZ_READY);
	finish(&s);
}
END_TEST

/* Without a switch of the kernel's to read: BlueZ's answer says it. */
START_TEST(blocked_by_answer)
{
	struct bluez_options options = options_of();
	struct seen s;

	fake_bluez_tell(fake, "adapter add hci0 " A0);
	fake_bluez_tell(fake, "rfkill hci0 on");
	begin(&s, &options);
	await(&s, BLUEZ_BLOCKED);
	fake_bluez_tell(fake, "rfkill hci0 off");
	await(&s, BLUEZ_READY);
	ck_assert_str_eq(s.states, "soxoR");
	finish(&s);
}
END_TEST

static void write_switch(const char *name, const char *soft, const char *hard)
{
	const char *const texts[][2] = {{"name", name}, {"soft", soft}, {"hard", hard}};
	char path[256];

	snprintf(path, sizeof(path), "%s/rfkill3", fake_bluez_folder(fake));
	(void)mkdir(path, 0700);
	for (size_t i = 0; i < 3; i++) {
		FILE *file;

		snprintf(path, sizeof(path), "%s/rfkill3/%s", fake_bluez_folder(fake), texts[i][0]);
		file = fopen(path, "w");
		ck_assert_ptr_nonnull(file);
		fprintf(file, "%s\n", texts[i][1]);
		ck_assert_int_eq(fclose(file), 0);
	}
}

START_TEST(blocked_by_switch)
{
	struct bluez_options options = options_of();
	struct seen s;

	fake_bluez_tell(fake, "adapter add hci0 " A0);
	write_switch("hci1", "1", "1"); /* somebody else's */
	begin(&s, &options);
	await(&s, BLUEZ_READY);
	/* Blocked while it runs: not a person who wants it off. */
	write_switch("hci0", _i == 0 ? "1" : "0", _i == 0 ? "0" : "1");
	fake_bluez_tell(fake, "rfkill hci0 on");
	await(&s, BLUEZ_BLOCKED);
	(void)calls_with("Set");
	ck_assert(!fake_bluez_run(&loop, 1300, never, NULL));
	ck_assert_int_eq(calls_with("Powered"), 0);
	fake_bluez_tell(fake, "rfkill hci0 off");
	write_switch("hci0", "0", "0");
	await(&s, BLUEZ_READY);
	ck_assert_str_eq(s.states, "soRxoR");
	finish(&s);
}
END_TEST

START_TEST(blocked_by_power_state)
{
	struct bluez_options options = options_of();
	struct seen s;

	fake_bluez_tell(fake, "adapter add hci0 " A0 " PowerState=s:off-blocked");
	begin(&s, &options);
	await(&s, BLUEZ_BLOCKED);
	ck_assert_int_eq(calls_with("Powered"), 0);
	fake_bluez_tell(fake, "set hci0 PowerState=s:off");
	await(&s, BLUEZ_READY);
	ck_assert_str_eq(s.states, "sxoR");
	finish(&s);
}
END_TEST

START_TEST(switching_on_fails_first)
{
	struct bluez_options options = options_of();
	struct seen s;

	fake_bluez_tell(fake, "adapter add hci0 " A0);
	fake_bluez_tell(fake, "fail Set.Powered Failed Failed 2");
	begin(&s, &options);
	await(&s, BLUEZ_READY);
	ck_assert_str_eq(s.states, "soR");
	ck_assert_int_eq(calls_with("Powered true"), 3);
	finish(&s);
}
END_TEST

START_TEST(objects_are_asked_for_again)
{
	struct bluez_options options = options_of();
	struct seen s;

	fake_bluez_tell(fake, "adapter add hci0 " A0 " Powered=b:true");
	fake_bluez_tell(fake, "fail GetManagedObjects org.freedesktop.DBus.Error.NoMemory");
	begin(&s, &options);
	await(&s, BLUEZ_READY);
	finish(&s);
}
END_TEST

START_TEST(discoverable)
{
	struct bluez_options options = options_of();
	struct seen s;

	fake_bluez_tell(fake, "adapter add hci0 " A0 " Powered=b:true");
	begin(&s, &options);
	await(&s, BLUEZ_READY);
	ck_assert_int_eq(bluez_discoverable(s.bluez, 30), 0);
	ck_assert(!fake_bluez_run(&loop, 100, never, NULL));
	ck_assert_str_eq(fake_bluez_tell(fake, "get hci0 Discoverable"), "true");
	ck_assert_str_eq(fake_bluez_tell(fake, "get hci0 DiscoverableTimeout"), "30");
	ck_assert_int_eq(bluez_discoverable(s.bluez, BLUEZ_ALWAYS), 0);
	ck_assert(!fake_bluez_run(&loop, 100, never, NULL));
	ck_assert_str_eq(fake_bluez_tell(fake, "get hci0 DiscoverableTimeout"), "0");
	ck_assert_int_eq(bluez_discoverable(s.bluez, 0), 0);
	ck_assert(!fake_bluez_run(&loop, 100, never, NULL));
	ck_assert_str_eq(fake_bluez_tell(fake, "get hci0 Discoverable"), "false");
	finish(&s);
}
END_TEST

START_TEST(stops_at_every_stage)
{
	struct bluez_options options = options_of();
	struct seen s;

	if (_i > 0)
		fake_bluez_bus_start(fake);
	if (_i > 1)
		fake_bluez_tell(fake, "daemon start");
	if (_i > 2)
		fake_bluez_tell(fake, "adapter add hci0 " A0);
	if (_i == 3)
		fake_bluez_tell(fake, "hold GetManagedObjects");
	if (_i == 4)
		fake_bluez_tell(fake, "hold Set.Powered");
	begin(&s, &options);
	ck_assert(!fake_bluez_run(&loop, 150, never, NULL));
	finish(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bluez");
	TCase *early = tcase_create("from nothing");
	TCase *usual = tcase_create("with bluetoothd");
	SRunner *runner;
	int failed;

	if (!fake_bluez_possible())
		return 77;
	tcase_set_timeout(early, 40);
	tcase_add_checked_fixture(early, setup_stopped, teardown);
	tcase_add_test(early, everything_comes_late);
	tcase_add_loop_test(early, stops_at_every_stage, 0, 6);
	suite_add_tcase(suite, early);
	tcase_set_timeout(usual, 40);
	tcase_add_checked_fixture(usual, setup, teardown);
	tcase_add_test(usual, everything_is_there);
	tcase_add_test(usual, bus_and_daemon_restart);
	tcase_add_test(usual, adapter_goes_and_comes);
	tcase_add_loop_test(usual, adapter_is_chosen, 0, 3);
	tcase_add_test(usual, adapter_names);
	tcase_add_test(usual, what_a_person_switches_off_stays_off);
	tcase_add_test(usual, off_is_left_alone);
	tcase_add_test(usual, blocked_by_answer);
	tcase_add_loop_test(usual, blocked_by_switch, 0, 2);
	tcase_add_test(usual, blocked_by_power_state);
	tcase_add_test(usual, switching_on_fails_first);
	tcase_add_test(usual, objects_are_asked_for_again);
	tcase_add_test(usual, discoverable);
	suite_add_tcase(suite, usual);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
