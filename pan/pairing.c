#include "pan/pairing.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "pan/pairing-internal.h"

#define DEVICE           "org.bluez.Device1"
#define REJECTED         "org.bluez.Error.Rejected"
#define QUESTION_SECONDS 55
#define SEEK_SECONDS     20
#define GO_ON_SECONDS    60 /* without a question; the controllers' own limits are shorter */
#define THEIRS_SECONDS   30
#define GRACE_SECONDS    2
#define PAIR_SECONDS     600 /* of the call: the deadlines above come first */
#define THEIRS_MAX       16

struct removal {
	struct pairing *pairing;
	struct removal *next;
	char path[BLUEZ_PATH_SIZE];
	bool answered; /* by BlueZ, which tells on its own that the device is gone */
	void (*done)(void *arg, int error, const char *why);
	void *arg;
};

const char *pairing_capability_name(enum pairing_capability capability)
{
	switch (capability) {
	case PAIRING_DISPLAY_ONLY:
		return "DisplayOnly";
	case PAIRING_DISPLAY_YES_NO:
		return "DisplayYesNo";
	case PAIRING_KEYBOARD_ONLY:
		return "KeyboardOnly";
	case PAIRING_NO_INPUT_NO_OUTPUT:
		return "NoInputNoOutput";
	case PAIRING_KEYBOARD_DISPLAY:
		return "KeyboardDisplay";
	}
	return "";
}

uint64_t pairing_in(const struct pairing *p, unsigned seconds)
{
	return uv_now(p->loop) + (uint64_t)seconds * 1000;
}

unsigned pairing_question_seconds(const struct pairing *p)
{
	return p->options.question_seconds ? p->options.question_seconds : QUESTION_SECONDS;
}

/* Attempts. */

struct attempt *pairing_attempt(struct pairing *p, const char *path)
{
	struct attempt *a = p->attempts;

	while (a && strcmp(a->path, path) != 0)
		a = a->next;
	return a;
}

static struct attempt *find(struct pairing *p, const char *address)
{
	struct attempt *a = p->attempts;

	while (a && strcasecmp(a->address, address) != 0)
		a = a->next;
	return a;
}

static struct attempt *attempt_new(struct pairing *p, const char *address, enum attempt_phase phase)
{
	struct attempt *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->pairing = p;
	a->phase = phase;
	for (size_t i = 0; i < BLUETOOTH_ADDRESS_SIZE - 1; i++)
		a->address[i] = (char)toupper((unsigned char)address[i]);
	a->next = p->attempts;
	p->attempts = a;
	return a;
}

struct attempt *pairing_attempt_theirs(struct pairing *p, const struct bluez_device *d)
{
	struct attempt *a = p->attempts;
	unsigned theirs = 0;

	for (; a; a = a->next)
		theirs += a->phase == ATTEMPT_THEIRS;
	if (theirs >= THEIRS_MAX)
		return NULL;
	a = attempt_new(p, d->address, ATTEMPT_THEIRS);
	if (!a)
		return NULL;
	memcpy(a->path, d->path, sizeof(a->path));
	a->deadline = pairing_in(p, THEIRS_SECONDS);
	pairing_arm(p);
	return a;
}

/* True when there was a question to withdraw. */
static bool drop_question(struct attempt *a)
{
	bool stood = a->stands;

	a->stands = false;
	a->ask = sd_bus_message_unref(a->ask);
	memset(a->value, 0, sizeof(a->value));
	return stood;
}

void pairing_withdraw(struct attempt *a)
{
	struct pairing *p = a->pairing;
	char address[BLUETOOTH_ADDRESS_SIZE];

	memcpy(address, a->address, sizeof(address));
	if (drop_question(a) && !p->stopping)
		p->callbacks.withdrawn(p->arg, address);
}

static void answer_no(struct attempt *a)
{
	if (a->ask)
		(void)sd_bus_reply_method_errorf(a->ask, REJECTED, "refused");
}

/* Unlinks and frees a; true when a question stood. */
static bool attempt_drop(struct pairing *p, struct attempt *a)
{
	struct attempt **at = &p->attempts;
	bool stood;

	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	answer_no(a);
	stood = drop_question(a);
	bluez_forget(p->bluez, a);
	free(a);
	return stood;
}

