#ifndef PNGW_GATEWAY_CONTROL_H
#define PNGW_GATEWAY_CONTROL_H

/*
 * The local control socket, a Unix socket of mode 0600. A client sends one line, COMMAND and its
 * arguments separated by single spaces, and for commands that need it a second line, the password.
 * It gets lines of text, and last "END N", N being the exit code the command is to have. A client
 * that goes away cancels what it started.
 *
 *   status | elements | release ENTITY | fingerprint CHALLENGE [ENTITY]
 *   register USER | figure6 USER ENTITY... | figure7 USER ENTITY [COUNT] | figure8 USER    +
 * password
 */

#include <uv.h>

#include "gateway/core.h"

struct gateway_control;

#define CONTROL_LINE_MAX 16384
/* Exit codes of a command. */
enum { CONTROL_DONE = 0, CONTROL_REFUSED = 1, CONTROL_RETRY = 2, CONTROL_USAGE = 64 };

struct gateway_control_options {
	const char *path;
	struct core *core;
	const struct name *self;
	enum key_set_kind set_kind;
	unsigned set_count;
	/* Writes lines about the WAN, each ended by a newline. */
	void (*status)(void *arg, char *out, size_t out_size);
	void (*stopped)(void *arg); /* everything is closed and freed; the last callback */
	void *arg;
};

/* Listens. 0 or a negative errno; path and self are copied, core is borrowed until it is stopped.
 */
int gateway_control_new(uv_loop_t *loop, const struct gateway_control_options *options,
			struct gateway_control **out);
void gateway_control_stop(struct gateway_control *c);

/* A line of progress, and a verdict, for whoever started run; nobody may be there any more. */
void gateway_control_line(struct gateway_control *c, uint64_t run, const char *text);
void gateway_control_verdict(struct gateway_control *c, uint64_t run, const struct verdict *v);

#endif
