#include "tests/server-client.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/revoke.h"

#define DERIVATIONS_MAX 8

struct store *store;
struct core *core;
uint64_t clock_ms;
int64_t clock_s;
static char key_file[64];
char journal[65536];

struct answer answers[ANSWERS_MAX];
size_t answers_count;

static struct derivation {
	struct core_job *job;
	struct secret *password;
	uint8_t salt[SALT_SIZE];
	uint32_t iterations;
} derivations[DERIVATIONS_MAX];
size_t derivations_count;

static int derive(void *arg, struct core_job *job, struct secret *password,
		  const uint8_t salt[SALT_SIZE], uint32_t iterations)
{
	struct derivation *d = &derivations[derivations_count++];

	(void)arg;
	d->job = job;
	d->password = secret_ref(password);
	memcpy(d->salt, salt, SALT_SIZE);
	d->iterations = iterations;
	return 0;
}

void pump(void)
{
	for (size_t i = 0; i < derivations_count; i++) {
		struct derivation *d = &derivations[i];
		struct secret *ph = NULL;

		ck_assert_int_eq(p1_password_hash(d->password, d->salt, d->iterations, &ph), 0);
		core_derived(d->job, ph);
		secret_unref(ph);
		secret_unref(d->password);
	}
	derivations_count = 0;
}

static void answer(void *arg, void *reply, int http, struct bytes body, const char *challenge)
{
	struct answer *a = &answers[answers_count++ % ANSWERS_MAX];

	(void)arg;
	a->http = http;
	a->reply = (size_t)reply;
	ck_assert_uint_le(body.size, MESSAGE_MAX_SIZE);
	memcpy(a->body, body.data, body.size);
	a->body[body.size] = '\0';
	a->size = body.size;
	(void)snprintf(a->challenge, sizeof(a->challenge), "%s", challenge ? challenge : "");
}

static void line(void *arg, const char *text)
{
	const size_t used = strlen(journal);

	(void)arg;
	(void)snprintf(journal + used, sizeof(journal) - used, "%s\n", text);
}

static uint64_t now_ms(void *arg)
{
	(void)arg;
	return clock_ms;
}

static int64_t wall(void *arg)
{
	(void)arg;
	return clock_s;
}

void start_core(void)
{
	static const struct core_ports ports = {derive, answer, line, now_ms, wall};
	struct core_options options = {.uri = PATH,
				       .iterations = ITERATIONS,
				       .key_set_max = 8,
				       .answer_days = 2,
				       .nonce_seconds = 60,
				       .max_derivations = 2,
				       .store = store};
	char why[128];

	ck_assert_int_eq(name_set(&options.self, bytes_text(SERVER_NAME)), 0);
	ck_assert_int_eq(core_new(&options, &ports, NULL, &core, why, sizeof(why)), 0);
}

void setup(void)
{
	struct store_sqlite_options where = {
		.path = ":memory:", .key_file = key_file, .create = true};
	char why[256];
	int fd;

	(void)snprintf(key_file, sizeof(key_file), "/tmp/test-server-XXXXXX");
	fd = mkstemp(key_file);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(close(fd), 0);
	ck_assert_int_eq(unlink(key_file), 0);
	ck_assert_msg(store_open_sqlite(&where, &store, why, sizeof(why)) == 0, "%s", why);
	answers_count = derivations_count = 0;
	journal[0] = '\0';
	clock_ms = 1000000;
	clock_s = 1700000000;
	start_core();
}

void teardown(void)
{
	core_free(core);
	store_close(store);
	(void)unlink(key_file);
	ck_assert_uint_eq(secret_count(), 0);
}

struct client gateway(const char *entity, bool mutual)
{
	struct client c = {.peer = {.mutual = mutual}};

	(void)name_set(&c.self, bytes_text(entity));
	if (mutual) {
		c.peer.entity = c.self;
		c.peer.exporter = secret_random(KEY_SIZE);
		c.peer.session = calloc(1, sizeof(*c.peer.session));
		ck_assert_ptr_nonnull(c.peer.session);
	}
	return c;
}

