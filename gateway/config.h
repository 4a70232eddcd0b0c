#ifndef PNGW_GATEWAY_CONFIG_H
#define PNGW_GATEWAY_CONFIG_H

/* The settings of pngwd, made from settings.def, read with libconfig. */

#include <stdio.h>

#include "gateway/core.h"
#include "pan/pairing.h"

#define CONFIG_TEXT_MAX   256
#define CONFIG_LISTEN_MAX 8

/* How many settings settings.def has. */
enum {
#define TEXT(path, member, fallback, meaning)                   +1
#define ENTITY_ID(path, member, meaning)                        +1
#define NUMBER(path, member, min, max, fallback, unit, meaning) +1
#define FLAG(path, member, fallback, meaning)                   +1
#define CHOICE(path, member, type, fallback, names, meaning)    +1
	CONFIG_SETTINGS = 0
#include "gateway/settings.def"
#undef TEXT
#undef ENTITY_ID
#undef NUMBER
#undef FLAG
#undef CHOICE
};

struct config_listen {
	char address[CONFIG_TEXT_MAX];
	enum pan_security security;
};

struct config {
#define TEXT(path, member, fallback, meaning)                   char member[CONFIG_TEXT_MAX];
#define ENTITY_ID(path, member, meaning)                        struct name member;
#define NUMBER(path, member, min, max, fallback, unit, meaning) unsigned member;
#define FLAG(path, member, fallback, meaning)                   bool member;
#define CHOICE(path, member, type, fallback, names, meaning)    enum type member;
#include "gateway/settings.def"
#undef TEXT
#undef ENTITY_ID
#undef NUMBER
#undef FLAG
#undef CHOICE
	struct config_listen listen[CONFIG_LISTEN_MAX];
	size_t listen_count;
	unsigned lines[CONFIG_SETTINGS]; /* where each was given; 0: it was not */
	unsigned listen_line;            /* of pan.listen */
};

/*
 * Reads file. 0, or -EINVAL and why holds "FILE:LINE: SETTING: what is wrong, and what is
 * expected", without the line where the setting is on none; *out is then untouched. No other file
 * is looked at.
 */
int gateway_config_load(const char *file, struct config *out, char *why, size_t why_size);

/* The line that the setting is on; 0: it is not given. */
unsigned gateway_config_line(const struct config *config, const char *path);

/* Whether the setting is read only when pngwd starts: a file that is read again changes it not. */
bool gateway_config_at_start(const char *path);
/* Gives *fresh, which was read again, those settings as *running has them. */
void gateway_config_keep(struct config *fresh, const struct config *running);
/* The first setting that differs, or NULL. */
const char *gateway_config_difference(const struct config *a, const struct config *b);

/* key_set.low_water as it counts: a pool that is full is never low. */
unsigned gateway_config_low_water(const struct config *config);

/* What the core wants of it. path is borrowed from config. */
void gateway_config_core_options(const struct config *config, struct core_options *out);

/* All settings as they are, one a line: paths, nothing that is in the files they name. */
void gateway_config_write(const struct config *config, FILE *out);

/* The table of settings for doc/pngw.conf.md. */
void gateway_config_write_markdown(FILE *out);

#endif
