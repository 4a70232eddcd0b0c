/* pngw-start: the commands of the control socket for a shell. */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "gateway/control.h"
#include "protocol/secret.h"

#define PASSWORD_SIZE  400
#define SOCKET_DEFAULT "/run/pngw/control"

enum needs { NOTHING, PASSWORD };

static const struct command {
	const char *name, *arguments, *meaning;
	enum needs needs;
} commands[] = {
#define COMMAND(n, function, what, a, m) {.name = n, .arguments = a, .meaning = m, .needs = what},
#include "gateway/commands.def"
#undef COMMAND
};

static void write_usage(FILE *out)
{
	(void)fputs("usage: pngw-start [--socket PATH] COMMAND\n", out);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		int n = fprintf(out, "  %s %s", commands[i].name, commands[i].arguments);

		(void)fprintf(out, "%*s%s\n", n < 37 ? 37 - n : 1, "", commands[i].meaning);
	}
	(void)fputs("The password is read from the terminal without echo, or from standard "
		    "input.\n"
		    "Exit code: 0 done, 1 refused, 2 try again later, 64 usage.\n",
		    out);
}

static struct termios saved;
static volatile sig_atomic_t echo_off;

static void restore_echo(void)
{
	if (echo_off)
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved);
	echo_off = 0;
}

static void interrupted(int number)
{
	restore_echo();
	_exit(128 + number);
}

/* One line of standard input by read(2) alone, so that no buffer of stdio keeps it. */
static struct secret *read_password(void)
{
	struct secret *password = secret_new(PASSWORD_SIZE);
	bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &saved) == 0;
	size_t size = 0;

	if (!password)
		return NULL;
	if (terminal) {
		struct termios quiet = saved;

		(void)signal(SIGINT, interrupted);
		(void)signal(SIGTERM, interrupted);
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		echo_off = 1;
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
		(void)fputs("Password: ", stderr);
	}
	while (size < PASSWORD_SIZE - 1) {
		ssize_t n = read(STDIN_FILENO, secret_buffer(password) + size, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || secret_buffer(password)[size] == '\n')
			break;
		size++;
	}
	if (terminal) {
		restore_echo();
		(void)fputc('\n', stderr);
		(void)signal(SIGINT, SIG_DFL);
		(void)signal(SIGTERM, SIG_DFL);
	}
	secret_buffer(password)[size++] = '\n';
	secret_shrink(password, size);
	return password;
}

static bool send_all(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size > 0) {
		ssize_t n = send(fd, at, size, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		size -= (size_t)n;
	}
	return true;
}

/* Prints what comes; the exit code is in the last line. */
static int print_answer(int fd)
{
	char line[4096];
	size_t size = 0;

	for (;;) {
		char *newline;
		ssize_t n = read(fd, line + size, sizeof(line) - 1 - size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		size += (size_t)n;
		line[size] = '\0';
		while ((newline = strchr(line, '\n')) != NULL) {
			size_t used = (size_t)(newline - line) + 1;

			*newline = '\0';
			if (strncmp(line, "END ", 4) == 0)
				return (int)strtol(line + 4, NULL, 10);
			(void)puts(line);
			(void)fflush(stdout);
			memmove(line, newline + 1, size - used + 1);
			size -= used;
		}
		if (size == sizeof(line) - 1)
			size = 0;
	}
	(void)fputs("pngw-start: the PN GW has gone away\n", stderr);
	return CONTROL_RETRY;
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (!path || strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		int error = errno;

		(void)close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

/* The command that line begins with; NULL: none. */
static const struct command *command_of(const char *line)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		size_t size = strlen(commands[i].name);

		if (strncmp(line, commands[i].name, size) == 0 &&
		    (line[size] == ' ' || line[size] == '\0'))
			return &commands[i];
	}
	return NULL;
}

static int wrong_usage(void)
{
	write_usage(stderr);
	return CONTROL_USAGE;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"socket", required_argument, NULL, 's'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	static const struct rlimit none;
	const char *path = SOCKET_DEFAULT;
	const struct command *command;
	struct secret *password = NULL;
	char line[CONTROL_LINE_MAX];
	size_t size = 0;
	int option, fd, code;

	while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		switch (option) {
		case 's':
			path = optarg;
			break;
		case 'h':
			write_usage(stdout);
			return CONTROL_DONE;
		default:
			return wrong_usage();
		}
	}
	if (optind == argc)
		return wrong_usage();
	for (int i = optind; i < argc; i++) {
		int n = snprintf(line + size, sizeof(line) - size, "%s%s", i > optind ? " " : "",
				 argv[i]);

		if (n < 0 || (size_t)n + 1 >= sizeof(line) - size || strpbrk(argv[i], " \n"))
			return wrong_usage();
		size += (size_t)n;
	}
	command = command_of(line);
	if (!command)
		return wrong_usage();
	line[size++] = '\n';
	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);

	if (command->needs == PASSWORD) {
		password = read_password();
		if (!password) {
			(void)fputs("pngw-start: out of memory\n", stderr);
			return CONTROL_RETRY;
		}
	}
	fd = connect_to(path);
	if (fd < 0) {
		(void)fprintf(stderr, "pngw-start: %s: %s\n", path, strerror(errno));
		secret_unref(password);
		return CONTROL_RETRY;
	}
	if (!send_all(fd, line, size) ||
	    (password && !send_all(fd, secret_bytes(password).data, secret_size(password)))) {
		(void)fprintf(stderr, "pngw-start: %s: %s\n", path, strerror(errno));
		code = CONTROL_RETRY;
	} else {
		secret_clear(&password);
		code = print_answer(fd);
	}
	secret_unref(password);
	(void)close(fd);
	return code;
}
