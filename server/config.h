#ifndef PNGW_SERVER_CONFIG_H
#define PNGW_SERVER_CONFIG_H

/*
 * The configuration file of cpns-serverd and cpns-server-admin, in libconfig's syntax. Each setting
 * is described in doc/cpns-serverd.conf.md. Unknown settings and wrong values are refused.
 */

#include <limits.h>
#include <stdio.h>

#include "protocol/bytes.h"

/* Room for every setting and group. */
#define SERVER_CONFIG_ROWS 32

struct server_config {
	struct name entity_id;
	char listen_address[64];
	uint16_t listen_port;
	char listen_path[129];
	char tls_certificate[PATH_MAX]; /* "" : not set; so for every path */
	char tls_key[PATH_MAX];
	char tls_client_ca[PATH_MAX];
	char tls_psk_file[PATH_MAX];
	bool tls_allow_tls12;
	char database[PATH_MAX];
	char key_file[PATH_MAX];
	uint32_t iterations;
	unsigned key_set_max;
	unsigned answer_days;
	unsigned nonce_seconds;
	unsigned max_connections;
	unsigned max_streams;
	unsigned max_derivations;
	unsigned idle_seconds;
	unsigned lines[SERVER_CONFIG_ROWS]; /* for server_config_line() */
};

/* 0, -EINVAL or another negative errno, and one line "FILE:LINE: what is wrong" in why. */
int server_config_read(const char *path, struct server_config *out, char *why, size_t why_size);

/* The line that the setting is on; 0: it is not given. */
unsigned server_config_line(const struct server_config *config, const char *path);

/*
 * Looks at the files that the settings name, and changes nothing. 0, or a negative errno and one
 * line "FILE:LINE: SETTING: ..." in why. What this process cannot know, a credential that the
 * service alone has, is a line of notes.
 */
int server_config_check(const char *file, const struct server_config *config, FILE *notes,
			char *why, size_t why_size);

/* The settings as the table of doc/cpns-serverd.conf.md. */
void server_config_write_markdown(FILE *out);

#endif
