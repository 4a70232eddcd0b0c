#ifndef PNGW_TESTS_FAULTS_SCENE_H
#define PNGW_TESTS_FAULTS_SCENE_H

/*
 * One PN GW, one CPNS Server and one PNE in one process, joined by wires (tests/figures.h) on which
 * somebody sits: whatever is delivered is shown to scene.meddle first.
 */

#include <check.h>

#include "tests/fault-vfs.h"
#include "tests/figures-posts.h"
#include "tests/figures.h"

enum hop { HOP_SERVER, HOP_ANSWER, HOP_PNE, HOP_GATEWAY }; /* where a message goes to */

struct item {
	enum hop hop;
	uint64_t id;    /* of the post, or of its answer */
	uint64_t epoch; /* of the stream or the connection it travels on */
	uint8_t *data;
	size_t size;
};

#define QUEUE_MAX 256

struct sim {
	char directory[64];
	uint64_t now;
	struct sim_server *server;
	struct sim_gateway *gateway;
	struct sim_pne *pne;
	struct item queue[QUEUE_MAX];
	size_t queued;
	struct posts posts;
	uint64_t pan_epoch, wan_epoch, pan_due, wan_due;
	bool pan_up, wan_up, close_wanted;
	bool pan_away, wan_away; /* it does not come back */
	bool secure;
	struct secret *exporter;

	/* May change the item, or what it meets; false: it does not arrive. */
	bool (*meddle)(struct sim *s, struct item *i);
	/* The disk of one role fails from now on; ROLES: nobody's. */
	enum role disk_of;
	bool disk_fails;
	struct fault disk;

	struct verdict seen[3]; /* the first verdict of each role since scene_begin() */
	bool has_seen[3];
	char server_says[VERDICT_TEXT_SIZE]; /* the server's, as its journal has it */
};

struct sim *scene_new(bool secure);
void scene_free(struct sim *s);

void scene_pan(struct sim *s, bool up);
void scene_wan(struct sim *s, bool up);
void scene_restart_pne(struct sim *s);
/* A receipt as if the PNE had sent it. */
void scene_enqueue(struct sim *s, enum hop hop, struct bytes b);

/* No verdict was seen yet. */
void scene_begin(struct sim *s);
/* Until role has its verdict, or a long time has passed. */
void scene_await(struct sim *s, enum role role);
/* Everything comes up and settles. */
void scene_settle(struct sim *s);

#endif
