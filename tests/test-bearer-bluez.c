#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pan/bearer-bluez.h"
#include "tests/bluez-fake.h"

#define SOON  20000 /* ms, until what must come */
#define QUIET 200   /* ms, in which what must not come would have */
#define NEAR  "C0:FF:EE:00:00:01"
#define OTHER "C0:FF:EE:00:00:02"

#define MAX_LINKS 8

static struct fake_bluez *fake;
static uv_loop_t loop;

static struct rig {
	struct bluez *bluez;
	struct bearer *bearer;
	struct bearer_link *links[MAX_LINKS]; /* those that are up, the oldest first */
	unsigned up, ups, downs, fails, stops, bluez_stops, changes;
	enum pan_security level;
	char peer[64];
	enum bearer_down why;
	int down_error, fail_error;
	char fail_address[32], fail_why[256];
	uint8_t input[4096];
	size_t input_size;
	char notes[4096];
	bool stop_at_up, drop_at_up;
} rig;

/* What the fake level is now. */
static struct bluetooth_level fake_level;
static int fake_level_error;
static unsigned level_reads;
static char level_adapter[32], level_device[32], level_bonds[64];

static int read_fake_level(int fd, const char *adapter, const char *device, const char *bonds,
			   struct bluetooth_level *out)
{
	int type;
	socklen_t size = sizeof(type);

	ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size), 0);
	snprintf(level_adapter, sizeof(level_adapter), "%s", adapter);
	snprintf(level_device, sizeof(level_device), "%s", device);
	snprintf(level_bonds, sizeof(level_bonds), "%s", bonds);
	level_reads++;
	*out = fake_level;
	return fake_level_error;
}

static void on_up(void *arg, struct bearer_link *l, enum pan_security level, const char *peer)
{
	ck_assert_ptr_eq(arg, &rig);
	ck_assert_uint_lt(rig.up, MAX_LINKS);
	rig.links[rig.up++] = l;
	rig.ups++;
	rig.level = level;
	snprintf(rig.peer, sizeof(rig.peer), "%s", peer);
	if (rig.drop_at_up)
		bearer_drop(rig.bearer, l, BEARER_DOWN_ERROR);
	if (rig.stop_at_up)
		bearer_stop(rig.bearer);
}

static void on_bytes(void *arg, struct bearer_link *l, struct bytes input)
{
	(void)arg;
	(void)l;
	ck_assert_uint_le(rig.input_size + input.size, sizeof(rig.input));
	memcpy(rig.input + rig.input_size, input.data, input.size);
	rig.input_size += input.size;
}

static void on_security(void *arg, struct bearer_link *l, enum pan_security level)
{
	(void)arg;
	ck_assert_ptr_eq(l, rig.links[0]);
	rig.changes++;
	rig.level = level;
}

static void on_down(void *arg, struct bearer_link *l, enum bearer_down why, int error)
{
	unsigned i = 0;

	(void)arg;
	while (i < rig.up && rig.links[i] != l)
		i++;
	ck_assert_uint_lt(i, rig.up);
	memmove(&rig.links[i], &rig.links[i + 1], (rig.up - i - 1) * sizeof(rig.links[0]));
	rig.up--;
	rig.downs++;
	rig.why = why;
	rig.down_error = error;
}

static void on_failed(void *arg, const char *address, int error, const char *why)
{
	ck_assert_ptr_eq(arg, &rig);
	rig.fails++;
	rig.fail_error = error;
	snprintf(rig.fail_address, sizeof(rig.fail_address), "%s", address);
	snprintf(rig.fail_why, sizeof(rig.fail_why), "%s", why);
}

static void on_stopped(void *arg)
{
	ck_assert_ptr_eq(arg, &rig);
	ck_assert_uint_eq(rig.up, 0);
	rig.stops++;
	rig.bearer = NULL;
}

static void on_note(void *arg, const char *text)
{
	size_t have = strlen(rig.notes);

	ck_assert_ptr_eq(arg, &rig);
	snprintf(rig.notes + have, sizeof(rig.notes) - have, "%s\n", text);
}

static void on_bluez_stopped(void *arg)
{
	(void)arg;
	rig.bluez_stops++;
}

#define CONDITION(name, condition)  \
	static bool name(void *arg) \
	{                           \
		(void)arg;          \
		return condition;   \
	}
