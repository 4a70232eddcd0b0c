/* Every wrong setting is told with its file and, where it is on one, its line, and what is expected
 * instead. */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/config.h"

#define HEAD                                                                         \
	"entity_id = \"gw-1\";\n"                                                    \
	"server = { entity_id = \"srv\"; host = \"h\"; tls = { ca = \"ca\"; }; };\n" \
	"vault = { path = \"v\"; key_file = \"k\"; };\n"
#define LISTEN "pan = { listen = ( { address = \"unix:/p\"; security = \"none\"; } ); };\n"

#define SERVER(host)                                                                             \
	"entity_id = \"gw-1\";\nserver = { entity_id = \"srv\"; tls = { ca = \"c\"; };\nhost = " \
	"\"" host "\"; };\nvault = { path = \"v\"; key_file = \"k\"; };\n" LISTEN

#define LISTEN_AND(more) \
	"pan = { listen = ( { address = \"unix:/p\"; security = \"none\"; } ); " more " };\n"

static char file[] = "/tmp/pngw-config-XXXXXX";

static void setup(void)
{
	int fd;

	memcpy(file, "/tmp/pngw-config-XXXXXX", sizeof(file));
	fd = mkstemp(file);
	ck_assert_int_ge(fd, 0);
	(void)close(fd);
}

static void teardown(void)
{
	(void)unlink(file);
}

static int load(const char *text, struct config *config, char *why, size_t why_size)
{
	FILE *out = fopen(file, "w");

	ck_assert_ptr_nonnull(out);
	(void)fputs(text, out);
	(void)fclose(out);
	return gateway_config_load(file, config, why, why_size);
}

