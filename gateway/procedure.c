#include "gateway/procedure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void gateway_actions_begin(struct actions *a)
{
	a->count = 0;
}

void gateway_actions_end(struct actions *a)
{
	for (size_t i = 0; i < a->count; i++) {
		free(a->list[i].xml);
		secret_unref(a->list[i].password);
		vault_batch_free(a->list[i].batch);
	}
	a->count = 0;
}

/* No event leads to more than ACTIONS_MAX actions; the last one is reused rather than overrun. */
struct action *gateway_actions_add(struct actions *a, enum action_kind kind)
{
	struct action *added;

	if (a->count == ACTIONS_MAX) {
		a->count--;
		free(a->list[a->count].xml);
		secret_unref(a->list[a->count].password);
		vault_batch_free(a->list[a->count].batch);
	}
	added = &a->list[a->count++];
	memset(added, 0, sizeof(*added));
	added->kind = kind;
	return added;
}

struct procedure *gateway_procedure_new(const struct procedure_type *type, const struct name *user,
					const struct name *entity)
{
	struct procedure *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->type = type;
	p->user = *user;
	p->entity = *entity;
	return p;
}

void gateway_procedure_free(struct procedure *p)
{
	if (!p)
		return;
	secret_unref(p->password);
	secret_unref(p->ph);
	secret_unref(p->gateway_secret);
	secret_unref(p->temporary_key);
	secret_unref(p->key);
	free(p);
}

void gateway_procedure_handle(struct procedure *p, const struct event *e, struct actions *out)
{
	if (p->state >= p->type->states)
		return;
	if (e->kind == EVENT_TIMEOUT)
		p->due = 0;
	p->type->table[p->state][e->kind](p, e, out);
}

void gateway_to(struct procedure *p, unsigned state)
{
	p->state = state;
	p->due = 0;
}

void gateway_timer(struct procedure *p, const struct event *e, unsigned ms)
{
	p->due = e->s->now + ms;
	if (p->due == 0)
		p->due = 1;
}

void gateway_step(struct procedure *p, struct actions *out, unsigned step)
{
	struct action *a = gateway_actions_add(out, ACTION_STEP);

	p->step = step;
	a->figure = p->type->figure;
	a->step = step;
	a->user = p->user;
	a->entity = p->entity;
}

static void end(struct procedure *p, struct actions *out, enum verdict_id id, const char *detail)
{
	struct action *a;

	if (p->state == STATE_ENDED)
		return;
	gateway_to(p, STATE_ENDED);
	a = gateway_actions_add(out, ACTION_VERDICT);
	a->verdict.id = id;
	a->verdict.figure = p->type->figure;
	a->verdict.step = p->step;
	a->verdict.entity = p->entity;
	a->verdict.user = p->user;
	a->verdict.key_index = id == VERDICT_DONE ? p->key_index : 0;
	(void)snprintf(a->verdict.detail, sizeof(a->verdict.detail), "%s", detail ? detail : "");
}

void gateway_done(struct procedure *p, struct actions *out, const char *detail)
{
	end(p, out, VERDICT_DONE, detail);
}

void gateway_fail(struct procedure *p, struct actions *out, enum verdict_id id, const char *detail)
{
	end(p, out, id, detail);
}

enum verdict_id gateway_storage_verdict(int error)
{
	switch (error) {
	case -ENOMEM:
		return VERDICT_GATEWAY_MEMORY;
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
		return VERDICT_GATEWAY_DISK_FULL;
	case -EROFS:
		return VERDICT_GATEWAY_READ_ONLY;
	case -EIO:
		return VERDICT_GATEWAY_DISK_ERROR;
	case -EBADMSG:
		return VERDICT_GATEWAY_VAULT_DAMAGED;
	}
	return VERDICT_GATEWAY_STORAGE;
}

enum verdict_id gateway_wan_verdict(const struct wan_end *end)
{
	if (end->verdict != VERDICT_DONE)
		return end->verdict;
	switch (end->failure) {
	case WAN_FAILURE_DOWN:
		return VERDICT_WAN_DOWN;
	case WAN_FAILURE_LOST:
		return VERDICT_WAN_LOST;
	case WAN_FAILURE_SILENT:
		return VERDICT_WAN_SILENT;
	case WAN_FAILURE_ANSWER:
		return VERDICT_SERVER_MALFORMED;
	}
	return VERDICT_WAN_DOWN;
}

