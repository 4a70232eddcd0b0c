#include <errno.h>
#include <string.h>

#include <check.h>

#include "tests/bluez-seen.h"

static bool has_gone(void *arg)
{
	return ((struct seen *)arg)->gone > 0;
}

static void count(void *arg, const struct bluez_device *d)
{
	ck_assert_ptr_nonnull(d);
	++*(int *)arg;
}

START_TEST(devices)
{
	struct bluez_options options = options_of();
	const struct bluez_device *d;
	struct seen s;
	int n = 0;

	fake_bluez_tell(fake, "adapter add hci0 " A0 " Powered=b:true");
	begin(&s, &options);
	await(&s, BLUEZ_READY);
	fake_bluez_tell(fake, "device add hci0/" NEAR " UUIDs=as:x," BLUETOOTH_UUID_PNE
			      " Class=u:0x240404 RSSI=n:-60");
	fake_bluez_tell(fake, "set hci0/" NEAR " Name=s:headset");
	await_change(&s);
	d = bluez_find(s.bluez, "c0:ff:ee:00:00:01");
	ck_assert_ptr_nonnull(d);
	ck_assert_ptr_eq(d, bluez_find(s.bluez, NEAR_PATH));
	ck_assert_str_eq(d->path, NEAR_PATH);
	ck_assert_str_eq(d->name, "headset");
	ck_assert(d->offers_pne && !d->offers_gateway && !d->le_only && !d->random_address);
	ck_assert(d->has_rssi);
	ck_assert_int_eq(d->rssi, -60);
	fake_bluez_tell(fake, "unset hci0/" NEAR " RSSI UUIDs");
	await_change(&s);
	ck_assert(!d->has_rssi && !d->offers_pne);
	fake_bluez_tell(fake, "set hci0/" NEAR " Paired=b:true Bonded=b:true Trusted=b:true "
			      "Connected=b:true Blocked=b:true LegacyPairing=b:true");
	await_change(&s);
	ck_assert(d->paired && d->bonded && d->trusted && d->connected && d->blocked &&
		  d->legacy_pairing);
	/* What does not change what is told is not told. */
	fake_bluez_tell(fake, "set hci0/" NEAR " Icon=s:audio");
	fake_bluez_tell(fake, "set hci0/" NEAR " Paired=b:true");
	ck_assert(!fake_bluez_run(&loop, 100, has_changed, &s));
	bluez_each(s.bluez, count, &n);
	ck_assert_int_eq(n, 1);
	fake_bluez_tell(fake, "device remove hci0/" NEAR);
	ck_assert(fake_bluez_run(&loop, SOON, has_gone, &s));
	ck_assert_ptr_null(bluez_find(s.bluez, NEAR));
	finish(&s);
}
END_TEST

START_TEST(le_devices)
{
	struct bluez_options options = options_of();
	const struct bluez_device *d;
	struct seen s;

	fake_bluez_tell(fake, "adapter add hci0 " A0 " Powered=b:true");
	fake_bluez_tell(fake, "device add hci0/5A:00:00:00:00:01 AddressType=s:random");
	begin(&s, &options);
	await(&s, BLUEZ_READY);
	d = bluez_find(s.bluez, "5A:00:00:00:00:01");
	ck_assert(d && d->le_only && d->random_address);
	ck_assert_uint_eq(d->psm, 0);
	fake_bluez_tell(fake, "set hci0/5A:00:00:00:00:01 "
			      "ServiceData=a{sv}:" BLUETOOTH_UUID_PNE ",c900");
	await_change(&s);
	ck_assert_uint_eq(d->psm, BLUETOOTH_LE_PSM);
	/* Somebody else's data, and a size that is not ours. */
	fake_bluez_tell(fake, "set hci0/5A:00:00:00:00:01 "
			      "ServiceData=a{sv}:" BLUETOOTH_UUID_PNE ",c90000");
	await_change(&s);
	ck_assert_uint_eq(d->psm, 0);
	fake_bluez_tell(fake, "set hci0/5A:00:00:00:00:01 "
			      "ServiceData=a{sv}:" BLUETOOTH_UUID_GATEWAY ",c900");
	ck_assert(!fake_bluez_run(&loop, 100, has_changed, &s));
	/* BlueZ finds out who it is. */
	fake_bluez_tell(fake, "set hci0/5A:00:00:00:00:01 Address=s:" NEAR " AddressType=s:public");
	await_change(&s);
	ck_assert_ptr_eq(bluez_find(s.bluez, NEAR), d);
	ck_assert(d->le_only && !d->random_address);
	/* Seen on BR/EDR too. */
	fake_bluez_tell(fake, "set hci0/5A:00:00:00:00:01 Class=u:1");
	await_change(&s);
	ck_assert(!d->le_only);
	finish(&s);
}
END_TEST

