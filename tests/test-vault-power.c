/*
 * The power goes at every write and every flush, and the disk keeps any subset of what was not
 * flushed. Afterwards the vault opens, every acknowledged batch is whole, every other one is whole
 * or absent, and nothing else is there.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "fault-vfs.h"
#include "storage/vault.h"
#include "vault-model.h"

static char base[64];
static char live[80];   /* where the workload runs */
static char after[80];  /* where the disk's contents after a cut are laid out */
static char nested[80]; /* the same when the power goes again during the recovery */
static char why[256];
static size_t states;
static size_t nested_states;

static struct {
	struct vault *v;
	unsigned acknowledged;
	bool ledger;    /* batches have facts */
	bool anchored;  /* the ledger has an anchor */
	bool recording; /* what is done for a second cut */
	uint32_t facts;
	uint32_t facts_at[64]; /* after each batch */
} world;

static void make_folder(char *out, size_t size, const char *name)
{
	(void)snprintf(out, size, "%s/%s", base, name);
	ck_assert_int_eq(mkdir(out, 0700), 0);
}

static void setup(void)
{
	strcpy(base, access("/dev/shm", W_OK) == 0 ? "/dev/shm/test-power-XXXXXX"
						   : "/tmp/test-power-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(base));
	make_folder(live, sizeof(live), "live");
	make_folder(after, sizeof(after), "after");
	make_folder(nested, sizeof(nested), "nested");
	fault_vfs_register(false);
	fault_plan(NULL);
	fault_checkpoint_pages = 7;
	model_reset();
	memset(&world, 0, sizeof(world));
	states = 0;
	nested_states = 0;
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
	remove_folder(nested);
	ck_assert_int_eq(rmdir(base), 0);
	ck_assert_uint_eq(secret_count(), 0);
}

static int try_open(const char *folder, bool create, struct vault **out)
{
	char path[120], key[120], anchor[120];
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key};
	struct vault_options options = {.path = path,
					.openers = &opener,
					.opener_count = 1,
					.create = create,
					.anchor = world.anchored ? anchor : NULL,
					.vfs = FAULT_VFS};

	(void)snprintf(path, sizeof(path), "%s/vault", folder);
	(void)snprintf(key, sizeof(key), "%s/key", folder);
	(void)snprintf(anchor, sizeof(anchor), "file:%s/anchor", folder);
	return vault_open(&options, out, why, sizeof(why));
}

static bool sampling(void)
{
	return getenv("PNGW_VALGRIND") != NULL;
}

/* The workload. */

static void open_live(bool create)
{
	int r = try_open(live, create, &world.v);

	ck_assert_msg(r == 0, "vault_open: %d %s", r, why);
}

static void on_done(void *arg, int result)
{
	(void)arg;
	ck_assert_int_eq(result, 0);
	world.acknowledged++;
}

/* A key of its own for each batch, and sometimes two events in one. */
static void add_facts(struct vault_batch *b)
{
	struct ledger_fact fact = {.event = LEDGER_ISSUED,
				   .figure = 7,
				   .entity = bytes_text("pne-1"),
				   .user = bytes_text("user"),
				   .key_index = model_batches(),
				   .time = 1000};

	if (!world.ledger)
		return;
	vault_batch_ledger(b, &fact);
	world.facts++;
	if (model_batches() % 3 == 0) {
		fact.event = LEDGER_SPENT;
		vault_batch_ledger(b, &fact);
		world.facts++;
	}
}

static void submit(struct vault_batch *b)
{
	ck_assert_uint_lt(model_batches(), 64);
	add_facts(b);
	world.facts_at[model_batches()] = world.facts;
	ck_assert_int_eq(vault_submit(world.v, b, on_done, NULL), 0);
	disk_mark(world.acknowledged, model_batches());
}

static void flush(void)
{
	(void)vault_flush(world.v);
	ck_assert_uint_eq(world.acknowledged, model_batches());
	disk_mark(world.acknowledged, model_batches());
}

