#ifndef PNGW_SERVER_CONFIG_H
#define PNGW_SERVER_CONFIG_H

/*
 * The configuration file of cpns-serverd and cpns-server-admin, in libconfig's syntax. Each setting
 * is described in doc/cpns-serverd.conf.md. Unknown settings and wrong values are refused.
 */

#include <limits.h>
#include <stdio.h>

#include "protocol/bytes.h"

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
};

/* 0, -EINVAL or another negative errno, and one line "FILE:LINE: what is wrong" in why. */
int server_config_read(const char *path, struct server_config *out, char *why, size_t why_size);

/* The settings as the table of doc/cpns-serverd.conf.md. */
void server_config_write_markdown(FILE *out);

#endif
