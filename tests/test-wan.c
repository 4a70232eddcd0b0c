#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wan/client.h"
#include "wan/conn.h"
#include "wan/listener.h"

static char dir[256];

static const char *at(const char *file)
{
	static char paths[16][320];
	static unsigned next;
	char *path = paths[next++ % 16];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, file);
	return path;
}

static struct tls_context *server_tls(const char *ca, bool only_http1)
{
	static const char *const both[] = {"h2", "http/1.1", NULL};
	static const char *const one[] = {"http/1.1", NULL};
	struct tls_options o = {.side = TLS_SERVER,
				.ca_file = at(ca),
				.certificate_file = at("server.pem"),
				.key_file = at("server.key"),
				.alpn = only_http1 ? one : both};
	struct tls_context *c = NULL;
	char why[256] = "";

	ck_assert_msg(tls_context_new(&o, &c, why, sizeof(why)) == 0, "%s", why);
	return c;
}

static struct tls_context *client_tls(const char *ca, bool certificate)
{
	static const char *const both[] = {"h2", "http/1.1", NULL};
	struct tls_options o = {.side = TLS_CLIENT, .ca_file = at(ca), .alpn = both};
	struct tls_context *c = NULL;
	char why[256] = "";

	if (certificate) {
		o.certificate_file = at("gateway.pem");
		o.key_file = at("gateway.key");
	}
	ck_assert_msg(tls_context_new(&o, &c, why, sizeof(why)) == 0, "%s", why);
	return c;
}

struct world {
	uv_loop_t loop;
	uv_timer_t timer;
	struct tls_context *server_tls, *client_tls;
	struct listener *listener;
	struct wan *wan;
	uint16_t port;
	unsigned hold; /* how many requests to hold back */
	struct listener_request *held[64];
	unsigned held_count;
	unsigned seen, listeners_stopped, wans_stopped;
	unsigned states, ups, downs;
	bool secrets_agree;
	int status;
	const char *challenge;
	char authorization[256];
	bool timed_out;
};

struct result {
	struct world *w;
	unsigned calls;
	struct wan_answer answer;
	char body[20000];
};

static void on_request(void *arg, struct listener_request *r, struct bytes body,
		       struct bytes authorization, const struct listener_peer *peer)
{
	struct world *w = arg;

	w->seen++;
	ck_assert_int_eq(bytes_to_text(authorization, w->authorization, sizeof(w->authorization)),
			 0);
	if (w->wan && wan_exporter(w->wan)) {
		ck_assert(peer->mutual);
		ck_assert_str_eq(peer->entity.text, "gateway-1");
		w->secrets_agree = secret_equal(peer->exporter, wan_exporter(w->wan));
	}
	if (w->hold > 0) {
		w->hold--;
		w->held[w->held_count++] = r;
		return;
	}
	listener_answer(r, w->status, body, w->challenge);
}

static void on_listener_stopped(void *arg)
{
	struct world *w = arg;

	w->listeners_stopped++;
	w->listener = NULL;
}

static void on_wan_stopped(void *arg)
{
	struct world *w = arg;

	w->wans_stopped++;
	w->wan = NULL;
}

static void on_state(void *arg, const struct wan_state *s)
{
	struct world *w = arg;

	w->states++;
	if (s->up)
		w->ups++;
	else
		w->downs++;
}

static void on_timer(uv_timer_t *timer)
{
	struct world *w = timer->data;

	w->timed_out = true;
}

/* Under valgrind everything takes longer, the more so beside other tests. */
static unsigned patience(unsigned ms)
{
	return getenv("PNGW_VALGRIND") ? 8 * ms : ms;
}

/* Runs the loop until *count is at least wanted, or ms went by. */
static void run_until_within(struct world *w, const unsigned *count, unsigned wanted, unsigned ms)
{
	w->timed_out = false;
	uv_update_time(&w->loop);
	uv_timer_start(&w->timer, on_timer, ms, 0);
	while (*count < wanted && !w->timed_out)
		uv_run(&w->loop, UV_RUN_ONCE);
	uv_timer_stop(&w->timer);
}

static void run_until(struct world *w, const unsigned *count, unsigned wanted, unsigned ms)
{
	run_until_within(w, count, wanted, patience(ms));
}

