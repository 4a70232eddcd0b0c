#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "protocol/p1.h"
#include "server/import.h"

static char why[300];
static char path[64];

/* What was handed out, as "entity=hex;" or "entity~hex;" for a passphrase. */
static char seen[4096];
static size_t stop_after;
static size_t calls;

static int note(void *arg, struct bytes entity, struct secret *key, bool passphrase)
{
	char hex[2 * SECRET_MAX_SIZE + 1];
	size_t used = strlen(seen);

	ck_assert_ptr_eq(arg, seen);
	ck_assert_int_eq(hex_encode(secret_bytes(key), hex, sizeof(hex)), 0);
	snprintf(seen + used, sizeof(seen) - used, "%.*s%c%s;", (int)entity.size,
		 (const char *)entity.data, passphrase ? '~' : '=', hex);
	return ++calls == stop_after ? 42 : 0;
}

static int import(const char *name)
{
	seen[0] = '\0';
	calls = 0;
	strcpy(why, "-");
	return import_file(name, note, seen, why, sizeof(why));
}

static const char *fixture(const char *name)
{
	static char full[512];
	const char *directory = getenv("PNGW_SRCDIR");

	snprintf(full, sizeof(full), "%s/tests/data/%s", directory ? directory : ".", name);
	return full;
}

static void setup(void)
{
	stop_after = 0;
	strcpy(path, "/tmp/test-import-XXXXXX");
	close(mkstemp(path));
}

static void teardown(void)
{
	unlink(path);
	ck_assert_uint_eq(secret_count(), 0);
}

static int import_text(const void *text, size_t size)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, size), (ssize_t)size);
	close(fd);
	return import(path);
}

#define KEY16 "000102030405060708090a0b0c0d0e0f"
#define KEY32 KEY16 "101112131415161718191a1b1c1d1e1f"

START_TEST(test_csv)
{
	SCOPED_SECRET *passphrase = secret_copy(bytes_text("correct, horse \"battery\" staple"));
	struct secret *key = NULL;
	char hex[2 * KEY_SIZE + 1];
	char expected[512];
	int r = import(fixture("temporary-keys.csv"));

	ck_assert_msg(r == 0, "%d %s", r, why);
	ck_assert_int_eq(
		p1_stretch_temporary_key(passphrase, bytes_text("00:11:22:33:44:55"), &key), 0);
	ck_assert_int_eq(hex_encode(secret_bytes(key), hex, sizeof(hex)), 0);
	secret_unref(key);
	snprintf(expected, sizeof(expected),
		 "headset-1=%s;urn:imei:35-209900-176148-1=%s;00:11:22:33:44:55~%s;", KEY16, KEY32,
		 hex);
	ck_assert_str_eq(seen, expected);
}
END_TEST

START_TEST(test_pskc)
{
	/* Twice: the libraries are set up and torn down each time. */
	for (size_t i = 0; i < 2; i++) {
		int r = import(fixture("temporary-keys.pskc"));

		ck_assert_msg(r == 0, "%d %s", r, why);
		ck_assert_str_eq(seen, "headset-1=" KEY16 ";headset-2=" KEY32 ";");
	}
}
END_TEST

START_TEST(test_stop)
{
	stop_after = 1;
	ck_assert_int_eq(import(fixture("temporary-keys.pskc")), 42);
	ck_assert_str_eq(seen, "headset-1=" KEY16 ";");
	ck_assert_int_eq(import("/nonexistent/keys.csv"), -ENOENT);
	ck_assert_ptr_nonnull(strstr(why, "/nonexistent/keys.csv"));
	ck_assert_int_eq(import("/tmp"), IMPORT_BAD_FILE);
}
END_TEST

#define HEADER "entity_id,form,temporary_key\n"

static const struct {
	const char *text;
	const char *seen;
} good[] = {
	{HEADER "a,hex," KEY16, "a=" KEY16 ";"},
	{"\xef\xbb\xbf" HEADER "a,hex," KEY16 "\n", "a=" KEY16 ";"},
	{"entity_id,form,temporary_key\r\n\r\na,hex," KEY16 "\r\n", "a=" KEY16 ";"},
	{HEADER " a , hex , " KEY16 " \n\n\nb,hex," KEY32 KEY32 "\n",
	 "a=" KEY16 ";b=" KEY32 KEY32 ";"},
	{"\"entity_id\",\"form\",\"temporary_key\"\n\"a\",\"hex\",\"" KEY16 "\"\n", "a=" KEY16 ";"},
};

