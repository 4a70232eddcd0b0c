#include <check.h>
#include <errno.h>
#include <string.h>

#include "protocol/p1.h"
#include "tests/vectors.h"

#define assert_bytes(a, b) ck_assert(constant_time_equal((a), (b)))

static struct message_id id_of(const struct vector *v)
{
	struct message_id id;

	ck_assert_uint_eq(vector_bytes(v, "id").size, sizeof(id.b));
	memcpy(id.b, vector_bytes(v, "id").data, sizeof(id.b));
	return id;
}

/* The published vectors */

static void hkdf_one(const struct vector *v)
{
	SCOPED_SECRET *ikm = vector_secret(v, "ikm");
	SCOPED_SECRET *okm = NULL;
	struct p1_context info = {.size = vector_bytes(v, "info").size};
	struct bytes expected = vector_bytes(v, "okm");

	if (info.size > 0)
		memcpy(info.data, vector_bytes(v, "info").data, info.size);
	if (expected.size > 64)
		expected.size = 64; /* what P1 uses at most; a longer output begins with it */
	ck_assert_int_eq(p1_hkdf(ikm, vector_bytes(v, "salt"), &info, expected.size, &okm), 0);
	assert_bytes(secret_bytes(okm), expected);
}

START_TEST(rfc5869)
{
	vectors_each("rfc5869.txt", NULL, hkdf_one);
}
END_TEST

static void key_wrap_one(const struct vector *v)
{
	SCOPED_SECRET *kek = vector_secret(v, "kek");
	SCOPED_SECRET *key = vector_secret(v, "key");
	SCOPED_SECRET *back = NULL;
	struct bytes wrapped = vector_bytes(v, "wrapped");
	uint8_t out[80];

	ck_assert_int_eq(p1_key_wrap(kek, key, out), 0);
	assert_bytes(bytes_of(out, secret_size(key) + 8), wrapped);
	ck_assert_int_eq(p1_key_unwrap(kek, wrapped, &back), 0);
	ck_assert(secret_equal(back, key));
}

START_TEST(rfc3394)
{
	vectors_each("rfc3394.txt", NULL, key_wrap_one);
}
END_TEST

static void pbkdf2_one(const struct vector *v)
{
	SCOPED_SECRET *password = vector_secret(v, "password");
	SCOPED_SECRET *key = NULL;

	ck_assert_int_eq(
		p1_pbkdf2(password, vector_bytes(v, "salt"), vector_number(v, "iterations"), &key),
		0);
	assert_bytes(secret_bytes(key), bytes_of(vector_bytes(v, "key").data, KEY_SIZE));
}

START_TEST(rfc7914)
{
	vectors_each("rfc7914.txt", NULL, pbkdf2_one);
}
END_TEST

static void seal_one(const struct vector *v)
{
	SCOPED_SECRET *key = vector_secret(v, "key");
	const uint8_t *nonce = vector_bytes(v, "nonce").data;
	struct bytes ad = vector_bytes(v, "ad"), plain = vector_bytes(v, "plain"),
		     sealed = vector_bytes(v, "sealed");
	uint8_t out[300], back[300];

	ck_assert_int_eq(p1_seal(key, nonce, ad, plain, out), 0);
	assert_bytes(bytes_of(out, plain.size + P1_SEAL_OVERHEAD), sealed);
	ck_assert_int_eq(p1_open(key, nonce, ad, sealed, back), 0);
	assert_bytes(bytes_of(back, plain.size), plain);
	for (size_t i = 0; i < sealed.size; i++) {
		out[i] ^= 0x40;
		memset(back, 0xff, sizeof(back));
		ck_assert_int_eq(p1_open(key, nonce, ad, bytes_of(out, sealed.size), back),
				 P1_REFUSED);
		for (size_t j = 0; j < plain.size; j++)
			ck_assert_uint_eq(back[j], 0);
		out[i] ^= 0x40;
	}
	ck_assert_int_eq(p1_open(key, nonce, BYTES_NONE, sealed, back), P1_REFUSED);
	ck_assert_int_eq(p1_open(key, nonce, ad, bytes_of(out, 15), back), P1_REFUSED);
}

