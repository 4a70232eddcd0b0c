#ifndef PNGW_GATEWAY_PROFILE_H
#define PNGW_GATEWAY_PROFILE_H

/*
 * The functions of the security profile that procedures use, with the same arguments and results
 * (protocol/p1.h, protocol/digest.h). Procedures call no other that depends on a secret or on
 * chance: so somebody can listen to what came out, and a replay can give it again without any key.
 */

#include "protocol/digest.h"
#include "protocol/p1.h"

#define PROFILE_CLIENT_NONCE_SIZE 33

enum profile_function {
	PROFILE_MESSAGE_ID,
	PROFILE_RAND,
	PROFILE_CLIENT_NONCE,
	PROFILE_DIGEST,
	PROFILE_SEAL_PASSWORD,
	PROFILE_AUTH_DATA,
	PROFILE_HELD_PROOF,
	PROFILE_REFILL_PROOF,
	PROFILE_VERIFIER,
	PROFILE_WRAP,
	PROFILE_UNWRAP,
	PROFILE_UNWRAP_TEMPORARY_KEY,
	PROFILE_CHAIN_BELOW,
	PROFILE_FUNCTIONS
};

/* Whoever listens or gives. NULL in place of one: nobody does. */
struct profile {
	void *arg;
	/* What came out; BYTES_NONE unless result is 0. */
	void (*came_out)(void *arg, enum profile_function f, int result, struct bytes out);
	/* Gives size bytes instead of the function; NULL: the function itself is called. */
	int (*give)(void *arg, enum profile_function f, uint8_t *out, size_t size);
	int (*give_secret)(void *arg, enum profile_function f, struct secret **out);
};

int profile_message_id(const struct profile *x, struct message_id *out);
int profile_rand(const struct profile *x, uint8_t *out, size_t size);
int profile_client_nonce(const struct profile *x, char out[PROFILE_CLIENT_NONCE_SIZE]);
int profile_digest(const struct profile *x, const struct secret *ph, const struct digest_input *in,
		   uint8_t out[32]);
int profile_seal_password(const struct profile *x, const struct secret *secret, struct bytes rand,
			  struct bytes user, struct bytes binding, const struct secret *password,
			  uint8_t out[P1_SEALED_PASSWORD_SIZE]);
int profile_auth_data(const struct profile *x, const struct secret *ph, const char *message_name,
		      struct bytes user, struct bytes source, struct bytes target,
		      struct bytes rand, const struct message_id *id, uint8_t out[P1_MAC_SIZE]);
int profile_held_proof(const struct profile *x, const struct secret *eukey, struct bytes user,
		       struct bytes entity, uint32_t index, const struct message_id *id,
		       uint8_t out[P1_MAC_SIZE]);
int profile_refill_proof(const struct profile *x, const struct secret *eukey, struct bytes user,
			 struct bytes entity, uint32_t index, const struct message_id *id,
			 struct bytes gateway, uint8_t out[P1_MAC_SIZE]);
/* p1_mac(); what checks a password without the server. */
int profile_verifier(const struct profile *x, const struct secret *secret,
		     const struct p1_context *derive, const struct p1_context *over,
		     uint8_t out[P1_MAC_SIZE]);
/* Of an EUKey: out has P1_WRAPPED_KEY_SIZE bytes. */
int profile_wrap(const struct profile *x, const struct secret *secret, struct bytes salt,
		 const struct p1_context *context, const struct secret *key,
		 uint8_t out[P1_WRAPPED_KEY_SIZE]);
int profile_unwrap(const struct profile *x, const struct secret *secret, struct bytes salt,
		   const struct p1_context *context, struct bytes wrapped, struct secret **out);
int profile_unwrap_temporary_key(const struct profile *x, const struct secret *secret,
				 struct bytes salt, struct bytes user, struct bytes entity,
				 struct bytes wrapped, struct secret **out);
int profile_chain_below(const struct profile *x, const struct secret *k, struct secret **out);

#endif
