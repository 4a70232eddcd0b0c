#include "gateway/note.h"

#include <stdlib.h>
#include <string.h>

enum note_type { NUMBER, FLAG, CHOICE, TEXT, HEX, TOKEN, XML };

static const struct {
	const char *name;
	enum note_type type;
} tags[NOTE_TAGS] = {
#define NOTE(name, type, table) [NOTE_##name] = {#name, type},
#include "gateway/notes.def"
#undef NOTE
};

const char *note_name(enum note_tag tag)
{
	return tag > NOTE_end && tag < NOTE_TAGS ? tags[tag].name : "";
}

void note_raw(struct note_writer *w, const void *data, size_t size)
{
	if (w->overflow || size > w->room - w->size) {
		w->overflow = true;
		return;
	}
	if (size > 0)
		memcpy(w->data + w->size, data, size);
	w->size += size;
}

void note_varint(struct note_writer *w, uint64_t number)
{
	uint8_t buffer[10];
	size_t n = 0;

	while (number >= 0x80) {
		buffer[n++] = (uint8_t)(number | 0x80);
		number >>= 7;
	}
	buffer[n++] = (uint8_t)number;
	note_raw(w, buffer, n);
}

bool note_get_varint(struct bytes b, size_t *at, uint64_t *out)
{
	uint64_t number = 0;

	for (unsigned shift = 0; shift < 64 && *at < b.size; shift += 7) {
		uint8_t byte = b.data[(*at)++];

		number |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*out = number;
			return true;
		}
	}
	return false;
}

static void put_tag(struct note_writer *w, enum note_tag tag)
{
	uint8_t byte = (uint8_t)tag;

	note_raw(w, &byte, 1);
}

void note_always(struct note_writer *w, enum note_tag tag, uint64_t number)
{
	put_tag(w, tag);
	note_varint(w, number);
}

void note_number(struct note_writer *w, enum note_tag tag, uint64_t number)
{
	if (number != 0)
		note_always(w, tag, number);
}

void note_hex(struct note_writer *w, enum note_tag tag, struct bytes b)
{
	put_tag(w, tag);
	note_varint(w, b.size);
	note_raw(w, b.data, b.size);
}

void note_text(struct note_writer *w, enum note_tag tag, struct bytes text)
{
	if (text.size > 0)
		note_hex(w, tag, text);
}

void note_string(struct note_writer *w, enum note_tag tag, const char *text)
{
	note_text(w, tag, bytes_text(text));
}

struct note_token note_token_of(const struct note_writer *w, struct bytes b)
{
	struct note_token t = {.number = 1, .size = b.size};
	uint8_t hash[P1_SIPHASH_SIZE];

	if (p1_siphash(w->key, b, hash) == 0)
		memcpy(&t.number, hash, sizeof(t.number));
	if (t.number == 0)
		t.number = 1;
	return t;
}

void note_put_token(struct note_writer *w, enum note_tag tag, struct note_token t)
{
	if (t.number == 0)
		return;
	put_tag(w, tag);
	note_raw(w, &t.number, sizeof(t.number));
	note_varint(w, t.size);
}

void note_secret(struct note_writer *w, enum note_tag tag, struct bytes b)
{
	if (b.data)
		note_put_token(w, tag, note_token_of(w, b));
}

void note_compact(struct note_writer *w, enum note_tag tag, struct bytes compact)
{
	note_hex(w, tag, compact);
}

