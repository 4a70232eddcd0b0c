#include "gateway/recorder-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void came_out(void *arg, enum profile_function f, int result, struct bytes out)
{
	struct recorder *r = arg;
	struct note_writer *w = &r->entry;

	note_always(w, NOTE_profile, f);
	if (result == P1_REFUSED)
		note_number(w, NOTE_refused, 1);
	else
		gateway_note_error(w, NOTE_error, result);
	if (result != 0)
		return;
	/* These go out as they are, and a replay tells answers by them. */
	if (f == PROFILE_MESSAGE_ID || f == PROFILE_CLIENT_NONCE)
		note_hex(w, NOTE_public, out);
	else
		note_secret(w, NOTE_output, out);
}

int gateway_recorder_new(size_t size, struct recorder **out)
{
	struct recorder *r;
	int result;

	if (size < RECORDER_SIZE_MIN)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->ring = malloc(size);
	result = r->ring ? p1_random(r->entry.key, sizeof(r->entry.key)) : -ENOMEM;
	if (result != 0) {
		gateway_recorder_free(r);
		return result;
	}
	r->size = size;
	r->first = r->next = 1;
	r->entry.data = r->room;
	r->profile = (struct profile){.arg = r, .came_out = came_out};
	*out = r;
	return 0;
}

void gateway_recorder_free(struct recorder *r)
{
	if (!r)
		return;
	free(r->ring);
	wipe(r->entry.key, sizeof(r->entry.key));
	free(r);
}

void gateway_recorder_at(struct recorder *r, uint64_t now, uint64_t wall)
{
	if (!r)
		return;
	r->now = now;
	r->wall = wall;
}

/* The ring: each entry is its size and its bytes, and goes on at the beginning behind the end. */

static void ring_read(const struct recorder *r, size_t at, void *out, size_t size)
{
	size_t first = size < r->size - at ? size : r->size - at;

	memcpy(out, r->ring + at, first);
	memcpy((uint8_t *)out + first, r->ring, size - first);
}

static void ring_write(struct recorder *r, size_t at, const void *data, size_t size)
{
	size_t first = size < r->size - at ? size : r->size - at;

	memcpy(r->ring + at, data, first);
	memcpy(r->ring, (const uint8_t *)data + first, size - first);
}

static uint32_t size_at(const struct recorder *r, size_t at)
{
	uint32_t size;

	ring_read(r, at, &size, sizeof(size));
	return size;
}

static void append(struct recorder *r, struct bytes entry)
{
	uint32_t size = (uint32_t)entry.size;
	size_t needed = sizeof(size) + entry.size;
	size_t at;

	while (r->size - r->used < needed) {
		size_t gone = sizeof(size) + size_at(r, r->oldest);

		r->oldest = (r->oldest + gone) % r->size;
		r->used -= gone;
		r->first++;
	}
	at = (r->oldest + r->used) % r->size;
	ring_write(r, at, &size, sizeof(size));
	ring_write(r, (at + sizeof(size)) % r->size, entry.data, entry.size);
	r->used += needed;
	r->next++;
}

bool gateway_recorder_begin(struct recorder *r, enum note_entry kind)
{
	if (!r)
		return false;
	r->entry.size = 0;
	r->entry.overflow = false;
	/* What says that it was cut off has to fit behind it. */
	r->entry.room = sizeof(r->room) - 64;
	note_always(&r->entry, NOTE_entry, kind);
	note_always(&r->entry, NOTE_now, r->now);
	note_always(&r->entry, NOTE_wall, r->wall);
	r->head = r->entry.size;
	return true;
}

void gateway_recorder_end(struct recorder *r)
{
	if (r->entry.overflow) {
		r->entry.overflow = false;
		r->entry.room = sizeof(r->room);
		r->entry.size = r->head;
		note_number(&r->entry, NOTE_cut, 1);
	}
	append(r, bytes_of(r->entry.data, r->entry.size));
}

