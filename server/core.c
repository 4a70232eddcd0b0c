#include "server/core.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/fence.h"

#define NONCES_CAPACITY 4096
#define TRIM_EVERY_MS   (3600U * 1000U)
#define DAY_SECONDS     86400

struct waiter {
	struct waiter *next;
	void *reply;
};

struct core_job {
	struct core *core;
	struct core_job *next, **link; /* in the core's list while deriving */
	struct message *request;
	struct server_peer peer;
	struct server_header_credentials header;
	uint8_t *header_text; /* what header.in points into */
	struct server_procedure procedure;
	uint8_t sha256[32];
	struct waiter first; /* whom to answer; repeated requests join */
	char *encoded;
	size_t encoded_size;
	bool deriving;
	bool finished;
};

struct core {
	struct core_ports ports;
	void *arg;
	struct store *store;
	struct server_environment environment;
	unsigned answer_days, max_derivations, derivations;
	uint64_t next_trim_ms;
	struct core_job *jobs;
};

__attribute__((format(printf, 2, 3))) static void say(struct core *c, const char *format, ...)
{
	char text[VERDICT_TEXT_SIZE + 160];
	int n = snprintf(text, sizeof(text), "SERVER %s: ", c->environment.self.text);
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text + n, sizeof(text) - (size_t)n, format, ap);
	va_end(ap);
	c->ports.line(c->arg, text);
}

/* The server's own secret of that name, made when it is not there. */
static int own_secret(struct store *s, const char *name, struct secret **out)
{
	struct store_batch batch = {0};
	SCOPED_SECRET *fresh = NULL;
	int r = store_secret(s, name, out);

	if (r != STORE_ABSENT)
		return r;
	fresh = secret_random(KEY_SIZE);
	if (!fresh)
		return -ENOMEM;
	store_batch_secret(&batch, name, fresh);
	r = store_commit(s, &batch);
	store_batch_clear(&batch);
	if (r != 0 && r != STORE_CONFLICT)
		return r;
	return store_secret(s, name, out);
}

int core_new(const struct core_options *options, const struct core_ports *ports, void *arg,
	     struct core **out, char *why, size_t why_size)
{
	struct core *c = calloc(1, sizeof(*c));
	int r = -ENOMEM;

	(void)snprintf(why, why_size, "out of memory");
	if (!c)
		return r;
	c->ports = *ports;
	c->arg = arg;
	c->store = options->store;
	c->answer_days = options->answer_days;
	c->max_derivations = options->max_derivations;
	c->environment.self = options->self;
	c->environment.iterations = options->iterations;
	c->environment.key_set_max = options->key_set_max;
	r = bytes_to_text(bytes_text(options->uri), c->environment.uri, sizeof(c->environment.uri));
	if (r < 0) {
		(void)snprintf(why, why_size, "the path is too long");
		goto failed;
	}
	r = own_secret(c->store, STORE_SECRET_UNKNOWN_USER, &c->environment.unknown_user);
	if (r != 0) {
		(void)snprintf(why, why_size, "the store does not give the server's own secrets");
		r = r > 0 ? -EIO : r;
		goto failed;
	}
	c->environment.nonces =
		digest_nonces_new((uint64_t)options->nonce_seconds * 1000, NONCES_CAPACITY);
	if (!c->environment.nonces) {
		r = -ENOMEM;
		goto failed;
	}
	why[0] = '\0';
	*out = c;
	return 0;
failed:
	core_free(c);
	return r;
}

void core_free(struct core *c)
{
	if (!c)
		return;
	secret_unref(c->environment.unknown_user);
	digest_nonces_free(c->environment.nonces);
	free(c);
}

bool core_busy(const struct core *c)
{
	return c->derivations > 0;
}

static void job_free(struct core_job *job)
{
	struct waiter *w = job->first.next;

	while (w) {
		struct waiter *next = w->next;

		free(w);
		w = next;
	}
	server_procedure_clear(&job->procedure);
	secret_unref(job->peer.exporter);
	message_free(job->request);
	free(job->header_text);
	free(job->encoded);
	free(job);
}

static void answer_text(struct core *c, void *reply, int http, const char *text)
{
	c->ports.answer(c->arg, reply, http, bytes_text(text), NULL);
}

