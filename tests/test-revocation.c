/* Revocation and reset, all roles in one process. */

#include <errno.h>
#include <stdlib.h>

#include "tests/figures-many.h"

#define USER     "alice"
#define PASSWORD "correct horse"

static void expect_one(struct sim *s, enum verdict_id id)
{
	char text[VERDICT_TEXT_SIZE];

	many_await(s, 1);
	ck_assert_uint_eq(s->count, 1);
	ck_assert_msg(s->verdicts[0].id == id, "%s, not %s",
		      verdict_describe(&s->verdicts[0], text, sizeof(text)), verdict_name(id));
	s->count = 0;
	many_settle(s);
}

static void assign(struct sim *s, enum figure figure, unsigned pne)
{
	s->count = 0;
	ck_assert_int_eq(sim_gateway_start_for(s->gateway, figure, pne, USER, PASSWORD,
					       figure == FIGURE_7 ? 3 : 0),
			 1);
	expect_one(s, VERDICT_DONE);
}

static void enter(struct sim *s, unsigned pne)
{
	s->count = 0;
	sim_pne_enter(s->pan[pne].pne, USER, PASSWORD);
	expect_one(s, VERDICT_DONE);
	many_pass(s, 1000);
}

/* The server takes revocations from a PN GW that belongs to the user of the device. */
static void registered(struct sim *s)
{
	assign(s, FIGURE_5, 0);
	assign(s, FIGURE_8, 0);
}

static bool holds_key(struct sim *s, unsigned pne, uint32_t *index)
{
	uint8_t held[P1_FINGERPRINT_SIZE];
	struct name user;

	return sim_pne_fingerprint(s->pan[pne].pne, &user, index, held);
}

static void check_erased(struct sim *s, unsigned pne)
{
	uint32_t index;

	ck_assert(!holds_key(s, pne, &index));
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, sim_pne_name(pne)), 0);
}

static struct sim_revocation state_of(struct sim *s, const char *entity)
{
	struct sim_revocation r;

	ck_assert_msg(sim_gateway_revocation(s->gateway, entity, &r), "%s is not revoked", entity);
	return r;
}

static void check_confirmed(struct sim *s, unsigned pne, uint32_t epoch)
{
	struct sim_revocation r = state_of(s, sim_pne_name(pne));

	ck_assert_uint_eq(r.epoch, epoch);
	ck_assert_int_eq(r.reset, RESET_CONFIRMED);
	check_erased(s, pne);
}

/* What the server keeps of it: nobody's, no key, and what the PN GW told. */
static void check_server(struct sim *s, unsigned pne, uint32_t epoch, enum reset_state reset)
{
	struct sim_element e;

	sim_server_element(s->server, sim_pne_name(pne), &e);
	ck_assert_str_eq(e.owner.text, "");
	ck_assert_uint_eq(e.epoch, epoch);
	ck_assert_uint_eq(e.key_index, e.last_index);
	ck_assert_int_eq(e.reset, reset);
	ck_assert_uint_eq(e.keys, 0);
}

/* Both sides know the same, and the server has none of the revoked keys. */
static void check_agreed(struct sim *s, unsigned pne)
{
	const char *entity = sim_pne_name(pne);
	struct sim_revocation here = state_of(s, entity);
	struct sim_element there;

	ck_assert(here.told);
	sim_server_element(s->server, entity, &there);
	ck_assert_uint_eq(here.epoch, there.epoch);
	ck_assert_uint_eq(here.key_index, there.key_index);
	ck_assert_int_eq(here.reset, there.reset);
	/* What was given out since has higher indexes. */
	ck_assert_uint_le(there.keys, there.last_index - there.key_index);
}

static int revoke(struct sim *s, enum sim_revoke what, const char *name)
{
	s->count = 0;
	s->restarted = false;
	return sim_gateway_revoke(s->gateway, what, name);
}

START_TEST(a_pne_is_revoked)
{
	struct sim *s = many_new(false);
	uint32_t index;

	registered(s);
	assign(s, FIGURE_7, 0);
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 3);
	ck_assert(holds_key(s, 0, &index));
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_DONE);
	check_confirmed(s, 0, 1);
	ck_assert_uint_eq(state_of(s, SIM_PNE).key_index, 3);
	many_pass(s, 1000);
	check_server(s, 0, 1, RESET_CONFIRMED);
	/* Anew: a higher index. */
	assign(s, FIGURE_7, 0);
	ck_assert(holds_key(s, 0, &index));
	ck_assert_uint_ge(index, 4);
	many_free(s);
}
END_TEST

