/* The commands for when something is wrong: doctor, log, trace, bundle, metrics. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "console/command-internal.h"

#define LINES_DEFAULT 50
#define FOLLOW_LINES  1000
#define FOLLOW_MS     500

static bool is_state(json_object *row, const char *state)
{
	return strcmp(client_text(row, "state"), state) == 0;
}

static unsigned count_state(json_object *rows, const char *state)
{
	unsigned count = 0;

	for (size_t i = 0; i < json_object_array_length(rows); i++)
		count += is_state(json_object_array_get_idx(rows, i), state);
	return count;
}

/* The state before its block, which stands to the right of it. */
#define BLOCK_INDENT 9

static void put_block(const struct writer *w, json_object *row, const char *state)
{
	static const struct column id = {"id", "", COLUMN_PLAIN},
				   finding = {"finding", "", COLUMN_PLAIN},
				   remedy = {"remedy", "", COLUMN_PLAIN};
	static const char *const before[] = {"", "", "Next: "};
	char *texts[] = {writer_cell(row, &id), writer_cell(row, &finding),
			 writer_cell(row, &remedy)};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		(void)fprintf(w->out, "%-*s%s", BLOCK_INDENT, i == 0 ? state : "", before[i]);
		writer_wrap(w->out, texts[i] ? texts[i] : "", w->width,
			    BLOCK_INDENT + (unsigned)strlen(before[i]), BLOCK_INDENT);
		(void)fputc('\n', w->out);
		free(texts[i]);
	}
}

/* For somebody who has 24 lines before him: what is wrong, one below the other, causes first. */
static void put_report(const struct writer *w, json_object *rows, bool all)
{
	static const struct column columns[] = {
		{"state", "STATE", COLUMN_PLAIN},
		{"id", "ID", COLUMN_PLAIN},
		{"finding", "FINDING", COLUMN_PLAIN},
		{NULL, NULL, COLUMN_PLAIN},
	};
	static const char *const wrong[] = {"failed", "warning"};
	json_object *others = json_object_new_array();

	for (size_t n = 0; n < sizeof(wrong) / sizeof(wrong[0]); n++) {
		for (size_t i = 0; i < json_object_array_length(rows); i++) {
			json_object *row = json_object_array_get_idx(rows, i);

			if (is_state(row, wrong[n]))
				put_block(w, row, wrong[n]);
			else if (n == 0 && !is_state(row, wrong[1]))
				(void)json_object_array_add(others, json_object_get(row));
		}
	}
	if (all && json_object_array_length(others) > 0)
		writer_table(w, columns, others, "");
	(void)json_object_put(others);
	writer_say(
		w, "%u failed, %u to be looked at; %u others are all right, %u do not apply here%s",
		count_state(rows, "failed"), count_state(rows, "warning"), count_state(rows, "ok"),
		count_state(rows, "not-applicable"), all ? "" : " (--all shows them)");
	(void)fflush(w->out);
}

int command_doctor(struct console *console, struct call *call)
{
	static const struct column columns[] = {
		{"state", "STATE", COLUMN_PLAIN},     {"id", "ID", COLUMN_PLAIN},
		{"finding", "FINDING", COLUMN_PLAIN}, {"remedy", "REMEDY", COLUMN_PLAIN},
		{NULL, NULL, COLUMN_PLAIN},
	};
	json_object *rows = NULL;
	unsigned failed;
	int code = console_connect(console);

	if (code == 0)
		code = console_get(console, CLIENT_DIAGNOSIS, "Examine", &rows);
	if (code != 0)
		return code;
	failed = count_state(rows, "failed");
	if (console->writer.form == WRITER_TEXT && console->writer.width > 0) {
		put_report(&console->writer, rows, call_option(call, "--all") != NULL);
	} else {
		writer_table(&console->writer, columns, rows, "nothing was examined");
		writer_say(&console->writer, "%u good, %u to be looked at, %u failed",
			   count_state(rows, "ok"), count_state(rows, "warning"), failed);
	}
	(void)json_object_put(rows);
	return failed > 0 ? EXIT_REFUSED : EXIT_DONE;
}

/* The log and the trace are lists of which the last entries can be had: what is new since the last
 * time is what comes after their common part. */
struct tail {
	struct console *console;
	const char *method;
	json_object *seen;
};

static int get_tail(struct console *console, const char *method, unsigned long lines,
		    json_object **out)
{
	sd_bus_message *m = client_call_new(console->client, CLIENT_DIAGNOSIS, method);

	if (m)
		(void)sd_bus_message_append(m, "u", (uint32_t)lines);
	return command_call(console, m, out);
}

/* How many of the last of seen are the first of list. */
static size_t common(json_object *seen, json_object *list)
{
	size_t n = json_object_array_length(seen), size = json_object_array_length(list);

	for (size_t length = n < size ? n : size; length > 0; length--) {
		size_t i = 0;

		while (i < length &&
		       json_object_equal(json_object_array_get_idx(seen, n - length + i),
					 json_object_array_get_idx(list, i)))
			i++;
		if (i == length)
			return length;
	}
	return 0;
}

