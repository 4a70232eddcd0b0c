/*
 * Conversations with a PNE: each row is what happens to it, and what it says. The PN GW, the CPNS
 * Server and the user are played by this file, which checks every formula on the way.
 */

#include "pne/core.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/digest.h"
#include "protocol/p1.h"

#define ENTITY     "headset-1"
#define GATEWAY    "pngw-1"
#define SERVER     "server-1"
#define USER       "alice"
#define PASSWORD   "canary-9b1f-password"
#define NONCE      "0123456789abcdef0123456789abcdef"
#define ITERATIONS 20U
#define FLOOR      10U

struct outcome {
	char text[2048];
};

struct rig {
	char folder[64], vault_path[96], key_path[96];
	struct vault *vault;
	struct pne_core *core;
	bool temporary_key;
	uint64_t now;
	uint64_t due[2]; /* timers of Figures 5 and 6; 0: not armed */
	bool link, hold, store_fails;
	struct secret *link_secret;
	struct bytes binding;
	/* derivation that waits */
	struct secret *password;
	uint8_t salt[SALT_SIZE];
	uint32_t iterations;
	/* the last of each that went either way */
	struct message *request;
	char *request_xml;
	char *sent_xml; /* to the PNE */
	size_t sent_size;
	struct message_id sent_id;
	char *trigger_xml;
	size_t trigger_size;
	uint32_t index;    /* of the key that was sent last */
	struct secret *ph; /* of USER and PASSWORD */
	struct outcome said;
};

static const uint8_t the_salt[SALT_SIZE] = "salt of alice...";

static void say(struct rig *r, const char *what, const char *detail)
{
	char *text = r->said.text;
	size_t at = strlen(text);

	snprintf(text + at, sizeof(r->said.text) - at, "%s%s%s", at ? " " : "", what, detail);
}

static struct secret *key_of(uint32_t index)
{
	struct secret *k = secret_new(KEY_SIZE);

	ck_assert_ptr_nonnull(k);
	memset(secret_buffer(k), (int)index, KEY_SIZE);
	return k;
}

static struct secret *temporary_key(uint8_t fill)
{
	struct secret *k = secret_new(P1_TEMPORARY_KEY_MIN);

	ck_assert_ptr_nonnull(k);
	memset(secret_buffer(k), fill, P1_TEMPORARY_KEY_MIN);
	return k;
}

static struct secret *text_secret(const char *text)
{
	struct secret *s = secret_copy(bytes_text(text));

	ck_assert_ptr_nonnull(s);
	return s;
}

/* The ports. */

static void check_held_key(struct rig *r, const struct m_eukey_assignment_request *q)
{
	SCOPED_SECRET *key = NULL;
	struct message_id id = message_id_of(r->request);
	uint8_t proof[P1_MAC_SIZE];

	if (!q->has_held_key)
		return;
	key = key_of(q->held_key.key_index);
	ck_assert_int_eq(
		p1_held_proof(key, q->user_id, q->entity_id, q->held_key.key_index, &id, proof), 0);
	ck_assert(bytes_equal(q->held_key.proof, bytes_of(proof, sizeof(proof))));
	say(r, "held", "");
}

static void check_request(struct rig *r)
{
	const struct m_eukey_assignment_request *q = &r->request->eukey_assignment_request;
	const struct m_envelope *envelope = &r->request->envelope;
	struct message_id id = message_id_of(r->request);
	uint8_t expected[32];

	ck_assert(bytes_equal(envelope->source, bytes_text(ENTITY)));
	ck_assert(bytes_equal(envelope->target, bytes_text(SERVER)));
	ck_assert(bytes_equal(q->entity_id, bytes_text(ENTITY)));
	ck_assert(q->mode == ENTITY_PNE && !q->has_key_set);
	if (q->has_digest) {
		struct digest_input in = {.user = q->user_id,
					  .realm = q->digest.realm,
					  .nonce = q->digest.nonce,
					  .client_nonce = q->digest.client_nonce,
					  .uri = q->digest.uri,
					  .nonce_count = q->digest.nonce_count};

		ck_assert_int_eq(digest_response(r->ph, &in, expected), 0);
		ck_assert(bytes_equal(q->digest.response, bytes_of(expected, 32)));
		ck_assert(bytes_equal(q->digest.realm, bytes_text(SERVER)));
		ck_assert(bytes_equal(q->digest.uri, bytes_text("/cpns")));
		say(r, "digest", "");
	} else if (q->has_security_material) {
		ck_assert_int_eq(p1_auth_data(r->ph, "EUKeyAssignmentRequest", q->user_id,
					      envelope->source, envelope->target,
					      q->security_material.rand_pne, &id, expected),
				 0);
		ck_assert(bytes_equal(q->security_material.auth_data, bytes_of(expected, 32)));
		say(r, "material", "");
	} else {
		say(r, "request", "");
	}
	check_held_key(r, q);
}

static int port_message(void *arg, struct bytes xml)
{
	struct rig *r = arg;
	struct message *m;
	struct malformation why;
	char *copy;

	if (!r->link)
		return -ENOTCONN;
	ck_assert_int_eq(message_decode(xml, &m, &why), 0);
	if (m->kind == MESSAGE_id_password_installation_response) {
		struct message_id to = message_in_response_to(m);

		ck_assert(message_id_equal(&to, &r->sent_id));
		ck_assert(bytes_equal(m->envelope.target, bytes_text(GATEWAY)));
		say(r, "response:", status_wire_name(m->id_password_installation_response.status));
		message_free(m);
		return 0;
	}
	ck_assert_int_eq(m->kind, MESSAGE_eukey_assignment_request);
	copy = malloc(xml.size + 1);
	ck_assert_ptr_nonnull(copy);
	ck_assert_int_eq(bytes_to_text(xml, copy, xml.size + 1), 0);
	if (r->request_xml && strcmp(copy, r->request_xml) == 0) {
		say(r, "same", "");
		free(copy);
		message_free(m);
		return 0;
	}
	free(r->request_xml);
	message_free(r->request);
	r->request_xml = copy;
	r->request = m;
	check_request(r);
	return 0;
}

