#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/store.h"

/* What must never stand in a file of the store. */
#define CANARY "canary canary canary canary 4711"

static char folder[64], path[128], key_file[128];
static struct store_sqlite_options options;
static char why[200];

static void setup(void)
{
	strcpy(folder, "/tmp/pngw-store.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/store", folder);
	snprintf(key_file, sizeof(key_file), "%s/key", folder);
	options = (struct store_sqlite_options){path, key_file, true};
}

static void teardown(void)
{
	static const char *const names[] = {"store", "store-wal", "store-shm", "key", "key.new"};
	char name[160];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(name, sizeof(name), "%s/%s", folder, names[i]);
		unlink(name);
	}
	ck_assert_int_eq(rmdir(folder), 0);
	ck_assert_uint_eq(secret_count(), 0);
}

static struct store *opened(void)
{
	struct store *s = NULL;
	int r = store_open_sqlite(&options, &s, why, sizeof(why));

	ck_assert_msg(r == 0, "%d: %s", r, why);
	return s;
}

static int refused(void)
{
	struct store *s = NULL;
	int r = store_open_sqlite(&options, &s, why, sizeof(why));

	ck_assert_ptr_null(s);
	ck_assert_int_ne(r, 0);
	ck_assert_str_ne(why, "");
	return r;
}

static int commit(struct store *s, struct store_batch *b)
{
	int r = store_commit(s, b);

	store_batch_clear(b);
	return r;
}

static struct name named(const char *text)
{
	struct name n;

	ck_assert_int_eq(name_set(&n, bytes_text(text)), 0);
	return n;
}

static void add_account(struct store_batch *b, const char *user, const char *ph)
{
	struct store_account a = {.user = named(user), .iterations = 600000};

	memset(a.salt, 7, sizeof(a.salt));
	a.ph = secret_copy(bytes_text(ph));
	store_batch_account(b, &a);
	store_account_clear(&a);
}

static void add_element(struct store_batch *b, const char *entity, const char *owner,
			uint32_t last_index, uint32_t expected)
{
	struct store_element e = {
		.entity = named(entity), .mode = ENTITY_PNE, .last_index = last_index};

	if (owner[0] != '\0')
		e.owner = named(owner);
	store_batch_element(b, &e, expected);
}

static void add_eukey(struct store_batch *b, const char *user, const char *entity, uint32_t index,
		      const char *key)
{
	SCOPED_SECRET *s = secret_copy(bytes_text(key));

	store_batch_eukey(b, bytes_text(user), bytes_text(entity), index, s);
}

/* Whether the key of that index is there and is text. */
static bool has_key(struct store *s, const char *user, const char *entity, uint32_t index,
		    const char *text)
{
	SCOPED_SECRET *key = NULL;
	int r = store_eukey(s, bytes_text(user), bytes_text(entity), index, &key);

	ck_assert(r == 0 || r == STORE_ABSENT);
	return r == 0 && constant_time_equal(secret_bytes(key), bytes_text(text));
}