CONDITION(is_ready, bluez_state(rig.bluez) == BLUEZ_READY)
CONDITION(is_lost, bluez_state(rig.bluez) == BLUEZ_NO_DAEMON)
CONDITION(is_no_bus, bluez_state(rig.bluez) == BLUEZ_NO_BUS)
CONDITION(is_off, bluez_state(rig.bluez) == BLUEZ_OFF)
CONDITION(has_stopped, rig.stops > 0)
CONDITION(has_bluez_stopped, rig.bluez_stops > 0)
CONDITION(has_changed, rig.changes > 0)
CONDITION(knows_near, bluez_find(rig.bluez, NEAR) != NULL)
CONDITION(never, false)

static unsigned wanted;
CONDITION(has_ups, rig.ups >= wanted)
CONDITION(has_downs, rig.downs >= wanted)
CONDITION(has_fails, rig.fails >= wanted)
CONDITION(has_level_reads, level_reads >= wanted)
CONDITION(has_input, rig.input_size >= wanted)

static void until(bool (*holds)(void *arg), unsigned count)
{
	wanted = count;
	ck_assert(fake_bluez_run(&loop, SOON, holds, NULL));
}

static void quiet(void)
{
	ck_assert(!fake_bluez_run(&loop, QUIET, never, NULL));
}

static char calls[16384];

/* All calls of bluetoothd's methods since the last time. */
static const char *calls_now(void)
{
	size_t have = strlen(calls);

	snprintf(calls + have, sizeof(calls) - have, "%s\n", fake_bluez_tell(fake, "calls"));
	return calls;
}

CONDITION(has_registered, strstr(calls_now(), "RegisterProfile /org/cpns/client") != NULL)
CONDITION(has_unregistered, strstr(calls_now(), "UnregisterProfile /org/cpns/client") != NULL)
CONDITION(has_advertised, strstr(calls_now(), " RegisterAdvertisement") != NULL)
CONDITION(is_connecting, strstr(calls_now(), "ConnectProfile") != NULL)

static char results[4096];

CONDITION(has_result, (strcat(results, fake_bluez_tell(fake, "results")), results[0] != '\0'))

static const char *result(void)
{
	results[0] = '\0';
	until(has_result, 0);
	return results;
}

static void adapter_on(void)
{
	fake_bluez_tell(fake, "adapter add hci0 00:AA:01:00:00:10 Powered=b:true");
}

static void device(const char *address, bool bonded)
{
	fake_bluez_tell(
		fake, "device add hci0/%s Bonded=b:%s Paired=b:%s Class=u:0x240404 UUIDs=as:%s",
		address, bonded ? "true" : "false", bonded ? "true" : "false", BLUETOOTH_UUID_PNE);
}

static void make_bluez(void)
{
	struct bluez_options options = {
		.bus = fake_bluez_bus(fake), .adapter = "hci0", .alias = ""};

	ck_assert_int_eq(bluez_new(&loop, &options, &rig.bluez), 0);
	bluez_start(rig.bluez);
}

static void make(struct bearer_bluez_options options)
{
	static const struct bearer_callbacks callbacks = {
		.link_up = on_up,
		.link_bytes = on_bytes,
		.security = on_security,
		.link_down = on_down,
		.connect_failed = on_failed,
		.stopped = on_stopped,
	};

	options.level = read_fake_level;
	options.note = on_note;
	make_bluez();
	ck_assert_int_eq(
		bearer_bluez_new(&loop, rig.bluez, &options, &callbacks, &rig, &rig.bearer), 0);
	ck_assert_int_eq(bearer_start(rig.bearer), 0);
}

/* A PN GW with an adapter, a device that is bonded, and its profiles registered. */
static void make_gateway(struct bearer_bluez_options options)
{
	adapter_on();
	device(NEAR, true);
	options.gateway = true;
	make(options);
	until(has_registered, 0);
	until(is_ready, 0);
	ck_assert_ptr_nonnull(bluez_find(rig.bluez, NEAR));
}

static void end(void)
{
	if (rig.bearer)
		bearer_stop(rig.bearer);
	until(has_stopped, 0);
	bluez_stop(rig.bluez, on_bluez_stopped, NULL);
	until(has_bluez_stopped, 0);
}

static int incoming(const char *address)
{
	return fake_bluez_tell_fd(fake, "incoming hci0/%s %s", address, BLUETOOTH_UUID_GATEWAY);
}

static void set_up(void)
{
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	memset(&rig, 0, sizeof(rig));
	calls[0] = '\0';
	fake_level = (struct bluetooth_level){PAN_SECURITY_AUTHENTICATED, 16, "the test says so"};
	fake_level_error = 0;
	fake = fake_bluez_new();
}

