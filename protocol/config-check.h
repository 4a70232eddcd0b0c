#ifndef PNGW_PROTOCOL_CONFIG_CHECK_H
#define PNGW_PROTOCOL_CONFIG_CHECK_H

/*
 * What --check-config says of the files that settings name. A daemon looks at its own; how a
 * setting is named, and what cannot be known by whoever is not the service, is the same for all.
 */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Room for "FILE:LINE: SETTING". */
#define CONFIG_PLACE_SIZE (PATH_MAX + 128)

/* "FILE:LINE: SETTING", or "FILE: SETTING" where line is 0. Returns out. */
const char *config_place(const char *file, unsigned line, const char *setting,
			 char out[CONFIG_PLACE_SIZE]);

struct config_check {
	const char *file; /* with the settings */
	/* The line that a setting is on; 0: it is not given. */
	unsigned (*line)(const void *config, const char *setting);
	const void *config;
	const char *state_folder; /* what the packaged unit makes when it starts */
	FILE *notes;              /* a line for each thing that cannot be known */
	char *why;                /* of a failure, one line "FILE:LINE: SETTING: ..." */
	size_t why_size;
};

/* Says in why what is wrong with a setting. -EINVAL. */
__attribute__((format(printf, 3, 4))) int
config_check_wrong(const struct config_check *c, const char *setting, const char *format, ...);

/* Notes that value is not looked at, and the reason. */
void config_check_note(const struct config_check *c, const char *setting, const char *value,
		       const char *why_not);

/* Whether value is a credential that only the service has: then that is noted. */
bool config_check_elsewhere(const struct config_check *c, const char *setting, const char *value);

/*
 * Whether the folder of path is there. 0 too where it is state_folder, and not made yet: that is
 * noted, and *later (may be NULL) is true. Else -EINVAL and why.
 */
int config_check_folder(const struct config_check *c, const char *setting, const char *path,
			bool *later);

#endif