/* The size is not known before: it has two bytes, which are enough for the largest message. */
void note_message(struct note_writer *w, enum note_tag tag, struct bytes xml,
		  const struct message *m)
{
	size_t begin = w->size;
	uint8_t size[2];
	size_t n;

	put_tag(w, tag);
	note_raw(w, "\x80", 2);
	if (!note_xml_pack(w, xml)) {
		char *own = NULL;
		size_t own_size = 0;
		bool packed;

		if (!w->overflow)
			w->size = begin + 3;
		packed = !w->overflow && m && message_encode(m, &own, &own_size) == 0 &&
			 note_xml_pack(w, bytes_of(own, own_size));
		free(own);
		if (!packed && !w->overflow) {
			w->size = begin;
			note_number(w, NOTE_cut, 1);
			return;
		}
	}
	if (w->overflow)
		return;
	n = w->size - begin - 3;
	size[0] = (uint8_t)(n | 0x80);
	size[1] = (uint8_t)(n >> 7);
	if (n > 0x3fff)
		w->overflow = true;
	else
		memcpy(w->data + begin + 1, size, sizeof(size));
}

struct note_reader note_read(struct bytes b)
{
	return (struct note_reader){.b = b};
}

static bool get_bytes(struct note_reader *r, struct bytes *out)
{
	uint64_t size;

	if (!note_get_varint(r->b, &r->at, &size) || size > r->b.size - r->at)
		return false;
	*out = bytes_of(r->b.data + r->at, (size_t)size);
	r->at += (size_t)size;
	return true;
}

static bool get_token(struct note_reader *r, struct note_token *out)
{
	uint64_t size;

	if (r->b.size - r->at < sizeof(out->number))
		return false;
	memcpy(&out->number, r->b.data + r->at, sizeof(out->number));
	r->at += sizeof(out->number);
	if (!note_get_varint(r->b, &r->at, &size) || size > MESSAGE_MAX_SIZE)
		return false;
	out->size = (size_t)size;
	return true;
}

bool note_next(struct note_reader *r, struct note_field *out)
{
	struct note_field f = {.tag = NOTE_end};
	bool good = false;

	if (r->bad || r->at >= r->b.size)
		return false;
	f.tag = (enum note_tag)r->b.data[r->at++];
	if (f.tag > NOTE_end && f.tag < NOTE_TAGS) {
		switch (tags[f.tag].type) {
		case NUMBER:
		case FLAG:
		case CHOICE:
			good = note_get_varint(r->b, &r->at, &f.number);
			break;
		case TEXT:
		case HEX:
		case XML:
			good = get_bytes(r, &f.bytes);
			break;
		case TOKEN:
			good = get_token(r, &f.token);
			break;
		}
	}
	r->bad = !good;
	if (good)
		*out = f;
	return good;
}

bool note_take(struct note_reader *r, enum note_tag tag, struct note_field *out)
{
	if (r->bad || r->at >= r->b.size || r->b.data[r->at] != (uint8_t)tag)
		return false;
	return note_next(r, out);
}

uint64_t note_take_number(struct note_reader *r, enum note_tag tag)
{
	struct note_field f;

	return note_take(r, tag, &f) ? f.number : 0;
}

bool note_take_name(struct note_reader *r, enum note_tag tag, struct name *out)
{
	struct note_field f;

	out->text[0] = '\0';
	return note_take(r, tag, &f) && name_set(out, f.bytes) == 0;
}

void note_take_text(struct note_reader *r, enum note_tag tag, char *out, size_t out_size)
{
	struct note_field f;
	size_t size = 0;

	if (note_take(r, tag, &f)) {
		size = f.bytes.size < out_size ? f.bytes.size : out_size - 1;
		memcpy(out, f.bytes.data, size);
	}
	out[size] = '\0';
}

struct note_token note_take_token(struct note_reader *r, enum note_tag tag)
{
	struct note_field f = {.tag = NOTE_end};

	return note_take(r, tag, &f) ? f.token : (struct note_token){0, 0};
}

bool note_find(struct note_reader *r, enum note_tag tag, struct note_field *out)
{
	struct note_field f;

	while (note_next(r, &f)) {
		if (f.tag == tag) {
			*out = f;
			return true;
		}
	}
	return false;
}

/* As text. */

