#include "protocol/bytes.h"

#include <errno.h>
#include <string.h>

#include <utf8proc.h>

struct bytes bytes_text(const char *text)
{
	return text ? bytes_of(text, strlen(text)) : BYTES_NONE;
}

bool bytes_equal(struct bytes a, struct bytes b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

int bytes_to_text(struct bytes b, char *out, size_t out_size)
{
	if (out_size == 0)
		return -ENOBUFS;
	out[0] = '\0';
	if (b.size >= out_size)
		return -ENOBUFS;
	if (b.size > 0)
		memcpy(out, b.data, b.size);
	out[b.size] = '\0';
	return 0;
}

int hex_encode(struct bytes b, char *out, size_t out_size)
{
	static const char digits[] = "0123456789abcdef";

	if (b.size > (SIZE_MAX - 1) / 2 || out_size < 2 * b.size + 1)
		return -ENOBUFS;
	for (size_t i = 0; i < b.size; i++) {
		out[2 * i] = digits[b.data[i] >> 4];
		out[2 * i + 1] = digits[b.data[i] & 15];
	}
	out[2 * b.size] = '\0';
	return 0;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int hex_decode(struct bytes text, uint8_t *out, size_t out_size, size_t *written)
{
	if (text.size % 2 != 0)
		return -EINVAL;
	for (size_t i = 0; i < text.size; i++) {
		if (hex_digit(text.data[i]) < 0)
			return -EINVAL;
	}
	if (text.size / 2 > out_size)
		return -ENOBUFS;
	for (size_t i = 0; i < text.size / 2; i++) {
		unsigned high = (unsigned)hex_digit(text.data[2 * i]);
		unsigned low = (unsigned)hex_digit(text.data[2 * i + 1]);

		out[i] = (uint8_t)(high << 4 | low);
	}
	*written = text.size / 2;
	return 0;
}

int name_set(struct name *out, struct bytes b)
{
	if (b.size == 0 || b.size > NAME_MAX_SIZE)
		return -EINVAL;
	return bytes_to_text(b, out->text, sizeof(out->text));
}

struct bytes name_bytes(const struct name *n)
{
	return bytes_text(n->text);
}

bool name_equal(const struct name *a, const struct name *b)
{
	return strcmp(a->text, b->text) == 0;
}

bool entity_id_valid(struct bytes b)
{
	if (b.size == 0 || b.size > NAME_MAX_SIZE)
		return false;
	for (size_t i = 0; i < b.size; i++) {
		uint8_t c = b.data[i];
		bool good = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			    (c >= '0' && c <= '9') || c == '.' || c == '_' || c == ':' || c == '-';

		if (!good)
			return false;
	}
	return true;
}

/* Whether b is its own NFC form; false too for what is not UTF-8. */
static bool is_nfc(struct bytes b)
{
	utf8proc_int32_t points[NAME_MAX_SIZE * 4 + 1];
	utf8proc_ssize_t count;

	count = utf8proc_decompose(b.data, (utf8proc_ssize_t)b.size, points,
				   (utf8proc_ssize_t)(sizeof(points) / sizeof(points[0]) - 1),
				   UTF8PROC_COMPOSE | UTF8PROC_STABLE);
	if (count < 0 || count >= (utf8proc_ssize_t)(sizeof(points) / sizeof(points[0])))
		return false;
	count = utf8proc_reencode(points, count, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
	return count >= 0 && bytes_equal(b, bytes_of(points, (size_t)count));
}

bool user_id_valid(struct bytes b)
{
	const uint8_t *at = b.data;
	size_t left = b.size;

	if (b.size == 0 || b.size > NAME_MAX_SIZE)
		return false;
	if (b.data[0] == ' ' || b.data[b.size - 1] == ' ')
		return false;
	while (left > 0) {
		utf8proc_int32_t point;
		utf8proc_ssize_t used = utf8proc_iterate(at, (utf8proc_ssize_t)left, &point);

		if (used <= 0 || utf8proc_category(point) == UTF8PROC_CATEGORY_CC)
			return false;
		if (point == ':' || point == '"' || point == '\\')
			return false;
		at += used;
		left -= (size_t)used;
	}
	return is_nfc(b);
}

bool message_id_equal(const struct message_id *a, const struct message_id *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool message_id_is_none(const struct message_id *id)
{
	static const struct message_id none;

	return message_id_equal(id, &none);
}
