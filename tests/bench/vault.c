/*
 * What the vault costs, each time against the plain thing measured in the same run, in turns:
 *   tests/bench/vault [--quick | --check] [FOLDER]
 * FOLDER (default: the current one) is where the files are made, so on which disk. Prints a line
 * for each figure; exit status 0 when all targets are met, 1 when one is not, 2 when it cannot run,
 * 77 when one could not be judged: those of commits where a flush costs so little that the
 * processor decides, not the disk.
 * --quick is a smoke test: it measures little and its exit status says only whether it ran.
 * --check measures half as much, and what was not met twice more: something else may have run. Of
 * opening the best time less the best derivation counts, not the median: a busy processor weighs
 * more on it than on what it is compared with.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include "storage/vault-key.h"
#include "storage/vault-wrap.h"
#include "storage/vault.h"

#define OWNERS       1000
#define CONTENT_SIZE 150 /* an EUKey's record is shorter, a PNE's answer longer */
#define WRITERS      32
#define ROUNDS_MAX   64
#define LOG_SIZE     ((off_t)2000 * (4096 + 24)) /* from where on it does not grow */

#define TARGET_COMMIT   0.80 /* of append + fdatasync */
#define TARGET_GROUP    8.0  /* times the single writer's rate */
#define TARGET_OPEN_MS  1.0
#define TARGET_READ     0.70 /* of plain SQLite */
#define TARGET_MEMORY_M 8.0
#define FLUSH_MIN_US    200.0 /* a record in a group takes the processor about an eighth of that */
#define ATTEMPTS        3
#define EXIT_NOT_JUDGED 77

struct sizes {
	uint32_t records;
	unsigned rounds;
	unsigned commits; /* a round */
	unsigned reads;
	unsigned opens;
	bool best_open; /* not the median */
};

static const struct sizes full = {100000, 15, 200, 20000, 15, false};
static const struct sizes quick = {2000, 3, 20, 500, 3, false};
static const struct sizes check = {100000, 7, 100, 10000, 25, true};

static const struct sizes *sizes = &full;
static char folder[256];
static char vault_path[300];
static char key_path[300];
static char plain_path[300];
static char append_path[300];
static uint32_t random_state = 1;
static bool not_judged;

static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputc('\n', stderr);
	exit(2);
}

static double now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* A fixed sequence, so that two runs do the same. */
static uint32_t next_random(uint32_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % below;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *values, unsigned count)
{
	qsort(values, count, sizeof(*values), compare_doubles);
	return values[count / 2];
}

/* The name of record i: OWNERS owners with as many items each. */
struct record_name {
	char owner[24];
	char item[12];
};

static struct record_name name_of(uint32_t i)
{
	struct record_name n;

	(void)snprintf(n.owner, sizeof(n.owner), "headset-%05u", i % OWNERS);
	(void)snprintf(n.item, sizeof(n.item), "%u", i / OWNERS);
	return n;
}

static struct vault_id id_of(const struct record_name *n)
{
	return (struct vault_id){VAULT_EUKEY, bytes_text(n->owner), bytes_text(n->item)};
}

static void fill_content(uint32_t i, uint8_t content[CONTENT_SIZE])
{
	memset(content, (int)(i & 0xff), CONTENT_SIZE);
}

static struct vault *open_vault(void)
{
	const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_path};
	const struct vault_options options = {
		.path = vault_path, .openers = &opener, .opener_count = 1, .create = true};
	struct vault *v = NULL;
	char why[256];

	if (vault_open(&options, &v, why, sizeof(why)) != 0)
		die("%s", why);
	return v;
}

static void must_succeed(void *arg, int result)
{
	unsigned *told = arg;

	if (result != 0)
		die("a batch failed: %s", strerror(-result));
	if (told)
		++*told;
}

static void put(struct vault_batch *b, uint32_t i)
{
	const struct record_name n = name_of(i);
	const struct vault_id id = id_of(&n);
	uint8_t content[CONTENT_SIZE];

	fill_content(i, content);
	vault_batch_put(b, &id, bytes_of(content, sizeof(content)));
}

static void submit_one(struct vault *v, uint32_t i, vault_done_fn *done, void *arg)
{
	struct vault_batch *b = vault_batch_new();

	if (!b)
		die("no memory");
	put(b, i);
	if (vault_submit(v, b, done, arg) != 0)
		die("a batch is refused");
}

