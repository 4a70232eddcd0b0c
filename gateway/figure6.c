/*
 * Figure 6, section 6.3.2.1: a PNE without UI on a secure PAN. Steps 0 to 3 are done once for any
 * number of PNEs (the subscription), steps 4 to 7 for each; steps 9 and 13 are the relay's, whose
 * verdict is that of the procedure. It can be done in parts (enum figure6_part): then what checks
 * the password stays in the vault, so that the trigger alone needs no subscription.
 */

#include "gateway/procedure.h"

#include <string.h>

#include "gateway/key-set.h"
#include "protocol/p1.h"

enum { SUB_WAN = STATE_WAN, SUB_SUBSCRIBING, SUB_HASHING, SUB_STORING, SUB_STATES };

/* The trigger alone: the user has subscribed before, and what checks the password was kept. */
static void recall(struct procedure *p, const struct event *e, struct actions *out)
{
	p->step = 7;
	if (!e->s->verifier) {
		gateway_fail(p, out, VERDICT_NOT_SUBSCRIBED, NULL);
		return;
	}
	memcpy(p->salt, e->s->verifier->salt, SALT_SIZE);
	p->iterations = e->s->verifier->iterations;
	gateway_derive(p, out);
	gateway_to(p, SUB_HASHING);
}

static void subscribe(struct procedure *p, const struct event *e, struct actions *out)
{
	struct message m = {.kind = MESSAGE_subscription_registration_request};
	struct m_subscription_registration_request *r = &m.subscription_registration_request;
	struct sealed_password buffer;

	if (p->part == FIGURE6_TRIGGER) {
		recall(p, e, out);
		return;
	}
	if (!e->s->wan_mutual) {
		gateway_fail(p, out, VERDICT_WAN_NOT_MUTUAL, NULL);
		return;
	}
	gateway_step(p, out, 0);
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
	r->subscription = name_bytes(e->s->self);
	if (!gateway_post(p, e, out, &m))
		return;
	gateway_step(p, out, 1);
	gateway_to(p, SUB_SUBSCRIBING);
}

static void subscribed(struct procedure *p, const struct event *e, struct actions *out)
{
	const struct m_subscription_registration_response *r;
	enum status status;

	if (!gateway_answers(p, e, MESSAGE_subscription_registration_response)) {
		gateway_fail(p, out, VERDICT_SERVER_MALFORMED, "not the answer to the request");
		return;
	}
	p->step = 3;
	r = &e->message->subscription_registration_response;
	status = r->status;
	if (status == STATUS_UNAUTHORIZED) {
		gateway_fail(p, out, VERDICT_WRONG_PASSWORD, NULL);
		return;
	}
	if (status == STATUS_NOT_OWNER) {
		gateway_fail(p, out, VERDICT_GATEWAY_NOT_OWNER, NULL);
		return;
	}
	if (status != STATUS_OK) {
		gateway_fail(p, out, verdict_of_server_status(status), status_wire_name(status));
		return;
	}
	if (!r->has_parameters) {
		gateway_fail(p, out, VERDICT_SERVER_MALFORMED, "no password parameters");
		return;
	}
	if (!gateway_parameters(p, e, out, &r->parameters))
		return;
	gateway_derive(p, out);
	gateway_to(p, SUB_HASHING);
}

/* A later trigger asks nobody else whether the password is right. */
static void keep_verifier(struct procedure *p, struct actions *out)
{
	struct verifier v = {.iterations = p->iterations};
	struct vault_batch *b;
	int r = gateway_verifier_mac(p->profile, p->ph, &p->user, v.mac);

	if (r != 0) {
		gateway_error(p, out, r);
		return;
	}
	b = vault_batch_new();
	if (!b) {
		wipe(&v, sizeof(v));
		gateway_fail(p, out, VERDICT_GATEWAY_MEMORY, NULL);
		return;
	}
	memcpy(v.salt, p->salt, SALT_SIZE);
	records_put_verifier(b, &p->user, &v);
	wipe(&v, sizeof(v));
	gateway_to(p, SUB_STORING);
	(void)gateway_store(p, out, b);
}

