#ifndef PNGW_PROTOCOL_HIDDEN_H
#define PNGW_PROTOCOL_HIDDEN_H

/*
 * Buffers for secret contents larger than a struct secret may be (records, key files): left out of
 * core dumps, locked as far as the memory limit allows, wiped when freed.
 */

#include <stddef.h>
#include <stdint.h>

/* A zeroed buffer, or NULL when memory is out. size may be 0. */
uint8_t *hidden_new(size_t size);

/* data is what hidden_new() returned; NULL is allowed. */
void hidden_free(uint8_t *data);

#endif
