/* Pne1 and User1: an object for each PNE and each user that the PN GW knows. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PNE_FOLDER     API_PATH "/pne"
#define USER_FOLDER    API_PATH "/user"
#define PNE_INTERFACE  "org.pngw.Pne1"
#define USER_INTERFACE "org.pngw.User1"
#define TOUCHED_MAX    64 /* then everything is looked at */
#define LOOK_AT_ONCE   64 /* PNEs in one turn of the loop */

void gateway_api_touch(struct gateway_api *api, const struct name *entity)
{
	if (!api)
		return;
	gateway_api_soon(api);
	if (!entity || api->touched_count == TOUCHED_MAX) {
		api->all_touched = true;
		return;
	}
	if (!api->touched) {
		api->touched = calloc(TOUCHED_MAX, sizeof(*api->touched));
		if (!api->touched) {
			api->all_touched = true;
			return;
		}
	}
	for (size_t i = 0; i < api->touched_count; i++) {
		if (name_equal(&api->touched[i], entity))
			return;
	}
	api->touched[api->touched_count++] = *entity;
}

struct api_element *gateway_api_element_of(struct gateway_api *api, const struct name *entity)
{
	size_t place = gateway_names_find(&api->element_names, entity);

	return place != NAMES_NONE ? &api->elements[place] : NULL;
}

/* Without what is costly. False: nothing is known of it. */
static bool read_element(struct gateway_api *api, const struct name *entity,
			 struct api_element *out)
{
	struct core_link_info link;
	bool owned;

	memset(out, 0, sizeof(*out));
	out->entity = *entity;
	out->connected = gateway_core_link_info(api->core, entity, &link);
	if (out->connected) {
		out->level = link.level;
		out->screen = link.ui;
		memcpy(out->peer, link.peer, sizeof(out->peer));
	}
	owned = records_get_pne_owner(api->vault, entity, &out->owner) == 0;
	return out->connected || owned;
}

static void address_text(const struct bluetooth_place *place, char *out, size_t size)
{
	const uint8_t *a = place->address;

	(void)snprintf(out, size, "%02X:%02X:%02X:%02X:%02X:%02X", a[0], a[1], a[2], a[3], a[4],
		       a[5]);
}

void gateway_api_element_fresh(struct gateway_api *api, struct api_element *e)
{
	struct revocation revocation;
	struct bluetooth_place place;
	struct name entity = e->entity;

	if (!api->core || (e->read_at != 0 && e->read_at == uv_now(api->loop)))
		return;
	(void)read_element(api, &entity, e);
	(void)gateway_core_pool_info(api->core, &entity, &e->pool);
	if (records_get_bluetooth(api->vault, &entity, &place) == 0)
		address_text(&place, e->address, sizeof(e->address));
	e->revoked = revocation_get(api->vault, &entity, &revocation) == 0 &&
		     revocation.reset != RESET_CONFIRMED;
	e->read_at = uv_now(api->loop);
}

static const char *level_text(const struct api_element *e)
{
	return e->connected ? pan_security_name(e->level) : "";
}

void gateway_api_put_element(struct api_writer *w, const struct api_element *e)
{
	gateway_api_text(w, "Entity", e->entity.text);
	gateway_api_flag(w, "Connected", e->connected);
	gateway_api_text(w, "Level", level_text(e));
	gateway_api_flag(w, "Screen", e->screen);
	gateway_api_text(w, "Owner", e->owner.text);
	gateway_api_text(w, "Peer", e->peer);
	gateway_api_text(w, "Address", e->address);
	gateway_api_u32(w, "Held", e->pool.current);
	gateway_api_u32(w, "Relayed", e->pool.relayed);
	gateway_api_u32(w, "Unconfirmed", e->pool.unconfirmed);
	gateway_api_u32(w, "Left", e->pool.left);
	gateway_api_flag(w, "Revoked", e->revoked);
}

/* Users. */

static size_t entities_of(struct gateway_api *api, const struct name *user, struct name *out)
{
	size_t n = 0;

	for (size_t i = 0; i < api->element_count; i++) {
		if (name_equal(&api->elements[i].owner, user))
			out[n++] = api->elements[i].entity;
	}
	return n;
}

static bool owns_gateway(struct gateway_api *api, const struct name *user)
{
	return api->core && name_equal(gateway_core_owner(api->core), user);
}

void gateway_api_put_user(struct api_writer *w, struct gateway_api *api, const struct name *user)
{
	struct name *entities = calloc(api->element_count + 1, sizeof(*entities));

	gateway_api_text(w, "User", user->text);
	if (entities)
		gateway_api_names(w, "Entities", entities, entities_of(api, user, entities));
	else if (w->r >= 0)
		w->r = -ENOMEM;
	gateway_api_flag(w, "OwnsGateway", owns_gateway(api, user));
	free(entities);
}

