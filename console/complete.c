#include "console/complete.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct completion_of {
	struct console *console;
	const char *prefix;
	void (*add)(void *arg, const char *word);
	void *arg;
	bool program; /* the program's options are allowed */
};

static void offer(const struct completion_of *c, const char *word)
{
	if (strncmp(word, c->prefix, strlen(c->prefix)) == 0)
		c->add(c->arg, word);
}

static void offer_options(const struct completion_of *c, const char *list)
{
	struct token token;

	while (token_next(&list, &token)) {
		char name[64];

		(void)snprintf(name, sizeof(name), "%.*s", (int)token.name_size, token.name);
		offer(c, name);
	}
}

/* Names of commands; after: only the second words of those that begin with it. Only the first of
 * several commands with the same first word counts. */
static void offer_commands(const struct completion_of *c, const char *after)
{
	const struct command *command, *other;

	for (size_t i = 0; (command = command_at(i)) != NULL; i++) {
		const char *space = command->name ? strchr(command->name, ' ') : NULL;
		size_t size = space ? (size_t)(space - command->name) : 0;
		char word[64];
		bool again = false;

		if (!command->name)
			continue;
		if (after) {
			if (space && strlen(after) == size &&
			    memcmp(after, command->name, size) == 0)
				offer(c, space + 1);
			continue;
		}
		(void)snprintf(word, sizeof(word), "%.*s",
			       (int)(space ? size : strlen(command->name)), command->name);
		for (size_t j = 0; j < i && !again; j++) {
			other = command_at(j);
			again = other->name && strncmp(other->name, word, strlen(word)) == 0 &&
				strchr(" ", other->name[strlen(word)]) != NULL;
		}
		if (!again)
			offer(c, word);
	}
}

static void offer_words(const struct completion_of *c, const char *words)
{
	while (*words) {
		const char *end = strchrnul(words, ' ');
		char word[64];

		(void)snprintf(word, sizeof(word), "%.*s", (int)(end - words), words);
		offer(c, word);
		words = *end ? end + 1 : end;
	}
}

/* What key has in each record that the method returns. */
static void offer_known(const struct completion_of *c, enum client_object object,
			const char *method, bool options, const char *key)
{
	struct client_failure failure;
	sd_bus_message *m, *reply;
	json_object *rows;

	if (!c->console->client)
		return;
	m = client_call_new(c->console->client, object, method);
	if (m && options)
		(void)sd_bus_message_append(m, "a{sv}", 0);
	if (client_call(c->console->client, m, &reply, &failure) != 0)
		return;
	rows = client_decode(reply);
	(void)sd_bus_message_unref(reply);
	for (size_t i = 0; rows && i < json_object_array_length(rows); i++) {
		const char *text = json_object_get_string(
			json_object_object_get(json_object_array_get_idx(rows, i), key));

		if (text && text[0])
			offer(c, text);
	}
	(void)json_object_put(rows);
}

/* True when files may stand there. */
static bool offer_kind(const struct completion_of *c, const struct kind *kind)
{
	switch (kind->completion) {
	case COMPLETE_NOTHING:
		break;
	case COMPLETE_ENTITIES:
		offer_known(c, CLIENT_GATEWAY, "ListElements", false, "entity");
		break;
	case COMPLETE_USERS:
		offer_known(c, CLIENT_GATEWAY, "ListUsers", false, "user");
		break;
	case COMPLETE_DEVICES:
		offer_known(c, CLIENT_BLUETOOTH, "ListDevices", true, "address");
		offer_known(c, CLIENT_BLUETOOTH, "ListDevices", true, "entity");
		break;
	case COMPLETE_FILES:
		return true;
	case COMPLETE_COMMANDS:
		offer_commands(c, NULL);
		break;
	case COMPLETE_WORDS:
		offer_words(c, kind->words);
		break;
	}
	return false;
}

/* The kind that the option takes; NULL: it takes none, or is none. */
static const struct kind *value_of(const struct completion_of *c, const struct command *command,
				   const char *option)
{
	const char *lists[] = {command_common_options, command ? command->options : "",
			       c->program ? command_program_options : ""};
	struct token token;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		while (token_next(&lists[i], &token)) {
			if (strlen(option) == token.name_size &&
			    memcmp(option, token.name, token.name_size) == 0)
				return token.kind;
		}
	}
	return NULL;
}

bool complete(struct console *console, const char *const *words, size_t count, const char *prefix,
	      void (*add)(void *arg, const char *word), void *arg)
{
	const struct completion_of c = {console, prefix, add, arg, !console->shell};
	const struct command *command = NULL;
	const struct kind *value = NULL;
	const char *last = NULL, *at;
	struct token token = {.kind = NULL};
	size_t arguments = 0, used;

	for (size_t i = 0; i < count; i++) {
		if (value) {
			value = NULL;
		} else if (strncmp(words[i], "--", 2) == 0) {
			value = value_of(&c, command, words[i]);
		} else if (!command) {
			command = command_find(words + i, count - i, &used);
			if (!command && i + 1 < count)
				return false;
			if (!command || (used == 1 && i + 1 == count))
				last = words[i];
			if (command) {
				command = command_real(command);
				i += used - 1;
			}
		} else {
			arguments++;
		}
	}
	if (value)
		return offer_kind(&c, value);
	if (prefix[0] == '-') {
		offer_options(&c, command_common_options);
		if (c.program)
			offer_options(&c, command_program_options);
		if (command)
			offer_options(&c, command->options);
		return false;
	}
	if (!command && !last)
		offer_commands(&c, NULL);
	if (last)
		offer_commands(&c, last);
	if (!command)
		return false;
	at = command->arguments;
	for (size_t i = 0; token_next(&at, &token); i++) {
		if (i == arguments || token.repeated)
			return offer_kind(&c, token.kind);
	}
	return false;
}

static void print_word(void *arg, const char *word)
{
	(void)arg;
	(void)puts(word);
}

int complete_command_line(struct console *console, const char *const *words, size_t count)
{
	char why[256];

	if (count == 0)
		return EXIT_WRONG_USAGE;
	for (size_t i = 0; i + 1 < count; i++) {
		if (strcmp(words[i], "--bus") == 0)
			console->bus = words[i + 1];
	}
	/* Without pngwd there are still the commands. */
	(void)client_open(console->bus, &console->client, why, sizeof(why));
	(void)complete(console, words, count - 1, words[count - 1], print_word, NULL);
	return EXIT_DONE;
}
