#include "gateway/replay-internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct procedure_type *const own_types[] = {
	&gateway_figure5_registration,
	&gateway_figure6_subscription,
	&gateway_figure6_assignment,
	&gateway_figure7_assignment,
	&gateway_renewal,
	&gateway_refill,
	&gateway_figure8_assignment,
	NULL,
};

struct replay *gateway_replay_new(const struct procedure_type *const *types,
				  const struct replay_watcher *watcher, void *arg)
{
	struct replay *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->types = types ? types : own_types;
	if (watcher)
		r->watcher = *watcher;
	r->arg = arg;
	return r;
}

/* Nothing is left of what was under way. */
static void forget(struct replay *r)
{
	while (r->actors) {
		struct actor *a = r->actors;

		r->actors = a->next;
		gateway_procedure_free(a->p);
		gateway_stage_clear(&a->stage);
		free(a);
	}
	while (r->reached) {
		struct reached *x = r->reached;

		r->reached = x->next;
		free(x);
	}
	while (r->tokens) {
		struct token_pair *t = r->tokens;

		r->tokens = t->next;
		free(t);
	}
	gateway_relay_free(r->relay);
	r->relay = NULL;
}

void gateway_replay_free(struct replay *r)
{
	if (r)
		forget(r);
	free(r);
}

const struct replay_result *gateway_replay_result(const struct replay *r)
{
	return &r->result;
}

void gateway_replay_differs(struct replay *r, const char *format, ...)
{
	va_list arguments;

	if (r->why[0])
		return;
	va_start(arguments, format);
	(void)vsnprintf(r->why, sizeof(r->why), format, arguments);
	va_end(arguments);
	r->result.diverged++;
	if (r->result.diverged_at == 0)
		r->result.diverged_at = r->number;
	if (r->watcher.diverged)
		r->watcher.diverged(r->arg, r->number, r->why);
}

/* Verdicts. */

int gateway_replay_reach(struct replay *r, const struct verdict *v, bool from_record, bool relay)
{
	struct reached **at = &r->reached;
	struct reached *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	x->v = *v;
	x->from_record = from_record;
	x->relay = relay;
	while (*at)
		at = &(*at)->next;
	*at = x;
	return 0;
}

static bool same_verdict(const struct verdict *a, const struct verdict *b)
{
	return a->id == b->id && a->figure == b->figure && a->step == b->step &&
	       a->key_index == b->key_index && name_equal(&a->user, &b->user) &&
	       name_equal(&a->entity, &b->entity) && strcmp(a->detail, b->detail) == 0;
}

bool gateway_replay_take(struct replay *r, const struct verdict *v, bool relay, bool *from_record)
{
	for (struct reached **at = &r->reached; *at; at = &(*at)->next) {
		struct reached *x = *at;

		if (!same_verdict(&x->v, v) || (relay && !x->relay))
			continue;
		*from_record = x->from_record;
		*at = x->next;
		free(x);
		return true;
	}
	return false;
}

static void tell(struct replay *r, const char *text)
{
	if (r->watcher.did)
		r->watcher.did(r->arg, r->number, text);
}

int gateway_replay_done(struct replay *r, const struct actions *a, bool relay)
{
	char text[VERDICT_TEXT_SIZE];

	for (size_t i = 0; i < a->count; i++) {
		const struct action *x = &a->list[i];

		if (x->kind == ACTION_STEP)
			tell(r, step_describe(x->figure, x->step, text, sizeof(text)));
		if (x->kind != ACTION_VERDICT)
			continue;
		tell(r, verdict_describe(&x->verdict, text, sizeof(text)));
		if (gateway_replay_reach(r, &x->verdict, false, relay) != 0)
			return -ENOMEM;
	}
	return 0;
}

int gateway_replay_skip(struct replay *r, struct note_reader n, bool relay)
{
	struct note_field f;
	struct verdict v;

	while (note_find(&n, NOTE_action, &f)) {
		if (f.number == ACTION_VERDICT && gateway_replay_verdict(&n, &v) &&
		    gateway_replay_reach(r, &v, true, relay) != 0)
			return -ENOMEM;
	}
	return 0;
}

/* One of before the ring's beginning may have led to it. */
static bool may_be_older(const struct replay *r)
{
	return r->first > 1 && r->number - r->first < 64;
}

