#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/message.h"
#include "wan/http.h"

/* What a peer may send, right and wrong, fed to both ends of both versions without any socket. */

struct seen {
	struct http *http;
	unsigned requests, answers;
	int32_t stream;
	size_t size;
	char authorization[64];
	int status;
	enum http_outcome outcome;
	bool answer_at_once;
};

static void on_request(void *arg, int32_t stream, struct bytes body, struct bytes authorization)
{
	struct seen *s = arg;

	ck_assert_uint_le(body.size, MESSAGE_MAX_SIZE);
	s->requests++;
	s->stream = stream;
	s->size = body.size;
	bytes_to_text(authorization, s->authorization, sizeof(s->authorization));
	if (s->answer_at_once)
		ck_assert_int_eq(
			http_answer(s->http, stream, 200, "text/plain", bytes_text("x"), NULL), 0);
}

static void on_answer(void *arg, void *request, enum http_outcome outcome, int status,
		      struct bytes body)
{
	struct seen *s = arg;

	ck_assert_ptr_eq(request, s);
	ck_assert_uint_le(body.size, MESSAGE_MAX_SIZE);
	s->answers++;
	s->outcome = outcome;
	s->status = status;
	s->size = body.size;
}

static void begin(struct seen *s, bool http2, enum tls_side side)
{
	static const struct http_callbacks callbacks = {.request = on_request, .answer = on_answer};
	struct http_options o = {
		.side = side, .path = "/cpns", .authority = "localhost", .max_streams = 16};

	*s = (struct seen){.answer_at_once = true};
	ck_assert_int_eq(http2 ? http2_new(&o, &callbacks, s, &s->http)
			       : http1_new(&o, &callbacks, s, &s->http),
			 0);
}

#define HEAD "Host: x\r\nContent-Type: application/cpns+xml\r\n"

START_TEST(test_http1_requests)
{
	static const struct {
		const char *text;
		unsigned requests;
		int result;
	} rows[] = {
		{"POST /cpns HTTP/1.1\r\n" HEAD "Content-Length: 2\r\n\r\nhi", 1, 0},
		{"POST /cpns HTTP/1.1\r\n" HEAD "Content-Length: 2\r\n\r\nhi"
		 "POST /cpns HTTP/1.1\r\n" HEAD "Content-Length: 2\r\n\r\nho",
		 2, 0},
		{"POST /cpns HTTP/1.1\r\n" HEAD "Transfer-Encoding: chunked\r\n\r\n"
		 "1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
		 1, 0},
		{"POST /cpns HTTP/1.1\r\n" HEAD
		 "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"
		 "\r\n0\r\n\r\n",
		 0, HTTP_BROKEN},
		{"POST /cpns HTTP/1.1\r\n" HEAD "Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
		 0, HTTP_BROKEN},
		{"POST /cpns HTTP/1.1\r\n" HEAD "Content-Length: -1\r\n\r\nhi", 0, HTTP_BROKEN},
		{"POST /cpns?x HTTP/1.1\r\n" HEAD "Content-Length: 2\r\n\r\nhi", 0, 0},
		{"POST /cpns HTTP/1.1\r\n" HEAD "Connection: close\r\nContent-Length: 2\r\n\r\nhi"
		 "POST /cpns HTTP/1.1\r\n" HEAD "Content-Length: 2\r\n\r\nho",
		 1, 0},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, HTTP_BROKEN},
		{"nonsense\r\n\r\n", 0, HTTP_BROKEN},
		{"\x16\x03\x01\x02", 0, HTTP_BROKEN},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t chunk = 1; chunk < 2000; chunk += 999) {
			struct bytes text = bytes_text(rows[i].text);
			struct seen s;
			int r = 0;

			begin(&s, false, TLS_SERVER);
			for (size_t at = 0; at < text.size && r == 0; at += chunk)
				r = http_feed(s.http,
					      bytes_of(text.data + at, text.size - at < chunk
									       ? text.size - at
									       : chunk));
			ck_assert_msg(r == rows[i].result && s.requests == rows[i].requests,
				      "row %zu by %zu: %d, %u", i, chunk, r, s.requests);
			http_free(s.http);
		}
	}
}
END_TEST

START_TEST(test_http1_header_sizes)
{
	struct bytes start = bytes_text("POST /cpns HTTP/1.1\r\n" HEAD "Authorization: ");
	struct bytes rest = bytes_text("\r\nContent-Length: 2\r\n\r\nhi");
	static char value[40000];
	static const size_t sizes[] = {10, 2000, 2100, 5000, 40000};

	memset(value, 'a', sizeof(value));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct seen s;
		int r;

		begin(&s, false, TLS_SERVER);
		r = http_feed(s.http, start);
		if (r == 0)
			r = http_feed(s.http, bytes_of(value, sizes[i]));
		if (r == 0)
			r = http_feed(s.http, rest);
		ck_assert_int_eq(r, sizes[i] == 40000 ? HTTP_BROKEN : 0);
		ck_assert_uint_eq(s.requests, sizes[i] <= 2000);
		http_free(s.http);
	}
}
END_TEST

