#include "wan/http.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <http_parser.h>

#include "protocol/message.h"
#include "wan/buffer.h"
#include "wan/listener.h"

#define FIELD_MAX      4096U
#define HEAD_MAX       32768U
/* Of a body that is refused, how much is read for the sake of a peer that only then listens. */
#define HTTP_DRAIN_MAX (1U << 20)
#define PIPELINE_MAX   65536U
/* With more than that to be sent, the next request of a pipeline is not looked at. */
#define OUT_MAX        65536U

struct http1 {
	struct http base;
	http_parser parser;
	struct buffer in; /* what came while a request was being answered */
	struct buffer out;
	struct buffer name, value, body;
	bool in_value;
	size_t head_size;
	uint64_t drained;

	struct http_head head; /* server */
	struct buffer url;
	int refused;
	bool waiting; /* server: for http_answer(); client: for the server's answer */
	int32_t stream;

	void *request; /* client; NULL when forgotten */
	bool type_is_ours;
	bool too_large;

	bool last; /* the message under way is the last one */
	bool ended;
	bool out_of_memory;
};

static struct http1 *of(struct http *h)
{
	return (struct http1 *)(void *)h;
}

static const struct http1 *of_const(const struct http *h)
{
	return (const struct http1 *)(const void *)h;
}

__attribute__((format(printf, 2, 3))) static int say(struct http1 *h, const char *format, ...)
{
	char line[1024];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(line))
		return -EMSGSIZE;
	return buffer_append(&h->out, bytes_of(line, (size_t)n));
}

static int respond(struct http1 *h, int status, const char *content_type, struct bytes body,
		   const char *challenge)
{
	int r = say(h, "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\n", status,
		    http_status_str((enum http_status)status), body.size);

	if (r == 0 && body.size > 0)
		r = say(h, "Content-Type: %s\r\n", content_type);
	if (r == 0 && challenge)
		r = say(h, "WWW-Authenticate: %s\r\n", challenge);
	if (r == 0 && status == 405)
		r = say(h, "Allow: POST\r\n");
	if (r == 0 && h->last)
		r = say(h, "Connection: close\r\n");
	if (r == 0)
		r = say(h, "\r\n");
	if (r == 0)
		r = buffer_append(&h->out, body);
	if (h->last)
		h->ended = true;
	return r;
}

static int refuse(struct http1 *h)
{
	return respond(h, h->refused, "text/plain", bytes_text(http_status_text(h->refused)), NULL);
}

static int result_of(struct http1 *h, int r)
{
	if (r == -ENOMEM)
		h->out_of_memory = true;
	return r == 0 ? 0 : -1;
}

/* The parser's callbacks */

static int on_begin(http_parser *p)
{
	struct http1 *h = p->data;

	buffer_free(&h->name);
	buffer_free(&h->value);
	buffer_free(&h->body);
	buffer_free(&h->url);
	http_head_clear(&h->head);
	h->in_value = false;
	h->head_size = 0;
	h->drained = 0;
	h->refused = 0;
	h->type_is_ours = h->too_large = false;
	return 0;
}

static int gather(struct http1 *h, struct buffer *b, const char *at, size_t size)
{
	h->head_size += size;
	if (h->head_size > HEAD_MAX)
		return -1;
	if (buffer_bytes(b).size + size > FIELD_MAX) {
		h->head.too_large = true;
		return 0;
	}
	return result_of(h, buffer_append(b, bytes_of(at, size)));
}

static int on_url(http_parser *p, const char *at, size_t size)
{
	struct http1 *h = p->data;

	return gather(h, &h->url, at, size);
}

static int field_complete(struct http1 *h)
{
	struct bytes name = buffer_bytes(&h->name), value = buffer_bytes(&h->value);
	int r = 0;

	if (h->base.options.side == TLS_SERVER) {
		r = http_head_field(&h->head, name, value);
	} else {
		struct http_head head = {0};

		r = http_head_field(&head, name, value);
		h->type_is_ours = h->type_is_ours || head.type;
		http_head_clear(&head);
	}
	buffer_take(&h->name, name.size);
	buffer_take(&h->value, value.size);
	h->in_value = false;
	return result_of(h, r);
}

