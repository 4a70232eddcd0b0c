#include "pne/core.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/p1.h"
#include "storage/record.h"

/* Messages that wait while a figure derives or stores; a peer that sends more will repeat them. */
#define INBOX_MAX 16
#define LINE_SIZE 1024

enum { TAG_USER = 1, TAG_PH = 2, TAG_SALT = 3, TAG_ITERATIONS = 4 }; /* VAULT_USER */
enum { TAG_KEY_USER = 1, TAG_KEY = 2, TAG_KEY_INDEX = 3 };           /* VAULT_EUKEY */
enum { TAG_TEMPORARY_KEY = 1 };                                      /* VAULT_TEMPORARY_KEY */
enum { TAG_DIGEST = 1, TAG_RECEIPT = 2, TAG_MESSAGE = 3 };           /* VAULT_ANSWER */
enum { TAG_TRIGGER = 1, TAG_REQUEST = 2, TAG_RAND = 3, TAG_XML = 4, TAG_REQUEST_USER = 5 };
static const char pending_item[] = "figure 6"; /* VAULT_PROCEDURE */

struct letter {
	bool is_receipt;
	struct receipt receipt;
	uint8_t *xml;
	size_t size;
};

struct pne_core {
	struct pne_procedures procedures;
	struct vault *vault;
	struct pne_ports ports;
	void *arg;
	bool running;
	struct letter inbox[INBOX_MAX];
	size_t inbox_count;
};

static struct vault_id record_of(const struct name *entity, enum vault_kind kind, struct bytes item)
{
	return (struct vault_id){.kind = kind, .owner = name_bytes(entity), .item = item};
}

static void say(struct pne_core *c, const char *level, const char *text)
{
	char line[LINE_SIZE];

	(void)snprintf(line, sizeof(line), "PNE %s: %s: %s", c->procedures.entity.text, level,
		       text);
	c->ports.line(c->arg, line);
}

/* Reading the vault. Each returns 0, also when the record is absent, or as pne_core_new(). */

static int content_of(const struct pne_core *c, enum vault_kind kind, struct bytes item,
		      struct vault_content *content)
{
	struct vault_id id = record_of(&c->procedures.entity, kind, item);

	return vault_get(c->vault, &id, content);
}

static int outcome_of(int r)
{
	if (r == VAULT_ABSENT)
		return 0;
	return r == -ENOENT || r == -EBADMSG || r == -EINVAL ? VAULT_DAMAGED : r;
}

static int load_temporary_key(struct pne_core *c)
{
	struct vault_content content;
	int r = content_of(c, VAULT_TEMPORARY_KEY, BYTES_NONE, &content);

	if (r != 0)
		return outcome_of(r);
	r = record_get_secret(bytes_of(content.data, content.size), TAG_TEMPORARY_KEY,
			      &c->procedures.temporary_key);
	vault_content_free(&content);
	return outcome_of(r);
}

static int load_user(struct pne_core *c)
{
	struct pne_user *u = &c->procedures.user;
	struct vault_content content;
	struct bytes all;
	struct bytes salt = BYTES_NONE;
	int r = content_of(c, VAULT_USER, BYTES_NONE, &content);

	if (r != 0)
		return outcome_of(r);
	all = bytes_of(content.data, content.size);
	r = record_get_name(all, TAG_USER, &u->id);
	if (r == 0)
		r = record_get(all, TAG_SALT, &salt);
	if (r == 0 && salt.size != SALT_SIZE)
		r = -EBADMSG;
	if (r == 0) {
		memcpy(u->salt, salt.data, SALT_SIZE);
		r = record_get_u32(all, TAG_ITERATIONS, &u->iterations);
	}
	if (r == 0)
		r = record_get_secret(all, TAG_PH, &u->ph);
	vault_content_free(&content);
	return outcome_of(r);
}

static int load_key(struct pne_core *c)
{
	struct pne_key *k = &c->procedures.key;
	struct vault_content content;
	struct bytes all;
	int r = content_of(c, VAULT_EUKEY, BYTES_NONE, &content);

	if (r != 0)
		return outcome_of(r);
	all = bytes_of(content.data, content.size);
	r = record_get_u32(all, TAG_KEY_INDEX, &k->index);
	if (r == 0) {
		r = record_get_secret(all, TAG_KEY, &k->key);
		if (r == 0)
			r = record_get_name(all, TAG_KEY_USER, &k->user);
		else if (r == -ENOENT)
			r = 0;
	}
	vault_content_free(&content);
	return outcome_of(r);
}