static void fill_vault(void)
{
	struct vault *v = open_vault();

	for (uint32_t i = 0; i < sizes->records;) {
		struct vault_batch *b = vault_batch_new();

		if (!b)
			die("no memory");
		for (unsigned n = 0; n < 1000 && i < sizes->records; n++)
			put(b, i++);
		if (vault_submit(v, b, must_succeed, NULL) != 0)
			die("a batch is refused");
		(void)vault_flush(v);
	}
	vault_close(v);
}

/* The plain counterpart: the same table, the same settings, names and contents as they are. */
static const char plain_settings[] =
	"PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;"
	"PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON; PRAGMA cache_size = -4000;"
	"PRAGMA journal_mode = WAL";

#define PLAIN_NAME_SIZE 33

static void plain_name(uint32_t i, uint8_t out[PLAIN_NAME_SIZE])
{
	const struct record_name n = name_of(i);

	memset(out, 0, PLAIN_NAME_SIZE);
	out[0] = VAULT_EUKEY;
	memcpy(out + 1, n.owner, strlen(n.owner));
	memcpy(out + 17, n.item, strlen(n.item));
}

static sqlite3 *open_plain(void)
{
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(plain_path, &db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK ||
	    sqlite3_exec(db, plain_settings, NULL, NULL, NULL) != SQLITE_OK)
		die("%s: %s", plain_path, sqlite3_errmsg(db));
	return db;
}

