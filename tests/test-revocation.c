/*
 * Revocation and reset, all roles in one process: the roles' own cores with real stores, one PN GW,
 * one CPNS Server and up to three PNEs, joined by queues under a virtual clock.
 */

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "pan/frame.h"
#include "tests/figures.h"

#define USER         "alice"
#define PASSWORD     "correct horse"
#define PNES         3U
#define QUEUE_MAX    256
#define POSTS_MAX    64
#define VERDICTS_MAX 32
#define RECONNECT_MS 500U
#define LIMIT_MS     120000U

enum hop { HOP_POST, HOP_ANSWER, HOP_TO_PNE, HOP_FROM_PNE };

struct item {
	enum hop hop;
	unsigned pne;
	uint64_t id;
	uint64_t epoch;
	uint8_t *data;
	size_t size;
};

struct post {
	bool there;
	uint64_t id, token, due, pin;
	uint8_t *data;
	size_t size;
};

struct pan {
	struct sim_pne *pne;
	bool up, away, close_wanted;
	uint64_t epoch, due;
};

struct sim {
	char directory[64];
	uint64_t now;
	struct sim_server *server;
	struct sim_gateway *gateway;
	struct pan pan[PNES];
	struct item queue[QUEUE_MAX];
	size_t queued;
	struct post posts[POSTS_MAX];
	uint64_t next_id, wan_epoch, wan_due;
	bool wan_up, wan_away, secure;
	struct secret *exporter;
	/* restart the PN GW instead of, or lose, the message of that number; 0: none */
	unsigned delivered, restart_at, lose_at;
	bool restarted;
	struct verdict verdicts[VERDICTS_MAX];
	size_t count;
};

struct bytes sim_challenge(void)
{
	return bytes_text("which key is it?");
}

uint64_t sim_now(const struct sim *s)
{
	return s->now;
}

void sim_step(struct sim *s, enum figure figure, unsigned step)
{
	(void)s;
	ck_assert_ptr_nonnull(step_text(figure, step));
}

void sim_line(struct sim *s, const char *line)
{
	if (getenv("FIGURES_VERBOSE"))
		(void)fprintf(stderr, "%6lu %s\n", (unsigned long)s->now, line);
}

void sim_verdict(struct sim *s, enum role role, const struct verdict *v)
{
	char text[VERDICT_TEXT_SIZE];

	if (getenv("FIGURES_VERBOSE"))
		(void)fprintf(stderr, "%6lu %s verdict: %s\n", (unsigned long)s->now,
			      role_name(role), verdict_describe(v, text, sizeof(text)));
	if (role == ROLE_PNE && v->figure != FIGURE_5)
		return;
	ck_assert_uint_lt(s->count, VERDICTS_MAX);
	s->verdicts[s->count++] = *v;
}

static uint8_t *copy_of(struct bytes b)
{
	uint8_t *copy = malloc(b.size + 1);

	ck_assert_ptr_nonnull(copy);
	if (b.size > 0)
		memcpy(copy, b.data, b.size);
	return copy;
}

static void enqueue(struct sim *s, enum hop hop, unsigned pne, uint64_t id, uint64_t epoch,
		    struct bytes b)
{
	ck_assert_uint_lt(s->queued, QUEUE_MAX);
	s->queue[s->queued++] = (struct item){hop, pne, id, epoch, copy_of(b), b.size};
}

int sim_post(struct sim *s, uint64_t token, struct bytes xml, unsigned deadline_ms, uint64_t pin)
{
	size_t i = 0;

	if (pin != 0 && (!s->wan_up || pin != s->wan_epoch))
		return -ENOTCONN;
	while (i < POSTS_MAX && s->posts[i].there)
		i++;
	ck_assert_uint_lt(i, POSTS_MAX);
	s->posts[i] = (struct post){.there = true,
				    .id = ++s->next_id,
				    .token = token,
				    .due = s->now + deadline_ms,
				    .pin = pin,
				    .data = copy_of(xml),
				    .size = xml.size};
	if (s->wan_up)
		enqueue(s, HOP_POST, 0, s->posts[i].id, s->wan_epoch, xml);
	return 0;
}

static void post_end(struct post *p)
{
	free(p->data);
	memset(p, 0, sizeof(*p));
}

