/* JSON: one value a line. */

#include "console/writer.h"

void writer_json(const struct writer *w, json_object *value)
{
	int flags = JSON_C_TO_STRING_NOSLASHESCAPE;

	if (!w->stream)
		flags |= JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED;
	(void)fprintf(w->out, "%s\n", json_object_to_json_string_ext(value, flags));
	(void)fflush(w->out);
}
