#ifndef PNGW_TESTS_FAULT_VFS_H
#define PNGW_TESTS_FAULT_VFS_H

/*
 * A disk for tests that fails, lies and loses power. It has two parts.
 *
 * Faults: an SQLite VFS in front of the system's, and (fault-posix.c, linked with --wrap) the
 * file operations of our own code. The Nth operation of a kind can fail, be torn or be dropped.
 *
 * Recording: what is written to and flushed in one folder is logged. Afterwards, for each moment at
 * which the power might have gone, the contents that a disk may then hold are laid out in another
 * folder: what was flushed, and any subset of what was not, each write whole or torn. Names appear
 * and disappear in order, and lastingly only once the folder is flushed.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FAULT_VFS "fault"

enum fault_operation {
	FAULT_READ,
	FAULT_WRITE,
	FAULT_SYNC,
	FAULT_TRUNCATE,
	FAULT_DELETE,
	FAULT_OPEN,
	FAULT_OPERATIONS
};

enum fault_kind {
	FAULT_NONE,
	FAULT_IO,        /* EIO */
	FAULT_FULL,      /* ENOSPC */
	FAULT_MEMORY,    /* ENOMEM */
	FAULT_READ_ONLY, /* EROFS */
	FAULT_TORN,      /* only the first sectors are written, and success is told */
	FAULT_DROPPED,   /* nothing is done, and success is told */
};

struct fault {
	enum fault_operation operation;
	unsigned at; /* counted from 1 */
	enum fault_kind kind;
	bool lasting;   /* all operations of the kind from there on */
	unsigned times; /* so many of them, if lasting; 0: all */
};

/* Registers the VFS by its name, once; as the default one if asked to. */
void fault_vfs_register(bool as_default);
/* Counts anew from here; NULL: no fault. */
void fault_plan(const struct fault *f);
/* How many operations there were since fault_plan(). */
unsigned fault_count(enum fault_operation operation);
/* How often the fault struck. */
unsigned fault_struck(void);

/*
 * Vaults opened from now on move their log into the file when it has that many pages, so that a
 * short run has all of that too. 0: as they do.
 */
extern int fault_checkpoint_pages;

struct disk;

/*
 * Starts recording the files directly in folder; what is there now counts as durable. Only files
 * opened afterwards are seen. The numbers are as for disk_mark().
 */
struct disk *disk_record(const char *folder, unsigned acknowledged, unsigned submitted);
void disk_stop(struct disk *d);
void disk_free(struct disk *d);
/* From here on: which batches were acknowledged, and up to which they were submitted. */
void disk_mark(unsigned acknowledged, unsigned submitted);

struct disk_state {
	unsigned acknowledged;
	unsigned submitted;
	size_t number;   /* of the state, from 0 */
	size_t position; /* in the log, for messages */
};

/* Whose subsets are all taken when there are no more than this many writes. */
struct disk_limits {
	unsigned all_subsets;
	unsigned random_subsets;
	size_t most_states; /* 0: no limit; otherwise an evenly spread sample of about that many */
	bool roughly; /* the sample is taken before equal ones are left out: fewer, and cheaper */
};

/*
 * Lays each state out in folder (emptied first) and calls each. Equal states are laid out once.
 * Returns their number.
 */
typedef void disk_state_fn(void *arg, const struct disk_state *state);
size_t disk_each_state(const struct disk *d, const struct disk_limits *limits, const char *folder,
		       disk_state_fn *each, void *arg);

/* For fault-posix.c: what an operation is to come to, and what happened. */
enum fault_kind fault_next(enum fault_operation operation);
int fault_errno(enum fault_kind kind);
size_t fault_torn_size(uint64_t offset, size_t size);
#define DISK_NO_FILE (-1)
/* The file's number, or DISK_NO_FILE when it is not recorded. */
int disk_opened(const char *path, bool created, bool truncated);
void disk_wrote(int file, uint64_t offset, const void *data, size_t size);
void disk_truncated(int file, uint64_t size);
void disk_synced(int file);
void disk_unlinked(const char *path);
void disk_renamed(const char *from, const char *to);
void disk_linked(const char *from, const char *to);
void disk_folder_synced(const char *folder);

#endif
