/* Opening the vault, which may take a second for a passphrase, does not hold the loop up. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>
#include <uv.h>

#include "gateway/opening.h"
#include "storage/vault.h"

static pthread_t loop_thread;
static bool opened_elsewhere;
static int told;

int __wrap_vault_open(const struct vault_options *options, struct vault **out, char *why,
		      size_t why_size);

/* In the place of vault_open(). */
int __wrap_vault_open(const struct vault_options *options, struct vault **out, char *why,
		      size_t why_size)
{
	(void)options;
	(void)out;
	(void)why;
	(void)why_size;
	opened_elsewhere = !pthread_equal(pthread_self(), loop_thread);
	return -EIO;
}

static void on_opened(void *arg, int result, struct vault *v, const char *why)
{
	(void)arg;
	(void)why;
	ck_assert_int_eq(result, -EIO);
	ck_assert_ptr_null(v);
	ck_assert(pthread_equal(pthread_self(), loop_thread));
	told++;
}

START_TEST(off_the_loop)
{
	static struct config config;
	struct gateway_opening *o = NULL;
	uv_loop_t loop;

	loop_thread = pthread_self();
	strcpy(config.vault_path, "/nonexistent/vault");
	strcpy(config.vault_key_file, "/nonexistent/key");
	config.vault_create = true;
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	ck_assert_int_eq(gateway_opening_start(&loop, &config, on_opened, NULL, &o), 0);
	ck_assert_int_eq(told, 0);
	ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(told, 1);
	ck_assert(opened_elsewhere);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("opening");
	TCase *t = tcase_create("opening");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, off_the_loop);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
