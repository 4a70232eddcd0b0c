#include "gateway/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/clock.h"

int pool_add(struct pool *p, const struct pool_key *key)
{
	size_t at = p->count;

	while (at > 0 && p->keys[at - 1].index >= key->index)
		at--;
	if (at < p->count && p->keys[at].index == key->index)
		return -EEXIST;
	if (p->count == p->room) {
		size_t room = p->room ? 2 * p->room : 16;
		struct pool_key *keys = realloc(p->keys, room * sizeof(*keys));

		if (!keys)
			return -ENOMEM;
		p->keys = keys;
		p->room = room;
	}
	memmove(p->keys + at + 1, p->keys + at, (p->count - at) * sizeof(*p->keys));
	p->keys[at] = *key;
	p->count++;
	return 0;
}

void pool_clear(struct pool *p)
{
	free(p->keys);
	memset(p, 0, sizeof(*p));
}

uint32_t pool_spent(const struct pool *p)
{
	uint32_t highest = p->floor;

	for (size_t i = p->count; i > 0; i--) {
		if (p->keys[i - 1].state != KEY_UNSPENT) {
			if (p->keys[i - 1].index > highest)
				highest = p->keys[i - 1].index;
			break;
		}
	}
	return highest;
}

const struct pool_key *pool_current(const struct pool *p)
{
	for (size_t i = p->count; i > 0; i--) {
		if (p->keys[i - 1].state == KEY_DELIVERED)
			return &p->keys[i - 1];
	}
	return NULL;
}

static bool expired(const struct pool_key *key, const struct pool_limits *l, uint64_t now)
{
	return l->lifetime_s != 0 && now > key->since && now - key->since >= l->lifetime_s;
}

const struct pool_key *pool_next(const struct pool *p, const struct pool_limits *l, uint64_t now)
{
	uint32_t spent = pool_spent(p);

	for (size_t i = 0; i < p->count; i++) {
		if (p->keys[i].index > spent && !expired(&p->keys[i], l, now))
			return &p->keys[i];
	}
	return NULL;
}

const struct pool_key *pool_repeat(const struct pool *p)
{
	for (size_t i = p->count; i > 0; i--) {
		const struct pool_key *key = &p->keys[i - 1];

		if (key->state == KEY_DELIVERED || key->index <= p->floor)
			return NULL;
		if (key->state == KEY_ISSUED)
			return key->repeatable ? key : NULL;
	}
	return NULL;
}

size_t pool_left(const struct pool *p, const struct pool_limits *l, uint64_t now)
{
	uint32_t spent = pool_spent(p);
	size_t n = 0;

	for (size_t i = 0; i < p->count; i++) {
		if (p->keys[i].index > spent && !expired(&p->keys[i], l, now))
			n++;
	}
	return n;
}

enum pool_fate pool_fate(const struct pool *p, const struct pool_key *key,
			 const struct pool_limits *l, uint64_t now)
{
	const struct pool_key *current = pool_current(p);

	if (key->state != KEY_UNSPENT)
		return current && key->index < current->index ? POOL_REPLACED : POOL_KEEP;
	if (key->index <= pool_spent(p))
		return POOL_PASSED;
	return expired(key, l, now) ? POOL_EXPIRED : POOL_KEEP;
}

unsigned pool_wants(const struct pool_limits *l, size_t left, bool *filling)
{
	if (left >= l->size)
		*filling = false;
	else if (left <= l->low_water)
		*filling = true;
	return *filling ? l->size - (unsigned)left : 0;
}

uint64_t pool_renew_at(const struct pool *p, const struct pool_limits *l)
{
	const struct pool_key *current = pool_current(p);

	return current && l->renew_s != 0 ? current->since + l->renew_s : POOL_NEVER;
}

uint64_t clock_latest(uint64_t least, uint64_t wall)
{
	return least > CLOCK_DRIFT && wall < least - CLOCK_DRIFT ? least : wall;
}

uint64_t clock_resume(const struct clock_mark *mark, uint64_t wall)
{
	if (wall < mark->wall || wall - mark->wall > CLOCK_GAP_MAX)
		return mark->service;
	return mark->service + (wall - mark->wall);
}
