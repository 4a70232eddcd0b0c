#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/message-table.h"
#include "protocol/message.h"

/* What the values of a filled message point to. */
static uint8_t hex_source[2048];
static char text_source[2048];
static const char max_user[] =
	"\xc3\xa4\xc3\xb6\xc3\xbc & <Jos\xc3\xa9> 'x' 0123456789012345678901234"
	"567890123456789";

static void fill_group(const struct group *g, uint8_t *base, bool most, unsigned alternative);

static void fill_sub(const struct field *f, uint8_t *base, bool most)
{
	static const bool yes = true;

	memcpy(base + f->present_offset, &yes, sizeof(yes));
	fill_group(f->group, base + f->offset, most, 0);
}

static void fill_value(const struct field *f, uint8_t *base, bool most)
{
	uint32_t size = most ? f->max : f->min;
	struct bytes v = bytes_of(text_source, size);
	size_t count = size;

	switch (f->type) {
	case FIELD_USER:
		if (most)
			v = bytes_text(max_user);
		memcpy(base + f->offset, &v, sizeof(v));
		return;
	case FIELD_ENTITY:
	case FIELD_TEXT:
		if (field_constant(f))
			v = bytes_text(field_constant(f));
		memcpy(base + f->offset, &v, sizeof(v));
		return;
	case FIELD_HEX:
		v.data = hex_source;
		memcpy(base + f->offset, &v, sizeof(v));
		return;
	case FIELD_UINT:
		memcpy(base + f->offset, &size, sizeof(size));
		return;
	case FIELD_ENUM:
		for (size = 0; most && f->names->rows[size + 1].name; size++)
			;
		memcpy(base + f->offset, &f->names->rows[size].value, sizeof(unsigned));
		return;
	case FIELD_LIST:
		memcpy(base + f->present_offset, &count, sizeof(count));
		for (size_t i = 0; i < count; i++)
			fill_group(f->group, base + f->offset + i * f->group->size, most, 0);
		return;
	case FIELD_SUB:
		fill_sub(f, base, most);
		return;
	case FIELD_ENVELOPE:
		return;
	}
}

/* alternative: which of a run of alternatives is filled, 0 none. */
static void fill_group(const struct group *g, uint8_t *base, bool most, unsigned alternative)
{
	unsigned n = 0;

	for (size_t i = 0; i < g->field_count; i++) {
		const struct field *f = &g->fields[i];
		bool wanted = f->occurs == OCCURS_ONE || (f->occurs == OCCURS_OPT && most);

		if (f->occurs == OCCURS_ALT)
			wanted = ++n == alternative;
		if (wanted)
			fill_value(f, base, most);
	}
}

static void fill(struct message *m, enum message_kind kind, bool most, unsigned alternative)
{
	const struct message_row *row = message_row(kind);

	for (size_t i = 0; i < sizeof(hex_source); i++)
		hex_source[i] = (uint8_t)(i * 7 + 3);
	for (size_t i = 0; i < sizeof(text_source); i++)
		text_source[i] = "abcXYZ019._:-"[i % 13];
	memset(m, 0, sizeof(*m));
	m->kind = kind;
	fill_group(message_group(0), (uint8_t *)&m->envelope, most, 0);
	fill_group(&row->group, (uint8_t *)m + row->offset, most, alternative);
}

static unsigned alternatives(enum message_kind kind)
{
	const struct group *g = &message_row(kind)->group;
	unsigned n = 0;

	for (size_t i = 0; i < g->field_count; i++)
		n += g->fields[i].occurs == OCCURS_ALT;
	return n;
}

/* Calls visit with every sample: each kind, smallest and largest, with each alternative. */
static void each_sample(void (*visit)(const char *xml, size_t size, enum message_kind kind,
				      void *user),
			void *user)
{
	for (unsigned k = 0; k < MESSAGE_KINDS; k++) {
		for (unsigned a = 0; a <= alternatives((enum message_kind)k); a++) {
			for (int most = 0; most < 2; most++) {
				struct message m;
				char *xml;
				size_t size;

				fill(&m, (enum message_kind)k, most != 0, a);
				ck_assert_int_eq(message_encode(&m, &xml, &size), 0);
				visit(xml, size, (enum message_kind)k, user);
				free(xml);
			}
		}
	}
}

