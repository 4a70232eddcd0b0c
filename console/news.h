#ifndef PNGW_CONSOLE_NEWS_H
#define PNGW_CONSOLE_NEWS_H

/*
 * What happens at the PN GW while a person is at the shell: verdicts of procedures that others
 * started, PNEs that come and go, the WAN. While a command runs it is held back.
 */

#include "console/console.h"

struct news;

/* begin and end are called around each line that is written. NULL: no memory. */
struct news *news_new(struct console *console, void (*begin)(void *arg), void (*end)(void *arg),
		      void *arg);
void news_free(struct news *n);
/* From now on it is told, of the connection that there is. */
void news_listen(struct news *n);
/* Nothing is written until news_flush(). */
void news_hold(struct news *n);
void news_flush(struct news *n);

#endif