static void tear_down(void)
{
	end();
	ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	ck_assert_uint_eq(rig.ups, rig.downs);
	fake_bluez_free(fake);
}

static void assert_eof(int fd)
{
	char byte;

	ck_assert_int_le(recv(fd, &byte, 1, 0), 0);
	close(fd);
}

START_TEST(a_gateway_offers_its_service)
{
	make_gateway((struct bearer_bluez_options){0});
	ck_assert_ptr_nonnull(strstr(
		calls, "RegisterProfile /org/cpns/server " BLUETOOTH_UUID_GATEWAY
		       " {AutoConnect: false, Channel: 0, Name: CPNS PN GW, "
		       "RequireAuthentication: true, RequireAuthorization: false, Role: server, "
		       "Version: 256}"));
	ck_assert_ptr_nonnull(
		strstr(calls, "RegisterProfile /org/cpns/client " BLUETOOTH_UUID_PNE
			      " {AutoConnect: false, Name: CPNS PNE, RequireAuthentication: true, "
			      "RequireAuthorization: false, Role: client}"));
	ck_assert_ptr_null(strstr(calls, "Advertisement"));
	bearer_stop(rig.bearer);
	until(has_unregistered, 0);
	ck_assert_ptr_nonnull(strstr(calls, "UnregisterProfile /org/cpns/server"));
}
END_TEST

START_TEST(a_pne_offers_the_other_one)
{
	adapter_on();
	make((struct bearer_bluez_options){.strangers = true});
	until(has_registered, 0);
	ck_assert_ptr_nonnull(
		strstr(calls, "RegisterProfile /org/cpns/server " BLUETOOTH_UUID_PNE));
	ck_assert_ptr_nonnull(
		strstr(calls, "RegisterProfile /org/cpns/client " BLUETOOTH_UUID_GATEWAY));
	ck_assert_ptr_nonnull(strstr(calls, "RequireAuthentication: false"));
}
END_TEST

START_TEST(a_device_connects)
{
	char got[8] = "";
	int far;

	make_gateway((struct bearer_bluez_options){.bonds = "/there"});
	far = incoming(NEAR);
	until(has_ups, 1);
	ck_assert_str_eq(result(), "ok");
	ck_assert_str_eq(rig.peer, "bluetooth " NEAR);
	ck_assert_int_eq(rig.level, PAN_SECURITY_AUTHENTICATED);
	ck_assert_str_eq(level_adapter, "00:AA:01:00:00:10");
	ck_assert_str_eq(level_device, NEAR);
	ck_assert_str_eq(level_bonds, "/there");
	ck_assert_ptr_nonnull(strstr(rig.notes, "bluetooth " NEAR ": authenticated: the test says "
						"so, key of 16 bytes"));
	ck_assert_int_eq(write(far, "hello", 5), 5);
	until(has_input, 5);
	ck_assert_mem_eq(rig.input, "hello", 5);
	ck_assert_int_eq(bearer_send(rig.bearer, rig.links[0], bytes_of("you", 3)), 0);
	ck_assert_int_eq(read(far, got, sizeof(got)), 3);
	ck_assert_str_eq(got, "you");
	close(far);
	until(has_downs, 1);
	ck_assert_int_eq(rig.why, BEARER_DOWN_PEER);
	ck_assert_int_eq(rig.down_error, 0);
}
END_TEST

START_TEST(a_link_is_dropped)
{
	int far;

	make_gateway((struct bearer_bluez_options){.quota = 100});
	far = incoming(NEAR);
	until(has_ups, 1);
	bearer_drop(rig.bearer, rig.links[0], BEARER_DOWN_ERROR);
	ck_assert_uint_eq(rig.downs, 0);
	ck_assert_int_eq(bearer_send(rig.bearer, rig.links[0], bytes_of("x", 1)), -ENOTCONN);
	until(has_downs, 1);
	ck_assert_int_eq(rig.why, BEARER_DOWN_ERROR);
	assert_eof(far);

	rig.drop_at_up = true;
	far = incoming(NEAR);
	until(has_downs, 2);
	assert_eof(far);
}
END_TEST

START_TEST(strangers_are_refused)
{
	int far;

	make_gateway((struct bearer_bluez_options){0});
	device(OTHER, false);
	far = incoming(OTHER);
	ck_assert_str_eq(result(), "org.bluez.Error.Rejected");
	assert_eof(far);
	ck_assert_uint_eq(rig.ups, 0);
}
END_TEST

