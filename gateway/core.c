#include "gateway/core-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/p1.h"

void gateway_core_say(struct core *c, enum log_level level, const char *text)
{
	gateway_recorder_line(gateway_core_recorder(c), text);
	c->ports.log(c->arg, level, text);
}

struct recorder *gateway_core_recorder(struct core *c)
{
	struct recorder *r = c->options.recorder;

	if (r)
		gateway_recorder_at(r, c->ports.now(c->arg), c->ports.wall(c->arg));
	return r;
}

void gateway_core_relay_called(struct core *c, const struct relay_call *call,
			       const struct actions *a)
{
	gateway_recorder_relay(gateway_core_recorder(c), call, &c->options.relay, a);
}

bool gateway_core_judge(struct core *c, uint64_t run, const struct facts *f, struct verdict *v)
{
	if (!gateway_judge(f, v))
		return false;
	gateway_recorder_judgement(gateway_core_recorder(c), run, f, v);
	gateway_core_verdict(c, run, v);
	return true;
}

void gateway_core_wake_by(struct core *c, uint64_t at)
{
	if (at == 0 || (c->wake_at != 0 && c->wake_at <= at))
		return;
	c->wake_at = at;
	c->ports.wake(c->arg, at);
}

struct procedure *gateway_core_procedure_of(struct core *c, uint64_t id)
{
	for (struct procedure *p = c->procedures; p; p = p->next) {
		if (p->id == id)
			return p;
	}
	return NULL;
}

struct procedure *gateway_core_procedure_for(struct core *c, const struct name *entity)
{
	for (struct procedure *p = c->procedures; p; p = p->next) {
		if (!p->background && p->entity.text[0] && name_equal(&p->entity, entity))
			return p;
	}
	return NULL;
}

int gateway_core_load_identity(struct core *c)
{
	struct stored_key key = {0};
	struct name owner = {{0}};
	int r = records_highest_key(c->vault, &c->options.self, &key);

	if (r < 0)
		return r;
	if (r == VAULT_DAMAGED)
		gateway_core_say(c, LOG_LEVEL_ERROR,
				 "the PN GW's own EUKey in the vault is damaged: run Figure 8");
	r = records_get_identity(c->vault, &owner);
	if (r < 0) {
		secret_unref(key.key);
		return r;
	}
	secret_unref(c->own_key.key);
	c->own_key = key;
	c->owner = owner;
	return 0;
}

static void relay_stored(struct core *c, uint64_t token, int result)
{
	struct relay_call call = {.kind = CALL_STORED,
				  .count = gateway_relay_count(c->relay),
				  .now = c->ports.now(c->arg),
				  .token = token,
				  .result = result};
	struct actions a;

	gateway_actions_begin(&a);
	gateway_relay_stored(c->relay, call.now, token, result, &a);
	gateway_core_relay_called(c, &call, &a);
	gateway_core_perform(c, NULL, &a);
}

/* Where nobody waits for a batch any more it is told here that it was not written. */
static void say_lost(struct core *c, const struct name *entity, int result)
{
	char text[192];

	(void)snprintf(text, sizeof(text), "the last news%s%s is not in the vault: %s",
		       entity->text[0] ? " of " : "", entity->text,
		       result < 0 ? strerror(-result) : "the vault refused it");
	gateway_core_say(c, LOG_LEVEL_ERROR, text);
}

static void stored(void *arg, int result)
{
	struct pending pending = *(struct pending *)arg;
	struct core *c = pending.core;
	struct procedure *p;

	*pending.at = pending.next;
	if (pending.next)
		pending.next->at = pending.at;
	free(arg);
	if (result != 0 && pending.token == 0)
		say_lost(c, &pending.entity, result);
	if (c->ending || pending.token == 0)
		return;
	if (pending.token & TOKEN_RELAY) {
		relay_stored(c, pending.token & ~TOKEN_RELAY, result);
		gateway_core_wake_by(c, c->ports.now(c->arg) + c->options.relay.receipt_ms);
		gateway_core_report_soon(c);
		return;
	}
	if (pending.token & TOKEN_RESET) {
		gateway_core_reset_stored(c, pending.token & ~TOKEN_RESET, result);
		return;
	}
	if (pending.token & TOKEN_REPORT) {
		if (result == 0)
			gateway_core_report_soon(c);
		return;
	}
	if (pending.token & TOKEN_QUARANTINE) {
		gateway_core_quarantined(c, result);
		return;
	}
	/* Of a Figure 8 that was cancelled meanwhile too. */
	if (result == 0 && name_equal(&pending.entity, &c->options.self))
		(void)gateway_core_load_identity(c);
	p = gateway_core_procedure_of(c, pending.token);
	if (p) {
		struct event e = {.kind = EVENT_STORED, .result = result};

		gateway_core_give(c, p, &e);
	}
}

