/* Figure 5, section 6.3.1: a PNE with a UI asks for its EUKey with the user's ID and password. */

#include "pne/procedure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/digest.h"
#include "protocol/p1.h"

static int enter_state(struct pne_procedures *p, enum pne_figure5_state state)
{
	p->figure5.state = state;
	return 0;
}

void pne_figure5_end(struct pne_procedures *p)
{
	struct pne_figure5 *f = &p->figure5;

	secret_clear(&f->password);
	secret_clear(&f->ph);
	pne_exchange_clear(&f->exchange);
	memset(f, 0, sizeof(*f));
}

static int end(struct pne_procedures *p, struct pne_actions *out, enum verdict_id id, unsigned step,
	       uint32_t key_index, const char *detail)
{
	struct name user = p->figure5.user;
	int r;

	pne_figure5_end(p);
	r = pne_do_timer(out, FIGURE_5, 0);
	if (r < 0)
		return r;
	return pne_do_verdict(p, out, id, FIGURE_5, step, &user, key_index, detail);
}

/* Makes the request, with digest credentials once PH is known, and sends it (step 7). */
static int ask(struct pne_procedures *p, uint64_t now_ms, struct pne_actions *out)
{
	struct pne_figure5 *f = &p->figure5;
	struct message m = {.kind = MESSAGE_eukey_assignment_request};
	struct m_eukey_assignment_request *request = &m.eukey_assignment_request;
	uint8_t proof[P1_MAC_SIZE];
	uint8_t response[32];
	int r;

	if (p->server.text[0] == '\0')
		return end(p, out, VERDICT_WAN_DOWN, 7, 0, "the PN GW names no CPNS Server");
	pne_exchange_clear(&f->exchange);
	r = p1_random(f->exchange.id.b, sizeof(f->exchange.id.b));
	if (r < 0)
		return r;
	message_envelope(&m, &f->exchange.id, NULL, &p->entity, &p->server);
	request->user_id = name_bytes(&f->user);
	request->entity_id = name_bytes(&p->entity);
	request->mode = ENTITY_PNE;
	r = pne_held_key(p, &f->user, &f->exchange.id, proof, request);
	if (r < 0)
		return r;
	if (f->ph) {
		struct digest_input in = {
			.user = request->user_id,
			.realm = bytes_text(f->realm),
			.nonce = bytes_text(f->nonce),
			.client_nonce = bytes_text(f->client_nonce),
			.uri = bytes_text(PNE_DIGEST_URI),
			.nonce_count = 1,
		};

		r = digest_response(f->ph, &in, response);
		if (r < 0)
			return r;
		request->has_digest = true;
		request->digest.realm = in.realm;
		request->digest.nonce = in.nonce;
		request->digest.uri = in.uri;
		request->digest.nonce_count = in.nonce_count;
		request->digest.client_nonce = in.client_nonce;
		request->digest.response = bytes_of(response, sizeof(response));
	}
	r = message_encode(&m, &f->exchange.xml, &f->exchange.size);
	if (r < 0)
		return r;
	r = pne_do_step(out, FIGURE_5, 7, &f->user);
	if (r < 0)
		return r;
	enter_state(p, f->ph ? PNE5_ANSWER : PNE5_CHALLENGE);
	return pne_exchange_begin(p, &f->exchange, FIGURE_5, now_ms, out);
}

static int entered(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	struct pne_figure5 *f = &p->figure5;
	int r;

	pne_figure5_end(p);
	f->user = *e->user;
	r = p1_password(secret_bytes(e->password), &f->password);
	if (r == -EINVAL)
		return end(p, out, VERDICT_PASSWORD_UNUSABLE, 5, 0, NULL);
	if (r < 0)
		return r;
	r = pne_do_step(out, FIGURE_5, 5, &f->user);
	if (r == 0)
		r = pne_do_step(out, FIGURE_5, 6, &f->user);
	if (r < 0)
		return r;
	if (p->link_up)
		return ask(p, e->now_ms, out);
	f->exchange.deadline_ms = e->now_ms + p->deadline_ms;
	enter_state(p, PNE5_LINK);
	return pne_do_timer(out, FIGURE_5, p->deadline_ms);
}

static int entered_busy(struct pne_procedures *p, const struct pne_event *e,
			struct pne_actions *out)
{
	return pne_do_verdict(p, out, VERDICT_BUSY_WITH_PNE, FIGURE_5, 5, e->user, 0, NULL);
}

