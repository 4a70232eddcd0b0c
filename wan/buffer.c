#include "wan/buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/secret.h"

#define SMALLEST 1024U
#define KEPT     65536U

int buffer_append(struct buffer *b, struct bytes more)
{
	size_t size = b->end - b->start;

	if (more.size == 0)
		return 0;
	if (more.size > SIZE_MAX / 4 - size)
		return -ENOMEM;
	if (b->room - b->end < more.size && b->start > 0) {
		memmove(b->data, b->data + b->start, size);
		wipe(b->data + size, b->end - size);
		b->start = 0;
		b->end = size;
	}
	if (b->room - b->end < more.size) {
		size_t room = b->room < SMALLEST ? SMALLEST : b->room;
		uint8_t *data;

		while (room - size < more.size)
			room *= 2;
		data = malloc(room);
		if (!data)
			return -ENOMEM;
		if (size > 0)
			memcpy(data, b->data, size);
		buffer_free(b);
		*b = (struct buffer){.data = data, .end = size, .room = room};
	}
	memcpy(b->data + b->end, more.data, more.size);
	b->end += more.size;
	return 0;
}

struct bytes buffer_bytes(const struct buffer *b)
{
	if (b->end == b->start)
		return BYTES_NONE;
	return bytes_of(b->data + b->start, b->end - b->start);
}

void buffer_take(struct buffer *b, size_t size)
{
	if (size > b->end - b->start)
		size = b->end - b->start;
	if (size == 0)
		return;
	wipe(b->data + b->start, size);
	b->start += size;
	if (b->start < b->end)
		return;
	b->start = b->end = 0;
	if (b->room > KEPT)
		buffer_free(b);
}

void buffer_free(struct buffer *b)
{
	if (b->data)
		wipe(b->data, b->end);
	free(b->data);
	*b = (struct buffer){0};
}
