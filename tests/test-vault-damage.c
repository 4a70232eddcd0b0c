/*
 * A vault whose file was altered in every place: what can be served is served, what is damaged is
 * told, and never is anything served that was not put. And what was erased is gone from the file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>
#include <sqlite3.h>

#include "storage/vault.h"
#include "vault-model.h"

#define FILE_MAX  2000000
#define PAGE_SIZE 4096
#define RECORDS   200

static char folder[64];
static char path[96];
static char key[96];
static char why[256];
static uint8_t whole[FILE_MAX];
static uint8_t altered[FILE_MAX];
static size_t file_size;

static struct {
	size_t cases;
	size_t refused;
	size_t partial;
	size_t unnoticed;
} count;

static void setup(void)
{
	strcpy(folder, access("/dev/shm", W_OK) == 0 ? "/dev/shm/test-damage-XXXXXX"
						     : "/tmp/test-damage-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/vault", folder);
	(void)snprintf(key, sizeof(key), "%s/key", folder);
	model_reset();
	memset(&count, 0, sizeof(count));
}

static void remove_file(const char *suffix)
{
	char name[128];

	(void)snprintf(name, sizeof(name), "%s%s", path, suffix);
	(void)unlink(name);
}

static void teardown(void)
{
	remove_file("");
	remove_file("-wal");
	remove_file(".ledger");
	(void)unlink(key);
	ck_assert_int_eq(rmdir(folder), 0);
	ck_assert_uint_eq(secret_count(), 0);
}

static int try_open(bool create, struct vault **out)
{
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key};
	struct vault_options options = {
		.path = path, .openers = &opener, .opener_count = 1, .create = create};

	*out = NULL;
	return vault_open(&options, out, why, sizeof(why));
}

static struct vault *must_open(bool create)
{
	struct vault *v;
	int r = try_open(create, &v);

	ck_assert_msg(r == 0, "vault_open: %d %s", r, why);
	return v;
}

static void commit(struct vault *v, struct vault_batch *b)
{
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
}

static size_t read_whole(const char *name, uint8_t *out)
{
	FILE *f = fopen(name, "rb");
	size_t n;

	if (!f)
		return 0;
	n = fread(out, 1, FILE_MAX, f);
	ck_assert_uint_lt(n, FILE_MAX);
	(void)fclose(f);
	return n;
}

static void write_whole(const uint8_t *data, size_t size)
{
	FILE *f;

	remove_file("-wal");
	f = fopen(path, "wb");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, size, f), size);
	ck_assert_int_eq(fclose(f), 0);
}

/* 40 devices with five records each, some of them long. */
static void make_vault(void)
{
	struct vault *v = must_open(true);
	struct vault_batch *b = model_batch();

	for (int i = 0; i < RECORDS; i++) {
		char owner[24], item[24];

		(void)snprintf(owner, sizeof(owner), "device-%d", i / 5);
		(void)snprintf(item, sizeof(item), "%d", i % 5);
		model_put(b, i % 5 < 4 ? VAULT_EUKEY : VAULT_ANSWER, owner, item,
			  i % 50 == 49 ? 6000 : 70);
	}
	commit(v, b);
	vault_close(v);
	file_size = read_whole(path, whole);
	ck_assert_uint_gt(file_size, 10 * PAGE_SIZE);
	memcpy(altered, whole, file_size);
}

static void check_altered(size_t at)
{
	struct vault_scan scan = {0};
	size_t served = 0, damaged = 0;
	struct vault *v;
	int r;

	write_whole(altered, file_size);
	count.cases++;
	r = try_open(false, &v);
	if (r != 0) {
		ck_assert_msg(r == VAULT_DAMAGED || r == VAULT_NEWER, "at %zu: %d %s", at, r, why);
		ck_assert_uint_gt(strlen(why), 10);
		count.refused++;
		return;
	}
	ck_assert_msg(model_serves_truth(v, &served, &damaged), "at %zu: a lie is served", at);
	r = vault_scan(v, NULL, NULL, &scan);
	ck_assert_msg(r == 0, "at %zu: the scan ends with %d", at, r);
	if (served < RECORDS) {
		count.partial++;
		ck_assert_msg(scan.damaged + scan.gaps > 0 || !scan.sound,
			      "at %zu: %zu served, the scan found nothing", at, served);
	} else if (scan.damaged + scan.gaps == 0 && scan.sound) {
		count.unnoticed++;
	}
	vault_close(v);
}

static size_t stride(size_t usual)
{
	return getenv("PNGW_VALGRIND") ? 60 * usual : usual;
}

