#include "gateway/bluetooth-internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pan/bearer-local.h"

void gateway_bluetooth_say(struct gateway_bluetooth *b, enum log_level level, const char *format,
			   ...)
{
	char text[640];
	va_list list;

	va_start(list, format);
	(void)vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	b->options.log(b->options.arg, level, text);
}

enum verdict_id gateway_bluetooth_connect_verdict(int error)
{
	switch (-error) {
	case 0:
		return VERDICT_DONE;
	case EHOSTDOWN:
	case ETIMEDOUT:
		return VERDICT_PAN_OUT_OF_REACH;
	case ENOKEY:
	case EKEYREJECTED:
	case EPERM:
		return VERDICT_PAN_BOND_STALE;
	case ENETDOWN:
	case ERFKILL:
	case ENODEV:
	case ENOTCONN:
		return VERDICT_PAN_BLUETOOTH_DOWN;
	case EPROTONOSUPPORT:
	case ENOTSUP:
		return VERDICT_PAN_NO_SERVICE;
	case ENOENT:
		return VERDICT_PAN_UNKNOWN_DEVICE;
	case EMFILE:
		return VERDICT_PAN_FULL;
	case EACCES:
	case ECONNREFUSED:
		return VERDICT_PAN_CONNECTION_REFUSED;
	case ENOMEM:
		return VERDICT_GATEWAY_MEMORY;
	}
	return VERDICT_PAN_LOST;
}

enum verdict_id gateway_bluetooth_pairing_verdict(int error)
{
	switch (-error) {
	case ECANCELED:
		return VERDICT_CANCELLED;
	case EKEYREJECTED:
		return VERDICT_PAN_WRONG_PIN;
	case EACCES:
	case EPERM:
		return VERDICT_PAN_PAIRING_REFUSED;
	case ETIMEDOUT:
		return VERDICT_PAN_PAIRING_TIMEOUT;
	case ENODEV:
	case ENOENT:
		return VERDICT_PAN_UNKNOWN_DEVICE;
	}
	return gateway_bluetooth_connect_verdict(error);
}

/* Streams. */

struct place *gateway_bluetooth_place(struct gateway_bluetooth *b, const char *address)
{
	struct place *p = b->places;

	while (p && strcasecmp(p->address, address) != 0)
		p = p->next;
	return p;
}

static struct place **place_of(struct gateway_bluetooth *b, const struct bearer_link *link)
{
	struct place **at = &b->places;

	while (*at && (*at)->link != link)
		at = &(*at)->next;
	return at;
}

static void link_up(void *arg, struct bearer_link *l, enum pan_security level, const char *peer)
{
	struct gateway_bluetooth *b = arg;
	const char *space = strchr(peer, ' ');
	struct place *p = calloc(1, sizeof(*p));

	if (p) {
		p->link = l;
		p->level = level;
		(void)snprintf(p->address, sizeof(p->address), "%s", space ? space + 1 : peer);
		p->next = b->places;
		b->places = p;
	}
	b->options.streams.link_up(b->options.streams_arg, l, level, peer);
	if (p)
		gateway_attempts_link_up(b, p->address);
}

static void link_bytes(void *arg, struct bearer_link *l, struct bytes input)
{
	struct gateway_bluetooth *b = arg;

	b->options.streams.link_bytes(b->options.streams_arg, l, input);
}

static void link_security(void *arg, struct bearer_link *l, enum pan_security level)
{
	struct gateway_bluetooth *b = arg;
	struct place *p = *place_of(b, l);

	if (p) {
		gateway_bluetooth_say(b, level < p->level ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
				      "PAN security of %s is %s now, it was %s", p->address,
				      pan_security_name(level), pan_security_name(p->level));
		p->level = level;
	}
	b->options.streams.security(b->options.streams_arg, l, level);
}

static void link_down(void *arg, struct bearer_link *l, enum bearer_down why, int error)
{
	struct gateway_bluetooth *b = arg;
	struct place **at = place_of(b, l), *p = *at;

	if (p)
		*at = p->next;
	b->options.streams.link_down(b->options.streams_arg, l, why, error);
	if (p)
		gateway_attempts_link_down(b, p->address);
	free(p);
}

static void connect_failed(void *arg, const char *address, int error, const char *why)
{
	gateway_attempts_failed(arg, address, error, why);
}

