#ifndef PNGW_GATEWAY_CORE_INTERNAL_H
#define PNGW_GATEWAY_CORE_INTERNAL_H

/* What the files of the core share. */

#include "gateway/core.h"
#include "gateway/handover.h"
#include "gateway/names.h"
#include "gateway/recorder.h"
#include "gateway/report.h"

/* Tokens of posts and batches tell whose they are. */
#define TOKEN_RELAY      (UINT64_C(1) << 62)
#define TOKEN_REPORT     (UINT64_C(1) << 63)
#define TOKEN_RESET      (UINT64_C(1) << 61)
#define TOKEN_STATE      (UINT64_C(1) << 60)
#define TOKEN_QUARANTINE (UINT64_C(1) << 59)
#define REPORT_RETRY_MS  30000U

#define LINK_BUCKETS 256U

struct core_link {
	struct core *core;
	struct core_link *next;
	struct core_link *same; /* of the same bucket, when it is up */
	struct link *engine;
	void *stream;
	enum pan_security level;
	char peer[64];
	bool up;
	bool dying; /* broken, replaced or silent: closed as soon as no callback of it is running */
	bool queue_full;
	uint64_t since; /* of the last byte; until the link is up, of the stream */
	bool pinged;
	uint64_t pool_due; /* when to look whether its key is to be renewed; 0: never */
};

/* What a batch is for, from its submission until it is told. */
struct pending {
	struct core *core;
	uint64_t token;
	struct name entity; /* whom it is about, "" where that does not matter */
	bool every_entity;
	struct pending *next, **at;
};

/* What is remembered about the pool of a PNE beside the keys themselves. */
struct pool_state {
	bool filling;
	bool empty_told;  /* that a renewal was due and nothing there */
	bool needs_user;  /* the server refuses to fill it up: not again before a user's Figure 7 */
	unsigned asked;   /* how many keys the last refill was to bring */
	unsigned at_once; /* how many keys the server gives at a time; 0: not known */
	uint64_t refill_at; /* not earlier, after a failure */
	unsigned refill_pause;
	uint64_t renew_at;
	unsigned renew_pause;
};

/* That an older copy of the vault was put back; core-rollback.c. */
struct core_rollback {
	uint32_t known;
	char who[32];
	int error;    /* what is unspent could not be erased: nothing is issued */
	uint64_t due; /* when that is tried again; 0: it need not be */
};

/* The core's part about pools; core-pool.c. */
struct core_pool {
	struct names remembered;    /* whom there is a state of, */
	struct pool_state **states; /* in the same places */
	unsigned refills;           /* under way */
	struct name *sweep;         /* PNEs that are still to be looked at, from the end */
	size_t sweep_count;
	bool sweeping; /* and after them those behind sweep_at */
	struct vault_cursor sweep_at;
	uint64_t sweep_due;
	uint64_t service_base, elapsed_base;
	/* How late it was at that time of the service clock: as the vault has it, or as the wall
	 * clock said when the server was reached. */
	uint64_t wall_base, wall_service;
	uint64_t mark_due;
	struct core_rollback rollback;
};

/* Looks for names a piece at a time; begins with all zero. */
struct known_walk {
	struct vault_cursor at;
	size_t kind;
	bool ended;
};

#define STATE_PAGE 32 /* devices in one GatewayStateReport */

struct state_report {
	bool wanted;  /* there is news */
	bool whole;   /* every device is to be told of: the session has just begun */
	bool refused; /* the server takes none on this connection */
	bool under_way;
	uint64_t due;
	uint64_t next_whole;  /* a long session: what the server has learned meanwhile */
	uint64_t ledger_due;  /* the server has heard of EUKeys, and is to hear of the ledger */
	bool bare;            /* told even where there is no device to tell of */
	uint32_t quarantined; /* because of that sequence of the ledger */
	bool introduce;       /* it is told first, and without devices, which box this is */
	bool compared;        /* the ledger goes on from what the server knows */
	uint32_t known;       /* sequence that the server knows */
	uint32_t doubted;     /* that it was told, and cannot be; 0: none */
	struct message_id id;
	struct ledger_state ledger; /* as it was told */
	struct names names;         /* who is told of, from at on */
	bool collecting;            /* not all of them are in names yet */
	struct known_walk walk;
	size_t at, page;
	struct m_element_state told[STATE_PAGE];
};

