#ifndef PNGW_CONSOLE_ENTRY_H
#define PNGW_CONSOLE_ENTRY_H

/*
 * A line from a person, or from a file or pipe, that may be a secret: read with read(2) alone into
 * locked memory, never echoed when hidden, nowhere else. One at a time.
 */

#include <stdbool.h>
#include <stddef.h>

#include "protocol/secret.h"

/* The longest secret that is typed, with the terminator that entry_text() needs. */
#define ENTRY_SIZE 400

/*
 * Asks on the terminal, on stderr, and switches the echo off when hidden; without a terminal the
 * line comes from standard input in silence. 0 or -ENOMEM.
 */
int entry_begin(const char *prompt, bool hidden);
/* It is under way: its descriptor is to be waited for. */
bool entry_active(void);
int entry_fd(void);
/* Reads what is there. 0: not done yet; 1: done; -ENODATA: the input ended without a line; -errno.
 */
int entry_read(void);
/* What was typed, without its newline; the entry is over. NULL: nothing was. */
struct secret *entry_take(void);
/* Over without a result; the terminal is as before. Allowed when none is active. */
void entry_abort(void);

/*
 * The first line of a file that nobody but its owner may read. 0 and *out, or -errno and why:
 * -EPERM: others may read it; -ENODATA: it is empty.
 */
int entry_file(const char *path, struct secret **out, char *why, size_t why_size);

/* A pipe that has s in it and then ends: its reading end, or -errno. */
int entry_pipe(const struct secret *s);
int entry_pipe_text(const char *text);

#endif
