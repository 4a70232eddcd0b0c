#include "pan/bearer-bluez-internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "pan/bluetooth-hci.h"

#define QUOTA_DEFAULT     ((size_t)256 * 1024)
#define MAX_LINKS_DEFAULT 64
#define BONDS_DEFAULT     "/var/lib/bluetooth"
#define TICK_MS           250
#define MINUTE_MS         60000
/* bluetoothd writes a new bond a moment after the link was encrypted with it. */
#define LEVELS_AGAIN_MS   1000

static struct bluez_bearer *bearer_of(struct bearer *b)
{
	return (struct bluez_bearer *)b;
}

const char *bearer_bluez_error_text(int error)
{
	static const struct {
		int error;
		const char *text;
	} texts[] = {
		{-EKEYREJECTED, "authentication failed"},
		{-EACCES, "refused by the device"},
		{-EPERM, "the device is not bonded: pair it first"},
		{-ECANCELED, "cancelled"},
		{-ETIMEDOUT, "no answer in time"},
		{-EHOSTDOWN, "out of reach, or switched off"},
		{-ENOKEY, "the device no longer has its bond with this side"},
		{-ENETDOWN, "Bluetooth is not ready here"},
		{-ERFKILL, "Bluetooth is blocked here (rfkill)"},
		{-EBUSY, "something else is under way with the device"},
		{-EALREADY, "it is already being connected"},
		{-EISCONN, "it is already connected"},
		{-ENOENT, "the device has not been seen yet: scan first"},
		{-EPROTONOSUPPORT, "the device does not offer the service"},
		{-ENOTSUP, "this side cannot connect to it"},
		{-EINVAL, "not a Bluetooth address"},
		{-ECONNRESET, "the device ended the connection"},
		{-ECONNREFUSED, "refused by the device"},
		{-EMFILE, "too many devices are connected"},
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (texts[i].error == error)
			return texts[i].text;
	}
	return strerror(-error);
}

void bluez_bearer_note(struct bluez_bearer *b, const char *format, ...)
{
	char text[256];
	va_list list;

	if (!b->note)
		return;
	va_start(list, format);
	(void)vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	b->note(b->base.arg, text);
}

void bluez_bearer_closed(struct bluez_bearer *b)
{
	struct bearer_callbacks callbacks = b->base.callbacks;
	void *arg = b->base.arg;

	if (--b->handles > 0)
		return;
	free(b);
	callbacks.stopped(arg);
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct bluez_poll *p = handle->data;
	struct bluez_bearer *b = p->owner;

	close(p->fd);
	free(p);
	bluez_bearer_closed(b);
}

struct bluez_poll *bluez_poll_new(struct bluez_bearer *b, int fd, uv_poll_cb on_readable)
{
	struct bluez_poll *p = calloc(1, sizeof(*p));

	if (!p || uv_poll_init(b->loop, &p->poll, fd) < 0) {
		free(p);
		close(fd);
		return NULL;
	}
	p->poll.data = p;
	p->owner = b;
	p->fd = fd;
	b->handles++;
	if (uv_poll_start(&p->poll, UV_READABLE, on_readable) < 0)
		bluez_poll_close(&p);
	return p;
}

void bluez_poll_close(struct bluez_poll **p)
{
	if (!*p)
		return;
	uv_close((uv_handle_t *)&(*p)->poll, on_poll_closed);
	*p = NULL;
}

/* Links. */

struct bearer_link *bluez_link_new(struct bluez_bearer *b, const struct bluez_device *d,
				   enum bluetooth_transport transport, bool pne_opened)
{
	const char *adapter = bluez_adapter_address(b->bluez);
	struct bearer_link *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->owner = b;
	l->phase = BLUEZ_LINK_UNSEEN;
	l->transport = transport;
	l->pne_opened = pne_opened;
	l->bonded = d->bonded;
	memcpy(l->path, d->path, sizeof(l->path));
	memcpy(l->address, d->address, sizeof(l->address));
	(void)snprintf(l->adapter, sizeof(l->adapter), "%s", adapter ? adapter : "");
	l->next = b->links;
	b->links = l;
	b->link_count++;
	b->handles++;
	return l;
}

