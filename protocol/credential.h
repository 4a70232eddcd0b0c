#ifndef PNGW_PROTOCOL_CREDENTIAL_H
#define PNGW_PROTOCOL_CREDENTIAL_H

/*
 * Files that systemd hands to a service (systemd.exec(5), LoadCredential=): they lie in
 * $CREDENTIALS_DIRECTORY, and a setting names one "credential:NAME".
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define CREDENTIAL_PREFIX "credential:"

/* Whether setting names a credential. */
bool credential_named(const char *setting);

/*
 * The path that setting stands for, into out of size bytes: where the credential lies, or setting
 * itself. 0, or a negative errno and why: -EINVAL for a name that is none, -ENOENT where the
 * process was not started with credentials, -ENAMETOOLONG.
 */
int credential_path(const char *setting, char *out, size_t size, char *why, size_t why_size);

/*
 * The bits that the mode of a file with a secret must not have. Directly in $CREDENTIALS_DIRECTORY,
 * where systemd makes them 0440, the group may read it.
 */
mode_t credential_forbidden(const char *path);

#endif
