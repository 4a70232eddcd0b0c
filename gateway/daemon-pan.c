/* The daemon's streams of PNEs. */

#include "gateway/daemon-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pan/bearer-local.h"

static struct stream **stream_at(struct gateway_daemon *d, const struct bearer_link *link)
{
	struct stream **at = &d->streams[((uintptr_t)link >> 6) % STREAM_BUCKETS];

	while (*at && (*at)->link != link)
		at = &(*at)->next;
	return at;
}

static void pan_link_up(void *arg, struct bearer_link *l, enum pan_security level, const char *peer)
{
	struct pan *pan = arg;
	struct gateway_daemon *d = pan->daemon;
	struct stream **at = stream_at(d, l);
	struct stream *s = calloc(1, sizeof(*s));

	if (!s) {
		bearer_drop(pan->bearer, l, BEARER_DOWN_CLOSED);
		return;
	}
	s->bearer = pan->bearer;
	s->link = l;
	*at = s;
	if (!d->core || gateway_core_stream_up(d->core, s, level, peer, &s->core_link) != 0)
		bearer_drop(pan->bearer, l, BEARER_DOWN_CLOSED);
}

static void pan_link_bytes(void *arg, struct bearer_link *l, struct bytes input)
{
	struct gateway_daemon *d = ((struct pan *)arg)->daemon;
	struct stream *s = *stream_at(d, l);

	if (s && s->core_link)
		gateway_core_stream_bytes(d->core, s->core_link, input);
}

static void pan_security(void *arg, struct bearer_link *l, enum pan_security level)
{
	struct gateway_daemon *d = ((struct pan *)arg)->daemon;
	struct stream *s = *stream_at(d, l);

	if (s && s->core_link)
		gateway_core_stream_security(d->core, s->core_link, level);
}

static void pan_link_down(void *arg, struct bearer_link *l, enum bearer_down why, int error)
{
	struct gateway_daemon *d = ((struct pan *)arg)->daemon;
	struct stream **at = stream_at(d, l);
	struct stream *s = *at;

	if (!s)
		return;
	*at = s->next;
	if (s->core_link)
		gateway_core_stream_down(d->core, s->core_link, why, error);
	free(s);
}

static void pan_connect_failed(void *arg, const char *address, int error, const char *why)
{
	(void)arg;
	(void)address;
	(void)error;
	(void)why;
}

static void pan_stopped(void *arg)
{
	(void)arg;
}

int gateway_daemon_stream_write(void *arg, void *stream, struct bytes frame)
{
	struct stream *s = stream;

	(void)arg;
	return bearer_send(s->bearer, s->link, frame);
}

void gateway_daemon_stream_close(void *arg, void *stream)
{
	struct stream *s = stream;

	(void)arg;
	s->core_link = NULL;
	bearer_drop(s->bearer, s->link, BEARER_DOWN_CLOSED);
}

static const struct bearer_callbacks callbacks = {
	.link_up = pan_link_up,
	.link_bytes = pan_link_bytes,
	.security = pan_security,
	.link_down = pan_link_down,
	.connect_failed = pan_connect_failed,
	.stopped = pan_stopped,
};

int gateway_daemon_start_pan(struct gateway_daemon *d, size_t i, char *why, size_t why_size)
{
	const struct config_listen *l = &d->config.listen[i];
	struct bearer_local_options options = {.listen = l->address,
					       .security = l->security,
					       .quota = d->config.queue,
					       .max_links = d->config.max_links};
	struct pan *pan = &d->pans[i];
	int r;

	pan->daemon = d;
	pan->index = i;
	r = bearer_local_new(d->loop, &options, &callbacks, pan, &pan->bearer);
	if (r == 0)
		r = bearer_start(pan->bearer);
	if (r != 0)
		(void)snprintf(why, why_size, "pan.listen %s: %s", l->address, strerror(-r));
	return r;
}

int gateway_daemon_reach(void *arg, const struct name *entity)
{
	struct gateway_daemon *d = arg;

	return d->bluetooth ? gateway_bluetooth_reach(d->bluetooth, entity) : -ENOENT;
}

void gateway_daemon_arrived(void *arg, void *stream, const struct name *entity)
{
	struct gateway_daemon *d = arg;
	struct stream *s = stream;

	gateway_api_touch(d->api, entity);
	if (d->bluetooth && s->bearer == d->bluetooth_pan.bearer)
		gateway_bluetooth_arrived(d->bluetooth, s->link, entity);
}

static void bluetooth_log(void *arg, enum log_level level, const char *text)
{
	gateway_daemon_log(arg, level, text);
}

static void bluetooth_unreachable(void *arg, const struct name *entity, enum verdict_id id,
				  const char *detail)
{
	struct gateway_daemon *d = arg;

	if (d->core)
		gateway_core_unreachable(d->core, entity, id, detail);
}

int gateway_daemon_start_bluetooth(struct gateway_daemon *d, char *why, size_t why_size)
{
	struct gateway_bluetooth_options options = {.config = &d->config,
						    .vault = d->vault,
						    .streams = callbacks,
						    .streams_arg = &d->bluetooth_pan,
						    .nap_arg = &d->nap_pan,
						    .log = bluetooth_log,
						    .unreachable = bluetooth_unreachable,
						    .arg = d};
	int r;

	d->bluetooth_pan.daemon = d;
	d->nap_pan.daemon = d;
	r = gateway_bluetooth_new(d->loop, &options, &d->bluetooth, why, why_size);
	if (r != 0)
		return r;
	d->bluetooth_pan.bearer = gateway_bluetooth_bearer(d->bluetooth);
	r = gateway_bluetooth_start(d->bluetooth, why, why_size);
	d->nap_pan.bearer = gateway_bluetooth_nap_bearer(d->bluetooth);
	return r;
}

void gateway_daemon_stop_pans(struct gateway_daemon *d)
{
	if (d->bluetooth)
		gateway_bluetooth_stop(d->bluetooth);
	d->bluetooth = NULL;
	for (size_t i = 0; i < d->config.listen_count; i++) {
		if (d->pans[i].bearer)
			bearer_stop(d->pans[i].bearer);
	}
}
