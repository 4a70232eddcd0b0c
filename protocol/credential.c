#include "protocol/credential.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool credential_named(const char *setting)
{
	return strncmp(setting, CREDENTIAL_PREFIX, strlen(CREDENTIAL_PREFIX)) == 0;
}

int credential_path(const char *setting, char *out, size_t size, char *why, size_t why_size)
{
	const char *name = setting + strlen(CREDENTIAL_PREFIX);
	const char *folder;
	int n;

	if (!credential_named(setting)) {
		n = snprintf(out, size, "%s", setting);
	} else if (name[0] == '\0' || strchr(name, '/') || strcmp(name, ".") == 0 ||
		   strcmp(name, "..") == 0) {
		(void)snprintf(why, why_size, "%s: a credential is named without slashes", setting);
		return -EINVAL;
	} else {
		folder = secure_getenv("CREDENTIALS_DIRECTORY");
		if (!folder || folder[0] != '/') {
			(void)snprintf(why, why_size,
				       "%s: there is no CREDENTIALS_DIRECTORY, was it started by "
				       "systemd with LoadCredential=?",
				       setting);
			return -ENOENT;
		}
		n = snprintf(out, size, "%s/%s", folder, name);
	}
	if (n < 0 || (size_t)n >= size) {
		(void)snprintf(why, why_size, "%s: %s", setting, strerror(ENAMETOOLONG));
		return -ENAMETOOLONG;
	}
	return 0;
}

mode_t credential_forbidden(const char *path)
{
	const char *folder = secure_getenv("CREDENTIALS_DIRECTORY");
	size_t size = folder ? strlen(folder) : 0;

	while (size > 1 && folder[size - 1] == '/')
		size--;
	if (size > 0 && strncmp(path, folder, size) == 0 && path[size] == '/' &&
	    !strchr(path + size + 1, '/') && strcmp(path + size + 1, "..") != 0)
		return S_IWGRP | S_IXGRP | S_IRWXO;
	return S_IRWXG | S_IRWXO;
}
