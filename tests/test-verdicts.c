/* doc/verdicts.md has each verdict of protocol/verdicts.def, and says of it what the program says.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/verdict.h"

static const struct row {
	enum verdict_id id;
	unsigned number;
} rows[] = {
#define VERDICT(id, number, leg, retry, cause, next) {VERDICT_##id, number},
#include "protocol/verdicts.def"
#undef VERDICT
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static char document[200000];

static void read_document(void)
{
	const char *source = getenv("PNGW_SRCDIR");
	char path[1024];
	FILE *f;
	size_t size;

	(void)snprintf(path, sizeof(path), "%s/doc/verdicts.md", source ? source : ".");
	f = fopen(path, "r");
	ck_assert_msg(f != NULL, "no %s", path);
	size = fread(document, 1, sizeof(document) - 1, f);
	(void)fclose(f);
	ck_assert_uint_lt(size, sizeof(document) - 1);
	document[size] = '\0';
}

/* The line of the section that begins with start, without it; the section ends at the next heading.
 */
static void line_of(const char *section, const char *start, char *out, size_t size)
{
	const char *end = strstr(section + 1, "\n#");
	const char *at = strstr(section, start);

	ck_assert_msg(at && (!end || at < end), "%.40s: no line \"%s\"", section + 1, start + 1);
	at += strlen(start);
	ck_assert_uint_lt(strcspn(at, "\n"), size);
	(void)snprintf(out, size, "%.*s", (int)strcspn(at, "\n"), at);
}

static const char *section_of(const struct row *r)
{
	char heading[80];
	const char *at;

	(void)snprintf(heading, sizeof(heading), "\n### %u %s\n", r->number, verdict_name(r->id));
	at = strstr(document, heading);
	ck_assert_msg(at != NULL, "no section%s", heading);
	return at;
}

START_TEST(each_is_documented_as_it_is)
{
	const struct row *r = &rows[_i];
	char line[1024], wanted[1024];
	const char *section;

	read_document();
	section = section_of(r);
	line_of(section, "\n* Leg: ", line, sizeof(line));
	(void)snprintf(wanted, sizeof(wanted), "%s. Retry: %s.", leg_name(verdict_leg(r->id)),
		       retry_name(verdict_retry(r->id)));
	ck_assert_str_eq(line, wanted);
	line_of(section, "\n* Means: ", line, sizeof(line));
	(void)snprintf(wanted, sizeof(wanted), "%s.", verdict_cause(r->id));
	ck_assert_str_eq(line, wanted);
	line_of(section, "\n* What to do: ", line, sizeof(line));
	(void)snprintf(wanted, sizeof(wanted), "%s.", verdict_next(r->id));
	ck_assert_str_eq(line, wanted);
	line_of(section, "\n* Typical causes: ", line, sizeof(line));
	ck_assert_uint_ge(strlen(line), 20);
}
END_TEST

/* The examples are what verdict_describe() makes, but for the particulars. */
START_TEST(each_example_could_have_been_said)
{
	const struct row *r = &rows[_i];
	struct verdict v = {.id = r->id};
	char example[1024], text[VERDICT_TEXT_SIZE];
	const char *tail, *rest;

	if (r->id == VERDICT_DONE)
		return;
	read_document();
	line_of(section_of(r), "\n* Example: `", example, sizeof(example));
	(void)verdict_describe(&v, text, sizeof(text));
	ck_assert_uint_lt(strlen(text), sizeof(text) - 100); /* room for the particulars */
	/* Up to the end of the cause, and from there on. */
	tail = strstr(text, ". Next: ");
	ck_assert_ptr_nonnull(tail);
	rest = strstr(example, ". Next: ");
	ck_assert_msg(rest != NULL, "%s", example);
	ck_assert_int_eq(strncmp(rest, tail, strlen(tail)), 0);
	ck_assert_str_eq(rest + strlen(tail), "`");
	text[tail - text] = '\0';
	ck_assert_msg(strstr(example, text) != NULL, "%s", example);
	/* What is done to the vault is about no device. */
	ck_assert_msg(strncmp(example, "Figure ", 7) == 0 ||
			      strncmp(example, "headset-1, ", 11) == 0 ||
			      strncmp(example, "leg PN GW: that ", 16) == 0 ||
			      strncmp(example, "leg PN GW: the Secure", 21) == 0 ||
			      strncmp(example, "leg PN GW: this PN GW", 21) == 0,
		      "%s", example);
	/* Who is sent to the detail finds one. */
	if (strstr(verdict_next(r->id), "the detail"))
		ck_assert_msg(strstr(example, ")") != NULL, "%s", example);
}
END_TEST

/* A search is about no device and no user. */
START_TEST(done_names_what_there_is)
{
	struct verdict v = {.id = VERDICT_DONE, .detail = "1 found"};
	char text[VERDICT_TEXT_SIZE];

	ck_assert_str_eq(verdict_describe(&v, text, sizeof(text)), "done; 1 found");
	ck_assert_int_eq(name_set(&v.user, bytes_text("alice")), 0);
	ck_assert_str_eq(verdict_describe(&v, text, sizeof(text)), "alice: done; 1 found");
	v.figure = FIGURE_7;
	v.step = 7;
	v.key_index = 2;
	ck_assert_int_eq(name_set(&v.entity, bytes_text("headset-1")), 0);
	ck_assert_str_eq(verdict_describe(&v, text, sizeof(text)),
			 "Figure 7 step 7, headset-1 of alice: done, key index 2; 1 found");
}
END_TEST

START_TEST(no_other_is_documented_and_no_number_is_used_twice)
{
	size_t headings = 0;

	read_document();
	for (const char *at = document; (at = strstr(at, "\n### ")) != NULL; at++)
		headings++;
	ck_assert_uint_eq(headings, ROWS);
	for (size_t i = 1; i < ROWS; i++)
		ck_assert_msg(rows[i - 1].number < rows[i].number, "%s and %s",
			      verdict_name(rows[i - 1].id), verdict_name(rows[i].id));
}
END_TEST

/* A cause is a reason, and the next action something that a person can do. */
START_TEST(none_is_vague)
{
	static const char *const vague[] = {"unknown error", "timeout", "timed out", "failure"};
	const char *cause = verdict_cause(rows[_i].id), *next = verdict_next(rows[_i].id);

	for (size_t i = 0; i < sizeof(vague) / sizeof(vague[0]); i++)
		ck_assert_msg(strstr(cause, vague[i]) == NULL, "%s", cause);
	ck_assert_msg(strncmp(next, "see ", 4) != 0 && strlen(next) >= 12, "%s", next);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("verdicts");
	TCase *t = tcase_create("verdicts");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(t, each_is_documented_as_it_is, 0, (int)ROWS);
	tcase_add_loop_test(t, each_example_could_have_been_said, 0, (int)ROWS);
	tcase_add_test(t, done_names_what_there_is);
	tcase_add_test(t, no_other_is_documented_and_no_number_is_used_twice);
	tcase_add_loop_test(t, none_is_vague, 0, (int)ROWS);
	suite_add_tcase(suite, t);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
