#include "server/procedure.h"

#include <stdio.h>
#include <string.h>

/*
 * EUKeyDeliveryReport: what the PN GW knows of keys that reached their PNE, in whichever figure. It
 * is no step of any.
 */

/* A wrong proof costs nobody anything: it is passed over, the next right one tells. */
static bool delivered(const struct m_delivery *d, const struct secret *key)
{
	uint8_t expected[P1_MAC_SIZE];
	struct message_id id;

	if (d->state != DELIVERY_INSTALLED || !key || d->proof.size != P1_MAC_SIZE)
		return false;
	memcpy(id.b, d->message_id.data, sizeof(id.b));
	if (p1_held_proof(key, d->user_id, d->entity_id, d->key_index, &id, expected) < 0)
		return false;
	return constant_time_equal(bytes_of(expected, sizeof(expected)), d->proof);
}

static void describe(struct server_procedure *p, unsigned held, unsigned refused, unsigned issued)
{
	(void)snprintf(p->verdict.detail, sizeof(p->verdict.detail),
		       "delivery report: %u EUKeys proven to be held, %u refused, %u sent", held,
		       refused, issued);
}

/*
 * What is not there, revoked or forgotten for a later one, stays away whatever is reported of it.
 */
static void report_loaded(struct server_procedure *p, const struct server_event *e,
			  struct server_actions *out)
{
	const struct m_eukey_delivery_report *r = &p->request->eukey_delivery_report;
	unsigned held = 0, refused = 0, issued = 0;

	if (!procedure_take_facts(p, e, 0, out))
		return;
	for (size_t i = 0; i < r->deliveries_count && i < SERVER_DELIVERIES_LIMIT; i++) {
		const struct m_delivery *d = &r->deliveries[i];

		refused += d->state == DELIVERY_REFUSED ? 1 : 0;
		issued += d->state == DELIVERY_ISSUED ? 1 : 0;
		if (!delivered(d, p->facts.delivered[i]))
			continue;
		store_batch_held(&p->batch, d->user_id, d->entity_id, d->key_index);
		(void)name_set(&p->verdict.entity, d->entity_id);
		(void)name_set(&p->verdict.user, d->user_id);
		p->verdict.key_index = d->key_index;
		held++;
	}
	procedure_set_status(p, STATUS_OK);
	p->verdict.id = VERDICT_DONE;
	describe(p, held, refused, issued);
	procedure_store(p, out);
}

const server_table report_delivery = {
	[STATE_IDLE] = {procedure_load, procedure_ignore_early, procedure_ignore_early,
			procedure_ignore_early, procedure_ignore_early},
	[STATE_LOADING] = {procedure_ignore_repeat, report_loaded, procedure_ignore_early,
			   procedure_ignore_early, procedure_ignore_early},
	[STATE_DERIVING] = {procedure_ignore_repeat, procedure_ignore_no_derive,
			    procedure_ignore_no_derive, procedure_ignore_no_derive,
			    procedure_ignore_no_derive},
	[STATE_STORING] = {procedure_ignore_repeat, procedure_ignore_late, procedure_ignore_late,
			   procedure_stored, procedure_store_failed},
	[STATE_DONE] = {procedure_ignore_late, procedure_ignore_late, procedure_ignore_late,
			procedure_ignore_late, procedure_ignore_late},
};
