#ifndef PNGW_GATEWAY_RECORDER_INTERNAL_H
#define PNGW_GATEWAY_RECORDER_INTERNAL_H

/* What the recorder's files share. */

#include "gateway/recorder.h"

/* An entry holds at most a message in and a few out, compact. */
#define RECORDER_ENTRY_MAX 24576U

struct recorder {
	uint8_t *ring;
	size_t size, used;
	size_t oldest; /* where the oldest entry begins */
	uint64_t first, next;
	uint64_t now, wall;
	size_t head; /* what of an entry is kept when the rest is too large */
	struct note_writer entry;
	struct profile profile;
	uint8_t room[RECORDER_ENTRY_MAX];
};

/* Begins an entry; false where r is NULL. */
bool gateway_recorder_begin(struct recorder *r, enum note_entry kind);
/* Puts it into the ring. One that became too large is put in as far as its head, marked as cut. */
void gateway_recorder_end(struct recorder *r);

void gateway_note_verdict(struct note_writer *w, const struct verdict *v);
void gateway_note_id(struct note_writer *w, enum note_tag tag, const struct message_id *id);
void gateway_note_name(struct note_writer *w, enum note_tag tag, const struct name *n);
/* A negative errno as a number. */
void gateway_note_error(struct note_writer *w, enum note_tag tag, int error);

#endif
