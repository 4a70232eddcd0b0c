#include "gateway/doctor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/daemon-internal.h"
#include "gateway/doctor-internal.h"

/* The network's share of the deadline. */
#define PROBE_MS     10000
#define FEATURES_S   5
/* How late a timer may be, in milliseconds; measured so often, so far apart. */
#define LAG_SLOW_MS  500
#define LAG_HANGS_MS 3000
#define LAG_TIMES    5
#define LAG_EVERY_MS 20

struct doctor {
	uv_loop_t *loop;
	struct config config;
	struct doctor_subject subject; /* its config is the copy */
	char vault_why[OPENING_WHY_SIZE];
	struct wan_state wan;
	doctor_done *done;
	void *arg;
	uint64_t since;
	uv_timer_t deadline, lag;
	uv_idle_t turn;
	struct doctor_keys *keys; /* NULL: that is found out */
	unsigned open;            /* handles */
	uint64_t lag_due;
	uint64_t lag_worst; /* in milliseconds */
	unsigned lags;
	struct doctor_work *work;
	struct wan_probe *probe;
	char bus_name[32];
	struct doctor_control *control;
	struct bluez_features_question question;
	bool asking, ended;
	struct doctor_findings findings;
	struct doctor_report report;
};

static const struct check {
	const char *id, *title, *remedy;
	enum leg leg;
} checks[DOCTOR_CHECKS] = {
#define CHECK(name, i, l, t, r) \
	[DOCTOR_##name] = {.id = i, .title = t, .remedy = r, .leg = LEG_##l},
#include "gateway/doctor-checks.def"
#undef CHECK
};

const char *doctor_state_name(enum doctor_state state)
{
	switch (state) {
	case DOCTOR_OK:
		return "ok";
	case DOCTOR_WARNING:
		return "warning";
	case DOCTOR_FAILED:
		return "failed";
	case DOCTOR_NOT_APPLICABLE:
		return "not-applicable";
	}
	return "unknown";
}

void doctor_find(struct doctor_findings *f, enum doctor_id id, enum doctor_state state,
		 const char *format, ...)
{
	struct doctor_finding *x = &f->of[id];
	va_list list;

	x->set = true;
	x->state = state;
	va_start(list, format);
	(void)vsnprintf(x->finding, sizeof(x->finding), format, list);
	va_end(list);
	(void)snprintf(x->remedy, sizeof(x->remedy), "%s",
		       state == DOCTOR_WARNING || state == DOCTOR_FAILED ? checks[id].remedy : "");
}

bool doctor_stands(const struct doctor_findings *f, enum doctor_id id)
{
	return f->of[id].set && (f->of[id].state == DOCTOR_OK || f->of[id].state == DOCTOR_WARNING);
}

bool doctor_work_stopped(struct doctor_work *w)
{
	return __atomic_load_n(&w->stop, __ATOMIC_RELAXED);
}

/* What nobody waits for any more ends by itself. */

static void work_free(struct doctor_work *w)
{
	for (size_t i = 0; i < w->secret_count; i++)
		secret_unref(w->secrets[i].secret);
	free(w);
}

static void free_if_closed(uv_handle_t *handle)
{
	struct doctor *d = handle->data;

	if (--d->open == 0)
		free(d);
}

static void end(struct doctor *d)
{
	d->ended = true;
	if (d->work) {
		d->work->doctor = NULL;
		__atomic_store_n(&d->work->stop, true, __ATOMIC_RELAXED);
		(void)uv_cancel((uv_req_t *)&d->work->work);
	}
	if (d->probe)
		wan_probe_abandon(d->probe);
	if (d->control)
		doctor_control_abandon(d->control);
	if (d->asking)
		bluez_forget(d->subject.bluez, &d->question);
	doctor_keys_free(d->keys);
	d->keys = NULL;
	d->work = NULL;
	d->probe = NULL;
	d->control = NULL;
	d->asking = false;
	uv_close((uv_handle_t *)&d->deadline, free_if_closed);
	uv_close((uv_handle_t *)&d->lag, free_if_closed);
	uv_close((uv_handle_t *)&d->turn, free_if_closed);
}

static void fill_report(struct doctor *d)
{
	for (size_t i = 0; i < DOCTOR_CHECKS; i++) {
		const struct doctor_finding *x = &d->findings.of[i];
		struct doctor_check *c = &d->report.checks[i];

		c->id = checks[i].id;
		c->title = checks[i].title;
		c->leg = checks[i].leg;
		c->state = x->set ? x->state : DOCTOR_WARNING;
		(void)snprintf(c->finding, sizeof(c->finding), "%s",
			       x->set ? x->finding : "it was not found out in time");
		(void)snprintf(c->remedy, sizeof(c->remedy), "%s",
			       x->set ? x->remedy : "examine again; what hangs is before it");
	}
	uv_update_time(d->loop);
	d->report.at = (uint64_t)time(NULL);
	d->report.took_ms = (unsigned)(uv_now(d->loop) - d->since);
}

static void conclude(struct doctor *d)
{
	fill_report(d);
	end(d);
	d->done(d->arg, &d->report);
}

static void conclude_if_all(struct doctor *d)
{
	if (!d->work && !d->probe && !d->control && !d->asking && !d->keys && d->lags == LAG_TIMES)
		conclude(d);
}

static void on_deadline(uv_timer_t *timer)
{
	conclude(timer->data);
}

/* The vault's records, a piece in each turn. */

static void on_turn(uv_idle_t *turn)
{
	struct doctor *d = turn->data;

	if (!doctor_keys_step(d->keys, &d->findings, &d->subject))
		return;
	(void)uv_idle_stop(turn);
	doctor_keys_free(d->keys);
	d->keys = NULL;
	conclude_if_all(d);
}

/* The event loop. */

static void judge_lag(struct doctor *d)
{
	uint64_t worst =
		d->lag_worst > d->subject.loop_lag_ms ? d->lag_worst : d->subject.loop_lag_ms;
	enum doctor_state state = DOCTOR_OK;

	if (!d->subject.core) {
		doctor_find(&d->findings, DOCTOR_LOOP, DOCTOR_NOT_APPLICABLE, "pngwd does not run");
		return;
	}
	if (worst > LAG_HANGS_MS)
		state = DOCTOR_FAILED;
	else if (worst > LAG_SLOW_MS)
		state = DOCTOR_WARNING;
	doctor_find(&d->findings, DOCTOR_LOOP, state, "a timer was up to %llu ms late",
		    (unsigned long long)worst);
}

static void on_lag(uv_timer_t *timer)
{
	struct doctor *d = timer->data;
	uint64_t now = uv_hrtime() / 1000000;
	uint64_t late = now > d->lag_due ? now - d->lag_due : 0;

	d->lag_worst = late > d->lag_worst ? late : d->lag_worst;
	d->lag_due = now + LAG_EVERY_MS;
	if (++d->lags < LAG_TIMES) {
		(void)uv_timer_start(&d->lag, on_lag, LAG_EVERY_MS, 0);
		return;
	}
	judge_lag(d);
	conclude_if_all(d);
}

/* The other thread. */

static void do_work(uv_work_t *work)
{
	static void (*const parts[])(struct doctor_work *) = {
		doctor_examine_process, doctor_examine_files,     doctor_examine_tls,
		doctor_examine_ledger,  doctor_examine_listeners, doctor_make_secrets,
	};
	struct doctor_work *w = work->data;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && !doctor_work_stopped(w); i++)
		parts[i](w);
}

