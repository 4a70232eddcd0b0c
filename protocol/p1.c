/* The primitives of P1 on wolfCrypt; the formulas made from them are in p1-keys.c. */

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>
#include <wolfssl/wolfcrypt/curve25519.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/pwdbased.h>
#include <wolfssl/wolfcrypt/random.h>
#include <wolfssl/wolfcrypt/sha256.h>
#include <wolfssl/wolfcrypt/siphash.h>

#include "protocol/p1.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

/* 3 bytes as typed make at least 1 byte of NFC: a longer input cannot be a valid password. */
#define TYPED_MAX (3 * P1_PASSWORD_MAX)

/* Most that one wc_RNG_GenerateBlock() may give. */
#define RANDOM_BLOCK 4096

static pthread_mutex_t random_lock = PTHREAD_MUTEX_INITIALIZER;
static WC_RNG random_generator;
static pid_t random_owner; /* the process whose generator it is; 0 before the first use */

static int error_of(int wolfcrypt)
{
	if (wolfcrypt == 0)
		return 0;
	if (wolfcrypt == MEMORY_E)
		return -ENOMEM;
	if (wolfcrypt == BAD_FUNC_ARG)
		return -EINVAL;
	return -EIO;
}

/* The library leaves key schedules and intermediate blocks on the stack below its caller. */
static __attribute__((noinline)) void wipe_stack_below(void)
{
	uint8_t area[8192];

	wipe(area, sizeof(area));
}

/* With random_lock held. A child must not draw what its parent draws. */
static int random_prepare(void)
{
	pid_t self = getpid();
	int r;

	if (random_owner == self)
		return 0;
	if (random_owner != 0)
		wc_FreeRng(&random_generator);
	random_owner = 0;
	r = wc_InitRng(&random_generator);
	if (r == 0)
		random_owner = self;
	return error_of(r);
}

int p1_random(uint8_t *out, size_t size)
{
	int r;

	pthread_mutex_lock(&random_lock);
	r = random_prepare();
	while (r == 0 && size > 0) {
		size_t now = size < RANDOM_BLOCK ? size : RANDOM_BLOCK;

		r = error_of(wc_RNG_GenerateBlock(&random_generator, out, (word32)now));
		out += now;
		size -= now;
	}
	pthread_mutex_unlock(&random_lock);
	wipe_stack_below();
	return r;
}

void p1_context_begin(struct p1_context *c, const char *label)
{
	c->size = 0;
	c->overflow = false;
	if (label)
		p1_context_add(c, bytes_text(label));
}

void p1_context_add(struct p1_context *c, struct bytes b)
{
	if (c->overflow || b.size > sizeof(c->data) || sizeof(c->data) - c->size < 4 + b.size) {
		c->overflow = true;
		return;
	}
	for (size_t i = 0; i < 4; i++)
		c->data[c->size++] = (uint8_t)(b.size >> (24 - 8 * i));
	if (b.size > 0)
		memcpy(c->data + c->size, b.data, b.size);
	c->size += b.size;
}

void p1_context_add_index(struct p1_context *c, uint32_t index)
{
	uint8_t b[4] = {(uint8_t)(index >> 24), (uint8_t)(index >> 16), (uint8_t)(index >> 8),
			(uint8_t)index};

	p1_context_add(c, bytes_of(b, sizeof(b)));
}

static bool has_control_character(const utf8proc_int32_t *points, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (utf8proc_category(points[i]) == UTF8PROC_CATEGORY_CC)
			return true;
	}
	return false;
}

static int normalise(struct bytes typed, utf8proc_int32_t *points, struct secret **out)
{
	const utf8proc_ssize_t room = (SECRET_SCRATCH_SIZE - 1) / sizeof(*points);
	const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
	utf8proc_ssize_t n;

	n = utf8proc_decompose(typed.data, (utf8proc_ssize_t)typed.size, points, room, options);
	if (n <= 0 || n > room || has_control_character(points, (size_t)n))
		return -EINVAL;
	n = utf8proc_reencode(points, n, options);
	if (n <= 0 || n > P1_PASSWORD_MAX)
		return -EINVAL;
	*out = secret_copy(bytes_of(points, (size_t)n));
	return *out ? 0 : -ENOMEM;
}

int p1_password(struct bytes typed, struct secret **out)
{
	struct secret *password = NULL;
	void *scratch;
	int r;

	if (typed.size == 0 || typed.size > TYPED_MAX)
		return -EINVAL;
	scratch = secret_scratch_new();
	if (!scratch)
		return -ENOMEM;
	r = normalise(typed, scratch, &password);
	secret_scratch_free(scratch);
	wipe_stack_below();
	if (r == 0)
		*out = password;
	return r;
}

int p1_pbkdf2(const struct secret *password, struct bytes salt, uint32_t iterations,
	      struct secret **out)
{
	struct secret *key;
	int r;

	if (iterations == 0 || iterations > INT_MAX)
		return -EINVAL;
	key = secret_new(KEY_SIZE);
	if (!key)
		return -ENOMEM;
	r = wc_PBKDF2(secret_buffer(key), secret_bytes(password).data, (int)secret_size(password),
		      salt.data, (int)salt.size, (int)iterations, KEY_SIZE, WC_SHA256);
	wipe_stack_below();
	if (r != 0) {
		secret_unref(key);
		return error_of(r);
	}
	*out = key;
	return 0;
}

