#ifndef PNGW_CONSOLE_SIGNALS_H
#define PNGW_CONSOLE_SIGNALS_H

/*
 * SIGINT, SIGTERM, SIGHUP and SIGWINCH are delivered only while the program waits in
 * signals_wait(), so that nothing is lost between a look and a wait.
 */

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

void signals_setup(void);
/* Ctrl-C was pressed; it is forgotten with the call. */
bool signals_interrupted(void);
/* Somebody wants the program to end; it stays so. */
bool signals_ending(void);
/* The terminal has another size; forgotten with the call. */
bool signals_resized(void);
/* One of the above is to be looked at. */
bool signals_waiting(void);
/* poll(2) with them let in. timeout in milliseconds, -1: none. As ppoll(2). */
int signals_wait(struct pollfd *fds, nfds_t count, int timeout);

#endif
