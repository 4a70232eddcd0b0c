#include "console/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "console/command.h"
#include "console/signals.h"

#define CALL_SECONDS 60

static const struct {
	const char *path, *interface;
} objects[] = {
	[CLIENT_GATEWAY] = {"/org/pngw", "org.pngw.Gateway1"},
	[CLIENT_BLUETOOTH] = {"/org/pngw/bluetooth", "org.pngw.Bluetooth1"},
	[CLIENT_VAULT] = {"/org/pngw/vault", "org.pngw.Vault1"},
	[CLIENT_DIAGNOSIS] = {"/org/pngw/diagnosis", "org.pngw.Diagnosis1"},
	[CLIENT_AGENTS] = {"/org/pngw", "org.pngw.AgentManager1"},
	[CLIENT_SESSION] = {"/org/pngw", "org.pngw.Session1"},
};

struct client {
	sd_bus *bus;
	struct client_events events;
	char owner[64]; /* the unique name of pngwd, "" while it is not there */
};

static void set_owner(struct client *c, const char *name)
{
	(void)snprintf(c->owner, sizeof(c->owner), "%s", name ? name : "");
}

static void find_owner(struct client *c)
{
	sd_bus_creds *creds = NULL;
	const char *name = NULL;

	if (sd_bus_get_name_creds(c->bus, CLIENT_SERVICE, SD_BUS_CREDS_UNIQUE_NAME, &creds) >= 0)
		(void)sd_bus_creds_get_unique_name(creds, &name);
	set_owner(c, name);
	(void)sd_bus_creds_unref(creds);
}

bool client_is_service(const struct client *c, sd_bus_message *m)
{
	const char *sender = sd_bus_message_get_sender(m);

	return c->owner[0] && sender && strcmp(sender, c->owner) == 0;
}

static int on_signal(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct client *c = arg;
	const char *interface = sd_bus_message_get_interface(m);

	(void)error;
	if (c->events.signal && interface && client_is_service(c, m))
		c->events.signal(c->events.arg, sd_bus_message_get_path(m), interface,
				 sd_bus_message_get_member(m), m);
	return 0;
}

static int on_owner(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	const char *name, *before, *after;
	struct client *c = arg;

	(void)error;
	if (sd_bus_message_read(m, "sss", &name, &before, &after) < 0)
		return 0;
	set_owner(c, after);
	if (c->events.service)
		c->events.service(c->events.arg, after[0] != '\0');
	return 0;
}

static int open_bus(const char *bus, sd_bus **out)
{
	int r;

	if (strcmp(bus, "system") == 0)
		return sd_bus_open_system(out);
	if (strcmp(bus, "session") == 0)
		return sd_bus_open_user(out);
	r = sd_bus_new(out);
	if (r < 0)
		return r;
	r = sd_bus_set_address(*out, bus);
	if (r >= 0)
		r = sd_bus_set_bus_client(*out, 1);
	if (r >= 0)
		r = sd_bus_negotiate_fds(*out, 1);
	if (r >= 0)
		r = sd_bus_start(*out);
	return r;
}

/* A technician's next step: he did not ask for a bus. */
static void not_reached(const char *bus, int error, char *why, size_t why_size)
{
	if (strcmp(bus, "system") == 0)
		(void)snprintf(why, why_size,
			       "the system's bus cannot be reached, so nothing can be asked of "
			       "pngwd: %s. Next: systemctl status dbus pngwd. Retry: later.",
			       strerror(-error));
	else
		(void)snprintf(why, why_size,
			       "the bus (%s) cannot be reached: %s. Next: name the one that pngwd "
			       "is on with --bus, or unset PNGW_BUS. Retry: later.",
			       bus, strerror(-error));
}

