#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>
#include <sqlite3.h>

#include "storage/anchor.h"
#include "storage/ledger-check.h"
#include "storage/vault.h"

/*
 * The vault and its ledger's file, through crashes, full disks and copies put back. Calls that the
 * ledger and the anchor make are wrapped: SQLite's own are not.
 */
static char directory[64];
static char path[128];
static char key_file[128];
static char ledger[160];
static char anchor_path[160];
static char anchor[192];
static char why[512];
static const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_file};

static struct {
	int fail;       /* errno that writes and flushes of the wrapped calls give */
	size_t torn;    /* so many bytes are written before a write fails */
	int steps_left; /* 0: off; the process dies when it comes to 0 */
	int syncs_fail; /* errno of fdatasync alone */
	unsigned syncs;
} disk;

ssize_t __real_pwrite(int fd, const void *data, size_t size, off_t offset);
int __real_fdatasync(int fd);
int __real_fsync(int fd);
int __real_rename(const char *from, const char *to);
ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t offset);
int __wrap_fdatasync(int fd);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);

static void step(void)
{
	if (disk.steps_left > 0 && --disk.steps_left == 0)
		_exit(77);
}

ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t offset)
{
	ssize_t n;

	if (disk.fail) {
		if (disk.torn > 0)
			(void)__real_pwrite(fd, data, disk.torn, offset);
		errno = disk.fail;
		return -1;
	}
	step();
	/* In two halves, so that a process can die in between. */
	n = __real_pwrite(fd, data, size / 2, offset);
	step();
	if (n == (ssize_t)(size / 2))
		n += __real_pwrite(fd, (const char *)data + n, size - (size_t)n, offset + n);
	step();
	return n;
}

int __wrap_fdatasync(int fd)
{
	disk.syncs++;
	if (disk.fail || disk.syncs_fail) {
		errno = disk.fail ? disk.fail : disk.syncs_fail;
		return -1;
	}
	step();
	return __real_fdatasync(fd);
}

int __wrap_fsync(int fd)
{
	if (disk.fail) {
		errno = disk.fail;
		return -1;
	}
	step();
	return __real_fsync(fd);
}

int __wrap_rename(const char *from, const char *to)
{
	step();
	return __real_rename(from, to);
}

static void setup(void)
{
	memset(&disk, 0, sizeof(disk));
	strcpy(directory, "/tmp/test-ledger-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/vault", directory);
	snprintf(key_file, sizeof(key_file), "%s/key", directory);
	snprintf(ledger, sizeof(ledger), "%s.ledger", path);
	snprintf(anchor_path, sizeof(anchor_path), "%s/anchor", directory);
	anchor[0] = '\0';
}

static void use_anchor(void)
{
	snprintf(anchor, sizeof(anchor), "file:%s", anchor_path);
}

static void teardown(void)
{
	char command[128];

	ck_assert_uint_eq(secret_count(), 0);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	ck_assert_int_eq(system(command), 0);
}

static __attribute__((format(printf, 1, 2))) void shell(const char *format, ...)
{
	char command[512];
	va_list list;

	va_start(list, format);
	vsnprintf(command, sizeof(command), format, list);
	va_end(list);
	ck_assert_msg(system(command) == 0, "%s", command);
}

/* Everything there is now is kept under a name, or put back from it. */
static void keep(const char *name)
{
	shell("cd %s && mkdir -p %s && rm -f %s/* && cp -p vault* anchor* %s/ 2>/dev/null || true",
	      directory, name, name, name);
}

static void put_back(const char *name, const char *files)
{
	shell("cd %s && for f in %s; do rm -f $f; [ ! -e %s/$f ] || cp -p %s/$f .; done", directory,
	      files, name, name);
}

#define THE_VAULT  "vault vault-wal"
#define THE_LEDGER "vault.ledger"
#define THE_ANCHOR "anchor"

static int try_open(struct vault **v)
{
	struct vault_options options = {.path = path,
					.openers = &opener,
					.opener_count = 1,
					.create = true,
					.anchor = anchor};
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
	int r = try_open(&v);

	ck_assert_msg(r == 0, "vault_open: %d %s", r, why);
	return v;
}

static void on_done(void *arg, int result)
{
	*(int *)arg = result;
}

static int flush(struct vault *v, struct vault_batch *b)
{
	int result = 1;
	int r = vault_submit(v, b, on_done, &result);

	if (r != 0)
		return r;
	vault_flush(v);
	ck_assert_int_ne(result, 1);
	return result;
}

static void add(struct vault_batch *b, enum ledger_event event, uint32_t index)
{
	struct ledger_fact f = {.event = event,
				.figure = 7,
				.entity = bytes_text("pne-1"),
				.user = bytes_text("anna"),
				.key_index = index,
				.time = 1700000000};

	vault_batch_ledger(b, &f);
}

