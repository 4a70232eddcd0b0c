#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>
#include <sqlite3.h>

#include "tests/vault-ledger.h"

/* The vault and its ledger's file, through full disks, damage and copies put back. */

/* Under valgrind fewer places have to do. */
static off_t stride(off_t usual)
{
	return getenv("PNGW_VALGRIND") ? 5 * usual : usual;
}

START_TEST(test_begins)
{
	struct vault *v = open_vault();
	struct vault_batch *b = vault_batch_new();
	struct vault_id id = {VAULT_PNE, bytes_text("pne-1"), BYTES_NONE};
	const char *with = "";

	ck_assert_uint_eq(state_of(v).sequence, 0);
	vault_batch_put(b, &id, bytes_text("x"));
	ck_assert_int_eq(flush(v, b), 0);
	vault_close(v);
	v = open_vault();
	ck_assert_int_eq(size_of(ledger), -1);
	ck_assert_ptr_null(vault_rollback(v));

	/* Two batches in one commit: in order, behind "created". */
	b = vault_batch_new();
	add(b, LEDGER_ISSUED, 1);
	add(b, LEDGER_ISSUED, 2);
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), 0);
	b = vault_batch_new();
	add(b, LEDGER_SPENT, 2);
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 2);
	ck_assert_uint_eq(state_of(v).sequence, 4);
	ck_assert_int_eq(size_of(ledger), size_with(4));
	ck_assert_int_eq(vault_ledger_trouble(v, &with), 0);
	ck_assert_uint_eq(close_and_prove(v), 4);
	ck_assert_int_eq(rows(), 1);
	v = open_vault();
	ck_assert_uint_eq(state_of(v).sequence, 4);
	tell(v, LEDGER_INSTALLED, 2);
	ck_assert_uint_eq(close_and_prove(v), 5);
}
END_TEST

START_TEST(test_refused)
{
	struct vault *v = open_vault();
	struct vault_batch *b = vault_batch_new();
	char name[NAME_MAX_SIZE + 1];

	memset(name, 'x', sizeof(name));
	add(b, LEDGER_CREATED, 1);
	ck_assert_int_eq(flush(v, b), -EINVAL);
	b = vault_batch_new();
	vault_batch_ledger(b, &(struct ledger_fact){.event = LEDGER_ISSUED,
						    .entity = bytes_of(name, sizeof(name))});
	ck_assert_int_eq(flush(v, b), -EINVAL);
	b = vault_batch_new();
	add(b, LEDGER_ISSUED, 1);
	vault_batch_free(b);
	ck_assert_uint_eq(state_of(v).sequence, 0);
	vault_close(v);
	ck_assert_int_eq(size_of(ledger), -1);
}
END_TEST

START_TEST(test_older_keys)
{
	struct vault *v = open_vault();
	struct vault_batch *b = vault_batch_new();
	struct vault_id id = {VAULT_EUKEY, bytes_text("pne-1"), bytes_text("1")};

	vault_batch_put(b, &id, bytes_text("key"));
	ck_assert_int_eq(flush(v, b), 0);
	tell(v, LEDGER_SPENT, 1);
	ck_assert_uint_eq(close_and_prove(v), 2);
}
END_TEST

/* Rows go when their entries are durable; flushes are rare. */
START_TEST(test_trimmed)
{
	struct vault *v = open_vault();

	disk.syncs = 0;
	issue(v, 1, 200);
	ck_assert_uint_ge(disk.syncs, 2);
	ck_assert_uint_le(disk.syncs, 6);
	keep("crash");
	ck_assert_uint_eq(close_and_prove(v), 201);
	ck_assert_int_eq(rows(), 1);
	put_back("crash", THE_VAULT " " THE_LEDGER);
	ck_assert_int_le(rows(), 80);
	v = open_vault();
	ck_assert_ptr_null(vault_rollback(v));
	tell(v, LEDGER_SPENT, 7);
	ck_assert_uint_eq(close_and_prove(v), 202);
}
END_TEST

/* Each place beside the header's and an entry's ends, some of those in between, which are alike. */
static off_t next_cut(off_t size)
{
	const bool in_header = size < LEDGER_HEADER_SIZE;
	const off_t whole = in_header ? LEDGER_HEADER_SIZE : LEDGER_ENTRY_SIZE;
	const off_t at = in_header ? size : (size - LEDGER_HEADER_SIZE) % LEDGER_ENTRY_SIZE;
	const off_t most = whole - 2 - at;
	const off_t step = stride(13);

	if (at < 2 || most <= 0)
		return size + 1;
	return size + (step < most ? step : most);
}

