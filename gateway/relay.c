#include "gateway/relay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/p1.h"

#define BUCKETS 256U
#define NOBODY  UINT32_MAX

/* ISSUING: that the key is given out is being stored. STORING: what became of it is. */
enum entry_state { ENTRY_FREE, ENTRY_SERVER, ENTRY_ISSUING, ENTRY_RECEIPT, ENTRY_STORING };

struct entry {
	enum entry_state state;
	uint32_t generation; /* of the slot: a token of an earlier use fits no more */
	uint32_t next_id;    /* in the bucket of the message id; of the free list when free */
	struct name entity;
	struct name user;
	struct message_id id;
	struct message_id in_response_to;
	struct message_id response_id;
	uint8_t digest[32]; /* of the request's bytes */
	enum figure figure;
	bool credentials;
	uint32_t key_index;
	uint64_t due;
	uint64_t wall;
	bool relayed_unknown;
	struct relayed
		relayed; /* of the entity, when this was asked for; with its own durable issue */
	struct relayed newest;  /* with what became durable since, or is being stored here */
	struct verdict verdict; /* given once the batch is durable */
	char *answer;           /* ISSUING: what is forwarded once the batch is durable */
	size_t answer_size;
};

struct relay {
	struct relay_limits limits;
	uint32_t free;
	uint32_t buckets[BUCKETS];
	size_t used;
	unsigned slots;
	struct entry entries[];
};

int gateway_relay_new(const struct relay_limits *limits, struct relay **out)
{
	struct relay *r;

	if (limits->capacity == 0 || limits->capacity > 65535)
		return -EINVAL;
	r = calloc(1, sizeof(*r) + limits->capacity * sizeof(r->entries[0]));
	if (!r)
		return -ENOMEM;
	r->limits = *limits;
	r->slots = limits->capacity;
	for (unsigned i = 0; i < BUCKETS; i++)
		r->buckets[i] = NOBODY;
	for (uint32_t i = 0; i < r->slots; i++)
		r->entries[i].next_id = i + 1 < r->slots ? i + 1 : NOBODY;
	*out = r;
	return 0;
}

void gateway_relay_free(struct relay *r)
{
	for (uint32_t i = 0; r && i < r->slots; i++)
		free(r->entries[i].answer);
	free(r);
}

void gateway_relay_set_limits(struct relay *r, const struct relay_limits *limits)
{
	r->limits = *limits;
}

size_t gateway_relay_count(const struct relay *r)
{
	return r->used;
}

static uint64_t token_of(const struct relay *r, const struct entry *e)
{
	return (uint64_t)e->generation << 16 | (uint64_t)(e - r->entries);
}

static struct entry *by_token(struct relay *r, uint64_t token)
{
	uint64_t slot = token & 0xffff;
	struct entry *e;

	if (slot >= r->slots)
		return NULL;
	e = &r->entries[slot];
	return e->state != ENTRY_FREE && e->generation == token >> 16 ? e : NULL;
}

static struct entry *by_id(struct relay *r, const struct message_id *id, const struct name *entity)
{
	for (uint32_t i = r->buckets[id->b[0]]; i != NOBODY; i = r->entries[i].next_id) {
		if (message_id_equal(&r->entries[i].id, id) &&
		    name_equal(&r->entries[i].entity, entity))
			return &r->entries[i];
	}
	return NULL;
}

static unsigned count_of(const struct relay *r, const struct name *entity)
{
	unsigned n = 0;
	size_t seen = 0;

	for (uint32_t i = 0; i < r->slots && seen < r->used; i++) {
		if (r->entries[i].state == ENTRY_FREE)
			continue;
		seen++;
		if (name_equal(&r->entries[i].entity, entity))
			n++;
	}
	return n;
}

static struct entry *take(struct relay *r, const struct message_id *id)
{
	uint32_t slot = r->free;
	struct entry *e;
	uint32_t generation;