struct bearer_link *bluez_link_of(struct bluez_bearer *b, const char *path,
				  enum bluez_link_phase phase)
{
	struct bearer_link *l = b->links;

	while (l && (l->closing || l->phase != phase || strcmp(l->path, path) != 0))
		l = l->next;
	return l;
}

static void link_gone(struct bearer_link *l, enum bearer_down why, int error)
{
	struct bluez_bearer *b = l->owner;
	struct bearer_callbacks *callbacks = &b->base.callbacks;
	struct bearer_link **at;

	bluez_forget(b->bluez, l);
	for (at = &b->links; *at != l; at = &(*at)->next)
		;
	*at = l->next;
	b->link_count--;
	switch (l->phase) {
	case BLUEZ_LINK_CONNECTING:
		callbacks->connect_failed(b->base.arg, l->address, error,
					  l->why[0] != '\0' ? l->why
							    : bearer_bluez_error_text(error));
		break;
	case BLUEZ_LINK_UP:
		callbacks->link_down(b->base.arg, l, why, error);
		break;
	case BLUEZ_LINK_UNSEEN:
		break;
	}
	free(l);
	bluez_bearer_closed(b);
}

void bluez_link_end(struct bearer_link *l, enum bearer_down why, int error)
{
	if (l->closing)
		return;
	l->closing = true;
	if (l->stream)
		bluetooth_stream_close(l->stream, why, error);
	else
		link_gone(l, why, error);
}

static void on_connected(void *arg)
{
	bluez_link_ready(arg);
}

static void on_bytes(void *arg, struct bytes input)
{
	struct bearer_link *l = arg;
	struct bluez_bearer *b = l->owner;

	if (!l->closing)
		b->base.callbacks.link_bytes(b->base.arg, l, input);
}

static void on_ended(void *arg, enum bearer_down why, int error)
{
	struct bearer_link *l = arg;

	/* A bond the device has lost shows as a link that cannot be encrypted. */
	if (l->phase == BLUEZ_LINK_CONNECTING && l->bonded && (error == -EACCES || error == -EBADE))
		error = -ENOKEY;
	link_gone(l, why, error);
}

int bluez_link_attach(struct bearer_link *l, int fd, bool connecting)
{
	static const struct bluetooth_stream_callbacks callbacks = {on_connected, on_bytes,
								    on_ended};
	struct bluez_bearer *b = l->owner;
	struct bluetooth_stream_options options = {.connecting = connecting,
						   .packets = l->transport == BLUETOOTH_LE,
						   .quota = b->quota,
						   .input = b->input};
	int rc = bluetooth_stream_new(b->loop, fd, &options, &callbacks, l, &l->stream);

	if (rc < 0)
		close(fd);
	return rc;
}

/* A link that cannot be read is not to be trusted. -ENOTCONN when it is gone already. */
static int read_level(const struct bearer_link *l, struct bluetooth_level *out)
{
	struct bluez_bearer *b = l->owner;
	int rc = -ENODEV;

	if (l->adapter[0])
		rc = b->level(bluetooth_stream_fd(l->stream), l->adapter, l->address, b->bonds,
			      out);
	if (rc < 0)
		*out = (struct bluetooth_level){PAN_SECURITY_NONE, 0, strerror(-rc)};
	return rc;
}

static const char *transport_name(enum bluetooth_transport transport)
{
	switch (transport) {
	case BLUETOOTH_RFCOMM:
		return "bluetooth";
	case BLUETOOTH_LE:
		return "bluetooth-le";
	}
	return "";
}

static void note_level(const struct bearer_link *l, const struct bluetooth_level *level)
{
	char size[32] = "";

	if (level->key_size > 0)
		(void)snprintf(size, sizeof(size), ", key of %u bytes", level->key_size);
	bluez_bearer_note(l->owner, "%s %s: %s: %s%s", transport_name(l->transport), l->address,
			  pan_security_name(level->level), level->why, size);
}

void bluez_link_ready(struct bearer_link *l)
{
	struct bluez_bearer *b = l->owner;
	struct bluetooth_level level;
	char peer[16 + BLUETOOTH_ADDRESS_SIZE];

	(void)read_level(l, &level);
	l->phase = BLUEZ_LINK_UP;
	l->level = level.level;
	note_level(l, &level);
	(void)snprintf(peer, sizeof(peer), "%s %s", transport_name(l->transport), l->address);
	b->base.callbacks.link_up(b->base.arg, l, level.level, peer);
}

