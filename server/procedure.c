#include "server/procedure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* How often a conflict with another writer makes a procedure load again. */
#define ATTEMPTS_MAX 5

void server_facts_clear(struct server_facts *f)
{
	store_account_clear(&f->account);
	secret_unref(f->gateway_key);
	secret_unref(f->held_key);
	secret_unref(f->refill_key);
	secret_unref(f->temporary_key);
	for (size_t i = 0; i < SERVER_DELIVERIES_LIMIT; i++)
		secret_unref(f->delivered[i]);
	for (size_t i = 0; i < f->devices_count; i++) {
		store_keys_clear(f->devices[i].keys);
		wipe(&f->devices[i].resets, sizeof(f->devices[i].resets));
	}
	free(f->devices);
	*f = (struct server_facts){0};
}

const struct name *server_gateway_user(const struct server_facts *f)
{
	if (!f->has_gateway)
		return NULL;
	if (f->gateway.owner.text[0])
		return &f->gateway.owner;
	return f->gateway.revocation.owner.text[0] ? &f->gateway.revocation.owner : NULL;
}

const char *server_state_name(enum server_state s)
{
	switch (s) {
	case STATE_IDLE:
		return "idle";
	case STATE_LOADING:
		return "loading";
	case STATE_DERIVING:
		return "deriving";
	case STATE_STORING:
		return "storing";
	case STATE_DONE:
		return "done";
	case SERVER_STATES:
		break;
	}
	return "none";
}

void procedure_push(struct server_actions *out, enum server_action_kind kind)
{
	if (out->count < SERVER_ACTIONS_MAX)
		out->list[out->count++] = (struct server_action){.kind = kind};
}

void procedure_step_done(struct server_procedure *p, unsigned step)
{
	if (p->steps_count < sizeof(p->steps) / sizeof(p->steps[0]))
		p->steps[p->steps_count++] = step;
}

void procedure_set_status(struct server_procedure *p, enum status s)
{
	switch (p->response.kind) {
	case MESSAGE_id_pwd_registration_response:
		p->response.id_pwd_registration_response.status = s;
		break;
	case MESSAGE_subscription_registration_response:
		p->response.subscription_registration_response.status = s;
		break;
	case MESSAGE_eukey_assignment_response:
		p->response.eukey_assignment_response.status = s;
		break;
	case MESSAGE_eukey_delivery_report_response:
		p->response.eukey_delivery_report_response.status = s;
		break;
	case MESSAGE_gateway_state_response:
		p->response.gateway_state_response.status = s;
		break;
	case MESSAGE_id_pwd_registration_request:
	case MESSAGE_subscription_registration_request:
	case MESSAGE_id_password_installation_request:
	case MESSAGE_id_password_installation_response:
	case MESSAGE_eukey_assignment_trigger:
	case MESSAGE_eukey_assignment_request:
	case MESSAGE_eukey_assignment_notification:
	case MESSAGE_eukey_delivery_report:
	case MESSAGE_gateway_state_report:
	case MESSAGE_pne_reset_request:
	case MESSAGE_pne_reset_response:
	case MESSAGE_KINDS:
		break;
	}
}