/* Encodes the procedure's response as it stands now. */
static int encode(struct core_job *job)
{
	free(job->encoded);
	job->encoded = NULL;
	return message_encode(&job->procedure.response, &job->encoded, &job->encoded_size);
}

static void answer_all(struct core_job *job, int http, struct bytes body)
{
	struct core *c = job->core;
	const char *challenge = http == 401 && job->procedure.challenge_header[0]
					? job->procedure.challenge_header
					: NULL;

	for (struct waiter *w = &job->first; w; w = w->next)
		c->ports.answer(c->arg, w->reply, http, body, challenge);
}

static void answer_procedure(struct core_job *job)
{
	if (!job->encoded && encode(job) < 0) {
		answer_all(job, 500, bytes_text("out of memory\n"));
		return;
	}
	answer_all(job, status_http(message_status(&job->procedure.response)),
		   bytes_of(job->encoded, job->encoded_size));
}

/* 0, or anything else when the store failed; an absent thing is no failure. */
static int take(int r, bool *there)
{
	*there = r == 0;
	return r == STORE_ABSENT ? 0 : r;
}

/* As take(), where a request goes on without a record that is damaged. */
static int take_whole(int r, bool *damaged)
{
	bool there;

	*damaged = *damaged || r == STORE_DAMAGED;
	return r == STORE_DAMAGED ? 0 : take(r, &there);
}

/* An EUKey that only proves something: damaged, it proves nothing. */
static int load_proof(struct store *s, struct bytes user, struct bytes entity, uint32_t index,
		      struct server_facts *f, struct secret **out)
{
	bool damaged = false;
	int r = take_whole(store_eukey(s, user, entity, index, out), &damaged);

	if (damaged)
		(void)name_set(&f->damaged, entity);
	return r;
}

static int load_gateway(struct store *s, const struct server_wants *w, struct server_facts *f)
{
	bool there;
	int r;

	if (!w->gateway.text[0])
		return 0;
	r = take(store_element(s, name_bytes(&w->gateway), &f->gateway), &f->has_gateway);
	if (r == 0 && f->has_gateway && w->gateway_key_index > 0 && f->gateway.owner.text[0])
		r = take(store_eukey(s, name_bytes(&f->gateway.owner), name_bytes(&w->gateway),
				     w->gateway_key_index, &f->gateway_key),
			 &there);
	return r;
}

static int load_refill(struct store *s, const struct server_wants *w, struct server_facts *f)
{
	const struct bytes user = name_bytes(&w->user), entity = name_bytes(&w->entity);
	struct store_key keys[STORE_KEYS_MAX] = {{.index = 0}};
	bool there;
	int r = take(store_eukey(s, user, entity, w->refill_index, &f->refill_key), &there);

	if (r == 0)
		r = take(store_keys(s, user, entity, keys), &there);
	f->oldest_index = keys[0].index;
	store_keys_clear(keys);
	return r;
}

static int load_entity(struct store *s, const struct server_wants *w, struct server_facts *f)
{
	struct store_temporary_key tk;
	bool there;
	int r;

	if (!w->entity.text[0])
		return 0;
	r = take(store_element(s, name_bytes(&w->entity), &f->entity), &f->has_entity);
	if (r == 0 && w->held_index > 0)
		r = load_proof(s, name_bytes(&w->user), name_bytes(&w->entity), w->held_index, f,
			       &f->held_key);
	if (r == 0 && w->refill_index > 0)
		r = load_refill(s, w, f);
	if (r == 0 && w->temporary_key) {
		r = take(store_temporary_key(s, name_bytes(&w->entity), &tk), &there);
		if (r == 0 && there)
			f->temporary_key = tk.key;
	}
	return r;
}

/*
 * The keys are wanted only where they are about to be erased. What is damaged resets nothing; all
 * the others, and all other devices, are served.
 */
static int load_device(struct store *s, const struct m_element_state *told, const struct name *user,
		       struct server_device *d)
{
	const struct store_element *e = &d->element;
	int r = store_element(s, told->entity_id, &d->element);

	d->there = r == 0;
	r = take_whole(r, &d->damaged);
	if (r == 0 && e->owner.text[0] &&
	    (told->epoch > e->revocation.epoch || told->key_index > e->revocation.key_index))
		r = take_whole(store_keys(s, name_bytes(&e->owner), told->entity_id, d->keys),
			       &d->damaged);
	if (r == 0 && user && e->revocation.reset == RESET_UNCONFIRMED)
		r = take_whole(store_resets(s, name_bytes(user), told->entity_id, &d->resets),
			       &d->damaged);
	return r;
}

