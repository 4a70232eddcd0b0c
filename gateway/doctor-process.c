/* What the process is allowed, and the system it runs on. */

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/doctor-internal.h"
#include "storage/library.h"
#include "wan/library.h"
#include <config.h>

/* What pngwd's keys may still need at any time, in bytes. */
#define LOCKED_WANTED 65536U
/* Descriptors beside those of links. */
#define FILES_SPARE   64U
/* Memory, in KiB, below which there is little, and too little. */
#define MEMORY_LITTLE 65536U
#define MEMORY_NONE   16384U

/* Of the kernel's capability.h. */
#define CAP_DAC_READ_SEARCH_BIT 2
#define CAP_NET_ADMIN_BIT       12

#define NOT_RUNNING "pngwd does not run: what its unit allows it cannot be seen"

/* A small file of /proc as text; "" when it cannot be read. */
static void read_text(const char *path, char *out, size_t size)
{
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(out, 1, size - 1, f) : 0;

	out[n] = '\0';
	if (f)
		(void)fclose(f);
}

/* The number behind key, which begins a line; false without one. */
static bool number_of(const char *text, const char *key, int base, uint64_t *out)
{
	size_t size = strlen(key);

	while (text && strncmp(text, key, size) != 0) {
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	if (!text)
		return false;
	*out = strtoull(text + size, NULL, base);
	return true;
}

static void examine_program(struct doctor_findings *f)
{
	char path[256];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (n < 0) {
		doctor_find(f, DOCTOR_PROGRAM, DOCTOR_NOT_APPLICABLE,
			    "/proc does not tell which program runs");
		return;
	}
	path[n] = '\0';
	if (strstr(path, " (deleted)"))
		doctor_find(f, DOCTOR_PROGRAM, DOCTOR_WARNING,
			    "version %s runs, and its file was replaced or removed since",
			    PACKAGE_VERSION);
	else
		doctor_find(f, DOCTOR_PROGRAM, DOCTOR_OK, "version %s from %s", PACKAGE_VERSION,
			    path);
}

/* The first two numbers of a version: what differs behind them keeps to the interface. */
static unsigned long version_of(const char *text)
{
	char *end;
	unsigned long major = strtoul(text, &end, 10);

	return major * 1000 + (*end == '.' ? strtoul(end + 1, NULL, 10) : 0);
}

static void examine_libraries(struct doctor_findings *f)
{
	char uv[32];
	const struct library {
		const char *name, *built, *runs;
	} libraries[] = {
		{"libuv", uv, uv_version_string()},
		{"wolfSSL", tls_library_built(), tls_library_version()},
		{"nghttp2", http_library_built(), http_library_version()},
		{"SQLite", vault_library_built(), vault_library_version()},
	};
	char all[DOCTOR_TEXT_SIZE] = "";

	(void)snprintf(uv, sizeof(uv), "%d.%d.%d", UV_VERSION_MAJOR, UV_VERSION_MINOR,
		       UV_VERSION_PATCH);
	for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++) {
		const struct library *l = &libraries[i];
		size_t used = strlen(all);

		if (version_of(l->runs) < version_of(l->built)) {
			doctor_find(f, DOCTOR_LIBRARIES, DOCTOR_FAILED,
				    "%s is %s, and pngwd was built with %s", l->name, l->runs,
				    l->built);
			return;
		}
		(void)snprintf(all + used, sizeof(all) - used, "%s%s %s", i ? ", " : "", l->name,
			       l->runs);
	}
	doctor_find(f, DOCTOR_LIBRARIES, DOCTOR_OK, "%s", all);
}

static void examine_user(struct doctor_work *w)
{
	struct doctor_findings *f = &w->findings;
	struct stat st;

	if (!w->runs)
		doctor_find(f, DOCTOR_PROCESS_USER, DOCTOR_NOT_APPLICABLE, NOT_RUNNING);
	else if (geteuid() == 0)
		doctor_find(f, DOCTOR_PROCESS_USER, DOCTOR_WARNING, "pngwd runs as root");
	else
		doctor_find(f, DOCTOR_PROCESS_USER, DOCTOR_OK, "pngwd runs as uid %u",
			    (unsigned)geteuid());
	if (stat(w->config.vault_path, &st) != 0)
		doctor_find(f, DOCTOR_PROCESS_OWNER, DOCTOR_NOT_APPLICABLE,
			    "there is no vault at %s", w->config.vault_path);
	else if (st.st_uid != geteuid())
		doctor_find(f, DOCTOR_PROCESS_OWNER, DOCTOR_FAILED,
			    "the vault belongs to uid %u, and this runs as uid %u",
			    (unsigned)st.st_uid, (unsigned)geteuid());
	else
		doctor_find(f, DOCTOR_PROCESS_OWNER, DOCTOR_OK, "the vault belongs to uid %u",
			    (unsigned)st.st_uid);
}

