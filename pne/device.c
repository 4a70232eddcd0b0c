#include "pne/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pan/bearer-local.h"
#include "pan/link.h"
#include "protocol/p1.h"

#define RECONNECT_FIRST_MS 100U
#define RECONNECT_LAST_MS  5000U
#define SETTLE_TOKEN       1U

enum { TIMER_RECONNECT, TIMER_FIGURE_5, TIMER_FIGURE_6, TIMER_SCRUB, TIMERS };

/* How long what was erased may stand in the vault's log, in milliseconds. */
#define SCRUB_MS 30000

struct derivation {
	uv_work_t work;
	struct pne_device *device;
	struct secret *password, *ph;
	uint8_t salt[SALT_SIZE];
	uint32_t iterations;
	int result;
};

struct pne_device {
	uv_loop_t *loop;
	struct pne_device_callbacks callbacks;
	void *arg;
	struct name entity;
	char *address;
	enum pan_security secure_from;
	bool ui;
	struct vault *vault;
	struct pne_core *core;
	struct bearer *bearer;
	struct bearer_link *stream; /* NULL while there is none */
	struct link *link;
	bool secure;
	bool told; /* whoever reads the log knows that the PN GW is out of reach */
	unsigned pause_ms;
	struct derivation *derivation;
	uv_timer_t timers[TIMERS];
	uv_prepare_t prepare;
	uv_check_t check;
	unsigned unclosed; /* handles, the bearer and the derivation */
	bool closing, settling;
};

static void say(struct pne_device *d, const char *level, const char *text, const char *detail)
{
	char line[512];

	(void)snprintf(line, sizeof(line), "PNE %s: %s: %s%s%s", d->entity.text, level, text,
		       detail ? ": " : "", detail ? detail : "");
	d->callbacks.line(d->arg, line);
}

/* A failure is that of the disk, which the next write tells. */
static void on_scrub(uv_timer_t *timer)
{
	const struct pne_device *d = timer->data;

	(void)vault_scrub(d->vault);
}

/* Once a turn, before and after waiting: what was submitted becomes durable. */
static void flush(struct pne_device *d)
{
	bool written = vault_pending(d->vault);

	while (vault_pending(d->vault))
		(void)vault_flush(d->vault);
	if (written && !d->closing && !uv_is_active((uv_handle_t *)&d->timers[TIMER_SCRUB]))
		(void)uv_timer_start(&d->timers[TIMER_SCRUB], on_scrub, SCRUB_MS, 0);
}

/* The last thing that was open is closed. */
static void one_closed(struct pne_device *d)
{
	if (--d->unclosed > 0)
		return;
	flush(d);
	vault_close(d->vault);
	pne_core_free(d->core);
	if (d->callbacks.stopped)
		d->callbacks.stopped(d->arg, d);
	free(d->address);
	free(d);
}

static void on_closed(uv_handle_t *handle)
{
	one_closed(handle->data);
}

static void settled(struct pne_device *d)
{
	if (!d->settling)
		return;
	d->settling = false;
	d->callbacks.settled(d->arg, d);
}

/* The stream and its link. */

static void connect_later(struct pne_device *d);

static void on_reconnect(uv_timer_t *timer)
{
	struct pne_device *d = timer->data;
	int r = bearer_connect(d->bearer, d->address);

	if (r == 0)
		return;
	if (!d->told)
		say(d, "warning", "cannot connect, trying again", strerror(-r));
	d->told = true;
	connect_later(d);
}

/* Half of the pause is random, so that a thousand PNEs do not knock at once. */
static void connect_later(struct pne_device *d)
{
	uint16_t random = 0;
	uint64_t ms;

	if (d->closing || !d->address)
		return;
	if (p1_random((uint8_t *)&random, sizeof(random)) < 0)
		random = 0;
	ms = d->pause_ms / 2 + d->pause_ms * (uint64_t)random / 2 / UINT16_MAX;
	d->pause_ms = d->pause_ms * 2 > RECONNECT_LAST_MS ? RECONNECT_LAST_MS : d->pause_ms * 2;
	(void)uv_timer_start(&d->timers[TIMER_RECONNECT], on_reconnect, ms, 0);
}

