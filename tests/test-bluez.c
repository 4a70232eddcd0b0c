#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <check.h>

#include "pan/bluez.h"
#include "pan/bus.h"
#include "tests/bluez-fake.h"

#define SOON      6000 /* ms, until what must come */
#define A0        "00:AA:01:00:00:10"
#define A1        "00:AA:01:01:00:11"
#define NEAR      "C0:FF:EE:00:00:01"
#define NEAR_PATH "/org/bluez/hci0/dev_C0_FF_EE_00_00_01"

static struct fake_bluez *fake;
static uv_loop_t loop;

static void setup_stopped(void)
{
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	fake = fake_bluez_new_stopped();
}

static void setup(void)
{
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	fake = fake_bluez_new();
}

static void teardown(void)
{
	ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	fake_bluez_free(fake);
}

/* The bus alone. */

struct seen_bus {
	struct bus *bus;
	sd_bus *connection;
	int ups, downs, stops, replies;
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
	.up = seen_up, .down = seen_down, .stopped = seen_stopped};

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

static bool never(void *arg)
{
	(void)arg;
	return false;
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

START_TEST(bus_that_hangs_is_left)
{
	struct seen_bus s = {0};
	char address[128];

	/* Somebody listens, but is no D-Bus: the next of the list serves. */
	fake_bluez_bus_start(fake);
	snprintf(address, sizeof(address), "unix:path=%s/none;%s", fake_bluez_folder(fake),
		 fake_bluez_bus(fake));
	ck_assert_int_eq(bus_new(&loop, address, &bus_callbacks, &s, &s.bus), 0);
	bus_start(s.bus);
	ck_assert(fake_bluez_run(&loop, SOON, is_up, &s));
	end_bus(&s);
}
END_TEST

/* BlueZ. */

struct seen {
	struct bluez_watcher watcher; /* first */
	struct bluez *bluez;
	enum bluez_state wanted;
	char states[128]; /* a letter each */
	int added, changed, gone, stopped;
	struct bluez_device last;
	bool unwatch_at_once;
};

static void on_state(struct bluez_watcher *w, enum bluez_state state)
{
	struct seen *s = (struct seen *)w;
	size_t n = strlen(s->states);

	ck_assert_int_eq(state, bluez_state(s->bluez));
	ck_assert_ptr_eq(bluez_bus(s->bluez) ? w : NULL, state == BLUEZ_NO_BUS ? NULL : w);
	ck_assert_int_eq(bluez_adapter(s->bluez) != NULL, state >= BLUEZ_BLOCKED);
	ck_assert_uint_lt(n, sizeof(s->states) - 1);
	switch (state) {
	case BLUEZ_NO_BUS:
		s->states[n] = '-';
		break;
	case BLUEZ_NO_DAEMON:
		s->states[n] = 'b';
		break;
	case BLUEZ_NO_ADAPTER:
		s->states[n] = 'd';
		break;
	case BLUEZ_BLOCKED:
		s->states[n] = 'x';
		break;
	case BLUEZ_OFF:
		s->states[n] = 'o';
		break;
	case BLUEZ_READY:
		s->states[n] = 'R';
		break;
	}
	s->states[n + 1] = '\0';
	if (state < BLUEZ_BLOCKED)
		ck_assert_int_eq(s->added, s->gone);
	if (s->unwatch_at_once && n > 0)
		bluez_unwatch(s->bluez, w);
}

static void on_device(struct bluez_watcher *w, const struct bluez_device *d,
		      enum bluez_change change)
{
	struct seen *s = (struct seen *)w;

	switch (change) {
	case BLUEZ_DEVICE_ADDED:
		s->added++;
		break;
	case BLUEZ_DEVICE_CHANGED:
		s->changed++;
		break;
	case BLUEZ_DEVICE_GONE:
		s->gone++;
		break;
	}
	s->last = *d;
}

static struct bluez_options options_of(void)
{
	return (struct bluez_options){.bus = fake_bluez_bus(fake),
				      .adapter = "",
				      .alias = "",
				      .power_on = true,
				      .rfkill = fake_bluez_folder(fake)};
}

static void begin(struct seen *s, const struct bluez_options *options)
{
	*s = (struct seen){.watcher = {.state = on_state, .device = on_device}};
	ck_assert_int_eq(bluez_new(&loop, options, &s->bluez), 0);
	bluez_watch(s->bluez, &s->watcher);
	ck_assert_str_eq(s->states, "-");
	bluez_start(s->bluez);
}

static bool state_is_wanted(void *arg)
{
	const struct seen *s = arg;

	return bluez_state(s->bluez) == s->wanted;
}

static void await(struct seen *s, enum bluez_state state)
{
	s->wanted = state;
	ck_assert_msg(fake_bluez_run(&loop, SOON, state_is_wanted, s), "still '%s' after %s",
		      bluez_state_text(bluez_state(s->bluez)), s->states);
}

static void on_stopped(void *arg)
{
	((struct seen *)arg)->stopped++;
}

static bool has_stopped(void *arg)
{
	return ((struct seen *)arg)->stopped > 0;
}

static void finish(struct seen *s)
{
	bluez_stop(s->bluez, on_stopped, s);
	ck_assert_int_eq(s->stopped, 0);
	ck_assert(fake_bluez_run(&loop, SOON, has_stopped, s));
	ck_assert_int_eq(s->added, s->gone);
}

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
	ck_assert_str_eq(s.states, "-bdoR");
	ck_assert_str_eq(bluez_adapter(s.bluez), "/org/bluez/hci0");
	ck_assert_str_eq(bluez_adapter_address(s.bluez), A0);
	ck_assert_str_eq(fake_bluez_tell(fake, "get hci0 Alias"), "gate way");
	ck_assert_str_eq(fake_bluez_tell(fake, "get hci0 Pairable"), "true");
	finish(&s);
	ck_assert_str_eq(s.states, "-bdoR-");
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
	ck_assert_str_eq(s.states, "-bR");
	ck_assert_int_eq(s.added, 1);
	ck_assert_str_eq(s.last.name, "one");
	ck_assert(s.last.bonded);
	/* It was as it should be: nothing was set. */
	ck_assert_int_eq(calls_with("Set"), 0);
	finish(&s);
}
END_TEST

