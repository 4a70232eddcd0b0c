#include "pan/bluez-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RFKILL    "/sys/class/rfkill"
#define DBUS      "org.freedesktop.DBus"
#define DBUS_PATH "/org/freedesktop/DBus"

const char *bluez_state_text(enum bluez_state state)
{
	switch (state) {
	case BLUEZ_STARTING:
		return "bluetoothd has not answered yet";
	case BLUEZ_NO_BUS:
		return "there is no D-Bus system bus: start dbus";
	case BLUEZ_NO_DAEMON:
		return "bluetoothd does not run: start the service bluetooth";
	case BLUEZ_NO_ADAPTER:
		return "the Bluetooth adapter is not there: plug it in, or name another one in "
		       "pan.bluetooth.adapter";
	case BLUEZ_BLOCKED:
		return "the Bluetooth adapter is blocked: press its switch, or 'rfkill unblock "
		       "bluetooth'";
	case BLUEZ_OFF:
		return "the Bluetooth adapter is off: switch it on with 'bluetoothctl power on'";
	case BLUEZ_READY:
		return "Bluetooth is ready";
	}
	return "unknown";
}

/* Watchers. */

static void tell_state(struct bluez *b)
{
	for (struct bluez_watcher *w = b->watchers; w; w = b->next_watcher) {
		b->next_watcher = w->next;
		if (w->state)
			w->state(w, b->state);
	}
}

static void tell_device(struct bluez *b, const struct bluez_known_device *k,
			enum bluez_change change)
{
	for (struct bluez_watcher *w = b->watchers; w; w = b->next_watcher) {
		b->next_watcher = w->next;
		if (w->device)
			w->device(w, &k->d, change);
	}
}

/* Devices. */

static struct bluez_known_device **device_at(struct bluez *b, const char *path)
{
	struct bluez_known_device **at = &b->devices;

	while (*at && strcmp((*at)->d.path, path) != 0)
		at = &(*at)->next;
	return at;
}

static void device_remove(struct bluez *b, struct bluez_known_device **at)
{
	struct bluez_known_device *k = *at;

	*at = k->next;
	tell_device(b, k, BLUEZ_DEVICE_GONE);
	free(k);
}

void bluez_devices_drop(struct bluez *b)
{
	while (b->devices)
		device_remove(b, &b->devices);
}

static bool is_below(const char *path, const char *above)
{
	size_t size = strlen(above);

	return strncmp(path, above, size) == 0 && path[size] == '/';
}

/* m stands at the properties of the device at path, whole ones of a device that may be new. */
static int device_read(struct bluez *b, const char *path, sd_bus_message *m)
{
	struct bluez_known_device **at, *k;
	int rc;

	if (!b->chosen || !is_below(path, b->chosen->path) || strlen(path) >= BLUEZ_PATH_SIZE)
		return sd_bus_message_skip(m, "a{sv}");
	at = device_at(b, path);
	k = *at;
	if (k) {
		rc = bluez_device_read(k, m);
		k->seen = true;
		if (rc > 0)
			tell_device(b, k, BLUEZ_DEVICE_CHANGED);
		return rc;
	}
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	memcpy(k->d.path, path, strlen(path) + 1);
	k->d.le_only = true; /* until a class is read */
	rc = bluez_device_read(k, m);
	if (rc < 0 || k->d.address[0] == '\0') {
		free(k);
		return rc;
	}
	k->seen = true;
	*at = k;
	tell_device(b, k, BLUEZ_DEVICE_ADDED);
	return 1;
}

static enum bluez_state state_now(const struct bluez *b)
{
	if (!b->asked)
		return BLUEZ_STARTING;
	if (!b->calls.connection)
		return BLUEZ_NO_BUS;
	if (!b->loaded)
		return BLUEZ_NO_DAEMON;
	if (!b->chosen)
		return BLUEZ_NO_ADAPTER;
	if (b->chosen->powered)
		return BLUEZ_READY;
	return bluez_adapter_blocked(b, b->chosen) ? BLUEZ_BLOCKED : BLUEZ_OFF;
}

