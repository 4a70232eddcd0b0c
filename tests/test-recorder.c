/* The flight recorder itself: what enters it, what it keeps, what its files look like. */

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/recorder.h"
#include "gateway/trace.h"

#define HEAD                                                      \
	"<Envelope><Version>1</Version><Profile>P1</Profile>"     \
	"<MessageID>000102030405060708090a0b0c0d0e0f</MessageID>" \
	"<Source>headset-1</Source><Target>srv</Target></Envelope>"
#define SECRETS "<RandPNE>" RAND "</RandPNE><AuthData>" AUTH "</AuthData>"
#define RAND    "aa01aa02aa03aa04aa05aa06aa07aa08aa09aa0aaa0baa0caa0daa0eaa0faa10"
#define AUTH    "bb01bb02bb03bb04bb05bb06bb07bb08bb09bb0abb0bbb0cbb0dbb0ebb0fbb10"
#define AUTH_UC "BB01BB02BB03BB04BB05BB06BB07BB08BB09BB0ABB0BBB0CBB0DBB0EBB0FBB10"
#define REQUEST(attributes, security)                                          \
	"<EUKeyAssignmentRequest" attributes ">" HEAD                          \
	"<UserID>alice</UserID><EntityID>headset-1</EntityID><Mode>PNE</Mode>" \
	"<SecurityMaterial>" security "</SecurityMaterial></EUKeyAssignmentRequest>"
#define XMLNS " xmlns=\"" MESSAGE_NAMESPACE "\""

struct seen {
	size_t count;
	uint64_t first, last;
	char text[65536];
	size_t size;
};

static bool see(void *arg, uint64_t number, struct bytes note)
{
	struct seen *s = arg;

	if (s->count++ == 0)
		s->first = number;
	s->last = number;
	ck_assert_uint_le(note.size, sizeof(s->text));
	memcpy(s->text, note.data, note.size);
	s->size = note.size;
	return true;
}

static bool holds(struct bytes b, const void *what, size_t size)
{
	return memmem(b.data, b.size, what, size) != NULL;
}

static struct recorder *new_recorder(size_t size)
{
	struct recorder *r;

	ck_assert_int_eq(gateway_recorder_new(size, &r), 0);
	gateway_recorder_at(r, 1234567, 1700000000);
	return r;
}

static char *bundle_of(struct recorder *r, size_t *size)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, size);

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(gateway_recorder_bundle(r, NULL, 0, f), 0);
	ck_assert_int_eq(fclose(f), 0);
	return text;
}

static struct note_writer writer_on(uint8_t *room, size_t size)
{
	struct note_writer w = {.data = room, .room = size};

	memset(w.key, 7, sizeof(w.key));
	return w;
}

static uint64_t as_it_is(void *arg, struct note_token t)
{
	(void)arg;
	return t.number;
}

static char *text_of(struct bytes note)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	ck_assert_ptr_nonnull(f);
	ck_assert(note_write_text(f, note, as_it_is, NULL));
	ck_assert_int_eq(fclose(f), 0);
	return text;
}

START_TEST(tokens)
{
	uint8_t room[3][256];
	struct note_writer a = writer_on(room[0], sizeof(room[0]));
	struct note_writer b = writer_on(room[1], sizeof(room[1]));
	struct note_writer other = writer_on(room[2], sizeof(room[2]));
	struct bytes secret = bytes_text("what nobody may see");

	other.key[0] ^= 1;
	note_secret(&a, NOTE_key, secret);
	note_secret(&b, NOTE_key, secret);
	note_secret(&other, NOTE_key, secret);
	ck_assert(bytes_equal(bytes_of(a.data, a.size), bytes_of(b.data, b.size)));
	ck_assert(!bytes_equal(bytes_of(a.data, a.size), bytes_of(other.data, other.size)));
	ck_assert(!holds(bytes_of(a.data, a.size), "what nobody", 8));
	ck_assert_uint_ne(note_token_of(&a, secret).number,
			  note_token_of(&a, bytes_text("what nobody may sea")).number);
}
END_TEST

