/* The commands about who may: roles and their PINs. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "console/command-internal.h"
#include "console/entry.h"

int console_login_with(struct console *console, const struct secret *pin, json_object **role)
{
	sd_bus_message *m;
	int fd = entry_pipe(pin);

	if (fd < 0)
		return console_failed(console, EXIT_RETRY, "%s", strerror(-fd));
	m = client_call_new(console->client, CLIENT_SESSION, "Login");
	if (m)
		(void)sd_bus_message_append(m, "ha{sv}", fd, 0);
	(void)close(fd);
	return command_call(console, m, role);
}

/* Logs in with what was typed. *role: to be dropped. */
static int login(struct console *console, const char *file, json_object **role)
{
	struct secret *typed = NULL;
	int code = console_secret(console, "PIN or passphrase: ", file, &typed);

	if (code == 0)
		code = console_login_with(console, typed, role);
	secret_unref(typed);
	return code;
}

int console_login(struct console *console)
{
	json_object *role = NULL;
	int code = login(console, console->pin_file, &role);

	if (code == 0)
		(void)json_object_put(role);
	return code;
}

int command_login(struct console *console, struct call *call)
{
	json_object *role = NULL, *o;
	int code = console_connect(console);

	(void)call;
	/* It was asked for by --login or --pin-file already. */
	if (code != 0 || ((console->login || console->pin_file) && !console->shell))
		return code;
	code = login(console, NULL, &role);
	if (code != 0)
		return code;
	if (console->writer.form == WRITER_TEXT) {
		writer_say(&console->writer, "logged in as %s", json_object_get_string(role));
		if (!console->shell)
			writer_say(&console->writer, "it ends with this command: see --login");
		(void)json_object_put(role);
		return EXIT_DONE;
	}
	o = json_object_new_object();
	(void)json_object_object_add(o, "role", role);
	writer_record(&console->writer, NULL, o);
	(void)json_object_put(o);
	return EXIT_DONE;
}

int command_logout(struct console *console, struct call *call)
{
	int code = console_connect(console);

	(void)call;
	if (code == 0)
		code = command_call(
			console, client_call_new(console->client, CLIENT_SESSION, "Logout"), NULL);
	if (code == 0 && console->serial) {
		console->leaving = true;
		return code;
	}
	return code != 0 ? code : command_done(console, "logged out");
}

int command_whoami(struct console *console, struct call *call)
{
	static const struct column columns[] = {
		{"role", "role", COLUMN_PLAIN},
		{"rights", "rights", COLUMN_PLAIN},
		{NULL, NULL, COLUMN_PLAIN},
	};

	(void)call;
	return command_record(console, CLIENT_SESSION, "WhoAmI", columns);
}

int command_set_pin(struct console *console, struct call *call)
{
	bool removes = call_option(call, "--remove") != NULL;
	struct secret *first = NULL, *second = NULL;
	sd_bus_message *m;
	int fd = -1, code = console_connect(console);

	if (code == 0 && !removes) {
		code = console_secret(console, "New PIN or passphrase: ", console->password_file,
				      &first);
		/* Twice where it is typed unseen. */
		if (code == 0 && !console->password_file && isatty(STDIN_FILENO))
			code = console_secret(console, "The same again: ", NULL, &second);
		if (code == 0 && second && !secret_equal(first, second))
			code = console_failed(console, EXIT_REFUSED,
					      "the two are not the same: nothing was changed");
	}
	if (code == 0) {
		fd = first ? entry_pipe(first) : entry_pipe_text("");
		if (fd < 0)
			code = console_failed(console, EXIT_RETRY, "%s", strerror(-fd));
	}
	secret_unref(first);
	secret_unref(second);
	if (code != 0)
		return code;
	m = client_call_new(console->client, CLIENT_SESSION, "SetPin");
	if (m)
		(void)sd_bus_message_append(m, "sh", call->word[0], fd);
	(void)close(fd);
	code = command_call(console, m, NULL);
	return code != 0 ? code : command_done(console, removes ? "removed" : "set");
}
