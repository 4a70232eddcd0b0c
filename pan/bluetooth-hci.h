#ifndef PNGW_PAN_BLUETOOTH_HCI_H
#define PNGW_PAN_BLUETOOTH_HCI_H

/* What the kernel knows of a controller's links, and when their encryption changes. */

#include <bluetooth/bluetooth.h>
#include <stdbool.h>
#include <stdint.h>

#include "pan/bluetooth-level.h"

/* "AA:BB:CC:DD:EE:FF", valid, to the kernel's form. */
bdaddr_t bluetooth_bdaddr(const char *text);

struct bluetooth_hci_link {
	bool encrypted;
	bool p256; /* with an authenticated key made with P-256 */
};

/* The link between two addresses. 0 and *out, -ENOTCONN without one, or another negative errno. */
int bluetooth_hci_link(const char *adapter, const char *device, enum bluetooth_transport transport,
		       struct bluetooth_hci_link *out);

/*
 * A non-blocking descriptor, the caller's own, that becomes readable when the encryption of any
 * link of the adapter may have changed, or an authentication has ended; or a negative errno.
 */
int bluetooth_hci_watch(const char *adapter);
/*
 * Reads all there is. *unproven becomes true, and else stays, when an authentication of any link
 * failed because the two sides do not have the same key. 0, or a negative errno when it is over
 * (the adapter has gone).
 */
int bluetooth_hci_drain(int fd, bool *unproven);

#endif
