/* Whether the vault's records are whole: seen after the start, between everything else. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "gateway/daemon-internal.h"

/* Records a turn: some two milliseconds. */
#define TURN_RECORDS 128

static void end(struct gateway_daemon *d)
{
	(void)uv_idle_stop(&d->health_turn);
	gateway_health_free(d->health_scan);
	d->health_scan = NULL;
	for (size_t i = 0; i < d->health.count; i++)
		gateway_daemon_log(d, LOG_LEVEL_ERROR, d->health.lines[i]);
}

static void fail(struct gateway_daemon *d, int error)
{
	(void)snprintf(d->health.lines[0], HEALTH_LINE_SIZE, "the vault could not be examined: %s",
		       strerror(-error));
	d->health.count = 1;
	end(d);
}

static void on_turn(uv_idle_t *turn)
{
	struct gateway_daemon *d = turn->data;
	int r = gateway_health_some(d->health_scan, TURN_RECORDS, &d->health);

	if (r < 0)
		fail(d, r);
	else if (r == 0)
		end(d);
}

void gateway_daemon_health_init(struct gateway_daemon *d)
{
	(void)uv_idle_init(d->loop, &d->health_turn);
	d->health_turn.data = d;
}

void gateway_daemon_health_start(struct gateway_daemon *d)
{
	int r = gateway_health_new(d->vault, &d->config.entity_id, &d->health_scan);

	if (r < 0)
		fail(d, r);
	else
		(void)uv_idle_start(&d->health_turn, on_turn);
}

void gateway_daemon_health_stop(struct gateway_daemon *d)
{
	uv_close((uv_handle_t *)&d->health_turn, NULL);
	gateway_health_free(d->health_scan);
	d->health_scan = NULL;
}
