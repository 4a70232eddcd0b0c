#include "wan/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wan/conn.h"

struct wan_probe {
	uv_loop_t *loop;
	char *host, *verify_name, *path, *authority;
	uint16_t port;
	struct tls_context *tls;
	wan_probe_done *done; /* NULL: abandoned */
	void *arg;
	uv_timer_t timer;
	uv_getaddrinfo_t resolve;
	uv_connect_t connect;
	struct addrinfo *addresses;
	const struct addrinfo *next;
	struct conn conn;
	uint64_t since;  /* when the present stage began */
	unsigned opened; /* the timer, the resolution, the connection */
	bool ending, resolving, conn_open;
	struct wan_probe_result result;
};

static void probe_free(struct wan_probe *p)
{
	if (p->addresses)
		uv_freeaddrinfo(p->addresses);
	tls_context_unref(p->tls);
	free(p->host);
	free(p->verify_name);
	free(p->path);
	free(p->authority);
	free(p);
}

static void one_closed(struct wan_probe *p)
{
	if (--p->opened > 0)
		return;
	if (p->done)
		p->done(p->arg, &p->result);
	probe_free(p);
}

static void timer_closed(uv_handle_t *handle)
{
	one_closed(handle->data);
}

static void end(struct wan_probe *p, const char *why)
{
	if (p->ending)
		return;
	p->ending = true;
	if (why != p->result.why)
		(void)snprintf(p->result.why, sizeof(p->result.why), "%s", why);
	uv_close((uv_handle_t *)&p->timer, timer_closed);
	if (p->resolving)
		(void)uv_cancel((uv_req_t *)&p->resolve);
	if (p->conn_open)
		conn_close(&p->conn);
}

/* Milliseconds since the last stage, which is over. */
static unsigned stage(struct wan_probe *p)
{
	uint64_t t, was = p->since;

	uv_update_time(p->loop);
	t = uv_now(p->loop);
	p->since = t;
	return (unsigned)(t - was);
}

static void on_answer(void *arg, void *request, enum http_outcome outcome, int status,
		      struct bytes body)
{
	struct wan_probe *p = arg;

	(void)request;
	(void)body;
	p->result.http = status;
	p->result.answered = status != 0;
	p->result.answer_ms = stage(p);
	if (outcome == HTTP_UNSENT)
		p->result.answered = false;
	end(p, p->result.answered ? "" : "the server did not look at the request");
}

static void note_tls(struct wan_probe *p, const struct tls *tls)
{
	struct wan_probe_result *r = &p->result;

	r->cause = tls_cause(tls);
	r->has_validity = tls_peer_validity(tls, &r->from, &r->until);
}

static int conn_is_up(struct conn *c)
{
	static const struct http_callbacks callbacks = {.answer = on_answer};
	struct wan_probe *p = c->arg;
	struct wan_probe_result *r = &p->result;
	const struct http_options options = {
		.side = TLS_CLIENT, .path = p->path, .authority = p->authority};
	int result;

	r->established = true;
	r->handshake_ms = stage(p);
	r->mutual = tls_mutual(c->tls);
	(void)snprintf(r->version, sizeof(r->version), "%s", tls_version(c->tls));
	(void)snprintf(r->alpn, sizeof(r->alpn), "%s", tls_alpn(c->tls));
	note_tls(p, c->tls);
	result = strcmp(r->alpn, "h2") == 0 ? http2_new(&options, &callbacks, p, &c->http)
					    : http1_new(&options, &callbacks, p, &c->http);
	/* Without a body it asks for a digest challenge, which is nothing to a server. */
	if (result == 0)
		result = http_post(c->http, BYTES_NONE, p);
	if (result == 0)
		conn_touch(c);
	return result;
}

static void conn_is_down(struct conn *c, enum tls_cause cause, const char *why)
{
	struct wan_probe *p = c->arg;

	(void)cause;
	if (!p->result.established)
		note_tls(p, c->tls);
	end(p, why);
}

static void next_address(struct wan_probe *p);

