#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <check.h>

#include "pan/bus.h"
#include "tests/bluez-seen.h"

struct seen_bus {
	struct bus *bus;
	sd_bus *connection;
	int ups, downs, stops, replies, fails, error;
	bool stop_in_up, again_in_up;
};

static void seen_up(void *arg, sd_bus *connection)
{
	struct seen_bus *s = arg;

	s->ups++;
	s->connection = connection;
	if (s->again_in_up && s->ups == 1)
		bus_again(s->bus);
	if (s->stop_in_up)
		bus_stop(s->bus);
}

static void seen_failed(void *arg, int error)
{
	struct seen_bus *s = arg;

	s->fails++;
	s->error = error;
}

static void seen_down(void *arg)
{
	struct seen_bus *s = arg;

	s->downs++;
	s->connection = NULL;
}

static void seen_stopped(void *arg)
{
	struct seen_bus *s = arg;

	s->stops++;
	s->bus = NULL;
}

static const struct bus_callbacks bus_callbacks = {
	.up = seen_up, .failed = seen_failed, .down = seen_down, .stopped = seen_stopped};

static bool is_up(void *arg)
{
	return ((struct seen_bus *)arg)->connection != NULL;
}

static bool is_down(void *arg)
{
	return !is_up(arg);
}

static bool is_stopped(void *arg)
{
	return ((struct seen_bus *)arg)->stops > 0;
}

static bool has_reply(void *arg)
{
	return ((struct seen_bus *)arg)->replies > 0;
}

static int on_names(sd_bus_message *m, void *arg, sd_bus_error *unused)
{
	(void)unused;
	ck_assert(!sd_bus_message_is_method_error(m, NULL));
	((struct seen_bus *)arg)->replies++;
	return 0;
}

static void make_bus(struct seen_bus *s)
{
	ck_assert_int_eq(bus_new(&loop, fake_bluez_bus(fake), &bus_callbacks, s, &s->bus), 0);
}

static void end_bus(struct seen_bus *s)
{
	bus_stop(s->bus);
	ck_assert_int_eq(s->stops, 0);
	ck_assert(fake_bluez_run(&loop, SOON, is_stopped, s));
	ck_assert_int_eq(s->ups, s->downs);
	ck_assert_int_eq(s->stops, 1);
}

START_TEST(bus_comes_late_and_again)
{
	struct seen_bus s = {0};

	make_bus(&s);
	bus_start(s.bus);
	ck_assert(!fake_bluez_run(&loop, 300, is_up, &s));
	ck_assert_int_gt(s.fails, 0);
	ck_assert_int_eq(s.error, -ENOENT);
	fake_bluez_bus_start(fake);
	ck_assert(fake_bluez_run(&loop, SOON, is_up, &s));
	/* A call made outside of the bus's own callbacks, and more data than one read takes. */
	ck_assert_int_ge(sd_bus_call_method_async(s.connection, NULL, "org.freedesktop.DBus",
						  "/org/freedesktop/DBus", "org.freedesktop.DBus",
						  "ListNames", on_names, &s, ""),
			 0);
	ck_assert(fake_bluez_run(&loop, SOON, has_reply, &s));
	fake_bluez_bus_stop(fake);
	ck_assert(fake_bluez_run(&loop, SOON, is_down, &s));
	fake_bluez_bus_start(fake);
	ck_assert(fake_bluez_run(&loop, SOON, is_up, &s));
	ck_assert_int_eq(s.ups, 2);
	ck_assert_int_eq(s.downs, 1);
	end_bus(&s);
}
END_TEST

START_TEST(bus_stops_at_every_stage)
{
	struct seen_bus unborn = {0}, early = {0}, waiting = {0}, within = {.stop_in_up = true};

	make_bus(&unborn);
	end_bus(&unborn);
	make_bus(&early);
	bus_start(early.bus);
	end_bus(&early);
	make_bus(&waiting);
	bus_start(waiting.bus);
	ck_assert(!fake_bluez_run(&loop, 100, never, NULL));
	end_bus(&waiting);
	fake_bluez_bus_start(fake);
	make_bus(&within);
	bus_start(within.bus);
	ck_assert(fake_bluez_run(&loop, SOON, is_stopped, &within));
	ck_assert_int_eq(within.ups, 1);
	ck_assert_int_eq(within.downs, 1);
}
END_TEST