void gateway_recorder_info(const struct recorder *r, struct recorder_info *out)
{
	*out = (struct recorder_info){.size = r->size,
				      .used = r->used,
				      .first = r->first,
				      .next = r->next,
				      .lost = r->first - 1};
}

void gateway_recorder_each(struct recorder *r, uint64_t first, recorder_each_fn *each, void *arg)
{
	uint8_t *whole = r->room;
	size_t at = r->oldest;

	for (uint64_t number = r->first; number < r->next; number++) {
		uint32_t size = size_at(r, at);

		if (number >= first) {
			ring_read(r, (at + sizeof(size)) % r->size, whole, size);
			if (!each(arg, number, bytes_of(whole, size)))
				return;
		}
		at = (at + sizeof(size) + size) % r->size;
	}
}

/* Pieces of entries. */

void gateway_note_name(struct note_writer *w, enum note_tag tag, const struct name *n)
{
	if (n)
		note_text(w, tag, name_bytes(n));
}

void gateway_note_id(struct note_writer *w, enum note_tag tag, const struct message_id *id)
{
	if (!message_id_is_none(id))
		note_hex(w, tag, bytes_of(id->b, sizeof(id->b)));
}

void gateway_note_error(struct note_writer *w, enum note_tag tag, int error)
{
	note_number(w, tag, error < 0 ? (uint64_t)-error : 0);
}

void gateway_note_verdict(struct note_writer *w, const struct verdict *v)
{
	note_always(w, NOTE_verdict, v->id);
	note_number(w, NOTE_figure, v->figure);
	note_number(w, NOTE_step, v->step);
	gateway_note_name(w, NOTE_user, &v->user);
	gateway_note_name(w, NOTE_entity, &v->entity);
	note_number(w, NOTE_key_index, v->key_index);
	note_string(w, NOTE_detail, v->detail);
}

static void note_receipt(struct note_writer *w, const struct receipt *receipt)
{
	note_hex(w, NOTE_receipt, bytes_of(receipt->id.b, sizeof(receipt->id.b)));
	note_always(w, NOTE_status, receipt->status);
	if (receipt->has_proof)
		note_secret(w, NOTE_proof, bytes_of(receipt->proof, sizeof(receipt->proof)));
}

void gateway_note_actions(struct note_writer *w, const struct actions *a)
{
	for (size_t i = 0; i < a->count; i++) {
		const struct action *x = &a->list[i];

		note_always(w, NOTE_action, x->kind);
		switch (x->kind) {
		case ACTION_POST:
			note_number(w, NOTE_token, x->token);
			note_number(w, NOTE_deadline, x->deadline_ms);
			note_number(w, NOTE_pin, x->pin);
			note_message(w, NOTE_message, bytes_of(x->xml, x->size), NULL);
			break;
		case ACTION_SEND:
			gateway_note_name(w, NOTE_entity, &x->entity);
			note_message(w, NOTE_message, bytes_of(x->xml, x->size), NULL);
			break;
		case ACTION_RECEIPT:
			gateway_note_name(w, NOTE_entity, &x->entity);
			note_receipt(w, &x->receipt);
			break;
		case ACTION_DERIVE:
			note_secret(w, NOTE_salt, bytes_of(x->salt, sizeof(x->salt)));
			note_number(w, NOTE_iterations, x->iterations);
			break;
		case ACTION_STORE:
			note_number(w, NOTE_token, x->token);
			gateway_note_name(w, NOTE_entity, &x->entity);
			break;
		case ACTION_STEP:
			note_number(w, NOTE_figure, x->figure);
			note_always(w, NOTE_step, x->step);
			gateway_note_name(w, NOTE_user, &x->user);
			gateway_note_name(w, NOTE_entity, &x->entity);
			break;
		case ACTION_VERDICT:
			gateway_note_verdict(w, &x->verdict);
			break;
		}
	}
}

