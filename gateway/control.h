#ifndef PNGW_GATEWAY_CONTROL_H
#define PNGW_GATEWAY_CONTROL_H

/*
 * The local control socket, a Unix socket of mode 0600. A client sends one line, COMMAND and its
 * arguments separated by single spaces, and for commands that need it a second line, the password.
 * It gets lines of text, and last "END N", N being the exit code the command is to have. A client
 * that goes away cancels what it started.
 *
 * gateway/commands.def lists the commands. Until gateway_control_ready() each is answered "opening
 * the vault" and END 2.
 */

#include <uv.h>

#include "gateway/config.h"

struct gateway_bluetooth;
struct gateway_control;

#define CONTROL_LINE_MAX 16384
/* Exit codes of a command. */
enum { CONTROL_DONE = 0, CONTROL_REFUSED = 1, CONTROL_RETRY = 2, CONTROL_USAGE = 64 };

struct gateway_control_options {
	const char *path;
	const struct config *config; /* borrowed; what it holds may change between two turns */
	/* Calls line with what the daemon adds to the status. */
	void (*status)(void *arg, void (*line)(void *line_arg, const char *text), void *line_arg);
	/* The same for what was damaged in the vault when it was opened. */
	void (*damage)(void *arg, void (*line)(void *line_arg, const char *text), void *line_arg);
	void (*stopped)(void *arg); /* everything is closed and freed; the last callback */
	void *arg;
};

/* Listens. 0 or a negative errno; path is copied. */
int gateway_control_new(uv_loop_t *loop, const struct gateway_control_options *options,
			struct gateway_control **out);
/* From now on commands are carried out; what is given is borrowed until it is stopped. bluetooth:
 * NULL without. */
void gateway_control_ready(struct gateway_control *c, struct core *core, struct vault *vault,
			   struct gateway_bluetooth *bluetooth);
/* Clients are closed within the call: nothing that was borrowed is used after it. */
void gateway_control_stop(struct gateway_control *c);

/* A line of progress, and a verdict, for whoever started run; nobody may be there any more. */
void gateway_control_line(struct gateway_control *c, uint64_t run, const char *text);
void gateway_control_verdict(struct gateway_control *c, uint64_t run, const struct verdict *v);

#endif
