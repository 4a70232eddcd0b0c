/* Gateway1.SignSheet: the signature under a technician's sheet of a tray. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <time.h>

#include "storage/vault-sheet.h"

static void put_hex(struct api_writer *w, const char *key, const uint8_t *data, size_t size)
{
	char hex[2 * P1_SIGNATURE_SIZE + 1];

	if (hex_encode(bytes_of(data, size), hex, sizeof(hex)) == 0)
		gateway_api_text(w, key, hex);
}

void gateway_api_sign_sheet(struct api_call *call)
{
	const struct name *entity = &call->api->options.config->entity_id;
	struct sheet_signature s;
	struct api_writer w;
	const void *digest;
	size_t size;
	int r;

	if (sd_bus_message_read_array(call->m, 'y', &digest, &size) < 0 ||
	    size != SHEET_DIGEST_SIZE) {
		gateway_api_error(call->m, "InvalidArguments", "a digest is %d bytes",
				  SHEET_DIGEST_SIZE);
		return;
	}
	r = vault_sign_sheet(call->api->vault, name_bytes(entity), digest, (uint64_t)time(NULL),
			     &s);
	if (r != 0) {
		gateway_api_errno(call->m, r < 0 ? r : -EIO);
		return;
	}
	gateway_api_reply_begin(&w, call->m);
	gateway_api_dict_begin(&w);
	gateway_api_text(&w, "Entity", entity->text);
	put_hex(&w, "PublicKey", s.public_key, sizeof(s.public_key));
	put_hex(&w, "VaultId", s.vault_id, sizeof(s.vault_id));
	gateway_api_u64(&w, "Time", s.time);
	gateway_api_u32(&w, "LedgerEntries", s.ledger_sequence);
	put_hex(&w, "LedgerHead", s.ledger_head, sizeof(s.ledger_head));
	put_hex(&w, "Signature", s.signature, sizeof(s.signature));
	gateway_api_dict_end(&w);
	gateway_api_send(&w);
}
