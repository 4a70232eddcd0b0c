/* The way to the server, from a probe; and this PN GW's own listeners. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "gateway/doctor-internal.h"

#define DAY         86400
#define SOON_DAYS   14
/* How long a listener may take for its first byte, in slices after which is looked whether to end.
 */
#define LISTENER_MS 3000
#define SLICE_MS    100

static void judge_certificate(struct doctor_findings *f, const struct wan_probe_result *r)
{
	int64_t now = time(NULL);

	if (r->cause == TLS_CAUSE_CLOCK || r->cause == TLS_CAUSE_EXPIRED ||
	    r->cause == TLS_CAUSE_NOT_YET)
		doctor_find(f, DOCTOR_CLOCK_SERVER, DOCTOR_FAILED, "%s", r->why);
	else if (!r->has_validity)
		doctor_find(f, DOCTOR_CLOCK_SERVER, DOCTOR_NOT_APPLICABLE,
			    "the server showed no certificate");
	else if (r->until - now < (int64_t)SOON_DAYS * DAY)
		doctor_find(f, DOCTOR_CLOCK_SERVER, DOCTOR_WARNING,
			    "it is valid now, and for %" PRId64 " more days only",
			    (r->until - now) / DAY);
	else
		doctor_find(f, DOCTOR_CLOCK_SERVER, DOCTOR_OK,
			    "it is valid now, and for %" PRId64 " more days",
			    (r->until - now) / DAY);
}

static void judge_http(struct doctor_findings *f, const struct doctor_subject *s,
		       const struct wan_probe_result *r)
{
	if (r->mutual)
		doctor_find(f, DOCTOR_NET_MUTUAL, DOCTOR_OK, "both sides authenticated");
	else
		doctor_find(f, DOCTOR_NET_MUTUAL, DOCTOR_WARNING,
			    "the server did not ask who this PN GW is, or it has nothing to show");
	if (strcmp(r->alpn, "h2") == 0)
		doctor_find(f, DOCTOR_NET_HTTP, DOCTOR_OK, "HTTP/2");
	else
		doctor_find(f, DOCTOR_NET_HTTP, DOCTOR_WARNING, "HTTP/1.1%s",
			    r->alpn[0] ? "" : ", for want of an agreement");
	if (!r->answered)
		doctor_find(f, DOCTOR_NET_ANSWER, DOCTOR_FAILED, "no HTTP answer: %s", r->why);
	else if (r->http == 404 || r->http == 405)
		doctor_find(f, DOCTOR_NET_ANSWER, DOCTOR_FAILED,
			    "HTTP status %d: nothing takes messages at %s", r->http,
			    s->config->path);
	else if (r->http >= 500)
		doctor_find(f, DOCTOR_NET_ANSWER, DOCTOR_FAILED,
			    "HTTP status %d: the server has trouble of its own", r->http);
	else
		doctor_find(f, DOCTOR_NET_ANSWER, DOCTOR_OK,
			    "it answered within %u ms, with HTTP status %d to what is no message",
			    r->answer_ms, r->http);
}

static void judge_tls(struct doctor_findings *f, const struct doctor_subject *s,
		      const struct wan_probe_result *r)
{
	static const char none[] = "there is no TLS connection";

	judge_certificate(f, r);
	if (r->established) {
		doctor_find(f, DOCTOR_NET_TLS, DOCTOR_OK, "%s within %u ms", r->version,
			    r->handshake_ms);
		judge_http(f, s, r);
		return;
	}
	doctor_find(f, DOCTOR_NET_TLS, DOCTOR_FAILED, "%s", r->why);
	doctor_find(f, DOCTOR_NET_MUTUAL, DOCTOR_NOT_APPLICABLE, none);
	doctor_find(f, DOCTOR_NET_HTTP, DOCTOR_NOT_APPLICABLE, none);
	doctor_find(f, DOCTOR_NET_ANSWER, DOCTOR_NOT_APPLICABLE, none);
}

static void judge_own(struct doctor_findings *f, const struct doctor_subject *s)
{
	if (!s->core)
		doctor_find(f, DOCTOR_WAN_UP, DOCTOR_NOT_APPLICABLE, "pngwd does not run");
	else if (!s->wan)
		doctor_find(f, DOCTOR_WAN_UP, DOCTOR_WARNING, "it is being made anew");
	else if (s->wan->up)
		doctor_find(f, DOCTOR_WAN_UP, DOCTOR_OK, "it is up: %s",
			    s->wan->http2 ? "HTTP/2" : "HTTP/1.1");
	else
		doctor_find(f, DOCTOR_WAN_UP, DOCTOR_FAILED, "it is down: %s", s->wan->why);
}

