/*
 * The power goes at every write and every flush of what changes a vault's keys, or the vault as a
 * whole: wraps, re-keying, backup and restore.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "fault-vfs.h"
#include "storage/vault-backup.h"
#include "storage/vault-manage.h"
#include "vault-model.h"

static char base[64];
static char live[80];
static char after[80];
static char why[256];
static size_t states;

static struct {
	struct vault *v;
	unsigned acknowledged;
} world;

static void make_folder(char *out, size_t size, const char *name)
{
	(void)snprintf(out, size, "%s/%s", base, name);
	ck_assert_int_eq(mkdir(out, 0700), 0);
}

static void setup(void)
{
	strcpy(base, access("/dev/shm", W_OK) == 0 ? "/dev/shm/test-power-keys-XXXXXX"
						   : "/tmp/test-power-keys-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(base));
	make_folder(live, sizeof(live), "live");
	make_folder(after, sizeof(after), "after");
	fault_vfs_register(false);
	fault_plan(NULL);
	fault_checkpoint_pages = 0;
	model_reset();
	world.v = NULL;
	world.acknowledged = 0;
	states = 0;
}

static void remove_folder(const char *folder)
{
	struct dirent *e;
	DIR *dir = opendir(folder);
	char path[400];

	ck_assert_ptr_nonnull(dir);
	while ((e = readdir(dir))) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		if (e->d_name[0] != '.')
			ck_assert_int_eq(unlink(path), 0);
	}
	(void)closedir(dir);
	ck_assert_int_eq(rmdir(folder), 0);
}

static void teardown(void)
{
	remove_folder(live);
	remove_folder(after);
	ck_assert_int_eq(rmdir(base), 0);
	ck_assert_uint_eq(secret_count(), 0);
}

/* Key files are kept in the base folder, which loses nothing. */
static int try_key(const char *folder, const char *name, unsigned key, bool create,
		   struct vault **out)
{
	char path[120], key_file[120];
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_file};
	struct vault_options options = {.path = path,
					.openers = &opener,
					.opener_count = 1,
					.create = create,
					.vfs = FAULT_VFS};

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	(void)snprintf(key_file, sizeof(key_file), "%s/key-%u", base, key);
	return vault_open(&options, out, why, sizeof(why));
}

static void open_live(bool create)
{
	int r = try_key(live, "vault", 1, create, &world.v);

	ck_assert_msg(r == 0, "vault_open: %d %s", r, why);
}

static void on_done(void *arg, int result)
{
	(void)arg;
	ck_assert_int_eq(result, 0);
	world.acknowledged++;
}

static void put_one(const char *owner, unsigned item, size_t size)
{
	struct vault_batch *b = model_batch();
	char text[16];

	(void)snprintf(text, sizeof(text), "%u", item);
	model_put(b, VAULT_EUKEY, owner, text, size);
	ck_assert_int_eq(vault_submit(world.v, b, on_done, NULL), 0);
	disk_mark(world.acknowledged, model_batches());
}

static void flush(void)
{
	(void)vault_flush(world.v);
	ck_assert_uint_eq(world.acknowledged, model_batches());
	disk_mark(world.acknowledged, model_batches());
}

static void fill(unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++)
		put_one(i % 2 ? "pne-1" : "pne-2", i, 60 + i % 50);
	flush();
}

static void add_key(unsigned key)
{
	char key_file[120];
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_file};
	struct vault_prepared p = {.secret = NULL};
	uint8_t slot = 0;

	(void)snprintf(key_file, sizeof(key_file), "%s/key-%u", base, key);
	ck_assert_int_eq(vault_wrap_prepare(&opener, NULL, true, &p, why, sizeof(why)), 0);
	ck_assert_int_eq(vault_wrap_add(world.v, &p, &slot, why, sizeof(why)), 0);
	vault_prepared_clear(&p);
}