/* As if they were not there. */
START_TEST(values_of_other_types)
{
	struct bluez_options options = options_of();
	struct seen s;

	fake_bluez_tell(fake, "adapter add hci0 " A0 " PowerState=u:1");
	fake_bluez_tell(fake, "device add hci0/" NEAR
			      " Paired=s:true Name=u:1 UUIDs=s:" BLUETOOTH_UUID_PNE
			      " RSSI=s:near Class=s:x ServiceData=as:x");
	begin(&s, &options);
	await(&s, BLUEZ_READY);
	ck_assert_int_eq(s.added, 1);
	ck_assert(!s.last.paired && !s.last.offers_pne && !s.last.has_rssi);
	ck_assert_str_eq(s.last.name, "");
	fake_bluez_tell(fake, "set hci0 Powered=s:no Address=b:true");
	fake_bluez_tell(fake, "set hci0/" NEAR " Bonded=u:1 Name=s:one");
	await_change(&s);
	ck_assert(!s.last.bonded);
	ck_assert_str_eq(s.last.name, "one");
	ck_assert_str_eq(bluez_adapter_address(s.bluez), A0);
	ck_assert_str_eq(s.states, "soR");
	finish(&s);
}
END_TEST

/* A device of which BlueZ tells no address, and a path longer than any of BlueZ's. */
START_TEST(odd_objects)
{
	struct bluez_options options = options_of();
	char path[80] = "hci";
	struct seen s;

	for (size_t n = strlen(path); n < sizeof(path) - 1; n++)
		path[n] = '1';
	path[sizeof(path) - 1] = '\0';
	fake_bluez_tell(fake, "adapter add hci0 " A0 " Powered=b:true");
	fake_bluez_tell(fake, "adapter add %s " A1 " Powered=b:true", path);
	fake_bluez_tell(fake, "device add hci0/" NEAR " Address=s:nonsense");
	fake_bluez_tell(fake, "device add hci0/%s", path);
	begin(&s, &options);
	await(&s, BLUEZ_READY);
	ck_assert_str_eq(bluez_adapter(s.bluez), "/org/bluez/hci0");
	ck_assert_int_eq(s.added, 0);
	finish(&s);
}
END_TEST

START_TEST(long_names_end_whole)
{
	struct bluez_options options = options_of();
	char name[400] = "";
	struct seen s;

	for (int i = 0; i < 130; i++)
		strcat(name, i == 0 ? "x" : "\xc3\xa4");
	fake_bluez_tell(fake, "adapter add hci0 " A0 " Powered=b:true");
	fake_bluez_tell(fake, "device add hci0/" NEAR " Name=s:%s", name);
	begin(&s, &options);
	await(&s, BLUEZ_READY);
	ck_assert_int_eq(s.added, 1);
	ck_assert_uint_eq(strlen(s.last.name), 247);
	finish(&s);
}
END_TEST

/* Nobody but bluetoothd is believed. */
START_TEST(forged_signals)
{
	struct bluez_options options = options_of();
	const char *self;
	struct seen s;
	sd_bus *other;

	fake_bluez_tell(fake, "adapter add hci0 " A0 " Powered=b:true");
	fake_bluez_tell(fake, "device add hci0/" NEAR);
	begin(&s, &options);
	await(&s, BLUEZ_READY);
	ck_assert_int_ge(sd_bus_get_unique_name(bluez_bus(s.bluez), &self), 0);
	ck_assert_int_ge(sd_bus_new(&other), 0);
	ck_assert_int_ge(sd_bus_set_address(other, fake_bluez_bus(fake)), 0);
	ck_assert_int_ge(sd_bus_set_bus_client(other, 1), 0);
	ck_assert_int_ge(sd_bus_start(other), 0);
	for (int i = 0; i < 4; i++) {
		sd_bus_message *m = NULL;

		switch (i) {
		case 0:
			sd_bus_message_new_signal(other, &m, "/org/freedesktop/DBus",
						  "org.freedesktop.DBus", "NameOwnerChanged");
			sd_bus_message_append(m, "sss", "org.bluez", "", "");
			break;
		case 1:
			sd_bus_message_new_signal(other, &m, "/",
						  "org.freedesktop.DBus.ObjectManager",
						  "InterfacesRemoved");
			sd_bus_message_append(m, "oas", "/org/bluez/hci0", 1, "org.bluez.Adapter1");
			break;
		case 2:
			sd_bus_message_new_signal(other, &m, NEAR_PATH,
						  "org.freedesktop.DBus.Properties",
						  "PropertiesChanged");
			sd_bus_message_append(m, "sa{sv}as", "org.bluez.Device1", 1, "Bonded", "b",
					      1, 0);
			break;
		default:
			sd_bus_message_new_signal(other, &m, "/",
						  "org.freedesktop.DBus.ObjectManager",
						  "InterfacesAdded");
			sd_bus_message_append(m, "oa{sa{sv}}", "/org/bluez/hci0/dev_1", 1,
					      "org.bluez.Device1", 1, "Address", "s", A1);
			break;
		}
		ck_assert_int_ge(sd_bus_message_set_destination(m, self), 0);
		ck_assert_int_ge(sd_bus_send(other, m, NULL), 0);
		sd_bus_message_unref(m);
	}
	ck_assert_int_ge(sd_bus_flush(other), 0);
	ck_assert(!fake_bluez_run(&loop, 200, never, NULL));
	ck_assert_str_eq(s.states, "sR");
	ck_assert_int_eq(s.added, 1);
	ck_assert_int_eq(s.changed, 0);
	sd_bus_close_unref(other);
	finish(&s);
}
END_TEST

