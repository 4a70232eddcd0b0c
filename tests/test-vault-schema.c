/* Every older schema is kept as a vault that an older program made, and must open for ever. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>
#include <sqlite3.h>

#include "storage/ledger.h"
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

/* What the fixtures from schema 2 on are opened with besides their key file. */
#define PASSPHRASE "the fixture's passphrase"

#define NEWEST 2

/* Of a fixture: how many entries its ledger has once it is opened, and whether PASSPHRASE opens it.
 */
static const struct {
	uint32_t entries;
	bool passphrase;
} fixtures[NEWEST + 1] = {
	[1] = {0, false},
	[2] = {3, true},
};

static uint8_t long_content[LONG_SIZE];
static char directory[64];
static char path[128];
static char key_file[128];
static char ledger[160];
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
	snprintf(ledger, sizeof(ledger), "%s.ledger", path);
}

static void teardown(void)
{
	unlink(path);
	unlink(key_file);
	unlink(ledger);
	ck_assert_int_eq(rmdir(directory), 0);
	ck_assert_uint_eq(secret_count(), 0);
}

static size_t read_file(const char *name, uint8_t *out, size_t size)
{
	FILE *f = fopen(name, "rb");
	size_t have;

	if (!f)
		return 0;
	have = fread(out, 1, size, f);
	ck_assert(have < size);
	fclose(f);
	return have;
}

static void write_file(const char *name, const void *data, size_t size)
{
	FILE *f = fopen(name, "wb");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, size, f), size);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(name, 0600), 0);
}

static void copy_fixture_file(int schema, const char *suffix, const char *to)
{
	static uint8_t data[1000000];
	const char *source = getenv("PNGW_SRCDIR");
	char from[512];
	size_t size;

	snprintf(from, sizeof(from), "%s/tests/data/vault-schema-%d.%s", source ? source : ".",
		 schema, suffix);
	size = read_file(from, data, sizeof(data));
	ck_assert_msg(size > 0, "%s", from);
	write_file(to, data, size);
}

static void copy_fixture(int schema)
{
	copy_fixture_file(schema, "db", path);
	copy_fixture_file(schema, "key", key_file);
	if (schema > 1)
		copy_fixture_file(schema, "ledger", ledger);
}

static int try_open(const struct vault_opener *opener, struct vault **v)
{
	const struct vault_options options = {.path = path, .openers = opener, .opener_count = 1};

	strcpy(why, "-");
	return vault_open(&options, v, why, sizeof(why));
}

static struct vault *open_fixture(void)
{
	const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_file};
	struct vault *v = NULL;
	int r = try_open(&opener, &v);

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

static void expect_ledger(struct vault *v, int schema)
{
	struct ledger_state state;
	const char *with = NULL;

	vault_ledger_state(v, &state);
	ck_assert_uint_eq(state.sequence, fixtures[schema].entries);
	ck_assert_ptr_null(vault_rollback(v));
	ck_assert_int_eq(vault_ledger_trouble(v, &with), 0);
}

START_TEST(test_schema)
{
	struct vault *v;
	int last = 0;

	copy_fixture(_i);
	v = open_fixture();
	expect_all(v);
	expect_ledger(v, _i);
	vault_close(v);
	v = open_fixture();
	expect_all(v);
	expect_ledger(v, _i);
	write_one_more(v);
	ck_assert_int_eq(vault_each(v, VAULT_EUKEY, BYTES_NONE, last_content, &last, NULL), 0);
	ck_assert_int_eq(last, 1);
	vault_close(v);
}
END_TEST

START_TEST(test_passphrase)
{
	SCOPED_SECRET *passphrase = secret_copy(bytes_text(PASSPHRASE));
	SCOPED_SECRET *wrong = secret_copy(bytes_text("another passphrase"));
	struct vault_opener opener = {.source = VAULT_SOURCE_PASSPHRASE, .passphrase = wrong};
	struct vault *v = NULL;

	copy_fixture(_i);
	ck_assert_int_eq(try_open(&opener, &v),
			 fixtures[_i].passphrase ? VAULT_DAMAGED : VAULT_KEY_FILE);
	ck_assert_ptr_null(v);
	if (!fixtures[_i].passphrase)
		return;
	opener.passphrase = passphrase;
	ck_assert_msg(try_open(&opener, &v) == 0, "%s", why);
	expect_all(v);
	vault_close(v);
}
END_TEST

