#include "pan/pairing.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bluez-fake.h"

#define DEVICE "00:11:22:33:44:55"
#define OBJECT "hci0/" DEVICE
#define OTHER  "00:11:22:33:44:66"

/* What the callbacks told, one a line. */
static char told[8192];
static uv_loop_t loop;
static struct fake_bluez *fake;
static struct bluez *bluez;
static struct pairing *pairing;
static unsigned stops;
static struct pairing_options options;
static bool cancel_when_asked, stop_when_asked;

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...)
{
	size_t size = strlen(told);
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(told + size, sizeof(told) - size - 1, format, arguments);
	va_end(arguments);
	(void)strncat(told, "\n", 2);
}

static const char *question_name(enum pairing_question q)
{
	static const char *const names[] = {"authorize",     "confirm",  "enter-pin",
					    "enter-passkey", "show-pin", "show-passkey"};

	return names[q];
}

static void count_stop(void *arg)
{
	(void)arg;
	stops++;
}

static void stop_pairing(void)
{
	struct pairing *p = pairing;

	pairing = NULL;
	if (p)
		pairing_stop(p, count_stop, NULL);
}

static void on_question(void *arg, const struct bluez_device *d, enum pairing_question q,
			const char *value)
{
	ck_assert_ptr_eq(arg, &loop);
	tell("question %s %s %s", d->address, question_name(q), value ? value : "-");
	if (cancel_when_asked)
		ck_assert_int_eq(pairing_cancel(pairing, d->address), 0);
	if (stop_when_asked)
		stop_pairing();
}

static void on_withdrawn(void *arg, const char *address)
{
	ck_assert_ptr_eq(arg, &loop);
	tell("withdrawn %s", address);
}

static void on_ended(void *arg, const char *address, int error, const char *why)
{
	ck_assert_ptr_eq(arg, &loop);
	ck_assert_uint_gt(strlen(why), 5);
	tell("ended %s %s", address, error == 0 ? "paired" : strerrorname_np(-error));
}

static void on_found(void *arg, const struct bluez_device *d)
{
	ck_assert_ptr_eq(arg, &loop);
	tell("found %s '%s' %s", d->address, d->name, d->offers_pne ? "pne" : "-");
}

static void on_scan_ended(void *arg, int error)
{
	ck_assert_ptr_eq(arg, &loop);
	tell("scan ended %s", error == 0 ? "0" : strerrorname_np(-error));
}

static const struct pairing_callbacks callbacks = {
	.question = on_question,
	.withdrawn = on_withdrawn,
	.ended = on_ended,
	.found = on_found,
	.scan_ended = on_scan_ended,
};

static bool told_all(void *arg)
{
	return strcmp(told, arg) == 0;
}

/* Exactly this is told, in a while; and then forgotten. */
static void expect(const char *text)
{
	char copy[sizeof(told)];

	snprintf(copy, sizeof(copy), "%s", text);
	ck_assert_msg(fake_bluez_run(&loop, 5000, told_all, copy), "expected:\n%stold:\n%s", text,
		      told);
	told[0] = '\0';
}

static bool never(void *arg)
{
	(void)arg;
	return false;
}

/* For what does not happen. */
static void wait_ms(unsigned ms)
{
	(void)fake_bluez_run(&loop, ms, never, NULL);
}

static char calls[65536];

static bool was_called(void *arg)
{
	size_t size = strlen(calls);

	snprintf(calls + size, sizeof(calls) - size, "\n%s\n", fake_bluez_tell(fake, "calls"));
	return strstr(calls, arg) != NULL;
}

static void expect_call(const char *part)
{
	char copy[256];

	snprintf(copy, sizeof(copy), "%s", part);
	ck_assert_msg(fake_bluez_run(&loop, 8000, was_called, copy), "not called: %s\n%s", part,
		      calls);
	calls[0] = '\0';
}

static bool state_is(void *arg)
{
	return bluez_state(bluez) == *(const enum bluez_state *)arg;
}