static int scan(struct seen *s, struct outcome *o, unsigned seconds)
{
	return bluez_call(s->bluez, seconds, on_done, o, "/org/bluez/hci0", "org.bluez.Adapter1",
			  "StartDiscovery", "");
}

START_TEST(calls)
{
	struct bluez_options options = options_of();
	struct outcome fine = {0}, bad = {0}, slow = {0}, cut = {0}, forgotten = {0}, last = {0};
	struct seen s;

	fake_bluez_tell(fake, "adapter add hci0 " A0 " Powered=b:true");
	begin(&s, &options);
	ck_assert_int_eq(scan(&s, &fine, 0), -ENOTCONN);
	await(&s, BLUEZ_READY);
	ck_assert_int_eq(scan(&s, &fine, 0), 0);
	ck_assert(fake_bluez_run(&loop, SOON, is_done, &fine));
	ck_assert_int_eq(fine.error, 0);
	ck_assert(fine.had_reply);
	fake_bluez_tell(fake, "fail StartDiscovery NotReady");
	ck_assert_int_eq(scan(&s, &bad, 0), 0);
	ck_assert(fake_bluez_run(&loop, SOON, is_done, &bad));
	ck_assert_int_eq(bad.error, -ENETDOWN);
	ck_assert_str_eq(bad.name, "org.bluez.Error.NotReady");
	ck_assert(!bad.had_reply);

	fake_bluez_tell(fake, "hold StartDiscovery");
	ck_assert_int_eq(scan(&s, &slow, 1), 0);
	ck_assert(fake_bluez_run(&loop, SOON, is_done, &slow));
	ck_assert_int_eq(slow.error, -ETIMEDOUT);
	ck_assert_int_eq(scan(&s, &cut, 0), 0);
	ck_assert_int_eq(scan(&s, &forgotten, 0), 0);
	bluez_forget(s.bluez, &forgotten);
	ck_assert(!fake_bluez_run(&loop, 100, is_done, &cut));
	fake_bluez_tell(fake, "daemon stop");
	ck_assert(fake_bluez_run(&loop, SOON, is_done, &cut));
	ck_assert_int_eq(cut.error, -ENOTCONN);
	await(&s, BLUEZ_NO_DAEMON);

	fake_bluez_tell(fake, "daemon start");
	fake_bluez_tell(fake, "adapter add hci0 " A0 " Powered=b:true");
	await(&s, BLUEZ_READY);
	fake_bluez_tell(fake, "hold StartDiscovery");
	cut = (struct outcome){0};
	ck_assert_int_eq(scan(&s, &cut, 0), 0);
	fake_bluez_bus_stop(fake);
	ck_assert(fake_bluez_run(&loop, SOON, is_done, &cut));
	ck_assert_int_eq(cut.error, -ENOTCONN);
	await(&s, BLUEZ_NO_BUS);

	fake_bluez_tell(fake, "daemon stop");
	fake_bluez_bus_start(fake);
	fake_bluez_tell(fake, "daemon start");
	fake_bluez_tell(fake, "adapter add hci0 " A0 " Powered=b:true");
	await(&s, BLUEZ_READY);
	fake_bluez_tell(fake, "hold StartDiscovery");
	ck_assert_int_eq(scan(&s, &last, 0), 0);
	finish(&s);
	ck_assert_int_eq(last.times, 1);
	ck_assert_int_eq(last.error, -ECANCELED);
	ck_assert_int_eq(cut.times, 1);
	ck_assert_int_eq(forgotten.times, 0);
}
END_TEST

