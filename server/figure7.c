#include "server/procedure.h"

#include <errno.h>

/*
 * Figure 7: a PNE without UI on a PAN that is not secure. The PN GW gets the Temporary Key and a
 * set of EUKeys, random or a hash chain (comments C270, C272, C278).
 */

/* Step 3: the keys, lowest index first. 0 or a negative errno. */
static int make_keys(enum key_set_kind kind, size_t count, struct secret **keys)
{
	if (kind == KEY_SET_RANDOM) {
		for (size_t i = 0; i < count; i++) {
			keys[i] = secret_random(KEY_SIZE);
			if (!keys[i])
				return -ENOMEM;
		}
		return 0;
	}
	keys[count - 1] = secret_random(KEY_SIZE);
	if (!keys[count - 1])
		return -ENOMEM;
	for (size_t i = count - 1; i > 0; i--) {
		int r = p1_chain_below(keys[i], &keys[i - 1]);

		if (r != 0)
			return r < 0 ? r : -EIO;
	}
	return 0;
}

static int add_keys(struct server_procedure *p, uint32_t last, size_t count,
		    struct secret *const *keys)
{
	const struct m_eukey_assignment_request *r = &p->request->eukey_assignment_request;
	struct store_element element = p->facts.entity;

	element.entity = p->wants.entity;
	element.mode = ENTITY_PNE;
	element.owner = p->wants.user;
	element.last_index = last + (uint32_t)count;
	store_batch_element(&p->batch, &element, last);
	for (size_t i = 0; i < count; i++)
		store_batch_eukey(&p->batch, r->user_id, r->entity_id, last + 1 + (uint32_t)i,
				  keys[i]);
	return p->batch.error;
}

/* Step 5's message: the Temporary Key and the set under the PN GW's own key. */
static int wrap_keys(struct server_procedure *p, struct secret *shared, uint32_t last, size_t count,
		     struct secret *const *keys)
{
	const struct m_eukey_assignment_request *r = &p->request->eukey_assignment_request;
	struct m_key_set *set = &p->response.eukey_assignment_response.key_set;
	const struct bytes salt = bytes_of(p->rand_server, sizeof(p->rand_server));
	const size_t first = r->key_set.kind == KEY_SET_CHAIN ? count - 1 : 0;
	size_t size = 0;
	int result = p1_random(p->rand_server, sizeof(p->rand_server));

	if (result == 0)
		result = p1_wrap_temporary_key(shared, salt, r->user_id, r->entity_id,
					       p->facts.temporary_key, p->wrapped_temporary_key,
					       &size);
	for (size_t i = first; i < count && result == 0; i++) {
		const uint32_t index = last + 1 + (uint32_t)i;
		struct p1_context context;

		p1_key_context(&context, P1_SET, r->user_id, r->entity_id, index);
		result = p1_wrap(shared, salt, &context, keys[i], p->wrapped[i]);
		set->keys[i - first].key_index = index;
		set->keys[i - first].wrapped = bytes_of(p->wrapped[i], P1_WRAPPED_KEY_SIZE);
	}
	set->kind = r->key_set.kind;
	set->count = (uint32_t)count;
	set->has_gateway_key = true;
	set->gateway_key = r->key_set.gateway_key;
	set->rand_server = salt;
	set->wrapped_temporary_key = bytes_of(p->wrapped_temporary_key, size);
	set->keys_count = count - first;
	return result;
}

static enum status issue(struct server_procedure *p, struct secret *shared)
{
	const struct m_eukey_assignment_request *r = &p->request->eukey_assignment_request;
	const uint32_t last = p->facts.has_entity ? p->facts.entity.last_index : 0;
	const size_t count = r->key_set.count;
	struct secret *keys[SERVER_KEY_SET_LIMIT] = {NULL};
	int result = last > UINT32_MAX - count ? -EOVERFLOW : 0;

	if (result == 0)
		result = make_keys(r->key_set.kind, count, keys);
	if (result == 0)
		result = add_keys(p, last, count, keys);
	if (result == 0)
		result = wrap_keys(p, shared, last, count, keys);
	for (size_t i = 0; i < count; i++)
		secret_unref(keys[i]);
	p->verdict.key_index = last + 1;
	return result == 0 ? STATUS_OK : STATUS_FAILED;
}

/* A PN GW that only ever asks for more, and never reports a key as held, does not fill the store.
 */
