#include "pan/bearer-bluez-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PROFILE      "org.bluez.Profile1"
#define MANAGER      "org.bluez.ProfileManager1"
#define REJECTED     "org.bluez.Error.Rejected"
#define VERSION      0x0100 /* of the service, as its record tells */
#define AGAIN_MS     5000
#define CALL_SECONDS (BEARER_BLUEZ_SECONDS + 10)

/* A descriptor that BlueZ hands over for a stream with the device of this path. */
static int take(struct bluez_profile *p, const char *path, int fd)
{
	struct bluez_bearer *b = p->owner;
	const char *adapter = bluez_adapter(b->bluez);
	const struct bluez_device *d = bluez_find(b->bluez, path);
	/* Who connects to whom: the profile's server is on the side that was connected to. */
	bool pne_opened = p->server == b->gateway;
	struct bearer_link *l = NULL;
	int rc;

	if (!d || !adapter || strncmp(path, adapter, strlen(adapter)) != 0 ||
	    path[strlen(adapter)] != '/')
		return -ENOENT;
	rc = bluez_bearer_admit(b, d, pne_opened, p->server);
	if (rc < 0)
		return rc;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	if (!p->server)
		l = bluez_link_of(b, path, BLUEZ_LINK_CONNECTING);
	if (!l)
		l = bluez_link_new(b, d, BLUETOOTH_RFCOMM, pne_opened);
	if (!l) {
		close(fd);
		return -ENOMEM;
	}
	rc = bluez_link_attach(l, fd, false);
	if (rc < 0)
		bluez_link_end(l, BEARER_DOWN_ERROR, rc);
	else
		bluez_link_ready(l);
	return rc;
}

static int on_new_connection(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct bluez_profile *p = arg;
	const char *path;
	int fd, rc;

	if (!bluez_is_sender(p->owner->bluez, m))
		return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED, "not bluetoothd");
	rc = sd_bus_message_read(m, "oh", &path, &fd);
	if (rc < 0)
		return rc;
	rc = take(p, path, fd);
	if (rc < 0)
		return sd_bus_error_set(error, REJECTED, bearer_bluez_error_text(rc));
	return sd_bus_reply_method_return(m, NULL);
}

static int on_request_disconnection(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct bluez_profile *p = arg;
	struct bearer_link *l;
	const char *path;
	int rc;

	if (!bluez_is_sender(p->owner->bluez, m))
		return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED, "not bluetoothd");
	rc = sd_bus_message_read(m, "o", &path);
	if (rc < 0)
		return rc;
	l = bluez_link_of(p->owner, path, BLUEZ_LINK_UP);
	if (l && l->transport == BLUETOOTH_RFCOMM)
		bluez_link_end(l, BEARER_DOWN_PEER, 0);
	return sd_bus_reply_method_return(m, NULL);
}

/* BlueZ has taken the profile out: when it is not about to end, it is told again. */
static int on_release(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct bluez_profile *p = arg;
	struct bluez_bearer *b = p->owner;

	if (!bluez_is_sender(b->bluez, m))
		return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED, "not bluetoothd");
	p->asked = false;
	b->register_at = uv_now(b->loop) + AGAIN_MS;
	bluez_bearer_tick(b);
	return sd_bus_reply_method_return(m, NULL);
}

