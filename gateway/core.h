#ifndef PNGW_GATEWAY_CORE_H
#define PNGW_GATEWAY_CORE_H

/*
 * The PN GW without I/O of its own: it owns the links by Entity ID, the procedures, the relay and
 * the delivery reports, and carries their actions out through ports. The same core runs under the
 * daemon's loop and in a test. One thread.
 *
 * The vault is the caller's, who also flushes it: once a turn, outside of any call of the core.
 */

#include <limits.h>

#include "gateway/procedure.h"
#include "gateway/relay.h"
#include "gateway/revoke.h"
#include "pan/link.h"
#include "storage/vault.h"

struct core;
struct core_link;

/* Stable names of what is counted; core_counters. */
struct core_counters {
	uint64_t links, relayed, coalesced, refused, procedures, done, failed, reports;
};

struct recorder;

struct core_options {
	struct name self;
	struct name server;
	const char *path;
	struct procedure_limits procedures;
	struct relay_limits relay;
	struct pool_limits pool;
	unsigned max_procedures;
	unsigned ping_ms; /* a link that was silent that long is pinged, twice that long dropped; 0:
			     never */
	unsigned hello_ms;         /* how long a new link may take for its hello */
	struct recorder *recorder; /* borrowed, at least as long as the core; NULL: none */
};