static void link_send(void *arg, struct bytes frame)
{
	struct pne_device *d = arg;

	if (d->stream && !d->closing)
		(void)bearer_send(d->bearer, d->stream, frame);
}

static void link_peer_up(void *arg, const struct hello *peer)
{
	struct pne_device *d = arg;

	d->pause_ms = RECONNECT_FIRST_MS;
	d->told = false;
	pne_core_link_up(d->core, peer, link_secret(d->link), link_binding(d->link), d->secure);
}

static void link_message(void *arg, struct bytes xml)
{
	struct pne_device *d = arg;

	if (!d->closing)
		pne_core_message(d->core, xml);
}

static void link_receipt(void *arg, const struct receipt *r)
{
	struct pne_device *d = arg;

	if (!d->closing)
		pne_core_receipt(d->core, r);
}

static void link_pong(void *arg, uint64_t token)
{
	if (token == SETTLE_TOKEN)
		settled(arg);
}

static void link_broken(void *arg, enum link_broken why)
{
	struct pne_device *d = arg;

	say(d, "warning", "the link is dropped", link_broken_text(why));
	if (!d->closing)
		bearer_drop(d->bearer, d->stream, BEARER_DOWN_ERROR);
}

static void end_stream(struct pne_device *d)
{
	bool was_up = d->link && link_is_up(d->link);

	d->stream = NULL;
	link_free(d->link);
	d->link = NULL;
	if (was_up && !d->closing)
		pne_core_link_down(d->core);
}

static void stream_up(void *arg, struct bearer_link *l, enum pan_security level, const char *peer)
{
	static const struct link_callbacks callbacks = {
		.send = link_send,
		.up = link_peer_up,
		.message = link_message,
		.receipt = link_receipt,
		.pong = link_pong,
		.broken = link_broken,
	};
	struct pne_device *d = arg;
	struct hello self = {.flags = d->ui ? HELLO_FLAG_UI : 0, .entity = d->entity};
	int r;

	(void)peer;
	/* The PN GW knows sooner than this end that a stream is lost. */
	if (d->stream) {
		bearer_drop(d->bearer, d->stream, BEARER_DOWN_PEER);
		end_stream(d);
	}
	d->stream = l;
	(void)uv_timer_stop(&d->timers[TIMER_RECONNECT]);
	d->secure = level >= d->secure_from;
	r = link_new(&self, &callbacks, d, &d->link);
	if (r < 0) {
		say(d, "error", "cannot begin a link", strerror(-r));
		bearer_drop(d->bearer, l, BEARER_DOWN_ERROR);
		return;
	}
	link_start(d->link);
}

static void stream_bytes(void *arg, struct bearer_link *l, struct bytes input)
{
	struct pne_device *d = arg;

	if (l == d->stream && d->link && !d->closing)
		(void)link_push(d->link, input);
}

/* A link that was trusted as more than it is now is begun anew. */
static void stream_security(void *arg, struct bearer_link *l, enum pan_security level)
{
	struct pne_device *d = arg;

	if (l == d->stream && d->secure != (level >= d->secure_from))
		bearer_drop(d->bearer, l, BEARER_DOWN_CLOSED);
}

static void stream_down(void *arg, struct bearer_link *l, enum bearer_down why, int error)
{
	struct pne_device *d = arg;

	(void)why;
	if (l != d->stream)
		return;
	if (error < 0 && !d->closing)
		say(d, "warning", "the stream to the PN GW failed", strerror(-error));
	end_stream(d);
	settled(d);
	connect_later(d);
}

static void stream_failed(void *arg, const char *address, int error, const char *why)
{
	struct pne_device *d = arg;

	(void)address;
	(void)error;
	if (!d->told && !d->closing) {
		say(d, "info", "the PN GW cannot be reached, trying again", why);
		d->told = true;
	}
	connect_later(d);
}

static void bearer_gone(void *arg)
{
	struct pne_device *d = arg;

	d->bearer = NULL;
	one_closed(d);
}

/* The core's ports. */

static int port_message(void *arg, struct bytes xml)
{
	struct pne_device *d = arg;

	return d->link && !d->closing ? link_send_message(d->link, xml) : -ENOTCONN;
}

static int port_receipt(void *arg, const struct receipt *r)
{
	struct pne_device *d = arg;

	return d->link && !d->closing ? link_send_receipt(d->link, r) : -ENOTCONN;
}

