/* Figure 6, section 6.3.2.1: a PNE without UI on a secure PAN, installed and triggered by its PN
 * GW. */

#include "pne/procedure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/p1.h"

static void enter_state(struct pne_procedures *p, enum pne_figure6_state state)
{
	p->figure6.state = state;
}

void pne_figure6_end(struct pne_procedures *p)
{
	struct pne_figure6 *f = &p->figure6;

	pne_user_clear(&f->user);
	secret_clear(&f->password);
	pne_exchange_clear(&f->exchange);
	memset(f, 0, sizeof(*f));
}

static int end(struct pne_procedures *p, struct pne_actions *out, enum verdict_id id, unsigned step,
	       const struct name *user, uint32_t key_index, const char *detail)
{
	struct name who = *user;
	int r;

	pne_figure6_end(p);
	r = pne_do_timer(out, FIGURE_6, 0);
	if (r < 0)
		return r;
	return pne_do_verdict(p, out, id, FIGURE_6, step, &who, key_index, detail);
}

/* Gives up the request under way, in the vault too. */
static int abandon(struct pne_procedures *p, struct pne_actions *out)
{
	bool asked = p->figure6.exchange.xml != NULL;
	int r;

	pne_figure6_end(p);
	if (!asked)
		return 0;
	r = pne_do_info(out, "the PN GW began again: the request under way is dropped");
	if (r == 0)
		r = pne_do_forget(out);
	return r < 0 ? r : pne_do_timer(out, FIGURE_6, 0);
}

/* Encodes the answer to the installation under way. */
static int installation_response(const struct pne_procedures *p, enum status status, char **xml,
				 size_t *size)
{
	struct message m = {.kind = MESSAGE_id_password_installation_response};
	struct message_id id;
	int r = p1_random(id.b, sizeof(id.b));

	if (r < 0)
		return r;
	message_envelope(&m, &id, &p->figure6.installation, &p->entity, &p->figure6.gateway);
	m.id_password_installation_response.status = status;
	return message_encode(&m, xml, size);
}

/* Answers the installation with a refusal: nothing changed, so nothing is stored. */
static int refuse_installation(struct pne_procedures *p, struct pne_actions *out,
			       enum status status, enum verdict_id verdict)
{
	struct name user = p->figure6.user.id;
	char *xml;
	size_t size;
	int r = installation_response(p, status, &xml, &size);

	if (r < 0)
		return r;
	r = pne_do_send(out, xml, size);
	free(xml);
	return r < 0 ? r : end(p, out, verdict, 5, &user, 0, status_wire_name(status));
}

static bool same_parameters(const struct pne_user *a, const struct pne_user *b)
{
	return a->iterations == b->iterations && memcmp(a->salt, b->salt, SALT_SIZE) == 0;
}

static int derive(struct pne_procedures *p, struct pne_actions *out, const struct pne_user *under,
		  enum pne_figure6_state state)
{
	enter_state(p, state);
	return pne_do_derive(p, out, FIGURE_6, p->figure6.password, under->salt, under->iterations);
}

static int installation(struct pne_procedures *p, const struct pne_event *e,
			struct pne_actions *out)
{
	const struct m_id_password_installation_request *q =
		&e->message->id_password_installation_request;
	struct pne_figure6 *f = &p->figure6;
	int r = abandon(p, out);

