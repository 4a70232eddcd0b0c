#include "gateway/core-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a: who chooses names that collide slows down only the search for them. */
static struct core_link **bucket_of(struct core *c, const struct name *entity)
{
	uint32_t hash = 2166136261U;

	for (const char *at = entity->text; *at; at++)
		hash = (hash ^ (uint8_t)*at) * 16777619U;
	return &c->named[(hash ^ hash >> 16) % LINK_BUCKETS];
}

struct core_link *gateway_core_link_of(struct core *c, const struct name *entity)
{
	for (struct core_link *l = *bucket_of(c, entity); l; l = l->same) {
		if (!l->dying && name_equal(&link_peer(l->engine)->entity, entity))
			return l;
	}
	return NULL;
}

static void put_in_bucket(struct core *c, struct core_link *l)
{
	struct core_link **at = bucket_of(c, &link_peer(l->engine)->entity);

	l->same = *at;
	*at = l;
}

static void take_from_bucket(struct core *c, struct core_link *l)
{
	struct core_link **at = bucket_of(c, &link_peer(l->engine)->entity);

	while (*at != l)
		at = &(*at)->same;
	*at = l->same;
}

static void link_send(void *arg, struct bytes frame)
{
	struct core_link *l = arg;
	int r;

	if (l->dying)
		return;
	r = l->core->ports.write(l->core->arg, l->stream, frame);
	if (r != 0) {
		l->dying = true;
		l->queue_full = r == -EDQUOT;
		gateway_core_wake_by(l->core, l->core->ports.now(l->core->arg) + 1);
	}
}

static void link_up(void *arg, const struct hello *peer)
{
	struct core_link *l = arg;
	struct core *c = l->core;
	struct core_link *older = gateway_core_link_of(c, &peer->entity);
	char text[240];

	gateway_recorder_link(gateway_core_recorder(c), &peer->entity, true, l->level, l->peer);

	if (name_equal(&peer->entity, &c->options.self)) {
		gateway_core_say(c, LOG_LEVEL_WARNING,
				 "a PNE that calls itself by the PN GW's Entity ID is refused");
		l->dying = true;
		return;
	}
	if (older && l->level < older->level) {
		gateway_core_say(c, LOG_LEVEL_WARNING,
				 "a less secure link of a PNE that is connected is refused");
		l->dying = true;
		return;
	}
	if (older)
		older->dying = true;
	l->up = true;
	put_in_bucket(c, l);
	c->counters.links++;
	(void)snprintf(text, sizeof(text), "PNE %s is connected from %s, PAN security: %s%s",
		       peer->entity.text, l->peer, pan_security_name(l->level),
		       older ? "; its older link is closed" : "");
	gateway_core_say(c, LOG_LEVEL_INFO, text);
	if (c->ports.arrived)
		c->ports.arrived(c->arg, l->stream, &peer->entity);
	gateway_core_reset_link_up(c, &peer->entity);
	gateway_core_pool_link_up(c, l);
	gateway_core_reach_link_up(c, &peer->entity);
}

static void link_malformed(struct core_link *l, const struct malformation *why)
{
	struct core *c = l->core;
	struct receipt r = {.status = STATUS_MALFORMED};
	struct event e = {.kind = EVENT_MALFORMED};
	char line[128], text[256];

	e.why = malformation_describe(why, line, sizeof(line));
	(void)snprintf(text, sizeof(text), "PNE %s sent what is no message: %s",
		       link_peer(l->engine)->entity.text, e.why);
	gateway_core_say(c, LOG_LEVEL_WARNING, text);
	c->counters.refused++;
	(void)link_send_receipt(l->engine, &r);
	gateway_core_give_entity(c, &link_peer(l->engine)->entity, &e);
}

/* The answer to the trigger of a procedure cannot be relayed: nothing follows that it could await.
 */
static void answer_refused(struct core *c, const struct relay_link *link, const struct message *m,
			   enum status status)
{
	struct procedure *p = gateway_core_procedure_for(c, link->entity);
	struct message_id to = message_in_response_to(m);
	struct event e = {.kind = EVENT_MALFORMED, .why = status_wire_name(status)};

	/* The PNE is not to blame for a level that has dropped. */
	if (status == STATUS_INSECURE_PAN) {
		e.failed = verdict_of_pne_status(status);
		e.why = pan_security_name(link->level);
	}
	if (p && p->type == &gateway_figure6_assignment && message_id_equal(&to, &p->awaited) &&
	    !status_retry(status))
		gateway_core_give(c, p, &e);
}

