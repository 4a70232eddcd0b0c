#include "pan/bluetooth-stream.h"

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static uv_loop_t loop;
static struct bluetooth_stream *stream;
static uint8_t room[BLUETOOTH_STREAM_INPUT];
static int other; /* the far end */
static uint8_t *input;
static size_t input_size, calls;
static unsigned connects, ends;
static enum bearer_down end_why;
static int end_error;
static bool close_at_bytes;

static void on_connected(void *arg)
{
	ck_assert_ptr_eq(arg, &loop);
	connects++;
}

static void on_bytes(void *arg, struct bytes in)
{
	ck_assert_ptr_eq(arg, &loop);
	ck_assert_uint_eq(ends, 0);
	input = realloc(input, input_size + in.size);
	memcpy(input + input_size, in.data, in.size);
	input_size += in.size;
	calls++;
	if (close_at_bytes)
		bluetooth_stream_close(stream, BEARER_DOWN_CLOSED, 0);
}

static void on_ended(void *arg, enum bearer_down why, int error)
{
	ck_assert_ptr_eq(arg, &loop);
	ends++;
	end_why = why;
	end_error = error;
}

static const struct bluetooth_stream_callbacks callbacks = {on_connected, on_bytes, on_ended};

static void make(int type, size_t quota)
{
	struct bluetooth_stream_options options = {
		.packets = type == SOCK_SEQPACKET, .quota = quota, .input = room};
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(bluetooth_stream_new(&loop, pair[0], &options, &callbacks, &loop, &stream),
			 0);
	ck_assert_int_eq(bluetooth_stream_fd(stream), pair[0]);
	other = pair[1];
}

#define RUN_UNTIL(condition)                                                \
	do {                                                                \
		for (int turn_ = 0; turn_ < 10000 && !(condition); turn_++) \
			uv_run(&loop, UV_RUN_ONCE);                         \
		ck_assert(condition);                                       \
	} while (0)

static void set_up(void)
{
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	other = -1;
	stream = NULL;
	input = NULL;
	input_size = calls = 0;
	connects = ends = 0;
	close_at_bytes = false;
}

static void tear_down(void)
{
	if (ends == 0 && stream)
		bluetooth_stream_close(stream, BEARER_DOWN_CLOSED, 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_uint_eq(ends, stream ? 1 : 0);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	if (other >= 0)
		close(other);
	free(input);
}

START_TEST(bytes_come_in_and_go_out)
{
	char got[16] = "";

	make(SOCK_STREAM, 1000);
	ck_assert_int_eq(write(other, "hello", 5), 5);
	RUN_UNTIL(input_size == 5);
	ck_assert_mem_eq(input, "hello", 5);
	ck_assert_int_eq(bluetooth_stream_send(stream, bytes_of("good", 4)), 0);
	ck_assert_int_eq(bluetooth_stream_send(stream, BYTES_NONE), 0);
	ck_assert_int_eq(bluetooth_stream_send(stream, bytes_of("bye", 3)), 0);
	ck_assert_int_eq(read(other, got, sizeof(got)), 7);
	ck_assert_mem_eq(got, "goodbye", 7);
}
END_TEST

START_TEST(packets_are_read_whole)
{
	uint8_t *large = malloc(60000);

	memset(large, 0x5a, 60000);
	make(SOCK_SEQPACKET, 1000);
	ck_assert_int_eq(send(other, large, 60000, 0), 60000);
	ck_assert_int_eq(send(other, large, 3, 0), 3);
	RUN_UNTIL(input_size == 60003);
	ck_assert_uint_eq(calls, 2);
	free(large);
}
END_TEST

START_TEST(packets_are_written_no_larger_than_the_channel_takes)
{
	uint8_t out[100], got[1000];
	size_t size = 0;

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)i;
	make(SOCK_SEQPACKET, 1000);
	ck_assert_int_eq(bluetooth_stream_send(stream, bytes_of(out, sizeof(out))), 0);
	while (size < sizeof(out)) {
		/* A Unix socket does not tell BT_SNDMTU: the least MTU counts. */
		ssize_t n = recv(other, got + size, sizeof(got) - size, 0);

		ck_assert_int_ge(n, 1);
		ck_assert_int_le(n, 23);
		size += (size_t)n;
	}
	ck_assert_mem_eq(got, out, sizeof(out));
}
END_TEST

