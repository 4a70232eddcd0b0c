/* Vault1: what opens the Secure Storage. Keys are read and stretched on another thread. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/openers.h"
#include "storage/vault-manage.h"

#define CHECK_RECORDS  2000
#define REKEY_POLL_MS  50
#define WHY_SIZE       512
#define CANDIDATES_MAX (2 + VAULT_SLOTS)

__attribute__((format(printf, 2, 3))) static void note(struct api_procedure *p, const char *format,
						       ...)
{
	char text[WHY_SIZE];
	va_list list;

	va_start(list, format);
	(void)vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	gateway_api_procedure_note(p, text);
}

/* The end of a procedure that r came of. */
static void finish(struct api_procedure *p, int r, const char *why)
{
	if (why[0])
		gateway_api_procedure_note(p, why);
	gateway_api_procedure_finish(p,
				     r == 0  ? VERDICT_DONE
				     : r > 0 ? VERDICT_GATEWAY_VAULT_REFUSED
					     : gateway_storage_verdict(r),
				     NULL, why[0] || r == 0 ? why : strerror(r < 0 ? -r : EIO));
}

static struct api_procedure *begin(struct api_call *call, bool detach)
{
	return gateway_api_procedure_new(call, "vault", NULL, NULL, 0, detach);
}

/* "Will it still open?" */

struct candidate {
	char name[CONFIG_TEXT_MAX];
	enum vault_source source;
	uint8_t slot; /* that the secret was made for; 0: any */
	struct secret *secret;
	char why[160]; /* there is no secret */
};

struct check_job {
	uv_work_t work;
	struct gateway_api *api;
	struct api_procedure *procedure; /* NULL: it has ended */
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
	for (size_t i = 0; c->secret && i < job->count; i++) {
		const struct vault_wrap *w = &job->wraps[i];

		if (w->source == c->source && (c->slot == 0 || c->slot == w->slot) &&
		    vault_check_slot(job->api->vault, w->slot, c->secret) == 0)
			return w->slot;
	}
	return 0;
}

static void note_closed(struct api_procedure *p, const struct candidate *c)
{
	note(p, "%s does not open it: %s", c->name, c->why[0] ? c->why : "it fits no slot");
}

/* A passphrase has a candidate for each wrap of its kind: one that opens is enough. */
static bool note_keys(struct check_job *job)
{
	struct api_procedure *p = job->procedure;
	bool opens[VAULT_SLOTS + 1] = {false};
	const struct candidate *passphrase = NULL;
	bool passphrase_opens = false, good = true;

	for (size_t i = 0; i < job->tried; i++) {
		const struct candidate *c = &job->candidates[i];
		uint8_t slot = slot_of(job, c);

		opens[slot] = true;
		if (slot != 0)
			note(p, "%s opens slot %u", c->name, slot);
		if (c->source == VAULT_SOURCE_PASSPHRASE) {
			passphrase = c;
			passphrase_opens = passphrase_opens || slot != 0;
		} else if (slot == 0) {
			note_closed(p, c);
			good = false;
		}
	}
	if (passphrase && !passphrase_opens)
		note_closed(p, passphrase);
	for (size_t i = 0; i < job->count; i++) {
		if (!opens[job->wraps[i].slot])
			note(p, "slot %u (%s) was not tried", job->wraps[i].slot,
			     job->wraps[i].label);
	}
	return good && (!passphrase || passphrase_opens);
}

static void check_end(struct check_job *job, int status)
{
	struct api_procedure *p = job->procedure;
	uint64_t records = 0, damaged = 0;
	char why[WHY_SIZE] = "";
	bool good = note_keys(job);
	int r = status;

	if (r == 0)
		r = vault_check_rows(p->api->vault, why, sizeof(why));
	if (r == 0)
		r = vault_check_records(p->api->vault, CHECK_RECORDS, &records, &damaged);
	if (r != 0) {
		finish(p, r, why);
		return;
	}
	note(p, "records opened: %" PRIu64 ", damaged: %" PRIu64, records, damaged);
	gateway_api_procedure_finish(
		p, good && damaged == 0 ? VERDICT_DONE : VERDICT_GATEWAY_VAULT_CHECK, NULL, "");
}

static void check_done(uv_work_t *work, int status)
{
	struct check_job *job = work->data;

	if (job->procedure) {
		job->procedure->job = NULL;
		check_end(job, status);
	}
	for (size_t i = 0; i < job->tried; i++)
		secret_unref(job->candidates[i].secret);
	gateway_api_unhold(job->api);
	free(job);
}

