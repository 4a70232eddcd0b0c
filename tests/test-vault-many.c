/* Many records, many batches in one commit, several things that open one vault. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>
#include <sqlite3.h>

#include "storage/vault.h"

/* Primes: more than a walk sorts at a time, and not a multiple of it. */
#define MANY          10007
#define MANY_VALGRIND 4507

static char directory[64];
static char path[128];
static char keys[2][128];
static char why[256];

static void setup(void)
{
	strcpy(directory, "/tmp/test-vault-many-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/vault", directory);
	snprintf(keys[0], sizeof(keys[0]), "%s/key-1", directory);
	snprintf(keys[1], sizeof(keys[1]), "%s/key-2", directory);
}

static void teardown(void)
{
	static const char *const names[] = {"vault", "vault-wal", "vault.new", "key-1",
					    "key-2", "copy",      "copy-wal"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char name[160];

		snprintf(name, sizeof(name), "%s/%s", directory, names[i]);
		unlink(name);
	}
	ck_assert_int_eq(rmdir(directory), 0);
	ck_assert_uint_eq(secret_count(), 0);
}

static int try_open(const struct vault_opener *openers, size_t count, bool create, struct vault **v)
{
	const struct vault_options options = {
		.path = path, .openers = openers, .opener_count = count, .create = create};

	strcpy(why, "-");
	return vault_open(&options, v, why, sizeof(why));
}

static struct vault *open_vault(void)
{
	const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = keys[0]};
	struct vault *v = NULL;

	ck_assert_msg(try_open(&opener, 1, true, &v) == 0, "%s", why);
	return v;
}

static void must_succeed(void *arg, int result)
{
	unsigned *told = arg;

	ck_assert_int_eq(result, 0);
	if (told)
		++*told;
}

static void put(struct vault_batch *b, const char *owner, const char *item, const char *content)
{
	const struct vault_id id = {VAULT_EUKEY, bytes_text(owner), bytes_text(item)};

	vault_batch_put(b, &id, bytes_text(content));
}

static void erase(struct vault_batch *b, const char *owner, const char *item)
{
	const struct vault_id id = {VAULT_EUKEY, bytes_text(owner), bytes_text(item)};

	vault_batch_erase(b, &id);
}

struct listing {
	char text[1024];
};

static int list_one(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct listing *l = arg;
	size_t used = strlen(l->text);

	snprintf(l->text + used, sizeof(l->text) - used, "%.*s/%.*s=%.*s;", (int)owner.size,
		 (const char *)owner.data, (int)item.size, (const char *)item.data,
		 (int)content.size, (const char *)content.data);
	return 0;
}

static void expect_list(struct vault *v, const char *expected)
{
	struct listing l = {""};
	size_t damaged = 99;

	ck_assert_int_eq(vault_each(v, VAULT_EUKEY, BYTES_NONE, list_one, &l, &damaged), 0);
	ck_assert_str_eq(l.text, expected);
	ck_assert_uint_eq(damaged, 0);
}

/* Under valgrind less has to do; a passphrase takes seconds there. */
static bool sampling(void)
{
	return getenv("PNGW_VALGRIND") != NULL;
}

/* In an order that is neither that of the numbers nor that of the names' hashes. */
static uint32_t nth(uint32_t i, uint32_t many)
{
	return i * 4999U % many;
}

static void put_number(struct vault_batch *b, uint32_t number, uint32_t content)
{
	char owner[16];
	char item[16];
	const struct vault_id id = {VAULT_DELIVERY, bytes_of(owner, 5), bytes_of(item, 5)};

	snprintf(owner, sizeof(owner), "%05u", number % 10);
	snprintf(item, sizeof(item), "%05u", number);
	vault_batch_put(b, &id, bytes_of(&content, sizeof(content)));
}

struct order {
	struct vault *v;
	uint32_t next;
	uint32_t count;
	uint32_t step;
};

static int expect_next(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct order *o = arg;
	const struct vault_id id = {VAULT_DELIVERY, owner, item};
	struct vault_content c = {NULL, 0};

	ck_assert_uint_eq(content.size, sizeof(o->next));
	ck_assert_mem_eq(content.data, &o->next, sizeof(o->next));
	if (o->count % 1000 == 0) {
		ck_assert_int_eq(vault_get(o->v, &id, &c), 0);
		ck_assert_mem_eq(c.data, content.data, sizeof(o->next));
		vault_content_free(&c);
	}
	o->next += o->step;
	o->count++;
	return 0;
}

