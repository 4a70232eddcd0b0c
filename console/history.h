#ifndef PNGW_CONSOLE_HISTORY_H
#define PNGW_CONSOLE_HISTORY_H

/* The lines of earlier sessions, in a file of mode 0600. */

#include <histedit.h>

struct line_history {
	History *lines;
	char path[4096]; /* "": nothing is kept */
};

/* Loads what is there. 0 or -ENOMEM; a file that cannot be read is as if there were none. */
int history_open(struct line_history *h);
void history_close(struct line_history *h);
/* Remembers line, also in the file. */
void history_add(struct line_history *h, const char *line);

#endif
