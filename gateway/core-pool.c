/* Pools: what is done without anybody asking for it, and the clock by which it is done. */

#include "gateway/core-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/revoke.h"

#define REFILLS_MAX   8U
#define SWEEP_MS      21600000U
#define SWEEP_AT_ONCE 16U
#define SWEEP_PIECE   256U
#define MARK_MS       3600000U
#define PAUSE_MIN_MS  30000U
#define PAUSE_MAX_MS  3600000U
#define ROOM_MS       1000U     /* until there is room for another procedure */
#define LOOK_MAX_MS   86400000U /* a link is looked at no later than after a day */

/* The clock. */

uint64_t gateway_core_service(const struct core *c)
{
	uint64_t elapsed = c->ports.elapsed(c->arg);

	return c->pool.service_base +
	       (elapsed > c->pool.elapsed_base ? elapsed - c->pool.elapsed_base : 0);
}

static void put_mark(struct core *c)
{
	uint64_t service = gateway_core_service(c), wall = c->ports.wall(c->arg);
	uint64_t least = c->pool.wall_base + (service - c->pool.wall_service);
	struct clock_mark mark = {service, clock_latest(least, wall)};
	struct vault_batch *b = vault_batch_new();
	char text[96];
	int r = -ENOMEM;

	if (b) {
		records_put_clock(b, &mark);
		r = gateway_core_submit(c, b, 0);
	}
	if (r != 0) {
		(void)snprintf(text, sizeof(text), "the service clock is not written: %s",
			       strerror(-r));
		gateway_core_say(c, LOG_LEVEL_WARNING, text);
	}
	c->pool.mark_due = c->ports.now(c->arg) + MARK_MS;
}

/* What the vault has of one PNE. */

static int load_pool(struct core *c, const struct name *entity, struct pool *out)
{
	struct relayed relayed = {0};
	uint32_t revoked = 0;
	int r = c->pool.rollback.error;

	if (r == 0)
		r = records_load_pool(c->vault, entity, out);
	if (r == 0)
		r = revocation_index(c->vault, entity, &revoked);
	/* A key that came by Figure 5 or 6 since has a higher index than what is left of a set. */
	if (r == 0)
		r = records_get_relayed(c->vault, entity, &relayed);
	if (r == VAULT_DAMAGED) {
		out->floor_unknown = true;
		relayed.installed = out->count > 0 ? out->keys[out->count - 1].index : 0;
		r = 0;
	}
	if (r != 0)
		pool_clear(out);
	else
		out->floor = revoked > relayed.installed ? revoked : relayed.installed;
	return r;
}

static void load_key(struct core *c, const struct name *entity, const struct pool_key *key,
		     struct stored_key *out)
{
	if (key)
		(void)records_get_eukey(c->vault, entity, key->index, out);
}

static bool needs_pool(const struct procedure *p, enum event_kind kind)
{
	return p->type->figure == FIGURE_7 && p->entity.text[0] &&
	       (kind == EVENT_START || kind == EVENT_TIMEOUT || kind == EVENT_HASHED ||
		kind == EVENT_ANSWER || kind == EVENT_RECEIPT || kind == EVENT_WAN_UP ||
		kind == EVENT_WAN_FAILED);
}

void gateway_core_pool_view(struct core *c, const struct procedure *p, enum event_kind kind,
			    struct pool_view *view, struct surroundings *s)
{
	const struct pool_limits *l = &c->options.pool;
	struct name user;

	memset(view, 0, sizeof(*view));
	s->pool = &view->pool;
	s->next = &view->next;
	s->repeat = &view->repeat;
	s->newest = &view->newest;
	s->verifier = NULL;
	s->temporary_key = NULL;
	if (p->type == &gateway_figure6_subscription && p->part == FIGURE6_TRIGGER &&
	    records_get_verifier(c->vault, &p->user, &view->verifier) == 0)
		s->verifier = &view->verifier;
	s->pool_error = needs_pool(p, kind) ? load_pool(c, &p->entity, &view->pool) : 0;
	if (!needs_pool(p, kind) || s->pool_error != 0)
		return;
	if (p->background) {
		if (view->pool.count > 0)
			load_key(c, &p->entity, &view->pool.keys[view->pool.count - 1],
				 &view->newest);
		return;
	}
	load_key(c, &p->entity, pool_next(&view->pool, l, s->service), &view->next);
	load_key(c, &p->entity, pool_repeat(&view->pool), &view->repeat);
	if (records_get_temporary_key(c->vault, &p->entity, &user, &view->temporary_key) == 0)
		s->temporary_key = view->temporary_key;
	if (p->password && records_get_verifier(c->vault, &p->user, &view->verifier) == 0)
		s->verifier = &view->verifier;
}

