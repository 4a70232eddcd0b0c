#ifndef PNGW_GATEWAY_KEY_SET_H
#define PNGW_GATEWAY_KEY_SET_H

/* What Figure 7 and the filling up of a pool share: the server's set of EUKeys, random or a chain.
 */

#include "gateway/procedure.h"

/*
 * NULL when the set is one that p asked for, and of indexes above all that are in the pool: an
 * index that was used before would be a key that is issued twice. Otherwise what is wrong with it.
 */
const char *gateway_key_set_defect(const struct procedure *p, const struct m_key_set *set,
				   const struct pool *pool);

/*
 * Unwraps the set and adds its EUKeys (unspent), the Temporary Key, the owner and the facts to b.
 * The Temporary Key and the key of the lowest index are then p's. 0, P1_REFUSED or a negative
 * errno.
 */
int gateway_key_set_take(struct procedure *p, const struct event *e, const struct m_key_set *set,
			 struct vault_batch *b);

/* What checks a password without the server: a MAC under its PH. 0 or a negative errno. */
int gateway_verifier_mac(const struct profile *x, const struct secret *ph, const struct name *user,
			 uint8_t mac[P1_MAC_SIZE]);

#endif