START_TEST(rfc8439)
{
	vectors_each("rfc8439.txt", NULL, seal_one);
}
END_TEST

static void scrypt_one(const struct vector *v)
{
	SCOPED_SECRET *password = vector_secret(v, "password");
	SCOPED_SECRET *key = NULL;

	ck_assert_int_eq(
		p1_scrypt(password, vector_bytes(v, "salt"), (uint8_t)vector_number(v, "log_n"),
			  (uint8_t)vector_number(v, "r"), (uint8_t)vector_number(v, "p"), &key),
		0);
	assert_bytes(secret_bytes(key), vector_bytes(v, "key"));
}

START_TEST(rfc7914_scrypt)
{
	SCOPED_SECRET *password = secret_copy(bytes_text("x"));
	struct secret *none = NULL;

	vectors_each("rfc7914-scrypt.txt", NULL, scrypt_one);
	ck_assert_int_eq(p1_scrypt(password, bytes_text("s"), 4, 0, 1, &none), -EINVAL);
	ck_assert_int_eq(p1_scrypt(password, bytes_text("s"), 0, 8, 1, &none), -EINVAL);
	ck_assert_ptr_null(none);
}
END_TEST

static void x25519_one(const struct vector *v)
{
	SCOPED_SECRET *private_key = vector_secret(v, "private");
	SCOPED_SECRET *shared = NULL;

	ck_assert_int_eq(p1_x25519_shared(private_key, vector_bytes(v, "public").data, &shared), 0);
	assert_bytes(secret_bytes(shared), vector_bytes(v, "shared"));
}

START_TEST(rfc7748)
{
	vectors_each("rfc7748.txt", NULL, x25519_one);
}
END_TEST

static void ed25519_one(const struct vector *v)
{
	SCOPED_SECRET *private_key = secret_copy(vector_bytes(v, "private"));
	struct bytes message = vector_bytes(v, "message");
	uint8_t public_key[KEY_SIZE];
	uint8_t signature[P1_SIGNATURE_SIZE];

	ck_assert_int_eq(p1_ed25519_public(private_key, public_key), 0);
	assert_bytes(bytes_of(public_key, sizeof(public_key)), vector_bytes(v, "public"));
	ck_assert_int_eq(p1_ed25519_sign(private_key, public_key, message, signature), 0);
	assert_bytes(bytes_of(signature, sizeof(signature)), vector_bytes(v, "signature"));
	ck_assert_int_eq(p1_ed25519_verify(public_key, message, signature), 0);
	ck_assert_int_eq(p1_ed25519_verify(public_key, bytes_of("other", 5), signature),
			 P1_REFUSED);
	for (size_t i = 0; i < sizeof(signature); i++) {
		signature[i] ^= 4;
		ck_assert_int_eq(p1_ed25519_verify(public_key, message, signature), P1_REFUSED);
		signature[i] ^= 4;
	}
	public_key[0] ^= 1;
	ck_assert_int_eq(p1_ed25519_verify(public_key, message, signature), P1_REFUSED);
}

START_TEST(rfc8032)
{
	vectors_each("rfc8032.txt", NULL, ed25519_one);
}
END_TEST

START_TEST(x25519_pairs)
{
	SCOPED_SECRET *a = NULL;
	SCOPED_SECRET *b = NULL;
	SCOPED_SECRET *ab = NULL;
	SCOPED_SECRET *ba = NULL;
	SCOPED_SECRET *none = NULL;
	uint8_t a_public[KEY_SIZE], b_public[KEY_SIZE];
	static const uint8_t zero[KEY_SIZE], one[KEY_SIZE] = {1};

	ck_assert_int_eq(p1_x25519_generate(&a, a_public), 0);
	ck_assert_int_eq(p1_x25519_generate(&b, b_public), 0);
	ck_assert_int_eq(p1_x25519_shared(a, b_public, &ab), 0);
	ck_assert_int_eq(p1_x25519_shared(b, a_public, &ba), 0);
	ck_assert(secret_equal(ab, ba));
	ck_assert_int_eq(p1_x25519_shared(a, zero, &none), P1_REFUSED);
	ck_assert_int_eq(p1_x25519_shared(a, one, &none), P1_REFUSED);
	ck_assert_ptr_null(none);
}
END_TEST

