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

#include "storage/ledger.h"
#include "storage/vault-backup.h"

static char directory[64];
static char path[128];
static char key_file[128];
static char backup[128];
static char why[512];

static struct vault_opener opener;
static struct vault_options options;

static void setup(void)
{
	strcpy(directory, "/tmp/test-vault-backup-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/vault", directory);
	snprintf(key_file, sizeof(key_file), "%s/key", directory);
	snprintf(backup, sizeof(backup), "%s/backup", directory);
	opener = (struct vault_opener){.source = VAULT_SOURCE_KEY_FILE, .path = key_file};
	options = (struct vault_options){
		.path = path, .openers = &opener, .opener_count = 1, .create = true};
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

static const char *in_directory(const char *name)
{
	static char text[256];

	snprintf(text, sizeof(text), "%s/%s", directory, name);
	return text;
}

static bool exists(const char *name)
{
	struct stat st;

	return lstat(in_directory(name), &st) == 0;
}

static struct vault *open_vault(void)
{
	struct vault *v = NULL;
	int r = vault_open(&options, &v, why, sizeof(why));

	ck_assert_msg(r == 0, "%d %s", r, why);
	return v;
}

static void put(struct vault *v, size_t first, size_t count)
{
	struct vault_batch *b = vault_batch_new();
	static uint8_t content[900];

	ck_assert_ptr_nonnull(b);
	for (size_t i = first; i < first + count; i++) {
		char owner[32];
		struct vault_id id = {.kind = VAULT_EUKEY};

		snprintf(owner, sizeof(owner), "headset-%zu", i);
		id.owner = bytes_text(owner);
		content[0] = (uint8_t)i;
		vault_batch_put(b, &id, bytes_of(content, sizeof(content)));
	}
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
}

static int has(struct vault *v, size_t i)
{
	struct vault_content c = {NULL, 0};
	struct vault_id id = {.kind = VAULT_EUKEY};
	char owner[32];
	int r;

	snprintf(owner, sizeof(owner), "headset-%zu", i);
	id.owner = bytes_text(owner);
	r = vault_get(v, &id, &c);
	if (r == 0)
		ck_assert_uint_eq(c.data[0], (uint8_t)i);
	vault_content_free(&c);
	return r;
}

/* Returns in how many steps it was made. */
static int make_backup(struct vault *v, int pages)
{
	struct vault_backup *b = NULL;
	int steps = 0;
	int r;

	ck_assert_msg(vault_backup_begin(v, backup, &b, why, sizeof(why)) == 0, "%s", why);
	do {
		r = vault_backup_step(b, pages, why, sizeof(why));
		steps++;
	} while (r == VAULT_BACKUP_MORE);
	ck_assert_msg(r == 0, "%d %s", r, why);
	vault_backup_end(b);
	return steps;
}

START_TEST(while_it_serves)
{
	struct vault_backup_progress progress;
	struct vault_backup *b = NULL;
	struct vault *v = open_vault();
	size_t written = 300;
	struct stat st;
	int r;

	put(v, 0, written);
	ck_assert_int_eq(vault_backup_begin(v, backup, &b, why, sizeof(why)), 0);
	for (int steps = 0;; steps++) {
		ck_assert(exists("backup.new"));
		ck_assert(!exists("backup"));
		r = vault_backup_step(b, 5, why, sizeof(why));
		vault_backup_progress(b, &progress);
		ck_assert_int_le(progress.done, progress.total);
		if (r != VAULT_BACKUP_MORE)
			break;
		ck_assert_int_eq(has(v, written - 1), 0);
		if (steps % 3 == 0)
			put(v, written++, 1);
	}
	ck_assert_msg(r == 0, "%d %s", r, why);
	ck_assert_int_eq(progress.done, progress.total);
	ck_assert_int_eq(vault_backup_step(b, 5, why, sizeof(why)), -EINVAL);
	vault_backup_end(b);
	ck_assert_uint_gt(written, 305);
	put(v, 1000, 1);
	vault_close(v);
	ck_assert(!exists("backup.new"));
	ck_assert(!exists("backup.new-wal"));
	ck_assert_int_eq(stat(backup, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);

	options.path = backup;
	options.create = false;
	v = open_vault();
	for (size_t i = 0; i < written; i++)
		ck_assert_int_eq(has(v, i), 0);
	ck_assert_int_eq(has(v, 1000), VAULT_ABSENT);
	vault_close(v);
}
END_TEST

/* Records change generation under the backup; it has one or two of them, and opens. */
START_TEST(while_rekeying)
{
	struct vault *v = open_vault();
	struct vault_drill d;

	put(v, 0, 200);
	for (int flushes = 0; flushes < 9; flushes++) {
		struct vault_backup *b = NULL;
		int r;

		if (!vault_rekey_pending(v))
			ck_assert_int_eq(vault_rekey_begin(v, why, sizeof(why)), 0);
		ck_assert_int_eq(vault_backup_begin(v, backup, &b, why, sizeof(why)), 0);
		for (int n = 0; n < flushes; n++) {
			ck_assert_int_eq(vault_backup_step(b, 3, why, sizeof(why)),
					 VAULT_BACKUP_MORE);
			(void)vault_flush(v);
			ck_assert_int_eq(has(v, (size_t)n), 0);
		}
		do
			r = vault_backup_step(b, 50, why, sizeof(why));
		while (r == VAULT_BACKUP_MORE);
		ck_assert_msg(r == 0, "%d %s", r, why);
		vault_backup_end(b);
		ck_assert_msg(vault_restore_check(&options, backup, &d, why, sizeof(why)) == 0,
			      "%s", why);
		ck_assert_uint_eq(d.records, 200 + 1);
	}
	while (vault_rekey_pending(v))
		(void)vault_flush(v);
	vault_close(v);
	ck_assert_int_eq(vault_restore(&options, backup, &d, why, sizeof(why)), 0);
	v = open_vault();
	while (vault_rekey_pending(v))
		(void)vault_flush(v);
	for (size_t i = 0; i < 200; i++)
		ck_assert_int_eq(has(v, i), 0);
	vault_close(v);
}
END_TEST

START_TEST(given_up_and_replaced)
{
	struct vault_backup *b = NULL;
	struct vault *v = open_vault();
	FILE *f;

	f = fopen(in_directory("backup.new"), "w");
	ck_assert_ptr_nonnull(f);
	fputs("left by a crash", f);
	fclose(f);
	put(v, 0, 50);
	ck_assert_int_gt(make_backup(v, 3), 5);
	put(v, 50, 50);
	ck_assert_int_eq(vault_backup_begin(v, backup, &b, why, sizeof(why)), 0);
	ck_assert_int_eq(vault_backup_step(b, 1, why, sizeof(why)), VAULT_BACKUP_MORE);
	vault_backup_end(b);
	ck_assert(!exists("backup.new"));
	ck_assert(exists("backup"));
	make_backup(v, 1000);
	vault_close(v);
	options.path = backup;
	v = open_vault();
	ck_assert_int_eq(has(v, 99), 0);
	vault_close(v);
}
END_TEST

static void refused(struct vault *v, const char *target, int result, const char *sentence)
{
	struct vault_backup *b = NULL;

	ck_assert_int_eq(vault_backup_begin(v, target, &b, why, sizeof(why)), result);
	ck_assert_msg(strstr(why, sentence), "%s", why);
	ck_assert_ptr_null(b);
}

START_TEST(targets_refused)
{
	struct vault *v = open_vault();
	FILE *f;

	refused(v, path, -EINVAL, "the vault itself");
	refused(v, directory, -EEXIST, "no file");
	put(v, 0, 1);
	refused(v, in_directory("vault-wal"), -EINVAL, "the vault itself");
	refused(v, key_file, -EEXIST, "not a vault's");
	refused(v, "/nowhere/backup", -ENOENT, "No such file");
	f = fopen(in_directory("backup-wal"), "w");
	ck_assert_ptr_nonnull(f);
	fclose(f);
	refused(v, backup, -EEXIST, "is open, or was");
	vault_close(v);
}
END_TEST

/* Turns a bit of the file at about that part of it. */
static void spoil(const char *name, unsigned part, unsigned of)
{
	int fd = open(in_directory(name), O_RDWR | O_CLOEXEC);
	struct stat st;
	uint8_t byte;
	off_t at;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	at = st.st_size / of * part + 3000;
	ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
	byte ^= 4;
	ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void nothing_left(void)
{
	static const char *const names[] = {"vault.restore",   "vault.restore-wal",
					    "vault.drill",     "vault.drill-wal",
					    "vault.drill-shm", "vault.drill.ledger"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ck_assert_msg(!exists(names[i]), "%s is left", names[i]);
}

START_TEST(drills)
{
	struct vault *v = open_vault();
	struct vault_drill d;
	int damaged = 0;

	put(v, 0, 100);
	make_backup(v, 1000);
	/* While it is served. */
	ck_assert_msg(vault_restore_check(&options, backup, &d, why, sizeof(why)) == 0, "%s", why);
	ck_assert_uint_eq(d.records, 100 + 1); /* and the vault's own */
	ck_assert_uint_eq(d.damaged, 0);
	ck_assert(d.present);
	put(v, 100, 1);
	ck_assert_int_eq(has(v, 100), 0);
	nothing_left();
	vault_close(v);

	for (unsigned part = 3; part < 19; part++) {
		int r;

		spoil("backup", part, 20);
		r = vault_restore_check(&options, backup, &d, why, sizeof(why));
		if (r != 0) {
			ck_assert_int_eq(r, VAULT_DAMAGED);
			ck_assert_uint_gt(strlen(why), 10);
			damaged++;
		}
		spoil("backup", part, 20);
		nothing_left();
	}
	ck_assert_int_gt(damaged, 5);
	ck_assert_int_eq(vault_restore_check(&options, backup, &d, why, sizeof(why)), 0);
	ck_assert_int_eq(vault_restore_check(&options, path, &d, why, sizeof(why)), -EINVAL);
	ck_assert_int_eq(vault_restore_check(&options, key_file, &d, why, sizeof(why)),
			 VAULT_DAMAGED);
	ck_assert_int_eq(vault_restore_check(&options, "/nowhere/x", &d, why, sizeof(why)),
			 -ENOENT);
	unlink(key_file);
	ck_assert_int_eq(vault_restore_check(&options, backup, &d, why, sizeof(why)),
			 VAULT_KEY_FILE);
	nothing_left();
}
END_TEST

START_TEST(restores)
{
	struct vault *v = open_vault();
	struct vault_drill d;

	put(v, 0, 10);
	make_backup(v, 1000);
	put(v, 10, 10);
	vault_close(v);
	ck_assert_msg(vault_restore(&options, backup, &d, why, sizeof(why)) == 0, "%s", why);
	ck_assert_uint_eq(d.records, 10 + 1);
	nothing_left();
	ck_assert(exists("backup"));
	options.create = false;
	v = open_vault();
	ck_assert_int_eq(has(v, 9), 0);
	ck_assert_int_eq(has(v, 10), VAULT_ABSENT);
	vault_close(v);
	options.path = in_directory("vault.replaced");
	v = open_vault();
	ck_assert_int_eq(has(v, 19), 0);
	vault_close(v);
	options.path = path;

	/* Again, over a vault that is none any more, and then where there is none. */
	ck_assert_int_eq(truncate(path, 5000), 0);
	ck_assert_int_eq(vault_restore(&options, backup, &d, why, sizeof(why)), 0);
	ck_assert(exists("vault.replaced.2"));
	unlink(path);
	ck_assert_int_eq(vault_restore(&options, backup, &d, why, sizeof(why)), 0);
	ck_assert(!d.present);
	ck_assert(!exists("vault.replaced.3"));
	v = open_vault();
	ck_assert_int_eq(has(v, 9), 0);
	vault_close(v);

	/* A backup that is not good changes nothing. */
	ck_assert_int_eq(truncate(backup, 8192), 0);
	ck_assert_int_eq(vault_restore(&options, backup, &d, why, sizeof(why)), VAULT_DAMAGED);
	ck_assert(!exists("vault.replaced.3"));
	v = open_vault();
	ck_assert_int_eq(has(v, 9), 0);
	vault_close(v);
}
END_TEST

static void add_fact(struct vault *v, uint32_t key_index)
{
	struct vault_batch *b = vault_batch_new();

	ck_assert_ptr_nonnull(b);
	vault_batch_ledger(b, &(struct ledger_fact){.event = LEDGER_ISSUED,
						    .figure = 7,
						    .entity = bytes_text("headset-1"),
						    .user = bytes_text("alice"),
						    .key_index = key_index,
						    .time = 1700000000});
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
}

static void expect_rollback(const char *who, uint32_t own, uint32_t known)
{
	const struct vault_rollback *rollback;
	struct vault *v = open_vault();

	rollback = vault_rollback(v);
	ck_assert_ptr_nonnull(rollback);
	ck_assert_str_eq(rollback->who, who);
	ck_assert_uint_eq(rollback->own, own);
	ck_assert_uint_eq(rollback->known, known);
	vault_close(v);
}

/* The next to open a restored vault finds that it is older, by the ledger's file or an anchor. */
START_TEST(restored_is_found_to_be_older)
{
	struct ledger_state at_backup, latest, after;
	struct vault *v = open_vault();
	struct vault_drill d;
	const char *with;
	char anchor[160];

	add_fact(v, 1);
	vault_ledger_state(v, &at_backup);
	make_backup(v, 1000);
	ck_assert_int_eq(vault_restore_check(&options, backup, &d, why, sizeof(why)), 0);
	ck_assert_uint_eq(d.backup_entries, at_backup.sequence);
	ck_assert_uint_eq(d.present_entries, at_backup.sequence);
	ck_assert(!d.other_vault);
	for (uint32_t i = 2; i < 7; i++)
		add_fact(v, i);
	vault_ledger_state(v, &latest);
	ck_assert_uint_eq(latest.sequence, at_backup.sequence + 5);
	ck_assert_ptr_null(vault_rollback(v));
	vault_close(v);
	ck_assert_int_eq(vault_restore_check(&options, backup, &d, why, sizeof(why)), 0);
	ck_assert_uint_eq(d.backup_entries, at_backup.sequence);
	ck_assert_uint_eq(d.present_entries, latest.sequence);
	/* A drill changes nothing. */
	v = open_vault();
	ck_assert_ptr_null(vault_rollback(v));
	vault_close(v);

	ck_assert_int_eq(vault_restore(&options, backup, &d, why, sizeof(why)), 0);
	ck_assert_uint_eq(d.present_entries - d.backup_entries, 5);
	expect_rollback("ledger file", at_backup.sequence, latest.sequence);

	/* With the ledger gone too, an anchor elsewhere knows. */
	snprintf(anchor, sizeof(anchor), "file:%s/anchor", directory);
	ck_assert_int_eq(unlink(in_directory("vault.ledger")), 0);
	options.path = in_directory("vault.replaced");
	options.anchor = anchor;
	v = open_vault();
	add_fact(v, 9);
	vault_ledger_state(v, &latest);
	vault_close(v);
	options.path = path;
	expect_rollback("anchor", at_backup.sequence, latest.sequence);
	/* The ledger goes on without a hole behind what the anchor knows. */
	v = open_vault();
	add_fact(v, 11);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), 0);
	vault_ledger_state(v, &after);
	ck_assert_uint_eq(after.sequence, latest.sequence + 2);
	vault_close(v);
	v = open_vault();
	ck_assert_ptr_null(vault_rollback(v));
	vault_close(v);
}
END_TEST

/* On a new disk nothing is left to compare with: it is the restore that tells. */
START_TEST(restored_onto_nothing)
{
	struct ledger_state at_backup, after;
	struct vault *v = open_vault();
	struct vault_drill d;
	const char *with;
	struct stat st;

	add_fact(v, 1);
	add_fact(v, 2);
	vault_ledger_state(v, &at_backup);
	make_backup(v, 1000);
	vault_close(v);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(unlink(in_directory("vault.ledger")), 0);
	ck_assert_int_eq(vault_restore(&options, backup, &d, why, sizeof(why)), 0);
	ck_assert_uint_eq(d.present_entries, 0);
	nothing_left();
	/* Until an entry says so, at every opening. */
	expect_rollback("restore", at_backup.sequence, at_backup.sequence);
	expect_rollback("restore", at_backup.sequence, at_backup.sequence);
	v = open_vault();
	add_fact(v, 3);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), 0);
	vault_ledger_state(v, &after);
	ck_assert_uint_eq(after.sequence, at_backup.sequence + 2);
	vault_close(v);
	ck_assert_int_eq(stat(in_directory("vault.ledger"), &st), 0);
	ck_assert_int_eq((st.st_size - LEDGER_HEADER_SIZE) / LEDGER_ENTRY_SIZE, after.sequence);
	v = open_vault();
	ck_assert_ptr_null(vault_rollback(v));
	vault_close(v);
}
END_TEST

