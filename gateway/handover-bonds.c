/*
 * BlueZ's bonds. The key of a bond belongs to the addresses of both ends: a headset looks it up
 * under the address of the old box's adapter, and so does bluetoothd, whose folder has that name.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bluetooth/bluetooth.h>
#include <bluetooth/hci.h>

#include "gateway/handover-tool.h"
#include "protocol/file.h"

#define ADDRESS_SIZE 17
#define PATH_SIZE    1024
#define INFO_MAX     65536

static bool is_address(const char *text, size_t size)
{
	if (size != ADDRESS_SIZE)
		return false;
	for (size_t i = 0; i < size; i++) {
		const bool digit =
			(text[i] >= '0' && text[i] <= '9') || (text[i] >= 'A' && text[i] <= 'F');

		if (i % 3 == 2 ? text[i] != ':' : !digit)
			return false;
	}
	return true;
}

/* The files of a bond that are carried over; what else there is bluetoothd makes anew. */
static bool of_device(const char *file)
{
	static const char *const files[] = {"info", "attributes", "ccc", "gatt"};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (strcmp(file, files[i]) == 0)
			return true;
	}
	return false;
}

/* ADAPTER/settings, ADAPTER/identity, ADAPTER/cache/DEVICE or ADAPTER/DEVICE/one of those files. */
static bool name_good(const char *name)
{
	const char *rest = name + ADDRESS_SIZE + 1;

	if (strlen(name) < ADDRESS_SIZE + 2 || !is_address(name, ADDRESS_SIZE) ||
	    name[ADDRESS_SIZE] != '/')
		return false;
	if (strcmp(rest, "settings") == 0 || strcmp(rest, "identity") == 0)
		return true;
	if (strncmp(rest, "cache/", 6) == 0)
		return is_address(rest + 6, strlen(rest + 6));
	return strlen(rest) > ADDRESS_SIZE && is_address(rest, ADDRESS_SIZE) &&
	       rest[ADDRESS_SIZE] == '/' && of_device(rest + ADDRESS_SIZE + 1);
}

static int pack_folder(struct handover_tool *t, struct handover_writer *w, const char *below,
		       unsigned depth)
{
	char path[PATH_SIZE], name[MEMBER_NAME_MAX + 1];
	const struct dirent *e;
	int r = 0;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/%s", t->config.bluetooth_bonds, below);
	d = opendir(path);
	if (!d)
		return errno == ENOENT || errno == ENOTDIR
			       ? 0
			       : handover_say(t, -errno, "%s: %s", path, strerror(errno));
	while (r == 0 && (e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.' ||
		    (depth == 0 && !is_address(e->d_name, strlen(e->d_name))))
			continue;
		/* No name that is too long is one of bluetoothd's. */
		if ((size_t)snprintf(name, sizeof(name), "%s%s%s", below, below[0] ? "/" : "",
				     e->d_name) >= sizeof(name))
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", t->config.bluetooth_bonds, name);
		if (name_good(name))
			r = handover_writer_add(w, MEMBER_BOND, name, path, t->why, sizeof(t->why));
		else if (depth < 2)
			r = pack_folder(t, w, name, depth + 1);
	}
	(void)closedir(d);
	return r;
}

int handover_bonds_pack(struct handover_tool *t, struct handover_writer *w)
{
	return t->config.bluetooth ? pack_folder(t, w, "", 0) : 0;
}

/* A bond is one with a key in it. */
static bool has_key(const char *path)
{
	static const char *const keys[] = {"\n[LinkKey]", "\n[LongTermKey]",
					   "\n[PeripheralLongTermKey]", "\n[SlaveLongTermKey]"};
	char *text = calloc(1, INFO_MAX + 2);
	FILE *f = fopen(path, "re");
	bool found = false, of_ours = false;

	if (f && text) {
		text[0] = '\n';
		found = fread(text + 1, 1, INFO_MAX, f) > 0 && strstr(text, "\nKey=");
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			of_ours = of_ours || strstr(text, keys[i]);
	}
	if (f)
		(void)fclose(f);
	if (text)
		explicit_bzero(text, INFO_MAX + 2);
	free(text);
	return found && of_ours;
}

