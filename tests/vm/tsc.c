/*
 * Prints the frequency of this machine's time stamp counter in kHz: an emulated processor has the
 * same one, and cannot measure it when it is slowed down by others.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

static uint64_t nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(void)
{
	uint64_t since = nanoseconds(), ticks = __rdtsc();

	usleep(200000);
	ticks = __rdtsc() - ticks;
	printf("%llu\n", (unsigned long long)(ticks * 1000000 / (nanoseconds() - since)));
	return 0;
}
