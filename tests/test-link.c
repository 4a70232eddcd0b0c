#include "pan/link.h"

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define X32        "\1\2\3\4\5\6\7\10\1\2\3\4\5\6\7\10\1\2\3\4\5\6\7\10\1\2\3\4\5\6\7\10"
#define Z16        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define Z32        Z16 Z16
#define S(literal) (literal), sizeof(literal) - 1

/* Hello frames. A PN GW's has 34 + 3 + 7 bytes of payload, a PNE's 34 + 4 + 1. */
#define GW_HELLO     "\0\0\0\55\1\1\1" X32 "\2gw\6server"
#define PNE_HELLO    "\0\0\0\50\1\1\0" X32 "\3pne\0"
#define PNE_UI_HELLO "\0\0\0\50\1\1\2" X32 "\3pne\0"

/* One end and what happened to it, as text. */
struct end {
	struct link *l;
	char events[4096];
	uint8_t sent[1 << 18];
	size_t sent_size;
	bool answer; /* a message is answered with a receipt, from within the callback */
};

static void note(struct end *e, const char *what, const char *detail)
{
	size_t at = strlen(e->events);

	snprintf(e->events + at, sizeof(e->events) - at, "%s%s%s%s", at > 0 ? " " : "", what,
		 *detail ? ":" : "", detail);
}

static void on_send(void *arg, struct bytes frame)
{
	struct end *e = arg;

	ck_assert_uint_le(frame.size, sizeof(e->sent) - e->sent_size);
	memcpy(e->sent + e->sent_size, frame.data, frame.size);
	e->sent_size += frame.size;
}

static void on_up(void *arg, const struct hello *peer)
{
	struct end *e = arg;

	ck_assert(link_is_up(e->l));
	ck_assert_ptr_eq(peer, link_peer(e->l));
	note(e, peer->flags & HELLO_FLAG_UI ? "up-ui" : "up", peer->entity.text);
}

static void on_message(void *arg, struct bytes xml)
{
	struct end *e = arg;
	struct receipt r = {.id = {{7}}, .status = STATUS_BUSY};
	char text[32];

	if (bytes_to_text(xml, text, sizeof(text)) < 0)
		snprintf(text, sizeof(text), "%zu", xml.size);
	note(e, "message", text);
	if (e->answer)
		ck_assert_int_eq(link_send_receipt(e->l, &r), 0);
}

static void on_receipt(void *arg, const struct receipt *r)
{
	char text[64];

	snprintf(text, sizeof(text), "%u,%s%s", r->id.b[0], status_wire_name(r->status),
		 r->has_proof ? ",proof" : "");
	note(arg, "receipt", text);
}

static void on_pong(void *arg, uint64_t token)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIx64, token);
	note(arg, "pong", text);
}

static void on_broken(void *arg, enum link_broken why)
{
	static const char *const names[] = {
		[LINK_BROKEN_OVERSIZED] = "oversized",
		[LINK_BROKEN_FRAME] = "frame",
		[LINK_BROKEN_NO_HELLO] = "no-hello",
		[LINK_BROKEN_HELLO_AGAIN] = "again",
		[LINK_BROKEN_VERSION] = "version",
		[LINK_BROKEN_ROLE] = "role",
		[LINK_BROKEN_KEY] = "key",
		[LINK_BROKEN_MEMORY] = "memory",
	};

	ck_assert_ptr_nonnull(strstr(link_broken_text(why), " "));
	note(arg, "broken", names[why]);
}

static const struct link_callbacks callbacks = {
	.send = on_send,
	.up = on_up,
	.message = on_message,
	.receipt = on_receipt,
	.pong = on_pong,
	.broken = on_broken,
};

static struct hello hello_of(uint8_t flags, const char *entity, const char *server)
{
	struct hello h = {.flags = flags};

	snprintf(h.entity.text, sizeof(h.entity.text), "%s", entity);
	snprintf(h.server.text, sizeof(h.server.text), "%s", server);
	return h;
}

static void open_end(struct end *e, bool gateway)
{
	struct hello self = gateway ? hello_of(HELLO_FLAG_GATEWAY, "own-gw", "server")
				    : hello_of(HELLO_FLAG_UI, "own-pne", "");

	memset(e, 0, sizeof(*e));
	ck_assert_int_eq(link_new(&self, &callbacks, e, &e->l), 0);
}