struct seen {
	uint8_t *times;
	uint32_t count, stop_at;
};

static int see(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct seen *s = arg;
	uint32_t number;

	(void)owner;
	(void)item;
	memcpy(&number, content.data, sizeof(number));
	s->times[number]++;
	return ++s->count == s->stop_at ? 7 : 0;
}

/* In pieces each record is shown once, and no piece shows more than it may. */
static void expect_pieces(struct vault *v, uint32_t many)
{
	struct seen s = {.times = calloc(many, 1), .stop_at = 150};
	struct vault_cursor at = {.begun = false};
	uint32_t pieces = 0;

	ck_assert_ptr_nonnull(s.times);
	ck_assert_int_eq(vault_each_some(v, VAULT_DELIVERY, &at, 100, see, &s), 0);
	ck_assert_int_eq(vault_each_some(v, VAULT_DELIVERY, &at, 100, see, &s), 7);
	while (!at.ended) {
		uint32_t before = s.count;

		ck_assert_int_eq(vault_each_some(v, VAULT_DELIVERY, &at, 100, see, &s), 0);
		ck_assert_uint_le(s.count - before, 100);
		ck_assert_uint_lt(++pieces, many);
	}
	ck_assert_uint_eq(s.count, many);
	for (uint32_t i = 0; i < many; i++)
		ck_assert_uint_eq(s.times[i], 1);
	at = (struct vault_cursor){.begun = false};
	ck_assert_int_eq(vault_each_some(v, VAULT_ANSWER, &at, 100, see, &s), 0);
	ck_assert(at.ended);
	ck_assert_uint_eq(s.count, many);
	free(s.times);
}

START_TEST(test_walk_of_many)
{
	const uint32_t many = sampling() ? MANY_VALGRIND : MANY;
	struct vault *v = open_vault();
	struct order o = {.v = v, .step = 1};
	size_t damaged = 0;

	for (uint32_t i = 0; i < many;) {
		struct vault_batch *b = vault_batch_new();

		for (uint32_t end = i + 500; i < many && i < end; i++)
			put_number(b, nth(i, many), i);
		ck_assert_int_eq(vault_submit(v, b, must_succeed, NULL), 0);
		ck_assert_uint_eq(vault_flush(v), 1);
	}
	ck_assert_int_eq(vault_each(v, VAULT_DELIVERY, BYTES_NONE, expect_next, &o, &damaged), 0);
	ck_assert_uint_eq(o.count, many);
	ck_assert_uint_eq(damaged, 0);

	vault_close(v);
	v = open_vault();
	o = (struct order){.v = v, .step = 1};
	ck_assert_int_eq(vault_each(v, VAULT_DELIVERY, BYTES_NONE, expect_next, &o, NULL), 0);
	ck_assert_uint_eq(o.count, many);
	expect_pieces(v, many);
	vault_close(v);
}
END_TEST

/* What several batches of one flush do to the same records is what they would do one by one. */
START_TEST(test_group)
{
	struct vault *v = open_vault();
	unsigned told = 0;
	struct vault_batch *b = vault_batch_new();

	put(b, "a", "1", "old");
	put(b, "b", "1", "old");
	put(b, "b", "2", "old");
	put(b, "c", "1", "old");
	ck_assert_int_eq(vault_submit(v, b, must_succeed, &told), 0);
	b = vault_batch_new();
	put(b, "a", "1", "first");
	erase(b, "c", "1");
	ck_assert_int_eq(vault_submit(v, b, must_succeed, &told), 0);
	b = vault_batch_new();
	erase(b, "a", "1");
	put(b, "c", "1", "back");
	ck_assert_int_eq(vault_submit(v, b, must_succeed, &told), 0);
	b = vault_batch_new();
	put(b, "b", "3", "goes again");
	vault_batch_erase_owner(b, VAULT_EUKEY, bytes_text("b"));
	put(b, "b", "4", "stays");
	put(b, "a", "1", "third");
	put(b, "a", "1", "fourth");
	ck_assert_int_eq(vault_submit(v, b, must_succeed, &told), 0);
	b = vault_batch_new();
	put(b, "d", "1", "x");
	put(b, "d", "2", "y");
	put(b, "d", "1", "z");
	vault_batch_trim(b, VAULT_EUKEY, bytes_text("d"), 1);
	ck_assert_int_eq(vault_submit(v, b, must_succeed, &told), 0);
	b = vault_batch_new();
	put(b, "d", "2", "w");
	ck_assert_int_eq(vault_submit(v, b, must_succeed, &told), 0);
	ck_assert_uint_eq(vault_flush(v), 6);
	ck_assert_uint_eq(told, 6);
	expect_list(v, "c/1=back;b/4=stays;a/1=fourth;d/1=z;d/2=w;");
	vault_close(v);
	v = open_vault();
	expect_list(v, "c/1=back;b/4=stays;a/1=fourth;d/1=z;d/2=w;");
	vault_close(v);
}
END_TEST

