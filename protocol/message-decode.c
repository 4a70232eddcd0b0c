#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <expat.h>
#include <utf8proc.h>

#include "protocol/message-table.h"

/* Between namespace and local name in what expat reports; no local name can contain it. */
#define SEPARATOR '\n'

/* One open element. A leaf has a field and no group. */
struct level {
	const struct group *group;
	const struct field *field;
	uint8_t *base; /* the group's struct, or the leaf's owner's */
	uint32_t seen; /* a bit a field of the group */
	size_t last;   /* index of the last field seen, when any was */
	const char *name;
	unsigned line;
};

struct decoder {
	XML_Parser parser;
	struct message *message;
	size_t used; /* bytes of message->storage */
	size_t capacity;
	uint8_t *leaf; /* where the open leaf's text begins in the storage */
	struct level levels[MESSAGE_MAX_DEPTH];
	size_t depth;
	bool root_ended;
	struct malformation why;
};

static unsigned line_now(const struct decoder *d)
{
	return (unsigned)XML_GetCurrentLineNumber(d->parser);
}

static void describe(struct malformation *why, enum malformed what, unsigned line,
		     const char *element)
{
	size_t size = strlen(element);

	if (size >= sizeof(why->element)) {
		size = sizeof(why->element) - 1;
		while (size > 0 && ((uint8_t)element[size] & 0xc0) == 0x80)
			size--;
	}
	why->what = what;
	why->line = line;
	memcpy(why->element, element, size);
	why->element[size] = '\0';
}

/* The first malformation is the one reported. */
static void fail_at(struct decoder *d, enum malformed what, unsigned line, const char *element)
{
	if (d->why.what != MALFORMED_NOT)
		return;
	describe(&d->why, what, line, element);
	(void)XML_StopParser(d->parser, XML_FALSE);
}

static void fail(struct decoder *d, enum malformed what, const char *element)
{
	fail_at(d, what, line_now(d), element);
}

static const char *open_element(const struct decoder *d)
{
	return d->depth > 0 ? d->levels[d->depth - 1].name : "";
}

/* Local name of an element of the binding, NULL for one of another namespace. */
static const char *local_name(const char *name)
{
	const size_t size = sizeof(MESSAGE_NAMESPACE) - 1;
	const char *separator = strrchr(name, SEPARATOR);

	if (!separator || (size_t)(separator - name) != size ||
	    memcmp(name, MESSAGE_NAMESPACE, size) != 0)
		return NULL;
	return separator + 1;
}

static bool seen(const struct level *l, size_t i)
{
	return (l->seen & (1U << i)) != 0;
}

/* Whether another of the run of alternatives that field i belongs to was seen. */
static bool alternative_seen(const struct level *l, size_t i)
{
	const struct field *fields = l->group->fields;
	size_t from = i;

	if (fields[i].occurs != OCCURS_ALT)
		return false;
	while (from > 0 && fields[from - 1].occurs == OCCURS_ALT)
		from--;
	for (size_t j = from; j < l->group->field_count && fields[j].occurs == OCCURS_ALT; j++) {
		if (j != i && seen(l, j))
			return true;
	}
	return false;
}

static size_t list_count(const struct level *l, const struct field *f)
{
	size_t count;

	memcpy(&count, l->base + f->present_offset, sizeof(count));
	return count;
}

/* Whether field i may come now. */
static enum malformed check_place(const struct level *l, size_t i)
{
	const struct field *f = &l->group->fields[i];

	if (alternative_seen(l, i))
		return MALFORMED_TWICE;
	if (f->type == FIELD_LIST && seen(l, i)) {
		if (list_count(l, f) >= f->max)
			return MALFORMED_TWICE;
		return i == l->last ? MALFORMED_NOT : MALFORMED_ORDER;
	}
	if (seen(l, i))
		return MALFORMED_TWICE;
	return l->seen != 0 && i < l->last ? MALFORMED_ORDER : MALFORMED_NOT;
}

