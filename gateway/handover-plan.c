/*
 * What a hand-over changes on the new box, all of it or nothing: everything is made ready in a
 * folder of its own, then a list of what goes where is written, at once. While that list is there
 * pngwd does not start; whoever finds it does what it says, again from its beginning.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/handover-tool.h"
#include "protocol/file.h"

#define PATH_SIZE    1024
#define LINE_SIZE    (2 * PATH_SIZE + 64)
#define REPLACED_MAX 99

struct handover_plan {
	struct handover_tool *t;
	FILE *f;
	char path[CONFIG_TEXT_MAX + 32];
};

/* Nobody else's folder or file is done what is in it. */
static bool is_ours(const char *path, mode_t type)
{
	struct stat st;

	return lstat(path, &st) == 0 && (st.st_mode & S_IFMT) == type && st.st_uid == geteuid() &&
	       (st.st_mode & 077) == 0;
}

int handover_stage_clear(struct handover_tool *t)
{
	char path[PATH_SIZE];
	const struct dirent *e;
	DIR *d = opendir(t->stage);

	if (!d)
		return errno == ENOENT
			       ? 0
			       : handover_say(t, -errno, "%s: %s", t->stage, strerror(errno));
	if (!is_ours(t->stage, S_IFDIR)) {
		(void)closedir(d);
		return handover_say(t, -EPERM, "%s is somebody else's: remove it", t->stage);
	}
	while ((e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", t->stage, e->d_name);
		(void)unlink(path);
	}
	(void)closedir(d);
	if (rmdir(t->stage) < 0)
		return handover_say(t, -errno, "%s: %s", t->stage, strerror(errno));
	return 0;
}

int handover_plan_new(struct handover_tool *t, struct handover_plan **out)
{
	struct handover_plan *p = calloc(1, sizeof(*p));
	int fd;

	if (!p)
		return handover_say(t, -ENOMEM, "out of memory");
	p->t = t;
	(void)snprintf(p->path, sizeof(p->path), "%s.new", t->plan);
	(void)unlink(p->path);
	fd = open(p->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	p->f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!p->f) {
		const int r = -errno;

		if (fd >= 0)
			(void)close(fd);
		free(p);
		return handover_say(t, r, "%s.new: %s", t->plan, strerror(-r));
	}
	*out = p;
	return 0;
}

int handover_plan_add(struct handover_plan *p, enum handover_place how, const char *from,
		      const char *to, mode_t mode, uid_t owner, gid_t group)
{
	if (strpbrk(to, "\t\n") || strlen(to) >= PATH_SIZE - 16)
		return handover_say(p->t, -EINVAL, "%s: that is no path for this", to);
	if (fprintf(p->f, "%s\t%s\t%o\t%lu\t%lu\t%s\n", how == PLACE_MOVE ? "move" : "copy", from,
		    (unsigned)mode, (unsigned long)owner, (unsigned long)group, to) < 0)
		return handover_say(p->t, -EIO, "%s: cannot be written", p->path);
	return 0;
}

int handover_plan_commit(struct handover_plan *p)
{
	struct handover_tool *t = p->t;
	int r = file_sync_folder(t->stage);

	if (r == 0 && (fflush(p->f) != 0 || fsync(fileno(p->f)) < 0))
		r = -errno;
	if (r == 0 && rename(p->path, t->plan) < 0)
		r = -errno;
	if (r == 0)
		r = file_sync_folder_of(t->plan);
	return r == 0 ? 0 : handover_say(t, r, "%s: %s", t->plan, strerror(-r));
}

void handover_plan_free(struct handover_plan *p)
{
	if (!p)
		return;
	(void)fclose(p->f);
	(void)unlink(p->path);
	free(p);
}

/* What is at path keeps its contents under the first of path.replaced, .replaced.2 ... */
static int keep(const char *path)
{
	char name[PATH_SIZE + 32];
	int r = -EEXIST;

	for (int i = 1; r == -EEXIST && i <= REPLACED_MAX; i++) {
		(void)snprintf(name, sizeof(name), i == 1 ? "%s.replaced" : "%s.replaced.%d", path,
			       i);
		r = link(path, name) < 0 ? -errno : 0;
	}
	return r == -ENOENT ? 0 : r;
}

/* The folder of to, and those above it, of which the first that is there is enough. */
static int make_folders(const char *to)
{
	char folder[PATH_SIZE];
	char *slash;
	int r;

	(void)snprintf(folder, sizeof(folder), "%s", to);
	slash = strrchr(folder, '/');
	if (!slash || slash == folder)
		return 0;
	*slash = '\0';
	if (mkdir(folder, 0700) == 0)
		return file_sync_folder_of(folder);
	if (errno == EEXIST)
		return 0;
	if (errno != ENOENT)
		return -errno;
	r = make_folders(folder);
	if (r == 0 && mkdir(folder, 0700) < 0)
		r = -errno;
	return r == 0 ? file_sync_folder_of(folder) : r;
}

static int copy_into(int from, int to)
{
	uint8_t block[4096];
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = read(from, block, sizeof(block))) != 0) {
		if (n < 0 && errno != EINTR)
			r = -errno;
		for (ssize_t at = 0; r == 0 && at < n;) {
			const ssize_t written = write(to, block + at, (size_t)(n - at));

			if (written < 0 && errno != EINTR)
				r = -errno;
			at += written > 0 ? written : 0;
		}
	}
	wipe(block, sizeof(block));
	return r;
}

