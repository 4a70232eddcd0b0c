#include "pan/frame.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define X32        "\1\2\3\4\5\6\7\10\1\2\3\4\5\6\7\10\1\2\3\4\5\6\7\10\1\2\3\4\5\6\7\10"
#define Z32        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define S(literal) (literal), sizeof(literal) - 1

/* A stream, and what comes out of it: kind and payload size of each frame, then how it ends. */
static const struct stream_case {
	const char *what;
	const char *bytes;
	size_t size;
	struct {
		enum frame_kind kind;
		size_t size;
	} frames[4];
	size_t count;
	int end;
} streams[] = {
	{"nothing", S(""), {{FRAME_HELLO, 0}}, 0, -EAGAIN},
	{"half a size", S("\0\0\0"), {{FRAME_HELLO, 0}}, 0, -EAGAIN},
	{"no kind yet", S("\0\0\0\1"), {{FRAME_HELLO, 0}}, 0, -EAGAIN},
	{"empty payload", S("\0\0\0\1\2"), {{FRAME_MESSAGE, 0}}, 1, -EAGAIN},
	{"one", S("\0\0\0\4\2abc"), {{FRAME_MESSAGE, 3}}, 1, -EAGAIN},
	{"one without its end", S("\0\0\0\4\2ab"), {{FRAME_HELLO, 0}}, 0, -EAGAIN},
	{"three",
	 S("\0\0\0\2\1a\0\0\0\3\4bc\0\0\0\1\5"),
	 {{FRAME_HELLO, 1}, {FRAME_PING, 2}, {FRAME_PONG, 0}},
	 3,
	 -EAGAIN},
	{"one and a half", S("\0\0\0\2\3a\0\0\0\3\4b"), {{FRAME_RECEIPT, 1}}, 1, -EAGAIN},
	{"size zero", S("\0\0\0\0"), {{FRAME_HELLO, 0}}, 0, FRAME_BAD_PAYLOAD},
	{"size zero after one",
	 S("\0\0\0\2\3a\0\0\0\0\1"),
	 {{FRAME_RECEIPT, 1}},
	 1,
	 FRAME_BAD_PAYLOAD},
	{"kind zero", S("\0\0\0\2\0a"), {{FRAME_HELLO, 0}}, 0, FRAME_UNKNOWN_KIND},
	{"kind six", S("\0\0\0\2\6a"), {{FRAME_HELLO, 0}}, 0, FRAME_UNKNOWN_KIND},
	{"kind 255 before its payload",
	 S("\0\0\0\2\377"),
	 {{FRAME_HELLO, 0}},
	 0,
	 FRAME_UNKNOWN_KIND},
	{"one byte too large", S("\0\0\100\2"), {{FRAME_HELLO, 0}}, 0, FRAME_OVERSIZED},
	{"4 GiB", S("\377\377\377\377\2"), {{FRAME_HELLO, 0}}, 0, FRAME_OVERSIZED},
	{"oversized after one", S("\0\0\0\2\2a\1\0\0\0"), {{FRAME_MESSAGE, 1}}, 1, FRAME_OVERSIZED},
	{"largest, unfinished", S("\0\0\100\1\2"), {{FRAME_HELLO, 0}}, 0, -EAGAIN},
};
#define STREAMS ((int)(sizeof(streams) / sizeof(streams[0])))

static void run_stream(const struct stream_case *c, size_t step)
{
	struct frame_reader r = {0};
	struct bytes payload;
	enum frame_kind kind;
	size_t seen = 0;
	int pushed = 0, end = -EAGAIN;

	for (size_t at = 0; at < c->size && end == -EAGAIN; at += step) {
		size_t size = step < c->size - at ? step : c->size - at;

		pushed = frame_reader_push(&r, bytes_of(c->bytes + at, size));
		while ((end = frame_reader_next(&r, &kind, &payload)) == 0) {
			ck_assert_msg(seen < c->count, "%s: too many frames", c->what);
			ck_assert_msg(kind == c->frames[seen].kind, "%s: kind", c->what);
			ck_assert_msg(payload.size == c->frames[seen].size, "%s: size", c->what);
			seen++;
		}
	}
	ck_assert_msg(seen == c->count, "%s: %zu frames", c->what, seen);
	ck_assert_msg(end == c->end, "%s by %zu: ended with %d", c->what, step, end);
	ck_assert_msg((pushed == FRAME_OVERSIZED) == (end == FRAME_OVERSIZED), "%s: push said %d",
		      c->what, pushed);
	frame_reader_clear(&r);
}

START_TEST(streams_at_once)
{
	run_stream(&streams[_i], SIZE_MAX);
}
END_TEST