START_TEST(strangers_are_taken_when_that_is_wanted)
{
	make_gateway((struct bearer_bluez_options){.strangers = true});
	ck_assert_ptr_null(strstr(calls, "RequireAuthentication: true"));
	device(OTHER, false);
	fake_level.level = PAN_SECURITY_NONE;
	close(incoming(OTHER));
	until(has_ups, 1);
	ck_assert_int_eq(rig.level, PAN_SECURITY_NONE);
}
END_TEST

START_TEST(another_adapters_devices_are_refused)
{
	int far;

	make_gateway((struct bearer_bluez_options){.strangers = true});
	fake_bluez_tell(fake, "adapter add hci01 00:AA:01:00:00:11 Powered=b:true");
	fake_bluez_tell(fake, "device add hci01/%s Bonded=b:true", NEAR);
	far = fake_bluez_tell_fd(fake, "incoming hci01/%s %s", NEAR, BLUETOOTH_UUID_GATEWAY);
	ck_assert_str_eq(result(), "org.bluez.Error.Rejected");
	assert_eof(far);
}
END_TEST

START_TEST(only_bluetoothd_hands_over_streams)
{
	sd_bus *mine;
	const char *name;

	make_gateway((struct bearer_bluez_options){0});
	ck_assert_int_ge(sd_bus_get_unique_name(bluez_bus(rig.bluez), &name), 0);
	ck_assert_int_ge(sd_bus_new(&mine), 0);
	ck_assert_int_ge(sd_bus_set_address(mine, fake_bluez_bus(fake)), 0);
	ck_assert_int_ge(sd_bus_set_bus_client(mine, 1), 0);
	ck_assert_int_ge(sd_bus_start(mine), 0);
	for (int i = 0; i < 3; i++) {
		static const char *const members[] = {"NewConnection", "RequestDisconnection",
						      "Release"};
		sd_bus_message *m;
		uint64_t cookie;
		int pair[2], rc;

		ck_assert_int_ge(sd_bus_message_new_method_call(mine, &m, name, "/org/cpns/server",
								"org.bluez.Profile1", members[i]),
				 0);
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		if (i == 0)
			rc = sd_bus_message_append(
				m, "oha{sv}", "/org/bluez/hci0/dev_C0_FF_EE_00_00_01", pair[0], 0);
		else
			rc = i == 1 ? sd_bus_message_append(m, "o",
							    "/org/bluez/hci0/dev_C0_FF_EE_00_00_01")
				    : 0;
		ck_assert_int_ge(rc, 0);
		ck_assert_int_ge(sd_bus_send(mine, m, &cookie), 0);
		sd_bus_message_unref(m);
		ck_assert_int_ge(sd_bus_flush(mine), 0);
		quiet();
		while ((rc = sd_bus_process(mine, &m)) >= 0) {
			if (rc > 0 && m && sd_bus_message_is_method_error(m, NULL))
				break;
			if (rc > 0)
				sd_bus_message_unref(m);
			else
				ck_assert_int_gt(sd_bus_wait(mine, 5000000), 0);
		}
		ck_assert_int_gt(rc, 0);
		ck_assert(sd_bus_message_is_method_error(m, SD_BUS_ERROR_ACCESS_DENIED));
		sd_bus_message_unref(m);
		close(pair[0]);
		close(pair[1]);
	}
	ck_assert_uint_eq(rig.ups, 0);
	sd_bus_close_unref(mine);
}
END_TEST

START_TEST(a_connection_is_made)
{
	int far;

	make_gateway((struct bearer_bluez_options){0});
	ck_assert_int_eq(bearer_connect(rig.bearer, "c0:ff:ee:00:00:01"), 0);
	ck_assert_int_eq(bearer_connect(rig.bearer, NEAR), -EALREADY);
	until(has_ups, 1);
	ck_assert_str_eq(rig.peer, "bluetooth " NEAR);
	far = fake_bluez_tell_fd(fake, "far hci0/%s", NEAR);
	ck_assert_int_eq(bearer_connect(rig.bearer, NEAR), -EISCONN);
	ck_assert_int_eq(write(far, "x", 1), 1);
	until(has_input, 1);
	quiet();
	ck_assert_uint_eq(rig.fails, 0);
	ck_assert_ptr_nonnull(
		strstr(calls_now(), "hci0/" NEAR " ConnectProfile " BLUETOOTH_UUID_PNE));
	close(far);
	until(has_downs, 1);
	/* And another time. */
	ck_assert_int_eq(bearer_connect(rig.bearer, NEAR), 0);
	until(has_ups, 2);
}
END_TEST