/* After a crash the rows have all of the file: whatever of it is missing comes back. */
START_TEST(test_cut_after_crash)
{
	struct vault *v = open_vault();
	struct ledger_state s;
	off_t whole;

	issue(v, 1, 3);
	s = state_of(v);
	keep("crash");
	vault_close(v);
	whole = size_with(4);
	for (off_t size = 0; size <= whole; size = next_cut(size)) {
		put_back("crash", THE_VAULT " " THE_LEDGER);
		ck_assert_int_eq(truncate(ledger, size), 0);
		v = open_vault();
		ck_assert_ptr_null(vault_rollback(v));
		vault_close(v);
		ck_assert_uint_eq(prove(&s, NULL), 4);
	}
	/* No file at all: it comes with the next entry. */
	put_back("crash", THE_VAULT);
	ck_assert_int_eq(unlink(ledger), 0);
	v = open_vault();
	ck_assert_ptr_null(vault_rollback(v));
	tell(v, LEDGER_SPENT, 1);
	ck_assert_uint_eq(close_and_prove(v), 5);
}
END_TEST

/* Once durable it is not there any more but in the file: cut off, the place is named. */
START_TEST(test_cut_durable)
{
	struct vault *v = open_vault();
	char expected[64];

	issue(v, 1, 3);
	vault_close(v);
	keep("whole");
	for (off_t size = 0; size <= size_with(4); size = next_cut(size)) {
		const bool is_short = size < size_with(3);
		int r;

		put_back("whole", THE_VAULT " " THE_LEDGER);
		ck_assert_int_eq(truncate(ledger, size), 0);
		r = try_open(&v);
		ck_assert_msg(r == (is_short ? VAULT_LEDGER : 0), "%ld: %d", (long)size, r);
		if (is_short) {
			snprintf(expected, sizeof(expected), "cut off at byte %ld,", (long)size);
			ck_assert_msg(strstr(why, expected) != NULL, "%s", why);
		} else {
			ck_assert_ptr_null(vault_rollback(v));
			ck_assert_uint_eq(close_and_prove(v), 4);
		}
	}
}
END_TEST

START_TEST(test_altered)
{
	static const struct {
		off_t at;
		const char *says;
	} places[] = {
		{0, "at byte 0"},
		{40, "at byte 0"},
		{127, "at byte 0"},
		{128 + 2 * 152, "at byte 432"},
		{128 + 3 * 152 - 1, "at byte 432"},
		{128 + 3 * 152, NULL},
		{128 + 4 * 152 - 1, NULL},
	};
	struct vault *v = open_vault();

	issue(v, 1, 3);
	vault_close(v);
	keep("whole");
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		put_back("whole", THE_VAULT " " THE_LEDGER);
		flip(ledger, places[i].at);
		if (places[i].says) {
			ck_assert_int_eq(try_open(&v), VAULT_LEDGER);
			ck_assert_msg(strstr(why, places[i].says) != NULL, "%s", why);
			continue;
		}
		/* The vault has the newest entry too. */
		v = open_vault();
		ck_assert_uint_eq(close_and_prove(v), 4);
	}
	/* Garbage behind the end goes. */
	put_back("whole", THE_VAULT " " THE_LEDGER);
	shell("head -c 400 /dev/zero >>%s", ledger);
	v = open_vault();
	ck_assert_uint_eq(close_and_prove(v), 4);
}
END_TEST

START_TEST(test_other_vaults_file)
{
	struct vault *v = open_vault();

	issue(v, 1, 1);
	vault_close(v);
	shell("cd %s && rm vault key", directory);
	ck_assert_int_eq(try_open(&v), VAULT_LEDGER);
	ck_assert_ptr_nonnull(strstr(why, "another vault's"));
	ck_assert_int_eq(unlink(ledger), 0);
	v = open_vault();
	issue(v, 1, 1);
	ck_assert_uint_eq(close_and_prove(v), 2);
}
END_TEST

