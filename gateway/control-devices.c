/* The commands about single PNEs: their pools, revocations and resets. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/control-internal.h"

/* One core_..., for each of entities; each promises so many verdicts or fails. */
typedef int each_entity_fn(struct core *c, const struct name *entity, uint64_t run);

static void for_each_entity(struct control_client *client, const struct control_words *w,
			    size_t first, each_entity_fn *each)
{
	struct name *entities = calloc(CONTROL_WORDS_MAX, sizeof(*entities));
	int verdicts = 0, r = 0;
	uint64_t run;

	if (!entities || w->count == first || !gateway_control_entities(w, first, entities)) {
		free(entities);
		gateway_control_usage(client);
		return;
	}
	run = gateway_control_run_begin(client);
	for (size_t i = first; i < w->count; i++) {
		r = each(gateway_control_core(client), &entities[i - first], run);
		if (r < 0) {
			gateway_control_say(client, "%s: %s", w->word[i], strerror(-r));
			gateway_control_worse(client, CONTROL_RETRY);
		} else {
			verdicts += r;
		}
	}
	free(entities);
	gateway_control_run_expect(client, verdicts);
}

void gateway_control_renew(struct control_client *client, const struct control_words *w,
			   size_t first)
{
	for_each_entity(client, w, first, gateway_core_renew);
}

static int say_pool(struct control_client *client, const struct name *entity)
{
	struct core_pool_info info;
	char renew[48] = "by command";
	int r = gateway_core_pool_info(gateway_control_core(client), entity, &info);

	if (r != 0) {
		gateway_control_say(client, "%s: %s", entity->text, strerror(-r));
		return r;
	}
	if (info.renew_in != POOL_NEVER)
		(void)snprintf(renew, sizeof(renew), "in %llu s",
			       (unsigned long long)info.renew_in);
	gateway_control_say(client, "%s left=%zu held=%lu unconfirmed=%lu renewed=%s%s",
			    entity->text, info.left, (unsigned long)info.current,
			    (unsigned long)info.unconfirmed, renew,
			    info.refill_needs_user ? " REFILL_NEEDS_USER" : "");
	return 0;
}

struct pool_walk {
	struct name *names;
	size_t count, room;
};

static int add_pne(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct pool_walk *walk = arg;

	(void)item;
	(void)content;
	if (walk->count == walk->room) {
		size_t room = walk->room ? 2 * walk->room : 64;
		struct name *names = realloc(walk->names, room * sizeof(*names));

		if (!names)
			return -ENOMEM;
		walk->names = names;
		walk->room = room;
	}
	if (name_set(&walk->names[walk->count], owner) == 0)
		walk->count++;
	return 0;
}

void gateway_control_pool(struct control_client *client, const struct control_words *w,
			  size_t first)
{
	struct pool_walk walk = {.names = NULL};
	struct name entity;
	int r = 0;

	if (w->count > first + 1 ||
	    (w->count == first + 1 && !gateway_control_entities(w, first, &entity))) {
		gateway_control_usage(client);
		return;
	}
	if (w->count == first + 1) {
		r = say_pool(client, &entity);
	} else {
		/* Every PNE that has an owner; a walk may not read other records in between. */
		r = vault_each(gateway_control_vault(client), VAULT_PNE, BYTES_NONE, add_pne, &walk,
			       NULL);
		for (size_t i = 0; r == 0 && i < walk.count; i++)
			r = say_pool(client, &walk.names[i]);
	}
	free(walk.names);
	gateway_control_end(client, r == 0 ? CONTROL_DONE : CONTROL_RETRY);
}

static void revoke_user(struct control_client *client, const char *user)
{
	struct name name;
	uint64_t run;

	if (!user_id_valid(bytes_text(user)) || name_set(&name, bytes_text(user)) != 0) {
		gateway_control_usage(client);
		return;
	}
	run = gateway_control_run_begin(client);
	gateway_control_run_expect(
		client, gateway_core_revoke_user(gateway_control_core(client), &name, run));
}

static void revoke_all(struct control_client *client)
{
	uint64_t run = gateway_control_run_begin(client);

	gateway_control_run_expect(client,
				   gateway_core_revoke_all(gateway_control_core(client), run));
}

void gateway_control_revoke(struct control_client *client, const struct control_words *w,
			    size_t first)
{
	if (w->count == first + 2 && strcmp(w->word[first], "--user") == 0)
		revoke_user(client, w->word[first + 1]);
	else if (w->count == first + 1 && strcmp(w->word[first], "--all") == 0)
		revoke_all(client);
	else
		for_each_entity(client, w, first, gateway_core_revoke);
}

void gateway_control_reset(struct control_client *client, const struct control_words *w,
			   size_t first)
{
	for_each_entity(client, w, first, gateway_core_reset_again);
}

void gateway_control_forget(struct control_client *client, const struct control_words *w,
			    size_t first)
{
	struct name entity;
	int r;

	if (w->count != first + 1 || !gateway_control_entities(w, first, &entity)) {
		gateway_control_usage(client);
		return;
	}
	r = gateway_core_forget_revocation(gateway_control_core(client), &entity);
	gateway_control_say(client, "%s: %s", entity.text,
			    r == 0         ? "its reset is no longer waited for"
			    : r == -ENOENT ? "it was never revoked"
					   : strerror(-r));
	gateway_control_end(client, r == 0         ? CONTROL_DONE
				    : r == -ENOENT ? CONTROL_REFUSED
						   : CONTROL_RETRY);
}

static const char *reset_text(const struct revocation *r)
{
	switch (r->reset) {
	case RESET_NONE:
		return "none";
	case RESET_UNCONFIRMED:
		return r->forgotten ? "given-up" : "unconfirmed";
	case RESET_CONFIRMED:
		return "confirmed";
	}
	return "none";
}

static void each_revocation(void *arg, const struct revocation *r)
{
	time_t since = (time_t)r->since;
	struct tm utc;
	char when[32] = "-", seen[160];

	if (gmtime_r(&since, &utc))
		(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &utc);
	(void)revocation_seen(r, seen, sizeof(seen));
	gateway_control_say(
		arg, "%s epoch=%lu keys-up-to=%lu reset=%s server-knows=%s by=%s since=%s%s%s",
		r->entity.text, (unsigned long)r->epoch, (unsigned long)r->key_index, reset_text(r),
		r->told ? "yes" : "no", r->by_server ? "server" : "gateway", when,
		seen[0] ? " seen: " : "", seen);
}

void gateway_control_revocations(struct control_client *client, const struct control_words *w,
				 size_t first)
{
	if (w->count != first) {
		gateway_control_usage(client);
		return;
	}
	gateway_core_each_revocation(gateway_control_core(client), each_revocation, client);
	gateway_control_end(client, CONTROL_DONE);
}