static bool has_added_twice(void *arg)
{
	return ((struct seen *)arg)->added == 2;
}

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
	ck_assert_str_eq(s.states, "-bRbdoR-bdR");
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
	ck_assert_str_eq(s.states, "-bRdoR");
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
		ck_assert_str_eq(s.states, "-bRdR");
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
	ck_assert_str_eq(s.states, "-boxoR");
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
	ck_assert_str_eq(s.states, "-boRxoR");
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
	ck_assert_str_eq(s.states, "-bxoR");
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
	ck_assert_str_eq(s.states, "-boR");
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

static bool has_changed(void *arg)
{
	struct seen *s = arg;
	bool changed = s->changed > 0;

	if (changed)
		s->changed = 0;
	return changed;
}

static bool has_gone(void *arg)
{
	return ((struct seen *)arg)->gone > 0;
}

static void await_change(struct seen *s)
{
	ck_assert(fake_bluez_run(&loop, SOON, has_changed, s));
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
	fake_bluez_tell(fake, "set hci0/5A:00:00:00:00:01 Address=s:" NEAR
			      " AddressType=s:public AdvertisingFlags=ay:06");
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
	ck_assert_str_eq(s.states, "-bR");
	ck_assert_int_eq(s.added, 1);
	ck_assert_int_eq(s.changed, 0);
	sd_bus_close_unref(other);
	finish(&s);
}
END_TEST

struct outcome {
	int times, error;
	char name[64];
	bool had_reply;
};

static void on_done(void *arg, int error, const char *name, const char *text, sd_bus_message *reply)
{
	struct outcome *o = arg;

	ck_assert_ptr_nonnull(text);
	o->times++;
	o->error = error;
	o->had_reply = reply != NULL;
	snprintf(o->name, sizeof(o->name), "%s", name);
}

static bool is_done(void *arg)
{
	return ((struct outcome *)arg)->times > 0;
}

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
	ck_assert_str_eq(s.states, "-bR");
	ck_assert_str_eq(second.states, "-b");
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
	Suite *suite = suite_create("bluez");
	TCase *early = tcase_create("from nothing");
	TCase *usual = tcase_create("with bluetoothd");
	TCase *pure = tcase_create("pure");
	SRunner *runner;
	int failed;

	if (!fake_bluez_possible())
		return 77;
	tcase_set_timeout(early, 40);
	tcase_add_checked_fixture(early, setup_stopped, teardown);
	tcase_add_test(early, bus_comes_late_and_again);
	tcase_add_test(early, bus_stops_at_every_stage);
	tcase_add_test(early, bus_is_made_again_when_asked);
	tcase_add_test(early, bus_that_hangs_is_left);
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
	tcase_add_test(usual, devices);
	tcase_add_test(usual, le_devices);
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