/* Every way to write one that the decoder takes: nothing that is secret gets through. */
static const char *const forms[] = {
	REQUEST(XMLNS, SECRETS),
	REQUEST(XMLNS, "<RandPNE>" RAND "</RandPNE><AuthData>" AUTH_UC "</AuthData>"),
	REQUEST(XMLNS, "\n <RandPNE>" RAND "</RandPNE>\n <AuthData>" AUTH "</AuthData>\n"),
	"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" REQUEST(XMLNS, SECRETS) "\n",
	REQUEST(XMLNS, "<RandPNE>" RAND "</RandPNE><AuthData>&#x62;&#x62;01bb02bb03bb04bb05bb06bb07"
		       "bb08bb09bb0abb0bbb0cbb0dbb0ebb0fbb10</AuthData>"),
	"<c:EUKeyAssignmentRequest xmlns:c=\"" MESSAGE_NAMESPACE "\" xmlns=\"" MESSAGE_NAMESPACE
	"\">" HEAD "<UserID>alice</UserID><EntityID>headset-1</EntityID><Mode>PNE</Mode>"
	"<c:SecurityMaterial>" SECRETS "</c:SecurityMaterial></c:EUKeyAssignmentRequest>",
};

START_TEST(messages)
{
	static uint8_t room[8192], packed[8192];
	struct note_writer w = writer_on(room, sizeof(room));
	struct bytes xml = bytes_text(forms[_i]);
	struct malformation why;
	struct message *m, *again;
	struct note_reader n;
	struct note_field f;
	char *text, *back;
	size_t size;

	ck_assert_int_eq(message_decode(xml, &m, &why), 0);
	note_message(&w, NOTE_message, xml, m);
	ck_assert(!w.overflow);
	text = text_of(bytes_of(w.data, w.size));
	ck_assert_msg(!strcasestr(text, "aa01aa02") && !strcasestr(text, "bb01bb02") &&
			      !strstr(text, "&#x62"),
		      "%s", text);
	ck_assert_ptr_nonnull(strstr(text, "<UserID>alice</UserID>"));
	ck_assert_ptr_nonnull(strstr(text, "<MessageID>000102030405060708090a0b0c0d0e0f<"));
	ck_assert_ptr_nonnull(strstr(text, "<AuthData>key#"));
	ck_assert_uint_lt(w.size, xml.size / 2);

	/* From its text back to what was noted, and to a message. */
	w = writer_on(packed, sizeof(packed));
	ck_assert_ptr_null(note_parse_text(bytes_text(text), &w));
	n = note_read(bytes_of(w.data, w.size));
	ck_assert(note_take(&n, NOTE_message, &f));
	ck_assert_str_eq(note_xml_root(f.bytes), "EUKeyAssignmentRequest");
	ck_assert_int_eq(note_xml_message(f.bytes, &back, &size), 0);
	ck_assert_int_eq(message_decode(bytes_of(back, size), &again, &why), 0);
	ck_assert(bytes_equal(again->envelope.message_id, m->envelope.message_id));
	ck_assert(!bytes_equal(again->eukey_assignment_request.security_material.auth_data,
			       m->eukey_assignment_request.security_material.auth_data));
	ck_assert_uint_eq(again->eukey_assignment_request.security_material.auth_data.size,
			  m->eukey_assignment_request.security_material.auth_data.size);
	message_free(m);
	message_free(again);
	free(text);
	free(back);
}
END_TEST

/* What cannot be told apart is left out, and the entry says so. */
START_TEST(a_message_of_unknown_form)
{
	uint8_t room[512];
	struct note_writer w = writer_on(room, sizeof(room));
	char *text;

	note_message(&w, NOTE_message, bytes_text("<Other><AuthData>" AUTH "</AuthData></Other>"),
		     NULL);
	text = text_of(bytes_of(w.data, w.size));
	ck_assert_str_eq(text, "cut=1");
	free(text);
}
END_TEST

START_TEST(every_type_as_text)
{
	uint8_t room[2][512];
	struct note_writer w = writer_on(room[0], sizeof(room[0]));
	struct note_writer back = writer_on(room[1], sizeof(room[1]));
	char *text;

	note_always(&w, NOTE_entry, ENTRY_VERDICT);
	note_number(&w, NOTE_run, UINT64_MAX);
	note_number(&w, NOTE_run, 0);
	note_always(&w, NOTE_verdict, VERDICT_PNE_SILENT);
	note_string(&w, NOTE_detail, "a \"quoted\" \\ text\nof two lines > <key#1:2>");
	note_hex(&w, NOTE_receipt, bytes_of("\0\xff", 2));
	note_put_token(&w, NOTE_key, (struct note_token){12, 34});
	text = text_of(bytes_of(w.data, w.size));
	ck_assert_str_eq(text, "entry=verdict run=18446744073709551615 verdict=PNE_SILENT "
			       "detail=\"a \\\"quoted\\\" \\\\ text\\x0aof two lines > <key#1:2>\" "
			       "receipt=00ff key=key#12:34");
	ck_assert_ptr_null(note_parse_text(bytes_text(text), &back));
	ck_assert(bytes_equal(bytes_of(w.data, w.size), bytes_of(back.data, back.size)));
	free(text);
}
END_TEST

