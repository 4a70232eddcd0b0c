#include "gateway/openers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/credential.h"

#define PASSPHRASE_SIZE SECRET_MAX_SIZE

static int unusable(const char *path, const char *what, char *why, size_t why_size)
{
	(void)snprintf(why, why_size, "passphrase file %s: %s", path, what);
	return VAULT_KEY_FILE;
}

/* The rules of a key file: nobody else may read it, but for the group of a credential. */
static int check_file(int fd, const char *path, char *why, size_t why_size)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return unusable(path, strerror(errno), why, why_size);
	if (!S_ISREG(st.st_mode))
		return unusable(path, "not an ordinary file", why, why_size);
	if ((st.st_mode & credential_forbidden(path)) != 0)
		return unusable(path, "open to others: make it 0600", why, why_size);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return unusable(path, "it belongs to another user", why, why_size);
	return 0;
}

/* By read(2) alone, so that no buffer of stdio keeps it. */
static int read_line(int fd, const char *path, struct secret **out, char *why, size_t why_size)
{
	struct secret *line = secret_new(PASSPHRASE_SIZE);
	size_t size = 0;
	const uint8_t *newline;

	if (!line) {
		(void)snprintf(why, why_size, "passphrase file %s: out of memory", path);
		return -ENOMEM;
	}
	while (size < PASSPHRASE_SIZE) {
		ssize_t n = read(fd, secret_buffer(line) + size, PASSPHRASE_SIZE - size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			secret_unref(line);
			return unusable(path, strerror(errno), why, why_size);
		}
		if (n == 0)
			break;
		size += (size_t)n;
	}
	newline = memchr(secret_buffer(line), '\n', size);
	if (newline && newline + 1 == secret_buffer(line) + size)
		size--;
	else if (newline)
		size = 0;
	if (size == 0 || size == PASSPHRASE_SIZE) {
		secret_unref(line);
		return unusable(path, "expected one line", why, why_size);
	}
	secret_shrink(line, size);
	*out = line;
	return 0;
}

static int read_passphrase(const char *setting, struct secret **out, char *why, size_t why_size)
{
	char path[2 * CONFIG_TEXT_MAX];
	char problem[2 * CONFIG_TEXT_MAX];
	int fd, r;

	if (credential_path(setting, path, sizeof(path), problem, sizeof(problem)) != 0) {
		(void)snprintf(why, why_size, "passphrase file %s", problem);
		return VAULT_KEY_FILE;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return unusable(path, strerror(errno), why, why_size);
	r = check_file(fd, path, why, why_size);
	if (r == 0)
		r = read_line(fd, path, out, why, why_size);
	(void)close(fd);
	return r;
}

int gateway_openers_load(const struct config *config, struct gateway_openers *out, char *why,
			 size_t why_size)
{
	int r = 0;

	*out = (struct gateway_openers){.count = 0};
	if (config->vault_key_file[0])
		out->opener[out->count++] = (struct vault_opener){.source = VAULT_SOURCE_KEY_FILE,
								  .path = config->vault_key_file};
	if (config->vault_second_key_file[0])
		out->opener[out->count++] = (struct vault_opener){
			.source = VAULT_SOURCE_KEY_FILE, .path = config->vault_second_key_file};
	if (config->vault_passphrase_file[0])
		r = read_passphrase(config->vault_passphrase_file, &out->passphrase, why, why_size);
	if (out->passphrase)
		out->opener[out->count++] = (struct vault_opener){.source = VAULT_SOURCE_PASSPHRASE,
								  .passphrase = out->passphrase};
	return r;
}

void gateway_openers_clear(struct gateway_openers *o)
{
	secret_unref(o->passphrase);
	*o = (struct gateway_openers){.count = 0};
}
