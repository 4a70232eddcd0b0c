/* What is damaged in the PN GW's vault is told in the same words, in pieces of any size. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>
#include <sqlite3.h>

#include "gateway/health.h"
#include "storage/vault.h"

static char folder[] = "/tmp/test-health-XXXXXX";
static char path[64], key[64];

static struct vault *open_vault(bool create)
{
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key};
	struct vault_options options = {
		.path = path, .openers = &opener, .opener_count = 1, .create = create};
	struct vault *v = NULL;
	char why[256] = "";
	int r = vault_open(&options, &v, why, sizeof(why));

	ck_assert_msg(r == 0, "vault_open: %d %s", r, why);
	return v;
}

static void put(struct vault_batch *b, enum vault_kind kind, const char *owner, const char *item)
{
	struct vault_id id = {kind, bytes_text(owner), bytes_text(item)};

	vault_batch_put(b, &id, bytes_text("content"));
}

static void commit(struct vault *v, struct vault_batch *b)
{
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
}

/* Sequences go up with each record that is put: those after `after` are altered. */
static void alter(int64_t after)
{
	char text[160];
	sqlite3 *db;

	(void)snprintf(text, sizeof(text),
		       "UPDATE record SET sealed = zeroblob(length(sealed)) WHERE sequence > %lld",
		       (long long)after);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_gt(sqlite3_changes(db), 0);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

static int64_t newest(void)
{
	sqlite3_stmt *s;
	sqlite3 *db;
	int64_t n;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT max(sequence) FROM record", -1, &s, NULL),
			 SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(s), SQLITE_ROW);
	n = sqlite3_column_int64(s, 0);
	ck_assert_int_eq(sqlite3_finalize(s), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	return n;
}

/* Returns in how many pieces. */
static unsigned examine(size_t most, struct gateway_health *out)
{
	struct name self;
	struct gateway_health_scan *x;
	struct vault *v = open_vault(false);
	unsigned pieces = 1;
	int r;

	ck_assert_int_eq(name_set(&self, bytes_text("gateway-1")), 0);
	ck_assert_int_eq(gateway_health_new(v, &self, &x), 0);
	while ((r = gateway_health_some(x, most, out)) == 1)
		pieces++;
	ck_assert_int_eq(r, 0);
	gateway_health_free(x);
	vault_close(v);
	return pieces;
}

START_TEST(in_pieces)
{
	static const size_t pieces[] = {1, 3, 1000};
	struct vault *v = open_vault(true);
	struct vault_batch *b = vault_batch_new();
	struct gateway_health health;
	int64_t sound;

	for (int i = 0; i < 8; i++) {
		char owner[24];

		(void)snprintf(owner, sizeof(owner), "headset-%d", i);
		put(b, VAULT_PNE, owner, "");
		put(b, VAULT_EUKEY, owner, "1");
	}
	commit(v, b);
	vault_close(v);
	sound = newest();
	for (size_t i = 0; i < 3; i++) {
		ck_assert_uint_ge(examine(pieces[i], &health), 16 / pieces[i]);
		ck_assert_uint_eq(health.count, 0);
	}

	v = open_vault(false);
	b = vault_batch_new();
	put(b, VAULT_EUKEY, "headset-2", "2");
	put(b, VAULT_EUKEY, "headset-2", "3");
	put(b, VAULT_IDENTITY, "gateway-1", "");
	commit(v, b);
	vault_close(v);
	alter(sound);
	for (size_t i = 0; i < 3; i++) {
		(void)examine(pieces[i], &health);
		ck_assert_uint_eq(health.count, 2);
		ck_assert_str_eq(health.lines[0], "the vault has 1 damaged record (the PN GW's "
						  "owner) of gateway-1: run Figure 8 again");
		ck_assert_str_eq(health.lines[1],
				 "the vault has 2 damaged records (EUKeys) of headset-2: run "
				 "Figure 6 or 7 for it again");
	}
}
END_TEST

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/vault", folder);
	(void)snprintf(key, sizeof(key), "%s/key", folder);
}

static void teardown(void)
{
	(void)unlink(path);
	(void)unlink(key);
	ck_assert_int_eq(rmdir(folder), 0);
	ck_assert_uint_eq(secret_count(), 0);
}

int main(void)
{
	Suite *s = suite_create("health");
	TCase *t = tcase_create("health");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, in_pieces);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
