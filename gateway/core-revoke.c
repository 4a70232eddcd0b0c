/* Revocations: who is revoked, by whom, and what is erased with that. */

#include "gateway/core-reset.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* So many records are looked at, and so many devices revoked, in one turn of the loop. */
#define REVOKING_LOOKS 256
#define REVOKING_PIECE 32

/* What is to be ended and erased before a device counts as revoked. */

static struct procedure *any_procedure(struct core *c, const struct name *entity)
{
	struct procedure *p = c->procedures;

	while (p && !name_equal(&p->entity, entity))
		p = p->next;
	return p;
}

static void end_relayed(struct core *c, const struct name *entity, const struct name *user)
{
	struct relay_call call = {.kind = CALL_REVOKE, .entity = entity, .user = user};
	struct actions a;
	bool again;

	do {
		call.count = gateway_relay_count(c->relay);
		gateway_actions_begin(&a);
		again = gateway_relay_revoke(c->relay, entity, user, &a);
		gateway_core_relay_called(c, &call, &a);
		gateway_core_perform(c, NULL, &a);
	} while (again);
}

static void end_procedures(struct core *c, const struct name *entity)
{
	struct event e = {.kind = EVENT_CANCEL, .revoked = true};
	struct procedure *p;

	gateway_core_reach_revoked(c, entity, NULL);
	while ((p = any_procedure(c, entity)))
		gateway_core_give(c, p, &e);
	end_relayed(c, entity, NULL);
	/* What they have written is to be erased too, and read before that. */
	if (gateway_core_writing(c, entity))
		(void)vault_flush(c->vault);
}

struct erasing {
	struct vault_batch *batch;
	const struct name *entity;
	uint32_t limit;
	enum ledger_reason reason;
	uint64_t wall;
	bool kept; /* there are higher ones */
};

static int erase_key(void *arg, const struct stored_key *key, enum key_state state)
{
	struct pool_key known = {.index = key->index, .state = state, .user = key->user};
	struct erasing *e = arg;

	if (key->index > e->limit)
		e->kept = true;
	else
		records_drop_eukey(e->batch, e->entity, &known, e->reason, FIGURE_NONE, e->wall);
	return 0;
}

/* A newer key of Figure 5 or 6, which is in the PNE only: held, or issued to whose the PNE is. */
static bool has_newer(struct core *c, const struct name *entity, uint32_t limit)
{
	struct relayed relayed;
	struct name owner;

	if (records_get_relayed(c->vault, entity, &relayed) != 0)
		return false;
	return relayed.installed > limit ||
	       (relayed.issued > limit && records_get_pne_owner(c->vault, entity, &owner) == 0 &&
		name_equal(&relayed.user, &owner));
}

int gateway_core_erase(struct core *c, struct vault_batch *b, const struct name *entity,
		       uint32_t limit, enum ledger_reason reason)
{
	struct erasing e = {b, entity, limit, reason, c->ports.wall(c->arg), false};
	struct secret *key = NULL;
	struct name user;
	int r = records_each_key(c->vault, entity, erase_key, &e);

	if (r != 0 || e.kept || has_newer(c, entity, limit))
		return r;
	r = records_get_temporary_key(c->vault, entity, &user, &key);
	secret_unref(key);
	if (r < 0)
		return r;
	if (r == 0) {
		const struct ledger_fact fact = {.event = LEDGER_ERASED,
						 .reason = reason,
						 .entity = name_bytes(entity),
						 .user = name_bytes(&user),
						 .time = e.wall};

		records_ledger(b, &fact);
	}
	records_release(b, entity, name_equal(entity, &c->options.self));
	return 0;
}

/* x->r is the revocation as it is to be, but for what the vault adds to it. */
static void revoke(struct core *c, struct reset *x, uint32_t limit)
{
	struct vault_batch *b = vault_batch_new();
	int r = b ? 0 : -ENOMEM;

	if (r == 0)
		r = revocation_prepare(&x->r, c->vault, limit);
	if (name_equal(&x->r.entity, &c->options.self))
		x->r.reset = RESET_NONE;
	if (x->r.reset != RESET_UNCONFIRMED)
		x->r.attempts_count = 0;
	if (r == 0)
		gateway_reset_fact(c, b, LEDGER_REVOKED, &x->r);
	if (r == 0)
		r = gateway_core_erase(c, b, &x->r.entity, x->r.key_index, LEDGER_REASON_REVOKED);
	if (r != 0) {
		vault_batch_free(b);
		x->failed = r;
		return;
	}
	x->ask = true;
	x->sent = 0;
	x->news = true;
	gateway_reset_store(c, x, b);
}