START_TEST(what_the_socket_does_not_take_waits)
{
	const size_t size = 3u << 20;
	uint8_t *out = malloc(size), *got = malloc(size);
	size_t have = 0;

	for (size_t i = 0; i < size; i++)
		out[i] = (uint8_t)(i * 7 + i / 251);
	make(SOCK_STREAM, size);
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(
			bluetooth_stream_send(stream, bytes_of(out + i * (size / 3), size / 3)), 0);
	while (have < size) {
		ssize_t n = recv(other, got + have, size - have, MSG_DONTWAIT);

		if (n > 0)
			have += (size_t)n;
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	ck_assert_mem_eq(got, out, size);
	/* And again from an emptied queue. */
	ck_assert_int_eq(bluetooth_stream_send(stream, bytes_of("x", 1)), 0);
	ck_assert_int_eq(recv(other, got, 10, 0), 1);
	free(out);
	free(got);
}
END_TEST

START_TEST(a_peer_that_does_not_read_is_dropped)
{
	const size_t size = 1u << 20;
	uint8_t *out = calloc(1, size);
	int rc;

	make(SOCK_STREAM, 1000);
	rc = bluetooth_stream_send(stream, bytes_of(out, size));
	ck_assert_int_eq(rc, -EDQUOT);
	ck_assert_int_eq(bluetooth_stream_send(stream, bytes_of(out, 1)), -EDQUOT);
	ck_assert_uint_eq(ends, 0);
	RUN_UNTIL(ends == 1);
	ck_assert_int_eq(end_why, BEARER_DOWN_QUOTA);
	free(out);
}
END_TEST

START_TEST(the_peer_closes)
{
	make(SOCK_STREAM, 1000);
	ck_assert_int_eq(write(other, "last", 4), 4);
	close(other);
	other = -1;
	RUN_UNTIL(ends == 1);
	ck_assert_uint_eq(input_size, 4);
	ck_assert_int_eq(end_why, BEARER_DOWN_PEER);
	ck_assert_int_eq(end_error, 0);
}
END_TEST

START_TEST(a_write_to_a_peer_that_is_gone)
{
	make(SOCK_STREAM, 1000);
	close(other);
	other = -1;
	ck_assert_int_eq(bluetooth_stream_send(stream, bytes_of("x", 1)), -ENOTCONN);
	ck_assert_int_eq(bluetooth_stream_send(stream, bytes_of("x", 1)), -ENOTCONN);
	RUN_UNTIL(ends == 1);
	ck_assert_int_eq(end_why, BEARER_DOWN_PEER);
	ck_assert_int_eq(end_error, -EPIPE);
}
END_TEST

START_TEST(closing_ends_the_connection_though_another_descriptor_is_open)
{
	char byte;
	int copy;

	make(SOCK_STREAM, 1000);
	copy = dup(bluetooth_stream_fd(stream));
	ck_assert_int_ge(copy, 0);
	bluetooth_stream_close(stream, BEARER_DOWN_ERROR, -EPROTO);
	bluetooth_stream_close(stream, BEARER_DOWN_CLOSED, 0);
	ck_assert_uint_eq(ends, 0);
	ck_assert_int_eq(recv(other, &byte, 1, 0), 0);
	RUN_UNTIL(ends == 1);
	ck_assert_int_eq(end_why, BEARER_DOWN_ERROR);
	ck_assert_int_eq(end_error, -EPROTO);
	close(copy);
}
END_TEST

START_TEST(closed_while_bytes_are_told)
{
	make(SOCK_SEQPACKET, 1000);
	close_at_bytes = true;
	ck_assert_int_eq(send(other, "a", 1, 0), 1);
	ck_assert_int_eq(send(other, "b", 1, 0), 1);
	RUN_UNTIL(ends == 1);
	ck_assert_uint_eq(input_size, 1);
}
END_TEST

/* A connect(2) that is under way when the stream is made, as an L2CAP socket has it. */
static int connecting(int *listener, bool listens)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(*listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(getsockname(*listener, (struct sockaddr *)&address, &size), 0);
	if (listens)
		ck_assert_int_eq(listen(*listener, 1), 0);
	ck_assert(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ||
		  errno == EINPROGRESS);
	return fd;
}

START_TEST(a_connection_that_is_under_way)
{
	struct bluetooth_stream_options options = {
		.connecting = true, .quota = 1000, .input = room};
	char got[8];
	int listener, fd = connecting(&listener, true);

	ck_assert_int_eq(bluetooth_stream_new(&loop, fd, &options, &callbacks, &loop, &stream), 0);
	ck_assert_int_eq(bluetooth_stream_send(stream, bytes_of("early", 5)), 0);
	RUN_UNTIL(connects == 1);
	other = accept(listener, NULL, NULL);
	ck_assert_int_eq(write(other, "x", 1), 1);
	RUN_UNTIL(input_size == 1);
	ck_assert_int_eq(recv(other, got, sizeof(got), 0), 5);
	ck_assert_uint_eq(connects, 1);
	close(listener);
}
END_TEST

START_TEST(a_connection_that_fails)
{
	struct bluetooth_stream_options options = {
		.connecting = true, .quota = 1000, .input = room};
	int listener, fd = connecting(&listener, false);

	ck_assert_int_eq(bluetooth_stream_new(&loop, fd, &options, &callbacks, &loop, &stream), 0);
	RUN_UNTIL(ends == 1);
	ck_assert_uint_eq(connects, 0);
	ck_assert_int_eq(end_why, BEARER_DOWN_PEER);
	ck_assert_int_eq(end_error, -ECONNREFUSED);
	close(listener);
}
END_TEST

START_TEST(what_is_no_descriptor)
{
	struct bluetooth_stream_options options = {.quota = 1000, .input = room};

	ck_assert_int_eq(bluetooth_stream_new(&loop, -1, &options, &callbacks, &loop, &stream),
			 -EBADF);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bluetooth-stream");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, bytes_come_in_and_go_out);
	tcase_add_test(tc, packets_are_read_whole);
	tcase_add_test(tc, packets_are_written_no_larger_than_the_channel_takes);
	tcase_add_test(tc, what_the_socket_does_not_take_waits);
	tcase_add_test(tc, a_peer_that_does_not_read_is_dropped);
	tcase_add_test(tc, the_peer_closes);
	tcase_add_test(tc, a_write_to_a_peer_that_is_gone);
	tcase_add_test(tc, closing_ends_the_connection_though_another_descriptor_is_open);
	tcase_add_test(tc, closed_while_bytes_are_told);
	tcase_add_test(tc, a_connection_that_is_under_way);
	tcase_add_test(tc, a_connection_that_fails);
	tcase_add_test(tc, what_is_no_descriptor);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
