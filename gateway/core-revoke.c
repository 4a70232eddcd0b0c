/* Revocations and the resets that follow them: who is revoked, what is sent, what came of it. */

#include "gateway/core-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESET_SENDINGS 2U /* in one go, before the next time the PNE connects */

/* One that is being written, or whose PNE is being asked. */
struct reset {
	struct reset *next;
	uint64_t id;
	struct revocation r; /* as it is once everything submitted is durable */
	unsigned storing;    /* batches that were not told yet */
	int failed;          /* one of them was not: the errno */
	uint64_t run;
	bool owed; /* run has not had its verdict */
	bool ask;  /* the PNE is to be asked once all is durable */
	unsigned sent, refused;
	uint64_t due; /* the next sending, or the end of waiting; 0: not waiting */
};

static struct reset *find(struct core *c, const struct name *entity)
{
	for (struct reset *x = c->resets; x; x = x->next) {
		if (name_equal(&x->r.entity, entity))
			return x;
	}
	return NULL;
}

/* The one of entity, as in the vault, or of epoch 0. NULL: *error says why. */
static struct reset *take(struct core *c, const struct name *entity, int *error)
{
	struct reset *x = find(c, entity);
	int r;

	*error = 0;
	if (x)
		return x;
	x = calloc(1, sizeof(*x));
	if (!x) {
		*error = -ENOMEM;
		return NULL;
	}
	r = revocation_get(c->vault, entity, &x->r);
	if (r < 0) {
		*error = r;
		free(x);
		return NULL;
	}
	if (r == VAULT_DAMAGED) {
		gateway_core_say(c, LOG_LEVEL_ERROR,
				 "the record of a revocation is damaged: the server has it too");
		x->r = (struct revocation){.entity = *entity};
	}
	x->id = ++c->last_reset;
	x->next = c->resets;
	c->resets = x;
	return x;
}

/* Forgets x unless something is outstanding; the vault has it. */
static void put_back(struct core *c, struct reset *x)
{
	struct reset **at = &c->resets;

	if (x->storing > 0 || x->owed || x->due != 0)
		return;
	while (*at != x)
		at = &(*at)->next;
	*at = x->next;
	free(x);
}

static void verdict_to(struct core *c, uint64_t run, const struct name *entity, enum verdict_id id,
		       const char *detail)
{
	struct verdict v = {.id = id, .entity = *entity};

	(void)snprintf(v.detail, sizeof(v.detail), "%s", detail);
	gateway_core_verdict(c, run, &v);
}

/* Whoever waits has the verdict now. */
static void conclude(struct core *c, struct reset *x, enum verdict_id id, const char *detail)
{
	x->due = 0;
	x->sent = 0;
	if (!x->owed)
		return;
	x->owed = false;
	verdict_to(c, x->run, &x->r.entity, id, detail);
}

static void conclude_unconfirmed(struct core *c, struct reset *x, const char *why)
{
	char seen[160];

	if (revocation_seen(&x->r, seen, sizeof(seen))[0])
		why = seen;
	conclude(c, x, VERDICT_PNE_RESET_UNCONFIRMED, why);
}

/* Takes b over. The state as it is now goes into the same batch. */
static void store(struct core *c, struct reset *x, struct vault_batch *b)
{
	int r = -ENOMEM;

	if (b) {
		revocation_put(b, &x->r);
		r = gateway_core_submit_for(c, b, TOKEN_RESET | x->id, &x->r.entity);
	}
	if (r == 0)
		x->storing++;
	else
		x->failed = r;
}

static bool send_attempt(struct core *c, struct core_link *l, struct reset *x, size_t i)
{
	char text[128];
	char *xml;
	size_t size;
	int r = revocation_request(&x->r, &x->r.attempts[i], &c->options.self, &xml, &size);

	if (r == 0) {
		r = link_send_message(l->engine, bytes_of(xml, size));
		free(xml);
	}
	if (r != 0) {
		(void)snprintf(text, sizeof(text), "reset of a PNE: %s", strerror(-r));
		gateway_core_say(c, LOG_LEVEL_WARNING, text);
	}
	return r == 0 && !l->dying;
}

