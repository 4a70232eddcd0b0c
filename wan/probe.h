#ifndef PNGW_WAN_PROBE_H
#define PNGW_WAN_PROBE_H

/*
 * One attempt to reach a CPNS Server, to see how far it gets: name, TCP, TLS, and the HTTP status
 * of a POST that is no message and so changes nothing. Beside struct wan, whose connection it
 * leaves alone.
 */

#include <uv.h>

#include "wan/tls.h"

struct wan_probe;

struct wan_probe_options {
	const char *host;
	const char *verify_name; /* NULL: host */
	uint16_t port;
	const char *path;
	struct tls_context *tls; /* a reference is taken; one of its own, or a session is resumed */
};

/* How far it came; what is after the first that is false was not tried. */
struct wan_probe_result {
	bool resolved, connected, established, answered;
	unsigned addresses;
	char version[16]; /* "TLSv1.3" */
	char alpn[16];    /* "": none was agreed on */
	bool mutual;
	enum tls_cause cause; /* of a handshake that was refused */
	bool has_validity;    /* of the server's certificate: */
	int64_t from, until;  /* seconds since 1970 */
	int http;             /* status; 0 */
	unsigned resolve_ms, connect_ms, handshake_ms, answer_ms;
	char why[160]; /* what ended it, one clause; "" when answered */
};

/* Once, from the loop. The probe is freed when it returns. */
typedef void wan_probe_done(void *arg, const struct wan_probe_result *result);

/*
 * All of options is copied. 0 and *out, borrowed until done, or a negative errno. It ends after
 * deadline_ms at the latest, but for a name that is still being resolved.
 */
int wan_probe_start(uv_loop_t *loop, const struct wan_probe_options *options, unsigned deadline_ms,
		    wan_probe_done *done, void *arg, struct wan_probe **out);

/* done will not be called. The loop goes on until all is closed. */
void wan_probe_abandon(struct wan_probe *p);

#endif