int client_open(const char *bus, struct client **out, char *why, size_t why_size)
{
	struct client *c = calloc(1, sizeof(*c));
	int r = -ENOMEM;

	if (c)
		r = open_bus(bus, &c->bus);
	if (r >= 0)
		r = sd_bus_add_match(c->bus, NULL,
				     "type='signal',sender='" CLIENT_SERVICE
				     "',path_namespace='/org/pngw'",
				     on_signal, c);
	if (r >= 0)
		r = sd_bus_add_match(c->bus, NULL,
				     "type='signal',sender='org.freedesktop.DBus',"
				     "interface='org.freedesktop.DBus',member='NameOwnerChanged',"
				     "arg0='" CLIENT_SERVICE "'",
				     on_owner, c);
	if (r >= 0)
		find_owner(c);
	if (r < 0) {
		not_reached(bus, r, why, why_size);
		client_close(c);
		return r;
	}
	*out = c;
	return 0;
}

void client_close(struct client *c)
{
	if (!c)
		return;
	(void)sd_bus_flush_close_unref(c->bus);
	free(c);
}

void client_listen(struct client *c, const struct client_events *events)
{
	c->events = *events;
}

const struct client_events *client_events_of(const struct client *c)
{
	return &c->events;
}

sd_bus *client_bus(struct client *c)
{
	return c->bus;
}

const char *client_service(const struct client *c)
{
	return c->owner;
}

/* Milliseconds until the bus wants to be served, at most timeout. */
static int bus_timeout(sd_bus *bus, int timeout)
{
	uint64_t until, now;
	struct timespec t;

	if (sd_bus_get_timeout(bus, &until) < 0 || until == UINT64_MAX)
		return timeout;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	now = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
	if (until <= now)
		return 0;
	until = (until - now + 999) / 1000;
	return timeout >= 0 && (uint64_t)timeout < until ? timeout : (int)until;
}

int client_turn(struct client *c, int fd, int timeout)
{
	struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = -1}};
	int r = sd_bus_process(c->bus, NULL), events, wait, bits = 0;

	if (r != 0)
		return r < 0 ? r : 0;
	events = sd_bus_get_events(c->bus);
	if (events < 0)
		return events;
	fds[1].fd = sd_bus_get_fd(c->bus);
	fds[1].events = (short)events;
	wait = bus_timeout(c->bus, timeout);
	r = signals_wait(fds, 2, wait);
	if (r < 0)
		return errno == EINTR ? CLIENT_SIGNAL : -errno;
	if (fds[0].revents)
		bits |= CLIENT_INPUT;
	if (r == 0 && wait == timeout)
		bits |= CLIENT_TIMEOUT;
	return bits;
}

sd_bus_message *client_call_new(struct client *c, enum client_object object, const char *method)
{
	sd_bus_message *m = NULL;

	if (sd_bus_message_new_method_call(c->bus, &m, CLIENT_SERVICE, objects[object].path,
					   objects[object].interface, method) < 0)
		return NULL;
	return m;
}

/* What the names of errors mean to a script. */
static int code_of_error(const char *name)
{
	static const struct {
		const char *name;
		int code;
	} codes[] = {
		{"org.pngw.Error.NotReady", EXIT_RETRY},
		{"org.pngw.Error.NotAuthorized", EXIT_REFUSED},
		{"org.pngw.Error.InvalidArguments", EXIT_WRONG_USAGE},
		{"org.pngw.Error.NotFound", EXIT_REFUSED},
		{"org.pngw.Error.Refused", EXIT_REFUSED},
		{"org.pngw.Error.NoAgent", EXIT_REFUSED},
		{"org.pngw.Error.Busy", EXIT_RETRY},
		{"org.pngw.Error.NotConfigured", EXIT_REFUSED},
		{"org.pngw.Error.LockedOut", EXIT_RETRY},
		{"org.freedesktop.DBus.Error.AccessDenied", EXIT_REFUSED},
		{"org.freedesktop.DBus.Error.UnknownMethod", EXIT_REFUSED},
		{"org.freedesktop.DBus.Error.UnknownObject", EXIT_REFUSED},
		{"org.freedesktop.DBus.Error.UnknownInterface", EXIT_REFUSED},
	};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (strcmp(codes[i].name, name) == 0)
			return codes[i].code;
	}
	return EXIT_RETRY;
}

