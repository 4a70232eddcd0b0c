#ifndef PNGW_PROTOCOL_SECRET_H
#define PNGW_PROTOCOL_SECRET_H

/*
 * A secret: password, password hash, EUKey, Temporary Key, KEK, vault key.
 *
 * It lives in memory that is locked, left out of core dumps and wiped when the last reference
 * goes. It has no formatting function on purpose. Secrets are shared by reference and are not
 * changed once shared. Allocation and release may happen on any thread.
 */

#include "protocol/bytes.h"

struct secret;

/* Largest secret in bytes. */
#define SECRET_MAX_SIZE 512

/* Size of every key the profile derives or generates, in bytes. */
#define KEY_SIZE 32

/*
 * Takes locked memory for the first secrets so that a box that cannot lock memory says so when it
 * starts. Returns 0, or -ENOMEM / -EPERM from mlock(2). Calling it is optional.
 */
int secret_setup(void);

/*
 * A zeroed secret with one reference, or NULL when size is 0 or above the limit or memory is out.
 */
struct secret *secret_new(size_t size);

/* A secret that holds a copy of b; the caller still has to wipe b. NULL as for secret_new(). */
struct secret *secret_copy(struct bytes b);

/* size random bytes from the wolfCrypt RNG. NULL also when the RNG fails. */
struct secret *secret_random(size_t size);

/* Another reference to s, which it returns. NULL stays NULL. */
struct secret *secret_ref(struct secret *s);

/* Drops a reference; the last one wipes. NULL is allowed. */
void secret_unref(struct secret *s);

/* *s is dropped and set to NULL: for owners that outlive the secret. */
void secret_clear(struct secret **s);

size_t secret_size(const struct secret *s);

/* View of the content, valid while the caller holds its reference. */
struct bytes secret_bytes(const struct secret *s);

/* Where the creator writes the content, before the first secret_ref(). */
uint8_t *secret_buffer(struct secret *s);

/* Shortens a freshly filled secret and wipes what lies beyond. size must not exceed its size. */
void secret_shrink(struct secret *s, size_t size);

/* Constant time in the content; sizes are not secret. Two NULLs are not equal. */
bool secret_equal(const struct secret *a, const struct secret *b);

/* Constant-time comparison of public-size values such as MACs. */
bool constant_time_equal(struct bytes a, struct bytes b);

/* Overwrites memory so that the compiler cannot leave it out. */
void wipe(void *data, size_t size);

/*
 * Zeroed, locked room of SECRET_SCRATCH_SIZE bytes for a computation over a secret that needs more
 * of it than a secret has. NULL when it cannot be locked. Freeing wipes; NULL is allowed.
 */
#define SECRET_SCRATCH_SIZE 4096
void *secret_scratch_new(void);
void secret_scratch_free(void *scratch);

/* How many secrets are alive: tests end with none. */
size_t secret_count(void);

static inline void secret_unref_scope(struct secret **s)
{
	secret_unref(*s);
}

/* A local reference that is dropped when its scope ends. */
#define SCOPED_SECRET __attribute__((cleanup(secret_unref_scope))) struct secret

#endif
