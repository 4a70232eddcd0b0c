#ifndef PNGW_PROTOCOL_FILE_H
#define PNGW_PROTOCOL_FILE_H

/* What every file that must last is written and read with. Signals cut nothing short. */

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

#endif
