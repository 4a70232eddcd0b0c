#ifndef PNGW_CONSOLE_PROCEDURE_H
#define PNGW_CONSOLE_PROCEDURE_H

/*
 * What takes time: a method that returns a Procedure1, and what becomes of it. Its steps and
 * verdicts are shown as they come; Ctrl-C cancels it, a second one stops waiting.
 */

#include "console/console.h"

struct procedure {
	sd_bus_message *call; /* without its options; taken over */
	void (*options)(sd_bus_message *call, const struct call *words); /* appends {sv}; NULL */
	const struct call *words;
	bool asks;                            /* it may need the agent */
	const char *password_file, *pin_file; /* NULL: the person is asked */
	bool yes, interactive;                /* see struct agent_answers */
	const struct column *notes; /* of notes that are records; NULL: their text alone */
	const char *no_notes;       /* for a person, when it is done and there was none; NULL */
};

/* Starts it and, unless --no-wait was given, sees it to its end. An exit code. */
int procedure_run(struct console *console, struct procedure *p);

#endif
