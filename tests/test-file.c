/*
 * A new file is published whole or not at all. Every operation of it fails once, by the linker's
 * --wrap, and what is there afterwards is looked at.
 */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/file.h"

int __real_open(const char *path, int flags, ...);
ssize_t __real_write(int fd, const void *data, size_t size);
int __real_fsync(int fd);
int __real_close(int fd);
int __real_link(const char *from, const char *to);
int __real_renameat2(int from_folder, const char *from, int to_folder, const char *to,
		     unsigned flags);
int __real_unlink(const char *path);
int __wrap_open(const char *path, int flags, ...);
ssize_t __wrap_write(int fd, const void *data, size_t size);
int __wrap_fsync(int fd);
int __wrap_close(int fd);
int __wrap_link(const char *from, const char *to);
int __wrap_renameat2(int from_folder, const char *from, int to_folder, const char *to,
		     unsigned flags);
int __wrap_unlink(const char *path);

#define CONTENT "0123456789abcdef\n"

static char folder[32], path[64], new_path[64];

/* The operations of one call, in their order; which of them fails, 0: none. */
static struct {
	const char *names[32];
	size_t count, fails;
	bool armed;
} run;

/* True: this one fails. */
static bool fails(const char *name)
{
	if (!run.armed)
		return false;
	ck_assert_uint_lt(run.count, sizeof(run.names) / sizeof(run.names[0]));
	run.names[run.count++] = name;
	if (run.count != run.fails)
		return false;
	errno = EIO;
	return true;
}

int __wrap_open(const char *file, int flags, ...)
{
	mode_t mode = 0;
	va_list list;

	if (flags & O_CREAT) {
		va_start(list, flags);
		mode = va_arg(list, mode_t);
		va_end(list);
	}
	return fails(flags & O_DIRECTORY ? "open folder" : "open") ? -1
								   : __real_open(file, flags, mode);
}

ssize_t __wrap_write(int fd, const void *data, size_t size)
{
	/* A piece at a time. */
	return fails("write") ? -1 : __real_write(fd, data, size > 10 ? 10 : size);
}

int __wrap_fsync(int fd)
{
	return fails("fsync") ? -1 : __real_fsync(fd);
}

/* Closed all the same, as Linux does. */
int __wrap_close(int fd)
{
	const bool failed = fails("close");
	const int r = __real_close(fd);

	if (failed)
		errno = EIO;
	return failed ? -1 : r;
}

int __wrap_link(const char *from, const char *to)
{
	return fails("link") ? -1 : __real_link(from, to);
}

int __wrap_renameat2(int from_folder, const char *from, int to_folder, const char *to,
		     unsigned flags)
{
	return fails("rename") ? -1 : __real_renameat2(from_folder, from, to_folder, to, flags);
}

int __wrap_unlink(const char *file)
{
	return fails("unlink") ? -1 : __real_unlink(file);
}

static void setup(void)
{
	(void)snprintf(folder, sizeof(folder), "/tmp/pngw-file.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/key", folder);
	(void)snprintf(new_path, sizeof(new_path), "%s/key.new", folder);
}

static void clear(void)
{
	(void)__real_unlink(path);
	(void)__real_unlink(new_path);
}

static void teardown(void)
{
	clear();
	ck_assert_int_eq(rmdir(folder), 0);
}

static void put(const char *file, const char *content)
{
	const int fd = __real_open(file, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(__real_write(fd, content, strlen(content)), (int)strlen(content));
	(void)__real_close(fd);
}

/* NULL: it is not there. */
static const char *content_of(const char *file)
{
	static char text[128];
	const int fd = __real_open(file, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return NULL;
	n = read(fd, text, sizeof(text) - 1);
	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	(void)__real_close(fd);
	return text;
}

static void is_absent(const char *file)
{
	const char *content = content_of(file);

	ck_assert_msg(!content, "%s is there: %s", file, content);
}

static void is_whole(const char *file)
{
	struct stat st;

	ck_assert_ptr_nonnull(content_of(file));
	ck_assert_str_eq(content_of(file), CONTENT);
	ck_assert_int_eq(stat(file, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
}

static int publish(bool keep, size_t failing)
{
	int r;

	memset(&run, 0, sizeof(run));
	run.fails = failing;
	run.armed = true;
	r = file_publish(path, new_path, bytes_text(CONTENT), keep);
	run.armed = false;
	return r;
}

START_TEST(test_published)
{
	const bool keep = _i;

	/* What was cut short before is not what is published. */
	put(new_path, "half of anothe");
	ck_assert_int_eq(publish(keep, 0), 0);
	is_whole(path);
	if (keep)
		is_whole(new_path);
	else
		is_absent(new_path);
}
END_TEST

START_TEST(test_never_replaced)
{
	const bool keep = _i;

	put(path, "another");
	ck_assert_int_eq(publish(keep, 0), -EEXIST);
	ck_assert_str_eq(content_of(path), "another");
	if (keep)
		is_whole(new_path);
	else
		is_absent(new_path);
}
END_TEST

/* Every operation fails once. */
START_TEST(test_failing)
{
	const bool keep = _i;
	size_t operations, failed = 0;

	ck_assert_int_eq(publish(keep, 0), 0);
	operations = run.count;
	ck_assert_uint_ge(operations, 8);
	for (size_t at = 1; at <= operations; at++) {
		const char *name;
		bool named = false;
		int r;

		clear();
		r = publish(keep, at);
		name = run.names[at - 1];
		for (size_t i = 0; i + 1 < at; i++)
			named = named || strcmp(run.names[i], keep ? "link" : "rename") == 0;
		/* The last one closes the folder, of which nothing is to be lost. */
		if (at == operations && strcmp(name, "close") == 0) {
			ck_assert_int_eq(r, 0);
			continue;
		}
		ck_assert_msg(r == -EIO, "%s, the %zu. of %zu: %d", name, at, operations, r);
		failed++;
		if (named && keep) {
			is_whole(path);
			is_whole(new_path);
		} else {
			is_absent(path);
			is_absent(new_path);
		}
	}
	ck_assert_uint_ge(failed, 7);
}
END_TEST

/* The content is durable before its name is, and the name before it is told. */
START_TEST(test_order)
{
	static const char *const order[] = {"unlink", "open", "write",       "write", "fsync",
					    "close",  "name", "open folder", "fsync", "close"};

	ck_assert_int_eq(publish(_i, 0), 0);
	ck_assert_uint_eq(run.count, sizeof(order) / sizeof(order[0]));
	for (size_t i = 0; i < run.count; i++) {
		const char *want = strcmp(order[i], "name") != 0 ? order[i]
				   : _i                          ? "link"
								 : "rename";

		ck_assert_str_eq(run.names[i], want);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("file");
	TCase *t = tcase_create("publish");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, test_published, 0, 2);
	tcase_add_loop_test(t, test_never_replaced, 0, 2);
	tcase_add_loop_test(t, test_failing, 0, 2);
	tcase_add_loop_test(t, test_order, 0, 2);
	suite_add_tcase(suite, t);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
