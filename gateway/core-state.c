/* GatewayStateReport: what the PN GW and the server tell each other of ledger and revocations. */

#include "gateway/core-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHOLE_AGAIN_MS  3600000U
#define LEDGER_SOON_MS  2000U
#define COLLECT_AT_ONCE 256U /* records: a millisecond or two */
#define FENCED_AGAIN_MS 600000U
/* No lost state was that much further: somebody else has told the server so. */
#define LEAP_MAX        (1U << 20)

static void again_later(struct core *c, const char *why)
{
	char text[160];

	c->state.under_way = false;
	/* One without devices is made anew too. */
	if (c->state.at == c->state.names.count)
		c->state.wanted = c->state.bare = true;
	c->state.due = c->ports.now(c->arg) + REPORT_RETRY_MS;
	gateway_core_wake_by(c, c->state.due);
	(void)snprintf(text, sizeof(text), "the server has not taken the state report: %s", why);
	gateway_core_say(c, LOG_LEVEL_WARNING, text);
}

static void forget_names(struct state_report *s)
{
	gateway_names_free(&s->names);
	s->at = 0;
	s->walk = (struct known_walk){.kind = 0};
	s->collecting = false;
}

static int collect_untold(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct revocation r;

	(void)item;
	if (revocation_parse(owner, content, &r) != 0 || r.told)
		return 0;
	return gateway_names_add(arg, &r.entity);
}

/*
 * Who is told of: at the beginning of a session every known device, afterwards what is new. A
 * piece at a time, so that the loop goes on; collecting is true until the last one.
 */
static int collect(struct core *c)
{
	struct state_report *s = &c->state;
	int r;

	if (!s->collecting) {
		forget_names(s);
		s->wanted = false;
		s->collecting = true;
	}
	if (s->whole) {
		r = gateway_core_known_some(c, &s->walk, COLLECT_AT_ONCE, &s->names);
	} else {
		r = vault_each_some(c->vault, VAULT_REVOCATION, &s->walk.at, COLLECT_AT_ONCE,
				    collect_untold, &s->names);
		s->walk.ended = s->walk.at.ended;
	}
	if (r != 0)
		forget_names(s);
	else if (s->walk.ended)
		s->collecting = false;
	return r;
}

/*
 * The server keeps the newest state it is told. So it is told none, only asked, until the one it
 * has was compared: should its answer be lost, it has it still. One that is no newer is not kept.
 */
static uint32_t sequence_to_tell(const struct state_report *s)
{
	return s->compared || s->ledger.sequence <= s->known ? s->ledger.sequence : 0;
}

static void tell_handover(const struct handover *h, struct m_gateway_state_report *q)
{
	q->has_handover = h->term > 0;
	q->handover.term = h->term;
	q->handover.after = h->after;
	q->handover.holder = bytes_of(h->holder, sizeof(h->holder));
}

static int send_page(struct core *c)
{
	struct state_report *s = &c->state;
	struct message m = {.kind = MESSAGE_gateway_state_report};
	struct m_gateway_state_report *q = &m.gateway_state_report;
	void *request;
	char *xml;
	size_t size;
	int r = p1_random(s->id.b, MESSAGE_ID_SIZE);

	if (r == 0)
		vault_ledger_state(c->vault, &s->ledger);
	if (r != 0)
		return r;
	s->page = s->names.count - s->at;
	if (s->page > STATE_PAGE)
		s->page = STATE_PAGE;
	message_envelope(&m, &s->id, NULL, &c->options.self, &c->options.server);
	q->vault.vault_id = bytes_of(s->ledger.vault_id, sizeof(s->ledger.vault_id));
	q->vault.sequence = sequence_to_tell(s);
	q->vault.head = bytes_of(s->ledger.head, sizeof(s->ledger.head));
	tell_handover(&c->handover, q);
	q->elements_count = s->page;
	for (size_t i = 0; i < s->page; i++) {
		gateway_core_revocation_state(c, &s->names.list[s->at + i], &s->told[i]);
		q->elements[i] = s->told[i];
	}
	r = message_encode(&m, &xml, &size);
	if (r != 0)
		return r;
	r = c->ports.post(c->arg, bytes_of(xml, size), c->options.procedures.request_ms,
			  c->wan.generation, TOKEN_STATE, &request);
	free(xml);
	return r;
}