static int load_state(struct store *s, const struct server_wants *w, struct server_facts *f)
{
	int r = 0;

	if (w->vault_id.size == sizeof(f->vault.vault_id))
		r = take(store_vault_state(s, name_bytes(&w->gateway), w->vault_id.data, &f->vault),
			 &f->has_vault);
	if (r == 0 && w->vault_id.size > 0)
		r = take(store_handover(s, name_bytes(&w->gateway), &f->handover),
			 &f->has_handover);
	if (r != 0 || w->devices_count == 0)
		return r;
	f->devices = calloc(w->devices_count, sizeof(*f->devices));
	if (!f->devices)
		return -ENOMEM;
	f->devices_count = w->devices_count;
	for (size_t i = 0; i < w->devices_count && r == 0; i++)
		r = load_device(s, &w->devices[i], server_gateway_user(f), &f->devices[i]);
	return r;
}

static int load(struct store *s, const struct server_wants *w, struct server_facts *f)
{
	int r = 0;

	if (w->user.text[0])
		r = take(store_account(s, name_bytes(&w->user), &f->account), &f->has_account);
	if (r == 0)
		r = load_gateway(s, w, f);
	if (r == 0)
		r = load_entity(s, w, f);
	for (size_t i = 0; i < w->deliveries_count && i < SERVER_DELIVERIES_LIMIT && r == 0; i++) {
		const struct m_delivery *d = &w->deliveries[i];

		r = load_proof(s, d->user_id, d->entity_id, d->key_index, f, &f->delivered[i]);
	}
	return r == 0 ? load_state(s, w, f) : r;
}

/* The changes and the answer to the request in one transaction. */
static int store(struct core_job *job)
{
	struct core *c = job->core;
	struct server_procedure *p = &job->procedure;
	const uint64_t now_ms = c->ports.now_ms(c->arg);
	const int64_t now = c->ports.time(c->arg);
	int r = encode(job);

	if (r < 0)
		return r;
	store_batch_answer(&p->batch, &p->request_id, job->sha256,
			   status_http(message_status(&p->response)),
			   bytes_of(job->encoded, job->encoded_size), now);
	if (now_ms >= c->next_trim_ms)
		store_batch_trim_answers(&p->batch, now - (int64_t)c->answer_days * DAY_SECONDS);
	r = store_commit(c->store, &p->batch);
	if (r == 0 && now_ms >= c->next_trim_ms)
		c->next_trim_ms = now_ms + TRIM_EVERY_MS;
	return r;
}

static void say_step(struct core_job *job, const struct server_action *a)
{
	char text[160];
	const struct verdict *v = &job->procedure.verdict;

	say(job->core, "%s [user %s, entity %s]",
	    step_describe(a->figure, a->step, text, sizeof(text)), v->user.text, v->entity.text);
}

/* What became of the devices in a state report. */
static void say_devices(struct core_job *job)
{
	const struct server_procedure *p = &job->procedure;
	const struct m_element_state *told = p->request->gateway_state_report.elements;
	const char *gateway = p->source.text;

	for (size_t i = 0; i < p->facts.devices_count; i++) {
		const struct server_device *d = &p->facts.devices[i];
		const struct store_revocation *v = &d->element.revocation;
		const char *entity = d->element.entity.text;

		if (d->damaged || d->resets.damaged > 0)
			say(job->core,
			    "warning: what the store has of %.*s is damaged: it may not be enough "
			    "to "
			    "reset the device",
			    (int)told[i].entity_id.size, (const char *)told[i].entity_id.data);
		if (d->refused)
			say(job->core, "warning: %s may not revoke %s", gateway, entity);
		if (d->revoked)
			say(job->core, "info: %s has revoked %s: epoch %lu, EUKeys up to index %lu",
			    gateway, entity, (unsigned long)v->epoch, (unsigned long)v->key_index);
		else if (d->news)
			say(job->core, "info: %s learns of the revocation of %s: epoch %lu",
			    gateway, entity, (unsigned long)v->epoch);
		if (d->confirmed)
			say(job->core, "info: %s has erased its revoked EUKey, by way of %s",
			    entity, gateway);
		if (d->given)
			say(job->core, "info: %s may reset %s, for %zu EUKeys", gateway, entity,
			    d->resets.count);
	}
}

