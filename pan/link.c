#include "pan/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PING_SIZE    8
#define SLICE_SIZE   4096
#define SECRET_LABEL "CPNS P1 PAN"

enum link_state {
	LINK_NEW,     /* nothing was sent */
	LINK_STARTED, /* own hello sent, the peer's is awaited */
	LINK_UP,
	LINK_BROKEN,
};

struct link {
	struct link_callbacks callbacks;
	void *arg;
	enum link_state state;
	struct hello self;
	struct hello peer;
	bool has_peer;
	struct secret *private_key;
	struct secret *secret;
	struct frame_reader reader;
	uint8_t own_hello[HELLO_MAX_SIZE];
	size_t own_hello_size;
	uint8_t binding[2 * HELLO_MAX_SIZE];
	size_t binding_size;
};

const char *link_broken_text(enum link_broken why)
{
	switch (why) {
	case LINK_BROKEN_OVERSIZED:
		return "the peer sent a frame larger than the binding allows";
	case LINK_BROKEN_FRAME:
		return "the peer sent a frame of unknown kind or with a bad payload";
	case LINK_BROKEN_NO_HELLO:
		return "the peer did not begin with a hello";
	case LINK_BROKEN_HELLO_AGAIN:
		return "the peer sent a second hello";
	case LINK_BROKEN_VERSION:
		return "the peer speaks another version of the binding";
	case LINK_BROKEN_ROLE:
		return "exactly one end of a link has to be a PN GW";
	case LINK_BROKEN_KEY:
		return "the peer sent a public key that gives no secret";
	case LINK_BROKEN_MEMORY:
		return "out of memory";
	}
	return "unknown";
}

int link_new(const struct hello *self, const struct link_callbacks *callbacks, void *arg,
	     struct link **out)
{
	struct link *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return -ENOMEM;
	l->callbacks = *callbacks;
	l->arg = arg;
	l->self = *self;
	rc = p1_x25519_generate(&l->private_key, l->self.public_key);
	if (rc < 0) {
		link_free(l);
		return rc;
	}
	l->own_hello_size = hello_write(&l->self, l->own_hello);
	if (l->own_hello_size == 0) {
		link_free(l);
		return -EINVAL;
	}
	*out = l;
	return 0;
}

void link_free(struct link *l)
{
	if (!l)
		return;
	secret_unref(l->private_key);
	secret_unref(l->secret);
	frame_reader_clear(&l->reader);
	free(l);
}

static void send_frame(struct link *l, enum frame_kind kind, struct bytes payload)
{
	uint8_t frame[FRAME_HEADER_SIZE + MESSAGE_MAX_SIZE];
	size_t size = frame_write(kind, payload, frame, sizeof(frame));

	l->callbacks.send(l->arg, bytes_of(frame, size));
}

void link_start(struct link *l)
{
	if (l->state != LINK_NEW)
		return;
	l->state = LINK_STARTED;
	send_frame(l, FRAME_HELLO, bytes_of(l->own_hello, l->own_hello_size));
}

static void write_token(uint64_t token, uint8_t out[PING_SIZE])
{
	for (size_t i = 0; i < PING_SIZE; i++)
		out[i] = (uint8_t)(token >> (8 * (PING_SIZE - 1 - i)));
}

static uint64_t read_token(const uint8_t *at)
{
	uint64_t token = 0;

	for (size_t i = 0; i < PING_SIZE; i++)
		token = token << 8 | at[i];
	return token;
}

/* Both sides lay the hellos out in the same order: the PN GW's first. */
static void set_binding(struct link *l, struct bytes peer)
{
	struct bytes own = bytes_of(l->own_hello, l->own_hello_size);
	bool gateway = l->self.flags & HELLO_FLAG_GATEWAY;
	struct bytes first = gateway ? own : peer;
	struct bytes second = gateway ? peer : own;

	memcpy(l->binding, first.data, first.size);
	memcpy(l->binding + first.size, second.data, second.size);
	l->binding_size = first.size + second.size;
}

/* 0, P1_REFUSED or a negative errno. */
static int agree(struct link *l, const struct hello *peer)
{
	SCOPED_SECRET *shared = NULL;
	struct p1_context context;
	int rc;

	rc = p1_x25519_shared(l->private_key, peer->public_key, &shared);
	if (rc != 0)
		return rc;
	p1_context_begin(&context, SECRET_LABEL);
	rc = p1_hkdf(shared, BYTES_NONE, &context, KEY_SIZE, &l->secret);
	if (rc == 0)
		secret_clear(&l->private_key);
	return rc;
}

/* The handlers below return 0 or, when the peer broke the binding, -EPROTO with *why set. */

