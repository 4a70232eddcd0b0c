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
	TAG_SINCE = 8,
	TAG_RAND = 9,
	TAG_SALT = 10,
	TAG_ITERATIONS = 11,
	TAG_MAC = 12,
	TAG_WALL = 13,
	TAG_ISSUED = 14,
	TAG_INSTALLED = 15,
	TAG_ADDRESS = 16,
	TAG_ADDRESS_KIND = 17,
};

#define IDENTITY_OWNER "gateway"
#define BACKUP_ITEM    "backup"

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

static void add_number(struct record_writer *w, uint8_t tag, uint64_t number)
{
	uint8_t bytes[8];

	record_add(w, tag, number_item(number, bytes));
}

static int get_number(struct bytes content, uint8_t tag, uint64_t *out)
{
	struct bytes view;
	uint64_t number = 0;
	int r = record_get(content, tag, &view);

	if (r != 0)
		return r;
	if (view.size != 8)
		return -EBADMSG;
	for (unsigned i = 0; i < 8; i++)
		number = number << 8 | view.data[i];
	*out = number;
	return 0;
}

/* 0, -ENOENT, or -EBADMSG for another size. */
static int get_bytes(struct bytes content, uint8_t tag, uint8_t *out, size_t size)
{
	struct bytes view;
	int r = record_get(content, tag, &view);

	if (r != 0)
		return r;
	if (view.size != size)
		return -EBADMSG;
	memcpy(out, view.data, size);
	return 0;
}

static void put_eukey(struct vault_batch *b, const struct name *entity, const struct stored_key *k,
		      enum key_state state, uint64_t since)
{
	uint8_t item[4];
	struct vault_id id = {VAULT_EUKEY, name_bytes(entity), index_item(k->index, item)};
	struct record_writer w;

	record_begin(&w);
	record_add(&w, TAG_USER, name_bytes(&k->user));
	record_add_secret(&w, TAG_KEY, k->key);
	record_add_u32(&w, TAG_STATE, (uint32_t)state);
	add_number(&w, TAG_SINCE, since);
	if (k->repeatable) {
		record_add(&w, TAG_MESSAGE_ID, bytes_of(k->message_id.b, MESSAGE_ID_SIZE));
		record_add(&w, TAG_RAND, bytes_of(k->rand, sizeof(k->rand)));
	}
	vault_batch_put(b, &id, record_bytes(&w));
	record_end(&w);
}

void records_erase_eukey(struct vault_batch *b, const struct name *entity, uint32_t index)
{
	uint8_t item[4];
	struct vault_id id = {VAULT_EUKEY, name_bytes(entity), index_item(index, item)};

	vault_batch_erase(b, &id);
}

void records_put_eukey(struct vault_batch *b, const struct name *entity, const struct name *user,
		       uint32_t index, struct secret *key, enum key_state state, uint64_t since)
{
	struct stored_key k = {.user = *user, .index = index, .key = key};

	put_eukey(b, entity, &k, state, since);
	if (state == KEY_DELIVERED)
		vault_batch_erase_damaged(b, VAULT_EUKEY, name_bytes(entity));
}

void records_put_issued(struct vault_batch *b, const struct name *entity,
			const struct stored_key *k, uint64_t since)
{
	put_eukey(b, entity, k, KEY_ISSUED, since);
}

void records_put_verifier(struct vault_batch *b, const struct name *user, const struct verifier *v)
{
	struct vault_id id = {VAULT_VERIFIER, name_bytes(user), BYTES_NONE};
	struct record_writer w;

	record_begin(&w);
	record_add(&w, TAG_SALT, bytes_of(v->salt, sizeof(v->salt)));
	record_add_u32(&w, TAG_ITERATIONS, v->iterations);
	record_add(&w, TAG_MAC, bytes_of(v->mac, sizeof(v->mac)));
	vault_batch_put(b, &id, record_bytes(&w));
	record_end(&w);
}

void records_put_clock(struct vault_batch *b, const struct clock_mark *mark)
{
	struct vault_id id = {VAULT_CLOCK, bytes_text(IDENTITY_OWNER), BYTES_NONE};
	struct record_writer w;

	record_begin(&w);
	add_number(&w, TAG_SINCE, mark->service);
	add_number(&w, TAG_WALL, mark->wall);
	vault_batch_put(b, &id, record_bytes(&w));
	record_end(&w);
}

void records_put_backup(struct vault_batch *b, uint64_t wall)
{
	struct vault_id id = {VAULT_CLOCK, bytes_text(IDENTITY_OWNER), bytes_text(BACKUP_ITEM)};
	struct record_writer w;

	record_begin(&w);
	add_number(&w, TAG_WALL, wall);
	vault_batch_put(b, &id, record_bytes(&w));
	record_end(&w);
}