static int load_pending(struct pne_core *c)
{
	struct pne_figure6 *f = &c->procedures.figure6;
	struct vault_content content;
	struct bytes all;
	struct bytes trigger = BYTES_NONE;
	struct bytes request = BYTES_NONE;
	struct bytes rand = BYTES_NONE;
	struct bytes xml = BYTES_NONE;
	int r = content_of(c, VAULT_PROCEDURE, bytes_text(pending_item), &content);

	if (r != 0)
		return outcome_of(r);
	all = bytes_of(content.data, content.size);
	r = record_get(all, TAG_TRIGGER, &trigger);
	if (r == 0)
		r = record_get(all, TAG_REQUEST, &request);
	if (r == 0)
		r = record_get(all, TAG_RAND, &rand);
	if (r == 0)
		r = record_get(all, TAG_XML, &xml);
	if (r == 0)
		r = record_get_name(all, TAG_REQUEST_USER, &f->request_user);
	if (r == 0 && (trigger.size != MESSAGE_ID_SIZE || request.size != MESSAGE_ID_SIZE ||
		       rand.size != RAND_SIZE || xml.size == 0))
		r = -EBADMSG;
	if (r == 0) {
		f->exchange.xml = malloc(xml.size);
		if (!f->exchange.xml)
			r = -ENOMEM;
	}
	if (r == 0) {
		memcpy(f->exchange.xml, xml.data, xml.size);
		f->exchange.size = xml.size;
		f->exchange.deadline_ms = c->ports.now(c->arg) + c->procedures.deadline_ms;
		memcpy(f->exchange.id.b, request.data, MESSAGE_ID_SIZE);
		memcpy(f->trigger.b, trigger.data, MESSAGE_ID_SIZE);
		memcpy(f->rand_pne, rand.data, RAND_SIZE);
		f->state = PNE6_ANSWER;
		c->ports.timer(c->arg, FIGURE_6, c->procedures.deadline_ms);
	}
	vault_content_free(&content);
	return outcome_of(r);
}

/*
 * What can be had again is left out where it is damaged. The EUKey's record cannot: it also has the
 * count below which keys are refused.
 */
static int load_all(struct pne_core *c)
{
	int r = load_key(c);

	if (r != 0)
		return r;
	r = load_temporary_key(c);
	if (r == VAULT_DAMAGED) {
		say(c, "warning", "the Temporary Key is damaged: Figure 6 waits for a new one");
		r = 0;
	}
	if (r == 0)
		r = load_user(c);
	if (r == VAULT_DAMAGED) {
		say(c, "warning", "the user is damaged and forgotten: run Figure 5 again");
		pne_user_clear(&c->procedures.user);
		r = 0;
	}
	if (r == 0)
		r = load_pending(c);
	if (r == VAULT_DAMAGED) {
		say(c, "warning", "a Figure 6 that was under way is damaged: run it again");
		r = 0;
	}
	return r;
}

int pne_core_new(const struct pne_core_options *options, struct vault *v,
		 const struct pne_ports *ports, void *arg, struct pne_core **out)
{
	struct pne_core *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->vault = v;
	c->ports = *ports;
	c->arg = arg;
	c->procedures.entity = options->entity;
	c->procedures.iterations_floor =
		options->iterations_floor ? options->iterations_floor : P1_ITERATIONS_FLOOR;
	c->procedures.deadline_ms = options->deadline_ms ? options->deadline_ms : PNE_DEADLINE_MS;
	r = load_all(c);
	if (r != 0) {
		pne_core_free(c);
		return r;
	}
	*out = c;
	return 0;
}

static void inbox_clear(struct pne_core *c)
{
	for (size_t i = 0; i < c->inbox_count; i++)
		free(c->inbox[i].xml);
	c->inbox_count = 0;
}

void pne_core_free(struct pne_core *c)
{
	if (!c)
		return;
	inbox_clear(c);
	pne_procedures_clear(&c->procedures);
	free(c);
}

/* Writing the vault. */

static void put(struct vault_batch *b, const struct name *entity, enum vault_kind kind,
		struct bytes item, struct record_writer *w)
{
	struct vault_id id = record_of(entity, kind, item);

	vault_batch_put(b, &id, record_bytes(w));
	record_end(w);
}

static void erase(struct vault_batch *b, const struct name *entity, enum vault_kind kind,
		  struct bytes item)
{
	struct vault_id id = record_of(entity, kind, item);

