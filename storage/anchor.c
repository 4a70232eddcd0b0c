#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/anchor.h"

struct anchor {
	const struct anchor_kind *kind;
	void *context;
	char *specification;
};

static const struct anchor_kind *const kinds[] = {
	&anchor_kind_file,
#ifdef HAVE_TPM
	&anchor_kind_tpm,
#endif
};

/* Places in a statement. */
enum {
	AT_SEQUENCE = LEDGER_VAULT_ID_SIZE,
	AT_HEAD = AT_SEQUENCE + 4,
	AT_SIGNATURE = AT_HEAD + LEDGER_HASH_SIZE,
};

static void statement_context(const uint8_t *statement, struct p1_context *c)
{
	p1_context_begin(c, "pngw anchor");
	p1_context_add(c, bytes_of(statement, AT_SIGNATURE));
}

int anchor_statement_make(const struct ledger_signer *s, const struct ledger_state *state,
			  uint8_t out[ANCHOR_STATEMENT_SIZE])
{
	struct p1_context c;

	memcpy(out, state->vault_id, LEDGER_VAULT_ID_SIZE);
	for (size_t i = 0; i < 4; i++)
		out[AT_SEQUENCE + i] = (uint8_t)(state->sequence >> (24 - 8 * i));
	memcpy(out + AT_HEAD, state->head, LEDGER_HASH_SIZE);
	statement_context(out, &c);
	return p1_ed25519_sign(s->signing_key, s->public_key, bytes_of(c.data, c.size),
			       out + AT_SIGNATURE);
}

int anchor_statement_check(const uint8_t statement[ANCHOR_STATEMENT_SIZE],
			   const uint8_t vault_id[LEDGER_VAULT_ID_SIZE],
			   const uint8_t public_key[KEY_SIZE], struct ledger_state *out)
{
	const uint8_t *number = statement + AT_SEQUENCE;
	struct p1_context c;
	int r;

	statement_context(statement, &c);
	r = p1_ed25519_verify(public_key, bytes_of(c.data, c.size), statement + AT_SIGNATURE);
	if (r == 0 && memcmp(statement, vault_id, LEDGER_VAULT_ID_SIZE) != 0)
		r = P1_REFUSED;
	if (r != 0)
		return r < 0 ? r : ANCHOR_DAMAGED;
	memcpy(out->vault_id, vault_id, LEDGER_VAULT_ID_SIZE);
	out->sequence = (uint32_t)number[0] << 24 | (uint32_t)number[1] << 16 |
			(uint32_t)number[2] << 8 | number[3];
	memcpy(out->head, statement + AT_HEAD, LEDGER_HASH_SIZE);
	return 0;
}

int anchor_open(const char *specification, struct secret *auth, struct anchor **out, char *why,
		size_t why_size)
{
	struct anchor a = {NULL, NULL, NULL};
	int r;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strncmp(specification, kinds[i]->prefix, strlen(kinds[i]->prefix)) == 0)
			a.kind = kinds[i];
	}
	if (!a.kind) {
		snprintf(why, why_size,
			 "anchor %s: neither file:PATH nor tpm:HANDLE, or this build has no TPM",
			 specification);
		return ANCHOR_UNKNOWN;
	}
	a.specification = strdup(specification);
	*out = malloc(sizeof(**out));
	r = a.specification && *out ? a.kind->open(specification + strlen(a.kind->prefix), auth,
						   &a.context, why, why_size)
				    : -ENOMEM;
	if (r != 0) {
		free(a.specification);
		free(*out);
		*out = NULL;
		if (r == -ENOMEM)
			snprintf(why, why_size, "anchor: %s", strerror(ENOMEM));
		return r;
	}
	**out = a;
	return 0;
}

void anchor_close(struct anchor *a)
{
	if (!a)
		return;
	a->kind->close(a->context);
	free(a->specification);
	free(a);
}

/* The rest of reading, whatever the medium: r is what reading it gave. */
static int check(int r, const char *name, const uint8_t *statement, const uint8_t *vault_id,
		 const uint8_t *public_key, struct ledger_state *out, char *why, size_t why_size)
{
	if (r == 0)
		r = anchor_statement_check(statement, vault_id, public_key, out);
	if (r == ANCHOR_ABSENT)
		snprintf(why, why_size, "anchor %s: there is none", name);
	else if (r > 0)
		snprintf(why, why_size, "anchor %s: it is damaged, forged, or of another vault",
			 name);
	else if (r < 0)
		snprintf(why, why_size, "anchor %s: %s", name, strerror(-r));
	return r;
}

int anchor_read(struct anchor *a, const uint8_t vault_id[LEDGER_VAULT_ID_SIZE],
		const uint8_t public_key[KEY_SIZE], struct ledger_state *out, char *why,
		size_t why_size)
{
	uint8_t statement[ANCHOR_STATEMENT_SIZE];
	int r = a->kind->read(a->context, statement);

	return check(r, a->specification, statement, vault_id, public_key, out, why, why_size);
}

int anchor_file_read(const char *path, const uint8_t vault_id[LEDGER_VAULT_ID_SIZE],
		     const uint8_t public_key[KEY_SIZE], struct ledger_state *out, char *why,
		     size_t why_size)
{
	uint8_t statement[ANCHOR_STATEMENT_SIZE];
	void *context = NULL;
	int r = anchor_kind_file.open(path, NULL, &context, why, why_size);

	if (r != 0)
		return r;
	r = anchor_kind_file.read(context, statement);
	anchor_kind_file.close(context);
	return check(r, path, statement, vault_id, public_key, out, why, why_size);
}

int anchor_write(struct anchor *a, const uint8_t statement[ANCHOR_STATEMENT_SIZE])
{
	return a->kind->write(a->context, statement);
}

unsigned anchor_interval(const struct anchor *a)
{
	return a->kind->interval;
}