START_TEST(empty)
{
	struct store *s = opened();
	struct store_account account;
	struct store_element element;
	struct store_temporary_key tk;
	struct store_answer answer;
	struct message_id id = {{1}};
	SCOPED_SECRET *secret = NULL;
	struct stat st;

	ck_assert_int_eq(store_account(s, bytes_text("alice"), &account), STORE_ABSENT);
	ck_assert_int_eq(store_element(s, bytes_text("pne-1"), &element), STORE_ABSENT);
	ck_assert_int_eq(store_eukey(s, bytes_text("alice"), bytes_text("pne-1"), 1, &secret),
			 STORE_ABSENT);
	ck_assert_int_eq(store_temporary_key(s, bytes_text("pne-1"), &tk), STORE_ABSENT);
	ck_assert_int_eq(store_answer(s, &id, &answer), STORE_ABSENT);
	ck_assert_int_eq(store_secret(s, STORE_SECRET_UNKNOWN_USER, &secret), STORE_ABSENT);
	ck_assert_ptr_null(secret);
	store_close(s);
	store_close(NULL);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(stat(key_file, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(st.st_size, 65);
}
END_TEST

static void fill(struct store *s)
{
	SCOPED_SECRET *secret = secret_copy(bytes_text(CANARY));
	struct store_batch b = {NULL, NULL, 0};
	struct message_id id = {{1, 2, 3}};
	uint8_t sha256[32] = {9};

	add_account(&b, "alice", CANARY);
	add_element(&b, "pne-1", "alice", 2, 0);
	add_eukey(&b, "alice", "pne-1", 1, CANARY);
	add_eukey(&b, "alice", "pne-1", 2, "second key");
	store_batch_temporary_key(&b, bytes_text("pne-1"), secret, true);
	store_batch_answer(&b, &id, sha256, 200, bytes_text("the answer"), 1000);
	store_batch_subscription(&b, bytes_text("alice"), bytes_text("gw-1"), bytes_text("text"));
	store_batch_secret(&b, STORE_SECRET_UNKNOWN_USER, secret);
	ck_assert_int_eq(commit(s, &b), 0);
}

static void check_filled(struct store *s)
{
	struct store_account account;
	struct store_element element;
	struct store_temporary_key tk;
	struct store_answer answer;
	struct message_id id = {{1, 2, 3}};
	SCOPED_SECRET *canary = secret_copy(bytes_text(CANARY));
	SCOPED_SECRET *secret = NULL;

	ck_assert_int_eq(store_account(s, bytes_text("alice"), &account), 0);
	ck_assert_uint_eq(account.iterations, 600000);
	ck_assert_uint_eq(account.salt[15], 7);
	ck_assert(secret_equal(account.ph, canary));
	store_account_clear(&account);
	ck_assert_int_eq(store_element(s, bytes_text("pne-1"), &element), 0);
	ck_assert_str_eq(element.owner.text, "alice");
	ck_assert_uint_eq(element.last_index, 2);
	ck_assert_int_eq(element.mode, ENTITY_PNE);
	ck_assert(has_key(s, "alice", "pne-1", 1, CANARY));
	ck_assert(has_key(s, "alice", "pne-1", 2, "second key"));
	ck_assert(!has_key(s, "bob", "pne-1", 2, "second key"));
	ck_assert_int_eq(store_temporary_key(s, bytes_text("pne-1"), &tk), 0);
	ck_assert(tk.passphrase);
	ck_assert(secret_equal(tk.key, canary));
	secret_unref(tk.key);
	ck_assert_int_eq(store_answer(s, &id, &answer), 0);
	ck_assert_int_eq(answer.http, 200);
	ck_assert_uint_eq(answer.request_sha256[0], 9);
	ck_assert(bytes_equal(bytes_of(answer.body, answer.body_size), bytes_text("the answer")));
	free(answer.body);
	ck_assert_int_eq(store_secret(s, STORE_SECRET_UNKNOWN_USER, &secret), 0);
	ck_assert(secret_equal(secret, canary));
}

START_TEST(kept)
{
	struct store *s = opened();

	fill(s);
	check_filled(s);
	store_close(s);
	options.create = false;
	s = opened();
	check_filled(s);
	store_close(s);
}
END_TEST

/* What store_commit() returned 0 for survives a process that ends right after. */
START_TEST(kept_without_close)
{
	struct store *s;
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		static struct store *volatile left_open;

		left_open = opened();
		fill(left_open);
		(void)raise(SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	s = opened();
	check_filled(s);
	store_close(s);
}
END_TEST

static bool file_holds(const char *suffix, const char *text)
{
	char name[160], *content;
	bool found;
	FILE *f;
	size_t size;

	snprintf(name, sizeof(name), "%s%s", path, suffix);
	f = fopen(name, "r");
	if (!f)
		return false;
	content = malloc(1 << 20);
	ck_assert_ptr_nonnull(content);
	size = fread(content, 1, 1 << 20, f);
	found = memmem(content, size, text, strlen(text)) != NULL;
	free(content);
	fclose(f);
	return found;
}

START_TEST(sealed)
{
	struct store *s = opened();

	fill(s);
	ck_assert(file_holds("-wal", "alice"));
	ck_assert(!file_holds("", CANARY) && !file_holds("-wal", CANARY));
	store_close(s);
	ck_assert(file_holds("", "alice"));
	ck_assert(!file_holds("", CANARY) && !file_holds("-wal", CANARY));
}
END_TEST

static void conflict(struct store *s, struct store_batch *b)
{
	add_account(b, "never", "seen");
	ck_assert_int_eq(commit(s, b), STORE_CONFLICT);
}

/* Of a batch that meets a conflict nothing remains, wherever the conflict stands in it. */
START_TEST(all_or_nothing)
{
	struct store *s = opened();
	struct store_batch b = {NULL, NULL, 0};
	struct message_id id = {{1, 2, 3}};
	SCOPED_SECRET *secret = secret_random(32);
	struct store_account account;
	uint8_t sha256[32] = {8};

	fill(s);
	add_account(&b, "alice", "other");
	conflict(s, &b);
	add_eukey(&b, "alice", "pne-1", 2, "other");
	conflict(s, &b);
	add_eukey(&b, "bob", "pne-1", 2, "other");
	conflict(s, &b);
	add_element(&b, "pne-1", "alice", 3, 1);
	conflict(s, &b);
	add_element(&b, "pne-1", "bob", 3, 0);
	conflict(s, &b);
	add_element(&b, "pne-2", "bob", 4, 3);
	conflict(s, &b);
	store_batch_answer(&b, &id, sha256, 200, bytes_text("other"), 1001);
	conflict(s, &b);
	store_batch_secret(&b, STORE_SECRET_UNKNOWN_USER, secret);
	conflict(s, &b);
	add_account(&b, "never", "seen");
	add_account(&b, "alice", "other");
	ck_assert_int_eq(commit(s, &b), STORE_CONFLICT);
	ck_assert_int_eq(store_account(s, bytes_text("never"), &account), STORE_ABSENT);
	check_filled(s);
	store_close(s);
}
END_TEST

/* The index of a key is taken once, whoever takes it first. */
START_TEST(two_processes)
{
	struct store *first = opened(), *second = opened();
	struct store_batch b = {NULL, NULL, 0};
	struct store_element seen_first, seen_second;

	fill(first);
	ck_assert_int_eq(store_element(first, bytes_text("pne-1"), &seen_first), 0);
	ck_assert_int_eq(store_element(second, bytes_text("pne-1"), &seen_second), 0);
	add_element(&b, "pne-1", "alice", 3, seen_second.last_index);
	add_eukey(&b, "alice", "pne-1", 3, "the second's");
	ck_assert_int_eq(commit(second, &b), 0);
	add_element(&b, "pne-1", "alice", 3, seen_first.last_index);
	add_eukey(&b, "alice", "pne-1", 3, "the first's");
	ck_assert_int_eq(commit(first, &b), STORE_CONFLICT);
	ck_assert(has_key(first, "alice", "pne-1", 3, "the second's"));
	store_close(first);
	store_close(second);
}
END_TEST

static int find_held(void *arg, const struct store_key_row *row)
{
	uint32_t *held = arg;

	ck_assert_ptr_nonnull(row->key);
	if (row->held) {
		ck_assert_uint_eq(*held, 0);
		*held = row->index;
	}
	return 0;
}

static uint32_t held_index(struct store *s)
{
	uint32_t held = 0;

	ck_assert_int_eq(store_each_key(s, find_held, &held), 0);
	return held;
}

START_TEST(held)
{
	struct store *s = opened();
	struct store_batch b = {NULL, NULL, 0};

	fill(s);
	ck_assert_uint_eq(held_index(s), 0);
	store_batch_held(&b, bytes_text("alice"), bytes_text("pne-1"), 1);
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_uint_eq(held_index(s), 1);
	ck_assert(has_key(s, "alice", "pne-1", 2, "second key"));
	store_batch_held(&b, bytes_text("alice"), bytes_text("pne-1"), 2);
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_uint_eq(held_index(s), 2);
	ck_assert(!has_key(s, "alice", "pne-1", 1, CANARY));
	/* An index that is gone or was never given out changes nothing. */
	store_batch_held(&b, bytes_text("alice"), bytes_text("pne-1"), 1);
	store_batch_held(&b, bytes_text("alice"), bytes_text("pne-1"), 9);
	store_batch_held(&b, bytes_text("bob"), bytes_text("pne-1"), 2);
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_uint_eq(held_index(s), 2);
	store_close(s);
}
END_TEST

/* Released, an element is nobody's and has no key, and goes on counting where it was. */
START_TEST(released)
{
	struct store *s = opened();
	struct store_batch b = {NULL, NULL, 0};
	struct store_element element;

	fill(s);
	store_batch_release(&b, bytes_text("pne-1"));
	store_batch_release(&b, bytes_text("nobody-knows"));
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_int_eq(store_element(s, bytes_text("pne-1"), &element), 0);
	ck_assert_str_eq(element.owner.text, "");
	ck_assert_uint_eq(element.last_index, 2);
	ck_assert(!has_key(s, "alice", "pne-1", 2, "second key"));
	add_element(&b, "pne-1", "bob", 3, 2);
	add_eukey(&b, "bob", "pne-1", 3, "of bob");
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert(has_key(s, "bob", "pne-1", 3, "of bob"));
	store_close(s);
}
END_TEST

START_TEST(answers_trimmed)
{
	struct store *s = opened();
	struct store_batch b = {NULL, NULL, 0};
	struct message_id old = {{1, 2, 3}}, recent = {{4}};
	struct store_answer answer;
	uint8_t sha256[32] = {0};

	fill(s);
	store_batch_answer(&b, &recent, sha256, 401, BYTES_NONE, 2000);
	store_batch_trim_answers(&b, 2000);
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_int_eq(store_answer(s, &old, &answer), STORE_ABSENT);
	ck_assert_int_eq(store_answer(s, &recent, &answer), 0);
	ck_assert_int_eq(answer.http, 401);
	ck_assert_uint_eq(answer.body_size, 0);
	free(answer.body);
	store_close(s);
}
END_TEST

static char seen[200];

static int note_account(void *arg, struct bytes user, uint32_t iterations, bool blocked)
{
	ck_assert(!blocked);
	ck_assert_ptr_null(arg);
	ck_assert_uint_eq(iterations, 600000);
	snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%.*s ", (int)user.size,
		 (const char *)user.data);
	return user.size == 5 && memcmp(user.data, "carol", 5) == 0 ? 77 : 0;
}

static int note_element(void *arg, const struct store_element *element)
{
	ck_assert_ptr_null(arg);
	snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%s=%s ", element->entity.text,
		 element->owner.text);
	return 0;
}

START_TEST(walks)
{
	struct store *s = opened();
	struct store_batch b = {NULL, NULL, 0};

	fill(s);
	add_account(&b, "bob", "x");
	add_element(&b, "a-gw", "", 0, 0);
	ck_assert_int_eq(commit(s, &b), 0);
	seen[0] = '\0';
	ck_assert_int_eq(store_each_account(s, note_account, NULL), 0);
	ck_assert_str_eq(seen, "alice bob ");
	seen[0] = '\0';
	ck_assert_int_eq(store_each_element(s, note_element, NULL), 0);
	ck_assert_str_eq(seen, "a-gw= pne-1=alice ");
	add_account(&b, "carol", "x");
	add_account(&b, "dave", "x");
	ck_assert_int_eq(commit(s, &b), 0);
	seen[0] = '\0';
	ck_assert_int_eq(store_each_account(s, note_account, NULL), 77);
	ck_assert_str_eq(seen, "alice bob carol ");
	store_close(s);
}
END_TEST

/* An intruder who can write the file but has no key: with SQL, while nobody has it open. */
static void alter(const char *sql)
{
	sqlite3 *db;
	char *error = NULL;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &error) == SQLITE_OK, "%s", error);
	ck_assert_int_gt(sqlite3_total_changes(db), 0);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