	if (slot == NOBODY)
		return NULL;
	e = &r->entries[slot];
	r->free = e->next_id;
	generation = e->generation + 1;
	memset(e, 0, sizeof(*e));
	e->generation = generation;
	e->id = *id;
	e->next_id = r->buckets[id->b[0]];
	r->buckets[id->b[0]] = slot;
	r->used++;
	return e;
}

static void release(struct relay *r, struct entry *e)
{
	uint32_t slot = (uint32_t)(e - r->entries);
	uint32_t *at = &r->buckets[e->id.b[0]];

	while (*at != slot)
		at = &r->entries[*at].next_id;
	*at = e->next_id;
	free(e->answer);
	e->answer = NULL;
	e->state = ENTRY_FREE;
	e->next_id = r->free;
	r->free = slot;
	r->used--;
}

static void answer_receipt(struct actions *out, const struct name *entity,
			   const struct message_id *id, enum status status)
{
	struct action *a = gateway_actions_add(out, ACTION_RECEIPT);

	a->entity = *entity;
	a->receipt.id = *id;
	a->receipt.status = status;
}

static struct verdict verdict_for(const struct entry *e, enum verdict_id id, unsigned step,
				  const char *detail)
{
	struct verdict v = {.id = id, .figure = e->figure, .step = step};

	v.entity = e->entity;
	v.user = e->user;
	v.key_index = id == VERDICT_DONE ? e->key_index : 0;
	(void)snprintf(v.detail, sizeof(v.detail), "%s", detail ? detail : "");
	return v;
}

/* Releases e. */
static void give_verdict(struct relay *r, struct entry *e, struct actions *out,
			 const struct verdict *v)
{
	struct action *a = gateway_actions_add(out, ACTION_VERDICT);

	a->verdict = *v;
	a->in_response_to = e->in_response_to;
	release(r, e);
}

static void end(struct relay *r, struct entry *e, struct actions *out, enum verdict_id id,
		unsigned step, const char *detail)
{
	struct verdict v = verdict_for(e, id, step, detail);

	give_verdict(r, e, out, &v);
}

static unsigned step_of(const struct entry *e, unsigned figure5, unsigned figure6)
{
	return e->figure == FIGURE_6 ? figure6 : figure5;
}

static void add_step(const struct entry *e, struct actions *out, unsigned step)
{
	struct action *a = gateway_actions_add(out, ACTION_STEP);

	a->figure = e->figure;
	a->step = step;
	a->user = e->user;
	a->entity = e->entity;
	a->in_response_to = e->in_response_to;
}

static void post(struct relay *r, const struct relay_link *link, struct entry *e, struct bytes xml,
		 struct actions *out)
{
	struct action *a;
	char *copy = malloc(xml.size + 1);

	if (!copy) {
		answer_receipt(out, &e->entity, &e->id, STATUS_FAILED);
		end(r, e, out, VERDICT_GATEWAY_MEMORY, step_of(e, 8, 9), NULL);
		return;
	}
	memcpy(copy, xml.data, xml.size);
	copy[xml.size] = '\0';
	e->state = ENTRY_SERVER;
	e->due = 0;
	a = gateway_actions_add(out, ACTION_POST);
	a->token = token_of(r, e);
	a->xml = copy;
	a->size = xml.size;
	a->deadline_ms = link->wan_up ? r->limits.request_ms : r->limits.wan_wait_ms;
	add_step(e, out, step_of(e, 8, 9));
}

