/* The commands about Bluetooth: discovery, pairing, bonds, connections. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "console/command-internal.h"
#include "console/entry.h"
#include "console/procedure.h"

#define SCAN_SECONDS 12

static const struct column device_columns[] = {
	{"address", "ADDRESS", COLUMN_PLAIN},
	{"name", "NAME", COLUMN_PLAIN},
	{"entity", "ENTITY", COLUMN_PLAIN},
	{"rssi", "RSSI", COLUMN_PLAIN},
	{"pne", "PNE", COLUMN_FLAG},
	{"le", "LE", COLUMN_FLAG},
	{"bonded", "bonded", COLUMN_FLAG},
	{"trusted", "trusted", COLUMN_FLAG},
	{"connected", "connected", COLUMN_FLAG},
	{"blocked", "blocked", COLUMN_FLAG},
	{NULL, NULL, COLUMN_PLAIN},
};

/* In a line each, as they are found. */
static const struct column found_columns[] = {
	{"address", "", COLUMN_PLAIN},     {"rssi", "rssi", COLUMN_PLAIN},
	{"pne", "PNE", COLUMN_FLAG},       {"le", "LE", COLUMN_FLAG},
	{"bonded", "bonded", COLUMN_FLAG}, {"entity", "entity", COLUMN_PLAIN},
	{"name", "name", COLUMN_PLAIN},    {NULL, NULL, COLUMN_PLAIN},
};

int command_bluetooth(struct console *console, struct call *call)
{
	static const struct column columns[] = {
		{"state", "state", COLUMN_PLAIN},     {"text", "", COLUMN_PLAIN},
		{"adapter", "adapter", COLUMN_PLAIN}, {"address", "address", COLUMN_PLAIN},
		{"streams", "streams", COLUMN_PLAIN}, {"nap", "Network Access Point", COLUMN_PLAIN},
		{NULL, NULL, COLUMN_PLAIN},
	};

	(void)call;
	return command_record(console, CLIENT_BLUETOOTH, "GetStatus", columns);
}

int command_adapters(struct console *console, struct call *call)
{
	static const struct column columns[] = {
		{"name", "NAME", COLUMN_PLAIN},      {"address", "ADDRESS", COLUMN_PLAIN},
		{"powered", "powered", COLUMN_FLAG}, {"chosen", "chosen", COLUMN_FLAG},
		{NULL, NULL, COLUMN_PLAIN},
	};

	(void)call;
	return command_list(console, CLIENT_BLUETOOTH, "ListAdapters", columns, "no adapters");
}

/* Without BlueZ nothing is known: 0 when it is there. */
static int why_none(struct console *console)
{
	json_object *status = NULL;
	const char *state, *text;
	int code = console_get(console, CLIENT_BLUETOOTH, "GetStatus", &status);

	if (code != 0)
		return code;
	state = json_object_get_string(json_object_object_get(status, "state"));
	text = json_object_get_string(json_object_object_get(status, "text"));
	if (state && strcmp(state, "ready") != 0)
		code = console_failed(console, EXIT_RETRY, "Bluetooth: %s",
				      text && text[0] ? text : state);
	(void)json_object_put(status);
	return code;
}

static int list_devices(struct console *console, bool bonded)
{
	sd_bus_message *m;
	json_object *rows = NULL;
	int code = console_connect(console);

	if (code != 0)
		return code;
	m = client_call_new(console->client, CLIENT_BLUETOOTH, "ListDevices");
	if (m && bonded)
		(void)sd_bus_message_append(m, "a{sv}", 1, "Bonded", "b", 1);
	else if (m)
		(void)sd_bus_message_append(m, "a{sv}", 0);
	code = command_call(console, m, &rows);
	if (code != 0)
		return code;
	if (json_object_array_length(rows) == 0)
		code = why_none(console);
	if (code == 0)
		writer_table(&console->writer, device_columns, rows,
			     bonded ? "no bonds" : "no devices");
	(void)json_object_put(rows);
	return code;
}

int command_devices(struct console *console, struct call *call)
{
	(void)call;
	return list_devices(console, false);
}

int command_bonds(struct console *console, struct call *call)
{
	(void)call;
	return list_devices(console, true);
}

static void scan_options(sd_bus_message *m, const struct call *call)
{
	const char *near = call_option(call, "--near"), *name = call_option(call, "--name");

	if (call_option(call, "--all"))
		(void)sd_bus_message_append(m, "{sv}", "All", "b", 1);
	if (near) {
		int rssi = -(int)strtol(near[0] == '-' ? near + 1 : near, NULL, 10);

		(void)sd_bus_message_append(m, "{sv}", "Near", "n", rssi);
	}
	if (name)
		(void)sd_bus_message_append(m, "{sv}", "Name", "s", name);
}

