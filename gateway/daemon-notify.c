/* What the service manager is told, and its watchdog. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "gateway/daemon-internal.h"
#include "protocol/notify.h"

/* While the vault is being opened, which may mean a migration. */
#define OPENING_TICK_MS 5000
#define OPENING_EXTEND  30 /* seconds */
#define OPENING_TICKS   120

static void opening_tick(uv_timer_t *timer)
{
	struct gateway_daemon *d = timer->data;

	if (d->opening_ticks++ < OPENING_TICKS)
		notify_extend(OPENING_EXTEND);
}

/* That this runs shows that the loop does. */
static void alive_tick(uv_timer_t *timer)
{
	struct gateway_daemon *d = timer->data;
	int r = vault_alive(d->vault);
	char text[160];

	if (r == 0)
		notify_alive();
	if (r == d->vault_trouble)
		return;
	d->vault_trouble = r;
	if (r == 0) {
		gateway_daemon_log(d, LOG_LEVEL_INFO, "the vault can be read again");
		notify_status("serving");
		return;
	}
	(void)snprintf(text, sizeof(text), "the vault cannot be read: %s",
		       r == -ESTALE ? "its file was moved or removed" : strerror(-r));
	gateway_daemon_log(d, LOG_LEVEL_ERROR, text);
	notify_status(text);
}

void gateway_daemon_notify_init(struct gateway_daemon *d)
{
	(void)uv_timer_init(d->loop, &d->alive);
	d->alive.data = d;
	notify_status("opening the vault");
	(void)uv_timer_start(&d->alive, opening_tick, OPENING_TICK_MS, OPENING_TICK_MS);
}

void gateway_daemon_notify_ready(struct gateway_daemon *d)
{
	unsigned interval = notify_interval();

	notify_ready();
	notify_status("serving");
	(void)uv_timer_stop(&d->alive);
	if (interval != 0)
		(void)uv_timer_start(&d->alive, alive_tick, 0, interval);
}

void gateway_daemon_notify_stop(struct gateway_daemon *d)
{
	notify_stopping();
	uv_close((uv_handle_t *)&d->alive, NULL);
}
