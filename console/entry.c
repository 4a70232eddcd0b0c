#include "console/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "console/terminal.h"

static struct {
	struct secret *line;
	size_t size;
	bool active, hidden, terminal;
	struct termios saved;
} entry;

bool entry_active(void)
{
	return entry.active;
}

int entry_fd(void)
{
	return entry.active ? terminal_input() : -1;
}

/* The end of a line on the terminal that the person's own newline did not make. */
static void over(bool aborted)
{
	if (entry.active && entry.terminal) {
		(void)tcsetattr(STDIN_FILENO, aborted ? TCSAFLUSH : TCSANOW, &entry.saved);
		if (entry.hidden || aborted)
			(void)fputc('\n', stderr);
	}
	entry.active = false;
}

int entry_begin(const char *prompt, bool hidden)
{
	entry_abort();
	entry.line = secret_new(ENTRY_SIZE);
	if (!entry.line)
		return -ENOMEM;
	entry.size = 0;
	entry.hidden = hidden;
	entry.terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &entry.saved) == 0;
	entry.active = true;
	if (entry.terminal) {
		struct termios t = entry.saved;

		/* A line at a time, so that it can be corrected; not stopped in the middle. */
		t.c_lflag |= ICANON | ISIG;
		if (hidden)
			t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
		t.c_cc[VSUSP] = _POSIX_VDISABLE;
		t.c_cc[VQUIT] = _POSIX_VDISABLE;
		(void)tcsetattr(STDIN_FILENO, hidden ? TCSAFLUSH : TCSADRAIN, &t);
		(void)fputs(prompt, stderr);
		(void)fflush(stderr);
	}
	return 0;
}

/* One byte: what follows the line belongs to the next one. */
static int take_byte(int fd, struct secret *line, size_t *size)
{
	uint8_t *at = secret_buffer(line) + *size;
	ssize_t n = read(fd, at, 1);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		return *size > 0 ? 1 : -ENODATA;
	if (*at == '\n') {
		*at = 0;
		return 1;
	}
	if (*size < ENTRY_SIZE - 1)
		(*size)++;
	return 0;
}

int entry_read(void)
{
	struct pollfd more = {.fd = terminal_input(), .events = POLLIN};
	int r;

	do {
		r = take_byte(more.fd, entry.line, &entry.size);
	} while (r == 0 && poll(&more, 1, 0) == 1);
	return r;
}

struct secret *entry_take(void)
{
	struct secret *line = entry.line;

	over(false);
	entry.line = NULL;
	if (line && entry.size == 0)
		secret_clear(&line);
	if (line)
		secret_shrink(line, entry.size);
	return line;
}

void entry_abort(void)
{
	over(true);
	secret_clear(&entry.line);
}

int entry_file(const char *path, struct secret **out, char *why, size_t why_size)
{
	struct secret *line = secret_new(ENTRY_SIZE);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), r = fd < 0 ? -errno : 0;
	struct stat st;
	size_t size = 0;

	if (r == 0 && !line)
		r = -ENOMEM;
	if (r == 0 && fstat(fd, &st) != 0)
		r = -errno;
	if (r == 0 && S_ISREG(st.st_mode) && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		r = -EPERM;
	if (r < 0) {
		(void)snprintf(why, why_size, "%s: %s", path,
			       r == -EPERM ? "others than its owner may read it: chmod 600"
					   : strerror(-r));
	} else {
		while (r == 0)
			r = take_byte(fd, line, &size);
		if (r == 1 && size == 0)
			r = -ENODATA;
		if (r < 0)
			(void)snprintf(why, why_size, "%s: %s", path,
				       r == -ENODATA ? "its first line is empty" : strerror(-r));
	}
	if (fd >= 0)
		(void)close(fd);
	if (r < 0) {
		secret_unref(line);
		return r;
	}
	secret_shrink(line, size);
	*out = line;
	return 0;
}

/* PIPE_BUF bytes fit into a pipe that nobody reads yet. */
static int pipe_of(const void *data, size_t size)
{
	int fds[2], r = 0;

	if (size > PIPE_BUF)
		return -EMSGSIZE;
	if (pipe2(fds, O_CLOEXEC) != 0)
		return -errno;
	if (size > 0 && write(fds[1], data, size) != (ssize_t)size)
		r = -EIO;
	(void)close(fds[1]);
	if (r == 0)
		return fds[0];
	(void)close(fds[0]);
	return r;
}

int entry_pipe(const struct secret *s)
{
	return pipe_of(secret_bytes(s).data, secret_size(s));
}

int entry_pipe_text(const char *text)
{
	return pipe_of(text, strlen(text));
}