void pairing_finish(struct attempt *a, int error, const char *why)
{
	struct pairing *p = a->pairing;
	char address[BLUETOOTH_ADDRESS_SIZE];
	bool stood;

	memcpy(address, a->address, sizeof(address));
	stood = attempt_drop(p, a);
	pairing_discovery(p);
	pairing_arm(p);
	if (stood && !p->stopping)
		p->callbacks.withdrawn(p->arg, address);
	if (!p->stopping)
		p->callbacks.ended(p->arg, address, error, why);
}

void pairing_refuse(struct attempt *a, int error, const char *why)
{
	struct pairing *p = a->pairing;

	if (a->phase == ATTEMPT_THEIRS) {
		pairing_finish(a, error, why);
		return;
	}
	answer_no(a);
	a->refused = error;
	a->refused_why = why;
	a->deadline = pairing_in(p, THEIRS_SECONDS);
	pairing_arm(p);
	pairing_withdraw(a);
}

static void on_trusted(void *arg, int error, const char *name, const char *text,
		       sd_bus_message *reply)
{
	(void)name;
	(void)text;
	(void)reply;
	pairing_finish(arg, 0,
		       error == 0 ? "paired"
				  : "paired, but BlueZ did not take it as a trusted device");
}

/* Later connections then need no agent. */
static void trust(struct attempt *a)
{
	struct pairing *p = a->pairing;

	a->phase = ATTEMPT_TRUSTING;
	a->deadline = PAIRING_NEVER;
	if (bluez_call(p->bluez, 0, on_trusted, a, a->path, "org.freedesktop.DBus.Properties",
		       "Set", "ssv", DEVICE, "Trusted", "b", 1) < 0) {
		on_trusted(a, -EIO, NULL, NULL, NULL);
		return;
	}
	pairing_withdraw(a);
}

/* What BlueZ's answer to Pair means for a person. */
static void pair_failed(struct attempt *a, int error)
{
	if (a->refused != 0)
		pairing_finish(a, a->refused, a->refused_why);
	else if (error == -EKEYREJECTED && a->secret_entered)
		pairing_finish(a, error, "the PIN or passkey was wrong");
	else if (error == -EKEYREJECTED)
		pairing_finish(a, -EACCES,
			       "the device refused, or cannot pair the way this side demands");
	else if (error == -EACCES)
		pairing_finish(a, error, "the device refused");
	else if (error == -ECANCELED)
		pairing_finish(a, error, "the device, or somebody here, cancelled it");
	else if (error == -ETIMEDOUT)
		pairing_finish(a, error, "the device did not answer in time");
	else if (error == -EHOSTDOWN)
		pairing_finish(a, error, "the device is out of reach, or switched off");
	else if (error == -ENOTCONN || error == -ENETDOWN)
		pairing_finish(a, -ENETDOWN, "Bluetooth went down");
	else if (error == -EBUSY)
		pairing_finish(a, error, "the device is busy with another pairing or connection");
	else
		pairing_finish(a, error, strerror(-error));
}

static void on_paired(void *arg, int error, const char *name, const char *text,
		      sd_bus_message *reply)
{
	struct attempt *a = arg;

	(void)name;
	(void)text;
	(void)reply;
	if (error == 0 || error == -EALREADY)
		trust(a);
	else
		pair_failed(a, error);
}

/* 0, or a negative errno: a is as it was. */
static int pair(struct attempt *a, const struct bluez_device *d)
{
	struct pairing *p = a->pairing;
	int r = bluez_call(p->bluez, PAIR_SECONDS, on_paired, a, d->path, DEVICE, "Pair", "");

	if (r < 0)
		return r;
	memcpy(a->path, d->path, sizeof(a->path));
	a->phase = ATTEMPT_PAIRING;
	a->deadline = pairing_in(p, GO_ON_SECONDS);
	pairing_arm(p);
	return 0;
}

