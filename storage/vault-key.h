#ifndef PNGW_STORAGE_VAULT_KEY_H
#define PNGW_STORAGE_VAULT_KEY_H

/*
 * Key files: 64 hex digits and perhaps a newline, an ordinary file of mode 0600 or stricter that
 * belongs to the user of the process or to root. Directly in $CREDENTIALS_DIRECTORY it may be 0440,
 * which is how systemd shows what only the service may read. "credential:NAME" in a path's place is
 * the file NAME there.
 *
 * Each function returns 0, VAULT_KEY_FILE or a negative errno, and unless it is 0 why (of why_size
 * bytes) holds one sentence. They share no state and may run on any thread.
 */

#include "storage/vault.h"

/* The KEY_SIZE bytes of a key file as a new reference. */
int vault_key_load(const char *path, struct secret **out, char *why, size_t why_size);

/* Whether there is one, good or bad. */
int vault_key_exists(const char *path, bool *out, char *why, size_t why_size);

/*
 * Writes a new key file of key's KEY_SIZE bytes, durable on return; -EEXIST when there is one.
 * Credentials are not made here: VAULT_KEY_FILE.
 */
int vault_key_create(const char *path, const struct secret *key, char *why, size_t why_size);

#endif
