/* Procedure1: one object for everything that takes time. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER       API_PATH "/procedure"
#define KEPT_MS      60000
#define RUNNING_MAX  256
#define ENDED_MAX    256
/* So many are in a property: with tens of thousands the bus would throw us out. */
#define VERDICTS_MAX 1024

static const char *const state_names[] = {
	[API_ASKING] = "asking",
	[API_RUNNING] = "running",
	[API_ENDED] = "ended",
};

static const char *const result_names[] = {
	[API_RESULT_DONE] = "done",
	[API_RESULT_REFUSED] = "refused",
	[API_RESULT_RETRY] = "retry",
};

struct api_procedure *gateway_api_procedure_at(struct gateway_api *api, const char *path)
{
	struct api_procedure *p = api->procedures;

	while (p && (!path || strcmp(p->path, path) != 0))
		p = p->next;
	return p;
}

struct api_procedure *gateway_api_procedure_of_run(struct gateway_api *api, uint64_t run)
{
	struct api_procedure *p = api->procedures;

	while (p && p->run != run)
		p = p->next;
	return run != 0 ? p : NULL;
}

size_t gateway_api_procedures_running(const struct gateway_api *api)
{
	size_t n = 0;

	for (const struct api_procedure *p = api->procedures; p; p = p->next) {
		if (p->state != API_ENDED)
			n++;
	}
	return n;
}

/* The object. */

static void changed(struct api_procedure *p, const char *property)
{
	struct gateway_api *api = p->api;

	if (!api->connection)
		return;
	api->emitting = true;
	(void)sd_bus_emit_properties_changed(api->connection, p->path, API_PROCEDURE, property,
					     NULL);
	api->emitting = false;
}

static int get(sd_bus *bus, const char *path, const char *interface, const char *property,
	       sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct api_procedure *p = userdata;
	struct api_writer w = {.m = reply};
	int r = gateway_api_may_read(p->api, sd_bus_get_current_message(bus), error);

	(void)path;
	(void)interface;
	if (r < 0)
		return r;
	if (strcmp(property, "Entities") == 0) {
		gateway_api_list_begin(&w, "s");
		for (size_t i = 0; i < p->count; i++)
			gateway_api_put_text(&w, p->entities[i].text);
		gateway_api_list_end(&w);
	} else if (strcmp(property, "Verdicts") == 0) {
		gateway_api_list_begin(&w, "a{sv}");
		for (size_t i = 0; i < p->told; i++) {
			gateway_api_dict_begin(&w);
			gateway_api_put_verdict(&w, &p->verdicts[i]);
			gateway_api_dict_end(&w);
		}
		gateway_api_list_end(&w);
	} else if (strcmp(property, "Kind") == 0) {
		gateway_api_put_text(&w, p->kind);
	} else if (strcmp(property, "User") == 0) {
		gateway_api_put_text(&w, p->user.text);
	} else if (strcmp(property, "State") == 0) {
		gateway_api_put_text(&w, state_names[p->state]);
	} else {
		gateway_api_put_text(&w, p->state == API_ENDED ? result_names[p->result] : "");
	}
	return w.r;
}

static int find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **found,
		sd_bus_error *error)
{
	struct gateway_api *api = userdata;

	(void)bus;
	(void)interface;
	(void)error;
	*found = gateway_api_procedure_at(api, path);
	return *found ? 1 : 0;
}

