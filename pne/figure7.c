/* Figure 7, section 6.3.2.2: a PNE without UI takes an EUKey wrapped under its Temporary Key. */

#include "pne/procedure.h"

#include <string.h>

#include "protocol/p1.h"

void pne_figure7_end(struct pne_procedures *p)
{
	p->figure7.state = PNE7_IDLE;
}

static int refuse(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out,
		  enum status status, enum verdict_id verdict, const struct name *user)
{
	struct message_id id = message_id_of(e->message);
	int r = pne_do_receipt(out, &id, status);

	if (r < 0)
		return r;
	return pne_do_verdict(p, out, verdict, FIGURE_7, 7, user, 0, status_wire_name(status));
}

static int notification(struct pne_procedures *p, const struct pne_event *e,
			struct pne_actions *out)
{
	const struct m_eukey_assignment_notification *n =
		&e->message->eukey_assignment_notification;
	struct p1_context context;
	SCOPED_SECRET *key = NULL;
	struct name user;
	int r = name_set(&user, n->user_id);

	if (r < 0)
		return r;
	if (!bytes_equal(n->entity_id, name_bytes(&p->entity)))
		return refuse(p, e, out, STATUS_WRONG_TARGET, VERDICT_PNE_OTHER_ENTITY, &user);
	if (!p->temporary_key)
		return refuse(p, e, out, STATUS_NO_TEMPORARY_KEY, VERDICT_PNE_NO_TEMPORARY_KEY,
			      &user);
	p1_key_context(&context, P1_NOTIFICATION, n->user_id, n->entity_id, n->key_index);
	r = p1_unwrap(p->temporary_key, n->rand, &context, n->wrapped, &key);
	if (r < 0)
		return r;
	if (r == P1_REFUSED || secret_size(key) != KEY_SIZE)
		return refuse(p, e, out, STATUS_DOES_NOT_UNWRAP, VERDICT_PNE_CANNOT_UNWRAP, &user);
	if (pne_take_key(p, e, &user, n->key_index, key, &r) == STATUS_STALE_INDEX)
		return refuse(p, e, out, STATUS_STALE_INDEX, VERDICT_PNE_STALE_INDEX, &user);
	if (r < 0)
		return r;
	/* The device has changed hands: what its former user installed goes with the former key. */
	p->effect.erase_user = p->user.ph && !name_equal(&p->user.id, &user);
	p->figure7.state = PNE7_STORING;
	return pne_do_store(p, out, FIGURE_7);
}

static int stored(struct pne_procedures *p, const struct pne_event *e, struct pne_actions *out)
{
	const struct receipt *receipt = &p->effect.answer.receipt;
	const struct name *user = &p->effect.key.user;
	int r;

	pne_figure7_end(p);
	if (e->result < 0) {
		r = pne_do_receipt(out, &receipt->id, STATUS_STORAGE_FAILED);
		return r < 0 ? r
			     : pne_do_verdict(p, out, VERDICT_PNE_STORAGE, FIGURE_7, 7, user, 0,
					      strerror(-e->result));
	}
	r = pne_do_step(out, FIGURE_7, 7, user);
	if (r == 0)
		r = pne_do_receipt(out, &receipt->id, STATUS_OK);
	if (r < 0)
		return r;
	out->at[out->count - 1].receipt = *receipt;
	return pne_do_verdict(p, out, VERDICT_DONE, FIGURE_7, 7, user, p->key.index, NULL);
}

#define DO(function)           \
	{                      \
		function, NULL \
	}
#define IGNORE(reason)       \
	{                    \
		NULL, reason \
	}
#define NOT_MINE     IGNORE("belongs to another figure")
#define ASKS_NOTHING IGNORE("this figure sends no request")

const struct pne_cell pne_figure7_table[PNE7_STATES][PNE_EVENTS] = {
	[PNE7_IDLE] =
		{
			[PNE_EVENT_ENTERED] = NOT_MINE,
			[PNE_EVENT_INSTALLATION] = NOT_MINE,
			[PNE_EVENT_RESET] = NOT_MINE,
			[PNE_EVENT_TRIGGER] = NOT_MINE,
			[PNE_EVENT_RESPONSE] = ASKS_NOTHING,
			[PNE_EVENT_NOTIFICATION] = DO(notification),
			[PNE_EVENT_RECEIPT] = ASKS_NOTHING,
			[PNE_EVENT_DERIVED] = IGNORE("this figure derives nothing"),
			[PNE_EVENT_STORED] = IGNORE("nothing is being stored"),
			[PNE_EVENT_LINK_UP] = ASKS_NOTHING,
			[PNE_EVENT_LINK_DOWN] = ASKS_NOTHING,
			[PNE_EVENT_TIMER] = IGNORE("this figure has no deadline"),
		},
	[PNE7_STORING] =
		{
			[PNE_EVENT_ENTERED] = NOT_MINE,
			[PNE_EVENT_INSTALLATION] = NOT_MINE,
			[PNE_EVENT_RESET] = NOT_MINE,
			[PNE_EVENT_TRIGGER] = NOT_MINE,
			[PNE_EVENT_RESPONSE] = ASKS_NOTHING,
			[PNE_EVENT_NOTIFICATION] =
				IGNORE("held back by the owner while a key is stored"),
			[PNE_EVENT_RECEIPT] = ASKS_NOTHING,
			[PNE_EVENT_DERIVED] = IGNORE("this figure derives nothing"),
			[PNE_EVENT_STORED] = DO(stored),
			[PNE_EVENT_LINK_UP] = IGNORE("the receipt follows once the key is durable"),
			[PNE_EVENT_LINK_DOWN] =
				IGNORE("the receipt is given when the message is repeated"),
			[PNE_EVENT_TIMER] = IGNORE("the vault always answers"),
		},
};
