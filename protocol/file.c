#include "protocol/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int file_write_all(int fd, struct bytes b)
{
	while (b.size > 0) {
		ssize_t n = write(fd, b.data, b.size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		b.data += n;
		b.size -= (size_t)n;
	}
	return 0;
}

ssize_t file_read_all(int fd, uint8_t *out, size_t size)
{
	size_t have = 0;

	while (have < size) {
		ssize_t n = read(fd, out + have, size - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

int file_sync_folder(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = fsync(fd) == 0 ? 0 : -errno;
	(void)close(fd);
	return r;
}

int file_sync_folder_of(const char *path)
{
	char *folder = strdup(path);
	char *slash = folder ? strrchr(folder, '/') : NULL;
	int r;

	if (!folder)
		return -ENOMEM;
	if (slash)
		slash[slash == folder ? 1 : 0] = '\0';
	r = file_sync_folder(slash ? folder : ".");
	free(folder);
	return r;
}

/* 0 once it is durable, but for its name. */
static int write_new(const char *path, struct bytes content)
{
	int fd, r;

	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = file_write_all(fd, content);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	return r;
}

int file_publish(const char *path, const char *new_path, struct bytes content, bool keep)
{
	int r = write_new(new_path, content);

	if (r == 0 && (keep ? link(new_path, path)
			    : renameat2(AT_FDCWD, new_path, AT_FDCWD, path, RENAME_NOREPLACE)) < 0)
		r = -errno;
	if (r < 0) {
		if (!keep || r != -EEXIST)
			(void)unlink(new_path);
		return r;
	}
	r = file_sync_folder_of(path);
	if (r < 0 && !keep)
		(void)unlink(path);
	return r;
}