static void work_done(uv_work_t *work, int status)
{
	struct doctor_work *w = work->data;
	struct doctor *d = w->doctor;

	if (d && status == 0) {
		for (size_t i = 0; i < DOCTOR_CHECKS; i++) {
			if (w->findings.of[i].set)
				d->findings.of[i] = w->findings.of[i];
		}
		doctor_try_secrets(&d->findings, &d->subject, w);
	}
	work_free(w);
	if (d) {
		d->work = NULL;
		conclude_if_all(d);
	}
}

static int start_work(struct doctor *d)
{
	const struct doctor_subject *s = &d->subject;
	struct doctor_work *w = calloc(1, sizeof(*w));
	const char *with;
	int r;

	if (!w)
		return -ENOMEM;
	w->work.data = w;
	w->doctor = d;
	w->config = d->config;
	w->runs = s->core != NULL;
	(void)snprintf(w->file, sizeof(w->file), "%s", s->file);
	if (s->vault) {
		w->vault_open = true;
		vault_ledger_state(s->vault, &w->ledger);
		w->ledger_behind = vault_ledger_trouble(s->vault, &with) != 0;
		if (vault_wraps(s->vault, w->wraps, &w->wrap_count) != 0)
			w->wrap_count = 0;
	}
	r = uv_queue_work(d->loop, &w->work, do_work, work_done);
	if (r != 0) {
		free(w);
		return r;
	}
	d->work = w;
	return 0;
}

/* The server. */

static void probe_done(void *arg, const struct wan_probe_result *result)
{
	struct doctor *d = arg;

	d->probe = NULL;
	doctor_judge_network(&d->findings, &d->subject, result, "");
	conclude_if_all(d);
}

