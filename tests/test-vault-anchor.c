#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "tests/vault-ledger.h"

/* Crashes at each step of ledger and anchor, and copies put back behind an anchor. */

/* Dies at the nth call that the ledger and its anchor make. 0: lived. */
static bool dies_at(int n, int told)
{
	int status;
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		struct vault *v = NULL;
		uint32_t last;

		if (try_open(&v) != 0)
			_exit(1);
		disk.steps_left = n;
		last = state_of(v).sequence;
		for (uint32_t i = 0; i < 70; i++) {
			uint32_t index = last + i + 1;

			if (tell_result(v, LEDGER_ISSUED, index) != 0)
				_exit(2);
			if (write(told, &index, sizeof(index)) != sizeof(index))
				_exit(3);
		}
		vault_close(v);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
	return WIFSIGNALED(status);
}

/* Each of the first and of the last of about 200 calls, when a flush comes; few in between. */
static void die_everywhere(int stride)
{
	const int sparse = getenv("PNGW_VALGRIND") ? 60 : 0;
	int pipes[2];
	bool died = true;

	ck_assert_int_eq(pipe2(pipes, O_NONBLOCK), 0);
	for (int n = 1; died; n += sparse + (n < 12 || n > 188 ? stride : 35)) {
		uint32_t index = 0;
		struct vault_id id;
		struct vault *v;

		died = dies_at(n, pipes[1]);
		while (read(pipes[0], &index, sizeof(index)) == sizeof(index))
			;
		v = open_vault();
		ck_assert_ptr_null(vault_rollback(v));
		id = (struct vault_id){VAULT_EUKEY, bytes_text("pne-1"), bytes_of(&index, 4)};
		if (index > 0) {
			struct vault_content content;

			ck_assert_int_eq(vault_get(v, &id, &content), 0);
			vault_content_free(&content);
			ck_assert_uint_ge(state_of(v).sequence, index);
		}
		close_and_prove(v);
	}
	close(pipes[0]);
	close(pipes[1]);
}

START_TEST(test_dies)
{
	die_everywhere(1);
}
END_TEST

START_TEST(test_dies_anchored)
{
	use_anchor();
	die_everywhere(3);
}
END_TEST

START_TEST(test_anchor)
{
	static const char *const back[] = {THE_VAULT, THE_VAULT " " THE_LEDGER};
	struct vault *v;
	struct gap gap;

	use_anchor();
	v = open_vault();
	ck_assert_int_eq(size_of(anchor_path), -1);
	issue(v, 1, 2);
	ck_assert_int_gt(size_of(anchor_path), 100);
	vault_close(v);
	keep("older");
	v = open_vault();
	tell(v, LEDGER_SPENT, 1);
	tell(v, LEDGER_SPENT, 2);
	vault_close(v);
	assert_settled(5);
	put_back("older", back[_i]);
	v = open_vault();
	assert_rollback(v, 3, 5, _i == 0 ? "ledger file" : "anchor");
	vault_close(v);
	/* The anchor does not go back. */
	v = open_vault();
	assert_rollback(v, 3, 5, _i == 0 ? "ledger file" : "anchor");
	tell(v, LEDGER_ROLLED_BACK, 0);
	ck_assert_uint_eq(state_of(v).sequence, 6);
	vault_close(v);
	ck_assert_uint_eq(prove(NULL, &gap), _i == 0 ? 6 : 4);
	ck_assert_uint_eq(gap.first, _i == 0 ? 0 : 4);
	ck_assert_uint_eq(gap.last, _i == 0 ? 0 : 5);
	assert_settled(6);
}
END_TEST

