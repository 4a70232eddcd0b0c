#ifndef PNGW_PAN_BLUEZ_H
#define PNGW_PAN_BLUEZ_H

/*
 * What BlueZ (org.bluez on D-Bus) is doing: the daemon, the adapter that was chosen, its devices.
 * It owns the D-Bus connection that every user of BlueZ shares. All of it is kept up to date from
 * signals; nothing blocks. Used from the loop's thread only.
 *
 * It survives what it depends on: bus, bluetoothd and adapter may appear late, go and come back.
 * bluez_watcher.state() tells; what was registered with BlueZ (profiles, agents, advertisements)
 * is to be registered anew after each change to BLUEZ_OFF or better from one below.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "pan/bluetooth.h"
#include "protocol/sd-bus.h"

#define BLUEZ_NAME      "org.bluez"
#define BLUEZ_PATH_SIZE 64 /* of an object path of BlueZ, with the NUL */

struct bluez;

/* In this order: each needs what the ones before it lack. */
enum bluez_state {
	BLUEZ_STARTING,   /* neither D-Bus nor bluetoothd has answered yet, nor failed to */
	BLUEZ_NO_BUS,     /* no D-Bus */
	BLUEZ_NO_DAEMON,  /* bluetoothd does not run, or has not yet answered since it was gone */
	BLUEZ_NO_ADAPTER, /* the adapter that was asked for is not there (yet) */
	BLUEZ_BLOCKED,    /* the adapter is blocked by rfkill */
	BLUEZ_OFF,        /* the adapter is not powered */
	BLUEZ_READY,
};
const char *bluez_state_text(enum bluez_state state); /* cause and remedy, for a person */

/* The texts are copied. */
struct bluez_options {
	const char *bus;     /* D-Bus address; NULL: the system bus */
	const char *adapter; /* "": the first one there is; "hci1"; or an address */
	const char *alias;   /* the adapter's name as others see it; "": left alone */
	/*
	 * Switch the adapter on when it is off, again and again while that fails. Once it was on,
	 * an adapter that somebody switches off stays off until bluez_power() or until it or
	 * bluetoothd comes anew; one that rfkill blocked is switched on when it is unblocked.
	 */
	bool power_on;
	bool pairable;      /* set the adapter pairable; false: left alone */
	const char *rfkill; /* folder of the kernel's rfkill switches; NULL: /sys/class/rfkill */
};

/* A device of the chosen adapter as BlueZ tells it. Borrowed: valid during the callback. */
struct bluez_device {
	char path[BLUEZ_PATH_SIZE];
	/* Upper case. The identity address once BlueZ has resolved a private one; path stays. */
	char address[BLUETOOTH_ADDRESS_SIZE];
	bool random_address;
	char name[249]; /* UTF-8; "": not known */
	bool has_rssi;
	int16_t rssi; /* dBm, only during discovery */
	bool paired, bonded, trusted, connected, blocked, legacy_pairing;
	bool offers_pne, offers_gateway; /* by the UUIDs of its services */
	bool le_only;                    /* known from LE alone: to be connected to over LE */
	uint16_t psm;                    /* from the service data of UUID_PNE; 0: none */
};

enum bluez_change { BLUEZ_DEVICE_ADDED, BLUEZ_DEVICE_CHANGED, BLUEZ_DEVICE_GONE };

/*
 * Embedded by who watches; linked from bluez_watch() until bluez_unwatch(). A callback may call
 * everything here, also bluez_unwatch() of itself and bluez_stop(). Either may be NULL.
 */
struct bluez_watcher {
	/* A new state. Also called from bluez_watch(). Before a state below BLUEZ_BLOCKED is told,
	 * every device is told gone. */
	void (*state)(struct bluez_watcher *w, enum bluez_state state);
	/* With BLUEZ_DEVICE_GONE for the last time; d is then as it was last. */
	void (*device)(struct bluez_watcher *w, const struct bluez_device *d,
		       enum bluez_change change);
	struct bluez_watcher *next; /* bluez's */
};

/* 0 and *out, -EINVAL for an adapter that can never be, or another negative errno. */
int bluez_new(uv_loop_t *loop, const struct bluez_options *options, struct bluez **out);
void bluez_start(struct bluez *b); /* once */
/*
 * Calls that are under way end with -ECANCELED, watchers see BLUEZ_NO_BUS, b is freed, stopped(arg)
 * is called: all from the loop. b may be used until then.
 */
