/*
 * Making a vault. It is built under another name, then the key files are written, then the vault
 * gets its name: whenever the power goes, the next start either begins anew or finishes this one.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/credential.h"
#include "protocol/file.h"
#include "storage/vault-internal.h"
#include "storage/vault-key.h"

/* What each opener needs; slot i + 1 is that of opener i. */
struct making {
	const struct vault_options *options;
	const char *new_path;
	struct vault_wrap wraps[VAULT_SLOTS];
	struct secret *secrets[VAULT_SLOTS];
	bool missing[VAULT_SLOTS]; /* a key file that is to be made */
	char *why;
	size_t why_size;
};

static int fail(struct making *m, const char *path, int r)
{
	r = r < 0 ? r : -EIO;
	vault_explain(m->why, m->why_size, path, strerror(-r));
	return r;
}

static bool is_ordinary_key_file(const struct vault_opener *o)
{
	return o->source == VAULT_SOURCE_KEY_FILE && !credential_named(o->path);
}

/* Which key files are to be made. *present: whether an ordinary one is there already. */
static int look_for_keys(struct making *m, bool *present)
{
	*present = false;
	for (size_t i = 0; i < m->options->opener_count; i++) {
		const struct vault_opener *o = &m->options->openers[i];
		bool there = false;
		int r;

		if (!is_ordinary_key_file(o))
			continue;
		r = vault_key_exists(o->path, &there, m->why, m->why_size);
		if (r != 0)
			return r;
		m->missing[i] = !there;
		*present = *present || there;
	}
	return 0;
}

static const char *label_of(const struct vault_opener *o)
{
	if (o->source == VAULT_SOURCE_PASSPHRASE)
		return "passphrase";
	return is_ordinary_key_file(o) ? "key file" : "credential";
}

/* The secret of slot i + 1, a new one where the key file is missing. */
static int choose_secret(struct making *m, size_t i)
{
	const struct vault_opener *o = &m->options->openers[i];
	int r = vault_wrap_begin(&m->wraps[i], (uint8_t)(i + 1), o->source, label_of(o));

	if (r != 0)
		return fail(m, m->options->path, r);
	if (!m->missing[i])
		return vault_wrap_secret(o, &m->wraps[i], &m->secrets[i], m->why, m->why_size);
	m->secrets[i] = secret_random(KEY_SIZE);
	return m->secrets[i] ? 0 : fail(m, m->options->path, -ENOMEM);
}

static int write_slots(struct vault *v, struct making *m, bool only_missing)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->options->opener_count; i++) {
		if (m->missing[i] || !only_missing)
			r = vault_slot_write(v, &m->wraps[i], m->secrets[i]);
	}
	return r;
}

/* In one transaction, without a log: the file is whole when it is closed. */
static int fill(struct vault *v, void *arg)
{
	static const char header[] = "PRAGMA application_id = 1347307351; PRAGMA user_version = 2";
	int r = sqlite3_exec(v->db, header, NULL, NULL, NULL);

	_Static_assert(VAULT_APPLICATION_ID == 1347307351, "the number in the text");
	_Static_assert(VAULT_SCHEMA == 2, "the number in the text");
	if (r == SQLITE_OK)
		r = sqlite3_exec(v->db, vault_schema_sql, NULL, NULL, NULL);
	if (r == SQLITE_OK)
		r = vault_prepare(v);
	if (r != SQLITE_OK)
		return vault_errno(r);
	r = vault_rows_new(v);
	return r == 0 ? write_slots(v, arg, false) : r;
}

static int build(struct making *m)
{
	struct vault *v = NULL;
	int r = vault_open_handle(m->options, m->new_path, &v, m->why, m->why_size);

	if (r != 0)
		return r;
	r = vault_transaction(v, fill, m);
	vault_close(v);
	if (r == 0)
		r = file_sync_folder_of(m->new_path);
	return r == 0 ? 0 : fail(m, m->new_path, r);
}

