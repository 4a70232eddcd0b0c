#include "server/store-sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/file.h"

#define KEY_FILE_SIZE (2 * KEY_SIZE + 1)

/* The name beside the key file that says, as long as it is there, that a store is being made. */
static int new_name(const char *key_file, char **out)
{
	return asprintf(out, "%s.new", key_file) < 0 ? -ENOMEM : 0;
}

/*
 * The other name stays until the store is made, so that one that was cut short is told from one
 * that is missing.
 */
static int create_key_file(const char *path, const char *new_path)
{
	struct secret *key = secret_random(KEY_SIZE);
	struct secret *text = secret_new(KEY_FILE_SIZE + 1);
	int r = -ENOMEM;

	if (key && text &&
	    hex_encode(secret_bytes(key), (char *)secret_buffer(text), KEY_FILE_SIZE + 1) == 0) {
		secret_buffer(text)[2 * KEY_SIZE] = '\n';
		r = file_publish(path, new_path, bytes_of(secret_bytes(text).data, KEY_FILE_SIZE),
				 true);
		/* Somebody else was first in this moment, and has the same store to make. */
		if (r == -EEXIST)
			r = file_sync_folder_of(path);
	}
	secret_unref(key);
	secret_unref(text);
	return r;
}

static int read_key_file(const char *path, struct secret **out)
{
	struct secret *text = secret_new(KEY_FILE_SIZE);
	struct secret *key = secret_new(KEY_SIZE);
	struct stat st;
	size_t size = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = STORE_KEY_FILE;

	if (fd < 0 || !text || !key)
		goto out;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077) != 0)
		goto out;
	if (file_read_all(fd, secret_buffer(text), KEY_FILE_SIZE) < 2 * KEY_SIZE ||
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

static bool is_there(const char *path)
{
	return access(path, F_OK) == 0 || errno != ENOENT;
}

static int find_key(const struct store_sqlite_options *o, const char *new_path, bool *make,
		    struct secret **out, char *why, size_t why_size)
{
	const bool has_store = is_there(o->path), has_key = is_there(o->key_file);
	int r = 0;

	*make = o->create && (has_key ? is_there(new_path) : !has_store);
	if (!has_store && has_key && !*make) {
		(void)snprintf(
			why, why_size,
			"the store %s is missing while its key file %s is there: mount or restore "
			"the store, or move the key file away to begin anew",
			o->path, o->key_file);
		return STORE_ABSENT;
	}
	if (!has_store && !*make) {
		(void)snprintf(why, why_size, "%s: no such store", o->path);
		return STORE_ABSENT;
	}
	if (!has_key && *make)
		r = create_key_file(o->key_file, new_path);
	if (r < 0) {
		(void)snprintf(why, why_size, "%s: %s", o->key_file, strerror(-r));
		return r;
	}
	/* Also one that was just made: if two make a store at a time, both have the same key. */
	r = read_key_file(o->key_file, out);
	if (r != 0)
		(void)snprintf(why, why_size,
			       "%s: the key file must hold 64 hex digits and be readable by its "
			       "owner only",
			       o->key_file);
	return r;
}

int store_check_sqlite(const struct store_sqlite_options *o, char *why, size_t why_size)
{
	const struct store_sqlite_options look = {.path = o->path, .key_file = o->key_file};
	struct secret *key = NULL;
	char *new_path = NULL;
	bool make = false;
	int r = new_name(o->key_file, &new_path);

	/* Both are made with the first start, which may have been cut short. */
	if (r == 0 && o->create &&
	    (is_there(o->key_file) ? is_there(new_path) : !is_there(o->path)))
		make = true;
	if (r == 0 && !make)
		r = find_key(&look, new_path, &make, &key, why, why_size);
	secret_unref(key);
	free(new_path);
	return r;
}

int store_sqlite_key(const struct store_sqlite_options *o, bool *make, struct secret **out,
		     char *why, size_t why_size)
{
	char *new_path = NULL;
	int r = new_name(o->key_file, &new_path);

	if (r == 0)
		r = find_key(o, new_path, make, out, why, why_size);
	free(new_path);
	return r;
}

int store_sqlite_made(const struct store_sqlite_options *o)
{
	char *new_path = NULL;
	int r = new_name(o->key_file, &new_path);

	/* The store is durable before the sign that it is being made goes. */
	if (r == 0)
		r = file_sync_folder_of(o->path);
	if (r == 0 && unlink(new_path) < 0 && errno != ENOENT)
		r = -errno;
	if (r == 0)
		r = file_sync_folder_of(o->key_file);
	free(new_path);
	return r;
}