static int link_there(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	return ask(p, e->now_ms, out);
}

static int no_link(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	if (e->now_ms < p->figure5.exchange.deadline_ms)
		return pne_do_timer(out, FIGURE_5, p->figure5.exchange.deadline_ms - e->now_ms);
	return end(p, out, VERDICT_PAN_LOST, 7, 0, "no link to a PN GW");
}

static int again(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	(void)e;
	return pne_exchange_again(&p->figure5.exchange, out);
}

static int receipt(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	enum verdict_id verdict;
	int r;

	if (pne_exchange_receipt(&p->figure5.exchange, FIGURE_5, e, out, &verdict, &r))
		return r;
	return end(p, out, verdict, 7, 0, status_wire_name(e->receipt->status));
}

static int timer(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	enum status last = p->figure5.exchange.last;
	enum verdict_id verdict;
	int r;

	if (pne_exchange_timer(p, &p->figure5.exchange, FIGURE_5, e, out, &verdict, &r))
		return r;
	return end(p, out, verdict, 7, 0, last != STATUS_OK ? status_wire_name(last) : NULL);
}

/* A challenge: PH is derived unless the one of the last challenge still fits. */
static int challenged(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	struct pne_figure5 *f = &p->figure5;
	const struct m_digest_challenge *c = &e->message->eukey_assignment_response.challenge;
	int r;

	if (c->parameters.iterations < p->iterations_floor)
		return end(p, out, VERDICT_WEAK_PARAMETERS, 7, 0, NULL);
	r = bytes_to_text(c->realm, f->realm, sizeof(f->realm));
	if (r == 0)
		r = bytes_to_text(c->nonce, f->nonce, sizeof(f->nonce));
	if (r < 0 || c->parameters.salt.size != SALT_SIZE)
		return end(p, out, VERDICT_SERVER_MALFORMED, 7, 0, NULL);
	r = digest_client_nonce(f->client_nonce);
	if (r < 0)
		return r;
	if (f->ph && f->iterations == c->parameters.iterations &&
	    memcmp(f->salt, c->parameters.salt.data, SALT_SIZE) == 0)
		return ask(p, e->now_ms, out);
	secret_clear(&f->ph);
	memcpy(f->salt, c->parameters.salt.data, SALT_SIZE);
	f->iterations = c->parameters.iterations;
	pne_exchange_clear(&f->exchange);
	enter_state(p, PNE5_DERIVING);
	r = pne_do_timer(out, FIGURE_5, 0);
	if (r < 0)
		return r;
	return pne_do_derive(p, out, FIGURE_5, f->password, f->salt, f->iterations);
}

static int derived(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	struct pne_figure5 *f = &p->figure5;

	if (e->result < 0)
		return e->result;
	f->ph = secret_ref(e->ph);
	if (p->link_up)
		return ask(p, e->now_ms, out);
	f->exchange.deadline_ms = e->now_ms + p->deadline_ms;
	enter_state(p, PNE5_LINK);
	return pne_do_timer(out, FIGURE_5, p->deadline_ms);
}

static int challenge(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	const struct m_eukey_assignment_response *a = &e->message->eukey_assignment_response;

	if (a->status == STATUS_UNAUTHORIZED && a->has_challenge)
		return challenged(p, e, out);
	if (a->status == STATUS_OK)
		return end(p, out, VERDICT_SERVER_MALFORMED, 7, 0, "a key before the password");
	return end(p, out, verdict_of_server_status(a->status), 7, 0, status_wire_name(a->status));
}

/* Unwraps under PH (step 13). */
static int unwrap(struct pne_procedures *p, const struct pne_event *e, struct secret **key)
{
	struct pne_figure5 *f = &p->figure5;
	const struct m_assigned_key *k = &e->message->eukey_assignment_response.key;
	struct p1_context context;
	uint8_t salt[DIGEST_SALT_MAX];
	struct bytes salt_bytes =
		digest_salt(bytes_text(f->nonce), bytes_text(f->client_nonce), salt);

	p1_key_context(&context, P1_EUKEY, name_bytes(&f->user), name_bytes(&p->entity),
		       k->key_index);
	return p1_unwrap(f->ph, salt_bytes, &context, k->wrapped, key);
}

static int refuse(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out,
		  enum status status, enum verdict_id verdict)
{
	int r = pne_do_refuse(out, e, status);

