#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "protocol/p1.h"
#include "storage/vault-key.h"
#include "storage/vault-wrap.h"

static char directory[64];
static char file[128];
static char why[512];

static const uint8_t vault_id[VAULT_ID_SIZE] = {1, 2, 3};
static const uint8_t other_id[VAULT_ID_SIZE] = {1, 2, 4};

static void setup(void)
{
	strcpy(directory, "/tmp/test-vault-wrap-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(file, sizeof(file), "%s/key", directory);
	unsetenv("CREDENTIALS_DIRECTORY");
}

static void teardown(void)
{
	unlink(file);
	ck_assert_int_eq(rmdir(directory), 0);
	ck_assert_uint_eq(secret_count(), 0);
}

static struct secret *make_wrap(struct vault_wrap *w, uint8_t slot, struct secret *secret,
				struct secret *master)
{
	struct secret *sender = NULL;

	ck_assert_int_eq(vault_wrap_begin(w, slot, VAULT_SOURCE_KEY_FILE, "main key file"), 0);
	w->generation = 1;
	ck_assert_int_eq(vault_wrap_keys(secret, vault_id, slot, w->public_key, NULL, &sender), 0);
	ck_assert_ptr_nonnull(sender);
	ck_assert_uint_eq(secret_size(sender), KEY_SIZE);
	ck_assert_int_eq(vault_wrap_seal(w, vault_id, sender, master), 0);
	return sender;
}

static void expect_open(const struct vault_wrap *w, struct secret *secret,
			const struct secret *master)
{
	SCOPED_SECRET *opened = NULL;

	ck_assert_int_eq(vault_wrap_open(w, vault_id, secret, &opened), 0);
	ck_assert(secret_equal(opened, master));
}

static void expect_refused(const struct vault_wrap *w, const uint8_t id[VAULT_ID_SIZE],
			   struct secret *secret)
{
	struct secret *opened = NULL;

	ck_assert_int_eq(vault_wrap_open(w, id, secret, &opened), P1_REFUSED);
	ck_assert_ptr_null(opened);
}

START_TEST(round_trip)
{
	SCOPED_SECRET *secret = secret_random(KEY_SIZE);
	SCOPED_SECRET *master = secret_random(KEY_SIZE);
	SCOPED_SECRET *next = secret_random(KEY_SIZE);
	SCOPED_SECRET *sender = NULL;
	struct vault_wrap first, second;

	sender = make_wrap(&first, 3, secret, master);
	expect_open(&first, secret, master);
	/* The next master, with the public key and the sender only. */
	second = first;
	second.generation = 2;
	ck_assert_int_eq(vault_wrap_seal(&second, vault_id, sender, next), 0);
	expect_open(&second, secret, next);
	expect_open(&first, secret, master);
	ck_assert_int_ne(memcmp(first.ephemeral, second.ephemeral, KEY_SIZE), 0);
}
END_TEST

START_TEST(wrong_secret)
{
	SCOPED_SECRET *secret = secret_random(KEY_SIZE);
	SCOPED_SECRET *master = secret_random(KEY_SIZE);
	SCOPED_SECRET *wrong = secret_random(KEY_SIZE);
	SCOPED_SECRET *sender = NULL;
	struct vault_wrap w;

	sender = make_wrap(&w, 1, secret, master);
	expect_refused(&w, vault_id, wrong);
	expect_refused(&w, other_id, secret);
	/* Also where the public key was exchanged for the wrong secret's. */
	sender = (secret_unref(sender), NULL);
	ck_assert_int_eq(vault_wrap_keys(wrong, vault_id, 1, w.public_key, NULL, &sender), 0);
	expect_refused(&w, vault_id, wrong);
	expect_refused(&w, vault_id, secret);
}
END_TEST

START_TEST(every_part_is_bound)
{
	SCOPED_SECRET *secret = secret_random(KEY_SIZE);
	SCOPED_SECRET *master = secret_random(KEY_SIZE);
	SCOPED_SECRET *sender = NULL;
	struct vault_wrap good, w;

	sender = make_wrap(&good, 2, secret, master);
	w = good;
	w.slot = 3;
	expect_refused(&w, vault_id, secret);
	w = good;
	w.generation = 2;
	expect_refused(&w, vault_id, secret);
	w = good;
	w.source = VAULT_SOURCE_PASSPHRASE;
	expect_refused(&w, vault_id, secret);
	w = good;
	w.label[0] = 'M';
	expect_refused(&w, vault_id, secret);
	w = good;
	w.label[strlen(w.label) - 1] = '\0';
	expect_refused(&w, vault_id, secret);
	w = good;
	w.salt[15] ^= 1;
	expect_refused(&w, vault_id, secret);
	w = good;
	w.log_n ^= 1;
	expect_refused(&w, vault_id, secret);
	w = good;
	w.r ^= 1;
	expect_refused(&w, vault_id, secret);
	w = good;
	w.p ^= 1;
	expect_refused(&w, vault_id, secret);
	w = good;
	w.ephemeral[0] ^= 1;
	expect_refused(&w, vault_id, secret);
	memset(w.ephemeral, 0, sizeof(w.ephemeral));
	expect_refused(&w, vault_id, secret);
	for (size_t i = 0; i < sizeof(w.sealed); i++) {
		w = good;
		w.sealed[i] ^= 0x10;
		expect_refused(&w, vault_id, secret);
	}
	expect_open(&good, secret, master);
}
END_TEST

/* What somebody can do who writes to the file, and knows an old master, but no sender. */
START_TEST(forged_without_sender)
{
	SCOPED_SECRET *secret = secret_random(KEY_SIZE);
	SCOPED_SECRET *master = secret_random(KEY_SIZE);
	SCOPED_SECRET *mine = secret_random(KEY_SIZE);
	SCOPED_SECRET *zero = secret_new(KEY_SIZE);
	SCOPED_SECRET *sender = NULL;
	struct vault_wrap w;

	sender = make_wrap(&w, 1, secret, master);
	w.generation = 2;
	ck_assert_int_eq(vault_wrap_seal(&w, vault_id, zero, mine), 0);
	expect_refused(&w, vault_id, secret);
	ck_assert_int_eq(vault_wrap_seal(&w, vault_id, master, mine), 0);
	expect_refused(&w, vault_id, secret);
}
END_TEST

/* A sender of another size is refused and leaves the wrap as it was. */
START_TEST(sender_is_whole)
{
	SCOPED_SECRET *secret = secret_random(KEY_SIZE);
	SCOPED_SECRET *master = secret_random(KEY_SIZE);
	SCOPED_SECRET *longer = secret_random(KEY_SIZE + 1);
	SCOPED_SECRET *sender = NULL;
	struct vault_wrap w, before;

	sender = make_wrap(&w, 1, secret, master);
	before = w;
	ck_assert_int_eq(vault_wrap_seal(&w, vault_id, longer, master), -EINVAL);
	ck_assert_mem_eq(w.sealed, before.sealed, sizeof(w.sealed));
	expect_open(&w, secret, master);
}
END_TEST

START_TEST(begin_checks)
{
	char label[VAULT_LABEL_MAX + 2];
	struct vault_wrap a, b;

	memset(label, 'x', sizeof(label));
	label[VAULT_LABEL_MAX + 1] = '\0';
	ck_assert_int_eq(vault_wrap_begin(&a, 1, VAULT_SOURCE_PASSPHRASE, label), -EINVAL);
	label[VAULT_LABEL_MAX] = '\0';
	ck_assert_int_eq(vault_wrap_begin(&a, 1, VAULT_SOURCE_PASSPHRASE, label), 0);
	ck_assert_int_eq(vault_wrap_begin(&b, 8, VAULT_SOURCE_PASSPHRASE, "b"), 0);
	ck_assert_int_ne(memcmp(a.salt, b.salt, sizeof(a.salt)), 0);
	ck_assert_int_eq(a.log_n, 15);
	ck_assert_int_eq(a.r, 8);
	ck_assert_int_eq(a.p, 1);
	ck_assert_int_eq(vault_wrap_begin(&a, 0, VAULT_SOURCE_KEY_FILE, "x"), -EINVAL);
	ck_assert_int_eq(vault_wrap_begin(&a, 9, VAULT_SOURCE_KEY_FILE, "x"), -EINVAL);
	ck_assert_int_eq(vault_wrap_begin(&a, 1, (enum vault_source)3, "x"), -EINVAL);
	ck_assert_int_eq(vault_wrap_begin(&a, 1, VAULT_SOURCE_KEY_FILE, ""), -EINVAL);
	ck_assert_int_eq(vault_wrap_begin(&a, 1, VAULT_SOURCE_KEY_FILE, "a\nb"), -EINVAL);
}
END_TEST

static int passphrase_secret(const char *typed, const struct vault_wrap *w, struct secret **out)
{
	SCOPED_SECRET *passphrase = typed ? secret_copy(bytes_text(typed)) : NULL;
	struct vault_opener opener = {.source = VAULT_SOURCE_PASSPHRASE, .passphrase = passphrase};

	return vault_wrap_secret(&opener, w, out, why, sizeof(why));
}

START_TEST(passphrases)
{
	SCOPED_SECRET *composed = NULL;
	SCOPED_SECRET *decomposed = NULL;
	SCOPED_SECRET *other = NULL;
	SCOPED_SECRET *none = NULL;
	struct vault_wrap w;

	ck_assert_int_eq(vault_wrap_begin(&w, 1, VAULT_SOURCE_PASSPHRASE, "in my head"), 0);
	ck_assert_int_eq(passphrase_secret("sesam \xc3\xb6"
					   "ffne dich",
					   &w, &composed),
			 0);
	ck_assert_int_eq(passphrase_secret("sesam o\xcc\x88"
					   "ffne dich",
					   &w, &decomposed),
			 0);
	ck_assert(secret_equal(composed, decomposed));
	w.salt[0] ^= 1;
	w.log_n = 4;
	ck_assert_int_eq(passphrase_secret("sesam \xc3\xb6"
					   "ffne dich",
					   &w, &other),
			 0);
	ck_assert(!secret_equal(composed, other));
	ck_assert_int_eq(passphrase_secret(NULL, &w, &none), VAULT_KEY_FILE);
	ck_assert_int_eq(passphrase_secret("a\tb", &w, &none), VAULT_KEY_FILE);
	ck_assert_ptr_nonnull(strstr(why, "control character"));
	/* What an altered row may not make us do. */
	w.log_n = 19;
	ck_assert_int_eq(passphrase_secret("x", &w, &none), VAULT_DAMAGED);
	ck_assert_ptr_nonnull(strstr(why, "2^19, 8, 1"));
	w.log_n = 0;
	ck_assert_int_eq(passphrase_secret("x", &w, &none), VAULT_DAMAGED);
	w.log_n = 4;
	w.r = 0;
	ck_assert_int_eq(passphrase_secret("x", &w, &none), VAULT_DAMAGED);
	w.r = 9;
	ck_assert_int_eq(passphrase_secret("x", &w, &none), VAULT_DAMAGED);
	w.r = 8;
	ck_assert_int_eq(passphrase_secret("x", &w, &none), 0);
	secret_clear(&none);
	w.p = 17;
	ck_assert_int_eq(passphrase_secret("x", &w, &none), VAULT_DAMAGED);
	ck_assert_ptr_null(none);
}
END_TEST

static void write_file(const char *text, mode_t mode)
{
	FILE *f;

	unlink(file);
	f = fopen(file, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(file, mode), 0);
}

static int load(const char *path)
{
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = path};
	SCOPED_SECRET *key = NULL;
	int r;

	strcpy(why, "-");
	r = vault_wrap_secret(&opener, NULL, &key, why, sizeof(why));
	ck_assert_int_eq(r == 0, key != NULL);
	return r;
}