static void start_probe(struct doctor *d)
{
	const struct config *c = &d->config;
	struct wan_probe_options options = {.host = c->host,
					    .verify_name =
						    c->verify_name[0] ? c->verify_name : NULL,
					    .port = (uint16_t)c->port,
					    .path = c->path};
	char why[DOCTOR_TEXT_SIZE];
	struct tls_context *tls;
	int r = gateway_daemon_tls(c, &tls, why, sizeof(why));

	if (r == 0) {
		options.tls = tls;
		r = wan_probe_start(d->loop, &options, PROBE_MS, probe_done, d, &d->probe);
		tls_context_unref(tls);
		if (r != 0)
			(void)snprintf(why, sizeof(why), "%s", strerror(-r));
	}
	if (r != 0)
		doctor_judge_network(&d->findings, &d->subject, NULL, why);
}

/* The control bus. */

static void control_told(void *arg, int error, const char *owner)
{
	struct doctor *d = arg;

	d->control = NULL;
	doctor_judge_control(&d->findings, &d->subject, error, owner);
	conclude_if_all(d);
}

static void start_control(struct doctor *d)
{
	int r = doctor_control_start(d->loop, &d->config, control_told, d, &d->control);

	if (r != 0)
		doctor_judge_control(&d->findings, &d->subject, r, "");
}

/* BlueZ. */

static void features_told(void *arg, const struct bluez_features *features)
{
	struct doctor *d = arg;

	d->asking = false;
	doctor_examine_bluetooth(&d->findings, &d->subject, features);
	conclude_if_all(d);
}

static void start_bluetooth(struct doctor *d)
{
	struct bluez *b = d->subject.bluez;

	d->question.done = features_told;
	d->question.arg = d;
	if (b && bluez_state(b) >= BLUEZ_NO_ADAPTER &&
	    bluez_ask_features(b, FEATURES_S, &d->question) == 0)
		d->asking = true;
	else
		doctor_examine_bluetooth(&d->findings, &d->subject, NULL);
}

int gateway_doctor_start(uv_loop_t *loop, const struct doctor_subject *subject, doctor_done *done,
			 void *arg, struct doctor **out)
{
	struct doctor *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->loop = loop;
	d->config = *subject->config;
	d->subject = *subject;
	d->subject.config = &d->config;
	(void)snprintf(d->vault_why, sizeof(d->vault_why), "%s",
		       subject->vault_why ? subject->vault_why : "");
	d->subject.vault_why = d->vault_why;
	if (subject->wan) {
		d->wan = *subject->wan;
		d->subject.wan = &d->wan;
	}
	if (subject->bus_name) {
		(void)snprintf(d->bus_name, sizeof(d->bus_name), "%s", subject->bus_name);
		d->subject.bus_name = d->bus_name;
	}
	d->done = done;
	d->arg = arg;
	r = start_work(d);
	if (r != 0) {
		free(d);
		return r;
	}
	d->since = uv_now(loop);
	(void)uv_timer_init(loop, &d->deadline);
	(void)uv_timer_init(loop, &d->lag);
	(void)uv_idle_init(loop, &d->turn);
	d->open = 3;
	d->deadline.data = d;
	d->turn.data = d;
	d->lag.data = d;
	doctor_examine_vault(&d->findings, &d->subject);
	d->keys = doctor_keys_new(&d->findings, &d->subject);
	if (d->keys)
		(void)uv_idle_start(&d->turn, on_turn);
	start_probe(d);
	start_control(d);
	start_bluetooth(d);
	/* What was done until here is not the loop's usual day. */
	uv_update_time(loop);
	d->lag_due = uv_hrtime() / 1000000 + LAG_EVERY_MS;
	(void)uv_timer_start(&d->lag, on_lag, LAG_EVERY_MS, 0);
	(void)uv_timer_start(&d->deadline, on_deadline, DOCTOR_DEADLINE_MS, 0);
	*out = d;
	return 0;
}

void gateway_doctor_cancel(struct doctor *d)
{
	if (!d->ended)
		end(d);
}

size_t gateway_doctor_count(const struct doctor_report *report, enum doctor_state state)
{
	size_t count = 0;

	for (size_t i = 0; i < DOCTOR_CHECKS; i++)
		count += report->checks[i].state == state;
	return count;
}

void gateway_doctor_write_markdown(FILE *out)
{
	(void)fputs("| check | leg | it is well when | what mends it |\n|---|---|---|---|\n", out);
	for (size_t i = 0; i < DOCTOR_CHECKS; i++)
		(void)fprintf(out, "| `%s` | %s | %s | %s |\n", checks[i].id,
			      leg_name(checks[i].leg), checks[i].title, checks[i].remedy);
}