void client_free(struct client *c)
{
	secret_clear(&c->peer.exporter);
	free(c->peer.session);
	c->peer.session = NULL;
}

struct message_id last_id;

void envelope(struct message *m, const struct message_id *id, const char *source,
	      const char *target)
{
	m->envelope = (struct m_envelope){.version = MESSAGE_VERSION,
					  .profile = bytes_text(MESSAGE_PROFILE),
					  .message_id = bytes_of(id->b, sizeof(id->b)),
					  .source = bytes_text(source),
					  .target = bytes_text(target)};
}

struct answer *post_bytes(const struct client *c, struct bytes body, const char *header)
{
	const size_t before = answers_count;

	core_request(core, body, bytes_text(header), &c->peer, NULL);
	pump();
	ck_assert_uint_eq(answers_count, before + 1);
	return &answers[before % ANSWERS_MAX];
}

char last_request[MESSAGE_MAX_SIZE];
size_t last_request_size;

void encode(const struct message *m)
{
	char *xml = NULL;
	size_t size = 0;

	ck_assert_int_eq(message_encode(m, &xml, &size), 0);
	memcpy(last_request, xml, size);
	last_request_size = size;
	free(xml);
}

struct message *post(const struct client *c, const struct message *m, struct answer **raw)
{
	struct malformation why;
	struct message *out = NULL;
	struct answer *a;

	encode(m);
	a = post_bytes(c, bytes_of(last_request, last_request_size), NULL);
	ck_assert_msg(message_decode(bytes_of(a->body, a->size), &out, &why) == 0, "%s", a->body);
	ck_assert_int_eq(a->http, status_http(message_status(out)));
	if (raw)
		*raw = a;
	return out;
}

void fresh_id(void)
{
	ck_assert_int_eq(p1_random(last_id.b, sizeof(last_id.b)), 0);
}

enum status status_of(struct message *m)
{
	enum status s = message_status(m);

	message_free(m);
	return s;
}

struct secret *password(const char *text)
{
	struct secret *s = NULL;

	ck_assert_int_eq(p1_password(bytes_text(text), &s), 0);
	return s;
}

struct message *registers(const struct client *c, enum via via, const char *user, const char *pass,
			  const struct m_gateway_key *key, struct secret *secret)
{
	struct message m = {.kind = via == REGISTER ? MESSAGE_id_pwd_registration_request
						    : MESSAGE_subscription_registration_request};
	struct m_gateway_key exporter = {.kind = GATEWAY_KEY_EXPORTER, .key_index = 0};
	struct secret *p = password(pass);
	struct secret *fallback =
		c->peer.exporter ? secret_ref(c->peer.exporter) : secret_random(KEY_SIZE);
	uint8_t rand[RAND_SIZE], sealed[P1_SEALED_PASSWORD_SIZE];
	struct m_encrypted_password e = {bytes_of(rand, sizeof(rand)),
					 bytes_of(sealed, sizeof(sealed))};

	fresh_id();
	envelope(&m, &last_id, c->self.text, SERVER_NAME);
	ck_assert_int_eq(p1_random(rand, sizeof(rand)), 0);
	ck_assert_int_eq(p1_seal_password(secret ? secret : fallback, e.rand, bytes_text(user),
					  BYTES_NONE, p, sealed),
			 0);
	secret_unref(p);
	secret_unref(fallback);
	if (via == REGISTER) {
		m.id_pwd_registration_request.user_id = bytes_text(user);
		m.id_pwd_registration_request.has_gateway_key = true;
		m.id_pwd_registration_request.gateway_key = key ? *key : exporter;
		m.id_pwd_registration_request.has_password = true;
		m.id_pwd_registration_request.password = e;
	} else {
		m.subscription_registration_request.user_id = bytes_text(user);
		m.subscription_registration_request.has_gateway_key = true;
		m.subscription_registration_request.gateway_key = key ? *key : exporter;
		m.subscription_registration_request.has_password = true;
		m.subscription_registration_request.password = e;
		m.subscription_registration_request.subscription = bytes_text("basic");
	}
	return post(c, &m, NULL);
}