/* The response's kind, envelope, and what it repeats of the request. False: not a request to us. */
static bool prepare_response(struct server_procedure *p)
{
	const struct message *m = p->request;

	p->response = (struct message){.kind = MESSAGE_KINDS};
	switch (m->kind) {
	case MESSAGE_id_pwd_registration_request:
		p->response.kind = MESSAGE_id_pwd_registration_response;
		break;
	case MESSAGE_subscription_registration_request:
		p->response.kind = MESSAGE_subscription_registration_response;
		break;
	case MESSAGE_eukey_assignment_request:
		p->response.kind = MESSAGE_eukey_assignment_response;
		p->response.eukey_assignment_response.user_id = m->eukey_assignment_request.user_id;
		p->response.eukey_assignment_response.entity_id =
			m->eukey_assignment_request.entity_id;
		break;
	case MESSAGE_eukey_delivery_report:
		p->response.kind = MESSAGE_eukey_delivery_report_response;
		break;
	case MESSAGE_gateway_state_report:
		p->response.kind = MESSAGE_gateway_state_response;
		break;
	case MESSAGE_id_pwd_registration_response:
	case MESSAGE_subscription_registration_response:
	case MESSAGE_id_password_installation_request:
	case MESSAGE_id_password_installation_response:
	case MESSAGE_eukey_assignment_trigger:
	case MESSAGE_eukey_assignment_response:
	case MESSAGE_eukey_assignment_notification:
	case MESSAGE_eukey_delivery_report_response:
	case MESSAGE_gateway_state_response:
	case MESSAGE_pne_reset_request:
	case MESSAGE_pne_reset_response:
	case MESSAGE_KINDS:
		return false;
	}
	message_envelope(&p->response, &p->response_id, &p->request_id, &p->environment->self,
			 &p->source);
	return true;
}

static void want_gateway_key(struct server_procedure *p, const struct m_gateway_key *k)
{
	p->wants.gateway = p->source;
	p->wants.gateway_key_index = k->kind == GATEWAY_KEY_EUKEY ? k->key_index : 0;
}

/* Which figure an EUKeyAssignmentRequest belongs to, and whether its parts agree with that. */
static enum status choose_assignment(struct server_procedure *p)
{
	const struct m_eukey_assignment_request *r = &p->request->eukey_assignment_request;
	const bool own = bytes_equal(r->entity_id, name_bytes(&p->source));

	(void)name_set(&p->wants.user, r->user_id);
	(void)name_set(&p->wants.entity, r->entity_id);
	p->wants.held_index = r->has_held_key ? r->held_key.key_index : 0;
	p->wants.refill_index = r->has_refill ? r->refill.key_index : 0;
	p->verdict.user = p->wants.user;
	p->verdict.entity = p->wants.entity;
	if (r->has_key_set) {
		p->figure = FIGURE_7;
		p->table = &figure7_assignment;
		want_gateway_key(p, &r->key_set.gateway_key);
		p->wants.temporary_key = true;
		if (own || r->has_security_material || r->mode != ENTITY_PNE)
			return STATUS_NOT_EXPECTED;
		if ((r->has_refill || r->key_set.gateway_key.kind == GATEWAY_KEY_EXPORTER) &&
		    !p->peer->mutual)
			return STATUS_NOT_MUTUAL;
		return STATUS_OK;
	}
	if (!own || r->has_refill)
		return STATUS_NOT_EXPECTED;
	if (r->has_security_material) {
		p->figure = FIGURE_6;
		p->table = &figure6_assignment;
		p->wants.gateway = p->peer->entity;
		if (r->mode != ENTITY_PNE)
			return STATUS_NOT_EXPECTED;
		return p->peer->mutual ? STATUS_OK : STATUS_NOT_MUTUAL;
	}
	if (r->mode == ENTITY_PNGW) {
		p->figure = FIGURE_8;
		p->table = &figure8_assignment;
		return STATUS_OK;
	}
	p->figure = FIGURE_5;
	p->table = &figure5_assignment;
	return STATUS_OK;
}

static enum status choose(struct server_procedure *p)
{
	const struct message *m = p->request;

