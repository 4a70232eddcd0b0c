#ifndef PNGW_PAN_BEARER_H
#define PNGW_PAN_BEARER_H

/*
 * A bearer carries byte streams between a PN GW and PNEs. This is its vtable; bearer-local.h is the
 * one over Unix and TCP sockets. A bearer belongs to the loop it was made with and is used from
 * that loop's thread.
 */

#include "protocol/bytes.h"

struct bearer;
struct bearer_link; /* one stream; identified by its address until link_down() has returned */

/* How far the stream itself can be trusted. The configuration says which level counts as secure. */
enum pan_security {
	PAN_SECURITY_NONE,          /* anybody can read and write */
	PAN_SECURITY_ENCRYPTED,     /* encrypted, the peer is not authenticated ("Just Works") */
	PAN_SECURITY_AUTHENTICATED, /* encrypted with an authenticated key */
};
const char *pan_security_name(enum pan_security level); /* "none", "encrypted", "authenticated" */

enum bearer_down {
	BEARER_DOWN_PEER,   /* the peer closed, or is out of reach */
	BEARER_DOWN_QUOTA,  /* more waits to be sent than the quota allows */
	BEARER_DOWN_ERROR,  /* the stream failed; errno in the callback */
	BEARER_DOWN_CLOSED, /* this side asked for it */
};

struct bearer_callbacks {
	/* A stream is there. peer is a printable address for a person, valid during the call. */
	void (*link_up)(void *arg, struct bearer_link *l, enum pan_security level,
			const char *peer);
	void (*link_bytes)(void *arg, struct bearer_link *l, struct bytes input);
	void (*security)(void *arg, struct bearer_link *l,
			 enum pan_security level); /* it changed */
	/* Exactly once for every link_up; the link is not to be used afterwards. error: negative
	 * errno or 0. */
	void (*link_down)(void *arg, struct bearer_link *l, enum bearer_down why, int error);
	/*
	 * A bearer_connect() came to nothing. address: as it was given there; error: negative
	 * errno; why: the same for a person, without the address. Both texts live during the call.
	 */
	void (*connect_failed)(void *arg, const char *address, int error, const char *why);
	/* Everything is closed: the bearer has been freed. The last callback. */
	void (*stopped)(void *arg);
};

struct bearer_ops {
	int (*start)(struct bearer *b);
	void (*stop)(struct bearer *b);
	int (*connect)(struct bearer *b, const char *address);
	int (*send)(struct bearer *b, struct bearer_link *l, struct bytes output);
	void (*drop)(struct bearer *b, struct bearer_link *l, enum bearer_down why);
};

struct bearer {
	const struct bearer_ops *ops;
	struct bearer_callbacks callbacks;
	void *arg;
};

/*
 * Begins to listen where the bearer was told to. 0 or a negative errno (nothing is then listening
 * and the bearer may be stopped or started again).
 */
static inline int bearer_start(struct bearer *b)
{
	return b->ops->start(b);
}

/* Closes all links (link_down with BEARER_DOWN_CLOSED), then frees the bearer and calls stopped().
 */
static inline void bearer_stop(struct bearer *b)
{
	b->ops->stop(b);
}

/* One attempt: link_up or connect_failed follows from the loop. 0 or a negative errno at once. */
static inline int bearer_connect(struct bearer *b, const char *address)
{
	return b->ops->connect(b, address);
}

/*
 * Queues a copy of output. 0; -ENOMEM; -EDQUOT when the quota is exceeded: the link is then being
 * dropped and link_down(BEARER_DOWN_QUOTA) follows from the loop.
 */
static inline int bearer_send(struct bearer *b, struct bearer_link *l, struct bytes output)
{
	return b->ops->send(b, l, output);
}

/* Closes one link; link_down(why) follows from the loop, not from this call. */
static inline void bearer_drop(struct bearer *b, struct bearer_link *l, enum bearer_down why)
{
	b->ops->drop(b, l, why);
}

#endif
