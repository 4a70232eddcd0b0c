/* The commands about Bluetooth: discovery, pairing, bonds, connections. */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gateway/bluetooth.h"
#include "gateway/control-internal.h"

#define SCAN_SECONDS     12
#define SCAN_SECONDS_MAX 600
#define DISCOVERABLE_MAX 86400

/* A command that goes on: it hears what pairing and scans tell until it ends. */
struct job {
	struct gateway_bluetooth_listener listener;
	struct gateway_bluetooth *bluetooth;
	struct control_client *client;
	char address[BLUETOOTH_ADDRESS_SIZE];
	bool began; /* the scan or the pairing: it ends with the client */
	unsigned found;
};

/* NULL: the client got its end. */
static struct gateway_bluetooth *bluetooth_of(struct control_client *client)
{
	struct gateway_bluetooth *b = gateway_control_bluetooth(client);

	if (b)
		return b;
	gateway_control_say(client, "Bluetooth is not configured: set pan.bluetooth.enable");
	gateway_control_end(client, CONTROL_REFUSED);
	return NULL;
}

static void say_verdict(struct control_client *client, enum verdict_id id, const char *who,
			const char *detail)
{
	struct verdict v = {.id = id};
	char text[VERDICT_TEXT_SIZE];

	(void)name_set(&v.entity, bytes_text(who));
	(void)snprintf(v.detail, sizeof(v.detail), "%s", detail ? detail : "");
	gateway_control_say(client, "verdict: %s", verdict_describe(&v, text, sizeof(text)));
	gateway_control_end(client, id == VERDICT_DONE              ? CONTROL_DONE
				    : verdict_retry(id) == RETRY_NO ? CONTROL_REFUSED
								    : CONTROL_RETRY);
}

/* What BlueZ lacks, as a verdict. */
static void say_down(struct control_client *client, struct gateway_bluetooth *b, const char *who)
{
	say_verdict(client, VERDICT_PAN_BLUETOOTH_DOWN, who,
		    bluez_state_text(bluez_state(gateway_bluetooth_bluez(b))));
}

/* The address that a word means; false: the client got its end. */
static bool address_of(struct control_client *client, struct gateway_bluetooth *b, const char *word,
		       char address[BLUETOOTH_ADDRESS_SIZE])
{
	int r = gateway_bluetooth_address(b, word, address);

	if (r == 0)
		return true;
	if (r == -ENOENT)
		say_verdict(client, VERDICT_PAN_UNKNOWN_DEVICE, word, "");
	else
		gateway_control_usage(client);
	return false;
}

static bool number_of(const char *text, unsigned min, unsigned max, unsigned *out)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end || n < min || n > max)
		return false;
	*out = (unsigned)n;
	return true;
}

/* Jobs. */

static void job_free(struct job *job)
{
	gateway_bluetooth_unlisten(job->bluetooth, &job->listener);
	gateway_bluetooth_forget(job->bluetooth, job);
	free(job);
}

/* The client is told nothing more. */
static struct control_client *job_over(struct job *job)
{
	struct control_client *client = job->client;

	gateway_control_job(client, NULL, NULL);
	job_free(job);
	return client;
}

/* NULL: the client got its end. */
static struct job *job_new(struct control_client *client, struct gateway_bluetooth *b,
			   void (*gone)(void *job))
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job) {
		gateway_control_say(client, "out of memory");
		gateway_control_end(client, CONTROL_RETRY);
		return NULL;
	}
	job->bluetooth = b;
	job->client = client;
	gateway_control_job(client, job, gone);
	return job;
}

/* Devices. */

static void say_device(struct control_client *client, struct gateway_bluetooth *b,
		       const struct bluez_device *d)
{
	struct name entity;
	char rssi[24] = "";
	bool known = gateway_bluetooth_entity(b, d->address, &entity) == 0;

	if (d->has_rssi)
		(void)snprintf(rssi, sizeof(rssi), " rssi=%d", d->rssi);
	gateway_control_say(client, "%s%s %s%s%s%s%s%s%s%s name=%s", d->address, rssi,
			    d->offers_pne ? "PNE" : "other", d->le_only ? " LE" : "",
			    d->bonded ? " bonded" : "", d->trusted ? " trusted" : "",
			    d->connected ? " connected" : "", d->blocked ? " blocked" : "",
			    known ? " entity=" : "", known ? entity.text : "",
			    d->name[0] ? d->name : "-");
}

