/* Text for a person: tables and records within the terminal's width. */

#include "console/writer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#define COLUMNS_MAX 16
#define GAP         2 /* between two columns */
#define NARROWEST   8 /* a column is not made narrower to fit */

char *writer_clean(const char *text)
{
	size_t size = strlen(text), used = 0;
	char *clean = malloc(size + 1);
	mbstate_t state = {0};

	if (!clean)
		return NULL;
	for (size_t i = 0; i < size;) {
		wchar_t c;
		size_t n = mbrtowc(&c, text + i, size - i, &state);

		if (n == (size_t)-1 || n == (size_t)-2 || n == 0) {
			memset(&state, 0, sizeof(state));
			clean[used++] = '?';
			i++;
			/* A character of which this locale knows nothing is one question mark. */
			while (((unsigned char)text[i] & 0xc0) == 0x80)
				i++;
			continue;
		}
		if (wcwidth(c) < 0) {
			clean[used++] = '?';
		} else {
			memcpy(clean + used, text + i, n);
			used += n;
		}
		i += n;
	}
	clean[used] = '\0';
	return clean;
}

/* The bytes of the first character of clean text and the columns it takes. */
static size_t first_char(const char *text, unsigned *columns)
{
	mbstate_t state = {0};
	wchar_t c;
	size_t n = mbrtowc(&c, text, strlen(text), &state);
	int width;

	if (n == (size_t)-1 || n == (size_t)-2 || n == 0) {
		*columns = 1;
		return 1;
	}
	width = wcwidth(c);
	*columns = width > 0 ? (unsigned)width : 0;
	return n;
}

unsigned writer_width(const char *text)
{
	unsigned width = 0, columns;

	while (*text) {
		text += first_char(text, &columns);
		width += columns;
	}
	return width;
}

/* How many bytes of text stand in a line of so many columns, broken at a space where there is
 * one; *skip: those that are then left out. */
static size_t line_size(const char *text, unsigned room, size_t *skip)
{
	unsigned width = 0, columns;
	size_t size = 0, space = 0;

	*skip = 0;
	while (text[size]) {
		size_t n = first_char(text + size, &columns);

		if (width + columns > room && size > 0)
			break;
		if (text[size] == ' ')
			space = size;
		width += columns;
		size += n;
	}
	if (!text[size])
		return size;
	if (text[size] == ' ')
		space = size;
	if (space == 0)
		return size;
	while (text[space + *skip] == ' ')
		(*skip)++;
	return space;
}

void writer_wrap(FILE *out, const char *text, unsigned width, unsigned column, unsigned indent)
{
	if (indent > width / 2)
		indent = 0;
	if (width == 0) {
		(void)fputs(text, out);
		return;
	}
	for (bool first = true; first || *text; first = false) {
		unsigned left = first ? column : indent;
		size_t skip, size = line_size(text, width > left ? width - left : 1, &skip);

		if (!first)
			(void)fprintf(out, "\n%*s", (int)indent, "");
		(void)fwrite(text, 1, size, out);
		text += size + skip;
	}
}

static char *time_cell(int64_t seconds)
{
	time_t t = (time_t)seconds;
	struct tm utc;
	char text[32] = "-";

	if (seconds > 0 && gmtime_r(&t, &utc))
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
	return strdup(text);
}

static char *seconds_cell(int64_t seconds)
{
	char text[40] = "never";

	if (seconds >= 172800)
		(void)snprintf(text, sizeof(text), "%lld d", (long long)(seconds / 86400));
	else if (seconds >= 7200)
		(void)snprintf(text, sizeof(text), "%lld h", (long long)(seconds / 3600));
	else if (seconds >= 0)
		(void)snprintf(text, sizeof(text), "%lld s", (long long)seconds);
	return strdup(text);
}

static char *list_cell(json_object *list)
{
	char *joined = writer_join(list, ", "), *clean = NULL;

	if (joined)
		clean = writer_clean(joined[0] ? joined : "-");
	free(joined);
	return clean;
}

/* What a PNE holds: of its pool, or what only passed through the PN GW. */
static char *key_cell(json_object *record, json_object *held)
{
	int64_t relayed = json_object_get_int64(json_object_object_get(record, "relayed"));
	char text[48];

	(void)snprintf(text, sizeof(text), "%lld%s",
		       (long long)(relayed > 0 ? relayed : json_object_get_int64(held)),
		       relayed > 0 ? " (relayed)" : "");
	return strdup(text);
}

char *writer_cell(json_object *record, const struct column *column)
{
	json_object *value = NULL;
	const char *text;

	(void)json_object_object_get_ex(record, column->key, &value);
	if (column->form == COLUMN_FLAG)
		return strdup(json_object_get_boolean(value) ? column->title : "");
	if (!value)
		return strdup("-");
	if (column->form == COLUMN_TIME)
		return time_cell(json_object_get_int64(value));
	if (column->form == COLUMN_SECONDS)
		return seconds_cell(json_object_get_int64(value));
	if (column->form == COLUMN_KEY)
		return key_cell(record, value);
	if (json_object_is_type(value, json_type_array))
		return list_cell(value);
	if (json_object_is_type(value, json_type_boolean))
		return strdup(json_object_get_boolean(value) ? "yes" : "no");
	text = json_object_get_string(value);
	return writer_clean(text && text[0] ? text : "-");
}

struct table {
	const struct column *columns;
	unsigned count;
	unsigned widths[COLUMNS_MAX];
	char **cells; /* a row after the other; the first is the titles */
	size_t rows;
};

