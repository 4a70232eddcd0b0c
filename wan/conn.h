#ifndef PNGW_WAN_CONN_H
#define PNGW_WAN_CONN_H

/*
 * Internal to wan/: a TCP socket, TLS over it and HTTP over that, driven by the loop. What is
 * queued during one turn of the loop leaves in one write. What the peer does not read is bounded:
 * above a limit nothing more is read from it.
 */

#include <uv.h>

#include "wan/buffer.h"
#include "wan/http.h"
#include "wan/tls.h"

struct conn;

/* They may call conn_close(), never free the connection. */
struct conn_callbacks {
	/* The TLS handshake is done: to set c->http. Negative: the connection fails. */
	int (*up)(struct conn *c);
	/*
	 * It failed or ended, once; nothing is read or written any more. To be closed. cause: when
	 * one side did not take the other.
	 */
	void (*down)(struct conn *c, enum tls_cause cause, const char *why);
	/* Everything is closed and freed but c itself. */
	void (*closed)(struct conn *c);
};

struct conn {
	uv_tcp_t tcp;
	uv_idle_t turn;
	uv_write_t write;
	uv_shutdown_t shutdown;
	struct conn_callbacks callbacks;
	void *arg;
	struct tls *tls;   /* owned */
	struct http *http; /* owned */
	struct buffer sending;
	unsigned open; /* handles */
	bool writing, shut;
	bool lingers; /* after the last byte was sent: wait for the peer to close */
	/*
	 * How much may wait to be sent while the peer's bytes are still read; 0: nothing. At most
	 * one side of a connection may have less than its own requests need, or both wait for ever.
	 */
	size_t unread_max;
	bool reading;
	bool is_up, is_down, closing, pumping;
	int http_result;
	uint64_t last_read; /* uv_now() */
};

int conn_init(struct conn *c, uv_loop_t *loop, const struct conn_callbacks *callbacks, void *arg);
/* On a connected or accepted socket; takes tls over, also on failure. */
int conn_begin(struct conn *c, struct tls *tls);
/* Something was queued: it leaves at the end of this turn. */
void conn_touch(struct conn *c);
/* Says goodbye as far as the socket takes it at once. */
void conn_goodbye(struct conn *c);
void conn_close(struct conn *c);
/*
 * Both, of a peer that does nothing. Where it has left what was sent to it, it is told by a reset:
 * it would never come to the end, for which the kernel would go on keeping all that is before it.
 */
void conn_drop(struct conn *c);

#endif
