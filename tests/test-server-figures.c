/* Conversations with the server's core: no socket, no loop; the store is SQLite in memory. */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/core.h"
#include "server/revoke.h"

#define ITERATIONS      1000
#define SERVER_NAME     "cpns.example"
#define PATH            "/cpns"
#define ANSWERS_MAX     8
#define DERIVATIONS_MAX 8

static struct store *store;
static struct core *core;
static uint64_t clock_ms;
static int64_t clock_s;
static char key_file[64];
static char journal[65536];

/* What came back, in order. */
static struct answer {
	int http;
	size_t reply;
	char body[MESSAGE_MAX_SIZE + 1];
	size_t size;
	char challenge[512];
} answers[ANSWERS_MAX];
static size_t answers_count;

static struct derivation {
	struct core_job *job;
	struct secret *password;
	uint8_t salt[SALT_SIZE];
	uint32_t iterations;
} derivations[DERIVATIONS_MAX];
static size_t derivations_count;

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

static void pump(void)
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

static void start_core(void)
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

static void setup(void)
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

static void teardown(void)
{
	core_free(core);
	store_close(store);
	(void)unlink(key_file);
	ck_assert_uint_eq(secret_count(), 0);
}

/* The client's side. */

struct client {
	struct server_peer peer;
	struct name self;
};

static struct client gateway(const char *entity, bool mutual)
{
	struct client c = {.peer = {.mutual = mutual}};

	(void)name_set(&c.self, bytes_text(entity));
	if (mutual) {
		c.peer.entity = c.self;
		c.peer.exporter = secret_random(KEY_SIZE);
	}
	return c;
}

static void client_free(struct client *c)
{
	secret_clear(&c->peer.exporter);
}

static struct message_id last_id;

static void envelope(struct message *m, const struct message_id *id, const char *source,
		     const char *target)
{
	m->envelope = (struct m_envelope){.version = MESSAGE_VERSION,
					  .profile = bytes_text(MESSAGE_PROFILE),
					  .message_id = bytes_of(id->b, sizeof(id->b)),
					  .source = bytes_text(source),
					  .target = bytes_text(target)};
}

static struct answer *post_bytes(const struct client *c, struct bytes body, const char *header)
{
	const size_t before = answers_count;

	core_request(core, body, bytes_text(header), &c->peer, NULL);
	pump();
	ck_assert_uint_eq(answers_count, before + 1);
	return &answers[before % ANSWERS_MAX];
}

static char last_request[MESSAGE_MAX_SIZE];
static size_t last_request_size;

static void encode(const struct message *m)
{
	char *xml = NULL;
	size_t size = 0;

	ck_assert_int_eq(message_encode(m, &xml, &size), 0);
	memcpy(last_request, xml, size);
	last_request_size = size;
	free(xml);
}

/* The decoded answer is the caller's to free. */
static struct message *post(const struct client *c, const struct message *m, struct answer **raw)
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

static void fresh_id(void)
{
	ck_assert_int_eq(p1_random(last_id.b, sizeof(last_id.b)), 0);
}

static enum status status_of(struct message *m)
{
	enum status s = message_status(m);

	message_free(m);
	return s;
}

static struct secret *password(const char *text)
{
	struct secret *s = NULL;

	ck_assert_int_eq(p1_password(bytes_text(text), &s), 0);
	return s;
}

enum via { REGISTER, SUBSCRIBE };

/* Seals and sends; secret NULL means the exporter. */
static struct message *registers(const struct client *c, enum via via, const char *user,
				 const char *pass, const struct m_gateway_key *key,
				 struct secret *secret)
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

static enum status registered(const struct client *c, enum via via, const char *user,
			      const char *pass)
{
	return status_of(registers(c, via, user, pass, NULL, NULL));
}

static struct secret *ph_of(const char *user, const char *pass)
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

/* An EUKeyAssignmentRequest in the making, and what its answer is opened with. */
struct asking {
	struct message m;
	struct message_id id;
	struct name user, entity;
	char nonce[129], client_nonce[33];
	uint8_t response[32];
	uint8_t rand_pne[RAND_SIZE], auth_data[P1_MAC_SIZE], proof[P1_MAC_SIZE];
	struct secret *ph;
};

static void ask(struct asking *q, const char *source, const char *user, const char *entity,
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

static void ask_set(struct asking *q, enum key_set_kind kind, uint32_t count,
		    enum gateway_key_kind by, uint32_t index)
{
	struct m_eukey_assignment_request *r = &q->m.eukey_assignment_request;

	r->has_key_set = true;
	r->key_set.kind = kind;
	r->key_set.count = count;
	r->key_set.has_gateway_key = true;
	r->key_set.gateway_key.kind = by;
	r->key_set.gateway_key.key_index = index;
}

static void ask_held(struct asking *q, const struct secret *eukey, uint32_t index)
{
	struct m_eukey_assignment_request *r = &q->m.eukey_assignment_request;

	ck_assert_int_eq(p1_held_proof(eukey, r->user_id, r->entity_id, index, &q->id, q->proof),
			 0);
	r->has_held_key = true;
	r->held_key.key_index = index;
	r->held_key.proof = bytes_of(q->proof, sizeof(q->proof));
}

/* First request without credentials; takes nonce and parameters from the challenge. */
static void challenged(const struct client *c, struct asking *q, const char *pass)
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

static void credentials(struct asking *q, uint32_t count)
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

/* Both requests of Figures 5, 7 and 8. */
static struct message *asked(const struct client *c, struct asking *q, const char *pass)
{
	challenged(c, q, pass);
	credentials(q, 1);
	return post(c, &q->m, NULL);
}

static void asking_end(struct asking *q)
{
	secret_clear(&q->ph);
}

static struct secret *open_digest(const struct asking *q, struct message *m)
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

static bool server_has(const char *user, const char *entity, uint32_t index)
{
	struct secret *key = NULL;
	int r = store_eukey(store, bytes_text(user), bytes_text(entity), index, &key);

	secret_unref(key);
	return r == 0;
}

/* A key by Figure 5; held_index 0: HeldKey is not sent. */
static enum status figure5(const struct client *c, const char *user, const char *pass,
			   const char *entity, const struct secret *held, uint32_t held_index,
			   struct secret **key)
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

START_TEST(test_registration)
{
	struct client gw = gateway("gw-1", true);
	struct message *first = registers(&gw, REGISTER, "alice", "secret 1", NULL, NULL);
	struct message *again = registers(&gw, REGISTER, "alice", "secret 1", NULL, NULL);

	ck_assert_int_eq((int)message_status(first), STATUS_OK);
	ck_assert_int_eq((int)message_status(again), STATUS_OK);
	ck_assert(bytes_equal(first->id_pwd_registration_response.parameters.salt,
			      again->id_pwd_registration_response.parameters.salt));
	ck_assert_uint_eq(again->id_pwd_registration_response.parameters.iterations, ITERATIONS);
	message_free(first);
	message_free(again);
	ck_assert_int_eq((int)registered(&gw, REGISTER, "alice", "secret 2"),
			 STATUS_ALREADY_INSTALLED);
	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "alice", "secret 2"),
			 STATUS_ALREADY_INSTALLED);
	ck_assert_ptr_nonnull(strstr(journal, "Fig. 5 step 3: server registers"));
	ck_assert_ptr_nonnull(strstr(journal, "USER_TAKEN"));
	ck_assert_ptr_null(strstr(journal, "secret 1"));
	client_free(&gw);
}
END_TEST

/* Comment C249, and Figure 6 step 0. */
START_TEST(test_c249_registration_is_mutual)
{
	struct client gw = gateway("gw-1", false);
	struct asking q;

	ck_assert_int_eq((int)registered(&gw, REGISTER, "alice", "pw"), STATUS_NOT_MUTUAL);
	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "alice", "pw"), STATUS_NOT_MUTUAL);
	ck_assert_ptr_null(strstr(journal, "step"));
	ask(&q, "gw-1", "alice", "headset", ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 1, GATEWAY_KEY_EXPORTER, 0);
	ck_assert_int_eq((int)status_of(post(&gw, &q.m, NULL)), STATUS_NOT_MUTUAL);
}
END_TEST