START_TEST(altered)
{
	struct store *s = opened();
	struct store_batch b = {NULL, NULL, 0};
	struct store_account account = {.ph = NULL};
	struct store_temporary_key tk;
	SCOPED_SECRET *key = NULL;

	fill(s);
	add_account(&b, "bob", "x");
	ck_assert_int_eq(commit(s, &b), 0);
	store_close(s);
	alter("UPDATE account SET ph = (SELECT ph FROM account WHERE user = 'bob') WHERE user = "
	      "'alice'");
	alter("UPDATE account SET iterations = 1 WHERE user = 'bob'");
	alter("UPDATE eukey SET key = (SELECT key FROM eukey WHERE idx = 1) WHERE idx = 2");
	alter("UPDATE eukey SET key = x'00' WHERE idx = 1");
	alter("UPDATE temporary_key SET passphrase = 0");
	s = opened();
	ck_assert_int_eq(store_account(s, bytes_text("alice"), &account), STORE_DAMAGED);
	ck_assert_int_eq(store_account(s, bytes_text("bob"), &account), STORE_DAMAGED);
	ck_assert_ptr_null(account.ph);
	for (uint32_t i = 1; i <= 2; i++)
		ck_assert_int_eq(store_eukey(s, bytes_text("alice"), bytes_text("pne-1"), i, &key),
				 STORE_DAMAGED);
	ck_assert_ptr_null(key);
	ck_assert_int_eq(store_temporary_key(s, bytes_text("pne-1"), &tk), STORE_DAMAGED);
	store_close(s);
}
END_TEST