START_TEST(test_every_page)
{
	make_vault();
	for (size_t page = 0; page < file_size; page += stride(PAGE_SIZE)) {
		memset(altered + page, 0, PAGE_SIZE);
		check_altered(page);
		memset(altered + page, 0xff, PAGE_SIZE);
		check_altered(page);
		memcpy(altered + page, whole + (page ? 0 : PAGE_SIZE), PAGE_SIZE);
		check_altered(page);
		memcpy(altered + page, whole + page, PAGE_SIZE);
	}
	printf("pages: %zu alterations, %zu refused at open, %zu served in part\n", count.cases,
	       count.refused, count.partial);
	(void)fflush(stdout);
	if (!getenv("PNGW_VALGRIND")) {
		ck_assert_uint_gt(count.refused, 3);
		ck_assert_uint_gt(count.partial, 10);
	}
}
END_TEST

/* One byte in 64, each with another of its bits, and each turned into zero. */
START_TEST(test_every_64th_byte)
{
	make_vault();
	for (size_t block = 0; block + 64 <= file_size; block += stride(64)) {
		size_t at = block + block / 64 * 13 % 64;

		altered[at] ^= (uint8_t)(1u << (block / 64 % 8));
		check_altered(at);
		altered[at] = 0;
		check_altered(at);
		altered[at] = whole[at];
	}
	printf("bytes: %zu alterations, %zu refused, %zu served in part, %zu of no "
	       "effect\n",
	       count.cases, count.refused, count.partial, count.unnoticed);
	(void)fflush(stdout);
	if (!getenv("PNGW_VALGRIND"))
		ck_assert_uint_gt(count.partial, count.cases / 4);
}
END_TEST

/* The header of each page, where SQLite keeps its structure: every byte of it. */
START_TEST(test_every_page_header)
{
	make_vault();
	for (size_t page = 0; page < file_size; page += stride(PAGE_SIZE)) {
		for (size_t at = page; at < page + (page ? 24 : 124); at++) {
			altered[at] ^= (uint8_t)(1u << (at % 8));
			check_altered(at);
			altered[at] = (uint8_t)~whole[at];
			check_altered(at);
			altered[at] = whole[at];
		}
	}
	printf("headers: %zu alterations, %zu refused, %zu served in part, %zu of no effect\n",
	       count.cases, count.refused, count.partial, count.unnoticed);
	(void)fflush(stdout);
}
END_TEST

struct named {
	const struct vault *v;
	const char *owner;
	unsigned calls;
	unsigned right;
	int64_t sequence;
};

static void on_damaged(void *arg, enum vault_kind kind, int64_t sequence,
		       const uint8_t owner[VAULT_HASH_SIZE])
{
	struct named *n = arg;

	n->calls++;
	n->sequence = sequence;
	if (kind == VAULT_EUKEY && vault_owner_is(n->v, kind, bytes_text(n->owner), owner) &&
	    !vault_owner_is(n->v, kind, bytes_text("device-8"), owner) &&
	    !vault_owner_is(n->v, VAULT_ANSWER, bytes_text(n->owner), owner))
		n->right++;
}

static size_t find(const uint8_t *data, size_t size, const uint8_t *what, size_t what_size)
{
	const uint8_t *at = memmem(data, size, what, what_size);

	return at ? (size_t)(at - data) : SIZE_MAX;
}

/* What is sealed under a sequence, straight from the table. */
static size_t sealed_of(int64_t sequence, uint8_t *out)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;
	size_t size;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT sealed FROM record WHERE sequence = ?1", -1,
					    &s, NULL),
			 SQLITE_OK);
	sqlite3_bind_int64(s, 1, sequence);
	ck_assert_int_eq(sqlite3_step(s), SQLITE_ROW);
	size = (size_t)sqlite3_column_bytes(s, 0);
	memcpy(out, sqlite3_column_blob(s, 0), size);
	sqlite3_finalize(s);
	sqlite3_close(db);
	return size;
}

static int64_t number(const char *sql)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;
	int64_t n;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(s), SQLITE_ROW);
	n = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	sqlite3_close(db);
	return n;
}