/* P1's own vectors */

static void password_one(const struct vector *v)
{
	SCOPED_SECRET *password = NULL;
	SCOPED_SECRET *ph = NULL;

	ck_assert_int_eq(p1_password(vector_bytes(v, "typed"), &password), 0);
	assert_bytes(secret_bytes(password), vector_bytes(v, "nfc"));
	ck_assert_int_eq(p1_password_hash(password, vector_bytes(v, "salt").data,
					  vector_number(v, "iterations"), &ph),
			 0);
	assert_bytes(secret_bytes(ph), vector_bytes(v, "hash"));
}

START_TEST(password_hash)
{
	vectors_each("p1.txt", "password hash", password_one);
}
END_TEST

static void unknown_salt_one(const struct vector *v)
{
	SCOPED_SECRET *key = vector_secret(v, "key");
	uint8_t salt[SALT_SIZE];

	ck_assert_int_eq(p1_unknown_salt(key, vector_bytes(v, "user"), salt), 0);
	assert_bytes(bytes_of(salt, sizeof(salt)), vector_bytes(v, "salt"));
}

START_TEST(unknown_salt)
{
	vectors_each("p1.txt", "unknown salt", unknown_salt_one);
}
END_TEST

/* Everything that must not open what was wrapped for someone or something else. */
static void wrap_refusals(const struct vector *v, const struct p1_context *context)
{
	SCOPED_SECRET *secret = vector_secret(v, "secret");
	SCOPED_SECRET *other = secret_random(KEY_SIZE);
	SCOPED_SECRET *none = NULL;
	struct bytes salt = vector_bytes(v, "salt"), wrapped = vector_bytes(v, "wrapped");
	struct p1_context changed = *context;
	uint8_t copy[80];

	memcpy(copy, wrapped.data, wrapped.size);
	for (size_t i = 0; i < wrapped.size; i++) {
		copy[i] ^= 1;
		ck_assert_int_eq(
			p1_unwrap(secret, salt, context, bytes_of(copy, wrapped.size), &none),
			P1_REFUSED);
		copy[i] ^= 1;
	}
	for (size_t size = 0; size < wrapped.size; size++)
		ck_assert_int_eq(p1_unwrap(secret, salt, context, bytes_of(copy, size), &none),
				 P1_REFUSED);
	ck_assert_int_eq(p1_unwrap(other, salt, context, wrapped, &none), P1_REFUSED);
	ck_assert_int_eq(
		p1_unwrap(secret, bytes_of(salt.data, salt.size - 1), context, wrapped, &none),
		P1_REFUSED);
	changed.data[changed.size - 1] ^= 1;
	ck_assert_int_eq(p1_unwrap(secret, salt, &changed, wrapped, &none), P1_REFUSED);
	ck_assert_ptr_null(none);
}

static void wrap_one(const struct vector *v, enum p1_key_use use)
{
	SCOPED_SECRET *secret = vector_secret(v, "secret");
	SCOPED_SECRET *key = vector_secret(v, "key");
	SCOPED_SECRET *back = NULL;
	struct bytes salt = vector_bytes(v, "salt"), wrapped = vector_bytes(v, "wrapped");
	struct p1_context context;
	uint8_t out[P1_WRAPPED_KEY_SIZE];

	p1_key_context(&context, use, vector_bytes(v, "user"), vector_bytes(v, "entity"),
		       vector_number(v, "index"));
	ck_assert_int_eq(p1_wrap(secret, salt, &context, key, out), 0);
	assert_bytes(bytes_of(out, sizeof(out)), wrapped);
	ck_assert_int_eq(p1_unwrap(secret, salt, &context, wrapped, &back), 0);
	ck_assert(secret_equal(back, key));
	wrap_refusals(v, &context);
}

