#ifndef PNGW_GATEWAY_REPLAY_H
#define PNGW_GATEWAY_REPLAY_H

/*
 * Replays what the flight recorder has: each recorded event is given to the procedures, the relay
 * and the judge that this program is made of, and what they do is compared with what was done. Only
 * what depends on secrets, on chance, or on the vault is taken from the record. No I/O, no keys.
 */

#include "gateway/recorder.h"

struct replay;

/* What is told while entries are replayed; each may be NULL. number: of the entry. */
struct replay_watcher {
	/* Something that the replay itself did: a step or a verdict. */
	void (*did)(void *arg, uint64_t number, const char *text);
	/* Here it went another way than the record says. */
	void (*diverged)(void *arg, uint64_t number, const char *why);
};

/* What has become of the verdicts that the record says were told. */
struct replay_result {
	size_t entries;
	size_t same;    /* the replay has reached it too */
	size_t unknown; /* what led to it is not in the record from its beginning */
	size_t diverged;
	uint64_t diverged_at; /* entry of the first divergence */
};

/*
 * types: the procedures that there are, NULL at the end; NULL for the PN GW's own. Everything is
 * borrowed as long as the replay. NULL: out of memory.
 */
struct replay *gateway_replay_new(const struct procedure_type *const *types,
				  const struct replay_watcher *watcher, void *arg);
void gateway_replay_free(struct replay *r);

/* The next entry. 0 or -ENOMEM. */
int gateway_replay_entry(struct replay *r, uint64_t number, struct bytes note);
const struct replay_result *gateway_replay_result(const struct replay *r);

#endif
