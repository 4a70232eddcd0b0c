#ifndef PNGW_PNE_PROCEDURE_H
#define PNGW_PNE_PROCEDURE_H

/*
 * The procedures of a PNE: Figures 5, 6 and 7 and the reset as state machines without I/O. An event
 * goes in, actions come out; pne/core.h carries them out. Each figure has a table state x event in
 * which every cell holds a handler or the reason why there is none.
 *
 * The figures run side by side, but only one of them derives or stores at a time: while
 * pne_busy() is true the owner holds back what arrives on the link. Everything that answers
 * somebody leaves after its effect is durable.
 */

#include "pan/frame.h"
#include "protocol/message.h"
#include "protocol/secret.h"
#include "protocol/verdict.h"

/* Path of the server's one URL, which the digest covers. */
#define PNE_DIGEST_URI "/cpns"
/* Pause before a request that came back with a retryable status is sent again. */
#define PNE_RETRY_MS   1000U

/* The installed User ID and hash of user-password. ph is NULL where none is. */
struct pne_user {
	struct name id;
	struct secret *ph;
	uint8_t salt[SALT_SIZE];
	uint32_t iterations;
};

/*
 * The held EUKey. After a factory reset key is NULL and index stays: keys up to it are refused, so
 * that a recorded notification cannot bring back a key of before.
 */
struct pne_key {
	struct name user;
	uint32_t index;
	struct secret *key;
};

/* A request that waits for its answer: sent again, same bytes, until the deadline. */
struct pne_exchange {
	struct message_id id;
	char *xml; /* NULL where none is under way */
	size_t size;
	uint64_t deadline_ms;
	enum status last; /* of the last retryable receipt, STATUS_OK where none came */
};

/* What was answered to a message: a receipt, or a message where xml is not NULL. */
struct pne_answer {
	struct message_id to;
	uint8_t digest[32]; /* SHA-256 of the message that was answered */
	struct receipt receipt;
	char *xml;
	size_t size;
};

/* One atomic change of what the PNE remembers. */
struct pne_effect {
	bool put_user, erase_user, put_key, put_pending, erase_pending, put_answer;
	struct pne_user user;
	struct pne_key key;
	struct pne_answer answer;
};

enum pne_figure5_state {
	PNE5_IDLE,
	PNE5_LINK,      /* the user has entered the password, the link is not up */
	PNE5_CHALLENGE, /* request without credentials sent */
	PNE5_DERIVING,
	PNE5_ANSWER, /* request with digest sent */
	PNE5_STORING,
	PNE5_STATES
};

struct pne_figure5 {
	enum pne_figure5_state state;
	struct name user;
	struct secret *password, *ph;
	uint8_t salt[SALT_SIZE];
	uint32_t iterations;
	char realm[65], nonce[129], client_nonce[33];
	bool stale_seen;
	struct pne_exchange exchange;
};

enum pne_figure6_state {
	PNE6_IDLE,
	PNE6_COMPARING, /* is it the password that is installed already? */
	PNE6_DERIVING,
	PNE6_STORING_USER,
	PNE6_STORING_REQUEST,
	PNE6_ANSWER, /* request with RAND_PNE sent */
	PNE6_STORING_KEY,
	PNE6_STATES
};

struct pne_figure6 {
	enum pne_figure6_state state;
	/* the installation under way */
	struct message_id installation;
	uint8_t digest[32];
	struct name gateway;
	struct pne_user user;
	struct secret *password;
	/* the request under way */
	struct message_id trigger;
	struct name request_user;
	uint8_t rand_pne[RAND_SIZE];
	struct pne_exchange exchange;
};

enum pne_figure7_state { PNE7_IDLE, PNE7_STORING, PNE7_STATES };

struct pne_figure7 {
	enum pne_figure7_state state;
};

enum pne_reset_state { PNE_RESET_IDLE, PNE_RESET_STORING, PNE_RESET_STATES };

