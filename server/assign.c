#include "server/procedure.h"

#include <errno.h>

int procedure_new_key(struct server_procedure *p, uint32_t *index, struct secret **key)
{
	const struct m_eukey_assignment_request *r = &p->request->eukey_assignment_request;
	struct store_element element = p->facts.entity;
	const uint32_t last = p->facts.has_entity ? element.last_index : 0;
	SCOPED_SECRET *fresh = NULL;

	if (last == UINT32_MAX)
		return -EOVERFLOW;
	fresh = secret_random(KEY_SIZE);
	if (!fresh)
		return -ENOMEM;
	element.entity = p->wants.entity;
	element.mode = r->mode;
	element.owner = p->wants.user;
	element.last_index = last + 1;
	store_batch_element(&p->batch, &element, last);
	store_batch_eukey(&p->batch, r->user_id, r->entity_id, last + 1, fresh);
	if (p->batch.error != 0)
		return p->batch.error;
	*index = last + 1;
	*key = fresh; /* the batch holds a reference */
	return 0;
}

void procedure_held(struct server_procedure *p)
{
	const struct m_eukey_assignment_request *r = &p->request->eukey_assignment_request;
	uint8_t expected[P1_MAC_SIZE];

	if (!r->has_held_key || !p->facts.held_key)
		return;
	if (p1_held_proof(p->facts.held_key, r->user_id, r->entity_id, r->held_key.key_index,
			  &p->request_id, expected) < 0)
		return;
	if (constant_time_equal(bytes_of(expected, sizeof(expected)), r->held_key.proof))
		store_batch_held(&p->batch, r->user_id, r->entity_id, r->held_key.key_index);
}

void procedure_assign_by_digest(struct server_procedure *p, unsigned step,
				struct server_actions *out)
{
	const struct m_eukey_assignment_request *r = &p->request->eukey_assignment_request;
	struct m_eukey_assignment_response *answer = &p->response.eukey_assignment_response;
	struct p1_context context;
	uint8_t salt[DIGEST_SALT_MAX];
	struct bytes nonces;
	struct secret *key = NULL;
	uint32_t index = 0;

	if (!procedure_may_own(p->facts.has_entity, &p->facts.entity, r->user_id)) {
		procedure_refuse(p, STATUS_NOT_OWNER, step, out);
		return;
	}
	nonces = r->has_digest ? digest_salt(r->digest.nonce, r->digest.client_nonce, salt)
			       : digest_salt(p->header->in.nonce, p->header->in.client_nonce, salt);
	if (nonces.size == 0) {
		procedure_refuse(p, STATUS_MALFORMED, step, out);
		return;
	}
	procedure_held(p);
	if (procedure_new_key(p, &index, &key) < 0) {
		procedure_refuse(p, STATUS_FAILED, step, out);
		return;
	}
	p1_key_context(&context, P1_EUKEY, r->user_id, r->entity_id, index);
	if (p1_wrap(p->facts.account.ph, nonces, &context, key, p->wrapped[0]) != 0) {
		procedure_refuse(p, STATUS_FAILED, step, out);
		return;
	}
	answer->status = STATUS_OK;
	answer->has_key = true;
	answer->key.key_index = index;
	answer->key.wrapped = bytes_of(p->wrapped[0], P1_WRAPPED_KEY_SIZE);
	p->verdict.id = VERDICT_DONE;
	p->verdict.key_index = index;
	procedure_step_done(p, step);
	procedure_step_done(p, step + 1);
	procedure_step_done(p, step + 2);
	procedure_store(p, out);
}