static void write_quoted(FILE *out, struct bytes text)
{
	(void)fputc('"', out);
	for (size_t i = 0; i < text.size; i++) {
		uint8_t c = text.data[i];

		if (c < ' ' || c == 0x7f)
			(void)fprintf(out, "\\x%02x", c);
		else if (c == '"' || c == '\\')
			(void)fprintf(out, "\\%c", c);
		else
			(void)fputc(c, out);
	}
	(void)fputc('"', out);
}

static bool write_token(FILE *out, struct note_token t, note_number_fn *number, void *arg)
{
	uint64_t n = number(arg, t);

	(void)fprintf(out, "key#%llu:%zu", (unsigned long long)n, t.size);
	return n != 0;
}

bool note_write_text(FILE *out, struct bytes note, note_number_fn *number, void *arg)
{
	struct note_reader r = note_read(note);
	const char *separator = "";
	struct note_field f;
	bool good = true;

	while (good && note_next(&r, &f)) {
		const char *name;

		(void)fprintf(out, "%s%s=", separator, tags[f.tag].name);
		separator = " ";
		switch (tags[f.tag].type) {
		case CHOICE:
			name = note_choice(f.tag, f.number);
			if (name) {
				(void)fputs(name, out);
				break;
			}
			(void)fprintf(out, "%llu", (unsigned long long)f.number);
			break;
		case NUMBER:
		case FLAG:
			(void)fprintf(out, "%llu", (unsigned long long)f.number);
			break;
		case TEXT:
			write_quoted(out, f.bytes);
			break;
		case HEX:
			for (size_t i = 0; i < f.bytes.size; i++)
				(void)fprintf(out, "%02x", f.bytes.data[i]);
			break;
		case TOKEN:
			good = write_token(out, f.token, number, arg);
			break;
		case XML:
			good = note_xml_write(out, f.bytes, number, arg);
			break;
		}
	}
	return good;
}

