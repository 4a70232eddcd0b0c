#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "pan/pairing-internal.h"

#define ADAPTER "org.bluez.Adapter1"

struct told {
	struct told *next;
	char path[BLUEZ_PATH_SIZE];
	bool named, offers;
};

static const char *sought(const struct pairing *p)
{
	return p->options.gateway ? BLUETOOTH_UUID_PNE : BLUETOOTH_UUID_GATEWAY;
}

static bool offers(const struct pairing *p, const struct bluez_device *d)
{
	return p->options.gateway ? d->offers_pne : d->offers_gateway;
}

static bool seeking(const struct pairing *p)
{
	for (const struct attempt *a = p->attempts; a; a = a->next) {
		if (a->phase == ATTEMPT_SEEKING)
			return true;
	}
	return false;
}

static int append_entry(sd_bus_message *m, const char *key, const char *type, const void *value)
{
	int r = sd_bus_message_open_container(m, 'e', "sv");

	if (r >= 0)
		r = sd_bus_message_append_basic(m, 's', key);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', type);
	if (r >= 0)
		r = sd_bus_message_append_basic(m, type[0], value);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	return r >= 0 ? sd_bus_message_close_container(m) : r;
}

static int append_uuids(sd_bus_message *m, const char *uuid)
{
	return sd_bus_message_append(m, "{sv}", "UUIDs", "as", 1, uuid);
}

/* BlueZ reports every device once more after a new filter. */
static int send_filter(struct pairing *p, bool all)
{
	const int duplicates = 1;
	sd_bus_message *m;
	int r = bluez_message(p->bluez, bluez_adapter(p->bluez), ADAPTER, "SetDiscoveryFilter", &m);

	if (r < 0)
		return r;
	r = sd_bus_message_open_container(m, 'a', "{sv}");
	if (r >= 0)
		r = append_entry(m, "Transport", "s", "auto");
	if (r >= 0)
		r = append_entry(m, "DuplicateData", "b", &duplicates);
	if (r >= 0 && !all && !p->scan_all)
		r = append_uuids(m, sought(p));
	if (r >= 0 && !all && p->scan_rssi != 0)
		r = append_entry(m, "RSSI", "n", &p->scan_rssi);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	if (r < 0) {
		sd_bus_message_unref(m);
		return r;
	}
	p->filter_sent_all = all;
	return bluez_send(p->bluez, m, 0, NULL, NULL);
}

static void discovery_failed(struct pairing *p, int error)
{
	p->discovery = DISCOVERY_OFF;
	/* What seeks may still see its device by another's discovery, until its own deadline. */
	if (p->scanning)
		pairing_scan_over(p, error);
}

static void discovery_started(void *arg, int error, const char *name, const char *text,
			      sd_bus_message *reply)
{
	struct pairing *p = arg;

	(void)name;
	(void)text;
	(void)reply;
	if (p->discovery != DISCOVERY_STARTING)
		return;
	if (error != 0 && error != -EALREADY) {
		discovery_failed(p, error);
		return;
	}
	p->discovery = DISCOVERY_ON;
	pairing_discovery(p);
}

static void discovery_stopped(void *arg, int error, const char *name, const char *text,
			      sd_bus_message *reply)
{
	struct pairing *p = arg;

	(void)error;
	(void)name;
	(void)text;
	(void)reply;
	if (p->discovery != DISCOVERY_STOPPING)
		return;
	p->discovery = DISCOVERY_OFF;
	pairing_discovery(p);
}

static void start(struct pairing *p, bool all)
{
	int r = send_filter(p, all);

	if (r >= 0)
		r = bluez_call(p->bluez, 0, discovery_started, p, bluez_adapter(p->bluez), ADAPTER,
			       "StartDiscovery", "");
	if (r < 0)
		discovery_failed(p, r);
	else
		p->discovery = DISCOVERY_STARTING;
}

