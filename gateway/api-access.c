/* Who calls, and what they may do. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DBUS      "org.freedesktop.DBus"
#define DBUS_PATH "/org/freedesktop/DBus"

#define POLKIT           "org.freedesktop.PolicyKit1"
#define POLKIT_PATH      "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_AUTHORITY "org.freedesktop.PolicyKit1.Authority"
#define POLKIT_INTERACT  1u
#define POLKIT_WAIT      (UINT64_C(300) * 1000000) /* us; a person may be asked for a password */

#define CLIENTS_MAX 1024
#define CALLS_MAX   32 /* of one client that wait for their right */

static const struct right {
	enum api_right right;
	const char *name, *action;
} rights[API_RIGHTS] = {
	{RIGHT_LOOK, "look", "org.pngw.look"},
	{RIGHT_PAIR, "pair", "org.pngw.pair"},
	{RIGHT_ASSIGN, "assign", "org.pngw.assign"},
	{RIGHT_ADMINISTER, "administer", "org.pngw.administer"},
};

static const struct right *right_of(enum api_right right)
{
	for (size_t i = 0; i < API_RIGHTS; i++) {
		if (rights[i].right == right)
			return &rights[i];
	}
	return &rights[API_RIGHTS - 1];
}

const char *gateway_api_right_name(enum api_right right)
{
	return right_of(right)->name;
}

unsigned gateway_api_role_rights(enum api_role role)
{
	switch (role) {
	case ROLE_OF_NOBODY:
		return 0;
	case ROLE_VIEWER:
		return RIGHT_LOOK;
	case ROLE_TECHNICIAN:
		return RIGHT_LOOK | RIGHT_PAIR | RIGHT_ASSIGN;
	case ROLE_ADMINISTRATOR:
		return RIGHT_LOOK | RIGHT_PAIR | RIGHT_ASSIGN | RIGHT_ADMINISTER;
	}
	return 0;
}

bool gateway_api_has(const struct api_client *client, enum api_right right)
{
	return right == RIGHT_NONE || client->trusted ||
	       (gateway_api_role_rights(client->role) & (unsigned)right) != 0;
}

static void call_free(struct api_call *call)
{
	sd_bus_slot_unref(call->polkit);
	sd_bus_message_unref(call->m);
	free(call);
}

/* Takes the call out of those that wait. */
static void call_take(struct api_call *call)
{
	struct api_call **at = &call->client->calls;

	while (*at && *at != call)
		at = &(*at)->next;
	if (*at)
		*at = call->next;
}

static void client_free(struct api_client *client)
{
	sd_bus_slot_unref(client->watch);
	sd_bus_slot_unref(client->credentials);
	free(client->agent);
	free(client->name);
	free(client);
}

static void client_gone(struct api_client *client)
{
	struct gateway_api *api = client->api;
	struct api_client **at = &api->clients;

	while (*at != client)
		at = &(*at)->next;
	*at = client->next;
	api->client_count--;
	while (client->calls) {
		struct api_call *call = client->calls;

		client->calls = call->next;
		call_free(call);
	}
	gateway_api_procedures_client_gone(api, client);
	client_free(client);
}

void gateway_api_clients_end(struct gateway_api *api)
{
	while (api->clients)
		client_gone(api->clients);
}

static struct api_client *client_of(struct gateway_api *api, const char *name)
{
	struct api_client *client = api->clients;

	while (client && strcmp(client->name, name) != 0)
		client = client->next;
	return client;
}

static void carry_out(struct api_call *call)
{
	struct gateway_api *api = call->api;

	if (api->stopping)
		gateway_api_error(call->m, "NotReady", "the PN GW stops");
	else if (call->method->when == WHEN_READY && !api->core)
		gateway_api_error(call->m, "NotReady", "the vault is being opened");
	else
		call->method->carry_out(call);
}

static void refuse(struct api_call *call, enum api_right right)
{
	gateway_api_error(call->m, "NotAuthorized", "the right to %s is missing",
			  gateway_api_right_name(right));
}

/* False: there is no such procedure, and the caller knows. */
static bool right_needed(struct api_call *call, enum api_right *out)
{
	struct api_procedure *p;

	*out = call->method->right;
	if (*out != RIGHT_OF_PROCEDURE)
		return true;
	p = gateway_api_procedure_at(call->api, sd_bus_message_get_path(call->m));
	if (!p) {
		gateway_api_error(call->m, "NotFound", "there is no such procedure");
		return false;
	}
	*out = strcmp(p->owner, call->client->name) == 0 ? RIGHT_NONE : p->right;
	return true;
}

static int polkit_answered(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct api_call *call = userdata;
	struct api_client *client = call->client;
	int authorized = 0, challenge = 0;
	enum api_right right;

	(void)error;
	call_take(call);
	/* Where there is no polkit nobody is granted anything by it. */
	if (!sd_bus_message_is_method_error(m, NULL) &&
	    (sd_bus_message_enter_container(m, 'r', "bba{ss}") < 0 ||
	     sd_bus_message_read(m, "bb", &authorized, &challenge) < 0))
		authorized = 0;
	if (right_needed(call, &right)) {
		if (authorized && right == RIGHT_LOOK)
			client->looked = true;
		if (authorized)
			carry_out(call);
		else
			refuse(call, right);
	}
	call_free(call);
	return 0;
}