static void write_key_file(const char *content, mode_t mode)
{
	int fd = open(key_file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	size_t size = strlen(content);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, content, size), (ssize_t)size);
	ck_assert_int_eq(close(fd), 0);
	ck_assert_int_eq(chmod(key_file, mode), 0);
}

#define HEX_KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

START_TEST(key_files)
{
	char new_path[160];
	struct store *s;

	/* as if the making had been cut short, so that the key is known */
	write_key_file(HEX_KEY "\n", 0600);
	snprintf(new_path, sizeof(new_path), "%s.new", key_file);
	ck_assert_int_eq(link(key_file, new_path), 0);
	s = opened();
	fill(s);
	store_close(s);
	ck_assert_int_eq(chmod(key_file, 0640), 0);
	ck_assert_int_eq(refused(), STORE_KEY_FILE);
	write_key_file(HEX_KEY, 0400);
	s = opened();
	check_filled(s);
	store_close(s);
	ck_assert_int_eq(unlink(key_file), 0);
	ck_assert_int_eq(refused(), STORE_KEY_FILE);
	write_key_file("0001", 0600);
	ck_assert_int_eq(refused(), STORE_KEY_FILE);
	write_key_file("g" HEX_KEY, 0600);
	ck_assert_int_eq(refused(), STORE_KEY_FILE);
	write_key_file("ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n", 0600);
	ck_assert_int_eq(refused(), STORE_DAMAGED);
}
END_TEST

START_TEST(not_there)
{
	options.create = false;
	ck_assert_int_eq(refused(), STORE_ABSENT);
	ck_assert_int_ne(access(path, F_OK), 0);
	ck_assert_int_ne(access(key_file, F_OK), 0);
}
END_TEST

static size_t read_whole(const char *name, char *out, size_t out_size)
{
	FILE *f = fopen(name, "r");
	size_t size;

	ck_assert_msg(f != NULL, "%s", name);
	size = fread(out, 1, out_size, f);
	ck_assert_uint_lt(size, out_size);
	fclose(f);
	return size;
}

/* An empty file of that name. */
static int truncate_new(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	return fd < 0 ? -1 : close(fd);
}

/* A store that was in use is not begun anew: not when it is away, nor when it is empty. */
START_TEST(missing)
{
	char before[128], after[128];
	size_t size;

	store_close(opened());
	size = read_whole(key_file, before, sizeof(before));
	ck_assert_int_eq(unlink(path), 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(refused(), STORE_ABSENT);
		ck_assert_ptr_nonnull(strstr(why, "is missing while its key file"));
		ck_assert_ptr_nonnull(strstr(why, path));
		ck_assert_int_ne(access(path, F_OK), 0);
		options.create = false;
	}
	options.create = true;
	ck_assert_int_eq(truncate_new(path), 0);
	ck_assert_int_eq(refused(), STORE_ABSENT);
	ck_assert_uint_eq(read_whole(key_file, after, sizeof(after)), size);
	ck_assert_int_eq(memcmp(before, after, size), 0);
	/* the key is what is missing: nor is another one made */
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(unlink(key_file), 0);
	store_close(opened());
	ck_assert_int_eq(unlink(key_file), 0);
	ck_assert_int_eq(refused(), STORE_KEY_FILE);
	ck_assert_int_ne(access(key_file, F_OK), 0);
}
END_TEST

/* The power goes while store and key are made: before the key is whole, before the store is. */
START_TEST(cut_short)
{
	char new_path[160];
	struct store *s;

	snprintf(new_path, sizeof(new_path), "%s.new", key_file);
	write_key_file("0001", 0600);
	ck_assert_int_eq(rename(key_file, new_path), 0);
	s = opened();
	ck_assert_int_ne(access(new_path, F_OK), 0);
	store_close(s);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(unlink(path), 0);
		ck_assert_int_eq(link(key_file, new_path), 0);
		if (i == 1)
			ck_assert_int_eq(truncate_new(path), 0);
		s = opened();
		ck_assert_int_ne(access(new_path, F_OK), 0);
		fill(s);
		check_filled(s);
		store_close(s);
	}
}
END_TEST

START_TEST(not_a_store)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	for (int i = 0; i < 500; i++)
		fputs("not a database ", f);
	fclose(f);
	write_key_file(HEX_KEY, 0600);
	ck_assert_int_eq(refused(), STORE_DAMAGED);
}
END_TEST

START_TEST(newer)
{
	static char before[1 << 18], after[1 << 18];
	struct store *s = opened();
	size_t size;

	fill(s);
	store_close(s);
	alter("PRAGMA user_version = 4; UPDATE account SET iterations = 5");
	size = read_whole(path, before, sizeof(before));
	ck_assert_int_eq(refused(), STORE_NEWER);
	ck_assert_uint_eq(read_whole(path, after, sizeof(after)), size);
	ck_assert_int_eq(memcmp(before, after, size), 0);
}
END_TEST

