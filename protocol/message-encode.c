#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/message-table.h"

struct writer {
	char *out; /* MESSAGE_MAX_SIZE and a NUL */
	size_t size;
};

static int put(struct writer *w, const char *text, size_t size)
{
	if (size > MESSAGE_MAX_SIZE - w->size)
		return -EMSGSIZE;
	memcpy(w->out + w->size, text, size);
	w->size += size;
	return 0;
}

static int put_text(struct writer *w, const char *text)
{
	return put(w, text, strlen(text));
}

static int put_escaped(struct writer *w, struct bytes v)
{
	int r = 0;

	for (size_t i = 0; i < v.size && r == 0; i++) {
		char c = (char)v.data[i];

		if (c == '&')
			r = put_text(w, "&amp;");
		else if (c == '<')
			r = put_text(w, "&lt;");
		else if (c == '>')
			r = put_text(w, "&gt;");
		else
			r = put(w, &c, 1);
	}
	return r;
}

static int put_hex(struct writer *w, struct bytes v)
{
	int r = 0;

	for (size_t i = 0; i < v.size && r == 0; i++) {
		char digits[3];

		r = hex_encode(bytes_of(v.data + i, 1), digits, sizeof(digits));
		if (r == 0)
			r = put(w, digits, 2);
	}
	return r;
}

static int put_tag(struct writer *w, const char *before, const char *name, const char *after)
{
	int r = put_text(w, before);

	if (r == 0)
		r = put_text(w, name);
	return r == 0 ? put_text(w, after) : r;
}

static int put_bytes(struct writer *w, const struct field *f, const uint8_t *at)
{
	struct bytes v;
	int r;

	memcpy(&v, at, sizeof(v));
	if (field_check(f, v) != MALFORMED_NOT)
		return -EINVAL;
	r = put_tag(w, "<", f->xml, ">");
	if (r == 0)
		r = f->type == FIELD_HEX ? put_hex(w, v) : put_escaped(w, v);
	return r == 0 ? put_tag(w, "</", f->xml, ">") : r;
}

static int put_uint(struct writer *w, const struct field *f, const uint8_t *at)
{
	char digits[16];
	uint32_t v;
	int r;

	memcpy(&v, at, sizeof(v));
	if (v < f->min || v > f->max)
		return -EINVAL;
	(void)snprintf(digits, sizeof(digits), "%" PRIu32, v);
	r = put_tag(w, "<", f->xml, ">");
	if (r == 0)
		r = put_text(w, digits);
	return r == 0 ? put_tag(w, "</", f->xml, ">") : r;
}

static int put_enum(struct writer *w, const struct field *f, const uint8_t *at)
{
	unsigned v;
	int r;

	memcpy(&v, at, sizeof(v));
	for (size_t i = 0; f->names->rows[i].name; i++) {
		if (f->names->rows[i].value != v)
			continue;
		r = put_tag(w, "<", f->xml, ">");
		if (r == 0)
			r = put_text(w, f->names->rows[i].name);
		return r == 0 ? put_tag(w, "</", f->xml, ">") : r;
	}
	return -EINVAL;
}

static int put_fields(struct writer *w, const struct group *g, const uint8_t *base,
		      const struct message *m);

/* The recursion is as deep as messages.def nests: MESSAGE_MAX_DEPTH. */
static int put_group(struct writer *w, const struct group *g, const uint8_t *base)
{
	int r = put_tag(w, "<", g->xml, ">");

	if (r == 0)
		r = put_fields(w, g, base, NULL);
	return r == 0 ? put_tag(w, "</", g->xml, ">") : r;
}

static int put_list(struct writer *w, const struct field *f, const uint8_t *base)
{
	size_t count;
	int r = 0;

	memcpy(&count, base + f->present_offset, sizeof(count));
	if (count < f->min || count > f->max)
		return -EINVAL;
	for (size_t i = 0; i < count && r == 0; i++)
		r = put_group(w, f->group, base + f->offset + i * f->group->size);
	return r;
}

static bool is_present(const struct field *f, const uint8_t *base)
{
	struct bytes v;
	bool has;

	if (f->occurs == OCCURS_ONE)
		return true;
	if (f->type == FIELD_SUB) {
		memcpy(&has, base + f->present_offset, sizeof(has));
		return has;
	}
	memcpy(&v, base + f->offset, sizeof(v));
	return v.size > 0;
}

static int put_field(struct writer *w, const struct field *f, const uint8_t *base,
		     const struct message *m)
{
	switch (f->type) {
	case FIELD_ENVELOPE:
		return put_group(w, f->group, (const uint8_t *)&m->envelope);
	case FIELD_ENTITY:
	case FIELD_USER:
	case FIELD_TEXT:
	case FIELD_HEX:
		return put_bytes(w, f, base + f->offset);
	case FIELD_UINT:
		return put_uint(w, f, base + f->offset);
	case FIELD_ENUM:
		return put_enum(w, f, base + f->offset);
	case FIELD_SUB:
		return put_group(w, f->group, base + f->offset);
	case FIELD_LIST:
		return put_list(w, f, base);
	}
	return -EINVAL;
}

static int put_fields(struct writer *w, const struct group *g, const uint8_t *base,
		      const struct message *m)
{
	bool alternative = false;

	for (size_t i = 0; i < g->field_count; i++) {
		const struct field *f = &g->fields[i];
		int r;

		if (f->occurs != OCCURS_ALT)
			alternative = false;
		if (!is_present(f, base))
			continue;
		if (f->occurs == OCCURS_ALT && alternative)
			return -EINVAL;
		alternative = f->occurs == OCCURS_ALT;
		r = put_field(w, f, base, m);
		if (r < 0)
			return r;
	}
	return 0;
}

int message_encode(const struct message *m, char **out, size_t *out_size)
{
	const struct message_row *row;
	struct writer w = {NULL, 0};
	int r;

	if (m->kind >= MESSAGE_KINDS)
		return -EINVAL;
	row = message_row(m->kind);
	w.out = malloc(MESSAGE_MAX_SIZE + 1);
	if (!w.out)
		return -ENOMEM;
	r = put_tag(&w, "<", row->group.xml, " xmlns=\"" MESSAGE_NAMESPACE "\">");
	if (r == 0)
		r = put_fields(&w, &row->group, (const uint8_t *)m + row->offset, m);
	if (r == 0)
		r = put_tag(&w, "</", row->group.xml, ">");
	if (r < 0) {
		free(w.out);
		return r;
	}
	w.out[w.size] = '\0';
	*out = w.out;
	*out_size = w.size;
	return 0;
}
