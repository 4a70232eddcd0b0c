#include <errno.h>
#include <string.h>

#include "storage/ledger.h"

#define LEDGER_VERSION 1

/* The header: magic, version, size of an entry, vault id, public key, signature. */
enum {
	HEADER_VERSION = 8,
	HEADER_ENTRY_SIZE = 12,
	HEADER_VAULT_ID = 16,
	HEADER_PUBLIC_KEY = 32,
	HEADER_SIGNATURE = 64,
};

/* An entry's fields by their place. */
enum {
	ENTRY_SEQUENCE = 0,
	ENTRY_TIME = 4,
	ENTRY_EVENT = 12,
	ENTRY_REASON = 13,
	ENTRY_FIGURE = 14,
	ENTRY_RESERVED = 15,
	ENTRY_KEY_INDEX = 16,
	ENTRY_EPOCH = 20,
	ENTRY_ENTITY = 24,
	ENTRY_USER = 40,
	ENTRY_PREVIOUS = 56,
	ENTRY_SIGNATURE = 88,
};

_Static_assert(HEADER_SIGNATURE + P1_SIGNATURE_SIZE == LEDGER_HEADER_SIZE, "header");
_Static_assert(ENTRY_SIGNATURE + P1_SIGNATURE_SIZE == LEDGER_ENTRY_SIZE, "entry");

static const uint8_t magic[HEADER_VERSION] = {'p', 'n', 'g', 'w', 'l', 'd', 'g', 'r'};

static const char *const events[LEDGER_EVENT_MAX + 1] = {
	[LEDGER_CREATED] = "created",
	[LEDGER_ISSUED] = "issued",
	[LEDGER_SPENT] = "spent",
	[LEDGER_INSTALLED] = "installed",
	[LEDGER_RENEWED] = "renewed",
	[LEDGER_REVOKED] = "revoked",
	[LEDGER_ERASED] = "erased",
	[LEDGER_RESET] = "reset",
	[LEDGER_ROLLED_BACK] = "rolled-back",
};

static const char *const reasons[LEDGER_REASON_MAX + 1] = {
	[LEDGER_REASON_NONE] = "none",         [LEDGER_REASON_REPLACED] = "replaced",
	[LEDGER_REASON_EXPIRED] = "expired",   [LEDGER_REASON_REVOKED] = "revoked",
	[LEDGER_REASON_ROLLBACK] = "rollback", [LEDGER_REASON_SUPERSEDED] = "superseded",
	[LEDGER_REASON_REFUSED] = "refused",   [LEDGER_REASON_OLDER] = "older-keys",
};

const char *ledger_event_text(unsigned event)
{
	return event <= LEDGER_EVENT_MAX && events[event] ? events[event] : "unknown";
}

const char *ledger_reason_text(unsigned reason)
{
	return reason <= LEDGER_REASON_MAX ? reasons[reason] : "unknown";
}

