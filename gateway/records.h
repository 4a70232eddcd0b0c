#ifndef PNGW_GATEWAY_RECORDS_H
#define PNGW_GATEWAY_RECORDS_H

/* What the PN GW keeps in its vault: the records' contents, and batches that write them. */

#include "gateway/pool.h"
#include "protocol/message.h"
#include "protocol/verdict.h"
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

/* Each adds to b; a failure shows in vault_submit(). */
void records_put_eukey(struct vault_batch *b, const struct name *entity, const struct name *user,
		       uint32_t index, const struct secret *key, enum key_state state);
void records_erase_eukey(struct vault_batch *b, const struct name *entity, uint32_t index);
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
/* Forgets all that is known of an entity but its undelivered reports. */
void records_release(struct vault_batch *b, const struct name *entity, bool self);

/* 0, VAULT_ABSENT, VAULT_DAMAGED or a negative errno; results are untouched unless 0. */
int records_get_pne_owner(struct vault *v, const struct name *entity, struct name *owner);
int records_get_identity(struct vault *v, struct name *owner);
int records_get_delivery(struct vault *v, const struct name *entity, uint32_t index,
			 struct delivery *out);
int records_get_temporary_key(struct vault *v, const struct name *entity, struct name *user,
			      struct secret **key);

/* One EUKey as found in the vault. */
struct stored_key {
	struct name user;
	uint32_t index; /* 0: none was found */
	struct secret *key;
};

/* Each EUKey of entity, oldest write first; key is borrowed. Stops when each returns another than
 * 0, and returns that; damaged ones are passed over. */
typedef int records_key_fn(void *arg, const struct stored_key *key, enum key_state state);
int records_each_key(struct vault *v, const struct name *entity, records_key_fn *each, void *arg);
/* The highest index of entity: the PN GW's own key. */
int records_highest_key(struct vault *v, const struct name *entity, struct stored_key *out);
/* The highest index that was delivered to entity. */
int records_current_key(struct vault *v, const struct name *entity, struct stored_key *out);
/* The lowest index of entity that was not sent to it yet. */
int records_unspent_key(struct vault *v, const struct name *entity, struct stored_key *out);

/* Parses the content of a VAULT_DELIVERY record. 0 or -EBADMSG. */
int records_parse_delivery(struct bytes owner, struct bytes item, struct bytes content,
			   struct delivery *out);
/* Parses a VAULT_PROCEDURE record into the verdict that a restart gives it. 0 or -EBADMSG. */
int records_parse_procedure(struct bytes item, struct bytes content, uint64_t *id,
			    struct verdict *out);

#endif