	return r < 0 ? r : end(p, out, verdict, 13, 0, NULL);
}

static int answer(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	struct pne_figure5 *f = &p->figure5;
	const struct m_eukey_assignment_response *a = &e->message->eukey_assignment_response;
	SCOPED_SECRET *key = NULL;
	int r;

	if (a->status == STATUS_UNAUTHORIZED && a->has_challenge && a->challenge.stale &&
	    !f->stale_seen) {
		f->stale_seen = true;
		return challenged(p, e, out);
	}
	if (a->status != STATUS_OK)
		return end(p, out, verdict_of_server_status(a->status), 7, 0,
			   status_wire_name(a->status));
	if (!a->has_key || !bytes_equal(a->user_id, name_bytes(&f->user)) ||
	    !bytes_equal(a->entity_id, name_bytes(&p->entity)))
		return refuse(p, e, out, STATUS_MALFORMED, VERDICT_SERVER_MALFORMED);
	r = unwrap(p, e, &key);
	if (r < 0)
		return r;
	if (r == P1_REFUSED || secret_size(key) != KEY_SIZE)
		return refuse(p, e, out, STATUS_DOES_NOT_UNWRAP, VERDICT_PNE_CANNOT_UNWRAP);
	if (pne_take_key(p, e, &f->user, a->key.key_index, key, &r) == STATUS_STALE_INDEX)
		return refuse(p, e, out, STATUS_STALE_INDEX, VERDICT_PNE_STALE_INDEX);
	if (r < 0)
		return r;
	p->effect.put_user = true;
	p->effect.user.id = f->user;
	p->effect.user.ph = secret_ref(f->ph);
	memcpy(p->effect.user.salt, f->salt, SALT_SIZE);
	p->effect.user.iterations = f->iterations;
	enter_state(p, PNE5_STORING);
	r = pne_do_timer(out, FIGURE_5, 0);
	return r < 0 ? r : pne_do_store(p, out, FIGURE_5);
}

static int stored(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	struct receipt *r = &p->effect.answer.receipt;
	struct pne_action *a;
	int error;

	if (e->result < 0) {
		error = pne_do_receipt(out, &r->id, STATUS_STORAGE_FAILED);
		return error < 0 ? error
				 : end(p, out, VERDICT_PNE_STORAGE, 13, 0, strerror(-e->result));
	}
	error = pne_do_step(out, FIGURE_5, 13, &p->figure5.user);
	if (error == 0)
		error = pne_do_receipt(out, &r->id, STATUS_OK);
	if (error < 0)
		return error;
	a = &out->at[out->count - 1];
	a->receipt = *r;
	return end(p, out, VERDICT_DONE, 13, p->key.index, NULL);
}

#define DO(function)           \
	{                      \
		function, NULL \
	}
#define IGNORE(reason)       \
	{                    \
		NULL, reason \
	}
#define HELD          IGNORE("held back by the owner while this figure derives or stores")
#define NOT_MINE      IGNORE("belongs to another figure")
#define NOTHING_ASKED IGNORE("no request of this figure is under way")
#define NO_WORK       IGNORE("nothing is being derived or stored in this state")