START_TEST(a_pne_that_is_away_is_reset_when_it_is_back)
{
	struct sim *s = many_new(false);
	uint32_t index;

	registered(s);
	assign(s, FIGURE_7, 0);
	many_away(s, 0, true);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_PNE_RESET_UNCONFIRMED);
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 0);
	ck_assert_int_eq(state_of(s, SIM_PNE).reset, RESET_UNCONFIRMED);
	ck_assert(holds_key(s, 0, &index));
	many_restart_gateway(s);
	many_pass(s, 1000);
	many_away(s, 0, false);
	many_pass(s, 1000);
	check_confirmed(s, 0, 1);
	many_free(s);
}
END_TEST

START_TEST(offline_the_revocation_waits_for_the_server)
{
	struct sim *s = many_new(false);

	registered(s);
	assign(s, FIGURE_7, 0);
	many_offline(s, true);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_DONE);
	check_confirmed(s, 0, 1);
	ck_assert(!state_of(s, SIM_PNE).told);
	many_restart_gateway(s);
	many_pass(s, 5000);
	ck_assert(!state_of(s, SIM_PNE).told);
	many_offline(s, false);
	many_pass(s, 5000);
	ck_assert(state_of(s, SIM_PNE).told);
	check_server(s, 0, 1, RESET_CONFIRMED);
	many_free(s);
}
END_TEST

/* A revocation that cannot be read any more and that the server has not heard of is made again. */
START_TEST(a_damaged_revocation_is_made_again)
{
	struct sim *s = many_new(false);

	registered(s);
	assign(s, FIGURE_7, 0);
	many_offline(s, true);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_DONE);
	many_stop_gateway(s);
	sim_gateway_damage(s->directory, VAULT_REVOCATION, SIM_PNE);
	s->gateway = sim_gateway_new(s, s->directory);
	many_pass(s, 5000);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	/* What its reset could be proven with is gone. */
	expect_one(s, VERDICT_PNE_RESET_UNCONFIRMED);
	ck_assert_uint_eq(state_of(s, SIM_PNE).epoch, 1);
	check_erased(s, 0);
	many_offline(s, false);
	many_pass(s, 5000);
	check_agreed(s, 0);
	ck_assert_uint_eq(state_of(s, SIM_PNE).key_index, 3);
	many_free(s);
}
END_TEST

START_TEST(unknown_and_repeated)
{
	struct sim *s = many_new(false);

	registered(s);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, "nobody-1"), 1);
	expect_one(s, VERDICT_DEVICE_UNKNOWN);
	ck_assert_int_eq(revoke(s, SIM_RESET_AGAIN, SIM_PNE), 1);
	expect_one(s, VERDICT_NOT_REVOKED);
	ck_assert_int_eq(sim_gateway_forget(s->gateway, SIM_PNE, false), -ENOENT);
	assign(s, FIGURE_7, 0);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
		expect_one(s, VERDICT_DONE);
		check_confirmed(s, 0, 1);
	}
	assign(s, FIGURE_7, 0);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_DONE);
	check_confirmed(s, 0, 2);
	many_free(s);
}
END_TEST

/* Reset by its owner's own hand: no key, so no proof, and one sees why. */
START_TEST(a_pne_that_has_no_key_stays_unconfirmed)
{
	struct sim *s = many_new(false);
	struct sim_revocation r;

	registered(s);
	assign(s, FIGURE_7, 0);
	sim_pne_reset(s->pan[0].pne);
	many_restart_pne(s, 0);
	many_pass(s, 1000);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_PNE_RESET_UNCONFIRMED);
	r = state_of(s, SIM_PNE);
	ck_assert_int_eq(r.reset, RESET_UNCONFIRMED);
	ck_assert_ptr_nonnull(strstr(r.seen, "holds no EUKey"));
	/* The operator knows better. */
	ck_assert_int_eq(sim_gateway_forget(s->gateway, SIM_PNE, false), 0);
	many_settle(s);
	ck_assert(state_of(s, SIM_PNE).forgotten);
	many_restart_gateway(s);
	many_pass(s, 1000);
	ck_assert(state_of(s, SIM_PNE).forgotten);
	ck_assert_int_eq(revoke(s, SIM_RESET_AGAIN, SIM_PNE), 1);
	expect_one(s, VERDICT_PNE_RESET_UNCONFIRMED);
	ck_assert(!state_of(s, SIM_PNE).forgotten);
	/* A proven EUKey of after is as good as a confirmation. */
	assign(s, FIGURE_7, 0);
	ck_assert_int_eq(state_of(s, SIM_PNE).reset, RESET_CONFIRMED);
	many_free(s);
}
END_TEST

/* Under valgrind every seventh message has to do. */
static unsigned stride(void)
{
	return getenv("PNGW_VALGRIND") ? 7 : 1;
}