void sim_cancel(struct sim *s, uint64_t token)
{
	for (size_t i = 0; i < POSTS_MAX; i++) {
		if (s->posts[i].there && s->posts[i].token == token)
			post_end(&s->posts[i]);
	}
}

void sim_answer(struct sim *s, uint64_t request, struct bytes body)
{
	enqueue(s, HOP_ANSWER, 0, request, s->wan_epoch, body);
}

void sim_write(struct sim *s, enum role from, unsigned pne, struct bytes frame)
{
	ck_assert_uint_lt(pne, PNES);
	if (s->pan[pne].up)
		enqueue(s, from == ROLE_PNE ? HOP_FROM_PNE : HOP_TO_PNE, pne, 0, s->pan[pne].epoch,
			frame);
}

void sim_close(struct sim *s, unsigned pne)
{
	s->pan[pne].close_wanted = true;
}

static void pan_up(struct sim *s, unsigned i)
{
	struct pan *p = &s->pan[i];

	p->due = SIM_NEVER;
	p->up = true;
	p->close_wanted = false;
	p->epoch++;
	sim_gateway_stream_up(s->gateway, i, s->secure);
	sim_pne_stream_up(p->pne, s->secure);
}

static void pan_down(struct sim *s, unsigned i)
{
	struct pan *p = &s->pan[i];

	p->up = false;
	p->close_wanted = false;
	p->epoch++;
	p->due = p->away ? SIM_NEVER : s->now + RECONNECT_MS;
	if (s->gateway)
		sim_gateway_stream_down(s->gateway, i);
	if (p->pne)
		sim_pne_stream_down(p->pne);
}

static void wan_up(struct sim *s)
{
	s->wan_due = SIM_NEVER;
	s->wan_up = true;
	s->wan_epoch++;
	secret_unref(s->exporter);
	s->exporter = secret_random(KEY_SIZE);
	ck_assert_ptr_nonnull(s->exporter);
	sim_gateway_wan(s->gateway, true, s->exporter, s->wan_epoch);
	for (size_t i = 0; i < POSTS_MAX; i++) {
		if (s->posts[i].there && s->posts[i].pin == 0)
			enqueue(s, HOP_POST, 0, s->posts[i].id, s->wan_epoch,
				bytes_of(s->posts[i].data, s->posts[i].size));
	}
}

static void wan_down(struct sim *s)
{
	s->wan_up = false;
	s->wan_epoch++;
	s->wan_due = s->wan_away ? SIM_NEVER : s->now + RECONNECT_MS;
	if (!s->gateway)
		return;
	sim_gateway_wan(s->gateway, false, NULL, 0);
	for (size_t i = 0; i < POSTS_MAX; i++) {
		uint64_t token = s->posts[i].token;

		if (!s->posts[i].there || s->posts[i].pin == 0)
			continue;
		post_end(&s->posts[i]);
		sim_gateway_failed(s->gateway, token, true);
	}
}

static void away(struct sim *s, unsigned pne, bool is)
{
	s->pan[pne].away = is;
	if (is)
		pan_down(s, pne);
	else
		s->pan[pne].due = s->now;
}

static void offline(struct sim *s, bool is)
{
	s->wan_away = is;
	if (is)
		wan_down(s);
	else
		s->wan_due = s->now;
}

static void restart_pne(struct sim *s, unsigned i)
{
	sim_pne_free(s->pan[i].pne);
	s->pan[i].pne = NULL;
	pan_down(s, i);
	s->pan[i].pne = sim_pne_new(s, s->directory, i);
}

static void restart_gateway(struct sim *s)
{
	sim_gateway_free(s->gateway);
	s->gateway = NULL;
	s->restarted = true;
	for (size_t i = 0; i < POSTS_MAX; i++)
		post_end(&s->posts[i]);
	for (unsigned i = 0; i < PNES; i++)
		pan_down(s, i);
	wan_down(s);
	s->gateway = sim_gateway_new(s, s->directory);
}

static bool is_stale(const struct sim *s, const struct item *i)
{
	if (i->hop == HOP_POST || i->hop == HOP_ANSWER)
		return i->epoch != s->wan_epoch;
	return i->epoch != s->pan[i->pne].epoch;
}

