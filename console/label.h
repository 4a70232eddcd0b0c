#ifndef PNGW_CONSOLE_LABEL_H
#define PNGW_CONSOLE_LABEL_H

/*
 * The text of a label's QR code: a PNE (its Entity ID and, where known, its Bluetooth address) or a
 * user's registration code (the User ID). Never a key, never a password. doc/labels.md has the
 * format. Each label has one text alone, and nothing else is taken for it.
 */

#include <stddef.h>

#include "protocol/bytes.h"

enum label_kind { LABEL_PNE, LABEL_USER };

#define LABEL_ADDRESS_SIZE 18 /* "00:11:22:33:44:55" with its terminator */

struct label {
	enum label_kind kind;
	struct name name;                 /* Entity ID or User ID */
	char address[LABEL_ADDRESS_SIZE]; /* of a PNE, in capitals; "": not known */
};

/* The longest text, a User ID of which every byte is escaped, with its terminator. */
#define LABEL_TEXT_SIZE 256

/* A Bluetooth address in capitals into out; -EINVAL: it is none. */
int label_address(const char *text, char out[LABEL_ADDRESS_SIZE]);

/* -EINVAL: its name or its address is not valid. */
int label_write(const struct label *label, char out[LABEL_TEXT_SIZE]);

/*
 * The reverse. -EINVAL and why: a sentence with the number of the character, counted from 1, at
 * which it is wrong. *out is then untouched.
 */
int label_read(const char *text, struct label *out, char *why, size_t why_size);

#endif
