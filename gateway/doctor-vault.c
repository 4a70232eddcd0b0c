/* The vault, on its own thread. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "gateway/doctor-internal.h"
#include "gateway/records.h"

/* So many records are opened, others each time. */
#define SAMPLE          256
#define DAY             86400U
/* A backup older than that is worth a warning. */
#define BACKUP_DAYS     30U
/* The wall clock may be behind the last mark by that much, in seconds. */
#define CLOCK_TOLERANCE 120U

static const enum doctor_id of_the_vault[] = {
	DOCTOR_CLOCK_LAST,     DOCTOR_VAULT_KEY,    DOCTOR_VAULT_SECOND,  DOCTOR_VAULT_PASSPHRASE,
	DOCTOR_VAULT_WRAPS,    DOCTOR_VAULT_ROWS,   DOCTOR_VAULT_RECORDS, DOCTOR_VAULT_REKEY,
	DOCTOR_VAULT_ROLLBACK, DOCTOR_VAULT_ANCHOR, DOCTOR_VAULT_BACKUP,  DOCTOR_LEDGER_FILE,
};

static void examine_clock(struct doctor_findings *f, struct vault *v)
{
	uint64_t now = (uint64_t)time(NULL);
	struct clock_mark mark;
	int r = records_get_clock(v, &mark);

	if (r == VAULT_ABSENT)
		doctor_find(f, DOCTOR_CLOCK_LAST, DOCTOR_NOT_APPLICABLE,
			    "the vault does not know an earlier time yet");
	else if (r != 0)
		doctor_find(f, DOCTOR_CLOCK_LAST, DOCTOR_WARNING,
			    "the vault's record of the time cannot be read");
	else if (now + CLOCK_TOLERANCE < mark.wall)
		doctor_find(f, DOCTOR_CLOCK_LAST, DOCTOR_FAILED,
			    "the clock is %" PRIu64 " hours behind what it said before",
			    (mark.wall - now) / 3600);
	else
		doctor_find(f, DOCTOR_CLOCK_LAST, DOCTOR_OK,
			    "the vault knows no later time than the clock's");
}

static void examine_wraps(struct doctor_findings *f, struct vault *v)
{
	struct vault_wrap wraps[VAULT_SLOTS];
	size_t count = 0;
	char why[256] = "";
	int r = vault_wraps(v, wraps, &count);

	if (r != 0)
		doctor_find(f, DOCTOR_VAULT_WRAPS, DOCTOR_FAILED, "the wraps cannot be read");
	else if (count < 2)
		doctor_find(f, DOCTOR_VAULT_WRAPS, DOCTOR_WARNING,
			    "one key alone opens it: when that is lost, so is everything");
	else
		doctor_find(f, DOCTOR_VAULT_WRAPS, DOCTOR_OK, "%zu keys open it", count);
	r = vault_check_rows(v, why, sizeof(why));
	if (r == 0)
		doctor_find(f, DOCTOR_VAULT_ROWS, DOCTOR_OK, "every wrap is as it was written");
	else
		doctor_find(f, DOCTOR_VAULT_ROWS, DOCTOR_FAILED, "%s",
			    why[0] ? why : strerror(r < 0 ? -r : EIO));
}

static void examine_records(struct doctor_findings *f, struct vault *v)
{
	struct vault_rekey_progress p;
	uint64_t records = 0, damaged = 0;
	int r = vault_check_records(v, SAMPLE, &records, &damaged);

	if (r != 0)
		doctor_find(f, DOCTOR_VAULT_RECORDS, DOCTOR_FAILED, "they cannot be read: %s",
			    strerror(r < 0 ? -r : EIO));
	else if (damaged > 0)
		doctor_find(f, DOCTOR_VAULT_RECORDS, DOCTOR_FAILED,
			    "%" PRIu64 " of %" PRIu64 " records are damaged", damaged, records);
	else
		doctor_find(f, DOCTOR_VAULT_RECORDS, DOCTOR_OK, "%" PRIu64 " records were opened",
			    records);
	vault_rekey_progress(v, &p);
	if (p.from != 0 && p.error != 0)
		doctor_find(f, DOCTOR_VAULT_REKEY, DOCTOR_FAILED,
			    "sealing anew stands still after %" PRIu64 " records: %s", p.done,
			    strerror(-p.error));
	else if (p.from != 0)
		doctor_find(f, DOCTOR_VAULT_REKEY, DOCTOR_WARNING,
			    "sealing anew under master key %" PRIu32 " goes on, %" PRIu64
			    " records are done",
			    p.to, p.done);
	else
		doctor_find(f, DOCTOR_VAULT_REKEY, DOCTOR_OK, "everything is under master key %u",
			    (unsigned)p.to);
}

static void find_doubted(struct doctor_findings *f, uint32_t doubted, const char *gateway)
{
	struct doctor_finding *x = &f->of[DOCTOR_VAULT_ROLLBACK];

	doctor_find(f, DOCTOR_VAULT_ROLLBACK, DOCTOR_FAILED,
		    "the CPNS Server was told that its ledger was at %" PRIu32
		    ", which cannot be: it would not find out an older copy",
		    doubted);
	(void)snprintf(x->remedy, sizeof(x->remedy),
		       "find out who else has this PN GW's credentials, then let the operator give "
		       "'cpns-server-admin forget-vault %s'",
		       gateway);
}

