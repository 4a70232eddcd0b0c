#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>
#include <sqlite3.h>

#include "storage/vault-manage.h"

#define RECORDS 2000

/* So that re-keying takes more than 20 flushes. */
#define RECORDS_VALGRIND 700

static char directory[64];
static char path[128];
static char keys[3][128];
static char why[512];

static struct vault_opener openers[2];
static struct vault_options options;

/* Under valgrind less has to do; a passphrase takes seconds there. */
static bool sampling(void)
{
	return getenv("PNGW_VALGRIND") != NULL;
}

static size_t record_count(void)
{
	return sampling() ? RECORDS_VALGRIND : RECORDS;
}

static void setup(void)
{
	strcpy(directory, "/tmp/test-vault-manage-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/vault", directory);
	for (int i = 0; i < 3; i++)
		snprintf(keys[i], sizeof(keys[i]), "%s/key-%d", directory, i + 1);
	for (int i = 0; i < 2; i++)
		openers[i] =
			(struct vault_opener){.source = VAULT_SOURCE_KEY_FILE, .path = keys[i]};
	options = (struct vault_options){
		.path = path, .openers = openers, .opener_count = 1, .create = true};
}

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *walk)
{
	(void)st;
	(void)type;
	(void)walk;
	return remove(name);
}

static void teardown(void)
{
	ck_assert_int_eq(nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	ck_assert_uint_eq(secret_count(), 0);
}

static struct vault *open_vault(void)
{
	struct vault *v = NULL;
	int r = vault_open(&options, &v, why, sizeof(why));

	ck_assert_msg(r == 0, "%d %s", r, why);
	return v;
}

static int open_with(const char *key_file)
{
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_file};
	struct vault_options one = {.path = path, .openers = &opener, .opener_count = 1};
	struct vault *v = NULL;
	int r = vault_open(&one, &v, why, sizeof(why));

	vault_close(v);
	return r;
}

static int open_with_passphrase(const char *text)
{
	SCOPED_SECRET *passphrase = secret_copy(bytes_text(text));
	struct vault_opener opener = {.source = VAULT_SOURCE_PASSPHRASE, .passphrase = passphrase};
	struct vault_options one = {.path = path, .openers = &opener, .opener_count = 1};
	struct vault *v = NULL;
	int r = vault_open(&one, &v, why, sizeof(why));

	vault_close(v);
	return r;
}

static struct vault_id id_of(size_t i, char owner[32])
{
	snprintf(owner, 32, "headset-%zu", i);
	return (struct vault_id){.kind = i % 2 ? VAULT_EUKEY : VAULT_PNE,
				 .owner = bytes_text(owner)};
}

/* version: 0 erases. */
static void change(struct vault_batch *b, size_t i, int version)
{
	char content[64];
	char owner[32];
	struct vault_id id = id_of(i, owner);

	snprintf(content, sizeof(content), "content of %zu, version %d", i, version);
	if (version == 0)
		vault_batch_erase(b, &id);
	else
		vault_batch_put(b, &id, bytes_text(content));
}

static void submit(struct vault *v, size_t i, int version)
{
	struct vault_batch *b = vault_batch_new();

	ck_assert_ptr_nonnull(b);
	change(b, i, version);
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), 0);
}

static void fill(struct vault *v, size_t count)
{
	struct vault_batch *b = vault_batch_new();

	ck_assert_ptr_nonnull(b);
	for (size_t i = 0; i < count; i++)
		change(b, i, 1);
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
}

static void expect(struct vault *v, size_t i, int version)
{
	struct vault_content c = {NULL, 0};
	char content[64];
	char owner[32];
	struct vault_id id = id_of(i, owner);
	int r = vault_get(v, &id, &c);

	snprintf(content, sizeof(content), "content of %zu, version %d", i, version);
	if (version == 0)
		ck_assert_int_eq(r, VAULT_ABSENT);
	else
		ck_assert_msg(r == 0 && bytes_equal(bytes_of(c.data, c.size), bytes_text(content)),
			      "record %zu: %d, not version %d", i, r, version);
	vault_content_free(&c);
}

static uint8_t add_key(struct vault *v, const char *key_file, const char *label)
{
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_file};
	struct vault_prepared p = {.secret = NULL};
	uint8_t slot = 0;
	int r = vault_wrap_prepare(&opener, label, true, &p, why, sizeof(why));

	ck_assert_msg(r == 0, "%s", why);
	r = vault_wrap_add(v, &p, &slot, why, sizeof(why));
	ck_assert_msg(r == 0, "%d %s", r, why);
	vault_prepared_clear(&p);
	return slot;
}

