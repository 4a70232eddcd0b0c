#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/secret.h"

START_TEST(sizes)
{
	struct secret *s;

	ck_assert_ptr_null(secret_new(0));
	ck_assert_ptr_null(secret_new(SECRET_MAX_SIZE + 1));
	for (size_t size = 1; size <= SECRET_MAX_SIZE; size++) {
		s = secret_new(size);
		ck_assert_ptr_nonnull(s);
		ck_assert_uint_eq(secret_size(s), size);
		for (size_t i = 0; i < size; i++)
			ck_assert_uint_eq(secret_buffer(s)[i], 0);
		memset(secret_buffer(s), 0xff, size);
		secret_unref(s);
	}
	ck_assert_uint_eq(secret_count(), 0);
}
END_TEST

START_TEST(references)
{
	struct secret *s = secret_copy(bytes_text("key"));
	struct secret *t = secret_ref(s);

	ck_assert_ptr_eq(s, t);
	ck_assert_uint_eq(secret_count(), 1);
	secret_clear(&s);
	ck_assert_ptr_null(s);
	ck_assert(bytes_equal(secret_bytes(t), bytes_text("key")));
	secret_unref(t);
	ck_assert_uint_eq(secret_count(), 0);
	secret_unref(NULL);
	secret_clear(&s);
	ck_assert_ptr_null(secret_ref(NULL));
}
END_TEST

START_TEST(scope)
{
	{
		SCOPED_SECRET *s = secret_new(32);
		SCOPED_SECRET *none = NULL;

		ck_assert_ptr_nonnull(s);
		ck_assert_ptr_null(none);
		ck_assert_uint_eq(secret_count(), 1);
	}
	ck_assert_uint_eq(secret_count(), 0);
}
END_TEST

START_TEST(comparison)
{
	SCOPED_SECRET *a = secret_copy(bytes_text("same"));
	SCOPED_SECRET *b = secret_copy(bytes_text("same"));
	SCOPED_SECRET *c = secret_copy(bytes_text("sane"));
	SCOPED_SECRET *d = secret_copy(bytes_text("samesame"));

	ck_assert(secret_equal(a, b));
	ck_assert(!secret_equal(a, c));
	ck_assert(!secret_equal(a, d));
	ck_assert(!secret_equal(a, NULL));
	ck_assert(!secret_equal(NULL, NULL));
	ck_assert(constant_time_equal(BYTES_NONE, BYTES_NONE));
	secret_shrink(d, 4);
	ck_assert(secret_equal(a, d));
	ck_assert_uint_eq(secret_buffer(d)[4], 0);
	secret_shrink(d, 100);
	ck_assert_uint_eq(secret_size(d), 4);
}
END_TEST

START_TEST(randomness)
{
	SCOPED_SECRET *a = secret_random(32);
	SCOPED_SECRET *b = secret_random(32);

	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_nonnull(b);
	ck_assert(!secret_equal(a, b));
}
END_TEST

/* A child that draws after a fork must not draw what its parent draws. */
START_TEST(randomness_after_fork)
{
	uint8_t child[32];
	int status, ends[2];
	pid_t pid;

	secret_unref(secret_random(32));
	ck_assert_int_eq(pipe(ends), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct secret *s = secret_random(32);
		ssize_t n = s ? write(ends[1], secret_bytes(s).data, 32) : 0;

		_exit(n == 32 ? 0 : 1);
	}
	{
		SCOPED_SECRET *s = secret_random(32);

		ck_assert_int_eq(read(ends[0], child, sizeof(child)), sizeof(child));
		ck_assert(!bytes_equal(secret_bytes(s), bytes_of(child, sizeof(child))));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

#define MANY 5000

START_TEST(many)
{
	static struct secret *all[MANY];

	for (size_t i = 0; i < MANY; i++) {
		all[i] = secret_new(i % 3 == 0 ? 200 : 32);
		ck_assert_ptr_nonnull(all[i]);
		memcpy(secret_buffer(all[i]), &i, sizeof(i));
	}
	ck_assert_uint_eq(secret_count(), MANY);
	for (size_t i = 0; i < MANY; i++) {
		ck_assert_int_eq(memcmp(secret_bytes(all[i]).data, &i, sizeof(i)), 0);
		secret_unref(all[i]);
	}
	ck_assert_uint_eq(secret_count(), 0);
}
END_TEST

static void *worker(void *arg)
{
	struct secret *shared = arg;

	for (int i = 0; i < 20000; i++) {
		struct secret *s = secret_new(1 + (size_t)i % SECRET_MAX_SIZE);

		if (!s)
			return arg;
		secret_buffer(s)[0] = 1;
		secret_unref(secret_ref(shared));
		secret_unref(s);
	}
	return NULL;
}

START_TEST(threads)
{
	struct secret *shared = secret_new(32);
	pthread_t t[4];

	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, worker, shared), 0);
	for (size_t i = 0; i < 4; i++) {
		void *failed;

		ck_assert_int_eq(pthread_join(t[i], &failed), 0);
		ck_assert_ptr_null(failed);
	}
	secret_unref(shared);
	ck_assert_uint_eq(secret_count(), 0);
}
END_TEST

/* What the kernel says of the memory that p is in: its VmFlags, "" when it is unknown. */
static void flags_of(const void *p, char *out, size_t out_size)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long at = (unsigned long)p, begin, end;
	bool inside = false;
	char line[512];

	out[0] = '\0';
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
			inside = at >= begin && at < end;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			snprintf(out, out_size, "%s", line + 8);
	}
	fclose(f);
}

START_TEST(locked_and_not_dumped)
{
	SCOPED_SECRET *small = secret_new(32);
	SCOPED_SECRET *large = secret_new(512);
	void *scratch = secret_scratch_new();
	const void *all[3] = {NULL, NULL, scratch};
	char flags[512];

	ck_assert_int_eq(secret_setup(), 0);
	ck_assert_ptr_nonnull(scratch);
	all[0] = secret_bytes(small).data;
	all[1] = secret_bytes(large).data;
	for (size_t i = 0; i < 3; i++) {
		flags_of(all[i], flags, sizeof(flags));
		ck_assert_msg(strstr(flags, " dd") != NULL, "in core dumps: %s", flags);
		ck_assert_msg(strstr(flags, " lo") != NULL, "not locked: %s", flags);
	}
	secret_scratch_free(scratch);
	secret_scratch_free(NULL);
}
END_TEST

/* The slot of a dropped secret is looked at: it is still mapped, and clean. */
START_TEST(wiped)
{
	struct secret *s = secret_copy(bytes_text("a canary in its cage"));
	const uint8_t *at = secret_bytes(s).data;

	secret_unref(s);
	for (size_t i = 0; i < 20; i++)
		ck_assert_uint_eq(at[i], 0);
}
END_TEST

#if defined(__SANITIZE_ADDRESS__)
#define SLABS 0
#else
#define SLABS 1
#endif

int main(void)
{
	Suite *suite = suite_create("secret");
	TCase *t = tcase_create("secret");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, sizes);
	tcase_add_test(t, references);
	tcase_add_test(t, scope);
	tcase_add_test(t, comparison);
	tcase_add_test(t, randomness);
	tcase_add_test(t, randomness_after_fork);
	tcase_add_test(t, many);
	tcase_add_test(t, threads);
	if (SLABS && !getenv("PNGW_VALGRIND")) {
		tcase_add_test(t, locked_and_not_dumped);
		tcase_add_test(t, wiped);
	}
	suite_add_tcase(suite, t);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
