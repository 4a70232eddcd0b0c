/* The guided job: pair a headset and give it its EUKey, one question at a time. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "console/command-internal.h"
#include "console/label.h"

#define ANSWER_SIZE  LABEL_TEXT_SIZE
#define SCAN_SECONDS "8"
#define OFFERED_MAX  99

/* A PNE that is connected, or a device that was found. */
struct guide {
	struct console *console;
	char user[ANSWER_SIZE];
	json_object *offered; /* of each: device, text */
};

static bool is_true(json_object *o, const char *key)
{
	return json_object_get_boolean(json_object_object_get(o, key));
}

/* A line without its spaces at both ends. 0, or an exit code after it was said. */
static int ask(struct console *console, const char *prompt, char answer[ANSWER_SIZE])
{
	struct secret *typed = NULL;
	size_t first = 0, size;
	int r;

	answer[0] = '\0';
	r = console_entry(console, prompt, false, console->idle_ms > 0 ? console->idle_ms : -1,
			  &typed);

	if (r < 0)
		return console_failed(console, EXIT_RETRY, "%s",
				      r == -EINTR ? "interrupted" : "nothing was entered");
	size = typed ? secret_size(typed) : 0;
	if (size > 0 && size < ANSWER_SIZE) {
		const char *line = (const char *)secret_bytes(typed).data;

		while (first < size && line[first] == ' ')
			first++;
		while (size > first && (line[size - 1] == ' ' || line[size - 1] == '\r'))
			size--;
		memcpy(answer, line + first, size - first);
		answer[size - first] = '\0';
	}
	secret_unref(typed);
	return 0;
}

int command_ask_yes(struct console *console, const char *prompt, bool *yes)
{
	char answer[ANSWER_SIZE];
	int code = ask(console, prompt, answer);

	*yes = code == 0 && (answer[0] == 'y' || answer[0] == 'Y');
	return code;
}

/* A command of the table, with these words. */
static int carry_out(struct console *console, int (*command)(struct console *, struct call *),
		     const char *first, const char *second)
{
	struct call call = {.word = {first, second}};

	while (call.count < 2 && call.word[call.count])
		call.count++;
	return command(console, &call);
}

/* The devices that BlueZ knows; NULL: there is no Bluetooth, or it does not say. */
static json_object *devices(struct console *console)
{
	sd_bus_message *m = client_call_new(console->client, CLIENT_BLUETOOTH, "ListDevices"),
		       *reply;
	struct client_failure failure;
	json_object *rows;

	if (m)
		(void)sd_bus_message_append(m, "a{sv}", 0);
	if (client_call(console->client, m, &reply, &failure) != 0)
		return NULL;
	rows = client_decode(reply);
	(void)sd_bus_message_unref(reply);
	return rows;
}

static void offer(struct guide *g, const char *device, const char *text)
{
	json_object *o = json_object_new_object();

	(void)json_object_object_add(o, "device", json_object_new_string(device));
	(void)json_object_object_add(o, "text", json_object_new_string(text));
	(void)json_object_array_add(g->offered, o);
}

static int by_entity(const void *a, const void *b)
{
	json_object *const *left = a, *const *right = b;

	return strcmp(client_text(*left, "entity"), client_text(*right, "entity"));
}

static void offer_elements(struct guide *g, json_object *rows)
{
	json_object_array_sort(rows, by_entity);
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		json_object *row = json_object_array_get_idx(rows, i);
		const char *owner = client_text(row, "owner"), *entity = client_text(row, "entity");
		char text[512];

		if (!is_true(row, "connected") || is_true(row, "screen"))
			continue;
		(void)snprintf(text, sizeof(text), "%s, connected, PAN security %s%s%s%s", entity,
			       client_text(row, "level"), owner[0] ? ", " : "", owner,
			       owner[0] ? "'s" : ", no EUKey yet");
		offer(g, entity, text);
	}
}

static void offer_devices(struct guide *g, json_object *rows)
{
	for (size_t i = 0; rows && i < json_object_array_length(rows); i++) {
		json_object *row = json_object_array_get_idx(rows, i);
		char text[512];

		if (!is_true(row, "pne") || is_true(row, "connected"))
			continue;
		(void)snprintf(text, sizeof(text), "%s %s%s", client_text(row, "address"),
			       client_text(row, client_text(row, "entity")[0] ? "entity" : "name"),
			       is_true(row, "bonded") ? ", paired" : "");
		offer(g, client_text(row, "address"), text);
	}
}

