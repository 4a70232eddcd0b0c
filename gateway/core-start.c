#include "gateway/core-internal.h"

#include <errno.h>
#include <stdlib.h>

struct procedure *gateway_core_add(struct core *c, const struct procedure_type *type,
				   const struct name *user, const struct name *entity, uint64_t run)
{
	struct procedure *p = gateway_procedure_new(type, user, entity);

	if (!p)
		return NULL;
	p->id = ++c->last_id;
	p->run = run;
	p->background = type == &gateway_refill;
	p->next = c->procedures;
	c->procedures = p;
	if (!p->background)
		c->procedure_count++;
	c->counters.procedures++;
	return p;
}

void gateway_core_begin(struct core *c, struct procedure *p)
{
	struct event e = {.kind = EVENT_START};

	if (!p->background)
		gateway_core_journal(c, p, true);
	gateway_core_give(c, p, &e);
}

static struct procedure *add_procedure(struct core *c, const struct procedure_type *type,
				       const struct core_start *s, const struct name *entity)
{
	struct procedure *p = gateway_core_add(c, type, &s->user, entity, s->run);

	if (p) {
		p->part = s->part;
		p->set_kind = s->set_kind;
		p->set_count = s->set_count ? s->set_count : 1;
	}
	return p;
}

/* True: it was, for these facts. */
static bool refused(struct core *c, const struct core_start *s, const struct name *entity,
		    const struct facts *f)
{
	struct verdict v = {.figure = s->figure};

	v.user = s->user;
	v.entity = *entity;
	return gateway_core_fence_judge(c, s->run, &v) || gateway_core_judge(c, s->run, f, &v);
}

static const struct facts no_memory = {
	.matter = MATTER_START, .password = true, .most = 1, .error = -ENOMEM};

static const struct procedure_type *type_of(enum figure figure)
{
	switch (figure) {
	case FIGURE_5:
		return &gateway_figure5_registration;
	case FIGURE_6:
		return &gateway_figure6_assignment;
	case FIGURE_7:
		return &gateway_figure7_assignment;
	case FIGURE_8:
	case FIGURE_NONE:
		break;
	}
	return &gateway_figure8_assignment;
}

static const struct procedure_type *type_without_pne(enum figure figure)
{
	return figure == FIGURE_6 ? &gateway_figure6_subscription : type_of(figure);
}

/* One procedure, or its refusal. Not NULL: it is under way. */
static struct procedure *start_one(struct core *c, const struct core_start *s,
				   const struct name *entity, struct secret *password,
				   uint64_t leader)
{
	struct facts f = {.matter = MATTER_START, .password = password != NULL};
	struct procedure *p;
	uint64_t id;

	if (password && entity->text[0])
		(void)gateway_core_busy_facts(c, entity, &f);
	f.under_way = c->procedure_count;
	f.most = c->options.max_procedures;
	if (refused(c, s, entity, &f))
		return NULL;
	p = add_procedure(c, entity->text[0] ? type_of(s->figure) : type_without_pne(s->figure), s,
			  entity);
	if (!p) {
		f.error = -ENOMEM;
		(void)refused(c, s, entity, &f);
		return NULL;
	}
	p->leader = leader;
	if (s->figure != FIGURE_6 || !entity->text[0])
		p->password = secret_ref(password);
	id = p->id;
	if (s->figure == FIGURE_7)
		gateway_core_pool_replaced(c, entity);
	gateway_core_begin(c, p);
	return gateway_core_procedure_of(c, id);
}

static void start_figure6(struct core *c, const struct core_start *s, struct secret *password)
{
	struct event e = {.kind = EVENT_START};
	static const struct name none;
	struct procedure *leader;
	size_t under_way = 0;

	leader = add_procedure(c, &gateway_figure6_subscription, s, &none);
	if (!leader) {
		for (size_t i = 0; i < s->count; i++)
			(void)refused(c, s, &s->entities[i], &no_memory);
		return;
	}
	leader->silent = true;
	leader->password = secret_ref(password);
	/* It does the work of all: it takes no place of its own. */
	c->procedure_count--;
	for (size_t i = 0; i < s->count; i++) {
		if (start_one(c, s, &s->entities[i], password, leader->id))
			under_way++;
	}
	c->procedure_count++;
	if (under_way == 0)
		gateway_core_remove(c, leader);
	else
		gateway_core_give(c, leader, &e);
}

static void start_figure7(struct core *c, const struct core_start *s, struct secret *password)
{
	for (size_t i = 0; i < s->count; i++)
		(void)start_one(c, s, &s->entities[i], password, 0);
}

