/*
 * Every operation of the disk fails once, and from some moment on: submitters are told the right
 * errno, nothing acknowledged is lost, and the same vault goes on once the disk is well again. The
 * same for memory.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>
#include <sqlite3.h>

#include "fault-memory.h"
#include "fault-vfs.h"
#include "storage/vault-manage.h"
#include "storage/vault.h"
#include "vault-model.h"

static char folder[64];
static char why[256];
static const char *scene = "";

static struct {
	struct vault *v;
	int told[4]; /* of the batches of one flush */
	int tells;
	int failures;
	int failures_before;
	int last_failure;
	uint32_t keys;
	uint32_t facts; /* of batches that were acknowledged */
} world;

static void make_folder(void)
{
	strcpy(folder, access("/dev/shm", W_OK) == 0 ? "/dev/shm/test-faults-XXXXXX"
						     : "/tmp/test-faults-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
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

static void setup(void)
{
	make_folder();
	fault_vfs_register(false);
	fault_checkpoint_pages = 5;
	fault_plan(NULL);
	fault_memory_plan(0, false);
	model_reset();
	model_around = fault_memory_arm;
}

static void teardown(void)
{
	fault_plan(NULL);
	empty_folder();
	ck_assert_int_eq(rmdir(folder), 0);
	ck_assert_uint_eq(secret_count(), 0);
}

static int try_open(bool create, struct vault **out)
{
	char path[120], key[120];
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key};
	struct vault_options options = {.path = path,
					.openers = &opener,
					.opener_count = 1,
					.create = create,
					.vfs = FAULT_VFS};
	int r;

	*out = NULL;
	(void)snprintf(path, sizeof(path), "%s/vault", folder);
	(void)snprintf(key, sizeof(key), "%s/key", folder);
	why[0] = '\0';
	fault_memory_arm(true);
	r = vault_open(&options, out, why, sizeof(why));
	fault_memory_arm(false);
	if (r != 0)
		ck_assert_msg(strlen(why) > 10 && !*out, "%s: %d without a reason", scene, r);
	return r;
}

static void must_open(bool create)
{
	int r = try_open(create, &world.v);

	ck_assert_msg(r == 0, "%s: vault_open: %d %s", scene, r, why);
}

static void close_vault(void)
{
	fault_memory_arm(true);
	vault_close(world.v);
	fault_memory_arm(false);
	world.v = NULL;
}

static void on_done(void *arg, int result)
{
	(void)arg;
	fault_memory_arm(false);
	ck_assert_int_lt(world.tells, 4);
	world.told[world.tells++] = result;
	fault_memory_arm(true);
}

static void failed(int error)
{
	model_take_back();
	world.failures++;
	world.last_failure = error;
}

/* Takes b over; the model keeps only what was queued. */
static int submit(struct vault_batch *b)
{
	int r = -ENOMEM;

	if (b) {
		fault_memory_arm(true);
		r = vault_submit(world.v, b, on_done, NULL);
		fault_memory_arm(false);
	}
	if (r != 0)
		failed(r);
	return r;
}

/* Of a flush with queued batches; all of them have one fate. */
static void flush(int queued)
{
	size_t n;

	if (queued == 0)
		return;
	world.tells = 0;
	fault_memory_arm(true);
	n = vault_flush(world.v);
	fault_memory_arm(false);
	ck_assert_msg(world.tells == queued && n == (size_t)queued, "%s: %d of %d were told", scene,
		      world.tells, queued);
	for (int i = 0; i < queued; i++) {
		ck_assert_msg(world.told[i] <= 0, "%s: told %d", scene, world.told[i]);
		ck_assert_int_eq(world.told[i], world.told[0]);
		if (world.told[i] != 0)
			failed(world.told[i]);
	}
}

/* What is read under a fault is right or refused, never absent where it is there. */
static void read_one(void)
{
	struct vault_id id = {VAULT_PNE, bytes_text("base"), BYTES_NONE};
	struct vault_content c = {NULL, 0};
	int r;

	fault_memory_arm(true);
	r = vault_get(world.v, &id, &c);
	fault_memory_arm(false);
	ck_assert_msg(r == 0 || r == VAULT_DAMAGED || r == -EIO || r == -ENOMEM || r == -EROFS,
		      "%s: a read gives %d", scene, r);
	if (r == 0)
		ck_assert_uint_eq(c.size, 40);
	vault_content_free(&c);
}

/* Each has a key of its own in the ledger. */
static void add_fact(struct vault_batch *b)
{
	struct ledger_fact fact = {.event = LEDGER_ISSUED,
				   .entity = bytes_text("pne-1"),
				   .key_index = ++world.keys,
				   .time = 1000};

	fault_memory_arm(true);
	if (b)
		vault_batch_ledger(b, &fact);
	fault_memory_arm(false);
}

static void write_one(const char *item, size_t size)
{
	struct vault_batch *b = model_batch();

	model_put(b, VAULT_EUKEY, "pne-1", item, size);
	add_fact(b);
	world.failures_before = world.failures;
	flush(submit(b) == 0);
	world.facts += world.failures == world.failures_before;
}

/* The ledger has a fact for each batch that was acknowledged, and no other. */
static void expect_ledger(const struct ledger_state *at)
{
	char path[120], reason[256] = "";

	ck_assert_msg(at->sequence == (world.facts ? world.facts + 1 : 0),
		      "%s: %u entries for %u facts", scene, at->sequence, world.facts);
	(void)snprintf(path, sizeof(path), "%s/vault.ledger", folder);
	ck_assert_msg(model_ledger_proven(path, at, reason, sizeof(reason)), "%s: ledger: %s",
		      scene, reason);
}

/* A short life: single batches, a group, erasing, long contents, reading. */
static void workload(void)
{
	struct vault_batch *b;
	int queued = 0;

	write_one("1", 60);
	read_one();
	write_one("2", 6000);
	for (int i = 0; i < 2; i++) {
		b = model_batch();
		model_put(b, VAULT_ANSWER, "pne-2", i ? "a" : "b", 100);
		model_put(b, VAULT_DELIVERY, "pne-2", i ? "a" : "b", 0);
		queued += submit(b) == 0;
	}
	flush(queued);
	b = model_batch();
	model_erase(b, VAULT_EUKEY, "pne-1", "1");
	model_trim(b, VAULT_ANSWER, "pne-2", 1);
	flush(submit(b) == 0);
	read_one();
	/* May fail: then what was to be overwritten stays, and everything else does too. */
	fault_memory_arm(true);
	(void)vault_scrub(world.v);
	fault_memory_arm(false);
	write_one("3", 60);
}

static void expect_model(const char *when)
{
	char reason[160] = "";
	int found = model_match(world.v, model_batches(), model_batches(), reason, sizeof(reason));

	ck_assert_msg(found >= 0, "%s, %s: %s", scene, when, reason);
}

/* A vault with a little in it, closed. */
static void make_vault(void)
{
	struct vault_batch *b;

	empty_folder();
	model_reset();
	must_open(true);
	b = model_batch();
	model_put(b, VAULT_PNE, "base", "", 40);
	model_put(b, VAULT_EUKEY, "pne-9", "1", 60);
	model_put(b, VAULT_ANSWER, "pne-9", "long", 3000);
	flush(submit(b) == 0);
	expect_model("when made");
	vault_close(world.v);
	memset(&world, 0, sizeof(world));
}

static void still_usable(void)
{
	struct ledger_state at;

	fault_plan(NULL);
	fault_memory_plan(0, false);
	expect_model("fault gone");
	world.failures = 0;
	write_one("after", 50);
	ck_assert_msg(world.failures == 0, "%s: fault gone, but a batch fails with %d", scene,
		      world.last_failure);
	expect_model("written after");
	vault_close(world.v);
	must_open(false);
	expect_model("opened again");
	ck_assert_msg(!vault_rollback(world.v), "%s: a rollback is seen", scene);
	write_one("last", 50);
	vault_ledger_state(world.v, &at);
	vault_close(world.v);
	expect_ledger(&at);
}

/* Which errno a submitter may see when an operation fails in that way. */
static bool fits(enum fault_kind kind, enum fault_operation operation, int error)
{
	switch (kind) {
	case FAULT_IO:
		return error == -EIO || (operation == FAULT_OPEN && error == -EACCES);
	case FAULT_FULL:
		return error == -ENOSPC;
	case FAULT_MEMORY:
		return error == -ENOMEM;
	case FAULT_READ_ONLY:
		return error == -EROFS;
	case FAULT_NONE:
	case FAULT_TORN:
	case FAULT_DROPPED:
		break;
	}
	return false;
}

static const char *const operation_names[FAULT_OPERATIONS] = {"read",     "write",  "sync",
							      "truncate", "delete", "open"};
static const char *const kind_names[] = {"none",  "EIO",  "ENOSPC", "ENOMEM",
					 "EROFS", "torn", "dropped"};

static void name_scene(const struct fault *f, const char *when)
{
	static char text[128];

	(void)snprintf(text, sizeof(text), "%s %u %s%s, %s", operation_names[f->operation], f->at,
		       kind_names[f->kind], f->lasting ? " from there on" : "", when);
	scene = text;
}

/* Ways in which operations fail on real systems. */
static bool happens(enum fault_operation operation, enum fault_kind kind)
{
	switch (operation) {
	case FAULT_READ:
		return kind == FAULT_IO || kind == FAULT_MEMORY;
	case FAULT_TRUNCATE:
	case FAULT_DELETE:
		return kind != FAULT_FULL;
	case FAULT_WRITE:
	case FAULT_SYNC:
	case FAULT_OPEN:
	case FAULT_OPERATIONS:
		break;
	}
	return true;
}

static bool sampling(void)
{
	return getenv("PNGW_VALGRIND") != NULL;
}

static unsigned step_by(void)
{
	return sampling() ? 17 : 1;
}

/* Under valgrind a third of what is n + kind, so that each operation and each kind is met. */
static bool left_out(unsigned n, unsigned kind)
{
	return sampling() && (n + kind) % 3 != 0;
}

static void count_workload(unsigned counts[FAULT_OPERATIONS])
{
	make_vault();
	must_open(false);
	fault_plan(NULL);
	workload();
	for (int i = 0; i < FAULT_OPERATIONS; i++)
		counts[i] = fault_count((enum fault_operation)i);
	expect_model("without a fault");
	vault_close(world.v);
}

/* While serving. Returns how many batches failed. */
static int one_fault(const struct fault *f)
{
	int failures;

	fault_plan(NULL);
	name_scene(f, "serving");
	make_vault();
	must_open(false);
	fault_plan(f);
	workload();
	failures = world.failures;
	ck_assert_msg(failures == 0 || fits(f->kind, f->operation, world.last_failure),
		      "%s: a batch was told %d", scene, world.last_failure);
	if (f->operation == FAULT_WRITE && f->lasting)
		ck_assert_msg(failures > 0, "%s: nothing failed", scene);
	still_usable();
	return failures;
}

START_TEST(test_faults_serving)
{
	static const enum fault_kind kinds[] = {FAULT_IO, FAULT_FULL, FAULT_MEMORY,
						FAULT_READ_ONLY};
	unsigned counts[FAULT_OPERATIONS];
	unsigned runs = 0, failures = 0;

	count_workload(counts);
	ck_assert_uint_gt(counts[FAULT_WRITE], 10);
	ck_assert_uint_gt(counts[FAULT_SYNC], 4);
	for (int o = 0; o < FAULT_OPERATIONS; o++) {
		for (unsigned at = 1; at <= counts[o]; at += step_by()) {
			for (size_t k = 0; k < 4; k++) {
				struct fault f = {(enum fault_operation)o, at, kinds[k], false, 0};

				if (!happens(f.operation, f.kind) ||
				    left_out((unsigned)o + at, (unsigned)k))
					continue;
				failures += one_fault(&f) > 0;
				f.lasting = true;
				failures += one_fault(&f) > 0;
				runs += 2;
			}
		}
	}
	ck_assert_uint_gt(failures, runs / 4);
	printf("serving: %u runs, %u in which a batch failed\n", runs, failures);
	(void)fflush(stdout);
}
END_TEST

static bool rekey_struck;

static void rekey_to_the_end(void)
{
	struct vault_rekey_progress p;

	for (int i = 0; i < 50 && vault_rekey_pending(world.v); i++)
		(void)vault_flush(world.v);
	vault_rekey_progress(world.v, &p);
	ck_assert_msg(p.from == 0 && p.error == 0 && p.damaged == 0,
		      "%s: from generation %u, error %d, %llu damaged", scene, p.from, p.error,
		      (unsigned long long)p.damaged);
}

/* While everything is sealed anew. It stands still or has not begun; later it comes to its end. */
static void one_rekey_fault(const struct fault *f)
{
	char reason[200] = "";
	int r;

	fault_plan(NULL);
	name_scene(f, "re-keying");
	make_vault();
	must_open(false);
	for (int i = 0; i < 40; i++) {
		char item[24];
		struct vault_batch *b = model_batch();

		(void)snprintf(item, sizeof(item), "old %d", i);
		model_put(b, VAULT_EUKEY, "pne-3", item, 60);
		ck_assert_int_eq(submit(b), 0);
		flush(1);
	}
	fault_plan(f);
	r = vault_rekey_begin(world.v, reason, sizeof(reason));
	ck_assert_msg(r <= 0 && (r == 0 || reason[0]), "%s: %d %s", scene, r, reason);
	for (int i = 0; i < 3; i++) {
		(void)vault_flush(world.v);
		write_one(i == 0 ? "1" : "2", 60);
	}
	rekey_struck = fault_struck() > 0;
	fault_plan(NULL);
	expect_model("fault gone");
	write_one("goes on", 60);
	rekey_to_the_end();
	if (r != 0) {
		ck_assert_int_eq(vault_rekey_begin(world.v, reason, sizeof(reason)), 0);
		rekey_to_the_end();
	}
	still_usable();
}

START_TEST(test_faults_rekeying)
{
	static const enum fault_kind kinds[] = {FAULT_IO, FAULT_FULL, FAULT_MEMORY};
	unsigned runs = 0;

	for (int o = 0; o < FAULT_OPERATIONS; o++) {
		for (unsigned k = 0; k < 6; k++) {
			bool struck = happens((enum fault_operation)o, kinds[k % 3]) &&
				      !left_out((unsigned)o, k);

			for (unsigned at = 1; struck; at += step_by()) {
				struct fault f = {(enum fault_operation)o, at, kinds[k % 3], k > 2,
						  0};

				one_rekey_fault(&f);
				struck = rekey_struck;
				runs++;
			}
		}
	}
	ck_assert_uint_gt(runs, 10);
	printf("re-keying: %u runs\n", runs);
	(void)fflush(stdout);
}
END_TEST

/* While opening and closing: a clear outcome, and nothing is lost. */
START_TEST(test_faults_opening)
{
	static const enum fault_kind kinds[] = {FAULT_IO, FAULT_FULL, FAULT_MEMORY,
						FAULT_READ_ONLY};
	unsigned runs = 0, refused = 0;

	for (int o = 0; o < FAULT_OPERATIONS; o++) {
		for (unsigned k = 0; k < 4; k++) {
			bool struck = happens((enum fault_operation)o, kinds[k]) &&
				      !left_out((unsigned)o, k);

			for (unsigned at = 1; struck; at += step_by()) {
				struct fault f = {(enum fault_operation)o, at, kinds[k], k % 2, 0};
				int r;

				fault_plan(NULL);
				name_scene(&f, "opening");
				make_vault();
				fault_plan(&f);
				r = try_open(false, &world.v);
				if (r == 0) {
					write_one("x", 30);
					close_vault();
				} else {
					refused++;
				}
				struck = fault_struck() > 0;
				fault_plan(NULL);
				must_open(false);
				still_usable();
				runs++;
			}
		}
	}
	ck_assert_uint_gt(refused, sampling() ? 0 : 5);
	printf("opening: %u runs, %u refused\n", runs, refused);
	(void)fflush(stdout);
}
END_TEST

/* While a vault is made: the next try makes it, or finds it made. */
START_TEST(test_faults_making)
{
	static const enum fault_kind kinds[] = {FAULT_IO, FAULT_FULL, FAULT_MEMORY,
						FAULT_READ_ONLY};
	unsigned runs = 0, refused = 0;

	for (int o = 0; o < FAULT_OPERATIONS; o++) {
		for (unsigned k = 0; k < 4; k++) {
			bool struck = happens((enum fault_operation)o, kinds[k]) &&
				      !left_out((unsigned)o, k);

			for (unsigned at = 1; struck; at += step_by()) {
				struct fault f = {(enum fault_operation)o, at, kinds[k], k % 2, 0};
				int r;

				empty_folder();
				model_reset();
				memset(&world, 0, sizeof(world));
				name_scene(&f, "making");
				fault_plan(&f);
				r = try_open(true, &world.v);
				if (r == 0)
					close_vault();
				else
					refused++;
				struck = fault_struck() > 0;
				fault_plan(NULL);
				must_open(true);
				still_usable();
				runs++;
			}
		}
	}
	ck_assert_uint_gt(refused, sampling() ? 0 : 5);
	printf("making: %u runs, %u refused\n", runs, refused);
	(void)fflush(stdout);
}
END_TEST

/*
 * A disk that says it wrote and did not: nothing can give back what is lost, but what is served is
 * what was once put, and the rest is named damaged.
 */
START_TEST(test_lying_disk)
{
	static const enum fault_kind kinds[] = {FAULT_TORN, FAULT_DROPPED};
	unsigned counts[FAULT_OPERATIONS];
	unsigned runs = 0, damages = 0;

	count_workload(counts);
	for (unsigned at = 1; at <= counts[FAULT_WRITE]; at += step_by()) {
		for (size_t k = 0; k < 4; k++) {
			struct fault f = {.operation = FAULT_WRITE,
					  .at = at,
					  .kind = kinds[k % 2],
					  .lasting = k > 1};
			size_t served = 0, damaged = 0;
			int r;

			fault_plan(NULL);
			name_scene(&f, "lying");
			make_vault();
			must_open(false);
			fault_plan(&f);
			workload();
			ck_assert_msg(model_serves_truth(world.v, &served, &damaged), "%s", scene);
			vault_close(world.v);
			fault_plan(NULL);
			r = try_open(false, &world.v);
			ck_assert_msg(r >= 0, "%s: %d %s", scene, r, why);
			if (r == 0) {
				ck_assert_msg(model_serves_truth(world.v, &served, &damaged), "%s",
					      scene);
				vault_close(world.v);
			}
			damages += r > 0 || damaged > 0;
			runs++;
		}
	}
	printf("lying disk: %u runs, %u found damaged\n", runs, damages);
	(void)fflush(stdout);
}
END_TEST

static void after_a_flush(void *arg, int result)
{
	unsigned *told = arg;

	ck_assert_int_eq(result, 0);
	ck_assert_uint_gt(fault_count(FAULT_SYNC), 0);
	++*told;
}

/* So many writers at once, with or without a fact for the ledger: how many flushes that takes. */
static unsigned flushes_of(unsigned writers, bool facts)
{
	unsigned told = 0;

	for (unsigned i = 0; i < writers; i++) {
		struct vault_batch *b = vault_batch_new();
		char item[12];
		struct vault_id id = {.kind = VAULT_EUKEY, .owner = bytes_text("pne-1")};

		(void)snprintf(item, sizeof(item), "%u", i);
		id.item = bytes_text(item);
		ck_assert_ptr_nonnull(b);
		vault_batch_put(b, &id, bytes_text("content"));
		if (facts)
			add_fact(b);
		ck_assert_int_eq(vault_submit(world.v, b, after_a_flush, &told), 0);
	}
	fault_plan(NULL);
	ck_assert_uint_eq(told, 0);
	ck_assert_uint_eq(vault_flush(world.v), writers);
	ck_assert_uint_eq(told, writers);
	return fault_count(FAULT_SYNC);
}

/* What is submitted before a flush costs one flush of the disk, and is told behind it. */
START_TEST(test_one_flush)
{
	fault_checkpoint_pages = 0;
	must_open(true);
	(void)flushes_of(1, false);
	ck_assert_uint_eq(flushes_of(1, false), 1);
	ck_assert_uint_eq(flushes_of(32, false), 1);
	(void)flushes_of(1, true);
	ck_assert_uint_eq(flushes_of(32, true), flushes_of(1, true));
	close_vault();
}
END_TEST

/* Memory runs out at each allocation, ours and SQLite's. */
START_TEST(test_memory)
{
	unsigned runs = 0, refused = 0, told = 0;
	bool struck = true;

	for (unsigned at = 1; struck; at += step_by() == 1 ? 1 : 97) {
		static char text[64];
		int r;

		(void)snprintf(text, sizeof(text), "allocation %u%s", at, _i ? " and on" : "");
		scene = text;
		fault_memory_plan(0, false);
		make_vault();
		fault_memory_plan(at, _i == 1);
		r = try_open(false, &world.v);
		ck_assert_msg(r == 0 || r == -ENOMEM, "%s: %d %s", scene, r, why);
		if (r == 0) {
			workload();
			ck_assert_msg(world.failures == 0 || world.last_failure == -ENOMEM,
				      "%s: a batch was told %d", scene, world.last_failure);
			told += world.failures > 0;
			struck = fault_memory_struck() > 0;
			still_usable();
		} else {
			refused++;
		}
		fault_memory_plan(0, false);
		must_open(false);
		still_usable();
		runs++;
	}
	ck_assert_uint_gt(refused, 5);
	ck_assert_uint_ge(told, 1);
	printf("memory: %u runs, %u refused to open, %u in which a batch failed\n", runs, refused,
	       told);
	(void)fflush(stdout);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vault faults");
	TCase *t = tcase_create("faults");
	SRunner *r;
	int bad;

	if (!fault_memory_register())
		return 2;
	tcase_set_timeout(t, 400);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_one_flush);
	tcase_add_test(t, test_faults_serving);
	tcase_add_test(t, test_faults_rekeying);
	tcase_add_test(t, test_faults_opening);
	tcase_add_test(t, test_faults_making);
	tcase_add_test(t, test_lying_disk);
	tcase_add_loop_test(t, test_memory, 0, 2);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	bad = srunner_ntests_failed(r);
	srunner_free(r);
	return bad != 0;
}
