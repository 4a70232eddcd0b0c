/* An older copy of the vault was put back: what is unspent in it may have been spent since. */

#include "gateway/core-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_MS 30000U

struct held_key {
	struct name entity;
	struct pool_key key;
};

struct quarantine {
	struct core *core;
	struct vault_batch *batch;
	uint64_t wall;
	struct held_key *unspent;
	size_t count, room;
};

static int quarantine_unspent(struct quarantine *q, const struct name *entity,
			      const struct pool_key *key)
{
	if (q->count == q->room) {
		size_t room = q->room ? 2 * q->room : 64;
		struct held_key *unspent = realloc(q->unspent, room * sizeof(*unspent));

		if (!unspent)
			return -ENOMEM;
		q->unspent = unspent;
		q->room = room;
	}
	q->unspent[q->count].entity = *entity;
	q->unspent[q->count].key = *key;
	q->count++;
	return 0;
}

/* As one that was issued and is not to be sent again. False: it cannot be read. */
static bool quarantine_issued(struct quarantine *q, const struct name *entity,
			      const struct pool_key *key)
{
	struct stored_key sent = {0};

	if (records_get_eukey(q->core->vault, entity, key->index, &sent) != 0)
		return false;
	sent.repeatable = false;
	records_put_issued(q->batch, entity, &sent, key->since);
	secret_unref(sent.key);
	return true;
}

/* A key that was being sent may be lower than what the PNE took since: it is not sent again. */
static int quarantine_key(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct quarantine *q = arg;
	struct pool_key key;
	struct name entity;

	if (records_parse_eukey(item, content, &key) != 0 || name_set(&entity, owner) != 0)
		return 0;
	if (key.state == KEY_UNSPENT)
		return quarantine_unspent(q, &entity, &key);
	if (key.repeatable)
		(void)quarantine_issued(q, &entity, &key);
	return 0;
}

static int by_entity_and_index(const void *a, const void *b)
{
	const struct held_key *x = a, *y = b;
	int order = strcmp(x->entity.text, y->entity.text);

	return order != 0 ? order : (x->key.index > y->key.index) - (x->key.index < y->key.index);
}

/*
 * Each may have been sent since. The highest of a PNE stays, as if it had been: it is the one that
 * the server most likely still knows, and without it no refill could be asked for without the user.
 */
static void erase_unspent(struct quarantine *q)
{
	if (q->count > 0)
		qsort(q->unspent, q->count, sizeof(*q->unspent), by_entity_and_index);
	for (size_t i = 0; i < q->count; i++) {
		const struct held_key *h = &q->unspent[i];
		bool highest = i + 1 == q->count || !name_equal(&h->entity, &h[1].entity);

		if (!highest || !quarantine_issued(q, &h->entity, &h->key))
			records_drop_eukey(q->batch, &h->entity, &h->key, LEDGER_REASON_ROLLBACK,
					   FIGURE_NONE, q->wall);
	}
	free(q->unspent);
}

static void end_figure7(struct core *c)
{
	struct event e = {.kind = EVENT_CANCEL};
	struct procedure *p = c->procedures;

	while (p) {
		if (p->type->figure == FIGURE_7) {
			gateway_core_give(c, p, &e);
			p = c->procedures;
		} else {
			p = p->next;
		}
	}
}

static int quarantine(struct core *c)
{
	struct ledger_fact fact = {.event = LEDGER_ROLLED_BACK, .known = c->pool.rollback.known};
	struct quarantine q = {.core = c, .wall = c->ports.wall(c->arg)};
	int r;

	end_figure7(c);
	/* What they have written is to be erased too, and seen for that. */
	if (vault_pending(c->vault))
		(void)vault_flush(c->vault);
	q.batch = vault_batch_new();
	if (!q.batch)
		return -ENOMEM;
	fact.time = q.wall;
	records_ledger(q.batch, &fact);
	r = vault_each(c->vault, VAULT_EUKEY, BYTES_NONE, quarantine_key, &q, NULL);
	if (r != 0) {
		free(q.unspent);
		vault_batch_free(q.batch);
		return r;
	}
	erase_unspent(&q);
	return gateway_core_submit_for(c, q.batch, TOKEN_QUARANTINE, NULL);
}

void gateway_core_quarantined(struct core *c, int result)
{
	struct core_rollback *rollback = &c->pool.rollback;
	const struct facts f = {
		.matter = MATTER_ROLLBACK, .sequence = rollback->known, .why = rollback->who};
	struct verdict v = {.id = VERDICT_DONE};
	char text[128];

	rollback->error = result;
	if (result != 0) {
		rollback->due = c->ports.now(c->arg) + AGAIN_MS;
		gateway_core_wake_by(c, rollback->due);
		(void)snprintf(text, sizeof(text),
			       "no EUKey is issued until those of before are erased: %s",
			       strerror(-result));
		gateway_core_say(c, LOG_LEVEL_ERROR, text);
		return;
	}
	(void)gateway_core_judge(c, 0, &f, &v);
	gateway_core_pool_limits(c);
	gateway_core_state_quarantined(c);
}

static void begin(struct core *c)
{
	int r;

	c->pool.rollback.due = 0;
	r = quarantine(c);
	if (r != 0)
		gateway_core_quarantined(c, r);
}

void gateway_core_quarantine(struct core *c, uint32_t known, const char *who)
{
	c->pool.rollback.known = known;
	(void)snprintf(c->pool.rollback.who, sizeof(c->pool.rollback.who), "%s", who);
	begin(c);
}

uint64_t gateway_core_tick_rollback(struct core *c, uint64_t now)
{
	struct core_rollback *rollback = &c->pool.rollback;

	if (rollback->due != 0 && rollback->due <= now)
		begin(c);
	return rollback->due;
}