static void say_verdict(struct core_job *job)
{
	char text[VERDICT_TEXT_SIZE];
	const struct server_procedure *p = &job->procedure;

	if (p->challenged)
		say(job->core,
		    "info: challenged to show a digest of the password: user %s, entity %s",
		    p->verdict.user.text, p->verdict.entity.text);
	else
		say(job->core, "verdict: %s", verdict_describe(&p->verdict, text, sizeof(text)));
}

static int begin_derivation(struct core_job *job)
{
	struct core *c = job->core;
	struct server_procedure *p = &job->procedure;
	int r;

	if (c->derivations >= c->max_derivations)
		return -EBUSY;
	r = c->ports.derive(c->arg, job, p->password, p->salt, p->iterations);
	if (r < 0)
		return r;
	c->derivations++;
	job->deriving = true;
	job->next = c->jobs;
	job->link = &c->jobs;
	if (job->next)
		job->next->link = &job->next;
	c->jobs = job;
	return 0;
}

/* What one action leads to: true and *next when it is an event. */
static bool carry_out(struct core_job *job, const struct server_action *a,
		      struct server_event *next, struct server_facts *facts)
{
	struct core *c = job->core;
	struct server_procedure *p = &job->procedure;
	int r;

	*next = (struct server_event){.now_ms = c->ports.now_ms(c->arg),
				      .time = c->ports.time(c->arg)};
	switch (a->kind) {
	case ACTION_LOAD:
		r = load(c->store, &p->wants, facts);
		if (r != 0) {
			say(c, "error: cannot read the store (%s)",
			    r > 0 ? "damaged" : strerror(-r));
			server_facts_clear(facts);
		} else if (facts->damaged.text[0])
			say(c, "warning: an EUKey of %s in the store is damaged, and passed over",
			    facts->damaged.text);
		next->kind = EVENT_LOADED;
		next->facts = r == 0 ? facts : NULL;
		return true;
	case ACTION_DERIVE:
		r = begin_derivation(job);
		if (r == 0)
			return false;
		if (r == -EBUSY) {
			struct server_actions none = {.count = 0};

			procedure_refuse(p, STATUS_BUSY, p->verdict.step, &none);
			answer_procedure(job);
			say_verdict(job);
			job->finished = true;
			return false;
		}
		next->kind = EVENT_DERIVED;
		return true;
	case ACTION_STORE:
		r = store(job);
		if (r < 0)
			say(c, "error: cannot write the store (%s)", strerror(-r));
		next->kind = r == 0 ? EVENT_STORED : EVENT_STORE_FAILED;
		next->conflict = r == STORE_CONFLICT;
		if (r != 0) {
			free(job->encoded);
			job->encoded = NULL;
		}
		return true;
	case ACTION_ANSWER:
		if (message_status(&p->response) == STATUS_OK)
			server_fence_told(p);
		answer_procedure(job);
		return false;
	case ACTION_STEP:
		say_step(job, a);
		return false;
	case ACTION_FINISH:
		say_verdict(job);
		if (message_status(&p->response) == STATUS_OK)
			say_devices(job);
		if (message_status(&p->response) == STATUS_OK && p->takes_over)
			say(job->core, "info: %s was handed over to another box: term %lu",
			    p->source.text,
			    (unsigned long)p->request->gateway_state_report.handover.term);
		job->finished = true;
		return false;
	}
	return false;
}

/* Runs the procedure until it waits for a derivation or has ended; then job is gone. */
static void run(struct core_job *job, struct server_event event)
{
	struct server_facts facts = {0};
	bool more = true;

	while (more) {
		struct server_actions actions = {.count = 0};

		server_procedure_event(&job->procedure, &event, &actions);
		more = false;
		for (size_t i = 0; i < actions.count; i++) {
			struct server_event next;

			if (carry_out(job, &actions.list[i], &next, &facts)) {
				event = next;
				more = true;
			}
		}
	}
	server_facts_clear(&facts);
	if (!job->deriving) {
		if (!job->finished)
			answer_all(job, 500, bytes_text("internal fault\n"));
		job_free(job);
	}
}

