#ifndef PNGW_GATEWAY_TRACE_H
#define PNGW_GATEWAY_TRACE_H

/* Entries of the flight recorder as lines for a person, and as a file to give away. */

#include "gateway/recorder.h"

/* One line about an entry, always terminated. Returns out. */
#define TRACE_TEXT_SIZE 512
const char *gateway_trace_text(struct bytes note, char *out, size_t out_size);

/* The last count entries: at is seconds since 1970. */
typedef void trace_line_fn(void *arg, uint64_t number, uint64_t at, const char *text);
void gateway_trace_last(struct recorder *r, size_t count, trace_line_fn *each, void *arg);

/* A part of a bundle beside the recorder's: some lines of text. */
struct bundle_section {
	const char *name; /* one word */
	const char *text;
};

#define BUNDLE_VERSION 1

/*
 * Writes a bundle: the sections, and all that is in the recorder with numbers in place of tokens.
 * The format is in doc/recorder.md. 0, -ENOMEM, or -EIO when out takes no more.
 */
int gateway_recorder_bundle(struct recorder *r, const struct bundle_section *sections, size_t count,
			    FILE *out);

/* What a file is that is no whole bundle. */
enum {
	BUNDLE_FOREIGN = 1, /* it does not begin as one */
	BUNDLE_NEWER,       /* of a format that this program does not know */
	BUNDLE_TRUNCATED,   /* its end is missing */
	BUNDLE_ALTERED,     /* its checksum does not fit */
	BUNDLE_BAD          /* a line of the recorder's part cannot be read */
};

/* 0, or what is wrong and a sentence about it in why. */
int gateway_bundle_check(struct bytes text, char *why, size_t why_size);

/*
 * Each entry of the recorder's part; note is borrowed. each returns false to end it. 0, or
 * BUNDLE_BAD and a sentence that names the line. The checksum is not looked at.
 */
int gateway_bundle_each(struct bytes text, recorder_each_fn *each, void *arg, char *why,
			size_t why_size);

#endif
