/*
 * Connecting to PNEs: one after the other, as the radio pages them, each for all who asked. And
 * disconnecting them.
 */

#include "gateway/bluetooth-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long an attempt waits for Bluetooth to be ready, and before it is made again, in ms. */
#define READY_MS 5000
#define AGAIN_MS 1000
#define TRIES    3

enum phase {
	PHASE_QUEUED,
	PHASE_CONNECTING,
	PHASE_GREETING, /* there is a stream, the hello is awaited */
	PHASE_ENDED,    /* to be told from the loop */
};

struct asker {
	struct asker *next;
	struct name entity; /* "": by a command, which done() is for */
	gateway_bluetooth_done *done;
	void *arg;
};

struct attempt {
	struct attempt *next;
	char address[BLUETOOTH_ADDRESS_SIZE];
	enum phase phase;
	uint64_t since, not_before;
	unsigned tries;
	struct asker *askers;
	enum verdict_id id;
	char detail[96];
	struct name arrived;
};

/* A device that BlueZ disconnects: what connects before it has done so goes with the rest. */
struct leaving {
	struct leaving *next;
	struct gateway_bluetooth *owner;
	char address[BLUETOOTH_ADDRESS_SIZE];
};

static void pump(uv_timer_t *timer);

static void soon(struct gateway_bluetooth *b, uint64_t ms)
{
	if (!b->stopping)
		(void)uv_timer_start(&b->timer, pump, ms, 0);
}

static struct attempt *find(struct gateway_bluetooth *b, const char *address)
{
	struct attempt *a = b->attempts;

	while (a && (a->phase == PHASE_ENDED || strcasecmp(a->address, address) != 0))
		a = a->next;
	return a;
}

static bool is_leaving(const struct gateway_bluetooth *b, const char *address)
{
	const struct leaving *l = b->leaving;

	while (l && strcasecmp(l->address, address) != 0)
		l = l->next;
	return l != NULL;
}

static void on_disconnected(void *arg, int error, const char *name, const char *text,
			    sd_bus_message *reply)
{
	struct leaving *l = arg, **at = &l->owner->leaving;

	(void)error;
	(void)name;
	(void)text;
	(void)reply;
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	soon(l->owner, 0);
	free(l);
}

static int leave(struct gateway_bluetooth *b, const struct bluez_device *d)
{
	struct leaving *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->owner = b;
	memcpy(l->address, d->address, sizeof(l->address));
	r = bluez_call(b->bluez, 0, on_disconnected, l, d->path, "org.bluez.Device1", "Disconnect",
		       "");
	if (r < 0) {
		free(l);
		return r;
	}
	l->next = b->leaving;
	b->leaving = l;
	return 0;
}

static void end(struct gateway_bluetooth *b, struct attempt *a, enum verdict_id id,
		const char *detail)
{
	a->phase = PHASE_ENDED;
	a->id = id;
	(void)snprintf(a->detail, sizeof(a->detail), "%s", detail);
	soon(b, 0);
}

/* Whether it may be otherwise at the next try. */
static bool passes(int error)
{
	switch (-error) {
	case EBUSY:
	case ECONNRESET:
	case EALREADY:
	/* BlueZ cancels, or cannot say why, when the device's last connection ends just then. */
	case ECANCELED:
	case EIO:
	/* A channel over LE; over RFCOMM it is EACCES. */
	case ECONNREFUSED:
		return true;
	}
	return false;
}

static void fail(struct gateway_bluetooth *b, struct attempt *a, int error, const char *why)
{
	enum verdict_id id = gateway_bluetooth_connect_verdict(error);
	const struct bluez_device *d = bluez_find(b->bluez, a->address);

	a->tries++;
	if (a->tries < TRIES && passes(error)) {
		/*
		 * Linux 6.1 mixes up the channels of a link over LE when both ends open theirs for
		 * EATT at the same time, and then refuses others until the link ends.
		 */
		if (error == -ECONNREFUSED && d && d->connected) {
			gateway_bluetooth_say(b, LOG_LEVEL_INFO,
					      "%s refuses a channel: its link is made anew",
					      a->address);
			(void)leave(b, d);
		}
		a->phase = PHASE_QUEUED;
		a->not_before = uv_now(b->loop) + AGAIN_MS;
		soon(b, 0);
		return;
	}
	end(b, a, id,
	    id == VERDICT_PAN_BLUETOOTH_DOWN ? bluez_state_text(bluez_state(b->bluez)) : why);
}