/* What the first release wrote: tests/data/server-store-1.db. */
static void take_fixture(const char *name, const char *as)
{
	static char content[1 << 18];
	const char *source = getenv("PNGW_SRCDIR");
	char from[512];
	size_t size;
	FILE *f;

	snprintf(from, sizeof(from), "%s/tests/data/%s", source ? source : ".", name);
	size = read_whole(from, content, sizeof(content));
	f = fopen(as, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(content, 1, size, f), size);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(as, 0600), 0);
}

START_TEST(schema_1)
{
	struct message_id empty_one = {{4}};
	struct store_element element;
	struct store_account account;
	struct store_answer answer;
	struct store *s;

	take_fixture("server-store-1.db", path);
	take_fixture("server-store-1.key", key_file);
	ck_assert(file_holds("", "the answer"));
	options.create = false;
	s = opened();
	for (int i = 0; i < 2; i++) {
		check_filled(s);
		ck_assert_int_eq(store_answer(s, &empty_one, &answer), 0);
		ck_assert_int_eq(answer.http, 401);
		ck_assert_uint_eq(answer.body_size, 0);
		free(answer.body);
		ck_assert_int_eq(store_account(s, bytes_text("alice"), &account), 0);
		ck_assert(!account.blocked);
		store_account_clear(&account);
		ck_assert_int_eq(store_element(s, bytes_text("gw-1"), &element), 0);
		ck_assert_int_eq(element.mode, ENTITY_PNGW);
		ck_assert_uint_eq(element.revocation.epoch, 0);
		ck_assert_uint_eq(element.revocation.key_index, 0);
		ck_assert_int_eq(element.revocation.reset, RESET_NONE);
		ck_assert_str_eq(element.revocation.owner.text, "");
		store_close(s);
		s = opened();
	}
	store_close(s);
	ck_assert(!file_holds("", "the answer") && !file_holds("-wal", "the answer"));
}
END_TEST

/* With the key of another store nothing is mixed: it stays as it was, and opens with its own. */
START_TEST(schema_1_wrong_key)
{
	static char before[1 << 18], after[1 << 18];
	struct store *s;
	size_t size;

	take_fixture("server-store-1.db", path);
	write_key_file(HEX_KEY, 0600);
	alter("PRAGMA journal_mode = WAL; UPDATE account SET iterations = 600000");
	size = read_whole(path, before, sizeof(before));
	ck_assert_int_eq(refused(), STORE_DAMAGED);
	ck_assert_uint_eq(read_whole(path, after, sizeof(after)), size);
	ck_assert_int_eq(memcmp(before, after, size), 0);
	take_fixture("server-store-1.key", key_file);
	s = opened();
	check_filled(s);
	store_close(s);
}
END_TEST

/* Something in the way half through: none of it is there. */
START_TEST(schema_1_all_or_nothing)
{
	struct store *s;

	take_fixture("server-store-1.db", path);
	take_fixture("server-store-1.key", key_file);
	alter("CREATE TABLE vault (x); INSERT INTO vault VALUES (1); INSERT INTO vault VALUES (2)");
	ck_assert_int_lt(refused(), 0);
	ck_assert(file_holds("", "the answer"));
	alter("UPDATE vault SET x = 3; DROP TABLE vault");
	s = opened();
	check_filled(s);
	store_close(s);
}
END_TEST

/* What the release with revocations wrote: tests/data/server-store-2.db. */
START_TEST(schema_2)
{
	static char before[1 << 18], after[1 << 18];
	struct store_vault_state state = {.vault_id = {1}}, found;
	struct store_handover h;
	struct store *s;
	size_t size;

	take_fixture("server-store-2.db", path);
	write_key_file(HEX_KEY, 0600);
	alter("PRAGMA journal_mode = WAL; UPDATE vault SET sequence = 8");
	size = read_whole(path, before, sizeof(before));
	ck_assert_int_eq(refused(), STORE_DAMAGED);
	ck_assert_uint_eq(read_whole(path, after, sizeof(after)), size);
	ck_assert_int_eq(memcmp(before, after, size), 0);
	take_fixture("server-store-2.key", key_file);
	options.create = false;
	for (int i = 0; i < 2; i++) {
		s = opened();
		check_filled(s);
		ck_assert_int_eq(store_vault_state(s, bytes_text("gw-1"), state.vault_id, &found),
				 0);
		ck_assert_uint_eq(found.sequence, 8);
		ck_assert_int_eq(store_handover(s, bytes_text("gw-1"), &h), STORE_ABSENT);
		store_close(s);
	}
}
END_TEST

static int note_handover(void *arg, struct bytes gateway, const struct store_handover *h)
{
	char *seen_ones = arg;
	const size_t used = strlen(seen_ones);

	(void)snprintf(seen_ones + used, 64 - used, "%.*s=%lu ", (int)gateway.size,
		       (const char *)gateway.data, (unsigned long)h->term);
	return 0;
}

