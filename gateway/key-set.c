#include "gateway/key-set.h"

static uint32_t lowest_index(const struct m_key_set *set)
{
	uint32_t lowest = set->keys[0].key_index;

	if (set->kind == KEY_SET_CHAIN)
		return lowest - set->count + 1;
	for (size_t i = 1; i < set->keys_count; i++) {
		if (set->keys[i].key_index < lowest)
			lowest = set->keys[i].key_index;
	}
	return lowest;
}

/* Each key is in the ledger once. */
static bool repeats(const struct m_key_set *set)
{
	for (size_t i = 1; i < set->keys_count; i++) {
		for (size_t j = 0; j < i; j++) {
			if (set->keys[i].key_index == set->keys[j].key_index)
				return true;
		}
	}
	return false;
}

static bool asked_for(const struct procedure *p, const struct m_key_set *set)
{
	if (set->kind != p->set_kind || set->count == 0 || set->count > p->set_count ||
	    set->gateway_key.kind != p->gateway_kind ||
	    set->gateway_key.key_index != p->gateway_index)
		return false;
	if (set->kind == KEY_SET_CHAIN)
		return set->keys_count == 1 && set->keys[0].key_index >= set->count;
	return set->keys_count == set->count && !repeats(set);
}

const char *gateway_key_set_defect(const struct procedure *p, const struct m_key_set *set,
				   const struct pool *pool)
{
	uint32_t used = pool->count > 0 ? pool->keys[pool->count - 1].index : 0;

	if (!asked_for(p, set))
		return "not the key set that was asked for";
	if (pool->floor > used)
		used = pool->floor;
	return lowest_index(set) > used ? NULL : "key indexes that were used before";
}

static int unwrap_one(const struct procedure *p, const struct m_key_set *set,
		      const struct m_set_key *k, struct secret **out)
{
	struct p1_context c;

	p1_key_context(&c, P1_SET, name_bytes(&p->user), name_bytes(&p->entity), k->key_index);
	return profile_unwrap(p->profile, p->gateway_secret, set->rand_server, &c, k->wrapped, out);
}

/* One more key of the set, of rising or falling index; the lowest one is the next to be issued. */
static void keep(struct procedure *p, const struct event *e, struct vault_batch *b, uint32_t index,
		 struct secret *key)
{
	records_put_eukey(b, &p->entity, &p->user, index, key, KEY_UNSPENT, e->s->service);
	records_fact(b, LEDGER_ISSUED, FIGURE_7, &p->entity, &p->user, index, e->s->wall);
	if (p->key_index == 0 || index < p->key_index) {
		secret_clear(&p->key);
		p->key = secret_ref(key);
		p->key_index = index;
	}
}

static int take_random(struct procedure *p, const struct event *e, const struct m_key_set *set,
		       struct vault_batch *b)
{
	for (size_t i = 0; i < set->keys_count; i++) {
		struct secret *key;
		int r = unwrap_one(p, set, &set->keys[i], &key);

		if (r != 0)
			return r;
		keep(p, e, b, set->keys[i].key_index, key);
		secret_unref(key);
	}
	return 0;
}

static int take_chain(struct procedure *p, const struct event *e, const struct m_key_set *set,
		      struct vault_batch *b)
{
	struct secret *key;
	uint32_t index = set->keys[0].key_index;
	int r = unwrap_one(p, set, &set->keys[0], &key);

	if (r != 0)
		return r;
	for (uint32_t left = set->count; left > 0; left--, index--) {
		struct secret *below;

		keep(p, e, b, index, key);
		if (left == 1)
			break;
		r = profile_chain_below(p->profile, key, &below);
		if (r != 0) {
			secret_unref(key);
			return r;
		}
		secret_unref(key);
		key = below;
	}
	secret_unref(key);
	return 0;
}

int gateway_key_set_take(struct procedure *p, const struct event *e, const struct m_key_set *set,
			 struct vault_batch *b)
{
	int r;

	secret_clear(&p->temporary_key);
	r = profile_unwrap_temporary_key(p->profile, p->gateway_secret, set->rand_server,
					 name_bytes(&p->user), name_bytes(&p->entity),
					 set->wrapped_temporary_key, &p->temporary_key);
	if (r == 0)
		r = set->kind == KEY_SET_CHAIN ? take_chain(p, e, set, b)
					       : take_random(p, e, set, b);
	if (r != 0)
		return r;
	records_put_temporary_key(b, &p->entity, &p->user, p->temporary_key);
	records_put_pne_owner(b, &p->entity, &p->user);
	return 0;
}

int gateway_verifier_mac(const struct profile *x, const struct secret *ph, const struct name *user,
			 uint8_t mac[P1_MAC_SIZE])
{
	struct p1_context label, over;

	p1_context_begin(&label, "pngw offline password");
	p1_context_begin(&over, NULL);
	p1_context_add(&over, name_bytes(user));
	return profile_verifier(x, ph, &label, &over, mac);
}
