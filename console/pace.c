#include "console/pace.h"

#include <time.h>

#include "console/terminal.h"

/* This much of a second may come at once, and wait in the system's buffer. */
#define BURST_MS 2000

uint64_t pace_now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool pace_begin(struct pace *p, int fd)
{
	unsigned baud = terminal_baud(fd);

	*p = (struct pace){.rate = baud / 10, .at = pace_now_ms()};
	p->budget = (int64_t)p->rate * BURST_MS / 1000;
	return p->rate > 0;
}

bool pace_may(struct pace *p, size_t size)
{
	int64_t most = (int64_t)p->rate * BURST_MS / 1000;
	uint64_t now = pace_now_ms(), passed = now - p->at;

	if (passed > BURST_MS)
		passed = BURST_MS;
	p->at = now;
	p->budget += (int64_t)(p->rate * passed / 1000);
	if (p->budget > most)
		p->budget = most;
	if ((int64_t)size > p->budget) {
		p->left_out++;
		return false;
	}
	p->budget -= (int64_t)size;
	return true;
}

size_t pace_left_out(struct pace *p)
{
	size_t n = p->left_out;

	p->left_out = 0;
	return n;
}