void gateway_bluetooth_arrived(struct gateway_bluetooth *b, struct bearer_link *link,
			       const struct name *entity)
{
	struct place *p = *place_of(b, link);

	if (!p || b->stopping)
		return;
	p->entity = *entity;
	gateway_known_arrived(b, p);
	gateway_attempts_arrived(b, p->address, entity);
}

struct bearer *gateway_bluetooth_bearer(struct gateway_bluetooth *b)
{
	return b->bearer;
}

struct bearer *gateway_bluetooth_nap_bearer(struct gateway_bluetooth *b)
{
	return b->nap_bearer;
}

struct bluez *gateway_bluetooth_bluez(struct gateway_bluetooth *b)
{
	return b->bluez;
}

struct pairing *gateway_bluetooth_pairing(struct gateway_bluetooth *b)
{
	return b->pairing;
}

void gateway_bluetooth_each_stream(struct gateway_bluetooth *b,
				   void (*each)(void *arg, const char *address,
						const struct name *entity, enum pan_security level),
				   void *arg)
{
	for (const struct place *p = b->places; p; p = p->next)
		each(arg, p->address, &p->entity, p->level);
}

/* Pairing. */

void gateway_bluetooth_listen(struct gateway_bluetooth *b, struct gateway_bluetooth_listener *l)
{
	l->next = b->listeners;
	b->listeners = l;
}

void gateway_bluetooth_unlisten(struct gateway_bluetooth *b, struct gateway_bluetooth_listener *l)
{
	struct gateway_bluetooth_listener **at = &b->listeners;

	while (*at && *at != l)
		at = &(*at)->next;
	if (*at)
		*at = l->next;
}

const char *gateway_bluetooth_question(const struct bluez_device *d, enum pairing_question q,
				       const char *value, char *out, size_t out_size)
{
	static const char answer[] = "answer: pngwctl answer";
	const char *name = d->name[0] ? d->name : "no name";

	switch (q) {
	case PAIRING_AUTHORIZE:
		(void)snprintf(out, out_size,
			       "%s (%s) wants to be paired, nothing is compared; %s %s yes|no",
			       d->address, name, answer, d->address);
		break;
	case PAIRING_CONFIRM:
		(void)snprintf(out, out_size,
			       "numeric comparison: does %s (%s) show %s? %s %s yes|no", d->address,
			       name, value, answer, d->address);
		break;
	case PAIRING_ENTER_PIN:
		(void)snprintf(out, out_size, "%s (%s) wants its PIN; %s %s PIN|no", d->address,
			       name, answer, d->address);
		break;
	case PAIRING_ENTER_PASSKEY:
		(void)snprintf(out, out_size, "which 6 digits does %s (%s) show? %s %s PASSKEY|no",
			       d->address, name, answer, d->address);
		break;
	case PAIRING_SHOW_PIN:
		(void)snprintf(out, out_size, "type the PIN %s on %s (%s)", value, d->address,
			       name);
		break;
	case PAIRING_SHOW_PASSKEY:
		(void)snprintf(out, out_size, "type the passkey %s on %s (%s)", value, d->address,
			       name);
		break;
	}
	return out;
}

/* Each listener may go while it is told. */
#define TELL(b, callback, ...)                                \
	do {                                                  \
		struct gateway_bluetooth_listener *l, *after; \
		for (l = (b)->listeners; l; l = after) {      \
			after = l->next;                      \
			if (l->callback)                      \
				l->callback(l, __VA_ARGS__);  \
		}                                             \
	} while (0)

static void question(void *arg, const struct bluez_device *d, enum pairing_question q,
		     const char *value)
{
	struct gateway_bluetooth *b = arg;
	char text[BLUETOOTH_QUESTION_SIZE];

	/* Whoever reads the log could type it on a device of his own. */
	if (q == PAIRING_SHOW_PIN || q == PAIRING_SHOW_PASSKEY)
		gateway_bluetooth_say(b, LOG_LEVEL_INFO,
				      "pairing: a %s is to be typed on %s (%s): pngwctl questions",
				      q == PAIRING_SHOW_PIN ? "PIN" : "passkey", d->address,
				      d->name[0] ? d->name : "no name");
	else
		gateway_bluetooth_say(b, LOG_LEVEL_INFO, "pairing: %s",
				      gateway_bluetooth_question(d, q, value, text, sizeof(text)));
	TELL(b, question, d, q, value);
}

