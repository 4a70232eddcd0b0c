#ifndef PNGW_WAN_HTTP_H
#define PNGW_WAN_HTTP_H

/*
 * Internal to wan/: one HTTP connection as a byte transformer, HTTP/2 or HTTP/1.1, client or
 * server. Plain bytes of the peer in; requests or answers out by callback; plain bytes for the
 * peer pulled by http_flush(). It only knows POSTs of WAN_CONTENT_TYPE to one path.
 */

#include "protocol/bytes.h"
#include "wan/tls.h"

struct http;

/* How a request of a client ended. */
enum http_outcome {
	HTTP_ANSWERED,
	HTTP_BAD_ANSWER, /* another content type, no body, too large, or the stream was reset */
	HTTP_UNSENT,     /* the server said that it did not look at it */
};

/*
 * From within http_feed() and http_flush() only. They may call everything here but those two and
 * http_free().
 */
struct http_callbacks {
	/* Server: to be answered by http_answer(), now or later. Views live during the call. */
	void (*request)(void *arg, int32_t stream, struct bytes body, struct bytes authorization);
	/* Client: ends the request; exactly once unless http_forget() or http_free() came first. */
	void (*answer)(void *arg, void *request, enum http_outcome outcome, int status,
		       struct bytes body);
};

struct http_options {
	enum tls_side side;
	const char *path;      /* borrowed for the life of the connection */
	const char *authority; /* client; borrowed likewise */
	unsigned max_streams;  /* server */
};

int http2_new(const struct http_options *options, const struct http_callbacks *callbacks, void *arg,
	      struct http **out);
/* Where it was left out of the program: -EPROTONOSUPPORT. */
#define HTTP1_LEFT_OUT \
	"the other side does not speak HTTP/2, and this was built with --disable-http1"
int http1_new(const struct http_options *options, const struct http_callbacks *callbacks, void *arg,
	      struct http **out);
void http_free(struct http *h);

/*
 * 0, -ENOMEM, or HTTP_BROKEN: the peer breaks the protocol or asks too much; close after a flush.
 * No bytes at all go on with what had to wait for an answer.
 */
#define HTTP_BROKEN 1
int http_feed(struct http *h, struct bytes plain);

/* Everything there is to send goes into t. 0 or -ENOMEM. */
int http_flush(struct http *h, struct tls *t);

/* Server: input waits for a flush, as too much output does; then http_feed() again. */
bool http_held(const struct http *h);

/* Nothing more will come or go: flush, then close the connection. */
bool http_done(const struct http *h);

/* No new requests; those under way are finished. */
void http_close(struct http *h);

/*
 * Server. challenge (WWW-Authenticate) may be NULL. A stream that is gone is no error: the answer
 * goes to nobody.
 */
int http_answer(struct http *h, int32_t stream, int status, const char *content_type,
		struct bytes body, const char *challenge);

/* Client: whether one more request may be posted now. */
bool http_room(const struct http *h);
/* Client: 0, -EAGAIN when there is no room, -ENOMEM. body is copied. */
int http_post(struct http *h, struct bytes body, void *request);
/*
 * Client: no answer for this request any more. false when the connection is of no further use
 * because of that (HTTP/1.1 would wait for an answer that may never come).
 */
bool http_forget(struct http *h, void *request);
/* Client, HTTP/2: asks for a sign of life; HTTP/1.1 has none and returns false. */
bool http_ping(struct http *h);

/* For the two implementations. */

/* Of a body that is refused, how much is read for the sake of a peer that only then listens. */
#define HTTP_DRAIN_MAX (1U << 20)

struct http_ops {
	void (*free)(struct http *h);
	int (*feed)(struct http *h, struct bytes plain);
	int (*flush)(struct http *h, struct tls *t);
	bool (*held)(const struct http *h);
	bool (*done)(const struct http *h);
	void (*close)(struct http *h);
	int (*answer)(struct http *h, int32_t stream, int status, const char *content_type,
		      struct bytes body, const char *challenge);
	bool (*room)(const struct http *h);
	int (*post)(struct http *h, struct bytes body, void *request);
	bool (*forget)(struct http *h, void *request);
	bool (*ping)(struct http *h);
};

struct http {
	const struct http_ops *ops;
	struct http_options options;
	struct http_callbacks callbacks;
	void *arg;
};

/* What a request's head says, gathered by either implementation. */
struct http_head {
	bool post, path, type, expect, too_large;
	uint64_t length;     /* Content-Length, 0 when not given */
	char *authorization; /* owned, NULL when not given */
};

void http_head_clear(struct http_head *head);
/* Takes in one header field; name in lower case. -ENOMEM. */
int http_head_field(struct http_head *head, struct bytes name, struct bytes value);
/* 0, or the status to refuse the request with. */
int http_head_refuse(const struct http_head *head);
bool http_is_our_type(struct bytes content_type);
/* One line for a person. */
const char *http_status_text(int status);

#endif
