/* The commands that start figures and show what the core knows. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/control-internal.h"

static void each_element(void *arg, const struct name *entity, enum pan_security level, bool ui,
			 const struct name *owner, const char *peer)
{
	gateway_control_say(arg, "%s security=%s ui=%s owner=%s from=%s", entity->text,
			    pan_security_name(level), ui ? "yes" : "no",
			    owner->text[0] ? owner->text : "-", peer);
}

void gateway_control_elements(struct control_client *client, const struct control_words *w,
			      size_t first)
{
	if (w->count != first) {
		gateway_control_usage(client);
		return;
	}
	gateway_core_each_link(gateway_control_core(client), each_element, client);
	gateway_control_end(client, CONTROL_DONE);
}

static void count_element(void *arg, const struct name *entity, enum pan_security level, bool ui,
			  const struct name *owner, const char *peer)
{
	(void)entity;
	(void)level;
	(void)ui;
	(void)owner;
	(void)peer;
	++*(size_t *)arg;
}

static void status_line(void *arg, const char *text)
{
	gateway_control_say(arg, "%s", text);
}

void gateway_control_status(struct control_client *client, const struct control_words *w,
			    size_t first)
{
	const struct gateway_control_options *options = gateway_control_options_of(client);
	struct core *core = gateway_control_core(client);
	const struct core_counters *n = gateway_core_counters(core);
	const struct name *owner = gateway_core_owner(core);
	size_t links = 0;

	if (w->count != first) {
		gateway_control_usage(client);
		return;
	}
	gateway_core_each_link(core, count_element, &links);
	gateway_control_say(client, "PN GW %s", options->config->entity_id.text);
	gateway_control_say(client, "owner: %s", owner->text[0] ? owner->text : "-");
	gateway_control_say(client, "own EUKey: index %lu",
			    (unsigned long)gateway_core_own_index(core));
	gateway_control_say(client, "PNEs connected: %zu", links);
	gateway_control_say(client, "procedures under way: %zu", gateway_core_procedures(core));
	gateway_control_say(client, "procedures started: %llu", (unsigned long long)n->procedures);
	gateway_control_say(client, "requests relayed: %llu", (unsigned long long)n->relayed);
	gateway_control_say(client, "reports taken: %llu", (unsigned long long)n->reports);
	options->status(options->arg, status_line, client);
	gateway_control_end(client, CONTROL_DONE);
}

void gateway_control_fingerprint(struct control_client *client, const struct control_words *w,
				 size_t first)
{
	uint8_t challenge[64], print[8];
	struct name entity = gateway_control_options_of(client)->config->entity_id, user;
	char hex[17];
	size_t size;
	uint32_t index;
	int r;

	if (w->count < first + 2 || w->count > first + 3 ||
	    strcmp(w->word[first], "--challenge") != 0 ||
	    hex_decode(bytes_text(w->word[first + 1]), challenge, sizeof(challenge), &size) != 0 ||
	    size < 8 ||
	    (w->count == first + 3 && name_set(&entity, bytes_text(w->word[first + 2])) != 0)) {
		gateway_control_say(client, "a challenge is 8 to 64 bytes in hex");
		gateway_control_usage(client);
		return;
	}
	r = gateway_core_fingerprint(gateway_control_core(client), &entity,
				     bytes_of(challenge, size), print, &index, &user);
	if (r != 0) {
		gateway_control_say(client, "%s",
				    r > 0 ? "no EUKey that is known to be held" : strerror(-r));
		gateway_control_end(client, CONTROL_REFUSED);
		return;
	}
	(void)hex_encode(bytes_of(print, sizeof(print)), hex, sizeof(hex));
	gateway_control_say(client, "%s %s %lu %s", user.text, entity.text, (unsigned long)index,
			    hex);
	gateway_control_end(client, CONTROL_DONE);
}

void gateway_control_release(struct control_client *client, const struct control_words *w,
			     size_t first)
{
	struct name entity;
	int r;

	if (w->count != first + 1 || name_set(&entity, bytes_text(w->word[first])) != 0) {
		gateway_control_usage(client);
		return;
	}
	r = gateway_core_release(gateway_control_core(client), &entity);
	gateway_control_say(client, "%s", r == 0 ? "released" : strerror(-r));
	gateway_control_end(client, r == 0 ? CONTROL_DONE : CONTROL_RETRY);
}

static enum figure figure_of(const char *command)
{
	if (strcmp(command, "register") == 0)
		return FIGURE_5;
	if (strcmp(command, "figure6") == 0)
		return FIGURE_6;
	if (strcmp(command, "figure7") == 0)
		return FIGURE_7;
	return FIGURE_8;
}

static bool parse_count(const char *text, unsigned *out)
{
	char *rest;
	unsigned long n;

	if (text[0] < '0' || text[0] > '9')
		return false;
	n = strtoul(text, &rest, 10);
	if (*rest || n < 1 || n > 64)
		return false;
	*out = (unsigned)n;
	return true;
}

/* Fills s and entities; false when the words are not what the figure needs. */
static bool parse_start(struct control_words w, size_t first, struct core_start *s,
			struct name *entities)
{
	if (w.count < first + 1 || !user_id_valid(bytes_text(w.word[first])) ||
	    name_set(&s->user, bytes_text(w.word[first])) != 0)
		return false;
	if (s->figure == FIGURE_5 || s->figure == FIGURE_8)
		return w.count == first + 1;
	if (s->figure == FIGURE_7 && w.count == first + 3) {
		if (!parse_count(w.word[first + 2], &s->set_count))
			return false;
		w.count--;
	}
	if (w.count < first + 2 || (s->figure == FIGURE_7 && w.count != first + 2))
		return false;
	s->entities = entities;
	s->count = w.count - first - 1;
	return gateway_control_entities(&w, first + 1, entities);
}

void gateway_control_start(struct control_client *client, const struct control_words *w,
			   size_t first)
{
	const struct gateway_control_options *options = gateway_control_options_of(client);
	struct core_start s = {.figure = figure_of(w->word[0]),
			       .set_kind = options->config->key_set_kind,
			       .set_count = options->config->key_set_count};
	struct name *entities = calloc(CONTROL_WORDS_MAX, sizeof(*entities));
	struct secret *typed;

	if (!entities || !parse_start(*w, first, &s, entities)) {
		free(entities);
		gateway_control_usage(client);
		return;
	}
	typed = gateway_control_take_password(client);
	s.typed = typed;
	s.run = gateway_control_run_begin(client);
	gateway_control_run_expect(client, gateway_core_start(gateway_control_core(client), &s));
	secret_unref(typed);
	free(entities);
}
