/* Surroundings, messages and secrets as a replay makes them from notes. */

#include "gateway/replay-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct secret *gateway_replay_secret(struct note_token t)
{
	struct secret *s = t.number != 0 && t.size > 0 ? secret_new(t.size) : NULL;

	if (s)
		note_fill(t, secret_buffer(s));
	return s;
}

bool gateway_replay_verdict(struct note_reader *n, struct verdict *out)
{
	struct note_field f;

	if (!note_take(n, NOTE_verdict, &f))
		return false;
	*out = (struct verdict){.id = (enum verdict_id)f.number};
	out->figure = (enum figure)note_take_number(n, NOTE_figure);
	out->step = (unsigned)note_take_number(n, NOTE_step);
	(void)note_take_name(n, NOTE_user, &out->user);
	(void)note_take_name(n, NOTE_entity, &out->entity);
	out->key_index = (uint32_t)note_take_number(n, NOTE_key_index);
	note_take_text(n, NOTE_detail, out->detail, sizeof(out->detail));
	return true;
}

void gateway_replay_id(struct note_reader *n, enum note_tag tag, struct message_id *out)
{
	struct note_field f;

	*out = (struct message_id){{0}};
	if (note_take(n, tag, &f) && f.bytes.size == MESSAGE_ID_SIZE)
		memcpy(out->b, f.bytes.data, MESSAGE_ID_SIZE);
}

bool gateway_replay_receipt(struct note_reader *n, struct receipt *out)
{
	struct note_token proof;
	struct note_field f;

	if (!note_take(n, NOTE_receipt, &f))
		return false;
	*out = (struct receipt){.status = STATUS_OK};
	if (f.bytes.size == MESSAGE_ID_SIZE)
		memcpy(out->id.b, f.bytes.data, MESSAGE_ID_SIZE);
	out->status = (enum status)note_take_number(n, NOTE_status);
	proof = note_take_token(n, NOTE_proof);
	out->has_proof = proof.size == sizeof(out->proof);
	if (out->has_proof)
		note_fill(proof, out->proof);
	return true;
}

int gateway_replay_message(struct note_reader *n, struct message **m, char **xml, size_t *size)
{
	struct malformation why;
	struct note_field f;
	int r;

	*m = NULL;
	*xml = NULL;
	*size = 0;
	if (!note_take(n, NOTE_message, &f))
		return 0;
	r = note_xml_message(f.bytes, xml, size);
	if (r == 0)
		r = message_decode(bytes_of(*xml, *size), m, &why);
	return r == MESSAGE_MALFORMED ? -EBADMSG : r;
}

const char *gateway_replay_why(struct note_reader *n, char *out, size_t out_size)
{
	struct note_field f;
	size_t size;

	if (!note_take(n, NOTE_why, &f))
		return NULL;
	size = f.bytes.size < out_size ? f.bytes.size : out_size - 1;
	memcpy(out, f.bytes.data, size);
	out[size] = '\0';
	return out;
}

int gateway_replay_error(struct note_reader *n, enum note_tag tag)
{
	uint64_t number = note_take_number(n, tag);

	return number < 4096 ? -(int)number : -EIO;
}

static void clear_key(struct stored_key *k)
{
	secret_unref(k->key);
	*k = (struct stored_key){.index = 0};
}

static void clear_pool(struct stage *s)
{
	pool_clear(&s->pool);
	clear_key(&s->next);
	clear_key(&s->repeat);
	clear_key(&s->newest);
	secret_clear(&s->s.temporary_key);
	s->s.verifier = NULL;
}

static void clear_surroundings(struct stage *s)
{
	secret_clear(&s->s.exporter);
	secret_clear(&s->s.link_secret);
	clear_key(&s->own);
}

void gateway_stage_clear(struct stage *s)
{
	clear_surroundings(s);
	clear_pool(s);
}

static int set_stored_key(struct stage *s, struct note_reader *n, enum note_stored which)
{
	struct stored_key *const keys[] = {[STORED_OWN] = &s->own,
					   [STORED_NEXT] = &s->next,
					   [STORED_REPEAT] = &s->repeat,
					   [STORED_NEWEST] = &s->newest};
	struct stored_key k = {.index = 0};
	struct note_token rand;

	k.index = (uint32_t)note_take_number(n, NOTE_key_index);
	k.key = gateway_replay_secret(note_take_token(n, NOTE_key));
	(void)note_take_name(n, NOTE_key_user, &k.user);
	k.repeatable = note_take_number(n, NOTE_key_repeatable) != 0;
	gateway_replay_id(n, NOTE_key_message, &k.message_id);
	rand = note_take_token(n, NOTE_key_rand);
	if (rand.size == sizeof(k.rand))
		note_fill(rand, k.rand);
	if ((unsigned)which > STORED_NEWEST || keys[which]->index != 0 || !k.key || k.index == 0) {
		secret_unref(k.key);
		return k.key ? 0 : -ENOMEM;
	}
	*keys[which] = k;
	return 0;
}

