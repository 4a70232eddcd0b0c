#ifndef PNGW_GATEWAY_CORE_RESET_H
#define PNGW_GATEWAY_CORE_RESET_H

/* What core-revoke.c and core-reset.c share: a revocation that something is being done about. */

#include "gateway/core-internal.h"

/* One that is being written, or whose PNE is being asked. */
struct reset {
	struct reset *next;
	uint64_t id;
	struct revocation r; /* as it is once everything submitted is durable */
	unsigned storing;    /* batches that were not told yet */
	int failed;          /* one of them was not: the errno */
	uint64_t run;
	bool owed; /* run has not had its verdict */
	bool ask;  /* the PNE is to be asked once all is durable */
	bool news; /* it is to be told then that it is revoked */
	unsigned sent, refused;
	uint64_t due; /* the next sending, or the end of waiting; 0: not waiting */
};

/*
 * The one of entity: as it is in the vault, or of epoch 0. NULL: *error says why. Whoever took it
 * ends with gateway_reset_settle(), which tells what failed and frees it when nothing is
 * outstanding.
 */
struct reset *gateway_reset_take(struct core *c, const struct name *entity, int *error);
void gateway_reset_settle(struct core *c, struct reset *x);
/* The same one if something is outstanding, or NULL. */
struct reset *gateway_reset_find(struct core *c, const struct name *entity);
/* Takes b over. The state as it is now goes into the same batch. */
void gateway_reset_store(struct core *c, struct reset *x, struct vault_batch *b);
/* x->r is confirmed; now that is to become durable. how: what the log says. */
void gateway_reset_store_confirmed(struct core *c, struct reset *x, const char *how);
/* run waits for a verdict; one that waited before has to do with what is known now. */
void gateway_reset_owe(struct core *c, struct reset *x, uint64_t run);
/* Nothing is being stored: asks the PNE if x->ask, or gives the verdict. */
void gateway_reset_go_on(struct core *c, struct reset *x);
/* The verdict that the reset is outstanding; why, unless the PNE itself has said why. */
void gateway_reset_unconfirmed(struct core *c, struct reset *x, const char *why);
/* A fact about the whole device. */
void gateway_reset_fact(struct core *c, struct vault_batch *b, enum ledger_event event,
			const struct revocation *r);
/* The verdict where there is nothing to revoke or, of a device that is known, to reset; or of the
 * errno. */
void gateway_reset_absent(struct core *c, uint64_t run, const struct name *entity, int error,
			  bool known);

#endif