/* The PNE proved that it holds an EUKey of after: that took the place of what was to be erased. */
static bool superseded(struct core *c, struct reset *x)
{
	struct stored_key key;
	bool newer;

	if (records_current_key(c->vault, &x->r.entity, &key) != 0)
		return false;
	newer = key.index > x->r.key_index;
	secret_unref(key.key);
	return newer;
}

static void fact(struct core *c, struct vault_batch *b, enum ledger_event event,
		 const struct revocation *r)
{
	struct ledger_fact f = {.event = event,
				.entity = name_bytes(&r->entity),
				.key_index = r->key_index,
				.epoch = r->epoch,
				.time = c->ports.wall(c->arg)};

	if (b)
		records_ledger(b, &f);
}

/* x->r is confirmed; now that is to become durable. */
static void store_confirmed(struct core *c, struct reset *x, const char *how)
{
	struct vault_batch *b = vault_batch_new();
	char text[200];

	(void)snprintf(text, sizeof(text), "PNE %s: reset confirmed: %s", x->r.entity.text, how);
	gateway_core_say(c, LOG_LEVEL_INFO, text);
	fact(c, b, LEDGER_RESET, &x->r);
	store(c, x, b);
}

/* Asks the PNE if it is there and can be asked; else whoever waits has to live with that. */
static void ask(struct core *c, struct reset *x)
{
	struct core_link *l = gateway_core_link_of(c, &x->r.entity);

	if (x->r.reset == RESET_UNCONFIRMED && superseded(c, x)) {
		revocation_confirm(&x->r);
		x->r.told = false;
		store_confirmed(c, x, "it holds an EUKey of after the revocation");
		return;
	}
	if (x->r.forgotten) {
		conclude_unconfirmed(c, x, "the device was declared lost");
	} else if (!l) {
		conclude_unconfirmed(c, x, "it is not connected");
	} else if (!revocation_wants_reset(&x->r)) {
		/* The EUKey is the server's, which is asked for the right to reset. */
		if (x->owed && x->due == 0 && c->wan.up && c->wan.mutual)
			x->due = c->ports.now(c->arg) + c->options.procedures.pne_ms;
		else if (!x->owed || x->due == 0)
			conclude_unconfirmed(c, x, "the server has to authorize the reset first");
	} else {
		x->sent++;
		x->refused = 0;
		x->due = c->ports.now(c->arg) + c->options.procedures.pne_ms;
		for (size_t i = 0; i < x->r.attempts_count; i++) {
			if (!send_attempt(c, l, x, i)) {
				conclude_unconfirmed(c, x, "the link to it was lost");
				break;
			}
		}
	}
	gateway_core_wake_by(c, x->due);
}

/* What is durable is carried on with. */
static void go_on(struct core *c, struct reset *x)
{
	bool ask_now = x->ask;

	x->ask = false;
	if (!x->r.told && x->r.epoch > 0)
		gateway_core_state_soon(c);
	if (name_equal(&x->r.entity, &c->options.self)) {
		(void)gateway_core_load_identity(c);
		conclude(c, x, VERDICT_DONE, "the PN GW's own EUKey and its owner are erased");
	} else if (x->r.reset != RESET_UNCONFIRMED) {
		conclude(c, x, VERDICT_DONE, "revoked; the PNE has erased its EUKey");
	} else if (ask_now) {
		ask(c, x);
	}
}

/* The end of every function that took x: what could not be stored is told, and x may go. */
static void settle(struct core *c, struct reset *x)
{
	char text[200];

	if (x->storing == 0 && x->failed != 0) {
		(void)snprintf(text, sizeof(text), "revocation of %s: %s", x->r.entity.text,
			       strerror(-x->failed));
		gateway_core_say(c, LOG_LEVEL_ERROR, text);
		conclude(c, x, gateway_storage_verdict(x->failed), strerror(-x->failed));
	}
	put_back(c, x);
}

