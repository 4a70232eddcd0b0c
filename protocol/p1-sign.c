/* Ed25519 on wolfCrypt. */

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/ed25519.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include "protocol/p1.h"

#include <errno.h>

static int error_of(int wolfcrypt)
{
	if (wolfcrypt == 0)
		return 0;
	return wolfcrypt == MEMORY_E ? -ENOMEM : -EIO;
}

/* The library leaves the expanded key on the stack below its caller. */
static __attribute__((noinline)) void wipe_stack_below(void)
{
	uint8_t area[8192];

	wipe(area, sizeof(area));
}

int p1_ed25519_public(const struct secret *private_key, uint8_t out[KEY_SIZE])
{
	ed25519_key *key;
	int r;

	_Static_assert(sizeof(*key) <= SECRET_SCRATCH_SIZE, "a key fits into scratch memory");
	if (secret_size(private_key) != KEY_SIZE)
		return -EINVAL;
	key = secret_scratch_new();
	if (!key)
		return -ENOMEM;
	r = wc_ed25519_init(key);
	if (r == 0)
		r = wc_ed25519_import_private_only(secret_bytes(private_key).data, KEY_SIZE, key);
	if (r == 0)
		r = wc_ed25519_make_public(key, out, KEY_SIZE);
	wc_ed25519_free(key);
	secret_scratch_free(key);
	wipe_stack_below();
	return error_of(r);
}

int p1_ed25519_sign(const struct secret *private_key, const uint8_t public_key[KEY_SIZE],
		    struct bytes message, uint8_t signature[P1_SIGNATURE_SIZE])
{
	word32 size = P1_SIGNATURE_SIZE;
	ed25519_key *key;
	int r;

	if (secret_size(private_key) != KEY_SIZE)
		return -EINVAL;
	key = secret_scratch_new();
	if (!key)
		return -ENOMEM;
	r = wc_ed25519_init(key);
	if (r == 0)
		r = wc_ed25519_import_private_key_ex(secret_bytes(private_key).data, KEY_SIZE,
						     public_key, KEY_SIZE, key, 1);
	if (r == 0)
		r = wc_ed25519_sign_msg(message.data, (word32)message.size, signature, &size, key);
	wc_ed25519_free(key);
	secret_scratch_free(key);
	wipe_stack_below();
	return r == 0 && size != P1_SIGNATURE_SIZE ? -EIO : error_of(r);
}

int p1_ed25519_verify(const uint8_t public_key[KEY_SIZE], struct bytes message,
		      const uint8_t signature[P1_SIGNATURE_SIZE])
{
	ed25519_key key;
	int good = 0;
	int r = wc_ed25519_init(&key);

	if (r == 0)
		r = wc_ed25519_import_public_ex(public_key, KEY_SIZE, &key, 1);
	if (r == 0)
		r = wc_ed25519_verify_msg(signature, P1_SIGNATURE_SIZE, message.data,
					  (word32)message.size, &good, &key);
	wc_ed25519_free(&key);
	if (r == MEMORY_E)
		return -ENOMEM;
	return r == 0 && good == 1 ? 0 : P1_REFUSED;
}