static struct relay_link relay_view(struct core_link *l)
{
	struct relay_link view = {
		.now = l->core->ports.now(l->core->arg),
		.wan_up = l->core->wan.up,
		.server = &l->core->options.server,
		.entity = &link_peer(l->engine)->entity,
		.level = l->level,
		.wall = l->core->ports.wall(l->core->arg),
	};

	view.relayed_unknown = records_get_relayed(l->core->vault, view.entity, &view.relayed) != 0;
	return view;
}

static void link_message(void *arg, struct bytes xml)
{
	struct core_link *l = arg;
	struct core *c = l->core;
	struct relay_link view = relay_view(l);
	struct relay_call call = {.kind = CALL_REQUEST, .link = &view, .xml = xml};
	struct malformation why;
	enum status refused = STATUS_OK;
	struct message *m;
	struct actions a;
	int r;

	if (l->dying)
		return;
	r = message_decode(xml, &m, &why);
	if (r == MESSAGE_MALFORMED) {
		link_malformed(l, &why);
		return;
	}
	if (r != 0) {
		gateway_core_say(c, LOG_LEVEL_ERROR,
				 "out of memory: a message of a PNE was dropped");
		return;
	}
	if (m->kind == MESSAGE_id_password_installation_response) {
		struct event e = {.kind = EVENT_MESSAGE, .message = m, .xml = xml};

		gateway_core_give_entity(c, view.entity, &e);
		message_free(m);
		return;
	}
	if (m->kind == MESSAGE_pne_reset_response) {
		gateway_core_reset_answered(c, view.entity, m);
		message_free(m);
		return;
	}
	c->counters.relayed++;
	call.message = m;
	call.count = gateway_relay_count(c->relay);
	gateway_actions_begin(&a);
	gateway_relay_request(c->relay, &view, m, xml, &a);
	gateway_core_relay_called(c, &call, &a);
	if (a.count == 0)
		c->counters.coalesced++;
	if (a.count == 1 && a.list[0].kind == ACTION_RECEIPT)
		refused = a.list[0].receipt.status;
	gateway_core_perform(c, NULL, &a);
	if (refused != STATUS_OK)
		answer_refused(c, &view, m, refused);
	message_free(m);
}

static void link_receipt(void *arg, const struct receipt *receipt)
{
	struct core_link *l = arg;
	struct relay_link view = relay_view(l);
	struct event e = {.kind = EVENT_RECEIPT, .receipt = receipt};
	struct relay_call call = {.kind = CALL_RECEIPT, .link = &view, .receipt = receipt};
	struct actions a;

	if (l->dying)
		return;
	gateway_core_reset_receipt(l->core, view.entity, receipt);
	call.count = gateway_relay_count(l->core->relay);
	gateway_actions_begin(&a);
	if (gateway_relay_receipt(l->core->relay, &view, receipt, &a)) {
		gateway_core_relay_called(l->core, &call, &a);
		gateway_core_perform(l->core, NULL, &a);
	} else {
		gateway_core_give_entity(l->core, view.entity, &e);
	}
}

static void link_pong(void *arg, uint64_t token)
{
	(void)arg;
	(void)token;
}

static void link_broken(void *arg, enum link_broken why)
{
	struct core_link *l = arg;
	char text[192];

	l->dying = true;
	(void)snprintf(text, sizeof(text), "link from %s is closed: %s", l->peer,
		       link_broken_text(why));
	gateway_core_say(l->core, LOG_LEVEL_WARNING, text);
}

static const struct link_callbacks link_callbacks = {
	.send = link_send,
	.up = link_up,
	.message = link_message,
	.receipt = link_receipt,
	.pong = link_pong,
	.broken = link_broken,
};

int gateway_core_stream_up(struct core *c, void *stream, enum pan_security level, const char *peer,
			   struct core_link **out)
{
	struct hello self = {.flags = HELLO_FLAG_GATEWAY};
	struct core_link *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	self.entity = c->options.self;
	self.server = c->options.server;
	r = link_new(&self, &link_callbacks, l, &l->engine);
	if (r != 0) {
		free(l);
		return r;
	}
	l->core = c;
	l->stream = stream;
	l->level = level;
	l->since = c->ports.now(c->arg);
	(void)snprintf(l->peer, sizeof(l->peer), "%s", peer);
	l->next = c->links;
	c->links = l;
	*out = l;
	link_start(l->engine);
	gateway_core_wake_by(c, l->since + c->options.hello_ms);
	return 0;
}