/* What cannot open an older vault does not change it either. */
START_TEST(test_wrong_key_changes_nothing)
{
	static const char other[] =
		"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
	static uint8_t before[1000000], after[1000000];
	const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_file};
	struct vault *v = NULL;
	size_t size;

	copy_fixture(_i);
	write_file(key_file, other, strlen(other));
	size = read_file(path, before, sizeof(before));
	ck_assert_int_eq(try_open(&opener, &v), VAULT_DAMAGED);
	ck_assert_ptr_null(v);
	ck_assert_uint_gt(strlen(why), 10);
	ck_assert_uint_eq(read_file(path, after, sizeof(after)), size);
	ck_assert_mem_eq(before, after, size);
	copy_fixture_file(_i, "key", key_file);
	v = open_fixture();
	expect_all(v);
	vault_close(v);
}
END_TEST

static void sql(const char *text, sqlite3_callback callback, void *arg)
{
	char *message = NULL;
	sqlite3 *db = NULL;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_exec(db, text, callback, arg, &message);
	ck_assert_msg(!message, "%s", message);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

struct count {
	const char *owner;
	size_t seen;
};

static int count_record(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct count *c = arg;

	(void)item;
	(void)content;
	ck_assert(bytes_equal(owner, bytes_text(c->owner)));
	c->seen++;
	return 0;
}

/* A record that was damaged stays so, and is still counted, while the others are brought over. */
START_TEST(test_damaged_record)
{
	struct count c = {"pne-1", 0};
	struct vault *v;
	size_t damaged = 0;

	copy_fixture(1);
	sql("UPDATE record SET sealed = zeroblob(50) WHERE kind = 2 AND sequence ="
	    " (SELECT max(sequence) FROM record WHERE kind = 2)",
	    NULL, NULL);
	for (int i = 0; i < 2; i++) {
		c.seen = 0;
		v = open_fixture();
		ck_assert_int_eq(
			vault_each(v, VAULT_TEMPORARY_KEY, BYTES_NONE, count_record, &c, &damaged),
			0);
		ck_assert_uint_eq(c.seen, 1);
		ck_assert_uint_eq(damaged, 1);
		vault_close(v);
	}
}
END_TEST

static int add_text(void *arg, int count, char **values, char **names)
{
	char *text = arg;
	size_t used = strlen(text);

	(void)names;
	for (int i = 0; i < count; i++)
		used += (size_t)snprintf(text + used, 4000 - used, "%s\n",
					 values[i] ? values[i] : "");
	return 0;
}

static const char tables[] = "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'"
			     " ORDER BY name; PRAGMA user_version; PRAGMA application_id";

/* A vault that was brought over has the same tables as one that is new. */
START_TEST(test_same_tables)
{
	const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_file};
	const struct vault_options options = {
		.path = path, .openers = &opener, .opener_count = 1, .create = true};
	static char expected[4000], found[4000];
	struct vault *v = NULL;

	ck_assert_int_eq(vault_open(&options, &v, why, sizeof(why)), 0);
	vault_close(v);
	sql(tables, add_text, expected);
	ck_assert_ptr_nonnull(strstr(expected, "CREATE TABLE record"));
	teardown();
	setup();
	copy_fixture(_i);
	vault_close(open_fixture());
	sql(tables, add_text, found);
	ck_assert_str_eq(found, expected);
}
END_TEST

/* Of what the old records were sealed to, nothing is left in the file. */
START_TEST(test_old_records_are_gone)
{
	static uint8_t before[1000000], after[1000000];
	static char rows[4000];
	char *row = rows;
	size_t size, checked = 0;

	copy_fixture(1);
	size = read_file(path, before, sizeof(before));
	sql("SELECT hex(substr(sealed, 1, 16)) FROM record", add_text, rows);
	vault_close(open_fixture());
	for (char *end; (end = strchr(row, '\n')); row = end + 1) {
		uint8_t bytes[16];
		size_t written = 0;

		ck_assert_int_eq(
			hex_decode(bytes_of(row, (size_t)(end - row)), bytes, 16, &written), 0);
		ck_assert_ptr_nonnull(memmem(before, size, bytes, written));
		ck_assert_ptr_null(
			memmem(after, read_file(path, after, sizeof(after)), bytes, written));
		checked++;
	}
	ck_assert_uint_eq(checked, RECORD_COUNT + 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vault-schema");
	TCase *t = tcase_create("vault-schema");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, test_schema, 1, NEWEST + 1);
	tcase_add_loop_test(t, test_passphrase, 1, NEWEST + 1);
	tcase_add_loop_test(t, test_wrong_key_changes_nothing, 1, NEWEST + 1);
	tcase_add_test(t, test_damaged_record);
	tcase_add_loop_test(t, test_same_tables, 1, NEWEST + 1);
	tcase_add_test(t, test_old_records_are_gone);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