static void attempt_free(struct attempt *a)
{
	while (a->askers) {
		struct asker *asker = a->askers;

		a->askers = asker->next;
		free(asker);
	}
	free(a);
}

static void tell_asker(struct gateway_bluetooth *b, const struct attempt *a,
		       const struct asker *asker)
{
	char detail[160];

	if (asker->done) {
		asker->done(asker->arg, a->id, a->detail,
			    a->id == VERDICT_DONE ? &a->arrived : NULL);
	} else if (a->id != VERDICT_DONE) {
		b->options.unreachable(b->options.arg, &asker->entity, a->id, a->detail);
	} else if (!name_equal(&asker->entity, &a->arrived)) {
		(void)snprintf(detail, sizeof(detail), "at %s there is PNE %s now", a->address,
			       a->arrived.text);
		b->options.unreachable(b->options.arg, &asker->entity, VERDICT_PNE_UNKNOWN, detail);
	}
}

/* Who is told may ask for the next, or forget another. */
static void tell(struct gateway_bluetooth *b)
{
	struct attempt **at = &b->attempts;

	while (*at) {
		struct attempt *a = *at;

		if (a->phase != PHASE_ENDED) {
			at = &a->next;
			continue;
		}
		while (a->askers && !b->stopping) {
			struct asker *asker = a->askers;

			a->askers = asker->next;
			tell_asker(b, a, asker);
			free(asker);
		}
		at = &b->attempts;
		while (*at && *at != a)
			at = &(*at)->next;
		*at = a->next;
		attempt_free(a);
		at = &b->attempts;
	}
}

/* Begins a. False: nothing is under way because of it. */
static bool begin(struct gateway_bluetooth *b, struct attempt *a)
{
	struct place *p = gateway_bluetooth_place(b, a->address);
	int r;

	if (p) {
		a->phase = PHASE_GREETING;
		if (p->entity.text[0])
			gateway_attempts_arrived(b, a->address, &p->entity);
		return false;
	}
	r = bearer_connect(b->bearer, a->address);
	if (r == 0) {
		a->phase = PHASE_CONNECTING;
		return true;
	}
	fail(b, a, r, bearer_bluez_error_text(r));
	return false;
}

static void pump(uv_timer_t *timer)
{
	struct gateway_bluetooth *b = timer->data;
	uint64_t now, next = 0;

	tell(b);
	now = uv_now(b->loop);
	for (struct attempt *a = b->attempts; a; a = a->next) {
		if (a->phase == PHASE_CONNECTING)
			return;
	}
	for (struct attempt *a = b->attempts; a; a = a->next) {
		uint64_t at = a->not_before;

		if (a->phase != PHASE_QUEUED || is_leaving(b, a->address))
			continue;
		if (bluez_state(b->bluez) != BLUEZ_READY &&
		    !gateway_bluetooth_place(b, a->address)) {
			at = a->since + READY_MS;
			if (at <= now) {
				fail(b, a, -ENETDOWN, "");
				continue;
			}
		} else if (at <= now) {
			if (begin(b, a))
				return;
			continue;
		}
		next = next == 0 || at < next ? at : next;
	}
	for (struct attempt *a = b->attempts; a; a = a->next) {
		if (a->phase == PHASE_ENDED)
			next = now;
	}
	if (next != 0)
		soon(b, next > now ? next - now : 0);
}

