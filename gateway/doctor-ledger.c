/* The ledger's file, and what opens the vault: both are slow. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "gateway/doctor-internal.h"
#include "gateway/openers.h"
#include "storage/ledger-check.h"

#define PIECE        (256 * LEDGER_ENTRY_SIZE)
/* A ledger may grow to that part of what the file system has left. */
#define LEDGER_SHARE 4

/* 0, LEDGER_DEFECT, -ECANCELED or another negative errno. */
static int feed(struct doctor_work *w, struct ledger_check *c, int fd)
{
	uint8_t *buffer = malloc(PIECE);
	ssize_t n = 0;
	size_t have = 0;
	int r = buffer ? 0 : -ENOMEM;

	while (r == 0) {
		n = read(fd, buffer + have, PIECE - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = -errno;
		if (n <= 0)
			break;
		have += (size_t)n;
		if (have == PIECE) {
			r = ledger_check_feed(c, bytes_of(buffer, have));
			have = 0;
		}
		if (doctor_work_stopped(w))
			r = -ECANCELED;
	}
	/* Part of an entry at the end is one that is being written now. */
	if (r == 0 && have > 0) {
		off_t end = lseek(fd, 0, SEEK_CUR);
		size_t part = end >= LEDGER_HEADER_SIZE
				      ? (size_t)(end - LEDGER_HEADER_SIZE) % LEDGER_ENTRY_SIZE
				      : 0;

		r = ledger_check_feed(c, bytes_of(buffer, have - (part < have ? part : 0)));
	}
	if (r == 0)
		r = ledger_check_end(c);
	free(buffer);
	return r;
}

/* Reads all of it; expected may be NULL. As feed(); text says what is wrong. */
static int pass(struct doctor_work *w, int fd, const struct ledger_expected *expected, char *text,
		size_t text_size, uint32_t *entries)
{
	struct ledger_check *c;
	int r = ledger_check_new(NULL, NULL, &c);

	if (r == 0 && expected)
		r = ledger_check_expect(c, expected);
	if (r == 0 && lseek(fd, 0, SEEK_SET) != 0)
		r = -errno;
	if (r == 0)
		r = feed(w, c, fd);
	if (r == LEDGER_DEFECT)
		(void)snprintf(text, text_size, "entry %" PRIu32 ": %s",
			       ledger_check_defect(c)->sequence, ledger_check_defect(c)->text);
	else if (r != 0)
		(void)snprintf(text, text_size, "it cannot be read: %s", strerror(-r));
	else
		*entries = ledger_check_entries(c);
	ledger_check_free(c);
	return r;
}

static void prove(struct doctor_work *w, int fd)
{
	struct ledger_expected expected = {.sequence = w->ledger.sequence, .who = "the vault"};
	struct doctor_findings *f = &w->findings;
	bool compare = w->vault_open && !w->ledger_behind && w->ledger.sequence > 0;
	char text[256] = "", head[256] = "";
	uint32_t entries = 0;
	int with, without;

	memcpy(expected.head, w->ledger.head, sizeof(expected.head));
	with = pass(w, fd, compare ? &expected : NULL, head, sizeof(head), &entries);
	/* What is wrong may be the entry that the vault has, or the file by itself. */
	without = with == LEDGER_DEFECT && compare ? pass(w, fd, NULL, text, sizeof(text), &entries)
						   : with;
	if (without == 0)
		doctor_find(f, DOCTOR_LEDGER_PROVEN, DOCTOR_OK, "%" PRIu32 " entries are proven",
			    entries);
	else
		doctor_find(f, DOCTOR_LEDGER_PROVEN, DOCTOR_FAILED, "%s", text[0] ? text : head);
	if (!w->vault_open)
		doctor_find(f, DOCTOR_LEDGER_HEAD, DOCTOR_NOT_APPLICABLE, "the vault is not open");
	else if (!compare)
		doctor_find(f, DOCTOR_LEDGER_HEAD, DOCTOR_NOT_APPLICABLE, "%s",
			    w->ledger_behind ? "the ledger's file is behind"
					     : "the vault has no entry yet");
	else if (without != 0)
		doctor_find(f, DOCTOR_LEDGER_HEAD, DOCTOR_NOT_APPLICABLE,
			    "the ledger is not proven");
	else if (with != 0)
		doctor_find(f, DOCTOR_LEDGER_HEAD, DOCTOR_FAILED, "%s", head);
	else
		doctor_find(f, DOCTOR_LEDGER_HEAD, DOCTOR_OK, "both have entry %" PRIu32,
			    w->ledger.sequence);
}

static void examine_size(struct doctor_findings *f, int fd)
{
	struct statvfs fs;
	struct stat st;

	if (fstat(fd, &st) != 0 || fstatvfs(fd, &fs) != 0) {
		doctor_find(f, DOCTOR_LEDGER_SIZE, DOCTOR_NOT_APPLICABLE, "%s", strerror(errno));
		return;
	}
	doctor_find(f, DOCTOR_LEDGER_SIZE,
		    (uint64_t)st.st_size > (uint64_t)fs.f_bavail * fs.f_frsize / LEDGER_SHARE
			    ? DOCTOR_WARNING
			    : DOCTOR_OK,
		    "it has %" PRId64 " KiB, and %" PRIu64 " KiB are left beside it",
		    (int64_t)st.st_size / 1024, (uint64_t)fs.f_bavail * fs.f_frsize / 1024);
}

void doctor_examine_ledger(struct doctor_work *w)
{
	struct doctor_findings *f = &w->findings;
	char path[CONFIG_TEXT_MAX + 16];
	int fd, error;

	(void)snprintf(path, sizeof(path), "%s.ledger", w->config.vault_path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	error = errno;
	if (fd >= 0) {
		prove(w, fd);
		examine_size(f, fd);
		(void)close(fd);
		return;
	}
	if (error == ENOENT && (!w->vault_open || w->ledger.sequence == 0)) {
		doctor_find(f, DOCTOR_LEDGER_PROVEN, DOCTOR_NOT_APPLICABLE,
			    "there is no ledger yet");
		doctor_find(f, DOCTOR_LEDGER_HEAD, DOCTOR_NOT_APPLICABLE, "there is no ledger yet");
	} else {
		doctor_find(f, DOCTOR_LEDGER_PROVEN, DOCTOR_FAILED, "%s: %s", path,
			    strerror(error));
		doctor_find(f, DOCTOR_LEDGER_HEAD, DOCTOR_NOT_APPLICABLE,
			    "the ledger cannot be read");
	}
	doctor_find(f, DOCTOR_LEDGER_SIZE, DOCTOR_NOT_APPLICABLE, "there is no file");
}

static void make_secret(struct doctor_work *w, enum doctor_id id, const struct vault_opener *opener,
			const struct vault_wrap *parameters)
{
	struct doctor_secret *s = &w->secrets[w->secret_count];

	if (w->secret_count == DOCTOR_SECRETS_MAX || doctor_work_stopped(w))
		return;
	w->secret_count++;
	s->id = id;
	s->source = opener->source;
	s->slot = parameters ? parameters->slot : 0;
	(void)vault_wrap_secret(opener, parameters, &s->secret, s->why, sizeof(s->why));
}

void doctor_make_secrets(struct doctor_work *w)
{
	const struct config *c = &w->config;
	struct gateway_openers openers;
	char why[160] = "";
	int r;

	if (!w->vault_open)
		return;
	r = gateway_openers_load(c, &openers, why, sizeof(why));
	for (size_t i = 0; i < openers.count; i++) {
		const struct vault_opener *o = &openers.opener[i];

		if (o->source == VAULT_SOURCE_KEY_FILE)
			make_secret(w,
				    o->path == c->vault_second_key_file ? DOCTOR_VAULT_SECOND
									: DOCTOR_VAULT_KEY,
				    o, NULL);
		for (size_t j = 0; o->source == VAULT_SOURCE_PASSPHRASE && j < w->wrap_count; j++) {
			if (w->wraps[j].source == VAULT_SOURCE_PASSPHRASE)
				make_secret(w, DOCTOR_VAULT_PASSPHRASE, o, &w->wraps[j]);
		}
	}
	if (r != 0)
		doctor_find(&w->findings, DOCTOR_VAULT_PASSPHRASE, DOCTOR_FAILED, "%s", why);
	gateway_openers_clear(&openers);
}
