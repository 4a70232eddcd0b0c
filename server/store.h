#ifndef PNGW_SERVER_STORE_H
#define PNGW_SERVER_STORE_H

/*
 * What the CPNS Server keeps: accounts, elements (PNEs and PN GWs), EUKeys, Temporary Keys,
 * answered messages, subscriptions and its own secrets. Callers see records, never rows: no SQL and
 * no cipher leaves this header, and a backend is a vtable.
 *
 * Reads give copies. Writes are batches: plain data that anybody may fill in without I/O, and that
 * store_commit() applies as one transaction, all of it or nothing, durable when it returns 0. One
 * thread a store; several processes may have the same store open (the daemon and the admin tool).
 */

#include <stdint.h>

#include "protocol/bytes.h"
#include "protocol/message.h"
#include "protocol/secret.h"

struct store;

/* Positive outcomes. */
enum {
	STORE_ABSENT = 1, /* no such record */
	STORE_CONFLICT =
		2, /* commit: a precondition no longer holds; nothing was changed: load again */
	STORE_DAMAGED = 3,  /* a record, or the store, does not open: wrong key or altered */
	STORE_NEWER = 4,    /* the schema is newer than this program; it was not touched */
	STORE_KEY_FILE = 5, /* the key file is missing, malformed, or readable by others */
};

/* A CPNS User. */
struct store_account {
	struct name user;
	uint8_t salt[SALT_SIZE];
	uint32_t iterations;
	struct secret *ph; /* a reference of the holder's */
	bool blocked;      /* by the operator: nobody is let in with it */
};
void store_account_clear(struct store_account *a);

/* What revocations have done to an element so far; all zero: there was none. */
struct store_revocation {
	uint32_t epoch;         /* how many there were */
	uint32_t key_index;     /* EUKeys up to this one are worthless, and are kept nowhere */
	enum reset_state reset; /* of the PNE that may still hold one of them */
	struct name owner;      /* whose element it was, "" : nobody's */
	int64_t since;          /* the last one, seconds since 1970 */
};

/*
 * A device. It stays, with its key index, when it is released or revoked: an index is never used
 * twice.
 */
struct store_element {
	struct name entity;
	enum entity_mode mode;
	struct name owner;   /* "" : nobody's */
	uint32_t last_index; /* highest key index ever given out; 0: none */
	struct store_revocation revocation;
};

/* An EUKey that is kept. */
struct store_key {
	uint32_t index;     /* 0: there is none */
	struct secret *key; /* a reference of the holder's; NULL: it is damaged */
};
#define STORE_KEYS_MAX 8
void store_keys_clear(struct store_key keys[STORE_KEYS_MAX]);

/*
 * What a PN GW needs to make a PNE forget a revoked EUKey that the store has erased since. Who
 * knows one can reset that PNE: the holder wipes it.
 */
struct store_reset {
	uint32_t key_index;
	uint8_t proof[32], confirmation[32]; /* p1_reset_proof(), p1_reset_confirmation() */
};

/* Those of one revocation: they go into one PNEResetRequest. */
struct store_resets {
	uint32_t epoch;
	struct message_id id; /* of the PNEResetRequest */
	uint32_t told;        /* how often a PN GW got them */
	size_t damaged;       /* further ones that do not open, and are left out */
	size_t count;         /* 1 to STORE_KEYS_MAX */
	struct store_reset list[STORE_KEYS_MAX];
};

/* Where a PN GW's vault stood when it last told so; one per PN GW and vault id. */
struct store_vault_state {
	uint8_t vault_id[16];
	uint32_t sequence;
	uint8_t head[32];
};
#define STORE_VAULTS_MAX 8 /* of one PN GW, the latest that were told */

/* Which box a PN GW is since it was last handed over; see server/fence.h. */
struct store_handover {
	uint32_t term; /* how often; never 0 */
	uint8_t holder[HOLDER_SIZE];
	int64_t since; /* when the server heard of it, seconds since 1970 */
};

/* From the manufacturer. key is what travels and wraps: a printed passphrase was stretched at
 * import. */