static int64_t number(const char *text)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;
	int64_t result;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, text, -1, &s, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(s), SQLITE_ROW);
	result = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	return result;
}

#define NONCE 12

/* One more state of one record, and the nonce that it was sealed with. */
static void put_and_take_nonce(uint8_t nonce[NONCE])
{
	struct vault *v = open_vault();
	struct vault_batch *b = vault_batch_new();
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;

	put(b, "a", "1", "always the same");
	ck_assert_int_eq(vault_submit(v, b, must_succeed, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
	vault_close(v);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT sealed FROM record ORDER BY sequence DESC",
					    -1, &s, NULL),
			 SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(s), SQLITE_ROW);
	ck_assert_int_gt(sqlite3_column_bytes(s, 0), NONCE);
	memcpy(nonce, sqlite3_column_blob(s, 0), NONCE);
	sqlite3_finalize(s);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

/* No nonce comes twice, also where an older copy goes on from the sequence it had. */
START_TEST(test_nonces)
{
	enum { STATES = 16 };
	uint8_t nonces[STATES][NONCE];
	char copy[300];

	(void)snprintf(copy, sizeof(copy), "cp %s %s/copy", path, directory);
	put_and_take_nonce(nonces[0]);
	ck_assert_int_eq(system(copy), 0);
	(void)snprintf(copy, sizeof(copy), "cp %s/copy %s", directory, path);
	for (unsigned i = 1; i < STATES; i++) {
		if (i % 4 == 0)
			ck_assert_int_eq(system(copy), 0);
		put_and_take_nonce(nonces[i]);
		for (unsigned j = 0; j < i; j++)
			ck_assert_mem_ne(nonces[i], nonces[j], NONCE);
	}
}
END_TEST

/* No sequence comes twice: not when the newest records are erased, not when the vault is reopened.
 */
START_TEST(test_sequences)
{
	int64_t highest = 0;

	for (unsigned round = 0; round < (sampling() ? 3 : 4); round++) {
		struct vault *v = open_vault();
		/* More than a block is reserved for, every other time. */
		const uint32_t count = round % 2 == 0 ? 3 : 5000;
		int64_t lowest;
		struct vault_batch *b;

		b = vault_batch_new();
		for (uint32_t i = 0; i < count; i++)
			put_number(b, i, i);
		ck_assert_int_eq(vault_submit(v, b, must_succeed, NULL), 0);
		ck_assert_uint_eq(vault_flush(v), 1);
		vault_close(v);
		lowest =
			number("SELECT min(sequence) FROM record WHERE substr(name, 1, 1) = x'07'");
		ck_assert_int_gt(lowest, highest);
		highest = number("SELECT max(sequence) FROM record");
		ck_assert_int_eq(number("SELECT count(DISTINCT sequence) = count(*) FROM record"),
				 1);
		ck_assert_int_ge(number("SELECT reserved FROM meta"), highest);

		v = open_vault();
		b = vault_batch_new();
		for (unsigned i = 0; i < 10; i++) {
			char owner[8];

			snprintf(owner, sizeof(owner), "%05u", i);
			vault_batch_erase_owner(b, VAULT_DELIVERY, bytes_text(owner));
		}
		ck_assert_int_eq(vault_submit(v, b, must_succeed, NULL), 0);
		ck_assert_uint_eq(vault_flush(v), 1);
		vault_close(v);
		ck_assert_int_eq(
			number("SELECT count(*) FROM record WHERE substr(name, 1, 1) = x'07'"), 0);
	}
}
END_TEST

static void put_one(struct vault *v)
{
	struct vault_batch *b = vault_batch_new();

	put(b, "a", "1", "x");
	ck_assert_int_eq(vault_submit(v, b, must_succeed, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
	vault_close(v);
}

static void expect_opens(const struct vault_opener *openers, size_t count)
{
	struct vault *v = NULL;

	ck_assert_msg(try_open(openers, count, false, &v) == 0, "%s", why);
	expect_list(v, "a/1=x;");
	vault_close(v);
}

START_TEST(test_several_openers)
{
	SCOPED_SECRET *passphrase = secret_copy(bytes_text("correct horse battery staple"));
	SCOPED_SECRET *wrong = secret_copy(bytes_text("incorrect horse"));
	const struct vault_opener openers[] = {
		{.source = VAULT_SOURCE_KEY_FILE, .path = keys[0]},
		{.source = VAULT_SOURCE_PASSPHRASE, .passphrase = passphrase},
		{.source = VAULT_SOURCE_KEY_FILE, .path = keys[1]},
	};
	const struct vault_opener wrong_passphrase = {.source = VAULT_SOURCE_PASSPHRASE,
						      .passphrase = wrong};
	struct vault_opener tried[2];
	struct vault *v = NULL;

	ck_assert_msg(try_open(openers, 3, true, &v) == 0, "%s", why);
	put_one(v);
	v = NULL;
	for (size_t i = 0; i < 3; i++)
		expect_opens(&openers[i], 1);
	ck_assert_int_eq(try_open(&wrong_passphrase, 1, false, &v), VAULT_DAMAGED);
	ck_assert_ptr_null(v);
	/* The first does not, the second does; what is lost is not missed. */
	tried[0] = wrong_passphrase;
	tried[1] = openers[2];
	if (!sampling())
		expect_opens(tried, 2);
	ck_assert_int_eq(unlink(keys[0]), 0);
	if (!sampling())
		expect_opens(openers, 3);
	ck_assert_int_eq(unlink(keys[1]), 0);
	expect_opens(openers, 3);
	ck_assert_int_eq(try_open(&openers[0], 1, true, &v), VAULT_KEY_FILE);
	ck_assert_ptr_nonnull(strstr(why, keys[0]));
	/* A key that is missing outweighs nothing: the wrong one is what is told. */
	tried[0] = openers[0];
	tried[1] = wrong_passphrase;
	ck_assert_int_eq(try_open(tried, 2, false, &v), VAULT_DAMAGED);
	ck_assert_int_eq(try_open(NULL, 0, false, &v), -EINVAL);
	ck_assert_int_eq(access(keys[0], F_OK), -1);
}
END_TEST

/* The power went after the first of two key files. */
START_TEST(test_second_key_file_missing)
{
	const struct vault_opener openers[] = {
		{.source = VAULT_SOURCE_KEY_FILE, .path = keys[0]},
		{.source = VAULT_SOURCE_KEY_FILE, .path = keys[1]},
	};
	char new_path[160];
	struct vault *v = NULL;

	ck_assert_msg(try_open(openers, 2, true, &v) == 0, "%s", why);
	put_one(v);
	v = NULL;
	snprintf(new_path, sizeof(new_path), "%s.new", path);
	ck_assert_int_eq(rename(path, new_path), 0);
	ck_assert_int_eq(unlink(keys[_i]), 0);
	ck_assert_msg(try_open(openers, 2, true, &v) == 0, "%s", why);
	vault_close(v);
	expect_opens(&openers[0], 1);
	expect_opens(&openers[1], 1);
	ck_assert_int_eq(access(new_path, F_OK), -1);
}
END_TEST

/* What systemd gives is there before the vault is: that is no sign of a lost one. */
START_TEST(test_credential)
{
	static const char key[] =
		"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
	const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE,
					    .path = "credential:key-1"};
	struct vault *v = NULL;
	FILE *f;

	ck_assert_int_eq(setenv("CREDENTIALS_DIRECTORY", directory, 1), 0);
	ck_assert_int_eq(try_open(&opener, 1, true, &v), VAULT_KEY_FILE);
	ck_assert_int_eq(access(path, F_OK), -1);
	f = fopen(keys[0], "wb");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(key, 1, strlen(key), f), strlen(key));
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(keys[0], 0440), 0);
	ck_assert_msg(try_open(&opener, 1, true, &v) == 0, "%s", why);
	put_one(v);
	expect_opens(&opener, 1);
	ck_assert_int_eq(unsetenv("CREDENTIALS_DIRECTORY"), 0);
	ck_assert_int_eq(try_open(&opener, 1, false, &v), VAULT_KEY_FILE);
}
END_TEST