/* Whatever message the PN GW dies at, the revocation it accepted is carried through. */
START_TEST(the_pn_gw_restarted_at_every_message)
{
	unsigned at = 1;
	bool reached;

	do {
		struct sim *s = many_new(false);
		uint32_t index;

		registered(s);
		assign(s, FIGURE_7, 0);
		s->delivered = 0;
		s->restart_at = at;
		ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
		many_await(s, 1);
		many_pass(s, 60000);
		reached = s->restarted;
		check_confirmed(s, 0, 1);
		ck_assert(state_of(s, SIM_PNE).told);
		check_server(s, 0, 1, RESET_CONFIRMED);
		s->restart_at = 0;
		assign(s, FIGURE_7, 0);
		ck_assert(holds_key(s, 0, &index));
		many_free(s);
		at += stride();
	} while (reached);
	ck_assert_uint_ge(at, 4);
}
END_TEST

START_TEST(every_message_lost_once)
{
	unsigned at = 1;
	bool reached;

	do {
		struct sim *s = many_new(false);

		registered(s);
		assign(s, FIGURE_7, 0);
		s->delivered = 0;
		s->lose_at = at;
		ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
		many_await(s, 1);
		many_pass(s, 60000);
		reached = s->delivered >= at;
		check_confirmed(s, 0, 1);
		ck_assert(state_of(s, SIM_PNE).told);
		check_server(s, 0, 1, RESET_CONFIRMED);
		many_free(s);
		at += stride();
	} while (reached);
	ck_assert_uint_ge(at, 4);
}
END_TEST

START_TEST(a_figure_under_way_ends_with_revoked)
{
	unsigned at;
	bool under_way = true;

	for (at = 1; under_way; at += stride()) {
		struct sim *s = many_new(false);
		bool revoked = false;

		registered(s);
		assign(s, FIGURE_7, 0);
		s->count = 0;
		s->delivered = 0;
		ck_assert_int_eq(sim_gateway_start_for(s->gateway, FIGURE_7, 0, USER, PASSWORD, 3),
				 1);
		while (s->delivered < at && s->count == 0) {
			if (many_work(s))
				continue;
			ck_assert_uint_gt(s->queued, 0);
			many_deliver(s);
		}
		under_way = s->count == 0;
		ck_assert_int_eq(sim_gateway_revoke(s->gateway, SIM_REVOKE, SIM_PNE), 1);
		/* The first run's verdict is told under a run that the sim has left behind. */
		many_await(s, under_way ? 1 : 2);
		for (size_t i = 0; i < s->count; i++)
			revoked = revoked || s->verdicts[i].id == VERDICT_REVOKED;
		ck_assert(!revoked);
		many_pass(s, 60000);
		ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 0);
		check_confirmed(s, 0, 1);
		assign(s, FIGURE_7, 0);
		many_free(s);
	}
	ck_assert_uint_ge(at, 5);
}
END_TEST

START_TEST(a_user_with_three_pnes)
{
	struct sim *s = many_new(false);

	assign(s, FIGURE_5, 0);
	for (unsigned i = 0; i < PNES; i++)
		assign(s, FIGURE_7, i);
	many_away(s, 2, true);
	ck_assert_int_eq(revoke(s, SIM_REVOKE_USER, "bob"), 0);
	ck_assert_int_eq(revoke(s, SIM_REVOKE_USER, USER), 3);
	many_await(s, 3);
	for (size_t i = 0; i < s->count; i++) {
		bool gone = strcmp(s->verdicts[i].entity.text, sim_pne_name(2)) == 0;

		ck_assert_int_eq(s->verdicts[i].id,
				 gone ? VERDICT_PNE_RESET_UNCONFIRMED : VERDICT_DONE);
	}
	check_confirmed(s, 0, 1);
	check_confirmed(s, 1, 1);
	many_away(s, 2, false);
	many_pass(s, 1000);
	check_confirmed(s, 2, 1);
	many_free(s);
}
END_TEST

START_TEST(everything)
{
	struct sim *s = many_new(false);
	uint8_t fingerprint[P1_FINGERPRINT_SIZE];
	struct name user;
	uint32_t index;

	registered(s);
	assign(s, FIGURE_7, 0);
	assign(s, FIGURE_7, 1);
	ck_assert_int_eq(revoke(s, SIM_REVOKE_ALL, NULL), 3);
	many_await(s, 3);
	for (size_t i = 0; i < s->count; i++)
		ck_assert_int_eq(s->verdicts[i].id, VERDICT_DONE);
	check_confirmed(s, 0, 1);
	check_confirmed(s, 1, 1);
	ck_assert_int_eq(state_of(s, SIM_GATEWAY).reset, RESET_NONE);
	ck_assert(!sim_gateway_fingerprint(s->gateway, SIM_GATEWAY, &user, &index, fingerprint));
	many_restart_gateway(s);
	many_pass(s, 5000);
	ck_assert(!sim_gateway_fingerprint(s->gateway, SIM_GATEWAY, &user, &index, fingerprint));
	ck_assert(state_of(s, SIM_GATEWAY).told);
	/* It may begin anew. */
	s->restarted = false;
	assign(s, FIGURE_8, 0);
	assign(s, FIGURE_7, 0);
	many_free(s);
}
END_TEST

