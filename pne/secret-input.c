#include "pne/secret-input.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "protocol/p1.h"

#define SEPARATOR ','

int secret_input_line(int fd, struct secret **out)
{
	SCOPED_SECRET *line = secret_new(SECRET_MAX_SIZE);
	size_t size = 0;

	if (!line)
		return -ENOMEM;
	for (;;) {
		uint8_t *at = secret_buffer(line) + size;
		ssize_t r = read(fd, at, 1);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0 && size == 0)
			return -ENODATA;
		if (r == 0 || *at == '\n')
			break;
		if (++size == SECRET_MAX_SIZE)
			return -EMSGSIZE;
	}
	if (size > 0 && secret_buffer(line)[size - 1] == '\r')
		size--;
	*out = secret_copy(bytes_of(secret_buffer(line), size ? size : 1));
	if (!*out)
		return -ENOMEM;
	if (size == 0)
		secret_buffer(*out)[0] = '\0';
	return 0;
}

static struct termios before;

static void interrupted(int number)
{
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	_exit(128 + number);
}

int secret_input_password(struct secret **out)
{
	struct termios quiet;
	bool terminal = tcgetattr(STDIN_FILENO, &before) == 0;
	int r;

	if (terminal) {
		quiet = before;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		(void)signal(SIGINT, interrupted);
		(void)signal(SIGTERM, interrupted);
		if (write(STDERR_FILENO, "Password: ", 10) < 0 ||
		    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) < 0)
			return -errno;
	}
	r = secret_input_line(STDIN_FILENO, out);
	if (terminal) {
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
		(void)signal(SIGINT, SIG_DFL);
		(void)signal(SIGTERM, SIG_DFL);
		if (write(STDERR_FILENO, "\n", 1) < 0 && r == 0)
			r = -errno;
	}
	return r;
}

/* The field up to the next separator, which *rest is moved behind. */
static struct bytes next_field(struct bytes *rest)
{
	const uint8_t *end = memchr(rest->data, SEPARATOR, rest->size);
	struct bytes field = *rest;

	if (!end) {
		*rest = BYTES_NONE;
		return field;
	}
	field.size = (size_t)(end - rest->data);
	*rest = bytes_of(end + 1, rest->size - field.size - 1);
	return field;
}

/* A CSV field without its quotes. -EINVAL for a quote that is not closed or not doubled. */
static int unquote(struct bytes field, struct secret **out)
{
	SCOPED_SECRET *value = NULL;
	size_t size = 0;

	if (field.size == 0)
		return -EINVAL;
	value = secret_new(field.size);
	if (!value)
		return -ENOMEM;
	if (field.data[0] != '"') {
		*out = secret_copy(field);
		return *out ? 0 : -ENOMEM;
	}
	if (field.size < 3 || field.data[field.size - 1] != '"')
		return -EINVAL;
	for (size_t i = 1; i < field.size - 1; i++) {
		if (field.data[i] == '"' && field.data[++i] != '"')
			return -EINVAL;
		if (i == field.size - 1)
			return -EINVAL;
		secret_buffer(value)[size++] = field.data[i];
	}
	*out = secret_copy(bytes_of(secret_bytes(value).data, size));
	return *out ? 0 : -ENOMEM;
}

static int temporary_key_of(struct bytes form, const struct secret *text, struct bytes entity,
			    struct secret **out)
{
	SCOPED_SECRET *key = NULL;
	size_t size;

	if (bytes_equal(form, bytes_text("passphrase")))
		return p1_stretch_temporary_key(text, entity, out);
	if (!bytes_equal(form, bytes_text("hex")))
		return -EINVAL;
	key = secret_new(P1_TEMPORARY_KEY_MAX);
	if (!key)
		return -ENOMEM;
	if (hex_decode(secret_bytes(text), secret_buffer(key), P1_TEMPORARY_KEY_MAX, &size) < 0 ||
	    size < P1_TEMPORARY_KEY_MIN)
		return -EINVAL;
	*out = secret_copy(bytes_of(secret_bytes(key).data, size));
	return *out ? 0 : -ENOMEM;
}

struct reader {
	bool (*wanted)(void *arg, struct bytes entity);
	secret_input_key_fn *take;
	void *arg;
};

static int take_line(const struct reader *r, const struct secret *line)
{
	struct bytes rest = secret_bytes(line);
	struct bytes entity;
	struct bytes form;
	SCOPED_SECRET *text = NULL;
	SCOPED_SECRET *key = NULL;
	int result;

	if (rest.data[0] == '\0' || rest.data[0] == '#')
		return 0;
	entity = next_field(&rest);
	if (!rest.data)
		return -EINVAL;
	if (!r->wanted(r->arg, entity))
		return 0;
	form = next_field(&rest);
	if (!rest.data)
		return -EINVAL;
	result = unquote(rest, &text);
	if (result == 0)
		result = temporary_key_of(form, text, entity, &key);
	return result == 0 ? r->take(r->arg, entity, key) : result;
}

static int read_lines(int fd, const struct reader *r, char *why, size_t why_size)
{
	unsigned number = 0;
	int result = 0;

	while (result == 0) {
		SCOPED_SECRET *line = NULL;

		number++;
		result = secret_input_line(fd, &line);
		if (result == 0)
			result = take_line(r, line);
	}
	if (result == -ENODATA)
		return 0;
	(void)snprintf(why, why_size, "the Temporary Key file is not right: line %u: %s", number,
		       strerror(-result));
	return result;
}

int secret_input_temporary_keys(const char *path, bool (*wanted)(void *arg, struct bytes entity),
				secret_input_key_fn *take, void *arg, char *why, size_t why_size)
{
	const struct reader reader = {.wanted = wanted, .take = take, .arg = arg};
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int result = 0;

	if (fd < 0 || fstat(fd, &st) < 0) {
		result = -errno;
		(void)snprintf(why, why_size, "the Temporary Key file cannot be read: %s",
			       strerror(-result));
	} else if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0) {
		result = -EPERM;
		(void)snprintf(why, why_size,
			       "the Temporary Key file must be a file that nobody else can read "
			       "(0600)");
	} else {
		result = read_lines(fd, &reader, why, why_size);
	}
	if (fd >= 0)
		(void)close(fd);
	return result;
}
