#include "gateway/daemon-internal.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gateway/handover.h"
#include "gateway/journal.h"
#include "protocol/notify.h"
#include "protocol/p1.h"
#include "protocol/process.h"
#include "storage/vault-manage.h"

/* How long what was erased may stand in the vault's log, in milliseconds. */
#define SCRUB_MS 30000

/* One line, one write, where it is no entry of the journal. */
static void say(struct gateway_daemon *d, const struct journal_entry *e)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "PN GW %s: %s\n", d->config.entity_id.text, e->text);

	gateway_api_logged(d->api, e->text);
	if (n < 0 || (d->journal && gateway_journal_send(e) == 0))
		return;
	if ((size_t)n >= sizeof(line)) {
		n = sizeof(line) - 1;
		line[n - 1] = '\n';
	}
	/* Nothing is left to tell it to when standard error is gone. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

void gateway_daemon_log(struct gateway_daemon *d, enum log_level level, const char *text)
{
	static const struct {
		const char *name;
		int priority;
	} levels[] = {
		[LOG_LEVEL_INFO] = {"info", 6},
		[LOG_LEVEL_WARNING] = {"warning", 4},
		[LOG_LEVEL_ERROR] = {"error", 3},
	};
	char line[640];
	const struct journal_entry e = {.text = line,
					.priority = levels[level].priority,
					.gateway = d->config.entity_id.text};

	(void)snprintf(line, sizeof(line), "%s: %s", levels[level].name, text);
	say(d, &e);
}

static void log_line(void *arg, enum log_level level, const char *text)
{
	gateway_daemon_log(arg, level, text);
}

static void step_line(void *arg, uint64_t run, enum figure figure, unsigned step,
		      const struct name *user, const struct name *entity)
{
	struct gateway_daemon *d = arg;
	char text[256], line[512];
	const struct journal_entry e = {.text = line,
					.priority = 6,
					.gateway = d->config.entity_id.text,
					.figure = figure,
					.step = step,
					.entity = entity};

	(void)snprintf(line, sizeof(line), "%s [user %s%s%s]",
		       step_describe(figure, step, text, sizeof(text)), user->text,
		       entity->text[0] ? ", entity " : "", entity->text);
	say(d, &e);
	gateway_metrics_step(d->metrics.metrics, uv_now(d->loop), figure, step, user, entity);
	gateway_api_step(d->api, run, figure, step, user, entity);
}

static void verdict_line(void *arg, uint64_t run, const struct verdict *v)
{
	struct gateway_daemon *d = arg;
	char text[VERDICT_TEXT_SIZE], line[VERDICT_TEXT_SIZE + 16];
	const struct journal_entry e = {.text = line,
					.priority = v->id == VERDICT_DONE ? 6 : 4,
					.gateway = d->config.entity_id.text,
					.verdict = v};

	(void)snprintf(line, sizeof(line), "verdict: %s", verdict_describe(v, text, sizeof(text)));
	say(d, &e);
	gateway_metrics_verdict(d->metrics.metrics, uv_now(d->loop), v);
	gateway_api_verdict(d->api, run, v);
	gateway_daemon_doctor_verdict(d, v);
}

static void pne_gone(void *arg, const struct name *entity)
{
	struct gateway_daemon *d = arg;

	gateway_api_touch(d->api, entity);
}

static void figure_chosen(void *arg, uint64_t run, const struct name *entity, enum figure figure,
			  const char *why)
{
	struct gateway_daemon *d = arg;

	gateway_api_chosen(d->api, run, entity, figure, why);
}

static void verdicts_counted(void *arg, uint64_t run, int verdicts)
{
	struct gateway_daemon *d = arg;

	gateway_api_counted(d->api, run, verdicts);
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
		gateway_daemon_log(d, LOG_LEVEL_WARNING, text);
	} else if (before.from != 0) {
		(void)snprintf(
			text, sizeof(text),
			"the vault is sealed anew under master key %lu, damaged records: %llu",
			(unsigned long)after.to, (unsigned long long)after.damaged);
		gateway_daemon_log(d, LOG_LEVEL_INFO, text);
	}
}

/* The vault: what a turn of the loop submitted is made durable before the loop sleeps. */
static void before_sleep(uv_prepare_t *prepare)
{
	struct gateway_daemon *d = prepare->data;

	while (d->vault && vault_pending(d->vault)) {
		uint64_t since = uv_hrtime();
		size_t told = vault_flush(d->vault);

		gateway_metrics_commit(d->metrics.metrics, (uv_hrtime() - since) / 1000, told);
	}
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

static const struct core_ports ports = {
	.post = gateway_daemon_post,
	.cancel = gateway_daemon_post_cancel,
	.derive = derive,
	.write = gateway_daemon_stream_write,
	.close = gateway_daemon_stream_close,
	.now = now,
	.wall = wall,
	.elapsed = elapsed,
	.wake = wake,
	.log = log_line,
	.step = step_line,
	.verdict = verdict_line,
	.reach = gateway_daemon_reach,
	.arrived = gateway_daemon_arrived,
	.gone = pne_gone,
	.chosen = figure_chosen,
	.counted = verdicts_counted,
};

/* Control. */

static void api_status(void *arg, struct gateway_api_status *out)
{
	struct gateway_daemon *d = arg;
	const struct wan_state *state = d->wan ? wan_state(d->wan) : NULL;

	out->wan_up = state && state->up;
	out->wan_mutual = out->wan_up && state->mutual;
	if (out->wan_up)
		(void)snprintf(out->wan_text, sizeof(out->wan_text), "%s, %s",
			       state->http2 ? "HTTP/2" : "HTTP/1.1",
			       state->mutual ? "mutually authenticated"
					     : "only the server is authenticated");
	else
		(void)snprintf(out->wan_text, sizeof(out->wan_text), "%s",
			       state ? state->why : "restarting");
	for (size_t i = 0; i < d->health.count; i++)
		out->damage[out->damage_count++] = d->health.lines[i];
}

static void api_examined(void *arg, const struct doctor_report *report)
{
	struct gateway_daemon *d = arg;

	gateway_api_examined(d->api, report);
}

static int api_examine(void *arg)
{
	struct gateway_daemon *d = arg;

	d->api_waiter = (struct daemon_waiter){.done = api_examined, .arg = d};
	return gateway_daemon_examine(d, &d->api_waiter);
}

static char *api_metrics(void *arg)
{
	size_t size;

	return gateway_daemon_metrics_text(arg, &size);
}

static int api_bundle(void *arg, FILE *out)
{
	return gateway_daemon_bundle(arg, out);
}

/* SIGHUP: credentials and limits; what names this PN GW or its files needs a restart. */
static void reload(struct gateway_daemon *d)
{
	struct config config, fresh;
	struct core_options options;
	struct tls_context *tls;
	const char *later;
	char why[512];

	if (gateway_config_load(d->file, &config, why, sizeof(why)) != 0 ||
	    gateway_daemon_tls(&config, &tls, why, sizeof(why)) != 0) {
		gateway_daemon_log(d, LOG_LEVEL_ERROR, why);
		return;
	}
	tls_context_unref(d->tls);
	d->tls = tls;
	tls_context_clock_floor(d->tls, d->clock_floor);
	fresh = config;
	gateway_config_keep(&config, &d->config);
	later = gateway_config_difference(&config, &fresh);
	d->config = config;
	if (d->core) {
		gateway_config_core_options(&d->config, &options);
		gateway_core_set_options(d->core, &options);
	}
	(void)snprintf(why, sizeof(why), "configuration read again%s%s%s", later ? "; " : "",
		       later ? later : "", later ? " and the like need a restart" : "");
	gateway_daemon_log(d, later ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, why);
	gateway_daemon_metrics_configured(d);
	gateway_daemon_renew_wan(d);
}

static void signalled(uv_signal_t *signal, int number)
{
	struct gateway_daemon *d = signal->data;

	if (number != SIGHUP) {
		gateway_daemon_stop(d);
		return;
	}
	/* While the vault is being opened it has not been ready yet. */
	if (d->core)
		notify_reloading();
	reload(d);
	if (d->core)
		notify_ready();
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

/* Whether the vault was given to another box. */
static int check_given(struct gateway_daemon *d, char *why, size_t why_size)
{
	char when[HANDOVER_TIME_SIZE];
	struct handover h;
	int r = handover_get(d->vault, &h);

	if (r != 0)
		(void)snprintf(why, why_size, "vault: %s", strerror(-r));
	if (r != 0 || h.state != HANDOVER_GIVEN)
		return r;
	(void)snprintf(why, why_size,
		       "this PN GW was handed over to another box at %s, so this one does not "
		       "start; where the other one has not come up, pngw-handover back undoes that "
		       "[%s]",
		       handover_time(h.since, when), verdict_name(VERDICT_GATEWAY_HANDED_OVER));
	return -EACCES;
}

/* With the vault open, PNEs may come and the server is sought. */
static int begin(struct gateway_daemon *d, char *why, size_t why_size)
{
	struct core_options options;
	int r;

	r = check_given(d, why, why_size);
	if (r != 0)
		return r;
	gateway_daemon_clock(d);
	gateway_config_core_options(&d->config, &options);
	options.recorder = d->recorder;
	r = gateway_core_new(&options, d->vault, &ports, d, &d->core);
	if (r != 0) {
		(void)snprintf(why, why_size, "vault: %s", strerror(r < 0 ? -r : EIO));
		return r < 0 ? r : -EIO;
	}
	for (size_t i = 0; i < d->config.listen_count; i++) {
		r = gateway_daemon_start_pan(d, i, why, why_size);
		if (r != 0)
			return r;
	}
	if (d->config.bluetooth) {
		r = gateway_daemon_start_bluetooth(d, why, why_size);
		if (r != 0)
			return r;
	}
	gateway_api_ready(d->api, d->core, d->vault, d->bluetooth);
	r = gateway_daemon_start_wan(d);
	if (r != 0)
		(void)snprintf(why, why_size, "WAN: %s", strerror(-r));
	return r;
}

static void vault_opened(void *arg, int result, struct vault *v, const char *why)
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
		gateway_daemon_log(d, LOG_LEVEL_WARNING, why);
	if (begin(d, text, sizeof(text)) != 0) {
		fail(d, text);
		return;
	}
	(void)uv_timer_start(&d->scrubbing, scrub, SCRUB_MS, SCRUB_MS);
	gateway_daemon_metrics_configured(d);
	gateway_daemon_log(d, LOG_LEVEL_INFO, "ready");
	if (d->events.ready)
		d->events.ready(d->events_arg, d);
	if (d->stopping)
		return;
	gateway_daemon_notify_ready(d);
	gateway_daemon_health_start(d);
}

static int start_opening(struct gateway_daemon *d, char *why, size_t why_size)
{
	int r = gateway_opening_start(d->loop, &d->config, vault_opened, d, &d->opening);

	if (r != 0)
		(void)snprintf(why, why_size, "vault: %s", strerror(-r));
	return r;
}

int gateway_daemon_new(uv_loop_t *loop, const char *file, const struct config *config,
		       const struct gateway_daemon_events *events, void *arg,
		       struct gateway_daemon **out, char *why, size_t why_size)
{
	struct gateway_api_options api = {.log = log_line,
					  .status = api_status,
					  .examine = api_examine,
					  .metrics = api_metrics,
					  .bundle = api_bundle};
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
	gateway_daemon_health_init(d);
	(void)uv_timer_init(loop, &d->scrubbing);
	d->prepare.data = d;
	d->sealing.data = d;
	d->scrubbing.data = d;
	d->timer.data = d;
	(void)uv_prepare_start(&d->prepare, before_sleep);
	watch_signals(d);
	gateway_daemon_notify_init(d);
	gateway_daemon_doctor_init(d);
	d->journal = gateway_journal_is(STDERR_FILENO);
	r = gateway_daemon_metrics_init(d);
	*out = d;
	if (r != 0) {
		(void)snprintf(why, why_size, "out of memory");
		return r;
	}

	if (gateway_opening_cut_short(config, why, why_size))
		return -EBUSY;
	r = gateway_recorder_new(config->recorder_size, &d->recorder);
	if (r != 0) {
		(void)snprintf(why, why_size, "recorder: %s", strerror(-r));
		return r;
	}
	/* A vault that is there is opened meanwhile; none is made where the start may yet fail. */
	if (access(config->vault_path, F_OK) == 0)
		r = start_opening(d, why, why_size);
	if (r == 0)
		r = gateway_daemon_tls(&d->config, &d->tls, why, why_size);
	if (r != 0)
		return r;
	api.config = &d->config;
	api.recorder = d->recorder;
	api.arg = d;
	r = gateway_api_new(loop, &api, &d->api);
	if (r != 0) {
		(void)snprintf(why, why_size, "control.bus %s: %s", config->control_bus,
			       strerror(-r));
		return r;
	}
	return d->opening ? 0 : start_opening(d, why, why_size);
}

void gateway_daemon_stop(struct gateway_daemon *d)
{
	struct core *core = d->core;
	struct wan *wan = d->wan;

	if (d->stopping)
		return;
	d->stopping = true;
	gateway_daemon_log(d, LOG_LEVEL_INFO, "stopping");
	gateway_daemon_notify_stop(d);
	if (d->events.stopping)
		d->events.stopping(d->events_arg);
	gateway_daemon_doctor_stop(d);
	gateway_daemon_metrics_stop(d);
	if (d->opening)
		gateway_opening_abandon(d->opening);
	d->opening = NULL;
	gateway_core_free(core);
	d->core = NULL;
	d->wan = NULL;
	if (d->api)
		gateway_api_stop(d->api);
	d->api = NULL;
	if (wan)
		wan_stop(wan);
	gateway_daemon_stop_pans(d);
	uv_close((uv_handle_t *)&d->prepare, NULL);
	uv_close((uv_handle_t *)&d->sealing, NULL);
	gateway_daemon_health_stop(d);
	uv_close((uv_handle_t *)&d->timer, NULL);
	uv_close((uv_handle_t *)&d->scrubbing, NULL);
	for (size_t i = 0; i < 3; i++)
		uv_close((uv_handle_t *)&d->signals[i], NULL);
	process_end_undisturbed();
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
	free(d->examination.last);
	gateway_metrics_free(d->metrics.metrics);
	tls_context_unref(d->tls);
	gateway_recorder_free(d->recorder);
	free(d);
}