static int on_name(http_parser *p, const char *at, size_t size)
{
	struct http1 *h = p->data;

	if (h->in_value && field_complete(h) != 0)
		return -1;
	return gather(h, &h->name, at, size);
}

static int on_value(http_parser *p, const char *at, size_t size)
{
	struct http1 *h = p->data;

	h->in_value = true;
	return gather(h, &h->value, at, size);
}

static int on_head(http_parser *p)
{
	struct http1 *h = p->data;

	if (h->in_value && field_complete(h) != 0)
		return -1;
	if (h->base.options.side == TLS_CLIENT)
		return 0;
	h->head.post = p->method == HTTP_POST;
	h->head.path = bytes_equal(buffer_bytes(&h->url), bytes_text(h->base.options.path));
	h->last = h->last || !http_should_keep_alive(p) || p->upgrade;
	h->refused = http_head_refuse(&h->head);
	if (h->refused && (h->head.expect || h->head.length > HTTP_DRAIN_MAX)) {
		h->last = true;
		if (result_of(h, refuse(h)) == 0)
			http_parser_pause(p, 1);
		return h->out_of_memory ? -1 : 0;
	}
	if (h->head.expect && !h->refused)
		return result_of(h, say(h, "HTTP/1.1 100 Continue\r\n\r\n"));
	return 0;
}

static int on_body(http_parser *p, const char *at, size_t size)
{
	struct http1 *h = p->data;

	if (h->refused || h->too_large) {
		h->drained += size;
		return h->drained > HTTP_DRAIN_MAX ? -1 : 0;
	}
	if (buffer_bytes(&h->body).size + size > MESSAGE_MAX_SIZE) {
		buffer_free(&h->body);
		h->refused = 413;
		h->too_large = true;
		return 0;
	}
	return result_of(h, buffer_append(&h->body, bytes_of(at, size)));
}

static bool is_full(const struct http1 *h)
{
	return buffer_bytes(&h->out).size > OUT_MAX;
}

static int on_complete(http_parser *p)
{
	struct http1 *h = p->data;
	struct bytes body = buffer_bytes(&h->body);

	if (h->base.options.side == TLS_CLIENT) {
		bool good = h->type_is_ours && !h->too_large && body.size > 0;
		void *request = h->request;

		if (p->status_code < 200)
			return 0;
		if (!h->waiting)
			return -1;
		if (!http_should_keep_alive(p))
			h->last = h->ended = true;
		h->waiting = false;
		h->request = NULL;
		if (request)
			h->base.callbacks.answer(h->base.arg, request,
						 good ? HTTP_ANSWERED : HTTP_BAD_ANSWER,
						 p->status_code, good ? body : BYTES_NONE);
		return 0;
	}
	if (h->refused) {
		int r = refuse(h);

		if (is_full(h))
			http_parser_pause(p, 1);
		return result_of(h, r);
	}
	h->waiting = true;
	h->stream++;
	http_parser_pause(p, 1);
	h->base.callbacks.request(h->base.arg, h->stream, body, bytes_text(h->head.authorization));
	return 0;
}

static const http_parser_settings settings = {
	.on_message_begin = on_begin,
	.on_url = on_url,
	.on_header_field = on_name,
	.on_header_value = on_value,
	.on_headers_complete = on_head,
	.on_body = on_body,
	.on_message_complete = on_complete,
};

/* The interface */

static void http1_free(struct http *base)
{
	struct http1 *h = of(base);

	on_begin(&h->parser);
	buffer_free(&h->in);
	buffer_free(&h->out);
	free(h);
}

static bool http1_held(const struct http *base)
{
	const struct http1 *h = of_const(base);

	return base->options.side == TLS_SERVER && !h->waiting && !h->ended &&
	       buffer_bytes(&h->in).size > 0;
}