enum status registered(const struct client *c, enum via via, const char *user, const char *pass)
{
	return status_of(registers(c, via, user, pass, NULL, NULL));
}

struct secret *ph_of(const char *user, const char *pass)
{
	struct store_account a;
	struct secret *p = password(pass);
	struct secret *ph = NULL;

	ck_assert_int_eq(store_account(store, bytes_text(user), &a), 0);
	ck_assert_int_eq(p1_password_hash(p, a.salt, a.iterations, &ph), 0);
	store_account_clear(&a);
	secret_unref(p);
	return ph;
}

void ask(struct asking *q, const char *source, const char *user, const char *entity,
	 enum entity_mode mode)
{
	struct m_eukey_assignment_request *r = &q->m.eukey_assignment_request;

	*q = (struct asking){.m = {.kind = MESSAGE_eukey_assignment_request}};
	(void)name_set(&q->user, bytes_text(user));
	(void)name_set(&q->entity, bytes_text(entity));
	ck_assert_int_eq(p1_random(q->id.b, sizeof(q->id.b)), 0);
	envelope(&q->m, &q->id, source, SERVER_NAME);
	r->user_id = name_bytes(&q->user);
	r->entity_id = name_bytes(&q->entity);
	r->mode = mode;
}

void ask_set(struct asking *q, enum key_set_kind kind, uint32_t count, enum gateway_key_kind by,
	     uint32_t index)
{
	struct m_eukey_assignment_request *r = &q->m.eukey_assignment_request;

	r->has_key_set = true;
	r->key_set.kind = kind;
	r->key_set.count = count;
	r->key_set.has_gateway_key = true;
	r->key_set.gateway_key.kind = by;
	r->key_set.gateway_key.key_index = index;
}

void ask_held(struct asking *q, const struct secret *eukey, uint32_t index)
{
	struct m_eukey_assignment_request *r = &q->m.eukey_assignment_request;

	ck_assert_int_eq(p1_held_proof(eukey, r->user_id, r->entity_id, index, &q->id, q->proof),
			 0);
	r->has_held_key = true;
	r->held_key.key_index = index;
	r->held_key.proof = bytes_of(q->proof, sizeof(q->proof));
}

void challenged(const struct client *c, struct asking *q, const char *pass)
{
	struct m_digest_challenge *d;
	struct secret *p = password(pass);
	struct message *m = post(c, &q->m, NULL);

	ck_assert_int_eq((int)message_status(m), STATUS_UNAUTHORIZED);
	ck_assert(m->eukey_assignment_response.has_challenge);
	d = &m->eukey_assignment_response.challenge;
	ck_assert_uint_eq(d->stale, 0);
	ck_assert_int_eq(bytes_to_text(d->nonce, q->nonce, sizeof(q->nonce)), 0);
	ck_assert_int_eq(
		p1_password_hash(p, d->parameters.salt.data, d->parameters.iterations, &q->ph), 0);
	secret_unref(p);
	message_free(m);
}

void credentials(struct asking *q, uint32_t count)
{
	struct m_eukey_assignment_request *r = &q->m.eukey_assignment_request;
	struct digest_input in = {.user = name_bytes(&q->user),
				  .realm = bytes_text(SERVER_NAME),
				  .nonce = bytes_text(q->nonce),
				  .uri = bytes_text(PATH),
				  .nonce_count = count};

	ck_assert_int_eq(p1_random(q->id.b, sizeof(q->id.b)), 0);
	ck_assert_int_eq(digest_client_nonce(q->client_nonce), 0);
	in.client_nonce = bytes_text(q->client_nonce);
	ck_assert_int_eq(digest_response(q->ph, &in, q->response), 0);
	r->has_digest = true;
	r->digest = (struct m_digest_credentials){.realm = in.realm,
						  .nonce = in.nonce,
						  .uri = in.uri,
						  .nonce_count = count,
						  .client_nonce = in.client_nonce,
						  .response = bytes_of(q->response, 32)};
}

