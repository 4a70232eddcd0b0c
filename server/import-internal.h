#ifndef PNGW_SERVER_IMPORT_INTERNAL_H
#define PNGW_SERVER_IMPORT_INTERNAL_H

/* What the readers of the two file forms share. */

#include "server/import.h"

struct import_key {
	struct name entity;
	struct secret *key; /* as in the file; stretched at the end */
	bool passphrase;
	size_t position;
};

struct import {
	const char *path;
	const char *unit; /* what position counts: "line" or "key" */
	struct import_key *keys;
	size_t count;
	size_t capacity;
	char *why;
	size_t why_size;
};

/* Says what is wrong at a position, 0 for the file as a whole. Returns IMPORT_BAD_FILE. */
int import_bad(struct import *i, size_t position, const char *what);
/* Says that an operation failed. Returns r, a negative errno. */
int import_failed(struct import *i, int r);

/* Checks and adds one key; takes key over, on failure too. NULL means that memory is out. */
int import_add(struct import *i, size_t position, struct bytes entity, struct secret *key,
	       bool passphrase);

int import_csv(struct import *i, struct bytes file);
int import_pskc(struct import *i, struct bytes file);

#endif
