#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/sha256.h>

#include "protocol/digest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HASH_SIZE 32
#define HEX_SIZE  (2 * HASH_SIZE)

/* H(parts[0] ":" parts[1] ...) as lower-case hex and a NUL. */
static int hash_joined(const struct bytes *parts, size_t count, char hex[HEX_SIZE + 1])
{
	uint8_t hash[HASH_SIZE];
	wc_Sha256 sha;
	int r = wc_InitSha256(&sha);

	if (r != 0)
		return -EIO;
	for (size_t i = 0; i < count && r == 0; i++) {
		if (i > 0)
			r = wc_Sha256Update(&sha, (const uint8_t *)":", 1);
		if (r == 0 && parts[i].size > 0)
			r = wc_Sha256Update(&sha, parts[i].data, (word32)parts[i].size);
	}
	if (r == 0)
		r = wc_Sha256Final(&sha, hash);
	wc_Sha256Free(&sha);
	wipe(&sha, sizeof(sha));
	if (r == 0)
		r = hex_encode(bytes_of(hash, sizeof(hash)), hex, HEX_SIZE + 1);
	else
		r = -EIO;
	wipe(hash, sizeof(hash));
	return r;
}

int digest_response_general(struct bytes password, const char *method,
			    const struct digest_input *in, uint8_t out[32])
{
	const struct bytes a1[] = {in->user, in->realm, password};
	const struct bytes a2[] = {bytes_text(method), in->uri};
	char a1_hex[HEX_SIZE + 1], a2_hex[HEX_SIZE + 1], response[HEX_SIZE + 1], count[9];
	size_t written;
	int r;

	snprintf(count, sizeof(count), "%08" PRIx32, in->nonce_count);
	r = hash_joined(a1, 3, a1_hex);
	if (r == 0)
		r = hash_joined(a2, 2, a2_hex);
	if (r == 0) {
		const struct bytes all[] = {bytes_of(a1_hex, HEX_SIZE), in->nonce,
					    bytes_of(count, 8),         in->client_nonce,
					    bytes_text("auth"),         bytes_of(a2_hex, HEX_SIZE)};

		r = hash_joined(all, 6, response);
	}
	wipe(a1_hex, sizeof(a1_hex));
	if (r == 0)
		r = hex_decode(bytes_of(response, HEX_SIZE), out, HASH_SIZE, &written);
	return r;
}

int digest_response(const struct secret *ph, const struct digest_input *in, uint8_t out[32])
{
	SCOPED_SECRET *hex = NULL;
	size_t size = 2 * secret_size(ph);
	int r;

	hex = secret_new(size + 1);
	if (!hex)
		return -ENOMEM;
	r = hex_encode(secret_bytes(ph), (char *)secret_buffer(hex), size + 1);
	if (r != 0)
		return r;
	return digest_response_general(bytes_of(secret_bytes(hex).data, size), "POST", in, out);
}

struct bytes digest_salt(struct bytes nonce, struct bytes client_nonce, uint8_t *out)
{
	if (nonce.size > DIGEST_SALT_MAX || client_nonce.size > DIGEST_SALT_MAX - nonce.size)
		return BYTES_NONE;
	if (nonce.size > 0)
		memcpy(out, nonce.data, nonce.size);
	if (client_nonce.size > 0)
		memcpy(out + nonce.size, client_nonce.data, client_nonce.size);
	return bytes_of(out, nonce.size + client_nonce.size);
}

int digest_client_nonce(char out[33])
{
	uint8_t random[16];
	int r = p1_random(random, sizeof(random));

	if (r != 0)
		return r;
	return hex_encode(bytes_of(random, sizeof(random)), out, 33);
}

int digest_header_challenge(char *out, size_t out_size, struct bytes realm, struct bytes nonce,
			    bool stale, const uint8_t salt[SALT_SIZE], uint32_t iterations)
{
	char salt_hex[2 * SALT_SIZE + 1];
	int r = hex_encode(bytes_of(salt, SALT_SIZE), salt_hex, sizeof(salt_hex));

	if (r != 0)
		return r;
	if (!entity_id_valid(realm) || nonce.size > INT16_MAX)
		return -EINVAL;
	r = snprintf(out, out_size,
		     "Digest realm=\"%.*s\", qop=\"auth\", algorithm=SHA-256, nonce=\"%.*s\", "
		     "stale=%s, charset=UTF-8, salt=\"%s\", iterations=%" PRIu32,
		     (int)realm.size, (const char *)realm.data, (int)nonce.size,
		     (const char *)nonce.data, stale ? "true" : "false", salt_hex, iterations);
	return r < 0 || (size_t)r >= out_size ? -ENOBUFS : 0;
}