static void scan_found(struct gateway_bluetooth_listener *l, const struct bluez_device *d)
{
	struct job *job = (struct job *)(void *)l;

	job->found++;
	say_device(job->client, job->bluetooth, d);
}

static void scan_ended(struct gateway_bluetooth_listener *l, int error)
{
	struct job *job = (struct job *)(void *)l;
	struct gateway_bluetooth *b = job->bluetooth;
	bool found = job->found > 0;
	struct control_client *client = job_over(job);

	if (error != 0) {
		say_down(client, b, "scan");
		return;
	}
	if (!found)
		gateway_control_say(client, "nothing was found: is the device switched on and can "
					    "it be discovered?");
	gateway_control_end(client, CONTROL_DONE);
}

static void scan_gone(void *arg)
{
	struct job *job = arg;
	struct pairing *pairing = gateway_bluetooth_pairing(job->bluetooth);
	bool began = job->began;

	job_free(job);
	if (began)
		pairing_scan_stop(pairing);
}

static bool scan_words(const struct control_words *w, size_t first, struct pairing_filter *filter,
		       unsigned *seconds)
{
	unsigned n;

	for (size_t i = first; i < w->count; i++) {
		if (strcmp(w->word[i], "--all") == 0) {
			filter->all = true;
		} else if (strcmp(w->word[i], "--near") == 0 && i + 1 < w->count) {
			const char *dbm = w->word[++i];

			if (!number_of(dbm[0] == '-' ? dbm + 1 : dbm, 1, 127, &n))
				return false;
			filter->rssi = (int16_t) - (int)n;
		} else if (strcmp(w->word[i], "--name") == 0 && i + 1 < w->count) {
			filter->name = w->word[++i];
		} else if (!number_of(w->word[i], 1, SCAN_SECONDS_MAX, seconds)) {
			return false;
		}
	}
	return true;
}

void gateway_control_bluetooth_scan(struct control_client *client, const struct control_words *w,
				    size_t first)
{
	struct gateway_bluetooth *b = bluetooth_of(client);
	struct pairing_filter filter = {.all = false};
	unsigned seconds = SCAN_SECONDS;
	struct job *job;
	int r;

	if (!b)
		return;
	if (!scan_words(w, first, &filter, &seconds)) {
		gateway_control_usage(client);
		return;
	}
	job = job_new(client, b, scan_gone);
	if (!job)
		return;
	/* Listening first: known devices are told from within the call. */
	job->listener.found = scan_found;
	gateway_bluetooth_listen(b, &job->listener);
	r = pairing_scan(gateway_bluetooth_pairing(b), &filter, seconds);
	if (r == 0 || r == -EALREADY) {
		job->began = r == 0;
		job->listener.scan_ended = scan_ended;
		if (r != 0)
			gateway_control_say(client, "a search is on already: this is what it "
						    "still finds");
		return;
	}
	(void)job_over(job);
	say_down(client, b, "scan");
}

struct list {
	struct control_client *client;
	struct gateway_bluetooth *bluetooth;
	bool bonds;
	unsigned count;
};

static void list_device(void *arg, const struct bluez_device *d)
{
	struct list *list = arg;

	if (list->bonds && !d->bonded)
		return;
	list->count++;
	say_device(list->client, list->bluetooth, d);
}

static void list_known(void *arg, const struct name *entity, const char *address)
{
	struct list *list = arg;

	if (bluez_find(gateway_bluetooth_bluez(list->bluetooth), address))
		return;
	list->count++;
	gateway_control_say(list->client, "%s unknown to BlueZ entity=%s", address, entity->text);
}