/* A log where the vault is to be would be taken for its own and written into it. */
static int check_log(struct making *m)
{
	char *log = NULL;
	bool there;

	if (asprintf(&log, "%s-wal", m->options->path) < 0)
		return fail(m, m->options->path, -ENOMEM);
	there = vault_exists(log);
	if (there)
		snprintf(m->why, m->why_size,
			 "vault %s is missing although its log %s is there: put it back, or move "
			 "the log away",
			 m->options->path, log);
	free(log);
	return there ? -EEXIST : 0;
}

/* Those that are missing; then the vault gets its name. */
static int finish(struct making *m)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->options->opener_count; i++) {
		if (m->missing[i])
			r = vault_key_create(m->options->openers[i].path, m->secrets[i], m->why,
					     m->why_size);
	}
	if (r != 0)
		return r;
	if (rename(m->new_path, m->options->path) < 0)
		return fail(m, m->options->path, -errno);
	r = file_sync_folder_of(m->options->path);
	return r == 0 ? 0 : fail(m, m->options->path, r);
}

static int begin_anew(struct making *m, int new_fd)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->options->opener_count; i++)
		r = choose_secret(m, i);
	if (r != 0)
		return r;
	if (ftruncate(new_fd, 0) < 0)
		return fail(m, m->new_path, -errno);
	r = build(m);
	return r == 0 ? finish(m) : r;
}

static int write_missing_slots(struct vault *v, void *arg)
{
	return write_slots(v, arg, true);
}

/* Finishes a creation that was cut short after a key file was written. */
static int resume(struct making *m)
{
	struct vault *v = NULL;
	bool any = false;
	int r = vault_open_existing(m->options, m->new_path, &v, m->why, m->why_size);

	if (r != 0)
		return r;
	for (size_t i = 0; r == 0 && i < m->options->opener_count; i++) {
		if (m->missing[i])
			r = choose_secret(m, i);
		any = any || m->missing[i];
	}
	if (r == 0 && any) {
		r = vault_transaction(v, write_missing_slots, m);
		/* Closing tells nobody when the log stays, and it does not get the new name. */
		if (r == 0)
			r = vault_log_empty(v);
		if (r != 0)
			r = fail(m, m->new_path, r);
	}
	vault_close(v);
	return r == 0 ? finish(m) : r;
}

static bool same_file(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static int create_locked(struct making *m, int new_fd, bool resumable)
{
	bool present = false;
	int r;

	if (flock(new_fd, LOCK_EX | LOCK_NB) < 0 || !same_file(new_fd, m->new_path)) {
		vault_explain(m->why, m->why_size, m->options->path,
			      "another process is making it");
		return VAULT_LOCKED;
	}
	if (vault_exists(m->options->path)) {
		unlink(m->new_path);
		return 0;
	}
	r = check_log(m);
	if (r == 0)
		r = look_for_keys(m, &present);
	if (r != 0) {
		if (!resumable)
			unlink(m->new_path);
		return r;
	}
	if (!present)
		return begin_anew(m, new_fd);
	if (resumable)
		return resume(m);
	unlink(m->new_path);
	snprintf(m->why, m->why_size, "vault %s is missing although a key file of it is there",
		 m->options->path);
	return -ENOENT;
}

int vault_create(const struct vault_options *options, char *why, size_t why_size)
{
	struct making m = {.options = options, .why = why, .why_size = why_size};
	char *new_path = NULL;
	bool resumable;
	int fd;
	int r;

	if (asprintf(&new_path, "%s.new", options->path) < 0)
		return fail(&m, options->path, -ENOMEM);
	m.new_path = new_path;
	resumable = vault_exists(new_path);
	fd = open(new_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		r = fail(&m, options->path, -errno);
	} else {
		r = create_locked(&m, fd, resumable);
		/* Last: closing it before SQLite is done would drop SQLite's own locks. */
		close(fd);
	}
	for (size_t i = 0; i < VAULT_SLOTS; i++)
		secret_unref(m.secrets[i]);
	free(new_path);
	return r;
}
