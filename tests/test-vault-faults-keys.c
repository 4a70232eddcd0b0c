/*
 * Every operation of the disk and every allocation fails once, and from some moment on, while keys
 * change, everything is sealed anew and a backup is made: each outcome is what was told, and once
 * the fault is gone the vault goes on to the end of it.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "fault-memory.h"
#include "fault-vfs.h"
#include "storage/vault-backup.h"
#include "storage/vault-manage.h"
#include "vault-model.h"

#define RECORDS 50

static char base[64];
static char folder[80];
static char why[256];
static char scene[128];

static struct {
	struct vault *v;
	struct vault_prepared second;
	int told;
	int failures;
	bool added;
	bool began;
	bool backed_up;
} world;

static void path_of(char out[120], const char *name)
{
	(void)snprintf(out, 120, "%s/%s", folder, name);
}

static void empty_folder(void)
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
}

/* Key files lie outside of the folder that fails. */
static void setup(void)
{
	char key_file[120];
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_file};

	strcpy(base, access("/dev/shm", W_OK) == 0 ? "/dev/shm/test-faults-keys-XXXXXX"
						   : "/tmp/test-faults-keys-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(base));
	(void)snprintf(folder, sizeof(folder), "%s/vault", base);
	ck_assert_int_eq(mkdir(folder, 0700), 0);
	(void)snprintf(key_file, sizeof(key_file), "%s/key-2", base);
	ck_assert_int_eq(vault_wrap_prepare(&opener, NULL, true, &world.second, why, sizeof(why)),
			 0);
	fault_vfs_register(false);
	fault_checkpoint_pages = 5;
}

static void teardown(void)
{
	char path[120];

	empty_folder();
	ck_assert_int_eq(rmdir(folder), 0);
	for (int key = 1; key <= 2; key++) {
		(void)snprintf(path, sizeof(path), "%s/key-%d", base, key);
		ck_assert_int_eq(unlink(path), 0);
	}
	ck_assert_int_eq(rmdir(base), 0);
	vault_prepared_clear(&world.second);
	ck_assert_uint_eq(secret_count(), 0);
}

static int try_open(const char *name, int key, struct vault **out)
{
	char path[120], key_file[120];
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_file};
	struct vault_options options = {
		.path = path, .openers = &opener, .opener_count = 1, .vfs = FAULT_VFS};

	path_of(path, name);
	(void)snprintf(key_file, sizeof(key_file), "%s/key-%d", base, key);
	return vault_open(&options, out, why, sizeof(why));
}

static void must_open(int key)
{
	int r = try_open("vault", key, &world.v);

	ck_assert_msg(r == 0, "%s: key %d: %d %s", scene, key, r, why);
}

static void on_done(void *arg, int result)
{
	(void)arg;
	world.told = result;
}

static void put_one(unsigned item)
{
	struct vault_batch *b = model_batch();
	char text[16];
	int r = -ENOMEM;

	(void)snprintf(text, sizeof(text), "%u", item);
	model_put(b, VAULT_EUKEY, item % 2 ? "pne-1" : "pne-2", text, 60 + item % 40);
	if (b) {
		fault_memory_arm(true);
		r = vault_submit(world.v, b, on_done, NULL);
		if (r == 0) {
			(void)vault_flush(world.v);
			r = world.told;
		}
		fault_memory_arm(false);
	}
	if (r == 0)
		return;
	world.failures++;
	model_take_back();
}

static void expect_model(struct vault *v, const char *when)
{
	char reason[160] = "";
	int found = model_match(v, model_batches(), model_batches(), reason, sizeof(reason));

	ck_assert_msg(found >= 0, "%s, %s: %s", scene, when, reason);
}

/* A vault with a little in it, that the first key opens. */
static void make_vault(void)
{
	char path[120], key_file[120];
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_file};
	struct vault_options options = {.path = path,
					.openers = &opener,
					.opener_count = 1,
					.create = true,
					.vfs = FAULT_VFS};

	empty_folder();
	model_reset();
	path_of(path, "vault");
	(void)snprintf(key_file, sizeof(key_file), "%s/key-1", base);
	(void)unlink(key_file);
	ck_assert_int_eq(vault_open(&options, &world.v, why, sizeof(why)), 0);
	for (unsigned i = 0; i < RECORDS; i += 10)
		put_one(i);
	ck_assert_int_eq(world.failures, 0);
}