static void refused(const char *path, const char *sentence)
{
	ck_assert_int_eq(load(path), VAULT_KEY_FILE);
	ck_assert_msg(strstr(why, sentence), "'%s' is not in: %s", sentence, why);
}

#define DIGITS "00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100"

START_TEST(key_files)
{
	refused(file, "No such file");
	write_file(DIGITS "\n", 0600);
	ck_assert_int_eq(load(file), 0);
	write_file(DIGITS, 0400);
	ck_assert_int_eq(load(file), 0);
	write_file(DIGITS "\n", 0440);
	refused(file, "(mode 0440): make it 0600");
	write_file(DIGITS "\n", 0602);
	refused(file, "(mode 0602): make it 0600");
	write_file(DIGITS "\n\n", 0600);
	refused(file, "does not hold 64 hex digits");
	write_file(DIGITS "0", 0600);
	refused(file, "does not hold 64 hex digits");
	write_file("", 0600);
	refused(file, "does not hold 64 hex digits");
	write_file("g0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 0600);
	refused(file, "does not hold 64 hex digits");
	refused(directory, "is not an ordinary file");
}
END_TEST

START_TEST(credentials)
{
	refused("credential:key", "no CREDENTIALS_DIRECTORY");
	setenv("CREDENTIALS_DIRECTORY", directory, 1);
	refused("credential:key", "No such file");
	write_file(DIGITS "\n", 0440);
	ck_assert_int_eq(load("credential:key"), 0);
	ck_assert_int_eq(load(file), 0);
	write_file(DIGITS "\n", 0400);
	ck_assert_int_eq(load("credential:key"), 0);
	write_file(DIGITS "\n", 0460);
	refused("credential:key", "make it 0600");
	write_file(DIGITS "\n", 0444);
	refused("credential:key", "make it 0600");
	refused("credential:", "named without slashes");
	refused("credential:../key", "named without slashes");
	refused("credential:..", "named without slashes");
	write_file(DIGITS "\n", 0440);
	setenv("CREDENTIALS_DIRECTORY", "/tmp", 1);
	refused(file, "make it 0600");
	setenv("CREDENTIALS_DIRECTORY", "relative", 1);
	refused("credential:key", "no CREDENTIALS_DIRECTORY");
}
END_TEST

START_TEST(making_key_files)
{
	SCOPED_SECRET *key = secret_random(KEY_SIZE);
	SCOPED_SECRET *loaded = NULL;
	bool there = true;
	struct stat st;

	ck_assert_int_eq(vault_key_exists(file, &there, why, sizeof(why)), 0);
	ck_assert(!there);
	ck_assert_int_eq(vault_key_create(file, key, why, sizeof(why)), 0);
	ck_assert_int_eq(vault_key_exists(file, &there, why, sizeof(why)), 0);
	ck_assert(there);
	ck_assert_int_eq(stat(file, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(vault_key_load(file, &loaded, why, sizeof(why)), 0);
	ck_assert(secret_equal(key, loaded));
	ck_assert_int_eq(vault_key_create(file, key, why, sizeof(why)), -EEXIST);
	ck_assert_int_eq(vault_key_create("credential:x", key, why, sizeof(why)), VAULT_KEY_FILE);
	ck_assert_ptr_nonnull(strstr(why, "systemd-creds"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vault-wrap");
	TCase *t = tcase_create("wraps");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, round_trip);
	tcase_add_test(t, wrong_secret);
	tcase_add_test(t, every_part_is_bound);
	tcase_add_test(t, forged_without_sender);
	tcase_add_test(t, sender_is_whole);
	tcase_add_test(t, begin_checks);
	tcase_add_test(t, passphrases);
	tcase_add_test(t, key_files);
	tcase_add_test(t, credentials);
	tcase_add_test(t, making_key_files);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