struct reset;
struct waiting;

struct core {
	struct core_options options;
	char path[129];
	struct core_ports ports;
	void *arg;
	struct vault *vault;
	struct core_link *links;
	struct core_link *named[LINK_BUCKETS]; /* those that are up, by Entity ID */
	struct procedure *procedures;
	size_t procedure_count;
	struct relay *relay;
	struct report report;
	uint64_t report_due;
	struct reset *resets;
	struct revoking *revoking; /* the one that is under way, and those that wait */
	uint64_t last_reset;
	struct state_report state;
	uint64_t last_id;
	struct stored_key own_key;
	struct name owner;
	struct core_wan wan;
	char wan_why[160];
	/*
	 * With TLS 1.3 a connection on which we are refused comes up first, again and again: the
	 * refusal since when nothing was answered.
	 */
	enum verdict_id refused;
	char refused_why[160];
	uint64_t wake_at;
	struct pending *pending;
	struct waiting *waiting; /* commands, for PNEs that are being connected to */
	struct core_pool pool;
	struct handover handover;
	bool ending;
	struct core_counters counters;
};

/* 0 is "never". */
static inline uint64_t earlier(uint64_t a, uint64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

void gateway_core_say(struct core *c, enum log_level level, const char *text);
/* The tick comes no later than at. */
void gateway_core_wake_by(struct core *c, uint64_t at);
/* Gives an event to p, or to the procedure of entity, with what is known now; it may be gone
 * afterwards. */
void gateway_core_give(struct core *c, struct procedure *p, const struct event *e);
void gateway_core_give_entity(struct core *c, const struct name *entity, const struct event *e);
/* The relay's request token has no answer; gateway_core_wan_failed() is for anybody's. */
void gateway_core_relay_wan_failed(struct core *c, uint64_t token, enum wan_failure failure);
/* Carries out the actions of p, those of the relay where p is NULL. */
void gateway_core_perform(struct core *c, struct procedure *p, struct actions *a);

struct procedure *gateway_core_procedure_of(struct core *c, uint64_t id);
struct procedure *gateway_core_procedure_for(struct core *c, const struct name *entity);
/* Takes p out and frees it; its verdict was told. */
void gateway_core_remove(struct core *c, struct procedure *p);
/* Writes that p is under way, or is no more. */
void gateway_core_journal(struct core *c, const struct procedure *p, bool begins);
void gateway_core_verdict(struct core *c, uint64_t run, const struct verdict *v);
/* The recorder at this time, or NULL. */
struct recorder *gateway_core_recorder(struct core *c);
/* What the relay was called with and what came of it goes on record. */
void gateway_core_relay_called(struct core *c, const struct relay_call *call,
			       const struct actions *a);
/*
 * Judges: true, and v's id and detail were filled in and it was told. Its figure, user and entity
 * are the caller's.
 */
bool gateway_core_judge(struct core *c, uint64_t run, const struct facts *f, struct verdict *v);
/* Whether something runs for entity, for facts of a start: gateway_core_busy_with(). */
bool gateway_core_busy_facts(struct core *c, const struct name *entity, struct facts *f);
/* Gives the verdicts of what the last run did not finish, or goes on with it. */
int gateway_core_give_leftovers(struct core *c);
/* A new procedure, not started; NULL: out of memory. */
struct procedure *gateway_core_add(struct core *c, const struct procedure_type *type,
				   const struct name *user, const struct name *entity,
				   uint64_t run);
/* Begins p, which was added; it may be gone afterwards. */
void gateway_core_begin(struct core *c, struct procedure *p);

/* Pools. What p needs of the vault in Figure 7; end() after the event was handled. */
struct pool_view {
	struct pool pool;
	struct stored_key next, repeat, newest;
	struct secret *temporary_key;
	struct verifier verifier;
};
void gateway_core_pool_view(struct core *c, const struct procedure *p, enum event_kind kind,
			    struct pool_view *view, struct surroundings *s);
void gateway_core_pool_view_end(struct pool_view *view);
uint64_t gateway_core_service(const struct core *c);
/* Begins the service clock and the first look at all pools; what the vault says about a rollback.
 */
int gateway_core_pool_begin(struct core *c);
/* What was unspent before a rollback is erased, or not: result. */
void gateway_core_quarantined(struct core *c, int result);
uint64_t gateway_core_tick_rollback(struct core *c, uint64_t now);
/* Writes the clock a last time. */
void gateway_core_pool_end(struct core *c);
void gateway_core_pool_link_up(struct core *c, struct core_link *l);
void gateway_core_pool_wan_up(struct core *c);
/* There are new limits: all pools and links are looked at. */
void gateway_core_pool_limits(struct core *c);
/* A procedure about a device has ended; keys: how many a refill brought. */
void gateway_core_pool_ended(struct core *c, const struct procedure_type *type, uint64_t run,
			     const struct verdict *v, unsigned keys);
/* Ends a refill of entity, for its pool is replaced, or erased. */
void gateway_core_pool_replaced(struct core *c, const struct name *entity);
/* Does what is due; the time of the next. */
uint64_t gateway_core_tick_pool(struct core *c, uint64_t now);

/* Takes b over. token 0: nobody waits for it. */
int gateway_core_submit(struct core *c, struct vault_batch *b, uint64_t token);
/* The same for one that is about entity; NULL: about every one. */
int gateway_core_submit_for(struct core *c, struct vault_batch *b, uint64_t token,
			    const struct name *entity);
/* Takes b over; 0: it is durable. Not from within a vault's callback. */
int gateway_core_write(struct core *c, struct vault_batch *b);
/*
 * Whether nothing new can be started for entity. A renewal that nobody asked for is ended: a key
 * that it has sent stays sent, and is sent again before another.
 */
bool gateway_core_busy_with(struct core *c, const struct name *entity);
/* Whether what the vault shows of entity is about to change. */
bool gateway_core_writing(const struct core *c, const struct name *entity);

/* Delivery reports: one is sent if there is anything to report, the WAN is up and none is under
 * way. */
void gateway_core_report_soon(struct core *c);
/* The report under way has failed. */
void gateway_core_report_later(struct core *c, const char *why);
/* The server's answer to it; NULL: what came is no message. */
void gateway_core_report_taken(struct core *c, const struct message *m);
/* Sends what is due; the time of the next one. */
uint64_t gateway_core_tick_report(struct core *c, uint64_t now);

/* Our own EUKey and owner, as they stand in the vault. */
int gateway_core_load_identity(struct core *c);

/* The PN GW and every device there is a record of. 0 or a negative errno; *out may hold some. */
int gateway_core_known_some(struct core *c, struct known_walk *w, size_t most, struct names *out);
/* All of them, which with many takes long. */
int gateway_core_known_names(struct core *c, struct names *out);

/*
 * Adds to b what erases the EUKeys of entity up to limit, and where none is left its Temporary Key
 * and owner, with the ledger's facts. 0 or a negative errno.
 */
int gateway_core_erase(struct core *c, struct vault_batch *b, const struct name *entity,
		       uint32_t limit, enum ledger_reason reason);

/* Revocations and resets. The highest index of entity that is worthless; 0: none is. */
uint32_t gateway_core_revoked_index(struct core *c, const struct name *entity);
void gateway_core_reset_stored(struct core *c, uint64_t id, int result);
/* The PNE is there; it may hold an EUKey of after; what it answered. */
void gateway_core_reset_link_up(struct core *c, const struct name *entity);
void gateway_core_reset_superseded(struct core *c, const struct name *entity);
void gateway_core_reset_answered(struct core *c, const struct name *entity,
				 const struct message *m);
void gateway_core_reset_receipt(struct core *c, const struct name *entity,
				const struct receipt *receipt);
/* What is to be told of entity; out borrows its name. */
void gateway_core_revocation_state(struct core *c, const struct name *entity,
				   struct m_element_state *out);
/* The server has that now; it knows this; it gives this. */
void gateway_core_revocation_told(struct core *c, const struct name *entity,
				  const struct m_element_state *told);
void gateway_core_revocation_merge(struct core *c, const struct name *entity,
				   const struct m_element_state *server);
void gateway_core_reset_authorized(struct core *c, const struct name *entity,
				   const struct m_reset_authorization *a);
uint64_t gateway_core_tick_resets(struct core *c, uint64_t now);
/* The devices of a user, or all of them, that are not revoked yet: a piece. core-revoke.c */
uint64_t gateway_core_tick_revoking(struct core *c, uint64_t now);
void gateway_core_end_revoking(struct core *c);
/* The verdicts that are owed; and, once nothing more is told, the memory. */
void gateway_core_end_resets(struct core *c);
void gateway_core_free_resets(struct core *c);

/*
 * Hand-overs. Whether another box may be the PN GW: then nothing is issued, asked for or started.
 * fence_judge() tells the verdict of what was to be, and is true, where that is so.
 */
int gateway_core_handover_begin(struct core *c);
bool gateway_core_fenced(const struct core *c);
bool gateway_core_fence_judge(struct core *c, uint64_t run, struct verdict *v);
/* The server's word: another box is, since then (1970); this one is. */
void gateway_core_handover_refused(struct core *c, uint64_t since);
void gateway_core_handover_confirmed(struct core *c);

/* State reports: of all at the beginning of a session, and of what is new. */
void gateway_core_state_session(struct core *c);
void gateway_core_state_soon(struct core *c);
/* m: NULL where what came is no message. */
void gateway_core_state_answered(struct core *c, const struct message *m);
void gateway_core_state_failed(struct core *c, enum wan_failure failure);
/* What the ledger has of late is told soon, several changes together. */
void gateway_core_state_ledger(struct core *c);
/* What was unspent is erased: the server may know how far the ledger is. */
void gateway_core_state_quarantined(struct core *c);
uint64_t gateway_core_tick_state(struct core *c, uint64_t now);
void gateway_core_end_state(struct core *c);

/*
 * Commands for PNEs that are not connected. True when at least one of them is being connected to:
 * the command was copied and goes on by itself, with the same number of verdicts. Memory that is
 * out is told by the command as well as here: false.
 */
enum reach_for { REACH_FOR_START, REACH_FOR_RENEWAL, REACH_FOR_RESET };
bool gateway_core_reach_first(struct core *c, enum reach_for what, const struct core_start *s);
void gateway_core_reach_link_up(struct core *c, const struct name *entity);
void gateway_core_tick_reach(struct core *c);
/* The verdicts of those that wait: of one run, of all. */
void gateway_core_cancel_reach(struct core *c, uint64_t run);
void gateway_core_end_reach(struct core *c);
/*
 * Commands that would give an EUKey to entity, or are of user, end with REVOKED; NULL: any. A reset
 * goes on.
 */
void gateway_core_reach_revoked(struct core *c, const struct name *entity, const struct name *user);
/* gateway_core_start(), renew() and reset_again() with what is connected now. */
int gateway_core_start_now(struct core *c, const struct core_start *s);
int gateway_core_renew_now(struct core *c, const struct name *entity, uint64_t run);
int gateway_core_reset_now(struct core *c, const struct name *entity, uint64_t run);

/*
 * Chooses for each entity: out (of s->count) has first those of Figure 6, *six of them, then those
 * of Figure 7. Whether there are any of Figure 6.
 */
bool gateway_core_split(struct core *c, const struct core_start *s, struct name *out, size_t *six);

/* The link of entity that is up, or NULL. */
struct core_link *gateway_core_link_of(struct core *c, const struct name *entity);
/* Takes l out and frees it, then tells the procedure that used it. */
void gateway_core_forget_link(struct core *c, struct core_link *l, const char *why);
/* Closes what is dying; not from within a callback of a link. */
void gateway_core_sweep_links(struct core *c);
/* Pings and closes silent links; the time of the next one. */
uint64_t gateway_core_tick_links(struct core *c, uint64_t now);

#endif
