/*
 * 30 days without the server: 200 PNEs, each of which wakes up once a day and is given a new EUKey
 * from its pool. Links and messages are lost, the PN GW is restarted in the middle of its work, the
 * wall clock jumps. Then the WAN comes back, and everything must fit together.
 */

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pan/frame.h"
#include "tests/figures-posts.h"
#include "tests/figures.h"

#define USER       "alice"
#define PASSWORD   "correct horse"
#define GROUP      20U /* PNEs that are awake at a time */
#define QUEUE_MAX  1024U
#define MINUTE_MS  60000U
#define DAY_MS     86400000U
#define AWAKE_MS   (10 * MINUTE_MS)
#define COMES_BACK 5000U /* after a lost link */

enum hop { HOP_POST, HOP_ANSWER, HOP_TO_PNE, HOP_FROM_PNE };

struct item {
	enum hop hop;
	unsigned pne;
	uint64_t id, epoch;
	uint8_t *data;
	size_t size;
};

struct pan {
	struct sim_pne *pne;
	bool up, awake, close_wanted;
	uint64_t epoch, due;
};

struct sim {
	char directory[64];
	uint64_t now;
	struct sim_server *server;
	struct sim_gateway *gateway;
	struct pan pan[SIM_PNES];
	unsigned awake[SIM_PNES]; /* who is looked after */
	unsigned awake_count;
	struct item queue[QUEUE_MAX];
	size_t first, queued;
	struct posts posts;
	uint64_t wan_epoch;
	bool wan_up, restarting;
	bool silent; /* the server hears nothing */
	struct secret *exporter;
	uint32_t random;
	bool faults;
	unsigned restart_in; /* messages until the PN GW is restarted; 0: not */
	unsigned lost, dropped, restarts, requests;
	unsigned verdicts, done;
	struct verdict last;
};

/* Under valgrind a sample has to do. */
static unsigned pnes = SIM_PNES, days = 30;

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
		(void)fprintf(stderr, "%10lu %s\n", (unsigned long)s->now, line);
}

void sim_verdict(struct sim *s, enum role role, const struct verdict *v)
{
	if (role != ROLE_PNGW)
		return;
	s->verdicts++;
	s->done += v->id == VERDICT_DONE;
	s->last = *v;
}

static uint32_t chance(struct sim *s, uint32_t of)
{
	s->random = s->random * 1664525U + 1013904223U;
	return (s->random >> 8) % of;
}

static void enqueue(struct sim *s, enum hop hop, unsigned pne, uint64_t id, uint64_t epoch,
		    struct bytes b)
{
	ck_assert_uint_lt(s->queued, QUEUE_MAX);
	s->queue[(s->first + s->queued++) % QUEUE_MAX] =
		(struct item){hop, pne, id, epoch, sim_copy(b), b.size};
}

int sim_post(struct sim *s, uint64_t token, struct bytes xml, unsigned deadline_ms, uint64_t pin)
{
	const struct post *p;

	if (pin != 0 && (!s->wan_up || pin != s->wan_epoch))
		return -ENOTCONN;
	p = posts_add(&s->posts, token, xml, s->now + deadline_ms, pin);
	if (s->wan_up && !s->silent)
		enqueue(s, HOP_POST, 0, p->id, s->wan_epoch, xml);
	return 0;
}

void sim_cancel(struct sim *s, uint64_t token)
{
	posts_cancel(&s->posts, token);
}

void sim_answer(struct sim *s, uint64_t request, struct bytes body)
{
	enqueue(s, HOP_ANSWER, 0, request, s->wan_epoch, body);
}

void sim_write(struct sim *s, enum role from, unsigned pne, struct bytes frame)
{
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
	sim_gateway_stream_up(s->gateway, i, false);
	sim_pne_stream_up(p->pne, false);
}