static void prepare_passphrase(const char *text, struct vault_prepared *p)
{
	SCOPED_SECRET *passphrase = secret_copy(bytes_text(text));
	struct vault_opener opener = {.source = VAULT_SOURCE_PASSPHRASE, .passphrase = passphrase};

	ck_assert_msg(vault_wrap_prepare(&opener, NULL, false, p, why, sizeof(why)) == 0, "%s",
		      why);
}

static size_t wrap_count(struct vault *v)
{
	struct vault_wrap wraps[VAULT_SLOTS];
	size_t count = 0;

	ck_assert_int_eq(vault_wraps(v, wraps, &count), 0);
	return count;
}

/* Whether the bytes are anywhere in the vault's file or its log as they lie on the disk. */
static bool on_disk(struct bytes b)
{
	static const char *const names[] = {"vault", "vault-wal"};
	bool found = false;

	for (size_t i = 0; i < 2 && !found; i++) {
		char name[128];
		struct stat st;
		uint8_t *data;
		int fd;

		snprintf(name, sizeof(name), "%s/%s", directory, names[i]);
		fd = open(name, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		ck_assert_int_eq(fstat(fd, &st), 0);
		data = malloc((size_t)st.st_size + 1);
		ck_assert_ptr_nonnull(data);
		ck_assert_int_eq(read(fd, data, (size_t)st.st_size), st.st_size);
		close(fd);
		found = memmem(data, (size_t)st.st_size, b.data, b.size) != NULL;
		free(data);
	}
	return found;
}

START_TEST(either_key_is_enough)
{
	struct vault *v;

	options.opener_count = 2;
	v = open_vault();
	fill(v, 10);
	vault_close(v);
	/* Losing one secret does not matter, whichever it is. */
	ck_assert_int_eq(unlink(keys[0]), 0);
	options.create = false;
	v = open_vault();
	expect(v, 3, 1);
	ck_assert_uint_eq(wrap_count(v), 2);
	vault_close(v);
	ck_assert_int_eq(open_with(keys[1]), 0);
	ck_assert_int_eq(open_with(keys[0]), VAULT_KEY_FILE);
}
END_TEST

START_TEST(adding_and_removing)
{
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = keys[0]};
	struct vault_prepared p = {.secret = NULL};
	struct vault_wrap wraps[VAULT_SLOTS];
	struct vault *v = open_vault();
	struct vault_wrap removed;
	size_t count = 0;
	uint8_t slot = 0;

	fill(v, 10);
	ck_assert_int_eq(vault_wrap_remove(v, 1, why, sizeof(why)), VAULT_REFUSED);
	ck_assert_ptr_nonnull(strstr(why, "is the last"));
	/* What opens it already is not independent of itself. */
	ck_assert_int_eq(vault_wrap_prepare(&opener, "again", true, &p, why, sizeof(why)), 0);
	ck_assert_int_eq(vault_wrap_add(v, &p, &slot, why, sizeof(why)), VAULT_REFUSED);
	ck_assert_ptr_nonnull(strstr(why, "opens slot 1 already"));
	ck_assert_int_eq(vault_wrap_rotate(v, 1, &p, why, sizeof(why)), VAULT_REFUSED);
	vault_prepared_clear(&p);

	ck_assert_uint_eq(add_key(v, keys[1], "in the safe"), 2);
	ck_assert_int_eq(vault_wraps(v, wraps, &count), 0);
	ck_assert_uint_eq(count, 2);
	ck_assert_str_eq(wraps[1].label, "in the safe");
	ck_assert_uint_eq(wraps[1].slot, 2);
	removed = wraps[0];
	ck_assert(on_disk(bytes_of(removed.sealed, sizeof(removed.sealed))));
	ck_assert_int_eq(vault_wrap_remove(v, 1, why, sizeof(why)), 0);
	ck_assert(!on_disk(bytes_of(removed.sealed, sizeof(removed.sealed))));
	ck_assert(!on_disk(bytes_of(removed.public_key, sizeof(removed.public_key))));
	ck_assert_int_eq(vault_wrap_remove(v, 1, why, sizeof(why)), VAULT_REFUSED);
	ck_assert_int_eq(vault_wrap_remove(v, 2, why, sizeof(why)), VAULT_REFUSED);
	expect(v, 3, 1);
	vault_close(v);
	ck_assert_int_eq(open_with(keys[0]), VAULT_DAMAGED);
	ck_assert_int_eq(open_with(keys[1]), 0);
}
END_TEST

