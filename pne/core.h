#ifndef PNGW_PNE_CORE_H
#define PNGW_PNE_CORE_H

/*
 * One PNE without a loop: the procedures, and what carries their actions out. It reads the vault
 * itself and reaches everything else through ports, so it runs in cpns-pne, inside a PN GW that is
 * a PNE too, and in a test without sockets. No globals; one thread.
 */

#include "pne/procedure.h"
#include "storage/vault.h"

struct pne_core;

#define PNE_DEADLINE_MS  30000U
#define PNE_ANSWERS_KEPT 64U

struct pne_core_options {
	struct name entity;
	uint32_t iterations_floor; /* 0 means P1_ITERATIONS_FLOOR */
	uint64_t deadline_ms;      /* of a request; 0 means PNE_DEADLINE_MS */
};

struct pne_ports {
	/* On the link; 0 or a negative errno, which loses the message: its sender will repeat. */
	int (*send_message)(void *arg, struct bytes xml);
	int (*send_receipt)(void *arg, const struct receipt *r);
	/* As vault_submit() of the vault the core was given. */
	int (*submit)(void *arg, struct vault_batch *b, vault_done_fn *done, void *done_arg);
	/*
	 * PBKDF2 off the loop; on 0, pne_core_derived() follows exactly once, not from within this
	 * call. password is borrowed: take a reference.
	 */
	int (*derive)(void *arg, struct secret *password, const uint8_t salt[SALT_SIZE],
		      uint32_t iterations);
	/* Arms, or with 0 disarms, the timer of a figure; pne_core_timer() when it is due. */
	void (*timer)(void *arg, enum figure figure, uint64_t ms);
	uint64_t (*now)(void *arg); /* monotonic, milliseconds */
	/* One line of progress, without a line end. */
	void (*line)(void *arg, const char *text);
	/* How a procedure ended; the line was written already. */
	void (*verdict)(void *arg, const struct verdict *v);
};

/*
 * Reads what the PNE knows from v, which stays the caller's and outlives the core's last batch:
 * close the vault before pne_core_free(). Everything in options and ports is copied. 0, a negative
 * errno, or VAULT_DAMAGED when a record does not open or reads wrong.
 */
int pne_core_new(const struct pne_core_options *options, struct vault *v,
		 const struct pne_ports *ports, void *arg, struct pne_core **out);
void pne_core_free(struct pne_core *c);

/* The link to a PN GW: its hello, what the link engine derived, and whether the PAN is secure. */
void pne_core_link_up(struct pne_core *c, const struct hello *gateway, struct secret *link_secret,
		      struct bytes binding, bool secure);
void pne_core_link_down(struct pne_core *c);
void pne_core_message(struct pne_core *c, struct bytes xml);
void pne_core_receipt(struct pne_core *c, const struct receipt *r);

/* The user has entered ID and password at the PNE's UI: Figure 5 begins. */
void pne_core_enter(struct pne_core *c, const struct name *user, struct secret *password);

/* result: 0 and ph, which is borrowed, or a negative errno. */
void pne_core_derived(struct pne_core *c, int result, struct secret *ph);
void pne_core_timer(struct pne_core *c, enum figure figure);

/*
 * What to compare to see that somebody else holds the same EUKey. -ENOENT when none is held. The
 * names and the index are those of the held key.
 */
int pne_core_fingerprint(const struct pne_core *c, struct bytes challenge, struct name *user,
			 uint32_t *key_index, uint8_t out[P1_FINGERPRINT_SIZE]);
bool pne_core_has_key(const struct pne_core *c);
bool pne_core_has_temporary_key(const struct pne_core *c);

/* What the manufacturer burns in: adds the Temporary Key to a batch. */
void pne_core_burn_in(struct vault_batch *b, const struct name *entity,
		      const struct secret *temporary_key);

/*
 * Factory reset: adds to a batch what forgets the user and the EUKey. The Temporary Key and the
 * count of key indices stay.
 */
void pne_core_reset(const struct pne_core *c, struct vault_batch *b);

#endif
