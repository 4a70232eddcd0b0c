#ifndef PNGW_WAN_LIBRARY_H
#define PNGW_WAN_LIBRARY_H

/* Versions of wolfSSL and nghttp2: what this was compiled with, and what it runs with. */
const char *tls_library_built(void);
const char *tls_library_version(void);
const char *http_library_built(void);
const char *http_library_version(void);
/* What is offered in ALPN, the most wanted first; NULL after the last. */
extern const char *const http_protocols[];

/*
 * wolfSSL for several threads at once: it is neither started nor ended while one of them uses it.
 * 0 or -ENOMEM. Contexts do it for themselves.
 */
int tls_library_start(void);
void tls_library_end(void);

#endif
