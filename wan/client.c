#include "wan/client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/p1.h"
#include "wan/conn.h"

/* How often the server may send a request back unread before that counts as its answer. */
#define SENDINGS_MAX 16U
/* A connection that lasted this long was a good one: the next attempt need not hold back. */
#define GOOD_MS      5000U
/* More than all requests in flight: a server that does not read is to get its answers through. */
#define UNREAD_MAX   (2U << 20)

struct wan_request {
	struct wan_request *next, **link;
	struct wan *wan;
	uint8_t *body;
	size_t size;
	uint64_t deadline;
	uint64_t pin;
	bool sent;
	bool lost; /* sent on a connection that is gone */
	unsigned sendings;
	wan_answer_fn *answer;
	void *arg;
};

struct list {
	struct wan_request *first, **end;
};

/* One attempt to connect, and the connection when it succeeds. Lives on until all is closed. */
struct attempt {
	struct conn conn;
	struct wan *wan; /* NULL when abandoned */
	struct wan *home;
	uv_getaddrinfo_t resolve;
	uv_connect_t connect;
	struct addrinfo *addresses, *next;
	bool resolving;
	bool opened; /* conn is initialised and not closed */
	enum wan_cause cause;
	char why[160];
};

struct wan {
	uv_loop_t *loop;
	struct wan_options options;
	char *host, *verify_name, *path, *authority;
	struct wan_callbacks callbacks;
	void *arg;
	struct wan_state state;
	struct attempt *attempt; /* the present one */
	unsigned attempts;       /* those whose memory is not back yet */
	unsigned open;           /* timers */
	uv_timer_t retry, patience, deadlines, keepalive;
	uint64_t next_deadline, up_at, pinged_at;
	struct list waiting, sent;
	unsigned waiting_count, sent_count;
	unsigned failures;
	uint64_t generation;
	struct secret *exporter;
	bool started, stopping;
};

static void begin_attempt(struct wan *w);
static void dispatch(struct wan *w);

/* Requests */

static void list_add(struct list *l, struct wan_request *r)
{
	r->next = NULL;
	r->link = l->end;
	*l->end = r;
	l->end = &r->next;
}

static void list_add_first(struct list *l, struct wan_request *r)
{
	r->next = l->first;
	r->link = &l->first;
	if (r->next)
		r->next->link = &r->next;
	else
		l->end = &r->next;
	l->first = r;
}

static void unlink_request(struct wan_request *r)
{
	struct list *l = r->sent ? &r->wan->sent : &r->wan->waiting;

	*r->link = r->next;
	if (r->next)
		r->next->link = r->link;
	else
		l->end = r->link;
	if (r->sent)
		r->wan->sent_count--;
	else
		r->wan->waiting_count--;
}

static void free_request(struct wan_request *r)
{
	free(r->body);
	free(r);
}

/* Ends a request that is in no list any more. */
static void conclude(struct wan_request *r, const struct wan_answer *answer)
{
	wan_answer_fn *fn = r->answer;
	void *arg = r->arg;

	free_request(r);
	fn(arg, answer);
}

static void conclude_with(struct wan_request *r, enum wan_result result)
{
	struct wan_answer answer = {.result = result, .generation = r->wan->generation};

	conclude(r, &answer);
}

typedef bool match_fn(const struct wan_request *r, uint64_t now);

static bool is_any(const struct wan_request *r, uint64_t now)
{
	(void)r;
	(void)now;
	return true;
}

static bool is_pinned(const struct wan_request *r, uint64_t now)
{
	(void)now;
	return r->pin != WAN_UNPINNED;
}

static bool is_due(const struct wan_request *r, uint64_t now)
{
	return r->deadline <= now;
}

/*
 * Takes the first request that matches out of its list, those that were sent first. Callbacks may
 * change the lists at will between two calls.
 */
static struct wan_request *take(struct wan *w, match_fn *match, uint64_t now)
{
	struct list *lists[] = {&w->sent, &w->waiting};

