#ifndef PNGW_GATEWAY_HEALTH_H
#define PNGW_GATEWAY_HEALTH_H

/*
 * What of the PN GW's vault is damaged, in sentences for a person: whose record it is and what
 * mends it. Every record is opened once, a piece at a time, while the PN GW serves.
 */

#include "protocol/message.h"
#include "storage/vault.h"

#define HEALTH_LINES_MAX 24
#define HEALTH_LINE_SIZE 256

struct gateway_health {
	char lines[HEALTH_LINES_MAX][HEALTH_LINE_SIZE];
	size_t count; /* 0: all is well */
};

struct gateway_health_scan;

/* v is borrowed until gateway_health_free(). 0 or -ENOMEM. */
int gateway_health_new(struct vault *v, const struct name *self, struct gateway_health_scan **out);

/*
 * Looks at no more than `most` records, which is not 0. 1: there are more. 0: *out has one line for
 * each kind of record and device, the last one for what found no room. A negative errno: the vault
 * could not be examined. After the last two the scan is only to be freed. The piece in which every
 * record was seen takes longer: vault_scan_some().
 */
int gateway_health_some(struct gateway_health_scan *x, size_t most, struct gateway_health *out);

void gateway_health_free(struct gateway_health_scan *x); /* NULL allowed */

#endif
