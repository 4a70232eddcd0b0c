#ifndef PNGW_CONSOLE_SHELL_H
#define PNGW_CONSOLE_SHELL_H

/*
 * The shell: lines from a terminal, with completion, history and news from pngwd in between.
 *
 * The line editor is libedit: its licence (three-clause BSD) lets a maker ship pngwctl in a device
 * on any terms, which readline's (GPL 3) does not, and it reads through a function of ours, so that
 * the bus is served while a person types. Lines of any terminal are edited, a dumb one's without
 * escape sequences.
 *
 * The history is kept in $PNGW_HISTORY, else in $XDG_STATE_HOME/pngwctl.history, else in
 * ~/.pngwctl_history. A line is remembered only when it is a valid command, and secrets are never
 * part of one: what somebody types at the wrong prompt is not kept.
 */

#include "console/console.h"

/* Until the person leaves; an exit code. */
int shell_run(struct console *console);

#endif