/* The operator revokes: the PN GW learns at its next session, and resets what only the server can.
 */
static void operator_revokes(struct sim *s, bool pne_away)
{
	sim_server_revoke(s->server, SIM_PNE);
	check_server(s, 0, 1, RESET_UNCONFIRMED);
	if (pne_away)
		many_away(s, 0, true);
	s->count = 0;
	many_offline(s, true);
	many_pass(s, 1000);
	many_offline(s, false);
	many_pass(s, 5000);
	ck_assert(state_of(s, SIM_PNE).by_server);
	if (pne_away) {
		ck_assert_int_eq(state_of(s, SIM_PNE).reset, RESET_UNCONFIRMED);
		ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 0);
		check_server(s, 0, 1, RESET_UNCONFIRMED);
		many_restart_gateway(s);
		many_pass(s, 5000);
		many_away(s, 0, false);
		many_pass(s, 5000);
	}
	check_confirmed(s, 0, 1);
	check_server(s, 0, 1, RESET_CONFIRMED);
}

START_TEST(the_operator_revokes_a_pne_of_figure_7)
{
	struct sim *s = many_new(false);
	uint32_t index;

	registered(s);
	assign(s, FIGURE_7, 0);
	operator_revokes(s, _i == 1);
	assign(s, FIGURE_7, 0);
	ck_assert(holds_key(s, 0, &index));
	ck_assert_uint_eq(index, 4);
	many_free(s);
}
END_TEST

START_TEST(the_operator_revokes_a_pne_of_figure_5)
{
	struct sim *s = many_new(true);
	uint32_t index;

	registered(s);
	enter(s, 0);
	operator_revokes(s, _i == 1);
	enter(s, 0);
	ck_assert(holds_key(s, 0, &index));
	ck_assert_uint_eq(index, 2);
	many_free(s);
}
END_TEST

/* A PN GW that is nobody's has no say: it knows that the server did not take its revocation. */
START_TEST(a_pn_gw_of_nobody)
{
	struct sim *s = many_new(false);
	struct sim_element e;

	assign(s, FIGURE_5, 0);
	assign(s, FIGURE_7, 0);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_DONE);
	check_confirmed(s, 0, 1);
	many_pass(s, 5000);
	ck_assert(!state_of(s, SIM_PNE).told);
	sim_server_element(s->server, SIM_PNE, &e);
	ck_assert_uint_eq(e.epoch, 0);
	/* As soon as it is the user's, it is taken. */
	assign(s, FIGURE_8, 0);
	many_offline(s, true);
	many_pass(s, 1000);
	many_offline(s, false);
	many_pass(s, 5000);
	ck_assert(state_of(s, SIM_PNE).told);
	check_server(s, 0, 1, RESET_CONFIRMED);
	many_free(s);
}
END_TEST

/* Vault, ledger and key file of a PN GW that does not run. */
static void copy_vault(struct sim *s, const char *from, const char *to)
{
	static const char *const files[] = {"vault", "vault-wal", "vault-shm", "vault.ledger",
					    "key"};
	char command[512];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		(void)snprintf(
			command, sizeof(command),
			"cd '%s' && rm -f %s.%s && { test ! -e %s.%s || cp -p %s.%s %s.%s; }",
			s->directory, to, files[i], from, files[i], from, files[i], to, files[i]);
		ck_assert_int_eq(system(command), 0);
	}
}

static void new_session(struct sim *s)
{
	many_offline(s, true);
	many_pass(s, 1000);
	many_offline(s, false);
	many_pass(s, 5000);
}

/* With its ledger: the PN GW itself cannot tell, but the server was told of what came after. */
START_TEST(an_older_vault_is_found_out_by_the_server)
{
	struct sim *s = many_new(false);
	uint32_t before, after;

	registered(s);
	assign(s, FIGURE_7, 0);
	new_session(s);
	many_stop_gateway(s);
	copy_vault(s, "gateway", "older");
	s->gateway = sim_gateway_new(s, s->directory);
	many_pass(s, 5000);
	assign(s, FIGURE_7, 0);
	new_session(s);
	ck_assert_uint_ge(sim_gateway_keys(s->gateway, SIM_PNE), 3);
	ck_assert(holds_key(s, 0, &before));
	many_stop_gateway(s);
	copy_vault(s, "older", "gateway");
	s->gateway = sim_gateway_new(s, s->directory);
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 3);
	many_pass(s, 5000);
	/* The one that was sent, and the highest, which counts as sent and proves a refill. */
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 2);
	assign(s, FIGURE_7, 0);
	ck_assert(holds_key(s, 0, &after));
	ck_assert_uint_gt(after, before);
	/* It is the newest now: nothing more is erased. */
	new_session(s);
	ck_assert_uint_ge(sim_gateway_keys(s->gateway, SIM_PNE), 3);
	many_restart_gateway(s);
	many_pass(s, 5000);
	ck_assert_uint_ge(sim_gateway_keys(s->gateway, SIM_PNE), 3);
	many_free(s);
}
END_TEST