void records_put_relayed(struct vault_batch *b, const struct name *entity, const struct relayed *r)
{
	struct vault_id id = {VAULT_ANSWER, name_bytes(entity), BYTES_NONE};
	struct record_writer w;

	record_begin(&w);
	record_add_u32(&w, TAG_ISSUED, r->issued);
	record_add_u32(&w, TAG_INSTALLED, r->installed);
	if (r->user.text[0])
		record_add(&w, TAG_USER, name_bytes(&r->user));
	vault_batch_put(b, &id, record_bytes(&w));
	record_end(&w);
}

void records_erase_relayed(struct vault_batch *b, const struct name *entity)
{
	vault_batch_erase_owner(b, VAULT_ANSWER, name_bytes(entity));
}

void records_ledger(struct vault_batch *b, const struct ledger_fact *fact)
{
	vault_batch_ledger(b, fact);
}

void records_fact(struct vault_batch *b, enum ledger_event event, enum figure figure,
		  const struct name *entity, const struct name *user, uint32_t index, uint64_t wall)
{
	struct ledger_fact fact = {.event = event,
				   .figure = (uint8_t)figure,
				   .entity = name_bytes(entity),
				   .user = name_bytes(user),
				   .key_index = index,
				   .time = wall};

	records_ledger(b, &fact);
}

