/* The commands about the vault itself. Whatever takes long is done in steps or on another thread.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/control-internal.h"
#include "gateway/openers.h"
#include "storage/vault-backup.h"
#include "storage/vault-manage.h"

#define BACKUP_PAGES  64 /* in one turn of the loop */
#define CHECK_RECORDS 2000
#define REKEY_POLL_MS 50
#define WHY_SIZE      512

static void out_of_memory(struct control_client *client)
{
	gateway_control_say(client, "%s", strerror(ENOMEM));
	gateway_control_end(client, CONTROL_RETRY);
}

/* The end of a command that r came of. */
static void end_with(struct control_client *client, int r, const char *why)
{
	if (r != 0)
		gateway_control_say(client, "%s", why[0] ? why : strerror(r < 0 ? -r : EIO));
	gateway_control_end(client, r == 0  ? CONTROL_DONE
				    : r > 0 ? CONTROL_REFUSED
					    : CONTROL_RETRY);
}

struct backup_job {
	uv_idle_t idle;
	struct control_client *client; /* NULL: it has gone */
	struct vault_backup *backup;
};

static void backup_freed(uv_handle_t *handle)
{
	free(handle->data);
}

static void backup_end(struct backup_job *job)
{
	vault_backup_end(job->backup);
	uv_close((uv_handle_t *)&job->idle, backup_freed);
}

static void backup_gone(void *arg)
{
	backup_end(arg);
}

static void backup_step(uv_idle_t *idle)
{
	struct backup_job *job = idle->data;
	struct control_client *client = job->client;
	struct vault_backup_progress progress;
	char why[WHY_SIZE];
	int r = vault_backup_step(job->backup, BACKUP_PAGES, why, sizeof(why));

	if (r == VAULT_BACKUP_MORE)
		return;
	gateway_control_job(client, NULL, NULL);
	vault_backup_progress(job->backup, &progress);
	backup_end(job);
	if (r != 0) {
		gateway_control_say(client, "%s", why);
		gateway_control_end(client, CONTROL_RETRY);
		return;
	}
	gateway_control_backed_up(client);
	gateway_control_say(client, "backed up: %d pages", progress.total);
	gateway_control_say(client, "pngw-vault restore --drill proves that it opens");
	gateway_control_end(client, CONTROL_DONE);
}

void gateway_control_vault_backup(struct control_client *client, const struct control_words *w,
				  size_t first)
{
	struct backup_job *job;
	char why[WHY_SIZE];
	int r;

	if (w->count != first + 1 || w->word[first][0] != '/') {
		gateway_control_usage(client);
		return;
	}
	job = calloc(1, sizeof(*job));
	if (!job) {
		out_of_memory(client);
		return;
	}
	r = vault_backup_begin(gateway_control_vault(client), w->word[first], &job->backup, why,
			       sizeof(why));
	if (r != 0) {
		free(job);
		gateway_control_say(client, "%s", why);
		gateway_control_end(client, CONTROL_REFUSED);
		return;
	}
	job->client = client;
	(void)uv_idle_init(gateway_control_loop(client), &job->idle);
	job->idle.data = job;
	gateway_control_job(client, job, backup_gone);
	(void)uv_idle_start(&job->idle, backup_step);
}

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

static bool say_wraps(struct control_client *client)
{
	struct vault_wrap wraps[VAULT_SLOTS];
	size_t count = 0;
	int r = vault_wraps(gateway_control_vault(client), wraps, &count);

	if (r != 0) {
		end_with(client, r, "the wraps cannot be read");
		return false;
	}
	for (size_t i = 0; i < count; i++)
		gateway_control_say(client, "slot %u: %s, %s", wraps[i].slot,
				    source_text(wraps[i].source), wraps[i].label);
	return true;
}

void gateway_control_vault_wraps(struct control_client *client, const struct control_words *w,
				 size_t first)
{
	if (w->count != first)
		gateway_control_usage(client);
	else if (say_wraps(client))
		gateway_control_end(client, CONTROL_DONE);
}

static void status_line(void *arg, const char *text)
{
	gateway_control_say(arg, "%s", text);
}