static int port_submit(void *arg, struct vault_batch *b, vault_done_fn *done, void *done_arg)
{
	struct pne_device *d = arg;

	return vault_submit(d->vault, b, done, done_arg);
}

static void derive_work(uv_work_t *work)
{
	struct derivation *w = work->data;

	w->result = p1_password_hash(w->password, w->salt, w->iterations, &w->ph);
}

static void derive_done(uv_work_t *work, int status)
{
	struct derivation *w = work->data;
	struct pne_device *d = w->device;

	d->derivation = NULL;
	if (!d->closing)
		pne_core_derived(d->core, status < 0 ? status : w->result, w->ph);
	secret_unref(w->password);
	secret_unref(w->ph);
	free(w);
	one_closed(d);
}

static int port_derive(void *arg, struct secret *password, const uint8_t salt[SALT_SIZE],
		       uint32_t iterations)
{
	struct pne_device *d = arg;
	struct derivation *w;
	int r;

	if (d->derivation || d->closing)
		return -EBUSY;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->work.data = w;
	w->device = d;
	w->password = secret_ref(password);
	memcpy(w->salt, salt, SALT_SIZE);
	w->iterations = iterations;
	r = uv_queue_work(d->loop, &w->work, derive_work, derive_done);
	if (r < 0) {
		secret_unref(w->password);
		free(w);
		return r;
	}
	d->derivation = w;
	d->unclosed++;
	return 0;
}

static void on_figure_5(uv_timer_t *timer)
{
	struct pne_device *d = timer->data;

	pne_core_timer(d->core, FIGURE_5);
}

static void on_figure_6(uv_timer_t *timer)
{
	struct pne_device *d = timer->data;

	pne_core_timer(d->core, FIGURE_6);
}

static void port_timer(void *arg, enum figure figure, uint64_t ms)
{
	struct pne_device *d = arg;
	bool five = figure == FIGURE_5;
	uv_timer_t *timer = &d->timers[five ? TIMER_FIGURE_5 : TIMER_FIGURE_6];

	if (d->closing)
		return;
	if (ms == 0)
		(void)uv_timer_stop(timer);
	else
		(void)uv_timer_start(timer, five ? on_figure_5 : on_figure_6, ms, 0);
}

static uint64_t port_now(void *arg)
{
	struct pne_device *d = arg;

	uv_update_time(d->loop);
	return uv_now(d->loop);
}

static void port_line(void *arg, const char *text)
{
	struct pne_device *d = arg;

	d->callbacks.line(d->arg, text);
}

static void port_verdict(void *arg, const struct verdict *v)
{
	struct pne_device *d = arg;

	if (!d->closing)
		d->callbacks.verdict(d->arg, d, v);
}

static void on_prepare(uv_prepare_t *handle)
{
	flush(handle->data);
}

static void on_check(uv_check_t *handle)
{
	flush(handle->data);
}

static void init_handles(struct pne_device *d)
{
	for (size_t i = 0; i < TIMERS; i++) {
		(void)uv_timer_init(d->loop, &d->timers[i]);
		d->timers[i].data = d;
	}
	(void)uv_prepare_init(d->loop, &d->prepare);
	d->prepare.data = d;
	(void)uv_check_init(d->loop, &d->check);
	d->check.data = d;
	d->unclosed = TIMERS + 2 + 1; /* and the bearer */
}

static void done_nothing(void *arg, int result)
{
	int *out = arg;

	*out = result;
}

static int burn_in(struct vault *v, const struct name *entity, const struct secret *temporary_key)
{
	struct vault_id id = {.kind = VAULT_TEMPORARY_KEY, .owner = name_bytes(entity)};
	struct vault_content content;
	struct vault_batch *b;
	int result = -ECANCELED;
	int r;

	if (!temporary_key)
		return 0;
	r = vault_get(v, &id, &content);
	if (r == 0)
		vault_content_free(&content);
	if (r != VAULT_ABSENT)
		return r;
	b = vault_batch_new();
	if (!b)
		return -ENOMEM;
	pne_core_burn_in(b, entity, temporary_key);
	r = vault_submit(v, b, done_nothing, &result);
	if (r < 0)
		return r;
	(void)vault_flush(v);
	return result;
}

