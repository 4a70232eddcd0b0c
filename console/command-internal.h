#ifndef PNGW_CONSOLE_COMMAND_INTERNAL_H
#define PNGW_CONSOLE_COMMAND_INTERNAL_H

/* What the files with commands share. Each returns an exit code after it said what there is to say.
 */

#include "console/console.h"

/* Connects, calls a method without input, shows the list or the record that it returns. */
int command_list(struct console *console, enum client_object object, const char *method,
		 const struct column *columns, const char *nothing);
int command_record(struct console *console, enum client_object object, const char *method,
		   const struct column *columns);
/* Sends call, which it drops; *out (may be NULL) is what it returns, decoded. */
int command_call(struct console *console, sd_bus_message *call, json_object **out);
/* The words from first on, as an array of text. A negative errno. */
int command_append_words(sd_bus_message *m, const struct call *call, size_t first);
/* A question whose answer is no unless it begins with y. */
int command_ask_yes(struct console *console, const char *prompt, bool *yes);
/* Something without a result was done. */
int command_done(struct console *console, const char *text);
/*
 * Until Ctrl-C. again NULL: shows what changes and every verdict; else it is called every so many
 * milliseconds, and anything but 0 ends it.
 */
int command_follow(struct console *console, int every_ms, int (*again)(void *arg), void *arg);

#endif
