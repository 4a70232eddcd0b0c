#include "gateway/records.h"

#include <errno.h>
#include <string.h>

#include "storage/record.h"

/* Fields of the contents. Stable numbers: they are in the vault. */
enum {
	TAG_USER = 1,
	TAG_KEY = 2,
	TAG_STATE = 3,
	TAG_MESSAGE_ID = 4,
	TAG_PROOF = 5,
	TAG_FIGURE = 6,
	TAG_ENTITY = 7,
};

#define IDENTITY_OWNER "gateway"

static struct bytes index_item(uint32_t index, uint8_t out[4])
{
	out[0] = (uint8_t)(index >> 24);
	out[1] = (uint8_t)(index >> 16);
	out[2] = (uint8_t)(index >> 8);
	out[3] = (uint8_t)index;
	return bytes_of(out, 4);
}

static int item_index(struct bytes item, uint32_t *out)
{
	if (item.size != 4)
		return -EBADMSG;
	*out = (uint32_t)item.data[0] << 24 | (uint32_t)item.data[1] << 16 |
	       (uint32_t)item.data[2] << 8 | item.data[3];
	return 0;
}

static struct bytes number_item(uint64_t number, uint8_t out[8])
{
	for (unsigned i = 0; i < 8; i++)
		out[i] = (uint8_t)(number >> (56 - 8 * i));
	return bytes_of(out, 8);
}

void records_put_eukey(struct vault_batch *b, const struct name *entity, const struct name *user,
		       uint32_t index, const struct secret *key, enum key_state state)
{
	uint8_t item[4];
	struct vault_id id = {VAULT_EUKEY, name_bytes(entity), index_item(index, item)};
	struct record_writer w;

	record_begin(&w);
	record_add(&w, TAG_USER, name_bytes(user));
	record_add_secret(&w, TAG_KEY, key);
	record_add_u32(&w, TAG_STATE, (uint32_t)state);
	vault_batch_put(b, &id, record_bytes(&w));
	record_end(&w);
}

void records_erase_eukey(struct vault_batch *b, const struct name *entity, uint32_t index)
{
	uint8_t item[4];
	struct vault_id id = {VAULT_EUKEY, name_bytes(entity), index_item(index, item)};

	vault_batch_erase(b, &id);
}

void records_put_temporary_key(struct vault_batch *b, const struct name *entity,
			       const struct name *user, const struct secret *key)
{
	struct vault_id id = {VAULT_TEMPORARY_KEY, name_bytes(entity), BYTES_NONE};
	struct record_writer w;

	record_begin(&w);
	record_add(&w, TAG_USER, name_bytes(user));
	record_add_secret(&w, TAG_KEY, key);
	vault_batch_put(b, &id, record_bytes(&w));
	record_end(&w);
}

static void put_user(struct vault_batch *b, const struct vault_id *id, const struct name *user)
{
	struct record_writer w;

	record_begin(&w);
	record_add(&w, TAG_USER, name_bytes(user));
	vault_batch_put(b, id, record_bytes(&w));
	record_end(&w);
}

void records_put_pne_owner(struct vault_batch *b, const struct name *entity,
			   const struct name *user)
{
	struct vault_id id = {VAULT_PNE, name_bytes(entity), BYTES_NONE};

	put_user(b, &id, user);
}

void records_put_identity(struct vault_batch *b, const struct name *owner)
{
	struct vault_id id = {VAULT_IDENTITY, bytes_text(IDENTITY_OWNER), BYTES_NONE};

	put_user(b, &id, owner);
}

void records_put_delivery(struct vault_batch *b, const struct delivery *d)
{
	uint8_t item[4];
	struct vault_id id = {VAULT_DELIVERY, name_bytes(&d->entity),
			      index_item(d->key_index, item)};
	struct record_writer w;

	record_begin(&w);
	record_add(&w, TAG_USER, name_bytes(&d->user));
	record_add(&w, TAG_ENTITY, name_bytes(&d->entity));
	record_add_u32(&w, TAG_STATE, (uint32_t)d->state);
	record_add(&w, TAG_MESSAGE_ID, bytes_of(d->message_id.b, MESSAGE_ID_SIZE));
	if (d->has_proof)
		record_add(&w, TAG_PROOF, bytes_of(d->proof, sizeof(d->proof)));
	vault_batch_put(b, &id, record_bytes(&w));
	record_end(&w);
}

void records_erase_delivery(struct vault_batch *b, const struct name *entity, uint32_t index)
{
	uint8_t item[4];
	struct vault_id id = {VAULT_DELIVERY, name_bytes(entity), index_item(index, item)};

	vault_batch_erase(b, &id);
}

