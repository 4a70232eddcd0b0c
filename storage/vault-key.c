#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/credential.h"
#include "protocol/file.h"
#include "storage/vault-internal.h"
#include "storage/vault-key.h"

#define KEY_DIGITS ((size_t)2 * KEY_SIZE)

static int check_mode(int fd, const char *path, char *why, size_t why_size)
{
	struct stat st;

	if (fstat(fd, &st) < 0) {
		int r = -errno;

		snprintf(why, why_size, "key file %s: %s", path, strerror(-r));
		return r;
	}
	if (!S_ISREG(st.st_mode)) {
		snprintf(why, why_size, "key file %s is not an ordinary file", path);
		return VAULT_KEY_FILE;
	}
	if ((st.st_mode & credential_forbidden(path)) != 0) {
		snprintf(why, why_size, "key file %s is open to others (mode %04o): make it 0600",
			 path, (unsigned int)(st.st_mode & 07777));
		return VAULT_KEY_FILE;
	}
	if (st.st_uid != geteuid() && st.st_uid != 0) {
		snprintf(why, why_size, "key file %s belongs to another user", path);
		return VAULT_KEY_FILE;
	}
	return 0;
}

static int read_master(int fd, const char *path, struct secret **out, char *why, size_t why_size)
{
	/* One byte for the newline, one to notice that there is more. */
	SCOPED_SECRET *text = secret_new(KEY_DIGITS + 2);
	struct secret *master = secret_new(KEY_SIZE);
	size_t written = 0;
	ssize_t size;

	if (!text || !master) {
		secret_unref(master);
		snprintf(why, why_size, "no memory for the key in %s", path);
		return -ENOMEM;
	}
	size = file_read_all(fd, secret_buffer(text), KEY_DIGITS + 2);
	if (size < 0) {
		secret_unref(master);
		snprintf(why, why_size, "key file %s: %s", path, strerror((int)-size));
		return (int)size;
	}
	if ((size_t)size == KEY_DIGITS + 1 && secret_buffer(text)[KEY_DIGITS] == '\n')
		size--;
	if ((size_t)size != KEY_DIGITS ||
	    hex_decode(bytes_of(secret_buffer(text), KEY_DIGITS), secret_buffer(master), KEY_SIZE,
		       &written) < 0) {
		secret_unref(master);
		snprintf(why, why_size, "key file %s does not hold %zu hex digits", path,
			 KEY_DIGITS);
		return VAULT_KEY_FILE;
	}
	*out = master;
	return 0;
}

/* path itself, or where the credential lies. */
static int resolve(const char *path, char out[PATH_MAX], char *why, size_t why_size)
{
	int r = credential_path(path, out, PATH_MAX, why, why_size);

	return r == -EINVAL || r == -ENOENT ? VAULT_KEY_FILE : r;
}

static int read_file(const char *path, struct secret **out, char *why, size_t why_size)
{
	int fd;
	int r;

	/* Not blocking, so that a FIFO in the key file's place is found out and not waited for. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		r = errno == ENOENT || errno == EACCES ? VAULT_KEY_FILE : -errno;
		snprintf(why, why_size, "key file %s: %s", path, strerror(errno));
		return r;
	}
	r = check_mode(fd, path, why, why_size);
	if (r == 0)
		r = read_master(fd, path, out, why, why_size);
	close(fd);
	return r;
}

int vault_key_load(const char *path, struct secret **out, char *why, size_t why_size)
{
	char resolved[PATH_MAX];
	int r = resolve(path, resolved, why, why_size);

	return r == 0 ? read_file(resolved, out, why, why_size) : r;
}

int vault_key_exists(const char *path, bool *out, char *why, size_t why_size)
{
	char resolved[PATH_MAX];
	int r = resolve(path, resolved, why, why_size);
	struct stat st;

	if (r == 0)
		*out = stat(resolved, &st) == 0 || errno != ENOENT;
	return r;
}

static int make_key(const char *path, const char *new_path, const struct secret *key)
{
	SCOPED_SECRET *text = secret_new(KEY_DIGITS + 1);
	int r;

	if (!text)
		return -ENOMEM;
	r = hex_encode(secret_bytes(key), (char *)secret_buffer(text), KEY_DIGITS + 1);
	if (r < 0)
		return r;
	secret_buffer(text)[KEY_DIGITS] = '\n';
	return file_publish(path, new_path, secret_bytes(text), false);
}

int vault_key_create(const char *path, const struct secret *key, char *why, size_t why_size)
{
	char *new_path = NULL;
	int r;

	if (credential_named(path)) {
		snprintf(why, why_size, "%s: a credential is made by systemd-creds, not here",
			 path);
		return VAULT_KEY_FILE;
	}
	if (asprintf(&new_path, "%s.new", path) < 0) {
		snprintf(why, why_size, "key file %s: %s", path, strerror(ENOMEM));
		return -ENOMEM;
	}
	r = make_key(path, new_path, key);
	free(new_path);
	if (r < 0)
		snprintf(why, why_size, "key file %s: %s", path, strerror(-r));
	return r;
}
