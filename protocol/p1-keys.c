/* The formulas of P1 that are made from the primitives in p1.c. */

#include "protocol/p1.h"

#include <errno.h>
#include <string.h>

int p1_unknown_salt(const struct secret *key, struct bytes user, uint8_t out[SALT_SIZE])
{
	uint8_t mac[P1_MAC_SIZE];
	int r = p1_hmac(key, user, mac);

	if (r == 0)
		memcpy(out, mac, SALT_SIZE);
	return r;
}

int p1_mac(const struct secret *secret, const struct p1_context *derive,
	   const struct p1_context *over, uint8_t out[P1_MAC_SIZE])
{
	SCOPED_SECRET *key = NULL;
	int r;

	if (over->overflow)
		return -ENOBUFS;
	r = p1_hkdf(secret, BYTES_NONE, derive, KEY_SIZE, &key);
	if (r != 0)
		return r;
	return p1_hmac(key, bytes_of(over->data, over->size), out);
}

int p1_wrap(const struct secret *secret, struct bytes salt, const struct p1_context *context,
	    const struct secret *key, uint8_t *out)
{
	SCOPED_SECRET *kek = NULL;
	int r = p1_hkdf(secret, salt, context, KEY_SIZE, &kek);

	return r != 0 ? r : p1_key_wrap(kek, key, out);
}

int p1_unwrap(const struct secret *secret, struct bytes salt, const struct p1_context *context,
	      struct bytes wrapped, struct secret **out)
{
	SCOPED_SECRET *kek = NULL;
	int r = p1_hkdf(secret, salt, context, KEY_SIZE, &kek);

	return r != 0 ? r : p1_key_unwrap(kek, wrapped, out);
}

static const char *label_of(enum p1_key_use use)
{
	switch (use) {
	case P1_EUKEY:
		return "CPNS P1 EUKey";
	case P1_KEK:
		return "CPNS P1 KEK";
	case P1_SET:
		return "CPNS P1 set";
	case P1_NOTIFICATION:
		return "CPNS P1 notification";
	}
	return "";
}

void p1_key_context(struct p1_context *c, enum p1_key_use use, struct bytes user,
		    struct bytes entity, uint32_t index)
{
	p1_context_begin(c, label_of(use));
	p1_context_add(c, user);
	p1_context_add(c, entity);
	p1_context_add_index(c, index);
}

void p1_temporary_key_context(struct p1_context *c, struct bytes user, struct bytes entity)
{
	p1_context_begin(c, "CPNS P1 set");
	p1_context_add(c, user);
	p1_context_add(c, entity);
	p1_context_add(c, bytes_text("TK"));
}

int p1_wrap_temporary_key(const struct secret *secret, struct bytes salt, struct bytes user,
			  struct bytes entity, const struct secret *temporary_key, uint8_t *out,
			  size_t *out_size)
{
	SCOPED_SECRET *padded = NULL;
	struct p1_context context;
	size_t size = secret_size(temporary_key);
	int r;

	if (size < P1_TEMPORARY_KEY_MIN || size > P1_TEMPORARY_KEY_MAX)
		return -EINVAL;
	padded = secret_new((1 + size + 7) / 8 * 8);
	if (!padded)
		return -ENOMEM;
	secret_buffer(padded)[0] = (uint8_t)size;
	memcpy(secret_buffer(padded) + 1, secret_bytes(temporary_key).data, size);
	p1_temporary_key_context(&context, user, entity);
	r = p1_wrap(secret, salt, &context, padded, out);
	if (r == 0)
		*out_size = secret_size(padded) + 8;
	return r;
}

/*
 * The content of a buffer that begins with its length in one byte and ends in zeros. P1_REFUSED
 * where the length is outside min..max or what follows the content is not all zero.
 */
static int unpad(const struct secret *padded, size_t min, size_t max, struct secret **out)
{
	static const uint8_t zeros[SECRET_MAX_SIZE];
	struct bytes b = secret_bytes(padded);
	size_t size = b.data[0];
	struct secret *content;

	if (size < min || size > max || size > b.size - 1)
		return P1_REFUSED;
	if (!constant_time_equal(bytes_of(b.data + 1 + size, b.size - 1 - size),
				 bytes_of(zeros, b.size - 1 - size)))
		return P1_REFUSED;
	content = secret_copy(bytes_of(b.data + 1, size));
	if (!content)
		return -ENOMEM;
	*out = content;
	return 0;
}

int p1_unwrap_temporary_key(const struct secret *secret, struct bytes salt, struct bytes user,
			    struct bytes entity, struct bytes wrapped, struct secret **out)
{
	SCOPED_SECRET *padded = NULL;
	struct p1_context context;
	int r;

	p1_temporary_key_context(&context, user, entity);
	r = p1_unwrap(secret, salt, &context, wrapped, &padded);
	if (r != 0)
		return r;
	/* One form for one key: not a block more than it needs. */
	if (secret_size(padded) != (1U + secret_bytes(padded).data[0] + 7U) / 8U * 8U)
		return P1_REFUSED;
	return unpad(padded, P1_TEMPORARY_KEY_MIN, P1_TEMPORARY_KEY_MAX, out);
}

int p1_auth_data(const struct secret *ph, const char *message_name, struct bytes user,
		 struct bytes source, struct bytes target, struct bytes rand,
		 const struct message_id *id, uint8_t out[P1_MAC_SIZE])
{
	struct p1_context derive, over;

	p1_context_begin(&derive, "CPNS P1 auth");
	p1_context_add(&derive, bytes_text(message_name));
	p1_context_begin(&over, NULL);
	p1_context_add(&over, user);
	p1_context_add(&over, source);
	p1_context_add(&over, target);
	p1_context_add(&over, rand);
	p1_context_add(&over, bytes_of(id->b, sizeof(id->b)));
	return p1_mac(ph, &derive, &over, out);
}