struct message *asked(const struct client *c, struct asking *q, const char *pass)
{
	challenged(c, q, pass);
	credentials(q, 1);
	return post(c, &q->m, NULL);
}

void asking_end(struct asking *q)
{
	secret_clear(&q->ph);
}

struct secret *open_digest(const struct asking *q, struct message *m)
{
	const struct m_assigned_key *k = &m->eukey_assignment_response.key;
	struct p1_context context;
	struct secret *key = NULL;
	uint8_t salt[DIGEST_SALT_MAX];

	ck_assert_int_eq((int)message_status(m), STATUS_OK);
	ck_assert(m->eukey_assignment_response.has_key);
	p1_key_context(&context, P1_EUKEY, name_bytes(&q->user), name_bytes(&q->entity),
		       k->key_index);
	ck_assert_int_eq(
		p1_unwrap(q->ph,
			  digest_salt(bytes_text(q->nonce), bytes_text(q->client_nonce), salt),
			  &context, k->wrapped, &key),
		0);
	return key;
}

bool server_has(const char *user, const char *entity, uint32_t index)
{
	struct secret *key = NULL;
	int r = store_eukey(store, bytes_text(user), bytes_text(entity), index, &key);

	secret_unref(key);
	return r == 0;
}

enum status figure5(const struct client *c, const char *user, const char *pass, const char *entity,
		    const struct secret *held, uint32_t held_index, struct secret **key)
{
	struct asking q;
	struct message *m;

	ask(&q, entity, user, entity, ENTITY_PNE);
	challenged(c, &q, pass);
	credentials(&q, 1);
	if (held_index > 0)
		ask_held(&q, held, held_index);
	m = post(c, &q.m, NULL);
	if (key && message_status(m) == STATUS_OK)
		*key = open_digest(&q, m);
	asking_end(&q);
	return status_of(m);
}

void ask_figure6(struct asking *q, const char *entity, const char *user, const struct secret *ph)
{
	struct m_eukey_assignment_request *r = &q->m.eukey_assignment_request;

	ask(q, entity, user, entity, ENTITY_PNE);
	ck_assert_int_eq(p1_random(q->rand_pne, sizeof(q->rand_pne)), 0);
	ck_assert_int_eq(p1_auth_data(ph, "EUKeyAssignmentRequest", r->user_id, bytes_text(entity),
				      bytes_text(SERVER_NAME), bytes_of(q->rand_pne, RAND_SIZE),
				      &q->id, q->auth_data),
			 0);
	r->has_security_material = true;
	r->security_material.rand_pne = bytes_of(q->rand_pne, RAND_SIZE);
	r->security_material.auth_data = bytes_of(q->auth_data, P1_MAC_SIZE);
}

void give_temporary_key(const char *entity, struct secret *key)
{
	struct store_batch batch = {0};

	store_batch_temporary_key(&batch, bytes_text(entity), key, false);
	ck_assert_int_eq(store_commit(store, &batch), 0);
	store_batch_clear(&batch);
}