static void check_cancel(struct api_procedure *p)
{
	struct check_job *job = p->job;

	job->procedure = NULL;
}

void gateway_api_vault_check(struct api_call *call)
{
	bool detach = false;
	const struct api_option options[] = {{"Detach", 'b', &detach}};
	struct gateway_api *api = call->api;
	struct check_job *job;
	int r;

	if (!gateway_api_read_options(call->m, options, 1))
		return;
	job = calloc(1, sizeof(*job));
	if (!job) {
		gateway_api_errno(call->m, -ENOMEM);
		return;
	}
	job->procedure = begin(call, detach);
	if (!job->procedure) {
		free(job);
		return;
	}
	job->work.data = job;
	job->api = api;
	job->config = *api->options.config;
	gateway_api_procedure_reply(job->procedure, call);
	r = vault_wraps(api->vault, job->wraps, &job->count);
	if (r == 0)
		r = uv_queue_work(api->loop, &job->work, check_work, check_done);
	if (r != 0) {
		finish(job->procedure, r, "the wraps cannot be read");
		free(job);
		return;
	}
	gateway_api_hold(api);
	job->procedure->job = job;
	job->procedure->job_cancel = check_cancel;
}

/* A secret that is to open the vault: made on another thread, given a slot on the loop. */
struct wrap_job {
	uv_work_t work;
	struct gateway_api *api;
	struct api_procedure *procedure; /* NULL: it has ended */
	char path[CONFIG_TEXT_MAX];      /* "": the passphrase */
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

static void wrap_end(struct wrap_job *job, int r)
{
	struct api_procedure *p = job->procedure;
	struct vault *v = p->api->vault;
	uint8_t slot = job->slot;

	if (r == 0 && slot != 0)
		r = vault_wrap_rotate(v, slot, &job->prepared, job->why, sizeof(job->why));
	else if (r == 0)
		r = vault_wrap_add(v, &job->prepared, &slot, job->why, sizeof(job->why));
	if (r == 0)
		(void)snprintf(job->why, sizeof(job->why), "slot %u: %s", slot,
			       job->prepared.wrap.label);
	finish(p, r, job->why);
}

static void wrap_done(uv_work_t *work, int status)
{
	struct wrap_job *job = work->data;

	if (job->procedure) {
		job->procedure->job = NULL;
		wrap_end(job, status != 0 ? status : job->result);
	}
	if (status == 0 && job->result == 0)
		vault_prepared_clear(&job->prepared);
	secret_unref(job->passphrase);
	gateway_api_unhold(job->api);
	free(job);
}

static void wrap_cancel(struct api_procedure *p)
{
	struct wrap_job *job = p->job;

	job->procedure = NULL;
}

static void give_wrap(struct api_procedure *p, uint8_t slot, const char *path,
		      struct secret *passphrase, const char *label)
{
	struct wrap_job *job = calloc(1, sizeof(*job));
	int r = -ENOMEM;