void pairing_discovery(struct pairing *p)
{
	bool all = seeking(p), wanted = all || p->scanning;

	if (p->stopping || bluez_state(p->bluez) != BLUEZ_READY)
		return;
	switch (p->discovery) {
	case DISCOVERY_OFF:
		if (wanted)
			start(p, all);
		break;
	case DISCOVERY_ON:
		if (wanted && all != p->filter_sent_all)
			(void)send_filter(p, all);
		if (wanted)
			break;
		p->discovery = DISCOVERY_STOPPING;
		if (bluez_call(p->bluez, 0, discovery_stopped, p, bluez_adapter(p->bluez), ADAPTER,
			       "StopDiscovery", "") < 0)
			p->discovery = DISCOVERY_OFF;
		break;
	case DISCOVERY_STARTING:
	case DISCOVERY_STOPPING:
		break;
	}
}

/* BlueZ forgets who discovers when the adapter is switched off or goes. */
void pairing_discovery_lost(struct pairing *p)
{
	p->discovery = DISCOVERY_OFF;
	if (p->scanning)
		pairing_scan_over(p, -ENETDOWN);
}

void pairing_discovery_stop(struct pairing *p)
{
	if (p->discovery == DISCOVERY_STARTING || p->discovery == DISCOVERY_ON)
		(void)bluez_call(p->bluez, 0, NULL, NULL, bluez_adapter(p->bluez), ADAPTER,
				 "StopDiscovery", "");
	p->discovery = DISCOVERY_OFF;
	p->scanning = false;
	while (p->told) {
		struct told *t = p->told;

		p->told = t->next;
		free(t);
	}
}

static bool name_matches(const char *name, const char *part)
{
	size_t size = strlen(part);

	for (; strlen(name) >= size; name++) {
		if (strncasecmp(name, part, size) == 0)
			return true;
	}
	return false;
}

/* A new found() is due: the first one, or more is known than then. */
static bool is_news(struct pairing *p, const struct bluez_device *d)
{
	struct told *t = p->told;
	bool named = d->name[0] != '\0', news;

	while (t && strcmp(t->path, d->path) != 0)
		t = t->next;
	news = !t || t->named != named || t->offers != offers(p, d);
	if (!t) {
		t = calloc(1, sizeof(*t));
		if (!t)
			return true;
		(void)snprintf(t->path, sizeof(t->path), "%s", d->path);
		t->next = p->told;
		p->told = t;
	}
	t->named = named;
	t->offers = offers(p, d);
	return news;
}

void pairing_scan_device(struct pairing *p, const struct bluez_device *d)
{
	if (!p->scanning || p->stopping)
		return;
	if (!p->scan_all && !offers(p, d))
		return;
	if (p->scan_rssi != 0 && (!d->has_rssi || d->rssi < p->scan_rssi))
		return;
	if (p->scan_name[0] && !name_matches(d->name, p->scan_name))
		return;
	if (is_news(p, d))
		p->callbacks.found(p->arg, d);
}

static void each_near(void *arg, const struct bluez_device *d)
{
	if (d->has_rssi || d->connected)
		pairing_scan_device(arg, d);
}

int pairing_scan(struct pairing *p, const struct pairing_filter *filter, unsigned seconds)
{
	if (p->scanning)
		return -EALREADY;
	if (p->stopping || bluez_state(p->bluez) != BLUEZ_READY)
		return -ENETDOWN;
	p->scanning = true;
	p->scan_all = filter->all;
	p->scan_rssi = filter->rssi;
	(void)snprintf(p->scan_name, sizeof(p->scan_name), "%s", filter->name ? filter->name : "");
	p->scan_end = pairing_in(p, seconds);
	/* Another filter than the one in force, if a device is being sought. */
	pairing_discovery(p);
	pairing_arm(p);
	if (p->scanning)
		bluez_each(p->bluez, each_near, p);
	return 0;
}

void pairing_scan_over(struct pairing *p, int error)
{
	p->scanning = false;
	p->scan_end = PAIRING_NEVER;
	while (p->told) {
		struct told *t = p->told;

		p->told = t->next;
		free(t);
	}
	pairing_discovery(p);
	pairing_arm(p);
	p->callbacks.scan_ended(p->arg, error);
}

void pairing_scan_stop(struct pairing *p)
{
	if (p->scanning)
		pairing_scan_over(p, 0);
}
