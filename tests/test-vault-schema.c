/* Every older schema is kept as a vault that an older program made, and must open for ever. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "storage/vault.h"

#define LONG_SIZE 5000

/* What each of them holds; the order is that of the sequences within a kind. */
static const struct {
	enum vault_kind kind;
	const char *owner;
	const char *item;
	const char *content; /* NULL: LONG_SIZE bytes of 0, 1, 2... */
} records[] = {
	{VAULT_IDENTITY, "", "", "identity of the fixture"},
	{VAULT_TEMPORARY_KEY, "pne-1", "", "temporary key of pne-1"},
	{VAULT_TEMPORARY_KEY, "pne-2", "", "temporary key of pne-2"},
	{VAULT_EUKEY, "pne-1", "1", "first key of pne-1"},
	{VAULT_EUKEY, "pne-2", "1", "first key of pne-2"},
	{VAULT_EUKEY, "pne-1", "3", "third key of pne-1"},
	{VAULT_EUKEY, "pne-1", "2", "second key of pne-1, written again"},
	{VAULT_USER, "", "", "user@example.org"},
	{VAULT_ANSWER, "", "0123456789abcdef", "answer"},
	{VAULT_ANSWER, "pne-1", "fedcba9876543210", NULL},
	{VAULT_PNE, "pne-1", "", "user@example.org"},
	{VAULT_PNE, "pne-2", "", "other@example.org"},
	{VAULT_DELIVERY, "pne-1", "1", ""},
	{VAULT_PROCEDURE, "", "figure 7", "under way"},
};

#define RECORD_COUNT (sizeof(records) / sizeof(records[0]))

static uint8_t long_content[LONG_SIZE];
static char directory[64];
static char path[128];
static char key_file[128];
static char why[256];

static struct bytes content_of(size_t i)
{
	for (size_t j = 0; j < LONG_SIZE; j++)
		long_content[j] = (uint8_t)j;
	return records[i].content ? bytes_text(records[i].content)
				  : bytes_of(long_content, LONG_SIZE);
}

static void setup(void)
{
	strcpy(directory, "/tmp/test-vault-schema-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/vault", directory);
	snprintf(key_file, sizeof(key_file), "%s/key", directory);
}

static void teardown(void)
{
	unlink(path);
	unlink(key_file);
	ck_assert_int_eq(rmdir(directory), 0);
	ck_assert_uint_eq(secret_count(), 0);
}

static void copy_fixture(int schema, const char *suffix, const char *to)
{
	static uint8_t data[1000000];
	const char *source = getenv("PNGW_SRCDIR");
	char from[512];
	size_t size;
	FILE *f;

	snprintf(from, sizeof(from), "%s/tests/data/vault-schema-%d.%s", source ? source : ".",
		 schema, suffix);
	f = fopen(from, "rb");
	ck_assert_msg(f, "%s", from);
	size = fread(data, 1, sizeof(data), f);
	ck_assert(size > 0 && size < sizeof(data));
	fclose(f);
	f = fopen(to, "wb");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, size, f), size);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(to, 0600), 0);
}

static struct vault *open_fixture(void)
{
	const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_file};
	struct vault_options options = {.path = path, .openers = &opener, .opener_count = 1};
	struct vault *v = NULL;
	int r = vault_open(&options, &v, why, sizeof(why));

	ck_assert_msg(r == 0, "vault_open: %d %s", r, why);
	return v;
}

struct walk {
	enum vault_kind kind;
	size_t at;
};

static int compare_next(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct walk *w = arg;

	while (w->at < RECORD_COUNT && records[w->at].kind != w->kind)
		w->at++;
	ck_assert_uint_lt(w->at, RECORD_COUNT);
	ck_assert(bytes_equal(owner, bytes_text(records[w->at].owner)));
	ck_assert(bytes_equal(item, bytes_text(records[w->at].item)));
	ck_assert(bytes_equal(content, content_of(w->at)));
	w->at++;
	return 0;
}

/* Every record by its name, and by a walk over each kind, in order and no more than there are. */
static void expect_all(struct vault *v)
{
	for (size_t i = 0; i < RECORD_COUNT; i++) {
		struct vault_id id = {records[i].kind, bytes_text(records[i].owner),
				      bytes_text(records[i].item)};
		struct vault_content c = {NULL, 0};
		struct walk w = {.kind = records[i].kind};
		size_t damaged = 99;

		ck_assert_int_eq(vault_get(v, &id, &c), 0);
		ck_assert(bytes_equal(bytes_of(c.data, c.size), content_of(i)));
		vault_content_free(&c);
		ck_assert_int_eq(
			vault_each(v, records[i].kind, BYTES_NONE, compare_next, &w, &damaged), 0);
		ck_assert_uint_eq(damaged, 0);
		while (w.at < RECORD_COUNT && records[w.at].kind != w.kind)
			w.at++;
		ck_assert_uint_eq(w.at, RECORD_COUNT);
	}
}

static void expect_written(void *arg, int result)
{
	int *told = arg;

	ck_assert_int_eq(result, 0);
	++*told;
}

/* A later write counts on from the sequences that were there. */
static void write_one_more(struct vault *v)
{
	struct vault_id id = {VAULT_EUKEY, bytes_text("pne-1"), bytes_text("1")};
	struct vault_batch *b = vault_batch_new();
	int told = 0;

	vault_batch_put(b, &id, bytes_text("first key of pne-1"));
	id.item = bytes_text("2");
	vault_batch_put(b, &id, bytes_text("written by a later program"));
	ck_assert_int_eq(vault_submit(v, b, expect_written, &told), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
	ck_assert_int_eq(told, 1);
}

static int last_content(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	int *last = arg;

	(void)owner;
	(void)item;
	*last = bytes_equal(content, bytes_text("written by a later program")) ? 1 : 0;
	return 0;
}

START_TEST(test_schema)
{
	struct vault *v;
	int last = 0;

	copy_fixture(_i, "db", path);
	copy_fixture(_i, "key", key_file);
	v = open_fixture();
	expect_all(v);
	vault_close(v);
	v = open_fixture();
	expect_all(v);
	write_one_more(v);
	ck_assert_int_eq(vault_each(v, VAULT_EUKEY, BYTES_NONE, last_content, &last, NULL), 0);
	ck_assert_int_eq(last, 1);
	vault_close(v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vault-schema");
	TCase *t = tcase_create("vault-schema");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, test_schema, 1, 2);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