static void withdrawn(void *arg, const char *address)
{
	struct gateway_bluetooth *b = arg;

	TELL(b, withdrawn, address);
}

static void pairing_ended(void *arg, const char *address, int error, const char *why)
{
	struct gateway_bluetooth *b = arg;

	gateway_bluetooth_say(b, error == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING,
			      "pairing with %s: %s", address, why);
	TELL(b, ended, address, error, why);
}

static void found(void *arg, const struct bluez_device *d)
{
	struct gateway_bluetooth *b = arg;

	TELL(b, found, d);
}

static void scan_ended(void *arg, int error)
{
	struct gateway_bluetooth *b = arg;

	TELL(b, scan_ended, error);
}

/* The whole. */

static void state_changed(struct bluez_watcher *w, enum bluez_state state)
{
	struct gateway_bluetooth *b =
		(struct gateway_bluetooth *)(void *)((char *)w -
						     offsetof(struct gateway_bluetooth, watcher));
	char text[sizeof(b->last_state)];

	if (b->stopping || state == BLUEZ_STARTING)
		return;
	if (state == BLUEZ_READY)
		(void)snprintf(text, sizeof(text), "Bluetooth is ready: adapter %s",
			       bluez_adapter_address(b->bluez));
	else
		(void)snprintf(text, sizeof(text), "Bluetooth: %s", bluez_state_text(state));
	if (strcmp(text, b->last_state) != 0) {
		memcpy(b->last_state, text, sizeof(text));
		gateway_bluetooth_say(b, state == BLUEZ_READY ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING,
				      "%s", text);
	}
	gateway_attempts_state(b, state);
}

const char *gateway_bluetooth_nap_text(const struct gateway_bluetooth *b)
{
	return b->nap ? nap_status(b->nap) : "";
}

static void note(void *arg, const char *text)
{
	gateway_bluetooth_say(arg, LOG_LEVEL_INFO, "%s", text);
}

static void nap_note(void *arg, bool warning, const char *text)
{
	gateway_bluetooth_say(arg, warning ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "%s", text);
}

static void timer_closed(uv_handle_t *handle)
{
	struct gateway_bluetooth *b = handle->data;

	gateway_attempts_end(b);
	free(b);
}

static void all_stopped(void *arg)
{
	struct gateway_bluetooth *b = arg;

	b->bluez = NULL;
	uv_close((uv_handle_t *)&b->timer, timer_closed);
}

/* What uses BlueZ has stopped: BlueZ may. */
static void one_stopped(void *arg)
{
	struct gateway_bluetooth *b = arg;

	if (--b->open > 0)
		return;
	if (b->bluez)
		bluez_stop(b->bluez, all_stopped, b);
	else
		all_stopped(b);
}

static void bearer_gone(void *arg)
{
	one_stopped(arg);
}

static void nap_bearer_gone(void *arg)
{
	(void)arg;
}

static int make_bearer(struct gateway_bluetooth *b)
{
	static const struct bearer_callbacks callbacks = {
		.link_up = link_up,
		.link_bytes = link_bytes,
		.security = link_security,
		.link_down = link_down,
		.connect_failed = connect_failed,
		.stopped = bearer_gone,
	};
	const struct config *config = b->options.config;
	struct bearer_bluez_options options = {.gateway = true,
					       .le = config->bluetooth_le,
					       .strangers = config->bluetooth_strangers,
					       .bonds = config->bluetooth_bonds,
					       .quota = config->queue,
					       .max_links = config->max_links,
					       .note = note};

	return bearer_bluez_new(b->loop, b->bluez, &options, &callbacks, b, &b->bearer);
}

static int make_pairing(struct gateway_bluetooth *b)
{
	static const struct pairing_callbacks callbacks = {.question = question,
							   .withdrawn = withdrawn,
							   .ended = pairing_ended,
							   .found = found,
							   .scan_ended = scan_ended};
	const struct config *config = b->options.config;
	struct pairing_options options = {.gateway = true,
					  .capability = config->bluetooth_capability,
					  .policy = config->bluetooth_pairing,
					  .pin = "",
					  .strangers = config->bluetooth_strangers};

	return pairing_new(b->loop, b->bluez, &options, &callbacks, b, &b->pairing);
}

