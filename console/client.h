#ifndef PNGW_CONSOLE_CLIENT_H
#define PNGW_CONSOLE_CLIENT_H

/*
 * The way to pngwd: the control API over D-Bus (doc/control-api.md), and nothing else. A call waits
 * for its answer while signals and the agent's calls are served; Ctrl-C ends the wait.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "protocol/sd-bus.h"

#define CLIENT_SERVICE  "org.pngw"
#define CLIENT_NAME_MAX 256

struct client;

enum client_object {
	CLIENT_GATEWAY,
	CLIENT_BLUETOOTH,
	CLIENT_VAULT,
	CLIENT_DIAGNOSIS,
	CLIENT_AGENTS,
	CLIENT_SESSION
};

/* Why a call failed. */
struct client_failure {
	int code;                          /* exit code */
	char name[128];                    /* of the D-Bus error, "" without */
	char message[CLIENT_NAME_MAX * 4]; /* one sentence */
};

/* What happens by itself. Any may be NULL. They run from client_turn() and from calls. */
struct client_events {
	/* A signal of interface org.pngw.INTERFACE at path; to be read with client_decode(). */
	void (*signal)(void *arg, const char *path, const char *interface, const char *member,
		       sd_bus_message *m);
	/* pngwd has come to the bus, or left it. */
	void (*service)(void *arg, bool there);
	void *arg;
};

/* bus: "system", "session" or an address. 0, or -errno and why. */
int client_open(const char *bus, struct client **out, char *why, size_t why_size);
void client_close(struct client *c);
/* Who is told of that, from now on; copied. */
void client_listen(struct client *c, const struct client_events *events);
const struct client_events *client_events_of(const struct client *c);
sd_bus *client_bus(struct client *c);
/* The unique name of pngwd on the bus; "" while it is not there. */
const char *client_service(const struct client *c);
/* m was sent by pngwd: by whom the bus lets own its name, and nobody else. */
bool client_is_service(const struct client *c, sd_bus_message *m);

enum { CLIENT_INPUT = 1, CLIENT_SIGNAL = 2, CLIENT_TIMEOUT = 4 };
/*
 * Serves the bus once, or waits for it, for fd (-1: none) to be readable, for a signal (see
 * signals.h), at most timeout ms (-1: for ever). 0: the bus was served; the bits above; -errno: the
 * bus is gone.
 */
int client_turn(struct client *c, int fd, int timeout);

/* A call to be filled with sd_bus_message_append(); NULL: no memory. */
sd_bus_message *client_call_new(struct client *c, enum client_object object, const char *method);
/* Sends call, which it drops, and waits. 0 and *reply (may be NULL), to be dropped; or -1 and why.
 */
int client_call(struct client *c, sd_bus_message *call, sd_bus_message **reply,
		struct client_failure *failure);
/* Sends call, which it drops, without waiting. */
void client_send(struct client *c, sd_bus_message *call);

/*
 * The next value of m as a json_object: a{sv} an object whose keys are in lower case with
 * underscores (KeyIndex: key_index), arrays, numbers, booleans, text; object paths are text. NULL:
 * it is not that.
 */
json_object *client_decode(sd_bus_message *m);
/* The text that such an object has under key, "" where there is none; o's. */
const char *client_text(json_object *o, const char *key);

/* What a code of exit goes with: the result of a procedure as the API has it. */
int client_result_code(const char *result);

#endif
