#ifndef PNGW_PAN_BLUETOOTH_LEVEL_H
#define PNGW_PAN_BLUETOOTH_LEVEL_H

/*
 * How far a connected Bluetooth socket can be trusted: read, never assumed. What a socket was asked
 * for (BT_SECURITY) is only what the kernel enforces at least; how a link really is encrypted is
 * told by the kernel's view of the link and by the bond that BlueZ keeps.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pan/bearer.h"
#include "pan/bluetooth.h"

enum bluetooth_transport { BLUETOOTH_RFCOMM, BLUETOOTH_LE };

struct bluetooth_level {
	enum pan_security level;
	uint8_t key_size; /* bytes; 0: not known */
	const char *why;  /* what it was read from, for a person; static text */
};

/* The key that a bond holds for a transport. */
enum bluetooth_key {
	BLUETOOTH_KEY_UNKNOWN,         /* no bond, or not to be read */
	BLUETOOTH_KEY_UNAUTHENTICATED, /* nobody compared or typed anything */
	BLUETOOTH_KEY_AUTHENTICATED,   /* protected against a man in the middle */
};
struct bluetooth_bond {
	enum bluetooth_key key;
	uint8_t key_size; /* bytes; 0: not known */
};

/*
 * From BlueZ's documented storage (its settings-storage.txt): bonds/ADAPTER/DEVICE/info. The keys
 * themselves are wiped at once. 0, or -errno when there is no such file, it cannot be read (it is
 * root's) or is not one: *out is then of an unknown key.
 */
int bluetooth_bond_read(const char *bonds, const char *adapter, const char *device,
			enum bluetooth_transport transport, struct bluetooth_bond *out);

/* What is known of a link. */
struct bluetooth_evidence {
	bool link_known; /* the kernel told about the link: the next two count */
	bool encrypted;
	bool p256;        /* the link key is authenticated and made with P-256 */
	int enforced;     /* the socket's BT_SECURITY, or -1 */
	uint8_t key_size; /* the link's, bytes; 0: not known */
	struct bluetooth_bond bond;
};
struct bluetooth_level bluetooth_level_judge(const struct bluetooth_evidence *evidence);

/*
 * The level of a connected socket between two addresses. 0 and *out, or -errno when the socket
 * tells nothing: then it is not to be trusted at all.
 */
typedef int bluetooth_level_fn(int fd, const char *adapter, const char *device, const char *bonds,
			       struct bluetooth_level *out);
bluetooth_level_fn bluetooth_level_read;

#endif