	for (int i = 0; i < 2; i++) {
		struct wan_request **at = &lists[i]->first, *r;

		while (*at && !match(*at, now))
			at = &(*at)->next;
		r = *at;
		if (!r)
			continue;
		*at = r->next;
		if (r->next)
			r->next->link = at;
		else
			lists[i]->end = at;
		if (i == 0)
			w->sent_count--;
		else
			w->waiting_count--;
		return r;
	}
	return NULL;
}

/* Back to the front of those that wait. */
static void send_again(struct wan_request *r)
{
	struct wan *w = r->wan;

	unlink_request(r);
	r->sent = false;
	list_add_first(&w->waiting, r);
	w->waiting_count++;
}

static struct wan_request *last_of(const struct list *l)
{
	struct wan_request *r = l->first;

	while (r && r->next)
		r = r->next;
	return r;
}

/* The connection is gone: what was bound to it ends, the rest of what was sent waits again. */
static void give_back(struct wan *w)
{
	struct wan_request *r;

	while ((r = last_of(&w->sent)) != NULL) {
		r->lost = true;
		send_again(r);
	}
	while ((r = take(w, is_pinned, 0)) != NULL)
		conclude_with(r, r->lost ? WAN_LOST : WAN_DOWN);
}

/* State */

static void say_state(struct wan *w)
{
	if (w->callbacks.state && !w->stopping)
		w->callbacks.state(w->arg, &w->state);
}

