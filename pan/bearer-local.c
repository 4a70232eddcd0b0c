#include "pan/bearer-local.h"

#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define QUOTA_DEFAULT     ((size_t)256 * 1024)
#define MAX_LINKS_DEFAULT 512
#define BACKLOG           64
#define READ_SIZE         65536
#define KEEPALIVE_SECONDS 60
#define PEER_TEXT_SIZE    128

enum address_kind { ADDRESS_UNIX, ADDRESS_TCP };

struct address {
	enum address_kind kind;
	union {
		struct sockaddr any;
		struct sockaddr_un un;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} socket;
};

union stream_handle {
	uv_handle_t handle;
	uv_stream_t stream;
	uv_pipe_t pipe;
	uv_tcp_t tcp;
};

enum link_phase {
	PHASE_CONNECTING, /* ends in connect_failed() when it is closed */
	PHASE_UP,         /* ends in link_down() */
	PHASE_UNSEEN,     /* the caller never heard of it: ends in nothing */
};

struct bearer_link {
	union stream_handle h;
	struct local *owner;
	struct bearer_link *next, **previous;
	enum link_phase phase;
	bool closing;
	enum bearer_down why;
	int error;
	uv_connect_t connecting;
	char peer[PEER_TEXT_SIZE]; /* while connecting: the address as given */
};

struct listener {
	union stream_handle h;
	struct local *owner;
	enum address_kind kind;
	bool file_made;
	dev_t device;
	ino_t inode;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
};

struct local {
	struct bearer base;
	uv_loop_t *loop;
	bool has_listen;
	struct address listen;
	char device[IF_NAMESIZE]; /* "": any */
	enum pan_security security;
	size_t quota;
	unsigned max_links;

	struct listener *listener;
	struct bearer_link *links;
	unsigned link_count;
	bool accept_waits; /* a peer waits in libuv for memory to be accepted with */
	bool stopping;
	unsigned handles;  /* not yet closed; the bearer is freed when none is left */
	uv_timer_t anchor; /* so that even a bearer with nothing open ends from the loop */
	char input[READ_SIZE];
};

struct write_request {
	uv_write_t request;
	uint8_t data[];
};

static struct local *local_of(struct bearer *b)
{
	return (struct local *)b;
}

static bool parse_port(const char *text, uint16_t *out)
{
	unsigned port = 0;
	size_t digits = 0;

	for (; text[digits] != '\0'; digits++) {
		if (digits == 5 || text[digits] < '0' || text[digits] > '9')
			return false;
		port = port * 10 + (unsigned)(text[digits] - '0');
	}
	if (digits == 0 || text[0] == '0' || port > UINT16_MAX)
		return false;
	*out = (uint16_t)port;
	return true;
}

static bool parse_tcp(const char *text, struct address *out)
{
	bool v6 = text[0] == '[';
	char host[80];
	const char *end;
	size_t size;
	uint16_t port;

	if (v6) {
		text++;
		end = strchr(text, ']');
		if (!end || end[1] != ':' || !parse_port(end + 2, &port))
			return false;
	} else {
		end = strchr(text, ':');
		if (!end || !parse_port(end + 1, &port))
			return false;
	}
	size = (size_t)(end - text);
	if (size >= sizeof(host))
		return false;
	memcpy(host, text, size);
	host[size] = '\0';
	if (v6)
		return uv_ip6_addr(host, port, &out->socket.in6) == 0;
	return uv_ip4_addr(host, port, &out->socket.in) == 0;
}

static bool parse_address(const char *text, struct address *out)
{
	struct address a = {.kind = ADDRESS_UNIX};

	if (strncmp(text, "unix:", 5) == 0) {
		size_t size = strlen(text + 5);

		if (text[5] != '/' || size >= sizeof(a.socket.un.sun_path))
			return false;
		a.socket.un.sun_family = AF_UNIX;
		memcpy(a.socket.un.sun_path, text + 5, size + 1);
	} else if (strncmp(text, "tcp:", 4) == 0) {
		a.kind = ADDRESS_TCP;
		if (!parse_tcp(text + 4, &a))
			return false;
	} else {
		return false;
	}
	*out = a;
	return true;
}