/* Procedures. */

/* What w has from begin on is left out where it is what was noted last. */
static void once(struct note_writer *w, size_t begin, uint64_t *last)
{
	struct note_token t;

	if (w->overflow)
		return;
	t = note_token_of(w, bytes_of(w->data + begin, w->size - begin));
	if (t.number == *last)
		w->size = begin;
	else
		*last = t.number;
}

static void note_stored_key(struct note_writer *w, enum note_stored which,
			    const struct stored_key *k)
{
	if (!k || k->index == 0)
		return;
	note_always(w, NOTE_stored_key, which);
	note_number(w, NOTE_key_index, k->index);
	note_secret(w, NOTE_key, secret_bytes(k->key));
	gateway_note_name(w, NOTE_key_user, &k->user);
	if (!k->repeatable)
		return;
	note_number(w, NOTE_key_repeatable, 1);
	gateway_note_id(w, NOTE_key_message, &k->message_id);
	note_secret(w, NOTE_key_rand, bytes_of(k->rand, sizeof(k->rand)));
}

static void note_surroundings(struct note_writer *w, struct procedure *p,
			      const struct surroundings *s)
{
	const struct procedure_limits *l = s->limits;
	size_t begin = w->size;

	note_number(w, NOTE_surroundings, 1);
	note_number(w, NOTE_wan_wait, l->wan_wait_ms);
	note_number(w, NOTE_request_ms, l->request_ms);
	note_number(w, NOTE_pne_ms, l->pne_ms);
	note_number(w, NOTE_floor, l->iterations_floor);
	note_number(w, NOTE_card, l->card);
	note_number(w, NOTE_secure_level, l->secure_level);
	gateway_note_name(w, NOTE_self, s->self);
	gateway_note_name(w, NOTE_server, s->server);
	note_string(w, NOTE_path, s->path);
	note_number(w, NOTE_wan_up, s->wan_up);
	note_number(w, NOTE_wan_mutual, s->wan_mutual);
	note_number(w, NOTE_wan_tls_refused, s->wan_tls_refused);
	note_number(w, NOTE_wan_down, s->wan_down);
	note_string(w, NOTE_wan_why, s->wan_why);
	if (s->exporter)
		note_secret(w, NOTE_exporter, secret_bytes(s->exporter));
	note_number(w, NOTE_generation, s->generation);
	gateway_note_name(w, NOTE_owner, s->owner);
	gateway_note_name(w, NOTE_pne_owner, s->pne_owner);
	note_number(w, NOTE_link_up, s->link_up);
	note_number(w, NOTE_level, s->level);
	if (s->link_secret)
		note_secret(w, NOTE_link_secret, secret_bytes(s->link_secret));
	note_secret(w, NOTE_link_binding, s->link_binding);
	note_stored_key(w, STORED_OWN, s->own_key);
	once(w, begin, &p->noted.surroundings);
}

static void note_pool(struct note_writer *w, struct procedure *p, const struct surroundings *s,
		      const struct pool_limits *limits)
{
	size_t begin = w->size;
	uint32_t index = 0;

	note_number(w, NOTE_pool, 1);
	gateway_note_error(w, NOTE_pool_error, s->pool_error);
	note_number(w, NOTE_pool_floor, s->pool->floor);
	note_number(w, NOTE_pool_floor_unknown, s->pool->floor_unknown);
	note_number(w, NOTE_pool_damaged, s->pool->damaged);
	if (limits && limits->lifetime_s > 0)
		note_number(w, NOTE_lifetime, limits->lifetime_s);
	for (size_t i = 0; i < s->pool->count; i++) {
		const struct pool_key *k = &s->pool->keys[i];

		/* They rise: the difference is short. */
		note_always(w, NOTE_pool_key, k->index - index);
		note_number(w, NOTE_key_state, k->state);
		note_number(w, NOTE_key_since, k->since);
		note_number(w, NOTE_key_repeatable, k->repeatable);
		if (!name_equal(&k->user, &p->user))
			gateway_note_name(w, NOTE_key_user, &k->user);
		index = k->index;
	}
	note_stored_key(w, STORED_NEXT, s->next);
	note_stored_key(w, STORED_REPEAT, s->repeat);
	note_stored_key(w, STORED_NEWEST, s->newest);
	if (s->temporary_key)
		note_secret(w, NOTE_temporary_key, secret_bytes(s->temporary_key));
	if (s->verifier) {
		note_secret(w, NOTE_verifier, bytes_of(s->verifier->mac, sizeof(s->verifier->mac)));
		note_secret(w, NOTE_salt, bytes_of(s->verifier->salt, sizeof(s->verifier->salt)));
		note_number(w, NOTE_iterations, s->verifier->iterations);
	}
	once(w, begin, &p->noted.pool);
}