START_TEST(test_good_csv)
{
	int r = import_text(good[_i].text, strlen(good[_i].text));

	ck_assert_msg(r == 0, "%d %s", r, why);
	ck_assert_str_eq(seen, good[_i].seen);
}
END_TEST

/* Each begins with a good key, where it can, that must not be handed out. */
static const struct {
	const char *text;
	const char *where;
	const char *what;
} bad_csv[] = {
	{"\n \n", "", "header line"},
	{HEADER, "", "no keys"},
	{"a,hex," KEY16 "\n", "line 1:", "header"},
	{"entity_id,form\na,hex\n", "line 1:", "header"},
	{"entity_id,form,temporary_key,note\na,hex," KEY16 ",\n", "line 1:", "header"},
	{HEADER "a,hex," KEY16 "\nb,hex\n", "line 3:", "three fields"},
	{HEADER "a,hex," KEY16 "\nb,hex," KEY16 ",x\n", "line 3:", "three fields"},
	{HEADER "a,hex," KEY16 "\n\nb,hex,0001\n", "line 4:", "16 to 64"},
	{HEADER "a,hex," KEY16 "\nb,hex," KEY32 KEY32 "00\n", "line 3:", "16 to 64"},
	{HEADER "a,hex," KEY16 "\nb,hex," KEY16 "0\n", "line 3:", "hex digits"},
	{HEADER "a,hex," KEY16 "\nb,hex,x" KEY16 "0\n", "line 3:", "hex digits"},
	{HEADER "a,hex," KEY16 "\nb,hex,\n", "line 3:", "hex digits"},
	{HEADER "a,hex," KEY16 "\nb,passphrase,\n", "line 3:", "passphrase"},
	{HEADER "a,hex," KEY16 "\nb,passphrase,\xff\xfe\n", "line 3:", "passphrase"},
	{HEADER "a,hex," KEY16 "\nb,base64," KEY16 "\n", "line 3:", "form"},
	{HEADER "a,hex," KEY16 "\nb,HEX," KEY16 "\n", "line 3:", "form"},
	{HEADER "a,hex," KEY16 "\nb b,hex," KEY16 "\n", "line 3:", "Entity ID"},
	{HEADER "a,hex," KEY16 "\n,hex," KEY16 "\n", "line 3:", "Entity ID"},
	{HEADER "a,hex," KEY16 "\n" KEY32 "0,hex," KEY16 "\n", "line 3:", "Entity ID"},
	{HEADER "a,hex," KEY16 "\nb,hex," KEY16 "\na,hex," KEY32 "\n", "line 4:", "line 2"},
	{HEADER "a,hex," KEY16 "\nb,passphrase,\"open\nc,hex," KEY16 "\n", "line 3:", "beyond"},
	{HEADER "a,hex," KEY16 "\nb,passphrase,\"open", "line 3:", "beyond"},
	{HEADER "a,hex," KEY16 "\nb,passphrase,\"a\"b\n", "line 3:", "quote"},
	{HEADER "a,hex," KEY16 "\nb,passphrase,a\"b\n", "line 3:", "quote"},
	{HEADER "a,hex," KEY16 "\nb,passphrase,a\rb\n", "line 3:", "carriage return"},
};

static void expect_bad(const char *where, const char *what)
{
	ck_assert_uint_eq(calls, 0);
	ck_assert_msg(strncmp(why, path, strlen(path)) == 0, "%s", why);
	ck_assert_msg(strstr(why, where) != NULL, "%s", why);
	ck_assert_msg(strstr(why, what) != NULL, "%s", why);
	ck_assert_msg(!strstr(why, KEY16) && !strstr(why, "AAEC"), "%s", why);
}

START_TEST(test_bad_csv)
{
	int r = import_text(bad_csv[_i].text, strlen(bad_csv[_i].text));

	ck_assert_int_eq(r, IMPORT_BAD_FILE);
	expect_bad(bad_csv[_i].where, bad_csv[_i].what);
}
END_TEST

