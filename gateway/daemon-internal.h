#ifndef PNGW_GATEWAY_DAEMON_INTERNAL_H
#define PNGW_GATEWAY_DAEMON_INTERNAL_H

/* What the files of the daemon share. */

#include "gateway/api.h"
#include "gateway/bluetooth.h"
#include "gateway/daemon.h"
#include "gateway/doctor.h"
#include "gateway/health.h"
#include "gateway/metrics.h"
#include "gateway/opening.h"
#include "gateway/recorder.h"
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

/* Who waits for an examination; the caller's, linked until done or forgotten. */
struct daemon_waiter {
	doctor_done *done;
	void *arg;
	struct daemon_waiter *next;
};

/* daemon-doctor.c's. */
struct daemon_examination {
	struct doctor *doctor; /* NULL: none is under way */
	struct daemon_waiter *waiters;
	struct doctor_report *last;
	uv_timer_t timer;
	enum leg leg; /* of the verdict that it was begun for; LEG_NONE: on request */
	bool began;   /* by itself, at: */
	uint64_t began_at;
};

/* daemon-metrics.c's. */
struct daemon_metrics_job;
struct daemon_count;
struct daemon_metrics {
	struct metrics *metrics;
	struct metrics_now now;
	uv_timer_t timer;
	uint64_t due; /* of the timer, in milliseconds of uv_hrtime() */
	bool read;    /* the pools, at: */
	uint64_t read_at;
	struct daemon_count *count;     /* what is being read anew */
	uv_timer_t turn;                /* its next piece */
	struct daemon_metrics_job *job; /* a text is being written */
	int failed;                     /* the last one was not: what was logged */
};

struct gateway_daemon {
	uv_loop_t *loop;
	char file[CONFIG_TEXT_MAX];
	struct config config;
	struct gateway_opening *opening; /* NULL once the vault is open */
	struct vault *vault;
	struct core *core;
	struct recorder *recorder;
	struct wan *wan;
	struct tls_context *tls;
	int64_t clock_floor; /* seconds since 1970 that it was already, by the vault; 0: not known
			      */
	struct pan pans[CONFIG_LISTEN_MAX];
	struct pan bluetooth_pan, nap_pan;
	struct gateway_bluetooth *bluetooth; /* NULL without Bluetooth */
	struct stream *streams[STREAM_BUCKETS];
	struct gateway_api *api;
	uv_prepare_t prepare;
	uv_idle_t sealing; /* while records of the vault are sealed anew */
	uv_timer_t timer;
	uv_timer_t scrubbing;
	uv_timer_t alive;       /* daemon-notify.c's */
	unsigned opening_ticks; /* how often the start was told to take longer */
	int vault_trouble;      /* what vault_alive() said last */
	uv_signal_t signals[3];
	char last_wan[256];
	uv_idle_t health_turn; /* while the vault's records are looked at: */
	struct gateway_health_scan *health_scan;
	struct gateway_health health; /* of the vault when it was opened, once they all were */
	struct daemon_examination examination;
	struct daemon_waiter api_waiter; /* the API's, while it waits */
	struct daemon_metrics metrics;
	bool journal; /* standard error is systemd's */
	bool stopping;
	char failure[OPENING_WHY_SIZE];
	struct gateway_daemon_events events;
	void *events_arg;
};

void gateway_daemon_log(struct gateway_daemon *d, enum log_level level, const char *text);

/* daemon-bundle.c. A bundle of everything. 0 or a negative errno. */
int gateway_daemon_bundle(struct gateway_daemon *d, FILE *out);

/* daemon-health.c. The vault that was opened is examined while it is served, and the log told. */
void gateway_daemon_health_init(struct gateway_daemon *d);
void gateway_daemon_health_start(struct gateway_daemon *d);
void gateway_daemon_health_stop(struct gateway_daemon *d);

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

/*
 * daemon-doctor.c. Examines what pngwd stands on, or waits for the examination that is under way.
 * On 0 w->done is called once, from the loop, unless the daemon stops or it is forgotten first.
 */
int gateway_daemon_examine(struct gateway_daemon *d, struct daemon_waiter *w);
void gateway_daemon_examine_forget(struct gateway_daemon *d, struct daemon_waiter *w);
/* The last report there was, or NULL; until the next one. */
const struct doctor_report *gateway_daemon_examined(const struct gateway_daemon *d);
void gateway_daemon_doctor_init(struct gateway_daemon *d);
/* A procedure has ended: where it failed, the daemon is examined, and what may explain it logged.
 */
void gateway_daemon_doctor_verdict(struct gateway_daemon *d, const struct verdict *v);
/* Before the core and Bluetooth end. */
void gateway_daemon_doctor_stop(struct gateway_daemon *d);

/* daemon-metrics.c. 0 or -ENOMEM. */
int gateway_daemon_metrics_init(struct gateway_daemon *d);
/* The configuration says whether, where and how often they are written. */
void gateway_daemon_metrics_configured(struct gateway_daemon *d);
/* The text of now, the caller's to free(); NULL: out of memory. */
char *gateway_daemon_metrics_text(struct gateway_daemon *d, size_t *size);
void gateway_daemon_metrics_stop(struct gateway_daemon *d);

/* daemon-notify.c. The service manager hears that the vault is being opened. */
void gateway_daemon_notify_init(struct gateway_daemon *d);
/* It serves; from now on the watchdog is fed as long as loop and vault are alive. */
void gateway_daemon_notify_ready(struct gateway_daemon *d);
void gateway_daemon_notify_stop(struct gateway_daemon *d);

/* daemon-wan.c. What the credentials of config make: 0, or a negative errno and why. */
int gateway_daemon_tls(const struct config *config, struct tls_context **out, char *why,
		       size_t why_size);
/* What that is made of, borrowed from config, and the settings (wan/tls-config.h). */
void gateway_daemon_tls_options(const struct config *config, struct tls_options *out);
extern const char *const gateway_daemon_tls_names[];
int gateway_daemon_start_wan(struct gateway_daemon *d);
/* With the vault open and before the core is: how late it was already. */
void gateway_daemon_clock(struct gateway_daemon *d);
/* Connects anew, with what d->tls and the configuration are now. */
void gateway_daemon_renew_wan(struct gateway_daemon *d);
/* Ports of the core. */
int gateway_daemon_post(void *arg, struct bytes xml, unsigned deadline_ms, uint64_t pin,
			uint64_t token, void **request);
void gateway_daemon_post_cancel(void *arg, void *request);

#endif
