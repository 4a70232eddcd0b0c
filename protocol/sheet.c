#include "protocol/sheet.h"

void sheet_context(const struct sheet_signature *s, struct bytes entity,
		   const uint8_t digest[SHEET_DIGEST_SIZE], struct p1_context *c)
{
	uint8_t time[8];

	for (size_t i = 0; i < sizeof(time); i++)
		time[i] = (uint8_t)(s->time >> (56 - 8 * i));
	p1_context_begin(c, "pngw tray sheet");
	p1_context_add(c, bytes_of(s->vault_id, sizeof(s->vault_id)));
	p1_context_add(c, entity);
	p1_context_add(c, bytes_of(digest, SHEET_DIGEST_SIZE));
	p1_context_add(c, bytes_of(time, sizeof(time)));
	p1_context_add_index(c, s->ledger_sequence);
	p1_context_add(c, bytes_of(s->ledger_head, sizeof(s->ledger_head)));
}

int sheet_verify(const struct sheet_signature *s, struct bytes entity,
		 const uint8_t digest[SHEET_DIGEST_SIZE])
{
	struct p1_context c;

	sheet_context(s, entity, digest, &c);
	return p1_ed25519_verify(s->public_key, bytes_of(c.data, c.size), s->signature);
}