int command_scan(struct console *console, struct call *call)
{
	struct procedure p = {
		.options = scan_options,
		.words = call,
		.notes = found_columns,
		.no_notes =
			"nothing was found: is the device switched on and can it be discovered?"};
	unsigned long seconds = call->count > 0 ? strtoul(call->word[0], NULL, 10) : SCAN_SECONDS;
	int code = console_connect(console);

	if (code != 0)
		return code;
	p.call = client_call_new(console->client, CLIENT_BLUETOOTH, "Scan");
	if (p.call)
		(void)sd_bus_message_append(p.call, "u", (uint32_t)seconds);
	return procedure_run(console, &p);
}

int command_pair(struct console *console, struct call *call)
{
	struct procedure p = {.words = call,
			      .asks = true,
			      .pin_file = call_option(call, "--pin-file"),
			      .yes = call_option(call, "--yes") != NULL,
			      .interactive = isatty(STDIN_FILENO)};
	int code = console_connect(console);

	if (code != 0)
		return code;
	p.call = client_call_new(console->client, CLIENT_BLUETOOTH, "Pair");
	if (p.call)
		(void)sd_bus_message_append(p.call, "s", call->word[0]);
	return procedure_run(console, &p);
}

int command_questions(struct console *console, struct call *call)
{
	static const struct column columns[] = {
		{"address", "ADDRESS", COLUMN_PLAIN},
		{"name", "NAME", COLUMN_PLAIN},
		{"text", "QUESTION", COLUMN_PLAIN},
		{NULL, NULL, COLUMN_PLAIN},
	};

	(void)call;
	return command_list(console, CLIENT_BLUETOOTH, "ListQuestions", columns, "no questions");
}

int command_answer(struct console *console, struct call *call)
{
	struct secret *typed = NULL;
	sd_bus_message *m;
	int fd, code = console_connect(console);

	if (code == 0 && call->count == 1)
		code = console_secret(console, "PIN or passkey: ", console->password_file, &typed);
	if (code != 0)
		return code;
	fd = typed ? entry_pipe(typed) : entry_pipe_text(call->word[1]);
	secret_unref(typed);
	if (fd < 0)
		return console_failed(console, EXIT_RETRY, "%s", strerror(-fd));
	m = client_call_new(console->client, CLIENT_BLUETOOTH, "Answer");
	if (m)
		(void)sd_bus_message_append(m, "sh", call->word[0], fd);
	(void)close(fd);
	code = command_call(console, m, NULL);
	return code != 0 ? code : command_done(console, "answered");
}

static int of_device(struct console *console, struct call *call, const char *method,
		     const char *done)
{
	sd_bus_message *m;
	int code = console_connect(console);

	if (code != 0)
		return code;
	m = client_call_new(console->client, CLIENT_BLUETOOTH, method);
	if (m)
		(void)sd_bus_message_append(m, "s", call->word[0]);
	code = command_call(console, m, NULL);
	return code != 0 ? code : command_done(console, done);
}

int command_unbond(struct console *console, struct call *call)
{
	return of_device(console, call, "Unbond",
			 "the bond here is removed; remove it on the device too before pairing "
			 "anew");
}

int command_disconnect(struct console *console, struct call *call)
{
	return of_device(console, call, "Disconnect", "being disconnected");
}

int command_connect(struct console *console, struct call *call)
{
	struct procedure p = {.words = call};
	int code = console_connect(console);

	if (code != 0)
		return code;
	p.call = client_call_new(console->client, CLIENT_BLUETOOTH, "Connect");
	if (p.call)
		(void)sd_bus_message_append(p.call, "s", call->word[0]);
	return procedure_run(console, &p);
}

int command_discoverable(struct console *console, struct call *call)
{
	unsigned long seconds = strtoul(call->word[0], NULL, 10);
	char text[64] = "can not be discovered any more";
	sd_bus_message *m;
	int code = console_connect(console);

	if (code != 0)
		return code;
	m = client_call_new(console->client, CLIENT_BLUETOOTH, "SetDiscoverable");
	if (m)
		(void)sd_bus_message_append(m, "u", (uint32_t)seconds);
	code = command_call(console, m, NULL);
	if (seconds > 0)
		(void)snprintf(text, sizeof(text), "can be discovered for %lu s", seconds);
	return code != 0 ? code : command_done(console, text);
}
