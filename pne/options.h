#ifndef PNGW_PNE_OPTIONS_H
#define PNGW_PNE_OPTIONS_H

/* The command line of cpns-pne. */

#include "pne/bluetooth.h"

#define PNE_COUNT_MAX 4096U

struct pne_options {
	const char *entity, *connect, *state, *temporary_key_file, *fingerprint;
	struct name user;
	unsigned long count; /* 0: not given */
	bool ui, once, reset, help;
	enum pan_security security, secure_from;
	uint32_t floor; /* 0: not given */
	uint64_t deadline_ms;
	bool bluez;          /* and not a local bearer */
	const char *gateway; /* its Bluetooth address; NULL: it comes by itself */
	struct pne_bluetooth_options bluetooth;
};

/*
 * false: something is wrong with it, and was said on standard error with the usage. help: the usage
 * was printed because it was asked for, and nothing else counts.
 */
bool pne_options_take(struct pne_options *o, int argc, char **argv);

#endif
