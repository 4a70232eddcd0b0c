#include "pan/bearer-local.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_LINKS 16

/* One end: a bearer and what it reported. */
struct end {
	struct bearer *b;
	struct bearer_link *links[MAX_LINKS]; /* those that are up */
	unsigned ups, downs, fails, stops;
	enum bearer_down why;
	int down_error, fail_error;
	enum pan_security level;
	char peer[128], fail_address[128];
	uint8_t input[1 << 20];
	size_t input_size;
	bool echo, drop_at_up, stop_at_up, stop_at_bytes, stop_at_down;
};

static uv_loop_t loop;
static char folder[64];
static struct end a, z;

static void link_up(void *arg, struct bearer_link *l, enum pan_security level, const char *peer)
{
	struct end *e = arg;
	size_t i = 0;

	while (e->links[i])
		i++;
	ck_assert_uint_lt(i, MAX_LINKS);
	e->links[i] = l;
	e->ups++;
	e->level = level;
	snprintf(e->peer, sizeof(e->peer), "%s", peer);
	if (e->drop_at_up)
		bearer_drop(e->b, l, BEARER_DOWN_ERROR);
	if (e->stop_at_up)
		bearer_stop(e->b);
}

static void link_bytes(void *arg, struct bearer_link *l, struct bytes input)
{
	struct end *e = arg;

	ck_assert_uint_le(input.size, sizeof(e->input) - e->input_size);
	memcpy(e->input + e->input_size, input.data, input.size);
	e->input_size += input.size;
	if (e->echo)
		ck_assert_int_eq(bearer_send(e->b, l, input), 0);
	if (e->stop_at_bytes)
		bearer_stop(e->b);
}

static void security(void *arg, struct bearer_link *l, enum pan_security level)
{
	(void)arg;
	(void)l;
	(void)level;
	ck_abort_msg("the level of a local socket does not change");
}

static void link_down(void *arg, struct bearer_link *l, enum bearer_down why, int error)
{
	struct end *e = arg;
	size_t i = 0;

	while (i < MAX_LINKS && e->links[i] != l)
		i++;
	ck_assert_uint_lt(i, MAX_LINKS);
	e->links[i] = NULL;
	e->downs++;
	e->why = why;
	e->down_error = error;
	if (e->stop_at_down)
		bearer_stop(e->b);
}

static void connect_failed(void *arg, const char *address, int error, const char *why)
{
	struct end *e = arg;

	(void)snprintf(e->fail_address, sizeof(e->fail_address), "%s", address);
	ck_assert_str_eq(why, strerror(-error));
	e->fails++;
	e->fail_error = error;
}

static void stopped(void *arg)
{
	struct end *e = arg;

	e->stops++;
	e->b = NULL;
}

static const struct bearer_callbacks callbacks = {
	.link_up = link_up,
	.link_bytes = link_bytes,
	.security = security,
	.link_down = link_down,
	.connect_failed = connect_failed,
	.stopped = stopped,
};

