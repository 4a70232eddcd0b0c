#include "gateway/profile.h"

#include <string.h>

static bool gives(const struct profile *x)
{
	return x && x->give;
}

static int told(const struct profile *x, enum profile_function f, int result, const void *out,
		size_t size)
{
	if (x && x->came_out)
		x->came_out(x->arg, f, result, result == 0 ? bytes_of(out, size) : BYTES_NONE);
	return result;
}

static int told_secret(const struct profile *x, enum profile_function f, int result,
		       struct secret *const *out)
{
	struct bytes b = result == 0 ? secret_bytes(*out) : BYTES_NONE;

	return told(x, f, result, b.data, b.size);
}

int profile_message_id(const struct profile *x, struct message_id *out)
{
	if (gives(x))
		return x->give(x->arg, PROFILE_MESSAGE_ID, out->b, sizeof(out->b));
	return told(x, PROFILE_MESSAGE_ID, p1_random(out->b, sizeof(out->b)), out->b,
		    sizeof(out->b));
}

int profile_rand(const struct profile *x, uint8_t *out, size_t size)
{
	if (gives(x))
		return x->give(x->arg, PROFILE_RAND, out, size);
	return told(x, PROFILE_RAND, p1_random(out, size), out, size);
}

int profile_client_nonce(const struct profile *x, char out[PROFILE_CLIENT_NONCE_SIZE])
{
	uint8_t text[PROFILE_CLIENT_NONCE_SIZE] = {0};
	int r;

	if (gives(x)) {
		r = x->give(x->arg, PROFILE_CLIENT_NONCE, text, sizeof(text) - 1);
		memcpy(out, text, sizeof(text));
		return r;
	}
	return told(x, PROFILE_CLIENT_NONCE, digest_client_nonce(out), out, sizeof(text) - 1);
}

int profile_digest(const struct profile *x, const struct secret *ph, const struct digest_input *in,
		   uint8_t out[32])
{
	if (gives(x))
		return x->give(x->arg, PROFILE_DIGEST, out, 32);
	return told(x, PROFILE_DIGEST, digest_response(ph, in, out), out, 32);
}

int profile_seal_password(const struct profile *x, const struct secret *secret, struct bytes rand,
			  struct bytes user, struct bytes binding, const struct secret *password,
			  uint8_t out[P1_SEALED_PASSWORD_SIZE])
{
	if (gives(x))
		return x->give(x->arg, PROFILE_SEAL_PASSWORD, out, P1_SEALED_PASSWORD_SIZE);
	return told(x, PROFILE_SEAL_PASSWORD,
		    p1_seal_password(secret, rand, user, binding, password, out), out,
		    P1_SEALED_PASSWORD_SIZE);
}

int profile_auth_data(const struct profile *x, const struct secret *ph, const char *message_name,
		      struct bytes user, struct bytes source, struct bytes target,
		      struct bytes rand, const struct message_id *id, uint8_t out[P1_MAC_SIZE])
{
	if (gives(x))
		return x->give(x->arg, PROFILE_AUTH_DATA, out, P1_MAC_SIZE);
	return told(x, PROFILE_AUTH_DATA,
		    p1_auth_data(ph, message_name, user, source, target, rand, id, out), out,
		    P1_MAC_SIZE);
}

int profile_held_proof(const struct profile *x, const struct secret *eukey, struct bytes user,
		       struct bytes entity, uint32_t index, const struct message_id *id,
		       uint8_t out[P1_MAC_SIZE])
{
	if (gives(x))
		return x->give(x->arg, PROFILE_HELD_PROOF, out, P1_MAC_SIZE);
	return told(x, PROFILE_HELD_PROOF, p1_held_proof(eukey, user, entity, index, id, out), out,
		    P1_MAC_SIZE);
}

int profile_refill_proof(const struct profile *x, const struct secret *eukey, struct bytes user,
			 struct bytes entity, uint32_t index, const struct message_id *id,
			 struct bytes gateway, uint8_t out[P1_MAC_SIZE])
{
	if (gives(x))
		return x->give(x->arg, PROFILE_REFILL_PROOF, out, P1_MAC_SIZE);
	return told(x, PROFILE_REFILL_PROOF,
		    p1_refill_proof(eukey, user, entity, index, id, gateway, out), out,
		    P1_MAC_SIZE);
}

int profile_verifier(const struct profile *x, const struct secret *secret,
		     const struct p1_context *derive, const struct p1_context *over,
		     uint8_t out[P1_MAC_SIZE])
{
	if (gives(x))
		return x->give(x->arg, PROFILE_VERIFIER, out, P1_MAC_SIZE);
	return told(x, PROFILE_VERIFIER, p1_mac(secret, derive, over, out), out, P1_MAC_SIZE);
}

int profile_wrap(const struct profile *x, const struct secret *secret, struct bytes salt,
		 const struct p1_context *context, const struct secret *key,
		 uint8_t out[P1_WRAPPED_KEY_SIZE])
{
	if (gives(x))
		return x->give(x->arg, PROFILE_WRAP, out, P1_WRAPPED_KEY_SIZE);
	return told(x, PROFILE_WRAP, p1_wrap(secret, salt, context, key, out), out,
		    P1_WRAPPED_KEY_SIZE);
}

int profile_unwrap(const struct profile *x, const struct secret *secret, struct bytes salt,
		   const struct p1_context *context, struct bytes wrapped, struct secret **out)
{
	if (gives(x))
		return x->give_secret(x->arg, PROFILE_UNWRAP, out);
	return told_secret(x, PROFILE_UNWRAP, p1_unwrap(secret, salt, context, wrapped, out), out);
}

int profile_unwrap_temporary_key(const struct profile *x, const struct secret *secret,
				 struct bytes salt, struct bytes user, struct bytes entity,
				 struct bytes wrapped, struct secret **out)
{
	if (gives(x))
		return x->give_secret(x->arg, PROFILE_UNWRAP_TEMPORARY_KEY, out);
	return told_secret(x, PROFILE_UNWRAP_TEMPORARY_KEY,
			   p1_unwrap_temporary_key(secret, salt, user, entity, wrapped, out), out);
}

int profile_chain_below(const struct profile *x, const struct secret *k, struct secret **out)
{
	if (gives(x))
		return x->give_secret(x->arg, PROFILE_CHAIN_BELOW, out);
	return told_secret(x, PROFILE_CHAIN_BELOW, p1_chain_below(k, out), out);
}