static void say_ledger(struct control_client *client)
{
	struct vault *v = gateway_control_vault(client);
	const struct vault_rollback *rollback = vault_rollback(v);
	char head[2 * LEDGER_HASH_SIZE + 1];
	struct ledger_state state;
	const char *with;
	int r;

	vault_ledger_state(v, &state);
	(void)hex_encode(bytes_of(state.head, sizeof(state.head)), head, sizeof(head));
	gateway_control_say(client, "ledger: %" PRIu32 " entries, head %s", state.sequence,
			    state.sequence ? head : "-");
	r = vault_ledger_trouble(v, &with);
	if (r != 0)
		gateway_control_say(client, "ledger: the %s is behind: %s", with, strerror(-r));
	if (rollback)
		gateway_control_say(
			client,
			"rolled back: this is an older copy, its ledger ended at %" PRIu32
			", by the %s it was at %" PRIu32,
			rollback->own, rollback->who, rollback->known);
}

void gateway_control_vault_status(struct control_client *client, const struct control_words *w,
				  size_t first)
{
	const struct gateway_control_options *options = gateway_control_options_of(client);
	struct vault_rekey_progress progress;
	uint64_t records = 0;
	int r;

	if (w->count != first) {
		gateway_control_usage(client);
		return;
	}
	vault_rekey_progress(gateway_control_vault(client), &progress);
	gateway_control_say(client, "vault %s, schema %d", options->config->vault_path,
			    VAULT_SCHEMA);
	r = vault_count_records(gateway_control_vault(client), &records);
	if (r == 0)
		gateway_control_say(client, "records: %" PRIu64, records);
	else
		gateway_control_say(client, "records: %s", strerror(-r));
	gateway_control_say(client, "generation: %" PRIu32, progress.to);
	if (progress.from != 0)
		gateway_control_say(client,
				    "re-keying: from generation %" PRIu32 ", %" PRIu64
				    " of %" PRIu64 " records, %" PRIu64 " damaged%s%s",
				    progress.from, progress.done, progress.total, progress.damaged,
				    progress.error ? ", stands still: " : "",
				    progress.error ? strerror(-progress.error) : "");
	if (!say_wraps(client))
		return;
	say_ledger(client);
	options->damage(options->arg, status_line, client);
	gateway_control_say(client, "last backup: %s", gateway_control_last_backup(client));
	gateway_control_end(client, CONTROL_DONE);
}

/* "Will it still open?": the keys are read and stretched on another thread. */

#define CANDIDATES_MAX (2 + VAULT_SLOTS)

struct candidate {
	char name[CONFIG_TEXT_MAX];
	enum vault_source source;
	uint8_t slot; /* that the secret was made for; 0: any */
	struct secret *secret;
	char why[160]; /* there is no secret */
};

struct check_job {
	uv_work_t work;
	struct control_client *client; /* NULL: it has gone */
	struct config config;
	struct vault_wrap wraps[VAULT_SLOTS];
	size_t count;
	struct candidate candidates[CANDIDATES_MAX];
	size_t tried;
};

static void try_key(struct check_job *job, const struct vault_opener *opener, const char *name,
		    const struct vault_wrap *parameters)
{
	struct candidate *c = &job->candidates[job->tried];

	if (job->tried == CANDIDATES_MAX)
		return;
	job->tried++;
	(void)snprintf(c->name, sizeof(c->name), "%s", name);
	c->source = opener->source;
	c->slot = parameters ? parameters->slot : 0;
	(void)vault_wrap_secret(opener, parameters, &c->secret, c->why, sizeof(c->why));
}