/* Searches, and shows what there is with numbers. */
static int look(struct guide *g)
{
	struct console *console = g->console;
	json_object *rows = NULL, *found;
	int code;

	found = devices(console);
	if (found) {
		(void)json_object_put(found);
		writer_say(&console->writer,
			   "searching for " SCAN_SECONDS " s; it has to be switched on");
		(void)carry_out(console, command_scan, SCAN_SECONDS, NULL);
	}
	code = console_get(console, CLIENT_GATEWAY, "ListElements", &rows);
	if (code != 0)
		return code;
	(void)json_object_put(g->offered);
	g->offered = json_object_new_array();
	offer_elements(g, rows);
	(void)json_object_put(rows);
	found = devices(console);
	offer_devices(g, found);
	(void)json_object_put(found);
	for (size_t i = 0; i < json_object_array_length(g->offered) && i < OFFERED_MAX; i++)
		writer_say(&console->writer, "%3zu  %s", i + 1,
			   client_text(json_object_array_get_idx(g->offered, i), "text"));
	if (json_object_array_length(g->offered) == 0)
		writer_say(&console->writer, "nothing was found: is it switched on, and near?");
	return 0;
}

/* What was typed as a device; false: it is none, and that was said. */
static bool understand(struct guide *g, const char *answer, char device[ANSWER_SIZE])
{
	const struct kind *kind = kind_of("DEVICE", strlen("DEVICE"));
	unsigned long number = 0;
	struct label label;
	char why[256];

	if (kind_number(answer, 1, OFFERED_MAX, &number) &&
	    number <= json_object_array_length(g->offered)) {
		(void)snprintf(
			device, ANSWER_SIZE, "%s",
			client_text(json_object_array_get_idx(g->offered, number - 1), "device"));
		return true;
	}
	if (label_read(answer, &label, why, sizeof(why)) == 0 && label.kind == LABEL_PNE) {
		(void)snprintf(device, ANSWER_SIZE, "%s",
			       label.address[0] ? label.address : label.name.text);
		return true;
	}
	if (number == 0 && kind->valid(answer)) {
		(void)snprintf(device, ANSWER_SIZE, "%s", answer);
		return true;
	}
	writer_say(&g->console->writer, "that is neither one of the numbers, nor %s, nor a label",
		   kind->what);
	return false;
}

/* 0 and device, "" where the person leaves. */
static int choose(struct guide *g, char device[ANSWER_SIZE])
{
	char answer[ANSWER_SIZE];
	int code = look(g);

	device[0] = '\0';
	while (code == 0 && !device[0]) {
		code = ask(g->console,
			   "Which headset? Number, Entity ID, address or label;\n"
			   "Enter: search again; q: leave: ",
			   answer);
		if (code != 0 || strcmp(answer, "q") == 0)
			return code;
		if (answer[0])
			(void)understand(g, answer, device);
		else
			code = look(g);
	}
	return code;
}

/* The Entity ID of a connected PNE: device is its address or that itself. false: there is none. */
static bool connected(struct console *console, const char *device, char entity[ANSWER_SIZE])
{
	json_object *rows = NULL;
	bool found = false;

	if (console_get(console, CLIENT_GATEWAY, "ListElements", &rows) != 0)
		return false;
	for (size_t i = 0; !found && i < json_object_array_length(rows); i++) {
		json_object *row = json_object_array_get_idx(rows, i);

		found = is_true(row, "connected") &&
			(strcmp(client_text(row, "entity"), device) == 0 ||
			 strcasecmp(client_text(row, "address"), device) == 0);
		if (found)
			(void)snprintf(entity, ANSWER_SIZE, "%s", client_text(row, "entity"));
	}
	(void)json_object_put(rows);
	return found;
}

static bool bonded(json_object *rows, const char *device)
{
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		json_object *row = json_object_array_get_idx(rows, i);

		if (strcasecmp(client_text(row, "address"), device) == 0 ||
		    strcmp(client_text(row, "entity"), device) == 0)
			return is_true(row, "bonded");
	}
	return false;
}

/* Pairs with it and connects to it where that is to be done. */
static int reach(struct console *console, const char *device, char entity[ANSWER_SIZE])
{
	json_object *rows;
	int code = 0;

	if (connected(console, device, entity))
		return 0;
	rows = devices(console);
	if (!rows)
		return console_failed(
			console, EXIT_RETRY,
			"%s is not connected, and there is no Bluetooth to reach it by", device);
	if (!bonded(rows, device)) {
		writer_say(&console->writer, "pairing with %s", device);
		code = carry_out(console, command_pair, device, NULL);
	}
	(void)json_object_put(rows);
	if (code == 0 && !connected(console, device, entity)) {
		writer_say(&console->writer, "connecting to %s", device);
		code = carry_out(console, command_connect, device, NULL);
	}
	if (code == 0 && !connected(console, device, entity))
		code = console_failed(console, EXIT_RETRY,
				      "%s is connected and does not say which PNE it is", device);
	return code;
}

