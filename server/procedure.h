#ifndef PNGW_SERVER_PROCEDURE_H
#define PNGW_SERVER_PROCEDURE_H

/*
 * The server's part of each figure: an event in, actions out. No I/O, no clock of its own. Each
 * procedure is a table of state and event in which every cell exists.
 *
 * A life is: REQUEST -> LOAD; LOADED -> (DERIVE; DERIVED ->) STORE; STORED -> STEPs, ANSWER,
 * FINISH. Nothing is answered before its effect is durable. A conflict with another writer begins
 * again at LOAD, a few times.
 */

#include "protocol/digest.h"
#include "protocol/message.h"
#include "protocol/p1.h"
#include "protocol/verdict.h"
#include "server/store.h"

#define SERVER_KEY_SET_LIMIT     64
#define SERVER_DELIVERIES_LIMIT  32
/* EUKeys of one PNE that may be waiting for their proof when its set is filled up. */
#define SERVER_OUTSTANDING_LIMIT (8U * SERVER_KEY_SET_LIMIT)

/* What all procedures share; owned by the core. */
struct server_environment {
	struct name self;            /* the server's Entity ID; also the digest realm */
	char uri[129];               /* the URL path, as it stands in digest credentials */
	uint32_t iterations;         /* of new accounts, and of challenges for unknown users */
	unsigned key_set_max;        /* at most SERVER_KEY_SET_LIMIT */
	struct secret *unknown_user; /* makes the salt of unknown users */
	struct digest_nonces *nonces;
};

/* What a PN GW has told of itself on a connection, and the server has taken: all zero at first. */
struct server_session {
	bool told;
	uint32_t term; /* 0: it was never handed over */
	uint8_t holder[HOLDER_SIZE];
};

/* The connection that carried the request. */
struct server_peer {
	bool mutual;
	struct name entity;             /* "" unless authenticated */
	struct secret *exporter;        /* NULL unless mutual */
	struct server_session *session; /* borrowed, as long as the request; NULL: there is none */
};

/* Credentials of an Authorization header. */
struct server_header_credentials {
	bool there;
	struct digest_input in;
	uint8_t response[32];
};

/* What LOAD asks for. Names that are empty are not asked for. */
struct server_wants {
	struct name user;           /* account */
	struct name gateway;        /* element, and its EUKey of gateway_key_index (of its owner) */
	uint32_t gateway_key_index; /* 0: none */
	struct name entity;         /* element, and user's EUKey of held_index */
	uint32_t held_index;        /* 0: none */
	uint32_t refill_index;      /* user's EUKey that proves a refill; 0: none */
	bool temporary_key;         /* of entity */
	const struct m_delivery *deliveries; /* the EUKey each is about */
	size_t deliveries_count;
	struct bytes vault_id; /* the gateway's vault state and hand-over; none: not asked for */
	const struct m_element_state *devices;
	size_t devices_count;
};

/* A device that a PN GW told of, and what became of that. */
struct server_device {
	bool there;
	struct store_element element;
	struct store_key keys[STORE_KEYS_MAX]; /* of its owner */
	struct store_resets resets; /* made of keys of the PN GW's user; count 0: there are none */
	bool news;                  /* the PN GW learns something */
	bool refused;               /* it is not this PN GW's to revoke */
	bool damaged;               /* some of what the store has of it does not open */
	bool revoked, confirmed, given;
};

/* What was found; an absent thing is marked so. Owned by whoever made it: server_facts_clear(). */
struct server_facts {
	bool has_account, has_gateway, has_entity;
	struct store_account account;
	struct store_element gateway;
	struct store_element entity;
	struct secret *gateway_key;   /* NULL: absent */
	struct secret *held_key;      /* NULL: absent */
	struct secret *refill_key;    /* NULL: absent */
	uint32_t oldest_index;        /* of the EUKeys that are kept, for a refill; 0: none */
	struct secret *temporary_key; /* NULL: absent */
	struct secret *delivered[SERVER_DELIVERIES_LIMIT];
	struct name damaged; /* whose EUKey was passed over, as it does not open; "": nobody's */
	bool has_vault;
	struct store_vault_state vault;
	bool has_handover;
	struct store_handover handover;
	struct server_device *devices; /* in the order of wants; owned */
	size_t devices_count;
};
void server_facts_clear(struct server_facts *f);

