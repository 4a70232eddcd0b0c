#ifndef PNGW_PROTOCOL_MESSAGE_H
#define PNGW_PROTOCOL_MESSAGE_H

/*
 * A CPNS message in memory, made from messages.def, and its XML form of binding 1.
 *
 * Encoding: XML 1.0, UTF-8, one namespace, elements only (no attribute but xmlns, no DTD, no
 * processing instruction, no comment, no CDATA section). The root is the message's name, its first child the
 * Envelope, then the fields in the order of messages.def.
 */

#include <stdio.h>

#include "protocol/bytes.h"
#include "protocol/status.h"

#define MESSAGE_NAMESPACE "urn:pngw:cpns:binding:1"
#define MESSAGE_MAX_SIZE 16384
#define MESSAGE_MAX_DEPTH 4
#define MESSAGE_VERSION 1
#define MESSAGE_PROFILE "P1"
#define RAND_SIZE 32
#define SALT_SIZE 16
#define HOLDER_SIZE 16 /* of a hand-over */

enum gateway_key_kind {
	GATEWAY_KEY_EUKEY,   /* wire "EUKey": the PN GW's own EUKey of that index (Figure 8) */
	GATEWAY_KEY_EXPORTER /* wire "Exporter": the TLS exporter of this connection; index 0 */
};

enum key_set_kind {
	KEY_SET_RANDOM, /* wire "Random": independent keys, the default */
	KEY_SET_CHAIN   /* wire "Chain": a hash chain (comments C270, C272, C278: optional) */
};

enum entity_mode {
	ENTITY_PNE, /* wire "PNE" */
	ENTITY_PNGW /* wire "PNGW" */
};

enum delivery_state {
	DELIVERY_INSTALLED, /* wire "Installed": the PNE's receipt, with its proof */
	DELIVERY_REFUSED,   /* wire "Refused": the PNE answered that it did not take the key */
	DELIVERY_ISSUED     /* wire "Issued": sent to the PNE, no receipt seen */
};

enum reset_state {
	RESET_NONE,        /* wire "None": no reset is wanted */
	RESET_UNCONFIRMED, /* wire "Unconfirmed": the PNE has not said that it erased its EUKey */
	RESET_CONFIRMED    /* wire "Confirmed": it has, with its proof */
};

/* Directions, as flags. */
enum {
	GW_TO_SERVER = 1 << 0,
	SERVER_TO_GW = 1 << 1,
	GW_TO_PNE = 1 << 2,
	PNE_TO_GW = 1 << 3,
};

/* What the leg must give before the message may be sent or taken. */
enum message_needs { NEEDS_NOTHING, NEEDS_MUTUAL, NEEDS_SECURE_PAN };

/* struct m_<id> of every group and message. */
#define GROUP_BEGIN(id, xml) struct m_##id {
#define GROUP_END(id) \
	}             \
	;
#define MESSAGE_BEGIN(id, xml, directions, needs) struct m_##id {
#define MESSAGE_END(id) \
	}               \
	;
#define ENTITY(owner, id, xml, occurs) struct bytes id;
#define USER(owner, id, xml, occurs) struct bytes id;
#define TEXT(owner, id, xml, min, max, occurs) struct bytes id;
#define HEX(owner, id, xml, min, max, occurs) struct bytes id;
#define UINT(owner, id, xml, min, max) uint32_t id;
#define ENUM(owner, id, xml, type) enum type id;
#define SUB(owner, id, group, occurs) \
	bool has_##id;                \
	struct m_##group id;
#define LIST(owner, id, group, min, max) \
	size_t id##_count;               \
	struct m_##group id[max];
#include "protocol/messages.def"
#include "protocol/messages-undef.h"

enum message_kind {
#define MESSAGE_BEGIN(id, xml, directions, needs) MESSAGE_##id,
#include "protocol/messages-ignore.h"
#include "protocol/messages.def"
#include "protocol/messages-undef.h"
	MESSAGE_KINDS
};

/*
 * Every struct bytes in it points into storage owned by the message (decoded ones) or by whoever
 * filled it in (ones that are to be encoded). An absent optional text or hex field is BYTES_NONE; a
 * SUB is there when has_<id> is true (always set by the decoder, also for ONE).
 */
