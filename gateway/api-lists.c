/* Gateway1: lists, and single questions. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/p1.h"

/*
 * Lists of what there may be very many of: the answer is written a piece in each turn of the loop,
 * so that others are answered meanwhile. Once it is looked at what has changed before the call,
 * the names are taken; of those that go before their turn nothing is written.
 */

struct listed {
	size_t piece;
	size_t (*count)(const struct gateway_api *api);
	bool (*name)(const struct gateway_api *api, size_t i, struct name *out);
	void (*put)(struct api_writer *w, struct gateway_api *api, const struct name *name);
};

struct api_listing {
	struct api_listing *next;
	const struct listed *what;
	sd_bus_message *call;
	struct api_writer w;
	bool begun;
	struct name *names; /* NULL: not taken yet */
	size_t count, at;
};

static void listing_free(struct api_listing *l)
{
	sd_bus_message_unref(l->w.m);
	sd_bus_message_unref(l->call);
	free(l->names);
	free(l);
}

void gateway_api_listings_end(struct gateway_api *api)
{
	while (api->listings) {
		struct api_listing *l = api->listings;

		api->listings = l->next;
		listing_free(l);
	}
}

/* names are taken over; NULL: all there are. */
static void list(struct api_call *call, const struct listed *what, struct name *names, size_t count)
{
	struct api_listing *l = calloc(1, sizeof(*l)), **end = &call->api->listings;

	if (!l) {
		free(names);
		gateway_api_errno(call->m, -ENOMEM);
		return;
	}
	l->what = what;
	l->call = sd_bus_message_ref(call->m);
	l->names = names;
	l->count = count;
	while (*end)
		end = &(*end)->next;
	*end = l;
	gateway_api_soon(call->api);
}

static void listing_begin(struct gateway_api *api, struct api_listing *l)
{
	size_t all = l->names ? 0 : l->what->count(api);

	l->begun = true;
	gateway_api_reply_begin(&l->w, l->call);
	gateway_api_list_begin(&l->w, "a{sv}");
	if (l->names)
		return;
	l->names = calloc(all + 1, sizeof(*l->names));
	if (!l->names && l->w.r >= 0)
		l->w.r = -ENOMEM;
	for (size_t i = 0; l->names && i < all; i++) {
		if (l->what->name(api, i, &l->names[l->count]))
			l->count++;
	}
}

bool gateway_api_listings_step(struct gateway_api *api)
{
	struct api_listing *l = api->listings;

	if (!l || !api->core || (api->looking && !l->begun))
		return false;
	if (!l->begun)
		listing_begin(api, l);
	for (size_t i = 0; i < l->what->piece && l->at < l->count && l->w.r >= 0; i++)
		l->what->put(&l->w, api, &l->names[l->at++]);
	if (l->at < l->count && l->w.r >= 0)
		return true;
	api->listings = l->next;
	gateway_api_list_end(&l->w);
	gateway_api_send(&l->w);
	listing_free(l);
	return api->listings != NULL;
}

static size_t count_elements(const struct gateway_api *api)
{
	return api->element_count;
}

static bool name_of_element(const struct gateway_api *api, size_t i, struct name *out)
{
	*out = api->elements[i].entity;
	return true;
}

static void put_element(struct api_writer *w, struct gateway_api *api, const struct name *entity)
{
	struct api_element *e = gateway_api_element_of(api, entity);

	if (!e)
		return;
	gateway_api_element_fresh(api, e);
	gateway_api_dict_begin(w);
	gateway_api_put_element(w, e);
	gateway_api_dict_end(w);
}

void gateway_api_list_elements(struct api_call *call)
{
	static const struct listed elements = {64, count_elements, name_of_element, put_element};

	list(call, &elements, NULL, 0);
}

static size_t count_users(const struct gateway_api *api)
{
	return api->users.count;
}

static bool name_of_user(const struct gateway_api *api, size_t i, struct name *out)
{
	*out = api->users.list[i];
	return true;
}

static void put_user(struct api_writer *w, struct gateway_api *api, const struct name *user)
{
	gateway_api_dict_begin(w);
	gateway_api_put_user(w, api, user);
	gateway_api_dict_end(w);
}

void gateway_api_list_users(struct api_call *call)
{
	/* Each goes through all PNEs for his. */
	static const struct listed users = {4, count_users, name_of_user, put_user};

	list(call, &users, NULL, 0);
}

static void put_pool(struct api_writer *w, struct gateway_api *api, const struct name *entity)
{
	struct core_pool_info info;
	int r = gateway_core_pool_info(api->core, entity, &info);

	if (r != 0) {
		if (w->r >= 0)
			w->r = r;
		return;
	}
	gateway_api_dict_begin(w);
	gateway_api_text(w, "Entity", entity->text);
	gateway_api_u32(w, "Left", info.left);
	gateway_api_u32(w, "Held", info.current);
	gateway_api_u32(w, "Unconfirmed", info.unconfirmed);
	gateway_api_i64(w, "RenewIn",
			info.renew_in == POOL_NEVER || info.renew_in > INT64_MAX
				? -1
				: (int64_t)info.renew_in);
	gateway_api_flag(w, "RefillNeedsUser", info.refill_needs_user);
	gateway_api_dict_end(w);
}