static void run_for(struct world *w, unsigned ms)
{
	static const unsigned never;

	run_until_within(w, &never, 1, ms);
}

static void listen_on(struct world *w, uint16_t port)
{
	static const struct listener_callbacks callbacks = {.request = on_request,
							    .stopped = on_listener_stopped};
	struct listener_options o = {.address = "127.0.0.1",
				     .port = port,
				     .path = "/cpns",
				     .tls = w->server_tls,
				     .handshake_ms = patience(10000)};
	char why[256] = "";

	ck_assert_msg(listener_new(&w->loop, &o, &callbacks, w, &w->listener, why, sizeof(why)) ==
			      0,
		      "%s", why);
	w->port = listener_port(w->listener);
	ck_assert_uint_ne(w->port, 0);
}

static void connect_to(struct world *w, const struct wan_options *more)
{
	static const struct wan_callbacks callbacks = {.state = on_state,
						       .stopped = on_wan_stopped};
	struct wan_options o = more ? *more : (struct wan_options){0};

	o.host = "localhost";
	o.port = w->port;
	o.path = "/cpns";
	o.tls = w->client_tls;
	if (o.backoff_min_ms == 0)
		o.backoff_min_ms = 20;
	if (o.connect_timeout_ms == 0)
		o.connect_timeout_ms = patience(10000);
	if (o.keepalive_ms == 0)
		o.keepalive_ms = patience(30000);
	ck_assert_int_eq(wan_new(&w->loop, &o, &callbacks, w, &w->wan), 0);
	wan_start(w->wan);
}

static void begin(struct world *w, bool only_http1)
{
	memset(w, 0, sizeof(*w));
	w->status = 200;
	ck_assert_int_eq(uv_loop_init(&w->loop), 0);
	uv_timer_init(&w->loop, &w->timer);
	w->timer.data = w;
	w->server_tls = server_tls("ca.pem", only_http1);
	w->client_tls = client_tls("ca.pem", true);
	listen_on(w, 0);
}

static void begin_connected(struct world *w, bool only_http1)
{
	begin(w, only_http1);
	connect_to(w, NULL);
	run_until(w, &w->ups, 1, 5000);
	ck_assert_uint_eq(w->ups, 1);
}

static void end(struct world *w)
{
	unsigned listeners = w->listeners_stopped + 1, wans = w->wans_stopped + 1;

	if (w->wan) {
		wan_stop(w->wan);
		run_until(w, &w->wans_stopped, wans, 5000);
		ck_assert_uint_eq(w->wans_stopped, wans);
	}
	if (w->listener) {
		listener_stop(w->listener);
		run_until(w, &w->listeners_stopped, listeners, 5000);
		ck_assert_uint_eq(w->listeners_stopped, listeners);
	}
	for (unsigned i = 0; i < w->held_count; i++) {
		if (w->held[i])
			listener_answer(w->held[i], 200, bytes_text("late"), NULL);
	}
	uv_close((uv_handle_t *)&w->timer, NULL);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&w->loop), 0);
	tls_context_unref(w->server_tls);
	tls_context_unref(w->client_tls);
	ck_assert_uint_eq(secret_count(), 0);
}

static unsigned answers;

static void on_answer(void *arg, const struct wan_answer *answer)
{
	struct result *r = arg;

	r->calls++;
	r->answer = *answer;
	ck_assert_int_eq(bytes_to_text(answer->body, r->body, sizeof(r->body)), 0);
	answers++;
}

static struct wan_request *post(struct world *w, struct result *r, const char *text,
				unsigned deadline_ms, uint64_t pin)
{
	struct wan_request *request = NULL;

	memset(r, 0, sizeof(*r));
	ck_assert_int_eq(
		wan_post(w->wan, bytes_text(text), deadline_ms, pin, on_answer, r, &request), 0);
	return request;
}

static void check_answered(const struct result *r, const char *body)
{
	ck_assert_uint_eq(r->calls, 1);
	ck_assert_int_eq(r->answer.result, WAN_ANSWERED);
	ck_assert_int_eq(r->answer.http, 200);
	ck_assert_str_eq(r->body, body);
}

