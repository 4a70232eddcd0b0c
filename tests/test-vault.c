#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>
#include <sqlite3.h>

#include "storage/vault.h"

static char directory[64];
static char path[128];
static char key_file[128];
static char why[256];
static const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_file};

static void setup(void)
{
	strcpy(directory, "/tmp/test-vault-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/vault", directory);
	snprintf(key_file, sizeof(key_file), "%s/key", directory);
}

static void teardown(void)
{
	static const char *const names[] = {
		"vault",    "vault-wal", "vault-shm",     "vault-journal", "key",
		"key.away", "vault.new", "vault.new-wal", "vault.copy",    "vault.new-journal"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char name[160];

		snprintf(name, sizeof(name), "%s/%s", directory, names[i]);
		unlink(name);
	}
	ck_assert_int_eq(rmdir(directory), 0);
	ck_assert_uint_eq(secret_count(), 0);
}

static int try_open(bool make, struct vault **v)
{
	struct vault_options options = {
		.path = path, .openers = &opener, .opener_count = 1, .create = make};
	int r;

	strcpy(why, "-");
	r = vault_open(&options, v, why, sizeof(why));
	if (r != 0)
		ck_assert_msg(strlen(why) > 10, "no explanation for %d: '%s'", r, why);
	return r;
}

static struct vault *open_vault(void)
{
	struct vault *v = NULL;
	int r = try_open(true, &v);

	ck_assert_msg(r == 0, "vault_open: %d %s", r, why);
	return v;
}

static struct vault_id id_of(enum vault_kind kind, const char *owner, const char *item)
{
	return (struct vault_id){kind, bytes_text(owner), bytes_text(item)};
}

struct told {
	int calls;
	int result;
};

static void on_done(void *arg, int result)
{
	struct told *told = arg;

	told->calls++;
	told->result = result;
}

static void put(struct vault_batch *b, enum vault_kind kind, const char *owner, const char *item,
		const char *content)
{
	struct vault_id id = id_of(kind, owner, item);

	vault_batch_put(b, &id, bytes_text(content));
}

static void submit(struct vault *v, struct vault_batch *b)
{
	struct told told = {0, 1};

	ck_assert_int_eq(vault_submit(v, b, on_done, &told), 0);
	ck_assert(vault_pending(v));
	ck_assert_int_eq(told.calls, 0);
	ck_assert_uint_eq(vault_flush(v), 1);
	ck_assert_int_eq(told.calls, 1);
	ck_assert_int_eq(told.result, 0);
	ck_assert(!vault_pending(v));
}

static void put_now(struct vault *v, enum vault_kind kind, const char *owner, const char *item,
		    const char *content)
{
	struct vault_batch *b = vault_batch_new();

	put(b, kind, owner, item, content);
	submit(v, b);
}

static int get_result(struct vault *v, enum vault_kind kind, const char *owner, const char *item)
{
	struct vault_id id = id_of(kind, owner, item);
	struct vault_content c = {NULL, 0};
	int r = vault_get(v, &id, &c);

	vault_content_free(&c);
	return r;
}

static void expect(struct vault *v, enum vault_kind kind, const char *owner, const char *item,
		   const char *content)
{
	struct vault_id id = id_of(kind, owner, item);
	struct vault_content c = {NULL, 0};

	ck_assert_int_eq(vault_get(v, &id, &c), 0);
	ck_assert(bytes_equal(bytes_of(c.data, c.size), bytes_text(content)));
	vault_content_free(&c);
	ck_assert_ptr_null(c.data);
}

/* Lists what a walk sees as "owner/item=content;". */
struct listing {
	char text[1024];
	size_t stop_after;
	size_t count;
};

static int list_one(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct listing *l = arg;
	size_t used = strlen(l->text);

	snprintf(l->text + used, sizeof(l->text) - used, "%.*s/%.*s=%.*s;", (int)owner.size,
		 (const char *)owner.data, (int)item.size, (const char *)item.data,
		 (int)content.size, (const char *)content.data);
	return ++l->count == l->stop_after ? 42 : 0;
}

static void expect_list(struct vault *v, enum vault_kind kind, const char *owner,
			const char *expected, size_t expected_damaged)
{
	struct listing l = {.stop_after = 0};
	size_t damaged = 99;

	ck_assert_int_eq(vault_each(v, kind, bytes_text(owner), list_one, &l, &damaged), 0);
	ck_assert_str_eq(l.text, expected);
	ck_assert_uint_eq(damaged, expected_damaged);
}