static bool parse_number(struct bytes text, uint64_t *out)
{
	uint64_t number = 0;

	if (text.size == 0 || text.size > 20)
		return false;
	for (size_t i = 0; i < text.size; i++) {
		unsigned digit = (unsigned)text.data[i] - '0';

		if (digit > 9 || number > (UINT64_MAX - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	*out = number;
	return true;
}

bool note_parse_token(struct bytes text, struct note_token *out)
{
	const uint8_t *colon;
	uint64_t number, size;
	size_t before;

	if (text.size < 5 || memcmp(text.data, "key#", 4) != 0)
		return false;
	text = bytes_of(text.data + 4, text.size - 4);
	colon = memchr(text.data, ':', text.size);
	if (!colon)
		return false;
	before = (size_t)(colon - text.data);
	if (!parse_number(bytes_of(text.data, before), &number) || number == 0 ||
	    !parse_number(bytes_of(colon + 1, text.size - before - 1), &size) ||
	    size > MESSAGE_MAX_SIZE)
		return false;
	*out = (struct note_token){number, (size_t)size};
	return true;
}

static unsigned nibble(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)c - '0';
	if (c >= 'a' && c <= 'f')
		return (unsigned)c - 'a' + 10;
	return 16;
}

/* The quoted text at *at, in place of which its size in decoded bytes is put before it. */
static bool parse_quoted(struct bytes line, size_t *at, struct note_writer *w, enum note_tag tag)
{
	uint8_t text[1024];
	size_t size = 0;

	if (*at >= line.size || line.data[(*at)++] != '"')
		return false;
	while (*at < line.size && line.data[*at] != '"') {
		uint8_t c = line.data[(*at)++];

		if (size == sizeof(text) || *at >= line.size)
			return false;
		if (c == '\\') {
			c = line.data[(*at)++];
			if (c == 'x') {
				unsigned high, low;

				if (line.size - *at < 2)
					return false;
				high = nibble(line.data[*at]);
				low = nibble(line.data[*at + 1]);
				if (high > 15 || low > 15)
					return false;
				c = (uint8_t)(high << 4 | low);
				*at += 2;
			} else if (c != '"' && c != '\\') {
				return false;
			}
		}
		text[size++] = c;
	}
	if (*at >= line.size)
		return false;
	(*at)++;
	note_hex(w, tag, bytes_of(text, size));
	return true;
}

static bool parse_choice(enum note_tag tag, struct bytes word, uint64_t *out)
{
	for (uint64_t i = 0; i < 1024; i++) {
		const char *name = note_choice(tag, i);

		if (name && bytes_equal(bytes_text(name), word)) {
			*out = i;
			return true;
		}
	}
	return parse_number(word, out);
}

static bool parse_hex(struct bytes word, struct note_writer *w, enum note_tag tag)
{
	uint8_t data[64];
	size_t size = 0;

	if (hex_decode(word, data, sizeof(data), &size) != 0)
		return false;
	note_hex(w, tag, bytes_of(data, size));
	return true;
}

/* An element's text may have spaces: the message ends with its last tag, before " name=". */
static bool parse_xml(struct bytes line, size_t *at, struct note_writer *w, enum note_tag tag)
{
	struct bytes rest = bytes_of(line.data + *at, line.size - *at);
	size_t begin = w->size;
	uint8_t size[2];
	size_t end, n;

	for (end = 0; end < rest.size; end++) {
		if (rest.data[end] == '>' && (end + 1 == rest.size || rest.data[end + 1] == ' '))
			break;
	}
	if (end == rest.size)
		return false;
	end++;
	put_tag(w, tag);
	note_raw(w, "\x80", 2);
	if (!note_xml_pack_text(w, bytes_of(rest.data, end)) || w->overflow)
		return false;
	n = w->size - begin - 3;
	if (n > 0x3fff)
		return false;
	size[0] = (uint8_t)(n | 0x80);
	size[1] = (uint8_t)(n >> 7);
	memcpy(w->data + begin + 1, size, sizeof(size));
	*at += end;
	return true;
}

static enum note_tag tag_of(struct bytes name)
{
	for (unsigned i = NOTE_end + 1; i < NOTE_TAGS; i++) {
		if (bytes_equal(bytes_text(tags[i].name), name))
			return (enum note_tag)i;
	}
	return NOTE_end;
}

static struct bytes word_at(struct bytes line, size_t *at, uint8_t end)
{
	size_t from = *at;

	while (*at < line.size && line.data[*at] != end)
		(*at)++;
	return bytes_of(line.data + from, *at - from);
}

static const char *parse_field(struct bytes line, size_t *at, struct note_writer *w)
{
	enum note_tag tag = tag_of(word_at(line, at, '='));
	struct note_token token;
	uint64_t number;

	if (tag == NOTE_end || *at == line.size)
		return "a field that this version does not know";
	(*at)++;
	switch (tags[tag].type) {
	case CHOICE:
		if (!parse_choice(tag, word_at(line, at, ' '), &number))
			return "a name that this version does not know";
		note_always(w, tag, number);
		return NULL;
	case NUMBER:
	case FLAG:
		if (!parse_number(word_at(line, at, ' '), &number))
			return "not a number";
		note_always(w, tag, number);
		return NULL;
	case TEXT:
		return parse_quoted(line, at, w, tag) ? NULL : "not a quoted text";
	case HEX:
		return parse_hex(word_at(line, at, ' '), w, tag) ? NULL : "not hex digits";
	case TOKEN:
		if (!note_parse_token(word_at(line, at, ' '), &token))
			return "not a token";
		note_put_token(w, tag, token);
		return NULL;
	case XML:
		return parse_xml(line, at, w, tag) ? NULL : "not a message";
	}
	return "";
}

const char *note_parse_text(struct bytes line, struct note_writer *w)
{
	size_t at = 0;

	while (at < line.size) {
		const char *wrong = parse_field(line, &at, w);

		if (wrong)
			return wrong;
		if (at < line.size && line.data[at++] != ' ')
			return "no space between two fields";
	}
	return w->overflow ? "an entry that is too large" : NULL;
}
