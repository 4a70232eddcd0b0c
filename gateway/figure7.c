/*
 * Figure 7, section 6.3.2.2: a PNE without UI on a PAN that is not secure. The PN GW gets the
 * Temporary Key and a set of EUKeys, makes them durable, and only then notifies the PNE. With the
 * WAN down it issues the next key of the set it has.
 */

#include <stdio.h>
#include <string.h>

#include "gateway/credentials.h"
#include "protocol/digest.h"
#include "protocol/p1.h"

enum {
	WAN = CREDENTIALS_WAN,
	CHALLENGE = CREDENTIALS_CHALLENGE,
	HASHING = CREDENTIALS_HASHING,
	ANSWER = CREDENTIALS_ANSWER,
	STORING,
	NOTIFIED,
	RECORDING,
	STATES
};

static void request(struct procedure *p, const struct event *e, struct actions *out)
{
	if (!gateway_shared_key(p, e, out))
		return;
	p->nonce[0] = '\0';
	gateway_step(p, out, 0);
	(void)gateway_credentials_request(p, e, out, ENTITY_PNE);
}

/* Again with credentials. A connection that changed meanwhile has another exporter. */
static void request_with_credentials(struct procedure *p, const struct event *e,
				     struct actions *out)
{
	if (!gateway_shared_key(p, e, out))
		return;
	if (gateway_credentials_request(p, e, out, ENTITY_PNE))
		gateway_step(p, out, 1);
}

static void start(struct procedure *p, const struct event *e, struct actions *out)
{
	p->step = 0;
	if (!e->s->link_up) {
		gateway_fail(p, out, VERDICT_PNE_UNKNOWN, NULL);
		return;
	}
	cell_begin_with_wan(p, e, out);
}

static void challenged(struct procedure *p, const struct event *e, struct actions *out)
{
	if (gateway_credentials_answer(p, e, out, false) == CREDENTIALS_AGAIN)
		request_with_credentials(p, e, out);
}

static void hashed(struct procedure *p, const struct event *e, struct actions *out)
{
	if (!e->ph) {
		gateway_fail(p, out, VERDICT_GATEWAY_MEMORY, NULL);
		return;
	}
	p->ph = secret_ref(e->ph);
	if (e->s->wan_up)
		request_with_credentials(p, e, out);
	else
		cell_begin_with_wan(p, e, out);
}

static void delivery_is(struct procedure *p, enum delivery_state state)
{
	p->delivery.user = p->user;
	p->delivery.entity = p->entity;
	p->delivery.key_index = p->key_index;
	p->delivery.state = state;
	p->delivery.message_id = p->awaited;
}

/* The id of the notification is chosen now, so that the record that it was issued can name it. */
static bool issue(struct procedure *p, struct actions *out, struct vault_batch *b)
{
	if (!gateway_new_id(p, out)) {
		vault_batch_free(b);
		return false;
	}
	records_put_eukey(b, &p->entity, &p->user, p->key_index, p->key, KEY_ISSUED);
	delivery_is(p, DELIVERY_ISSUED);
	records_put_delivery(b, &p->delivery);
	gateway_to(p, STORING);
	return gateway_store(p, out, b);
}

static int unwrap_one(const struct procedure *p, const struct m_key_set *set,
		      const struct m_set_key *k, struct secret **out)
{
	struct p1_context c;

	p1_key_context(&c, P1_SET, name_bytes(&p->user), name_bytes(&p->entity), k->key_index);
	return p1_unwrap(p->gateway_secret, set->rand_server, &c, k->wrapped, out);
}

/* One more key of the set, of rising or falling index; the lowest one is the next to be issued. */
static void keep(struct procedure *p, struct vault_batch *b, uint32_t index, struct secret *key)
{
	records_put_eukey(b, &p->entity, &p->user, index, key, KEY_UNSPENT);
	if (p->key_index == 0 || index < p->key_index) {
		secret_clear(&p->key);
		p->key = secret_ref(key);
		p->key_index = index;
	}
}

static int unwrap_random(struct procedure *p, const struct m_key_set *set, struct vault_batch *b)
{
	for (size_t i = 0; i < set->keys_count; i++) {
		struct secret *key;
		int r = unwrap_one(p, set, &set->keys[i], &key);

		if (r != 0)
			return r;
		keep(p, b, set->keys[i].key_index, key);
		secret_unref(key);
	}
	return 0;
}