static void await(enum bluez_state state)
{
	ck_assert(fake_bluez_run(&loop, 5000, state_is, &state));
}

static void begin(void)
{
	struct bluez_options o;

	memset(&o, 0, sizeof(o));
	o.bus = fake_bluez_bus(fake);
	o.adapter = "";
	o.alias = "";
	o.power_on = true;
	o.rfkill = fake_bluez_folder(fake);
	ck_assert_int_eq(bluez_new(&loop, &o, &bluez), 0);
	ck_assert_int_eq(pairing_new(&loop, bluez, &options, &callbacks, &loop, &pairing), 0);
	bluez_start(bluez);
	await(BLUEZ_READY);
	expect_call("RequestDefaultAgent");
}

static void setup(void)
{
	fake = fake_bluez_new();
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	memset(&options, 0, sizeof(options));
	options.gateway = true;
	options.capability = PAIRING_KEYBOARD_DISPLAY;
	told[0] = '\0';
	calls[0] = '\0';
	stops = 0;
	cancel_when_asked = false;
	stop_when_asked = false;
	fake_bluez_tell(fake, "adapter add hci0 00:AA:01:00:00:00");
}

static void teardown(void)
{
	stop_pairing();
	bluez_stop(bluez, count_stop, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_uint_eq(stops, 2);
	ck_assert_str_eq(told, "");
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	fake_bluez_free(fake);
}

static bool is_known(void *arg)
{
	return bluez_find(bluez, arg) != NULL;
}

static void near(const char *model)
{
	char address[] = DEVICE;

	fake_bluez_tell(fake, "device add %s UUIDs=as:%s RSSI=n:-50", OBJECT, BLUETOOTH_UUID_PNE);
	fake_bluez_tell(fake, "model %s %s", OBJECT, model);
	ck_assert(fake_bluez_run(&loop, 5000, is_known, address));
}

static void expect_bond(void)
{
	ck_assert_str_eq(fake_bluez_tell(fake, "get %s Trusted", OBJECT), "true");
	ck_assert_str_eq(fake_bluez_tell(fake, "get %s Bonded", OBJECT), "true");
}

static void expect_no_bond(void)
{
	ck_assert_str_eq(fake_bluez_tell(fake, "get %s Trusted", OBJECT), "false");
	ck_assert_str_eq(fake_bluez_tell(fake, "get %s Bonded", OBJECT), "false");
}

START_TEST(test_just_works)
{
	begin();
	near("just-works");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	ck_assert_int_eq(pairing_start(pairing, DEVICE), -EALREADY);
	expect("ended " DEVICE " paired\n");
	expect_bond();
	ck_assert_int_eq(pairing_start(pairing, DEVICE), -EEXIST);
	ck_assert_int_eq(pairing_start(pairing, "nonsense"), -EINVAL);
	ck_assert_int_eq(pairing_cancel(pairing, DEVICE), -ENOENT);
}
END_TEST

/* Asked or not: what was begun here needs no authorization. */
START_TEST(test_authorize_ours)
{
	begin();
	near("authorize");
	ck_assert_int_eq(pairing_start(pairing, "00:11:22:33:44:55"), 0);
	expect("ended " DEVICE " paired\n");
	expect_bond();
}
END_TEST

START_TEST(test_confirm)
{
	begin();
	near("confirm 4711");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("question " DEVICE " confirm 004711\n");
	ck_assert_int_eq(pairing_answer(pairing, OTHER, "yes"), -ENOENT);
	ck_assert_int_eq(pairing_answer(pairing, DEVICE, "004711"), -EINVAL);
	ck_assert_int_eq(pairing_answer(pairing, DEVICE, "yes"), 0);
	expect("withdrawn " DEVICE "\nended " DEVICE " paired\n");
	ck_assert_int_eq(pairing_answer(pairing, DEVICE, "yes"), -ENOENT);
	expect_bond();
}
END_TEST

START_TEST(test_confirm_no)
{
	begin();
	near("confirm 4711");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("question " DEVICE " confirm 004711\n");
	ck_assert_int_eq(pairing_answer(pairing, DEVICE, "no"), 0);
	expect("withdrawn " DEVICE "\nended " DEVICE " EACCES\n");
	expect_no_bond();
	/* The next one, without restarting anything. */
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("question " DEVICE " confirm 004711\n");
	ck_assert_int_eq(pairing_answer(pairing, DEVICE, "yes"), 0);
	expect("withdrawn " DEVICE "\nended " DEVICE " paired\n");
	expect_bond();
}
END_TEST

static const struct entry {
	const char *model, *question, *wrong_form, *right, *wrong;
} entries[] = {
	{"enter-pin 0042", "enter-pin", "12345678901234567", "0042", "43"},
	{"enter-passkey 000123", "enter-passkey", "12345a", "000123", "124"},
};

START_TEST(test_enter)
{
	const struct entry *e = &entries[_i];
	char question[128];

	begin();
	near(e->model);
	snprintf(question, sizeof(question), "question " DEVICE " %s -\n", e->question);
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect(question);
	ck_assert_int_eq(pairing_answer(pairing, DEVICE, e->wrong_form), -EINVAL);
	ck_assert_int_eq(pairing_answer(pairing, DEVICE, ""), -EINVAL);
	ck_assert_int_eq(pairing_answer(pairing, DEVICE, e->wrong), 0);
	expect("withdrawn " DEVICE "\nended " DEVICE " EKEYREJECTED\n");
	expect_no_bond();
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect(question);
	ck_assert_int_eq(pairing_answer(pairing, DEVICE, e->right), 0);
	expect("withdrawn " DEVICE "\nended " DEVICE " paired\n");
	expect_bond();
}
END_TEST

static void each_question(void *arg, const struct bluez_device *d, enum pairing_question q,
			  const char *value)
{
	ck_assert_ptr_eq(arg, &loop);
	tell("stands %s %s %s", d->address, question_name(q), value ? value : "-");
}

START_TEST(test_show)
{
	static const char *const models[] = {"show-pin 1234", "show-passkey 99"};
	static const char *const shown[] = {"show-pin 1234", "show-passkey 000099"};
	char line[128];

	begin();
	near(models[_i]);
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	snprintf(line, sizeof(line), "question " DEVICE " %s\n", shown[_i]);
	expect(line);
	pairing_questions(pairing, each_question, &loop);
	snprintf(line, sizeof(line), "stands " DEVICE " %s\n", shown[_i]);
	expect(line);
	ck_assert_int_eq(pairing_answer(pairing, DEVICE, "yes"), -ENOENT);
	fake_bluez_tell(fake, "typed %s", OBJECT);
	expect("withdrawn " DEVICE "\nended " DEVICE " paired\n");
	expect_bond();
}
END_TEST

START_TEST(test_fixed_pin)
{
	options.pin = "0000";
	begin();
	near("enter-pin 0000");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("ended " DEVICE " paired\n");
	expect_bond();
}
END_TEST

START_TEST(test_fixed_pin_wrong)
{
	options.pin = "0000";
	begin();
	near("enter-pin 1234");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("ended " DEVICE " EKEYREJECTED\n");
}
END_TEST

START_TEST(test_unanswered)
{
	options.question_seconds = 1;
	begin();
	near("confirm 1");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("question " DEVICE " confirm 000001\n");
	expect("withdrawn " DEVICE "\nended " DEVICE " ETIMEDOUT\n");
	fake_bluez_tell(fake, "pair-in %s", OBJECT);
	expect("question " DEVICE " confirm 000001\n");
	expect("withdrawn " DEVICE "\nended " DEVICE " ETIMEDOUT\n");
	wait_ms(200);
	fake_bluez_tell(fake, "model %s show-passkey 1", OBJECT);
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("question " DEVICE " show-passkey 000001\n");
	expect("withdrawn " DEVICE "\nended " DEVICE " ETIMEDOUT\n");
	expect_no_bond();
}
END_TEST

START_TEST(test_device_gives_up)
{
	begin();
	near("confirm 1");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("question " DEVICE " confirm 000001\n");
	fake_bluez_tell(fake, "cancel %s", OBJECT);
	expect("withdrawn " DEVICE "\nended " DEVICE " ECANCELED\n");
	fake_bluez_tell(fake, "pair-in %s", OBJECT);
	expect("question " DEVICE " confirm 000001\n");
	fake_bluez_tell(fake, "cancel %s", OBJECT);
	expect("withdrawn " DEVICE "\nended " DEVICE " ECANCELED\n");
	fake_bluez_tell(fake, "pair-in %s", OBJECT);
	expect("question " DEVICE " confirm 000001\n");
	fake_bluez_tell(fake, "device remove %s", OBJECT);
	expect("withdrawn " DEVICE "\nended " DEVICE " ECANCELED\n");
}
END_TEST

START_TEST(test_cancel)
{
	begin();
	near("confirm 1");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("question " DEVICE " confirm 000001\n");
	ck_assert_int_eq(pairing_cancel(pairing, DEVICE), 0);
	expect("withdrawn " DEVICE "\nended " DEVICE " ECANCELED\n");
	cancel_when_asked = true;
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("question " DEVICE " confirm 000001\nwithdrawn " DEVICE "\nended " DEVICE
	       " ECANCELED\n");
	fake_bluez_tell(fake, "pair-in %s", OBJECT);
	expect("question " DEVICE " confirm 000001\nwithdrawn " DEVICE "\nended " DEVICE
	       " ECANCELED\n");
	wait_ms(300);
	ck_assert_str_eq(fake_bluez_tell(fake, "results"),
			 "org.bluez.Error.Rejected\norg.bluez.Error.Rejected\n"
			 "org.bluez.Error.Rejected");
	expect_no_bond();
}
END_TEST

START_TEST(test_stop_when_asked)
{
	stop_when_asked = true;
	begin();
	near("confirm 1");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("question " DEVICE " confirm 000001\n");
	expect_call("UnregisterAgent");
	expect_no_bond();
}
END_TEST

/* What a device begins. */

START_TEST(test_theirs_asked)
{
	begin();
	near("just-works");
	fake_bluez_tell(fake, "pair-in %s", OBJECT);
	expect("question " DEVICE " authorize -\n");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), -EALREADY);
	ck_assert_int_eq(pairing_answer(pairing, DEVICE, "yes"), 0);
	expect("withdrawn " DEVICE "\nended " DEVICE " paired\n");
	expect_bond();
}
END_TEST

