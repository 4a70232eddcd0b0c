#include "protocol/config-check.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/credential.h"

const char *config_place(const char *file, unsigned line, const char *setting,
			 char out[CONFIG_PLACE_SIZE])
{
	if (line > 0)
		(void)snprintf(out, CONFIG_PLACE_SIZE, "%s:%u: %s", file, line, setting);
	else
		(void)snprintf(out, CONFIG_PLACE_SIZE, "%s: %s", file, setting);
	return out;
}

static const char *place_of(const struct config_check *c, const char *setting,
			    char out[CONFIG_PLACE_SIZE])
{
	return config_place(c->file, c->line(c->config, setting), setting, out);
}

int config_check_wrong(const struct config_check *c, const char *setting, const char *format, ...)
{
	char place[CONFIG_PLACE_SIZE], text[512];
	va_list list;

	va_start(list, format);
	(void)vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	(void)snprintf(c->why, c->why_size, "%s: %s", place_of(c, setting, place), text);
	return -EINVAL;
}

void config_check_note(const struct config_check *c, const char *setting, const char *value,
		       const char *why_not)
{
	char place[CONFIG_PLACE_SIZE];

	(void)fprintf(c->notes, "%s: not looked at: %s %s\n", place_of(c, setting, place), value,
		      why_not);
}

bool config_check_elsewhere(const struct config_check *c, const char *setting, const char *value)
{
	char path[PATH_MAX], why[512];

	if (!credential_named(value) ||
	    credential_path(value, path, sizeof(path), why, sizeof(why)) != -ENOENT)
		return false;
	config_check_note(c, setting, value, "is there in the service alone");
	return true;
}

int config_check_folder(const struct config_check *c, const char *setting, const char *path,
			bool *later)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX] = ".";
	struct stat st;

	if (slash)
		(void)snprintf(folder, sizeof(folder), "%.*s",
			       slash == path ? 1 : (int)(slash - path), path);
	if (stat(folder, &st) == 0)
		return S_ISDIR(st.st_mode)
			       ? 0
			       : config_check_wrong(c, setting, "%.300s is not a folder", folder);
	if (errno != ENOENT || strcmp(folder, c->state_folder) != 0)
		return config_check_wrong(c, setting, "the folder %.300s: %s", folder,
					  strerror(errno));
	config_check_note(c, setting, folder, "is made when the service starts");
	if (later)
		*later = true;
	return 0;
}