START_TEST(test_put_get_erase)
{
	struct vault *v = open_vault();
	struct vault_batch *b;
	struct vault_id id;

	ck_assert_int_eq(get_result(v, VAULT_EUKEY, "headset-1", "1"), VAULT_ABSENT);
	put_now(v, VAULT_EUKEY, "headset-1", "1", "first");
	put_now(v, VAULT_EUKEY, "headset-1", "", "empty item");
	put_now(v, VAULT_EUKEY, "", "1", "empty owner");
	put_now(v, VAULT_TEMPORARY_KEY, "headset-1", "1", "other kind");
	put_now(v, VAULT_EUKEY, "headset-2", "2", "");
	expect(v, VAULT_EUKEY, "headset-1", "1", "first");
	expect(v, VAULT_EUKEY, "headset-1", "", "empty item");
	expect(v, VAULT_EUKEY, "", "1", "empty owner");
	expect(v, VAULT_TEMPORARY_KEY, "headset-1", "1", "other kind");
	expect(v, VAULT_EUKEY, "headset-2", "2", "");
	put_now(v, VAULT_EUKEY, "headset-1", "1", "second");
	expect(v, VAULT_EUKEY, "headset-1", "1", "second");
	b = vault_batch_new();
	id = id_of(VAULT_EUKEY, "headset-1", "1");
	vault_batch_erase(b, &id);
	id = id_of(VAULT_EUKEY, "nobody", "1");
	vault_batch_erase(b, &id);
	submit(v, b);
	ck_assert_int_eq(get_result(v, VAULT_EUKEY, "headset-1", "1"), VAULT_ABSENT);
	expect(v, VAULT_EUKEY, "headset-1", "", "empty item");
	vault_close(v);

	v = open_vault();
	ck_assert_int_eq(get_result(v, VAULT_EUKEY, "headset-1", "1"), VAULT_ABSENT);
	expect(v, VAULT_TEMPORARY_KEY, "headset-1", "1", "other kind");
	vault_close(v);
}
END_TEST

START_TEST(test_largest)
{
	static uint8_t content[VAULT_CONTENT_MAX + 1];
	static uint8_t names[VAULT_OWNER_MAX + 1];
	struct vault *v = open_vault();
	struct vault_content c = {NULL, 0};
	struct vault_id id = {VAULT_ANSWER, bytes_of(names, VAULT_OWNER_MAX),
			      bytes_of(names, VAULT_ITEM_MAX)};
	struct vault_batch *b = vault_batch_new();

	memset(content, 0xa5, sizeof(content));
	vault_batch_put(b, &id, bytes_of(content, VAULT_CONTENT_MAX));
	submit(v, b);
	ck_assert_int_eq(vault_get(v, &id, &c), 0);
	ck_assert(bytes_equal(bytes_of(c.data, c.size), bytes_of(content, VAULT_CONTENT_MAX)));
	vault_content_free(&c);

	b = vault_batch_new();
	vault_batch_put(b, &id, bytes_of(content, VAULT_CONTENT_MAX + 1));
	put(b, VAULT_PNE, "not", "stored", "either");
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), -EINVAL);
	b = vault_batch_new();
	id.owner.size++;
	vault_batch_erase(b, &id);
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), -EINVAL);
	ck_assert_int_eq(vault_get(v, &id, &c), -EINVAL);
	ck_assert(!vault_pending(v));
	vault_batch_free(vault_batch_new());
	vault_batch_free(NULL);
	vault_close(v);
}
END_TEST

START_TEST(test_each)
{
	struct vault *v = open_vault();
	struct listing l = {.stop_after = 2};

	put_now(v, VAULT_EUKEY, "b", "2", "x");
	put_now(v, VAULT_EUKEY, "a", "1", "y");
	put_now(v, VAULT_PNE, "a", "", "not this kind");
	put_now(v, VAULT_EUKEY, "b", "1", "z");
	expect_list(v, VAULT_EUKEY, NULL, "b/2=x;a/1=y;b/1=z;", 0);
	expect_list(v, VAULT_EUKEY, "b", "b/2=x;b/1=z;", 0);
	put_now(v, VAULT_EUKEY, "b", "2", "again");
	expect_list(v, VAULT_EUKEY, NULL, "a/1=y;b/1=z;b/2=again;", 0);
	expect_list(v, VAULT_DELIVERY, NULL, "", 0);
	ck_assert_int_eq(vault_each(v, VAULT_EUKEY, BYTES_NONE, list_one, &l, NULL), 42);
	ck_assert_str_eq(l.text, "a/1=y;b/1=z;");
	vault_close(v);
	v = open_vault();
	put_now(v, VAULT_EUKEY, "c", "1", "late");
	expect_list(v, VAULT_EUKEY, NULL, "a/1=y;b/1=z;b/2=again;c/1=late;", 0);
	vault_close(v);
}
END_TEST