/* The status of the receipt for a request that is not to be relayed, STATUS_OK for one that is. */
static enum status check(const struct relay *r, const struct relay_link *link,
			 const struct message *m)
{
	const struct m_eukey_assignment_request *q = &m->eukey_assignment_request;

	if (m->kind != MESSAGE_eukey_assignment_request)
		return STATUS_NOT_EXPECTED;
	if (!bytes_equal(m->envelope.target, name_bytes(link->server)))
		return STATUS_WRONG_TARGET;
	if (!bytes_equal(m->envelope.source, name_bytes(link->entity)) ||
	    !bytes_equal(q->entity_id, name_bytes(link->entity)))
		return STATUS_MALFORMED;
	if (q->has_key_set || q->mode != ENTITY_PNE)
		return STATUS_NOT_EXPECTED;
	if (q->has_security_material && link->level < r->limits.secure_level)
		return STATUS_INSECURE_PAN;
	return STATUS_OK;
}

void gateway_relay_request(struct relay *r, const struct relay_link *link, const struct message *m,
			   struct bytes xml, struct actions *out)
{
	const struct m_eukey_assignment_request *q = &m->eukey_assignment_request;
	struct message_id id = message_id_of(m);
	enum status status = check(r, link, m);
	uint8_t digest[32];
	struct entry *e;

	if (status == STATUS_OK && p1_sha256(xml, digest) != 0)
		status = STATUS_FAILED;
	if (status != STATUS_OK) {
		answer_receipt(out, link->entity, &id, status);
		return;
	}
	e = by_id(r, &id, link->entity);
	if (e) {
		if (!bytes_equal(bytes_of(digest, sizeof(digest)),
				 bytes_of(e->digest, sizeof(e->digest))))
			answer_receipt(out, link->entity, &id, STATUS_ID_REUSED);
		else if (e->state == ENTRY_RECEIPT)
			post(r, link, e, xml, out);
		return;
	}
	if (count_of(r, link->entity) >= r->limits.quota) {
		answer_receipt(out, link->entity, &id, STATUS_BUSY);
		return;
	}
	e = take(r, &id);
	if (!e) {
		answer_receipt(out, link->entity, &id, STATUS_BUSY);
		return;
	}
	e->entity = *link->entity;
	(void)name_set(&e->user, q->user_id);
	e->in_response_to = message_in_response_to(m);
	memcpy(e->digest, digest, sizeof(digest));
	e->wall = link->wall;
	e->relayed = link->relayed;
	e->relayed_unknown = link->relayed_unknown;
	e->newest = link->relayed;
	e->figure = q->has_security_material ? FIGURE_6 : FIGURE_5;
	e->credentials = q->has_security_material || q->has_digest;
	post(r, link, e, xml, out);
}

/* Takes xml over. */
static void forward(const struct entry *e, char *xml, size_t size, struct actions *out)
{
	struct action *a = gateway_actions_add(out, ACTION_SEND);

	a->xml = xml;
	a->size = size;
	a->entity = e->entity;
}

/* The key is on record. */
static void forward_key(struct relay *r, struct entry *e, uint64_t now, struct actions *out)
{
	forward(e, e->answer, e->answer_size, out);
	e->answer = NULL;
	e->state = ENTRY_RECEIPT;
	e->due = now + r->limits.receipt_ms;
	add_step(e, out, step_of(e, 12, 13));
}

static void learn(struct relayed *known, const struct relayed *more)
{
	if (more->issued > known->issued) {
		known->issued = more->issued;
		known->user = more->user;
	}
	if (more->installed > known->installed)
		known->installed = more->installed;
}

/*
 * A key is in the ledger once, however often its message was relayed again. The receipt's proof can
 * be checked by nobody but the server.
 */
static void put_facts(struct relay *r, struct entry *e, enum delivery_state state,
		      struct vault_batch *b)
{
	struct relayed known = e->newest, own = {.issued = e->key_index};

