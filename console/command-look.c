/* The commands that only look at the PN GW. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "console/command-internal.h"
#include "console/console.h"
#include "console/pace.h"
#include "console/signals.h"
#include "protocol/bytes.h"

int command_list(struct console *console, enum client_object object, const char *method,
		 const struct column *columns, const char *nothing)
{
	json_object *rows = NULL;
	int code = console_connect(console);

	if (code == 0)
		code = console_get(console, object, method, &rows);
	if (code != 0)
		return code;
	writer_table(&console->writer, columns, rows, nothing);
	(void)json_object_put(rows);
	return EXIT_DONE;
}

int command_record(struct console *console, enum client_object object, const char *method,
		   const struct column *columns)
{
	json_object *record = NULL;
	int code = console_connect(console);

	if (code == 0)
		code = console_get(console, object, method, &record);
	if (code != 0)
		return code;
	writer_record(&console->writer, columns, record);
	(void)json_object_put(record);
	return EXIT_DONE;
}

int command_call(struct console *console, sd_bus_message *call, json_object **out)
{
	struct client_failure failure;
	sd_bus_message *reply = NULL;

	if (client_call(console->client, call, out ? &reply : NULL, &failure) != 0)
		return console_call_failed(console, &failure);
	return out ? console_decode(console, reply, out) : 0;
}

int command_append_words(sd_bus_message *m, const struct call *call, size_t first)
{
	int r = sd_bus_message_open_container(m, 'a', "s");

	for (size_t i = first; r >= 0 && i < call->count; i++)
		r = sd_bus_message_append(m, "s", call->word[i]);
	return r >= 0 ? sd_bus_message_close_container(m) : r;
}

int command_done(struct console *console, const char *text)
{
	json_object *o = json_object_new_object();

	(void)json_object_object_add(o, "result", json_object_new_string("done"));
	switch (console->writer.form) {
	case WRITER_TEXT:
		writer_say(&console->writer, "%s", text);
		break;
	case WRITER_JSON:
		writer_json(&console->writer, o);
		break;
	case WRITER_KV:
		writer_kv(&console->writer, NULL, o);
		break;
	}
	(void)json_object_put(o);
	return EXIT_DONE;
}

/* Following. */

static void on_change(void *arg, const char *path, const char *interface, const char *member,
		      sd_bus_message *m)
{
	struct console *console = arg;
	json_object *data;
	char text[2048];

	(void)path;
	if (strcmp(interface, "org.pngw.Gateway1") != 0)
		return;
	data = client_decode(m);
	if (strcmp(member, "VerdictGiven") == 0 && json_object_is_type(data, json_type_object)) {
		const char *sentence = json_object_get_string(json_object_object_get(data, "text"));

		(void)snprintf(text, sizeof(text), "verdict: %s", sentence ? sentence : "");
		writer_event(&console->writer, "verdict", data, text, 9, MARK_NONE);
	} else if (strcmp(member, "Changed") == 0 && json_object_is_type(data, json_type_string)) {
		json_object *o = json_object_new_object();

		(void)snprintf(text, sizeof(text), "changed: %s", json_object_get_string(data));
		(void)json_object_object_add(o, "what", json_object_get(data));
		writer_event(&console->writer, "changed", o, text, 9, MARK_NONE);
		(void)json_object_put(o);
	}
	(void)json_object_put(data);
}

static void on_service(void *arg, bool there)
{
	struct console *console = arg;
	json_object *o = json_object_new_object();

	(void)json_object_object_add(o, "there", json_object_new_boolean(there));
	writer_event(&console->writer, "service", o,
		     there ? "the PN GW is back" : "the PN GW has gone away", 0, MARK_NONE);
	(void)json_object_put(o);
}