START_TEST(handovers)
{
	struct store *s = opened();
	struct store_batch b = {NULL, NULL, 0};
	struct store_handover h = {.term = 1, .holder = {7}, .since = 100}, found;
	char list[64] = "";

	ck_assert_int_eq(store_handover(s, bytes_text("gw-1"), &found), STORE_ABSENT);
	store_batch_handover(&b, bytes_text("gw-1"), &h, 0);
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_int_eq(store_handover(s, bytes_text("gw-2"), &found), STORE_ABSENT);
	ck_assert_int_eq(store_handover(s, bytes_text("gw-1"), &found), 0);
	ck_assert_uint_eq(found.term, 1);
	ck_assert_uint_eq(found.holder[0], 7);
	ck_assert_int_eq(found.since, 100);
	/* two that loaded the same: one is first */
	store_batch_handover(&b, bytes_text("gw-1"), &h, 0);
	conflict(s, &b);
	h.term = UINT32_MAX;
	store_batch_handover(&b, bytes_text("gw-1"), &h, 1);
	ck_assert_int_eq(commit(s, &b), 0);
	store_batch_handover(&b, bytes_text("gw-1"), &h, 1);
	conflict(s, &b);
	h.term = 2;
	store_batch_handover(&b, bytes_text("gw-0"), &h, 0);
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_int_eq(store_each_handover(s, note_handover, list), 0);
	ck_assert_str_eq(list, "gw-0=2 gw-1=4294967295 ");
	store_batch_forget_handover(&b, bytes_text("gw-1"));
	store_batch_forget_handover(&b, bytes_text("nobody"));
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_int_eq(store_handover(s, bytes_text("gw-1"), &found), STORE_ABSENT);
	store_close(s);
	alter("UPDATE handover SET holder = x'00'");
	s = opened();
	ck_assert_int_eq(store_handover(s, bytes_text("gw-0"), &found), STORE_DAMAGED);
	store_close(s);
}
END_TEST

START_TEST(blocked)
{
	struct store *s = opened();
	struct store_batch b = {NULL, NULL, 0};
	struct store_account account;

	fill(s);
	store_batch_block(&b, bytes_text("nobody"), true);
	conflict(s, &b);
	store_batch_block(&b, bytes_text("alice"), true);
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_int_eq(store_account(s, bytes_text("alice"), &account), 0);
	ck_assert(account.blocked);
	store_account_clear(&account);
	/* whoever had looked before that gives out no key after it */
	add_eukey(&b, "alice", "pne-9", 1, "too late");
	conflict(s, &b);
	ck_assert(!has_key(s, "alice", "pne-9", 1, "too late"));
	store_batch_block(&b, bytes_text("alice"), false);
	add_eukey(&b, "alice", "pne-9", 1, "again");
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_int_eq(store_account(s, bytes_text("alice"), &account), 0);
	ck_assert(!account.blocked);
	store_account_clear(&account);
	store_close(s);
}
END_TEST

static struct store_element element_of(struct store *s, const char *entity)
{
	struct store_element e;

	ck_assert_int_eq(store_element(s, bytes_text(entity), &e), 0);
	return e;
}

START_TEST(revoked)
{
	struct store *s = opened();
	struct store_batch b = {NULL, NULL, 0};
	struct store_element before, e;

	fill(s);
	before = element_of(s, "pne-1");
	store_batch_revoke(&b, &before, 1, 2, RESET_UNCONFIRMED, 4000);
	ck_assert_int_eq(commit(s, &b), 0);
	e = element_of(s, "pne-1");
	ck_assert_str_eq(e.owner.text, "");
	ck_assert_uint_eq(e.last_index, 2);
	ck_assert_uint_eq(e.revocation.epoch, 1);
	ck_assert_uint_eq(e.revocation.key_index, 2);
	ck_assert_int_eq(e.revocation.reset, RESET_UNCONFIRMED);
	ck_assert_str_eq(e.revocation.owner.text, "alice");
	ck_assert_int_eq(e.revocation.since, 4000);
	ck_assert(!has_key(s, "alice", "pne-1", 1, CANARY));
	ck_assert(!has_key(s, "alice", "pne-1", 2, "second key"));
	/* whoever loaded it before that begins again, whatever he is about to do */
	store_batch_revoke(&b, &before, 1, 2, RESET_UNCONFIRMED, 4001);
	conflict(s, &b);
	store_batch_element(&b, &before, before.last_index);
	conflict(s, &b);
	/* what is said to be held has no effect, a new key has */
	store_batch_held(&b, bytes_text("alice"), bytes_text("pne-1"), 2);
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_int_eq(element_of(s, "pne-1").revocation.reset, RESET_UNCONFIRMED);
	e.owner = named("bob");
	e.last_index = 3;
	store_batch_element(&b, &e, 2);
	add_eukey(&b, "bob", "pne-1", 3, "of bob");
	ck_assert_int_eq(commit(s, &b), 0);
	e = element_of(s, "pne-1");
	ck_assert_str_eq(e.owner.text, "bob");
	ck_assert_uint_eq(e.revocation.epoch, 1);
	ck_assert_str_eq(e.revocation.owner.text, "alice");
	store_batch_held(&b, bytes_text("bob"), bytes_text("pne-1"), 3);
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_int_eq(element_of(s, "pne-1").revocation.reset, RESET_CONFIRMED);
	/* revoked again while nobody's, and with an index that this store never gave out */
	before = element_of(s, "pne-1");
	store_batch_revoke(&b, &before, 2, 7, RESET_NONE, 5000);
	ck_assert_int_eq(commit(s, &b), 0);
	e = element_of(s, "pne-1");
	ck_assert_uint_eq(e.last_index, 7);
	ck_assert_str_eq(e.revocation.owner.text, "bob");
	store_batch_revoke(&b, &e, 3, 7, RESET_NONE, 5001);
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_str_eq(element_of(s, "pne-1").revocation.owner.text, "bob");
	store_close(s);
}
END_TEST

static void add_resets(struct store *s, const char *user, uint32_t epoch, uint32_t first,
		       uint32_t count)
{
	struct store_batch b = {NULL, NULL, 0};
	struct store_resets made = {.epoch = epoch, .id = {{(uint8_t)epoch, 9}}};
	struct store_reset one;

	for (uint32_t i = 0; i < count; i++) {
		one.key_index = first + i;
		memset(one.proof, 'P', sizeof(one.proof));
		memset(one.confirmation, 'C', sizeof(one.confirmation));
		store_batch_reset(&b, bytes_text(user), bytes_text("pne-1"), &made, &one);
	}
	ck_assert_int_eq(commit(s, &b), 0);
}