/* Takes b over, on failure too. */
static int submit(struct core *c, struct vault_batch *b, uint64_t token, const struct name *entity,
		  bool every_entity)
{
	struct pending *pending = calloc(1, sizeof(*pending));
	int r;

	if (!pending) {
		vault_batch_free(b);
		return -ENOMEM;
	}
	pending->core = c;
	pending->token = token;
	pending->every_entity = every_entity;
	if (entity)
		pending->entity = *entity;
	r = vault_submit(c->vault, b, stored, pending);
	if (r != 0) {
		free(pending);
		return r;
	}
	pending->next = c->pending;
	pending->at = &c->pending;
	if (pending->next)
		pending->next->at = &pending->next;
	c->pending = pending;
	return 0;
}

int gateway_core_submit(struct core *c, struct vault_batch *b, uint64_t token)
{
	return submit(c, b, token, NULL, false);
}

int gateway_core_submit_for(struct core *c, struct vault_batch *b, uint64_t token,
			    const struct name *entity)
{
	return submit(c, b, token, entity, !entity);
}

static void told(void *arg, int result)
{
	*(int *)arg = result;
}

int gateway_core_write(struct core *c, struct vault_batch *b)
{
	int result = -ECANCELED;
	int r = vault_submit(c->vault, b, told, &result);

	if (r != 0)
		return r;
	(void)vault_flush(c->vault);
	return result;
}

bool gateway_core_writing(const struct core *c, const struct name *entity)
{
	for (const struct pending *p = c->pending; p; p = p->next) {
		if (p->every_entity || name_equal(&p->entity, entity))
			return true;
	}
	return false;
}

void gateway_core_journal(struct core *c, const struct procedure *p, bool begins)
{
	struct vault_batch *b = vault_batch_new();
	char text[96];
	int r;

	if (!b)
		return;
	if (begins)
		records_put_procedure(b, p->id, p->type->figure, &p->user, &p->entity);
	else
		records_erase_procedure(b, p->id);
	r = gateway_core_submit(c, b, 0);
	if (r != 0) {
		(void)snprintf(text, sizeof(text), "journal of procedures: %s", strerror(-r));
		gateway_core_say(c, LOG_LEVEL_ERROR, text);
	}
}

void gateway_core_remove(struct core *c, struct procedure *p)
{
	struct procedure **at = &c->procedures;

	while (*at && *at != p)
		at = &(*at)->next;
	if (*at)
		*at = p->next;
	if (!p->background)
		c->procedure_count--;
	if (p->request)
		c->ports.cancel(c->arg, p->request);
	if (!p->silent && !p->background)
		gateway_core_journal(c, p, false);
	gateway_procedure_free(p);
}

void gateway_core_verdict(struct core *c, uint64_t run, const struct verdict *v)
{
	if (v->id == VERDICT_DONE)
		c->counters.done++;
	else
		c->counters.failed++;
	gateway_recorder_verdict(gateway_core_recorder(c), run, v);
	c->ports.verdict(c->arg, run, v);
	if (v->id == VERDICT_DONE && v->entity.text[0] && v->key_index > 0)
		gateway_core_reset_superseded(c, &v->entity);
}

/* Who subscribes first owns the PN GW. */
static void subscribed(struct core *c, const struct procedure *p, const struct verdict *v)
{
	struct vault_batch *b;

	if (v->id != VERDICT_DONE || c->owner.text[0] || p->part == FIGURE6_TRIGGER)
		return;
	b = vault_batch_new();
	c->owner = p->user;
	if (b) {
		records_put_identity(b, &p->user);
		(void)gateway_core_submit(c, b, 0);
	}
}

/* The subscription of a Figure 6 run has ended: those that waited for it go on, or end. */
static void tell_followers(struct core *c, struct procedure *leader, const struct verdict *v)
{
	for (;;) {
		struct procedure *p = c->procedures;
		struct event e = {.kind = EVENT_SUBSCRIBED, .verdict = v, .subscription = leader};

		while (p && p->leader != leader->id)
			p = p->next;
		if (!p)
			return;
		p->leader = 0;
		gateway_core_give(c, p, &e);
	}
}