static int copy_to(const char *from, const char *to, mode_t mode, uid_t owner, gid_t group)
{
	char new_path[PATH_SIZE + 8];
	int source = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int target, r;

	if (source < 0)
		return -errno;
	(void)snprintf(new_path, sizeof(new_path), "%s.new", to);
	(void)unlink(new_path);
	target = open(new_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	r = target < 0 ? -errno : copy_into(source, target);
	if (r == 0 && ((geteuid() == 0 && fchown(target, owner, group) < 0) ||
		       fchmod(target, mode) < 0 || fsync(target) < 0))
		r = -errno;
	(void)close(source);
	if (target >= 0)
		(void)close(target);
	if (r == 0 && rename(new_path, to) < 0)
		r = -errno;
	return r == 0 ? file_sync_folder_of(to) : r;
}

static int move_to(const char *from, const char *to, mode_t mode, uid_t owner, gid_t group)
{
	char log[PATH_SIZE + 8];
	int r = keep(to);

	/* A vault's log would be taken for the new one's. */
	(void)snprintf(log, sizeof(log), "%s-wal", to);
	if (r == 0)
		r = keep(log);
	if (r == 0 && unlink(log) < 0 && errno != ENOENT)
		r = -errno;
	if (r == 0 && ((geteuid() == 0 && chown(from, owner, group) < 0) || chmod(from, mode) < 0))
		r = -errno;
	/* Both names of the old one are durable before the new one replaces it. */
	if (r == 0)
		r = file_sync_folder_of(to);
	if (r == 0 && rename(from, to) < 0)
		r = -errno;
	return r == 0 ? file_sync_folder_of(to) : r;
}

/* One line; what it is about may have been moved already. */
static int put(struct handover_tool *t, char *line)
{
	char from[PATH_SIZE];
	char *fields[6];
	unsigned long mode, owner, group;
	char *rest = line;
	int r;

	line[strcspn(line, "\n")] = '\0';
	for (size_t i = 0; i < 6; i++)
		fields[i] = strsep(&rest, "\t");
	if (!fields[5] || strchr(fields[1], '/'))
		return handover_say(t, HANDOVER_NOT_GOOD, "%s is spoiled", t->plan);
	mode = strtoul(fields[2], NULL, 8);
	owner = strtoul(fields[3], NULL, 10);
	group = strtoul(fields[4], NULL, 10);
	(void)snprintf(from, sizeof(from), "%s/%s", t->stage, fields[1]);
	if (access(from, F_OK) < 0 && errno == ENOENT)
		return 0;
	r = make_folders(fields[5]);
	if (r == 0)
		r = (fields[0][0] == 'm' ? move_to : copy_to)(from, fields[5], (mode_t)mode,
							      (uid_t)owner, (gid_t)group);
	return r == 0 ? 0 : handover_say(t, r, "%s: %s", fields[5], strerror(-r));
}

int handover_finish(struct handover_tool *t)
{
	char line[LINE_SIZE];
	FILE *f;
	int r = 0;

	if (access(t->plan, F_OK) < 0)
		return handover_say(t, -ENOENT, "no hand-over was cut short here");
	if (!is_ours(t->plan, S_IFREG) || !is_ours(t->stage, S_IFDIR))
		return handover_say(t, -EPERM, "%s or %s is somebody else's", t->plan, t->stage);
	f = fopen(t->plan, "re");
	if (!f)
		return handover_say(t, -errno, "%s: %s", t->plan, strerror(errno));
	while (r == 0 && fgets(line, sizeof(line), f))
		r = put(t, line);
	if (ferror(f))
		r = handover_say(t, -EIO, "%s: cannot be read", t->plan);
	(void)fclose(f);
	if (r == 0 && unlink(t->plan) < 0)
		r = handover_say(t, -errno, "%s: %s", t->plan, strerror(errno));
	if (r == 0)
		r = file_sync_folder_of(t->plan);
	return r == 0 ? handover_stage_clear(t) : r;
}
