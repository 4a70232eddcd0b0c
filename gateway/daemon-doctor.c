/* When the daemon is examined: on request, and by itself after a procedure has failed. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/daemon-internal.h"

/* Whether a check may explain a verdict of that leg. */
static bool concerns(enum leg check, enum leg verdict)
{
	switch (verdict) {
	case LEG_WAN:
	case LEG_SERVER:
		return check == LEG_WAN || check == LEG_SERVER;
	case LEG_PAN:
	case LEG_PNE:
		return check == LEG_PAN || check == LEG_PNE;
	case LEG_PNGW:
		return check == LEG_PNGW;
	case LEG_NONE:
	case LEG_USER:
		return false;
	}
	return false;
}

static void log_findings(struct gateway_daemon *d, const struct doctor_report *report)
{
	char line[640];
	size_t told = 0;

	for (size_t i = 0; i < DOCTOR_CHECKS; i++) {
		const struct doctor_check *c = &report->checks[i];

		if ((c->state != DOCTOR_WARNING && c->state != DOCTOR_FAILED) ||
		    !concerns(c->leg, d->examination.leg))
			continue;
		(void)snprintf(line, sizeof(line), "examined: %s %s: %.250s. Remedy: %.250s", c->id,
			       doctor_state_name(c->state), c->finding, c->remedy);
		gateway_daemon_log(d, LOG_LEVEL_WARNING, line);
		told++;
	}
	if (told == 0) {
		(void)snprintf(
			line, sizeof(line),
			"examined: nothing found that concerns leg %s; failed checks in all: "
			"%zu",
			leg_name(d->examination.leg), gateway_doctor_count(report, DOCTOR_FAILED));
		gateway_daemon_log(d, LOG_LEVEL_INFO, line);
	}
}

static void examined(void *arg, const struct doctor_report *report)
{
	struct gateway_daemon *d = arg;
	struct daemon_examination *x = &d->examination;

	x->doctor = NULL;
	if (!x->last)
		x->last = malloc(sizeof(*x->last));
	if (x->last)
		*x->last = *report;
	if (x->leg != LEG_NONE)
		log_findings(d, report);
	x->leg = LEG_NONE;
	while (x->waiters) {
		struct daemon_waiter *w = x->waiters;

		x->waiters = w->next;
		w->done(w->arg, report);
	}
}

static int begin(struct gateway_daemon *d)
{
	const struct doctor_subject subject = {
		.file = d->file,
		.config = &d->config,
		.core = d->core,
		.wan = d->wan ? wan_state(d->wan) : NULL,
		.vault = d->vault,
		.vault_why = "it is being opened",
		.bus_name = d->api ? gateway_api_bus_name(d->api) : NULL,
		.bluez = d->bluetooth ? gateway_bluetooth_bluez(d->bluetooth) : NULL,
	};

	if (d->examination.doctor)
		return 0;
	if (d->stopping)
		return -ECANCELED;
	return gateway_doctor_start(d->loop, &subject, examined, d, &d->examination.doctor);
}

int gateway_daemon_examine(struct gateway_daemon *d, struct daemon_waiter *w)
{
	int r = begin(d);

	if (r != 0)
		return r;
	w->next = d->examination.waiters;
	d->examination.waiters = w;
	return 0;
}

void gateway_daemon_examine_forget(struct gateway_daemon *d, struct daemon_waiter *w)
{
	struct daemon_waiter **at = &d->examination.waiters;

	while (*at && *at != w)
		at = &(*at)->next;
	if (*at)
		*at = w->next;
}

const struct doctor_report *gateway_daemon_examined(const struct gateway_daemon *d)
{
	return d->examination.last;
}

static void on_timer(uv_timer_t *timer)
{
	struct gateway_daemon *d = timer->data;

	if (begin(d) != 0)
		d->examination.leg = LEG_NONE;
}

void gateway_daemon_doctor_init(struct gateway_daemon *d)
{
	(void)uv_timer_init(d->loop, &d->examination.timer);
	d->examination.timer.data = d;
}

void gateway_daemon_doctor_verdict(struct gateway_daemon *d, const struct verdict *v)
{
	struct daemon_examination *x = &d->examination;
	enum leg leg = verdict_leg(v->id);
	uint64_t now = uv_now(d->loop);

	if (!concerns(leg, leg) || d->config.doctor_interval == 0 || d->stopping ||
	    x->leg != LEG_NONE ||
	    (x->began && now - x->began_at < (uint64_t)d->config.doctor_interval * 1000))
		return;
	x->began = true;
	x->began_at = now;
	x->leg = leg;
	/* Not within what the core is doing. */
	(void)uv_timer_start(&x->timer, on_timer, 0, 0);
}

void gateway_daemon_doctor_stop(struct gateway_daemon *d)
{
	struct daemon_examination *x = &d->examination;

	if (x->doctor)
		gateway_doctor_cancel(x->doctor);
	x->doctor = NULL;
	x->waiters = NULL;
	uv_close((uv_handle_t *)&x->timer, NULL);
}