void check_set(struct message *m, const char *entity, const struct secret *shared,
	       const struct secret *temporary_key, uint32_t first, uint32_t count)
{
	const struct m_key_set *set = &m->eukey_assignment_response.key_set;
	struct secret *key = NULL, *below = NULL, *stored = NULL;
	struct p1_context context;

	ck_assert_int_eq((int)message_status(m), STATUS_OK);
	ck_assert(m->eukey_assignment_response.has_key_set);
	ck_assert_uint_eq(set->count, count);
	ck_assert_int_eq(p1_unwrap_temporary_key(shared, set->rand_server, bytes_text("alice"),
						 bytes_text(entity), set->wrapped_temporary_key,
						 &key),
			 0);
	ck_assert(secret_equal(key, temporary_key));
	secret_clear(&key);
	ck_assert_uint_eq(set->keys_count, set->kind == KEY_SET_CHAIN ? 1 : count);
	for (uint32_t i = count; i > 0; i--) {
		const uint32_t index = first + i - 1;

		if (set->kind == KEY_SET_RANDOM || i == count) {
			const struct m_set_key *k =
				&set->keys[set->kind == KEY_SET_CHAIN ? 0 : i - 1];

			ck_assert_uint_eq(k->key_index, index);
			p1_key_context(&context, P1_SET, bytes_text("alice"), bytes_text(entity),
				       index);
			ck_assert_int_eq(
				p1_unwrap(shared, set->rand_server, &context, k->wrapped, &key), 0);
		}
		ck_assert_int_eq(
			store_eukey(store, bytes_text("alice"), bytes_text(entity), index, &stored),
			0);
		ck_assert(secret_equal(key, stored));
		secret_clear(&stored);
		if (set->kind == KEY_SET_CHAIN && i > 1) {
			ck_assert_int_eq(p1_chain_below(key, &below), 0);
			secret_unref(key);
			key = below;
			below = NULL;
		} else {
			secret_clear(&key);
		}
	}
	secret_unref(key);
	message_free(m);
}

struct store_element element_of(const char *entity)
{
	struct store_element e;

	ck_assert_int_eq(store_element(store, bytes_text(entity), &e), 0);
	return e;
}

struct secret *stored_key(const char *user, const char *entity, uint32_t index)
{
	struct secret *key = NULL;

	ck_assert_int_eq(store_eukey(store, bytes_text(user), bytes_text(entity), index, &key), 0);
	return key;
}

void ask_refill(struct asking *q, const struct secret *key, uint32_t index, const char *gateway)
{
	struct m_eukey_assignment_request *r = &q->m.eukey_assignment_request;

	ck_assert_int_eq(p1_refill_proof(key, r->user_id, r->entity_id, index, &q->id,
					 bytes_text(gateway), q->proof),
			 0);
	r->has_refill = true;
	r->refill.key_index = index;
	r->refill.proof = bytes_of(q->proof, sizeof(q->proof));
}

enum status refill(const struct client *client, const char *user, const char *entity,
		   const struct secret *key, uint32_t index, const char *gateway)
{
	struct asking q;

	ask(&q, client->self.text, user, entity, ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 1, GATEWAY_KEY_EXPORTER, 0);
	ask_refill(&q, key, index, gateway);
	return status_of(post(client, &q.m, NULL));
}

void first_set(const struct client *gw, const struct secret *temporary_key)
{
	struct asking q;

	ask(&q, "gw-1", "alice", "headset", ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 3, GATEWAY_KEY_EXPORTER, 0);
	check_set(asked(gw, &q, "pw"), "headset", gw->peer.exporter, temporary_key, 1, 3);
	asking_end(&q);
}

int operator_revokes(const char *entity)
{
	struct store_key keys[STORE_KEYS_MAX] = {{.index = 0}};
	struct store_batch b = {0};
	struct store_element e = element_of(entity);
	struct store_revocation after;
	struct store_resets made;
	int r;

	(void)store_keys(store, name_bytes(&e.owner), name_bytes(&e.entity), keys);
	after = server_revocation(&e, e.revocation.epoch + 1, 0, false, clock_s);
	r = server_revoke(&b, &e, &after, keys, &made);
	if (r == 0)
		r = store_commit(store, &b);
	store_batch_clear(&b);
	store_keys_clear(keys);
	return r;
}

void operator_forgets_handover(const char *gateway)
{
	struct store_batch b = {0};

	store_batch_forget_handover(&b, bytes_text(gateway));
	ck_assert_int_eq(store_commit(store, &b), 0);
	store_batch_clear(&b);
}

void operator_blocks(const char *user, bool blocked)
{
	struct store_batch b = {0};

	store_batch_block(&b, bytes_text(user), blocked);
	ck_assert_int_eq(store_commit(store, &b), 0);
	store_batch_clear(&b);
}