void gateway_core_reset_stored(struct core *c, uint64_t id, int result)
{
	struct reset *x = c->resets;

	while (x && x->id != id)
		x = x->next;
	if (!x)
		return;
	x->storing--;
	if (result != 0)
		x->failed = result;
	if (x->storing == 0 && x->failed == 0)
		go_on(c, x);
	settle(c, x);
}

/* What is to be ended and erased before a device counts as revoked. */

static struct procedure *any_procedure(struct core *c, const struct name *entity)
{
	struct procedure *p = c->procedures;

	while (p && !name_equal(&p->entity, entity))
		p = p->next;
	return p;
}

static void end_procedures(struct core *c, const struct name *entity)
{
	struct event e = {.kind = EVENT_CANCEL, .revoked = true};
	struct procedure *p;
	struct actions a;
	bool again;

	while ((p = any_procedure(c, entity)))
		gateway_core_give(c, p, &e);
	do {
		gateway_actions_begin(&a);
		again = gateway_relay_revoke(c->relay, entity, &a);
		gateway_core_perform(c, NULL, &a);
	} while (again);
	/* What they have written is to be erased too, and read before that. */
	if (gateway_core_writing(c, entity))
		(void)vault_flush(c->vault);
}

struct erasing {
	struct core *core;
	struct vault_batch *batch;
	const struct revocation *r;
	bool kept; /* there are higher ones */
};

static int erase_key(void *arg, const struct stored_key *key, enum key_state state)
{
	struct pool_key known = {.index = key->index, .state = state, .user = key->user};
	struct erasing *e = arg;

	if (key->index > e->r->key_index)
		e->kept = true;
	else
		records_drop_eukey(e->batch, &e->r->entity, &known, LEDGER_REASON_REVOKED,
				   FIGURE_NONE, e->core->ports.wall(e->core->arg));
	return 0;
}

/* Everything up to the revoked index, and what is of no use without a key. */
static int erase(struct core *c, struct vault_batch *b, const struct revocation *r)
{
	struct erasing e = {c, b, r, false};
	int result;

	fact(c, b, LEDGER_REVOKED, r);
	result = records_each_key(c->vault, &r->entity, erase_key, &e);
	if (result == 0 && !e.kept)
		records_release(b, &r->entity, name_equal(&r->entity, &c->options.self));
	return result;
}

/* x->r is the revocation as it is to be, but for what the vault adds to it. */
static void revoke(struct core *c, struct reset *x, uint32_t limit)
{
	struct vault_batch *b = vault_batch_new();
	char text[240];
	int r = b ? 0 : -ENOMEM;

	if (r == 0)
		r = revocation_prepare(&x->r, c->vault, limit);
	if (name_equal(&x->r.entity, &c->options.self))
		x->r.reset = RESET_NONE;
	if (x->r.reset != RESET_UNCONFIRMED)
		x->r.attempts_count = 0;
	if (r == 0)
		r = erase(c, b, &x->r);
	if (r != 0) {
		vault_batch_free(b);
		x->failed = r;
		return;
	}
	x->ask = true;
	x->sent = 0;
	(void)snprintf(text, sizeof(text), "%s is revoked%s: epoch %lu, EUKeys up to index %lu",
		       x->r.entity.text, x->r.by_server ? " by the server" : "",
		       (unsigned long)x->r.epoch, (unsigned long)x->r.key_index);
	gateway_core_say(c, LOG_LEVEL_WARNING, text);
	store(c, x, b);
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
	struct relayed relayed;
	static const enum vault_kind kinds[] = {VAULT_EUKEY, VAULT_PNE, VAULT_TEMPORARY_KEY,
						VAULT_DELIVERY};

	if (name_equal(entity, &c->options.self) && c->owner.text[0])
		return true;
	if (records_get_relayed(c->vault, entity, &relayed) == 0 &&
	    relayed.issued > gateway_core_revoked_index(c, entity))
		return true;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (vault_each(c->vault, kinds[i], name_bytes(entity), stop, NULL, NULL) != 0)
			return true;
	}
	return false;
}

