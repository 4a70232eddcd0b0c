#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/admin.h"
#include "server/revoke.h"

/* How often a daemon that is at work on the same device may be first. */
#define ATTEMPTS_MAX 20

static const char *reset_text(const struct store_element *e)
{
	switch (e->revocation.reset) {
	case RESET_NONE:
		return "no reset needed";
	case RESET_UNCONFIRMED:
		return "reset unconfirmed";
	case RESET_CONFIRMED:
		return "reset confirmed";
	}
	return "";
}

/* Whether there is anything that a revocation would change. */
static bool anything_left(const struct store_element *e)
{
	return e->owner.text[0] || e->last_index > e->revocation.key_index;
}

/* A damaged EUKey is revoked like any other. */
static void warn_of_damage(const struct store_element *e, const struct store_resets *made)
{
	if (made->damaged > 0)
		(void)fprintf(
			stderr,
			"cpns-server-admin: %s: %zu EUKeys were damaged in the store: they are "
			"revoked, but the device cannot be reset with them\n",
			e->entity.text, made->damaged);
}

static int try_revoke(struct admin *a, struct store_element *e)
{
	struct store_key keys[STORE_KEYS_MAX] = {{.index = 0}};
	struct store_batch batch = {0};
	struct store_resets made;
	struct store_revocation after;
	int r = 0;

	if (e->owner.text[0])
		r = store_keys(a->store, name_bytes(&e->owner), name_bytes(&e->entity), keys);
	if (r < 0)
		return r;
	after = server_revocation(e, e->revocation.epoch + 1, 0, false, (int64_t)time(NULL));
	r = server_revoke(&batch, e, &after, keys, &made);
	store_keys_clear(keys);
	if (r == 0)
		r = store_commit(a->store, &batch);
	store_batch_clear(&batch);
	if (r == 0) {
		e->revocation = after;
		warn_of_damage(e, &made);
	}
	wipe(&made, sizeof(made));
	return r;
}

/* 0 also when there was nothing left to revoke. */
static int revoke(struct admin *a, struct bytes entity)
{
	struct store_element e;
	int r = STORE_CONFLICT;

	for (int i = 0; i < ATTEMPTS_MAX && r == STORE_CONFLICT; i++) {
		r = store_element(a->store, entity, &e);
		if (r != 0)
			return r;
		if (!anything_left(&e)) {
			(void)printf("%s\tnothing to revoke\n", e.entity.text);
			return 0;
		}
		r = try_revoke(a, &e);
	}
	if (r == 0)
		(void)printf("%s\trevoked, epoch %lu\tkey index %lu\t%s\n", e.entity.text,
			     (unsigned long)e.revocation.epoch,
			     (unsigned long)e.revocation.key_index, reset_text(&e));
	return r;
}

/* The names of the elements to revoke: a walk may not write. */
struct collection {
	const char *owner; /* NULL: anybody's */
	struct name *list;
	size_t count, capacity;
};

static int collect(void *arg, const struct store_element *e)
{
	struct collection *c = arg;

	if (c->owner ? strcmp(e->owner.text, c->owner) != 0 : !anything_left(e))
		return 0;
	if (c->count == c->capacity) {
		const size_t capacity = c->capacity > 0 ? 2 * c->capacity : 64;
		struct name *list = reallocarray(c->list, capacity, sizeof(*list));

		if (!list)
			return -ENOMEM;
		c->list = list;
		c->capacity = capacity;
	}
	c->list[c->count++] = e->entity;
	return 0;
}

/* A failure is named and stops nobody else's revocation: false when there was one. */
static bool revoke_each(struct admin *a, const char *owner, size_t *count)
{
	struct collection c = {.owner = owner};
	const int walk = store_each_element(a->store, collect, &c);
	bool all;

	*count = 0;
	for (size_t i = 0; i < c.count; i++) {
		int r = revoke(a, name_bytes(&c.list[i]));

		if (r == 0)
			(*count)++;
		else
			(void)admin_fail(c.list[i].text, r);
	}
	if (walk != 0)
		(void)admin_fail("the list of devices", walk);
	all = walk == 0 && *count == c.count;
	free(c.list);
	return all;
}

static int set_blocked(struct admin *a, const char *user, bool blocked)
{
	struct store_account account;
	struct store_batch batch = {0};
	int r = user_id_valid(bytes_text(user))
			? store_account(a->store, bytes_text(user), &account)
			: STORE_ABSENT;

	if (r != 0 && r != STORE_DAMAGED)
		return r;
	if (r == 0)
		store_account_clear(&account);
	store_batch_block(&batch, bytes_text(user), blocked);
	r = store_commit(a->store, &batch);
	store_batch_clear(&batch);
	return r;
}

int admin_revoke(struct admin *a)
{
	const struct bytes entity = bytes_text(a->argv[0]);
	int r = entity_id_valid(entity) ? revoke(a, entity) : STORE_ABSENT;

	return r == 0 ? EXIT_SUCCESS : admin_fail(a->argv[0], r);
}

/*
 * Locked out first: from then on nobody gets a key in that name, so the walk that follows leaves
 * none behind. Cut short, it may be given again.
 */
int admin_revoke_user(struct admin *a)
{
	size_t count;
	bool all;
	int r = set_blocked(a, a->argv[0], true);

	if (r != 0)
		return admin_fail(a->argv[0], r);
	all = revoke_each(a, a->argv[0], &count);
	(void)printf("%s is locked out, %zu devices revoked\n", a->argv[0], count);
	return all ? EXIT_SUCCESS : EXIT_FAILURE;
}

int admin_allow_user(struct admin *a)
{
	int r = set_blocked(a, a->argv[0], false);

	return r == 0 ? EXIT_SUCCESS : admin_fail(a->argv[0], r);
}

int admin_revoke_all(struct admin *a)
{
	size_t count;
	bool all;

	if (!a->yes)
		return admin_refuse(
			"revoke-all takes every device from its owner, with its EUKeys: "
			"give --yes if that is what you want");
	all = revoke_each(a, NULL, &count);
	(void)printf("%zu devices revoked\n", count);
	return all ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int print_revocation(void *arg, const struct store_element *e)
{
	const time_t since = (time_t)e->revocation.since;
	char text[32] = "";
	struct tm tm;

	(void)arg;
	if (e->revocation.epoch == 0)
		return 0;
	if (gmtime_r(&since, &tm))
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	(void)printf("%s\tepoch %lu\tkey index %lu\t%s\tsince %s\n", e->entity.text,
		     (unsigned long)e->revocation.epoch, (unsigned long)e->revocation.key_index,
		     reset_text(e), text);
	return 0;
}

int admin_list_revocations(struct admin *a)
{
	return store_each_element(a->store, print_revocation, NULL);
}