static int tell_result(struct vault *v, enum ledger_event event, uint32_t index)
{
	struct vault_batch *b = vault_batch_new();
	struct vault_id id = {VAULT_EUKEY, bytes_text("pne-1"), bytes_of(&index, 4)};

	add(b, event, index);
	if (event == LEDGER_ISSUED)
		vault_batch_put(b, &id, bytes_text("key"));
	return flush(v, b);
}

static void tell(struct vault *v, enum ledger_event event, uint32_t index)
{
	ck_assert_int_eq(tell_result(v, event, index), 0);
}

static void issue(struct vault *v, uint32_t first, uint32_t last)
{
	for (uint32_t i = first; i <= last; i++)
		tell(v, LEDGER_ISSUED, i);
}

static off_t size_of(const char *file)
{
	struct stat st;

	return stat(file, &st) == 0 ? st.st_size : -1;
}

static off_t size_with(uint32_t entries)
{
	return LEDGER_HEADER_SIZE + (off_t)entries * LEDGER_ENTRY_SIZE;
}

struct gap {
	uint32_t first;
	uint32_t last;
};

static void on_gap(void *arg, uint32_t first, uint32_t last, uint32_t at)
{
	(void)at;
	*(struct gap *)arg = (struct gap){first, last};
}

/* Proves the file; head may be NULL. Returns how many entries it has. */
static uint32_t prove(const struct ledger_state *head, struct gap *gap)
{
	struct ledger_expected e = {.who = "the vault"};
	struct ledger_check *c = NULL;
	struct gap found = {0, 0};
	static uint8_t data[1 << 20];
	FILE *f = fopen(ledger, "rb");
	uint32_t entries;
	size_t size;
	int r;

	ck_assert_msg(f != NULL, "no ledger");
	size = fread(data, 1, sizeof(data), f);
	fclose(f);
	ck_assert_int_eq(ledger_check_new(on_gap, &found, &c), 0);
	if (head) {
		e.sequence = head->sequence;
		memcpy(e.head, head->head, sizeof(e.head));
		ck_assert_int_eq(ledger_check_expect(c, &e), 0);
	}
	r = ledger_check_feed(c, bytes_of(data, size));
	if (r == 0)
		r = ledger_check_end(c);
	ck_assert_msg(r == 0, "entry %u: %s", ledger_check_defect(c)->sequence,
		      ledger_check_defect(c)->text);
	entries = ledger_check_entries(c);
	ledger_check_free(c);
	if (gap)
		*gap = found;
	return entries;
}

static struct ledger_state state_of(const struct vault *v)
{
	struct ledger_state s;

	vault_ledger_state(v, &s);
	return s;
}

/* Closes and proves: whatever was told is in the file. */
static uint32_t close_and_prove(struct vault *v)
{
	struct ledger_state s = state_of(v);

	vault_close(v);
	return prove(&s, NULL);
}

static int rows(void)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;
	int n;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT count(*) FROM ledger", -1, &s, NULL),
			 SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(s), SQLITE_ROW);
	n = sqlite3_column_int(s, 0);
	sqlite3_finalize(s);
	sqlite3_close(db);
	return n;
}

static void flip(const char *file, off_t at)
{
	int fd = open(file, O_RDWR);
	uint8_t byte;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
	byte ^= 4;
	ck_assert_int_eq(__real_pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

START_TEST(test_begins)
{
	struct vault *v = open_vault();
	struct vault_batch *b = vault_batch_new();
	struct vault_id id = {VAULT_PNE, bytes_text("pne-1"), BYTES_NONE};
	const char *with = "";

	ck_assert_uint_eq(state_of(v).sequence, 0);
	vault_batch_put(b, &id, bytes_text("x"));
	ck_assert_int_eq(flush(v, b), 0);
	vault_close(v);
	v = open_vault();
	ck_assert_int_eq(size_of(ledger), -1);
	ck_assert_ptr_null(vault_rollback(v));

	/* Two batches in one commit: in order, behind "created". */
	b = vault_batch_new();
	add(b, LEDGER_ISSUED, 1);
	add(b, LEDGER_ISSUED, 2);
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), 0);
	b = vault_batch_new();
	add(b, LEDGER_SPENT, 2);
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 2);
	ck_assert_uint_eq(state_of(v).sequence, 4);
	ck_assert_int_eq(size_of(ledger), size_with(4));
	ck_assert_int_eq(vault_ledger_trouble(v, &with), 0);
	ck_assert_uint_eq(close_and_prove(v), 4);
	ck_assert_int_eq(rows(), 1);
	v = open_vault();
	ck_assert_uint_eq(state_of(v).sequence, 4);
	tell(v, LEDGER_INSTALLED, 2);
	ck_assert_uint_eq(close_and_prove(v), 5);
}
END_TEST