static void read_levels(struct bluez_bearer *b)
{
	for (struct bearer_link *l = b->links; l && !b->stopping; l = l->next) {
		struct bluetooth_level level;

		if (l->closing || l->phase != BLUEZ_LINK_UP)
			continue;
		/* One that is gone ends by itself. */
		if (read_level(l, &level) == -ENOTCONN || level.level == l->level)
			continue;
		l->level = level.level;
		note_level(l, &level);
		b->base.callbacks.security(b->base.arg, l, level.level);
	}
}

/* Whether the device has had its share of streams. */
static bool floods(struct bluez_bearer *b, const char *address)
{
	struct bluez_caller *c = &b->callers[0];
	uint64_t now = uv_now(b->loop);

	for (size_t i = 0; i < FLOOD_DEVICES; i++) {
		struct bluez_caller *other = &b->callers[i];

		if (strcmp(other->address, address) == 0) {
			c = other;
			break;
		}
		if (other->since < c->since)
			c = other;
	}
	if (strcmp(c->address, address) != 0) {
		*c = (struct bluez_caller){.since = now};
		memcpy(c->address, address, sizeof(c->address));
	}
	if (c->refused_until > now)
		return true;
	if (now - c->since >= MINUTE_MS) {
		c->since = now;
		c->count = 0;
	}
	if (++c->count <= BEARER_BLUEZ_FLOOD)
		return false;
	c->refused_until = now + MINUTE_MS;
	c->since = now;
	c->count = 0;
	bluez_bearer_note(b, "bluetooth %s opens too many streams: refused for a minute", address);
	return true;
}

int bluez_bearer_admit(struct bluez_bearer *b, const struct bluez_device *d, bool pne_opened,
		       bool counted)
{
	struct bearer_link *old = bluez_link_of(b, d->path, BLUEZ_LINK_UP);

	if (b->stopping)
		return -ECANCELED;
	if (!b->strangers && !d->bonded)
		return -EPERM;
	if (counted && floods(b, d->address))
		return -EBUSY;
	if (old && old->pne_opened && !pne_opened)
		return -EISCONN;
	if (!old && counted && b->link_count >= b->max_links)
		return -EMFILE;
	if (old)
		bluez_link_end(old, BEARER_DOWN_PEER, 0);
	return 0;
}

/* Time. */

static void on_tick(uv_timer_t *timer)
{
	struct bluez_bearer *b = timer->data;
	uint64_t now = uv_now(b->loop);
	struct bearer_link *l;
	bool waits = false;

	do {
		for (l = b->links; l; l = l->next) {
			if (!l->closing && l->phase == BLUEZ_LINK_CONNECTING && l->deadline <= now)
				break;
		}
		if (l)
			bluez_link_end(l, BEARER_DOWN_PEER, -ETIMEDOUT);
	} while (l && !b->stopping);
	if (b->stopping)
		return;
	if (b->register_at != 0 && b->register_at <= now) {
		b->register_at = 0;
		bluez_profiles_register(b);
		bluez_le_begin(b);
	}
	if (b->read_levels_at != 0 && b->read_levels_at <= now) {
		b->read_levels_at = 0;
		read_levels(b);
	}
	for (l = b->links; l && !waits; l = l->next)
		waits = l->phase == BLUEZ_LINK_CONNECTING;
	if (!waits && b->register_at == 0 && b->read_levels_at == 0 && !b->stopping)
		(void)uv_timer_stop(&b->tick);
}

void bluez_bearer_tick(struct bluez_bearer *b)
{
	if (!b->stopping && !uv_is_active((uv_handle_t *)&b->tick))
		(void)uv_timer_start(&b->tick, on_tick, TICK_MS, TICK_MS);
}

/* What BlueZ and the kernel tell. */

void bluez_bearer_hear(struct bluez_bearer *b)
{
	bool unproven = false;

	if (b->hci && bluetooth_hci_drain(b->hci->fd, &unproven) < 0)
		bluez_poll_close(&b->hci);
	/* It does not say whose; one is connected to at a time. */
	for (struct bearer_link *l = b->links; l && unproven; l = l->next) {
		if (l->phase == BLUEZ_LINK_CONNECTING)
			l->unproven = true;
	}
}