static void hand_over(struct sim *s, const struct item *i)
{
	struct bytes b = bytes_of(i->data, i->size);

	switch (i->hop) {
	case HOP_POST:
		sim_server_request(s->server, i->id, b, s->exporter);
		return;
	case HOP_ANSWER:
		for (size_t p = 0; p < POSTS_MAX; p++) {
			uint64_t token = s->posts[p].token;

			if (!s->posts[p].there || s->posts[p].id != i->id)
				continue;
			post_end(&s->posts[p]);
			sim_gateway_answered(s->gateway, token, b);
			return;
		}
		return;
	case HOP_TO_PNE:
		sim_pne_stream_bytes(s->pan[i->pne].pne, b);
		return;
	case HOP_FROM_PNE:
		sim_gateway_stream_bytes(s->gateway, i->pne, b);
		return;
	}
}

static bool is_counted(const struct item *i)
{
	return i->hop == HOP_POST || i->hop == HOP_ANSWER ||
	       (i->size >= FRAME_HEADER_SIZE && i->data[4] != FRAME_HELLO);
}

static void deliver(struct sim *s)
{
	struct item i = s->queue[0];
	bool lost = false;

	s->queued--;
	memmove(s->queue, s->queue + 1, s->queued * sizeof(i));
	if (!is_stale(s, &i) && is_counted(&i)) {
		s->delivered++;
		if (s->delivered == s->restart_at)
			restart_gateway(s);
		lost = s->delivered == s->lose_at;
	}
	if (!is_stale(s, &i) && !lost)
		hand_over(s, &i);
	free(i.data);
}

