#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "console/label.h"

static struct label pne(const char *entity, const char *address)
{
	struct label l = {.kind = LABEL_PNE};

	ck_assert_int_eq(name_set(&l.name, bytes_text(entity)), 0);
	(void)snprintf(l.address, sizeof(l.address), "%s", address);
	return l;
}

static struct label user(const char *name)
{
	struct label l = {.kind = LABEL_USER};

	ck_assert_int_eq(name_set(&l.name, bytes_text(name)), 0);
	return l;
}

static void round_trip(const struct label *l, const char *begins)
{
	char text[LABEL_TEXT_SIZE], why[200] = "";
	struct label got = {.address = ""};

	ck_assert_int_eq(label_write(l, text), 0);
	ck_assert_int_eq(strncmp(text, begins, strlen(begins)), 0);
	ck_assert_msg(label_read(text, &got, why, sizeof(why)) == 0, "%s: %s", text, why);
	ck_assert_int_eq((int)got.kind, (int)l->kind);
	ck_assert(name_equal(&got.name, &l->name));
	ck_assert_str_eq(got.address, l->address);
}

START_TEST(test_round_trip)
{
	char longest[NAME_MAX_SIZE + 1] = "";
	struct label l = pne("headset-1", "");

	round_trip(&l, "pngw1:pne:e=headset-1;c=");
	l = pne("urn:x:a.b_c", "00:11:22:AA:BB:CC");
	round_trip(&l, "pngw1:pne:e=urn:x:a.b_c;a=00:11:22:AA:BB:CC;c=");
	l = user("alice");
	round_trip(&l, "pngw1:user:u=alice;c=");
	l = user("J\xc3\xb6rg of 5;7%");
	round_trip(&l, "pngw1:user:u=J%C3%B6rg%20of%205%3B7%25;c=");
	memset(longest, 'E', NAME_MAX_SIZE);
	l = pne(longest, "FF:FF:FF:FF:FF:FF");
	round_trip(&l, "pngw1:pne:e=EEEE");
	memset(longest, '%', NAME_MAX_SIZE);
	l = user(longest);
	round_trip(&l, "pngw1:user:u=%25%25");
}
END_TEST

/* Known from doc/labels.md, so that labels that were printed stay readable. */
START_TEST(test_known)
{
	char text[LABEL_TEXT_SIZE];
	struct label l = pne("headset-1", "00:11:22:33:44:55");

	ck_assert_int_eq(label_write(&l, text), 0);
	ck_assert_str_eq(text, "pngw1:pne:e=headset-1;a=00:11:22:33:44:55;c=B9E4");
	l = user("alice");
	ck_assert_int_eq(label_write(&l, text), 0);
	ck_assert_str_eq(text, "pngw1:user:u=alice;c=0F70");
}
END_TEST

START_TEST(test_not_to_be_written)
{
	char text[LABEL_TEXT_SIZE];
	struct label l = pne("head set", "");

	ck_assert_int_eq(label_write(&l, text), -EINVAL);
	l = pne("headset-1", "00:11:22:33:44");
	ck_assert_int_eq(label_write(&l, text), -EINVAL);
	l = user("a:b");
	ck_assert_int_eq(label_write(&l, text), -EINVAL);
}
END_TEST

static const struct {
	const char *text, *why;
} bad[] = {
	{"", "character 1: this is no label of a PN GW"},
	{"headset-1", "character 1: this is no label of a PN GW"},
	{"pngw2:pne:e=a;c=0000", "character 5: this is no label of a PN GW"},
	{"PNGW1:pne:e=a;c=0000", "character 1: this is no label of a PN GW"},
	{"pngw1:key:k=a;c=0000", "character 7: expected \"pne:\" or \"user:\""},
	{"pngw1:pne:a=00:11:22:33:44:55", "character 11: expected \"e=\""},
	{"pngw1:pne:e=;c=0000", "character 13: an Entity ID has 1 to 64 characters, not 0"},
	{"pngw1:pne:e=head set;c=0000", "character 17: an Entity ID has no such character"},
	{"pngw1:pne:e=a;a=00:11:22:33:44;c=0000", "character 17: this is no Bluetooth address"},
	{"pngw1:pne:e=a;a=00:11:22:33:44:5f;c=0000", "character 17: this is no Bluetooth address"},
	{"pngw1:pne:e=a;k=00", "character 15: expected \";c=\""},
	{"pngw1:pne:e=a", "character 14: expected \";c=\""},
	{"pngw1:pne:e=a;c=00", "character 17: it ends within the check"},
	{"pngw1:pne:e=a;c=0000", "character 17: the check is not that of this text"},
	{"pngw1:user:e=a;c=0000", "character 12: expected \"u=\""},
	{"pngw1:user:u=a b;c=0000", "character 15: this character is written as %20"},
	{"pngw1:user:u=a%4;c=0000", "character 15: after % there are two of 0-9 A-F"},
	{"pngw1:user:u=a%c3%b6;c=0000", "character 15: after % there are two of 0-9 A-F"},
	{"pngw1:user:u=%", "character 14: after % there are two of 0-9 A-F"},
	{"pngw1:user:u=%41;c=0000", "character 14: %41 is written as A"},
	{"pngw1:user:u=a%3Ab;c=0000", "character 14: this is no User ID"},
	{"pngw1:user:u=a%00b;c=0000", "character 14: this is no User ID"},
	{"pngw1:user:u=%FF;c=0000", "character 14: this is no User ID"},
	{"pngw1:user:u=;c=0000", "character 14: this is no User ID"},
	{"pngw1:user:u=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;c=0000",
	 "character 78: a User ID has at most 64 bytes"},
};

START_TEST(test_bad)
{
	struct label untouched = pne("before", ""), l = untouched;
	char why[200] = "";

	ck_assert_int_eq(label_read(bad[_i].text, &l, why, sizeof(why)), -EINVAL);
	ck_assert_msg(strncmp(why, bad[_i].why, strlen(bad[_i].why)) == 0, "%s: \"%s\"",
		      bad[_i].text, why);
	ck_assert(memcmp(&l, &untouched, sizeof(l)) == 0);
}
END_TEST

/* What a scanner loses, doubles or mistakes is never another label. */
START_TEST(test_one_character)
{
	char text[LABEL_TEXT_SIZE], other[LABEL_TEXT_SIZE + 1], why[200];
	struct label l = pne("headset-12", "00:11:22:33:44:55"), got;
	size_t size;

	ck_assert_int_eq(label_write(&l, text), 0);
	size = strlen(text);
	for (size_t i = 0; i < size; i++) {
		(void)snprintf(other, sizeof(other), "%.*s%s", (int)i, text, text + i + 1);
		ck_assert_int_eq(label_read(other, &got, why, sizeof(why)), -EINVAL);
		(void)snprintf(other, sizeof(other), "%.*s%s", (int)i + 1, text, text + i);
		ck_assert_int_eq(label_read(other, &got, why, sizeof(why)), -EINVAL);
		(void)snprintf(other, sizeof(other), "%s", text);
		other[i] ^= 1;
		ck_assert_int_eq(label_read(other, &got, why, sizeof(why)), -EINVAL);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("label");
	TCase *c = tcase_create("label");
	SRunner *runner;
	int failed;

	tcase_add_test(c, test_round_trip);
	tcase_add_test(c, test_known);
	tcase_add_test(c, test_not_to_be_written);
	tcase_add_loop_test(c, test_bad, 0, (int)(sizeof(bad) / sizeof(bad[0])));
	tcase_add_test(c, test_one_character);
	suite_add_tcase(s, c);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