static void on_hci(uv_poll_t *poll, int status, int events)
{
	struct bluez_poll *p = poll->data;
	struct bluez_bearer *b = p->owner;

	(void)events;
	bluez_bearer_hear(b);
	if (status < 0)
		bluez_poll_close(&b->hci);
	b->read_levels_at = uv_now(b->loop) + LEVELS_AGAIN_MS;
	bluez_bearer_tick(b);
	read_levels(b);
}

static void ready(struct bluez_bearer *b)
{
	int fd = bluetooth_hci_watch(bluez_adapter_address(b->bluez));

	bluez_poll_close(&b->hci);
	if (fd >= 0)
		b->hci = bluez_poll_new(b, fd, on_hci);
	else
		bluez_bearer_note(b, "a change of a link's encryption would not be noticed: %s",
				  strerror(-fd));
	bluez_le_begin(b);
}

static void not_ready(struct bluez_bearer *b)
{
	struct bearer_link *l;

	/* Without bluetoothd the kernel keeps its links, and what it tells of them counts. */
	if (b->state >= BLUEZ_NO_ADAPTER)
		bluez_poll_close(&b->hci);
	bluez_le_end(b);
	do {
		for (l = b->links; l; l = l->next) {
			if (!l->closing && l->phase == BLUEZ_LINK_CONNECTING)
				break;
		}
		if (l)
			bluez_link_end(l, BEARER_DOWN_PEER, -ENETDOWN);
	} while (l && !b->stopping);
}

static void on_state(struct bluez_watcher *w, enum bluez_state state)
{
	struct bluez_bearer *b =
		(struct bluez_bearer *)((char *)w - offsetof(struct bluez_bearer, watcher));
	enum bluez_state before = b->state;

	b->state = state;
	if (state <= BLUEZ_NO_DAEMON)
		bluez_profiles_lost(b);
	if (state <= BLUEZ_NO_BUS)
		bluez_le_lost(b);
	if (before == BLUEZ_READY && state != BLUEZ_READY)
		not_ready(b);
	if (b->stopping)
		return;
	if (before < BLUEZ_OFF && state >= BLUEZ_OFF)
		bluez_profiles_register(b);
	if (before != BLUEZ_READY && state == BLUEZ_READY)
		ready(b);
}

static void on_device(struct bluez_watcher *w, const struct bluez_device *d,
		      enum bluez_change change)
{
	struct bluez_bearer *b =
		(struct bluez_bearer *)((char *)w - offsetof(struct bluez_bearer, watcher));
	bool changed = false;

	for (struct bearer_link *l = b->links; l; l = l->next) {
		bool bonded = change != BLUEZ_DEVICE_GONE && d->bonded;

		if (strcmp(l->path, d->path) == 0 && l->bonded != bonded) {
			l->bonded = bonded;
			changed = true;
		}
	}
	if (!changed)
		return;
	b->read_levels_at = uv_now(b->loop) + LEVELS_AGAIN_MS;
	bluez_bearer_tick(b);
	read_levels(b);
}

/* What the caller asks. */

static int bluez_bearer_start(struct bearer *base)
{
	struct bluez_bearer *b = bearer_of(base);

	if (b->stopping)
		return -ECANCELED;
	if (!b->started) {
		b->started = true;
		bluez_watch(b->bluez, &b->watcher);
	}
	return 0;
}

static void on_tick_closed(uv_handle_t *handle)
{
	struct bluez_bearer *b = handle->data;
	struct bearer_link *l;

	do {
		for (l = b->links; l && (l->stream || l->closing); l = l->next)
			;
		if (l)
			bluez_link_end(l, BEARER_DOWN_CLOSED, -ECANCELED);
	} while (l);
	bluez_bearer_closed(b);
}

static void bluez_bearer_stop(struct bearer *base)
{
	struct bluez_bearer *b = bearer_of(base);

	if (b->stopping)
		return;
	b->stopping = true;
	if (b->started)
		bluez_unwatch(b->bluez, &b->watcher);
	bluez_profiles_stop(b);
	bluez_le_stop(b);
	bluez_poll_close(&b->hci);
	for (struct bearer_link *l = b->links; l; l = l->next) {
		if (l->stream)
			bluez_link_end(l, BEARER_DOWN_CLOSED,
				       l->phase == BLUEZ_LINK_UP ? 0 : -ECANCELED);
	}
	uv_close((uv_handle_t *)&b->tick, on_tick_closed);
}

