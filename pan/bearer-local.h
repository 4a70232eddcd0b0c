#ifndef PNGW_PAN_BEARER_LOCAL_H
#define PNGW_PAN_BEARER_LOCAL_H

/*
 * Streams over a Unix socket, or over TCP for IP over BNEP. The level of security cannot be read
 * from such a socket, so it comes from configuration.
 */

#include <uv.h>

#include "pan/bearer.h"

struct bearer_local_options {
	/*
	 * "unix:/path" or "tcp:ADDRESS:PORT" (IPv6 as [::1]) to listen on, or NULL for a bearer
	 * that only connects. A stale Unix socket that nobody listens on is replaced, a live one is
	 * -EADDRINUSE; the socket file is mode 0660 and removed on stop.
	 */
	const char *listen;
	/* With TCP: only what comes in by this network interface is listened to; NULL: any. */
	const char *device;
	enum pan_security security;
	size_t quota;       /* bytes waiting to be sent on one link; 0 means 256 KiB */
	unsigned max_links; /* further peers are closed at once; 0 means 512 */
};

/*
 * Everything in options is copied. 0 and *out, -EINVAL for a listen address of another form or a
 * device without TCP, -ENOMEM. SIGPIPE is ignored from here on unless the process has a handler for
 * it.
 */
int bearer_local_new(uv_loop_t *loop, const struct bearer_local_options *options,
		     const struct bearer_callbacks *callbacks, void *arg, struct bearer **out);

/* Whether text is an address that listen and bearer_connect() take. */
bool bearer_local_address_valid(const char *text);

#endif
