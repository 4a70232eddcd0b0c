#include "gateway/revoke.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "storage/record.h"

/* Fields of the contents. Stable numbers: they are in the vault. */
enum {
	TAG_EPOCH = 1,
	TAG_KEY_INDEX = 2,
	TAG_RESET = 3,
	TAG_FLAGS = 4,
	TAG_SINCE = 5, /* 8 bytes, big-endian */
	TAG_SEEN = 6,
	TAG_SEEN_INDEX = 7,
	TAG_ATTEMPT = 16, /* and the RESET_ATTEMPTS_MAX - 1 that follow */
};

#define FLAG_TOLD      1U
#define FLAG_BY_SERVER 2U
#define FLAG_FORGOTTEN 4U

/* id, size of the user, user, count, and for each key its index, proof and confirmation. */
#define KEY_BYTES     (4 + 2 * P1_MAC_SIZE)
#define ATTEMPT_BYTES (MESSAGE_ID_SIZE + 1 + NAME_MAX_SIZE + 1 + RESET_KEYS_MAX * KEY_BYTES)

static void put_number(uint8_t *out, uint64_t number, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		out[i] = (uint8_t)(number >> (8 * (bytes - 1 - i)));
}

static uint64_t get_number(const uint8_t *in, unsigned bytes)
{
	uint64_t number = 0;

	for (unsigned i = 0; i < bytes; i++)
		number = number << 8 | in[i];
	return number;
}

static struct bytes attempt_write(const struct reset_attempt *a, uint8_t out[ATTEMPT_BYTES])
{
	struct bytes user = name_bytes(&a->user);
	size_t at = 0;

	memcpy(out, a->id.b, MESSAGE_ID_SIZE);
	at += MESSAGE_ID_SIZE;
	out[at++] = (uint8_t)user.size;
	memcpy(out + at, user.data, user.size);
	at += user.size;
	out[at++] = (uint8_t)a->count;
	for (size_t i = 0; i < a->count; i++) {
		put_number(out + at, a->keys[i].index, 4);
		memcpy(out + at + 4, a->keys[i].proof, P1_MAC_SIZE);
		memcpy(out + at + 4 + P1_MAC_SIZE, a->keys[i].confirmation, P1_MAC_SIZE);
		at += KEY_BYTES;
	}
	return bytes_of(out, at);
}

static int attempt_read(struct bytes b, struct reset_attempt *out)
{
	struct reset_attempt a = {.count = 0};
	size_t at = MESSAGE_ID_SIZE;
	size_t user;

	if (b.size < MESSAGE_ID_SIZE + 2)
		return -EBADMSG;
	memcpy(a.id.b, b.data, MESSAGE_ID_SIZE);
	user = b.data[at++];
	if (b.size < at + user + 1 || name_set(&a.user, bytes_of(b.data + at, user)) != 0)
		return -EBADMSG;
	at += user;
	a.count = b.data[at++];
	if (a.count == 0 || a.count > RESET_KEYS_MAX || b.size != at + a.count * KEY_BYTES)
		return -EBADMSG;
	for (size_t i = 0; i < a.count; i++) {
		a.keys[i].index = (uint32_t)get_number(b.data + at, 4);
		memcpy(a.keys[i].proof, b.data + at + 4, P1_MAC_SIZE);
		memcpy(a.keys[i].confirmation, b.data + at + 4 + P1_MAC_SIZE, P1_MAC_SIZE);
		at += KEY_BYTES;
	}
	*out = a;
	return 0;
}

static struct vault_id id_of(const struct name *entity)
{
	return (struct vault_id){VAULT_REVOCATION, name_bytes(entity), BYTES_NONE};
}

void revocation_put(struct vault_batch *b, const struct revocation *r)
{
	struct vault_id id = id_of(&r->entity);
	struct record_writer w;
	uint8_t since[8];
	uint8_t attempt[ATTEMPT_BYTES];

	put_number(since, r->since, sizeof(since));
	record_begin(&w);
	record_add_u32(&w, TAG_EPOCH, r->epoch);
	record_add_u32(&w, TAG_KEY_INDEX, r->key_index);
	record_add_u32(&w, TAG_RESET, (uint32_t)r->reset);
	record_add_u32(&w, TAG_FLAGS,
		       (r->told ? FLAG_TOLD : 0) | (r->by_server ? FLAG_BY_SERVER : 0) |
			       (r->forgotten ? FLAG_FORGOTTEN : 0));
	record_add(&w, TAG_SINCE, bytes_of(since, sizeof(since)));
	record_add_u32(&w, TAG_SEEN, (uint32_t)r->seen);
	record_add_u32(&w, TAG_SEEN_INDEX, r->seen_index);
	for (size_t i = 0; i < r->attempts_count; i++)
		record_add(&w, (uint8_t)(TAG_ATTEMPT + i), attempt_write(&r->attempts[i], attempt));
	vault_batch_put(b, &id, record_bytes(&w));
	record_end(&w);
}