static void fill_plain(void)
{
	static const char table[] = "CREATE TABLE record (name BLOB PRIMARY KEY, sequence INTEGER "
				    "NOT NULL, generation INTEGER NOT NULL, content BLOB NOT NULL)"
				    " STRICT, WITHOUT ROWID; BEGIN";
	sqlite3 *db = open_plain();
	sqlite3_stmt *s = NULL;

	if (sqlite3_exec(db, table, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(db, "INSERT INTO record VALUES (?1, ?2, 1, ?3)", -1, &s, NULL) !=
		    SQLITE_OK)
		die("%s: %s", plain_path, sqlite3_errmsg(db));
	for (uint32_t i = 0; i < sizes->records; i++) {
		uint8_t name[PLAIN_NAME_SIZE];
		uint8_t content[CONTENT_SIZE];

		plain_name(i, name);
		fill_content(i, content);
		(void)sqlite3_bind_blob(s, 1, name, sizeof(name), SQLITE_STATIC);
		(void)sqlite3_bind_int64(s, 2, i + 1);
		(void)sqlite3_bind_blob(s, 3, content, sizeof(content), SQLITE_STATIC);
		if (sqlite3_step(s) != SQLITE_DONE)
			die("%s: %s", plain_path, sqlite3_errmsg(db));
		(void)sqlite3_reset(s);
	}
	(void)sqlite3_finalize(s);
	if (sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_close(db) != SQLITE_OK)
		die("%s: %s", plain_path, sqlite3_errmsg(db));
}

/* Microseconds for one commit of one record. */
static double commit_round(struct vault *v)
{
	double begin = now_us();

	for (unsigned i = 0; i < sizes->commits; i++) {
		submit_one(v, next_random(sizes->records), must_succeed, NULL);
		(void)vault_flush(v);
	}
	return (now_us() - begin) / sizes->commits;
}

/* The same bytes, names and content, appended to a file and made durable. */
static double append_round(int fd)
{
	double begin = now_us();

	for (unsigned i = 0; i < sizes->commits; i++) {
		const uint32_t which = next_random(sizes->records);
		const struct record_name n = name_of(which);
		uint8_t line[sizeof(n.owner) + sizeof(n.item) + CONTENT_SIZE];
		size_t size = strlen(n.owner);

		memcpy(line, n.owner, size);
		memcpy(line + size, n.item, strlen(n.item));
		size += strlen(n.item);
		fill_content(which, line + size);
		size += CONTENT_SIZE;
		if (write(fd, line, size) != (ssize_t)size || fdatasync(fd) != 0)
			die("%s: %s", append_path, strerror(errno));
	}
	return (now_us() - begin) / sizes->commits;
}

/* A writer owns records, as a PNE does, and writes one after the other. */
struct writer {
	struct writers *all;
	uint32_t owner;
	uint32_t item;
};

struct writers {
	struct vault *v;
	unsigned left;
	unsigned told;
	struct writer writers[WRITERS];
};

static void write_next(void *arg, int result);

static void submit_next(struct writer *w)
{
	const uint32_t items = sizes->records / OWNERS;

	w->all->left--;
	w->item = (w->item + 1) % items;
	submit_one(w->all->v, w->item * OWNERS + w->owner, write_next, w);
}

static void write_next(void *arg, int result)
{
	struct writer *w = arg;

	must_succeed(&w->all->told, result);
	if (w->all->left > 0)
		submit_next(w);
}

/* Microseconds for one record when so many writers write at once, each the next when it was told.
 */
static double writers_round(struct vault *v, unsigned count, unsigned total)
{
	struct writers w = {.v = v, .left = total};
	double begin = now_us();

	for (unsigned i = 0; i < count; i++) {
		w.writers[i] = (struct writer){.all = &w, .owner = next_random(OWNERS)};
		submit_next(&w.writers[i]);
	}
	while (w.told < total)
		(void)vault_flush(v);
	return (now_us() - begin) / total;
}

static double single_round(struct vault *v)
{
	return writers_round(v, 1, sizes->commits);
}

static double group_round(struct vault *v)
{
	return writers_round(v, WRITERS, sizes->commits * WRITERS / 4);
}

static double vault_read_round(struct vault *v)
{
	double begin = now_us();

	for (unsigned i = 0; i < sizes->reads; i++) {
		const uint32_t which = next_random(sizes->records);
		const struct record_name n = name_of(which);
		const struct vault_id id = id_of(&n);
		struct vault_content c = {NULL, 0};

		if (vault_get(v, &id, &c) != 0 || c.size != CONTENT_SIZE ||
		    c.data[0] != (which & 0xff))
			die("record %u is not what was written", which);
		vault_content_free(&c);
	}
	return (now_us() - begin) / sizes->reads;
}

static double plain_read_round(sqlite3 *db, sqlite3_stmt *s)
{
	double begin = now_us();

	for (unsigned i = 0; i < sizes->reads; i++) {
		const uint32_t which = next_random(sizes->records);
		uint8_t name[PLAIN_NAME_SIZE];
		uint8_t *copy;
		int size;

		plain_name(which, name);
		if (sqlite3_bind_blob(s, 1, name, sizeof(name), SQLITE_STATIC) != SQLITE_OK ||
		    sqlite3_step(s) != SQLITE_ROW)
			die("%s: %s", plain_path, sqlite3_errmsg(db));
		size = sqlite3_column_bytes(s, 2);
		copy = size == CONTENT_SIZE ? malloc(CONTENT_SIZE) : NULL;
		if (!copy)
			die("no memory");
		memcpy(copy, sqlite3_column_blob(s, 2), CONTENT_SIZE);
		if (copy[0] != (which & 0xff))
			die("record %u is not what was written", which);
		free(copy);
		(void)sqlite3_reset(s);
		(void)sqlite3_clear_bindings(s);
	}
	return (now_us() - begin) / sizes->reads;
}

static bool verdict(const char *line, bool met)
{
	printf("%s: %s\n", line, met ? "met" : "NOT MET");
	(void)fflush(stdout);
	return met;
}

/* One that is measured against a flush which costs flush_us. */
static bool verdict_of_flush(const char *line, bool met, double flush_us)
{
	if (met || flush_us >= FLUSH_MIN_US)
		return verdict(line, met);
	printf("%s: not judged, a flush takes less than %.0f us here\n", line, FLUSH_MIN_US);
	(void)fflush(stdout);
	not_judged = true;
	return true;
}

static off_t log_size(void)
{
	char path[310];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s-wal", vault_path);
	return stat(path, &st) == 0 ? st.st_size : 0;
}

static bool bench_writes(void)
{
	struct vault *v = open_vault();
	double vault_us[ROUNDS_MAX], append_us[ROUNDS_MAX];
	double single_us[ROUNDS_MAX], group_us[ROUNDS_MAX];
	double commit_ratio[ROUNDS_MAX], group_ratio[ROUNDS_MAX], append_ratio[ROUNDS_MAX];
	double ratio, to_append, flush_us;
	char line[256];
	bool met;
	int fd = open(append_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0)
		die("%s: %s", append_path, strerror(errno));
	/* The log reaches its length: from then on a round is like the next. */
	while (sizes != &quick && log_size() < LOG_SIZE)
		(void)group_round(v);
	for (unsigned i = 0; i < sizes->rounds; i++) {
		append_us[i] = append_round(fd);
		vault_us[i] = commit_round(v);
		single_us[i] = single_round(v);
		group_us[i] = group_round(v);
		commit_ratio[i] = append_us[i] / vault_us[i];
		group_ratio[i] = single_us[i] / group_us[i];
		append_ratio[i] = append_us[i] / group_us[i];
	}
	close(fd);
	vault_close(v);
	flush_us = median(append_us, sizes->rounds);
	ratio = median(commit_ratio, sizes->rounds);
	(void)snprintf(line, sizeof(line),
		       "one record a commit: %.1f us, append and fdatasync %.1f us, ratio of rates "
		       "%.2f, target >= %.2f",
		       median(vault_us, sizes->rounds), flush_us, ratio, TARGET_COMMIT);
	met = verdict_of_flush(line, ratio >= TARGET_COMMIT, flush_us);
	ratio = median(group_ratio, sizes->rounds);
	to_append = median(append_ratio, sizes->rounds);
	(void)snprintf(line, sizeof(line),
		       "%d writers in groups: %.1f us a record, %.1f times the vault's single "
		       "writer, %.1f times append and fdatasync, target for both >= %.1f",
		       WRITERS, median(group_us, sizes->rounds), ratio, to_append, TARGET_GROUP);
	return verdict_of_flush(line, ratio >= TARGET_GROUP && to_append >= TARGET_GROUP,
				flush_us) &&
	       met;
}

static bool bench_reads(void)
{
	struct vault *v = open_vault();
	sqlite3 *db = open_plain();
	sqlite3_stmt *s = NULL;
	double vault_us[ROUNDS_MAX], plain_us[ROUNDS_MAX], ratios[ROUNDS_MAX];
	double ratio;
	char line[256];

	if (sqlite3_prepare_v2(db,
			       "SELECT sequence, generation, content FROM record WHERE name = ?1",
			       -1, &s, NULL) != SQLITE_OK)
		die("%s: %s", plain_path, sqlite3_errmsg(db));
	/* Both caches warm. */
	(void)vault_read_round(v);
	(void)plain_read_round(db, s);
	for (unsigned i = 0; i < sizes->rounds; i++) {
		plain_us[i] = plain_read_round(db, s);
		vault_us[i] = vault_read_round(v);
		ratios[i] = plain_us[i] / vault_us[i];
	}
	(void)sqlite3_finalize(s);
	(void)sqlite3_close(db);
	vault_close(v);
	ratio = median(ratios, sizes->rounds);
	(void)snprintf(line, sizeof(line),
		       "sealed reads of %u records: %.2f us, plain SQLite %.2f us, ratio of rates "
		       "%.2f, target >= %.2f",
		       sizes->records, median(vault_us, sizes->rounds),
		       median(plain_us, sizes->rounds), ratio, TARGET_READ);
	return verdict(line, ratio >= TARGET_READ);
}

/* What vault_open() spends on the key: reading the file, opening a wrap. */
static double derivation_round(const struct vault_wrap *w, const uint8_t id[VAULT_ID_SIZE])
{
	const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_path};
	SCOPED_SECRET *secret = NULL;
	SCOPED_SECRET *master = NULL;
	char why[256];
	double begin = now_us();

	if (vault_wrap_secret(&opener, w, &secret, why, sizeof(why)) != 0 ||
	    vault_wrap_open(w, id, secret, &master) != 0)
		die("the wrap does not open");
	return now_us() - begin;
}

