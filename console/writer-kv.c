/* Lines of key=value. */

#include "console/writer.h"

#include <stdlib.h>
#include <string.h>

/* Needs no quotes in a shell. */
static bool plain(const char *text)
{
	if (!text[0])
		return false;
	for (; *text; text++) {
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			    "_-+.:/,@%",
			    *text))
			return false;
	}
	return true;
}

static void put_text(FILE *out, const char *raw)
{
	char *text = writer_clean(raw);

	if (!text)
		return;
	if (plain(text)) {
		(void)fputs(text, out);
	} else {
		(void)fputc('"', out);
		for (const char *at = text; *at; at++) {
			if (strchr("\"\\$`", *at))
				(void)fputc('\\', out);
			(void)fputc(*at, out);
		}
		(void)fputc('"', out);
	}
	free(text);
}

/* A list's items are separated by commas. */
static void put_list(FILE *out, json_object *list)
{
	char *joined = writer_join(list, ",");

	if (joined)
		put_text(out, joined);
	free(joined);
}

static void put_pairs(FILE *out, const char *prefix, json_object *record, bool *first);

static void put_pair(FILE *out, const char *prefix, const char *key, json_object *value,
		     bool *first)
{
	if (json_object_is_type(value, json_type_object)) {
		put_pairs(out, key, value, first);
		return;
	}
	(void)fprintf(out, "%s%s%s%s=", *first ? "" : " ", prefix, prefix[0] ? "." : "", key);
	*first = false;
	if (json_object_is_type(value, json_type_array))
		put_list(out, value);
	else if (json_object_is_type(value, json_type_string))
		put_text(out, json_object_get_string(value));
	else
		(void)fputs(json_object_get_string(value), out);
}

/* Keys come from D-Bus: they are words. */
static void put_pairs(FILE *out, const char *prefix, json_object *record, bool *first)
{
	json_object_object_foreach(record, key, value)
	{
		if (!json_object_is_type(value, json_type_array) ||
		    json_object_array_length(value) == 0 ||
		    !json_object_is_type(json_object_array_get_idx(value, 0), json_type_object))
			put_pair(out, prefix, key, value, first);
	}
}

void writer_kv(const struct writer *w, const char *event, json_object *record)
{
	bool first = true;

	if (event) {
		(void)fprintf(w->out, "event=%s", event);
		first = false;
	}
	put_pairs(w->out, "", record, &first);
	(void)fputc('\n', w->out);
	(void)fflush(w->out);
}
