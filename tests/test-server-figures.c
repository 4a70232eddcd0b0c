/* Conversations of Figures 5 to 8 with the server's core. */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/server-client.h"

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

/* Without a word of what became of them, there is an end to it. */
START_TEST(test_refill_ends)
{
	struct client gw = gateway("gw-1", true);
	struct secret *tk = secret_random(KEY_SIZE), *key;
	struct store_batch batch = {0};
	enum status s = STATUS_OK;
	unsigned count = 0;
	struct asking q;

	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "alice", "pw"), STATUS_OK);
	give_temporary_key("headset", tk);
	first_set(&gw, tk);
	key = stored_key("alice", "headset", 3);
	for (; s == STATUS_OK && count < 100; count++) {
		ask(&q, "gw-1", "alice", "headset", ENTITY_PNE);
		ask_set(&q, KEY_SET_RANDOM, 8, GATEWAY_KEY_EXPORTER, 0);
		ask_refill(&q, key, 3, "gw-1");
		s = status_of(post(&gw, &q.m, NULL));
	}
	ck_assert_int_eq((int)s, STATUS_TOO_MANY_KEYS);
	ck_assert_uint_gt(count, SERVER_OUTSTANDING_LIMIT / 8);
	/* the user may, and a PNE that is known to hold one makes room */
	ask(&q, "gw-1", "alice", "headset", ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 1, GATEWAY_KEY_EXPORTER, 0);
	ck_assert_int_eq((int)status_of(asked(&gw, &q, "pw")), STATUS_OK);
	asking_end(&q);
	store_batch_held(&batch, bytes_text("alice"), bytes_text("headset"), 300);
	ck_assert_int_eq(store_commit(store, &batch), 0);
	store_batch_clear(&batch);
	secret_unref(key);
	key = stored_key("alice", "headset", 300);
	ck_assert_int_eq((int)refill(&gw, "alice", "headset", key, 300, "gw-1"), STATUS_OK);
	secret_unref(key);
	secret_unref(tk);
	client_free(&gw);
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
	tcase_add_test(t, test_refill_ends);
	tcase_add_test(t, test_refill_is_no_receipt);
	tcase_add_test(t, test_delivery_report);
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
