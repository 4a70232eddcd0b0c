#ifndef PNGW_PROTOCOL_CLOCK_H
#define PNGW_PROTOCOL_CLOCK_H

/*
 * Whether a device's clock can be right at all. One without a battery starts in 1970 or in the year
 * of its firmware, and then every certificate seems to be not valid yet.
 */

#include <stdbool.h>
#include <stdint.h>

/* 2025-01-01 and 2060-01-01: nothing of this project ran before, or will after. */
#define CLOCK_FIRST 1735689600
#define CLOCK_LAST  2840140800
/* Clocks drift apart by that much without anything being wrong, in seconds. */
#define CLOCK_DRIFT 86400

static inline bool clock_plausible(int64_t seconds)
{
	return seconds >= CLOCK_FIRST && seconds < CLOCK_LAST;
}

#endif
