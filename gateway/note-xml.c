/*
 * Messages in the flight recorder. In memory an element's name is one byte and the value of each
 * binary field but a message id is a token; what is not an element of messages.def, or is written
 * in another way than the encoder does, is not taken at all.
 */

#include "gateway/note.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OPEN      1 /* and the element's number + OPEN_BASE */
#define OPEN_BASE 4
#define CLOSE     2
#define BINARY    3 /* and a token */
#define DEPTH_MAX (MESSAGE_MAX_DEPTH + 2)

enum content { ELEMENTS, WORDS, SECRET, PUBLIC };

static const struct element {
	const char *name;
	enum content content;
} elements[] = {
#define GROUP_BEGIN(id, xml)                      {#xml, ELEMENTS},
#define MESSAGE_BEGIN(id, xml, directions, needs) {#xml, ELEMENTS},
#define ENTITY(owner, id, xml, occurs)            {#xml, WORDS},
#define USER(owner, id, xml, occurs)              {#xml, WORDS},
#define TEXT(owner, id, xml, min, max, occurs)    {#xml, WORDS},
#define HEX(owner, id, xml, min, max, occurs)     {#xml, SECRET},
#define UINT(owner, id, xml, min, max)            {#xml, WORDS},
#define ENUM(owner, id, xml, type)                {#xml, WORDS},
/* clang-format off */
#include "protocol/messages-ignore.h"
#include "protocol/messages.def"
#include "protocol/messages-undef.h"
	/* clang-format on */
};

#define ELEMENTS_COUNT (sizeof(elements) / sizeof(elements[0]))
#define BUCKETS        256U

/* Made once: the first element of each name, by a hash of the name. */
static uint8_t buckets[BUCKETS];
static bool buckets_made;

static unsigned bucket_of(struct bytes name)
{
	unsigned hash = (unsigned)name.size;

	for (size_t i = 0; i < name.size; i++)
		hash = hash * 33 + name.data[i];
	return (hash ^ hash >> 8) % BUCKETS;
}

static void make_buckets(void)
{
	for (size_t i = 0; i < ELEMENTS_COUNT; i++) {
		unsigned at = bucket_of(bytes_text(elements[i].name));

		while (buckets[at] != 0 &&
		       strcmp(elements[buckets[at] - 1].name, elements[i].name) != 0)
			at = (at + 1) % BUCKETS;
		if (buckets[at] == 0)
			buckets[at] = (uint8_t)(i + 1);
	}
	buckets_made = true;
}

_Static_assert(ELEMENTS_COUNT + OPEN_BASE < BUCKETS - 16, "an element's number is one byte");

/* -1: there is none of that name. */
static int element_of(struct bytes name)
{
	unsigned at = bucket_of(name);

	if (!buckets_made)
		make_buckets();
	for (; buckets[at] != 0; at = (at + 1) % BUCKETS) {
		if (bytes_equal(bytes_text(elements[buckets[at] - 1].name), name))
			return buckets[at] - 1;
	}
	return -1;
}

/* The ids by which messages are told apart are no secret, and a person looks for them. */
static bool is_id(const char *name)
{
	return strcmp(name, "MessageID") == 0 || strcmp(name, "InResponseTo") == 0;
}

static enum content content_of(int element)
{
	enum content c = elements[element].content;

	return c == SECRET && is_id(elements[element].name) ? PUBLIC : c;
}

static void put_byte(struct note_writer *w, unsigned byte)
{
	uint8_t b = (uint8_t)byte;

	note_raw(w, &b, 1);
}