static void wrap_eukey(const struct vector *v)
{
	wrap_one(v, P1_EUKEY);
}

static void wrap_kek(const struct vector *v)
{
	wrap_one(v, P1_KEK);
}

static void wrap_set(const struct vector *v)
{
	wrap_one(v, P1_SET);
}

static void wrap_notification(const struct vector *v)
{
	wrap_one(v, P1_NOTIFICATION);
}

START_TEST(wraps)
{
	vectors_each("p1.txt", "wrap EUKey", wrap_eukey);
	vectors_each("p1.txt", "wrap KEK", wrap_kek);
	vectors_each("p1.txt", "wrap set", wrap_set);
	vectors_each("p1.txt", "wrap notification", wrap_notification);
}
END_TEST

/* The same bytes of user and entity split elsewhere are another context. */
START_TEST(contexts_differ)
{
	struct p1_context a, b;

	p1_key_context(&a, P1_EUKEY, bytes_text("ab"), bytes_text("c"), 1);
	p1_key_context(&b, P1_EUKEY, bytes_text("a"), bytes_text("bc"), 1);
	ck_assert_uint_eq(a.size, b.size);
	ck_assert_int_ne(memcmp(a.data, b.data, a.size), 0);
}
END_TEST

START_TEST(context_overflow)
{
	static const uint8_t big[505];
	SCOPED_SECRET *secret = secret_random(KEY_SIZE);
	SCOPED_SECRET *none = NULL;
	struct p1_context c, empty;
	uint8_t out[P1_MAC_SIZE];

	p1_context_begin(&c, NULL);
	p1_context_begin(&empty, NULL);
	ck_assert_uint_eq(c.size, 0);
	p1_context_add(&c, bytes_of(big, sizeof(big)));
	ck_assert(!c.overflow);
	p1_context_add(&c, BYTES_NONE);
	ck_assert(c.overflow);
	ck_assert_int_eq(p1_hkdf(secret, BYTES_NONE, &c, 32, &none), -ENOBUFS);
	ck_assert_int_eq(p1_mac(secret, &empty, &c, out), -ENOBUFS);
	ck_assert_int_eq(p1_mac(secret, &c, &empty, out), -ENOBUFS);
	ck_assert_int_eq(p1_hkdf(secret, BYTES_NONE, &empty, 65, &none), -EINVAL);
	ck_assert_int_eq(p1_hkdf(secret, BYTES_NONE, &empty, 0, &none), -EINVAL);
	ck_assert_ptr_null(none);
}
END_TEST

static void temporary_key_one(const struct vector *v)
{
	SCOPED_SECRET *secret = vector_secret(v, "secret");
	SCOPED_SECRET *key = vector_secret(v, "key");
	SCOPED_SECRET *back = NULL;
	SCOPED_SECRET *none = NULL;
	struct bytes salt = vector_bytes(v, "salt"), user = vector_bytes(v, "user"),
		     entity = vector_bytes(v, "entity"), wrapped = vector_bytes(v, "wrapped");
	uint8_t out[P1_WRAPPED_TEMPORARY_KEY_MAX];
	size_t size;

	ck_assert_int_eq(p1_wrap_temporary_key(secret, salt, user, entity, key, out, &size), 0);
	assert_bytes(bytes_of(out, size), wrapped);
	ck_assert_int_eq(p1_unwrap_temporary_key(secret, salt, user, entity, wrapped, &back), 0);
	ck_assert(secret_equal(back, key));
	ck_assert_int_eq(
		p1_unwrap_temporary_key(secret, salt, bytes_text("bob"), entity, wrapped, &none),
		P1_REFUSED);
	out[size - 1] ^= 1;
	ck_assert_int_eq(
		p1_unwrap_temporary_key(secret, salt, user, entity, bytes_of(out, size), &none),
		P1_REFUSED);
}

START_TEST(temporary_key)
{
	vectors_each("p1.txt", "wrap temporary key", temporary_key_one);
}
END_TEST

