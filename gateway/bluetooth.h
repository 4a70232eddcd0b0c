#ifndef PNGW_GATEWAY_BLUETOOTH_H
#define PNGW_GATEWAY_BLUETOOTH_H

/*
 * pngwd's Bluetooth: BlueZ with its adapter, pairing, the bearer over RFCOMM and LE, the Network
 * Access Point with its TCP bearer, and which PNE is found at which address. Used from the loop's
 * thread only.
 */

#include "gateway/config.h"
#include "pan/bluez.h"
#include "pan/pairing.h"

struct gateway_bluetooth;

struct gateway_bluetooth_options {
	const struct config *config; /* pan.bluetooth.*, copied */
	struct vault *vault;         /* borrowed until gateway_bluetooth_stop() */
	/* Of the streams, whichever bearer they are on; connect_failed() and stopped() are not
	 * used. The argument of the callbacks is that of the bearer: streams_arg or nap_arg. */
	struct bearer_callbacks streams;
	void *streams_arg, *nap_arg;
	void (*log)(void *arg, enum log_level level, const char *text);
	/* What gateway_bluetooth_reach() began has failed. From the loop. */
	void (*unreachable)(void *arg, const struct name *entity, enum verdict_id id,
			    const char *detail);
	void *arg;
};

/* 0 and *out, or a negative errno and why, one sentence. Nothing has begun then. */
int gateway_bluetooth_new(uv_loop_t *loop, const struct gateway_bluetooth_options *options,
			  struct gateway_bluetooth **out, char *why, size_t why_size);
/* Once. The adapter, bluetoothd and D-Bus may come later. The same results. */
int gateway_bluetooth_start(struct gateway_bluetooth *b, char *why, size_t why_size);
/* Ends all streams (link_down follows from the loop) and frees everything from the loop. Listeners
 * and requests are told nothing more. */
void gateway_bluetooth_stop(struct gateway_bluetooth *b);

/* For the streams. The bearer of PNEs on Bluetooth, and that of the bridge: NULL without it. */
struct bearer *gateway_bluetooth_bearer(struct gateway_bluetooth *b);
struct bearer *gateway_bluetooth_nap_bearer(struct gateway_bluetooth *b);
/* Ports of the core: reach(), and arrived() for a stream of the first bearer. */
int gateway_bluetooth_reach(struct gateway_bluetooth *b, const struct name *entity);
void gateway_bluetooth_arrived(struct gateway_bluetooth *b, struct bearer_link *link,
			       const struct name *entity);

/* For commands. */
struct bluez *gateway_bluetooth_bluez(struct gateway_bluetooth *b);
struct pairing *gateway_bluetooth_pairing(struct gateway_bluetooth *b);

/* The Network Access Point's state for a person; "" where there is none. */
const char *gateway_bluetooth_nap_text(const struct gateway_bluetooth *b);

/*
 * Who wants to know of pairing and scans, as pairing.h has it. Embedded; linked from listen() until
 * unlisten(), which may be called from the callbacks, of itself. Any callback may be NULL.
 * Questions are in the daemon's log also when nobody listens.
 */
struct gateway_bluetooth_listener {
	void (*question)(struct gateway_bluetooth_listener *l, const struct bluez_device *d,
			 enum pairing_question q, const char *value);
	void (*withdrawn)(struct gateway_bluetooth_listener *l, const char *address);
	void (*ended)(struct gateway_bluetooth_listener *l, const char *address, int error,
		      const char *why);
	void (*found)(struct gateway_bluetooth_listener *l, const struct bluez_device *d);
	void (*scan_ended)(struct gateway_bluetooth_listener *l, int error);
	struct gateway_bluetooth_listener *next;
};
void gateway_bluetooth_listen(struct gateway_bluetooth *b, struct gateway_bluetooth_listener *l);
void gateway_bluetooth_unlisten(struct gateway_bluetooth *b, struct gateway_bluetooth_listener *l);
/* A question in a person's words, with the command that answers it. Returns out. */
#define BLUETOOTH_QUESTION_SIZE 512
const char *gateway_bluetooth_question(const struct bluez_device *d, enum pairing_question q,
				       const char *value, char *out, size_t out_size);

/* Which PNE was at which address when it was last connected, from the vault. */
/* word is an address, or the Entity ID of such a PNE. 0, -EINVAL: neither; -ENOENT: no such PNE. */
int gateway_bluetooth_address(struct gateway_bluetooth *b, const char *word,
			      char out[BLUETOOTH_ADDRESS_SIZE]);
/* 0 or -ENOENT; *out is then untouched. */
int gateway_bluetooth_entity(struct gateway_bluetooth *b, const char *address, struct name *out);
/* 0 or a negative errno. each must not use the vault. */
int gateway_bluetooth_each_known(struct gateway_bluetooth *b,
				 void (*each)(void *arg, const struct name *entity,
					      const char *address),
				 void *arg);
/* Every stream; entity: "" before its hello. */
void gateway_bluetooth_each_stream(struct gateway_bluetooth *b,
				   void (*each)(void *arg, const char *address,
						const struct name *entity, enum pan_security level),
				   void *arg);

/*
 * Connects to a PNE: done once, from the loop, VERDICT_DONE when it has said hello; entity is then
 * who it is, else NULL. 0, -EISCONN: it is connected; -EINVAL: no address; -ENOMEM.
 */
typedef void gateway_bluetooth_done(void *arg, enum verdict_id id, const char *detail,
				    const struct name *entity);
int gateway_bluetooth_connect(struct gateway_bluetooth *b, const char *address,
			      gateway_bluetooth_done *done, void *arg);
/* No request with that arg is told any more; the attempt goes on. */
void gateway_bluetooth_forget(struct gateway_bluetooth *b, const void *arg);
/*
 * Closes the device's streams, and its connection: BlueZ takes 2 s for that, and whoever wants to
 * connect to the device waits. 0, -ENOTCONN: there is neither; -ENOMEM.
 */
int gateway_bluetooth_disconnect(struct gateway_bluetooth *b, const char *address);

/* The verdict of a negative errno of bearer_connect(), and of a pairing. 0: VERDICT_DONE. */
enum verdict_id gateway_bluetooth_connect_verdict(int error);
enum verdict_id gateway_bluetooth_pairing_verdict(int error);

#endif