START_TEST(bus_is_made_again_when_asked)
{
	struct seen_bus s = {.again_in_up = true};

	fake_bluez_bus_start(fake);
	make_bus(&s);
	bus_start(s.bus);
	ck_assert(fake_bluez_run(&loop, SOON, is_up, &s));
	ck_assert(fake_bluez_run(&loop, SOON, is_down, &s));
	ck_assert(fake_bluez_run(&loop, SOON, is_up, &s));
	ck_assert_int_eq(s.ups, 2);
	end_bus(&s);
}
END_TEST

START_TEST(bus_of_a_list)
{
	struct seen_bus s = {0};
	char address[128];

	fake_bluez_bus_start(fake);
	snprintf(address, sizeof(address), "unix:path=%s/none;%s", fake_bluez_folder(fake),
		 fake_bluez_bus(fake));
	ck_assert_int_eq(bus_new(&loop, address, &bus_callbacks, &s, &s.bus), 0);
	bus_start(s.bus);
	ck_assert(fake_bluez_run(&loop, SOON, is_up, &s));
	end_bus(&s);
}
END_TEST

/* Somebody listens who never answers, and then who answers something else. */
START_TEST(bus_that_is_none)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct seen_bus s = {0};
	char address[160];
	int listener, peer;

	snprintf(at.sun_path, sizeof(at.sun_path), "%s/none", fake_bluez_folder(fake));
	snprintf(address, sizeof(address), "unix:path=%s/none", fake_bluez_folder(fake));
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(listener, 5), 0);
	ck_assert_int_eq(bus_new(&loop, address, &bus_callbacks, &s, &s.bus), 0);
	bus_start(s.bus);
	ck_assert(!fake_bluez_run(&loop, 150, is_up, &s));
	peer = accept(listener, NULL, NULL);
	ck_assert_int_ge(peer, 0);
	ck_assert_int_eq(write(peer, "NONSENSE\r\n", 10), 10);
	ck_assert(!fake_bluez_run(&loop, 100, is_up, &s));
	close(peer);
	ck_assert(!fake_bluez_run(&loop, 400, is_up, &s));
	/* It has tried again. */
	peer = accept(listener, NULL, NULL);
	ck_assert_int_ge(peer, 0);
	end_bus(&s);
	ck_assert_int_eq(s.ups, 0);
	close(peer);
	close(listener);
}
END_TEST

START_TEST(bus_of_the_system)
{
	struct seen_bus s = {0};

	fake_bluez_bus_start(fake);
	ck_assert_int_eq(setenv("DBUS_SYSTEM_BUS_ADDRESS", fake_bluez_bus(fake), 1), 0);
	ck_assert_int_eq(bus_new(&loop, NULL, &bus_callbacks, &s, &s.bus), 0);
	unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
	bus_start(s.bus);
	ck_assert(fake_bluez_run(&loop, SOON, is_up, &s));
	end_bus(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bus");
	TCase *early = tcase_create("from nothing");
	SRunner *runner;
	int failed;

	if (!fake_bluez_possible())
		return 77;
	tcase_set_timeout(early, 40);
	tcase_add_checked_fixture(early, setup_stopped, teardown);
	tcase_add_test(early, bus_comes_late_and_again);
	tcase_add_test(early, bus_stops_at_every_stage);
	tcase_add_test(early, bus_is_made_again_when_asked);
	tcase_add_test(early, bus_of_a_list);
	tcase_add_test(early, bus_that_is_none);
	tcase_add_test(early, bus_of_the_system);
	suite_add_tcase(suite, early);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
