/*
 * A nonce is 64 hex digits: serial (8 bytes), time of making (8 bytes), and the first 16 bytes of
 * HMAC(key, serial ‖ time) under a key that dies with the process. The counts that were used are
 * kept in a table in which serial s may only stand in slot s mod capacity; a later serial takes the
 * slot over, and the earlier one is stale from then on. So the table is bounded and no count is
 * ever taken twice.
 */

#include "protocol/digest.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NONCE_TAG_SIZE 16
#define NONCE_SIZE     (8 + 8 + NONCE_TAG_SIZE)

struct used {
	uint64_t serial; /* 0: none yet */
	uint32_t count;
};

struct digest_nonces {
	pthread_mutex_t lock;
	struct secret *key;
	uint64_t lifetime_ms;
	uint64_t last_serial;
	size_t capacity;
	struct used used[];
};

struct digest_nonces *digest_nonces_new(uint64_t lifetime_ms, size_t capacity)
{
	struct digest_nonces *n;

	if (capacity == 0 || capacity > SIZE_MAX / 2 / sizeof(struct used))
		return NULL;
	n = calloc(1, sizeof(*n) + capacity * sizeof(n->used[0]));
	if (!n)
		return NULL;
	n->key = secret_random(KEY_SIZE);
	if (!n->key || pthread_mutex_init(&n->lock, NULL) != 0) {
		secret_unref(n->key);
		free(n);
		return NULL;
	}
	n->lifetime_ms = lifetime_ms;
	n->capacity = capacity;
	return n;
}

void digest_nonces_free(struct digest_nonces *n)
{
	if (!n)
		return;
	secret_unref(n->key);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

static void put64(uint8_t *out, uint64_t value)
{
	for (int i = 0; i < 8; i++)
		out[i] = (uint8_t)(value >> (56 - 8 * i));
}

static uint64_t get64(const uint8_t *in)
{
	uint64_t value = 0;

	for (int i = 0; i < 8; i++)
		value = value << 8 | in[i];
	return value;
}

static int nonce_tag(const struct digest_nonces *n, const uint8_t *nonce, uint8_t *tag)
{
	uint8_t mac[P1_MAC_SIZE];
	int r = p1_hmac(n->key, bytes_of(nonce, NONCE_SIZE - NONCE_TAG_SIZE), mac);

	if (r == 0)
		memcpy(tag, mac, NONCE_TAG_SIZE);
	return r;
}

int digest_nonce_make(struct digest_nonces *n, uint64_t now_ms, char out[129])
{
	uint8_t nonce[NONCE_SIZE];
	int r;

	pthread_mutex_lock(&n->lock);
	put64(nonce, ++n->last_serial);
	pthread_mutex_unlock(&n->lock);
	put64(nonce + 8, now_ms);
	r = nonce_tag(n, nonce, nonce + 16);
	if (r != 0)
		return r;
	return hex_encode(bytes_of(nonce, sizeof(nonce)), out, 129);
}

static enum digest_nonce_outcome count_use(struct used *u, uint64_t serial, uint32_t count)
{
	if (u->serial > serial)
		return DIGEST_STALE;
	if (count == 0 || (u->serial == serial && count <= u->count))
		return DIGEST_REPLAYED;
	u->serial = serial;
	u->count = count;
	return DIGEST_FRESH;
}

enum digest_nonce_outcome digest_nonce_use(struct digest_nonces *n, struct bytes nonce,
					   uint32_t count, uint64_t now_ms)
{
	uint8_t b[NONCE_SIZE], tag[NONCE_TAG_SIZE];
	enum digest_nonce_outcome outcome;
	uint64_t serial, made;
	size_t size;

	if (hex_decode(nonce, b, sizeof(b), &size) != 0 || size != sizeof(b))
		return DIGEST_STALE;
	if (nonce_tag(n, b, tag) != 0 ||
	    !constant_time_equal(bytes_of(tag, sizeof(tag)), bytes_of(b + 16, sizeof(tag))))
		return DIGEST_STALE;
	serial = get64(b);
	made = get64(b + 8);
	if (made > now_ms || now_ms - made > n->lifetime_ms)
		return DIGEST_STALE;
	pthread_mutex_lock(&n->lock);
	outcome = count_use(&n->used[serial % n->capacity], serial, count);
	pthread_mutex_unlock(&n->lock);
	return outcome;
}