START_TEST(test_theirs_refused)
{
	begin();
	near("just-works");
	fake_bluez_tell(fake, "pair-in %s", OBJECT);
	expect("question " DEVICE " authorize -\n");
	ck_assert_int_eq(pairing_answer(pairing, DEVICE, "no"), 0);
	expect("withdrawn " DEVICE "\nended " DEVICE " EACCES\n");
	expect_no_bond();
}
END_TEST

START_TEST(test_policy_accept)
{
	options.policy = PAIRING_ACCEPT;
	options.pin = "0000";
	begin();
	near("confirm 7");
	/* Accepting does not compare numbers. */
	fake_bluez_tell(fake, "pair-in %s", OBJECT);
	expect("question " DEVICE " confirm 000007\n");
	ck_assert_int_eq(pairing_answer(pairing, DEVICE, "no"), 0);
	expect("withdrawn " DEVICE "\nended " DEVICE " EACCES\n");
	wait_ms(200);
	fake_bluez_tell(fake, "model %s enter-pin 0000", OBJECT);
	fake_bluez_tell(fake, "pair-in %s", OBJECT);
	expect("ended " DEVICE " paired\n");
	expect_bond();
}
END_TEST

START_TEST(test_policy_accept_just_works)
{
	options.policy = PAIRING_ACCEPT;
	begin();
	near("just-works");
	fake_bluez_tell(fake, "pair-in %s", OBJECT);
	expect("ended " DEVICE " paired\n");
	expect_bond();
}
END_TEST

