#ifndef PNGW_PAN_BLUEZ_INTERNAL_H
#define PNGW_PAN_BLUEZ_INTERNAL_H

/* Between bluez.c, bluez-call.c and bluez-device.c. */

#include "pan/bluez.h"

#define BLUEZ_ADAPTER   "org.bluez.Adapter1"
#define BLUEZ_DEVICE    "org.bluez.Device1"
#define DBUS_PROPERTIES "org.freedesktop.DBus.Properties"
#define DBUS_OBJECTS    "org.freedesktop.DBus.ObjectManager"
#define DBUS_OWNER_SIZE 256 /* of a unique name */

struct bluez_known_device {
	struct bluez_device d; /* first */
	bool has_class;        /* told by BR/EDR alone */
	bool le_flags;         /* advertised that it has no BR/EDR */
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

/* Whether the rfkill switch of adapter "hciN" blocks it. 1, 0, or -ENOENT: no such switch. */
int bluez_rfkill(const char *folder, const char *adapter);

#endif