	own.user = e->user;
	/* Those are queued before this one. */
	for (uint32_t i = 0; i < r->slots; i++) {
		const struct entry *other = &r->entries[i];

		if ((other->state == ENTRY_STORING || other->state == ENTRY_ISSUING) &&
		    name_equal(&other->entity, &e->entity))
			learn(&known, &other->newest);
	}
	if (e->key_index > e->relayed.issued)
		records_fact(b, LEDGER_ISSUED, e->figure, &e->entity, &e->user, e->key_index,
			     e->wall);
	if (state == DELIVERY_INSTALLED) {
		own.installed = e->key_index;
		if (e->key_index > e->relayed.installed)
			records_fact(b, known.installed ? LEDGER_RENEWED : LEDGER_INSTALLED,
				     e->figure, &e->entity, &e->user, e->key_index, e->wall);
	}
	/* The PNE may hold any that came before: what is written over is not to say it holds none.
	 */
	if (e->relayed_unknown && own.installed == 0)
		own.installed = e->key_index - 1;
	learn(&known, &own);
	e->newest = known;
	records_put_relayed(b, &e->entity, &known);
}

static void store(struct relay *r, struct entry *e, enum entry_state state, struct vault_batch *b,
		  struct actions *out)
{
	struct action *a = gateway_actions_add(out, ACTION_STORE);

	e->state = state;
	e->due = 0;
	a->token = token_of(r, e);
	a->entity = e->entity;
	a->batch = b;
}

/*
 * Forwards a key once it is on record that it is given out: whatever becomes of this process, no
 * PNE holds a key that nothing is known of here.
 */
static void issue(struct relay *r, struct entry *e, uint64_t now, struct bytes xml,
		  struct actions *out)
{
	struct vault_batch *b;

	e->answer = malloc(xml.size + 1);
	if (e->answer) {
		memcpy(e->answer, xml.data, xml.size);
		e->answer[xml.size] = '\0';
		e->answer_size = xml.size;
	}
	if (e->answer && e->key_index <= e->relayed.issued) {
		forward_key(r, e, now, out);
		return;
	}
	b = e->answer ? vault_batch_new() : NULL;
	if (!b) {
		answer_receipt(out, &e->entity, &e->id, STATUS_FAILED);
		end(r, e, out, VERDICT_GATEWAY_MEMORY, step_of(e, 12, 13), NULL);
		return;
	}
	put_facts(r, e, DELIVERY_ISSUED, b);
	store(r, e, ENTRY_ISSUING, b, out);
}

void gateway_relay_answered(struct relay *r, uint64_t now, uint64_t token, const struct message *m,
			    struct bytes xml, struct actions *out)
{
	struct entry *e = by_token(r, token);
	const struct m_eukey_assignment_response *a;
	struct message_id answered;
	char *copy;
	bool again;

	if (!e || e->state != ENTRY_SERVER)
		return;
	answered = message_in_response_to(m);
	if (m->kind != MESSAGE_eukey_assignment_response || !message_id_equal(&answered, &e->id) ||
	    !bytes_equal(m->envelope.target, name_bytes(&e->entity))) {
		answer_receipt(out, &e->entity, &e->id, STATUS_FAILED);
		end(r, e, out, VERDICT_SERVER_MALFORMED, step_of(e, 11, 12),
		    "not the answer to the request");
		return;
	}
	a = &m->eukey_assignment_response;
	if (a->status == STATUS_OK && a->has_key) {
		e->response_id = message_id_of(m);
		e->key_index = a->key.key_index;
		issue(r, e, now, xml, out);
		return;
	}
	copy = malloc(xml.size + 1);
	/* Without memory nothing is forwarded: the PNE asks again and gets the same answer. */
	if (copy) {
		memcpy(copy, xml.data, xml.size);
		copy[xml.size] = '\0';
		forward(e, copy, xml.size, out);
	}
	again = a->status == STATUS_UNAUTHORIZED && a->has_challenge &&
		(!e->credentials || a->challenge.stale);
	if (again)
		release(r, e);
	else if (a->status == STATUS_OK)
		end(r, e, out, VERDICT_SERVER_MALFORMED, step_of(e, 11, 12), "no key");
	else if (a->status == STATUS_UNAUTHORIZED)
		end(r, e, out, VERDICT_WRONG_PASSWORD, step_of(e, 9, 10), NULL);
	else
		end(r, e, out, verdict_of_server_status(a->status), step_of(e, 11, 12),
		    status_wire_name(a->status));
}