int revocation_parse(struct bytes owner, struct bytes content, struct revocation *out)
{
	struct revocation r = {.epoch = 0};
	uint32_t reset, flags, seen;
	struct bytes since, attempt;

	if (name_set(&r.entity, owner) != 0 || record_get_u32(content, TAG_EPOCH, &r.epoch) != 0 ||
	    record_get_u32(content, TAG_KEY_INDEX, &r.key_index) != 0 ||
	    record_get_u32(content, TAG_RESET, &reset) != 0 || reset > RESET_CONFIRMED ||
	    record_get_u32(content, TAG_FLAGS, &flags) != 0 ||
	    record_get(content, TAG_SINCE, &since) != 0 || since.size != 8 ||
	    record_get_u32(content, TAG_SEEN, &seen) != 0 || !status_known(seen) ||
	    record_get_u32(content, TAG_SEEN_INDEX, &r.seen_index) != 0)
		return -EBADMSG;
	r.reset = (enum reset_state)reset;
	r.seen = (enum status)seen;
	r.told = flags & FLAG_TOLD;
	r.by_server = flags & FLAG_BY_SERVER;
	r.forgotten = flags & FLAG_FORGOTTEN;
	r.since = get_number(since.data, 8);
	for (size_t i = 0; i < RESET_ATTEMPTS_MAX; i++) {
		if (record_get(content, (uint8_t)(TAG_ATTEMPT + i), &attempt) != 0)
			break;
		if (attempt_read(attempt, &r.attempts[r.attempts_count]) != 0)
			return -EBADMSG;
		r.attempts_count++;
	}
	*out = r;
	return 0;
}

int revocation_get(struct vault *v, const struct name *entity, struct revocation *out)
{
	struct vault_id id = id_of(entity);
	struct vault_content content;
	int r = vault_get(v, &id, &content);

	if (r == VAULT_ABSENT) {
		*out = (struct revocation){.entity = *entity};
		return r;
	}
	if (r != 0)
		return r;
	r = revocation_parse(id.owner, bytes_of(content.data, content.size), out);
	vault_content_free(&content);
	return r == 0 ? 0 : VAULT_DAMAGED;
}

int revocation_index(struct vault *v, const struct name *entity, uint32_t *out)
{
	struct revocation r;
	int result = revocation_get(v, entity, &r);

	if (result < 0)
		return result;
	*out = result == 0 ? r.key_index : 0;
	return 0;
}

/* The EUKeys that the PNE may hold, highest index first, as far as there is room. */
struct sent_keys {
	uint32_t limit;   /* higher ones are passed over */
	uint32_t highest; /* of all, sent or not */
	size_t count;
	struct stored_key keys[RESET_KEYS_MAX];
};

static int collect(void *arg, const struct stored_key *key, enum key_state state)
{
	struct sent_keys *s = arg;
	size_t at = s->count;

	if (key->index > s->limit)
		return 0;
	if (key->index > s->highest)
		s->highest = key->index;
	if (state == KEY_UNSPENT)
		return 0;
	while (at > 0 && s->keys[at - 1].index < key->index)
		at--;
	if (at == RESET_KEYS_MAX)
		return 0;
	if (s->count == RESET_KEYS_MAX)
		secret_unref(s->keys[--s->count].key);
	memmove(&s->keys[at + 1], &s->keys[at], (s->count - at) * sizeof(s->keys[0]));
	s->keys[at] = *key;
	secret_ref(key->key);
	s->count++;
	return 0;
}

/* Keys of Figures 5 and 6 were relayed only: that they were is all that is known of them. */
static int collect_relayed(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct sent_keys *s = arg;
	struct delivery d;

	if (records_parse_delivery(owner, item, content, &d) == 0 && d.key_index <= s->limit &&
	    d.key_index > s->highest)
		s->highest = d.key_index;
	return 0;
}

