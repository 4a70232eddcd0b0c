#ifndef PNGW_GATEWAY_REPLAY_INTERNAL_H
#define PNGW_GATEWAY_REPLAY_INTERNAL_H

/* What the replay's files share. */

#include "gateway/replay.h"

/* Surroundings of a procedure, made from notes; what they point to is in here too. */
struct stage {
	struct surroundings s;
	struct procedure_limits limits;
	struct name self, server, owner, pne_owner;
	char path[129], wan_why[160];
	uint8_t binding[1024];
	struct stored_key own, next, repeat, newest;
	struct pool pool;
	struct verifier verifier;
};

struct actor {
	struct actor *next;
	struct procedure *p;
	struct stage stage;
	bool diverged; /* nothing more is made of it */
};

/* A verdict that was reached and not told yet. */
struct reached {
	struct reached *next;
	struct verdict v;
	bool from_record; /* it could not be replayed */
	bool relay;
};

/* The relay's tokens: the recorded one and the replay's. */
struct token_pair {
	struct token_pair *next;
	uint64_t recorded, own;
};

struct replay {
	const struct procedure_type *const *types;
	struct replay_watcher watcher;
	void *arg;
	struct replay_result result;
	uint64_t number, first, now, wall;
	struct actor *actors;
	struct reached *reached;
	struct relay *relay;
	struct token_pair *tokens;
	struct note_writer compare; /* of two messages; its room is compare_room */
	uint8_t compare_room[2][MESSAGE_MAX_SIZE];
	/* While a procedure runs: what the profile gives. */
	struct note_reader *tape;
	char why[512]; /* why the run diverged; "" */
};

/* Says it once for this entry. */
__attribute__((format(printf, 2, 3))) void gateway_replay_differs(struct replay *r,
								  const char *format, ...);
/* Compares what was done with the actions from reader on; pairs the relay's tokens. */
void gateway_replay_compare(struct replay *r, struct note_reader *n, const struct actions *a);
/* Tells of steps and verdicts, and remembers the verdicts. 0 or -ENOMEM. */
int gateway_replay_done(struct replay *r, const struct actions *a, bool relay);
/* The verdicts among the actions of an entry that cannot be replayed. 0 or -ENOMEM. */
int gateway_replay_skip(struct replay *r, struct note_reader n, bool relay);
int gateway_replay_reach(struct replay *r, const struct verdict *v, bool from_record, bool relay);
/* Takes the first that equals v. */
bool gateway_replay_take(struct replay *r, const struct verdict *v, bool relay, bool *from_record);

/* A secret in whose place a token stands; NULL where there is none, or no memory. */
struct secret *gateway_replay_secret(struct note_token t);
bool gateway_replay_verdict(struct note_reader *n, struct verdict *out);
/* False where it holds no receipt. */
bool gateway_replay_receipt(struct note_reader *n, struct receipt *out);
void gateway_replay_id(struct note_reader *n, enum note_tag tag, struct message_id *out);
/* 0 and a message that is the caller's, or NULL where there is none; otherwise -errno. */
int gateway_replay_message(struct note_reader *n, struct message **m, char **xml, size_t *size);
/* Particulars: out, or NULL where there are none. */
const char *gateway_replay_why(struct note_reader *n, char *out, size_t out_size);
/* Negative errno of a number. */
int gateway_replay_error(struct note_reader *n, enum note_tag tag);

void gateway_stage_clear(struct stage *s);
/* Takes the surroundings and the pool from n, as far as they are there. 0 or -ENOMEM. */
int gateway_stage_set(struct stage *s, struct note_reader *n, const struct name *user);

/* One entry of each kind. 0 or -ENOMEM. */
int gateway_replay_procedure(struct replay *r, struct note_reader n);
int gateway_replay_relay(struct replay *r, struct note_reader n);
int gateway_replay_judgement(struct replay *r, struct note_reader n);
int gateway_replay_told(struct replay *r, struct note_reader n);

#endif