static const sd_bus_vtable vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("NewConnection", "oha{sv}", "", on_new_connection,
		      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("RequestDisconnection", "o", "", on_request_disconnection,
		      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("Release", "", "", on_release, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

static void on_registered(void *arg, int error, const char *name, const char *text,
			  sd_bus_message *reply)
{
	struct bluez_profile *p = arg;
	struct bluez_bearer *b = p->owner;

	(void)name;
	(void)reply;
	if (error == 0 || error == -EALREADY)
		return;
	p->asked = false;
	if (error == -ECANCELED || error == -ENOTCONN)
		return;
	bluez_bearer_note(b, "BlueZ does not take the service %s: %s", p->name,
			  text && text[0] != '\0' ? text : bearer_bluez_error_text(error));
	b->register_at = uv_now(b->loop) + AGAIN_MS;
	bluez_bearer_tick(b);
}

static int append_options(const struct bluez_profile *p, sd_bus_message *m)
{
	int rc = sd_bus_message_append(m, "os", p->path, p->uuid);

	if (rc >= 0)
		rc = sd_bus_message_open_container(m, 'a', "{sv}");
	if (rc >= 0)
		rc = sd_bus_message_append(m, "{sv}{sv}{sv}{sv}{sv}", "Name", "s", p->name, "Role",
					   "s", p->server ? "server" : "client", "AutoConnect", "b",
					   0, "RequireAuthentication", "b", !p->owner->strangers,
					   "RequireAuthorization", "b", 0);
	/* Channel 0 is one of BlueZ's choice; without it a server has none. */
	if (rc >= 0 && p->server)
		rc = sd_bus_message_append(m, "{sv}{sv}", "Channel", "q", 0, "Version", "q",
					   VERSION);
	if (rc >= 0)
		rc = sd_bus_message_close_container(m);
	return rc;
}

static int register_one(struct bluez_profile *p)
{
	struct bluez_bearer *b = p->owner;
	sd_bus_message *m = NULL;
	int rc = 0;

	if (!p->object)
		rc = sd_bus_add_object_vtable(bluez_bus(b->bluez), &p->object, p->path, PROFILE,
					      vtable, p);
	if (rc >= 0)
		rc = bluez_message(b->bluez, "/org/bluez", MANAGER, "RegisterProfile", &m);
	if (rc < 0)
		return rc;
	rc = append_options(p, m);
	if (rc < 0) {
		sd_bus_message_unref(m);
		return rc;
	}
	return bluez_send(b->bluez, m, 0, on_registered, p);
}

void bluez_profiles_register(struct bluez_bearer *b)
{
	if (b->state < BLUEZ_OFF || (b->le && !b->gateway))
		return;
	for (size_t i = 0; i < sizeof(b->profiles) / sizeof(b->profiles[0]); i++) {
		struct bluez_profile *p = &b->profiles[i];
		int rc;

		if (p->asked)
			continue;
		p->asked = true;
		rc = register_one(p);
		if (rc < 0)
			on_registered(p, rc, NULL, strerror(-rc), NULL);
	}
}

void bluez_profiles_lost(struct bluez_bearer *b)
{
	for (size_t i = 0; i < sizeof(b->profiles) / sizeof(b->profiles[0]); i++) {
		b->profiles[i].asked = false;
		if (b->state <= BLUEZ_NO_BUS)
			b->profiles[i].object = sd_bus_slot_unref(b->profiles[i].object);
	}
	b->register_at = 0;
}

void bluez_profiles_stop(struct bluez_bearer *b)
{
	for (size_t i = 0; i < sizeof(b->profiles) / sizeof(b->profiles[0]); i++) {
		struct bluez_profile *p = &b->profiles[i];

		bluez_forget(b->bluez, p);
		/* Best effort: BlueZ forgets it too when the connection to the bus ends. */
		if (p->asked)
			(void)bluez_call(b->bluez, 0, NULL, NULL, "/org/bluez", MANAGER,
					 "UnregisterProfile", "o", p->path);
		p->asked = false;
		p->object = sd_bus_slot_unref(p->object);
	}
}

void bluez_profiles_init(struct bluez_bearer *b)
{
	b->profiles[0] = (struct bluez_profile){
		.owner = b,
		.path = "/org/cpns/server",
		.uuid = b->gateway ? BLUETOOTH_UUID_GATEWAY : BLUETOOTH_UUID_PNE,
		.name = b->gateway ? "CPNS PN GW" : "CPNS PNE",
		.server = true,
	};
	b->profiles[1] = (struct bluez_profile){
		.owner = b,
		.path = "/org/cpns/client",
		.uuid = b->gateway ? BLUETOOTH_UUID_PNE : BLUETOOTH_UUID_GATEWAY,
		.name = b->gateway ? "CPNS PNE" : "CPNS PN GW",
		.server = false,
	};
}

static void on_connect_done(void *arg, int error, const char *name, const char *text,
			    sd_bus_message *reply)
{
	struct bearer_link *l = arg;

	(void)name;
	(void)reply;
	if (l->phase != BLUEZ_LINK_CONNECTING)
		return;
	if (bluez_link_of(l->owner, l->path, BLUEZ_LINK_UP))
		error = -EISCONN;
	else if (error == 0)
		error = -EIO;
	/* The kernel and BlueZ call an authentication that failed a refusal. */
	bluez_bearer_hear(l->owner);
	if (error == -EACCES && l->bonded && l->unproven)
		error = -ENOKEY;
	if (text && text[0] != '\0' && error != -EISCONN)
		(void)snprintf(l->why, sizeof(l->why), "%s (%s)", bearer_bluez_error_text(error),
			       text);
	bluez_link_end(l, BEARER_DOWN_PEER, error);
}

int bluez_profile_connect(struct bluez_bearer *b, const struct bluez_device *d)
{
	struct bearer_link *l = bluez_link_new(b, d, BLUETOOTH_RFCOMM, !b->gateway);
	int rc;

	if (!l)
		return -ENOMEM;
	rc = bluez_call(b->bluez, CALL_SECONDS, on_connect_done, l, d->path, "org.bluez.Device1",
			"ConnectProfile", "s", b->profiles[1].uuid);
	if (rc < 0) {
		bluez_link_end(l, BEARER_DOWN_ERROR, rc);
		return rc;
	}
	l->phase = BLUEZ_LINK_CONNECTING;
	l->deadline = uv_now(b->loop) + BEARER_BLUEZ_SECONDS * 1000u;
	bluez_bearer_tick(b);
	return 0;
}
