#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "protocol/digest.h"
#include "tests/vectors.h"

static struct digest_input input_of(const struct vector *v)
{
	return (struct digest_input){
		.user = vector_bytes(v, "user"),
		.realm = vector_bytes(v, "realm"),
		.nonce = vector_bytes(v, "nonce"),
		.client_nonce = vector_bytes(v, "cnonce"),
		.uri = vector_bytes(v, "uri"),
		.nonce_count = vector_number(v, "count"),
	};
}

static void rfc7616_one(const struct vector *v)
{
	struct digest_input in = input_of(v);
	uint8_t out[32];

	ck_assert(bytes_equal(vector_bytes(v, "method"), bytes_text("GET")));
	ck_assert_int_eq(digest_response_general(vector_bytes(v, "password"), "GET", &in, out), 0);
	ck_assert(constant_time_equal(bytes_of(out, 32), vector_bytes(v, "response")));
}

START_TEST(rfc7616)
{
	vectors_each("rfc7616.txt", NULL, rfc7616_one);
}
END_TEST

static void p1_one(const struct vector *v)
{
	SCOPED_SECRET *ph = vector_secret(v, "ph");
	struct digest_input in = input_of(v);
	uint8_t out[32];

	ck_assert_int_eq(digest_response(ph, &in, out), 0);
	ck_assert(constant_time_equal(bytes_of(out, 32), vector_bytes(v, "response")));
	in.nonce_count++;
	ck_assert_int_eq(digest_response(ph, &in, out), 0);
	ck_assert(!constant_time_equal(bytes_of(out, 32), vector_bytes(v, "response")));
}

START_TEST(p1)
{
	vectors_each("p1.txt", "digest", p1_one);
}
END_TEST

START_TEST(salt)
{
	uint8_t out[DIGEST_SALT_MAX], big[DIGEST_SALT_MAX] = {0};

	ck_assert(bytes_equal(digest_salt(bytes_text("ab"), bytes_text("cd"), out),
			      bytes_text("abcd")));
	ck_assert_uint_eq(digest_salt(bytes_of(big, 128), bytes_of(big, 64), out).size, 192);
	ck_assert_ptr_null(digest_salt(bytes_of(big, 128), bytes_of(big, 65), out).data);
	ck_assert_ptr_null(digest_salt(bytes_of(big, DIGEST_SALT_MAX + 1), BYTES_NONE, out).data);
}
END_TEST

START_TEST(client_nonce)
{
	char a[33], b[33];

	ck_assert_int_eq(digest_client_nonce(a), 0);
	ck_assert_int_eq(digest_client_nonce(b), 0);
	ck_assert_uint_eq(strlen(a), 32);
	ck_assert_str_ne(a, b);
}
END_TEST

START_TEST(nonce_counts)
{
	struct digest_nonces *n = digest_nonces_new(1000, 16);
	char nonce[129];

	ck_assert_int_eq(digest_nonce_make(n, 5000, nonce), 0);
	ck_assert_uint_eq(strlen(nonce), 64);
	ck_assert_int_eq(digest_nonce_use(n, bytes_text(nonce), 0, 5000), DIGEST_REPLAYED);
	ck_assert_int_eq(digest_nonce_use(n, bytes_text(nonce), 1, 5000), DIGEST_FRESH);
	ck_assert_int_eq(digest_nonce_use(n, bytes_text(nonce), 1, 5000), DIGEST_REPLAYED);
	ck_assert_int_eq(digest_nonce_use(n, bytes_text(nonce), 5, 5500), DIGEST_FRESH);
	ck_assert_int_eq(digest_nonce_use(n, bytes_text(nonce), 4, 5500), DIGEST_REPLAYED);
	ck_assert_int_eq(digest_nonce_use(n, bytes_text(nonce), UINT32_MAX, 6000), DIGEST_FRESH);
	ck_assert_int_eq(digest_nonce_use(n, bytes_text(nonce), UINT32_MAX, 6000), DIGEST_REPLAYED);
	digest_nonces_free(n);
}
END_TEST

