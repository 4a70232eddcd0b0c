#include "pne/procedure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void pne_actions_clear(struct pne_actions *a)
{
	for (size_t i = 0; i < a->count; i++) {
		free(a->at[i].xml);
		secret_unref(a->at[i].password);
	}
	a->count = 0;
}

static struct pne_action *action_new(struct pne_actions *out, enum pne_action_kind kind)
{
	struct pne_action *a;

	if (out->count == PNE_ACTIONS_MAX)
		return NULL;
	a = &out->at[out->count++];
	memset(a, 0, sizeof(*a));
	a->kind = kind;
	return a;
}

int pne_do_send(struct pne_actions *out, const char *xml, size_t size)
{
	char *copy = malloc(size);
	struct pne_action *a;

	if (!copy)
		return -ENOMEM;
	a = action_new(out, PNE_DO_SEND);
	if (!a) {
		free(copy);
		return -ENOMEM;
	}
	memcpy(copy, xml, size);
	a->xml = copy;
	a->size = size;
	return 0;
}

static int do_receipt(struct pne_actions *out, const struct receipt *r)
{
	struct pne_action *a = action_new(out, PNE_DO_RECEIPT);

	if (!a)
		return -ENOMEM;
	a->receipt = *r;
	return 0;
}

int pne_do_receipt(struct pne_actions *out, const struct message_id *id, enum status status)
{
	struct receipt r = {.id = *id, .status = status};

	return do_receipt(out, &r);
}

int pne_do_refuse(struct pne_actions *out, const struct pne_event *e, enum status status)
{
	struct pne_action *a = action_new(out, PNE_DO_REFUSE);

	if (!a)
		return -ENOMEM;
	a->receipt.id = message_id_of(e->message);
	a->receipt.status = status;
	memcpy(a->digest, e->digest, sizeof(a->digest));
	return 0;
}

int pne_do_derive(struct pne_procedures *p, struct pne_actions *out, enum figure figure,
		  struct secret *password, const uint8_t salt[SALT_SIZE], uint32_t iterations)
{
	struct pne_action *a = action_new(out, PNE_DO_DERIVE);

	if (!a)
		return -ENOMEM;
	a->figure = figure;
	a->password = secret_ref(password);
	memcpy(a->salt, salt, SALT_SIZE);
	a->iterations = iterations;
	p->busy = figure;
	return 0;
}

int pne_do_store(struct pne_procedures *p, struct pne_actions *out, enum figure figure)
{
	struct pne_action *a = action_new(out, PNE_DO_STORE);

	if (!a)
		return -ENOMEM;
	a->figure = figure;
	p->busy = figure;
	return 0;
}

int pne_do_forget(struct pne_actions *out)
{
	return action_new(out, PNE_DO_FORGET) ? 0 : -ENOMEM;
}

int pne_do_timer(struct pne_actions *out, enum figure figure, uint64_t ms)
{
	struct pne_action *a = action_new(out, PNE_DO_TIMER);

	if (!a)
		return -ENOMEM;
	a->figure = figure;
	a->ms = ms;
	return 0;
}

int pne_do_step(struct pne_actions *out, enum figure figure, unsigned step, const struct name *user)
{
	struct pne_action *a = action_new(out, PNE_DO_STEP);

	if (!a)
		return -ENOMEM;
	a->figure = figure;
	a->step = step;
	a->user = *user;
	return 0;
}

int pne_do_verdict(const struct pne_procedures *p, struct pne_actions *out, enum verdict_id id,
		   enum figure figure, unsigned step, const struct name *user, uint32_t key_index,
		   const char *detail)
{
	struct pne_action *a = action_new(out, PNE_DO_VERDICT);

	if (!a)
		return -ENOMEM;
	a->figure = figure;
	a->verdict.id = id;
	a->verdict.figure = figure;
	a->verdict.step = step;
	a->verdict.entity = p->entity;
	a->verdict.user = *user;
	a->verdict.key_index = key_index;
	(void)snprintf(a->verdict.detail, sizeof(a->verdict.detail), "%s", detail ? detail : "");
	return 0;
}