static void release(struct wan *w)
{
	struct wan_callbacks callbacks = w->callbacks;
	void *arg = w->arg;

	if (w->open > 0 || w->attempts > 0)
		return;
	tls_context_unref(w->options.tls);
	free(w->host);
	free(w->verify_name);
	free(w->path);
	free(w->authority);
	free(w);
	if (callbacks.stopped)
		callbacks.stopped(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct wan *w = handle->data;

	w->open--;
	release(w);
}

static void free_attempt(struct attempt *a)
{
	struct wan *home = a->home;

	if (a->addresses)
		uv_freeaddrinfo(a->addresses);
	free(a);
	home->attempts--;
	if (home->stopping)
		release(home);
}

/* The present attempt is over, in whichever state it is; its memory goes when it is closed. */
static void abandon(struct wan *w)
{
	struct attempt *a = w->attempt;

	w->attempt = NULL;
	secret_clear(&w->exporter);
	uv_timer_stop(&w->patience);
	uv_timer_stop(&w->keepalive);
	if (!a)
		return;
	a->wan = NULL;
	if (a->conn.tls)
		tls_keep_session(a->conn.tls);
	if (a->resolving)
		uv_cancel((uv_req_t *)&a->resolve);
	else if (a->opened)
		conn_close(&a->conn);
	else
		free_attempt(a);
}

static void on_retry(uv_timer_t *timer)
{
	begin_attempt(timer->data);
}

static unsigned backoff(struct wan *w)
{
	uint64_t delay = w->options.backoff_min_ms;
	uint16_t jitter = 0;

	for (unsigned i = 0; i < w->failures && delay < w->options.backoff_max_ms; i++)
		delay *= 2;
	if (delay > w->options.backoff_max_ms)
		delay = w->options.backoff_max_ms;
	w->failures++;
	if (p1_random((uint8_t *)&jitter, sizeof(jitter)) < 0)
		jitter = 0;
	return (unsigned)(delay / 2 + delay / 2 * jitter / UINT16_MAX);
}

/* The connection is gone or was never there: say so, and try again later. */
static void go_down(struct wan *w, enum wan_cause cause, enum tls_cause tls, const char *why)
{
	bool was_up = w->state.up;
	unsigned delay;

	if (was_up && uv_now(w->loop) - w->up_at >= GOOD_MS)
		w->failures = 0;
	delay = backoff(w);
	w->state = (struct wan_state){.up = false,
				      .retry_in_ms = delay,
				      .tls_refused = cause == WAN_CAUSE_TLS,
				      .cause = cause,
				      .tls = tls};
	snprintf(w->state.why, sizeof(w->state.why), "%s", why);
	abandon(w);
	uv_timer_start(&w->retry, on_retry, delay, 0);
	/* First the state: whoever gets a request back must not use the exporter that is gone. */
	say_state(w);
	if (was_up)
		give_back(w);
}

/* One that was up, for a reason of ours. */
static void lose(struct wan *w, const char *why)
{
	go_down(w, WAN_CAUSE_DEAF, TLS_CAUSE_NONE, why);
}

static void fail_here(struct wan *w, const char *why)
{
	go_down(w, WAN_CAUSE_OWN, TLS_CAUSE_NONE, why);
}

/* Connecting */

static void conn_is_down(struct conn *c, enum tls_cause tls, const char *why)
{
	struct attempt *a = c->arg;
	enum wan_cause cause = c->is_up ? WAN_CAUSE_LOST : WAN_CAUSE_CUT;

	if (c->is_up && c->http_result == HTTP_BROKEN)
		cause = WAN_CAUSE_HTTP;

	if (a->wan)
		go_down(a->wan, tls != TLS_CAUSE_NONE ? WAN_CAUSE_TLS : cause, tls, why);
	else
		conn_close(c);
}

static void on_answer(void *arg, void *request, enum http_outcome outcome, int status,
		      struct bytes body)
{
	struct attempt *a = arg;
	struct wan_request *r = request;
	struct wan_answer answer = {.http = status, .body = body};

	if (!a->wan)
		return;
	answer.generation = a->wan->generation;
	switch (outcome) {
	case HTTP_UNSENT:
		if (r->sendings < SENDINGS_MAX) {
			send_again(r);
			conn_touch(&a->conn);
			dispatch(a->wan);
			return;
		}
		answer.result = WAN_UNREAD;
		break;
	case HTTP_BAD_ANSWER:
		answer.result = WAN_BAD_ANSWER;
		break;
	case HTTP_ANSWERED:
		answer.result = WAN_ANSWERED;
		a->wan->failures = 0;
		break;
	}
	struct wan *w = a->wan;

	unlink_request(r);
	conclude(r, &answer);
	if (!w->stopping)
		dispatch(w);
}

static void on_keepalive(uv_timer_t *timer)
{
	struct wan *w = timer->data;
	struct conn *c = &w->attempt->conn;
	uint64_t now = uv_now(w->loop), quiet = now - c->last_read;

	if (w->pinged_at != 0 && c->last_read < w->pinged_at) {
		lose(w, "the server no longer answers");
		return;
	}
	w->pinged_at = 0;
	if (quiet < w->options.keepalive_ms) {
		uv_timer_start(timer, on_keepalive, w->options.keepalive_ms - quiet, 0);
		return;
	}
	if (!http_ping(c->http))
		return;
	conn_touch(c);
	w->pinged_at = now;
	uv_timer_start(timer, on_keepalive,
		       w->options.keepalive_ms < w->options.connect_timeout_ms
			       ? w->options.keepalive_ms
			       : w->options.connect_timeout_ms,
		       0);
}

static int conn_is_up(struct conn *c)
{
	static const struct http_callbacks callbacks = {.answer = on_answer};
	struct attempt *a = c->arg;
	struct wan *w = a->wan;
	struct http_options options = {.side = TLS_CLIENT};
	bool http2 = strcmp(tls_alpn(c->tls), "h2") == 0;
	int r;

	if (!w)
		return -ECANCELED;
	options.path = w->path;
	options.authority = w->authority;
	r = http2 ? http2_new(&options, &callbacks, a, &c->http)
		  : http1_new(&options, &callbacks, a, &c->http);
	if (r < 0)
		return r;
	if (tls_mutual(c->tls)) {
		r = tls_exporter(c->tls, &w->exporter);
		if (r < 0)
			return r;
	}
	uv_timer_stop(&w->patience);
	w->generation++;
	w->up_at = uv_now(w->loop);
	w->pinged_at = 0;
	w->state = (struct wan_state){.up = true,
				      .mutual = tls_mutual(c->tls),
				      .resumed = tls_resumed(c->tls),
				      .http2 = http2};
	uv_timer_start(&w->keepalive, on_keepalive, w->options.keepalive_ms, 0);
	say_state(w);
	if (!w->stopping && w->attempt == a)
		dispatch(w);
	return 0;
}

static void next_address(struct attempt *a);

static void conn_is_closed(struct conn *c)
{
	struct attempt *a = c->arg;

	a->opened = false;
	if (!a->wan)
		free_attempt(a);
	else if (a->next)
		next_address(a);
	else
		go_down(a->wan, a->cause, TLS_CAUSE_NONE, a->why);
}

static const struct conn_callbacks callbacks_of_conn = {
	.up = conn_is_up, .down = conn_is_down, .closed = conn_is_closed};

static enum wan_cause cause_of(int error)
{
	switch (error) {
	case UV_ECONNREFUSED:
		return WAN_CAUSE_REFUSED;
	case UV_ETIMEDOUT:
		return WAN_CAUSE_SILENT;
	case UV_ECONNRESET:
	case UV_EPIPE:
	case UV_EOF:
		return WAN_CAUSE_CUT;
	case UV_ENOMEM:
	case UV_EMFILE:
	case UV_ENFILE:
	case UV_ENOBUFS:
		return WAN_CAUSE_OWN;
	default:
		return WAN_CAUSE_ROUTE;
	}
}

/* Of several addresses the one whose host was reached tells most. */
__attribute__((format(printf, 3, 4))) static void note(struct attempt *a, enum wan_cause cause,
						       const char *format, ...)
{
	va_list args;

	if (a->cause == WAN_CAUSE_REFUSED && cause == WAN_CAUSE_ROUTE)
		return;
	a->cause = cause;
	va_start(args, format);
	vsnprintf(a->why, sizeof(a->why), format, args);
	va_end(args);
}

static void on_connected(uv_connect_t *connect, int status)
{
	struct attempt *a = connect->data;
	struct wan *w = a->wan;
	struct tls *tls;
	int r;

	if (!w || a->conn.closing)
		return;
	if (status < 0) {
		note(a, cause_of(status), "cannot connect to %s port %u: %s", w->host,
		     w->options.port, uv_strerror(status));
		conn_close(&a->conn);
		return;
	}
	r = tls_new(w->options.tls, w->verify_name, &tls);
	if (r == 0)
		r = conn_begin(&a->conn, tls);
	if (r < 0)
		fail_here(w, strerror(-r));
}

static void next_address(struct attempt *a)
{
	struct wan *w = a->wan;
	const struct addrinfo *address = a->next;
	int r;

	a->next = address->ai_next;
	r = conn_init(&a->conn, w->loop, &callbacks_of_conn, a);
	if (r < 0) {
		fail_here(w, uv_strerror(r));
		return;
	}
	a->opened = true;
	a->conn.unread_max = UNREAD_MAX;
	a->connect.data = a;
	r = uv_tcp_connect(&a->connect, &a->conn.tcp, address->ai_addr, on_connected);
	if (r < 0) {
		note(a, cause_of(r), "cannot connect to %s port %u: %s", w->host, w->options.port,
		     uv_strerror(r));
		conn_close(&a->conn);
	}
}

static void on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *addresses)
{
	struct attempt *a = resolve->data;

	a->resolving = false;
	a->addresses = a->next = addresses;
	if (!a->wan) {
		free_attempt(a);
		return;
	}
	if (status < 0 || !addresses) {
		note(a, WAN_CAUSE_RESOLVE, "cannot resolve %s: %s", a->wan->host,
		     status < 0 ? uv_strerror(status) : "no address");
		go_down(a->wan, a->cause, TLS_CAUSE_NONE, a->why);
		return;
	}
	next_address(a);
}