START_TEST(nonce_ages)
{
	struct digest_nonces *n = digest_nonces_new(1000, 16);
	char nonce[129];

	ck_assert_int_eq(digest_nonce_make(n, 5000, nonce), 0);
	ck_assert_int_eq(digest_nonce_use(n, bytes_text(nonce), 1, 4999), DIGEST_STALE);
	ck_assert_int_eq(digest_nonce_use(n, bytes_text(nonce), 1, 6000), DIGEST_FRESH);
	ck_assert_int_eq(digest_nonce_use(n, bytes_text(nonce), 2, 6001), DIGEST_STALE);
	ck_assert_int_eq(digest_nonce_use(n, bytes_text(nonce), 1, 6001), DIGEST_STALE);
	digest_nonces_free(n);
}
END_TEST

START_TEST(nonce_forged)
{
	struct digest_nonces *n = digest_nonces_new(1000, 16);
	char nonce[129];

	ck_assert_int_eq(digest_nonce_make(n, 5000, nonce), 0);
	for (size_t i = 0; i < 64; i++) {
		char kept = nonce[i];

		nonce[i] = kept == '0' ? '1' : '0';
		ck_assert_int_eq(digest_nonce_use(n, bytes_text(nonce), 1, 5000), DIGEST_STALE);
		nonce[i] = kept;
	}
	ck_assert_int_eq(digest_nonce_use(n, bytes_of(nonce, 62), 1, 5000), DIGEST_STALE);
	ck_assert_int_eq(digest_nonce_use(n, BYTES_NONE, 1, 5000), DIGEST_STALE);
	ck_assert_int_eq(digest_nonce_use(n, bytes_text("not hex"), 1, 5000), DIGEST_STALE);
	ck_assert_int_eq(digest_nonce_use(n, bytes_text(nonce), 1, 5000), DIGEST_FRESH);
	digest_nonces_free(n);
}
END_TEST

START_TEST(nonce_of_before_restart)
{
	struct digest_nonces *before = digest_nonces_new(1000, 16);
	struct digest_nonces *after = digest_nonces_new(1000, 16);
	char nonce[129];

	ck_assert_int_eq(digest_nonce_make(before, 5000, nonce), 0);
	ck_assert_int_eq(digest_nonce_use(after, bytes_text(nonce), 1, 5000), DIGEST_STALE);
	digest_nonces_free(before);
	digest_nonces_free(after);
}
END_TEST

/* More nonces in use than are remembered: the old ones go stale, none is taken twice. */
START_TEST(nonce_table_full)
{
	struct digest_nonces *n = digest_nonces_new(1000, 4);
	char nonces[20][129];

	for (size_t i = 0; i < 20; i++) {
		ck_assert_int_eq(digest_nonce_make(n, 5000, nonces[i]), 0);
		ck_assert_int_eq(digest_nonce_use(n, bytes_text(nonces[i]), 1, 5000), DIGEST_FRESH);
	}
	for (size_t i = 0; i < 20; i++) {
		ck_assert_int_eq(digest_nonce_use(n, bytes_text(nonces[i]), 1, 5000),
				 i < 16 ? DIGEST_STALE : DIGEST_REPLAYED);
		ck_assert_int_eq(digest_nonce_use(n, bytes_text(nonces[i]), 2, 5000),
				 i < 16 ? DIGEST_STALE : DIGEST_FRESH);
	}
	digest_nonces_free(n);
	ck_assert_ptr_null(digest_nonces_new(1000, 0));
	ck_assert_ptr_null(digest_nonces_new(1000, SIZE_MAX));
	digest_nonces_free(NULL);
}
END_TEST

