#include "gateway/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gateway/control.h"
#include "gateway/opening.h"
#include "pan/bearer-local.h"
#include "protocol/p1.h"
#include "storage/vault-manage.h"
#include "wan/client.h"

#define STREAM_BUCKETS 256
/* How long what was erased may stand in the vault's log, in milliseconds. */
#define SCRUB_MS       30000

/* One bearer stream as the core knows it. */
struct stream {
	struct stream *next;
	struct bearer *bearer;
	struct bearer_link *link;
	struct core_link *core_link; /* NULL once the core has closed it */
};

struct pan {
	struct gateway_daemon *daemon;
	struct bearer *bearer; /* NULL when stopped */
	size_t index;
};

struct gateway_daemon {
	uv_loop_t *loop;
	char file[CONFIG_TEXT_MAX];
	struct config config;
	struct gateway_opening *opening; /* NULL once the vault is open */
	struct vault *vault;
	struct core *core;
	struct wan *wan;
	struct tls_context *tls;
	struct pan pans[CONFIG_LISTEN_MAX];
	struct stream *streams[STREAM_BUCKETS];
	struct gateway_control *control;
	uv_prepare_t prepare;
	uv_idle_t sealing; /* while records of the vault are sealed anew */
	uv_timer_t timer;
	uv_timer_t scrubbing;
	uv_signal_t signals[3];
	char last_wan[256];
	struct gateway_health health; /* of the vault when it was opened */
	bool stopping;
	char failure[OPENING_WHY_SIZE];
	struct gateway_daemon_events events;
	void *events_arg;
};

/* One line, one write. */
static void put_line(const struct gateway_daemon *d, const char *text)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "PN GW %s: %s\n", d->config.entity_id.text, text);

	if (n < 0)
		return;
	if ((size_t)n >= sizeof(line)) {
		n = sizeof(line) - 1;
		line[n - 1] = '\n';
	}
	/* Nothing is left to tell it to when standard error is gone. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

static void log_line(void *arg, enum log_level level, const char *text)
{
	static const char *const names[] = {
		[LOG_LEVEL_INFO] = "info",
		[LOG_LEVEL_WARNING] = "warning",
		[LOG_LEVEL_ERROR] = "error",
	};
	char line[640];

	(void)snprintf(line, sizeof(line), "%s: %s", names[level], text);
	put_line(arg, line);
}

static void step_line(void *arg, uint64_t run, enum figure figure, unsigned step,
		      const struct name *user, const struct name *entity)
{
	struct gateway_daemon *d = arg;
	char text[256], line[512];

	(void)snprintf(line, sizeof(line), "%s [user %s%s%s]",
		       step_describe(figure, step, text, sizeof(text)), user->text,
		       entity->text[0] ? ", entity " : "", entity->text);
	put_line(d, line);
	gateway_control_line(d->control, run, line);
}

static void verdict_line(void *arg, uint64_t run, const struct verdict *v)
{
	struct gateway_daemon *d = arg;
	char text[VERDICT_TEXT_SIZE], line[VERDICT_TEXT_SIZE + 16];

	(void)snprintf(line, sizeof(line), "verdict: %s", verdict_describe(v, text, sizeof(text)));
	put_line(d, line);
	gateway_control_verdict(d->control, run, v);
}

static uint64_t now(void *arg)
{
	struct gateway_daemon *d = arg;

	return uv_now(d->loop);
}

static uint64_t wall(void *arg)
{
	struct timespec t;

	(void)arg;
	return clock_gettime(CLOCK_REALTIME, &t) == 0 && t.tv_sec > 0 ? (uint64_t)t.tv_sec : 0;
}

static uint64_t elapsed(void *arg)
{
	struct timespec t;

	(void)arg;
	return clock_gettime(CLOCK_BOOTTIME, &t) == 0 ? (uint64_t)t.tv_sec : 0;
}

static void timer_due(uv_timer_t *timer)
{
	struct gateway_daemon *d = timer->data;

	if (d->core)
		gateway_core_tick(d->core);
}

static void wake(void *arg, uint64_t at)
{
	struct gateway_daemon *d = arg;
	uint64_t t = uv_now(d->loop);

	if (!d->stopping)
		(void)uv_timer_start(&d->timer, timer_due, at > t ? at - t : 0, 0);
}

static void seal_some(uv_idle_t *idle)
{
	struct gateway_daemon *d = idle->data;
	struct vault_rekey_progress before, after;
	char text[160];

	vault_rekey_progress(d->vault, &before);
	(void)vault_flush(d->vault);
	if (vault_rekey_pending(d->vault))
		return;
	(void)uv_idle_stop(idle);
	vault_rekey_progress(d->vault, &after);
	if (after.error != 0) {
		(void)snprintf(text, sizeof(text), "sealing the vault anew stands still: %s",
			       strerror(-after.error));
		log_line(d, LOG_LEVEL_WARNING, text);
	} else if (before.from != 0) {
		(void)snprintf(
			text, sizeof(text),
			"the vault is sealed anew under master key %lu, damaged records: %llu",
			(unsigned long)after.to, (unsigned long long)after.damaged);
		log_line(d, LOG_LEVEL_INFO, text);
	}
}

/* The vault: what a turn of the loop submitted is made durable before the loop sleeps. */
static void before_sleep(uv_prepare_t *prepare)
{
	struct gateway_daemon *d = prepare->data;

	while (d->vault && vault_pending(d->vault))
		(void)vault_flush(d->vault);
	/* While the idle handle is active the loop looks for other work but does not sleep. */
	if (d->vault && !d->stopping && vault_rekey_pending(d->vault))
		(void)uv_idle_start(&d->sealing, seal_some);
}

