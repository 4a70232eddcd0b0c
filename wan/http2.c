#include "wan/http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "protocol/message.h"
#include "wan/buffer.h"
#include "wan/listener.h"

/* Streams that a peer may cancel beyond those it lets be answered. */
#define RESETS_ALLOWED 200U
/* Server: what requests that are not complete may hold together; one more is to come again. */
#define BODIES_MAX     (32U * MESSAGE_MAX_SIZE)

struct stream {
	struct stream *next, **link;
	int32_t id;
	struct buffer out;
	struct buffer in;
	uint64_t received;

	struct http_head head; /* server */
	int refused;
	bool answered;

	void *request; /* client; NULL when forgotten */
	int status;
	bool type_is_ours;
	bool ended;
};

struct http2 {
	struct http base;
	nghttp2_session *session;
	struct stream *streams;
	unsigned resets, answers;
	bool out_of_memory;
	bool closing;
	bool goaway; /* the peer's has come */
};

static struct http2 *of(struct http *h)
{
	return (struct http2 *)(void *)h;
}

static const struct http2 *of_const(const struct http *h)
{
	return (const struct http2 *)(const void *)h;
}

static struct stream *stream_new(struct http2 *h, int32_t id)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s) {
		h->out_of_memory = true;
		return NULL;
	}
	s->id = id;
	s->next = h->streams;
	s->link = &h->streams;
	if (s->next)
		s->next->link = &s->next;
	h->streams = s;
	return s;
}

static void stream_release(struct stream *s)
{
	buffer_free(&s->in);
	buffer_free(&s->out);
	http_head_clear(&s->head);
	free(s);
}

static void stream_free(struct stream *s)
{
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	stream_release(s);
}

/* nghttp2 copies fields and only reads them; its type does not say so. */
static uint8_t *field_text(const char *text)
{
	union {
		const char *in;
		uint8_t *out;
	} cast = {.in = text};

	return cast.out;
}

static nghttp2_nv field(const char *name, const char *value)
{
	return (nghttp2_nv){.name = field_text(name),
			    .value = field_text(value),
			    .namelen = strlen(name),
			    .valuelen = strlen(value)};
}