static bool work(struct sim *s)
{
	bool done = false;

	for (unsigned i = 0; i < PNES; i++) {
		if (s->pan[i].close_wanted) {
			pan_down(s, i);
			return true;
		}
		done = done || sim_pne_work(s->pan[i].pne);
	}
	return done || sim_gateway_work(s->gateway) || sim_server_work(s->server);
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static bool pass_time(struct sim *s, uint64_t limit)
{
	uint64_t due = earliest(s->wan_due, sim_gateway_due(s->gateway));

	for (unsigned i = 0; i < PNES; i++)
		due = earliest(due, earliest(s->pan[i].due, sim_pne_due(s->pan[i].pne)));
	for (size_t i = 0; i < POSTS_MAX; i++) {
		if (s->posts[i].there)
			due = earliest(due, s->posts[i].due);
	}
	if (due > limit)
		return false;
	if (due > s->now)
		s->now = due;
	for (unsigned i = 0; i < PNES; i++) {
		if (s->pan[i].due <= s->now)
			pan_up(s, i);
	}
	if (s->wan_due <= s->now)
		wan_up(s);
	for (size_t i = 0; i < POSTS_MAX; i++) {
		uint64_t token = s->posts[i].token;

		if (!s->posts[i].there || s->posts[i].due > s->now)
			continue;
		post_end(&s->posts[i]);
		sim_gateway_failed(s->gateway, token, false);
	}
	sim_gateway_tick(s->gateway);
	for (unsigned i = 0; i < PNES; i++)
		sim_pne_tick(s->pan[i].pne);
	return true;
}

static void settle(struct sim *s)
{
	for (;;) {
		if (work(s))
			continue;
		if (s->queued == 0)
			return;
		deliver(s);
	}
}

static void pass(struct sim *s, uint64_t ms)
{
	uint64_t limit = s->now + ms;

	settle(s);
	while (pass_time(s, limit))
		settle(s);
	s->now = limit;
}

/* Until there are so many verdicts, or the PN GW was restarted and owes them no more. */
static void await(struct sim *s, size_t count)
{
	uint64_t limit = s->now + LIMIT_MS;

	settle(s);
	while (s->count < count && !s->restarted) {
		ck_assert_msg(pass_time(s, limit), "no verdict");
		settle(s);
	}
}

static struct sim *sim_new(bool secure)
{
	struct stat st;
	const char *root = stat("/dev/shm", &st) == 0 && S_ISDIR(st.st_mode) ? "/dev/shm" : "/tmp";
	struct sim *s = calloc(1, sizeof(*s));

	ck_assert_ptr_nonnull(s);
	(void)snprintf(s->directory, sizeof(s->directory), "%s/pngw-revocation-XXXXXX", root);
	ck_assert_ptr_nonnull(mkdtemp(s->directory));
	s->now = 1000;
	s->secure = secure;
	s->wan_due = s->now;
	s->server = sim_server_new(s, s->directory);
	s->gateway = sim_gateway_new(s, s->directory);
	for (unsigned i = 0; i < PNES; i++) {
		SCOPED_SECRET *key = secret_random(KEY_SIZE);

		s->pan[i].pne = sim_pne_new(s, s->directory, i);
		sim_server_temporary_key(s->server, sim_pne_name(i), key);
		sim_pne_burn_in(s->pan[i].pne, key);
		restart_pne(s, i);
		s->pan[i].due = s->now;
	}
	pass(s, 100);
	return s;
}

static void sim_free(struct sim *s)
{
	sim_gateway_free(s->gateway);
	(void)sim_gateway_ledger(s->directory);
	for (unsigned i = 0; i < PNES; i++)
		sim_pne_free(s->pan[i].pne);
	sim_server_free(s->server);
	for (size_t i = 0; i < s->queued; i++)
		free(s->queue[i].data);
	for (size_t i = 0; i < POSTS_MAX; i++)
		post_end(&s->posts[i]);
	secret_unref(s->exporter);
	sim_remove(s->directory);
	free(s);
	ck_assert_uint_eq(secret_count(), 0);
}

/* What the tests ask. */

static void expect_one(struct sim *s, enum verdict_id id)
{
	char text[VERDICT_TEXT_SIZE];

	await(s, 1);
	ck_assert_uint_eq(s->count, 1);
	ck_assert_msg(s->verdicts[0].id == id, "%s, not %s",
		      verdict_describe(&s->verdicts[0], text, sizeof(text)), verdict_name(id));
	s->count = 0;
	settle(s);
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
	pass(s, 1000);
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

/* Both sides know the same, and the server has none of the keys. */
static void check_agreed(struct sim *s, unsigned pne)
{
	const char *entity = sim_pne_name(pne);
	struct sim_revocation here = state_of(s, entity);
	struct sim_element there;
	uint32_t index;

	ck_assert(here.told);
	sim_server_element(s->server, entity, &there);
	ck_assert_uint_eq(here.epoch, there.epoch);
	ck_assert_uint_eq(here.key_index, there.key_index);
	ck_assert_int_eq(here.reset, there.reset);
	if (!holds_key(s, pne, &index))
		ck_assert_uint_eq(there.keys, 0);
}

static int revoke(struct sim *s, enum sim_revoke what, const char *name)
{
	s->count = 0;
	s->restarted = false;
	return sim_gateway_revoke(s->gateway, what, name);
}

START_TEST(a_pne_is_revoked)
{
	struct sim *s = sim_new(false);
	uint32_t index;

	registered(s);
	assign(s, FIGURE_7, 0);
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 3);
	ck_assert(holds_key(s, 0, &index));
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_DONE);
	check_confirmed(s, 0, 1);
	ck_assert_uint_eq(state_of(s, SIM_PNE).key_index, 3);
	pass(s, 1000);
	check_server(s, 0, 1, RESET_CONFIRMED);
	/* Anew: a higher index. */
	assign(s, FIGURE_7, 0);
	ck_assert(holds_key(s, 0, &index));
	ck_assert_uint_ge(index, 4);
	sim_free(s);
}
END_TEST

START_TEST(a_pne_that_is_away_is_reset_when_it_is_back)
{
	struct sim *s = sim_new(false);
	uint32_t index;

	registered(s);
	assign(s, FIGURE_7, 0);
	away(s, 0, true);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_PNE_RESET_UNCONFIRMED);
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 0);
	ck_assert_int_eq(state_of(s, SIM_PNE).reset, RESET_UNCONFIRMED);
	ck_assert(holds_key(s, 0, &index));
	restart_gateway(s);
	pass(s, 1000);
	away(s, 0, false);
	pass(s, 1000);
	check_confirmed(s, 0, 1);
	sim_free(s);
}
END_TEST