void gateway_core_pool_view_end(struct pool_view *view)
{
	pool_clear(&view->pool);
	secret_unref(view->next.key);
	secret_unref(view->repeat.key);
	secret_unref(view->newest.key);
	secret_unref(view->temporary_key);
	wipe(&view->verifier, sizeof(view->verifier));
}

static struct pool_state *find_state(struct core *c, const struct name *entity)
{
	size_t place = gateway_names_find(&c->pool.remembered, entity);

	return place != NAMES_NONE ? c->pool.states[place] : NULL;
}

/* Made where there is none: only for a PNE that has an owner. NULL: out of memory. */
static struct pool_state *state_of(struct core *c, const struct name *entity)
{
	struct pool_state *s = find_state(c, entity), **states;
	size_t count = c->pool.remembered.count;

	if (s)
		return s;
	if ((count & (count - 1)) == 0) {
		states = reallocarray(c->pool.states, count ? 2 * count : 1,
				      sizeof(struct pool_state *));
		if (!states)
			return NULL;
		c->pool.states = states;
	}
	s = calloc(1, sizeof(*s));
	if (!s || gateway_names_add(&c->pool.remembered, entity) != 0) {
		free(s);
		return NULL;
	}
	c->pool.states[count] = s;
	return s;
}

/* After each failure in a row the pause is twice as long. */
static uint64_t after_pause(uint64_t now, unsigned *pause)
{
	*pause = *pause == 0 ? PAUSE_MIN_MS : *pause * 2;
	if (*pause > PAUSE_MAX_MS)
		*pause = PAUSE_MAX_MS;
	return now + *pause;
}

/* Looking at a pool: keys that are done with go, missing ones are asked for. */

static enum ledger_reason reason_of(enum pool_fate fate)
{
	switch (fate) {
	case POOL_EXPIRED:
		return LEDGER_REASON_EXPIRED;
	case POOL_PASSED:
		return LEDGER_REASON_SUPERSEDED;
	case POOL_REPLACED:
		return LEDGER_REASON_REPLACED;
	case POOL_KEEP:
		break;
	}
	return LEDGER_REASON_NONE;
}

static void clean(struct core *c, const struct name *entity, const struct pool *pool)
{
	uint64_t service = gateway_core_service(c), wall = c->ports.wall(c->arg);
	struct vault_batch *b = NULL;
	char text[160];
	unsigned gone = 0;
	int r;

	for (size_t i = 0; i < pool->count; i++) {
		enum pool_fate fate = pool_fate(pool, &pool->keys[i], &c->options.pool, service);

		if (fate == POOL_KEEP)
			continue;
		if (!b)
			b = vault_batch_new();
		if (!b)
			return;
		records_drop_eukey(b, entity, &pool->keys[i], reason_of(fate), FIGURE_NONE, wall);
		gone++;
	}
	if (!b)
		return;
	r = gateway_core_submit_for(c, b, 0, entity);
	if (r != 0)
		(void)snprintf(text, sizeof(text), "keys of PNE %s that are done with stay: %s",
			       entity->text, strerror(-r));
	else
		(void)snprintf(text, sizeof(text),
			       "%u pre-issued EUKeys of PNE %s are erased: expired, or passed over",
			       gone, entity->text);
	gateway_core_say(c, r != 0 ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, text);
}

static struct procedure *refill_of(struct core *c, const struct name *entity)
{
	for (struct procedure *p = c->procedures; p; p = p->next) {
		if (p->background && name_equal(&p->entity, entity))
			return p;
	}
	return NULL;
}