static const struct wrong {
	const char *text;
	unsigned line;
	const char *expected;
} wrong[] = {
	{HEAD LISTEN "nonsense = 1;\n", 5, "nonsense: no such setting"},
	{HEAD LISTEN "server2 = { host = \"x\"; };\n", 5, "server2: no such setting"},
	{HEAD LISTEN "card = 1;\n", 5, "card: expected true or false"},
	{HEAD LISTEN "iterations_floor = 0;\n", 5, "expected a number from 1 to 10000000"},
	{HEAD LISTEN "max_procedures = \"many\";\n", 5, "max_procedures: expected a number"},
	{HEAD LISTEN "\nkey_set = { kind = \"chains\"; };\n", 6, "expected one of random, chain"},
	{HEAD LISTEN "key_set = {\n  count = 65; };\n", 6,
	 "key_set.count: expected a number from 1 to 64"},
	{HEAD LISTEN "limits = 5;\n", 5, "limits: expected a group"},
	{HEAD LISTEN "control = 5;\n", 5, "control: expected a group"},
	{"entity_id = \"gw-1\";\n"
	 "server = { entity_id = \"srv\"; host = \"h\"; tls = { ca = \"ca\"; }; };\n"
	 "vault = { path = \"v\"; };\n" LISTEN,
	 0, "vault.key_file: must be given unless vault.passphrase_file is"},
	{"entity_id = \"gw-1\";\n"
	 "server = { entity_id = \"srv\"; host = \"h\"; tls = { ca = \"ca\"; }; };\n"
	 "vault = { path = \"v\"; passphrase_file = \"p\"; second_key_file = \"k\"; };\n" LISTEN,
	 3, "vault.second_key_file: expected only with vault.key_file"},
	{HEAD "pan = { };\n", 0, "pan.listen: must be given"},
	{HEAD "pan = { listen = ( ); };\n", 4, "pan.listen: expected ("},
	{HEAD "pan = { listen = ( { address = \"x\"; security = \"none\"; } ); };\n", 4,
	 "\"unix:/PATH\""},
	{HEAD "pan = { listen = (\n{ address = \"unix:/p\"; } ); };\n", 5, "pan.listen.security"},
	{HEAD "pan = { listen = ( { address = \"unix:/p\"; security = \"none\";\n x = 1; } ); };\n",
	 5, "pan.listen.x: no such setting"},
	{HEAD LISTEN_AND("bluetooth = { adapter = \"hci\"; };"), 4,
	 "pan.bluetooth.adapter: expected"},
	{HEAD LISTEN_AND("bluetooth = { bonds = \"b\"; };"), 4, "pan.bluetooth.bonds: expected"},
	{HEAD LISTEN_AND("bluetooth = { nap = { bridge = \"a/b\"; }; };"), 4,
	 "pan.bluetooth.nap.bridge: expected"},
	{HEAD LISTEN_AND("bluetooth = { nap = { address = \"10.0.0.1\"; }; };"), 4,
	 "pan.bluetooth.nap.address: expected"},
	{HEAD LISTEN_AND("bluetooth = { nap = { enable = true; }; };"), 4,
	 "expected only with pan.bluetooth.enable"},
	{HEAD LISTEN_AND("bluetooth = { nap = {\n prt = 1; }; };"), 5,
	 "pan.bluetooth.nap.prt: no such setting"},
	{HEAD "pan = { bluetooth = { enable = true; }; };\n"
	      "pne = { entity_id = \"p\"; vault_path = \"v\"; vault_key_file = \"k\"; };\n",
	 0, "pan.listen: must be given with pne.entity_id"},
	{HEAD LISTEN "pan2 = \n", 6, "syntax error"},
	{"entity_id = \"a b\";\n", 1, "entity_id: expected an Entity ID"},
	{"entity_id = \"gw-1\";\n" LISTEN, 0, "server.host: must be given"},
	{"entity_id = \"gw-1\";\nserver = { entity_id = \"srv\"; host = \"h\"; };\n"
	 "vault = { path = \"v\"; key_file = \"k\"; };\n" LISTEN,
	 0, "server.tls.ca: must be given unless"},
	{"entity_id = \"srv\";\nserver = { entity_id = \"srv\"; host = \"h\"; tls = { ca = \"c\"; "
	 "}; };\n"
	 "vault = { path = \"v\"; key_file = \"k\"; };\n" LISTEN,
	 2, "server.entity_id: expected another one than entity_id"},
	{HEAD LISTEN "entity_id = \"gw-2\";\n", 5, "duplicate setting name"},
	{"entity_id = \"gw-1\";\n"
	 "server = { entity_id = \"srv\"; host = \"h\";\npath = \"cpns\"; tls = { ca = \"c\"; }; "
	 "};\n"
	 "vault = { path = \"v\"; key_file = \"k\"; };\n" LISTEN,
	 3, "server.path: expected a path"},
	{SERVER("http://h"), 3, "server.host: expected a name or an address alone"},
	{SERVER("h:443"), 3, "server.host: expected a name or an address alone"},
	{SERVER("h\"; verify_name = \"a b"), 3, "server.verify_name: expected a name"},
	{HEAD LISTEN "control = {\nbus = \"nonsense\"; };\n", 6,
	 "control.bus: expected \"system\""},
	{HEAD LISTEN "control = {\nbus = \"tcp:host=::,port=99\"; };\n", 6,
	 "control.bus: expected"},
	{HEAD LISTEN "control = {\nbus = \"unix:path=/a;tcp:host=::,port=99\"; };\n", 6,
	 "control.bus: expected"},
	{HEAD LISTEN "control = {\nbus = \"unix:path=relative\"; };\n", 6, "control.bus: expected"},
	{HEAD "pan = { listen = (\n{ address = \"unix:/p\"; security = \"none\"; },\n"
	      "{ address = \"unix:/p\"; security = \"authenticated\"; } ); };\n",
	 6, "pan.listen.address: unix:/p is there twice"},
};

START_TEST(test_wrong)
{
	const struct wrong *w = &wrong[_i];
	struct config config;
	char why[512] = "", place[64];

	memset(&config, 0x5a, sizeof(config));
	ck_assert_int_ne(load(w->text, &config, why, sizeof(why)), 0);
	ck_assert_msg(strstr(why, w->expected) != NULL, "said: %s, not: %s", why, w->expected);
	if (w->line)
		(void)snprintf(place, sizeof(place), "%s:%u: ", file, w->line);
	else
		(void)snprintf(place, sizeof(place), "%s: ", file);
	ck_assert_msg(strncmp(why, place, strlen(place)) == 0, "said: %s, not at %s", why, place);
	ck_assert_int_eq(config.entity_id.text[0], 0x5a);
}
END_TEST

