/*
 * PNEResetRequest: the PNE forgets its user and its EUKey because the device was revoked. The
 * proof, made with the EUKey itself, is the authorization, so any PAN will do. The index and the
 * Temporary Key stay: what was issued before is stale, what is issued afterwards is taken.
 */

#include "pne/procedure.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/p1.h"

static const struct name nobody;

void pne_reset_end(struct pne_procedures *p)
{
	p->reset.state = PNE_RESET_IDLE;
}

/* confirmation: P1_MAC_SIZE bytes, NULL where nothing was erased. */
static int encode_response(const struct pne_procedures *p, const struct pne_event *e,
			   enum status status, const uint8_t *confirmation, char **xml,
			   size_t *size)
{
	struct message m = {.kind = MESSAGE_pne_reset_response};
	struct message_id to = message_id_of(e->message);
	struct message_id id;
	struct name gateway;
	int r = name_set(&gateway, e->message->envelope.source);

	if (r == 0)
		r = p1_random(id.b, sizeof(id.b));
	if (r < 0)
		return r;
	message_envelope(&m, &id, &to, &p->entity, &gateway);
	m.pne_reset_response.status = status;
	m.pne_reset_response.key_index = p->key.index;
	if (confirmation)
		m.pne_reset_response.confirmation = bytes_of(confirmation, P1_MAC_SIZE);
	return message_encode(&m, xml, size);
}

/* Nothing has changed and nothing is remembered: the same request is judged anew when it comes
 * again. */
static int refuse(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out,
		  enum status status, enum verdict_id verdict, const char *detail)
{
	char *xml;
	size_t size;
	int r = encode_response(p, e, status, NULL, &xml, &size);

	if (r < 0)
		return r;
	r = pne_do_send(out, xml, size);
	free(xml);
	if (r < 0)
		return r;
	return pne_do_verdict(p, out, verdict, FIGURE_NONE, 0, &nobody, 0, detail);
}

/* Whether one of the proofs is one of the held EUKey. */
static int authorized(const struct pne_procedures *p, const struct pne_event *e, bool *right)
{
	const struct m_pne_reset_request *q = &e->message->pne_reset_request;
	struct message_id id = message_id_of(e->message);
	uint8_t proof[P1_MAC_SIZE];
	int r;

	*right = false;
	if (!bytes_equal(q->user_id, name_bytes(&p->key.user)))
		return 0;
	r = p1_reset_proof(p->key.key, q->user_id, name_bytes(&p->entity), p->key.index, &id,
			   proof);
	if (r < 0)
		return r;
	for (size_t i = 0; i < q->proofs_count; i++) {
		if (q->proofs[i].key_index == p->key.index &&
		    constant_time_equal(q->proofs[i].proof, bytes_of(proof, sizeof(proof))))
			*right = true;
	}
	return 0;
}

static int requested(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	const struct m_pne_reset_request *q = &e->message->pne_reset_request;
	struct pne_effect *f = &p->effect;
	uint8_t confirmation[P1_MAC_SIZE];
	static const char asked[] = "a reset was asked for";
	bool right;
	int r;

	if (!bytes_equal(q->entity_id, name_bytes(&p->entity)))
		return refuse(p, e, out, STATUS_WRONG_TARGET, VERDICT_PNE_REFUSED, asked);
	/* The usual end of further requests for what the first has erased. */
	if (!p->key.key)
		return refuse(p, e, out, STATUS_NOT_EXPECTED, VERDICT_DONE,
			      "a reset was asked for, and there is no EUKey to erase");
	r = authorized(p, e, &right);
	if (r < 0)
		return r;
	if (!right)
		return refuse(p, e, out, STATUS_TRIGGER_REJECTED, VERDICT_PNE_REFUSED_TRIGGER,
			      asked);
	pne_effect_clear(f);
	f->answer.to = message_id_of(e->message);
	r = p1_reset_confirmation(p->key.key, name_bytes(&p->key.user), name_bytes(&p->entity),
				  p->key.index, &f->answer.to, confirmation);
	if (r == 0)
		r = encode_response(p, e, STATUS_OK, confirmation, &f->answer.xml, &f->answer.size);
	if (r < 0)
		return r;
	memcpy(f->answer.digest, e->digest, sizeof(f->answer.digest));
	f->put_answer = true;
	f->erase_user = true;
	f->erase_pending = true;
	f->put_key = true;
	f->key.index = p->key.index;
	p->reset.user = p->key.user;
	p->reset.state = PNE_RESET_STORING;
	return pne_do_store(p, out, FIGURE_NONE);
}