static void renew(struct sim *s)
{
	s->count = 0;
	ck_assert_int_eq(sim_gateway_renew(s->gateway, 0), 1);
	many_await(s, 1);
	s->count = 0;
	many_pass(s, 5000);
}

/*
 * The older one has gone on by itself meanwhile, and has more entries than the server was told. at:
 * the message of its first session that is lost, or at which the PN GW is restarted; 0: none.
 * False: there were not so many.
 */
static bool older_that_went_on(unsigned at, bool restarts)
{
	struct sim *s = many_new(false);
	bool there;

	registered(s);
	s->count = 0;
	ck_assert_int_eq(sim_gateway_start_for(s->gateway, FIGURE_7, 0, USER, PASSWORD, 8), 1);
	expect_one(s, VERDICT_DONE);
	new_session(s);
	many_stop_gateway(s);
	copy_vault(s, "gateway", "older");
	s->gateway = sim_gateway_new(s, s->directory);
	many_pass(s, 5000);
	renew(s);
	new_session(s);
	many_stop_gateway(s);
	copy_vault(s, "older", "gateway");
	many_offline(s, true);
	s->gateway = sim_gateway_new(s, s->directory);
	many_pass(s, 5000);
	for (int i = 0; i < 3; i++)
		renew(s);
	ck_assert_uint_ge(sim_gateway_pool(s->gateway, SIM_PNE).left, 3);
	s->delivered = 0;
	*(restarts ? &s->restart_at : &s->lose_at) = at;
	many_offline(s, false);
	many_pass(s, 40000);
	/* What may have been spent in the other's future is not spent here. */
	ck_assert_msg(sim_gateway_pool(s->gateway, SIM_PNE).left == 0,
		      "%zu keys may be spent twice after message %u",
		      sim_gateway_pool(s->gateway, SIM_PNE).left, at);
	there = s->delivered >= at;
	many_free(s);
	return there;
}

START_TEST(an_older_vault_that_went_on_is_found_out)
{
	unsigned at = 0;

	while (older_that_went_on(at, _i != 0))
		at++;
	ck_assert_uint_ge(at, 3);
}
END_TEST

/* Whatever message of a session is lost, 40 seconds later the server knows how far the ledger is.
 */
START_TEST(the_server_knows_the_newest_state)
{
	bool there = true;

	for (unsigned at = 1; there; at++) {
		struct sim *s = many_new(false);

		registered(s);
		s->count = 0;
		ck_assert_int_eq(sim_gateway_start_for(s->gateway, FIGURE_7, 0, USER, PASSWORD, 8),
				 1);
		expect_one(s, VERDICT_DONE);
		new_session(s);
		many_stop_gateway(s);
		copy_vault(s, "gateway", "older");
		many_offline(s, true);
		s->gateway = sim_gateway_new(s, s->directory);
		many_pass(s, 5000);
		renew(s);
		s->delivered = 0;
		s->lose_at = at;
		many_offline(s, false);
		many_pass(s, 40000);
		there = s->delivered >= at;
		s->lose_at = 0;
		many_stop_gateway(s);
		copy_vault(s, "older", "gateway");
		s->gateway = sim_gateway_new(s, s->directory);
		many_pass(s, 5000);
		ck_assert_msg(sim_gateway_pool(s->gateway, SIM_PNE).left == 0,
			      "it does not after message %u was lost", at);
		many_free(s);
	}
}
END_TEST

/* Its EUKey never was in the PN GW: the server gives the right to reset. */
START_TEST(a_pne_keyed_by_figure_5)
{
	struct sim *s = many_new(true);

	registered(s);
	enter(s, 0);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_DONE);
	check_confirmed(s, 0, 1);
	enter(s, 0);
	many_free(s);
}
END_TEST

START_TEST(a_pne_keyed_by_figure_6)
{
	struct sim *s = many_new(true);

	assign(s, FIGURE_6, 0);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_DONE);
	check_confirmed(s, 0, 1);
	assign(s, FIGURE_6, 0);
	many_free(s);
}
END_TEST