static int unwrap_chain(struct procedure *p, const struct m_key_set *set, struct vault_batch *b)
{
	struct secret *key;
	uint32_t index = set->keys[0].key_index;
	int r = unwrap_one(p, set, &set->keys[0], &key);

	if (r != 0)
		return r;
	for (uint32_t left = set->count; left > 0; left--, index--) {
		struct secret *below;

		keep(p, b, index, key);
		if (left == 1)
			break;
		r = p1_chain_below(key, &below);
		if (r != 0) {
			secret_unref(key);
			return r;
		}
		secret_unref(key);
		key = below;
	}
	secret_unref(key);
	return 0;
}

/* Whether the set is one that was asked for and can be. */
static bool set_fits(const struct procedure *p, const struct m_key_set *set)
{
	if (set->kind != p->set_kind || set->count == 0 || set->count > p->set_count ||
	    set->gateway_key.kind != p->gateway_kind ||
	    set->gateway_key.key_index != p->gateway_index)
		return false;
	if (set->kind == KEY_SET_CHAIN)
		return set->keys_count == 1 && set->keys[0].key_index >= set->count;
	return set->keys_count == set->count;
}

static void take_set(struct procedure *p, const struct event *e, struct actions *out)
{
	const struct m_eukey_assignment_response *r = &e->message->eukey_assignment_response;
	const struct m_key_set *set = &r->key_set;
	const struct vault_id all = {VAULT_EUKEY, name_bytes(&p->entity), BYTES_NONE};
	struct vault_batch *b;
	int result;

	if (!r->has_key_set || !set_fits(p, set)) {
		gateway_fail(p, out, VERDICT_SERVER_MALFORMED,
			     "not the key set that was asked for");
		return;
	}
	b = vault_batch_new();
	if (!b) {
		gateway_fail(p, out, VERDICT_GATEWAY_MEMORY, NULL);
		return;
	}
	vault_batch_erase_owner(b, all.kind, all.owner);
	result = p1_unwrap_temporary_key(p->gateway_secret, set->rand_server, name_bytes(&p->user),
					 name_bytes(&p->entity), set->wrapped_temporary_key,
					 &p->temporary_key);
	if (result == 0)
		result = set->kind == KEY_SET_CHAIN ? unwrap_chain(p, set, b)
						    : unwrap_random(p, set, b);
	if (result != 0) {
		vault_batch_free(b);
		if (result == P1_REFUSED)
			gateway_fail(p, out, VERDICT_GATEWAY_CANNOT_UNWRAP, NULL);
		else
			gateway_error(p, out, result);
		return;
	}
	records_put_temporary_key(b, &p->entity, &p->user, p->temporary_key);
	records_put_pne_owner(b, &p->entity, &p->user);
	p->step = 5;
	(void)issue(p, out, b);
}

static void answered(struct procedure *p, const struct event *e, struct actions *out)
{
	switch (gateway_credentials_answer(p, e, out, true)) {
	case CREDENTIALS_TAKEN:
		take_set(p, e, out);
		return;
	case CREDENTIALS_AGAIN:
		request_with_credentials(p, e, out);
		return;
	case CREDENTIALS_HANDLED:
		return;
	}
}

/* The WAN did not come up: the set in the vault is there for this. */
static void without_wan(struct procedure *p, const struct event *e, struct actions *out)
{
	const struct stored_key *next = e->s->unspent;
	struct vault_batch *b;

	if (next->index == 0 || !e->s->temporary_key || !name_equal(&next->user, &p->user)) {
		cell_wan_absent(p, e, out);
		return;
	}
	if (e->s->owner->text[0] && !name_equal(e->s->owner, &p->user)) {
		gateway_fail(p, out, VERDICT_GATEWAY_NOT_OWNER, NULL);
		return;
	}
	if (e->s->pne_owner->text[0] && !name_equal(e->s->pne_owner, &p->user)) {
		gateway_fail(p, out, VERDICT_NOT_OWNER, NULL);
		return;
	}
	b = vault_batch_new();
	if (!b) {
		gateway_fail(p, out, VERDICT_GATEWAY_MEMORY, NULL);
		return;
	}
	p->offline = true;
	secret_clear(&p->temporary_key);
	secret_clear(&p->key);
	p->temporary_key = secret_ref(e->s->temporary_key);
	p->key = secret_ref(next->key);
	p->key_index = next->index;
	(void)issue(p, out, b);
}