/* _i: HTTP/2, HTTP/1.1 */
START_TEST(test_many)
{
	static struct result r[300];
	struct world w;
	char text[32];

	begin(&w, _i);
	connect_to(&w, NULL);
	answers = 0;
	for (unsigned i = 0; i < 300; i++) {
		snprintf(text, sizeof(text), "<message %u/>", i);
		post(&w, &r[i], text, patience(10000), WAN_UNPINNED);
	}
	run_until(&w, &answers, 300, 10000);
	for (unsigned i = 0; i < 300; i++) {
		snprintf(text, sizeof(text), "<message %u/>", i);
		check_answered(&r[i], text);
	}
	ck_assert_uint_eq(w.seen, 300);
	ck_assert_uint_eq(w.ups, 1);
	ck_assert_uint_eq(w.downs, 0);
	ck_assert(wan_state(w.wan)->up);
	ck_assert(wan_state(w.wan)->mutual);
	ck_assert_int_eq(wan_state(w.wan)->http2, !_i);
	ck_assert(w.secrets_agree);

	/* The largest message, both ways, and the challenge of a server. */
	static char big[16385];
	memset(big, 'x', 16384);
	w.status = 401;
	w.challenge = "Digest realm=\"r\"";
	answers = 0;
	post(&w, &r[0], big, 10000, wan_generation(w.wan));
	run_until(&w, &answers, 1, 5000);
	ck_assert_int_eq(r[0].answer.result, WAN_ANSWERED);
	ck_assert_int_eq(r[0].answer.http, 401);
	ck_assert_str_eq(r[0].body, big);
	end(&w);
}
END_TEST

START_TEST(test_restart)
{
	struct result unpinned, pinned, after;
	struct world w;
	struct wan_request *request;

	begin_connected(&w, _i);
	w.hold = 2;
	answers = 0;
	post(&w, &unpinned, "again", 10000, WAN_UNPINNED);
	post(&w, &pinned, "once", 10000, wan_generation(w.wan));
	run_until(&w, &w.seen, _i ? 1 : 2, 5000);
	ck_assert_uint_eq(w.seen, _i ? 1 : 2);
	w.hold = 0;

	listener_stop(w.listener);
	run_until(&w, &w.listeners_stopped, 1, 5000);
	run_until(&w, &w.downs, 1, 5000);
	ck_assert_uint_eq(w.downs, 1);
	ck_assert_uint_eq(pinned.calls, 1);
	ck_assert_int_eq(pinned.answer.result, _i ? WAN_DOWN : WAN_LOST);
	ck_assert_uint_eq(unpinned.calls, 0);
	ck_assert(!wan_state(w.wan)->up);
	ck_assert_ptr_null(wan_exporter(w.wan));
	ck_assert_int_eq(wan_post(w.wan, bytes_text("x"), 1000, 1, on_answer, &after, &request),
			 -ENOTCONN);
	run_for(&w, 200);
	ck_assert_uint_ge(w.downs, 2);
	ck_assert(strstr(wan_state(w.wan)->why, "cannot connect"));
	ck_assert(!wan_state(w.wan)->tls_refused);
	ck_assert_int_eq(wan_state(w.wan)->cause, WAN_CAUSE_REFUSED);

	listen_on(&w, w.port);
	run_until(&w, &answers, 2, 5000);
	check_answered(&unpinned, "again");
	ck_assert_uint_eq(wan_generation(w.wan), 2);
	ck_assert_uint_eq(w.seen, _i ? 2 : 3);
	ck_assert(wan_state(w.wan)->resumed);
	ck_assert(wan_state(w.wan)->mutual);
	ck_assert(w.secrets_agree);
	end(&w);
}
END_TEST