static void list_devices(struct control_client *client, const struct control_words *w, size_t first,
			 bool bonds)
{
	struct gateway_bluetooth *b = bluetooth_of(client);
	struct list list = {.client = client, .bluetooth = b, .bonds = bonds};

	if (!b)
		return;
	if (w->count != first) {
		gateway_control_usage(client);
		return;
	}
	if (!bluez_adapter(gateway_bluetooth_bluez(b))) {
		say_down(client, b, bonds ? "bonds" : "devices");
		return;
	}
	bluez_each(gateway_bluetooth_bluez(b), list_device, &list);
	/* What was bonded when it was last connected, and is not any more, is of interest too. */
	(void)gateway_bluetooth_each_known(b, list_known, &list);
	if (list.count == 0)
		gateway_control_say(client, bonds ? "no bonds" : "no devices");
	gateway_control_end(client, CONTROL_DONE);
}

void gateway_control_bluetooth_devices(struct control_client *client, const struct control_words *w,
				       size_t first)
{
	list_devices(client, w, first, false);
}

void gateway_control_bluetooth_bonds(struct control_client *client, const struct control_words *w,
				     size_t first)
{
	list_devices(client, w, first, true);
}

/* Pairing. */

static void pair_question(struct gateway_bluetooth_listener *l, const struct bluez_device *d,
			  enum pairing_question q, const char *value)
{
	struct job *job = (struct job *)(void *)l;
	char text[BLUETOOTH_QUESTION_SIZE];

	if (strcasecmp(d->address, job->address) == 0)
		gateway_control_say(job->client, "%s",
				    gateway_bluetooth_question(d, q, value, text, sizeof(text)));
}

static void pair_ended(struct gateway_bluetooth_listener *l, const char *address, int error,
		       const char *why)
{
	struct job *job = (struct job *)(void *)l;

	if (strcasecmp(address, job->address) == 0)
		say_verdict(job_over(job), gateway_bluetooth_pairing_verdict(error), address, why);
}

static void pair_gone(void *arg)
{
	struct job *job = arg;
	struct pairing *pairing = gateway_bluetooth_pairing(job->bluetooth);
	char address[BLUETOOTH_ADDRESS_SIZE];
	bool began = job->began;

	memcpy(address, job->address, sizeof(address));
	job_free(job);
	if (began)
		(void)pairing_cancel(pairing, address);
}

static void pair_refused(struct control_client *client, struct gateway_bluetooth *b,
			 const char *address, int error)
{
	switch (-error) {
	case EEXIST:
		gateway_control_say(client,
				    "%s is bonded already; to pair anew: bluetooth unbond "
				    "%s first",
				    address, address);
		gateway_control_end(client, CONTROL_REFUSED);
		break;
	case EALREADY:
		gateway_control_say(client, "%s is being paired already; see bluetooth questions",
				    address);
		gateway_control_end(client, CONTROL_RETRY);
		break;
	case ENETDOWN:
		say_down(client, b, address);
		break;
	default:
		say_verdict(client, gateway_bluetooth_pairing_verdict(error), address,
			    strerror(-error));
	}
}

void gateway_control_bluetooth_pair(struct control_client *client, const struct control_words *w,
				    size_t first)
{
	struct gateway_bluetooth *b = bluetooth_of(client);
	char address[BLUETOOTH_ADDRESS_SIZE];
	struct job *job;
	int r;

	if (!b)
		return;
	if (w->count != first + 1) {
		gateway_control_usage(client);
		return;
	}
	if (!address_of(client, b, w->word[first], address))
		return;
	job = job_new(client, b, pair_gone);
	if (!job)
		return;
	memcpy(job->address, address, sizeof(job->address));
	r = pairing_start(gateway_bluetooth_pairing(b), address);
	if (r != 0) {
		(void)job_over(job);
		pair_refused(client, b, address, r);
		return;
	}
	job->began = true;
	job->listener.question = pair_question;
	job->listener.ended = pair_ended;
	gateway_bluetooth_listen(b, &job->listener);
	gateway_control_say(client, "pairing with %s", address);
}

static void say_question(void *arg, const struct bluez_device *d, enum pairing_question q,
			 const char *value)
{
	struct list *list = arg;
	char text[BLUETOOTH_QUESTION_SIZE];

	list->count++;
	gateway_control_say(list->client, "%s",
			    gateway_bluetooth_question(d, q, value, text, sizeof(text)));
}