static int stop(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	(void)arg;
	(void)owner;
	(void)item;
	(void)content;
	return 1;
}

/* Whether there is anything of entity that a revocation makes worthless. */
static bool is_known(struct core *c, const struct name *entity)
{
	struct revocation before;
	struct relayed relayed;
	static const enum vault_kind kinds[] = {VAULT_EUKEY, VAULT_PNE, VAULT_TEMPORARY_KEY,
						VAULT_DELIVERY};

	if (name_equal(entity, &c->options.self) && c->owner.text[0])
		return true;
	if (records_get_relayed(c->vault, entity, &relayed) == 0 &&
	    relayed.issued > gateway_core_revoked_index(c, entity))
		return true;
	/* One that cannot be read is made anew: the server may not have heard of it. */
	if (revocation_get(c->vault, entity, &before) == VAULT_DAMAGED)
		return true;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (vault_each(c->vault, kinds[i], name_bytes(entity), stop, NULL, NULL) != 0)
			return true;
	}
	return false;
}

bool gateway_core_on_record(struct core *c, const struct name *entity)
{
	struct bluetooth_place place;
	struct revocation before;

	return name_equal(entity, &c->options.self) || is_known(c, entity) ||
	       gateway_core_link_of(c, entity) ||
	       records_get_bluetooth(c->vault, entity, &place) != VAULT_ABSENT ||
	       revocation_get(c->vault, entity, &before) != VAULT_ABSENT;
}

static void revoke_one(struct core *c, const struct name *entity, uint64_t run)
{
	struct reset *x;
	int error;

	end_procedures(c, entity);
	x = gateway_reset_take(c, entity, &error);
	if (!x) {
		gateway_reset_absent(c, run, entity, error, false);
		return;
	}
	if (!is_known(c, entity)) {
		if (x->r.epoch == 0) {
			gateway_reset_absent(c, run, entity, 0, false);
		} else {
			gateway_reset_owe(c, x, run);
			x->ask = true;
			if (x->storing == 0)
				gateway_reset_go_on(c, x);
		}
		gateway_reset_settle(c, x);
		return;
	}
	gateway_reset_owe(c, x, run);
	x->r.epoch++;
	x->r.reset = RESET_UNCONFIRMED;
	x->r.told = false;
	x->r.by_server = false;
	x->r.forgotten = false;
	x->r.seen = STATUS_OK;
	x->r.since = c->ports.wall(c->arg);
	revoke(c, x, UINT32_MAX);
	gateway_reset_settle(c, x);
	/* Its reset is sent when it comes; the verdict does not wait for that. */
	if (c->ports.reach && !gateway_core_link_of(c, entity))
		(void)c->ports.reach(c->arg, entity);
}

int gateway_core_revoke(struct core *c, const struct name *entity, uint64_t run)
{
	gateway_recorder_command(gateway_core_recorder(c), "revoke", run, FIGURE_NONE, NULL,
				 entity);
	revoke_one(c, entity, run);
	gateway_core_sweep_links(c);
	return 1;
}

/* Every entity that has a record of its own, without repetition. */
static int collect_name(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct name entity;

	(void)item;
	(void)content;
	return name_set(&entity, owner) == 0 ? gateway_names_add(arg, &entity) : 0;
}

int gateway_core_known_some(struct core *c, struct known_walk *w, size_t most, struct names *out)
{
	static const enum vault_kind kinds[] = {VAULT_PNE, VAULT_EUKEY, VAULT_REVOCATION,
						VAULT_DELIVERY, VAULT_ANSWER};
	int r = gateway_names_add(out, &c->options.self);

	while (r == 0 && most > 0 && !w->ended) {
		size_t before = w->at.looked_at;

		r = vault_each_some(c->vault, kinds[w->kind], &w->at, most, collect_name, out);
		most -= w->at.looked_at - before;
		if (r == 0 && w->at.ended) {
			w->at = (struct vault_cursor){.begun = false};
			w->ended = ++w->kind == sizeof(kinds) / sizeof(kinds[0]);
		}
	}
	return r;
}

int gateway_core_known_names(struct core *c, struct names *out)
{
	struct known_walk w = {.kind = 0};
	int r = 0;

	while (r == 0 && !w.ended)
		r = gateway_core_known_some(c, &w, 1024, out);
	return r;
}

