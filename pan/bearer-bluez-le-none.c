/* Instead of bearer-bluez-le.c, with --disable-le: nobody asks for it. */

#include <errno.h>

#include "pan/bearer-bluez-internal.h"

void bluez_le_init(struct bluez_bearer *b)
{
	b->le = false;
}

void bluez_le_begin(struct bluez_bearer *b)
{
	(void)b;
}

void bluez_le_end(struct bluez_bearer *b)
{
	(void)b;
}

void bluez_le_lost(struct bluez_bearer *b)
{
	(void)b;
}

void bluez_le_stop(struct bluez_bearer *b)
{
	(void)b;
}

int bluez_le_connect(struct bluez_bearer *b, const struct bluez_device *d)
{
	(void)b;
	(void)d;
	return -ENOTSUP;
}