struct message {
	enum message_kind kind;
	struct m_envelope envelope;
	union {
#define MESSAGE_BEGIN(id, xml, directions, needs) struct m_##id id;
#include "protocol/messages-ignore.h"
#include "protocol/messages.def"
#include "protocol/messages-undef.h"
	};
	uint8_t *storage; /* the decoder's; NULL in a message that is to be encoded */
};

/* Root element name, directions (flags) and needs of a kind. */
const char *message_name(enum message_kind kind);
unsigned message_directions(enum message_kind kind);
enum message_needs message_needs(enum message_kind kind);

/* Every way a message can be malformed; each has its own name. */
enum malformed {
	MALFORMED_NOT = 0,
	MALFORMED_TOO_LARGE,      /* over MESSAGE_MAX_SIZE */
	MALFORMED_TOO_DEEP,       /* over MESSAGE_MAX_DEPTH */
	MALFORMED_NOT_XML,        /* not well-formed, or ends early */
	MALFORMED_NOT_UTF8,       /* declared as or containing anything but UTF-8 */
	MALFORMED_DTD,            /* has a document type declaration */
	MALFORMED_FORBIDDEN,      /* processing instruction, comment or CDATA section */
	MALFORMED_NAMESPACE,      /* element outside MESSAGE_NAMESPACE */
	MALFORMED_ATTRIBUTE,      /* attribute */
	MALFORMED_UNKNOWN_MESSAGE,
	MALFORMED_UNKNOWN_ELEMENT,
	MALFORMED_ORDER,          /* known here, but after a field that follows it */
	MALFORMED_TWICE,          /* more often than the table allows, or two alternatives */
	MALFORMED_MISSING,        /* fewer than the table demands; element names the missing one */
	MALFORMED_TEXT,           /* character data between elements */
	MALFORMED_VALUE,          /* wrong characters, not a number, not one of the names */
	MALFORMED_SIZE,           /* value shorter or longer, smaller or larger than allowed */
	MALFORMED_SECOND_ROOT,
	MALFORMED_TRAILING,       /* bytes other than white space after the root */
	MALFORMED_KINDS
};

/* "line 7, element KeyIndex: value out of range" is made from these. */
struct malformation {
	enum malformed what;
	unsigned line;    /* 1-based */
	char element[48]; /* local name, "" where there is none */
};

/* English for a person, e.g. "has a document type declaration". */
const char *malformed_text(enum malformed what);

/* Writes one line about m, always terminated. Returns out. */
const char *malformation_describe(const struct malformation *m, char *out, size_t out_size);

/*
 * Decodes one whole message. 0: *out is a new message, the caller's to message_free(). Positive
 * MESSAGE_MALFORMED: *why says what and where, *out is untouched. -ENOMEM: out of memory.
 * xml needs to live only during the call. Values are checked against the table, version and
 * profile included; directions and needs are the caller's to check with message_directions().
 */
#define MESSAGE_MALFORMED 1
int message_decode(struct bytes xml, struct message **out, struct malformation *why);

void message_free(struct message *m);

/*
 * Encodes m and allocates *out (terminated by a NUL that is not counted in *out_size), the caller's
 * to free(). A SUB that the table demands is always written, whatever its has_<id> says; a list of
 * more than a few entries of names that need escaping can be too large. -EINVAL when m breaks the table (a caller's defect), -EMSGSIZE over MESSAGE_MAX_SIZE,
 * -ENOMEM.
 */
int message_encode(const struct message *m, char **out, size_t *out_size);


/* Envelope ids as values. The message must have been decoded. */
struct message_id message_id_of(const struct message *m);
struct message_id message_in_response_to(const struct message *m); /* "none" when absent */

/*
 * Fills an envelope for a new message. The ids and names are borrowed: they must outlive the
 * encoding. in_response_to may be NULL.
 */
void message_envelope(struct message *m, const struct message_id *id,
		      const struct message_id *in_response_to, const struct name *source,
		      const struct name *target);

/* Status of a response of any kind; STATUS_NOT_EXPECTED for a message that carries none. */
enum status message_status(const struct message *m);

/*
 * What is made from the table and committed: protocol/cpns.xsd, doc/messages.md and
 * tests/fuzz/cpns.dict. Each writes text and returns 0 or -EIO. The XSD takes all that the decoder
 * takes; the decoder is stricter where XSD cannot say it (sizes in bytes, NFC).
 */
int message_write_xsd(FILE *out);
int message_write_markdown(FILE *out);
int message_write_dictionary(FILE *out);

#endif