START_TEST(test_policy_refuse)
{
	static const char *const models[] = {"just-works",      "confirm 1",  "enter-pin 1",
					     "enter-passkey 1", "show-pin 1", "show-passkey 1"};

	options.policy = PAIRING_REFUSE;
	options.pin = "1";
	begin();
	near(models[_i]);
	fake_bluez_tell(fake, "pair-in %s", OBJECT);
	expect("ended " DEVICE " EACCES\n");
	wait_ms(200);
	ck_assert_str_eq(fake_bluez_tell(fake, "results"), "org.bluez.Error.Rejected");
	expect_no_bond();
	/* That is of theirs only. */
	wait_ms(200);
	fake_bluez_tell(fake, "model %s authorize", OBJECT);
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("ended " DEVICE " paired\n");
}
END_TEST

/* Who forgot its bond, or only claims its address, replaces nothing. */
START_TEST(test_theirs_bonded)
{
	options.policy = PAIRING_ACCEPT;
	begin();
	near("authorize");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("ended " DEVICE " paired\n");
	fake_bluez_tell(fake, "pair-in %s", OBJECT);
	expect("ended " DEVICE " ENOKEY\n");
	wait_ms(200);
	ck_assert_str_eq(fake_bluez_tell(fake, "results"), "org.bluez.Error.Rejected");
	expect_bond();
}
END_TEST

