#ifndef PNGW_GATEWAY_BLUETOOTH_INTERNAL_H
#define PNGW_GATEWAY_BLUETOOTH_INTERNAL_H

/* What the files of the daemon's Bluetooth share. */

#include "gateway/bluetooth.h"
#include "pan/bearer-bluez.h"
#include "pan/nap.h"

/* A stream on the Bluetooth bearer. */
struct place {
	struct place *next;
	struct bearer_link *link;
	char address[BLUETOOTH_ADDRESS_SIZE];
	enum pan_security level;
	struct name entity; /* "" before its hello */
};

struct attempt;
struct leaving;

struct gateway_bluetooth {
	uv_loop_t *loop;
	struct gateway_bluetooth_options options;
	struct bluez *bluez;
	struct bluez_watcher watcher;
	struct pairing *pairing;
	struct bearer *bearer;
	struct nap *nap;
	struct bearer *nap_bearer;
	struct place *places;
	struct gateway_bluetooth_listener *listeners;
	struct attempt *attempts; /* in the order in which they were asked for */
	struct leaving *leaving;  /* each until BlueZ has answered */
	uv_timer_t timer;         /* of the attempts */
	char last_state[256];     /* as it was logged */
	unsigned open;            /* what has not stopped yet */
	bool stopping, auto_connect;
	bool nap_wanted;
	unsigned nap_port, max_links;
	size_t quota;
	enum pan_security nap_security;
	char nap_bridge[CONFIG_TEXT_MAX], nap_address[CONFIG_TEXT_MAX];
};

__attribute__((format(printf, 3, 4))) void
gateway_bluetooth_say(struct gateway_bluetooth *b, enum log_level level, const char *format, ...);

/* The stream at an address, NULL: none. */
struct place *gateway_bluetooth_place(struct gateway_bluetooth *b, const char *address);

/* bluetooth-reach.c: what the attempts want to know. */
void gateway_attempts_begin(struct gateway_bluetooth *b);
void gateway_attempts_end(struct gateway_bluetooth *b);
void gateway_attempts_state(struct gateway_bluetooth *b, enum bluez_state state);
void gateway_attempts_failed(struct gateway_bluetooth *b, const char *address, int error,
			     const char *why);
void gateway_attempts_link_up(struct gateway_bluetooth *b, const char *address);
void gateway_attempts_link_down(struct gateway_bluetooth *b, const char *address);
void gateway_attempts_arrived(struct gateway_bluetooth *b, const char *address,
			      const struct name *entity);

/* bluetooth-known.c. 0 or -ENOENT. */
int gateway_known_address(struct gateway_bluetooth *b, const struct name *entity,
			  char out[BLUETOOTH_ADDRESS_SIZE]);
/* p->entity is there, on a stream of a device that BlueZ knows, or not. */
void gateway_known_arrived(struct gateway_bluetooth *b, const struct place *p);

#endif