/* What a person types anew ends this: the User ID may be wrong, or the password. */
static bool not_accepted(const struct console *console)
{
	static const char *const ids[] = {"WRONG_PASSWORD", "USER_TAKEN", "PASSWORD_UNUSABLE"};

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		/* A file has the same password the next time. */
		if (strcmp(console->verdict, ids[i]) == 0)
			return !console->password_file;
	}
	return false;
}

/* The User ID once more; *other: it is another one. 0 or an exit code, said. */
static int correct_user(struct guide *g, bool *other)
{
	const struct kind *kind = kind_of("USER", strlen("USER"));
	char prompt[ANSWER_SIZE + 64], answer[ANSWER_SIZE];
	int code;

	(void)snprintf(prompt, sizeof(prompt),
		       "User ID (Enter: %s again; Ctrl-C: leave): ", g->user);
	code = ask(g->console, prompt, answer);
	while (code == 0 && answer[0] && !kind->valid(answer)) {
		writer_say(&g->console->writer, "that is not %s", kind->what);
		code = ask(g->console, prompt, answer);
	}
	*other = code == 0 && answer[0] && strcmp(answer, g->user) != 0;
	if (*other)
		(void)snprintf(g->user, sizeof(g->user), "%s", answer);
	return code;
}

/* 0 and *known, or an exit code, said. */
static int look_up_user(struct guide *g, bool *known)
{
	json_object *rows = NULL;
	int code = console_get(g->console, CLIENT_GATEWAY, "ListUsers", &rows);

	*known = false;
	for (size_t i = 0; code == 0 && i < json_object_array_length(rows); i++)
		*known = *known || strcmp(client_text(json_object_array_get_idx(rows, i), "user"),
					  g->user) == 0;
	(void)json_object_put(rows);
	return code;
}

/* Where the user is new here. */
static int know_user(struct guide *g)
{
	char prompt[2 * ANSWER_SIZE + 64];
	bool known, yes, other;
	int code = look_up_user(g, &known);

	while (code == 0 && !known) {
		(void)snprintf(prompt, sizeof(prompt),
			       "%s has no device here yet. Register %s first? [y/N] ", g->user,
			       g->user);
		code = command_ask_yes(g->console, prompt, &yes);
		if (code != 0 || !yes)
			return code;
		code = carry_out(g->console, command_register, g->user, NULL);
		if (code != EXIT_REFUSED || !not_accepted(g->console))
			return code;
		code = correct_user(g, &other);
		if (code == 0)
			code = look_up_user(g, &known);
	}
	return code;
}

/* Until user and password are right, or something else is wrong. */
static int assign(struct guide *g, const char *entity)
{
	for (;;) {
		int code = carry_out(g->console, command_assign, g->user, entity);
		bool other;

		if (code != EXIT_REFUSED || !not_accepted(g->console))
			return code;
		code = correct_user(g, &other);
		if (code == 0 && other)
			code = know_user(g);
		if (code != 0)
			return code;
	}
}

static int know_whose(struct guide *g)
{
	const struct kind *kind = kind_of("USER", strlen("USER"));

	while (!kind->valid(g->user)) {
		int code;

		if (g->user[0])
			writer_say(&g->console->writer, "that is not %s", kind->what);
		code = ask(g->console, "Whose headset? User ID: ", g->user);
		if (code != 0)
			return code;
	}
	return know_user(g);
}

/* 0 and *leaves where the person has enough. */
static int one(struct guide *g, bool *leaves)
{
	char device[ANSWER_SIZE], entity[ANSWER_SIZE];
	int code = choose(g, device);

	*leaves = device[0] == '\0';
	if (code != 0 || *leaves)
		return code;
	code = reach(g->console, device, entity);
	if (code == 0)
		code = assign(g, entity);
	if (code == 0)
		writer_say(&g->console->writer, "%s is %s's and has its EUKey", entity, g->user);
	return code;
}

int command_guide(struct console *console, struct call *call)
{
	struct guide g = {.console = console, .offered = json_object_new_array()};
	bool leaves = false, more = true;
	int code = console_connect(console);

	if (console->writer.form != WRITER_TEXT)
		code = console_failed(console, EXIT_WRONG_USAGE,
				      "guide: it is for a person; a script has pair and assign");
	(void)snprintf(g.user, sizeof(g.user), "%s", call->count > 0 ? call->word[0] : "");
	if (code == 0)
		code = know_whose(&g);
	while (code == 0 && more && !leaves) {
		code = one(&g, &leaves);
		if (leaves || command_ask_yes(console, "Another headset? [y/N] ", &more) != 0)
			break;
		code = more ? 0 : code;
	}
	(void)json_object_put(g.offered);
	return code;
}