static int on_hello(struct link *l, struct bytes payload, enum link_broken *why)
{
	struct hello peer;
	int rc;

	if (payload.size > 0 && payload.data[0] != HELLO_VERSION) {
		*why = LINK_BROKEN_VERSION;
		return -EPROTO;
	}
	if (hello_read(payload, &peer) != 0) {
		*why = LINK_BROKEN_FRAME;
		return -EPROTO;
	}
	if (((l->self.flags ^ peer.flags) & HELLO_FLAG_GATEWAY) == 0) {
		*why = LINK_BROKEN_ROLE;
		return -EPROTO;
	}
	rc = agree(l, &peer);
	if (rc != 0) {
		*why = rc == -ENOMEM ? LINK_BROKEN_MEMORY : LINK_BROKEN_KEY;
		return -EPROTO;
	}
	set_binding(l, payload);
	l->peer = peer;
	l->has_peer = true;
	l->state = LINK_UP;
	l->callbacks.up(l->arg, &l->peer);
	return 0;
}

static int on_frame(struct link *l, enum frame_kind kind, struct bytes payload,
		    enum link_broken *why)
{
	struct receipt receipt;

	if (l->state != LINK_UP && kind != FRAME_HELLO) {
		*why = LINK_BROKEN_NO_HELLO;
		return -EPROTO;
	}
	*why = LINK_BROKEN_FRAME;
	switch (kind) {
	case FRAME_HELLO:
		if (l->state != LINK_UP)
			return on_hello(l, payload, why);
		*why = LINK_BROKEN_HELLO_AGAIN;
		return -EPROTO;
	case FRAME_MESSAGE:
		if (payload.size == 0)
			return -EPROTO;
		l->callbacks.message(l->arg, payload);
		return 0;
	case FRAME_RECEIPT:
		if (receipt_read(payload, &receipt) != 0)
			return -EPROTO;
		l->callbacks.receipt(l->arg, &receipt);
		return 0;
	case FRAME_PING:
		if (payload.size != PING_SIZE)
			return -EPROTO;
		send_frame(l, FRAME_PONG, payload);
		return 0;
	case FRAME_PONG:
		if (payload.size != PING_SIZE)
			return -EPROTO;
		l->callbacks.pong(l->arg, read_token(payload.data));
		return 0;
	}
	return -EPROTO;
}

static int broken(struct link *l, enum link_broken why)
{
	l->state = LINK_BROKEN;
	frame_reader_clear(&l->reader);
	l->callbacks.broken(l->arg, why);
	return -EPROTO;
}

/* Takes every whole frame; -EPROTO with *why set when the peer broke the binding. */
static int take_frames(struct link *l, enum link_broken *why)
{
	struct bytes payload;
	enum frame_kind kind;
	int rc;

	while ((rc = frame_reader_next(&l->reader, &kind, &payload)) == 0) {
		rc = on_frame(l, kind, payload, why);
		if (rc < 0)
			return rc;
	}
	if (rc == -EAGAIN)
		return 0;
	*why = rc == FRAME_OVERSIZED ? LINK_BROKEN_OVERSIZED : LINK_BROKEN_FRAME;
	return -EPROTO;
}

/*
 * In slices, so that what the reader keeps is bound by the largest frame and not by how much
 * arrived at once. What came before an oversized frame is still good, so it is next() that reports
 * that.
 */
int link_push(struct link *l, struct bytes input)
{
	enum link_broken why;

	if (l->state == LINK_BROKEN)
		return -EPROTO;
	link_start(l);
	while (input.size > 0) {
		size_t size = input.size < SLICE_SIZE ? input.size : SLICE_SIZE;

		if (frame_reader_push(&l->reader, bytes_of(input.data, size)) < 0)
			return broken(l, LINK_BROKEN_MEMORY);
		if (take_frames(l, &why) < 0)
			return broken(l, why);
		input = bytes_of(input.data + size, input.size - size);
	}
	return 0;
}

bool link_is_up(const struct link *l)
{
	return l->state == LINK_UP;
}

const struct hello *link_peer(const struct link *l)
{
	return l->has_peer ? &l->peer : NULL;
}

int link_send_message(struct link *l, struct bytes xml)
{
	if (l->state != LINK_UP)
		return -ENOTCONN;
	if (xml.size == 0 || xml.size > MESSAGE_MAX_SIZE)
		return -EMSGSIZE;
	send_frame(l, FRAME_MESSAGE, xml);
	return 0;
}

int link_send_receipt(struct link *l, const struct receipt *r)
{
	uint8_t payload[RECEIPT_SIZE];

	if (l->state != LINK_UP)
		return -ENOTCONN;
	receipt_write(r, payload);
	send_frame(l, FRAME_RECEIPT, bytes_of(payload, sizeof(payload)));
	return 0;
}

int link_send_ping(struct link *l, uint64_t token)
{
	uint8_t payload[PING_SIZE];

	if (l->state != LINK_UP)
		return -ENOTCONN;
	write_token(token, payload);
	send_frame(l, FRAME_PING, bytes_of(payload, sizeof(payload)));
	return 0;
}

struct secret *link_secret(const struct link *l)
{
	return l->secret;
}

struct bytes link_binding(const struct link *l)
{
	return bytes_of(l->binding_size > 0 ? l->binding : NULL, l->binding_size);
}