START_TEST(test_dispatch)
{
	struct client gw = gateway("gw-1", true);
	struct client other = gateway("gw-2", true);
	struct asking q;
	struct message m = {.kind = MESSAGE_eukey_delivery_report_response};
	struct answer *a;

	/* the TLS identity is not the Source */
	other.self = gw.self;
	ck_assert_int_eq((int)registered(&other, REGISTER, "alice", "pw"), STATUS_NOT_OWNER);
	/* somebody else is meant */
	ask(&q, "pne-1", "alice", "pne-1", ENTITY_PNE);
	q.m.envelope.target = bytes_text("other.example");
	ck_assert_int_eq((int)status_of(post(&gw, &q.m, NULL)), STATUS_WRONG_TARGET);
	/* a PNE asks for another's key */
	ask(&q, "pne-1", "alice", "pne-2", ENTITY_PNE);
	ck_assert_int_eq((int)status_of(post(&gw, &q.m, NULL)), STATUS_NOT_EXPECTED);
	/* no request at all */
	fresh_id();
	envelope(&m, &last_id, "gw-1", SERVER_NAME);
	m.eukey_delivery_report_response.status = STATUS_OK;
	encode(&m);
	a = post_bytes(&gw, bytes_of(last_request, last_request_size), NULL);
	ck_assert_int_eq(a->http, 409);
	/* nothing at all: what curl --digest begins with */
	a = post_bytes(&gw, BYTES_NONE, NULL);
	ck_assert_int_eq(a->http, 401);
	ck_assert_ptr_nonnull(strstr(a->challenge, "nonce="));
	/* malformed: says where */
	a = post_bytes(&gw, bytes_text("<a>\n<b></a>"), NULL);
	ck_assert_int_eq(a->http, 400);
	ck_assert_ptr_nonnull(strstr(a->body, "line"));
	client_free(&gw);
	client_free(&other);
}
END_TEST

START_TEST(test_figure5)
{
	struct client gw = gateway("gw-1", true);
	struct secret *key = NULL, *stored = NULL;

	ck_assert_int_eq((int)registered(&gw, REGISTER, "alice", "pw"), STATUS_OK);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, &key), STATUS_OK);
	ck_assert_int_eq(store_eukey(store, bytes_text("alice"), bytes_text("tablet"), 1, &stored),
			 0);
	ck_assert(secret_equal(key, stored));
	ck_assert_ptr_nonnull(strstr(journal, "Fig. 5 step 11"));
	secret_unref(key);
	secret_unref(stored);
	ck_assert_int_eq((int)figure5(&gw, "alice", "wrong", "tablet", NULL, 0, NULL),
			 STATUS_UNAUTHORIZED);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, NULL), STATUS_OK);
	ck_assert(server_has("alice", "tablet", 1));
	ck_assert(server_has("alice", "tablet", 2));
	client_free(&gw);
}
END_TEST

/* Challenge, then refusal: the same shape, and a salt that stays. */
START_TEST(test_unknown_user)
{
	struct client gw = gateway("gw-1", false);
	uint8_t salts[2][SALT_SIZE];
	struct asking q;
	struct message *m;

	for (int i = 0; i < 2; i++) {
		ask(&q, "tablet", "nobody", "tablet", ENTITY_PNE);
		m = post(&gw, &q.m, NULL);
		ck_assert_uint_eq(m->eukey_assignment_response.challenge.parameters.iterations,
				  ITERATIONS);
		memcpy(salts[i], m->eukey_assignment_response.challenge.parameters.salt.data,
		       SALT_SIZE);
		message_free(m);
		/* also after a restart */
		core_free(core);
		start_core();
	}
	ck_assert_mem_eq(salts[0], salts[1], SALT_SIZE);
	ask(&q, "tablet", "nobody", "tablet", ENTITY_PNE);
	m = asked(&gw, &q, "pw");
	ck_assert_int_eq((int)message_status(m), STATUS_UNAUTHORIZED);
	ck_assert(m->eukey_assignment_response.has_challenge);
	ck_assert_uint_eq(m->eukey_assignment_response.challenge.stale, 0);
	ck_assert_ptr_nonnull(
		strstr(answers[(answers_count - 1) % ANSWERS_MAX].challenge, "Digest"));
	message_free(m);
	asking_end(&q);
}
END_TEST

START_TEST(test_stale_nonce)
{
	struct client gw = gateway("gw-1", true);
	struct asking q;
	struct message *m;

	ck_assert_int_eq((int)registered(&gw, REGISTER, "alice", "pw"), STATUS_OK);
	ask(&q, "tablet", "alice", "tablet", ENTITY_PNE);
	challenged(&gw, &q, "pw");
	clock_ms += 61000;
	credentials(&q, 1);
	m = post(&gw, &q.m, NULL);
	ck_assert_uint_eq(m->eukey_assignment_response.challenge.stale, 1);
	ck_assert_int_eq(bytes_to_text(m->eukey_assignment_response.challenge.nonce, q.nonce,
				       sizeof(q.nonce)),
			 0);
	message_free(m);
	credentials(&q, 1);
	ck_assert_int_eq((int)status_of(post(&gw, &q.m, NULL)), STATUS_OK);
	/* the count was used */
	credentials(&q, 1);
	m = post(&gw, &q.m, NULL);
	ck_assert_int_eq((int)message_status(m), STATUS_UNAUTHORIZED);
	ck_assert_uint_eq(m->eukey_assignment_response.challenge.stale, 1);
	message_free(m);
	credentials(&q, 2);
	ck_assert_int_eq((int)status_of(post(&gw, &q.m, NULL)), STATUS_OK);
	asking_end(&q);
	client_free(&gw);
}
END_TEST

START_TEST(test_repeated)
{
	struct client gw = gateway("gw-1", true);
	struct asking q;
	struct answer *first, *second;
	char body[MESSAGE_MAX_SIZE + 1];

	ck_assert_int_eq((int)registered(&gw, REGISTER, "alice", "pw"), STATUS_OK);
	ask(&q, "tablet", "alice", "tablet", ENTITY_PNE);
	challenged(&gw, &q, "pw");
	credentials(&q, 1);
	message_free(post(&gw, &q.m, &first));
	ck_assert_int_eq(first->http, 200);
	memcpy(body, first->body, sizeof(body));
	core_free(core);
	start_core();
	message_free(post(&gw, &q.m, &second));
	ck_assert_int_eq(second->http, 200);
	ck_assert_str_eq(second->body, body);
	ck_assert(!server_has("alice", "tablet", 2));
	/* the same id with other bytes */
	q.m.eukey_assignment_request.digest.nonce_count = 2;
	ck_assert_int_eq((int)status_of(post(&gw, &q.m, NULL)), STATUS_ID_REUSED);
	/* answers are kept for a time only, then the nonce decides */
	q.m.eukey_assignment_request.digest.nonce_count = 1;
	clock_s += 3 * 86400;
	clock_ms += 3 * 86400 * 1000ULL;
	ck_assert_int_eq((int)registered(&gw, REGISTER, "alice", "pw"), STATUS_OK);
	ck_assert_int_eq((int)status_of(post(&gw, &q.m, NULL)), STATUS_UNAUTHORIZED);
	asking_end(&q);
	client_free(&gw);
}
END_TEST

/* The id of an answered request, for another one. */
START_TEST(test_id_reused)
{
	struct client gw = gateway("gw-1", true);
	const size_t before = answers_count + 2;

	ck_assert_int_eq((int)registered(&gw, REGISTER, "alice", "pw"), STATUS_OK);
	ck_assert_int_eq((int)registered(&gw, REGISTER, "bob", "pw"), STATUS_OK);
	/* bob's request once more, under another user */
	for (size_t i = 0; i + 3 < last_request_size; i++) {
		if (memcmp(last_request + i, "bob", 3) == 0)
			memcpy(last_request + i, "bab", 3);
	}
	ck_assert_uint_eq(answers_count, before);
	core_request(core, bytes_of(last_request, last_request_size), BYTES_NONE, &gw.peer, NULL);
	/* the id was answered for another request */
	ck_assert_uint_eq(answers_count, before + 1);
	ck_assert_int_eq(answers[before].http, 409);
	client_free(&gw);
}
END_TEST

