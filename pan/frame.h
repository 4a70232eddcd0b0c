#ifndef PNGW_PAN_FRAME_H
#define PNGW_PAN_FRAME_H

/*
 * PAN binding 1: frames over any reliable byte stream. A byte transformer: no socket, no clock.
 *
 * A frame is: size of what follows (4 bytes, big-endian, 1..FRAME_MAX_SIZE), kind (1 byte),
 * payload.
 */

#include "protocol/bytes.h"
#include "protocol/message.h"
#include "protocol/p1.h"

#define FRAME_HEADER_SIZE 5
#define FRAME_MAX_SIZE    (1 + MESSAGE_MAX_SIZE)

enum frame_kind {
	FRAME_HELLO = 1,   /* first frame of either side, and nothing before it */
	FRAME_MESSAGE = 2, /* one CPNS message, XML */
	FRAME_RECEIPT = 3, /* what became of a message, sent only once the effect is durable */
	FRAME_PING = 4,    /* 8 bytes, to be sent back as FRAME_PONG */
	FRAME_PONG = 5,
};

/* Positive outcomes of the decoders: the peer breaks the binding; drop the link. */
enum { FRAME_OVERSIZED = 1, FRAME_UNKNOWN_KIND = 2, FRAME_BAD_PAYLOAD = 3 };

/* Collects a stream into frames. Starts all zero; frame_reader_clear() frees what it holds. */
struct frame_reader {
	uint8_t *data;
	size_t size, capacity, consumed;
};
void frame_reader_clear(struct frame_reader *r);

/* Appends what was read. -ENOMEM, or FRAME_OVERSIZED as soon as a header announces too much. */
int frame_reader_push(struct frame_reader *r, struct bytes input);

/*
 * Takes the next whole frame: 0 and *kind, *payload (a view valid until the next push), -EAGAIN
 * when more bytes are wanted, or a positive outcome.
 */
int frame_reader_next(struct frame_reader *r, enum frame_kind *kind, struct bytes *payload);

/* Header and payload into out; returns the size, or 0 when it does not fit or is too large. */
size_t frame_write(enum frame_kind kind, struct bytes payload, uint8_t *out, size_t out_size);

/*
 * Hello payload: version (1), flags (1), X25519 public key (32), Entity ID size (1) and bytes, then
 * the Entity ID of the CPNS Server in the same form: that of a PN GW tells a PNE whom to address,
 * that of a PNE is empty.
 */
#define HELLO_VERSION      1
#define HELLO_FLAG_GATEWAY 0x01 /* sender is the PN GW */
#define HELLO_FLAG_UI      0x02 /* sender has a UI for User ID and password */
#define HELLO_MAX_SIZE     (34 + 2 * (1 + NAME_MAX_SIZE))
struct hello {
	uint8_t flags;
	uint8_t public_key[KEY_SIZE];
	struct name entity;
	struct name server;
};
size_t hello_write(const struct hello *h, uint8_t out[HELLO_MAX_SIZE]);
int hello_read(struct bytes payload, struct hello *out); /* 0 or FRAME_BAD_PAYLOAD */

/*
 * Receipt payload: message id (16), status (1), proof (32). proof is the EUKey's held proof over
 * that message id (p1_held_proof) where the message delivered an EUKey, zeros otherwise.
 */
#define RECEIPT_SIZE (MESSAGE_ID_SIZE + 1 + P1_MAC_SIZE)
struct receipt {
	struct message_id id;
	enum status status;
	bool has_proof;
	uint8_t proof[P1_MAC_SIZE];
};
void receipt_write(const struct receipt *r, uint8_t out[RECEIPT_SIZE]);
int receipt_read(struct bytes payload, struct receipt *out); /* 0 or FRAME_BAD_PAYLOAD */

#endif