	vault_batch_erase(b, &id);
}

static void put_answer(struct vault_batch *b, const struct name *entity, const struct pne_answer *a)
{
	struct record_writer w;
	uint8_t receipt[RECEIPT_SIZE];

	record_begin(&w);
	record_add(&w, TAG_DIGEST, bytes_of(a->digest, sizeof(a->digest)));
	if (a->xml) {
		record_add(&w, TAG_MESSAGE, bytes_of(a->xml, a->size));
	} else {
		receipt_write(&a->receipt, receipt);
		record_add(&w, TAG_RECEIPT, bytes_of(receipt, sizeof(receipt)));
	}
	put(b, entity, VAULT_ANSWER, bytes_of(a->to.b, MESSAGE_ID_SIZE), &w);
	vault_batch_trim(b, VAULT_ANSWER, name_bytes(entity), PNE_ANSWERS_KEPT);
}

static void put_key(struct vault_batch *b, const struct name *entity, const struct pne_key *k)
{
	struct record_writer w;

	record_begin(&w);
	record_add_u32(&w, TAG_KEY_INDEX, k->index);
	if (k->key) {
		record_add(&w, TAG_KEY_USER, name_bytes(&k->user));
		record_add_secret(&w, TAG_KEY, k->key);
	}
	put(b, entity, VAULT_EUKEY, BYTES_NONE, &w);
}

static void put_user(struct vault_batch *b, const struct name *entity, const struct pne_user *u)
{
	struct record_writer w;

	record_begin(&w);
	record_add(&w, TAG_USER, name_bytes(&u->id));
	record_add_secret(&w, TAG_PH, u->ph);
	record_add(&w, TAG_SALT, bytes_of(u->salt, SALT_SIZE));
	record_add_u32(&w, TAG_ITERATIONS, u->iterations);
	put(b, entity, VAULT_USER, BYTES_NONE, &w);
}

static void put_pending(struct vault_batch *b, const struct name *entity,
			const struct pne_figure6 *f)
{
	struct record_writer w;

	record_begin(&w);
	record_add(&w, TAG_TRIGGER, bytes_of(f->trigger.b, MESSAGE_ID_SIZE));
	record_add(&w, TAG_REQUEST, bytes_of(f->exchange.id.b, MESSAGE_ID_SIZE));
	record_add(&w, TAG_RAND, bytes_of(f->rand_pne, RAND_SIZE));
	record_add(&w, TAG_XML, bytes_of(f->exchange.xml, f->exchange.size));
	record_add(&w, TAG_REQUEST_USER, name_bytes(&f->request_user));
	put(b, entity, VAULT_PROCEDURE, bytes_text(pending_item), &w);
}

void pne_core_burn_in(struct vault_batch *b, const struct name *entity,
		      const struct secret *temporary_key)
{
	struct record_writer w;

	record_begin(&w);
	record_add_secret(&w, TAG_TEMPORARY_KEY, temporary_key);
	put(b, entity, VAULT_TEMPORARY_KEY, BYTES_NONE, &w);
}

void pne_core_reset(const struct pne_core *c, struct vault_batch *b)
{
	const struct name *entity = &c->procedures.entity;
	struct pne_key forgotten = {.index = c->procedures.key.index};

	erase(b, entity, VAULT_USER, BYTES_NONE);
	erase(b, entity, VAULT_PROCEDURE, bytes_text(pending_item));
	if (forgotten.index > 0)
		put_key(b, entity, &forgotten);
}

/* Carrying out. */

static void run(struct pne_core *c, struct pne_event *e);

static void stored(void *arg, int result)
{
	struct pne_core *c = arg;
	struct pne_event e = {.kind = PNE_EVENT_STORED, .result = result};

	run(c, &e);
}

static void forgotten(void *arg, int result)
{
	struct pne_core *c = arg;

	if (result < 0 && result != -ECANCELED)
		say(c, "warning", "a request that is over could not be erased from the vault");
}

static int submit_effect(struct pne_core *c)
{
	const struct pne_effect *f = &c->procedures.effect;
	const struct name *entity = &c->procedures.entity;
	struct vault_batch *b = vault_batch_new();

	if (!b)
		return -ENOMEM;
	if (f->erase_user)
		erase(b, entity, VAULT_USER, BYTES_NONE);
	if (f->put_user)
		put_user(b, entity, &f->user);
	if (f->put_key)
		put_key(b, entity, &f->key);
	if (f->put_pending)
		put_pending(b, entity, &c->procedures.figure6);
	if (f->erase_pending)
		erase(b, entity, VAULT_PROCEDURE, bytes_text(pending_item));
	if (f->put_answer)
		put_answer(b, entity, &f->answer);
	return c->ports.submit(c->arg, b, stored, c);
}