START_TEST(test_refused)
{
	struct vault *v = open_vault();
	struct vault_batch *b = vault_batch_new();
	char name[NAME_MAX_SIZE + 1];

	memset(name, 'x', sizeof(name));
	add(b, LEDGER_CREATED, 1);
	ck_assert_int_eq(flush(v, b), -EINVAL);
	b = vault_batch_new();
	vault_batch_ledger(b, &(struct ledger_fact){.event = LEDGER_ISSUED,
						    .entity = bytes_of(name, sizeof(name))});
	ck_assert_int_eq(flush(v, b), -EINVAL);
	b = vault_batch_new();
	add(b, LEDGER_ISSUED, 1);
	vault_batch_free(b);
	ck_assert_uint_eq(state_of(v).sequence, 0);
	vault_close(v);
	ck_assert_int_eq(size_of(ledger), -1);
}
END_TEST

START_TEST(test_older_keys)
{
	struct vault *v = open_vault();
	struct vault_batch *b = vault_batch_new();
	struct vault_id id = {VAULT_EUKEY, bytes_text("pne-1"), bytes_text("1")};

	vault_batch_put(b, &id, bytes_text("key"));
	ck_assert_int_eq(flush(v, b), 0);
	tell(v, LEDGER_SPENT, 1);
	ck_assert_uint_eq(close_and_prove(v), 2);
}
END_TEST

/* Rows go when their entries are durable; flushes are rare. */
START_TEST(test_trimmed)
{
	struct vault *v = open_vault();

	disk.syncs = 0;
	issue(v, 1, 200);
	ck_assert_uint_ge(disk.syncs, 2);
	ck_assert_uint_le(disk.syncs, 6);
	keep("crash");
	ck_assert_uint_eq(close_and_prove(v), 201);
	ck_assert_int_eq(rows(), 1);
	put_back("crash", THE_VAULT " " THE_LEDGER);
	ck_assert_int_le(rows(), 80);
	v = open_vault();
	ck_assert_ptr_null(vault_rollback(v));
	tell(v, LEDGER_SPENT, 7);
	ck_assert_uint_eq(close_and_prove(v), 202);
}
END_TEST

/* After a crash the rows have all of the file: whatever of it is missing comes back. */
START_TEST(test_cut_after_crash)
{
	struct vault *v = open_vault();
	struct ledger_state s;
	off_t whole;

	issue(v, 1, 3);
	s = state_of(v);
	keep("crash");
	vault_close(v);
	whole = size_with(4);
	for (off_t size = 0; size <= whole; size += 3) {
		put_back("crash", THE_VAULT " " THE_LEDGER);
		ck_assert_int_eq(truncate(ledger, size), 0);
		v = open_vault();
		ck_assert_ptr_null(vault_rollback(v));
		vault_close(v);
		ck_assert_uint_eq(prove(&s, NULL), 4);
	}
	/* No file at all: it comes with the next entry. */
	put_back("crash", THE_VAULT);
	ck_assert_int_eq(unlink(ledger), 0);
	v = open_vault();
	ck_assert_ptr_null(vault_rollback(v));
	tell(v, LEDGER_SPENT, 1);
	ck_assert_uint_eq(close_and_prove(v), 5);
}
END_TEST

/* Once durable it is not there any more but in the file: cut off, the place is named. */
START_TEST(test_cut_durable)
{
	struct vault *v = open_vault();
	char expected[64];

	issue(v, 1, 3);
	vault_close(v);
	keep("whole");
	for (off_t size = 0; size <= size_with(4); size += 1) {
		const bool is_short = size < size_with(3);
		int r;

		put_back("whole", THE_VAULT " " THE_LEDGER);
		ck_assert_int_eq(truncate(ledger, size), 0);
		r = try_open(&v);
		ck_assert_msg(r == (is_short ? VAULT_LEDGER : 0), "%ld: %d", (long)size, r);
		if (is_short) {
			snprintf(expected, sizeof(expected), "cut off at byte %ld,", (long)size);
			ck_assert_msg(strstr(why, expected) != NULL, "%s", why);
		} else {
			ck_assert_ptr_null(vault_rollback(v));
			ck_assert_uint_eq(close_and_prove(v), 4);
		}
		/* Most places are alike. */
		if (size > 5 && size % 50 != 0 && size + 5 < size_with(3))
			size += 6;
	}
}
END_TEST

