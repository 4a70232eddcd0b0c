#include "wan/library.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include <config.h>

const char *const http_protocols[] = {
	"h2",
#ifdef HAVE_HTTP1
	"http/1.1",
#endif
	NULL,
};

const char *tls_library_built(void)
{
	return LIBWOLFSSL_VERSION_STRING;
}

const char *tls_library_version(void)
{
	return wolfSSL_lib_version();
}

const char *http_library_built(void)
{
	return NGHTTP2_VERSION;
}

const char *http_library_version(void)
{
	return nghttp2_version(0)->version_str;
}

int tls_library_start(void)
{
	return wolfSSL_Init() == WOLFSSL_SUCCESS ? 0 : -ENOMEM;
}

void tls_library_end(void)
{
	(void)wolfSSL_Cleanup();
}