START_TEST(figure_6_offline_and_away)
{
	struct sim *s = many_new(true);
	uint32_t index;

	assign(s, FIGURE_6, 0);
	many_offline(s, true);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_PNE_RESET_UNCONFIRMED);
	ck_assert(holds_key(s, 0, &index));
	many_away(s, 0, true);
	many_offline(s, false);
	many_pass(s, 5000);
	ck_assert(state_of(s, SIM_PNE).told);
	many_restart_gateway(s);
	many_pass(s, 5000);
	many_away(s, 0, false);
	many_pass(s, 5000);
	check_confirmed(s, 0, 1);
	ck_assert(state_of(s, SIM_PNE).told);
	many_free(s);
}
END_TEST

START_TEST(the_server_revokes)
{
	struct sim *s = many_new(false);
	uint32_t index;

	registered(s);
	assign(s, FIGURE_7, 0);
	assign(s, FIGURE_7, 1);
	sim_server_revoke(s->server, SIM_PNE);
	/* It is heard of in the next session. */
	many_offline(s, true);
	many_offline(s, false);
	many_pass(s, 5000);
	check_confirmed(s, 0, 1);
	ck_assert(state_of(s, SIM_PNE).by_server);
	check_agreed(s, 0);
	ck_assert(holds_key(s, 1, &index));
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, sim_pne_name(1)), 3);
	assign(s, FIGURE_7, 0);
	ck_assert(holds_key(s, 0, &index));
	ck_assert_uint_eq(index, 4);
	/* Or, as long as a session lasts, within the hour. */
	sim_server_revoke(s->server, SIM_PNE);
	many_pass(s, 3700000);
	check_confirmed(s, 0, 2);
	check_agreed(s, 0);
	many_free(s);
}
END_TEST

START_TEST(both_revoke_at_once)
{
	struct sim *s = many_new(false);

	registered(s);
	assign(s, FIGURE_7, 0);
	many_offline(s, true);
	many_away(s, 0, true);
	sim_server_revoke(s->server, SIM_PNE);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_PNE_RESET_UNCONFIRMED);
	many_offline(s, false);
	many_pass(s, 5000);
	many_away(s, 0, false);
	many_pass(s, 5000);
	check_confirmed(s, 0, 1);
	check_agreed(s, 0);
	many_free(s);
}
END_TEST

/* The server had given out more than the PN GW had heard of when it revoked. */
START_TEST(a_key_on_its_way_is_dropped)
{
	struct sim *s = many_new(false);
	uint32_t index;

	for (unsigned at = 1; at < 12; at += stride()) {
		registered(s);
		assign(s, FIGURE_7, 0);
		s->delivered = 0;
		s->count = 0;
		ck_assert_int_eq(sim_gateway_start_for(s->gateway, FIGURE_7, 0, USER, PASSWORD, 3),
				 1);
		while (s->delivered < at && s->count == 0) {
			if (many_work(s))
				continue;
			ck_assert_uint_gt(s->queued, 0);
			many_deliver(s);
		}
		/* The answer stays on the way: the connection is gone. */
		many_offline(s, true);
		many_pass(s, 30000);
		ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
		expect_one(s, VERDICT_DONE);
		many_offline(s, false);
		many_pass(s, 5000);
		check_confirmed(s, 0, 1);
		check_agreed(s, 0);
		assign(s, FIGURE_7, 0);
		ck_assert(holds_key(s, 0, &index));
		ck_assert_uint_gt(index, state_of(s, SIM_PNE).key_index);
		many_free(s);
		s = many_new(false);
	}
	many_free(s);
}
END_TEST

/* Whatever of Figure 6, or of a Figure 5 that the PNE began, is on its way: nothing is left of it.
 */
static unsigned revoked_at(enum figure figure, unsigned at)
{
	struct sim *s = many_new(true);
	uint32_t index;
	unsigned delivered;

	registered(s);
	assign(s, FIGURE_6, 0);
	s->count = 0;
	s->delivered = 0;
	if (figure == FIGURE_5)
		sim_pne_enter(s->pan[0].pne, USER, PASSWORD);
	else
		ck_assert_int_eq(sim_gateway_start_for(s->gateway, figure, 0, USER, PASSWORD, 0),
				 1);
	while (s->delivered < at && s->count == 0) {
		if (many_work(s))
			continue;
		ck_assert_uint_gt(s->queued, 0);
		many_deliver(s);
	}
	delivered = s->delivered;
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	many_await(s, 1);
	many_pass(s, 60000);
	/* A request that reached the server after the revocation is one of after. */
	if (holds_key(s, 0, &index))
		ck_assert_uint_gt(index, state_of(s, SIM_PNE).key_index);
	ck_assert_int_eq(state_of(s, SIM_PNE).reset, RESET_CONFIRMED);
	check_agreed(s, 0);
	assign(s, FIGURE_6, 0);
	ck_assert(holds_key(s, 0, &index));
	ck_assert_uint_gt(index, state_of(s, SIM_PNE).key_index);
	many_free(s);
	return delivered;
}

