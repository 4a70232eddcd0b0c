#ifndef PNGW_CONSOLE_PACE_H
#define PNGW_CONSOLE_PACE_H

/*
 * How much may be written to a slow line. What somebody asked for is written in any case, however
 * long it takes; what comes by itself (steps, news, what is followed) only as far as the line
 * keeps up, so that a person sees the present and not what was a minute ago. What is left out is
 * counted.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pace {
	unsigned rate;  /* bytes a second */
	int64_t budget; /* bytes that may be written now */
	uint64_t at;    /* ms, when that was so */
	size_t left_out;
};

/* Of a clock that nobody sets. */
uint64_t pace_now_ms(void);
/* By the speed that the terminal at fd has: ten bits a byte. false: it has none. */
bool pace_begin(struct pace *p, int fd);
/* Whether size bytes may be written now; they are counted as written, or as left out. */
bool pace_may(struct pace *p, size_t size);
/* How many were left out since the last call. */
size_t pace_left_out(struct pace *p);

#endif