static void round_trip(const char *xml, size_t size, enum message_kind kind, void *user)
{
	struct malformation why = {0};
	struct message *m = NULL;
	char line[128];
	char *again;
	size_t again_size;
	int r = message_decode(bytes_of(xml, size), &m, &why);

	(void)user;
	ck_assert_msg(r == 0, "%s: %s", xml, malformation_describe(&why, line, sizeof(line)));
	ck_assert_uint_eq(m->kind, kind);
	ck_assert_uint_eq(strlen(xml), size);
	ck_assert_int_eq(message_encode(m, &again, &again_size), 0);
	ck_assert_str_eq(again, xml);
	free(again);
	message_free(m);
}

START_TEST(every_message_survives_a_round_trip)
{
	each_sample(round_trip, NULL);
}
END_TEST

static void decode_prefixes(const char *xml, size_t size, enum message_kind kind, void *user)
{
	const size_t dense = getenv("PNGW_VALGRIND") ? 7 : 1;
	size_t step = size > 4096 ? 37 : dense;

	(void)kind;
	(void)user;
	for (size_t i = 0; i < size; i += step) {
		/* A copy of its own, so that a byte read behind the end is seen by the tools. */
		uint8_t *prefix = malloc(i + 1);
		struct malformation why = {0};
		struct message *m = NULL;

		ck_assert_ptr_nonnull(prefix);
		memcpy(prefix, xml, i);
		ck_assert_int_eq(message_decode(bytes_of(prefix, i), &m, &why), MESSAGE_MALFORMED);
		ck_assert(why.what == MALFORMED_NOT_XML || why.what == MALFORMED_NOT_UTF8);
		ck_assert_ptr_null(m);
		free(prefix);
	}
}

START_TEST(every_prefix_is_malformed)
{
	each_sample(decode_prefixes, NULL);
}
END_TEST

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void decode_mutations(const char *xml, size_t size, enum message_kind kind, void *user)
{
	/* Under valgrind fewer have to do. */
	const int mutations = getenv("PNGW_VALGRIND") ? 60 : 300;
	uint32_t *state = user;

	(void)kind;
	for (int n = 0; n < mutations; n++) {
		char *copy = malloc(size);
		struct malformation why = {0};
		struct message *m = NULL;
		char line[128];
		int r;

		ck_assert_ptr_nonnull(copy);
		memcpy(copy, xml, size);
		for (uint32_t i = 0; i <= next_random(state) % 4; i++) {
			static const char interesting[] = "<>/&;\"'! \n\0\xff\xc3]-?0aZ:=";
			uint32_t c = next_random(state) % (sizeof(interesting) - 1);

			copy[next_random(state) % size] = interesting[c];
		}
		r = message_decode(bytes_of(copy, size), &m, &why);
		if (r == 0) {
			char *again;
			size_t again_size;

			ck_assert_int_eq(message_encode(m, &again, &again_size), 0);
			free(again);
			message_free(m);
		} else {
			ck_assert_int_eq(r, MESSAGE_MALFORMED);
			ck_assert(why.what > MALFORMED_NOT && why.what < MALFORMED_KINDS);
			ck_assert_uint_ge(why.line, 1);
			(void)malformation_describe(&why, line, sizeof(line));
		}
		free(copy);
	}
}

START_TEST(mutations_end_in_a_message_or_a_malformation)
{
	uint32_t state = 2463534242U;

	each_sample(decode_mutations, &state);
}
END_TEST

#define ID  "000102030405060708090a0b0c0d0e0f"
#define ID2 "f0e0d0c0b0a090807060504030201000"
#define H32 ID ID
#define H40 H32 "0001020304050607"
#define ENVELOPE                                                                                   \
	"<Envelope>\n<Version>1</Version>\n<Profile>P1</Profile>\n<MessageID>" ID "</MessageID>\n" \
	"<InResponseTo>" ID2 "</InResponseTo>\n"                                                   \
	"<Source>a:b</Source>\n<Target>server-1</Target>\n</Envelope>\n"
#define OPEN(name) "<" name " xmlns=\"" MESSAGE_NAMESPACE "\">"
#define REPORT_RESPONSE(inside) \
	OPEN("EUKeyDeliveryReportResponse") "\n" inside "</EUKeyDeliveryReportResponse>"
/* The envelope stands in lines 2 to 9, what comes after it begins in line 10. */
#define REQUEST(inside) \
	OPEN("EUKeyAssignmentRequest") "\n" ENVELOPE inside "</EUKeyAssignmentRequest>"
#define IDS         "<UserID>alice</UserID><EntityID>e1</EntityID>\n"
#define DIGEST_HEAD "<DigestCredentials><Realm>r</Realm>"
#define DIGEST                                                                              \
	DIGEST_HEAD "<Nonce>0123456789abcdef</Nonce><URI>/cpns</URI>"                       \
		    "<NonceCount>1</NonceCount><ClientNonce>0123456789abcdef</ClientNonce>" \
		    "<Response>" H32 "</Response></DigestCredentials>"