/* Where the group of field f goes, which it thereby marks as there. */
static uint8_t *enter_group(struct decoder *d, struct level *l, const struct field *f)
{
	static const bool yes = true;
	size_t count;

	switch (f->type) {
	case FIELD_ENVELOPE:
		return (uint8_t *)&d->message->envelope;
	case FIELD_SUB:
		memcpy(l->base + f->present_offset, &yes, sizeof(yes));
		return l->base + f->offset;
	case FIELD_LIST:
		count = list_count(l, f) + 1;
		memcpy(l->base + f->present_offset, &count, sizeof(count));
		return l->base + f->offset + (count - 1) * f->group->size;
	case FIELD_ENTITY:
	case FIELD_USER:
	case FIELD_TEXT:
	case FIELD_HEX:
	case FIELD_UINT:
	case FIELD_ENUM:
		break;
	}
	return l->base;
}

static void start_root(struct decoder *d, const char *name)
{
	for (unsigned k = 0; k < MESSAGE_KINDS; k++) {
		const struct message_row *row = message_row((enum message_kind)k);

		if (strcmp(row->group.xml, name) != 0)
			continue;
		d->message->kind = (enum message_kind)k;
		d->levels[0] = (struct level){.group = &row->group,
					      .base = (uint8_t *)d->message + row->offset,
					      .name = row->group.xml,
					      .line = line_now(d)};
		d->depth = 1;
		return;
	}
	fail(d, MALFORMED_UNKNOWN_MESSAGE, name);
}

static void start_child(struct decoder *d, const char *name)
{
	struct level *owner = &d->levels[d->depth - 1];
	const struct group *g = owner->group;
	enum malformed place;
	size_t i = 0;

	while (g && i < g->field_count && strcmp(field_name(&g->fields[i]), name) != 0)
		i++;
	if (!g || i == g->field_count) {
		fail(d, MALFORMED_UNKNOWN_ELEMENT, name);
		return;
	}
	place = check_place(owner, i);
	if (place != MALFORMED_NOT) {
		fail(d, place, name);
		return;
	}
	owner->seen |= 1U << i;
	owner->last = i;
	d->levels[d->depth] =
		(struct level){.name = field_name(&g->fields[i]), .line = line_now(d)};
	if (field_is_group(&g->fields[i])) {
		d->levels[d->depth].group = g->fields[i].group;
		d->levels[d->depth].base = enter_group(d, owner, &g->fields[i]);
	} else {
		d->levels[d->depth].field = &g->fields[i];
		d->levels[d->depth].base = owner->base;
		d->leaf = d->message->storage + d->used;
	}
	d->depth++;
}

static void XMLCALL on_start(void *user, const XML_Char *name, const XML_Char **attributes)
{
	struct decoder *d = user;
	const char *local = local_name(name);
	const char *plain = strrchr(name, SEPARATOR);

	if (d->why.what != MALFORMED_NOT)
		return;
	plain = plain ? plain + 1 : name;
	if (!local)
		fail(d, MALFORMED_NAMESPACE, plain);
	else if (d->depth == MESSAGE_MAX_DEPTH)
		fail(d, MALFORMED_TOO_DEEP, local);
	else if (attributes[0])
		fail(d, MALFORMED_ATTRIBUTE, local);
	else if (d->depth == 0)
		start_root(d, local);
	else
		start_child(d, local);
}

static enum malformed take_bytes(struct decoder *d, const struct level *l, struct bytes text)
{
	const struct field *f = l->field;
	enum malformed bad;

	if (f->type == FIELD_HEX) {
		size_t size;

		/* In place: two digits are read before their byte is written. */
		if (hex_decode(text, d->leaf, text.size, &size) < 0)
			return MALFORMED_VALUE;
		text.size = size;
	}
	bad = field_check(f, text);
	if (bad != MALFORMED_NOT)
		return bad;
	memcpy(l->base + f->offset, &text, sizeof(text));
	d->used += text.size;
	return MALFORMED_NOT;
}

static enum malformed take_uint(const struct level *l, struct bytes text)
{
	const struct field *f = l->field;
	uint64_t v = 0;
	uint32_t value;

	if (text.size == 0 || (text.size > 1 && text.data[0] == '0'))
		return MALFORMED_VALUE;
	for (size_t i = 0; i < text.size; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return MALFORMED_VALUE;
		if (v <= UINT32_MAX)
			v = v * 10 + (uint64_t)(text.data[i] - '0');
	}
	if (v < f->min || v > f->max)
		return f->min == f->max ? MALFORMED_VALUE : MALFORMED_SIZE;
	value = (uint32_t)v;
	memcpy(l->base + f->offset, &value, sizeof(value));
	return MALFORMED_NOT;
}

