#include "console/console.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "console/entry.h"
#include "console/pace.h"
#include "console/pager.h"
#include "console/signals.h"

/* With JSON a script finds the failure where it looks for the answer. */
static void failure_json(const struct console *console, int code, const char *name,
			 const char *message)
{
	json_object *o = json_object_new_object();
	const char *result = code == EXIT_RETRY     ? "retry"
			     : code == EXIT_REFUSED ? "refused"
						    : "usage";

	(void)json_object_object_add(o, "result", json_object_new_string(result));
	(void)json_object_object_add(o, "error", json_object_new_string(name));
	(void)json_object_object_add(o, "message", json_object_new_string(message));
	writer_event(&console->writer, "failed", o, "", 0, MARK_NONE);
	if (!console->writer.stream)
		writer_json(&console->writer, o);
	(void)json_object_put(o);
}

static void say_failure(struct console *console, int code, const char *name, const char *message)
{
	char *clean = writer_clean(message);
	const char *prefix = console->shell ? "" : "pngwctl: ";

	if (console->writer.form == WRITER_JSON)
		failure_json(console, code, name, message);
	pager_live(console->writer.pager);
	(void)fflush(console->writer.out);
	(void)fputs(prefix, stderr);
	writer_wrap(stderr, clean ? clean : message, console->writer.width,
		    (unsigned)strlen(prefix), 2);
	(void)fputc('\n', stderr);
	free(clean);
}

int console_failed(struct console *console, int code, const char *format, ...)
{
	va_list arguments;
	char *text = NULL;
	int n;

	va_start(arguments, format);
	n = vasprintf(&text, format, arguments);
	va_end(arguments);
	say_failure(console, code, "", n < 0 ? format : text);
	if (n >= 0)
		free(text);
	return code;
}

int console_call_failed(struct console *console, const struct client_failure *failure)
{
	say_failure(console, failure->code, failure->name, failure->message);
	return failure->code;
}

int console_wait(struct console *console, int fd, int wait_ms)
{
	struct pollfd input = {.fd = fd, .events = POLLIN};
	int r;

	if (console->client)
		return client_turn(console->client, fd, wait_ms);
	r = signals_wait(&input, 1, wait_ms);
	return r < 0 ? CLIENT_SIGNAL : r == 0 ? CLIENT_TIMEOUT : CLIENT_INPUT;
}

int console_entry(struct console *console, const char *prompt, bool hidden, int wait_ms,
		  struct secret **out)
{
	int r;

	pager_live(console->writer.pager);
	r = entry_begin(prompt, hidden);
	while (r == 0) {
		int turn = console_wait(console, entry_fd(), wait_ms);

		if (turn < 0)
			r = turn;
		else if ((turn & CLIENT_SIGNAL) && (signals_interrupted() || signals_ending()))
			r = -EINTR;
		else if (turn & CLIENT_INPUT)
			r = entry_read();
		else if (turn & CLIENT_TIMEOUT)
			r = -ETIME;
		(void)signals_resized();
	}
	if (r < 0) {
		entry_abort();
		return r;
	}
	*out = entry_take();
	return 0;
}

int console_secret(struct console *console, const char *prompt, const char *file,
		   struct secret **out)
{
	char why[512];
	int r;

	if (file) {
		if (entry_file(file, out, why, sizeof(why)) == 0)
			return 0;
		return console_failed(console, EXIT_REFUSED, "%s", why);
	}
	r = console_entry(console, prompt, true, console->idle_ms > 0 ? console->idle_ms : -1, out);
	if (r < 0)
		return console_failed(console, EXIT_RETRY, "%s",
				      r == -EINTR                    ? "interrupted"
				      : r == -ENODATA || r == -ETIME ? "nothing was entered"
								     : strerror(-r));
	if (!*out)
		return console_failed(console, EXIT_REFUSED, "nothing was entered");
	return 0;
}

int console_idle_left(const struct console *console, uint64_t since)
{
	uint64_t passed = pace_now_ms() - since;

	if (console->idle_ms == 0)
		return -1;
	return passed < (uint64_t)console->idle_ms ? console->idle_ms - (int)passed : 0;
}

int console_get(struct console *console, enum client_object object, const char *method,
		json_object **out)
{
	struct client_failure failure;
	sd_bus_message *reply;

	if (client_call(console->client, client_call_new(console->client, object, method), &reply,
			&failure) != 0)
		return console_call_failed(console, &failure);
	return console_decode(console, reply, out);
}

int console_decode(struct console *console, sd_bus_message *reply, json_object **out)
{
	*out = client_decode(reply);
	(void)sd_bus_message_unref(reply);
	if (!*out)
		return console_failed(console, EXIT_RETRY, "the PN GW's answer is not understood");
	return 0;
}

int console_connect(struct console *console)
{
	char why[512];
	int r;

	if (console->client && sd_bus_is_open(client_bus(console->client)) > 0)
		return 0;
	console_disconnect(console);
	if (client_open(console->bus, &console->client, why, sizeof(why)) != 0)
		return console_failed(console, EXIT_RETRY, "%s", why);
	r = agent_new(console->client, &console->writer, &console->agent);
	if (r < 0) {
		console_disconnect(console);
		return console_failed(console, EXIT_RETRY, "%s", strerror(-r));
	}
	return console->login || console->pin_file ? console_login(console) : 0;
}

void console_disconnect(struct console *console)
{
	agent_free(console->agent);
	console->agent = NULL;
	client_close(console->client);
	console->client = NULL;
}

int console_carry_out(struct console *console, struct call *call)
{
	struct writer writer = console->writer;
	struct pager *pager = NULL;
	int code;

	if (call_option(call, "--json"))
		console->writer.form = WRITER_JSON;
	else if (call_option(call, "--kv"))
		console->writer.form = WRITER_KV;
	console->follow = call_option(call, "--follow") != NULL;
	console->no_wait = call_option(call, "--no-wait") != NULL;
	console->password_file = call_option(call, "--password-file");
	console->writer.stream = console->follow;
	if (!console->follow && !call_option(call, "--no-pager"))
		pager = pager_begin(console);
	if (!call->command || call_option(call, "--help"))
		code = command_help_of(console, call->command);
	else
		code = call->command->carry_out(console, call);
	pager_end(pager);
	console->writer = writer;
	return code;
}
