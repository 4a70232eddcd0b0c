#ifndef PNGW_GATEWAY_CREDENTIALS_H
#define PNGW_GATEWAY_CREDENTIALS_H

/*
 * The part that Figures 7 and 8 share: an EUKeyAssignmentRequest first without credentials, which
 * the server answers with a challenge, then PBKDF2, then the request with digest credentials.
 */

#include "gateway/procedure.h"

/* States of both figures, in this order, before their own. */
enum {
	CREDENTIALS_WAN = STATE_WAN,
	CREDENTIALS_CHALLENGE,
	CREDENTIALS_HASHING,
	CREDENTIALS_ANSWER
};

/* Sends the request for entity; with credentials when p has PH and a nonce. Step 0 or 1..3 are the
 * caller's. */
bool gateway_credentials_request(struct procedure *p, const struct event *e, struct actions *out,
				 enum entity_mode mode);

/*
 * Takes the answer to a request. CREDENTIALS_TAKEN: it is a success that the caller unwraps;
 * otherwise everything was done here (hash, ask again, or the end).
 */
enum credentials_outcome { CREDENTIALS_HANDLED, CREDENTIALS_AGAIN, CREDENTIALS_TAKEN };
enum credentials_outcome gateway_credentials_answer(struct procedure *p, const struct event *e,
						    struct actions *out, bool with_credentials);

#endif
