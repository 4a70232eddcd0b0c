#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/credential.h"

static char path[64];
static char why[160];

static int resolve(const char *setting)
{
	why[0] = '\0';
	path[0] = '\0';
	return credential_path(setting, path, sizeof(path), why, sizeof(why));
}

START_TEST(paths)
{
	unsetenv("CREDENTIALS_DIRECTORY");
	ck_assert_int_eq(resolve("/etc/pngw/key"), 0);
	ck_assert_str_eq(path, "/etc/pngw/key");
	ck_assert_int_eq(resolve("credential:key"), -ENOENT);
	ck_assert_ptr_nonnull(strstr(why, "CREDENTIALS_DIRECTORY"));
	setenv("CREDENTIALS_DIRECTORY", "relative", 1);
	ck_assert_int_eq(resolve("credential:key"), -ENOENT);
	setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x", 1);
	ck_assert_int_eq(resolve("credential:key"), 0);
	ck_assert_str_eq(path, "/run/credentials/x/key");
	ck_assert_int_eq(resolve("/etc/pngw/key"), 0);
	ck_assert_str_eq(path, "/etc/pngw/key");
	ck_assert_int_eq(resolve("credential:"), -EINVAL);
	ck_assert_int_eq(resolve("credential:."), -EINVAL);
	ck_assert_int_eq(resolve("credential:.."), -EINVAL);
	ck_assert_int_eq(resolve("credential:../key"), -EINVAL);
	ck_assert_int_eq(
		resolve("credential:0123456789012345678901234567890123456789012345678901234567890"),
		-ENAMETOOLONG);
}
END_TEST

START_TEST(modes)
{
	unsetenv("CREDENTIALS_DIRECTORY");
	ck_assert_uint_eq(credential_forbidden("/run/credentials/x/key"), 077);
	setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x/", 1);
	ck_assert_uint_eq(credential_forbidden("/run/credentials/x/key"), 037);
	ck_assert_uint_eq(credential_forbidden("/run/credentials/x/y/key"), 077);
	ck_assert_uint_eq(credential_forbidden("/run/credentials/x/.."), 077);
	ck_assert_uint_eq(credential_forbidden("/run/credentials/xy/key"), 077);
	ck_assert_uint_eq(credential_forbidden("/etc/key"), 077);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("credentials");
	TCase *tcase = tcase_create("credentials");
	SRunner *runner;
	int failed;

	tcase_add_test(tcase, paths);
	tcase_add_test(tcase, modes);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
