#include "console/man.h"

#include <string.h>

#include "console/command.h"

/* size bytes of text that are no macro and no escape. */
static void put_text(FILE *out, const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (text[i] == '\\')
			(void)fputs("\\e", out);
		else if (text[i] == '-')
			(void)fputs("\\-", out);
		else if (i == 0 && (text[i] == '.' || text[i] == '\''))
			(void)fprintf(out, "\\&%c", text[i]);
		else
			(void)fputc(text[i], out);
	}
}

/* In quotes, as one argument of a macro. */
static void put_argument(FILE *out, const char *text, size_t size)
{
	(void)fputs(" \"", out);
	for (size_t i = 0; i < size; i++) {
		if (text[i] == '"')
			(void)fputs("\\(dq", out);
		else
			put_text(out, text + i, 1);
	}
	(void)fputc('"', out);
}

static void put_token(FILE *out, const struct token *token)
{
	if (token->name) {
		/* mdoc puts the first dash of a flag itself. */
		(void)fprintf(out, ".Op Fl %.*s", (int)token->name_size - 1, token->name + 1);
		if (token->kind)
			(void)fprintf(out, " Ar %s", token->kind->name);
	} else {
		(void)fprintf(out, token->optional ? ".Op Ar %s" : ".Ar %s", token->kind->name);
		if (token->repeated)
			(void)fputs(" ...", out);
	}
	(void)fputc('\n', out);
}

static void put_tokens(FILE *out, const char *list)
{
	struct token token;

	while (token_next(&list, &token))
		put_token(out, &token);
}

/* A list's items: each option with its meaning. */
static void put_options(FILE *out, const char *list)
{
	struct token token;

	while (token_next(&list, &token)) {
		char name[64];
		const char *meaning;

		(void)snprintf(name, sizeof(name), "%.*s", (int)token.name_size, token.name);
		meaning = command_option_meaning(name);
		(void)fprintf(out, ".It Fl %s", name + 1);
		if (token.kind)
			(void)fprintf(out, " Ar %s", token.kind->name);
		(void)fputc('\n', out);
		put_text(out, meaning, strlen(meaning));
		(void)fputs(".\n", out);
	}
}

static void put_aliases(FILE *out, const struct command *command)
{
	const struct command *other;
	const char *before = ".Pp\nAlso:\n";

	for (size_t i = 0; (other = command_at(i)) != NULL; i++) {
		if (!other->alias || strcmp(other->alias, command->name) != 0)
			continue;
		(void)fprintf(out, "%s.Cm %s\n", before, other->name);
		before = "";
	}
}

static void put_command(FILE *out, const struct command *command)
{
	(void)fprintf(out, ".It Xo\n.Cm %s\n", command->name);
	put_tokens(out, command->options);
	put_tokens(out, command->arguments);
	(void)fputs(".Xc\n", out);
	put_text(out, command->meaning, strlen(command->meaning));
	(void)fputs(".\n", out);
	if (command->options[0]) {
		(void)fputs(".Bl -tag -width Ds -compact\n", out);
		put_options(out, command->options);
		(void)fputs(".El\n", out);
	}
	put_aliases(out, command);
}

static void put_commands(FILE *out)
{
	const struct command *command;
	bool open = false;

	for (size_t i = 0; (command = command_at(i)) != NULL; i++) {
		if (command->title) {
			(void)fprintf(out, "%s.Ss %s\n.Bl -tag -width Ds\n", open ? ".El\n" : "",
				      command->title);
			open = true;
		} else if (!command->alias) {
			put_command(out, command);
		}
	}
	if (open)
		(void)fputs(".El\n", out);
}

/* Each word after a command that is named there, once. */
static void put_kinds(FILE *out)
{
	const struct kind *kind;

	for (size_t i = 0; (kind = kind_at(i)) != NULL; i++) {
		(void)fprintf(out, ".It Ar %s\n", kind->name);
		put_text(out, kind->what, strlen(kind->what));
		(void)fputs(".\n", out);
	}
}

static void put_examples(FILE *out)
{
	const struct command *command;

	for (size_t i = 0; (command = command_at(i)) != NULL; i++) {
		const char *at = command->examples ? command->examples : "";

		while (*at) {
			const char *end = strchrnul(at, '\n'),
				   *bar = memchr(at, '|', (size_t)(end - at));

			(void)fputs(".It Li", out);
			put_argument(out, at, (size_t)(bar - at));
			(void)fputc('\n', out);
			put_text(out, bar + 1, (size_t)(end - bar - 1));
			(void)fputs(".\n", out);
			at = *end ? end + 1 : end;
		}
	}
}