/* A failure is that of the disk, which the next write tells. */
static void scrub(uv_timer_t *timer)
{
	struct gateway_daemon *d = timer->data;

	if (d->vault && !d->stopping)
		(void)vault_scrub(d->vault);
}

/* PBKDF2 on a thread of the pool. */
struct hash_job {
	uv_work_t work;
	struct gateway_daemon *daemon;
	uint64_t token;
	struct secret *password;
	uint8_t salt[SALT_SIZE];
	uint32_t iterations;
	struct secret *ph;
};

static void hash_work(uv_work_t *work)
{
	struct hash_job *job = work->data;

	if (p1_password_hash(job->password, job->salt, job->iterations, &job->ph) != 0)
		job->ph = NULL;
}

static void hash_done(uv_work_t *work, int status)
{
	struct hash_job *job = work->data;

	if (job->daemon->core)
		gateway_core_hashed(job->daemon->core, job->token, status == 0 ? job->ph : NULL);
	secret_unref(job->password);
	secret_unref(job->ph);
	free(job);
}

static int derive(void *arg, uint64_t token, struct secret *password, const uint8_t salt[SALT_SIZE],
		  uint32_t iterations)
{
	struct gateway_daemon *d = arg;
	struct hash_job *job = calloc(1, sizeof(*job));
	int r;

	if (!job)
		return -ENOMEM;
	job->work.data = job;
	job->daemon = d;
	job->token = token;
	job->password = secret_ref(password);
	memcpy(job->salt, salt, SALT_SIZE);
	job->iterations = iterations;
	r = uv_queue_work(d->loop, &job->work, hash_work, hash_done);
	if (r != 0) {
		secret_unref(job->password);
		free(job);
	}
	return r;
}

/* The WAN. */
struct post {
	struct gateway_daemon *daemon;
	struct wan_request *request;
	uint64_t token;
};

static void post_answered(void *arg, const struct wan_answer *answer)
{
	struct post *post = arg;
	struct core *core = post->daemon->core;
	uint64_t token = post->token;

	free(post);
	if (!core)
		return;
	switch (answer->result) {
	case WAN_ANSWERED:
		gateway_core_answered(core, token, answer->body);
		return;
	case WAN_DOWN:
		gateway_core_wan_failed(core, token, WAN_FAILURE_DOWN);
		return;
	case WAN_LOST:
	case WAN_CANCELLED:
		gateway_core_wan_failed(core, token, WAN_FAILURE_LOST);
		return;
	case WAN_DEADLINE:
		gateway_core_wan_failed(core, token, WAN_FAILURE_SILENT);
		return;
	case WAN_BAD_ANSWER:
		gateway_core_wan_failed(core, token, WAN_FAILURE_ANSWER);
		return;
	}
}