static void not_remembered(void *arg, int result)
{
	struct pne_core *c = arg;

	if (result < 0 && result != -ECANCELED)
		say(c, "warning", "a refusal could not be stored in the vault");
}

static void submit_refusal(struct pne_core *c, const struct pne_action *a)
{
	struct vault_batch *b = vault_batch_new();
	struct pne_answer answer = {.to = a->receipt.id, .receipt = a->receipt};
	int r = -ENOMEM;

	memcpy(answer.digest, a->digest, sizeof(answer.digest));
	if (b) {
		put_answer(b, &c->procedures.entity, &answer);
		r = c->ports.submit(c->arg, b, not_remembered, c);
	}
	if (r < 0)
		not_remembered(c, r);
}

static void submit_forget(struct pne_core *c)
{
	struct vault_batch *b = vault_batch_new();
	int r = -ENOMEM;

	if (b) {
		erase(b, &c->procedures.entity, VAULT_PROCEDURE, bytes_text(pending_item));
		r = c->ports.submit(c->arg, b, forgotten, c);
	}
	if (r < 0)
		forgotten(c, r);
}

static void show_step(struct pne_core *c, const struct pne_action *a)
{
	char step[256];
	char line[LINE_SIZE];
	const char *entity = c->procedures.entity.text;

	(void)snprintf(line, sizeof(line), "PNE %s: %s [user %s, entity %s]", entity,
		       step_describe(a->figure, a->step, step, sizeof(step)), a->user.text, entity);
	c->ports.line(c->arg, line);
}

static void show_verdict(struct pne_core *c, const struct verdict *v)
{
	char text[VERDICT_TEXT_SIZE];

	say(c, "verdict", verdict_describe(v, text, sizeof(text)));
	c->ports.verdict(c->arg, v);
}

/* Carries out one action; a work that cannot start comes back as an event in *failed. */
static void carry_out(struct pne_core *c, const struct pne_action *a, struct pne_event *failed)
{
	int r;

	switch (a->kind) {
	case PNE_DO_SEND:
		r = c->ports.send_message(c->arg, bytes_of(a->xml, a->size));
		if (r < 0 && r != -ENOTCONN)
			say(c, "warning", strerror(-r));
		return;
	case PNE_DO_REFUSE:
		submit_refusal(c, a);
		r = c->ports.send_receipt(c->arg, &a->receipt);
		if (r < 0 && r != -ENOTCONN)
			say(c, "warning", strerror(-r));
		return;
	case PNE_DO_RECEIPT:
		r = c->ports.send_receipt(c->arg, &a->receipt);
		if (r < 0 && r != -ENOTCONN)
			say(c, "warning", strerror(-r));
		return;
	case PNE_DO_DERIVE:
		r = c->ports.derive(c->arg, a->password, a->salt, a->iterations);
		if (r < 0)
			*failed = (struct pne_event){.kind = PNE_EVENT_DERIVED, .result = r};
		return;
	case PNE_DO_STORE:
		r = submit_effect(c);
		if (r < 0)
			*failed = (struct pne_event){.kind = PNE_EVENT_STORED, .result = r};
		return;
	case PNE_DO_FORGET:
		submit_forget(c);
		return;
	case PNE_DO_TIMER:
		c->ports.timer(c->arg, a->figure, a->ms);
		return;
	case PNE_DO_STEP:
		show_step(c, a);
		return;
	case PNE_DO_VERDICT:
		show_verdict(c, &a->verdict);
		return;
	case PNE_DO_INFO:
		say(c, "info", a->text);
		return;
	}
}

static void run_once(struct pne_core *c, struct pne_event *e)
{
	struct pne_actions *actions = calloc(1, sizeof(*actions));
	struct pne_event failed = {.kind = PNE_EVENTS};

	if (!actions) {
		say(c, "error", "out of memory: an event was lost");
		return;
	}
	e->now_ms = c->ports.now(c->arg);
	pne_procedures_run(&c->procedures, e, actions);
	for (size_t i = 0; i < actions->count; i++)
		carry_out(c, &actions->at[i], &failed);
	pne_actions_clear(actions);
	free(actions);
	if (failed.kind != PNE_EVENTS)
		run_once(c, &failed);
}

