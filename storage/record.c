#include "storage/record.h"

#include <errno.h>
#include <string.h>

#define FIELD_HEADER 3

void record_begin(struct record_writer *w)
{
	w->size = 0;
	w->overflow = false;
}

void record_add(struct record_writer *w, uint8_t tag, struct bytes value)
{
	if (w->overflow)
		return;
	if (value.size > UINT16_MAX || value.size + FIELD_HEADER > sizeof(w->data) - w->size) {
		w->overflow = true;
		return;
	}
	w->data[w->size] = tag;
	w->data[w->size + 1] = (uint8_t)(value.size >> 8);
	w->data[w->size + 2] = (uint8_t)(value.size & 0xff);
	w->size += FIELD_HEADER;
	if (value.size > 0)
		memcpy(w->data + w->size, value.data, value.size);
	w->size += value.size;
}

void record_add_u32(struct record_writer *w, uint8_t tag, uint32_t value)
{
	uint8_t b[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
			(uint8_t)value};

	record_add(w, tag, bytes_of(b, sizeof(b)));
}

void record_add_secret(struct record_writer *w, uint8_t tag, const struct secret *s)
{
	if (!s) {
		w->overflow = true;
		return;
	}
	record_add(w, tag, secret_bytes(s));
}

struct bytes record_bytes(const struct record_writer *w)
{
	return w->overflow ? BYTES_NONE : bytes_of(w->data, w->size);
}

void record_end(struct record_writer *w)
{
	wipe(w->data, sizeof(w->data));
	w->size = 0;
	w->overflow = false;
}

int record_get(struct bytes content, uint8_t tag, struct bytes *out)
{
	struct bytes found = BYTES_NONE;
	size_t at = 0;

	/* To the end even when the field was found: half a record is no record. */
	while (at < content.size) {
		size_t size;

		if (content.size - at < FIELD_HEADER)
			return -EBADMSG;
		size = (size_t)content.data[at + 1] << 8 | content.data[at + 2];
		if (content.size - at - FIELD_HEADER < size)
			return -EBADMSG;
		if (content.data[at] == tag && !found.data)
			found = bytes_of(content.data + at + FIELD_HEADER, size);
		at += FIELD_HEADER + size;
	}
	if (!found.data)
		return -ENOENT;
	*out = found;
	return 0;
}

int record_get_u32(struct bytes content, uint8_t tag, uint32_t *out)
{
	struct bytes b;
	int r = record_get(content, tag, &b);

	if (r < 0)
		return r;
	if (b.size != 4)
		return -EBADMSG;
	*out = (uint32_t)b.data[0] << 24 | (uint32_t)b.data[1] << 16 | (uint32_t)b.data[2] << 8 |
	       b.data[3];
	return 0;
}

int record_get_secret(struct bytes content, uint8_t tag, struct secret **out)
{
	struct secret *s;
	struct bytes b;
	int r = record_get(content, tag, &b);

	if (r < 0)
		return r;
	if (b.size == 0 || b.size > SECRET_MAX_SIZE)
		return -EBADMSG;
	s = secret_copy(b);
	if (!s)
		return -ENOMEM;
	*out = s;
	return 0;
}

int record_get_name(struct bytes content, uint8_t tag, struct name *out)
{
	struct bytes b;
	int r = record_get(content, tag, &b);

	if (r < 0)
		return r;
	return name_set(out, b) < 0 ? -EBADMSG : 0;
}
