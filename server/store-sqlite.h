#ifndef PNGW_SERVER_STORE_SQLITE_H
#define PNGW_SERVER_STORE_SQLITE_H

/* Between the files of the SQLite backend; nobody else includes it. */

#include <sqlite3.h>

#include "protocol/p1.h"
#include "server/store.h"

#define STORE_SEALED_MAX (P1_NONCE_SIZE + SECRET_MAX_SIZE + P1_SEAL_OVERHEAD)

enum statement {
	GET_ACCOUNT,
	GET_ELEMENT,
	GET_EUKEY,
	GET_KEYS,
	GET_TEMPORARY_KEY,
	GET_RESETS,
	GET_VAULT_STATE,
	GET_HANDOVER,
	GET_ANSWER,
	GET_SECRET,
	EACH_ACCOUNT,
	EACH_ELEMENT,
	EACH_KEY,
	EACH_HANDOVER,
	EACH_VAULT_STATE,
	ADD_ACCOUNT,
	BLOCK_ACCOUNT,
	ADD_ELEMENT,
	CHANGE_ELEMENT,
	REVOKE_ELEMENT,
	ADD_EUKEY,
	MARK_HELD,
	DROP_BELOW,
	DROP_REVOKED,
	RESET_NEEDLESS,
	CONFIRM_RESET,
	DROP_RESETS,
	ADD_RESET,
	TOLD_RESETS,
	RELEASE_ELEMENT,
	RELEASE_KEYS,
	PUT_TEMPORARY_KEY,
	ADD_VAULT_STATE,
	CHANGE_VAULT_STATE,
	TRIM_VAULT_STATES,
	FORGET_VAULT_STATE,
	ADD_HANDOVER,
	CHANGE_HANDOVER,
	FORGET_HANDOVER,
	ADD_ANSWER,
	TRIM_ANSWERS,
	PUT_SUBSCRIPTION,
	ADD_SECRET,
	BEGIN,
	COMMIT,
	ROLLBACK,
	STATEMENTS
};

struct sqlite_store {
	struct store store;
	sqlite3 *db;
	struct secret *key;
	sqlite3_stmt *statements[STATEMENTS];
};

static inline struct sqlite_store *store_sqlite_of(struct store *s)
{
	return (struct sqlite_store *)s;
}

/* 0, a positive outcome of store.h or a negative errno for an SQLite result code. */
int store_row_error(int code);

/* Binding copies nothing: what is bound outlives the statement's reset. A failure shows in step. */
void store_row_text(sqlite3_stmt *st, int at, struct bytes text);
void store_row_blob(sqlite3_stmt *st, int at, struct bytes blob);
struct bytes store_row_column(sqlite3_stmt *st, int at); /* until the next step or reset */
void store_row_done(sqlite3_stmt *st);                   /* resets, and drops what is bound */

/* What a sealed value belongs to; more may be added to the context. */
void store_row_name(struct p1_context *c, const char *what, struct bytes a, struct bytes b,
		    uint32_t index);
void store_row_answer_name(struct p1_context *c, struct bytes id, struct bytes request_sha256,
			   int http);
void store_row_reset_name(struct p1_context *c, struct bytes user, struct bytes entity,
			  uint32_t epoch, uint32_t index, struct bytes id);

/* out has plain.size + P1_NONCE_SIZE + P1_SEAL_OVERHEAD bytes. 0 or a negative errno. */
int store_row_seal(const struct sqlite_store *s, const struct p1_context *name, struct bytes plain,
		   uint8_t *out);
/* 0, STORE_DAMAGED or a negative errno. */
int store_row_unseal(const struct sqlite_store *s, const struct p1_context *name,
		     struct bytes sealed, struct secret **out);

/* One step that gives no row, then reset. */
int store_row_execute(struct sqlite_store *s, enum statement which);

/* store_ops of the same name. */
extern const struct store_ops store_sqlite_ops;
int store_sqlite_account(struct store *store, struct bytes user, struct store_account *out);
int store_sqlite_element(struct store *store, struct bytes entity, struct store_element *out);
int store_sqlite_eukey(struct store *store, struct bytes user, struct bytes entity, uint32_t index,
		       struct secret **out);
int store_sqlite_keys(struct store *store, struct bytes user, struct bytes entity,
		      struct store_key out[STORE_KEYS_MAX]);
int store_sqlite_temporary_key(struct store *store, struct bytes entity,
			       struct store_temporary_key *out);
int store_sqlite_resets(struct store *store, struct bytes user, struct bytes entity,
			struct store_resets *out);
int store_sqlite_vault_state(struct store *store, struct bytes gateway, const uint8_t vault_id[16],
			     struct store_vault_state *out);
int store_sqlite_handover(struct store *store, struct bytes gateway, struct store_handover *out);
int store_sqlite_answer(struct store *store, const struct message_id *id, struct store_answer *out);
int store_sqlite_secret(struct store *store, const char *what, struct secret **out);
int store_sqlite_each_account(struct store *store, store_account_fn *each, void *arg);
int store_sqlite_each_element(struct store *store, store_element_fn *each, void *arg);
int store_sqlite_each_key(struct store *store, store_key_fn *each, void *arg);
int store_sqlite_each_handover(struct store *store, store_handover_fn *each, void *arg);
int store_sqlite_each_vault(struct store *store, store_vault_fn *each, void *arg);
int store_sqlite_alive(struct store *store);
int store_sqlite_commit(struct store *store, const struct store_batch *b);

/*
 * The key, made when neither it nor the store is there; contract of store_open_sqlite(). *make: the
 * store is to be made too, because neither was there or because the making was cut short before.
 * Once the store is made: store_sqlite_made(), 0 or a negative errno.
 */
int store_sqlite_key(const struct store_sqlite_options *o, bool *make, struct secret **out,
		     char *why, size_t why_size);
int store_sqlite_made(const struct store_sqlite_options *o);

/*
 * Makes the tables, or brings those of an older schema to this one, in one transaction. With create
 * false an empty store is STORE_ABSENT; STORE_DAMAGED when it is another key's, STORE_NEWER.
 * Whatever fails, the store is as it was.
 */
int store_sqlite_schema(struct sqlite_store *s, bool create);

#endif