enum verdict_id gateway_http_verdict(int status)
{
	switch (status) {
	case 0:
		return VERDICT_WAN_BROKEN_OFF;
	case 401:
	case 403:
	case 407:
		return VERDICT_WAN_HTTP_DENIED;
	case 404:
	case 405:
	case 410:
		return VERDICT_WAN_HTTP_NOT_FOUND;
	case 413:
		return VERDICT_WAN_HTTP_TOO_LARGE;
	case 429:
	case 503:
		return VERDICT_SERVER_BUSY;
	case 502:
	case 504:
		return VERDICT_WAN_PROXY_DOWN;
	}
	if (status >= 300 && status < 400)
		return VERDICT_WAN_HTTP_REDIRECT;
	if (status >= 400 && status < 500)
		return VERDICT_WAN_HTTP_REFUSED;
	if (status >= 500 && status < 600)
		return VERDICT_WAN_HTTP_FAILED;
	return VERDICT_WAN_NOT_CPNS;
}

void gateway_error(struct procedure *p, struct actions *out, int error)
{
	switch (error) {
	case -EMSGSIZE:
	case -EINVAL:
	case -ENOBUFS:
		gateway_fail(p, out, VERDICT_REQUEST_MALFORMED, strerror(-error));
		return;
	}
	gateway_fail(p, out, gateway_storage_verdict(error),
		     error == -ENOMEM ? NULL : strerror(-error));
}

bool gateway_post(struct procedure *p, const struct event *e, struct actions *out,
		  const struct message *m)
{
	struct action *a;
	char *xml;
	size_t size;
	int r = message_encode(m, &xml, &size);

	if (r != 0) {
		gateway_error(p, out, r);
		return false;
	}
	a = gateway_actions_add(out, ACTION_POST);
	a->xml = xml;
	a->size = size;
	a->pin = p->pin;
	a->deadline_ms = e->s->limits->request_ms;
	return true;
}

bool gateway_send(struct procedure *p, const struct event *e, struct actions *out,
		  const struct message *m)
{
	struct action *a;
	char *xml;
	size_t size;
	int r = message_encode(m, &xml, &size);

	if (r != 0) {
		gateway_error(p, out, r);
		return false;
	}
	a = gateway_actions_add(out, ACTION_SEND);
	a->xml = xml;
	a->size = size;
	a->entity = p->entity;
	gateway_timer(p, e, e->s->limits->pne_ms);
	return true;
}

bool gateway_store(struct procedure *p, struct actions *out, struct vault_batch *b)
{
	struct action *a;

	if (!b) {
		gateway_fail(p, out, VERDICT_GATEWAY_MEMORY, NULL);
		return false;
	}
	a = gateway_actions_add(out, ACTION_STORE);
	a->batch = b;
	a->entity = p->entity;
	return true;
}

bool gateway_derive(struct procedure *p, struct actions *out)
{
	struct action *a = gateway_actions_add(out, ACTION_DERIVE);

	a->password = secret_ref(p->password);
	memcpy(a->salt, p->salt, SALT_SIZE);
	a->iterations = p->iterations;
	return true;
}

bool gateway_new_id(struct procedure *p, struct actions *out)
{
	int r = profile_message_id(p->profile, &p->awaited);

	if (r != 0)
		gateway_error(p, out, r);
	return r == 0;
}

bool gateway_shared_key(struct procedure *p, const struct event *e, struct actions *out)
{
	const struct surroundings *s = e->s;

	secret_clear(&p->gateway_secret);
	if (s->own_key->index != 0) {
		p->gateway_secret = secret_ref(s->own_key->key);
		p->gateway_kind = GATEWAY_KEY_EUKEY;
		p->gateway_index = s->own_key->index;
		p->pin = 0;
		return true;
	}
	if (s->wan_mutual && s->exporter) {
		p->gateway_secret = secret_ref(s->exporter);
		p->gateway_kind = GATEWAY_KEY_EXPORTER;
		p->gateway_index = 0;
		p->pin = s->generation;
		return true;
	}
	gateway_fail(p, out, VERDICT_GATEWAY_KEY_MISSING, NULL);
	return false;
}

bool gateway_seal_password(struct procedure *p, struct actions *out, const struct secret *secret,
			   struct bytes binding, const struct secret *password,
			   struct sealed_password *buffer, struct m_encrypted_password *field)
{
	const struct bytes rand = bytes_of(buffer->rand, sizeof(buffer->rand));
	int result = profile_rand(p->profile, buffer->rand, sizeof(buffer->rand));

	if (result == 0)
		result = profile_seal_password(p->profile, secret, rand, name_bytes(&p->user),
					       binding, password, buffer->sealed);
	if (result != 0) {
		gateway_error(p, out, result);
		return false;
	}
	field->rand = rand;
	field->sealed = bytes_of(buffer->sealed, sizeof(buffer->sealed));
	return true;
}

bool gateway_receipt_is_for(const struct procedure *p, const struct receipt *r)
{
	return message_id_equal(&r->id, &p->awaited) ||
	       (r->status == STATUS_MALFORMED && message_id_is_none(&r->id));
}