static void on_patience(uv_timer_t *timer)
{
	struct wan *w = timer->data;
	const struct attempt *a = w->attempt;
	enum wan_cause cause = WAN_CAUSE_SILENT;
	const char *what = "did not answer";
	char why[160];

	if (a && a->resolving) {
		cause = WAN_CAUSE_RESOLVE;
		what = "did not resolve";
	} else if (a && a->conn.tls) {
		cause = WAN_CAUSE_MUTE;
		what = "took the connection but did not answer";
	}
	snprintf(why, sizeof(why), "%s port %u %s within %u ms", w->host, w->options.port, what,
		 w->options.connect_timeout_ms);
	go_down(w, cause, TLS_CAUSE_NONE, why);
}

static void begin_attempt(struct wan *w)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
	struct attempt *a = calloc(1, sizeof(*a));
	char port[8];
	int r;

	if (!a) {
		fail_here(w, "out of memory");
		return;
	}
	a->wan = a->home = w;
	a->resolve.data = a;
	w->attempts++;
	w->attempt = a;
	uv_timer_start(&w->patience, on_patience, w->options.connect_timeout_ms, 0);
	snprintf(port, sizeof(port), "%u", w->options.port);
	r = uv_getaddrinfo(w->loop, &a->resolve, on_resolved, w->host, port, &hints);
	if (r < 0) {
		fail_here(w, uv_strerror(r));
		return;
	}
	a->resolving = true;
}

