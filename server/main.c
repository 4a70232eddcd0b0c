#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/process.h"
#include "protocol/secret.h"
#include "server/daemon.h"
#include <config.h>

static void usage(FILE *out)
{
	(void)fputs("usage: cpns-serverd --config FILE [--check-config]\n"
		    "  --config FILE     settings, see cpns-serverd(8)\n"
		    "  --check-config    read the settings and the files they name, say what is "
		    "wrong, and end\n"
		    "  --list-settings   every setting as a table, and end\n"
		    "  --version         and end\n"
		    "  --help            this text, and end\n"
		    "SIGHUP reads the TLS files again; SIGTERM and SIGINT stop cleanly.\n",
		    out);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},  {"check-config", no_argument, NULL, 'k'},
		{"list-settings", no_argument, NULL, 'l'}, {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},       {NULL, 0, NULL, 0}};
	struct server_config config;
	const char *path = NULL;
	bool check = false;
	char why[1024] = "";
	int c;

	process_keep_secrets();
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			path = optarg;
			break;
		case 'k':
			check = true;
			break;
		case 'l':
			server_config_write_markdown(stdout);
			return EXIT_SUCCESS;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		case 'v':
			(void)puts(PACKAGE_STRING);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (!path || optind != argc) {
		usage(stderr);
		return 2;
	}
	if (server_config_read(path, &config, why, sizeof(why)) < 0) {
		server_daemon_line(why);
		return 2;
	}
	if (check) {
		(void)secret_setup();
		if (server_config_check(path, &config, stdout, why, sizeof(why)) < 0) {
			server_daemon_line(why);
			return 2;
		}
		(void)printf("%s: good\n", path);
		return EXIT_SUCCESS;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	if (server_daemon_run(&config, why, sizeof(why)) < 0) {
		server_daemon_line(why);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