bool bearer_local_address_valid(const char *text)
{
	struct address a;

	return text && parse_address(text, &a);
}

static void handle_closed(struct local *b)
{
	struct bearer_callbacks callbacks = b->base.callbacks;
	void *arg = b->base.arg;

	if (--b->handles > 0)
		return;
	free(b);
	callbacks.stopped(arg);
}

/* Links: one struct for accepted and for connecting ones, freed in on_link_closed() and only there.
 */

static int link_make(struct local *b, enum address_kind kind, enum link_phase phase,
		     struct bearer_link **out)
{
	struct bearer_link *l = calloc(1, sizeof(*l));
	int rc = -EINVAL;

	if (!l)
		return -ENOMEM;
	switch (kind) {
	case ADDRESS_UNIX:
		rc = uv_pipe_init(b->loop, &l->h.pipe, 0);
		break;
	case ADDRESS_TCP:
		rc = uv_tcp_init(b->loop, &l->h.tcp);
		break;
	}
	if (rc < 0) {
		free(l);
		return rc;
	}
	l->h.handle.data = l;
	l->owner = b;
	l->phase = phase;
	l->next = b->links;
	l->previous = &b->links;
	if (l->next)
		l->next->previous = &l->next;
	b->links = l;
	b->link_count++;
	b->handles++;
	*out = l;
	return 0;
}

static void accept_one(struct listener *s);

static void on_link_closed(uv_handle_t *handle)
{
	struct bearer_link *l = handle->data;
	struct local *b = l->owner;

	*l->previous = l->next;
	if (l->next)
		l->next->previous = l->previous;
	b->link_count--;
	switch (l->phase) {
	case PHASE_CONNECTING:
		b->base.callbacks.connect_failed(b->base.arg, l->peer, l->error,
						 strerror(-l->error));
		break;
	case PHASE_UP:
		b->base.callbacks.link_down(b->base.arg, l, l->why, l->error);
		break;
	case PHASE_UNSEEN:
		break;
	}
	free(l);
	if (b->accept_waits && b->listener)
		accept_one(b->listener);
	handle_closed(b);
}

static void link_close(struct bearer_link *l, enum bearer_down why, int error)
{
	if (l->closing)
		return;
	l->closing = true;
	l->why = why;
	l->error = error;
	uv_close(&l->h.handle, on_link_closed);
}

/* Which errors mean that the peer is gone, as opposed to trouble on this side. */
static enum bearer_down why_of(int error)
{
	switch (error) {
	case UV_EOF:
	case UV_ECONNRESET:
	case UV_ECONNABORTED:
	case UV_EPIPE:
	case UV_ETIMEDOUT:
	case UV_EHOSTUNREACH:
	case UV_ENETUNREACH:
	case UV_ENETDOWN:
		return BEARER_DOWN_PEER;
	default:
		return BEARER_DOWN_ERROR;
	}
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	struct bearer_link *l = handle->data;