void gateway_control_bluetooth_questions(struct control_client *client,
					 const struct control_words *w, size_t first)
{
	struct gateway_bluetooth *b = bluetooth_of(client);
	struct list list = {.client = client, .bluetooth = b};

	if (!b)
		return;
	if (w->count != first) {
		gateway_control_usage(client);
		return;
	}
	pairing_questions(gateway_bluetooth_pairing(b), say_question, &list);
	if (list.count == 0)
		gateway_control_say(client, "no questions");
	gateway_control_end(client, CONTROL_DONE);
}

static void answer(struct control_client *client, struct gateway_bluetooth *b, const char *word,
		   const char *text)
{
	char address[BLUETOOTH_ADDRESS_SIZE];
	int r;

	if (!address_of(client, b, word, address))
		return;
	r = pairing_answer(gateway_bluetooth_pairing(b), address, text);
	if (r == -ENOENT)
		gateway_control_say(client, "there is no question about %s to be answered",
				    address);
	else if (r == -EINVAL)
		gateway_control_say(client, "that does not answer the question; see bluetooth "
					    "questions");
	else if (r != 0)
		gateway_control_say(client, "%s: %s", address, strerror(-r));
	else
		gateway_control_say(client, "answered");
	gateway_control_end(client, r == 0                         ? CONTROL_DONE
				    : r == -ENOENT || r == -EINVAL ? CONTROL_REFUSED
								   : CONTROL_RETRY);
}

void gateway_control_bluetooth_answer(struct control_client *client, const struct control_words *w,
				      size_t first)
{
	struct gateway_bluetooth *b = bluetooth_of(client);

	if (!b)
		return;
	if (w->count != first + 2)
		gateway_control_usage(client);
	else
		answer(client, b, w->word[first], w->word[first + 1]);
}

/* With a PIN or passkey that stays out of the shell's history. */
void gateway_control_bluetooth_enter(struct control_client *client, const struct control_words *w,
				     size_t first)
{
	struct gateway_bluetooth *b = bluetooth_of(client);
	struct secret *typed;
	struct bytes text;

	if (!b)
		return;
	if (w->count != first + 1) {
		gateway_control_usage(client);
		return;
	}
	typed = gateway_control_take_password(client);
	text = secret_bytes(typed);
	if (text.size < PAIRING_PIN_SIZE) {
		struct secret *pin = secret_new(PAIRING_PIN_SIZE);

		if (pin) {
			memset(secret_buffer(pin), 0, PAIRING_PIN_SIZE);
			memcpy(secret_buffer(pin), text.data, text.size);
			answer(client, b, w->word[first], (const char *)secret_buffer(pin));
		} else {
			gateway_control_say(client, "out of memory");
			gateway_control_end(client, CONTROL_RETRY);
		}
		secret_unref(pin);
	} else {
		gateway_control_say(client, "a PIN has at most 16 characters");
		gateway_control_end(client, CONTROL_REFUSED);
	}
	secret_unref(typed);
}

static void unbond_gone(void *arg)
{
	struct job *job = arg;

	pairing_forget(gateway_bluetooth_pairing(job->bluetooth), job);
	job_free(job);
}

static void unbonded(void *arg, int error, const char *why)
{
	struct job *job = arg;
	char address[BLUETOOTH_ADDRESS_SIZE];
	struct control_client *client;

	memcpy(address, job->address, sizeof(address));
	client = job_over(job);
	if (error == 0)
		gateway_control_say(client,
				    "%s: the bond here is removed; remove it on the device too "
				    "before pairing anew",
				    address);
	else
		gateway_control_say(client, "%s: %s", address, why);
	gateway_control_end(client, error == 0 ? CONTROL_DONE : CONTROL_RETRY);
}

