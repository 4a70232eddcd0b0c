#include "server/fence.h"

#include <stdio.h>
#include <string.h>

#include "server/revoke.h"

/*
 * GatewayStateReport: where the ledger of a PN GW's vault stands, which tells an older copy of it,
 * and the revocations on both sides, of which each learns the other's.
 */

/* No PN GW is that far ahead of its server: what it says would only use up numbers. */
#define LEAP_MAX 4096

/*
 * A ledger has 32 bits of sequence, and a PN GW goes on above what the server knows of it: whoever
 * tells the server of a sequence near the end in its name would leave it no room. No ledger grows
 * by that much between two reports, and none that is told of for the first time is that long.
 */
#define SEQUENCE_LEAP_MAX  (UINT32_C(1) << 20)
#define SEQUENCE_FIRST_MAX (UINT32_C(1) << 31)

static bool sequence_plausible(const struct server_procedure *p)
{
	const uint32_t told = p->request->gateway_state_report.vault.sequence;
	const uint32_t known = p->facts.vault.sequence;

	if (!p->facts.has_vault)
		return told <= SEQUENCE_FIRST_MAX;
	return told <= known || told - known <= SEQUENCE_LEAP_MAX;
}

static void take_vault(struct server_procedure *p, int64_t now)
{
	const struct m_vault_state *told = &p->request->gateway_state_report.vault;
	struct m_gateway_state_response *answer = &p->response.gateway_state_response;
	const struct store_vault_state *known = p->facts.has_vault ? &p->facts.vault : NULL;
	struct store_vault_state state = {.sequence = told->sequence};
	bool same;

	memcpy(state.vault_id, told->vault_id.data, sizeof(state.vault_id));
	memcpy(state.head, told->head.data, sizeof(state.head));
	if (!known) {
		/* 0 is a question only; a ledger may be long when its server first hears of it. */
		if (state.sequence > 0)
			store_batch_vault_state(&p->batch, name_bytes(&p->source), &state, NULL,
						now);
		return;
	}
	answer->has_known = true;
	answer->known.vault_id = bytes_of(known->vault_id, sizeof(known->vault_id));
	answer->known.sequence = known->sequence;
	answer->known.head = bytes_of(known->head, sizeof(known->head));
	same = state.sequence == known->sequence &&
	       memcmp(state.head, known->head, sizeof(state.head)) == 0;
	if (state.sequence > known->sequence)
		store_batch_vault_state(&p->batch, name_bytes(&p->source), &state, known, now);
	else if (!same && state.sequence > 0)
		p->verdict.id = VERDICT_GATEWAY_ROLLED_BACK;
}

/* The fence has seen that it may. */
static void take_handover(struct server_procedure *p, int64_t now)
{
	const struct m_gateway_state_report *told = &p->request->gateway_state_report;
	const uint32_t known = p->facts.has_handover ? p->facts.handover.term : 0;
	struct store_handover h = {.since = now};

	p->takes_over = told->has_handover && told->handover.term != known;
	if (!p->takes_over)
		return;
	h.term = told->handover.term;
	memcpy(h.holder, told->handover.holder.data, sizeof(h.holder));
	store_batch_handover(&p->batch, name_bytes(&p->source), &h, known);
}

/*
 * Whether that device's revocation is news, and this PN GW's to tell. One that was revoked itself
 * has no say: somebody else may have it.
 */
static bool may_revoke(const struct server_procedure *p, struct server_device *d,
		       const struct m_element_state *told)
{
	const struct store_element *e = &d->element;
	const struct name *owner = &p->facts.gateway.owner;

	if (told->epoch == 0 ||
	    (told->epoch <= e->revocation.epoch && told->key_index <= e->revocation.key_index))
		return false;
	d->refused =
		!owner->text[0] ||
		!name_equal(owner, e->owner.text[0] ? &e->owner : &e->revocation.owner) ||
		(told->epoch > e->revocation.epoch &&
		 told->epoch - e->revocation.epoch > LEAP_MAX) ||
		(told->key_index > e->last_index && told->key_index - e->last_index > LEAP_MAX);
	return !d->refused;
}

/* A device that is the same as an earlier one of the list says nothing more. */
static bool told_before(const struct m_gateway_state_report *r, size_t at)
{
	for (size_t i = 0; i < at; i++) {
		if (bytes_equal(r->elements[i].entity_id, r->elements[at].entity_id))
			return true;
	}
	return false;
}

/* 0 or a negative errno. Afterwards d->element.revocation is what the server answers with. */
static int take_device(struct server_procedure *p, struct server_device *d,
		       const struct m_element_state *told, int64_t now)
{
	const struct name *user = server_gateway_user(&p->facts);
	const bool confirmed = told->reset == RESET_CONFIRMED;
	struct store_revocation *after = &d->element.revocation;
	int r;

	if (may_revoke(p, d, told)) {
		const struct store_revocation news =
			server_revocation(&d->element, told->epoch, told->key_index,
					  confirmed && told->epoch >= after->epoch, now);

		r = server_revoke(&p->batch, &d->element, &news, d->keys, &d->resets);
		if (r < 0)
			return r;
		d->revoked = true;
		*after = news;
		d->confirmed = news.reset == RESET_CONFIRMED;
	} else if (confirmed && told->epoch == after->epoch && after->reset == RESET_UNCONFIRMED &&
		   user && name_equal(user, &after->owner)) {
		store_batch_reset_done(&p->batch, name_bytes(&d->element.entity), after->epoch);
		after->reset = RESET_CONFIRMED;
		d->confirmed = true;
	}
	d->news = after->epoch > told->epoch ||
		  (after->epoch > 0 && after->key_index > told->key_index) ||
		  (after->epoch == told->epoch && after->reset == RESET_CONFIRMED &&
		   told->reset == RESET_UNCONFIRMED);
	return 0;
}

