#ifndef PNGW_GATEWAY_DAEMON_H
#define PNGW_GATEWAY_DAEMON_H

/* pngwd: the core under a libuv loop, with its bearers, its WAN connection, vault and control
 * socket. */

#include <uv.h>

#include "gateway/config.h"

struct gateway_daemon;

/*
 * Everything is open and listening on 0. file is read again on SIGHUP. On a negative errno why says
 * what is wrong; the loop may then still have handles to close: run it once before closing it.
 */
int gateway_daemon_new(uv_loop_t *loop, const char *file, const struct config *config,
		       struct gateway_daemon **out, char *why, size_t why_size);

/* Begins to stop; the loop ends when all is closed. SIGTERM and SIGINT do the same. */
void gateway_daemon_stop(struct gateway_daemon *d);

/* stopping is called once when the daemon begins to stop: who else is on its loop should too. */
void gateway_daemon_on_stop(struct gateway_daemon *d, void (*stopping)(void *arg), void *arg);

/* After the loop has ended. NULL is allowed. */
void gateway_daemon_free(struct gateway_daemon *d);

/* Checks what only opening shows: the TLS files. 0, or a negative errno and why. */
int gateway_daemon_check(const struct config *config, char *why, size_t why_size);

#endif
