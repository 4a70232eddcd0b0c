#ifndef PNGW_CONSOLE_WRITER_H
#define PNGW_CONSOLE_WRITER_H

/*
 * What a command has to show, in one of three forms, all from the same typed data: a json_object as
 * console/decode.h makes it. Text is for a person: tables and sentences within the width of the
 * terminal. JSON is one document, or one a line of what goes on (--follow). Key=value is one line a
 * record, quoted so that a shell or Python's shlex takes it apart.
 *
 * What came from a device or from the air is shown without its control characters, in any form.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>

enum writer_form { WRITER_TEXT, WRITER_JSON, WRITER_KV };

/* How a value is shown in text; the other forms have it as it is. */
enum column_form {
	COLUMN_PLAIN,
	COLUMN_TIME,    /* seconds since the epoch, as UTC */
	COLUMN_SECONDS, /* to go; -1: never */
	COLUMN_KEY,     /* the index of an EUKey, or that of "relayed" where there is one */
	COLUMN_FLAG     /* a bool: the title where it is true, else nothing */
};

/* Of a table or of a list of labels: a key and what stands above or before its value. */
struct column {
	const char *key; /* NULL ends an array of columns */
	const char *title;
	enum column_form form;
};

struct writer {
	enum writer_form form;
	FILE *out;
	unsigned width; /* 0: lines are as long as they are */
	bool colour;
	struct pager *pager; /* NULL, or what keeps all of it that the screen has no room for */
	struct pace *pace;   /* NULL, or what events are held to as text, but for verdicts */
	bool stream; /* JSON: events at once, a line each, instead of one document at the end */
};

/* Rows of objects. nothing: the sentence for a person when there are none. */
void writer_table(const struct writer *w, const struct column *columns, json_object *rows,
		  const char *nothing);
/* One object. */
void writer_record(const struct writer *w, const struct column *columns, json_object *record);
/* A line for a person, wrapped at words; the other forms have nothing of it. */
void writer_say(const struct writer *w, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Lines of text that are nobody's data: as they are, in JSON a string in an object. */
void writer_lines(const struct writer *w, const char *key, json_object *lines);

enum mark { MARK_NONE, MARK_GOOD, MARK_BAD, MARK_QUIET };
/* Something that has just happened. text: how a person reads it, indented by indent when wrapped.
 * JSON without stream has it in its document at the end (see procedure.c). */
void writer_event(const struct writer *w, const char *event, json_object *data, const char *text,
		  unsigned indent, enum mark mark);

/* A line that came by itself may be written now; a line says first how many could not be. */
bool writer_may(const struct writer *w, size_t size);
/* Says how many could not be, if any. */
void writer_left_out(const struct writer *w);

/* For the forms themselves. */
void writer_json(const struct writer *w, json_object *value);
void writer_kv(const struct writer *w, const char *event, json_object *record);
/* value as a person reads it, clean; to be freed. NULL: no memory. */
char *writer_cell(json_object *record, const struct column *column);
/* The texts of a list, put together; to be freed. NULL: no memory. */
char *writer_join(json_object *list, const char *between);
/* A copy of text without control characters; to be freed. */
char *writer_clean(const char *text);
/* Prints clean text in lines of at most width columns (0: no limit), from the second on indented;
 * column: where the cursor is. */
void writer_wrap(FILE *out, const char *text, unsigned width, unsigned column, unsigned indent);
/* How many columns of the terminal clean text takes. */
unsigned writer_width(const char *text);

#endif
