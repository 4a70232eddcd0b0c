#ifndef PNGW_PAN_BRIDGE_H
#define PNGW_PAN_BRIDGE_H

/*
 * A network bridge of our own in the kernel, made and removed by rtnetlink. It is known as ours by
 * its alias, BRIDGE_ALIAS; an interface without that is never touched. Each call is answered by
 * the kernel at once, and needs CAP_NET_ADMIN.
 */

#include <stdbool.h>
#include <stddef.h>

#define BRIDGE_ALIAS     "pngw"
#define BRIDGE_NAME_SIZE 16 /* with the NUL */

struct bridge;

/* 1 to 15 of A-Z a-z 0-9 . _ -, not "." or "..". */
bool bridge_name_valid(const char *name);
/* "192.168.44.1/24": an IPv4 address of a host and the size of its prefix, 8 to 30. */
bool bridge_address_valid(const char *text);

/*
 * Makes the bridge, gives it its address and switches it on. One that is left over, from a process
 * that was killed, is removed before. 0 and *out, or nothing is left behind: -EINVAL for a name or
 * address that is not valid, -EEXIST: there is an interface of that name that is not ours,
 * -EADDRINUSE: another process has this bridge now, -EPERM, -EOPNOTSUPP: the kernel has no bridges,
 * or another negative errno.
 */
int bridge_make(const char *name, const char *address, struct bridge **out);

/* Removes it, unless somebody else has done that or made another one of the name. b is freed; NULL
 * is allowed. */
void bridge_remove(struct bridge *b);

#endif
