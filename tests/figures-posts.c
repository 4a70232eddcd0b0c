#include "tests/figures-posts.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/figures.h"

uint8_t *sim_copy(struct bytes b)
{
	uint8_t *copy = malloc(b.size + 1);

	ck_assert_ptr_nonnull(copy);
	if (b.size > 0)
		memcpy(copy, b.data, b.size);
	return copy;
}

const struct post *posts_add(struct posts *posts, uint64_t token, struct bytes xml, uint64_t due,
			     uint64_t pin)
{
	size_t i = 0;

	while (i < POSTS_MAX && posts->list[i].there)
		i++;
	ck_assert_uint_lt(i, POSTS_MAX);
	posts->list[i] = (struct post){.there = true,
				       .id = ++posts->last_id,
				       .token = token,
				       .due = due,
				       .pin = pin,
				       .data = sim_copy(xml),
				       .size = xml.size};
	return &posts->list[i];
}

static void end(struct post *p)
{
	free(p->data);
	memset(p, 0, sizeof(*p));
}

static bool take(struct post *p, uint64_t *token)
{
	*token = p->token;
	end(p);
	return true;
}

void posts_cancel(struct posts *posts, uint64_t token)
{
	for (size_t i = 0; i < POSTS_MAX; i++) {
		if (posts->list[i].there && posts->list[i].token == token)
			end(&posts->list[i]);
	}
}

void posts_clear(struct posts *posts)
{
	for (size_t i = 0; i < POSTS_MAX; i++)
		end(&posts->list[i]);
}

uint64_t posts_due(const struct posts *posts)
{
	uint64_t due = SIM_NEVER;

	for (size_t i = 0; i < POSTS_MAX; i++) {
		if (posts->list[i].there && posts->list[i].due < due)
			due = posts->list[i].due;
	}
	return due;
}

bool posts_take(struct posts *posts, uint64_t id, uint64_t *token)
{
	for (size_t i = 0; i < POSTS_MAX; i++) {
		if (posts->list[i].there && posts->list[i].id == id)
			return take(&posts->list[i], token);
	}
	return false;
}

bool posts_take_late(struct posts *posts, uint64_t now, uint64_t *token)
{
	for (size_t i = 0; i < POSTS_MAX; i++) {
		if (posts->list[i].there && posts->list[i].due <= now)
			return take(&posts->list[i], token);
	}
	return false;
}

bool posts_take_pinned(struct posts *posts, uint64_t *token)
{
	for (size_t i = 0; i < POSTS_MAX; i++) {
		if (posts->list[i].there && posts->list[i].pin != 0)
			return take(&posts->list[i], token);
	}
	return false;
}