static void make_wrap(struct vault_wrap *w, const uint8_t id[VAULT_ID_SIZE])
{
	SCOPED_SECRET *secret = NULL;
	SCOPED_SECRET *sender = NULL;
	SCOPED_SECRET *master = secret_random(KEY_SIZE);
	char why[256];

	if (!master || vault_key_load(key_path, &secret, why, sizeof(why)) != 0 ||
	    vault_wrap_begin(w, 1, VAULT_SOURCE_KEY_FILE, "bench") != 0 ||
	    vault_wrap_keys(secret, id, 1, w->public_key, NULL, &sender) != 0 ||
	    vault_wrap_seal(w, id, sender, master) != 0)
		die("a wrap cannot be made");
}

static bool bench_open(void)
{
	static const uint8_t id[VAULT_ID_SIZE] = {1};
	double open_us[ROUNDS_MAX], derivation_us[ROUNDS_MAX], rest_us[ROUNDS_MAX];
	double open_median, derivation_median, rest;
	struct vault_wrap w;
	char line[256];

	make_wrap(&w, id);
	for (unsigned i = 0; i < sizes->opens; i++) {
		double begin = now_us();
		struct vault *v = open_vault();

		open_us[i] = now_us() - begin;
		vault_close(v);
		derivation_us[i] = derivation_round(&w, id);
		rest_us[i] = open_us[i] - derivation_us[i];
	}
	open_median = median(open_us, sizes->opens);
	derivation_median = median(derivation_us, sizes->opens);
	rest = median(rest_us, sizes->opens) / 1000;
	/* median() has sorted them: the best opening against the best derivation. */
	if (sizes->best_open)
		rest = (open_us[0] - derivation_us[0]) / 1000;
	(void)snprintf(line, sizeof(line),
		       "opening with %u records: %.2f ms, of it key derivation %.2f ms, the rest "
		       "%.2f ms%s, target <= %.1f ms",
		       sizes->records, open_median / 1000, derivation_median / 1000, rest,
		       sizes->best_open ? " at best" : "", TARGET_OPEN_MS);
	return verdict(line, rest <= TARGET_OPEN_MS);
}

