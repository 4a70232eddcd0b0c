#include "gateway/credentials.h"

#include <errno.h>

#include "protocol/digest.h"
#include "protocol/p1.h"

bool gateway_credentials_request(struct procedure *p, const struct event *e, struct actions *out,
				 enum entity_mode mode)
{
	struct message m = {.kind = MESSAGE_eukey_assignment_request};
	struct m_eukey_assignment_request *r = &m.eukey_assignment_request;
	uint8_t response[32], proof[P1_MAC_SIZE];
	int result;

	if (!gateway_new_id(p, out))
		return false;
	message_envelope(&m, &p->awaited, NULL, e->s->self, e->s->server);
	r->user_id = name_bytes(&p->user);
	r->entity_id = name_bytes(&p->entity);
	r->mode = mode;
	if (mode == ENTITY_PNE) {
		r->has_key_set = true;
		r->key_set.kind = p->set_kind;
		r->key_set.count = p->set_count;
		r->key_set.has_gateway_key = true;
		r->key_set.gateway_key.kind = p->gateway_kind;
		r->key_set.gateway_key.key_index = p->gateway_index;
	} else if (e->s->own_key->index != 0 && name_equal(&e->s->own_key->user, &p->user)) {
		result = profile_held_proof(p->profile, e->s->own_key->key, name_bytes(&p->user),
					    name_bytes(&p->entity), e->s->own_key->index,
					    &p->awaited, proof);
		if (result != 0) {
			gateway_error(p, out, result);
			return false;
		}
		r->has_held_key = true;
		r->held_key.key_index = e->s->own_key->index;
		r->held_key.proof = bytes_of(proof, sizeof(proof));
	}
	if (p->ph && p->nonce[0]) {
		struct digest_input in = {
			.user = name_bytes(&p->user),
			.realm = bytes_text(p->realm),
			.nonce = bytes_text(p->nonce),
			.uri = bytes_text(e->s->path),
			.nonce_count = 1,
		};

		result = profile_client_nonce(p->profile, p->client_nonce);
		in.client_nonce = bytes_text(p->client_nonce);
		if (result == 0)
			result = profile_digest(p->profile, p->ph, &in, response);
		if (result != 0) {
			gateway_error(p, out, result);
			return false;
		}
		r->has_digest = true;
		r->digest.realm = in.realm;
		r->digest.nonce = in.nonce;
		r->digest.uri = in.uri;
		r->digest.nonce_count = in.nonce_count;
		r->digest.client_nonce = in.client_nonce;
		r->digest.response = bytes_of(response, sizeof(response));
	}
	if (!gateway_post(p, e, out, &m))
		return false;
	gateway_to(p, r->has_digest ? CREDENTIALS_ANSWER : CREDENTIALS_CHALLENGE);
	return true;
}

/* The server says of Figure 7 only that one of the two is another user's. */
static void not_owner(struct procedure *p, const struct event *e, struct actions *out)
{
	char detail[64];

	if (!e->s->owner->text[0]) {
		gateway_fail(p, out, VERDICT_NOT_OWNER, "the PNE, or this PN GW");
	} else if (name_equal(e->s->owner, &p->user)) {
		gateway_fail(p, out, VERDICT_NOT_OWNER, "the PNE");
	} else {
		(void)snprintf(detail, sizeof(detail), "this PN GW is %.40s's", e->s->owner->text);
		gateway_fail(p, out, VERDICT_GATEWAY_NOT_OWNER, detail);
	}
}

static void refused(struct procedure *p, const struct event *e, struct actions *out,
		    enum status status)
{
	enum verdict_id id = status == STATUS_UNAUTHORIZED ? VERDICT_WRONG_PASSWORD
							   : verdict_of_server_status(status);

	/* The server owes a challenge to whoever showed no credentials. */
	if (status == STATUS_UNAUTHORIZED && !p->nonce[0])
		gateway_fail(p, out, VERDICT_SERVER_MALFORMED, "no challenge");
	else if (id == VERDICT_NOT_OWNER && p->type->figure == FIGURE_7)
		not_owner(p, e, out);
	else
		gateway_fail(p, out, id, status_wire_name(status));
}

enum credentials_outcome gateway_credentials_answer(struct procedure *p, const struct event *e,
						    struct actions *out, bool with_credentials)
{
	const struct m_eukey_assignment_response *r = &e->message->eukey_assignment_response;

	if (!gateway_answers(p, e, MESSAGE_eukey_assignment_response) ||
	    !bytes_equal(r->user_id, name_bytes(&p->user)) ||
	    !bytes_equal(r->entity_id, name_bytes(&p->entity))) {
		gateway_fail(p, out, VERDICT_SERVER_MALFORMED, "not the answer to the request");
		return CREDENTIALS_HANDLED;
	}
	if (r->status == STATUS_OK) {
		if (with_credentials)
			return CREDENTIALS_TAKEN;
		gateway_fail(p, out, VERDICT_SERVER_MALFORMED, "a key without credentials");
		return CREDENTIALS_HANDLED;
	}
	if (r->status != STATUS_UNAUTHORIZED || !r->has_challenge) {
		refused(p, e, out, r->status);
		return CREDENTIALS_HANDLED;
	}
	if (with_credentials && (!r->challenge.stale || p->stale_once)) {
		refused(p, e, out, r->status);
		return CREDENTIALS_HANDLED;
	}
	if (with_credentials)
		p->stale_once = true;
	if (bytes_to_text(r->challenge.realm, p->realm, sizeof(p->realm)) != 0 ||
	    bytes_to_text(r->challenge.nonce, p->nonce, sizeof(p->nonce)) != 0) {
		gateway_fail(p, out, VERDICT_SERVER_MALFORMED, "challenge");
		return CREDENTIALS_HANDLED;
	}
	if (!gateway_parameters(p, e, out, &r->challenge.parameters))
		return CREDENTIALS_HANDLED;
	if (p->ph)
		return CREDENTIALS_AGAIN;
	gateway_derive(p, out);
	gateway_to(p, CREDENTIALS_HASHING);
	return CREDENTIALS_HANDLED;
}