static int http1_feed(struct http *base, struct bytes plain)
{
	struct http1 *h = of(base);
	struct bytes all;
	size_t used;
	int r;

	if (h->ended)
		return 0;
	if (buffer_bytes(&h->in).size + plain.size > PIPELINE_MAX)
		return HTTP_BROKEN;
	r = buffer_append(&h->in, plain);
	if (r < 0)
		return r;
	for (;;) {
		bool server = base->options.side == TLS_SERVER;

		all = buffer_bytes(&h->in);
		if (all.size == 0 || (server && (h->waiting || is_full(h))) || h->ended)
			return 0;
		if (HTTP_PARSER_ERRNO(&h->parser) == HPE_PAUSED)
			http_parser_pause(&h->parser, 0);
		used = http_parser_execute(&h->parser, &settings, (const char *)all.data, all.size);
		if (h->out_of_memory)
			return -ENOMEM;
		if (HTTP_PARSER_ERRNO(&h->parser) != HPE_OK &&
		    HTTP_PARSER_ERRNO(&h->parser) != HPE_PAUSED) {
			if (server && !h->ended) {
				h->last = true;
				h->refused = h->refused ? h->refused : 400;
				r = refuse(h);
			}
			h->ended = true;
			return r < 0 ? r : HTTP_BROKEN;
		}
		if (HTTP_PARSER_ERRNO(&h->parser) == HPE_OK && used < all.size) {
			h->ended = true;
			return HTTP_BROKEN;
		}
		buffer_take(&h->in, used);
	}
}

static int http1_flush(struct http *base, struct tls *t)
{
	struct http1 *h = of(base);
	struct bytes out = buffer_bytes(&h->out);
	int r;

	if (out.size == 0)
		return 0;
	r = tls_write(t, out);
	if (r == 0)
		buffer_take(&h->out, out.size);
	return r;
}

static bool http1_done(const struct http *base)
{
	const struct http1 *h = of_const(base);

	return h->ended && buffer_bytes(&h->out).size == 0;
}

static void http1_close(struct http *base)
{
	struct http1 *h = of(base);

	h->last = true;
	if (!h->waiting)
		h->ended = true;
}

static int http1_answer(struct http *base, int32_t stream, int status, const char *content_type,
			struct bytes body, const char *challenge)
{
	struct http1 *h = of(base);

	if (!h->waiting || stream != h->stream)
		return 0;
	h->waiting = false;
	return respond(h, status, content_type, body, challenge);
}

static bool http1_room(const struct http *base)
{
	const struct http1 *h = of_const(base);

	return !h->waiting && !h->last && !h->ended;
}

static int http1_post(struct http *base, struct bytes body, void *request)
{
	struct http1 *h = of(base);
	int r;

	if (!http1_room(base))
		return -EAGAIN;
	r = say(h,
		"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: " WAN_CONTENT_TYPE
		"\r\nContent-Length: %zu\r\n\r\n",
		base->options.path, base->options.authority, body.size);
	if (r == 0)
		r = buffer_append(&h->out, body);
	if (r < 0)
		return r;
	h->waiting = true;
	h->request = request;
	return 0;
}

static bool http1_forget(struct http *base, void *request)
{
	struct http1 *h = of(base);

	if (h->request != request)
		return true;
	h->request = NULL;
	return false;
}

static bool http1_ping(struct http *base)
{
	(void)base;
	return false;
}

static const struct http_ops ops = {
	.free = http1_free,
	.feed = http1_feed,
	.flush = http1_flush,
	.held = http1_held,
	.done = http1_done,
	.close = http1_close,
	.answer = http1_answer,
	.room = http1_room,
	.post = http1_post,
	.forget = http1_forget,
	.ping = http1_ping,
};

int http1_new(const struct http_options *options, const struct http_callbacks *callbacks, void *arg,
	      struct http **out)
{
	struct http1 *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->base = (struct http){
		.ops = &ops, .options = *options, .callbacks = *callbacks, .arg = arg};
	http_parser_init(&h->parser, options->side == TLS_SERVER ? HTTP_REQUEST : HTTP_RESPONSE);
	h->parser.data = h;
	*out = &h->base;
	return 0;
}
