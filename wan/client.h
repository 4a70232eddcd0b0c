#ifndef PNGW_WAN_CLIENT_H
#define PNGW_WAN_CLIENT_H

/*
 * The PN GW's one connection to its CPNS Server: HTTPS POST of messages to one URL, HTTP/2 when the
 * server offers it, HTTP/1.1 otherwise. Several requests in flight. Reconnects by itself with
 * backoff and jitter for as long as it runs.
 */

#include <uv.h>

#include "protocol/secret.h"
#include "wan/tls.h"

struct wan;
struct wan_request;

struct wan_options {
	const char *host;        /* name or address; also the name that is verified ... */
	const char *verify_name; /* ... unless this is given */
	uint16_t port;
	const char *path;            /* "/cpns" */
	struct tls_context *tls;     /* a reference is taken */
	unsigned max_in_flight;      /* further requests wait; 0 means 64 */
	unsigned max_waiting;        /* further requests are refused with -EBUSY; 0 means 1024 */
	unsigned connect_timeout_ms; /* 0 means 10 000; covers name resolution, TCP and TLS */
	unsigned backoff_min_ms;     /* 0 means 250 */
	unsigned backoff_max_ms;     /* 0 means 60 000 */
	unsigned keepalive_ms;       /* HTTP/2 ping when idle that long; 0 means 30 000 */
};

/* Why there is no connection. */
enum wan_cause {
	WAN_CAUSE_NONE,
	WAN_CAUSE_RESOLVE, /* the host's name does not resolve */
	WAN_CAUSE_ROUTE,   /* no way to its address */
	WAN_CAUSE_REFUSED, /* nobody listens there */
	WAN_CAUSE_SILENT,  /* nothing answers there */
	WAN_CAUSE_MUTE,    /* the connection is taken, but nothing is said */
	WAN_CAUSE_CUT,     /* it is closed before TLS is agreed on */
	WAN_CAUSE_TLS,     /* TLS refuses it: wan_state.tls */
	WAN_CAUSE_HTTP,    /* TLS is agreed on, but what answers does not speak HTTP */
	WAN_CAUSE_DEAF,    /* it is there, but nothing answers on it: given up */
	WAN_CAUSE_LOST,    /* it was there, and went away */
	WAN_CAUSE_OWN,     /* this side has no memory or descriptors for it */
};

/* What the connection is; of the moment. */
struct wan_state {
	bool up;
	bool mutual; /* both sides authenticated each other */
	bool resumed;
	bool http2;
	unsigned retry_in_ms; /* when down: how long until the next attempt */
	bool tls_refused;     /* when down: cause is WAN_CAUSE_TLS */
	enum wan_cause cause; /* when down */
	enum tls_cause tls;   /* when TLS refused it */
	char why[160];        /* when down: one clause for a person */
};

struct wan_callbacks {
	void (*state)(void *arg, const struct wan_state *state); /* on every change */
	void (*stopped)(void *arg); /* everything is closed and freed; the last callback */
};

int wan_new(uv_loop_t *loop, const struct wan_options *options,
	    const struct wan_callbacks *callbacks, void *arg, struct wan **out);

/* Begins to connect. */
void wan_start(struct wan *w);

/* Ends all requests with WAN_CANCELLED, closes, frees w, then stopped(). */
void wan_stop(struct wan *w);

const struct wan_state *wan_state(const struct wan *w);

/*
 * The exporter secret of the connection that is up, borrowed until the state changes; NULL when
 * down or not mutually authenticated. generation counts connections: a request made with one
 * exporter must go out on that connection.
 */
struct secret *wan_exporter(const struct wan *w);
uint64_t wan_generation(const struct wan *w);

enum wan_result {
	WAN_ANSWERED, /* body is the server's message, http its status */
	WAN_DOWN,     /* there was no connection before the deadline (or at all, when pinned) */
	WAN_LOST,     /* the connection went away after the request was sent: it was pinned, or did
			 not get an answer on a later one in time */
	WAN_DEADLINE, /* sent, but no answer in time */
	WAN_BAD_ANSWER, /* an HTTP answer that is not ours: wrong content type, too large, no body.
			   http is its status, 0 when the request was broken off */
	WAN_UNREAD,     /* the server sends it back unread, time after time */
	WAN_CANCELLED,
};

struct wan_answer {
	enum wan_result result;
	int http;
	struct bytes body; /* valid during the callback */
	uint64_t generation;
};

/* Exactly once for every request that was accepted, from the loop; not after wan_cancel(). */
typedef void wan_answer_fn(void *arg, const struct wan_answer *answer);

/*
 * Queues a copy of body. An unpinned request waits for a connection and is sent again, same bytes,
 * on the next one when a connection is lost, until deadline_ms from now: the server answers a
 * repeated message id in the same way. A pinned one belongs to the connection of that generation
 * and ends with it. 0 and *out (borrowed until the callback), -EBUSY, -ENOTCONN (pinned and gone)
 * or -ENOMEM.
 */
#define WAN_UNPINNED 0
int wan_post(struct wan *w, struct bytes body, unsigned deadline_ms, uint64_t pin_generation,
	     wan_answer_fn *answer, void *arg, struct wan_request **out);
/* Calls nothing back from within, and never the answer of r. */
void wan_cancel(struct wan_request *r);

#endif
