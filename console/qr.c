#include "console/qr.h"

#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qrencode.h>

/* Light modules around it that the standard asks for. */
#define QUIET 4

enum qr_form qr_form_of(int fd)
{
	const char *terminal = getenv("TERM");
	bool dumb = isatty(fd) && (!terminal || !terminal[0] || strcmp(terminal, "dumb") == 0);

	return !dumb && strcmp(nl_langinfo(CODESET), "UTF-8") == 0 ? QR_HALF_BLOCKS : QR_ASCII;
}

/* Whether something is printed for the module; its place is counted from the quiet zone's corner.
 */
static bool printed(const QRcode *code, int row, int column, bool inverted)
{
	int r = row - QUIET, c = column - QUIET;
	bool dark = r >= 0 && c >= 0 && r < code->width && c < code->width &&
		    (code->data[r * code->width + c] & 1);

	/* Below an odd number of rows there is half a character, light too. */
	return dark == inverted;
}

static void put_row(const QRcode *code, int row, enum qr_form form, bool inverted, char *out)
{
	static const char *const halves[] = {" ", "▄", "▀", "█"};
	int width = code->width + 2 * QUIET;

	*out = '\0';
	for (int column = 0; column < width; column++) {
		bool upper = printed(code, row, column, inverted);

		if (form == QR_ASCII)
			out = stpcpy(out, upper ? "##" : "  ");
		else
			out = stpcpy(out,
				     halves[2 * upper + printed(code, row + 1, column, inverted)]);
	}
}

json_object *qr_lines(const char *text, enum qr_form form, bool inverted)
{
	QRcode *code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_M);
	json_object *lines = json_object_new_array();
	int height = code ? code->width + 2 * QUIET : 0, step = form == QR_ASCII ? 1 : 2;
	char *line = malloc((size_t)height * 3 + 1);

	for (int row = 0; line && row < height; row += step) {
		put_row(code, row, form, inverted, line);
		(void)json_object_array_add(lines, json_object_new_string(line));
	}
	free(line);
	if (!code || !line) {
		(void)json_object_put(lines);
		lines = NULL;
	}
	QRcode_free(code);
	return lines;
}