/* A repeat while the first is being computed joins it. */
START_TEST(test_joined)
{
	struct client gw = gateway("gw-1", true);
	char copy[MESSAGE_MAX_SIZE];
	size_t size;

	ck_assert_int_eq((int)registered(&gw, REGISTER, "alice", "pw"), STATUS_OK);
	/* forget the answer, keep the bytes */
	clock_s += 3 * 86400;
	clock_ms += 3 * 86400 * 1000ULL;
	memcpy(copy, last_request, last_request_size);
	size = last_request_size;
	ck_assert_int_eq((int)registered(&gw, REGISTER, "bob", "pw"), STATUS_OK);
	answers_count = 0;
	for (size_t i = 1; i <= 2; i++)
		core_request(core, bytes_of(copy, size), BYTES_NONE, &gw.peer, (void *)i);
	ck_assert_uint_eq(answers_count, 0);
	ck_assert_uint_eq(derivations_count, 1);
	ck_assert(core_busy(core));
	pump();
	ck_assert(!core_busy(core));
	ck_assert_uint_eq(answers_count, 2);
	ck_assert_uint_eq(answers[0].reply + answers[1].reply, 3);
	ck_assert_str_eq(answers[0].body, answers[1].body);
	client_free(&gw);
}
END_TEST

START_TEST(test_wrong_owner)
{
	struct client gw = gateway("gw-1", true);
	struct store_batch batch = {0};

	ck_assert_int_eq((int)registered(&gw, REGISTER, "alice", "pw"), STATUS_OK);
	ck_assert_int_eq((int)registered(&gw, REGISTER, "bob", "pw"), STATUS_OK);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, NULL), STATUS_OK);
	ck_assert_int_eq((int)figure5(&gw, "bob", "pw", "tablet", NULL, 0, NULL), STATUS_NOT_OWNER);
	store_batch_release(&batch, bytes_text("tablet"));
	ck_assert_int_eq(store_commit(store, &batch), 0);
	store_batch_clear(&batch);
	ck_assert(!server_has("alice", "tablet", 1));
	ck_assert_int_eq((int)figure5(&gw, "bob", "pw", "tablet", NULL, 0, NULL), STATUS_OK);
	/* the index goes on */
	ck_assert(server_has("bob", "tablet", 2));
	client_free(&gw);
}
END_TEST

START_TEST(test_held_key)
{
	struct client gw = gateway("gw-1", true);
	struct secret *first = NULL, *second = NULL;

	ck_assert_int_eq((int)registered(&gw, REGISTER, "alice", "pw"), STATUS_OK);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, &first), STATUS_OK);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, &second), STATUS_OK);
	/* a wrong proof forgets nothing, and is no reason to refuse */
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", first, 2, NULL), STATUS_OK);
	ck_assert(server_has("alice", "tablet", 1));
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", second, 2, NULL), STATUS_OK);
	ck_assert(!server_has("alice", "tablet", 1));
	for (uint32_t i = 2; i <= 4; i++)
		ck_assert(server_has("alice", "tablet", i));
	secret_unref(first);
	secret_unref(second);
	client_free(&gw);
}
END_TEST

/* More registrations than are computed at once: refused, not remembered, taken later. */
START_TEST(test_busy)
{
	static const char *const users[] = {"alice", "bob", "carol"};
	struct client gw = gateway("gw-1", true);
	char copies[3][2048];
	size_t sizes[3];
	struct message *m = NULL;
	struct malformation why;

	for (size_t i = 0; i < 3; i++) {
		ck_assert_int_eq((int)registered(&gw, REGISTER, users[i], "pw"), STATUS_OK);
		ck_assert_uint_le(last_request_size, sizeof(copies[i]));
		memcpy(copies[i], last_request, last_request_size);
		sizes[i] = last_request_size;
	}
	clock_s += 3 * 86400;
	clock_ms += 3 * 86400 * 1000ULL;
	ck_assert_int_eq((int)registered(&gw, REGISTER, "dave", "pw"), STATUS_OK);
	answers_count = 0;
	for (size_t i = 0; i < 3; i++)
		core_request(core, bytes_of(copies[i], sizes[i]), BYTES_NONE, &gw.peer, NULL);
	ck_assert_uint_eq(answers_count, 1);
	ck_assert_int_eq(message_decode(bytes_of(answers[0].body, answers[0].size), &m, &why), 0);
	ck_assert_int_eq((int)status_of(m), STATUS_BUSY);
	pump();
	ck_assert_uint_eq(answers_count, 3);
	ck_assert_int_eq(post_bytes(&gw, bytes_of(copies[2], sizes[2]), NULL)->http, 200);
	client_free(&gw);
}
END_TEST

static void ask_figure6(struct asking *q, const char *entity, const char *user,
			const struct secret *ph)
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

START_TEST(test_figure6)
{
	struct client gw = gateway("gw-1", true), bobs = gateway("gw-2", true);
	struct client open = gateway("gw-1", false);
	struct secret *ph, *key = NULL, *stored = NULL;
	struct p1_context context;
	struct m_assigned_key *k;
	uint8_t salt[2 * RAND_SIZE];
	struct asking q;
	struct message *m;

	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "alice", "pw"), STATUS_OK);
	ck_assert_int_eq((int)registered(&bobs, SUBSCRIBE, "bob", "pw"), STATUS_OK);
	/* the first subscription bound the PN GW */
	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "bob", "pw"), STATUS_NOT_OWNER);
	ph = ph_of("alice", "pw");
	ask_figure6(&q, "headset", "alice", ph);
	ck_assert_int_eq((int)status_of(post(&open, &q.m, NULL)), STATUS_NOT_MUTUAL);
	m = post(&gw, &q.m, NULL);
	ck_assert_int_eq((int)message_status(m), STATUS_OK);
	k = &m->eukey_assignment_response.key;
	memcpy(salt, q.rand_pne, RAND_SIZE);
	memcpy(salt + RAND_SIZE, k->rand_server.data, RAND_SIZE);
	p1_key_context(&context, P1_KEK, bytes_text("alice"), bytes_text("headset"), k->key_index);
	ck_assert_int_eq(p1_unwrap(ph, bytes_of(salt, sizeof(salt)), &context, k->wrapped, &key),
			 0);
	ck_assert_int_eq(store_eukey(store, bytes_text("alice"), bytes_text("headset"),
				     k->key_index, &stored),
			 0);
	ck_assert(secret_equal(key, stored));
	message_free(m);
	/* through the PN GW of somebody else: comment C255 */
	ask_figure6(&q, "headset", "alice", ph);
	ck_assert_int_eq((int)status_of(post(&bobs, &q.m, NULL)), STATUS_NOT_OWNER);
	ck_assert_ptr_nonnull(strstr(journal, "GATEWAY_NOT_OWNER"));
	/* AuthData of another key, and of a user there is not: the same answer */
	for (int i = 0; i < 2; i++) {
		ask_figure6(&q, "headset", i == 0 ? "alice" : "nobody", stored);
		m = post(&gw, &q.m, NULL);
		ck_assert_int_eq((int)message_status(m), STATUS_UNAUTHORIZED);
		ck_assert(!m->eukey_assignment_response.has_challenge);
		message_free(m);
	}
	secret_unref(ph);
	secret_unref(key);
	secret_unref(stored);
	client_free(&gw);
	client_free(&bobs);
}
END_TEST

static void give_temporary_key(const char *entity, struct secret *key)
{
	struct store_batch batch = {0};

	store_batch_temporary_key(&batch, bytes_text(entity), key, false);
	ck_assert_int_eq(store_commit(store, &batch), 0);
	store_batch_clear(&batch);
}

