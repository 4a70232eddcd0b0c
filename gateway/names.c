#include "gateway/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_MIN 64

/* FNV-1a. Names that are chosen to collide make it slow, not wrong: they are of owned devices. */
static uint32_t *chain_of(const struct names *n, const struct name *name)
{
	uint32_t hash = UINT32_C(2166136261);

	for (const char *c = name->text; *c; c++)
		hash = (hash ^ (uint8_t)*c) * UINT32_C(16777619);
	return &n->first[hash & (n->room - 1)];
}

static void link_in(struct names *n, size_t place)
{
	uint32_t *first = chain_of(n, &n->list[place]);

	n->next[place] = *first;
	*first = (uint32_t)place + 1;
}

static int grow(struct names *n)
{
	size_t room = n->room ? 2 * n->room : ROOM_MIN;
	struct name *list;
	uint32_t *next, *first;

	if (room > UINT32_MAX)
		return -ENOMEM;
	list = reallocarray(n->list, room, sizeof(*list));
	if (!list)
		return -ENOMEM;
	n->list = list;
	next = reallocarray(n->next, room, sizeof(*next));
	if (!next)
		return -ENOMEM;
	n->next = next;
	first = calloc(room, sizeof(*first));
	if (!first)
		return -ENOMEM;
	free(n->first);
	n->first = first;
	n->room = room;
	for (size_t i = 0; i < n->count; i++)
		link_in(n, i);
	return 0;
}

size_t gateway_names_find(const struct names *n, const struct name *name)
{
	uint32_t at = n->count > 0 ? *chain_of(n, name) : 0;

	while (at != 0 && !name_equal(&n->list[at - 1], name))
		at = n->next[at - 1];
	return at != 0 ? at - 1 : NAMES_NONE;
}

int gateway_names_add(struct names *n, const struct name *name)
{
	const struct name added = *name;
	int r = 0;

	if (gateway_names_find(n, name) != NAMES_NONE)
		return 0;
	if (n->count == n->room)
		r = grow(n);
	if (r != 0)
		return r;
	n->list[n->count] = added;
	link_in(n, n->count++);
	return 0;
}

static uint32_t *link_to(const struct names *n, size_t place)
{
	uint32_t *at = chain_of(n, &n->list[place]);

	while (*at != place + 1)
		at = &n->next[*at - 1];
	return at;
}

void gateway_names_remove(struct names *n, size_t place)
{
	size_t last = n->count - 1;

	*link_to(n, place) = n->next[place];
	if (place != last) {
		*link_to(n, last) = (uint32_t)place + 1;
		n->next[place] = n->next[last];
		n->list[place] = n->list[last];
	}
	n->count--;
}

void gateway_names_free(struct names *n)
{
	free(n->list);
	free(n->next);
	free(n->first);
	memset(n, 0, sizeof(*n));
}