START_TEST(what_cannot_be_connected_is_refused_at_once)
{
	make((struct bearer_bluez_options){.gateway = true});
	ck_assert_int_eq(bearer_connect(rig.bearer, "unix:/tmp/x"), -EINVAL);
	ck_assert_int_eq(bearer_connect(rig.bearer, NEAR), -ENETDOWN);
	adapter_on();
	until(is_ready, 0);
	ck_assert_int_eq(bearer_connect(rig.bearer, NEAR), -ENOENT);
	device(NEAR, false);
	until(knows_near, 0);
	ck_assert_int_eq(bearer_connect(rig.bearer, NEAR), -EPERM);
	quiet();
	ck_assert_uint_eq(rig.fails, 0);
	bearer_stop(rig.bearer);
	ck_assert_int_eq(bearer_connect(rig.bearer, NEAR), -ECANCELED);
	ck_assert_int_eq(bearer_start(rig.bearer), -ECANCELED);
}
END_TEST

START_TEST(a_connect_fails)
{
	static const struct {
		const char *name, *text;
		int error;
		const char *why;
	} rows[] = {
		{"Failed", "br-connection-page-timeout", -EHOSTDOWN,
		 "out of reach, or switched off (br-connection-page-timeout)"},
		{"Failed", "br-connection-key-missing", -ENOKEY,
		 "the device no longer has its bond with this side (br-connection-key-missing)"},
		{"NotAvailable", "br-connection-profile-unavailable", -EPROTONOSUPPORT,
		 "the device does not offer the service (br-connection-profile-unavailable)"},
	};

	make_gateway((struct bearer_bluez_options){0});
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fake_bluez_tell(fake, "fail ConnectProfile %s %s", rows[i].name, rows[i].text);
		ck_assert_int_eq(bearer_connect(rig.bearer, NEAR), 0);
		until(has_fails, (unsigned)i + 1);
		ck_assert_int_eq(rig.fail_error, rows[i].error);
		ck_assert_str_eq(rig.fail_why, rows[i].why);
		ck_assert_str_eq(rig.fail_address, NEAR);
	}
	ck_assert_uint_eq(rig.ups, 0);
}
END_TEST

START_TEST(a_connect_that_is_under_way_when_it_ends)
{
	make_gateway((struct bearer_bluez_options){0});
	fake_bluez_tell(fake, "hold ConnectProfile");
	ck_assert_int_eq(bearer_connect(rig.bearer, NEAR), 0);
	until(is_connecting, 0);
	fake_bluez_tell(fake, "set hci0 Powered=b:false");
	until(has_fails, 1);
	ck_assert_int_eq(rig.fail_error, -ENETDOWN);

	fake_bluez_tell(fake, "set hci0 Powered=b:true");
	until(is_ready, 0);
	ck_assert_int_eq(bearer_connect(rig.bearer, NEAR), 0);
	bearer_stop(rig.bearer);
	ck_assert_uint_eq(rig.fails, 1);
	until(has_stopped, 0);
	ck_assert_uint_eq(rig.fails, 2);
	ck_assert_int_eq(rig.fail_error, -ECANCELED);
}
END_TEST

START_TEST(a_stream_of_the_pne_takes_the_place_of_ones_own)
{
	int own, theirs;

	make_gateway((struct bearer_bluez_options){0});
	ck_assert_int_eq(bearer_connect(rig.bearer, NEAR), 0);
	until(has_ups, 1);
	own = fake_bluez_tell_fd(fake, "far hci0/%s", NEAR);
	theirs = incoming(NEAR);
	until(has_ups, 2);
	until(has_downs, 1);
	ck_assert_int_eq(rig.why, BEARER_DOWN_PEER);
	assert_eof(own);
	ck_assert_int_eq(write(theirs, "x", 1), 1);
	until(has_input, 1);
	close(theirs);
}
END_TEST