static void put_one(const char *owner, const char *item, size_t size)
{
	struct vault_batch *b = model_batch();

	model_put(b, VAULT_EUKEY, owner, item, size);
	submit(b);
}

/* The vault's making is batch 1: an empty one. */
static void create_live(void)
{
	vault_batch_free(model_batch());
	disk_mark(0, 1);
	open_live(true);
	world.acknowledged = 1;
	disk_mark(1, 1);
}

static void reopen(void)
{
	vault_close(world.v);
	open_live(false);
}

static void write_batches(void)
{
	struct vault_batch *b;

	put_one("pne-1", "1", 60);
	flush();
	b = model_batch();
	model_put(b, VAULT_EUKEY, "pne-1", "2", 60);
	model_put(b, VAULT_EUKEY, "pne-2", "1", 60);
	model_put(b, VAULT_PNE, "pne-2", "", 10);
	submit(b);
	flush();
	/* Several in one commit. */
	for (int i = 0; i < 3; i++) {
		b = model_batch();
		model_put(b, VAULT_ANSWER, "pne-1", i == 0 ? "a" : i == 1 ? "b" : "c", 200);
		model_put(b, VAULT_DELIVERY, "pne-1", i == 0 ? "a" : i == 1 ? "b" : "c", 0);
		submit(b);
	}
	flush();
	/* Key 1 goes, key 2 is replaced. */
	b = model_batch();
	model_erase(b, VAULT_EUKEY, "pne-1", "1");
	model_put(b, VAULT_EUKEY, "pne-1", "2", 61);
	submit(b);
	flush();
}

static void write_more(void)
{
	struct vault_batch *b = model_batch();

	model_put(b, VAULT_ANSWER, "pne-2", "long", 9000);
	model_put(b, VAULT_TEMPORARY_KEY, "pne-1", "", 48);
	submit(b);
	flush();
	b = model_batch();
	model_erase_owner(b, VAULT_DELIVERY, "pne-1");
	model_trim(b, VAULT_ANSWER, "pne-1", 1);
	model_put(b, VAULT_ANSWER, "pne-1", "d", 300);
	submit(b);
	b = model_batch();
	model_erase(b, VAULT_ANSWER, "pne-2", "long");
	submit(b);
	flush();
}

/* What must hold after a cut. */

/* Closes v. Its ledger has exactly the facts of the batches that are there, and is proven. */
static void expect_ledger(struct vault *v, const char *folder, uint32_t facts, const char *when,
			  const struct disk_state *state)
{
	const struct ledger_fact next = {
		.event = LEDGER_ISSUED, .entity = bytes_text("pne-9"), .key_index = 1};
	struct vault_batch *b = vault_batch_new();
	struct ledger_state at;
	char path[120], reason[256] = "";

	vault_ledger_state(v, &at);
	ck_assert_msg(at.sequence == (facts ? facts + 1 : 0),
		      "%s, state %zu at %zu: %u entries for %u facts", when, state->number,
		      state->position, at.sequence, facts);
	/* What the file lacks it gets with the next entry at the latest. */
	vault_batch_ledger(b, &next);
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
	vault_ledger_state(v, &at);
	ck_assert_uint_eq(at.sequence, facts + 2);
	vault_close(v);
	(void)snprintf(path, sizeof(path), "%s/vault.ledger", folder);
	ck_assert_msg(model_ledger_proven(path, &at, reason, sizeof(reason)),
		      "%s, state %zu at %zu: ledger: %s", when, state->number, state->position,
		      reason);
}