static int post_message(void *arg, struct bytes xml, unsigned deadline_ms, uint64_t pin,
			uint64_t token, void **request)
{
	struct gateway_daemon *d = arg;
	struct post *post;
	int r;

	if (!d->wan)
		return -ENOTCONN;
	post = malloc(sizeof(*post));
	if (!post)
		return -ENOMEM;
	post->daemon = d;
	post->token = token;
	r = wan_post(d->wan, xml, deadline_ms, pin, post_answered, post, &post->request);
	if (r != 0) {
		free(post);
		return r;
	}
	*request = post;
	return 0;
}

static void post_cancel(void *arg, void *request)
{
	struct post *post = request;

	(void)arg;
	wan_cancel(post->request);
	free(post);
}

static void wan_changed(void *arg, const struct wan_state *state)
{
	struct gateway_daemon *d = arg;
	struct core_wan wan = {.up = state->up,
			       .mutual = state->mutual,
			       .tls_refused = state->tls_refused,
			       .why = state->why};
	char text[256];

	if (!d->core || !d->wan)
		return;
	if (state->up) {
		wan.exporter = wan_exporter(d->wan);
		wan.generation = wan_generation(d->wan);
		(void)snprintf(text, sizeof(text), "WAN is up: %s, %s%s",
			       state->http2 ? "HTTP/2" : "HTTP/1.1",
			       state->mutual ? "mutually authenticated"
					     : "only the server is authenticated",
			       state->resumed ? ", session resumed" : "");
	} else {
		(void)snprintf(text, sizeof(text), "WAN is down: %s", state->why);
	}
	if (strcmp(text, d->last_wan) != 0) {
		(void)snprintf(d->last_wan, sizeof(d->last_wan), "%s", text);
		log_line(d, state->up ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, text);
	}
	gateway_core_wan_state(d->core, &wan);
}

static const char *or_null(const char *text)
{
	return text[0] ? text : NULL;
}

static int tls_of(const struct config *config, struct tls_context **out, char *why, size_t why_size)
{
	static const char *const alpn[] = {"h2", "http/1.1", NULL};
	struct tls_options options = {
		.side = TLS_CLIENT,
		.allow_tls12 = config->tls_allow_tls12,
		.ca_file = or_null(config->tls_ca),
		.certificate_file = or_null(config->tls_certificate),
		.key_file = or_null(config->tls_key),
		.psk_file = or_null(config->tls_psk_file),
		.alpn = alpn,
	};

	return tls_context_new(&options, out, why, why_size);
}

int gateway_daemon_check(const struct config *config, char *why, size_t why_size)
{
	struct tls_context *tls;
	int r = tls_of(config, &tls, why, why_size);

	if (r == 0)
		tls_context_unref(tls);
	return r;
}

static void wan_stopped(void *arg);

static int start_wan(struct gateway_daemon *d)
{
	struct wan_options options = {
		.host = d->config.host,
		.verify_name = or_null(d->config.verify_name),
		.port = (uint16_t)d->config.port,
		.path = d->config.path,
		.tls = d->tls,
		.max_in_flight = 100,
		.max_waiting = d->config.max_requests + d->config.max_procedures,
		.connect_timeout_ms = d->config.connect_timeout,
		.backoff_min_ms = d->config.backoff_min,
		.backoff_max_ms = d->config.backoff_max,
		.keepalive_ms = d->config.keepalive,
	};
	static const struct wan_callbacks callbacks = {.state = wan_changed,
						       .stopped = wan_stopped};
	int r = wan_new(d->loop, &options, &callbacks, d, &d->wan);

	if (r == 0)
		wan_start(d->wan);
	return r;
}

/* After a reload the next connection has the new credentials. */
static void wan_stopped(void *arg)
{
	struct gateway_daemon *d = arg;
	int r;

	if (d->stopping)
		return;
	r = start_wan(d);
	if (r != 0) {
		log_line(d, LOG_LEVEL_ERROR, "the WAN connection cannot be made: stopping");
		gateway_daemon_stop(d);
	}
}

