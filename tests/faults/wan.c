/*
 * Faults on the way to the CPNS Server: a whole pngwd without its main, against
 * tests/faults/rogue.py.
 *
 * GIVEN is the command, register or figure8, and settings of the PN GW: host=, verify=, ca=,
 * no-cert, own-cert=, tls12, psk= (what its file holds), connect= and deadline= in milliseconds,
 * clock= in seconds since 1970. FAULT is what stands at the port: a behaviour of rogue.py, or "psk
 * KEY", a server of our own that has that line in its file.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "gateway/daemon-internal.h"
#include "tests/faults/faults.h"
#include "wan/listener.h"

#define PATIENCE_S 60
#define LOOK_MS    10

static const char *certs;
static const char *ports;
static int64_t clock_is; /* 0: as it is */

/* The clock of this process, and of wolfSSL in it. */
time_t time(time_t *out)
{
	struct timespec now;
	time_t t;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	t = clock_is ? (time_t)clock_is : now.tv_sec;
	if (out)
		*out = t;
	return t;
}

struct trial {
	uv_loop_t loop;
	uv_timer_t look;
	struct gateway_daemon *daemon;
	struct listener *listener;
	enum figure figure;
	bool started, stopped;
	time_t deadline;
	char log[16384];
};

/* Where a fault cannot be injected at all. */
static void must(bool good, const char *what)
{
	if (good)
		return;
	(void)printf("not so: %s\n", what);
	(void)fflush(stdout);
	_exit(3);
}

/* What follows "NAME=" among the words of given, or fallback. */
static const char *value_of(const char *given, const char *name, const char *fallback, char *out,
			    size_t size)
{
	char wanted[32];
	const char *at;

	(void)snprintf(wanted, sizeof(wanted), " %s=", name);
	at = strstr(given, wanted);
	if (!at)
		return fallback;
	at += strlen(wanted);
	(void)snprintf(out, size, "%.*s", (int)strcspn(at, " "), at);
	return out;
}

static unsigned port_of(const char *behaviour)
{
	FILE *f = fopen(ports, "r");
	char name[64];
	unsigned port, found = 0;

	must(f != NULL, "it is there");
	while (fscanf(f, "%63s %u", name, &port) == 2) {
		if (strcmp(name, behaviour) == 0)
			found = port;
	}
	(void)fclose(f);
	must(found != 0, behaviour);
	return found;
}

static void put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	must(f != NULL, "it is there");
	(void)fputs(text, f);
	(void)fclose(f);
	(void)chmod(path, 0600);
}

/* The settings that GIVEN names, into folder/conf. */
static void configure(const char *folder, const char *given, unsigned port)
{
	char host[128], verify[128], ca[128], own[64], psk[160], connect[16], deadline[16];
	char text[4096], tls[1024], psk_path[128];
	const char *key = value_of(given, "psk", NULL, psk, sizeof(psk));
	const char *own_name = value_of(given, "own-cert", "gateway", own, sizeof(own));
	char *under;

	if (key) {
		under = strchr(psk, '/');
		must(under != NULL, "it is there");
		*under = ' ';
		(void)snprintf(psk_path, sizeof(psk_path), "%s/psk", folder);
		put_file(psk_path, psk);
		(void)snprintf(tls, sizeof(tls), "psk_file = \"%s\";", psk_path);
	} else if (strstr(given, " no-cert")) {
		(void)snprintf(tls, sizeof(tls), "ca = \"%s/%s.pem\";", certs,
			       value_of(given, "ca", "ca", ca, sizeof(ca)));
	} else {
		(void)snprintf(
			tls, sizeof(tls),
			"ca = \"%s/%s.pem\"; certificate = \"%s/%s.pem\"; key = \"%s/%s.key\";",
			certs, value_of(given, "ca", "ca", ca, sizeof(ca)), certs, own_name, certs,
			own_name);
	}
	(void)snprintf(
		text, sizeof(text),
		"entity_id = \"gateway-1\";\n"
		"server = { entity_id = \"cpns-server\"; host = \"%s\"; verify_name = \"%s\"; "
		"port = %u;\nconnect_timeout = %s; request_deadline = %s; wait = 400; "
		"backoff_min = 10; backoff_max = 40;\ntls = { %s allow_tls12 = %s; }; };\n"
		"pan = { listen = ( { address = \"unix:%s/pan\"; security = \"none\"; } ); };\n"
		"vault = { path = \"%s/vault\"; key_file = \"%s/key\"; };\n"
		"control = { bus = \"unix:path=%s/bus\"; };\n",
		value_of(given, "host", "127.0.0.1", host, sizeof(host)),
		value_of(given, "verify", "localhost", verify, sizeof(verify)), port,
		value_of(given, "connect", "20000", connect, sizeof(connect)),
		value_of(given, "deadline", "20000", deadline, sizeof(deadline)), tls,
		strstr(given, " tls12") ? "true" : "false", folder, folder, folder, folder);
	(void)snprintf(psk_path, sizeof(psk_path), "%s/conf", folder);
	put_file(psk_path, text);
}