static void on_tick(uv_timer_t *tick);

void bluez_settle(struct bluez *b)
{
	enum bluez_state state;
	bool waits = b->calls.owner[0] != '\0' && !b->loaded;

	if (b->chosen && !bluez_introduce(b))
		waits = true;
	if (b->chosen && !b->chosen->powered) {
		bluez_power_try(b);
		waits = true;
	}
	if (b->stopping || !waits)
		(void)uv_timer_stop(&b->tick);
	else if (!uv_is_active((uv_handle_t *)&b->tick))
		(void)uv_timer_start(&b->tick, on_tick, BLUEZ_TICK, BLUEZ_TICK);
	state = state_now(b);
	if (state == b->state)
		return;
	if (state < BLUEZ_BLOCKED)
		bluez_devices_drop(b);
	b->state = state;
	tell_state(b);
}

static void load(struct bluez *b);

/* Objects, as GetManagedObjects and InterfacesAdded tell them. */

enum pass { PASS_ADAPTERS, PASS_DEVICES };

static int read_object(struct bluez *b, enum pass pass, sd_bus_message *m)
{
	const char *path, *interface;
	int rc = sd_bus_message_read(m, "o", &path);

	if (rc >= 0)
		rc = sd_bus_message_enter_container(m, 'a', "{sa{sv}}");
	while (rc >= 0 && (rc = sd_bus_message_enter_container(m, 'e', "sa{sv}")) > 0) {
		rc = sd_bus_message_read(m, "s", &interface);
		if (rc < 0)
			break;
		if (pass == PASS_ADAPTERS && strcmp(interface, BLUEZ_ADAPTER) == 0)
			rc = bluez_adapter_read(b, path, m);
		else if (pass == PASS_DEVICES && strcmp(interface, BLUEZ_DEVICE) == 0)
			rc = device_read(b, path, m);
		else
			rc = sd_bus_message_skip(m, "a{sv}");
		if (rc >= 0)
			rc = sd_bus_message_exit_container(m);
	}
	if (rc >= 0)
		rc = sd_bus_message_exit_container(m);
	return rc;
}

static int read_objects(struct bluez *b, enum pass pass, sd_bus_message *m)
{
	int rc = sd_bus_message_rewind(m, 1);

	if (rc >= 0)
		rc = sd_bus_message_enter_container(m, 'a', "{oa{sa{sv}}}");
	while (rc >= 0 && (rc = sd_bus_message_enter_container(m, 'e', "oa{sa{sv}}")) > 0) {
		rc = read_object(b, pass, m);
		if (rc >= 0)
			rc = sd_bus_message_exit_container(m);
	}
	if (rc >= 0)
		rc = sd_bus_message_exit_container(m);
	return rc;
}

static void on_objects(void *arg, int error, const char *name, const char *text,
		       sd_bus_message *reply)
{
	struct bluez *b = ((struct bluez_errand *)arg)->b;
	int rc = error;

	(void)name;
	(void)text;
	b->loading = false;
	b->asked = true;
	if (rc == 0) {
		for (struct bluez_adapter *a = b->adapters; a; a = a->next)
			a->seen = false;
		rc = read_objects(b, PASS_ADAPTERS, reply);
	}
	if (rc >= 0) {
		struct bluez_adapter **a = &b->adapters;
		struct bluez_known_device **k = &b->devices;

		while (*a) {
			if ((*a)->seen)
				a = &(*a)->next;
			else
				bluez_adapter_remove(b, a);
		}
		/* In this order: the adapter that was, the one that is, its devices. */
		if (b->loaded)
			bluez_settle(b);
		b->loaded = true;
		(void)bluez_choose(b);
		bluez_settle(b);
		for (struct bluez_known_device *d = b->devices; d; d = d->next)
			d->seen = false;
		rc = read_objects(b, PASS_DEVICES, reply);
		while (rc >= 0 && *k) {
			if ((*k)->seen)
				k = &(*k)->next;
			else
				device_remove(b, k);
		}
	}
	if (rc < 0)
		b->loaded = false;
	bluez_settle(b);
}