int command_follow(struct console *console, int every_ms, int (*again)(void *arg), void *arg)
{
	const struct client_events before = *client_events_of(console->client);
	const struct client_events events = {on_change, on_service, console};
	uint64_t since = pace_now_ms();
	int code = EXIT_DONE;

	if (!again)
		client_listen(console->client, &events);
	for (;;) {
		int left = console_idle_left(console, since), r;

		/* A line on which nobody may be any more. */
		if (left == 0)
			break;
		r = client_turn(console->client, -1, every_ms < 0 ? left : every_ms);

		if (r < 0) {
			code = console_failed(console, EXIT_RETRY,
					      "the connection to the bus is lost: %s",
					      strerror(-r));
			break;
		}
		if ((r & CLIENT_SIGNAL) && (signals_interrupted() || signals_ending()))
			break;
		(void)signals_resized();
		if ((r & CLIENT_TIMEOUT) && again) {
			code = again(arg);
			if (code != 0)
				break;
		}
	}
	client_listen(console->client, &before);
	return code;
}

int command_status(struct console *console, struct call *call)
{
	static const struct column columns[] = {
		{"entity", "PN GW", COLUMN_PLAIN},
		{"version", "version", COLUMN_PLAIN},
		{"state", "state", COLUMN_PLAIN},
		{"owner", "owner", COLUMN_PLAIN},
		{"own_key_index", "own EUKey", COLUMN_PLAIN},
		{"server", "server", COLUMN_PLAIN},
		{"wan", "WAN", COLUMN_PLAIN},
		{"wan_text", "", COLUMN_PLAIN},
		{"bluetooth", "Bluetooth", COLUMN_PLAIN},
		{"links", "PNEs connected", COLUMN_PLAIN},
		{"procedures", "procedures under way", COLUMN_PLAIN},
		{NULL, NULL, COLUMN_PLAIN},
	};
	json_object *status = NULL, *warnings;
	int code = console_connect(console);

	(void)call;
	if (code == 0)
		code = console_get(console, CLIENT_GATEWAY, "GetStatus", &status);
	if (code != 0)
		return code;
	writer_record(&console->writer, columns, status);
	warnings = json_object_object_get(status, "warnings");
	for (size_t i = 0; warnings && i < json_object_array_length(warnings); i++)
		writer_say(&console->writer, "warning: %s",
			   json_object_get_string(json_object_array_get_idx(warnings, i)));
	(void)json_object_put(status);
	return console->follow ? command_follow(console, -1, NULL, NULL) : EXIT_DONE;
}

int command_elements(struct console *console, struct call *call)
{
	static const struct column columns[] = {
		{"entity", "ENTITY", COLUMN_PLAIN},      {"level", "PAN", COLUMN_PLAIN},
		{"owner", "OWNER", COLUMN_PLAIN},        {"held", "KEY", COLUMN_KEY},
		{"left", "LEFT", COLUMN_PLAIN},          {"address", "ADDRESS", COLUMN_PLAIN},
		{"connected", "connected", COLUMN_FLAG}, {"screen", "screen", COLUMN_FLAG},
		{"revoked", "revoked", COLUMN_FLAG},     {NULL, NULL, COLUMN_PLAIN},
	};

	(void)call;
	return command_list(console, CLIENT_GATEWAY, "ListElements", columns,
			    "no PNE is connected or on record");
}

int command_users(struct console *console, struct call *call)
{
	static const struct column columns[] = {
		{"user", "USER", COLUMN_PLAIN},
		{"entities", "DEVICES", COLUMN_PLAIN},
		{"owns_gateway", "owns the PN GW", COLUMN_FLAG},
		{NULL, NULL, COLUMN_PLAIN},
	};

	(void)call;
	return command_list(console, CLIENT_GATEWAY, "ListUsers", columns, "no users");
}

int command_pool(struct console *console, struct call *call)
{
	static const struct column columns[] = {
		{"entity", "ENTITY", COLUMN_PLAIN},
		{"left", "LEFT", COLUMN_PLAIN},
		{"held", "HELD", COLUMN_PLAIN},
		{"unconfirmed", "UNCONFIRMED", COLUMN_PLAIN},
		{"renew_in", "RENEWED IN", COLUMN_SECONDS},
		{"refill_needs_user", "refill needs the user", COLUMN_FLAG},
		{NULL, NULL, COLUMN_PLAIN},
	};
	sd_bus_message *m;
	json_object *rows = NULL;
	int code = console_connect(console);

	if (code != 0)
		return code;
	m = client_call_new(console->client, CLIENT_GATEWAY, "ListPools");
	if (m)
		(void)command_append_words(m, call, 0);
	code = command_call(console, m, &rows);
	if (code != 0)
		return code;
	writer_table(&console->writer, columns, rows, "no PNE has an owner");
	(void)json_object_put(rows);
	return EXIT_DONE;
}