/* What was put back is a copy taken while entries were not durable in the file: they come back. */
START_TEST(test_anchor_and_short_file)
{
	struct vault *v;
	struct gap gap;
	const char *with = "";

	use_anchor();
	v = open_vault();
	issue(v, 1, 2);
	vault_close(v);
	v = open_vault();
	issue(v, 3, 9);
	keep("older");
	issue(v, 10, 12);
	vault_close(v);
	put_back("older", THE_VAULT " " THE_LEDGER);
	ck_assert_int_eq(truncate(ledger, size_with((uint32_t)_i)), 0);
	disk.fail = _i == 10 ? 0 : ENOSPC;
	v = open_vault();
	assert_rollback(v, 10, 13, "anchor");
	tell(v, LEDGER_ROLLED_BACK, 0);
	/* The power goes before the file is flushed, and it loses what it had. */
	keep("crash");
	disk.fail = 0;
	tell(v, LEDGER_ERASED, 3);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), 0);
	vault_close(v);
	ck_assert_uint_eq(prove(NULL, &gap), 12);
	ck_assert_uint_eq(gap.first, 11);
	ck_assert_uint_eq(gap.last, 13);
	assert_settled(15);
	put_back("crash", THE_VAULT " " THE_LEDGER);
	ck_assert_int_eq(truncate(ledger, size_with((uint32_t)_i < 7 ? (uint32_t)_i : 7)), 0);
	v = open_vault();
	ck_assert_uint_eq(state_of(v).sequence, 14);
	vault_close(v);
	ck_assert_uint_eq(prove(NULL, &gap), 11);
}
END_TEST

/* The program takes the anchor's word for what must be in the file. */
START_TEST(test_verified_against)
{
	const char *build = getenv("PNGW_BUILDDIR") ? getenv("PNGW_BUILDDIR") : ".";
	struct vault *v;

	use_anchor();
	v = open_vault();
	issue(v, 1, 3);
	vault_close(v);
	shell("%s/pngw-ledger verify %s --anchor %s | grep -qx 'proven: 4 entries'", build, ledger,
	      anchor_path);
	ck_assert_int_eq(truncate(ledger, size_with(3)), 0);
	shell("%s/pngw-ledger verify %s >/dev/null", build, ledger);
	shell("%s/pngw-ledger verify %s --anchor %s | grep -qx 'not proven: entry 4, byte 584: the"
	      " file ends here, the anchor saw 4 entries'",
	      build, ledger, anchor_path);
	flip(anchor_path, 60);
	shell("%s/pngw-ledger verify %s --anchor %s 2>&1 | grep -q 'damaged, forged'", build,
	      ledger, anchor_path);
}
END_TEST

/* A crash between the commit and the anchor is no rollback. */
START_TEST(test_anchor_behind)
{
	struct vault *v;

	use_anchor();
	v = open_vault();
	issue(v, 1, 2);
	keep("before");
	tell(v, LEDGER_SPENT, 1);
	keep("crash");
	vault_close(v);
	put_back("crash", THE_VAULT " " THE_LEDGER);
	put_back("before", THE_ANCHOR);
	assert_settled(4);
	/* So far behind that the entry is in the file alone. */
	v = open_vault();
	issue(v, 5, 8);
	vault_close(v);
	put_back("before", THE_ANCHOR);
	assert_settled(8);
	shell("cmp -s %s %s/before/anchor && exit 1 || exit 0", anchor_path, directory);
}
END_TEST

/* A copy that went on by itself and has overtaken the anchor. */
START_TEST(test_anchor_other_history)
{
	struct vault *v;

	use_anchor();
	v = open_vault();
	issue(v, 1, 2);
	vault_close(v);
	keep("common");
	v = open_vault();
	tell(v, LEDGER_SPENT, 1);
	vault_close(v);
	keep("one");
	put_back("common", THE_VAULT " " THE_LEDGER " " THE_ANCHOR);
	v = open_vault();
	issue(v, 10, 10 + (uint32_t)_i);
	vault_close(v);
	put_back("one", THE_ANCHOR);
	v = open_vault();
	assert_rollback(v, 4 + (uint32_t)_i, 4 + (uint32_t)_i, "anchor");
	tell(v, LEDGER_ROLLED_BACK, 0);
	ck_assert_uint_eq(close_and_prove(v), 5 + (uint32_t)_i);
	assert_settled(5 + (uint32_t)_i);
}
END_TEST