bool gateway_answers(const struct procedure *p, const struct event *e, enum message_kind kind)
{
	const struct message *m = e->message;
	struct message_id answered = message_in_response_to(m);

	return m->kind == kind && message_id_equal(&answered, &p->awaited) &&
	       bytes_equal(m->envelope.source, name_bytes(e->s->server)) &&
	       bytes_equal(m->envelope.target, name_bytes(e->s->self));
}

bool gateway_parameters(struct procedure *p, const struct event *e, struct actions *out,
			const struct m_password_parameters *parameters)
{
	char detail[96];

	if (parameters->iterations < e->s->limits->iterations_floor) {
		(void)snprintf(detail, sizeof(detail), "%lu iterations, the floor is %lu",
			       (unsigned long)parameters->iterations,
			       (unsigned long)e->s->limits->iterations_floor);
		gateway_fail(p, out, VERDICT_WEAK_PARAMETERS, detail);
		return false;
	}
	if (p->ph && (p->iterations != parameters->iterations ||
		      !bytes_equal(bytes_of(p->salt, SALT_SIZE), parameters->salt)))
		secret_clear(&p->ph);
	memcpy(p->salt, parameters->salt.data, SALT_SIZE);
	p->iterations = parameters->iterations;
	return true;
}

void cell_begin_with_wan(struct procedure *p, const struct event *e, struct actions *out)
{
	if (e->s->wan_up) {
		p->type->begin(p, e, out);
		return;
	}
	gateway_to(p, STATE_WAN);
	gateway_timer(p, e, e->s->limits->wan_wait_ms);
}

void cell_begin(struct procedure *p, const struct event *e, struct actions *out)
{
	p->type->begin(p, e, out);
}

void cell_wan_absent(struct procedure *p, const struct event *e, struct actions *out)
{
	enum verdict_id id = e->s->wan_down;

	if (id == VERDICT_DONE)
		id = e->s->wan_tls_refused ? VERDICT_WAN_TLS_REFUSED : VERDICT_WAN_DOWN;
	gateway_fail(p, out, id, e->s->wan_why);
}

void cell_wan_failed(struct procedure *p, const struct event *e, struct actions *out)
{
	switch (e->failure) {
	case WAN_FAILURE_DOWN:
	case WAN_FAILURE_LOST:
		if (p->pin != 0 && !p->made_anew) {
			p->made_anew = true;
			cell_begin_with_wan(p, e, out);
			return;
		}
		if (e->failed != VERDICT_DONE)
			gateway_fail(p, out, e->failed, e->why);
		else if (e->failure == WAN_FAILURE_LOST)
			gateway_fail(p, out, VERDICT_WAN_LOST, e->s->wan_why);
		else
			cell_wan_absent(p, e, out);
		return;
	case WAN_FAILURE_SILENT:
		gateway_fail(p, out, VERDICT_WAN_SILENT, NULL);
		return;
	case WAN_FAILURE_ANSWER:
		gateway_fail(p, out,
			     e->failed != VERDICT_DONE ? e->failed : VERDICT_SERVER_MALFORMED,
			     e->why ? e->why : "the answer is not a message");
		return;
	}
}

void cell_pan_lost(struct procedure *p, const struct event *e, struct actions *out)
{
	gateway_fail(p, out, e->queue_full ? VERDICT_PAN_QUEUE_FULL : VERDICT_PAN_LOST, NULL);
}

void cell_pne_silent(struct procedure *p, const struct event *e, struct actions *out)
{
	(void)e;
	gateway_fail(p, out, VERDICT_PNE_SILENT, NULL);
}

void cell_pne_malformed(struct procedure *p, const struct event *e, struct actions *out)
{
	gateway_fail(p, out, e->failed != VERDICT_DONE ? e->failed : VERDICT_PNE_MALFORMED, e->why);
}

void cell_cancelled(struct procedure *p, const struct event *e, struct actions *out)
{
	gateway_fail(p, out, e->revoked ? VERDICT_REVOKED : VERDICT_CANCELLED, NULL);
}

#define IGNORE(name)                                                               \
	void name(struct procedure *p, const struct event *e, struct actions *out) \
	{                                                                          \
		(void)p;                                                           \
		(void)e;                                                           \
		(void)out;                                                         \
	}

IGNORE(ignore_started)
IGNORE(ignore_wan)
IGNORE(ignore_no_request)
IGNORE(ignore_no_hash)
IGNORE(ignore_no_batch)
IGNORE(ignore_no_leader)
IGNORE(ignore_unasked)
IGNORE(ignore_relay)
IGNORE(ignore_link)
IGNORE(ignore_timer)
