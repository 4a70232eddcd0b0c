#ifndef PNGW_GATEWAY_JOURNAL_H
#define PNGW_GATEWAY_JOURNAL_H

/*
 * The log as entries of systemd's journal with fields (doc/journal.md), where standard error is the
 * journal; otherwise the caller writes its plain line.
 */

#include "protocol/verdict.h"

/* Ids of what journalctl can be asked for: MESSAGE_ID. */
#define JOURNAL_VERDICT "6f1c2c0e94a84f1f8a3b6d0f5e7a1b42"
#define JOURNAL_STEP    "b3d07a51c6e24d7a9c58e1f4a2907d63"

struct journal_entry {
	const char *text;
	int priority;                  /* of syslog: 3 error, 4 warning, 6 info */
	const char *gateway;           /* Entity ID of the PN GW */
	const struct verdict *verdict; /* NULL: it is none */
	/* FIGURE_NONE: it is no step. */
	enum figure figure;
	unsigned step;
	const struct name *entity; /* NULL or "" without */
};

/* Whether fd is what JOURNAL_STREAM says that the journal is, and the journal can be reached. */
bool gateway_journal_is(int fd);

/* 0, or a negative errno: the entry was not taken. */
int gateway_journal_send(const struct journal_entry *e);

#endif