/* Sends the next page if there is one and it may be sent. */
static void next_page(struct core *c)
{
	struct state_report *s = &c->state;
	int r = 0;

	if (c->ending || !c->wan.up || !c->wan.mutual || s->refused || s->under_way || s->due != 0)
		return;
	if (!s->introduce && (s->collecting || s->at == s->names.count)) {
		if (!s->collecting && !s->wanted)
			return;
		r = collect(c);
		if (s->collecting) {
			gateway_core_wake_by(c, c->ports.now(c->arg) + 1);
			return;
		}
		if (r == 0 && s->names.count == 0 && !s->bare)
			return;
	}
	if (r == 0)
		r = send_page(c);
	s->bare = s->bare && r != 0;
	if (r == 0) {
		s->under_way = true;
		return;
	}
	/* A connection that is going down: the next one begins anew. */
	if (r != -ENOTCONN)
		again_later(c, strerror(-r));
}

void gateway_core_state_session(struct core *c)
{
	struct state_report *s = &c->state;

	forget_names(s);
	s->under_way = false;
	s->refused = false;
	/* What is asked for before that the server does not take of one that was handed over. */
	s->introduce = c->handover.term > 0 || gateway_core_fenced(c);
	s->due = 0;
	s->next_whole = 0;
	s->whole = true;
	s->wanted = true;
	next_page(c);
}

void gateway_core_state_soon(struct core *c)
{
	c->state.wanted = true;
	next_page(c);
}

void gateway_core_state_failed(struct core *c, enum wan_failure failure)
{
	if (!c->state.under_way)
		return;
	c->state.under_way = false;
	if (failure == WAN_FAILURE_SILENT || failure == WAN_FAILURE_ANSWER)
		again_later(c, "no answer");
}

/* The ledger may be told from now on, and is where the server does not know it. */
static void compared(struct core *c)
{
	struct state_report *s = &c->state;

	s->compared = true;
	if (s->ledger.sequence > s->known)
		s->wanted = s->bare = true;
}

/*
 * The server was told something of this very vault that its ledger does not have: somebody put an
 * older copy back, which may have gone on by itself while the WAN was down.
 */
static void compare(struct core *c, const struct m_vault_state *known)
{
	const struct ledger_state *own = &c->state.ledger;
	struct ledger_state seen = {.sequence = known->sequence};
	char text[320];
	bool other = false;
	int r;

	if (!bytes_equal(known->vault_id, bytes_of(own->vault_id, sizeof(own->vault_id))) ||
	    known->head.size != sizeof(seen.head))
		return;
	c->state.doubted = 0;
	if (known->sequence > own->sequence && known->sequence - own->sequence > LEAP_MAX) {
		c->state.doubted = known->sequence;
		(void)snprintf(
			text, sizeof(text),
			"the CPNS Server was told that this vault's ledger is at %lu, and it is "
			"at %lu: not believed; who else has this PN GW's credentials? Then let the "
			"operator give 'cpns-server-admin forget-vault %s'",
			(unsigned long)known->sequence, (unsigned long)own->sequence,
			c->options.self.text);
		gateway_core_say(c, LOG_LEVEL_ERROR, text);
		return;
	}
	c->state.known = known->sequence;
	memcpy(seen.head, known->head.data, sizeof(seen.head));
	r = vault_ledger_other(c->vault, &seen, &other);
	if (r != 0) {
		(void)snprintf(text, sizeof(text), "comparing with the server's ledger entry: %s",
			       strerror(-r));
		gateway_core_say(c, LOG_LEVEL_ERROR, text);
		return;
	}
	if (!other) {
		if (!c->state.compared)
			compared(c);
		return;
	}
	/* The server is told of that as soon as it is durable; until then it is known here. */
	if (known->sequence <= c->state.quarantined)
		return;
	c->state.quarantined = known->sequence;
	c->state.compared = false;
	/* Its journal is to have it too. */
	if (own->sequence <= known->sequence)
		c->state.wanted = c->state.bare = true;
	gateway_core_quarantine(c, known->sequence, "the CPNS Server");
}

/* It never was told anything of this vault, or its operator had it forget that. */
static void nothing_known(struct core *c)
{
	c->state.known = 0;
	c->state.doubted = 0;
	if (!c->state.compared)
		compared(c);
}

uint32_t gateway_core_ledger_doubted(const struct core *c)
{
	return c->state.doubted;
}

/* The server answers with less than it was told: it does not take that revocation from this PN GW.
 */
static bool refused(const struct m_gateway_state_response *a, const struct m_element_state *told)
{
	for (size_t i = 0; i < a->elements_count; i++) {
		const struct m_element_state *e = &a->elements[i];

		if (bytes_equal(e->entity_id, told->entity_id))
			return e->epoch < told->epoch ||
			       (e->epoch == told->epoch && e->key_index < told->key_index);
	}
	return false;
}