void records_put_procedure(struct vault_batch *b, uint64_t number, enum figure figure,
			   const struct name *user, const struct name *entity)
{
	uint8_t item[8];
	struct vault_id id = {VAULT_PROCEDURE, bytes_text(IDENTITY_OWNER),
			      number_item(number, item)};
	struct record_writer w;

	record_begin(&w);
	record_add_u32(&w, TAG_FIGURE, (uint32_t)figure);
	record_add(&w, TAG_USER, name_bytes(user));
	if (entity->text[0])
		record_add(&w, TAG_ENTITY, name_bytes(entity));
	vault_batch_put(b, &id, record_bytes(&w));
	record_end(&w);
}

void records_erase_procedure(struct vault_batch *b, uint64_t number)
{
	uint8_t item[8];
	struct vault_id id = {VAULT_PROCEDURE, bytes_text(IDENTITY_OWNER),
			      number_item(number, item)};

	vault_batch_erase(b, &id);
}

void records_release(struct vault_batch *b, const struct name *entity, bool self)
{
	struct vault_id identity = {VAULT_IDENTITY, bytes_text(IDENTITY_OWNER), BYTES_NONE};

	vault_batch_erase_owner(b, VAULT_EUKEY, name_bytes(entity));
	vault_batch_erase_owner(b, VAULT_TEMPORARY_KEY, name_bytes(entity));
	vault_batch_erase_owner(b, VAULT_PNE, name_bytes(entity));
	if (self)
		vault_batch_erase(b, &identity);
}

static int get_user(struct vault *v, const struct vault_id *id, struct name *user)
{
	struct vault_content content;
	int r = vault_get(v, id, &content);

	if (r != 0)
		return r;
	r = record_get_name(bytes_of(content.data, content.size), TAG_USER, user);
	vault_content_free(&content);
	return r < 0 && r != -ENOMEM ? VAULT_DAMAGED : r;
}

int records_get_pne_owner(struct vault *v, const struct name *entity, struct name *owner)
{
	struct vault_id id = {VAULT_PNE, name_bytes(entity), BYTES_NONE};

	return get_user(v, &id, owner);
}

int records_get_identity(struct vault *v, struct name *owner)
{
	struct vault_id id = {VAULT_IDENTITY, bytes_text(IDENTITY_OWNER), BYTES_NONE};

	return get_user(v, &id, owner);
}

int records_parse_delivery(struct bytes owner, struct bytes item, struct bytes content,
			   struct delivery *out)
{
	struct delivery d = {0};
	struct bytes id, proof;
	uint32_t state;

	if (name_set(&d.entity, owner) != 0 || item_index(item, &d.key_index) != 0 ||
	    record_get_name(content, TAG_USER, &d.user) != 0 ||
	    record_get_u32(content, TAG_STATE, &state) != 0 || state > DELIVERY_ISSUED ||
	    record_get(content, TAG_MESSAGE_ID, &id) != 0 || id.size != MESSAGE_ID_SIZE)
		return -EBADMSG;
	d.state = (enum delivery_state)state;
	memcpy(d.message_id.b, id.data, MESSAGE_ID_SIZE);
	if (record_get(content, TAG_PROOF, &proof) == 0 && proof.size == sizeof(d.proof)) {
		d.has_proof = true;
		memcpy(d.proof, proof.data, sizeof(d.proof));
	}
	*out = d;
	return 0;
}

int records_get_delivery(struct vault *v, const struct name *entity, uint32_t index,
			 struct delivery *out)
{
	uint8_t item[4];
	struct vault_id id = {VAULT_DELIVERY, name_bytes(entity), index_item(index, item)};
	struct vault_content content;
	int r = vault_get(v, &id, &content);

	if (r != 0)
		return r;
	r = records_parse_delivery(id.owner, id.item, bytes_of(content.data, content.size), out);
	vault_content_free(&content);
	return r == 0 ? 0 : VAULT_DAMAGED;
}

int records_get_temporary_key(struct vault *v, const struct name *entity, struct name *user,
			      struct secret **key)
{
	struct vault_id id = {VAULT_TEMPORARY_KEY, name_bytes(entity), BYTES_NONE};
	struct vault_content content;
	struct name found;
	struct bytes view;
	int r = vault_get(v, &id, &content);