#define MATERIAL                                                     \
	"<SecurityMaterial><RandPNE>" H32 "</RandPNE><AuthData>" H32 \
	"</AuthData></SecurityMaterial>"
#define DELIVERY                                                                        \
	"<Delivery><UserID>alice</UserID><EntityID>e1</EntityID><KeyIndex>7</KeyIndex>" \
	"<State>Issued</State><MessageID>" ID "</MessageID></Delivery>"
#define EIGHT(x)                x x x x x x x x
#define STATUS                  "<Status>OK</Status>"
#define RESPONSE_WITH(envelope) REPORT_RESPONSE(envelope STATUS)

static const struct {
	const char *name;
	const char *xml;
	enum malformed what;
	unsigned line;
	const char *element;
} malformed_messages[] = {
	{"empty", "", MALFORMED_NOT_XML, 1, ""},
	{"early end", OPEN("EUKeyDeliveryReportResponse") "\n<Envelope>", MALFORMED_NOT_XML, 2,
	 "Envelope"},
	{"wrong end tag", REPORT_RESPONSE("<Envelope>\n</Envelop>"), MALFORMED_NOT_XML, 3,
	 "Envelope"},
	{"unknown entity", REQUEST("<UserID>&bomb;</UserID>"), MALFORMED_NOT_XML, 10, "UserID"},
	{"control character", REQUEST("<UserID>a&#1;</UserID>"), MALFORMED_NOT_XML, 10, "UserID"},
	{"XML 1.1", "<?xml version=\"1.1\"?>" RESPONSE_WITH(ENVELOPE), MALFORMED_NOT_XML, 1, ""},
	{"latin 1 byte", REQUEST("<UserID>\xe4</UserID>"), MALFORMED_NOT_UTF8, 10, ""},
	{"overlong", REQUEST("\n<UserID>\xc0\xaf</UserID>"), MALFORMED_NOT_UTF8, 11, ""},
	{"surrogate", REQUEST("<UserID>\xed\xa0\x80</UserID>"), MALFORMED_NOT_UTF8, 10, ""},
	{"other encoding",
	 "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n" RESPONSE_WITH(ENVELOPE),
	 MALFORMED_NOT_UTF8, 1, ""},
	{"unknown encoding",
	 "<?xml version=\"1.0\" encoding=\"klingon\"?>\n" RESPONSE_WITH(ENVELOPE),
	 MALFORMED_NOT_UTF8, 1, ""},
	{"UTF-16 declared", "<?xml version=\"1.0\" encoding=\"UTF-16\"?>\n" RESPONSE_WITH(ENVELOPE),
	 MALFORMED_NOT_UTF8, 1, ""},
	{"doctype", "\n<!DOCTYPE a [<!ENTITY b \"c\">]>\n" RESPONSE_WITH(ENVELOPE), MALFORMED_DTD,
	 2, ""},
	{"external doctype", "<!DOCTYPE a SYSTEM \"file:///etc/passwd\">\n" RESPONSE_WITH(ENVELOPE),
	 MALFORMED_DTD, 1, ""},
	{"instruction", "<?php ?>" RESPONSE_WITH(ENVELOPE), MALFORMED_FORBIDDEN, 1, ""},
	{"instruction inside", REQUEST("<UserID><?php ?></UserID>"), MALFORMED_FORBIDDEN, 10,
	 "UserID"},
	{"comment", REQUEST("<!-- a -->"), MALFORMED_FORBIDDEN, 10, "EUKeyAssignmentRequest"},
	{"CDATA", REQUEST("<UserID><![CDATA[alice]]></UserID>"), MALFORMED_FORBIDDEN, 10, "UserID"},
	{"no namespace", "<EUKeyAssignmentRequest/>", MALFORMED_NAMESPACE, 1,
	 "EUKeyAssignmentRequest"},
	{"other namespace", REQUEST("<UserID xmlns=\"urn:x\">alice</UserID>"), MALFORMED_NAMESPACE,
	 10, "UserID"},
	{"longer namespace", "<EUKeyAssignmentRequest xmlns=\"" MESSAGE_NAMESPACE ":\"/>",
	 MALFORMED_NAMESPACE, 1, "EUKeyAssignmentRequest"},
	{"attribute", REQUEST("<UserID a=\"b\">alice</UserID>"), MALFORMED_ATTRIBUTE, 10, "UserID"},
	{"xml:lang", REQUEST("<UserID xml:lang=\"de\">alice</UserID>"), MALFORMED_ATTRIBUTE, 10,
	 "UserID"},
	{"unknown message", "\n" OPEN("Hello") "</Hello>", MALFORMED_UNKNOWN_MESSAGE, 2, "Hello"},
	{"group as root", OPEN("Envelope") "</Envelope>", MALFORMED_UNKNOWN_MESSAGE, 1, "Envelope"},
	{"unknown element", REQUEST("<Password>x</Password>"), MALFORMED_UNKNOWN_ELEMENT, 10,
	 "Password"},
	{"element in a value", REQUEST("<UserID>\n<UserID>x</UserID></UserID>"),
	 MALFORMED_UNKNOWN_ELEMENT, 11, "UserID"},
	{"too deep", REQUEST(IDS "<Mode>PNE</Mode><EUKeySetRequest/>"), MALFORMED_UNKNOWN_ELEMENT,
	 11, "EUKeySetRequest"},
	{"five deep",
	 REQUEST(IDS
		 "<Mode>PNE</Mode><KeySetRequest><Kind>Random</Kind><Count>1</Count><GatewayKey>"
		 "<Kind>\n<a/></Kind></GatewayKey></KeySetRequest>"),
	 MALFORMED_TOO_DEEP, 12, "a"},
	{"order", REQUEST("<EntityID>e1</EntityID>\n<UserID>alice</UserID>"), MALFORMED_ORDER, 11,
	 "UserID"},
	{"envelope last", REPORT_RESPONSE(STATUS ENVELOPE), MALFORMED_ORDER, 2, "Envelope"},
	{"twice", REQUEST(IDS "<UserID>alice</UserID>"), MALFORMED_TWICE, 11, "UserID"},
	{"twice at once", REQUEST("<UserID>alice</UserID><UserID>alice</UserID>"), MALFORMED_TWICE,
	 10, "UserID"},
	{"two alternatives", REQUEST(IDS "<Mode>PNE</Mode>" DIGEST "\n" MATERIAL), MALFORMED_TWICE,
	 12, "SecurityMaterial"},
	{"two alternatives, reversed", REQUEST(IDS "<Mode>PNE</Mode>" MATERIAL "\n" DIGEST),
	 MALFORMED_TWICE, 12, "DigestCredentials"},
	{"33 deliveries",
	 OPEN("EUKeyDeliveryReport") ENVELOPE EIGHT(DELIVERY) EIGHT(DELIVERY) EIGHT(DELIVERY)
		 EIGHT(DELIVERY) "\n" DELIVERY "</EUKeyDeliveryReport>",
	 MALFORMED_TWICE, 10, "Delivery"},
	{"no delivery", OPEN("EUKeyDeliveryReport") ENVELOPE "</EUKeyDeliveryReport>",
	 MALFORMED_MISSING, 9, "Delivery"},
	{"no envelope", REPORT_RESPONSE(STATUS), MALFORMED_MISSING, 2, "Envelope"},
	{"no status", REPORT_RESPONSE(ENVELOPE), MALFORMED_MISSING, 10, "Status"},
	{"no target",
	 RESPONSE_WITH("<Envelope><Version>1</Version><Profile>P1</Profile><MessageID>" ID
		       "</MessageID><Source>a</Source></Envelope>"),
	 MALFORMED_MISSING, 2, "Target"},
	{"empty group", REQUEST(IDS "<Mode>PNE</Mode><SecurityMaterial/>"), MALFORMED_MISSING, 11,
	 "RandPNE"},
	{"text", REQUEST("hello"), MALFORMED_TEXT, 10, "EUKeyAssignmentRequest"},
	{"no-break space", REQUEST("\xc2\xa0"), MALFORMED_TEXT, 10, "EUKeyAssignmentRequest"},
	{"version 2",
	 RESPONSE_WITH("<Envelope><Version>2</Version><Profile>P1</Profile><MessageID>" ID
		       "</MessageID><Source>a</Source><Target>b</Target></Envelope>"),
	 MALFORMED_VALUE, 2, "Version"},
	{"profile P2",
	 RESPONSE_WITH("<Envelope><Version>1</Version><Profile>P2</Profile><MessageID>" ID
		       "</MessageID><Source>a</Source><Target>b</Target></Envelope>"),
	 MALFORMED_VALUE, 2, "Profile"},
	{"not an Entity ID", REQUEST("<UserID>alice</UserID><EntityID>e 1</EntityID>"),
	 MALFORMED_VALUE, 10, "EntityID"},
	{"not a User ID", REQUEST("<UserID>a:b</UserID>"), MALFORMED_VALUE, 10, "UserID"},
	{"User ID with space", REQUEST("<UserID> alice</UserID>"), MALFORMED_VALUE, 10, "UserID"},
	{"User ID not NFC", REQUEST("<UserID>a\xcc\x88</UserID>"), MALFORMED_VALUE, 10, "UserID"},
	{"value in two lines", REQUEST("\n<UserID>al\nice</UserID>"), MALFORMED_VALUE, 11,
	 "UserID"},
	{"not a number", REQUEST(IDS "<Mode>PNE</Mode><HeldKey><KeyIndex>1x</KeyIndex></HeldKey>"),
	 MALFORMED_VALUE, 11, "KeyIndex"},
	{"leading zero", REQUEST(IDS "<Mode>PNE</Mode><HeldKey><KeyIndex>01</KeyIndex></HeldKey>"),
	 MALFORMED_VALUE, 11, "KeyIndex"},
	{"sign", REQUEST(IDS "<Mode>PNE</Mode><HeldKey><KeyIndex>+1</KeyIndex></HeldKey>"),
	 MALFORMED_VALUE, 11, "KeyIndex"},
	{"no number", REQUEST(IDS "<Mode>PNE</Mode><HeldKey><KeyIndex/></HeldKey>"),
	 MALFORMED_VALUE, 11, "KeyIndex"},
	{"number below", REQUEST(IDS "<Mode>PNE</Mode><HeldKey><KeyIndex>0</KeyIndex></HeldKey>"),
	 MALFORMED_SIZE, 11, "KeyIndex"},
	{"number above",
	 REQUEST(IDS "<Mode>PNE</Mode><HeldKey><KeyIndex>4294967296</KeyIndex></HeldKey>"),
	 MALFORMED_SIZE, 11, "KeyIndex"},
	{"number above 64 bits",
	 REQUEST(IDS
		 "<Mode>PNE</Mode><HeldKey><KeyIndex>18446744073709551617</KeyIndex></HeldKey>"),
	 MALFORMED_SIZE, 11, "KeyIndex"},
	{"unknown name", REQUEST(IDS "<Mode>pne</Mode>"), MALFORMED_VALUE, 11, "Mode"},
	{"name with space", REQUEST(IDS "<Mode> PNE</Mode>"), MALFORMED_VALUE, 11, "Mode"},
	{"not hex", REQUEST(IDS "<Mode>PNE</Mode><SecurityMaterial><RandPNE>xy</RandPNE>"),
	 MALFORMED_VALUE, 11, "RandPNE"},
	{"odd hex", REQUEST(IDS "<Mode>PNE</Mode><SecurityMaterial><RandPNE>" H32 "0</RandPNE>"),
	 MALFORMED_VALUE, 11, "RandPNE"},
	{"short hex", REQUEST(IDS "<Mode>PNE</Mode><SecurityMaterial><RandPNE>" ID "</RandPNE>"),
	 MALFORMED_SIZE, 11, "RandPNE"},
	{"long hex", REQUEST(IDS "<Mode>PNE</Mode><SecurityMaterial><RandPNE>" H40 "</RandPNE>"),
	 MALFORMED_SIZE, 11, "RandPNE"},
	{"short text", REQUEST(IDS "<Mode>PNE</Mode>" DIGEST_HEAD "<Nonce>0123</Nonce>"),
	 MALFORMED_SIZE, 11, "Nonce"},
	{"tab in text",
	 REQUEST(IDS "<Mode>PNE</Mode>" DIGEST_HEAD "<Nonce>0123456789\tabcdef</Nonce>"),
	 MALFORMED_VALUE, 11, "Nonce"},
	{"long User ID", REQUEST("<UserID>" EIGHT("01234567") "8</UserID>"), MALFORMED_SIZE, 10,
	 "UserID"},
	{"second root", RESPONSE_WITH(ENVELOPE) "\n" RESPONSE_WITH(ENVELOPE), MALFORMED_SECOND_ROOT,
	 11, ""},
	{"trailing text", RESPONSE_WITH(ENVELOPE) "\n\nhello", MALFORMED_TRAILING, 12, ""},
	{"trailing end tag", RESPONSE_WITH(ENVELOPE) "</a>", MALFORMED_TRAILING, 10, ""},
	{"trailing doctype", RESPONSE_WITH(ENVELOPE) "<!DOCTYPE a>", MALFORMED_TRAILING, 10, ""},
	{"trailing comment", RESPONSE_WITH(ENVELOPE) "<!-- a -->", MALFORMED_FORBIDDEN, 10, ""},
};