START_TEST(challenge)
{
	static const uint8_t s[SALT_SIZE] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	char out[400];

	ck_assert_int_eq(digest_header_challenge(out, sizeof(out), bytes_text("cpns-1"),
						 bytes_text("abcd"), false, s, 600000),
			 0);
	ck_assert_str_eq(out, "Digest realm=\"cpns-1\", qop=\"auth\", algorithm=SHA-256, "
			      "nonce=\"abcd\", stale=false, charset=UTF-8, "
			      "salt=\"000102030405060708090a0b0c0d0e0f\", iterations=600000");
	ck_assert_int_eq(digest_header_challenge(out, sizeof(out), bytes_text("cpns-1"),
						 bytes_text("abcd"), true, s, 600000),
			 0);
	ck_assert_ptr_nonnull(strstr(out, "stale=true"));
	ck_assert_int_eq(digest_header_challenge(out, 60, bytes_text("cpns-1"), bytes_text("abcd"),
						 true, s, 600000),
			 -ENOBUFS);
	ck_assert_int_eq(digest_header_challenge(out, sizeof(out), bytes_text("a\"b"),
						 bytes_text("abcd"), true, s, 600000),
			 -EINVAL);
}
END_TEST

#define NONCE    "abababababababababababababababababababababababababababababababab"
#define RESPONSE "e4eee03b7c20f8ceb2c2766492faef1c34550aae4a9a24b2feb07229151b39ea"

/* Word for word what curl 7.88.1 sent for user alice and password 0123. */
static const char curl[] =
	"Digest username=\"alice\", realm=\"cpns-server-1\", nonce=\"" NONCE "\", uri=\"/cpns\", "
	"cnonce=\"NmUyZDQ2NWFjN2UyNjVlZmNhNjAwNWFhY2QxZTk2YjU=\", nc=00000001, qop=auth, "
	"response=\"" RESPONSE "\", algorithm=SHA-256";

START_TEST(header_of_curl)
{
	struct digest_input in;
	uint8_t response[32], computed[32];

	ck_assert_int_eq(digest_header_parse(bytes_text(curl), &in, response), 0);
	ck_assert(bytes_equal(in.user, bytes_text("alice")));
	ck_assert(bytes_equal(in.realm, bytes_text("cpns-server-1")));
	ck_assert(bytes_equal(in.nonce, bytes_text(NONCE)));
	ck_assert(bytes_equal(in.uri, bytes_text("/cpns")));
	ck_assert_uint_eq(in.nonce_count, 1);
	ck_assert_int_eq(digest_response_general(bytes_text("0123"), "POST", &in, computed), 0);
	ck_assert(constant_time_equal(bytes_of(response, 32), bytes_of(computed, 32)));
}
END_TEST

#define REST                                                                                     \
	" nonce=\"n\", uri=\"/cpns\", cnonce=\"c\", nc=0000000a, qop=auth, response=\"" RESPONSE \
	"\", algorithm=SHA-256"

START_TEST(header_good)
{
	static const char *const good[] = {
		"Digest username=\"a\", realm=\"r\"," REST,
		"digest  USERNAME = \"a\" ,\trealm=\"r\" ," REST " ",
		"Digest username=a,realm=\"r\"," REST
		", opaque=\"with \\\"escapes\\\" , = inside\"",
		"Digest username=\"a\", realm=\"r\", extension=\"\"," REST,
		"Digest username=\"zo\xc3\xab\", realm=\"r\"," REST,
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct digest_input in = {.nonce_count = 0};
		uint8_t response[32];

		ck_assert_msg(digest_header_parse(bytes_text(good[i]), &in, response) == 0, "%s",
			      good[i]);
		ck_assert_uint_eq(in.nonce_count, 10);
		ck_assert(bytes_equal(in.realm, bytes_text("r")));
	}
}
END_TEST