START_TEST(test_altered)
{
	static const struct {
		off_t at;
		const char *says;
	} places[] = {
		{0, "at byte 0"},
		{40, "at byte 0"},
		{127, "at byte 0"},
		{128 + 2 * 152, "at byte 432"},
		{128 + 3 * 152 - 1, "at byte 432"},
		{128 + 3 * 152, NULL},
		{128 + 4 * 152 - 1, NULL},
	};
	struct vault *v = open_vault();

	issue(v, 1, 3);
	vault_close(v);
	keep("whole");
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		put_back("whole", THE_VAULT " " THE_LEDGER);
		flip(ledger, places[i].at);
		if (places[i].says) {
			ck_assert_int_eq(try_open(&v), VAULT_LEDGER);
			ck_assert_msg(strstr(why, places[i].says) != NULL, "%s", why);
			continue;
		}
		/* The vault has the newest entry too. */
		v = open_vault();
		ck_assert_uint_eq(close_and_prove(v), 4);
	}
	/* Garbage behind the end goes. */
	put_back("whole", THE_VAULT " " THE_LEDGER);
	shell("head -c 400 /dev/zero >>%s", ledger);
	v = open_vault();
	ck_assert_uint_eq(close_and_prove(v), 4);
}
END_TEST

START_TEST(test_other_vaults_file)
{
	struct vault *v = open_vault();

	issue(v, 1, 1);
	vault_close(v);
	shell("cd %s && rm vault key", directory);
	ck_assert_int_eq(try_open(&v), VAULT_LEDGER);
	ck_assert_ptr_nonnull(strstr(why, "another vault's"));
	ck_assert_int_eq(unlink(ledger), 0);
	v = open_vault();
	issue(v, 1, 1);
	ck_assert_uint_eq(close_and_prove(v), 2);
}
END_TEST

static void assert_rollback(struct vault *v, uint32_t own, uint32_t known, const char *who)
{
	const struct vault_rollback *r = vault_rollback(v);

	ck_assert_msg(r != NULL, "no rollback");
	ck_assert_uint_eq(r->own, own);
	ck_assert_uint_eq(r->known, known);
	ck_assert_str_eq(r->who, who);
}

static void copy_entry(const char *file, uint32_t from, uint32_t to)
{
	uint8_t entry[LEDGER_ENTRY_SIZE];
	int fd = open(file, O_RDWR);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, entry, sizeof(entry), size_with(from)), sizeof(entry));
	ck_assert_int_eq(__real_pwrite(fd, entry, sizeof(entry), size_with(to)), sizeof(entry));
	close(fd);
}

static void assert_settled(uint32_t sequence)
{
	struct vault *v = open_vault();

	ck_assert_ptr_null(vault_rollback(v));
	ck_assert_uint_eq(state_of(v).sequence, sequence);
	vault_close(v);
}

/* An older copy of the vault, beside the ledger's newest file. */
START_TEST(test_older_vault)
{
	struct vault *v = open_vault();
	struct vault_batch *b;
	struct gap gap;

	issue(v, 1, 2);
	vault_close(v);
	keep("older");
	v = open_vault();
	tell(v, LEDGER_SPENT, 1);
	tell(v, LEDGER_SPENT, 2);
	vault_close(v);
	put_back("older", THE_VAULT);
	/* Found at each opening until it is settled. */
	for (int i = 0; i < 2; i++) {
		v = open_vault();
		assert_rollback(v, 3, 5, "ledger file");
		ck_assert_uint_eq(state_of(v).sequence, 3);
		vault_close(v);
	}
	v = open_vault();
	b = vault_batch_new();
	add(b, LEDGER_ROLLED_BACK, 0);
	add(b, LEDGER_ERASED, 1);
	add(b, LEDGER_ERASED, 2);
	ck_assert_int_eq(flush(v, b), 0);
	ck_assert_uint_eq(state_of(v).sequence, 8);
	assert_rollback(v, 3, 5, "ledger file");
	vault_close(v);
	ck_assert_uint_eq(prove(NULL, &gap), 8);
	ck_assert_uint_eq(gap.first, 0);
	assert_settled(8);
}
END_TEST

/* An entry of this vault in the place of another is no later state, but altered. */
START_TEST(test_entry_copied)
{
	static const char *const says[] = {"at byte 128 ", "at byte 280 ", "at byte 432 ",
					   "at byte 584 "};
	struct vault *v = open_vault();

	issue(v, 1, 3);
	keep("crash");
	vault_close(v);
	keep("whole");
	for (uint32_t to = 2; to < 4; to++) {
		put_back("whole", THE_VAULT " " THE_LEDGER);
		copy_entry(ledger, 1, to);
		ck_assert_int_eq(try_open(&v), VAULT_LEDGER);
		ck_assert_msg(strstr(why, says[to]) != NULL, "%s", why);
	}
	for (uint32_t to = 0; to < 4; to++) {
		if (to == 1)
			continue;
		put_back("crash", THE_VAULT " " THE_LEDGER);
		copy_entry(ledger, 1, to);
		ck_assert_int_eq(try_open(&v), VAULT_LEDGER);
		ck_assert_msg(strstr(why, says[to]) != NULL, "%s", why);
	}
	/* Behind the end nothing is lost by cutting it off. */
	put_back("whole", THE_VAULT " " THE_LEDGER);
	copy_entry(ledger, 1, 4);
	v = open_vault();
	ck_assert_uint_eq(close_and_prove(v), 4);
}
END_TEST

