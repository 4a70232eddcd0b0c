/* State reports to the server's core: rollback, revocations, resets; and users who are locked out.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/server-client.h"

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
	/* one that only asks */
	ck_assert_int_eq(known(&gw, 1, 0, 3), 11);
	ck_assert_int_eq(known(&gw, 1, 11, 2), 11);
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

static enum status state_told(const struct client *gw, uint8_t vault, uint32_t sequence)
{
	struct telling t;

	journal[0] = '\0';
	tell(&t, gw, vault, sequence, 1);
	return status_of(post(gw, &t.m, NULL));
}

/* A box of gw-1: another connection, with what it tells of its hand-over. */
struct box {
	struct client at;
	struct m_handover is; /* term 0: it tells nothing */
	uint8_t holder[HOLDER_SIZE];
};

static struct box box(uint32_t term, uint32_t after, uint8_t holder)
{
	struct box b = {.at = gateway("gw-1", true), .is = {.term = term, .after = after}};

	memset(b.holder, holder, sizeof(b.holder));
	return b;
}

/* Its state report; the answer is the caller's. */
static struct message *reports(struct box *b)
{
	struct telling t;

	tell(&t, &b->at, 1, 0, 1);
	b->is.holder = bytes_of(b->holder, sizeof(b->holder));
	t.m.gateway_state_report.has_handover = b->is.term > 0;
	t.m.gateway_state_report.handover = b->is;
	return post(&b->at, &t.m, NULL);
}

/* What becomes of its state report, and then of a request for a set and of one that it relays. */
static void check_box(struct box *b, enum status report, enum status own, enum status relayed)
{
	struct asking q;

	ck_assert_int_eq((int)status_of(reports(b)), (int)report);
	ask(&q, "gw-1", "alice", "headset", ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 1, GATEWAY_KEY_EXPORTER, 0);
	ck_assert_int_eq((int)status_of(post(&b->at, &q.m, NULL)), (int)own);
	ask(&q, "tablet", "alice", "tablet", ENTITY_PNE);
	ck_assert_int_eq((int)status_of(post(&b->at, &q.m, NULL)), (int)relayed);
}

static void lets_in(struct box *b)
{
	/* Both are challenged: that is as far as anybody gets without a password. */
	check_box(b, STATUS_OK, STATUS_UNAUTHORIZED, STATUS_UNAUTHORIZED);
}

static void locks_out(struct box *b)
{
	check_box(b, STATUS_HANDED_OVER, STATUS_UNAVAILABLE, STATUS_UNAVAILABLE);
}

static void box_free(struct box *b)
{
	client_free(&b->at);
}

