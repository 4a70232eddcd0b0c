#ifndef PNGW_SERVER_DAEMON_H
#define PNGW_SERVER_DAEMON_H

/* The core under libuv: listener, password hashes on worker threads, signals. */

#include "server/config.h"

struct tls_context;

/*
 * Runs until SIGTERM or SIGINT. 0 after a clean stop; a negative errno when it could not start, and
 * one sentence in why. SIGHUP makes TLS credentials anew from their files, and ends the
 * connections that the older ones let in.
 */
int server_daemon_run(const struct server_config *config, char *why, size_t why_size);

/*
 * The TLS context that the settings make. 0, or a negative errno and one clause in why; *setting is
 * what it is about. wan/tls.h says whose *out is.
 */
int server_daemon_tls(const struct server_config *config, struct tls_context **out,
		      const char **setting, char *why, size_t why_size);

/* One line of the journal, in one write(2). */
void server_daemon_line(const char *text);

#endif
