#ifndef PNGW_GATEWAY_HANDOVER_H
#define PNGW_GATEWAY_HANDOVER_H

/*
 * Which of the boxes that were one PN GW in turn has this vault, and whether it may serve:
 * doc/handover.md. The record is in the vault of a PN GW that was ever handed over.
 */

#include "protocol/message.h"
#include "storage/vault.h"

/* Stable numbers: they are in the vault. */
enum handover_state {
	HANDOVER_SERVES = 0,  /* it is the PN GW */
	HANDOVER_GIVEN = 1,   /* a file for another box was made: pngwd does not start */
	HANDOVER_ASKS = 2,    /* it was taken, or taken back: it serves once the server says so */
	HANDOVER_REFUSED = 3, /* the server said that another box is the PN GW; it may say other */
};
#define HANDOVER_STATE_MAX 3

struct handover {
	enum handover_state state;
	uint32_t term;  /* how often the PN GW was handed over until it came here; 0: never */
	uint32_t after; /* the term that it follows */
	uint32_t given; /* the highest term that a file was made for; 0: none was */
	uint8_t holder[HOLDER_SIZE]; /* drawn where term was taken; of no meaning for term 0 */
	uint64_t since;              /* of state, 1970 */
};

/*
 * 0 (all zero where there is none) or a negative errno. A record that does not open counts as one
 * that asks: the server knows better.
 */
int handover_get(struct vault *v, struct handover *out);
/* Adds it to b; a failure shows in vault_submit(). */
void handover_put(struct vault_batch *b, const struct handover *h);

/* "2026-11-26 09:30:00 UTC"; returns out, always terminated. */
#define HANDOVER_TIME_SIZE 32
const char *handover_time(uint64_t since, char out[HANDOVER_TIME_SIZE]);

#endif
