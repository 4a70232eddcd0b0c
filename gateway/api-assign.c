/* Gateway1: what starts the seed's figures. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The password is there. */
static void begin(struct api_procedure *p, struct secret *secret)
{
	const struct api_begin *b = &p->figure;
	struct core_start s = {.figure = b->figure,
			       .user = p->user,
			       .typed = secret,
			       .entities = p->entities,
			       .count = p->count,
			       .part = b->part,
			       .set_kind = b->set_kind,
			       .set_count = b->set_count};

	s.run = gateway_api_procedure_run(p);
	gateway_api_procedure_expect(p, gateway_core_start(p->api->core, &s));
}

/* Takes entities over. */
static void start(struct api_call *call, const char *kind, const char *purpose,
		  const struct name *user, struct name *entities, size_t count,
		  const struct api_begin *what, bool detach)
{
	struct api_procedure *p;

	if (!gateway_api_has_agent(call)) {
		free(entities);
		return;
	}
	p = gateway_api_procedure_new(call, kind, user, entities, count, detach);
	if (!p)
		return;
	p->figure = *what;
	p->begin = begin;
	p->state = API_ASKING;
	gateway_api_procedure_reply(p, call);
	gateway_api_procedure_ask(p, purpose);
}

static void start_for_user(struct api_call *call, const struct api_begin *what, const char *kind,
			   const char *purpose)
{
	bool detach = false;
	const struct api_option options[] = {{"Detach", 'b', &detach}};
	struct name user;

	if (gateway_api_read_user(call->m, &user) && gateway_api_read_options(call->m, options, 1))
		start(call, kind, purpose, &user, NULL, 0, what, detach);
}

void gateway_api_register(struct api_call *call)
{
	static const struct api_begin what = {.figure = FIGURE_5};

	start_for_user(call, &what, "register", "register");
}

void gateway_api_assign_gateway(struct api_call *call)
{
	static const struct api_begin what = {.figure = FIGURE_8};

	start_for_user(call, &what, "figure8", "figure8");
}

void gateway_api_subscribe(struct api_call *call)
{
	static const struct api_begin what = {.figure = FIGURE_6, .part = FIGURE6_SUBSCRIBE};

	start_for_user(call, &what, "subscribe", "figure6");
}

static void start_part(struct api_call *call, const struct api_begin *what, const char *kind)
{
	bool detach = false;
	const struct api_option options[] = {{"Detach", 'b', &detach}};
	struct name user, *entities;
	size_t count;

	if (!gateway_api_read_user(call->m, &user) ||
	    !gateway_api_read_entities(call->m, 1, &entities, &count))
		return;
	if (gateway_api_read_options(call->m, options, 1))
		start(call, kind, "figure6", &user, entities, count, what, detach);
	else
		free(entities);
}

void gateway_api_install(struct api_call *call)
{
	static const struct api_begin what = {.figure = FIGURE_6, .part = FIGURE6_INSTALL};

	start_part(call, &what, "install");
}

void gateway_api_trigger(struct api_call *call)
{
	static const struct api_begin what = {.figure = FIGURE_6, .part = FIGURE6_TRIGGER};

	start_part(call, &what, "trigger");
}

/* False: the caller got an error. */
static bool check_assign(struct api_call *call, uint32_t figure, uint32_t count, const char *kind,
			 struct api_begin *what)
{
	if (figure != 0 && figure != 6 && figure != 7)
		gateway_api_error(call->m, "InvalidArguments", "Figure is 6, 7, or 0: chosen");
	else if (count < 1 || count > 64)
		gateway_api_error(call->m, "InvalidArguments", "Count is 1 to 64");
	else if (strcmp(kind, "") != 0 && strcmp(kind, "random") != 0 && strcmp(kind, "chain") != 0)
		gateway_api_error(call->m, "InvalidArguments", "Kind is random or chain");
	else {
		what->figure = figure == 6 ? FIGURE_6 : figure == 7 ? FIGURE_7 : FIGURE_NONE;
		what->set_count = count;
		if (kind[0])
			what->set_kind = kind[0] == 'c' ? KEY_SET_CHAIN : KEY_SET_RANDOM;
		return true;
	}
	return false;
}

void gateway_api_assign(struct api_call *call)
{
	const struct config *config = call->api->options.config;
	struct api_begin what = {.set_kind = config->key_set_kind};
	uint32_t figure = 0, set_count = config->key_set_count;
	const char *kind = "";
	bool detach = false;
	const struct api_option options[] = {
		{"Figure", 'u', &figure},
		{"Count", 'u', &set_count},
		{"Kind", 's', &kind},
		{"Detach", 'b', &detach},
	};
	struct name user, *entities;
	size_t count;

	if (!gateway_api_read_user(call->m, &user) ||
	    !gateway_api_read_entities(call->m, 1, &entities, &count))
		return;
	if (!gateway_api_read_options(call->m, options, 4) ||
	    !check_assign(call, figure, set_count, kind, &what)) {
		free(entities);
		return;
	}
	start(call, "assign", figure == 7 ? "figure7" : "figure6", &user, entities, count, &what,
	      detach);
}