/* HMAC(HKDF(eukey, "", ctx(label)), ctx(user, entity, index, id[, gateway])). */
static int proof(const char *label, const struct secret *eukey, struct bytes user,
		 struct bytes entity, uint32_t index, const struct message_id *id,
		 struct bytes gateway, uint8_t out[P1_MAC_SIZE])
{
	struct p1_context derive, over;

	p1_context_begin(&derive, label);
	p1_context_begin(&over, NULL);
	p1_context_add(&over, user);
	p1_context_add(&over, entity);
	p1_context_add_index(&over, index);
	p1_context_add(&over, bytes_of(id->b, sizeof(id->b)));
	if (gateway.data)
		p1_context_add(&over, gateway);
	return p1_mac(eukey, &derive, &over, out);
}

int p1_held_proof(const struct secret *eukey, struct bytes user, struct bytes entity,
		  uint32_t index, const struct message_id *id, uint8_t out[P1_MAC_SIZE])
{
	return proof("CPNS P1 held", eukey, user, entity, index, id, BYTES_NONE, out);
}

int p1_refill_proof(const struct secret *eukey, struct bytes user, struct bytes entity,
		    uint32_t index, const struct message_id *id, struct bytes gateway,
		    uint8_t out[P1_MAC_SIZE])
{
	return proof("CPNS P1 refill", eukey, user, entity, index, id, gateway, out);
}

int p1_reset_proof(const struct secret *eukey, struct bytes user, struct bytes entity,
		   uint32_t index, const struct message_id *id, uint8_t out[P1_MAC_SIZE])
{
	return proof("CPNS P1 reset", eukey, user, entity, index, id, BYTES_NONE, out);
}

int p1_reset_confirmation(const struct secret *eukey, struct bytes user, struct bytes entity,
			  uint32_t index, const struct message_id *id, uint8_t out[P1_MAC_SIZE])
{
	return proof("CPNS P1 reset done", eukey, user, entity, index, id, BYTES_NONE, out);
}

int p1_fingerprint(const struct secret *eukey, struct bytes challenge, struct bytes user,
		   struct bytes entity, uint32_t index, uint8_t out[P1_FINGERPRINT_SIZE])
{
	struct p1_context derive, over;
	uint8_t mac[P1_MAC_SIZE];
	int r;

	p1_context_begin(&derive, "CPNS P1 fingerprint");
	p1_context_begin(&over, NULL);
	p1_context_add(&over, challenge);
	p1_context_add(&over, user);
	p1_context_add(&over, entity);
	p1_context_add_index(&over, index);
	r = p1_mac(eukey, &derive, &over, mac);
	if (r == 0)
		memcpy(out, mac, P1_FINGERPRINT_SIZE);
	return r;
}

static int password_key(const struct secret *secret, struct bytes rand, struct bytes user,
			struct bytes binding, struct secret **out)
{
	struct p1_context context;

	p1_context_begin(&context, "CPNS P1 password");
	p1_context_add(&context, user);
	if (binding.size > 0)
		p1_context_add(&context, binding);
	return p1_hkdf(secret, rand, &context, KEY_SIZE, out);
}

/* Each key seals one password. */
static const uint8_t zero_nonce[P1_NONCE_SIZE];

int p1_seal_password(const struct secret *secret, struct bytes rand, struct bytes user,
		     struct bytes binding, const struct secret *password,
		     uint8_t out[P1_SEALED_PASSWORD_SIZE])
{
	SCOPED_SECRET *key = NULL;
	SCOPED_SECRET *padded = NULL;
	size_t size = secret_size(password);
	int r;

	if (size > P1_PASSWORD_MAX)
		return -EINVAL;
	r = password_key(secret, rand, user, binding, &key);
	if (r != 0)
		return r;
	padded = secret_new(P1_SEALED_PASSWORD_SIZE - P1_SEAL_OVERHEAD);
	if (!padded)
		return -ENOMEM;
	secret_buffer(padded)[0] = (uint8_t)size;
	memcpy(secret_buffer(padded) + 1, secret_bytes(password).data, size);
	return p1_seal(key, zero_nonce, BYTES_NONE, secret_bytes(padded), out);
}

int p1_open_password(const struct secret *secret, struct bytes rand, struct bytes user,
		     struct bytes binding, struct bytes sealed, struct secret **out)
{
	SCOPED_SECRET *key = NULL;
	SCOPED_SECRET *padded = NULL;
	int r;

	if (sealed.size != P1_SEALED_PASSWORD_SIZE)
		return P1_REFUSED;
	r = password_key(secret, rand, user, binding, &key);
	if (r != 0)
		return r;
	padded = secret_new(P1_SEALED_PASSWORD_SIZE - P1_SEAL_OVERHEAD);
	if (!padded)
		return -ENOMEM;
	r = p1_open(key, zero_nonce, BYTES_NONE, sealed, secret_buffer(padded));
	if (r != 0)
		return r;
	return unpad(padded, 1, P1_PASSWORD_MAX, out);
}

int p1_chain_below(const struct secret *k, struct secret **out)
{
	struct p1_context context;

	p1_context_begin(&context, "CPNS P1 chain");
	return p1_hkdf(k, BYTES_NONE, &context, KEY_SIZE, out);
}