static int ask_polkit(struct api_call *call, enum api_right right)
{
	sd_bus_message *m = NULL;
	bool interactive = sd_bus_message_get_allow_interactive_authorization(call->m) > 0;
	int r = sd_bus_message_new_method_call(call->api->connection, &m, POLKIT, POLKIT_PATH,
					       POLKIT_AUTHORITY, "CheckAuthorization");

	if (r >= 0)
		r = sd_bus_message_append(m, "(sa{sv})sa{ss}us", "system-bus-name", 1, "name", "s",
					  call->client->name, right_of(right)->action, 0,
					  interactive ? POLKIT_INTERACT : 0, "");
	if (r >= 0)
		r = sd_bus_call_async(call->api->connection, &call->polkit, m, polkit_answered,
				      call, POLKIT_WAIT);
	sd_bus_message_unref(m);
	return r;
}

/* The client is known: the call is carried out, refused, or waits for polkit. */
static void judge(struct api_call *call)
{
	struct api_client *client = call->client;
	enum api_right right;

	if (!right_needed(call, &right)) {
		call_take(call);
		call_free(call);
		return;
	}
	if (!gateway_api_has(client, right)) {
		if (ask_polkit(call, right) >= 0)
			return;
		call_take(call);
		refuse(call, right);
		call_free(call);
		return;
	}
	call_take(call);
	if (right == RIGHT_LOOK)
		client->looked = true;
	carry_out(call);
	call_free(call);
}

static uint32_t uid_in(sd_bus_message *m)
{
	uint32_t uid = UINT32_MAX;

	if (sd_bus_message_is_method_error(m, NULL) ||
	    sd_bus_message_enter_container(m, 'a', "{sv}") < 0)
		return uid;
	while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
		const char *key = "";

		if (sd_bus_message_read_basic(m, 's', (void *)&key) < 0)
			return UINT32_MAX;
		if (strcmp(key, "UnixUserID") == 0)
			(void)sd_bus_message_read(m, "v", "u", &uid);
		else
			(void)sd_bus_message_skip(m, "v");
		(void)sd_bus_message_exit_container(m);
	}
	return uid;
}

static int identified(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct api_client *client = userdata;
	struct api_call *call, *next;

	(void)error;
	client->uid = uid_in(m);
	if (client->uid == UINT32_MAX) {
		/* It has gone already, or the bus does not say: then it is nobody. */
		client_gone(client);
		return 0;
	}
	client->identified = true;
	client->trusted = client->uid == 0 || client->uid == geteuid();
	for (call = client->calls; call; call = next) {
		next = call->next;
		judge(call);
	}
	return 0;
}

static int owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct api_client *client = userdata;
	const char *name = "", *before = "", *after = "";

	(void)error;
	if (sd_bus_message_read(m, "sss", &name, &before, &after) >= 0 && after[0] == '\0')
		client_gone(client);
	return 0;
}

static struct api_client *client_new(struct gateway_api *api, const char *name)
{
	struct api_client *client = calloc(1, sizeof(*client));
	char match[256];
	int r = -ENOMEM;

	if (!client)
		return NULL;
	client->api = api;
	client->name = strdup(name);
	(void)snprintf(match, sizeof(match),
		       "type='signal',sender='" DBUS "',path='" DBUS_PATH "',interface='" DBUS
		       "',member='NameOwnerChanged',arg0='%s'",
		       name);
	if (client->name)
		r = sd_bus_add_match_async(api->connection, &client->watch, match, owner_changed,
					   NULL, client);
	/* After the match: who has gone before it was there is unknown here. */
	if (r >= 0)
		r = sd_bus_call_method_async(api->connection, &client->credentials, DBUS, DBUS_PATH,
					     DBUS, "GetConnectionCredentials", identified, client,
					     "s", name);
	if (r < 0) {
		client_free(client);
		return NULL;
	}
	client->next = api->clients;
	api->clients = client;
	api->client_count++;
	return client;
}

int gateway_api_take(struct gateway_api *api, sd_bus_message *m, const struct api_method *method)
{
	const char *name = sd_bus_message_get_sender(m);
	struct api_client *client = name ? client_of(api, name) : NULL;
	struct api_call *call, **at;
	size_t waiting = 0;

	if (!client && name && api->client_count < CLIENTS_MAX)
		client = client_new(api, name);
	call = client ? calloc(1, sizeof(*call)) : NULL;
	if (!call) {
		gateway_api_error(m, "Busy", "there are too many clients");
		return 1;
	}
	call->api = api;
	call->client = client;
	call->method = method;
	call->m = sd_bus_message_ref(m);
	for (at = &client->calls; *at; at = &(*at)->next)
		waiting++;
	if (waiting >= CALLS_MAX) {
		gateway_api_error(m, "Busy", "too many calls wait for their authorization");
		call_free(call);
		return 1;
	}
	*at = call;
	if (client->identified)
		judge(call);
	return 1;
}

int gateway_api_may_read(struct gateway_api *api, sd_bus_message *m, sd_bus_error *error)
{
	const char *name = m ? sd_bus_message_get_sender(m) : NULL;
	const struct api_client *client = name ? client_of(api, name) : NULL;

	if (api->emitting)
		return 0;
	if (client && client->identified && (client->looked || gateway_api_has(client, RIGHT_LOOK)))
		return 0;
	return sd_bus_error_set(error, "org.pngw.Error.NotAuthorized",
				"the right to look is missing: call GetStatus first");
}
