#ifndef PNGW_GATEWAY_OPENERS_H
#define PNGW_GATEWAY_OPENERS_H

/* What opens the vault according to the configuration, the quick ones first. */

#include "gateway/config.h"

struct gateway_openers {
	struct vault_opener opener[3];
	size_t count;
	struct secret *passphrase;
};

/*
 * Paths are borrowed from config. The passphrase's file is read: one line, a file as a key file
 * must be. 0; or VAULT_KEY_FILE or a negative errno and one sentence in why: then out has the
 * openers without the passphrase, which may do for a vault that is there.
 */
int gateway_openers_load(const struct config *config, struct gateway_openers *out, char *why,
			 size_t why_size);
void gateway_openers_clear(struct gateway_openers *o);

#endif
