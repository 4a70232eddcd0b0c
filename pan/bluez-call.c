#include "pan/bluez-internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/bytes.h"

struct bluez_call {
	struct bluez_calls *owner;
	struct bluez_call *next;
	sd_bus_slot *slot;
	bluez_done done;
	void *arg;
};

struct meaning {
	const char *text;
	int error;
};

/* After "org.bluez.Error.". */
static const struct meaning names[] = {
	{"AuthenticationFailed", -EKEYREJECTED},
	{"AuthenticationRejected", -EACCES},
	{"AuthenticationCanceled", -ECANCELED},
	{"AuthenticationTimeout", -ETIMEDOUT},
	{"ConnectionAttemptFailed", -EHOSTDOWN},
	{"NotReady", -ENETDOWN},
	{"Blocked", -ERFKILL},
	{"InProgress", -EBUSY},
	{"Busy", -EBUSY},
	{"AlreadyConnected", -EISCONN},
	{"AlreadyExists", -EALREADY},
	{"NotConnected", -ENOTCONN},
	{"DoesNotExist", -ENOENT},
	{"NotAvailable", -EPROTONOSUPPORT},
	{"NotSupported", -ENOTSUP},
	{"NotAuthorized", -EPERM},
	{"NotPermitted", -EPERM},
	{"Rejected", -EACCES},
	{"Canceled", -ECANCELED},
	{"InvalidArguments", -EINVAL},
	{"InvalidLength", -EINVAL},
};

/* After "br-connection-" or "le-connection-", the text of org.bluez.Error.Failed (BlueZ's
 * src/error.h), which newer versions also put into the name. */
static const struct meaning connection_texts[] = {
	{"page-timeout", -EHOSTDOWN},
	{"timeout", -EHOSTDOWN},
	{"key-missing", -ENOKEY},
	{"already-connected", -EISCONN},
	{"profile-unavailable", -EPROTONOSUPPORT},
	{"sdp-search", -EPROTONOSUPPORT},
	{"not-supported", -ENOTSUP},
	{"adapter-not-powered", -ENETDOWN},
	{"busy", -EBUSY},
	{"concurrent-connection-limit", -EMFILE},
	{"refused", -EACCES},
	{"aborted-by-remote", -ECONNRESET},
	{"abort-by-remote", -ECONNRESET},
	{"aborted-by-local", -ECANCELED},
	{"abort-by-local", -ECANCELED},
	{"canceled", -ECANCELED},
	{"invalid-argument", -EINVAL},
	{"invalid-arguments", -EINVAL},
	{"memory-allocation", -ENOMEM},
};

/* Other texts of org.bluez.Error.Failed: the kernel's answers to bluetoothd, in its words. */
static const struct meaning failed_texts[] = {
	{"Not Powered", -ENETDOWN},
	{"Blocked through rfkill", -ERFKILL},
	{"Operation already in progress", -EBUSY},
	{"In Progress", -EBUSY},
	{"Host is down", -EHOSTDOWN},
	{"No route to host", -EHOSTDOWN},
	{"Connection timed out", -EHOSTDOWN},
	{"Connection refused", -EACCES},
	{"Too many links", -EMFILE},
	{"Permission denied", -EACCES},
	{"Connection reset by peer", -ECONNRESET},
	{"Protocol not available", -EPROTONOSUPPORT},
	{"Operation canceled", -ECANCELED},
};

/* After "org.freedesktop.DBus.Error.". */
static const struct meaning dbus_names[] = {
	{"ServiceUnknown", -ENOTCONN}, {"NameHasNoOwner", -ENOTCONN},
	{"Disconnected", -ENOTCONN},   {"Timeout", -ETIMEDOUT},
	{"TimedOut", -ETIMEDOUT},      {"UnknownObject", -ENOENT},
	{"UnknownMethod", -ENOENT},    {"UnknownInterface", -ENOTSUP},
	{"UnknownProperty", -ENOTSUP}, {"PropertyReadOnly", -ENOTSUP},
	{"InvalidArgs", -EINVAL},      {"InvalidSignature", -EINVAL},
	{"AccessDenied", -EPERM},      {"NoMemory", -ENOMEM},
	{"LimitsExceeded", -EBUSY},    {"NotSupported", -ENOTSUP},
};

static int look_up(const struct meaning *table, size_t size, const char *text)
{
	for (size_t i = 0; i < size; i++) {
		if (strcmp(table[i].text, text) == 0)
			return table[i].error;
	}
	return -EIO;
}

#define LOOK_UP(table, text) look_up(table, sizeof(table) / sizeof((table)[0]), text)