static void note_begun(struct note_writer *w, struct procedure *p)
{
	if (p->noted.begun)
		return;
	p->noted.begun = true;
	note_string(w, NOTE_type, p->type->name);
	gateway_note_name(w, NOTE_user, &p->user);
	gateway_note_name(w, NOTE_entity, &p->entity);
	note_number(w, NOTE_run, p->run);
	note_number(w, NOTE_set_kind, p->set_kind);
	note_number(w, NOTE_set_count, p->set_count);
	note_number(w, NOTE_part, p->part);
	note_number(w, NOTE_resumed, p->resumed);
	note_number(w, NOTE_background, p->background);
	note_number(w, NOTE_silent, p->silent);
	note_number(w, NOTE_password, p->password != NULL);
}

static void note_subscription(struct note_writer *w, const struct procedure *leader)
{
	note_number(w, NOTE_subscription, leader->id);
	if (leader->ph)
		note_secret(w, NOTE_hash, secret_bytes(leader->ph));
	note_secret(w, NOTE_salt, bytes_of(leader->salt, sizeof(leader->salt)));
	note_number(w, NOTE_iterations, leader->iterations);
}

void gateway_recorder_event(struct recorder *r, struct procedure *p, const struct event *e,
			    const struct pool_limits *pool)
{
	struct note_writer *w;

	if (!gateway_recorder_begin(r, ENTRY_PROCEDURE))
		return;
	w = &r->entry;
	note_always(w, NOTE_procedure, p->id);
	r->head = w->size;
	note_begun(w, p);
	note_number(w, NOTE_service, e->s->service);
	note_surroundings(w, p, e->s);
	note_pool(w, p, e->s, pool);
	note_always(w, NOTE_event, e->kind);
	if (e->message)
		note_message(w, NOTE_message, e->xml, e->message);
	if (e->receipt)
		note_receipt(w, e->receipt);
	if (e->kind == EVENT_WAN_FAILED)
		note_always(w, NOTE_failure, e->failure);
	note_number(w, NOTE_told, e->failed);
	if (e->why)
		note_hex(w, NOTE_why, bytes_text(e->why));
	if (e->ph)
		note_secret(w, NOTE_hash, secret_bytes(e->ph));
	gateway_note_error(w, NOTE_error, e->result);
	if (e->verdict)
		gateway_note_verdict(w, e->verdict);
	if (e->subscription)
		note_subscription(w, e->subscription);
	gateway_note_id(w, NOTE_in_response_to, &e->in_response_to);
	note_number(w, NOTE_queue_full, e->queue_full);
	note_number(w, NOTE_revoked, e->revoked);
	p->profile = &r->profile;
}

void gateway_recorder_handled(struct recorder *r, struct procedure *p, const struct actions *a)
{
	if (!r)
		return;
	p->profile = NULL;
	gateway_note_actions(&r->entry, a);
	note_always(&r->entry, NOTE_state, p->state);
	note_number(&r->entry, NOTE_due, p->due);
	gateway_recorder_end(r);
}