/* Who was let in by an authority that is no longer one gets its answer, then has to go. */
START_TEST(test_new_credentials)
{
	struct tls_context *other;
	struct result r;
	struct world w;

	begin_connected(&w, _i);
	w.hold = 1;
	answers = 0;
	post(&w, &r, "held", patience(60000), WAN_UNPINNED);
	run_until(&w, &w.seen, 1, 5000);
	ck_assert_uint_eq(w.seen, 1);
	other = server_tls("other-ca.pem", _i);
	listener_set_tls(w.listener, other);
	tls_context_unref(other);
	run_for(&w, 1500);
	ck_assert_uint_eq(w.downs, 0);
	listener_answer(w.held[0], 200, bytes_text("held"), NULL);
	w.held[0] = NULL;
	run_until(&w, &answers, 1, 5000);
	check_answered(&r, "held");
	/* TLS 1.3 is up at the client before the server has seen its certificate. */
	run_until(&w, &w.downs, 3, 5000);
	ck_assert_uint_ge(w.downs, 3);
	ck_assert(!wan_state(w.wan)->up);
	ck_assert(wan_state(w.wan)->tls_refused);
	listener_set_tls(w.listener, w.server_tls);
	answers = 0;
	post(&w, &r, "good ones", patience(5000), WAN_UNPINNED);
	run_until(&w, &answers, 1, 5000);
	check_answered(&r, "good ones");
	end(&w);
}
END_TEST

START_TEST(test_deadline_and_cancel)
{
	struct result late, waiting, cancelled, pinned, next;
	struct wan_request *request;
	unsigned downs;
	struct world w;

	begin_connected(&w, _i);
	w.hold = 1;
	answers = 0;
	post(&w, &late, "late", 100, WAN_UNPINNED);
	run_until(&w, &answers, 1, 5000);
	ck_assert_int_eq(late.answer.result, WAN_DEADLINE);
	ck_assert_uint_eq(late.calls, 1);

	/* The connection still serves, or is made anew. */
	answers = 0;
	post(&w, &next, "next", patience(5000), WAN_UNPINNED);
	run_until(&w, &answers, 1, 5000);
	check_answered(&next, "next");

	w.hold = 1;
	request = post(&w, &cancelled, "cancelled", patience(5000), WAN_UNPINNED);
	run_until(&w, &w.seen, 3, 5000);
	answers = 0;
	downs = w.downs;
	/* Over HTTP/1.1 the connection goes with it, and what waits for it: not from within. */
	post(&w, &pinned, "pinned", patience(5000), wan_generation(w.wan));
	wan_cancel(request);
	ck_assert_uint_eq(pinned.calls, 0);
	ck_assert_uint_eq(w.downs, downs);
	run_until(&w, &answers, 1, 5000);
	ck_assert_int_eq(pinned.answer.result, _i ? WAN_DOWN : WAN_ANSWERED);
	answers = 0;
	post(&w, &next, "and on", patience(5000), WAN_UNPINNED);
	request = post(&w, &waiting, "never sent", patience(5000), WAN_UNPINNED);
	wan_cancel(request);
	run_until(&w, &answers, 1, 5000);
	check_answered(&next, "and on");
	ck_assert_uint_eq(cancelled.calls, 0);
	ck_assert_uint_eq(waiting.calls, 0);

	/* No server at all. */
	listener_stop(w.listener);
	run_until(&w, &w.listeners_stopped, 1, 5000);
	run_for(&w, 50);
	answers = 0;
	post(&w, &next, "to nobody", 150, WAN_UNPINNED);
	run_until(&w, &answers, 1, 5000);
	ck_assert_int_eq(next.answer.result, WAN_DOWN);
	end(&w);
}
END_TEST

START_TEST(test_stop_in_flight)
{
	static struct result r[100];
	struct world w;

	begin_connected(&w, _i);
	w.hold = 64;
	answers = 0;
	for (unsigned i = 0; i < 100; i++)
		post(&w, &r[i], "held", 60000, WAN_UNPINNED);
	run_until(&w, &w.seen, _i ? 1 : 64, 5000);
	wan_stop(w.wan);
	ck_assert_uint_eq(answers, 100);
	for (unsigned i = 0; i < 100; i++)
		ck_assert_int_eq(r[i].answer.result, WAN_CANCELLED);
	run_until(&w, &w.wans_stopped, 1, 5000);
	ck_assert_uint_eq(w.wans_stopped, 1);
	end(&w);
}
END_TEST

/* Stopping in every phase of connecting. */
START_TEST(test_stop_early)
{
	for (unsigned turns = 0; turns < 12; turns++) {
		struct world w;

		begin(&w, false);
		connect_to(&w, NULL);
		for (unsigned i = 0; i < turns; i++)
			uv_run(&w.loop, UV_RUN_NOWAIT);
		end(&w);
	}
}
END_TEST