static void pan_down(struct sim *s, unsigned i)
{
	struct pan *p = &s->pan[i];

	if (p->up) {
		p->up = false;
		p->epoch++;
		if (!s->restarting)
			sim_gateway_stream_down(s->gateway, i);
		sim_pne_stream_down(p->pne);
	}
	p->close_wanted = false;
	p->due = p->awake ? s->now + COMES_BACK : SIM_NEVER;
}

static void wake(struct sim *s, unsigned i)
{
	s->pan[i].awake = true;
	s->awake[s->awake_count++] = i;
	pan_up(s, i);
}

static void all_sleep(struct sim *s)
{
	while (s->awake_count > 0) {
		unsigned i = s->awake[--s->awake_count];

		s->pan[i].awake = false;
		pan_down(s, i);
	}
}

static void wan(struct sim *s, bool up)
{
	s->wan_up = up;
	s->wan_epoch++;
	if (up) {
		secret_unref(s->exporter);
		s->exporter = secret_random(KEY_SIZE);
		ck_assert_ptr_nonnull(s->exporter);
	}
	sim_gateway_wan(s->gateway, up, s->exporter, s->wan_epoch);
}

static void restart_gateway(struct sim *s)
{
	s->restarting = true;
	sim_gateway_end(s->gateway, NULL);
	posts_clear(&s->posts);
	for (unsigned i = 0; i < s->awake_count; i++)
		pan_down(s, s->awake[i]);
	s->restarting = false;
	s->gateway = sim_gateway_new(s, s->directory);
	s->restarts++;
	if (s->wan_up)
		wan(s, true);
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
	uint64_t token;

	switch (i->hop) {
	case HOP_POST:
		s->requests++;
		sim_server_request(s->server, i->id, b, s->exporter);
		return;
	case HOP_ANSWER:
		if (posts_take(&s->posts, i->id, &token))
			sim_gateway_answered(s->gateway, token, b);
		return;
	case HOP_TO_PNE:
		sim_pne_stream_bytes(s->pan[i->pne].pne, b);
		return;
	case HOP_FROM_PNE:
		sim_gateway_stream_bytes(s->gateway, i->pne, b);
		return;
	}
}

/* Every 8th message meets bad luck, the hellos too. */
static bool suffer(struct sim *s, const struct item *i)
{
	if (s->restart_in > 0 && --s->restart_in == 0)
		restart_gateway(s);
	if (!s->faults)
		return !is_stale(s, i);
	if ((i->hop == HOP_TO_PNE || i->hop == HOP_FROM_PNE) && chance(s, 24) == 0) {
		pan_down(s, i->pne);
		s->dropped++;
	} else if (i->size >= FRAME_HEADER_SIZE && i->data[4] != FRAME_HELLO &&
		   chance(s, 12) == 0) {
		s->lost++;
		return false;
	}
	return !is_stale(s, i);
}

static void deliver(struct sim *s)
{
	struct item i = s->queue[s->first];

	s->first = (s->first + 1) % QUEUE_MAX;
	s->queued--;
	if (!is_stale(s, &i) && suffer(s, &i))
		hand_over(s, &i);
	free(i.data);
}

static bool work(struct sim *s)
{
	bool done = false;

	for (unsigned i = 0; i < s->awake_count; i++) {
		if (s->pan[s->awake[i]].close_wanted) {
			pan_down(s, s->awake[i]);
			return true;
		}
		done |= sim_pne_work(s->pan[s->awake[i]].pne);
	}
	return done || sim_gateway_work(s->gateway) || sim_server_work(s->server);
}

