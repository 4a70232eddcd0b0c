#include "tests/bluez-seen.h"

#include <stdio.h>
#include <string.h>

#include <check.h>

struct fake_bluez *fake;
uv_loop_t loop;

void setup_stopped(void)
{
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	fake = fake_bluez_new_stopped();
}

void setup(void)
{
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	fake = fake_bluez_new();
}

void teardown(void)
{
	ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	fake_bluez_free(fake);
}

bool never(void *arg)
{
	(void)arg;
	return false;
}

void on_state(struct bluez_watcher *w, enum bluez_state state)
{
	struct seen *s = (struct seen *)w;
	size_t n = strlen(s->states);

	ck_assert_int_eq(state, bluez_state(s->bluez));
	if (state != BLUEZ_STARTING)
		ck_assert_int_eq(bluez_bus(s->bluez) != NULL, state != BLUEZ_NO_BUS);
	ck_assert_int_eq(bluez_adapter(s->bluez) != NULL, state >= BLUEZ_BLOCKED);
	ck_assert_uint_lt(n, sizeof(s->states) - 1);
	switch (state) {
	case BLUEZ_STARTING:
		s->states[n] = 's';
		break;
	case BLUEZ_NO_BUS:
		s->states[n] = '-';
		break;
	case BLUEZ_NO_DAEMON:
		s->states[n] = 'b';
		break;
	case BLUEZ_NO_ADAPTER:
		s->states[n] = 'd';
		break;
	case BLUEZ_BLOCKED:
		s->states[n] = 'x';
		break;
	case BLUEZ_OFF:
		s->states[n] = 'o';
		break;
	case BLUEZ_READY:
		s->states[n] = 'R';
		break;
	}
	s->states[n + 1] = '\0';
	if (state < BLUEZ_BLOCKED)
		ck_assert_int_eq(s->added, s->gone);
	if (s->unwatch_at_once && n > 0)
		bluez_unwatch(s->bluez, w);
}

static void on_device(struct bluez_watcher *w, const struct bluez_device *d,
		      enum bluez_change change)
{
	struct seen *s = (struct seen *)w;

	switch (change) {
	case BLUEZ_DEVICE_ADDED:
		s->added++;
		break;
	case BLUEZ_DEVICE_CHANGED:
		s->changed++;
		break;
	case BLUEZ_DEVICE_GONE:
		s->gone++;
		break;
	}
	s->last = *d;
}

struct bluez_options options_of(void)
{
	return (struct bluez_options){.bus = fake_bluez_bus(fake),
				      .adapter = "",
				      .alias = "",
				      .power_on = true,
				      .rfkill = fake_bluez_folder(fake)};
}

void begin(struct seen *s, const struct bluez_options *options)
{
	*s = (struct seen){.watcher = {.state = on_state, .device = on_device}};
	ck_assert_int_eq(bluez_new(&loop, options, &s->bluez), 0);
	bluez_watch(s->bluez, &s->watcher);
	ck_assert_str_eq(s->states, "s");
	bluez_start(s->bluez);
}

static bool state_is_wanted(void *arg)
{
	const struct seen *s = arg;

	return bluez_state(s->bluez) == s->wanted;
}

void await(struct seen *s, enum bluez_state state)
{
	s->wanted = state;
	ck_assert_msg(fake_bluez_run(&loop, SOON, state_is_wanted, s), "still '%s' after %s",
		      bluez_state_text(bluez_state(s->bluez)), s->states);
}

static void on_stopped(void *arg)
{
	((struct seen *)arg)->stopped++;
}

static bool has_stopped(void *arg)
{
	return ((struct seen *)arg)->stopped > 0;
}

void finish(struct seen *s)
{
	bluez_stop(s->bluez, on_stopped, s);
	ck_assert_int_eq(s->stopped, 0);
	ck_assert(fake_bluez_run(&loop, SOON, has_stopped, s));
	ck_assert_int_eq(s->added, s->gone);
}

bool has_changed(void *arg)
{
	struct seen *s = arg;
	bool changed = s->changed > 0;

	if (changed)
		s->changed = 0;
	return changed;
}

void await_change(struct seen *s)
{
	ck_assert(fake_bluez_run(&loop, SOON, has_changed, s));
}

bool has_added_twice(void *arg)
{
	return ((struct seen *)arg)->added == 2;
}

void on_done(void *arg, int error, const char *name, const char *text, sd_bus_message *reply)
{
	struct outcome *o = arg;

	ck_assert_ptr_nonnull(text);
	o->times++;
	o->error = error;
	o->had_reply = reply != NULL;
	snprintf(o->name, sizeof(o->name), "%s", name);
}

bool is_done(void *arg)
{
	return ((struct outcome *)arg)->times > 0;
}

void await_done(struct outcome *o, int error)
{
	ck_assert(fake_bluez_run(&loop, SOON, is_done, o));
	ck_assert_int_eq(o->error, error);
	*o = (struct outcome){0};
}
