/* Secrets come through pipes: read without blocking, into locked memory, so much and no more. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct api_reader {
	struct api_reader *next;
	struct gateway_api *api;
	uv_poll_t poll;
	uv_timer_t timer;
	int fd;
	struct secret *buffer; /* max + 2 bytes: a newline, and the one that is too many */
	size_t size, max;
	api_secret_fn *done;
	void *arg;
	unsigned handles;
};

static void on_closed(uv_handle_t *handle)
{
	struct api_reader *r = handle->data;

	if (--r->handles > 0)
		return;
	(void)close(r->fd);
	secret_unref(r->buffer);
	gateway_api_unhold(r->api);
	free(r);
}

void gateway_api_reader_drop(struct api_reader *r)
{
	struct api_reader **at;

	if (!r)
		return;
	for (at = &r->api->readers; *at != r; at = &(*at)->next)
		;
	*at = r->next;
	uv_close((uv_handle_t *)&r->poll, on_closed);
	uv_close((uv_handle_t *)&r->timer, on_closed);
}

static void end(struct api_reader *r, int error)
{
	struct secret *found = NULL;

	if (error == 0 && r->size > 0 && secret_buffer(r->buffer)[r->size - 1] == '\n')
		r->size--;
	if (error == 0 && r->size > r->max)
		error = -EMSGSIZE;
	if (error == 0 && r->size > 0) {
		secret_shrink(r->buffer, r->size);
		found = r->buffer;
	}
	r->done(r->arg, error, found);
	gateway_api_reader_drop(r);
}

void gateway_api_readers_end(struct gateway_api *api)
{
	while (api->readers)
		end(api->readers, -ECANCELED);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct api_reader *r = poll->data;

	(void)events;
	if (status < 0) {
		end(r, status);
		return;
	}
	for (;;) {
		size_t room = r->max + 2 - r->size;
		ssize_t n;

		if (room == 0) {
			end(r, -EMSGSIZE);
			return;
		}
		n = read(r->fd, secret_buffer(r->buffer) + r->size, room);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			end(r, n == 0 ? 0 : -errno);
			return;
		}
		r->size += (size_t)n;
	}
}

static void on_timeout(uv_timer_t *timer)
{
	end(timer->data, -ETIMEDOUT);
}

int gateway_api_reader_new(struct gateway_api *api, int fd, size_t max, unsigned ms,
			   api_secret_fn *done, void *arg, struct api_reader **out)
{
	struct api_reader *r;
	struct stat st;
	int flags = fcntl(fd, F_GETFL), error;

	if (fstat(fd, &st) != 0 || !S_ISFIFO(st.st_mode) || flags < 0 ||
	    (flags & O_ACCMODE) == O_WRONLY)
		return -EBADF;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	*r = (struct api_reader){.api = api, .max = max, .done = done, .arg = arg};
	r->buffer = secret_new(max + 2);
	r->fd = r->buffer ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
	error = r->fd < 0 ? -ENOMEM : uv_poll_init(api->loop, &r->poll, r->fd);
	if (error != 0) {
		if (r->fd >= 0)
			(void)close(r->fd);
		secret_unref(r->buffer);
		free(r);
		return error;
	}
	(void)uv_timer_init(api->loop, &r->timer);
	r->poll.data = r;
	r->timer.data = r;
	r->handles = 2;
	gateway_api_hold(api);
	r->next = api->readers;
	api->readers = r;
	(void)uv_timer_start(&r->timer, on_timeout, ms, 0);
	error = uv_poll_start(&r->poll, UV_READABLE, on_readable);
	if (error != 0) {
		gateway_api_reader_drop(r);
		return error;
	}
	*out = r;
	return 0;
}