void core_derived(struct core_job *job, struct secret *ph)
{
	struct core *c = job->core;
	struct server_event event = {
		.kind = EVENT_DERIVED, .ph = ph, .now_ms = c->ports.now_ms(c->arg)};

	c->derivations--;
	job->deriving = false;
	*job->link = job->next;
	if (job->next)
		job->next->link = job->link;
	job->next = NULL;
	run(job, event);
}

/*
 * Credentials in an HTTP header are no part of the message, so a message id alone must not be
 * enough to get its answer again: they are verified first. True when the request was answered.
 */
static bool answered_by_challenge(struct core_job *job)
{
	struct core *c = job->core;
	struct server_procedure *p = &job->procedure;
	struct server_actions none = {.count = 0};
	const uint64_t now_ms = c->ports.now_ms(c->arg);
	bool there = false;

	if (take(store_account(c->store, name_bytes(&p->wants.user), &p->facts.account), &there) !=
	    0) {
		procedure_refuse(p, STATUS_STORAGE_FAILED, 0, &none);
	} else {
		p->facts.has_account = there;
		if (procedure_authenticate(p,
					   p->figure == FIGURE_5   ? 9
					   : p->figure == FIGURE_8 ? 4
								   : 2,
					   now_ms, &none)) {
			server_facts_clear(&p->facts);
			return false;
		}
	}
	p->verdict.figure = p->figure;
	answer_procedure(job);
	say_verdict(job);
	return true;
}

/* Whether all that the answer of before gave out was revoked since. */
static bool answer_revoked(struct core_job *job, const struct store_answer *before)
{
	const struct name *entity = &job->procedure.wants.entity;
	const struct m_eukey_assignment_response *a;
	struct store_element e;
	struct malformation why;
	struct message *m = NULL;
	uint32_t index = 0;

	if (job->request->kind != MESSAGE_eukey_assignment_request ||
	    store_element(job->core->store, name_bytes(entity), &e) != 0 ||
	    e.revocation.epoch == 0 ||
	    message_decode(bytes_of(before->body, before->body_size), &m, &why) != 0)
		return false;
	if (m->kind == MESSAGE_eukey_assignment_response) {
		a = &m->eukey_assignment_response;
		if (a->has_key)
			index = a->key.key_index;
		if (a->has_key_set && a->key_set.keys_count > 0)
			index = a->key_set.keys[a->key_set.keys_count - 1].key_index;
	}
	message_free(m);
	return index > 0 && index <= e.revocation.key_index;
}

/* True when the request was answered: it came before, or its id was used for something else. */
static bool answered_before(struct core_job *job)
{
	struct core *c = job->core;
	struct server_procedure *p = &job->procedure;
	struct server_actions none = {.count = 0};
	struct store_answer before;
	int r = store_answer(c->store, &p->request_id, &before);
	bool same;

	if (r == STORE_ABSENT)
		return false;
	same = r == 0 && constant_time_equal(bytes_of(before.request_sha256, 32),
					     bytes_of(job->sha256, sizeof(job->sha256)));
	if (same && answer_revoked(job, &before)) {
		procedure_refuse(p, STATUS_STALE_INDEX, 0, &none);
		p->verdict.id = VERDICT_REVOKED;
		p->verdict.detail[0] = '\0';
		answer_procedure(job);
	} else if (same) {
		answer_all(job, before.http, bytes_of(before.body, before.body_size));
		p->verdict.id = VERDICT_REPEATED;
	} else {
		procedure_refuse(p, r == 0 ? STATUS_ID_REUSED : STATUS_STORAGE_FAILED, 0, &none);
		answer_procedure(job);
	}
	if (r == 0)
		free(before.body);
	p->verdict.figure = p->figure;
	say_verdict(job);
	return true;
}

/* A repeat of a request that is under way joins it. True when job was dealt with. */
static bool joined(struct core_job *job)
{
	struct server_actions none = {.count = 0};
	struct waiter *w;

	for (struct core_job *other = job->core->jobs; other; other = other->next) {
		if (!message_id_equal(&other->procedure.request_id, &job->procedure.request_id))
			continue;
		w = memcmp(other->sha256, job->sha256, sizeof(job->sha256)) == 0
			    ? calloc(1, sizeof(*w))
			    : NULL;
		if (w) {
			w->reply = job->first.reply;
			w->next = other->first.next;
			other->first.next = w;
			return true;
		}
		procedure_refuse(&job->procedure, STATUS_ID_REUSED, 0, &none);
		answer_procedure(job);
		return true;
	}
	return false;
}

