#ifndef PNGW_PROTOCOL_FILE_H
#define PNGW_PROTOCOL_FILE_H

/* What every file that must last is written and read with. Signals cut nothing short. */

#include <stdbool.h>
#include <sys/types.h>

#include "protocol/bytes.h"

/* 0 once all of b is written, or a negative errno: some of it may be. */
int file_write_all(int fd, struct bytes b);

/* How much was read: less than size only at the end of the file. Or a negative errno. */
ssize_t file_read_all(int fd, uint8_t *out, size_t size);

/*
 * Makes a folder's names durable: of the folder itself, or of the one in which path is. 0 or a
 * negative errno.
 */
int file_sync_folder(const char *folder);
int file_sync_folder_of(const char *path);

/*
 * A new file at path, of mode 0600, never in place of one that is there (-EEXIST): whenever the
 * power goes, it is whole or not there. The content is written under new_path first, in the same
 * folder; what is there already was left by one that was cut short, and is replaced. 0 once content
 * and name are durable, or a negative errno.
 *
 * keep false: new_path has gone, and on failure there is no file of this call.
 * keep true: new_path stays beside path, as a sign that goes when the caller unlinks it; on -EEXIST
 * too, and where all failed but to make the name durable, which leaves both. On another failure
 * neither is there.
 */
int file_publish(const char *path, const char *new_path, struct bytes content, bool keep);

#endif
