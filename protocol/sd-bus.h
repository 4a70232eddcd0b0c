#ifndef PNGW_PROTOCOL_SD_BUS_H
#define PNGW_PROTOCOL_SD_BUS_H

/* sd-bus, from where configure's --with-sd-bus says. HAVE_BASU is of the command line. */

#ifdef HAVE_BASU
#include <basu/sd-bus.h>
#else
#include <systemd/sd-bus.h>
#endif

#endif