START_TEST(offline_the_revocation_waits_for_the_server)
{
	struct sim *s = sim_new(false);

	registered(s);
	assign(s, FIGURE_7, 0);
	offline(s, true);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_DONE);
	check_confirmed(s, 0, 1);
	ck_assert(!state_of(s, SIM_PNE).told);
	restart_gateway(s);
	pass(s, 5000);
	ck_assert(!state_of(s, SIM_PNE).told);
	offline(s, false);
	pass(s, 5000);
	ck_assert(state_of(s, SIM_PNE).told);
	check_server(s, 0, 1, RESET_CONFIRMED);
	sim_free(s);
}
END_TEST

START_TEST(unknown_and_repeated)
{
	struct sim *s = sim_new(false);

	registered(s);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, "nobody-1"), 1);
	expect_one(s, VERDICT_PNE_UNKNOWN);
	ck_assert_int_eq(revoke(s, SIM_RESET_AGAIN, SIM_PNE), 1);
	expect_one(s, VERDICT_PNE_UNKNOWN);
	ck_assert_int_eq(sim_gateway_forget(s->gateway, SIM_PNE), -ENOENT);
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
	sim_free(s);
}
END_TEST

/* Reset by its owner's own hand: no key, so no proof, and one sees why. */
START_TEST(a_pne_that_has_no_key_stays_unconfirmed)
{
	struct sim *s = sim_new(false);
	struct sim_revocation r;

	registered(s);
	assign(s, FIGURE_7, 0);
	sim_pne_reset(s->pan[0].pne);
	restart_pne(s, 0);
	pass(s, 1000);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_PNE_RESET_UNCONFIRMED);
	r = state_of(s, SIM_PNE);
	ck_assert_int_eq(r.reset, RESET_UNCONFIRMED);
	ck_assert_ptr_nonnull(strstr(r.seen, "holds no EUKey"));
	/* The operator knows better. */
	ck_assert_int_eq(sim_gateway_forget(s->gateway, SIM_PNE), 0);
	settle(s);
	ck_assert(state_of(s, SIM_PNE).forgotten);
	restart_gateway(s);
	pass(s, 1000);
	ck_assert(state_of(s, SIM_PNE).forgotten);
	ck_assert_int_eq(revoke(s, SIM_RESET_AGAIN, SIM_PNE), 1);
	expect_one(s, VERDICT_PNE_RESET_UNCONFIRMED);
	ck_assert(!state_of(s, SIM_PNE).forgotten);
	/* A proven EUKey of after is as good as a confirmation. */
	assign(s, FIGURE_7, 0);
	ck_assert_int_eq(state_of(s, SIM_PNE).reset, RESET_CONFIRMED);
	sim_free(s);
}
END_TEST

/* Whatever message the PN GW dies at, the revocation it accepted is carried through. */
START_TEST(the_pn_gw_restarted_at_every_message)
{
	unsigned at = 1;
	bool reached;

	do {
		struct sim *s = sim_new(false);
		uint32_t index;

		registered(s);
		assign(s, FIGURE_7, 0);
		s->delivered = 0;
		s->restart_at = at;
		ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
		await(s, 1);
		pass(s, 60000);
		reached = s->restarted;
		check_confirmed(s, 0, 1);
		ck_assert(state_of(s, SIM_PNE).told);
		check_server(s, 0, 1, RESET_CONFIRMED);
		s->restart_at = 0;
		assign(s, FIGURE_7, 0);
		ck_assert(holds_key(s, 0, &index));
		sim_free(s);
		at++;
	} while (reached);
	ck_assert_uint_ge(at, 4);
}
END_TEST

START_TEST(every_message_lost_once)
{
	unsigned at = 1;
	bool reached;

	do {
		struct sim *s = sim_new(false);

		registered(s);
		assign(s, FIGURE_7, 0);
		s->delivered = 0;
		s->lose_at = at;
		ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
		await(s, 1);
		pass(s, 60000);
		reached = s->delivered >= at;
		check_confirmed(s, 0, 1);
		ck_assert(state_of(s, SIM_PNE).told);
		check_server(s, 0, 1, RESET_CONFIRMED);
		sim_free(s);
		at++;
	} while (reached);
	ck_assert_uint_ge(at, 4);
}
END_TEST