static void set_limits(struct procedure_limits *l, struct note_reader *n)
{
	l->wan_wait_ms = (unsigned)note_take_number(n, NOTE_wan_wait);
	l->request_ms = (unsigned)note_take_number(n, NOTE_request_ms);
	l->pne_ms = (unsigned)note_take_number(n, NOTE_pne_ms);
	l->iterations_floor = (uint32_t)note_take_number(n, NOTE_floor);
	l->card = note_take_number(n, NOTE_card) != 0;
	l->secure_level = (enum pan_security)note_take_number(n, NOTE_secure_level);
}

static int set_surroundings(struct stage *s, struct note_reader *n)
{
	struct note_token binding;
	struct note_field f;

	clear_surroundings(s);
	set_limits(&s->limits, n);
	(void)note_take_name(n, NOTE_self, &s->self);
	(void)note_take_name(n, NOTE_server, &s->server);
	note_take_text(n, NOTE_path, s->path, sizeof(s->path));
	s->s.wan_up = note_take_number(n, NOTE_wan_up) != 0;
	s->s.wan_mutual = note_take_number(n, NOTE_wan_mutual) != 0;
	s->s.wan_tls_refused = note_take_number(n, NOTE_wan_tls_refused) != 0;
	s->s.wan_down = (enum verdict_id)note_take_number(n, NOTE_wan_down);
	note_take_text(n, NOTE_wan_why, s->wan_why, sizeof(s->wan_why));
	s->s.exporter = gateway_replay_secret(note_take_token(n, NOTE_exporter));
	s->s.generation = note_take_number(n, NOTE_generation);
	(void)note_take_name(n, NOTE_owner, &s->owner);
	(void)note_take_name(n, NOTE_pne_owner, &s->pne_owner);
	s->s.link_up = note_take_number(n, NOTE_link_up) != 0;
	s->s.level = (enum pan_security)note_take_number(n, NOTE_level);
	s->s.link_secret = gateway_replay_secret(note_take_token(n, NOTE_link_secret));
	binding = note_take_token(n, NOTE_link_binding);
	s->s.link_binding = BYTES_NONE;
	if (binding.size > 0 && binding.size <= sizeof(s->binding)) {
		note_fill(binding, s->binding);
		s->s.link_binding = bytes_of(s->binding, binding.size);
	}
	return note_take(n, NOTE_stored_key, &f) ? set_stored_key(s, n, STORED_OWN) : 0;
}

static int set_pool_keys(struct stage *s, struct note_reader *n, const struct name *user)
{
	struct note_field f;
	uint32_t index = 0;
	int r = 0;

	while (r == 0 && note_take(n, NOTE_pool_key, &f)) {
		struct pool_key k = {.index = index + (uint32_t)f.number};

		k.state = (enum key_state)note_take_number(n, NOTE_key_state);
		k.since = note_take_number(n, NOTE_key_since);
		k.repeatable = note_take_number(n, NOTE_key_repeatable) != 0;
		if (!note_take_name(n, NOTE_key_user, &k.user))
			k.user = *user;
		r = pool_add(&s->pool, &k);
		if (r == -EEXIST)
			r = 0;
		index = k.index;
	}
	return r;
}

static int set_pool(struct stage *s, struct note_reader *n, const struct name *user)
{
	struct note_token mac, salt;
	struct note_field f;
	int r;

	clear_pool(s);
	s->s.pool_error = gateway_replay_error(n, NOTE_pool_error);
	s->pool.floor = (uint32_t)note_take_number(n, NOTE_pool_floor);
	s->pool.floor_unknown = note_take_number(n, NOTE_pool_floor_unknown) != 0;
	s->pool.damaged = (size_t)note_take_number(n, NOTE_pool_damaged);
	(void)note_take_number(n, NOTE_lifetime);
	r = set_pool_keys(s, n, user);
	while (r == 0 && note_take(n, NOTE_stored_key, &f))
		r = set_stored_key(s, n, (enum note_stored)f.number);
	s->s.temporary_key = gateway_replay_secret(note_take_token(n, NOTE_temporary_key));
	mac = note_take_token(n, NOTE_verifier);
	salt = note_take_token(n, NOTE_salt);
	if (mac.size == sizeof(s->verifier.mac) && salt.size == sizeof(s->verifier.salt)) {
		note_fill(mac, s->verifier.mac);
		note_fill(salt, s->verifier.salt);
		s->verifier.iterations = (uint32_t)note_take_number(n, NOTE_iterations);
		s->s.verifier = &s->verifier;
	}
	return r;
}

int gateway_stage_set(struct stage *s, struct note_reader *n, const struct name *user)
{
	struct note_field f;
	int r = 0;

	s->s.service = note_take_number(n, NOTE_service);
	if (note_take(n, NOTE_surroundings, &f))
		r = set_surroundings(s, n);
	if (r == 0 && note_take(n, NOTE_pool, &f))
		r = set_pool(s, n, user);
	s->s.limits = &s->limits;
	s->s.self = &s->self;
	s->s.server = &s->server;
	s->s.path = s->path;
	s->s.wan_why = s->wan_why;
	s->s.own_key = &s->own;
	s->s.owner = &s->owner;
	s->s.pne_owner = &s->pne_owner;
	s->s.pool = &s->pool;
	s->s.next = &s->next;
	s->s.repeat = &s->repeat;
	s->s.newest = &s->newest;
	return r;
}
