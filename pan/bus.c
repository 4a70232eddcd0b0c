#include "pan/bus.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SYSTEM_BUS   "unix:path=/run/dbus/system_bus_socket"
#define PAUSE_FIRST  250u /* ms */
#define PAUSE_LONG   10000u
#define STEADY       5000u /* ms; a connection that lasted so long makes the pauses short again */
#define TURN_AT_ONCE 64    /* messages handled before other handles of the loop get their turn */

/*
 * What the loop polls: a duplicate, because sd-bus closes its own descriptor within a call, and may
 * go on to the next address of a list with the same number.
 */
struct watch {
	uv_poll_t poll;
	struct bus *owner;
	int fd;
	ino_t inode;
	int events; /* as uv_poll_start() was told; 0: stopped */
};

struct bus {
	uv_loop_t *loop;
	struct bus_callbacks callbacks;
	void *arg;
	char *address;

	sd_bus *connection;
	bool up;
	bool again;
	uint64_t since; /* uv_now() of up */
	struct watch *watch;
	uv_prepare_t before;
	uv_timer_t timer; /* sd-bus's timeout while there is a connection, else the pause */
	unsigned pause;
	bool stopping;
	unsigned handles;
};

static void handle_closed(struct bus *b)
{
	struct bus_callbacks callbacks = b->callbacks;
	void *arg = b->arg;

	if (--b->handles > 0)
		return;
	free(b->address);
	free(b);
	callbacks.stopped(arg);
}

static void on_watch_closed(uv_handle_t *handle)
{
	struct watch *w = handle->data;
	struct bus *b = w->owner;

	close(w->fd);
	free(w);
	handle_closed(b);
}

static void watch_close(struct bus *b)
{
	if (!b->watch)
		return;
	uv_close((uv_handle_t *)&b->watch->poll, on_watch_closed);
	b->watch = NULL;
}

/* Lets go of a connection, in whatever state it is. error: why, if it never was up. */
static void disconnect(struct bus *b, int error)
{
	bool was_up = b->up;

	watch_close(b);
	b->up = false;
	b->again = false;
	if (was_up && uv_now(b->loop) - b->since >= STEADY)
		b->pause = PAUSE_FIRST;
	if (was_up)
		b->callbacks.down(b->arg);
	else if (b->callbacks.failed && !b->stopping)
		b->callbacks.failed(b->arg, error);
	sd_bus_close(b->connection);
	b->connection = sd_bus_unref(b->connection);
}

static void on_pause(uv_timer_t *timer);

static void connect_later(struct bus *b, int error)
{
	disconnect(b, error);
	if (b->stopping)
		return;
	(void)uv_prepare_stop(&b->before);
	(void)uv_timer_start(&b->timer, on_pause, b->pause, 0);
	b->pause = b->pause > PAUSE_LONG / 2 ? PAUSE_LONG : b->pause * 2;
}

static void turn(struct bus *b)
{
	int rc = 1;

	for (int n = 0; n < TURN_AT_ONCE && rc > 0 && !b->stopping; n++) {
		rc = sd_bus_process(b->connection, NULL);
		if (!b->stopping && !b->up && sd_bus_is_ready(b->connection) > 0) {
			b->up = true;
			b->since = uv_now(b->loop);
			b->callbacks.up(b->arg, b->connection);
		}
	}
	if (rc < 0 && !b->stopping)
		connect_later(b, rc);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;

	/* An error of the descriptor is found, and told, by sd-bus itself. */
	(void)status;
	(void)events;
	turn(w->owner);
}

static void on_timeout(uv_timer_t *timer)
{
	turn(timer->data);
}

static int watch_make(struct bus *b, int fd, ino_t inode)
{
	struct watch *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return -ENOMEM;
	w->owner = b;
	w->inode = inode;
	w->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (w->fd < 0) {
		rc = -errno;
		free(w);
		return rc;
	}
	rc = uv_poll_init(b->loop, &w->poll, w->fd);
	if (rc < 0) {
		close(w->fd);
		free(w);
		return rc;
	}
	w->poll.data = w;
	b->handles++;
	b->watch = w;
	return 0;
}