/* Sending */

static void dispatch(struct wan *w)
{
	struct attempt *a = w->attempt;

	if (!w->state.up || !a || a->conn.is_down || a->conn.closing)
		return;
	while (w->waiting.first && w->sent_count < w->options.max_in_flight &&
	       http_room(a->conn.http)) {
		struct wan_request *r = w->waiting.first;
		int result = http_post(a->conn.http, bytes_of(r->body, r->size), r);

		if (result < 0)
			break;
		unlink_request(r);
		r->sent = true;
		r->sendings++;
		list_add(&w->sent, r);
		w->sent_count++;
		conn_touch(&a->conn);
	}
}

/* The answer of r is not wanted any more. false: its connection is of no further use. */
static bool forget(struct wan *w, struct wan_request *r)
{
	if (!r->sent || !w->attempt)
		return true;
	if (!http_forget(w->attempt->conn.http, r))
		return false;
	conn_touch(&w->attempt->conn);
	return true;
}

static uint64_t first_deadline(const struct wan *w)
{
	uint64_t first = UINT64_MAX;

	for (const struct wan_request *r = w->sent.first; r; r = r->next)
		first = r->deadline < first ? r->deadline : first;
	for (const struct wan_request *r = w->waiting.first; r; r = r->next)
		first = r->deadline < first ? r->deadline : first;
	return first;
}

static void on_deadline(uv_timer_t *timer)
{
	struct wan *w = timer->data;
	uint64_t now = uv_now(w->loop);
	struct wan_request *r;

	while ((r = take(w, is_due, now)) != NULL) {
		bool useful = forget(w, r);

		if (!r->sent && !w->state.up)
			conclude_with(r, WAN_DOWN);
		else
			conclude_with(r, r->lost ? WAN_LOST : WAN_DEADLINE);
		if (!useful && w->state.up)
			lose(w, "the server did not answer in time");
		if (w->stopping)
			return;
	}
	w->next_deadline = first_deadline(w);
	if (w->next_deadline != UINT64_MAX)
		uv_timer_start(timer, on_deadline, w->next_deadline - now, 0);
	dispatch(w);
}

/* The interface */

static char *authority_of(const struct wan_options *o)
{
	bool six = strchr(o->host, ':') != NULL;
	size_t size = strlen(o->host) + 16;
	char *text = malloc(size);

	if (text)
		snprintf(text, size, o->port == 443 ? "%s%s%s" : "%s%s%s:%u", six ? "[" : "",
			 o->host, six ? "]" : "", o->port);
	return text;
}