static bool hoarded(const struct server_procedure *p)
{
	const uint32_t last = p->facts.entity.last_index;
	const uint32_t oldest = p->facts.oldest_index;

	return oldest > 0 && last - oldest >= SERVER_OUTSTANDING_LIMIT;
}

/* Everything that can be refused after the user was authenticated, with its step. */
static enum status check(struct server_procedure *p, unsigned *step, enum verdict_id *verdict)
{
	const struct m_eukey_assignment_request *r = &p->request->eukey_assignment_request;

	*step = 2;
	if (!procedure_may_own(p->facts.has_gateway, &p->facts.gateway, r->user_id)) {
		*verdict = VERDICT_GATEWAY_NOT_OWNER;
		return STATUS_NOT_OWNER;
	}
	if (!procedure_may_own(p->facts.has_entity, &p->facts.entity, r->user_id)) {
		*verdict = VERDICT_NOT_OWNER;
		return STATUS_NOT_OWNER;
	}
	*step = 3;
	*verdict = VERDICT_SERVER_REFUSED;
	if (r->key_set.count > p->environment->key_set_max || (r->has_refill && hoarded(p)))
		return STATUS_TOO_MANY_KEYS;
	*step = 4;
	*verdict = VERDICT_SERVER_NO_TEMPORARY_KEY;
	if (!p->facts.temporary_key)
		return STATUS_NO_TEMPORARY_KEY;
	*step = 5;
	*verdict = VERDICT_GATEWAY_KEY_MISSING;
	if (!procedure_gateway_key(p, &r->key_set.gateway_key))
		return STATUS_DOES_NOT_UNWRAP;
	return STATUS_OK;
}

/* Nobody can tell in whose hands it is. */
static bool revoked(const struct store_element *e)
{
	return e->revocation.epoch > 0 && e->owner.text[0] == '\0';
}

/*
 * Without the user: the PN GW that is authenticated on this connection was given an EUKey of an
 * earlier set, which the server still has. Of a revoked one it has none.
 */
static bool refill_right(struct server_procedure *p)
{
	const struct m_eukey_assignment_request *r = &p->request->eukey_assignment_request;
	uint8_t expected[P1_MAC_SIZE];
	bool right;

	if (!procedure_account(p) || !p->facts.refill_key || revoked(&p->facts.gateway) ||
	    !name_equal(&p->facts.entity.owner, &p->wants.user))
		return false;
	if (p1_refill_proof(p->facts.refill_key, r->user_id, r->entity_id, r->refill.key_index,
			    &p->request_id, name_bytes(&p->peer->entity), expected) < 0)
		return false;
	right = constant_time_equal(bytes_of(expected, sizeof(expected)), r->refill.proof);
	wipe(expected, sizeof(expected));
	return right;
}

/* Step 2: by the user's password, or by the proof. False: a challenge is on its way. */
static bool authenticated(struct server_procedure *p, uint64_t now_ms, struct server_actions *out)
{
	if (!p->request->eukey_assignment_request.has_refill)
		return procedure_authenticate(p, 2, now_ms, out);
	if (refill_right(p))
		return true;
	procedure_challenge(p, false, true, 2, now_ms, out);
	if (p->verdict.id == VERDICT_WRONG_PASSWORD)
		p->verdict.id = VERDICT_REFILL_NEEDS_USER;
	return false;
}

static void assignment_loaded(struct server_procedure *p, const struct server_event *e,
			      struct server_actions *out)
{
	const struct m_eukey_assignment_request *r = &p->request->eukey_assignment_request;
	enum verdict_id verdict = VERDICT_DONE;
	unsigned step = 2;
	enum status s;

	if (!procedure_take_facts(p, e, 2, out) || !authenticated(p, e->now_ms, out))
		return;
	s = check(p, &step, &verdict);
	if (s != STATUS_OK) {
		procedure_refuse(p, s, step, out);
		p->verdict.id = verdict;
		return;
	}
	procedure_held(p);
	s = issue(p, procedure_gateway_key(p, &r->key_set.gateway_key));
	if (s != STATUS_OK) {
		procedure_refuse(p, s, 3, out);
		return;
	}
	p->response.eukey_assignment_response.status = STATUS_OK;
	p->response.eukey_assignment_response.has_key_set = true;
	p->verdict.id = VERDICT_DONE;
	procedure_step_done(p, 2);
	procedure_step_done(p, 3);
	procedure_step_done(p, 4);
	procedure_store(p, out);
}

const server_table figure7_assignment = {
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
