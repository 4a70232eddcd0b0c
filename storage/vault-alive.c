#include <errno.h>
#include <stddef.h>

#include "storage/vault-internal.h"

int vault_alive(struct vault *v)
{
	const struct vault_id identity = {.kind = VAULT_IDENTITY};
	struct vault_content content;
	int moved = 0;
	int r;

	/* A VFS that cannot tell leaves it 0. */
	(void)sqlite3_file_control(v->db, NULL, SQLITE_FCNTL_HAS_MOVED, &moved);
	if (moved)
		return -ESTALE;
	r = vault_get(v, &identity, &content);
	if (r == 0)
		vault_content_free(&content);
	/* Absent or damaged, it was looked for. */
	return r < 0 ? r : 0;
}