static void expect_state(const char *folder, const struct disk_state *state, const char *when)
{
	char reason[160];
	int found;
	struct vault *v = NULL;
	int r = try_open(folder, state->acknowledged == 0, &v);

	ck_assert_msg(r == 0, "%s, state %zu at %zu: vault_open gives %d: %s", when, state->number,
		      state->position, r, why);
	ck_assert_msg(!vault_rollback(v), "%s, state %zu at %zu: a rollback is seen", when,
		      state->number, state->position);
	found = model_match(v, state->acknowledged, state->submitted, reason, sizeof(reason));
	ck_assert_msg(found >= 0, "%s, state %zu at %zu, batches %u to %u: %s", when, state->number,
		      state->position, state->acknowledged, state->submitted, reason);
	if (world.ledger && !world.recording)
		expect_ledger(v, folder, world.facts_at[found], when, state);
	else
		vault_close(v);
}

static void after_second_cut(void *arg, const struct disk_state *state)
{
	const struct disk_state *first = arg;
	struct disk_state expected = *first;

	expected.number = first->number;
	expected.position = state->position;
	expect_state(nested, &expected, "cut again in the recovery");
	nested_states++;
}

/* Goes on after the cut: a new record is taken, and is there after the next opening. */
static void goes_on(const struct disk_state *state)
{
	struct vault_id id = {VAULT_USER, bytes_text("after"), BYTES_NONE};
	struct vault_content c = {NULL, 0};
	struct vault_batch *b = vault_batch_new();
	struct vault *v = NULL;

	ck_assert_int_eq(try_open(after, state->acknowledged == 0, &v), 0);
	vault_batch_put(b, &id, bytes_text("still here"));
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
	vault_close(v);
	ck_assert_int_eq(try_open(after, false, &v), 0);
	ck_assert_int_eq(vault_get(v, &id, &c), 0);
	vault_content_free(&c);
	vault_close(v);
}

static void after_cut(void *arg, const struct disk_state *state)
{
	const struct disk_limits few = {2, 0, 24, sampling()};
	struct disk_state first = *state;
	struct disk *d = NULL;

	(void)arg;
	if (state->number % 97 == 13)
		d = disk_record(after, state->acknowledged, state->submitted);
	world.recording = d != NULL;
	expect_state(after, state, "cut");
	world.recording = false;
	if (d) {
		disk_stop(d);
		(void)disk_each_state(d, &few, nested, after_second_cut, &first);
		disk_free(d);
	}
	if (state->number % 31 == 7)
		goes_on(state);
	states++;
}

/* Under valgrind and sanitizers each state takes longer: a sample of them. */
static size_t most_states(void)
{
#if defined(__SANITIZE_ADDRESS__)
	return sampling() ? 32 : 400;
#else
	return sampling() ? 32 : 0;
#endif
}

static void examine(struct disk *d, const char *what)
{
	const struct disk_limits limits = {8, 16, most_states(), sampling()};

	disk_stop(d);
	(void)disk_each_state(d, &limits, after, after_cut, NULL);
	disk_free(d);
	ck_assert_uint_gt(states, 20);
	printf("%s: %zu states after a power cut, %zu after a second one\n", what, states,
	       nested_states);
	(void)fflush(stdout);
}

static struct disk *record_live(void)
{
	return disk_record(live, world.acknowledged, model_batches());
}

START_TEST(test_power_creation)
{
	struct disk *d = record_live();

	create_live();
	put_one("pne-1", "1", 60);
	flush();
	vault_close(world.v);
	examine(d, "making a vault");
}
END_TEST

START_TEST(test_power_batches)
{
	struct disk *d;

	create_live();
	vault_close(world.v);
	d = record_live();
	open_live(false);
	write_batches();
	vault_close(world.v);
	examine(d, "batches, groups and erasing");
}
END_TEST

START_TEST(test_power_reopening)
{
	struct disk *d;

	create_live();
	write_batches();
	vault_close(world.v);
	d = record_live();
	open_live(false);
	write_more();
	reopen();
	put_one("pne-3", "1", 60);
	flush();
	vault_close(world.v);
	examine(d, "opening, closing and opening again");
}
END_TEST