static bool name_of_owned(const struct gateway_api *api, size_t i, struct name *out)
{
	*out = api->elements[i].entity;
	return api->elements[i].owner.text[0] != '\0';
}

void gateway_api_list_pools(struct api_call *call)
{
	static const struct listed pools = {64, count_elements, name_of_owned, put_pool};
	struct name *entities;
	size_t count;

	if (!gateway_api_read_entities(call->m, 0, &entities, &count))
		return;
	for (size_t i = 0; i < count; i++) {
		if (!gateway_core_on_record(call->api->core, &entities[i])) {
			gateway_api_unknown(call->m, &entities[i]);
			free(entities);
			return;
		}
	}
	if (count == 0) {
		free(entities);
		entities = NULL;
	}
	list(call, &pools, entities, count);
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

static void put_revocation(void *arg, const struct revocation *r)
{
	struct api_writer *w = arg;
	char seen[160];

	(void)revocation_seen(r, seen, sizeof(seen));
	gateway_api_dict_begin(w);
	gateway_api_text(w, "Entity", r->entity.text);
	gateway_api_u32(w, "Epoch", r->epoch);
	gateway_api_u32(w, "KeysUpTo", r->key_index);
	gateway_api_text(w, "Reset", reset_text(r));
	gateway_api_flag(w, "ServerKnows", r->told);
	gateway_api_text(w, "By", r->by_server ? "server" : "gateway");
	gateway_api_u64(w, "Since", r->since);
	gateway_api_text(w, "Seen", seen);
	gateway_api_dict_end(w);
}

void gateway_api_list_revocations(struct api_call *call)
{
	struct api_writer w;

	gateway_api_reply_begin(&w, call->m);
	gateway_api_list_begin(&w, "a{sv}");
	gateway_core_each_revocation(call->api->core, put_revocation, &w);
	gateway_api_list_end(&w);
	gateway_api_send(&w);
}

/* "" is the PN GW. */
static bool entity_or_self(struct api_call *call, struct name *out)
{
	const char *text;

	if (!gateway_api_read_text(call->m, &text))
		return false;
	*out = call->api->options.config->entity_id;
	if (!text[0])
		return true;
	if (entity_id_valid(bytes_text(text)) && name_set(out, bytes_text(text)) == 0)
		return true;
	gateway_api_error(call->m, "InvalidArguments", "that is no Entity ID");
	return false;
}

static void no_fingerprint(struct api_call *call, const struct name *entity)
{
	struct core *core = call->api->core;
	struct core_pool_info info;

	if (!gateway_core_on_record(core, entity))
		gateway_api_unknown(call->m, entity);
	else if (gateway_core_pool_info(core, entity, &info) == 0 && info.relayed > 0)
		gateway_api_error(call->m, "NotFound",
				  "%s took EUKey %lu, but its key only passed through here: the "
				  "PNE and the CPNS Server have it, this PN GW does not",
				  entity->text, (unsigned long)info.relayed);
	else
		gateway_api_error(call->m, "NotFound", "%s has no EUKey that is known to be held",
				  entity->text);
}

void gateway_api_fingerprint(struct api_call *call)
{
	uint8_t print[8];
	struct name entity, user;
	const void *challenge;
	struct api_writer w;
	uint32_t index;
	char hex[17];
	size_t size;
	int r;

	if (!entity_or_self(call, &entity))
		return;
	if (sd_bus_message_read_array(call->m, 'y', &challenge, &size) < 0 || size < 8 ||
	    size > 64) {
		gateway_api_error(call->m, "InvalidArguments", "a challenge is 8 to 64 bytes");
		return;
	}
	r = gateway_core_fingerprint(call->api->core, &entity, bytes_of(challenge, size), print,
				     &index, &user);
	if (r < 0)
		gateway_api_errno(call->m, r);
	else if (r > 0)
		no_fingerprint(call, &entity);
	if (r != 0)
		return;
	(void)hex_encode(bytes_of(print, sizeof(print)), hex, sizeof(hex));
	gateway_api_reply_begin(&w, call->m);
	gateway_api_dict_begin(&w);
	gateway_api_text(&w, "Entity", entity.text);
	gateway_api_text(&w, "User", user.text);
	gateway_api_u32(&w, "KeyIndex", index);
	gateway_api_text(&w, "Fingerprint", hex);
	gateway_api_dict_end(&w);
	gateway_api_send(&w);
}

void gateway_api_explain(struct api_call *call)
{
	struct name user, entity;
	struct api_writer w;
	enum figure figure;
	char why[160];

	if (!gateway_api_read_user(call->m, &user) || !gateway_api_read_entity(call->m, &entity))
		return;
	figure = gateway_core_choose(call->api->core, &user, &entity, why, sizeof(why));
	gateway_api_reply_begin(&w, call->m);
	gateway_api_dict_begin(&w);
	gateway_api_u32(&w, "Figure", (uint64_t)figure);
	gateway_api_text(&w, "Why", why);
	gateway_api_dict_end(&w);
	gateway_api_send(&w);
}
