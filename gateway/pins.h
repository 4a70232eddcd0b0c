#ifndef PNGW_GATEWAY_PINS_H
#define PNGW_GATEWAY_PINS_H

/*
 * The PINs of the roles, in a file of mode 0600: one line for each role that has one, its name and
 * what scrypt (N = 2^15, r = 8, p = 1) makes of the PIN with a salt of its own, in hex. Slow: for a
 * thread of the pool. One writer at a time is the caller's concern only in that the last one wins.
 */

#include "gateway/config.h"
#include "protocol/secret.h"

enum api_role { ROLE_OF_NOBODY, ROLE_VIEWER, ROLE_TECHNICIAN, ROLE_ADMINISTRATOR };
#define PIN_ROLES 4

/* "" for nobody. */
const char *gateway_role_name(enum api_role role);
/* ROLE_OF_NOBODY for what is none. */
enum api_role gateway_role_of(const char *name);

/* The setting, or the file `pins` beside the vault. 0 or -ENAMETOOLONG. */
int gateway_pins_path(const struct config *config, char *out, size_t out_size);

/* Positive outcomes. */
enum {
	PINS_WRONG = 1,    /* it is nobody's */
	PINS_NONE = 2,     /* no role has one */
	PINS_TAKEN = 3,    /* another role's */
	PINS_UNUSABLE = 4, /* too short, too long, no text */
};

/*
 * Whose it is, and whether no higher role has one. It takes the same time for each role. -EBADMSG:
 * the file is damaged.
 */
int gateway_pins_check(const char *path, struct secret *pin, enum api_role *out, bool *highest);
/* Gives the role a PIN, durably; NULL: takes it away. */
int gateway_pins_set(const char *path, enum api_role role, struct secret *pin);

#endif
