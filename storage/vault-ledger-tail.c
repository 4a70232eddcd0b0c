/* The ledger's newest entries, for people. */

#include "storage/vault-ledger.h"

#include <stdlib.h>

static const struct ledger_row *row_at(const struct ledger_row *rows, size_t count, uint32_t place)
{
	for (size_t i = 0; i < count; i++) {
		if (rows[i].place == place)
			return &rows[i];
	}
	return NULL;
}

int vault_ledger_tail(struct vault *v, uint32_t count, vault_entry_fn *each, void *arg)
{
	const struct vault_ledger *l = v->ledger;
	struct ledger_row *rows = NULL;
	uint32_t first = l->place > count ? l->place - count : 0;
	size_t row_count = 0;
	int r = vault_ledger_rows(v, 0, &rows, &row_count);

	for (uint32_t place = first; r == 0 && place < l->place; place++) {
		const struct ledger_row *row = row_at(rows, row_count, place);
		uint8_t entry[LEDGER_ENTRY_SIZE];
		struct ledger_entry decoded;

		if (!row &&
		    (l->fd < 0 || place >= l->filed || vault_ledger_read(l, place, entry) != 0))
			continue;
		ledger_entry_decode(row ? row->entry : entry, &decoded);
		each(arg, &decoded);
	}
	free(rows);
	return r;
}

bool vault_ledger_names(const struct vault *v, const char *what, struct bytes name,
			const uint8_t tag[LEDGER_TAG_SIZE])
{
	uint8_t made[LEDGER_TAG_SIZE];

	return ledger_tag(vault_ledger_signer(v).tag_key, what, name, made) == 0 &&
	       bytes_equal(bytes_of(made, sizeof(made)), bytes_of(tag, LEDGER_TAG_SIZE));
}
