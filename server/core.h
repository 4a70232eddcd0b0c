#ifndef PNGW_SERVER_CORE_H
#define PNGW_SERVER_CORE_H

/*
 * The CPNS Server without sockets and without a loop: takes request bodies, runs their procedures
 * against the store, gives HTTP answers. What it needs from outside are the ports, so the same core
 * runs under libuv and in a test. One thread.
 */

#include "server/procedure.h"

struct core;
struct core_job; /* one request under way */

struct core_options {
	struct name self;
	const char *uri;
	uint32_t iterations;
	unsigned key_set_max;
	unsigned answer_days;     /* how long answers are kept */
	unsigned nonce_seconds;   /* how long a challenge can be answered */
	unsigned max_derivations; /* PBKDF2 computations at once; more requests are answered Busy */
	struct store *store;      /* borrowed until core_free() */
};

struct core_ports {
	/*
	 * Computes the password hash elsewhere, then calls core_derived() once, not from inside
	 * this call. A negative errno: it will not. password is borrowed: take a reference.
	 */
	int (*derive)(void *arg, struct core_job *job, struct secret *password,
		      const uint8_t salt[SALT_SIZE], uint32_t iterations);
	/* Answers a request. body lives during the call; challenge may be NULL. */
	void (*answer)(void *arg, void *reply, int http, struct bytes body, const char *challenge);
	/* One line for the journal, without the newline. */
	void (*line)(void *arg, const char *text);
	uint64_t (*now_ms)(void *arg); /* monotonic */
	int64_t (*time)(void *arg);    /* seconds since 1970 */
};

/*
 * Makes the server's own secrets on the first start. 0 and *out is the caller's to core_free(), or
 * a negative errno, and one sentence in why.
 */
int core_new(const struct core_options *options, const struct core_ports *ports, void *arg,
	     struct core **out, char *why, size_t why_size);

/* No job may be under way: see core_busy(). NULL is allowed. */
void core_free(struct core *c);

/* Whether a derivation is still to come back. */
bool core_busy(const struct core *c);

/*
 * A request. body, authorization and peer are borrowed for the call (references are taken). Exactly
 * one ports.answer() with reply follows, from this call or from a later core_derived().
 */
void core_request(struct core *c, struct bytes body, struct bytes authorization,
		  const struct server_peer *peer, void *reply);

/* The end of a derivation; NULL when it failed. ph is borrowed. */
void core_derived(struct core_job *job, struct secret *ph);

#endif
