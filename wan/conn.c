#include "wan/conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/sockios.h>

static void pump(struct conn *c);
static int read_on(struct conn *c);

static void on_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;

	if (--c->open > 0)
		return;
	http_free(c->http);
	tls_free(c->tls);
	buffer_free(&c->sending);
	c->http = NULL;
	c->tls = NULL;
	c->callbacks.closed(c);
}

int conn_init(struct conn *c, uv_loop_t *loop, const struct conn_callbacks *callbacks, void *arg)
{
	int r;

	*c = (struct conn){.callbacks = *callbacks, .arg = arg};
	r = uv_tcp_init(loop, &c->tcp);
	if (r < 0)
		return r;
	uv_idle_init(loop, &c->turn);
	c->tcp.data = c->turn.data = c;
	c->open = 2;
	return 0;
}

void conn_close(struct conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	uv_close((uv_handle_t *)&c->tcp, on_closed);
	uv_close((uv_handle_t *)&c->turn, on_closed);
}

static void fail(struct conn *c, enum tls_cause cause, const char *why)
{
	if (c->closing || c->is_down)
		return;
	c->is_down = true;
	c->reading = false;
	uv_read_stop((uv_stream_t *)&c->tcp);
	uv_idle_stop(&c->turn);
	c->callbacks.down(c, cause, why);
}

static void on_written(uv_write_t *write, int status)
{
	struct conn *c = write->data;

	c->writing = false;
	buffer_take(&c->sending, buffer_bytes(&c->sending).size);
	if (c->closing || c->is_down)
		return;
	if (status < 0)
		fail(c, TLS_CAUSE_NONE, uv_strerror(status));
	else
		pump(c);
}

static uv_buf_t uv_bytes(struct bytes b)
{
	union {
		const uint8_t *in;
		char *out;
	} cast = {.in = b.data}; /* libuv only reads it */

	return uv_buf_init(cast.out, (unsigned)b.size);
}

/* What TLS has for the socket: at once as far as it goes, the rest in the background. */
static int send_output(struct conn *c)
{
	struct bytes out = tls_output(c->tls);
	uv_buf_t buf;
	int r;

	if (out.size == 0 || c->writing)
		return 0;
	buf = uv_bytes(out);
	r = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
	if (r > 0)
		tls_output_taken(c->tls, (size_t)r);
	else if (r < 0 && r != UV_EAGAIN)
		return r;
	out = tls_output(c->tls);
	if (out.size == 0)
		return 0;
	r = buffer_append(&c->sending, out);
	if (r < 0)
		return r;
	tls_output_taken(c->tls, out.size);
	buf = uv_bytes(buffer_bytes(&c->sending));
	c->write.data = c;
	r = uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written);
	if (r == 0)
		c->writing = true;
	return r;
}

static void come_up(struct conn *c)
{
	int r;

	if (c->is_up || c->closing)
		return;
	c->is_up = true;
	r = c->callbacks.up(c);
	if (r < 0)
		c->http_result = r;
}

static void on_plain(void *arg, struct bytes plain)
{
	struct conn *c = arg;

	come_up(c);
	if (c->http && c->http_result == 0 && !c->closing)
		c->http_result = http_feed(c->http, plain);
}

static void on_shut(uv_shutdown_t *shutdown, int status)
{
	(void)shutdown;
	(void)status;
}

/* HTTP has nothing more to say, and all of it is sent. */
static void finish(struct conn *c)
{
	if (c->http_result != HTTP_BROKEN && !http_done(c->http))
		return;
	if (c->http_result == 0)
		c->http_result = http_feed(c->http, BYTES_NONE);
	if (!c->lingers) {
		fail(c, TLS_CAUSE_NONE,
		     c->http_result == HTTP_BROKEN ? "the peer breaks the rules of HTTP"
						   : "the peer ends the connection");
		return;
	}
	c->shut = true;
	uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shut);
}

/*
 * In TLS 1.3 the client is done before the server has looked at its certificate, so that a refusal
 * of it comes over a connection that is up.
 */
static enum tls_cause refusal(const struct conn *c)
{
	enum tls_cause cause = tls_cause(c->tls);

	if (!c->is_up || cause == TLS_CAUSE_OWN_REFUSED || cause == TLS_CAUSE_OWN_MISSING)
		return cause;
	return TLS_CAUSE_NONE;
}