/* Takes l out and frees it, then tells the procedure that used it. */
void gateway_core_forget_link(struct core *c, struct core_link *l, const char *why)
{
	struct core_link **at = &c->links;
	struct event e = {.kind = EVENT_LINK_DOWN, .queue_full = l->queue_full};
	struct name entity = {{0}};
	char text[240];

	while (*at && *at != l)
		at = &(*at)->next;
	if (*at)
		*at = l->next;
	if (l->up) {
		take_from_bucket(c, l);
		entity = link_peer(l->engine)->entity;
		gateway_recorder_link(gateway_core_recorder(c), &entity, false, l->level, why);
		(void)snprintf(text, sizeof(text), "PNE %s is gone: %s", entity.text, why);
		gateway_core_say(c, LOG_LEVEL_INFO, text);
		if (c->ports.gone)
			c->ports.gone(c->arg, &entity);
	}
	link_free(l->engine);
	free(l);
	if (entity.text[0] && !c->ending)
		gateway_core_give_entity(c, &entity, &e);
}

void gateway_core_sweep_links(struct core *c)
{
	struct core_link *l = c->links;

	while (l) {
		if (l->dying) {
			c->ports.close(c->arg, l->stream);
			gateway_core_forget_link(c, l,
						 l->queue_full
							 ? "it does not take what is sent to it"
							 : "closed by the PN GW");
			l = c->links;
		} else {
			l = l->next;
		}
	}
}

void gateway_core_stream_bytes(struct core *c, struct core_link *l, struct bytes input)
{
	if (!l->dying) {
		if (l->up)
			l->since = c->ports.now(c->arg);
		l->pinged = false;
		(void)link_push(l->engine, input);
	}
	gateway_core_sweep_links(c);
}

void gateway_core_stream_security(struct core *c, struct core_link *l, enum pan_security level)
{
	(void)c;
	l->level = level;
}

void gateway_core_stream_down(struct core *c, struct core_link *l, enum bearer_down why, int error)
{
	const char *text = "closed";

	switch (why) {
	case BEARER_DOWN_PEER:
		text = "the peer closed, or is out of reach";
		break;
	case BEARER_DOWN_QUOTA:
		text = "it does not take what is sent to it";
		l->queue_full = true;
		break;
	case BEARER_DOWN_ERROR:
		text = strerror(-error);
		break;
	case BEARER_DOWN_CLOSED:
		break;
	}
	gateway_core_forget_link(c, l, text);
}

void gateway_core_each_link(struct core *c, core_each_fn *each, void *arg)
{
	for (struct core_link *l = c->links; l; l = l->next) {
		struct name owner = {{0}};

		if (!l->up)
			continue;
		(void)records_get_pne_owner(c->vault, &link_peer(l->engine)->entity, &owner);
		each(arg, &link_peer(l->engine)->entity, l->level,
		     link_peer(l->engine)->flags & HELLO_FLAG_UI, &owner, l->peer);
	}
}

bool gateway_core_link_info(struct core *c, const struct name *entity, struct core_link_info *out)
{
	const struct core_link *l = gateway_core_link_of(c, entity);

	if (!l)
		return false;
	out->level = l->level;
	out->ui = link_peer(l->engine)->flags & HELLO_FLAG_UI;
	memcpy(out->peer, l->peer, sizeof(out->peer));
	return true;
}

uint64_t gateway_core_tick_links(struct core *c, uint64_t now)
{
	uint64_t next = 0;

	for (struct core_link *l = c->links; l; l = l->next) {
		uint64_t due;

		if (!l->up) {
			due = l->since + c->options.hello_ms;
			if (due <= now)
				l->dying = true;
		} else {
			if (c->options.ping_ms == 0)
				continue;
			due = l->since + (l->pinged ? 2 : 1) * (uint64_t)c->options.ping_ms;
			if (due <= now && l->pinged) {
				l->dying = true;
			} else if (due <= now) {
				l->pinged = true;
				(void)link_send_ping(l->engine, now);
				due += c->options.ping_ms;
			}
		}
		if (!l->dying)
			next = earlier(next, due);
	}
	gateway_core_sweep_links(c);
	return next;
}
