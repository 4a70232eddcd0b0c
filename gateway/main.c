/* pngwd: the PN GW. */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "gateway/daemon.h"
#include "gateway/doctor.h"
#include "gateway/hosted-pne.h"
#include "gateway/metrics.h"
#include "gateway/opening.h"
#include "protocol/process.h"
#include <config.h>

#define EXIT_USAGE  64
#define EXIT_CONFIG 78

static const char usage[] =
	"usage: pngwd --config FILE [--check-config | --doctor [--json]]\n"
	"  --config FILE     settings, see pngw.conf(5)\n"
	"  --check-config    read the settings and the files they name, say what is wrong, and "
	"end\n"
	"  --doctor          examine what pngwd stands on, where it does not run; 1: a check "
	"failed\n"
	"  --json            the same for a program\n"
	"  --list-checks     every check of --doctor as a table, and end\n"
	"  --list-metrics    every metric as a table, and end\n"
	"  --list-settings   every setting as a table, and end\n"
	"  --version         and end\n"
	"  --help            this text, and end\n"
	"SIGHUP reads credentials and limits again; SIGTERM and SIGINT stop cleanly.\n";

/* Every link takes a descriptor: as many as the system allows, not as it gives to begin with. */
static void raise_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return;
	files.rlim_cur = files.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &files);
}

static void prepare(void)
{
	raise_files();
	(void)signal(SIGPIPE, SIG_IGN);
}

/* What runs on the loop. */
struct programme {
	uv_loop_t loop;
	const struct config *config;
	struct gateway_hosted_pne *pne;
	char why[OPENING_WHY_SIZE];
};

static void ready(void *arg, struct gateway_daemon *d)
{
	struct programme *p = arg;

	if (gateway_hosted_pne_new(&p->loop, p->config, &p->pne, p->why, sizeof(p->why)) != 0)
		gateway_daemon_stop(d);
}

static void stopping(void *arg)
{
	struct programme *p = arg;

	gateway_hosted_pne_stop(p->pne);
	p->pne = NULL;
}

static int run(const char *file, const struct config *config)
{
	static const struct gateway_daemon_events events = {.ready = ready, .stopping = stopping};
	struct programme p = {.config = config};
	struct gateway_daemon *d = NULL;
	const char *failure = NULL;
	int r = uv_loop_init(&p.loop);

	if (r != 0) {
		(void)fprintf(stderr, "pngwd: %s\n", strerror(-r));
		return EXIT_FAILURE;
	}
	if (gateway_daemon_new(&p.loop, file, config, &events, &p, &d, p.why, sizeof(p.why)) != 0 &&
	    d)
		gateway_daemon_stop(d);
	(void)uv_run(&p.loop, UV_RUN_DEFAULT);
	if (d)
		failure = gateway_daemon_failure(d);
	if (!failure && p.why[0])
		failure = p.why;
	if (failure)
		(void)fprintf(stderr, "pngwd: %s\n", failure);
	r = failure ? EXIT_FAILURE : EXIT_SUCCESS;
	gateway_daemon_free(d);
	if (uv_loop_close(&p.loop) != 0) {
		(void)fputs("pngwd: not everything was closed\n", stderr);
		return EXIT_FAILURE;
	}
	return r;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},  {"check-config", no_argument, NULL, 'k'},
		{"doctor", no_argument, NULL, 'd'},        {"json", no_argument, NULL, 'j'},
		{"list-checks", no_argument, NULL, 'L'},   {"list-metrics", no_argument, NULL, 'M'},
		{"list-settings", no_argument, NULL, 'l'}, {"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
	};
	struct config config;
	const char *file = NULL;
	bool check = false, doctor = false, json = false;
	char why[1024];
	int option;

	process_keep_secrets();
	while ((option = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			file = optarg;
			break;
		case 'k':
			check = true;
			break;
		case 'd':
			doctor = true;
			break;
		case 'j':
			json = true;
			break;
		case 'L':
			gateway_doctor_write_markdown(stdout);
			return EXIT_SUCCESS;
		case 'M':
			gateway_metrics_write_markdown(stdout);
			return EXIT_SUCCESS;
		case 'l':
			gateway_config_write_markdown(stdout);
			return EXIT_SUCCESS;
		case 'V':
			(void)puts(PACKAGE_STRING);
			return EXIT_SUCCESS;
		case 'h':
			(void)fputs(usage, stdout);
			return EXIT_SUCCESS;
		default:
			(void)fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (!file || optind != argc || (doctor && check) || (json && !doctor)) {
		(void)fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (doctor) {
		prepare();
		(void)secret_setup();
		return gateway_doctor_offline(file, json);
	}
	if (gateway_config_load(file, &config, why, sizeof(why)) != 0) {
		(void)fprintf(stderr, "%s\n", why);
		return EXIT_CONFIG;
	}
	if (check) {
		(void)secret_setup();
		if (gateway_daemon_check(file, &config, stdout, why, sizeof(why)) != 0) {
			(void)fprintf(stderr, "%s\n", why);
			return EXIT_CONFIG;
		}
		(void)printf("%s: good\n", file);
		return EXIT_SUCCESS;
	}
	prepare();
	if (secret_setup() != 0)
		(void)fputs("pngwd: memory cannot be locked: keys may reach the swap space\n",
			    stderr);
	return run(file, &config);
}