static void put_binary(struct note_writer *w, struct note_token t)
{
	put_byte(w, BINARY);
	note_raw(w, &t.number, sizeof(t.number));
	note_varint(w, t.size);
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* What stands between two tags; element: of the innermost open one, -1 outside of all. */
static bool pack_text(struct note_writer *w, struct bytes text, int element, bool tokens)
{
	struct note_token token;
	uint8_t binary[512];
	size_t size = 0;
	bool good = true;

	if (element < 0 || content_of(element) == ELEMENTS) {
		for (size_t i = 0; i < text.size; i++)
			good = good && is_space(text.data[i]);
		return good;
	}
	for (size_t i = 0; i < text.size; i++)
		good = good && text.data[i] >= ' ' && text.data[i] != '>';
	if (!good)
		return false;
	if (content_of(element) != SECRET) {
		note_raw(w, text.data, text.size);
		return true;
	}
	if (tokens) {
		if (!note_parse_token(text, &token) || token.size > sizeof(binary))
			return false;
		put_binary(w, token);
		return true;
	}
	if (hex_decode(text, binary, sizeof(binary), &size) != 0)
		return false;
	put_binary(w, note_token_of(w, bytes_of(binary, size)));
	wipe(binary, size);
	return true;
}

/* Where the tag that begins at b ends. */
static const uint8_t *tag_end(struct bytes b)
{
	return memchr(b.data, '>', b.size);
}

static bool pack(struct note_writer *w, struct bytes xml, bool tokens)
{
	int open[DEPTH_MAX];
	size_t depth = 0, at = 0;
	bool seen = false;

	if (xml.size > 5 && memcmp(xml.data, "<?xml", 5) == 0) {
		const uint8_t *end = tag_end(xml);

		if (!end)
			return false;
		at = (size_t)(end + 1 - xml.data);
	}
	while (at < xml.size) {
		const uint8_t *next = memchr(xml.data + at, '<', xml.size - at);
		struct bytes text = bytes_of(xml.data + at,
					     next ? (size_t)(next - xml.data) - at : xml.size - at);
		struct bytes tag;
		const uint8_t *end;
		size_t name = 0;
		int element;

		/* Where a child or the end of a group follows, there is no text but white space. */
		if (text.size > 0 && !pack_text(w, text, depth > 0 ? open[depth - 1] : -1, tokens))
			return false;
		if (!next)
			break;
		tag = bytes_of(next, xml.size - (size_t)(next - xml.data));
		end = tag_end(tag);
		if (!end)
			return false;
		at = (size_t)(end + 1 - xml.data);
		tag = bytes_of(next + 1, (size_t)(end - next) - 1);
		if (tag.size > 0 && tag.data[0] == '/') {
			if (depth == 0)
				return false;
			depth--;
			put_byte(w, CLOSE);
			continue;
		}
		while (name < tag.size && !is_space(tag.data[name]))
			name++;
		element = element_of(bytes_of(tag.data, name));
		if (element < 0 || depth == DEPTH_MAX || (depth == 0 && seen) ||
		    (tag.size > 0 && tag.data[tag.size - 1] == '/') ||
		    (name < tag.size && depth > 0))
			return false;
		seen = true;
		open[depth++] = element;
		put_byte(w, OPEN);
		put_byte(w, (unsigned)element + OPEN_BASE);
	}
	return seen && depth == 0 && !w->overflow;
}

bool note_xml_pack(struct note_writer *w, struct bytes xml)
{
	return xml.size > 0 && pack(w, xml, false);
}

bool note_xml_pack_text(struct note_writer *w, struct bytes text)
{
	return pack(w, text, true);
}

void note_fill(struct note_token t, uint8_t *out)
{
	for (size_t i = 0; i < t.size; i++)
		out[i] = (uint8_t)(t.number >> 8 * (7 - i % 8)) ^ 0x5a;
}

/* What write() is told: a person's or a decoder's form. */
struct unpacking {
	FILE *out;
	note_number_fn *number; /* NULL: the decoder's */
	void *arg;
};

static bool write_binary(const struct unpacking *u, struct note_token t)
{
	uint8_t fill[MESSAGE_MAX_SIZE];
	uint64_t n;

	if (u->number) {
		n = u->number(u->arg, t);
		(void)fprintf(u->out, "key#%llu:%zu", (unsigned long long)n, t.size);
		return n != 0;
	}
	if (t.size > sizeof(fill))
		return false;
	note_fill(t, fill);
	for (size_t i = 0; i < t.size; i++)
		(void)fprintf(u->out, "%02x", fill[i]);
	return true;
}

static bool get_binary(struct bytes b, size_t *at, struct note_token *out)
{
	uint64_t size;

	if (b.size - *at < sizeof(out->number))
		return false;
	memcpy(&out->number, b.data + *at, sizeof(out->number));
	*at += sizeof(out->number);
	if (!note_get_varint(b, at, &size))
		return false;
	out->size = (size_t)size;
	return true;
}

static bool unpack(const struct unpacking *u, struct bytes packed)
{
	size_t open[DEPTH_MAX];
	size_t depth = 0, at = 0;

	while (at < packed.size) {
		uint8_t c = packed.data[at++];
		struct note_token t;

		if (c == OPEN) {
			size_t element;

			if (at == packed.size || depth == DEPTH_MAX)
				return false;
			element = (size_t)packed.data[at++] - OPEN_BASE;
			if (element >= ELEMENTS_COUNT)
				return false;
			(void)fprintf(u->out, "<%s", elements[element].name);
			if (depth == 0 && !u->number)
				(void)fputs(" xmlns=\"" MESSAGE_NAMESPACE "\"", u->out);
			(void)fputc('>', u->out);
			open[depth++] = element;
		} else if (c == CLOSE) {
			if (depth == 0)
				return false;
			(void)fprintf(u->out, "</%s>", elements[open[--depth]].name);
		} else if (c == BINARY) {
			if (!get_binary(packed, &at, &t) || !write_binary(u, t))
				return false;
		} else {
			(void)fputc(c, u->out);
		}
	}
	return depth == 0;
}

bool note_xml_write(FILE *out, struct bytes packed, note_number_fn *number, void *arg)
{
	const struct unpacking u = {out, number, arg};

	return unpack(&u, packed);
}

int note_xml_message(struct bytes packed, char **xml, size_t *size)
{
	struct unpacking u = {NULL, NULL, NULL};
	char *text = NULL;
	bool good;

	u.out = open_memstream(&text, size);
	if (!u.out)
		return -ENOMEM;
	good = unpack(&u, packed);
	if (fclose(u.out) != 0) {
		free(text);
		return -ENOMEM;
	}
	if (!good) {
		free(text);
		return -EBADMSG;
	}
	*xml = text;
	return 0;
}

const char *note_xml_root(struct bytes packed)
{
	size_t element = packed.size < 2 ? ELEMENTS_COUNT : (size_t)packed.data[1] - OPEN_BASE;

	return element < ELEMENTS_COUNT && packed.data[0] == OPEN ? elements[element].name : "";
}
