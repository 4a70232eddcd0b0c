#include "console/procedure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "console/entry.h"
#include "console/signals.h"

#define STEP_INDENT    13
#define VERDICT_INDENT 9
#define NOTE_INDENT    2
#define KEPT_MAX       10000 /* of each kind, for the document at the end */
/* How long a cancelled procedure may take to say so. */
#define CANCEL_MS      15000

/* One is run at a time. */
struct run {
	struct console *console;
	const struct procedure *p;
	struct client_events before; /* whom everything else is for */
	char path[CLIENT_NAME_MAX];  /* "" before the method has returned */
	json_object *steps, *notes, *verdicts;
	bool ended, gone, cancelled;
	char result[16];
};

static void keep(json_object *list, json_object *data)
{
	if (json_object_array_length(list) < KEPT_MAX)
		(void)json_object_array_add(list, json_object_get(data));
}

static void show_step(struct run *run, json_object *data)
{
	int64_t ms = json_object_get_int64(json_object_object_get(data, "milliseconds"));
	const char *entity = client_text(data, "entity");
	char text[1024];

	keep(run->steps, data);
	(void)snprintf(text, sizeof(text), "%4lld.%03d s  %s%s%s%s", (long long)(ms / 1000),
		       (int)(ms % 1000), client_text(data, "text"), entity[0] ? " [" : "", entity,
		       entity[0] ? "]" : "");
	writer_event(&run->console->writer, "step", data, text, STEP_INDENT, MARK_NONE);
}

/* What a note that is a record says to a person: its columns, those that are empty left out. */
static void note_text(const struct column *columns, json_object *data, char *text, size_t size)
{
	size_t used = 0;

	for (const struct column *c = columns; c->key && used < size; c++) {
		char *cell = writer_cell(data, c);

		if (cell && cell[0] && strcmp(cell, "-") != 0)
			used += (size_t)snprintf(
				text + used, size - used, "%s%s%s%s", used ? " " : "",
				c->form == COLUMN_FLAG ? "" : c->title,
				c->form == COLUMN_FLAG || !c->title[0] ? "" : "=", cell);
		free(cell);
	}
}

static void show_note(struct run *run, json_object *data)
{
	char text[1024] = "";

	keep(run->notes, data);
	if (run->p->notes && json_object_object_get(data, run->p->notes->key))
		note_text(run->p->notes, data, text, sizeof(text));
	else
		(void)snprintf(text, sizeof(text), "%s%s%s", client_text(data, "entity"),
			       client_text(data, "entity")[0] ? ": " : "",
			       client_text(data, "text"));
	writer_event(&run->console->writer, "note", data, text, NOTE_INDENT, MARK_NONE);
}

static void show_verdict(struct run *run, json_object *data)
{
	char text[2048];

	keep(run->verdicts, data);
	(void)snprintf(run->console->verdict, sizeof(run->console->verdict), "%s",
		       client_text(data, "id"));
	if (run->console->told)
		(void)json_object_array_add(run->console->told,
					    json_object_new_string(client_text(data, "text")));
	(void)snprintf(text, sizeof(text), "verdict: %s", client_text(data, "text"));
	writer_event(&run->console->writer, "verdict", data, text, VERDICT_INDENT,
		     strcmp(client_text(data, "id"), "DONE") == 0 ? MARK_GOOD : MARK_BAD);
}

static void on_signal(void *arg, const char *path, const char *interface, const char *member,
		      sd_bus_message *m)
{
	struct run *run = arg;
	const char *result;
	json_object *data;

	if (strcmp(interface, "org.pngw.Procedure1") != 0) {
		if (run->before.signal)
			run->before.signal(run->before.arg, path, interface, member, m);
		return;
	}
	if (strcmp(path, run->path) != 0 || run->ended)
		return;
	if (strcmp(member, "Ended") == 0) {
		if (sd_bus_message_read(m, "s", &result) < 0)
			result = "";
		(void)snprintf(run->result, sizeof(run->result), "%s", result);
		run->ended = true;
		return;
	}
	data = client_decode(m);
	if (!json_object_is_type(data, json_type_object)) {
		(void)json_object_put(data);
		return;
	}
	if (strcmp(member, "Step") == 0)
		show_step(run, data);
	else if (strcmp(member, "Note") == 0)
		show_note(run, data);
	else if (strcmp(member, "Verdict") == 0)
		show_verdict(run, data);
	(void)json_object_put(data);
}