/* Asks for all objects; when that fails, the tick asks again. */
static void load(struct bluez *b)
{
	sd_bus_message *m;

	bluez_calls_forget(&b->calls, &b->load);
	b->loading = bluez_message(b, "/", DBUS_OBJECTS, "GetManagedObjects", &m) == 0 &&
		     bluez_send(b, m, 0, on_objects, &b->load) == 0;
	if (!b->loading)
		b->loaded = false;
}

static void on_tick(uv_timer_t *tick)
{
	struct bluez *b = tick->data;

	if (!b->loaded && !b->loading)
		load(b);
	bluez_settle(b);
}

/* Signals. Those of BlueZ are ignored until the objects are asked for: the answer comes later. */

static bool is_heard(const struct bluez *b, sd_bus_message *m)
{
	return bluez_is_sender(b, m) && (b->loaded || b->loading);
}

static int on_interfaces_added(sd_bus_message *m, void *arg, sd_bus_error *unused)
{
	struct bluez *b = arg;
	int rc;

	(void)unused;
	if (!is_heard(b, m))
		return 0;
	rc = read_object(b, PASS_ADAPTERS, m);
	if (rc >= 0 && b->loaded && bluez_choose(b))
		load(b);
	if (rc >= 0)
		rc = sd_bus_message_rewind(m, 1);
	if (rc >= 0)
		rc = read_object(b, PASS_DEVICES, m);
	if (rc < 0)
		load(b);
	bluez_settle(b);
	return 0;
}

static int on_interfaces_removed(sd_bus_message *m, void *arg, sd_bus_error *unused)
{
	struct bluez *b = arg;
	const char *path, *interface;
	int rc;

	(void)unused;
	if (!is_heard(b, m))
		return 0;
	rc = sd_bus_message_read(m, "o", &path);
	if (rc >= 0)
		rc = sd_bus_message_enter_container(m, 'a', "s");
	while (rc >= 0 && (rc = sd_bus_message_read(m, "s", &interface)) > 0) {
		struct bluez_known_device **k = device_at(b, path);
		struct bluez_adapter **a = bluez_adapter_at(b, path);

		if (*k && strcmp(interface, BLUEZ_DEVICE) == 0)
			device_remove(b, k);
		else if (*a && strcmp(interface, BLUEZ_ADAPTER) == 0)
			bluez_adapter_remove(b, a);
	}
	/* Told before another one may take its place. */
	bluez_settle(b);
	if (b->loaded && bluez_choose(b))
		load(b);
	bluez_settle(b);
	return 0;
}

static int on_properties(sd_bus_message *m, void *arg, sd_bus_error *unused)
{
	struct bluez *b = arg;
	const char *path = sd_bus_message_get_path(m);
	struct bluez_known_device *k;
	struct bluez_adapter *a;
	const char *interface;

	(void)unused;
	if (!is_heard(b, m) || sd_bus_message_read(m, "s", &interface) < 0)
		return 0;
	k = *device_at(b, path);
	a = *bluez_adapter_at(b, path);
	if (k && strcmp(interface, BLUEZ_DEVICE) == 0) {
		int changed = bluez_device_read(k, m);
		int forgot = changed < 0 ? changed : bluez_device_forget(k, m);

		if (changed > 0 || forgot > 0)
			tell_device(b, k, BLUEZ_DEVICE_CHANGED);
	} else if (a && strcmp(interface, BLUEZ_ADAPTER) == 0) {
		(void)bluez_adapter_properties(b, a, m);
		if (b->loaded && bluez_choose(b))
			load(b);
		bluez_settle(b);
	}
	return 0;
}

/* bluetoothd and the bus coming and going. */