START_TEST(ones_own_stream_gives_way_to_one_of_the_pne)
{
	int theirs;

	make_gateway((struct bearer_bluez_options){0});
	fake_bluez_tell(fake, "hold ConnectProfile");
	ck_assert_int_eq(bearer_connect(rig.bearer, NEAR), 0);
	until(is_connecting, 0);
	theirs = incoming(NEAR);
	until(has_ups, 1);
	fake_bluez_tell(fake, "release ConnectProfile");
	until(has_fails, 1);
	ck_assert_int_eq(rig.fail_error, -EISCONN);
	ck_assert_uint_eq(rig.downs, 0);
	ck_assert_int_eq(write(theirs, "x", 1), 1);
	until(has_input, 1);
	close(theirs);
}
END_TEST

START_TEST(a_later_stream_takes_the_place_of_an_earlier)
{
	int first, second;

	make_gateway((struct bearer_bluez_options){0});
	first = incoming(NEAR);
	until(has_ups, 1);
	second = incoming(NEAR);
	until(has_ups, 2);
	until(has_downs, 1);
	assert_eof(first);
	close(second);
	until(has_downs, 2);
}
END_TEST

START_TEST(a_flood_is_refused)
{
	make_gateway((struct bearer_bluez_options){0});
	device(OTHER, true);
	for (unsigned i = 1; i <= BEARER_BLUEZ_FLOOD; i++) {
		close(incoming(NEAR));
		ck_assert_str_eq(result(), "ok");
	}
	until(has_downs, BEARER_BLUEZ_FLOOD);
	for (int i = 0; i < 10; i++) {
		close(incoming(NEAR));
		ck_assert_str_eq(result(), "org.bluez.Error.Rejected");
	}
	ck_assert_uint_eq(rig.ups, BEARER_BLUEZ_FLOOD);
	ck_assert_ptr_nonnull(strstr(rig.notes, NEAR " opens too many streams"));
	ck_assert_ptr_null(strstr(strstr(rig.notes, "too many streams") + 1, "too many streams"));
	/* Others are not concerned. */
	close(incoming(OTHER));
	ck_assert_str_eq(result(), "ok");
	until(has_ups, BEARER_BLUEZ_FLOOD + 1);
}
END_TEST

START_TEST(no_more_devices_than_allowed)
{
	int first, second;

	make_gateway((struct bearer_bluez_options){.max_links = 1});
	device(OTHER, true);
	first = incoming(NEAR);
	ck_assert_str_eq(result(), "ok");
	second = incoming(OTHER);
	ck_assert_str_eq(result(), "org.bluez.Error.Rejected");
	assert_eof(second);
	/* One that connects again is no further device. */
	second = incoming(NEAR);
	ck_assert_str_eq(result(), "ok");
	assert_eof(first);
	close(second);
	until(has_downs, 2);
	second = incoming(OTHER);
	ck_assert_str_eq(result(), "ok");
	close(second);
}
END_TEST

START_TEST(bluetoothd_dies_and_comes_back)
{
	int far;

	make_gateway((struct bearer_bluez_options){0});
	far = incoming(NEAR);
	until(has_ups, 1);
	level_reads = 0;
	fake_bluez_tell(fake, "daemon stop");
	until(is_lost, 0);
	ck_assert_int_eq(write(far, "x", 1), 1);
	until(has_input, 1);
	/* At once, as BlueZ's bonds are gone with it, and a moment later. */
	until(has_level_reads, 2);
	ck_assert_uint_eq(rig.changes, 0);
	ck_assert_str_eq(level_adapter, "00:AA:01:00:00:10");
	calls[0] = '\0';
	fake_bluez_tell(fake, "daemon start");
	adapter_on();
	device(NEAR, true);
	until(has_registered, 0);
	until(is_ready, 0);
	ck_assert_int_eq(write(far, "y", 1), 1);
	until(has_input, 2);
	ck_assert_uint_eq(rig.downs, 0);
	close(far);
	until(has_downs, 1);
	close(incoming(NEAR));
	until(has_ups, 2);
}
END_TEST

START_TEST(the_bus_dies_and_comes_back)
{
	make_gateway((struct bearer_bluez_options){0});
	fake_bluez_bus_stop(fake);
	until(is_no_bus, 0);
	ck_assert_int_eq(bearer_connect(rig.bearer, NEAR), -ENETDOWN);
	fake_bluez_bus_start(fake);
	fake_bluez_tell(fake, "daemon start");
	calls[0] = '\0';
	adapter_on();
	device(NEAR, true);
	until(has_registered, 0);
	close(incoming(NEAR));
	until(has_ups, 1);
}
END_TEST

