/*
 * Figure 7, section 6.3.2.2: a PNE without UI on a PAN that is not secure. The PN GW gets the
 * Temporary Key and a set of EUKeys, makes them durable, and only then notifies the PNE. The rest
 * of the set is the PNE's pool: with the WAN down, and in a renewal, steps 6 and 7 are done from
 * it.
 */

#include <stdio.h>
#include <string.h>

#include "gateway/credentials.h"
#include "gateway/key-set.h"
#include "protocol/digest.h"
#include "protocol/p1.h"

enum {
	WAN = CREDENTIALS_WAN,
	CHALLENGE = CREDENTIALS_CHALLENGE,
	HASHING = CREDENTIALS_HASHING,
	ANSWER = CREDENTIALS_ANSWER,
	CHECKING,
	ABSENT,
	STORING,
	NOTIFIED,
	RECORDING,
	STATES
};

/* How long a procedure that a restart interrupted waits for its PNE before it gives its verdict. */
#define RESUME_MS 60000U

static cell_fn from_pool;

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
	if (!e->s->link_up && p->resumed) {
		gateway_to(p, ABSENT);
		gateway_timer(p, e, RESUME_MS);
		return;
	}
	if (!e->s->link_up) {
		gateway_fail(p, out, VERDICT_PNE_UNKNOWN, NULL);
		return;
	}
	if (p->type == &gateway_renewal)
		from_pool(p, e, out);
	else
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

/*
 * The key leaves the pool, in the ledger too, before it leaves the PN GW. What its notification is
 * made with is chosen now, so that the same notification can be sent again.
 */
static void issue(struct procedure *p, const struct event *e, struct actions *out,
		  struct vault_batch *b)
{
	struct stored_key k = {
		.user = p->user, .index = p->key_index, .key = p->key, .repeatable = true};
	int r = profile_rand(p->profile, p->rand, sizeof(p->rand));

	if (r != 0) {
		vault_batch_free(b);
		gateway_error(p, out, r);
		return;
	}
	if (!gateway_new_id(p, out)) {
		vault_batch_free(b);
		return;
	}
	k.message_id = p->awaited;
	memcpy(k.rand, p->rand, sizeof(k.rand));
	records_put_issued(b, &p->entity, &k, e->s->service);
	records_fact(b, LEDGER_SPENT, FIGURE_7, &p->entity, &p->user, p->key_index, e->s->wall);
	delivery_is(p, DELIVERY_ISSUED);
	records_put_delivery(b, &p->delivery);
	gateway_to(p, STORING);
	(void)gateway_store(p, out, b);
}

/* The PNE's user was told apart by the server: PH checks the same password when it is not there. */
static int put_verifier(const struct procedure *p, struct vault_batch *b)
{
	struct verifier v = {.iterations = p->iterations};
	int r = gateway_verifier_mac(p->profile, p->ph, &p->user, v.mac);

	memcpy(v.salt, p->salt, sizeof(v.salt));
	if (r == 0)
		records_put_verifier(b, &p->user, &v);
	wipe(&v, sizeof(v));
	return r;
}