static void compare(struct procedure *p, const struct event *e, struct actions *out)
{
	uint8_t mac[P1_MAC_SIZE];
	bool right;
	int r = gateway_verifier_mac(p->profile, p->ph, &p->user, mac);

	if (r != 0) {
		gateway_error(p, out, r);
		return;
	}
	right = e->s->verifier && constant_time_equal(bytes_of(mac, sizeof(mac)),
						      bytes_of(e->s->verifier->mac, sizeof(mac)));
	wipe(mac, sizeof(mac));
	if (right)
		gateway_done(p, out, NULL);
	else
		gateway_fail(p, out, VERDICT_WRONG_PASSWORD, "checked without the CPNS Server");
}

static void hashed(struct procedure *p, const struct event *e, struct actions *out)
{
	if (!e->ph) {
		gateway_fail(p, out, VERDICT_GATEWAY_MEMORY, NULL);
		return;
	}
	p->ph = secret_ref(e->ph);
	switch (p->part) {
	case FIGURE6_ALL:
		gateway_done(p, out, NULL);
		return;
	case FIGURE6_SUBSCRIBE:
	case FIGURE6_INSTALL:
		keep_verifier(p, out);
		return;
	case FIGURE6_TRIGGER:
		compare(p, e, out);
		return;
	}
}

static void kept(struct procedure *p, const struct event *e, struct actions *out)
{
	if (e->result != 0)
		gateway_error(p, out, e->result);
	else
		gateway_done(p, out, "the user is subscribed");
}

