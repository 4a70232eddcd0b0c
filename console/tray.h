#ifndef PNGW_CONSOLE_TRAY_H
#define PNGW_CONSOLE_TRAY_H

/*
 * A tray of headsets, each to be given its EUKey, some at a time. What becomes of each is in a
 * journal before anything follows from it, so that the work goes on after a kill or a power cut;
 * doc/tray.md has the files.
 */

#include <stdint.h>

#include "console/console.h"
#include "console/manifest.h"

enum tray_state {
	TRAY_WAITING,    /* for its turn, for its headset, for another attempt */
	TRAY_CONNECTING, /* a procedure of the PN GW's is under way */
	TRAY_ASSIGNING,  /* the same */
	TRAY_PASSED,
	TRAY_FAILED,
};

struct tray_unit {
	struct manifest_unit what;
	enum tray_state state;
	unsigned attempts; /* of this run */
	unsigned refusals; /* in a row: the PN GW could not begin it */
	/*
	 * It was under way when the work was interrupted, so that it may have got its EUKey without
	 * the journal's knowing: what the PN GW knew of it before tells.
	 */
	bool doubtful;
	uint32_t held_before;
	struct name owner_before;
	/* What the PN GW knows now. */
	bool connected;
	uint32_t held;
	struct name owner;
	bool own_connection;        /* made here, so ended here */
	int64_t not_before;         /* tray_now() */
	char path[CLIENT_NAME_MAX]; /* of the procedure; "" none */
	char doing[64];             /* its last step */
	json_object *verdict;       /* of the procedure, or NULL */
	char result[16];            /* of the procedure; "" until it ended */
	json_object *outcome;       /* for the sheet, once it passed or failed */
};

struct tray_journal {
	int fd; /* -1: none */
	char path[4096];
};

#define TRAY_CHALLENGE_SIZE 16

struct tray {
	struct console *console;
	struct tray_unit unit[MANIFEST_MAX];
	size_t count;
	unsigned parallel;
	char folder[3000], name[256]; /* of the files: FOLDER/NAME.json */
	char manifest[512];           /* as the technician named it */
	char digest[65];              /* of the manifest's content, in hex */
	char challenge[2 * TRAY_CHALLENGE_SIZE + 1];
	struct name gateway;
	int64_t started; /* seconds since 1970 */
	struct tray_journal journal;
};

/* Milliseconds of a clock that goes on evenly. */
int64_t tray_now(void);
size_t tray_count(const struct tray *t, enum tray_state state);
void tray_free(struct tray *t);

/*
 * tray-journal.c. Each returns 0 or a negative errno. A line is durable when tray_journal_add()
 * returns.
 */
/* Makes the journal, with all units in it, or none of it. -EEXIST: there is one. */
int tray_journal_create(struct tray *t);
/*
 * Reads one and fills t: its units, and how far each is. A last line that was torn is cut off.
 * -ENOENT: there is none; -EBADMSG and the line's number: it is damaged; -EWOULDBLOCK: another
 * pngwctl works with it.
 */
int tray_journal_open(struct tray *t, size_t *line);
/* is: "begun", "passed" or "failed". */
int tray_journal_add(struct tray *t, const struct tray_unit *unit, const char *is);
void tray_journal_close(struct tray *t);

/* tray-work.c: until every unit passed or failed. An exit code after it was said; 0: all ended. */
int tray_work(struct tray *t);

/* tray-show.c */
struct tray_show {
	const struct tray *tray;
	int64_t shown_at;
	char line[512];
	bool open; /* the cursor is behind the line */
	bool ended;
};
/* A unit's state has changed, and why in one sentence. */
void tray_show_unit(struct tray_show *s, const struct tray_unit *unit, const char *is,
		    const char *text);
/* Shows how far it is, at most once a second; last: now, and ends the line. */
void tray_show_progress(struct tray_show *s, bool last);
void tray_show_say(struct tray_show *s, const char *text);

/* tray-sheet.c: an exit code, after it was said. */
/* Has the sheet signed and writes it and its page. */
int tray_sheet_write(struct tray *t);
int tray_sheet_verify(struct console *console, const char *path, const char *signer);
/* Writes a file, all of it or not at all. 0 or a negative errno. */
int tray_file_write(const char *path, const char *data, size_t size);

#endif