START_TEST(each_malformation_has_its_name_line_and_element)
{
	const char *xml = malformed_messages[_i].xml;
	struct malformation why = {0};
	struct message *m = NULL;
	char line[128];
	int r = message_decode(bytes_text(xml), &m, &why);

	(void)malformation_describe(&why, line, sizeof(line));
	ck_assert_msg(r == MESSAGE_MALFORMED, "%s is taken", malformed_messages[_i].name);
	ck_assert_msg(why.what == malformed_messages[_i].what, "%s: %s",
		      malformed_messages[_i].name, line);
	ck_assert_msg(why.line == malformed_messages[_i].line, "%s: %s",
		      malformed_messages[_i].name, line);
	ck_assert_msg(strcmp(why.element, malformed_messages[_i].element) == 0, "%s: %s",
		      malformed_messages[_i].name, line);
	ck_assert_ptr_null(m);
}
END_TEST

START_TEST(every_malformation_is_reached)
{
	for (unsigned what = MALFORMED_TOO_DEEP; what < MALFORMED_KINDS; what++) {
		bool reached = false;

		for (size_t i = 0; i < sizeof(malformed_messages) / sizeof(malformed_messages[0]);
		     i++)
			reached = reached || malformed_messages[i].what == what;
		ck_assert_msg(reached, "%s", malformed_text((enum malformed)what));
	}
}
END_TEST