START_TEST(a_service_that_is_not_taken_is_offered_again)
{
	adapter_on();
	fake_bluez_tell(fake, "fail RegisterProfile Failed busy 2");
	make((struct bearer_bluez_options){.gateway = true});
	until(is_ready, 0);
	until(has_registered, 0);
	quiet();
	ck_assert_ptr_nonnull(
		strstr(rig.notes, "BlueZ does not take the service CPNS PN GW: busy"));
	calls[0] = '\0';
	until(has_registered, 0);
	device(NEAR, true);
	close(incoming(NEAR));
	until(has_ups, 1);
}
END_TEST

START_TEST(bluez_asks_to_disconnect)
{
	int far;

	make_gateway((struct bearer_bluez_options){0});
	far = incoming(NEAR);
	until(has_ups, 1);
	ck_assert_str_eq(result(), "ok");
	fake_bluez_tell(fake, "disconnection hci0/%s %s", NEAR, BLUETOOTH_UUID_GATEWAY);
	until(has_downs, 1);
	ck_assert_str_eq(result(), "ok");
	ck_assert_int_eq(rig.why, BEARER_DOWN_PEER);
	assert_eof(far);
}
END_TEST

START_TEST(a_profile_that_bluez_released_is_registered_again)
{
	make_gateway((struct bearer_bluez_options){0});
	calls[0] = '\0';
	fake_bluez_tell(fake, "release-profile %s", BLUETOOTH_UUID_PNE);
	until(has_registered, 0);
	ck_assert_ptr_null(strstr(calls, "/org/cpns/server"));
}
END_TEST

START_TEST(a_bond_that_goes_takes_the_level_along)
{
	int far;

	make_gateway((struct bearer_bluez_options){0});
	far = incoming(NEAR);
	until(has_ups, 1);
	fake_bluez_tell(fake, "set hci0/%s Name=s:x", NEAR);
	quiet();
	ck_assert_uint_eq(rig.changes, 0);
	fake_level.level = PAN_SECURITY_ENCRYPTED;
	fake_bluez_tell(fake, "set hci0/%s Bonded=b:false Paired=b:false", NEAR);
	until(has_changed, 0);
	ck_assert_int_eq(rig.level, PAN_SECURITY_ENCRYPTED);
	ck_assert_uint_eq(rig.changes, 1);
	/* The bond's file changes a moment later. */
	fake_level_error = -EIO;
	rig.changes = 0;
	until(has_changed, 0);
	ck_assert_int_eq(rig.level, PAN_SECURITY_NONE);
	/* A link that is gone has not changed its level. */
	fake_level_error = -ENOTCONN;
	fake_level.level = PAN_SECURITY_AUTHENTICATED;
	rig.changes = 0;
	fake_bluez_tell(fake, "set hci0/%s Bonded=b:true Paired=b:true", NEAR);
	quiet();
	ck_assert_uint_eq(rig.changes, 0);
	fake_level_error = 0;
	until(has_changed, 0);
	ck_assert_int_eq(rig.level, PAN_SECURITY_AUTHENTICATED);
	close(far);
}
END_TEST

START_TEST(a_level_that_cannot_be_read_is_none)
{
	make_gateway((struct bearer_bluez_options){0});
	fake_level_error = -ENOTCONN;
	close(incoming(NEAR));
	until(has_ups, 1);
	ck_assert_int_eq(rig.level, PAN_SECURITY_NONE);
}
END_TEST

START_TEST(stopped_from_a_callback)
{
	int far;

	make_gateway((struct bearer_bluez_options){0});
	rig.stop_at_up = true;
	far = incoming(NEAR);
	until(has_stopped, 0);
	ck_assert_uint_eq(rig.downs, 1);
	ck_assert_int_eq(rig.why, BEARER_DOWN_CLOSED);
	assert_eof(far);
}
END_TEST

START_TEST(a_pne_without_br_edr_advertises)
{
	adapter_on();
	device(NEAR, true);
	make((struct bearer_bluez_options){.le = true, .psm = 0x81});
	until(has_advertised, 0);
	quiet();
	calls_now();
	ck_assert_ptr_nonnull(
		strstr(calls, " RegisterAdvertisement /org/cpns/advertisement/service {}"));
	ck_assert_ptr_nonnull(
		strstr(calls, " RegisterAdvertisement /org/cpns/advertisement/psm {}"));
	ck_assert_ptr_null(strstr(calls, "RegisterProfile"));
	ck_assert_int_eq(bearer_connect(rig.bearer, NEAR), -ENOTSUP);
	/* Once more when the adapter was off meanwhile. */
	fake_bluez_tell(fake, "set hci0 Powered=b:false");
	until(is_off, 0);
	calls[0] = '\0';
	fake_bluez_tell(fake, "set hci0 Powered=b:true");
	until(has_advertised, 0);
}
END_TEST