/* The PAN. */

static struct stream **stream_at(struct gateway_daemon *d, const struct bearer_link *link)
{
	struct stream **at = &d->streams[((uintptr_t)link >> 6) % STREAM_BUCKETS];

	while (*at && (*at)->link != link)
		at = &(*at)->next;
	return at;
}

static void pan_link_up(void *arg, struct bearer_link *l, enum pan_security level, const char *peer)
{
	struct pan *pan = arg;
	struct gateway_daemon *d = pan->daemon;
	struct stream **at = stream_at(d, l);
	struct stream *s = calloc(1, sizeof(*s));

	if (!s) {
		bearer_drop(pan->bearer, l, BEARER_DOWN_CLOSED);
		return;
	}
	s->bearer = pan->bearer;
	s->link = l;
	*at = s;
	if (!d->core || gateway_core_stream_up(d->core, s, level, peer, &s->core_link) != 0)
		bearer_drop(pan->bearer, l, BEARER_DOWN_CLOSED);
}

static void pan_link_bytes(void *arg, struct bearer_link *l, struct bytes input)
{
	struct gateway_daemon *d = ((struct pan *)arg)->daemon;
	struct stream *s = *stream_at(d, l);

	if (s && s->core_link)
		gateway_core_stream_bytes(d->core, s->core_link, input);
}

static void pan_security(void *arg, struct bearer_link *l, enum pan_security level)
{
	struct gateway_daemon *d = ((struct pan *)arg)->daemon;
	struct stream *s = *stream_at(d, l);

	if (s && s->core_link)
		gateway_core_stream_security(d->core, s->core_link, level);
}

static void pan_link_down(void *arg, struct bearer_link *l, enum bearer_down why, int error)
{
	struct gateway_daemon *d = ((struct pan *)arg)->daemon;
	struct stream **at = stream_at(d, l);
	struct stream *s = *at;

	if (!s)
		return;
	*at = s->next;
	if (s->core_link)
		gateway_core_stream_down(d->core, s->core_link, why, error);
	free(s);
}

static void pan_connect_failed(void *arg, const char *address, int error, const char *why)
{
	(void)arg;
	(void)address;
	(void)error;
	(void)why;
}

static void pan_stopped(void *arg)
{
	(void)arg;
}

static int stream_write(void *arg, void *stream, struct bytes frame)
{
	struct stream *s = stream;

	(void)arg;
	return bearer_send(s->bearer, s->link, frame);
}

static void stream_close(void *arg, void *stream)
{
	struct stream *s = stream;

	(void)arg;
	s->core_link = NULL;
	bearer_drop(s->bearer, s->link, BEARER_DOWN_CLOSED);
}

static const struct core_ports ports = {
	.post = post_message,
	.cancel = post_cancel,
	.derive = derive,
	.write = stream_write,
	.close = stream_close,
	.now = now,
	.wall = wall,
	.elapsed = elapsed,
	.wake = wake,
	.log = log_line,
	.step = step_line,
	.verdict = verdict_line,
};

static int start_pan(struct gateway_daemon *d, size_t i, char *why, size_t why_size)
{
	static const struct bearer_callbacks callbacks = {
		.link_up = pan_link_up,
		.link_bytes = pan_link_bytes,
		.security = pan_security,
		.link_down = pan_link_down,
		.connect_failed = pan_connect_failed,
		.stopped = pan_stopped,
	};
	const struct config_listen *l = &d->config.listen[i];
	struct bearer_local_options options = {.listen = l->address,
					       .security = l->security,
					       .quota = d->config.queue,
					       .max_links = d->config.max_links};
	struct pan *pan = &d->pans[i];
	int r;

	pan->daemon = d;
	pan->index = i;
	r = bearer_local_new(d->loop, &options, &callbacks, pan, &pan->bearer);
	if (r == 0)
		r = bearer_start(pan->bearer);
	if (r != 0)
		(void)snprintf(why, why_size, "pan.listen %s: %s", l->address, strerror(-r));
	return r;
}

