#ifndef PNGW_TESTS_VECTORS_H
#define PNGW_TESTS_VECTORS_H

/*
 * The files under tests/vectors: records that begin with [label], fields
 * key = hex, key = "text" or key = number, comments with #.
 * A mistake in a file fails the running test.
 */

#include "protocol/bytes.h"
#include "protocol/secret.h"

struct vector {
	char label[64];
	size_t count;
	struct {
		char key[32];
		char value[600];
		uint8_t decoded[300];
		size_t size;
	} fields[12];
};

/* Calls each for the records of that label (NULL: all). Having none fails the test. */
void vectors_each(const char *file, const char *label, void (*each)(const struct vector *v));

struct bytes vector_bytes(const struct vector *v, const char *key);
uint32_t vector_number(const struct vector *v, const char *key);
/* A new reference. */
struct secret *vector_secret(const struct vector *v, const char *key);

#endif
