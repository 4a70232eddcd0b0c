#include "console/serial.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <utf8proc.h>

#include "console/pace.h"
#include "console/shell.h"
#include "console/signals.h"

#define IDLE_DEFAULT 300 /* seconds */
#define PIN_WAIT_MS  60000
#define PAUSE_MS     1000 /* after a wrong PIN */
#define TRIES        3
#define AGAIN        (-1)
#define PIN_MIN      4 /* as pngwd has it */

bool serial_takes(wchar_t c)
{
	static const wchar_t controls[] =
		L"\x01\x02\x04\x05\x06\b\t\n\v\f\r\x0e\x10\x12\x15\x17\x1b\x7f";

	return c >= L' ' ? c != 0x7f || wcschr(controls, c) : c != 0 && wcschr(controls, c) != NULL;
}

/* What is noise on the line stays there. Nobody stops the output: who would start it again? */
static void quiet_line(struct termios *before)
{
	struct termios t;

	if (tcgetattr(STDIN_FILENO, before) != 0)
		return;
	t = *before;
	t.c_iflag |= IGNBRK | IGNPAR | INPCK | ICRNL;
	t.c_iflag &= ~(tcflag_t)(BRKINT | PARMRK | IXON | IXOFF | INLCR | IGNCR);
	t.c_oflag |= OPOST | ONLCR;
	t.c_lflag |= ISIG | ICANON | ECHO | ECHOE | ECHOK;
	t.c_cc[VSUSP] = _POSIX_VDISABLE;
	t.c_cc[VQUIT] = _POSIX_VDISABLE;
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

/* Noise is none, unless it happens to be text. */
static bool may_be_pin(const struct secret *typed)
{
	struct bytes b = secret_bytes(typed);
	size_t used = 0;

	while (used < b.size) {
		utf8proc_int32_t c;
		utf8proc_ssize_t n =
			utf8proc_iterate(b.data + used, (utf8proc_ssize_t)(b.size - used), &c);
		if (n < 0 || c < 0x20 || (c >= 0x7f && c < 0xa0))
			return false;
		used += (size_t)n;
	}
	return b.size >= PIN_MIN;
}

/* 0: logged in; AGAIN: not yet; else the exit code of the session. */
static int try_login(struct console *console, unsigned *wrong)
{
	struct secret *typed = NULL;
	json_object *role = NULL;
	int r, code;

	r = console_entry(console, "PN GW console: press Enter to log in", true, -1, &typed);
	secret_clear(&typed);
	if (r < 0)
		return r == -EINTR && !signals_ending() ? AGAIN : EXIT_RETRY;
	if (console_connect(console) != 0)
		return AGAIN;
	r = console_entry(console, "PIN or passphrase: ", true, PIN_WAIT_MS, &typed);
	if (r < 0 || !typed)
		return r == -ENODATA || r == -EIO || signals_ending() ? EXIT_RETRY : AGAIN;
	if (!may_be_pin(typed)) {
		secret_clear(&typed);
		writer_say(&console->writer, "that is no PIN");
		return AGAIN;
	}
	code = console_login_with(console, typed, &role);
	secret_clear(&typed);
	if (code == 0) {
		writer_say(&console->writer, "logged in as %s", json_object_get_string(role));
		(void)json_object_put(role);
		return 0;
	}
	(void)signals_wait(NULL, 0, PAUSE_MS);
	return ++*wrong < TRIES ? AGAIN : code;
}

static int session(struct console *console)
{
	unsigned wrong = 0;
	int code = AGAIN;

	while (code == AGAIN && !signals_ending())
		code = try_login(console, &wrong);
	if (code != 0)
		return code == AGAIN ? EXIT_RETRY : code;
	code = shell_run(console);
	writer_say(&console->writer, "logged out");
	return code;
}

int serial_run(struct console *console)
{
	struct termios before;
	struct pace pace;
	int code;

	/* Who comes next does not see what was typed before. */
	(void)setenv("PNGW_HISTORY", "", 1);
	(void)signal(SIGQUIT, SIG_IGN);
	(void)signal(SIGTSTP, SIG_IGN);
	console->serial = true;
	if (console->idle_ms == 0)
		console->idle_ms = IDLE_DEFAULT * 1000;
	quiet_line(&before);
	if (pace_begin(&pace, STDOUT_FILENO))
		console->writer.pace = &pace;
	code = session(console);
	console->writer.pace = NULL;
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
	return code;
}