static void say_refused(struct core *c, const struct name *entity)
{
	char text[192];

	(void)snprintf(text, sizeof(text),
		       "the server has not taken the revocation of %s: this PN GW does not belong "
		       "to its user; let the operator revoke it",
		       entity->text);
	gateway_core_say(c, LOG_LEVEL_WARNING, text);
}

static void take(struct core *c, const struct m_gateway_state_response *a)
{
	struct state_report *s = &c->state;
	struct name entity;

	gateway_core_handover_confirmed(c);
	if (a->has_known)
		compare(c, &a->known);
	else
		nothing_known(c);
	if (s->introduce) {
		s->introduce = false;
		return;
	}
	for (size_t i = 0; i < s->page; i++) {
		if (refused(a, &s->told[i]))
			say_refused(c, &s->names.list[s->at + i]);
		else
			gateway_core_revocation_told(c, &s->names.list[s->at + i], &s->told[i]);
	}
	for (size_t i = 0; i < a->elements_count; i++) {
		if (name_set(&entity, a->elements[i].entity_id) == 0)
			gateway_core_revocation_merge(c, &entity, &a->elements[i]);
	}
	for (size_t i = 0; i < a->resets_count; i++) {
		if (name_set(&entity, a->resets[i].entity_id) == 0)
			gateway_core_reset_authorized(c, &entity, &a->resets[i]);
	}
	s->at += s->page;
	if (s->at < s->names.count)
		return;
	forget_names(s);
	if (s->whole) {
		s->next_whole = c->ports.now(c->arg) + WHOLE_AGAIN_MS;
		gateway_core_wake_by(c, s->next_whole);
	}
	s->whole = false;
}

void gateway_core_state_answered(struct core *c, const struct message *m)
{
	struct state_report *s = &c->state;
	struct message_id to;
	enum status status;

	if (!s->under_way)
		return;
	if (m)
		to = message_in_response_to(m);
	if (!m || m->kind != MESSAGE_gateway_state_response || !message_id_equal(&to, &s->id) ||
	    !bytes_equal(m->envelope.source, name_bytes(&c->options.server))) {
		again_later(c, "not the answer to it");
		return;
	}
	status = message_status(m);
	if (status == STATUS_HANDED_OVER) {
		const struct m_gateway_state_response *a = &m->gateway_state_response;

		s->under_way = false;
		s->due = c->ports.now(c->arg) + FENCED_AGAIN_MS;
		gateway_core_wake_by(c, s->due);
		gateway_core_handover_refused(c, a->has_handed_over ? a->handed_over.since : 0);
		return;
	}
	if (status == STATUS_OK) {
		take(c, &m->gateway_state_response);
		s->under_way = false;
		next_page(c);
		return;
	}
	again_later(c, status_wire_name(status));
	/* What it does not take now it does not take on this connection. */
	if (!status_retry(status)) {
		s->refused = true;
		s->due = 0;
	}
}

void gateway_core_state_ledger(struct core *c)
{
	struct state_report *s = &c->state;
	struct ledger_state now;

	vault_ledger_state(c->vault, &now);
	if (s->ledger_due != 0 || now.sequence <= s->ledger.sequence)
		return;
	s->ledger_due = c->ports.now(c->arg) + LEDGER_SOON_MS;
	gateway_core_wake_by(c, s->ledger_due);
}

void gateway_core_state_quarantined(struct core *c)
{
	struct state_report *s = &c->state;

	if (s->quarantined == 0)
		return;
	vault_ledger_state(c->vault, &s->ledger);
	compared(c);
	next_page(c);
}

uint64_t gateway_core_tick_state(struct core *c, uint64_t now)
{
	struct state_report *s = &c->state;

	if (s->ledger_due != 0 && s->ledger_due <= now) {
		s->ledger_due = 0;
		s->wanted = s->bare = true;
		next_page(c);
	}

	if (s->next_whole != 0 && s->next_whole <= now) {
		s->next_whole = 0;
		s->whole = true;
		s->wanted = true;
		next_page(c);
	}
	if (s->due != 0 && s->due <= now) {
		s->due = 0;
		next_page(c);
	}
	if (s->collecting)
		next_page(c);
	/* Without a connection the next one begins anew. */
	return earlier(earlier(s->due, s->next_whole),
		       earlier(s->ledger_due, s->collecting && c->wan.up ? now + 1 : 0));
}

void gateway_core_end_state(struct core *c)
{
	forget_names(&c->state);
}