/* A relay's verdict is that of the Figure 6 procedure whose request it was, if that waits for it.
 */
static void relay_verdict(struct core *c, const struct action *a)
{
	struct procedure *p = gateway_core_procedure_for(c, &a->verdict.entity);
	struct event e = {.kind = EVENT_RELAY_ENDED, .verdict = &a->verdict};

	if (p && gateway_figure6_is_relayed(p, &a->in_response_to))
		gateway_core_give(c, p, &e);
	else
		gateway_core_verdict(c, 0, &a->verdict);
}

static void relayed(struct core *c, const struct action *a)
{
	struct procedure *p = gateway_core_procedure_for(c, &a->entity);
	struct event e = {.kind = EVENT_RELAYED, .in_response_to = a->in_response_to};

	if (a->figure == FIGURE_6 && a->step == 9 && p)
		gateway_core_give(c, p, &e);
}

static bool send_to(struct core *c, const struct action *a)
{
	struct core_link *l = gateway_core_link_of(c, &a->entity);

	if (!l)
		return false;
	if (a->kind == ACTION_SEND)
		return link_send_message(l->engine, bytes_of(a->xml, a->size)) == 0 && !l->dying;
	return link_send_receipt(l->engine, &a->receipt) == 0 && !l->dying;
}

/*
 * Carries the actions of p out, those of the relay where p is NULL. p may be gone afterwards. What
 * could not be done is told after the last action, as the event it amounts to.
 */
void gateway_core_perform(struct core *c, struct procedure *p, struct actions *a)
{
	struct event failed = {.kind = EVENT_KINDS};
	uint64_t failed_relay = 0;
	uint64_t run = p ? p->run : 0;

	for (size_t i = 0; i < a->count; i++) {
		struct action *x = &a->list[i];
		int r;

		switch (x->kind) {
		case ACTION_POST: {
			void *request = NULL;

			r = c->ports.post(c->arg, bytes_of(x->xml, x->size), x->deadline_ms, x->pin,
					  p ? p->id : x->token | TOKEN_RELAY, &request);
			if (p)
				p->request = request;
			if (r == 0)
				break;
			if (p) {
				failed.kind = EVENT_WAN_FAILED;
				failed.failure =
					r == -ENOTCONN ? WAN_FAILURE_LOST : WAN_FAILURE_DOWN;
			} else {
				failed_relay = x->token;
			}
			break;
		}
		case ACTION_SEND:
			if (!send_to(c, x) && p)
				failed.kind = EVENT_LINK_DOWN;
			break;
		case ACTION_RECEIPT:
			c->counters.refused++;
			(void)send_to(c, x);
			break;
		case ACTION_DERIVE:
			if (c->ports.derive(c->arg, p ? p->id : 0, x->password, x->salt,
					    x->iterations) != 0)
				failed.kind = EVENT_HASHED;
			break;
		case ACTION_STORE:
			r = gateway_core_submit_for(c, x->batch,
						    p ? (p->state == STATE_ENDED ? 0 : p->id)
						      : x->token | TOKEN_RELAY,
						    &x->entity);
			x->batch = NULL;
			if (r == 0)
				break;
			failed.kind = EVENT_STORED;
			failed.result = r;
			failed_relay = x->token;
			break;
		case ACTION_STEP:
			c->ports.step(c->arg, run, x->figure, x->step, &x->user, &x->entity);
			if (!p)
				relayed(c, x);
			break;
		case ACTION_VERDICT:
			if (!p) {
				relay_verdict(c, x);
			} else {
				struct verdict v = x->verdict;
				const struct procedure_type *type = p->type;
				unsigned keys = p->set_count;

				if (type == &gateway_figure6_subscription)
					subscribed(c, p, &v);
				if (p->silent)
					tell_followers(c, p, &v);
				else if (!p->background)
					gateway_core_verdict(c, run, &v);
				gateway_core_remove(c, p);
				p = NULL;
				gateway_actions_end(a);
				if (v.entity.text[0])
					gateway_core_pool_ended(c, type, run, &v, keys);
				gateway_core_report_soon(c);
				return;
			}
			break;
		}
	}
	gateway_actions_end(a);
	if (p && failed.kind != EVENT_KINDS) {
		gateway_core_give(c, p, &failed);
	} else if (!p && failed.kind == EVENT_STORED) {
		relay_stored(c, failed_relay, failed.result);
	} else if (!p && failed_relay != 0) {
		gateway_core_relay_wan_failed(c, failed_relay, WAN_FAILURE_DOWN);
	}
}

