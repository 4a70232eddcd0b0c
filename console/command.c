#include "console/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console/console.h"

const char command_common_options[] =
	"--json --kv --no-wait --wait --password-file=FILE --no-pager --help";
const char command_program_options[] =
	"--bus=BUS --console --idle=SECONDS --login --pin-file=FILE --version";

static const struct {
	const char *name, *meaning;
} option_meanings[] = {
	{"--json", "JSON instead of text"},
	{"--kv", "lines of key=value instead of text"},
	{"--no-wait", "starts it and does not wait for its end"},
	{"--wait", "waits for its end: the default"},
	{"--password-file", "the user's password is the first line of that file"},
	{"--no-pager", "in the shell: does not stop when the screen is full"},
	{"--help", "what the command takes, with examples"},
	{"--bus", "system, session or the address of a bus; else $PNGW_BUS, else system"},
	{"--console", "a console on a serial line: asks for a role's PIN, ends when nothing is "
		      "typed for a while"},
	{"--idle", "how long that is; else 300 s"},
	{"--login", "asks for a role's PIN first"},
	{"--pin-file", "the PIN is the first line of that file"},
	{"--version", "the program's version"},
	{"--follow", "goes on with what comes; with --json a line each"},
	{"--challenge", "what the fingerprint is computed over; else random bytes"},
	{"--all", "without exception"},
	{"--near", "only devices at least that strong"},
	{"--name", "only devices with that in their name"},
	{"--yes", "confirms what is only to be confirmed, without asking"},
	{"--figure", "this figure and no other"},
	{"--count", "how many EUKeys the set of Figure 7 has"},
	{"--chain", "the set is a hash chain"},
	{"--random", "the set is of independent keys"},
	{"--explain", "says which figure it would be, and why, and starts nothing"},
	{"--user", "the devices of that user"},
	{"--parallel", "how many headsets at a time; else 4, over Bluetooth at most 7"},
	{"--sheet", "where journal and sheet are; else the current folder"},
	{"--resume", "only goes on with a tray that was begun"},
	{"--verify", "checks a signed sheet, without a PN GW"},
	{"--signer", "the public key of the PN GW, as it is known"},
	{"--ascii", "drawn with ASCII characters alone"},
	{"--invert", "for paper or a light screen"},
	{"--remove", "the role has no PIN any more"},
};

#define GROUP(t) {.title = t},
#define COMMAND(n, function, a, o, m, e)  \
	{.name = n,                       \
	 .carry_out = command_##function, \
	 .arguments = a,                  \
	 .options = o,                    \
	 .meaning = m,                    \
	 .examples = e},
#define ALIAS(n, of) {.name = n, .alias = of},
static const struct command commands[] = {
#include "console/commands.def"
};
#undef GROUP
#undef COMMAND
#undef ALIAS

const struct command *command_at(size_t index)
{
	return index < sizeof(commands) / sizeof(commands[0]) ? &commands[index] : NULL;
}

