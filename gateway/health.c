#include "gateway/health.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct damage {
	enum vault_kind kind;
	uint8_t owner[VAULT_HASH_SIZE];
	size_t records;
	struct name device; /* "" until it is found */
};

/* A device is known by any of its records that is not damaged. */
static const enum vault_kind kinds[] = {VAULT_PNE,      VAULT_TEMPORARY_KEY, VAULT_EUKEY,
					VAULT_DELIVERY, VAULT_REVOCATION,    VAULT_BLUETOOTH};

struct gateway_health_scan {
	struct vault *v;
	struct name self;
	struct vault_cursor at;
	struct vault_scan found;
	bool scanned;
	size_t kind; /* then names are sought in kinds[kind] */
	struct damage *list;
	size_t count;
	size_t capacity;
	int error;
};

static void on_damaged(void *arg, enum vault_kind kind, int64_t sequence,
		       const uint8_t owner[VAULT_HASH_SIZE])
{
	struct gateway_health_scan *x = arg;
	struct damage *list = x->list;
	size_t capacity = x->capacity ? 2 * x->capacity : 16;

	(void)sequence;
	if (x->count > 0 && list[x->count - 1].kind == kind &&
	    memcmp(list[x->count - 1].owner, owner, VAULT_HASH_SIZE) == 0) {
		list[x->count - 1].records++;
		return;
	}
	if (x->count == x->capacity) {
		list = reallocarray(x->list, capacity, sizeof(*list));
		if (!list) {
			x->error = -ENOMEM;
			return;
		}
		x->list = list;
		x->capacity = capacity;
	}
	memset(&list[x->count], 0, sizeof(*list));
	list[x->count].kind = kind;
	list[x->count].records = 1;
	memcpy(list[x->count].owner, owner, VAULT_HASH_SIZE);
	x->count++;
}

static void try_name(struct gateway_health_scan *x, struct bytes owner)
{
	for (size_t i = 0; i < x->count; i++) {
		struct damage *d = &x->list[i];

		if (!d->device.text[0] && vault_owner_is(x->v, d->kind, owner, d->owner))
			(void)name_set(&d->device, owner);
	}
}

/* Walks come to an owner's records one after the other only by chance; trying twice is no harm. */
static int on_record(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	(void)item;
	(void)content;
	try_name(arg, owner);
	return 0;
}

/* What the records are, and what mends their loss. */
static void describe(enum vault_kind kind, const char **what, const char **remedy)
{
	static const char again[] = "run Figure 6 or 7 for it again";

	switch (kind) {
	case VAULT_EUKEY:
		*what = "EUKeys";
		*remedy = again;
		return;
	case VAULT_TEMPORARY_KEY:
		*what = "the Temporary Key";
		*remedy = again;
		return;
	case VAULT_PNE:
		*what = "the owner";
		*remedy = again;
		return;
	case VAULT_DELIVERY:
		*what = "reports for the server";
		*remedy = again;
		return;
	case VAULT_REVOCATION:
		*what = "the revocation";
		*remedy = "revoke it again";
		return;
	case VAULT_IDENTITY:
		*what = "the PN GW's owner";
		*remedy = "run Figure 8 again";
		return;
	case VAULT_VERIFIER:
		*what = "what checks a password without the server";
		*remedy = "it is made anew the next time the server confirms the password";
		return;
	case VAULT_BLUETOOTH:
		*what = "the Bluetooth address";
		*remedy = "let the PNE connect by itself, or pair it again";
		return;
	case VAULT_USER:
	case VAULT_ANSWER:
	case VAULT_PROCEDURE:
	case VAULT_CLOCK:
	case VAULT_HANDOVER:
		break;
	}
	*what = "the vault's own records";
	*remedy = "restore a backup if anything is amiss";
}

__attribute__((format(printf, 2, 3))) static void say(struct gateway_health *h, const char *format,
						      ...)
{
	va_list list;

	if (h->count == HEALTH_LINES_MAX)
		return;
	va_start(list, format);
	(void)vsnprintf(h->lines[h->count], HEALTH_LINE_SIZE, format, list);
	va_end(list);
	h->count++;
}

static void say_damage(struct gateway_health *h, const struct damage *d, const struct name *self)
{
	const char *what, *remedy;
	const char *whose = d->device.text;

	describe(d->kind, &what, &remedy);
	if (!whose[0])
		whose = "a device nothing else is known of, or of the PN GW";
	if (d->kind == VAULT_EUKEY && name_equal(&d->device, self))
		remedy = "run Figure 8 again";
	say(h, "the vault has %zu damaged record%s (%s) of %s: %s", d->records,
	    d->records == 1 ? "" : "s", what, whose, remedy);
}

static void say_all(struct gateway_health *h, const struct gateway_health_scan *x)
{
	if (x->found.gaps > 0)
		say(h,
		    "%zu place%s of the vault cannot be read and what lay there is lost: restore a "
		    "backup, or run Figure 6 or 7 again where a device has no key",
		    x->found.gaps, x->found.gaps == 1 ? "" : "s");
	else if (!x->found.sound)
		say(h, "the vault's pages do not fit together, records may be missing: restore a "
		       "backup");
	for (size_t i = 0; i < x->count; i++) {
		if (h->count == HEALTH_LINES_MAX - 1 && i + 1 < x->count) {
			say(h, "the vault has damaged records of %zu more kinds and devices",
			    x->count - i);
			return;
		}
		say_damage(h, &x->list[i], &x->self);
	}
}

int gateway_health_new(struct vault *v, const struct name *self, struct gateway_health_scan **out)
{
	struct gateway_health_scan *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	x->v = v;
	x->self = *self;
	*out = x;
	return 0;
}

/* 1 when every record was seen. */
static int scan(struct gateway_health_scan *x, size_t most)
{
	int r = vault_scan_some(x->v, &x->at, most, on_damaged, x, &x->found);

	if (r == 0)
		r = x->error;
	return r == 0 ? x->at.ended : r;
}

/* 1 when no kind is left. */
static int find_names(struct gateway_health_scan *x, size_t most)
{
	int r = vault_each_some(x->v, kinds[x->kind], &x->at, most, on_record, x);

	if (r != 0 || !x->at.ended)
		return r;
	memset(&x->at, 0, sizeof(x->at));
	return ++x->kind == sizeof(kinds) / sizeof(kinds[0]);
}

int gateway_health_some(struct gateway_health_scan *x, size_t most, struct gateway_health *out)
{
	int r = x->scanned ? find_names(x, most) : scan(x, most);

	if (r <= 0)
		return r < 0 ? r : 1;
	if (!x->scanned && x->count > 0) {
		x->scanned = true;
		memset(&x->at, 0, sizeof(x->at));
		try_name(x, name_bytes(&x->self));
		return 1;
	}
	out->count = 0;
	say_all(out, x);
	return 0;
}

void gateway_health_free(struct gateway_health_scan *x)
{
	if (!x)
		return;
	free(x->list);
	free(x);
}