void gateway_control_bluetooth_unbond(struct control_client *client, const struct control_words *w,
				      size_t first)
{
	struct gateway_bluetooth *b = bluetooth_of(client);
	char address[BLUETOOTH_ADDRESS_SIZE];
	struct job *job;
	int r;

	if (!b)
		return;
	if (w->count != first + 1) {
		gateway_control_usage(client);
		return;
	}
	if (!address_of(client, b, w->word[first], address))
		return;
	job = job_new(client, b, unbond_gone);
	if (!job)
		return;
	memcpy(job->address, address, sizeof(job->address));
	r = pairing_unbond(gateway_bluetooth_pairing(b), address, unbonded, job);
	if (r == 0)
		return;
	(void)job_over(job);
	if (r == -ENETDOWN) {
		say_down(client, b, address);
	} else {
		gateway_control_say(client, "%s: %s", address,
				    r == -ENOENT ? "BlueZ knows no such device" : strerror(-r));
		gateway_control_end(client, r == -ENOENT ? CONTROL_REFUSED : CONTROL_RETRY);
	}
}

/* Connections. */

static void connected(void *arg, enum verdict_id id, const char *detail, const struct name *entity)
{
	struct job *job = arg;
	char address[BLUETOOTH_ADDRESS_SIZE];
	struct control_client *client;

	memcpy(address, job->address, sizeof(address));
	client = job_over(job);
	say_verdict(client, id, entity ? entity->text : address, detail);
}

static void connect_gone(void *arg)
{
	job_free(arg);
}

void gateway_control_bluetooth_connect(struct control_client *client, const struct control_words *w,
				       size_t first)
{
	struct gateway_bluetooth *b = bluetooth_of(client);
	char address[BLUETOOTH_ADDRESS_SIZE];
	struct job *job;
	int r;

	if (!b)
		return;
	if (w->count != first + 1) {
		gateway_control_usage(client);
		return;
	}
	if (!address_of(client, b, w->word[first], address))
		return;
	job = job_new(client, b, connect_gone);
	if (!job)
		return;
	memcpy(job->address, address, sizeof(job->address));
	r = gateway_bluetooth_connect(b, address, connected, job);
	if (r == 0)
		return;
	(void)job_over(job);
	if (r == -EISCONN) {
		gateway_control_say(client, "%s is connected", address);
		gateway_control_end(client, CONTROL_DONE);
	} else {
		say_verdict(client, gateway_bluetooth_connect_verdict(r), address, strerror(-r));
	}
}

void gateway_control_bluetooth_disconnect(struct control_client *client,
					  const struct control_words *w, size_t first)
{
	struct gateway_bluetooth *b = bluetooth_of(client);
	char address[BLUETOOTH_ADDRESS_SIZE];
	int r;

	if (!b)
		return;
	if (w->count != first + 1) {
		gateway_control_usage(client);
		return;
	}
	if (!address_of(client, b, w->word[first], address))
		return;
	r = gateway_bluetooth_disconnect(b, address);
	gateway_control_say(client, "%s: %s", address,
			    r == 0           ? "being disconnected"
			    : r == -ENOTCONN ? "not connected"
					     : strerror(-r));
	gateway_control_end(client, r == 0           ? CONTROL_DONE
				    : r == -ENOTCONN ? CONTROL_REFUSED
						     : CONTROL_RETRY);
}

/* The adapter. */

static void say_line(void *client, const char *text)
{
	gateway_control_say(client, "%s", text);
}

void gateway_control_bluetooth_status(struct control_client *client, const struct control_words *w,
				      size_t first)
{
	struct gateway_bluetooth *b = bluetooth_of(client);

	if (!b)
		return;
	if (w->count != first) {
		gateway_control_usage(client);
		return;
	}
	gateway_bluetooth_status(b, say_line, client);
	gateway_control_end(client, CONTROL_DONE);
}

void gateway_control_bluetooth_discoverable(struct control_client *client,
					    const struct control_words *w, size_t first)
{
	struct gateway_bluetooth *b = bluetooth_of(client);
	unsigned seconds;
	int r;

	if (!b)
		return;
	if (w->count != first + 1 || !number_of(w->word[first], 0, DISCOVERABLE_MAX, &seconds)) {
		gateway_control_usage(client);
		return;
	}
	r = bluez_discoverable(gateway_bluetooth_bluez(b), seconds);
	if (r != 0) {
		say_down(client, b, "discoverable");
		return;
	}
	if (seconds > 0)
		gateway_control_say(client, "this PN GW can be discovered for %u s", seconds);
	else
		gateway_control_say(client, "this PN GW can be discovered no longer");
	gateway_control_end(client, CONTROL_DONE);
}