/* Whose the PN GW is, or was before it was revoked; NULL: it never had an owner. */
const struct name *server_gateway_user(const struct server_facts *f);

enum server_event_kind {
	EVENT_REQUEST, /* begin */
	EVENT_LOADED,  /* facts */
	EVENT_DERIVED, /* ph, or NULL when that failed */
	EVENT_STORED,
	EVENT_STORE_FAILED, /* conflict: another writer was first */
	EVENT_KINDS
};

struct server_event {
	enum server_event_kind kind;
	uint64_t now_ms;            /* monotonic */
	int64_t time;               /* seconds since 1970 */
	struct server_facts *facts; /* LOADED: taken over, left empty. NULL: loading failed */
	struct secret *ph;          /* DERIVED: borrowed */
	bool conflict;              /* STORE_FAILED */
};

enum server_action_kind {
	ACTION_LOAD,   /* wants; then EVENT_LOADED */
	ACTION_DERIVE, /* password, salt, iterations; then EVENT_DERIVED */
	ACTION_STORE,  /* p->batch and p->response as its answer; then EVENT_STORED or STORE_FAILED
			*/
	ACTION_ANSWER, /* p->response, p->challenge_header */
	ACTION_STEP,   /* tell that a step of the figure was done */
	ACTION_FINISH, /* verdict; nothing follows */
};

struct server_action {
	enum server_action_kind kind;
	enum figure figure;
	unsigned step;
};

#define SERVER_ACTIONS_MAX 8
struct server_actions {
	struct server_action list[SERVER_ACTIONS_MAX];
	size_t count;
};

enum server_state {
	STATE_IDLE,
	STATE_LOADING,
	STATE_DERIVING,
	STATE_STORING,
	STATE_DONE,
	SERVER_STATES
};
const char *server_state_name(enum server_state s);

struct server_procedure;
typedef void server_handler(struct server_procedure *p, const struct server_event *e,
			    struct server_actions *out);
typedef server_handler *const server_table[SERVER_STATES][EVENT_KINDS];

/* Everything a request makes on its way. What the response points to lives here too. */
struct server_procedure {
	const server_table *table;
	enum server_state state;
	enum figure figure;
	unsigned attempts;
	const struct server_environment *environment;
	const struct message *request;                  /* borrowed */
	const struct server_peer *peer;                 /* borrowed */
	const struct server_header_credentials *header; /* borrowed */
	struct server_wants wants;
	struct server_facts facts;
	struct secret *password; /* registration: what DERIVE is about */
	uint8_t salt[SALT_SIZE];
	uint32_t iterations;
	bool takes_over; /* it is the first state report of a box that the PN GW was handed over to
			  */
	struct store_batch batch;
	struct message response;
	struct message_id response_id, request_id;
	struct name source; /* the request's */
	bool authenticated; /* the digest was found right: a nonce counts once, also when begun
			       again */
	bool challenged;    /* the answer is the challenge to a request without credentials */
	bool record;        /* the answer is kept: a repeated request gets the same bytes */
	struct verdict verdict;
	unsigned steps[4]; /* done once STORED */
	size_t steps_count;
	char nonce[129];
	char challenge_header[512]; /* "" unless the HTTP answer is a challenge */
	uint8_t rand_server[RAND_SIZE];
	uint8_t wrapped[SERVER_KEY_SET_LIMIT][P1_WRAPPED_KEY_SIZE];
	uint8_t wrapped_temporary_key[P1_WRAPPED_TEMPORARY_KEY_MAX];
};

/*
 * The dispatcher. Checks direction, target, who sent it and what the message needs before any
 * figure sees it. 0: p is ready for EVENT_REQUEST. Otherwise a status other than OK: p->response is
 * the answer, if it has one (p->response.kind is MESSAGE_KINDS where the message is no request).
 * Everything passed in is borrowed until server_procedure_clear().
 */
enum status server_procedure_begin(struct server_procedure *p,
				   const struct server_environment *environment,
				   const struct message *request, const struct server_peer *peer,
				   const struct server_header_credentials *header);

/* One event. out is emptied first. */
void server_procedure_event(struct server_procedure *p, const struct server_event *e,
			    struct server_actions *out);
void server_procedure_clear(struct server_procedure *p);

