#ifndef PNGW_GATEWAY_PROCEDURE_H
#define PNGW_GATEWAY_PROCEDURE_H

/*
 * A procedure of the PN GW: one of the seed's figures for one user and at most one PNE. It does no
 * I/O: an event and what the PN GW knows at that moment go in, actions come out. Each state has a
 * written answer to each event (the tables in figure*.c), and each procedure ends in exactly one
 * verdict.
 */

#include "gateway/profile.h"
#include "gateway/records.h"
#include "pan/bearer.h"
#include "pan/frame.h"
#include "protocol/message.h"
#include "protocol/p1.h"
#include "protocol/secret.h"
#include "protocol/verdict.h"
#include "storage/vault.h"

enum event_kind {
	EVENT_START,
	EVENT_WAN_UP,      /* the connection to the server is there */
	EVENT_ANSWER,      /* the server's message to the request of this procedure */
	EVENT_WAN_FAILED,  /* there will be no answer: event.failure */
	EVENT_HASHED,      /* PBKDF2 is done: event.ph, NULL when it failed */
	EVENT_STORED,      /* the batch is durable, or not: event.result */
	EVENT_SUBSCRIBED,  /* Figure 6: the subscription ended: event.verdict, event.subscription */
	EVENT_MESSAGE,     /* a message of the PNE to the PN GW itself */
	EVENT_MALFORMED,   /* the PNE sent something that breaks the binding */
	EVENT_RELAYED,     /* the PNE's request is on its way: event.in_response_to */
	EVENT_RELAY_ENDED, /* what became of it: event.verdict */
	EVENT_RECEIPT,
	EVENT_LINK_DOWN, /* event.queue_full */
	EVENT_TIMEOUT,
	EVENT_CANCEL, /* event.revoked */
	EVENT_KINDS
};

/* ANSWER: what came is not the message of a server that has understood. */
enum wan_failure { WAN_FAILURE_DOWN, WAN_FAILURE_LOST, WAN_FAILURE_SILENT, WAN_FAILURE_ANSWER };

/* The same in full. */
struct wan_end {
	enum wan_failure failure;
	enum verdict_id verdict; /* what it amounts to; DONE: only failure is known */
	const char *why;         /* particulars, or NULL */
};

/* Which steps of Figure 6 are done. */
enum figure6_part {
	FIGURE6_ALL,
	FIGURE6_SUBSCRIBE, /* 0 to 3 */
	FIGURE6_INSTALL,   /* 0 to 6 */
	FIGURE6_TRIGGER,   /* 7 to 14, for a user who subscribed from this PN GW before */
};

/* Times are in milliseconds of any monotonic clock. */
struct procedure_limits {
	unsigned wan_wait_ms; /* how long a procedure waits for the WAN to come up */
	unsigned request_ms;  /* how long the server may take */
	unsigned pne_ms;      /* how long a PNE may take to answer */
	uint32_t iterations_floor;
	bool card; /* a SIM/USIM/ISIM secures this PN GW: no Figure 8 (comment C280) */
	enum pan_security secure_level; /* from which on a PAN counts as secure (comment C255) */
};

/* What the PN GW knows when an event happens. Borrowed for the call. */
struct surroundings {
	uint64_t now;
	const struct procedure_limits *limits;
	const struct name *self;
	const struct name *server;
	const char *path; /* URL path: the digest's uri */
	bool wan_up;
	bool wan_mutual;
	bool wan_tls_refused;
	enum verdict_id wan_down; /* what a WAN that is down amounts to; DONE: not known */
	const char *wan_why;
	struct secret *exporter; /* NULL unless mutually authenticated */
	uint64_t generation;
	const struct stored_key *own_key; /* index 0: the PN GW has none */
	const struct name *owner;         /* of the PN GW, "" when not known */
	uint64_t wall;                    /* seconds since 1970, may jump */
	uint64_t service;                 /* seconds of the service clock */
	/* About the procedure's PNE. */
	const struct name *pne_owner;
	bool link_up;
	enum pan_security level;
	struct secret *link_secret;
	struct bytes link_binding;
	/* About it in Figure 7, from the vault (the verifier also for Figure 6 in parts); index 0
	 * or NULL where there is none. */
	int pool_error; /* a negative errno: what follows could not be read */
	const struct pool *pool;
	const struct stored_key *next;   /* pool_next() */
	const struct stored_key *repeat; /* pool_repeat() */
	const struct stored_key *newest; /* of the highest index */
	struct secret *temporary_key;
	const struct verifier *verifier; /* of the procedure's user */
};

struct procedure;

