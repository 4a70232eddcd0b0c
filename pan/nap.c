#include "pan/nap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pan/bridge.h"

#define INTERFACE "org.bluez.NetworkServer1"

struct nap {
	struct bluez *bluez;
	struct bluez_watcher watcher;
	struct bridge *bridge;
	char name[BRIDGE_NAME_SIZE];
	void (*note)(void *arg, bool warning, const char *text);
	void *arg;
	bool asked; /* BlueZ was told, or is being told */
	char status[200];
};

static void registered(void *arg, int error, const char *name, const char *text,
		       sd_bus_message *reply)
{
	struct nap *n = arg;
	char line[256];

	(void)name;
	(void)reply;
	if (error == 0) {
		(void)snprintf(n->status, sizeof(n->status), "offered, bridge %s", n->name);
		(void)snprintf(line, sizeof(line),
			       "Network Access Point: offered with the bridge %s", n->name);
		n->note(n->arg, false, line);
		return;
	}
	/* Without bluetoothd: the next state asks again. */
	if (error == -ECANCELED || error == -ENOTCONN)
		return;
	(void)snprintf(n->status, sizeof(n->status), "not offered: %s",
		       error == -EALREADY ? "another program offers one on this adapter"
		       : text[0]          ? text
					  : strerror(-error));
	(void)snprintf(line, sizeof(line), "Network Access Point: %s", n->status);
	n->note(n->arg, true, line);
}

static void state_changed(struct bluez_watcher *w, enum bluez_state state)
{
	struct nap *n = (struct nap *)(void *)((char *)w - offsetof(struct nap, watcher));
	int r;

	if (state < BLUEZ_OFF) {
		n->asked = false;
		(void)snprintf(n->status, sizeof(n->status), "not offered: %s",
			       bluez_state_text(state));
		return;
	}
	if (n->asked)
		return;
	n->asked = true;
	r = bluez_call(n->bluez, 0, registered, n, bluez_adapter(n->bluez), INTERFACE, "Register",
		       "ss", "nap", n->name);
	if (r != 0)
		registered(n, r, "", "", NULL);
}

int nap_new(struct bluez *bluez, const char *bridge, const char *address,
	    void (*note)(void *arg, bool warning, const char *text), void *arg, struct nap **out)
{
	struct nap *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return -ENOMEM;
	r = bridge_make(bridge, address, &n->bridge);
	if (r != 0) {
		free(n);
		return r;
	}
	(void)snprintf(n->name, sizeof(n->name), "%s", bridge);
	n->bluez = bluez;
	n->note = note;
	n->arg = arg;
	n->watcher.state = state_changed;
	bluez_watch(bluez, &n->watcher);
	*out = n;
	return 0;
}

const char *nap_status(const struct nap *n)
{
	return n->status;
}

void nap_stop(struct nap *n)
{
	if (!n)
		return;
	bluez_unwatch(n->bluez, &n->watcher);
	bluez_forget(n->bluez, n);
	if (n->asked && bluez_adapter(n->bluez))
		(void)bluez_call(n->bluez, 0, NULL, NULL, bluez_adapter(n->bluez), INTERFACE,
				 "Unregister", "s", "nap");
	bridge_remove(n->bridge);
	free(n);
}
