#ifndef PNGW_SERVER_REVOKE_H
#define PNGW_SERVER_REVOKE_H

/*
 * What a revocation makes of an element: every EUKey it was ever given is worthless and erased, it
 * is nobody's, and a PNE is to be reset. Used by the procedure that a PN GW tells of revocations
 * and by the operator's tool.
 */

#include "server/store.h"

/*
 * The element's revocation after one was told of that has this epoch and key index (merged by the
 * higher), or that the operator makes (epoch: one more than before, key_index 0). Everything that
 * was given out until now is revoked: a key that the PN GW did not know of may be in the device
 * too. confirmed: the PNE has said already that it erased what it held.
 */
struct store_revocation server_revocation(const struct store_element *element, uint32_t epoch,
					  uint32_t key_index, bool confirmed, int64_t now);

/*
 * Adds to b what brings element, as it was loaded, to after. keys are those of its owner, as
 * store_keys() gave them, all zero where there are none: before they are erased, what resets a PNE
 * that holds one of them is made of them, and is given in *made too (count 0: nothing was). Nothing
 * can be made of those that are damaged: made->damaged says how many. 0 or a negative errno.
 */
int server_revoke(struct store_batch *b, const struct store_element *element,
		  const struct store_revocation *after, const struct store_key keys[STORE_KEYS_MAX],
		  struct store_resets *made);

#endif
