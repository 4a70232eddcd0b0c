/* What the WAN says: that it is up or down, the answers of the CPNS Server, and that none comes. */

#include "gateway/core-internal.h"

#include <errno.h>
#include <stdio.h>

void gateway_core_wan_state(struct core *c, const struct core_wan *wan)
{
	bool came_up = wan->up && !c->wan.up;

	c->wan = *wan;
	(void)snprintf(c->wan_why, sizeof(c->wan_why), "%s", wan->why ? wan->why : "");
	c->wan.why = c->wan_why;
	gateway_recorder_wan(gateway_core_recorder(c), wan->up, wan->mutual, c->wan_why);
	if (!wan->up) {
		c->refused = wan->tls_refused ? wan->down : VERDICT_DONE;
		(void)snprintf(c->refused_why, sizeof(c->refused_why), "%s", c->wan_why);
	}
	if (!came_up)
		return;
	c->report_due = 0;
	c->pool.wall_base = c->ports.wall(c->arg);
	c->pool.wall_service = gateway_core_service(c);
	/* First, so that the server gives nothing out under what was revoked meanwhile. */
	gateway_core_state_session(c);
	for (struct procedure *p = c->procedures; p;) {
		struct event e = {.kind = EVENT_WAN_UP};
		uint64_t id = p->id;

		gateway_core_give(c, p, &e);
		/* Ids rise towards the head of the list: go on with the next lower one. */
		for (p = c->procedures; p && p->id >= id; p = p->next)
			;
	}
	gateway_core_pool_wan_up(c);
	gateway_core_report_soon(c);
}

/* A key that was revoked while it was on its way is dropped. */
static bool is_revoked(struct core *c, const struct message *m)
{
	struct name entity;

	return m->kind == MESSAGE_eukey_assignment_response &&
	       m->eukey_assignment_response.has_key &&
	       name_set(&entity, m->eukey_assignment_response.entity_id) == 0 &&
	       m->eukey_assignment_response.key.key_index <= gateway_core_revoked_index(c, &entity);
}

static void relay_answered(struct core *c, uint64_t token, const struct message *m,
			   struct bytes body)
{
	struct relay_call call = {.kind = is_revoked(c, m) ? CALL_DROP_ANSWER : CALL_ANSWERED,
				  .count = gateway_relay_count(c->relay),
				  .now = c->ports.now(c->arg),
				  .token = token,
				  .message = m,
				  .xml = body};
	struct actions a;

	gateway_actions_begin(&a);
	if (call.kind == CALL_DROP_ANSWER)
		gateway_relay_drop_answer(c->relay, token, &a);
	else
		gateway_relay_answered(c->relay, call.now, token, m, body, &a);
	gateway_core_relay_called(c, &call, &a);
	gateway_core_perform(c, NULL, &a);
}

void gateway_core_answered(struct core *c, uint64_t token, struct bytes body)
{
	struct malformation why;
	struct message *m = NULL;
	char line[128], text[256];
	struct procedure *p;
	int r = message_decode(body, &m, &why);

	c->refused = VERDICT_DONE;
	if (r == MESSAGE_MALFORMED) {
		(void)snprintf(text, sizeof(text), "the server's answer is no message: %s",
			       malformation_describe(&why, line, sizeof(line)));
		gateway_core_say(c, LOG_LEVEL_WARNING, text);
	}
	if (token & TOKEN_REPORT) {
		gateway_core_report_taken(c, m);
	} else if (token & TOKEN_STATE) {
		gateway_core_state_answered(c, m);
	} else if (!m) {
		gateway_core_wan_refused(
			c, token, r == -ENOMEM ? VERDICT_GATEWAY_MEMORY : VERDICT_SERVER_MALFORMED,
			r == -ENOMEM ? "" : malformation_describe(&why, line, sizeof(line)));
	} else if (token & TOKEN_RELAY) {
		relay_answered(c, token & ~TOKEN_RELAY, m, body);
		gateway_core_wake_by(c, c->ports.now(c->arg) + c->options.relay.receipt_ms);
	} else {
		p = gateway_core_procedure_of(c, token);
		if (p) {
			struct event e = {.kind = EVENT_ANSWER, .message = m, .xml = body};

			gateway_core_give(c, p, &e);
		}
	}
	message_free(m);
	gateway_core_sweep_links(c);
}

/* What a failure amounts to now. */
static struct wan_end wan_end_of(const struct core *c, enum wan_failure failure)
{
	struct wan_end end = {.failure = failure};

	if (failure == WAN_FAILURE_DOWN || failure == WAN_FAILURE_LOST) {
		end.verdict = c->wan.up ? c->refused : c->wan.down;
		end.why = c->wan.up ? c->refused_why : c->wan_why;
	}
	return end;
}

static void relay_failed(struct core *c, uint64_t token, const struct wan_end *how)
{
	struct relay_call call = {.kind = CALL_WAN_FAILED,
				  .count = gateway_relay_count(c->relay),
				  .token = token,
				  .failed = how};
	struct actions a;

	gateway_actions_begin(&a);
	gateway_relay_wan_failed(c->relay, token, how, &a);
	gateway_core_relay_called(c, &call, &a);
	gateway_core_perform(c, NULL, &a);
}

void gateway_core_relay_wan_failed(struct core *c, uint64_t token, enum wan_failure failure)
{
	struct wan_end how = wan_end_of(c, failure);

	relay_failed(c, token, &how);
}

static void wan_failed(struct core *c, uint64_t token, const struct wan_end *how)
{
	struct event e = {.kind = EVENT_WAN_FAILED,
			  .failure = how->failure,
			  .failed = how->verdict,
			  .why = how->why};
	struct procedure *p;

	if (token & TOKEN_REPORT) {
		gateway_core_report_later(c, "no answer");
	} else if (token & TOKEN_STATE) {
		gateway_core_state_failed(c, how->failure);
	} else if (token & TOKEN_RELAY) {
		relay_failed(c, token & ~TOKEN_RELAY, how);
	} else {
		p = gateway_core_procedure_of(c, token);
		if (p)
			gateway_core_give(c, p, &e);
	}
	gateway_core_sweep_links(c);
}

void gateway_core_wan_failed(struct core *c, uint64_t token, enum wan_failure failure)
{
	struct wan_end how = wan_end_of(c, failure);

	wan_failed(c, token, &how);
}

void gateway_core_wan_refused(struct core *c, uint64_t token, enum verdict_id id, const char *why)
{
	const struct wan_end how = {.failure = WAN_FAILURE_ANSWER, .verdict = id, .why = why};

	wan_failed(c, token, &how);
}