START_TEST(streams_in_pieces)
{
	for (size_t step = 1; step < 8; step++)
		run_stream(&streams[_i], step);
}
END_TEST

START_TEST(largest_frame)
{
	size_t size = FRAME_HEADER_SIZE + MESSAGE_MAX_SIZE;
	uint8_t *payload = calloc(1, MESSAGE_MAX_SIZE + 1);
	uint8_t *out = malloc(size + 1);
	struct frame_reader r = {0};
	struct bytes view;
	enum frame_kind kind;

	payload[MESSAGE_MAX_SIZE - 1] = 7;
	ck_assert_uint_eq(
		frame_write(FRAME_MESSAGE, bytes_of(payload, MESSAGE_MAX_SIZE + 1), out, size + 1),
		0);
	ck_assert_uint_eq(
		frame_write(FRAME_MESSAGE, bytes_of(payload, MESSAGE_MAX_SIZE), out, size - 1), 0);
	ck_assert_uint_eq(
		frame_write(FRAME_MESSAGE, bytes_of(payload, MESSAGE_MAX_SIZE), out, size), size);
	for (int round = 0; round < 3; round++) {
		ck_assert_int_eq(frame_reader_push(&r, bytes_of(out, size - 1)), 0);
		ck_assert_int_eq(frame_reader_next(&r, &kind, &view), -EAGAIN);
		ck_assert_int_eq(frame_reader_push(&r, bytes_of(out + size - 1, 1)), 0);
		ck_assert_int_eq(frame_reader_next(&r, &kind, &view), 0);
		ck_assert_int_eq(kind, FRAME_MESSAGE);
		ck_assert(bytes_equal(view, bytes_of(payload, MESSAGE_MAX_SIZE)));
	}
	/* What was taken makes room: three rounds did not make the buffer grow beyond one. */
	ck_assert_uint_le(r.capacity, 2 * size);
	frame_reader_clear(&r);
	free(out);
	free(payload);
}
END_TEST

START_TEST(empty_payload_and_push)
{
	uint8_t out[FRAME_HEADER_SIZE];
	struct frame_reader r = {0};
	struct bytes view;
	enum frame_kind kind;

	ck_assert_uint_eq(frame_write(FRAME_PING, BYTES_NONE, out, sizeof(out)), FRAME_HEADER_SIZE);
	ck_assert_mem_eq(out, "\0\0\0\1\4", 5);
	ck_assert_int_eq(frame_reader_push(&r, BYTES_NONE), 0);
	ck_assert_int_eq(frame_reader_next(&r, &kind, &view), -EAGAIN);
	frame_reader_clear(&r);
	frame_reader_clear(&r);
}
END_TEST

static const struct hello_case {
	const char *what;
	const char *bytes;
	size_t size;
	int rc;
} hellos[] = {
	{"PN GW", S("\1\1" X32 "\2gw\6server"), 0},
	{"PN GW with UI", S("\1\3" X32 "\2gw\6server"), 0},
	{"PNE", S("\1\0" X32 "\3pne\0"), 0},
	{"PNE with UI", S("\1\2" X32 "\3pne\0"), 0},
	{"a zero key is for the link to judge", S("\1\0" Z32 "\3pne\0"), 0},
	{"nothing", S(""), FRAME_BAD_PAYLOAD},
	{"version only", S("\1"), FRAME_BAD_PAYLOAD},
	{"version 0", S("\0\1" X32 "\2gw\6server"), FRAME_BAD_PAYLOAD},
	{"version 2", S("\2\1" X32 "\2gw\6server"), FRAME_BAD_PAYLOAD},
	{"unknown flag", S("\1\4" X32 "\3pne\0"), FRAME_BAD_PAYLOAD},
	{"half a key", S("\1\0\1\2\3\4"), FRAME_BAD_PAYLOAD},
	{"no Entity ID", S("\1\0" X32), FRAME_BAD_PAYLOAD},
	{"empty Entity ID", S("\1\0" X32 "\0\0"), FRAME_BAD_PAYLOAD},
	{"Entity ID beyond the end", S("\1\0" X32 "\4pne"), FRAME_BAD_PAYLOAD},
	{"Entity ID too long", S("\1\0" X32 "\101" X32 X32 "a\0"), FRAME_BAD_PAYLOAD},
	{"no server", S("\1\1" X32 "\2gw"), FRAME_BAD_PAYLOAD},
	{"PN GW without a server", S("\1\1" X32 "\2gw\0"), FRAME_BAD_PAYLOAD},
	{"PNE with a server", S("\1\0" X32 "\3pne\6server"), FRAME_BAD_PAYLOAD},
	{"server beyond the end", S("\1\1" X32 "\2gw\7server"), FRAME_BAD_PAYLOAD},
	{"trailing byte", S("\1\0" X32 "\3pne\0\0"), FRAME_BAD_PAYLOAD},
	{"trailing byte after a server", S("\1\1" X32 "\2gw\6serverx"), FRAME_BAD_PAYLOAD},
	{"NUL in the Entity ID", S("\1\0" X32 "\3p\0e\0"), FRAME_BAD_PAYLOAD},
	{"space in the Entity ID", S("\1\0" X32 "\3p e\0"), FRAME_BAD_PAYLOAD},
	{"line feed in the server", S("\1\1" X32 "\2gw\3s\ne"), FRAME_BAD_PAYLOAD},
};
#define HELLOS ((int)(sizeof(hellos) / sizeof(hellos[0])))