/* A bit of the file does not hide that the vault is older than the file. */
START_TEST(test_older_vault_altered_file)
{
	struct vault *v = open_vault();

	issue(v, 1, 2);
	vault_close(v);
	keep("older");
	v = open_vault();
	issue(v, 3, 6);
	vault_close(v);
	put_back("older", THE_VAULT);
	flip(ledger, size_with((uint32_t)_i) + 5);
	ck_assert_int_eq(try_open(&v), VAULT_LEDGER);
	ck_assert_int_eq(size_of(ledger), size_with(7));
	ck_assert_int_eq(unlink(ledger), 0);
	v = open_vault();
	assert_rollback(v, 3, 3, "lost ledger file");
	vault_close(v);
}
END_TEST

/* From before the first entry; and the first fact is not about the rollback. */
START_TEST(test_vault_older_than_ledger)
{
	struct vault *v = open_vault();

	vault_close(v);
	keep("older");
	v = open_vault();
	issue(v, 1, 2);
	vault_close(v);
	put_back("older", THE_VAULT);
	v = open_vault();
	assert_rollback(v, 0, 3, "ledger file");
	tell(v, LEDGER_ISSUED, 3);
	ck_assert_uint_eq(state_of(v).sequence, 5);
	ck_assert_uint_eq(close_and_prove(v), 5);
	assert_settled(5);
}
END_TEST

/* Two futures of one state: the file is of the one, the vault of the other. */
START_TEST(test_two_futures)
{
	struct vault *v = open_vault();

	issue(v, 1, 2);
	vault_close(v);
	keep("common");
	v = open_vault();
	tell(v, LEDGER_SPENT, 1);
	keep("one");
	vault_close(v);
	for (int i = 0; i < 3; i++) {
		put_back("common", THE_VAULT " " THE_LEDGER);
		v = open_vault();
		for (uint32_t n = 0; n <= (uint32_t)i; n++)
			tell(v, LEDGER_ISSUED, 10 + n);
		vault_close(v);
		put_back("one", THE_LEDGER);
		/* A file that has less than the other future had is cut off. */
		if (i == 2) {
			ck_assert_int_eq(try_open(&v), VAULT_LEDGER);
			continue;
		}
		v = open_vault();
		assert_rollback(v, 4 + (uint32_t)i, 4 + (uint32_t)i, "ledger file");
		tell(v, LEDGER_ISSUED, 20);
		ck_assert_uint_eq(close_and_prove(v), 6);
		assert_settled(6 + (uint32_t)i);
	}
}
END_TEST

START_TEST(test_lost_file)
{
	struct vault *v = open_vault();
	struct gap gap;

	issue(v, 1, 2);
	vault_close(v);
	ck_assert_int_eq(unlink(ledger), 0);
	v = open_vault();
	assert_rollback(v, 3, 3, "lost ledger file");
	vault_close(v);
	ck_assert_int_eq(size_of(ledger), -1);
	v = open_vault();
	tell(v, LEDGER_ROLLED_BACK, 0);
	tell(v, LEDGER_ERASED, 1);
	ck_assert_uint_eq(state_of(v).sequence, 5);
	vault_close(v);
	ck_assert_uint_eq(prove(NULL, &gap), 2);
	ck_assert_uint_eq(gap.first, 1);
	ck_assert_uint_eq(gap.last, 3);
	assert_settled(5);
	/* Behind a gap place and sequence differ: all of the above again. */
	keep("older");
	v = open_vault();
	issue(v, 7, 9);
	vault_close(v);
	put_back("older", THE_VAULT);
	v = open_vault();
	assert_rollback(v, 5, 8, "ledger file");
	tell(v, LEDGER_ROLLED_BACK, 0);
	ck_assert_uint_eq(close_and_prove(v), 6);
	assert_settled(9);
	ck_assert_int_eq(truncate(ledger, size_with(3)), 0);
	ck_assert_int_eq(try_open(&v), VAULT_LEDGER);
}
END_TEST

/* The server knows more: the fact says so. */
START_TEST(test_known_elsewhere)
{
	struct vault *v = open_vault();
	struct vault_batch *b = vault_batch_new();
	struct gap gap;

	issue(v, 1, 1);
	vault_batch_ledger(b, &(struct ledger_fact){.event = LEDGER_ROLLED_BACK, .known = 40});
	add(b, LEDGER_ERASED, 1);
	ck_assert_int_eq(flush(v, b), 0);
	ck_assert_uint_eq(state_of(v).sequence, 42);
	vault_close(v);
	ck_assert_uint_eq(prove(NULL, &gap), 4);
	ck_assert_uint_eq(gap.first, 3);
	ck_assert_uint_eq(gap.last, 40);
	assert_settled(42);
}
END_TEST

