/* The commands about users and EUKeys: the figures, renewal, revocation. */

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "console/command-internal.h"
#include "console/procedure.h"

/* A procedure about a user (the first word) and entities (the others). */
static int of_user(struct console *console, struct call *call, const char *method, bool entities,
		   void (*options)(sd_bus_message *call, const struct call *words))
{
	struct procedure p = {.options = options,
			      .words = call,
			      .asks = true,
			      .password_file = console->password_file};
	int code = console_connect(console);

	if (code != 0)
		return code;
	p.call = client_call_new(console->client, CLIENT_GATEWAY, method);
	if (p.call) {
		(void)sd_bus_message_append(p.call, "s", call->word[0]);
		if (entities)
			(void)command_append_words(p.call, call, 1);
	}
	return procedure_run(console, &p);
}

static int of_entities(struct console *console, struct call *call, const char *method)
{
	struct procedure p = {.words = call};
	int code = console_connect(console);

	if (code != 0)
		return code;
	p.call = client_call_new(console->client, CLIENT_GATEWAY, method);
	if (p.call)
		(void)command_append_words(p.call, call, 0);
	return procedure_run(console, &p);
}

static int of_entity_at_once(struct console *console, struct call *call, const char *method,
			     const char *done)
{
	sd_bus_message *m;
	int code = console_connect(console);

	if (code != 0)
		return code;
	m = client_call_new(console->client, CLIENT_GATEWAY, method);
	if (m)
		(void)sd_bus_message_append(m, "s", call->word[0]);
	code = command_call(console, m, NULL);
	return code != 0 ? code : command_done(console, done);
}

int command_register(struct console *console, struct call *call)
{
	return of_user(console, call, "Register", false, NULL);
}

int command_figure8(struct console *console, struct call *call)
{
	return of_user(console, call, "AssignGateway", false, NULL);
}

int command_subscribe(struct console *console, struct call *call)
{
	return of_user(console, call, "Subscribe", false, NULL);
}

int command_install(struct console *console, struct call *call)
{
	return of_user(console, call, "Install", true, NULL);
}

int command_trigger(struct console *console, struct call *call)
{
	return of_user(console, call, "Trigger", true, NULL);
}

static void append_u32(sd_bus_message *m, const char *key, unsigned long value)
{
	(void)sd_bus_message_append(m, "{sv}", key, "u", (uint32_t)value);
}

static void assign_options(sd_bus_message *m, const struct call *call)
{
	if (call_option(call, "--figure"))
		append_u32(m, "Figure", call_number(call, "--figure", 0));
	if (call_option(call, "--count"))
		append_u32(m, "Count", call_number(call, "--count", 0));
	if (call_option(call, "--chain") || call_option(call, "--random"))
		(void)sd_bus_message_append(m, "{sv}", "Kind", "s",
					    call_option(call, "--chain") ? "chain" : "random");
}

static void figure6_options(sd_bus_message *m, const struct call *call)
{
	(void)call;
	append_u32(m, "Figure", 6);
}

static void figure7_options(sd_bus_message *m, const struct call *call)
{
	append_u32(m, "Figure", 7);
	if (call->count > 2)
		append_u32(m, "Count", strtoul(call->word[2], NULL, 10));
}

static int explain(struct console *console, struct call *call)
{
	static const struct column columns[] = {
		{"entity", "ENTITY", COLUMN_PLAIN},
		{"figure", "FIGURE", COLUMN_PLAIN},
		{"why", "WHY", COLUMN_PLAIN},
		{NULL, NULL, COLUMN_PLAIN},
	};
	json_object *rows = NULL;
	int code = console_connect(console);

	if (code != 0)
		return code;
	rows = json_object_new_array();
	for (size_t i = 1; i < call->count && code == 0; i++) {
		sd_bus_message *m = client_call_new(console->client, CLIENT_GATEWAY, "Explain");
		json_object *record = NULL;

		if (m)
			(void)sd_bus_message_append(m, "ss", call->word[0], call->word[i]);
		code = command_call(console, m, &record);
		if (code != 0)
			break;
		(void)json_object_object_add(record, "entity",
					     json_object_new_string(call->word[i]));
		(void)json_object_array_add(rows, record);
	}
	if (code == 0)
		writer_table(&console->writer, columns, rows, "");
	(void)json_object_put(rows);
	return code;
}

int command_assign(struct console *console, struct call *call)
{
	if (call_option(call, "--chain") && call_option(call, "--random"))
		return console_failed(console, EXIT_WRONG_USAGE,
				      "assign: --chain and --random exclude each other");
	if (call_option(call, "--explain") && call_option(call, "--figure"))
		return console_failed(console, EXIT_WRONG_USAGE,
				      "assign: --explain says which figure would be chosen, and "
				      "with --figure none is");
	if (call_option(call, "--explain"))
		return explain(console, call);
	return of_user(console, call, "Assign", true, assign_options);
}