struct store_temporary_key {
	struct secret *key;
	bool passphrase; /* it was a printed passphrase */
};

/* What was answered to a message. body is the holder's to free(). */
struct store_answer {
	uint8_t request_sha256[32];
	int http;
	uint8_t *body;
	size_t body_size;
};

/* Stable names of the server's own secrets. */
#define STORE_SECRET_UNKNOWN_USER "unknown-user"

/*
 * Reads: 0 and *out filled (secrets are new references), STORE_ABSENT, STORE_DAMAGED or a negative
 * errno; on anything but 0 *out is untouched.
 */
int store_account(struct store *s, struct bytes user, struct store_account *out);
int store_element(struct store *s, struct bytes entity, struct store_element *out);
int store_eukey(struct store *s, struct bytes user, struct bytes entity, uint32_t index,
		struct secret **out);
/* The first of that user and entity, lowest index first. STORE_ABSENT: there is none. A damaged one
 * is there with its index. */
int store_keys(struct store *s, struct bytes user, struct bytes entity,
	       struct store_key out[STORE_KEYS_MAX]);
int store_temporary_key(struct store *s, struct bytes entity, struct store_temporary_key *out);
/* The latest of that entity that were made of that user's keys. STORE_DAMAGED: all of them are. */
int store_resets(struct store *s, struct bytes user, struct bytes entity, struct store_resets *out);
int store_vault_state(struct store *s, struct bytes gateway, const uint8_t vault_id[16],
		      struct store_vault_state *out);
/* STORE_ABSENT: it never was. */
int store_handover(struct store *s, struct bytes gateway, struct store_handover *out);
int store_answer(struct store *s, const struct message_id *id, struct store_answer *out);
int store_secret(struct store *s, const char *name, struct secret **out);

/*
 * Walks, ordered by name and index. Views and keys live during the call. each returns 0 to go on,
 * anything else ends the walk and is returned. each must not commit. An element that is damaged is
 * passed over, and STORE_DAMAGED returned when the walk has come to its end.
 */
struct store_key_row {
	struct bytes user, entity;
	uint32_t index;
	bool held;          /* known to be the key that the entity holds */
	struct secret *key; /* NULL: it is damaged */
};
typedef int store_account_fn(void *arg, struct bytes user, uint32_t iterations, bool blocked);
typedef int store_element_fn(void *arg, const struct store_element *element);
typedef int store_key_fn(void *arg, const struct store_key_row *row);
typedef int store_handover_fn(void *arg, struct bytes gateway, const struct store_handover *h);
/* told: when, seconds since 1970. A head is not looked at, so that a damaged state is listed too.
 */
typedef int store_vault_fn(void *arg, struct bytes gateway, struct bytes vault_id,
			   uint32_t sequence, int64_t told);
int store_each_account(struct store *s, store_account_fn *each, void *arg);
int store_each_element(struct store *s, store_element_fn *each, void *arg);
int store_each_key(struct store *s, store_key_fn *each, void *arg);
int store_each_handover(struct store *s, store_handover_fn *each, void *arg);
int store_each_vault(struct store *s, store_vault_fn *each, void *arg);

