/* cpns-serverd.conf: what is taken, and what is refused with its line. */

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/config.h"

static char path[64];

static int read_config(const char *text, struct server_config *out, char *why, size_t why_size)
{
	FILE *f;
	int fd, r;

	(void)snprintf(path, sizeof(path), "/tmp/test-server-config-XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	f = fdopen(fd, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
	r = server_config_read(path, out, why, why_size);
	(void)unlink(path);
	return r;
}

#define LISTEN "listen = { address = \"::1\"; port = 8443; };\n"
#define TLS    "tls = { certificate = \"/c\"; key = \"/k\"; };\n"
#define PATHS  "database = \"/d\";\nkey_file = \"/f\";\n"
#define GOOD   "entity_id = \"cpns.example\";\n" LISTEN TLS PATHS

START_TEST(test_defaults)
{
	struct server_config c;
	char why[512] = "";

	ck_assert_msg(read_config(GOOD, &c, why, sizeof(why)) == 0, "%s", why);
	ck_assert_str_eq(c.entity_id.text, "cpns.example");
	ck_assert_str_eq(c.listen_address, "::1");
	ck_assert_uint_eq(c.listen_port, 8443);
	ck_assert_str_eq(c.listen_path, "/cpns");
	ck_assert_str_eq(c.tls_key, "/k");
	ck_assert_str_eq(c.tls_client_ca, "");
	ck_assert(!c.tls_allow_tls12);
	ck_assert_uint_eq(c.iterations, 600000);
	ck_assert_uint_eq(c.key_set_max, 64);
	ck_assert_uint_eq(c.answer_days, 30);
	ck_assert_uint_eq(c.max_derivations, 64);
}
END_TEST

START_TEST(test_all)
{
	struct server_config c;
	char why[512] = "";

	ck_assert_msg(read_config("entity_id = \"s\";\n"
				  "listen = { address = \"0.0.0.0\"; port = 0; path = \"/x\"; };\n"
				  "tls = { psk_file = \"/p\"; client_ca = \"/a\"; allow_tls12 = "
				  "true; };\n" PATHS
				  "iterations = 1000; key_set_max = 1; answer_days = 2;\n"
				  "nonce_seconds = 5; max_connections = 3; max_streams = 4;\n"
				  "max_derivations = 6; idle_seconds = 7;\n",
				  &c, why, sizeof(why)) == 0,
		      "%s", why);
	ck_assert_str_eq(c.listen_path, "/x");
	ck_assert_str_eq(c.tls_psk_file, "/p");
	ck_assert(c.tls_allow_tls12);
	ck_assert_uint_eq(c.iterations, 1000);
	ck_assert_uint_eq(c.key_set_max, 1);
	ck_assert_uint_eq(c.nonce_seconds, 5);
	ck_assert_uint_eq(c.max_connections, 3);
	ck_assert_uint_eq(c.max_streams, 4);
	ck_assert_uint_eq(c.idle_seconds, 7);
}
END_TEST

static const struct bad {
	const char *text, *says;
} bad[] = {
	{GOOD "colour = 1;\n", ":6: unknown setting colour"},
	{GOOD "iterations = \"many\";\n", ":6: iterations must be a whole number"},
	{GOOD "iterations = 10;\n", ":6: iterations must be 1000 to 10000000"},
	{GOOD "key_set_max = 65;\n", ":6: key_set_max must be 1 to 64"},
	{GOOD "key_set_max = 0;\n", ":6: key_set_max"},
	{GOOD "x = ;\n", ":6: syntax error"},
	{"entity_id = \"a b\";\n" LISTEN TLS PATHS, ":1: entity_id must be 1 to 64 of"},
	{"entity_id = 5;\n" LISTEN TLS PATHS, ":1: entity_id must be a string"},
	{LISTEN TLS PATHS, "entity_id is missing"},
	{"entity_id = \"s\";\nlisten = 5;\n" TLS PATHS, ":2: listen must be a group"},
	{"entity_id = \"s\";\nlisten = { address = \"::\"; port = 70000; };\n" TLS PATHS,
	 ":2: listen.port must be 0 to 65535"},
	{"entity_id = \"s\";\nlisten = { address = \"::\"; port = 1; path = \"x\"; };\n" TLS PATHS,
	 ":2: listen.path must begin with /"},
	{"entity_id = \"s\";\nlisten = { address = \"::\"; port = 1;\n tls = 1; };\n" TLS PATHS,
	 ":3: unknown setting listen.tls"},
	{"entity_id = \"s\";\n" LISTEN "tls = { certificate = \"/c\"; };\n" PATHS,
	 "tls.certificate and tls.key go together"},
	{"entity_id = \"s\";\n" LISTEN "tls = { };\n" PATHS, "tls needs a certificate"},
	{"entity_id = \"s\";\n" LISTEN "tls = { psk_file = \"/p\"; allow_tls12 = 1; };\n" PATHS,
	 "tls.allow_tls12 must be true or false"},
	{"", "entity_id is missing"},
};

START_TEST(test_refused)
{
	struct server_config c;
	char why[512] = "";

	ck_assert_int_eq(read_config(bad[_i].text, &c, why, sizeof(why)), -EINVAL);
	ck_assert_msg(strstr(why, bad[_i].says) != NULL, "\"%s\" does not say \"%s\"", why,
		      bad[_i].says);
	ck_assert_int_eq(strncmp(why, path, strlen(path)), 0);
}
END_TEST

START_TEST(test_absent)
{
	struct server_config c;
	char why[512] = "";

	ck_assert_int_lt(server_config_read("/nowhere/at/all", &c, why, sizeof(why)), 0);
	ck_assert_ptr_nonnull(strstr(why, "/nowhere/at/all: cannot be read"));
}
END_TEST

/* What ships is good. */
START_TEST(test_example)
{
	struct server_config c;
	char why[512] = "", example[512];
	const char *source = getenv("PNGW_SRCDIR");

	(void)snprintf(example, sizeof(example), "%s/server/cpns-serverd.conf.example",
		       source ? source : ".");
	ck_assert_msg(server_config_read(example, &c, why, sizeof(why)) == 0, "%s", why);
	ck_assert_uint_eq(c.listen_port, 8443);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("server config");
	TCase *t = tcase_create("config");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_defaults);
	tcase_add_test(t, test_all);
	tcase_add_loop_test(t, test_refused, 0, sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(t, test_absent);
	tcase_add_test(t, test_example);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