/* What the PNE is told: whether it makes sense to ask again. */
static enum status failure_status(enum wan_failure failure)
{
	switch (failure) {
	case WAN_FAILURE_DOWN:
	case WAN_FAILURE_LOST:
		return STATUS_UNAVAILABLE;
	case WAN_FAILURE_SILENT:
		return STATUS_TIMED_OUT;
	case WAN_FAILURE_ANSWER:
		return STATUS_FAILED;
	}
	return STATUS_FAILED;
}

void gateway_relay_wan_failed(struct relay *r, uint64_t token, const struct wan_end *how,
			      struct actions *out)
{
	struct entry *e = by_token(r, token);
	const char *why = how->why;

	if (!e || e->state != ENTRY_SERVER)
		return;
	if (!why && how->failure == WAN_FAILURE_ANSWER)
		why = "the answer is not a message";
	answer_receipt(out, &e->entity, &e->id, failure_status(how->failure));
	end(r, e, out, gateway_wan_verdict(how), step_of(e, 8, 9), why);
}

void gateway_relay_drop_answer(struct relay *r, uint64_t token, struct actions *out)
{
	struct entry *e = by_token(r, token);

	if (!e || e->state != ENTRY_SERVER)
		return;
	answer_receipt(out, &e->entity, &e->id, STATUS_NOT_EXPECTED);
	end(r, e, out, VERDICT_REVOKED, step_of(e, 11, 12), NULL);
}

/* Writes what is known of the delivery; the verdict follows when that is durable. */
static void record(struct relay *r, struct entry *e, enum delivery_state state,
		   const struct receipt *receipt, const struct verdict *v, struct actions *out)
{
	struct vault_batch *b = vault_batch_new();
	struct delivery d = {.key_index = e->key_index, .state = state};

	if (!b) {
		end(r, e, out, VERDICT_GATEWAY_MEMORY, v->step, NULL);
		return;
	}
	d.user = e->user;
	d.entity = e->entity;
	d.message_id = e->response_id;
	if (receipt && receipt->has_proof) {
		d.has_proof = true;
		memcpy(d.proof, receipt->proof, sizeof(d.proof));
	}
	records_put_delivery(b, &d);
	if (state == DELIVERY_INSTALLED)
		records_put_pne_owner(b, &e->entity, &e->user);
	put_facts(r, e, state, b);
	e->verdict = *v;
	store(r, e, ENTRY_STORING, b, out);
}

/*
 * One that is being stored already ends as what it was: its record is erased by what follows. A key
 * that was forwarded may be held: its report is owed to the server. One that was not stays here.
 */
bool gateway_relay_revoke(struct relay *r, const struct name *entity, const struct name *user,
			  struct actions *out)
{
	size_t seen = 0;

	for (uint32_t i = 0; i < r->slots && seen < r->used; i++) {
		struct entry *e = &r->entries[i];
		struct verdict v;

		if (e->state == ENTRY_FREE)
			continue;
		seen++;
		if (e->state == ENTRY_STORING || (entity && !name_equal(&e->entity, entity)) ||
		    (user && !name_equal(&e->user, user)))
			continue;
		answer_receipt(out, &e->entity, &e->id, STATUS_NOT_EXPECTED);
		v = verdict_for(e, VERDICT_REVOKED, step_of(e, 11, 12), NULL);
		if (e->state == ENTRY_RECEIPT) {
			record(r, e, DELIVERY_ISSUED, NULL, &v, out);
		} else {
			give_verdict(r, e, out, &v);
		}
		return true;
	}
	return false;
}

