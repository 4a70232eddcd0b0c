#ifndef PNGW_PROTOCOL_MESSAGE_TABLE_H
#define PNGW_PROTOCOL_MESSAGE_TABLE_H

/*
 * messages.def as data, for the decoder, the encoder and the artefacts only. Whoever uses messages
 * uses protocol/message.h.
 */

#include "protocol/message.h"

enum field_type {
	FIELD_ENVELOPE, /* the first child of every root; lives in struct message itself */
	FIELD_ENTITY,
	FIELD_USER,
	FIELD_TEXT,
	FIELD_HEX,
	FIELD_UINT,
	FIELD_ENUM,
	FIELD_SUB,
	FIELD_LIST
};

enum field_occurs { OCCURS_ONE, OCCURS_OPT, OCCURS_ALT };

struct enumeration {
	struct {
		const char *name;
		unsigned value;
	} rows[32]; /* ends at the first without a name */
};

struct field {
	const char *xml; /* NULL for a group, which has its own: see field_name() */
	enum field_type type;
	enum field_occurs occurs;
	uint32_t min; /* bytes of a text or hex, least number of a uint, least members of a list */
	uint32_t max;
	size_t offset;         /* of the value in its owner's struct */
	size_t present_offset; /* of has_<id> of a SUB, of <id>_count of a LIST */
	const struct group *group;
	const struct enumeration *names;
};

/* A group, or the fields of a message; size is that of its struct. */
struct group {
	const char *xml;
	const struct field *fields;
	size_t field_count;
	size_t size;
};

struct message_row {
	struct group group;
	unsigned directions;
	enum message_needs needs;
	size_t offset; /* of the message's struct in struct message */
};

/* kind must be below MESSAGE_KINDS. */
const struct message_row *message_row(enum message_kind kind);

/* The groups in the order of the table, the envelope first; NULL from the last on. */
const struct group *message_group(size_t i);

static inline const char *field_name(const struct field *f)
{
	return f->group ? f->group->xml : f->xml;
}

/* The only text a field may have, NULL where it may have several. */
const char *field_constant(const struct field *f);

/* Whether v is a value of a text or hex field: MALFORMED_NOT, _VALUE or _SIZE. Hex is decoded. */
enum malformed field_check(const struct field *f, struct bytes v);

static inline bool field_is_group(const struct field *f)
{
	return f->type == FIELD_ENVELOPE || f->type == FIELD_SUB || f->type == FIELD_LIST;
}

#endif