static void start(struct trial *t)
{
	SCOPED_SECRET *typed = secret_copy(bytes_text("correct horse"));
	struct core_start s = {.figure = t->figure, .typed = typed, .run = 1};

	must(typed != NULL, "it is there");
	must(name_set(&s.user, bytes_text("alice")) == 0, "it works");
	must(gateway_core_start(t->daemon->core, &s) == 1, "it starts");
}

static void end(struct trial *t)
{
	t->stopped = true;
	gateway_daemon_stop(t->daemon);
	if (t->listener)
		listener_stop(t->listener);
	uv_close((uv_handle_t *)&t->look, NULL);
}

/* Reads its own standard error, which is the daemon's journal. */
static void look(uv_timer_t *timer)
{
	struct trial *t = timer->data;
	ssize_t got = pread(STDERR_FILENO, t->log, sizeof(t->log) - 1, 0);

	t->log[got > 0 ? got : 0] = '\0';
	if (t->stopped)
		return;
	if (strstr(t->log, "verdict: ") || uv_hrtime() / 1000000000U > (uint64_t)t->deadline) {
		end(t);
	} else if (!t->started && t->daemon->core && strstr(t->log, "WAN is ")) {
		t->started = true;
		start(t);
	}
}

static void on_request(void *arg, struct listener_request *r, struct bytes body,
		       struct bytes authorization, const struct listener_peer *peer)
{
	(void)arg;
	(void)body;
	(void)authorization;
	(void)peer;
	listener_answer(r, 200, bytes_text("<hello/>"), NULL);
}

static void on_listener_stopped(void *arg)
{
	struct trial *t = arg;

	t->listener = NULL;
}

/* A server of our own with that line in its PSK file; returns its port. */
static unsigned listen_with_psk(struct trial *t, const char *folder, const char *line)
{
	static const struct listener_callbacks callbacks = {.request = on_request,
							    .stopped = on_listener_stopped};
	char path[160], why[256] = "";
	struct tls_options tls = {.side = TLS_SERVER, .psk_file = path};
	struct listener_options o = {.address = "127.0.0.1", .path = "/cpns"};

	(void)snprintf(path, sizeof(path), "%s/server-psk", folder);
	put_file(path, line);
	must(tls_context_new(&tls, &o.tls, why, sizeof(why)) == 0, why);
	must(listener_new(&t->loop, &o, &callbacks, t, &t->listener, why, sizeof(why)) == 0, why);
	tls_context_unref(o.tls);
	return listener_port(t->listener);
}

static void run(const struct fault_row *row, const char *folder, char *out)
{
	static const struct gateway_daemon_events events;
	static struct trial t;
	struct config config;
	char conf[128], log[128], why[512] = "", clock_text[32];
	const char *at;
	int fd;

	(void)snprintf(conf, sizeof(conf), "%s/conf", folder);
	(void)snprintf(log, sizeof(log), "%s/log", folder);
	fd = open(log, O_RDWR | O_CREAT | O_APPEND, 0600);
	must(fd >= 0, "a file opens");
	t.figure = strncmp(row->given, "register", 8) == 0 ? FIGURE_5 : FIGURE_8;
	t.deadline = (time_t)(uv_hrtime() / 1000000000U + PATIENCE_S);
	must(uv_loop_init(&t.loop) == 0, "it works");
	configure(folder, row->given,
		  strncmp(row->fault, "psk ", 4) == 0 ? listen_with_psk(&t, folder, row->fault + 4)
						      : port_of(row->fault));
	must(gateway_config_load(conf, &config, why, sizeof(why)) == 0, why);
	clock_is = strtoll(value_of(row->given, "clock", "0", clock_text, sizeof(clock_text)), NULL,
			   10);
	must(dup2(fd, STDERR_FILENO) >= 0, "a file opens");
	(void)close(fd);
	must(gateway_daemon_new(&t.loop, conf, &config, &events, NULL, &t.daemon, why,
				sizeof(why)) == 0,
	     why);
	(void)uv_timer_init(&t.loop, &t.look);
	t.look.data = &t;
	(void)uv_timer_start(&t.look, look, LOOK_MS, LOOK_MS);
	(void)uv_run(&t.loop, UV_RUN_DEFAULT);
	gateway_daemon_free(t.daemon);
	must(uv_loop_close(&t.loop) == 0, "it works");
	at = strstr(t.log, "verdict: ");
	if (at)
		(void)snprintf(out, VERDICT_TEXT_SIZE, "%.*s", (int)strcspn(at, "\n") - 9, at + 9);
	else
		(void)printf("%s: the journal:\n%s\n", row->name, t.log);
}

static void inject(const struct fault_row *row, char *out)
{
	char folder[] = "/tmp/pngw-wan-XXXXXX", command[64];

	(void)signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(folder))
		return;
	run(row, folder, out);
	(void)snprintf(command, sizeof(command), "rm -rf %s", folder);
	if (system(command) != 0)
		out[0] = '\0';
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		(void)fprintf(stderr, "usage: %s TABLE CERTIFICATES PORTS\n", argv[0]);
		return 64;
	}
	certs = argv[2];
	ports = argv[3];
	return faults_run(argv[1], 24, inject);
}
