#include "server/procedure.h"

#include <string.h>

const struct store_account *procedure_account(const struct server_procedure *p)
{
	return p->facts.has_account && !p->facts.account.blocked ? &p->facts.account : NULL;
}

/* What the password of the request is verified with: its own credentials, or the HTTP header's. */
static bool credentials(const struct server_procedure *p, struct digest_input *in,
			const uint8_t **response)
{
	const struct m_eukey_assignment_request *r = &p->request->eukey_assignment_request;

	if (r->has_digest) {
		*in = (struct digest_input){.user = r->user_id,
					    .realm = r->digest.realm,
					    .nonce = r->digest.nonce,
					    .client_nonce = r->digest.client_nonce,
					    .uri = r->digest.uri,
					    .nonce_count = r->digest.nonce_count};
		*response = r->digest.response.data;
		return true;
	}
	if (p->header && p->header->there) {
		*in = p->header->in;
		*response = p->header->response;
		return true;
	}
	return false;
}

/*
 * An unknown user costs the same computation and ends like a wrong password. The nonce is marked
 * used only once the response was found right, so a stranger cannot use up nonces.
 */
enum server_digest server_digest_check(struct server_procedure *p,
				       const struct store_account *account, uint64_t now_ms)
{
	const struct server_environment *env = p->environment;
	struct digest_input in;
	const uint8_t *response;
	uint8_t expected[32];
	bool right;

	if (!credentials(p, &in, &response))
		return DIGEST_NONE_GIVEN;
	if (digest_response(account ? account->ph : env->unknown_user, &in, expected) < 0)
		return DIGEST_WRONG;
	right = constant_time_equal(bytes_of(expected, sizeof(expected)), bytes_of(response, 32));
	wipe(expected, sizeof(expected));
	right = right && account && bytes_equal(in.user, name_bytes(&p->wants.user)) &&
		bytes_equal(in.realm, name_bytes(&env->self)) &&
		bytes_equal(in.uri, bytes_text(env->uri));
	if (!right)
		return DIGEST_WRONG;
	switch (digest_nonce_use(env->nonces, in.nonce, in.nonce_count, now_ms)) {
	case DIGEST_FRESH:
		return DIGEST_RIGHT;
	case DIGEST_STALE:
	case DIGEST_REPLAYED:
		return DIGEST_OLD;
	}
	return DIGEST_OLD;
}

void procedure_challenge(struct server_procedure *p, bool stale, bool in_message, unsigned step,
			 uint64_t now_ms, struct server_actions *out)
{
	const struct server_environment *env = p->environment;
	struct m_eukey_assignment_response *r = &p->response.eukey_assignment_response;

	procedure_refuse(p, STATUS_UNAUTHORIZED, step, out);
	if (procedure_account(p)) {
		memcpy(p->salt, p->facts.account.salt, sizeof(p->salt));
		p->iterations = p->facts.account.iterations;
	} else {
		p->iterations = env->iterations;
		if (p1_unknown_salt(env->unknown_user, name_bytes(&p->wants.user), p->salt) < 0)
			goto failed;
	}
	if (digest_nonce_make(env->nonces, now_ms, p->nonce) < 0 ||
	    digest_header_challenge(p->challenge_header, sizeof(p->challenge_header),
				    name_bytes(&env->self), bytes_text(p->nonce), stale, p->salt,
				    p->iterations) < 0)
		goto failed;
	if (!in_message)
		return;
	r->has_challenge = true;
	r->challenge.realm = name_bytes(&env->self);
	r->challenge.nonce = bytes_text(p->nonce);
	r->challenge.stale = stale ? 1 : 0;
	r->challenge.has_parameters = true;
	r->challenge.parameters.salt = bytes_of(p->salt, sizeof(p->salt));
	r->challenge.parameters.iterations = p->iterations;
	return;
failed:
	p->challenge_header[0] = '\0';
	p->verdict.id = VERDICT_SERVER_REFUSED;
	procedure_set_status(p, STATUS_FAILED);
}

void procedure_register(struct server_procedure *p, const struct m_gateway_key *gateway_key,
			const struct m_encrypted_password *sealed, unsigned step,
			struct server_actions *out)
{
	struct secret *shared = procedure_gateway_key(p, gateway_key);
	SCOPED_SECRET *opened = NULL;
	int r;

	if (!shared) {
		procedure_refuse(p, STATUS_DOES_NOT_UNWRAP, step, out);
		return;
	}
	r = p1_open_password(shared, sealed->rand, name_bytes(&p->wants.user), BYTES_NONE,
			     sealed->sealed, &opened);
	/* The sender has normalised it; that is checked and not trusted. */
	if (r == 0)
		r = p1_password(secret_bytes(opened), &p->password);
	if (r != 0) {
		procedure_refuse(p, r > 0 ? STATUS_DOES_NOT_UNWRAP : STATUS_MALFORMED, step, out);
		return;
	}
	if (p->facts.has_account) {
		memcpy(p->salt, p->facts.account.salt, sizeof(p->salt));
		p->iterations = p->facts.account.iterations;
	} else {
		p->iterations = p->environment->iterations;
		if (p1_random(p->salt, sizeof(p->salt)) < 0) {
			procedure_refuse(p, STATUS_FAILED, step, out);
			return;
		}
	}
	p->state = STATE_DERIVING;
	procedure_push(out, ACTION_DERIVE);
}

bool procedure_registered(struct server_procedure *p, struct secret *ph, unsigned step,
			  struct server_actions *out)
{
	struct store_account account = {.user = p->wants.user, .iterations = p->iterations};

	secret_clear(&p->password);
	if (!ph) {
		procedure_refuse(p, STATUS_FAILED, step, out);
		return false;
	}
	if (p->facts.has_account) {
		if (secret_equal(p->facts.account.ph, ph) && !p->facts.account.blocked)
			return true;
		procedure_refuse(p, STATUS_ALREADY_INSTALLED, step, out);
		return false;
	}
	memcpy(account.salt, p->salt, sizeof(account.salt));
	account.ph = ph;
	store_batch_account(&p->batch, &account);
	return true;
}

void procedure_answer_registration(struct server_procedure *p,
				   struct m_password_parameters *parameters, unsigned step,
				   struct server_actions *out)
{
	parameters->salt = bytes_of(p->salt, sizeof(p->salt));
	parameters->iterations = p->iterations;
	procedure_set_status(p, STATUS_OK);
	p->verdict.id = VERDICT_DONE;
	procedure_step_done(p, step);
	procedure_step_done(p, step + 1);
	procedure_store(p, out);
}

bool procedure_authenticate(struct server_procedure *p, unsigned step, uint64_t now_ms,
			    struct server_actions *out)
{
	if (p->authenticated && procedure_account(p))
		return true;
	switch (server_digest_check(p, procedure_account(p), now_ms)) {
	case DIGEST_RIGHT:
		p->authenticated = true;
		return true;
	case DIGEST_OLD:
		procedure_challenge(p, true, true, step, now_ms, out);
		return false;
	case DIGEST_NONE_GIVEN:
		procedure_challenge(p, false, true, step, now_ms, out);
		p->challenged = true;
		return false;
	case DIGEST_WRONG:
		procedure_challenge(p, false, true, step, now_ms, out);
		return false;
	}
	return false;
}