	if (r == 0)
		r = name_set(&f->gateway, e->message->envelope.source);
	if (r == 0)
		r = name_set(&f->user.id, q->user_id);
	if (r < 0)
		return r;
	f->installation = message_id_of(e->message);
	memcpy(f->digest, e->digest, sizeof(f->digest));
	memcpy(f->user.salt, q->parameters.salt.data, SALT_SIZE);
	f->user.iterations = q->parameters.iterations;
	if (!p->secure)
		return refuse_installation(p, out, STATUS_INSECURE_PAN, VERDICT_PAN_INSECURE);
	if ((p->user.ph && !name_equal(&p->user.id, &f->user.id)) ||
	    (p->key.key && !name_equal(&p->key.user, &f->user.id)))
		return refuse_installation(p, out, STATUS_ALREADY_INSTALLED,
					   VERDICT_PNE_OTHER_USER);
	if (f->user.iterations < p->iterations_floor)
		return refuse_installation(p, out, STATUS_WEAK_PASSWORD_PARAMETERS,
					   VERDICT_WEAK_PARAMETERS);
	r = p1_open_password(p->link_secret, q->password.rand, q->user_id,
			     bytes_of(p->binding, p->binding_size), q->password.sealed,
			     &f->password);
	if (r < 0)
		return r;
	if (r == P1_REFUSED)
		return refuse_installation(p, out, STATUS_DOES_NOT_UNWRAP,
					   VERDICT_PNE_CANNOT_UNWRAP);
	if (p->user.ph && p->key.key)
		return derive(p, out, &p->user, PNE6_COMPARING);
	return derive(p, out, &f->user, PNE6_DERIVING);
}

static int store_user(struct pne_procedures *p, struct secret *ph, struct pne_actions *out)
{
	struct pne_figure6 *f = &p->figure6;
	struct pne_effect *effect = &p->effect;
	int r;

	pne_effect_clear(effect);
	r = installation_response(p, STATUS_OK, &effect->answer.xml, &effect->answer.size);
	if (r < 0)
		return r;
	effect->answer.to = f->installation;
	memcpy(effect->answer.digest, f->digest, sizeof(f->digest));
	effect->put_answer = true;
	effect->put_user = true;
	effect->user = f->user;
	effect->user.ph = secret_ref(ph);
	secret_clear(&f->password);
	enter_state(p, PNE6_STORING_USER);
	return pne_do_store(p, out, FIGURE_6);
}

static int compared(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	struct pne_figure6 *f = &p->figure6;

	if (e->result < 0)
		return e->result;
	if (!secret_equal(e->ph, p->user.ph))
		return refuse_installation(p, out, STATUS_ALREADY_INSTALLED,
					   VERDICT_PNE_OTHER_USER);
	if (same_parameters(&p->user, &f->user))
		return store_user(p, e->ph, out);
	return derive(p, out, &f->user, PNE6_DERIVING);
}

static int derived(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	return e->result < 0 ? e->result : store_user(p, e->ph, out);
}

static int stored_user(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	const struct pne_answer *answer = &p->effect.answer;
	struct name user = p->figure6.user.id;
	int r;

	if (e->result < 0)
		return refuse_installation(p, out, STATUS_STORAGE_FAILED, VERDICT_PNE_STORAGE);
	pne_figure6_end(p);
	r = pne_do_step(out, FIGURE_6, 5, &user);
	if (r == 0)
		r = pne_do_send(out, answer->xml, answer->size);
	return r < 0 ? r : pne_do_step(out, FIGURE_6, 6, &user);
}

/* Step 8, first half: was the trigger sent by the PNE's own user? */
static int verify_trigger(const struct pne_procedures *p, const struct pne_event *e, bool *own)
{
	const struct m_eukey_assignment_trigger *t = &e->message->eukey_assignment_trigger;
	const struct m_envelope *envelope = &e->message->envelope;
	struct message_id id = message_id_of(e->message);
	uint8_t expected[P1_MAC_SIZE];
	int r;

	*own = false;
	if (!p->user.ph || !bytes_equal(t->user_id, name_bytes(&p->user.id)) ||
	    !bytes_equal(envelope->source, name_bytes(&p->gateway)))
		return 0;
	r = p1_auth_data(p->user.ph, message_name(MESSAGE_eukey_assignment_trigger), t->user_id,
			 envelope->source, envelope->target, t->rand_pngw, &id, expected);
	if (r == 0)
		*own = constant_time_equal(bytes_of(expected, sizeof(expected)), t->auth_data);
	wipe(expected, sizeof(expected));
	return r;
}

static int refuse_trigger(struct pne_procedures *p, const struct pne_event *e,
			  struct pne_actions *out, enum status status, enum verdict_id verdict,
			  const char *detail)
{
	struct message_id id = message_id_of(e->message);
	struct name user;
	int r = name_set(&user, e->message->eukey_assignment_trigger.user_id);

	if (r == 0)
		r = pne_do_receipt(out, &id, status);
	return r < 0 ? r : pne_do_verdict(p, out, verdict, FIGURE_6, 8, &user, 0, detail);
}