	switch (m->kind) {
	case MESSAGE_id_pwd_registration_request:
		p->figure = FIGURE_5;
		p->table = &figure5_registration;
		(void)name_set(&p->wants.user, m->id_pwd_registration_request.user_id);
		want_gateway_key(p, &m->id_pwd_registration_request.gateway_key);
		break;
	case MESSAGE_subscription_registration_request:
		p->figure = FIGURE_6;
		p->table = &figure6_subscription;
		(void)name_set(&p->wants.user, m->subscription_registration_request.user_id);
		want_gateway_key(p, &m->subscription_registration_request.gateway_key);
		break;
	case MESSAGE_eukey_assignment_request:
		return choose_assignment(p);
	case MESSAGE_eukey_delivery_report:
		p->table = &report_delivery;
		p->wants.deliveries = m->eukey_delivery_report.deliveries;
		p->wants.deliveries_count = m->eukey_delivery_report.deliveries_count;
		break;
	case MESSAGE_gateway_state_report:
		p->table = &state_report;
		p->wants.gateway = p->source;
		p->wants.vault_id = m->gateway_state_report.vault.vault_id;
		p->wants.devices = m->gateway_state_report.elements;
		p->wants.devices_count = m->gateway_state_report.elements_count;
		break;
	case MESSAGE_id_pwd_registration_response:
	case MESSAGE_subscription_registration_response:
	case MESSAGE_id_password_installation_request:
	case MESSAGE_id_password_installation_response:
	case MESSAGE_eukey_assignment_trigger:
	case MESSAGE_eukey_assignment_response:
	case MESSAGE_eukey_assignment_notification:
	case MESSAGE_eukey_delivery_report_response:
	case MESSAGE_gateway_state_response:
	case MESSAGE_pne_reset_request:
	case MESSAGE_pne_reset_response:
	case MESSAGE_KINDS:
		return STATUS_NOT_EXPECTED;
	}
	p->verdict.user = p->wants.user;
	p->verdict.entity = p->source;
	return STATUS_OK;
}

bool server_from_gateway(const struct message *m)
{
	if (m->kind != MESSAGE_eukey_assignment_request)
		return true;
	return m->eukey_assignment_request.has_key_set ||
	       m->eukey_assignment_request.mode == ENTITY_PNGW;
}

enum status server_procedure_begin(struct server_procedure *p,
				   const struct server_environment *environment,
				   const struct message *request, const struct server_peer *peer,
				   const struct server_header_credentials *header)
{
	enum status s;

	*p = (struct server_procedure){
		.environment = environment, .request = request, .peer = peer, .header = header};
	p->request_id = message_id_of(request);
	(void)name_set(&p->source, request->envelope.source);
	p->verdict.entity = p->source;
	p->response.kind = MESSAGE_KINDS;
	if (p1_random(p->response_id.b, sizeof(p->response_id.b)) < 0)
		return STATUS_FAILED;
	if (!prepare_response(p) || !(message_directions(request->kind) & GW_TO_SERVER))
		return STATUS_NOT_EXPECTED;
	if (!bytes_equal(request->envelope.target, name_bytes(&environment->self)))
		s = STATUS_WRONG_TARGET;
	else if (message_needs(request->kind) == NEEDS_MUTUAL && !peer->mutual)
		s = STATUS_NOT_MUTUAL;
	else if (peer->entity.text[0] && server_from_gateway(request) &&
		 !name_equal(&peer->entity, &p->source))
		s = STATUS_NOT_OWNER;
	else
		s = choose(p);
	if (s != STATUS_OK) {
		procedure_set_status(p, s);
		p->verdict.figure = p->figure;
		p->verdict.id = verdict_of_server_status(s);
		p->state = STATE_DONE;
	}
	return s;
}

bool server_procedure_bare(const struct server_procedure *p)
{
	const struct m_eukey_assignment_request *r = &p->request->eukey_assignment_request;

	return p->request->kind == MESSAGE_eukey_assignment_request && !r->has_digest &&
	       !r->has_security_material && !r->has_refill;
}

void server_procedure_event(struct server_procedure *p, const struct server_event *e,
			    struct server_actions *out)
{
	out->count = 0;
	(*p->table)[p->state][e->kind](p, e, out);
}

void server_procedure_clear(struct server_procedure *p)
{
	server_facts_clear(&p->facts);
	secret_clear(&p->password);
	store_batch_clear(&p->batch);
}

void procedure_load(struct server_procedure *p, const struct server_event *e,
		    struct server_actions *out)
{
	(void)e;
	p->attempts++;
	p->state = STATE_LOADING;
	procedure_push(out, ACTION_LOAD);
}

