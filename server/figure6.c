#include "server/procedure.h"

#include <string.h>

/*
 * Figure 6: the subscription, and a PNE without UI on a secure PAN. PN GW and PNE must belong to
 * the same user (comment C255).
 */

static void subscription_opened(struct server_procedure *p, const struct server_event *e,
				struct server_actions *out)
{
	const struct m_subscription_registration_request *r =
		&p->request->subscription_registration_request;

	if (!procedure_take_facts(p, e, 2, out))
		return;
	if (!procedure_may_own(p->facts.has_gateway, &p->facts.gateway, r->user_id)) {
		procedure_refuse(p, STATUS_NOT_OWNER, 2, out);
		return;
	}
	procedure_register(p, &r->gateway_key, &r->password, 2, out);
}

static void subscription_derived(struct server_procedure *p, const struct server_event *e,
				 struct server_actions *out)
{
	struct m_subscription_registration_response *answer =
		&p->response.subscription_registration_response;
	struct store_element gateway;

	if (!procedure_registered(p, e->ph, 2, out))
		return;
	/* The subscription makes the user the owner of a PN GW that has none. */
	gateway = p->facts.gateway;
	gateway.entity = p->source;
	gateway.mode = ENTITY_PNGW;
	gateway.owner = p->wants.user;
	store_batch_element(&p->batch, &gateway, gateway.last_index);
	store_batch_subscription(&p->batch, name_bytes(&p->wants.user), name_bytes(&p->source),
				 p->request->subscription_registration_request.subscription);
	answer->has_parameters = true;
	procedure_answer_registration(p, &answer->parameters, 2, out);
}

const server_table figure6_subscription = {
	[STATE_IDLE] = {procedure_load, procedure_ignore_early, procedure_ignore_early,
			procedure_ignore_early, procedure_ignore_early},
	[STATE_LOADING] = {procedure_ignore_repeat, subscription_opened, procedure_ignore_early,
			   procedure_ignore_early, procedure_ignore_early},
	[STATE_DERIVING] = {procedure_ignore_repeat, procedure_ignore_late, subscription_derived,
			    procedure_ignore_early, procedure_ignore_early},
	[STATE_STORING] = {procedure_ignore_repeat, procedure_ignore_late, procedure_ignore_late,
			   procedure_stored, procedure_store_failed},
	[STATE_DONE] = {procedure_ignore_late, procedure_ignore_late, procedure_ignore_late,
			procedure_ignore_late, procedure_ignore_late},
};

/*
 * An unknown user costs the same computation as a known one and ends the same way. Ownership is
 * looked at afterwards: it is told only to somebody who knows the password.
 */
static bool material_right(struct server_procedure *p)
{
	const struct m_eukey_assignment_request *r = &p->request->eukey_assignment_request;
	const struct store_account *account = procedure_account(p);
	const struct secret *ph = account ? account->ph : p->environment->unknown_user;
	uint8_t expected[P1_MAC_SIZE];
	bool right;

	if (p1_auth_data(ph, message_name(p->request->kind), r->user_id,
			 p->request->envelope.source, p->request->envelope.target,
			 r->security_material.rand_pne, &p->request_id, expected) < 0)
		return false;
	right = constant_time_equal(bytes_of(expected, sizeof(expected)),
				    r->security_material.auth_data);
	wipe(expected, sizeof(expected));
	return right && account;
}

/* Step 11: the KEK is HKDF(PH, RAND_PNE then RAND_Server, context). */
static enum status wrap_under_kek(struct server_procedure *p, uint32_t *index)
{
	const struct m_eukey_assignment_request *r = &p->request->eukey_assignment_request;
	struct p1_context context;
	uint8_t salt[2 * RAND_SIZE];
	struct secret *key = NULL;

	if (p1_random(p->rand_server, sizeof(p->rand_server)) < 0 ||
	    procedure_new_key(p, index, &key) < 0)
		return STATUS_FAILED;
	memcpy(salt, r->security_material.rand_pne.data, RAND_SIZE);
	memcpy(salt + RAND_SIZE, p->rand_server, RAND_SIZE);
	p1_key_context(&context, P1_KEK, r->user_id, r->entity_id, *index);
	if (p1_wrap(p->facts.account.ph, bytes_of(salt, sizeof(salt)), &context, key,
		    p->wrapped[0]) != 0)
		return STATUS_FAILED;
	return STATUS_OK;
}

static void assignment_loaded(struct server_procedure *p, const struct server_event *e,
			      struct server_actions *out)
{
	const struct m_eukey_assignment_request *r = &p->request->eukey_assignment_request;
	struct m_eukey_assignment_response *answer = &p->response.eukey_assignment_response;
	uint32_t index = 0;
	enum status s;

	if (!procedure_take_facts(p, e, 10, out))
		return;
	if (!material_right(p)) {
		procedure_challenge(p, false, false, 10, e->now_ms, out);
		return;
	}
	if (!procedure_may_own(p->facts.has_entity, &p->facts.entity, r->user_id)) {
		procedure_refuse(p, STATUS_NOT_OWNER, 10, out);
		return;
	}
	if (!procedure_may_own(p->facts.has_gateway, &p->facts.gateway, r->user_id)) {
		procedure_refuse(p, STATUS_NOT_OWNER, 10, out);
		p->verdict.id = VERDICT_GATEWAY_NOT_OWNER;
		return;
	}
	procedure_held(p);
	s = wrap_under_kek(p, &index);
	if (s != STATUS_OK) {
		procedure_refuse(p, s, 11, out);
		return;
	}
	answer->status = STATUS_OK;
	answer->has_key = true;
	answer->key.key_index = index;
	answer->key.rand_server = bytes_of(p->rand_server, sizeof(p->rand_server));
	answer->key.wrapped = bytes_of(p->wrapped[0], P1_WRAPPED_KEY_SIZE);
	p->verdict.id = VERDICT_DONE;
	p->verdict.key_index = index;
	procedure_step_done(p, 10);
	procedure_step_done(p, 11);
	procedure_step_done(p, 12);
	procedure_store(p, out);
}

const server_table figure6_assignment = {
	[STATE_IDLE] = {procedure_load, procedure_ignore_early, procedure_ignore_early,
			procedure_ignore_early, procedure_ignore_early},
	[STATE_LOADING] = {procedure_ignore_repeat, assignment_loaded, procedure_ignore_early,
			   procedure_ignore_early, procedure_ignore_early},
	[STATE_DERIVING] = {procedure_ignore_repeat, procedure_ignore_no_derive,
			    procedure_ignore_no_derive, procedure_ignore_no_derive,
			    procedure_ignore_no_derive},
	[STATE_STORING] = {procedure_ignore_repeat, procedure_ignore_late, procedure_ignore_late,
			   procedure_stored, procedure_store_failed},
	[STATE_DONE] = {procedure_ignore_late, procedure_ignore_late, procedure_ignore_late,
			procedure_ignore_late, procedure_ignore_late},
};