/* What is in a set opens with shared, and is what the server has. */
static void check_set(struct message *m, const char *entity, const struct secret *shared,
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

START_TEST(test_c270_c272_c278_figure7_random_or_chain)
{
	struct client gw = gateway("gw-1", true), bobs = gateway("gw-2", true);
	struct secret *tk = secret_random(20);
	struct asking q;

	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "alice", "pw"), STATUS_OK);
	ck_assert_int_eq((int)registered(&bobs, SUBSCRIBE, "bob", "pw"), STATUS_OK);
	give_temporary_key("headset", tk);
	ask(&q, "gw-1", "alice", "headset", ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 3, GATEWAY_KEY_EXPORTER, 0);
	check_set(asked(&gw, &q, "pw"), "headset", gw.peer.exporter, tk, 1, 3);
	asking_end(&q);
	ask(&q, "gw-1", "alice", "headset", ENTITY_PNE);
	ask_set(&q, KEY_SET_CHAIN, 8, GATEWAY_KEY_EXPORTER, 0);
	check_set(asked(&gw, &q, "pw"), "headset", gw.peer.exporter, tk, 4, 8);
	asking_end(&q);
	/* what is refused, and why */
	ask(&q, "gw-1", "alice", "headset", ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 9, GATEWAY_KEY_EXPORTER, 0);
	ck_assert_int_eq((int)status_of(asked(&gw, &q, "pw")), STATUS_TOO_MANY_KEYS);
	asking_end(&q);
	ask(&q, "gw-1", "alice", "headset-9", ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 1, GATEWAY_KEY_EXPORTER, 0);
	ck_assert_int_eq((int)status_of(asked(&gw, &q, "pw")), STATUS_NO_TEMPORARY_KEY);
	asking_end(&q);
	ask(&q, "gw-1", "alice", "headset", ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 1, GATEWAY_KEY_EUKEY, 1);
	ck_assert_int_eq((int)status_of(asked(&gw, &q, "pw")), STATUS_DOES_NOT_UNWRAP);
	asking_end(&q);
	ask(&q, "gw-2", "alice", "headset", ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 1, GATEWAY_KEY_EXPORTER, 0);
	ck_assert_int_eq((int)status_of(asked(&bobs, &q, "pw")), STATUS_NOT_OWNER);
	asking_end(&q);
	ask(&q, "gw-1", "alice", "headset", ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 1, GATEWAY_KEY_EXPORTER, 0);
	ck_assert_int_eq((int)status_of(asked(&gw, &q, "wrong")), STATUS_UNAUTHORIZED);
	asking_end(&q);
	ck_assert(!server_has("alice", "headset", 12));
	secret_unref(tk);
	client_free(&gw);
	client_free(&bobs);
}
END_TEST

/* Figure 8 on a connection of the PN GW that only the server is authenticated on; then Figure 7. */
START_TEST(test_c281_figure8_by_the_owners_password)
{
	struct client gw = gateway("gw-1", true), open = gateway("gw-1", false);
	struct m_gateway_key by = {.kind = GATEWAY_KEY_EUKEY, .key_index = 1};
	struct secret *tk = secret_random(KEY_SIZE), *own;
	struct asking q;
	struct message *m;

	ck_assert_int_eq((int)registered(&gw, REGISTER, "alice", "pw"), STATUS_OK);
	ck_assert_int_eq((int)registered(&gw, REGISTER, "bob", "pw"), STATUS_OK);
	ask(&q, "gw-1", "alice", "gw-1", ENTITY_PNGW);
	m = asked(&open, &q, "pw");
	own = open_digest(&q, m);
	message_free(m);
	asking_end(&q);
	ck_assert_ptr_nonnull(strstr(journal, "Fig. 8 step 6"));
	ask(&q, "gw-1", "bob", "gw-1", ENTITY_PNGW);
	ck_assert_int_eq((int)status_of(asked(&open, &q, "pw")), STATUS_NOT_OWNER);
	asking_end(&q);
	give_temporary_key("headset", tk);
	ask(&q, "gw-1", "alice", "headset", ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 2, GATEWAY_KEY_EUKEY, 1);
	check_set(asked(&open, &q, "pw"), "headset", own, tk, 1, 2);
	asking_end(&q);
	/* registration under the PN GW's own EUKey */
	m = registers(&gw, REGISTER, "carol", "pw", &by, own);
	ck_assert_int_eq((int)status_of(m), STATUS_OK);
	m = registers(&gw, REGISTER, "dave", "pw", &by, tk);
	ck_assert_int_eq((int)status_of(m), STATUS_DOES_NOT_UNWRAP);
	secret_unref(own);
	secret_unref(tk);
	client_free(&gw);
}
END_TEST

static struct store_element element_of(const char *entity)
{
	struct store_element e;

	ck_assert_int_eq(store_element(store, bytes_text(entity), &e), 0);
	return e;
}

static struct secret *stored_key(const char *user, const char *entity, uint32_t index)
{
	struct secret *key = NULL;

	ck_assert_int_eq(store_eukey(store, bytes_text(user), bytes_text(entity), index, &key), 0);
	return key;
}

/* The proof of a refill, made with key, for the PN GW of that name. */
static void ask_refill(struct asking *q, const struct secret *key, uint32_t index,
		       const char *gateway)
{
	struct m_eukey_assignment_request *r = &q->m.eukey_assignment_request;

	ck_assert_int_eq(p1_refill_proof(key, r->user_id, r->entity_id, index, &q->id,
					 bytes_text(gateway), q->proof),
			 0);
	r->has_refill = true;
	r->refill.key_index = index;
	r->refill.proof = bytes_of(q->proof, sizeof(q->proof));
}

/* A refill of one key as client, everything right but for what the arguments say. */
static enum status refill(const struct client *client, const char *user, const char *entity,
			  const struct secret *key, uint32_t index, const char *gateway)
{
	struct asking q;

	ask(&q, client->self.text, user, entity, ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 1, GATEWAY_KEY_EXPORTER, 0);
	ask_refill(&q, key, index, gateway);
	return status_of(post(client, &q.m, NULL));
}

/* gw-1 of alice has EUKeys 1 to 3 of her headset. */
static void first_set(const struct client *gw, const struct secret *temporary_key)
{
	struct asking q;

	ask(&q, "gw-1", "alice", "headset", ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 3, GATEWAY_KEY_EXPORTER, 0);
	check_set(asked(gw, &q, "pw"), "headset", gw->peer.exporter, temporary_key, 1, 3);
	asking_end(&q);
}