/* Each PNE by the figure that is right for it. */
static void start_chosen(struct core *c, const struct core_start *s, struct secret *password)
{
	struct name *entities = calloc(s->count + 1, sizeof(*entities));
	struct core_start part = *s;
	size_t six;

	if (!entities) {
		for (size_t i = 0; i < s->count; i++)
			(void)refused(c, s, &s->entities[i], &no_memory);
		return;
	}
	part.entities = entities;
	if (gateway_core_split(c, s, entities, &six)) {
		part.figure = FIGURE_6;
		part.count = six;
		start_figure6(c, &part, password);
	}
	part.figure = FIGURE_7;
	part.entities = entities + six;
	part.count = s->count - six;
	start_figure7(c, &part, password);
	free(entities);
}

int gateway_core_start_now(struct core *c, const struct core_start *s)
{
	struct secret *password = NULL;
	static const struct name none;
	int verdicts = 1;

	if (s->typed && p1_password(secret_bytes(s->typed), &password) == -ENOMEM)
		return -ENOMEM;
	switch (s->figure) {
	case FIGURE_5:
		(void)start_one(c, s, &none, password, 0);
		break;
	case FIGURE_8:
		(void)start_one(c, s, &c->options.self, password, 0);
		break;
	case FIGURE_6:
		if (s->part == FIGURE6_SUBSCRIBE) {
			(void)start_one(c, s, &none, password, 0);
			break;
		}
		start_figure6(c, s, password);
		verdicts = (int)s->count;
		break;
	case FIGURE_7:
		start_figure7(c, s, password);
		verdicts = (int)s->count;
		break;
	case FIGURE_NONE:
		start_chosen(c, s, password);
		verdicts = (int)s->count;
		break;
	}
	secret_unref(password);
	gateway_core_sweep_links(c);
	return verdicts;
}

int gateway_core_start(struct core *c, const struct core_start *s)
{
	struct secret *password = NULL;
	int r = s->typed ? p1_password(secret_bytes(s->typed), &password) : -EINVAL;

	for (size_t i = 0; i == 0 || i < s->count; i++)
		gateway_recorder_command(gateway_core_recorder(c), "start", s->run, s->figure,
					 &s->user, i < s->count ? &s->entities[i] : NULL);

	secret_unref(password);
	/* For what is refused anyway nothing is connected to. */
	if (r == 0 && s->count > 0 && !gateway_core_fenced(c) &&
	    gateway_core_reach_first(c, REACH_FOR_START, s))
		return (int)s->count;
	return gateway_core_start_now(c, s);
}

void gateway_core_cancel(struct core *c, uint64_t run)
{
	gateway_recorder_command(gateway_core_recorder(c), "cancel", run, FIGURE_NONE, NULL, NULL);
	gateway_core_cancel_reach(c, run);
	for (;;) {
		struct event e = {.kind = EVENT_CANCEL};
		struct procedure *p = c->procedures;

		while (p && p->run != run)
			p = p->next;
		if (!p)
			return;
		gateway_core_give(c, p, &e);
	}
}

/* What the last run of the daemon did not finish. */
struct leftovers {
	struct core *core;
	struct vault_batch *batch;
	struct verdict *list;
	size_t count;
};

static int leftover(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct leftovers *left = arg;
	struct verdict v, *list;
	uint64_t id;

	(void)owner;
	if (records_parse_procedure(item, content, &id, &v) != 0)
		return 0;
	list = realloc(left->list, (left->count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	left->list = list;
	left->list[left->count++] = v;
	records_erase_procedure(left->batch, id);
	if (id > left->core->last_id)
		left->core->last_id = id;
	return 0;
}

/*
 * A key of Figure 7 that was sent and not confirmed is sent again when the PNE comes back: the PNE
 * may hold it. Anything else ends in its verdict here. True: it goes on.
 */
static bool resume(struct core *c, const struct verdict *v)
{
	struct pool pool = {0};
	struct procedure *p;
	bool goes_on;

	if (v->figure != FIGURE_7 || records_load_pool(c->vault, &v->entity, &pool) != 0)
		return false;
	goes_on = pool_repeat(&pool) && !gateway_core_fenced(c) &&
		  !gateway_core_procedure_for(c, &v->entity) &&
		  !gateway_core_writing(c, &v->entity);
	pool_clear(&pool);
	p = goes_on ? gateway_core_add(c, &gateway_renewal, &v->user, &v->entity, 0) : NULL;
	if (!p)
		return false;
	p->resumed = true;
	gateway_core_begin(c, p);
	return true;
}

int gateway_core_give_leftovers(struct core *c)
{
	const struct facts interrupted = {.matter = MATTER_RESTART};
	struct leftovers left = {.core = c, .batch = vault_batch_new()};
	int r;

	if (!left.batch)
		return -ENOMEM;
	r = vault_each(c->vault, VAULT_PROCEDURE, BYTES_NONE, leftover, &left, NULL);
	if (r == 0)
		r = gateway_core_submit(c, left.batch, 0);
	else
		vault_batch_free(left.batch);
	for (size_t i = 0; r == 0 && i < left.count; i++) {
		if (!resume(c, &left.list[i]))
			(void)gateway_core_judge(c, 0, &interrupted, &left.list[i]);
	}
	free(left.list);
	return r;
}
