#ifndef PNGW_PROTOCOL_DIGEST_H
#define PNGW_PROTOCOL_DIGEST_H

/*
 * HTTP digest (RFC 7616), algorithm SHA-256, qop auth, method POST. In P1 the digest password is
 * the lower-case hex of PH. The same computation serves the DigestCredentials of a message and the
 * Authorization header of an ordinary HTTP client.
 */

#include "protocol/bytes.h"
#include "protocol/p1.h"

/* What the response is computed over; all borrowed. */
struct digest_input {
	struct bytes user;
	struct bytes realm;
	struct bytes nonce;
	struct bytes client_nonce;
	struct bytes uri;
	uint32_t nonce_count;
};

/*
 * response = H(H(user:realm:hex(PH)) : nonce : nc : cnonce : auth : H(POST:uri)), RFC 7616
 * section 3.4.1; every H() written as lower-case hex where it is hashed again.
 */
int digest_response(const struct secret *ph, const struct digest_input *in, uint8_t out[32]);

/*
 * As digest_response() for any password text and method: what RFC 7616's vectors are tested with.
 */
int digest_response_general(struct bytes password, const char *method,
			    const struct digest_input *in, uint8_t out[32]);

/*
 * Salt of the EUKey wrap in Figures 5 and 8: server nonce, then client nonce, as they stand on the
 * wire. out has 192 bytes. Returns the view, BYTES_NONE when they do not fit.
 */
#define DIGEST_SALT_MAX 192
struct bytes digest_salt(struct bytes nonce, struct bytes client_nonce, uint8_t *out);

/* A client nonce of 32 hex digits and a NUL. */
int digest_client_nonce(char out[33]);

/* The server's nonces: nothing to store, nothing survives a restart, each count is taken once. */
struct digest_nonces;

/* lifetime_ms: how old a nonce may be; capacity: how many used nonces are remembered at once. */
struct digest_nonces *digest_nonces_new(uint64_t lifetime_ms, size_t capacity);
void digest_nonces_free(struct digest_nonces *n);

/* A fresh nonce at time now_ms (any monotonic clock), text of at most 128 bytes and a NUL. */
int digest_nonce_make(struct digest_nonces *n, uint64_t now_ms, char out[129]);

/*
 * Whether (nonce, count) may be used at now_ms, and marks it used when it may. Call it only once
 * the response was found right. DIGEST_STALE: too old, or not made since the last start: the client
 * should try again with a new one. DIGEST_REPLAYED: this count or a higher one was used.
 */
enum digest_nonce_outcome { DIGEST_FRESH, DIGEST_STALE, DIGEST_REPLAYED };
enum digest_nonce_outcome digest_nonce_use(struct digest_nonces *n, struct bytes nonce,
					   uint32_t count, uint64_t now_ms);

/*
 * WWW-Authenticate value for a challenge; salt and iterations ride along as further auth-params,
 * which RFC 7616 lets a client ignore. -ENOBUFS when it does not fit.
 */
int digest_header_challenge(char *out, size_t out_size, struct bytes realm, struct bytes nonce,
			    bool stale, const uint8_t salt[SALT_SIZE], uint32_t iterations);

/*
 * Parses an Authorization header's value ("Digest username=..., ..."). 0 and *in and response are
 * filled with views into header, or a positive DIGEST_HEADER_BAD: not Digest, not SHA-256, not
 * qop=auth, a parameter missing, empty, twice or malformed. username* and userhash are refused, and
 * so are escapes in a value that is used: no User ID, Entity ID, nonce or path here needs one.
 */
#define DIGEST_HEADER_BAD 1
int digest_header_parse(struct bytes header, struct digest_input *in, uint8_t response[32]);

#endif