static int add_owner(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct name name;

	(void)item;
	(void)content;
	return name_set(&name, owner) == 0 ? gateway_names_add(arg, &name) : 0;
}

/* The object of a name in a folder; the caller's to free(). NULL: out of memory. */
static char *path_of(const char *folder, const struct name *name)
{
	char *path = NULL;

	return sd_bus_path_encode(folder, name->text, &path) < 0 ? NULL : path;
}

static void emit(struct gateway_api *api, const char *folder, const char *interface,
		 const struct name *name, bool added)
{
	char *path = path_of(folder, name);

	if (!path || !api->connection) {
		free(path);
		return;
	}
	api->emitting = true;
	if (added)
		(void)sd_bus_emit_interfaces_added(api->connection, path, interface, NULL);
	else
		(void)sd_bus_emit_interfaces_removed(api->connection, path, interface, NULL);
	api->emitting = false;
	free(path);
}

static void update_users(struct gateway_api *api)
{
	struct names now = {.count = 0}, before = api->users;
	const struct name *owner = gateway_core_owner(api->core);
	int r = owner->text[0] ? gateway_names_add(&now, owner) : 0;

	for (size_t i = 0; r == 0 && i < api->element_count; i++) {
		if (api->elements[i].owner.text[0])
			r = gateway_names_add(&now, &api->elements[i].owner);
	}
	if (r == 0)
		r = vault_each(api->vault, VAULT_VERIFIER, BYTES_NONE, add_owner, &now, NULL);
	if (r == -ENOMEM) {
		gateway_names_free(&now);
		return;
	}
	for (size_t i = 0; i < before.count; i++) {
		if (gateway_names_find(&now, &before.list[i]) == NAMES_NONE)
			emit(api, USER_FOLDER, USER_INTERFACE, &before.list[i], false);
	}
	api->users = now;
	for (size_t i = 0; i < now.count; i++) {
		if (gateway_names_find(&before, &now.list[i]) == NAMES_NONE)
			emit(api, USER_FOLDER, USER_INTERFACE, &now.list[i], true);
	}
	gateway_names_free(&before);
}

/* PNEs that come and go. */

static void tell_element(struct gateway_api *api, const struct api_element *e)
{
	char *path = path_of(PNE_FOLDER, &e->entity);

	if (path && api->connection) {
		api->emitting = true;
		(void)sd_bus_emit_properties_changed(api->connection, path, PNE_INTERFACE,
						     "Connected", "Level", "Screen", "Owner",
						     "Peer", "Address", "Held", "Relayed",
						     "Unconfirmed", "Left", "Revoked", NULL);
		api->emitting = false;
	}
	free(path);
}

static struct api_element *new_element(struct gateway_api *api, const struct name *entity)
{
	if (api->element_count == api->element_room) {
		size_t room = api->element_room ? 2 * api->element_room : 32;
		struct api_element *list = realloc(api->elements, room * sizeof(*list));

		if (!list)
			return NULL;
		api->elements = list;
		api->element_room = room;
	}
	if (gateway_names_add(&api->element_names, entity) != 0)
		return NULL;
	return &api->elements[api->element_count++];
}

static void look_at(struct gateway_api *api, const struct name *entity)
{
	struct api_element *e = gateway_api_element_of(api, entity), found;
	bool known = read_element(api, entity, &found);

	if (known && !e) {
		e = new_element(api, entity);
		if (!e)
			return;
		*e = found;
		emit(api, PNE_FOLDER, PNE_INTERFACE, entity, true);
	} else if (known) {
		e->read_at = 0;
		tell_element(api, e);
	} else if (e) {
		gateway_names_remove(&api->element_names, (size_t)(e - api->elements));
		*e = api->elements[--api->element_count];
		emit(api, PNE_FOLDER, PNE_INTERFACE, entity, false);
	}
}

static void add_link(void *arg, const struct name *entity, enum pan_security level, bool ui,
		     const struct name *owner, const char *peer)
{
	(void)level;
	(void)ui;
	(void)owner;
	(void)peer;
	(void)gateway_names_add(arg, entity);
}

/*
 * Everything is looked at a piece at a time: what there is an object for, what is connected, then
 * the vault. Of a piece that fails the rest is looked at the next time.
 */
static void begin_looking(struct gateway_api *api)
{
	gateway_names_free(&api->looked_at);
	api->looking = true;
	api->look_next = 0;
	api->look_from = (struct vault_cursor){.begun = false};
	for (size_t i = 0; i < api->element_count; i++)
		(void)gateway_names_add(&api->looked_at, &api->elements[i].entity);
	gateway_core_each_link(api->core, add_link, &api->looked_at);
}

