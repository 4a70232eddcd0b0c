#include "wan/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "protocol/message.h"
#include "protocol/secret.h"
#include "wan/listener.h"

#define AUTHORIZATION_MAX 2048U

void http_free(struct http *h)
{
	if (h)
		h->ops->free(h);
}

int http_feed(struct http *h, struct bytes plain)
{
	return h->ops->feed(h, plain);
}

int http_flush(struct http *h, struct tls *t)
{
	return h->ops->flush(h, t);
}

bool http_held(const struct http *h)
{
	return h->ops->held(h);
}

bool http_done(const struct http *h)
{
	return h->ops->done(h);
}

void http_close(struct http *h)
{
	h->ops->close(h);
}

int http_answer(struct http *h, int32_t stream, int status, const char *content_type,
		struct bytes body, const char *challenge)
{
	return h->ops->answer(h, stream, status, content_type, body, challenge);
}

bool http_room(const struct http *h)
{
	return h->ops->room(h);
}

int http_post(struct http *h, struct bytes body, void *request)
{
	return h->ops->post(h, body, request);
}

bool http_forget(struct http *h, void *request)
{
	return h->ops->forget(h, request);
}

bool http_ping(struct http *h)
{
	return h->ops->ping(h);
}

void http_head_clear(struct http_head *head)
{
	if (head->authorization)
		wipe(head->authorization, strlen(head->authorization));
	free(head->authorization);
	*head = (struct http_head){0};
}

static bool is(struct bytes b, const char *text)
{
	return b.size == strlen(text) && strncasecmp((const char *)b.data, text, b.size) == 0;
}

bool http_is_our_type(struct bytes content_type)
{
	const uint8_t *end =
		content_type.size ? memchr(content_type.data, ';', content_type.size) : NULL;

	if (end)
		content_type.size = (size_t)(end - content_type.data);
	while (content_type.size > 0 && (content_type.data[content_type.size - 1] == ' ' ||
					 content_type.data[content_type.size - 1] == '\t'))
		content_type.size--;
	return is(content_type, WAN_CONTENT_TYPE);
}

int http_head_field(struct http_head *head, struct bytes name, struct bytes value)
{
	if (is(name, "content-type")) {
		head->type = http_is_our_type(value);
	} else if (is(name, "expect")) {
		head->expect = is(value, "100-continue");
	} else if (is(name, "content-length")) {
		uint64_t length = 0;

		for (size_t i = 0; i < value.size; i++) {
			if (value.data[i] < '0' || value.data[i] > '9')
				break;
			if (length < UINT64_MAX / 16)
				length = length * 10 + (uint64_t)(value.data[i] - '0');
		}
		head->length = length;
	} else if (is(name, "authorization")) {
		if (value.size > AUTHORIZATION_MAX || head->authorization) {
			head->too_large = true;
			return 0;
		}
		head->authorization = malloc(value.size + 1);
		if (!head->authorization)
			return -ENOMEM;
		return bytes_to_text(value, head->authorization, value.size + 1);
	}
	return 0;
}

int http_head_refuse(const struct http_head *head)
{
	if (!head->path)
		return 404;
	if (!head->post)
		return 405;
	if (!head->type)
		return 415;
	if (head->too_large)
		return 431;
	if (head->length > MESSAGE_MAX_SIZE)
		return 413;
	return 0;
}

const char *http_status_text(int status)
{
	switch (status) {
	case 400:
		return "this is not the HTTP that is spoken here\n";
	case 404:
		return "there is nothing here\n";
	case 405:
		return "POST is the only method\n";
	case 413:
		return "the message is too large\n";
	case 415:
		return "the content type is to be " WAN_CONTENT_TYPE "\n";
	case 431:
		return "a header field is too large\n";
	default:
		return "not possible\n";
	}
}