static const char head[] =
	".\\\" Made by \"pngwctl --man\" from console/commands.def.\n"
	".Dd November 25, 2026\n"
	".Dt PNGWCTL 1\n"
	".Os\n"
	".Sh NAME\n"
	".Nm pngwctl\n"
	".Nd the technician's console of a PN GW\n"
	".Sh SYNOPSIS\n"
	".Nm\n"
	".Op Ar options\n"
	".Op Ar command Op Ar arguments\n"
	".Sh DESCRIPTION\n"
	".Nm\n"
	"does with a running\n"
	".Xr pngwd 8\n"
	"whatever its control API on D\\-Bus can do.\n"
	"Without a command and on a terminal it is a shell for the same commands, with "
	"completion,\n"
	"a history and news of what happens at the PN GW.\n"
	"An answer that is longer than the screen stops there at\n"
	".Dq \\-\\- more \\-\\- :\n"
	"space shows a page, Enter a line, q or Ctrl\\-C ends it.\n"
	".Pp\n"
	"What takes time is followed step by step, with the numbers of the specification's "
	"figures, and ends\n"
	"with a verdict: one sentence that says where it went wrong, why, what to do next and "
	"whether to try\n"
	"again.\n"
	"Ctrl\\-C cancels it at the PN GW; a second one stops waiting for that.\n"
	".Pp\n"
	"Passwords, passphrases and PINs are never arguments.\n"
	"On a terminal they are asked for without echo; else they are the first line of standard "
	"input, or of\n"
	"a file that nobody but its owner may read.\n"
	"They go to\n"
	".Xr pngwd 8\n"
	"through a pipe, not over the bus.\n"
	".Pp\n"
	"Options may stand anywhere;\n"
	".Fl \\-\n"
	"ends them.\n"
	"These are for every command:\n"
	".Bl -tag -width Ds\n";

static const char form[] = ".El\n"
			   ".Pp\n"
			   "These are for the program:\n"
			   ".Bl -tag -width Ds\n";

static const char commands_head[] = ".El\n.Sh COMMANDS\n";

static const char kinds_head[] = ".Ss Words\n.Bl -tag -width Ds\n";

static const char tail[] =
	".El\n"
	".Sh OUTPUT\n"
	"Text is for people and may change.\n"
	"With\n"
	".Fl \\-json\n"
	"there is one document, with\n"
	".Fl \\-follow\n"
	"one a line for each event; with\n"
	".Fl \\-kv\n"
	"a line of key=value for each record, quoted for a shell.\n"
	"The keys of both are those of the control API in lower case,\n"
	".Ql KeyIndex\n"
	"being\n"
	".Ql key_index .\n"
	"They are only added to.\n"
	".Sh ENVIRONMENT\n"
	".Bl -tag -width Ds\n"
	".It Ev PNGW_BUS\n"
	"The bus, where\n"
	".Fl \\-bus\n"
	"does not say.\n"
	".It Ev PNGW_HISTORY\n"
	"The shell's history; empty: none.\n"
	"A line is kept when it is a valid command; no secret is ever part of one.\n"
	".It Ev NO_COLOR , TERM\n"
	"No colours are used when the one is set or the other names a terminal without them.\n"
	".El\n"
	".Sh FILES\n"
	".Bl -tag -width Ds\n"
	".It Pa ~/.pngwctl_history\n"
	"The history, unless the environment says otherwise;\n"
	".Pa $XDG_STATE_HOME/pngwctl.history\n"
	"where that is set.\n"
	".El\n"
	".Sh EXIT STATUS\n"
	".Bl -tag -width Ds\n"
	".It 0\n"
	"Done.\n"
	".It 1\n"
	"Refused: the same will be refused again.\n"
	".It 2\n"
	"Not now: the same may succeed later.\n"
	".It 64\n"
	"The command line was wrong.\n"
	".El\n"
	".Sh EXAMPLES\n"
	".Bl -tag -width Ds\n";

static const char end[] =
	".El\n.Sh SEE ALSO\n.Xr pngw\\-ledger 1 ,\n.Xr pngw\\-replay 1 ,\n.Xr pngwd 8\n";

void man_write(FILE *out)
{
	(void)fputs(head, out);
	put_options(out, command_common_options);
	(void)fputs(form, out);
	put_options(out, command_program_options);
	(void)fputs(commands_head, out);
	put_commands(out);
	(void)fputs(kinds_head, out);
	put_kinds(out);
	(void)fputs(tail, out);
	put_examples(out);
	(void)fputs(end, out);
}