/* A run that waits for this device already has to do with what is known now. */
static void owe(struct core *c, struct reset *x, uint64_t run)
{
	if (x->owed)
		conclude_unconfirmed(c, x, "asked for again");
	x->owed = true;
	x->run = run;
}

static void revoke_one(struct core *c, const struct name *entity, uint64_t run)
{
	struct reset *x;
	int error;

	end_procedures(c, entity);
	x = take(c, entity, &error);
	if (!x) {
		verdict_to(c, run, entity, gateway_storage_verdict(error), strerror(-error));
		return;
	}
	if (!is_known(c, entity)) {
		if (x->r.epoch == 0) {
			verdict_to(c, run, entity, VERDICT_PNE_UNKNOWN, "nothing is known of it");
		} else {
			owe(c, x, run);
			x->ask = true;
			if (x->storing == 0)
				go_on(c, x);
		}
		settle(c, x);
		return;
	}
	owe(c, x, run);
	x->r.epoch++;
	x->r.reset = RESET_UNCONFIRMED;
	x->r.told = false;
	x->r.by_server = false;
	x->r.forgotten = false;
	x->r.seen = STATUS_OK;
	x->r.since = c->ports.wall(c->arg);
	revoke(c, x, UINT32_MAX);
	settle(c, x);
}

int gateway_core_revoke(struct core *c, const struct name *entity, uint64_t run)
{
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
	return name_set(&entity, owner) == 0 ? gateway_core_names_add(arg, &entity) : 0;
}

int gateway_core_names_add(struct core_names *n, const struct name *entity)
{
	struct name *grown;
	size_t room = n->room ? n->room * 2 : 64;

	for (size_t i = n->count; i > 0; i--) {
		if (name_equal(&n->list[i - 1], entity))
			return 0;
	}
	if (n->count == n->room) {
		grown = realloc(n->list, room * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		n->list = grown;
		n->room = room;
	}
	n->list[n->count++] = *entity;
	return 0;
}

int gateway_core_known_names(struct core *c, struct core_names *out)
{
	static const enum vault_kind kinds[] = {VAULT_PNE, VAULT_EUKEY, VAULT_REVOCATION};
	int r = gateway_core_names_add(out, &c->options.self);

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && r == 0; i++)
		r = vault_each(c->vault, kinds[i], BYTES_NONE, collect_name, out, NULL);
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
	struct name owner;

	if (!user)
		return is_known(c, entity);
	if (name_equal(entity, &c->options.self) && name_equal(user, &c->owner))
		return true;
	if (records_get_pne_owner(c->vault, entity, &owner) == 0 && name_equal(&owner, user))
		return true;
	owner = *user;
	return records_each_key(c->vault, entity, of_user, &owner) == 1;
}

/* What would check a revoked user's password without the server. */
static void erase_verifiers(struct core *c, const struct name *user)
{
	struct core_names users = {NULL, 0, 0};
	struct vault_batch *b = vault_batch_new();
	char text[96];
	int r = b ? 0 : -ENOMEM;

	if (r == 0)
		r = user ? gateway_core_names_add(&users, user)
			 : vault_each(c->vault, VAULT_VERIFIER, BYTES_NONE, collect_name, &users,
				      NULL);
	for (size_t i = 0; i < users.count && r == 0; i++)
		vault_batch_erase_owner(b, VAULT_VERIFIER, name_bytes(&users.list[i]));
	free(users.list);
	if (r == 0)
		r = gateway_core_submit(c, b, 0);
	else
		vault_batch_free(b);
	if (r == 0)
		return;
	(void)snprintf(text, sizeof(text), "what checks passwords offline stays: %s", strerror(-r));
	gateway_core_say(c, LOG_LEVEL_ERROR, text);
}