START_TEST(a_figure_under_way_ends_with_revoked)
{
	unsigned at;
	bool under_way = true;

	for (at = 1; under_way; at++) {
		struct sim *s = sim_new(false);
		bool revoked = false;

		registered(s);
		assign(s, FIGURE_7, 0);
		s->count = 0;
		s->delivered = 0;
		ck_assert_int_eq(sim_gateway_start_for(s->gateway, FIGURE_7, 0, USER, PASSWORD, 3),
				 1);
		while (s->delivered < at && s->count == 0) {
			if (work(s))
				continue;
			ck_assert_uint_gt(s->queued, 0);
			deliver(s);
		}
		under_way = s->count == 0;
		ck_assert_int_eq(sim_gateway_revoke(s->gateway, SIM_REVOKE, SIM_PNE), 1);
		/* The first run's verdict is told under a run that the sim has left behind. */
		await(s, under_way ? 1 : 2);
		for (size_t i = 0; i < s->count; i++)
			revoked = revoked || s->verdicts[i].id == VERDICT_REVOKED;
		ck_assert(!revoked);
		pass(s, 60000);
		ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 0);
		check_confirmed(s, 0, 1);
		assign(s, FIGURE_7, 0);
		sim_free(s);
	}
	ck_assert_uint_ge(at, 5);
}
END_TEST

START_TEST(a_user_with_three_pnes)
{
	struct sim *s = sim_new(false);

	assign(s, FIGURE_5, 0);
	for (unsigned i = 0; i < PNES; i++)
		assign(s, FIGURE_7, i);
	away(s, 2, true);
	ck_assert_int_eq(revoke(s, SIM_REVOKE_USER, "bob"), 0);
	ck_assert_int_eq(revoke(s, SIM_REVOKE_USER, USER), 3);
	await(s, 3);
	for (size_t i = 0; i < s->count; i++) {
		bool gone = strcmp(s->verdicts[i].entity.text, sim_pne_name(2)) == 0;

		ck_assert_int_eq(s->verdicts[i].id,
				 gone ? VERDICT_PNE_RESET_UNCONFIRMED : VERDICT_DONE);
	}
	check_confirmed(s, 0, 1);
	check_confirmed(s, 1, 1);
	away(s, 2, false);
	pass(s, 1000);
	check_confirmed(s, 2, 1);
	sim_free(s);
}
END_TEST

START_TEST(everything)
{
	struct sim *s = sim_new(false);
	uint8_t fingerprint[P1_FINGERPRINT_SIZE];
	struct name user;
	uint32_t index;

	registered(s);
	assign(s, FIGURE_7, 0);
	assign(s, FIGURE_7, 1);
	ck_assert_int_eq(revoke(s, SIM_REVOKE_ALL, NULL), 3);
	await(s, 3);
	for (size_t i = 0; i < s->count; i++)
		ck_assert_int_eq(s->verdicts[i].id, VERDICT_DONE);
	check_confirmed(s, 0, 1);
	check_confirmed(s, 1, 1);
	ck_assert_int_eq(state_of(s, SIM_GATEWAY).reset, RESET_NONE);
	ck_assert(!sim_gateway_fingerprint(s->gateway, SIM_GATEWAY, &user, &index, fingerprint));
	restart_gateway(s);
	pass(s, 5000);
	ck_assert(!sim_gateway_fingerprint(s->gateway, SIM_GATEWAY, &user, &index, fingerprint));
	ck_assert(state_of(s, SIM_GATEWAY).told);
	/* It may begin anew. */
	s->restarted = false;
	assign(s, FIGURE_8, 0);
	assign(s, FIGURE_7, 0);
	sim_free(s);
}
END_TEST

/* The operator revokes: the PN GW learns at its next session, and resets what only the server can.
 */
static void operator_revokes(struct sim *s, bool pne_away)
{
	sim_server_revoke(s->server, SIM_PNE);
	check_server(s, 0, 1, RESET_UNCONFIRMED);
	if (pne_away)
		away(s, 0, true);
	s->count = 0;
	offline(s, true);
	pass(s, 1000);
	offline(s, false);
	pass(s, 5000);
	ck_assert(state_of(s, SIM_PNE).by_server);
	if (pne_away) {
		ck_assert_int_eq(state_of(s, SIM_PNE).reset, RESET_UNCONFIRMED);
		ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 0);
		check_server(s, 0, 1, RESET_UNCONFIRMED);
		restart_gateway(s);
		pass(s, 5000);
		away(s, 0, false);
		pass(s, 5000);
	}
	check_confirmed(s, 0, 1);
	check_server(s, 0, 1, RESET_CONFIRMED);
}

