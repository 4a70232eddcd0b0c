#include "console/writer.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "console/pace.h"
#include "console/pager.h"

void writer_say(const struct writer *w, const char *format, ...)
{
	va_list arguments;
	char *text = NULL, *clean;
	int n;

	if (w->form != WRITER_TEXT)
		return;
	va_start(arguments, format);
	n = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (n < 0)
		return;
	clean = writer_clean(text);
	if (clean)
		writer_wrap(w->out, clean, w->width, 0, 0);
	(void)fputc('\n', w->out);
	(void)fflush(w->out);
	free(clean);
	free(text);
}

void writer_left_out(const struct writer *w)
{
	size_t n = w->pace ? pace_left_out(w->pace) : 0;

	if (n > 0)
		writer_say(w, "(%zu lines were left out: the line is slow)", n);
}

bool writer_may(const struct writer *w, size_t size)
{
	if (w->pace && !pace_may(w->pace, size + 1))
		return false;
	writer_left_out(w);
	return true;
}

void writer_lines(const struct writer *w, const char *key, json_object *lines)
{
	size_t count = json_object_array_length(lines);

	if (w->form == WRITER_JSON) {
		json_object *document = json_object_new_object();

		(void)json_object_object_add(document, key, json_object_get(lines));
		writer_json(w, document);
		(void)json_object_put(document);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		char *clean =
			writer_clean(json_object_get_string(json_object_array_get_idx(lines, i)));

		if (clean)
			(void)fprintf(w->out, "%s\n", clean);
		free(clean);
	}
	(void)fflush(w->out);
}

char *writer_join(json_object *list, const char *between)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	for (size_t i = 0; i < json_object_array_length(list); i++)
		(void)fprintf(out, "%s%s", i > 0 ? between : "",
			      json_object_get_string(json_object_array_get_idx(list, i)));
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

static const char *mark_colour(enum mark mark)
{
	switch (mark) {
	case MARK_NONE:
		return "";
	case MARK_GOOD:
		return "\033[32m";
	case MARK_BAD:
		return "\033[31m";
	case MARK_QUIET:
		return "\033[2m";
	}
	return "";
}

static void event_text(const struct writer *w, const char *text, unsigned indent, enum mark mark)
{
	bool colour = w->colour && mark != MARK_NONE;
	char *clean = writer_clean(text);

	if (!clean)
		return;
	if (colour)
		(void)fputs(mark_colour(mark), w->out);
	writer_wrap(w->out, clean, w->width, 0, indent);
	if (colour)
		(void)fputs("\033[0m", w->out);
	(void)fputc('\n', w->out);
	(void)fflush(w->out);
	free(clean);
}

/* Of a line of JSON: what kind of event it is comes first. */
static void event_json(const struct writer *w, const char *event, json_object *data)
{
	json_object *line = json_object_new_object();

	(void)json_object_object_add(line, "event", json_object_new_string(event));
	json_object_object_foreach(data, key, value)
	{
		(void)json_object_object_add(line, key, json_object_get(value));
	}
	writer_json(w, line);
	(void)json_object_put(line);
}

void writer_event(const struct writer *w, const char *event, json_object *data, const char *text,
		  unsigned indent, enum mark mark)
{
	switch (w->form) {
	case WRITER_TEXT:
		pager_live(w->pager);
		if (mark == MARK_NONE && !writer_may(w, strlen(text)))
			return;
		event_text(w, text, indent, mark);
		break;
	case WRITER_JSON:
		if (w->stream)
			event_json(w, event, data);
		break;
	case WRITER_KV:
		writer_kv(w, event, data);
		break;
	}
}