static void examine_history(struct doctor_findings *f, const struct doctor_subject *s)
{
	const struct vault_rollback *rollback = vault_rollback(s->vault);
	const char *anchor = s->config->vault_anchor;
	const char *with = "";
	int trouble = vault_ledger_trouble(s->vault, &with);
	uint32_t doubted = s->core ? gateway_core_ledger_doubted(s->core) : 0;
	bool of_anchor = trouble != 0 && anchor[0] && strstr(with, "anchor");

	if (rollback)
		doctor_find(f, DOCTOR_VAULT_ROLLBACK, DOCTOR_FAILED,
			    "its ledger ended at %" PRIu32 ", and by the %s it was at %" PRIu32,
			    rollback->own, rollback->who, rollback->known);
	else if (doubted != 0)
		find_doubted(f, doubted, s->config->entity_id.text);
	else
		doctor_find(f, DOCTOR_VAULT_ROLLBACK, DOCTOR_OK, "nobody knows a later state");
	if (!anchor[0])
		doctor_find(f, DOCTOR_VAULT_ANCHOR, DOCTOR_NOT_APPLICABLE,
			    "vault.anchor is not configured");
	else if (of_anchor)
		doctor_find(f, DOCTOR_VAULT_ANCHOR, DOCTOR_FAILED, "the %s %s is behind: %s", with,
			    anchor, strerror(-trouble));
	else
		doctor_find(f, DOCTOR_VAULT_ANCHOR, DOCTOR_OK, "%s is up to date", anchor);
	if (trouble != 0 && !of_anchor)
		doctor_find(f, DOCTOR_LEDGER_FILE, DOCTOR_FAILED, "the %s is behind: %s", with,
			    strerror(-trouble));
	else
		doctor_find(f, DOCTOR_LEDGER_FILE, DOCTOR_OK, "nothing waits for it");
}

static void examine_backup(struct doctor_findings *f, struct vault *v)
{
	uint64_t now = (uint64_t)time(NULL), at;
	int r = records_get_backup(v, &at);

	if (r != 0)
		doctor_find(f, DOCTOR_VAULT_BACKUP, DOCTOR_WARNING,
			    "the vault does not know of any backup");
	else if (now > at && now - at > BACKUP_DAYS * DAY)
		doctor_find(f, DOCTOR_VAULT_BACKUP, DOCTOR_WARNING,
			    "the last backup is %" PRIu64 " days old", (now - at) / DAY);
	else
		doctor_find(f, DOCTOR_VAULT_BACKUP, DOCTOR_OK,
			    "the last backup is %" PRIu64 " days old",
			    now > at ? (now - at) / DAY : 0);
}

void doctor_examine_vault(struct doctor_findings *f, const struct doctor_subject *s)
{
	if (!s->vault) {
		if (s->vault_in_use)
			doctor_find(f, DOCTOR_VAULT_OPEN, DOCTOR_NOT_APPLICABLE,
				    "pngwd has it open: pngwctl doctor examines it there");
		else
			doctor_find(f, DOCTOR_VAULT_OPEN, DOCTOR_FAILED, "%.300s", s->vault_why);
		for (size_t i = 0; i < sizeof(of_the_vault) / sizeof(of_the_vault[0]); i++)
			doctor_find(f, of_the_vault[i], DOCTOR_NOT_APPLICABLE,
				    "the vault is not open");
		return;
	}
	doctor_find(f, DOCTOR_VAULT_OPEN, DOCTOR_OK, "%s is open, schema %d", s->config->vault_path,
		    VAULT_SCHEMA);
	examine_clock(f, s->vault);
	examine_wraps(f, s->vault);
	examine_records(f, s->vault);
	examine_history(f, s);
	examine_backup(f, s->vault);
}

/* The slot that it opens, or 0. */
static uint8_t slot_of(struct vault *v, const struct doctor_work *w, const struct doctor_secret *x)
{
	for (size_t i = 0; x->secret && i < w->wrap_count; i++) {
		const struct vault_wrap *wrap = &w->wraps[i];

		if (wrap->source == x->source && (x->slot == 0 || x->slot == wrap->slot) &&
		    vault_check_slot(v, wrap->slot, x->secret) == 0)
			return wrap->slot;
	}
	return 0;
}

void doctor_try_secrets(struct doctor_findings *f, const struct doctor_subject *s,
			const struct doctor_work *w)
{
	static const enum doctor_id ids[] = {DOCTOR_VAULT_KEY, DOCTOR_VAULT_SECOND,
					     DOCTOR_VAULT_PASSPHRASE};
	const char *const paths[] = {s->config->vault_key_file, s->config->vault_second_key_file,
				     s->config->vault_passphrase_file};

	if (!s->vault)
		return;
	for (size_t i = 0; i < 3; i++) {
		const char *why = w->findings.of[ids[i]].finding;
		uint8_t slot = 0;

		for (size_t j = 0; slot == 0 && j < w->secret_count; j++) {
			if (w->secrets[j].id != ids[i])
				continue;
			slot = slot_of(s->vault, w, &w->secrets[j]);
			if (w->secrets[j].why[0])
				why = w->secrets[j].why;
		}
		if (!paths[i][0])
			doctor_find(f, ids[i], DOCTOR_NOT_APPLICABLE, "none is configured");
		else if (slot != 0)
			doctor_find(f, ids[i], DOCTOR_OK, "%s opens slot %u", paths[i], slot);
		else
			doctor_find(f, ids[i], DOCTOR_FAILED, "%s does not open it: %s", paths[i],
				    why[0] ? why : "it fits no slot");
	}
}