START_TEST(test_http1_answers)
{
	static const struct {
		const char *text;
		unsigned answers;
		enum http_outcome outcome;
		int result;
	} rows[] = {
		{"HTTP/1.1 200 OK\r\n" HEAD "Content-Length: 2\r\n\r\nhi", 1, HTTP_ANSWERED, 0},
		{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 No\r\n" HEAD
		 "Content-Length: 2\r\n\r\nhi",
		 1, HTTP_ANSWERED, 0},
		{"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi", 1,
		 HTTP_BAD_ANSWER, 0},
		{"HTTP/1.1 204 No\r\n" HEAD "\r\n", 1, HTTP_BAD_ANSWER, 0},
		{"HTTP/1.1 200 OK\r\n" HEAD "Content-Length: 2\r\n\r\nhi"
		 "HTTP/1.1 200 OK\r\n" HEAD "Content-Length: 2\r\n\r\nhi",
		 1, HTTP_ANSWERED, HTTP_BROKEN},
		{"what\r\n", 0, HTTP_ANSWERED, HTTP_BROKEN},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct seen s;
		int r;

		begin(&s, false, TLS_CLIENT);
		ck_assert(http_room(s.http));
		ck_assert_int_eq(http_post(s.http, bytes_text("x"), &s), 0);
		ck_assert(!http_room(s.http));
		r = http_feed(s.http, bytes_text(rows[i].text));
		ck_assert_msg(r == rows[i].result && s.answers == rows[i].answers &&
				      (s.answers == 0 || s.outcome == rows[i].outcome),
			      "row %zu: %d, %u, %d", i, r, s.answers, s.outcome);
		http_free(s.http);
	}
}
END_TEST

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* Sound beginnings with bytes changed: no crash, nothing beyond the limits. */
START_TEST(test_noise)
{
	static const char h1[] = "POST /cpns HTTP/1.1\r\n" HEAD "Expect: 100-continue\r\n"
				 "Authorization: Digest x\r\nContent-Length: 5\r\n\r\nhello"
				 "POST /cpns HTTP/1.1\r\n" HEAD
				 "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
	static const char h1_answer[] = "HTTP/1.1 200 OK\r\n" HEAD "Content-Length: 2\r\n\r\nhi";
	/* Preface, SETTINGS, HEADERS of a POST to /cpns with literal fields, DATA. */
	static const char h2[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
				 "\0\0\x3a\x01\x04\0\0\0\x01\x83\x87\x04\x05/cpns\x01\x09localhost"
				 "\x0f\x10\x14"
				 "application/cpns+xml\x0f\x08\x08"
				 "Digest x\x0f\x0d\x01\x35\0\0\x05\0\x01\0\0\0\x01hello";
	static const char h2_answer[] =
		"\0\0\0\x04\0\0\0\0\0\0\0\x18\x01\x04\0\0\0\x01\x88\x0f\x10\x14"
		"application/cpns+xml\0\0\x02\0\x01\0\0\0\x01hi";
	struct {
		const char *data;
		size_t size;
		bool http2;
		enum tls_side side;
	} starts[] = {
		{h1, sizeof(h1) - 1, false, TLS_SERVER},
		{h1_answer, sizeof(h1_answer) - 1, false, TLS_CLIENT},
		{h2, sizeof(h2) - 1, true, TLS_SERVER},
		{h2_answer, sizeof(h2_answer) - 1, true, TLS_CLIENT},
	};
	uint32_t state = 0x2545f491;

	for (unsigned round = 0; round < 20000; round++) {
		size_t which = round % 4, size = starts[which].size;
		unsigned changes;
		uint8_t data[512];
		struct seen s;
		int r = 0;

		ck_assert_uint_le(size, sizeof(data));
		memcpy(data, starts[which].data, size);
		changes = next_random(&state) % 4;
		for (unsigned n = changes; n > 0; n--)
			data[next_random(&state) % size] = (uint8_t)next_random(&state);
		begin(&s, starts[which].http2, starts[which].side);
		if (starts[which].side == TLS_CLIENT)
			ck_assert_int_eq(http_post(s.http, bytes_text("x"), &s), 0);
		for (size_t at = 0; at < size && r == 0;) {
			size_t chunk = 1 + next_random(&state) % size;

			if (chunk > size - at)
				chunk = size - at;
			r = http_feed(s.http, bytes_of(data + at, chunk));
			at += chunk;
		}
		ck_assert(r == 0 || r == HTTP_BROKEN);
		ck_assert_uint_le(s.answers, 1);
		/* Without a socket the HTTP/2 client's request is not out yet. */
		if (changes == 0 && which != 3) {
			ck_assert_int_eq(r, 0);
			ck_assert_uint_ge(s.requests + s.answers, 1);
		}
		http_free(s.http);
	}
}
END_TEST

START_TEST(test_types)
{
	ck_assert(http_is_our_type(bytes_text("application/cpns+xml")));
	ck_assert(http_is_our_type(bytes_text("Application/CPNS+XML ; charset=utf-8")));
	ck_assert(!http_is_our_type(bytes_text("application/cpns+xmlx")));
	ck_assert(!http_is_our_type(bytes_text("application/xml")));
	ck_assert(!http_is_our_type(bytes_text("")));
	ck_assert(!http_is_our_type(BYTES_NONE));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("http");
	TCase *t = tcase_create("http");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_http1_requests);
	tcase_add_test(t, test_http1_header_sizes);
	tcase_add_test(t, test_http1_answers);
	tcase_add_test(t, test_noise);
	tcase_add_test(t, test_types);
	suite_add_tcase(suite, t);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