static void daemon_gone(struct bluez *b)
{
	b->calls.owner[0] = '\0';
	b->loaded = false;
	b->loading = false;
	bluez_calls_forget(&b->calls, &b->load);
	bluez_devices_drop(b);
	while (b->adapters)
		bluez_adapter_remove(b, &b->adapters);
	bluez_settle(b);
}

static void owner_is(struct bluez *b, const char *owner)
{
	if (strcmp(b->calls.owner, owner) == 0 || strlen(owner) >= sizeof(b->calls.owner))
		return;
	daemon_gone(b);
	if (owner[0] == '\0')
		return;
	memcpy(b->calls.owner, owner, strlen(owner) + 1);
	load(b);
	bluez_settle(b);
}

static int on_owner_changed(sd_bus_message *m, void *arg, sd_bus_error *unused)
{
	const char *name, *before, *now;

	(void)unused;
	/* Anybody could send this to us alone, past the match. */
	if (strcmp(sd_bus_message_get_sender(m), DBUS) == 0 &&
	    sd_bus_message_read(m, "sss", &name, &before, &now) >= 0 &&
	    strcmp(name, BLUEZ_NAME) == 0)
		owner_is(arg, now);
	return 0;
}

static int on_owner(sd_bus_message *reply, void *arg, sd_bus_error *unused)
{
	struct bluez *b = arg;
	const char *owner;

	(void)unused;
	/* An error says that there is none; a change of that is told by a signal. */
	if (!sd_bus_message_is_method_error(reply, NULL) &&
	    sd_bus_message_read(reply, "s", &owner) >= 0) {
		owner_is(b, owner);
	} else {
		b->asked = true;
		bluez_settle(b);
	}
	return 0;
}

static int listen_to_bluez(struct bluez *b)
{
	sd_bus *c = b->calls.connection;
	int rc;

	rc = sd_bus_add_match_async(c, NULL,
				    "type='signal',sender='" DBUS "',path='" DBUS_PATH
				    "',interface='" DBUS
				    "',member='NameOwnerChanged',arg0='" BLUEZ_NAME "'",
				    on_owner_changed, NULL, b);
	if (rc >= 0)
		rc = sd_bus_add_match_async(c, NULL,
					    "type='signal',sender='" BLUEZ_NAME
					    "',interface='" DBUS_OBJECTS
					    "',member='InterfacesAdded'",
					    on_interfaces_added, NULL, b);
	if (rc >= 0)
		rc = sd_bus_add_match_async(c, NULL,
					    "type='signal',sender='" BLUEZ_NAME
					    "',interface='" DBUS_OBJECTS
					    "',member='InterfacesRemoved'",
					    on_interfaces_removed, NULL, b);
	if (rc >= 0)
		rc = sd_bus_add_match_async(
			c, NULL,
			"type='signal',sender='" BLUEZ_NAME "',interface='" DBUS_PROPERTIES
			"',member='PropertiesChanged',path_namespace='/org/bluez'",
			on_properties, NULL, b);
	if (rc >= 0)
		rc = sd_bus_call_method_async(c, NULL, DBUS, DBUS_PATH, DBUS, "GetNameOwner",
					      on_owner, b, "s", BLUEZ_NAME);
	return rc;
}

static void on_bus_up(void *arg, sd_bus *connection)
{
	struct bluez *b = arg;

	b->calls.connection = connection;
	if (listen_to_bluez(b) < 0)
		bus_again(b->bus);
	bluez_settle(b);
}

static void on_bus_failed(void *arg, int error)
{
	struct bluez *b = arg;

	(void)error;
	b->asked = true;
	bluez_settle(b);
}

static void on_bus_down(void *arg)
{
	struct bluez *b = arg;

	b->asked = true;
	b->calls.connection = NULL;
	daemon_gone(b);
	bluez_calls_end(&b->calls, b->stopping ? -ECANCELED : -ENOTCONN);
}

/* Making and ending. */