/* A wrap that is right outside and wrong inside. */
START_TEST(temporary_key_padding)
{
	static const struct {
		size_t size;
		uint8_t length;
		uint8_t last;
		int result;
	} cases[] = {{24, 16, 0, 0},          {24, 16, 1, P1_REFUSED}, {24, 15, 0, P1_REFUSED},
		     {24, 0, 0, P1_REFUSED},  {24, 24, 0, P1_REFUSED}, {24, 23, 7, 0},
		     {32, 16, 0, P1_REFUSED}, {72, 65, 0, P1_REFUSED}, {72, 64, 0, 0},
		     {72, 255, 0, P1_REFUSED}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		SCOPED_SECRET *secret = secret_random(KEY_SIZE);
		SCOPED_SECRET *padded = secret_new(cases[i].size);
		SCOPED_SECRET *out = NULL;
		struct p1_context context;
		uint8_t wrapped[80];

		secret_buffer(padded)[0] = cases[i].length;
		secret_buffer(padded)[cases[i].size - 1] = cases[i].last;
		p1_temporary_key_context(&context, bytes_text("u"), bytes_text("e"));
		ck_assert_int_eq(p1_wrap(secret, BYTES_NONE, &context, padded, wrapped), 0);
		ck_assert_int_eq(p1_unwrap_temporary_key(
					 secret, BYTES_NONE, bytes_text("u"), bytes_text("e"),
					 bytes_of(wrapped, cases[i].size + 8), &out),
				 cases[i].result);
	}
}
END_TEST

START_TEST(wrap_sizes)
{
	SCOPED_SECRET *secret = secret_random(KEY_SIZE);
	struct p1_context context;
	uint8_t out[P1_WRAPPED_TEMPORARY_KEY_MAX];
	size_t out_size = 4711;

	p1_context_begin(&context, "test");
	for (size_t size = 1; size <= 100; size++) {
		SCOPED_SECRET *key = secret_random(size);
		bool wrappable = size >= 16 && size <= 72 && size % 8 == 0;
		bool temporary = size >= P1_TEMPORARY_KEY_MIN && size <= P1_TEMPORARY_KEY_MAX;

		ck_assert_int_eq(p1_wrap(secret, BYTES_NONE, &context, key, out),
				 wrappable ? 0 : -EINVAL);
		ck_assert_int_eq(p1_wrap_temporary_key(secret, BYTES_NONE, bytes_text("u"),
						       bytes_text("e"), key, out, &out_size),
				 temporary ? 0 : -EINVAL);
	}
}
END_TEST

static void stretch_one(const struct vector *v)
{
	SCOPED_SECRET *passphrase = vector_secret(v, "passphrase");
	SCOPED_SECRET *key = NULL;

	ck_assert_int_eq(p1_stretch_temporary_key(passphrase, vector_bytes(v, "entity"), &key), 0);
	assert_bytes(secret_bytes(key), vector_bytes(v, "key"));
}

START_TEST(stretch)
{
	vectors_each("p1.txt", "stretch", stretch_one);
}
END_TEST

static void auth_one(const struct vector *v)
{
	SCOPED_SECRET *ph = vector_secret(v, "ph");
	struct message_id id = id_of(v);
	struct bytes message = vector_bytes(v, "message");
	uint8_t out[P1_MAC_SIZE];
	char name[64];

	ck_assert_int_eq(bytes_to_text(message, name, sizeof(name)), 0);
	ck_assert_int_eq(p1_auth_data(ph, name, vector_bytes(v, "user"), vector_bytes(v, "source"),
				      vector_bytes(v, "target"), vector_bytes(v, "rand"), &id, out),
			 0);
	assert_bytes(bytes_of(out, sizeof(out)), vector_bytes(v, "mac"));
	/* What travels in the other direction is something else. */
	ck_assert_int_eq(p1_auth_data(ph, name, vector_bytes(v, "user"), vector_bytes(v, "target"),
				      vector_bytes(v, "source"), vector_bytes(v, "rand"), &id, out),
			 0);
	ck_assert(!constant_time_equal(bytes_of(out, sizeof(out)), vector_bytes(v, "mac")));
}

