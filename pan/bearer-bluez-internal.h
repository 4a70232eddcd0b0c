#ifndef PNGW_PAN_BEARER_BLUEZ_INTERNAL_H
#define PNGW_PAN_BEARER_BLUEZ_INTERNAL_H

/* Between bearer-bluez.c, bearer-bluez-profile.c (RFCOMM) and bearer-bluez-le.c. */

#include "pan/bearer-bluez.h"
#include "pan/bluetooth-stream.h"

#define BONDS_PATH_SIZE 128
#define FLOOD_DEVICES   32

struct bluez_bearer;

enum bluez_link_phase {
	BLUEZ_LINK_CONNECTING, /* ends in connect_failed() */
	BLUEZ_LINK_UP,         /* ends in link_down() */
	BLUEZ_LINK_UNSEEN,     /* the caller never heard of it: ends in nothing */
};

struct bearer_link {
	struct bluez_bearer *owner;
	struct bearer_link *next;
	enum bluez_link_phase phase;
	enum bluetooth_transport transport;
	bool pne_opened, closing;
	struct bluetooth_stream *stream; /* NULL while BlueZ is asked to connect */
	uint64_t deadline;               /* of a connecting one, uv_now() */
	char path[BLUEZ_PATH_SIZE];
	char address[BLUETOOTH_ADDRESS_SIZE];
	char adapter[BLUETOOTH_ADDRESS_SIZE]; /* on this side; the link may outlive bluetoothd */
	enum pan_security level;
	bool bonded;
	bool unproven; /* while it was connecting, an authentication failed for want of a key */
	char why[160]; /* of a connect that failed; "": what the error means */
};

/* A profile of this side, org.bluez.Profile1. */
struct bluez_profile {
	struct bluez_bearer *owner;
	const char *path, *uuid, *name;
	bool server;
	sd_bus_slot *object;
	bool asked; /* RegisterProfile was called and did not fail */
};

struct bluez_advertisement {
	struct bluez_bearer *owner;
	const char *path;
	bool with_psm; /* service data instead of the service's UUID: both do not fit */
	bool asked;    /* RegisterAdvertisement was called and did not fail */
	sd_bus_slot *object;
};

struct bluez_poll {
	uv_poll_t poll;
	struct bluez_bearer *owner;
	int fd;
};

/* How often a device has opened streams. */
struct bluez_caller {
	char address[BLUETOOTH_ADDRESS_SIZE];
	uint64_t since, refused_until; /* uv_now() */
	unsigned count;
};

struct bluez_bearer {
	struct bearer base;
	uv_loop_t *loop;
	struct bluez *bluez;
	struct bluez_watcher watcher;
	bool gateway, le, strangers, started, stopping;
	uint16_t psm;
	char bonds[BONDS_PATH_SIZE];
	size_t quota;
	unsigned max_links;
	bluetooth_level_fn *level;
	void (*note)(void *arg, const char *text);

	enum bluez_state state;
	struct bearer_link *links;
	unsigned link_count;
	struct bluez_caller callers[FLOOD_DEVICES];
	struct bluez_profile profiles[2];
	struct bluez_advertisement advertisements[2];
	struct bluez_poll *hci;               /* tells when encryption changes */
	struct bluez_poll *listener;          /* L2CAP */
	uint64_t register_at, read_levels_at; /* uv_now(); 0: not at all */
	uv_timer_t tick;
	unsigned handles; /* handles and links not yet closed; the bearer is freed without any */
	uint8_t input[BLUETOOTH_STREAM_INPUT];
};

void bluez_bearer_note(struct bluez_bearer *b, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void bluez_bearer_tick(struct bluez_bearer *b);   /* see that the timer runs */
void bluez_bearer_closed(struct bluez_bearer *b); /* one of handles is closed */

/* A poll on fd, which it closes in the end; NULL and fd closed when that cannot be. */
struct bluez_poll *bluez_poll_new(struct bluez_bearer *b, int fd, uv_poll_cb on_readable);
void bluez_poll_close(struct bluez_poll **p);

struct bearer_link *bluez_link_new(struct bluez_bearer *b, const struct bluez_device *d,
				   enum bluetooth_transport transport, bool pne_opened);
/* One of the device that is not being closed, or NULL. */
struct bearer_link *bluez_link_of(struct bluez_bearer *b, const char *path,
				  enum bluez_link_phase phase);
/* Ends a link: its last callback follows, from the loop when it has a stream, else at once. */
void bluez_link_end(struct bearer_link *l, enum bearer_down why, int error);
/* fd: the link's from here on. 0, or a negative errno: fd is closed, the link as it was. */
int bluez_link_attach(struct bearer_link *l, int fd, bool connecting);
/* The stream is connected: the caller hears of it. */
void bluez_link_ready(struct bearer_link *l);

/* What the kernel has told until now is taken notice of: it tells before BlueZ answers. */
void bluez_bearer_hear(struct bluez_bearer *b);

/*
 * Whether a stream that the other side of d opened is to be had; else a negative errno. One that
 * it replaces is ended.
 */
int bluez_bearer_admit(struct bluez_bearer *b, const struct bluez_device *d, bool pne_opened,
		       bool counted);

/* bearer-bluez-profile.c */
void bluez_profiles_init(struct bluez_bearer *b);
void bluez_profiles_register(struct bluez_bearer *b); /* those that are not yet */
void bluez_profiles_lost(struct bluez_bearer *b);     /* bluetoothd is gone, perhaps the bus */
void bluez_profiles_stop(struct bluez_bearer *b);
int bluez_profile_connect(struct bluez_bearer *b, const struct bluez_device *d);

/* bearer-bluez-le.c */
void bluez_le_init(struct bluez_bearer *b);
void bluez_le_begin(struct bluez_bearer *b); /* the adapter is ready: what is not yet there */
void bluez_le_end(struct bluez_bearer *b);   /* it no longer is */
void bluez_le_lost(struct bluez_bearer *b);  /* the bus is gone */
void bluez_le_stop(struct bluez_bearer *b);
int bluez_le_connect(struct bluez_bearer *b, const struct bluez_device *d);

#endif