static void stop_on_answer(void *arg, const struct wan_answer *answer)
{
	struct result *r = arg;

	r->calls++;
	r->answer = *answer;
	wan_stop(r->w->wan);
	if (r->w->listener)
		listener_stop(r->w->listener);
}

START_TEST(test_stop_within)
{
	static struct result r[3];
	struct wan_request *request;
	struct world w;

	begin(&w, _i);
	connect_to(&w, NULL);
	for (unsigned i = 0; i < 3; i++) {
		memset(&r[i], 0, sizeof(r[i]));
		r[i].w = &w;
		ck_assert_int_eq(wan_post(w.wan, bytes_text("x"), patience(5000), WAN_UNPINNED,
					  stop_on_answer, &r[i], &request),
				 0);
	}
	run_until(&w, &w.wans_stopped, 1, 5000);
	ck_assert_int_eq(r[0].answer.result, WAN_ANSWERED);
	ck_assert_int_eq(r[1].answer.result, WAN_CANCELLED);
	ck_assert_int_eq(r[2].answer.result, WAN_CANCELLED);
	run_until(&w, &w.listeners_stopped, 1, 5000);
	end(&w);
}
END_TEST

START_TEST(test_limits)
{
	struct wan_options o = {.max_in_flight = 2, .max_waiting = 3};
	static struct result r[6];
	struct wan_request *request;
	struct world w;

	begin(&w, false);
	connect_to(&w, &o);
	run_until(&w, &w.ups, 1, 5000);
	w.hold = 2;
	answers = 0;
	for (unsigned i = 0; i < 5; i++)
		post(&w, &r[i], "x", patience(5000), WAN_UNPINNED);
	ck_assert_int_eq(wan_post(w.wan, bytes_text("x"), patience(5000), WAN_UNPINNED, on_answer,
				  &r[5], &request),
			 -EBUSY);
	run_until(&w, &w.seen, 2, 5000);
	run_for(&w, 50);
	ck_assert_uint_eq(w.seen, 2);
	for (unsigned i = 0; i < 2; i++) {
		listener_answer(w.held[i], 200, bytes_text("now"), NULL);
		w.held[i] = NULL;
	}
	run_until(&w, &answers, 5, 5000);
	ck_assert_uint_eq(answers, 5);
	ck_assert_uint_eq(w.seen, 5);
	end(&w);
}
END_TEST

START_TEST(test_refused_server)
{
	struct world w;

	begin(&w, false);
	tls_context_unref(w.client_tls);
	w.client_tls = client_tls("other-ca.pem", true);
	connect_to(&w, NULL);
	run_until(&w, &w.downs, 3, 5000);
	ck_assert_uint_eq(w.ups, 0);
	ck_assert(wan_state(w.wan)->tls_refused);
	ck_assert_msg(strstr(wan_state(w.wan)->why, "unknown CA"), "%s", wan_state(w.wan)->why);
	ck_assert_int_eq(wan_state(w.wan)->cause, WAN_CAUSE_TLS);
	ck_assert_int_eq(wan_state(w.wan)->tls, TLS_CAUSE_AUTHORITY);
	/* At least half of 80, of which a moment has gone by. */
	ck_assert_uint_ge(wan_state(w.wan)->retry_in_ms, 30);
	ck_assert_uint_le(wan_state(w.wan)->retry_in_ms, 80);
	end(&w);
}
END_TEST

START_TEST(test_not_mutual)
{
	struct result r;
	struct world w;

	begin(&w, false);
	tls_context_unref(w.client_tls);
	w.client_tls = client_tls("ca.pem", false);
	connect_to(&w, NULL);
	answers = 0;
	post(&w, &r, "x", patience(5000), WAN_UNPINNED);
	run_until(&w, &answers, 1, 5000);
	check_answered(&r, "x");
	ck_assert(!wan_state(w.wan)->mutual);
	ck_assert_ptr_null(wan_exporter(w.wan));
	end(&w);
}
END_TEST