int p1_password_hash(const struct secret *password, const uint8_t salt[SALT_SIZE],
		     uint32_t iterations, struct secret **out)
{
	return p1_pbkdf2(password, bytes_of(salt, SALT_SIZE), iterations, out);
}

/*
 * wc_scrypt() frees its blocks as they are, and with what the first step left in them a guess costs
 * one HMAC in place of 32 MiB. The next allocations of that size on this thread are the same
 * memory: the allocator keeps the last freed chunks of a size per thread.
 */
static void wipe_freed_blocks(size_t size)
{
	void *blocks[3];

	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
		blocks[i] = malloc(size);
		if (blocks[i])
			wipe(blocks[i], size);
	}
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
		free(blocks[i]);
}

int p1_scrypt(const struct secret *password, struct bytes salt, uint8_t log_n, uint8_t r, uint8_t p,
	      struct secret **out)
{
	struct secret *key;
	int code;

	if (r == 0 || p == 0)
		return -EINVAL;
	key = secret_new(KEY_SIZE);
	if (!key)
		return -ENOMEM;
	code = wc_scrypt(secret_buffer(key), secret_bytes(password).data,
			 (int)secret_size(password), salt.data, (int)salt.size, log_n, r, p,
			 KEY_SIZE);
	wipe_freed_blocks((size_t)128 * r * p);
	wipe_stack_below();
	if (code != 0) {
		secret_unref(key);
		return error_of(code);
	}
	*out = key;
	return 0;
}

int p1_stretch_temporary_key(const struct secret *passphrase, struct bytes entity,
			     struct secret **out)
{
	struct p1_context salt;

	p1_context_begin(&salt, "CPNS P1 TK");
	p1_context_add(&salt, entity);
	if (salt.overflow)
		return -ENOBUFS;
	return p1_pbkdf2(passphrase, bytes_of(salt.data, salt.size), 100000, out);
}

int p1_hkdf(const struct secret *secret, struct bytes salt, const struct p1_context *context,
	    size_t out_size, struct secret **out)
{
	struct secret *key;
	int r;

	if (context->overflow)
		return -ENOBUFS;
	if (out_size == 0 || out_size > 64)
		return -EINVAL;
	key = secret_new(out_size);
	if (!key)
		return -ENOMEM;
	r = wc_HKDF(WC_SHA256, secret_bytes(secret).data, (word32)secret_size(secret),
		    salt.size > 0 ? salt.data : NULL, (word32)salt.size, context->data,
		    (word32)context->size, secret_buffer(key), (word32)out_size);
	wipe_stack_below();
	if (r != 0) {
		secret_unref(key);
		return error_of(r);
	}
	*out = key;
	return 0;
}

int p1_sha256(struct bytes data, uint8_t out[32])
{
	return error_of(wc_Sha256Hash(data.data, (word32)data.size, out));
}

int p1_hmac(const struct secret *key, struct bytes data, uint8_t out[P1_MAC_SIZE])
{
	uint8_t mac[P1_MAC_SIZE];
	Hmac hmac;
	int r;

	r = wc_HmacInit(&hmac, NULL, INVALID_DEVID);
	if (r != 0)
		return error_of(r);
	r = wc_HmacSetKey(&hmac, WC_SHA256, secret_bytes(key).data, (word32)secret_size(key));
	if (r == 0)
		r = wc_HmacUpdate(&hmac, data.data, (word32)data.size);
	if (r == 0)
		r = wc_HmacFinal(&hmac, mac);
	wc_HmacFree(&hmac);
	wipe(&hmac, sizeof(hmac));
	wipe_stack_below();
	if (r == 0)
		memcpy(out, mac, sizeof(mac));
	return error_of(r);
}

int p1_siphash(const uint8_t key[P1_SIPHASH_SIZE], struct bytes data, uint8_t out[P1_SIPHASH_SIZE])
{
	return error_of(wc_SipHash(key, data.data, (word32)data.size, out, P1_SIPHASH_SIZE));
}

int p1_key_wrap(const struct secret *kek, const struct secret *key, uint8_t *out)
{
	size_t size = secret_size(key);
	uint8_t wrapped[80];
	Aes aes;
	int r;

	if (secret_size(kek) != KEY_SIZE || size < 16 || size > sizeof(wrapped) - 8 ||
	    size % 8 != 0)
		return -EINVAL;
	r = wc_AesInit(&aes, NULL, INVALID_DEVID);
	if (r != 0)
		return error_of(r);
	r = wc_AesSetKey(&aes, secret_bytes(kek).data, KEY_SIZE, NULL, AES_ENCRYPTION);
	if (r == 0)
		r = wc_AesKeyWrap_ex(&aes, secret_bytes(key).data, (word32)size, wrapped,
				     (word32)size + 8, NULL);
	wc_AesFree(&aes);
	wipe(&aes, sizeof(aes));
	wipe_stack_below();
	if (r != (int)size + 8)
		return r < 0 ? error_of(r) : -EIO;
	memcpy(out, wrapped, size + 8);
	return 0;
}

