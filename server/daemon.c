#include "server/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "protocol/notify.h"
#include "protocol/process.h"
#include "server/core.h"
#include "wan/library.h"
#include "wan/listener.h"
#include "wan/tls-config.h"

#define LINE_MAX_SIZE 1024

struct daemon {
	const struct server_config *config;
	uv_loop_t loop;
	uv_signal_t signals[3];
	uv_timer_t alive;
	struct listener *listener;
	struct core *core;
	struct store *store;
	bool stopping;
};

struct derivation {
	uv_work_t work;
	struct daemon *daemon;
	struct core_job *job;
	struct secret *password;
	struct secret *ph;
	uint8_t salt[SALT_SIZE];
	uint32_t iterations;
};

void server_daemon_line(const char *text)
{
	char line[LINE_MAX_SIZE];
	int n = snprintf(line, sizeof(line), "%s\n", text);
	size_t size = n < 0 ? 0 : (size_t)n;
	ssize_t written;

	if (size >= sizeof(line)) {
		size = sizeof(line) - 1;
		line[size - 1] = '\n';
	}
	do
		written = write(STDERR_FILENO, line, size);
	while (written < 0 && errno == EINTR);
}

__attribute__((format(printf, 2, 3))) static void say(const struct daemon *d, const char *format,
						      ...)
{
	char text[LINE_MAX_SIZE];
	int n = snprintf(text, sizeof(text), "SERVER %s: ", d->config->entity_id.text);
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text + n, sizeof(text) - (size_t)n, format, ap);
	va_end(ap);
	server_daemon_line(text);
}

static void derive_work(uv_work_t *work)
{
	struct derivation *v = work->data;

	if (p1_password_hash(v->password, v->salt, v->iterations, &v->ph) < 0)
		v->ph = NULL;
}

static void derive_done(uv_work_t *work, int status)
{
	struct derivation *v = work->data;

	core_derived(v->job, status == 0 ? v->ph : NULL);
	secret_unref(v->password);
	secret_unref(v->ph);
	free(v);
}

static int derive(void *arg, struct core_job *job, struct secret *password,
		  const uint8_t salt[SALT_SIZE], uint32_t iterations)
{
	struct daemon *d = arg;
	struct derivation *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return -ENOMEM;
	v->work.data = v;
	v->daemon = d;
	v->job = job;
	v->password = secret_ref(password);
	memcpy(v->salt, salt, sizeof(v->salt));
	v->iterations = iterations;
	r = uv_queue_work(&d->loop, &v->work, derive_work, derive_done);
	if (r < 0) {
		secret_unref(v->password);
		free(v);
	}
	return r;
}

static void answer(void *arg, void *reply, int http, struct bytes body, const char *challenge)
{
	(void)arg;
	listener_answer(reply, http, body, challenge);
}

static void line(void *arg, const char *text)
{
	(void)arg;
	server_daemon_line(text);
}

static uint64_t now_ms(void *arg)
{
	(void)arg;
	return uv_hrtime() / 1000000;
}

static int64_t wall_time(void *arg)
{
	(void)arg;
	return (int64_t)time(NULL);
}

static void request(void *arg, struct listener_request *r, struct bytes body,
		    struct bytes authorization, const struct listener_peer *peer)
{
	struct daemon *d = arg;
	const struct server_peer known = {.mutual = peer->mutual,
					  .entity = peer->entity,
					  .exporter = peer->mutual ? peer->exporter : NULL,
					  .session = peer->state};

	core_request(d->core, body, authorization, &known, r);
}

static void stopped(void *arg)
{
	struct daemon *d = arg;

	d->listener = NULL;
	for (size_t i = 0; i < sizeof(d->signals) / sizeof(d->signals[0]); i++)
		uv_close((uv_handle_t *)&d->signals[i], NULL);
	process_end_undisturbed();
	uv_close((uv_handle_t *)&d->alive, NULL);
}

static const char *or_null(const char *path)
{
	return path[0] ? path : NULL;
}

const char *const server_daemon_tls_names[] = {[TLS_PART_NONE] = "tls",
					       [TLS_PART_CA] = "tls.client_ca",
					       [TLS_PART_CERTIFICATE] = "tls.certificate",
					       [TLS_PART_KEY] = "tls.key",
					       [TLS_PART_PSK] = "tls.psk_file"};

void server_daemon_tls_options(const struct server_config *c, struct tls_options *out)
{
	*out = (struct tls_options){.side = TLS_SERVER,
				    .allow_tls12 = c->tls_allow_tls12,
				    .ca_file = or_null(c->tls_client_ca),
				    .certificate_file = or_null(c->tls_certificate),
				    .key_file = or_null(c->tls_key),
				    .psk_file = or_null(c->tls_psk_file),
				    .alpn = http_protocols};
}

static int make_tls(const struct server_config *c, struct tls_context **out, char *why,
		    size_t why_size)
{
	struct tls_options options;

	server_daemon_tls_options(c, &options);
	return tls_config_new(&options, server_daemon_tls_names, out, why, why_size);
}