START_TEST(resets)
{
	struct store *s = opened();
	struct store_batch b = {NULL, NULL, 0};
	struct store_resets found;
	struct store_element e;

	fill(s);
	e = element_of(s, "pne-1");
	store_batch_revoke(&b, &e, 2, 2, RESET_UNCONFIRMED, 4000);
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_int_eq(store_resets(s, bytes_text("alice"), bytes_text("pne-1"), &found),
			 STORE_ABSENT);
	add_resets(s, "alice", 1, 1, 1);
	add_resets(s, "alice", 2, 1, 2);
	add_resets(s, "bob", 3, 1, 1);
	ck_assert(!file_holds("-wal", "PPPPPPPP") && !file_holds("-wal", "CCCCCCCC"));
	for (uint32_t told = 0; told < 2; told++) {
		ck_assert_int_eq(store_resets(s, bytes_text("alice"), bytes_text("pne-1"), &found),
				 0);
		ck_assert_uint_eq(found.epoch, 2);
		ck_assert_uint_eq(found.count, 2);
		ck_assert_uint_eq(found.told, told);
		ck_assert_uint_eq(found.id.b[0], 2);
		ck_assert_uint_eq(found.list[1].key_index, 2);
		ck_assert_uint_eq(found.list[1].proof[31], 'P');
		ck_assert_uint_eq(found.list[1].confirmation[0], 'C');
		store_batch_resets_told(&b, bytes_text("alice"), bytes_text("pne-1"), 2);
		ck_assert_int_eq(commit(s, &b), 0);
	}
	/* of another epoch: nothing */
	store_batch_reset_done(&b, bytes_text("pne-1"), 1);
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_int_eq(element_of(s, "pne-1").revocation.reset, RESET_UNCONFIRMED);
	ck_assert_int_eq(store_resets(s, bytes_text("bob"), bytes_text("pne-1"), &found), 0);
	store_batch_reset_done(&b, bytes_text("pne-1"), 2);
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_int_eq(element_of(s, "pne-1").revocation.reset, RESET_CONFIRMED);
	ck_assert_int_eq(store_resets(s, bytes_text("alice"), bytes_text("pne-1"), &found),
			 STORE_ABSENT);
	/* a damaged one is left out, the others are given */
	add_resets(s, "alice", 2, 1, 2);
	store_close(s);
	alter("UPDATE reset SET macs = (SELECT macs FROM reset WHERE idx = 2) WHERE idx = 1");
	s = opened();
	ck_assert_int_eq(store_resets(s, bytes_text("alice"), bytes_text("pne-1"), &found), 0);
	ck_assert_uint_eq(found.damaged, 1);
	ck_assert_uint_eq(found.count, 1);
	ck_assert_uint_eq(found.list[0].key_index, 2);
	store_close(s);
	alter("UPDATE reset SET macs = x'00' WHERE idx = 2");
	s = opened();
	ck_assert_int_eq(store_resets(s, bytes_text("alice"), bytes_text("pne-1"), &found),
			 STORE_DAMAGED);
	store_close(s);
}
END_TEST

START_TEST(first_keys)
{
	struct store *s = opened();
	struct store_batch b = {NULL, NULL, 0};
	struct store_key keys[STORE_KEYS_MAX];

	fill(s);
	ck_assert_int_eq(store_keys(s, bytes_text("bob"), bytes_text("pne-1"), keys), STORE_ABSENT);
	ck_assert_int_eq(store_keys(s, bytes_text("alice"), bytes_text("pne-1"), keys), 0);
	ck_assert_uint_eq(keys[0].index, 1);
	ck_assert(constant_time_equal(secret_bytes(keys[1].key), bytes_text("second key")));
	ck_assert_ptr_null(keys[2].key);
	store_keys_clear(keys);
	for (uint32_t i = 3; i < 12; i++)
		add_eukey(&b, "alice", "pne-1", i, "more");
	store_batch_held(&b, bytes_text("alice"), bytes_text("pne-1"), 2);
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_int_eq(store_keys(s, bytes_text("alice"), bytes_text("pne-1"), keys), 0);
	ck_assert_uint_eq(keys[0].index, 2);
	ck_assert_uint_eq(keys[STORE_KEYS_MAX - 1].index, 9);
	store_keys_clear(keys);
	store_close(s);
}
END_TEST

static int count_damaged(void *arg, const struct store_key_row *row)
{
	unsigned *damaged = arg;

	*damaged += row->key ? 0 : 1;
	(void)snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%u ", row->index);
	return 0;
}

/* One record that does not open is in nobody else's way. */
START_TEST(damaged_records)
{
	struct store *s = opened();
	struct store_batch b = {NULL, NULL, 0};
	struct store_key keys[STORE_KEYS_MAX];
	unsigned damaged = 0;

	fill(s);
	add_element(&b, "pne-2", "alice", 0, 0);
	ck_assert_int_eq(commit(s, &b), 0);
	store_close(s);
	alter("UPDATE eukey SET key = x'00' WHERE idx = 1");
	alter("UPDATE element SET owner = printf('%0300d', 0) WHERE entity = 'pne-1'");
	s = opened();
	ck_assert_int_eq(store_keys(s, bytes_text("alice"), bytes_text("pne-1"), keys), 0);
	ck_assert_uint_eq(keys[0].index, 1);
	ck_assert_ptr_null(keys[0].key);
	ck_assert_uint_eq(keys[1].index, 2);
	ck_assert(constant_time_equal(secret_bytes(keys[1].key), bytes_text("second key")));
	store_keys_clear(keys);
	seen[0] = '\0';
	ck_assert_int_eq(store_each_key(s, count_damaged, &damaged), 0);
	ck_assert_str_eq(seen, "1 2 ");
	ck_assert_uint_eq(damaged, 1);
	seen[0] = '\0';
	ck_assert_int_eq(store_each_element(s, note_element, NULL), STORE_DAMAGED);
	ck_assert_str_eq(seen, "pne-2=alice ");
	store_close(s);
}
END_TEST

