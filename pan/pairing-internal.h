#ifndef PNGW_PAN_PAIRING_INTERNAL_H
#define PNGW_PAN_PAIRING_INTERNAL_H

/* What the parts of pairing share: pairing.c (pairings), pairing-agent.c, pairing-scan.c. */

#include "pan/pairing.h"

#define PAIRING_NEVER UINT64_MAX

enum attempt_phase {
	ATTEMPT_SEEKING,  /* begun here, the device is not known yet */
	ATTEMPT_PAIRING,  /* begun here, Device1.Pair is under way */
	ATTEMPT_THEIRS,   /* begun by the device */
	ATTEMPT_TRUSTING, /* bonded; Trusted is being set */
};

/* One pairing from its beginning to ended(). */
struct attempt {
	struct pairing *pairing;
	struct attempt *next;
	char address[BLUETOOTH_ADDRESS_SIZE];
	char path[BLUEZ_PATH_SIZE]; /* "" while seeking */
	enum attempt_phase phase;
	uint64_t deadline; /* uv_now() */

	bool stands; /* the question below */
	enum pairing_question question;
	char value[PAIRING_PIN_SIZE];
	sd_bus_message *ask; /* that is to be answered; NULL when value is only shown */

	bool secret_entered; /* a PIN or a passkey was part of it */
	bool given_up;       /* CancelPairing was sent */
	int refused;         /* by this side: the error that it ends with; 0: not */
	const char *refused_why;
};

enum discovery { DISCOVERY_OFF, DISCOVERY_STARTING, DISCOVERY_ON, DISCOVERY_STOPPING };

struct told; /* a device that found() was called for */

struct pairing {
	struct bluez_watcher watcher; /* first: a callback's watcher is its pairing */
	uv_loop_t *loop;
	struct bluez *bluez;
	struct pairing_options options;
	char pin[PAIRING_PIN_SIZE];
	struct pairing_callbacks callbacks;
	void *arg;
	uv_timer_t timer;
	struct attempt *attempts;
	struct removal *removals;

	sd_bus_slot *agent; /* the object; NULL without a bus */
	bool registered;    /* or being so */
	uint64_t register_at;

	enum discovery discovery;
	bool filter_sent_all;
	bool scanning;
	bool scan_all;
	int16_t scan_rssi;
	char scan_name[64];
	uint64_t scan_end;
	struct told *told;

	bool stopping;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

/* pairing.c */
struct attempt *pairing_attempt(struct pairing *p, const char *path);
/* A pairing that a device begins. NULL: too many, or out of memory. */
struct attempt *pairing_attempt_theirs(struct pairing *p, const struct bluez_device *d);
/* Frees a and calls ended() as the last thing. */
void pairing_finish(struct attempt *a, int error, const char *why);
/* The question no longer stands; one that waits for an answer must have got it. Calls withdrawn(),
 * but not for one that was only shown and ends with its pairing. */
void pairing_withdraw(struct attempt *a);
/* Answers no; the attempt ends with error, at once when the device began it. */
void pairing_refuse(struct attempt *a, int error, const char *why);
/* The timer is set to the next deadline of all. */
void pairing_arm(struct pairing *p);
uint64_t pairing_in(const struct pairing *p, unsigned seconds);
unsigned pairing_question_seconds(const struct pairing *p);

/* pairing-agent.c */
void pairing_agent_state(struct pairing *p, enum bluez_state state);
void pairing_agent_stop(struct pairing *p);

/* pairing-scan.c */
void pairing_discovery(struct pairing *p); /* on or off as wanted now */
void pairing_scan_device(struct pairing *p, const struct bluez_device *d);
void pairing_scan_over(struct pairing *p, int error);
void pairing_discovery_lost(struct pairing *p);
void pairing_discovery_stop(struct pairing *p);

#endif
