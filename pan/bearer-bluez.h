#ifndef PNGW_PAN_BEARER_BLUEZ_H
#define PNGW_PAN_BEARER_BLUEZ_H

/*
 * The bearer over Bluetooth: RFCOMM by the profiles of BlueZ (org.bluez.ProfileManager1), and L2CAP
 * channels over LE for PNEs without BR/EDR.
 *
 * Only the adapter that bluez was told to use counts. bluetoothd and adapter may come and go:
 * what is to be registered is registered anew, streams that are up stay as long as the kernel keeps
 * them.
 *
 * One stream per device: one that a PNE opened takes the place of one that a PN GW opened, and not
 * the other way round, so that both sides agree which of two that cross stays; of the same kind
 * the later takes the place of the earlier, whose device lost it (BEARER_DOWN_PEER). A device that
 * opens more than BEARER_BLUEZ_FLOOD streams a minute is refused for a minute.
 *
 * A link's peer is told as "bluetooth AA:BB:CC:DD:EE:FF" or "bluetooth-le AA:BB:CC:DD:EE:FF", with
 * the identity address where BlueZ knows it.
 */

#include <uv.h>

#include "pan/bearer.h"
#include "pan/bluetooth-level.h"
#include "pan/bluez.h"

#define BEARER_BLUEZ_FLOOD   20
#define BEARER_BLUEZ_SECONDS 30 /* until a bearer_connect() ends at the latest */

struct bearer_bluez_options {
	/* PN GW: offers BLUETOOTH_UUID_GATEWAY and connects to BLUETOOTH_UUID_PNE; a PNE: the
	 * other way round. */
	bool gateway;
	/* PN GW: connects to PNEs without BR/EDR over LE too. A PNE: it has no BR/EDR; it
	 * advertises, listens, and cannot connect. */
	bool le;
	uint16_t psm;              /* a PNE's, over LE; 0: BLUETOOTH_LE_PSM */
	bool strangers;            /* streams of and to devices that are not bonded are made too */
	const char *bonds;         /* BlueZ's state; NULL: "/var/lib/bluetooth". Copied */
	size_t quota;              /* bytes waiting to be sent on one link; 0: 256 KiB */
	unsigned max_links;        /* further devices are refused; 0: 64 */
	bluetooth_level_fn *level; /* NULL: bluetooth_level_read */
	/* A line for the log, with the bearer's arg: what a link's level was read from, and what
	 * went wrong without a callback of its own. NULL: not wanted. */
	void (*note)(void *arg, const char *text);
};

/*
 * bluez must be there until stopped(). 0 and *out, or a negative errno.
 *
 * bearer_start() always succeeds: it offers the service from now on, whenever BlueZ is there.
 *
 * bearer_connect() takes a device's address and refuses at once with
 *   -EINVAL    what is no address
 *   -ENETDOWN  Bluetooth is not ready (bluez_state())
 *   -ENOENT    a device that BlueZ does not know
 *   -EPERM     a device that is not bonded (see strangers)
 *   -EALREADY  a connect to this device is under way
 *   -EISCONN   there is a link with this device
 *   -ENOTSUP   this side cannot connect to it
 * connect_failed() tells bluez_error()'s errors, for LE the socket's; -ETIMEDOUT after
 * BEARER_BLUEZ_SECONDS; -EISCONN when the device has connected by itself meanwhile.
 */
int bearer_bluez_new(uv_loop_t *loop, struct bluez *bluez,
		     const struct bearer_bluez_options *options,
		     const struct bearer_callbacks *callbacks, void *arg, struct bearer **out);

/* What an error of bearer_connect() or connect_failed() means, for a person. Static text. */
const char *bearer_bluez_error_text(int error);

#endif