/* Tools that know of no anchor do not make the vault forget its own. */
START_TEST(anchor_is_not_forgotten)
{
	struct vault *v = NULL;
	char anchor[160];

	snprintf(anchor, sizeof(anchor), "file:%s/anchor", directory);
	options.anchor = anchor;
	v = open_vault();
	add_fact(v, 1);
	vault_close(v);
	options.anchor = NULL;
	v = open_vault();
	vault_close(v);
	ck_assert_int_eq(unlink(in_directory("anchor")), 0);
	options.anchor = anchor;
	ck_assert_int_eq(vault_open(&options, &v, why, sizeof(why)), VAULT_ANCHOR);
	options.anchor = "";
	v = open_vault();
	vault_close(v);
	options.anchor = anchor;
	v = open_vault();
	vault_close(v);
}
END_TEST

START_TEST(of_another_vault)
{
	struct vault *v = open_vault();
	struct vault_drill d;
	char other[128];

	add_fact(v, 1);
	make_backup(v, 1000);
	vault_close(v);
	snprintf(other, sizeof(other), "%s/other-key", directory);
	snprintf(path, sizeof(path), "%s/other", directory);
	opener.path = other;
	v = open_vault();
	add_fact(v, 1);
	vault_close(v);
	opener.path = key_file;
	ck_assert_int_eq(vault_restore_check(&options, backup, &d, why, sizeof(why)), 0);
	ck_assert(d.other_vault);
	ck_assert_int_eq(vault_restore(&options, backup, &d, why, sizeof(why)), VAULT_REFUSED);
	ck_assert_ptr_nonnull(strstr(why, "of another vault"));
	opener.path = other;
	v = open_vault();
	vault_close(v);
	ck_assert(!exists("other.replaced"));
	ck_assert(!exists("other.restore"));
}
END_TEST