static int enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***out,
		     sd_bus_error *error)
{
	struct gateway_api *api = userdata;
	size_t n = 0;
	char **list;

	(void)bus;
	(void)prefix;
	(void)error;
	for (const struct api_procedure *p = api->procedures; p; p = p->next)
		n++;
	list = calloc(n + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	n = 0;
	for (const struct api_procedure *p = api->procedures; p; p = p->next) {
		list[n] = strdup(p->path);
		if (!list[n]) {
			while (n > 0)
				free(list[--n]);
			free(list);
			return -ENOMEM;
		}
		n++;
	}
	*out = list;
	return 0;
}

#define X(name, r, w, in, in_names, out, out_names, function)                            \
	static int on_##function(sd_bus_message *m, void *userdata, sd_bus_error *error) \
	{                                                                                \
		static const struct api_method method = {                                \
			.right = r, .when = w, .carry_out = gateway_api_##function};     \
		struct api_procedure *p = userdata;                                      \
                                                                                         \
		(void)error;                                                             \
		return gateway_api_take(p->api, m, &method);                             \
	}
API_PROCEDURE1(X)
#undef X

static const sd_bus_vtable vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("Kind", "s", get, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("User", "s", get, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Entities", "as", get, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("State", "s", get, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Result", "s", get, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Verdicts", "aa{sv}", get, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
#define X(name, r, w, in, in_names, out, out_names, function)                        \
	SD_BUS_METHOD_WITH_NAMES(#name, in, in_names, out, out_names, on_##function, \
				 SD_BUS_VTABLE_UNPRIVILEGED),
	API_PROCEDURE1(X)
#undef X
		SD_BUS_SIGNAL_WITH_NAMES("Step", "a{sv}", P(step), 0),
	SD_BUS_SIGNAL_WITH_NAMES("Note", "a{sv}", P(note), 0),
	SD_BUS_SIGNAL_WITH_NAMES("Verdict", "a{sv}", P(verdict), 0),
	SD_BUS_SIGNAL_WITH_NAMES("Ended", "s", P(result), 0),
	SD_BUS_VTABLE_END,
};

int gateway_api_procedures_export(struct gateway_api *api)
{
	int r = sd_bus_add_fallback_vtable(api->connection, NULL, FOLDER, API_PROCEDURE, vtable,
					   find, api);

	if (r >= 0)
		r = sd_bus_add_node_enumerator(api->connection, NULL, FOLDER, enumerate, api);
	return r;
}

/* Signals. */

void gateway_api_put_verdict(struct api_writer *w, const struct verdict *v)
{
	char text[VERDICT_TEXT_SIZE];

	gateway_api_text(w, "Id", verdict_name(v->id));
	gateway_api_u32(w, "Number", (uint64_t)v->id);
	gateway_api_text(w, "Leg", leg_name(verdict_leg(v->id)));
	gateway_api_u32(w, "Figure", (uint64_t)v->figure);
	gateway_api_u32(w, "Step", v->step);
	gateway_api_text(w, "Entity", v->entity.text);
	gateway_api_text(w, "User", v->user.text);
	gateway_api_u32(w, "KeyIndex", v->key_index);
	gateway_api_text(w, "Cause", verdict_cause(v->id));
	gateway_api_text(w, "Detail", v->detail);
	gateway_api_text(w, "Next", verdict_next(v->id));
	gateway_api_text(w, "Retry", retry_name(verdict_retry(v->id)));
	gateway_api_text(w, "Text", verdict_describe(v, text, sizeof(text)));
}

static void signal_begin(struct api_writer *w, struct api_procedure *p, const char *member)
{
	gateway_api_signal_begin(w, p->api, p->path, API_PROCEDURE, member);
	gateway_api_dict_begin(w);
}

static void signal_end(struct api_writer *w)
{
	gateway_api_dict_end(w);
	gateway_api_send(w);
}

void gateway_api_procedure_note(struct api_procedure *p, const char *text)
{
	struct api_writer w;

	signal_begin(&w, p, "Note");
	gateway_api_text(&w, "Text", text);
	signal_end(&w);
}

void gateway_api_chosen(struct gateway_api *api, uint64_t run, const struct name *entity,
			enum figure figure, const char *why)
{
	struct api_procedure *p = api ? gateway_api_procedure_of_run(api, run) : NULL;
	struct api_writer w;

	if (!p)
		return;
	signal_begin(&w, p, "Note");
	gateway_api_text(&w, "Text", why);
	gateway_api_text(&w, "Entity", entity->text);
	gateway_api_u32(&w, "Figure", (uint64_t)figure);
	signal_end(&w);
}

/* Steps that the relay does for a PNE belong to what runs for it. */
static struct api_procedure *relayed_for(struct gateway_api *api, const struct name *entity)
{
	for (struct api_procedure *p = api->procedures; p; p = p->next) {
		if (p->state != API_RUNNING || p->run == 0)
			continue;
		for (size_t i = 0; i < p->count; i++) {
			if (name_equal(&p->entities[i], entity))
				return p;
		}
	}
	return NULL;
}

void gateway_api_step(struct gateway_api *api, uint64_t run, enum figure figure, unsigned step,
		      const struct name *user, const struct name *entity)
{
	struct api_procedure *p;
	struct api_writer w;
	char text[256];

	if (!api)
		return;
	p = gateway_api_procedure_of_run(api, run);
	if (!p && run == 0 && entity->text[0])
		p = relayed_for(api, entity);
	if (!p)
		return;
	signal_begin(&w, p, "Step");
	gateway_api_u32(&w, "Figure", (uint64_t)figure);
	gateway_api_u32(&w, "Step", step);
	gateway_api_text(&w, "Text", step_describe(figure, step, text, sizeof(text)));
	gateway_api_text(&w, "User", user->text);
	gateway_api_text(&w, "Entity", entity->text);
	gateway_api_u64(&w, "Milliseconds", uv_now(api->loop) - p->started);
	signal_end(&w);
}

/* Of several outcomes the one that needs a person counts, then the one that needs patience. */
static enum api_result worse(enum api_result a, enum verdict_id id)
{
	if (id == VERDICT_DONE)
		return a;
	if (a == API_RESULT_REFUSED || verdict_retry(id) == RETRY_NO)
		return API_RESULT_REFUSED;
	return API_RESULT_RETRY;
}

static void keep_verdict(struct api_procedure *p, const struct verdict *v)
{
	if (p->told == VERDICTS_MAX) {
		p->missed++;
		return;
	}
	if (p->told == p->room) {
		size_t room = p->room ? 2 * p->room : 4;
		struct verdict *list = realloc(p->verdicts, room * sizeof(*list));

		if (!list) {
			/* It was signalled; it is missing from the property. */
			p->missed++;
			return;
		}
		p->verdicts = list;
		p->room = room;
	}
	p->verdicts[p->told++] = *v;
}

static void tell_verdict(struct api_procedure *p, const struct verdict *v)
{
	struct api_writer w;

	signal_begin(&w, p, "Verdict");
	gateway_api_put_verdict(&w, v);
	signal_end(&w);
	p->result = worse(p->result, v->id);
	keep_verdict(p, v);
	changed(p, "Verdicts");
}

void gateway_api_procedure_verdict(struct api_procedure *p, const struct verdict *v)
{
	tell_verdict(p, v);
	if (p->told + p->missed >= p->expected)
		gateway_api_procedure_end(p);
}

void gateway_api_verdict(struct gateway_api *api, uint64_t run, const struct verdict *v)
{
	struct api_procedure *p;
	struct api_writer w;

	if (!api)
		return;
	gateway_api_signal_begin(&w, api, API_PATH, API_GATEWAY, "VerdictGiven");
	gateway_api_dict_begin(&w);
	gateway_api_put_verdict(&w, v);
	gateway_api_dict_end(&w);
	gateway_api_send(&w);
	if (v->entity.text[0])
		gateway_api_touch(api, &v->entity);
	p = gateway_api_procedure_of_run(api, run);
	if (p && p->state != API_ENDED)
		gateway_api_procedure_verdict(p, v);
}

/* Life. */

static void procedure_free(struct api_procedure *p)
{
	gateway_api_question_drop(&p->question, "the PN GW stops");
	free(p->entities);
	free(p->verdicts);
	free(p);
}

/* Those that ended long ago go, and the eldest where there are many. */
void gateway_api_procedures_sweep(struct gateway_api *api)
{
	struct api_procedure **at = &api->procedures;
	uint64_t now = uv_now(api->loop);
	size_t ended = 0;

	while (*at) {
		struct api_procedure *p = *at;

		if (p->state != API_ENDED || (++ended <= ENDED_MAX && now - p->ended < KEPT_MS)) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		if (api->connection)
			(void)sd_bus_emit_interfaces_removed(api->connection, p->path,
							     API_PROCEDURE, NULL);
		procedure_free(p);
	}
}

struct api_procedure *gateway_api_procedure_new(struct api_call *call, const char *kind,
						const struct name *user, struct name *entities,
						size_t count, bool detach)
{
	struct gateway_api *api = call->api;
	struct api_procedure *p = NULL;

	gateway_api_procedures_sweep(api);
	if (gateway_api_procedures_running(api) >= RUNNING_MAX)
		gateway_api_error(call->m, "Busy", "%d procedures run already", RUNNING_MAX);
	else
		p = calloc(1, sizeof(*p));
	if (!p) {
		free(entities);
		return NULL;
	}
	p->api = api;
	p->client = detach ? NULL : call->client;
	p->number = ++api->last_procedure;
	p->kind = kind;
	p->right = call->method->right;
	p->entities = entities;
	p->count = count;
	p->state = API_RUNNING;
	p->expected = SIZE_MAX;
	p->started = uv_now(api->loop);
	if (user)
		p->user = *user;
	(void)snprintf(p->owner, sizeof(p->owner), "%s", call->client->name);
	(void)snprintf(p->path, sizeof(p->path), FOLDER "/%lu", (unsigned long)p->number);
	p->next = api->procedures;
	api->procedures = p;
	return p;
}

void gateway_api_procedure_reply(struct api_procedure *p, struct api_call *call)
{
	struct gateway_api *api = p->api;

	(void)sd_bus_reply_method_return(call->m, "o", p->path);
	if (!api->connection)
		return;
	api->emitting = true;
	(void)sd_bus_emit_interfaces_added(api->connection, p->path, API_PROCEDURE, NULL);
	api->emitting = false;
}

void gateway_api_procedure_end(struct api_procedure *p)
{
	struct api_writer w;

	if (p->state == API_ENDED)
		return;
	gateway_api_question_drop(&p->question, "the procedure has ended");
	p->state = API_ENDED;
	p->ended = uv_now(p->api->loop);
	p->client = NULL;
	if (p->api->connection) {
		p->api->emitting = true;
		(void)sd_bus_emit_properties_changed(p->api->connection, p->path, API_PROCEDURE,
						     "State", "Result", NULL);
		p->api->emitting = false;
	}
	gateway_api_signal_begin(&w, p->api, p->path, API_PROCEDURE, "Ended");
	gateway_api_put_text(&w, result_names[p->result]);
	gateway_api_send(&w);
}

void gateway_api_procedure_finish(struct api_procedure *p, enum verdict_id id, const char *who,
				  const char *detail)
{
	struct verdict v = {.id = id, .user = p->user};

	v.figure = p->figure.figure;
	if (who && who[0])
		(void)name_set(&v.entity, bytes_text(who));
	(void)snprintf(v.detail, sizeof(v.detail), "%s", detail ? detail : "");
	p->expected = SIZE_MAX;
	if (p->run == 0) {
		/* The core's are told by its port. */
		gateway_api_verdict(p->api, 0, &v);
	}
	tell_verdict(p, &v);
	gateway_api_procedure_end(p);
}

/* Runs of the core. */

uint64_t gateway_api_procedure_run(struct api_procedure *p)
{
	p->run = ++p->api->last_run | API_RUN;
	p->expected = SIZE_MAX;
	return p->run;
}

void gateway_api_procedure_expect(struct api_procedure *p, int verdicts)
{
	if (verdicts < 0) {
		p->run = 0;
		gateway_api_procedure_finish(
			p,
			verdicts == -ENOMEM ? VERDICT_GATEWAY_MEMORY
					    : gateway_storage_verdict(verdicts),
			p->count == 1 ? p->entities[0].text : NULL, strerror(-verdicts));
		return;
	}
	p->expected = (size_t)verdicts;
	if (p->told + p->missed >= p->expected)
		gateway_api_procedure_end(p);
}

void gateway_api_counted(struct gateway_api *api, uint64_t run, int verdicts)
{
	struct api_procedure *p = api ? gateway_api_procedure_of_run(api, run) : NULL;

	if (p && p->state != API_ENDED)
		gateway_api_procedure_expect(p, verdicts);
}

/* Asking. */

static void password_given(void *arg, int error, const char *why, struct secret *secret, bool yes)
{
	struct api_procedure *p = arg;

	(void)yes;
	p->state = API_RUNNING;
	changed(p, "State");
	if (error == -EMSGSIZE || (error == 0 && !secret))
		gateway_api_procedure_finish(p, VERDICT_PASSWORD_UNUSABLE,
					     p->count == 1 ? p->entities[0].text : NULL, "");
	else if (error != 0)
		gateway_api_procedure_finish(p, VERDICT_PASSWORD_NOT_GIVEN,
					     p->count == 1 ? p->entities[0].text : NULL, why);
	else if (!p->api->core)
		gateway_api_procedure_finish(p, VERDICT_CANCELLED, NULL, "the PN GW stops");
	else
		p->begin(p, secret);
}

void gateway_api_procedure_ask(struct api_procedure *p, const char *purpose)
{
	const struct api_client *client = p->api->clients;
	sd_bus_message *m = NULL;
	int r = -ENOTCONN;

	while (client && strcmp(client->name, p->owner) != 0)
		client = client->next;
	p->state = API_ASKING;
	p->question.answered = password_given;
	p->question.arg = p;
	if (client)
		r = gateway_api_question_begin(&p->question, client, "RequestPassword", &m);
	if (r == 0 && sd_bus_message_append(m, "ss", p->user.text, purpose) < 0)
		r = -ENOMEM;
	p->question.expects = 'h';
	if (r == 0)
		r = gateway_api_question_send(&p->question, m);
	else
		sd_bus_message_unref(m);
	if (r == 0)
		changed(p, "State");
	else
		password_given(p, r, strerror(-r), NULL, false);
}

/* Cancelling. */

void gateway_api_procedure_cancel(struct api_procedure *p, const char *why)
{
	if (p->state == API_ENDED)
		return;
	if (p->state == API_ASKING) {
		gateway_api_question_drop(&p->question, why);
		gateway_api_procedure_finish(p, VERDICT_CANCELLED,
					     p->count == 1 ? p->entities[0].text : NULL, why);
		return;
	}
	if (p->job) {
		p->job_cancel(p);
		p->job = NULL;
		gateway_api_procedure_finish(p, VERDICT_CANCELLED,
					     p->count == 1 ? p->entities[0].text : NULL, why);
		return;
	}
	if (p->run != 0 && p->api->core)
		gateway_core_cancel(p->api->core, p->run);
	if (p->state == API_ENDED)
		return;
	/* What cannot be taken back goes on by itself; its verdicts come as VerdictGiven. */
	gateway_api_procedure_note(p, "what was begun goes on by itself and is not followed");
	p->run = 0;
	gateway_api_procedure_finish(p, VERDICT_CANCELLED, NULL, why);
}

void gateway_api_cancel(struct api_call *call)
{
	struct api_procedure *p =
		gateway_api_procedure_at(call->api, sd_bus_message_get_path(call->m));

	gateway_api_done(call->m);
	if (p)
		gateway_api_procedure_cancel(p, "cancelled by its user");
}

void gateway_api_procedures_client_gone(struct gateway_api *api, struct api_client *client)
{
	struct api_procedure *p = api->procedures;

	while (p) {
		if (p->client != client) {
			p = p->next;
			continue;
		}
		p->client = NULL;
		gateway_api_procedure_cancel(p, "its client has gone");
		/* Others may have come or gone meanwhile. */
		p = api->procedures;
	}
}

void gateway_api_procedures_end(struct gateway_api *api)
{
	for (struct api_procedure *p = api->procedures; p; p = p->next)
		gateway_api_procedure_cancel(p, "the PN GW stops");
	while (api->procedures) {
		struct api_procedure *p = api->procedures;

		api->procedures = p->next;
		procedure_free(p);
	}
}