	if (r != 0)
		return r;
	view = bytes_of(content.data, content.size);
	r = record_get_name(view, TAG_USER, &found);
	if (r == 0)
		r = record_get_secret(view, TAG_KEY, key);
	if (r == 0)
		*user = found;
	vault_content_free(&content);
	return r == 0 || r == -ENOMEM ? r : VAULT_DAMAGED;
}

enum search { SEARCH_HIGHEST, SEARCH_DELIVERED, SEARCH_UNSPENT };

struct key_search {
	enum search search;
	uint32_t index;
};

static int search_key(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct key_search *s = arg;
	uint32_t index, state;

	(void)owner;
	if (item_index(item, &index) != 0 || record_get_u32(content, TAG_STATE, &state) != 0)
		return 0;
	switch (s->search) {
	case SEARCH_UNSPENT:
		if (state == KEY_UNSPENT && (s->index == 0 || index < s->index))
			s->index = index;
		break;
	case SEARCH_DELIVERED:
		if (state == KEY_DELIVERED && index > s->index)
			s->index = index;
		break;
	case SEARCH_HIGHEST:
		if (index > s->index)
			s->index = index;
		break;
	}
	return 0;
}

static int find_key(struct vault *v, const struct name *entity, enum search search,
		    struct stored_key *out)
{
	struct key_search s = {search, 0};
	uint8_t item[4];
	struct vault_id id = {VAULT_EUKEY, name_bytes(entity), BYTES_NONE};
	struct vault_content content;
	struct stored_key found = {0};
	struct bytes view;
	int r = vault_each(v, VAULT_EUKEY, name_bytes(entity), search_key, &s, NULL);

	if (r != 0)
		return r;
	if (s.index == 0)
		return VAULT_ABSENT;
	id.item = index_item(s.index, item);
	r = vault_get(v, &id, &content);
	if (r != 0)
		return r;
	view = bytes_of(content.data, content.size);
	found.index = s.index;
	r = record_get_name(view, TAG_USER, &found.user);
	if (r == 0)
		r = record_get_secret(view, TAG_KEY, &found.key);
	vault_content_free(&content);
	if (r != 0)
		return r == -ENOMEM ? r : VAULT_DAMAGED;
	*out = found;
	return 0;
}

struct key_walk {
	records_key_fn *each;
	void *arg;
};

static int walk_key(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	const struct key_walk *w = arg;
	struct stored_key key = {0};
	uint32_t state;
	int r;

	(void)owner;
	if (item_index(item, &key.index) != 0 || record_get_u32(content, TAG_STATE, &state) != 0 ||
	    state > KEY_DELIVERED || record_get_name(content, TAG_USER, &key.user) != 0)
		return 0;
	r = record_get_secret(content, TAG_KEY, &key.key);
	if (r != 0)
		return r == -ENOMEM ? r : 0;
	r = w->each(w->arg, &key, (enum key_state)state);
	secret_unref(key.key);
	return r;
}

int records_each_key(struct vault *v, const struct name *entity, records_key_fn *each, void *arg)
{
	struct key_walk w = {each, arg};

	return vault_each(v, VAULT_EUKEY, name_bytes(entity), walk_key, &w, NULL);
}

int records_highest_key(struct vault *v, const struct name *entity, struct stored_key *out)
{
	return find_key(v, entity, SEARCH_HIGHEST, out);
}

int records_current_key(struct vault *v, const struct name *entity, struct stored_key *out)
{
	return find_key(v, entity, SEARCH_DELIVERED, out);
}

int records_unspent_key(struct vault *v, const struct name *entity, struct stored_key *out)
{
	return find_key(v, entity, SEARCH_UNSPENT, out);
}

static enum figure figure_of(uint32_t number)
{
	switch (number) {
	case 5:
		return FIGURE_5;
	case 6:
		return FIGURE_6;
	case 7:
		return FIGURE_7;
	case 8:
		return FIGURE_8;
	}
	return FIGURE_NONE;
}

int records_parse_procedure(struct bytes item, struct bytes content, uint64_t *id,
			    struct verdict *out)
{
	struct verdict v = {.id = VERDICT_GATEWAY_RESTARTED};
	uint32_t figure;
	uint64_t number = 0;

	if (item.size != 8 || record_get_u32(content, TAG_FIGURE, &figure) != 0 ||
	    record_get_name(content, TAG_USER, &v.user) != 0)
		return -EBADMSG;
	for (unsigned i = 0; i < 8; i++)
		number = number << 8 | item.data[i];
	if (record_get_name(content, TAG_ENTITY, &v.entity) != 0)
		v.entity.text[0] = '\0';
	v.figure = figure_of(figure);
	*id = number;
	*out = v;
	return 0;
}