START_TEST(test_keepalive)
{
	/* An answer may take as long, on a machine that is busy with other tests, too. */
	const unsigned period = getenv("PNGW_VALGRIND") ? 3000 : 500;
	struct wan_options o = {.keepalive_ms = period};
	struct result r;
	struct world w;

	begin(&w, false);
	connect_to(&w, &o);
	run_until(&w, &w.ups, 1, 5000);
	run_for(&w, 4 * period + period / 2);
	ck_assert_uint_eq(w.downs, 0);
	answers = 0;
	post(&w, &r, "x", patience(5000), WAN_UNPINNED);
	run_until(&w, &answers, 1, 5000);
	check_answered(&r, "x");
	end(&w);
}
END_TEST

static void on_silence(uv_stream_t *stream, int status)
{
	(void)stream;
	ck_assert_int_eq(status, 0);
}

/* Somebody takes the connection and says nothing. */
START_TEST(test_connect_timeout)
{
	struct wan_options o = {.connect_timeout_ms = patience(500)};
	struct sockaddr_in address;
	struct result r;
	struct world w;
	uv_tcp_t silent;
	int size = sizeof(address);

	begin(&w, false);
	ck_assert_int_eq(uv_tcp_init(&w.loop, &silent), 0);
	ck_assert_int_eq(uv_ip4_addr("127.0.0.1", 0, &address), 0);
	ck_assert_int_eq(uv_tcp_bind(&silent, (struct sockaddr *)&address, 0), 0);
	ck_assert_int_eq(uv_listen((uv_stream_t *)&silent, 5, on_silence), 0);
	ck_assert_int_eq(uv_tcp_getsockname(&silent, (struct sockaddr *)&address, &size), 0);
	w.port = ntohs(address.sin_port);
	connect_to(&w, &o);
	answers = 0;
	post(&w, &r, "x", patience(1000), WAN_UNPINNED);
	run_until(&w, &w.downs, 1, 5000);
	ck_assert_msg(strstr(wan_state(w.wan)->why, "did not answer"), "%s", wan_state(w.wan)->why);
	ck_assert_int_eq(wan_state(w.wan)->cause, WAN_CAUSE_MUTE);
	run_until(&w, &answers, 1, 5000);
	ck_assert_int_eq(r.answer.result, WAN_DOWN);
	uv_close((uv_handle_t *)&silent, NULL);
	end(&w);
}
END_TEST

/* A server that agrees to HTTP/2 and then falls silent. */
static struct conn deaf;
static unsigned deaf_closed;

static int deaf_up(struct conn *c)
{
	(void)c;
	return 0;
}

static void deaf_down(struct conn *c, enum tls_cause cause, const char *why)
{
	(void)cause;
	(void)why;
	conn_close(c);
}

static void on_deaf_closed(struct conn *c)
{
	(void)c;
	deaf_closed++;
}

static void on_deaf_connection(uv_stream_t *stream, int status)
{
	static const struct conn_callbacks callbacks = {
		.up = deaf_up, .down = deaf_down, .closed = on_deaf_closed};
	struct world *w = stream->data;
	struct tls *tls;

	ck_assert_int_eq(status, 0);
	if (deaf.tls)
		return;
	ck_assert_int_eq(conn_init(&deaf, &w->loop, &callbacks, w), 0);
	ck_assert_int_eq(uv_accept(stream, (uv_stream_t *)&deaf.tcp), 0);
	ck_assert_int_eq(tls_new(w->server_tls, NULL, &tls), 0);
	ck_assert_int_eq(conn_begin(&deaf, tls), 0);
}

