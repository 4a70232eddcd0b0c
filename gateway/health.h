#ifndef PNGW_GATEWAY_HEALTH_H
#define PNGW_GATEWAY_HEALTH_H

/*
 * What of the PN GW's vault is damaged, in sentences for a person: whose record it is and what
 * mends it. It opens every record once, so it runs where the vault is opened, off the loop.
 */

#include "protocol/message.h"
#include "storage/vault.h"

#define HEALTH_LINES_MAX 24
#define HEALTH_LINE_SIZE 256

struct gateway_health {
	char lines[HEALTH_LINES_MAX][HEALTH_LINE_SIZE];
	size_t count; /* 0: all is well */
};

/*
 * One line for each kind of record and device, the last one for what found no room. 0 or a negative
 * errno: then it could not be examined.
 */
int gateway_health_examine(struct vault *v, const struct name *self, struct gateway_health *out);

#endif
