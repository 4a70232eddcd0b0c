/* Instead of http1.c, with --disable-http1. */

#include "wan/http.h"

#include <errno.h>

int http1_new(const struct http_options *options, const struct http_callbacks *callbacks, void *arg,
	      struct http **out)
{
	(void)options;
	(void)callbacks;
	(void)arg;
	(void)out;
	return -EPROTONOSUPPORT;
}
