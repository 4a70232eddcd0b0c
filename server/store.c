#include "server/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void store_account_clear(struct store_account *a)
{
	secret_clear(&a->ph);
}

void store_keys_clear(struct store_key keys[STORE_KEYS_MAX])
{
	for (size_t i = 0; i < STORE_KEYS_MAX; i++)
		secret_clear(&keys[i].key);
}

/* An appended, zeroed change, or NULL once memory is out. */
static struct store_change *append(struct store_batch *b, enum store_change_kind kind)
{
	struct store_change *c = b->error == 0 ? calloc(1, sizeof(*c)) : NULL;

	if (!c) {
		b->error = -ENOMEM;
		return NULL;
	}
	c->kind = kind;
	if (b->first)
		*b->end = c;
	else
		b->first = c;
	b->end = &c->next;
	return c;
}

/* Every name was validated before, so the only failure there is is a caller's defect. */
static void set_name(struct store_batch *b, struct name *out, struct bytes value)
{
	if (name_set(out, value) < 0)
		b->error = -EINVAL;
}

static void set_data(struct store_batch *b, struct store_change *c, struct bytes data)
{
	c->data = malloc(data.size > 0 ? data.size : 1);
	if (!c->data) {
		b->error = -ENOMEM;
		return;
	}
	if (data.size > 0)
		memcpy(c->data, data.data, data.size);
	c->data_size = data.size;
}

void store_batch_clear(struct store_batch *b)
{
	struct store_change *c = b->first;

	while (c) {
		struct store_change *next = c->next;

		secret_unref(c->secret);
		free(c->data);
		free(c);
		c = next;
	}
	*b = (struct store_batch){0};
}

void store_batch_account(struct store_batch *b, const struct store_account *a)
{
	struct store_change *c = append(b, STORE_ADD_ACCOUNT);

	if (!c)
		return;
	c->user = a->user;
	memcpy(c->salt, a->salt, sizeof(c->salt));
	c->iterations = a->iterations;
	c->secret = secret_ref(a->ph);
}

void store_batch_block(struct store_batch *b, struct bytes user, bool blocked)
{
	struct store_change *c = append(b, STORE_BLOCK_ACCOUNT);

	if (!c)
		return;
	set_name(b, &c->user, user);
	c->blocked = blocked;
}

void store_batch_element(struct store_batch *b, const struct store_element *e, uint32_t expected)
{
	struct store_change *c = append(b, STORE_PUT_ELEMENT);

	if (!c)
		return;
	c->entity = e->entity;
	c->mode = e->mode;
	c->owner = e->owner;
	c->index = e->last_index;
	c->expected = expected;
	c->expected_epoch = e->revocation.epoch;
}

void store_batch_eukey(struct store_batch *b, struct bytes user, struct bytes entity,
		       uint32_t index, struct secret *key)
{
	struct store_change *c = append(b, STORE_ADD_EUKEY);

	if (!c)
		return;
	set_name(b, &c->user, user);
	set_name(b, &c->entity, entity);
	c->index = index;
	c->secret = secret_ref(key);
}

void store_batch_held(struct store_batch *b, struct bytes user, struct bytes entity, uint32_t index)
{
	struct store_change *c = append(b, STORE_HELD);

	if (!c)
		return;
	set_name(b, &c->user, user);
	set_name(b, &c->entity, entity);
	c->index = index;
}

void store_batch_release(struct store_batch *b, struct bytes entity)
{
	struct store_change *c = append(b, STORE_RELEASE);

	if (c)
		set_name(b, &c->entity, entity);
}

void store_batch_revoke(struct store_batch *b, const struct store_element *e, uint32_t epoch,
			uint32_t key_index, enum reset_state reset, int64_t now)
{
	struct store_change *c = append(b, STORE_REVOKE);

	if (!c)
		return;
	c->entity = e->entity;
	c->expected = e->last_index;
	c->expected_epoch = e->revocation.epoch;
	c->epoch = epoch;
	c->index = key_index;
	c->reset = reset;
	c->time = now;
}

void store_batch_reset(struct store_batch *b, struct bytes user, struct bytes entity,
		       const struct store_resets *of, const struct store_reset *reset)
{
	struct store_change *c = append(b, STORE_ADD_RESET);

	if (!c)
		return;
	set_name(b, &c->user, user);
	set_name(b, &c->entity, entity);
	c->epoch = of->epoch;
	c->id = of->id;
	c->index = reset->key_index;
	c->secret = secret_new(sizeof(reset->proof) + sizeof(reset->confirmation));
	if (!c->secret) {
		b->error = -ENOMEM;
		return;
	}
	memcpy(secret_buffer(c->secret), reset->proof, sizeof(reset->proof));
	memcpy(secret_buffer(c->secret) + sizeof(reset->proof), reset->confirmation,
	       sizeof(reset->confirmation));
}

void store_batch_resets_told(struct store_batch *b, struct bytes user, struct bytes entity,
			     uint32_t epoch)
{
	struct store_change *c = append(b, STORE_RESETS_TOLD);

	if (!c)
		return;
	set_name(b, &c->user, user);
	set_name(b, &c->entity, entity);
	c->epoch = epoch;
}

void store_batch_reset_done(struct store_batch *b, struct bytes entity, uint32_t epoch)
{
	struct store_change *c = append(b, STORE_RESET_DONE);

	if (!c)
		return;
	set_name(b, &c->entity, entity);
	c->epoch = epoch;
}