START_TEST(all_slots)
{
	struct vault_prepared p = {.secret = NULL};
	struct vault *v = open_vault();
	char key_file[128];
	uint8_t slot = 0;

	for (unsigned i = 2; i <= VAULT_SLOTS; i++) {
		snprintf(key_file, sizeof(key_file), "%s/extra-%u", directory, i);
		ck_assert_uint_eq(add_key(v, key_file, NULL), i);
	}
	prepare_passphrase("one too many", &p);
	ck_assert_int_eq(vault_wrap_add(v, &p, &slot, why, sizeof(why)), VAULT_REFUSED);
	ck_assert_ptr_nonnull(strstr(why, "all 8 slots"));
	ck_assert_int_eq(vault_wrap_remove(v, 5, why, sizeof(why)), 0);
	ck_assert_int_eq(vault_wrap_add(v, &p, &slot, why, sizeof(why)), 0);
	ck_assert_uint_eq(slot, 5);
	vault_prepared_clear(&p);
	vault_close(v);
	ck_assert_int_eq(open_with(key_file), 0);
	if (!sampling()) {
		ck_assert_int_eq(open_with_passphrase("one too many"), 0);
		ck_assert_int_eq(open_with_passphrase("one too few"), VAULT_DAMAGED);
	}
}
END_TEST

START_TEST(rotating)
{
	struct vault_prepared p = {.secret = NULL};
	struct vault_wrap wraps[VAULT_SLOTS];
	struct vault *v = open_vault();
	struct vault_wrap before;
	size_t count = 0;

	fill(v, 10);
	ck_assert_int_eq(vault_wraps(v, wraps, &count), 0);
	before = wraps[0];
	prepare_passphrase("from a key file to a passphrase", &p);
	ck_assert_int_eq(vault_wrap_rotate(v, 2, &p, why, sizeof(why)), VAULT_REFUSED);
	ck_assert_int_eq(vault_wrap_rotate(v, 9, &p, why, sizeof(why)), VAULT_REFUSED);
	ck_assert_int_eq(vault_wrap_rotate(v, 1, &p, why, sizeof(why)), 0);
	vault_prepared_clear(&p);
	ck_assert(!on_disk(bytes_of(before.sealed, sizeof(before.sealed))));
	ck_assert_int_eq(vault_wraps(v, wraps, &count), 0);
	ck_assert_uint_eq(count, 1);
	ck_assert_int_eq(wraps[0].source, VAULT_SOURCE_PASSPHRASE);
	ck_assert_str_eq(wraps[0].label, "passphrase");
	vault_close(v);
	ck_assert_int_eq(open_with(keys[0]), VAULT_DAMAGED);
	ck_assert_int_eq(open_with_passphrase("from a key file to a passphrase"), 0);
}
END_TEST

START_TEST(labels_refused)
{
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = keys[1]};
	struct vault_prepared p = {.secret = NULL};

	ck_assert_int_eq(vault_wrap_prepare(&opener, "", true, &p, why, sizeof(why)),
			 VAULT_REFUSED);
	ck_assert_int_eq(vault_wrap_prepare(&opener, "a\tb", true, &p, why, sizeof(why)),
			 VAULT_REFUSED);
	ck_assert_int_eq(access(keys[1], F_OK), -1);
	ck_assert_int_eq(vault_wrap_prepare(&opener, NULL, false, &p, why, sizeof(why)),
			 VAULT_KEY_FILE);
	ck_assert_ptr_null(p.secret);
}
END_TEST

