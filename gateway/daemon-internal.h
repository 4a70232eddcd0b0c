#ifndef PNGW_GATEWAY_DAEMON_INTERNAL_H
#define PNGW_GATEWAY_DAEMON_INTERNAL_H

/* What the files of the daemon share. */

#include "gateway/api.h"
#include "gateway/bluetooth.h"
#include "gateway/control.h"
#include "gateway/daemon.h"
#include "gateway/opening.h"
#include "pan/bearer.h"
#include "wan/client.h"

#define STREAM_BUCKETS 256
/* One bearer stream as the core knows it. */
struct stream {
	struct stream *next;
	struct bearer *bearer;
	struct bearer_link *link;
	struct core_link *core_link; /* NULL once the core has closed it */
};

/* A bearer, for its callbacks. */
struct pan {
	struct gateway_daemon *daemon;
	struct bearer *bearer; /* NULL when stopped */
	size_t index;
};

struct gateway_daemon {
	uv_loop_t *loop;
	char file[CONFIG_TEXT_MAX];
	struct config config;
	struct gateway_opening *opening; /* NULL once the vault is open */
	struct vault *vault;
	struct core *core;
	struct wan *wan;
	struct tls_context *tls;
	struct pan pans[CONFIG_LISTEN_MAX];
	struct pan bluetooth_pan, nap_pan;
	struct gateway_bluetooth *bluetooth; /* NULL without Bluetooth */
	struct stream *streams[STREAM_BUCKETS];
	struct gateway_control *control;
	struct gateway_api *api;
	uv_prepare_t prepare;
	uv_idle_t sealing; /* while records of the vault are sealed anew */
	uv_timer_t timer;
	uv_timer_t scrubbing;
	uv_signal_t signals[3];
	char last_wan[256];
	struct gateway_health health; /* of the vault when it was opened */
	bool stopping;
	char failure[OPENING_WHY_SIZE];
	struct gateway_daemon_events events;
	void *events_arg;
};

void gateway_daemon_log(struct gateway_daemon *d, enum log_level level, const char *text);

/* daemon-pan.c. Listens as pan.listen i says: 0, or a negative errno and why. */
int gateway_daemon_start_pan(struct gateway_daemon *d, size_t i, char *why, size_t why_size);
/* The same for pan.bluetooth.*. */
int gateway_daemon_start_bluetooth(struct gateway_daemon *d, char *why, size_t why_size);
void gateway_daemon_stop_pans(struct gateway_daemon *d);
/* Ports of the core. */
int gateway_daemon_stream_write(void *arg, void *stream, struct bytes frame);
void gateway_daemon_stream_close(void *arg, void *stream);
int gateway_daemon_reach(void *arg, const struct name *entity);
void gateway_daemon_arrived(void *arg, void *stream, const struct name *entity);

/* daemon-wan.c. What the credentials of config make: 0, or a negative errno and why. */
int gateway_daemon_tls(const struct config *config, struct tls_context **out, char *why,
		       size_t why_size);
int gateway_daemon_start_wan(struct gateway_daemon *d);
/* Connects anew, with what d->tls and the configuration are now. */
void gateway_daemon_renew_wan(struct gateway_daemon *d);
/* Ports of the core. */
int gateway_daemon_post(void *arg, struct bytes xml, unsigned deadline_ms, uint64_t pin,
			uint64_t token, void **request);
void gateway_daemon_post_cancel(void *arg, void *request);

#endif