START_TEST(test_theirs_other_adapter)
{
	begin();
	fake_bluez_tell(fake, "adapter add hci1 00:AA:01:00:00:01");
	fake_bluez_tell(fake, "device add hci1/%s", DEVICE);
	fake_bluez_tell(fake, "model hci1/%s confirm 1", DEVICE);
	fake_bluez_tell(fake, "pair-in hci1/%s", DEVICE);
	wait_ms(300);
	ck_assert_str_eq(fake_bluez_tell(fake, "results"), "org.bluez.Error.Rejected");
}
END_TEST

START_TEST(test_every_adapter)
{
	options.every_adapter = true;
	begin();
	fake_bluez_tell(fake, "adapter add hci1 00:AA:01:00:00:01");
	fake_bluez_tell(fake, "device add hci1/%s", DEVICE);
	fake_bluez_tell(fake, "model hci1/%s confirm 1", DEVICE);
	fake_bluez_tell(fake, "pair-in hci1/%s", DEVICE);
	expect("question " DEVICE " confirm 000001\n");
	pairing_questions(pairing, each_question, &loop);
	expect("stands " DEVICE " confirm 000001\n");
	ck_assert_int_eq(pairing_answer(pairing, DEVICE, "yes"), 0);
	expect("withdrawn " DEVICE "\n");
	wait_ms(300);
	ck_assert_str_eq(fake_bluez_tell(fake, "get hci1/%s Bonded", DEVICE), "true");
}
END_TEST

/* Errors of Pair. */

START_TEST(test_pair_errors)
{
	static const struct {
		const char *name, *text, *end;
	} errors[] = {
		{"org.bluez.Error.ConnectionAttemptFailed", "Page Timeout", "EHOSTDOWN"},
		{"org.bluez.Error.AuthenticationFailed", "", "EACCES"},
		{"org.bluez.Error.AuthenticationRejected", "", "EACCES"},
		{"org.bluez.Error.AuthenticationCanceled", "", "ECANCELED"},
		{"org.bluez.Error.AuthenticationTimeout", "", "ETIMEDOUT"},
		{"org.bluez.Error.InProgress", "", "EBUSY"},
		{"org.freedesktop.DBus.Error.Whatever", "", "EIO"},
	};
	char line[128];

	begin();
	near("just-works");
	fake_bluez_tell(fake, "fail Pair %s '%s'", errors[_i].name, errors[_i].text);
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	snprintf(line, sizeof(line), "ended " DEVICE " %s\n", errors[_i].end);
	expect(line);
	expect_no_bond();
	/* Paired by somebody else in between. */
	fake_bluez_tell(fake, "fail Pair AlreadyExists");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("ended " DEVICE " paired\n");
}
END_TEST