START_TEST(test_defaults)
{
	struct config config;
	struct core_options options;
	char why[512] = "";

	ck_assert_msg(load(HEAD LISTEN, &config, why, sizeof(why)) == 0, "%s", why);
	ck_assert_str_eq(config.entity_id.text, "gw-1");
	ck_assert_str_eq(config.path, "/cpns");
	ck_assert_uint_eq(config.port, 443);
	ck_assert_uint_eq(config.iterations_floor, 100000);
	ck_assert(!config.card);
	ck_assert_int_eq(config.secure_level, PAN_SECURITY_AUTHENTICATED);
	ck_assert_int_eq(config.key_set_kind, KEY_SET_RANDOM);
	ck_assert_uint_eq(config.listen_count, 1);
	gateway_config_core_options(&config, &options);
	ck_assert_str_eq(options.server.text, "srv");
	ck_assert_uint_eq(options.relay.quota, 4);
	ck_assert_uint_eq(options.pool.low_water, 1);
	ck_assert_uint_eq(options.pool.size, 4);
	ck_assert_uint_eq(options.pool.lifetime_s, 0);
	ck_assert_uint_eq(options.pool.renew_s, 0);
	ck_assert_int_eq(load(HEAD LISTEN "key_set = { count = 1; lifetime = 2; };\n", &config, why,
			      sizeof(why)),
			 0);
	gateway_config_core_options(&config, &options);
	ck_assert_uint_eq(options.pool.low_water, 0);
	ck_assert_uint_eq(options.pool.lifetime_s, 172800);
}
END_TEST

START_TEST(test_bluetooth)
{
	static const char *const adapters[] = {"", "hci0", "hci12", "00:aa:01:00:00:00"};
	char text[1024], why[512] = "";
	struct config config;

	ck_assert_int_eq(load(HEAD LISTEN, &config, why, sizeof(why)), 0);
	ck_assert(!config.bluetooth);
	ck_assert(!config.nap);
	ck_assert(config.bluetooth_power);
	ck_assert(!config.bluetooth_strangers);
	ck_assert_str_eq(config.nap_address, "192.168.44.1/24");
	ck_assert_int_eq(config.nap_security, PAN_SECURITY_NONE);
	for (size_t i = 0; i < sizeof(adapters) / sizeof(adapters[0]); i++) {
		(void)snprintf(text, sizeof(text),
			       HEAD "pan = { bluetooth = { enable = true; adapter = \"%s\"; "
				    "nap = { enable = true; port = 99; }; }; };\n",
			       adapters[i]);
		ck_assert_msg(load(text, &config, why, sizeof(why)) == 0, "%s", why);
		ck_assert_uint_eq(config.listen_count, 0);
		ck_assert_uint_eq(config.nap_port, 99);
		ck_assert_str_eq(config.bluetooth_adapter, adapters[i]);
	}
}
END_TEST

/* Buses of this machine, and hosts of any family, are taken. */
START_TEST(test_places)
{
	static const char *const buses[] = {"system", "session", "unix:path=/run/bus,guid=00",
					    "unix:abstract=bus"};
	static const char *const hosts[] = {"server.example", "127.0.0.1", "fe80::1%eth0"};
	char text[1024], why[512] = "";
	struct config config;

	for (size_t i = 0; i < sizeof(buses) / sizeof(buses[0]); i++) {
		(void)snprintf(text, sizeof(text), HEAD LISTEN "control = { bus = \"%s\"; };\n",
			       buses[i]);
		ck_assert_msg(load(text, &config, why, sizeof(why)) == 0, "%s", why);
		ck_assert_uint_eq(gateway_config_line(&config, "control.bus"), 5);
		ck_assert_uint_eq(gateway_config_line(&config, "control.pins"), 0);
	}
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		(void)snprintf(text, sizeof(text), SERVER("%s"), hosts[i]);
		ck_assert_msg(load(text, &config, why, sizeof(why)) == 0, "%s", why);
	}
}
END_TEST

START_TEST(test_missing_file)
{
	struct config config;
	char why[512] = "";

	ck_assert_int_ne(gateway_config_load("/nonexistent/pngw.conf", &config, why, sizeof(why)),
			 0);
	ck_assert_ptr_nonnull(strstr(why, "/nonexistent/pngw.conf: cannot be read: No such file"));
}
END_TEST

START_TEST(test_example)
{
	struct config config;
	char why[512] = "", path[1024];

	(void)snprintf(path, sizeof(path), "%s/gateway/pngw.conf.example", getenv("PNGW_SRCDIR"));
	ck_assert_msg(gateway_config_load(path, &config, why, sizeof(why)) == 0, "%s", why);
	ck_assert_uint_eq(config.listen_count, 1);
}
END_TEST