static void expect_match(struct vault *v, const struct disk_state *state, const char *when)
{
	char reason[160];
	int found = model_match(v, state->acknowledged, state->submitted, reason, sizeof(reason));

	ck_assert_msg(found >= 0, "%s, state %zu at %zu, batches %u to %u: %s", when, state->number,
		      state->position, state->acknowledged, state->submitted, reason);
}

static bool sampling(void)
{
	return getenv("PNGW_VALGRIND") != NULL;
}

static size_t most_states(void)
{
#if defined(__SANITIZE_ADDRESS__)
	return sampling() ? 20 : 400;
#else
	return sampling() ? 20 : 3000;
#endif
}

static void examine(struct disk *d, disk_state_fn *each, const char *what)
{
	const struct disk_limits limits = {8, 24, most_states(), sampling()};

	disk_stop(d);
	(void)disk_each_state(d, &limits, after, each, NULL);
	disk_free(d);
	ck_assert_uint_gt(states, 10);
	printf("%s: %zu states after a power cut\n", what, states);
	(void)fflush(stdout);
}

static void remove_keys(void)
{
	for (unsigned key = 1; key <= 3; key++) {
		char key_file[120];

		(void)snprintf(key_file, sizeof(key_file), "%s/key-%u", base, key);
		(void)unlink(key_file);
	}
}

/* Either key opens it, it holds what it must, and re-keying goes on to its end. */
static void after_rekey_cut(void *arg, const struct disk_state *state)
{
	unsigned key = 1 + (unsigned)state->number % 2;
	struct vault_rekey_progress p;
	struct vault *v = NULL;
	int r = try_key(after, "vault", key, false, &v);

	(void)arg;
	ck_assert_msg(r == 0, "state %zu at %zu, key %u: %d %s", state->number, state->position,
		      key, r, why);
	expect_match(v, state, "cut while re-keying");
	for (unsigned n = 0; vault_rekey_pending(v); n++) {
		ck_assert_uint_lt(n, 50);
		(void)vault_flush(v);
	}
	vault_rekey_progress(v, &p);
	ck_assert_int_eq(p.error, 0);
	ck_assert_uint_eq(p.from, 0);
	ck_assert_uint_eq(p.damaged, 0);
	expect_match(v, state, "re-keyed after the cut");
	vault_close(v);
	r = try_key(after, "vault", 3 - key, false, &v);
	ck_assert_msg(r == 0, "state %zu at %zu, key %u: %d %s", state->number, state->position,
		      3 - key, r, why);
	expect_match(v, state, "opened with the other key");
	vault_close(v);
	states++;
}

START_TEST(power_rekeying)
{
	struct disk *d;
	unsigned next = 60;

	open_live(true);
	fill(0, next);
	add_key(2);
	vault_close(world.v);
	d = disk_record(live, world.acknowledged, model_batches());
	open_live(false);
	ck_assert_int_eq(vault_rekey_begin(world.v, why, sizeof(why)), 0);
	while (vault_rekey_pending(world.v)) {
		put_one("pne-3", next, 80);
		put_one("pne-1", next++ % 7 * 2 + 1, 70);
		flush();
		(void)vault_flush(world.v);
	}
	put_one("pne-3", next, 80);
	flush();
	vault_close(world.v);
	examine(d, after_rekey_cut, "re-keying");
	remove_keys();
}
END_TEST

/* Which keys open it in each of the states that power_wraps goes through, as bits. */
static const unsigned sets[] = {2, 2 | 4, 4, 8};

static void after_wrap_cut(void *arg, const struct disk_state *state)
{
	unsigned set = 0;

	(void)arg;
	for (unsigned key = 1; key <= 3; key++) {
		struct vault *v = NULL;

		if (try_key(after, "vault", key, false, &v) == 0)
			set |= 1U << key;
		vault_close(v);
	}
	ck_assert_msg(set == sets[state->acknowledged] || set == sets[state->submitted],
		      "state %zu at %zu, between %u and %u: opened by %x", state->number,
		      state->position, state->acknowledged, state->submitted, set);
	states++;
}

