#include "console/shell.h"

#include <errno.h>
#include <histedit.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "console/complete.h"
#include "console/history.h"
#include "console/news.h"
#include "console/pace.h"
#include "console/serial.h"
#include "console/signals.h"
#include "console/terminal.h"

#define CTRL_D    4
#define WRONG_MAX 8 /* lines in a row, on a serial line */

struct shell {
	struct console *console;
	EditLine *editor;
	Tokenizer *tokenizer;
	struct line_history history;
	struct news *news;
	bool editing; /* a line is being typed */
	bool erases;  /* the terminal can erase it, to say something */
	bool interrupted;
	int ahead;      /* bytes typed before this line was asked for; -1: not counted yet */
	unsigned wrong; /* lines in a row that were no command */
	mbstate_t input;
};

static char *prompt(EditLine *editor)
{
	static char text[] = "pngw> ";

	(void)editor;
	return text;
}

static struct shell *shell_of(EditLine *editor)
{
	struct shell *s = NULL;

	(void)el_get(editor, EL_CLIENTDATA, &s);
	return s;
}

/* Makes room above the line that is being typed, and puts it back. */
static void news_begin(void *arg)
{
	struct shell *s = arg;

	if (s->editing)
		(void)fputs(s->erases ? "\r\033[K" : "\n", s->console->writer.out);
}

static void news_end(void *arg)
{
	struct shell *s = arg;

	(void)fflush(s->console->writer.out);
	if (s->editing)
		(void)el_set(s->editor, EL_REFRESH);
}

/*
 * While a command runs, the terminal collects lines, and keeps a Ctrl-D as a NUL: the editor would
 * take that for "quote what comes next".
 */
static char typed_ahead(struct shell *s, char byte)
{
	if (s->ahead <= 0)
		return byte;
	s->ahead--;
	return byte ? byte : CTRL_D;
}

/* One byte of what is typed; 1: *c is complete, 0: not yet, -1: the end. */
static int take_byte(struct shell *s, wchar_t *c)
{
	char byte;
	ssize_t n;
	size_t r;

	if (s->ahead < 0 && ioctl(terminal_input(), FIONREAD, &s->ahead) != 0)
		s->ahead = 0;
	n = read(terminal_input(), &byte, 1);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0)
		return -1;
	byte = typed_ahead(s, byte);
	r = mbrtowc(c, &byte, 1, &s->input);
	if (r == (size_t)-2)
		return 0;
	if (r == (size_t)-1) {
		memset(&s->input, 0, sizeof(s->input));
		return 0;
	}
	if (r == 0)
		*c = L'\0';
	return s->console->serial && !serial_takes(*c) ? 0 : 1;
}

static int wait_for_input(struct shell *s, int timeout)
{
	struct pollfd fd = {.fd = terminal_input(), .events = POLLIN};
	int r;

	if (s->console->client) {
		r = client_turn(s->console->client, fd.fd, timeout);
		if (r >= 0)
			return r;
		news_begin(s);
		(void)console_failed(s->console, EXIT_RETRY,
				     "the connection to the bus is lost: %s", strerror(-r));
		console_disconnect(s->console);
		news_end(s);
		/* The role went with it. */
		s->console->leaving = s->console->serial;
		return 0;
	}
	r = signals_wait(&fd, 1, timeout);
	return r < 0 ? CLIENT_SIGNAL : r == 0 ? CLIENT_TIMEOUT : CLIENT_INPUT;
}

/* The editor's function for a character. */
static int get_char(EditLine *editor, wchar_t *c)
{
	struct shell *s = shell_of(editor);
	uint64_t since = pace_now_ms();

	for (;;) {
		int left = console_idle_left(s->console, since), r;

		s->console->idle = left == 0;
		if (s->console->idle || s->console->leaving) {
			errno = EINTR;
			return -1;
		}
		r = wait_for_input(s, left);

		if (r & CLIENT_SIGNAL) {
			if (signals_resized()) {
				el_resize(editor);
				s->console->writer.width = terminal_width(STDOUT_FILENO);
			}
			s->interrupted = signals_interrupted();
			if (s->interrupted || signals_ending()) {
				errno = EINTR;
				return -1;
			}
		}
		if (r & CLIENT_INPUT) {
			r = take_byte(s, c);
			if (r != 0)
				return r < 0 ? 0 : 1;
		}
	}
}

/* Completion. */

struct candidates {
	char **word;
	size_t count, room;
};