/* The addresses of the adapters that are here; how many. */
#define ADAPTERS_MAX 16
static size_t adapters_here(const struct handover_tool *t, char out[ADAPTERS_MAX][ADDRESS_SIZE + 1])
{
	const int s = t->adapter ? -1 : socket(AF_BLUETOOTH, SOCK_RAW | SOCK_CLOEXEC, BTPROTO_HCI);
	size_t count = 0;

	if (t->adapter) {
		(void)snprintf(out[0], ADDRESS_SIZE + 1, "%s", t->adapter);
		return 1;
	}
	for (int id = 0; s >= 0 && id < ADAPTERS_MAX; id++) {
		struct hci_dev_info info = {.dev_id = (uint16_t)id};

		const uint8_t *b = info.bdaddr.b;

		if (ioctl(s, HCIGETDEVINFO, &info) == 0)
			(void)snprintf(out[count++], ADDRESS_SIZE + 1,
				       "%02X:%02X:%02X:%02X:%02X:%02X", b[5], b[4], b[3], b[2],
				       b[1], b[0]);
	}
	if (s >= 0)
		(void)close(s);
	return count;
}

static bool is_here(const char *adapter, char here[ADAPTERS_MAX][ADDRESS_SIZE + 1], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strncasecmp(adapter, here[i], ADDRESS_SIZE) == 0)
			return true;
	}
	return false;
}

int handover_bonds_check(struct handover_tool *t, size_t *count)
{
	char here[ADAPTERS_MAX][ADDRESS_SIZE + 1];
	const size_t adapters = adapters_here(t, here);
	const char *away = NULL;
	bool fits = false;

	*count = 0;
	for (size_t i = 0; i < t->part_count; i++) {
		const struct handover_part *p = &t->parts[i];

		if (p->member != MEMBER_BOND)
			continue;
		if (!name_good(p->name))
			return handover_say(t, HANDOVER_NOT_GOOD,
					    "%s: there is a bond in it that "
					    "is none",
					    t->file);
		if (strlen(p->name) < 5 || strcmp(p->name + strlen(p->name) - 5, "/info") != 0 ||
		    !has_key(p->path))
			continue;
		(*count)++;
		if (is_here(p->name, here, adapters))
			fits = true;
		else
			away = p->name;
	}
	if (!away || fits || t->pair_again)
		return 0;
	return handover_say(
		t, HANDOVER_NOT_GOOD,
		"the headsets know this PN GW by the Bluetooth adapter %.*s, and here is %s: move "
		"that adapter over or give this one its address, or say --pair-again and pair the "
		"headsets again",
		ADDRESS_SIZE, away, adapters > 0 ? here[0] : "none");
}

static bool runs(const char *program)
{
	char path[PATH_SIZE], name[32];
	bool found = false;
	struct dirent *e;
	DIR *processes = opendir("/proc");

	while (!found && processes && (e = readdir(processes))) {
		ssize_t n = -1;
		int fd;

		if (e->d_name[0] < '0' || e->d_name[0] > '9')
			continue;
		(void)snprintf(path, sizeof(path), "/proc/%s/comm", e->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			n = file_read_all(fd, (uint8_t *)name, sizeof(name));
			(void)close(fd);
		}
		found = n == (ssize_t)strlen(program) + 1 &&
			strncmp(name, program, strlen(program)) == 0;
	}
	if (processes)
		(void)closedir(processes);
	return found;
}

int handover_bonds_idle(struct handover_tool *t)
{
	static const char bluez[] = "/var/lib/bluetooth"; /* compiled into it */

	if (strcmp(t->config.bluetooth_bonds, bluez) != 0 || !runs("bluetoothd"))
		return 0;
	return handover_say(t, -EBUSY,
			    "bluetoothd runs and would write over the bonds in %s: systemctl stop "
			    "bluetooth, then again",
			    bluez);
}