START_TEST(test_state_handed_over)
{
	struct box old = box(0, 0, 0), clone = box(0, 0, 0), new = box(1, 0, 1);
	struct box same = box(1, 0, 1), twice = box(1, 0, 2), silent = box(1, 0, 1);
	struct box next = box(3, 1, 3), leap = box(5000, 4999, 1);
	struct client open = gateway("gw-1", false), other = gateway("gw-2", true);
	struct message *m;
	struct asking q;

	ck_assert_int_eq((int)registered(&old.at, SUBSCRIBE, "alice", "pw"), STATUS_OK);
	lets_in(&old);
	lets_in(&new);
	ck_assert_ptr_nonnull(strstr(journal, "info: gw-1 was handed over to another box: term 1"));
	journal[0] = '\0';
	/* the connection of the old one is still up, and it is not told that it is to begin anew */
	ask(&q, "gw-1", "alice", "headset", ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 1, GATEWAY_KEY_EXPORTER, 0);
	ck_assert_int_eq((int)status_of(post(&old.at, &q.m, NULL)), STATUS_HANDED_OVER);
	ck_assert_ptr_nonnull(strstr(journal, "GATEWAY_HANDED_OVER"));
	ask(&q, "tablet", "alice", "tablet", ENTITY_PNE);
	ck_assert_int_eq((int)status_of(post(&old.at, &q.m, NULL)), STATUS_UNAVAILABLE);
	/* a copy of it that nobody marked, with a new connection */
	clock_s += 1000;
	journal[0] = '\0';
	m = reports(&clone);
	ck_assert_int_eq((int)message_status(m), STATUS_HANDED_OVER);
	ck_assert(m->gateway_state_response.has_handed_over);
	ck_assert_uint_eq(m->gateway_state_response.handed_over.term, 1);
	ck_assert_uint_eq(m->gateway_state_response.handed_over.since, (uint32_t)clock_s - 1000);
	ck_assert(!m->gateway_state_response.has_known);
	message_free(m);
	ck_assert_ptr_nonnull(
		strstr(journal, "(term 1, since 2023-11-14T22:13:20Z). Next: use the other box"));
	locks_out(&clone);
	/* the same hand-over taken a second time */
	locks_out(&twice);
	/* the new one again, which is no other box */
	journal[0] = '\0';
	lets_in(&same);
	ck_assert_ptr_null(strstr(journal, "handed over to another"));
	lets_in(&new);
	/* one that has not told who it is; without its certificate nobody is asked */
	ask(&q, "gw-1", "alice", "headset", ENTITY_PNE);
	ask_set(&q, KEY_SET_RANDOM, 1, GATEWAY_KEY_EUKEY, 1);
	ck_assert_int_eq((int)status_of(post(&silent.at, &q.m, NULL)), STATUS_UNAVAILABLE);
	ck_assert_int_eq((int)status_of(post(&open, &q.m, NULL)), STATUS_UNAVAILABLE);
	/* another PN GW is none of this */
	ck_assert_int_eq((int)registered(&other, SUBSCRIBE, "bob", "pw"), STATUS_OK);
	/* from box to box to box; a term from nowhere */
	check_box(&leap, STATUS_NOT_EXPECTED, STATUS_UNAVAILABLE, STATUS_UNAVAILABLE);
	lets_in(&next);
	check_box(&new, STATUS_HANDED_OVER, STATUS_HANDED_OVER, STATUS_UNAVAILABLE);
	/* the operator's word */
	operator_forgets_handover("gw-1");
	lets_in(&clone);
	lets_in(&new);
	check_box(&clone, STATUS_HANDED_OVER, STATUS_HANDED_OVER, STATUS_UNAVAILABLE);
	box_free(&old);
	box_free(&clone);
	box_free(&new);
	box_free(&same);
	box_free(&twice);
	box_free(&silent);
	box_free(&next);
	box_free(&leap);
	client_free(&open);
	client_free(&other);
}
END_TEST

/* Taken back before the other box came: what is in the file is void. Taken back too late. */
START_TEST(test_state_handover_taken_back)
{
	struct box new = box(1, 0, 1), back = box(2, 0, 2), later = box(3, 2, 3);
	struct box late = box(4, 2, 4);

	lets_in(&back);
	locks_out(&new);
	lets_in(&back);
	lets_in(&later);
	locks_out(&late);
	check_box(&back, STATUS_HANDED_OVER, STATUS_HANDED_OVER, STATUS_UNAVAILABLE);
	box_free(&new);
	box_free(&back);
	box_free(&later);
	box_free(&late);
}
END_TEST

/* What the old box was answered is not answered again: two boxes would have the same set. */
START_TEST(test_state_former_answers)
{
	struct box old = box(0, 0, 0), new = box(1, 0, 1), clone = box(0, 0, 0);
	struct secret *tk = secret_random(KEY_SIZE);
	char request[MESSAGE_MAX_SIZE];
	size_t size;

	ck_assert_int_eq((int)registered(&old.at, SUBSCRIBE, "alice", "pw"), STATUS_OK);
	lets_in(&old);
	give_temporary_key("headset", tk);
	first_set(&old.at, tk);
	size = last_request_size;
	memcpy(request, last_request, size);
	ck_assert_int_eq(post_bytes(&old.at, bytes_of(request, size), NULL)->http, 200);
	lets_in(&new);
	ck_assert_int_eq(post_bytes(&old.at, bytes_of(request, size), NULL)->http, 403);
	locks_out(&clone);
	ck_assert_int_eq(post_bytes(&clone.at, bytes_of(request, size), NULL)->http, 503);
	/* the new one goes on with what the old one had begun */
	ck_assert_int_eq(post_bytes(&new.at, bytes_of(request, size), NULL)->http, 200);
	secret_unref(tk);
	box_free(&old);
	box_free(&new);
	box_free(&clone);
}
END_TEST