/* An older copy of the vault, beside the ledger's newest file. */
START_TEST(test_older_vault)
{
	struct vault *v = open_vault();
	struct vault_batch *b;
	struct gap gap;

	issue(v, 1, 2);
	vault_close(v);
	keep("older");
	v = open_vault();
	tell(v, LEDGER_SPENT, 1);
	tell(v, LEDGER_SPENT, 2);
	vault_close(v);
	put_back("older", THE_VAULT);
	/* Found at each opening until it is settled. */
	for (int i = 0; i < 2; i++) {
		v = open_vault();
		assert_rollback(v, 3, 5, "ledger file");
		ck_assert_uint_eq(state_of(v).sequence, 3);
		vault_close(v);
	}
	v = open_vault();
	b = vault_batch_new();
	add(b, LEDGER_ROLLED_BACK, 0);
	add(b, LEDGER_ERASED, 1);
	add(b, LEDGER_ERASED, 2);
	ck_assert_int_eq(flush(v, b), 0);
	ck_assert_uint_eq(state_of(v).sequence, 8);
	assert_rollback(v, 3, 5, "ledger file");
	vault_close(v);
	ck_assert_uint_eq(prove(NULL, &gap), 8);
	ck_assert_uint_eq(gap.first, 0);
	assert_settled(8);
}
END_TEST

/* An entry of this vault in the place of another is no later state, but altered. */
START_TEST(test_entry_copied)
{
	static const char *const says[] = {"at byte 128 ", "at byte 280 ", "at byte 432 ",
					   "at byte 584 "};
	struct vault *v = open_vault();

	issue(v, 1, 3);
	keep("crash");
	vault_close(v);
	keep("whole");
	for (uint32_t to = 2; to < 4; to++) {
		put_back("whole", THE_VAULT " " THE_LEDGER);
		copy_entry(ledger, 1, to);
		ck_assert_int_eq(try_open(&v), VAULT_LEDGER);
		ck_assert_msg(strstr(why, says[to]) != NULL, "%s", why);
	}
	for (uint32_t to = 0; to < 4; to++) {
		if (to == 1)
			continue;
		put_back("crash", THE_VAULT " " THE_LEDGER);
		copy_entry(ledger, 1, to);
		ck_assert_int_eq(try_open(&v), VAULT_LEDGER);
		ck_assert_msg(strstr(why, says[to]) != NULL, "%s", why);
	}
	/* Behind the end nothing is lost by cutting it off. */
	put_back("whole", THE_VAULT " " THE_LEDGER);
	copy_entry(ledger, 1, 4);
	v = open_vault();
	ck_assert_uint_eq(close_and_prove(v), 4);
}
END_TEST

/* A bit of the file does not hide that the vault is older than the file. */
START_TEST(test_older_vault_altered_file)
{
	struct vault *v = open_vault();

	issue(v, 1, 2);
	vault_close(v);
	keep("older");
	v = open_vault();
	issue(v, 3, 6);
	vault_close(v);
	put_back("older", THE_VAULT);
	flip(ledger, size_with((uint32_t)_i) + 5);
	ck_assert_int_eq(try_open(&v), VAULT_LEDGER);
	ck_assert_int_eq(size_of(ledger), size_with(7));
	ck_assert_int_eq(unlink(ledger), 0);
	v = open_vault();
	assert_rollback(v, 3, 3, "lost ledger file");
	vault_close(v);
}
END_TEST

/* From before the first entry; and the first fact is not about the rollback. */
START_TEST(test_vault_older_than_ledger)
{
	struct vault *v = open_vault();

	vault_close(v);
	keep("older");
	v = open_vault();
	issue(v, 1, 2);
	vault_close(v);
	put_back("older", THE_VAULT);
	v = open_vault();
	assert_rollback(v, 0, 3, "ledger file");
	tell(v, LEDGER_ISSUED, 3);
	ck_assert_uint_eq(state_of(v).sequence, 5);
	ck_assert_uint_eq(close_and_prove(v), 5);
	assert_settled(5);
}
END_TEST

/* Two futures of one state: the file is of the one, the vault of the other. */
START_TEST(test_two_futures)
{
	struct vault *v = open_vault();

	issue(v, 1, 2);
	vault_close(v);
	keep("common");
	v = open_vault();
	tell(v, LEDGER_SPENT, 1);
	keep("one");
	vault_close(v);
	for (int i = 0; i < 3; i++) {
		put_back("common", THE_VAULT " " THE_LEDGER);
		v = open_vault();
		for (uint32_t n = 0; n <= (uint32_t)i; n++)
			tell(v, LEDGER_ISSUED, 10 + n);
		vault_close(v);
		put_back("one", THE_LEDGER);
		/* A file that has less than the other future had is cut off. */
		if (i == 2) {
			ck_assert_int_eq(try_open(&v), VAULT_LEDGER);
			continue;
		}
		v = open_vault();
		assert_rollback(v, 4 + (uint32_t)i, 4 + (uint32_t)i, "ledger file");
		tell(v, LEDGER_ISSUED, 20);
		ck_assert_uint_eq(close_and_prove(v), 6);
		assert_settled(6 + (uint32_t)i);
	}
}
END_TEST