struct pne_reset {
	enum pne_reset_state state;
	struct name user; /* of the key that goes */
};

enum pne_event_kind {
	PNE_EVENT_ENTERED,      /* user, password: typed at the UI */
	PNE_EVENT_INSTALLATION, /* message, digest */
	PNE_EVENT_TRIGGER,      /* message, digest */
	PNE_EVENT_RESPONSE,     /* message, digest */
	PNE_EVENT_NOTIFICATION, /* message, digest */
	PNE_EVENT_RESET,        /* message, digest */
	PNE_EVENT_RECEIPT,      /* receipt */
	PNE_EVENT_DERIVED,      /* result, ph */
	PNE_EVENT_STORED,       /* result */
	PNE_EVENT_LINK_UP,
	PNE_EVENT_LINK_DOWN,
	PNE_EVENT_TIMER, /* figure */
	PNE_EVENTS
};

/* Everything is borrowed for the call. */
struct pne_event {
	enum pne_event_kind kind;
	uint64_t now_ms;
	const struct message *message;
	uint8_t digest[32]; /* SHA-256 of the message as it came */
	const struct receipt *receipt;
	int result;
	struct secret *ph;
	const struct name *user;
	struct secret *password;
	enum figure figure;
};

enum pne_action_kind {
	PNE_DO_SEND,    /* xml: a message on the link; lost when the link is down */
	PNE_DO_RECEIPT, /* receipt: likewise */
	PNE_DO_REFUSE,  /* receipt, digest: likewise, and remembered as the answer; not answered */
	PNE_DO_DERIVE,  /* password, salt, iterations; answered by PNE_EVENT_DERIVED */
	PNE_DO_STORE,   /* the procedures' effect; answered by PNE_EVENT_STORED */
	PNE_DO_FORGET,  /* erase the request under way from the vault; not answered */
	PNE_DO_TIMER,   /* figure, ms (0 disarms) */
	PNE_DO_STEP,    /* figure, step */
	PNE_DO_VERDICT, /* verdict */
	PNE_DO_INFO,    /* text */
};

/* xml and password are the action's own. */
struct pne_action {
	enum pne_action_kind kind;
	enum figure figure;
	unsigned step;
	char *xml;
	size_t size;
	struct receipt receipt;
	uint8_t digest[32];
	struct secret *password;
	uint8_t salt[SALT_SIZE];
	uint32_t iterations;
	uint64_t ms;
	struct verdict verdict;
	const char *text;
	struct name user;
};

#define PNE_ACTIONS_MAX 12
struct pne_actions {
	struct pne_action at[PNE_ACTIONS_MAX];
	size_t count;
};
void pne_actions_clear(struct pne_actions *a);

/* All of a PNE's knowledge and what it is doing. Starts all zero but for the configuration. */
struct pne_procedures {
	/* configuration */
	struct name entity;
	uint32_t iterations_floor;
	uint64_t deadline_ms;
	/* the link, set by the owner before PNE_EVENT_LINK_UP and after PNE_EVENT_LINK_DOWN */
	bool link_up, secure;
	struct name gateway, server;
	struct secret *link_secret;
	uint8_t binding[2 * HELLO_MAX_SIZE];
	size_t binding_size;
	/* what is durable */
	struct secret *temporary_key;
	struct pne_user user;
	struct pne_key key;
	/* what is under way */
	enum figure busy; /* which figure derives or stores */
	struct pne_effect effect;
	struct pne_figure5 figure5;
	struct pne_figure6 figure6;
	struct pne_figure7 figure7;
	struct pne_reset reset; /* while its state is STORING, busy is FIGURE_NONE */
};
void pne_procedures_clear(struct pne_procedures *p);

static inline bool pne_busy(const struct pne_procedures *p)
{
	return p->busy != FIGURE_NONE || p->reset.state != PNE_RESET_IDLE;
}

/*
 * Runs one event. out is filled, on failure too, and is the caller's to carry out in order and to
 * pne_actions_clear(). An event that fails for want of memory or randomness ends its procedure
 * with a verdict; there is no other failure.
 */