static int read_other(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct vault *v = arg;

	expect(v, VAULT_PNE, "a", "", "owner of a");
	expect_list(v, VAULT_EUKEY, NULL, "a/1=x;a/2=y;", 0);
	ck_assert(bytes_equal(owner, bytes_text("a")));
	ck_assert_uint_eq(item.size, 1);
	ck_assert_uint_eq(content.size, 1);
	return 0;
}

START_TEST(test_each_reads)
{
	struct vault *v = open_vault();

	put_now(v, VAULT_PNE, "a", "", "owner of a");
	put_now(v, VAULT_EUKEY, "a", "1", "x");
	put_now(v, VAULT_EUKEY, "a", "2", "y");
	ck_assert_int_eq(vault_each(v, VAULT_EUKEY, BYTES_NONE, read_other, v, NULL), 0);
	vault_close(v);
}
END_TEST

START_TEST(test_trim_and_erase_owner)
{
	struct vault *v = open_vault();
	struct vault_batch *b;

	put_now(v, VAULT_ANSWER, "a", "1", "x");
	put_now(v, VAULT_ANSWER, "b", "1", "x");
	put_now(v, VAULT_ANSWER, "a", "2", "x");
	put_now(v, VAULT_ANSWER, "a", "3", "x");
	b = vault_batch_new();
	vault_batch_trim(b, VAULT_ANSWER, bytes_text("a"), 2);
	put(b, VAULT_ANSWER, "a", "4", "x");
	submit(v, b);
	expect_list(v, VAULT_ANSWER, NULL, "b/1=x;a/3=x;a/4=x;", 0);
	b = vault_batch_new();
	vault_batch_trim(b, VAULT_ANSWER, bytes_text("a"), 2);
	vault_batch_trim(b, VAULT_ANSWER, bytes_text("b"), SIZE_MAX);
	vault_batch_trim(b, VAULT_ANSWER, bytes_text("c"), 0);
	submit(v, b);
	expect_list(v, VAULT_ANSWER, NULL, "b/1=x;a/3=x;a/4=x;", 0);
	b = vault_batch_new();
	vault_batch_erase_owner(b, VAULT_ANSWER, bytes_text("a"));
	put(b, VAULT_ANSWER, "a", "5", "x");
	submit(v, b);
	expect_list(v, VAULT_ANSWER, NULL, "b/1=x;a/5=x;", 0);
	b = vault_batch_new();
	vault_batch_trim(b, VAULT_ANSWER, bytes_text("a"), 0);
	submit(v, b);
	expect_list(v, VAULT_ANSWER, NULL, "b/1=x;", 0);
	vault_close(v);
}
END_TEST

struct resubmit {
	struct vault *v;
	struct told second;
	int calls;
};

static void submit_again(void *arg, int result)
{
	struct resubmit *r = arg;
	struct vault_batch *b = vault_batch_new();

	ck_assert_int_eq(result, 0);
	r->calls++;
	expect(r->v, VAULT_PNE, "a", "", "1");
	put(b, VAULT_PNE, "b", "", "2");
	ck_assert_int_eq(vault_submit(r->v, b, on_done, &r->second), 0);
}

START_TEST(test_flush)
{
	struct vault *v = open_vault();
	struct vault_batch *b = vault_batch_new();
	struct resubmit r = {.v = v};
	struct told told = {0, 1};

	ck_assert(!vault_pending(v));
	ck_assert_uint_eq(vault_flush(v), 0);
	put(b, VAULT_PNE, "a", "", "1");
	ck_assert_int_eq(vault_submit(v, b, submit_again, &r), 0);
	b = vault_batch_new();
	put(b, VAULT_PNE, "c", "", "3");
	ck_assert_int_eq(vault_submit(v, b, on_done, &told), 0);
	ck_assert_int_eq(get_result(v, VAULT_PNE, "a", ""), VAULT_ABSENT);
	expect_list(v, VAULT_PNE, NULL, "", 0);
	ck_assert_uint_eq(vault_flush(v), 2);
	ck_assert_int_eq(r.calls, 1);
	ck_assert_int_eq(told.calls, 1);
	ck_assert_int_eq(r.second.calls, 0);
	ck_assert(vault_pending(v));
	ck_assert_int_eq(get_result(v, VAULT_PNE, "b", ""), VAULT_ABSENT);
	ck_assert_uint_eq(vault_flush(v), 1);
	ck_assert_int_eq(r.second.calls, 1);
	ck_assert_int_eq(r.calls, 1);
	expect_list(v, VAULT_PNE, NULL, "a/=1;c/=3;b/=2;", 0);
	b = vault_batch_new();
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
	vault_close(v);
}
END_TEST