static void examine_sandbox(struct doctor_work *w)
{
	struct doctor_findings *f = &w->findings;
	char status[4096];
	uint64_t value;
	/* For a bridge, and for how the keys of bonds were made. */
	uint64_t needed = (w->config.nap ? UINT64_C(1) << CAP_NET_ADMIN_BIT : 0) |
			  (w->config.bluetooth ? UINT64_C(1) << CAP_DAC_READ_SEARCH_BIT : 0);

	if (!w->runs) {
		doctor_find(f, DOCTOR_NO_NEW_PRIVILEGES, DOCTOR_NOT_APPLICABLE, NOT_RUNNING);
		doctor_find(f, DOCTOR_CAPABILITIES, DOCTOR_NOT_APPLICABLE, NOT_RUNNING);
		doctor_find(f, DOCTOR_SECCOMP, DOCTOR_NOT_APPLICABLE, NOT_RUNNING);
		return;
	}
	read_text("/proc/self/status", status, sizeof(status));
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		doctor_find(f, DOCTOR_NO_NEW_PRIVILEGES, DOCTOR_OK, "no_new_privs is set");
	else
		doctor_find(f, DOCTOR_NO_NEW_PRIVILEGES, DOCTOR_WARNING,
			    "no_new_privs is not set: a program it starts could gain privileges");
	if (!number_of(status, "CapEff:", 16, &value))
		doctor_find(f, DOCTOR_CAPABILITIES, DOCTOR_NOT_APPLICABLE,
			    "/proc does not tell the capabilities");
	else if ((value & ~needed) != 0)
		doctor_find(f, DOCTOR_CAPABILITIES, DOCTOR_WARNING,
			    "it has capabilities that it does not need: %" PRIx64, value);
	else
		doctor_find(f, DOCTOR_CAPABILITIES, DOCTOR_OK, "%s",
			    value ? "none but what it needs" : "none");
	if (number_of(status, "Seccomp:", 10, &value) && value == 2)
		doctor_find(f, DOCTOR_SECCOMP, DOCTOR_OK, "a filter is in force");
	else
		doctor_find(f, DOCTOR_SECCOMP, DOCTOR_WARNING,
			    "no filter: whoever takes pngwd over may use every system call");
}

static void examine_cores(struct doctor_findings *f)
{
	bool dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0;
	char pattern[256];
	struct rlimit limit;

	if (getrlimit(RLIMIT_CORE, &limit) != 0 || limit.rlim_cur != 0)
		doctor_find(f, DOCTOR_CORE_LIMIT, DOCTOR_FAILED,
			    "the limit of core files is not 0: a crash may write keys to the disk");
	else
		doctor_find(f, DOCTOR_CORE_LIMIT, DOCTOR_OK, "the limit of core files is 0");
	doctor_find(f, DOCTOR_DUMPABLE, dumpable ? DOCTOR_FAILED : DOCTOR_OK, "%s",
		    dumpable ? "the process is dumpable: others of its user can read its memory"
			     : "the process is not dumpable");
	read_text("/proc/sys/kernel/core_pattern", pattern, sizeof(pattern));
	pattern[strcspn(pattern, "\n")] = '\0';
	if (pattern[0] != '|')
		doctor_find(f, DOCTOR_CORE_PATTERN, DOCTOR_OK, "core files have a name, \"%.200s\"",
			    pattern);
	else if (!dumpable)
		doctor_find(f, DOCTOR_CORE_PATTERN, DOCTOR_OK,
			    "there is a core handler, and pngwd is not dumpable");
	else
		doctor_find(f, DOCTOR_CORE_PATTERN, DOCTOR_FAILED,
			    "a core handler would get a dump whatever the limit is: \"%.200s\"",
			    pattern);
}

