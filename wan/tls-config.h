#ifndef PNGW_WAN_TLS_CONFIG_H
#define PNGW_WAN_TLS_CONFIG_H

/*
 * A TLS context as a daemon's settings have it: what is wrong is told by the setting. names has
 * that of each enum tls_part, TLS_PART_NONE's for what is of none; options->part is not used.
 */

#include "protocol/config-check.h"
#include "wan/tls.h"

/* tls_context_new(); why begins with "SETTING: ". */
int tls_config_new(const struct tls_options *options, const char *const names[],
		   struct tls_context **out, char *why, size_t why_size);

/*
 * Whether that context could be made, for --check-config. Of files that are the service's alone
 * that is noted, and the others are looked at. 0, or a negative errno and c->why.
 */
int tls_config_check(const struct config_check *c, const struct tls_options *options,
		     const char *const names[]);

#endif