static void submit_while_closing(void *arg, int result)
{
	struct resubmit *r = arg;
	struct vault_batch *b = vault_batch_new();

	r->calls++;
	ck_assert_int_eq(result, -ECANCELED);
	put(b, VAULT_PNE, "b", "", "2");
	ck_assert_int_eq(vault_submit(r->v, b, on_done, &r->second), -ECANCELED);
}

START_TEST(test_close_cancels)
{
	struct vault *v = open_vault();
	struct vault_batch *b = vault_batch_new();
	struct resubmit r = {.v = v};
	struct told told = {0, 1};

	put(b, VAULT_PNE, "a", "", "1");
	ck_assert_int_eq(vault_submit(v, b, on_done, &told), 0);
	ck_assert_int_eq(vault_submit(v, vault_batch_new(), submit_while_closing, &r), 0);
	vault_close(v);
	ck_assert_int_eq(told.calls, 1);
	ck_assert_int_eq(told.result, -ECANCELED);
	ck_assert_int_eq(r.calls, 1);
	ck_assert_int_eq(r.second.calls, 0);
	vault_close(NULL);
	v = open_vault();
	ck_assert_int_eq(get_result(v, VAULT_PNE, "a", ""), VAULT_ABSENT);
	vault_close(v);
}
END_TEST

/* A commit that the file system refuses leaves nothing behind, and the vault goes on afterwards. */
START_TEST(test_atomic)
{
	static uint8_t content[VAULT_CONTENT_MAX];
	struct vault *v = open_vault();
	struct vault_batch *b;
	struct told told[2] = {{0, 1}, {0, 1}};
	struct rlimit limit, small;

	put_now(v, VAULT_EUKEY, "a", "1", "before");
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	small = limit;
	small.rlim_cur = 100000;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);

	b = vault_batch_new();
	put(b, VAULT_EUKEY, "a", "1", "after");
	put(b, VAULT_EUKEY, "a", "2", "new");
	ck_assert_int_eq(vault_submit(v, b, on_done, &told[0]), 0);
	b = vault_batch_new();
	for (uint8_t i = 0; i < 50; i++) {
		struct vault_id id = {VAULT_ANSWER, bytes_text("a"), bytes_of(&i, 1)};

		vault_batch_put(b, &id, bytes_of(content, sizeof(content)));
	}
	ck_assert_int_eq(vault_submit(v, b, on_done, &told[1]), 0);
	ck_assert_uint_eq(vault_flush(v), 2);
	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(told[i].calls, 1);
		ck_assert_int_lt(told[i].result, 0);
	}
	expect_list(v, VAULT_EUKEY, NULL, "a/1=before;", 0);
	expect_list(v, VAULT_ANSWER, NULL, "", 0);
	put_now(v, VAULT_EUKEY, "a", "3", "small enough");
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	put_now(v, VAULT_EUKEY, "a", "4", "room again");
	vault_close(v);
	v = open_vault();
	expect_list(v, VAULT_EUKEY, NULL, "a/1=before;a/3=small enough;a/4=room again;", 0);
	expect_list(v, VAULT_ANSWER, NULL, "", 0);
	vault_close(v);
}
END_TEST

