#include "console/pager.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include "console/console.h"
#include "console/pace.h"
#include "console/signals.h"
#include "console/terminal.h"

#define CTRL_D 4
#define MORE   "-- more --"
#define HINT   " space: page, Enter: line, q: end"

enum wish { WISH_PAGE, WISH_LINE, WISH_END };

struct pager {
	struct console *console;
	FILE *terminal; /* what the writer wrote to before */
	FILE *out;      /* what it writes to now */
	char *kept;
	size_t size, room;
	unsigned width, lines; /* of the screen */
	unsigned line, column; /* lines that are full since the top, and where the next goes on */
	mbstate_t state;
	bool live;
};

static void measure(struct pager *p)
{
	p->width = terminal_width(STDOUT_FILENO);
	p->lines = terminal_height(STDOUT_FILENO);
}

/* The last line of the screen is the prompt's. */
static bool full(const struct pager *p)
{
	return p->line + 1 >= p->lines;
}

/* How many bytes of text the screen has room for; they count as shown. */
static size_t take(struct pager *p, const char *text, size_t size)
{
	size_t used = 0;

	while (used < size && !full(p)) {
		wchar_t c = L'\0';
		size_t n = mbrtowc(&c, text + used, size - used, &p->state);
		int columns = n > 0 && n <= size - used ? wcwidth(c) : 0;

		if (n == (size_t)-2)
			return size; /* the rest of that character comes with the next bytes */
		if (n == (size_t)-1)
			memset(&p->state, 0, sizeof(p->state));
		if (columns > 0 && p->column + (unsigned)columns > p->width) {
			p->line++;
			if (full(p))
				return used; /* the line goes on below the prompt */
			p->column = 0;
		}
		used += n > 0 && n <= size - used ? n : 1;
		if (c == L'\n') {
			p->line++;
			p->column = 0;
		} else if (columns > 0) {
			p->column += (unsigned)columns;
		}
	}
	return used;
}

static bool keep(struct pager *p, const char *text, size_t size)
{
	if (size > p->room - p->size) {
		size_t room = 2 * (p->size + size);
		char *kept = realloc(p->kept, room);

		if (!kept)
			return false;
		p->kept = kept;
		p->room = room;
	}
	memcpy(p->kept + p->size, text, size);
	p->size += size;
	return true;
}

static void show_kept(struct pager *p)
{
	if (p->size > 0)
		(void)fwrite(p->kept, 1, p->size, p->terminal);
	(void)fflush(p->terminal);
	p->size = 0;
}

static ssize_t written(void *cookie, const char *text, size_t size)
{
	struct pager *p = cookie;
	size_t at = p->live ? size : 0;

	/* Behind what is kept already comes what is kept now. */
	if (!p->live && p->size == 0)
		at = take(p, text, size);
	(void)fwrite(text, 1, at, p->terminal);
	(void)fflush(p->terminal);
	if (at < size && !keep(p, text + at, size - at)) {
		show_kept(p);
		(void)fwrite(text + at, 1, size - at, p->terminal);
		p->live = true;
	}
	return (ssize_t)size;
}

struct pager *pager_begin(struct console *console)
{
	static const cookie_io_functions_t functions = {.write = written};
	struct pager *p;

	if (!console->shell || !console->paging || console->writer.form != WRITER_TEXT ||
	    !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return NULL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->out = fopencookie(p, "w", functions);
	if (!p->out) {
		free(p);
		return NULL;
	}
	p->console = console;
	p->terminal = console->writer.out;
	measure(p);
	console->writer.out = p->out;
	console->writer.pager = p;
	return p;
}

void pager_live(struct pager *p)
{
	if (!p || p->live)
		return;
	(void)fflush(p->out);
	show_kept(p);
	p->live = true;
}

/* A key that means something; end: the input is over. */
static bool wish_of(char key, bool end, enum wish *out)
{
	if (end || key == 'q' || key == 'Q' || key == CTRL_D)
		*out = WISH_END;
	else if (key == ' ')
		*out = WISH_PAGE;
	else if (key == '\n' || key == '\r')
		*out = WISH_LINE;
	else
		return false;
	return true;
}

/* Reads a key where there is one; false: it means nothing, or there is none. */
static bool read_key(struct pager *p, bool *hinted, enum wish *out)
{
	char key = '\0';
	ssize_t n = read(terminal_input(), &key, 1);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return false;
	if (wish_of(key, n <= 0, out))
		return true;
	/* Once: a noisy line presses many. */
	if (!*hinted)
		(void)fputs(HINT, p->terminal);
	(void)fflush(p->terminal);
	*hinted = true;
	return false;
}

static enum wish wait_for_key(struct pager *p, bool *hinted)
{
	struct console *console = p->console;
	uint64_t since = pace_now_ms();

	for (;;) {
		int left = console_idle_left(console, since), r;
		enum wish wish;

		if (left == 0) {
			/* The shell says so, and ends. */
			console->idle = true;
			return WISH_END;
		}
		r = console_wait(console, terminal_input(), left);
		if (r < 0)
			return WISH_END; /* the bus is lost: the shell finds that out */
		if ((r & CLIENT_SIGNAL) && signals_resized())
			measure(p);
		if ((r & CLIENT_SIGNAL) && (signals_interrupted() || signals_ending()))
			return WISH_END;
		if ((r & CLIENT_INPUT) && read_key(p, hinted, &wish))
			return wish;
	}
}

/* Keys come one at a time, and are not shown; and no noise stops the line or the program. */
static bool take_keys(struct termios *saved)
{
	struct termios t;

	if (tcgetattr(STDIN_FILENO, saved) != 0)
		return false;
	t = *saved;
	t.c_iflag &= ~(tcflag_t)IXON;
	t.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ECHONL);
	t.c_lflag |= ISIG;
	t.c_cc[VSUSP] = _POSIX_VDISABLE;
	t.c_cc[VQUIT] = _POSIX_VDISABLE;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	return tcsetattr(STDIN_FILENO, TCSADRAIN, &t) == 0;
}

static enum wish ask(struct pager *p)
{
	struct termios saved;
	bool keys = take_keys(&saved), hinted = false;
	enum wish wish = WISH_END;

	(void)fputs(p->column > 0 ? "\n" MORE : MORE, p->terminal);
	(void)fflush(p->terminal);
	if (keys)
		wish = wait_for_key(p, &hinted);
	if (terminal_erases(STDOUT_FILENO))
		(void)fputs("\r\033[K", p->terminal);
	else
		(void)fprintf(p->terminal, "\r%*s\r",
			      (int)(strlen(MORE) + (hinted ? strlen(HINT) : 0)), "");
	(void)fflush(p->terminal);
	if (keys)
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &saved);
	return wish;
}

static void show_rest(struct pager *p)
{
	size_t at = 0;

	while (at < p->size) {
		enum wish wish = ask(p);
		size_t n;

		if (wish == WISH_END)
			return;
		p->line = wish == WISH_LINE && p->lines > 2 ? p->lines - 2 : 0;
		p->column = 0;
		n = take(p, p->kept + at, p->size - at);
		(void)fwrite(p->kept + at, 1, n, p->terminal);
		(void)fflush(p->terminal);
		at += n;
	}
}

void pager_end(struct pager *p)
{
	if (!p)
		return;
	(void)fclose(p->out);
	show_rest(p);
	p->console->writer.out = p->terminal;
	p->console->writer.pager = NULL;
	free(p->kept);
	free(p);
}