START_TEST(a_message_has_a_largest_size)
{
	static const char begin[] = RESPONSE_WITH(ENVELOPE);
	static char xml[MESSAGE_MAX_SIZE + 1];
	struct malformation why = {0};
	struct message *m = NULL;

	memset(xml, ' ', sizeof(xml));
	memcpy(xml, begin, sizeof(begin) - 1);
	ck_assert_int_eq(message_decode(bytes_of(xml, MESSAGE_MAX_SIZE), &m, &why), 0);
	message_free(m);
	ck_assert_int_eq(message_decode(bytes_of(xml, sizeof(xml)), &m, &why), MESSAGE_MALFORMED);
	ck_assert_uint_eq(why.what, MALFORMED_TOO_LARGE);
}
END_TEST

START_TEST(values_arrive_as_they_stand)
{
	static const char xml[] =
		"\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n" REQUEST(
			"<UserID>J&#xF6;rg &amp; &lt;Co&gt;</UserID>\r\n<EntityID>e:1</EntityID>"
			"<Mode>PNGW</Mode><SecurityMaterial><RandPNE>" H32 "</RandPNE>"
			"<AuthData>" H32 "</AuthData></SecurityMaterial>\n") "\n";
	struct malformation why = {0};
	struct message *m = NULL;
	struct m_eukey_assignment_request *r;
	struct message_id id;

	ck_assert_int_eq(message_decode(bytes_text(xml), &m, &why), 0);
	ck_assert_uint_eq(m->kind, MESSAGE_eukey_assignment_request);
	r = &m->eukey_assignment_request;
	ck_assert(bytes_equal(r->user_id, bytes_text("J\xc3\xb6rg & <Co>")));
	ck_assert(bytes_equal(r->entity_id, bytes_text("e:1")));
	ck_assert_uint_eq(r->mode, ENTITY_PNGW);
	ck_assert(!r->has_held_key && !r->has_key_set && !r->has_digest &&
		  r->has_security_material);
	ck_assert_uint_eq(r->security_material.rand_pne.size, 32);
	ck_assert_uint_eq(r->security_material.rand_pne.data[17], 1);
	ck_assert_uint_eq(m->envelope.version, MESSAGE_VERSION);
	ck_assert(bytes_equal(m->envelope.source, bytes_text("a:b")));
	id = message_id_of(m);
	ck_assert_uint_eq(id.b[15], 15);
	id = message_in_response_to(m);
	ck_assert_uint_eq(id.b[0], 0xf0);
	ck_assert_uint_eq(message_status(m), STATUS_NOT_EXPECTED);
	message_free(m);
}
END_TEST