static ssize_t read_out(nghttp2_session *session, int32_t id, uint8_t *buf, size_t size,
			uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct stream *s = source->ptr;
	struct bytes left = buffer_bytes(&s->out);
	size_t n = left.size < size ? left.size : size;

	(void)session;
	(void)id;
	(void)arg;
	if (n > 0)
		memcpy(buf, left.data, n);
	buffer_take(&s->out, n);
	if (n == left.size)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

/* Server */

static int respond(struct http2 *h, struct stream *s, int status, const char *content_type,
		   struct bytes body, const char *challenge)
{
	nghttp2_data_provider provider = {.source.ptr = s, .read_callback = read_out};
	char status_text[16], length[24];
	nghttp2_nv fields[5];
	size_t n = 0;

	if (s->answered)
		return 0;
	snprintf(status_text, sizeof(status_text), "%d", status);
	snprintf(length, sizeof(length), "%zu", body.size);
	fields[n++] = field(":status", status_text);
	if (body.size > 0)
		fields[n++] = field("content-type", content_type);
	fields[n++] = field("content-length", length);
	if (challenge)
		fields[n++] = field("www-authenticate", challenge);
	if (status == 405)
		fields[n++] = field("allow", "POST");
	if (buffer_append(&s->out, body) < 0)
		return -ENOMEM;
	s->answered = true;
	h->answers++;
	return nghttp2_submit_response(h->session, s->id, fields, n, &provider) == 0 ? 0 : -ENOMEM;
}

static int refuse(struct http2 *h, struct stream *s)
{
	return respond(h, s, s->refused, "text/plain", bytes_text(http_status_text(s->refused)),
		       NULL);
}

static int request_head(struct http2 *h, struct stream *s, bool more)
{
	nghttp2_nv go_on = field(":status", "100");

	s->refused = http_head_refuse(&s->head);
	if (s->refused)
		return s->head.expect || s->head.length > HTTP_DRAIN_MAX ? refuse(h, s) : 0;
	if (more && s->head.expect &&
	    nghttp2_submit_headers(h->session, NGHTTP2_FLAG_NONE, s->id, NULL, &go_on, 1, NULL) !=
		    0)
		return -ENOMEM;
	return 0;
}

static int request_complete(struct http2 *h, struct stream *s)
{
	struct bytes body = buffer_bytes(&s->in);

	if (s->refused)
		return refuse(h, s);
	h->base.callbacks.request(h->base.arg, s->id, body, bytes_text(s->head.authorization));
	buffer_free(&s->in);
	return 0;
}

/* nghttp2's callbacks */

static int result_of(struct http2 *h, int r)
{
	if (r == 0)
		return 0;
	h->out_of_memory = true;
	return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct http2 *h = arg;
	struct stream *s;

	if (h->base.options.side != TLS_SERVER || frame->hd.type != NGHTTP2_HEADERS ||
	    frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	s = stream_new(h, frame->hd.stream_id);
	if (!s)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	return nghttp2_session_set_stream_user_data(session, s->id, s);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
		     void *arg)
{
	struct http2 *h = arg;
	struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	struct bytes n = bytes_of(name, name_size), v = bytes_of(value, value_size);

	(void)flags;
	if (!s || frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	if (h->base.options.side == TLS_CLIENT) {
		if (bytes_equal(n, bytes_text(":status"))) {
			s->status = 0;
			for (size_t i = 0; i < v.size && i < 3; i++)
				s->status = s->status * 10 + (v.data[i] - '0');
		} else if (bytes_equal(n, bytes_text("content-type"))) {
			s->type_is_ours = http_is_our_type(v);
		}
		return 0;
	}
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	if (bytes_equal(n, bytes_text(":method")))
		s->head.post = bytes_equal(v, bytes_text("POST"));
	else if (bytes_equal(n, bytes_text(":path")))
		s->head.path = bytes_equal(v, bytes_text(h->base.options.path));
	else
		return result_of(h, http_head_field(&s->head, n, v));
	return 0;
}

/* What requests that are not complete hold together. */
static size_t bodies(const struct http2 *h)
{
	size_t size = 0;

	for (const struct stream *s = h->streams; s; s = s->next)
		size += buffer_bytes(&s->in).size;
	return size;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t size, void *arg)
{
	struct http2 *h = arg;
	struct stream *s = nghttp2_session_get_stream_user_data(session, id);

	(void)flags;
	if (!s)
		return 0;
	s->received += size;
	if (h->base.options.side == TLS_SERVER && s->received > HTTP_DRAIN_MAX) {
		s->refused = s->refused ? s->refused : 413;
		if (s->answered)
			return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id,
							 NGHTTP2_NO_ERROR);
		return result_of(h, refuse(h, s));
	}
	if (s->refused)
		return 0;
	if (s->received > MESSAGE_MAX_SIZE) {
		buffer_free(&s->in);
		s->refused = 413;
		if (h->base.options.side == TLS_SERVER)
			return 0;
		return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
	}
	if (h->base.options.side == TLS_SERVER && bodies(h) + size > BODIES_MAX) {
		buffer_free(&s->in);
		s->refused = 503;
		s->answered = true;
		return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id,
						 NGHTTP2_REFUSED_STREAM);
	}
	return result_of(h, buffer_append(&s->in, bytes_of(data, size)));
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct http2 *h = arg;
	struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	int r = 0;

	if (frame->hd.type == NGHTTP2_GOAWAY)
		h->goaway = true;
	if (!s || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
		return 0;
	if (h->base.options.side == TLS_CLIENT) {
		s->ended = s->ended || end;
		return 0;
	}
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		r = request_head(h, s, !end);
	if (r == 0 && end)
		r = request_complete(h, s);
	return result_of(h, r);
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
	struct http2 *h = arg;
	struct stream *s = nghttp2_session_get_stream_user_data(session, id);

	if (!s)
		return 0;
	if (h->base.options.side == TLS_SERVER) {
		if (!s->answered)
			h->resets++;
	} else if (s->request) {
		struct bytes body = buffer_bytes(&s->in);
		bool good = s->ended && !s->refused && s->type_is_ours && body.size > 0;
		enum http_outcome outcome = good ? HTTP_ANSWERED : HTTP_BAD_ANSWER;
		void *request = s->request;

		if (error == NGHTTP2_REFUSED_STREAM)
			outcome = HTTP_UNSENT;
		s->request = NULL;
		h->base.callbacks.answer(h->base.arg, request, outcome, s->status,
					 good ? body : BYTES_NONE);
	}
	stream_free(s);
	return 0;
}

/* A request that was queued and may no longer go out: the server is going away. */
static int on_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int error, void *arg)
{
	struct http2 *h = arg;

	(void)session;
	(void)error;
	if (h->base.options.side != TLS_CLIENT || frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	for (struct stream *s = h->streams; s; s = s->next) {
		if (s->id != frame->hd.stream_id)
			continue;
		void *request = s->request;

		s->request = NULL;
		if (request)
			h->base.callbacks.answer(h->base.arg, request, HTTP_UNSENT, 0, BYTES_NONE);
		break;
	}
	return 0;
}

/* The interface */

static void http2_free(struct http *base)
{
	struct http2 *h = of(base);
	struct stream *next;

	nghttp2_session_del(h->session);
	for (struct stream *s = h->streams; s; s = next) {
		next = s->next;
		stream_release(s);
	}
	free(h);
}

static int http2_feed(struct http *base, struct bytes plain)
{
	struct http2 *h = of(base);
	ssize_t n;

	n = plain.size > 0 ? nghttp2_session_mem_recv(h->session, plain.data, plain.size) : 0;
	if (h->out_of_memory || n == NGHTTP2_ERR_NOMEM)
		return -ENOMEM;
	if (n < 0 || h->resets > RESETS_ALLOWED + h->answers)
		return HTTP_BROKEN;
	/* nghttp2 takes leave of a peer that does not speak HTTP/2. */
	if (!h->closing && !h->goaway && !nghttp2_session_want_read(h->session))
		return HTTP_BROKEN;
	return 0;
}

static int http2_flush(struct http *base, struct tls *t)
{
	struct http2 *h = of(base);
	const uint8_t *data;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(h->session, &data)) > 0) {
		if (tls_write(t, bytes_of(data, (size_t)n)) < 0)
			return -ENOMEM;
	}
	return n < 0 ? -ENOMEM : 0;
}

