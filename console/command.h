#ifndef PNGW_CONSOLE_COMMAND_H
#define PNGW_CONSOLE_COMMAND_H

/*
 * The table of commands and what takes a line apart by it. The same for a shell's line and a
 * command line; nothing here talks to anybody.
 */

#include <stdbool.h>
#include <stddef.h>

#include "console/kind.h"

/* Exit codes, of a command and of the program. They never change. */
enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_RETRY = 2, EXIT_WRONG_USAGE = 64 };

#define CALL_WORDS_MAX   256
#define CALL_OPTIONS_MAX 16

struct call;
struct console;

/* A row without a name is the title of those that follow. */
struct command {
	const char *name;
	int (*carry_out)(struct console *console, struct call *call);
	const char *arguments, *options, *meaning, *examples;
	const char *title;
	const char *alias; /* NULL, or the command that it is another name of */
};

/* A line that was taken apart; its words are borrowed. */
struct call {
	const struct command *command; /* never an alias; NULL: there were only options */
	const char *word[CALL_WORDS_MAX];
	size_t count;
	struct {
		const char *name, *value; /* "" of an option that takes none */
	} option[CALL_OPTIONS_MAX];
	size_t options;
};

/* Options of every command, and those of the program alone, as in commands.def. */
extern const char command_common_options[], command_program_options[];
/* What such an option means. */
const char *command_option_meaning(const char *name);

/*
 * Takes words apart. program: the options of the program are allowed too. 0, or EXIT_WRONG_USAGE
 * and why: what is wrong with which word, in one sentence.
 */
int command_parse(struct call *call, const char *const *words, size_t count, bool program,
		  char *why, size_t why_size);

/* NULL: not given. */
const char *call_option(const struct call *call, const char *name);
/* The number given, or otherwise. */
unsigned long call_number(const struct call *call, const char *name, unsigned long otherwise);

/* The command that the words begin with and how many of them are its name; NULL: none. */
const struct command *command_find(const char *const *words, size_t count, size_t *used);
/* What an alias stands for; a command itself. */
const struct command *command_real(const struct command *command);
/* The rows of the table, in its order: titles, commands, aliases; NULL after the last. */
const struct command *command_at(size_t index);

/* One token of arguments or options: "ENTITY...", "[COUNT]", "--figure=FIGURE". */
struct token {
	const char *name; /* of an option, with its dashes; NULL */
	size_t name_size;
	const struct kind *kind; /* NULL: an option without value */
	bool optional, repeated;
};
/* false: there is no more at *at, which moves on. */
bool token_next(const char **at, struct token *token);

#endif
