#ifndef PNGW_TESTS_FIGURES_H
#define PNGW_TESTS_FIGURES_H

/*
 * A PN GW, a CPNS Server and a PNE in one process: the roles' own cores with real stores, joined by
 * queues in memory under a virtual clock. Each role has a file of its own, for the cores do not
 * know each other.
 */

#include "gateway/pool.h"
#include "protocol/p1.h"
#include "protocol/verdict.h"
#include "storage/vault.h"

#define SIM_SERVER  "cpns-server"
#define SIM_GATEWAY "gateway-1"
#define SIM_PNE     "headset-1"
#ifndef SIM_PNES
#define SIM_PNES 4 /* the first is SIM_PNE */
#endif
#ifndef SIM_PROCEDURES
#define SIM_PROCEDURES 8 /* of the PN GW at a time */
#endif
#define SIM_ITERATIONS 1000
#define SIM_NEVER      UINT64_MAX

struct sim;

/* What roles ask of the wires. Nothing is called back from inside. */
uint64_t sim_now(const struct sim *s);
void sim_step(struct sim *s, enum figure figure, unsigned step);
/* A line of the journal, in which a step may be told: "... Fig. 6 step 11: ...". */
void sim_line(struct sim *s, const char *line);
void sim_verdict(struct sim *s, enum role role, const struct verdict *v);
int sim_post(struct sim *s, uint64_t token, struct bytes xml, unsigned deadline_ms, uint64_t pin);
void sim_cancel(struct sim *s, uint64_t token);
void sim_answer(struct sim *s, uint64_t request, struct bytes body);
/* On the stream of a PNE, which is told by its number. */
void sim_write(struct sim *s, enum role from, unsigned pne, struct bytes frame);
void sim_close(struct sim *s, unsigned pne);

/*
 * The roles. new() opens the store in directory, or makes it; free() stops dead: nothing is
 * flushed. work() does what a loop does between events and tells whether there was something to do.
 */
struct sim_server;
struct sim_server *sim_server_new(struct sim *s, const char *directory);
void sim_server_free(struct sim_server *v);
bool sim_server_work(struct sim_server *v);
void sim_server_request(struct sim_server *v, uint64_t request, struct bytes xml,
			struct secret *exporter);
void sim_server_temporary_key(struct sim_server *v, const char *entity, struct secret *key);
/* Makes the element somebody else's. */
void sim_server_give_away(struct sim_server *v, const char *entity, const char *owner);
bool sim_server_fingerprint(struct sim_server *v, const struct name *user, const char *entity,
			    uint32_t index, uint8_t out[P1_FINGERPRINT_SIZE]);
/* What the operator does while the server runs. */
void sim_server_revoke(struct sim_server *v, const char *entity);
void sim_server_block(struct sim_server *v, const char *user, bool blocked);
/* What the server knows of an element; it must be there. */
struct sim_element {
	struct name owner; /* "" : nobody's */
	uint32_t last_index, epoch, key_index;
	enum reset_state reset;
	unsigned keys; /* EUKeys that are kept */
};
void sim_server_element(struct sim_server *v, const char *entity, struct sim_element *out);

struct sim_pne;
/* Entity ID of a PNE: "headset-1" and so on, number from 0. */
const char *sim_pne_name(unsigned number);
struct sim_pne *sim_pne_new(struct sim *s, const char *directory, unsigned number);
void sim_pne_free(struct sim_pne *p);
bool sim_pne_work(struct sim_pne *p);
void sim_pne_burn_in(struct sim_pne *p, struct secret *key);
/* By hand, at the device; it knows of it when it starts. */
void sim_pne_reset(struct sim_pne *p);
void sim_pne_stream_up(struct sim_pne *p, bool secure);
void sim_pne_stream_bytes(struct sim_pne *p, struct bytes b);
void sim_pne_stream_down(struct sim_pne *p);
void sim_pne_enter(struct sim_pne *p, const char *user, const char *password);
uint64_t sim_pne_due(const struct sim_pne *p);
void sim_pne_tick(struct sim_pne *p);
/* False when it holds no key. */
bool sim_pne_fingerprint(struct sim_pne *p, struct name *user, uint32_t *index,
			 uint8_t out[P1_FINGERPRINT_SIZE]);

