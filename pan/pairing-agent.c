#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "pan/pairing-internal.h"

#define AGENT_PATH    "/pngw/agent"
#define MANAGER_PATH  "/org/bluez"
#define MANAGER       "org.bluez.AgentManager1"
#define REJECTED      "org.bluez.Error.Rejected"
#define PASSKEY_MAX   999999
#define RETRY_SECONDS 5

static int reject(sd_bus_message *m, const char *why)
{
	return sd_bus_reply_method_errorf(m, REJECTED, "%s", why);
}

/* "/org/bluez/hci0/dev_AA_BB_CC_DD_EE_FF" */
static bool address_of_path(const char *path, char address[BLUETOOTH_ADDRESS_SIZE])
{
	const char *name = strstr(path, "/dev_");

	if (!name || strlen(name + 5) != BLUETOOTH_ADDRESS_SIZE - 1)
		return false;
	for (size_t i = 0; i < BLUETOOTH_ADDRESS_SIZE; i++)
		address[i] = name[5 + i] == '_' ? ':' : name[5 + i];
	return bluetooth_address_valid(address);
}

/* The device that m is about; false: it is none that this agent may speak for. */
static bool device_of(const struct pairing *p, const char *path, struct bluez_device *out)
{
	const struct bluez_device *d = bluez_find(p->bluez, path);

	if (d) {
		*out = *d;
		return true;
	}
	memset(out, 0, sizeof(*out));
	if (!p->options.every_adapter || strlen(path) >= sizeof(out->path))
		return false;
	memcpy(out->path, path, strlen(path) + 1);
	return address_of_path(path, out->address);
}

/* The pairing that a question of BlueZ belongs to; NULL: the question has been rejected. */
static struct attempt *admit(struct pairing *p, sd_bus_message *m, struct bluez_device *d,
			     int *result)
{
	struct attempt *a;
	const char *path;

	*result = 1;
	if (!bluez_is_sender(p->bluez, m)) {
		*result = sd_bus_reply_method_errorf(m, SD_BUS_ERROR_ACCESS_DENIED,
						     "not from the Bluetooth daemon");
		return NULL;
	}
	if (sd_bus_message_read_basic(m, 'o', &path) < 0) {
		*result = sd_bus_reply_method_errorf(m, SD_BUS_ERROR_INVALID_ARGS, "no device");
		return NULL;
	}
	if (p->stopping || !device_of(p, path, d)) {
		*result = reject(m, "not for this agent");
		return NULL;
	}
	a = pairing_attempt(p, d->path);
	if (!a)
		a = pairing_attempt_theirs(p, d);
	if (!a) {
		*result = reject(m, "too many pairings");
		return NULL;
	}
	if (a->phase != ATTEMPT_THEIRS)
		return a;
	if (d->bonded) {
		*result = reject(m, "bonded already");
		pairing_finish(a, -ENOKEY,
			       "it is bonded here, but has forgotten that and wants to pair anew");
		return NULL;
	}
	if (p->options.policy == PAIRING_REFUSE) {
		*result = reject(m, "pairing is not allowed");
		pairing_finish(a, -EACCES,
			       "it wanted to pair by itself, which the configuration refuses");
		return NULL;
	}
	return a;
}

/* A person decides; m waits. The attempt may be gone afterwards. */
static int put(struct attempt *a, sd_bus_message *m, const struct bluez_device *d,
	       enum pairing_question question, const char *value)
{
	struct pairing *p = a->pairing;

	if (a->stands)
		pairing_withdraw(a);
	a->stands = true;
	a->question = question;
	a->ask = m ? sd_bus_message_ref(m) : NULL;
	(void)snprintf(a->value, sizeof(a->value), "%s", value ? value : "");
	a->deadline = pairing_in(p, pairing_question_seconds(p));
	pairing_arm(p);
	p->callbacks.question(p->arg, d, question, a->value[0] ? a->value : NULL);
	return 1;
}

static int accept_now(sd_bus_message *m)
{
	return sd_bus_reply_method_return(m, "");
}