	if (job) {
		job->work.data = job;
		job->api = p->api;
		job->procedure = p;
		job->slot = slot;
		job->passphrase = secret_ref(passphrase);
		(void)snprintf(job->path, sizeof(job->path), "%s", path);
		(void)snprintf(job->label, sizeof(job->label), "%s", label);
		r = uv_queue_work(p->api->loop, &job->work, wrap_work, wrap_done);
	}
	if (r != 0) {
		if (job)
			secret_unref(job->passphrase);
		free(job);
		finish(p, r, "");
		return;
	}
	gateway_api_hold(p->api);
	p->job = job;
	p->job_cancel = wrap_cancel;
}

/* A key file the daemon finds again: absolute, or a credential. False: the caller got an error. */
static bool key_path(struct api_call *call, const char **out)
{
	if (!gateway_api_read_text(call->m, out))
		return false;
	if (((*out)[0] == '/' || strncmp(*out, "credential:", 11) == 0) &&
	    strlen(*out) < CONFIG_TEXT_MAX)
		return true;
	gateway_api_error(call->m, "InvalidArguments",
			  "a key file is named by a path that begins with /, or credential:NAME");
	return false;
}

static bool read_label(struct api_call *call, const char **out)
{
	if (!gateway_api_read_text(call->m, out))
		return false;
	if (strlen(*out) <= VAULT_LABEL_MAX)
		return true;
	gateway_api_error(call->m, "InvalidArguments", "a label has at most %d bytes",
			  VAULT_LABEL_MAX);
	return false;
}

static void wrap_from_file(struct api_call *call, uint8_t slot)
{
	bool detach = false;
	const struct api_option options[] = {{"Detach", 'b', &detach}};
	const char *path, *label;
	struct api_procedure *p;

	if (!key_path(call, &path) || !read_label(call, &label) ||
	    !gateway_api_read_options(call->m, options, 1))
		return;
	p = begin(call, detach);
	if (!p)
		return;
	gateway_api_procedure_reply(p, call);
	give_wrap(p, slot, path, NULL, label);
}

void gateway_api_vault_add_wrap(struct api_call *call)
{
	wrap_from_file(call, 0);
}

void gateway_api_vault_rotate_wrap(struct api_call *call)
{
	uint32_t slot;

	if (!gateway_api_read_u32(call->m, &slot))
		return;
	if (slot < 1 || slot > VAULT_SLOTS)
		gateway_api_error(call->m, "InvalidArguments", "a slot is 1 to %d", VAULT_SLOTS);
	else
		wrap_from_file(call, (uint8_t)slot);
}

static void passphrase_given(struct api_procedure *p, struct secret *secret)
{
	give_wrap(p, 0, "", secret, p->label);
}

void gateway_api_vault_add_passphrase(struct api_call *call)
{
	bool detach = false;
	const struct api_option options[] = {{"Detach", 'b', &detach}};
	struct api_procedure *p;
	const char *label;

	if (!read_label(call, &label) || !gateway_api_read_options(call->m, options, 1) ||
	    !gateway_api_has_agent(call))
		return;
	p = begin(call, detach);
	if (!p)
		return;
	(void)snprintf(p->label, sizeof(p->label), "%s", label);
	p->begin = passphrase_given;
	p->state = API_ASKING;
	gateway_api_procedure_reply(p, call);
	gateway_api_procedure_ask(p, "passphrase");
}

/* Re-keying goes on with the flushes; it is looked whether it is over. */
struct rekey_job {
	uv_timer_t timer;
	struct api_procedure *procedure;
	struct gateway_api *api;
};

static void rekey_closed(uv_handle_t *handle)
{
	struct rekey_job *job = handle->data;

	gateway_api_unhold(job->api);
	free(job);
}

static void rekey_cancel(struct api_procedure *p)
{
	struct rekey_job *job = p->job;

	uv_close((uv_handle_t *)&job->timer, rekey_closed);
}

static void rekey_poll(uv_timer_t *timer)
{
	struct rekey_job *job = timer->data;
	struct api_procedure *p = job->procedure;
	struct vault_rekey_progress progress;
	char text[WHY_SIZE];

	vault_rekey_progress(p->api->vault, &progress);
	if (progress.from != 0 && progress.error == 0)
		return;
	rekey_cancel(p);
	p->job = NULL;
	if (progress.error != 0) {
		note(p, "what is done is kept, and it goes on with the next write");
		finish(p, progress.error, "");
		return;
	}
	(void)snprintf(text, sizeof(text),
		       "generation %" PRIu32 ": %" PRIu64 " records sealed anew, %" PRIu64
		       " damaged",
		       progress.to, progress.done, progress.damaged);
	gateway_api_procedure_finish(
		p, progress.damaged == 0 ? VERDICT_DONE : VERDICT_GATEWAY_VAULT_DAMAGED, NULL,
		text);
}

void gateway_api_vault_rekey(struct api_call *call)
{
	bool detach = false;
	const struct api_option options[] = {{"Detach", 'b', &detach}};
	struct api_procedure *p;
	struct rekey_job *job;
	char why[WHY_SIZE] = "";
	int r;

	if (!gateway_api_read_options(call->m, options, 1))
		return;
	job = calloc(1, sizeof(*job));
	if (!job) {
		gateway_api_errno(call->m, -ENOMEM);
		return;
	}
	p = begin(call, detach);
	if (!p) {
		free(job);
		return;
	}
	gateway_api_procedure_reply(p, call);
	r = vault_rekey_begin(p->api->vault, why, sizeof(why));
	if (r != 0) {
		free(job);
		finish(p, r, why);
		return;
	}
	job->procedure = p;
	job->api = p->api;
	p->job = job;
	p->job_cancel = rekey_cancel;
	(void)uv_timer_init(p->api->loop, &job->timer);
	job->timer.data = job;
	gateway_api_hold(p->api);
	(void)uv_timer_start(&job->timer, rekey_poll, 0, REKEY_POLL_MS);
}