START_TEST(test_refill)
{
	struct client gw = gateway("gw-1", true), open = gateway("gw-1", false);
	struct client bobs = gateway("gw-2", true);
	struct secret *tk = secret_random(KEY_SIZE), *key, *other = secret_random(KEY_SIZE);
	char before[MESSAGE_MAX_SIZE + 1];
	struct asking q;
	struct message *m;
	struct answer *a;

	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "alice", "pw"), STATUS_OK);
	ck_assert_int_eq((int)registered(&bobs, SUBSCRIBE, "bob", "pw"), STATUS_OK);
	give_temporary_key("headset", tk);
	first_set(&gw, tk);
	key = stored_key("alice", "headset", 3);
	/* appended, and the same bytes for the same message */
	ask(&q, "gw-1", "alice", "headset", ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 2, GATEWAY_KEY_EXPORTER, 0);
	ask_refill(&q, key, 3, "gw-1");
	m = post(&gw, &q.m, &a);
	memcpy(before, a->body, sizeof(before));
	check_set(m, "headset", gw.peer.exporter, tk, 4, 2);
	a = post_bytes(&gw, bytes_of(last_request, last_request_size), NULL);
	ck_assert_str_eq(a->body, before);
	ck_assert(server_has("alice", "headset", 5) && !server_has("alice", "headset", 6));
	/* a chain too, and with the last key of the set before */
	secret_unref(key);
	key = stored_key("alice", "headset", 5);
	ask(&q, "gw-1", "alice", "headset", ENTITY_PNE);
	ask_set(&q, KEY_SET_CHAIN, 3, GATEWAY_KEY_EXPORTER, 0);
	ask_refill(&q, key, 5, "gw-1");
	check_set(post(&gw, &q.m, NULL), "headset", gw.peer.exporter, tk, 6, 3);
	/* more than the server gives out */
	ask(&q, "gw-1", "alice", "headset", ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 9, GATEWAY_KEY_EXPORTER, 0);
	ask_refill(&q, key, 5, "gw-1");
	ck_assert_int_eq((int)status_of(post(&gw, &q.m, NULL)), STATUS_TOO_MANY_KEYS);
	ck_assert_int_eq((int)refill(&open, "alice", "headset", key, 5, "gw-1"), STATUS_NOT_MUTUAL);
	/* the proof is for the PN GW that has the connection, the key for that user and device */
	ck_assert_int_eq((int)refill(&bobs, "alice", "headset", key, 5, "gw-1"),
			 STATUS_UNAUTHORIZED);
	ck_assert_int_eq((int)refill(&gw, "alice", "headset", key, 5, "gw-2"), STATUS_UNAUTHORIZED);
	ck_assert_int_eq((int)refill(&gw, "alice", "headset", other, 5, "gw-1"),
			 STATUS_UNAUTHORIZED);
	ck_assert_int_eq((int)refill(&gw, "alice", "headset", key, 4, "gw-1"), STATUS_UNAUTHORIZED);
	ck_assert_int_eq((int)refill(&gw, "alice", "headset", key, 99, "gw-1"),
			 STATUS_UNAUTHORIZED);
	ck_assert_int_eq((int)refill(&gw, "bob", "headset", key, 5, "gw-1"), STATUS_UNAUTHORIZED);
	/* even with the key: a PN GW of somebody else */
	ck_assert_int_eq((int)refill(&bobs, "alice", "headset", key, 5, "gw-2"), STATUS_NOT_OWNER);
	ck_assert(!server_has("alice", "headset", 9));
	ck_assert_ptr_nonnull(strstr(journal, "REFILL_NEEDS_USER"));
	secret_unref(key);
	secret_unref(other);
	secret_unref(tk);
	client_free(&gw);
	client_free(&bobs);
}
END_TEST

/* What a PNE says of its key, which anybody on the PAN may hear, gets nobody a set. */
START_TEST(test_refill_is_no_receipt)
{
	struct client gw = gateway("gw-1", true);
	struct secret *tk = secret_random(KEY_SIZE), *key;
	struct m_eukey_assignment_request *r;
	struct asking q;
	struct message *m;

	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "alice", "pw"), STATUS_OK);
	give_temporary_key("headset", tk);
	first_set(&gw, tk);
	key = stored_key("alice", "headset", 1);
	ask(&q, "gw-1", "alice", "headset", ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 1, GATEWAY_KEY_EXPORTER, 0);
	ask_refill(&q, key, 1, "gw-1");
	r = &q.m.eukey_assignment_request;
	ck_assert_int_eq(p1_held_proof(key, r->user_id, r->entity_id, 1, &q.id, q.proof), 0);
	m = post(&gw, &q.m, NULL);
	ck_assert_int_eq((int)message_status(m), STATUS_UNAUTHORIZED);
	/* the answer to a request without credentials */
	ck_assert(m->eukey_assignment_response.has_challenge);
	message_free(m);
	/* and a refill is for sets only */
	ask(&q, "headset", "alice", "headset", ENTITY_PNE);
	ask_refill(&q, key, 1, "headset");
	ck_assert_int_eq((int)status_of(post(&gw, &q.m, NULL)), STATUS_NOT_EXPECTED);
	ck_assert(!server_has("alice", "headset", 4));
	secret_unref(key);
	secret_unref(tk);
	client_free(&gw);
}
END_TEST

static enum status report(const struct client *gw, const struct secret *key, uint32_t index)
{
	struct message m = {.kind = MESSAGE_eukey_delivery_report};
	struct m_delivery *d = &m.eukey_delivery_report.deliveries[0];
	struct message_id notification = {{7}};
	uint8_t proof[P1_MAC_SIZE];

	fresh_id();
	envelope(&m, &last_id, gw->self.text, SERVER_NAME);
	m.eukey_delivery_report.deliveries_count = 1;
	d->user_id = bytes_text("alice");
	d->entity_id = bytes_text("tablet");
	d->key_index = index;
	d->state = DELIVERY_INSTALLED;
	d->message_id = bytes_of(notification.b, sizeof(notification.b));
	ck_assert_int_eq(p1_held_proof(key, d->user_id, d->entity_id, index, &notification, proof),
			 0);
	d->proof = bytes_of(proof, sizeof(proof));
	return status_of(post(gw, &m, NULL));
}

/* What cpns-server-admin does while the server runs. */
static int operator_revokes(const char *entity)
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

static void operator_blocks(const char *user, bool blocked)
{
	struct store_batch b = {0};

	store_batch_block(&b, bytes_text(user), blocked);
	ck_assert_int_eq(store_commit(store, &b), 0);
	store_batch_clear(&b);
}

START_TEST(test_delivery_report)
{
	struct client gw = gateway("gw-1", true);
	struct secret *first = NULL, *second = NULL;

	ck_assert_int_eq((int)registered(&gw, REGISTER, "alice", "pw"), STATUS_OK);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, &first), STATUS_OK);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, &second), STATUS_OK);
	ck_assert_int_eq((int)report(&gw, first, 2), STATUS_OK);
	ck_assert(server_has("alice", "tablet", 1));
	ck_assert_int_eq((int)report(&gw, second, 2), STATUS_OK);
	ck_assert(!server_has("alice", "tablet", 1));
	ck_assert(server_has("alice", "tablet", 2));
	/* an old report, late: nothing */
	ck_assert_int_eq((int)report(&gw, first, 1), STATUS_OK);
	ck_assert(server_has("alice", "tablet", 2));
	ck_assert_ptr_nonnull(strstr(journal, "delivery report: 1 EUKeys proven to be held"));
	/* nor is a revoked key there again */
	ck_assert_int_eq((int)operator_revokes("tablet"), 0);
	ck_assert_int_eq((int)report(&gw, second, 2), STATUS_OK);
	ck_assert(!server_has("alice", "tablet", 2));
	ck_assert_int_eq(element_of("tablet").revocation.reset, RESET_UNCONFIRMED);
	ck_assert_str_eq(element_of("tablet").owner.text, "");
	secret_unref(first);
	secret_unref(second);
	client_free(&gw);
}
END_TEST

/* A state report in the making. */
struct telling {
	struct message m;
	struct message_id id;
	uint8_t vault[16], head[32];
};

static void tell(struct telling *t, const struct client *gw, uint8_t vault, uint32_t sequence,
		 uint8_t head)
{
	struct m_gateway_state_report *r = &t->m.gateway_state_report;

	*t = (struct telling){.m = {.kind = MESSAGE_gateway_state_report}};
	ck_assert_int_eq(p1_random(t->id.b, sizeof(t->id.b)), 0);
	envelope(&t->m, &t->id, gw->self.text, SERVER_NAME);
	memset(t->vault, vault, sizeof(t->vault));
	memset(t->head, head, sizeof(t->head));
	r->has_vault = true;
	r->vault.vault_id = bytes_of(t->vault, sizeof(t->vault));
	r->vault.sequence = sequence;
	r->vault.head = bytes_of(t->head, sizeof(t->head));
}

static void tell_of(struct telling *t, const char *entity, uint32_t epoch, uint32_t key_index,
		    enum reset_state reset)
{
	struct m_gateway_state_report *r = &t->m.gateway_state_report;

	r->elements[r->elements_count++] = (struct m_element_state){.entity_id = bytes_text(entity),
								    .epoch = epoch,
								    .key_index = key_index,
								    .reset = reset};
}

static struct message *told(const struct client *gw, const struct telling *t)
{
	struct message *m = post(gw, &t->m, NULL);

	ck_assert_int_eq((int)m->kind, MESSAGE_gateway_state_response);
	ck_assert_int_eq((int)message_status(m), STATUS_OK);
	return m;
}