/* Step 8, second half: User ID, RAND_PNE and what proves knowledge of the password. */
static int make_request(struct pne_procedures *p)
{
	struct pne_figure6 *f = &p->figure6;
	struct message m = {.kind = MESSAGE_eukey_assignment_request};
	struct m_eukey_assignment_request *request = &m.eukey_assignment_request;
	uint8_t auth_data[P1_MAC_SIZE];
	uint8_t proof[P1_MAC_SIZE];
	int r;

	r = p1_random(f->exchange.id.b, sizeof(f->exchange.id.b));
	if (r == 0)
		r = p1_random(f->rand_pne, sizeof(f->rand_pne));
	if (r < 0)
		return r;
	f->request_user = p->user.id;
	message_envelope(&m, &f->exchange.id, &f->trigger, &p->entity, &p->server);
	request->user_id = name_bytes(&f->request_user);
	request->entity_id = name_bytes(&p->entity);
	request->mode = ENTITY_PNE;
	r = pne_held_key(p, &f->request_user, &f->exchange.id, proof, request);
	if (r < 0)
		return r;
	r = p1_auth_data(p->user.ph, message_name(MESSAGE_eukey_assignment_request),
			 request->user_id, name_bytes(&p->entity), name_bytes(&p->server),
			 bytes_of(f->rand_pne, RAND_SIZE), &f->exchange.id, auth_data);
	if (r < 0)
		return r;
	request->has_security_material = true;
	request->security_material.rand_pne = bytes_of(f->rand_pne, RAND_SIZE);
	request->security_material.auth_data = bytes_of(auth_data, sizeof(auth_data));
	return message_encode(&m, &f->exchange.xml, &f->exchange.size);
}

/* The request is the answer to the trigger: it becomes durable before it leaves. */
static int store_request(struct pne_procedures *p, const struct pne_event *e,
			 struct pne_actions *out)
{
	struct pne_figure6 *f = &p->figure6;
	struct pne_answer *answer = &p->effect.answer;

	pne_effect_clear(&p->effect);
	answer->xml = malloc(f->exchange.size);
	if (!answer->xml)
		return -ENOMEM;
	memcpy(answer->xml, f->exchange.xml, f->exchange.size);
	answer->size = f->exchange.size;
	answer->to = f->trigger;
	memcpy(answer->digest, e->digest, sizeof(answer->digest));
	p->effect.put_answer = true;
	p->effect.put_pending = true;
	enter_state(p, PNE6_STORING_REQUEST);
	return pne_do_store(p, out, FIGURE_6);
}

static int trigger(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	bool own;
	int r;

	if (!p->secure)
		return refuse_trigger(p, e, out, STATUS_INSECURE_PAN, VERDICT_PAN_INSECURE, NULL);
	r = verify_trigger(p, e, &own);
	if (r < 0)
		return r;
	if (!own)
		return refuse_trigger(p, e, out, STATUS_TRIGGER_REJECTED,
				      VERDICT_PNE_REFUSED_TRIGGER, NULL);
	if (p->server.text[0] == '\0')
		return refuse_trigger(p, e, out, STATUS_UNAVAILABLE, VERDICT_WAN_DOWN,
				      "the PN GW names no CPNS Server");
	r = abandon(p, out);
	if (r < 0)
		return r;
	p->figure6.trigger = message_id_of(e->message);
	r = make_request(p);
	return r < 0 ? r : store_request(p, e, out);
}

static int stored_request(struct pne_procedures *p, const struct pne_event *e,
			  struct pne_actions *out)
{
	struct pne_figure6 *f = &p->figure6;
	struct name user = f->request_user;
	int r;

	if (e->result < 0) {
		r = pne_do_receipt(out, &f->trigger, STATUS_STORAGE_FAILED);
		return r < 0 ? r
			     : end(p, out, VERDICT_PNE_STORAGE, 8, &user, 0, strerror(-e->result));
	}
	r = pne_do_step(out, FIGURE_6, 8, &user);
	if (r < 0)
		return r;
	enter_state(p, PNE6_ANSWER);
	return pne_exchange_begin(p, &f->exchange, FIGURE_6, e->now_ms, out);
}