static void on_service(void *arg, bool there)
{
	struct run *run = arg;

	run->gone = true;
	if (run->before.service)
		run->before.service(run->before.arg, there);
}

static void cancel(struct run *run)
{
	sd_bus_message *call = NULL;

	run->cancelled = true;
	if (sd_bus_message_new_method_call(client_bus(run->console->client), &call, CLIENT_SERVICE,
					   run->path, "org.pngw.Procedure1", "Cancel") >= 0)
		client_send(run->console->client, call);
	(void)fputs("cancelling; Ctrl-C again stops waiting\n", stderr);
}

/* State of the procedure, to know whether a detached one still asks. */
static bool still_asking(struct run *run)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	char *state = NULL;
	bool asking = sd_bus_get_property_string(client_bus(run->console->client), CLIENT_SERVICE,
						 run->path, "org.pngw.Procedure1", "State", &error,
						 &state) >= 0 &&
		      strcmp(state, "asking") == 0;

	sd_bus_error_free(&error);
	free(state);
	return asking;
}

/* Until it has ended, or, detached, until it needs nobody any more. 0 or an exit code, said. */
static int wait_for(struct run *run)
{
	struct console *console = run->console;
	int timeout = -1;

	while (!run->ended) {
		int r = client_turn(console->client, agent_fd(console->agent), timeout);

		if (run->gone && !run->ended)
			return console_failed(console, EXIT_RETRY,
					      "the PN GW has gone away before the end; what was "
					      "acknowledged is kept: start again once it is back");
		if (r < 0)
			return console_failed(console, EXIT_RETRY,
					      "the connection to the bus is lost: %s",
					      strerror(-r));
		if (r & CLIENT_INPUT)
			agent_input(console->agent);
		if (r & CLIENT_TIMEOUT)
			return console_failed(console, EXIT_RETRY,
					      "cancelled, but the PN GW does not confirm it");
		if ((r & CLIENT_SIGNAL) && (signals_interrupted() || signals_ending())) {
			agent_give_up(console->agent);
			if (run->cancelled || signals_ending())
				return console_failed(console, EXIT_RETRY,
						      "cancelled; its end was not waited for");
			cancel(run);
			timeout = CANCEL_MS;
		}
		(void)signals_resized();
		if (console->no_wait && agent_answered(console->agent))
			return 0;
	}
	return 0;
}

static void document(struct run *run)
{
	json_object *whole = json_object_new_object();

	(void)json_object_object_add(whole, "result", json_object_new_string(run->result));
	(void)json_object_object_add(whole, "cancelled", json_object_new_boolean(run->cancelled));
	if (run->console->writer.stream) {
		writer_event(&run->console->writer, "ended", whole, "", 0, MARK_NONE);
	} else {
		(void)json_object_object_add(whole, "verdicts", json_object_get(run->verdicts));
		(void)json_object_object_add(whole, "notes", json_object_get(run->notes));
		(void)json_object_object_add(whole, "steps", json_object_get(run->steps));
		writer_json(&run->console->writer, whole);
	}
	(void)json_object_put(whole);
}

static int end(struct run *run)
{
	struct console *console = run->console;
	json_object *whole;
	int code = client_result_code(run->result);

	switch (console->writer.form) {
	case WRITER_TEXT:
		writer_left_out(&console->writer);
		if (run->cancelled)
			writer_say(&console->writer, "cancelled");
		else if (code == EXIT_DONE && run->p->no_notes &&
			 json_object_array_length(run->notes) == 0)
			writer_say(&console->writer, "%s", run->p->no_notes);
		break;
	case WRITER_JSON:
		document(run);
		break;
	case WRITER_KV:
		whole = json_object_new_object();
		(void)json_object_object_add(whole, "result", json_object_new_string(run->result));
		writer_kv(&console->writer, "ended", whole);
		(void)json_object_put(whole);
		break;
	}
	return code;
}

