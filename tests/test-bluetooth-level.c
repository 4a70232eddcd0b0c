#include "pan/bluetooth-level.h"

#include <bluetooth/bluetooth.h>
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pan/bluetooth-hci.h"
#include "protocol/secret.h"

#define ADAPTER "00:AA:01:00:00:42"
#define DEVICE  "00:AA:01:01:00:24"

static char folder[64];

static void remove_all(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	ck_assert_int_eq(system(command), 0);
}

static void make_folder(void)
{
	snprintf(folder, sizeof(folder), "/tmp/pngw-level-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void bond(const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, ADAPTER);
	(void)mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/%s/%s", folder, ADAPTER, DEVICE);
	(void)mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/%s/%s/info", folder, ADAPTER, DEVICE);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static struct bluetooth_bond read_bond(enum bluetooth_transport transport)
{
	struct bluetooth_bond out;

	ck_assert_int_eq(bluetooth_bond_read(folder, ADAPTER, DEVICE, transport, &out), 0);
	ck_assert_uint_eq(secret_count(), 0);
	return out;
}

START_TEST(a_link_keys_type_says_whether_it_is_authenticated)
{
	static const struct {
		int type, pin;
		enum bluetooth_key key;
	} rows[] = {
		{0, 4, BLUETOOTH_KEY_UNAUTHENTICATED}, {0, 16, BLUETOOTH_KEY_AUTHENTICATED},
		{3, 0, BLUETOOTH_KEY_UNAUTHENTICATED}, {4, 0, BLUETOOTH_KEY_UNAUTHENTICATED},
		{5, 0, BLUETOOTH_KEY_AUTHENTICATED},   {6, 0, BLUETOOTH_KEY_UNAUTHENTICATED},
		{7, 0, BLUETOOTH_KEY_UNAUTHENTICATED}, {8, 0, BLUETOOTH_KEY_AUTHENTICATED},
		{9, 0, BLUETOOTH_KEY_UNAUTHENTICATED},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[256];

		snprintf(text, sizeof(text),
			 "[General]\nName=x\nType=5\n\n[LinkKey]\n"
			 "Key=000102030405060708090A0B0C0D0E0F\nType=%d\nPINLength=%d\n"
			 "[LongTermKey]\nType=5\n",
			 rows[i].type, rows[i].pin);
		bond(text);
		ck_assert_int_eq(read_bond(BLUETOOTH_RFCOMM).key, rows[i].key);
		ck_assert_int_eq(read_bond(BLUETOOTH_LE).key, BLUETOOTH_KEY_UNKNOWN);
	}
}
END_TEST

START_TEST(a_long_term_key_is_read_for_le)
{
	struct bluetooth_bond b;

	bond("[PeripheralLongTermKey]\nAuthenticated=0\nEncSize=7\n[LongTermKey]\nKey=00\n"
	     "Authenticated=3\nEncSize=16\nEDiv=0\n[SlaveLongTermKey]\nAuthenticated=0\n");
	b = read_bond(BLUETOOTH_LE);
	ck_assert_int_eq(b.key, BLUETOOTH_KEY_AUTHENTICATED);
	ck_assert_uint_eq(b.key_size, 16);
	ck_assert_int_eq(read_bond(BLUETOOTH_RFCOMM).key, BLUETOOTH_KEY_UNKNOWN);

	bond("[LongTermKey]\nAuthenticated=1\nEncSize=7\n");
	b = read_bond(BLUETOOTH_LE);
	ck_assert_int_eq(b.key, BLUETOOTH_KEY_AUTHENTICATED);
	ck_assert_uint_eq(b.key_size, 7);

	bond("[LongTermKey]\nAuthenticated=2\nEncSize=16\n");
	ck_assert_int_eq(read_bond(BLUETOOTH_LE).key, BLUETOOTH_KEY_UNAUTHENTICATED);
	bond("[LongTermKey]\nAuthenticated=0\n");
	ck_assert_int_eq(read_bond(BLUETOOTH_LE).key, BLUETOOTH_KEY_UNAUTHENTICATED);
	bond("[LinkKey]\nType=8\n[PeripheralLongTermKey]\nAuthenticated=3\nEncSize=16\n");
	ck_assert_int_eq(read_bond(BLUETOOTH_LE).key, BLUETOOTH_KEY_AUTHENTICATED);
	bond("[LongTermKey]\nAuthenticated=yes\nEncSize=1000\n");
	b = read_bond(BLUETOOTH_LE);
	ck_assert_int_eq(b.key, BLUETOOTH_KEY_UNKNOWN);
	ck_assert_uint_eq(b.key_size, 0);
}
END_TEST

START_TEST(what_cannot_be_read_does_not_count)
{
	struct bluetooth_bond out = {BLUETOOTH_KEY_AUTHENTICATED, 16};
	char path[512], *large;

	ck_assert_int_eq(bluetooth_bond_read(folder, ADAPTER, DEVICE, BLUETOOTH_RFCOMM, &out),
			 -ENOENT);
	ck_assert_int_eq(out.key, BLUETOOTH_KEY_UNKNOWN);
	ck_assert_uint_eq(out.key_size, 0);

	bond("");
	ck_assert_int_eq(read_bond(BLUETOOTH_RFCOMM).key, BLUETOOTH_KEY_UNKNOWN);

	large = calloc(1, 20000);
	memset(large, '\n', 19000);
	memcpy(large, "[LinkKey]\nType=5\n", 17);
	bond(large);
	free(large);
	ck_assert_int_eq(bluetooth_bond_read(folder, ADAPTER, DEVICE, BLUETOOTH_RFCOMM, &out),
			 -EFBIG);
	ck_assert_int_eq(out.key, BLUETOOTH_KEY_UNKNOWN);

	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	ck_assert_int_eq(bluetooth_bond_read(path, ADAPTER, DEVICE, BLUETOOTH_RFCOMM, &out),
			 -ENAMETOOLONG);
}
END_TEST

#define BOND(k, s) .bond = {BLUETOOTH_KEY_##k, s}

START_TEST(the_level_is_judged_from_all_there_is)
{
	static const struct {
		struct bluetooth_evidence e;
		enum pan_security level;
		uint8_t key_size;
	} rows[] = {
		/* Nothing is known but what the socket demands. */
		{{.enforced = -1}, PAN_SECURITY_NONE, 0},
		{{.enforced = BT_SECURITY_LOW}, PAN_SECURITY_NONE, 0},
		{{.enforced = BT_SECURITY_LOW, BOND(AUTHENTICATED, 16)}, PAN_SECURITY_NONE, 16},
		{{.enforced = BT_SECURITY_MEDIUM}, PAN_SECURITY_ENCRYPTED, 0},
		{{.enforced = BT_SECURITY_HIGH}, PAN_SECURITY_AUTHENTICATED, 0},
		{{.enforced = BT_SECURITY_HIGH, .key_size = 7}, PAN_SECURITY_ENCRYPTED, 7},
		{{.enforced = BT_SECURITY_FIPS, .key_size = 16}, PAN_SECURITY_AUTHENTICATED, 16},
		/* The link's own state comes before what was demanded. */
		{{.link_known = true, .enforced = BT_SECURITY_HIGH, BOND(AUTHENTICATED, 16)},
		 PAN_SECURITY_NONE,
		 16},
		{{.link_known = true, .encrypted = true, .enforced = -1},
		 PAN_SECURITY_ENCRYPTED,
		 0},
		{{.link_known = true, .encrypted = true, .p256 = true, .enforced = -1},
		 PAN_SECURITY_AUTHENTICATED,
		 0},
		{{.link_known = true, .encrypted = true, .p256 = true, .key_size = 8},
		 PAN_SECURITY_ENCRYPTED,
		 8},
		/* The bond. */
		{{.enforced = BT_SECURITY_MEDIUM, BOND(AUTHENTICATED, 0)},
		 PAN_SECURITY_AUTHENTICATED,
		 0},
		{{.enforced = BT_SECURITY_MEDIUM, BOND(UNAUTHENTICATED, 16)},
		 PAN_SECURITY_ENCRYPTED,
		 16},
		{{.enforced = BT_SECURITY_MEDIUM, BOND(AUTHENTICATED, 15)},
		 PAN_SECURITY_ENCRYPTED,
		 15},
		{{.link_known = true, .encrypted = true, .key_size = 16, BOND(AUTHENTICATED, 7)},
		 PAN_SECURITY_AUTHENTICATED,
		 16},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bluetooth_level got = bluetooth_level_judge(&rows[i].e);

		ck_assert_msg(got.level == rows[i].level, "row %zu: %s, %s", i,
			      pan_security_name(got.level), got.why);
		ck_assert_uint_eq(got.key_size, rows[i].key_size);
		ck_assert_str_ne(got.why, "");
	}
}
END_TEST

START_TEST(another_kind_of_socket_has_no_level)
{
	struct bluetooth_level level;
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_int_lt(bluetooth_level_read(pair[0], ADAPTER, DEVICE, folder, &level), 0);
	close(pair[0]);
	close(pair[1]);
	ck_assert_int_eq(bluetooth_level_read(pair[0], ADAPTER, DEVICE, folder, &level), -EBADF);
}
END_TEST

START_TEST(an_address_is_turned_around)
{
	const uint8_t expected[6] = {0x0f, 0xe1, 0xdA, 0x23, 0xBc, 0xA0};
	bdaddr_t got = bluetooth_bdaddr("a0:BC:23:Da:e1:0F");

	ck_assert_mem_eq(got.b, expected, sizeof(expected));
}
END_TEST

/* Packet type, event code, length, status, handle. */
START_TEST(an_authentication_that_fails_is_heard)
{
	static const struct {
		uint8_t event[6];
		bool unproven;
	} rows[] = {
		{{0x04, 0x06, 3, 0x05, 0x10, 0x00}, true},  /* another key */
		{{0x04, 0x06, 3, 0x06, 0x10, 0x00}, true},  /* no key */
		{{0x04, 0x06, 3, 0x00, 0x10, 0x00}, false}, /* it was proven */
		{{0x04, 0x06, 3, 0x08, 0x10, 0x00}, false}, /* the link was lost */
		{{0x04, 0x05, 4, 0x00, 0x10, 0x00}, false}, /* another event */
		{{0x02, 0x06, 3, 0x05, 0x10, 0x00}, false}, /* no event */
	};
	bool unproven;
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unproven = false;
		ck_assert_int_eq(write(pair[1], rows[i].event, 6), 6);
		ck_assert_int_eq(write(pair[1], "\x04\x06", 2), 2);
		ck_assert_int_eq(bluetooth_hci_drain(pair[0], &unproven), 0);
		ck_assert_int_eq(unproven, rows[i].unproven);
	}
	close(pair[1]);
	ck_assert_int_eq(bluetooth_hci_drain(pair[0], &unproven), -EPIPE);
	close(pair[0]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bluetooth-level");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, make_folder, remove_all);
	tcase_add_test(tc, a_link_keys_type_says_whether_it_is_authenticated);
	tcase_add_test(tc, a_long_term_key_is_read_for_le);
	tcase_add_test(tc, what_cannot_be_read_does_not_count);
	tcase_add_test(tc, the_level_is_judged_from_all_there_is);
	tcase_add_test(tc, another_kind_of_socket_has_no_level);
	tcase_add_test(tc, an_address_is_turned_around);
	tcase_add_test(tc, an_authentication_that_fails_is_heard);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
