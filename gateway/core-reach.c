/* Commands for PNEs that are not connected wait here until the surroundings have connected to them.
 */

#include "gateway/core-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum sought { SOUGHT, PRESENT, GONE };

struct waiting {
	struct waiting *next;
	struct core_start start; /* its pointers are to what follows */
	enum reach_for what;
	struct secret *typed;
	enum sought *states;
	struct name entities[];
};

static bool seek(struct core *c, const struct name *entity)
{
	return c->ports.reach && entity->text[0] && !gateway_core_link_of(c, entity) &&
	       c->ports.reach(c->arg, entity) == 0;
}

static void waiting_free(struct waiting *w)
{
	secret_unref(w->typed);
	free(w->states);
	free(w);
}

static void give_verdict(struct core *c, const struct waiting *w, size_t i, const struct facts *f)
{
	struct verdict v = {.figure = w->start.figure};

	v.user = w->start.user;
	v.entity = w->entities[i];
	(void)gateway_core_judge(c, w->start.run, f, &v);
}

bool gateway_core_reach_first(struct core *c, enum reach_for what, const struct core_start *s)
{
	struct waiting *w;
	bool any = false;

	w = calloc(1, sizeof(*w) + s->count * sizeof(w->entities[0]));
	if (!w)
		return false;
	w->states = calloc(s->count + 1, sizeof(*w->states));
	if (!w->states) {
		free(w);
		return false;
	}
	w->what = what;
	for (size_t i = 0; i < s->count; i++) {
		w->entities[i] = s->entities[i];
		w->states[i] = seek(c, &w->entities[i]) ? SOUGHT : PRESENT;
		any = any || w->states[i] == SOUGHT;
	}
	if (!any) {
		waiting_free(w);
		return false;
	}
	w->start = *s;
	w->start.entities = w->entities;
	w->typed = secret_ref(s->typed);
	w->start.typed = w->typed;
	w->next = c->waiting;
	c->waiting = w;
	return true;
}

/* Every PNE has been found, or not: what is left of the command begins. */
static void go_on(struct core *c, struct waiting *w)
{
	size_t count = 0;

	for (size_t i = 0; i < w->start.count; i++) {
		if (w->states[i] == PRESENT || w->what == REACH_FOR_RESET)
			w->entities[count++] = w->entities[i];
	}
	w->start.count = count;
	if (count == 0)
		return;
	switch (w->what) {
	case REACH_FOR_START:
		(void)gateway_core_start_now(c, &w->start);
		break;
	case REACH_FOR_RENEWAL:
		(void)gateway_core_renew_now(c, &w->entities[0], w->start.run);
		break;
	case REACH_FOR_RESET:
		(void)gateway_core_reset_now(c, &w->entities[0], w->start.run);
		break;
	}
}

static bool is_settled(const struct waiting *w)
{
	for (size_t i = 0; i < w->start.count; i++) {
		if (w->states[i] == SOUGHT)
			return false;
	}
	return true;
}

void gateway_core_tick_reach(struct core *c)
{
	struct waiting **at = &c->waiting;

	while (*at) {
		struct waiting *w = *at;

		if (!is_settled(w)) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		go_on(c, w);
		waiting_free(w);
		/* What began may have changed the list. */
		at = &c->waiting;
	}
}

void gateway_core_reach_link_up(struct core *c, const struct name *entity)
{
	for (struct waiting *w = c->waiting; w; w = w->next) {
		for (size_t i = 0; i < w->start.count; i++) {
			if (w->states[i] == SOUGHT && name_equal(&w->entities[i], entity)) {
				w->states[i] = PRESENT;
				gateway_core_wake_by(c, c->ports.now(c->arg) + 1);
			}
		}
	}
}

void gateway_core_unreachable(struct core *c, const struct name *entity, enum verdict_id id,
			      const char *detail)
{
	const struct facts f = {.matter = MATTER_UNREACHABLE, .told = id, .why = detail};

	for (struct waiting *w = c->waiting; w; w = w->next) {
		for (size_t i = 0; i < w->start.count; i++) {
			if (w->states[i] != SOUGHT || !name_equal(&w->entities[i], entity))
				continue;
			w->states[i] = GONE;
			gateway_core_wake_by(c, c->ports.now(c->arg) + 1);
			if (w->what != REACH_FOR_RESET)
				give_verdict(c, w, i, &f);
		}
	}
}

void gateway_core_reach_revoked(struct core *c, const struct name *entity, const struct name *user)
{
	const struct facts f = {.matter = MATTER_WAITING, .revoked = true};

	for (struct waiting *w = c->waiting; w; w = w->next) {
		if (w->what == REACH_FOR_RESET || (user && !name_equal(&w->start.user, user)))
			continue;
		for (size_t i = 0; i < w->start.count; i++) {
			if (w->states[i] == GONE ||
			    (entity && !name_equal(&w->entities[i], entity)))
				continue;
			w->states[i] = GONE;
			gateway_core_wake_by(c, c->ports.now(c->arg) + 1);
			give_verdict(c, w, i, &f);
		}
	}
}

/* Of any run when every is set. */
static void cancel(struct core *c, bool every, uint64_t run)
{
	const struct facts f = {.matter = MATTER_WAITING};
	struct waiting **at = &c->waiting;

	while (*at) {
		struct waiting *w = *at;

		if (!every && w->start.run != run) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		for (size_t i = 0; i < w->start.count; i++) {
			if (w->states[i] != GONE || w->what == REACH_FOR_RESET)
				give_verdict(c, w, i, &f);
		}
		waiting_free(w);
	}
}

void gateway_core_cancel_reach(struct core *c, uint64_t run)
{
	cancel(c, false, run);
}

void gateway_core_end_reach(struct core *c)
{
	cancel(c, true, 0);
}
