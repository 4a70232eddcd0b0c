#include "storage/vault-sheet.h"

#include <string.h>

#include "storage/vault-ledger.h"

_Static_assert(SHEET_VAULT_ID_SIZE == LEDGER_VAULT_ID_SIZE, "vault id");
_Static_assert(SHEET_HEAD_SIZE == LEDGER_HASH_SIZE, "head");

int vault_sign_sheet(struct vault *v, struct bytes entity, const uint8_t digest[SHEET_DIGEST_SIZE],
		     uint64_t time, struct sheet_signature *out)
{
	struct sheet_signature s = {.time = time};
	struct ledger_signer signer;
	struct ledger_state state;
	struct p1_context c;
	int r = vault_ledger_keys(v);

	if (r != 0)
		return r;
	signer = vault_ledger_signer(v);
	vault_ledger_state(v, &state);
	memcpy(s.public_key, signer.public_key, sizeof(s.public_key));
	memcpy(s.vault_id, signer.vault_id, sizeof(s.vault_id));
	memcpy(s.ledger_head, state.head, sizeof(s.ledger_head));
	s.ledger_sequence = state.sequence;
	sheet_context(&s, entity, digest, &c);
	r = p1_ed25519_sign(signer.signing_key, signer.public_key, bytes_of(c.data, c.size),
			    s.signature);
	if (r == 0)
		*out = s;
	return r;
}