static void refill(struct core *c, const struct name *entity, struct pool *pool)
{
	struct pool_state *s = pool->count > 0 ? state_of(c, entity) : NULL;
	unsigned wanted;
	struct procedure *p;

	if (!s || gateway_core_fenced(c))
		return;
	wanted =
		pool_wants(&c->options.pool,
			   pool_left(pool, &c->options.pool, gateway_core_service(c)), &s->filling);
	if (wanted == 0 || s->needs_user || !c->wan.up || !c->wan.mutual ||
	    s->refill_at > c->ports.now(c->arg) || refill_of(c, entity))
		return;
	p = gateway_core_add(c, &gateway_refill, &pool->keys[pool->count - 1].user, entity, 0);
	if (!p)
		return;
	p->set_kind = c->options.pool.kind;
	p->set_count = wanted > POOL_AT_ONCE ? POOL_AT_ONCE : wanted;
	if (s->at_once != 0 && p->set_count > s->at_once)
		p->set_count = s->at_once;
	s->asked = p->set_count;
	c->pool.refills++;
	gateway_core_begin(c, p);
}

/* Not while a procedure is about to change it: its end leads here again. */
static void look(struct core *c, const struct name *entity)
{
	struct pool pool = {0};

	if (gateway_core_procedure_for(c, entity) || gateway_core_writing(c, entity) ||
	    load_pool(c, entity, &pool) != 0)
		return;
	/* Otherwise a user has to see to it. */
	if (!pool.floor_unknown) {
		clean(c, entity, &pool);
		refill(c, entity, &pool);
	}
	pool_clear(&pool);
}

static int add_to_sweep(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct core_pool *p = arg;
	struct name *sweep;

	(void)content;
	if (item.size != 0)
		return 0;
	if ((p->sweep_count & (p->sweep_count - 1)) == 0) {
		size_t room = p->sweep_count ? 2 * p->sweep_count : 1;

		sweep = realloc(p->sweep, room * sizeof(*sweep));
		if (!sweep)
			return -ENOMEM;
		p->sweep = sweep;
	}
	if (name_set(&p->sweep[p->sweep_count], owner) == 0)
		p->sweep_count++;
	return 0;
}

/* The first PNEs of a sweep, or the next. */
static void sweep_some(struct core *c, uint64_t now)
{
	int r;

	if (!c->pool.sweeping) {
		c->pool.sweep_due = now + SWEEP_MS;
		c->pool.sweep_at = (struct vault_cursor){.begun = false};
	}
	r = vault_each_some(c->vault, VAULT_PNE, &c->pool.sweep_at, SWEEP_PIECE, add_to_sweep,
			    &c->pool);
	c->pool.sweeping = r == 0 && !c->pool.sweep_at.ended;
	if (r != 0)
		gateway_core_say(c, LOG_LEVEL_WARNING, "the pools cannot be looked through");
}

static void look_next(struct core *c)
{
	struct name entity = c->pool.sweep[--c->pool.sweep_count];

	look(c, &entity);
}

/* One more that is to be looked at soon. */
static void look_soon(struct core *c, const struct name *entity)
{
	(void)add_to_sweep(&c->pool, name_bytes(entity), BYTES_NONE, BYTES_NONE);
	gateway_core_wake_by(c, c->ports.now(c->arg) + 1);
}

/* Renewals. */

static void start_renewal(struct core *c, const struct name *entity, const struct name *user,
			  uint64_t run)
{
	const struct facts no_memory = {
		.matter = MATTER_RENEWAL, .known = true, .most = 1, .error = -ENOMEM};
	struct procedure *p = gateway_core_add(c, &gateway_renewal, user, entity, run);
	struct verdict v = {.figure = FIGURE_7};

	if (p) {
		gateway_core_begin(c, p);
		return;
	}
	v.entity = *entity;
	v.user = *user;
	(void)gateway_core_judge(c, run, &no_memory, &v);
}

bool gateway_core_busy_with(struct core *c, const struct name *entity)
{
	struct event e = {.kind = EVENT_CANCEL};
	struct procedure *p = gateway_core_procedure_for(c, entity);

	if (p && p->type == &gateway_renewal && p->run == 0)
		gateway_core_give(c, p, &e);
	return gateway_core_procedure_for(c, entity) || gateway_core_writing(c, entity);
}