static int port_receipt(void *arg, const struct receipt *receipt)
{
	struct rig *r = arg;

	if (!r->link)
		return -ENOTCONN;
	ck_assert(message_id_equal(&receipt->id, &r->sent_id));
	say(r, "receipt:", status_wire_name(receipt->status));
	ck_assert_int_eq(receipt->has_proof, receipt->status == STATUS_OK);
	if (receipt->has_proof) {
		SCOPED_SECRET *key = key_of(r->index);
		uint8_t proof[P1_MAC_SIZE];

		ck_assert_int_eq(p1_held_proof(key, bytes_text(USER), bytes_text(ENTITY), r->index,
					       &receipt->id, proof),
				 0);
		ck_assert(constant_time_equal(bytes_of(proof, sizeof(proof)),
					      bytes_of(receipt->proof, sizeof(proof))));
	}
	return 0;
}

static int port_submit(void *arg, struct vault_batch *b, vault_done_fn *done, void *done_arg)
{
	struct rig *r = arg;

	if (r->store_fails) {
		r->store_fails = false;
		vault_batch_free(b);
		return -ENOSPC;
	}
	return vault_submit(r->vault, b, done, done_arg);
}

static int port_derive(void *arg, struct secret *password, const uint8_t salt[SALT_SIZE],
		       uint32_t iterations)
{
	struct rig *r = arg;

	ck_assert_ptr_null(r->password);
	r->password = secret_ref(password);
	memcpy(r->salt, salt, SALT_SIZE);
	r->iterations = iterations;
	return 0;
}

static void port_timer(void *arg, enum figure figure, uint64_t ms)
{
	struct rig *r = arg;

	r->due[figure == FIGURE_6] = ms ? r->now + ms : 0;
}

static uint64_t port_now(void *arg)
{
	struct rig *r = arg;

	return r->now;
}

static void port_line(void *arg, const char *text)
{
	(void)arg;
	ck_assert_ptr_null(strstr(text, PASSWORD));
}

static void port_verdict(void *arg, const struct verdict *v)
{
	struct rig *r = arg;
	char text[64];

	snprintf(text, sizeof(text), "%d:%s", (int)v->figure, verdict_name(v->id));
	say(r, "figure", text);
}

static void rig_open(struct rig *r)
{
	static const struct pne_ports ports = {
		.send_message = port_message,
		.send_receipt = port_receipt,
		.submit = port_submit,
		.derive = port_derive,
		.timer = port_timer,
		.now = port_now,
		.line = port_line,
		.verdict = port_verdict,
	};
	const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = r->key_path};
	struct vault_options vault = {
		.path = r->vault_path, .openers = &opener, .opener_count = 1, .create = true};
	struct pne_core_options options = {.iterations_floor = FLOOR, .deadline_ms = 5000};
	char why[256];

	ck_assert_int_eq(vault_open(&vault, &r->vault, why, sizeof(why)), 0);
	ck_assert_int_eq(name_set(&options.entity, bytes_text(ENTITY)), 0);
	ck_assert_int_eq(pne_core_new(&options, r->vault, &ports, r, &r->core), 0);
}

static void rig_close(struct rig *r)
{
	r->link = false;
	vault_close(r->vault);
	pne_core_free(r->core);
	r->vault = NULL;
	r->core = NULL;
	secret_clear(&r->password);
	r->due[0] = r->due[1] = 0;
}

static void ignore_result(void *arg, int result)
{
	(void)arg;
	ck_assert_int_eq(result, 0);
}

