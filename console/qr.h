#ifndef PNGW_CONSOLE_QR_H
#define PNGW_CONSOLE_QR_H

/* A text as a QR code that is drawn with characters. */

#include <json-c/json.h>
#include <stdbool.h>

enum qr_form {
	QR_HALF_BLOCKS, /* two modules a character, above each other: UTF-8 */
	QR_ASCII,       /* a module is two characters wide */
};

/*
 * Lines of text, the quiet zone included. Characters are put where the terminal is to be light, as
 * they are on its dark background; inverted: where it is to be dark, as on paper. NULL: no memory,
 * or a text that no QR code is large enough for.
 */
json_object *qr_lines(const char *text, enum qr_form form, bool inverted);
/* What the terminal at a descriptor can show. */
enum qr_form qr_form_of(int fd);

#endif