void records_drop_eukey(struct vault_batch *b, const struct name *entity,
			const struct pool_key *key, enum ledger_reason reason, enum figure figure,
			uint64_t wall)
{
	struct ledger_fact fact = {.event = LEDGER_ERASED,
				   .reason = reason,
				   .figure = (uint8_t)figure,
				   .entity = name_bytes(entity),
				   .user = name_bytes(&key->user),
				   .key_index = key->index,
				   .time = wall};

	records_erase_eukey(b, entity, key->index);
	records_ledger(b, &fact);
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

void records_put_bluetooth(struct vault_batch *b, const struct name *entity,
			   const struct bluetooth_place *place)
{
	struct vault_id id = {VAULT_BLUETOOTH, name_bytes(entity), BYTES_NONE};
	struct record_writer w;

	record_begin(&w);
	record_add(&w, TAG_ADDRESS, bytes_of(place->address, sizeof(place->address)));
	record_add_u32(&w, TAG_ADDRESS_KIND, place->random ? 1 : 0);
	vault_batch_put(b, &id, record_bytes(&w));
	record_end(&w);
}

void records_erase_bluetooth(struct vault_batch *b, const struct name *entity)
{
	vault_batch_erase_owner(b, VAULT_BLUETOOTH, name_bytes(entity));
}

int records_parse_bluetooth(struct bytes owner, struct bytes content, struct name *entity,
			    struct bluetooth_place *out)
{
	struct bluetooth_place found;
	uint32_t kind;

	if (get_bytes(content, TAG_ADDRESS, found.address, sizeof(found.address)) != 0 ||
	    record_get_u32(content, TAG_ADDRESS_KIND, &kind) != 0 || kind > 1 ||
	    name_set(entity, owner) != 0)
		return -EBADMSG;
	found.random = kind == 1;
	*out = found;
	return 0;
}

int records_get_bluetooth(struct vault *v, const struct name *entity, struct bluetooth_place *out)
{
	struct vault_id id = {VAULT_BLUETOOTH, name_bytes(entity), BYTES_NONE};
	struct vault_content content;
	struct name same;
	int r = vault_get(v, &id, &content);

	if (r != 0)
		return r;
	r = records_parse_bluetooth(id.owner, bytes_of(content.data, content.size), &same, out);
	vault_content_free(&content);
	return r == 0 ? 0 : VAULT_DAMAGED;
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

int records_get_verifier(struct vault *v, const struct name *user, struct verifier *out)
{
	struct vault_id id = {VAULT_VERIFIER, name_bytes(user), BYTES_NONE};
	struct vault_content content;
	struct verifier found;
	struct bytes view;
	int r = vault_get(v, &id, &content);

	if (r != 0)
		return r;
	view = bytes_of(content.data, content.size);
	if (get_bytes(view, TAG_SALT, found.salt, sizeof(found.salt)) != 0 ||
	    record_get_u32(view, TAG_ITERATIONS, &found.iterations) != 0 ||
	    get_bytes(view, TAG_MAC, found.mac, sizeof(found.mac)) != 0)
		r = VAULT_DAMAGED;
	else
		*out = found;
	vault_content_free(&content);
	return r;
}

int records_get_clock(struct vault *v, struct clock_mark *out)
{
	struct vault_id id = {VAULT_CLOCK, bytes_text(IDENTITY_OWNER), BYTES_NONE};
	struct vault_content content;
	struct clock_mark found;
	struct bytes view;
	int r = vault_get(v, &id, &content);

	if (r != 0)
		return r;
	view = bytes_of(content.data, content.size);
	if (get_number(view, TAG_SINCE, &found.service) != 0 ||
	    get_number(view, TAG_WALL, &found.wall) != 0)
		r = VAULT_DAMAGED;
	else
		*out = found;
	vault_content_free(&content);
	return r;
}

int records_get_backup(struct vault *v, uint64_t *wall)
{
	struct vault_id id = {VAULT_CLOCK, bytes_text(IDENTITY_OWNER), bytes_text(BACKUP_ITEM)};
	struct vault_content content;
	int r = vault_get(v, &id, &content);

	if (r != 0)
		return r;
	if (get_number(bytes_of(content.data, content.size), TAG_WALL, wall) != 0)
		r = VAULT_DAMAGED;
	vault_content_free(&content);
	return r;
}

int records_get_relayed(struct vault *v, const struct name *entity, struct relayed *out)
{
	struct vault_id id = {VAULT_ANSWER, name_bytes(entity), BYTES_NONE};
	struct vault_content content;
	struct relayed found = {0};
	struct bytes view;
	int r = vault_get(v, &id, &content);

	if (r == VAULT_ABSENT) {
		*out = found;
		return 0;
	}
	if (r != 0)
		return r;
	view = bytes_of(content.data, content.size);
	if (record_get_u32(view, TAG_ISSUED, &found.issued) != 0 ||
	    record_get_u32(view, TAG_INSTALLED, &found.installed) != 0) {
		r = VAULT_DAMAGED;
	} else {
		/* One of an older program has none. */
		if (record_get_name(view, TAG_USER, &found.user) != 0)
			found.user.text[0] = '\0';
		*out = found;
	}
	vault_content_free(&content);
	return r;
}

int records_parse_eukey(struct bytes item, struct bytes content, struct pool_key *out)
{
	struct pool_key k = {0};
	struct message_id id;
	uint8_t rand[RAND_SIZE];
	uint32_t state;

	if (item_index(item, &k.index) != 0 || record_get_u32(content, TAG_STATE, &state) != 0 ||
	    state > KEY_DELIVERED || record_get_name(content, TAG_USER, &k.user) != 0)
		return -EBADMSG;
	k.state = (enum key_state)state;
	/* One of a vault that is older than the service clock is as old as that. */
	if (get_number(content, TAG_SINCE, &k.since) != 0)
		k.since = 0;
	k.repeatable = k.state == KEY_ISSUED &&
		       get_bytes(content, TAG_MESSAGE_ID, id.b, MESSAGE_ID_SIZE) == 0 &&
		       get_bytes(content, TAG_RAND, rand, sizeof(rand)) == 0;
	*out = k;
	return 0;
}

static int add_to_pool(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct pool_key k;

	(void)owner;
	if (records_parse_eukey(item, content, &k) != 0)
		return 0;
	return pool_add(arg, &k);
}

int records_load_pool(struct vault *v, const struct name *entity, struct pool *out)
{
	int r = vault_each(v, VAULT_EUKEY, name_bytes(entity), add_to_pool, out, &out->damaged);

	if (r != 0)
		pool_clear(out);
	return r;
}

int records_get_eukey(struct vault *v, const struct name *entity, uint32_t index,
		      struct stored_key *out)
{
	uint8_t item[4];
	struct vault_id id = {VAULT_EUKEY, name_bytes(entity), index_item(index, item)};
	struct vault_content content;
	struct stored_key found = {.index = index};
	struct bytes view;
	int r = vault_get(v, &id, &content);

	if (r != 0)
		return r;
	view = bytes_of(content.data, content.size);
	r = record_get_name(view, TAG_USER, &found.user);
	if (r == 0)
		r = record_get_secret(view, TAG_KEY, &found.key);
	if (r == 0)
		found.repeatable =
			get_bytes(view, TAG_MESSAGE_ID, found.message_id.b, MESSAGE_ID_SIZE) == 0 &&
			get_bytes(view, TAG_RAND, found.rand, sizeof(found.rand)) == 0;
	vault_content_free(&content);
	if (r != 0)
		return r == -ENOMEM ? r : VAULT_DAMAGED;
	*out = found;
	return 0;
}

enum search { SEARCH_HIGHEST, SEARCH_DELIVERED };

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
	int r = vault_each(v, VAULT_EUKEY, name_bytes(entity), search_key, &s, NULL);

	if (r != 0)
		return r;
	return s.index == 0 ? VAULT_ABSENT : records_get_eukey(v, entity, s.index, out);
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