/* Nobody uses up the numbers of a vault by a report in its PN GW's name. */
START_TEST(test_state_leaps)
{
	const uint32_t leap = UINT32_C(1) << 20, first = UINT32_C(1) << 31;
	struct client gw = gateway("gw-1", true);

	ck_assert_int_eq((int)state_told(&gw, 1, 1000), STATUS_OK);
	ck_assert_int_eq((int)state_told(&gw, 1, UINT32_MAX - 1), STATUS_NOT_EXPECTED);
	ck_assert_ptr_nonnull(strstr(journal, "no ledger comes from 1000 to 4294967294"));
	ck_assert_int_eq((int)state_told(&gw, 1, 1000 + leap + 1), STATUS_NOT_EXPECTED);
	ck_assert_int_eq(known(&gw, 1, 0, 1), 1000);
	ck_assert_int_eq((int)state_told(&gw, 1, 1000 + leap), STATUS_OK);
	ck_assert_int_eq(known(&gw, 1, 0, 1), 1000 + leap);
	/* the first of a vault; this is 2 */
	ck_assert_int_eq((int)state_told(&gw, 2, first + 1), STATUS_NOT_EXPECTED);
	ck_assert_int_eq(known(&gw, 2, 0, 1), -1);
	ck_assert_int_eq((int)state_told(&gw, 3, first), STATUS_OK);
	client_free(&gw);
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

/* The answer of before is no way back to a key that was revoked since. */
START_TEST(test_repeated_after_a_revocation)
{
	struct client gw = gateway("gw-1", true);
	struct secret *tk = secret_random(KEY_SIZE);
	static char first[MESSAGE_MAX_SIZE];
	struct malformation why;
	struct message *m = NULL;
	size_t first_size;
	struct answer *a;

	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "alice", "pw"), STATUS_OK);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, NULL), STATUS_OK);
	memcpy(first, last_request, last_request_size);
	first_size = last_request_size;
	ck_assert_int_eq(post_bytes(&gw, bytes_of(first, first_size), NULL)->http, 200);
	ck_assert_int_eq(operator_revokes("tablet"), 0);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, NULL), STATUS_OK);
	for (int i = 0; i < 2; i++) {
		a = post_bytes(&gw, bytes_of(first, first_size), NULL);
		ck_assert_int_eq(message_decode(bytes_of(a->body, a->size), &m, &why), 0);
		ck_assert(!m->eukey_assignment_response.has_key);
		ck_assert_int_eq((int)status_of(m), STATUS_STALE_INDEX);
	}
	ck_assert_ptr_nonnull(strstr(journal, "[REVOKED]"));
	/* that of after the revocation is as good as before */
	ck_assert_int_eq(post_bytes(&gw, bytes_of(last_request, last_request_size), NULL)->http,
			 200);
	ck_assert(server_has("alice", "tablet", 2) && !server_has("alice", "tablet", 3));
	/* a set */
	give_temporary_key("headset", tk);
	first_set(&gw, tk);
	memcpy(first, last_request, last_request_size);
	first_size = last_request_size;
	ck_assert_int_eq(operator_revokes("headset"), 0);
	a = post_bytes(&gw, bytes_of(first, first_size), NULL);
	ck_assert_int_eq(message_decode(bytes_of(a->body, a->size), &m, &why), 0);
	ck_assert(!m->eukey_assignment_response.has_key_set);
	ck_assert_int_eq((int)status_of(m), STATUS_STALE_INDEX);
	secret_unref(tk);
	client_free(&gw);
}
END_TEST

/* The operator is at work between what the server has read and what it is about to write. */
static const struct store_ops *real_ops;
static void (*in_between)(void);

static int late_commit(struct store *s, const struct store_batch *b)
{
	void (*work)(void) = in_between;
	const struct store_ops *ops = s->ops;

	in_between = NULL;
	if (work) {
		s->ops = real_ops;
		work();
		s->ops = ops;
	}
	return real_ops->commit(s, b);
}

static void revokes_tablet(void)
{
	ck_assert_int_eq(operator_revokes("tablet"), 0);
}

static void locks_alice_out(void)
{
	operator_blocks("alice", true);
}