	(void)suggested;
	*out = uv_buf_init(l->owner->input, READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
	struct bearer_link *l = stream->data;
	struct local *b = l->owner;

	if (size < 0)
		link_close(l, why_of((int)size), size == UV_EOF ? 0 : (int)size);
	else if (size > 0)
		b->base.callbacks.link_bytes(b->base.arg, l, bytes_of(buffer->base, (size_t)size));
}

static void on_written(uv_write_t *request, int status)
{
	struct bearer_link *l = request->handle->data;

	free(request->data);
	if (status < 0)
		link_close(l, why_of(status), status);
}

static void tune_tcp(struct bearer_link *l)
{
	/* Only for speed and for noticing a dead peer: the stream works without. */
	(void)uv_tcp_nodelay(&l->h.tcp, 1);
	(void)uv_tcp_keepalive(&l->h.tcp, 1, KEEPALIVE_SECONDS);
}

static void describe_tcp(struct bearer_link *l)
{
	struct sockaddr_storage storage;
	int size = sizeof(storage);
	char host[64] = "";

	memset(&storage, 0, sizeof(storage));
	if (uv_tcp_getpeername(&l->h.tcp, (struct sockaddr *)&storage, &size) < 0) {
		snprintf(l->peer, sizeof(l->peer), "tcp");
	} else if (storage.ss_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, &storage, sizeof(in6));
		(void)uv_ip6_name(&in6, host, sizeof(host));
		snprintf(l->peer, sizeof(l->peer), "tcp:[%s]:%u", host, ntohs(in6.sin6_port));
	} else {
		struct sockaddr_in in;

		memcpy(&in, &storage, sizeof(in));
		(void)uv_ip4_name(&in, host, sizeof(host));
		snprintf(l->peer, sizeof(l->peer), "tcp:%s:%u", host, ntohs(in.sin_port));
	}
}

static void describe_unix(struct bearer_link *l)
{
	struct ucred who;
	socklen_t size = sizeof(who);
	uv_os_fd_t fd;

	if (uv_fileno(&l->h.handle, &fd) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0)
		snprintf(l->peer, sizeof(l->peer), "unix:pid %ld, uid %lu", (long)who.pid,
			 (unsigned long)who.uid);
	else
		snprintf(l->peer, sizeof(l->peer), "unix");
}

/* A stream is connected: tells the caller. Nothing of l may be touched afterwards. */
static void link_ready(struct bearer_link *l, enum address_kind kind)
{
	struct local *b = l->owner;
	int rc;

	switch (kind) {
	case ADDRESS_UNIX:
		describe_unix(l);
		break;
	case ADDRESS_TCP:
		tune_tcp(l);
		describe_tcp(l);
		break;
	}
	rc = uv_read_start(&l->h.stream, on_alloc, on_read);
	if (rc < 0) {
		link_close(l, BEARER_DOWN_ERROR, rc);
		return;
	}
	l->phase = PHASE_UP;
	b->base.callbacks.link_up(b->base.arg, l, b->security, l->peer);
}

/* Listening. */

static void on_listener_closed(uv_handle_t *handle)
{
	struct listener *s = handle->data;
	struct local *b = s->owner;

	free(s);
	handle_closed(b);
}

/* Removes the socket's file unless somebody else has put another one there. */
static void listener_close(struct listener *s)
{
	struct local *b = s->owner;
	struct stat st;

	if (s->file_made && lstat(s->path, &st) == 0 && st.st_dev == s->device &&
	    st.st_ino == s->inode)
		(void)unlink(s->path);
	if (b->listener == s)
		b->listener = NULL;
	b->accept_waits = false;
	uv_close(&s->h.handle, on_listener_closed);
}

static void accept_one(struct listener *s)
{
	struct local *b = s->owner;
	bool full = b->link_count >= b->max_links;
	struct bearer_link *l;
	int rc;

	/* libuv offers no further peer before this one is accepted. */
	b->accept_waits = true;
	if (link_make(b, s->kind, PHASE_UNSEEN, &l) < 0)
		return;
	b->accept_waits = false;
	rc = uv_accept(&s->h.stream, &l->h.stream);
	if (rc < 0 || full)
		link_close(l, BEARER_DOWN_CLOSED, rc);
	else
		link_ready(l, s->kind);
}

static void on_connection(uv_stream_t *stream, int status)
{
	if (status == 0)
		accept_one(stream->data);
}