START_TEST(auth_data)
{
	vectors_each("p1.txt", "auth data", auth_one);
}
END_TEST

typedef int proof_fn(const struct secret *eukey, struct bytes user, struct bytes entity,
		     uint32_t index, const struct message_id *id, uint8_t out[P1_MAC_SIZE]);

static void proof_one(const struct vector *v, proof_fn *proof)
{
	SCOPED_SECRET *eukey = vector_secret(v, "eukey");
	struct message_id id = id_of(v);
	uint8_t out[P1_MAC_SIZE];

	ck_assert_int_eq(proof(eukey, vector_bytes(v, "user"), vector_bytes(v, "entity"),
			       vector_number(v, "index"), &id, out),
			 0);
	assert_bytes(bytes_of(out, sizeof(out)), vector_bytes(v, "mac"));
}

static void held_one(const struct vector *v)
{
	proof_one(v, p1_held_proof);
}

static void reset_one(const struct vector *v)
{
	proof_one(v, p1_reset_proof);
}

static void reset_confirmation_one(const struct vector *v)
{
	proof_one(v, p1_reset_confirmation);
}

static void refill_one(const struct vector *v)
{
	SCOPED_SECRET *eukey = vector_secret(v, "eukey");
	struct message_id id = id_of(v);
	uint8_t out[P1_MAC_SIZE];

	ck_assert_int_eq(p1_refill_proof(eukey, vector_bytes(v, "user"), vector_bytes(v, "entity"),
					 vector_number(v, "index"), &id, vector_bytes(v, "gateway"),
					 out),
			 0);
	assert_bytes(bytes_of(out, sizeof(out)), vector_bytes(v, "mac"));
}

START_TEST(refill_and_reset_proofs)
{
	vectors_each("p1.txt", "refill proof", refill_one);
	vectors_each("p1.txt", "reset proof", reset_one);
	vectors_each("p1.txt", "reset confirmation", reset_confirmation_one);
}
END_TEST

START_TEST(held_proof)
{
	vectors_each("p1.txt", "held proof", held_one);
}
END_TEST

static void fingerprint_one(const struct vector *v)
{
	SCOPED_SECRET *eukey = vector_secret(v, "eukey");
	uint8_t out[P1_FINGERPRINT_SIZE];

	ck_assert_int_eq(p1_fingerprint(eukey, vector_bytes(v, "challenge"),
					vector_bytes(v, "user"), vector_bytes(v, "entity"),
					vector_number(v, "index"), out),
			 0);
	assert_bytes(bytes_of(out, sizeof(out)), vector_bytes(v, "fingerprint"));
}

START_TEST(fingerprint)
{
	vectors_each("p1.txt", "fingerprint", fingerprint_one);
}
END_TEST

static void seal_password_one(const struct vector *v)
{
	SCOPED_SECRET *secret = vector_secret(v, "secret");
	SCOPED_SECRET *password = vector_secret(v, "password");
	SCOPED_SECRET *back = NULL;
	SCOPED_SECRET *none = NULL;
	struct bytes rand = vector_bytes(v, "rand"), user = vector_bytes(v, "user"),
		     binding = vector_bytes(v, "binding"), sealed = vector_bytes(v, "sealed");
	uint8_t out[P1_SEALED_PASSWORD_SIZE];

	ck_assert_int_eq(p1_seal_password(secret, rand, user, binding, password, out), 0);
	assert_bytes(bytes_of(out, sizeof(out)), sealed);
	ck_assert_int_eq(p1_open_password(secret, rand, user, binding, sealed, &back), 0);
	ck_assert(secret_equal(back, password));
	ck_assert_int_eq(p1_open_password(secret, rand, bytes_text("bob"), binding, sealed, &none),
			 P1_REFUSED);
	ck_assert_int_eq(p1_open_password(secret, rand, user, bytes_text("x"), sealed, &none),
			 P1_REFUSED);
	ck_assert_int_eq(p1_open_password(secret, rand, user, binding,
					  bytes_of(sealed.data, sealed.size - 1), &none),
			 P1_REFUSED);
	for (size_t i = 0; i < sizeof(out); i++) {
		out[i] ^= 0x80;
		ck_assert_int_eq(p1_open_password(secret, rand, user, binding,
						  bytes_of(out, sizeof(out)), &none),
				 P1_REFUSED);
		out[i] ^= 0x80;
	}
	ck_assert_ptr_null(none);
}

