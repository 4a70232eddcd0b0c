/* The control bus: whether it answers, and who is org.pngw on it. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/api.h"
#include "gateway/doctor-internal.h"
#include "pan/bus.h"

#define DBUS      "org.freedesktop.DBus"
#define DBUS_PATH "/org/freedesktop/DBus"
#define NAME      "org.pngw"
#define ANSWER_US 5000000U

struct doctor_control {
	struct bus *bus;
	doctor_control_done *done; /* NULL: told, or nobody waits for it */
	void *arg;
};

static void tell(struct doctor_control *c, int error, const char *owner)
{
	doctor_control_done *done = c->done;
	void *arg = c->arg;

	c->done = NULL;
	bus_stop(c->bus);
	if (done)
		done(arg, error, owner);
}

static int on_owner(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *owner = "";

	(void)error;
	if (!sd_bus_message_is_method_error(m, NULL))
		(void)sd_bus_message_read(m, "s", &owner);
	else if (!sd_bus_message_is_method_error(m, DBUS ".Error.NameHasNoOwner")) {
		tell(userdata, -sd_bus_message_get_errno(m), "");
		return 0;
	}
	tell(userdata, 0, owner);
	return 0;
}

static void on_up(void *arg, sd_bus *connection)
{
	struct doctor_control *c = arg;
	int r = sd_bus_set_method_call_timeout(connection, ANSWER_US);

	if (r >= 0)
		r = sd_bus_call_method_async(connection, NULL, DBUS, DBUS_PATH, DBUS,
					     "GetNameOwner", on_owner, c, "s", NAME);
	if (r < 0)
		tell(c, r, "");
}

static void on_failed(void *arg, int error)
{
	tell(arg, error, "");
}

static void on_down(void *arg)
{
	struct doctor_control *c = arg;

	if (c->done)
		tell(c, -ECONNRESET, "");
}

static void on_stopped(void *arg)
{
	free(arg);
}

int doctor_control_start(uv_loop_t *loop, const struct config *config, doctor_control_done *done,
			 void *arg, struct doctor_control **out)
{
	static const struct bus_callbacks callbacks = {
		.up = on_up, .failed = on_failed, .down = on_down, .stopped = on_stopped};
	struct doctor_control *c = calloc(1, sizeof(*c));
	char room[CONFIG_TEXT_MAX + 32];
	int r;

	if (!c)
		return -ENOMEM;
	c->done = done;
	c->arg = arg;
	r = bus_new(loop, gateway_api_address(config, room, sizeof(room)), &callbacks, c, &c->bus);
	if (r != 0) {
		free(c);
		return r;
	}
	bus_start(c->bus);
	*out = c;
	return 0;
}

void doctor_control_abandon(struct doctor_control *c)
{
	c->done = NULL;
	bus_stop(c->bus);
}

void doctor_judge_control(struct doctor_findings *f, const struct doctor_subject *s, int error,
			  const char *owner)
{
	const char *bus = s->config->control_bus;

	if (error != 0)
		doctor_find(f, DOCTOR_CONTROL_BUS, DOCTOR_FAILED, "%s cannot be reached: %s", bus,
			    strerror(-error));
	else if (!s->core)
		doctor_find(f, DOCTOR_CONTROL_BUS, DOCTOR_OK, "%s answers, and %s is %s on it", bus,
			    owner[0] ? owner : "nobody", NAME);
	else if (!s->bus_name)
		doctor_find(f, DOCTOR_CONTROL_BUS, DOCTOR_WARNING,
			    "%s answers, but pngwd is not connected to it yet", bus);
	else if (strcmp(owner, s->bus_name) != 0)
		doctor_find(f, DOCTOR_CONTROL_BUS, DOCTOR_FAILED,
			    owner[0] ? "%s answers, but another process is %s on it"
				     : "%s answers, but does not let pngwd be %s",
			    bus, NAME);
	else
		doctor_find(f, DOCTOR_CONTROL_BUS, DOCTOR_OK, "%s answers, and pngwd is %s on it",
			    bus, NAME);
}
