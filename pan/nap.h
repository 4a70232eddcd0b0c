#ifndef PNGW_PAN_NAP_H
#define PNGW_PAN_NAP_H

/*
 * This device as a Network Access Point (BNEP): a bridge of its own, which BlueZ is told to put its
 * guests into (org.bluez.NetworkServer1), again whenever bluetoothd or the adapter come anew.
 */

#include "pan/bluez.h"

struct nap;

/*
 * Makes the bridge; bluez is borrowed until nap_stop(). note: a line for the log, warning: it is
 * not as it should be. 0 and *out, or the errors of bridge_make().
 */
int nap_new(struct bluez *bluez, const char *bridge, const char *address,
	    void (*note)(void *arg, bool warning, const char *text), void *arg, struct nap **out);

/* What devices can use of it now, in a few words. Valid until the next turn of the loop. */
const char *nap_status(const struct nap *n);

/* No longer offered, the bridge removed, n freed. bluez must still be there. NULL is allowed. */
void nap_stop(struct nap *n);

#endif