static const char *why_text(int r)
{
	return r < 0 ? strerror(-r) : "a record in the vault is damaged";
}

static int make_bearer(struct pne_device *d, const struct pne_device_options *options,
		       const struct bearer_callbacks *callbacks)
{
	const struct bearer_local_options local = {.security = options->security};

	if (options->bearer)
		return options->bearer(options->bearer_arg, d->loop, callbacks, d, &d->bearer);
	return bearer_local_new(d->loop, &local, callbacks, d, &d->bearer);
}

int pne_device_new(uv_loop_t *loop, const struct pne_device_options *options,
		   const struct pne_device_callbacks *callbacks, void *arg, struct pne_device **out,
		   char *why, size_t why_size)
{
	static const struct bearer_callbacks stream = {
		.link_up = stream_up,
		.link_bytes = stream_bytes,
		.security = stream_security,
		.link_down = stream_down,
		.connect_failed = stream_failed,
		.stopped = bearer_gone,
	};
	static const struct pne_ports ports = {
		.send_message = port_message,
		.send_receipt = port_receipt,
		.submit = port_submit,
		.derive = port_derive,
		.timer = port_timer,
		.now = port_now,
		.line = port_line,
		.verdict = port_verdict,
	};
	struct pne_device *d = calloc(1, sizeof(*d));
	int r;

	if (!d) {
		(void)snprintf(why, why_size, "out of memory");
		return -ENOMEM;
	}
	d->loop = loop;
	d->callbacks = *callbacks;
	d->arg = arg;
	d->entity = options->core.entity;
	d->secure_from = options->secure_from;
	d->ui = options->ui;
	d->pause_ms = RECONNECT_FIRST_MS;
	r = vault_open(&options->vault, &d->vault, why, why_size);
	if (r != 0)
		goto fail;
	d->address = options->connect ? strdup(options->connect) : NULL;
	r = options->connect && !d->address ? -ENOMEM
					    : burn_in(d->vault, &d->entity, options->temporary_key);
	if (r != 0)
		goto fail_why;
	init_handles(d);
	r = pne_core_new(&options->core, d->vault, &ports, d, &d->core);
	if (r == 0)
		r = make_bearer(d, options, &stream);
	if (r != 0)
		goto fail_handles;
	*out = d;
	return 0;

fail_handles:
	/* The handles are not started: they are closed, and the device freed, without being heard.
	 */
	(void)snprintf(why, why_size, "%s", why_text(r));
	d->callbacks = (struct pne_device_callbacks){0};
	pne_device_stop(d);
	return r;
fail_why:
	(void)snprintf(why, why_size, "%s", why_text(r));
fail:
	vault_close(d->vault);
	free(d->address);
	free(d);
	return r;
}

void pne_device_start(struct pne_device *d)
{
	int r;

	(void)uv_prepare_start(&d->prepare, on_prepare);
	(void)uv_check_start(&d->check, on_check);
	r = bearer_start(d->bearer);
	if (r < 0)
		say(d, "error", "nothing can come in", strerror(-r));
	if (d->address)
		on_reconnect(&d->timers[TIMER_RECONNECT]);
}

void pne_device_stop(struct pne_device *d)
{
	if (d->closing)
		return;
	d->closing = true;
	if (d->derivation)
		(void)uv_cancel((uv_req_t *)&d->derivation->work);
	for (size_t i = 0; i < TIMERS; i++)
		uv_close((uv_handle_t *)&d->timers[i], on_closed);
	uv_close((uv_handle_t *)&d->prepare, on_closed);
	uv_close((uv_handle_t *)&d->check, on_closed);
	if (d->bearer)
		bearer_stop(d->bearer);
	else
		d->unclosed--;
}

void pne_device_enter(struct pne_device *d, const struct name *user, struct secret *password)
{
	if (!d->closing)
		pne_core_enter(d->core, user, password);
}

void pne_device_settle(struct pne_device *d)
{
	d->settling = true;
	if (!d->link || link_send_ping(d->link, SETTLE_TOKEN) < 0)
		settled(d);
}

void pne_device_note(void *d, const char *text)
{
	say(d, "info", text, NULL);
}

const struct pne_core *pne_device_core(const struct pne_device *d)
{
	return d->core;
}