void store_batch_vault_state(struct store_batch *b, struct bytes gateway,
			     const struct store_vault_state *state,
			     const struct store_vault_state *before, int64_t now)
{
	struct store_change *c = append(b, STORE_PUT_VAULT_STATE);

	if (!c)
		return;
	set_name(b, &c->entity, gateway);
	c->vault = *state;
	c->known = before != NULL;
	c->expected = before ? before->sequence : 0;
	c->time = now;
}

void store_batch_forget_vault_state(struct store_batch *b, struct bytes gateway,
				    const uint8_t vault_id[16])
{
	struct store_change *c = append(b, STORE_FORGET_VAULT_STATE);

	if (!c)
		return;
	set_name(b, &c->entity, gateway);
	memcpy(c->vault.vault_id, vault_id, sizeof(c->vault.vault_id));
}

void store_batch_handover(struct store_batch *b, struct bytes gateway,
			  const struct store_handover *h, uint32_t expected)
{
	struct store_change *c = append(b, STORE_PUT_HANDOVER);

	if (!c)
		return;
	set_name(b, &c->entity, gateway);
	c->handover = *h;
	c->expected = expected;
}

void store_batch_forget_handover(struct store_batch *b, struct bytes gateway)
{
	struct store_change *c = append(b, STORE_FORGET_HANDOVER);

	if (c)
		set_name(b, &c->entity, gateway);
}

void store_batch_temporary_key(struct store_batch *b, struct bytes entity, struct secret *key,
			       bool passphrase)
{
	struct store_change *c = append(b, STORE_PUT_TEMPORARY_KEY);

	if (!c)
		return;
	set_name(b, &c->entity, entity);
	c->secret = secret_ref(key);
	c->passphrase = passphrase;
}

void store_batch_answer(struct store_batch *b, const struct message_id *id,
			const uint8_t request_sha256[32], int http, struct bytes body, int64_t time)
{
	struct store_change *c = append(b, STORE_PUT_ANSWER);

	if (!c)
		return;
	c->id = *id;
	memcpy(c->request_sha256, request_sha256, sizeof(c->request_sha256));
	c->http = http;
	c->time = time;
	set_data(b, c, body);
}

void store_batch_trim_answers(struct store_batch *b, int64_t before)
{
	struct store_change *c = append(b, STORE_TRIM_ANSWERS);

	if (c)
		c->time = before;
}

void store_batch_subscription(struct store_batch *b, struct bytes user, struct bytes gateway,
			      struct bytes text)
{
	struct store_change *c = append(b, STORE_PUT_SUBSCRIPTION);

	if (!c)
		return;
	set_name(b, &c->user, user);
	set_name(b, &c->entity, gateway);
	set_data(b, c, text);
}

void store_batch_secret(struct store_batch *b, const char *name, struct secret *secret)
{
	struct store_change *c = append(b, STORE_ADD_SECRET);

	if (!c)
		return;
	if (bytes_to_text(bytes_text(name), c->label, sizeof(c->label)) < 0)
		b->error = -EINVAL;
	c->secret = secret_ref(secret);
}

int store_account(struct store *s, struct bytes user, struct store_account *out)
{
	return s->ops->account(s, user, out);
}

int store_element(struct store *s, struct bytes entity, struct store_element *out)
{
	return s->ops->element(s, entity, out);
}

int store_eukey(struct store *s, struct bytes user, struct bytes entity, uint32_t index,
		struct secret **out)
{
	return s->ops->eukey(s, user, entity, index, out);
}

int store_keys(struct store *s, struct bytes user, struct bytes entity,
	       struct store_key out[STORE_KEYS_MAX])
{
	return s->ops->keys(s, user, entity, out);
}

int store_resets(struct store *s, struct bytes user, struct bytes entity, struct store_resets *out)
{
	return s->ops->resets(s, user, entity, out);
}

int store_vault_state(struct store *s, struct bytes gateway, const uint8_t vault_id[16],
		      struct store_vault_state *out)
{
	return s->ops->vault_state(s, gateway, vault_id, out);
}

int store_handover(struct store *s, struct bytes gateway, struct store_handover *out)
{
	return s->ops->handover(s, gateway, out);
}

int store_temporary_key(struct store *s, struct bytes entity, struct store_temporary_key *out)
{
	return s->ops->temporary_key(s, entity, out);
}

int store_answer(struct store *s, const struct message_id *id, struct store_answer *out)
{
	return s->ops->answer(s, id, out);
}

int store_secret(struct store *s, const char *name, struct secret **out)
{
	return s->ops->secret(s, name, out);
}

int store_each_account(struct store *s, store_account_fn *each, void *arg)
{
	return s->ops->each_account(s, each, arg);
}

int store_each_element(struct store *s, store_element_fn *each, void *arg)
{
	return s->ops->each_element(s, each, arg);
}

int store_each_key(struct store *s, store_key_fn *each, void *arg)
{
	return s->ops->each_key(s, each, arg);
}

int store_each_handover(struct store *s, store_handover_fn *each, void *arg)
{
	return s->ops->each_handover(s, each, arg);
}

int store_each_vault(struct store *s, store_vault_fn *each, void *arg)
{
	return s->ops->each_vault(s, each, arg);
}

int store_alive(struct store *s)
{
	return s->ops->alive(s);
}

int store_commit(struct store *s, const struct store_batch *b)
{
	return b->error != 0 ? b->error : s->ops->commit(s, b);
}

void store_close(struct store *s)
{
	if (s)
		s->ops->close(s);
}
