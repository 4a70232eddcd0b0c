#ifndef PNGW_PROTOCOL_SD_BUS_H
#define PNGW_PROTOCOL_SD_BUS_H

/* sd-bus, from where configure's --with-sd-bus says. HAVE_BASU is of the command line. */

#ifdef HAVE_BASU
#include <basu/sd-bus.h>
/* An sd-bus of before systemd 242 shows arguments without their names. */
#ifndef SD_BUS_METHOD_WITH_NAMES
#define SD_BUS_METHOD_WITH_NAMES(member, signature, in, result, out, handler, flags) \
	SD_BUS_METHOD(member, signature, result, handler, flags)
#define SD_BUS_SIGNAL_WITH_NAMES(member, signature, names, flags) \
	SD_BUS_SIGNAL(member, signature, flags)
#endif
#else
#include <systemd/sd-bus.h>
#endif

#endif