bool gateway_core_busy_facts(struct core *c, const struct name *entity, struct facts *f)
{
	const struct procedure *p;

	f->busy = gateway_core_busy_with(c, entity);
	p = gateway_core_procedure_for(c, entity);
	f->holder = p ? p->id : 0;
	return f->busy;
}

int gateway_core_renew(struct core *c, const struct name *entity, uint64_t run)
{
	struct core_start s = {.figure = FIGURE_7, .entities = entity, .count = 1, .run = run};

	gateway_recorder_command(gateway_core_recorder(c), "renew", run, FIGURE_7, NULL, entity);
	if (records_get_pne_owner(c->vault, entity, &s.user) == 0 && !gateway_core_fenced(c) &&
	    gateway_core_reach_first(c, REACH_FOR_RENEWAL, &s))
		return 1;
	return gateway_core_renew_now(c, entity, run);
}

int gateway_core_renew_now(struct core *c, const struct name *entity, uint64_t run)
{
	struct facts f = {.matter = MATTER_RENEWAL};
	struct verdict v = {.figure = FIGURE_7};

	v.entity = *entity;
	f.known = records_get_pne_owner(c->vault, entity, &v.user) == 0;
	f.link_up = gateway_core_link_of(c, entity) != NULL;
	if (f.known)
		(void)gateway_core_busy_facts(c, entity, &f);
	f.under_way = c->procedure_count;
	f.most = c->options.max_procedures;
	if (!gateway_core_fence_judge(c, run, &v) && !gateway_core_judge(c, run, &f, &v))
		start_renewal(c, entity, &v.user, run);
	gateway_core_sweep_links(c);
	return 1;
}

/* In milliseconds of the core's clock, from now. */
static uint64_t in_seconds(uint64_t now, uint64_t seconds)
{
	return now + (seconds > LOOK_MAX_MS / 1000 ? LOOK_MAX_MS : seconds * 1000);
}

/* A PNE is connected: what was sent and not confirmed is sent again, and what is old replaced. */
static void look_at_link(struct core *c, struct core_link *l, uint64_t now)
{
	const struct name *entity = &link_peer(l->engine)->entity;
	struct procedure *p = gateway_core_procedure_for(c, entity);
	struct event again = {.kind = EVENT_START};
	struct pool_state *s;
	uint64_t service = gateway_core_service(c), renew_at;
	struct pool pool = {0};
	struct name user;
	bool due, empty;

	l->pool_due = 0;
	if (gateway_core_fenced(c))
		return;
	/* One that was interrupted by a restart has waited for this. */
	if (p && p->resumed)
		gateway_core_give(c, p, &again);
	if (p)
		return;
	if (gateway_core_writing(c, entity)) {
		l->pool_due = now + 1;
		return;
	}
	/* Of whom nothing is known nothing is remembered: anybody can connect, or be asked about.
	 */
	if (records_get_pne_owner(c->vault, entity, &user) != 0)
		return;
	s = state_of(c, entity);
	if (!s || load_pool(c, entity, &pool) != 0)
		return;
	renew_at = pool_renew_at(&pool, &c->options.pool);
	due = pool_repeat(&pool) || renew_at <= service;
	empty = !pool_repeat(&pool) && !pool_next(&pool, &c->options.pool, service);
	pool_clear(&pool);
	if (due && empty && s->empty_told) {
		l->pool_due = now + PAUSE_MAX_MS;
	} else if (!due) {
		if (renew_at != POOL_NEVER)
			l->pool_due = in_seconds(now, renew_at - service);
	} else if (s->renew_at > now) {
		l->pool_due = s->renew_at;
	} else if (c->procedure_count > c->options.max_procedures / 2) {
		/* The other half is for what users ask for. */
		l->pool_due = now + ROOM_MS;
	} else {
		s->empty_told = empty;
		start_renewal(c, entity, &user, 0);
	}
}

void gateway_core_pool_link_up(struct core *c, struct core_link *l)
{
	l->pool_due = c->ports.now(c->arg) + 1;
	gateway_core_wake_by(c, l->pool_due);
}

/* What befell it. */