int pne_do_info(struct pne_actions *out, const char *text)
{
	struct pne_action *a = action_new(out, PNE_DO_INFO);

	if (!a)
		return -ENOMEM;
	a->text = text;
	return 0;
}

void pne_user_clear(struct pne_user *u)
{
	secret_clear(&u->ph);
	memset(u, 0, sizeof(*u));
}

static void key_clear(struct pne_key *k)
{
	secret_clear(&k->key);
	memset(k, 0, sizeof(*k));
}

void pne_effect_clear(struct pne_effect *e)
{
	pne_user_clear(&e->user);
	key_clear(&e->key);
	free(e->answer.xml);
	memset(e, 0, sizeof(*e));
}

void pne_procedures_clear(struct pne_procedures *p)
{
	pne_figure5_end(p);
	pne_figure6_end(p);
	pne_figure7_end(p);
	pne_reset_end(p);
	pne_effect_clear(&p->effect);
	pne_user_clear(&p->user);
	key_clear(&p->key);
	secret_clear(&p->temporary_key);
	secret_clear(&p->link_secret);
}

void pne_exchange_clear(struct pne_exchange *x)
{
	free(x->xml);
	memset(x, 0, sizeof(*x));
}

int pne_exchange_begin(const struct pne_procedures *p, struct pne_exchange *x, enum figure figure,
		       uint64_t now_ms, struct pne_actions *out)
{
	int r;

	x->deadline_ms = now_ms + p->deadline_ms;
	x->last = STATUS_OK;
	r = pne_do_send(out, x->xml, x->size);
	return r < 0 ? r : pne_do_timer(out, figure, p->deadline_ms);
}

int pne_exchange_again(const struct pne_exchange *x, struct pne_actions *out)
{
	return pne_do_send(out, x->xml, x->size);
}

/* What a receipt of the PN GW, which could not relay, means to the user. */
static enum verdict_id verdict_of_receipt(enum status s)
{
	switch (s) {
	case STATUS_UNAVAILABLE:
		return VERDICT_WAN_DOWN;
	case STATUS_TIMED_OUT:
		return VERDICT_WAN_SILENT;
	case STATUS_BUSY:
		return VERDICT_GATEWAY_BUSY;
	case STATUS_STORAGE_FAILED:
		return VERDICT_GATEWAY_STORAGE;
	case STATUS_INSECURE_PAN:
		return VERDICT_PAN_INSECURE;
	case STATUS_MALFORMED:
	case STATUS_UNSUPPORTED:
		return VERDICT_REQUEST_MALFORMED;
	case STATUS_OK:
	case STATUS_UNAUTHORIZED:
	case STATUS_NOT_OWNER:
	case STATUS_NOT_MUTUAL:
	case STATUS_NO_TEMPORARY_KEY:
	case STATUS_TRIGGER_REJECTED:
	case STATUS_DOES_NOT_UNWRAP:
	case STATUS_STALE_INDEX:
	case STATUS_ID_REUSED:
	case STATUS_WEAK_PASSWORD_PARAMETERS:
	case STATUS_ALREADY_INSTALLED:
	case STATUS_WRONG_TARGET:
	case STATUS_NOT_EXPECTED:
	case STATUS_TOO_MANY_KEYS:
	case STATUS_FAILED:
	case STATUS_HANDED_OVER:
		return VERDICT_GATEWAY_NOT_RELAYED;
	}
	return VERDICT_GATEWAY_NOT_RELAYED;
}

bool pne_exchange_receipt(struct pne_exchange *x, enum figure figure, const struct pne_event *e,
			  struct pne_actions *out, enum verdict_id *verdict, int *error)
{
	enum status s = e->receipt->status;
	uint64_t left;

	*error = 0;
	if (s == STATUS_OK)
		return true;
	if (status_retry(s) && e->now_ms < x->deadline_ms) {
		x->last = s;
		left = x->deadline_ms - e->now_ms;
		*error = pne_do_timer(out, figure, left < PNE_RETRY_MS ? left : PNE_RETRY_MS);
		return true;
	}
	*verdict = verdict_of_receipt(s);
	return false;
}