START_TEST(test_sizes)
{
	static char big[10000];

	ck_assert_int_eq(import_text("", 0), IMPORT_BAD_FILE);
	expect_bad("", "empty");
	ck_assert_int_eq(import_text(HEADER "a\0b", strlen(HEADER) + 3), IMPORT_BAD_FILE);
	expect_bad("", "text");
	memset(big, 'a', sizeof(big));
	memcpy(big, HEADER, sizeof(HEADER) - 1);
	ck_assert_int_eq(import_text(big, sizeof(big)), IMPORT_BAD_FILE);
	expect_bad("line 2:", "too long");
	ck_assert_int_eq(truncate(path, (off_t)IMPORT_FILE_MAX + 1), 0);
	ck_assert_int_eq(import(path), IMPORT_BAD_FILE);
	expect_bad("", "16 MiB");
}
END_TEST

/* What is replaced in the good PSKC file, by what, and what is then said. */
static const struct {
	const char *old;
	const char *new;
	const char *where;
	const char *what;
} bad_pskc[] = {
	{"</KeyContainer>", "", "line ", "well-formed"},
	{"</Secret>", "</Secrets>", "line 12:", "well-formed"},
	{"keyprov:pskc\">", "keyprov:other\">", "line ", "not a PSKC"},
	{"<SerialNo>headset-2</SerialNo>", "", "key 2:", "SerialNo"},
	{"headset-2", "headset 2", "key 2:", "Entity ID"},
	{"headset-2", "headset-1", "key 2:", "key 1"},
	{"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "AAEC", "key 2:", "16 to 64"},
	{"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	 "AA*CAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "line ", "not a PSKC"},
	{"Hh8=", "Hh8=*", "line 24:", "base64"},
	{"AAEC", "AAEC<!-- -->", "line 11:", "base64"},
	{"AAEC", "<![CDATA[AAEC]]>", "line 11:", "base64"},
	{"AAEC", "&#65;AEC", "line 11:", "base64"},
	{"AAEC", "AAEC*", "line 11:", "base64"},
	{"<PlainValue>AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=</PlainValue>", "", "", ""},
	{"<PlainValue>AAECAwQFBgcICQoLDA0ODw==</PlainValue>",
	 "<EncryptedValue>AAECAwQFBgcICQoLDA0ODw==</EncryptedValue>", "", "encrypted"},
	{"UTF-8", "UTF-7", "", "UTF-8"},
	{"encoding=\"UTF-8\"", "encoding = 'ISO-8859-1'", "", "UTF-8"},
	{"UTF-8", "UTF-80", "", "UTF-8"},
	{"?>", "?><!DOCTYPE KeyContainer [<!ENTITY a \"b\">]>", "", "document type"},
};

START_TEST(test_bad_pskc)
{
	static char text[8192], changed[8192], complaints[64];
	FILE *f = fopen(fixture("temporary-keys.pskc"), "r");
	size_t size;
	char *at;
	int spilled;
	int r;

	ck_assert_ptr_nonnull(f);
	size = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[size] = '\0';
	at = strstr(text, bad_pskc[_i].old);
	ck_assert_ptr_nonnull(at);
	snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - text), text, bad_pskc[_i].new,
		 at + strlen(bad_pskc[_i].old));

	/* Nothing is written to stderr meanwhile: the libraries would quote the document. */
	strcpy(complaints, "/tmp/test-import-stderr-XXXXXX");
	spilled = mkstemp(complaints);
	ck_assert_int_ge(dup2(spilled, 2), 0);
	r = import_text(changed, strlen(changed));
	ck_assert_int_eq(lseek(spilled, 0, SEEK_END), 0);
	unlink(complaints);
	ck_assert_int_eq(r, IMPORT_BAD_FILE);
	expect_bad(bad_pskc[_i].where, bad_pskc[_i].what);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("import");
	TCase *t = tcase_create("import");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_csv);
	tcase_add_test(t, test_pskc);
	tcase_add_test(t, test_stop);
	tcase_add_loop_test(t, test_good_csv, 0, sizeof(good) / sizeof(good[0]));
	tcase_add_loop_test(t, test_bad_csv, 0, sizeof(bad_csv) / sizeof(bad_csv[0]));
	tcase_add_test(t, test_sizes);
	tcase_add_loop_test(t, test_bad_pskc, 0, sizeof(bad_pskc) / sizeof(bad_pskc[0]));
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