static int of_user(void *arg, const struct stored_key *key, enum key_state state)
{
	(void)state;
	return name_equal(&key->user, arg);
}

/* user: NULL for everybody. */
static bool belongs(struct core *c, const struct name *entity, const struct name *user)
{
	struct relayed relayed;
	struct name owner;

	if (!user)
		return is_known(c, entity);
	if (name_equal(entity, &c->options.self) && name_equal(user, &c->owner))
		return true;
	if (records_get_pne_owner(c->vault, entity, &owner) == 0 && name_equal(&owner, user))
		return true;
	if (records_get_relayed(c->vault, entity, &relayed) == 0 &&
	    relayed.issued > gateway_core_revoked_index(c, entity) &&
	    name_equal(&relayed.user, user))
		return true;
	owner = *user;
	return records_each_key(c->vault, entity, of_user, &owner) == 1;
}

/* What would check a revoked user's password without the server. */
static int erase_verifiers(struct core *c, const struct name *user)
{
	struct names users = {.count = 0};
	struct vault_batch *b = vault_batch_new();
	char text[96];
	int r = b ? 0 : -ENOMEM;

	if (r == 0)
		r = user ? gateway_names_add(&users, user)
			 : vault_each(c->vault, VAULT_VERIFIER, BYTES_NONE, collect_name, &users,
				      NULL);
	for (size_t i = 0; i < users.count && r == 0; i++)
		vault_batch_erase_owner(b, VAULT_VERIFIER, name_bytes(&users.list[i]));
	gateway_names_free(&users);
	if (r == 0)
		r = gateway_core_write(c, b);
	else
		vault_batch_free(b);
	if (r != 0) {
		(void)snprintf(text, sizeof(text), "what checks passwords offline stays: %s",
			       strerror(-r));
		gateway_core_say(c, LOG_LEVEL_ERROR, text);
	}
	return r;
}

/* What is on its way to a device that nothing is known of would make it one of theirs. */
static void end_all_procedures(struct core *c, const struct name *user)
{
	struct event e = {.kind = EVENT_CANCEL, .revoked = true};
	struct procedure *p;

	gateway_core_reach_revoked(c, NULL, user);
	p = c->procedures;
	while (p) {
		if ((p->entity.text[0] || p->silent) && (!user || name_equal(&p->user, user))) {
			gateway_core_give(c, p, &e);
			p = c->procedures;
		} else {
			p = p->next;
		}
	}
	end_relayed(c, NULL, user);
	if (vault_pending(c->vault))
		(void)vault_flush(c->vault);
}

/* What is left of a user's devices, or of all of them: a piece in each turn of the loop. */
struct revoking {
	struct revoking *next;
	struct name user; /* "" : everybody's */
	uint64_t run;
	struct known_walk walk; /* who is known goes into names, until it has ended */
	struct names names;
	size_t at;
	int verdicts, erased;
};

static void revoking_free(struct revoking *j)
{
	gateway_names_free(&j->names);
	free(j);
}

/* A piece of it. True: it is over, and *result is how many verdicts there are, or an errno. */
static bool go_on(struct core *c, struct revoking *j, int *result)
{
	const struct name *user = j->user.text[0] ? &j->user : NULL;
	int r = 0;

	if (!j->walk.ended) {
		r = gateway_core_known_some(c, &j->walk, REVOKING_LOOKS, &j->names);
		if (r == 0 && !j->walk.ended)
			return false;
		if (r == 0)
			j->erased = erase_verifiers(c, user);
	}
	for (size_t i = 0; i < REVOKING_PIECE && j->at < j->names.count && r == 0; i++) {
		const struct name *entity = &j->names.list[j->at++];

		if (!belongs(c, entity, user))
			continue;
		revoke_one(c, entity, j->run);
		j->verdicts++;
	}
	gateway_core_sweep_links(c);
	if (r == 0 && j->at < j->names.count)
		return false;
	/* Where there are devices, their verdicts are told all the same. */
	if (r == 0 && j->verdicts == 0)
		r = j->erased;
	*result = r == 0 ? j->verdicts : r;
	return true;
}

static int revoke_many(struct core *c, const struct name *user, uint64_t run)
{
	struct revoking *j = calloc(1, sizeof(*j)), **end = &c->revoking;
	int result;

	if (!j)
		return -ENOMEM;
	if (user)
		j->user = *user;
	j->run = run;
	gateway_recorder_command(gateway_core_recorder(c), "revoke", run, FIGURE_NONE, user, NULL);
	end_all_procedures(c, user);
	if (go_on(c, j, &result)) {
		revoking_free(j);
		return result;
	}
	while (*end)
		end = &(*end)->next;
	*end = j;
	gateway_core_wake_by(c, c->ports.now(c->arg) + 1);
	return CORE_COUNTED_LATER;
}

