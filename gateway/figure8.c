/*
 * Figure 8, section 6.3.3: the PN GW's own EUKey. Entering User ID and password is the trigger
 * (comment C283); not performed where a card secures the PN GW (comment C280).
 */

#include <errno.h>
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
	STATES
};

static void request(struct procedure *p, const struct event *e, struct actions *out)
{
	p->nonce[0] = '\0';
	(void)gateway_credentials_request(p, e, out, ENTITY_PNGW);
}

static void request_with_credentials(struct procedure *p, const struct event *e,
				     struct actions *out)
{
	if (gateway_credentials_request(p, e, out, ENTITY_PNGW))
		gateway_step(p, out, 3);
}

static void start(struct procedure *p, const struct event *e, struct actions *out)
{
	p->step = 1;
	if (e->s->limits->card) {
		gateway_fail(p, out, VERDICT_GATEWAY_HAS_CARD, NULL);
		return;
	}
	if (e->s->owner->text[0] && !name_equal(e->s->owner, &p->user)) {
		gateway_fail(p, out, VERDICT_NOT_OWNER, NULL);
		return;
	}
	gateway_step(p, out, 1);
	gateway_step(p, out, 2);
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
	request_with_credentials(p, e, out);
}

/* The same key once more, where the answer to an earlier request was lost, is no news. */
static void put_facts(const struct procedure *p, const struct event *e, struct vault_batch *b)
{
	const struct stored_key *own = e->s->own_key;
	struct pool_key old = {.index = own->index, .state = KEY_DELIVERED, .user = own->user};

	if (own->index == p->key_index)
		return;
	records_fact(b, LEDGER_ISSUED, FIGURE_8, &p->entity, &p->user, p->key_index, e->s->wall);
	records_fact(b, own->index ? LEDGER_RENEWED : LEDGER_INSTALLED, FIGURE_8, &p->entity,
		     &p->user, p->key_index, e->s->wall);
	if (own->index != 0)
		records_drop_eukey(b, &p->entity, &old, LEDGER_REASON_REPLACED, FIGURE_8,
				   e->s->wall);
}

static void take_key(struct procedure *p, const struct event *e, struct actions *out)
{
	const struct m_eukey_assignment_response *r = &e->message->eukey_assignment_response;
	struct message_id id = message_id_of(e->message);
	uint8_t salt[DIGEST_SALT_MAX];
	struct p1_context c;
	struct vault_batch *b;
	int result;

	if (!r->has_key) {
		gateway_fail(p, out, VERDICT_SERVER_MALFORMED, "no key");
		return;
	}
	p->step = 7;
	p1_key_context(&c, P1_EUKEY, name_bytes(&p->user), name_bytes(&p->entity),
		       r->key.key_index);
	result =
		profile_unwrap(p->profile, p->ph,
			       digest_salt(bytes_text(p->nonce), bytes_text(p->client_nonce), salt),
			       &c, r->key.wrapped, &p->key);
	if (result == P1_REFUSED) {
		gateway_fail(p, out, VERDICT_GATEWAY_CANNOT_UNWRAP, NULL);
		return;
	}
	p->key_index = r->key.key_index;
	if (result == 0 && e->s->own_key->index != 0 &&
	    (p->key_index < e->s->own_key->index ||
	     (p->key_index == e->s->own_key->index && !secret_equal(p->key, e->s->own_key->key)))) {
		gateway_fail(p, out, VERDICT_SERVER_MALFORMED, "a key index that was used before");
		return;
	}
	p->delivery.user = p->user;
	p->delivery.entity = p->entity;
	p->delivery.key_index = p->key_index;
	p->delivery.state = DELIVERY_INSTALLED;
	p->delivery.message_id = id;
	p->delivery.has_proof = true;
	if (result == 0)
		result = profile_held_proof(p->profile, p->key, name_bytes(&p->user),
					    name_bytes(&p->entity), p->key_index, &id,
					    p->delivery.proof);
	if (result != 0) {
		gateway_error(p, out, result);
		return;
	}
	b = vault_batch_new();
	if (!b) {
		gateway_fail(p, out, VERDICT_GATEWAY_MEMORY, NULL);
		return;
	}
	records_put_eukey(b, &p->entity, &p->user, p->key_index, p->key, KEY_DELIVERED,
			  e->s->service);
	put_facts(p, e, b);
	vault_batch_trim(b, VAULT_EUKEY, name_bytes(&p->entity), 1);
	records_put_identity(b, &p->user);
	records_put_delivery(b, &p->delivery);
	gateway_to(p, STORING);
	(void)gateway_store(p, out, b);
}

static void answered(struct procedure *p, const struct event *e, struct actions *out)
{
	switch (gateway_credentials_answer(p, e, out, true)) {
	case CREDENTIALS_TAKEN:
		take_key(p, e, out);
		return;
	case CREDENTIALS_AGAIN:
		request_with_credentials(p, e, out);
		return;
	case CREDENTIALS_HANDLED:
		return;
	}
}

static void stored(struct procedure *p, const struct event *e, struct actions *out)
{
	if (e->result != 0) {
		gateway_error(p, out, e->result);
		return;
	}
	gateway_step(p, out, 7);
	gateway_done(p, out, NULL);
}

/* Figure 8 has no PNE. */
#define COMMON_CELLS                                                             \
	[EVENT_SUBSCRIBED] = ignore_no_leader, [EVENT_MESSAGE] = ignore_unasked, \
	[EVENT_MALFORMED] = ignore_unasked, [EVENT_RELAYED] = ignore_relay,      \
	[EVENT_RELAY_ENDED] = ignore_relay, [EVENT_RECEIPT] = ignore_unasked,    \
	[EVENT_LINK_DOWN] = ignore_link, [EVENT_CANCEL] = cell_cancelled

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
			[EVENT_TIMEOUT] = cell_wan_absent,
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
			[EVENT_STORED] = stored,
			[EVENT_TIMEOUT] = ignore_timer,
		},
};

static const char *const names[STATES] = {"waiting for the WAN", "awaiting the challenge",
					  "hashing the password", "awaiting the key",
					  "storing the key"};

const struct procedure_type gateway_figure8_assignment = {
	.name = "assignment to the PN GW",
	.figure = FIGURE_8,
	.states = STATES,
	.table = table,
	.begin = request,
	.state_names = names,
};