/* One damaged record is named: its kind, sequence and device; all others are served. */
START_TEST(test_damaged_is_named)
{
	struct vault_id id = {VAULT_EUKEY, bytes_text("device-7"), bytes_text("2")};
	struct named named = {.owner = "device-7"};
	struct vault_content c = {NULL, 0};
	struct vault_scan scan;
	size_t served, damaged, size, at;
	static uint8_t sealed[VAULT_CONTENT_MAX];
	struct vault *v;
	struct vault_batch *b;
	int64_t sequence;

	make_vault();
	v = must_open(false);
	ck_assert_int_eq(vault_scan(v, on_damaged, &named, &scan), 0);
	ck_assert_uint_eq(named.calls, 0);
	ck_assert_uint_ge(scan.records, RECORDS);
	ck_assert_uint_eq(scan.damaged + scan.gaps, 0);
	ck_assert(scan.sound);
	/* Written again, it has the highest sequence. */
	b = model_batch();
	model_put(b, VAULT_EUKEY, "device-7", "2", 71);
	commit(v, b);
	vault_close(v);
	sequence = number("SELECT max(sequence) FROM record");
	size = sealed_of(sequence, sealed);
	file_size = read_whole(path, altered);
	at = find(altered, file_size, sealed, size);
	ck_assert_uint_lt(at, file_size);
	altered[at + size / 2] ^= 1;
	write_whole(altered, file_size);

	v = must_open(false);
	named.v = v;
	ck_assert_int_eq(vault_scan(v, on_damaged, &named, &scan), 0);
	ck_assert_uint_eq(scan.damaged, 1);
	ck_assert_uint_eq(scan.gaps, 0);
	ck_assert_uint_eq(named.calls, 1);
	ck_assert_uint_eq(named.right, 1);
	ck_assert_int_eq(named.sequence, sequence);
	ck_assert_int_eq(vault_get(v, &id, &c), VAULT_DAMAGED);
	ck_assert(model_serves_truth(v, &served, &damaged));
	ck_assert_uint_eq(served, RECORDS - 1);
	ck_assert_uint_eq(damaged, 1);
	/* It is erased with what else of the device is damaged, and can be written again. */
	b = vault_batch_new();
	vault_batch_erase_damaged(b, VAULT_EUKEY, bytes_text("device-6"));
	commit(v, b);
	ck_assert_int_eq(vault_get(v, &id, &c), VAULT_DAMAGED);
	b = vault_batch_new();
	vault_batch_erase_damaged(b, VAULT_EUKEY, id.owner);
	commit(v, b);
	ck_assert_int_eq(vault_get(v, &id, &c), VAULT_ABSENT);
	ck_assert(model_serves_truth(v, &served, &damaged));
	ck_assert_uint_eq(served, RECORDS - 1);
	b = model_batch();
	model_put(b, VAULT_EUKEY, "device-7", "2", 72);
	commit(v, b);
	ck_assert_int_eq(vault_get(v, &id, &c), 0);
	vault_content_free(&c);
	ck_assert_int_eq(vault_scan(v, NULL, NULL, &scan), 0);
	ck_assert_uint_eq(scan.damaged, 0);
	vault_close(v);
}
END_TEST

/* Any 24 bytes of it: long contents lie on several pages. */
static bool lies_in(const char *suffix, const uint8_t *sealed, size_t size)
{
	char name[128];
	size_t n;

	(void)snprintf(name, sizeof(name), "%s%s", path, suffix);
	n = read_whole(name, altered);
	for (size_t at = 0; at + 24 <= size; at += 24) {
		if (find(altered, n, sealed + at, 24) != SIZE_MAX)
			return true;
	}
	return false;
}

static const struct {
	const char *name;
	size_t size;
} erasures[] = {{"erased", 70},
		{"erased, long", 9000},
		{"replaced", 70},
		{"of an owner", 70},
		{"trimmed", 70}};

/* The sealed bytes of what was erased or replaced are in no page, free ones included. */
START_TEST(test_erased_is_gone)
{
	static uint8_t sealed[VAULT_CONTENT_MAX];
	struct vault_id id = {VAULT_EUKEY, bytes_text("erased"), bytes_text("1")};
	struct vault *v;
	struct vault_batch *b;
	size_t size;

	make_vault();
	v = must_open(false);
	b = model_batch();
	model_put(b, VAULT_EUKEY, "erased", "1", erasures[_i].size);
	commit(v, b);
	vault_close(v);
	size = sealed_of(number("SELECT max(sequence) FROM record"), sealed);
	ck_assert(lies_in("", sealed, size));
	v = must_open(false);
	b = model_batch();
	switch (_i) {
	case 0:
	case 1:
		vault_batch_erase(b, &id);
		break;
	case 2:
		vault_batch_put(b, &id, bytes_text("something else"));
		break;
	case 3:
		vault_batch_erase_owner(b, VAULT_EUKEY, id.owner);
		break;
	case 4:
		vault_batch_trim(b, VAULT_EUKEY, id.owner, 0);
		break;
	}
	commit(v, b);
	ck_assert(lies_in("-wal", sealed, size) || lies_in("", sealed, size));
	ck_assert_int_eq(vault_scrub(v), 0);
	ck_assert_msg(!lies_in("", sealed, size), "%s, and in the file", erasures[_i].name);
	ck_assert_msg(!lies_in("-wal", sealed, size), "%s, and in the log", erasures[_i].name);
	vault_close(v);
	ck_assert_msg(!lies_in("", sealed, size), "%s, and still in the file", erasures[_i].name);
	ck_assert_msg(!lies_in("-wal", sealed, size), "%s, and still in the log",
		      erasures[_i].name);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vault damage");
	TCase *t = tcase_create("damage");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 400);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_every_page);
	tcase_add_test(t, test_every_64th_byte);
	tcase_add_test(t, test_every_page_header);
	tcase_add_test(t, test_damaged_is_named);
	tcase_add_loop_test(t, test_erased_is_gone, 0, sizeof(erasures) / sizeof(erasures[0]));
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