START_TEST(will_it_open)
{
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = keys[0]};
	SCOPED_SECRET *passphrase = secret_copy(bytes_text("in my head"));
	struct vault_opener head = {.source = VAULT_SOURCE_PASSPHRASE, .passphrase = passphrase};
	struct vault_prepared p = {.secret = NULL};
	struct vault *v = open_vault();
	struct vault_opener_check check;
	uint64_t records = 0;
	uint64_t damaged = 0;
	uint8_t slot = 0;

	fill(v, 500);
	vault_check_opener(v, &opener, &check);
	ck_assert_int_eq(check.result, 0);
	ck_assert_uint_eq(check.slot, 1);
	vault_check_opener(v, &head, &check);
	ck_assert_int_eq(check.result, VAULT_REFUSED);
	prepare_passphrase("in my head", &p);
	ck_assert_int_eq(vault_wrap_add(v, &p, &slot, why, sizeof(why)), 0);
	ck_assert_int_eq(vault_check_slot(v, slot, p.secret), 0);
	ck_assert_int_eq(vault_check_slot(v, 1, p.secret), VAULT_REFUSED);
	ck_assert_int_eq(vault_check_slot(v, 7, p.secret), VAULT_REFUSED);
	vault_prepared_clear(&p);
	vault_check_opener(v, &head, &check);
	ck_assert_int_eq(check.result, 0);
	ck_assert_uint_eq(check.slot, 2);
	ck_assert_int_eq(vault_check_rows(v, why, sizeof(why)), 0);
	ck_assert_int_eq(vault_check_records(v, 0, &records, &damaged), 0);
	ck_assert_uint_ge(records, 500);
	ck_assert_uint_eq(damaged, 0);
	ck_assert_int_eq(vault_check_records(v, 50, &records, &damaged), 0);
	ck_assert_uint_eq(records, 50);

	/* The key file is read afresh: somebody has exchanged it under the daemon. */
	ck_assert_int_eq(rename(keys[0], keys[1]), 0);
	vault_check_opener(v, &opener, &check);
	ck_assert_int_eq(check.result, VAULT_KEY_FILE);
	ck_assert_ptr_nonnull(strstr(check.why, "No such file"));
	ck_assert_uint_eq(add_key(v, keys[0], "another"), 3);
	ck_assert_int_eq(vault_wrap_remove(v, 3, why, sizeof(why)), 0);
	vault_check_opener(v, &opener, &check);
	ck_assert_int_eq(check.result, VAULT_REFUSED);
	ck_assert_ptr_nonnull(strstr(check.why, "opens no slot"));
	vault_close(v);
}
END_TEST

static struct vault_rekey_progress progress_of(struct vault *v)
{
	struct vault_rekey_progress p;

	vault_rekey_progress(v, &p);
	return p;
}

START_TEST(rekeying_while_serving)
{
	const size_t records = record_count();
	struct vault_prepared passphrase = {.secret = NULL};
	static int version[RECORDS + 100];
	struct vault_wrap old[VAULT_SLOTS];
	struct vault *v = open_vault();
	struct vault_rekey_progress p;
	size_t count = 0;
	size_t flushes = 0;
	uint8_t slot = 0;

	fill(v, records);
	for (size_t i = 0; i < records + 100; i++)
		version[i] = i < records ? 1 : 0;
	/* Neither its passphrase nor the second key file is at hand while re-keying. */
	prepare_passphrase("in my head", &passphrase);
	ck_assert_int_eq(vault_wrap_add(v, &passphrase, &slot, why, sizeof(why)), 0);
	vault_prepared_clear(&passphrase);
	ck_assert_uint_eq(add_key(v, keys[1], NULL), 3);
	ck_assert_int_eq(rename(keys[1], keys[2]), 0);
	ck_assert_int_eq(vault_wraps(v, old, &count), 0);
	ck_assert_uint_eq(count, 3);

	submit(v, 7, 2); /* sealed before it begins, durable after */
	version[7] = 2;
	ck_assert_int_eq(vault_rekey_begin(v, why, sizeof(why)), 0);
	ck_assert_int_eq(vault_rekey_begin(v, why, sizeof(why)), VAULT_REFUSED);
	ck_assert_ptr_nonnull(strstr(why, "under way"));
	p = progress_of(v);
	ck_assert_uint_eq(p.from, 1);
	ck_assert_uint_eq(p.to, 2);
	ck_assert_uint_ge(p.total, records);
	for (flushes = 0; vault_rekey_pending(v); flushes++) {
		size_t i = flushes * 37 % (records + 100);

		ck_assert_uint_lt(flushes, 1000);
		if (flushes % 3 == 0)
			version[i] = flushes % 2 ? 0 : (int)flushes + 2;
		if (flushes % 3 == 0)
			submit(v, i, version[i]);
		(void)vault_flush(v);
		ck_assert(!vault_pending(v));
		for (size_t j = 0; j < records + 100; j += 97)
			expect(v, (j + flushes) % (records + 100),
			       version[(j + flushes) % (records + 100)]);
	}
	ck_assert_uint_gt(flushes, 20);
	p = progress_of(v);
	ck_assert_uint_eq(p.from, 0);
	ck_assert_uint_eq(p.damaged, 0);
	ck_assert_int_eq(p.error, 0);
	for (size_t i = 0; i < records + 100; i++)
		expect(v, i, version[i]);
	/* Of the old master nothing is left, with the vault still open. */
	for (size_t i = 0; i < count; i++) {
		ck_assert(!on_disk(bytes_of(old[i].sealed, sizeof(old[i].sealed))));
		ck_assert(!on_disk(bytes_of(old[i].ephemeral, sizeof(old[i].ephemeral))));
	}
	ck_assert_int_eq(vault_wraps(v, old, &count), 0);
	ck_assert_uint_eq(count, 3);
	ck_assert(on_disk(bytes_of(old[2].sealed, sizeof(old[2].sealed))));
	vault_close(v);

	ck_assert_int_eq(open_with(keys[0]), 0);
	ck_assert_int_eq(open_with(keys[2]), 0);
	if (!sampling())
		ck_assert_int_eq(open_with_passphrase("in my head"), 0);
	v = open_vault();
	for (size_t i = 0; i < records + 100; i++)
		expect(v, i, version[i]);
	ck_assert_int_eq(vault_check_rows(v, why, sizeof(why)), 0);
	/* And once more. */
	ck_assert_int_eq(vault_rekey_begin(v, why, sizeof(why)), 0);
	while (vault_rekey_pending(v))
		(void)vault_flush(v);
	ck_assert_uint_eq(progress_of(v).to, 3);
	expect(v, 1, version[1]);
	vault_close(v);
}
END_TEST