START_TEST(power_wraps)
{
	struct vault_prepared p = {.secret = NULL};
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE};
	struct disk *d;
	char key_file[120];

	(void)snprintf(key_file, sizeof(key_file), "%s/key-3", base);
	opener.path = key_file;
	open_live(true);
	fill(0, 10);
	vault_close(world.v);
	d = disk_record(live, 0, 0);
	open_live(false);
	disk_mark(0, 1);
	add_key(2);
	disk_mark(1, 2);
	ck_assert_int_eq(vault_wrap_remove(world.v, 1, why, sizeof(why)), 0);
	disk_mark(2, 3);
	ck_assert_int_eq(vault_wrap_prepare(&opener, NULL, true, &p, why, sizeof(why)), 0);
	ck_assert_int_eq(vault_wrap_rotate(world.v, 2, &p, why, sizeof(why)), 0);
	vault_prepared_clear(&p);
	disk_mark(3, 3);
	vault_close(world.v);
	examine(d, after_wrap_cut, "adding, removing and replacing wraps");
	remove_keys();
}
END_TEST

static unsigned backed_up;
static unsigned latest;

/* acknowledged: 0 nothing, 1 the backup, 2 the restore. */
static void after_restore_cut(void *arg, const struct disk_state *state)
{
	struct disk_state is = *state;
	struct vault *v = NULL;
	char reason[160];
	char backup[120];
	int r;

	(void)arg;
	(void)snprintf(backup, sizeof(backup), "%s/backup", after);
	ck_assert(state->acknowledged == 0 || access(backup, F_OK) == 0);
	if (access(backup, F_OK) == 0) {
		r = try_key(after, "backup", 1, false, &v);
		ck_assert_msg(r == 0, "state %zu at %zu: backup: %d %s", state->number,
			      state->position, r, why);
		is.acknowledged = is.submitted = backed_up;
		expect_match(v, &is, "the backup");
		vault_close(v);
	}
	r = try_key(after, "vault", 1, false, &v);
	ck_assert_msg(r == 0, "state %zu at %zu: %d %s", state->number, state->position, r, why);
	is.acknowledged = is.submitted = state->acknowledged == 2 ? backed_up : latest;
	r = model_match(v, is.acknowledged, is.submitted, reason, sizeof(reason));
	if (r < 0 && state->submitted == 2) {
		is.acknowledged = is.submitted = backed_up;
		r = model_match(v, is.acknowledged, is.submitted, reason, sizeof(reason));
	}
	ck_assert_msg(r >= 0, "state %zu at %zu: %s", state->number, state->position, reason);
	vault_close(v);
	states++;
}

START_TEST(power_restore)
{
	char path[120], key_file[120], backup[120];
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_file};
	struct vault_options options = {
		.path = path, .openers = &opener, .opener_count = 1, .vfs = FAULT_VFS};
	struct vault_backup *b = NULL;
	struct vault_drill drill;
	struct disk *d;
	int r;

	(void)snprintf(path, sizeof(path), "%s/vault", live);
	(void)snprintf(backup, sizeof(backup), "%s/backup", live);
	(void)snprintf(key_file, sizeof(key_file), "%s/key-1", base);
	open_live(true);
	fill(0, 20);
	vault_close(world.v);
	d = disk_record(live, 0, 0);
	open_live(false);
	backed_up = latest = model_batches();
	ck_assert_int_eq(vault_backup_begin(world.v, backup, &b, why, sizeof(why)), 0);
	do
		r = vault_backup_step(b, 2, why, sizeof(why));
	while (r == VAULT_BACKUP_MORE);
	ck_assert_msg(r == 0, "%s", why);
	vault_backup_end(b);
	disk_mark(1, 1);
	vault_close(world.v);
	disk_stop(d);
	(void)disk_each_state(d, &(struct disk_limits){8, 24, most_states(), sampling()}, after,
			      after_restore_cut, NULL);
	disk_free(d);
	ck_assert_uint_gt(states, 5);

	open_live(false);
	fill(20, 5);
	vault_close(world.v);
	latest = model_batches();
	d = disk_record(live, 1, 2);
	ck_assert_msg(vault_restore(&options, backup, &drill, why, sizeof(why)) == 0, "%s", why);
	disk_mark(2, 2);
	examine(d, after_restore_cut, "backup and restore");
	remove_keys();
}
END_TEST