static int ask(struct gateway_bluetooth *b, const char *address, const struct asker *what)
{
	struct attempt *a = find(b, address), **at = &b->attempts;
	struct asker *asker = malloc(sizeof(*asker));

	if (!asker)
		return -ENOMEM;
	if (!a) {
		a = calloc(1, sizeof(*a));
		if (!a) {
			free(asker);
			return -ENOMEM;
		}
		(void)snprintf(a->address, sizeof(a->address), "%s", address);
		a->since = uv_now(b->loop);
		while (*at)
			at = &(*at)->next;
		*at = a;
	}
	*asker = *what;
	asker->next = a->askers;
	a->askers = asker;
	soon(b, 0);
	return 0;
}

int gateway_bluetooth_reach(struct gateway_bluetooth *b, const struct name *entity)
{
	struct asker asker = {.entity = *entity};
	char address[BLUETOOTH_ADDRESS_SIZE];

	if (b->stopping || !b->auto_connect || gateway_known_address(b, entity, address) != 0)
		return -ENOENT;
	return ask(b, address, &asker);
}

int gateway_bluetooth_connect(struct gateway_bluetooth *b, const char *address,
			      gateway_bluetooth_done *done, void *arg)
{
	struct asker asker = {.done = done, .arg = arg};
	struct place *p = gateway_bluetooth_place(b, address);

	if (!bluetooth_address_valid(address))
		return -EINVAL;
	if (p && p->entity.text[0] && !is_leaving(b, address))
		return -EISCONN;
	return ask(b, address, &asker);
}

int gateway_bluetooth_disconnect(struct gateway_bluetooth *b, const char *address)
{
	const struct bluez_device *d = bluez_find(b->bluez, address);
	int result = -ENOTCONN;

	for (struct place *p = b->places; p; p = p->next) {
		if (strcasecmp(p->address, address) == 0) {
			bearer_drop(b->bearer, p->link, BEARER_DOWN_CLOSED);
			result = 0;
		}
	}
	if (d && d->connected)
		result = leave(b, d);
	return result;
}

void gateway_bluetooth_forget(struct gateway_bluetooth *b, const void *arg)
{
	for (struct attempt *a = b->attempts; a; a = a->next) {
		struct asker **at = &a->askers;

		while (*at) {
			struct asker *asker = *at;

			if (asker->done && asker->arg == arg) {
				*at = asker->next;
				free(asker);
			} else {
				at = &asker->next;
			}
		}
	}
}

void gateway_attempts_begin(struct gateway_bluetooth *b)
{
	(void)uv_timer_init(b->loop, &b->timer);
	b->timer.data = b;
}

void gateway_attempts_end(struct gateway_bluetooth *b)
{
	while (b->attempts) {
		struct attempt *a = b->attempts;

		b->attempts = a->next;
		attempt_free(a);
	}
}

void gateway_attempts_state(struct gateway_bluetooth *b, enum bluez_state state)
{
	if (state == BLUEZ_READY && b->attempts)
		soon(b, 0);
}

void gateway_attempts_failed(struct gateway_bluetooth *b, const char *address, int error,
			     const char *why)
{
	struct attempt *a = find(b, address);

	if (!a || a->phase != PHASE_CONNECTING)
		return;
	if (error == -EISCONN) {
		a->phase = PHASE_QUEUED;
		soon(b, 0);
		return;
	}
	fail(b, a, error, why);
}

void gateway_attempts_link_up(struct gateway_bluetooth *b, const char *address)
{
	struct attempt *a = find(b, address);

	if (!a)
		return;
	a->phase = PHASE_GREETING;
	soon(b, 0);
}

void gateway_attempts_link_down(struct gateway_bluetooth *b, const char *address)
{
	struct attempt *a = find(b, address);

	if (a && a->phase == PHASE_GREETING && !gateway_bluetooth_place(b, address))
		fail(b, a, -ECONNRESET, "the stream ended before the PNE said who it is");
}

void gateway_attempts_arrived(struct gateway_bluetooth *b, const char *address,
			      const struct name *entity)
{
	struct attempt *a = find(b, address);

	if (!a)
		return;
	a->arrived = *entity;
	end(b, a, VERDICT_DONE, "");
}