static void rig_begin(struct rig *r, bool with_temporary_key)
{
	SCOPED_SECRET *password = text_secret(PASSWORD);

	memset(r, 0, sizeof(*r));
	r->now = 1000;
	strcpy(r->folder, "/tmp/test-pne-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(r->folder));
	snprintf(r->vault_path, sizeof(r->vault_path), "%s/vault", r->folder);
	snprintf(r->key_path, sizeof(r->key_path), "%s/key", r->folder);
	ck_assert_int_eq(p1_password_hash(password, the_salt, ITERATIONS, &r->ph), 0);
	r->link_secret = secret_random(KEY_SIZE);
	ck_assert_ptr_nonnull(r->link_secret);
	r->binding = bytes_text("both hellos");
	rig_open(r);
	if (with_temporary_key) {
		SCOPED_SECRET *key = temporary_key(7);
		struct vault_batch *b = vault_batch_new();
		struct name entity;

		ck_assert_int_eq(name_set(&entity, bytes_text(ENTITY)), 0);
		pne_core_burn_in(b, &entity, key);
		ck_assert_int_eq(vault_submit(r->vault, b, ignore_result, NULL), 0);
		vault_flush(r->vault);
		rig_close(r);
		rig_open(r);
		ck_assert(pne_core_has_temporary_key(r->core));
	}
}

static void rig_end(struct rig *r)
{
	char side[128];

	rig_close(r);
	secret_clear(&r->link_secret);
	secret_clear(&r->ph);
	message_free(r->request);
	free(r->request_xml);
	free(r->sent_xml);
	free(r->trigger_xml);
	unlink(r->vault_path);
	unlink(r->key_path);
	snprintf(side, sizeof(side), "%s-wal", r->vault_path);
	unlink(side);
	snprintf(side, sizeof(side), "%s-shm", r->vault_path);
	unlink(side);
	rmdir(r->folder);
	ck_assert_uint_eq(secret_count(), 0);
}

/* What waits is done: derivations, then what the vault was given. */
static void pump(struct rig *r)
{
	while (!r->hold && (r->password || vault_pending(r->vault))) {
		if (r->password) {
			SCOPED_SECRET *password = r->password;
			SCOPED_SECRET *ph = NULL;

			r->password = NULL;
			ck_assert_int_eq(p1_password_hash(password, r->salt, r->iterations, &ph),
					 0);
			pne_core_derived(r->core, 0, ph);
		}
		vault_flush(r->vault);
	}
}

/* Playing the others. */

static void send_again(struct rig *r)
{
	pne_core_message(r->core, bytes_of(r->sent_xml, r->sent_size));
}

static void send_new(struct rig *r, struct message *m, const struct message_id *id)
{
	free(r->sent_xml);
	ck_assert_int_eq(message_encode(m, &r->sent_xml, &r->sent_size), 0);
	r->sent_id = *id;
	send_again(r);
}

static void envelope(struct message *m, struct message_id *id, const struct message_id *to,
		     const char *source, struct name names[2])
{
	ck_assert_int_eq(p1_random(id->b, sizeof(id->b)), 0);
	ck_assert_int_eq(name_set(&names[0], bytes_text(source)), 0);
	ck_assert_int_eq(name_set(&names[1], bytes_text(ENTITY)), 0);
	message_envelope(m, id, to, &names[0], &names[1]);
}

static void install(struct rig *r, const char *user, const char *password, uint32_t iterations,
		    const struct secret *under)
{
	struct message m = {.kind = MESSAGE_id_password_installation_request};
	struct m_id_password_installation_request *q = &m.id_password_installation_request;
	SCOPED_SECRET *text = text_secret(password);
	struct message_id id;
	struct name names[2];
	uint8_t rand[RAND_SIZE];
	uint8_t sealed[P1_SEALED_PASSWORD_SIZE];

	envelope(&m, &id, NULL, GATEWAY, names);
	ck_assert_int_eq(p1_random(rand, sizeof(rand)), 0);
	ck_assert_int_eq(p1_seal_password(under, bytes_of(rand, sizeof(rand)), bytes_text(user),
					  r->binding, text, sealed),
			 0);
	q->user_id = bytes_text(user);
	q->has_parameters = true;
	q->parameters.salt = bytes_of(the_salt, SALT_SIZE);
	q->parameters.iterations = iterations;
	q->has_password = true;
	q->password.rand = bytes_of(rand, sizeof(rand));
	q->password.sealed = bytes_of(sealed, sizeof(sealed));
	send_new(r, &m, &id);
}

static void trigger(struct rig *r, const char *user, const char *source, uint8_t spoil)
{
	struct message m = {.kind = MESSAGE_eukey_assignment_trigger};
	struct m_eukey_assignment_trigger *t = &m.eukey_assignment_trigger;
	struct message_id id;
	struct name names[2];
	uint8_t rand[RAND_SIZE];
	uint8_t auth[P1_MAC_SIZE];

	envelope(&m, &id, NULL, source, names);
	ck_assert_int_eq(p1_random(rand, sizeof(rand)), 0);
	ck_assert_int_eq(p1_auth_data(r->ph, "EUKeyAssignmentTrigger", bytes_text(user),
				      bytes_text(source), bytes_text(ENTITY),
				      bytes_of(rand, sizeof(rand)), &id, auth),
			 0);
	auth[0] ^= spoil;
	t->user_id = bytes_text(user);
	t->rand_pngw = bytes_of(rand, sizeof(rand));
	t->auth_data = bytes_of(auth, sizeof(auth));
	send_new(r, &m, &id);
	free(r->trigger_xml);
	r->trigger_xml = malloc(r->sent_size);
	ck_assert_ptr_nonnull(r->trigger_xml);
	memcpy(r->trigger_xml, r->sent_xml, r->sent_size);
	r->trigger_size = r->sent_size;
}

static struct message_id request_id(struct rig *r)
{
	ck_assert_ptr_nonnull(r->request);
	return message_id_of(r->request);
}

static void respond(struct rig *r, struct message *m, const char *source)
{
	struct message_id to = request_id(r);
	struct message_id id;
	struct name names[2];

	m->kind = MESSAGE_eukey_assignment_response;
	envelope(m, &id, &to, source, names);
	m->eukey_assignment_response.user_id = bytes_text(USER);
	m->eukey_assignment_response.entity_id = bytes_text(ENTITY);
	send_new(r, m, &id);
}

static void challenge(struct rig *r, uint32_t iterations, bool stale, const char *source)
{
	struct message m = {0};
	struct m_eukey_assignment_response *a = &m.eukey_assignment_response;

	a->status = STATUS_UNAUTHORIZED;
	a->has_challenge = true;
	a->challenge.realm = bytes_text(SERVER);
	a->challenge.nonce = bytes_text(NONCE);
	a->challenge.stale = stale;
	a->challenge.has_parameters = true;
	a->challenge.parameters.salt = bytes_of(the_salt, SALT_SIZE);
	a->challenge.parameters.iterations = iterations;
	respond(r, &m, source);
}

static void refuse(struct rig *r, enum status status)
{
	struct message m = {0};

	m.eukey_assignment_response.status = status;
	respond(r, &m, SERVER);
}

/* The server's answer to the last request: wrapped as Figure 5 or Figure 6 has it. */
static void key(struct rig *r, uint32_t index, const struct secret *ph)
{
	const struct m_eukey_assignment_request *q = &r->request->eukey_assignment_request;
	struct message m = {0};
	struct m_eukey_assignment_response *a = &m.eukey_assignment_response;
	SCOPED_SECRET *eukey = key_of(index);
	struct p1_context context;
	uint8_t salt[DIGEST_SALT_MAX];
	uint8_t wrapped[P1_WRAPPED_KEY_SIZE];
	struct bytes salt_bytes;

	if (q->has_security_material) {
		memcpy(salt, q->security_material.rand_pne.data, RAND_SIZE);
		ck_assert_int_eq(p1_random(salt + RAND_SIZE, RAND_SIZE), 0);
		salt_bytes = bytes_of(salt, (size_t)2 * RAND_SIZE);
		a->key.rand_server = bytes_of(salt + RAND_SIZE, RAND_SIZE);
		p1_key_context(&context, P1_KEK, bytes_text(USER), bytes_text(ENTITY), index);
	} else {
		salt_bytes = digest_salt(q->digest.nonce, q->digest.client_nonce, salt);
		p1_key_context(&context, P1_EUKEY, bytes_text(USER), bytes_text(ENTITY), index);
	}
	ck_assert_int_eq(p1_wrap(ph, salt_bytes, &context, eukey, wrapped), 0);
	a->status = STATUS_OK;
	a->has_key = true;
	a->key.key_index = index;
	a->key.wrapped = bytes_of(wrapped, sizeof(wrapped));
	r->index = index;
	respond(r, &m, SERVER);
}

static void notify(struct rig *r, uint32_t index, uint8_t fill, const char *entity, uint8_t with)
{
	struct message m = {.kind = MESSAGE_eukey_assignment_notification};
	struct m_eukey_assignment_notification *n = &m.eukey_assignment_notification;
	SCOPED_SECRET *eukey = key_of(with);
	SCOPED_SECRET *under = temporary_key(fill);
	struct p1_context context;
	struct message_id id;
	struct name names[2];
	uint8_t rand[RAND_SIZE];
	uint8_t wrapped[P1_WRAPPED_KEY_SIZE];

	envelope(&m, &id, NULL, GATEWAY, names);
	ck_assert_int_eq(p1_random(rand, sizeof(rand)), 0);
	p1_key_context(&context, P1_NOTIFICATION, bytes_text(USER), bytes_text(entity), index);
	ck_assert_int_eq(p1_wrap(under, bytes_of(rand, sizeof(rand)), &context, eukey, wrapped), 0);
	n->user_id = bytes_text(USER);
	n->entity_id = bytes_text(entity);
	n->rand = bytes_of(rand, sizeof(rand));
	n->key_index = index;
	n->wrapped = bytes_of(wrapped, sizeof(wrapped));
	r->index = index;
	send_new(r, &m, &id);
}

/* The message that was sent last, with one digit of its content changed. */
static void send_altered(struct rig *r)
{
	char *at = strstr(r->sent_xml, "<WrappedEUKey>");

	ck_assert_ptr_nonnull(at);
	at += strlen("<WrappedEUKey>");
	*at = *at == '0' ? '1' : '0';
	send_again(r);
}

static void link_up(struct rig *r, bool secure)
{
	struct hello gateway = {.flags = HELLO_FLAG_GATEWAY};

	ck_assert_int_eq(name_set(&gateway.entity, bytes_text(GATEWAY)), 0);
	ck_assert_int_eq(name_set(&gateway.server, bytes_text(SERVER)), 0);
	r->link = true;
	pne_core_link_up(r->core, &gateway, r->link_secret, r->binding, secure);
}

static void link_down(struct rig *r)
{
	r->link = false;
	pne_core_link_down(r->core);
}

static void enter(struct rig *r, const char *user, const char *password)
{
	SCOPED_SECRET *text = text_secret(password);
	struct name name;

	ck_assert_int_eq(name_set(&name, bytes_text(user)), 0);
	pne_core_enter(r->core, &name, text);
}

/* Lets time pass; timers that come due on the way fire. */
static void pass(struct rig *r, uint64_t ms)
{
	uint64_t until = r->now + ms;

	for (;;) {
		int first = -1;

		for (int i = 0; i < 2; i++) {
			if (r->due[i] && r->due[i] <= until &&
			    (first < 0 || r->due[i] < r->due[first]))
				first = i;
		}
		if (first < 0)
			break;
		r->now = r->due[first];
		r->due[first] = 0;
		pne_core_timer(r->core, first ? FIGURE_6 : FIGURE_5);
	}
	r->now = until;
}

static void relay_failed(struct rig *r, enum status status)
{
	struct receipt receipt = {.id = request_id(r), .status = status};

	pne_core_receipt(r->core, &receipt);
}

static void reset(struct rig *r)
{
	struct vault_batch *b = vault_batch_new();

	pne_core_reset(r->core, b);
	ck_assert_int_eq(vault_submit(r->vault, b, ignore_result, NULL), 0);
	vault_flush(r->vault);
	rig_close(r);
	rig_open(r);
}

static void happens(struct rig *r, const char *what)
{
	SCOPED_SECRET *other = secret_random(KEY_SIZE);

#define ON(text, call)                 \
	if (strcmp(what, text) == 0) { \
		call;                  \
		pump(r);               \
		return;                \
	}
	ON("up", link_up(r, true))
	ON("up-insecure", link_up(r, false))
	ON("down", link_down(r))
	ON("hold", r->hold = true)
	ON("go", r->hold = false)
	ON("store-fails", r->store_fails = true)
	ON("restart", (rig_close(r), rig_open(r)))
	ON("crash", (r->hold = false, rig_close(r), rig_open(r)))
	ON("reset", reset(r))
	ON("second", pass(r, 1000))
	ON("minute", pass(r, 60000))
	ON("again", send_again(r))
	ON("altered", send_altered(r))
	ON("enter", enter(r, USER, PASSWORD))
	ON("enter-empty", enter(r, USER, "\t"))
	ON("challenge", challenge(r, ITERATIONS, false, SERVER))
	ON("challenge-stale", challenge(r, ITERATIONS, true, SERVER))
	ON("challenge-weak", challenge(r, FLOOR - 1, false, SERVER))
	ON("challenge-forged", challenge(r, ITERATIONS, false, "server-2"))
	ON("install", install(r, USER, PASSWORD, ITERATIONS, r->link_secret))
	ON("install-again-password", install(r, USER, PASSWORD, ITERATIONS + 1, r->link_secret))
	ON("install-bob", install(r, "bob", PASSWORD, ITERATIONS, r->link_secret))
	ON("install-other-password", install(r, USER, "other", ITERATIONS, r->link_secret))
	ON("install-weak", install(r, USER, PASSWORD, FLOOR - 1, r->link_secret))
	ON("install-other-link", install(r, USER, PASSWORD, ITERATIONS, other))
	ON("trigger", trigger(r, USER, GATEWAY, 0))
	ON("trigger-forged", trigger(r, USER, GATEWAY, 1))
	ON("trigger-bob", trigger(r, "bob", GATEWAY, 0))
	ON("trigger-other-gateway", trigger(r, USER, "pngw-2", 0))
	ON("trigger-repeated",
	   (free(r->sent_xml), r->sent_xml = r->trigger_xml, r->sent_size = r->trigger_size,
	    r->trigger_xml = NULL, send_again(r)))
	ON("key-1", key(r, 1, r->ph))
	ON("key-5", key(r, 5, r->ph))
	ON("key-6", key(r, 6, r->ph))
	ON("key-other-kek", key(r, 5, other))
	ON("not-owner", refuse(r, STATUS_NOT_OWNER))
	ON("unauthorized", refuse(r, STATUS_UNAUTHORIZED))
	ON("notify-1", notify(r, 1, 7, ENTITY, 1))
	ON("notify-5", notify(r, 5, 7, ENTITY, 5))
	ON("notify-6", notify(r, 6, 7, ENTITY, 6))
	ON("notify-5-with-another", notify(r, 5, 7, ENTITY, 6))
	ON("notify-other-key", notify(r, 5, 8, ENTITY, 5))
	ON("notify-other-entity", notify(r, 5, 7, "headset-2", 5))
	ON("unavailable", relay_failed(r, STATUS_UNAVAILABLE))
	ON("wrong-target", relay_failed(r, STATUS_WRONG_TARGET))
#undef ON
	ck_abort_msg("no such event: %s", what);
}

struct conversation {
	const char *name;
	bool temporary_key;
	const char *rows[16][2]; /* what happens, what the PNE says */
};

static void converse(const struct conversation *c)
{
	struct rig r;

	rig_begin(&r, c->temporary_key);
	for (size_t i = 0; i < 16 && c->rows[i][0]; i++) {
		r.said.text[0] = '\0';
		happens(&r, c->rows[i][0]);
		ck_assert_msg(strcmp(r.said.text, c->rows[i][1]) == 0,
			      "%s, row %zu (%s): said '%s', not '%s'", c->name, i, c->rows[i][0],
			      r.said.text, c->rows[i][1]);
	}
	rig_end(&r);
}

static const struct conversation figure5[] = {
	{"the whole figure, and the key renewed (C275)",
	 false,
	 {{"up", ""},
	  {"enter", "request"},
	  {"challenge", "digest"},
	  {"key-1", "receipt:OK figure5:DONE"},
	  {"enter", "request held"},
	  {"challenge", "digest held"},
	  {"key-5", "receipt:OK figure5:DONE"},
	  {"again", "receipt:OK"},
	  {"restart", ""},
	  {"up", ""},
	  {"again", "receipt:OK"},
	  {"enter", "request held"}}},
	{"nothing is acknowledged before it is durable",
	 false,
	 {{"up", ""},
	  {"enter", "request"},
	  {"challenge", "digest"},
	  {"hold", ""},
	  {"key-1", ""},
	  {"go", "receipt:OK figure5:DONE"}}},
	{"password of no use", false, {{"up", ""}, {"enter-empty", "figure5:PASSWORD_UNUSABLE"}}},
	{"fewer iterations than the floor",
	 false,
	 {{"up", ""}, {"enter", "request"}, {"challenge-weak", "figure5:WEAK_PARAMETERS"}}},
	{"wrong password: a fresh challenge to credentials",
	 false,
	 {{"up", ""},
	  {"enter", "request"},
	  {"challenge", "digest"},
	  {"challenge", "figure5:WRONG_PASSWORD"}}},
	{"wrong password, without a challenge",
	 false,
	 {{"up", ""},
	  {"enter", "request"},
	  {"challenge", "digest"},
	  {"unauthorized", "figure5:WRONG_PASSWORD"}}},
	{"a stale nonce: once more, not for ever",
	 false,
	 {{"up", ""},
	  {"enter", "request"},
	  {"challenge", "digest"},
	  {"challenge-stale", "digest"},
	  {"challenge-stale", "figure5:WRONG_PASSWORD"}}},
	{"another user's device",
	 false,
	 {{"up", ""},
	  {"enter", "request"},
	  {"challenge", "digest"},
	  {"not-owner", "figure5:NOT_OWNER"}}},
	{"a key that does not unwrap",
	 false,
	 {{"up", ""},
	  {"enter", "request"},
	  {"challenge", "digest"},
	  {"key-other-kek", "receipt:DoesNotUnwrap figure5:PNE_CANNOT_UNWRAP"},
	  {"again", "receipt:DoesNotUnwrap"}}},
	{"an older index than the one held",
	 false,
	 {{"up", ""},
	  {"enter", "request"},
	  {"challenge", "digest"},
	  {"key-5", "receipt:OK figure5:DONE"},
	  {"enter", "request held"},
	  {"challenge", "digest held"},
	  {"key-1", "receipt:StaleIndex figure5:PNE_STALE_INDEX"}}},
	{"the store fails: no receipt OK, and the next attempt works",
	 false,
	 {{"up", ""},
	  {"enter", "request"},
	  {"challenge", "digest"},
	  {"store-fails", ""},
	  {"key-1", "receipt:StorageFailed figure5:PNE_STORAGE"},
	  {"enter", "request"},
	  {"challenge", "digest"},
	  {"key-5", "receipt:OK figure5:DONE"}}},
	{"an answer from somebody else than the server",
	 false,
	 {{"up", ""},
	  {"enter", "request"},
	  {"challenge-forged", "receipt:NotExpected"},
	  {"challenge", "digest"}}},
	{"no link when the user enters the password",
	 false,
	 {{"enter", ""}, {"up", "request"}, {"challenge", "digest"}}},
	{"no link until the deadline", false, {{"enter", ""}, {"minute", "figure5:PAN_LOST"}}},
	{"link down at each state",
	 false,
	 {{"up", ""},
	  {"enter", "request"},
	  {"down", ""},
	  {"up", "same"},
	  {"hold", ""},
	  {"challenge", ""},
	  {"down", ""},
	  {"go", ""},
	  {"up", "digest"},
	  {"down", ""},
	  {"up", "same"},
	  {"hold", ""},
	  {"key-1", ""},
	  {"down", ""},
	  {"go", "figure5:DONE"}}},
	{"link down until the deadline",
	 false,
	 {{"up", ""}, {"enter", "request"}, {"down", ""}, {"minute", "figure5:PAN_LOST"}}},
	{"a silent server",
	 false,
	 {{"up", ""}, {"enter", "request"}, {"minute", "figure5:GATEWAY_SILENT"}}},
	{"WAN down: again every second, then the verdict",
	 false,
	 {{"up", ""},
	  {"enter", "request"},
	  {"unavailable", ""},
	  {"second", "same"},
	  {"unavailable", ""},
	  {"second", "same"},
	  {"minute", "figure5:WAN_DOWN"}}},
	{"the PN GW does not relay it",
	 false,
	 {{"up", ""}, {"enter", "request"}, {"wrong-target", "figure5:GATEWAY_NOT_RELAYED"}}},
};

static const struct conversation figure6[] = {
	{"the whole figure, with RAND_PNE as security material (C256)",
	 false,
	 {{"up", ""},
	  {"install", "response:OK"},
	  {"trigger", "material"},
	  {"key-1", "receipt:OK figure6:DONE"},
	  {"again", "receipt:OK"},
	  {"restart", ""},
	  {"up", ""},
	  {"again", "receipt:OK"},
	  {"trigger", "material held"},
	  {"key-5", "receipt:OK figure6:DONE"}}},
	{"C255: neither installation nor trigger on a PAN that is not secure",
	 false,
	 {{"up-insecure", ""},
	  {"install", "response:InsecurePAN figure6:PAN_INSECURE"},
	  {"trigger", "receipt:InsecurePAN figure6:PAN_INSECURE"}}},
	{"the trigger is not the user's own",
	 false,
	 {{"up", ""},
	  {"trigger", "receipt:TriggerRejected figure6:PNE_REFUSED_TRIGGER"},
	  {"install", "response:OK"},
	  {"trigger-forged", "receipt:TriggerRejected figure6:PNE_REFUSED_TRIGGER"},
	  {"trigger-bob", "receipt:TriggerRejected figure6:PNE_REFUSED_TRIGGER"},
	  {"trigger-other-gateway", "receipt:TriggerRejected figure6:PNE_REFUSED_TRIGGER"},
	  {"trigger", "material"}}},
	{"C263, C264: a KEK that differs does not decrypt",
	 false,
	 {{"up", ""},
	  {"install", "response:OK"},
	  {"trigger", "material"},
	  {"key-other-kek", "receipt:DoesNotUnwrap figure6:PNE_CANNOT_UNWRAP"},
	  {"again", "receipt:DoesNotUnwrap"},
	  {"restart", ""},
	  {"up", ""},
	  {"again", "receipt:DoesNotUnwrap"}}},
	{"installation: who may, and when",
	 false,
	 {{"up", ""},
	  {"install", "response:OK"},
	  {"install-bob", "response:AlreadyInstalled figure6:PNE_OTHER_USER"},
	  {"install-other-password", "response:OK"},
	  {"install", "response:OK"},
	  {"trigger", "material"},
	  {"key-1", "receipt:OK figure6:DONE"},
	  {"install", "response:OK"},
	  {"install-again-password", "response:OK"},
	  {"install-other-password", "response:AlreadyInstalled figure6:PNE_OTHER_USER"}}},
	{"installation: what is refused",
	 false,
	 {{"up", ""},
	  {"install-weak", "response:WeakPasswordParameters figure6:WEAK_PARAMETERS"},
	  {"install-other-link", "response:DoesNotUnwrap figure6:PNE_CANNOT_UNWRAP"},
	  {"trigger", "receipt:TriggerRejected figure6:PNE_REFUSED_TRIGGER"}}},
	{"installation: answered again, durable first, and not when the store fails",
	 false,
	 {{"up", ""},
	  {"store-fails", ""},
	  {"install", "response:StorageFailed figure6:PNE_STORAGE"},
	  {"trigger", "receipt:TriggerRejected figure6:PNE_REFUSED_TRIGGER"},
	  {"hold", ""},
	  {"install", ""},
	  {"again", ""},
	  {"go", "response:OK response:OK"},
	  {"restart", ""},
	  {"up", ""},
	  {"again", "response:OK"}}},
	{"a trigger is answered once, also after a restart",
	 false,
	 {{"up", ""},
	  {"install", "response:OK"},
	  {"trigger", "material"},
	  {"again", "same"},
	  {"restart", ""},
	  {"up", "same"},
	  {"again", "same"},
	  {"key-1", "receipt:OK figure6:DONE"},
	  {"restart", ""},
	  {"up", ""},
	  {"trigger-repeated", "same"}}},
	{"a second trigger replaces the first",
	 false,
	 {{"up", ""},
	  {"install", "response:OK"},
	  {"trigger", "material"},
	  {"trigger", "material"},
	  {"key-1", "receipt:OK figure6:DONE"}}},
	{"the store fails",
	 false,
	 {{"up", ""},
	  {"install", "response:OK"},
	  {"store-fails", ""},
	  {"trigger", "receipt:StorageFailed figure6:PNE_STORAGE"},
	  {"trigger", "material"},
	  {"store-fails", ""},
	  {"key-1", "receipt:StorageFailed figure6:PNE_STORAGE"}}},
	{"link down at each state",
	 false,
	 {{"up", ""},
	  {"hold", ""},
	  {"install", ""},
	  {"down", ""},
	  {"go", ""},
	  {"up", ""},
	  {"again", "response:OK"},
	  {"hold", ""},
	  {"trigger", ""},
	  {"down", ""},
	  {"go", ""},
	  {"up", "material"},
	  {"down", ""},
	  {"up", "same"},
	  {"hold", ""},
	  {"down", ""}}},
	{"the link comes back less secure than it was",
	 false,
	 {{"up", ""},
	  {"install", "response:OK"},
	  {"trigger", "material"},
	  {"down", ""},
	  {"up-insecure", ""},
	  {"key-1", "receipt:InsecurePAN"},
	  {"down", ""},
	  {"up", "same"},
	  {"key-1", "receipt:OK figure6:DONE"},
	  {"trigger", "material held"},
	  {"down", ""},
	  {"up-insecure", ""},
	  {"minute", "figure6:PAN_INSECURE"}}},
	{"the server refuses",
	 false,
	 {{"up", ""},
	  {"install", "response:OK"},
	  {"trigger", "material"},
	  {"not-owner", "figure6:NOT_OWNER"},
	  {"restart", ""},
	  {"up", ""}}},
	{"the request comes to nothing",
	 false,
	 {{"up", ""},
	  {"install", "response:OK"},
	  {"trigger", "material"},
	  {"unavailable", ""},
	  {"second", "same"},
	  {"minute", "figure6:WAN_DOWN"},
	  {"trigger", "material"},
	  {"wrong-target", "figure6:GATEWAY_NOT_RELAYED"},
	  {"trigger", "material"},
	  {"minute", "figure6:GATEWAY_SILENT"}}},
};

static const struct conversation figure7[] = {
	{"the whole figure, unasked (C277), on a PAN that is not secure (C274)",
	 true,
	 {{"up-insecure", ""},
	  {"notify-1", "receipt:OK figure7:DONE"},
	  {"notify-5", "receipt:OK figure7:DONE"},
	  {"again", "receipt:OK"},
	  {"restart", ""},
	  {"up-insecure", ""},
	  {"again", "receipt:OK"},
	  {"install", "response:InsecurePAN figure6:PAN_INSECURE"},
	  {"trigger", "receipt:InsecurePAN figure6:PAN_INSECURE"}}},
	{"the wrong Temporary Key",
	 true,
	 {{"up-insecure", ""},
	  {"notify-other-key", "receipt:DoesNotUnwrap figure7:PNE_CANNOT_UNWRAP"}}},
	{"no Temporary Key",
	 false,
	 {{"up-insecure", ""},
	  {"notify-5", "receipt:NoTemporaryKey figure7:PNE_NO_TEMPORARY_KEY"}}},
	{"another PNE's notification",
	 true,
	 {{"up-insecure", ""},
	  {"notify-other-entity", "receipt:WrongTarget figure7:PNE_OTHER_ENTITY"}}},
	{"an old notification replayed changes nothing",
	 true,
	 {{"up-insecure", ""},
	  {"notify-5", "receipt:OK figure7:DONE"},
	  {"notify-1", "receipt:StaleIndex figure7:PNE_STALE_INDEX"},
	  {"restart", ""},
	  {"up-insecure", ""},
	  {"notify-1", "receipt:StaleIndex figure7:PNE_STALE_INDEX"},
	  {"notify-5", "receipt:OK figure7:DONE"},
	  {"notify-5-with-another", "receipt:StaleIndex figure7:PNE_STALE_INDEX"},
	  {"notify-6", "receipt:OK figure7:DONE"}}},
	{"a message id used again for another message",
	 true,
	 {{"up-insecure", ""},
	  {"notify-5", "receipt:OK figure7:DONE"},
	  {"altered", "receipt:MessageIDReused"}}},
	{"not acknowledged before it is durable, and lost in a crash",
	 true,
	 {{"up-insecure", ""},
	  {"hold", ""},
	  {"notify-5", ""},
	  {"again", ""},
	  {"go", "receipt:OK figure7:DONE receipt:OK"},
	  {"store-fails", ""},
	  {"notify-6", "receipt:StorageFailed figure7:PNE_STORAGE"},
	  {"again", "receipt:OK figure7:DONE"}}},
	{"a factory reset forgets the key and not how far the count was",
	 true,
	 {{"up-insecure", ""},
	  {"notify-5", "receipt:OK figure7:DONE"},
	  {"reset", ""},
	  {"up", ""},
	  {"notify-5", "receipt:StaleIndex figure7:PNE_STALE_INDEX"},
	  {"install-bob", "response:OK"},
	  {"notify-6", "receipt:OK figure7:DONE"}}},
	{"while a request of Figure 6 is under way",
	 true,
	 {{"up", ""},
	  {"install", "response:OK"},
	  {"trigger", "material"},
	  {"notify-5", "receipt:OK figure7:DONE"},
	  {"key-6", "receipt:OK figure6:DONE"}}},
	{"link down while it is stored",
	 true,
	 {{"up-insecure", ""},
	  {"hold", ""},
	  {"notify-5", ""},
	  {"down", ""},
	  {"go", "figure7:DONE"},
	  {"up-insecure", ""},
	  {"again", "receipt:OK"}}},
};

START_TEST(test_figure5)
{
	converse(&figure5[_i]);
}
END_TEST

START_TEST(test_figure6)
{
	converse(&figure6[_i]);
}
END_TEST

START_TEST(test_figure7)
{
	converse(&figure7[_i]);
}
END_TEST

static void converse_named(const struct conversation *all, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strstr(all[i].name, name)) {
			converse(&all[i]);
			return;
		}
	}
	ck_abort_msg("no conversation is named after %s", name);
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

