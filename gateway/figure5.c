/*
 * Figure 5 steps 0 to 4, section 6.3.1: a user registers ID and password at the PN GW, which does
 * it only over a mutually authenticated connection (comment C249). Steps 7 to 12 are the relay's.
 */

#include "gateway/procedure.h"

enum { WAN = STATE_WAN, REGISTERING, STATES };

static void request(struct procedure *p, const struct event *e, struct actions *out)
{
	struct message m = {.kind = MESSAGE_id_pwd_registration_request};
	struct m_id_pwd_registration_request *r = &m.id_pwd_registration_request;
	struct sealed_password buffer;

	if (!e->s->wan_mutual) {
		gateway_fail(p, out, VERDICT_WAN_NOT_MUTUAL, NULL);
		return;
	}
	gateway_step(p, out, 0);
	gateway_step(p, out, 1);
	if (!gateway_shared_key(p, e, out) || !gateway_new_id(p, out) ||
	    !gateway_seal_password(p, out, p->gateway_secret, BYTES_NONE, p->password, &buffer,
				   &r->password))
		return;
	message_envelope(&m, &p->awaited, NULL, e->s->self, e->s->server);
	r->user_id = name_bytes(&p->user);
	r->has_gateway_key = true;
	r->gateway_key.kind = p->gateway_kind;
	r->gateway_key.key_index = p->gateway_index;
	r->has_password = true;
	if (!gateway_post(p, e, out, &m))
		return;
	gateway_step(p, out, 2);
	gateway_to(p, REGISTERING);
}

static void answered(struct procedure *p, const struct event *e, struct actions *out)
{
	enum status status;

	if (!gateway_answers(p, e, MESSAGE_id_pwd_registration_response)) {
		gateway_fail(p, out, VERDICT_SERVER_MALFORMED, "not the answer to the request");
		return;
	}
	p->step = 4;
	status = message_status(e->message);
	if (status == STATUS_OK)
		gateway_done(p, out, "the User ID is registered");
	else if (status == STATUS_UNAUTHORIZED || status == STATUS_ALREADY_INSTALLED)
		gateway_fail(p, out, VERDICT_USER_TAKEN, status_wire_name(status));
	else
		gateway_fail(p, out, verdict_of_server_status(status), status_wire_name(status));
}

static cell_fn *const table[STATES][EVENT_KINDS] = {
	[WAN] =
		{
			[EVENT_START] = cell_begin_with_wan,
			[EVENT_WAN_UP] = cell_begin,
			[EVENT_ANSWER] = ignore_no_request,
			[EVENT_WAN_FAILED] = ignore_no_request,
			[EVENT_HASHED] = ignore_no_hash,
			[EVENT_STORED] = ignore_no_batch,
			[EVENT_SUBSCRIBED] = ignore_no_leader,
			[EVENT_MESSAGE] = ignore_unasked,
			[EVENT_MALFORMED] = ignore_unasked,
			[EVENT_RELAYED] = ignore_relay,
			[EVENT_RELAY_ENDED] = ignore_relay,
			[EVENT_RECEIPT] = ignore_unasked,
			[EVENT_LINK_DOWN] = ignore_link,
			[EVENT_TIMEOUT] = cell_wan_absent,
			[EVENT_CANCEL] = cell_cancelled,
		},
	[REGISTERING] =
		{
			[EVENT_START] = ignore_started,
			[EVENT_WAN_UP] = ignore_wan,
			[EVENT_ANSWER] = answered,
			[EVENT_WAN_FAILED] = cell_wan_failed,
			[EVENT_HASHED] = ignore_no_hash,
			[EVENT_STORED] = ignore_no_batch,
			[EVENT_SUBSCRIBED] = ignore_no_leader,
			[EVENT_MESSAGE] = ignore_unasked,
			[EVENT_MALFORMED] = ignore_unasked,
			[EVENT_RELAYED] = ignore_relay,
			[EVENT_RELAY_ENDED] = ignore_relay,
			[EVENT_RECEIPT] = ignore_unasked,
			[EVENT_LINK_DOWN] = ignore_link,
			[EVENT_TIMEOUT] = ignore_timer,
			[EVENT_CANCEL] = cell_cancelled,
		},
};

static const char *const names[STATES] = {"waiting for the WAN", "registering"};

const struct procedure_type gateway_figure5_registration = {
	.name = "registration",
	.figure = FIGURE_5,
	.states = STATES,
	.table = table,
	.begin = request,
	.state_names = names,
};