START_TEST(errors)
{
	static const struct {
		const char *name, *text;
		int error;
	} cases[] = {
		{"org.bluez.Error.AuthenticationFailed", "Authentication Failed", -EKEYREJECTED},
		{"org.bluez.Error.AuthenticationRejected", "", -EACCES},
		{"org.bluez.Error.AuthenticationCanceled", "", -ECANCELED},
		{"org.bluez.Error.AuthenticationTimeout", "", -ETIMEDOUT},
		{"org.bluez.Error.ConnectionAttemptFailed", "Page Timeout", -EHOSTDOWN},
		{"org.bluez.Error.Failed", "br-connection-page-timeout", -EHOSTDOWN},
		{"org.bluez.Error.Failed", "le-connection-abort-by-remote", -ECONNRESET},
		{"org.bluez.Error.Failed", "Host is down", -EHOSTDOWN},
		{"org.bluez.Error.Failed", "br-connection-concurrent-connection-limit", -EMFILE},
		{"org.bluez.Error.Failed", "Too many links", -EMFILE},
		{"org.bluez.Error.BREDR.Unknown", "br-connection-key-missing", -ENOKEY},
		{"org.bluez.Error.NotAvailable", "br-connection-profile-unavailable",
		 -EPROTONOSUPPORT},
		{"org.bluez.Error.Failed", "Not Powered", -ENETDOWN},
		{"org.bluez.Error.Failed", "br-connection-unknown", -EIO},
		{"org.bluez.Error.Blocked", "Blocked through rfkill", -ERFKILL},
		{"org.bluez.Error.InProgress", "", -EBUSY},
		{"org.bluez.Error.AlreadyExists", "", -EALREADY},
		{"org.bluez.Error.DoesNotExist", "", -ENOENT},
		{"org.bluez.Error.Something", "", -EIO},
		{"org.freedesktop.DBus.Error.NoReply", "Method call timed out", -ETIMEDOUT},
		{"org.freedesktop.DBus.Error.NoReply", "Message recipient disconnected", -ENOTCONN},
		{"org.freedesktop.DBus.Error.UnknownObject", "", -ENOENT},
		{"org.freedesktop.DBus.Error.Something", "", -EIO},
		{"com.example", "", -EIO},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_msg(bluez_error(cases[i].name, cases[i].text) == cases[i].error,
			      "%s %s: %d", cases[i].name, cases[i].text,
			      bluez_error(cases[i].name, cases[i].text));
}
END_TEST

START_TEST(watchers_may_leave)
{
	struct bluez_options options = options_of();
	struct seen s, second;

	fake_bluez_tell(fake, "adapter add hci0 " A0 " Powered=b:true");
	begin(&s, &options);
	second = (struct seen){
		.watcher = {.state = on_state}, .bluez = s.bluez, .unwatch_at_once = true};
	bluez_watch(s.bluez, &second.watcher);
	await(&s, BLUEZ_READY);
	ck_assert_str_eq(s.states, "sR");
	ck_assert_str_eq(second.states, "sR");
	finish(&s);
}
END_TEST

START_TEST(addresses)
{
	ck_assert(bluetooth_address_valid(A0));
	ck_assert(bluetooth_address_valid("c0:ff:ee:00:00:01"));
	ck_assert(!bluetooth_address_valid(""));
	ck_assert(!bluetooth_address_valid("00:AA:01:00:00:1"));
	ck_assert(!bluetooth_address_valid("00:AA:01:00:00:100"));
	ck_assert(!bluetooth_address_valid("00:AA:01:00:00:1G"));
	ck_assert(!bluetooth_address_valid("00-AA-01-00-00-10"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bluez devices");
	TCase *usual = tcase_create("with bluetoothd");
	TCase *pure = tcase_create("pure");
	SRunner *runner;
	int failed;

	if (!fake_bluez_possible())
		return 77;
	tcase_set_timeout(usual, 40);
	tcase_add_checked_fixture(usual, setup, teardown);
	tcase_add_test(usual, devices);
	tcase_add_test(usual, le_devices);
	tcase_add_test(usual, values_of_other_types);
	tcase_add_test(usual, odd_objects);
	tcase_add_test(usual, long_names_end_whole);
	tcase_add_test(usual, forged_signals);
	tcase_add_test(usual, calls);
	tcase_add_test(usual, watchers_may_leave);
	suite_add_tcase(suite, usual);
	tcase_add_test(pure, errors);
	tcase_add_test(pure, addresses);
	suite_add_tcase(suite, pure);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