uint64_t gateway_core_tick_revoking(struct core *c, uint64_t now)
{
	struct revoking *j = c->revoking;
	int result;

	if (j && go_on(c, j, &result)) {
		c->revoking = j->next;
		if (c->ports.counted)
			c->ports.counted(c->arg, j->run, result);
		revoking_free(j);
	}
	return c->revoking ? now + 1 : 0;
}

void gateway_core_end_revoking(struct core *c)
{
	while (c->revoking) {
		struct revoking *j = c->revoking;

		c->revoking = j->next;
		revoking_free(j);
	}
}

int gateway_core_revoke_user(struct core *c, const struct name *user, uint64_t run)
{
	return revoke_many(c, user, run);
}

int gateway_core_revoke_all(struct core *c, uint64_t run)
{
	return revoke_many(c, NULL, run);
}

int gateway_core_forget_revocation(struct core *c, const struct name *entity)
{
	struct revocation stored;
	struct vault_batch *b;
	struct reset *x;
	int error;

	x = gateway_reset_take(c, entity, &error);
	if (!x)
		return error;
	if (x->r.epoch == 0 || x->r.forgotten) {
		error = x->r.epoch == 0 ? -ENOENT : 0;
		gateway_reset_settle(c, x);
		return error;
	}
	x->r.forgotten = true;
	b = vault_batch_new();
	if (b)
		records_erase_bluetooth(b, entity);
	gateway_reset_store(c, x, b);
	error = x->failed;
	gateway_reset_unconfirmed(c, x, "the device was declared lost");
	gateway_reset_settle(c, x);
	if (error != 0)
		return error;
	(void)vault_flush(c->vault);
	error = revocation_get(c->vault, entity, &stored);
	if (error < 0)
		return error;
	return error == 0 && stored.forgotten ? 0 : -EIO;
}

struct revocation_walk {
	struct core *core;
	core_revocation_fn *each;
	void *arg;
};

static int walk(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	const struct revocation_walk *w = arg;
	struct revocation r;

	(void)item;
	if (revocation_parse(owner, content, &r) == 0)
		w->each(w->arg, &r);
	return 0;
}

void gateway_core_each_revocation(struct core *c, core_revocation_fn *each, void *arg)
{
	struct revocation_walk w = {c, each, arg};

	(void)vault_each(c->vault, VAULT_REVOCATION, BYTES_NONE, walk, &w, NULL);
}

uint32_t gateway_core_revoked_index(struct core *c, const struct name *entity)
{
	const struct reset *x = gateway_reset_find(c, entity);
	uint32_t index = 0;

	if (x)
		return x->r.key_index;
	(void)revocation_index(c->vault, entity, &index);
	return index;
}

static void revoked_by_server(struct core *c, const struct name *entity)
{
	const struct facts f = {.matter = MATTER_REVOKED};
	struct verdict v = {.entity = *entity};

	(void)gateway_core_judge(c, 0, &f, &v);
}

void gateway_core_revocation_merge(struct core *c, const struct name *entity,
				   const struct m_element_state *server)
{
	struct revocation before, after;
	struct reset *x;
	int error;

	x = gateway_reset_take(c, entity, &error);
	if (!x)
		return;
	after = x->r;
	if (revocation_merge(&after, server) == REVOCATION_RAISED) {
		gateway_reset_settle(c, x);
		end_procedures(c, entity);
		x = gateway_reset_take(c, entity, &error);
		if (!x)
			return;
	}
	before = x->r;
	switch (revocation_merge(&x->r, server)) {
	case REVOCATION_RAISED:
		x->r.told = x->r.reset == server->reset;
		if (x->r.epoch > before.epoch)
			x->r.since = c->ports.wall(c->arg);
		revoke(c, x, x->r.key_index);
		if (x->failed == 0 && x->r.epoch > before.epoch)
			revoked_by_server(c, entity);
		break;
	case REVOCATION_CONFIRMED:
		x->r.told = true;
		gateway_reset_store_confirmed(c, x, "the server knows it");
		break;
	case REVOCATION_SAME:
	case REVOCATION_REFUSED:
		break;
	}
	gateway_reset_settle(c, x);
}