static bool http2_held(const struct http *base)
{
	(void)base;
	return false;
}

static bool http2_done(const struct http *base)
{
	const struct http2 *h = of_const(base);

	return !nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session);
}

static void http2_close(struct http *base)
{
	struct http2 *h = of(base);

	if (h->closing)
		return;
	h->closing = true;
	nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
			      nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_NO_ERROR,
			      NULL, 0);
}

static int http2_answer(struct http *base, int32_t id, int status, const char *content_type,
			struct bytes body, const char *challenge)
{
	struct http2 *h = of(base);
	struct stream *s = nghttp2_session_get_stream_user_data(h->session, id);

	return s ? respond(h, s, status, content_type, body, challenge) : 0;
}

static bool http2_room(const struct http *base)
{
	const struct http2 *h = of_const(base);

	return !h->closing && nghttp2_session_check_request_allowed(h->session);
}

static int http2_post(struct http *base, struct bytes body, void *request)
{
	struct http2 *h = of(base);
	nghttp2_data_provider provider = {.read_callback = read_out};
	char length[24] = "";
	nghttp2_nv fields[] = {
		field(":method", "POST"),
		field(":scheme", "https"),
		field(":authority", base->options.authority),
		field(":path", base->options.path),
		field("content-type", WAN_CONTENT_TYPE),
		field("content-length", length),
	};
	struct stream *s;
	int32_t id;

	if (!http2_room(base))
		return -EAGAIN;
	s = stream_new(h, 0);
	if (!s) {
		h->out_of_memory = false;
		return -ENOMEM;
	}
	if (buffer_append(&s->out, body) < 0) {
		stream_free(s);
		return -ENOMEM;
	}
	provider.source.ptr = s;
	snprintf(length, sizeof(length), "%zu", body.size);
	fields[5].valuelen = strlen(length);
	id = nghttp2_submit_request(h->session, NULL, fields, sizeof(fields) / sizeof(fields[0]),
				    &provider, s);
	if (id < 0) {
		stream_free(s);
		return id == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE ? -EAGAIN : -ENOMEM;
	}
	s->id = id;
	s->request = request;
	return 0;
}

static bool http2_forget(struct http *base, void *request)
{
	struct http2 *h = of(base);

	for (struct stream *s = h->streams; s; s = s->next) {
		if (s->request != request)
			continue;
		s->request = NULL;
		nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
		break;
	}
	return true;
}

static bool http2_ping(struct http *base)
{
	return nghttp2_submit_ping(of(base)->session, NGHTTP2_FLAG_NONE, NULL) == 0;
}

static const struct http_ops ops = {
	.free = http2_free,
	.feed = http2_feed,
	.flush = http2_flush,
	.held = http2_held,
	.done = http2_done,
	.close = http2_close,
	.answer = http2_answer,
	.room = http2_room,
	.post = http2_post,
	.forget = http2_forget,
	.ping = http2_ping,
};

static int begin(struct http2 *h, const nghttp2_session_callbacks *callbacks)
{
	const nghttp2_settings_entry server[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, h->base.options.max_streams},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 16384},
	};
	const nghttp2_settings_entry client[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 16384},
	};

	if (h->base.options.side == TLS_SERVER)
		return nghttp2_session_server_new(&h->session, callbacks, h) ||
		       nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, server, 2);
	return nghttp2_session_client_new(&h->session, callbacks, h) ||
	       nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, client, 2);
}

int http2_new(const struct http_options *options, const struct http_callbacks *callbacks, void *arg,
	      struct http **out)
{
	struct http2 *h = calloc(1, sizeof(*h));
	nghttp2_session_callbacks *c;
	int r;

	if (!h)
		return -ENOMEM;
	if (nghttp2_session_callbacks_new(&c) != 0) {
		free(h);
		return -ENOMEM;
	}
	h->base = (struct http){
		.ops = &ops, .options = *options, .callbacks = *callbacks, .arg = arg};
	nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(c, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(c, on_not_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, on_close);
	r = begin(h, c);
	nghttp2_session_callbacks_del(c);
	if (r != 0) {
		http2_free(&h->base);
		return -ENOMEM;
	}
	*out = &h->base;
	return 0;
}