START_TEST(test_lost_file)
{
	struct vault *v = open_vault();
	struct gap gap;

	issue(v, 1, 2);
	vault_close(v);
	ck_assert_int_eq(unlink(ledger), 0);
	v = open_vault();
	assert_rollback(v, 3, 3, "lost ledger file");
	vault_close(v);
	ck_assert_int_eq(size_of(ledger), -1);
	v = open_vault();
	tell(v, LEDGER_ROLLED_BACK, 0);
	tell(v, LEDGER_ERASED, 1);
	ck_assert_uint_eq(state_of(v).sequence, 5);
	vault_close(v);
	ck_assert_uint_eq(prove(NULL, &gap), 2);
	ck_assert_uint_eq(gap.first, 1);
	ck_assert_uint_eq(gap.last, 3);
	assert_settled(5);
	/* Behind a gap place and sequence differ: all of the above again. */
	keep("older");
	v = open_vault();
	issue(v, 7, 9);
	vault_close(v);
	put_back("older", THE_VAULT);
	v = open_vault();
	assert_rollback(v, 5, 8, "ledger file");
	tell(v, LEDGER_ROLLED_BACK, 0);
	ck_assert_uint_eq(close_and_prove(v), 6);
	assert_settled(9);
	ck_assert_int_eq(truncate(ledger, size_with(3)), 0);
	ck_assert_int_eq(try_open(&v), VAULT_LEDGER);
}
END_TEST

/* The server knows more: the fact says so. */
START_TEST(test_known_elsewhere)
{
	struct vault *v = open_vault();
	struct vault_batch *b = vault_batch_new();
	struct gap gap;

	issue(v, 1, 1);
	vault_batch_ledger(b, &(struct ledger_fact){.event = LEDGER_ROLLED_BACK, .known = 40});
	add(b, LEDGER_ERASED, 1);
	ck_assert_int_eq(flush(v, b), 0);
	ck_assert_uint_eq(state_of(v).sequence, 42);
	vault_close(v);
	ck_assert_uint_eq(prove(NULL, &gap), 4);
	ck_assert_uint_eq(gap.first, 3);
	ck_assert_uint_eq(gap.last, 40);
	assert_settled(42);
}
END_TEST

/*
 * The server heard of an entry, then vault and ledger were put back and went on by themselves.
 * Nothing in the file hides that: not an entry with another number, not the one that the server
 * heard of.
 */
START_TEST(test_other_future_altered_file)
{
	struct vault *v = open_vault();
	struct ledger_state heard, own;
	bool other = false;

	issue(v, 1, 6);
	vault_close(v);
	keep("common");
	v = open_vault();
	tell(v, LEDGER_SPENT, 1);
	tell(v, LEDGER_SPENT, 2);
	heard = state_of(v);
	vault_close(v);
	keep("heard");
	put_back("common", THE_VAULT " " THE_LEDGER);
	v = open_vault();
	for (uint32_t i = 6; i > 0; i--)
		tell(v, LEDGER_SPENT, i);
	own = state_of(v);
	ck_assert_int_eq(vault_ledger_other(v, &own, &other), 0);
	ck_assert(!other);
	ck_assert_int_eq(vault_ledger_other(v, &heard, &other), 0);
	ck_assert(other);
	vault_close(v);
	if (_i == 0)
		flip(ledger, size_with(heard.sequence - 1) + 3);
	else
		shell("dd if=%s/heard/vault.ledger of=%s bs=1 skip=%ld seek=%ld count=%d "
		      "conv=notrunc status=none",
		      directory, ledger, (long)size_with(heard.sequence - 1),
		      (long)size_with(heard.sequence - 1), LEDGER_ENTRY_SIZE);
	v = open_vault();
	ck_assert_int_eq(vault_ledger_other(v, &heard, &other), 0);
	ck_assert_msg(other, "the altered file hides that the vault is an older copy");
	vault_close(v);
}
END_TEST