static int note_vault(void *arg, struct bytes gateway, struct bytes vault_id, uint32_t sequence,
		      int64_t told)
{
	char *list = arg;
	const size_t used = strlen(list);

	(void)snprintf(list + used, 256 - used, "%.*s/%u=%lu@%ld ", (int)gateway.size,
		       (const char *)gateway.data, (unsigned)vault_id.data[0],
		       (unsigned long)sequence, (long)told);
	return 0;
}

START_TEST(vault_states)
{
	struct store *s = opened();
	char list[256] = "";
	struct store_batch b = {NULL, NULL, 0};
	struct store_vault_state state = {.vault_id = {1}, .sequence = 7, .head = {5}}, found;

	ck_assert_int_eq(store_vault_state(s, bytes_text("gw-1"), state.vault_id, &found),
			 STORE_ABSENT);
	store_batch_vault_state(&b, bytes_text("gw-1"), &state, NULL, 100);
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_int_eq(store_vault_state(s, bytes_text("gw-2"), state.vault_id, &found),
			 STORE_ABSENT);
	ck_assert_int_eq(store_vault_state(s, bytes_text("gw-1"), state.vault_id, &found), 0);
	ck_assert_uint_eq(found.sequence, 7);
	ck_assert_uint_eq(found.head[0], 5);
	/* two that loaded the same: one is first */
	store_batch_vault_state(&b, bytes_text("gw-1"), &state, NULL, 100);
	conflict(s, &b);
	state.sequence = 9;
	store_batch_vault_state(&b, bytes_text("gw-1"), &state, &found, 100);
	ck_assert_int_eq(commit(s, &b), 0);
	store_batch_vault_state(&b, bytes_text("gw-1"), &state, &found, 100);
	conflict(s, &b);
	ck_assert_int_eq(store_vault_state(s, bytes_text("gw-1"), state.vault_id, &found), 0);
	ck_assert_uint_eq(found.sequence, 9);
	/* many vaults of one PN GW: the latest are kept, also within one second */
	for (uint8_t i = 2; i < 30; i++) {
		state.vault_id[0] = i;
		store_batch_vault_state(&b, bytes_text("gw-1"), &state, NULL, 200 + i / 4);
		ck_assert_int_eq(commit(s, &b), 0);
		ck_assert_int_eq(store_vault_state(s, bytes_text("gw-1"), state.vault_id, &found),
				 0);
	}
	state.vault_id[0] = 1;
	ck_assert_int_eq(store_vault_state(s, bytes_text("gw-1"), state.vault_id, &found),
			 STORE_ABSENT);
	/* the operator has one forgotten, and nothing else; a damaged one is listed too */
	store_batch_vault_state(&b, bytes_text("gw-0"), &state, NULL, 300);
	ck_assert_int_eq(commit(s, &b), 0);
	state.vault_id[0] = 28;
	store_batch_forget_vault_state(&b, bytes_text("gw-1"), state.vault_id);
	store_batch_forget_vault_state(&b, bytes_text("nobody"), state.vault_id);
	ck_assert_int_eq(commit(s, &b), 0);
	ck_assert_int_eq(store_vault_state(s, bytes_text("gw-1"), state.vault_id, &found),
			 STORE_ABSENT);
	alter("UPDATE vault SET head = x'00' WHERE vault >= x'1d'");
	ck_assert_int_eq(store_each_vault(s, note_vault, list), 0);
	ck_assert_int_eq(strncmp(list, "gw-0/1=9@300 gw-1/", 18), 0);
	ck_assert_ptr_nonnull(strstr(list, " gw-1/24=9@206 gw-1/25=9@206 gw-1/26=9@206 "
					   "gw-1/27=9@206 gw-1/29=9@207 "));
	store_close(s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store");
	TCase *t = tcase_create("store");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, empty);
	tcase_add_test(t, kept);
	tcase_add_test(t, kept_without_close);
	tcase_add_test(t, sealed);
	tcase_add_test(t, all_or_nothing);
	tcase_add_test(t, two_processes);
	tcase_add_test(t, held);
	tcase_add_test(t, released);
	tcase_add_test(t, answers_trimmed);
	tcase_add_test(t, walks);
	tcase_add_test(t, altered);
	tcase_add_test(t, key_files);
	tcase_add_test(t, not_there);
	tcase_add_test(t, missing);
	tcase_add_test(t, cut_short);
	tcase_add_test(t, not_a_store);
	tcase_add_test(t, newer);
	tcase_add_test(t, schema_1);
	tcase_add_test(t, schema_1_wrong_key);
	tcase_add_test(t, schema_1_all_or_nothing);
	tcase_add_test(t, blocked);
	tcase_add_test(t, revoked);
	tcase_add_test(t, resets);
	tcase_add_test(t, first_keys);
	tcase_add_test(t, damaged_records);
	tcase_add_test(t, vault_states);
	tcase_add_test(t, schema_2);
	tcase_add_test(t, handovers);
	suite_add_tcase(suite, t);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