/* Gives e to p with what is known now. p may be gone afterwards. */
void gateway_core_give(struct core *c, struct procedure *p, const struct event *e)
{
	struct surroundings s = {
		.now = c->ports.now(c->arg),
		.limits = &c->options.procedures,
		.self = &c->options.self,
		.server = &c->options.server,
		.path = c->path,
		.wan_up = c->wan.up,
		.wan_mutual = c->wan.mutual,
		.wan_tls_refused = c->wan.tls_refused,
		.wan_down = c->wan.down,
		.wan_why = c->wan_why,
		.exporter = c->wan.exporter,
		.generation = c->wan.generation,
		.own_key = &c->own_key,
		.owner = &c->owner,
		.wall = c->ports.wall(c->arg),
		.service = gateway_core_service(c),
	};
	struct core_link *l = p->entity.text[0] ? gateway_core_link_of(c, &p->entity) : NULL;
	struct pool_view pool;
	struct name pne_owner = {{0}};
	struct actions a;
	struct event given = *e;
	uint64_t id = p->id;

	s.pne_owner = &pne_owner;
	if (l) {
		s.link_up = true;
		s.level = l->level;
		s.link_secret = link_secret(l->engine);
		s.link_binding = link_binding(l->engine);
	}
	if ((p->type->figure == FIGURE_6 || p->type->figure == FIGURE_7) && p->entity.text[0])
		(void)records_get_pne_owner(c->vault, &p->entity, &pne_owner);
	gateway_core_pool_view(c, p, e->kind, &pool, &s);
	given.s = &s;
	if (e->kind == EVENT_ANSWER || e->kind == EVENT_WAN_FAILED)
		p->request = NULL;
	gateway_actions_begin(&a);
	gateway_recorder_event(gateway_core_recorder(c), p, &given, &c->options.pool);
	gateway_procedure_handle(p, &given, &a);
	gateway_recorder_handled(c->options.recorder, p, &a);
	gateway_core_perform(c, p, &a);
	gateway_core_pool_view_end(&pool);
	p = gateway_core_procedure_of(c, id);
	if (p)
		gateway_core_wake_by(c, p->due);
}

void gateway_core_give_entity(struct core *c, const struct name *entity, const struct event *e)
{
	struct procedure *p = gateway_core_procedure_for(c, entity);

	if (p)
		gateway_core_give(c, p, e);
}

void gateway_core_hashed(struct core *c, uint64_t token, struct secret *ph)
{
	struct procedure *p = gateway_core_procedure_of(c, token);
	struct event e = {.kind = EVENT_HASHED, .ph = ph};

	if (p)
		gateway_core_give(c, p, &e);
	gateway_core_sweep_links(c);
}

/* Time. */

static uint64_t tick_procedures(struct core *c, uint64_t now)
{
	uint64_t next;
	bool again;

	do {
		again = false;
		next = 0;
		for (struct procedure *p = c->procedures; p; p = p->next) {
			struct event e = {.kind = EVENT_TIMEOUT};

			if (p->due == 0)
				continue;
			if (p->due > now) {
				next = earlier(next, p->due);
				continue;
			}
			gateway_core_give(c, p, &e);
			again = true;
			break;
		}
	} while (again);
	return next;
}

/* One request whose receipt did not come; true when there may be a further one. */
static bool tick_relay(struct core *c, uint64_t now, uint64_t *next)
{
	struct relay_call call = {
		.kind = CALL_TICK, .count = gateway_relay_count(c->relay), .now = now};
	struct actions a;
	bool again;

	gateway_actions_begin(&a);
	again = gateway_relay_tick(c->relay, now, next, &a);
	gateway_core_relay_called(c, &call, &a);
	gateway_core_perform(c, NULL, &a);
	return again;
}

void gateway_core_tick(struct core *c)
{
	uint64_t now = c->ports.now(c->arg);
	uint64_t next, relay_next = 0;

	c->wake_at = 0;
	next = tick_procedures(c, now);
	while (tick_relay(c, now, &relay_next))
		;
	next = earlier(next, relay_next);
	next = earlier(next, gateway_core_tick_links(c, now));
	next = earlier(next, gateway_core_tick_report(c, now));
	next = earlier(next, gateway_core_tick_revoking(c, now));
	next = earlier(next, gateway_core_tick_resets(c, now));
	next = earlier(next, gateway_core_tick_state(c, now));
	next = earlier(next, gateway_core_tick_rollback(c, now));
	next = earlier(next, gateway_core_tick_pool(c, now));
	gateway_core_tick_reach(c);
	gateway_core_wake_by(c, next);
}

