/* Vault1: what the Secure Storage is, its backups and its ledger. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/records.h"
#include "storage/vault-backup.h"
#include "storage/vault-manage.h"

#define BACKUP_PAGES 64 /* in one turn of the loop */
#define WHY_SIZE     512
#define LEDGER_MAX   2000

static const char *source_text(enum vault_source source)
{
	switch (source) {
	case VAULT_SOURCE_KEY_FILE:
		return "key file";
	case VAULT_SOURCE_PASSPHRASE:
		return "passphrase";
	}
	return "unknown";
}

static void put_ledger_state(struct api_writer *w, struct vault *v)
{
	char head[2 * LEDGER_HASH_SIZE + 1], text[160] = "";
	struct ledger_state state;
	const char *with;
	int r = vault_ledger_trouble(v, &with);

	vault_ledger_state(v, &state);
	(void)hex_encode(bytes_of(state.head, sizeof(state.head)), head, sizeof(head));
	if (r != 0)
		(void)snprintf(text, sizeof(text), "the %s is behind: %s", with, strerror(-r));
	gateway_api_u32(w, "LedgerEntries", state.sequence);
	gateway_api_text(w, "LedgerHead", state.sequence ? head : "");
	gateway_api_text(w, "LedgerText", text);
}

static void backup_text(const struct gateway_api *api, char *out, size_t size)
{
	uint64_t wall;
	struct tm utc;
	time_t at;

	out[0] = '\0';
	if (records_get_backup(api->vault, &wall) != 0)
		return;
	at = (time_t)wall;
	if (gmtime_r(&at, &utc))
		(void)strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

void gateway_api_vault_status(struct api_call *call)
{
	struct gateway_api *api = call->api;
	struct gateway_api_status s = {.wan_up = false};
	struct vault_rekey_progress progress;
	uint64_t records = 0;
	struct api_writer w;
	char backup[32];
	int r = vault_count_records(api->vault, &records);

	if (r != 0) {
		gateway_api_errno(call->m, r < 0 ? r : -EIO);
		return;
	}
	api->options.status(api->options.arg, &s);
	vault_rekey_progress(api->vault, &progress);
	backup_text(api, backup, sizeof(backup));
	gateway_api_reply_begin(&w, call->m);
	gateway_api_dict_begin(&w);
	gateway_api_text(&w, "File", api->options.config->vault_path);
	gateway_api_u32(&w, "Schema", VAULT_SCHEMA);
	gateway_api_u64(&w, "Records", records);
	gateway_api_u32(&w, "Generation", progress.to);
	gateway_api_flag(&w, "Rekeying", progress.from != 0);
	put_ledger_state(&w, api->vault);
	gateway_api_text(&w, "Anchor", api->options.config->vault_anchor);
	gateway_api_flag(&w, "RolledBack", vault_rollback(api->vault) != NULL);
	gateway_api_text(&w, "LastBackup", backup);
	gateway_api_texts(&w, "Damaged", s.damage, s.damage_count);
	gateway_api_dict_end(&w);
	gateway_api_send(&w);
}

void gateway_api_vault_wraps_list(struct api_call *call)
{
	struct vault_wrap wraps[VAULT_SLOTS];
	struct api_writer w;
	size_t count = 0;
	int r = vault_wraps(call->api->vault, wraps, &count);

	if (r != 0) {
		gateway_api_error(call->m, "Failed", "the wraps cannot be read");
		return;
	}
	gateway_api_reply_begin(&w, call->m);
	gateway_api_list_begin(&w, "a{sv}");
	for (size_t i = 0; i < count; i++) {
		gateway_api_dict_begin(&w);
		gateway_api_u32(&w, "Slot", wraps[i].slot);
		gateway_api_text(&w, "Kind", source_text(wraps[i].source));
		gateway_api_text(&w, "Label", wraps[i].label);
		gateway_api_dict_end(&w);
	}
	gateway_api_list_end(&w);
	gateway_api_send(&w);
}

void gateway_api_vault_remove_wrap(struct api_call *call)
{
	struct verdict v = {.id = VERDICT_GATEWAY_VAULT_REFUSED};
	char why[WHY_SIZE] = "";
	uint32_t slot;
	int r;

	if (!gateway_api_read_u32(call->m, &slot))
		return;
	if (slot < 1 || slot > VAULT_SLOTS) {
		gateway_api_error(call->m, "InvalidArguments", "a slot is 1 to %d", VAULT_SLOTS);
		return;
	}
	r = vault_wrap_remove(call->api->vault, (uint8_t)slot, why, sizeof(why));
	if (r == 0) {
		gateway_api_done(call->m);
	} else if (r == VAULT_REFUSED) {
		(void)snprintf(v.detail, sizeof(v.detail), "%.95s", why);
		gateway_api_refuse(call->m, "Refused", &v);
	} else {
		gateway_api_error(call->m, "Failed", "%s",
				  why[0] ? why : strerror(r < 0 ? -r : EIO));
	}
}

/* The ledger. */

struct tail {
	struct gateway_api *api;
	struct api_writer w;
	const struct name *names; /* that may be meant by a tag */
	size_t count;
};

static bool is_nobody(const uint8_t tag[LEDGER_TAG_SIZE])
{
	for (size_t i = 0; i < LEDGER_TAG_SIZE; i++) {
		if (tag[i])
			return false;
	}
	return true;
}

/* "" for none, "?" for one that is not known any more. */
static const char *name_of(const struct tail *t, const char *what, const struct name *names,
			   size_t count, const uint8_t tag[LEDGER_TAG_SIZE])
{
	if (is_nobody(tag))
		return "";
	for (size_t i = 0; i < count; i++) {
		if (vault_ledger_names(t->api->vault, what, name_bytes(&names[i]), tag))
			return names[i].text;
	}
	return "?";
}

static void put_entry(void *arg, const struct ledger_entry *e)
{
	struct tail *t = arg;
	const char *entity = name_of(t, "entity", t->names, t->count, e->entity);
	const char *user = name_of(t, "user", t->api->users.list, t->api->users.count, e->user);
	char text[320], key[32] = "", figure[24] = "";

	if (e->key_index > 0)
		(void)snprintf(key, sizeof(key), ", EUKey %" PRIu32, e->key_index);
	if (e->figure > 0)
		(void)snprintf(figure, sizeof(figure), ", Figure %u", (unsigned)e->figure);
	(void)snprintf(text, sizeof(text), "%s%s%s%s%s%s%s%s%s", ledger_event_text(e->event),
		       entity[0] ? " " : "", entity, user[0] ? " of " : "", user, key, figure,
		       e->reason ? ": " : "", e->reason ? ledger_reason_text(e->reason) : "");
	gateway_api_dict_begin(&t->w);
	gateway_api_u32(&t->w, "Sequence", e->sequence);
	gateway_api_u64(&t->w, "Time", e->time);
	gateway_api_text(&t->w, "Event", ledger_event_text(e->event));
	gateway_api_u32(&t->w, "Figure", e->figure);
	gateway_api_text(&t->w, "Entity", entity);
	gateway_api_text(&t->w, "User", user);
	gateway_api_u32(&t->w, "KeyIndex", e->key_index);
	gateway_api_text(&t->w, "Text", text);
	gateway_api_dict_end(&t->w);
}

static void add_revocation(void *arg, const struct revocation *r)
{
	(void)gateway_names_add(arg, &r->entity);
}

void gateway_api_vault_ledger(struct api_call *call)
{
	struct gateway_api *api = call->api;
	struct tail t = {.api = api};
	struct names names = {.count = 0};
	uint32_t count;
	int r;

	if (!gateway_api_read_u32(call->m, &count))
		return;
	gateway_api_objects_update(api);
	(void)gateway_names_add(&names, &api->options.config->entity_id);
	for (size_t i = 0; i < api->element_count; i++)
		(void)gateway_names_add(&names, &api->elements[i].entity);
	gateway_core_each_revocation(api->core, add_revocation, &names);
	t.names = names.list;
	t.count = names.count;
	gateway_api_reply_begin(&t.w, call->m);
	gateway_api_list_begin(&t.w, "a{sv}");
	r = vault_ledger_tail(api->vault, count < LEDGER_MAX ? count : LEDGER_MAX, put_entry, &t);
	gateway_api_list_end(&t.w);
	if (r != 0 && t.w.r >= 0)
		t.w.r = r < 0 ? r : -EIO;
	gateway_api_send(&t.w);
	gateway_names_free(&names);
}

/* Backups, in steps between which the loop serves. */

struct backup_job {
	uv_idle_t idle;
	struct gateway_api *api;
	struct api_procedure *procedure;
	struct vault_backup *backup;
};

/* A complete backup, until the vault knows of it. */
struct backup_note {
	struct gateway_api *api;
	struct api_procedure *procedure; /* NULL: it was cancelled */
	int pages;
};

static void note_cancel(struct api_procedure *p)
{
	struct backup_note *note = p->job;

	note->procedure = NULL;
}

static void backup_noted(void *arg, int result)
{
	struct backup_note *note = arg;
	struct api_procedure *p = note->procedure;
	char text[WHY_SIZE];

	if (result != 0)
		gateway_api_say(note->api, LOG_LEVEL_WARNING,
				"the vault does not know of the backup: %s", strerror(-result));
	(void)snprintf(text, sizeof(text), "%d pages; pngw-vault restore --drill proves it opens",
		       note->pages);
	if (p) {
		p->job = NULL;
		gateway_api_procedure_finish(p, VERDICT_DONE, NULL, text);
	}
	gateway_api_unhold(note->api);
	free(note);
}

/* The doctor asks the vault for the time of its last backup. */
static void note_backup(struct api_procedure *p, int pages)
{
	struct backup_note *note = calloc(1, sizeof(*note));
	struct vault_batch *b = note ? vault_batch_new() : NULL;
	int r;

	if (!b) {
		free(note);
		gateway_api_procedure_finish(p, VERDICT_DONE, NULL, "out of memory to note it");
		return;
	}
	*note = (struct backup_note){.api = p->api, .procedure = p, .pages = pages};
	p->job = note;
	p->job_cancel = note_cancel;
	gateway_api_hold(p->api);
	records_put_backup(b, (uint64_t)time(NULL));
	r = vault_submit(p->api->vault, b, backup_noted, note);
	if (r != 0)
		backup_noted(note, r);
}

static void backup_closed(uv_handle_t *handle)
{
	struct backup_job *job = handle->data;

	gateway_api_unhold(job->api);
	free(job);
}

static void backup_cancel(struct api_procedure *p)
{
	struct backup_job *job = p->job;

	vault_backup_end(job->backup);
	uv_close((uv_handle_t *)&job->idle, backup_closed);
}

static void backup_step(uv_idle_t *idle)
{
	struct backup_job *job = idle->data;
	struct api_procedure *p = job->procedure;
	struct vault_backup_progress progress;
	char text[WHY_SIZE];
	int r = vault_backup_step(job->backup, BACKUP_PAGES, text, sizeof(text));

	if (r == VAULT_BACKUP_MORE)
		return;
	vault_backup_progress(job->backup, &progress);
	backup_cancel(p);
	p->job = NULL;
	if (r != 0) {
		gateway_api_procedure_note(p, text);
		gateway_api_procedure_finish(p, gateway_storage_verdict(r), NULL, text);
		return;
	}
	note_backup(p, progress.total);
}

void gateway_api_vault_backup(struct api_call *call)
{
	bool detach = false;
	const struct api_option options[] = {{"Detach", 'b', &detach}};
	struct gateway_api *api = call->api;
	struct api_procedure *p;
	struct backup_job *job;
	char why[WHY_SIZE] = "";
	const char *file;
	int r;

	if (!gateway_api_read_text(call->m, &file) ||
	    !gateway_api_read_options(call->m, options, 1))
		return;
	if (file[0] != '/') {
		gateway_api_error(call->m, "InvalidArguments",
				  "the file is named by a path that begins with /");
		return;
	}
	job = calloc(1, sizeof(*job));
	p = job ? gateway_api_procedure_new(call, "vault", NULL, NULL, 0, detach) : NULL;
	if (!p) {
		if (!job)
			gateway_api_errno(call->m, -ENOMEM);
		free(job);
		return;
	}
	gateway_api_procedure_reply(p, call);
	r = vault_backup_begin(api->vault, file, &job->backup, why, sizeof(why));
	if (r != 0) {
		free(job);
		gateway_api_procedure_note(p, why);
		gateway_api_procedure_finish(p, VERDICT_GATEWAY_VAULT_REFUSED, NULL, why);
		return;
	}
	job->api = api;
	job->procedure = p;
	p->job = job;
	p->job_cancel = backup_cancel;
	(void)uv_idle_init(api->loop, &job->idle);
	job->idle.data = job;
	gateway_api_hold(api);
	(void)uv_idle_start(&job->idle, backup_step);
}