int wan_new(uv_loop_t *loop, const struct wan_options *options,
	    const struct wan_callbacks *callbacks, void *arg, struct wan **out)
{
	struct wan *w = calloc(1, sizeof(*w));
	uv_timer_t *timers[4];

	if (!w)
		return -ENOMEM;
	w->options = *options;
	w->host = strdup(options->host);
	w->verify_name = strdup(options->verify_name ? options->verify_name : options->host);
	w->path = strdup(options->path);
	w->authority = authority_of(options);
	if (!w->host || !w->verify_name || !w->path || !w->authority) {
		free(w->host);
		free(w->verify_name);
		free(w->path);
		free(w->authority);
		free(w);
		return -ENOMEM;
	}
	w->options.tls = tls_context_ref(options->tls);
	w->options.max_in_flight = options->max_in_flight ? options->max_in_flight : 64;
	w->options.max_waiting = options->max_waiting ? options->max_waiting : 1024;
	w->options.connect_timeout_ms =
		options->connect_timeout_ms ? options->connect_timeout_ms : 10000;
	w->options.backoff_min_ms = options->backoff_min_ms ? options->backoff_min_ms : 250;
	w->options.backoff_max_ms = options->backoff_max_ms ? options->backoff_max_ms : 60000;
	w->options.keepalive_ms = options->keepalive_ms ? options->keepalive_ms : 30000;
	w->loop = loop;
	w->callbacks = *callbacks;
	w->arg = arg;
	w->waiting.end = &w->waiting.first;
	w->sent.end = &w->sent.first;
	w->next_deadline = UINT64_MAX;
	timers[0] = &w->retry;
	timers[1] = &w->patience;
	timers[2] = &w->deadlines;
	timers[3] = &w->keepalive;
	for (size_t i = 0; i < 4; i++) {
		uv_timer_init(loop, timers[i]);
		timers[i]->data = w;
		w->open++;
	}
	*out = w;
	return 0;
}

void wan_start(struct wan *w)
{
	if (w->started || w->stopping)
		return;
	w->started = true;
	begin_attempt(w);
}

void wan_stop(struct wan *w)
{
	struct wan_request *r;

	if (w->stopping)
		return;
	w->stopping = true;
	if (w->attempt && w->state.up)
		conn_goodbye(&w->attempt->conn);
	w->state.up = false;
	abandon(w);
	while ((r = take(w, is_any, 0)) != NULL)
		conclude_with(r, WAN_CANCELLED);
	uv_close((uv_handle_t *)&w->retry, on_timer_closed);
	uv_close((uv_handle_t *)&w->patience, on_timer_closed);
	uv_close((uv_handle_t *)&w->deadlines, on_timer_closed);
	uv_close((uv_handle_t *)&w->keepalive, on_timer_closed);
}

const struct wan_state *wan_state(const struct wan *w)
{
	return &w->state;
}

struct secret *wan_exporter(const struct wan *w)
{
	return w->state.up ? w->exporter : NULL;
}

uint64_t wan_generation(const struct wan *w)
{
	return w->generation;
}

int wan_post(struct wan *w, struct bytes body, unsigned deadline_ms, uint64_t pin_generation,
	     wan_answer_fn *answer, void *arg, struct wan_request **out)
{
	struct wan_request *r;

	if (w->stopping)
		return -ENOTCONN;
	if (pin_generation != WAN_UNPINNED && (!w->state.up || pin_generation != w->generation))
		return -ENOTCONN;
	if (w->waiting_count >= w->options.max_waiting)
		return -EBUSY;
	r = calloc(1, sizeof(*r));
	if (r)
		r->body = malloc(body.size ? body.size : 1);
	if (!r || !r->body) {
		free(r);
		return -ENOMEM;
	}
	if (body.size > 0)
		memcpy(r->body, body.data, body.size);
	r->size = body.size;
	r->wan = w;
	r->deadline = uv_now(w->loop) + deadline_ms;
	r->pin = pin_generation;
	r->answer = answer;
	r->arg = arg;
	list_add(&w->waiting, r);
	w->waiting_count++;
	if (r->deadline < w->next_deadline) {
		w->next_deadline = r->deadline;
		uv_timer_start(&w->deadlines, on_deadline, deadline_ms, 0);
	}
	if (out)
		*out = r;
	dispatch(w);
	return 0;
}

static void on_given_up(uv_timer_t *timer)
{
	lose(timer->data, "a request was given up while it was under way");
}

void wan_cancel(struct wan_request *r)
{
	struct wan *w = r->wan;
	bool useful = forget(w, r);

	unlink_request(r);
	free_request(r);
	/* Others get theirs back when the connection goes: from the loop. It is of no more use
	 * until then. */
	if (!useful && w->state.up)
		uv_timer_start(&w->keepalive, on_given_up, 0, 0);
}