/* What a vault that crashed left in its log belongs to it, not to the restored one. */
START_TEST(restores_over_a_log)
{
	struct vault *v = open_vault();
	struct vault_drill d;
	pid_t child;
	int status;

	put(v, 0, 10);
	make_backup(v, 1000);
	vault_close(v);
	child = fork();
	if (child == 0) {
		v = open_vault();
		put(v, 10, 10);
		(void)raise(SIGKILL);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	ck_assert(exists("vault-wal"));
	ck_assert_int_eq(vault_restore(&options, backup, &d, why, sizeof(why)), 0);
	ck_assert(!exists("vault-wal"));
	v = open_vault();
	ck_assert_int_eq(has(v, 9), 0);
	ck_assert_int_eq(has(v, 10), VAULT_ABSENT);
	vault_close(v);
	options.path = in_directory("vault.replaced");
	v = open_vault();
	ck_assert_int_eq(has(v, 19), 0);
	vault_close(v);
}
END_TEST

/* The disk lost the vault and kept its log. */
START_TEST(a_log_without_its_vault)
{
	struct vault *v = open_vault();
	struct vault_drill d;
	char log[160];
	pid_t child;
	int status;

	put(v, 0, 10);
	make_backup(v, 1000);
	vault_close(v);
	child = fork();
	if (child == 0) {
		v = open_vault();
		put(v, 10, 200);
		(void)raise(SIGKILL);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(exists("vault-wal"));
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_lt(vault_open(&options, &v, why, sizeof(why)), 0);
	ck_assert_int_eq(vault_restore(&options, backup, &d, why, sizeof(why)), 0);
	ck_assert(!exists("vault-wal"));
	ck_assert(exists("vault.replaced-wal"));
	v = open_vault();
	ck_assert_int_eq(has(v, 9), 0);
	ck_assert_int_eq(has(v, 10), VAULT_ABSENT);
	vault_close(v);
	/* Nor is it a new vault's, without the key file too. */
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(unlink(key_file), 0);
	snprintf(log, sizeof(log), "%s-wal", path);
	ck_assert_int_eq(rename(in_directory("vault.replaced-wal"), log), 0);
	ck_assert_int_eq(vault_open(&options, &v, why, sizeof(why)), -EEXIST);
	ck_assert_ptr_nonnull(strstr(why, "vault-wal"));
	ck_assert(!exists("vault"));
	ck_assert(!exists("vault.new"));
	ck_assert(!exists("key"));
	ck_assert_int_eq(unlink(in_directory("vault-wal")), 0);
	v = open_vault();
	ck_assert_int_eq(has(v, 9), VAULT_ABSENT);
	vault_close(v);
}
END_TEST

/* A vault that was copied with its log, at one moment, has what was acknowledged in that log. */
START_TEST(copied_with_its_log)
{
	struct vault_drill d;
	struct vault *v = open_vault();
	char command[600];

	put(v, 0, 1);
	vault_close(v);
	v = open_vault();
	put(v, 1, 50);
	snprintf(command, sizeof(command), "cp %s %s && cp %s-wal %s-wal", path, backup, path,
		 backup);
	ck_assert_int_eq(system(command), 0);
	vault_close(v);
	ck_assert_msg(vault_restore_check(&options, backup, &d, why, sizeof(why)) == 0, "%s", why);
	ck_assert_uint_ge(d.records, 51);
	ck_assert_msg(vault_restore(&options, backup, &d, why, sizeof(why)) == 0, "%s", why);
	ck_assert(!exists("vault.restore") && !exists("vault.restore-wal"));
	v = open_vault();
	for (size_t i = 0; i < 51; i++)
		ck_assert_int_eq(has(v, i), 0);
	vault_close(v);
}
END_TEST

/* Root restores for the user of a daemon: from the vault it replaces, or from the folder. */
START_TEST(stays_whose_it_was)
{
	struct vault_drill d;
	struct vault *v;
	struct stat st;

	if (geteuid() != 0)
		return;
	v = open_vault();
	put(v, 0, 1);
	ck_assert_int_ge(make_backup(v, 64), 1);
	vault_close(v);
	ck_assert_int_eq(chown(_i == 0 ? path : directory, 65534, 65534), 0);
	if (_i == 1)
		ck_assert_int_eq(unlink(path), 0);
	ck_assert_msg(vault_restore(&options, backup, &d, why, sizeof(why)) == 0, "%s", why);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_uid, 65534);
	ck_assert_uint_eq(st.st_gid, 65534);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
}
END_TEST

START_TEST(in_use)
{
	struct vault *v = open_vault();
	struct vault_drill d;
	int ready[2], over[2];
	pid_t child;
	int status;
	char byte;

	put(v, 0, 10);
	make_backup(v, 1000);
	vault_close(v);
	ck_assert_int_eq(pipe(ready), 0);
	ck_assert_int_eq(pipe(over), 0);
	child = fork();
	if (child == 0) {
		v = open_vault();
		if (write(ready[1], "r", 1) != 1 || read(over[0], &byte, 1) != 1)
			_exit(1);
		put(v, 10, 1);
		vault_close(v);
		_exit(0);
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	ck_assert_int_eq(vault_restore(&options, backup, &d, why, sizeof(why)), VAULT_LOCKED);
	ck_assert_ptr_nonnull(strstr(why, "in use"));
	ck_assert_int_eq(vault_restore_check(&options, backup, &d, why, sizeof(why)), 0);
	ck_assert(!exists("vault.replaced"));
	nothing_left();
	ck_assert_int_eq(write(over[1], "o", 1), 1);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	for (int i = 0; i < 2; i++) {
		close(ready[i]);
		close(over[i]);
	}
	v = open_vault();
	ck_assert_int_eq(has(v, 10), 0);
	vault_close(v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vault-backup");
	TCase *t = tcase_create("backup");
	SRunner *runner;
	int not_passed;

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, while_it_serves);
	tcase_add_test(t, while_rekeying);
	tcase_add_test(t, given_up_and_replaced);
	tcase_add_test(t, targets_refused);
	tcase_add_test(t, drills);
	tcase_add_test(t, restores);
	tcase_add_test(t, restores_over_a_log);
	tcase_add_test(t, a_log_without_its_vault);
	tcase_add_test(t, restored_is_found_to_be_older);
	tcase_add_test(t, restored_onto_nothing);
	tcase_add_test(t, anchor_is_not_forgotten);
	tcase_add_test(t, of_another_vault);
	tcase_add_test(t, copied_with_its_log);
	tcase_add_loop_test(t, stays_whose_it_was, 0, 2);
	tcase_add_test(t, in_use);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	not_passed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return not_passed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