/* What cannot be written to the file now is not lost and keeps nobody waiting. */
START_TEST(test_full_disk)
{
	struct vault *v = open_vault();
	const char *with = "";

	issue(v, 1, 2);
	disk.fail = ENOSPC;
	disk.torn = (size_t)_i;
	issue(v, 3, 80);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), -ENOSPC);
	ck_assert_str_eq(with, "ledger file");
	ck_assert_uint_eq(state_of(v).sequence, 81);
	ck_assert_int_eq(size_of(ledger), size_with(3) + _i);
	keep("crash");
	disk.fail = 0;
	tell(v, LEDGER_ISSUED, 81);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), 0);
	ck_assert_int_eq(size_of(ledger), size_with(82));
	ck_assert_uint_eq(close_and_prove(v), 82);
	/* The same after a crash on the full disk, and with a close on it. */
	put_back("crash", THE_VAULT " " THE_LEDGER);
	disk.fail = ENOSPC;
	v = open_vault();
	ck_assert_ptr_null(vault_rollback(v));
	vault_close(v);
	disk.fail = 0;
	v = open_vault();
	ck_assert_uint_eq(state_of(v).sequence, 81);
	ck_assert_uint_eq(close_and_prove(v), 81);
}
END_TEST

START_TEST(test_no_file_yet)
{
	struct vault *v = open_vault();
	const char *with = "";

	ck_assert_int_eq(mkdir(ledger, 0700), 0);
	issue(v, 1, 3);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), -EISDIR);
	ck_assert_int_eq(rmdir(ledger), 0);
	issue(v, 4, 4);
	ck_assert_uint_eq(close_and_prove(v), 5);
}
END_TEST

/* After a flush that failed, what was not durable is written again. */
START_TEST(test_flush_fails)
{
	struct vault *v = open_vault();
	const char *with = "";

	disk.syncs_fail = EIO;
	issue(v, 1, 70);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), -EIO);
	/* The disk did not keep it. */
	ck_assert_int_eq(truncate(ledger, 0), 0);
	disk.syncs_fail = 0;
	issue(v, 71, 71);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), 0);
	ck_assert_uint_eq(close_and_prove(v), 72);
}
END_TEST

/* Dies at the nth call that the ledger and its anchor make. 0: lived. */
static bool dies_at(int n, int told)
{
	int status;
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		struct vault *v = NULL;
		uint32_t last;

		if (try_open(&v) != 0)
			_exit(1);
		disk.steps_left = n;
		last = state_of(v).sequence;
		for (uint32_t i = 0; i < 70; i++) {
			uint32_t index = last + i + 1;

			if (tell_result(v, LEDGER_ISSUED, index) != 0)
				_exit(2);
			if (write(told, &index, sizeof(index)) != sizeof(index))
				_exit(3);
		}
		vault_close(v);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	ck_assert_msg(WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 0, "%d",
		      WEXITSTATUS(status));
	return WEXITSTATUS(status) == 77;
}

/* Each of the first and of the last of about 200 calls, when a flush comes; few in between. */
static void die_everywhere(int stride)
{
	int pipes[2];
	bool died = true;

	ck_assert_int_eq(pipe2(pipes, O_NONBLOCK), 0);
	for (int n = 1; died; n += n < 12 || n > 188 ? stride : 35) {
		uint32_t index = 0;
		struct vault_id id;
		struct vault *v;

		died = dies_at(n, pipes[1]);
		while (read(pipes[0], &index, sizeof(index)) == sizeof(index))
			;
		v = open_vault();
		ck_assert_ptr_null(vault_rollback(v));
		id = (struct vault_id){VAULT_EUKEY, bytes_text("pne-1"), bytes_of(&index, 4)};
		if (index > 0) {
			struct vault_content content;

			ck_assert_int_eq(vault_get(v, &id, &content), 0);
			vault_content_free(&content);
			ck_assert_uint_ge(state_of(v).sequence, index);
		}
		close_and_prove(v);
	}
	close(pipes[0]);
	close(pipes[1]);
}

START_TEST(test_dies)
{
	die_everywhere(1);
}
END_TEST

START_TEST(test_dies_anchored)
{
	use_anchor();
	die_everywhere(3);
}
END_TEST