static void notify(struct procedure *p, const struct event *e, struct actions *out)
{
	struct message m = {.kind = MESSAGE_eukey_assignment_notification};
	struct m_eukey_assignment_notification *n = &m.eukey_assignment_notification;
	uint8_t rand[RAND_SIZE], wrapped[P1_WRAPPED_KEY_SIZE];
	struct p1_context c;
	int result;

	if (e->result != 0) {
		gateway_error(p, out, e->result);
		return;
	}
	if (!p->offline)
		gateway_step(p, out, 5);
	p->step = 6;
	if (!e->s->link_up) {
		gateway_fail(p, out, VERDICT_PAN_LOST, NULL);
		return;
	}
	p1_key_context(&c, P1_NOTIFICATION, name_bytes(&p->user), name_bytes(&p->entity),
		       p->key_index);
	result = p1_random(rand, sizeof(rand));
	if (result == 0)
		result = p1_wrap(p->temporary_key, bytes_of(rand, sizeof(rand)), &c, p->key,
				 wrapped);
	if (result != 0) {
		gateway_error(p, out, result);
		return;
	}
	message_envelope(&m, &p->awaited, NULL, e->s->self, &p->entity);
	n->user_id = name_bytes(&p->user);
	n->entity_id = name_bytes(&p->entity);
	n->rand = bytes_of(rand, sizeof(rand));
	n->key_index = p->key_index;
	n->wrapped = bytes_of(wrapped, sizeof(wrapped));
	gateway_to(p, NOTIFIED);
	if (gateway_send(p, e, out, &m))
		gateway_step(p, out, 6);
}

static void receipt(struct procedure *p, const struct event *e, struct actions *out)
{
	const struct receipt *r = e->receipt;
	struct vault_batch *b;
	uint8_t proof[P1_MAC_SIZE];
	int result;

	if (!message_id_equal(&r->id, &p->awaited))
		return;
	p->step = 7;
	if (r->status != STATUS_OK) {
		b = vault_batch_new();
		delivery_is(p, DELIVERY_REFUSED);
		if (b) {
			records_put_delivery(b, &p->delivery);
			(void)gateway_store(p, out, b);
		}
		gateway_fail(p, out, verdict_of_pne_status(r->status), status_wire_name(r->status));
		return;
	}
	result = p1_held_proof(p->key, name_bytes(&p->user), name_bytes(&p->entity), p->key_index,
			       &p->awaited, proof);
	if (result != 0) {
		gateway_error(p, out, result);
		return;
	}
	if (!r->has_proof || !constant_time_equal(bytes_of(r->proof, sizeof(r->proof)),
						  bytes_of(proof, sizeof(proof)))) {
		gateway_fail(p, out, VERDICT_PNE_CANNOT_UNWRAP,
			     "the receipt's proof is not one of the key that was sent");
		return;
	}
	b = vault_batch_new();
	if (!b) {
		gateway_fail(p, out, VERDICT_GATEWAY_MEMORY, NULL);
		return;
	}
	delivery_is(p, DELIVERY_INSTALLED);
	p->delivery.has_proof = true;
	memcpy(p->delivery.proof, proof, sizeof(proof));
	records_put_eukey(b, &p->entity, &p->user, p->key_index, p->key, KEY_DELIVERED);
	records_put_delivery(b, &p->delivery);
	gateway_to(p, RECORDING);
	(void)gateway_store(p, out, b);
}

static void recorded(struct procedure *p, const struct event *e, struct actions *out)
{
	if (e->result != 0) {
		gateway_error(p, out, e->result);
		return;
	}
	gateway_done(p, out,
		     p->offline ? "issued from the set in the vault, without the WAN" : NULL);
}

#define COMMON_CELLS                                                           \
	[EVENT_SUBSCRIBED] = ignore_no_leader, [EVENT_RELAYED] = ignore_relay, \
	[EVENT_RELAY_ENDED] = ignore_relay, [EVENT_MESSAGE] = ignore_unasked,  \
	[EVENT_CANCEL] = cell_cancelled

