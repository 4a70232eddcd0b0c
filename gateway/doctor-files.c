/* The configuration file, the clock against what is known of it, the folder of the vault, the disk.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "gateway/doctor-internal.h"
#include "protocol/clock.h"
#include <config.h>

#define MIB           (1024U * 1024U)
#define SPACE_LITTLE  (64U * MIB)
#define SPACE_NONE    (4U * MIB)
#define INODES_LITTLE 1000U
#define INODES_NONE   16U
#define FLUSH_SLOW_MS 1000U

static void examine_config(struct doctor_work *w)
{
	struct doctor_findings *f = &w->findings;
	struct config now;
	const char *changed;
	struct stat st;
	char why[512];

	if (gateway_config_load(w->file, &now, why, sizeof(why)) != 0)
		doctor_find(f, DOCTOR_CONFIG, DOCTOR_FAILED, "%.300s", why);
	else
		doctor_find(f, DOCTOR_CONFIG, DOCTOR_OK, "%s is valid", w->file);
	if (stat(w->file, &st) != 0)
		doctor_find(f, DOCTOR_CONFIG_MODE, DOCTOR_FAILED, "%s: %s", w->file,
			    strerror(errno));
	else if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		doctor_find(f, DOCTOR_CONFIG_MODE, DOCTOR_FAILED,
			    "%s has mode %04o: others can point pngwd at another server", w->file,
			    (unsigned)st.st_mode & 07777);
	else
		doctor_find(f, DOCTOR_CONFIG_MODE, DOCTOR_OK, "%s has mode %04o", w->file,
			    (unsigned)st.st_mode & 07777);
	if (!doctor_stands(f, DOCTOR_CONFIG)) {
		doctor_find(f, DOCTOR_CONFIG_CURRENT, DOCTOR_NOT_APPLICABLE,
			    "the file is not valid");
		return;
	}
	if (!w->runs) {
		doctor_find(f, DOCTOR_CONFIG_CURRENT, DOCTOR_NOT_APPLICABLE, "pngwd does not run");
		return;
	}
	changed = gateway_config_difference(&w->config, &now);
	if (changed)
		doctor_find(f, DOCTOR_CONFIG_CURRENT, DOCTOR_WARNING,
			    "%s is another one in the file than what runs%s", changed,
			    gateway_config_at_start(changed) ? ": only a restart takes it" : "");
	else
		doctor_find(f, DOCTOR_CONFIG_CURRENT, DOCTOR_OK, "the file is what runs");
}

static void time_text(int64_t t, char out[32])
{
	time_t seconds = (time_t)t;
	struct tm utc;

	if (gmtime_r(&seconds, &utc))
		(void)strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
	else
		(void)snprintf(out, 32, "%" PRId64, t);
}

static void examine_clock(struct doctor_findings *f)
{
	int64_t now = time(NULL);
	char is[32], built[32];

	time_text(now, is);
	time_text(BUILD_TIME, built);
	if (!clock_plausible(now))
		doctor_find(f, DOCTOR_CLOCK_BUILD, DOCTOR_FAILED, "the clock says %s", is);
	else if (now < (int64_t)BUILD_TIME - CLOCK_DRIFT)
		doctor_find(f, DOCTOR_CLOCK_BUILD, DOCTOR_FAILED,
			    "the clock says %s, and this program was built %s", is, built);
	else
		doctor_find(f, DOCTOR_CLOCK_BUILD, DOCTOR_OK, "the clock says %s", is);
}

/* The folder that path is in. */
static void folder_of(const char *path, char out[CONFIG_TEXT_MAX])
{
	char copy[CONFIG_TEXT_MAX];

	(void)snprintf(copy, sizeof(copy), "%s", path);
	(void)snprintf(out, CONFIG_TEXT_MAX, "%s", dirname(copy));
}

