#ifndef PNGW_GATEWAY_RECORDER_H
#define PNGW_GATEWAY_RECORDER_H

/*
 * The flight recorder: the last events into and actions out of the procedures, the relay and the
 * core, in a ring of fixed size. Always on; it takes no memory once it is made, and nothing that it
 * fails to do is seen by the core. What is secret becomes a token as it enters (gateway/note.h).
 * doc/recorder.md describes the entries and what a replay makes of them. One thread.
 */

#include "gateway/judge.h"
#include "gateway/note.h"
#include "gateway/relay.h"

struct recorder;

#define RECORDER_SIZE_MIN     65536
#define RECORDER_SIZE_DEFAULT 262144

/* size: of the ring, in bytes. 0, -EINVAL below the least, -ENOMEM, or of the random generator. */
int gateway_recorder_new(size_t size, struct recorder **out);
void gateway_recorder_free(struct recorder *r);

/* All that follow do nothing where r is NULL. */

/* When what follows happens: milliseconds of the core's clock, and seconds since 1970. */
void gateway_recorder_at(struct recorder *r, uint64_t now, uint64_t wall);

/*
 * An event is given to p; gateway_recorder_handled() follows, with nothing recorded in between but
 * what the profile gives. Sets p->profile for that time.
 */
void gateway_recorder_event(struct recorder *r, struct procedure *p, const struct event *e,
			    const struct pool_limits *pool);
void gateway_recorder_handled(struct recorder *r, struct procedure *p, const struct actions *a);

/* A call of the relay, and what came of it. What a call has no use for is zero. */
enum relay_call_kind {
	CALL_REQUEST,     /* link, message, xml */
	CALL_ANSWERED,    /* now, token, message, xml */
	CALL_DROP_ANSWER, /* token */
	CALL_WAN_FAILED,  /* token, failed */
	CALL_RECEIPT,     /* link, receipt; only one that the relay took */
	CALL_STORED,      /* now, token, result */
	CALL_TICK,        /* now */
	CALL_REVOKE,      /* entity, user: NULL for any */
	CALLS
};
struct relay_call {
	enum relay_call_kind kind;
	size_t count; /* of requests under way before it */
	uint64_t now, token;
	const struct relay_link *link;
	const struct message *message;
	struct bytes xml;
	const struct receipt *receipt;
	const struct wan_end *failed;
	int result;
	const struct name *entity, *user;
};
void gateway_recorder_relay(struct recorder *r, const struct relay_call *call,
			    const struct relay_limits *limits, const struct actions *a);

/* A verdict by gateway_judge(), and any verdict as it is told. */
void gateway_recorder_judgement(struct recorder *r, uint64_t run, const struct facts *f,
				const struct verdict *v);
void gateway_recorder_verdict(struct recorder *r, uint64_t run, const struct verdict *v);

/* A core begins: procedures and relayed requests of before are no more. */
void gateway_recorder_began(struct recorder *r);

/* What a replay has no need of, but a person. entity and user may be NULL. */
void gateway_recorder_command(struct recorder *r, const char *command, uint64_t run,
			      enum figure figure, const struct name *user,
			      const struct name *entity);
/* peer: where it is connected from, or why it is gone. */
void gateway_recorder_link(struct recorder *r, const struct name *entity, bool up,
			   enum pan_security level, const char *peer);
void gateway_recorder_wan(struct recorder *r, bool up, bool mutual, const char *why);
void gateway_recorder_line(struct recorder *r, const char *text);

/* What is in it. */
struct recorder_info {
	size_t size, used;
	uint64_t first; /* number of the oldest entry; they rise by one */
	uint64_t next;  /* of the next one */
	uint64_t lost;  /* entries that made room for others */
};
void gateway_recorder_info(const struct recorder *r, struct recorder_info *out);
/* Each entry from number first on; note is borrowed. each returns false to end it. */
typedef bool recorder_each_fn(void *arg, uint64_t number, struct bytes note);
void gateway_recorder_each(struct recorder *r, uint64_t first, recorder_each_fn *each, void *arg);

/* For whoever makes entries elsewhere: the actions of an entry. */
void gateway_note_actions(struct note_writer *w, const struct actions *a);

#endif
