/* Gateway1: what the PN GW knows of itself and of its PNEs. */

#include "gateway/api-internal.h"

#include <config.h>

static void count_link(void *arg, const struct name *entity, enum pan_security level, bool ui,
		       const struct name *owner, const char *peer)
{
	(void)entity;
	(void)level;
	(void)ui;
	(void)owner;
	(void)peer;
	++*(size_t *)arg;
}

static void put_counter(struct api_writer *w, const char *key, uint64_t value)
{
	if (w->r >= 0)
		w->r = sd_bus_message_append(w->m, "{st}", key, value);
}

static void put_counters(struct api_writer *w, const struct core_counters *n)
{
	if (w->r >= 0)
		w->r = sd_bus_message_open_container(w->m, 'e', "sv");
	if (w->r >= 0)
		w->r = sd_bus_message_append_basic(w->m, 's', "Counters");
	if (w->r >= 0)
		w->r = sd_bus_message_open_container(w->m, 'v', "a{st}");
	gateway_api_list_begin(w, "{st}");
	put_counter(w, "links", n->links);
	put_counter(w, "relayed", n->relayed);
	put_counter(w, "coalesced", n->coalesced);
	put_counter(w, "refused", n->refused);
	put_counter(w, "procedures", n->procedures);
	put_counter(w, "done", n->done);
	put_counter(w, "failed", n->failed);
	put_counter(w, "reports", n->reports);
	gateway_api_list_end(w);
	gateway_api_list_end(w);
	gateway_api_list_end(w);
}

static void put_warnings(struct api_writer *w, struct gateway_api *api,
			 const struct gateway_api_status *s)
{
	const char *list[2 + sizeof(s->damage) / sizeof(s->damage[0])];
	size_t n = 0;

	if (s->damage_count > 0)
		list[n++] = "the vault was damaged when it was opened";
	if (api->vault && vault_rollback(api->vault))
		list[n++] = "an older copy of the vault was put back";
	gateway_api_texts(w, "Warnings", list, n);
}

void gateway_api_get_status(struct api_call *call)
{
	static const struct core_counters none;
	struct gateway_api *api = call->api;
	const struct config *config = api->options.config;
	struct gateway_api_status s = {.wan_up = false};
	struct api_writer w;
	size_t links = 0;

	api->options.status(api->options.arg, &s);
	if (api->core)
		gateway_core_each_link(api->core, count_link, &links);
	gateway_api_reply_begin(&w, call->m);
	gateway_api_dict_begin(&w);
	gateway_api_text(&w, "Entity", config->entity_id.text);
	gateway_api_text(&w, "Server", config->server_entity_id.text);
	gateway_api_text(&w, "Version", PACKAGE_VERSION);
	gateway_api_text(&w, "State", api->core ? "ready" : "opening");
	gateway_api_text(&w, "Owner", api->core ? gateway_core_owner(api->core)->text : "");
	gateway_api_u32(&w, "OwnKeyIndex", api->core ? gateway_core_own_index(api->core) : 0);
	gateway_api_text(&w, "Wan", s.wan_up ? "up" : "down");
	gateway_api_text(&w, "WanText", s.wan_text);
	gateway_api_flag(&w, "WanMutual", s.wan_mutual);
	gateway_api_text(&w, "Bluetooth",
			 api->bluetooth ? bluez_state_text(bluez_state(
						  gateway_bluetooth_bluez(api->bluetooth)))
					: "");
	gateway_api_u32(&w, "Links", links);
	gateway_api_u32(&w, "Procedures", api->core ? gateway_core_procedures(api->core) : 0);
	put_counters(&w, api->core ? gateway_core_counters(api->core) : &none);
	put_warnings(&w, api, &s);
	gateway_api_dict_end(&w);
	gateway_api_send(&w);
}