/* The kinds of change. */
enum store_change_kind {
	STORE_ADD_ACCOUNT,   /* a new User ID; STORE_CONFLICT when it is there */
	STORE_BLOCK_ACCOUNT, /* or let in again; STORE_CONFLICT when it is not there */
	STORE_PUT_ELEMENT,   /* STORE_CONFLICT unless last_index and revocation.epoch were expected,
				or when its owner is blocked */
	STORE_ADD_EUKEY,     /* STORE_CONFLICT when (entity, index) was given out or user is blocked
			      */
	STORE_HELD,          /* index is held: marks it, erases that user's and entity's keys below,
				and resets that were still wanted */
	STORE_RELEASE,     /* the element is nobody's, its EUKeys are erased; absent is no error */
	STORE_REVOKE,      /* as RELEASE, and counted; STORE_CONFLICT as PUT_ELEMENT */
	STORE_ADD_RESET,   /* one of an epoch's authorizations */
	STORE_RESETS_TOLD, /* a PN GW got those of that user, entity and epoch */
	STORE_RESET_DONE,  /* confirmed, if epoch is still the element's; they are erased */
	STORE_PUT_VAULT_STATE,    /* STORE_CONFLICT unless the sequence was expected */
	STORE_FORGET_VAULT_STATE, /* absent is no error */
	STORE_PUT_HANDOVER,       /* STORE_CONFLICT unless the term was expected */
	STORE_FORGET_HANDOVER,    /* absent is no error */
	STORE_PUT_TEMPORARY_KEY,  /* new or replaced */
	STORE_PUT_ANSWER,         /* STORE_CONFLICT when the id is there */
	STORE_TRIM_ANSWERS,       /* erases the answers given before a time */
	STORE_PUT_SUBSCRIPTION,   /* new or replaced, one per (user, gateway) */
	STORE_ADD_SECRET,         /* STORE_CONFLICT when it is there */
};

struct store_change {
	struct store_change *next;
	enum store_change_kind kind;
	struct name user;        /* account, eukey, held, subscription */
	struct name entity;      /* element, eukey, held, release, temporary key, subscription */
	uint8_t salt[SALT_SIZE]; /* account */
	uint32_t iterations;     /* account */
	enum entity_mode mode;   /* element */
	struct name owner;       /* element */
	uint32_t index;          /* element: the new last index; eukey, held: the key's */
	uint32_t expected;       /* element, revoke: last_index as it was loaded; 0 also: no such
				    element. vault state: the sequence. hand-over: the term; 0:
				    there was none */
	uint32_t expected_epoch; /* element, revoke: as it was loaded */
	uint32_t epoch;          /* revoke, resets */
	enum reset_state reset;  /* revoke */
	bool blocked;            /* block account */
	bool known;              /* vault state: one was loaded */
	struct store_vault_state vault;
	struct store_handover handover;
	struct secret *secret; /* account: PH; eukey; temporary key; secret; reset: both MACs */
	bool passphrase;       /* temporary key */
	struct message_id id;  /* answer, reset */
	uint8_t request_sha256[32]; /* answer */
	int http;                   /* answer */
	int64_t time;               /* answer, revoke, vault state: when; trim: before when. Seconds
				       since 1970 */
	char label[32];             /* secret: its name */
	uint8_t *data;              /* answer: body; subscription: text; owned */
	size_t data_size;
};

/* Changes in the order in which they are applied. Starts all zero. */
struct store_batch {
	struct store_change *first, **end;
	int error; /* -ENOMEM once an addition failed; store_commit() then returns it */
};
void store_batch_clear(struct store_batch *b); /* drops secrets, frees; the batch is empty again */

/* Each copies its arguments and takes a reference of its secret. Failures are remembered in the
 * batch. */
void store_batch_account(struct store_batch *b, const struct store_account *a);
void store_batch_block(struct store_batch *b, struct bytes user, bool blocked);
/* Of the revocation only the epoch counts: it is the one that was loaded. */
void store_batch_element(struct store_batch *b, const struct store_element *e, uint32_t expected);
void store_batch_eukey(struct store_batch *b, struct bytes user, struct bytes entity,
		       uint32_t index, struct secret *key);
void store_batch_held(struct store_batch *b, struct bytes user, struct bytes entity,
		      uint32_t index);
void store_batch_release(struct store_batch *b, struct bytes entity);
/* e as it was loaded; epoch, key_index and reset as they will be. See server/revoke.h. */
void store_batch_revoke(struct store_batch *b, const struct store_element *e, uint32_t epoch,
			uint32_t key_index, enum reset_state reset, int64_t now);
void store_batch_reset(struct store_batch *b, struct bytes user, struct bytes entity,
		       const struct store_resets *of, const struct store_reset *reset);
void store_batch_resets_told(struct store_batch *b, struct bytes user, struct bytes entity,
			     uint32_t epoch);