/* Control. */

static void status_lines(void *arg, void (*line)(void *line_arg, const char *text), void *line_arg)
{
	struct gateway_daemon *d = arg;
	const struct wan_state *state = d->wan ? wan_state(d->wan) : NULL;
	char text[256];

	if (state && state->up)
		(void)snprintf(text, sizeof(text), "WAN: up, %s, %s",
			       state->http2 ? "HTTP/2" : "HTTP/1.1",
			       state->mutual ? "mutual" : "not mutual");
	else
		(void)snprintf(text, sizeof(text), "WAN: down, %s",
			       state ? state->why : "restarting");
	line(line_arg, text);
	if (d->health.count > 0)
		line(line_arg, "vault: DAMAGED when it was opened, see vault status");
	if (d->vault && vault_rollback(d->vault))
		line(line_arg, "vault: an older copy was put back, see vault status");
}

static void damage_lines(void *arg, void (*line)(void *line_arg, const char *text), void *line_arg)
{
	const struct gateway_daemon *d = arg;

	for (size_t i = 0; i < d->health.count; i++)
		line(line_arg, d->health.lines[i]);
}

/* SIGHUP: credentials and limits; what names this PN GW or its files needs a restart. */
static void reload(struct gateway_daemon *d)
{
	struct config config;
	struct core_options options;
	struct tls_context *tls;
	char why[512];

	if (gateway_config_load(d->file, &config, why, sizeof(why)) != 0 ||
	    tls_of(&config, &tls, why, sizeof(why)) != 0) {
		log_line(d, LOG_LEVEL_ERROR, why);
		return;
	}
	tls_context_unref(d->tls);
	d->tls = tls;
	config.entity_id = d->config.entity_id;
	config.server_entity_id = d->config.server_entity_id;
	config.listen_count = d->config.listen_count;
	memcpy(config.listen, d->config.listen, sizeof(config.listen));
	d->config = config;
	if (d->core) {
		gateway_config_core_options(&d->config, &options);
		gateway_core_set_options(d->core, &options);
	}
	log_line(d, LOG_LEVEL_INFO, "configuration read again");
	if (d->wan) {
		struct wan *old = d->wan;
		struct core_wan down = {.why = "new credentials"};

		d->wan = NULL;
		d->last_wan[0] = '\0';
		gateway_core_wan_state(d->core, &down);
		wan_stop(old);
	}
}

static void signalled(uv_signal_t *signal, int number)
{
	struct gateway_daemon *d = signal->data;

	if (number == SIGHUP)
		reload(d);
	else
		gateway_daemon_stop(d);
}

static void watch_signals(struct gateway_daemon *d)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};

	for (size_t i = 0; i < 3; i++) {
		(void)uv_signal_init(d->loop, &d->signals[i]);
		d->signals[i].data = d;
		(void)uv_signal_start(&d->signals[i], signalled, numbers[i]);
	}
}

static void fail(struct gateway_daemon *d, const char *why)
{
	(void)snprintf(d->failure, sizeof(d->failure), "%s", why);
	gateway_daemon_stop(d);
}

/* With the vault open, PNEs may come and the server is sought. */
static int begin(struct gateway_daemon *d, char *why, size_t why_size)
{
	struct core_options options;
	int r;

	gateway_config_core_options(&d->config, &options);
	r = gateway_core_new(&options, d->vault, &ports, d, &d->core);
	if (r != 0) {
		(void)snprintf(why, why_size, "vault: %s", strerror(r < 0 ? -r : EIO));
		return r < 0 ? r : -EIO;
	}
	for (size_t i = 0; i < d->config.listen_count; i++) {
		r = start_pan(d, i, why, why_size);
		if (r != 0)
			return r;
	}
	gateway_control_ready(d->control, d->core, d->vault);
	r = start_wan(d);
	if (r != 0)
		(void)snprintf(why, why_size, "WAN: %s", strerror(-r));
	return r;
}

