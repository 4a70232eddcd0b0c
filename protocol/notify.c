#include "protocol/notify.h"

#include <config.h>
#include <inttypes.h>
#include <stdint.h>
#include <time.h>
#ifdef HAVE_SD_DAEMON
#include <systemd/sd-daemon.h>
#else
/* No service manager that would listen. */
#define sd_notify(unset, state)         0
#define sd_notifyf(unset, format, ...)  ((void)(__VA_ARGS__), 0)
#define sd_watchdog_enabled(unset, out) 0
#endif

/* Within the manager's patience, one call may be late and one lost. */
#define CALLS 3

void notify_ready(void)
{
	(void)sd_notify(0, "READY=1");
}

void notify_reloading(void)
{
	struct timespec t = {0, 0};

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
			 (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000);
}

void notify_stopping(void)
{
	(void)sd_notify(0, "STOPPING=1\nSTATUS=stopping");
}

void notify_status(const char *text)
{
	(void)sd_notifyf(0, "STATUS=%s", text);
}

void notify_extend(unsigned seconds)
{
	(void)sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%" PRIu64, (uint64_t)seconds * 1000000);
}

unsigned notify_interval(void)
{
	uint64_t patience = 0;

	if (sd_watchdog_enabled(0, &patience) <= 0)
		return 0;
	patience /= UINT64_C(1000) * CALLS;
	if (patience == 0)
		return 1;
	return patience < UINT32_MAX ? (unsigned)patience : UINT32_MAX;
}

void notify_alive(void)
{
	(void)sd_notify(0, "WATCHDOG=1");
}
