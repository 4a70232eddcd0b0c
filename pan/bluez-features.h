#ifndef PNGW_PAN_BLUEZ_FEATURES_H
#define PNGW_PAN_BLUEZ_FEATURES_H

/* Which of BlueZ's interfaces the bluetoothd that runs offers, and which of its adapters. */

#include "pan/bluez.h"

struct bluez_features {
	bool profiles, agents;  /* of bluetoothd: ProfileManager1, AgentManager1 */
	bool network;           /* of the chosen adapter: NetworkServer1 */
	bool advertising, gatt; /* of the chosen adapter: LEAdvertisingManager1, GattManager1 */
	unsigned adapters, powered;
	unsigned
		version; /* of bluetoothd, 0x0542 is 5.66; 0: main.conf has it say something else */
};

/* features: NULL when there was no answer. */
typedef void bluez_features_done(void *arg, const struct bluez_features *features);
struct bluez_features_question {
	struct bluez *bluez; /* set by bluez_ask_features() */
	bluez_features_done *done;
	void *arg;
};
/*
 * q, the caller's, stays until done or bluez_forget(b, q); done comes once from the loop. 0, or a
 * negative errno and done is not called.
 */
int bluez_ask_features(struct bluez *b, unsigned seconds, struct bluez_features_question *q);

#endif