START_TEST(header_bad)
{
	static const char *const bad[] = {
		"",
		"Digest",
		"Digest ",
		"Basic YWxpY2U6MDEyMw==",
		"Digest username=\"a\"," REST,
		"Digest username=\"\", realm=\"r\"," REST,
		"Digest username=\"a\", username=\"a\", realm=\"r\"," REST,
		"Digest username=\"a\", realm=\"r\"," REST ",",
		"Digest username=\"a\", realm=\"r\"," REST " x",
		"Digest username=\"a\", realm=\"r\"," REST ", opaque=\"open",
		"Digest username=\"a\", realm=\"r\"," REST ", opaque=\"open\\",
		"Digest username=\"a\", realm=\"r\"," REST ", opaque=",
		"Digest username=\"a\", realm=\"r\"," REST ", =x",
		"Digest username=\"a\", realm=\"r\"," REST ", userhash=true",
		"Digest username=\"a\", realm=\"r\"," REST ", userhash=false",
		"Digest username=\"a\", realm=\"r\"," REST ", username*=UTF-8''a",
		"Digest username=\"a\", realm=\"r\"," REST ", nc=00000001",
		"Digest username=\"a\\\"b\", realm=\"r\"," REST,
		"Digest username=\"a\nb\", realm=\"r\"," REST,
		"Digest username=\"a\" realm=\"r\"," REST,
		"Digest,username=\"a\", realm=\"r\"," REST,
	};
	static const struct {
		const char *from, *to;
	} changes[] = {
		{"algorithm=SHA-256", "algorithm=MD5    "},
		{"algorithm=SHA-256", "xlgorithm=SHA-256"},
		{"qop=auth", "qop=auti"},
		{"nc=00000001", "nc=00000000"},
		{"nc=00000001", "nc=0000000A"},
		{"nc=00000001", "nc=0000001 "},
		{"nc=00000001", "nc=0000000g"},
		{"e4eee03b", "e4eee03g"},
		{"e4eee03b", "e4eee0\" "},
	};
	struct digest_input in = {.nonce_count = 4711};
	uint8_t response[32];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(digest_header_parse(bytes_text(bad[i]), &in, response) ==
				      DIGEST_HEADER_BAD,
			      "%s", bad[i]);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		char text[sizeof(curl)];
		char *at;

		memcpy(text, curl, sizeof(curl));
		at = strstr(text, changes[i].from);
		ck_assert_ptr_nonnull(at);
		memcpy(at, changes[i].to, strlen(changes[i].to));
		ck_assert_msg(digest_header_parse(bytes_text(text), &in, response) ==
				      DIGEST_HEADER_BAD,
			      "%s", text);
	}
	ck_assert_int_eq(digest_header_parse(BYTES_NONE, &in, response), DIGEST_HEADER_BAD);
	ck_assert_uint_eq(in.nonce_count, 4711);
}
END_TEST

/* No prefix of a good header is good. */
START_TEST(header_cut)
{
	struct digest_input in;
	uint8_t response[32];

	for (size_t size = 0; size + 1 < sizeof(curl); size++)
		ck_assert_int_eq(digest_header_parse(bytes_of(curl, size), &in, response),
				 DIGEST_HEADER_BAD);
}
END_TEST

static void no_secret_left(void)
{
	ck_assert_uint_eq(secret_count(), 0);
}

int main(void)
{
	Suite *suite = suite_create("digest");
	TCase *t = tcase_create("digest");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(t, NULL, no_secret_left);
	tcase_add_test(t, rfc7616);
	tcase_add_test(t, p1);
	tcase_add_test(t, salt);
	tcase_add_test(t, client_nonce);
	tcase_add_test(t, nonce_counts);
	tcase_add_test(t, nonce_ages);
	tcase_add_test(t, nonce_forged);
	tcase_add_test(t, nonce_of_before_restart);
	tcase_add_test(t, nonce_table_full);
	tcase_add_test(t, challenge);
	tcase_add_test(t, header_of_curl);
	tcase_add_test(t, header_good);
	tcase_add_test(t, header_bad);
	tcase_add_test(t, header_cut);
	suite_add_tcase(suite, t);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