void pne_procedures_run(struct pne_procedures *p, const struct pne_event *e,
			struct pne_actions *out);

/* A cell of a table: a handler, or why the event means nothing in that state. */
typedef int pne_handler(struct pne_procedures *p, const struct pne_event *e,
			struct pne_actions *out);
struct pne_cell {
	pne_handler *run;
	const char *ignore;
};
extern const struct pne_cell pne_figure5_table[PNE5_STATES][PNE_EVENTS];
extern const struct pne_cell pne_figure6_table[PNE6_STATES][PNE_EVENTS];
extern const struct pne_cell pne_figure7_table[PNE7_STATES][PNE_EVENTS];
extern const struct pne_cell pne_reset_table[PNE_RESET_STATES][PNE_EVENTS];

/* Ends what the figure has under way without a verdict and forgets its secrets. */
void pne_figure5_end(struct pne_procedures *p);
void pne_figure6_end(struct pne_procedures *p);
void pne_figure7_end(struct pne_procedures *p);
void pne_reset_end(struct pne_procedures *p);

/* For the figures: actions. They return 0 or -ENOMEM. */
int pne_do_send(struct pne_actions *out, const char *xml, size_t size);
int pne_do_receipt(struct pne_actions *out, const struct message_id *id, enum status status);
/*
 * A refusal of the answer to a request under way: the request is over, so a repeat of that answer
 * could not be judged again.
 */
int pne_do_refuse(struct pne_actions *out, const struct pne_event *e, enum status status);
int pne_do_derive(struct pne_procedures *p, struct pne_actions *out, enum figure figure,
		  struct secret *password, const uint8_t salt[SALT_SIZE], uint32_t iterations);
int pne_do_store(struct pne_procedures *p, struct pne_actions *out, enum figure figure);
int pne_do_forget(struct pne_actions *out);
int pne_do_timer(struct pne_actions *out, enum figure figure, uint64_t ms);
int pne_do_step(struct pne_actions *out, enum figure figure, unsigned step,
		const struct name *user);
int pne_do_verdict(const struct pne_procedures *p, struct pne_actions *out, enum verdict_id id,
		   enum figure figure, unsigned step, const struct name *user, uint32_t key_index,
		   const char *detail);
int pne_do_info(struct pne_actions *out, const char *text);

/* For the figures: requests under way. */
void pne_exchange_clear(struct pne_exchange *x);
/* Sends x for the first time and arms the timer. */
int pne_exchange_begin(const struct pne_procedures *p, struct pne_exchange *x, enum figure figure,
		       uint64_t now_ms, struct pne_actions *out);
int pne_exchange_again(const struct pne_exchange *x, struct pne_actions *out);
/* True: the exchange goes on. False: *verdict says how it ended. */
bool pne_exchange_receipt(struct pne_exchange *x, enum figure figure, const struct pne_event *e,
			  struct pne_actions *out, enum verdict_id *verdict, int *error);
bool pne_exchange_timer(const struct pne_procedures *p, struct pne_exchange *x, enum figure figure,
			const struct pne_event *e, struct pne_actions *out,
			enum verdict_id *verdict, int *error);

/*
 * For the figures: takes a key that was unwrapped into the effect, with the receipt that will
 * answer message e. STATUS_OK, or STATUS_STALE_INDEX; -errno in *error.
 */
enum status pne_take_key(struct pne_procedures *p, const struct pne_event *e,
			 const struct name *user, uint32_t index, struct secret *key, int *error);

/* The held key for a request of user with that message id; proof is filled. */
int pne_held_key(const struct pne_procedures *p, const struct name *user,
		 const struct message_id *id, uint8_t proof[P1_MAC_SIZE],
		 struct m_eukey_assignment_request *request);

void pne_user_clear(struct pne_user *u);
void pne_effect_clear(struct pne_effect *e);

#endif