/* One round: input up to HTTP, HTTP's output down to the socket. */
static void pump_once(struct conn *c)
{
	int step = tls_step(c->tls, on_plain, c);
	int r = 0;

	if (tls_established(c->tls) && step == 0)
		come_up(c);
	if (c->http && !c->closing && step == 0) {
		if (c->http_result == 0)
			c->http_result = http_feed(c->http, BYTES_NONE);
		if (!c->writing && !c->closing) {
			r = http_flush(c->http, c->tls);
			if (r == 0 && (c->http_result == HTTP_BROKEN || http_done(c->http)))
				tls_close(c->tls);
			if (r == 0 && !c->closing)
				step = tls_step(c->tls, on_plain, c);
		}
	}
	if (c->closing)
		return;
	if (r == 0)
		r = send_output(c);
	if (step < 0)
		fail(c, TLS_CAUSE_NONE, strerror(-step));
	else if (step == TLS_REFUSED)
		fail(c, refusal(c), tls_error(c->tls));
	else if (step == TLS_CLOSED)
		fail(c, TLS_CAUSE_NONE, tls_error(c->tls));
	else if (r < 0)
		fail(c, TLS_CAUSE_NONE, uv_strerror(r));
	else if (c->http_result < 0)
		fail(c, TLS_CAUSE_NONE,
		     c->http_result == -EPROTONOSUPPORT ? HTTP1_LEFT_OUT
							: strerror(-c->http_result));
	else if (c->http && !c->writing && !c->shut)
		finish(c);
	if (!c->closing && !c->is_down && c->http && http_held(c->http) && !c->writing)
		conn_touch(c);
	if (!c->closing && !c->is_down) {
		r = read_on(c);
		if (r < 0)
			fail(c, TLS_CAUSE_NONE, uv_strerror(r));
	}
}

static void pump(struct conn *c)
{
	if (c->pumping || c->closing || c->is_down || !c->tls)
		return;
	c->pumping = true;
	pump_once(c);
	c->pumping = false;
}

static void on_turn(uv_idle_t *turn)
{
	struct conn *c = turn->data;

	uv_idle_stop(turn);
	pump(c);
}

void conn_touch(struct conn *c)
{
	if (!c->closing && !c->is_down)
		uv_idle_start(&c->turn, on_turn);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	static char room[16384];

	(void)handle;
	(void)suggested;
	*buf = uv_buf_init(room, sizeof(room));
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
	struct conn *c = stream->data;
	int r;

	if (c->closing || c->is_down)
		return;
	if (size < 0) {
		fail(c, TLS_CAUSE_NONE,
		     size == UV_EOF ? "the peer closed the connection" : uv_strerror((int)size));
		return;
	}
	if (size == 0)
		return;
	c->last_read = uv_now(stream->loop);
	if (c->shut)
		return;
	r = tls_feed(c->tls, bytes_of(buf->base, (size_t)size));
	if (r < 0)
		fail(c, TLS_CAUSE_NONE, strerror(-r));
	else
		pump(c);
}

/* Whether more is read: not while the peer leaves too much of what it was sent. */
static int read_on(struct conn *c)
{
	size_t unread = buffer_bytes(&c->sending).size + tls_output(c->tls).size;
	bool held = c->http && http_held(c->http);

	if (c->reading == (unread <= c->unread_max && !held))
		return 0;
	c->reading = !c->reading;
	if (c->reading)
		return uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read);
	return uv_read_stop((uv_stream_t *)&c->tcp);
}

int conn_begin(struct conn *c, struct tls *tls)
{
	int r;

	c->tls = tls;
	c->last_read = uv_now(c->tcp.loop);
	uv_tcp_nodelay(&c->tcp, 1);
	r = read_on(c);
	if (r == 0)
		conn_touch(c);
	return r;
}

static void ignore_plain(void *arg, struct bytes plain)
{
	(void)arg;
	(void)plain;
}

void conn_goodbye(struct conn *c)
{
	if (c->closing || c->is_down || !c->http || c->pumping || c->shut)
		return;
	http_close(c->http);
	if (http_flush(c->http, c->tls) < 0)
		return;
	tls_close(c->tls);
	if (tls_step(c->tls, ignore_plain, NULL) == 0 && !c->writing) {
		uv_buf_t buf = uv_bytes(tls_output(c->tls));

		if (buf.len > 0)
			uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
	}
}

void conn_drop(struct conn *c)
{
	const struct linger none = {.l_onoff = 1, .l_linger = 0};
	uv_os_fd_t fd;
	int left = 0;

	if (!c->closing && uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0 &&
	    ioctl(fd, SIOCOUTQ, &left) == 0 && left > 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	conn_goodbye(c);
	conn_close(c);
}