START_TEST(test_anchor)
{
	static const char *const back[] = {THE_VAULT, THE_VAULT " " THE_LEDGER};
	struct vault *v;
	struct gap gap;

	use_anchor();
	v = open_vault();
	ck_assert_int_eq(size_of(anchor_path), -1);
	issue(v, 1, 2);
	ck_assert_int_gt(size_of(anchor_path), 100);
	vault_close(v);
	keep("older");
	v = open_vault();
	tell(v, LEDGER_SPENT, 1);
	tell(v, LEDGER_SPENT, 2);
	vault_close(v);
	assert_settled(5);
	put_back("older", back[_i]);
	v = open_vault();
	assert_rollback(v, 3, 5, _i == 0 ? "ledger file" : "anchor");
	vault_close(v);
	/* The anchor does not go back. */
	v = open_vault();
	assert_rollback(v, 3, 5, _i == 0 ? "ledger file" : "anchor");
	tell(v, LEDGER_ROLLED_BACK, 0);
	ck_assert_uint_eq(state_of(v).sequence, 6);
	vault_close(v);
	ck_assert_uint_eq(prove(NULL, &gap), _i == 0 ? 6 : 4);
	ck_assert_uint_eq(gap.first, _i == 0 ? 0 : 4);
	ck_assert_uint_eq(gap.last, _i == 0 ? 0 : 5);
	assert_settled(6);
}
END_TEST

/* What was put back is a copy taken while entries were not durable in the file: they come back. */
START_TEST(test_anchor_and_short_file)
{
	struct vault *v;
	struct gap gap;
	const char *with = "";

	use_anchor();
	v = open_vault();
	issue(v, 1, 2);
	vault_close(v);
	v = open_vault();
	issue(v, 3, 9);
	keep("older");
	issue(v, 10, 12);
	vault_close(v);
	put_back("older", THE_VAULT " " THE_LEDGER);
	ck_assert_int_eq(truncate(ledger, size_with((uint32_t)_i)), 0);
	disk.fail = _i == 10 ? 0 : ENOSPC;
	v = open_vault();
	assert_rollback(v, 10, 13, "anchor");
	tell(v, LEDGER_ROLLED_BACK, 0);
	/* The power goes before the file is flushed, and it loses what it had. */
	keep("crash");
	disk.fail = 0;
	tell(v, LEDGER_ERASED, 3);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), 0);
	vault_close(v);
	ck_assert_uint_eq(prove(NULL, &gap), 12);
	ck_assert_uint_eq(gap.first, 11);
	ck_assert_uint_eq(gap.last, 13);
	assert_settled(15);
	put_back("crash", THE_VAULT " " THE_LEDGER);
	ck_assert_int_eq(truncate(ledger, size_with((uint32_t)_i < 7 ? (uint32_t)_i : 7)), 0);
	v = open_vault();
	ck_assert_uint_eq(state_of(v).sequence, 14);
	vault_close(v);
	ck_assert_uint_eq(prove(NULL, &gap), 11);
}
END_TEST

/* A crash between the commit and the anchor is no rollback. */
START_TEST(test_anchor_behind)
{
	struct vault *v;

	use_anchor();
	v = open_vault();
	issue(v, 1, 2);
	keep("before");
	tell(v, LEDGER_SPENT, 1);
	keep("crash");
	vault_close(v);
	put_back("crash", THE_VAULT " " THE_LEDGER);
	put_back("before", THE_ANCHOR);
	assert_settled(4);
	/* So far behind that the entry is in the file alone. */
	v = open_vault();
	issue(v, 5, 8);
	vault_close(v);
	put_back("before", THE_ANCHOR);
	assert_settled(8);
	shell("cmp -s %s %s/before/anchor && exit 1 || exit 0", anchor_path, directory);
}
END_TEST

/* A copy that went on by itself and has overtaken the anchor. */
START_TEST(test_anchor_other_history)
{
	struct vault *v;

	use_anchor();
	v = open_vault();
	issue(v, 1, 2);
	vault_close(v);
	keep("common");
	v = open_vault();
	tell(v, LEDGER_SPENT, 1);
	vault_close(v);
	keep("one");
	put_back("common", THE_VAULT " " THE_LEDGER " " THE_ANCHOR);
	v = open_vault();
	issue(v, 10, 10 + (uint32_t)_i);
	vault_close(v);
	put_back("one", THE_ANCHOR);
	v = open_vault();
	assert_rollback(v, 4 + (uint32_t)_i, 4 + (uint32_t)_i, "anchor");
	tell(v, LEDGER_ROLLED_BACK, 0);
	ck_assert_uint_eq(close_and_prove(v), 5 + (uint32_t)_i);
	assert_settled(5 + (uint32_t)_i);
}
END_TEST