static void describe(const sd_bus_error *error, struct client_failure *failure)
{
	const char *message = error->message ? error->message : "";

	failure->code = code_of_error(error->name);
	(void)snprintf(failure->name, sizeof(failure->name), "%s", error->name);
	if (strcmp(error->name, SD_BUS_ERROR_SERVICE_UNKNOWN) == 0 ||
	    strcmp(error->name, SD_BUS_ERROR_NAME_HAS_NO_OWNER) == 0)
		message = "the PN GW is not on this bus: pngwd does not run, or is on another one. "
			  "Next: systemctl status pngwd; name its bus with --bus. Retry: later.";
	else if (strcmp(error->name, SD_BUS_ERROR_NO_REPLY) == 0)
		message = "the PN GW went away or does not answer. Next: systemctl status pngwd, "
			  "then try again. Retry: later.";
	else if (strcmp(error->name, SD_BUS_ERROR_UNKNOWN_METHOD) == 0 ||
		 strcmp(error->name, SD_BUS_ERROR_UNKNOWN_OBJECT) == 0 ||
		 strcmp(error->name, SD_BUS_ERROR_UNKNOWN_INTERFACE) == 0)
		message = "this PN GW cannot do that: it is older than this pngwctl";
	(void)snprintf(failure->message, sizeof(failure->message), "%s",
		       message[0] ? message : error->name);
}

struct waiting {
	sd_bus_message *reply;
};

static int on_reply(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct waiting *w = arg;

	(void)error;
	w->reply = sd_bus_message_ref(m);
	return 0;
}

static int lost(struct client_failure *failure, int error)
{
	failure->code = EXIT_RETRY;
	failure->name[0] = '\0';
	(void)snprintf(failure->message, sizeof(failure->message),
		       "the connection to the bus is lost: %s", strerror(-error));
	return -1;
}

int client_call(struct client *c, sd_bus_message *call, sd_bus_message **reply,
		struct client_failure *failure)
{
	struct waiting w = {.reply = NULL};
	sd_bus_slot *slot = NULL;
	int r = call ? sd_bus_call_async(c->bus, &slot, call, on_reply, &w,
					 (uint64_t)CALL_SECONDS * 1000000)
		     : -ENOMEM;

	(void)sd_bus_message_unref(call);
	while (r >= 0 && !w.reply) {
		r = client_turn(c, -1, -1);
		if (r == CLIENT_SIGNAL && (signals_interrupted() || signals_ending())) {
			(void)sd_bus_slot_unref(slot);
			failure->code = EXIT_RETRY;
			failure->name[0] = '\0';
			(void)snprintf(failure->message, sizeof(failure->message),
				       "interrupted before the PN GW answered");
			return -1;
		}
		(void)signals_resized();
	}
	(void)sd_bus_slot_unref(slot);
	if (!w.reply)
		return lost(failure, r);
	if (sd_bus_message_is_method_error(w.reply, NULL)) {
		describe(sd_bus_message_get_error(w.reply), failure);
		(void)sd_bus_message_unref(w.reply);
		return -1;
	}
	if (reply)
		*reply = w.reply;
	else
		(void)sd_bus_message_unref(w.reply);
	return 0;
}

void client_send(struct client *c, sd_bus_message *call)
{
	if (!call)
		return;
	(void)sd_bus_message_set_expect_reply(call, 0);
	(void)sd_bus_send(c->bus, call, NULL);
	(void)sd_bus_flush(c->bus);
	(void)sd_bus_message_unref(call);
}

int client_result_code(const char *result)
{
	if (strcmp(result, "done") == 0)
		return EXIT_DONE;
	return strcmp(result, "refused") == 0 ? EXIT_REFUSED : EXIT_RETRY;
}
