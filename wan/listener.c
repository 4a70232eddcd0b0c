#include "wan/listener.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/message.h"
#include "wan/conn.h"

#define SWEEP_MS  500U
#define LINGER_MS 2000U

/* What requests may look at even when their connection is gone. */
struct peer {
	unsigned refs;
	struct listener_peer is;
};

struct listener_request {
	struct peer *peer;
	struct guest *guest; /* NULL when its connection is gone */
	struct listener_request *next, **link;
	int32_t stream;
};

/* One accepted connection. */
struct guest {
	struct conn conn;
	struct listener *listener;
	struct guest *next, **link;
	struct listener_request *requests;
	unsigned request_count;
	struct peer *peer;
	uint64_t since; /* accepted, or the last request ended */
	uint64_t shut_at;
	bool retired; /* its credentials were taken under a context that is no more */
};

struct listener {
	uv_tcp_t tcp;
	uv_timer_t sweep;
	struct listener_callbacks callbacks;
	void *arg;
	struct listener_options options;
	char *path;
	struct tls_context *tls;
	struct guest *guests;
	unsigned guest_count;
	unsigned open; /* handles and guests */
	bool stopping;
	bool missed; /* a connection waits to be accepted */
};

static void release(struct listener *l)
{
	struct listener_callbacks callbacks = l->callbacks;
	void *arg = l->arg;

	if (--l->open > 0)
		return;
	tls_context_unref(l->tls);
	free(l->path);
	free(l);
	if (callbacks.stopped)
		callbacks.stopped(arg);
}

static void on_closed(uv_handle_t *handle)
{
	release(handle->data);
}

static void peer_unref(struct peer *p)
{
	if (!p || --p->refs > 0)
		return;
	secret_unref(p->is.exporter);
	free(p->is.state);
	free(p);
}

static void request_unlink(struct guest *g, struct listener_request *r)
{
	*r->link = r->next;
	if (r->next)
		r->next->link = r->link;
	g->request_count--;
	r->guest = NULL;
}

static void guest_closed(struct conn *c)
{
	struct guest *g = c->arg;
	struct listener *l = g->listener;

	*g->link = g->next;
	if (g->next)
		g->next->link = g->link;
	l->guest_count--;
	peer_unref(g->peer);
	free(g);
	release(l);
}

static void guest_close(struct guest *g)
{
	while (g->requests)
		request_unlink(g, g->requests);
	conn_close(&g->conn);
}

/* One that does nothing, or does not take what it was sent. */
static void guest_drop(struct guest *g)
{
	conn_drop(&g->conn);
	guest_close(g);
}

static void on_request(void *arg, int32_t stream, struct bytes body, struct bytes authorization)
{
	struct guest *g = arg;
	struct listener *l = g->listener;
	struct listener_request *r;

	if (g->conn.closing)
		return;
	r = g->request_count < 2 * l->options.max_streams ? calloc(1, sizeof(*r)) : NULL;
	if (!r) {
		http_answer(g->conn.http, stream, 503, "text/plain", bytes_text("too busy\n"),
			    NULL);
		return;
	}
	r->guest = g;
	r->peer = g->peer;
	r->peer->refs++;
	r->stream = stream;
	r->next = g->requests;
	r->link = &g->requests;
	if (r->next)
		r->next->link = &r->next;
	g->requests = r;
	g->request_count++;
	l->callbacks.request(l->arg, r, body, authorization, &r->peer->is);
}

static int guest_up(struct conn *c)
{
	static const struct http_callbacks callbacks = {.request = on_request};
	struct guest *g = c->arg;
	struct listener *l = g->listener;
	struct http_options options = {
		.side = TLS_SERVER, .path = l->path, .max_streams = l->options.max_streams};
	int r;

	g->peer = calloc(1, sizeof(*g->peer));
	if (!g->peer)
		return -ENOMEM;
	g->peer->refs = 1;
	g->peer->is = (struct listener_peer){.auth = tls_peer_auth(c->tls),
					     .mutual = tls_mutual(c->tls),
					     .entity = *tls_peer_entity(c->tls)};
	if (l->options.state_size > 0) {
		g->peer->is.state = calloc(1, l->options.state_size);
		if (!g->peer->is.state)
			return -ENOMEM;
	}
	if (g->peer->is.mutual) {
		r = tls_exporter(c->tls, &g->peer->is.exporter);
		if (r < 0)
			return r;
	}
	g->since = uv_now(c->tcp.loop);
	if (strcmp(tls_alpn(c->tls), "h2") == 0)
		return http2_new(&options, &callbacks, g, &c->http);
	return http1_new(&options, &callbacks, g, &c->http);
}

static void guest_down(struct conn *c, enum tls_cause cause, const char *why)
{
	(void)cause;
	(void)why;
	guest_close(c->arg);
}

static const struct conn_callbacks guest_callbacks = {
	.up = guest_up, .down = guest_down, .closed = guest_closed};

