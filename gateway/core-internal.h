#ifndef PNGW_GATEWAY_CORE_INTERNAL_H
#define PNGW_GATEWAY_CORE_INTERNAL_H

/* What the files of the core share. */

#include "gateway/core.h"
#include "gateway/report.h"

/* Tokens of posts and batches tell whose they are. */
#define TOKEN_RELAY     (UINT64_C(1) << 62)
#define TOKEN_REPORT    (UINT64_C(1) << 63)
#define REPORT_RETRY_MS 30000U
#define REPORT_AGAIN_MS 1000U

struct core_link {
	struct core *core;
	struct core_link *next;
	struct link *engine;
	void *stream;
	enum pan_security level;
	char peer[64];
	bool up;
	bool dying; /* broken, replaced or silent: closed as soon as no callback of it is running */
	bool queue_full;
	uint64_t since; /* of the last byte, or of the stream */
	bool pinged;
};

struct core {
	struct core_options options;
	char path[129];
	struct core_ports ports;
	void *arg;
	struct vault *vault;
	struct core_link *links;
	struct procedure *procedures;
	size_t procedure_count;
	struct relay *relay;
	struct report report;
	uint64_t report_due;
	uint64_t last_id;
	struct stored_key own_key;
	struct name owner;
	struct core_wan wan;
	char wan_why[160];
	uint64_t wake_at;
	unsigned batches; /* submitted, not yet told */
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
/* Carries out the actions of p, those of the relay where p is NULL. */
void gateway_core_perform(struct core *c, struct procedure *p, struct actions *a);

struct procedure *gateway_core_procedure_of(struct core *c, uint64_t id);
struct procedure *gateway_core_procedure_for(struct core *c, const struct name *entity);
/* Takes p out and frees it; its verdict was told. */
void gateway_core_remove(struct core *c, struct procedure *p);
/* Writes that p is under way, or is no more. */
void gateway_core_journal(struct core *c, const struct procedure *p, bool begins);
void gateway_core_verdict(struct core *c, uint64_t run, const struct verdict *v);
/* Gives the verdicts of what the last run did not finish. */
int gateway_core_give_leftovers(struct core *c);

/* Takes b over. token 0: nobody waits for it. */
int gateway_core_submit(struct core *c, struct vault_batch *b, uint64_t token);

/* Delivery reports: one is sent if there is anything to report, the WAN is up and none is under
 * way. */
void gateway_core_report_soon(struct core *c);
/* The report under way has failed. */
void gateway_core_report_later(struct core *c, const char *why);
/* The server's answer to it; NULL: what came is no message. */
void gateway_core_report_taken(struct core *c, const struct message *m);
/* Sends what is due; the time of the next one. */
uint64_t gateway_core_tick_report(struct core *c, uint64_t now);

/* The link of entity that is up, or NULL. */
struct core_link *gateway_core_link_of(struct core *c, const struct name *entity);
/* Takes l out and frees it, then tells the procedure that used it. */
void gateway_core_forget_link(struct core *c, struct core_link *l, const char *why);
/* Closes what is dying; not from within a callback of a link. */
void gateway_core_sweep_links(struct core *c);
/* Pings and closes silent links; the time of the next one. */
uint64_t gateway_core_tick_links(struct core *c, uint64_t now);

#endif