void doctor_judge_network(struct doctor_findings *f, const struct doctor_subject *s,
			  const struct wan_probe_result *r, const char *why)
{
	static const enum doctor_id after[] = {DOCTOR_NET_CONNECT, DOCTOR_CLOCK_SERVER,
					       DOCTOR_NET_TLS,     DOCTOR_NET_MUTUAL,
					       DOCTOR_NET_HTTP,    DOCTOR_NET_ANSWER};
	const struct config *c = s->config;
	size_t from = 0;

	judge_own(f, s);
	if (!r) {
		doctor_find(f, DOCTOR_NET_RESOLVE, DOCTOR_NOT_APPLICABLE, "%.300s", why);
		why = "the server was not tried";
	} else if (!r->resolved) {
		doctor_find(f, DOCTOR_NET_RESOLVE, DOCTOR_FAILED, "%s: %s", c->host, r->why);
		why = "the server's address is not known";
	} else {
		doctor_find(f, DOCTOR_NET_RESOLVE, DOCTOR_OK, "%s has %u address%s", c->host,
			    r->addresses, r->addresses == 1 ? "" : "es");
		if (r->connected) {
			doctor_find(f, DOCTOR_NET_CONNECT, DOCTOR_OK,
				    "port %u took a connection within %u ms", c->port,
				    r->connect_ms);
			judge_tls(f, s, r);
			return;
		}
		doctor_find(f, DOCTOR_NET_CONNECT, DOCTOR_FAILED, "port %u of %s: %s", c->port,
			    c->host, r->why);
		from = 1;
		why = "there is no connection";
	}
	for (size_t i = from; i < sizeof(after) / sizeof(after[0]); i++)
		doctor_find(f, after[i], DOCTOR_NOT_APPLICABLE, "%s", why);
}

/* A socket that is being connected, or a negative errno. */
static int begin_connect(const struct sockaddr *address, socklen_t size)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, address, size) != 0 && errno != EINPROGRESS) {
		int r = -errno;

		(void)close(fd);
		return r;
	}
	return fd;
}

static int connect_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	return begin_connect((const struct sockaddr *)&address, sizeof(address));
}

/* "ADDRESS:PORT", an IPv6 address in brackets. */
static int connect_tcp(const char *text)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	char host[CONFIG_TEXT_MAX];
	struct addrinfo *address;
	char *colon;
	int r;

	(void)snprintf(host, sizeof(host), "%s", text[0] == '[' ? text + 1 : text);
	colon = strrchr(host, ':');
	if (!colon)
		return -EINVAL;
	*colon = '\0';
	if (colon > host && colon[-1] == ']')
		colon[-1] = '\0';
	if (getaddrinfo(host, colon + 1, &hints, &address) != 0)
		return -EINVAL;
	r = begin_connect(address->ai_addr, address->ai_addrlen);
	freeaddrinfo(address);
	return r;
}

/* Waits for the hello that pngwd begins with. 0 or a negative errno. */
static int await_hello(struct doctor_work *w, int fd)
{
	for (int waited = 0; waited < LISTENER_MS; waited += SLICE_MS) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int n = poll(&p, 1, SLICE_MS);
		char byte;
		ssize_t got;

		if (doctor_work_stopped(w))
			return -ECANCELED;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n <= 0)
			continue;
		got = read(fd, &byte, 1);
		if (got > 0)
			return 0;
		if (got == 0)
			return -ECONNRESET;
		if (errno != EAGAIN)
			return -errno;
	}
	return -ETIMEDOUT;
}

void doctor_examine_listeners(struct doctor_work *w)
{
	struct doctor_findings *f = &w->findings;
	const struct config *c = &w->config;

	if (!w->runs || c->listen_count == 0) {
		doctor_find(f, DOCTOR_PAN_LISTEN, DOCTOR_NOT_APPLICABLE, "%s",
			    w->runs ? "pan.listen is not configured" : "pngwd does not run");
		return;
	}
	for (size_t i = 0; i < c->listen_count; i++) {
		const char *address = c->listen[i].address;
		int fd = strncmp(address, "unix:", 5) == 0 ? connect_unix(address + 5)
							   : connect_tcp(address + 4);
		int r = fd < 0 ? fd : await_hello(w, fd);

		if (fd >= 0)
			(void)close(fd);
		if (r != 0) {
			doctor_find(f, DOCTOR_PAN_LISTEN, DOCTOR_FAILED, "%s: %s", address,
				    strerror(-r));
			return;
		}
	}
	doctor_find(f, DOCTOR_PAN_LISTEN, DOCTOR_OK, "%zu listeners said hello", c->listen_count);
}
