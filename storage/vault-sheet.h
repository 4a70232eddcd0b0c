#ifndef PNGW_STORAGE_VAULT_SHEET_H
#define PNGW_STORAGE_VAULT_SHEET_H

#include "protocol/sheet.h"
#include "storage/vault.h"

/* Signs a sheet with the key of v's ledger. entity: of the PN GW. 0 or a negative errno. */
int vault_sign_sheet(struct vault *v, struct bytes entity, const uint8_t digest[SHEET_DIGEST_SIZE],
		     uint64_t time, struct sheet_signature *out);

#endif