int gateway_replay_told(struct replay *r, struct note_reader n)
{
	bool from_record = false;
	struct verdict v;

	(void)note_take_number(&n, NOTE_run);
	if (!gateway_replay_verdict(&n, &v))
		return 0;
	if (gateway_replay_take(r, &v, false, &from_record)) {
		if (from_record)
			r->result.unknown++;
		else
			r->result.same++;
	} else if (may_be_older(r)) {
		r->result.unknown++;
	} else {
		gateway_replay_differs(r, "the verdict %s was told, which the replay did not reach",
				       verdict_name(v.id));
	}
	return 0;
}

int gateway_replay_judgement(struct replay *r, struct note_reader n)
{
	struct facts f = {.matter = MATTERS};
	struct verdict recorded, v;
	char why[160];
	bool reached;

	(void)note_take_number(&n, NOTE_run);
	f.matter = (enum matter)note_take_number(&n, NOTE_matter);
	f.password = note_take_number(&n, NOTE_password) != 0;
	f.known = note_take_number(&n, NOTE_known) != 0;
	f.link_up = note_take_number(&n, NOTE_link_up) != 0;
	f.busy = note_take_number(&n, NOTE_busy) != 0;
	f.holder = note_take_number(&n, NOTE_holder);
	f.under_way = (size_t)note_take_number(&n, NOTE_under_way);
	f.most = (size_t)note_take_number(&n, NOTE_most);
	f.error = gateway_replay_error(&n, NOTE_error);
	f.told = (enum verdict_id)note_take_number(&n, NOTE_told);
	f.revoked = note_take_number(&n, NOTE_revoked) != 0;
	f.self = note_take_number(&n, NOTE_self_reset) != 0;
	f.reset = (enum reset_state)note_take_number(&n, NOTE_reset);
	f.seen = (enum status)note_take_number(&n, NOTE_seen);
	f.seen_index = (uint32_t)note_take_number(&n, NOTE_seen_index);
	f.sequence = (uint32_t)note_take_number(&n, NOTE_sequence);
	f.why = gateway_replay_why(&n, why, sizeof(why));
	if (!gateway_replay_verdict(&n, &recorded))
		return 0;
	for (const struct actor *a = r->actors; f.holder != 0 && a; a = a->next) {
		if (a->p->id == f.holder && a->p->state == STATE_ENDED && !a->diverged)
			gateway_replay_differs(r, "procedure %llu is in the way, but it has ended",
					       (unsigned long long)f.holder);
	}
	v = recorded;
	v.id = VERDICT_DONE;
	v.detail[0] = '\0';
	reached = gateway_judge(&f, &v);
	if (!reached || !same_verdict(&v, &recorded))
		gateway_replay_differs(r, "the facts give %s, recorded is %s",
				       reached ? verdict_name(v.id) : "no verdict",
				       verdict_name(recorded.id));
	if (!reached)
		return 0;
	if (r->watcher.did) {
		char text[VERDICT_TEXT_SIZE];

		tell(r, verdict_describe(&v, text, sizeof(text)));
	}
	return gateway_replay_reach(r, &v, false, false);
}

int gateway_replay_entry(struct replay *r, uint64_t number, struct bytes note)
{
	struct note_reader n = note_read(note);
	uint64_t entry = note_take_number(&n, NOTE_entry);

	r->now = note_take_number(&n, NOTE_now);
	r->wall = note_take_number(&n, NOTE_wall);
	r->number = number;
	r->why[0] = '\0';
	if (r->result.entries++ == 0)
		r->first = number;
	switch ((enum note_entry)entry) {
	case ENTRY_PROCEDURE:
		return gateway_replay_procedure(r, n);
	case ENTRY_RELAY:
		return gateway_replay_relay(r, n);
	case ENTRY_JUDGEMENT:
		return gateway_replay_judgement(r, n);
	case ENTRY_VERDICT:
		return gateway_replay_told(r, n);
	case ENTRY_BEGIN:
		forget(r);
		return 0;
	case ENTRY_COMMAND:
	case ENTRY_LINK:
	case ENTRY_WAN:
	case ENTRY_LINE:
		return 0;
	}
	gateway_replay_differs(r, "an entry of a kind that this version does not know");
	return 0;
}
