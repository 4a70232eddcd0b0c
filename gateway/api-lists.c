/* Gateway1: lists, and single questions. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/p1.h"

void gateway_api_list_elements(struct api_call *call)
{
	struct gateway_api *api = call->api;
	struct api_writer w;

	gateway_api_objects_update(api);
	gateway_api_reply_begin(&w, call->m);
	gateway_api_list_begin(&w, "a{sv}");
	for (size_t i = 0; i < api->element_count; i++) {
		gateway_api_element_fresh(api, &api->elements[i]);
		gateway_api_dict_begin(&w);
		gateway_api_put_element(&w, &api->elements[i]);
		gateway_api_dict_end(&w);
	}
	gateway_api_list_end(&w);
	gateway_api_send(&w);
}

void gateway_api_list_users(struct api_call *call)
{
	struct gateway_api *api = call->api;
	struct api_writer w;

	gateway_api_objects_update(api);
	gateway_api_reply_begin(&w, call->m);
	gateway_api_list_begin(&w, "a{sv}");
	for (size_t i = 0; i < api->users.count; i++) {
		gateway_api_dict_begin(&w);
		gateway_api_put_user(&w, api, &api->users.list[i]);
		gateway_api_dict_end(&w);
	}
	gateway_api_list_end(&w);
	gateway_api_send(&w);
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

void gateway_api_list_pools(struct api_call *call)
{
	struct gateway_api *api = call->api;
	struct name *entities;
	struct api_writer w;
	size_t count;

	if (!gateway_api_read_entities(call->m, 0, &entities, &count))
		return;
	for (size_t i = 0; i < count; i++) {
		if (!gateway_core_on_record(api->core, &entities[i])) {
			gateway_api_unknown(call->m, &entities[i]);
			free(entities);
			return;
		}
	}
	gateway_api_objects_update(api);
	gateway_api_reply_begin(&w, call->m);
	gateway_api_list_begin(&w, "a{sv}");
	for (size_t i = 0; i < count; i++)
		put_pool(&w, api, &entities[i]);
	for (size_t i = 0; count == 0 && i < api->element_count; i++) {
		if (api->elements[i].owner.text[0])
			put_pool(&w, api, &api->elements[i].entity);
	}
	gateway_api_list_end(&w);
	gateway_api_send(&w);
	free(entities);
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