static int revoke_many(struct core *c, const struct name *user, uint64_t run)
{
	struct core_names names = {NULL, 0, 0};
	int verdicts = 0;
	int r = gateway_core_known_names(c, &names);

	if (r == 0)
		erase_verifiers(c, user);
	for (size_t i = 0; i < names.count && r == 0; i++) {
		if (!belongs(c, &names.list[i], user))
			continue;
		revoke_one(c, &names.list[i], run);
		verdicts++;
	}
	free(names.list);
	gateway_core_sweep_links(c);
	return r == 0 ? verdicts : r;
}

int gateway_core_revoke_user(struct core *c, const struct name *user, uint64_t run)
{
	return revoke_many(c, user, run);
}

int gateway_core_revoke_all(struct core *c, uint64_t run)
{
	return revoke_many(c, NULL, run);
}

int gateway_core_reset_again(struct core *c, const struct name *entity, uint64_t run)
{
	struct reset *x;
	int error;

	x = take(c, entity, &error);
	if (!x) {
		verdict_to(c, run, entity, gateway_storage_verdict(error), strerror(-error));
		return 1;
	}
	if (x->r.epoch == 0) {
		verdict_to(c, run, entity, VERDICT_PNE_UNKNOWN, "it was never revoked");
		settle(c, x);
		return 1;
	}
	owe(c, x, run);
	x->ask = true;
	x->sent = 0;
	if (x->r.forgotten) {
		x->r.forgotten = false;
		store(c, x, vault_batch_new());
	} else if (x->storing == 0) {
		go_on(c, x);
	}
	settle(c, x);
	gateway_core_sweep_links(c);
	return 1;
}

int gateway_core_forget_revocation(struct core *c, const struct name *entity)
{
	struct reset *x;
	int error;

	x = take(c, entity, &error);
	if (!x)
		return error;
	if (x->r.epoch == 0)
		error = -ENOENT;
	else if (!x->r.forgotten) {
		x->r.forgotten = true;
		store(c, x, vault_batch_new());
		error = x->failed;
		conclude_unconfirmed(c, x, "the device was declared lost");
	}
	settle(c, x);
	return error;
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
	const struct reset *x = find(c, entity);
	uint32_t index = 0;

	if (x)
		return x->r.key_index;
	(void)revocation_index(c->vault, entity, &index);
	return index;
}

/* The PNE. */

void gateway_core_reset_link_up(struct core *c, const struct name *entity)
{
	struct reset *x;
	int error;

	x = take(c, entity, &error);
	if (!x)
		return;
	if (x->storing > 0)
		x->ask = true;
	else if (x->r.epoch > 0 && revocation_wants_reset(&x->r))
		ask(c, x);
	settle(c, x);
}

void gateway_core_reset_superseded(struct core *c, const struct name *entity)
{
	struct reset *x;
	int error;

	x = take(c, entity, &error);
	if (!x)
		return;
	if (x->r.reset == RESET_UNCONFIRMED && x->storing == 0 && superseded(c, x))
		ask(c, x);
	settle(c, x);
}

/* Something else than a confirmation: it is kept, so that one can see it. */
static void refused(struct core *c, struct reset *x, enum status seen, uint32_t seen_index)
{
	char why[160], text[256];

	if (x->r.seen != seen || x->r.seen_index != seen_index) {
		(void)snprintf(text, sizeof(text), "PNE %s: reset not confirmed: %s",
			       x->r.entity.text, revocation_seen(&x->r, why, sizeof(why)));
		gateway_core_say(c, LOG_LEVEL_WARNING, text);
		store(c, x, vault_batch_new());
	}
	x->refused++;
	if (x->refused >= x->r.attempts_count)
		conclude_unconfirmed(c, x, "");
}

static void heard(struct core *c, struct reset *x, enum revocation_change change,
		  const struct revocation *before)
{
	switch (change) {
	case REVOCATION_CONFIRMED:
		store_confirmed(c, x, "it has erased its user and its EUKey");
		break;
	case REVOCATION_REFUSED:
		refused(c, x, before->seen, before->seen_index);
		break;
	case REVOCATION_SAME:
	case REVOCATION_RAISED:
		break;
	}
}