static void setup(void)
{
	memset(&a, 0, sizeof(a));
	memset(&z, 0, sizeof(z));
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	snprintf(folder, sizeof(folder), "/tmp/pngw-bearer-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void stop(struct end *e)
{
	if (e->b)
		bearer_stop(e->b);
}

/* Every test ends here: nothing is open, every link that came up went down, each end stopped once.
 */
static void teardown(void)
{
	unsigned made = (a.b || a.stops ? 1U : 0U) + (z.b || z.stops ? 1U : 0U);

	stop(&a);
	stop(&z);
	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	ck_assert_uint_eq(a.ups, a.downs);
	ck_assert_uint_eq(z.ups, z.downs);
	ck_assert_uint_eq(a.stops + z.stops, made);
	ck_assert_int_eq(rmdir(folder), 0);
}

static const char *in_folder(const char *name)
{
	static char text[128];

	snprintf(text, sizeof(text), "unix:%s/%s", folder, name);
	return text;
}

static void make(struct end *e, const char *listen, size_t quota, unsigned max_links)
{
	struct bearer_local_options options = {
		.listen = listen,
		.security = PAN_SECURITY_ENCRYPTED,
		.quota = quota,
		.max_links = max_links,
	};

	ck_assert_int_eq(bearer_local_new(&loop, &options, &callbacks, e, &e->b), 0);
}

static void on_deadline(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

/* Runs the loop until condition, at most 5 seconds. */
#define RUN_UNTIL(condition)                                            \
	do {                                                            \
		bool late_ = false;                                     \
		uv_timer_t timer_;                                      \
		uv_timer_init(&loop, &timer_);                          \
		timer_.data = &late_;                                   \
		uv_timer_start(&timer_, on_deadline, 5000, 0);          \
		while (!(condition) && !late_)                          \
			uv_run(&loop, UV_RUN_ONCE);                     \
		uv_close((uv_handle_t *)&timer_, NULL);                 \
		uv_run(&loop, UV_RUN_NOWAIT);                           \
		ck_assert_msg(condition, "never came: %s", #condition); \
	} while (0)

/* A port that is free now; family without a loopback address: 0. */
static unsigned free_port(int family)
{
	struct sockaddr_storage storage;
	socklen_t size = sizeof(storage);
	int fd = socket(family, SOCK_STREAM, 0);
	unsigned port = 0;

	memset(&storage, 0, sizeof(storage));
	if (fd < 0)
		return 0;
	if (family == AF_INET6)
		uv_ip6_addr("::1", 0, (struct sockaddr_in6 *)&storage);
	else
		uv_ip4_addr("127.0.0.1", 0, (struct sockaddr_in *)&storage);
	if (bind(fd, (struct sockaddr *)&storage, size) == 0 &&
	    getsockname(fd, (struct sockaddr *)&storage, &size) == 0)
		port = ntohs(family == AF_INET6 ? ((struct sockaddr_in6 *)&storage)->sin6_port
						: ((struct sockaddr_in *)&storage)->sin_port);
	close(fd);
	return port;
}

/* A plain socket for peers that do what no bearer would. */
static int plain_connect(const char *address)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bytes_to_text(bytes_text(address + 5), un.sun_path, sizeof(un.sun_path)),
			 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	return fd;
}

static int plain_listen(const char *address)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bytes_to_text(bytes_text(address + 5), un.sun_path, sizeof(un.sun_path)),
			 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	return fd;
}

static const struct {
	const char *text;
	bool valid;
} addresses[] = {
	{"unix:/run/pngw/pan", true},
	{"unix:", false},
	{"unix:relative", false},
	{"tcp:127.0.0.1:1", true},
	{"tcp:0.0.0.0:65535", true},
	{"tcp:[::1]:4000", true},
	{"tcp:[::]:4000", true},
	{"tcp:::1:4000", false},
	{"tcp:[::1]", false},
	{"tcp:[::1:4000", false},
	{"tcp:[::1]4000", false},
	{"tcp:[127.0.0.1]:4000", false},
	{"tcp:127.0.0.1", false},
	{"tcp:127.0.0.1:", false},
	{"tcp:127.0.0.1:0", false},
	{"tcp:127.0.0.1:080", false},
	{"tcp:127.0.0.1:65536", false},
	{"tcp:127.0.0.1:100000", false},
	{"tcp:127.0.0.1:1x", false},
	{"tcp:127.0.0.1:-1", false},
	{"tcp:example.org:80", false},
	{"udp:127.0.0.1:80", false},
	{"", false},
	{NULL, false},
};

START_TEST(address_table)
{
	char longest[5 + 109] = "unix:/";

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
		ck_assert_msg(bearer_local_address_valid(addresses[i].text) == addresses[i].valid,
			      "%s", addresses[i].text ? addresses[i].text : "(null)");
	memset(longest + 6, 'x', 106);
	ck_assert(bearer_local_address_valid(longest));
	longest[112] = 'x';
	ck_assert(!bearer_local_address_valid(longest));
}
END_TEST

START_TEST(bad_options)
{
	struct bearer_local_options options = {.listen = "tcp:nowhere"};
	struct bearer *b;

	ck_assert_int_eq(bearer_local_new(&loop, &options, &callbacks, &a, &b), -EINVAL);
}
END_TEST

START_TEST(security_names)
{
	ck_assert_str_eq(pan_security_name(PAN_SECURITY_NONE), "none");
	ck_assert_str_eq(pan_security_name(PAN_SECURITY_ENCRYPTED), "encrypted");
	ck_assert_str_eq(pan_security_name(PAN_SECURITY_AUTHENTICATED), "authenticated");
}
END_TEST

static void converse(const char *address, const char *peer_begins)
{
	make(&a, address, 0, 0);
	make(&z, NULL, 0, 0);
	z.echo = true;
	ck_assert_int_eq(bearer_start(a.b), 0);
	ck_assert_int_eq(bearer_start(a.b), -EALREADY);
	ck_assert_int_eq(bearer_start(z.b), 0);
	ck_assert_int_eq(bearer_connect(z.b, address), 0);
	RUN_UNTIL(a.ups == 1 && z.ups == 1);
	ck_assert_int_eq(a.level, PAN_SECURITY_ENCRYPTED);
	ck_assert_msg(strncmp(a.peer, peer_begins, strlen(peer_begins)) == 0, "%s", a.peer);
	ck_assert_int_eq(bearer_send(a.b, a.links[0], bytes_text("there")), 0);
	ck_assert_int_eq(bearer_send(a.b, a.links[0], BYTES_NONE), 0);
	ck_assert_int_eq(bearer_send(a.b, a.links[0], bytes_text(" and back")), 0);
	RUN_UNTIL(a.input_size == 14);
	ck_assert_mem_eq(a.input, "there and back", 14);
	stop(&z);
	RUN_UNTIL(z.stops == 1 && a.downs == 1);
	ck_assert_int_eq(z.why, BEARER_DOWN_CLOSED);
	ck_assert_int_eq(z.down_error, 0);
	ck_assert_int_eq(a.why, BEARER_DOWN_PEER);
}

START_TEST(unix_socket)
{
	const char *address = in_folder("s");
	struct stat st;
	mode_t mask = umask(077);

	converse(address, "unix:pid ");
	umask(mask);
	ck_assert_int_eq(stat(address + 5, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0660);
	stop(&a);
	ck_assert_int_eq(stat(address + 5, &st), -1);
}
END_TEST

START_TEST(tcp_ipv4)
{
	char address[64];

	snprintf(address, sizeof(address), "tcp:127.0.0.1:%u", free_port(AF_INET));
	converse(address, "tcp:127.0.0.1:");
}
END_TEST

START_TEST(tcp_ipv6)
{
	char address[64];
	unsigned port = free_port(AF_INET6);

	if (port == 0)
		return;
	snprintf(address, sizeof(address), "tcp:[::1]:%u", port);
	converse(address, "tcp:[::1]:");
}
END_TEST

START_TEST(stale_socket_is_replaced)
{
	const char *address = in_folder("s");
	int fd = plain_listen(address);

	make(&a, address, 0, 0);
	ck_assert_int_eq(bearer_start(a.b), -EADDRINUSE);
	ck_assert_int_eq(access(address + 5, F_OK), 0);
	close(fd);
	ck_assert_int_eq(bearer_start(a.b), 0);
	close(plain_connect(address));
	RUN_UNTIL(a.ups == 1 && a.downs == 1);
}
END_TEST

START_TEST(other_files_are_left_alone)
{
	const char *address = in_folder("s");
	FILE *file = fopen(address + 5, "w");

	ck_assert_ptr_nonnull(file);
	fclose(file);
	make(&a, address, 0, 0);
	ck_assert_int_eq(bearer_start(a.b), -EADDRINUSE);
	ck_assert_int_eq(unlink(address + 5), 0);
	ck_assert_int_eq(bearer_start(a.b), 0);
	/* A successor's socket under the same name is not this bearer's to remove. */
	ck_assert_int_eq(unlink(address + 5), 0);
	close(plain_listen(address));
	stop(&a);
	RUN_UNTIL(a.stops == 1);
	ck_assert_int_eq(unlink(address + 5), 0);
}
END_TEST

START_TEST(no_such_folder)
{
	make(&a, in_folder("no/such"), 0, 0);
	ck_assert_int_eq(bearer_start(a.b), -ENOENT);
}
END_TEST

START_TEST(tcp_port_in_use)
{
	char address[64];

	snprintf(address, sizeof(address), "tcp:127.0.0.1:%u", free_port(AF_INET));
	make(&a, address, 0, 0);
	make(&z, address, 0, 0);
	ck_assert_int_eq(bearer_start(a.b), 0);
	ck_assert_int_eq(bearer_start(z.b), -EADDRINUSE);
	stop(&a);
	RUN_UNTIL(a.stops == 1);
	ck_assert_int_eq(bearer_start(z.b), 0);
}
END_TEST

START_TEST(connecting_fails)
{
	char address[64];

	make(&z, NULL, 0, 0);
	ck_assert_int_eq(bearer_connect(z.b, "somewhere"), -EINVAL);
	ck_assert_int_eq(bearer_connect(z.b, in_folder("nobody")), 0);
	RUN_UNTIL(z.fails == 1);
	ck_assert_int_eq(z.fail_error, -ENOENT);
	ck_assert_str_eq(z.fail_address, in_folder("nobody"));
	snprintf(address, sizeof(address), "tcp:127.0.0.1:%u", free_port(AF_INET));
	ck_assert_int_eq(bearer_connect(z.b, address), 0);
	RUN_UNTIL(z.fails == 2);
	ck_assert_int_eq(z.fail_error, -ECONNREFUSED);
	ck_assert_str_eq(z.fail_address, address);
	ck_assert_uint_eq(z.ups, 0);
}
END_TEST

START_TEST(stop_while_connecting)
{
	char address[64];

	snprintf(address, sizeof(address), "tcp:127.0.0.1:%u", free_port(AF_INET));
	make(&a, address, 0, 0);
	make(&z, NULL, 0, 0);
	ck_assert_int_eq(bearer_start(a.b), 0);
	ck_assert_int_eq(bearer_connect(z.b, address), 0);
	stop(&z);
	ck_assert_int_eq(bearer_connect(z.b, address), -ECANCELED);
	ck_assert_int_eq(bearer_start(z.b), -ECANCELED);
	stop(&z);
	RUN_UNTIL(z.stops == 1);
	ck_assert_uint_eq(z.fails, 1);
	ck_assert_int_eq(z.fail_error, -ECANCELED);
	ck_assert_uint_eq(z.ups, 0);
}
END_TEST

START_TEST(peer_that_never_reads)
{
	const char *address = in_folder("s");
	static uint8_t block[4096];
	unsigned sent = 0;
	int fd, rc;

	make(&a, address, 64 * 1024, 0);
	ck_assert_int_eq(bearer_start(a.b), 0);
	fd = plain_connect(address);
	RUN_UNTIL(a.ups == 1);
	while ((rc = bearer_send(a.b, a.links[0], bytes_of(block, sizeof(block)))) == 0)
		ck_assert_uint_lt(sent++, 4096);
	ck_assert_int_eq(rc, -EDQUOT);
	ck_assert_uint_ge(sent, 16);
	/* Nothing is reported from within the call, and the link stays refused until it is down. */
	ck_assert_uint_eq(a.downs, 0);
	ck_assert_int_eq(bearer_send(a.b, a.links[0], bytes_of(block, 1)), -EDQUOT);
	bearer_drop(a.b, a.links[0], BEARER_DOWN_CLOSED);
	RUN_UNTIL(a.downs == 1);
	ck_assert_int_eq(a.why, BEARER_DOWN_QUOTA);
	close(fd);
}
END_TEST

START_TEST(slow_reader_loses_nothing)
{
	const char *address = in_folder("s");
	static uint8_t block[512 * 1024];

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)(i * 7 + i / 251);
	make(&a, address, 1 << 20, 0);
	make(&z, NULL, 0, 0);
	ck_assert_int_eq(bearer_start(a.b), 0);
	ck_assert_int_eq(bearer_connect(z.b, address), 0);
	RUN_UNTIL(a.ups == 1 && z.ups == 1);
	ck_assert_int_eq(bearer_send(a.b, a.links[0], bytes_of(block, sizeof(block))), 0);
	RUN_UNTIL(z.input_size == sizeof(block));
	ck_assert(memcmp(z.input, block, sizeof(block)) == 0);
}
END_TEST

START_TEST(half_closed_peer)
{
	const char *address = in_folder("s");
	int fd;

	make(&a, address, 0, 0);
	ck_assert_int_eq(bearer_start(a.b), 0);
	fd = plain_connect(address);
	ck_assert_int_eq(write(fd, "bye", 3), 3);
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	RUN_UNTIL(a.downs == 1);
	ck_assert_int_eq(a.why, BEARER_DOWN_PEER);
	ck_assert_int_eq(a.down_error, 0);
	ck_assert_mem_eq(a.input, "bye", 3);
	close(fd);
}
END_TEST

START_TEST(peer_that_vanishes_while_we_write)
{
	const char *address = in_folder("s");
	static uint8_t block[128 * 1024];
	int fd;

	make(&a, address, 1 << 20, 0);
	ck_assert_int_eq(bearer_start(a.b), 0);
	fd = plain_connect(address);
	RUN_UNTIL(a.ups == 1);
	close(fd);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(bearer_send(a.b, a.links[0], bytes_of(block, sizeof(block))), 0);
	RUN_UNTIL(a.downs == 1);
	ck_assert_int_eq(a.why, BEARER_DOWN_PEER);
}
END_TEST

START_TEST(further_peers_are_closed)
{
	const char *address = in_folder("s");
	int fds[4];
	char c;

	make(&a, address, 0, 2);
	ck_assert_int_eq(bearer_start(a.b), 0);
	for (size_t i = 0; i < 4; i++)
		fds[i] = plain_connect(address);
	RUN_UNTIL(a.ups == 2);
	ck_assert_int_eq(read(fds[2], &c, 1), 0);
	ck_assert_int_eq(read(fds[3], &c, 1), 0);
	ck_assert_uint_eq(a.downs, 0);
	close(fds[0]);
	RUN_UNTIL(a.downs == 1);
	close(fds[2]);
	fds[2] = plain_connect(address);
	RUN_UNTIL(a.ups == 3);
	for (size_t i = 1; i < 4; i++)
		close(fds[i]);
	RUN_UNTIL(a.downs == 3);
}
END_TEST

START_TEST(stop_closes_all)
{
	const char *address = in_folder("s");
	int fds[8];

	make(&a, address, 0, 0);
	ck_assert_int_eq(bearer_start(a.b), 0);
	for (size_t i = 0; i < 8; i++)
		fds[i] = plain_connect(address);
	RUN_UNTIL(a.ups == 8);
	for (size_t i = 0; i < 8; i++)
		ck_assert_int_eq(bearer_send(a.b, a.links[i], bytes_text("x")), 0);
	stop(&a);
	ck_assert_uint_eq(a.downs, 0);
	ck_assert_int_eq(bearer_send(a.b, a.links[0], bytes_text("x")), -ENOTCONN);
	RUN_UNTIL(a.stops == 1);
	ck_assert_uint_eq(a.downs, 8);
	ck_assert_int_eq(a.why, BEARER_DOWN_CLOSED);
	for (size_t i = 0; i < 8; i++)
		close(fds[i]);
}
END_TEST

/* The owner closes things from within each callback. */
static const struct {
	const char *what;
	bool drop_at_up, stop_at_up, stop_at_bytes, stop_at_down;
	enum bearer_down why;
} reentrant[] = {
	{"drop in link_up", true, false, false, false, BEARER_DOWN_ERROR},
	{"stop in link_up", false, true, false, false, BEARER_DOWN_CLOSED},
	{"drop and stop in link_up", true, true, false, false, BEARER_DOWN_ERROR},
	{"stop in link_bytes", false, false, true, false, BEARER_DOWN_CLOSED},
	{"stop in link_down", false, false, false, true, BEARER_DOWN_PEER},
};

START_TEST(closed_from_within)
{
	const char *address = in_folder("s");
	int fd;

	make(&a, address, 0, 0);
	a.drop_at_up = reentrant[_i].drop_at_up;
	a.stop_at_up = reentrant[_i].stop_at_up;
	a.stop_at_bytes = reentrant[_i].stop_at_bytes;
	a.stop_at_down = reentrant[_i].stop_at_down;
	ck_assert_int_eq(bearer_start(a.b), 0);
	fd = plain_connect(address);
	ck_assert_int_eq(write(fd, "hello", 5), 5);
	if (a.stop_at_down)
		close(fd);
	RUN_UNTIL(a.downs == 1);
	ck_assert_msg(a.why == reentrant[_i].why, "%s", reentrant[_i].what);
	if (a.stop_at_up || a.stop_at_bytes || a.stop_at_down)
		RUN_UNTIL(a.stops == 1);
	if (!a.stop_at_down)
		close(fd);
}
END_TEST

START_TEST(never_started)
{
	make(&a, in_folder("s"), 0, 0);
	make(&z, NULL, 0, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bearer-local");
	TCase *tcase = tcase_create("bearer-local");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, address_table);
	tcase_add_test(tcase, bad_options);
	tcase_add_test(tcase, security_names);
	tcase_add_test(tcase, unix_socket);
	tcase_add_test(tcase, tcp_ipv4);
	tcase_add_test(tcase, tcp_ipv6);
	tcase_add_test(tcase, stale_socket_is_replaced);
	tcase_add_test(tcase, other_files_are_left_alone);
	tcase_add_test(tcase, no_such_folder);
	tcase_add_test(tcase, tcp_port_in_use);
	tcase_add_test(tcase, connecting_fails);
	tcase_add_test(tcase, stop_while_connecting);
	tcase_add_test(tcase, peer_that_never_reads);
	tcase_add_test(tcase, slow_reader_loses_nothing);
	tcase_add_test(tcase, half_closed_peer);
	tcase_add_test(tcase, peer_that_vanishes_while_we_write);
	tcase_add_test(tcase, further_peers_are_closed);
	tcase_add_test(tcase, stop_closes_all);
	tcase_add_loop_test(tcase, closed_from_within, 0,
			    (int)(sizeof(reentrant) / sizeof(reentrant[0])));
	tcase_add_test(tcase, never_started);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
