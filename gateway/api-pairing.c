/* Bluetooth1: what pairings ask, and the agents and calls that answer. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ANSWER_WAIT_MS 10000u

static const char *const question_names[] = {
	[PAIRING_AUTHORIZE] = "authorize", [PAIRING_CONFIRM] = "compare",
	[PAIRING_ENTER_PIN] = "enter-pin", [PAIRING_ENTER_PASSKEY] = "enter-passkey",
	[PAIRING_SHOW_PIN] = "show-pin",   [PAIRING_SHOW_PASSKEY] = "show-passkey",
};

/* A question of a pairing that an agent was asked. */
struct asked {
	struct asked *next;
	struct api_pairings *owner;
	struct api_question question;
	char address[BLUETOOTH_ADDRESS_SIZE];
};

/* A call of Answer whose pipe is being read. */
struct answering {
	struct answering *next;
	struct api_pairings *owner;
	sd_bus_message *m;
	struct api_reader *reader;
	char address[BLUETOOTH_ADDRESS_SIZE];
};

struct api_pairings {
	struct gateway_bluetooth_listener listener;
	struct bluez_watcher watcher;
	struct gateway_api *api;
	struct asked *asked;
	struct answering *answering;
};

static struct pairing *pairing_of(struct api_pairings *o)
{
	return gateway_bluetooth_pairing(o->api->bluetooth);
}

/* As pairing_answer(), with what may be a secret. */
static int give_answer(struct api_pairings *o, const char *address, struct secret *secret)
{
	struct bytes text = secret ? secret_bytes(secret) : BYTES_NONE;
	SCOPED_SECRET *room = NULL;

	if (text.size == 0 || text.size >= PAIRING_PIN_SIZE || memchr(text.data, '\0', text.size))
		return -EINVAL;
	room = secret_new(PAIRING_PIN_SIZE);
	if (!room)
		return -ENOMEM;
	memcpy(secret_buffer(room), text.data, text.size);
	return pairing_answer(pairing_of(o), address, (const char *)secret_buffer(room));
}

static void asked_free(struct asked *a, const char *why)
{
	struct asked **at = &a->owner->asked;

	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	gateway_api_question_drop(&a->question, why);
	free(a);
}

static void answered(void *arg, int error, const char *why, struct secret *secret, bool yes)
{
	struct asked *a = arg;
	struct api_pairings *o = a->owner;
	char address[BLUETOOTH_ADDRESS_SIZE];
	char expects = a->question.expects;
	int r = 0;

	memcpy(address, a->address, sizeof(address));
	asked_free(a, "");
	if (!o->api->bluetooth)
		return;
	if (error == 0 && expects == 'h')
		r = give_answer(o, address, secret);
	else if (error == 0 && expects == 'b')
		r = pairing_answer(pairing_of(o), address, yes ? "yes" : "no");
	if (error != 0)
		gateway_api_say(o->api, LOG_LEVEL_WARNING, "control bus: pairing with %s: %s",
				address, why);
	/* Whoever does not answer, or not what was asked, refuses; what is only shown goes on. */
	if ((error != 0 && expects != 0) || (r != 0 && r != -ENOENT))
		(void)pairing_answer(pairing_of(o), address, "no");
}

/* The agent of who began this pairing; else one for whatever there is, while he may pair. */
static const struct api_client *whom_to_ask(struct gateway_api *api, const char *address)
{
	for (const struct api_procedure *p = api->procedures; p; p = p->next) {
		if (p->state == API_RUNNING && strcmp(p->kind, "pair") == 0 &&
		    strcasecmp(p->label, address) == 0 && p->client && p->client->agent)
			return p->client;
	}
	for (const struct api_client *c = api->clients; c; c = c->next) {
		if (c->agent && c->agent_default && gateway_api_has(c, RIGHT_PAIR))
			return c;
	}
	return NULL;
}

static int fill(sd_bus_message *m, const struct bluez_device *d, enum pairing_question q,
		const char *value)
{
	const char *kind = q == PAIRING_ENTER_PIN || q == PAIRING_SHOW_PIN           ? "pin"
			   : q == PAIRING_ENTER_PASSKEY || q == PAIRING_SHOW_PASSKEY ? "passkey"
			   : q == PAIRING_CONFIRM                                    ? "compare"
										     : "authorize";

	if (q == PAIRING_ENTER_PIN || q == PAIRING_ENTER_PASSKEY)
		return sd_bus_message_append(m, "sss", d->address, d->name, kind);
	return sd_bus_message_append(m, "ssss", d->address, d->name, kind, value ? value : "");
}

static const char *member_of(enum pairing_question q, char *expects)
{
	switch (q) {
	case PAIRING_AUTHORIZE:
	case PAIRING_CONFIRM:
		*expects = 'b';
		return "RequestConfirmation";
	case PAIRING_ENTER_PIN:
	case PAIRING_ENTER_PASSKEY:
		*expects = 'h';
		return "RequestPin";
	case PAIRING_SHOW_PIN:
	case PAIRING_SHOW_PASSKEY:
		break;
	}
	*expects = 0;
	return "Display";
}

static void question(struct gateway_bluetooth_listener *l, const struct bluez_device *d,
		     enum pairing_question q, const char *value)
{
	struct api_pairings *o = (struct api_pairings *)(void *)l;
	const struct api_client *client = whom_to_ask(o->api, d->address);
	sd_bus_message *m = NULL;
	const char *member;
	struct asked *a;