void procedure_store(struct server_procedure *p, struct server_actions *out)
{
	p->record = true;
	p->state = STATE_STORING;
	procedure_push(out, ACTION_STORE);
}

static void answer(struct server_procedure *p, struct server_actions *out)
{
	p->verdict.figure = p->figure;
	p->state = STATE_DONE;
	procedure_push(out, ACTION_ANSWER);
	procedure_push(out, ACTION_FINISH);
}

void procedure_stored(struct server_procedure *p, const struct server_event *e,
		      struct server_actions *out)
{
	(void)e;
	for (size_t i = 0; i < p->steps_count; i++) {
		out->list[out->count++] = (struct server_action){
			.kind = ACTION_STEP, .figure = p->figure, .step = p->steps[i]};
		p->verdict.step = p->steps[i];
	}
	answer(p, out);
}

/*
 * The refusal of a request whose sender is known, or which can never succeed, is as final as a
 * success: it is kept too. What may go differently next time is not.
 */
void procedure_refuse(struct server_procedure *p, enum status s, unsigned step,
		      struct server_actions *out)
{
	store_batch_clear(&p->batch);
	p->steps_count = 0;
	p->verdict.step = step;
	p->verdict.id = verdict_of_server_status(s);
	p->verdict.key_index = 0;
	if (p->verdict.id == VERDICT_SERVER_REFUSED)
		(void)bytes_to_text(bytes_text(status_wire_name(s)), p->verdict.detail,
				    sizeof(p->verdict.detail));
	(void)prepare_response(p);
	procedure_set_status(p, s);
	if (status_retry(s) || s == STATUS_UNAUTHORIZED || s == STATUS_HANDED_OVER ||
	    p->attempts >= ATTEMPTS_MAX)
		answer(p, out);
	else
		procedure_store(p, out);
}

void procedure_store_failed(struct server_procedure *p, const struct server_event *e,
			    struct server_actions *out)
{
	if (e->conflict && p->attempts < ATTEMPTS_MAX) {
		store_batch_clear(&p->batch);
		server_facts_clear(&p->facts);
		secret_clear(&p->password);
		p->steps_count = 0;
		(void)prepare_response(p);
		procedure_load(p, e, out);
		return;
	}
	p->attempts = ATTEMPTS_MAX;
	procedure_refuse(p, STATUS_STORAGE_FAILED, p->verdict.step, out);
}

void procedure_ignore_early(struct server_procedure *p, const struct server_event *e,
			    struct server_actions *out)
{
	(void)p;
	(void)e;
	(void)out;
}

void procedure_ignore_repeat(struct server_procedure *p, const struct server_event *e,
			     struct server_actions *out)
{
	(void)p;
	(void)e;
	(void)out;
}

void procedure_ignore_late(struct server_procedure *p, const struct server_event *e,
			   struct server_actions *out)
{
	(void)p;
	(void)e;
	(void)out;
}

bool procedure_may_own(bool there, const struct store_element *element, struct bytes user)
{
	return !there || element->owner.text[0] == '\0' ||
	       bytes_equal(name_bytes(&element->owner), user);
}

struct secret *procedure_gateway_key(struct server_procedure *p,
				     const struct m_gateway_key *gateway_key)
{
	switch (gateway_key->kind) {
	case GATEWAY_KEY_EUKEY:
		return p->facts.gateway_key;
	case GATEWAY_KEY_EXPORTER:
		return p->peer->exporter;
	}
	return NULL;
}

void procedure_ignore_no_derive(struct server_procedure *p, const struct server_event *e,
				struct server_actions *out)
{
	(void)p;
	(void)e;
	(void)out;
}

bool procedure_take_facts(struct server_procedure *p, const struct server_event *e, unsigned step,
			  struct server_actions *out)
{
	if (!e->facts) {
		procedure_refuse(p, STATUS_STORAGE_FAILED, step, out);
		return false;
	}
	p->facts = *e->facts;
	*e->facts = (struct server_facts){0};
	return true;
}
