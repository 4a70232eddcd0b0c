#ifndef PNGW_SERVER_DAEMON_H
#define PNGW_SERVER_DAEMON_H

/* The core under libuv: listener, password hashes on worker threads, signals. */

#include "server/config.h"

struct tls_options;

/*
 * Runs until SIGTERM or SIGINT. 0 after a clean stop; a negative errno when it could not start, and
 * one sentence in why. SIGHUP makes TLS credentials anew from their files, and ends the
 * connections that the older ones let in.
 */
int server_daemon_run(const struct server_config *config, char *why, size_t why_size);

/* What its TLS context is made of, borrowed from config, and the settings (wan/tls-config.h). */
void server_daemon_tls_options(const struct server_config *config, struct tls_options *out);
extern const char *const server_daemon_tls_names[];

/* One line of the journal, in one write(2). */
void server_daemon_line(const char *text);

#endif