/* Whether a request is the PN GW's own, and not one that it relays. */
bool server_from_gateway(const struct message *m);

/*
 * Whether p is a user-authenticated request without credentials of its own: it is answered with a
 * challenge, or by the HTTP header, before anybody looks for an earlier answer.
 */
bool server_procedure_bare(const struct server_procedure *p);

/* Digest verification, whichever way the credentials came. NULL account: unknown user, same time.
 */
enum server_digest { DIGEST_NONE_GIVEN, DIGEST_RIGHT, DIGEST_WRONG, DIGEST_OLD };
enum server_digest server_digest_check(struct server_procedure *p,
				       const struct store_account *account, uint64_t now_ms);

/* The tables, one file a figure. */
extern const server_table figure5_registration, figure5_assignment;
extern const server_table figure6_subscription, figure6_assignment;
extern const server_table figure7_assignment;
extern const server_table figure8_assignment;
extern const server_table report_delivery;
extern const server_table state_report;

/* What the figures share: cells of their tables. */
server_handler procedure_load;             /* IDLE: ask for what begin() put into wants */
server_handler procedure_stored;           /* STORING: steps, answer, verdict */
server_handler procedure_store_failed;     /* STORING: again on conflict, StorageFailed otherwise */
server_handler procedure_ignore_early;     /* this was not asked for yet */
server_handler procedure_ignore_repeat;    /* the request is under way already */
server_handler procedure_ignore_late;      /* it came already, or the procedure has ended */
server_handler procedure_ignore_no_derive; /* this procedure derives nothing: never in that state */

/* What figures end with. */
void procedure_store(struct server_procedure *p, struct server_actions *out);
void procedure_refuse(struct server_procedure *p, enum status s, unsigned step,
		      struct server_actions *out);
/* 401 with a fresh challenge; in_message: the message carries it too. */
void procedure_challenge(struct server_procedure *p, bool stale, bool in_message, unsigned step,
			 uint64_t now_ms, struct server_actions *out);
void procedure_set_status(struct server_procedure *p, enum status s);
void procedure_push(struct server_actions *out, enum server_action_kind kind);
void procedure_step_done(struct server_procedure *p, unsigned step);

/*
 * LOADED: takes the event's facts over. False when loading had failed: it is answered already.
 */
bool procedure_take_facts(struct server_procedure *p, const struct server_event *e, unsigned step,
			  struct server_actions *out);
/* Digest: true when the password is right; false: a challenge is on its way. */
bool procedure_authenticate(struct server_procedure *p, unsigned step, uint64_t now_ms,
			    struct server_actions *out);

/*
 * Registration of a User ID: figures 5 and 6 differ in what else they check and store. Opens the
 * password and asks for its hash.
 */
void procedure_register(struct server_procedure *p, const struct m_gateway_key *gateway_key,
			const struct m_encrypted_password *sealed, unsigned step,
			struct server_actions *out);
/* The account as far as anybody may log in with it; NULL: unknown, or blocked by the operator. */
const struct store_account *procedure_account(const struct server_procedure *p);
/* After DERIVED: true when the account is new or its password the same; else it has answered. */
bool procedure_registered(struct server_procedure *p, struct secret *ph, unsigned step,
			  struct server_actions *out);

/* The answer to it: parameters are where the response has them. */
void procedure_answer_registration(struct server_procedure *p,
				   struct m_password_parameters *parameters, unsigned step,
				   struct server_actions *out);

/* The key the PN GW and this server share; NULL: there is none of that kind. Borrowed. */
struct secret *procedure_gateway_key(struct server_procedure *p,
				     const struct m_gateway_key *gateway_key);

/* Whether the element is nobody's or that user's. */
bool procedure_may_own(bool there, const struct store_element *element, struct bytes user);

/*
 * One EUKey for the request's entity: random, next index, added to the batch with its element. 0 or
 * a negative errno. *index and *key (borrowed from the batch) say which.
 */
int procedure_new_key(struct server_procedure *p, uint32_t *index, struct secret **key);
/* HeldKey of the request: if its proof is right, the batch forgets the earlier keys. */
void procedure_held(struct server_procedure *p);
/* Assignment of Figures 5 and 8 after the password was found right: key wrapped under PH. */
void procedure_assign_by_digest(struct server_procedure *p, unsigned step,
				struct server_actions *out);

#endif
