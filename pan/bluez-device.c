#include "pan/bluez-internal.h"

#include <ctype.h>
#include <string.h>

/* What a property's value is put into. NULL value: the property is no longer there. */
static int read_flag(sd_bus_message *m, bool *out)
{
	int value = 0;
	int rc = m ? sd_bus_message_read(m, "v", "b", &value) : 0;

	if (rc >= 0)
		*out = value != 0;
	return rc;
}

/* Others choose their names: nothing in one may look like a further line, or steer a terminal. */
static void make_printable(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		if (*c < 0x20 || *c == 0x7f) {
			*c = '?';
		} else if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) {
			*c++ = '?';
			*c = '?';
		}
	}
}

static int read_text(sd_bus_message *m, char *out, size_t size)
{
	const char *value;
	size_t length;
	int rc;

	out[0] = '\0';
	if (!m)
		return 0;
	rc = sd_bus_message_read(m, "v", "s", &value);
	if (rc < 0)
		return rc;
	length = strlen(value);
	if (length >= size) {
		/* Not within a character of UTF-8. */
		length = size - 1;
		while (length > 0 && ((unsigned char)value[length] & 0xc0) == 0x80)
			length--;
	}
	memcpy(out, value, length);
	out[length] = '\0';
	make_printable(out);
	return 0;
}

static int read_address(sd_bus_message *m, struct bluez_device *d)
{
	const char *value = "";
	int rc = m ? sd_bus_message_read(m, "v", "s", &value) : 0;

	if (rc < 0)
		return rc;
	if (!bluetooth_address_valid(value))
		return 0;
	for (size_t i = 0; i < sizeof(d->address); i++)
		d->address[i] = (char)toupper((unsigned char)value[i]);
	return 0;
}

static int read_uuids(sd_bus_message *m, struct bluez_device *d)
{
	const char *uuid;
	int rc;

	d->offers_pne = false;
	d->offers_gateway = false;
	if (!m)
		return 0;
	rc = sd_bus_message_enter_container(m, 'v', "as");
	if (rc >= 0)
		rc = sd_bus_message_enter_container(m, 'a', "s");
	while (rc >= 0 && (rc = sd_bus_message_read(m, "s", &uuid)) > 0) {
		if (strcasecmp(uuid, BLUETOOTH_UUID_PNE) == 0)
			d->offers_pne = true;
		else if (strcasecmp(uuid, BLUETOOTH_UUID_GATEWAY) == 0)
			d->offers_gateway = true;
	}
	if (rc >= 0)
		rc = sd_bus_message_exit_container(m);
	if (rc >= 0)
		rc = sd_bus_message_exit_container(m);
	return rc;
}

static int read_service(sd_bus_message *m, struct bluez_device *d)
{
	const uint8_t *data;
	const char *uuid;
	size_t size;
	int rc = sd_bus_message_read(m, "s", &uuid);

	if (rc < 0)
		return rc;
	if (strcasecmp(uuid, BLUETOOTH_UUID_PNE) != 0 ||
	    sd_bus_message_verify_type(m, 'v', "ay") <= 0)
		return sd_bus_message_skip(m, "v");
	rc = sd_bus_message_enter_container(m, 'v', "ay");
	if (rc < 0)
		return rc;
	rc = sd_bus_message_read_array(m, 'y', (const void **)&data, &size);
	if (rc < 0)
		return rc;
	if (size == 2)
		d->psm = (uint16_t)(data[0] | data[1] << 8);
	return sd_bus_message_exit_container(m);
}

static int read_services(sd_bus_message *m, struct bluez_device *d)
{
	int rc;

	d->psm = 0;
	if (!m)
		return 0;
	rc = sd_bus_message_enter_container(m, 'v', "a{sv}");
	if (rc >= 0)
		rc = sd_bus_message_enter_container(m, 'a', "{sv}");
	while (rc >= 0 && (rc = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		rc = read_service(m, d);
		if (rc >= 0)
			rc = sd_bus_message_exit_container(m);
	}
	if (rc >= 0)
		rc = sd_bus_message_exit_container(m);
	if (rc >= 0)
		rc = sd_bus_message_exit_container(m);
	return rc;
}

/* "": a property that is not wanted. */
static const char *type_of(const char *name)
{
	static const char *const types[][2] = {
		{"Address", "s"},       {"AddressType", "s"},     {"Name", "s"},
		{"UUIDs", "as"},        {"ServiceData", "a{sv}"}, {"RSSI", "n"},
		{"Class", "u"},         {"Paired", "b"},          {"Bonded", "b"},
		{"Trusted", "b"},       {"Connected", "b"},       {"Blocked", "b"},
		{"LegacyPairing", "b"},
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(name, types[i][0]) == 0)
			return types[i][1];
	}
	return "";
}