static struct end a, z;

/* What a peer sends to an end of that role, and what comes of it. */
static const struct conversation {
	const char *what;
	bool gateway;
	const char *bytes;
	size_t size;
	const char *events;
	size_t sent; /* bytes that the end sends after its hello */
} conversations[] = {
	{"nothing", true, S(""), "", 0},
	{"half a hello", true, S("\0\0\0\50\1\1\0"), "", 0},
	{"hello of a PNE", true, S(PNE_HELLO), "up:pne", 0},
	{"hello of a PNE with UI", true, S(PNE_UI_HELLO), "up-ui:pne", 0},
	{"hello of a PN GW", false, S(GW_HELLO), "up:gw", 0},
	{"message", true, S(PNE_HELLO "\0\0\0\4\2abc"), "up:pne message:abc", 0},
	{"many", true, S(PNE_HELLO "\0\0\0\2\2a\0\0\0\2\2b\0\0\0\2\2c"),
	 "up:pne message:a message:b message:c", 0},
	{"receipt without proof", false,
	 S(GW_HELLO "\0\0\0\62\3\11\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" Z32), "up:gw receipt:9,OK", 0},
	{"receipt with proof", false,
	 S(GW_HELLO "\0\0\0\62\3\11\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\10" X32),
	 "up:gw receipt:9,StaleIndex,proof", 0},
	{"ping is answered", true, S(PNE_HELLO "\0\0\0\11\4tokentok"), "up:pne", 13},
	{"pong", true, S(PNE_HELLO "\0\0\0\11\5\1\2\3\4\5\6\7\10"), "up:pne pong:102030405060708",
	 0},
	{"half a frame follows the hello", true, S("\0\0\0\50\1\1\0" X32 "\3pne\0\0\0"), "up:pne",
	 0},

	{"oversized before hello", true, S("\0\0\100\2\1"), "broken:oversized", 0},
	{"oversized after a good message", true, S(PNE_HELLO "\0\0\0\2\2a\377\0\0\0"),
	 "up:pne message:a broken:oversized", 0},
	{"size zero", true, S("\0\0\0\0"), "broken:frame", 0},
	{"size zero when up", true, S(PNE_HELLO "\0\0\0\0\2"), "up:pne broken:frame", 0},
	{"unknown kind", true, S("\0\0\0\2\11a"), "broken:frame", 0},
	{"unknown kind when up", true, S(PNE_HELLO "\0\0\0\2\11a"), "up:pne broken:frame", 0},
	{"message before hello", true, S("\0\0\0\2\2a"), "broken:no-hello", 0},
	{"receipt before hello", true, S("\0\0\0\62\3" Z16 "\0" Z32), "broken:no-hello", 0},
	{"ping before hello", true, S("\0\0\0\11\4tokentok"), "broken:no-hello", 0},
	{"pong before hello", true, S("\0\0\0\11\5tokentok"), "broken:no-hello", 0},
	{"second hello", true, S(PNE_HELLO PNE_HELLO), "up:pne broken:again", 0},
	{"nothing after the fault", true, S(PNE_HELLO PNE_HELLO "\0\0\0\2\2a"),
	 "up:pne broken:again", 0},
	{"both are PN GW", true, S(GW_HELLO), "broken:role", 0},
	{"neither is PN GW", false, S(PNE_HELLO), "broken:role", 0},
	{"version 0", true, S("\0\0\0\50\1\0\0" X32 "\3pne\0"), "broken:version", 0},
	{"version 2 of another layout", true, S("\0\0\0\3\1\2x"), "broken:version", 0},
	{"hello without payload", true, S("\0\0\0\1\1"), "broken:frame", 0},
	{"hello cut after the version", true, S("\0\0\0\2\1\1"), "broken:frame", 0},
	{"hello cut in the key", true, S("\0\0\0\6\1\1\0\1\2\3"), "broken:frame", 0},
	{"hello cut in the Entity ID", true, S("\0\0\0\46\1\1\0" X32 "\3pn"), "broken:frame", 0},
	{"hello without the server", true, S("\0\0\0\47\1\1\0" X32 "\3pne"), "broken:frame", 0},
	{"trailing byte in hello", true, S("\0\0\0\51\1\1\0" X32 "\3pne\0\0"), "broken:frame", 0},
	{"unknown flag", true, S("\0\0\0\50\1\1\4" X32 "\3pne\0"), "broken:frame", 0},
	{"all-zero key", true, S("\0\0\0\50\1\1\0" Z32 "\3pne\0"), "broken:key", 0},
	{"key of order one", true,
	 S("\0\0\0\50\1\1\0\1" Z16 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\3pne\0"), "broken:key", 0},
	{"empty message", true, S(PNE_HELLO "\0\0\0\1\2"), "up:pne broken:frame", 0},
	{"short receipt", true, S(PNE_HELLO "\0\0\0\61\3" Z16 Z32), "up:pne broken:frame", 0},
	{"long receipt", true, S(PNE_HELLO "\0\0\0\63\3" Z16 "\0\0" Z32), "up:pne broken:frame", 0},
	{"receipt of unknown status", true, S(PNE_HELLO "\0\0\0\62\3" Z16 "\377" Z32),
	 "up:pne broken:frame", 0},
	{"short ping", true, S(PNE_HELLO "\0\0\0\10\4tokento"), "up:pne broken:frame", 0},
	{"long ping", true, S(PNE_HELLO "\0\0\0\12\4tokentoke"), "up:pne broken:frame", 0},
	{"short pong", true, S(PNE_HELLO "\0\0\0\1\5"), "up:pne broken:frame", 0},
};
#define CONVERSATIONS ((int)(sizeof(conversations) / sizeof(conversations[0])))

static void run(const struct conversation *c, size_t step)
{
	bool breaks = strstr(c->events, "broken") != NULL;
	size_t hello_size;
	int rc = 0;

	open_end(&a, c->gateway);
	link_start(a.l);
	hello_size = a.sent_size;
	for (size_t at = 0; at < c->size; at += step) {
		size_t size = step < c->size - at ? step : c->size - at;

		rc = link_push(a.l, bytes_of(c->bytes + at, size));
	}
	ck_assert_msg(strcmp(a.events, c->events) == 0, "%s by %zu: \"%s\", not \"%s\"", c->what,
		      step, a.events, c->events);
	ck_assert_msg(rc == (breaks ? -EPROTO : 0), "%s: %d", c->what, rc);
	ck_assert_uint_eq(a.sent_size - hello_size, c->sent);
	if (breaks) {
		ck_assert_int_eq(link_push(a.l, bytes_text("more")), -EPROTO);
		ck_assert_int_eq(link_send_ping(a.l, 1), -ENOTCONN);
		ck_assert_str_eq(a.events, c->events);
		ck_assert(!link_is_up(a.l));
	}
	link_free(a.l);
	ck_assert_uint_eq(secret_count(), 0);
}

START_TEST(conversation_at_once)
{
	run(&conversations[_i], SIZE_MAX);
}
END_TEST

START_TEST(conversation_in_pieces)
{
	run(&conversations[_i], 1);
	run(&conversations[_i], 3);
	run(&conversations[_i], 44);
}
END_TEST

/* Moves what each end sent to the other until both are silent. */
static void exchange(void)
{
	static uint8_t copy[sizeof(a.sent)];

	while (a.sent_size > 0 || z.sent_size > 0) {
		struct end *from = a.sent_size > 0 ? &a : &z;
		struct end *to = from == &a ? &z : &a;
		size_t size = from->sent_size;

		memcpy(copy, from->sent, size);
		from->sent_size = 0;
		ck_assert_int_eq(link_push(to->l, bytes_of(copy, size)), 0);
	}
}

static void open_pair(void)
{
	open_end(&a, true);
	open_end(&z, false);
	link_start(a.l);
	link_start(z.l);
}

static void close_pair(void)
{
	link_free(a.l);
	link_free(z.l);
	ck_assert_uint_eq(secret_count(), 0);
}

START_TEST(both_share_secret_and_binding)
{
	struct secret *first;

	open_pair();
	ck_assert_ptr_null(link_secret(a.l));
	ck_assert_uint_eq(link_binding(a.l).size, 0);
	ck_assert_ptr_null(link_peer(a.l));
	exchange();
	ck_assert_str_eq(a.events, "up-ui:own-pne");
	ck_assert_str_eq(z.events, "up:own-gw");
	ck_assert_str_eq(link_peer(z.l)->server.text, "server");
	ck_assert(secret_equal(link_secret(a.l), link_secret(z.l)));
	ck_assert(bytes_equal(link_binding(a.l), link_binding(z.l)));
	ck_assert_uint_eq(link_binding(a.l).size, 34 + 7 + 7 + 34 + 8 + 1);
	ck_assert_uint_eq(link_binding(a.l).data[1], HELLO_FLAG_GATEWAY);
	first = secret_ref(link_secret(a.l));
	link_free(a.l);
	link_free(z.l);

	open_pair();
	exchange();
	ck_assert(!secret_equal(first, link_secret(a.l)));
	secret_unref(first);
	close_pair();
}
END_TEST

START_TEST(all_frames_pass)
{
	static uint8_t big[MESSAGE_MAX_SIZE + 1];
	struct receipt r = {.id = {{3}}, .status = STATUS_OK, .has_proof = true, .proof = {1}};

	open_pair();
	ck_assert_int_eq(link_send_message(a.l, bytes_text("early")), -ENOTCONN);
	ck_assert_int_eq(link_send_receipt(a.l, &r), -ENOTCONN);
	ck_assert_int_eq(link_send_ping(a.l, 1), -ENOTCONN);
	exchange();
	z.answer = true;
	ck_assert_int_eq(link_send_message(a.l, bytes_text("to the PNE")), 0);
	ck_assert_int_eq(link_send_ping(a.l, UINT64_C(0xfedcba9876543210)), 0);
	exchange();
	ck_assert_str_eq(z.events, "up:own-gw message:to the PNE");
	ck_assert_str_eq(a.events, "up-ui:own-pne receipt:7,Busy pong:fedcba9876543210");
	ck_assert_int_eq(link_send_receipt(z.l, &r), 0);
	ck_assert_int_eq(link_send_message(z.l, bytes_of(big, MESSAGE_MAX_SIZE)), 0);
	ck_assert_int_eq(link_send_message(z.l, bytes_of(big, MESSAGE_MAX_SIZE + 1)), -EMSGSIZE);
	ck_assert_int_eq(link_send_message(z.l, BYTES_NONE), -EMSGSIZE);
	a.events[0] = '\0';
	exchange();
	ck_assert_str_eq(a.events, "receipt:3,OK,proof message:16384");
	close_pair();
}
END_TEST

/* A peer may be faster than this end's start: its bytes are not lost, and the hello is sent once.
 */
START_TEST(pushed_before_start)
{
	open_end(&a, true);
	ck_assert_int_eq(link_push(a.l, bytes_of(S(PNE_HELLO))), 0);
	ck_assert_str_eq(a.events, "up:pne");
	ck_assert_uint_gt(a.sent_size, 0);
	a.sent_size = 0;
	link_start(a.l);
	ck_assert_uint_eq(a.sent_size, 0);
	link_free(a.l);
	ck_assert_uint_eq(secret_count(), 0);
}
END_TEST

/* What an end says is thrown back at it: it must not take itself for its peer. */
START_TEST(reflection)
{
	for (int gateway = 0; gateway < 2; gateway++) {
		open_end(&a, gateway);
		link_start(a.l);
		ck_assert_int_eq(link_push(a.l, bytes_of(a.sent, a.sent_size)), -EPROTO);
		ck_assert_str_eq(a.events, "broken:role");
		link_free(a.l);
	}
}
END_TEST

START_TEST(hellos_that_cannot_be)
{
	const struct hello bad[] = {
		hello_of(HELLO_FLAG_GATEWAY, "gw", ""),
		hello_of(HELLO_FLAG_GATEWAY, "", "server"),
		hello_of(0, "pne", "server"),
		hello_of(0, "p n e", ""),
		hello_of(0x80, "pne", ""),
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(link_new(&bad[i], &callbacks, &a, &a.l), -EINVAL);
	ck_assert_uint_eq(secret_count(), 0);
	link_free(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("link");
	TCase *tcase = tcase_create("link");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, conversation_at_once, 0, CONVERSATIONS);
	tcase_add_loop_test(tcase, conversation_in_pieces, 0, CONVERSATIONS);
	tcase_add_test(tcase, both_share_secret_and_binding);
	tcase_add_test(tcase, all_frames_pass);
	tcase_add_test(tcase, pushed_before_start);
	tcase_add_test(tcase, reflection);
	tcase_add_test(tcase, hellos_that_cannot_be);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