	if (!client)
		return; /* ListQuestions has it */
	a = calloc(1, sizeof(*a));
	if (!a)
		return;
	a->owner = o;
	memcpy(a->address, d->address, sizeof(a->address));
	a->question.answered = answered;
	a->question.arg = a;
	member = member_of(q, &a->question.expects);
	if (gateway_api_question_begin(&a->question, client, member, &m) != 0) {
		free(a);
		return;
	}
	a->next = o->asked;
	o->asked = a;
	if (fill(m, d, q, value) < 0) {
		sd_bus_message_unref(m);
		asked_free(a, "");
	} else if (gateway_api_question_send(&a->question, m) != 0) {
		asked_free(a, "");
	}
}

static void withdrawn(struct gateway_bluetooth_listener *l, const char *address)
{
	struct api_pairings *o = (struct api_pairings *)(void *)l;

	for (struct asked *a = o->asked, *next; a; a = next) {
		next = a->next;
		if (strcasecmp(a->address, address) == 0)
			asked_free(a, "the question no longer stands");
	}
}

static void state_changed(struct bluez_watcher *w, enum bluez_state state)
{
	struct api_pairings *o =
		(struct api_pairings *)(void *)((char *)w - offsetof(struct api_pairings, watcher));

	(void)state;
	gateway_api_changed(o->api, "bluetooth");
}

void gateway_api_pairings_begin(struct gateway_api *api)
{
	struct api_pairings *o = calloc(1, sizeof(*o));

	if (!o) {
		gateway_api_say(api, LOG_LEVEL_WARNING,
				"control bus: out of memory: no agent is asked for pairings");
		return;
	}
	o->api = api;
	o->listener.question = question;
	o->listener.withdrawn = withdrawn;
	o->watcher.state = state_changed;
	gateway_bluetooth_listen(api->bluetooth, &o->listener);
	bluez_watch(gateway_bluetooth_bluez(api->bluetooth), &o->watcher);
	api->pairings = o;
}

static void answering_free(struct answering *a)
{
	struct answering **at = &a->owner->answering;

	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	gateway_api_reader_drop(a->reader);
	sd_bus_message_unref(a->m);
	free(a);
}

void gateway_api_pairings_end(struct gateway_api *api)
{
	struct api_pairings *o = api->pairings;

	if (!o)
		return;
	gateway_bluetooth_unlisten(api->bluetooth, &o->listener);
	bluez_unwatch(gateway_bluetooth_bluez(api->bluetooth), &o->watcher);
	for (struct asked *a = o->asked, *next; a; a = next) {
		next = a->next;
		gateway_api_question_drop(&a->question, "the PN GW stops");
		free(a);
	}
	for (struct answering *a = o->answering, *next; a; a = next) {
		next = a->next;
		gateway_api_reader_drop(a->reader);
		sd_bus_message_unref(a->m);
		free(a);
	}
	free(o);
	api->pairings = NULL;
}

struct list {
	struct api_writer w;
};

static void put_question(void *arg, const struct bluez_device *d, enum pairing_question q,
			 const char *value)
{
	struct list *l = arg;
	char text[BLUETOOTH_QUESTION_SIZE];

	gateway_api_dict_begin(&l->w);
	gateway_api_text(&l->w, "Address", d->address);
	gateway_api_text(&l->w, "Name", d->name);
	gateway_api_text(&l->w, "Question", question_names[q]);
	gateway_api_text(&l->w, "Value", value ? value : "");
	gateway_api_text(&l->w, "Text",
			 gateway_bluetooth_question(d, q, value, text, sizeof(text)));
	gateway_api_dict_end(&l->w);
}

void gateway_api_bluetooth_questions(struct api_call *call)
{
	struct list l;

	if (!gateway_api_has_bluetooth(call))
		return;
	gateway_api_reply_begin(&l.w, call->m);
	gateway_api_list_begin(&l.w, "a{sv}");
	pairing_questions(gateway_bluetooth_pairing(call->api->bluetooth), put_question, &l);
	gateway_api_list_end(&l.w);
	gateway_api_send(&l.w);
}

static void answer_read(void *arg, int error, struct secret *secret)
{
	struct answering *a = arg;

	a->reader = NULL;
	if (error == 0)
		error = give_answer(a->owner, a->address, secret);
	if (error == -ENOENT)
		gateway_api_error(a->m, "NotFound", "there is no question about %s to be answered",
				  a->address);
	else if (error == -EINVAL || error == -EMSGSIZE)
		gateway_api_error(a->m, "InvalidArguments",
				  "that does not answer the question; see ListQuestions");
	else if (error != 0)
		gateway_api_errno(a->m, error);
	else
		gateway_api_done(a->m);
	answering_free(a);
}

void gateway_api_bluetooth_answer(struct api_call *call)
{
	struct api_pairings *o = call->api->pairings;
	char address[BLUETOOTH_ADDRESS_SIZE];
	struct answering *a;
	int fd, r;

	if (!gateway_api_has_bluetooth(call) || !gateway_api_read_device(call, address))
		return;
	if (sd_bus_message_read_basic(call->m, 'h', &fd) <= 0) {
		gateway_api_error(call->m, "InvalidArguments", "the answer comes through a pipe");
		return;
	}
	a = o ? calloc(1, sizeof(*a)) : NULL;
	if (!a) {
		gateway_api_errno(call->m, -ENOMEM);
		return;
	}
	a->owner = o;
	a->m = sd_bus_message_ref(call->m);
	memcpy(a->address, address, sizeof(a->address));
	a->next = o->answering;
	o->answering = a;
	r = gateway_api_reader_new(call->api, fd, API_PASSWORD_MAX, ANSWER_WAIT_MS, answer_read, a,
				   &a->reader);
	if (r == 0)
		return;
	if (r == -EBADF)
		gateway_api_error(call->m, "InvalidArguments", "the answer comes through a pipe");
	else
		gateway_api_errno(call->m, r);
	answering_free(a);
}