int gateway_core_new(const struct core_options *options, struct vault *vault,
		     const struct core_ports *ports, void *arg, struct core **out)
{
	struct core *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->ports = *ports;
	c->arg = arg;
	c->vault = vault;
	gateway_core_set_options(c, options);
	c->options.self = options->self;
	c->options.server = options->server;
	c->options.recorder = options->recorder;
	gateway_recorder_began(gateway_core_recorder(c));
	r = gateway_relay_new(&options->relay, &c->relay);
	if (r == 0)
		r = gateway_core_load_identity(c);
	if (r == 0)
		r = gateway_core_handover_begin(c);
	if (r == 0)
		r = gateway_core_pool_begin(c);
	if (r == 0)
		r = gateway_core_give_leftovers(c);
	if (r != 0) {
		gateway_core_free(c);
		return r;
	}
	*out = c;
	return 0;
}

void gateway_core_set_options(struct core *c, const struct core_options *options)
{
	struct name self = c->options.self, server = c->options.server;
	struct recorder *recorder = c->options.recorder;

	c->options = *options;
	c->options.recorder = recorder;
	c->options.self = self;
	c->options.server = server;
	(void)snprintf(c->path, sizeof(c->path), "%s", options->path);
	c->options.path = c->path;
	if (!c->relay)
		return;
	gateway_relay_set_limits(c->relay, &options->relay);
	gateway_core_pool_limits(c);
}

/* What was forwarded may be held, though its receipt comes too late: that goes on record. */
static void end_relayed(struct core *c)
{
	uint64_t next;

	while (c->relay && tick_relay(c, UINT64_MAX, &next))
		;
}

void gateway_core_free(struct core *c)
{
	if (!c)
		return;
	while (c->procedures) {
		struct event e = {.kind = EVENT_CANCEL};

		gateway_core_give(c, c->procedures, &e);
	}
	end_relayed(c);
	gateway_core_end_reach(c);
	gateway_core_end_revoking(c);
	gateway_core_end_resets(c);
	gateway_core_pool_end(c);
	c->ending = true;
	while (c->links) {
		c->ports.close(c->arg, c->links->stream);
		gateway_core_forget_link(c, c->links, "the PN GW stops");
	}
	(void)vault_flush(c->vault);
	gateway_core_end_state(c);
	gateway_core_free_resets(c);
	gateway_relay_free(c->relay);
	secret_unref(c->own_key.key);
	free(c);
}

size_t gateway_core_procedures(const struct core *c)
{
	return c->procedure_count;
}

const struct core_counters *gateway_core_counters(const struct core *c)
{
	return &c->counters;
}

const struct name *gateway_core_owner(const struct core *c)
{
	return &c->owner;
}

uint32_t gateway_core_own_index(const struct core *c)
{
	return c->own_key.index;
}

int gateway_core_fingerprint(struct core *c, const struct name *entity, struct bytes challenge,
			     uint8_t out[8], uint32_t *index, struct name *user)
{
	struct stored_key key;
	int r = records_current_key(c->vault, entity, &key);

	if (r != 0)
		return r;
	r = p1_fingerprint(key.key, challenge, name_bytes(&key.user), name_bytes(entity), key.index,
			   out);
	*index = key.index;
	*user = key.user;
	secret_unref(key.key);
	return r;
}

int gateway_core_release(struct core *c, const struct name *entity)
{
	bool self = name_equal(entity, &c->options.self);
	struct vault_batch *b;
	int r;

	if (gateway_core_procedure_for(c, entity) || gateway_core_writing(c, entity))
		return -EBUSY;
	if (!gateway_core_on_record(c, entity))
		return -ENOENT;
	gateway_core_pool_replaced(c, entity);
	b = vault_batch_new();
	if (!b)
		return -ENOMEM;
	r = gateway_core_erase(c, b, entity, UINT32_MAX, LEDGER_REASON_NONE);
	if (r != 0) {
		vault_batch_free(b);
		return r;
	}
	records_erase_bluetooth(b, entity);
	r = gateway_core_write(c, b);
	if (r == 0 && self) {
		secret_clear(&c->own_key.key);
		c->own_key.index = 0;
		c->owner.text[0] = '\0';
	}
	return r;
}
