#include "gateway/core-internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void gateway_core_report_soon(struct core *c)
{
	char *xml;
	size_t size;
	void *request;
	char text[96];
	int r;

	if (c->ending || !c->wan.up || c->report.under_way || c->report_due != 0)
		return;
	r = gateway_report_begin(&c->report, c->vault, &c->options.self, &c->options.server, &xml,
				 &size);
	if (r == REPORT_NOTHING)
		return;
	if (r == 0) {
		r = c->ports.post(c->arg, bytes_of(xml, size), c->options.procedures.request_ms, 0,
				  TOKEN_REPORT, &request);
		free(xml);
		if (r == 0)
			return;
		gateway_report_failed(&c->report);
	}
	(void)snprintf(text, sizeof(text), "delivery report: %s", strerror(-r));
	gateway_core_say(c, LOG_LEVEL_WARNING, text);
	c->report_due = c->ports.now(c->arg) + REPORT_RETRY_MS;
	gateway_core_wake_by(c, c->report_due);
}

void gateway_core_report_later(struct core *c, const char *why)
{
	char text[128];

	gateway_report_failed(&c->report);
	c->report_due = c->ports.now(c->arg) + REPORT_RETRY_MS;
	gateway_core_wake_by(c, c->report_due);
	(void)snprintf(text, sizeof(text), "the server has not taken the delivery report: %s", why);
	gateway_core_say(c, LOG_LEVEL_WARNING, text);
}

static bool being_written(void *arg, const struct name *entity)
{
	return gateway_core_writing(arg, entity);
}

void gateway_core_report_taken(struct core *c, const struct message *m)
{
	struct vault_batch *b;
	int r;

	if (!m) {
		gateway_core_report_later(c, "its answer is no message");
		return;
	}
	r = gateway_report_answered(&c->report, c->vault, m, being_written, c, &b);
	if (r == 0) {
		c->counters.reports++;
		gateway_core_state_ledger(c);
		r = gateway_core_submit(c, b, TOKEN_REPORT);
		if (r == 0)
			return;
	}
	gateway_core_report_later(c, r > 0 ? status_wire_name((enum status)r) : strerror(-r));
}

uint64_t gateway_core_tick_report(struct core *c, uint64_t now)
{
	if (c->report_due != 0 && c->report_due <= now) {
		c->report_due = 0;
		gateway_core_report_soon(c);
	}
	return c->report_due;
}