/* The sequence that the server answers it knew before, -1 for none. */
static long known(const struct client *gw, uint8_t vault, uint32_t sequence, uint8_t head)
{
	struct telling t;
	struct message *m;
	long r;

	tell(&t, gw, vault, sequence, head);
	m = told(gw, &t);
	r = m->gateway_state_response.has_known ? (long)m->gateway_state_response.known.sequence
						: -1;
	message_free(m);
	return r;
}

static bool rolled_back(void)
{
	const bool r = strstr(journal, "GATEWAY_ROLLED_BACK") != NULL;

	journal[0] = '\0';
	return r;
}

START_TEST(test_state_rollback)
{
	struct client gw = gateway("gw-1", true), other = gateway("gw-2", true);
	struct client open = gateway("gw-1", false);
	char before[MESSAGE_MAX_SIZE + 1];
	struct telling t;
	struct answer *a;

	tell(&t, &open, 1, 5, 5);
	ck_assert_int_eq((int)status_of(post(&open, &t.m, NULL)), STATUS_NOT_MUTUAL);
	ck_assert_int_eq(known(&gw, 1, 5, 5), -1);
	ck_assert_int_eq(known(&gw, 1, 9, 9), 5);
	ck_assert_int_eq(known(&gw, 1, 9, 9), 9);
	ck_assert(!rolled_back());
	/* an older copy, and another one of the same length; neither becomes the newest */
	ck_assert_int_eq(known(&gw, 1, 7, 7), 9);
	ck_assert(rolled_back());
	ck_assert_int_eq(known(&gw, 1, 9, 8), 9);
	ck_assert(rolled_back());
	ck_assert_int_eq(known(&gw, 1, 9, 9), 9);
	ck_assert(!rolled_back());
	/* the PN GW has gone on from there; the same message has the same answer */
	tell(&t, &gw, 1, 10, 1);
	message_free(post(&gw, &t.m, &a));
	memcpy(before, a->body, sizeof(before));
	a = post_bytes(&gw, bytes_of(last_request, last_request_size), NULL);
	ck_assert_str_eq(a->body, before);
	ck_assert_int_eq(known(&gw, 1, 11, 2), 10);
	ck_assert(!rolled_back());
	/* another vault, and another PN GW */
	ck_assert_int_eq(known(&gw, 2, 1, 1), -1);
	ck_assert_int_eq(known(&other, 1, 1, 1), -1);
	ck_assert_int_eq(known(&gw, 1, 6, 6), 11);
	ck_assert(rolled_back());
	client_free(&gw);
	client_free(&other);
}
END_TEST

/* The EUKey that a reset authorization was made of; the message has one for index. */
static void check_reset(const struct message *m, const char *entity, uint32_t epoch, uint32_t index,
			const struct secret *key)
{
	const struct m_gateway_state_response *r = &m->gateway_state_response;
	const struct m_reset_authorization *found = NULL;
	uint8_t proof[P1_MAC_SIZE], confirmation[P1_MAC_SIZE];
	struct message_id id;

	for (size_t i = 0; i < r->resets_count && !found; i++) {
		if (bytes_equal(r->resets[i].entity_id, bytes_text(entity)) &&
		    r->resets[i].key_index == index)
			found = &r->resets[i];
	}
	ck_assert_ptr_nonnull(found);
	ck_assert_uint_eq(found->epoch, epoch);
	ck_assert(bytes_equal(found->user_id, bytes_text("alice")));
	memcpy(id.b, found->message_id.data, sizeof(id.b));
	ck_assert_int_eq(p1_reset_proof(key, found->user_id, found->entity_id, index, &id, proof),
			 0);
	ck_assert_int_eq(p1_reset_confirmation(key, found->user_id, found->entity_id, index, &id,
					       confirmation),
			 0);
	ck_assert(bytes_equal(found->proof, bytes_of(proof, sizeof(proof))));
	ck_assert(bytes_equal(found->confirmation, bytes_of(confirmation, sizeof(confirmation))));
}

static void check_element(const struct message *m, size_t at, const char *entity, uint32_t epoch,
			  uint32_t key_index, enum reset_state reset)
{
	const struct m_element_state *e = &m->gateway_state_response.elements[at];

	ck_assert_uint_gt(m->gateway_state_response.elements_count, at);
	ck_assert(bytes_equal(e->entity_id, bytes_text(entity)));
	ck_assert_uint_eq(e->epoch, epoch);
	ck_assert_uint_eq(e->key_index, key_index);
	ck_assert_int_eq((int)e->reset, (int)reset);
}

/* The operator revokes; the PN GW learns, resets, confirms; the device is assigned anew. */
START_TEST(test_state_operator_revokes)
{
	struct client gw = gateway("gw-1", true);
	struct secret *first = NULL, *second = NULL, *third = NULL;
	struct telling t;
	struct message *m;

	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "alice", "pw"), STATUS_OK);
	ck_assert_int_eq((int)registered(&gw, REGISTER, "bob", "pw"), STATUS_OK);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, &first), STATUS_OK);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, &second), STATUS_OK);
	/* nothing to tell */
	tell(&t, &gw, 1, 1, 1);
	tell_of(&t, "tablet", 0, 0, RESET_NONE);
	tell_of(&t, "gw-1", 0, 0, RESET_NONE);
	tell_of(&t, "unknown", 0, 0, RESET_NONE);
	m = told(&gw, &t);
	ck_assert_uint_eq(m->gateway_state_response.elements_count, 0);
	ck_assert_uint_eq(m->gateway_state_response.resets_count, 0);
	message_free(m);
	ck_assert_int_eq(operator_revokes("tablet"), 0);
	ck_assert(!server_has("alice", "tablet", 1) && !server_has("alice", "tablet", 2));
	/* news, and again the resets as long as they are not confirmed */
	for (uint32_t epoch = 0; epoch < 2; epoch++) {
		tell(&t, &gw, 1, 2, 2);
		tell_of(&t, "tablet", epoch, epoch * 2, epoch ? RESET_UNCONFIRMED : RESET_NONE);
		m = told(&gw, &t);
		ck_assert_uint_eq(m->gateway_state_response.elements_count, 1 - epoch);
		if (epoch == 0)
			check_element(m, 0, "tablet", 1, 2, RESET_UNCONFIRMED);
		ck_assert_uint_eq(m->gateway_state_response.resets_count, 2);
		check_reset(m, "tablet", 1, 1, first);
		check_reset(m, "tablet", 1, 2, second);
		message_free(m);
	}
	/* a PN GW that does not know of the revocation cannot confirm it */
	tell(&t, &gw, 1, 2, 2);
	tell_of(&t, "tablet", 0, 0, RESET_CONFIRMED);
	message_free(told(&gw, &t));
	ck_assert_int_eq(element_of("tablet").revocation.reset, RESET_UNCONFIRMED);
	tell(&t, &gw, 1, 2, 2);
	tell_of(&t, "tablet", 1, 2, RESET_CONFIRMED);
	tell_of(&t, "tablet", 1, 2, RESET_UNCONFIRMED);
	m = told(&gw, &t);
	ck_assert_uint_eq(m->gateway_state_response.elements_count, 0);
	ck_assert_uint_eq(m->gateway_state_response.resets_count, 0);
	message_free(m);
	ck_assert_int_eq(element_of("tablet").revocation.reset, RESET_CONFIRMED);
	ck_assert_ptr_nonnull(strstr(journal, "tablet has erased its revoked EUKey"));
	/* somebody else's now; alice's PN GW has no say any more */
	ck_assert_int_eq((int)figure5(&gw, "bob", "pw", "tablet", NULL, 0, &third), STATUS_OK);
	ck_assert(server_has("bob", "tablet", 3));
	tell(&t, &gw, 1, 2, 2);
	tell_of(&t, "tablet", 2, 3, RESET_UNCONFIRMED);
	m = told(&gw, &t);
	check_element(m, 0, "tablet", 1, 2, RESET_CONFIRMED);
	message_free(m);
	ck_assert(server_has("bob", "tablet", 3));
	ck_assert_ptr_nonnull(strstr(journal, "warning: gw-1 may not revoke tablet"));
	secret_unref(first);
	secret_unref(second);
	secret_unref(third);
	client_free(&gw);
}
END_TEST

