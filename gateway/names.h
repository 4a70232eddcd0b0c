#ifndef PNGW_GATEWAY_NAMES_H
#define PNGW_GATEWAY_NAMES_H

/*
 * A set of names in the order in which they were added. Adding and finding one takes the same time
 * however many there are: a vault may know 100 000 devices, and what walks through them runs on
 * the loop. Begin with all zero, end with gateway_names_free().
 */

#include "protocol/bytes.h"

struct names {
	struct name *list;
	size_t count;
	/* The set's own. */
	size_t room;    /* a power of two, as many chains as names */
	uint32_t *next; /* in the chain, 1 more than the place in the list; 0: none */
	uint32_t *first;
};

#define NAMES_NONE SIZE_MAX

/* Adds name unless it is there. 0 or -ENOMEM: the set is as it was. */
int gateway_names_add(struct names *n, const struct name *name);
/* Its place in the list, or NAMES_NONE. */
size_t gateway_names_find(const struct names *n, const struct name *name);
/* Takes the name at a place out; the last one of the list takes that place. */
void gateway_names_remove(struct names *n, size_t place);
/* Empty again, as at the beginning. */
void gateway_names_free(struct names *n);

#endif