static void add_candidate(void *arg, const char *word)
{
	struct candidates *c = arg;

	for (size_t i = 0; i < c->count; i++) {
		if (strcmp(c->word[i], word) == 0)
			return;
	}
	if (c->count == c->room) {
		size_t room = c->room ? 2 * c->room : 32;
		char **words = realloc(c->word, room * sizeof(*words));

		if (!words)
			return;
		c->word = words;
		c->room = room;
	}
	c->word[c->count] = strdup(word);
	if (c->word[c->count])
		c->count++;
}

static void drop_candidates(struct candidates *c)
{
	for (size_t i = 0; i < c->count; i++)
		free(c->word[i]);
	free(c->word);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* How many letters all of them begin with. */
static size_t common_size(const struct candidates *c)
{
	size_t size = strlen(c->word[0]);

	for (size_t i = 1; i < c->count; i++) {
		size_t n = 0;

		while (n < size && c->word[i][n] == c->word[0][n])
			n++;
		size = n;
	}
	return size;
}

/* As the tokenizer takes it apart again. */
static void insert(EditLine *editor, const char *text, size_t size, bool whole)
{
	char *quoted = malloc(2 * size + 2);
	size_t used = 0;

	if (!quoted)
		return;
	for (size_t i = 0; i < size; i++) {
		if (strchr(" \t\"'\\", text[i]))
			quoted[used++] = '\\';
		quoted[used++] = text[i];
	}
	if (whole)
		quoted[used++] = ' ';
	quoted[used] = '\0';
	(void)el_insertstr(editor, quoted);
	free(quoted);
}

static void list_candidates(struct shell *s, struct candidates *c)
{
	FILE *out = s->console->writer.out;
	unsigned widest = 0, across, line;

	qsort(c->word, c->count, sizeof(*c->word), by_text);
	for (size_t i = 0; i < c->count; i++) {
		if (writer_width(c->word[i]) > widest)
			widest = writer_width(c->word[i]);
	}
	widest += 2;
	across = s->console->writer.width > widest ? (s->console->writer.width - 1) / widest : 1;
	line = (unsigned)((c->count + across - 1) / across);
	(void)fputc('\n', out);
	for (unsigned row = 0; row < line; row++) {
		for (size_t i = row; i < c->count; i += line) {
			bool last = i + line >= c->count;

			(void)fprintf(out, "%s%*s", c->word[i],
				      last ? 0 : (int)(widest - writer_width(c->word[i])), "");
		}
		(void)fputc('\n', out);
	}
	(void)fflush(out);
}

static unsigned char complete_word(EditLine *editor, int key)
{
	struct shell *s = shell_of(editor);
	const LineInfo *line = el_line(editor);
	struct candidates c = {.word = NULL};
	const char **words;
	char *typed;
	int count, at, offset;
	unsigned char result = CC_ERROR;
	size_t common;

	(void)key;
	tok_reset(s->tokenizer);
	if (tok_line(s->tokenizer, line, &count, &words, &at, &offset) != 0)
		return CC_ERROR;
	typed = at < count ? strndup(words[at], (size_t)offset) : strdup("");
	if (!typed)
		return CC_ERROR;
	(void)complete(s->console, words, (size_t)at, typed, add_candidate, &c);
	if (c.count > 0) {
		common = common_size(&c);
		if (common > strlen(typed) || c.count == 1) {
			insert(editor, c.word[0] + strlen(typed), common - strlen(typed),
			       c.count == 1);
			result = CC_REFRESH;
		} else {
			list_candidates(s, &c);
			(void)el_set(editor, EL_REFRESH);
			result = CC_NORM;
		}
	}
	drop_candidates(&c);
	free(typed);
	return result;
}

/* Lines. */

int command_pager(struct console *console, struct call *call)
{
	if (!console->shell)
		return console_failed(console, EXIT_WRONG_USAGE, "pager: only the shell has one");
	if (call->count > 0)
		console->paging = strcmp(call->word[0], "on") == 0;
	writer_say(&console->writer, "the pager is %s", console->paging ? "on" : "off");
	return EXIT_DONE;
}

int command_exit(struct console *console, struct call *call)
{
	(void)call;
	console->leaving = true;
	return EXIT_DONE;
}

static int take_line(struct shell *s, const char *text)
{
	struct call call = {.count = 0};
	const char **words;
	char why[512], *line = strndup(text, strcspn(text, "\n"));
	int count, r, code;

	if (!line)
		return EXIT_RETRY;
	tok_reset(s->tokenizer);
	r = tok_str(s->tokenizer, line, &count, &words);
	if (r != 0) {
		free(line);
		return console_failed(s->console, EXIT_WRONG_USAGE, "a quote is not closed");
	}
	if (count == 0) {
		free(line);
		return EXIT_DONE;
	}
	code = command_parse(&call, words, (size_t)count, false, why, sizeof(why));
	if (code == 0) {
		if (call.command)
			history_add(&s->history, line);
		code = console_carry_out(s->console, &call);
	} else {
		(void)console_failed(s->console, code, "%s", why);
	}
	free(line);
	/* What was meant for the command that is over. */
	(void)signals_interrupted();
	return code;
}

static void greet(struct shell *s)
{
	struct console *console = s->console;
	struct client_failure failure;

	writer_say(&console->writer,
		   "pngwctl: \"help\" lists the commands, Tab completes, Ctrl-D leaves");
	if (console_connect(console) != 0)
		return;
	if (!client_service(console->client)[0])
		writer_say(&console->writer, "the PN GW is not on the bus (%s)", console->bus);
	else if (agent_register(console->agent, true, &failure) != 0)
		(void)console_call_failed(console, &failure);
}

/* The terminal may have been made another size while a command ran. */
static void fit(struct shell *s)
{
	unsigned width = terminal_width(STDOUT_FILENO);

	if (width != s->console->writer.width)
		el_resize(s->editor);
	s->console->writer.width = width;
}

static int lines(struct shell *s)
{
	int code = EXIT_DONE;

	while (!s->console->leaving && !signals_ending()) {
		const char *line;
		int size = 0;

		if (s->console->client)
			news_listen(s->news);
		news_flush(s->news);
		fit(s);
		s->editing = true;
		s->ahead = -1;
		line = el_gets(s->editor, &size);
		s->editing = false;
		if (line && size > 0) {
			news_hold(s->news);
			code = take_line(s, line);
			s->wrong = code == EXIT_WRONG_USAGE ? s->wrong + 1 : 0;
			if (s->console->serial && s->wrong == WRONG_MAX) {
				writer_say(&s->console->writer, "too much that is no command");
				break;
			}
		} else {
			(void)fputs("\n", s->console->writer.out);
			if (!s->console->idle && !s->interrupted)
				break;
		}
		if (s->console->idle) {
			writer_say(&s->console->writer, "nothing was typed for %d s",
				   s->console->idle_ms / 1000);
			break;
		}
		s->interrupted = false;
	}
	return code;
}

static int set_up(struct shell *s)
{
	s->tokenizer = tok_init(NULL);
	s->editor = el_init("pngwctl", stdin, stdout, stderr);
	if (!s->tokenizer || !s->editor || history_open(&s->history) != 0)
		return -ENOMEM;
	s->news = news_new(s->console, news_begin, news_end, s);
	if (!s->news)
		return -ENOMEM;
	(void)el_set(s->editor, EL_CLIENTDATA, s);
	(void)el_set(s->editor, EL_PROMPT, prompt);
	(void)el_set(s->editor, EL_EDITOR, "emacs");
	(void)el_set(s->editor, EL_SIGNAL, 0);
	(void)el_set(s->editor, EL_GETCFN, get_char);
	(void)el_set(s->editor, EL_HIST, history, s->history.lines);
	(void)el_set(s->editor, EL_ADDFN, "complete", "completes the word", complete_word);
	(void)el_set(s->editor, EL_BIND, "^I", "complete", NULL);
	if (s->console->serial)
		(void)el_set(s->editor, EL_SETTY, "-d", "+noflsh", "stop=", "start=", "-ixon",
			     NULL);
	return 0;
}

int shell_run(struct console *console)
{
	struct shell s = {.console = console, .erases = terminal_erases(STDOUT_FILENO)};
	int code = EXIT_RETRY;

	console->shell = true;
	console->told = json_object_new_array();
	if (set_up(&s) == 0) {
		greet(&s);
		code = lines(&s);
	} else {
		(void)console_failed(console, EXIT_RETRY, "out of memory");
	}
	if (console->client)
		client_listen(console->client, &(const struct client_events){NULL, NULL, NULL});
	news_free(s.news);
	if (s.history.lines)
		history_close(&s.history);
	if (s.editor)
		el_end(s.editor);
	if (s.tokenizer)
		tok_end(s.tokenizer);
	(void)json_object_put(console->told);
	console->told = NULL;
	return code;
}