static void settle(struct sim *s)
{
	for (;;) {
		if (s->queued > 0)
			deliver(s);
		else if (!work(s))
			return;
	}
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static bool pass_time(struct sim *s, uint64_t limit)
{
	uint64_t due = sim_gateway_due(s->gateway), token;

	for (unsigned i = 0; i < s->awake_count; i++)
		due = earliest(due, earliest(s->pan[s->awake[i]].due,
					     sim_pne_due(s->pan[s->awake[i]].pne)));
	due = earliest(due, posts_due(&s->posts));
	if (due > limit)
		return false;
	if (due > s->now)
		s->now = due;
	for (unsigned i = 0; i < s->awake_count; i++) {
		if (s->pan[s->awake[i]].due <= s->now)
			pan_up(s, s->awake[i]);
		sim_pne_tick(s->pan[s->awake[i]].pne);
	}
	while (posts_take_late(&s->posts, s->now, &token))
		sim_gateway_failed(s->gateway, token, false);
	sim_gateway_tick(s->gateway);
	return true;
}

static void pass(struct sim *s, uint64_t ms)
{
	uint64_t limit = s->now + ms;

	settle(s);
	while (pass_time(s, limit))
		settle(s);
	s->now = limit;
}

static void ask(struct sim *s, enum figure figure, unsigned pne, unsigned count)
{
	char text[VERDICT_TEXT_SIZE];

	s->verdicts = 0;
	ck_assert_int_eq(sim_gateway_start_for(s->gateway, figure, pne, USER, PASSWORD, count), 1);
	for (unsigned i = 0; i < 1000 && s->verdicts == 0; i++)
		pass(s, 100);
	ck_assert_uint_eq(s->verdicts, 1);
	ck_assert_msg(s->last.id == VERDICT_DONE, "%s",
		      verdict_describe(&s->last, text, sizeof(text)));
}

/* Everybody has its first key, and its pool is full. */
static struct sim *sim_new(const struct pool_limits *limits)
{
	const char *root = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	struct sim *s = calloc(1, sizeof(*s));

	ck_assert_ptr_nonnull(s);
	(void)snprintf(s->directory, sizeof(s->directory), "%s/pngw-thirty-XXXXXX", root);
	ck_assert_ptr_nonnull(mkdtemp(s->directory));
	s->now = 1000;
	s->random = 30;
	sim_gateway_pools(limits);
	sim_gateway_wall(0);
	s->server = sim_server_new(s, s->directory);
	s->gateway = sim_gateway_new(s, s->directory);
	for (unsigned i = 0; i < pnes; i++) {
		SCOPED_SECRET *key = secret_random(KEY_SIZE);

		s->pan[i].due = SIM_NEVER;
		s->pan[i].pne = sim_pne_new(s, s->directory, i);
		sim_server_temporary_key(s->server, sim_pne_name(i), key);
		sim_pne_burn_in(s->pan[i].pne, key);
		sim_pne_free(s->pan[i].pne);
		s->pan[i].pne = sim_pne_new(s, s->directory, i);
	}
	wan(s, true);
	ask(s, FIGURE_5, 0, 0);
	for (unsigned i = 0; i < pnes; i++) {
		wake(s, i);
		settle(s);
		ask(s, FIGURE_7, i, 4);
		all_sleep(s);
	}
	pass(s, MINUTE_MS);
	for (unsigned i = 0; i < pnes; i++)
		ck_assert_uint_eq(sim_gateway_pool(s->gateway, sim_pne_name(i)).left, limits->size);
	ck_assert_uint_eq(sim_gateway_deliveries(s->gateway), 0);
	return s;
}

static void sim_free(struct sim *s, unsigned keys)
{
	struct sim_ledger ledger;

	all_sleep(s);
	sim_gateway_end(s->gateway, &ledger);
	ck_assert_uint_eq(ledger.spent, keys * pnes);
	ck_assert_uint_eq(ledger.installed, keys * pnes);
	for (unsigned i = 0; i < pnes; i++)
		sim_pne_free(s->pan[i].pne);
	sim_server_free(s->server);
	for (; s->queued > 0; s->queued--, s->first = (s->first + 1) % QUEUE_MAX)
		free(s->queue[s->first].data);
	posts_clear(&s->posts);
	secret_unref(s->exporter);
	sim_remove(s->directory);
	free(s);
	sim_gateway_pools(NULL);
	ck_assert_uint_eq(secret_count(), 0);
}

static uint32_t held(struct sim *s, unsigned pne, struct name *user,
		     uint8_t fingerprint[P1_FINGERPRINT_SIZE])
{
	uint32_t index;

	ck_assert(sim_pne_fingerprint(s->pan[pne].pne, user, &index, fingerprint));
	return index;
}

/* Whether the PNE has the key of that index and the PN GW knows it. */
static bool renewed(struct sim *s, unsigned pne, uint32_t index)
{
	struct sim_pool pool = sim_gateway_pool(s->gateway, sim_pne_name(pne));
	uint8_t fingerprint[P1_FINGERPRINT_SIZE];
	struct name user;

	ck_assert_uint_le(held(s, pne, &user, fingerprint), index);
	return pool.current == index && pool.unconfirmed == 0;
}

/* PNE, PN GW and server have the same key. */
static void check_one_key(struct sim *s, unsigned pne)
{
	uint8_t pne_has[P1_FINGERPRINT_SIZE], other_has[P1_FINGERPRINT_SIZE];
	const char *entity = sim_pne_name(pne);
	struct name user, gateway_user;
	uint32_t index = held(s, pne, &user, pne_has), gateway_index;

	ck_assert_str_eq(user.text, USER);
	ck_assert(sim_gateway_fingerprint(s->gateway, entity, &gateway_user, &gateway_index,
					  other_has));
	ck_assert_uint_eq(gateway_index, index);
	ck_assert_str_eq(gateway_user.text, USER);
	ck_assert_mem_eq(pne_has, other_has, sizeof(pne_has));
	ck_assert(sim_server_fingerprint(s->server, &user, entity, index, other_has));
	ck_assert_mem_eq(pne_has, other_has, sizeof(pne_has));
}

/* The wall clock as it is found on that day, in seconds off. */
static int64_t wall_on(unsigned day)
{
	switch (day) {
	case 4: /* the battery of the clock is empty */
	case 5:
		return -1700000000 - (int64_t)day * 86400;
	case 10: /* somebody typed the wrong year */
	case 11:
	case 12:
		return 10 * 365 * INT64_C(86400);
	case 17: /* summer time, twice */
		return 7200;
	case 24:
		return -3 * INT64_C(86400);
	}
	return 0;
}

static bool restarts_on(unsigned day)
{
	return day % 3 == 1;
}

/* A day: every PNE is awake for ten minutes, a group after the other. */
static void live_a_day(struct sim *s, unsigned day)
{
	uint64_t end = s->now + DAY_MS;

	sim_gateway_wall(wall_on(day));
	for (unsigned first = 0; first < pnes; first += GROUP) {
		s->restart_in = restarts_on(day) && first == GROUP * (day % (pnes / GROUP))
					? 1 + chance(s, 60)
					: 0;
		for (unsigned i = first; i < first + GROUP; i++)
			wake(s, i);
		pass(s, AWAKE_MS);
		all_sleep(s);
		pass(s, MINUTE_MS);
	}
	s->faults = false;
	s->restart_in = 0;
	/* Who had very bad luck wakes up once more in the evening. */
	for (unsigned i = 0; i < pnes; i++) {
		if (renewed(s, i, day + 2))
			continue;
		wake(s, i);
		pass(s, 2 * 3600 * 1000U / pnes);
		all_sleep(s);
		ck_assert_msg(renewed(s, i, day + 2), "day %u: %s is not renewed", day,
			      sim_pne_name(i));
	}
	s->faults = true;
	ck_assert_uint_lt(s->now, end);
	pass(s, end - s->now);
}

START_TEST(thirty_days_without_the_server)
{
	/* The users' sets are random, what fills them up are chains. */
	const struct pool_limits limits = {.low_water = 30,
					   .size = 33,
					   .kind = KEY_SET_CHAIN,
					   .lifetime_s = 45 * 86400,
					   .renew_s = 16 * 3600};
	struct sim *s = sim_new(&limits);
	uint8_t fingerprint[P1_FINGERPRINT_SIZE];
	struct name user;
	unsigned requests;
	uint64_t began;

	wan(s, false);
	pass(s, DAY_MS);
	s->faults = true;
	for (unsigned day = 0; day < days; day++)
		live_a_day(s, day);
	s->faults = false;
	ck_assert_uint_gt(s->lost, days * pnes / 12);
	ck_assert_uint_gt(s->dropped, days * pnes / 24);
	ck_assert_uint_eq(s->restarts, (days + 1) / 3);
	ck_assert_uint_ge(sim_gateway_deliveries(s->gateway), days * pnes);
	for (unsigned i = 0; i < pnes; i++) {
		ck_assert_uint_eq(held(s, i, &user, fingerprint), 1 + days);
		ck_assert_uint_eq(sim_gateway_pool(s->gateway, sim_pne_name(i)).left,
				  limits.size - days);
		/* The server knows of nothing yet and has kept what may be held. */
		ck_assert(
			sim_server_fingerprint(s->server, &user, sim_pne_name(i), 1, fingerprint));
	}

	requests = s->requests;
	began = s->now;
	wan(s, true);
	while (sim_gateway_deliveries(s->gateway) > 0) {
		pass(s, 10);
		ck_assert_uint_lt(s->now - began, MINUTE_MS);
	}
	/* Reports of 32, and what fills up the pools meanwhile. */
	ck_assert_uint_lt(s->requests - requests, days * pnes / 16 + 8 * pnes);
	pass(s, MINUTE_MS);
	for (unsigned i = 0; i < pnes; i++) {
		const char *entity = sim_pne_name(i);

		check_one_key(s, i);
		for (uint32_t index = 1; index <= days; index++)
			ck_assert(!sim_server_fingerprint(s->server, &user, entity, index,
							  fingerprint));
		ck_assert_uint_eq(sim_gateway_pool(s->gateway, entity).left, limits.size);
	}
	ck_assert_uint_eq(sim_gateway_deliveries(s->gateway), 0);
	/* And on it goes, with the server. */
	live_a_day(s, days);
	s->faults = false;
	pass(s, MINUTE_MS);
	for (unsigned i = 0; i < pnes; i++)
		check_one_key(s, i);
	ck_assert_uint_eq(sim_gateway_deliveries(s->gateway), 0);
	sim_free(s, days + 2);
}
END_TEST

/* More pools than are filled up at a time, and nobody answers: what waits does so asleep. */
START_TEST(a_silent_server_is_waited_for_asleep)
{
	const struct pool_limits small = {.low_water = 1, .size = 3};
	const struct pool_limits large = {.low_water = 5, .size = 8};
	unsigned turns = 0;
	uint64_t until;
	struct sim *s;

	pnes = 60;
	s = sim_new(&small);
	wan(s, false);
	sim_gateway_pools(&large);
	restart_gateway(s);
	s->silent = true;
	wan(s, true);
	until = s->now + 5 * MINUTE_MS;
	settle(s);
	while (pass_time(s, until)) {
		settle(s);
		ck_assert_uint_lt(++turns, 2000);
	}
	s->now = until;
	s->silent = false;
	wan(s, false);
	wan(s, true);
	pass(s, MINUTE_MS);
	for (unsigned i = 0; i < pnes; i++)
		ck_assert_uint_eq(sim_gateway_pool(s->gateway, sim_pne_name(i)).left, large.size);
	sim_free(s, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("thirty days");
	TCase *c = tcase_create("thirty days");
	SRunner *runner;
	int failed;

#if defined(__SANITIZE_ADDRESS__)
	pnes = 60;
	days = 12;
#endif
	if (getenv("PNGW_VALGRIND")) {
		pnes = 20;
		days = 6;
	}
	tcase_set_timeout(c, 900);
	tcase_add_test(c, thirty_days_without_the_server);
	tcase_add_test(c, a_silent_server_is_waited_for_asleep);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