static const char *const bad_lines[] = {
	"entry",
	"entry=",
	"entry=nothing",
	"nothing=1",
	"run=x",
	"run=18446744073709551616",
	"detail=\"open",
	"detail=\"a\\q\"",
	"detail=\"a\\x1\"",
	"receipt=0",
	"receipt=0g",
	"key=key#0:1",
	"key=key#1",
	"key=1:2",
	"key=key#1:99999999",
	"message=<X>1</X>",
	"message=<Envelope>",
	"message=</Envelope>",
	"run=1  run=2",
	"run=1\trun=2",
	"message=<AuthData>00</AuthData>",
};

START_TEST(lines_that_are_none)
{
	uint8_t room[512];
	struct note_writer w = writer_on(room, sizeof(room));

	ck_assert_msg(note_parse_text(bytes_text(bad_lines[_i]), &w), "%s", bad_lines[_i]);
}
END_TEST

START_TEST(the_ring_goes_round)
{
	struct recorder *r = new_recorder(RECORDER_SIZE_MIN);
	struct seen *s = calloc(1, sizeof(*s));
	struct recorder_info info;
	char text[200];

	ck_assert_ptr_nonnull(s);
	for (unsigned i = 1; i <= 5000; i++) {
		(void)snprintf(
			text, sizeof(text), "line %u %.*s", i, (int)(i % 97),
			"....................................................................."
			"............................");
		gateway_recorder_line(r, text);
	}
	gateway_recorder_info(r, &info);
	gateway_recorder_each(r, 0, see, s);
	ck_assert_uint_eq(s->count, info.next - info.first);
	ck_assert_uint_eq(s->first, info.first);
	ck_assert_uint_eq(s->last, 5000);
	ck_assert_uint_eq(info.lost, info.first - 1);
	ck_assert_uint_gt(info.lost, 1000);
	ck_assert_uint_le(info.used, info.size);
	ck_assert_uint_gt(info.used, info.size - 1000);
	ck_assert_str_eq(gateway_trace_text(bytes_of(s->text, s->size), text, sizeof(text)),
			 "line 5000 .....................................................");
	free(s);
	gateway_recorder_free(r);
}
END_TEST

/* One that is larger than an entry may be stays in its place, and says that it was cut. */
START_TEST(an_entry_too_large)
{
	const struct name name = {"alice"};
	struct procedure *p = gateway_procedure_new(&gateway_figure7_assignment, &name, &name);
	const struct procedure_limits limits = {.request_ms = 1};
	const struct stored_key none = {.index = 0};
	struct pool pool = {.count = 0};
	const struct surroundings s = {.limits = &limits,
				       .self = &name,
				       .server = &name,
				       .path = "",
				       .own_key = &none,
				       .owner = &name,
				       .pne_owner = &name,
				       .pool = &pool,
				       .next = &none,
				       .repeat = &none,
				       .newest = &none};
	const struct event e = {.kind = EVENT_CANCEL, .s = &s};
	struct recorder *r = new_recorder(RECORDER_SIZE_MIN);
	struct seen *seen = calloc(1, sizeof(*seen));
	struct actions a;
	char text[100];

	ck_assert_ptr_nonnull(p);
	ck_assert_ptr_nonnull(seen);
	for (uint32_t i = 1; i < 20000; i += 2) {
		const struct pool_key k = {.index = i, .user = name};

		ck_assert_int_eq(pool_add(&pool, &k), 0);
	}
	p->id = 9;
	gateway_actions_begin(&a);
	gateway_recorder_event(r, p, &e, NULL);
	gateway_procedure_handle(p, &e, &a);
	gateway_recorder_handled(r, p, &a);
	gateway_recorder_line(r, "the next one");
	gateway_actions_end(&a);
	gateway_recorder_each(r, 2, see, seen);
	ck_assert_uint_eq(seen->count, 1);
	gateway_recorder_each(r, 1, see, seen);
	ck_assert_uint_eq(seen->count, 3);
	gateway_trace_last(r, 0, NULL, NULL);
	seen->count = 0;
	gateway_recorder_each(r, 0, see, seen);
	ck_assert_uint_eq(seen->count, 2);
	ck_assert_str_eq(gateway_trace_text(bytes_of(seen->text, seen->size), text, sizeof(text)),
			 "the next one");
	pool_clear(&pool);
	gateway_procedure_free(p);
	free(seen);
	gateway_recorder_free(r);
}
END_TEST

