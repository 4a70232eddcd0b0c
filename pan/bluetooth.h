#ifndef PNGW_PAN_BLUETOOTH_H
#define PNGW_PAN_BLUETOOTH_H

/* Names of the Bluetooth binding (doc/bluetooth.md). */

#include <stdbool.h>

/*
 * A PN GW offers the first over RFCOMM, a PNE the second; a PNE without BR/EDR advertises the
 * second with its L2CAP PSM as service data (2 bytes, little-endian).
 */
#define BLUETOOTH_UUID_GATEWAY "efabb950-aaf8-4076-967a-f4c3d1a248c7"
#define BLUETOOTH_UUID_PNE     "aa2868b6-bfd3-4d5b-a859-87432eba40be"
#define BLUETOOTH_LE_PSM       0x00c9 /* default of a PNE; dynamic range 0x0080..0x00ff */

#define BLUETOOTH_ADDRESS_SIZE 18 /* "AA:BB:CC:DD:EE:FF" and the NUL */

/* Six hexadecimal bytes between colons, of either case. */
bool bluetooth_address_valid(const char *text);

#endif