bool pne_exchange_timer(const struct pne_procedures *p, struct pne_exchange *x, enum figure figure,
			const struct pne_event *e, struct pne_actions *out,
			enum verdict_id *verdict, int *error)
{
	*error = 0;
	if (e->now_ms >= x->deadline_ms) {
		if (!p->link_up)
			*verdict = VERDICT_PAN_LOST;
		else if (x->last != STATUS_OK)
			*verdict = verdict_of_receipt(x->last);
		else
			*verdict = VERDICT_GATEWAY_SILENT;
		return false;
	}
	*error = pne_exchange_again(x, out);
	if (*error == 0)
		*error = pne_do_timer(out, figure, x->deadline_ms - e->now_ms);
	return true;
}

enum status pne_take_key(struct pne_procedures *p, const struct pne_event *e,
			 const struct name *user, uint32_t index, struct secret *key, int *error)
{
	struct pne_effect *f = &p->effect;

	*error = 0;
	if (index < p->key.index || (index == p->key.index && !secret_equal(key, p->key.key)))
		return STATUS_STALE_INDEX;
	pne_effect_clear(f);
	f->answer.to = message_id_of(e->message);
	memcpy(f->answer.digest, e->digest, sizeof(f->answer.digest));
	f->answer.receipt.id = f->answer.to;
	f->answer.receipt.status = STATUS_OK;
	f->answer.receipt.has_proof = true;
	*error = p1_held_proof(key, name_bytes(user), name_bytes(&p->entity), index, &f->answer.to,
			       f->answer.receipt.proof);
	if (*error < 0)
		return STATUS_FAILED;
	f->put_answer = true;
	f->put_key = true;
	f->key.user = *user;
	f->key.index = index;
	f->key.key = secret_ref(key);
	return STATUS_OK;
}

int pne_held_key(const struct pne_procedures *p, const struct name *user,
		 const struct message_id *id, uint8_t proof[P1_MAC_SIZE],
		 struct m_eukey_assignment_request *request)
{
	int r;

	if (!p->key.key || !name_equal(&p->key.user, user))
		return 0;
	r = p1_held_proof(p->key.key, name_bytes(user), name_bytes(&p->entity), p->key.index, id,
			  proof);
	if (r < 0)
		return r;
	request->has_held_key = true;
	request->held_key.key_index = p->key.index;
	request->held_key.proof = bytes_of(proof, P1_MAC_SIZE);
	return 0;
}

/* The effect is durable: from here on it is what the PNE knows. */
static void effect_apply(struct pne_procedures *p)
{
	struct pne_effect *f = &p->effect;

	if (f->put_user || f->erase_user)
		pne_user_clear(&p->user);
	if (f->put_user) {
		p->user = f->user;
		p->user.ph = secret_ref(f->user.ph);
	}
	if (f->put_key) {
		key_clear(&p->key);
		p->key = f->key;
		p->key.key = secret_ref(f->key.key);
	}
}

static enum verdict_id verdict_of_errno(int error)
{
	switch (error) {
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
	case -EROFS:
	case -EIO:
	case -EBADMSG:
		return VERDICT_PNE_STORAGE;
	}
	return VERDICT_PNE_FAILED;
}

/* figure: FIGURE_NONE for the reset. */
static void run_cell(struct pne_procedures *p, const struct pne_event *e, enum figure figure,
		     const struct pne_cell *cell, struct pne_actions *out)
{
	static const struct name nobody;
	int r = cell->run ? cell->run(p, e, out) : 0;

	if (r >= 0)
		return;
	pne_actions_clear(out);
	if (p->busy == figure)
		p->busy = FIGURE_NONE;
	if (figure == FIGURE_5)
		pne_figure5_end(p);
	else if (figure == FIGURE_6)
		pne_figure6_end(p);
	else if (figure == FIGURE_7)
		pne_figure7_end(p);
	else
		pne_reset_end(p);
	if (e->message) {
		struct message_id id = message_id_of(e->message);

		(void)pne_do_receipt(out, &id, STATUS_FAILED);
	}
	if (figure != FIGURE_NONE)
		(void)pne_do_timer(out, figure, 0);
	(void)pne_do_verdict(p, out, verdict_of_errno(r), figure, 0, &nobody, 0, strerror(-r));
}