/* The log fills up, is moved into the file and begun anew, several times. */
START_TEST(test_power_checkpoints)
{
	struct disk *d;
	char item[24];

	create_live();
	write_batches();
	vault_close(world.v);
	d = record_live();
	open_live(false);
	for (int i = 0; i < 30; i++) {
		(void)snprintf(item, sizeof(item), "%d", i % 5);
		put_one("pne-4", item, i % 4 == 3 ? 5000 : 100);
		flush();
		if (i % 11 == 5)
			ck_assert_int_eq(vault_scrub(world.v), 0);
	}
	vault_close(world.v);
	examine(d, "moving the log into the file");
}
END_TEST

/* Commits that change pages all over the file, make new ones and free others. */
START_TEST(test_power_many_pages)
{
	struct vault_batch *b;
	char owner[16], item[16];
	struct disk *d;

	create_live();
	b = model_batch();
	for (int i = 0; i < 160; i++) {
		(void)snprintf(owner, sizeof(owner), "pne-%d", i / 4);
		(void)snprintf(item, sizeof(item), "%d", i % 4);
		model_put(b, VAULT_EUKEY, owner, item, 90);
	}
	submit(b);
	flush();
	vault_close(world.v);
	d = record_live();
	open_live(false);
	for (int group = 0; group < 2; group++) {
		for (int i = 0; i < 4; i++) {
			b = model_batch();
			(void)snprintf(owner, sizeof(owner), "pne-%d", group * 11 + i * 3);
			model_put(b, VAULT_EUKEY, owner, "1", 91);
			model_put(b, VAULT_EUKEY, owner, "new", 3000);
			(void)snprintf(owner, sizeof(owner), "pne-%d", group * 11 + i * 3 + 1);
			model_erase_owner(b, VAULT_EUKEY, owner);
			submit(b);
		}
		flush();
	}
	vault_close(world.v);
	examine(d, "commits of many pages");
}
END_TEST

static void on_failed(void *arg, int result)
{
	*(int *)arg = result;
}

/*
 * A flush fails: its batch was told so, and the power may yet find it on the disk, whole. The next
 * batch that is acknowledged settles it: it is not there.
 */
START_TEST(test_power_after_failed_flush)
{
	const struct fault fault = {.operation = FAULT_SYNC, .at = 1, .kind = FAULT_IO};
	struct vault_batch *b;
	struct disk *d;
	int result = 1;

	create_live();
	put_one("pne-1", "1", 60);
	flush();
	vault_close(world.v);
	d = record_live();
	open_live(false);
	put_one("pne-1", "2", 60);
	flush();
	b = model_batch();
	model_put(b, VAULT_EUKEY, "pne-1", "failed", 60);
	model_put(b, VAULT_ANSWER, "pne-1", "failed", 5000);
	disk_mark(world.acknowledged, model_batches());
	fault_plan(&fault);
	ck_assert_int_eq(vault_submit(world.v, b, on_failed, &result), 0);
	(void)vault_flush(world.v);
	fault_plan(NULL);
	ck_assert_int_eq(result, -EIO);
	b = model_batch();
	model_erase(NULL, VAULT_EUKEY, "pne-1", "failed");
	model_erase(NULL, VAULT_ANSWER, "pne-1", "failed");
	model_put(b, VAULT_EUKEY, "pne-1", "3", 60);
	world.acknowledged++;
	disk_mark(world.acknowledged - 1, model_batches());
	ck_assert_int_eq(vault_submit(world.v, b, on_done, NULL), 0);
	flush();
	put_one("pne-1", "4", 60);
	flush();
	vault_close(world.v);
	examine(d, "a flush that failed");
}
END_TEST

