/* Events of procedures in a replay. */

#include "gateway/replay-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *function_name(uint64_t f)
{
	const char *name = note_choice(NOTE_profile, f);

	return name ? name : "?";
}

/* The next outcome on record, which must be of f. 0, P1_REFUSED or a negative errno. */
static int outcome(struct replay *r, enum profile_function f, struct note_field *out)
{
	struct note_field called;
	int error;

	if (!note_take(r->tape, NOTE_profile, &called)) {
		gateway_replay_differs(r, "the replay calls %s, which is not recorded",
				       function_name(f));
		return -EPROTO;
	}
	if (called.number != f) {
		gateway_replay_differs(r, "the replay calls %s, recorded is %s", function_name(f),
				       function_name(called.number));
		return -EPROTO;
	}
	if (note_take_number(r->tape, NOTE_refused) != 0)
		return P1_REFUSED;
	error = gateway_replay_error(r->tape, NOTE_error);
	if (error != 0)
		return error;
	if (!note_take(r->tape, NOTE_public, out) && !note_take(r->tape, NOTE_output, out)) {
		gateway_replay_differs(r, "what %s gave is not recorded", function_name(f));
		return -EPROTO;
	}
	return 0;
}

static int give(void *arg, enum profile_function f, uint8_t *out, size_t size)
{
	struct replay *r = arg;
	struct note_field given;
	int result = outcome(r, f, &given);

	if (result != 0)
		return result;
	if (given.tag == NOTE_public && given.bytes.size == size) {
		memcpy(out, given.bytes.data, size);
	} else if (given.tag == NOTE_output && given.token.size == size) {
		note_fill(given.token, out);
	} else {
		gateway_replay_differs(r, "what %s gave is of another size", function_name(f));
		return -EPROTO;
	}
	return 0;
}

static int give_secret(void *arg, enum profile_function f, struct secret **out)
{
	struct replay *r = arg;
	struct note_field given;
	struct secret *s;
	int result = outcome(r, f, &given);

	if (result != 0)
		return result;
	s = given.tag == NOTE_output ? gateway_replay_secret(given.token) : NULL;
	if (!s)
		return -ENOMEM;
	*out = s;
	return 0;
}

static const struct procedure_type *type_of(const struct replay *r, struct bytes name)
{
	for (size_t i = 0; r->types[i]; i++) {
		if (bytes_equal(bytes_text(r->types[i]->name), name))
			return r->types[i];
	}
	return NULL;
}

static struct actor **find(struct replay *r, uint64_t id)
{
	struct actor **at = &r->actors;

	while (*at && (*at)->p->id != id)
		at = &(*at)->next;
	return at;
}

static void drop(struct actor **at)
{
	struct actor *a = *at;

	*at = a->next;
	gateway_procedure_free(a->p);
	gateway_stage_clear(&a->stage);
	free(a);
}

/* It begins here. NULL: out of memory. */
static struct actor *begin(struct replay *r, uint64_t id, const struct procedure_type *type,
			   struct note_reader *n)
{
	struct actor *a = calloc(1, sizeof(*a));
	struct actor **at = find(r, id);
	struct name user, entity;
	struct procedure *p;

	if (!a)
		return NULL;
	/* Numbers begin anew with each core. */
	if (*at)
		drop(at);
	(void)note_take_name(n, NOTE_user, &user);
	(void)note_take_name(n, NOTE_entity, &entity);
	p = gateway_procedure_new(type, &user, &entity);
	if (!p) {
		free(a);
		return NULL;
	}
	a->p = p;
	p->id = id;
	p->run = note_take_number(n, NOTE_run);
	p->set_kind = (enum key_set_kind)note_take_number(n, NOTE_set_kind);
	p->set_count = (uint32_t)note_take_number(n, NOTE_set_count);
	p->part = (enum figure6_part)note_take_number(n, NOTE_part);
	p->resumed = note_take_number(n, NOTE_resumed) != 0;
	p->background = note_take_number(n, NOTE_background) != 0;
	p->silent = note_take_number(n, NOTE_silent) != 0;
	if (note_take_number(n, NOTE_password) != 0)
		p->password = gateway_replay_secret((struct note_token){1, 1});
	a->next = r->actors;
	r->actors = a;
	return a;
}

/* An event as it is made from notes, and what it points to. */
struct scene {
	struct event e;
	struct message *message;
	char *xml;
	size_t size;
	struct receipt receipt;
	struct verdict verdict;
	struct procedure subscription;
	char why[256];
};

static void scene_clear(struct scene *s)
{
	message_free(s->message);
	free(s->xml);
	secret_unref(s->e.ph);
	secret_unref(s->subscription.ph);
	secret_unref(s->subscription.password);
}

static int take_subscription(struct scene *s, struct note_reader *n)
{
	struct note_token salt;

	s->subscription.id = note_take_number(n, NOTE_subscription);
	if (s->subscription.id == 0)
		return 0;
	s->subscription.ph = gateway_replay_secret(note_take_token(n, NOTE_hash));
	salt = note_take_token(n, NOTE_salt);
	if (salt.size == sizeof(s->subscription.salt))
		note_fill(salt, s->subscription.salt);
	s->subscription.iterations = (uint32_t)note_take_number(n, NOTE_iterations);
	s->subscription.password = gateway_replay_secret((struct note_token){1, 1});
	s->e.subscription = &s->subscription;
	return s->subscription.password ? 0 : -ENOMEM;
}

