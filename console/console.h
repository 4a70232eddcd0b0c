#ifndef PNGW_CONSOLE_CONSOLE_H
#define PNGW_CONSOLE_CONSOLE_H

/*
 * What a command has at hand: the way to pngwd, the writer, who asks the person. One for the whole
 * program; commands are carried out one after the other, on one thread.
 */

#include "console/agent.h"
#include "console/client.h"
#include "console/command.h"
#include "console/writer.h"
#include "protocol/secret.h"

struct console {
	struct client *client; /* NULL: not connected yet */
	struct agent *agent;
	struct writer writer;
	const char *bus;      /* "system", "session", an address */
	const char *pin_file; /* NULL, or whose first line is the PIN of a role */
	bool login;           /* a role's PIN is asked for once connected */
	bool shell;           /* a person is at it, line after line */
	bool paging;          /* long answers by the page: see console/pager.h */
	bool leaving;         /* the shell is to end */
	bool idle;            /* nothing was typed for too long: so it is */
	bool serial;          /* see console/serial.h */
	int idle_ms;          /* after that long without a key a session is over; 0: never */
	json_object *told;    /* NULL, or the sentences of verdicts that procedures here came to */
	char verdict[40];     /* the id of the last one that a procedure here came to */
	/* Of the command that is being carried out. */
	bool follow, no_wait;
	const char *password_file;
};

/* Connects unless it is, logs in if that is wanted. 0, or an exit code after it was said why. */
int console_connect(struct console *console);
void console_disconnect(struct console *console);
/* Asks for a role's PIN, or reads it from pin_file, and logs in. 0 or an exit code, after it was
 * said. */
int console_login(struct console *console);
/* Logs in with it. *role (may be NULL): its name, to be dropped. 0 or an exit code, after it was
 * said. */
int console_login_with(struct console *console, const struct secret *pin, json_object **role);
/* Carries out what was parsed, shows help where that is no command; an exit code. */
int console_carry_out(struct console *console, struct call *call);

/* Says on stderr what is wrong; with JSON on stdout too. Returns code. */
int console_failed(struct console *console, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same of a call that failed. */
int console_call_failed(struct console *console, const struct client_failure *failure);

/*
 * The secret that is asked for as prompt: from file unless NULL, else typed without echo, else the
 * first line of standard input. 0 and *out, or an exit code after it was said why. why_not is the
 * connection's end while it waits.
 */
int console_secret(struct console *console, const char *prompt, const char *file,
		   struct secret **out);

/* Serves the bus or waits, as client_turn(), also where there is no connection. */
int console_wait(struct console *console, int fd, int wait_ms);

/*
 * A line that is asked for as prompt, without echo when hidden: 0 and *out, NULL where the line was
 * empty; -EINTR: Ctrl-C, or the program is to end; -ENODATA: the input has ended; -ETIME: nothing
 * came for wait_ms (-1: for ever); another negative errno. Nothing is said.
 */
int console_entry(struct console *console, const char *prompt, bool hidden, int wait_ms,
		  struct secret **out);

/* How many ms are left of idle_ms, of what has begun at since (pace.h); 0: none, -1: no limit. */
int console_idle_left(const struct console *console, uint64_t since);

/* Calls a method without input and decodes what it returns. 0 or an exit code, after it was said.
 */
int console_get(struct console *console, enum client_object object, const char *method,
		json_object **out);

/* The same of a reply, which it drops. */
int console_decode(struct console *console, sd_bus_message *reply, json_object **out);

/* Help of one command, of all when it is NULL. */
int command_help_of(struct console *console, const struct command *command);

#define COMMAND(name, function, arguments, options, meaning, examples) \
	int command_##function(struct console *console, struct call *call);
#define GROUP(title)
#define ALIAS(name, of)
#include "console/commands.def"
#undef COMMAND
#undef GROUP
#undef ALIAS

#endif
