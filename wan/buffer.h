#ifndef PNGW_WAN_BUFFER_H
#define PNGW_WAN_BUFFER_H

/* A byte queue: appended at the end, taken from the front. Zeroed is empty. */

#include "protocol/bytes.h"

struct buffer {
	uint8_t *data;
	size_t start, end, room;
};

/* -ENOMEM leaves b as it was. */
int buffer_append(struct buffer *b, struct bytes more);
struct bytes buffer_bytes(const struct buffer *b);
/* Drops size bytes (at most what there is) from the front, wiped: they may have been secret. */
void buffer_take(struct buffer *b, size_t size);
void buffer_free(struct buffer *b);

#endif
