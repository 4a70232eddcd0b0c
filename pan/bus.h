#ifndef PNGW_PAN_BUS_H
#define PNGW_PAN_BUS_H

/*
 * A D-Bus connection (sd-bus) driven by a libuv loop. It never blocks; when the bus is not there or
 * goes away it tries again, after pauses that grow from 0.25 s to 10 s. Used from the loop's thread
 * only; every callback comes from the loop, none from a call of these functions.
 */

#include <uv.h>

#include "protocol/sd-bus.h"

struct bus;

struct bus_callbacks {
	/*
	 * The bus has answered Hello: matches, objects and calls are to be made, anew after each
	 * up(). The connection is borrowed until down() has returned. Messages are received and
	 * replies handled from the loop; what is sent needs no flush.
	 */
	void (*up)(void *arg, sd_bus *connection);
	/*
	 * NULL, or: an attempt to connect has failed, with a negative errno. The next one follows
	 * after a pause.
	 */
	void (*failed)(void *arg, int error);
	/*
	 * The connection is gone. Calls that were outstanding have got an error reply if it was the
	 * bus that went away, and get none after bus_stop(). Slots that the owner keeps are to be
	 * unref'd here; floating ones are freed right after.
	 */
	void (*down)(void *arg);
	/* The bus has been freed. The last callback. */
	void (*stopped)(void *arg);
};

/*
 * address: a D-Bus address, or NULL: the system bus (DBUS_SYSTEM_BUS_ADDRESS or the standard
 * socket). Copied. 0 and *out, or a negative errno.
 */
int bus_new(uv_loop_t *loop, const char *address, const struct bus_callbacks *callbacks, void *arg,
	    struct bus **out);

/* Begins to connect. Once. */
void bus_start(struct bus *b);

/*
 * For an owner that cannot use the connection (out of memory in up()): it is given up and made
 * again after a pause. down() and up() follow from the loop.
 */
void bus_again(struct bus *b);

/*
 * Closes the connection: down(), if it was up, and stopped() follow from the loop. What was sent
 * before is on its way unless the bus did not take it. May be called from any callback, and again.
 */
void bus_stop(struct bus *b);

#endif