static void conn_is_closed(struct conn *c)
{
	struct wan_probe *p = c->arg;

	p->conn_open = false;
	if (!p->ending && p->next)
		next_address(p);
	else
		end(p, p->result.why);
	one_closed(p);
}

static const struct conn_callbacks callbacks_of_conn = {
	.up = conn_is_up, .down = conn_is_down, .closed = conn_is_closed};

static void on_connected(uv_connect_t *connect, int status)
{
	struct wan_probe *p = connect->data;
	struct tls *tls;
	int r;

	if (p->ending || p->conn.closing)
		return;
	if (status < 0) {
		(void)snprintf(p->result.why, sizeof(p->result.why), "%s", uv_strerror(status));
		conn_close(&p->conn);
		return;
	}
	p->result.connected = true;
	p->result.connect_ms = stage(p);
	p->next = NULL;
	r = tls_new(p->tls, p->verify_name, &tls);
	if (r == 0)
		r = conn_begin(&p->conn, tls);
	if (r < 0)
		end(p, strerror(-r));
}

static void next_address(struct wan_probe *p)
{
	const struct addrinfo *address = p->next;
	int r = conn_init(&p->conn, p->loop, &callbacks_of_conn, p);

	p->next = address->ai_next;
	if (r < 0) {
		end(p, uv_strerror(r));
		return;
	}
	p->conn_open = true;
	p->opened++;
	p->connect.data = p;
	r = uv_tcp_connect(&p->connect, &p->conn.tcp, address->ai_addr, on_connected);
	if (r < 0) {
		(void)snprintf(p->result.why, sizeof(p->result.why), "%s", uv_strerror(r));
		conn_close(&p->conn);
	}
}

static void on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *addresses)
{
	struct wan_probe *p = resolve->data;

	p->resolving = false;
	p->addresses = addresses;
	p->next = addresses;
	if (!p->ending && (status < 0 || !addresses)) {
		end(p, status < 0 ? uv_strerror(status) : "no address");
	} else if (!p->ending) {
		p->result.resolved = true;
		p->result.resolve_ms = stage(p);
		for (const struct addrinfo *a = addresses; a; a = a->ai_next)
			p->result.addresses++;
		next_address(p);
	}
	one_closed(p);
}

static void on_deadline(uv_timer_t *timer)
{
	end(timer->data, "no answer in time");
}

static char *authority_of(const char *host, uint16_t port)
{
	bool six = strchr(host, ':') != NULL;
	size_t size = strlen(host) + 16;
	char *text = malloc(size);

	if (text)
		(void)snprintf(text, size, "%s%s%s:%u", six ? "[" : "", host, six ? "]" : "", port);
	return text;
}

int wan_probe_start(uv_loop_t *loop, const struct wan_probe_options *options, unsigned deadline_ms,
		    wan_probe_done *done, void *arg, struct wan_probe **out)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
	struct wan_probe *p = calloc(1, sizeof(*p));
	char port[8];
	int r;

	if (!p)
		return -ENOMEM;
	p->loop = loop;
	p->host = strdup(options->host);
	p->verify_name = strdup(options->verify_name ? options->verify_name : options->host);
	p->path = strdup(options->path);
	p->authority = authority_of(options->host, options->port);
	if (!p->host || !p->verify_name || !p->path || !p->authority) {
		probe_free(p);
		return -ENOMEM;
	}
	p->port = options->port;
	p->tls = tls_context_ref(options->tls);
	p->done = done;
	p->arg = arg;
	p->resolve.data = p;
	(void)snprintf(port, sizeof(port), "%u", p->port);
	r = uv_getaddrinfo(loop, &p->resolve, on_resolved, p->host, port, &hints);
	if (r < 0) {
		probe_free(p);
		return r;
	}
	(void)uv_timer_init(loop, &p->timer);
	p->timer.data = p;
	(void)uv_timer_start(&p->timer, on_deadline, deadline_ms, 0);
	p->opened = 2;
	p->resolving = true;
	p->since = uv_now(loop);
	*out = p;
	return 0;
}

void wan_probe_abandon(struct wan_probe *p)
{
	p->done = NULL;
	end(p, "");
}
