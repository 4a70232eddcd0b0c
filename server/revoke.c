#include "server/revoke.h"

#include "protocol/p1.h"

static uint32_t higher(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

struct store_revocation server_revocation(const struct store_element *element, uint32_t epoch,
					  uint32_t key_index, bool confirmed, int64_t now)
{
	struct store_revocation after = element->revocation;

	after.epoch = higher(epoch, after.epoch);
	after.key_index = higher(higher(key_index, after.key_index), element->last_index);
	if (element->owner.text[0])
		after.owner = element->owner;
	after.since = now;
	if (element->mode == ENTITY_PNGW || after.key_index == 0)
		after.reset = RESET_NONE;
	else
		after.reset = confirmed ? RESET_CONFIRMED : RESET_UNCONFIRMED;
	return after;
}

static int authorize(const struct store_element *element, const struct store_key *key,
		     struct store_resets *made)
{
	const struct bytes user = name_bytes(&element->owner);
	const struct bytes entity = name_bytes(&element->entity);
	struct store_reset *out = &made->list[made->count];
	int r;

	out->key_index = key->index;
	r = p1_reset_proof(key->key, user, entity, key->index, &made->id, out->proof);
	if (r == 0)
		r = p1_reset_confirmation(key->key, user, entity, key->index, &made->id,
					  out->confirmation);
	if (r == 0)
		made->count++;
	return r;
}

int server_revoke(struct store_batch *b, const struct store_element *element,
		  const struct store_revocation *after, const struct store_key keys[STORE_KEYS_MAX],
		  struct store_resets *made)
{
	int r = 0;

	*made = (struct store_resets){.epoch = after->epoch};
	store_batch_revoke(b, element, after->epoch, after->key_index, after->reset, after->since);
	if (after->reset == RESET_CONFIRMED)
		store_batch_reset_done(b, name_bytes(&element->entity), after->epoch);
	if (after->reset == RESET_UNCONFIRMED)
		r = p1_random(made->id.b, sizeof(made->id.b));
	for (size_t i = 0; i < STORE_KEYS_MAX && keys[i].index > 0 && r == 0; i++) {
		if (after->reset != RESET_UNCONFIRMED)
			break;
		if (!keys[i].key) {
			made->damaged++;
			continue;
		}
		r = authorize(element, &keys[i], made);
		if (r == 0)
			store_batch_reset(b, name_bytes(&element->owner),
					  name_bytes(&element->entity), made,
					  &made->list[made->count - 1]);
	}
	return r < 0 ? r : b->error;
}