/* The ledger's file is flushed lazily, the vault makes up for it; the anchor is never ahead. */
START_TEST(test_power_ledger)
{
	struct disk *d;

	world.ledger = true;
	world.anchored = _i == 1;
	create_live();
	vault_close(world.v);
	d = record_live();
	open_live(false);
	put_one("pne-1", "1", 60);
	flush();
	put_one("pne-1", "2", 60);
	put_one("pne-1", "3", 60);
	flush();
	put_one("pne-2", "1", 60);
	flush();
	reopen();
	put_one("pne-2", "2", 60);
	flush();
	put_one("pne-2", "3", 60);
	flush();
	vault_close(world.v);
	examine(d, world.anchored ? "the ledger and its anchor" : "the ledger");
}
END_TEST

/* Migration: an older schema's vault opens, with all it had, wherever the power went. */

static void copy_fixture(const char *suffix, const char *name)
{
	static uint8_t data[1000000];
	const char *source = getenv("PNGW_SRCDIR");
	char path[512];
	size_t size;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/tests/data/vault-schema-1.%s", source ? source : ".",
		       suffix);
	f = fopen(path, "rb");
	ck_assert_msg(f != NULL, "%s", path);
	size = fread(data, 1, sizeof(data), f);
	(void)fclose(f);
	(void)snprintf(path, sizeof(path), "%s/%s", live, name);
	f = fopen(path, "wb");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, size, f), size);
	(void)fclose(f);
	ck_assert_int_eq(chmod(path, 0600), 0);
}

struct digest {
	uint64_t value;
	size_t records;
};

static void digest_bytes(struct digest *d, struct bytes b)
{
	d->value = (d->value ^ b.size) * 1099511628211u;
	for (size_t i = 0; i < b.size; i++)
		d->value = (d->value ^ b.data[i]) * 1099511628211u;
}

static int digest_one(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct digest *d = arg;

	digest_bytes(d, owner);
	digest_bytes(d, item);
	digest_bytes(d, content);
	d->records++;
	return 0;
}

static struct digest digest_of(const char *folder, const char *when, size_t position)
{
	struct digest d = {14695981039346656037u, 0};
	struct vault *v = NULL;
	int r = try_open(folder, false, &v);

	ck_assert_msg(r == 0, "%s at %zu: vault_open gives %d: %s", when, position, r, why);
	for (int kind = 1; kind < 16; kind++) {
		size_t damaged = 0;

		ck_assert_int_eq(
			vault_each(v, (enum vault_kind)kind, BYTES_NONE, digest_one, &d, &damaged),
			0);
		ck_assert_uint_eq(damaged, 0);
	}
	vault_close(v);
	return d;
}

static void same_digest(const struct digest *expected, const char *folder, const char *when,
			size_t position)
{
	struct digest d = digest_of(folder, when, position);

	ck_assert_msg(d.value == expected->value && d.records == expected->records,
		      "%s at %zu: %zu records", when, position, d.records);
}

static void migrated_nested(void *arg, const struct disk_state *state)
{
	same_digest(arg, nested, "cut again in the recovery", state->position);
	nested_states++;
}

static void migrated(void *arg, const struct disk_state *state)
{
	const struct disk_limits few = {2, 0, 24, sampling()};
	struct disk *d = state->number % 37 == 5 ? disk_record(after, 0, 0) : NULL;

	same_digest(arg, after, "cut", state->position);
	if (d) {
		disk_stop(d);
		(void)disk_each_state(d, &few, nested, migrated_nested, arg);
		disk_free(d);
	}
	states++;
}

START_TEST(test_power_migration)
{
	const struct disk_limits limits = {6, 12, most_states(), sampling()};
	struct digest expected;
	struct disk *d;

	copy_fixture("db", "vault");
	copy_fixture("key", "key");
	d = disk_record(live, 0, 0);
	expected = digest_of(live, "undisturbed", 0);
	ck_assert_uint_gt(expected.records, 10);
	disk_stop(d);
	(void)disk_each_state(d, &limits, after, migrated, &expected);
	disk_free(d);
	ck_assert_uint_gt(states, 20);
	printf("migration: %zu states after a power cut, %zu after a second one\n", states,
	       nested_states);
	(void)fflush(stdout);
}
END_TEST

