#ifndef PNGW_TESTS_BLUEZ_FAKE_H
#define PNGW_TESTS_BLUEZ_FAKE_H

/*
 * A private dbus-daemon and tests/fake-bluez.py on it, for Check tests. Trouble with either fails
 * the test. Both end with the test's process.
 */

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct fake_bluez;

/* false (and says why) where dbus-daemon or python3-dbus is not installed. */
bool fake_bluez_possible(void);

/* With bus and bluetoothd running, without an adapter; not even the bus for the second. */
struct fake_bluez *fake_bluez_new(void);
struct fake_bluez *fake_bluez_new_stopped(void);
void fake_bluez_free(struct fake_bluez *f);

const char *fake_bluez_bus(const struct fake_bluez *f);    /* address */
const char *fake_bluez_folder(const struct fake_bluez *f); /* empty, removed at the end */
void fake_bluez_bus_stop(struct fake_bluez *f);            /* kills the bus */
void fake_bluez_bus_start(struct fake_bluez *f); /* "daemon start" is for the test to say */

/* A command of fake-bluez.py. The answer's text after "ok ", valid until the next. */
const char *fake_bluez_tell(struct fake_bluez *f, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The same for a command that gives a descriptor: now the caller's. */
int fake_bluez_tell_fd(struct fake_bluez *f, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Runs the loop until holds(arg), up to ms. Whether it holds. */
bool fake_bluez_run(uv_loop_t *loop, unsigned ms, bool (*holds)(void *arg), void *arg);

#endif
