#ifndef PNGW_CONSOLE_COMPLETE_H
#define PNGW_CONSOLE_COMPLETE_H

/*
 * What a word may go on as, by the table of commands and by what pngwd knows: one source for the
 * shell and for bash.
 */

#include "console/console.h"

/*
 * Calls add for each word that begins with prefix and may follow words. Nothing is said when pngwd
 * cannot be asked. True when files may follow too.
 */
bool complete(struct console *console, const char *const *words, size_t count, const char *prefix,
	      void (*add)(void *arg, const char *word), void *arg);

/* For bash: the last of words is the one to be completed; candidates go to stdout, a line each. */
int complete_command_line(struct console *console, const char *const *words, size_t count);

#endif
