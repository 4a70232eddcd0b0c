#ifndef PNGW_SERVER_FENCE_H
#define PNGW_SERVER_FENCE_H

/*
 * A PN GW is handed over from one box to another: doc/handover.md. Each hand-over counts its term,
 * and the server keeps the highest. A box of a former term is not the PN GW any more, whatever
 * credentials it has: nothing that it sends, of its own or of its PNEs, is taken.
 *
 * Which box is at the other end of a connection is what it tells in its state report there. One
 * that was never handed over tells nothing, which is term 0.
 */

#include "server/procedure.h"

/*
 * Whether the sender of p's request is the box that the PN GW is now. STATUS_OK; HANDED_OVER: it is
 * not; UNAVAILABLE: it has not told yet, or is not and this is the request of one of its PNEs,
 * which may ask again by way of the other box; STORAGE_FAILED. *known is what the store has, all
 * zero where it has none.
 */
enum status server_fence(struct store *s, const struct server_procedure *p,
			 struct store_handover *known);

/* The same for what a state report tells. NOT_EXPECTED: a term that no box has come to. */
enum status server_fence_report(const struct m_gateway_state_report *r,
				const struct store_handover *known);

/* After procedure_refuse(p, HANDED_OVER): since when, for the PN GW and for the journal. */
void server_fence_explain(struct server_procedure *p, const struct store_handover *known);

/* A state report was taken: what it tells is from now on what its connection is. */
void server_fence_told(const struct server_procedure *p);

#endif