/* Slots change while two masters are there: each slot must open both. */
START_TEST(wraps_change_while_rekeying)
{
	struct vault_prepared p = {.secret = NULL};
	const size_t count = sampling() ? 100 : 300;
	struct vault *v = open_vault();
	uint64_t records = 0;
	uint64_t damaged = 1;

	fill(v, count);
	ck_assert_uint_eq(add_key(v, keys[1], NULL), 2);
	ck_assert_int_eq(vault_rekey_begin(v, why, sizeof(why)), 0);
	(void)vault_flush(v);
	ck_assert_uint_eq(add_key(v, keys[2], NULL), 3);
	prepare_passphrase("instead of the first", &p);
	ck_assert_int_eq(vault_wrap_rotate(v, 1, &p, why, sizeof(why)), 0);
	vault_prepared_clear(&p);
	ck_assert_int_eq(vault_wrap_remove(v, 2, why, sizeof(why)), 0);
	vault_close(v);
	ck_assert_int_eq(open_with(keys[0]), VAULT_DAMAGED);
	ck_assert_int_eq(open_with(keys[1]), VAULT_DAMAGED);
	ck_assert_int_eq(open_with_passphrase("instead of the first"), 0);
	openers[0].path = keys[2];
	v = open_vault();
	ck_assert_uint_eq(progress_of(v).from, 1);
	ck_assert(vault_rekey_pending(v));
	ck_assert_int_eq(vault_check_records(v, 0, &records, &damaged), 0);
	ck_assert_uint_eq(damaged, 0);
	while (vault_rekey_pending(v))
		(void)vault_flush(v);
	for (size_t i = 0; i < count; i++)
		expect(v, i, 1);
	vault_close(v);
	if (!sampling())
		ck_assert_int_eq(open_with_passphrase("instead of the first"), 0);
}
END_TEST

/*
 * One slot's wrap of the older master is spoiled in the middle of re-keying: opened by that slot,
 * nothing is given up, and by the other it goes on.
 */
START_TEST(older_wrap_spoiled)
{
	struct vault *v = open_vault();
	uint64_t records = 0;
	uint64_t damaged = 0;
	sqlite3 *db = NULL;

	fill(v, 300);
	ck_assert_uint_eq(add_key(v, keys[1], NULL), 2);
	ck_assert_int_eq(vault_rekey_begin(v, why, sizeof(why)), 0);
	(void)vault_flush(v);
	vault_close(v);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db,
				      "UPDATE wrap SET sealed = zeroblob(48)"
				      " WHERE slot = 1 AND generation = 1",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	v = open_vault();
	ck_assert_int_eq(vault_check_rows(v, why, sizeof(why)), VAULT_DAMAGED);
	ck_assert_ptr_nonnull(strstr(why, "generation 1"));
	ck_assert_int_eq(vault_rekey_begin(v, why, sizeof(why)), VAULT_REFUSED);
	ck_assert_ptr_nonnull(strstr(why, "generation 1"));
	for (int i = 0; i < 20; i++)
		(void)vault_flush(v);
	ck_assert_int_eq(vault_check_records(v, 0, &records, &damaged), 0);
	ck_assert_uint_gt(damaged, 200);
	vault_close(v);
	openers[0].path = keys[1];
	v = open_vault();
	while (vault_rekey_pending(v))
		(void)vault_flush(v);
	for (size_t i = 0; i < 300; i++)
		expect(v, i, 1);
	ck_assert_int_eq(vault_check_rows(v, why, sizeof(why)), 0);
	vault_close(v);
	ck_assert_int_eq(open_with(keys[0]), 0);
}
END_TEST

