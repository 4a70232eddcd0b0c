#ifndef PNGW_GATEWAY_NOTE_H
#define PNGW_GATEWAY_NOTE_H

/*
 * One entry of the flight recorder: fields (notes.def) one after the other, compact in memory and
 * as text in a file. Whatever could be secret enters only as a token: a keyed hash of it in memory,
 * a number in a file, so that one sees where it comes again and no more.
 */

#include "protocol/message.h"
#include "protocol/p1.h"

enum note_tag {
	NOTE_end,
#define NOTE(name, type, table) NOTE_##name,
#include "gateway/notes.def"
#undef NOTE
	NOTE_TAGS
};

/* The names that are the same in a file; the values are in note-names.c and in doc/recorder.md. */
enum note_entry {
	ENTRY_PROCEDURE,
	ENTRY_RELAY,
	ENTRY_JUDGEMENT,
	ENTRY_VERDICT,
	ENTRY_COMMAND,
	ENTRY_LINK,
	ENTRY_WAN,
	ENTRY_LINE,
	ENTRY_BEGIN,
};
enum note_stored { STORED_OWN, STORED_NEXT, STORED_REPEAT, STORED_NEWEST };

/* What stands for bytes that nobody may see. number: 0 stands for none. */
struct note_token {
	uint64_t number;
	size_t size;
};

/* Writes into a buffer of the caller's; what does not fit any more sets overflow. */
struct note_writer {
	uint8_t *data;
	size_t room, size;
	bool overflow;
	uint8_t key[P1_SIPHASH_SIZE]; /* of the tokens' hashes */
};

void note_number(struct note_writer *w, enum note_tag tag, uint64_t number); /* but 0 */
void note_always(struct note_writer *w, enum note_tag tag, uint64_t number);
void note_text(struct note_writer *w, enum note_tag tag, struct bytes text); /* but "" */
void note_string(struct note_writer *w, enum note_tag tag, const char *text);
void note_hex(struct note_writer *w, enum note_tag tag, struct bytes b);
void note_secret(struct note_writer *w, enum note_tag tag, struct bytes b); /* but BYTES_NONE */
void note_put_token(struct note_writer *w, enum note_tag tag, struct note_token t);
struct note_token note_token_of(const struct note_writer *w, struct bytes b);
/*
 * A message as it came or goes; m is the same decoded or NULL, for one that is written in a form
 * that is allowed but not this program's. Where it cannot be told what of it is secret: NOTE_cut.
 */
void note_message(struct note_writer *w, enum note_tag tag, struct bytes xml,
		  const struct message *m);
/* One that is compact already. */
void note_compact(struct note_writer *w, enum note_tag tag, struct bytes compact);

struct note_field {
	enum note_tag tag;
	uint64_t number;    /* a NUMBER, FLAG or CHOICE */
	struct bytes bytes; /* TEXT, HEX, and XML in its compact form; borrowed */
	struct note_token token;
};

struct note_reader {
	struct bytes b;
	size_t at;
	bool bad; /* it does not hold fields only */
};

struct note_reader note_read(struct bytes b);
/* False at the end. */
bool note_next(struct note_reader *r, struct note_field *out);
/* Takes the next field if it is of that tag; otherwise false and *out is untouched. */
bool note_take(struct note_reader *r, enum note_tag tag, struct note_field *out);
uint64_t note_take_number(struct note_reader *r, enum note_tag tag); /* 0 when it is not there */
bool note_take_name(struct note_reader *r, enum note_tag tag, struct name *out); /* or "" */
/* At most out_size - 1 bytes and a terminator. */
void note_take_text(struct note_reader *r, enum note_tag tag, char *out, size_t out_size);
struct note_token note_take_token(struct note_reader *r, enum note_tag tag);
/* Goes on behind the first field of that tag; false: there is none. */
bool note_find(struct note_reader *r, enum note_tag tag, struct note_field *out);

const char *note_name(enum note_tag tag);
/* The name of a CHOICE's value, or NULL. */
const char *note_choice(enum note_tag tag, uint64_t value);

/* Gives the number that stands for a token in a file; 0: out of memory. */
typedef uint64_t note_number_fn(void *arg, struct note_token t);
/* All fields as one line "name=value name=value", without a newline. False: out of memory. */
bool note_write_text(FILE *out, struct bytes note, note_number_fn *number, void *arg);
/* The reverse, into w. NULL, or what is wrong with the line. */
const char *note_parse_text(struct bytes line, struct note_writer *w);

/* Compact form of a message and back; note-xml.c. */
bool note_xml_pack(struct note_writer *w, struct bytes xml);
bool note_xml_pack_text(struct note_writer *w, struct bytes text); /* "key#3:32" for binary */
bool note_xml_write(FILE *out, struct bytes packed, note_number_fn *number, void *arg);
/* The bytes that stand for a token where there is none of the real ones: of t.size. */
void note_fill(struct note_token t, uint8_t *out);
/* A message with such bytes in it; *xml is the caller's to free(). 0, -EBADMSG or -ENOMEM. */
int note_xml_message(struct bytes packed, char **xml, size_t *size);
/* Name of the root element, or "". */
const char *note_xml_root(struct bytes packed);

/* For note*.c. */
void note_raw(struct note_writer *w, const void *data, size_t size);
void note_varint(struct note_writer *w, uint64_t number);
bool note_get_varint(struct bytes b, size_t *at, uint64_t *out);
bool note_parse_token(struct bytes text, struct note_token *out);

#endif