/* A line of a person's log, or an entry of the recorder. */
static void show_entry(const struct writer *w, json_object *entry)
{
	static const struct column when = {"time", "", COLUMN_TIME};
	json_object *o = entry;
	char text[2048];

	if (json_object_is_type(entry, json_type_object)) {
		char *time = writer_cell(entry, &when);
		const char *what = json_object_get_string(json_object_object_get(entry, "text"));

		(void)snprintf(text, sizeof(text), "%s  %s", time ? time : "", what ? what : "");
		free(time);
		writer_event(w, "entry", o, text, 22, MARK_NONE);
		return;
	}
	o = json_object_new_object();
	(void)json_object_object_add(o, "text", json_object_get(entry));
	writer_event(w, "line", o, json_object_get_string(entry), 2, MARK_NONE);
	(void)json_object_put(o);
}

static int tail_again(void *arg)
{
	struct tail *t = arg;
	json_object *list = NULL;
	int code = get_tail(t->console, t->method, FOLLOW_LINES, &list);

	if (code != 0)
		return code;
	for (size_t i = common(t->seen, list); i < json_object_array_length(list); i++)
		show_entry(&t->console->writer, json_object_array_get_idx(list, i));
	(void)json_object_put(t->seen);
	t->seen = list;
	return 0;
}

static int tail(struct console *console, struct call *call, const char *method)
{
	unsigned long lines = call->count > 0 ? strtoul(call->word[0], NULL, 10) : LINES_DEFAULT;
	struct tail t = {.console = console, .method = method};
	struct pace *pace = console->writer.pace;
	size_t count, first;
	int code = console_connect(console);

	if (code == 0)
		code = get_tail(console, method, console->follow ? FOLLOW_LINES : lines, &t.seen);
	if (code != 0)
		return code;
	count = json_object_array_length(t.seen);
	first = count > lines ? count - lines : 0;
	/* These were asked for, however slow the line is. */
	console->writer.pace = NULL;
	if (console->writer.form == WRITER_JSON && !console->follow) {
		writer_json(&console->writer, t.seen);
	} else {
		for (size_t i = first; i < count; i++)
			show_entry(&console->writer, json_object_array_get_idx(t.seen, i));
	}
	console->writer.pace = pace;
	if (console->follow)
		code = command_follow(console, FOLLOW_MS, tail_again, &t);
	(void)json_object_put(t.seen);
	return code;
}

int command_log(struct console *console, struct call *call)
{
	return tail(console, call, "GetLog");
}

int command_trace(struct console *console, struct call *call)
{
	return tail(console, call, "GetTrace");
}

int command_metrics(struct console *console, struct call *call)
{
	json_object *text = NULL;
	int code = console_connect(console);

	(void)call;
	if (code == 0)
		code = console_get(console, CLIENT_DIAGNOSIS, "GetMetrics", &text);
	if (code != 0)
		return code;
	if (console->writer.form == WRITER_JSON) {
		json_object *o = json_object_new_object();

		(void)json_object_object_add(o, "metrics", json_object_get(text));
		writer_json(&console->writer, o);
		(void)json_object_put(o);
	} else {
		(void)fputs(json_object_get_string(text), console->writer.out);
		(void)fflush(console->writer.out);
	}
	(void)json_object_put(text);
	return EXIT_DONE;
}

/* 0 or a negative errno. */
static int copy(int from, int to)
{
	char buffer[16384];

	for (;;) {
		ssize_t n = read(from, buffer, sizeof(buffer)), done = 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		while (done < n) {
			ssize_t written = write(to, buffer + done, (size_t)(n - done));

			if (written < 0 && errno != EINTR)
				return -errno;
			if (written > 0)
				done += written;
		}
	}
}

/* At a serial console nobody knows which folder is the current one. */
static int written(struct console *console, const char *file)
{
	char *path = realpath(file, NULL), *text = NULL;
	int code =
		asprintf(&text, "written to %s; there is nothing secret in it", path ? path : file);

	free(path);
	if (code < 0)
		return console_failed(console, EXIT_RETRY, "out of memory");
	code = command_done(console, text);
	free(text);
	return code;
}

int command_bundle(struct console *console, struct call *call)
{
	struct client_failure failure;
	sd_bus_message *reply;
	int from, to, r, code = console_connect(console);

	if (code != 0)
		return code;
	/* First, so that pngwd does not work in vain. An existing file is not overwritten. */
	to = open(call->word[0], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0)
		return console_failed(console, EXIT_REFUSED, "%s: %s", call->word[0],
				      strerror(errno));
	if (client_call(console->client,
			client_call_new(console->client, CLIENT_DIAGNOSIS, "Bundle"), &reply,
			&failure) != 0) {
		(void)close(to);
		(void)unlink(call->word[0]);
		return console_call_failed(console, &failure);
	}
	r = sd_bus_message_read(reply, "h", &from);
	if (r >= 0)
		r = copy(from, to);
	(void)sd_bus_message_unref(reply);
	if (close(to) != 0 && r >= 0)
		r = -errno;
	if (r < 0) {
		(void)unlink(call->word[0]);
		return console_failed(console, EXIT_RETRY, "%s: %s", call->word[0], strerror(-r));
	}
	return written(console, call->word[0]);
}