START_TEST(test_not_trusted)
{
	begin();
	near("just-works");
	fake_bluez_tell(fake, "fail Set.Trusted Failed");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("ended " DEVICE " paired\n");
	ck_assert_str_eq(fake_bluez_tell(fake, "get %s Trusted", OBJECT), "false");
}
END_TEST

/* BlueZ and what may happen to it. */

START_TEST(test_daemon_restarts)
{
	begin();
	near("confirm 1");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("question " DEVICE " confirm 000001\n");
	fake_bluez_tell(fake, "daemon stop");
	expect("withdrawn " DEVICE "\nended " DEVICE " ENETDOWN\n");
	await(BLUEZ_NO_DAEMON);
	ck_assert_int_eq(pairing_start(pairing, DEVICE), -ENETDOWN);
	fake_bluez_tell(fake, "daemon start");
	fake_bluez_tell(fake, "adapter add hci0 00:AA:01:00:00:00");
	await(BLUEZ_READY);
	expect_call("RequestDefaultAgent");
	near("confirm 1");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("question " DEVICE " confirm 000001\n");
	ck_assert_int_eq(pairing_answer(pairing, DEVICE, "yes"), 0);
	expect("withdrawn " DEVICE "\nended " DEVICE " paired\n");
}
END_TEST

START_TEST(test_bus_restarts)
{
	static const struct pairing_filter all = {.all = true};

	begin();
	near("confirm 1");
	ck_assert_int_eq(pairing_scan(pairing, &all, 60), 0);
	expect("found " DEVICE " '' pne\n");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("question " DEVICE " confirm 000001\n");
	fake_bluez_bus_stop(fake);
	expect("withdrawn " DEVICE "\nended " DEVICE " ENETDOWN\nscan ended ENETDOWN\n");
	await(BLUEZ_NO_BUS);
}
END_TEST

START_TEST(test_adapter_off)
{
	begin();
	near("confirm 1");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("question " DEVICE " confirm 000001\n");
	fake_bluez_tell(fake, "set hci0 Powered=b:false");
	expect("withdrawn " DEVICE "\nended " DEVICE " ENETDOWN\n");
	ck_assert_int_eq(bluez_power(bluez, true), 0);
	await(BLUEZ_READY);
	fake_bluez_tell(fake, "cancel %s", OBJECT);
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("question " DEVICE " confirm 000001\n");
	ck_assert_int_eq(pairing_answer(pairing, DEVICE, "yes"), 0);
	expect("withdrawn " DEVICE "\nended " DEVICE " paired\n");
}
END_TEST

START_TEST(test_registration_fails_first)
{
	fake_bluez_tell(fake, "fail RegisterAgent Failed");
	begin();
	near("confirm 1");
	fake_bluez_tell(fake, "pair-in %s", OBJECT);
	expect("question " DEVICE " confirm 000001\n");
	fake_bluez_tell(fake, "cancel %s", OBJECT);
	expect("withdrawn " DEVICE "\nended " DEVICE " ECANCELED\n");
}
END_TEST

/* Discovery. */

START_TEST(test_scan)
{
	static const struct pairing_filter filter = {.rssi = -80};

	begin();
	ck_assert_int_eq(pairing_scan(pairing, &filter, 1), 0);
	ck_assert_int_eq(pairing_scan(pairing, &filter, 1), -EALREADY);
	expect_call("SetDiscoveryFilter {DuplicateData: true, RSSI: -80, Transport: auto, UUIDs: "
		    "[" BLUETOOTH_UUID_PNE "]}");
	near("just-works");
	expect("found " DEVICE " '' pne\n");
	fake_bluez_tell(fake, "device add hci0/%s RSSI=n:-50", OTHER);
	fake_bluez_tell(fake, "device add hci0/00:11:22:33:44:77 UUIDs=as:%s RSSI=n:-81",
			BLUETOOTH_UUID_PNE);
	fake_bluez_tell(fake, "set %s RSSI=n:-49", OBJECT);
	expect("scan ended 0\n");
	expect_call("StopDiscovery");
	pairing_scan_stop(pairing);
}
END_TEST