static int prove(struct reset_attempt *a, const struct name *entity, const struct stored_key *key)
{
	struct reset_key *k = &a->keys[a->count];
	int r;

	k->index = key->index;
	r = p1_reset_proof(key->key, name_bytes(&a->user), name_bytes(entity), key->index, &a->id,
			   k->proof);
	if (r == 0)
		r = p1_reset_confirmation(key->key, name_bytes(&a->user), name_bytes(entity),
					  key->index, &a->id, k->confirmation);
	if (r == 0)
		a->count++;
	return r;
}

/* One attempt with all keys of the user of the first that is not in an attempt yet. */
static int prepare_one(struct revocation *r, struct sent_keys *s, size_t first)
{
	struct reset_attempt a = {.count = 0};
	int result = p1_random(a.id.b, MESSAGE_ID_SIZE);

	a.user = s->keys[first].user;
	for (size_t i = first; i < s->count && result == 0; i++) {
		if (!s->keys[i].key || !name_equal(&s->keys[i].user, &a.user))
			continue;
		result = prove(&a, &r->entity, &s->keys[i]);
		secret_clear(&s->keys[i].key);
	}
	if (result == 0)
		revocation_add_attempt(r, &a);
	return result;
}

int revocation_prepare(struct revocation *r, struct vault *v, uint32_t limit)
{
	struct sent_keys s = {.limit = limit};
	struct relayed relayed = {0};
	unsigned prepared = 0;
	int result = records_each_key(v, &r->entity, collect, &s);

	/* A damaged record of that makes nothing worth more. */
	if (result == 0 && records_get_relayed(v, &r->entity, &relayed) == 0 &&
	    relayed.issued <= limit && relayed.issued > s.highest)
		s.highest = relayed.issued;
	if (result == 0)
		result = vault_each(v, VAULT_DELIVERY, name_bytes(&r->entity), collect_relayed, &s,
				    NULL);
	for (size_t i = 0; i < s.count && result == 0 && prepared < 2; i++) {
		if (!s.keys[i].key)
			continue;
		result = prepare_one(r, &s, i);
		prepared++;
	}
	for (size_t i = 0; i < s.count; i++)
		secret_unref(s.keys[i].key);
	if (result == 0 && s.highest > r->key_index)
		r->key_index = s.highest;
	return result;
}

void revocation_add_attempt(struct revocation *r, const struct reset_attempt *attempt)
{
	for (size_t i = 0; i < r->attempts_count; i++) {
		if (message_id_equal(&r->attempts[i].id, &attempt->id))
			return;
	}
	if (r->attempts_count == RESET_ATTEMPTS_MAX) {
		r->attempts_count--;
		memmove(&r->attempts[0], &r->attempts[1],
			r->attempts_count * sizeof(r->attempts[0]));
	}
	r->attempts[r->attempts_count++] = *attempt;
}

void revocation_confirm(struct revocation *r)
{
	r->reset = RESET_CONFIRMED;
	r->seen = STATUS_OK;
	r->seen_index = 0;
	r->attempts_count = 0;
	memset(r->attempts, 0, sizeof(r->attempts));
}

enum revocation_change revocation_merge(struct revocation *r, const struct m_element_state *server)
{
	bool raised = server->epoch > r->epoch || server->key_index > r->key_index;

	if (server->epoch < r->epoch)
		return REVOCATION_SAME;
	if (server->epoch > r->epoch) {
		r->epoch = server->epoch;
		r->by_server = true;
		r->forgotten = false;
		r->reset = server->reset;
		if (server->reset == RESET_CONFIRMED)
			revocation_confirm(r);
	}
	if (server->key_index > r->key_index)
		r->key_index = server->key_index;
	if (raised)
		return REVOCATION_RAISED;
	if (server->reset == RESET_CONFIRMED && r->reset == RESET_UNCONFIRMED) {
		revocation_confirm(r);
		return REVOCATION_CONFIRMED;
	}
	return REVOCATION_SAME;
}

/* The server's proofs for one request come one by one. */
static bool add_key(struct reset_attempt *a, const struct reset_key *k)
{
	for (size_t i = 0; i < a->count; i++) {
		if (a->keys[i].index == k->index)
			return false;
	}
	if (a->count == RESET_KEYS_MAX)
		return false;
	a->keys[a->count++] = *k;
	return true;
}