static void take_line(void *arg, uint64_t number, uint64_t at, const char *text)
{
	char *all = arg;
	size_t size = strlen(all);

	(void)snprintf(all + size, 1000 - size, "%lu %lu %s|", (unsigned long)number,
		       (unsigned long)at, text);
}

START_TEST(lines_for_a_person)
{
	const struct name user = {"alice"}, entity = {"headset-1"};
	const struct facts f = {.matter = MATTER_START, .password = true, .busy = true, .most = 9};
	struct verdict v = {.figure = FIGURE_7, .user = user, .entity = entity};
	struct recorder *r = new_recorder(RECORDER_SIZE_MIN);
	char all[1000] = "";

	gateway_recorder_command(r, "start", 5, FIGURE_7, &user, &entity);
	ck_assert(gateway_judge(&f, &v));
	gateway_recorder_judgement(r, 5, &f, &v);
	gateway_recorder_verdict(r, 5, &v);
	gateway_recorder_wan(r, false, false, "refused");
	gateway_recorder_link(r, &entity, true, PAN_SECURITY_ENCRYPTED, "over\nthere");
	gateway_trace_last(r, 4, take_line, all);
	ck_assert_str_eq(all, "2 1700000000 judged: start -> verdict BUSY_WITH_PNE, Figure 7 step "
			      "0, user alice, headset-1|"
			      "3 1700000000 run 5: verdict BUSY_WITH_PNE, Figure 7 step 0, user "
			      "alice, headset-1|"
			      "4 1700000000 WAN is down: refused|"
			      "5 1700000000 link of headset-1 is up, security encrypted, "
			      "over?there|");
	gateway_recorder_free(r);
}
END_TEST

START_TEST(bundles)
{
	struct recorder *r = new_recorder(RECORDER_SIZE_MIN);
	struct seen *s = calloc(1, sizeof(*s));
	char *text, why[256], kept;
	size_t size;

	ck_assert_ptr_nonnull(s);
	gateway_recorder_line(r, "[recorder]");
	gateway_recorder_line(r, "end sha256=");
	text = bundle_of(r, &size);
	ck_assert_int_eq(gateway_bundle_check(bytes_of(text, size), why, sizeof(why)), 0);
	ck_assert_int_eq(gateway_bundle_each(bytes_of(text, size), see, s, why, sizeof(why)), 0);
	ck_assert_uint_eq(s->count, 2);
	/* Each byte counts. */
	for (size_t i = 0; i < size; i++) {
		kept = text[i];
		text[i] = (char)(text[i] ^ 1);
		ck_assert_int_ne(gateway_bundle_check(bytes_of(text, size), why, sizeof(why)), 0);
		text[i] = kept;
		ck_assert_int_ne(gateway_bundle_check(bytes_of(text, i), why, sizeof(why)), 0);
	}
	free(text);
	free(s);
	gateway_recorder_free(r);
}
END_TEST

START_TEST(sizes)
{
	struct recorder *r;

	ck_assert_int_eq(gateway_recorder_new(RECORDER_SIZE_MIN - 1, &r), -EINVAL);
	gateway_recorder_free(NULL);
	gateway_recorder_line(NULL, "nowhere");
	gateway_recorder_handled(NULL, NULL, NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("recorder");
	TCase *t = tcase_create("recorder");
	SRunner *r;
	int failed;

	tcase_add_test(t, tokens);
	tcase_add_loop_test(t, messages, 0, sizeof(forms) / sizeof(forms[0]));
	tcase_add_test(t, a_message_of_unknown_form);
	tcase_add_test(t, every_type_as_text);
	tcase_add_loop_test(t, lines_that_are_none, 0, sizeof(bad_lines) / sizeof(bad_lines[0]));
	tcase_add_test(t, the_ring_goes_round);
	tcase_add_test(t, an_entry_too_large);
	tcase_add_test(t, lines_for_a_person);
	tcase_add_test(t, bundles);
	tcase_add_test(t, sizes);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