int pairing_start(struct pairing *p, const char *address)
{
	const struct bluez_device *d;
	struct attempt *a;
	int r = 0;

	if (!bluetooth_address_valid(address))
		return -EINVAL;
	if (p->stopping || bluez_state(p->bluez) != BLUEZ_READY)
		return -ENETDOWN;
	if (find(p, address))
		return -EALREADY;
	d = bluez_find(p->bluez, address);
	if (d && d->bonded)
		return -EEXIST;
	a = attempt_new(p, address, ATTEMPT_SEEKING);
	if (!a)
		return -ENOMEM;
	a->deadline =
		pairing_in(p, p->options.seek_seconds ? p->options.seek_seconds : SEEK_SECONDS);
	if (d)
		r = pair(a, d);
	if (r < 0) {
		p->attempts = a->next;
		free(a);
		return r;
	}
	pairing_discovery(p);
	pairing_arm(p);
	return 0;
}

static void cancel_pairing(struct attempt *a)
{
	struct pairing *p = a->pairing;

	a->given_up = true;
	a->deadline = pairing_in(p, GRACE_SECONDS);
	pairing_arm(p);
	(void)bluez_call(p->bluez, 0, NULL, NULL, a->path, DEVICE, "CancelPairing", "");
}

int pairing_cancel(struct pairing *p, const char *address)
{
	struct attempt *a = find(p, address);

	if (!a || a->phase == ATTEMPT_TRUSTING)
		return -ENOENT;
	if (a->phase != ATTEMPT_PAIRING) {
		pairing_finish(a, -ECANCELED, "cancelled here");
		return 0;
	}
	a->refused = -ECANCELED;
	a->refused_why = "cancelled here";
	answer_no(a);
	cancel_pairing(a);
	pairing_withdraw(a);
	return 0;
}

static bool passkey_of(const char *text, uint32_t *out)
{
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 6 || text[digits])
		return false;
	*out = (uint32_t)strtoul(text, NULL, 10);
	return true;
}

/* The answer is on its way; BlueZ says what came of it. */
static int answered(struct attempt *a, int r)
{
	struct pairing *p = a->pairing;

	if (r < 0)
		return r;
	a->deadline = pairing_in(p, a->phase == ATTEMPT_THEIRS ? THEIRS_SECONDS : GO_ON_SECONDS);
	pairing_arm(p);
	pairing_withdraw(a);
	return 0;
}

int pairing_answer(struct pairing *p, const char *address, const char *text)
{
	struct attempt *a = p->attempts;
	uint32_t passkey;

	while (a && (!a->ask || strcasecmp(a->address, address) != 0))
		a = a->next;
	if (!a)
		return -ENOENT;
	if (strcmp(text, "no") == 0) {
		pairing_refuse(a, -EACCES, "refused here");
		return 0;
	}
	switch (a->question) {
	case PAIRING_AUTHORIZE:
	case PAIRING_CONFIRM:
		if (strcmp(text, "yes") != 0)
			return -EINVAL;
		return answered(a, sd_bus_reply_method_return(a->ask, ""));
	case PAIRING_ENTER_PIN:
		if (text[0] == '\0' || strlen(text) >= PAIRING_PIN_SIZE)
			return -EINVAL;
		return answered(a, sd_bus_reply_method_return(a->ask, "s", text));
	case PAIRING_ENTER_PASSKEY:
		if (!passkey_of(text, &passkey))
			return -EINVAL;
		return answered(a, sd_bus_reply_method_return(a->ask, "u", passkey));
	case PAIRING_SHOW_PIN:
	case PAIRING_SHOW_PASSKEY:
		break;
	}
	return -EINVAL;
}

void pairing_questions(struct pairing *p,
		       void (*each)(void *arg, const struct bluez_device *d,
				    enum pairing_question q, const char *value),
		       void *arg)
{
	for (struct attempt *a = p->attempts; a; a = a->next) {
		const struct bluez_device *known = bluez_find(p->bluez, a->path);
		struct bluez_device d = {.name = ""};

		if (!a->stands)
			continue;
		memcpy(d.path, a->path, sizeof(d.path));
		memcpy(d.address, a->address, sizeof(d.address));
		each(arg, known ? known : &d, a->question, a->value[0] ? a->value : NULL);
	}
}

/* Deadlines. */

