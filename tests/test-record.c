#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "storage/record.h"

START_TEST(test_round_trip)
{
	SCOPED_SECRET *secret = secret_copy(bytes_text("0123456789abcdef"));
	struct secret *got = NULL;
	struct record_writer w;
	struct bytes content, b;
	struct name name;
	uint32_t number = 0;

	record_begin(&w);
	record_add(&w, 1, bytes_text("headset-1"));
	record_add_u32(&w, 2, 0x89abcdef);
	record_add_secret(&w, 3, secret);
	record_add(&w, 4, BYTES_NONE);
	record_add(&w, 1, bytes_text("second"));
	content = record_bytes(&w);

	ck_assert_int_eq(record_get(content, 1, &b), 0);
	ck_assert(bytes_equal(b, bytes_text("headset-1")));
	ck_assert_int_eq(record_get_u32(content, 2, &number), 0);
	ck_assert_uint_eq(number, 0x89abcdef);
	ck_assert_int_eq(record_get_secret(content, 3, &got), 0);
	ck_assert(secret_equal(got, secret));
	secret_unref(got);
	ck_assert_int_eq(record_get(content, 4, &b), 0);
	ck_assert_uint_eq(b.size, 0);
	ck_assert_int_eq(record_get_name(content, 1, &name), 0);
	ck_assert_str_eq(name.text, "headset-1");
	ck_assert_int_eq(record_get(content, 9, &b), -ENOENT);
	record_end(&w);
	for (size_t i = 0; i < sizeof(w.data); i++)
		ck_assert_uint_eq(w.data[i], 0);
}
END_TEST

START_TEST(test_full)
{
	static uint8_t big[VAULT_CONTENT_MAX];
	struct record_writer w;
	struct bytes b;

	record_begin(&w);
	record_add(&w, 1, bytes_of(big, VAULT_CONTENT_MAX - 3));
	ck_assert_uint_eq(record_bytes(&w).size, VAULT_CONTENT_MAX);
	ck_assert_int_eq(record_get(record_bytes(&w), 1, &b), 0);
	ck_assert_uint_eq(b.size, VAULT_CONTENT_MAX - 3);
	record_add(&w, 2, BYTES_NONE);
	ck_assert(w.overflow);
	ck_assert_ptr_null(record_bytes(&w).data);
	record_begin(&w);
	record_add(&w, 1, bytes_of(big, VAULT_CONTENT_MAX - 2));
	ck_assert_ptr_null(record_bytes(&w).data);
	record_begin(&w);
	record_add_secret(&w, 1, NULL);
	ck_assert_ptr_null(record_bytes(&w).data);
	record_end(&w);
}
END_TEST

/* Content, tag looked for, result of record_get(). */
static const struct {
	const char *hex;
	uint8_t tag;
	int result;
} malformed[] = {
	{"", 1, -ENOENT},           {"01", 1, -EBADMSG},
	{"0100", 1, -EBADMSG},      {"010001", 1, -EBADMSG},
	{"01000200", 1, -EBADMSG},  {"01ffff00", 1, -EBADMSG},
	{"010000", 1, 0},           {"01000002", 1, -EBADMSG},
	{"0200010901000141", 1, 0}, {"02000109010001", 2, -EBADMSG},
};

START_TEST(test_malformed)
{
	size_t digits = strlen(malformed[_i].hex);
	uint8_t *content = malloc(digits / 2 + 1);
	struct bytes b = bytes_text("kept");
	size_t size = 0;
	int r;

	ck_assert_ptr_nonnull(content);
	ck_assert_int_eq(hex_decode(bytes_text(malformed[_i].hex), content, digits / 2, &size), 0);
	content = realloc(content, size ? size : 1);
	r = record_get(bytes_of(content, size), malformed[_i].tag, &b);
	ck_assert_int_eq(r, malformed[_i].result);
	if (r != 0)
		ck_assert(bytes_equal(b, bytes_text("kept")));
	free(content);
}
END_TEST

START_TEST(test_wrong_sizes)
{
	static const uint8_t long_secret[SECRET_MAX_SIZE + 1];
	struct secret *secret = NULL;
	struct record_writer w;
	struct name name = {"kept"};
	uint32_t number = 7;

	record_begin(&w);
	record_add(&w, 1, bytes_text("12345"));
	record_add(&w, 2, BYTES_NONE);
	record_add(&w, 3, bytes_of(long_secret, sizeof(long_secret)));
	ck_assert_int_eq(record_get_u32(record_bytes(&w), 1, &number), -EBADMSG);
	ck_assert_uint_eq(number, 7);
	ck_assert_int_eq(record_get_secret(record_bytes(&w), 2, &secret), -EBADMSG);
	ck_assert_int_eq(record_get_secret(record_bytes(&w), 3, &secret), -EBADMSG);
	ck_assert_ptr_null(secret);
	ck_assert_int_eq(record_get_name(record_bytes(&w), 2, &name), -EBADMSG);
	ck_assert_int_eq(record_get_name(record_bytes(&w), 3, &name), -EBADMSG);
	ck_assert_str_eq(name.text, "kept");
	record_end(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("record");
	TCase *t = tcase_create("record");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_round_trip);
	tcase_add_test(t, test_full);
	tcase_add_loop_test(t, test_malformed, 0, sizeof(malformed) / sizeof(malformed[0]));
	tcase_add_test(t, test_wrong_sizes);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
