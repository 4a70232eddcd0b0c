/* Resets: what is sent to a revoked PNE, what it answers, and what is known of it. */

#include "gateway/core-reset.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESET_SENDINGS 2U /* in one go, before the next time the PNE connects */

struct reset *gateway_reset_find(struct core *c, const struct name *entity)
{
	for (struct reset *x = c->resets; x; x = x->next) {
		if (name_equal(&x->r.entity, entity))
			return x;
	}
	return NULL;
}

/* The one of entity, as in the vault, or of epoch 0. NULL: *error says why. */
struct reset *gateway_reset_take(struct core *c, const struct name *entity, int *error)
{
	struct reset *x = gateway_reset_find(c, entity);
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

void gateway_reset_absent(struct core *c, uint64_t run, const struct name *entity, int error,
			  bool known)
{
	const struct facts f = {.matter = MATTER_REVOCATION, .error = error, .known = known};
	struct verdict v = {.entity = *entity};

	(void)gateway_core_judge(c, run, &f, &v);
}

/* Whoever waits has the verdict now. */
static void conclude(struct core *c, struct reset *x, const struct facts *f)
{
	struct verdict v = {.entity = x->r.entity};

	x->due = 0;
	x->sent = 0;
	if (!x->owed)
		return;
	x->owed = false;
	(void)gateway_core_judge(c, x->run, f, &v);
}

static struct facts facts_of(const struct core *c, const struct reset *x, const char *why)
{
	return (struct facts){.matter = MATTER_RESET,
			      .self = name_equal(&x->r.entity, &c->options.self),
			      .reset = x->r.reset,
			      .seen = x->r.seen,
			      .seen_index = x->r.seen_index,
			      .why = why};
}

void gateway_reset_unconfirmed(struct core *c, struct reset *x, const char *why)
{
	struct facts f = facts_of(c, x, why);

	/* What is known now may be better than what is on record. */
	f.self = false;
	f.reset = RESET_UNCONFIRMED;
	conclude(c, x, &f);
}

/* Takes b over. The state as it is now goes into the same batch. */
void gateway_reset_store(struct core *c, struct reset *x, struct vault_batch *b)
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

void gateway_reset_fact(struct core *c, struct vault_batch *b, enum ledger_event event,
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
void gateway_reset_store_confirmed(struct core *c, struct reset *x, const char *how)
{
	struct vault_batch *b = vault_batch_new();
	char text[200];

	(void)snprintf(text, sizeof(text), "PNE %s: reset confirmed: %s", x->r.entity.text, how);
	gateway_core_say(c, LOG_LEVEL_INFO, text);
	gateway_reset_fact(c, b, LEDGER_RESET, &x->r);
	gateway_reset_store(c, x, b);
}

/* Asks the PNE if it is there and can be asked; else whoever waits has to live with that. */
static void ask(struct core *c, struct reset *x)
{
	struct core_link *l = gateway_core_link_of(c, &x->r.entity);

	if (x->r.reset == RESET_UNCONFIRMED && superseded(c, x)) {
		revocation_confirm(&x->r);
		x->r.told = false;
		gateway_reset_store_confirmed(c, x, "it holds an EUKey of after the revocation");
		return;
	}
	if (x->r.forgotten) {
		gateway_reset_unconfirmed(c, x, "the device was declared lost");
	} else if (!l) {
		gateway_reset_unconfirmed(c, x, "it is not connected");
	} else if (!revocation_wants_reset(&x->r)) {
		/* The EUKey is the server's, which is asked for the right to reset. */
		if (x->owed && x->due == 0 && c->wan.up && c->wan.mutual)
			x->due = c->ports.now(c->arg) + c->options.procedures.pne_ms;
		else if (!x->owed || x->due == 0)
			gateway_reset_unconfirmed(c, x,
						  "the server has to authorize the reset first");
	} else {
		x->sent++;
		x->refused = 0;
		x->due = c->ports.now(c->arg) + c->options.procedures.pne_ms;
		for (size_t i = 0; i < x->r.attempts_count; i++) {
			if (!send_attempt(c, l, x, i)) {
				gateway_reset_unconfirmed(c, x, "the link to it was lost");
				break;
			}
		}
	}
	gateway_core_wake_by(c, x->due);
}

/* What is durable is carried on with. */
void gateway_reset_go_on(struct core *c, struct reset *x)
{
	const struct facts f = facts_of(c, x, NULL);
	bool ask_now = x->ask;
	char text[240];

	if (x->news) {
		(void)snprintf(text, sizeof(text),
			       "%s is revoked%s: epoch %lu, EUKeys up to index %lu",
			       x->r.entity.text, x->r.by_server ? " by the server" : "",
			       (unsigned long)x->r.epoch, (unsigned long)x->r.key_index);
		gateway_core_say(c, LOG_LEVEL_WARNING, text);
	}
	x->news = false;
	x->ask = false;
	if (!x->r.told && x->r.epoch > 0)
		gateway_core_state_soon(c);
	if (name_equal(&x->r.entity, &c->options.self)) {
		(void)gateway_core_load_identity(c);
		conclude(c, x, &f);
	} else if (x->r.reset != RESET_UNCONFIRMED) {
		conclude(c, x, &f);
	} else if (ask_now) {
		ask(c, x);
	}
}

/* The end of every function that took x: what could not be stored is told, and x may go. */
void gateway_reset_settle(struct core *c, struct reset *x)
{
	const struct facts f = {.matter = MATTER_REVOCATION, .error = x->failed};
	char text[200];

	if (x->storing == 0 && x->failed != 0) {
		(void)snprintf(text, sizeof(text), "revocation of %s: %s", x->r.entity.text,
			       strerror(-x->failed));
		gateway_core_say(c, LOG_LEVEL_ERROR, text);
		conclude(c, x, &f);
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
		gateway_reset_go_on(c, x);
	gateway_reset_settle(c, x);
}

/* A run that waits for this device already has to do with what is known now. */
void gateway_reset_owe(struct core *c, struct reset *x, uint64_t run)
{
	if (x->owed)
		gateway_reset_unconfirmed(c, x, "asked for again");
	x->owed = true;
	x->run = run;
}

int gateway_core_reset_again(struct core *c, const struct name *entity, uint64_t run)
{
	struct core_start s = {.entities = entity, .count = 1, .run = run};
	struct revocation r;

	gateway_recorder_command(gateway_core_recorder(c), "reset", run, FIGURE_NONE, NULL, entity);
	if (revocation_get(c->vault, entity, &r) == 0 && r.epoch > 0 &&
	    gateway_core_reach_first(c, REACH_FOR_RESET, &s))
		return 1;
	return gateway_core_reset_now(c, entity, run);
}

int gateway_core_reset_now(struct core *c, const struct name *entity, uint64_t run)
{
	struct reset *x;
	int error;

	x = gateway_reset_take(c, entity, &error);
	if (!x) {
		gateway_reset_absent(c, run, entity, error, false);
		return 1;
	}
	if (x->r.epoch == 0) {
		gateway_reset_absent(c, run, entity, 0, true);
		gateway_reset_settle(c, x);
		return 1;
	}
	gateway_reset_owe(c, x, run);
	x->ask = true;
	x->sent = 0;
	if (x->r.forgotten) {
		x->r.forgotten = false;
		gateway_reset_store(c, x, vault_batch_new());
	} else if (x->storing == 0) {
		gateway_reset_go_on(c, x);
	}
	gateway_reset_settle(c, x);
	gateway_core_sweep_links(c);
	return 1;
}

/* The PNE. */

void gateway_core_reset_link_up(struct core *c, const struct name *entity)
{
	struct reset *x;
	int error;

	x = gateway_reset_take(c, entity, &error);
	if (!x)
		return;
	if (x->storing > 0)
		x->ask = true;
	else if (x->r.epoch > 0 && revocation_wants_reset(&x->r))
		ask(c, x);
	gateway_reset_settle(c, x);
}

void gateway_core_reset_superseded(struct core *c, const struct name *entity)
{
	struct reset *x;
	int error;

	x = gateway_reset_take(c, entity, &error);
	if (!x)
		return;
	if (x->r.reset == RESET_UNCONFIRMED && x->storing == 0 && superseded(c, x))
		ask(c, x);
	gateway_reset_settle(c, x);
}

/* Something else than a confirmation: it is kept, so that one can see it. */
static void refused(struct core *c, struct reset *x, enum status seen, uint32_t seen_index)
{
	char why[160], text[256];

	/* Nobody asked: a peer that goes on and on is not to fill the vault and the log. */
	if (x->due == 0) {
		x->r.seen = seen;
		x->r.seen_index = seen_index;
		return;
	}
	if (x->r.seen != seen || x->r.seen_index != seen_index) {
		(void)snprintf(text, sizeof(text), "PNE %s: reset not confirmed: %s",
			       x->r.entity.text, revocation_seen(&x->r, why, sizeof(why)));
		gateway_core_say(c, LOG_LEVEL_WARNING, text);
		gateway_reset_store(c, x, vault_batch_new());
	}
	x->refused++;
	if (x->refused >= x->r.attempts_count)
		gateway_reset_unconfirmed(c, x, "");
}

static void heard(struct core *c, struct reset *x, enum revocation_change change,
		  const struct revocation *before)
{
	switch (change) {
	case REVOCATION_CONFIRMED:
		gateway_reset_store_confirmed(c, x, "it has erased its user and its EUKey");
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

	x = gateway_reset_take(c, entity, &error);
	if (!x)
		return;
	before = x->r;
	heard(c, x, revocation_answered(&x->r, m), &before);
	gateway_reset_settle(c, x);
}

void gateway_core_reset_receipt(struct core *c, const struct name *entity,
				const struct receipt *receipt)
{
	struct revocation before;
	struct reset *x = gateway_reset_find(c, entity);

	if (!x)
		return;
	before = x->r;
	heard(c, x, revocation_receipt(&x->r, receipt), &before);
	gateway_reset_settle(c, x);
}

void gateway_core_revocation_told(struct core *c, const struct name *entity,
				  const struct m_element_state *told)
{
	struct reset *x;
	int error;

	x = gateway_reset_take(c, entity, &error);
	if (!x)
		return;
	if (!x->r.told && x->r.epoch > 0 && x->r.epoch == told->epoch &&
	    x->r.key_index == told->key_index && x->r.reset == told->reset) {
		x->r.told = true;
		gateway_reset_store(c, x, vault_batch_new());
	}
	gateway_reset_settle(c, x);
}

void gateway_core_reset_authorized(struct core *c, const struct name *entity,
				   const struct m_reset_authorization *a)
{
	struct reset *x;
	int error;

	x = gateway_reset_take(c, entity, &error);
	if (!x)
		return;
	if (revocation_authorize(&x->r, a)) {
		x->ask = true;
		x->sent = 0;
		gateway_reset_store(c, x, vault_batch_new());
	}
	gateway_reset_settle(c, x);
}

void gateway_core_revocation_state(struct core *c, const struct name *entity,
				   struct m_element_state *out)
{
	struct revocation r = {.epoch = 0};
	const struct reset *x = gateway_reset_find(c, entity);

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
				gateway_reset_unconfirmed(c, x, "it has not answered in time");
			gateway_reset_settle(c, x);
			again = true;
			break;
		}
	} while (again);
	return next;
}

void gateway_core_end_resets(struct core *c)
{
	for (struct reset *x = c->resets; x; x = x->next)
		gateway_reset_unconfirmed(c, x, "the PN GW stops");
}

void gateway_core_free_resets(struct core *c)
{
	while (c->resets) {
		struct reset *x = c->resets;

		c->resets = x->next;
		free(x);
	}
}