/* Bad new credentials leave the old ones in use. */
static void reload(struct daemon *d)
{
	struct tls_context *tls;
	char why[256];

	if (make_tls(d->config, &tls, why, sizeof(why)) < 0) {
		say(d, "error: TLS credentials were not reloaded: %s", why);
		return;
	}
	listener_set_tls(d->listener, tls);
	tls_context_unref(tls);
	say(d, "info: TLS credentials reloaded");
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct daemon *d = handle->data;

	if (d->stopping)
		return;
	if (number == SIGHUP) {
		notify_reloading();
		reload(d);
		notify_ready();
		return;
	}
	d->stopping = true;
	notify_stopping();
	say(d, "info: stopping");
	listener_stop(d->listener);
}

/* The watchdog hears of it while the loop runs and the store answers. */
static void alive(uv_timer_t *timer)
{
	struct daemon *d = timer->data;
	int r = store_alive(d->store);
	char text[160];

	if (r == 0) {
		notify_alive();
		return;
	}
	(void)snprintf(text, sizeof(text), "the store cannot be read: %s",
		       r == -ESTALE ? "its file was moved or removed" : strerror(-r));
	say(d, "error: %s", text);
	notify_status(text);
}

static void start_notifying(struct daemon *d)
{
	unsigned interval = notify_interval();

	notify_ready();
	notify_status("serving");
	if (interval != 0)
		(void)uv_timer_start(&d->alive, alive, 0, interval);
}

static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};

static int start_signals(struct daemon *d)
{
	int r = 0;

	for (size_t i = 0; i < 3; i++) {
		int e = uv_signal_init(&d->loop, &d->signals[i]);

		if (e == 0) {
			d->signals[i].data = d;
			e = uv_signal_start(&d->signals[i], on_signal, numbers[i]);
		}
		r = r == 0 ? e : r;
	}
	return r;
}

static int start_core(struct daemon *d, char *why, size_t why_size)
{
	static const struct core_ports ports = {.derive = derive,
						.answer = answer,
						.line = line,
						.now_ms = now_ms,
						.time = wall_time};
	const struct server_config *c = d->config;
	const struct store_sqlite_options where = {
		.path = c->database, .key_file = c->key_file, .create = true};
	struct core_options options = {.self = c->entity_id,
				       .uri = c->listen_path,
				       .iterations = c->iterations,
				       .key_set_max = c->key_set_max,
				       .answer_days = c->answer_days,
				       .nonce_seconds = c->nonce_seconds,
				       .max_derivations = c->max_derivations};
	int r = store_open_sqlite(&where, &d->store, why, why_size);

	if (r != 0)
		return r > 0 ? -EIO : r;
	options.store = d->store;
	return core_new(&options, &ports, d, &d->core, why, why_size);
}

static int start_listener(struct daemon *d, char *why, size_t why_size)
{
	static const struct listener_callbacks callbacks = {.request = request, .stopped = stopped};
	const struct server_config *c = d->config;
	struct listener_options options = {.address = c->listen_address,
					   .port = c->listen_port,
					   .path = c->listen_path,
					   .max_connections = c->max_connections,
					   .max_streams = c->max_streams,
					   .idle_ms = c->idle_seconds * 1000,
					   .state_size = sizeof(struct server_session)};
	int r = make_tls(c, &options.tls, why, why_size);

	if (r < 0)
		return r;
	r = listener_new(&d->loop, &options, &callbacks, d, &d->listener, why, why_size);
	tls_context_unref(options.tls);
	if (r < 0)
		return r;
	say(d, "info: listening on %s:%u", c->listen_address, listener_port(d->listener));
	return 0;
}

int server_daemon_run(const struct server_config *config, char *why, size_t why_size)
{
	struct daemon d = {.config = config};
	int r = uv_loop_init(&d.loop);
	int left;

	if (r < 0) {
		(void)snprintf(why, why_size, "no event loop: %s", uv_strerror(r));
		return r;
	}
	if (secret_setup() < 0)
		say(&d, "warning: memory cannot be locked: secrets may reach swap");
	(void)uv_timer_init(&d.loop, &d.alive);
	d.alive.data = &d;
	r = start_signals(&d);
	if (r < 0)
		(void)snprintf(why, why_size, "no signals: %s", uv_strerror(r));
	if (r == 0)
		r = start_core(&d, why, why_size);
	if (r == 0)
		r = start_listener(&d, why, why_size);
	if (r < 0)
		stopped(&d);
	else
		start_notifying(&d);
	(void)uv_run(&d.loop, UV_RUN_DEFAULT);
	left = uv_loop_close(&d.loop);
	core_free(d.core);
	store_close(d.store);
	if (r == 0 && left < 0) {
		(void)snprintf(why, why_size, "handles were left open");
		r = left;
	}
	if (r == 0)
		say(&d, "info: stopped");
	return r;
}
