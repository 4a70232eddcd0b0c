#ifndef PNGW_PAN_PAIRING_H
#define PNGW_PAN_PAIRING_H

/*
 * Discovery, pairing and bonds through BlueZ. One per struct bluez. Whenever bluetoothd runs, an
 * agent is registered there and made the default one; its questions are passed on and answered
 * later. Used from the loop's thread only.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "pan/bluez.h"

#define PAIRING_PIN_SIZE 17 /* a PIN of up to 16 characters and the NUL */

struct pairing;

/* What a person can do at this end: decides the association model (Core Vol 3, Part C, 5.2.2.6). */
enum pairing_capability {
	PAIRING_DISPLAY_ONLY,
	PAIRING_DISPLAY_YES_NO,
	PAIRING_KEYBOARD_ONLY,
	PAIRING_NO_INPUT_NO_OUTPUT,
	PAIRING_KEYBOARD_DISPLAY,
};
#define PAIRING_CAPABILITIES 5
/* BlueZ's name, "KeyboardDisplay". */
const char *pairing_capability_name(enum pairing_capability capability);

/*
 * Of pairings that a device begins by itself. Accept answers only what proves nothing anyway (just
 * works, a fixed PIN): numbers are always shown to a person, because a comparison that nobody made
 * would make the key count as authenticated. A device that is bonded is refused whatever the
 * policy: who only claims its address must not get its bond replaced.
 */
enum pairing_policy { PAIRING_ASK, PAIRING_ACCEPT, PAIRING_REFUSE };

enum pairing_question {
	PAIRING_AUTHORIZE,     /* just works: yes or no */
	PAIRING_CONFIRM,       /* numeric comparison: does the device show value? yes or no */
	PAIRING_ENTER_PIN,     /* legacy: 1 to 16 characters */
	PAIRING_ENTER_PASSKEY, /* the 6 digits that the device shows */
	PAIRING_SHOW_PIN,      /* value is to be typed on the device: no answer */
	PAIRING_SHOW_PASSKEY,  /* the same with 6 digits */
};

struct pairing_options {
	bool gateway; /* seeks PNEs, and lets them in; a PNE: the other way round */
	enum pairing_capability capability;
	enum pairing_policy policy;
	/*
	 * "": none. The PIN of devices without input: answers a question for a PIN at once when
	 * the pairing was begun here, or policy is PAIRING_ACCEPT.
	 */
	const char *pin;
	bool strangers; /* devices that are not bonded may use our service */
	/*
	 * bluetoothd has one default agent for all its adapters. False: what concerns another
	 * adapter than ours is refused; true: it is treated alike (several emulated devices).
	 */
	bool every_adapter;
	unsigned question_seconds; /* 0: 55, a little less than bluetoothd waits */
	unsigned seek_seconds;     /* 0: 20; how long pairing_start() looks for an unknown device */
};

struct pairing_callbacks {
	/* d and value (NULL when there is none) are borrowed, valid during the call. */
	void (*question)(void *arg, const struct bluez_device *d, enum pairing_question q,
			 const char *value);
	/* The question no longer stands (it was answered, too late, or the device gave up). */
	void (*withdrawn)(void *arg, const char *address);
	/*
	 * Once for every pairing that began, here or there. why: a sentence. error:
	 *   0             bonded
	 *   -EKEYREJECTED the PIN or passkey was wrong
	 *   -EACCES       refused, here or there
	 *   -ETIMEDOUT    nobody answered, or the device did not go on
	 *   -ECANCELED    pairing_cancel(), or the device gave up
	 *   -ENOKEY       bonded here, and the device wants to pair anew: it has forgotten its bond
	 *   -ENODEV       not found near here; -EHOSTDOWN: out of reach
	 *   -ENETDOWN     Bluetooth went down
	 * or another negative errno.
	 */
	void (*ended)(void *arg, const char *address, int error, const char *why);
	/* During a scan: what passes the filter; again when its name or services become known. */
	void (*found)(void *arg, const struct bluez_device *d);
	void (*scan_ended)(void *arg, int error);
};

/*
 * bluez is borrowed and outlives the pairing. Options are copied. Every callback must be there.
 * 0 and *out; -EINVAL: a PIN of more than 16 characters; -ENOMEM.
 */
int pairing_new(uv_loop_t *loop, struct bluez *bluez, const struct pairing_options *options,
		const struct pairing_callbacks *callbacks, void *arg, struct pairing **out);

/*
 * Refuses what is open, ends discovery and takes the agent back. stopped() is called from the loop
 * when the pairing has been freed; no other callback comes after this call.
 */
void pairing_stop(struct pairing *p, void (*stopped)(void *arg), void *arg);

/*
 * Pairs, and marks the device as trusted. A device that BlueZ does not know is looked for first.
 * ended() follows from the loop. -EINVAL: not an address; -EEXIST: bonded already; -EALREADY: being
 * paired; -ENETDOWN: no adapter ready; -ENOMEM.
 */
int pairing_start(struct pairing *p, const char *address);

/*
 * "yes" or "no"; for ENTER_PIN and ENTER_PASSKEY what is to be entered, or "no". 0; -EINVAL: does
 * not fit the question, which stands; -ENOENT: no such question.
 */
int pairing_answer(struct pairing *p, const char *address, const char *text);

/* ended() follows, or comes from within the call. -ENOENT: not being paired. */
int pairing_cancel(struct pairing *p, const char *address);

/* Calls each with every question that stands. */
void pairing_questions(struct pairing *p,
		       void (*each)(void *arg, const struct bluez_device *d,
				    enum pairing_question q, const char *value),
		       void *arg);

struct pairing_filter {
	bool all;         /* also what does not offer the service sought */
	int16_t rssi;     /* dBm, at least; 0: any */
	const char *name; /* a part of the name, upper and lower case alike; NULL: any */
};

/*
 * Looks for devices for that many seconds; known ones that pass the filter and are near are told
 * too. scan_ended() follows. -EALREADY: a scan is on; -ENETDOWN; -ENOMEM.
 */
int pairing_scan(struct pairing *p, const struct pairing_filter *filter, unsigned seconds);
/* scan_ended(0) comes from within the call. Nothing happens when there is no scan. */
void pairing_scan_stop(struct pairing *p);

/*
 * Removes the bond, and the device, on this side. done() follows from the loop unless the pairing
 * is stopped first. -ENOENT: BlueZ does not know it; -ENETDOWN; -ENOMEM.
 */
int pairing_unbond(struct pairing *p, const char *address,
		   void (*done)(void *arg, int error, const char *why), void *arg_of_done);
/* Removals with that arg are told no more; they go on. */
void pairing_forget(struct pairing *p, const void *arg_of_done);

#endif