int command_figure6(struct console *console, struct call *call)
{
	return of_user(console, call, "Assign", true, figure6_options);
}

int command_figure7(struct console *console, struct call *call)
{
	struct procedure p = {.options = figure7_options,
			      .words = call,
			      .asks = true,
			      .password_file = console->password_file};
	int code = console_connect(console);

	if (code != 0)
		return code;
	p.call = client_call_new(console->client, CLIENT_GATEWAY, "Assign");
	if (p.call)
		(void)sd_bus_message_append(p.call, "sas", call->word[0], 1, call->word[1]);
	return procedure_run(console, &p);
}

int command_renew(struct console *console, struct call *call)
{
	return of_entities(console, call, "Renew");
}

int command_reset(struct console *console, struct call *call)
{
	return of_entities(console, call, "Reset");
}

/* Somebody who can be asked is at it; a script is not. */
static bool can_be_asked(const struct console *console, const struct call *call)
{
	return !call_option(call, "--yes") && console->writer.form == WRITER_TEXT &&
	       isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

/* What cannot be taken back. 0, or an exit code after it was said. */
static int sure(struct console *console, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int sure(struct console *console, const char *format, ...)
{
	va_list arguments;
	char question[512];
	bool yes;
	int code;

	va_start(arguments, format);
	(void)vsnprintf(question, sizeof(question), format, arguments);
	va_end(arguments);
	code = command_ask_yes(console, question, &yes);
	if (code == 0 && !yes)
		code = console_failed(console, EXIT_REFUSED, "nothing was done");
	return code;
}

/* user: NULL for everybody. */
static bool is_to_go(json_object *element, const char *user)
{
	const char *owner = client_text(element, "owner");

	if (user)
		return strcmp(owner, user) == 0;
	return owner[0] || json_object_get_int(json_object_object_get(element, "held")) > 0;
}

/* Says how many devices it would be. user: NULL for everybody. */
static int sure_of_many(struct console *console, const char *user)
{
	json_object *elements = NULL, *status = NULL;
	unsigned count = 0;
	bool gateway;
	int code = console_get(console, CLIENT_GATEWAY, "ListElements", &elements);

	if (code == 0)
		code = console_get(console, CLIENT_GATEWAY, "GetStatus", &status);
	for (size_t i = 0; code == 0 && i < json_object_array_length(elements); i++)
		count += is_to_go(json_object_array_get_idx(elements, i), user);
	gateway = user ? strcmp(client_text(status, "owner"), user) == 0
		       : client_text(status, "owner")[0] != '\0';
	if (code == 0)
		code = sure(console, "revoke %u device%s%s%s%s? [y/N] ", count,
			    count == 1 ? "" : "s", user ? " of " : "", user ? user : "",
			    gateway ? " and the PN GW" : "");
	(void)json_object_put(elements);
	(void)json_object_put(status);
	return code;
}

int command_revoke(struct console *console, struct call *call)
{
	const char *user = call_option(call, "--user");
	bool all = call_option(call, "--all") != NULL, asked = can_be_asked(console, call);
	struct procedure p = {.words = call};
	int code;

	if ((call->count > 0) + (user != NULL) + all != 1)
		return console_failed(console, EXIT_WRONG_USAGE,
				      "revoke: it takes ENTITY..., or --user USER, or --all");
	code = console_connect(console);
	if (code == 0 && asked && call->count > 1)
		code = sure(console, "revoke %zu devices? [y/N] ", call->count);
	else if (code == 0 && asked)
		code = call->count == 1 ? sure(console, "revoke %s? [y/N] ", call->word[0])
					: sure_of_many(console, user);
	if (code != 0)
		return code;
	if (call->count > 0)
		return of_entities(console, call, "Revoke");
	p.call = client_call_new(console->client, CLIENT_GATEWAY, all ? "RevokeAll" : "RevokeUser");
	if (p.call && user)
		(void)sd_bus_message_append(p.call, "s", user);
	return procedure_run(console, &p);
}

int command_forget(struct console *console, struct call *call)
{
	return of_entity_at_once(console, call, "Forget", "its reset is no longer waited for");
}

int command_release(struct console *console, struct call *call)
{
	int code = console_connect(console);

	if (code == 0 && can_be_asked(console, call))
		code = sure(console, "forget whose %s is, and its keys? [y/N] ", call->word[0]);
	return code != 0 ? code : of_entity_at_once(console, call, "Release", "released");
}
