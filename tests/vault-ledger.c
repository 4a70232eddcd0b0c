#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>
#include <sqlite3.h>

#include "storage/ledger-check.h"
#include "tests/vault-ledger.h"

char directory[64];
char path[128];
char key_file[128];
char ledger[160];
char anchor_path[160];
char anchor[192];
char why[512];
static const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_file};

struct disk disk;

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
		(void)kill(getpid(), SIGKILL);
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

void setup(void)
{
	memset(&disk, 0, sizeof(disk));
	snprintf(directory, sizeof(directory), "%s/test-ledger-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/vault", directory);
	snprintf(key_file, sizeof(key_file), "%s/key", directory);
	snprintf(ledger, sizeof(ledger), "%s.ledger", path);
	snprintf(anchor_path, sizeof(anchor_path), "%s/anchor", directory);
	anchor[0] = '\0';
}

void use_anchor(void)
{
	snprintf(anchor, sizeof(anchor), "file:%s", anchor_path);
}

void teardown(void)
{
	char command[128];

	ck_assert_uint_eq(secret_count(), 0);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	ck_assert_int_eq(system(command), 0);
}

void shell(const char *format, ...)
{
	char command[512];
	va_list list;

	va_start(list, format);
	vsnprintf(command, sizeof(command), format, list);
	va_end(list);
	ck_assert_msg(system(command) == 0, "%s", command);
}

/* Everything there is now is kept under a name, or put back from it. */
void keep(const char *name)
{
	shell("cd %s && mkdir -p %s && rm -f %s/* && cp -p vault* anchor* %s/ 2>/dev/null || true",
	      directory, name, name, name);
}

void put_back(const char *name, const char *files)
{
	shell("cd %s && for f in %s; do rm -f $f; [ ! -e %s/$f ] || cp -p %s/$f .; done", directory,
	      files, name, name);
}

int try_open(struct vault **v)
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

struct vault *open_vault(void)
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

int flush(struct vault *v, struct vault_batch *b)
{
	int result = 1;
	int r = vault_submit(v, b, on_done, &result);

	if (r != 0)
		return r;
	vault_flush(v);
	ck_assert_int_ne(result, 1);
	return result;
}

void add(struct vault_batch *b, enum ledger_event event, uint32_t index)
{
	struct ledger_fact f = {.event = event,
				.figure = 7,
				.entity = bytes_text("pne-1"),
				.user = bytes_text("anna"),
				.key_index = index,
				.time = 1700000000};

	vault_batch_ledger(b, &f);
}

int tell_result(struct vault *v, enum ledger_event event, uint32_t index)
{
	struct vault_batch *b = vault_batch_new();
	struct vault_id id = {VAULT_EUKEY, bytes_text("pne-1"), bytes_of(&index, 4)};

	add(b, event, index);
	if (event == LEDGER_ISSUED)
		vault_batch_put(b, &id, bytes_text("key"));
	return flush(v, b);
}

void tell(struct vault *v, enum ledger_event event, uint32_t index)
{
	ck_assert_int_eq(tell_result(v, event, index), 0);
}

void issue(struct vault *v, uint32_t first, uint32_t last)
{
	for (uint32_t i = first; i <= last; i++)
		tell(v, LEDGER_ISSUED, i);
}

off_t size_of(const char *file)
{
	struct stat st;

	return stat(file, &st) == 0 ? st.st_size : -1;
}

off_t size_with(uint32_t entries)
{
	return LEDGER_HEADER_SIZE + (off_t)entries * LEDGER_ENTRY_SIZE;
}

static void on_gap(void *arg, uint32_t first, uint32_t last, uint32_t at)
{
	(void)at;
	*(struct gap *)arg = (struct gap){first, last};
}

/* Proves the file; head may be NULL. Returns how many entries it has. */
uint32_t prove(const struct ledger_state *head, struct gap *gap)
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

struct ledger_state state_of(const struct vault *v)
{
	struct ledger_state s;

	vault_ledger_state(v, &s);
	return s;
}

/* Closes and proves: whatever was told is in the file. */
uint32_t close_and_prove(struct vault *v)
{
	struct ledger_state s = state_of(v);

	vault_close(v);
	return prove(&s, NULL);
}

int rows(void)
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

void flip(const char *file, off_t at)
{
	int fd = open(file, O_RDWR);
	uint8_t byte;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
	byte ^= 4;
	ck_assert_int_eq(__real_pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

void copy_entry(const char *file, uint32_t from, uint32_t to)
{
	uint8_t entry[LEDGER_ENTRY_SIZE];
	int fd = open(file, O_RDWR);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, entry, sizeof(entry), size_with(from)), sizeof(entry));
	ck_assert_int_eq(__real_pwrite(fd, entry, sizeof(entry), size_with(to)), sizeof(entry));
	close(fd);
}

void assert_rollback(struct vault *v, uint32_t own, uint32_t known, const char *who)
{
	const struct vault_rollback *r = vault_rollback(v);

	ck_assert_msg(r != NULL, "no rollback");
	ck_assert_uint_eq(r->own, own);
	ck_assert_uint_eq(r->known, known);
	ck_assert_str_eq(r->who, who);
}

void assert_settled(uint32_t sequence)
{
	struct vault *v = open_vault();

	ck_assert_ptr_null(vault_rollback(v));
	ck_assert_uint_eq(state_of(v).sequence, sequence);
	vault_close(v);
}