/* What cannot be written to the file now is not lost and keeps nobody waiting. */
START_TEST(test_full_disk)
{
	struct vault *v = open_vault();
	const char *with = "";

	issue(v, 1, 2);
	disk.fail = ENOSPC;
	disk.torn = (size_t)_i;
	issue(v, 3, 80);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), -ENOSPC);
	ck_assert_str_eq(with, "ledger file");
	ck_assert_uint_eq(state_of(v).sequence, 81);
	ck_assert_int_eq(size_of(ledger), size_with(3) + _i);
	keep("crash");
	disk.fail = 0;
	tell(v, LEDGER_ISSUED, 81);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), 0);
	ck_assert_int_eq(size_of(ledger), size_with(82));
	ck_assert_uint_eq(close_and_prove(v), 82);
	/* The same after a crash on the full disk, and with a close on it. */
	put_back("crash", THE_VAULT " " THE_LEDGER);
	disk.fail = ENOSPC;
	v = open_vault();
	ck_assert_ptr_null(vault_rollback(v));
	vault_close(v);
	disk.fail = 0;
	v = open_vault();
	ck_assert_uint_eq(state_of(v).sequence, 81);
	ck_assert_uint_eq(close_and_prove(v), 81);
}
END_TEST

START_TEST(test_no_file_yet)
{
	struct vault *v = open_vault();
	const char *with = "";

	ck_assert_int_eq(mkdir(ledger, 0700), 0);
	issue(v, 1, 3);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), -EISDIR);
	ck_assert_int_eq(rmdir(ledger), 0);
	issue(v, 4, 4);
	ck_assert_uint_eq(close_and_prove(v), 5);
}
END_TEST

/* After a flush that failed, what was not durable is written again. */
START_TEST(test_flush_fails)
{
	struct vault *v = open_vault();
	const char *with = "";

	disk.syncs_fail = EIO;
	issue(v, 1, 70);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), -EIO);
	/* The disk did not keep it. */
	ck_assert_int_eq(truncate(ledger, 0), 0);
	disk.syncs_fail = 0;
	issue(v, 71, 71);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), 0);
	ck_assert_uint_eq(close_and_prove(v), 72);
}
END_TEST

static void damage_row(int where)
{
	sqlite3 *db = NULL;
	sqlite3_blob *blob = NULL;
	uint8_t byte;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_blob_open(db, "main", "ledger", "entry", 3, 1, &blob), SQLITE_OK);
	ck_assert_int_eq(sqlite3_blob_read(blob, &byte, 1, where), SQLITE_OK);
	byte ^= 0x77;
	ck_assert_int_eq(sqlite3_blob_write(blob, &byte, 1, where), SQLITE_OK);
	sqlite3_blob_close(blob);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

/* Damaged rows: no fact can be told any more, the records are served. */
START_TEST(test_damaged_rows)
{
	struct vault *v = open_vault();
	struct vault_id id = {VAULT_PNE, bytes_text("pne-1"), BYTES_NONE};
	struct vault_batch *b;
	const char *with = "";

	issue(v, 1, 2);
	vault_close(v);
	damage_row(_i);
	v = open_vault();
	ck_assert_int_eq(vault_ledger_trouble(v, &with), -EBADMSG);
	ck_assert_str_eq(with, "ledger table");
	ck_assert_int_eq(tell_result(v, LEDGER_SPENT, 1), -EBADMSG);
	b = vault_batch_new();
	vault_batch_put(b, &id, bytes_text("x"));
	ck_assert_int_eq(flush(v, b), 0);
	vault_close(v);
	ck_assert_int_eq(size_of(ledger), size_with(3));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vault-ledger");
	TCase *t = tcase_create("vault-ledger");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_begins);
	tcase_add_test(t, test_refused);
	tcase_add_test(t, test_older_keys);
	tcase_add_test(t, test_trimmed);
	tcase_add_test(t, test_cut_after_crash);
	tcase_add_test(t, test_cut_durable);
	tcase_add_test(t, test_altered);
	tcase_add_test(t, test_other_vaults_file);
	tcase_add_test(t, test_older_vault);
	tcase_add_test(t, test_entry_copied);
	tcase_add_loop_test(t, test_older_vault_altered_file, 2, 6);
	tcase_add_test(t, test_vault_older_than_ledger);
	tcase_add_test(t, test_two_futures);
	tcase_add_test(t, test_lost_file);
	tcase_add_test(t, test_known_elsewhere);
	tcase_add_loop_test(t, test_other_future_altered_file, 0, 2);
	tcase_add_loop_test(t, test_full_disk, 0, 2);
	tcase_add_test(t, test_no_file_yet);
	tcase_add_test(t, test_flush_fails);
	tcase_add_loop_test(t, test_damaged_rows, 4, 8);
	tcase_add_loop_test(t, test_damaged_rows, 100, 102);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