START_TEST(a_prefix_may_name_the_namespace)
{
	static const char xml[] =
		"<c:EUKeyDeliveryReportResponse xmlns:c=\"" MESSAGE_NAMESPACE "\">"
		"<c:Envelope><c:Version>1</c:Version><c:Profile>P1</c:Profile>"
		"<c:MessageID>" ID "</c:MessageID><c:Source>a</c:Source>"
		"<c:Target>b</c:Target></c:Envelope><c:Status>NotOwner</c:Status>"
		"</c:EUKeyDeliveryReportResponse>";
	struct malformation why = {0};
	struct message *m = NULL;
	struct message_id none;

	ck_assert_int_eq(message_decode(bytes_text(xml), &m, &why), 0);
	ck_assert_uint_eq(message_status(m), STATUS_NOT_OWNER);
	none = message_in_response_to(m);
	ck_assert(message_id_is_none(&none));
	message_free(m);
}
END_TEST

START_TEST(an_envelope_is_filled)
{
	struct message_id id = {{1}};
	struct message_id answered = {{2}};
	struct name source;
	struct name target;
	struct message m = {.kind = MESSAGE_eukey_delivery_report_response};
	struct message *back = NULL;
	struct malformation why;
	struct message_id got;
	char *xml;
	size_t size;

	ck_assert_int_eq(name_set(&source, bytes_text("s")), 0);
	ck_assert_int_eq(name_set(&target, bytes_text("t")), 0);
	message_envelope(&m, &id, &answered, &source, &target);
	m.eukey_delivery_report_response.status = STATUS_BUSY;
	ck_assert_int_eq(message_encode(&m, &xml, &size), 0);
	ck_assert_int_eq(message_decode(bytes_of(xml, size), &back, &why), 0);
	free(xml);
	got = message_id_of(back);
	ck_assert(message_id_equal(&got, &id));
	got = message_in_response_to(back);
	ck_assert(message_id_equal(&got, &answered));
	ck_assert_uint_eq(message_status(back), STATUS_BUSY);
	message_free(back);
	message_envelope(&m, &id, NULL, &source, &target);
	got = message_in_response_to(&m);
	ck_assert(message_id_is_none(&got));
}
END_TEST