static cell_fn *const table[STATES][EVENT_KINDS] = {
	[WAN] =
		{
			COMMON_CELLS,
			[EVENT_START] = start,
			[EVENT_WAN_UP] = cell_begin,
			[EVENT_ANSWER] = ignore_no_request,
			[EVENT_WAN_FAILED] = ignore_no_request,
			[EVENT_HASHED] = ignore_no_hash,
			[EVENT_STORED] = ignore_no_batch,
			[EVENT_MALFORMED] = ignore_unasked,
			[EVENT_RECEIPT] = ignore_unasked,
			[EVENT_LINK_DOWN] = cell_pan_lost,
			[EVENT_TIMEOUT] = without_wan,
		},
	[CHALLENGE] =
		{
			COMMON_CELLS,
			[EVENT_START] = ignore_started,
			[EVENT_WAN_UP] = ignore_wan,
			[EVENT_ANSWER] = challenged,
			[EVENT_WAN_FAILED] = cell_wan_failed,
			[EVENT_HASHED] = ignore_no_hash,
			[EVENT_STORED] = ignore_no_batch,
			[EVENT_MALFORMED] = ignore_unasked,
			[EVENT_RECEIPT] = ignore_unasked,
			[EVENT_LINK_DOWN] = cell_pan_lost,
			[EVENT_TIMEOUT] = ignore_timer,
		},
	[HASHING] =
		{
			COMMON_CELLS,
			[EVENT_START] = ignore_started,
			[EVENT_WAN_UP] = ignore_wan,
			[EVENT_ANSWER] = ignore_no_request,
			[EVENT_WAN_FAILED] = ignore_no_request,
			[EVENT_HASHED] = hashed,
			[EVENT_STORED] = ignore_no_batch,
			[EVENT_MALFORMED] = ignore_unasked,
			[EVENT_RECEIPT] = ignore_unasked,
			[EVENT_LINK_DOWN] = cell_pan_lost,
			[EVENT_TIMEOUT] = ignore_timer,
		},
	[ANSWER] =
		{
			COMMON_CELLS,
			[EVENT_START] = ignore_started,
			[EVENT_WAN_UP] = ignore_wan,
			[EVENT_ANSWER] = answered,
			[EVENT_WAN_FAILED] = cell_wan_failed,
			[EVENT_HASHED] = ignore_no_hash,
			[EVENT_STORED] = ignore_no_batch,
			[EVENT_MALFORMED] = ignore_unasked,
			[EVENT_RECEIPT] = ignore_unasked,
			/* The server may have made the set already: it is stored, whoever has gone.
			 */
			[EVENT_LINK_DOWN] = ignore_link,
			[EVENT_TIMEOUT] = ignore_timer,
		},
	[STORING] =
		{
			COMMON_CELLS,
			[EVENT_START] = ignore_started,
			[EVENT_WAN_UP] = ignore_wan,
			[EVENT_ANSWER] = ignore_no_request,
			[EVENT_WAN_FAILED] = ignore_no_request,
			[EVENT_HASHED] = ignore_no_hash,
			[EVENT_STORED] = notify,
			[EVENT_MALFORMED] = ignore_unasked,
			[EVENT_RECEIPT] = ignore_unasked,
			[EVENT_LINK_DOWN] = ignore_link,
			[EVENT_TIMEOUT] = ignore_timer,
		},
	[NOTIFIED] =
		{
			COMMON_CELLS,
			[EVENT_START] = ignore_started,
			[EVENT_WAN_UP] = ignore_wan,
			[EVENT_ANSWER] = ignore_no_request,
			[EVENT_WAN_FAILED] = ignore_no_request,
			[EVENT_HASHED] = ignore_no_hash,
			[EVENT_STORED] = ignore_no_batch,
			[EVENT_MALFORMED] = cell_pne_malformed,
			[EVENT_RECEIPT] = receipt,
			[EVENT_LINK_DOWN] = cell_pan_lost,
			[EVENT_TIMEOUT] = cell_pne_silent,
		},
	[RECORDING] =
		{
			COMMON_CELLS,
			[EVENT_START] = ignore_started,
			[EVENT_WAN_UP] = ignore_wan,
			[EVENT_ANSWER] = ignore_no_request,
			[EVENT_WAN_FAILED] = ignore_no_request,
			[EVENT_HASHED] = ignore_no_hash,
			[EVENT_STORED] = recorded,
			[EVENT_MALFORMED] = ignore_unasked,
			[EVENT_RECEIPT] = ignore_unasked,
			[EVENT_LINK_DOWN] = ignore_link,
			[EVENT_TIMEOUT] = ignore_timer,
		},
};

static const char *const names[STATES] = {"waiting for the WAN",  "awaiting the challenge",
					  "hashing the password", "awaiting the key set",
					  "storing the key set",  "awaiting the receipt",
					  "recording the receipt"};

const struct procedure_type gateway_figure7_assignment = {
	.name = "assignment on an insecure PAN",
	.figure = FIGURE_7,
	.states = STATES,
	.table = table,
	.begin = request,
	.state_names = names,
};