int command_revocations(struct console *console, struct call *call)
{
	static const struct column columns[] = {
		{"entity", "ENTITY", COLUMN_PLAIN},
		{"epoch", "EPOCH", COLUMN_PLAIN},
		{"keys_up_to", "KEYS UP TO", COLUMN_PLAIN},
		{"reset", "RESET", COLUMN_PLAIN},
		{"server_knows", "SERVER KNOWS", COLUMN_PLAIN},
		{"by", "BY", COLUMN_PLAIN},
		{"since", "SINCE", COLUMN_TIME},
		{"seen", "SEEN", COLUMN_PLAIN},
		{NULL, NULL, COLUMN_PLAIN},
	};

	(void)call;
	return command_list(console, CLIENT_GATEWAY, "ListRevocations", columns,
			    "nothing was revoked");
}

static const char *text_of(json_object *record, const char *key)
{
	const char *text = json_object_get_string(json_object_object_get(record, key));

	return text ? text : "-";
}

int command_fingerprint(struct console *console, struct call *call)
{
	const char *hex = call_option(call, "--challenge");
	uint8_t challenge[64];
	char text[2 * sizeof(challenge) + 1];
	size_t size = 16;
	sd_bus_message *m;
	json_object *record = NULL;
	int code = console_connect(console);

	if (code != 0)
		return code;
	if (hex ? hex_decode(bytes_text(hex), challenge, sizeof(challenge), &size) != 0
		: getrandom(challenge, size, 0) != (ssize_t)size)
		return console_failed(console, EXIT_RETRY, "there is no challenge: %s",
				      strerror(errno));
	m = client_call_new(console->client, CLIENT_GATEWAY, "Fingerprint");
	if (m) {
		(void)sd_bus_message_append(m, "s", call->count > 0 ? call->word[0] : "");
		(void)sd_bus_message_append_array(m, 'y', challenge, size);
	}
	code = command_call(console, m, &record);
	if (code != 0)
		return code;
	(void)hex_encode(bytes_of(challenge, size), text, sizeof(text));
	(void)json_object_object_add(record, "challenge", json_object_new_string(text));
	/* In the form that the server and a PNE give theirs in. */
	if (console->writer.form == WRITER_TEXT) {
		if (!hex)
			writer_say(&console->writer, "over the challenge %s", text);
		writer_say(&console->writer, "%s %s %s %s", text_of(record, "user"),
			   text_of(record, "entity"), text_of(record, "key_index"),
			   text_of(record, "fingerprint"));
	} else {
		writer_record(&console->writer, NULL, record);
	}
	(void)json_object_put(record);
	return EXIT_DONE;
}

int command_wan(struct console *console, struct call *call)
{
	static const struct column columns[] = {
		{"wan", "WAN", COLUMN_PLAIN},
		{"wan_text", "", COLUMN_PLAIN},
		{"server", "server", COLUMN_PLAIN},
		{"wan_mutual", "mutually authenticated", COLUMN_PLAIN},
		{NULL, NULL, COLUMN_PLAIN},
	};
	json_object *status = NULL, *wan;
	int code = console_connect(console);

	(void)call;
	if (code == 0)
		code = console_get(console, CLIENT_GATEWAY, "GetStatus", &status);
	if (code != 0)
		return code;
	wan = json_object_new_object();
	for (const struct column *c = columns; c->key; c++)
		(void)json_object_object_add(
			wan, c->key, json_object_get(json_object_object_get(status, c->key)));
	writer_record(&console->writer, columns, wan);
	(void)json_object_put(wan);
	(void)json_object_put(status);
	return EXIT_DONE;
}
