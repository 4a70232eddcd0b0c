#include "pan/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_SIZE 4

static size_t read_size(const uint8_t *at)
{
	return (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
}

static bool kind_known(uint8_t kind)
{
	return kind >= FRAME_HELLO && kind <= FRAME_PONG;
}

void frame_reader_clear(struct frame_reader *r)
{
	free(r->data);
	*r = (struct frame_reader){0};
}

static int make_room(struct frame_reader *r, size_t more)
{
	size_t kept = r->size - r->consumed;
	size_t capacity = r->capacity > 0 ? r->capacity : 512;
	uint8_t *data;

	if (kept > 0 && r->consumed > 0)
		memmove(r->data, r->data + r->consumed, kept);
	r->size = kept;
	r->consumed = 0;
	if (more > SIZE_MAX / 2 - kept)
		return -ENOMEM;
	while (capacity < kept + more)
		capacity *= 2;
	if (capacity == r->capacity)
		return 0;
	data = realloc(r->data, capacity);
	if (!data)
		return -ENOMEM;
	r->data = data;
	r->capacity = capacity;
	return 0;
}

int frame_reader_push(struct frame_reader *r, struct bytes input)
{
	size_t at = 0;
	int rc;

	if (input.size > 0) {
		rc = make_room(r, input.size);
		if (rc < 0)
			return rc;
		memcpy(r->data + r->size, input.data, input.size);
		r->size += input.size;
	}
	at = r->consumed;
	while (r->size - at >= SIZE_SIZE) {
		size_t size = read_size(r->data + at);

		if (size > FRAME_MAX_SIZE)
			return FRAME_OVERSIZED;
		if (size > r->size - at - SIZE_SIZE)
			break;
		at += SIZE_SIZE + size;
	}
	return 0;
}

int frame_reader_next(struct frame_reader *r, enum frame_kind *kind, struct bytes *payload)
{
	size_t left = r->size - r->consumed;
	const uint8_t *at;
	size_t size;

	if (left < SIZE_SIZE)
		return -EAGAIN;
	at = r->data + r->consumed;
	size = read_size(at);
	if (size > FRAME_MAX_SIZE)
		return FRAME_OVERSIZED;
	if (size == 0)
		return FRAME_BAD_PAYLOAD;
	if (left < FRAME_HEADER_SIZE)
		return -EAGAIN;
	if (!kind_known(at[SIZE_SIZE]))
		return FRAME_UNKNOWN_KIND;
	if (left - SIZE_SIZE < size)
		return -EAGAIN;
	*kind = (enum frame_kind)at[SIZE_SIZE];
	*payload = bytes_of(at + FRAME_HEADER_SIZE, size - 1);
	r->consumed += SIZE_SIZE + size;
	return 0;
}

size_t frame_write(enum frame_kind kind, struct bytes payload, uint8_t *out, size_t out_size)
{
	size_t size = payload.size + 1;

	if (payload.size > MESSAGE_MAX_SIZE || out_size < FRAME_HEADER_SIZE + payload.size)
		return 0;
	out[0] = (uint8_t)(size >> 24);
	out[1] = (uint8_t)(size >> 16);
	out[2] = (uint8_t)(size >> 8);
	out[3] = (uint8_t)size;
	out[4] = (uint8_t)kind;
	if (payload.size > 0)
		memcpy(out + FRAME_HEADER_SIZE, payload.data, payload.size);
	return FRAME_HEADER_SIZE + payload.size;
}

static bool hello_valid(const struct hello *h)
{
	struct bytes server = name_bytes(&h->server);

	if ((h->flags & ~(HELLO_FLAG_GATEWAY | HELLO_FLAG_UI)) != 0)
		return false;
	if (!entity_id_valid(name_bytes(&h->entity)))
		return false;
	return h->flags & HELLO_FLAG_GATEWAY ? entity_id_valid(server) : server.size == 0;
}

static size_t write_name(const struct name *n, uint8_t *out)
{
	struct bytes b = name_bytes(n);

	out[0] = (uint8_t)b.size;
	memcpy(out + 1, b.data, b.size);
	return 1 + b.size;
}

size_t hello_write(const struct hello *h, uint8_t out[HELLO_MAX_SIZE])
{
	size_t at = 0;

	if (!hello_valid(h))
		return 0;
	out[at++] = HELLO_VERSION;
	out[at++] = h->flags;
	memcpy(out + at, h->public_key, KEY_SIZE);
	at += KEY_SIZE;
	at += write_name(&h->entity, out + at);
	at += write_name(&h->server, out + at);
	return at;
}

/* Takes one name from the front of *rest. A NUL inside would end the text early, so none may be. */
static bool read_name(struct bytes *rest, struct name *out)
{
	size_t size;

	if (rest->size < 1)
		return false;
	size = rest->data[0];
	if (size > NAME_MAX_SIZE || size > rest->size - 1 || memchr(rest->data + 1, 0, size))
		return false;
	if (bytes_to_text(bytes_of(rest->data + 1, size), out->text, sizeof(out->text)) < 0)
		return false;
	*rest = bytes_of(rest->data + 1 + size, rest->size - 1 - size);
	return true;
}

int hello_read(struct bytes payload, struct hello *out)
{
	struct hello h = {0};
	struct bytes rest;

	if (payload.size < 2 + KEY_SIZE || payload.data[0] != HELLO_VERSION)
		return FRAME_BAD_PAYLOAD;
	h.flags = payload.data[1];
	memcpy(h.public_key, payload.data + 2, KEY_SIZE);
	rest = bytes_of(payload.data + 2 + KEY_SIZE, payload.size - 2 - KEY_SIZE);
	if (!read_name(&rest, &h.entity) || !read_name(&rest, &h.server) || rest.size > 0)
		return FRAME_BAD_PAYLOAD;
	if (!hello_valid(&h))
		return FRAME_BAD_PAYLOAD;
	*out = h;
	return 0;
}

void receipt_write(const struct receipt *r, uint8_t out[RECEIPT_SIZE])
{
	memcpy(out, r->id.b, MESSAGE_ID_SIZE);
	out[MESSAGE_ID_SIZE] = (uint8_t)r->status;
	if (r->has_proof)
		memcpy(out + MESSAGE_ID_SIZE + 1, r->proof, P1_MAC_SIZE);
	else
		memset(out + MESSAGE_ID_SIZE + 1, 0, P1_MAC_SIZE);
}

int receipt_read(struct bytes payload, struct receipt *out)
{
	static const uint8_t none[P1_MAC_SIZE];
	struct receipt r = {0};

	if (payload.size != RECEIPT_SIZE || !status_known(payload.data[MESSAGE_ID_SIZE]))
		return FRAME_BAD_PAYLOAD;
	memcpy(r.id.b, payload.data, MESSAGE_ID_SIZE);
	r.status = (enum status)payload.data[MESSAGE_ID_SIZE];
	memcpy(r.proof, payload.data + MESSAGE_ID_SIZE + 1, P1_MAC_SIZE);
	r.has_proof = memcmp(r.proof, none, P1_MAC_SIZE) != 0;
	*out = r;
	return 0;
}