START_TEST(the_default_psm_is_not_advertised)
{
	adapter_on();
	fake_bluez_tell(fake, "fail RegisterAdvertisement NotPermitted full");
	make((struct bearer_bluez_options){.le = true});
	until(has_advertised, 0);
	quiet();
	ck_assert_ptr_null(strstr(calls_now(), "/org/cpns/advertisement/psm"));
	ck_assert_ptr_nonnull(strstr(rig.notes, "BlueZ does not advertise over LE: full"));
	calls[0] = '\0';
	until(has_advertised, 0);
}
END_TEST

/* BlueZ's storage: bonds/ADAPTER/DEVICE/info. */
static void write_bond(const char *bonds, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/00:AA:01:00:00:10", bonds);
	(void)mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/00:AA:01:00:00:10/" NEAR, bonds);
	(void)mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/00:AA:01:00:00:10/" NEAR "/info", bonds);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

START_TEST(a_bond_of_le_alone_is_used_over_le)
{
	char bonds[] = "/tmp/pngw-bonds-XXXXXX";
	char command[64];

	ck_assert_ptr_nonnull(mkdtemp(bonds));
	make_gateway((struct bearer_bluez_options){.bonds = bonds});
	write_bond(bonds, "[LongTermKey]\nAuthenticated=2\nEncSize=16\n");
	/* Not over BR/EDR, and LE is not enabled. */
	ck_assert_int_eq(bearer_connect(rig.bearer, NEAR), -ENOTSUP);
	write_bond(bonds, "[LinkKey]\nType=7\n[LongTermKey]\nAuthenticated=2\nEncSize=16\n");
	ck_assert_int_eq(bearer_connect(rig.bearer, NEAR), 0);
	until(is_connecting, 0);
	snprintf(command, sizeof(command), "rm -r '%s'", bonds);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(errors_have_texts)
{
	ck_assert_str_eq(bearer_bluez_error_text(-EPERM),
			 "the device is not bonded: pair it first");
	ck_assert_str_eq(bearer_bluez_error_text(-EDOM), strerror(EDOM));
	make_gateway((struct bearer_bluez_options){0});
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bearer-bluez");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	if (!fake_bluez_possible())
		return 77;
	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_gateway_offers_its_service);
	tcase_add_test(tc, a_pne_offers_the_other_one);
	tcase_add_test(tc, a_device_connects);
	tcase_add_test(tc, a_link_is_dropped);
	tcase_add_test(tc, strangers_are_refused);
	tcase_add_test(tc, strangers_are_taken_when_that_is_wanted);
	tcase_add_test(tc, another_adapters_devices_are_refused);
	tcase_add_test(tc, only_bluetoothd_hands_over_streams);
	tcase_add_test(tc, a_connection_is_made);
	tcase_add_test(tc, what_cannot_be_connected_is_refused_at_once);
	tcase_add_test(tc, a_connect_fails);
	tcase_add_test(tc, a_connect_that_is_under_way_when_it_ends);
	tcase_add_test(tc, a_stream_of_the_pne_takes_the_place_of_ones_own);
	tcase_add_test(tc, ones_own_stream_gives_way_to_one_of_the_pne);
	tcase_add_test(tc, a_later_stream_takes_the_place_of_an_earlier);
	tcase_add_test(tc, a_flood_is_refused);
	tcase_add_test(tc, no_more_devices_than_allowed);
	tcase_add_test(tc, bluetoothd_dies_and_comes_back);
	tcase_add_test(tc, the_bus_dies_and_comes_back);
	tcase_add_test(tc, a_service_that_is_not_taken_is_offered_again);
	tcase_add_test(tc, bluez_asks_to_disconnect);
	tcase_add_test(tc, a_profile_that_bluez_released_is_registered_again);
	tcase_add_test(tc, a_bond_that_goes_takes_the_level_along);
	tcase_add_test(tc, a_level_that_cannot_be_read_is_none);
	tcase_add_test(tc, stopped_from_a_callback);
	tcase_add_test(tc, a_pne_without_br_edr_advertises);
	tcase_add_test(tc, the_default_psm_is_not_advertised);
	tcase_add_test(tc, a_bond_of_le_alone_is_used_over_le);
	tcase_add_test(tc, errors_have_texts);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