/* A message that breaks the table must not leave this process. */
START_TEST(the_encoder_refuses_what_breaks_the_table)
{
	struct message m;
	char *xml = NULL;
	size_t size;

	fill(&m, MESSAGE_eukey_assignment_request, false, 1);
	m.eukey_assignment_request.user_id = bytes_text("a:b");
	ck_assert_int_eq(message_encode(&m, &xml, &size), -EINVAL);

	fill(&m, MESSAGE_eukey_assignment_request, false, 1);
	m.eukey_assignment_request.entity_id = BYTES_NONE;
	ck_assert_int_eq(message_encode(&m, &xml, &size), -EINVAL);

	fill(&m, MESSAGE_eukey_assignment_request, true, 1);
	m.eukey_assignment_request.has_security_material = true;
	ck_assert_int_eq(message_encode(&m, &xml, &size), -EINVAL);

	fill(&m, MESSAGE_eukey_assignment_request, true, 2);
	m.eukey_assignment_request.security_material.rand_pne.size = 31;
	ck_assert_int_eq(message_encode(&m, &xml, &size), -EINVAL);

	fill(&m, MESSAGE_eukey_delivery_report, false, 0);
	m.eukey_delivery_report.deliveries_count = 33;
	ck_assert_int_eq(message_encode(&m, &xml, &size), -EINVAL);

	fill(&m, MESSAGE_eukey_delivery_report, false, 0);
	m.envelope.version = 2;
	ck_assert_int_eq(message_encode(&m, &xml, &size), -EINVAL);

	fill(&m, MESSAGE_eukey_delivery_report_response, false, 0);
	m.eukey_delivery_report_response.status = (enum status)77;
	ck_assert_int_eq(message_encode(&m, &xml, &size), -EINVAL);

	m.kind = MESSAGE_KINDS;
	ck_assert_int_eq(message_encode(&m, &xml, &size), -EINVAL);
	ck_assert_ptr_null(xml);
}
END_TEST

START_TEST(the_encoder_refuses_what_is_too_large)
{
	static const char ampersands[] = EIGHT("&&&&&&&&");
	struct message m;
	char *xml = NULL;
	size_t size;

	fill(&m, MESSAGE_eukey_delivery_report, true, 0);
	for (size_t i = 0; i < m.eukey_delivery_report.deliveries_count; i++)
		m.eukey_delivery_report.deliveries[i].user_id = bytes_text(ampersands);
	ck_assert_int_eq(message_encode(&m, &xml, &size), -EMSGSIZE);
	ck_assert_ptr_null(xml);
}
END_TEST

/* The decoder finds an element by its name, and keeps a bit for each. */
START_TEST(the_table_is_sound)
{
	for (unsigned n = 0; n < MESSAGE_KINDS + 64; n++) {
		const struct group *g = n < MESSAGE_KINDS
						? &message_row((enum message_kind)n)->group
						: message_group(n - MESSAGE_KINDS);

		if (!g)
			break;
		ck_assert_uint_le(g->field_count, 32);
		for (size_t i = 0; i < g->field_count; i++) {
			for (size_t j = 0; j < i; j++)
				ck_assert_str_ne(field_name(&g->fields[i]),
						 field_name(&g->fields[j]));
		}
	}
}
END_TEST