static void put_u32(uint8_t *out, uint32_t value)
{
	for (size_t i = 0; i < 4; i++)
		out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void put_u64(uint8_t *out, uint64_t value)
{
	put_u32(out, (uint32_t)(value >> 32));
	put_u32(out + 4, (uint32_t)value);
}

static uint32_t get_u32(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void header_context(const uint8_t *header, struct p1_context *c)
{
	p1_context_begin(c, "pngw ledger header");
	p1_context_add(c, bytes_of(header, HEADER_SIGNATURE));
}

static void entry_context(const uint8_t *vault_id, const uint8_t *entry, struct p1_context *c)
{
	p1_context_begin(c, "pngw ledger");
	p1_context_add(c, bytes_of(vault_id, LEDGER_VAULT_ID_SIZE));
	p1_context_add(c, bytes_of(entry, ENTRY_SIGNATURE));
}

static int sign(const struct ledger_signer *s, const struct p1_context *c, uint8_t *signature)
{
	return p1_ed25519_sign(s->signing_key, s->public_key, bytes_of(c->data, c->size),
			       signature);
}

int ledger_header_make(const struct ledger_signer *s, uint8_t out[LEDGER_HEADER_SIZE])
{
	struct p1_context c;

	memset(out, 0, LEDGER_HEADER_SIZE);
	memcpy(out, magic, sizeof(magic));
	put_u32(out + HEADER_VERSION, LEDGER_VERSION);
	put_u32(out + HEADER_ENTRY_SIZE, LEDGER_ENTRY_SIZE);
	memcpy(out + HEADER_VAULT_ID, s->vault_id, LEDGER_VAULT_ID_SIZE);
	memcpy(out + HEADER_PUBLIC_KEY, s->public_key, KEY_SIZE);
	header_context(out, &c);
	return sign(s, &c, out + HEADER_SIGNATURE);
}

int ledger_header_check(const uint8_t header[LEDGER_HEADER_SIZE],
			uint8_t vault_id[LEDGER_VAULT_ID_SIZE], uint8_t public_key[KEY_SIZE])
{
	struct p1_context c;
	int r;

	if (memcmp(header, magic, sizeof(magic)) != 0 ||
	    get_u32(header + HEADER_VERSION) != LEDGER_VERSION ||
	    get_u32(header + HEADER_ENTRY_SIZE) != LEDGER_ENTRY_SIZE)
		return LEDGER_REFUSED;
	header_context(header, &c);
	r = p1_ed25519_verify(header + HEADER_PUBLIC_KEY, bytes_of(c.data, c.size),
			      header + HEADER_SIGNATURE);
	if (r != 0)
		return r < 0 ? r : LEDGER_REFUSED;
	memcpy(vault_id, header + HEADER_VAULT_ID, LEDGER_VAULT_ID_SIZE);
	memcpy(public_key, header + HEADER_PUBLIC_KEY, KEY_SIZE);
	return 0;
}

int ledger_state_begin(const uint8_t header[LEDGER_HEADER_SIZE], struct ledger_state *out)
{
	memcpy(out->vault_id, header + HEADER_VAULT_ID, LEDGER_VAULT_ID_SIZE);
	out->sequence = 0;
	return p1_sha256(bytes_of(header, LEDGER_HEADER_SIZE), out->head);
}

int ledger_tag(const struct secret *tag_key, const char *what, struct bytes name,
	       uint8_t out[LEDGER_TAG_SIZE])
{
	uint8_t mac[P1_MAC_SIZE];
	struct p1_context c;
	int r;

	if (name.size == 0) {
		memset(out, 0, LEDGER_TAG_SIZE);
		return 0;
	}
	p1_context_begin(&c, what);
	p1_context_add(&c, name);
	if (c.overflow)
		return -EINVAL;
	r = p1_hmac(tag_key, bytes_of(c.data, c.size), mac);
	if (r == 0)
		memcpy(out, mac, LEDGER_TAG_SIZE);
	return r;
}

/* The sequence of the entry and what its key_index says. */
static int number(const struct ledger_fact *fact, const struct ledger_state *state,
		  uint32_t *sequence, uint32_t *key_index)
{
	const bool rolled_back = fact->event == LEDGER_ROLLED_BACK;
	uint32_t after = state->sequence;

	if (rolled_back && fact->known > after)
		after = fact->known;
	if (after == UINT32_MAX)
		return -EOVERFLOW;
	*sequence = after + 1;
	*key_index = rolled_back ? state->sequence : fact->key_index;
	return 0;
}

int ledger_entry_make(const struct ledger_signer *s, const struct ledger_fact *fact,
		      struct ledger_state *state, uint8_t out[LEDGER_ENTRY_SIZE])
{
	struct ledger_state next = *state;
	struct p1_context c;
	uint32_t key_index = 0;
	int r;

	if (fact->event < LEDGER_CREATED || (int)fact->event > LEDGER_EVENT_MAX ||
	    (int)fact->reason > LEDGER_REASON_MAX || fact->entity.size > NAME_MAX_SIZE ||
	    fact->user.size > NAME_MAX_SIZE)
		return -EINVAL;
	r = number(fact, state, &next.sequence, &key_index);
	if (r != 0)
		return r;
	put_u32(out + ENTRY_SEQUENCE, next.sequence);
	put_u64(out + ENTRY_TIME, fact->time);
	out[ENTRY_EVENT] = (uint8_t)fact->event;
	out[ENTRY_REASON] = (uint8_t)fact->reason;
	out[ENTRY_FIGURE] = fact->figure;
	out[ENTRY_RESERVED] = 0;
	put_u32(out + ENTRY_KEY_INDEX, key_index);
	put_u32(out + ENTRY_EPOCH, fact->epoch);
	memcpy(out + ENTRY_PREVIOUS, state->head, LEDGER_HASH_SIZE);
	r = ledger_tag(s->tag_key, "entity", fact->entity, out + ENTRY_ENTITY);
	if (r == 0)
		r = ledger_tag(s->tag_key, "user", fact->user, out + ENTRY_USER);
	if (r != 0)
		return r;
	entry_context(s->vault_id, out, &c);
	r = sign(s, &c, out + ENTRY_SIGNATURE);
	if (r == 0)
		r = p1_sha256(bytes_of(out, LEDGER_ENTRY_SIZE), next.head);
	if (r == 0)
		*state = next;
	return r;
}

void ledger_entry_decode(const uint8_t entry[LEDGER_ENTRY_SIZE], struct ledger_entry *out)
{
	out->sequence = get_u32(entry + ENTRY_SEQUENCE);
	out->time = (uint64_t)get_u32(entry + ENTRY_TIME) << 32 | get_u32(entry + ENTRY_TIME + 4);
	out->event = entry[ENTRY_EVENT];
	out->reason = entry[ENTRY_REASON];
	out->figure = entry[ENTRY_FIGURE];
	out->reserved = entry[ENTRY_RESERVED];
	out->key_index = get_u32(entry + ENTRY_KEY_INDEX);
	out->epoch = get_u32(entry + ENTRY_EPOCH);
	memcpy(out->entity, entry + ENTRY_ENTITY, LEDGER_TAG_SIZE);
	memcpy(out->user, entry + ENTRY_USER, LEDGER_TAG_SIZE);
	memcpy(out->previous, entry + ENTRY_PREVIOUS, LEDGER_HASH_SIZE);
	memcpy(out->signature, entry + ENTRY_SIGNATURE, P1_SIGNATURE_SIZE);
}

int ledger_entry_verify(const uint8_t public_key[KEY_SIZE],
			const uint8_t vault_id[LEDGER_VAULT_ID_SIZE],
			const uint8_t entry[LEDGER_ENTRY_SIZE])
{
	struct p1_context c;
	int r;

	entry_context(vault_id, entry, &c);
	r = p1_ed25519_verify(public_key, bytes_of(c.data, c.size), entry + ENTRY_SIGNATURE);
	return r > 0 ? LEDGER_REFUSED : r;
}
