/* Calls of the relay in a replay. */

#include "gateway/replay-internal.h"

#include <errno.h>
#include <stdlib.h>

/* What a call is made with. */
struct called {
	enum relay_call_kind kind;
	size_t count;
	struct relay_limits limits;
	struct relay_link link;
	struct name server, entity, user;
	bool has_entity, has_user;
	uint64_t token, now;
	struct message *message;
	char *xml;
	size_t size;
	struct receipt receipt;
	bool has_receipt;
	struct wan_end failed;
	char why[256];
	int result;
};

static bool has_link(enum relay_call_kind kind)
{
	return kind == CALL_REQUEST || kind == CALL_RECEIPT;
}

static int take(struct called *c, struct note_reader *n)
{
	int r;

	c->kind = (enum relay_call_kind)note_take_number(n, NOTE_call);
	c->count = (size_t)note_take_number(n, NOTE_count);
	c->limits.capacity = (unsigned)note_take_number(n, NOTE_capacity);
	c->limits.quota = (unsigned)note_take_number(n, NOTE_quota);
	c->limits.wan_wait_ms = (unsigned)note_take_number(n, NOTE_wan_wait);
	c->limits.request_ms = (unsigned)note_take_number(n, NOTE_request_ms);
	c->limits.receipt_ms = (unsigned)note_take_number(n, NOTE_receipt_ms);
	c->limits.secure_level = (enum pan_security)note_take_number(n, NOTE_secure_level);
	c->has_entity = note_take_name(n, NOTE_entity, &c->entity);
	if (has_link(c->kind)) {
		(void)note_take_name(n, NOTE_server, &c->server);
		c->link.server = &c->server;
		c->link.entity = &c->entity;
		c->link.wan_up = note_take_number(n, NOTE_wan_up) != 0;
		c->link.level = (enum pan_security)note_take_number(n, NOTE_level);
		c->link.relayed.issued = (uint32_t)note_take_number(n, NOTE_issued);
		c->link.relayed.installed = (uint32_t)note_take_number(n, NOTE_installed);
		(void)note_take_name(n, NOTE_user, &c->link.relayed.user);
		c->link.relayed_unknown = note_take_number(n, NOTE_relayed_unknown) != 0;
	}
	c->has_user = note_take_name(n, NOTE_user, &c->user);
	c->token = note_take_number(n, NOTE_token);
	c->now = note_take_number(n, NOTE_due);
	r = gateway_replay_message(n, &c->message, &c->xml, &c->size);
	c->has_receipt = gateway_replay_receipt(n, &c->receipt);
	c->failed.failure = (enum wan_failure)note_take_number(n, NOTE_failure);
	c->failed.verdict = (enum verdict_id)note_take_number(n, NOTE_told);
	c->failed.why = gateway_replay_why(n, c->why, sizeof(c->why));
	c->result = gateway_replay_error(n, NOTE_error);
	return r;
}

/* The replay's token for a recorded one; 0: that request is not in the record. */
static uint64_t own_token(const struct replay *r, uint64_t recorded)
{
	for (const struct token_pair *t = r->tokens; t; t = t->next) {
		if (t->recorded == recorded)
			return t->own;
	}
	return 0;
}

static bool needs_token(enum relay_call_kind kind)
{
	return kind == CALL_ANSWERED || kind == CALL_DROP_ANSWER || kind == CALL_WAN_FAILED ||
	       kind == CALL_STORED;
}

static void call(struct replay *r, struct called *c, uint64_t token, struct actions *a)
{
	uint64_t next;

	c->link.now = r->now;
	c->link.wall = r->wall;
	switch (c->kind) {
	case CALL_REQUEST:
		gateway_relay_request(r->relay, &c->link, c->message, bytes_of(c->xml, c->size), a);
		break;
	case CALL_ANSWERED:
		gateway_relay_answered(r->relay, c->now, token, c->message,
				       bytes_of(c->xml, c->size), a);
		break;
	case CALL_DROP_ANSWER:
		gateway_relay_drop_answer(r->relay, token, a);
		break;
	case CALL_WAN_FAILED:
		gateway_relay_wan_failed(r->relay, token, &c->failed, a);
		break;
	case CALL_RECEIPT:
		(void)gateway_relay_receipt(r->relay, &c->link, &c->receipt, a);
		break;
	case CALL_STORED:
		gateway_relay_stored(r->relay, c->now, token, c->result, a);
		break;
	case CALL_TICK:
		(void)gateway_relay_tick(r->relay, c->now, &next, a);
		break;
	case CALL_REVOKE:
		(void)gateway_relay_revoke(r->relay, c->has_entity ? &c->entity : NULL,
					   c->has_user ? &c->user : NULL, a);
		break;
	case CALLS:
		break;
	}
}

static bool is_complete(const struct called *c)
{
	return (unsigned)c->kind < CALLS &&
	       ((c->kind != CALL_REQUEST && c->kind != CALL_ANSWERED) || c->message) &&
	       (c->kind != CALL_RECEIPT || c->has_receipt);
}

/* A tick ends the request whose batch it stores: whether that one is in the record. */
static bool tick_is_known(const struct replay *r, struct note_reader n)
{
	struct note_field f;

	return note_find(&n, NOTE_token, &f) && own_token(r, f.number) != 0;
}

/* Whether the first that was done is what the replay does first. */
static bool same_beginning(struct note_reader n, const struct actions *a)
{
	struct note_field f;

	if (!note_take(&n, NOTE_action, &f))
		return a->count == 0;
	return a->count > 0 && f.number == a->list[0].kind;
}

/* Where older requests are not in the record, what they may change is not held against it. */
static int carry_out(struct replay *r, struct called *c, struct note_reader n)
{
	bool whole = gateway_relay_count(r->relay) == c->count;
	uint64_t token = needs_token(c->kind) ? own_token(r, c->token) : 0;
	struct actions actions;
	int result;

	if (!whole && ((needs_token(c->kind) && token == 0) ||
		       (c->kind == CALL_TICK && !tick_is_known(r, n))))
		return gateway_replay_skip(r, n, true);
	gateway_actions_begin(&actions);
	call(r, c, token, &actions);
	if (!whole && !same_beginning(n, &actions)) {
		result = gateway_replay_skip(r, n, true);
	} else {
		gateway_replay_compare(r, &n, &actions);
		result = gateway_replay_done(r, &actions, true);
	}
	gateway_actions_end(&actions);
	return result;
}

int gateway_replay_relay(struct replay *r, struct note_reader n)
{
	struct called c = {.kind = CALLS};
	struct note_reader from = n;
	int result = 0;

	if (note_take_number(&n, NOTE_cut) != 0)
		return gateway_replay_skip(r, from, true);
	result = take(&c, &n);
	if (result == 0 && !r->relay)
		result = gateway_relay_new(&c.limits, &r->relay);
	if (result == 0 && note_take_number(&n, NOTE_cut) != 0) {
		result = gateway_replay_skip(r, from, true);
	} else if (result == 0 && is_complete(&c)) {
		gateway_relay_set_limits(r->relay, &c.limits);
		result = carry_out(r, &c, n);
	} else if (result != -ENOMEM) {
		gateway_replay_differs(r, "the call cannot be made from what is recorded");
		result = 0;
	}
	message_free(c.message);
	free(c.xml);
	return result;
}
