#ifndef PNGW_CONSOLE_SERIAL_H
#define PNGW_CONSOLE_SERIAL_H

/*
 * A console on a serial line (--console): who comes has to log in with the PIN of a role, and is
 * logged out when nothing is typed for a while, when the line hangs up, and when what comes makes
 * no sense. Each session is a process: systemd starts the next one (pngw-console@.service).
 *
 * The line may be slow, noisy and unplugged: a break and bytes with a wrong frame are not seen,
 * control characters that no person types are left out, nothing is written before somebody presses
 * Enter but one line, and what is no PIN is not tried as one, so that noise closes nobody's login.
 */

#include <stdbool.h>
#include <wchar.h>

#include "console/console.h"

/* Until the session is over; an exit code. */
int serial_run(struct console *console);
/* A person types such a character into a line. */
bool serial_takes(wchar_t c);

#endif
