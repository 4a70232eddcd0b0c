#include "gateway/report.h"

#include <errno.h>
#include <string.h>

#include "protocol/p1.h"

static int collect(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct report *r = arg;

	if (r->count == REPORT_MAX)
		return REPORT_NOTHING;
	if (records_parse_delivery(owner, item, content, &r->list[r->count]) == 0)
		r->count++;
	return 0;
}

int gateway_report_begin(struct report *r, struct vault *v, const struct name *self,
			 const struct name *server, char **xml, size_t *size)
{
	struct message m = {.kind = MESSAGE_eukey_delivery_report};
	struct m_eukey_delivery_report *q = &m.eukey_delivery_report;
	int result;

	r->count = 0;
	result = vault_each(v, VAULT_DELIVERY, BYTES_NONE, collect, r, NULL);
	if (result < 0)
		return result;
	if (r->count == 0)
		return REPORT_NOTHING;
	result = p1_random(r->id.b, MESSAGE_ID_SIZE);
	if (result != 0)
		return result;
	message_envelope(&m, &r->id, NULL, self, server);
	q->deliveries_count = r->count;
	for (size_t i = 0; i < r->count; i++) {
		const struct delivery *d = &r->list[i];

		q->deliveries[i].user_id = name_bytes(&d->user);
		q->deliveries[i].entity_id = name_bytes(&d->entity);
		q->deliveries[i].key_index = d->key_index;
		q->deliveries[i].state = d->state;
		q->deliveries[i].message_id = bytes_of(d->message_id.b, MESSAGE_ID_SIZE);
		if (d->has_proof)
			q->deliveries[i].proof = bytes_of(d->proof, sizeof(d->proof));
	}
	/* Names that need escaping take more room: fewer at a time. */
	while ((result = message_encode(&m, xml, size)) == -EMSGSIZE && r->count > 1) {
		r->count /= 2;
		q->deliveries_count = r->count;
	}
	if (result != 0)
		return result;
	r->under_way = true;
	return 0;
}

static bool unchanged(const struct delivery *a, const struct delivery *b)
{
	return a->state == b->state && message_id_equal(&a->message_id, &b->message_id);
}

int gateway_report_answered(struct report *r, struct vault *v, const struct message *m,
			    report_changing_fn *changing, void *arg, struct vault_batch **batch)
{
	struct message_id answered = message_in_response_to(m);
	struct vault_batch *b;
	enum status status;

	r->under_way = false;
	if (m->kind != MESSAGE_eukey_delivery_report_response ||
	    !message_id_equal(&answered, &r->id))
		return -EPROTO;
	status = message_status(m);
	if (status != STATUS_OK)
		return (int)status;
	b = vault_batch_new();
	if (!b)
		return -ENOMEM;
	for (size_t i = 0; i < r->count; i++) {
		struct delivery now;

		if (!changing(arg, &r->list[i].entity) &&
		    records_get_delivery(v, &r->list[i].entity, r->list[i].key_index, &now) == 0 &&
		    unchanged(&now, &r->list[i]))
			records_erase_delivery(b, &r->list[i].entity, r->list[i].key_index);
	}
	*batch = b;
	return 0;
}

void gateway_report_failed(struct report *r)
{
	r->under_way = false;
}