/* What was asked of the server before the reset could bring back a key of before. */
static int end_others(struct pne_procedures *p, struct pne_actions *out)
{
	static const char why[] = "the PNE was reset";
	struct name user;
	int r = 0;

	if (p->figure5.state != PNE5_IDLE) {
		user = p->figure5.user;
		pne_figure5_end(p);
		r = pne_do_timer(out, FIGURE_5, 0);
		if (r == 0)
			r = pne_do_verdict(p, out, VERDICT_REVOKED, FIGURE_5, 7, &user, 0, why);
	}
	if (r == 0 && p->figure6.state != PNE6_IDLE) {
		user = p->figure6.request_user;
		pne_figure6_end(p);
		r = pne_do_timer(out, FIGURE_6, 0);
		if (r == 0)
			r = pne_do_verdict(p, out, VERDICT_REVOKED, FIGURE_6, 8, &user, 0, why);
	}
	return r;
}

static int stored(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	const struct pne_answer *answer = &p->effect.answer;
	struct name user = p->reset.user;
	int r;

	pne_reset_end(p);
	if (e->result < 0) {
		r = pne_do_receipt(out, &answer->to, STATUS_STORAGE_FAILED);
		return r < 0 ? r
			     : pne_do_verdict(p, out, VERDICT_PNE_STORAGE, FIGURE_NONE, 0, &user, 0,
					      "the reset was not done");
	}
	r = end_others(p, out);
	if (r == 0)
		r = pne_do_send(out, answer->xml, answer->size);
	if (r < 0)
		return r;
	return pne_do_verdict(p, out, VERDICT_DONE, FIGURE_NONE, 0, &user, 0,
			      "reset: the user and the EUKey are erased");
}

#define DO(function)           \
	{                      \
		function, NULL \
	}
#define IGNORE(reason)       \
	{                    \
		NULL, reason \
	}
#define NOT_MINE                                                                       \
	[PNE_EVENT_ENTERED] = IGNORE("belongs to a figure"),                           \
	[PNE_EVENT_INSTALLATION] = IGNORE("belongs to a figure"),                      \
	[PNE_EVENT_TRIGGER] = IGNORE("belongs to a figure"),                           \
	[PNE_EVENT_RESPONSE] = IGNORE("a reset asks nothing of the server"),           \
	[PNE_EVENT_NOTIFICATION] = IGNORE("belongs to a figure"),                      \
	[PNE_EVENT_RECEIPT] = IGNORE("a reset asks nothing of the server"),            \
	[PNE_EVENT_DERIVED] = IGNORE("a reset derives nothing"),                       \
	[PNE_EVENT_LINK_UP] = IGNORE("the answer is given when the request comes in"), \
	[PNE_EVENT_LINK_DOWN] = IGNORE("what was begun is finished"),                  \
	[PNE_EVENT_TIMER] = IGNORE("a reset has no deadline")

const struct pne_cell pne_reset_table[PNE_RESET_STATES][PNE_EVENTS] = {
	[PNE_RESET_IDLE] =
		{
			NOT_MINE,
			[PNE_EVENT_STORED] = IGNORE("nothing is being stored"),
			[PNE_EVENT_RESET] = DO(requested),
		},
	[PNE_RESET_STORING] =
		{
			NOT_MINE,
			[PNE_EVENT_STORED] = DO(stored),
			[PNE_EVENT_RESET] = IGNORE("held back by the owner until it is durable"),
		},
};