static cell_fn *const subscription_table[SUB_STATES][EVENT_KINDS] = {
	[SUB_WAN] =
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
	[SUB_SUBSCRIBING] =
		{
			[EVENT_START] = ignore_started,
			[EVENT_WAN_UP] = ignore_wan,
			[EVENT_ANSWER] = subscribed,
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
	[SUB_HASHING] =
		{
			[EVENT_START] = ignore_started,
			[EVENT_WAN_UP] = ignore_wan,
			[EVENT_ANSWER] = ignore_no_request,
			[EVENT_WAN_FAILED] = ignore_no_request,
			[EVENT_HASHED] = hashed,
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
	[SUB_STORING] =
		{
			[EVENT_START] = ignore_started,
			[EVENT_WAN_UP] = ignore_wan,
			[EVENT_ANSWER] = ignore_no_request,
			[EVENT_WAN_FAILED] = ignore_no_request,
			[EVENT_HASHED] = ignore_no_hash,
			[EVENT_STORED] = kept,
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

static const char *const subscription_names[SUB_STATES] = {
	"waiting for the WAN", "subscribing", "hashing the password", "storing what checks it"};

const struct procedure_type gateway_figure6_subscription = {
	.name = "subscription",
	.figure = FIGURE_6,
	.states = SUB_STATES,
	.table = subscription_table,
	.begin = subscribe,
	.state_names = subscription_names,
};

enum { WAITING, INSTALLING, TRIGGERED, RELAYING, STATES };

/* Comment C255: a secure PAN, and one owner. True when the procedure may go on. */
static bool may_go_on(struct procedure *p, const struct event *e, struct actions *out)
{
	const struct surroundings *s = e->s;

	if (!s->link_up) {
		gateway_fail(p, out, VERDICT_PNE_UNKNOWN, NULL);
		return false;
	}
	if (s->level < s->limits->secure_level) {
		gateway_fail(p, out, VERDICT_PAN_INSECURE, pan_security_name(s->level));
		return false;
	}
	if (s->owner->text[0] && !name_equal(s->owner, &p->user)) {
		gateway_fail(p, out, VERDICT_GATEWAY_NOT_OWNER, NULL);
		return false;
	}
	if (s->pne_owner->text[0] && !name_equal(s->pne_owner, &p->user)) {
		gateway_fail(p, out, VERDICT_NOT_OWNER, NULL);
		return false;
	}
	return true;
}

static void start(struct procedure *p, const struct event *e, struct actions *out)
{
	p->step = 0;
	if (may_go_on(p, e, out))
		gateway_to(p, WAITING);
}

static void trigger(struct procedure *p, const struct event *e, struct actions *out)
{
	struct message m = {.kind = MESSAGE_eukey_assignment_trigger};
	struct m_eukey_assignment_trigger *t = &m.eukey_assignment_trigger;
	uint8_t rand[RAND_SIZE], auth[P1_MAC_SIZE];
	int result;

	if (!gateway_new_id(p, out))
		return;
	result = profile_rand(p->profile, rand, sizeof(rand));
	if (result == 0)
		result = profile_auth_data(p->profile, p->ph, message_name(m.kind),
					   name_bytes(&p->user), name_bytes(e->s->self),
					   name_bytes(&p->entity), bytes_of(rand, sizeof(rand)),
					   &p->awaited, auth);
	if (result != 0) {
		gateway_error(p, out, result);
		return;
	}
	message_envelope(&m, &p->awaited, NULL, e->s->self, &p->entity);
	t->user_id = name_bytes(&p->user);
	t->rand_pngw = bytes_of(rand, sizeof(rand));
	t->auth_data = bytes_of(auth, sizeof(auth));
	gateway_to(p, TRIGGERED);
	if (gateway_send(p, e, out, &m))
		gateway_step(p, out, 7);
}

static void install(struct procedure *p, const struct event *e, struct actions *out)
{
	struct message m = {.kind = MESSAGE_id_password_installation_request};
	struct m_id_password_installation_request *r = &m.id_password_installation_request;
	struct sealed_password buffer;

	if (e->verdict->id != VERDICT_DONE) {
		p->step = e->verdict->step;
		gateway_fail(p, out, e->verdict->id, e->verdict->detail);
		return;
	}
	p->step = p->part == FIGURE6_TRIGGER ? 7 : 4;
	if (!may_go_on(p, e, out))
		return;
	p->ph = secret_ref(e->subscription->ph);
	if (p->part == FIGURE6_TRIGGER) {
		trigger(p, e, out);
		return;
	}
	memcpy(p->salt, e->subscription->salt, SALT_SIZE);
	p->iterations = e->subscription->iterations;
	if (!gateway_new_id(p, out) ||
	    !gateway_seal_password(p, out, e->s->link_secret, e->s->link_binding,
				   e->subscription->password, &buffer, &r->password))
		return;
	message_envelope(&m, &p->awaited, NULL, e->s->self, &p->entity);
	r->user_id = name_bytes(&p->user);
	r->has_parameters = true;
	r->parameters.salt = bytes_of(p->salt, SALT_SIZE);
	r->parameters.iterations = p->iterations;
	r->has_password = true;
	gateway_to(p, INSTALLING);
	if (gateway_send(p, e, out, &m))
		gateway_step(p, out, 4);
}

static void refused_by_pne(struct procedure *p, struct actions *out, enum status status)
{
	gateway_fail(p, out, verdict_of_pne_status(status), status_wire_name(status));
}

static void installed(struct procedure *p, const struct event *e, struct actions *out)
{
	struct message_id answered = message_in_response_to(e->message);
	enum status status;

	if (e->message->kind != MESSAGE_id_password_installation_response ||
	    !message_id_equal(&answered, &p->awaited))
		return;
	p->step = 6;
	status = message_status(e->message);
	if (status != STATUS_OK) {
		refused_by_pne(p, out, status);
		return;
	}
	if (p->part == FIGURE6_INSTALL)
		gateway_done(p, out, "User ID and password are installed");
	else
		trigger(p, e, out);
}

static void receipt(struct procedure *p, const struct event *e, struct actions *out)
{
	if (gateway_receipt_is_for(p, e->receipt) && e->receipt->status != STATUS_OK)
		refused_by_pne(p, out, e->receipt->status);
}

static void relayed(struct procedure *p, const struct event *e, struct actions *out)
{
	(void)out;
	if (!message_id_equal(&e->in_response_to, &p->awaited))
		return;
	p->step = 9;
	gateway_to(p, RELAYING);
}

static void relay_ended(struct procedure *p, const struct event *e, struct actions *out)
{
	p->step = e->verdict->step;
	p->key_index = e->verdict->key_index;
	if (e->verdict->id == VERDICT_DONE)
		gateway_done(p, out, e->verdict->detail);
	else
		gateway_fail(p, out, e->verdict->id, e->verdict->detail);
}

static cell_fn *const table[STATES][EVENT_KINDS] = {
	[WAITING] =
		{
			[EVENT_START] = start,
			[EVENT_WAN_UP] = ignore_wan,
			[EVENT_ANSWER] = ignore_no_request,
			[EVENT_WAN_FAILED] = ignore_no_request,
			[EVENT_HASHED] = ignore_no_hash,
			[EVENT_STORED] = ignore_no_batch,
			[EVENT_SUBSCRIBED] = install,
			[EVENT_MESSAGE] = ignore_unasked,
			[EVENT_MALFORMED] = ignore_unasked,
			[EVENT_RELAYED] = ignore_relay,
			[EVENT_RELAY_ENDED] = ignore_relay,
			[EVENT_RECEIPT] = ignore_unasked,
			[EVENT_LINK_DOWN] = cell_pan_lost,
			[EVENT_TIMEOUT] = ignore_timer,
			[EVENT_CANCEL] = cell_cancelled,
		},
	[INSTALLING] =
		{
			[EVENT_START] = ignore_started,
			[EVENT_WAN_UP] = ignore_wan,
			[EVENT_ANSWER] = ignore_no_request,
			[EVENT_WAN_FAILED] = ignore_no_request,
			[EVENT_HASHED] = ignore_no_hash,
			[EVENT_STORED] = ignore_no_batch,
			[EVENT_SUBSCRIBED] = ignore_no_leader,
			[EVENT_MESSAGE] = installed,
			[EVENT_MALFORMED] = cell_pne_malformed,
			[EVENT_RELAYED] = ignore_relay,
			[EVENT_RELAY_ENDED] = ignore_relay,
			[EVENT_RECEIPT] = receipt,
			[EVENT_LINK_DOWN] = cell_pan_lost,
			[EVENT_TIMEOUT] = cell_pne_silent,
			[EVENT_CANCEL] = cell_cancelled,
		},
	[TRIGGERED] =
		{
			[EVENT_START] = ignore_started,
			[EVENT_WAN_UP] = ignore_wan,
			[EVENT_ANSWER] = ignore_no_request,
			[EVENT_WAN_FAILED] = ignore_no_request,
			[EVENT_HASHED] = ignore_no_hash,
			[EVENT_STORED] = ignore_no_batch,
			[EVENT_SUBSCRIBED] = ignore_no_leader,
			[EVENT_MESSAGE] = ignore_unasked,
			[EVENT_MALFORMED] = cell_pne_malformed,
			[EVENT_RELAYED] = relayed,
			[EVENT_RELAY_ENDED] = ignore_relay,
			[EVENT_RECEIPT] = receipt,
			[EVENT_LINK_DOWN] = cell_pan_lost,
			[EVENT_TIMEOUT] = cell_pne_silent,
			[EVENT_CANCEL] = cell_cancelled,
		},
	[RELAYING] =
		{
			[EVENT_START] = ignore_started,
			[EVENT_WAN_UP] = ignore_wan,
			[EVENT_ANSWER] = ignore_no_request,
			[EVENT_WAN_FAILED] = ignore_no_request,
			[EVENT_HASHED] = ignore_no_hash,
			[EVENT_STORED] = ignore_no_batch,
			[EVENT_SUBSCRIBED] = ignore_no_leader,
			[EVENT_MESSAGE] = ignore_unasked,
			[EVENT_MALFORMED] = cell_pne_malformed,
			[EVENT_RELAYED] = ignore_relay,
			[EVENT_RELAY_ENDED] = relay_ended,
			[EVENT_RECEIPT] = ignore_relay,
			[EVENT_LINK_DOWN] = cell_pan_lost,
			[EVENT_TIMEOUT] = ignore_timer,
			[EVENT_CANCEL] = cell_cancelled,
		},
};

static const char *const names[STATES] = {"waiting for the subscription", "installing", "triggered",
					  "relaying"};

const struct procedure_type gateway_figure6_assignment = {
	.name = "assignment on a secure PAN",
	.figure = FIGURE_6,
	.states = STATES,
	.table = table,
	.begin = NULL,
	.state_names = names,
};

bool gateway_figure6_is_relayed(const struct procedure *p, const struct message_id *to)
{
	return p->type == &gateway_figure6_assignment && p->state == RELAYING &&
	       message_id_equal(to, &p->awaited);
}