static void tell(struct server_procedure *p, const struct server_device *d)
{
	struct m_gateway_state_response *answer = &p->response.gateway_state_response;
	struct m_element_state *out = &answer->elements[answer->elements_count++];

	out->entity_id = name_bytes(&d->element.entity);
	out->epoch = d->element.revocation.epoch;
	out->key_index = d->element.revocation.key_index;
	out->reset = d->element.revocation.reset;
}

/* Before whom a device's resets are given: what is news first, then what was told less often. */
static bool sooner(const struct server_device *a, const struct server_device *b)
{
	if (a->news != b->news)
		return a->news;
	return a->resets.told < b->resets.told;
}

static struct server_device *next_reset(struct server_procedure *p, size_t room)
{
	struct server_device *next = NULL;

	for (size_t i = 0; i < p->facts.devices_count; i++) {
		struct server_device *d = &p->facts.devices[i];

		if (!d->there || d->given || d->resets.count == 0 || d->resets.count > room ||
		    d->element.revocation.reset != RESET_UNCONFIRMED)
			continue;
		if (!next || sooner(d, next))
			next = d;
	}
	return next;
}

static void give_resets(struct server_procedure *p)
{
	struct m_gateway_state_response *answer = &p->response.gateway_state_response;
	const size_t limit = sizeof(answer->resets) / sizeof(answer->resets[0]);
	const struct bytes user = name_bytes(server_gateway_user(&p->facts));
	struct server_device *d;

	while ((d = next_reset(p, limit - answer->resets_count)) != NULL) {
		for (size_t i = 0; i < d->resets.count; i++) {
			const struct store_reset *reset = &d->resets.list[i];

			answer->resets[answer->resets_count++] = (struct m_reset_authorization){
				.entity_id = name_bytes(&d->element.entity),
				.user_id = user,
				.epoch = d->resets.epoch,
				.key_index = reset->key_index,
				.message_id = bytes_of(d->resets.id.b, sizeof(d->resets.id.b)),
				.proof = bytes_of(reset->proof, sizeof(reset->proof)),
				.confirmation =
					bytes_of(reset->confirmation, sizeof(reset->confirmation))};
		}
		d->given = true;
		store_batch_resets_told(&p->batch, user, name_bytes(&d->element.entity),
					d->resets.epoch);
	}
}

static void describe(struct server_procedure *p)
{
	const struct m_vault_state *told = &p->request->gateway_state_report.vault;

	if (p->verdict.id == VERDICT_GATEWAY_ROLLED_BACK)
		(void)snprintf(p->verdict.detail, sizeof(p->verdict.detail),
			       "its ledger is at %lu%s, it was at %lu before",
			       (unsigned long)told->sequence,
			       told->sequence == p->facts.vault.sequence ? " with other entries"
									 : "",
			       (unsigned long)p->facts.vault.sequence);
	else
		(void)snprintf(p->verdict.detail, sizeof(p->verdict.detail),
			       "state report, its ledger is at %lu", (unsigned long)told->sequence);
}

static void state_loaded(struct server_procedure *p, const struct server_event *e,
			 struct server_actions *out)
{
	const struct m_gateway_state_report *r = &p->request->gateway_state_report;
	enum status fence;

	if (!procedure_take_facts(p, e, 0, out))
		return;
	/* Once more, for another writer may have been first. */
	fence = server_fence_report(r, &p->facts.handover);
	if (fence != STATUS_OK) {
		procedure_refuse(p, fence, 0, out);
		return;
	}
	if (!sequence_plausible(p)) {
		procedure_refuse(p, STATUS_NOT_EXPECTED, 0, out);
		(void)snprintf(p->verdict.detail, sizeof(p->verdict.detail),
			       "%s: no ledger comes from %lu to %lu",
			       status_wire_name(STATUS_NOT_EXPECTED),
			       (unsigned long)p->facts.vault.sequence,
			       (unsigned long)r->vault.sequence);
		return;
	}
	p->verdict.id = VERDICT_DONE;
	take_vault(p, e->time);
	take_handover(p, e->time);
	for (size_t i = 0; i < r->elements_count && i < p->facts.devices_count; i++) {
		struct server_device *d = &p->facts.devices[i];

		d->there = d->there && !told_before(r, i);
		if (!d->there)
			continue;
		if (take_device(p, d, &r->elements[i], e->time) < 0) {
			procedure_refuse(p, STATUS_FAILED, 0, out);
			return;
		}
		if (d->news || d->refused)
			tell(p, d);
	}
	if (server_gateway_user(&p->facts))
		give_resets(p);
	procedure_set_status(p, STATUS_OK);
	describe(p);
	procedure_store(p, out);
}

const server_table state_report = {
	[STATE_IDLE] = {procedure_load, procedure_ignore_early, procedure_ignore_early,
			procedure_ignore_early, procedure_ignore_early},
	[STATE_LOADING] = {procedure_ignore_repeat, state_loaded, procedure_ignore_early,
			   procedure_ignore_early, procedure_ignore_early},
	[STATE_DERIVING] = {procedure_ignore_repeat, procedure_ignore_no_derive,
			    procedure_ignore_no_derive, procedure_ignore_no_derive,
			    procedure_ignore_no_derive},
	[STATE_STORING] = {procedure_ignore_repeat, procedure_ignore_late, procedure_ignore_late,
			   procedure_stored, procedure_store_failed},
	[STATE_DONE] = {procedure_ignore_late, procedure_ignore_late, procedure_ignore_late,
			procedure_ignore_late, procedure_ignore_late},
};