static int make_backup(void)
{
	struct vault_backup *b = NULL;
	char path[120];
	int r;

	path_of(path, "backup");
	r = vault_backup_begin(world.v, path, &b, why, sizeof(why));
	while (r == 0) {
		r = vault_backup_step(b, 3, why, sizeof(why));
		if (r != VAULT_BACKUP_MORE)
			break;
		r = 0;
	}
	vault_backup_end(b);
	return r;
}

/* What is done under the fault. */
static void workload(void)
{
	uint8_t slot = 0;
	int added, began;

	fault_memory_arm(true);
	added = vault_wrap_add(world.v, &world.second, &slot, why, sizeof(why));
	began = vault_rekey_begin(world.v, why, sizeof(why));
	fault_memory_arm(false);
	ck_assert_msg(added <= 0, "%s: adding a wrap gives %d", scene, added);
	/* A sender that cannot be read for now looks like one that is damaged. */
	ck_assert_msg(began <= 0 || began == VAULT_REFUSED, "%s: beginning gives %d", scene, began);
	world.added = added == 0;
	world.began = began == 0;
	for (unsigned i = 1; i < 4; i++)
		put_one(i);
	fault_memory_arm(true);
	world.backed_up = make_backup() == 0;
	fault_memory_arm(false);
	if (!world.backed_up)
		world.failures++;
	world.failures += !world.added + !world.began;
}

static void finish_rekeying(void)
{
	struct vault_rekey_progress p;

	for (int n = 0; n < 60; n++) {
		vault_rekey_progress(world.v, &p);
		if (p.from == 0 && !vault_rekey_pending(world.v))
			break;
		(void)vault_flush(world.v);
	}
	ck_assert_msg(p.from == 0 && p.error == 0, "%s: does not end: %d", scene, p.error);
	ck_assert_msg(p.damaged == 0, "%s: damaged", scene);
	ck_assert_msg(p.to == (world.began ? 2 : 1), "%s: generation %u", scene, p.to);
}

static void afterwards(void)
{
	struct vault *v = NULL;
	char path[120];
	int failures;
	int r;

	fault_plan(NULL);
	fault_memory_plan(0, false);
	expect_model(world.v, "fault gone");
	failures = world.failures;
	put_one(RECORDS);
	ck_assert_msg(world.failures == failures, "%s: fault gone, but a batch fails: %d", scene,
		      world.told);
	finish_rekeying();
	expect_model(world.v, "sealed anew");
	ck_assert_int_eq(vault_check_rows(world.v, why, sizeof(why)), 0);
	vault_close(world.v);
	must_open(1);
	expect_model(world.v, "opened again");
	vault_close(world.v);
	r = try_open("vault", 2, &v);
	ck_assert_msg((r == 0) == world.added, "%s: the added key opens: %d", scene, r);
	vault_close(v);
	v = NULL;
	path_of(path, "backup.new");
	ck_assert_msg(access(path, F_OK) != 0, "%s: a backup's rest is left", scene);
	r = try_open("backup", 1, &v);
	ck_assert_msg(r == 0 || !world.backed_up, "%s: backup: %d %s", scene, r, why);
	vault_close(v);
	world.v = NULL;
}

static void begin_run(const char *what, unsigned at, const char *how)
{
	struct vault_prepared second = world.second;

	(void)snprintf(scene, sizeof(scene), "%s %u %s", what, at, how);
	memset(&world, 0, sizeof(world));
	world.second = second;
	fault_plan(NULL);
	fault_memory_plan(0, false);
	make_vault();
}

static unsigned step_by(void)
{
	return getenv("PNGW_VALGRIND") ? 37 : 1;
}

/* The state that the vault is in, of the two it may be in. */
static unsigned state_now(unsigned backed_up, unsigned latest)
{
	char reason[160] = "";
	unsigned state = latest;

	must_open(1);
	if (model_match(world.v, latest, latest, reason, sizeof(reason)) < 0) {
		state = backed_up;
		ck_assert_msg(model_match(world.v, state, state, reason, sizeof(reason)) >= 0,
			      "%s: neither the old nor the restored one: %s", scene, reason);
	}
	vault_close(world.v);
	world.v = NULL;
	return state;
}

