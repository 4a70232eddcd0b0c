#ifndef PNGW_GATEWAY_RELAY_H
#define PNGW_GATEWAY_RELAY_H

/*
 * The relay: requests of PNEs to the server and the answers back, byte for byte (Figure 5 steps 8
 * and 12, Figure 6 steps 9 and 13), until the PNE's receipt. No I/O: actions come out, as from a
 * procedure. Each relayed request that ends gives one ACTION_VERDICT, with the message that it
 * answered in in_response_to; but for one that was answered with a challenge, and one that waits
 * for the receipt of a key when a newer one is installed.
 */

#include "gateway/procedure.h"

struct relay;

struct relay_limits {
	unsigned capacity;    /* requests under way in all; at most 65535 */
	unsigned quota;       /* of them from one PNE */
	unsigned wan_wait_ms; /* how long a request waits for the WAN to come up */
	unsigned request_ms;  /* how long the server may take */
	unsigned receipt_ms;  /* how long the PNE may take to install */
	enum pan_security secure_level;
};

/* What is known of the link, and when. */
struct relay_link {
	uint64_t now;
	bool wan_up;
	const struct name *server;
	const struct name *entity;
	enum pan_security level;
	uint64_t wall;          /* seconds since 1970 */
	struct relayed relayed; /* what the ledger has of entity */
	bool relayed_unknown;   /* that cannot be read */
};

int gateway_relay_new(const struct relay_limits *limits, struct relay **out);
void gateway_relay_free(struct relay *r);
void gateway_relay_set_limits(struct relay *r,
			      const struct relay_limits *limits); /* capacity stays */

/* A request of a PNE, decoded, and its bytes as they came. */
void gateway_relay_request(struct relay *r, const struct relay_link *link, const struct message *m,
			   struct bytes xml, struct actions *out);

/* The end of an ACTION_POST of that token: the message, and its bytes; or that there is none. */
void gateway_relay_answered(struct relay *r, uint64_t now, uint64_t token, const struct message *m,
			    struct bytes xml, struct actions *out);
void gateway_relay_wan_failed(struct relay *r, uint64_t token, const struct wan_end *how,
			      struct actions *out);

/* The answer to that token brought an EUKey that is revoked: it is not forwarded. */
void gateway_relay_drop_answer(struct relay *r, uint64_t token, struct actions *out);
/*
 * Ends one request of a PNE or of a user that is revoked; NULL: of any. True when there may be a
 * further one.
 */
bool gateway_relay_revoke(struct relay *r, const struct name *entity, const struct name *user,
			  struct actions *out);

/* True when the receipt is for a response that the relay forwarded. */
bool gateway_relay_receipt(struct relay *r, const struct relay_link *link,
			   const struct receipt *receipt, struct actions *out);

/*
 * The end of an ACTION_STORE of that token. An answer that brings a key is forwarded only by this,
 * once it is durable that the key is given out.
 */
void gateway_relay_stored(struct relay *r, uint64_t now, uint64_t token, int result,
			  struct actions *out);

/*
 * Ends one request whose receipt did not come. True when there may be a further one. Then
 * *next is the time of the next one, 0 when there is none.
 */
bool gateway_relay_tick(struct relay *r, uint64_t now, uint64_t *next, struct actions *out);

size_t gateway_relay_count(const struct relay *r);

#endif