static void look_at_some(struct gateway_api *api)
{
	if (api->look_next == api->looked_at.count &&
	    vault_each_some(api->vault, VAULT_PNE, &api->look_from, LOOK_AT_ONCE, add_owner,
			    &api->looked_at) != 0)
		api->look_from.ended = true;
	for (size_t i = 0; i < LOOK_AT_ONCE && api->look_next < api->looked_at.count; i++)
		look_at(api, &api->looked_at.list[api->look_next++]);
	if (api->look_next < api->looked_at.count || !api->look_from.ended)
		return;
	api->looking = false;
	gateway_names_free(&api->looked_at);
}

bool gateway_api_objects_step(struct gateway_api *api)
{
	size_t count = api->touched_count;

	if (!api->core || (!api->all_touched && !api->looking && count == 0))
		return false;
	if (api->all_touched && !api->looking) {
		api->all_touched = false;
		begin_looking(api);
	}
	api->touched_count = 0;
	for (size_t i = 0; i < count; i++)
		look_at(api, &api->touched[i]);
	if (api->looking)
		look_at_some(api);
	if (!api->looking) {
		update_users(api);
		gateway_api_changed(api, "elements");
	}
	return api->looking || api->all_touched;
}

void gateway_api_objects_update(struct gateway_api *api)
{
	while (gateway_api_objects_step(api))
		;
}

void gateway_api_objects_free(struct gateway_api *api)
{
	free(api->touched);
	free(api->elements);
	gateway_names_free(&api->element_names);
	gateway_names_free(&api->looked_at);
	gateway_names_free(&api->users);
}

/* The objects on the bus. */

static int get_pne(sd_bus *bus, const char *path, const char *interface, const char *property,
		   sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct gateway_api *api = userdata;
	struct api_writer w = {.m = reply};
	struct api_element *e;
	struct name entity;
	char *text = NULL;
	int flag, r = gateway_api_may_read(api, sd_bus_get_current_message(bus), error);

	(void)interface;
	if (r < 0)
		return r;
	r = sd_bus_path_decode(path, PNE_FOLDER, &text);
	if (r <= 0 || name_set(&entity, bytes_text(text)) != 0) {
		free(text);
		return -ENOENT;
	}
	free(text);
	e = gateway_api_element_of(api, &entity);
	if (!e)
		return -ENOENT;
	gateway_api_element_fresh(api, e);
	if (strcmp(property, "Entity") == 0)
		gateway_api_put_text(&w, e->entity.text);
	else if (strcmp(property, "Level") == 0)
		gateway_api_put_text(&w, level_text(e));
	else if (strcmp(property, "Owner") == 0)
		gateway_api_put_text(&w, e->owner.text);
	else if (strcmp(property, "Peer") == 0)
		gateway_api_put_text(&w, e->peer);
	else if (strcmp(property, "Address") == 0)
		gateway_api_put_text(&w, e->address);
	else if (strcmp(property, "Held") == 0)
		return sd_bus_message_append(reply, "u", e->pool.current);
	else if (strcmp(property, "Relayed") == 0)
		return sd_bus_message_append(reply, "u", e->pool.relayed);
	else if (strcmp(property, "Unconfirmed") == 0)
		return sd_bus_message_append(reply, "u", e->pool.unconfirmed);
	else if (strcmp(property, "Left") == 0)
		return sd_bus_message_append(reply, "u", (uint32_t)e->pool.left);
	else {
		flag = strcmp(property, "Connected") == 0 ? e->connected
		       : strcmp(property, "Screen") == 0  ? e->screen
							  : e->revoked;
		return sd_bus_message_append(reply, "b", flag);
	}
	return w.r;
}

static int get_user(sd_bus *bus, const char *path, const char *interface, const char *property,
		    sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct gateway_api *api = userdata;
	struct api_writer w = {.m = reply};
	struct name user, *entities;
	size_t count;
	char *text = NULL;
	int r = gateway_api_may_read(api, sd_bus_get_current_message(bus), error);

	(void)interface;
	if (r < 0)
		return r;
	r = sd_bus_path_decode(path, USER_FOLDER, &text);
	if (r <= 0 || name_set(&user, bytes_text(text)) != 0) {
		free(text);
		return -ENOENT;
	}
	free(text);
	if (strcmp(property, "User") == 0) {
		gateway_api_put_text(&w, user.text);
		return w.r;
	}
	if (strcmp(property, "OwnsGateway") == 0)
		return sd_bus_message_append(reply, "b", (int)owns_gateway(api, &user));
	entities = calloc(api->element_count + 1, sizeof(*entities));
	if (!entities)
		return -ENOMEM;
	count = entities_of(api, &user, entities);
	gateway_api_list_begin(&w, "s");
	for (size_t i = 0; i < count; i++)
		gateway_api_put_text(&w, entities[i].text);
	gateway_api_list_end(&w);
	free(entities);
	return w.r;
}