START_TEST(directions_and_needs_are_the_tables)
{
	ck_assert_str_eq(message_name(MESSAGE_eukey_assignment_trigger), "EUKeyAssignmentTrigger");
	ck_assert_uint_eq(message_directions(MESSAGE_eukey_assignment_request),
			  PNE_TO_GW | GW_TO_SERVER);
	ck_assert_uint_eq(message_needs(MESSAGE_subscription_registration_request), NEEDS_MUTUAL);
	ck_assert_uint_eq(message_needs(MESSAGE_eukey_assignment_trigger), NEEDS_SECURE_PAN);
	ck_assert_uint_eq(message_needs(MESSAGE_eukey_assignment_notification), NEEDS_NOTHING);
}
END_TEST

START_TEST(names_are_the_seeds_c266_c284)
{
	ck_assert_str_eq(message_name(MESSAGE_eukey_assignment_trigger), "EUKeyAssignmentTrigger");
	ck_assert_str_eq(message_name(MESSAGE_eukey_assignment_request), "EUKeyAssignmentRequest");
	ck_assert_str_eq(message_name(MESSAGE_eukey_assignment_response),
			 "EUKeyAssignmentResponse");
	ck_assert_str_eq(message_name(MESSAGE_eukey_assignment_notification),
			 "EUKeyAssignmentNotification");
}
END_TEST

/* The comment was left open: installation is a message of its own, not the registration's. */
START_TEST(installation_is_its_own_message_c265)
{
	ck_assert_str_eq(message_name(MESSAGE_id_password_installation_request),
			 "IDPasswordInstallationRequest");
	ck_assert_uint_eq(message_directions(MESSAGE_id_password_installation_request), GW_TO_PNE);
	ck_assert_uint_eq(message_needs(MESSAGE_id_password_installation_request),
			  NEEDS_SECURE_PAN);
	ck_assert_uint_eq(message_directions(MESSAGE_id_password_installation_response), PNE_TO_GW);
	ck_assert_uint_eq(message_directions(MESSAGE_id_pwd_registration_request), GW_TO_SERVER);
}
END_TEST

static const char *sample_directory;

static void write_sample(const char *xml, size_t size, enum message_kind kind, void *user)
{
	unsigned *count = user;
	char path[512];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s-%u.xml", sample_directory, message_name(kind),
		       (*count)++);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(xml, 1, size, f), size);
	ck_assert_int_eq(fclose(f), 0);
}

START_TEST(samples_are_written)
{
	unsigned count = 0;

	each_sample(write_sample, &count);
}
END_TEST

static Suite *message_suite(void)
{
	Suite *s = suite_create("message");
	TCase *c = tcase_create("message");

	tcase_set_timeout(c, 300);
	tcase_add_test(c, the_table_is_sound);
	tcase_add_test(c, directions_and_needs_are_the_tables);
	tcase_add_test(c, names_are_the_seeds_c266_c284);
	tcase_add_test(c, installation_is_its_own_message_c265);
	tcase_add_test(c, every_message_survives_a_round_trip);
	tcase_add_test(c, every_prefix_is_malformed);
	tcase_add_test(c, mutations_end_in_a_message_or_a_malformation);
	tcase_add_loop_test(c, each_malformation_has_its_name_line_and_element, 0,
			    (int)(sizeof(malformed_messages) / sizeof(malformed_messages[0])));
	tcase_add_test(c, every_malformation_is_reached);
	tcase_add_test(c, a_message_has_a_largest_size);
	tcase_add_test(c, values_arrive_as_they_stand);
	tcase_add_test(c, a_prefix_may_name_the_namespace);
	tcase_add_test(c, an_envelope_is_filled);
	tcase_add_test(c, the_encoder_refuses_what_breaks_the_table);
	tcase_add_test(c, the_encoder_refuses_what_is_too_large);
	suite_add_tcase(s, c);
	return s;
}

static Suite *sample_suite(void)
{
	Suite *s = suite_create("samples");
	TCase *c = tcase_create("samples");

	tcase_add_test(c, samples_are_written);
	suite_add_tcase(s, c);
	return s;
}

/* test-message DIRECTORY: writes every sample there, for tests/test-xsd.sh and the fuzzers. */
int main(int argc, char **argv)
{
	SRunner *runner;
	int failed;

	sample_directory = argc == 2 ? argv[1] : NULL;
	runner = srunner_create(sample_directory ? sample_suite() : message_suite());
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
