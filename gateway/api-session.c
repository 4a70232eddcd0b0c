/* Session1: a PIN or passphrase gives a connection the rights of a role. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/pins.h"

#define SECRET_WAIT_MS 10000u

/* A Login or SetPin that goes on: first the pipe is read, then scrypt runs on a thread. */
struct attempt {
	uv_work_t work;
	struct gateway_api *api;
	sd_bus_message *m;
	char *client;
	uid_t uid;
	bool setting; /* a PIN; else a login */
	enum api_role role;
	bool highest;          /* no role above it has a PIN */
	struct secret *secret; /* NULL: empty */
	struct api_reader *reader;
	char path[CONFIG_TEXT_MAX];
	int result;
};

static struct api_client *client_of(const struct attempt *a)
{
	struct api_client *client = a->api->clients;

	while (client && strcmp(client->name, a->client) != 0)
		client = client->next;
	return client;
}

static void attempt_free(struct attempt *a)
{
	struct gateway_api *api = a->api;

	sd_bus_message_unref(a->m);
	secret_unref(a->secret);
	free(a->client);
	free(a);
	gateway_api_unhold(api);
}

/* False: the caller got an error. */
static bool may_try(struct gateway_api *api, sd_bus_message *m, const struct api_failures *f)
{
	uint64_t now = uv_now(api->loop);

	if (now < f->until) {
		gateway_api_error(m, "LockedOut",
				  "too many wrong PINs: the login is closed for %" PRIu64 " s",
				  (f->until - now + 999) / 1000);
		return false;
	}
	if (f->trying) {
		gateway_api_error(m, "Busy", "another login is being tried");
		return false;
	}
	return true;
}

static void was_wrong(struct gateway_api *api, sd_bus_message *m, struct api_failures *f)
{
	bool closed = gateway_api_failures_add(api, f);

	gateway_api_say(api, LOG_LEVEL_WARNING, "control bus: a wrong PIN of user id %lu%s",
			(unsigned long)f->uid, closed ? ", too many: its login is closed" : "");
	if (closed)
		(void)may_try(api, m, f);
	else
		gateway_api_error(m, "NotAuthorized", "that is not the PIN of a role");
}

static void attempt_work(uv_work_t *work)
{
	struct attempt *a = work->data;

	if (a->setting)
		a->result = gateway_pins_set(a->path, a->role, a->secret);
	else
		a->result = gateway_pins_check(a->path, a->secret, &a->role, &a->highest);
}

/* Who was asked about any pairing and may pair no more is not asked again by a later login. */
static void take_role(struct api_client *client, enum api_role role)
{
	client->role = role;
	if (!gateway_api_has(client, RIGHT_PAIR))
		client->agent_default = false;
}

static void login_ended(struct attempt *a)
{
	struct api_failures *f = gateway_api_failures_of(a->api, a->uid);
	struct api_client *client = client_of(a);

	f->trying = false;
	if (a->result == PINS_WRONG) {
		was_wrong(a->api, a->m, f);
	} else if (a->result == PINS_NONE) {
		gateway_api_error(a->m, "NotConfigured", "no role has a PIN: SetPin gives it one");
	} else if (a->result != 0) {
		gateway_api_errno(a->m, a->result);
	} else if (client) {
		/* Whoever could be guessing the PIN of a higher role goes on where he was. */
		if (a->highest)
			gateway_api_failures_forget(a->api, f);
		take_role(client, a->role);
		gateway_api_say(a->api, LOG_LEVEL_INFO, "control bus: user id %lu is %s",
				(unsigned long)a->uid, gateway_role_name(a->role));
		(void)sd_bus_reply_method_return(a->m, "s", gateway_role_name(a->role));
	}
}

static void setting_ended(struct attempt *a)
{
	if (a->result == PINS_TAKEN)
		gateway_api_error(a->m, "InvalidArguments", "another role has that PIN");
	else if (a->result == PINS_UNUSABLE)
		gateway_api_error(a->m, "InvalidArguments", "a PIN has 4 to 128 bytes of text");
	else if (a->result != 0)
		gateway_api_errno(a->m, a->result);
	else
		gateway_api_done(a->m);
}

static void attempt_done(uv_work_t *work, int status)
{
	struct attempt *a = work->data;

	if (status != 0)
		a->result = status;
	if (a->setting)
		a->api->pin_setting = false;
	if (a->api->stopping)
		gateway_api_error(a->m, "NotReady", "the PN GW stops");
	else if (a->setting)
		setting_ended(a);
	else
		login_ended(a);
	attempt_free(a);
}

