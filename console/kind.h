#ifndef PNGW_CONSOLE_KIND_H
#define PNGW_CONSOLE_KIND_H

/* The kinds of words a command takes: how each is checked and where its completions come from. */

#include <stdbool.h>
#include <stddef.h>

enum completion {
	COMPLETE_NOTHING,
	COMPLETE_ENTITIES,
	COMPLETE_USERS,
	COMPLETE_DEVICES,
	COMPLETE_FILES,
	COMPLETE_COMMANDS,
	COMPLETE_WORDS /* those of the kind */
};

struct kind {
	const char *name; /* as it stands in console/commands.def */
	bool (*valid)(const char *text);
	const char *what; /* "an Entity ID: ...", for a refusal and for help */
	enum completion completion;
	const char *words; /* of COMPLETE_WORDS, separated by spaces */
};

/* The kind whose name is the first size bytes of name; NULL: there is none. */
const struct kind *kind_of(const char *name, size_t size);
/* Every kind; NULL after the last. */
const struct kind *kind_at(size_t index);
/* A decimal number from min to max. */
bool kind_number(const char *text, unsigned long min, unsigned long max, unsigned long *out);

#endif