static void refill_ended(struct core *c, struct core_link *l, const struct verdict *v,
			 unsigned keys)
{
	struct pool_state *s = state_of(c, &v->entity);
	uint64_t now = c->ports.now(c->arg);
	char text[320];

	if (c->pool.refills > 0)
		c->pool.refills--;
	if (!s || v->id == VERDICT_CANCELLED)
		return;
	if (v->id == VERDICT_DONE) {
		s->refill_pause = 0;
		s->refill_at = 0;
		if (keys < s->asked)
			s->at_once = keys;
		(void)snprintf(text, sizeof(text), "%u further EUKeys for PNE %s are in its pool",
			       keys, v->entity.text);
		gateway_core_say(c, LOG_LEVEL_INFO, text);
		look_soon(c, &v->entity);
		if (l)
			gateway_core_pool_link_up(c, l);
		return;
	}
	s->refill_at = after_pause(now, &s->refill_pause);
	if (v->id == VERDICT_REFILL_NEEDS_USER) {
		s->needs_user = true;
		gateway_core_verdict(c, 0, v);
		return;
	}
	(void)snprintf(text, sizeof(text), "the pool of PNE %s is not filled up: %s%s%s",
		       v->entity.text, verdict_cause(v->id), v->detail[0] ? ", " : "", v->detail);
	gateway_core_say(c, LOG_LEVEL_WARNING, text);
	c->pool.sweep_due = earlier(c->pool.sweep_due, s->refill_at);
	gateway_core_wake_by(c, c->pool.sweep_due);
}

void gateway_core_pool_ended(struct core *c, const struct procedure_type *type, uint64_t run,
			     const struct verdict *v, unsigned keys)
{
	struct core_link *l = gateway_core_link_of(c, &v->entity);
	uint64_t now = c->ports.now(c->arg);
	struct pool_state *s;

	if (type == &gateway_refill) {
		refill_ended(c, l, v, keys);
		return;
	}
	if (v->figure != FIGURE_7) {
		if (l)
			gateway_core_pool_link_up(c, l);
		return;
	}
	s = state_of(c, &v->entity);
	if (!s)
		return;
	if (v->id == VERDICT_DONE) {
		s->renew_at = 0;
		s->renew_pause = 0;
		if (type == &gateway_figure7_assignment)
			s->needs_user = false;
	} else if (run == 0 && v->id != VERDICT_PAN_LOST && v->id != VERDICT_CANCELLED) {
		/* A link that was lost begins anew; whoever refuses or is silent is left alone. */
		s->renew_at = after_pause(now, &s->renew_pause);
	} else if (run != 0 && v->id != VERDICT_PAN_LOST && s->renew_at < now + PAUSE_MIN_MS) {
		/* The user goes first, should there be another attempt. */
		s->renew_at = now + PAUSE_MIN_MS;
	}
	if (l) {
		l->pool_due = s->renew_at > now ? s->renew_at : now + 1;
		gateway_core_wake_by(c, l->pool_due);
	}
	look_soon(c, &v->entity);
}

void gateway_core_pool_replaced(struct core *c, const struct name *entity)
{
	struct event e = {.kind = EVENT_CANCEL};
	struct procedure *p = refill_of(c, entity);

	if (p)
		gateway_core_give(c, p, &e);
}

void gateway_core_pool_wan_up(struct core *c)
{
	for (size_t i = 0; i < c->pool.remembered.count; i++) {
		struct pool_state *s = c->pool.states[i];

		s->refill_at = 0;
		s->refill_pause = 0;
		s->at_once = 0;
	}
	c->pool.sweep_due = c->ports.now(c->arg) + 1;
	gateway_core_wake_by(c, c->pool.sweep_due);
}

void gateway_core_pool_limits(struct core *c)
{
	c->pool.sweep_due = c->ports.now(c->arg) + 1;
	gateway_core_wake_by(c, c->pool.sweep_due);
	for (struct core_link *l = c->links; l; l = l->next) {
		if (l->up)
			gateway_core_pool_link_up(c, l);
	}
}