static void overdue(struct attempt *a)
{
	const char *unanswered = "nobody answered the question in time";

	switch (a->phase) {
	case ATTEMPT_SEEKING:
		pairing_finish(a, -ENODEV,
			       "not found near here: is it switched on and can it be discovered?");
		break;
	case ATTEMPT_PAIRING:
		if (a->ask) {
			pairing_refuse(a, -ETIMEDOUT, unanswered);
		} else if (!a->given_up) {
			if (a->refused == 0) {
				a->refused = -ETIMEDOUT;
				a->refused_why = "the device did not go on in time";
			}
			cancel_pairing(a);
		} else {
			pairing_finish(a, a->refused, a->refused_why);
		}
		break;
	case ATTEMPT_THEIRS:
		if (a->ask)
			pairing_refuse(a, -ETIMEDOUT, unanswered);
		else if (a->secret_entered)
			pairing_finish(a, -EKEYREJECTED,
				       "the PIN or passkey was wrong, or the device gave up");
		else
			pairing_finish(a, -EACCES, "the device refused, or gave up");
		break;
	case ATTEMPT_TRUSTING:
		break;
	}
}

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void on_time(uv_timer_t *timer)
{
	struct pairing *p = timer->data;
	uint64_t now = uv_now(p->loop);
	struct attempt *a;

	/* Each callback may change the list. */
	do {
		for (a = p->attempts; a && a->deadline > now; a = a->next)
			;
		if (a)
			overdue(a);
	} while (a && !p->stopping);
	if (!p->stopping && p->scanning && p->scan_end <= now)
		pairing_scan_over(p, 0);
	if (!p->stopping && p->register_at <= now)
		pairing_agent_state(p, bluez_state(p->bluez));
	pairing_arm(p);
}

void pairing_arm(struct pairing *p)
{
	uint64_t next = p->register_at, now = uv_now(p->loop);

	if (p->stopping)
		return;
	if (p->scanning)
		next = min(next, p->scan_end);
	for (const struct attempt *a = p->attempts; a; a = a->next)
		next = min(next, a->deadline);
	if (next == PAIRING_NEVER)
		(void)uv_timer_stop(&p->timer);
	else
		(void)uv_timer_start(&p->timer, on_time, next > now ? next - now : 0, 0);
}

/* What BlueZ tells. */

static void on_state(struct bluez_watcher *w, enum bluez_state state)
{
	struct pairing *p = (struct pairing *)(void *)w;

	pairing_agent_state(p, state);
	if (state != BLUEZ_READY) {
		while (p->attempts && !p->stopping)
			pairing_finish(p->attempts, -ENETDOWN, "Bluetooth went down");
		if (!p->stopping)
			pairing_discovery_lost(p);
	} else {
		pairing_discovery(p);
	}
}

static void removal_over(struct removal *over, int error, const char *why)
{
	struct removal **at = &over->pairing->removals;
	struct removal r = *over;

	while (*at != over)
		at = &(*at)->next;
	*at = r.next;
	bluez_forget(r.pairing->bluez, over);
	free(over);
	if (r.done)
		r.done(r.arg, error, why);
}

static void on_removed(void *arg, int error, const char *name, const char *text,
		       sd_bus_message *reply)
{
	struct removal *r = arg;

	(void)name;
	(void)reply;
	r->answered = true;
	if (error != 0)
		removal_over(r, error, text[0] ? text : strerror(-error));
	else if (!bluez_find(r->pairing->bluez, r->path))
		removal_over(r, 0, "removed");
}

static void removal_gone(struct pairing *p, const char *path)
{
	struct removal *r = p->removals;

	while (r && (!r->answered || strcmp(r->path, path) != 0))
		r = r->next;
	if (r)
		removal_over(r, 0, "removed");
}

static void gone(struct pairing *p, const struct bluez_device *d)
{
	struct attempt *a = pairing_attempt(p, d->path);

	if (!a || a->phase == ATTEMPT_TRUSTING)
		return;
	if (a->phase == ATTEMPT_THEIRS) {
		pairing_finish(a, -ECANCELED, "the device went away");
		return;
	}
	/* BlueZ removes an unknown device whose pairing failed, and answers Pair before or after.
	 */
	a->deadline = pairing_in(p, GRACE_SECONDS);
	a->given_up = true;
	if (a->refused == 0) {
		a->refused = -EHOSTDOWN;
		a->refused_why = "the device went away";
	}
	pairing_arm(p);
}

