/*
 * An anchor in a file, for people to read too:
 *
 *   pngw anchor 1
 *   vault <hex>
 *   entries <number>
 *   head <hex>
 *   signature <hex>
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/file.h"
#include "storage/anchor.h"

/* Larger than any such file. */
#define TEXT_MAX 512

struct anchor_file {
	char *path;
	char *temporary;
	char *directory;
};

static void close_file(void *context)
{
	struct anchor_file *f = context;

	free(f->path);
	free(f->temporary);
	free(f->directory);
	free(f);
}

static int open_file(const char *place, struct secret *auth, void **context, char *why,
		     size_t why_size)
{
	const char *slash = strrchr(place, '/');
	struct anchor_file *f;

	(void)auth;
	if (place[0] == '\0' || (slash && slash[1] == '\0')) {
		snprintf(why, why_size, "anchor file:%s names no file", place);
		return ANCHOR_UNKNOWN;
	}
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->path = strdup(place);
	f->directory = slash ? strndup(place, (size_t)(slash - place) + 1) : strdup(".");
	if (asprintf(&f->temporary, "%s.new", place) < 0)
		f->temporary = NULL;
	if (!f->path || !f->directory || !f->temporary) {
		close_file(f);
		return -ENOMEM;
	}
	*context = f;
	return 0;
}

/* The line "name value\n" at *at, whose value is hex of exactly size bytes. */
static bool take_hex(const char **at, const char *name, uint8_t *out, size_t size)
{
	const size_t name_size = strlen(name);
	size_t written = 0;

	if (strncmp(*at, name, name_size) != 0)
		return false;
	*at += name_size;
	if (strlen(*at) < 2 * size + 1 || (*at)[2 * size] != '\n' ||
	    hex_decode(bytes_of(*at, 2 * size), out, size, &written) != 0)
		return false;
	*at += 2 * size + 1;
	return written == size;
}

static bool take_number(const char **at, const char *name, uint8_t out[4])
{
	const size_t name_size = strlen(name);
	uint64_t value = 0;
	size_t digits = 0;

	if (strncmp(*at, name, name_size) != 0)
		return false;
	*at += name_size;
	while (digits < 10 && (*at)[digits] >= '0' && (*at)[digits] <= '9')
		value = 10 * value + (uint64_t)((*at)[digits++] - '0');
	if (digits == 0 || (*at)[digits] != '\n' || value > UINT32_MAX)
		return false;
	*at += digits + 1;
	for (size_t i = 0; i < 4; i++)
		out[i] = (uint8_t)(value >> (24 - 8 * i));
	return true;
}

static bool parse(const char *text, uint8_t *statement)
{
	static const char title[] = "pngw anchor 1\n";
	uint8_t *sequence = statement + LEDGER_VAULT_ID_SIZE;

	if (strncmp(text, title, strlen(title)) != 0)
		return false;
	text += strlen(title);
	return take_hex(&text, "vault ", statement, LEDGER_VAULT_ID_SIZE) &&
	       take_number(&text, "entries ", sequence) &&
	       take_hex(&text, "head ", sequence + 4, LEDGER_HASH_SIZE) &&
	       take_hex(&text, "signature ", sequence + 4 + LEDGER_HASH_SIZE, P1_SIGNATURE_SIZE) &&
	       *text == '\0';
}

static int read_file(void *context, uint8_t statement[ANCHOR_STATEMENT_SIZE])
{
	const struct anchor_file *f = context;
	char text[TEXT_MAX + 1];
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? ANCHOR_ABSENT : -errno;
	n = file_read_all(fd, (uint8_t *)text, TEXT_MAX);
	(void)close(fd);
	if (n < 0)
		return (int)n;
	text[n] = '\0';
	return strlen(text) == (size_t)n && parse(text, statement) ? 0 : ANCHOR_DAMAGED;
}

static int format(const uint8_t *statement, char text[TEXT_MAX])
{
	const uint8_t *number = statement + LEDGER_VAULT_ID_SIZE;
	char vault[2 * LEDGER_VAULT_ID_SIZE + 1];
	char head[2 * LEDGER_HASH_SIZE + 1];
	char signature[2 * P1_SIGNATURE_SIZE + 1];
	uint32_t sequence = (uint32_t)number[0] << 24 | (uint32_t)number[1] << 16 |
			    (uint32_t)number[2] << 8 | number[3];

	(void)hex_encode(bytes_of(statement, LEDGER_VAULT_ID_SIZE), vault, sizeof(vault));
	(void)hex_encode(bytes_of(number + 4, LEDGER_HASH_SIZE), head, sizeof(head));
	(void)hex_encode(bytes_of(number + 4 + LEDGER_HASH_SIZE, P1_SIGNATURE_SIZE), signature,
			 sizeof(signature));
	return snprintf(text, TEXT_MAX,
			"pngw anchor 1\nvault %s\nentries %" PRIu32 "\nhead %s\nsignature %s\n",
			vault, sequence, head, signature);
}

static int write_text(const char *path, const char *text, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	int r;

	if (fd < 0)
		return -errno;
	r = file_write_all(fd, bytes_of(text, size));
	if (r == 0 && fsync(fd) != 0)
		r = -errno;
	if (close(fd) != 0 && r == 0)
		r = -errno;
	return r;
}

static int write_file(void *context, const uint8_t statement[ANCHOR_STATEMENT_SIZE])
{
	const struct anchor_file *f = context;
	char text[TEXT_MAX];
	int size = format(statement, text);
	int r = write_text(f->temporary, text, (size_t)size);

	if (r == 0 && rename(f->temporary, f->path) != 0)
		r = -errno;
	if (r == 0)
		r = file_sync_folder(f->directory);
	else
		(void)unlink(f->temporary);
	return r;
}

const struct anchor_kind anchor_kind_file = {
	.prefix = "file:",
	.interval = 0,
	.open = open_file,
	.close = close_file,
	.read = read_file,
	.write = write_file,
};