bool revocation_authorize(struct revocation *r, const struct m_reset_authorization *a)
{
	struct reset_attempt attempt = {.count = 1};
	struct reset_key k = {.index = a->key_index};

	if (r->reset != RESET_UNCONFIRMED || a->epoch > r->epoch ||
	    name_set(&attempt.user, a->user_id) != 0)
		return false;
	memcpy(attempt.id.b, a->message_id.data, MESSAGE_ID_SIZE);
	memcpy(k.proof, a->proof.data, P1_MAC_SIZE);
	memcpy(k.confirmation, a->confirmation.data, P1_MAC_SIZE);
	for (size_t i = 0; i < r->attempts_count; i++) {
		if (message_id_equal(&r->attempts[i].id, &attempt.id))
			return name_equal(&r->attempts[i].user, &attempt.user) &&
			       add_key(&r->attempts[i], &k);
	}
	attempt.keys[0] = k;
	revocation_add_attempt(r, &attempt);
	return true;
}

bool revocation_wants_reset(const struct revocation *r)
{
	return r->reset == RESET_UNCONFIRMED && !r->forgotten && r->attempts_count > 0;
}

int revocation_request(const struct revocation *r, const struct reset_attempt *attempt,
		       const struct name *self, char **xml, size_t *size)
{
	struct message m = {.kind = MESSAGE_pne_reset_request};
	struct m_pne_reset_request *q = &m.pne_reset_request;

	message_envelope(&m, &attempt->id, NULL, self, &r->entity);
	q->user_id = name_bytes(&attempt->user);
	q->entity_id = name_bytes(&r->entity);
	q->proofs_count = attempt->count;
	for (size_t i = 0; i < attempt->count; i++) {
		q->proofs[i].key_index = attempt->keys[i].index;
		q->proofs[i].proof = bytes_of(attempt->keys[i].proof, P1_MAC_SIZE);
	}
	return message_encode(&m, xml, size);
}

static const struct reset_attempt *attempt_of(const struct revocation *r,
					      const struct message_id *id)
{
	for (size_t i = 0; i < r->attempts_count; i++) {
		if (message_id_equal(&r->attempts[i].id, id))
			return &r->attempts[i];
	}
	return NULL;
}

static bool confirms(const struct reset_attempt *a, const struct m_pne_reset_response *q)
{
	for (size_t i = 0; i < a->count; i++) {
		if (a->keys[i].index == q->key_index &&
		    constant_time_equal(q->confirmation,
					bytes_of(a->keys[i].confirmation, P1_MAC_SIZE)))
			return true;
	}
	return false;
}

enum revocation_change revocation_answered(struct revocation *r, const struct message *m)
{
	const struct m_pne_reset_response *q = &m->pne_reset_response;
	struct message_id to = message_in_response_to(m);
	const struct reset_attempt *a = attempt_of(r, &to);

	if (r->reset != RESET_UNCONFIRMED || !a ||
	    !bytes_equal(m->envelope.source, name_bytes(&r->entity)))
		return REVOCATION_SAME;
	if (q->status == STATUS_OK && confirms(a, q)) {
		revocation_confirm(r);
		r->told = false;
		return REVOCATION_CONFIRMED;
	}
	/* "Done" without the right proof says nothing: anybody on an insecure PAN can send it. */
	r->seen = q->status == STATUS_OK ? STATUS_DOES_NOT_UNWRAP : q->status;
	r->seen_index = q->key_index;
	return REVOCATION_REFUSED;
}

enum revocation_change revocation_receipt(struct revocation *r, const struct receipt *receipt)
{
	if (r->reset != RESET_UNCONFIRMED || receipt->status == STATUS_OK ||
	    !attempt_of(r, &receipt->id))
		return REVOCATION_SAME;
	r->seen = receipt->status;
	r->seen_index = 0;
	return REVOCATION_REFUSED;
}

const char *revocation_seen(const struct revocation *r, char *out, size_t out_size)
{
	const char *text = status_meaning(r->seen);

	if (r->seen == STATUS_OK)
		text = "";
	else if (r->seen == STATUS_NOT_EXPECTED)
		text = "the PNE holds no EUKey: it was reset by hand, or never got one";
	else if (r->seen == STATUS_TRIGGER_REJECTED)
		text = "the PNE holds another EUKey than those that the reset is proven with";
	else if (r->seen == STATUS_UNSUPPORTED)
		text = "the PNE's software knows no reset";
	else if (r->seen == STATUS_DOES_NOT_UNWRAP)
		text = "the PNE's confirmation has a wrong proof";
	if (text[0] && r->seen_index > 0)
		(void)snprintf(out, out_size, "%s; its index is %lu", text,
			       (unsigned long)r->seen_index);
	else
		(void)snprintf(out, out_size, "%s", text);
	return out;
}