enum log_level { LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

/* What the core asks of its surroundings. None may call back into the core, except from the loop.
 */
struct core_ports {
	/*
	 * Posts to the server; pin 0: on any connection. 0 and *request, later
	 * gateway_core_answered() or gateway_core_wan_failed() with token, or a negative errno.
	 */
	int (*post)(void *arg, struct bytes xml, unsigned deadline_ms, uint64_t pin, uint64_t token,
		    void **request);
	void (*cancel)(void *arg, void *request);
	/* PBKDF2 off the loop; gateway_core_hashed() with token follows. */
	int (*derive)(void *arg, uint64_t token, struct secret *password,
		      const uint8_t salt[SALT_SIZE], uint32_t iterations);
	/* Queues a copy on a stream; -EDQUOT: it is being dropped. */
	int (*write)(void *arg, void *stream, struct bytes frame);
	/* Closes a stream; the core has forgotten it. */
	void (*close)(void *arg, void *stream);
	uint64_t (*now)(void *arg);
	/* Seconds since 1970 as this device believes; may jump. */
	uint64_t (*wall)(void *arg);
	/* Seconds since any fixed point, time asleep included; never jumps. */
	uint64_t (*elapsed)(void *arg);
	/* gateway_core_tick() at that time; only the latest call counts. */
	void (*wake)(void *arg, uint64_t at);
	void (*log)(void *arg, enum log_level level, const char *text);
	/* run: of whoever started it, 0 for nobody. */
	void (*step)(void *arg, uint64_t run, enum figure figure, unsigned step,
		     const struct name *user, const struct name *entity);
	void (*verdict)(void *arg, uint64_t run, const struct verdict *v);
	/*
	 * Connects to a PNE that is not connected. 0: its hello on a new stream follows, or
	 * gateway_core_unreachable(), once for all that asked meanwhile. A negative errno: no way
	 * to it is known, or none is to be taken. NULL: there never is one.
	 */
	int (*reach)(void *arg, const struct name *entity);
	/* A PNE has said on stream who it is. May be NULL. */
	void (*arrived)(void *arg, void *stream, const struct name *entity);
	/* Its link has gone; perhaps it has another. May be NULL. */
	void (*gone)(void *arg, const struct name *entity);
	/* Which figure a command without one uses for a PNE, and why in a sentence. May be NULL. */
	void (*chosen)(void *arg, uint64_t run, const struct name *entity, enum figure figure,
		       const char *why);
	/* After CORE_COUNTED_LATER, once: how many verdicts run has in all, or a negative errno and
	 * no further one. Not after gateway_core_free(). May be NULL. */
	void (*counted)(void *arg, uint64_t run, int verdicts);
};

/* Everything is copied but the vault. Gives the verdicts of what a restart interrupted. */
int gateway_core_new(const struct core_options *options, struct vault *vault,
		     const struct core_ports *ports, void *arg, struct core **out);
/* Ends everything: procedures with CANCELLED, streams closed. The vault must be flushed or closed
 * after. */
void gateway_core_free(struct core *c);
/* New limits; identities and the recorder stay. */
void gateway_core_set_options(struct core *c, const struct core_options *options);

/* A stream of a bearer is there; -ENOMEM: the caller closes it. */
int gateway_core_stream_up(struct core *c, void *stream, enum pan_security level, const char *peer,
			   struct core_link **out);
void gateway_core_stream_bytes(struct core *c, struct core_link *l, struct bytes input);
void gateway_core_stream_security(struct core *c, struct core_link *l, enum pan_security level);
/* The stream has gone; not called after ports.close(). */
void gateway_core_stream_down(struct core *c, struct core_link *l, enum bearer_down why, int error);

/* What reach() began has failed: commands that wait for entity get that verdict. */
void gateway_core_unreachable(struct core *c, const struct name *entity, enum verdict_id id,
			      const char *detail);

/* What the WAN is. exporter is borrowed until the next call. */
struct core_wan {
	bool up, mutual, tls_refused;
	enum verdict_id down; /* when it is down: what that amounts to; DONE: not known */
	const char *why;      /* copied */
	struct secret *exporter;
	uint64_t generation;
};
void gateway_core_wan_state(struct core *c, const struct core_wan *wan);
void gateway_core_answered(struct core *c, uint64_t token, struct bytes body);
void gateway_core_wan_failed(struct core *c, uint64_t token, enum wan_failure failure);
/* An answer came, but not from a CPNS Server that has read the request: that verdict, and why. */
void gateway_core_wan_refused(struct core *c, uint64_t token, enum verdict_id id, const char *why);
void gateway_core_hashed(struct core *c, uint64_t token, struct secret *ph);
void gateway_core_tick(struct core *c);

/*
 * Starts what a user asked for: figure 5 is the registration. typed is the password as typed.
 * Figure 6 takes any number of entities, Figure 7 one or more, the others none. FIGURE_NONE: for
 * each entity the one that gateway_core_choose() says. PNEs that are not
 * connected are connected to first, where ports.reach() can. Each entity (or the
 * figure itself) gets exactly one verdict by the port, during the call when it is refused at once.
 * Returns how many verdicts there are in all, or -ENOMEM and none.
 */
struct core_start {
	enum figure figure;
	struct name user;
	struct secret *typed;
	const struct name *entities;
	size_t count;
	enum key_set_kind set_kind;
	unsigned set_count;
	/*
	 * Figure 6 in parts, FIGURE6_ALL otherwise: with FIGURE6_SUBSCRIBE there are no entities
	 * and one verdict.
	 */
	enum figure6_part part;
	uint64_t run;
};
int gateway_core_start(struct core *c, const struct core_start *s);
/* FIGURE_6 or FIGURE_7, for a PNE of that user as things stand now, and why in a sentence. */
enum figure gateway_core_choose(struct core *c, const struct name *user, const struct name *entity,
				char *why, size_t why_size);
/*
 * Figure 7 from step 6 on for a PNE that is connected, from its pool: no user, no server. One
 * verdict, as above; GATEWAY_POOL_EMPTY when there is nothing to issue. Returns 1.
 */
int gateway_core_renew(struct core *c, const struct name *entity, uint64_t run);
/* Ends the procedures of a run with CANCELLED. */
void gateway_core_cancel(struct core *c, uint64_t run);

/* Who is there. */
typedef void core_each_fn(void *arg, const struct name *entity, enum pan_security level, bool ui,
			  const struct name *owner, const char *peer);
void gateway_core_each_link(struct core *c, core_each_fn *each, void *arg);
/* The same of one PNE; peer is cut to its size. False: it is not connected. */
struct core_link_info {
	enum pan_security level;
	bool ui;
	char peer[64];
};
bool gateway_core_link_info(struct core *c, const struct name *entity, struct core_link_info *out);
size_t gateway_core_procedures(const struct core *c);
/* The pool of entity: 0 or a negative errno. */
struct core_pool_info {
	size_t left;            /* keys that can still be issued */
	uint32_t current;       /* index of the key that the PNE is known to hold; 0: none */
	uint32_t relayed;       /* index of a newer key that the PNE was seen to take, and that only
				   passed through here: of Figure 5 or 6; 0: none */
	uint32_t unconfirmed;   /* index of the key that was sent and may be sent again; 0: none */
	uint64_t renew_in;      /* seconds until it is renewed by itself; POOL_NEVER */
	bool refill_needs_user; /* the server wants the user's password first */
};
int gateway_core_pool_info(struct core *c, const struct name *entity, struct core_pool_info *out);

/*
 * The vault is an older copy of what it was: known is the highest sequence of its ledger that
 * anybody has seen. No unspent EUKey is issued any more, for some may have been spent since: they
 * are erased but for the highest of each PNE, which proves the next refill; the ledger says so from
 * known + 1 on; procedures of Figure 7 end; once that is durable, verdict GATEWAY_ROLLED_BACK of
 * nobody's run. Until then no EUKey of a pool is issued; what fails is tried again. A vault that
 * knows by itself is quarantined by gateway_core_new(). Not from within a vault's callback.
 */
void gateway_core_quarantine(struct core *c, uint32_t known, const char *who);
/*
 * The sequence of this vault's ledger that somebody told the CPNS Server of, too far ahead to be
 * believed; 0: there is none. Until its operator has it forgotten, an older copy of the vault is
 * not found out by the server.
 */
uint32_t gateway_core_ledger_doubted(const struct core *c);
const struct core_counters *gateway_core_counters(const struct core *c);
/* Owner of the PN GW, "" when not known, and the index of its own EUKey or 0. */
const struct name *gateway_core_owner(const struct core *c);
uint32_t gateway_core_own_index(const struct core *c);

/* Fingerprint of the newest EUKey of entity; 0, VAULT_ABSENT, VAULT_DAMAGED or a negative errno. */
int gateway_core_fingerprint(struct core *c, const struct name *entity, struct bytes challenge,
			     uint8_t out[8], uint32_t *index, struct name *user);

/* Whether anything is known of entity: it is connected, has a record, or is the PN GW itself. */
bool gateway_core_on_record(struct core *c, const struct name *entity);

/*
 * Forgets whose entity is, and its keys, durably. The server releases it separately. -EBUSY while a
 * procedure runs for it; -ENOENT when nothing is known of it.
 */
int gateway_core_release(struct core *c, const struct name *entity);

/*
 * Revocation. What runs for the device ends with REVOKED; its EUKeys, Temporary Key and owner are
 * erased, and a tombstone stays. While the WAN is down it waits to be told to the server. Revoking
 * the PN GW itself erases its own EUKey and owner.
 *
 * Each device gets exactly one verdict by the port, perhaps during the call: DONE when the PNE has
 * confirmed its reset (or there is none to do), PNE_RESET_UNCONFIRMED when it is revoked but that
 * is outstanding; DEVICE_UNKNOWN when nothing is known of it. Returns how many verdicts there are
 * in all, or a negative errno and none.
 */
int gateway_core_revoke(struct core *c, const struct name *entity, uint64_t run);
/*
 * Every device of that user, the PN GW too where it is the owner. Where there are many a piece is
 * revoked in each tick, and CORE_COUNTED_LATER returned: ports.counted() follows, after the last
 * device was begun with. A core that is freed before that leaves the rest as it was.
 */
#define CORE_COUNTED_LATER INT_MAX
int gateway_core_revoke_user(struct core *c, const struct name *user, uint64_t run);
/* Every device that is known, and the PN GW. As above. */
int gateway_core_revoke_all(struct core *c, uint64_t run);
/* Sends the reset now, also to one that was given up. One verdict as above; NOT_REVOKED when the
 * device never was. */
int gateway_core_reset_again(struct core *c, const struct name *entity, uint64_t run);
/*
 * The operator declares the device lost: its reset is no longer sent. The revocation stays on
 * record. 0: that is durable; -ENOENT when it was never revoked, or another negative errno.
 */
int gateway_core_forget_revocation(struct core *c, const struct name *entity);

/* Every revocation there is, in the order of their last change. */
typedef void core_revocation_fn(void *arg, const struct revocation *r);
void gateway_core_each_revocation(struct core *c, core_revocation_fn *each, void *arg);

#endif