/* A restore that fails leaves the vault as it was, or has replaced it already. */
static void restore(unsigned backed_up, unsigned latest)
{
	char path[120], backup[120], key_file[120];
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_file};
	struct vault_options options = {
		.path = path, .openers = &opener, .opener_count = 1, .vfs = FAULT_VFS};
	struct vault_drill drill;
	unsigned state;
	int r;

	path_of(path, "vault");
	path_of(backup, "backup");
	(void)snprintf(key_file, sizeof(key_file), "%s/key-1", base);
	fault_memory_arm(true);
	r = vault_restore(&options, backup, &drill, why, sizeof(why));
	fault_memory_arm(false);
	world.failures = r != 0;
	ck_assert_msg(r == 0 || strlen(why) > 10, "%s: no explanation for %d", scene, r);
	world.told = fault_struck() > 0 || fault_memory_struck() > 0;
	fault_plan(NULL);
	fault_memory_plan(0, false);
	state = state_now(backed_up, latest);
	ck_assert_msg(r != 0 || state == backed_up, "%s: not restored", scene);
	r = vault_restore(&options, backup, &drill, why, sizeof(why));
	ck_assert_msg(r == 0, "%s: fault gone, but %d %s", scene, r, why);
	ck_assert_uint_eq(state_now(backed_up, latest), backed_up);
}

/* Up to the fault, which the caller plans. */
static void before_restore(const char *what, unsigned at, unsigned *backed_up, unsigned *latest)
{
	begin_run(what, at, "while restoring");
	*backed_up = model_batches();
	ck_assert_int_eq(make_backup(), 0);
	put_one(1);
	put_one(2);
	*latest = model_batches();
	ck_assert_int_eq(world.failures, 0);
	vault_close(world.v);
}

START_TEST(restoring)
{
	unsigned runs = 0, failures = 0;
	unsigned backed_up, latest;

	for (int o = 0; o <= FAULT_OPERATIONS; o++) {
		world.told = 1;
		for (unsigned at = 1; world.told; at += step_by()) {
			struct fault f = {(enum fault_operation)o, at, FAULT_IO, at % 2 != 0, 0};

			before_restore(o < FAULT_OPERATIONS ? "operation" : "allocation", at,
				       &backed_up, &latest);
			if (o < FAULT_OPERATIONS)
				fault_plan(&f);
			else
				fault_memory_plan(at, false);
			restore(backed_up, latest);
			failures += world.failures > 0;
			runs++;
		}
	}
	ck_assert_uint_gt(4 * failures, runs);
	printf("restoring: %u runs, %u of them failed\n", runs, failures);
	(void)fflush(stdout);
}
END_TEST

START_TEST(disk)
{
	static const char *const operations[] = {"read",     "write",  "sync",
						 "truncate", "delete", "open"};
	unsigned runs = 0, failures = 0;

	for (int o = 0; o < FAULT_OPERATIONS; o++) {
		for (int lasting = 0; lasting < 2; lasting++) {
			unsigned struck = 1;

			for (unsigned at = 1; struck > 0; at += step_by()) {
				struct fault f = {(enum fault_operation)o, at,
						  o == FAULT_WRITE && at % 2 ? FAULT_FULL
									     : FAULT_IO,
						  lasting != 0, 0};

				begin_run(operations[o], at, lasting ? "from there on" : "once");
				fault_plan(&f);
				workload();
				struck = fault_struck();
				failures += world.failures > 0;
				afterwards();
				runs++;
			}
		}
	}
	ck_assert_uint_gt(4 * failures, runs);
	printf("keys on a failing disk: %u runs, something failed in %u\n", runs, failures);
	(void)fflush(stdout);
}
END_TEST

START_TEST(memory)
{
	unsigned runs = 0, failures = 0;
	unsigned struck = 1;

	for (unsigned at = 1; struck > 0; at += step_by()) {
		begin_run("allocation", at, "fails");
		fault_memory_plan(at, at % 2 == 0);
		workload();
		struck = fault_memory_struck();
		failures += world.failures > 0;
		afterwards();
		runs++;
	}
	ck_assert_uint_gt(4 * failures, runs);
	printf("keys without memory: %u runs, something failed in %u\n", runs, failures);
	(void)fflush(stdout);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vault faults keys");
	TCase *t = tcase_create("faults");
	SRunner *r;
	int failed;

	if (!fault_memory_register())
		return 1;
	tcase_set_timeout(t, 240);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, disk);
	tcase_add_test(t, memory);
	tcase_add_test(t, restoring);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