START_TEST(seal_password)
{
	vectors_each("p1.txt", "seal password", seal_password_one);
}
END_TEST

static void chain_one(const struct vector *v)
{
	SCOPED_SECRET *key = vector_secret(v, "key");
	SCOPED_SECRET *below = NULL;
	SCOPED_SECRET *second = NULL;

	ck_assert_int_eq(p1_chain_below(key, &below), 0);
	assert_bytes(secret_bytes(below), vector_bytes(v, "below"));
	ck_assert_int_eq(p1_chain_below(below, &second), 0);
	assert_bytes(secret_bytes(second), vector_bytes(v, "second"));
}

START_TEST(chain)
{
	vectors_each("p1.txt", "chain", chain_one);
}
END_TEST

/* Passwords as they are typed */

START_TEST(password_forms)
{
	SCOPED_SECRET *composed = NULL;
	SCOPED_SECRET *decomposed = NULL;

	ck_assert_int_eq(p1_password(bytes_text("caf\xc3\xa9"), &composed), 0);
	ck_assert_int_eq(p1_password(bytes_text("cafe\xcc\x81"), &decomposed), 0);
	ck_assert(secret_equal(composed, decomposed));
	ck_assert_uint_eq(secret_size(composed), 5);
}
END_TEST

START_TEST(password_limits)
{
	SCOPED_SECRET *longest = NULL;
	SCOPED_SECRET *shrinks = NULL;
	SCOPED_SECRET *none = NULL;
	char text[600];

	memset(text, 'x', sizeof(text));
	ck_assert_int_eq(p1_password(bytes_of(text, P1_PASSWORD_MAX), &longest), 0);
	ck_assert_uint_eq(secret_size(longest), P1_PASSWORD_MAX);
	ck_assert_int_eq(p1_password(bytes_of(text, P1_PASSWORD_MAX + 1), &none), -EINVAL);
	ck_assert_int_eq(p1_password(bytes_of(text, sizeof(text)), &none), -EINVAL);
	ck_assert_int_eq(p1_password(BYTES_NONE, &none), -EINVAL);
	/* 64 times e and a combining acute accent: 192 bytes typed, 128 of NFC. */
	for (size_t i = 0; i < 64; i++)
		memcpy(text + 3 * i, "e\xcc\x81", 3);
	ck_assert_int_eq(p1_password(bytes_of(text, 192), &shrinks), 0);
	ck_assert_uint_eq(secret_size(shrinks), P1_PASSWORD_MAX);
	/* U+0390 as many times as fit: the worst growth on the way. */
	for (size_t i = 0; i < 192; i++)
		memcpy(text + 2 * i, "\xce\x90", 2);
	ck_assert_int_eq(p1_password(bytes_of(text, 384), &none), -EINVAL);
	ck_assert_ptr_null(none);
}
END_TEST

START_TEST(password_characters)
{
	static const struct bytes bad[] = {
		{(const uint8_t *)"a\0b", 3},        {(const uint8_t *)"tab\t", 4},
		{(const uint8_t *)"line\n", 5},      {(const uint8_t *)"\x7f", 1},
		{(const uint8_t *)"\xc2\x85", 2},    {(const uint8_t *)"\xff", 1},
		{(const uint8_t *)"\xc3", 1},        {(const uint8_t *)"\xc0\x80", 2},
		{(const uint8_t *)"\xed\xa0\x80", 3}};
	SCOPED_SECRET *none = NULL;
	SCOPED_SECRET *good = NULL;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(p1_password(bad[i], &none), -EINVAL);
	ck_assert_ptr_null(none);
	ck_assert_int_eq(p1_password(bytes_text(" \"quotes\" : and \\ "), &good), 0);
	ck_assert_int_eq(p1_password_hash(good, (const uint8_t[SALT_SIZE]){0}, 0, &none), -EINVAL);
}
END_TEST

