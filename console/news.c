#include "console/news.h"

#include <stdlib.h>
#include <string.h>

#include "console/pace.h"

#define HELD_MAX    100
#define PNE_FOLDER  "/org/pngw/pne"
#define VERDICT_TAG "verdict: "
#define REDRAWN     80 /* bytes: the line that is being typed */

struct news {
	struct console *console;
	void (*begin)(void *arg);
	void (*end)(void *arg);
	void *arg;
	bool hold;
	json_object *held;      /* sentences */
	json_object *connected; /* of each PNE's path that is known: is it? */
	size_t dropped;
};

/* It was a verdict of a procedure here, and was shown. */
static bool known(struct news *n, const char *text)
{
	json_object *told = n->console->told;

	for (size_t i = 0; told && i < json_object_array_length(told); i++) {
		if (strcmp(json_object_get_string(json_object_array_get_idx(told, i)), text) == 0) {
			(void)json_object_array_del_idx(told, i, 1);
			return true;
		}
	}
	return false;
}

static void show(struct news *n, const char *text)
{
	bool verdict = strncmp(text, VERDICT_TAG, strlen(VERDICT_TAG)) == 0;

	if (verdict && known(n, text + strlen(VERDICT_TAG)))
		return;
	if (n->console->writer.pace && !pace_may(n->console->writer.pace, strlen(text) + REDRAWN))
		return;
	n->begin(n->arg);
	writer_left_out(&n->console->writer);
	writer_say(&n->console->writer, "%s", text);
	n->end(n->arg);
}

static void tell(struct news *n, const char *text)
{
	if (!n->hold)
		show(n, text);
	else if (json_object_array_length(n->held) < HELD_MAX)
		(void)json_object_array_add(n->held, json_object_new_string(text));
	else
		n->dropped++;
}

static void on_gateway(struct news *n, const char *member, sd_bus_message *m)
{
	json_object *data = client_decode(m);
	char text[2048];

	if (strcmp(member, "VerdictGiven") == 0 && json_object_is_type(data, json_type_object)) {
		const char *sentence = json_object_get_string(json_object_object_get(data, "text"));

		(void)snprintf(text, sizeof(text), VERDICT_TAG "%s", sentence ? sentence : "");
		tell(n, text);
	}
	(void)json_object_put(data);
}

static void tell_connected(struct news *n, const char *path, bool now, const char *level)
{
	json_object *before = NULL;
	char *entity = NULL, text[512];

	(void)json_object_object_get_ex(n->connected, path, &before);
	if (json_object_get_boolean(before) == now ||
	    sd_bus_path_decode(path, PNE_FOLDER, &entity) <= 0)
		return;
	(void)json_object_object_add(n->connected, path, json_object_new_boolean(now));
	if (now)
		(void)snprintf(text, sizeof(text), "%s is connected%s%s", entity,
			       level && level[0] ? ", PAN security " : "", level ? level : "");
	else
		(void)snprintf(text, sizeof(text), "%s has gone", entity);
	tell(n, text);
	free(entity);
}

static void properties_of(struct news *n, const char *path, json_object *properties)
{
	json_object *connected = NULL;

	if (json_object_object_get_ex(properties, "connected", &connected))
		tell_connected(n, path, json_object_get_boolean(connected),
			       json_object_get_string(json_object_object_get(properties, "level")));
}

/* interface, what changed, what is to be asked for. */
static void on_properties(struct news *n, const char *path, sd_bus_message *m)
{
	json_object *interface = client_decode(m), *changed = client_decode(m);
	const char *name = json_object_get_string(interface);

	if (name && strcmp(name, "org.pngw.Pne1") == 0 &&
	    json_object_is_type(changed, json_type_object))
		properties_of(n, path, changed);
	(void)json_object_put(interface);
	(void)json_object_put(changed);
}

static void on_added(struct news *n, sd_bus_message *m)
{
	json_object *path = client_decode(m), *interfaces = client_decode(m);
	json_object *pne = json_object_is_type(interfaces, json_type_object)
				   ? json_object_object_get(interfaces, "org.pngw.Pne1")
				   : NULL;

	if (pne)
		properties_of(n, json_object_get_string(path), pne);
	(void)json_object_put(path);
	(void)json_object_put(interfaces);
}

static void on_removed(struct news *n, sd_bus_message *m)
{
	json_object *path = client_decode(m);

	if (json_object_is_type(path, json_type_string))
		tell_connected(n, json_object_get_string(path), false, "");
	(void)json_object_put(path);
}

static void on_signal(void *arg, const char *path, const char *interface, const char *member,
		      sd_bus_message *m)
{
	struct news *n = arg;

	if (strcmp(interface, "org.pngw.Gateway1") == 0)
		on_gateway(n, member, m);
	else if (strcmp(member, "PropertiesChanged") == 0)
		on_properties(n, path, m);
	else if (strcmp(member, "InterfacesAdded") == 0)
		on_added(n, m);
	else if (strcmp(member, "InterfacesRemoved") == 0)
		on_removed(n, m);
}

static void on_service(void *arg, bool there)
{
	struct news *n = arg;

	/* What it knows of its PNEs it tells again. */
	(void)json_object_put(n->connected);
	n->connected = json_object_new_object();
	tell(n, there ? "the PN GW is on the bus again" : "the PN GW has left the bus");
}

struct news *news_new(struct console *console, void (*begin)(void *arg), void (*end)(void *arg),
		      void *arg)
{
	struct news *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->console = console;
	n->begin = begin;
	n->end = end;
	n->arg = arg;
	n->held = json_object_new_array();
	n->connected = json_object_new_object();
	return n;
}

void news_free(struct news *n)
{
	if (!n)
		return;
	(void)json_object_put(n->held);
	(void)json_object_put(n->connected);
	free(n);
}

/* Who is there already is no news. */
static void look_around(struct news *n)
{
	struct client *client = n->console->client;
	sd_bus_message *m = client_call_new(client, CLIENT_GATEWAY, "ListElements"), *reply;
	struct client_failure failure;
	json_object *rows;

	if (client_call(client, m, &reply, &failure) != 0)
		return;
	rows = client_decode(reply);
	(void)sd_bus_message_unref(reply);
	for (size_t i = 0; rows && i < json_object_array_length(rows); i++) {
		json_object *row = json_object_array_get_idx(rows, i);
		const char *entity = json_object_get_string(json_object_object_get(row, "entity"));
		char *path = NULL;

		if (entity && sd_bus_path_encode(PNE_FOLDER, entity, &path) >= 0)
			(void)json_object_object_add(
				n->connected, path,
				json_object_get(json_object_object_get(row, "connected")));
		free(path);
	}
	(void)json_object_put(rows);
}

void news_listen(struct news *n)
{
	const struct client_events events = {on_signal, on_service, n};

	if (client_events_of(n->console->client)->arg == n)
		return;
	look_around(n);
	client_listen(n->console->client, &events);
}

void news_hold(struct news *n)
{
	n->hold = true;
}

void news_flush(struct news *n)
{
	json_object *held = n->held;

	n->hold = false;
	n->held = json_object_new_array();
	for (size_t i = 0; i < json_object_array_length(held); i++)
		show(n, json_object_get_string(json_object_array_get_idx(held, i)));
	if (n->dropped > 0)
		writer_say(&n->console->writer, "%zu more such lines were left out", n->dropped);
	n->dropped = 0;
	writer_left_out(&n->console->writer);
	(void)json_object_put(held);
}