/* A line of /proc/self/status in KiB. */
static long status_kib(const char *name)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[128];
	long value = -1;

	if (!f)
		die("/proc/self/status: %s", strerror(errno));
	while (value < 0 && fgets(line, sizeof(line), f)) {
		if (strncmp(line, name, strlen(name)) == 0)
			value = strtol(line + strlen(name), NULL, 10);
	}
	(void)fclose(f);
	return value;
}

static int count_record(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	uint32_t *count = arg;

	(void)owner;
	(void)item;
	++*count;
	return content.size == CONTENT_SIZE ? 0 : 1;
}

/* In a process of its own, so that nothing that was measured before is counted. */
static void memory_child(int out)
{
	double result[2];
	uint32_t count = 0;
	struct vault *v;
	long before = status_kib("VmRSS:");

	v = open_vault();
	(void)vault_read_round(v);
	(void)commit_round(v);
	(void)group_round(v);
	if (vault_each(v, VAULT_EUKEY, BYTES_NONE, count_record, &count, NULL) != 0 ||
	    count != sizes->records)
		die("a walk saw %u records", count);
	result[0] = (double)(status_kib("VmHWM:") - before) / 1024;
	result[1] = (double)sqlite3_memory_highwater(0) / 1024 / 1024;
	vault_close(v);
	_exit(write(out, result, sizeof(result)) == sizeof(result) ? 0 : 2);
}

static bool bench_memory(void)
{
	double result[2];
	char line[256];
	int ends[2];
	int status;
	pid_t child;

	if (pipe(ends) != 0)
		die("pipe: %s", strerror(errno));
	(void)fflush(stdout);
	child = fork();
	if (child == 0)
		memory_child(ends[1]);
	close(ends[1]);
	if (child < 0 || read(ends[0], result, sizeof(result)) != sizeof(result) ||
	    waitpid(child, &status, 0) != child || status != 0)
		die("the memory could not be measured");
	close(ends[0]);
	(void)snprintf(line, sizeof(line),
		       "memory with %u records, read, written and walked: %.1f MiB at most, of it "
		       "SQLite's %.1f MiB, target < %.0f",
		       sizes->records, result[0], result[1], TARGET_MEMORY_M);
	return verdict(line, result[0] < TARGET_MEMORY_M);
}

static void remove_files(void)
{
	static const char *const names[] = {"vault", "vault-wal", "vault.ledger", "key",
					    "plain", "plain-wal", "append"};
	char path[400];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		(void)unlink(path);
	}
	(void)rmdir(folder);
}

static bool attempt(bool bench(void))
{
	bool met = bench();

	for (unsigned i = 1; !met && sizes == &check && i < ATTEMPTS; i++)
		met = bench();
	return met;
}

int main(int argc, char **argv)
{
	const char *where = ".";
	bool met = true;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--quick") == 0)
			sizes = &quick;
		else if (strcmp(argv[i], "--check") == 0)
			sizes = &check;
		else
			where = argv[i];
	}
	if (snprintf(folder, sizeof(folder), "%s/bench-vault-XXXXXX", where) >=
		    (int)sizeof(folder) ||
	    !mkdtemp(folder))
		die("%s: no folder can be made there", where);
	(void)atexit(remove_files);
	(void)snprintf(vault_path, sizeof(vault_path), "%s/vault", folder);
	(void)snprintf(key_path, sizeof(key_path), "%s/key", folder);
	(void)snprintf(plain_path, sizeof(plain_path), "%s/plain", folder);
	(void)snprintf(append_path, sizeof(append_path), "%s/append", folder);
	fill_vault();
	fill_plain();
	met = attempt(bench_memory) && met;
	met = attempt(bench_open) && met;
	met = attempt(bench_reads) && met;
	met = attempt(bench_writes) && met;
	if (sizes == &quick)
		return 0;
	if (!met)
		return 1;
	return not_judged ? EXIT_NOT_JUDGED : 0;
}