START_TEST(test_anchor_altered)
{
	struct vault *v;

	use_anchor();
	v = open_vault();
	issue(v, 1, 2);
	vault_close(v);
	keep("whole");
	for (off_t at = 0; at < size_of(anchor_path); at += 3) {
		put_back("whole", THE_ANCHOR);
		flip(anchor_path, at);
		ck_assert_msg(try_open(&v) == VAULT_ANCHOR, "byte %ld", (long)at);
		ck_assert_ptr_nonnull(strstr(why, "damaged, forged, or of another vault"));
	}
	/* Another statement's number with this one's signature. */
	put_back("whole", THE_ANCHOR);
	shell("sed -i 's/^entries 3$/entries 2/' %s", anchor_path);
	ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
	/* Taken away: only what does without an anchor opens. */
	ck_assert_int_eq(unlink(anchor_path), 0);
	ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
	ck_assert_ptr_nonnull(strstr(why, "it is gone"));
	anchor[0] = '\0';
	v = open_vault();
	ck_assert_ptr_null(vault_rollback(v));
	vault_close(v);
	use_anchor();
	v = open_vault();
	ck_assert_int_gt(size_of(anchor_path), 0);
	vault_close(v);
	ck_assert_int_eq(unlink(anchor_path), 0);
	ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
	snprintf(anchor, sizeof(anchor), "nonsense");
	ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
	snprintf(anchor, sizeof(anchor), "file:");
	ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
	snprintf(anchor, sizeof(anchor), "file:%s", directory);
	ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
}
END_TEST

START_TEST(test_anchor_of_another)
{
	struct vault *v;

	use_anchor();
	v = open_vault();
	issue(v, 1, 2);
	vault_close(v);
	shell("cd %s && rm vault vault.ledger key", directory);
	ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
	ck_assert_ptr_nonnull(strstr(why, "another vault"));
}
END_TEST

/* An anchor that cannot be written is a trouble, not a loss; it catches up. */
START_TEST(test_anchor_full)
{
	struct vault *v;
	const char *with = "";

	use_anchor();
	v = open_vault();
	issue(v, 1, 1);
	shell("mkdir %s.new", anchor_path);
	issue(v, 2, 2);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), -EISDIR);
	ck_assert_str_eq(with, "anchor");
	shell("rmdir %s.new", anchor_path);
	issue(v, 3, 3);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), 0);
	keep("now");
	vault_close(v);
	shell("grep -q '^entries 4$' %s", anchor_path);
}
END_TEST

static void damage_row(int where)
{
	sqlite3 *db = NULL;
	sqlite3_blob *blob = NULL;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_blob_open(db, "main", "ledger", "entry", 3, 1, &blob), SQLITE_OK);
	ck_assert_int_eq(sqlite3_blob_write(blob, "\x77", 1, where), SQLITE_OK);
	sqlite3_blob_close(blob);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

/* Damaged rows: no fact can be told any more, the records are served. */
START_TEST(test_damaged_rows)
{
	struct vault *v = open_vault();
	struct vault_id id = {VAULT_PNE, bytes_text("pne-1"), BYTES_NONE};
	struct vault_batch *b;
	const char *with = "";

	issue(v, 1, 2);
	vault_close(v);
	damage_row(_i);
	v = open_vault();
	ck_assert_int_eq(vault_ledger_trouble(v, &with), -EBADMSG);
	ck_assert_str_eq(with, "ledger table");
	ck_assert_int_eq(tell_result(v, LEDGER_SPENT, 1), -EBADMSG);
	b = vault_batch_new();
	vault_batch_put(b, &id, bytes_text("x"));
	ck_assert_int_eq(flush(v, b), 0);
	vault_close(v);
	ck_assert_int_eq(size_of(ledger), size_with(3));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vault-ledger");
	TCase *t = tcase_create("vault-ledger");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_begins);
	tcase_add_test(t, test_refused);
	tcase_add_test(t, test_older_keys);
	tcase_add_test(t, test_trimmed);
	tcase_add_test(t, test_cut_after_crash);
	tcase_add_test(t, test_cut_durable);
	tcase_add_test(t, test_altered);
	tcase_add_test(t, test_other_vaults_file);
	tcase_add_test(t, test_older_vault);
	tcase_add_test(t, test_entry_copied);
	tcase_add_loop_test(t, test_older_vault_altered_file, 2, 6);
	tcase_add_test(t, test_vault_older_than_ledger);
	tcase_add_test(t, test_two_futures);
	tcase_add_test(t, test_lost_file);
	tcase_add_test(t, test_known_elsewhere);
	tcase_add_loop_test(t, test_full_disk, 0, 2);
	tcase_add_test(t, test_no_file_yet);
	tcase_add_test(t, test_flush_fails);
	tcase_add_test(t, test_dies);
	tcase_add_test(t, test_dies_anchored);
	tcase_add_loop_test(t, test_anchor, 0, 2);
	tcase_add_loop_test(t, test_anchor_and_short_file, 3, 11);
	tcase_add_test(t, test_anchor_behind);
	tcase_add_loop_test(t, test_anchor_other_history, 0, 3);
	tcase_add_test(t, test_anchor_altered);
	tcase_add_test(t, test_anchor_of_another);
	tcase_add_test(t, test_anchor_full);
	tcase_add_loop_test(t, test_damaged_rows, 4, 8);
	tcase_add_loop_test(t, test_damaged_rows, 100, 102);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
