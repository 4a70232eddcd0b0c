#ifndef PNGW_GATEWAY_RECORDS_H
#define PNGW_GATEWAY_RECORDS_H

/* What the PN GW keeps in its vault: the records' contents, and batches that write them. */

#include "gateway/pool.h"
#include "protocol/message.h"
#include "protocol/verdict.h"
#include "storage/ledger.h"
#include "storage/vault.h"

/* A record of VAULT_DELIVERY. */
struct delivery {
	struct name user;
	struct name entity;
	uint32_t key_index;
	enum delivery_state state;
	struct message_id message_id;
	bool has_proof;
	uint8_t proof[32];
};

/* One EUKey as found in the vault. */
struct stored_key {
	struct name user;
	uint32_t index; /* 0: none was found */
	struct secret *key;
	/* KEY_ISSUED: what its notification was made with, so that it can be sent again as it was.
	 */
	bool repeatable;
	struct message_id message_id;
	uint8_t rand[RAND_SIZE];
};

/* What checks a user's password without the server: a MAC under the PH of an online Figure 7. */
struct verifier {
	uint8_t salt[SALT_SIZE];
	uint32_t iterations;
	uint8_t mac[32];
};

/* The highest indexes of entity that the ledger has as relayed, and as installed. */
struct relayed {
	uint32_t issued, installed;
	struct name user; /* of the issued one; "": not on record */
};

/* Where a PNE is found over Bluetooth: its identity address. */
struct bluetooth_place {
	uint8_t address[6]; /* in the order in which it is written */
	bool random;        /* of LE: a static random one, not a public one */
};

/* Each adds to b; a failure shows in vault_submit(). since: of the service clock. */
/* With a delivered one go those of entity that are damaged: it makes them worthless. */
void records_put_eukey(struct vault_batch *b, const struct name *entity, const struct name *user,
		       uint32_t index, struct secret *key, enum key_state state, uint64_t since);
/* As KEY_ISSUED, with what its notification is made with if k->repeatable. */
void records_put_issued(struct vault_batch *b, const struct name *entity,
			const struct stored_key *k, uint64_t since);
void records_put_verifier(struct vault_batch *b, const struct name *user, const struct verifier *v);
void records_put_clock(struct vault_batch *b, const struct clock_mark *mark);
/* When the last backup was finished: seconds since 1970. */
void records_put_backup(struct vault_batch *b, uint64_t wall);
void records_put_relayed(struct vault_batch *b, const struct name *entity, const struct relayed *r);
void records_erase_relayed(struct vault_batch *b, const struct name *entity);
void records_erase_eukey(struct vault_batch *b, const struct name *entity, uint32_t index);
void records_ledger(struct vault_batch *b, const struct ledger_fact *fact);
/* What became of an EUKey, for the ledger. wall: seconds since 1970. */
void records_fact(struct vault_batch *b, enum ledger_event event, enum figure figure,
		  const struct name *entity, const struct name *user, uint32_t index,
		  uint64_t wall);
/* Erases a key of a pool, with its fact. */
void records_drop_eukey(struct vault_batch *b, const struct name *entity,
			const struct pool_key *key, enum ledger_reason reason, enum figure figure,
			uint64_t wall);
void records_put_temporary_key(struct vault_batch *b, const struct name *entity,
			       const struct name *user, const struct secret *key);
void records_put_pne_owner(struct vault_batch *b, const struct name *entity,
			   const struct name *user);
void records_put_identity(struct vault_batch *b, const struct name *owner);
void records_put_delivery(struct vault_batch *b, const struct delivery *d);
void records_erase_delivery(struct vault_batch *b, const struct name *entity, uint32_t index);
void records_put_procedure(struct vault_batch *b, uint64_t id, enum figure figure,
			   const struct name *user, const struct name *entity);
void records_erase_procedure(struct vault_batch *b, uint64_t id);
void records_put_bluetooth(struct vault_batch *b, const struct name *entity,
			   const struct bluetooth_place *place);
void records_erase_bluetooth(struct vault_batch *b, const struct name *entity);
/* Forgets all that is known of an entity but its undelivered reports. */
void records_release(struct vault_batch *b, const struct name *entity, bool self);

/* 0, VAULT_ABSENT, VAULT_DAMAGED or a negative errno; results are untouched unless 0. */
int records_get_pne_owner(struct vault *v, const struct name *entity, struct name *owner);
int records_get_identity(struct vault *v, struct name *owner);
int records_get_delivery(struct vault *v, const struct name *entity, uint32_t index,
			 struct delivery *out);
int records_get_temporary_key(struct vault *v, const struct name *entity, struct name *user,
			      struct secret **key);

int records_get_bluetooth(struct vault *v, const struct name *entity, struct bluetooth_place *out);
/* Parses a VAULT_BLUETOOTH record. 0 or -EBADMSG. */
int records_parse_bluetooth(struct bytes owner, struct bytes content, struct name *entity,
			    struct bluetooth_place *out);
int records_get_verifier(struct vault *v, const struct name *user, struct verifier *out);
int records_get_clock(struct vault *v, struct clock_mark *out);
int records_get_backup(struct vault *v, uint64_t *wall);
/* Zeros where there is none. */
int records_get_relayed(struct vault *v, const struct name *entity, struct relayed *out);

/* All EUKeys of entity into a zeroed *out, the caller's to pool_clear(). 0 or a negative errno. */
int records_load_pool(struct vault *v, const struct name *entity, struct pool *out);
/* Parses a VAULT_EUKEY record but for its key. 0 or -EBADMSG. */
int records_parse_eukey(struct bytes item, struct bytes content, struct pool_key *out);
int records_get_eukey(struct vault *v, const struct name *entity, uint32_t index,
		      struct stored_key *out);

/* Each EUKey of entity, oldest write first; key is borrowed. Stops when each returns another than
 * 0, and returns that; damaged ones are passed over. */
typedef int records_key_fn(void *arg, const struct stored_key *key, enum key_state state);
int records_each_key(struct vault *v, const struct name *entity, records_key_fn *each, void *arg);
/* The highest index of entity: the PN GW's own key. */
int records_highest_key(struct vault *v, const struct name *entity, struct stored_key *out);
/* The highest index that was delivered to entity. */
int records_current_key(struct vault *v, const struct name *entity, struct stored_key *out);

/* Parses the content of a VAULT_DELIVERY record. 0 or -EBADMSG. */
int records_parse_delivery(struct bytes owner, struct bytes item, struct bytes content,
			   struct delivery *out);
/* Parses a VAULT_PROCEDURE record into the verdict that a restart gives it. 0 or -EBADMSG. */
int records_parse_procedure(struct bytes item, struct bytes content, uint64_t *id,
			    struct verdict *out);

#endif