static int take_event(struct scene *s, struct note_reader *n)
{
	int r = gateway_replay_message(n, &s->message, &s->xml, &s->size);

	if (r != 0)
		return r;
	s->e.message = s->message;
	if (gateway_replay_receipt(n, &s->receipt))
		s->e.receipt = &s->receipt;
	s->e.failure = (enum wan_failure)note_take_number(n, NOTE_failure);
	s->e.failed = (enum verdict_id)note_take_number(n, NOTE_told);
	s->e.why = gateway_replay_why(n, s->why, sizeof(s->why));
	s->e.ph = gateway_replay_secret(note_take_token(n, NOTE_hash));
	s->e.result = gateway_replay_error(n, NOTE_error);
	if (gateway_replay_verdict(n, &s->verdict))
		s->e.verdict = &s->verdict;
	r = take_subscription(s, n);
	gateway_replay_id(n, NOTE_in_response_to, &s->e.in_response_to);
	s->e.queue_full = note_take_number(n, NOTE_queue_full) != 0;
	s->e.revoked = note_take_number(n, NOTE_revoked) != 0;
	return r;
}

/* A procedure takes what an event of that kind must bring for granted. */
static bool complete(const struct event *e)
{
	switch (e->kind) {
	case EVENT_ANSWER:
	case EVENT_MESSAGE:
		return e->message;
	case EVENT_RECEIPT:
		return e->receipt;
	case EVENT_SUBSCRIBED:
		return e->verdict && e->subscription &&
		       (e->verdict->id != VERDICT_DONE || e->subscription->ph);
	case EVENT_RELAY_ENDED:
		return e->verdict;
	case EVENT_START:
	case EVENT_WAN_UP:
	case EVENT_WAN_FAILED:
	case EVENT_HASHED:
	case EVENT_STORED:
	case EVENT_MALFORMED:
	case EVENT_RELAYED:
	case EVENT_LINK_DOWN:
	case EVENT_TIMEOUT:
	case EVENT_CANCEL:
	case EVENT_KINDS:
		break;
	}
	return true;
}

/* A relayed request's end comes from the relay, which the replay has too. */
static void check_relay(struct replay *r, const struct event *e)
{
	bool from_record;

	if (e->kind == EVENT_RELAY_ENDED &&
	    !gateway_replay_take(r, e->verdict, true, &from_record) &&
	    !(r->first > 1 && r->number - r->first < 64))
		gateway_replay_differs(r, "the relay ended with %s, which the replay did not reach",
				       verdict_name(e->verdict->id));
}

static int run(struct replay *r, struct actor *a, struct scene *s, struct note_reader *n)
{
	const struct profile profile = {.arg = r, .give = give, .give_secret = give_secret};
	struct actions actions;
	struct note_field f;
	uint64_t state, due;
	int result = 0;

	check_relay(r, &s->e);
	a->stage.s.now = r->now;
	a->stage.s.wall = r->wall;
	s->e.s = &a->stage.s;
	r->tape = n;
	a->p->profile = &profile;
	gateway_actions_begin(&actions);
	gateway_procedure_handle(a->p, &s->e, &actions);
	a->p->profile = NULL;
	if (!r->why[0] && note_take(n, NOTE_profile, &f))
		gateway_replay_differs(r, "the replay does not call %s, which is recorded",
				       function_name(f.number));
	if (!r->why[0])
		gateway_replay_compare(r, n, &actions);
	state = note_take_number(n, NOTE_state);
	due = note_take_number(n, NOTE_due);
	if (!r->why[0] && (state != a->p->state || due != a->p->due))
		gateway_replay_differs(
			r, "the procedure is in state %u due at %llu, recorded is %llu at %llu",
			a->p->state, (unsigned long long)a->p->due, (unsigned long long)state,
			(unsigned long long)due);
	a->diverged = r->why[0] != '\0';
	result = gateway_replay_done(r, &actions, false);
	gateway_actions_end(&actions);
	return result;
}

int gateway_replay_procedure(struct replay *r, struct note_reader n)
{
	uint64_t id = note_take_number(&n, NOTE_procedure);
	struct note_reader whole = n;
	struct scene s = {.e = {.kind = EVENT_START}};
	struct note_field f;
	struct actor *a;
	int result;

	if (note_take(&n, NOTE_type, &f)) {
		const struct procedure_type *type = type_of(r, f.bytes);

		if (!type) {
			gateway_replay_differs(r, "no procedure is called %.*s here",
					       (int)f.bytes.size, (const char *)f.bytes.data);
			return 0;
		}
		a = begin(r, id, type, &n);
		if (!a)
			return -ENOMEM;
	} else {
		a = *find(r, id);
	}
	if (a && a->diverged)
		return 0;
	if (a && note_take_number(&n, NOTE_cut) != 0) {
		drop(find(r, id));
		a = NULL;
	}
	if (!a)
		return gateway_replay_skip(r, whole, false);
	result = gateway_stage_set(&a->stage, &n, &a->p->user);
	if (result == 0 && (!note_take(&n, NOTE_event, &f) || f.number >= EVENT_KINDS))
		result = -EBADMSG;
	if (result == 0) {
		s.e.kind = (enum event_kind)f.number;
		result = take_event(&s, &n);
	}
	if (result == 0 && !complete(&s.e))
		result = -EBADMSG;
	if (result == 0) {
		result = run(r, a, &s, &n);
	} else if (result != -ENOMEM) {
		gateway_replay_differs(r, "the event cannot be made from what is recorded");
		a->diverged = true;
		result = 0;
	}
	scene_clear(&s);
	return result;
}
