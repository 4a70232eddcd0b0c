#ifndef PNGW_TESTS_BLUEZ_SEEN_H
#define PNGW_TESTS_BLUEZ_SEEN_H

/* What the tests of bluez.h share: a loop, the fake, and somebody who watches. */

#include "pan/bluez.h"
#include "tests/bluez-fake.h"

#define SOON      20000 /* ms, until what must come */
#define A0        "00:AA:01:00:00:10"
#define A1        "00:AA:01:01:00:11"
#define NEAR      "C0:FF:EE:00:00:01"
#define NEAR_PATH "/org/bluez/hci0/dev_C0_FF_EE_00_00_01"

extern struct fake_bluez *fake;
extern uv_loop_t loop;

/* Fixtures of Check. The first: not even the bus runs. */
void setup_stopped(void);
void setup(void);
void teardown(void);

bool never(void *arg); /* for fake_bluez_run(): just runs */

struct seen {
	struct bluez_watcher watcher; /* first */
	struct bluez *bluez;
	enum bluez_state wanted;
	/* A letter each: - no bus, b no daemon, d no adapter, x blocked, o off, R ready. */
	char states[128];
	int added, changed, gone, stopped;
	struct bluez_device last;
	bool unwatch_at_once;
};
void on_state(struct bluez_watcher *w, enum bluez_state state); /* of a struct seen */
struct bluez_options options_of(void);
void begin(struct seen *s, const struct bluez_options *options);
void await(struct seen *s, enum bluez_state state);
void await_change(struct seen *s); /* of a device, since the last time */
bool has_changed(void *seen);
bool has_added_twice(void *seen);
void finish(struct seen *s);

struct outcome {
	int times, error;
	char name[64];
	bool had_reply;
};
/* A bluez_done for struct outcome. */
void on_done(void *arg, int error, const char *name, const char *text, sd_bus_message *reply);
bool is_done(void *outcome);
void await_done(struct outcome *o, int error);

#endif