START_TEST(test_c255_figure6_on_a_secure_pan_only)
{
	converse_named(figure6, COUNT(figure6), "C255");
}
END_TEST

START_TEST(test_c256_security_material_is_rand_pne)
{
	converse_named(figure6, COUNT(figure6), "C256");
}
END_TEST

START_TEST(test_c263_c264_a_wrong_kek_does_not_unwrap)
{
	converse_named(figure6, COUNT(figure6), "C263, C264");
}
END_TEST

START_TEST(test_c274_no_secure_session_no_installation)
{
	converse_named(figure7, COUNT(figure7), "C274");
}
END_TEST

START_TEST(test_c275_a_key_is_renewed)
{
	converse_named(figure5, COUNT(figure5), "C275");
}
END_TEST

START_TEST(test_c277_a_notification_is_not_asked_for)
{
	converse_named(figure7, COUNT(figure7), "C277");
}
END_TEST

#define CHECK_TABLE(table, states)                                                                 \
	for (size_t state = 0; state < (states); state++) {                                        \
		for (size_t event = 0; event < PNE_EVENTS; event++)                                \
			ck_assert_msg(!(table)[state][event].run != !(table)[state][event].ignore, \
				      #table " state %zu event %zu", state, event);                \
	}

START_TEST(test_every_cell_exists){
	CHECK_TABLE(pne_figure5_table, PNE5_STATES) CHECK_TABLE(pne_figure6_table, PNE6_STATES)
		CHECK_TABLE(pne_figure7_table, PNE7_STATES)} END_TEST

	/* An event may come in every state without harm, however it got there. */
	START_TEST(test_any_event_in_any_state)
{
	static const char *const reach[] = {"enter", "challenge", "install", "trigger", "notify-5"};
	static const char *const then[] = {"up",      "down",    "minute", "second",
					   "install", "trigger", "enter",  "notify-6"};
	struct rig r;

	for (size_t i = 0; i < sizeof(reach) / sizeof(reach[0]) * 2; i++) {
		rig_begin(&r, true);
		happens(&r, "up");
		happens(&r, "install");
		happens(&r, "enter");
		r.hold = i % 2;
		happens(&r, reach[i / 2]);
		for (size_t j = 0; j < sizeof(then) / sizeof(then[0]); j++)
			happens(&r, then[j]);
		happens(&r, "go");
		happens(&r, "up");
		happens(&r, "minute");
		rig_end(&r);
	}
}
END_TEST

START_TEST(test_malformed_and_misdirected)
{
	struct rig r;
	struct message m = {.kind = MESSAGE_eukey_delivery_report_response};
	struct message_id id;
	struct name names[2];

	rig_begin(&r, true);
	happens(&r, "up");
	pne_core_message(r.core, bytes_text("<!DOCTYPE x><x/>"));
	pne_core_message(r.core, BYTES_NONE);
	ck_assert_str_eq(r.said.text, "receipt:Malformed receipt:Malformed");
	r.said.text[0] = '\0';
	envelope(&m, &id, NULL, GATEWAY, names);
	send_new(&r, &m, &id);
	ck_assert_str_eq(r.said.text, "receipt:Unsupported");
	r.said.text[0] = '\0';
	m.kind = MESSAGE_eukey_assignment_response;
	m.eukey_assignment_response.status = STATUS_FAILED;
	m.eukey_assignment_response.user_id = bytes_text(USER);
	m.eukey_assignment_response.entity_id = bytes_text(ENTITY);
	envelope(&m, &id, NULL, SERVER, names);
	send_new(&r, &m, &id);
	ck_assert_str_eq(r.said.text, "receipt:NotExpected");
	r.said.text[0] = '\0';
	envelope(&m, &id, NULL, SERVER, names);
	ck_assert_int_eq(name_set(&names[1], bytes_text("headset-2")), 0);
	message_envelope(&m, &id, NULL, &names[0], &names[1]);
	send_new(&r, &m, &id);
	ck_assert_str_eq(r.said.text, "receipt:WrongTarget");
	rig_end(&r);
}
END_TEST

START_TEST(test_fingerprint)
{
	SCOPED_SECRET *eukey = key_of(5);
	uint8_t ours[P1_FINGERPRINT_SIZE];
	uint8_t theirs[P1_FINGERPRINT_SIZE];
	struct bytes asked = bytes_text("challenge");
	struct name user;
	uint32_t index;
	struct rig r;

	rig_begin(&r, true);
	ck_assert_int_eq(pne_core_fingerprint(r.core, asked, &user, &index, theirs), -ENOENT);
	happens(&r, "up-insecure");
	happens(&r, "notify-5");
	ck_assert(pne_core_has_key(r.core));
	ck_assert_int_eq(pne_core_fingerprint(r.core, asked, &user, &index, theirs), 0);
	ck_assert_int_eq(
		p1_fingerprint(eukey, asked, bytes_text(USER), bytes_text(ENTITY), 5, ours), 0);
	ck_assert_mem_eq(ours, theirs, sizeof(ours));
	ck_assert_str_eq(user.text, USER);
	ck_assert_uint_eq(index, 5);
	secret_clear(&eukey);
	rig_end(&r);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pne-figures");
	TCase *tc = tcase_create("conversations");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_figure5, 0, COUNT(figure5));
	tcase_add_loop_test(tc, test_figure6, 0, COUNT(figure6));
	tcase_add_loop_test(tc, test_figure7, 0, COUNT(figure7));
	tcase_add_test(tc, test_c255_figure6_on_a_secure_pan_only);
	tcase_add_test(tc, test_c256_security_material_is_rand_pne);
	tcase_add_test(tc, test_c263_c264_a_wrong_kek_does_not_unwrap);
	tcase_add_test(tc, test_c274_no_secure_session_no_installation);
	tcase_add_test(tc, test_c275_a_key_is_renewed);
	tcase_add_test(tc, test_c277_a_notification_is_not_asked_for);
	tcase_add_test(tc, test_every_cell_exists);
	tcase_add_test(tc, test_any_event_in_any_state);
	tcase_add_test(tc, test_malformed_and_misdirected);
	tcase_add_test(tc, test_fingerprint);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