int gateway_bluetooth_new(uv_loop_t *loop, const struct gateway_bluetooth_options *options,
			  struct gateway_bluetooth **out, char *why, size_t why_size)
{
	const struct config *config = options->config;
	struct bluez_options bluez = {.adapter = config->bluetooth_adapter,
				      .alias = config->bluetooth_name,
				      .power_on = config->bluetooth_power,
				      .pairable = true};
	struct gateway_bluetooth *b = calloc(1, sizeof(*b));
	int r;

	if (!b) {
		(void)snprintf(why, why_size, "out of memory");
		return -ENOMEM;
	}
	b->loop = loop;
	b->options = *options;
	b->auto_connect = config->bluetooth_auto_connect;
	gateway_attempts_begin(b);
	r = bluez_new(loop, &bluez, &b->bluez);
	if (r == 0)
		r = make_bearer(b);
	if (r == 0)
		r = make_pairing(b);
	if (r != 0) {
		(void)snprintf(why, why_size, "Bluetooth: %s", strerror(-r));
		gateway_bluetooth_stop(b);
		return r;
	}
	b->nap_wanted = config->nap;
	b->nap_port = config->nap_port;
	b->nap_security = config->nap_security;
	b->max_links = config->max_links;
	b->quota = config->queue;
	memcpy(b->nap_bridge, config->nap_bridge, sizeof(b->nap_bridge));
	memcpy(b->nap_address, config->nap_address, sizeof(b->nap_address));
	b->options.config = NULL;
	*out = b;
	return 0;
}

static int start_nap(struct gateway_bluetooth *b, char *why, size_t why_size)
{
	struct bearer_callbacks callbacks = b->options.streams;
	char listen[CONFIG_TEXT_MAX + 16];
	struct bearer_local_options options = {.listen = listen,
					       .device = b->nap_bridge,
					       .security = b->nap_security,
					       .quota = b->quota,
					       .max_links = b->max_links};
	int r = nap_new(b->bluez, b->nap_bridge, b->nap_address, nap_note, b, &b->nap);

	if (r != 0) {
		(void)snprintf(
			why, why_size, "pan.bluetooth.nap: bridge %s: %s", b->nap_bridge,
			r == -EEXIST ? "there is an interface of that name that is not pngwd's"
			: r == -EADDRINUSE ? "another pngwd has it; give this one another bridge"
			: r == -EPERM      ? "it cannot be made without CAP_NET_ADMIN"
					   : strerror(-r));
		return r;
	}
	(void)snprintf(listen, sizeof(listen), "tcp:%.*s:%u", (int)strcspn(b->nap_address, "/"),
		       b->nap_address, b->nap_port);
	callbacks.stopped = nap_bearer_gone;
	r = bearer_local_new(b->loop, &options, &callbacks, b->options.nap_arg, &b->nap_bearer);
	if (r == 0)
		r = bearer_start(b->nap_bearer);
	if (r != 0)
		(void)snprintf(why, why_size, "pan.bluetooth.nap: %s: %s", listen, strerror(-r));
	return r;
}

int gateway_bluetooth_start(struct gateway_bluetooth *b, char *why, size_t why_size)
{
	int r = b->nap_wanted ? start_nap(b, why, why_size) : 0;

	if (r != 0)
		return r;
	r = bearer_start(b->bearer);
	if (r != 0) {
		(void)snprintf(why, why_size, "Bluetooth: %s", strerror(-r));
		return r;
	}
	b->watcher.state = state_changed;
	bluez_watch(b->bluez, &b->watcher);
	bluez_start(b->bluez);
	return 0;
}

void gateway_bluetooth_stop(struct gateway_bluetooth *b)
{
	if (b->stopping)
		return;
	b->stopping = true;
	b->open = 1;
	b->listeners = NULL;
	(void)uv_timer_stop(&b->timer);
	nap_stop(b->nap);
	b->nap = NULL;
	if (b->nap_bearer)
		bearer_stop(b->nap_bearer);
	if (b->watcher.state)
		bluez_unwatch(b->bluez, &b->watcher);
	if (b->bearer) {
		b->open++;
		bearer_stop(b->bearer);
	}
	if (b->pairing) {
		b->open++;
		pairing_stop(b->pairing, one_stopped, b);
	}
	one_stopped(b);
}