static bool adapter_valid(const char *text)
{
	if (text[0] == '\0' || bluetooth_address_valid(text))
		return true;
	if (strncmp(text, "hci", 3) != 0 || strlen(text) >= BLUEZ_CHOICE_SIZE || text[3] == '\0')
		return false;
	return strspn(text + 3, "0123456789") == strlen(text + 3);
}

static void bluez_free(struct bluez *b)
{
	free(b->alias);
	free(b->rfkill);
	free(b);
}

static void on_tick_closed(uv_handle_t *handle)
{
	struct bluez *b = handle->data;
	void (*stopped)(void *arg) = b->stopped;
	void *arg = b->stopped_arg;

	bluez_free(b);
	if (stopped)
		stopped(arg);
}

static void on_bus_stopped(void *arg)
{
	struct bluez *b = arg;

	b->bus = NULL;
	uv_close((uv_handle_t *)&b->tick, on_tick_closed);
}

int bluez_new(uv_loop_t *loop, const struct bluez_options *options, struct bluez **out)
{
	const struct bus_callbacks callbacks = {
		.up = on_bus_up,
		.failed = on_bus_failed,
		.down = on_bus_down,
		.stopped = on_bus_stopped,
	};
	struct bluez *b;
	int rc = -ENOMEM;

	if (!adapter_valid(options->adapter))
		return -EINVAL;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	memcpy(b->wanted, options->adapter, strlen(options->adapter) + 1);
	b->loop = loop;
	b->power_on = options->power_on;
	b->pairable = options->pairable;
	b->load.b = b;
	b->power.b = b;
	b->pause = BLUEZ_TICK;
	b->alias = strdup(options->alias);
	b->rfkill = strdup(options->rfkill ? options->rfkill : RFKILL);
	if (b->alias && b->rfkill)
		rc = bus_new(loop, options->bus, &callbacks, b, &b->bus);
	if (rc < 0) {
		bluez_free(b);
		return rc;
	}
	(void)uv_timer_init(loop, &b->tick);
	b->tick.data = b;
	*out = b;
	return 0;
}

void bluez_start(struct bluez *b)
{
	bus_start(b->bus);
}

void bluez_stop(struct bluez *b, void (*stopped)(void *arg), void *arg)
{
	if (b->stopping)
		return;
	b->stopping = true;
	b->stopped = stopped;
	b->stopped_arg = arg;
	bus_stop(b->bus);
}

/* For everybody. */

enum bluez_state bluez_state(const struct bluez *b)
{
	return b->state;
}

void bluez_watch(struct bluez *b, struct bluez_watcher *w)
{
	w->next = b->watchers;
	b->watchers = w;
	if (w->state)
		w->state(w, b->state);
}

void bluez_unwatch(struct bluez *b, struct bluez_watcher *w)
{
	struct bluez_watcher **at = &b->watchers;

	while (*at && *at != w)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = w->next;
	if (b->next_watcher == w)
		b->next_watcher = w->next;
}

sd_bus *bluez_bus(struct bluez *b)
{
	return b->calls.connection;
}

const char *bluez_adapter(const struct bluez *b)
{
	return b->chosen ? b->chosen->path : NULL;
}

const char *bluez_adapter_address(const struct bluez *b)
{
	return b->chosen ? b->chosen->address : NULL;
}

bool bluez_is_sender(const struct bluez *b, sd_bus_message *m)
{
	const char *sender = sd_bus_message_get_sender(m);

	return sender && b->calls.owner[0] != '\0' && strcmp(sender, b->calls.owner) == 0;
}

const struct bluez_device *bluez_find(const struct bluez *b, const char *address_or_path)
{
	for (const struct bluez_known_device *k = b->devices; k; k = k->next) {
		if (strcmp(k->d.path, address_or_path) == 0 ||
		    strcasecmp(k->d.address, address_or_path) == 0)
			return &k->d;
	}
	return NULL;
}

void bluez_each(const struct bluez *b, void (*each)(void *arg, const struct bluez_device *d),
		void *arg)
{
	for (const struct bluez_known_device *k = b->devices; k; k = k->next)
		each(arg, &k->d);
}
