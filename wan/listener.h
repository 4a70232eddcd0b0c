#ifndef PNGW_WAN_LISTENER_H
#define PNGW_WAN_LISTENER_H

/*
 * The server's end of the WAN: accepts TLS connections, speaks HTTP/2 and HTTP/1.1, and hands out
 * POST requests to one path. Anything else (another path, method, content type, a body over
 * MESSAGE_MAX_SIZE) is answered here with the fitting HTTP status and a one-line text.
 */

#include <uv.h>

#include "protocol/secret.h"
#include "wan/tls.h"

struct listener;
struct listener_request;

struct listener_options {
	const char *address; /* numeric IPv4 or IPv6 */
	uint16_t port;       /* 0: the system chooses, see listener_port() */
	const char *path;
	struct tls_context *tls;  /* a reference is taken */
	unsigned max_connections; /* 0 means 1024 */
	unsigned max_streams;     /* requests under way on one connection; 0 means 128 */
	unsigned handshake_ms;    /* until TLS is up, else it is closed; 0 means 10 000 */
	unsigned idle_ms;         /* a connection without requests is closed after; 0: 120 000 */
	size_t state_size;        /* of each connection, for the callee; 0: none */
};

/* What is known of the connection a request came on; valid until the request is answered. */
struct listener_peer {
	enum tls_auth auth;
	bool mutual;
	struct name entity;      /* "" when auth is TLS_AUTH_NONE */
	struct secret *exporter; /* borrowed; NULL unless mutual */
	void *state; /* options.state_size bytes for the callee, zero at first, that stay
			as long as the connection and its requests; NULL: none */
};

struct listener_callbacks {
	/*
	 * body and authorization (the Authorization header's value, or BYTES_NONE) live during the
	 * call. body may be empty: that is how an ordinary HTTP client asks for a digest challenge.
	 * Each request is to be answered once by listener_answer(), now or later; the request stays
	 * valid until then even when its connection goes away.
	 */
	void (*request)(void *arg, struct listener_request *r, struct bytes body,
			struct bytes authorization, const struct listener_peer *peer);
	void (*stopped)(void *arg); /* everything is closed and freed; the last callback */
};

/* 0 and *out is listening, or a negative errno and one sentence in why. */
int listener_new(uv_loop_t *loop, const struct listener_options *options,
		 const struct listener_callbacks *callbacks, void *arg, struct listener **out,
		 char *why, size_t why_size);

uint16_t listener_port(const struct listener *l);

/*
 * New credentials (a reference is taken). Who is connected was let in under the older ones, which
 * may no longer be good: such a connection ends within a second of having its requests answered.
 */
void listener_set_tls(struct listener *l, struct tls_context *tls);

/* Stops accepting, closes all connections; unanswered requests may still be answered (to nobody).
 */
void listener_stop(struct listener *l);

/*
 * Answers and ends r. body (application/cpns+xml) is copied; challenge, when not NULL, is the value
 * of a WWW-Authenticate header.
 */
void listener_answer(struct listener_request *r, int http, struct bytes body,
		     const char *challenge);

#define WAN_CONTENT_TYPE "application/cpns+xml"

#endif
