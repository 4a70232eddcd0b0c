#ifndef PNGW_GATEWAY_REVOKE_H
#define PNGW_GATEWAY_REVOKE_H

/*
 * Revocations: what the PN GW remembers of a device whose EUKeys were made worthless, how that is
 * brought together with what the server knows, and what resets the PNE. No I/O but the vault's.
 *
 * A revocation is a tombstone: it stays for ever. Its epoch counts how often the device was
 * revoked; EUKeys up to its key index are never issued, sent or taken again. Epoch and key index
 * only rise, here and at the server, so it does not matter who hears of what first.
 */

#include "gateway/records.h"
#include "pan/frame.h"
#include "protocol/p1.h"

#define RESET_KEYS_MAX     8 /* proofs in one PNEResetRequest */
#define RESET_ATTEMPTS_MAX 4

/* One PNEResetRequest that may be sent any number of times, and the answers that confirm it. */
struct reset_attempt {
	struct message_id id;
	struct name user;
	size_t count;
	struct reset_key {
		uint32_t index;
		uint8_t proof[P1_MAC_SIZE];
		uint8_t confirmation[P1_MAC_SIZE];
	} keys[RESET_KEYS_MAX];
};

/* A record of VAULT_REVOCATION. */
struct revocation {
	struct name entity;
	uint32_t epoch;     /* 0: it was never revoked */
	uint32_t key_index; /* all up to it are worthless */
	enum reset_state reset;
	bool told;      /* the server has it as it is */
	bool by_server; /* the newest epoch is the server's doing */
	bool forgotten; /* the operator does not expect the device back: no reset is sent */
	uint64_t since; /* seconds since 1970, of the newest epoch */
	/* What the PNE last answered instead of confirming, and the index it told; STATUS_OK:
	 * nothing. */
	enum status seen;
	uint32_t seen_index;
	size_t attempts_count;
	struct reset_attempt attempts[RESET_ATTEMPTS_MAX];
};

/* Adds it to b; a failure shows in vault_submit(). */
void revocation_put(struct vault_batch *b, const struct revocation *r);
/* 0, VAULT_ABSENT (then *out is the revocation of epoch 0), VAULT_DAMAGED or a negative errno. */
int revocation_get(struct vault *v, const struct name *entity, struct revocation *out);
/* Parses the content of a record. 0 or -EBADMSG. */
int revocation_parse(struct bytes owner, struct bytes content, struct revocation *out);
/* The highest revoked key index of entity; 0 where none is. 0 or a negative errno. */
int revocation_index(struct vault *v, const struct name *entity, uint32_t *out);

/*
 * Adds an attempt for each user that EUKeys of entity up to limit were sent for, made with those
 * keys; at most two. Raises r->key_index to the highest of them, sent or not. 0 or a negative
 * errno.
 */
int revocation_prepare(struct revocation *r, struct vault *v, uint32_t limit);
/* Adds one; the oldest makes room. One with the id of another is not added. */
void revocation_add_attempt(struct revocation *r, const struct reset_attempt *attempt);

/* The PNE has nothing of before any more. */
void revocation_confirm(struct revocation *r);

/* What a merge or an answer of the PNE changed. */
enum revocation_change {
	REVOCATION_SAME,
	REVOCATION_RAISED, /* a higher epoch or key index: what is in the vault is to be erased */
	REVOCATION_CONFIRMED, /* the reset was confirmed */
	REVOCATION_REFUSED,   /* the PNE's answer confirms nothing; seen has changed */
};

/* What the server knows of the same device. */
enum revocation_change revocation_merge(struct revocation *r, const struct m_element_state *server);
/* One proof for a reset that only the server could make. True when it is new. */
bool revocation_authorize(struct revocation *r, const struct m_reset_authorization *a);

/* Whether a reset is to be sent when the PNE is there. */
bool revocation_wants_reset(const struct revocation *r);
/* The request of one attempt; *xml is the caller's to free(). 0 or a negative errno. */
int revocation_request(const struct revocation *r, const struct reset_attempt *attempt,
		       const struct name *self, char **xml, size_t *size);
/* The PNE's answer, a PNEResetResponse. */
enum revocation_change revocation_answered(struct revocation *r, const struct message *m);
/* A receipt of the PNE instead of one. */
enum revocation_change revocation_receipt(struct revocation *r, const struct receipt *receipt);

/* Why it is not confirmed, in a person's words; "" when nothing was heard. */
const char *revocation_seen(const struct revocation *r, char *out, size_t out_size);

#endif
