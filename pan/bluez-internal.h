#ifndef PNGW_PAN_BLUEZ_INTERNAL_H
#define PNGW_PAN_BLUEZ_INTERNAL_H

/* Between bluez.c and bluez-*.c. */

#include "pan/bluez.h"
#include "pan/bus.h"

#define BLUEZ_ADAPTER     "org.bluez.Adapter1"
#define BLUEZ_DEVICE      "org.bluez.Device1"
#define DBUS_PROPERTIES   "org.freedesktop.DBus.Properties"
#define DBUS_OBJECTS      "org.freedesktop.DBus.ObjectManager"
#define DBUS_OWNER_SIZE   256 /* of a unique name */
#define BLUEZ_CHOICE_SIZE 32
#define BLUEZ_TICK        1000u /* ms, while something is to be tried again */

struct bluez_known_device {
	struct bluez_device d; /* first */
	bool seen;
	struct bluez_known_device *next;
};

/*
 * Reads a device's properties (a{sv}, at which m stands) into k. 1: something that is told has
 * changed; 0: nothing; or a negative errno.
 */
int bluez_device_read(struct bluez_known_device *k, sd_bus_message *m);
/* The same for the names (as) of properties that are no longer there. */
int bluez_device_forget(struct bluez_known_device *k, sd_bus_message *m);

struct bluez_call;

/* Outstanding calls; embedded in struct bluez. */
struct bluez_calls {
	sd_bus *connection;          /* NULL while there is none */
	char owner[DBUS_OWNER_SIZE]; /* bluetoothd's unique name; "": it does not run */
	struct bluez_call *first;
};
int bluez_calls_send(struct bluez_calls *s, sd_bus_message *m, unsigned seconds, bluez_done done,
		     void *arg);
void bluez_calls_forget(struct bluez_calls *s, const void *arg);
/* Every call that is under way ends with error. */
void bluez_calls_end(struct bluez_calls *s, int error);

struct bluez_adapter {
	char path[BLUEZ_PATH_SIZE];
	char address[BLUETOOTH_ADDRESS_SIZE];
	bool powered;
	bool tells_blocked; /* newer versions of BlueZ say themselves whether it is blocked */
	bool blocked;
	bool seen;
	struct bluez_adapter *next;
};

/* What a reply of BlueZ is for: an argument of its own, so that it can be forgotten alone. */
struct bluez_errand {
	struct bluez *b;
};

struct bluez {
	uv_loop_t *loop;
	char *alias;
	char *rfkill;
	char wanted[BLUEZ_CHOICE_SIZE]; /* "", "hciN" or an address */
	bool power_on, pairable;

	struct bus *bus;
	struct bluez_calls calls;
	struct bluez_errand load, power;
	bool loading, loaded;
	bool asked; /* the bus or bluetoothd has been found, or found missing */
	struct bluez_adapter *adapters;
	struct bluez_adapter *chosen;
	bool introduced; /* the chosen one was given its name */
	struct bluez_known_device *devices;
	enum bluez_state state;
	struct bluez_watcher *watchers;
	struct bluez_watcher *next_watcher; /* of the round under way */

	uv_timer_t tick;
	bool want_power;
	bool powering; /* an answer to Powered = true is outstanding */
	bool refused;  /* the last answer was that rfkill does not allow it */
	uint64_t try_at;
	unsigned pause;

	bool stopping;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

/* bluez.c. After every change: does what is to be done next, tells what is to be told. */
void bluez_settle(struct bluez *b);
void bluez_devices_drop(struct bluez *b); /* each is told gone */

/* bluez-adapter.c. Where the adapter at path is linked, or would be. */
struct bluez_adapter **bluez_adapter_at(struct bluez *b, const char *path);
/* m stands at the properties (a{sv}) of the adapter at path, which may be new. 0 or more, or a
 * negative errno. */
int bluez_adapter_read(struct bluez *b, const char *path, sd_bus_message *m);
int bluez_adapter_properties(struct bluez *b, struct bluez_adapter *a, sd_bus_message *m);
void bluez_adapter_remove(struct bluez *b, struct bluez_adapter **at);
bool bluez_adapter_blocked(const struct bluez *b, const struct bluez_adapter *a);
/* Looks for the adapter unless there is one. true when one was found: it has no devices yet. */
bool bluez_choose(struct bluez *b);
/* Gives the chosen adapter its name, once. false: it is to be tried again. */
bool bluez_introduce(struct bluez *b);
/* Switches the chosen adapter on if it is time to. */
void bluez_power_try(struct bluez *b);

#endif
