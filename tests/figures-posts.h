#ifndef PNGW_TESTS_FIGURES_POSTS_H
#define PNGW_TESTS_FIGURES_POSTS_H

/* The requests that the PN GW of a scene (tests/figures.h) has made and was not answered. */

#include "protocol/bytes.h"

#define POSTS_MAX 64

struct post {
	bool there;
	uint64_t id;    /* by which the server answers it */
	uint64_t token; /* by which the PN GW knows it */
	uint64_t due;   /* when it has waited long enough */
	uint64_t pin;   /* the connection it belongs to; 0: any */
	uint8_t *data;
	size_t size;
};

struct posts {
	struct post list[POSTS_MAX];
	uint64_t last_id;
};

/* A copy for free(). */
uint8_t *sim_copy(struct bytes b);

/* The post that was added; it stays posts'. */
const struct post *posts_add(struct posts *posts, uint64_t token, struct bytes xml, uint64_t due,
			     uint64_t pin);
void posts_cancel(struct posts *posts, uint64_t token);
void posts_clear(struct posts *posts);

/* When the next has waited long enough, or SIM_NEVER. */
uint64_t posts_due(const struct posts *posts);

/*
 * Take one out and give its token: the one with that id, one that has waited long enough, one that
 * belongs to a connection. False: there is none.
 */
bool posts_take(struct posts *posts, uint64_t id, uint64_t *token);
bool posts_take_late(struct posts *posts, uint64_t now, uint64_t *token);
bool posts_take_pinned(struct posts *posts, uint64_t *token);

#endif