static size_t read_file(const char *name, uint8_t *out, size_t size)
{
	char from[160];
	size_t have;
	FILE *f;

	snprintf(from, sizeof(from), "%s/%s", directory, name);
	f = fopen(from, "rb");
	if (!f)
		return 0;
	have = fread(out, 1, size, f);
	fclose(f);
	return have;
}

static uint8_t file[2000000];

static bool holds(const char *name, const uint8_t bytes[16])
{
	return memmem(file, read_file(name, file, sizeof(file)), bytes, 16) != NULL;
}

static void copy_file(const char *name, const char *copy)
{
	const size_t size = read_file(name, file, sizeof(file));
	char to[160];
	FILE *f;

	snprintf(to, sizeof(to), "%s/%s", directory, copy);
	f = fopen(to, "wb");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(file, 1, size, f), size);
	ck_assert_int_eq(fclose(f), 0);
}

/* What the first key is sealed to, out of a copy of the vault that is open, and of its log. */
static void sealed_bytes(uint8_t out[16])
{
	static const char query[] = "SELECT sealed FROM record WHERE substr(name, 1, 1) = x'03'";
	char copy[300];
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;

	copy_file("vault", "copy");
	copy_file("vault-wal", "copy-wal");
	snprintf(copy, sizeof(copy), "%s/copy", directory);
	ck_assert_int_eq(sqlite3_open(copy, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, query, -1, &s, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(s), SQLITE_ROW);
	memcpy(out, sqlite3_column_blob(s, 0), 16);
	sqlite3_finalize(s);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

/* A key that was erased is in no file once the log is scrubbed, while the vault stays open. */
START_TEST(test_erased_is_gone)
{
	struct vault *v = open_vault();
	struct vault_batch *b = vault_batch_new();
	uint8_t bytes[16];

	put(b, "a", "1", "a key that is to go");
	ck_assert_int_eq(vault_submit(v, b, must_succeed, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
	sealed_bytes(bytes);
	ck_assert(holds("vault-wal", bytes));

	b = vault_batch_new();
	if (_i == 0)
		erase(b, "a", "1");
	else if (_i == 1)
		vault_batch_erase_owner(b, VAULT_EUKEY, bytes_text("a"));
	else
		vault_batch_trim(b, VAULT_EUKEY, bytes_text("a"), 0);
	put(b, "b", "1", "stays");
	ck_assert_int_eq(vault_submit(v, b, must_succeed, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
	ck_assert_int_eq(vault_scrub(v), 0);
	ck_assert(!holds("vault-wal", bytes));
	ck_assert(!holds("vault", bytes));
	expect_list(v, "b/1=stays;");
	b = vault_batch_new();
	put(b, "c", "1", "goes on");
	ck_assert_int_eq(vault_submit(v, b, must_succeed, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
	vault_close(v);
	v = open_vault();
	expect_list(v, "b/1=stays;c/1=goes on;");
	vault_close(v);
}
END_TEST

#define PAGE_SIZE  4096
#define INDEX_LEAF 0x0a

/* Makes the nth leaf of the tables that are ordered by name unreadable. */
static void spoil_leaf(size_t nth_leaf)
{
	const size_t size = read_file("vault", file, sizeof(file));
	FILE *f;

	for (size_t at = PAGE_SIZE; at < size; at += PAGE_SIZE) {
		if (file[at] != INDEX_LEAF || nth_leaf-- > 0)
			continue;
		memset(file + at, 0xee, 8);
		f = fopen(path, "r+b");
		ck_assert_ptr_nonnull(f);
		ck_assert_int_eq(fseek(f, (long)at, SEEK_SET), 0);
		ck_assert_uint_eq(fwrite(file + at, 1, 8, f), 8);
		ck_assert_int_eq(fclose(f), 0);
		return;
	}
	ck_abort_msg("the file has too few pages");
}

static void put_numbers(struct vault *v, uint32_t count)
{
	struct vault_batch *b = vault_batch_new();

	for (uint32_t i = 0; i < count; i++)
		put_number(b, i, i);
	ck_assert_int_eq(vault_submit(v, b, must_succeed, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
}

static int get_number(struct vault *v, uint32_t number_)
{
	char owner[16];
	char item[16];
	const struct vault_id id = {VAULT_DELIVERY, bytes_of(owner, 5), bytes_of(item, 5)};
	struct vault_content c = {NULL, 0};
	int r;

	snprintf(owner, sizeof(owner), "%05u", number_ % 10);
	snprintf(item, sizeof(item), "%05u", number_);
	r = vault_get(v, &id, &c);
	vault_content_free(&c);
	return r;
}

static int count_up(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	uint32_t *count = arg;

	(void)owner;
	(void)item;
	ck_assert_uint_eq(content.size, sizeof(*count));
	++*count;
	return 0;
}

static void keep_result(void *arg, int result)
{
	int *kept = arg;

	*kept = result;
}

/*
 * Pages that cannot be read, next to each other and not: what lies on others is read, walked past
 * them, and written, also by a batch that shares its commit with one that fails. Only what lies
 * between such pages, in the node above them, can be written though it cannot be read.
 */
START_TEST(test_unreadable_pages)
{
	const uint32_t count = sampling() ? 1500 : 3000;
	struct vault *v = open_vault();
	uint32_t lost = 0, refused = 0, seen = 0, good = 0, bad = 0;
	int results[2] = {1, 1};
	size_t damaged = 0;
	struct vault_batch *b;

	put_numbers(v, count);
	vault_close(v);
	for (size_t i = 0; i <= (size_t)_i; i++)
		spoil_leaf(10 + i);
	if (_i > 0)
		spoil_leaf(20);

	v = open_vault();
	for (uint32_t i = 0; i < count; i++) {
		int r = get_number(v, i);

		ck_assert(r == 0 || r == VAULT_DAMAGED);
		if (r == 0) {
			good = i;
			continue;
		}
		lost++;
		b = vault_batch_new();
		put_number(b, i, 1);
		ck_assert_int_eq(vault_submit(v, b, keep_result, &results[0]), 0);
		ck_assert_uint_eq(vault_flush(v), 1);
		ck_assert(results[0] == 0 || results[0] == -EBADMSG);
		if (results[0] != 0) {
			bad = i;
			refused++;
		}
	}
	ck_assert_uint_gt(refused, 0);
	ck_assert_uint_le(lost - refused, 4);
	ck_assert_uint_lt(lost, count / 4);
	ck_assert_int_eq(vault_each(v, VAULT_DELIVERY, BYTES_NONE, count_up, &seen, &damaged), 0);
	ck_assert_uint_eq(seen, count - lost);
	ck_assert_uint_gt(damaged, 0);
	ck_assert_uint_le(damaged, 4);

	b = vault_batch_new();
	put_number(b, bad, 1);
	put_number(b, good, 1);
	ck_assert_int_eq(vault_submit(v, b, keep_result, &results[0]), 0);
	b = vault_batch_new();
	put_number(b, good, 2);
	ck_assert_int_eq(vault_submit(v, b, keep_result, &results[1]), 0);
	ck_assert_uint_eq(vault_flush(v), 2);
	ck_assert_int_eq(results[0], -EBADMSG);
	ck_assert_int_eq(results[1], 0);
	ck_assert_int_eq(get_number(v, good), 0);
	vault_close(v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vault-many");
	TCase *t = tcase_create("vault-many");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, test_walk_of_many);
	tcase_add_test(t, test_group);
	tcase_add_test(t, test_nonces);
	tcase_add_test(t, test_sequences);
	tcase_add_loop_test(t, test_erased_is_gone, 0, 3);
	tcase_add_loop_test(t, test_unreadable_pages, 0, 3);
	tcase_add_test(t, test_several_openers);
	tcase_add_loop_test(t, test_second_key_file_missing, 0, 2);
	tcase_add_test(t, test_credential);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
