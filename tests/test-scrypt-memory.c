/*
 * scrypt's result is one HMAC away from the last state of its block. Whoever finds that in a core
 * image guesses passphrases at the price of a hash: it must not stay behind in freed memory.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "protocol/p1.h"

#define NEEDLE 16
#define MASK   0x5a
#define PAGE   4096

/*
 * Bytes 512 to 527 of the block for the passphrase "horse battery", salt "staple", 2^10, 8, 1,
 * after the last step and before the first, computed by hashlib and 40 lines of Python; each XOR
 * MASK, so that the test itself is not what it finds.
 */
static const uint8_t masked[2][NEEDLE] = {
	{0x6b, 0xf1, 0x18, 0x3e, 0x71, 0xd0, 0xc5, 0x24, 0xd5, 0x90, 0x78, 0x56, 0xe8, 0x5d, 0x58,
	 0x05},
	{0x3b, 0xfc, 0xf1, 0x2c, 0x7b, 0x14, 0x3d, 0xe6, 0x5f, 0xe5, 0xb4, 0x65, 0x77, 0xa3, 0xc0,
	 0x08},
};

static bool at(const uint8_t *p, const uint8_t needle[NEEDLE])
{
	for (size_t i = 0; i < NEEDLE; i++) {
		if ((p[i] ^ MASK) != needle[i])
			return false;
	}
	return true;
}

/* Pages overlap by a needle, so that none is missed where two meet. */
static unsigned search_range(int memory, unsigned long from, unsigned long to,
			     const uint8_t needle[NEEDLE])
{
	static uint8_t buffer[PAGE + NEEDLE];
	unsigned found = 0;

	for (; from + NEEDLE <= to; from += PAGE) {
		size_t size = to - from < sizeof(buffer) ? to - from : sizeof(buffer);
		ssize_t n = pread(memory, buffer, size, (off_t)from);

		for (ssize_t i = 0; i + NEEDLE <= n; i++)
			found += at(buffer + i, needle);
		memset(buffer, 0, sizeof(buffer));
	}
	return found;
}

static unsigned search(const uint8_t needle[NEEDLE])
{
	FILE *maps = fopen("/proc/self/maps", "r");
	int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	unsigned long from, to;
	unsigned found = 0;
	char line[512];

	ck_assert_ptr_nonnull(maps);
	ck_assert_int_ge(memory, 0);
	while (fgets(line, sizeof(line), maps)) {
		char mode[8] = "";

		if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) == 3 && mode[0] == 'r' &&
		    mode[1] == 'w')
			found += search_range(memory, from, to, needle);
	}
	(void)fclose(maps);
	(void)close(memory);
	return found;
}

START_TEST(nothing_stays_behind)
{
	SCOPED_SECRET *passphrase = secret_copy(bytes_text("horse battery"));
	struct secret *key = NULL;
	uint8_t *planted = malloc(PAGE);

	/* What is there is found. */
	ck_assert_ptr_nonnull(planted);
	for (size_t i = 0; i < NEEDLE; i++)
		planted[100 + i] = masked[0][i] ^ MASK;
	ck_assert_uint_ge(search(masked[0]), 1);
	wipe(planted, PAGE);
	free(planted);
	ck_assert_uint_eq(search(masked[0]), 0);

	ck_assert_int_eq(p1_scrypt(passphrase, bytes_text("staple"), 10, 8, 1, &key), 0);
	secret_clear(&key);
	ck_assert_uint_eq(search(masked[0]), 0);
	ck_assert_uint_eq(search(masked[1]), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("scrypt memory");
	TCase *t = tcase_create("memory");
	SRunner *runner;
	int failed;

	/* Those keep freed memory aside, which is not what happens in service. */
#if !defined(__SANITIZE_ADDRESS__)
	if (!getenv("PNGW_VALGRIND"))
		tcase_add_test(t, nothing_stays_behind);
#else
	(void)nothing_stays_behind;
#endif
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
