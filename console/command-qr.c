/* The commands that make labels. */

#include <unistd.h>

#include "console/command-internal.h"
#include "console/label.h"
#include "console/qr.h"

static int show(struct console *console, struct call *call, const struct label *label)
{
	bool ascii = call_option(call, "--ascii") != NULL;
	char text[LABEL_TEXT_SIZE];
	json_object *lines, *record;

	if (label_write(label, text) != 0)
		return console_failed(console, EXIT_WRONG_USAGE, "no label can be made of that");
	lines = qr_lines(text, ascii ? QR_ASCII : qr_form_of(STDOUT_FILENO),
			 call_option(call, "--invert") != NULL);
	if (!lines)
		return console_failed(console, EXIT_RETRY, "there is no memory");
	record = json_object_new_object();
	(void)json_object_object_add(record, "label", json_object_new_string(text));
	switch (console->writer.form) {
	case WRITER_TEXT:
		for (size_t i = 0; i < json_object_array_length(lines); i++)
			(void)fprintf(console->writer.out, "%s\n",
				      json_object_get_string(json_object_array_get_idx(lines, i)));
		(void)fprintf(console->writer.out, "%s\n", text);
		(void)fflush(console->writer.out);
		break;
	case WRITER_JSON:
		(void)json_object_object_add(record, "lines", json_object_get(lines));
		writer_json(&console->writer, record);
		break;
	case WRITER_KV:
		writer_kv(&console->writer, NULL, record);
		break;
	}
	(void)json_object_put(record);
	(void)json_object_put(lines);
	return EXIT_DONE;
}

int command_qr_pne(struct console *console, struct call *call)
{
	struct label label = {.kind = LABEL_PNE};

	if (name_set(&label.name, bytes_text(call->word[0])) != 0 ||
	    (call->count > 1 && label_address(call->word[1], label.address) != 0))
		return console_failed(console, EXIT_WRONG_USAGE, "no label can be made of that");
	return show(console, call, &label);
}

int command_qr_user(struct console *console, struct call *call)
{
	struct label label = {.kind = LABEL_USER};

	if (name_set(&label.name, bytes_text(call->word[0])) != 0)
		return console_failed(console, EXIT_WRONG_USAGE, "no label can be made of that");
	return show(console, call, &label);
}