static int find_pne(sd_bus *bus, const char *path, const char *interface, void *userdata,
		    void **found, sd_bus_error *error)
{
	struct gateway_api *api = userdata;
	struct name entity;
	char *text = NULL;
	int r = sd_bus_path_decode(path, PNE_FOLDER, &text);

	(void)bus;
	(void)interface;
	(void)error;
	if (r > 0)
		r = name_set(&entity, bytes_text(text)) == 0 &&
		    gateway_api_element_of(api, &entity);
	free(text);
	*found = api;
	return r > 0 ? 1 : 0;
}

static int find_user(sd_bus *bus, const char *path, const char *interface, void *userdata,
		     void **found, sd_bus_error *error)
{
	struct gateway_api *api = userdata;
	struct name user;
	char *text = NULL;
	int r = sd_bus_path_decode(path, USER_FOLDER, &text);

	(void)bus;
	(void)interface;
	(void)error;
	if (r > 0)
		r = name_set(&user, bytes_text(text)) == 0 &&
		    gateway_names_find(&api->users, &user) != NAMES_NONE;
	free(text);
	*found = api;
	return r > 0 ? 1 : 0;
}

static const struct name *element_name(const struct gateway_api *api, size_t i)
{
	return &api->elements[i].entity;
}

static const struct name *user_name(const struct gateway_api *api, size_t i)
{
	return &api->users.list[i];
}

static int enumerate(const struct gateway_api *api, const char *folder, size_t count,
		     const struct name *(*name_at)(const struct gateway_api *api, size_t i),
		     char ***out)
{
	char **list = calloc(count + 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		list[i] = path_of(folder, name_at(api, i));
		if (!list[i]) {
			while (i > 0)
				free(list[--i]);
			free(list);
			return -ENOMEM;
		}
	}
	*out = list;
	return 0;
}

static int enumerate_pnes(sd_bus *bus, const char *prefix, void *userdata, char ***out,
			  sd_bus_error *error)
{
	struct gateway_api *api = userdata;

	(void)bus;
	(void)prefix;
	(void)error;
	return enumerate(api, PNE_FOLDER, api->element_count, element_name, out);
}

static int enumerate_users(sd_bus *bus, const char *prefix, void *userdata, char ***out,
			   sd_bus_error *error)
{
	struct gateway_api *api = userdata;

	(void)bus;
	(void)prefix;
	(void)error;
	return enumerate(api, USER_FOLDER, api->users.count, user_name, out);
}

#define CHANGES SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE

static const sd_bus_vtable pne_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("Entity", "s", get_pne, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Connected", "b", get_pne, 0, CHANGES),
	SD_BUS_PROPERTY("Level", "s", get_pne, 0, CHANGES),
	SD_BUS_PROPERTY("Screen", "b", get_pne, 0, CHANGES),
	SD_BUS_PROPERTY("Owner", "s", get_pne, 0, CHANGES),
	SD_BUS_PROPERTY("Peer", "s", get_pne, 0, CHANGES),
	SD_BUS_PROPERTY("Address", "s", get_pne, 0, CHANGES),
	SD_BUS_PROPERTY("Held", "u", get_pne, 0, CHANGES),
	SD_BUS_PROPERTY("Relayed", "u", get_pne, 0, CHANGES),
	SD_BUS_PROPERTY("Unconfirmed", "u", get_pne, 0, CHANGES),
	SD_BUS_PROPERTY("Left", "u", get_pne, 0, CHANGES),
	SD_BUS_PROPERTY("Revoked", "b", get_pne, 0, CHANGES),
	SD_BUS_VTABLE_END,
};

static const sd_bus_vtable user_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("User", "s", get_user, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Entities", "as", get_user, 0, 0),
	SD_BUS_PROPERTY("OwnsGateway", "b", get_user, 0, 0),
	SD_BUS_VTABLE_END,
};

int gateway_api_objects_export(struct gateway_api *api)
{
	int r = sd_bus_add_fallback_vtable(api->connection, NULL, PNE_FOLDER, PNE_INTERFACE,
					   pne_vtable, find_pne, api);

	if (r >= 0)
		r = sd_bus_add_fallback_vtable(api->connection, NULL, USER_FOLDER, USER_INTERFACE,
					       user_vtable, find_user, api);
	if (r >= 0)
		r = sd_bus_add_node_enumerator(api->connection, NULL, PNE_FOLDER, enumerate_pnes,
					       api);
	if (r >= 0)
		r = sd_bus_add_node_enumerator(api->connection, NULL, USER_FOLDER, enumerate_users,
					       api);
	return r;
}