uint64_t gateway_core_tick_pool(struct core *c, uint64_t now)
{
	uint64_t next;

	if (c->pool.mark_due <= now)
		put_mark(c);
	if (c->pool.sweep_count == 0 && (c->pool.sweeping || c->pool.sweep_due <= now))
		sweep_some(c, now);
	for (unsigned i = 0;
	     i < SWEEP_AT_ONCE && c->pool.sweep_count > 0 && c->pool.refills < REFILLS_MAX; i++)
		look_next(c);
	/* The next sweep waits for the end of this one, however long ago it was due. */
	next = earlier(c->pool.mark_due,
		       c->pool.sweep_count == 0 && !c->pool.sweeping
			       ? c->pool.sweep_due
			       : now + (c->pool.refills < REFILLS_MAX ? 1 : ROOM_MS));
	for (struct core_link *l = c->links; l;) {
		struct core_link *following = l->next;

		if (l->up && !l->dying && l->pool_due != 0) {
			if (l->pool_due <= now)
				look_at_link(c, l, now);
			next = earlier(next, l->pool_due);
		}
		l = following;
	}
	gateway_core_sweep_links(c);
	return next;
}

/* The key of Figure 5 or 6 that the PNE took last, unless it has had or lost a later one. */
static uint32_t held_relayed(struct core *c, const struct name *entity, uint32_t current)
{
	struct relayed relayed;

	if (records_get_relayed(c->vault, entity, &relayed) != 0 || relayed.installed <= current ||
	    relayed.installed <= gateway_core_revoked_index(c, entity))
		return 0;
	return relayed.installed;
}

int gateway_core_pool_info(struct core *c, const struct name *entity, struct core_pool_info *out)
{
	uint64_t service = gateway_core_service(c), renew_at;
	const struct pool_state *s = find_state(c, entity);
	const struct pool_key *key;
	struct pool pool = {0};
	int r = load_pool(c, entity, &pool);

	if (r != 0)
		return r;
	renew_at = pool_renew_at(&pool, &c->options.pool);
	out->left = pool_left(&pool, &c->options.pool, service);
	key = pool_current(&pool);
	out->current = key ? key->index : 0;
	out->relayed = held_relayed(c, entity, out->current);
	key = pool_repeat(&pool);
	out->unconfirmed = key ? key->index : 0;
	out->renew_in = POOL_NEVER;
	if (renew_at != POOL_NEVER)
		out->renew_in = renew_at > service ? renew_at - service : 0;
	out->refill_needs_user = s && s->needs_user;
	pool_clear(&pool);
	return 0;
}

/* Without its record the clock goes on from the newest key, or that one would not expire. */
static int latest(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	uint64_t *service = arg;
	struct pool_key key;

	(void)owner;
	if (records_parse_eukey(item, content, &key) == 0 && key.since > *service)
		*service = key.since;
	return 0;
}

int gateway_core_pool_begin(struct core *c)
{
	const struct vault_rollback *rollback = vault_rollback(c->vault);
	struct clock_mark mark = {0, c->ports.wall(c->arg)};
	int r = records_get_clock(c->vault, &mark);

	if (r < 0)
		return r;
	if (r != 0) {
		r = vault_each(c->vault, VAULT_EUKEY, BYTES_NONE, latest, &mark.service, NULL);
		if (r != 0)
			return r;
	}
	c->pool.service_base = clock_resume(&mark, c->ports.wall(c->arg));
	c->pool.elapsed_base = c->ports.elapsed(c->arg);
	c->pool.wall_base = mark.wall;
	c->pool.wall_service = c->pool.service_base;
	put_mark(c);
	c->pool.sweep_due = c->ports.now(c->arg) + 1;
	gateway_core_wake_by(c, c->pool.sweep_due);
	if (rollback)
		gateway_core_quarantine(c, rollback->known, rollback->who);
	return 0;
}

void gateway_core_pool_end(struct core *c)
{
	if (c->pool.mark_due != 0)
		put_mark(c);
	for (size_t i = 0; i < c->pool.remembered.count; i++)
		free(c->pool.states[i]);
	free(c->pool.states);
	c->pool.states = NULL;
	gateway_names_free(&c->pool.remembered);
	free(c->pool.sweep);
	c->pool.sweep = NULL;
	c->pool.sweep_count = 0;
}
