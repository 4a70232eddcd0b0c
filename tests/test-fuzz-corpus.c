/*
 * Runs the fuzzers' corpora through the same functions without a fuzzer: each file as it is, each
 * beginning of it, and with each byte changed. A file called valid-* must be taken and one called
 * bad-* refused; any other only has to do no harm.
 */

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/secret.h"
#include "tests/fuzz/fuzz.h"

#define INPUT_MAX 65536

/* Changed copies of one file, spread evenly. */
#define CHANGES_MAX      4096
#define CHANGES_VALGRIND 32

static const struct {
	const char *name;
	bool (*run)(struct bytes input);
} targets[] = {
	{"message", fuzz_message}, {"frame", fuzz_frame},   {"link", fuzz_link},
	{"digest", fuzz_digest},   {"bundle", fuzz_bundle},
};

/* Copies into memory of exactly that size, so that a read beyond the end is seen. */
static bool run_copy(bool (*run)(struct bytes input), const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);
	bool taken;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, data, size);
	taken = run(bytes_of(copy, size));
	free(copy);
	return taken;
}

static void run_file(bool (*run)(struct bytes input), const char *folder, const char *name)
{
	static uint8_t data[INPUT_MAX];
	size_t size, step;
	char path[1024];
	FILE *file;
	bool taken;

	ck_assert_int_lt(snprintf(path, sizeof(path), "%s/%s", folder, name), (int)sizeof(path));
	file = fopen(path, "rb");
	ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
	size = fread(data, 1, sizeof(data), file);
	fclose(file);

	taken = run_copy(run, data, size);
	if (strncmp(name, "valid-", 6) == 0)
		ck_assert_msg(taken, "%s was refused", path);
	if (strncmp(name, "bad-", 4) == 0)
		ck_assert_msg(!taken, "%s was taken", path);

	step = 1 + size / (getenv("PNGW_VALGRIND") ? CHANGES_VALGRIND : CHANGES_MAX);
	for (size_t i = 0; i < size; i += step) {
		uint8_t kept = data[i];

		(void)run_copy(run, data, i);
		data[i] = (uint8_t)(kept ^ (1 << i % 8));
		(void)run_copy(run, data, size);
		data[i] = kept;
	}
}

START_TEST(corpus)
{
	const char *source = getenv("PNGW_SRCDIR");
	struct dirent *entry;
	unsigned files = 0;
	char folder[512];
	DIR *dir;

	ck_assert_int_lt(snprintf(folder, sizeof(folder), "%s/tests/fuzz/corpus/%s",
				  source ? source : ".", targets[_i].name),
			 (int)sizeof(folder));
	dir = opendir(folder);
	ck_assert_msg(dir != NULL, "%s: %s", folder, strerror(errno));
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		run_file(targets[_i].run, folder, entry->d_name);
		files++;
	}
	closedir(dir);
	ck_assert_uint_gt(files, 0);
	ck_assert_uint_eq(secret_count(), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fuzz-corpus");
	TCase *tcase = tcase_create("corpus");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 300);
	tcase_add_loop_test(tcase, corpus, 0, (int)(sizeof(targets) / sizeof(targets[0])));
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
