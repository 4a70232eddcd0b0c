#include "protocol/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "protocol/message-table.h"

/* The decoder and the encoder move enums as unsigned. */
#define NAMES(type)                                                                            \
	_Static_assert(sizeof(enum type) == sizeof(unsigned), "enum " #type " is not an int"); \
	static const struct enumeration names_##type

NAMES(status) = {{
#define STATUS(id, number, wire, http, retry, meaning) {wire, STATUS_##id},
#include "protocol/statuses.def"
#undef STATUS
}};
NAMES(gateway_key_kind) = {{{"EUKey", GATEWAY_KEY_EUKEY}, {"Exporter", GATEWAY_KEY_EXPORTER}}};
NAMES(key_set_kind) = {{{"Random", KEY_SET_RANDOM}, {"Chain", KEY_SET_CHAIN}}};
NAMES(entity_mode) = {{{"PNE", ENTITY_PNE}, {"PNGW", ENTITY_PNGW}}};
NAMES(delivery_state) = {{{"Installed", DELIVERY_INSTALLED},
			  {"Refused", DELIVERY_REFUSED},
			  {"Issued", DELIVERY_ISSUED}}};
NAMES(reset_state) = {
	{{"None", RESET_NONE}, {"Unconfirmed", RESET_UNCONFIRMED}, {"Confirmed", RESET_CONFIRMED}}};

/* clang-format off */
#define GROUP_BEGIN(id, xml) static const struct group group_##id;
#include "protocol/messages-ignore.h"
#include "protocol/messages.def"
#include "protocol/messages-undef.h"

#define GROUP_BEGIN(id, xml) static const struct field fields_##id[] = {
#define GROUP_END(id) };
#define MESSAGE_BEGIN(id, xml, directions, needs) \
	static const struct field fields_##id[] = { \
		{.type = FIELD_ENVELOPE, .group = &group_envelope},
#define MESSAGE_END(id) };
#define VALUE(owner, id, xml_name, kind, often, least, most) \
	{.xml = xml_name, .type = FIELD_##kind, .occurs = OCCURS_##often, .min = least, .max = most, \
	 .offset = offsetof(struct m_##owner, id)},
#define ENTITY(owner, id, xml, occurs) VALUE(owner, id, #xml, ENTITY, occurs, 1, NAME_MAX_SIZE)
#define USER(owner, id, xml, occurs) VALUE(owner, id, #xml, USER, occurs, 1, NAME_MAX_SIZE)
#define TEXT(owner, id, xml, min, max, occurs) VALUE(owner, id, #xml, TEXT, occurs, min, max)
#define HEX(owner, id, xml, min, max, occurs) VALUE(owner, id, #xml, HEX, occurs, min, max)
#define UINT(owner, id, xml, min, max) VALUE(owner, id, #xml, UINT, ONE, min, max)
#define ENUM(owner, id, xml_name, enum_type) \
	{.xml = #xml_name, .type = FIELD_ENUM, .occurs = OCCURS_ONE, \
	 .offset = offsetof(struct m_##owner, id), .names = &names_##enum_type},
#define SUB(owner, id, group_id, often) \
	{.type = FIELD_SUB, .occurs = OCCURS_##often, .offset = offsetof(struct m_##owner, id), \
	 .present_offset = offsetof(struct m_##owner, has_##id), .group = &group_##group_id},
#define LIST(owner, id, group_id, least, most) \
	{.type = FIELD_LIST, .occurs = OCCURS_ONE, .min = least, .max = most, \
	 .offset = offsetof(struct m_##owner, id), \
	 .present_offset = offsetof(struct m_##owner, id##_count), .group = &group_##group_id},
#include "protocol/messages.def"
#include "protocol/messages-undef.h"
#undef VALUE

#define GROUP(id, xml) \
	{#xml, fields_##id, sizeof(fields_##id) / sizeof(fields_##id[0]), sizeof(struct m_##id)}

#define GROUP_BEGIN(id, xml) static const struct group group_##id = GROUP(id, xml);
#include "protocol/messages-ignore.h"
#include "protocol/messages.def"
#include "protocol/messages-undef.h"

static const struct group *const groups[] = {
#define GROUP_BEGIN(id, xml) &group_##id,
#include "protocol/messages-ignore.h"
#include "protocol/messages.def"
#include "protocol/messages-undef.h"
};

static const struct message_row messages[MESSAGE_KINDS] = {
#define MESSAGE_BEGIN(id, xml, directions, needs) \
	[MESSAGE_##id] = {GROUP(id, xml), directions, needs, offsetof(struct message, id)},
#include "protocol/messages-ignore.h"
#include "protocol/messages.def"
#include "protocol/messages-undef.h"
};
/* clang-format on */

const struct message_row *message_row(enum message_kind kind)
{
	return &messages[kind];
}

const struct group *message_group(size_t i)
{
	return i < sizeof(groups) / sizeof(groups[0]) ? groups[i] : NULL;
}

const char *field_constant(const struct field *f)
{
	static const size_t profile = offsetof(struct m_envelope, profile);

	if (f >= fields_envelope &&
	    f < fields_envelope + sizeof(fields_envelope) / sizeof(fields_envelope[0]) &&
	    f->offset == profile)
		return MESSAGE_PROFILE;
	return NULL;
}

/* Printable: UTF-8 without control characters and what XML 1.0 cannot carry. */
static bool text_valid(struct bytes v)
{
	while (v.size > 0) {
		utf8proc_int32_t point;
		utf8proc_ssize_t used = utf8proc_iterate(v.data, (utf8proc_ssize_t)v.size, &point);

		if (used <= 0 || utf8proc_category(point) == UTF8PROC_CATEGORY_CC ||
		    point == 0xfffe || point == 0xffff)
			return false;
		v.data += used;
		v.size -= (size_t)used;
	}
	return true;
}

enum malformed field_check(const struct field *f, struct bytes v)
{
	const char *constant = field_constant(f);

	if (v.size < f->min || v.size > f->max)
		return MALFORMED_SIZE;
	switch (f->type) {
	case FIELD_ENTITY:
		return entity_id_valid(v) ? MALFORMED_NOT : MALFORMED_VALUE;
	case FIELD_USER:
		return text_valid(v) && user_id_valid(v) ? MALFORMED_NOT : MALFORMED_VALUE;
	case FIELD_TEXT:
		if (constant && !bytes_equal(v, bytes_text(constant)))
			return MALFORMED_VALUE;
		return text_valid(v) ? MALFORMED_NOT : MALFORMED_VALUE;
	case FIELD_HEX:
	case FIELD_ENVELOPE:
	case FIELD_UINT:
	case FIELD_ENUM:
	case FIELD_SUB:
	case FIELD_LIST:
		break;
	}
	return MALFORMED_NOT;
}

const char *message_name(enum message_kind kind)
{
	return kind < MESSAGE_KINDS ? messages[kind].group.xml : "unknown";
}

unsigned message_directions(enum message_kind kind)
{
	return kind < MESSAGE_KINDS ? messages[kind].directions : 0;
}

enum message_needs message_needs(enum message_kind kind)
{
	return kind < MESSAGE_KINDS ? messages[kind].needs : NEEDS_NOTHING;
}

const char *malformed_text(enum malformed what)
{
	switch (what) {
	case MALFORMED_NOT:
		return "is well formed";
	case MALFORMED_TOO_LARGE:
		return "larger than a message may be";
	case MALFORMED_TOO_DEEP:
		return "elements nested too deep";
	case MALFORMED_NOT_XML:
		return "not well-formed XML, or it ends early";
	case MALFORMED_NOT_UTF8:
		return "not UTF-8";
	case MALFORMED_DTD:
		return "has a document type declaration";
	case MALFORMED_FORBIDDEN:
		return "has a processing instruction, comment or CDATA section";
	case MALFORMED_NAMESPACE:
		return "element outside the namespace of the binding";
	case MALFORMED_ATTRIBUTE:
		return "has an attribute";
	case MALFORMED_UNKNOWN_MESSAGE:
		return "not a message of the binding";
	case MALFORMED_UNKNOWN_ELEMENT:
		return "element not allowed here";
	case MALFORMED_ORDER:
		return "element after one that must follow it";
	case MALFORMED_TWICE:
		return "element more often than allowed, or besides its alternative";
	case MALFORMED_MISSING:
		return "element missing";
	case MALFORMED_TEXT:
		return "text between elements";
	case MALFORMED_VALUE:
		return "not a value of this element";
	case MALFORMED_SIZE:
		return "value out of range";
	case MALFORMED_SECOND_ROOT:
		return "a second root element";
	case MALFORMED_TRAILING:
		return "bytes after the root element";
	case MALFORMED_KINDS:
		break;
	}
	return "malformed";
}

const char *malformation_describe(const struct malformation *m, char *out, size_t out_size)
{
	if (out_size == 0)
		return out;
	(void)snprintf(out, out_size, "line %u%s%s: %s", m->line, m->element[0] ? ", element " : "",
		       m->element, malformed_text(m->what));
	return out;
}

void message_free(struct message *m)
{
	if (!m)
		return;
	free(m->storage);
	free(m);
}

static struct message_id id_of(struct bytes b)
{
	struct message_id id = {{0}};

	if (b.size == sizeof(id.b))
		memcpy(id.b, b.data, sizeof(id.b));
	return id;
}

struct message_id message_id_of(const struct message *m)
{
	return id_of(m->envelope.message_id);
}

struct message_id message_in_response_to(const struct message *m)
{
	return id_of(m->envelope.in_response_to);
}

void message_envelope(struct message *m, const struct message_id *id,
		      const struct message_id *in_response_to, const struct name *source,
		      const struct name *target)
{
	m->envelope.version = MESSAGE_VERSION;
	m->envelope.profile = bytes_text(MESSAGE_PROFILE);
	m->envelope.message_id = bytes_of(id->b, sizeof(id->b));
	m->envelope.in_response_to = BYTES_NONE;
	if (in_response_to && !message_id_is_none(in_response_to))
		m->envelope.in_response_to = bytes_of(in_response_to->b, sizeof(in_response_to->b));
	m->envelope.source = name_bytes(source);
	m->envelope.target = name_bytes(target);
}

enum status message_status(const struct message *m)
{
	const struct message_row *row;

	if (m->kind >= MESSAGE_KINDS)
		return STATUS_NOT_EXPECTED;
	row = &messages[m->kind];
	for (size_t i = 0; i < row->group.field_count; i++) {
		const struct field *f = &row->group.fields[i];
		enum status status;

		if (f->names != &names_status)
			continue;
		memcpy(&status, (const uint8_t *)m + row->offset + f->offset, sizeof(status));
		return status;
	}
	return STATUS_NOT_EXPECTED;
}