int p1_key_unwrap(const struct secret *kek, struct bytes wrapped, struct secret **out)
{
	SCOPED_SECRET *key = NULL;
	size_t size;
	Aes aes;
	int r;

	if (secret_size(kek) != KEY_SIZE)
		return -EINVAL;
	if (wrapped.size < 24 || wrapped.size > 80 || wrapped.size % 8 != 0)
		return P1_REFUSED;
	size = wrapped.size - 8;
	key = secret_new(size);
	if (!key)
		return -ENOMEM;
	r = wc_AesInit(&aes, NULL, INVALID_DEVID);
	if (r != 0)
		return error_of(r);
	r = wc_AesSetKey(&aes, secret_bytes(kek).data, KEY_SIZE, NULL, AES_DECRYPTION);
	if (r == 0)
		r = wc_AesKeyUnWrap_ex(&aes, wrapped.data, (word32)wrapped.size, secret_buffer(key),
				       (word32)size, NULL);
	wc_AesFree(&aes);
	wipe(&aes, sizeof(aes));
	wipe_stack_below();
	if (r == BAD_KEYWRAP_IV_E)
		return P1_REFUSED;
	if (r != (int)size)
		return r < 0 ? error_of(r) : -EIO;
	*out = secret_ref(key);
	return 0;
}

int p1_seal(const struct secret *key, const uint8_t nonce[P1_NONCE_SIZE], struct bytes ad,
	    struct bytes plain, uint8_t *sealed)
{
	int r;

	if (secret_size(key) != KEY_SIZE)
		return -EINVAL;
	r = wc_ChaCha20Poly1305_Encrypt(secret_bytes(key).data, nonce, ad.data, (word32)ad.size,
					plain.data, (word32)plain.size, sealed,
					sealed + plain.size);
	wipe_stack_below();
	return error_of(r);
}

int p1_open(const struct secret *key, const uint8_t nonce[P1_NONCE_SIZE], struct bytes ad,
	    struct bytes sealed, uint8_t *plain)
{
	size_t size;
	int r;

	if (secret_size(key) != KEY_SIZE)
		return -EINVAL;
	if (sealed.size < P1_SEAL_OVERHEAD)
		return P1_REFUSED;
	size = sealed.size - P1_SEAL_OVERHEAD;
	r = wc_ChaCha20Poly1305_Decrypt(secret_bytes(key).data, nonce, ad.data, (word32)ad.size,
					sealed.data, (word32)size, sealed.data + size, plain);
	wipe_stack_below();
	if (r != 0)
		wipe(plain, size);
	return r == MAC_CMP_FAILED_E ? P1_REFUSED : error_of(r);
}

/* RFC 7748 section 5: decodeScalar25519. */
static void clamp(uint8_t *scalar)
{
	scalar[0] &= 248;
	scalar[31] &= 127;
	scalar[31] |= 64;
}

int p1_x25519_public(const struct secret *private_key, uint8_t public_key[KEY_SIZE])
{
	SCOPED_SECRET *scalar = NULL;
	int r;

	if (secret_size(private_key) != KEY_SIZE)
		return -EINVAL;
	scalar = secret_copy(secret_bytes(private_key));
	if (!scalar)
		return -ENOMEM;
	clamp(secret_buffer(scalar));
	r = wc_curve25519_make_pub(KEY_SIZE, public_key, KEY_SIZE, secret_bytes(scalar).data);
	wipe_stack_below();
	return error_of(r);
}

int p1_x25519_generate(struct secret **private_key, uint8_t public_key[KEY_SIZE])
{
	SCOPED_SECRET *key = secret_random(KEY_SIZE);
	int r;

	if (!key)
		return -ENOMEM;
	clamp(secret_buffer(key));
	r = p1_x25519_public(key, public_key);
	if (r != 0)
		return r;
	*private_key = secret_ref(key);
	return 0;
}

static bool all_zero(struct bytes b)
{
	static const uint8_t zero[KEY_SIZE];

	return constant_time_equal(b, bytes_of(zero, sizeof(zero)));
}

int p1_x25519_shared(const struct secret *private_key, const uint8_t peer_public[KEY_SIZE],
		     struct secret **out)
{
	SCOPED_SECRET *scalar = NULL;
	SCOPED_SECRET *shared = NULL;
	int r;

	if (secret_size(private_key) != KEY_SIZE)
		return -EINVAL;
	scalar = secret_copy(secret_bytes(private_key));
	shared = secret_new(KEY_SIZE);
	if (!scalar || !shared)
		return -ENOMEM;
	clamp(secret_buffer(scalar));
	r = wc_curve25519_generic(KEY_SIZE, secret_buffer(shared), KEY_SIZE,
				  secret_bytes(scalar).data, KEY_SIZE, peer_public);
	wipe_stack_below();
	if (r != 0)
		return error_of(r);
	if (all_zero(secret_bytes(shared)))
		return P1_REFUSED;
	*out = secret_ref(shared);
	return 0;
}