START_TEST(test_revoked_in_between)
{
	struct client gw = gateway("gw-1", true), other = gateway("gw-2", true);
	struct store_element e;
	struct store_ops late;
	struct telling t;
	struct message *m;

	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "alice", "pw"), STATUS_OK);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, NULL), STATUS_OK);
	real_ops = store->ops;
	late = *real_ops;
	late.commit = late_commit;
	store->ops = &late;
	/* the key that is given then is one of after the revocation */
	in_between = revokes_tablet;
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, NULL), STATUS_OK);
	ck_assert_uint_eq(element_of("tablet").revocation.epoch, 1);
	ck_assert_uint_eq(element_of("tablet").revocation.key_index, 1);
	ck_assert(!server_has("alice", "tablet", 1) && server_has("alice", "tablet", 2));
	/* both sides at once: two revocations that are one epoch */
	in_between = revokes_tablet;
	tell(&t, &gw, 1, 1, 1);
	tell_of(&t, "tablet", 2, 2, RESET_UNCONFIRMED);
	m = told(&gw, &t);
	ck_assert_uint_eq(m->gateway_state_response.elements_count, 0);
	ck_assert_uint_gt(m->gateway_state_response.resets_count, 0);
	message_free(m);
	ck_assert_uint_eq(element_of("tablet").revocation.epoch, 2);
	ck_assert_uint_eq(element_of("tablet").revocation.key_index, 2);
	/* locked out while a key is on its way, to a device that is known and to one that is not */
	in_between = locks_alice_out;
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, NULL),
			 STATUS_UNAUTHORIZED);
	operator_blocks("alice", false);
	in_between = locks_alice_out;
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "phone", NULL, 0, NULL),
			 STATUS_UNAUTHORIZED);
	/* and while a PN GW is about to become hers, one that is known and one that is not */
	operator_blocks("alice", false);
	ck_assert_int_eq(operator_revokes("gw-1"), 0);
	in_between = locks_alice_out;
	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "alice", "pw"), STATUS_ALREADY_INSTALLED);
	ck_assert_str_eq(element_of("gw-1").owner.text, "");
	operator_blocks("alice", false);
	in_between = locks_alice_out;
	ck_assert_int_eq((int)registered(&other, SUBSCRIBE, "alice", "pw"),
			 STATUS_ALREADY_INSTALLED);
	ck_assert_int_eq(store_element(store, bytes_text("gw-2"), &e), STORE_ABSENT);
	ck_assert_ptr_null(in_between);
	ck_assert(!server_has("alice", "tablet", 3) && !server_has("alice", "phone", 1));
	store->ops = real_ops;
	client_free(&gw);
	client_free(&other);
}
END_TEST

/* A store in which records of one device do not open. */
static int damaged_keys(struct store *s, struct bytes user, struct bytes entity,
			struct store_key out[STORE_KEYS_MAX])
{
	int r = real_ops->keys(s, user, entity, out);

	if (r == 0 && bytes_equal(entity, bytes_text("tablet")))
		secret_clear(&out[0].key);
	return r;
}

static int damaged_resets(struct store *s, struct bytes user, struct bytes entity,
			  struct store_resets *out)
{
	return bytes_equal(entity, bytes_text("tablet")) ? STORE_DAMAGED
							 : real_ops->resets(s, user, entity, out);
}

static int damaged_eukey(struct store *s, struct bytes user, struct bytes entity, uint32_t index,
			 struct secret **out)
{
	return bytes_equal(entity, bytes_text("tablet"))
		       ? STORE_DAMAGED
		       : real_ops->eukey(s, user, entity, index, out);
}

static int damaged_element(struct store *s, struct bytes entity, struct store_element *out)
{
	return bytes_equal(entity, bytes_text("tablet")) ? STORE_DAMAGED
							 : real_ops->element(s, entity, out);
}

static bool said_damaged(void)
{
	const bool r =
		strstr(journal, "tablet is damaged") || strstr(journal, "tablet in the store is");

	journal[0] = '\0';
	return r;
}

