/* pngwctl: the technician's console of a PN GW. */

#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "console/complete.h"
#include "console/console.h"
#include "console/man.h"
#include "console/serial.h"
#include "console/shell.h"
#include "console/signals.h"
#include "console/terminal.h"
#include "protocol/process.h"

static int run(struct console *console, const char *const *words, size_t count)
{
	struct call call = {.count = 0};
	char why[512];
	const char *bus;
	int code = command_parse(&call, words, count, true, why, sizeof(why));

	if (code != 0) {
		for (size_t i = 0; i < count && strcmp(words[i], "--") != 0; i++) {
			if (strcmp(words[i], "--json") == 0)
				console->writer.form = WRITER_JSON;
		}
		return console_failed(console, code, "%s", why);
	}
	if (call_option(&call, "--version")) {
		(void)puts("pngwctl " PACKAGE_VERSION);
		return EXIT_DONE;
	}
	bus = call_option(&call, "--bus");
	if (bus)
		console->bus = bus;
	console->paging = !call_option(&call, "--no-pager");
	console->login = call_option(&call, "--login") != NULL;
	console->pin_file = call_option(&call, "--pin-file");
	console->idle_ms = (int)call_number(&call, "--idle", 0) * 1000;
	if (call_option(&call, "--console") && call.command)
		return console_failed(console, EXIT_WRONG_USAGE,
				      "--console: it takes its commands from the line");
	if (call.command)
		return console_carry_out(console, &call);
	if (call_option(&call, "--help"))
		return command_help_of(console, NULL);
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return console_failed(
			console, EXIT_WRONG_USAGE,
			"which command? \"pngwctl help\" lists all; without one there is "
			"a shell, on a terminal");
	return call_option(&call, "--console") ? serial_run(console) : shell_run(console);
}

int main(int argc, char **argv)
{
	const char *bus = getenv("PNGW_BUS");
	struct console console = {.bus = bus && bus[0] ? bus : "system"};
	int code = EXIT_DONE;

	(void)setlocale(LC_CTYPE, "");
	process_keep_secrets();
	signals_setup();
	console.writer.out = stdout;
	console.writer.width = terminal_width(STDOUT_FILENO);
	console.writer.colour = terminal_has_colour(STDOUT_FILENO);
	if (argc > 1 && strcmp(argv[1], "--complete") == 0)
		code = complete_command_line(&console, (const char *const *)argv + 2,
					     (size_t)argc - 2);
	else if (argc == 2 && strcmp(argv[1], "--man") == 0)
		man_write(stdout);
	else
		code = run(&console, (const char *const *)argv + 1, (size_t)argc - 1);
	console_disconnect(&console);
	if (fflush(stdout) != 0 && code == EXIT_DONE)
		code = EXIT_RETRY;
	return code;
}
