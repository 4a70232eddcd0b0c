#ifndef PNGW_STORAGE_RECORD_H
#define PNGW_STORAGE_RECORD_H

/*
 * The content of vault records as bytes: a sequence of fields, each a tag (1 byte), a size (2
 * bytes, big-endian) and that many bytes. Unknown tags are passed over, so a later version may add
 * fields. Bounded cursors: a failed read changes nothing.
 */

#include "protocol/bytes.h"
#include "protocol/secret.h"
#include "storage/vault.h"

struct record_writer {
	uint8_t data[VAULT_CONTENT_MAX];
	size_t size;
	bool overflow;
};

void record_begin(struct record_writer *w);
void record_add(struct record_writer *w, uint8_t tag, struct bytes value);
void record_add_u32(struct record_writer *w, uint8_t tag, uint32_t value);
void record_add_secret(struct record_writer *w, uint8_t tag, const struct secret *s);
/* View of what was written; BYTES_NONE after an overflow. Valid until the writer changes. */
struct bytes record_bytes(const struct record_writer *w);
/* Wipes the writer; every writer that took a secret ends here. */
void record_end(struct record_writer *w);

/* The first field with that tag: 0, -ENOENT, or -EBADMSG when the content is not well-formed. */
int record_get(struct bytes content, uint8_t tag, struct bytes *out);
int record_get_u32(struct bytes content, uint8_t tag, uint32_t *out);
int record_get_secret(struct bytes content, uint8_t tag, struct secret **out);
int record_get_name(struct bytes content, uint8_t tag, struct name *out);

#endif