static const char *after(const char *text, const char *prefix)
{
	size_t size = strlen(prefix);

	return strncmp(text, prefix, size) == 0 ? text + size : NULL;
}

static int failed_error(const char *text)
{
	const char *rest = after(text, "br-connection-");

	if (!rest)
		rest = after(text, "le-connection-");
	return rest ? LOOK_UP(connection_texts, rest) : LOOK_UP(failed_texts, text);
}

int bluez_error(const char *name, const char *text)
{
	const char *rest = after(name, "org.bluez.Error.");

	if (rest) {
		int by_text = failed_error(text);

		/* Where both say something the text says more. */
		return by_text != -EIO ? by_text : LOOK_UP(names, rest);
	}
	rest = after(name, "org.freedesktop.DBus.Error.");
	if (!rest)
		return -EIO;
	/* sd-bus's own; else it is the bus that says that the other side has gone. */
	if (strcmp(rest, "NoReply") == 0)
		return strstr(text, "timed out") ? -ETIMEDOUT : -ENOTCONN;
	return LOOK_UP(dbus_names, rest);
}

static void call_free(struct bluez_call *c)
{
	struct bluez_call **at = &c->owner->first;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	sd_bus_slot_unref(c->slot);
	free(c);
}

static int on_reply(sd_bus_message *reply, void *arg, sd_bus_error *unused)
{
	struct bluez_call *c = arg;
	bluez_done done = c->done;
	void *done_arg = c->arg;
	const sd_bus_error *e = sd_bus_message_get_error(reply);

	(void)unused;
	call_free(c);
	if (!done)
		return 0;
	if (e) {
		const char *name = e->name ? e->name : "";
		const char *text = e->message ? e->message : "";

		done(done_arg, bluez_error(name, text), name, text, NULL);
	} else {
		done(done_arg, 0, "", "", reply);
	}
	return 0;
}

int bluez_calls_send(struct bluez_calls *s, sd_bus_message *m, unsigned seconds, bluez_done done,
		     void *arg)
{
	struct bluez_call *c;
	int rc;

	if (!s->connection || s->owner[0] == '\0') {
		sd_bus_message_unref(m);
		return -ENOTCONN;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		sd_bus_message_unref(m);
		return -ENOMEM;
	}
	c->owner = s;
	c->done = done;
	c->arg = arg;
	rc = sd_bus_message_set_auto_start(m, 0);
	if (rc >= 0)
		rc = sd_bus_call_async(s->connection, &c->slot, m, on_reply, c,
				       (uint64_t)seconds * 1000000u);
	sd_bus_message_unref(m);
	if (rc < 0) {
		free(c);
		return rc;
	}
	c->next = s->first;
	s->first = c;
	return 0;
}

void bluez_calls_forget(struct bluez_calls *s, const void *arg)
{
	for (struct bluez_call *c = s->first; c; c = c->next) {
		if (c->arg == arg)
			c->done = NULL;
	}
}

void bluez_calls_end(struct bluez_calls *s, int error)
{
	while (s->first) {
		struct bluez_call *c = s->first;
		bluez_done done = c->done;
		void *arg = c->arg;

		s->first = c->next;
		sd_bus_slot_unref(c->slot);
		free(c);
		if (done)
			done(arg, error, "org.freedesktop.DBus.Error.Disconnected", "", NULL);
	}
}

int bluez_message(struct bluez *b, const char *path, const char *interface, const char *member,
		  sd_bus_message **out)
{
	int rc;

	if (!b->calls.connection || b->calls.owner[0] == '\0')
		return -ENOTCONN;
	rc = sd_bus_message_new_method_call(b->calls.connection, out, BLUEZ_NAME, path, interface,
					    member);
	return rc < 0 ? rc : 0;
}

int bluez_send(struct bluez *b, sd_bus_message *m, unsigned seconds, bluez_done done, void *arg)
{
	return bluez_calls_send(&b->calls, m, seconds, done, arg);
}

int bluez_call(struct bluez *b, unsigned seconds, bluez_done done, void *arg, const char *path,
	       const char *interface, const char *member, const char *types, ...)
{
	sd_bus_message *m;
	va_list list;
	int rc = bluez_message(b, path, interface, member, &m);

	if (rc < 0)
		return rc;
	va_start(list, types);
	rc = sd_bus_message_appendv(m, types, list);
	va_end(list);
	if (rc < 0) {
		sd_bus_message_unref(m);
		return rc;
	}
	return bluez_send(b, m, seconds, done, arg);
}

void bluez_forget(struct bluez *b, const void *arg)
{
	bluez_calls_forget(&b->calls, arg);
}