struct event {
	enum event_kind kind;
	const struct surroundings *s;
	const struct message *message;
	struct bytes xml; /* the message as it came, for the record; or BYTES_NONE */
	const struct receipt *receipt;
	enum wan_failure failure;
	enum verdict_id failed; /* EVENT_WAN_FAILED, EVENT_MALFORMED: what it amounts to; DONE: not
				   known */
	const char *why;        /* its particulars, or NULL */
	struct secret *ph;
	int result;
	const struct verdict *verdict;
	const struct procedure *subscription;
	struct message_id in_response_to;
	bool queue_full;
	bool revoked; /* EVENT_CANCEL: because the device was revoked */
};

enum action_kind {
	ACTION_POST,    /* to the server; its end comes as EVENT_ANSWER or EVENT_WAN_FAILED */
	ACTION_SEND,    /* a message to a PNE */
	ACTION_RECEIPT, /* a receipt to a PNE */
	ACTION_DERIVE,  /* PBKDF2; EVENT_HASHED follows */
	ACTION_STORE,   /* a batch about entity to the vault; EVENT_STORED follows */
	ACTION_STEP,    /* a step of a figure was done */
	ACTION_VERDICT, /* the procedure has ended; always the last action */
};

struct action {
	enum action_kind kind;
	uint64_t token; /* whose it is, where that is not a procedure */
	char *xml;      /* owned by the action */
	size_t size;
	uint64_t pin;
	unsigned deadline_ms;
	struct name entity;
	struct name user;
	struct receipt receipt;
	struct secret *password; /* a reference of the action */
	uint8_t salt[SALT_SIZE];
	uint32_t iterations;
	struct vault_batch *batch;
	enum figure figure;
	unsigned step;
	struct message_id in_response_to;
	struct verdict verdict;
};

#define ACTIONS_MAX 12
struct actions {
	struct action list[ACTIONS_MAX];
	size_t count;
};

void gateway_actions_begin(struct actions *a);
/* Frees what the actions still own: the carrier takes a pointer by setting it to NULL. */
void gateway_actions_end(struct actions *a);
struct action *gateway_actions_add(struct actions *a, enum action_kind kind);

typedef void cell_fn(struct procedure *p, const struct event *e, struct actions *out);

struct procedure_type {
	const char *name;
	enum figure figure;
	unsigned states;
	cell_fn *const (*table)[EVENT_KINDS];
	cell_fn *begin; /* what is done first once the WAN is up */
	const char *const *state_names;
};

/* The first state of every type that talks to the server: the WAN is not up yet. */
#define STATE_WAN   0
/* Not in the tables: nothing is given to a procedure that has ended. */
#define STATE_ENDED 255

/* The core's; figure*.c fill it in. Freed by gateway_procedure_free(). */
struct procedure {
	const struct procedure_type *type;
	struct procedure *next;
	uint64_t id;
	uint64_t run;    /* whose command started it */
	uint64_t leader; /* Figure 6: id of the subscription it waits for */
	enum figure6_part part;
	unsigned state;
	unsigned step; /* of the figure, for the verdict */
	uint64_t due;  /* EVENT_TIMEOUT at that time; 0: no timer */
	struct name user;
	struct name entity; /* "" where the procedure is about no device */
	bool silent;        /* its verdict is told to others only as EVENT_SUBSCRIBED */
	bool background; /* nobody asked for it: it is in nobody's way, its verdict only logged */
	void *request;   /* the core's: what is on its way to the server */
	const struct profile
		*profile; /* whoever listens to the profile, or gives instead of it; NULL */
	/* The recorder's: what it has noted last, so that it need not be noted again. */
	struct {
		bool begun;
		uint64_t surroundings, pool;
	} noted;

	struct secret *password;
	struct secret *ph;
	uint8_t salt[SALT_SIZE];
	uint32_t iterations;
	struct message_id awaited; /* id of what an answer is awaited to */

	/* The key shared with the server that the request was made with. */
	struct secret *gateway_secret;
	enum gateway_key_kind gateway_kind;
	uint32_t gateway_index;
	uint64_t pin;
	bool made_anew; /* after a lost connection; it is done once */

	/* Digest. */
	char realm[65];
	char nonce[129];
	char client_nonce[33];
	bool stale_once;

	/* Figure 7. */
	enum key_set_kind set_kind;
	uint32_t set_count;
	struct secret *temporary_key;
	bool from_pool; /* without the server */
	bool resumed;   /* only sends again what was sent before a restart or a lost link */
	uint8_t rand[RAND_SIZE];

	/* The key that the procedure is about. */
	struct secret *key;
	uint32_t key_index;
	struct delivery delivery;
};

struct procedure *gateway_procedure_new(const struct procedure_type *type, const struct name *user,
					const struct name *entity);
void gateway_procedure_free(struct procedure *p);

/* Gives e to p. out has been begun; afterwards p->state == STATE_ENDED if p has ended. */
void gateway_procedure_handle(struct procedure *p, const struct event *e, struct actions *out);

