#include "pan/bluetooth-stream.h"

#include <bluetooth/bluetooth.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK_STREAM  4096
#define CHUNK_PACKETS 23 /* least MTU of an L2CAP channel over LE */
#define READS_A_TURN  8  /* before other handles of the loop get their turn */

struct bluetooth_stream {
	uv_poll_t poll;
	int fd;
	struct bluetooth_stream_callbacks callbacks;
	void *arg;
	uint8_t *input;
	size_t quota;
	size_t chunk;
	bool packets, connecting, closing;
	int events; /* as uv_poll_start() was told */
	enum bearer_down why;
	int error;
	uint8_t *output; /* from sent to size it waits */
	size_t sent, size, capacity;
};

/* Which errors mean that the peer is gone, as opposed to trouble on this side. */
static enum bearer_down why_of(int error)
{
	switch (-error) {
	case 0:
	case ECONNRESET:
	case ECONNABORTED:
	case ECONNREFUSED:
	case EPIPE:
	case ENOTCONN:
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENETUNREACH:
	case ENETDOWN:
	case ENETRESET:
		return BEARER_DOWN_PEER;
	default:
		return BEARER_DOWN_ERROR;
	}
}

static void on_closed(uv_handle_t *handle)
{
	struct bluetooth_stream *s = handle->data;
	struct bluetooth_stream_callbacks callbacks = s->callbacks;
	void *arg = s->arg;
	enum bearer_down why = s->why;
	int error = s->error;

	close(s->fd);
	free(s->output);
	free(s);
	callbacks.ended(arg, why, error);
}

void bluetooth_stream_close(struct bluetooth_stream *s, enum bearer_down why, int error)
{
	if (s->closing)
		return;
	s->closing = true;
	s->why = why;
	s->error = error;
	(void)shutdown(s->fd, SHUT_RDWR);
	uv_close((uv_handle_t *)&s->poll, on_closed);
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct bluetooth_stream *s)
{
	int wanted = s->connecting ? UV_WRITABLE : UV_READABLE;
	int rc;

	if (s->closing)
		return;
	if (s->sent < s->size)
		wanted |= UV_WRITABLE;
	if (wanted == s->events)
		return;
	s->events = wanted;
	rc = uv_poll_start(&s->poll, wanted, on_poll);
	if (rc < 0)
		bluetooth_stream_close(s, BEARER_DOWN_ERROR, rc);
}

/* How much the channel takes at once; known only when it is connected. */
static void measure(struct bluetooth_stream *s)
{
	uint16_t mtu = 0;
	socklen_t size = sizeof(mtu);

	s->chunk = s->packets ? CHUNK_PACKETS : CHUNK_STREAM;
	if (s->packets && getsockopt(s->fd, SOL_BLUETOOTH, BT_SNDMTU, &mtu, &size) == 0 &&
	    mtu >= CHUNK_PACKETS)
		s->chunk = mtu;
}

static void flush(struct bluetooth_stream *s)
{
	while (!s->closing && s->sent < s->size) {
		size_t left = s->size - s->sent;
		ssize_t n = send(s->fd, s->output + s->sent, left < s->chunk ? left : s->chunk,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			bluetooth_stream_close(s, why_of(-errno), -errno);
			return;
		}
		if (n <= 0)
			break;
		s->sent += (size_t)n;
	}
	if (s->sent == s->size)
		s->sent = s->size = 0;
	watch(s);
}

static void take_input(struct bluetooth_stream *s)
{
	for (int i = 0; i < READS_A_TURN && !s->closing; i++) {
		ssize_t n = recv(s->fd, s->input, BLUETOOTH_STREAM_INPUT, MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			bluetooth_stream_close(s, why_of(-errno), -errno);
		else if (n == 0)
			bluetooth_stream_close(s, BEARER_DOWN_PEER, 0);
		else
			s->callbacks.bytes(s->arg, bytes_of(s->input, (size_t)n));
	}
}

static void finish_connecting(struct bluetooth_stream *s)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (error != 0) {
		bluetooth_stream_close(s, BEARER_DOWN_PEER, -error);
		return;
	}
	s->connecting = false;
	measure(s);
	watch(s);
	if (!s->closing)
		s->callbacks.connected(s->arg);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct bluetooth_stream *s = poll->data;

	if (s->connecting) {
		finish_connecting(s);
		return;
	}
	/* An error of the socket is what recv(2) says about it. */
	if (status < 0 || (events & UV_READABLE))
		take_input(s);
	if (!s->closing && (events & UV_WRITABLE))
		flush(s);
}

int bluetooth_stream_send(struct bluetooth_stream *s, struct bytes output)
{
	size_t waits = s->size - s->sent;

	if (s->closing)
		return s->why == BEARER_DOWN_QUOTA ? -EDQUOT : -ENOTCONN;
	if (output.size == 0)
		return 0;
	if (output.size > SIZE_MAX / 2 - waits)
		return -ENOMEM;
	if (s->capacity - s->size < output.size) {
		if (waits > 0)
			memmove(s->output, s->output + s->sent, waits);
		s->sent = 0;
		s->size = waits;
	}
	if (s->capacity - s->size < output.size) {
		size_t capacity =
			(waits + output.size + CHUNK_STREAM - 1) & ~(size_t)(CHUNK_STREAM - 1);
		uint8_t *larger = realloc(s->output, capacity);

		if (!larger)
			return -ENOMEM;
		s->output = larger;
		s->capacity = capacity;
	}
	memcpy(s->output + s->size, output.data, output.size);
	s->size += output.size;
	if (!s->connecting)
		flush(s);
	if (s->closing)
		return -ENOTCONN;
	if (s->size - s->sent > s->quota) {
		bluetooth_stream_close(s, BEARER_DOWN_QUOTA, -EDQUOT);
		return -EDQUOT;
	}
	return 0;
}

int bluetooth_stream_fd(const struct bluetooth_stream *s)
{
	return s->fd;
}

int bluetooth_stream_new(uv_loop_t *loop, int fd, const struct bluetooth_stream_options *options,
			 const struct bluetooth_stream_callbacks *callbacks, void *arg,
			 struct bluetooth_stream **out)
{
	struct bluetooth_stream *s;
	int flags = fcntl(fd, F_GETFL);
	int rc;

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->fd = fd;
	s->callbacks = *callbacks;
	s->arg = arg;
	s->input = options->input;
	s->quota = options->quota;
	s->packets = options->packets;
	s->connecting = options->connecting;
	if (!s->connecting)
		measure(s);
	rc = uv_poll_init(loop, &s->poll, fd);
	if (rc < 0) {
		free(s);
		return rc;
	}
	s->poll.data = s;
	watch(s);
	*out = s;
	return 0;
}