/* Flags share the last column. */
static char *flags_cell(json_object *record, const struct column *columns)
{
	json_object *flags = json_object_new_array();
	char *text;

	for (; columns->key; columns++) {
		if (columns->form == COLUMN_FLAG &&
		    json_object_get_boolean(json_object_object_get(record, columns->key)))
			(void)json_object_array_add(flags, json_object_new_string(columns->title));
	}
	text = writer_join(flags, " ");
	(void)json_object_put(flags);
	return text;
}

/* Makes the widest columns narrower until the whole fits. */
static void fit(struct table *t, unsigned width)
{
	unsigned total = 0;

	for (unsigned i = 0; i < t->count; i++)
		total += t->widths[i] + (i > 0 ? GAP : 0);
	while (width > 0 && total > width) {
		unsigned widest = 0;

		for (unsigned i = 1; i < t->count; i++) {
			if (t->widths[i] > t->widths[widest])
				widest = i;
		}
		if (t->widths[widest] <= NARROWEST)
			return;
		t->widths[widest]--;
		total--;
	}
}

/* One row; a cell that is too long goes on below itself. */
static void put_row(const struct writer *w, const struct table *t, size_t row)
{
	const char *rest[COLUMNS_MAX];
	bool more = true;

	for (unsigned i = 0; i < t->count; i++) {
		rest[i] = t->cells[row * t->count + i];
		if (!rest[i])
			rest[i] = "";
	}
	while (more) {
		unsigned gap = 0;

		more = false;
		for (unsigned i = 0; i < t->count; i++) {
			size_t skip, size = line_size(rest[i], t->widths[i], &skip);
			char *part = strndup(rest[i], size);
			unsigned columns = part ? writer_width(part) : 0;

			if (columns > 0)
				(void)fprintf(w->out, "%*s%s", (int)gap, "", part);
			gap = (columns > 0 ? 0 : gap) + t->widths[i] - columns + GAP;
			free(part);
			rest[i] += size + skip;
			more = more || *rest[i];
		}
		(void)fputc('\n', w->out);
	}
}

static void text_table(const struct writer *w, const struct column *columns, json_object *rows)
{
	struct table t = {.columns = columns, .rows = json_object_array_length(rows) + 1};
	unsigned flags = 0;

	for (; columns[t.count + flags].key;) {
		if (columns[t.count + flags].form == COLUMN_FLAG)
			flags++;
		else
			t.count++;
	}
	/* The flags come after all the others. */
	t.count += flags ? 1 : 0;
	t.cells = t.count > 0 ? calloc(t.rows * t.count, sizeof(*t.cells)) : NULL;
	if (!t.cells)
		return;
	for (unsigned i = 0; i < t.count; i++)
		t.cells[i] = strdup(columns[i].form == COLUMN_FLAG ? "" : columns[i].title);
	for (size_t row = 1; row < t.rows; row++) {
		json_object *record = json_object_array_get_idx(rows, row - 1);

		for (unsigned i = 0; i < t.count; i++)
			t.cells[row * t.count + i] = columns[i].form == COLUMN_FLAG
							     ? flags_cell(record, columns)
							     : writer_cell(record, &columns[i]);
	}
	for (size_t i = 0; i < t.rows * t.count; i++) {
		unsigned width = t.cells[i] ? writer_width(t.cells[i]) : 0;

		if (width > t.widths[i % t.count])
			t.widths[i % t.count] = width;
	}
	fit(&t, w->width);
	for (size_t row = 0; row < t.rows; row++)
		put_row(w, &t, row);
	for (size_t i = 0; i < t.rows * t.count; i++)
		free(t.cells[i]);
	free(t.cells);
}

void writer_table(const struct writer *w, const struct column *columns, json_object *rows,
		  const char *nothing)
{
	size_t count = json_object_array_length(rows);

	switch (w->form) {
	case WRITER_TEXT:
		if (count == 0)
			writer_say(w, "%s", nothing);
		else
			text_table(w, columns, rows);
		break;
	case WRITER_JSON:
		writer_json(w, rows);
		break;
	case WRITER_KV:
		for (size_t i = 0; i < count; i++)
			writer_kv(w, NULL, json_object_array_get_idx(rows, i));
		break;
	}
	(void)fflush(w->out);
}

static void text_record(const struct writer *w, const struct column *columns, json_object *record)
{
	unsigned widest = 0;

	for (const struct column *c = columns; c->key; c++) {
		if (writer_width(c->title) > widest)
			widest = writer_width(c->title);
	}
	for (const struct column *c = columns; c->key; c++) {
		char *cell = json_object_object_get(record, c->key) ? writer_cell(record, c) : NULL;
		/* In columns only where somebody looks at it. */
		unsigned pad = w->width > 0 ? widest - writer_width(c->title) : 0;

		if (!cell)
			continue;
		(void)fprintf(w->out, "%s%c%*s", c->title, c->title[0] ? ':' : ' ', (int)pad + 1,
			      "");
		writer_wrap(w->out, cell, w->width, widest + 2, widest + 2);
		(void)fputc('\n', w->out);
		free(cell);
	}
}

void writer_record(const struct writer *w, const struct column *columns, json_object *record)
{
	switch (w->form) {
	case WRITER_TEXT:
		text_record(w, columns, record);
		break;
	case WRITER_JSON:
		writer_json(w, record);
		break;
	case WRITER_KV:
		writer_kv(w, NULL, record);
		break;
	}
	(void)fflush(w->out);
}