static void secret_read(void *arg, int error, struct secret *secret)
{
	struct attempt *a = arg;

	a->reader = NULL;
	/* Two that change the file at once would undo each other's PIN. */
	if (error == 0 && a->setting && a->api->pin_setting) {
		gateway_api_error(a->m, "Busy", "another PIN is being set");
		attempt_free(a);
		return;
	}
	if (error == 0 && !a->api->stopping) {
		a->secret = secret_ref(secret);
		a->work.data = a;
		error = uv_queue_work(a->api->loop, &a->work, attempt_work, attempt_done);
		if (error == 0) {
			a->api->pin_setting = a->api->pin_setting || a->setting;
			return;
		}
	}
	if (!a->setting)
		gateway_api_failures_of(a->api, a->uid)->trying = false;
	gateway_api_error(a->m, "InvalidArguments", "the secret cannot be read: %s",
			  error ? strerror(-error) : "the PN GW stops");
	attempt_free(a);
}

static void attempt_begin(struct api_call *call, int fd, bool setting, enum api_role role)
{
	struct attempt *a = calloc(1, sizeof(*a));
	int r = -ENOMEM;

	if (!a) {
		gateway_api_errno(call->m, r);
		return;
	}
	a->api = call->api;
	a->m = sd_bus_message_ref(call->m);
	a->client = strdup(call->client->name);
	a->uid = call->client->uid;
	a->setting = setting;
	a->role = role;
	(void)gateway_pins_path(call->api->options.config, a->path, sizeof(a->path));
	gateway_api_hold(call->api);
	if (a->client)
		r = gateway_api_reader_new(call->api, fd, API_PASSWORD_MAX, SECRET_WAIT_MS,
					   secret_read, a, &a->reader);
	if (r == 0) {
		if (!setting)
			gateway_api_failures_of(call->api, a->uid)->trying = true;
		return;
	}
	if (r == -EBADF)
		gateway_api_error(call->m, "InvalidArguments", "the secret comes through a pipe");
	else
		gateway_api_errno(call->m, r);
	attempt_free(a);
}

void gateway_api_login(struct api_call *call)
{
	int fd;

	if (sd_bus_message_read_basic(call->m, 'h', &fd) <= 0) {
		gateway_api_error(call->m, "InvalidArguments", "the secret comes through a pipe");
		return;
	}
	if (gateway_api_read_options(call->m, NULL, 0) &&
	    may_try(call->api, call->m, gateway_api_failures_of(call->api, call->client->uid)))
		attempt_begin(call, fd, false, ROLE_OF_NOBODY);
}

void gateway_api_set_pin(struct api_call *call)
{
	enum api_role role;
	const char *name;
	int fd;

	if (!gateway_api_read_text(call->m, &name))
		return;
	role = gateway_role_of(name);
	if (role == ROLE_OF_NOBODY)
		gateway_api_error(call->m, "InvalidArguments",
				  "a role is viewer, technician or administrator");
	else if (sd_bus_message_read_basic(call->m, 'h', &fd) <= 0)
		gateway_api_error(call->m, "InvalidArguments", "the secret comes through a pipe");
	else
		attempt_begin(call, fd, true, role);
}

void gateway_api_logout(struct api_call *call)
{
	take_role(call->client, ROLE_OF_NOBODY);
	call->client->looked = false;
	gateway_api_done(call->m);
}

void gateway_api_who_am_i(struct api_call *call)
{
	static const enum api_right rights[API_RIGHTS] = {RIGHT_LOOK, RIGHT_PAIR, RIGHT_ASSIGN,
							  RIGHT_ADMINISTER};
	const struct api_client *client = call->client;
	const char *list[API_RIGHTS];
	struct api_writer w;
	size_t n = 0;

	for (size_t i = 0; i < API_RIGHTS; i++) {
		if (gateway_api_has(client, rights[i]))
			list[n++] = gateway_api_right_name(rights[i]);
	}
	gateway_api_reply_begin(&w, call->m);
	gateway_api_dict_begin(&w);
	gateway_api_text(&w, "Role", gateway_role_name(client->role));
	gateway_api_texts(&w, "Rights", list, n);
	gateway_api_dict_end(&w);
	gateway_api_send(&w);
}
