/*
 * make-vault FILE KEYFILE COUNT [pnes]: a vault with COUNT records, for tests. With pnes they are
 * what a PN GW keeps of COUNT / 2 devices of alice: whose it is, and an EUKey of its pool.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/records.h"
#include "storage/vault.h"

#define AT_ONCE 4096

static void put(struct vault_batch *b, int i, bool pnes)
{
	struct name entity = {.text = ""}, alice = {.text = ""};
	struct vault_id id = {.kind = VAULT_EUKEY};
	struct secret *key = NULL;
	char owner[32];
	char content[64];

	(void)snprintf(owner, sizeof(owner), "headset-%d", pnes ? i / 2 : i);
	(void)name_set(&entity, bytes_text(owner));
	(void)name_set(&alice, bytes_text("alice"));
	if (!pnes) {
		(void)snprintf(content, sizeof(content), "content of %d", i);
		id.owner = bytes_text(owner);
		vault_batch_put(b, &id, bytes_text(content));
	} else if (i % 2 == 0) {
		records_put_pne_owner(b, &entity, &alice);
	} else {
		key = secret_random(KEY_SIZE);
		records_put_eukey(b, &entity, &alice, 1, key, KEY_UNSPENT, 0);
		secret_unref(key);
	}
}

static int fill(struct vault *v, int count, bool pnes)
{
	for (int i = 0; i < count;) {
		struct vault_batch *b = vault_batch_new();

		if (!b)
			return -1;
		for (int end = i + AT_ONCE; i < end && i < count; i++)
			put(b, i, pnes);
		if (vault_submit(v, b, NULL, NULL) != 0 || vault_flush(v) != 1)
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE};
	struct vault_options options = {.openers = &opener, .opener_count = 1, .create = true};
	struct vault *v = NULL;
	char why[256] = "";
	int r;

	if (argc != 4 && (argc != 5 || strcmp(argv[4], "pnes") != 0))
		return EXIT_FAILURE;
	options.path = argv[1];
	opener.path = argv[2];
	if (vault_open(&options, &v, why, sizeof(why)) != 0) {
		(void)fprintf(stderr, "make-vault: %s\n", why);
		return EXIT_FAILURE;
	}
	r = fill(v, atoi(argv[3]), argc == 5);
	vault_close(v);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
