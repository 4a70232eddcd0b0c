#ifndef PNGW_GATEWAY_POOL_H
#define PNGW_GATEWAY_POOL_H

/*
 * The pool of a PNE: the EUKeys of its Figure 7 sets that were not sent to it yet. Decisions only:
 * no vault, no clock, no memory but the list itself. Times are in seconds of the service clock.
 *
 * A PNE takes rising indexes only, so the pool is used in that order, and a key that was passed
 * over is never issued: that is what keeps a key from being issued twice whatever else goes wrong.
 */

#include "protocol/message.h"

/* How far an EUKey of a Figure 7 set has come. Stable numbers: they are in the vault. */
enum key_state { KEY_UNSPENT = 0, KEY_ISSUED = 1, KEY_DELIVERED = 2 };

#define POOL_NEVER   UINT64_MAX
/* As many keys as one message may ask for. */
#define POOL_AT_ONCE 64U

struct pool_limits {
	unsigned low_water; /* filling begins when no more keys than these are left ... */
	unsigned size;      /* ... and ends when there are these; 0: a pool is never filled up */
	enum key_set_kind kind;
	unsigned lifetime_s; /* an unspent key older than that is erased; 0: never */
	unsigned renew_s; /* a key held that long is replaced from the pool; 0: by command only */
};

struct pool_key {
	uint32_t index;
	enum key_state state;
	uint64_t since;  /* when it came into that state */
	bool repeatable; /* KEY_ISSUED: its notification may be sent again as it was */
	struct name user;
};

/* All EUKeys of one PNE in the vault, by rising index. Begins zeroed. */
struct pool {
	struct pool_key *keys;
	size_t count, room;
	size_t damaged; /* records of it in the vault that do not open */
	uint32_t floor; /* keys up to that index are worth nothing: revoked, or the PNE holds that
			   one */
	bool floor_unknown; /* what the PNE got beside the pool cannot be read: floor is above all
			       keys */
};

/* 0, -ENOMEM, or -EEXIST when there is one of that index; the pool is then as before. */
int pool_add(struct pool *p, const struct pool_key *key);
void pool_clear(struct pool *p);

/* The highest index that was sent to the PNE, or floor; 0: none. */
uint32_t pool_spent(const struct pool *p);
/* The key the PNE is known to hold, or NULL. */
const struct pool_key *pool_current(const struct pool *p);
/* The key to issue next, or NULL: the lowest unspent one that is neither expired nor passed. */
const struct pool_key *pool_next(const struct pool *p, const struct pool_limits *l, uint64_t now);
/* The key that was sent and not confirmed, and may be sent again before a further one; or NULL. */
const struct pool_key *pool_repeat(const struct pool *p);
/* How many can still be issued. */
size_t pool_left(const struct pool *p, const struct pool_limits *l, uint64_t now);

/* What is to become of a key. */
enum pool_fate {
	POOL_KEEP,
	POOL_EXPIRED,  /* unspent for longer than its lifetime */
	POOL_PASSED,   /* unspent, but a higher one was sent: the PNE takes it no more */
	POOL_REPLACED, /* sent, and a higher one is held */
};
enum pool_fate pool_fate(const struct pool *p, const struct pool_key *key,
			 const struct pool_limits *l, uint64_t now);

/*
 * How many keys to ask the server for, 0: none. *filling is the hysteresis: begins at the low water
 * mark, ends when the pool is full.
 */
unsigned pool_wants(const struct pool_limits *l, size_t left, bool *filling);

/* When the key that the PNE holds is to be replaced; POOL_NEVER where it holds none. */
uint64_t pool_renew_at(const struct pool *p, const struct pool_limits *l);

/*
 * The service clock counts seconds since the vault was made. While the PN GW runs it follows a
 * clock that does not jump; for the time between two runs there is only the wall clock, which is
 * believed where it says 0 to CLOCK_GAP_MAX seconds and passed over where it says anything else. So
 * a wall clock that is set wrong neither expires keys nor lets them live for ever.
 */
#define CLOCK_GAP_MAX (30U * 86400U)
struct clock_mark {
	uint64_t service; /* what the service clock showed ... */
	uint64_t wall;    /* ... when the wall clock showed that */
};
/* What the service clock shows when a run begins; mark is the last one of the run before. */
uint64_t clock_resume(const struct clock_mark *mark, uint64_t wall);
/*
 * What a mark is to say of the wall clock that says wall, when it is least already by the last mark
 * and what passed since: least, where wall is more than CLOCK_DRIFT before it. So the last good
 * time outlives a run in which the clock began in 1970.
 */
uint64_t clock_latest(uint64_t least, uint64_t wall);

#endif