START_TEST(hashes)
{
	SCOPED_SECRET *key = secret_copy(bytes_text("Jefe"));
	uint8_t out[32], expected[32];
	size_t written;

	/* FIPS 180-4's "abc" and RFC 4231 test case 2. */
	ck_assert_int_eq(p1_sha256(bytes_text("abc"), out), 0);
	hex_decode(bytes_text("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
		   expected, 32, &written);
	assert_bytes(bytes_of(out, 32), bytes_of(expected, 32));
	ck_assert_int_eq(p1_hmac(key, bytes_text("what do ya want for nothing?"), out), 0);
	hex_decode(bytes_text("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
		   expected, 32, &written);
	assert_bytes(bytes_of(out, 32), bytes_of(expected, 32));
	ck_assert_int_eq(p1_sha256(BYTES_NONE, out), 0);
	hex_decode(bytes_text("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
		   expected, 32, &written);
	assert_bytes(bytes_of(out, 32), bytes_of(expected, 32));
}
END_TEST

static void no_secret_left(void)
{
	ck_assert_uint_eq(secret_count(), 0);
}

/* The vectors of the reference implementation: key 00 01 02..., data 00 01 02... */
START_TEST(siphash)
{
	static const struct {
		size_t size;
		uint8_t hash[P1_SIPHASH_SIZE];
	} rows[] = {
		{0,
		 {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7,
		  0x55, 0x02, 0x93}},
		{1,
		 {0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b,
		  0x22, 0xfc, 0x45}},
		{15,
		 {0x54, 0x93, 0xe9, 0x99, 0x33, 0xb0, 0xa8, 0x11, 0x7e, 0x08, 0xec, 0x0f, 0x97,
		  0xcf, 0xc3, 0xd9}},
		{63,
		 {0x51, 0x50, 0xd1, 0x77, 0x2f, 0x50, 0x83, 0x4a, 0x50, 0x3e, 0x06, 0x9a, 0x97,
		  0x3f, 0xbd, 0x7c}},
	};
	uint8_t data[64], out[P1_SIPHASH_SIZE];

	for (uint8_t i = 0; i < sizeof(data); i++)
		data[i] = i;
	ck_assert_int_eq(p1_siphash(data, bytes_of(data, rows[_i].size), out), 0);
	ck_assert_mem_eq(out, rows[_i].hash, sizeof(out));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("p1");
	TCase *t = tcase_create("p1");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, NULL, no_secret_left);
	tcase_add_test(t, rfc5869);
	tcase_add_test(t, rfc3394);
	tcase_add_test(t, rfc7914);
	tcase_add_test(t, rfc8439);
	tcase_add_test(t, rfc7748);
	tcase_add_test(t, rfc8032);
	tcase_add_test(t, x25519_pairs);
	tcase_add_test(t, rfc7914_scrypt);
	tcase_add_test(t, password_hash);
	tcase_add_test(t, unknown_salt);
	tcase_add_test(t, wraps);
	tcase_add_test(t, contexts_differ);
	tcase_add_test(t, context_overflow);
	tcase_add_test(t, temporary_key);
	tcase_add_test(t, temporary_key_padding);
	tcase_add_test(t, wrap_sizes);
	tcase_add_test(t, stretch);
	tcase_add_test(t, auth_data);
	tcase_add_test(t, held_proof);
	tcase_add_test(t, refill_and_reset_proofs);
	tcase_add_test(t, fingerprint);
	tcase_add_test(t, seal_password);
	tcase_add_test(t, chain);
	tcase_add_test(t, password_forms);
	tcase_add_test(t, password_limits);
	tcase_add_test(t, password_characters);
	tcase_add_test(t, hashes);
	tcase_add_loop_test(t, siphash, 0, 4);
	suite_add_tcase(suite, t);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