/* 0 when path is free to bind, after a stale socket there was removed. */
static int make_way(const struct sockaddr_un *address)
{
	struct stat st;
	int probe, rc = 0;

	if (lstat(address->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EADDRINUSE;
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return -errno;
	if (connect(probe, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
	    errno != ECONNREFUSED)
		rc = -EADDRINUSE;
	close(probe);
	if (rc == 0 && unlink(address->sun_path) < 0 && errno != ENOENT)
		rc = -errno;
	return rc;
}

static int bind_unix(struct listener *s, const struct sockaddr_un *address)
{
	struct stat st;
	int fd, rc;

	rc = make_way(address);
	if (rc < 0)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* The file gets the socket's mode less the umask, so it is never wider than meant. */
	if (fchmod(fd, 0660) < 0 ||
	    bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	memcpy(s->path, address->sun_path, sizeof(s->path));
	if (chmod(s->path, 0660) < 0 || lstat(s->path, &st) < 0) {
		rc = -errno;
	} else {
		s->device = st.st_dev;
		s->inode = st.st_ino;
		rc = uv_pipe_open(&s->h.pipe, fd);
	}
	if (rc < 0) {
		(void)unlink(s->path);
		close(fd);
		return rc;
	}
	s->file_made = true;
	return 0;
}

/* An address alone is reached from every interface of the device. */
static int bind_to_device(const uv_tcp_t *tcp, const char *device)
{
	uv_os_fd_t fd;
	int rc = uv_fileno((const uv_handle_t *)tcp, &fd);

	if (rc == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) < 0)
		rc = -errno;
	return rc;
}

static int local_start(struct bearer *base)
{
	struct local *b = local_of(base);
	struct listener *s;
	int rc = -EINVAL;

	if (b->stopping)
		return -ECANCELED;
	if (!b->has_listen)
		return 0;
	if (b->listener)
		return -EALREADY;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->owner = b;
	s->kind = b->listen.kind;
	switch (s->kind) {
	case ADDRESS_UNIX:
		rc = uv_pipe_init(b->loop, &s->h.pipe, 0);
		break;
	case ADDRESS_TCP:
		rc = uv_tcp_init(b->loop, &s->h.tcp);
		break;
	}
	if (rc < 0) {
		free(s);
		return rc;
	}
	s->h.handle.data = s;
	b->handles++;
	switch (s->kind) {
	case ADDRESS_UNIX:
		rc = bind_unix(s, &b->listen.socket.un);
		break;
	case ADDRESS_TCP:
		rc = uv_tcp_bind(&s->h.tcp, &b->listen.socket.any, 0);
		if (rc == 0 && b->device[0])
			rc = bind_to_device(&s->h.tcp, b->device);
		break;
	}
	if (rc == 0)
		rc = uv_listen(&s->h.stream, BACKLOG, on_connection);
	if (rc < 0) {
		listener_close(s);
		return rc;
	}
	b->listener = s;
	return 0;
}

static void on_connected(uv_connect_t *request, int status)
{
	struct bearer_link *l = request->handle->data;

	if (l->closing)
		return;
	if (status < 0)
		link_close(l, BEARER_DOWN_PEER, status);
	else
		link_ready(l, l->h.handle.type == UV_TCP ? ADDRESS_TCP : ADDRESS_UNIX);
}

static int local_connect(struct bearer *base, const char *text)
{
	struct local *b = local_of(base);
	struct bearer_link *l;
	struct address a;
	int rc;

	if (b->stopping)
		return -ECANCELED;
	if (!parse_address(text, &a))
		return -EINVAL;
	rc = link_make(b, a.kind, PHASE_CONNECTING, &l);
	if (rc < 0)
		return rc;
	(void)snprintf(l->peer, sizeof(l->peer), "%s", text);
	switch (a.kind) {
	case ADDRESS_UNIX:
		uv_pipe_connect(&l->connecting, &l->h.pipe, a.socket.un.sun_path, on_connected);
		break;
	case ADDRESS_TCP:
		rc = uv_tcp_connect(&l->connecting, &l->h.tcp, &a.socket.any, on_connected);
		break;
	}
	if (rc < 0) {
		l->phase = PHASE_UNSEEN;
		link_close(l, BEARER_DOWN_ERROR, rc);
	}
	return rc;
}

static int local_send(struct bearer *base, struct bearer_link *l, struct bytes output)
{
	struct local *b = local_of(base);
	struct write_request *w;
	uv_buf_t buffer;
	int rc;

	if (l->closing)
		return l->why == BEARER_DOWN_QUOTA ? -EDQUOT : -ENOTCONN;
	if (output.size == 0)
		return 0;
	if (output.size > UINT_MAX)
		return -ENOMEM;
	w = malloc(sizeof(*w) + output.size);
	if (!w)
		return -ENOMEM;
	memcpy(w->data, output.data, output.size);
	w->request.data = w;
	buffer = uv_buf_init((char *)w->data, (unsigned)output.size);
	rc = uv_write(&w->request, &l->h.stream, &buffer, 1, on_written);
	if (rc < 0) {
		free(w);
		link_close(l, why_of(rc), rc);
		return rc;
	}
	if (uv_stream_get_write_queue_size(&l->h.stream) > b->quota) {
		link_close(l, BEARER_DOWN_QUOTA, -EDQUOT);
		return -EDQUOT;
	}
	return 0;
}

static void local_drop(struct bearer *base, struct bearer_link *l, enum bearer_down why)
{
	(void)base;
	link_close(l, why, 0);
}

static void on_anchor_closed(uv_handle_t *handle)
{
	handle_closed(handle->data);
}

static void local_stop(struct bearer *base)
{
	struct local *b = local_of(base);

	if (b->stopping)
		return;
	b->stopping = true;
	if (b->listener)
		listener_close(b->listener);
	for (struct bearer_link *l = b->links; l; l = l->next)
		link_close(l, BEARER_DOWN_CLOSED, l->phase == PHASE_UP ? 0 : -ECANCELED);
	uv_close((uv_handle_t *)&b->anchor, on_anchor_closed);
}

static const struct bearer_ops local_ops = {
	.start = local_start,
	.stop = local_stop,
	.connect = local_connect,
	.send = local_send,
	.drop = local_drop,
};

/* libuv writes with plain write(2): a peer that has gone must be an error and not a signal. */
static void ignore_sigpipe(void)
{
	struct sigaction now;

	if (sigaction(SIGPIPE, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) &&
	    now.sa_handler == SIG_DFL) {
		now.sa_handler = SIG_IGN;
		(void)sigaction(SIGPIPE, &now, NULL);
	}
}

int bearer_local_new(uv_loop_t *loop, const struct bearer_local_options *options,
		     const struct bearer_callbacks *callbacks, void *arg, struct bearer **out)
{
	struct address listen = {0};
	struct local *b;
	int rc;

	if (options->listen && !parse_address(options->listen, &listen))
		return -EINVAL;
	if (options->device && (!options->listen || listen.kind != ADDRESS_TCP ||
				strlen(options->device) >= sizeof(b->device)))
		return -EINVAL;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->base = (struct bearer){.ops = &local_ops, .callbacks = *callbacks, .arg = arg};
	b->loop = loop;
	b->has_listen = options->listen != NULL;
	b->listen = listen;
	if (options->device)
		memcpy(b->device, options->device, strlen(options->device) + 1);
	b->security = options->security;
	b->quota = options->quota > 0 ? options->quota : QUOTA_DEFAULT;
	b->max_links = options->max_links > 0 ? options->max_links : MAX_LINKS_DEFAULT;
	rc = uv_timer_init(loop, &b->anchor);
	if (rc < 0) {
		free(b);
		return rc;
	}
	b->anchor.data = b;
	b->handles = 1;
	ignore_sigpipe();
	*out = &b->base;
	return 0;
}
