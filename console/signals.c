#include "console/signals.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>

static volatile sig_atomic_t interrupted, ending, resized;

static void caught(int number)
{
	if (number == SIGINT)
		interrupted = 1;
	else if (number == SIGWINCH)
		resized = 1;
	else
		ending = 1;
}

void signals_setup(void)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};
	struct sigaction action = {.sa_handler = caught};
	sigset_t set;

	(void)sigemptyset(&action.sa_mask);
	(void)sigemptyset(&set);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		(void)sigaddset(&set, numbers[i]);
		(void)sigaction(numbers[i], &action, NULL);
	}
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

bool signals_interrupted(void)
{
	bool was = interrupted != 0;

	interrupted = 0;
	return was;
}

bool signals_ending(void)
{
	return ending != 0;
}

bool signals_resized(void)
{
	bool was = resized != 0;

	resized = 0;
	return was;
}

bool signals_waiting(void)
{
	return interrupted || ending || resized;
}

int signals_wait(struct pollfd *fds, nfds_t count, int timeout)
{
	struct timespec limit = {timeout / 1000, (long)(timeout % 1000) * 1000000};
	sigset_t none;

	if (signals_waiting()) {
		errno = EINTR;
		return -1;
	}
	(void)sigemptyset(&none);
	return ppoll(fds, count, timeout < 0 ? NULL : &limit, &none);
}
