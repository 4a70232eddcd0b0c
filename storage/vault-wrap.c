#include "storage/vault-wrap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "protocol/p1.h"
#include "storage/vault-key.h"

#define SCRYPT_LOG_N      15
#define SCRYPT_R          8
#define SCRYPT_P          1
#define SCRYPT_R_MAX      8 /* wolfCrypt takes no more */
#define SCRYPT_LOG_N_MAX  20
#define SCRYPT_P_MAX      16
#define SCRYPT_MEMORY_MAX ((uint64_t)256 << 20)

static bool label_valid(const char *label)
{
	size_t size = strnlen(label, VAULT_LABEL_MAX + 1);

	if (size == 0 || size > VAULT_LABEL_MAX)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (label[i] < ' ' || label[i] > '~')
			return false;
	}
	return true;
}

int vault_wrap_begin(struct vault_wrap *w, uint8_t slot, enum vault_source source,
		     const char *label)
{
	struct vault_wrap new = {.slot = slot, .source = source};
	int r;

	if (slot < 1 || slot > VAULT_SLOTS || !label_valid(label) ||
	    (source != VAULT_SOURCE_KEY_FILE && source != VAULT_SOURCE_PASSPHRASE))
		return -EINVAL;
	memcpy(new.label, label, strlen(label));
	if (source == VAULT_SOURCE_PASSPHRASE) {
		r = p1_random(new.salt, sizeof(new.salt));
		if (r != 0)
			return r;
		new.log_n = SCRYPT_LOG_N;
		new.r = SCRYPT_R;
		new.p = SCRYPT_P;
	}
	*w = new;
	return 0;
}

static bool scrypt_bounded(const struct vault_wrap *w)
{
	if (w->log_n < 1 || w->log_n > SCRYPT_LOG_N_MAX || w->r < 1 || w->r > SCRYPT_R_MAX ||
	    w->p < 1 || w->p > SCRYPT_P_MAX)
		return false;
	return ((uint64_t)128 * w->r << w->log_n) <= SCRYPT_MEMORY_MAX;
}

static int passphrase_secret(const struct secret *passphrase, const struct vault_wrap *w,
			     struct secret **out, char *why, size_t why_size)
{
	SCOPED_SECRET *normal = NULL;
	int r;

	if (!scrypt_bounded(w)) {
		snprintf(why, why_size, "slot %u asks for scrypt with 2^%u, %u, %u: out of bounds",
			 w->slot, w->log_n, w->r, w->p);
		return VAULT_DAMAGED;
	}
	r = passphrase ? p1_password(secret_bytes(passphrase), &normal) : -EINVAL;
	if (r == -EINVAL) {
		snprintf(why, why_size,
			 "the passphrase is missing, longer than %d bytes, not UTF-8, or has a "
			 "control character",
			 P1_PASSWORD_MAX);
		return VAULT_KEY_FILE;
	}
	if (r == 0)
		r = p1_scrypt(normal, bytes_of(w->salt, sizeof(w->salt)), w->log_n, w->r, w->p,
			      out);
	if (r < 0)
		snprintf(why, why_size, "deriving a key from the passphrase: %s", strerror(-r));
	return r;
}

int vault_wrap_secret(const struct vault_opener *opener, const struct vault_wrap *parameters,
		      struct secret **out, char *why, size_t why_size)
{
	switch (opener->source) {
	case VAULT_SOURCE_KEY_FILE:
		if (opener->path)
			return vault_key_load(opener->path, out, why, why_size);
		break;
	case VAULT_SOURCE_PASSPHRASE:
		if (parameters)
			return passphrase_secret(opener->passphrase, parameters, out, why,
						 why_size);
		break;
	}
	snprintf(why, why_size, "an opener without a key file or a passphrase");
	return -EINVAL;
}

int vault_wrap_keys(const struct secret *secret, const uint8_t vault_id[VAULT_ID_SIZE],
		    uint8_t slot, uint8_t public_key[KEY_SIZE], struct secret **private_key,
		    struct secret **sender)
{
	const struct bytes salt = bytes_of(vault_id, VAULT_ID_SIZE);
	SCOPED_SECRET *scalar = NULL;
	struct secret *derived = NULL;
	uint8_t public_part[KEY_SIZE];
	struct p1_context context;
	int r;

	p1_context_begin(&context, "pngw vault wrap private");
	p1_context_add_index(&context, slot);
	r = p1_hkdf(secret, salt, &context, KEY_SIZE, &scalar);
	if (r == 0)
		r = p1_x25519_public(scalar, public_part);
	if (r != 0)
		return r;
	p1_context_begin(&context, "pngw vault wrap sender");
	p1_context_add_index(&context, slot);
	r = p1_hkdf(secret, salt, &context, KEY_SIZE, &derived);
	if (r != 0)
		return r;
	memcpy(public_key, public_part, sizeof(public_part));
	if (private_key)
		*private_key = secret_ref(scalar);
	*sender = derived;
	return 0;
}