static void on_connection(uv_stream_t *stream, int status)
{
	struct listener *l = stream->data;
	struct guest *g;
	struct tls *tls;

	if (status < 0 || l->stopping)
		return;
	g = calloc(1, sizeof(*g));
	l->missed = !g;
	if (!g)
		return;
	if (conn_init(&g->conn, stream->loop, &guest_callbacks, g) < 0) {
		free(g);
		return;
	}
	g->conn.lingers = true;
	g->listener = l;
	g->since = uv_now(stream->loop);
	g->next = l->guests;
	g->link = &l->guests;
	if (g->next)
		g->next->link = &g->next;
	l->guests = g;
	l->guest_count++;
	l->open++;
	if (uv_accept(stream, (uv_stream_t *)&g->conn.tcp) < 0 ||
	    l->guest_count > l->options.max_connections || tls_new(l->tls, NULL, &tls) < 0 ||
	    conn_begin(&g->conn, tls) < 0)
		guest_close(g);
}

/* Connections that do nothing: a handshake that hangs, no request for long, a peer that lingers. */
static void on_sweep(uv_timer_t *timer)
{
	struct listener *l = timer->data;
	uint64_t now = uv_now(timer->loop);
	struct guest *next;

	if (l->missed)
		on_connection((uv_stream_t *)&l->tcp, 0);
	for (struct guest *g = l->guests; g; g = next) {
		next = g->next;
		if (g->conn.closing)
			continue;
		if (g->conn.shut) {
			if (g->shut_at == 0)
				g->shut_at = now;
			else if (now - g->shut_at > LINGER_MS)
				guest_drop(g);
			continue;
		}
		if (g->requests)
			continue;
		if (g->retired && !g->conn.writing) {
			conn_goodbye(&g->conn);
			guest_close(g);
			continue;
		}
		if (!g->conn.is_up ? now - g->since > l->options.handshake_ms
				   : now - g->since > l->options.idle_ms)
			guest_drop(g);
	}
}

static int open_socket(struct listener *l, uv_loop_t *loop, char *why, size_t why_size)
{
	struct sockaddr_storage address;
	int r;

	if (uv_ip4_addr(l->options.address, l->options.port, (struct sockaddr_in *)&address) < 0 &&
	    uv_ip6_addr(l->options.address, l->options.port, (struct sockaddr_in6 *)&address) < 0) {
		snprintf(why, why_size, "%s is not an IP address", l->options.address);
		return -EINVAL;
	}
	r = uv_tcp_init(loop, &l->tcp);
	if (r == 0) {
		l->tcp.data = l;
		uv_timer_init(loop, &l->sweep);
		l->sweep.data = l;
		l->open = 2;
		r = uv_tcp_bind(&l->tcp, (const struct sockaddr *)&address, 0);
	}
	if (r == 0)
		r = uv_listen((uv_stream_t *)&l->tcp, 511, on_connection);
	if (r == 0)
		r = uv_timer_start(&l->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	if (r < 0)
		snprintf(why, why_size, "cannot listen on %s port %u: %s", l->options.address,
			 l->options.port, uv_strerror(r));
	return r;
}

int listener_new(uv_loop_t *loop, const struct listener_options *options,
		 const struct listener_callbacks *callbacks, void *arg, struct listener **out,
		 char *why, size_t why_size)
{
	struct listener *l = calloc(1, sizeof(*l));
	int r;

	if (l)
		l->path = strdup(options->path);
	if (!l || !l->path) {
		free(l);
		snprintf(why, why_size, "out of memory");
		return -ENOMEM;
	}
	l->options = *options;
	l->callbacks = *callbacks;
	l->arg = arg;
	if (l->options.max_connections == 0)
		l->options.max_connections = 1024;
	if (l->options.max_streams == 0)
		l->options.max_streams = 128;
	if (l->options.handshake_ms == 0)
		l->options.handshake_ms = 10000;
	if (l->options.idle_ms == 0)
		l->options.idle_ms = 120000;
	l->tls = tls_context_ref(options->tls);
	r = open_socket(l, loop, why, why_size);
	if (r < 0) {
		l->callbacks = (struct listener_callbacks){0};
		if (l->open == 0) {
			l->open = 1;
			release(l);
		} else {
			listener_stop(l);
		}
		return r;
	}
	*out = l;
	return 0;
}

uint16_t listener_port(const struct listener *l)
{
	struct sockaddr_storage address;
	int size = sizeof(address);

	if (uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&address, &size) < 0)
		return 0;
	if (address.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
	return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

void listener_set_tls(struct listener *l, struct tls_context *tls)
{
	tls_context_ref(tls);
	tls_context_unref(l->tls);
	l->tls = tls;
	for (struct guest *g = l->guests; g; g = g->next)
		g->retired = true;
}

void listener_stop(struct listener *l)
{
	if (l->stopping)
		return;
	l->stopping = true;
	for (struct guest *g = l->guests; g; g = g->next) {
		conn_goodbye(&g->conn);
		guest_close(g);
	}
	uv_close((uv_handle_t *)&l->tcp, on_closed);
	uv_close((uv_handle_t *)&l->sweep, on_closed);
}

void listener_answer(struct listener_request *r, int http, struct bytes body, const char *challenge)
{
	struct guest *g = r->guest;

	if (g) {
		request_unlink(g, r);
		g->since = uv_now(g->conn.tcp.loop);
		if (http_answer(g->conn.http, r->stream, http, WAN_CONTENT_TYPE, body, challenge) <
		    0)
			guest_close(g);
		else
			conn_touch(&g->conn);
	}
	peer_unref(r->peer);
	free(r);
}
