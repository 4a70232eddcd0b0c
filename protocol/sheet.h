#ifndef PNGW_PROTOCOL_SHEET_H
#define PNGW_PROTOCOL_SHEET_H

/*
 * A PN GW's signature under the sheet of a tray, by the key of its ledger. The label of what is
 * signed is another than those of the ledger and of its anchor, so that none can be taken for the
 * other: ctx("pngw tray sheet", vault id, Entity ID, digest, time, sequence, head), in the notation
 * of protocol/p1.h, time as 8 bytes and sequence as 4, big-endian.
 */

#include "protocol/p1.h"

#define SHEET_DIGEST_SIZE   32 /* SHA-256 of the sheet */
#define SHEET_VAULT_ID_SIZE 16
#define SHEET_HEAD_SIZE     32

struct sheet_signature {
	uint8_t public_key[KEY_SIZE];
	uint8_t vault_id[SHEET_VAULT_ID_SIZE];
	uint64_t time; /* seconds since 1970 by the PN GW's clock */
	/* The ledger as it was when the sheet was signed. */
	uint32_t ledger_sequence;
	uint8_t ledger_head[SHEET_HEAD_SIZE];
	uint8_t signature[P1_SIGNATURE_SIZE];
};

/* What is signed: everything of s but the signature. entity: of the PN GW. */
void sheet_context(const struct sheet_signature *s, struct bytes entity,
		   const uint8_t digest[SHEET_DIGEST_SIZE], struct p1_context *c);
/* 0, P1_REFUSED (that key did not sign this) or a negative errno. */
int sheet_verify(const struct sheet_signature *s, struct bytes entity,
		 const uint8_t digest[SHEET_DIGEST_SIZE]);

#endif