START_TEST(the_operator_revokes_a_pne_of_figure_7)
{
	struct sim *s = sim_new(false);
	uint32_t index;

	registered(s);
	assign(s, FIGURE_7, 0);
	operator_revokes(s, _i == 1);
	assign(s, FIGURE_7, 0);
	ck_assert(holds_key(s, 0, &index));
	ck_assert_uint_eq(index, 4);
	sim_free(s);
}
END_TEST

START_TEST(the_operator_revokes_a_pne_of_figure_5)
{
	struct sim *s = sim_new(true);
	uint32_t index;

	registered(s);
	enter(s, 0);
	operator_revokes(s, _i == 1);
	enter(s, 0);
	ck_assert(holds_key(s, 0, &index));
	ck_assert_uint_eq(index, 2);
	sim_free(s);
}
END_TEST

/* A PN GW that is nobody's has no say: it knows that the server did not take its revocation. */
START_TEST(a_pn_gw_of_nobody)
{
	struct sim *s = sim_new(false);
	struct sim_element e;

	assign(s, FIGURE_5, 0);
	assign(s, FIGURE_7, 0);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_DONE);
	check_confirmed(s, 0, 1);
	pass(s, 5000);
	ck_assert(!state_of(s, SIM_PNE).told);
	sim_server_element(s->server, SIM_PNE, &e);
	ck_assert_uint_eq(e.epoch, 0);
	/* As soon as it is the user's, it is taken. */
	assign(s, FIGURE_8, 0);
	offline(s, true);
	pass(s, 1000);
	offline(s, false);
	pass(s, 5000);
	ck_assert(state_of(s, SIM_PNE).told);
	check_server(s, 0, 1, RESET_CONFIRMED);
	sim_free(s);
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

static void stop_gateway(struct sim *s)
{
	sim_gateway_free(s->gateway);
	s->gateway = NULL;
	for (size_t i = 0; i < POSTS_MAX; i++)
		post_end(&s->posts[i]);
	for (unsigned i = 0; i < PNES; i++)
		pan_down(s, i);
	wan_down(s);
}

static void new_session(struct sim *s)
{
	offline(s, true);
	pass(s, 1000);
	offline(s, false);
	pass(s, 5000);
}

/* With its ledger: the PN GW itself cannot tell, but the server was told of what came after. */
START_TEST(an_older_vault_is_found_out_by_the_server)
{
	struct sim *s = sim_new(false);
	uint32_t before, after;

	registered(s);
	assign(s, FIGURE_7, 0);
	new_session(s);
	stop_gateway(s);
	copy_vault(s, "gateway", "older");
	s->gateway = sim_gateway_new(s, s->directory);
	pass(s, 5000);
	assign(s, FIGURE_7, 0);
	new_session(s);
	ck_assert_uint_ge(sim_gateway_keys(s->gateway, SIM_PNE), 3);
	ck_assert(holds_key(s, 0, &before));
	stop_gateway(s);
	copy_vault(s, "older", "gateway");
	s->gateway = sim_gateway_new(s, s->directory);
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 3);
	pass(s, 5000);
	/* The one that was sent is what is left. */
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 1);
	assign(s, FIGURE_7, 0);
	ck_assert(holds_key(s, 0, &after));
	ck_assert_uint_gt(after, before);
	/* It is the newest now: nothing more is erased. */
	new_session(s);
	ck_assert_uint_ge(sim_gateway_keys(s->gateway, SIM_PNE), 3);
	restart_gateway(s);
	pass(s, 5000);
	ck_assert_uint_ge(sim_gateway_keys(s->gateway, SIM_PNE), 3);
	sim_free(s);
}
END_TEST

/* Its EUKey never was in the PN GW: the server gives the right to reset. */
START_TEST(a_pne_keyed_by_figure_5)
{
	struct sim *s = sim_new(true);

	registered(s);
	enter(s, 0);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_DONE);
	check_confirmed(s, 0, 1);
	enter(s, 0);
	sim_free(s);
}
END_TEST

