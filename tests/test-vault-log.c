/*
 * The pieces of a commit reach the log in few writes, all of them before the flush; a transaction
 * that does not fit into the cache reads back what it wrote, and may fail at each of its writes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "fault-vfs.h"
#include "storage/vault.h"

#define MANY       1400 /* more than the cache has room for */
#define LARGE_SIZE 3500
#define ITEM_SIZE  12

static char folder[64];
static char path[80];
static char key[80];

static void setup(void)
{
	strcpy(folder,
	       access("/dev/shm", W_OK) == 0 ? "/dev/shm/test-log-XXXXXX" : "/tmp/test-log-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/vault", folder);
	(void)snprintf(key, sizeof(key), "%s/key", folder);
	fault_vfs_register(false);
	fault_plan(NULL);
	fault_checkpoint_pages = 0;
}

static void teardown(void)
{
	char log[90];

	(void)snprintf(log, sizeof(log), "%s-wal", path);
	(void)unlink(log);
	(void)unlink(path);
	(void)unlink(key);
	ck_assert_int_eq(rmdir(folder), 0);
	ck_assert_uint_eq(secret_count(), 0);
}

static struct vault *open_vault(void)
{
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key};
	struct vault_options options = {.path = path,
					.openers = &opener,
					.opener_count = 1,
					.create = true,
					.vfs = FAULT_VFS};
	struct vault *v = NULL;
	char why[256];
	int r = vault_open(&options, &v, why, sizeof(why));

	ck_assert_msg(r == 0, "vault_open: %d %s", r, why);
	return v;
}

static void keep_result(void *arg, int result)
{
	int *kept = arg;

	*kept = result;
}

static uint8_t content_of(unsigned i, unsigned round)
{
	return (uint8_t)(i * 7 + round);
}

static struct vault_id id_of(unsigned i, char item[ITEM_SIZE])
{
	(void)snprintf(item, ITEM_SIZE, "%u", i);
	return (struct vault_id){VAULT_EUKEY, bytes_text("pne"), bytes_text(item)};
}

/* The result of a batch of so many records of that size. */
static int write_records(struct vault *v, unsigned count, size_t size, unsigned round)
{
	static uint8_t content[LARGE_SIZE];
	struct vault_batch *b = vault_batch_new();
	int result = 1;
	char item[ITEM_SIZE];

	for (unsigned i = 0; i < count; i++) {
		const struct vault_id id = id_of(i, item);

		memset(content, content_of(i, round), size);
		vault_batch_put(b, &id, bytes_of(content, size));
	}
	ck_assert_int_eq(vault_submit(v, b, keep_result, &result), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
	return result;
}

static void expect_records(struct vault *v, unsigned count, size_t size, unsigned round)
{
	char item[ITEM_SIZE];

	for (unsigned i = 0; i < count; i++) {
		const struct vault_id id = id_of(i, item);
		struct vault_content c = {NULL, 0};

		ck_assert_int_eq(vault_get(v, &id, &c), 0);
		ck_assert_uint_eq(c.size, size);
		ck_assert_uint_eq(c.data[0], content_of(i, round));
		ck_assert_uint_eq(c.data[size - 1], content_of(i, round));
		vault_content_free(&c);
	}
}

/* The log begins anew with a header and a flush of its own, so the second commit is looked at. */
START_TEST(test_few_writes)
{
	struct vault *v = open_vault();

	ck_assert_int_eq(write_records(v, 100, 1000, 0), 0);
	ck_assert_int_eq(write_records(v, 100, 1000, 1), 0);
	fault_plan(NULL);
	ck_assert_int_eq(write_records(v, 20, 1000, 2), 0);
	ck_assert_uint_ge(fault_count(FAULT_WRITE), 1);
	ck_assert_uint_le(fault_count(FAULT_WRITE), 2);
	ck_assert_uint_eq(fault_count(FAULT_SYNC), 1);
	expect_records(v, 20, 1000, 2);
	vault_close(v);
	v = open_vault();
	expect_records(v, 20, 1000, 2);
	vault_close(v);
}
END_TEST

START_TEST(test_more_than_the_cache)
{
	struct vault *v = open_vault();

	for (unsigned round = 0; round < 2; round++) {
		ck_assert_int_eq(write_records(v, MANY, LARGE_SIZE, round), 0);
		expect_records(v, MANY, LARGE_SIZE, round);
	}
	vault_close(v);
	v = open_vault();
	expect_records(v, MANY, LARGE_SIZE, 1);
	vault_close(v);
}
END_TEST

/* Nothing of the batch is there, what was before is, and the same batch is taken afterwards. */
START_TEST(test_fails_at_a_write)
{
	struct fault fault = {.operation = FAULT_WRITE, .kind = FAULT_FULL};
	struct vault *v = open_vault();
	unsigned writes;

	ck_assert_int_eq(write_records(v, MANY, LARGE_SIZE, 0), 0);
	fault_plan(NULL);
	ck_assert_int_eq(write_records(v, MANY, LARGE_SIZE, 1), 0);
	writes = fault_count(FAULT_WRITE);
	ck_assert_uint_gt(writes, 10);
	for (unsigned i = 0; i < 4; i++) {
		fault.at = 1 + i * 10;
		fault_plan(&fault);
		ck_assert_int_eq(write_records(v, MANY, LARGE_SIZE, 2), -ENOSPC);
		ck_assert_uint_eq(fault_struck(), 1);
		fault_plan(NULL);
		expect_records(v, MANY, LARGE_SIZE, 1);
	}
	ck_assert_int_eq(write_records(v, MANY, LARGE_SIZE, 3), 0);
	vault_close(v);
	v = open_vault();
	expect_records(v, MANY, LARGE_SIZE, 3);
	vault_close(v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vault-log");
	TCase *t = tcase_create("vault-log");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_few_writes);
	tcase_add_test(t, test_more_than_the_cache);
	tcase_add_test(t, test_fails_at_a_write);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
