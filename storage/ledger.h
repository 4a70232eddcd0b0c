#ifndef PNGW_STORAGE_LEDGER_H
#define PNGW_STORAGE_LEDGER_H

/*
 * The ledger: what became of each EUKey, one entry an event, chained by hashes and signed. It holds
 * no key material, and no name in the clear: names are there as keyed tags. doc/ledger.md has the
 * format, precise enough to write a verifier from.
 *
 * This is the format alone, no I/O: storage/ledger-check.h verifies, storage/vault.h writes.
 */

#include "protocol/bytes.h"
#include "protocol/p1.h"
#include "protocol/secret.h"

#define LEDGER_HEADER_SIZE   128
#define LEDGER_ENTRY_SIZE    152
#define LEDGER_TAG_SIZE      16
#define LEDGER_HASH_SIZE     32
#define LEDGER_VAULT_ID_SIZE 16

/* Stable numbers, part of the format: never reused. */
enum ledger_event {
	LEDGER_CREATED = 1,     /* the first entry; made by the vault itself */
	LEDGER_ISSUED = 2,      /* the server's EUKey reached the vault, or was relayed */
	LEDGER_SPENT = 3,       /* taken out of the pool to be sent to its PNE, once */
	LEDGER_INSTALLED = 4,   /* the PNE's proven receipt */
	LEDGER_RENEWED = 5,     /* the same, the key replaces an earlier one */
	LEDGER_REVOKED = 6,     /* the entity's keys up to key_index, and its epoch from now on */
	LEDGER_ERASED = 7,      /* the key's material is gone from the vault */
	LEDGER_RESET = 8,       /* the PNE confirmed that it has erased its keys */
	LEDGER_ROLLED_BACK = 9, /* an older state of the vault was put back; see below */
};
#define LEDGER_EVENT_MAX 9

enum ledger_reason {
	LEDGER_REASON_NONE = 0,
	LEDGER_REASON_REPLACED = 1, /* a newer key of the same PNE is installed */
	LEDGER_REASON_EXPIRED = 2,  /* its time is over */
	LEDGER_REASON_REVOKED = 3,  /* its PNE or user was revoked */
	LEDGER_REASON_ROLLBACK = 4, /* it may have been spent already in the state that was lost */
	LEDGER_REASON_SUPERSEDED = 5, /* the server sent another set in its place */
	LEDGER_REASON_REFUSED = 6,    /* the PNE or the server does not take it */
	LEDGER_REASON_OLDER = 7,      /* of CREATED: the vault had keys before it had a ledger */
};
#define LEDGER_REASON_MAX 7

/*
 * What a caller tells. Borrowed for the call. entity and user may be empty where an event has none.
 * figure is the procedure (5..8), 0 for none. time is in seconds since 1970 by the caller's clock.
 *
 * A key is (entity, key_index). known is for LEDGER_ROLLED_BACK alone: the highest sequence that
 * anybody is known to have seen; the entry's own is above it.
 */
struct ledger_fact {
	enum ledger_event event;
	enum ledger_reason reason;
	uint8_t figure;
	struct bytes entity;
	struct bytes user;
	uint32_t key_index;
	uint32_t epoch;
	uint32_t known;
	uint64_t time;
};

/* The monotone counter that a ledger is: how many entries and the hash of the newest. */
struct ledger_state {
	uint8_t vault_id[LEDGER_VAULT_ID_SIZE];
	uint32_t sequence; /* 0: no entry yet, head is then the header's hash */
	uint8_t head[LEDGER_HASH_SIZE];
};

/* An entry decoded. */
struct ledger_entry {
	uint32_t sequence;
	uint64_t time;
	uint8_t event;
	uint8_t reason;
	uint8_t figure;
	uint8_t reserved;
	uint32_t key_index;
	uint32_t epoch;
	uint8_t entity[LEDGER_TAG_SIZE];
	uint8_t user[LEDGER_TAG_SIZE];
	uint8_t previous[LEDGER_HASH_SIZE];
	uint8_t signature[P1_SIGNATURE_SIZE];
};

/* Borrowed: what signs the ledger of one vault. */
struct ledger_signer {
	const uint8_t *vault_id;   /* LEDGER_VAULT_ID_SIZE */
	const uint8_t *public_key; /* KEY_SIZE */
	const struct secret *signing_key;
	const struct secret *tag_key;
};

/* Positive outcome: it is not what the ledger's key signed. */
#define LEDGER_REFUSED 1

int ledger_header_make(const struct ledger_signer *s, uint8_t out[LEDGER_HEADER_SIZE]);
/* 0 and both outputs, LEDGER_REFUSED (no such file, or altered) or a negative errno. */
int ledger_header_check(const uint8_t header[LEDGER_HEADER_SIZE],
			uint8_t vault_id[LEDGER_VAULT_ID_SIZE], uint8_t public_key[KEY_SIZE]);

/* The state before the first entry. */
int ledger_state_begin(const uint8_t header[LEDGER_HEADER_SIZE], struct ledger_state *out);

/*
 * Makes the entry that follows *state, and moves *state on to it. -EINVAL for a fact that cannot be
 * one (names too long, no such event), -EOVERFLOW when the sequence is used up; *state is then
 * untouched.
 */
int ledger_entry_make(const struct ledger_signer *s, const struct ledger_fact *fact,
		      struct ledger_state *state, uint8_t out[LEDGER_ENTRY_SIZE]);

void ledger_entry_decode(const uint8_t entry[LEDGER_ENTRY_SIZE], struct ledger_entry *out);
/* 0, LEDGER_REFUSED or a negative errno: the signature alone. */
int ledger_entry_verify(const uint8_t public_key[KEY_SIZE],
			const uint8_t vault_id[LEDGER_VAULT_ID_SIZE],
			const uint8_t entry[LEDGER_ENTRY_SIZE]);

/* The tag of a name: all zero for none. what is "entity" or "user". */
int ledger_tag(const struct secret *tag_key, const char *what, struct bytes name,
	       uint8_t out[LEDGER_TAG_SIZE]);

/* Words of a fact in the tool's output; "unknown" for a number that is none. */
const char *ledger_event_text(unsigned event);
const char *ledger_reason_text(unsigned reason);

#endif