START_TEST(test_anchor_altered)
{
	/* Under valgrind fewer places have to do. */
	const off_t stride = getenv("PNGW_VALGRIND") ? 21 : 3;
	struct vault *v;

	use_anchor();
	v = open_vault();
	issue(v, 1, 2);
	vault_close(v);
	keep("whole");
	for (off_t at = 0; at < size_of(anchor_path); at += stride) {
		put_back("whole", THE_ANCHOR);
		flip(anchor_path, at);
		ck_assert_msg(try_open(&v) == VAULT_ANCHOR, "byte %ld", (long)at);
		ck_assert_ptr_nonnull(strstr(why, "damaged, forged, or of another vault"));
	}
	/* Another statement's number with this one's signature. */
	put_back("whole", THE_ANCHOR);
	shell("sed -i 's/^entries 3$/entries 2/' %s", anchor_path);
	ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
	/* Taken away: only what does without an anchor opens. */
	ck_assert_int_eq(unlink(anchor_path), 0);
	ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
	ck_assert_ptr_nonnull(strstr(why, "it is gone"));
	anchor[0] = '\0';
	v = open_vault();
	ck_assert_ptr_null(vault_rollback(v));
	vault_close(v);
	use_anchor();
	v = open_vault();
	ck_assert_int_gt(size_of(anchor_path), 0);
	vault_close(v);
	ck_assert_int_eq(unlink(anchor_path), 0);
	ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
	snprintf(anchor, sizeof(anchor), "nonsense");
	ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
	snprintf(anchor, sizeof(anchor), "file:");
	ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
	snprintf(anchor, sizeof(anchor), "file:%s", directory);
	ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
}
END_TEST

START_TEST(test_anchor_of_another)
{
	struct vault *v;

	use_anchor();
	v = open_vault();
	issue(v, 1, 2);
	vault_close(v);
	shell("cd %s && rm vault vault.ledger key", directory);
	ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
	ck_assert_ptr_nonnull(strstr(why, "another vault"));
}
END_TEST

/* It is missed after a crash of the first run, too, once anything was acknowledged. */
START_TEST(test_anchor_missed)
{
	struct vault *v;

	use_anchor();
	v = open_vault();
	keep("before");
	issue(v, 1, 1);
	keep("crash");
	vault_close(v);
	put_back("crash", THE_VAULT " " THE_LEDGER);
	shell("rm %s", anchor_path);
	ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
	ck_assert_ptr_nonnull(strstr(why, "it is gone"));
	/* Before that there was none. */
	shell("rm -f %s", ledger);
	put_back("before", THE_VAULT);
	v = open_vault();
	issue(v, 1, 1);
	vault_close(v);
	assert_settled(2);
}
END_TEST

/* An anchor that cannot be written is a trouble, not a loss; it catches up. */
START_TEST(test_anchor_full)
{
	struct vault *v;
	const char *with = "";

	use_anchor();
	v = open_vault();
	issue(v, 1, 1);
	shell("mkdir %s.new", anchor_path);
	issue(v, 2, 2);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), -EISDIR);
	ck_assert_str_eq(with, "anchor");
	shell("rmdir %s.new", anchor_path);
	issue(v, 3, 3);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), 0);
	keep("now");
	vault_close(v);
	shell("grep -q '^entries 4$' %s", anchor_path);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vault-anchor");
	TCase *t = tcase_create("vault-anchor");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 400);
	tcase_add_test(t, test_dies);
	tcase_add_test(t, test_dies_anchored);
	tcase_add_loop_test(t, test_anchor, 0, 2);
	tcase_add_loop_test(t, test_anchor_and_short_file, 3, 11);
	tcase_add_test(t, test_verified_against);
	tcase_add_test(t, test_anchor_behind);
	tcase_add_loop_test(t, test_anchor_other_history, 0, 3);
	tcase_add_test(t, test_anchor_altered);
	tcase_add_test(t, test_anchor_of_another);
	tcase_add_test(t, test_anchor_missed);
	tcase_add_test(t, test_anchor_full);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