static void check_work(uv_work_t *work)
{
	struct check_job *job = work->data;
	const char *passphrase_file = job->config.vault_passphrase_file;
	struct gateway_openers openers;
	char why[160];
	int r = gateway_openers_load(&job->config, &openers, why, sizeof(why));

	for (size_t i = 0; i < openers.count; i++) {
		const struct vault_opener *opener = &openers.opener[i];

		if (opener->source == VAULT_SOURCE_KEY_FILE)
			try_key(job, opener, opener->path, NULL);
		for (size_t j = 0; opener->source == VAULT_SOURCE_PASSPHRASE && j < job->count;
		     j++) {
			if (job->wraps[j].source == VAULT_SOURCE_PASSPHRASE)
				try_key(job, opener, passphrase_file, &job->wraps[j]);
		}
	}
	if (r != 0 && job->tried < CANDIDATES_MAX) {
		struct candidate *c = &job->candidates[job->tried++];

		(void)snprintf(c->name, sizeof(c->name), "%s", passphrase_file);
		c->source = VAULT_SOURCE_PASSPHRASE;
		(void)snprintf(c->why, sizeof(c->why), "%s", why);
	}
	gateway_openers_clear(&openers);
}

/* The slot that the candidate opens, or 0. */
static uint8_t slot_of(const struct check_job *job, const struct candidate *c)
{
	struct vault *v = gateway_control_vault(job->client);

	for (size_t i = 0; c->secret && i < job->count; i++) {
		const struct vault_wrap *w = &job->wraps[i];

		if (w->source == c->source && (c->slot == 0 || c->slot == w->slot) &&
		    vault_check_slot(v, w->slot, c->secret) == 0)
			return w->slot;
	}
	return 0;
}

/* A passphrase has a candidate for each wrap of its kind: one that opens is enough. */
static bool say_keys(struct check_job *job)
{
	bool opens[VAULT_SLOTS + 1] = {false};
	const struct candidate *passphrase = NULL;
	bool passphrase_opens = false, good = true;

	for (size_t i = 0; i < job->tried; i++) {
		const struct candidate *c = &job->candidates[i];
		uint8_t slot = slot_of(job, c);

		opens[slot] = true;
		if (slot != 0)
			gateway_control_say(job->client, "%s opens slot %u", c->name, slot);
		if (c->source == VAULT_SOURCE_PASSPHRASE) {
			passphrase = c;
			passphrase_opens = passphrase_opens || slot != 0;
		} else if (slot == 0) {
			gateway_control_say(job->client, "%s DOES NOT OPEN IT: %s", c->name,
					    c->why[0] ? c->why : "it fits no slot");
			good = false;
		}
	}
	if (passphrase && !passphrase_opens)
		gateway_control_say(job->client, "%s DOES NOT OPEN IT: %s", passphrase->name,
				    passphrase->why[0] ? passphrase->why : "it fits no slot");
	for (size_t i = 0; i < job->count; i++) {
		if (!opens[job->wraps[i].slot])
			gateway_control_say(job->client, "slot %u (%s, %s) was not tried",
					    job->wraps[i].slot, source_text(job->wraps[i].source),
					    job->wraps[i].label);
	}
	return good && (!passphrase || passphrase_opens);
}

static void check_done(uv_work_t *work, int status)
{
	struct check_job *job = work->data;
	struct control_client *client = job->client;
	uint64_t records = 0, damaged = 0;
	char why[WHY_SIZE] = "";
	bool good;
	int r = status;

	if (client) {
		gateway_control_job(client, NULL, NULL);
		good = say_keys(job);
		if (r == 0)
			r = vault_check_rows(gateway_control_vault(client), why, sizeof(why));
		if (r == 0)
			r = vault_check_records(gateway_control_vault(client), CHECK_RECORDS,
						&records, &damaged);
		if (r == 0) {
			gateway_control_say(client,
					    "records opened: %" PRIu64 ", damaged: %" PRIu64,
					    records, damaged);
			good = good && damaged == 0;
			gateway_control_say(client, "%s", good ? "it will open again" : "NOT GOOD");
			gateway_control_end(client, good ? CONTROL_DONE : CONTROL_REFUSED);
		} else {
			end_with(client, r, why);
		}
	}
	for (size_t i = 0; i < job->tried; i++)
		secret_unref(job->candidates[i].secret);
	free(job);
}

static void check_gone(void *arg)
{
	struct check_job *job = arg;

	job->client = NULL;
}