/*
 * A class of device is told over BR/EDR, at every inquiry and connection, and a bond keeps it.
 * Without one, all that was heard of the device is its advertising.
 */
static int read_class(struct bluez_device *d, sd_bus_message *m)
{
	d->le_only = m == NULL;
	return m ? sd_bus_message_skip(m, "v") : 0;
}

static int read_rssi(struct bluez_device *d, sd_bus_message *m)
{
	d->has_rssi = m != NULL;
	d->rssi = 0;
	return m ? sd_bus_message_read(m, "v", "n", &d->rssi) : 0;
}

static int read_address_type(struct bluez_device *d, sd_bus_message *m)
{
	char type[8];
	int rc = read_text(m, type, sizeof(type));

	d->random_address = rc >= 0 && strcmp(type, "random") == 0;
	return rc;
}

static int read_property(struct bluez_known_device *k, const char *name, sd_bus_message *m)
{
	struct bluez_device *d = &k->d;
	const struct {
		const char *name;
		bool *to;
	} flags[] = {
		{"Paired", &d->paired},   {"Bonded", &d->bonded},
		{"Trusted", &d->trusted}, {"Connected", &d->connected},
		{"Blocked", &d->blocked}, {"LegacyPairing", &d->legacy_pairing},
	};
	const char *type = type_of(name);

	if (type[0] == '\0')
		return m ? sd_bus_message_skip(m, "v") : 0;
	/* Another version of BlueZ may mean something else by it: as if it were not there. */
	if (m && sd_bus_message_verify_type(m, 'v', type) <= 0)
		return sd_bus_message_skip(m, "v");
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (strcmp(name, flags[i].name) == 0)
			return read_flag(m, flags[i].to);
	}
	if (strcmp(name, "Address") == 0)
		return read_address(m, d);
	if (strcmp(name, "Name") == 0)
		return read_text(m, d->name, sizeof(d->name));
	if (strcmp(name, "UUIDs") == 0)
		return read_uuids(m, d);
	if (strcmp(name, "ServiceData") == 0)
		return read_services(m, d);
	if (strcmp(name, "AddressType") == 0)
		return read_address_type(d, m);
	if (strcmp(name, "RSSI") == 0)
		return read_rssi(d, m);
	return read_class(d, m);
}

static bool same(const struct bluez_device *a, const struct bluez_device *b)
{
	return strcmp(a->address, b->address) == 0 && a->random_address == b->random_address &&
	       strcmp(a->name, b->name) == 0 && a->has_rssi == b->has_rssi && a->rssi == b->rssi &&
	       a->paired == b->paired && a->bonded == b->bonded && a->trusted == b->trusted &&
	       a->connected == b->connected && a->blocked == b->blocked &&
	       a->legacy_pairing == b->legacy_pairing && a->offers_pne == b->offers_pne &&
	       a->offers_gateway == b->offers_gateway && a->le_only == b->le_only &&
	       a->psm == b->psm;
}

int bluez_device_read(struct bluez_known_device *k, sd_bus_message *m)
{
	struct bluez_device before = k->d;
	const char *name;
	int rc = sd_bus_message_enter_container(m, 'a', "{sv}");

	while (rc >= 0 && (rc = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		rc = sd_bus_message_read(m, "s", &name);
		if (rc >= 0)
			rc = read_property(k, name, m);
		if (rc >= 0)
			rc = sd_bus_message_exit_container(m);
	}
	if (rc >= 0)
		rc = sd_bus_message_exit_container(m);
	return rc < 0 ? rc : !same(&k->d, &before);
}

int bluez_device_forget(struct bluez_known_device *k, sd_bus_message *m)
{
	struct bluez_device before = k->d;
	const char *name;
	int rc = sd_bus_message_enter_container(m, 'a', "s");

	while (rc >= 0 && (rc = sd_bus_message_read(m, "s", &name)) > 0) {
		if (strcmp(name, "Address") != 0)
			rc = read_property(k, name, NULL);
	}
	if (rc >= 0)
		rc = sd_bus_message_exit_container(m);
	return rc < 0 ? rc : !same(&k->d, &before);
}