/* The types. */
extern const struct procedure_type gateway_figure5_registration;
extern const struct procedure_type gateway_figure6_subscription;
extern const struct procedure_type gateway_figure6_assignment;
/* Whether p is a Figure 6 that waits for the end of the request that answered the message `to`. */
bool gateway_figure6_is_relayed(const struct procedure *p, const struct message_id *to);
extern const struct procedure_type gateway_figure7_assignment;
extern const struct procedure_type gateway_renewal; /* Figure 7 from step 6 on, no user */
extern const struct procedure_type gateway_refill;
extern const struct procedure_type gateway_figure8_assignment;

/* For figure*.c. */
void gateway_to(struct procedure *p, unsigned state);
void gateway_timer(struct procedure *p, const struct event *e, unsigned ms);
void gateway_step(struct procedure *p, struct actions *out, unsigned step);
void gateway_done(struct procedure *p, struct actions *out, const char *detail);
void gateway_fail(struct procedure *p, struct actions *out, enum verdict_id id, const char *detail);
/* What a failure amounts to, with what was known of the WAN then. */
enum verdict_id gateway_wan_verdict(const struct wan_end *end);
/* The same for an HTTP answer that is not the server's; 0: it was broken off. */
enum verdict_id gateway_http_verdict(int status);
/* The verdict of a negative errno of the vault. */
enum verdict_id gateway_storage_verdict(int error);
/* Ends p with the verdict of a negative errno of the profile, the codec or the vault. */
void gateway_error(struct procedure *p, struct actions *out, int error);

/* Encode m and add the action; false when that failed, and p has then ended. */
bool gateway_post(struct procedure *p, const struct event *e, struct actions *out,
		  const struct message *m);
bool gateway_send(struct procedure *p, const struct event *e, struct actions *out,
		  const struct message *m);
bool gateway_store(struct procedure *p, struct actions *out, struct vault_batch *b);
bool gateway_derive(struct procedure *p, struct actions *out);
/* A fresh id in p->awaited. */
bool gateway_new_id(struct procedure *p, struct actions *out);

/*
 * Chooses the key shared with the server: the PN GW's EUKey, else the exporter of this connection,
 * to which the request is then pinned. False when there is none, and p has then ended.
 */
bool gateway_shared_key(struct procedure *p, const struct event *e, struct actions *out);

/* What an encrypted user-password in a message points to: lives until the message is encoded. */
struct sealed_password {
	uint8_t rand[RAND_SIZE];
	uint8_t sealed[P1_SEALED_PASSWORD_SIZE];
};

/*
 * Seals password for p's user under secret and binding (p1_seal_password) into buffer, and makes
 * field point there. False when that failed, and p has then ended.
 */
bool gateway_seal_password(struct procedure *p, struct actions *out, const struct secret *secret,
			   struct bytes binding, const struct secret *password,
			   struct sealed_password *buffer, struct m_encrypted_password *field);

/*
 * Whether the receipt is about what p awaits. One of no message at all says that what was sent last
 * could not be read.
 */
bool gateway_receipt_is_for(const struct procedure *p, const struct receipt *r);

/* Whether m answers what p awaits, comes from the server and has that kind. */
bool gateway_answers(const struct procedure *p, const struct event *e, enum message_kind kind);

/* Takes salt and iterations; false when the floor is not met, and p has then ended. */
bool gateway_parameters(struct procedure *p, const struct event *e, struct actions *out,
			const struct m_password_parameters *parameters);

/* Cells that several tables share. */
cell_fn cell_begin_with_wan; /* start: begin, or wait for the WAN */
cell_fn cell_begin;          /* the WAN came up */
cell_fn cell_wan_absent;     /* it did not come up in time */
cell_fn cell_wan_failed;     /* the request failed; made anew once when it was pinned */
cell_fn cell_pan_lost;
cell_fn cell_pne_silent;
cell_fn cell_pne_malformed;
cell_fn cell_cancelled;
cell_fn ignore_started;    /* a procedure is started once */
cell_fn ignore_wan;        /* it does not matter here whether the WAN is up */
cell_fn ignore_no_request; /* no request of this procedure is under way */
cell_fn ignore_no_hash;    /* no PBKDF2 is under way */
cell_fn ignore_no_batch;   /* no batch is under way */
cell_fn ignore_no_leader;  /* this procedure waits for no subscription, or no more */
cell_fn ignore_unasked;    /* the PNE was not asked, or its answer came late */
cell_fn ignore_relay;      /* the relay serves the PNE by itself; not this procedure's concern */
cell_fn ignore_link;       /* the link is not needed in this state */
cell_fn ignore_timer;      /* a timer that was set for an earlier state */

#endif