/* BlueZ does not tell everywhere what it heard of a device's abilities, but its bond has only the
 * keys that can be used. */
static bool over_le(const struct bluez_bearer *b, const struct bluez_device *d)
{
	const char *adapter = bluez_adapter_address(b->bluez);
	struct bluetooth_bond le;
	struct bluetooth_bond other;

	return d->le_only ||
	       (d->bonded &&
		bluetooth_bond_read(b->bonds, adapter, d->address, BLUETOOTH_LE, &le) == 0 &&
		bluetooth_bond_read(b->bonds, adapter, d->address, BLUETOOTH_RFCOMM, &other) == 0 &&
		le.key != BLUETOOTH_KEY_UNKNOWN && other.key == BLUETOOTH_KEY_UNKNOWN);
}

static int bluez_bearer_connect(struct bearer *base, const char *address)
{
	struct bluez_bearer *b = bearer_of(base);
	const struct bluez_device *d;

	if (b->stopping)
		return -ECANCELED;
	if (!bluetooth_address_valid(address))
		return -EINVAL;
	if (!b->started || b->state != BLUEZ_READY)
		return -ENETDOWN;
	d = bluez_find(b->bluez, address);
	if (!d)
		return -ENOENT;
	if (!b->strangers && !d->bonded)
		return -EPERM;
	if (bluez_link_of(b, d->path, BLUEZ_LINK_CONNECTING))
		return -EALREADY;
	if (bluez_link_of(b, d->path, BLUEZ_LINK_UP))
		return -EISCONN;
	if (b->le && !b->gateway)
		return -ENOTSUP;
	if (b->gateway && over_le(b, d))
		return b->le ? bluez_le_connect(b, d) : -ENOTSUP;
	return bluez_profile_connect(b, d);
}

static int bluez_bearer_send(struct bearer *base, struct bearer_link *l, struct bytes output)
{
	(void)base;
	return bluetooth_stream_send(l->stream, output);
}

static void bluez_bearer_drop(struct bearer *base, struct bearer_link *l, enum bearer_down why)
{
	(void)base;
	bluez_link_end(l, why, 0);
}

static const struct bearer_ops bluez_ops = {
	.start = bluez_bearer_start,
	.stop = bluez_bearer_stop,
	.connect = bluez_bearer_connect,
	.send = bluez_bearer_send,
	.drop = bluez_bearer_drop,
};

int bearer_bluez_new(uv_loop_t *loop, struct bluez *bluez,
		     const struct bearer_bluez_options *options,
		     const struct bearer_callbacks *callbacks, void *arg, struct bearer **out)
{
	const char *bonds = options->bonds ? options->bonds : BONDS_DEFAULT;
	struct bluez_bearer *b;

	if (strlen(bonds) >= BONDS_PATH_SIZE)
		return -ENAMETOOLONG;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->base = (struct bearer){.ops = &bluez_ops, .callbacks = *callbacks, .arg = arg};
	b->loop = loop;
	b->bluez = bluez;
	b->watcher = (struct bluez_watcher){.state = on_state, .device = on_device};
	b->gateway = options->gateway;
	b->le = options->le;
	b->strangers = options->strangers;
	b->psm = options->psm != 0 ? options->psm : BLUETOOTH_LE_PSM;
	memcpy(b->bonds, bonds, strlen(bonds));
	b->quota = options->quota > 0 ? options->quota : QUOTA_DEFAULT;
	b->max_links = options->max_links > 0 ? options->max_links : MAX_LINKS_DEFAULT;
	b->level = options->level ? options->level : bluetooth_level_read;
	b->note = options->note;
	b->state = BLUEZ_STARTING;
	bluez_profiles_init(b);
	bluez_le_init(b);
	/* It cannot fail. */
	(void)uv_timer_init(loop, &b->tick);
	b->tick.data = b;
	b->handles = 1;
	*out = &b->base;
	return 0;
}
