#ifndef PNGW_GATEWAY_DAEMON_H
#define PNGW_GATEWAY_DAEMON_H

/* pngwd: the core under a libuv loop, with its bearers, its WAN connection, vault and control
 * API. */

#include <stdio.h>
#include <uv.h>

#include "gateway/config.h"

struct gateway_daemon;

struct gateway_daemon_events {
	/* The vault is open, PNEs may connect. */
	void (*ready)(void *arg, struct gateway_daemon *d);
	/* It begins to stop: who else is on its loop should too. */
	void (*stopping)(void *arg);
};

/*
 * On 0 the control API answers and the vault is being opened on another thread; then come the
 * listeners and the WAN. file is read again on SIGHUP. On a negative errno why says what is wrong;
 * *out, where it is not NULL, is then to be stopped by the caller.
 */
int gateway_daemon_new(uv_loop_t *loop, const char *file, const struct config *config,
		       const struct gateway_daemon_events *events, void *arg,
		       struct gateway_daemon **out, char *why, size_t why_size);

/* Begins to stop; the loop ends when all is closed. SIGTERM and SIGINT do the same. */
void gateway_daemon_stop(struct gateway_daemon *d);

/* Why it stopped by itself, one sentence; NULL where it was told to, or has not stopped. */
const char *gateway_daemon_failure(const struct gateway_daemon *d);

/* After the loop has ended. NULL is allowed. */
void gateway_daemon_free(struct gateway_daemon *d);

/*
 * Checks what only looking at other files shows, and changes nothing: TLS files, keys of the vault,
 * its folder, its anchor. 0, or a negative errno and why holds "FILE:LINE: SETTING: ...". What
 * cannot be known by this process (a credential that the service alone has, a key that belongs to
 * another user) is a line of notes.
 */
int gateway_daemon_check(const char *file, const struct config *config, FILE *notes, char *why,
			 size_t why_size);

#endif
