#include "pan/bluez-features.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BLUEZ_ROOT "/org/bluez"

/*
 * BlueZ has no property for its version, but introduces its adapters by it, unless DeviceID in its
 * main.conf is another: Linux Foundation, BlueZ, major and minor in a byte each.
 */
static unsigned version_of(const char *modalias)
{
	static const char bluez[] = "usb:v1D6Bp0246d";
	size_t size = sizeof(bluez) - 1;
	char *end;
	unsigned long version;

	if (strncasecmp(modalias, bluez, size) != 0 || strlen(modalias) != size + 4)
		return 0;
	version = strtoul(modalias + size, &end, 16);
	return *end == '\0' ? (unsigned)version : 0;
}

static int read_adapter(sd_bus_message *m, struct bluez_features *out)
{
	const char *name, *modalias;
	int powered, r;

	r = sd_bus_message_enter_container(m, 'a', "{sv}");
	while (r > 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		r = sd_bus_message_read(m, "s", &name);
		if (r > 0 && strcmp(name, "Powered") == 0) {
			r = sd_bus_message_read(m, "v", "b", &powered);
			out->powered += r > 0 && powered;
		} else if (r > 0 && strcmp(name, "Modalias") == 0) {
			r = sd_bus_message_read(m, "v", "s", &modalias);
			if (r > 0)
				out->version = version_of(modalias);
		} else if (r > 0) {
			r = sd_bus_message_skip(m, "v");
		}
		if (r > 0)
			r = sd_bus_message_exit_container(m);
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

static void note(struct bluez_features *out, bool root, bool chosen, const char *interface)
{
	if (root && strcmp(interface, "org.bluez.ProfileManager1") == 0)
		out->profiles = true;
	else if (root && strcmp(interface, "org.bluez.AgentManager1") == 0)
		out->agents = true;
	else if (chosen && strcmp(interface, "org.bluez.NetworkServer1") == 0)
		out->network = true;
	else if (chosen && strcmp(interface, "org.bluez.LEAdvertisingManager1") == 0)
		out->advertising = true;
	else if (chosen && strcmp(interface, "org.bluez.GattManager1") == 0)
		out->gatt = true;
}

static int read_object(sd_bus_message *m, const char *adapter, struct bluez_features *out)
{
	const char *path, *interface;
	int r = sd_bus_message_read(m, "o", &path);

	if (r > 0)
		r = sd_bus_message_enter_container(m, 'a', "{sa{sv}}");
	while (r > 0 && (r = sd_bus_message_enter_container(m, 'e', "sa{sv}")) > 0) {
		r = sd_bus_message_read(m, "s", &interface);
		if (r <= 0)
			break;
		note(out, strcmp(path, BLUEZ_ROOT) == 0, adapter && strcmp(path, adapter) == 0,
		     interface);
		if (strcmp(interface, "org.bluez.Adapter1") == 0) {
			out->adapters++;
			r = read_adapter(m, out);
		} else {
			r = sd_bus_message_skip(m, "a{sv}");
		}
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_objects(sd_bus_message *m, const char *adapter, struct bluez_features *out)
{
	int r = sd_bus_message_enter_container(m, 'a', "{oa{sa{sv}}}");

	while (r > 0 && (r = sd_bus_message_enter_container(m, 'e', "oa{sa{sv}}")) > 0) {
		r = read_object(m, adapter, out);
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r < 0 ? r : 0;
}

static void on_objects(void *arg, int error, const char *name, const char *text,
		       sd_bus_message *reply)
{
	const struct bluez_features_question *q = arg;
	struct bluez_features features = {.adapters = 0};

	(void)name;
	(void)text;
	if (error == 0 && read_objects(reply, bluez_adapter(q->bluez), &features) == 0)
		q->done(q->arg, &features);
	else
		q->done(q->arg, NULL);
}

int bluez_ask_features(struct bluez *b, unsigned seconds, struct bluez_features_question *q)
{
	q->bluez = b;
	return bluez_call(b, seconds, on_objects, q, "/", "org.freedesktop.DBus.ObjectManager",
			  "GetManagedObjects", "");
}
