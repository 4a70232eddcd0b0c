#include "server/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/hidden.h"
#include "protocol/p1.h"
#include "server/import-internal.h"

int import_bad(struct import *i, size_t position, const char *what)
{
	if (position == 0)
		snprintf(i->why, i->why_size, "%s: %s", i->path, what);
	else
		snprintf(i->why, i->why_size, "%s: %s %zu: %s", i->path, i->unit, position, what);
	return IMPORT_BAD_FILE;
}

int import_failed(struct import *i, int r)
{
	snprintf(i->why, i->why_size, "%s: %s", i->path, strerror(-r));
	return r;
}

static int grow(struct import *i)
{
	size_t capacity = i->capacity ? 2 * i->capacity : 64;
	struct import_key *keys;

	if (i->count < i->capacity)
		return 0;
	keys = reallocarray(i->keys, capacity, sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	i->keys = keys;
	i->capacity = capacity;
	return 0;
}

int import_add(struct import *i, size_t position, struct bytes entity, struct secret *key,
	       bool passphrase)
{
	struct import_key *k;

	if (!key || grow(i) < 0) {
		secret_unref(key);
		return import_failed(i, -ENOMEM);
	}
	k = &i->keys[i->count];
	if (!entity_id_valid(entity) || name_set(&k->entity, entity) < 0) {
		secret_unref(key);
		return import_bad(i, position,
				  "the Entity ID is not 1 to 64 of A-Z a-z 0-9 . _ : -");
	}
	if (!passphrase &&
	    (secret_size(key) < P1_TEMPORARY_KEY_MIN || secret_size(key) > P1_TEMPORARY_KEY_MAX)) {
		secret_unref(key);
		return import_bad(i, position, "the key has not 16 to 64 bytes");
	}
	k->key = key;
	k->passphrase = passphrase;
	k->position = position;
	i->count++;
	return 0;
}

static int by_entity(const void *a, const void *b)
{
	const struct import_key *const *x = a;
	const struct import_key *const *y = b;
	int r = strcmp((*x)->entity.text, (*y)->entity.text);

	if (r != 0)
		return r;
	return (*x)->position < (*y)->position ? -1 : (*x)->position > (*y)->position;
}

static int check_duplicates(struct import *i)
{
	const struct import_key **sorted = calloc(i->count, sizeof(struct import_key *));
	int r = 0;

	if (!sorted)
		return import_failed(i, -ENOMEM);
	for (size_t k = 0; k < i->count; k++)
		sorted[k] = &i->keys[k];
	qsort(sorted, i->count, sizeof(struct import_key *), by_entity);
	for (size_t k = 1; r == 0 && k < i->count; k++) {
		char what[80];

		if (!name_equal(&sorted[k - 1]->entity, &sorted[k]->entity))
			continue;
		snprintf(what, sizeof(what), "the Entity ID stands on %s %zu already", i->unit,
			 sorted[k - 1]->position);
		r = import_bad(i, sorted[k]->position, what);
	}
	free(sorted);
	return r;
}

static int stretch(struct import *i)
{
	for (size_t n = 0; n < i->count; n++) {
		struct import_key *k = &i->keys[n];
		struct secret *stretched = NULL;
		int r;

		if (!k->passphrase)
			continue;
		r = p1_stretch_temporary_key(k->key, name_bytes(&k->entity), &stretched);
		if (r != 0)
			return import_failed(i, r < 0 ? r : -EIO);
		secret_unref(k->key);
		k->key = stretched;
	}
	return 0;
}

static int read_text(struct import *i, struct bytes file)
{
	static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
	size_t at = 0;

	if (memchr(file.data, 0, file.size))
		return import_bad(i, 0, "the file is not UTF-8 text");
	if (file.size >= sizeof(mark) && memcmp(file.data, mark, sizeof(mark)) == 0) {
		file.data += sizeof(mark);
		file.size -= sizeof(mark);
	}
	while (at < file.size && strchr(" \t\r\n", file.data[at]))
		at++;
	if (at < file.size && file.data[at] == '<')
		return import_pskc(i, bytes_of(file.data + at, file.size - at));
	return import_csv(i, file);
}

/* One byte more than the file had when it was looked at tells whether it grew since. */
static int read_content(struct import *i, int fd, uint8_t *buffer, size_t size, size_t *have)
{
	*have = 0;
	while (*have <= size) {
		ssize_t n = read(fd, buffer + *have, size + 1 - *have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return import_failed(i, -errno);
		if (n == 0)
			return 0;
		*have += (size_t)n;
	}
	return import_bad(i, 0, "the file grew while it was read");
}

static int read_open_file(struct import *i, int fd)
{
	struct stat st;
	uint8_t *buffer;
	size_t size;
	int r;

	if (fstat(fd, &st) < 0)
		return import_failed(i, -errno);
	if (!S_ISREG(st.st_mode))
		return import_bad(i, 0, "this is not an ordinary file");
	if (st.st_size > (off_t)IMPORT_FILE_MAX)
		return import_bad(i, 0, "the file is larger than 16 MiB");
	if (st.st_size == 0)
		return import_bad(i, 0, "the file is empty");
	buffer = hidden_new((size_t)st.st_size + 1);
	if (!buffer)
		return import_failed(i, -ENOMEM);
	r = read_content(i, fd, buffer, (size_t)st.st_size, &size);
	if (r == 0)
		r = read_text(i, bytes_of(buffer, size));
	hidden_free(buffer);
	return r;
}

static int read_file(struct import *i)
{
	int fd = open(i->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int r;

	if (fd < 0)
		return import_failed(i, -errno);
	r = read_open_file(i, fd);
	close(fd);
	return r;
}

int import_file(const char *path, import_key_fn *each, void *arg, char *why, size_t why_size)
{
	struct import i = {.path = path, .unit = "line", .why = why, .why_size = why_size};
	int r = read_file(&i);

	if (r == 0 && i.count == 0)
		r = import_bad(&i, 0, "the file holds no keys");
	if (r == 0)
		r = check_duplicates(&i);
	if (r == 0)
		r = stretch(&i);
	for (size_t k = 0; r == 0 && k < i.count; k++)
		r = each(arg, name_bytes(&i.keys[k].entity), i.keys[k].key, i.keys[k].passphrase);
	for (size_t k = 0; k < i.count; k++)
		secret_unref(i.keys[k].key);
	free(i.keys);
	return r;
}