static enum malformed take_enum(const struct level *l, struct bytes text)
{
	const struct field *f = l->field;

	for (size_t i = 0; f->names->rows[i].name; i++) {
		if (!bytes_equal(text, bytes_text(f->names->rows[i].name)))
			continue;
		memcpy(l->base + f->offset, &f->names->rows[i].value, sizeof(unsigned));
		return MALFORMED_NOT;
	}
	return MALFORMED_VALUE;
}

static enum malformed take_leaf(struct decoder *d, const struct level *l)
{
	struct bytes text = bytes_of(d->leaf, (size_t)(d->message->storage + d->used - d->leaf));

	d->used -= text.size;
	switch (l->field->type) {
	case FIELD_ENTITY:
	case FIELD_USER:
	case FIELD_TEXT:
	case FIELD_HEX:
		return take_bytes(d, l, text);
	case FIELD_UINT:
		return take_uint(l, text);
	case FIELD_ENUM:
		return take_enum(l, text);
	case FIELD_ENVELOPE:
	case FIELD_SUB:
	case FIELD_LIST:
		break;
	}
	return MALFORMED_VALUE;
}

static void end_group(struct decoder *d, const struct level *l)
{
	for (size_t i = 0; i < l->group->field_count; i++) {
		const struct field *f = &l->group->fields[i];
		size_t count = seen(l, i) ? 1 : 0;
		size_t least = f->occurs == OCCURS_ONE ? 1 : 0;

		if (f->type == FIELD_LIST) {
			count = list_count(l, f);
			least = f->min;
		}
		if (count < least) {
			fail(d, MALFORMED_MISSING, field_name(f));
			return;
		}
	}
}

static void XMLCALL on_end(void *user, const XML_Char *name)
{
	struct decoder *d = user;
	const struct level *l;
	enum malformed bad;

	(void)name;
	if (d->why.what != MALFORMED_NOT)
		return;
	l = &d->levels[d->depth - 1];
	if (l->group) {
		end_group(d, l);
	} else {
		bad = take_leaf(d, l);
		if (bad != MALFORMED_NOT)
			fail_at(d, bad, l->line, l->name);
	}
	d->depth--;
	if (d->depth == 0)
		d->root_ended = true;
}

static void XMLCALL on_text(void *user, const XML_Char *text, int size)
{
	struct decoder *d = user;

	if (d->why.what != MALFORMED_NOT)
		return;
	if (d->depth > 0 && d->levels[d->depth - 1].field) {
		/* Never more than the source, for which there is room. */
		if ((size_t)size > d->capacity - d->used) {
			fail(d, MALFORMED_TOO_LARGE, open_element(d));
			return;
		}
		memcpy(d->message->storage + d->used, text, (size_t)size);
		d->used += (size_t)size;
		return;
	}
	for (int i = 0; i < size; i++) {
		if (text[i] != ' ' && text[i] != '\t' && text[i] != '\n' && text[i] != '\r') {
			fail(d, MALFORMED_TEXT, open_element(d));
			return;
		}
	}
}

static void XMLCALL on_declaration(void *user, const XML_Char *version, const XML_Char *encoding,
				   int standalone)
{
	struct decoder *d = user;

	(void)standalone;
	if (encoding && strcasecmp(encoding, "UTF-8") != 0)
		fail(d, MALFORMED_NOT_UTF8, "");
	else if (version && strcmp(version, "1.0") != 0)
		fail(d, MALFORMED_NOT_XML, "");
}

static void XMLCALL on_doctype(void *user, const XML_Char *name, const XML_Char *system_id,
			       const XML_Char *public_id, int has_internal_subset)
{
	(void)name;
	(void)system_id;
	(void)public_id;
	(void)has_internal_subset;
	fail(user, MALFORMED_DTD, "");
}

static void XMLCALL on_instruction(void *user, const XML_Char *target, const XML_Char *data)
{
	(void)target;
	(void)data;
	fail(user, MALFORMED_FORBIDDEN, open_element(user));
}