/* Reports on a damaged device and a sound one: the sound one is served. */
START_TEST(test_damaged_device)
{
	struct client gw = gateway("gw-1", true);
	struct secret *keys[2] = {NULL, NULL}, *phone = NULL;
	struct message report = {.kind = MESSAGE_eukey_delivery_report};
	struct m_eukey_delivery_report *r = &report.eukey_delivery_report;
	struct store_ops ops;
	struct message_id id;
	uint8_t proof[P1_MAC_SIZE];
	struct telling t;
	struct message *m;

	ck_assert_int_eq((int)registered(&gw, SUBSCRIBE, "alice", "pw"), STATUS_OK);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", NULL, 0, &keys[i]),
				 STATUS_OK);
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "phone", NULL, 0, &phone), STATUS_OK);
	real_ops = store->ops;
	ops = *real_ops;
	store->ops = &ops;
	/* a delivery report */
	ops.eukey = damaged_eukey;
	fresh_id();
	id = last_id;
	envelope(&report, &id, "gw-1", SERVER_NAME);
	ck_assert_int_eq(
		p1_held_proof(phone, bytes_text("alice"), bytes_text("phone"), 1, &id, proof), 0);
	for (int i = 0; i < 2; i++)
		r->deliveries[r->deliveries_count++] =
			(struct m_delivery){.entity_id = bytes_text(i == 0 ? "tablet" : "phone"),
					    .user_id = bytes_text("alice"),
					    .key_index = 1,
					    .state = DELIVERY_INSTALLED,
					    .message_id = bytes_of(id.b, sizeof(id.b)),
					    .proof = bytes_of(proof, sizeof(proof))};
	ck_assert_int_eq((int)status_of(post(&gw, &report, NULL)), STATUS_OK);
	ck_assert_ptr_nonnull(strstr(journal, "1 EUKeys proven to be held"));
	ck_assert(said_damaged());
	/* a key that proves nothing is no reason to give no other */
	ck_assert_int_eq((int)figure5(&gw, "alice", "pw", "tablet", keys[1], 2, NULL), STATUS_OK);
	ck_assert(said_damaged());
	ops.eukey = real_ops->eukey;
	/* a revocation is one also of a key that does not open */
	ops.keys = damaged_keys;
	tell(&t, &gw, 1, 1, 1);
	tell_of(&t, "tablet", 1, 3, RESET_UNCONFIRMED);
	tell_of(&t, "phone", 1, 1, RESET_UNCONFIRMED);
	m = told(&gw, &t);
	ck_assert_uint_eq(m->gateway_state_response.resets_count, 3);
	check_reset(m, "tablet", 1, 2, keys[1]);
	check_reset(m, "phone", 1, 1, phone);
	message_free(m);
	ck_assert(said_damaged());
	ck_assert(!server_has("alice", "tablet", 1) && !server_has("alice", "tablet", 2));
	/* resets that do not open, then the device itself */
	ops.resets = damaged_resets;
	for (int i = 0; i < 2; i++) {
		tell(&t, &gw, 1, 1, 1);
		tell_of(&t, "tablet", 1, 3, RESET_UNCONFIRMED);
		tell_of(&t, "phone", 1, 1, RESET_UNCONFIRMED);
		m = told(&gw, &t);
		ck_assert_uint_eq(m->gateway_state_response.resets_count, 1);
		check_reset(m, "phone", 1, 1, phone);
		message_free(m);
		ck_assert(said_damaged());
		ops.element = damaged_element;
	}
	store->ops = real_ops;
	secret_unref(keys[0]);
	secret_unref(keys[1]);
	secret_unref(phone);
	client_free(&gw);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("server state");
	TCase *t = tcase_create("reports");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_state_rollback);
	tcase_add_test(t, test_state_leaps);
	tcase_add_test(t, test_state_operator_revokes);
	tcase_add_test(t, test_state_gateway_revokes);
	tcase_add_test(t, test_state_resets_take_turns);
	tcase_add_test(t, test_state_of_a_revoked_gateway);
	tcase_add_test(t, test_blocked_user);
	tcase_add_test(t, test_repeated_after_a_revocation);
	tcase_add_test(t, test_revoked_in_between);
	tcase_add_test(t, test_damaged_device);
	tcase_add_test(t, test_state_handed_over);
	tcase_add_test(t, test_state_handover_taken_back);
	tcase_add_test(t, test_state_former_answers);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
