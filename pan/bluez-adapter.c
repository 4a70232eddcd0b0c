#include "pan/bluez-internal.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAUSE_LONG 16000u /* ms, between attempts to switch on */

/* The first line of a small file of sysfs; "" when it cannot be read. */
static void read_line(const char *folder, const char *entry, const char *file, char *out,
		      size_t size)
{
	char path[512];
	ssize_t got = 0;
	int fd;

	out[0] = '\0';
	if (snprintf(path, sizeof(path), "%s/%s/%s", folder, entry, file) >= (int)sizeof(path))
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return;
	got = read(fd, out, size - 1);
	close(fd);
	out[got > 0 ? got : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

/* Whether the rfkill switch of "hciN" blocks it. 1, 0, or -ENOENT: no such switch. */
static int rfkill(const char *folder, const char *adapter)
{
	const struct dirent *entry;
	DIR *dir = opendir(folder);
	int found = -ENOENT;

	if (!dir)
		return -ENOENT;
	while (found < 0 && (entry = readdir(dir))) {
		char text[32];

		if (entry->d_name[0] == '.')
			continue;
		read_line(folder, entry->d_name, "name", text, sizeof(text));
		if (strcmp(text, adapter) != 0)
			continue;
		read_line(folder, entry->d_name, "soft", text, sizeof(text));
		found = strcmp(text, "1") == 0;
		read_line(folder, entry->d_name, "hard", text, sizeof(text));
		if (strcmp(text, "1") == 0)
			found = 1;
	}
	closedir(dir);
	return found;
}

struct bluez_adapter **bluez_adapter_at(struct bluez *b, const char *path)
{
	struct bluez_adapter **at = &b->adapters;

	while (*at && strcmp((*at)->path, path) != 0)
		at = &(*at)->next;
	return at;
}

static const char *adapter_name(const struct bluez_adapter *a)
{
	const char *slash = strrchr(a->path, '/');

	return slash ? slash + 1 : a->path;
}

bool bluez_adapter_blocked(const struct bluez *b, const struct bluez_adapter *a)
{
	int rc;

	if (a->blocked)
		return true;
	rc = rfkill(b->rfkill, adapter_name(a));
	if (rc >= 0)
		return rc > 0;
	return !a->tells_blocked && b->refused;
}

static int set_property(struct bluez *b, const char *name, const char *type, uint32_t value,
			bluez_done done, void *arg)
{
	return bluez_call(b, 0, done, arg, b->chosen->path, DBUS_PROPERTIES, "Set", "ssv",
			  BLUEZ_ADAPTER, name, type, value);
}

static void on_powered(void *arg, int error, const char *name, const char *text,
		       sd_bus_message *reply)
{
	struct bluez *b = ((struct bluez_errand *)arg)->b;

	(void)name;
	(void)text;
	(void)reply;
	b->powering = false;
	b->refused = error == -ERFKILL;
	b->try_at = uv_now(b->loop) + b->pause;
	b->pause = b->pause > PAUSE_LONG / 2 ? PAUSE_LONG : b->pause * 2;
	bluez_settle(b);
}

void bluez_power_try(struct bluez *b)
{
	if (!b->want_power || b->powering || uv_now(b->loop) < b->try_at)
		return;
	/* Blocked for sure: nothing to try until it is not. */
	if (bluez_adapter_blocked(b, b->chosen) && !b->refused)
		return;
	if (set_property(b, "Powered", "b", 1, on_powered, &b->power) == 0)
		b->powering = true;
}

static void power_anew(struct bluez *b, bool on)
{
	b->want_power = on;
	b->refused = false;
	b->try_at = 0;
	b->pause = BLUEZ_TICK;
}

static bool is_wanted(const struct bluez *b, const struct bluez_adapter *a)
{
	return b->wanted[0] == '\0' || strcmp(b->wanted, adapter_name(a)) == 0 ||
	       strcasecmp(b->wanted, a->address) == 0;
}

bool bluez_introduce(struct bluez *b)
{
	int rc = 0;

	if (b->introduced)
		return true;
	if (b->alias[0] != '\0')
		rc = bluez_call(b, 0, NULL, NULL, b->chosen->path, DBUS_PROPERTIES, "Set", "ssv",
				BLUEZ_ADAPTER, "Alias", "s", b->alias);
	if (rc == 0 && b->pairable)
		rc = set_property(b, "Pairable", "b", 1, NULL, NULL);
	b->introduced = rc == 0;
	return b->introduced;
}

bool bluez_choose(struct bluez *b)
{
	if (b->chosen)
		return false;
	for (struct bluez_adapter *a = b->adapters; a; a = a->next) {
		if (is_wanted(b, a) && (!b->chosen || strverscmp(a->path, b->chosen->path) < 0))
			b->chosen = a;
	}
	if (!b->chosen)
		return false;
	power_anew(b, b->power_on);
	b->introduced = false;
	return true;
}

void bluez_adapter_remove(struct bluez *b, struct bluez_adapter **at)
{
	struct bluez_adapter *a = *at;

	*at = a->next;
	if (b->chosen == a) {
		bluez_devices_drop(b);
		b->chosen = NULL;
		bluez_calls_forget(&b->calls, &b->power);
		b->powering = false;
	}
	free(a);
}

/* A value of another type than expected is skipped. */
static bool is_type(sd_bus_message *m, const char *type)
{
	return sd_bus_message_verify_type(m, 'v', type) > 0;
}

static int adapter_property(struct bluez_adapter *a, const char *name, sd_bus_message *m)
{
	const char *text;
	int flag, rc;

	if (strcmp(name, "Powered") == 0 && is_type(m, "b")) {
		rc = sd_bus_message_read(m, "v", "b", &flag);
		if (rc >= 0)
			a->powered = flag != 0;
	} else if (strcmp(name, "PowerState") == 0 && is_type(m, "s")) {
		rc = sd_bus_message_read(m, "v", "s", &text);
		if (rc >= 0) {
			a->tells_blocked = true;
			a->blocked = strcmp(text, "off-blocked") == 0;
		}
	} else if (strcmp(name, "Address") == 0 && is_type(m, "s")) {
		rc = sd_bus_message_read(m, "v", "s", &text);
		for (size_t i = 0;
		     rc >= 0 && bluetooth_address_valid(text) && i < sizeof(a->address); i++)
			a->address[i] = (char)toupper((unsigned char)text[i]);
	} else {
		rc = sd_bus_message_skip(m, "v");
	}
	return rc;
}

int bluez_adapter_properties(struct bluez *b, struct bluez_adapter *a, sd_bus_message *m)
{
	bool was_on = a->powered;
	const char *name;
	int rc = sd_bus_message_enter_container(m, 'a', "{sv}");

	while (rc >= 0 && (rc = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		rc = sd_bus_message_read(m, "s", &name);
		if (rc >= 0)
			rc = adapter_property(a, name, m);
		if (rc >= 0)
			rc = sd_bus_message_exit_container(m);
	}
	if (rc >= 0)
		rc = sd_bus_message_exit_container(m);
	if (a != b->chosen || a->powered == was_on)
		return rc;
	if (a->powered)
		power_anew(b, b->want_power);
	else if (!bluez_adapter_blocked(b, a))
		b->want_power = false; /* somebody switched it off */
	return rc;
}

int bluez_adapter_read(struct bluez *b, const char *path, sd_bus_message *m)
{
	struct bluez_adapter **at = bluez_adapter_at(b, path);
	struct bluez_adapter *a = *at;
	int rc;

	if (strlen(path) >= BLUEZ_PATH_SIZE)
		return sd_bus_message_skip(m, "a{sv}");
	if (!a) {
		a = calloc(1, sizeof(*a));
		if (!a)
			return -ENOMEM;
		memcpy(a->path, path, strlen(path) + 1);
		*at = a;
	}
	a->seen = true;
	rc = bluez_adapter_properties(b, a, m);
	if (rc < 0)
		bluez_adapter_remove(b, at);
	return rc;
}

int bluez_power(struct bluez *b, bool on)
{
	int rc;

	if (!b->chosen)
		return -ENODEV;
	power_anew(b, on);
	if (!on)
		return set_property(b, "Powered", "b", 0, NULL, NULL);
	if (b->powering)
		return 0;
	rc = set_property(b, "Powered", "b", 1, on_powered, &b->power);
	b->powering = rc == 0;
	return rc;
}

int bluez_discoverable(struct bluez *b, uint32_t seconds)
{
	int rc = 0;

	if (!b->chosen)
		return -ENODEV;
	if (!b->chosen->powered)
		return -ENETDOWN;
	if (seconds > 0)
		rc = set_property(b, "DiscoverableTimeout", "u",
				  seconds == BLUEZ_ALWAYS ? 0 : seconds, NULL, NULL);
	if (rc == 0)
		rc = set_property(b, "Discoverable", "b", seconds > 0, NULL, NULL);
	return rc;
}

void bluez_each_adapter(const struct bluez *b,
			void (*each)(void *arg, const char *name, const char *address, bool powered,
				     bool chosen),
			void *arg)
{
	for (const struct bluez_adapter *a = b->adapters; a; a = a->next) {
		const char *slash = strrchr(a->path, '/');

		each(arg, slash ? slash + 1 : a->path, a->address, a->powered, a == b->chosen);
	}
}