static int request_pin(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct pairing *p = arg;
	struct bluez_device d;
	struct attempt *a;
	int r;

	(void)error;
	a = admit(p, m, &d, &r);
	if (!a)
		return r;
	a->secret_entered = true;
	if (p->pin[0] && (a->phase != ATTEMPT_THEIRS || p->options.policy == PAIRING_ACCEPT))
		return sd_bus_reply_method_return(m, "s", p->pin);
	return put(a, m, &d, PAIRING_ENTER_PIN, NULL);
}

static int request_passkey(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct pairing *p = arg;
	struct bluez_device d;
	struct attempt *a;
	int r;

	(void)error;
	a = admit(p, m, &d, &r);
	if (!a)
		return r;
	a->secret_entered = true;
	return put(a, m, &d, PAIRING_ENTER_PASSKEY, NULL);
}

static int show_pin(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct pairing *p = arg;
	struct bluez_device d;
	struct attempt *a;
	const char *pin;
	int r;

	(void)error;
	a = admit(p, m, &d, &r);
	if (!a)
		return r;
	r = sd_bus_message_read_basic(m, 's', &pin);
	if (r < 0)
		return r;
	/* BlueZ goes on only with the answer. */
	r = accept_now(m);
	a->secret_entered = true;
	(void)put(a, NULL, &d, PAIRING_SHOW_PIN, pin);
	return r;
}

static int show_passkey(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct pairing *p = arg;
	struct bluez_device d;
	struct attempt *a;
	uint32_t passkey;
	uint16_t entered;
	char text[16];
	int r;

	(void)error;
	a = admit(p, m, &d, &r);
	if (!a)
		return r;
	r = sd_bus_message_read(m, "uq", &passkey, &entered);
	if (r < 0)
		return r;
	r = accept_now(m);
	(void)snprintf(text, sizeof(text), "%06u", (unsigned)passkey);
	a->secret_entered = true;
	/* It comes again for every key that is pressed. */
	if (!a->stands || a->question != PAIRING_SHOW_PASSKEY || strcmp(a->value, text) != 0)
		(void)put(a, NULL, &d, PAIRING_SHOW_PASSKEY, text);
	return r;
}

static int request_confirmation(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct pairing *p = arg;
	struct bluez_device d;
	struct attempt *a;
	uint32_t passkey;
	char text[16];
	int r;

	(void)error;
	a = admit(p, m, &d, &r);
	if (!a)
		return r;
	r = sd_bus_message_read_basic(m, 'u', &passkey);
	if (r < 0)
		return r;
	(void)snprintf(text, sizeof(text), "%06u", (unsigned)passkey);
	return put(a, m, &d, PAIRING_CONFIRM, text);
}

static int request_authorization(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct pairing *p = arg;
	struct bluez_device d;
	struct attempt *a;
	int r;

	(void)error;
	a = admit(p, m, &d, &r);
	if (!a)
		return r;
	if (a->phase != ATTEMPT_THEIRS || p->options.policy == PAIRING_ACCEPT)
		return accept_now(m);
	return put(a, m, &d, PAIRING_AUTHORIZE, NULL);
}

/* BlueZ asks this only for devices that are not trusted. */
static int authorize_service(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct pairing *p = arg;
	struct bluez_device d;
	const char *path, *uuid;
	int r;

	(void)error;
	if (!bluez_is_sender(p->bluez, m))
		return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_ACCESS_DENIED,
						  "not from the Bluetooth daemon");
	r = sd_bus_message_read(m, "os", &path, &uuid);
	if (r < 0)
		return r;
	if (p->stopping || !device_of(p, path, &d))
		return reject(m, "not for this agent");
	if (strcasecmp(uuid, BLUETOOTH_UUID_GATEWAY) != 0 &&
	    strcasecmp(uuid, BLUETOOTH_UUID_PNE) != 0)
		return reject(m, "not a service of this agent");
	if (!d.bonded && !p->options.strangers)
		return reject(m, "not bonded");
	return accept_now(m);
}