static int told;

static void keep_result(void *arg, int result)
{
	(void)arg;
	told = result;
}

/* One entry; what became of it. */
static int tell_one(uint32_t index)
{
	const struct ledger_fact fact = {.event = LEDGER_ISSUED,
					 .figure = 7,
					 .entity = bytes_text("pne-1"),
					 .user = bytes_text("user"),
					 .key_index = index,
					 .time = 1000};
	struct vault_batch *b = vault_batch_new();

	vault_batch_ledger(b, &fact);
	ck_assert_int_eq(vault_submit(world.v, b, keep_result, NULL), 0);
	(void)vault_flush(world.v);
	return told;
}

/* Whether the vault as it lies there now would say that its anchor is gone. */
static bool anchor_is_missed(void)
{
	char path[120], key[120], anchor[120], command[400];
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key};
	struct vault_options options = {.path = path,
					.openers = &opener,
					.opener_count = 1,
					.anchor = anchor,
					.vfs = FAULT_VFS};
	struct vault *v = NULL;
	int r;

	(void)snprintf(path, sizeof(path), "%s/vault", after);
	(void)snprintf(key, sizeof(key), "%s/key", after);
	(void)snprintf(anchor, sizeof(anchor), "file:%s/anchor", live);
	(void)snprintf(command, sizeof(command), "cp -p %s/* %s && rm -f %s/anchor", live, after,
		       live);
	ck_assert_int_eq(system(command), 0);
	r = vault_open(&options, &v, why, sizeof(why));
	ck_assert_msg(r == 0 || r == VAULT_ANCHOR, "vault_open: %d %s", r, why);
	vault_close(v);
	(void)snprintf(command, sizeof(command), "mv %s/anchor %s; rm -f %s/*", after, live, after);
	ck_assert_int_eq(system(command), 0);
	return r == VAULT_ANCHOR;
}

/*
 * The vault's record of its anchor is written behind the first entry, and that may fail: then it is
 * told, and no further entry is acknowledged without it.
 */
START_TEST(test_record_of_the_anchor)
{
	struct fault fault = {.operation = FAULT_WRITE, .kind = FAULT_FULL, .at = 1};
	const char *with = "";
	char command[120];
	bool struck = true;
	unsigned troubles = 0;
	int r;

	world.anchored = true;
	(void)snprintf(command, sizeof(command), "rm -f %s/*", live);
	for (; struck; fault.at++) {
		open_live(true);
		fault_plan(&fault);
		r = tell_one(1);
		struck = fault_struck() > 0;
		fault_plan(NULL);
		if (r == 0 && vault_ledger_trouble(world.v, &with) == 0)
			ck_assert_msg(anchor_is_missed(), "a failure at write %u", fault.at);
		else if (r == 0)
			troubles += strcmp(with, "record of the anchor") == 0;
		ck_assert_int_eq(tell_one(2), 0);
		ck_assert_int_eq(vault_ledger_trouble(world.v, &with), 0);
		ck_assert_msg(anchor_is_missed(), "after a failure at write %u", fault.at);
		vault_close(world.v);
		ck_assert_int_eq(system(command), 0);
	}
	ck_assert_uint_ge(troubles, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vault power");
	TCase *t = tcase_create("power");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 240);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_power_creation);
	tcase_add_test(t, test_power_batches);
	tcase_add_test(t, test_power_reopening);
	tcase_add_test(t, test_power_checkpoints);
	tcase_add_test(t, test_power_many_pages);
	tcase_add_test(t, test_power_after_failed_flush);
	tcase_add_loop_test(t, test_power_ledger, 0, 2);
	tcase_add_test(t, test_power_migration);
	tcase_add_test(t, test_record_of_the_anchor);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