void gateway_control_vault_check(struct control_client *client, const struct control_words *w,
				 size_t first)
{
	struct check_job *job;
	int r;

	if (w->count != first) {
		gateway_control_usage(client);
		return;
	}
	job = calloc(1, sizeof(*job));
	if (!job) {
		out_of_memory(client);
		return;
	}
	job->work.data = job;
	job->client = client;
	job->config = *gateway_control_options_of(client)->config;
	r = vault_wraps(gateway_control_vault(client), job->wraps, &job->count);
	if (r == 0)
		r = uv_queue_work(gateway_control_loop(client), &job->work, check_work, check_done);
	if (r != 0) {
		free(job);
		end_with(client, r, "the wraps cannot be read");
		return;
	}
	gateway_control_job(client, job, check_gone);
}

/* A secret that is to open the vault: made on another thread, given a slot on the loop. */
struct wrap_job {
	uv_work_t work;
	struct control_client *client; /* NULL: it has gone */
	char path[CONFIG_TEXT_MAX];    /* "": the passphrase */
	char label[VAULT_LABEL_MAX + 1];
	struct secret *passphrase;
	uint8_t slot; /* to be replaced; 0: a new one */
	struct vault_prepared prepared;
	int result;
	char why[WHY_SIZE];
};

static void wrap_work(uv_work_t *work)
{
	struct wrap_job *job = work->data;
	struct vault_opener opener = {.source = job->path[0] ? VAULT_SOURCE_KEY_FILE
							     : VAULT_SOURCE_PASSPHRASE,
				      .path = job->path,
				      .passphrase = job->passphrase};

	job->result =
		vault_wrap_prepare(&opener, job->label[0] ? job->label : NULL, job->path[0] != 0,
				   &job->prepared, job->why, sizeof(job->why));
}

static void wrap_done(uv_work_t *work, int status)
{
	struct wrap_job *job = work->data;
	struct control_client *client = job->client;
	uint8_t slot = job->slot;
	int r = status != 0 ? status : job->result;

	if (client) {
		struct vault *v = gateway_control_vault(client);

		gateway_control_job(client, NULL, NULL);
		if (r == 0 && slot != 0)
			r = vault_wrap_rotate(v, slot, &job->prepared, job->why, sizeof(job->why));
		else if (r == 0)
			r = vault_wrap_add(v, &job->prepared, &slot, job->why, sizeof(job->why));
		if (r == 0)
			gateway_control_say(client, "slot %u: %s", slot, job->prepared.wrap.label);
		end_with(client, r, job->why);
	}
	if (status == 0 && job->result == 0)
		vault_prepared_clear(&job->prepared);
	secret_unref(job->passphrase);
	free(job);
}

static void wrap_gone(void *arg)
{
	struct wrap_job *job = arg;

	job->client = NULL;
}

/* Takes passphrase over. */
static void give_wrap(struct control_client *client, uint8_t slot, const char *path,
		      struct secret *passphrase, const char *label)
{
	struct wrap_job *job;
	int r;

	if (strlen(path) >= CONFIG_TEXT_MAX || strlen(label) > VAULT_LABEL_MAX) {
		secret_unref(passphrase);
		gateway_control_usage(client);
		return;
	}
	job = calloc(1, sizeof(*job));
	if (!job) {
		secret_unref(passphrase);
		out_of_memory(client);
		return;
	}
	job->work.data = job;
	job->client = client;
	job->slot = slot;
	job->passphrase = passphrase;
	memcpy(job->path, path, strlen(path) + 1);
	memcpy(job->label, label, strlen(label) + 1);
	r = uv_queue_work(gateway_control_loop(client), &job->work, wrap_work, wrap_done);
	if (r != 0) {
		secret_unref(passphrase);
		free(job);
		end_with(client, r, "");
		return;
	}
	gateway_control_job(client, job, wrap_gone);
}

/* A key file the daemon finds again: absolute, or a credential. */
static bool key_path_valid(const char *path)
{
	return path[0] == '/' || strncmp(path, "credential:", 11) == 0;
}

static bool parse_slot(const char *text, uint8_t *out)
{
	if (text[0] < '1' || text[0] > '0' + VAULT_SLOTS || text[1] != '\0')
		return false;
	*out = (uint8_t)(text[0] - '0');
	return true;
}