/* Ends the request under way with a verdict and takes it out of the vault. */
static int fail(struct pne_procedures *p, struct pne_actions *out, enum verdict_id verdict,
		unsigned step, const char *detail)
{
	struct name user = p->figure6.request_user;
	int r = pne_do_forget(out);

	return r < 0 ? r : end(p, out, verdict, step, &user, 0, detail);
}

static int refuse(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out,
		  enum status status, enum verdict_id verdict)
{
	int r = pne_do_refuse(out, e, status);

	return r < 0 ? r : fail(p, out, verdict, 14, status_wire_name(status));
}

/* The PNE makes the KEK itself (comment C263); a wrong one does not unwrap (C264). */
static int unwrap(struct pne_procedures *p, const struct m_assigned_key *k, struct secret **key)
{
	struct pne_figure6 *f = &p->figure6;
	struct p1_context context;
	uint8_t salt[2 * RAND_SIZE];

	memcpy(salt, f->rand_pne, RAND_SIZE);
	memcpy(salt + RAND_SIZE, k->rand_server.data, RAND_SIZE);
	p1_key_context(&context, P1_KEK, name_bytes(&f->request_user), name_bytes(&p->entity),
		       k->key_index);
	return p1_unwrap(p->user.ph, bytes_of(salt, sizeof(salt)), &context, k->wrapped, key);
}

static int answer(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	struct pne_figure6 *f = &p->figure6;
	const struct m_eukey_assignment_response *a = &e->message->eukey_assignment_response;
	struct message_id id = message_id_of(e->message);
	SCOPED_SECRET *key = NULL;
	int r;

	if (!p->secure)
		return pne_do_receipt(out, &id, STATUS_INSECURE_PAN);
	if (a->status != STATUS_OK)
		return fail(p, out, verdict_of_server_status(a->status), 8,
			    status_wire_name(a->status));
	if (!a->has_key || a->key.rand_server.size != RAND_SIZE ||
	    !bytes_equal(a->user_id, name_bytes(&f->request_user)) ||
	    !bytes_equal(a->entity_id, name_bytes(&p->entity)))
		return refuse(p, e, out, STATUS_MALFORMED, VERDICT_SERVER_MALFORMED);
	if (!p->user.ph)
		return refuse(p, e, out, STATUS_NOT_EXPECTED, VERDICT_PNE_CANNOT_UNWRAP);
	r = unwrap(p, &a->key, &key);
	if (r < 0)
		return r;
	if (r == P1_REFUSED || secret_size(key) != KEY_SIZE)
		return refuse(p, e, out, STATUS_DOES_NOT_UNWRAP, VERDICT_PNE_CANNOT_UNWRAP);
	if (pne_take_key(p, e, &f->request_user, a->key.key_index, key, &r) == STATUS_STALE_INDEX)
		return refuse(p, e, out, STATUS_STALE_INDEX, VERDICT_PNE_STALE_INDEX);
	if (r < 0)
		return r;
	p->effect.erase_pending = true;
	enter_state(p, PNE6_STORING_KEY);
	r = pne_do_timer(out, FIGURE_6, 0);
	return r < 0 ? r : pne_do_store(p, out, FIGURE_6);
}

static int stored_key(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	const struct receipt *receipt = &p->effect.answer.receipt;
	struct name user = p->figure6.request_user;
	int r;

	if (e->result < 0) {
		r = pne_do_receipt(out, &receipt->id, STATUS_STORAGE_FAILED);
		return r < 0 ? r : fail(p, out, VERDICT_PNE_STORAGE, 14, strerror(-e->result));
	}
	r = pne_do_step(out, FIGURE_6, 14, &user);
	if (r == 0)
		r = pne_do_receipt(out, &receipt->id, STATUS_OK);
	if (r < 0)
		return r;
	out->at[out->count - 1].receipt = *receipt;
	return end(p, out, VERDICT_DONE, 14, &user, p->key.index, NULL);
}