START_TEST(test_scan_all)
{
	static const struct pairing_filter filter = {.all = true, .name = "HEAD"};

	begin();
	fake_bluez_tell(fake, "device add %s Name=s:Headset Alias=s:Headset RSSI=n:-50", OBJECT);
	fake_bluez_tell(fake, "device add hci0/%s RSSI=n:-50", OTHER);
	wait_ms(200);
	ck_assert_int_eq(pairing_scan(pairing, &filter, 60), 0);
	expect("found " DEVICE " 'Headset' -\n");
	expect_call("SetDiscoveryFilter {DuplicateData: true, Transport: auto}");
	fake_bluez_tell(fake, "set hci0/%s Alias=s:aheadofyou Name=s:aheadofyou", OTHER);
	expect("found " OTHER " 'aheadofyou' -\n");
	fake_bluez_tell(fake, "set %s UUIDs=as:%s", OBJECT, BLUETOOTH_UUID_PNE);
	expect("found " DEVICE " 'Headset' pne\n");
	pairing_scan_stop(pairing);
	expect("scan ended 0\n");
	expect_call("StopDiscovery");
}
END_TEST

START_TEST(test_scan_fails)
{
	static const struct pairing_filter filter = {.all = true};

	begin();
	fake_bluez_tell(fake, "fail StartDiscovery NotReady");
	ck_assert_int_eq(pairing_scan(pairing, &filter, 60), 0);
	expect("scan ended ENETDOWN\n");
	ck_assert_int_eq(pairing_scan(pairing, &filter, 60), 0);
	expect_call("StartDiscovery");
	fake_bluez_tell(fake, "adapter remove hci0");
	expect("scan ended ENETDOWN\n");
	ck_assert_int_eq(pairing_scan(pairing, &filter, 60), -ENETDOWN);
}
END_TEST

/* A device that is not known yet is sought, whatever the filter of a scan. */
START_TEST(test_seek)
{
	static const struct pairing_filter filter = {.all = false};

	begin();
	ck_assert_int_eq(pairing_scan(pairing, &filter, 60), 0);
	expect_call("UUIDs");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect_call("SetDiscoveryFilter {DuplicateData: true, Transport: auto}");
	fake_bluez_tell(fake, "device add %s RSSI=n:-50", OBJECT);
	expect("ended " DEVICE " paired\n");
	expect_bond();
	expect_call("UUIDs");
	pairing_scan_stop(pairing);
	expect("scan ended 0\n");
	expect_call("StopDiscovery");
}
END_TEST

START_TEST(test_seek_in_vain)
{
	options.seek_seconds = 1;
	begin();
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect_call("StartDiscovery");
	expect("ended " DEVICE " ENODEV\n");
	expect_call("StopDiscovery");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	ck_assert_int_eq(pairing_cancel(pairing, DEVICE), 0);
	expect("ended " DEVICE " ECANCELED\n");
}
END_TEST

static void removed(void *arg, int error, const char *why)
{
	ck_assert_ptr_eq(arg, &stops);
	ck_assert_ptr_nonnull(why);
	tell("removed %s", error == 0 ? "0" : strerrorname_np(-error));
}

START_TEST(test_unbond)
{
	begin();
	ck_assert_int_eq(pairing_unbond(pairing, DEVICE, removed, &stops), -ENOENT);
	near("just-works");
	ck_assert_int_eq(pairing_start(pairing, DEVICE), 0);
	expect("ended " DEVICE " paired\n");
	fake_bluez_tell(fake, "fail RemoveDevice Failed");
	ck_assert_int_eq(pairing_unbond(pairing, DEVICE, removed, &stops), 0);
	expect("removed EIO\n");
	ck_assert_int_eq(pairing_unbond(pairing, DEVICE, removed, &stops), 0);
	expect("removed 0\n");
	/* Not told after it was forgotten, nor after a stop. */
	near("just-works");
	ck_assert_int_eq(pairing_unbond(pairing, DEVICE, removed, &stops), 0);
	pairing_forget(pairing, &stops);
	expect_call("RemoveDevice");
	wait_ms(200);
	near("just-works");
	fake_bluez_tell(fake, "hold RemoveDevice");
	ck_assert_int_eq(pairing_unbond(pairing, DEVICE, removed, &stops), 0);
	expect_call("RemoveDevice");
}
END_TEST