void gateway_core_reset_answered(struct core *c, const struct name *entity, const struct message *m)
{
	struct revocation before;
	struct reset *x;
	int error;

	x = take(c, entity, &error);
	if (!x)
		return;
	before = x->r;
	heard(c, x, revocation_answered(&x->r, m), &before);
	settle(c, x);
}

void gateway_core_reset_receipt(struct core *c, const struct name *entity,
				const struct receipt *receipt)
{
	struct revocation before;
	struct reset *x = find(c, entity);

	if (!x)
		return;
	before = x->r;
	heard(c, x, revocation_receipt(&x->r, receipt), &before);
	settle(c, x);
}

/* The server. */

void gateway_core_revocation_merge(struct core *c, const struct name *entity,
				   const struct m_element_state *server)
{
	struct revocation before, after;
	struct reset *x;
	int error;

	x = take(c, entity, &error);
	if (!x)
		return;
	after = x->r;
	if (revocation_merge(&after, server) == REVOCATION_RAISED) {
		settle(c, x);
		end_procedures(c, entity);
		x = take(c, entity, &error);
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
			verdict_to(c, 0, entity, VERDICT_REVOKED, "by the server");
		break;
	case REVOCATION_CONFIRMED:
		x->r.told = true;
		store_confirmed(c, x, "the server knows it");
		break;
	case REVOCATION_SAME:
	case REVOCATION_REFUSED:
		break;
	}
	settle(c, x);
}

void gateway_core_revocation_told(struct core *c, const struct name *entity,
				  const struct m_element_state *told)
{
	struct reset *x;
	int error;

	x = take(c, entity, &error);
	if (!x)
		return;
	if (!x->r.told && x->r.epoch > 0 && x->r.epoch == told->epoch &&
	    x->r.key_index == told->key_index && x->r.reset == told->reset) {
		x->r.told = true;
		store(c, x, vault_batch_new());
	}
	settle(c, x);
}

void gateway_core_reset_authorized(struct core *c, const struct name *entity,
				   const struct m_reset_authorization *a)
{
	struct reset *x;
	int error;

	x = take(c, entity, &error);
	if (!x)
		return;
	if (revocation_authorize(&x->r, a)) {
		x->ask = true;
		x->sent = 0;
		store(c, x, vault_batch_new());
	}
	settle(c, x);
}

void gateway_core_revocation_state(struct core *c, const struct name *entity,
				   struct m_element_state *out)
{
	struct revocation r = {.epoch = 0};
	const struct reset *x = find(c, entity);

	if (x)
		r = x->r;
	else
		(void)revocation_get(c->vault, entity, &r);
	out->entity_id = name_bytes(entity);
	out->epoch = r.epoch;
	out->key_index = r.key_index;
	out->reset = r.reset;
}

uint64_t gateway_core_tick_resets(struct core *c, uint64_t now)
{
	uint64_t next = 0;
	bool again;

	do {
		again = false;
		next = 0;
		for (struct reset *x = c->resets; x; x = x->next) {
			if (x->due == 0)
				continue;
			if (x->due > now) {
				next = earlier(next, x->due);
				continue;
			}
			if (revocation_wants_reset(&x->r) && x->sent < RESET_SENDINGS)
				ask(c, x);
			else
				conclude_unconfirmed(c, x, "it has not answered in time");
			settle(c, x);
			again = true;
			break;
		}
	} while (again);
	return next;
}

void gateway_core_end_resets(struct core *c)
{
	for (struct reset *x = c->resets; x; x = x->next)
		conclude_unconfirmed(c, x, "the PN GW stops");
}

void gateway_core_free_resets(struct core *c)
{
	while (c->resets) {
		struct reset *x = c->resets;

		c->resets = x->next;
		free(x);
	}
}