static int detached(struct run *run)
{
	json_object *started = json_object_new_object();

	(void)json_object_object_add(started, "procedure", json_object_new_string(run->path));
	switch (run->console->writer.form) {
	case WRITER_TEXT:
		writer_say(&run->console->writer, "started: %s", run->path);
		break;
	case WRITER_JSON:
		writer_json(&run->console->writer, started);
		break;
	case WRITER_KV:
		writer_kv(&run->console->writer, NULL, started);
		break;
	}
	(void)json_object_put(started);
	return EXIT_DONE;
}

/* The options of the method, which every such method ends with. */
static int append_options(struct run *run)
{
	sd_bus_message *call = run->p->call;
	int r = sd_bus_message_open_container(call, 'a', "{sv}");

	if (r >= 0 && run->p->options)
		run->p->options(call, run->p->words);
	if (r >= 0 && run->console->no_wait)
		r = sd_bus_message_append(call, "{sv}", "Detach", "b", 1);
	return r >= 0 ? sd_bus_message_close_container(call) : r;
}

static int start(struct run *run)
{
	struct client_failure failure;
	sd_bus_message *reply = NULL;
	const char *path;
	int r;

	if (run->p->asks &&
	    agent_register(run->console->agent, run->console->shell, &failure) != 0) {
		(void)sd_bus_message_unref(run->p->call);
		return console_call_failed(run->console, &failure);
	}
	r = run->p->call ? append_options(run) : -ENOMEM;
	if (r < 0) {
		(void)sd_bus_message_unref(run->p->call);
		return console_failed(run->console, EXIT_RETRY, "%s", strerror(-r));
	}
	if (client_call(run->console->client, run->p->call, &reply, &failure) != 0)
		return console_call_failed(run->console, &failure);
	r = sd_bus_message_read(reply, "o", &path);
	if (r >= 0)
		(void)snprintf(run->path, sizeof(run->path), "%s", path);
	(void)sd_bus_message_unref(reply);
	if (r < 0)
		return console_failed(run->console, EXIT_RETRY,
				      "the PN GW's answer is not understood");
	return 0;
}

/* The answers that are in files. 0 or an exit code, said. */
static int read_answers(struct console *console, const struct procedure *p,
			struct agent_answers *answers)
{
	char why[512];

	answers->yes = p->yes;
	answers->interactive = p->interactive;
	if ((p->password_file &&
	     entry_file(p->password_file, &answers->password, why, sizeof(why)) != 0) ||
	    (p->pin_file && entry_file(p->pin_file, &answers->pin, why, sizeof(why)) != 0))
		return console_failed(console, EXIT_REFUSED, "%s", why);
	return 0;
}

static int run_answered(struct run *run, const struct agent_answers *answers)
{
	struct console *console = run->console;
	const struct client_events events = {on_signal, on_service, run};
	int code;

	client_listen(console->client, &events);
	agent_begin(console->agent, answers);
	code = start(run);
	if (code == 0 && console->no_wait && !(run->p->asks && still_asking(run))) {
		code = detached(run);
	} else if (code == 0) {
		code = wait_for(run);
		if (code == 0)
			code = run->ended ? end(run) : detached(run);
	}
	agent_end(console->agent);
	client_listen(console->client, &run->before);
	return code;
}

int procedure_run(struct console *console, struct procedure *p)
{
	struct run run = {.console = console,
			  .p = p,
			  .before = *client_events_of(console->client),
			  .steps = json_object_new_array(),
			  .notes = json_object_new_array(),
			  .verdicts = json_object_new_array()};
	struct agent_answers answers = {.password = NULL};
	int code = read_answers(console, p, &answers);

	console->verdict[0] = '\0';
	if (code == 0)
		code = run_answered(&run, &answers);
	else
		(void)sd_bus_message_unref(p->call);
	secret_unref(answers.password);
	secret_unref(answers.pin);
	(void)json_object_put(run.steps);
	(void)json_object_put(run.notes);
	(void)json_object_put(run.verdicts);
	return code;
}
