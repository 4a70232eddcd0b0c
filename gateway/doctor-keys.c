/* What the vault tells about PNEs: their pools, revocations, and what the server has not heard. */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/doctor-internal.h"
#include "gateway/names.h"
#include "gateway/revoke.h"

#define DAY           86400U
/* A key expires soon when no more than that is left, or a tenth of its lifetime. */
#define SOON          (7U * DAY)
/* So many records are looked at in one turn of the loop, or so many pools. */
#define RECORDS_PIECE 256
#define POOLS_PIECE   32

/* Names, and as many of them as a sentence holds. */
struct doctor_names {
	size_t count;
	char text[160];
};

static void add(struct doctor_names *n, const char *name)
{
	size_t used = strlen(n->text);

	n->count++;
	if (n->count > 4)
		return;
	if (n->count == 4)
		(void)snprintf(n->text + used, sizeof(n->text) - used, ", ...");
	else
		(void)snprintf(n->text + used, sizeof(n->text) - used, "%s%.40s", used ? ", " : "",
			       name);
}

enum phase { REVOCATIONS, DELIVERIES, NAMES, POOLS, ALL };

struct pools {
	struct doctor_names low, user, expiring;
	size_t count;
};

struct doctor_keys {
	enum phase phase;
	struct vault_cursor at;
	struct doctor_names revoked, reports;
	struct names entities; /* with EUKeys */
	size_t next;           /* of them */
	struct core_options options;
	uint64_t service;
	struct pools pools;
};

static int on_key(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct name name;

	(void)item;
	(void)content;
	return name_set(&name, owner) == 0 ? gateway_names_add(arg, &name) : 0;
}

static uint64_t service_clock(struct vault *v)
{
	struct clock_mark mark = {0, 0};

	if (records_get_clock(v, &mark) != 0)
		return 0;
	return clock_resume(&mark, (uint64_t)time(NULL));
}

static bool expires_soon(const struct pool *p, const struct pool_limits *l, uint64_t service)
{
	uint64_t soon = l->lifetime_s / 10 < SOON ? l->lifetime_s / 10 : SOON;

	for (size_t i = 0; l->lifetime_s > 0 && i < p->count; i++) {
		if (p->keys[i].state == KEY_UNSPENT &&
		    p->keys[i].since + l->lifetime_s <= service + soon)
			return true;
	}
	return false;
}

static void examine_pool(struct pools *out, const struct doctor_subject *s,
			 const struct core_options *options, const struct name *entity,
			 uint64_t service)
{
	struct core_pool_info info;
	struct pool pool = {0};

	if (records_load_pool(s->vault, entity, &pool) != 0)
		return;
	/* One that was never assigned a set has no pool. */
	if (pool.count > 0) {
		out->count++;
		if (pool_left(&pool, &options->pool, service) <= options->pool.low_water)
			add(&out->low, entity->text);
		if (expires_soon(&pool, &options->pool, service))
			add(&out->expiring, entity->text);
		if (s->core && gateway_core_pool_info(s->core, entity, &info) == 0 &&
		    info.refill_needs_user)
			add(&out->user, entity->text);
	}
	pool_clear(&pool);
}

static void judge(struct doctor_findings *f, enum doctor_id id, const struct doctor_names *n,
		  size_t pools, const char *what)
{
	if (n->count > 0)
		doctor_find(f, id, DOCTOR_WARNING, "%zu of %zu pools %s: %s", n->count, pools, what,
			    n->text);
	else if (pools == 0)
		doctor_find(f, id, DOCTOR_OK, "there is no pool");
	else
		doctor_find(f, id, DOCTOR_OK, "none of %zu pools %s", pools, what);
}

static void judge_pools(struct doctor_findings *f, const struct doctor_subject *s,
			const struct pools *p)
{
	judge(f, DOCTOR_POOLS_LOW, &p->low, p->count, "is at its low water mark or below");
	judge(f, DOCTOR_KEYS_EXPIRING, &p->expiring, p->count, "has a key that expires soon");
	if (s->core)
		judge(f, DOCTOR_POOLS_USER, &p->user, p->count, "waits for its user's password");
	else
		doctor_find(f, DOCTOR_POOLS_USER, DOCTOR_NOT_APPLICABLE, "pngwd does not run");
}