/* The link is back; the request waits for one that is secure (comment C255). */
static int again(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	(void)e;
	if (!p->secure)
		return pne_do_info(out, "the request under way waits for a secure PAN");
	return pne_exchange_again(&p->figure6.exchange, out);
}

static int receipt(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	enum verdict_id verdict;
	int r;

	if (pne_exchange_receipt(&p->figure6.exchange, FIGURE_6, e, out, &verdict, &r))
		return r;
	return fail(p, out, verdict, 8, status_wire_name(e->receipt->status));
}

static int timer(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	struct pne_exchange *x = &p->figure6.exchange;
	enum status last = x->last;
	enum verdict_id verdict;
	int r;

	if (p->link_up && !p->secure) {
		if (e->now_ms >= x->deadline_ms)
			return fail(p, out, VERDICT_PAN_INSECURE, 8, NULL);
		return pne_do_timer(out, FIGURE_6, x->deadline_ms - e->now_ms);
	}
	if (pne_exchange_timer(p, x, FIGURE_6, e, out, &verdict, &r))
		return r;
	return fail(p, out, verdict, 8, last != STATUS_OK ? status_wire_name(last) : NULL);
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

/* A state in which the figure derives or stores: only the outcome matters. */
#define WORKING(on_derived, on_stored)                                                 \
	{                                                                              \
		[PNE_EVENT_ENTERED] = NOT_MINE, [PNE_EVENT_RESET] = NOT_MINE,          \
		[PNE_EVENT_INSTALLATION] = HELD, [PNE_EVENT_TRIGGER] = HELD,           \
		[PNE_EVENT_RESPONSE] = HELD, [PNE_EVENT_NOTIFICATION] = NOT_MINE,      \
		[PNE_EVENT_RECEIPT] = HELD, [PNE_EVENT_DERIVED] = on_derived,          \
		[PNE_EVENT_STORED] = on_stored,                                        \
		[PNE_EVENT_LINK_UP] = IGNORE("the answer follows once it is durable"), \
		[PNE_EVENT_LINK_DOWN] =                                                \
			IGNORE("the answer is given when the message is repeated"),    \
		[PNE_EVENT_TIMER] = IGNORE("worker and vault always answer"),          \
	}

const struct pne_cell pne_figure6_table[PNE6_STATES][PNE_EVENTS] = {
	[PNE6_IDLE] =
		{
			[PNE_EVENT_ENTERED] = NOT_MINE,
			[PNE_EVENT_RESET] = NOT_MINE,
			[PNE_EVENT_INSTALLATION] = DO(installation),
			[PNE_EVENT_TRIGGER] = DO(trigger),
			[PNE_EVENT_RESPONSE] = NOTHING_ASKED,
			[PNE_EVENT_NOTIFICATION] = NOT_MINE,
			[PNE_EVENT_RECEIPT] = NOTHING_ASKED,
			[PNE_EVENT_DERIVED] = NO_WORK,
			[PNE_EVENT_STORED] = NO_WORK,
			[PNE_EVENT_LINK_UP] = NOTHING_ASKED,
			[PNE_EVENT_LINK_DOWN] = NOTHING_ASKED,
			[PNE_EVENT_TIMER] = IGNORE("came due as the figure ended"),
		},
	[PNE6_COMPARING] = WORKING(DO(compared), NO_WORK),
	[PNE6_DERIVING] = WORKING(DO(derived), NO_WORK),
	[PNE6_STORING_USER] = WORKING(NO_WORK, DO(stored_user)),
	[PNE6_STORING_REQUEST] = WORKING(NO_WORK, DO(stored_request)),
	[PNE6_ANSWER] =
		{
			[PNE_EVENT_ENTERED] = NOT_MINE,
			[PNE_EVENT_RESET] = NOT_MINE,
			[PNE_EVENT_INSTALLATION] = DO(installation),
			[PNE_EVENT_TRIGGER] = DO(trigger),
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
	[PNE6_STORING_KEY] = WORKING(NO_WORK, DO(stored_key)),
};
