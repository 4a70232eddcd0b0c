#ifndef PNGW_TESTS_FUZZ_H
#define PNGW_TESTS_FUZZ_H

/*
 * What the fuzzers and the replay of their corpora have in common: one function for each decoder
 * that meets bytes from a peer. It returns whether the decoder took the input, and aborts when a
 * property does not hold.
 */

#include <stdio.h>
#include <stdlib.h>

#include "protocol/bytes.h"

bool fuzz_message(struct bytes input); /* an XML message */
bool fuzz_frame(struct bytes input);   /* size of the pieces less one, then a stream */
bool fuzz_link(struct bytes input);    /* bit 0: this end is the PN GW; rest: as above; a stream */
bool fuzz_bundle(struct bytes input);  /* a bundle, which is replayed */
bool fuzz_digest(struct bytes input);  /* an Authorization header's value */

#define MUST(condition)                                                                   \
	do {                                                                              \
		if (!(condition)) {                                                       \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, \
				#condition);                                              \
			abort();                                                          \
		}                                                                         \
	} while (0)

#endif
