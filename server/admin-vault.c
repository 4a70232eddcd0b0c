/* Where the vaults of PN GWs stand by what these told, and that the operator forgets it. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/admin.h"

#define VAULT_ID_SIZE 16

static int print_vault(void *arg, struct bytes gateway, struct bytes vault_id, uint32_t sequence,
		       int64_t told)
{
	const time_t at = (time_t)told;
	char id[2 * VAULT_ID_SIZE + 1], when[32] = "";
	struct tm tm;

	(void)arg;
	if (hex_encode(vault_id, id, sizeof(id)) < 0)
		return STORE_DAMAGED;
	if (gmtime_r(&at, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	(void)printf("%.*s\t%s\tledger at %lu\ttold %s\n", (int)gateway.size,
		     (const char *)gateway.data, id, (unsigned long)sequence, when);
	return 0;
}

int admin_list_vaults(struct admin *a)
{
	return store_each_vault(a->store, print_vault, NULL);
}

/* A walk may not write. */
struct chosen {
	struct bytes gateway;
	struct bytes vault_id; /* none: every vault of it */
	struct store_batch batch;
	size_t of_gateway, count;
};

static int choose(void *arg, struct bytes gateway, struct bytes vault_id, uint32_t sequence,
		  int64_t told)
{
	struct chosen *c = arg;

	(void)sequence;
	(void)told;
	if (!bytes_equal(gateway, c->gateway) || vault_id.size != VAULT_ID_SIZE)
		return 0;
	c->of_gateway++;
	if (c->vault_id.size > 0 && !bytes_equal(vault_id, c->vault_id))
		return 0;
	c->count++;
	store_batch_forget_vault_state(&c->batch, gateway, vault_id.data);
	return 0;
}

int admin_forget_vault(struct admin *a)
{
	uint8_t id[VAULT_ID_SIZE];
	struct chosen c = {.gateway = bytes_text(a->argv[0])};
	size_t size = 0;
	int r;

	if (a->argc > 1) {
		if (hex_decode(bytes_text(a->argv[1]), id, sizeof(id), &size) < 0 ||
		    size != sizeof(id))
			return admin_refuse("a vault is named by the 32 hex digits that "
					    "'list vaults' shows");
		c.vault_id = bytes_of(id, sizeof(id));
	}
	r = store_each_vault(a->store, choose, &c);
	if (r == 0 && c.count > 0)
		r = store_commit(a->store, &c.batch);
	store_batch_clear(&c.batch);
	if (r != 0)
		return admin_fail(a->argv[0], r);
	if (c.count == 0) {
		(void)fprintf(stderr,
			      "cpns-server-admin: %s has told of no %s; see 'list vaults'\n",
			      a->argv[0], c.of_gateway > 0 ? "such vault" : "vault");
		return EXIT_FAILURE;
	}
	(void)printf("%s: %zu vaults forgotten\n", a->argv[0], c.count);
	return EXIT_SUCCESS;
}
