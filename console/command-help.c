/* help, from the table of commands. */

#include <stdlib.h>
#include <string.h>

#include "console/command-internal.h"

#define MEANING_COLUMN 31
#define WIDTH          80 /* where there is no terminal to ask */

/* What stands left of a meaning, and the meaning. */
static void put_pair(const struct writer *w, const char *left, const char *meaning)
{
	int n = (int)writer_width(left);

	(void)fputs(left, w->out);
	if (n >= MEANING_COLUMN)
		(void)fprintf(w->out, "\n%*s", MEANING_COLUMN, "");
	else
		(void)fprintf(w->out, "%*s", MEANING_COLUMN - n, "");
	writer_wrap(w->out, meaning, w->width, MEANING_COLUMN, MEANING_COLUMN);
	(void)fputc('\n', w->out);
}

static void put_options(const struct writer *w, const char *list)
{
	struct token token;

	while (token_next(&list, &token)) {
		char name[64], left[128];

		(void)snprintf(name, sizeof(name), "%.*s", (int)token.name_size, token.name);
		(void)snprintf(left, sizeof(left), "  %s%s%s", name, token.kind ? " " : "",
			       token.kind ? token.kind->name : "");
		put_pair(w, left, command_option_meaning(name));
	}
}

static void put_kinds(const struct writer *w, const char *list)
{
	struct token token;

	while (token_next(&list, &token)) {
		char line[256];

		if (token.name || !token.kind)
			continue;
		(void)snprintf(line, sizeof(line), "%s: %s", token.kind->name, token.kind->what);
		(void)fputs("  ", w->out);
		writer_wrap(w->out, line, w->width, 2, 4);
		(void)fputc('\n', w->out);
	}
}

static void put_examples(const struct writer *w, const struct command *command)
{
	const char *at = command->examples;

	while (*at) {
		const char *end = strchrnul(at, '\n'), *bar = memchr(at, '|', (size_t)(end - at));

		(void)fprintf(w->out, "  pngwctl %.*s\n      %.*s\n", (int)(bar - at), at,
			      (int)(end - bar - 1), bar + 1);
		at = *end ? end + 1 : end;
	}
}

static void put_aliases(const struct writer *w, const struct command *command)
{
	const struct command *other;
	bool first = true;

	for (size_t i = 0; (other = command_at(i)) != NULL; i++) {
		if (!other->alias || strcmp(other->alias, command->name) != 0)
			continue;
		(void)fprintf(w->out, "%s%s", first ? "also: " : ", ", other->name);
		first = false;
	}
	if (!first)
		(void)fputc('\n', w->out);
}

static void put_command(const struct writer *w, const struct command *command)
{
	const char *at = command->options;
	struct token token;

	(void)fprintf(w->out, "%s", command->name);
	while (token_next(&at, &token))
		(void)fprintf(w->out, " [%.*s%s%s]", (int)token.name_size, token.name,
			      token.kind ? " " : "", token.kind ? token.kind->name : "");
	(void)fprintf(w->out, "%s%s\n  ", command->arguments[0] ? " " : "", command->arguments);
	writer_wrap(w->out, command->meaning, w->width, 2, 2);
	(void)fputc('\n', w->out);
	put_kinds(w, command->arguments);
	put_options(w, command->options);
	put_aliases(w, command);
	(void)fputs("examples:\n", w->out);
	put_examples(w, command);
}

static void put_row(const struct writer *w, const struct command *command)
{
	char left[128];

	(void)snprintf(left, sizeof(left), "  %s %s", command->name, command->arguments);
	put_pair(w, left, command->meaning);
}

static void put_all(const struct writer *w, bool shell)
{
	const struct command *command;

	if (!shell)
		(void)fputs("usage: pngwctl [OPTIONS] [COMMAND [ARGUMENTS]]\n"
			    "Without a command, on a terminal: a shell.\n",
			    w->out);
	for (size_t i = 0; (command = command_at(i)) != NULL; i++) {
		if (command->title)
			(void)fprintf(w->out, "%s:\n", command->title);
		else if (!command->alias)
			put_row(w, command);
	}
	(void)fputs("Options of every command:\n", w->out);
	put_options(w, command_common_options);
	if (!shell) {
		(void)fputs("Options of pngwctl:\n", w->out);
		put_options(w, command_program_options);
	}
	(void)fputs("\"help COMMAND\" has examples.\n"
		    "Exit code: 0 done, 1 refused, 2 try again later, 64 usage.\n",
		    w->out);
}

static json_object *command_json(const struct command *command)
{
	json_object *o = json_object_new_object();

	(void)json_object_object_add(o, "command", json_object_new_string(command->name));
	(void)json_object_object_add(o, "arguments", json_object_new_string(command->arguments));
	(void)json_object_object_add(o, "options", json_object_new_string(command->options));
	(void)json_object_object_add(o, "meaning", json_object_new_string(command->meaning));
	return o;
}

/* count 0: all of them. */
static int show(struct console *console, const struct command *const *only, size_t count)
{
	const struct command *command;
	json_object *rows;

	if (console->writer.form == WRITER_TEXT) {
		struct writer w = console->writer;

		if (w.width == 0)
			w.width = WIDTH;
		if (count == 0)
			put_all(&w, console->shell);
		for (size_t i = 0; i < count; i++) {
			if (i > 0)
				(void)fputc('\n', w.out);
			put_command(&w, only[i]);
		}
		(void)fflush(w.out);
		return EXIT_DONE;
	}
	rows = json_object_new_array();
	for (size_t i = 0; i < count; i++)
		(void)json_object_array_add(rows, command_json(only[i]));
	for (size_t i = 0; count == 0 && (command = command_at(i)) != NULL; i++) {
		if (!command->title && !command->alias)
			(void)json_object_array_add(rows, command_json(command));
	}
	writer_table(&console->writer, NULL, rows, "");
	(void)json_object_put(rows);
	return EXIT_DONE;
}

int command_help_of(struct console *console, const struct command *only)
{
	return show(console, &only, only ? 1 : 0);
}

int command_help(struct console *console, struct call *call)
{
	const struct command *commands[CALL_WORDS_MAX];
	size_t count = 0, used;

	for (size_t i = 0; i < call->count; i += used) {
		const struct command *command =
			command_find(call->word + i, call->count - i, &used);

		if (!command)
			return console_failed(console, EXIT_WRONG_USAGE,
					      "help: there is no command \"%s\"", call->word[i]);
		commands[count++] = command_real(command);
	}
	return show(console, commands, count);
}