static void on_device(struct bluez_watcher *w, const struct bluez_device *d,
		      enum bluez_change change)
{
	struct pairing *p = (struct pairing *)(void *)w;
	struct attempt *a;

	if (change == BLUEZ_DEVICE_GONE) {
		removal_gone(p, d->path);
		if (!p->stopping)
			gone(p, d);
		return;
	}
	a = pairing_attempt(p, d->path);
	if (!a)
		a = find(p, d->address);
	if (a && a->phase == ATTEMPT_SEEKING) {
		int r = pair(a, d);

		if (r < 0)
			pairing_finish(a, r, strerror(-r));
		else
			pairing_discovery(p);
	} else if (a && a->phase == ATTEMPT_THEIRS && d->bonded) {
		trust(a);
	} else if (a && a->phase == ATTEMPT_THEIRS && !a->ask && !d->connected) {
		a->deadline = min(a->deadline, pairing_in(p, GRACE_SECONDS));
		pairing_arm(p);
	}
	pairing_scan_device(p, d);
}

int pairing_unbond(struct pairing *p, const char *address,
		   void (*done)(void *arg, int error, const char *why), void *arg_of_done)
{
	const struct bluez_device *d = bluez_find(p->bluez, address);
	struct removal *r;
	int rc;

	if (p->stopping || !bluez_adapter(p->bluez))
		return -ENETDOWN;
	if (!d)
		return -ENOENT;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->pairing = p;
	r->done = done;
	r->arg = arg_of_done;
	memcpy(r->path, d->path, sizeof(r->path));
	rc = bluez_call(p->bluez, 0, on_removed, r, bluez_adapter(p->bluez), "org.bluez.Adapter1",
			"RemoveDevice", "o", d->path);
	if (rc < 0) {
		free(r);
		return rc;
	}
	r->next = p->removals;
	p->removals = r;
	return 0;
}

void pairing_forget(struct pairing *p, const void *arg_of_done)
{
	for (struct removal *r = p->removals; r; r = r->next) {
		if (r->arg == arg_of_done)
			r->done = NULL;
	}
}

/* Life. */

int pairing_new(uv_loop_t *loop, struct bluez *bluez, const struct pairing_options *options,
		const struct pairing_callbacks *callbacks, void *arg, struct pairing **out)
{
	struct pairing *p;
	int r;

	if (options->pin && strlen(options->pin) >= PAIRING_PIN_SIZE)
		return -EINVAL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->loop = loop;
	p->bluez = bluez;
	p->options = *options;
	p->options.pin = NULL;
	if (options->pin)
		memcpy(p->pin, options->pin, strlen(options->pin) + 1);
	p->callbacks = *callbacks;
	p->arg = arg;
	p->register_at = PAIRING_NEVER;
	p->scan_end = PAIRING_NEVER;
	r = uv_timer_init(loop, &p->timer);
	if (r < 0) {
		free(p);
		return r;
	}
	p->timer.data = p;
	p->watcher.state = on_state;
	p->watcher.device = on_device;
	bluez_watch(bluez, &p->watcher);
	*out = p;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct pairing *p = handle->data;
	void (*stopped)(void *arg) = p->stopped;
	void *arg = p->stopped_arg;

	free(p);
	stopped(arg);
}

void pairing_stop(struct pairing *p, void (*stopped)(void *arg), void *arg)
{
	if (p->stopping)
		return;
	p->stopping = true;
	p->stopped = stopped;
	p->stopped_arg = arg;
	while (p->attempts) {
		struct attempt *a = p->attempts;

		if (a->phase == ATTEMPT_PAIRING)
			(void)bluez_call(p->bluez, 0, NULL, NULL, a->path, DEVICE, "CancelPairing",
					 "");
		(void)attempt_drop(p, a);
	}
	while (p->removals) {
		struct removal *r = p->removals;

		p->removals = r->next;
		bluez_forget(p->bluez, r);
		free(r);
	}
	pairing_discovery_stop(p);
	pairing_agent_stop(p);
	bluez_unwatch(p->bluez, &p->watcher);
	bluez_forget(p->bluez, p);
	uv_close((uv_handle_t *)&p->timer, on_closed);
}