static void run_figure(struct pne_procedures *p, const struct pne_event *e, enum figure figure,
		       struct pne_actions *out)
{
	if (figure == FIGURE_5)
		run_cell(p, e, figure, &pne_figure5_table[p->figure5.state][e->kind], out);
	else if (figure == FIGURE_6)
		run_cell(p, e, figure, &pne_figure6_table[p->figure6.state][e->kind], out);
	else if (figure == FIGURE_7)
		run_cell(p, e, figure, &pne_figure7_table[p->figure7.state][e->kind], out);
}

static void run_reset(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	run_cell(p, e, FIGURE_NONE, &pne_reset_table[p->reset.state][e->kind], out);
}

/* Whose request has that id; FIGURE_NONE for nobody's. */
static enum figure figure_of_request(const struct pne_procedures *p, const struct message_id *id)
{
	if (p->figure5.exchange.xml && message_id_equal(&p->figure5.exchange.id, id))
		return FIGURE_5;
	if (p->figure6.exchange.xml && message_id_equal(&p->figure6.exchange.id, id))
		return FIGURE_6;
	return FIGURE_NONE;
}

static void run_response(struct pne_procedures *p, const struct pne_event *e,
			 struct pne_actions *out)
{
	struct message_id to = message_in_response_to(e->message);
	struct message_id id = message_id_of(e->message);
	const struct m_envelope *envelope = &e->message->envelope;
	enum figure figure = figure_of_request(p, &to);

	if (figure == FIGURE_NONE || !bytes_equal(envelope->source, name_bytes(&p->server)))
		(void)pne_do_receipt(out, &id, STATUS_NOT_EXPECTED);
	else
		run_figure(p, e, figure, out);
}

void pne_procedures_run(struct pne_procedures *p, const struct pne_event *e,
			struct pne_actions *out)
{
	enum figure figure;

	out->count = 0;
	switch (e->kind) {
	case PNE_EVENT_ENTERED:
		run_figure(p, e, FIGURE_5, out);
		break;
	case PNE_EVENT_INSTALLATION:
	case PNE_EVENT_TRIGGER:
		run_figure(p, e, FIGURE_6, out);
		break;
	case PNE_EVENT_NOTIFICATION:
		run_figure(p, e, FIGURE_7, out);
		break;
	case PNE_EVENT_RESET:
		run_reset(p, e, out);
		break;
	case PNE_EVENT_RESPONSE:
		run_response(p, e, out);
		break;
	case PNE_EVENT_RECEIPT:
		run_figure(p, e, figure_of_request(p, &e->receipt->id), out);
		break;
	case PNE_EVENT_STORED:
		figure = p->busy;
		p->busy = FIGURE_NONE;
		if (e->result == 0)
			effect_apply(p);
		if (p->reset.state == PNE_RESET_STORING)
			run_reset(p, e, out);
		else
			run_figure(p, e, figure, out);
		if (!pne_busy(p))
			pne_effect_clear(&p->effect);
		break;
	case PNE_EVENT_DERIVED:
		figure = p->busy;
		p->busy = FIGURE_NONE;
		run_figure(p, e, figure, out);
		break;
	case PNE_EVENT_LINK_UP:
	case PNE_EVENT_LINK_DOWN:
		run_figure(p, e, FIGURE_5, out);
		run_figure(p, e, FIGURE_6, out);
		run_figure(p, e, FIGURE_7, out);
		run_reset(p, e, out);
		break;
	case PNE_EVENT_TIMER:
		run_figure(p, e, e->figure, out);
		break;
	case PNE_EVENTS:
		break;
	}
}
