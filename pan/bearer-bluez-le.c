#include "pan/bearer-bluez-internal.h"

#include <bluetooth/bluetooth.h>
#include <bluetooth/l2cap.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pan/bluetooth-hci.h"

#define ADVERTISEMENT "org.bluez.LEAdvertisement1"
#define MANAGER       "org.bluez.LEAdvertisingManager1"
#define BACKLOG       4
#define MTU           2048 /* of what this side receives: larger than most messages */

#define AGAIN_MS 5000

/* Bound to the adapter. It is MEDIUM at least but for strangers: encrypted, or not connected. */
static int l2cap_socket(const char *adapter, uint8_t type, uint16_t psm, uint8_t level)
{
	const struct bt_security security = {.level = level};
	const uint16_t mtu = MTU;
	const struct sockaddr_l2 address = {
		.l2_family = AF_BLUETOOTH,
		.l2_psm = htobs(psm),
		.l2_bdaddr = bluetooth_bdaddr(adapter),
		.l2_bdaddr_type = type,
	};
	int fd = socket(AF_BLUETOOTH, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, BTPROTO_L2CAP);
	int rc;

	if (fd < 0)
		return -errno;
	/* It takes the MTU only when it is bound as one of LE. */
	if (setsockopt(fd, SOL_BLUETOOTH, BT_SECURITY, &security, sizeof(security)) == 0 &&
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
	    setsockopt(fd, SOL_BLUETOOTH, BT_RCVMTU, &mtu, sizeof(mtu)) == 0)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

/* Listening: a PNE. */

static void address_text(const bdaddr_t *address, char out[BLUETOOTH_ADDRESS_SIZE])
{
	const uint8_t *b = address->b;

	(void)snprintf(out, BLUETOOTH_ADDRESS_SIZE, "%02X:%02X:%02X:%02X:%02X:%02X", b[5], b[4],
		       b[3], b[2], b[1], b[0]);
}

/* fd is the link's, or closed. */
static void take(struct bluez_bearer *b, int fd, const bdaddr_t *from)
{
	char address[BLUETOOTH_ADDRESS_SIZE];
	const struct bluez_device *d;
	struct bluez_device unknown = {.path = ""};
	struct bearer_link *l;
	int rc;

	address_text(from, address);
	d = bluez_find(b->bluez, address);
	if (!d) {
		/* A stranger may come before BlueZ tells of it. */
		memcpy(unknown.address, address, sizeof(unknown.address));
		d = &unknown;
	}
	rc = bluez_bearer_admit(b, d, false, true);
	l = rc == 0 ? bluez_link_new(b, d, BLUETOOTH_LE, false) : NULL;
	if (!l) {
		close(fd);
		return;
	}
	rc = bluez_link_attach(l, fd, false);
	if (rc < 0)
		bluez_link_end(l, BEARER_DOWN_ERROR, rc);
	else
		bluez_link_ready(l);
}

static void on_incoming(uv_poll_t *poll, int status, int events)
{
	struct bluez_poll *p = poll->data;
	struct bluez_bearer *b = p->owner;
	struct sockaddr_l2 from;
	socklen_t size = sizeof(from);
	int fd;

	(void)events;
	memset(&from, 0, sizeof(from));
	fd = accept4(p->fd, (struct sockaddr *)&from, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0) {
		take(b, fd, &from.l2_bdaddr);
		return;
	}
	if (status < 0 || (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)) {
		bluez_bearer_note(b, "no longer listening over LE: %s", strerror(errno));
		bluez_poll_close(&b->listener);
		b->register_at = uv_now(b->loop) + AGAIN_MS;
		bluez_bearer_tick(b);
	}
}

static int listen_on(struct bluez_bearer *b)
{
	const char *adapter = bluez_adapter_address(b->bluez);
	int fd = l2cap_socket(adapter, BDADDR_LE_PUBLIC, b->psm,
			      b->strangers ? BT_SECURITY_LOW : BT_SECURITY_MEDIUM);

	if (fd < 0)
		return fd;
	if (listen(fd, BACKLOG) < 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	b->listener = bluez_poll_new(b, fd, on_incoming);
	return b->listener ? 0 : -ENOMEM;
}

/* Advertising. */

static int get_type(sd_bus *bus, const char *path, const char *interface, const char *property,
		    sd_bus_message *reply, void *arg, sd_bus_error *error)
{
	(void)bus;
	(void)path;
	(void)interface;
	(void)property;
	(void)arg;
	(void)error;
	return sd_bus_message_append(reply, "s", "peripheral");
}

static int get_discoverable(sd_bus *bus, const char *path, const char *interface,
			    const char *property, sd_bus_message *reply, void *arg,
			    sd_bus_error *error)
{
	(void)bus;
	(void)path;
	(void)interface;
	(void)property;
	(void)arg;
	(void)error;
	return sd_bus_message_append(reply, "b", 1);
}

static int get_uuids(sd_bus *bus, const char *path, const char *interface, const char *property,
		     sd_bus_message *reply, void *arg, sd_bus_error *error)
{
	const struct bluez_advertisement *a = arg;

	(void)bus;
	(void)path;
	(void)interface;
	(void)property;
	(void)error;
	if (a->with_psm)
		return sd_bus_message_append(reply, "as", 0);
	return sd_bus_message_append(reply, "as", 1, BLUETOOTH_UUID_PNE);
}

static int get_data(sd_bus *bus, const char *path, const char *interface, const char *property,
		    sd_bus_message *reply, void *arg, sd_bus_error *error)
{
	const struct bluez_advertisement *a = arg;

	(void)bus;
	(void)path;
	(void)interface;
	(void)property;
	(void)error;
	if (!a->with_psm)
		return sd_bus_message_append(reply, "a{sv}", 0);
	return sd_bus_message_append(reply, "a{sv}", 1, BLUETOOTH_UUID_PNE, "ay", 2,
				     a->owner->psm & 0xff, a->owner->psm >> 8);
}

static int get_includes(sd_bus *bus, const char *path, const char *interface, const char *property,
			sd_bus_message *reply, void *arg, sd_bus_error *error)
{
	const struct bluez_advertisement *a = arg;

	(void)bus;
	(void)path;
	(void)interface;
	(void)property;
	(void)error;
	if (a->with_psm)
		return sd_bus_message_append(reply, "as", 0);
	return sd_bus_message_append(reply, "as", 1, "local-name");
}

static int on_release(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct bluez_advertisement *a = arg;
	struct bluez_bearer *b = a->owner;

	if (!bluez_is_sender(b->bluez, m))
		return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED, "not bluetoothd");
	a->asked = false;
	b->register_at = uv_now(b->loop) + AGAIN_MS;
	bluez_bearer_tick(b);
	return sd_bus_reply_method_return(m, NULL);
}

static const sd_bus_vtable vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Release", "", "", on_release, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_PROPERTY("Type", "s", get_type, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Discoverable", "b", get_discoverable, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("ServiceUUIDs", "as", get_uuids, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("ServiceData", "a{sv}", get_data, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Includes", "as", get_includes, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_VTABLE_END,
};

static void on_registered(void *arg, int error, const char *name, const char *text,
			  sd_bus_message *reply)
{
	struct bluez_advertisement *a = arg;
	struct bluez_bearer *b = a->owner;

	(void)name;
	(void)reply;
	if (error == 0 || error == -EALREADY)
		return;
	a->asked = false;
	if (error == -ECANCELED || error == -ENOTCONN)
		return;
	bluez_bearer_note(b, "BlueZ does not advertise over LE: %s",
			  text && text[0] != '\0' ? text : bearer_bluez_error_text(error));
	b->register_at = uv_now(b->loop) + AGAIN_MS;
	bluez_bearer_tick(b);
}

static int advertise(struct bluez_advertisement *a)
{
	struct bluez_bearer *b = a->owner;
	const char *adapter = bluez_adapter(b->bluez);
	int rc = 0;

	if (!a->object)
		rc = sd_bus_add_object_vtable(bluez_bus(b->bluez), &a->object, a->path,
					      ADVERTISEMENT, vtable, a);
	if (rc < 0)
		return rc;
	/* One that outlived the adapter's power is no longer on the air: made anew. */
	(void)bluez_call(b->bluez, 0, NULL, NULL, adapter, MANAGER, "UnregisterAdvertisement", "o",
			 a->path);
	return bluez_call(b->bluez, 0, on_registered, a, adapter, MANAGER, "RegisterAdvertisement",
			  "oa{sv}", a->path, 0);
}

void bluez_le_begin(struct bluez_bearer *b)
{
	if (!b->le || b->gateway || b->state != BLUEZ_READY)
		return;
	if (!b->listener) {
		int rc = listen_on(b);

		if (rc < 0) {
			bluez_bearer_note(b, "cannot listen over LE: %s", strerror(-rc));
			b->register_at = uv_now(b->loop) + AGAIN_MS;
			bluez_bearer_tick(b);
		}
	}
	for (size_t i = 0; i < sizeof(b->advertisements) / sizeof(b->advertisements[0]); i++) {
		struct bluez_advertisement *a = &b->advertisements[i];
		int rc;

		/* The default PSM goes without saying. */
		if (a->asked || (a->with_psm && b->psm == BLUETOOTH_LE_PSM))
			continue;
		a->asked = true;
		rc = advertise(a);
		if (rc < 0)
			on_registered(a, rc, NULL, strerror(-rc), NULL);
	}
}

void bluez_le_end(struct bluez_bearer *b)
{
	bluez_poll_close(&b->listener);
	for (size_t i = 0; i < sizeof(b->advertisements) / sizeof(b->advertisements[0]); i++)
		b->advertisements[i].asked = false;
}

void bluez_le_lost(struct bluez_bearer *b)
{
	for (size_t i = 0; i < sizeof(b->advertisements) / sizeof(b->advertisements[0]); i++)
		b->advertisements[i].object = sd_bus_slot_unref(b->advertisements[i].object);
}

void bluez_le_stop(struct bluez_bearer *b)
{
	const char *adapter = bluez_adapter(b->bluez);

	for (size_t i = 0; i < sizeof(b->advertisements) / sizeof(b->advertisements[0]); i++) {
		struct bluez_advertisement *a = &b->advertisements[i];

		bluez_forget(b->bluez, a);
		/* Best effort: BlueZ forgets it too when the connection to the bus ends. */
		if (a->asked && adapter)
			(void)bluez_call(b->bluez, 0, NULL, NULL, adapter, MANAGER,
					 "UnregisterAdvertisement", "o", a->path);
	}
	bluez_le_end(b);
	bluez_le_lost(b);
}

void bluez_le_init(struct bluez_bearer *b)
{
	b->advertisements[0] = (struct bluez_advertisement){
		.owner = b, .path = "/org/cpns/advertisement/service", .with_psm = false};
	b->advertisements[1] = (struct bluez_advertisement){
		.owner = b, .path = "/org/cpns/advertisement/psm", .with_psm = true};
}

/* Connecting: a PN GW. */

/* What to demand of the kernel: as much as the bond can give. */
static uint8_t wanted_security(const struct bluez_bearer *b, const char *adapter,
			       const struct bluez_device *d)
{
	struct bluetooth_bond bond;

	if (!d->bonded)
		return BT_SECURITY_LOW;
	if (bluetooth_bond_read(b->bonds, adapter, d->address, BLUETOOTH_LE, &bond) == 0 &&
	    bond.key == BLUETOOTH_KEY_AUTHENTICATED)
		return BT_SECURITY_HIGH;
	return BT_SECURITY_MEDIUM;
}

static int start_connecting(const struct bluez_bearer *b, const struct bluez_device *d)
{
	const char *adapter = bluez_adapter_address(b->bluez);
	const struct sockaddr_l2 to = {
		.l2_family = AF_BLUETOOTH,
		.l2_psm = htobs(d->psm != 0 ? d->psm : BLUETOOTH_LE_PSM),
		.l2_bdaddr = bluetooth_bdaddr(d->address),
		.l2_bdaddr_type = d->random_address ? BDADDR_LE_RANDOM : BDADDR_LE_PUBLIC,
	};
	/* The kernel finds an adapter by its address and its kind, of which BlueZ tells one. */
	static const uint8_t types[] = {BDADDR_LE_PUBLIC, BDADDR_LE_RANDOM};
	int rc = -EHOSTUNREACH;

	for (size_t i = 0; i < sizeof(types) && rc == -EHOSTUNREACH; i++) {
		int fd = l2cap_socket(adapter, types[i], 0, wanted_security(b, adapter, d));

		if (fd < 0)
			return fd;
		if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0 ||
		    errno == EINPROGRESS)
			return fd;
		rc = -errno;
		close(fd);
	}
	return rc;
}

int bluez_le_connect(struct bluez_bearer *b, const struct bluez_device *d)
{
	struct bearer_link *l = bluez_link_new(b, d, BLUETOOTH_LE, false);
	int rc;

	if (!l)
		return -ENOMEM;
	rc = start_connecting(b, d);
	if (rc >= 0)
		rc = bluez_link_attach(l, rc, true);
	if (rc < 0) {
		bluez_link_end(l, BEARER_DOWN_ERROR, rc);
		return rc;
	}
	l->phase = BLUEZ_LINK_CONNECTING;
	l->deadline = uv_now(b->loop) + BEARER_BLUEZ_SECONDS * 1000u;
	bluez_bearer_tick(b);
	return 0;
}
