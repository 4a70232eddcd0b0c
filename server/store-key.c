#include "server/store-sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_FILE_SIZE (2 * KEY_SIZE + 1)

static int write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			size -= (size_t)n;
		}
	}
	return 0;
}

static int create_key_file(const char *path, struct secret **out)
{
	struct secret *key = secret_random(KEY_SIZE);
	struct secret *text = secret_new(KEY_FILE_SIZE + 1);
	int fd, r = -ENOMEM;

	if (!key || !text ||
	    hex_encode(secret_bytes(key), (char *)secret_buffer(text), KEY_FILE_SIZE + 1) < 0)
		goto out;
	secret_buffer(text)[2 * KEY_SIZE] = '\n';
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		r = -errno;
		goto out;
	}
	r = write_all(fd, (const char *)secret_buffer(text), KEY_FILE_SIZE);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r < 0)
		(void)unlink(path);
out:
	secret_unref(text);
	if (r < 0)
		secret_clear(&key);
	*out = key;
	return r;
}

static int read_key_file(const char *path, struct secret **out)
{
	struct secret *text = secret_new(KEY_FILE_SIZE);
	struct secret *key = secret_new(KEY_SIZE);
	struct stat st;
	size_t size = 0, got = 0;
	ssize_t n = 1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = STORE_KEY_FILE;

	if (fd < 0 || !text || !key)
		goto out;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077) != 0)
		goto out;
	while (n > 0 && got < KEY_FILE_SIZE) {
		n = read(fd, secret_buffer(text) + got, KEY_FILE_SIZE - got);
		got += n > 0 ? (size_t)n : 0;
	}
	if (got < (size_t)2 * KEY_SIZE ||
	    hex_decode(bytes_of(secret_buffer(text), (size_t)2 * KEY_SIZE), secret_buffer(key),
		       KEY_SIZE, &size) < 0)
		goto out;
	*out = key;
	key = NULL;
	r = 0;
out:
	if (fd >= 0)
		(void)close(fd);
	secret_unref(text);
	secret_unref(key);
	return r;
}

/* The key, made together with the store when neither is there. */
int store_sqlite_key(const struct store_sqlite_options *o, struct secret **out, char *why,
		     size_t why_size)
{
	const bool has_store = access(o->path, F_OK) == 0;
	const bool has_key = access(o->key_file, F_OK) == 0;
	int r;

	if (!has_store && !o->create) {
		(void)snprintf(why, why_size, "%s: no such store", o->path);
		return STORE_ABSENT;
	}
	if (!has_key && !has_store) {
		r = create_key_file(o->key_file, out);
		if (r < 0)
			(void)snprintf(why, why_size, "%s: %s", o->key_file, strerror(-r));
		return r;
	}
	r = read_key_file(o->key_file, out);
	if (r != 0)
		(void)snprintf(why, why_size,
			       "%s: the key file must hold 64 hex digits and be readable by its "
			       "owner only",
			       o->key_file);
	return r;
}
