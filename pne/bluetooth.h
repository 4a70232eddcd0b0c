#ifndef PNGW_PNE_BLUETOOTH_H
#define PNGW_PNE_BLUETOOTH_H

/*
 * A PNE as a Bluetooth device: adapter, pairing by a person or by rule, and the bearer that the
 * PN GW's streams come over (doc/bluetooth.md).
 */

#include <uv.h>

#include "pan/pairing.h"
#include "pne/device.h"

struct pne_bluetooth;

/* What is said of numbers that a person should compare, and of pairing without any. */
enum pne_confirm { PNE_CONFIRM_YES, PNE_CONFIRM_NO, PNE_CONFIRM_ASK };

struct pne_bluetooth_options {
	const char *entity;  /* for the lines */
	const char *adapter; /* as bluez_options.adapter */
	const char *name;    /* of the device as others see it; "": left alone */
	const char *address; /* D-Bus address; NULL: the system bus */
	/* Advertise over LE, for a device without BR/EDR; else RFCOMM, and to be found. */
	bool le;
	bool agent; /* answer pairings, those of all adapters of this bluetoothd */
	enum pairing_capability capability;
	const char *pin; /* NULL: none */
	enum pne_confirm confirm;
};

/*
 * The line is called as pne_device_callbacks.line. With PNE_CONFIRM_ASK answers are read from
 * standard input, a line each, for the question that was asked last. 0 or a negative errno and why.
 */
int pne_bluetooth_new(uv_loop_t *loop, const struct pne_bluetooth_options *options,
		      void (*line)(void *arg, const char *text), void *arg,
		      struct pne_bluetooth **out, char *why, size_t why_size);

/* A bearer over b, as pne_device_bearer_fn. Once. */
int pne_bluetooth_bearer(void *b, uv_loop_t *loop, const struct bearer_callbacks *callbacks,
			 void *arg, struct bearer **out);

/* After the bearer was told to stop. Everything is closed, and b freed, from the loop. */
void pne_bluetooth_stop(struct pne_bluetooth *b);

#endif