START_TEST(hello_table)
{
	const struct hello_case *c = &hellos[_i];
	struct hello h, untouched;
	uint8_t out[HELLO_MAX_SIZE];

	memset(&h, 0x5a, sizeof(h));
	untouched = h;
	ck_assert_msg(hello_read(bytes_of(c->bytes, c->size), &h) == c->rc, "%s", c->what);
	if (c->rc != 0) {
		ck_assert_mem_eq(&h, &untouched, sizeof(h));
		return;
	}
	ck_assert_uint_eq(hello_write(&h, out), c->size);
	ck_assert_mem_eq(out, c->bytes, c->size);
	for (size_t cut = 0; cut < c->size; cut++)
		ck_assert_int_eq(hello_read(bytes_of(c->bytes, cut), &h), FRAME_BAD_PAYLOAD);
}
END_TEST

START_TEST(hello_of_largest_names)
{
	struct hello h = {.flags = HELLO_FLAG_GATEWAY}, back;
	uint8_t out[HELLO_MAX_SIZE];

	memset(h.entity.text, 'e', NAME_MAX_SIZE);
	memset(h.server.text, 's', NAME_MAX_SIZE);
	ck_assert_uint_eq(hello_write(&h, out), HELLO_MAX_SIZE);
	ck_assert_int_eq(hello_read(bytes_of(out, sizeof(out)), &back), 0);
	ck_assert(name_equal(&back.entity, &h.entity));
	ck_assert(name_equal(&back.server, &h.server));
	h.entity.text[0] = '\0';
	ck_assert_uint_eq(hello_write(&h, out), 0);
}
END_TEST

START_TEST(receipts)
{
	struct receipt r = {.id = {{1, 2, 3}}, .status = STATUS_STALE_INDEX}, back;
	uint8_t out[RECEIPT_SIZE + 1] = {0};

	receipt_write(&r, out);
	ck_assert_int_eq(receipt_read(bytes_of(out, RECEIPT_SIZE), &back), 0);
	ck_assert(message_id_equal(&back.id, &r.id));
	ck_assert_int_eq(back.status, STATUS_STALE_INDEX);
	ck_assert(!back.has_proof);

	r.has_proof = true;
	r.proof[31] = 9;
	receipt_write(&r, out);
	ck_assert_int_eq(receipt_read(bytes_of(out, RECEIPT_SIZE), &back), 0);
	ck_assert(back.has_proof);
	ck_assert_mem_eq(back.proof, r.proof, sizeof(r.proof));

	for (size_t size = 0; size < RECEIPT_SIZE; size++)
		ck_assert_int_eq(receipt_read(bytes_of(out, size), &back), FRAME_BAD_PAYLOAD);
	ck_assert_int_eq(receipt_read(bytes_of(out, RECEIPT_SIZE + 1), &back), FRAME_BAD_PAYLOAD);
	for (unsigned number = 0; number < 256; number++) {
		out[MESSAGE_ID_SIZE] = (uint8_t)number;
		ck_assert_int_eq(receipt_read(bytes_of(out, RECEIPT_SIZE), &back),
				 status_known(number) ? 0 : FRAME_BAD_PAYLOAD);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("frame");
	TCase *tcase = tcase_create("frame");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tcase, streams_at_once, 0, STREAMS);
	tcase_add_loop_test(tcase, streams_in_pieces, 0, STREAMS);
	tcase_add_test(tcase, largest_frame);
	tcase_add_test(tcase, empty_payload_and_push);
	tcase_add_loop_test(tcase, hello_table, 0, HELLOS);
	tcase_add_test(tcase, hello_of_largest_names);
	tcase_add_test(tcase, receipts);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