static int take_header(struct core_job *job, struct bytes authorization)
{
	if (authorization.size == 0)
		return 0;
	job->header_text = malloc(authorization.size);
	if (!job->header_text)
		return -ENOMEM;
	memcpy(job->header_text, authorization.data, authorization.size);
	/* A header that is not understood counts as none: the answer is a challenge. */
	job->header.there = digest_header_parse(bytes_of(job->header_text, authorization.size),
						&job->header.in, job->header.response) == 0;
	return 0;
}

/* The decoded request, or NULL when it was answered. */
/* True: a box that is not the PN GW any more, or not known to be, was refused. */
static bool fenced(struct core_job *job)
{
	struct server_procedure *p = &job->procedure;
	struct server_actions none = {.count = 0};
	struct store_handover known;
	enum status s = server_fence(job->core->store, p, &known);

	if (s == STATUS_OK)
		return false;
	procedure_refuse(p, s, 0, &none);
	if (s == STATUS_HANDED_OVER)
		server_fence_explain(p, &known);
	answer_procedure(job);
	say_verdict(job);
	return true;
}

static struct message *decode(struct core *c, struct bytes body, void *reply)
{
	struct message *m = NULL;
	struct malformation why;
	char text[128], line[160];
	int r = message_decode(body, &m, &why);

	if (r == 0)
		return m;
	if (r < 0) {
		answer_text(c, reply, 500, "out of memory\n");
		return NULL;
	}
	(void)malformation_describe(&why, text, sizeof(text));
	say(c, "warning: malformed message: %s", text);
	(void)snprintf(line, sizeof(line), "%s\n", text);
	answer_text(c, reply, 400, line);
	return NULL;
}

/*
 * A client that expects a challenge may send its body only with the second request (curl --digest
 * does). There is no user yet: salt and iterations are those of a user whom nobody knows.
 */
static void challenge_empty(struct core *c, void *reply)
{
	const struct server_environment *env = &c->environment;
	char nonce[129], challenge[512];
	uint8_t salt[SALT_SIZE];

	if (p1_unknown_salt(env->unknown_user, BYTES_NONE, salt) < 0 ||
	    digest_nonce_make(env->nonces, c->ports.now_ms(c->arg), nonce) < 0 ||
	    digest_header_challenge(challenge, sizeof(challenge), name_bytes(&env->self),
				    bytes_text(nonce), false, salt, env->iterations) < 0) {
		answer_text(c, reply, 500, "internal fault\n");
		return;
	}
	c->ports.answer(c->arg, reply, 401, bytes_text("there is no message\n"), challenge);
}

void core_request(struct core *c, struct bytes body, struct bytes authorization,
		  const struct server_peer *peer, void *reply)
{
	struct message *m;
	struct core_job *job;
	enum status s;

	if (body.size == 0) {
		challenge_empty(c, reply);
		return;
	}
	m = decode(c, body, reply);
	if (!m)
		return;
	job = calloc(1, sizeof(*job));
	if (!job) {
		message_free(m);
		answer_text(c, reply, 500, "out of memory\n");
		return;
	}
	job->core = c;
	job->request = m;
	job->first.reply = reply;
	job->peer = *peer;
	job->peer.exporter = secret_ref(peer->exporter);
	if (p1_sha256(body, job->sha256) < 0 || take_header(job, authorization) < 0) {
		answer_text(c, reply, 500, "out of memory\n");
		job_free(job);
		return;
	}
	s = server_procedure_begin(&job->procedure, &c->environment, m, &job->peer, &job->header);
	if (s != STATUS_OK) {
		if (job->procedure.response.kind == MESSAGE_KINDS) {
			answer_text(c, reply, status_http(s),
				    "this message is no request to a CPNS Server\n");
		} else {
			answer_procedure(job);
			say_verdict(job);
		}
		job_free(job);
		return;
	}
	if (fenced(job) || (server_procedure_bare(&job->procedure) && answered_by_challenge(job)) ||
	    answered_before(job) || joined(job)) {
		job_free(job);
		return;
	}
	run(job, (struct server_event){.kind = EVENT_REQUEST, .now_ms = c->ports.now_ms(c->arg)});
}