static bool can_lock(void)
{
	void *page = mmap(NULL, LOCKED_WANTED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	bool locked;

	if (page == MAP_FAILED)
		return false;
	locked = mlock(page, LOCKED_WANTED) == 0;
	(void)munmap(page, LOCKED_WANTED);
	return locked;
}

static void examine_locking(struct doctor_findings *f)
{
	bool lockable = can_lock();
	char swaps[1024];
	const char *line;

	if (lockable)
		doctor_find(f, DOCTOR_LOCKED_MEMORY, DOCTOR_OK, "a further %u KiB can be locked",
			    LOCKED_WANTED / 1024);
	else
		doctor_find(f, DOCTOR_LOCKED_MEMORY, DOCTOR_FAILED,
			    "a further %u KiB cannot be locked", LOCKED_WANTED / 1024);
	read_text("/proc/swaps", swaps, sizeof(swaps));
	line = strchr(swaps, '\n');
	if (!line || !line[1])
		doctor_find(f, DOCTOR_SWAP, DOCTOR_OK, "there is no swap space");
	else if (lockable)
		doctor_find(f, DOCTOR_SWAP, DOCTOR_OK,
			    "there is swap space, and keys are in locked memory");
	else
		doctor_find(f, DOCTOR_SWAP, DOCTOR_FAILED,
			    "there is swap space, and memory cannot be locked");
}

static size_t open_files(void)
{
	DIR *folder = opendir("/proc/self/fd");
	size_t count = 0;

	if (!folder)
		return 0;
	while (readdir(folder))
		count++;
	(void)closedir(folder);
	return count;
}

static void examine_files_limit(struct doctor_work *w)
{
	const struct config *c = &w->config;
	size_t bearers = c->listen_count + (c->bluetooth ? 1 : 0) + (c->nap ? 1 : 0);
	uint64_t wanted = (uint64_t)bearers * c->max_links + FILES_SPARE;
	size_t used = open_files();
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		doctor_find(&w->findings, DOCTOR_OPEN_FILES, DOCTOR_NOT_APPLICABLE,
			    "the limit cannot be read: %s", strerror(errno));
	else if (limit.rlim_cur < used + FILES_SPARE)
		doctor_find(&w->findings, DOCTOR_OPEN_FILES, DOCTOR_FAILED,
			    "%zu of %" PRIu64 " file descriptors are in use", used,
			    (uint64_t)limit.rlim_cur);
	else if (limit.rlim_cur < wanted)
		doctor_find(&w->findings, DOCTOR_OPEN_FILES, DOCTOR_WARNING,
			    "all links together may need %" PRIu64
			    " file descriptors, and the limit is %" PRIu64,
			    wanted, (uint64_t)limit.rlim_cur);
	else
		doctor_find(&w->findings, DOCTOR_OPEN_FILES, DOCTOR_OK,
			    "%zu of %" PRIu64 " file descriptors are in use", used,
			    (uint64_t)limit.rlim_cur);
}

static void examine_memory(struct doctor_findings *f)
{
	char text[4096];
	uint64_t available, own = 0;
	enum doctor_state state = DOCTOR_OK;

	read_text("/proc/self/status", text, sizeof(text));
	(void)number_of(text, "VmRSS:", 10, &own);
	read_text("/proc/meminfo", text, sizeof(text));
	if (!number_of(text, "MemAvailable:", 10, &available)) {
		doctor_find(f, DOCTOR_MEMORY, DOCTOR_NOT_APPLICABLE,
			    "/proc does not tell the memory that is left");
		return;
	}
	if (available < MEMORY_NONE)
		state = DOCTOR_FAILED;
	else if (available < MEMORY_LITTLE)
		state = DOCTOR_WARNING;
	doctor_find(f, DOCTOR_MEMORY, state,
		    "the system has %" PRIu64 " MiB left, this process takes %" PRIu64 " MiB",
		    available / 1024, own / 1024);
}

void doctor_examine_process(struct doctor_work *w)
{
	examine_program(&w->findings);
	examine_libraries(&w->findings);
	examine_user(w);
	examine_sandbox(w);
	examine_cores(&w->findings);
	examine_locking(&w->findings);
	examine_files_limit(w);
	examine_memory(&w->findings);
}
