#include "console/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <csv.h>

#include "protocol/p1.h"

enum field { FIELD_ENTITY, FIELD_ADDRESS, FIELD_USER, FIELD_LABEL, FIELDS };

static const char *const columns[FIELDS] = {
	[FIELD_ENTITY] = "entity_id",
	[FIELD_ADDRESS] = "address",
	[FIELD_USER] = "user",
	[FIELD_LABEL] = "label",
};

static int wrong(struct manifest *m, size_t line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int wrong(struct manifest *m, size_t line, const char *format, ...)
{
	char what[512];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	m->errors++;
	m->wrong(m->arg, line, what);
	return -EINVAL;
}

static bool printable(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	}
	return true;
}

static bool known(const struct manifest *m, const char *entity)
{
	for (size_t i = 0; i < m->count; i++) {
		if (strcmp(m->unit[i].entity.text, entity) == 0)
			return true;
	}
	return false;
}

int manifest_add(struct manifest *m, size_t line, const char *entity, const char *address,
		 const char *user, const char *label)
{
	struct manifest_unit *unit;
	char capitals[LABEL_ADDRESS_SIZE] = "";

	if (!entity_id_valid(bytes_text(entity)))
		return wrong(m, line,
			     "\"%.80s\" is not an Entity ID: 1 to 64 of A-Z a-z 0-9 . _ : -",
			     printable(entity) ? entity : "?");
	if (known(m, entity))
		return wrong(m, line, "%s is there twice", entity);
	if (address[0] && label_address(address, capitals) != 0)
		return wrong(m, line, "\"%.40s\" is not a Bluetooth address: 00:11:22:33:44:55",
			     printable(address) ? address : "?");
	if (user && !user_id_valid(bytes_text(user)))
		return wrong(m, line, "the user of %s is not a User ID", entity);
	if (!user && !m->user.text[0])
		return wrong(m, line, "%s has no user: name one with --user, or in the manifest",
			     entity);
	if (strlen(label) >= MANIFEST_LABEL_SIZE || !printable(label))
		return wrong(m, line, "the label of %s is longer than %d bytes or not printable",
			     entity, MANIFEST_LABEL_SIZE - 1);
	if (m->count == MANIFEST_MAX) {
		m->excess++;
		return -EINVAL;
	}
	unit = &m->unit[m->count++];
	memset(unit, 0, sizeof(*unit));
	(void)name_set(&unit->entity, bytes_text(entity));
	unit->user = m->user;
	if (user)
		(void)name_set(&unit->user, bytes_text(user));
	memcpy(unit->address, capitals, sizeof(capitals));
	memcpy(unit->label, label, strlen(label));
	return 0;
}

int manifest_scan(struct manifest *m, size_t line, const char *text)
{
	struct label label;
	char why[256];

	if (!text[0])
		return 0;
	if (label_read(text, &label, why, sizeof(why)) != 0)
		return wrong(m, line, "%s", why);
	switch (label.kind) {
	case LABEL_PNE:
		return manifest_add(m, line, label.name.text, label.address, NULL, "");
	case LABEL_USER:
		m->user = label.name;
		return 0;
	}
	return 0;
}

void manifest_end(struct manifest *m)
{
	if (m->excess > 0)
		(void)wrong(m, 0, "there are %zu headsets in it; a tray has at most %d",
			    m->count + m->excess, MANIFEST_MAX);
	else if (m->count == 0 && m->errors == 0)
		(void)wrong(m, 0, "there is no headset in it");
}

/* A line of CSV as it comes in, field by field. */
struct reader {
	struct manifest *m;
	size_t line;
	size_t fields;  /* of this line */
	size_t columns; /* of the header; 0: not seen yet */
	enum field column[FIELDS];
	char text[FIELDS][256];
	bool cut; /* a field is too long or has a NUL */
	bool header_wrong;
};

static void header_field(struct reader *r, size_t at, const char *name)
{
	for (enum field f = FIELD_ENTITY; f < FIELDS; f++) {
		if (strcmp(columns[f], name) != 0)
			continue;
		for (size_t i = 0; i < at; i++) {
			if (r->column[i] == f)
				r->header_wrong = true;
		}
		r->column[at] = f;
		return;
	}
	r->header_wrong = true;
}

static void on_field(void *data, size_t size, void *arg)
{
	struct reader *r = arg;
	size_t at = r->fields++;
	char text[sizeof(r->text[0])] = "";

	if (at >= FIELDS) {
		r->header_wrong |= r->columns == 0;
		return;
	}
	if (size >= sizeof(text) || (size > 0 && memchr(data, '\0', size))) {
		r->cut = true;
		return;
	}
	if (size > 0)
		memcpy(text, data, size);
	if (r->columns == 0)
		header_field(r, at, text);
	else if (at < r->columns)
		memcpy(r->text[r->column[at]], text, sizeof(text));
}