void gateway_control_vault_add_wrap(struct control_client *client, const struct control_words *w,
				    size_t first)
{
	if (w->count < first + 1 || w->count > first + 2 || !key_path_valid(w->word[first]))
		gateway_control_usage(client);
	else
		give_wrap(client, 0, w->word[first], NULL,
			  w->count == first + 2 ? w->word[first + 1] : "");
}

void gateway_control_vault_add_passphrase(struct control_client *client,
					  const struct control_words *w, size_t first)
{
	if (w->count > first + 1)
		gateway_control_usage(client);
	else
		give_wrap(client, 0, "", gateway_control_take_password(client),
			  w->count == first + 1 ? w->word[first] : "");
}

void gateway_control_vault_rotate_wrap(struct control_client *client, const struct control_words *w,
				       size_t first)
{
	uint8_t slot;

	if (w->count < first + 2 || w->count > first + 3 || !parse_slot(w->word[first], &slot) ||
	    !key_path_valid(w->word[first + 1]))
		gateway_control_usage(client);
	else
		give_wrap(client, slot, w->word[first + 1], NULL,
			  w->count == first + 3 ? w->word[first + 2] : "");
}

void gateway_control_vault_remove_wrap(struct control_client *client, const struct control_words *w,
				       size_t first)
{
	char why[WHY_SIZE] = "";
	uint8_t slot;
	int r;

	if (w->count != first + 1 || !parse_slot(w->word[first], &slot)) {
		gateway_control_usage(client);
		return;
	}
	r = vault_wrap_remove(gateway_control_vault(client), slot, why, sizeof(why));
	if (r == 0)
		gateway_control_say(client,
				    "slot %u is empty; older copies of the vault are still "
				    "opened by what was there: vault rekey, and destroy them",
				    slot);
	end_with(client, r, why);
}

/* Re-keying goes on with the flushes; the client is told when it is over. */
struct rekey_job {
	uv_timer_t timer;
	struct control_client *client;
};

static void rekey_freed(uv_handle_t *handle)
{
	free(handle->data);
}

static void rekey_gone(void *arg)
{
	struct rekey_job *job = arg;

	uv_close((uv_handle_t *)&job->timer, rekey_freed);
}

static void rekey_poll(uv_timer_t *timer)
{
	struct rekey_job *job = timer->data;
	struct control_client *client = job->client;
	struct vault_rekey_progress progress;

	vault_rekey_progress(gateway_control_vault(client), &progress);
	if (progress.from != 0 && progress.error == 0)
		return;
	gateway_control_job(client, NULL, NULL);
	rekey_gone(job);
	if (progress.error != 0) {
		gateway_control_say(client,
				    "%s; what is done is kept, and it goes on with the next write",
				    strerror(-progress.error));
		gateway_control_end(client, CONTROL_RETRY);
		return;
	}
	gateway_control_say(client,
			    "generation %" PRIu32 ": %" PRIu64 " records sealed anew, %" PRIu64
			    " damaged",
			    progress.to, progress.done, progress.damaged);
	gateway_control_end(client, progress.damaged == 0 ? CONTROL_DONE : CONTROL_REFUSED);
}

void gateway_control_vault_rekey(struct control_client *client, const struct control_words *w,
				 size_t first)
{
	struct rekey_job *job;
	char why[WHY_SIZE] = "";
	int r;

	if (w->count != first) {
		gateway_control_usage(client);
		return;
	}
	job = calloc(1, sizeof(*job));
	if (!job) {
		out_of_memory(client);
		return;
	}
	r = vault_rekey_begin(gateway_control_vault(client), why, sizeof(why));
	if (r != 0) {
		free(job);
		end_with(client, r, why);
		return;
	}
	job->client = client;
	(void)uv_timer_init(gateway_control_loop(client), &job->timer);
	job->timer.data = job;
	gateway_control_job(client, job, rekey_gone);
	(void)uv_timer_start(&job->timer, rekey_poll, 0, REKEY_POLL_MS);
}
