#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <check.h>

#include "tests/bluez-seen.h"

/*
 * What others build on: that the fake hands over sockets and asks an agent as bluetoothd does.
 */
struct peer {
	int connections, questions, cancelled, released, disconnected;
	int fd;
	char device[BLUEZ_PATH_SIZE];
	sd_bus_message *open; /* a question that waits */
};

static int on_profile(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	struct peer *p = arg;
	const char *device;
	int fd;

	(void)e;
	if (sd_bus_message_is_method_call(m, NULL, "Release")) {
		p->released++;
	} else if (sd_bus_message_is_method_call(m, NULL, "RequestDisconnection")) {
		p->disconnected++;
	} else {
		ck_assert_int_ge(sd_bus_message_read(m, "oh", &device, &fd), 0);
		snprintf(p->device, sizeof(p->device), "%s", device);
		p->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		p->connections++;
	}
	return sd_bus_reply_method_return(m, "");
}

static int on_question(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	struct peer *p = arg;

	(void)e;
	if (sd_bus_message_is_method_call(m, NULL, "Cancel")) {
		p->cancelled++;
		return sd_bus_reply_method_return(m, "");
	}
	p->questions++;
	p->open = sd_bus_message_ref(m);
	return 1;
}

static const sd_bus_vtable profile_methods[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("NewConnection", "oha{sv}", "", on_profile, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("RequestDisconnection", "o", "", on_profile, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("Release", "", "", on_profile, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

static const sd_bus_vtable agent_methods[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("RequestPinCode", "o", "s", on_question, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("RequestPasskey", "o", "u", on_question, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("RequestConfirmation", "ou", "", on_question, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("RequestAuthorization", "o", "", on_question, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("DisplayPasskey", "ouq", "", on_question, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("DisplayPinCode", "os", "", on_question, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("Cancel", "", "", on_question, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

static bool is_connected(void *arg)
{
	return ((struct peer *)arg)->connections > 0;
}

static bool is_released(void *arg)
{
	const struct peer *p = arg;

	return p->released > 0 && p->disconnected > 0;
}

static bool is_asked(void *arg)
{
	return ((struct peer *)arg)->open != NULL;
}

static bool is_cancelled(void *arg)
{
	return ((struct peer *)arg)->cancelled > 0;
}

/* The bus may still hold a copy of what it has handed over. */
static void check_hung_up(int far)
{
	ssize_t n = 1;

	for (int i = 0; n == 1 && i < SOON / 10; i++) {
		usleep(10000);
		n = write(far, "x", 1);
	}
	ck_assert_int_eq(n, -1);
}

static void check_socket(struct peer *p, int far)
{
	char byte = 0;

	ck_assert_str_eq(p->device, NEAR_PATH);
	ck_assert_int_eq(write(far, "x", 1), 1);
	ck_assert_int_eq(read(p->fd, &byte, 1), 1);
	ck_assert_int_eq(byte, 'x');
	close(p->fd);
	check_hung_up(far);
	close(far);
	p->connections = 0;
}

START_TEST(fake_hands_over_sockets)
{
	static const char *const roles[] = {"server", "client"};
	struct bluez_options options = options_of();
	struct outcome o = {0};
	struct peer p = {0};
	struct seen s;
	int far;

	(void)signal(SIGPIPE, SIG_IGN);
	fake_bluez_tell(fake, "adapter add hci0 " A0 " Powered=b:true");
	fake_bluez_tell(fake, "device add hci0/" NEAR " Bonded=b:true");
	begin(&s, &options);
	await(&s, BLUEZ_READY);
	ck_assert_int_ge(sd_bus_add_object_vtable(bluez_bus(s.bluez), NULL, "/profile",
						  "org.bluez.Profile1", profile_methods, &p),
			 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(bluez_call(s.bluez, 0, on_done, &o, "/org/bluez",
					    "org.bluez.ProfileManager1", "RegisterProfile",
					    "osa{sv}", "/profile", BLUETOOTH_UUID_PNE, 1, "Role",
					    "s", roles[i]),
				 0);
		await_done(&o, 0);
	}
	far = fake_bluez_tell_fd(fake, "incoming hci0/" NEAR " " BLUETOOTH_UUID_PNE);
	ck_assert(fake_bluez_run(&loop, SOON, is_connected, &p));
	check_socket(&p, far);
	ck_assert_int_eq(bluez_call(s.bluez, 0, on_done, &o, NEAR_PATH, "org.bluez.Device1",
				    "ConnectProfile", "s", BLUETOOTH_UUID_PNE),
			 0);
	await_done(&o, 0);
	ck_assert_int_eq(p.connections, 1);
	check_socket(&p, fake_bluez_tell_fd(fake, "far hci0/" NEAR));
	ck_assert_str_eq(fake_bluez_tell(fake, "results"), "ok\nok");
	fake_bluez_tell(fake, "fail ConnectProfile Failed br-connection-page-timeout");
	ck_assert_int_eq(bluez_call(s.bluez, 0, on_done, &o, NEAR_PATH, "org.bluez.Device1",
				    "ConnectProfile", "s", BLUETOOTH_UUID_PNE),
			 0);
	await_done(&o, -EHOSTDOWN);
	fake_bluez_tell(fake, "disconnection hci0/" NEAR " " BLUETOOTH_UUID_PNE);
	fake_bluez_tell(fake, "release-profile " BLUETOOTH_UUID_PNE);
	ck_assert(fake_bluez_run(&loop, SOON, is_released, &p));
	finish(&s);
}
END_TEST

static void pair(struct seen *s, struct outcome *o)
{
	ck_assert_int_eq(
		bluez_call(s->bluez, 60, on_done, o, NEAR_PATH, "org.bluez.Device1", "Pair", ""),
		0);
}

static void answer(struct peer *p, const char *types, ...)
{
	sd_bus_message *m = NULL;
	va_list list;

	ck_assert(fake_bluez_run(&loop, SOON, is_asked, p));
	if (types) {
		ck_assert_int_ge(sd_bus_message_new_method_return(p->open, &m), 0);
		va_start(list, types);
		ck_assert_int_ge(sd_bus_message_appendv(m, types, list), 0);
		va_end(list);
		ck_assert_int_ge(sd_bus_send(NULL, m, NULL), 0);
		sd_bus_message_unref(m);
	} else {
		ck_assert_int_ge(
			sd_bus_reply_method_errorf(p->open, "org.bluez.Error.Rejected", "no"), 0);
	}
	p->open = sd_bus_message_unref(p->open);
}

static bool is_bonded(void *arg)
{
	const struct seen *s = arg;
	const struct bluez_device *d = bluez_find(s->bluez, NEAR);

	return d && d->bonded;
}

START_TEST(fake_pairs)
{
	struct bluez_options options = options_of();
	struct outcome o = {0};
	struct peer p = {0};
	struct seen s;

	fake_bluez_tell(fake, "adapter add hci0 " A0 " Powered=b:true");
	fake_bluez_tell(fake, "device add hci0/" NEAR);
	begin(&s, &options);
	await(&s, BLUEZ_READY);
	ck_assert_int_ge(sd_bus_add_object_vtable(bluez_bus(s.bluez), NULL, "/agent",
						  "org.bluez.Agent1", agent_methods, &p),
			 0);
	fake_bluez_tell(fake, "model hci0/" NEAR " confirm 123456");
	pair(&s, &o);
	await_done(&o, -EACCES); /* no agent */
	ck_assert_int_eq(bluez_call(s.bluez, 0, on_done, &o, "/org/bluez",
				    "org.bluez.AgentManager1", "RegisterAgent", "os", "/agent",
				    "KeyboardDisplay"),
			 0);
	await_done(&o, 0);
	pair(&s, &o);
	answer(&p, NULL);
	await_done(&o, -EACCES);
	pair(&s, &o);
	answer(&p, "");
	await_done(&o, 0);
	ck_assert(bluez_find(s.bluez, NEAR)->bonded);
	pair(&s, &o);
	await_done(&o, -EALREADY);

	fake_bluez_tell(fake, "set hci0/" NEAR " Paired=b:false Bonded=b:false");
	fake_bluez_tell(fake, "model hci0/" NEAR " enter-pin 0000");
	pair(&s, &o);
	answer(&p, "s", "1234");
	await_done(&o, -EKEYREJECTED);
	pair(&s, &o);
	answer(&p, "s", "0000");
	await_done(&o, 0);

	fake_bluez_tell(fake, "set hci0/" NEAR " Paired=b:false Bonded=b:false");
	fake_bluez_tell(fake, "model hci0/" NEAR " show-passkey 001234");
	pair(&s, &o);
	answer(&p, "");
	fake_bluez_tell(fake, "typed hci0/" NEAR);
	await_done(&o, 0);

	fake_bluez_tell(fake, "set hci0/" NEAR " Paired=b:false Bonded=b:false");
	fake_bluez_tell(fake, "model hci0/" NEAR " enter-passkey 001234");
	fake_bluez_tell(fake, "pair-in hci0/" NEAR);
	ck_assert(fake_bluez_run(&loop, SOON, is_asked, &p));
	fake_bluez_tell(fake, "cancel hci0/" NEAR);
	ck_assert(fake_bluez_run(&loop, SOON, is_cancelled, &p));
	answer(&p, "u", 1234);
	fake_bluez_tell(fake, "pair-in hci0/" NEAR);
	answer(&p, "u", 1234);
	ck_assert(fake_bluez_run(&loop, SOON, is_bonded, &s));
	finish(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bluez fake");
	TCase *usual = tcase_create("with bluetoothd");
	SRunner *runner;
	int failed;

	if (!fake_bluez_possible())
		return 77;
	tcase_set_timeout(usual, 40);
	tcase_add_checked_fixture(usual, setup, teardown);
	tcase_add_test(usual, fake_hands_over_sockets);
	tcase_add_test(usual, fake_pairs);
	suite_add_tcase(suite, usual);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