START_TEST(test_options)
{
	struct bluez_options o;

	begin();
	memset(&o, 0, sizeof(o));
	options.pin = "12345678901234567";
	ck_assert_int_eq(pairing_new(&loop, bluez, &options, &callbacks, NULL, &pairing), -EINVAL);
	ck_assert_str_eq(pairing_capability_name(PAIRING_DISPLAY_ONLY), "DisplayOnly");
	ck_assert_str_eq(pairing_capability_name(PAIRING_DISPLAY_YES_NO), "DisplayYesNo");
	ck_assert_str_eq(pairing_capability_name(PAIRING_KEYBOARD_ONLY), "KeyboardOnly");
	ck_assert_str_eq(pairing_capability_name(PAIRING_NO_INPUT_NO_OUTPUT), "NoInputNoOutput");
	ck_assert_str_eq(pairing_capability_name(PAIRING_KEYBOARD_DISPLAY), "KeyboardDisplay");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pairing");
	TCase *ours = tcase_create("ours");
	TCase *theirs = tcase_create("theirs");
	TCase *bluez_case = tcase_create("bluez");
	TCase *discovery = tcase_create("discovery");
	TCase *all[] = {ours, theirs, bluez_case, discovery};
	SRunner *runner;
	int failed;

	if (!fake_bluez_possible())
		return 77;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		tcase_add_checked_fixture(all[i], setup, teardown);
		tcase_set_timeout(all[i], 120);
		suite_add_tcase(suite, all[i]);
	}
	tcase_add_test(ours, test_just_works);
	tcase_add_test(ours, test_authorize_ours);
	tcase_add_test(ours, test_confirm);
	tcase_add_test(ours, test_confirm_no);
	tcase_add_loop_test(ours, test_enter, 0, 2);
	tcase_add_loop_test(ours, test_show, 0, 2);
	tcase_add_test(ours, test_fixed_pin);
	tcase_add_test(ours, test_fixed_pin_wrong);
	tcase_add_test(ours, test_unanswered);
	tcase_add_test(ours, test_device_gives_up);
	tcase_add_test(ours, test_cancel);
	tcase_add_test(ours, test_stop_when_asked);
	tcase_add_loop_test(ours, test_pair_errors, 0, 7);
	tcase_add_test(ours, test_not_trusted);
	tcase_add_test(theirs, test_theirs_asked);
	tcase_add_test(theirs, test_theirs_refused);
	tcase_add_test(theirs, test_policy_accept);
	tcase_add_test(theirs, test_policy_accept_just_works);
	tcase_add_loop_test(theirs, test_policy_refuse, 0, 6);
	tcase_add_test(theirs, test_theirs_bonded);
	tcase_add_test(theirs, test_theirs_other_adapter);
	tcase_add_test(theirs, test_every_adapter);
	tcase_add_test(bluez_case, test_daemon_restarts);
	tcase_add_test(bluez_case, test_bus_restarts);
	tcase_add_test(bluez_case, test_adapter_off);
	tcase_add_test(bluez_case, test_registration_fails_first);
	tcase_add_test(discovery, test_scan);
	tcase_add_test(discovery, test_scan_all);
	tcase_add_test(discovery, test_scan_fails);
	tcase_add_test(discovery, test_seek);
	tcase_add_test(discovery, test_seek_in_vain);
	tcase_add_test(discovery, test_unbond);
	tcase_add_test(discovery, test_options);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
