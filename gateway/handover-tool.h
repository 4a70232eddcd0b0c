#ifndef PNGW_GATEWAY_HANDOVER_TOOL_H
#define PNGW_GATEWAY_HANDOVER_TOOL_H

/*
 * Between the files of pngw-handover. Functions return 0, a positive outcome or a negative errno,
 * and unless it is 0 t->why holds one sentence.
 */

#include <sys/types.h>

#include "gateway/config.h"
#include "gateway/handover-file.h"

struct handover_part {
	enum handover_member member;
	char name[MEMBER_NAME_MAX + 1];
	char path[CONFIG_TEXT_MAX + 64];
};

struct handover_tool {
	const char *config_file;
	const char *file;
	const char *adapter; /* address of the Bluetooth adapter that is or will be here; or NULL */
	bool drill, settings, pair_again;
	struct config config;
	uid_t owner; /* of the vault's folder, whose the vault is */
	gid_t group;
	struct secret *code;
	struct handover_part *parts; /* of the file, as they were unpacked */
	size_t part_count;
	char stage[CONFIG_TEXT_MAX + 16]; /* folder beside the vault in which all is made ready */
	char plan[CONFIG_TEXT_MAX + 16];  /* what is to be put where: there from then on, or not */
	char why[512];
};

/* From t->config: stage, plan and owner. */
int handover_set_places(struct handover_tool *t);

int handover_say(struct handover_tool *t, int r, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Where the vault's owner is another user than root, who runs this: as that one, and back.
 * What root may read can be read meanwhile, too. */
int handover_become_owner(struct handover_tool *t);
void handover_become_self(void);

int handover_give(struct handover_tool *t);
int handover_back(struct handover_tool *t);
int handover_take(struct handover_tool *t);
/* Goes on with a plan; -ENOENT: there is none. */
int handover_finish(struct handover_tool *t);

/* Adds all bonds to w, if there are any. */
int handover_bonds_pack(struct handover_tool *t, struct handover_writer *w);
/*
 * Whether each bond of t->parts can be read, and whether their adapter is here. HANDOVER_NOT_GOOD
 * when not. *count: how many devices.
 */
int handover_bonds_check(struct handover_tool *t, size_t *count);
/* 0, or -EBUSY while bluetoothd runs on pan.bluetooth.bonds: it would write over new ones there. */
int handover_bonds_idle(struct handover_tool *t);

/* A plan in the making: from is a file of t->stage, which takes the place of what is at to. */
enum handover_place { PLACE_MOVE, PLACE_COPY };
struct handover_plan;
int handover_plan_new(struct handover_tool *t, struct handover_plan **out);
int handover_plan_add(struct handover_plan *p, enum handover_place how, const char *from,
		      const char *to, mode_t mode, uid_t owner, gid_t group);
/* Durable, with all it is about: from then on it will be done, now or by handover_finish(). */
int handover_plan_commit(struct handover_plan *p);
void handover_plan_free(struct handover_plan *p);
/* Removes what an attempt has left that was cut short before its plan; the folder must be ours. */
int handover_stage_clear(struct handover_tool *t);

#endif