/* Polls for what sd-bus waits for now. 0 or a negative errno. */
static int watch_update(struct bus *b)
{
	int fd = sd_bus_get_fd(b->connection);
	int events, wanted = 0;
	int rc;

	if (fd < 0)
		return fd;
	if (!b->watch || !b->up) {
		struct stat st;

		if (fstat(fd, &st) < 0)
			return -errno;
		if (b->watch && b->watch->inode != st.st_ino)
			watch_close(b);
		if (!b->watch) {
			rc = watch_make(b, fd, st.st_ino);
			if (rc < 0)
				return rc;
		}
	}
	events = sd_bus_get_events(b->connection);
	if (events < 0)
		return events;
	if (events & POLLIN)
		wanted |= UV_READABLE;
	if (events & POLLOUT)
		wanted |= UV_WRITABLE;
	if (wanted == b->watch->events)
		return 0;
	b->watch->events = wanted;
	if (wanted == 0)
		return uv_poll_stop(&b->watch->poll);
	return uv_poll_start(&b->watch->poll, wanted, on_poll);
}

/* Milliseconds until sd-bus wants to be called, rounded up. */
static uint64_t until(uint64_t microseconds)
{
	struct timespec now;
	uint64_t then;

	if (clock_gettime(CLOCK_MONOTONIC, &now) < 0)
		return 0;
	then = (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
	return microseconds <= then ? 0 : (microseconds - then + 999u) / 1000u;
}

/* Anything that ran in the loop may have sent something: seen here, before the loop sleeps. */
static void on_before(uv_prepare_t *before)
{
	struct bus *b = before->data;
	uint64_t timeout = UINT64_MAX;
	int rc = b->again ? -ECONNABORTED : watch_update(b);

	if (rc >= 0)
		rc = sd_bus_get_timeout(b->connection, &timeout);
	if (rc < 0) {
		connect_later(b, rc);
		return;
	}
	if (timeout == UINT64_MAX) {
		(void)uv_timer_stop(&b->timer);
		return;
	}
	(void)uv_timer_start(&b->timer, on_timeout, until(timeout), 0);
}

static int open_connection(const char *address, sd_bus **out)
{
	sd_bus *connection = NULL;
	int rc = sd_bus_new(&connection);

	if (rc >= 0)
		rc = sd_bus_set_address(connection, address);
	if (rc >= 0)
		rc = sd_bus_set_bus_client(connection, 1);
	if (rc >= 0)
		rc = sd_bus_negotiate_fds(connection, 1);
	if (rc >= 0)
		rc = sd_bus_start(connection);
	if (rc < 0) {
		sd_bus_close(connection);
		sd_bus_unref(connection);
		return rc;
	}
	*out = connection;
	return 0;
}

static void on_pause(uv_timer_t *timer)
{
	struct bus *b = timer->data;
	int rc = open_connection(b->address, &b->connection);

	if (rc < 0)
		connect_later(b, rc);
	else
		(void)uv_prepare_start(&b->before, on_before);
}

int bus_new(uv_loop_t *loop, const char *address, const struct bus_callbacks *callbacks, void *arg,
	    struct bus **out)
{
	struct bus *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	if (!address)
		address = secure_getenv("DBUS_SYSTEM_BUS_ADDRESS");
	b->address = strdup(address && address[0] != '\0' ? address : SYSTEM_BUS);
	if (!b->address) {
		free(b);
		return -ENOMEM;
	}
	b->loop = loop;
	b->callbacks = *callbacks;
	b->arg = arg;
	b->pause = PAUSE_FIRST;
	/* Neither can fail. */
	(void)uv_timer_init(loop, &b->timer);
	(void)uv_prepare_init(loop, &b->before);
	b->timer.data = b;
	b->before.data = b;
	b->handles = 2;
	*out = b;
	return 0;
}

void bus_start(struct bus *b)
{
	if (!b->stopping)
		(void)uv_timer_start(&b->timer, on_pause, 0, 0);
}

void bus_again(struct bus *b)
{
	b->again = b->up;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct bus *b = handle->data;

	disconnect(b, -ECANCELED);
	handle_closed(b);
}

static void on_before_closed(uv_handle_t *handle)
{
	handle_closed(handle->data);
}

void bus_stop(struct bus *b)
{
	if (b->stopping)
		return;
	b->stopping = true;
	watch_close(b);
	uv_close((uv_handle_t *)&b->timer, on_timer_closed);
	uv_close((uv_handle_t *)&b->before, on_before_closed);
}
