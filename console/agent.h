#ifndef PNGW_CONSOLE_AGENT_H
#define PNGW_CONSOLE_AGENT_H

/*
 * Whom pngwd asks for passwords, PINs and consent: org.pngw.Agent1. The answers come from the
 * person at the terminal, from a file or from standard input; a secret goes back through a pipe.
 * Only pngwd is answered, and only while a command of this program runs.
 */

#include <stdbool.h>

#include "console/client.h"
#include "protocol/secret.h"

struct agent;
struct writer;

/* The answers there are already; borrowed until agent_end(). Without them the person is asked. */
struct agent_answers {
	struct secret *password, *pin; /* NULL: not there */
	/* The password of a user, borrowed, or NULL: not there. NULL: no such answers. */
	struct secret *(*password_of)(void *arg, const char *user);
	void *arg;
	bool yes;         /* to whatever is only to be confirmed */
	bool interactive; /* a person can be asked about devices too */
};

/* Makes it known on the bus; client and writer are borrowed. 0 or -errno. */
int agent_new(struct client *client, const struct writer *writer, struct agent **out);
void agent_free(struct agent *a);
/*
 * Tells pngwd of it, unless this pngwd knows. always: it is shown also what devices begin by
 * themselves, where the right to pair is there. 0 or a failure.
 */
int agent_register(struct agent *a, bool always, struct client_failure *failure);

/* Between these two the person is asked; else pngwd's questions are only shown. */
void agent_begin(struct agent *a, const struct agent_answers *answers);
void agent_end(struct agent *a);
/* It has answered, or refused, since agent_begin(). */
bool agent_answered(const struct agent *a);
/* What is to be waited for on its behalf, or -1; call agent_input() when it can be read. */
int agent_fd(const struct agent *a);
void agent_input(struct agent *a);
/* Refuses what is being asked: the person gives up. */
void agent_give_up(struct agent *a);

#endif
