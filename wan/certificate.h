#ifndef PNGW_WAN_CERTIFICATE_H
#define PNGW_WAN_CERTIFICATE_H

/*
 * What certificate files say, for examining them: no connection is made. Files are PEM and are read
 * anew each time. Any thread, between tls_library_start() and tls_library_end() or while there is
 * a tls_context.
 */

#include "protocol/bytes.h"

struct certificates {
	size_t count;
	char common_name[128]; /* of the first; "": it has none */
	/* Of the first: seconds since 1970. */
	int64_t from, until;
	int64_t last_until; /* the latest of all */
};

/* 0, or a negative errno and why, one clause; *out is then untouched. */
int certificates_read(const char *file, struct certificates *out, char *why, size_t why_size);

/* Whether key_file's key belongs to the first certificate of file: -EKEYREJECTED when not. */
int certificate_key_check(const char *file, const char *key_file, char *why, size_t why_size);

/*
 * Whether the chain in file, its end first, leads to an authority in ca_file: -EKEYREJECTED when
 * not. Otherwise as above.
 */
int certificate_chain_check(const char *file, const char *ca_file, char *why, size_t why_size);

#endif