static int on_revocation(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct doctor_names *n = arg;
	struct revocation r;

	(void)item;
	if (revocation_parse(owner, content, &r) == 0 && revocation_wants_reset(&r))
		add(n, r.entity.text);
	return 0;
}

static int on_delivery(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct doctor_names *n = arg;
	struct delivery d;

	if (records_parse_delivery(owner, item, content, &d) == 0)
		add(n, d.entity.text);
	return 0;
}

static void judge_revoked(struct doctor_findings *f, const struct doctor_names *n)
{
	if (n->count > 0)
		doctor_find(f, DOCTOR_REVOCATIONS, DOCTOR_WARNING,
			    "%zu revoked PNEs have not confirmed: %s", n->count, n->text);
	else
		doctor_find(f, DOCTOR_REVOCATIONS, DOCTOR_OK, "no reset is outstanding");
}

static void judge_reports(struct doctor_findings *f, const struct doctor_names *n)
{
	if (n->count > 0)
		doctor_find(f, DOCTOR_REPORTS, DOCTOR_WARNING,
			    "%zu reports wait for the server, about %s", n->count, n->text);
	else
		doctor_find(f, DOCTOR_REPORTS, DOCTOR_OK, "no report waits");
}

struct doctor_keys *doctor_keys_new(struct doctor_findings *f, const struct doctor_subject *s)
{
	static const enum doctor_id ids[] = {DOCTOR_REVOCATIONS, DOCTOR_REPORTS, DOCTOR_POOLS_LOW,
					     DOCTOR_POOLS_USER, DOCTOR_KEYS_EXPIRING};
	struct doctor_keys *k = s->vault ? calloc(1, sizeof(*k)) : NULL;

	if (!k) {
		for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
			doctor_find(f, ids[i], DOCTOR_NOT_APPLICABLE,
				    s->vault ? "there is no memory" : "the vault is not open");
		return NULL;
	}
	k->service = service_clock(s->vault);
	gateway_config_core_options(s->config, &k->options);
	return k;
}

void doctor_keys_free(struct doctor_keys *k)
{
	if (k)
		gateway_names_free(&k->entities);
	free(k);
}

/* A piece of the records of a kind: true when that was the last one, also when one failed. */
static bool look(struct doctor_keys *k, struct vault *v, enum vault_kind kind, vault_each_fn *each,
		 void *arg)
{
	if (vault_each_some(v, kind, &k->at, RECORDS_PIECE, each, arg) == 0 && !k->at.ended)
		return false;
	k->at = (struct vault_cursor){.begun = false};
	k->phase++;
	return true;
}

static bool look_at_pools(struct doctor_keys *k, const struct doctor_subject *s)
{
	for (size_t i = 0; i < POOLS_PIECE && k->next < k->entities.count; i++) {
		const struct name *entity = &k->entities.list[k->next++];

		if (!name_equal(entity, &s->config->entity_id))
			examine_pool(&k->pools, s, &k->options, entity, k->service);
	}
	return k->next == k->entities.count;
}

bool doctor_keys_step(struct doctor_keys *k, struct doctor_findings *f,
		      const struct doctor_subject *s)
{
	switch (k->phase) {
	case REVOCATIONS:
		if (look(k, s->vault, VAULT_REVOCATION, on_revocation, &k->revoked))
			judge_revoked(f, &k->revoked);
		break;
	case DELIVERIES:
		if (look(k, s->vault, VAULT_DELIVERY, on_delivery, &k->reports))
			judge_reports(f, &k->reports);
		break;
	case NAMES:
		(void)look(k, s->vault, VAULT_EUKEY, on_key, &k->entities);
		break;
	case POOLS:
		if (look_at_pools(k, s)) {
			judge_pools(f, s, &k->pools);
			k->phase = ALL;
		}
		break;
	case ALL:
		break;
	}
	return k->phase == ALL;
}
