#include "console/history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINES_MAX 500
#define FILE_MAX  (256 * 1024) /* it is shortened then */

static void find_path(struct line_history *h)
{
	const char *own = getenv("PNGW_HISTORY"), *state = getenv("XDG_STATE_HOME"),
		   *home = getenv("HOME");
	int n = 0;

	if (own)
		n = snprintf(h->path, sizeof(h->path), "%s", own);
	else if (state && state[0] == '/')
		n = snprintf(h->path, sizeof(h->path), "%s/pngwctl.history", state);
	else if (home && home[0] == '/')
		n = snprintf(h->path, sizeof(h->path), "%s/.pngwctl_history", home);
	if (n < 0 || (size_t)n >= sizeof(h->path))
		h->path[0] = '\0';
}

/* Only a file of one's own; links are not followed. */
static int open_file(const struct line_history *h, int flags)
{
	return h->path[0] ? open(h->path, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600) : -1;
}

static void write_line(int fd, const char *line)
{
	char text[1100];
	int n = snprintf(text, sizeof(text), "%s\n", line);

	/* History is a convenience: a full disk costs a line of it. */
	if (n > 0 && (size_t)n < sizeof(text) && write(fd, text, (size_t)n) != n)
		(void)fputs("the history cannot be written\n", stderr);
}

/* Writes what is remembered over the file, the oldest first. */
static void shorten(struct line_history *h)
{
	int fd = open_file(h, O_WRONLY | O_TRUNC);
	HistEvent e;

	for (int r = history(h->lines, &e, H_LAST); fd >= 0 && r >= 0;
	     r = history(h->lines, &e, H_PREV))
		write_line(fd, e.str);
	if (fd >= 0)
		(void)close(fd);
}

static void load(struct line_history *h)
{
	int fd = open_file(h, O_RDONLY);
	FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
	char *line = NULL;
	size_t room = 0;
	ssize_t size;
	HistEvent e;

	if (!file) {
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	while ((size = getline(&line, &room, file)) > 0) {
		line[size - 1] = '\0';
		if (line[0])
			(void)history(h->lines, &e, H_ENTER, line);
	}
	if (ftell(file) > FILE_MAX)
		shorten(h);
	free(line);
	(void)fclose(file);
}

int history_open(struct line_history *h)
{
	HistEvent e;

	h->lines = history_init();
	if (!h->lines)
		return -ENOMEM;
	(void)history(h->lines, &e, H_SETSIZE, LINES_MAX);
	(void)history(h->lines, &e, H_SETUNIQUE, 1);
	find_path(h);
	load(h);
	return 0;
}

void history_close(struct line_history *h)
{
	history_end(h->lines);
}

void history_add(struct line_history *h, const char *line)
{
	HistEvent e;
	int fd;

	(void)history(h->lines, &e, H_ENTER, line);
	fd = open_file(h, O_WRONLY | O_APPEND | O_CREAT);
	if (fd < 0)
		return;
	write_line(fd, line);
	(void)close(fd);
}