static struct attempt *asked(struct pairing *p)
{
	struct attempt *a = p->attempts;

	while (a && !a->ask)
		a = a->next;
	return a;
}

/* BlueZ asks one question at a time, and no longer wants to know. */
static int cancelled(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct pairing *p = arg;
	struct attempt *a;
	int r;

	(void)error;
	if (!bluez_is_sender(p->bluez, m))
		return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_ACCESS_DENIED,
						  "not from the Bluetooth daemon");
	r = accept_now(m);
	a = asked(p);
	if (a && a->phase == ATTEMPT_THEIRS) {
		pairing_finish(a, -ECANCELED, "the device gave up, or waited too long");
	} else if (a) {
		a->deadline = pairing_in(p, RETRY_SECONDS);
		pairing_arm(p);
		pairing_withdraw(a);
	}
	return r;
}

static int released(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct pairing *p = arg;

	(void)error;
	if (!bluez_is_sender(p->bluez, m))
		return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_ACCESS_DENIED,
						  "not from the Bluetooth daemon");
	p->registered = false;
	p->register_at = pairing_in(p, RETRY_SECONDS);
	pairing_arm(p);
	return accept_now(m);
}

static const sd_bus_vtable methods[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Release", "", "", released, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("RequestPinCode", "o", "s", request_pin, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("DisplayPinCode", "os", "", show_pin, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("RequestPasskey", "o", "u", request_passkey, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("DisplayPasskey", "ouq", "", show_passkey, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("RequestConfirmation", "ou", "", request_confirmation,
		      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("RequestAuthorization", "o", "", request_authorization,
		      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("AuthorizeService", "os", "", authorize_service, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("Cancel", "", "", cancelled, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

/* Registration. */

static void try_again(struct pairing *p)
{
	p->registered = false;
	p->register_at = pairing_in(p, RETRY_SECONDS);
	pairing_arm(p);
}

static void agent_default(void *arg, int error, const char *name, const char *text,
			  sd_bus_message *reply)
{
	(void)name;
	(void)text;
	(void)reply;
	if (error != 0)
		try_again(arg);
}

static void agent_registered(void *arg, int error, const char *name, const char *text,
			     sd_bus_message *reply)
{
	struct pairing *p = arg;

	(void)name;
	(void)text;
	(void)reply;
	if (!p->registered)
		return;
	if ((error != 0 && error != -EALREADY) ||
	    bluez_call(p->bluez, 0, agent_default, p, MANAGER_PATH, MANAGER, "RequestDefaultAgent",
		       "o", AGENT_PATH) < 0)
		try_again(p);
}

void pairing_agent_state(struct pairing *p, enum bluez_state state)
{
	int r = 0;

	p->register_at = PAIRING_NEVER;
	if (state < BLUEZ_NO_ADAPTER)
		p->registered = false;
	if (state <= BLUEZ_NO_BUS)
		p->agent = sd_bus_slot_unref(p->agent);
	if (state < BLUEZ_NO_ADAPTER || p->registered || p->stopping)
		return;
	if (!p->agent)
		r = sd_bus_add_object_vtable(bluez_bus(p->bluez), &p->agent, AGENT_PATH,
					     "org.bluez.Agent1", methods, p);
	if (r >= 0)
		r = bluez_call(p->bluez, 0, agent_registered, p, MANAGER_PATH, MANAGER,
			       "RegisterAgent", "os", AGENT_PATH,
			       pairing_capability_name(p->options.capability));
	if (r >= 0)
		p->registered = true;
	else
		try_again(p);
}

void pairing_agent_stop(struct pairing *p)
{
	if (p->registered)
		(void)bluez_call(p->bluez, 0, NULL, NULL, MANAGER_PATH, MANAGER, "UnregisterAgent",
				 "o", AGENT_PATH);
	p->registered = false;
	p->agent = sd_bus_slot_unref(p->agent);
}