START_TEST(test_deaf_server)
{
	struct wan_options o = {.keepalive_ms = 100, .connect_timeout_ms = patience(2000)};
	struct sockaddr_in address;
	struct result pinned;
	struct world w;
	uv_tcp_t tcp;
	int size = sizeof(address);

	begin(&w, false);
	ck_assert_int_eq(uv_tcp_init(&w.loop, &tcp), 0);
	tcp.data = &w;
	ck_assert_int_eq(uv_ip4_addr("127.0.0.1", 0, &address), 0);
	ck_assert_int_eq(uv_tcp_bind(&tcp, (struct sockaddr *)&address, 0), 0);
	ck_assert_int_eq(uv_listen((uv_stream_t *)&tcp, 5, on_deaf_connection), 0);
	ck_assert_int_eq(uv_tcp_getsockname(&tcp, (struct sockaddr *)&address, &size), 0);
	w.port = ntohs(address.sin_port);
	connect_to(&w, &o);
	run_until(&w, &w.ups, 1, 5000);
	ck_assert_uint_eq(w.ups, 1);
	ck_assert(wan_state(w.wan)->http2);
	answers = 0;
	post(&w, &pinned, "x", 60000, wan_generation(w.wan));
	run_until(&w, &w.downs, 1, 5000);
	ck_assert_msg(strstr(wan_state(w.wan)->why, "no longer answers"), "%s",
		      wan_state(w.wan)->why);
	ck_assert_uint_eq(answers, 1);
	ck_assert_int_eq(pinned.answer.result, WAN_LOST);
	run_until(&w, &deaf_closed, 1, 5000);
	uv_close((uv_handle_t *)&tcp, NULL);
	end(&w);
}
END_TEST

/* A curl in the background while the loop serves it. */
static unsigned curl_ended;
static int64_t curl_status;

static void on_curl_ended(uv_process_t *process, int64_t status, int signal)
{
	(void)signal;
	curl_status = status;
	curl_ended++;
	uv_close((uv_handle_t *)process, NULL);
}

static const char *curl(struct world *w, const char *arguments)
{
	static char output[40000], command[2048];
	char shell[] = "/bin/sh", dash_c[] = "-c";
	char *args[] = {shell, dash_c, command, NULL};
	uv_process_options_t o = {.exit_cb = on_curl_ended, .file = "/bin/sh", .args = args};
	uv_process_t process;
	FILE *f;
	size_t n;

	snprintf(command, sizeof(command),
		 "exec curl -sS --max-time 10 --cacert '%s' -H 'Content-Type: " WAN_CONTENT_TYPE
		 "' -w ' %%{http_code} %%{http_version}' %s https://localhost:%u%s >'%s' 2>&1",
		 at("ca.pem"), arguments, w->port, strstr(arguments, "-G") ? "" : "/cpns",
		 at("output"));
	curl_ended = 0;
	ck_assert_int_eq(uv_spawn(&w->loop, &process, &o), 0);
	run_until(w, &curl_ended, 1, 15000);
	ck_assert_uint_eq(curl_ended, 1);
	uv_run(&w->loop, UV_RUN_NOWAIT);
	f = fopen(at("output"), "r");
	ck_assert_ptr_nonnull(f);
	n = fread(output, 1, sizeof(output) - 1, f);
	output[n] = '\0';
	fclose(f);
	ck_assert_msg(curl_status == 0, "curl %s: %s", arguments, output);
	return output;
}

static const char *file_of(const char *name, size_t size)
{
	FILE *f = fopen(at(name), "w");

	ck_assert_ptr_nonnull(f);
	for (size_t i = 0; i < size; i++)
		fputc('x', f);
	ck_assert_int_eq(fclose(f), 0);
	return at(name);
}

static void check_curl(struct world *w, const char *arguments, const char *end_of_output)
{
	const char *output = curl(w, arguments);
	size_t n = strlen(output), m = strlen(end_of_output);

	ck_assert_msg(n >= m && strcmp(output + n - m, end_of_output) == 0, "curl %s: %s",
		      arguments, n > 200 ? output + n - 200 : output);
}

