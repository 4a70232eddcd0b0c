/*
 * The PN GW may have been handed over to another box, and only the server knows which one it is
 * now. One that is not, or does not know yet, issues nothing and starts nothing.
 */

#include "gateway/core-internal.h"

#include <stdio.h>
#include <string.h>

int gateway_core_handover_begin(struct core *c)
{
	int r = handover_get(c->vault, &c->handover);

	if (r == 0 && gateway_core_fenced(c))
		gateway_core_say(c, LOG_LEVEL_WARNING,
				 "after a hand-over: nothing is issued before the CPNS Server says "
				 "that this box is the PN GW");
	return r;
}

bool gateway_core_fenced(const struct core *c)
{
	return c->handover.state != HANDOVER_SERVES;
}

bool gateway_core_fence_judge(struct core *c, uint64_t run, struct verdict *v)
{
	const struct handover *h = &c->handover;
	char when[HANDOVER_TIME_SIZE], text[96];
	struct facts f = {.matter = MATTER_HANDOVER, .told = VERDICT_GATEWAY_HANDOVER_OPEN};

	if (!gateway_core_fenced(c))
		return false;
	if (h->state == HANDOVER_REFUSED) {
		f.told = VERDICT_GATEWAY_HANDED_OVER;
		(void)snprintf(text, sizeof(text), "at %s", handover_time(h->since, when));
		f.why = text;
	}
	return gateway_core_judge(c, run, &f, v);
}

/* Durable, or said that it is not: the server is asked in each session anyway. */
static void change(struct core *c, enum handover_state state, uint64_t since)
{
	struct vault_batch *b;
	int r = 0;

	c->handover.state = state;
	c->handover.since = since;
	b = vault_batch_new();
	if (b) {
		handover_put(b, &c->handover);
		r = gateway_core_write(c, b);
	}
	if (!b || r != 0)
		gateway_core_say(
			c, LOG_LEVEL_ERROR,
			"what the CPNS Server said about the hand-over is not in the vault");
}

static void cancel_all(struct core *c)
{
	while (c->procedures) {
		struct event e = {.kind = EVENT_CANCEL};

		gateway_core_give(c, c->procedures, &e);
	}
}

void gateway_core_handover_refused(struct core *c, uint64_t since)
{
	struct verdict v = {.id = VERDICT_DONE};

	if (c->handover.state == HANDOVER_REFUSED)
		return;
	/* First: what ends begins nothing new. */
	c->handover.state = HANDOVER_REFUSED;
	cancel_all(c);
	change(c, HANDOVER_REFUSED, since);
	(void)gateway_core_fence_judge(c, 0, &v);
}

void gateway_core_handover_confirmed(struct core *c)
{
	char text[96];

	if (!gateway_core_fenced(c))
		return;
	change(c, HANDOVER_SERVES, c->ports.wall(c->arg));
	(void)snprintf(text, sizeof(text), "this box is the PN GW: the CPNS Server took term %lu",
		       (unsigned long)c->handover.term);
	gateway_core_say(c, LOG_LEVEL_INFO, text);
	gateway_core_pool_limits(c);
}