void bluez_stop(struct bluez *b, void (*stopped)(void *arg), void *arg);

enum bluez_state bluez_state(const struct bluez *b);
void bluez_watch(struct bluez *b, struct bluez_watcher *w);
void bluez_unwatch(struct bluez *b, struct bluez_watcher *w);

sd_bus *bluez_bus(struct bluez *b); /* borrowed; NULL while BLUEZ_NO_BUS */
/* Object path and address of the chosen adapter; NULL while there is none. */
const char *bluez_adapter(const struct bluez *b);
const char *bluez_adapter_address(const struct bluez *b);
/* Every adapter that BlueZ has; name: "hci0". */
void bluez_each_adapter(const struct bluez *b,
			void (*each)(void *arg, const char *name, const char *address, bool powered,
				     bool chosen),
			void *arg);
/* true when m came from the bluetoothd that runs: for methods that BlueZ calls. */
bool bluez_is_sender(const struct bluez *b, sd_bus_message *m);

/* By object path or by address (of either case); NULL when there is none. */
const struct bluez_device *bluez_find(const struct bluez *b, const char *address_or_path);
/* each() must not call what removes devices. */
void bluez_each(const struct bluez *b, void (*each)(void *arg, const struct bluez_device *d),
		void *arg);

/*
 * These two ask and do not wait: the state tells what came of it. 0, -ENODEV without an adapter,
 * bluez_discoverable() -ENETDOWN when it is not powered, or another negative errno.
 */
int bluez_power(struct bluez *b, bool on);
#define BLUEZ_ALWAYS UINT32_MAX
/* seconds: 0: no longer; BLUEZ_ALWAYS: until bluetoothd or the adapter goes. */
int bluez_discoverable(struct bluez *b, uint32_t seconds);

/*
 * The outcome of a call. error: 0; or a negative errno by bluez_error(), name and text then say
 * what BlueZ said ("org.bluez.Error.Failed", "br-connection-page-timeout"; text may be "").
 * reply: the message when error is 0, else NULL. All borrowed.
 */
typedef void (*bluez_done)(void *arg, int error, const char *name, const char *text,
			   sd_bus_message *reply);

/*
 * Calls a method of BlueZ without blocking, and without starting bluetoothd. types and the
 * arguments are as for sd_bus_message_append(3); for what that cannot build, bluez_message() makes
 * the message and bluez_send() takes it (its reference too, also when it fails).
 * seconds: 0: D-Bus's usual 25. done may be NULL; it comes from the loop, exactly once unless
 * bluez_forget() was called. 0, -ENOTCONN without bluetoothd, or another negative errno: then done
 * is not called.
 */
int bluez_call(struct bluez *b, unsigned seconds, bluez_done done, void *arg, const char *path,
	       const char *interface, const char *member, const char *types, ...);
int bluez_message(struct bluez *b, const char *path, const char *interface, const char *member,
		  sd_bus_message **out);
int bluez_send(struct bluez *b, sd_bus_message *m, unsigned seconds, bluez_done done, void *arg);
/* No call that was made with this arg is told any more: before arg is freed. */
void bluez_forget(struct bluez *b, const void *arg);

/*
 * What an error of BlueZ means:
 *   -EKEYREJECTED     authentication failed (wrong PIN or passkey, or a value denied)
 *   -EACCES           authentication, or a connection, rejected by the other side
 *   -EPERM            not authorized
 *   -ECANCELED        cancelled
 *   -ETIMEDOUT        the person or the other side did not answer in time; no reply
 *   -EHOSTDOWN        out of reach, or switched off
 *   -ENOKEY           a bond that the other side no longer has
 *   -ENETDOWN         the adapter is off
 *   -ERFKILL          the adapter is blocked
 *   -EBUSY            something of the kind is under way
 *   -EALREADY         already so, already there
 *   -EISCONN          already connected
 *   -ENOTCONN         not connected; no bluetoothd
 *   -ENOENT           no such object
 *   -EPROTONOSUPPORT  the device does not offer the service
 *   -ENOTSUP          BlueZ, or the adapter, cannot do it
 *   -EINVAL           the arguments
 *   -ECONNRESET       connected, but ended from the other side before it was used
 *   -EIO              anything else
 */
int bluez_error(const char *name, const char *text);

#endif