static void open_letter(struct pne_core *c, const struct letter *l);

/* Takes from the inbox what may be taken. */
static void drain(struct pne_core *c)
{
	while (c->inbox_count > 0 && !pne_busy(&c->procedures)) {
		struct letter first = c->inbox[0];

		c->inbox_count--;
		memmove(c->inbox, c->inbox + 1, c->inbox_count * sizeof(c->inbox[0]));
		open_letter(c, &first);
		free(first.xml);
	}
}

static void run(struct pne_core *c, struct pne_event *e)
{
	bool nested = c->running;

	c->running = true;
	run_once(c, e);
	if (nested)
		return;
	drain(c);
	c->running = false;
}

/* What was answered before is answered again, the same message only. True when it was. */
static bool answered_before(struct pne_core *c, const struct message_id *id,
			    const uint8_t digest[32])
{
	struct vault_content content;
	struct bytes all;
	struct bytes field;
	struct receipt receipt;
	int r = content_of(c, VAULT_ANSWER, bytes_of(id->b, MESSAGE_ID_SIZE), &content);

	if (r == VAULT_ABSENT)
		return false;
	if (r != 0) {
		say(c, "error", "the record of an answered message cannot be read");
		return true;
	}
	all = bytes_of(content.data, content.size);
	if (record_get(all, TAG_DIGEST, &field) != 0 || !bytes_equal(field, bytes_of(digest, 32))) {
		receipt = (struct receipt){.id = *id, .status = STATUS_ID_REUSED};
		(void)c->ports.send_receipt(c->arg, &receipt);
		say(c, "warning", "a message id was used again for another message");
	} else if (record_get(all, TAG_MESSAGE, &field) == 0) {
		(void)c->ports.send_message(c->arg, field);
		say(c, "info", "a repeated message is answered as before");
	} else if (record_get(all, TAG_RECEIPT, &field) == 0 &&
		   receipt_read(field, &receipt) == 0) {
		(void)c->ports.send_receipt(c->arg, &receipt);
		say(c, "info", "a repeated message is answered as before");
	}
	vault_content_free(&content);
	return true;
}

static enum pne_event_kind event_of(enum message_kind kind)
{
	switch (kind) {
	case MESSAGE_id_password_installation_request:
		return PNE_EVENT_INSTALLATION;
	case MESSAGE_eukey_assignment_trigger:
		return PNE_EVENT_TRIGGER;
	case MESSAGE_eukey_assignment_response:
		return PNE_EVENT_RESPONSE;
	case MESSAGE_eukey_assignment_notification:
		return PNE_EVENT_NOTIFICATION;
	case MESSAGE_pne_reset_request:
		return PNE_EVENT_RESET;
	case MESSAGE_id_pwd_registration_request:
	case MESSAGE_id_pwd_registration_response:
	case MESSAGE_subscription_registration_request:
	case MESSAGE_subscription_registration_response:
	case MESSAGE_id_password_installation_response:
	case MESSAGE_eukey_assignment_request:
	case MESSAGE_eukey_delivery_report:
	case MESSAGE_eukey_delivery_report_response:
	case MESSAGE_gateway_state_report:
	case MESSAGE_gateway_state_response:
	case MESSAGE_pne_reset_response:
	case MESSAGE_KINDS:
		return PNE_EVENTS;
	}
	return PNE_EVENTS;
}

static void refuse(struct pne_core *c, const struct message_id *id, enum status status)
{
	struct receipt r = {.id = *id, .status = status};

	(void)c->ports.send_receipt(c->arg, &r);
	say(c, "warning", status_meaning(status));
}

static void open_message(struct pne_core *c, const struct letter *l)
{
	/* What cannot be read has no id that could be named. */
	static const struct receipt unreadable = {.status = STATUS_MALFORMED};
	struct bytes xml = bytes_of(l->xml, l->size);
	struct message *m = NULL;
	struct malformation why;
	struct pne_event e = {.kind = PNE_EVENTS};
	struct message_id id;
	char text[256];
	int r = message_decode(xml, &m, &why);

	if (r == MESSAGE_MALFORMED) {
		say(c, "warning", malformation_describe(&why, text, sizeof(text)));
		(void)c->ports.send_receipt(c->arg, &unreadable);
		return;
	}
	if (r == 0)
		r = p1_sha256(xml, e.digest);
	if (r < 0) {
		say(c, "error", strerror(-r));
		message_free(m);
		return;
	}
	id = message_id_of(m);
	e.kind = event_of(m->kind);
	e.message = m;
	if (e.kind == PNE_EVENTS)
		refuse(c, &id, STATUS_UNSUPPORTED);
	else if (!bytes_equal(m->envelope.target, name_bytes(&c->procedures.entity)))
		refuse(c, &id, STATUS_WRONG_TARGET);
	else if (!answered_before(c, &id, e.digest))
		run_once(c, &e);
	message_free(m);
}

