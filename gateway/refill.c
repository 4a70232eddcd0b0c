/*
 * Filling up the pool of a PNE: the request of Figure 7 without its user, whose place is taken by
 * the proof that this PN GW was given a key of an earlier set. The keys are added to what is left.
 */

#include "gateway/key-set.h"

enum { WAN = STATE_WAN, ANSWER, STORING, STATES };

static void request(struct procedure *p, const struct event *e, struct actions *out)
{
	struct message m = {.kind = MESSAGE_eukey_assignment_request};
	struct m_eukey_assignment_request *r = &m.eukey_assignment_request;
	const struct stored_key *newest = e->s->newest;
	uint8_t proof[P1_MAC_SIZE];
	int result;

	if (newest->index == 0 || !name_equal(&newest->user, &p->user)) {
		gateway_fail(p, out, VERDICT_REFILL_NEEDS_USER, NULL);
		return;
	}
	if (!gateway_shared_key(p, e, out) || !gateway_new_id(p, out))
		return;
	result = profile_refill_proof(p->profile, newest->key, name_bytes(&p->user),
				      name_bytes(&p->entity), newest->index, &p->awaited,
				      name_bytes(e->s->self), proof);
	if (result != 0) {
		gateway_error(p, out, result);
		return;
	}
	message_envelope(&m, &p->awaited, NULL, e->s->self, e->s->server);
	r->user_id = name_bytes(&p->user);
	r->entity_id = name_bytes(&p->entity);
	r->mode = ENTITY_PNE;
	r->has_key_set = true;
	r->key_set.kind = p->set_kind;
	r->key_set.count = p->set_count;
	r->key_set.has_gateway_key = true;
	r->key_set.gateway_key.kind = p->gateway_kind;
	r->key_set.gateway_key.key_index = p->gateway_index;
	r->has_refill = true;
	r->refill.key_index = newest->index;
	r->refill.proof = bytes_of(proof, sizeof(proof));
	gateway_to(p, ANSWER);
	(void)gateway_post(p, e, out, &m);
}

static void take(struct procedure *p, const struct event *e, struct actions *out)
{
	const struct m_eukey_assignment_response *r = &e->message->eukey_assignment_response;
	const char *defect;
	struct vault_batch *b;
	int result;

	if (e->s->pool_error != 0) {
		gateway_error(p, out, e->s->pool_error);
		return;
	}
	defect = r->has_key_set ? gateway_key_set_defect(p, &r->key_set, e->s->pool) : "no key set";
	if (defect) {
		gateway_fail(p, out, VERDICT_SERVER_MALFORMED, defect);
		return;
	}
	b = vault_batch_new();
	if (!b) {
		gateway_fail(p, out, VERDICT_GATEWAY_MEMORY, NULL);
		return;
	}
	result = gateway_key_set_take(p, e, &r->key_set, b);
	if (result != 0) {
		vault_batch_free(b);
		if (result == P1_REFUSED)
			gateway_fail(p, out, VERDICT_GATEWAY_CANNOT_UNWRAP, NULL);
		else
			gateway_error(p, out, result);
		return;
	}
	p->set_count = r->key_set.count;
	gateway_to(p, STORING);
	(void)gateway_store(p, out, b);
}

static void answered(struct procedure *p, const struct event *e, struct actions *out)
{
	const struct m_eukey_assignment_response *r = &e->message->eukey_assignment_response;

	if (!gateway_answers(p, e, MESSAGE_eukey_assignment_response) ||
	    !bytes_equal(r->user_id, name_bytes(&p->user)) ||
	    !bytes_equal(r->entity_id, name_bytes(&p->entity))) {
		gateway_fail(p, out, VERDICT_SERVER_MALFORMED, "not the answer to the request");
		return;
	}
	if (r->status == STATUS_OK) {
		take(p, e, out);
	} else if (r->status == STATUS_TOO_MANY_KEYS && p->set_count > 1) {
		p->set_count /= 2;
		request(p, e, out);
	} else if (r->status == STATUS_UNAUTHORIZED) {
		gateway_fail(p, out, VERDICT_REFILL_NEEDS_USER, status_wire_name(r->status));
	} else {
		gateway_fail(p, out, verdict_of_server_status(r->status),
			     status_wire_name(r->status));
	}
}

static void stored(struct procedure *p, const struct event *e, struct actions *out)
{
	if (e->result != 0)
		gateway_error(p, out, e->result);
	else
		gateway_done(p, out, NULL);
}

/* The PNE is not concerned, and nobody types a password. */
#define COMMON_CELLS                                                            \
	[EVENT_HASHED] = ignore_no_hash, [EVENT_SUBSCRIBED] = ignore_no_leader, \
	[EVENT_MESSAGE] = ignore_unasked, [EVENT_MALFORMED] = ignore_unasked,   \
	[EVENT_RELAYED] = ignore_relay, [EVENT_RELAY_ENDED] = ignore_relay,     \
	[EVENT_RECEIPT] = ignore_unasked, [EVENT_LINK_DOWN] = ignore_link,      \
	[EVENT_CANCEL] = cell_cancelled

static cell_fn *const table[STATES][EVENT_KINDS] = {
	[WAN] =
		{
			COMMON_CELLS,
			[EVENT_START] = cell_begin_with_wan,
			[EVENT_WAN_UP] = cell_begin,
			[EVENT_ANSWER] = ignore_no_request,
			[EVENT_WAN_FAILED] = ignore_no_request,
			[EVENT_STORED] = ignore_no_batch,
			[EVENT_TIMEOUT] = cell_wan_absent,
		},
	[ANSWER] =
		{
			COMMON_CELLS,
			[EVENT_START] = ignore_started,
			[EVENT_WAN_UP] = ignore_wan,
			[EVENT_ANSWER] = answered,
			[EVENT_WAN_FAILED] = cell_wan_failed,
			[EVENT_STORED] = ignore_no_batch,
			[EVENT_TIMEOUT] = ignore_timer,
		},
	[STORING] =
		{
			COMMON_CELLS,
			[EVENT_START] = ignore_started,
			[EVENT_WAN_UP] = ignore_wan,
			[EVENT_ANSWER] = ignore_no_request,
			[EVENT_WAN_FAILED] = ignore_no_request,
			[EVENT_STORED] = stored,
			[EVENT_TIMEOUT] = ignore_timer,
		},
};

static const char *const names[STATES] = {"waiting for the WAN", "awaiting further keys",
					  "storing further keys"};

const struct procedure_type gateway_refill = {
	.name = "filling up a pool",
	.figure = FIGURE_7,
	.states = STATES,
	.table = table,
	.begin = request,
	.state_names = names,
};