/* The PN GW has revoked while the WAN was down. */
START_TEST(test_state_gateway_revokes)
{
	struct client gw = gateway("gw-1", true), bobs = gateway("gw-2", true);
	struct secret *key = NULL, *held;
	struct telling t;
	struct message *m;

	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "alice", "pw"), STATUS_OK);
	ck_assert_int_eq((int)registered(&bobs, SUBSCRIBE, "bob", "pw"), STATUS_OK);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, &key), STATUS_OK);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, NULL), STATUS_OK);
	/* not by the PN GW of somebody else, nor beyond reason */
	tell(&t, &bobs, 1, 1, 1);
	tell_of(&t, "tablet", 1, 1, RESET_UNCONFIRMED);
	message_free(told(&bobs, &t));
	tell(&t, &gw, 1, 1, 1);
	tell_of(&t, "tablet", 1, UINT32_MAX, RESET_UNCONFIRMED);
	message_free(told(&gw, &t));
	tell(&t, &gw, 1, 1, 1);
	tell_of(&t, "tablet", UINT32_MAX, 1, RESET_UNCONFIRMED);
	message_free(told(&gw, &t));
	ck_assert(server_has("alice", "tablet", 1));
	/* key 2 never reached that PN GW; it is worthless too, and the answer says so */
	tell(&t, &gw, 1, 1, 1);
	tell_of(&t, "tablet", 1, 1, RESET_UNCONFIRMED);
	m = told(&gw, &t);
	check_element(m, 0, "tablet", 1, 2, RESET_UNCONFIRMED);
	ck_assert_uint_eq(m->gateway_state_response.resets_count, 2);
	check_reset(m, "tablet", 1, 1, key);
	message_free(m);
	ck_assert(!server_has("alice", "tablet", 1) && !server_has("alice", "tablet", 2));
	ck_assert_str_eq(element_of("tablet").owner.text, "");
	ck_assert_int_eq(element_of("tablet").revocation.since, clock_s);
	ck_assert_ptr_nonnull(strstr(journal, "gw-1 has revoked tablet: epoch 1"));
	/* the revoked key counts for nothing */
	journal[0] = '\0';
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", key, 1, NULL), STATUS_OK);
	held = stored_key("alice", "tablet", 3);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", held, 3, NULL), STATUS_OK);
	/* a key that is held now leaves nothing to reset */
	ck_assert_int_eq(element_of("tablet").revocation.reset, RESET_CONFIRMED);
	/* told again, it is no news: what was given since stays */
	tell(&t, &gw, 1, 1, 1);
	tell_of(&t, "tablet", 1, 2, RESET_UNCONFIRMED);
	m = told(&gw, &t);
	ck_assert_uint_eq(m->gateway_state_response.elements_count, 1);
	check_element(m, 0, "tablet", 1, 2, RESET_CONFIRMED);
	ck_assert_uint_eq(m->gateway_state_response.resets_count, 0);
	message_free(m);
	ck_assert(server_has("alice", "tablet", 4));
	/* revoked and confirmed before the server heard of it */
	tell(&t, &gw, 1, 1, 1);
	tell_of(&t, "tablet", 2, 4, RESET_CONFIRMED);
	m = told(&gw, &t);
	ck_assert_uint_eq(m->gateway_state_response.elements_count, 0);
	ck_assert_uint_eq(m->gateway_state_response.resets_count, 0);
	message_free(m);
	ck_assert_int_eq(element_of("tablet").revocation.reset, RESET_CONFIRMED);
	secret_unref(key);
	secret_unref(held);
	client_free(&gw);
	client_free(&bobs);
}
END_TEST

/* Three devices with eight keys each to reset: each answer has room for one, none is left out. */
START_TEST(test_state_resets_take_turns)
{
	static const char *const devices[] = {"headset-1", "headset-2", "headset-3"};
	struct client gw = gateway("gw-1", true);
	struct secret *tk = secret_random(KEY_SIZE), *keys[3];
	unsigned seen[3] = {0};
	struct telling t;
	struct asking q;
	struct message *m;

	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "alice", "pw"), STATUS_OK);
	for (int i = 0; i < 3; i++) {
		give_temporary_key(devices[i], tk);
		for (int j = 0; j < 2; j++) {
			ask(&q, "gw-1", "alice", devices[i], ENTITY_PNE);
			ask_set(&q, KEY_SET_RANDOM, 8, GATEWAY_KEY_EXPORTER, 0);
			ck_assert_int_eq((int)status_of(asked(&gw, &q, "pw")), STATUS_OK);
			asking_end(&q);
		}
		keys[i] = stored_key("alice", devices[i], 8);
		ck_assert_int_eq(operator_revokes(devices[i]), 0);
	}
	for (int round = 0; round < 6; round++) {
		tell(&t, &gw, 1, 1, 1);
		for (int i = 0; i < 3; i++)
			tell_of(&t, devices[i], 1, 16, RESET_UNCONFIRMED);
		m = told(&gw, &t);
		ck_assert_uint_eq(m->gateway_state_response.resets_count, 8);
		for (int i = 0; i < 3; i++) {
			if (!bytes_equal(m->gateway_state_response.resets[0].entity_id,
					 bytes_text(devices[i])))
				continue;
			seen[i]++;
			check_reset(m, devices[i], 1, 8, keys[i]);
		}
		message_free(m);
	}
	for (int i = 0; i < 3; i++) {
		ck_assert_uint_eq(seen[i], 2);
		secret_unref(keys[i]);
	}
	secret_unref(tk);
	client_free(&gw);
}
END_TEST

/* A PN GW that was revoked: its keys count for nothing, it learns, but has no say. */
START_TEST(test_state_of_a_revoked_gateway)
{
	struct client gw = gateway("gw-1", true);
	struct m_gateway_key by = {.kind = GATEWAY_KEY_EUKEY, .key_index = 1};
	struct secret *tk = secret_random(KEY_SIZE), *own, *key;
	struct telling t;
	struct asking q;
	struct message *m;

	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "alice", "pw"), STATUS_OK);
	ask(&q, "gw-1", "alice", "gw-1", ENTITY_PNGW);
	m = asked(&gw, &q, "pw");
	own = open_digest(&q, m);
	message_free(m);
	asking_end(&q);
	give_temporary_key("headset", tk);
	first_set(&gw, tk);
	key = stored_key("alice", "headset", 2);
	ck_assert_int_eq(operator_revokes("gw-1"), 0);
	ck_assert_int_eq(element_of("gw-1").revocation.reset, RESET_NONE);
	m = registers(&gw, REGISTER, "carol", "pw", &by, own);
	ck_assert_int_eq((int)status_of(m), STATUS_DOES_NOT_UNWRAP);
	ck_assert_int_eq((int)refill(&gw, "alice", "headset", key, 2, "gw-1"), STATUS_UNAUTHORIZED);
	tell(&t, &gw, 1, 1, 1);
	tell_of(&t, "gw-1", 0, 0, RESET_NONE);
	tell_of(&t, "headset", 1, 3, RESET_UNCONFIRMED);
	m = told(&gw, &t);
	ck_assert_uint_eq(m->gateway_state_response.elements_count, 2);
	check_element(m, 0, "gw-1", 1, 1, RESET_NONE);
	check_element(m, 1, "headset", 0, 0, RESET_NONE);
	message_free(m);
	ck_assert(server_has("alice", "headset", 2));
	/* the headset too: the refill that went before does not any more, whoever asks */
	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "alice", "pw"), STATUS_OK);
	ck_assert_int_eq((int)refill(&gw, "alice", "headset", key, 2, "gw-1"), STATUS_OK);
	ck_assert_int_eq(operator_revokes("headset"), 0);
	ck_assert_int_eq((int)refill(&gw, "alice", "headset", key, 2, "gw-1"), STATUS_UNAUTHORIZED);
	secret_unref(own);
	secret_unref(key);
	secret_unref(tk);
	client_free(&gw);
}
END_TEST