/* What a process does that is killed after so many flushes. */
static void run_and_die(int flushes, size_t i, int version, bool close)
{
	struct vault *v = NULL;

	if (vault_open(&options, &v, why, sizeof(why)) != 0)
		_exit(1);
	if (progress_of(v).from == 0 && vault_rekey_begin(v, why, sizeof(why)) != 0)
		_exit(2);
	for (int n = 0; n < flushes; n++)
		(void)vault_flush(v);
	submit(v, i, version);
	if (vault_flush(v) != 1)
		_exit(3);
	if (close)
		vault_close(v);
	(void)raise(SIGKILL);
}

START_TEST(killed_while_rekeying)
{
	const size_t records = record_count();
	static int version[RECORDS];
	struct vault_wrap old[VAULT_SLOTS];
	struct vault *v = open_vault();
	uint32_t generation = 1;
	size_t count = 0;
	int finished = 0;

	fill(v, records);
	for (size_t i = 0; i < records; i++)
		version[i] = 1;
	ck_assert_int_eq(vault_wraps(v, old, &count), 0);
	vault_close(v);
	for (int round = 0; round < (sampling() ? 12 : 40); round++) {
		size_t i = (size_t)round * 31 % records;
		struct vault_rekey_progress p;
		pid_t child;
		int status;

		version[i] = round + 2;
		child = fork();
		if (child == 0)
			run_and_die(round % 9 * 2, i, version[i], round % 4 == 3);
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_msg(WIFSIGNALED(status), "exit %d", WEXITSTATUS(status));
		v = open_vault();
		for (size_t j = 0; j < records; j += round % 10 == 0 ? 1 : 53)
			expect(v, j, version[j]);
		expect(v, i, version[i]);
		p = progress_of(v);
		ck_assert_uint_ge(p.to, generation);
		if (p.from == 0)
			finished++;
		generation = p.to;
		if (round % 5 == 0)
			(void)vault_flush(v);
		vault_close(v);
	}
	ck_assert_int_gt(finished, 1);
	v = open_vault();
	while (vault_rekey_pending(v))
		(void)vault_flush(v);
	for (size_t j = 0; j < records; j++)
		expect(v, j, version[j]);
	ck_assert(!on_disk(bytes_of(old[0].sealed, sizeof(old[0].sealed))));
	vault_close(v);
}
END_TEST

/* A crash right after the end: the log still has the old rows, the next one to open removes them.
 */
START_TEST(log_is_emptied_after_a_crash)
{
	struct vault_wrap old[VAULT_SLOTS];
	struct vault *v = open_vault();
	size_t count = 0;
	pid_t child;
	int status;

	fill(v, 10);
	ck_assert_int_eq(vault_wraps(v, old, &count), 0);
	vault_close(v);
	child = fork();
	if (child == 0) {
		v = open_vault();
		(void)vault_rekey_begin(v, why, sizeof(why));
		(void)raise(SIGKILL);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	v = open_vault();
	ck_assert(vault_rekey_pending(v));
	while (vault_rekey_pending(v))
		(void)vault_flush(v);
	ck_assert(!on_disk(bytes_of(old[0].sealed, sizeof(old[0].sealed))));
	vault_close(v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vault-manage");
	TCase *t = tcase_create("manage");
	SRunner *runner;
	int not_passed;

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, either_key_is_enough);
	tcase_add_test(t, adding_and_removing);
	tcase_add_test(t, all_slots);
	tcase_add_test(t, rotating);
	tcase_add_test(t, labels_refused);
	tcase_add_test(t, will_it_open);
	tcase_add_test(t, rekeying_while_serving);
	tcase_add_test(t, wraps_change_while_rekeying);
	tcase_add_test(t, older_wrap_spoiled);
	tcase_add_test(t, killed_while_rekeying);
	tcase_add_test(t, log_is_emptied_after_a_crash);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	not_passed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return not_passed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