START_TEST(a_pne_keyed_by_figure_6)
{
	struct sim *s = sim_new(true);

	assign(s, FIGURE_6, 0);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_DONE);
	check_confirmed(s, 0, 1);
	assign(s, FIGURE_6, 0);
	sim_free(s);
}
END_TEST

START_TEST(figure_6_offline_and_away)
{
	struct sim *s = sim_new(true);
	uint32_t index;

	assign(s, FIGURE_6, 0);
	offline(s, true);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_PNE_RESET_UNCONFIRMED);
	ck_assert(holds_key(s, 0, &index));
	away(s, 0, true);
	offline(s, false);
	pass(s, 5000);
	ck_assert(state_of(s, SIM_PNE).told);
	restart_gateway(s);
	pass(s, 5000);
	away(s, 0, false);
	pass(s, 5000);
	check_confirmed(s, 0, 1);
	ck_assert(state_of(s, SIM_PNE).told);
	sim_free(s);
}
END_TEST

START_TEST(the_server_revokes)
{
	struct sim *s = sim_new(false);
	uint32_t index;

	registered(s);
	assign(s, FIGURE_7, 0);
	assign(s, FIGURE_7, 1);
	sim_server_revoke(s->server, SIM_PNE);
	/* It is heard of in the next session. */
	offline(s, true);
	offline(s, false);
	pass(s, 5000);
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
	pass(s, 3700000);
	check_confirmed(s, 0, 2);
	check_agreed(s, 0);
	sim_free(s);
}
END_TEST

START_TEST(both_revoke_at_once)
{
	struct sim *s = sim_new(false);

	registered(s);
	assign(s, FIGURE_7, 0);
	offline(s, true);
	away(s, 0, true);
	sim_server_revoke(s->server, SIM_PNE);
	ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
	expect_one(s, VERDICT_PNE_RESET_UNCONFIRMED);
	offline(s, false);
	pass(s, 5000);
	away(s, 0, false);
	pass(s, 5000);
	check_confirmed(s, 0, 1);
	check_agreed(s, 0);
	sim_free(s);
}
END_TEST

/* The server had given out more than the PN GW had heard of when it revoked. */
START_TEST(a_key_on_its_way_is_dropped)
{
	struct sim *s = sim_new(false);
	uint32_t index;

	for (unsigned at = 1; at < 12; at++) {
		registered(s);
		assign(s, FIGURE_7, 0);
		s->delivered = 0;
		s->count = 0;
		ck_assert_int_eq(sim_gateway_start_for(s->gateway, FIGURE_7, 0, USER, PASSWORD, 3),
				 1);
		while (s->delivered < at && s->count == 0) {
			if (work(s))
				continue;
			ck_assert_uint_gt(s->queued, 0);
			deliver(s);
		}
		/* The answer stays on the way: the connection is gone. */
		offline(s, true);
		pass(s, 30000);
		ck_assert_int_eq(revoke(s, SIM_REVOKE, SIM_PNE), 1);
		expect_one(s, VERDICT_DONE);
		offline(s, false);
		pass(s, 5000);
		check_confirmed(s, 0, 1);
		check_agreed(s, 0);
		assign(s, FIGURE_7, 0);
		ck_assert(holds_key(s, 0, &index));
		ck_assert_uint_gt(index, state_of(s, SIM_PNE).key_index);
		sim_free(s);
		s = sim_new(false);
	}
	sim_free(s);
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
	suite_add_tcase(suite, server);
	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, a_pne_is_revoked);
	tcase_add_test(tc, a_pne_that_is_away_is_reset_when_it_is_back);
	tcase_add_test(tc, offline_the_revocation_waits_for_the_server);
	tcase_add_test(tc, unknown_and_repeated);
	tcase_add_test(tc, a_pne_that_has_no_key_stays_unconfirmed);
	tcase_add_test(tc, the_pn_gw_restarted_at_every_message);
	tcase_add_test(tc, every_message_lost_once);
	tcase_add_test(tc, a_figure_under_way_ends_with_revoked);
	tcase_add_test(tc, a_user_with_three_pnes);
	tcase_add_test(tc, everything);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