static void sql(const char *text)
{
	char *message = NULL;
	sqlite3 *db = NULL;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_exec(db, text, NULL, NULL, &message);
	ck_assert_msg(!message, "%s", message);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

static void three_records(void)
{
	struct vault *v = open_vault();

	put_now(v, VAULT_EUKEY, "a", "1", "x");
	put_now(v, VAULT_EUKEY, "a", "2", "y");
	put_now(v, VAULT_EUKEY, "a", "3", "z");
	vault_close(v);
}

/*
 * What is done to the file by hand, and what the walk over it still finds. The records' sequences
 * are 4098 to 4100: one was used when the vault was made, and with it 4096 were reserved.
 */
static const struct {
	const char *sql;
	const char *seen;
	size_t damaged;
} alterations[] = {
	{"UPDATE record SET sealed = CAST(CASE substr(sealed, 1, 1) WHEN x'01' THEN x'02' ELSE "
	 "x'01' END || substr(sealed, 2) AS BLOB) WHERE sequence = 4099",
	 "a/1=x;a/3=z;", 1},
	{"UPDATE record SET sealed = CAST(substr(sealed, 1, 14) || CASE substr(sealed, 15, 1) WHEN "
	 "x'01' THEN x'02' ELSE x'01' END || substr(sealed, 16) AS BLOB) WHERE sequence = 4099",
	 "a/1=x;a/3=z;", 1},
	{"UPDATE record SET sealed = CAST(sealed || x'00' AS BLOB) WHERE sequence = 4099",
	 "a/1=x;a/3=z;", 1},
	{"UPDATE record SET sealed = x'' WHERE sequence = 4099", "a/1=x;a/3=z;", 1},
	{"UPDATE record SET sealed = zeroblob(27) WHERE sequence = 4099", "a/1=x;a/3=z;", 1},
	{"UPDATE record SET sealed = zeroblob(100000) WHERE sequence = 4099", "a/1=x;a/3=z;", 1},
	{"UPDATE record SET name = CAST(substr(name, 1, 32) || CASE substr(name, 33) WHEN x'01' "
	 "THEN x'02' ELSE x'01' END AS BLOB) WHERE sequence = 4099",
	 "a/1=x;a/3=z;", 1},
	{"UPDATE record SET name = substr(name, 1, 32) WHERE sequence = 4099", "a/1=x;a/3=z;", 1},
	{"UPDATE record SET sequence = 9 WHERE sequence = 4099", "a/1=x;a/3=z;", 1},
	{"UPDATE record SET generation = 2 WHERE sequence = 4099", "a/1=x;a/3=z;", 1},
	{"UPDATE record SET generation = 0 WHERE sequence = 4099", "a/1=x;a/3=z;", 1},
	{"UPDATE record SET generation = -1 WHERE sequence = 4099", "a/1=x;a/3=z;", 1},
	{"UPDATE record SET generation = 4294967297 WHERE sequence = 4099", "a/1=x;a/3=z;", 1},
	/* Contents of two rows exchanged; then names exchanged. */
	{"CREATE TEMP TABLE t AS SELECT * FROM record;"
	 "UPDATE record SET sealed = (SELECT sealed FROM t WHERE t.sequence = 4100) "
	 "WHERE sequence = 4099; UPDATE record SET sealed = (SELECT sealed FROM t "
	 "WHERE t.sequence = 4099) WHERE sequence = 4100",
	 "a/1=x;", 2},
	{"CREATE TEMP TABLE t AS SELECT * FROM record; DELETE FROM record WHERE sequence > 4098;"
	 "INSERT INTO record SELECT (SELECT name FROM t WHERE sequence = 4099), sequence,"
	 " generation, sealed FROM t WHERE sequence = 4100;"
	 "INSERT INTO record SELECT (SELECT name FROM t WHERE sequence = 4100), sequence,"
	 " generation, sealed FROM t WHERE sequence = 4099",
	 "a/1=x;", 2},
	/* What opens the vault. */
	{"UPDATE master SET sealed = zeroblob(112)", NULL, 0},
	{"UPDATE master SET sealed = x''", NULL, 0},
	{"UPDATE master SET generation = 2", NULL, 0},
	{"DELETE FROM master", NULL, 0},
	{"UPDATE meta SET vault = zeroblob(16)", NULL, 0},
	{"UPDATE meta SET vault = x''", NULL, 0},
	{"UPDATE meta SET reserved = -5", NULL, 0},
	{"DELETE FROM meta", NULL, 0},
	{"DROP TABLE meta", NULL, 0},
	{"DELETE FROM wrap", NULL, 0},
	{"UPDATE wrap SET sealed = zeroblob(48)", NULL, 0},
	{"UPDATE wrap SET label = 'another'", NULL, 0},
	{"UPDATE wrap SET label = 'a label of more than 32 characters'", NULL, 0},
	{"UPDATE wrap SET slot = 2", NULL, 0},
	{"UPDATE wrap SET slot = 9", NULL, 0},
	{"UPDATE wrap SET generation = 2", NULL, 0},
	{"UPDATE wrap SET source = 2", NULL, 0},
	{"UPDATE wrap SET source = 3", NULL, 0},
	{"UPDATE wrap SET ephemeral = public", NULL, 0},
	{"UPDATE wrap SET parameters = x'00'", NULL, 0},
};

START_TEST(test_altered)
{
	struct vault *v = NULL;

	three_records();
	sql(alterations[_i].sql);
	if (!alterations[_i].seen) {
		ck_assert_int_eq(try_open(false, &v), VAULT_DAMAGED);
		return;
	}
	v = open_vault();
	expect_list(v, VAULT_EUKEY, NULL, alterations[_i].seen, alterations[_i].damaged);
	expect(v, VAULT_EUKEY, "a", "1", "x");
	ck_assert_int_ne(get_result(v, VAULT_EUKEY, "a", "2"), 0);
	put_now(v, VAULT_EUKEY, "a", "4", "still works");
	expect(v, VAULT_EUKEY, "a", "4", "still works");
	vault_close(v);
}
END_TEST

START_TEST(test_altered_is_damaged)
{
	struct vault *v;
	struct vault_batch *b = vault_batch_new();

	three_records();
	sql("UPDATE record SET sealed = zeroblob(60) WHERE sequence = 4099");
	v = open_vault();
	ck_assert_int_eq(get_result(v, VAULT_EUKEY, "a", "2"), VAULT_DAMAGED);
	expect(v, VAULT_EUKEY, "a", "3", "z");
	put(b, VAULT_EUKEY, "a", "2", "mended");
	submit(v, b);
	expect(v, VAULT_EUKEY, "a", "2", "mended");
	vault_close(v);
}
END_TEST

static size_t read_file(const char *name, uint8_t *out, size_t size)
{
	int fd = open(name, O_RDONLY);
	size_t have = 0;
	ssize_t n;

	if (fd < 0)
		return 0;
	while (have < size && (n = read(fd, out + have, size - have)) > 0)
		have += (size_t)n;
	close(fd);
	return have;
}

static void write_file(const char *name, const void *data, size_t size, mode_t mode)
{
	int fd;

	unlink(name);
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, mode);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fchmod(fd, mode), 0);
	ck_assert_int_eq(write(fd, data, size), (ssize_t)size);
	close(fd);
}

