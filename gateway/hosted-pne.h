#ifndef PNGW_GATEWAY_HOSTED_PNE_H
#define PNGW_GATEWAY_HOSTED_PNE_H

/*
 * The PNE mode of a device that is PNE and PN GW in one: a PNE in the daemon's process, with a
 * vault of its own, which connects to the PN GW's best listener as any other PNE does.
 */

#include <uv.h>

#include "gateway/config.h"

struct gateway_hosted_pne;

/* 0 and *out, which is NULL where the configuration has none; a negative errno and why. */
int gateway_hosted_pne_new(uv_loop_t *loop, const struct config *config,
			   struct gateway_hosted_pne **out, char *why, size_t why_size);

/* It frees itself from the loop. NULL is allowed. */
void gateway_hosted_pne_stop(struct gateway_hosted_pne *h);

#endif