static void header(struct reader *r)
{
	bool entity = false;

	for (size_t i = 0; i < r->fields && i < FIELDS; i++)
		entity |= r->column[i] == FIELD_ENTITY;
	if (r->header_wrong || r->cut || !entity)
		(void)wrong(r->m, r->line,
			    "the columns are not right: entity_id and, as wanted, address, user, "
			    "label, each once");
	r->header_wrong |= r->cut || !entity;
	r->columns = r->fields;
}

static void on_row(int terminator, void *arg)
{
	struct reader *r = arg;

	(void)terminator;
	if (r->fields == 0)
		return;
	if (r->columns == 0)
		header(r);
	else if (r->cut)
		(void)wrong(r->m, r->line, "a field is longer than %zu bytes or is no text",
			    sizeof(r->text[0]) - 1);
	else if (r->fields != r->columns)
		(void)wrong(r->m, r->line, "it has %zu fields where the header has %zu", r->fields,
			    r->columns);
	else
		(void)manifest_add(r->m, r->line, r->text[FIELD_ENTITY], r->text[FIELD_ADDRESS],
				   r->text[FIELD_USER][0] ? r->text[FIELD_USER] : NULL,
				   r->text[FIELD_LABEL]);
	r->fields = 0;
	r->cut = false;
	memset(r->text, 0, sizeof(r->text));
}

/* Line by line, so that each error has its number. */
static int parse_lines(struct reader *r, struct csv_parser *parser, struct bytes text)
{
	size_t at = 0;

	while (at < text.size && !r->header_wrong) {
		const uint8_t *newline = memchr(text.data + at, '\n', text.size - at);
		size_t size = newline ? (size_t)(newline - text.data) + 1 - at : text.size - at;

		r->line++;
		if (csv_parse(parser, text.data + at, size, on_field, on_row, r) != size)
			return csv_error(parser) == CSV_ENOMEM
				       ? -ENOMEM
				       : wrong(r->m, r->line, "a quote is out of place");
		at += size;
	}
	if (!r->header_wrong && csv_fini(parser, on_field, on_row, r) != 0)
		return wrong(r->m, r->line, "a quote is not closed");
	return 0;
}

static int parse_csv(struct manifest *m, struct bytes text)
{
	struct reader *r = calloc(1, sizeof(*r));
	struct csv_parser parser;
	int result;

	if (!r || csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI) != 0) {
		free(r);
		return -ENOMEM;
	}
	r->m = m;
	result = parse_lines(r, &parser, text);
	csv_free(&parser);
	free(r);
	return result;
}

int manifest_parse(struct manifest *m, struct bytes text)
{
	static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
	size_t at = text.size >= sizeof(mark) && memcmp(text.data, mark, sizeof(mark)) == 0
			    ? sizeof(mark)
			    : 0;
	size_t first = at;
	int r;

	while (first < text.size && strchr(" \t\r\n", text.data[first]) && text.data[first])
		first++;
	if (first < text.size && text.data[first] == '<')
		r = manifest_pskc(m, text);
	else
		r = parse_csv(m, bytes_of(text.data + at, text.size - at));
	if (r == 0)
		manifest_end(m);
	return r == 0 && m->errors > 0 ? -EINVAL : r;
}

static int read_all(int fd, uint8_t *buffer, size_t room, size_t *size)
{
	*size = 0;
	while (*size < room) {
		ssize_t n = read(fd, buffer + *size, room - *size);

		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		*size += n > 0 ? (size_t)n : 0;
	}
	return -EFBIG;
}

int manifest_read(struct manifest *m, const char *path, uint8_t digest[32])
{
	uint8_t *buffer = malloc(MANIFEST_SIZE_MAX);
	int fd = open(path, O_RDONLY | O_CLOEXEC), r = fd < 0 ? -errno : -ENOMEM;
	size_t size = 0;

	if (fd >= 0 && buffer)
		r = read_all(fd, buffer, MANIFEST_SIZE_MAX, &size);
	if (r == 0)
		r = p1_sha256(bytes_of(buffer, size), digest);
	if (r == 0)
		r = manifest_parse(m, bytes_of(buffer, size));
	/* PSKC may hold keys that are not sealed. */
	if (buffer)
		explicit_bzero(buffer, size);
	free(buffer);
	if (fd >= 0)
		(void)close(fd);
	return r;
}
