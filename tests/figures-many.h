#ifndef PNGW_TESTS_FIGURES_MANY_H
#define PNGW_TESTS_FIGURES_MANY_H

/*
 * One PN GW, one CPNS Server and three PNEs in one process, joined by queues under a virtual clock:
 * the wires of tests/figures.h. The tests may look into everything.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/figures-posts.h"
#include "tests/figures.h"

#define PNES              3U
#define QUEUE_MAX         256
#define MANY_VERDICTS_MAX 32

enum hop { HOP_POST, HOP_ANSWER, HOP_TO_PNE, HOP_FROM_PNE };

struct item {
	enum hop hop;
	unsigned pne;
	uint64_t id;
	uint64_t epoch;
	uint8_t *data;
	size_t size;
};

struct pan {
	struct sim_pne *pne;
	bool up, away, close_wanted;
	uint64_t epoch, due;
};

struct sim {
	char directory[64];
	uint64_t now;
	struct sim_server *server;
	struct sim_gateway *gateway;
	struct pan pan[PNES];
	struct item queue[QUEUE_MAX];
	size_t queued;
	struct posts posts;
	uint64_t wan_epoch, wan_due;
	bool wan_up, wan_away, secure;
	struct secret *exporter;
	/* restart the PN GW instead of, or lose, the message of that number; 0: none */
	unsigned delivered, restart_at, lose_at;
	bool restarted;
	struct verdict verdicts[MANY_VERDICTS_MAX];
	size_t count;
};

/* Everything that goes over a wire, while it is not NULL. */
extern void (*many_wire)(struct bytes b);

/* Everybody is there and connected, with a Temporary Key each. */
struct sim *many_new(bool secure);
void many_free(struct sim *s);

/* A PNE, or the WAN, goes and stays away, or comes back. */
void many_away(struct sim *s, unsigned pne, bool is);
void many_offline(struct sim *s, bool is);
void many_restart_pne(struct sim *s, unsigned pne);
void many_restart_gateway(struct sim *s);
/* s->gateway is NULL then. */
void many_stop_gateway(struct sim *s);

/* One message gets through; something that a loop does between messages, false: there is nothing.
 */
void many_deliver(struct sim *s);
bool many_work(struct sim *s);
/* All of both; then with time passing; then until there are so many verdicts, or the PN GW was
 * restarted and owes them no more. */
void many_settle(struct sim *s);
void many_pass(struct sim *s, uint64_t ms);
void many_await(struct sim *s, size_t count);

#endif