static const struct command *by_name(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (commands[i].name && strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

const struct command *command_real(const struct command *command)
{
	return command->alias ? by_name(command->alias) : command;
}

const struct command *command_find(const char *const *words, size_t count, size_t *used)
{
	const struct command *found = NULL;
	char two[64];

	if (count > 1 && snprintf(two, sizeof(two), "%s %s", words[0], words[1]) < (int)sizeof(two))
		found = by_name(two);
	*used = found ? 2 : 1;
	if (!found && count > 0)
		found = by_name(words[0]);
	return found;
}

bool token_next(const char **at, struct token *token)
{
	const char *word, *end;
	size_t size;

	while (**at == ' ')
		(*at)++;
	if (!**at)
		return false;
	word = *at;
	end = strchrnul(word, ' ');
	*at = end;
	memset(token, 0, sizeof(*token));
	if (word[0] == '-') {
		const char *equals = memchr(word, '=', (size_t)(end - word));

		token->name = word;
		token->name_size = (size_t)((equals ? equals : end) - word);
		token->optional = true;
		if (!equals)
			return true;
		word = equals + 1;
	} else if (word[0] == '[') {
		token->optional = true;
		word++;
		end--;
	}
	size = (size_t)(end - word);
	if (size > 3 && memcmp(end - 3, "...", 3) == 0) {
		token->repeated = true;
		size -= 3;
	}
	token->kind = kind_of(word, size);
	return true;
}

const char *command_option_meaning(const char *name)
{
	for (size_t i = 0; i < sizeof(option_meanings) / sizeof(option_meanings[0]); i++) {
		if (strcmp(option_meanings[i].name, name) == 0)
			return option_meanings[i].meaning;
	}
	return "";
}

const char *call_option(const struct call *call, const char *name)
{
	for (size_t i = call->options; i > 0; i--) {
		if (strcmp(call->option[i - 1].name, name) == 0)
			return call->option[i - 1].value;
	}
	return NULL;
}

unsigned long call_number(const struct call *call, const char *name, unsigned long otherwise)
{
	const char *text = call_option(call, name);

	return text ? strtoul(text, NULL, 10) : otherwise;
}

/* Fills *token with the option that the first size bytes of word name. */
static bool option_in(const char *list, const char *word, size_t size, struct token *token)
{
	while (token_next(&list, token)) {
		if (token->name && token->name_size == size && memcmp(token->name, word, size) == 0)
			return true;
	}
	return false;
}

struct parse {
	struct call *call;
	const char *const *words;
	size_t count, at;
	bool program;
	char *why;
	size_t why_size;
};

static int wrong(struct parse *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int wrong(struct parse *p, const char *format, ...)
{
	size_t used = 0;
	va_list arguments;

	if (p->call->command)
		used = (size_t)snprintf(p->why, p->why_size, "%s: ", p->call->command->name);
	va_start(arguments, format);
	(void)vsnprintf(p->why + used, p->why_size - used, format, arguments);
	va_end(arguments);
	return EXIT_WRONG_USAGE;
}

/* The names an option is kept by: those of the table, terminated. */
static const char *kept_name(const char *word, size_t size)
{
	for (size_t i = 0; i < sizeof(option_meanings) / sizeof(option_meanings[0]); i++) {
		if (strlen(option_meanings[i].name) == size &&
		    memcmp(option_meanings[i].name, word, size) == 0)
			return option_meanings[i].name;
	}
	return NULL;
}

static bool any_option_in(const char *word, size_t size, struct token *token)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (commands[i].options && option_in(commands[i].options, word, size, token))
			return true;
	}
	return false;
}

/* The option that the first size bytes of word name, of command; before there is one, of any. */
static bool find_option(const struct parse *p, const char *word, size_t size, struct token *token)
{
	const struct command *command = p->call->command;

	return option_in(command_common_options, word, size, token) ||
	       (p->program && option_in(command_program_options, word, size, token)) ||
	       (command ? option_in(command->options, word, size, token)
			: any_option_in(word, size, token));
}

/* The word at p->at begins with two dashes. */
static int take_option(struct parse *p)
{
	const char *word = p->words[p->at], *equals = strchr(word, '='), *value = "", *name;
	size_t size = equals ? (size_t)(equals - word) : strlen(word);
	struct token token;

	if (!find_option(p, word, size, &token))
		return wrong(p, "there is no option %.*s", (int)size, word);
	name = kept_name(word, size);
	if (!name || p->call->options == CALL_OPTIONS_MAX)
		return wrong(p, "too many options, at %s", word);
	if (token.kind) {
		if (!equals && p->at + 1 == p->count)
			return wrong(p, "%s needs a value: %s", name, token.kind->what);
		value = equals ? equals + 1 : p->words[++p->at];
		if (!token.kind->valid(value))
			return wrong(p, "%s: \"%s\" is not %s", name, value, token.kind->what);
	} else if (equals) {
		return wrong(p, "%s takes no value", name);
	}
	p->call->option[p->call->options].name = name;
	p->call->option[p->call->options].value = value;
	p->call->options++;
	return 0;
}

/* What may be a PIN at the wrong place is not repeated. */
static int wrong_argument(struct parse *p, size_t i, const struct kind *kind)
{
	if (strcmp(kind->name, "REPLY") == 0)
		return wrong(p, "argument %zu (%s) is not %s", i + 1, kind->name, kind->what);
	return wrong(p, "argument %zu (%s) \"%s\" is not %s", i + 1, kind->name, p->call->word[i],
		     kind->what);
}

/* Each word against its kind. */
static int check_arguments(struct parse *p)
{
	const char *at = p->call->command->arguments;
	struct token token = {.kind = NULL};
	size_t i = 0;

	while (token_next(&at, &token) && token.kind) {
		const char *kind = token.kind->name;

		if (i == p->call->count) {
			if (token.optional)
				return 0;
			return wrong(p, "argument %zu is missing: %s, %s", i + 1, kind,
				     token.kind->what);
		}
		do {
			if (!token.kind->valid(p->call->word[i]))
				return wrong_argument(p, i, token.kind);
			i++;
		} while (token.repeated && i < p->call->count);
	}
	if (i < p->call->count)
		return wrong(p, "argument %zu \"%s\" is one too many; it takes: %s", i + 1,
			     p->call->word[i],
			     p->call->command->arguments[0] ? p->call->command->arguments
							    : "nothing");
	return 0;
}

/* How alike two words are: letters to be changed, at most 3. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[64];
	size_t n = strlen(b);

	if (n >= 63 || strlen(a) >= 63)
		return 99;
	for (size_t j = 0; j <= n; j++)
		row[j] = (unsigned)j;
	for (size_t i = 0; a[i]; i++) {
		unsigned before = row[0];

		row[0] = (unsigned)i + 1;
		for (size_t j = 1; j <= n; j++) {
			unsigned change = before + (a[i] != b[j - 1]);

			before = row[j];
			row[j] = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
			if (change < row[j])
				row[j] = change;
		}
	}
	return row[n];
}

static int unknown(struct parse *p, const char *word)
{
	const char *best = NULL;
	unsigned nearest = 3;

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		unsigned d = commands[i].name ? distance(word, commands[i].name) : 99;

		if (d < nearest && d < strlen(word)) {
			nearest = d;
			best = commands[i].name;
		}
	}
	if (best)
		return wrong(p, "there is no command \"%s\"; did you mean \"%s\"?", word, best);
	return wrong(p, "there is no command \"%s\"; \"help\" lists all", word);
}

int command_parse(struct call *call, const char *const *words, size_t count, bool program,
		  char *why, size_t why_size)
{
	struct parse p = {call, words, count, 0, program, why, why_size};
	bool only_words = false;
	size_t used;
	int r;

	memset(call, 0, sizeof(*call));
	for (; p.at < count; p.at++) {
		const char *word = words[p.at];

		if (!only_words && strcmp(word, "--") == 0) {
			only_words = true;
		} else if (!only_words && strncmp(word, "--", 2) == 0) {
			r = take_option(&p);
			if (r != 0)
				return r;
		} else if (!call->command) {
			const struct command *found =
				command_find(words + p.at, count - p.at, &used);

			if (!found)
				return unknown(&p, word);
			call->command = command_real(found);
			p.at += used - 1;
		} else if (call->count == CALL_WORDS_MAX) {
			return wrong(&p, "more than %d arguments", CALL_WORDS_MAX);
		} else {
			call->word[call->count++] = word;
		}
	}
	/* Those that came before the command too. */
	for (size_t i = 0; i < call->options; i++) {
		struct token token;

		if (!find_option(&p, call->option[i].name, strlen(call->option[i].name), &token))
			return wrong(&p, "there is no option %s", call->option[i].name);
	}
	if (!call->command || call_option(call, "--help"))
		return 0;
	return check_arguments(&p);
}