/* What goes into a bundle: all settings, by name. */
START_TEST(test_written)
{
	char path[1024], *text = NULL, why[256];
	struct config config;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	(void)snprintf(path, sizeof(path), "%s/gateway/pngw.conf.example", getenv("PNGW_SRCDIR"));
	ck_assert_msg(gateway_config_load(path, &config, why, sizeof(why)) == 0, "%s", why);
	config.iterations_floor = 4711;
	config.card = true;
	config.secure_level = PAN_SECURITY_ENCRYPTED;
	(void)strcpy(config.vault_path, "/here/vault");
	gateway_config_write(&config, out);
	(void)fclose(out);
	ck_assert_ptr_nonnull(strstr(text, "iterations_floor = 4711\n"));
	ck_assert_ptr_nonnull(strstr(text, "card = true\n"));
	ck_assert_ptr_nonnull(strstr(text, "pan.secure_level = \"encrypted\"\n"));
	ck_assert_ptr_nonnull(strstr(text, "vault.path = \"/here/vault\"\n"));
	ck_assert_ptr_nonnull(strstr(text, "recorder.size = 262144\n"));
	ck_assert_ptr_nonnull(strstr(text, "pan.listen = \"unix:"));
	free(text);
}
END_TEST

/* The table in the manual is the one the program has. */
START_TEST(test_manual)
{
	char path[1024], *table = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&table, &size), *in;
	char *manual = calloc(1, 65536);

	gateway_config_write_markdown(out);
	(void)fclose(out);
	(void)snprintf(path, sizeof(path), "%s/doc/pngw.conf.md", getenv("PNGW_SRCDIR"));
	in = fopen(path, "r");
	ck_assert_ptr_nonnull(in);
	ck_assert_uint_gt(fread(manual, 1, 65535, in), 0);
	(void)fclose(in);
	ck_assert_msg(strstr(manual, table) != NULL, "doc/pngw.conf.md: replace its table by what "
						     "pngwd --list-settings prints");
	free(manual);
	free(table);
}
END_TEST

/* A file that is read again takes effect but for what pngwd has open since its start. */
START_TEST(test_keep)
{
	struct config running, fresh, as_read;
	char why[256] = "";

	ck_assert_int_eq(load(HEAD LISTEN, &running, why, sizeof(why)), 0);
	as_read = running;
	(void)strcpy(as_read.vault_path, "elsewhere");
	(void)strcpy(as_read.vault_key_file, "k2");
	(void)strcpy(as_read.pins, "other pins");
	as_read.agent_wait = 1;
	as_read.listen_count = 0;
	as_read.entity_id.text[0] = 'x';
	as_read.max_procedures = 7;
	fresh = as_read;
	gateway_config_keep(&fresh, &running);
	ck_assert_str_eq(fresh.vault_path, running.vault_path);
	ck_assert_str_eq(fresh.vault_key_file, "k2");
	ck_assert_str_eq(fresh.pins, running.pins);
	ck_assert_uint_eq(fresh.agent_wait, running.agent_wait);
	ck_assert_uint_eq(fresh.listen_count, 1);
	ck_assert(name_equal(&fresh.entity_id, &running.entity_id));
	ck_assert_uint_eq(fresh.max_procedures, 7);
	/* What a restart would change is found. */
	ck_assert_str_eq(gateway_config_difference(&fresh, &as_read), "entity_id");
	ck_assert(gateway_config_at_start("vault.path"));
	ck_assert(gateway_config_at_start("control.lockout"));
	ck_assert(!gateway_config_at_start("server.host"));
	ck_assert(!gateway_config_at_start("entity_identity"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gateway configuration");
	TCase *tests = tcase_create("config");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, test_wrong, 0, (int)(sizeof(wrong) / sizeof(wrong[0])));
	tcase_add_test(tests, test_defaults);
	tcase_add_test(tests, test_bluetooth);
	tcase_add_test(tests, test_places);
	tcase_add_test(tests, test_missing_file);
	tcase_add_test(tests, test_example);
	tcase_add_test(tests, test_written);
	tcase_add_test(tests, test_manual);
	tcase_add_test(tests, test_keep);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
