/* make-vault FILE KEYFILE COUNT: a vault with COUNT records, for tests. */

#include <stdio.h>
#include <stdlib.h>

#include "storage/vault.h"

static int fill(struct vault *v, int count)
{
	struct vault_batch *b = vault_batch_new();

	if (!b)
		return -1;
	for (int i = 0; i < count; i++) {
		char owner[32];
		char content[64];
		struct vault_id id = {.kind = VAULT_EUKEY};

		snprintf(owner, sizeof(owner), "headset-%d", i);
		snprintf(content, sizeof(content), "content of %d", i);
		id.owner = bytes_text(owner);
		vault_batch_put(b, &id, bytes_text(content));
	}
	if (vault_submit(v, b, NULL, NULL) != 0)
		return -1;
	return vault_flush(v) == 1 ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE};
	struct vault_options options = {.openers = &opener, .opener_count = 1, .create = true};
	struct vault *v = NULL;
	char why[256] = "";
	int r;

	if (argc != 4)
		return EXIT_FAILURE;
	options.path = argv[1];
	opener.path = argv[2];
	if (vault_open(&options, &v, why, sizeof(why)) != 0) {
		(void)fprintf(stderr, "make-vault: %s\n", why);
		return EXIT_FAILURE;
	}
	r = fill(v, atoi(argv[3]));
	vault_close(v);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