struct sim_gateway;
struct recorder;
/* What each PN GW that is made from now on records to; NULL: nothing. */
void sim_gateway_recorder(struct recorder *r);
struct sim_gateway *sim_gateway_new(struct sim *s, const char *directory);
/* The record of the service clock in the vault of directory is lost; no PN GW may have it open. */
void sim_gateway_lose_clock(const char *directory);
/* The same, and its record of that kind of entity cannot be read. */
void sim_gateway_damage(const char *directory, enum vault_kind kind, const char *entity);
/* Proves the ledger to its end, or fails. */
void sim_gateway_free(struct sim_gateway *g);
/* The same and its account; NULL: not proven. */
struct sim_ledger {
	unsigned issued, spent, erased, installed;
};
void sim_gateway_end(struct sim_gateway *g, struct sim_ledger *ledger);
bool sim_gateway_work(struct sim_gateway *g);
/* The same while the disk is full. */
bool sim_gateway_work_full(struct sim_gateway *g);
void sim_gateway_wan(struct sim_gateway *g, bool up, struct secret *exporter, uint64_t generation);
void sim_gateway_answered(struct sim_gateway *g, uint64_t token, struct bytes body);
/* lost: the connection went away; otherwise the answer did not come in time. */
void sim_gateway_failed(struct sim_gateway *g, uint64_t token, bool lost);
/* The connection did not come in time. */
void sim_gateway_unreached(struct sim_gateway *g, uint64_t token);
void sim_gateway_stream_up(struct sim_gateway *g, unsigned pne, bool secure);
void sim_gateway_stream_bytes(struct sim_gateway *g, unsigned pne, struct bytes b);
void sim_gateway_stream_down(struct sim_gateway *g, unsigned pne);
/* The level of a stream that is up. */
void sim_gateway_stream_security(struct sim_gateway *g, unsigned pne, bool secure);
/* How many verdicts were of a failure, those of nobody's run too. */
uint64_t sim_gateway_failures(const struct sim_gateway *g);
/* For the first PNE; set_count: 0 but for Figure 7. Gives how many verdicts will come. */
int sim_gateway_start(struct sim_gateway *g, enum figure figure, const char *user,
		      const char *password, unsigned set_count);
int sim_gateway_start_for(struct sim_gateway *g, enum figure figure, unsigned pne, const char *user,
			  const char *password, unsigned set_count);
/* Whoever started the last one has gone. */
void sim_gateway_cancel(struct sim_gateway *g);
/* What the operator may ask; the verdicts come as those of a figure. */
enum sim_revoke { SIM_REVOKE, SIM_REVOKE_USER, SIM_REVOKE_ALL, SIM_RESET_AGAIN };
int sim_gateway_revoke(struct sim_gateway *g, enum sim_revoke what, const char *name);
/* A revocation by somebody else: its verdict is not that of what is under way. */
void sim_gateway_revoke_aside(struct sim_gateway *g, const char *name);
/* While the disk is full. */
int sim_gateway_revoke_full(struct sim_gateway *g, enum sim_revoke what, const char *name);
/* full: while the disk is. */
int sim_gateway_release(struct sim_gateway *g, const char *entity, bool full);
int sim_gateway_forget(struct sim_gateway *g, const char *entity, bool full);
/* The revocation of entity as the console shows it; false: there is none. */
struct sim_revocation {
	uint32_t epoch, key_index;
	enum reset_state reset;
	bool told, by_server, forgotten;
	char seen[160];
};
bool sim_gateway_revocation(struct sim_gateway *g, const char *entity, struct sim_revocation *out);
/* False: nobody's. */
bool sim_gateway_owner(struct sim_gateway *g, const char *entity, struct name *out);
/* How many EUKeys of entity are in the vault. */
unsigned sim_gateway_keys(struct sim_gateway *g, const char *entity);
int sim_gateway_renew(struct sim_gateway *g, unsigned pne);
/* What each PN GW that is made from now on has; NULL: no filling up, no expiry, no renewal. */
void sim_gateway_pools(const struct pool_limits *limits);
/* This one reads its configuration again. */
void sim_gateway_reload(struct sim_gateway *g);
/* The wall clock of every PN GW is that many seconds off from now on. */
void sim_gateway_wall(int64_t seconds);
/* The vault in directory, which nobody has open, was handed over: that term, not confirmed yet. */
void sim_gateway_hand_over(const char *directory, uint32_t term, uint32_t after, uint8_t holder);
/* What the vault in directory, which nobody has open, knows of the wall clock. */
uint64_t sim_gateway_marked_wall(const char *directory);
struct sim_pool {
	size_t left;
	uint32_t current, unconfirmed;
	bool needs_user;
};
struct sim_pool sim_gateway_pool(struct sim_gateway *g, const char *entity);
/* How many pools it remembers something about beside their keys. */
size_t sim_gateway_pools_known(struct sim_gateway *g);
/* How many reports wait for the server. */
size_t sim_gateway_deliveries(struct sim_gateway *g);
/* The vault is found to be older than entry known of its ledger. */
void sim_gateway_quarantine(struct sim_gateway *g, uint32_t known);
/* The same while the disk is full. */
void sim_gateway_quarantine_full(struct sim_gateway *g, uint32_t known);
uint64_t sim_gateway_due(const struct sim_gateway *g);
void sim_gateway_tick(struct sim_gateway *g);
bool sim_gateway_fingerprint(struct sim_gateway *g, const char *entity, struct name *user,
			     uint32_t *index, uint8_t out[P1_FINGERPRINT_SIZE]);

/* A directory with the stores in it. */
void sim_remove(const char *directory);

/* What every fingerprint is made over. */
struct bytes sim_challenge(void);

#endif