void store_batch_reset_done(struct store_batch *b, struct bytes entity, uint32_t epoch);
/* before: as it was loaded, or NULL where there was none. */
void store_batch_vault_state(struct store_batch *b, struct bytes gateway,
			     const struct store_vault_state *state,
			     const struct store_vault_state *before, int64_t now);
void store_batch_forget_vault_state(struct store_batch *b, struct bytes gateway,
				    const uint8_t vault_id[16]);
/* expected: the term as it was loaded, 0 where there was none. */
void store_batch_handover(struct store_batch *b, struct bytes gateway,
			  const struct store_handover *h, uint32_t expected);
void store_batch_forget_handover(struct store_batch *b, struct bytes gateway);
void store_batch_temporary_key(struct store_batch *b, struct bytes entity, struct secret *key,
			       bool passphrase);
void store_batch_answer(struct store_batch *b, const struct message_id *id,
			const uint8_t request_sha256[32], int http, struct bytes body,
			int64_t time);
void store_batch_trim_answers(struct store_batch *b, int64_t before);
void store_batch_subscription(struct store_batch *b, struct bytes user, struct bytes gateway,
			      struct bytes text);
void store_batch_secret(struct store_batch *b, const char *name, struct secret *secret);

/* Applies b, which stays the caller's. 0: durable. STORE_CONFLICT or a negative errno: no effect.
 */
int store_commit(struct store *s, const struct store_batch *b);

/*
 * Whether the store still answers, at little cost; for a watchdog. 0, or a negative errno: -ESTALE
 * when the file that is open is no longer the one at its path.
 */
int store_alive(struct store *s);

/* NULL is allowed. */
void store_close(struct store *s);

/*
 * The SQLite backend. The key file holds 64 hex digits and is 0600 or stricter; with create, store
 * and key file are made when neither is there, never one for the other: STORE_ABSENT when a store
 * is missing, or empty, while its key file is there. Every secret is sealed under that key, bound
 * to its record. A store of an older schema is brought to this program's in one transaction. 0, a
 * positive outcome or a negative errno, and one sentence in why.
 */
struct store_sqlite_options {
	const char *path;
	const char *key_file;
	bool create;
};
/* Whether its key could be had, with nothing made; contract of store_open_sqlite(). */
int store_check_sqlite(const struct store_sqlite_options *options, char *why, size_t why_size);
int store_open_sqlite(const struct store_sqlite_options *options, struct store **out, char *why,
		      size_t why_size);

/* What a backend implements, each with the contract of the function of that name. */
struct store_ops {
	int (*account)(struct store *s, struct bytes user, struct store_account *out);
	int (*element)(struct store *s, struct bytes entity, struct store_element *out);
	int (*eukey)(struct store *s, struct bytes user, struct bytes entity, uint32_t index,
		     struct secret **out);
	int (*keys)(struct store *s, struct bytes user, struct bytes entity,
		    struct store_key out[STORE_KEYS_MAX]);
	int (*temporary_key)(struct store *s, struct bytes entity, struct store_temporary_key *out);
	int (*resets)(struct store *s, struct bytes user, struct bytes entity,
		      struct store_resets *out);
	int (*vault_state)(struct store *s, struct bytes gateway, const uint8_t vault_id[16],
			   struct store_vault_state *out);
	int (*handover)(struct store *s, struct bytes gateway, struct store_handover *out);
	int (*answer)(struct store *s, const struct message_id *id, struct store_answer *out);
	int (*secret)(struct store *s, const char *name, struct secret **out);
	int (*each_account)(struct store *s, store_account_fn *each, void *arg);
	int (*each_element)(struct store *s, store_element_fn *each, void *arg);
	int (*each_key)(struct store *s, store_key_fn *each, void *arg);
	int (*each_handover)(struct store *s, store_handover_fn *each, void *arg);
	int (*each_vault)(struct store *s, store_vault_fn *each, void *arg);
	int (*commit)(struct store *s, const struct store_batch *b);
	int (*alive)(struct store *s);
	void (*close)(struct store *s);
};

/* First member of every backend's own struct. */
struct store {
	const struct store_ops *ops;
};

#endif