/* Blocked by the operator: like a user whom nobody knows, whatever is right about the password. */
START_TEST(test_blocked_user)
{
	struct client gw = gateway("gw-1", true);
	struct message *before, *after, *stranger;
	struct secret *ph;
	struct asking q;

	ck_assert_int_eq((int)registered(&gw, REGISTER, "alice", "pw"), STATUS_OK);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, NULL), STATUS_OK);
	ph = ph_of("alice", "pw");
	ask(&q, "tablet", "alice", "tablet", ENTITY_PNE);
	before = post(&gw, &q.m, NULL);
	/* the challenge was for the right salt: the answer comes too late */
	ask(&q, "tablet", "alice", "tablet", ENTITY_PNE);
	challenged(&gw, &q, "pw");
	operator_blocks("alice", true);
	credentials(&q, 1);
	ck_assert_int_eq((int)status_of(post(&gw, &q.m, NULL)), STATUS_UNAUTHORIZED);
	asking_end(&q);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, NULL),
			 STATUS_UNAUTHORIZED);
	ask(&q, "tablet", "alice", "tablet", ENTITY_PNE);
	after = post(&gw, &q.m, NULL);
	ask(&q, "tablet", "alic", "tablet", ENTITY_PNE);
	stranger = post(&gw, &q.m, NULL);
	ck_assert(!bytes_equal(before->eukey_assignment_response.challenge.parameters.salt,
			       after->eukey_assignment_response.challenge.parameters.salt));
	ck_assert_uint_eq(after->eukey_assignment_response.challenge.parameters.iterations,
			  stranger->eukey_assignment_response.challenge.parameters.iterations);
	message_free(before);
	message_free(after);
	message_free(stranger);
	/* Figure 6, and no way round by registering again */
	ask_figure6(&q, "tablet", "alice", ph);
	ck_assert_int_eq((int)status_of(post(&gw, &q.m, NULL)), STATUS_UNAUTHORIZED);
	ck_assert_int_eq((int)registered(&gw, REGISTER, "alice", "pw"), STATUS_ALREADY_INSTALLED);
	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "alice", "new"), STATUS_ALREADY_INSTALLED);
	ck_assert(!server_has("alice", "tablet", 2));
	operator_blocks("alice", false);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, NULL), STATUS_OK);
	secret_unref(ph);
	client_free(&gw);
}
END_TEST

/* An ordinary HTTP client: digest in the header, the same body twice. */
START_TEST(test_http_header)
{
	struct client gw = gateway("gw-1", true);
	char header[1024], hex[65];
	struct asking q;
	struct answer *a, *again;
	char body[MESSAGE_MAX_SIZE + 1];

	ck_assert_int_eq((int)registered(&gw, REGISTER, "alice", "pw"), STATUS_OK);
	ask(&q, "tablet", "alice", "tablet", ENTITY_PNE);
	challenged(&gw, &q, "pw");
	for (uint32_t count = 1; count <= 2; count++) {
		struct digest_input in = {.user = name_bytes(&q.user),
					  .realm = bytes_text(SERVER_NAME),
					  .nonce = bytes_text(q.nonce),
					  .client_nonce = bytes_text("0123456789abcdef0123"),
					  .uri = bytes_text(PATH),
					  .nonce_count = count};

		ck_assert_int_eq(digest_response(q.ph, &in, q.response), 0);
		ck_assert_int_eq(hex_encode(bytes_of(q.response, 32), hex, sizeof(hex)), 0);
		(void)snprintf(header, sizeof(header),
			       "Digest username=\"alice\", realm=\"%s\", nonce=\"%s\", uri=\"%s\", "
			       "cnonce=\"0123456789abcdef0123\", nc=%08x, qop=auth, "
			       "response=\"%s\", algorithm=SHA-256",
			       SERVER_NAME, q.nonce, PATH, count, hex);
		a = post_bytes(&gw, bytes_of(last_request, last_request_size), header);
		ck_assert_msg(a->http == 200, "%s", a->body);
		if (count == 1)
			memcpy(body, a->body, sizeof(body));
		else
			ck_assert_str_eq(a->body, body);
	}
	/* the id alone gives nothing */
	again = post_bytes(&gw, bytes_of(last_request, last_request_size), NULL);
	ck_assert_int_eq(again->http, 401);
	/* nor does the header a second time */
	again = post_bytes(&gw, bytes_of(last_request, last_request_size), header);
	ck_assert_int_eq(again->http, 401);
	ck_assert_ptr_nonnull(strstr(again->challenge, "stale=true"));
	ck_assert(!server_has("alice", "tablet", 2));
	asking_end(&q);
	client_free(&gw);
}
END_TEST

/* The store fails, or another writer is first. */
static const struct store_ops *real_ops;
static int failures, failure;

static int failing_commit(struct store *s, const struct store_batch *b)
{
	if (failures > 0) {
		failures--;
		return failure;
	}
	return real_ops->commit(s, b);
}

START_TEST(test_store_fails)
{
	struct client gw = gateway("gw-1", true);
	struct store_ops broken;

	ck_assert_int_eq((int)registered(&gw, REGISTER, "alice", "pw"), STATUS_OK);
	real_ops = store->ops;
	broken = *real_ops;
	broken.commit = failing_commit;
	store->ops = &broken;
	failure = -5;
	failures = 1;
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, NULL),
			 STATUS_STORAGE_FAILED);
	ck_assert(!server_has("alice", "tablet", 1));
	failure = STORE_CONFLICT;
	failures = 2;
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, NULL), STATUS_OK);
	ck_assert(server_has("alice", "tablet", 1));
	failures = 100;
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, NULL),
			 STATUS_STORAGE_FAILED);
	failures = 2;
	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "bob", "pw"), STATUS_OK);
	store->ops = real_ops;
	client_free(&gw);
}
END_TEST

/* Every cell of every table exists. */
START_TEST(test_tables)
{
	const server_table *const tables[] = {&figure5_registration, &figure5_assignment,
					      &figure6_subscription, &figure6_assignment,
					      &figure7_assignment,   &figure8_assignment,
					      &state_report,         &report_delivery};

	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		for (int s = 0; s < SERVER_STATES; s++) {
			for (int e = 0; e < EVENT_KINDS; e++)
				ck_assert((*tables[t])[s][e] != NULL);
		}
	}
	for (int s = 0; s < SERVER_STATES; s++)
		ck_assert_str_ne(server_state_name((enum server_state)s), "none");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("server figures");
	TCase *t = tcase_create("conversations");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_registration);
	tcase_add_test(t, test_c249_registration_is_mutual);
	tcase_add_test(t, test_dispatch);
	tcase_add_test(t, test_figure5);
	tcase_add_test(t, test_unknown_user);
	tcase_add_test(t, test_stale_nonce);
	tcase_add_test(t, test_repeated);
	tcase_add_test(t, test_id_reused);
	tcase_add_test(t, test_joined);
	tcase_add_test(t, test_busy);
	tcase_add_test(t, test_wrong_owner);
	tcase_add_test(t, test_held_key);
	tcase_add_test(t, test_figure6);
	tcase_add_test(t, test_c270_c272_c278_figure7_random_or_chain);
	tcase_add_test(t, test_c281_figure8_by_the_owners_password);
	tcase_add_test(t, test_refill);
	tcase_add_test(t, test_refill_is_no_receipt);
	tcase_add_test(t, test_delivery_report);
	tcase_add_test(t, test_state_rollback);
	tcase_add_test(t, test_state_operator_revokes);
	tcase_add_test(t, test_state_gateway_revokes);
	tcase_add_test(t, test_state_resets_take_turns);
	tcase_add_test(t, test_state_of_a_revoked_gateway);
	tcase_add_test(t, test_blocked_user);
	tcase_add_test(t, test_http_header);
	tcase_add_test(t, test_store_fails);
	tcase_add_test(t, test_tables);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