static void XMLCALL on_comment(void *user, const XML_Char *text)
{
	(void)text;
	fail(user, MALFORMED_FORBIDDEN, open_element(user));
}

static void XMLCALL on_cdata(void *user)
{
	fail(user, MALFORMED_FORBIDDEN, open_element(user));
}

/* A '<' before a name; b begins where the parser stopped. */
static bool begins_element(struct bytes b)
{
	return b.size >= 2 && b.data[0] == '<' && b.data[1] != '!' && b.data[1] != '?' &&
	       b.data[1] != '/' && b.data[1] > ' ';
}

/* What expat itself refused. */
static void parser_failed(struct decoder *d, struct bytes xml)
{
	XML_Index at = XML_GetCurrentByteIndex(d->parser);
	enum XML_Error error = XML_GetErrorCode(d->parser);
	struct bytes rest = BYTES_NONE;

	if (at >= 0 && (size_t)at < xml.size)
		rest = bytes_of(xml.data + at, xml.size - (size_t)at);
	if (d->root_ended)
		fail(d, begins_element(rest) ? MALFORMED_SECOND_ROOT : MALFORMED_TRAILING, "");
	else if (error == XML_ERROR_UNKNOWN_ENCODING || error == XML_ERROR_INCORRECT_ENCODING)
		fail(d, MALFORMED_NOT_UTF8, "");
	else
		fail(d, MALFORMED_NOT_XML, open_element(d));
}

/* 0, or the line of the first byte that is not UTF-8. */
static unsigned not_utf8_line(struct bytes xml)
{
	unsigned line = 1;

	while (xml.size > 0) {
		utf8proc_int32_t point;
		utf8proc_ssize_t used =
			utf8proc_iterate(xml.data, (utf8proc_ssize_t)xml.size, &point);

		if (used <= 0)
			return line;
		if (point == '\n')
			line++;
		xml.data += used;
		xml.size -= (size_t)used;
	}
	return 0;
}

/* 0, MESSAGE_MALFORMED or -ENOMEM. */
static int parse(struct decoder *d, struct bytes xml)
{
	XML_SetUserData(d->parser, d);
	XML_SetElementHandler(d->parser, on_start, on_end);
	XML_SetCharacterDataHandler(d->parser, on_text);
	XML_SetXmlDeclHandler(d->parser, on_declaration);
	XML_SetStartDoctypeDeclHandler(d->parser, on_doctype);
	XML_SetProcessingInstructionHandler(d->parser, on_instruction);
	XML_SetCommentHandler(d->parser, on_comment);
	XML_SetStartCdataSectionHandler(d->parser, on_cdata);
	if (XML_Parse(d->parser, (const char *)xml.data, (int)xml.size, XML_TRUE) ==
		    XML_STATUS_OK &&
	    d->why.what == MALFORMED_NOT)
		return 0;
	if (XML_GetErrorCode(d->parser) == XML_ERROR_NO_MEMORY)
		return -ENOMEM;
	if (d->why.what == MALFORMED_NOT)
		parser_failed(d, xml);
	return MESSAGE_MALFORMED;
}

int message_decode(struct bytes xml, struct message **out, struct malformation *why)
{
	struct decoder d = {.capacity = xml.size};
	unsigned line;
	int r = -ENOMEM;

	if (xml.size > MESSAGE_MAX_SIZE) {
		describe(why, MALFORMED_TOO_LARGE, 1, "");
		return MESSAGE_MALFORMED;
	}
	line = not_utf8_line(xml);
	if (line > 0) {
		describe(why, MALFORMED_NOT_UTF8, line, "");
		return MESSAGE_MALFORMED;
	}
	d.message = calloc(1, sizeof(*d.message));
	if (!d.message)
		return -ENOMEM;
	d.message->storage = malloc(xml.size + 1);
	d.parser = XML_ParserCreateNS(NULL, SEPARATOR);
	if (d.message->storage && d.parser)
		r = parse(&d, xml);
	if (d.parser)
		XML_ParserFree(d.parser);
	if (r == 0) {
		*out = d.message;
		return 0;
	}
	if (r == MESSAGE_MALFORMED)
		*why = d.why;
	message_free(d.message);
	return r;
}