START_TEST(a_relayed_request_under_way)
{
	static const enum figure figures[] = {FIGURE_5, FIGURE_6};
	unsigned at = 1;

	while (revoked_at(figures[_i], at) == at)
		at += stride();
	ck_assert_uint_ge(at, 5);
}
END_TEST

/*
 * A device of which nothing is known yet, and whose first key is on its way: it is one of the
 * user's, and of all, too. False: the figure was over before so many messages.
 */
static bool first_key_revoked_at(enum sim_revoke what, enum figure figure, unsigned at)
{
	struct sim *s = many_new(figure == FIGURE_5);
	bool under_way;
	uint32_t index;

	registered(s);
	s->count = 0;
	s->delivered = 0;
	if (figure == FIGURE_5)
		sim_pne_enter(s->pan[1].pne, USER, PASSWORD);
	else
		ck_assert_int_eq(sim_gateway_start_for(s->gateway, figure, 1, USER, PASSWORD, 3),
				 1);
	while (s->delivered < at && s->count == 0) {
		if (many_work(s))
			continue;
		ck_assert_uint_gt(s->queued, 0);
		many_deliver(s);
	}
	under_way = s->count == 0;
	while (many_work(s))
		;
	/* The challenge is on its way: the request that answers it is one of after. */
	if (figure == FIGURE_5 && (at == 3 || at == 4)) {
		many_free(s);
		return true;
	}
	ck_assert_int_ge(revoke(s, what, what == SIM_REVOKE ? sim_pne_name(1) : USER), 1);
	many_pass(s, 60000);
	ck_assert_msg(!holds_key(s, 1, &index), "after %u messages it got key %u", at, index);
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, sim_pne_name(1)), 0);
	many_free(s);
	return under_way;
}

START_TEST(a_first_key_under_way)
{
	static const enum figure figures[] = {FIGURE_5, FIGURE_7};
	static const enum sim_revoke what[] = {SIM_REVOKE, SIM_REVOKE_USER, SIM_REVOKE_ALL};
	unsigned at = 1;

	while (first_key_revoked_at(what[_i / 2], figures[_i % 2], at))
		at += stride();
	ck_assert_uint_ge(at, 4);
}
END_TEST

/* What it was sent by Figure 5 it may hold, though its receipt never came. */
START_TEST(a_pne_whose_receipt_was_lost)
{
	struct sim *s = many_new(true);
	uint32_t index;

	registered(s);
	sim_pne_enter(s->pan[1].pne, USER, PASSWORD);
	while (!holds_key(s, 1, &index)) {
		if (many_work(s))
			continue;
		ck_assert_uint_gt(s->queued, 0);
		many_deliver(s);
	}
	many_away(s, 1, true);
	if (_i & 2)
		many_restart_gateway(s);
	many_pass(s, 600000);
	/* That it was sent is reported, and its delivery no longer in the vault. */
	ck_assert_int_eq(revoke(s, _i & 1 ? SIM_REVOKE_ALL : SIM_REVOKE_USER, USER), 2);
	many_pass(s, 1000);
	many_away(s, 1, false);
	many_pass(s, 60000);
	check_confirmed(s, 1, 1);
	check_agreed(s, 1);
	many_free(s);
}
END_TEST

/* The power goes between a key of Figure 5 and its receipt. */
START_TEST(a_crash_before_the_receipt)
{
	struct sim *s = many_new(true);
	uint32_t index;

	registered(s);
	sim_pne_enter(s->pan[1].pne, USER, PASSWORD);
	while (!holds_key(s, 1, &index)) {
		if (many_work(s))
			continue;
		ck_assert_uint_gt(s->queued, 0);
		many_deliver(s);
	}
	copy_vault(s, "gateway", "crash");
	many_stop_gateway(s);
	copy_vault(s, "crash", "gateway");
	s->gateway = sim_gateway_new(s, s->directory);
	many_pass(s, 5000);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, sim_pne_name(1)), 1);
	expect_one(s, VERDICT_DONE);
	ck_assert_uint_ge(state_of(s, sim_pne_name(1)).key_index, index);
	check_confirmed(s, 1, 1);
	many_free(s);
}
END_TEST

/* The device has a newer key of the same user when the PN GW hears that its older one is revoked.
 */