static void vault_opened(void *arg, int result, struct vault *v, const char *why,
			 const struct gateway_health *health)
{
	struct gateway_daemon *d = arg;
	char text[OPENING_WHY_SIZE];

	d->opening = NULL;
	if (result != 0) {
		(void)snprintf(text, sizeof(text), "%s",
			       why[0] ? why : strerror(result < 0 ? -result : EACCES));
		fail(d, text);
		return;
	}
	d->vault = v;
	if (why[0])
		log_line(d, LOG_LEVEL_WARNING, why);
	d->health = *health;
	for (size_t i = 0; i < health->count; i++)
		log_line(d, LOG_LEVEL_ERROR, health->lines[i]);
	if (begin(d, text, sizeof(text)) != 0) {
		fail(d, text);
		return;
	}
	(void)uv_timer_start(&d->scrubbing, scrub, SCRUB_MS, SCRUB_MS);
	log_line(d, LOG_LEVEL_INFO, "ready");
	if (d->events.ready)
		d->events.ready(d->events_arg, d);
}

int gateway_daemon_new(uv_loop_t *loop, const char *file, const struct config *config,
		       const struct gateway_daemon_events *events, void *arg,
		       struct gateway_daemon **out, char *why, size_t why_size)
{
	struct gateway_control_options control = {
		.path = config->control_socket, .status = status_lines, .damage = damage_lines};
	struct gateway_daemon *d = calloc(1, sizeof(*d));
	int r;

	if (!d) {
		(void)snprintf(why, why_size, "out of memory");
		return -ENOMEM;
	}
	d->loop = loop;
	d->config = *config;
	d->events = *events;
	d->events_arg = arg;
	(void)snprintf(d->file, sizeof(d->file), "%s", file);
	(void)uv_prepare_init(loop, &d->prepare);
	(void)uv_idle_init(loop, &d->sealing);
	(void)uv_timer_init(loop, &d->timer);
	(void)uv_timer_init(loop, &d->scrubbing);
	d->prepare.data = d;
	d->sealing.data = d;
	d->scrubbing.data = d;
	d->timer.data = d;
	(void)uv_prepare_start(&d->prepare, before_sleep);
	watch_signals(d);
	*out = d;

	r = tls_of(&d->config, &d->tls, why, why_size);
	if (r != 0)
		return r;
	control.config = &d->config;
	control.arg = d;
	r = gateway_control_new(loop, &control, &d->control);
	if (r != 0) {
		(void)snprintf(why, why_size, "control %s: %s", config->control_socket,
			       strerror(-r));
		return r;
	}
	r = gateway_opening_start(loop, &d->config, vault_opened, d, &d->opening);
	if (r != 0)
		(void)snprintf(why, why_size, "vault: %s", strerror(-r));
	return r;
}

void gateway_daemon_stop(struct gateway_daemon *d)
{
	struct core *core = d->core;
	struct wan *wan = d->wan;

	if (d->stopping)
		return;
	d->stopping = true;
	log_line(d, LOG_LEVEL_INFO, "stopping");
	if (d->events.stopping)
		d->events.stopping(d->events_arg);
	if (d->opening)
		gateway_opening_abandon(d->opening);
	d->opening = NULL;
	gateway_core_free(core);
	d->core = NULL;
	d->wan = NULL;
	if (d->control)
		gateway_control_stop(d->control);
	d->control = NULL;
	if (wan)
		wan_stop(wan);
	for (size_t i = 0; i < d->config.listen_count; i++) {
		if (d->pans[i].bearer)
			bearer_stop(d->pans[i].bearer);
	}
	uv_close((uv_handle_t *)&d->prepare, NULL);
	uv_close((uv_handle_t *)&d->sealing, NULL);
	uv_close((uv_handle_t *)&d->timer, NULL);
	uv_close((uv_handle_t *)&d->scrubbing, NULL);
	for (size_t i = 0; i < 3; i++)
		uv_close((uv_handle_t *)&d->signals[i], NULL);
}

const char *gateway_daemon_failure(const struct gateway_daemon *d)
{
	return d->failure[0] ? d->failure : NULL;
}

void gateway_daemon_free(struct gateway_daemon *d)
{
	if (!d)
		return;
	vault_close(d->vault);
	tls_context_unref(d->tls);
	free(d);
}