bool gateway_relay_receipt(struct relay *r, const struct relay_link *link,
			   const struct receipt *receipt, struct actions *out)
{
	/* About no message at all: what was forwarded last could not be read. */
	const bool unreadable =
		receipt->status == STATUS_MALFORMED && message_id_is_none(&receipt->id);
	struct entry *e = NULL;
	struct verdict v;
	size_t seen = 0;

	for (uint32_t i = 0; i < r->slots && seen < r->used; i++) {
		if (r->entries[i].state == ENTRY_FREE)
			continue;
		seen++;
		if (r->entries[i].state == ENTRY_RECEIPT &&
		    (message_id_equal(&r->entries[i].response_id, &receipt->id) || unreadable) &&
		    name_equal(&r->entries[i].entity, link->entity)) {
			e = &r->entries[i];
			break;
		}
	}
	if (!e)
		return false;
	if (receipt->status == STATUS_OK && !receipt->has_proof)
		v = verdict_for(e, VERDICT_PNE_UNPROVEN, step_of(e, 13, 14), "it has no proof");
	else if (receipt->status == STATUS_OK)
		v = verdict_for(e, VERDICT_DONE, step_of(e, 13, 14), NULL);
	else
		v = verdict_for(e, verdict_of_pne_status(receipt->status), step_of(e, 13, 14),
				status_wire_name(receipt->status));
	record(r, e, v.id == VERDICT_DONE ? DELIVERY_INSTALLED : DELIVERY_REFUSED, receipt, &v,
	       out);
	return true;
}

/* Whatever became of keys that came before the one e's PNE holds now: no receipt tells any more. */
static void end_older(struct relay *r, const struct entry *e)
{
	for (uint32_t i = 0; i < r->slots; i++) {
		struct entry *other = &r->entries[i];

		if (other->state == ENTRY_RECEIPT && other->key_index < e->key_index &&
		    name_equal(&other->entity, &e->entity))
			release(r, other);
	}
}

void gateway_relay_stored(struct relay *r, uint64_t now, uint64_t token, int result,
			  struct actions *out)
{
	struct entry *e = by_token(r, token);
	struct verdict v;

	if (!e || (e->state != ENTRY_STORING && e->state != ENTRY_ISSUING))
		return;
	for (uint32_t i = 0; result == 0 && i < r->slots; i++) {
		struct entry *other = &r->entries[i];

		if (other->state != ENTRY_FREE && name_equal(&other->entity, &e->entity))
			learn(&other->newest, &e->newest);
	}
	if (e->state == ENTRY_ISSUING && result == 0) {
		e->relayed.issued = e->key_index;
		forward_key(r, e, now, out);
		return;
	}
	v = e->verdict;
	if (e->state == ENTRY_ISSUING) {
		answer_receipt(out, &e->entity, &e->id,
			       result == -ENOMEM ? STATUS_FAILED : STATUS_STORAGE_FAILED);
		v.step = step_of(e, 12, 13);
	}
	if (result != 0)
		v = verdict_for(e, gateway_storage_verdict(result), v.step, strerror(-result));
	else if (v.id == VERDICT_DONE)
		end_older(r, e);
	give_verdict(r, e, out, &v);
}

bool gateway_relay_tick(struct relay *r, uint64_t now, uint64_t *next, struct actions *out)
{
	size_t seen = 0;

	*next = 0;
	for (uint32_t i = 0; i < r->slots && seen < r->used; i++) {
		struct entry *e = &r->entries[i];
		struct verdict v;

		if (e->state == ENTRY_FREE)
			continue;
		seen++;
		if (e->due == 0)
			continue;
		if (e->due > now) {
			if (*next == 0 || e->due < *next)
				*next = e->due;
			continue;
		}
		v = verdict_for(e, VERDICT_PNE_SILENT, step_of(e, 13, 14), "no receipt");
		record(r, e, DELIVERY_ISSUED, NULL, &v, out);
		return true;
	}
	return false;
}