/* The new set replaces what is left of an earlier one: the PNE would take none of that any more. */
static void take_set(struct procedure *p, const struct event *e, struct actions *out)
{
	const struct m_eukey_assignment_response *r = &e->message->eukey_assignment_response;
	const struct pool *pool = e->s->pool;
	const char *defect;
	struct vault_batch *b;
	int result;

	if (e->s->pool_error != 0) {
		gateway_error(p, out, e->s->pool_error);
		return;
	}
	defect = r->has_key_set ? gateway_key_set_defect(p, &r->key_set, pool) : "no key set";
	if (defect) {
		gateway_fail(p, out, VERDICT_SERVER_MALFORMED, defect);
		return;
	}
	b = vault_batch_new();
	if (!b) {
		gateway_fail(p, out, VERDICT_GATEWAY_MEMORY, NULL);
		return;
	}
	for (size_t i = 0; i < pool->count; i++) {
		if (pool->keys[i].state == KEY_UNSPENT)
			records_drop_eukey(b, &p->entity, &pool->keys[i], LEDGER_REASON_SUPERSEDED,
					   FIGURE_7, e->s->wall);
	}
	/* Whatever it said, the new keys are above. */
	if (pool->floor_unknown)
		records_erase_relayed(b, &p->entity);
	result = gateway_key_set_take(p, e, &r->key_set, b);
	if (result == 0)
		result = put_verifier(p, b);
	if (result != 0) {
		vault_batch_free(b);
		if (result == P1_REFUSED)
			gateway_fail(p, out, VERDICT_GATEWAY_CANNOT_UNWRAP, NULL);
		else
			gateway_error(p, out, result);
		return;
	}
	p->step = 5;
	issue(p, e, out, b);
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

static bool may_issue(const struct procedure *p, const struct event *e, const struct stored_key *k)
{
	return k->index != 0 && e->s->temporary_key && name_equal(&k->user, &p->user);
}

static void pool_empty(struct procedure *p, const struct event *e, struct actions *out)
{
	if (p->type != &gateway_renewal && (!e->s->temporary_key || e->s->wan_tls_refused))
		cell_wan_absent(p, e, out);
	else if (e->s->pool->floor_unknown)
		gateway_fail(p, out, VERDICT_GATEWAY_VAULT_DAMAGED,
			     "what is known of the EUKey that this PNE holds does not open");
	else if (e->s->pool->damaged > 0)
		gateway_fail(p, out, VERDICT_GATEWAY_VAULT_DAMAGED,
			     "EUKeys of this PNE do not open, and no other is left");
	else
		gateway_fail(p, out, VERDICT_GATEWAY_POOL_EMPTY,
			     e->s->wan_up ? NULL : e->s->wan_why);
}

/* The WAN did not come up: the pool is there for this, but not for whoever knows no password. */
static void without_wan(struct procedure *p, const struct event *e, struct actions *out)
{
	if (e->s->pool_error != 0) {
		gateway_error(p, out, e->s->pool_error);
		return;
	}
	if (!may_issue(p, e, e->s->repeat) && !may_issue(p, e, e->s->next)) {
		pool_empty(p, e, out);
		return;
	}
	if (!e->s->verifier) {
		gateway_fail(
			p, out, VERDICT_WAN_DOWN,
			"nothing checks this password: it was never used here with the WAN up");
		return;
	}
	secret_clear(&p->ph);
	memcpy(p->salt, e->s->verifier->salt, SALT_SIZE);
	p->iterations = e->s->verifier->iterations;
	gateway_derive(p, out);
	gateway_to(p, CHECKING);
}

static void checked(struct procedure *p, const struct event *e, struct actions *out)
{
	uint8_t mac[P1_MAC_SIZE];
	bool right;
	int r;

	if (!e->ph) {
		gateway_fail(p, out, VERDICT_GATEWAY_MEMORY, NULL);
		return;
	}
	r = gateway_verifier_mac(p->profile, e->ph, &p->user, mac);
	if (r != 0) {
		gateway_error(p, out, r);
		return;
	}
	right = e->s->verifier && constant_time_equal(bytes_of(mac, sizeof(mac)),
						      bytes_of(e->s->verifier->mac, sizeof(mac)));
	wipe(mac, sizeof(mac));
	if (right)
		from_pool(p, e, out);
	else
		gateway_fail(p, out, VERDICT_WRONG_PASSWORD, "checked without the CPNS Server");
}

static void send_notification(struct procedure *p, const struct event *e, struct actions *out)
{
	struct message m = {.kind = MESSAGE_eukey_assignment_notification};
	struct m_eukey_assignment_notification *n = &m.eukey_assignment_notification;
	uint8_t wrapped[P1_WRAPPED_KEY_SIZE];
	struct p1_context c;
	int result;

	p->step = 6;
	if (!e->s->link_up) {
		gateway_fail(p, out, VERDICT_PAN_LOST, NULL);
		return;
	}
	p1_key_context(&c, P1_NOTIFICATION, name_bytes(&p->user), name_bytes(&p->entity),
		       p->key_index);
	result = profile_wrap(p->profile, p->temporary_key, bytes_of(p->rand, sizeof(p->rand)), &c,
			      p->key, wrapped);
	if (result != 0) {
		gateway_error(p, out, result);
		return;
	}
	message_envelope(&m, &p->awaited, NULL, e->s->self, &p->entity);
	n->user_id = name_bytes(&p->user);
	n->entity_id = name_bytes(&p->entity);
	n->rand = bytes_of(p->rand, sizeof(p->rand));
	n->key_index = p->key_index;
	n->wrapped = bytes_of(wrapped, sizeof(wrapped));
	gateway_to(p, NOTIFIED);
	if (gateway_send(p, e, out, &m))
		gateway_step(p, out, 6);
}

/* A key that was sent and not confirmed goes first, as it was: the PNE may hold it already. */
static void from_pool(struct procedure *p, const struct event *e, struct actions *out)
{
	const struct stored_key *k = e->s->repeat;
	bool again = may_issue(p, e, k);
	struct vault_batch *b;

	p->step = 5;
	if (e->s->pool_error != 0) {
		gateway_error(p, out, e->s->pool_error);
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
	if (!again && p->resumed) {
		gateway_fail(p, out, VERDICT_GATEWAY_RESTARTED, NULL);
		return;
	}
	if (!again)
		k = e->s->next;
	if (!may_issue(p, e, k)) {
		pool_empty(p, e, out);
		return;
	}
	p->from_pool = true;
	secret_clear(&p->temporary_key);
	secret_clear(&p->key);
	p->temporary_key = secret_ref(e->s->temporary_key);
	p->key = secret_ref(k->key);
	p->key_index = k->index;
	if (again) {
		p->awaited = k->message_id;
		memcpy(p->rand, k->rand, sizeof(p->rand));
		send_notification(p, e, out);
		return;
	}
	b = vault_batch_new();
	if (b)
		issue(p, e, out, b);
	else
		gateway_fail(p, out, VERDICT_GATEWAY_MEMORY, NULL);
}

static void absent(struct procedure *p, const struct event *e, struct actions *out)
{
	(void)e;
	gateway_fail(p, out, VERDICT_GATEWAY_RESTARTED, "the PNE has not come back yet");
}

static void notify(struct procedure *p, const struct event *e, struct actions *out)
{
	if (e->result != 0) {
		gateway_error(p, out, e->result);
		return;
	}
	if (!p->from_pool)
		gateway_step(p, out, 5);
	send_notification(p, e, out);
}

/*
 * A refusal is final: that key is never sent again. Where the PNE could not store it, it may be
 * sent again once there is room.
 */
static void refused(struct procedure *p, const struct event *e, struct actions *out)
{
	struct stored_key k = {.user = p->user, .index = p->key_index, .key = p->key};
	enum status status = e->receipt->status;
	struct vault_batch *b = vault_batch_new();

	delivery_is(p, DELIVERY_REFUSED);
	if (b) {
		if (status != STATUS_STORAGE_FAILED)
			records_put_issued(b, &p->entity, &k, e->s->service);
		records_put_delivery(b, &p->delivery);
		(void)gateway_store(p, out, b);
	}
	gateway_fail(p, out, verdict_of_pne_status(status), status_wire_name(status));
}

/* With the proof that the PNE holds this key, all below are done with. */
static void drop_older(const struct procedure *p, const struct event *e, struct vault_batch *b)
{
	for (size_t i = 0; i < e->s->pool->count; i++) {
		const struct pool_key *k = &e->s->pool->keys[i];

		if (k->index < p->key_index)
			records_drop_eukey(b, &p->entity, k,
					   k->state == KEY_UNSPENT ? LEDGER_REASON_SUPERSEDED
								   : LEDGER_REASON_REPLACED,
					   FIGURE_7, e->s->wall);
	}
}

static void receipt(struct procedure *p, const struct event *e, struct actions *out)
{
	const struct receipt *r = e->receipt;
	struct vault_batch *b;
	uint8_t proof[P1_MAC_SIZE];
	int result;

	if (!gateway_receipt_is_for(p, r))
		return;
	p->step = 7;
	if (r->status != STATUS_OK) {
		refused(p, e, out);
		return;
	}
	result = profile_held_proof(p->profile, p->key, name_bytes(&p->user),
				    name_bytes(&p->entity), p->key_index, &p->awaited, proof);
	if (result != 0) {
		gateway_error(p, out, result);
		return;
	}
	if (!r->has_proof || !constant_time_equal(bytes_of(r->proof, sizeof(r->proof)),
						  bytes_of(proof, sizeof(proof)))) {
		gateway_fail(p, out, VERDICT_PNE_UNPROVEN,
			     r->has_proof ? "its proof is of another key" : "it has no proof");
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
	records_put_eukey(b, &p->entity, &p->user, p->key_index, p->key, KEY_DELIVERED,
			  e->s->service);
	records_fact(b, pool_current(e->s->pool) ? LEDGER_RENEWED : LEDGER_INSTALLED, FIGURE_7,
		     &p->entity, &p->user, p->key_index, e->s->wall);
	drop_older(p, e, b);
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
	gateway_done(p, out, p->from_pool ? "from the pool, without the server" : NULL);
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
	[CHECKING] =
		{
			COMMON_CELLS,
			[EVENT_START] = ignore_started,
			[EVENT_WAN_UP] = ignore_wan,
			[EVENT_ANSWER] = ignore_no_request,
			[EVENT_WAN_FAILED] = ignore_no_request,
			[EVENT_HASHED] = checked,
			[EVENT_STORED] = ignore_no_batch,
			[EVENT_MALFORMED] = ignore_unasked,
			[EVENT_RECEIPT] = ignore_unasked,
			[EVENT_LINK_DOWN] = cell_pan_lost,
			[EVENT_TIMEOUT] = ignore_timer,
		},
	[ABSENT] =
		{
			COMMON_CELLS,
			[EVENT_START] = start,
			[EVENT_WAN_UP] = ignore_wan,
			[EVENT_ANSWER] = ignore_no_request,
			[EVENT_WAN_FAILED] = ignore_no_request,
			[EVENT_HASHED] = ignore_no_hash,
			[EVENT_STORED] = ignore_no_batch,
			[EVENT_MALFORMED] = ignore_unasked,
			[EVENT_RECEIPT] = ignore_unasked,
			[EVENT_LINK_DOWN] = ignore_link,
			[EVENT_TIMEOUT] = absent,
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

static const char *const names[STATES] = {
	"waiting for the WAN",  "awaiting the challenge", "hashing the password",
	"awaiting the key set", "checking the password",  "awaiting the PNE",
	"storing the key set",  "awaiting the receipt",   "recording the receipt"};

const struct procedure_type gateway_figure7_assignment = {
	.name = "assignment on an insecure PAN",
	.figure = FIGURE_7,
	.states = STATES,
	.table = table,
	.begin = request,
	.state_names = names,
};

const struct procedure_type gateway_renewal = {
	.name = "renewal from the pool",
	.figure = FIGURE_7,
	.states = STATES,
	.table = table,
	.begin = from_pool,
	.state_names = names,
};
