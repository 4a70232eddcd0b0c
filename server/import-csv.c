#include <errno.h>
#include <string.h>

#include <csv.h>

#include "protocol/p1.h"
#include "server/import-internal.h"

#define COLUMNS 3

enum column { COLUMN_ENTITY, COLUMN_FORM, COLUMN_KEY };

static const char *const header[COLUMNS] = {
	[COLUMN_ENTITY] = "entity_id",
	[COLUMN_FORM] = "form",
	[COLUMN_KEY] = "temporary_key",
};

/* A line as it comes in, field by field. */
struct reader {
	struct import *import;
	size_t line;
	size_t columns;
	bool header_seen;
	bool header_wrong;
	bool complete; /* the line that was fed has ended for the parser too */
	struct bytes entity;
	uint8_t entity_data[NAME_MAX_SIZE + 1];
	bool passphrase;
	bool form_wrong;
	struct secret *key;
	int key_result;
	int result;
};

/* The parser keeps one field at a time in this room; a longer one is an error. */
static void *field_room(void *old, size_t size)
{
	return old || size > SECRET_SCRATCH_SIZE ? NULL : secret_scratch_new();
}

static void field_room_free(void *room)
{
	secret_scratch_free(room);
}

static int read_hex(struct bytes text, struct secret **out)
{
	struct secret *key = secret_new(SECRET_MAX_SIZE);
	size_t written = 0;
	int r;

	if (!key)
		return -ENOMEM;
	r = hex_decode(text, secret_buffer(key), SECRET_MAX_SIZE, &written);
	if (r < 0 || written == 0) {
		secret_unref(key);
		return -EINVAL;
	}
	secret_shrink(key, written);
	*out = key;
	return 0;
}

static void read_field(struct reader *r, enum column column, struct bytes field)
{
	switch (column) {
	case COLUMN_ENTITY:
		/* One byte more than is allowed: what is too long stays too long. */
		r->entity.size =
			field.size < sizeof(r->entity_data) ? field.size : sizeof(r->entity_data);
		if (r->entity.size > 0)
			memcpy(r->entity_data, field.data, r->entity.size);
		r->entity.data = r->entity_data;
		break;
	case COLUMN_FORM:
		r->passphrase = bytes_equal(field, bytes_text("passphrase"));
		r->form_wrong = !r->passphrase && !bytes_equal(field, bytes_text("hex"));
		break;
	case COLUMN_KEY:
		r->key_result =
			r->passphrase ? p1_password(field, &r->key) : read_hex(field, &r->key);
		break;
	}
}

static void on_field(void *data, size_t size, void *arg)
{
	struct reader *r = arg;
	struct bytes field = bytes_of(data, size);
	size_t column = r->columns++;

	if (column >= COLUMNS)
		return;
	if (!r->header_seen)
		r->header_wrong |= !bytes_equal(field, bytes_text(header[column]));
	else
		read_field(r, (enum column)column, field);
}

static int row(struct reader *r)
{
	struct secret *key = r->key;
	const char *wrong = NULL;

	r->key = NULL;
	if (!r->header_seen) {
		r->header_seen = true;
		if (r->header_wrong || r->columns != COLUMNS)
			wrong = "the header line is not entity_id,form,temporary_key";
		return wrong ? import_bad(r->import, r->line, wrong) : 0;
	}
	if (r->columns != COLUMNS)
		wrong = "the line has not three fields";
	else if (r->form_wrong)
		wrong = "the form is neither hex nor passphrase";
	else if (r->key_result == -EINVAL && r->passphrase)
		wrong = "the passphrase is empty, too long, not UTF-8, or has control characters";
	else if (r->key_result == -EINVAL)
		wrong = "the key is not hex digits, two a byte";
	if (wrong) {
		secret_unref(key);
		return import_bad(r->import, r->line, wrong);
	}
	if (r->key_result != 0) {
		secret_unref(key);
		return import_failed(r->import, r->key_result < 0 ? r->key_result : -EIO);
	}
	return import_add(r->import, r->line, r->entity, key, r->passphrase);
}

static void on_row(int terminator, void *arg)
{
	struct reader *r = arg;

	(void)terminator;
	r->complete = true;
	if (r->result == 0 && r->columns > 0)
		r->result = row(r);
	r->columns = 0;
}

static const char *parse_error(struct csv_parser *parser)
{
	return csv_error(parser) == CSV_ENOMEM ? "a field is too long" : "a quote is out of place";
}

static int feed(struct reader *r, struct csv_parser *parser, struct bytes text)
{
	if (csv_parse(parser, text.data, text.size, on_field, on_row, r) != text.size)
		return import_bad(r->import, r->line, parse_error(parser));
	return r->result;
}

/* line is without its end, which is given to the parser as one LF whatever it was. */
static int read_line(struct reader *r, struct csv_parser *parser, struct bytes line)
{
	int result = 0;

	if (memchr(line.data, '\r', line.size))
		return import_bad(r->import, r->line, "a carriage return stands within the line");
	r->complete = false;
	if (line.size > 0)
		result = feed(r, parser, line);
	if (result == 0)
		result = feed(r, parser, bytes_text("\n"));
	if (result == 0 && !r->complete)
		return import_bad(r->import, r->line, "a quoted field goes on beyond the line");
	return result;
}

static int read_lines(struct reader *r, struct csv_parser *parser, struct bytes file)
{
	int result = 0;

	while (result == 0 && file.size > 0) {
		const uint8_t *end = memchr(file.data, '\n', file.size);
		size_t size = end ? (size_t)(end - file.data) : file.size;
		struct bytes line = bytes_of(file.data, size);

		if (size > 0 && line.data[size - 1] == '\r')
			line.size--;
		r->line++;
		result = read_line(r, parser, line);
		size += end ? 1 : 0;
		file.data += size;
		file.size -= size;
	}
	return result;
}

int import_csv(struct import *i, struct bytes file)
{
	struct reader r = {.import = i};
	struct csv_parser parser;
	int result;

	i->unit = "line";
	if (csv_init(&parser, CSV_STRICT | CSV_REPALL_NL) != 0)
		return import_failed(i, -ENOMEM);
	csv_set_realloc_func(&parser, field_room);
	csv_set_free_func(&parser, field_room_free);
	csv_set_blk_size(&parser, SECRET_SCRATCH_SIZE);
	result = read_lines(&r, &parser, file);
	csv_free(&parser);
	secret_unref(r.key);
	if (result == 0 && !r.header_seen)
		result = import_bad(i, 0, "the header line is missing");
	return result;
}
