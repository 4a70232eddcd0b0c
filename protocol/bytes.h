#ifndef PNGW_PROTOCOL_BYTES_H
#define PNGW_PROTOCOL_BYTES_H

/*
 * Borrowed bytes, fixed-size identifiers and the hex form in which both appear on the wire.
 * Nothing here is secret: secrets have their own type in protocol/secret.h.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A view of memory that somebody else owns and keeps alive. data is NULL where nothing is there. */
struct bytes {
	const uint8_t *data;
	size_t size;
};

#define BYTES_NONE ((struct bytes){NULL, 0})

static inline struct bytes bytes_of(const void *data, size_t size)
{
	return (struct bytes){data, size};
}

/* View of a C string without its terminator; a NULL string is no bytes. */
struct bytes bytes_text(const char *text);

/* Not for secrets: it stops at the first difference. Use secret_equal() for those. */
bool bytes_equal(struct bytes a, struct bytes b);

/* Copies b and a terminating NUL into out. -ENOBUFS when it does not fit, out is then "". */
int bytes_to_text(struct bytes b, char *out, size_t out_size);

/*
 * Lower-case hex. Writes 2 * b.size digits and a NUL; out_size must be at least that, else
 * -ENOBUFS and out is untouched.
 */
int hex_encode(struct bytes b, char *out, size_t out_size);

/*
 * Decodes text, whose size must be even and whose digits may be of either case. Returns 0 and sets
 * *written, -EINVAL for anything that is not hex, -ENOBUFS when out_size is too small. On failure
 * out and *written are untouched.
 */
int hex_decode(struct bytes text, uint8_t *out, size_t out_size, size_t *written);

/* Longest Entity ID and User ID on the wire, in bytes, without a terminator. */
#define NAME_MAX_SIZE 64

/* An Entity ID or a User ID held by value, terminated. Empty means "none". */
struct name {
	char text[NAME_MAX_SIZE + 1];
};

/* -EINVAL when b is empty or longer than NAME_MAX_SIZE; out is then untouched. */
int name_set(struct name *out, struct bytes b);
struct bytes name_bytes(const struct name *n);
bool name_equal(const struct name *a, const struct name *b);

/*
 * Entity ID: 1..64 of A-Z a-z 0-9 . _ : - (serial numbers, MAC addresses, URNs). User ID: 1..64
 * bytes of NFC UTF-8 without control characters, colon, quote or backslash, neither beginning nor
 * ending in a space: what RFC 7616 allows as a user name that needs no quoting.
 */
bool entity_id_valid(struct bytes b);
bool user_id_valid(struct bytes b);

#define MESSAGE_ID_SIZE 16

/* 128 random bits that name one message for ever. All zero means "none". */
struct message_id {
	uint8_t b[MESSAGE_ID_SIZE];
};

bool message_id_equal(const struct message_id *a, const struct message_id *b);
bool message_id_is_none(const struct message_id *id);

#endif