static void wrap_context(const struct vault_wrap *w, const uint8_t vault_id[VAULT_ID_SIZE],
			 struct p1_context *out)
{
	p1_context_begin(out, "pngw vault wrap");
	p1_context_add_index(out, VAULT_WRAP_FORMAT);
	p1_context_add(out, bytes_of(vault_id, VAULT_ID_SIZE));
	p1_context_add_index(out, w->slot);
	p1_context_add_index(out, w->generation);
	p1_context_add_index(out, (uint32_t)w->source);
}

static void wrap_ad(const struct vault_wrap *w, struct p1_context *context)
{
	uint8_t parameters[VAULT_WRAP_SALT_SIZE + 3];

	memcpy(parameters, w->salt, VAULT_WRAP_SALT_SIZE);
	parameters[VAULT_WRAP_SALT_SIZE] = w->log_n;
	parameters[VAULT_WRAP_SALT_SIZE + 1] = w->r;
	parameters[VAULT_WRAP_SALT_SIZE + 2] = w->p;
	p1_context_add(context, bytes_of(w->label, strnlen(w->label, VAULT_LABEL_MAX)));
	p1_context_add(context, bytes_of(parameters, sizeof(parameters)));
}

/* one: the private key that is at hand; other: the public key of the other side. */
static int wrap_kek(const struct vault_wrap *w, const struct p1_context *context,
		    const struct secret *one, const uint8_t other[KEY_SIZE],
		    const uint8_t ephemeral[KEY_SIZE], const struct secret *sender,
		    struct secret **out)
{
	SCOPED_SECRET *shared = NULL;
	SCOPED_SECRET *both = NULL;
	uint8_t salt[2 * KEY_SIZE];
	int r;

	if (secret_size(sender) != KEY_SIZE)
		return -EINVAL;
	r = p1_x25519_shared(one, other, &shared);
	if (r != 0)
		return r;
	both = secret_new((size_t)2 * KEY_SIZE);
	if (!both)
		return -ENOMEM;
	memcpy(secret_buffer(both), secret_bytes(shared).data, KEY_SIZE);
	memcpy(secret_buffer(both) + KEY_SIZE, secret_bytes(sender).data, KEY_SIZE);
	memcpy(salt, ephemeral, KEY_SIZE);
	memcpy(salt + KEY_SIZE, w->public_key, KEY_SIZE);
	return p1_hkdf(both, bytes_of(salt, sizeof(salt)), context, KEY_SIZE, out);
}

static const uint8_t zero_nonce[P1_NONCE_SIZE];

int vault_wrap_seal(struct vault_wrap *w, const uint8_t vault_id[VAULT_ID_SIZE],
		    const struct secret *sender, const struct secret *master)
{
	SCOPED_SECRET *private_key = NULL;
	SCOPED_SECRET *kek = NULL;
	uint8_t sealed[VAULT_WRAP_SEALED_SIZE];
	uint8_t ephemeral[KEY_SIZE];
	struct p1_context context;
	int r;

	if (secret_size(master) != KEY_SIZE)
		return -EINVAL;
	wrap_context(w, vault_id, &context);
	r = p1_x25519_generate(&private_key, ephemeral);
	if (r == 0)
		r = wrap_kek(w, &context, private_key, w->public_key, ephemeral, sender, &kek);
	if (r != 0)
		return r < 0 ? r : -EBADMSG;
	wrap_ad(w, &context);
	if (context.overflow)
		return -ENOBUFS;
	r = p1_seal(kek, zero_nonce, bytes_of(context.data, context.size), secret_bytes(master),
		    sealed);
	if (r != 0)
		return r;
	memcpy(w->ephemeral, ephemeral, sizeof(ephemeral));
	memcpy(w->sealed, sealed, sizeof(sealed));
	return 0;
}

int vault_wrap_open(const struct vault_wrap *w, const uint8_t vault_id[VAULT_ID_SIZE],
		    const struct secret *secret, struct secret **master)
{
	SCOPED_SECRET *private_key = NULL;
	SCOPED_SECRET *opened = NULL;
	SCOPED_SECRET *sender = NULL;
	SCOPED_SECRET *kek = NULL;
	uint8_t public_key[KEY_SIZE];
	struct p1_context context;
	int r;

	r = vault_wrap_keys(secret, vault_id, w->slot, public_key, &private_key, &sender);
	if (r != 0)
		return r;
	if (!bytes_equal(bytes_of(public_key, KEY_SIZE), bytes_of(w->public_key, KEY_SIZE)))
		return P1_REFUSED;
	wrap_context(w, vault_id, &context);
	r = wrap_kek(w, &context, private_key, w->ephemeral, w->ephemeral, sender, &kek);
	if (r != 0)
		return r;
	wrap_ad(w, &context);
	if (context.overflow)
		return -ENOBUFS;
	opened = secret_new(KEY_SIZE);
	if (!opened)
		return -ENOMEM;
	r = p1_open(kek, zero_nonce, bytes_of(context.data, context.size),
		    bytes_of(w->sealed, sizeof(w->sealed)), secret_buffer(opened));
	if (r == 0)
		*master = secret_ref(opened);
	return r;
}