START_TEST(test_curl)
{
	const char *version = _i ? "--http1.1" : "--http2", *v = _i ? "1.1" : "2";
	char arguments[512], expected[128];
	unsigned seen;
	struct world w;
	static const struct {
		const char *arguments, *says;
	} rows[] = {
		{"--data-binary hello", "hello 200"},
		{"-H 'Content-Type: application/CPNS+xml; charset=utf-8' --data-binary hello",
		 "hello 200"},
		{"-H 'Expect: 100-continue' --data-binary hello", "hello 200"},
		{"-H 'Transfer-Encoding: chunked' --data-binary hello", "hello 200"},
		{"-H 'Content-Type: text/xml' --data-binary hello",
		 "the content type is to be " WAN_CONTENT_TYPE "\n 415"},
		{"", "POST is the only method\n 405"},
		{"-X PUT --data-binary hello", "POST is the only method\n 405"},
		{"--request-target /elsewhere --data-binary hello", "there is nothing here\n 404"},
		{"--data-binary ''", " 200"},
	};
	static const struct {
		size_t size;
		const char *more;
		const char *says;
	} bodies[] = {
		{16384, "", "x 200"},
		{16385, "", "the message is too large\n 413"},
		{16385, "-H 'Expect: 100-continue'", "the message is too large\n 413"},
		{16385, "-H 'Transfer-Encoding: chunked'", "the message is too large\n 413"},
		{3000000, "", "the message is too large\n 413"},
		{500000, "-H 'Expect:'", "the message is too large\n 413"},
	};

	begin(&w, false);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!_i && strstr(rows[i].arguments, "chunked"))
			continue;
		snprintf(arguments, sizeof(arguments), "%s %s", version, rows[i].arguments);
		snprintf(expected, sizeof(expected), "%s %s", rows[i].says, v);
		check_curl(&w, arguments, expected);
	}
	seen = w.seen;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		if (!_i && strstr(bodies[i].more, "chunked"))
			continue;
		snprintf(arguments, sizeof(arguments), "%s %s --data-binary '@%s'", version,
			 bodies[i].more, file_of("body", bodies[i].size));
		snprintf(expected, sizeof(expected), "%s %s", bodies[i].says, v);
		check_curl(&w, arguments, expected);
	}
	ck_assert_uint_eq(w.seen, seen + 1);
	end(&w);
}
END_TEST

/* Curl answers a challenge: once without credentials, once with. */
START_TEST(test_curl_digest)
{
	const char *output;
	struct world w;
	char arguments[256];

	begin(&w, false);
	w.status = 401;
	w.challenge = "Digest realm=\"server\", nonce=\"abc\", algorithm=SHA-256, qop=\"auth\", "
		      "salt=\"00\", iterations=600000";
	snprintf(arguments, sizeof(arguments), "%s --digest -u alice:secret --data-binary hello",
		 _i ? "--http1.1" : "--http2");
	output = curl(&w, arguments);
	ck_assert_msg(strstr(output, "401"), "%s", output);
	ck_assert_uint_ge(w.seen, 1);
	ck_assert_msg(strstr(w.authorization, "username=\"alice\""), "%s", w.authorization);
	ck_assert_msg(strstr(w.authorization, "uri=\"/cpns\""), "%s", w.authorization);
	end(&w);
}
END_TEST

int main(void)
{
	const char *build = getenv("PNGW_BUILDDIR"), *source = getenv("PNGW_SRCDIR");
	char command[1024];
	Suite *suite = suite_create("wan");
	TCase *t = tcase_create("wan");
	SRunner *runner;
	int failed;

	/* As the daemons do: a peer may go away while it is written to. */
	(void)signal(SIGPIPE, SIG_IGN);
	snprintf(dir, sizeof(dir), "%s/tests/certs-wan.%d", build ? build : ".", getpid());
	snprintf(command, sizeof(command), "'%s/tests/make-certs' '%s' localhost gateway-1",
		 source ? source : ".", dir);
	if (system(command) != 0)
		return 99;
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, test_many, 0, 2);
	tcase_add_loop_test(t, test_restart, 0, 2);
	tcase_add_loop_test(t, test_new_credentials, 0, 2);
	tcase_add_loop_test(t, test_deadline_and_cancel, 0, 2);
	tcase_add_loop_test(t, test_stop_in_flight, 0, 2);
	tcase_add_test(t, test_stop_early);
	tcase_add_loop_test(t, test_stop_within, 0, 2);
	tcase_add_test(t, test_limits);
	tcase_add_test(t, test_refused_server);
	tcase_add_test(t, test_not_mutual);
	tcase_add_test(t, test_keepalive);
	tcase_add_test(t, test_connect_timeout);
	tcase_add_test(t, test_deaf_server);
	if (system("curl --version >/dev/null 2>&1") == 0) {
		tcase_add_loop_test(t, test_curl, 0, 2);
		tcase_add_loop_test(t, test_curl_digest, 0, 2);
	}
	suite_add_tcase(suite, t);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	if (system(command) != 0)
		return 99;
	return failed != 0;
}
