#ifndef PNGW_PAN_LINK_H
#define PNGW_PAN_LINK_H

/*
 * One link between a PN GW and a PNE above the byte stream: hello with the X25519 exchange, then
 * messages, receipts and pings. No I/O: bytes in, events out, and bytes out by a callback. The same
 * engine runs on both ends.
 */

#include "pan/frame.h"
#include "protocol/secret.h"

struct link;

enum link_broken {
	LINK_BROKEN_OVERSIZED, /* a frame larger than the binding allows */
	LINK_BROKEN_FRAME,     /* unknown kind or bad payload */
	LINK_BROKEN_NO_HELLO,  /* something else than a hello came first */
	LINK_BROKEN_HELLO_AGAIN,
	LINK_BROKEN_VERSION,
	LINK_BROKEN_ROLE, /* both ends say they are PN GW, or neither does */
	LINK_BROKEN_KEY,  /* an X25519 public key that gives no secret */
	LINK_BROKEN_MEMORY,
};
const char *link_broken_text(enum link_broken why);

/*
 * Called from link_push() only, except send. A callback must not free the link; views live during
 * the call only. After broken() nothing more is called: the owner closes the stream.
 */
struct link_callbacks {
	void (*send)(void *arg, struct bytes frame);     /* queue these bytes on the stream */
	void (*up)(void *arg, const struct hello *peer); /* hellos were exchanged */
	void (*message)(void *arg, struct bytes xml);
	void (*receipt)(void *arg, const struct receipt *r);
	void (*pong)(void *arg, uint64_t token);
	void (*broken)(void *arg, enum link_broken why);
};

/*
 * self: this end's flags and names; its public_key is ignored, each link makes its own. 0 and *out,
 * -EINVAL when self is no hello that the binding allows, or another negative errno.
 */
int link_new(const struct hello *self, const struct link_callbacks *callbacks, void *arg,
	     struct link **out);
void link_free(struct link *l);

/* Sends this end's hello. Once, when the stream is up. */
void link_start(struct link *l);

/* Bytes that arrived. Returns 0, or -EPROTO once broken() was called. */
int link_push(struct link *l, struct bytes input);

bool link_is_up(const struct link *l);
const struct hello *link_peer(const struct link *l); /* NULL before the peer's hello */

/* Each returns 0, -ENOTCONN before the link is up, or -EMSGSIZE. */
int link_send_message(struct link *l, struct bytes xml);
int link_send_receipt(struct link *l, const struct receipt *r);
int link_send_ping(struct link *l, uint64_t token);

/*
 * The secret both ends share: HKDF(X25519 shared, "", ctx("CPNS P1 PAN")), and the binding that
 * goes into every context made with it: the gateway's hello payload, then the PNE's, as sent. Both
 * are borrowed and live as long as the link. NULL / BYTES_NONE before the link is up.
 */
struct secret *link_secret(const struct link *l);
struct bytes link_binding(const struct link *l);

#endif