START_TEST(a_revocation_heard_of_late)
{
	struct sim *s = many_new(true);
	struct name owner;
	uint32_t index;

	registered(s);
	enter(s, 0);
	sim_server_revoke(s->server, SIM_PNE);
	enter(s, 0);
	ck_assert(holds_key(s, 0, &index));
	ck_assert_uint_eq(index, 2);
	many_pass(s, 3700000);
	ck_assert_uint_eq(state_of(s, SIM_PNE).key_index, 1);
	ck_assert(sim_gateway_owner(s->gateway, SIM_PNE, &owner));
	ck_assert_str_eq(owner.text, USER);
	ck_assert(holds_key(s, 0, &index));
	/* What concerns all that there is does not leave it. */
	sim_server_revoke(s->server, SIM_PNE);
	many_pass(s, 3700000);
	ck_assert(!sim_gateway_owner(s->gateway, SIM_PNE, &owner));
	check_confirmed(s, 0, 2);
	many_free(s);
}
END_TEST

/* What is being stored when Figure 8 is cancelled becomes the PN GW's own key all the same. */
START_TEST(a_cancelled_figure_8)
{
	bool under_way = true;

	for (unsigned at = 1; under_way; at++) {
		struct sim *s = many_new(false);

		registered(s);
		s->count = 0;
		s->delivered = 0;
		ck_assert_int_eq(sim_gateway_start(s->gateway, FIGURE_8, USER, PASSWORD, 0), 1);
		while (s->delivered < at && s->count == 0) {
			if (many_work(s))
				continue;
			ck_assert_uint_gt(s->queued, 0);
			many_deliver(s);
		}
		under_way = s->count == 0;
		sim_gateway_cancel(s->gateway);
		many_pass(s, 60000);
		new_session(s);
		assign(s, FIGURE_7, 0);
		many_free(s);
	}
}
END_TEST

/* What is told to be done is durable, or it is told that it is not. */
START_TEST(a_full_disk_is_told)
{
	struct sim *s = many_new(false);

	registered(s);
	assign(s, FIGURE_7, 0);
	many_away(s, 0, true);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_PNE_RESET_UNCONFIRMED);
	ck_assert_int_lt(sim_gateway_forget(s->gateway, SIM_PNE, true), 0);
	ck_assert(!state_of(s, SIM_PNE).forgotten);
	ck_assert_int_eq(sim_gateway_forget(s->gateway, SIM_PNE, false), 0);
	ck_assert(state_of(s, SIM_PNE).forgotten);
	/* No device of that user, but what checks the password. */
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_GATEWAY), 1);
	many_await(s, 1);
	ck_assert_int_lt(sim_gateway_revoke_full(s->gateway, SIM_REVOKE_USER, USER), 0);
	ck_assert_int_eq(revoke(s, SIM_REVOKE_USER, USER), 0);
	many_free(s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("revocation");
	TCase *tc = tcase_create("revocation");
	TCase *server = tcase_create("server");
	SRunner *runner;
	int failed;

	tcase_set_timeout(server, 300);
	tcase_add_test(server, a_pne_keyed_by_figure_5);
	tcase_add_test(server, a_pne_keyed_by_figure_6);
	tcase_add_test(server, figure_6_offline_and_away);
	tcase_add_loop_test(server, the_operator_revokes_a_pne_of_figure_7, 0, 2);
	tcase_add_loop_test(server, the_operator_revokes_a_pne_of_figure_5, 0, 2);
	tcase_add_test(server, a_pn_gw_of_nobody);
	tcase_add_test(server, the_server_revokes);
	tcase_add_test(server, both_revoke_at_once);
	tcase_add_test(server, a_key_on_its_way_is_dropped);
	tcase_add_test(server, an_older_vault_is_found_out_by_the_server);
	tcase_add_loop_test(server, an_older_vault_that_went_on_is_found_out, 0, 2);
	tcase_add_loop_test(server, a_relayed_request_under_way, 0, 2);
	tcase_add_test(server, a_cancelled_figure_8);
	tcase_add_test(server, the_server_knows_the_newest_state);
	tcase_add_loop_test(server, a_first_key_under_way, 0, 6);
	tcase_add_loop_test(server, a_pne_whose_receipt_was_lost, 0, 4);
	tcase_add_test(server, a_crash_before_the_receipt);
	tcase_add_test(server, a_revocation_heard_of_late);
	suite_add_tcase(suite, server);
	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, a_pne_is_revoked);
	tcase_add_test(tc, a_pne_that_is_away_is_reset_when_it_is_back);
	tcase_add_test(tc, offline_the_revocation_waits_for_the_server);
	tcase_add_test(tc, a_damaged_revocation_is_made_again);
	tcase_add_test(tc, unknown_and_repeated);
	tcase_add_test(tc, a_pne_that_has_no_key_stays_unconfirmed);
	tcase_add_test(tc, the_pn_gw_restarted_at_every_message);
	tcase_add_test(tc, every_message_lost_once);
	tcase_add_test(tc, a_figure_under_way_ends_with_revoked);
	tcase_add_test(tc, a_user_with_three_pnes);
	tcase_add_test(tc, everything);
	tcase_add_test(tc, a_full_disk_is_told);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