START_TEST(test_wrong_key)
{
	static const char other[] =
		"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
	struct vault *v = NULL;
	uint8_t key[128];
	size_t size;

	three_records();
	size = read_file(key_file, key, sizeof(key));
	write_file(key_file, other, strlen(other), 0600);
	ck_assert_int_eq(try_open(true, &v), VAULT_DAMAGED);
	ck_assert_ptr_null(v);
	write_file(key_file, key, size, 0400);
	v = open_vault();
	expect(v, VAULT_EUKEY, "a", "1", "x");
	vault_close(v);
}
END_TEST

START_TEST(test_newer)
{
	static uint8_t before[200000], after[200000];
	struct vault *v = NULL;
	size_t size;

	three_records();
	sql("PRAGMA user_version = 3");
	size = read_file(path, before, sizeof(before));
	ck_assert_int_eq(try_open(true, &v), VAULT_NEWER);
	ck_assert_uint_eq(read_file(path, after, sizeof(after)), size);
	ck_assert_mem_eq(before, after, size);
	sql("PRAGMA user_version = 2; PRAGMA application_id = 7");
	ck_assert_int_eq(try_open(true, &v), VAULT_DAMAGED);
}
END_TEST

/* The newer schema may stand in the log alone: it is not moved into the file either. */
START_TEST(test_newer_in_log)
{
	static uint8_t before[200000], after[200000];
	char wal[160];
	struct vault *v = NULL;
	size_t size;
	pid_t child;
	int status;

	three_records();
	child = fork();
	if (child == 0) {
		sqlite3 *db = NULL;

		sqlite3_open(path, &db);
		sqlite3_exec(db, "PRAGMA user_version = 3", NULL, NULL, NULL);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	snprintf(wal, sizeof(wal), "%s-wal", path);
	size = read_file(wal, before, sizeof(before));
	ck_assert_uint_gt(size, 0);
	ck_assert_int_eq(try_open(true, &v), VAULT_NEWER);
	ck_assert_uint_eq(read_file(wal, after, sizeof(after)), size);
	ck_assert_mem_eq(before, after, size);
}
END_TEST

START_TEST(test_not_a_vault)
{
	static const char junk[] =
		"This is no database at all, but it is long enough to be one if "
		"anybody were to look at nothing but its size, which is over 100.";
	struct vault *v = NULL;

	three_records();
	write_file(path, junk, sizeof(junk), 0600);
	ck_assert_int_eq(try_open(true, &v), VAULT_DAMAGED);
	write_file(path, "", 0, 0600);
	ck_assert_int_eq(try_open(true, &v), VAULT_DAMAGED);
}
END_TEST

START_TEST(test_locked)
{
	struct vault *v = open_vault();
	pid_t child;
	int status;

	put_now(v, VAULT_PNE, "a", "", "1");
	child = fork();
	if (child == 0) {
		struct vault_options options = {
			.path = path, .openers = &opener, .opener_count = 1, .create = true};
		struct vault *second = NULL;
		int r = vault_open(&options, &second, why, sizeof(why));

		if (r == VAULT_LOCKED && why[0])
			raise(SIGKILL);
		_exit(1);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGKILL);
	expect(v, VAULT_PNE, "a", "", "1");
	vault_close(v);
}
END_TEST

/* Key files that are refused, each with a vault that is otherwise good. */
static const struct {
	const char *content;
	mode_t mode;
} bad_keys[] = {
	{NULL, 0},
	{"", 0600},
	{"00112233445566778899aabbccddeeff00112233445566778899aabbccddeef", 0600},
	{"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff0", 0600},
	{"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n\n", 0600},
	{"00112233445566778899aabbccddeeff00112233445566778899aabbccddeefg\n", 0600},
	{"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n", 0640},
	{"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n", 0604},
	{"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n", 0620},
};

START_TEST(test_key_file)
{
	struct vault *v = NULL;

	three_records();
	if (bad_keys[_i].content)
		write_file(key_file, bad_keys[_i].content, strlen(bad_keys[_i].content),
			   bad_keys[_i].mode);
	else
		ck_assert_int_eq(unlink(key_file), 0);
	ck_assert_int_eq(try_open(true, &v), VAULT_KEY_FILE);
	ck_assert_ptr_null(v);
	ck_assert_ptr_null(strstr(why, "00112233"));
	ck_assert_int_eq(access(key_file, F_OK), bad_keys[_i].content ? 0 : -1);
}
END_TEST

START_TEST(test_created_files)
{
	struct vault *v = NULL;
	uint8_t key[128];
	struct stat st;

	umask(0);
	ck_assert_int_eq(try_open(false, &v), -ENOENT);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(access(key_file, F_OK), -1);
	v = open_vault();
	put_now(v, VAULT_PNE, "a", "", "1");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(stat(key_file, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_uint_eq(read_file(key_file, key, sizeof(key)), 65);
	vault_close(v);
	/* Never one without the other. */
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(try_open(true, &v), -ENOENT);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

/* The power goes while vault and key file are made. */
START_TEST(test_creation_cut_short)
{
	char new_path[160];
	struct vault *v;

	snprintf(new_path, sizeof(new_path), "%s.new", path);
	write_file(new_path, "half a file", 11, 0600);
	v = open_vault();
	put_now(v, VAULT_PNE, "a", "", "1");
	vault_close(v);
	ck_assert_int_eq(access(new_path, F_OK), -1);
	ck_assert_int_eq(rename(path, new_path), 0);
	v = open_vault();
	expect(v, VAULT_PNE, "a", "", "1");
	vault_close(v);
	ck_assert_int_eq(access(new_path, F_OK), -1);
}
END_TEST

static bool holds(const char *name, const char *canary)
{
	static uint8_t data[2000000];
	size_t size = read_file(name, data, sizeof(data));

	return memmem(data, size, canary, strlen(canary)) != NULL;
}

START_TEST(test_canaries)
{
	static const char *const canaries[] = {"CANARY-OWNER", "CANARY-ITEM", "CANARY-CONTENT",
					       "pngw vault"};
	struct vault *v = open_vault();
	char wal[160];
	uint8_t key[128];
	struct stat st;

	snprintf(wal, sizeof(wal), "%s-wal", path);
	put_now(v, VAULT_USER, "CANARY-OWNER", "CANARY-ITEM", "CANARY-CONTENT");
	ck_assert_int_eq(stat(wal, &st), 0);
	ck_assert_int_gt(st.st_size, 0);
	for (size_t i = 0; i < sizeof(canaries) / sizeof(canaries[0]); i++) {
		ck_assert(!holds(path, canaries[i]));
		ck_assert(!holds(wal, canaries[i]));
	}
	vault_close(v);
	for (size_t i = 0; i < sizeof(canaries) / sizeof(canaries[0]); i++)
		ck_assert(!holds(path, canaries[i]));
	key[read_file(key_file, key, sizeof(key) - 1)] = '\0';
	key[64] = '\0';
	ck_assert(!holds(path, (const char *)key));
}
END_TEST

static void die_after_flush(void)
{
	struct vault_options options = {
		.path = path, .openers = &opener, .opener_count = 1, .create = true};
	struct told told = {0, 1};
	struct vault_batch *b;
	struct vault *v = NULL;

	if (vault_open(&options, &v, why, sizeof(why)) != 0)
		_exit(1);
	b = vault_batch_new();
	put(b, VAULT_EUKEY, "a", "1", "flushed");
	vault_submit(v, b, on_done, &told);
	vault_flush(v);
	b = vault_batch_new();
	put(b, VAULT_EUKEY, "a", "2", "not flushed");
	vault_submit(v, b, on_done, &told);
	if (told.calls == 1 && told.result == 0)
		raise(SIGKILL);
	_exit(1);
}

START_TEST(test_killed)
{
	pid_t child = fork();
	struct vault *v;
	int status;

	if (child == 0)
		die_after_flush();
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGKILL);
	v = open_vault();
	expect_list(v, VAULT_EUKEY, NULL, "a/1=flushed;", 0);
	vault_close(v);
}
END_TEST

/* Writes two records a batch and says so after each flush, until it is killed. */
static void write_until_killed(int out)
{
	struct vault_options options = {
		.path = path, .openers = &opener, .opener_count = 1, .create = true};
	struct told told = {0, 1};
	struct vault *v = NULL;

	if (vault_open(&options, &v, why, sizeof(why)) != 0)
		_exit(1);
	for (uint32_t i = 0;; i++) {
		struct vault_batch *b = vault_batch_new();
		struct vault_id id = {VAULT_EUKEY, bytes_text("left"), bytes_of(&i, sizeof(i))};

		vault_batch_put(b, &id, BYTES_NONE);
		id.owner = bytes_text("right");
		vault_batch_put(b, &id, BYTES_NONE);
		vault_batch_trim(b, VAULT_EUKEY, bytes_text("left"), 50);
		if (vault_submit(v, b, on_done, &told) != 0)
			_exit(1);
		vault_flush(v);
		if (told.result != 0 || write(out, &i, sizeof(i)) != sizeof(i))
			_exit(1);
	}
}

static int last_item(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	uint32_t *count = arg;

	(void)owner;
	(void)content;
	ck_assert_uint_eq(item.size, sizeof(*count));
	count[0]++;
	memcpy(&count[1], item.data, sizeof(count[1]));
	return 0;
}

/* What was told as durable is there after a kill at any moment, and no batch is there by half. */
START_TEST(test_killed_while_writing)
{
	uint32_t told = 0, left[2] = {0, 0}, right[2] = {0, 0}, i;
	struct vault *v;
	int pipes[2];
	pid_t child;
	int status;

	ck_assert_int_eq(pipe(pipes), 0);
	child = fork();
	if (child == 0)
		write_until_killed(pipes[1]);
	close(pipes[1]);
	ck_assert_int_eq(read(pipes[0], &told, sizeof(told)), sizeof(told));
	usleep((useconds_t)(_i * 7919 % 40000));
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	while (read(pipes[0], &i, sizeof(i)) == sizeof(i))
		told = i;
	close(pipes[0]);

	v = open_vault();
	ck_assert_int_eq(vault_each(v, VAULT_EUKEY, bytes_text("left"), last_item, left, NULL), 0);
	ck_assert_int_eq(vault_each(v, VAULT_EUKEY, bytes_text("right"), last_item, right, NULL),
			 0);
	ck_assert_uint_ge(right[1], told);
	ck_assert_uint_le(right[1], told + 1);
	ck_assert_uint_eq(right[0], right[1] + 1);
	ck_assert_uint_eq(left[1], right[1]);
	ck_assert_uint_eq(left[0], right[0] < 50 ? right[0] : 50);
	put_now(v, VAULT_EUKEY, "left", "", "goes on");
	vault_close(v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vault");
	TCase *t = tcase_create("vault");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_put_get_erase);
	tcase_add_test(t, test_largest);
	tcase_add_test(t, test_each);
	tcase_add_test(t, test_each_reads);
	tcase_add_test(t, test_trim_and_erase_owner);
	tcase_add_test(t, test_flush);
	tcase_add_test(t, test_close_cancels);
	tcase_add_test(t, test_atomic);
	tcase_add_loop_test(t, test_altered, 0, sizeof(alterations) / sizeof(alterations[0]));
	tcase_add_test(t, test_altered_is_damaged);
	tcase_add_test(t, test_wrong_key);
	tcase_add_test(t, test_newer);
	tcase_add_test(t, test_newer_in_log);
	tcase_add_test(t, test_not_a_vault);
	tcase_add_test(t, test_locked);
	tcase_add_loop_test(t, test_key_file, 0, sizeof(bad_keys) / sizeof(bad_keys[0]));
	tcase_add_test(t, test_created_files);
	tcase_add_test(t, test_creation_cut_short);
	tcase_add_test(t, test_canaries);
	tcase_add_test(t, test_killed);
	tcase_add_loop_test(t, test_killed_while_writing, 0, 10);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