static void open_letter(struct pne_core *c, const struct letter *l)
{
	struct pne_event e = {.kind = PNE_EVENT_RECEIPT, .receipt = &l->receipt};

	if (l->is_receipt)
		run_once(c, &e);
	else
		open_message(c, l);
}

static void receive(struct pne_core *c, const struct letter *l)
{
	if (c->inbox_count == INBOX_MAX) {
		free(l->xml);
		say(c, "warning", "too many messages wait: one is dropped");
		return;
	}
	c->inbox[c->inbox_count++] = *l;
	if (c->running)
		return;
	c->running = true;
	drain(c);
	c->running = false;
}

void pne_core_message(struct pne_core *c, struct bytes xml)
{
	struct letter l = {.xml = malloc(xml.size ? xml.size : 1), .size = xml.size};

	if (!l.xml) {
		say(c, "error", "out of memory: a message was lost");
		return;
	}
	if (xml.size > 0)
		memcpy(l.xml, xml.data, xml.size);
	receive(c, &l);
}

void pne_core_receipt(struct pne_core *c, const struct receipt *r)
{
	struct letter l = {.is_receipt = true, .receipt = *r};

	receive(c, &l);
}

void pne_core_link_up(struct pne_core *c, const struct hello *gateway, struct secret *link_secret,
		      struct bytes binding, bool secure)
{
	struct pne_procedures *p = &c->procedures;
	struct pne_event e = {.kind = PNE_EVENT_LINK_UP};
	char text[256];

	p->link_up = true;
	p->secure = secure;
	p->gateway = gateway->entity;
	p->server = gateway->server;
	secret_clear(&p->link_secret);
	p->link_secret = secret_ref(link_secret);
	p->binding_size = binding.size <= sizeof(p->binding) ? binding.size : 0;
	if (p->binding_size > 0)
		memcpy(p->binding, binding.data, p->binding_size);
	(void)snprintf(text, sizeof(text), "link to PN GW %s is up, the PAN is %s", p->gateway.text,
		       secure ? "secure" : "not secure");
	say(c, "info", text);
	run(c, &e);
}

void pne_core_link_down(struct pne_core *c)
{
	struct pne_event e = {.kind = PNE_EVENT_LINK_DOWN};

	c->procedures.link_up = false;
	c->procedures.secure = false;
	secret_clear(&c->procedures.link_secret);
	inbox_clear(c);
	say(c, "info", "link to the PN GW is down");
	run(c, &e);
}

void pne_core_enter(struct pne_core *c, const struct name *user, struct secret *password)
{
	struct pne_event e = {
		.kind = PNE_EVENT_ENTERED,
		.user = user,
		.password = password,
	};

	run(c, &e);
}

void pne_core_derived(struct pne_core *c, int result, struct secret *ph)
{
	struct pne_event e = {.kind = PNE_EVENT_DERIVED, .result = result, .ph = ph};

	run(c, &e);
}

void pne_core_timer(struct pne_core *c, enum figure figure)
{
	struct pne_event e = {.kind = PNE_EVENT_TIMER, .figure = figure};

	run(c, &e);
}

bool pne_core_has_key(const struct pne_core *c)
{
	return c->procedures.key.key != NULL;
}

bool pne_core_has_temporary_key(const struct pne_core *c)
{
	return c->procedures.temporary_key != NULL;
}

int pne_core_fingerprint(const struct pne_core *c, struct bytes challenge, struct name *user,
			 uint32_t *key_index, uint8_t out[P1_FINGERPRINT_SIZE])
{
	const struct pne_key *k = &c->procedures.key;
	int r;

	if (!k->key)
		return -ENOENT;
	r = p1_fingerprint(k->key, challenge, name_bytes(&k->user),
			   name_bytes(&c->procedures.entity), k->index, out);
	if (r < 0)
		return r;
	*user = k->user;
	*key_index = k->index;
	return 0;
}