const struct pne_cell pne_figure5_table[PNE5_STATES][PNE_EVENTS] = {
	[PNE5_IDLE] =
		{
			[PNE_EVENT_ENTERED] = DO(entered),
			[PNE_EVENT_INSTALLATION] = NOT_MINE,
			[PNE_EVENT_RESET] = NOT_MINE,
			[PNE_EVENT_TRIGGER] = NOT_MINE,
			[PNE_EVENT_RESPONSE] = NOTHING_ASKED,
			[PNE_EVENT_NOTIFICATION] = NOT_MINE,
			[PNE_EVENT_RECEIPT] = NOTHING_ASKED,
			[PNE_EVENT_DERIVED] = NO_WORK,
			[PNE_EVENT_STORED] = NO_WORK,
			[PNE_EVENT_LINK_UP] = NOTHING_ASKED,
			[PNE_EVENT_LINK_DOWN] = NOTHING_ASKED,
			[PNE_EVENT_TIMER] = IGNORE("came due as the figure ended"),
		},
	[PNE5_LINK] =
		{
			[PNE_EVENT_ENTERED] = DO(entered),
			[PNE_EVENT_INSTALLATION] = NOT_MINE,
			[PNE_EVENT_RESET] = NOT_MINE,
			[PNE_EVENT_TRIGGER] = NOT_MINE,
			[PNE_EVENT_RESPONSE] = NOTHING_ASKED,
			[PNE_EVENT_NOTIFICATION] = NOT_MINE,
			[PNE_EVENT_RECEIPT] = NOTHING_ASKED,
			[PNE_EVENT_DERIVED] = NO_WORK,
			[PNE_EVENT_STORED] = NO_WORK,
			[PNE_EVENT_LINK_UP] = DO(link_there),
			[PNE_EVENT_LINK_DOWN] = IGNORE("it was down"),
			[PNE_EVENT_TIMER] = DO(no_link),
		},
	[PNE5_CHALLENGE] =
		{
			[PNE_EVENT_ENTERED] = DO(entered),
			[PNE_EVENT_INSTALLATION] = NOT_MINE,
			[PNE_EVENT_RESET] = NOT_MINE,
			[PNE_EVENT_TRIGGER] = NOT_MINE,
			[PNE_EVENT_RESPONSE] = DO(challenge),
			[PNE_EVENT_NOTIFICATION] = NOT_MINE,
			[PNE_EVENT_RECEIPT] = DO(receipt),
			[PNE_EVENT_DERIVED] = NO_WORK,
			[PNE_EVENT_STORED] = NO_WORK,
			[PNE_EVENT_LINK_UP] = DO(again),
			[PNE_EVENT_LINK_DOWN] =
				IGNORE("the request is sent again when the link comes back"),
			[PNE_EVENT_TIMER] = DO(timer),
		},
	[PNE5_DERIVING] =
		{
			[PNE_EVENT_ENTERED] = DO(entered_busy),
			[PNE_EVENT_INSTALLATION] = NOT_MINE,
			[PNE_EVENT_RESET] = NOT_MINE,
			[PNE_EVENT_TRIGGER] = NOT_MINE,
			[PNE_EVENT_RESPONSE] = HELD,
			[PNE_EVENT_NOTIFICATION] = NOT_MINE,
			[PNE_EVENT_RECEIPT] = NOTHING_ASKED,
			[PNE_EVENT_DERIVED] = DO(derived),
			[PNE_EVENT_STORED] = NO_WORK,
			[PNE_EVENT_LINK_UP] = IGNORE("the request follows once PH is there"),
			[PNE_EVENT_LINK_DOWN] = IGNORE("PH is worth having without a link"),
			[PNE_EVENT_TIMER] = IGNORE("the worker always answers"),
		},
	[PNE5_ANSWER] =
		{
			[PNE_EVENT_ENTERED] = DO(entered),
			[PNE_EVENT_INSTALLATION] = NOT_MINE,
			[PNE_EVENT_RESET] = NOT_MINE,
			[PNE_EVENT_TRIGGER] = NOT_MINE,
			[PNE_EVENT_RESPONSE] = DO(answer),
			[PNE_EVENT_NOTIFICATION] = NOT_MINE,
			[PNE_EVENT_RECEIPT] = DO(receipt),
			[PNE_EVENT_DERIVED] = NO_WORK,
			[PNE_EVENT_STORED] = NO_WORK,
			[PNE_EVENT_LINK_UP] = DO(again),
			[PNE_EVENT_LINK_DOWN] =
				IGNORE("the request is sent again when the link comes back"),
			[PNE_EVENT_TIMER] = DO(timer),
		},
	[PNE5_STORING] =
		{
			[PNE_EVENT_ENTERED] = DO(entered_busy),
			[PNE_EVENT_INSTALLATION] = NOT_MINE,
			[PNE_EVENT_RESET] = NOT_MINE,
			[PNE_EVENT_TRIGGER] = NOT_MINE,
			[PNE_EVENT_RESPONSE] = HELD,
			[PNE_EVENT_NOTIFICATION] = NOT_MINE,
			[PNE_EVENT_RECEIPT] = IGNORE("the answer is here already"),
			[PNE_EVENT_DERIVED] = NO_WORK,
			[PNE_EVENT_STORED] = DO(stored),
			[PNE_EVENT_LINK_UP] = IGNORE("the receipt follows once the key is durable"),
			[PNE_EVENT_LINK_DOWN] =
				IGNORE("the receipt is given when the answer is repeated"),
			[PNE_EVENT_TIMER] = IGNORE("the vault always answers"),
		},
};