/* acknowledged: 1 the vault with what its log holds, 2 the restored one. */
static void after_log_cut(void *arg, const struct disk_state *state)
{
	struct disk_state is = *state;
	struct vault *v = NULL;
	char reason[160];
	int r = try_key(after, "vault", 1, false, &v);

	(void)arg;
	ck_assert_msg(r == 0, "state %zu at %zu: %d %s", state->number, state->position, r, why);
	is.acknowledged = is.submitted = state->acknowledged == 2 ? backed_up : latest;
	r = model_match(v, is.acknowledged, is.submitted, reason, sizeof(reason));
	if (r < 0 && state->submitted == 2)
		r = model_match(v, backed_up, backed_up, reason, sizeof(reason));
	ck_assert_msg(r >= 0, "state %zu at %zu: %s", state->number, state->position, reason);
	vault_close(v);
	states++;
}

/* The replaced vault crashed, and its log cannot be moved into it: the two stay together. */
START_TEST(power_restore_over_a_log)
{
	const struct fault close_fails = {
		.operation = FAULT_WRITE, .kind = FAULT_IO, .at = 1, .lasting = true};
	/* What the restore writes first is that log, when it looks for somebody and when it is
	 * done. */
	const struct fault settling_fails = {
		.operation = FAULT_WRITE, .kind = FAULT_IO, .at = 1, .lasting = true, .times = 2};
	char path[120], log[130], key_file[120], backup[120];
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_file};
	struct vault_options options = {
		.path = path, .openers = &opener, .opener_count = 1, .vfs = FAULT_VFS};
	struct vault_backup *b = NULL;
	struct vault_drill drill;
	struct disk *d;
	int r;

	(void)snprintf(path, sizeof(path), "%s/vault", live);
	(void)snprintf(log, sizeof(log), "%s-wal", path);
	(void)snprintf(backup, sizeof(backup), "%s/backup", live);
	(void)snprintf(key_file, sizeof(key_file), "%s/key-1", base);
	open_live(true);
	fill(0, 20);
	backed_up = model_batches();
	ck_assert_int_eq(vault_backup_begin(world.v, backup, &b, why, sizeof(why)), 0);
	do
		r = vault_backup_step(b, 8, why, sizeof(why));
	while (r == VAULT_BACKUP_MORE);
	ck_assert_msg(r == 0, "%s", why);
	vault_backup_end(b);
	fill(20, 5);
	latest = model_batches();
	fault_plan(&close_fails);
	vault_close(world.v);
	fault_plan(NULL);
	ck_assert_int_eq(access(log, F_OK), 0);

	d = disk_record(live, 1, 2);
	fault_plan(&settling_fails);
	r = vault_restore(&options, backup, &drill, why, sizeof(why));
	ck_assert_msg(r == 0, "%s", why);
	ck_assert_uint_eq(fault_struck(), 2);
	fault_plan(NULL);
	ck_assert_int_ne(access(log, F_OK), 0);
	disk_mark(2, 2);
	examine(d, after_log_cut, "restore over a log");
	remove_keys();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vault power keys");
	TCase *t = tcase_create("power");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, power_rekeying);
	tcase_add_test(t, power_wraps);
	tcase_add_test(t, power_restore);
	tcase_add_test(t, power_restore_over_a_log);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