static void examine_modes(struct doctor_work *w, const char *folder)
{
	static const char *const suffixes[] = {"", "-wal", ".ledger"};
	struct doctor_findings *f = &w->findings;
	char path[CONFIG_TEXT_MAX + 16];
	struct stat st;

	if (stat(folder, &st) != 0)
		doctor_find(f, DOCTOR_STATE_FOLDER, DOCTOR_FAILED, "%s: %s", folder,
			    strerror(errno));
	else if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		doctor_find(f, DOCTOR_STATE_FOLDER, DOCTOR_FAILED,
			    "%s has mode %04o: others reach what is in it", folder,
			    (unsigned)st.st_mode & 07777);
	else if (st.st_uid != geteuid())
		doctor_find(f, DOCTOR_STATE_FOLDER, DOCTOR_FAILED,
			    "%s belongs to uid %u, and this runs as uid %u", folder,
			    (unsigned)st.st_uid, (unsigned)geteuid());
	else
		doctor_find(f, DOCTOR_STATE_FOLDER, DOCTOR_OK, "%s has mode %04o", folder,
			    (unsigned)st.st_mode & 07777);
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s%s", w->config.vault_path, suffixes[i]);
		if (stat(path, &st) != 0)
			continue;
		if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
			doctor_find(f, DOCTOR_VAULT_MODE, DOCTOR_FAILED,
				    "%s has mode %04o: others reach it", path,
				    (unsigned)st.st_mode & 07777);
			return;
		}
	}
	if (stat(w->config.vault_path, &st) != 0)
		doctor_find(f, DOCTOR_VAULT_MODE, DOCTOR_FAILED, "%s: %s", w->config.vault_path,
			    strerror(errno));
	else
		doctor_find(f, DOCTOR_VAULT_MODE, DOCTOR_OK, "%s has mode %04o",
			    w->config.vault_path, (unsigned)st.st_mode & 07777);
}

static void examine_space(struct doctor_findings *f, const char *folder)
{
	enum doctor_state state = DOCTOR_OK;
	struct statvfs fs;
	uint64_t room;

	if (statvfs(folder, &fs) != 0) {
		doctor_find(f, DOCTOR_DISK_SPACE, DOCTOR_FAILED, "%s: %s", folder, strerror(errno));
		doctor_find(f, DOCTOR_DISK_INODES, DOCTOR_NOT_APPLICABLE, "%s cannot be examined",
			    folder);
		return;
	}
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (room < SPACE_NONE)
		state = DOCTOR_FAILED;
	else if (room < SPACE_LITTLE)
		state = DOCTOR_WARNING;
	doctor_find(f, DOCTOR_DISK_SPACE, state, "%" PRIu64 " MiB are left in %s", room / MIB,
		    folder);
	state = DOCTOR_OK;
	if (fs.f_files > 0 && fs.f_favail < INODES_NONE)
		state = DOCTOR_FAILED;
	else if (fs.f_files > 0 && fs.f_favail < INODES_LITTLE)
		state = DOCTOR_WARNING;
	if (fs.f_files == 0)
		doctor_find(f, DOCTOR_DISK_INODES, DOCTOR_NOT_APPLICABLE,
			    "the file system of %s has no fixed number of inodes", folder);
	else
		doctor_find(f, DOCTOR_DISK_INODES, state, "%" PRIu64 " inodes are left in %s",
			    (uint64_t)fs.f_favail, folder);
}

static int write_and_flush(const char *path)
{
	static const char text[4096] = "pngw";
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	ssize_t n;
	int r = 0;

	if (fd < 0)
		return -errno;
	n = write(fd, text, sizeof(text));
	if (n < 0)
		r = -errno;
	else if (n < (ssize_t)sizeof(text))
		r = -ENOSPC;
	if (r == 0 && fsync(fd) != 0)
		r = -errno;
	if (close(fd) != 0 && r == 0)
		r = -errno;
	if (unlink(path) != 0 && r == 0)
		r = -errno;
	return r;
}

static void examine_flush(struct doctor_work *w, const char *folder)
{
	char path[CONFIG_TEXT_MAX + 16];
	uint64_t since = uv_hrtime();
	uint64_t took;
	int r;

	if (!doctor_stands(&w->findings, DOCTOR_PROCESS_OWNER) && geteuid() != 0) {
		doctor_find(&w->findings, DOCTOR_DISK_FLUSH, DOCTOR_NOT_APPLICABLE,
			    "there is no vault of this user");
		return;
	}
	(void)snprintf(path, sizeof(path), "%s.examined", w->config.vault_path);
	r = write_and_flush(path);
	took = (uv_hrtime() - since) / 1000000;
	if (r != 0)
		doctor_find(&w->findings, DOCTOR_DISK_FLUSH, DOCTOR_FAILED,
			    "a file in %s cannot be written and flushed: %s", folder, strerror(-r));
	else
		doctor_find(&w->findings, DOCTOR_DISK_FLUSH,
			    took > FLUSH_SLOW_MS ? DOCTOR_WARNING : DOCTOR_OK,
			    "a file was written and flushed in %" PRIu64 " ms", took);
}

void doctor_examine_files(struct doctor_work *w)
{
	char folder[CONFIG_TEXT_MAX];

	examine_config(w);
	examine_clock(&w->findings);
	folder_of(w->config.vault_path, folder);
	examine_modes(w, folder);
	examine_space(&w->findings, folder);
	examine_flush(w, folder);
}
