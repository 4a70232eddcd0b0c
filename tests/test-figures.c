#include <check.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pan/bearer.h"
#include "pan/frame.h"
#include "tests/figures-posts.h"
#include "tests/figures.h"

#define USER         "alice"
#define PASSWORD     "correct horse"
#define QUEUE_MAX    256
#define STEPS_MAX    256
#define RECONNECT_MS 500U
#define LIMIT_MS     600000U

enum hop { HOP_POST, HOP_ANSWER, HOP_TO_PNE, HOP_FROM_PNE };

struct item {
	enum hop hop;
	uint64_t id;    /* of the post, or of its answer */
	uint64_t epoch; /* of the stream or the connection it travels on */
	uint8_t *data;
	size_t size;
};

enum fault {
	FAULT_NONE,
	FAULT_LOSE,
	FAULT_DUPLICATE,
	FAULT_PAN_DOWN,
	FAULT_WAN_DOWN,
	FAULT_RESTART_PNE,
	FAULT_RESTART_GATEWAY,
	FAULT_RESTART_SERVER,
	FAULTS
};
static const char *const fault_names[FAULTS] = {
	"none",     "a message lost",    "a message twice",     "PAN down",
	"WAN down", "the PNE restarted", "the PN GW restarted", "the server restarted",
};

struct sim {
	char directory[64];
	uint64_t now;
	struct sim_server *server;
	struct sim_gateway *gateway;
	struct sim_pne *pne;
	struct item queue[QUEUE_MAX];
	size_t queued;
	struct posts posts;
	uint64_t pan_epoch, wan_epoch;
	bool pan_up, wan_up, close_wanted;
	bool offline; /* the WAN does not come back by itself */
	uint64_t pan_due, wan_due;
	bool secure;
	struct secret *exporter;
	enum fault fault;
	unsigned fault_at, delivered;
	uint32_t random; /* state of the generator; 0: no random faults */
	struct {
		enum figure figure;
		unsigned step;
	} steps[STEPS_MAX];
	size_t steps_count;
	unsigned verdicts[ROLE_SERVER];
	struct verdict last[ROLE_SERVER];
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
	ck_assert_ptr_nonnull(step_text(figure, step));
	/* Far more than those of any figure: nobody checks them. */
	if (s->steps_count == STEPS_MAX)
		return;
	s->steps[s->steps_count].figure = figure;
	s->steps[s->steps_count++].step = step;
}

void sim_line(struct sim *s, const char *line)
{
	const char *at = strstr(line, ": Fig. ");
	unsigned figure;
	unsigned step;

	if (getenv("FIGURES_VERBOSE"))
		(void)fprintf(stderr, "%6lu %s\n", (unsigned long)s->now, line);
	if (at && sscanf(at, ": Fig. %u step %u:", &figure, &step) == 2)
		sim_step(s, (enum figure)figure, step);
}

void sim_verdict(struct sim *s, enum role role, const struct verdict *v)
{
	char text[VERDICT_TEXT_SIZE];

	if (getenv("FIGURES_VERBOSE"))
		(void)fprintf(stderr, "%6lu %s verdict: %s\n", (unsigned long)s->now,
			      role_name(role), verdict_describe(v, text, sizeof(text)));
	/* A PNE is asked for Figure 5 only; its other verdicts are of what the PN GW asked of it.
	 */
	if (role == ROLE_PNE && v->figure != FIGURE_5)
		return;
	s->verdicts[role]++;
	s->last[role] = *v;
}

static void enqueue(struct sim *s, enum hop hop, uint64_t id, uint64_t epoch, struct bytes b)
{
	ck_assert_uint_lt(s->queued, QUEUE_MAX);
	s->queue[s->queued++] = (struct item){hop, id, epoch, sim_copy(b), b.size};
}

int sim_post(struct sim *s, uint64_t token, struct bytes xml, unsigned deadline_ms, uint64_t pin)
{
	const struct post *p;

	if (pin != 0 && (!s->wan_up || pin != s->wan_epoch))
		return -ENOTCONN;
	p = posts_add(&s->posts, token, xml, s->now + deadline_ms, pin);
	if (s->wan_up)
		enqueue(s, HOP_POST, p->id, s->wan_epoch, xml);
	return 0;
}

void sim_cancel(struct sim *s, uint64_t token)
{
	posts_cancel(&s->posts, token);
}

void sim_answer(struct sim *s, uint64_t request, struct bytes body)
{
	enqueue(s, HOP_ANSWER, request, s->wan_epoch, body);
}

void sim_write(struct sim *s, enum role from, unsigned pne, struct bytes frame)
{
	ck_assert_uint_eq(pne, 0);
	if (s->pan_up)
		enqueue(s, from == ROLE_PNE ? HOP_FROM_PNE : HOP_TO_PNE, 0, s->pan_epoch, frame);
}

void sim_close(struct sim *s, unsigned pne)
{
	ck_assert_uint_eq(pne, 0);
	s->close_wanted = true;
}

static void pan_up(struct sim *s)
{
	s->pan_due = SIM_NEVER;
	s->pan_up = true;
	s->close_wanted = false;
	s->pan_epoch++;
	sim_gateway_stream_up(s->gateway, 0, s->secure);
	sim_pne_stream_up(s->pne, s->secure);
}

static void pan_down(struct sim *s)
{
	s->pan_up = false;
	s->close_wanted = false;
	s->pan_epoch++;
	s->pan_due = s->now + RECONNECT_MS;
	if (s->gateway)
		sim_gateway_stream_down(s->gateway, 0);
	if (s->pne)
		sim_pne_stream_down(s->pne);
}

static void wan_up(struct sim *s)
{
	s->wan_due = SIM_NEVER;
	s->offline = false;
	s->wan_up = true;
	s->wan_epoch++;
	secret_unref(s->exporter);
	s->exporter = secret_random(KEY_SIZE);
	ck_assert_ptr_nonnull(s->exporter);
	sim_gateway_wan(s->gateway, true, s->exporter, s->wan_epoch);
	for (size_t i = 0; i < POSTS_MAX; i++) {
		if (s->posts.list[i].there)
			enqueue(s, HOP_POST, s->posts.list[i].id, s->wan_epoch,
				bytes_of(s->posts.list[i].data, s->posts.list[i].size));
	}
}

/* Requests that belong to the connection end with it; the others wait for the next. */
static void wan_down(struct sim *s)
{
	uint64_t token;

	s->wan_up = false;
	s->wan_epoch++;
	s->wan_due = s->offline ? SIM_NEVER : s->now + RECONNECT_MS;
	if (!s->gateway)
		return;
	sim_gateway_wan(s->gateway, false, NULL, 0);
	while (posts_take_pinned(&s->posts, &token))
		sim_gateway_failed(s->gateway, token, true);
}

static void restart_pne(struct sim *s)
{
	sim_pne_free(s->pne);
	s->pne = NULL;
	pan_down(s);
	s->pne = sim_pne_new(s, s->directory, 0);
}

static void stop_gateway(struct sim *s)
{
	sim_gateway_free(s->gateway);
	s->gateway = NULL;
	posts_clear(&s->posts);
	pan_down(s);
	wan_down(s);
}

static void restart_gateway(struct sim *s)
{
	stop_gateway(s);
	s->gateway = sim_gateway_new(s, s->directory);
}

static void restart_server(struct sim *s)
{
	sim_server_free(s->server);
	wan_down(s);
	s->server = sim_server_new(s, s->directory);
}

/* The invariant of the whole system: the key a PNE holds is always one the server has. */
static void check_held_key(struct sim *s)
{
	uint8_t held[P1_FINGERPRINT_SIZE];
	uint8_t kept[P1_FINGERPRINT_SIZE];
	struct name user;
	uint32_t index;

	if (!sim_pne_fingerprint(s->pne, &user, &index, held))
		return;
	ck_assert_msg(sim_server_fingerprint(s->server, &user, SIM_PNE, index, kept),
		      "the server has no key %u of the PNE", index);
	ck_assert_mem_eq(held, kept, sizeof(held));
}

static bool is_stale(const struct sim *s, const struct item *i)
{
	if (i->hop == HOP_POST || i->hop == HOP_ANSWER)
		return i->epoch != s->wan_epoch;
	return i->epoch != s->pan_epoch;
}

static void hand_over(struct sim *s, const struct item *i)
{
	struct bytes b = bytes_of(i->data, i->size);
	uint64_t token;

	switch (i->hop) {
	case HOP_POST:
		sim_server_request(s->server, i->id, b, s->exporter);
		return;
	case HOP_ANSWER:
		if (posts_take(&s->posts, i->id, &token))
			sim_gateway_answered(s->gateway, token, b);
		return;
	case HOP_TO_PNE:
		sim_pne_stream_bytes(s->pne, b);
		return;
	case HOP_FROM_PNE:
		sim_gateway_stream_bytes(s->gateway, 0, b);
		return;
	}
}

/* Whether the message still gets through. */
static bool suffer(struct sim *s, const struct item *i, enum fault fault)
{
	switch (fault) {
	case FAULT_NONE:
	case FAULTS:
		break;
	case FAULT_LOSE:
		return false;
	case FAULT_DUPLICATE:
		hand_over(s, i);
		break;
	case FAULT_PAN_DOWN:
		pan_down(s);
		break;
	case FAULT_WAN_DOWN:
		wan_down(s);
		break;
	case FAULT_RESTART_PNE:
		restart_pne(s);
		break;
	case FAULT_RESTART_GATEWAY:
		restart_gateway(s);
		break;
	case FAULT_RESTART_SERVER:
		restart_server(s);
		break;
	}
	return !is_stale(s, i);
}

/* The fault that befalls the next message. */
static enum fault next_fault(struct sim *s)
{
	uint32_t r;

	if (s->random == 0)
		return s->delivered++ == s->fault_at ? s->fault : FAULT_NONE;
	s->random ^= s->random << 13;
	s->random ^= s->random >> 17;
	s->random ^= s->random << 5;
	r = s->random >> 8;
	return r % 6 == 0 ? (enum fault)(1 + r / 6 % (FAULTS - 1)) : FAULT_NONE;
}

/* Hellos belong to the link and are not counted. */
static bool is_counted(const struct item *i)
{
	return i->hop == HOP_POST || i->hop == HOP_ANSWER ||
	       (i->size >= FRAME_HEADER_SIZE && i->data[4] != FRAME_HELLO);
}

static void deliver(struct sim *s)
{
	struct item i = s->queue[0];

	s->queued--;
	memmove(s->queue, s->queue + 1, s->queued * sizeof(i));
	if (!is_stale(s, &i)) {
		bool through = true;

		if (is_counted(&i))
			through = suffer(s, &i, next_fault(s));
		if (through)
			hand_over(s, &i);
	}
	free(i.data);
	check_held_key(s);
}

static bool work(struct sim *s)
{
	if (s->close_wanted) {
		pan_down(s);
		return true;
	}
	return sim_pne_work(s->pne) || sim_gateway_work(s->gateway) || sim_server_work(s->server);
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Goes to the next time at which something is due; false when nothing is before limit. */
static bool pass_time(struct sim *s, uint64_t limit)
{
	uint64_t due = earliest(earliest(s->pan_due, s->wan_due),
				earliest(sim_gateway_due(s->gateway), sim_pne_due(s->pne))),
		 token;

	due = earliest(due, posts_due(&s->posts));
	if (due > limit)
		return false;
	if (due > s->now)
		s->now = due;
	if (s->pan_due <= s->now)
		pan_up(s);
	if (s->wan_due <= s->now)
		wan_up(s);
	while (posts_take_late(&s->posts, s->now, &token))
		sim_gateway_failed(s->gateway, token, false);
	sim_gateway_tick(s->gateway);
	sim_pne_tick(s->pne);
	return true;
}

/* Delivers until nothing is under way; then time passes until role has its verdict. */
static bool run_until_verdict(struct sim *s, enum role role)
{
	uint64_t limit = s->now + LIMIT_MS;
	unsigned restarts = 0;
	const struct sim_gateway *gateway = s->gateway;
	const struct sim_pne *pne = s->pne;

	for (;;) {
		if (work(s))
			continue;
		if (s->queued > 0) {
			deliver(s);
			/* Whoever was started anew does not know what it was asked. */
			if ((role == ROLE_PNGW && s->gateway != gateway) ||
			    (role == ROLE_PNE && s->pne != pne))
				restarts++;
			gateway = s->gateway;
			pne = s->pne;
			continue;
		}
		if (s->verdicts[role] > 0)
			return true;
		if (restarts > 0 && s->pan_up && s->wan_up)
			return false;
		if (!pass_time(s, limit))
			return false;
	}
}

/* Lets everything come up and settle. */
static void settle(struct sim *s)
{
	uint64_t until = s->now + 2 * RECONNECT_MS;

	for (;;) {
		if (work(s))
			continue;
		if (s->queued > 0)
			deliver(s);
		else if (!pass_time(s, until))
			break;
	}
	s->now = until;
	check_held_key(s);
}

static struct sim *sim_new(bool secure)
{
	struct sim *s = calloc(1, sizeof(*s));
	const char *root = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	ck_assert_ptr_nonnull(s);
	(void)snprintf(s->directory, sizeof(s->directory), "%s/pngw-figures-XXXXXX", root);
	ck_assert_ptr_nonnull(mkdtemp(s->directory));
	s->now = 1000;
	s->secure = secure;
	s->fault_at = 0;
	s->fault = FAULT_NONE;
	s->pan_due = s->now;
	s->wan_due = s->now;
	s->server = sim_server_new(s, s->directory);
	s->gateway = sim_gateway_new(s, s->directory);
	s->pne = sim_pne_new(s, s->directory, 0);
	settle(s);
	ck_assert(s->pan_up && s->wan_up);
	return s;
}

static void sim_free(struct sim *s)
{
	sim_gateway_free(s->gateway);
	sim_pne_free(s->pne);
	sim_server_free(s->server);
	for (size_t i = 0; i < s->queued; i++)
		free(s->queue[i].data);
	posts_clear(&s->posts);
	secret_unref(s->exporter);
	sim_remove(s->directory);
	free(s);
	ck_assert_uint_eq(secret_count(), 0);
}

/* What a user asks for: of the PN GW a figure, of the PNE (Figure 5) that ID and password are
 * taken. */
struct wish {
	enum role role;
	enum figure figure;
	const char *user;
	const char *password;
	unsigned set_count;
};

static const struct wish registration = {ROLE_PNGW, FIGURE_5, USER, PASSWORD, 0};
static const struct wish entry = {ROLE_PNE, FIGURE_5, USER, PASSWORD, 0};
static const struct wish figure6 = {ROLE_PNGW, FIGURE_6, USER, PASSWORD, 0};
static const struct wish figure7 = {ROLE_PNGW, FIGURE_7, USER, PASSWORD, 3};
static const struct wish figure8 = {ROLE_PNGW, FIGURE_8, USER, PASSWORD, 0};

/* False when whoever was asked has forgotten it in a restart. */
static bool ask(struct sim *s, const struct wish *w)
{
	memset(s->verdicts, 0, sizeof(s->verdicts));
	if (w->role == ROLE_PNE)
		sim_pne_enter(s->pne, w->user, w->password);
	else
		ck_assert_int_eq(sim_gateway_start(s->gateway, w->figure, w->user, w->password,
						   w->set_count),
				 1);
	return run_until_verdict(s, w->role);
}

static enum verdict_id verdict_of(struct sim *s, const struct wish *w)
{
	char text[VERDICT_TEXT_SIZE];

	ck_assert_msg(ask(s, w), "Figure %d: no verdict", (int)w->figure);
	ck_assert_uint_eq(s->verdicts[w->role], 1);
	(void)verdict_describe(&s->last[w->role], text, sizeof(text));
	settle(s);
	return s->last[w->role].id;
}

static void ask_and_get(struct sim *s, const struct wish *w)
{
	char text[VERDICT_TEXT_SIZE];

	ck_assert_msg(verdict_of(s, w) == VERDICT_DONE, "%s",
		      verdict_describe(&s->last[w->role], text, sizeof(text)));
}

/*
 * The steps told are the figure's, each once, in the seed's order. Figure 5 has steps 7 and 8
 * twice: the first request is answered with the challenge that the second needs.
 */
static void check_steps(const struct sim *s, enum figure figure)
{
	size_t n = 0;
	bool challenged = false;

	for (unsigned step = 0; step < 20; step++) {
		if (!step_text(figure, step))
			continue;
		ck_assert_msg(n < s->steps_count, "Figure %d ends before step %u", (int)figure,
			      step);
		ck_assert_int_eq((int)s->steps[n].figure, (int)figure);
		ck_assert_msg(s->steps[n].step == step, "Figure %d: step %u where %u belongs",
			      (int)figure, s->steps[n].step, step);
		n++;
		if (figure == FIGURE_5 && step == 8 && !challenged) {
			challenged = true;
			step = 6;
		}
	}
	ck_assert_uint_eq(n, s->steps_count);
}

static void check_pne_has_key(struct sim *s, const char *of)
{
	uint8_t held[P1_FINGERPRINT_SIZE];
	uint8_t kept[P1_FINGERPRINT_SIZE];
	struct name user;
	uint32_t index;

	ck_assert(sim_pne_fingerprint(s->pne, &user, &index, held));
	ck_assert_str_eq(user.text, of);
	ck_assert(sim_server_fingerprint(s->server, &user, SIM_PNE, index, kept));
	ck_assert_mem_eq(held, kept, sizeof(held));
}

static void check_gateway_has_key(struct sim *s)
{
	uint8_t held[P1_FINGERPRINT_SIZE];
	uint8_t kept[P1_FINGERPRINT_SIZE];
	struct name user;
	uint32_t index;

	ck_assert(sim_gateway_fingerprint(s->gateway, SIM_GATEWAY, &user, &index, held));
	ck_assert(sim_server_fingerprint(s->server, &user, SIM_GATEWAY, index, kept));
	ck_assert_mem_eq(held, kept, sizeof(held));
}

static void give_temporary_key(struct sim *s)
{
	SCOPED_SECRET *key = secret_random(KEY_SIZE);

	ck_assert_ptr_nonnull(key);
	sim_server_temporary_key(s->server, SIM_PNE, key);
	sim_pne_burn_in(s->pne, key);
	/* It reads what is burnt in when it starts. */
	restart_pne(s);
	settle(s);
}

START_TEST(figure_5_assigns_a_key)
{
	struct sim *s = sim_new(true);

	ask_and_get(s, &registration);
	ask_and_get(s, &entry);
	check_steps(s, FIGURE_5);
	check_pne_has_key(s, USER);
	sim_free(s);
}
END_TEST

START_TEST(figure_6_assigns_a_key)
{
	struct sim *s = sim_new(true);

	ask_and_get(s, &figure6);
	check_steps(s, FIGURE_6);
	check_pne_has_key(s, USER);
	sim_free(s);
}
END_TEST

START_TEST(figure_7_assigns_what_the_user_asks_for_c271)
{
	struct sim *s = sim_new(false);

	give_temporary_key(s);
	ask_and_get(s, &registration);
	s->steps_count = 0;
	ask_and_get(s, &figure7);
	check_steps(s, FIGURE_7);
	check_pne_has_key(s, USER);
	sim_free(s);
}
END_TEST

START_TEST(figure_8_follows_the_password_entry_c283)
{
	struct sim *s = sim_new(true);

	ask_and_get(s, &registration);
	s->steps_count = 0;
	ask_and_get(s, &figure8);
	check_steps(s, FIGURE_8);
	check_gateway_has_key(s);
	sim_free(s);
}
END_TEST

/* One after the other, as a household would: every later key has a higher index. */
START_TEST(figures_follow_each_other)
{
	struct sim *s = sim_new(true);
	uint8_t fingerprint[P1_FINGERPRINT_SIZE];
	struct name user;
	uint32_t index;
	uint32_t before = 0;
	const struct wish *wishes[] = {&registration, &figure8, &figure6, &figure6, &entry,
				       &figure7,      &figure8, &figure7, &figure6};

	give_temporary_key(s);
	for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
		ask_and_get(s, wishes[i]);
		if (!sim_pne_fingerprint(s->pne, &user, &index, fingerprint))
			continue;
		if (wishes[i]->figure == FIGURE_6 || wishes[i]->figure == FIGURE_7)
			ck_assert_uint_gt(index, before);
		before = index;
	}
	check_pne_has_key(s, USER);
	check_gateway_has_key(s);
	sim_free(s);
}
END_TEST

START_TEST(a_wrong_password_is_refused)
{
	struct sim *s = sim_new(true);
	struct wish wrong8 = figure8;
	struct wish wrong7 = figure7;
	struct wish wrong6 = figure6;
	struct wish wrong5 = entry;
	uint8_t fingerprint[P1_FINGERPRINT_SIZE];
	struct name user;
	uint32_t index;

	wrong8.password = wrong7.password = wrong6.password = wrong5.password = "battery staple";
	give_temporary_key(s);
	ask_and_get(s, &registration);
	ck_assert_uint_eq(verdict_of(s, &wrong8), VERDICT_WRONG_PASSWORD);
	ck_assert_uint_eq(verdict_of(s, &wrong7), VERDICT_WRONG_PASSWORD);
	ck_assert_uint_eq(verdict_of(s, &wrong5), VERDICT_WRONG_PASSWORD);
	ck_assert_uint_ne(verdict_of(s, &wrong6), VERDICT_DONE);
	ck_assert(!sim_pne_fingerprint(s->pne, &user, &index, fingerprint));
	sim_free(s);
}
END_TEST

/* Comment C255. */
START_TEST(figure_6_needs_a_secure_pan)
{
	struct sim *s = sim_new(false);

	ck_assert_uint_eq(verdict_of(s, &figure6), VERDICT_PAN_INSECURE);
	sim_free(s);
}
END_TEST

/* A Figure 6 until that step was told. */
static void begin_figure6(struct sim *s, unsigned step)
{
	memset(s->verdicts, 0, sizeof(s->verdicts));
	s->steps_count = 0;
	ck_assert_int_eq(sim_gateway_start(s->gateway, FIGURE_6, USER, PASSWORD, 0), 1);
	while (s->steps_count == 0 || s->steps[s->steps_count - 1].figure != FIGURE_6 ||
	       s->steps[s->steps_count - 1].step != step) {
		ck_assert_uint_eq(s->verdicts[ROLE_PNGW], 0);
		if (work(s))
			continue;
		ck_assert_uint_gt(s->queued, 0);
		deliver(s);
	}
}

START_TEST(figure_6_ends_when_the_level_drops)
{
	static const unsigned steps[] = {4, 7};
	struct sim *s = sim_new(true);
	uint8_t fingerprint[P1_FINGERPRINT_SIZE];
	struct name user;
	uint32_t index;

	begin_figure6(s, steps[_i]);
	sim_gateway_stream_security(s->gateway, 0, false);
	ck_assert(run_until_verdict(s, ROLE_PNGW));
	ck_assert_uint_eq(s->last[ROLE_PNGW].id, VERDICT_PAN_INSECURE);
	ck_assert_str_eq(s->last[ROLE_PNGW].detail, pan_security_name(PAN_SECURITY_NONE));
	ck_assert(!sim_pne_fingerprint(s->pne, &user, &index, fingerprint));
	sim_free(s);
}
END_TEST

/*
 * The link breaks when the PNE has its key, before its receipt is there, and the user asks again
 * before the relay has given the receipt up. That it does so is told when it happens, but is not
 * the end of the second Figure 6; nor is it told any more once that has installed a newer key.
 */
START_TEST(a_receipt_that_is_lost_ends_nothing_else)
{
	static const unsigned steps[] = {0, 7, 9};
	struct sim *s = sim_new(true);
	uint64_t given_up;

	begin_figure6(s, 13);
	given_up = s->now + 10000;
	while (s->queued == 0 || s->queue[0].hop != HOP_FROM_PNE) {
		if (work(s))
			continue;
		ck_assert_uint_gt(s->queued, 0);
		deliver(s);
	}
	pan_down(s);
	ck_assert(run_until_verdict(s, ROLE_PNGW));
	ck_assert_uint_eq(s->last[ROLE_PNGW].id, VERDICT_PAN_LOST);
	settle(s);
	ck_assert_uint_lt(s->now, given_up);
	if (steps[_i] == 0) {
		ask_and_get(s, &figure6);
	} else {
		begin_figure6(s, steps[_i]);
		ck_assert_uint_lt(s->now, given_up);
		s->now = given_up;
		sim_gateway_tick(s->gateway);
		ck_assert(run_until_verdict(s, ROLE_PNGW));
		ck_assert_uint_eq(s->verdicts[ROLE_PNGW], 1);
		ck_assert_uint_eq(s->last[ROLE_PNGW].id, VERDICT_DONE);
	}
	s->now = given_up + 1;
	settle(s);
	ck_assert_uint_eq(sim_gateway_failures(s->gateway), steps[_i] == 0 ? 1 : 2);
	check_pne_has_key(s, USER);
	sim_free(s);
}
END_TEST

START_TEST(figure_7_needs_a_temporary_key)
{
	struct sim *s = sim_new(false);

	ask_and_get(s, &registration);
	ck_assert_uint_eq(verdict_of(s, &figure7), VERDICT_SERVER_NO_TEMPORARY_KEY);
	sim_free(s);
}
END_TEST

START_TEST(somebody_elses_pne_gets_no_key)
{
	struct sim *s = sim_new(true);
	const struct wish *wishes[] = {&entry, &figure6, &figure7};
	uint8_t fingerprint[P1_FINGERPRINT_SIZE];
	struct name user;
	uint32_t index;

	give_temporary_key(s);
	ask_and_get(s, &registration);
	sim_server_give_away(s->server, SIM_PNE, "bob");
	for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++)
		ck_assert_uint_eq(verdict_of(s, wishes[i]), VERDICT_NOT_OWNER);
	ck_assert(!sim_pne_fingerprint(s->pne, &user, &index, fingerprint));
	sim_free(s);
}
END_TEST

static const struct trial {
	const char *name;
	bool secure;
	const struct wish *before[2]; /* without faults */
	const struct wish *wishes[2];
} trials[] = {
	{"Figure 5", true, {NULL}, {&registration, &entry}},
	{"Figure 6", true, {NULL}, {&figure6}},
	{"Figure 6 with the PN GW's EUKey", true, {&registration, &figure8}, {&figure6}},
	{"Figure 7", false, {&registration}, {&figure7}},
	{"Figure 7 again", false, {&registration, &figure7}, {&figure7}},
	{"Figure 8", true, {&registration}, {&figure8}},
};

/* Asks until it is done; whatever happens on the way ends in a verdict or is forgotten in a
 * restart. */
static enum verdict_id insist(struct sim *s, const struct wish *w, unsigned attempts)
{
	enum verdict_id id = VERDICT_CANCELLED;

	while (id != VERDICT_DONE && attempts-- > 0) {
		if (ask(s, w)) {
			ck_assert_uint_eq(s->verdicts[w->role], 1);
			id = s->last[w->role].id;
		}
		settle(s);
	}
	return id;
}

/* Returns how many messages were delivered. */
static unsigned try(const struct trial *t, enum fault fault, unsigned at)
{
	struct sim *s = sim_new(t->secure);
	unsigned delivered;

	give_temporary_key(s);
	for (size_t i = 0; i < 2 && t->before[i]; i++)
		ask_and_get(s, t->before[i]);
	s->delivered = 0;
	s->fault_at = at;
	s->fault = fault;
	for (size_t i = 0; i < 2 && t->wishes[i]; i++) {
		enum verdict_id id = insist(s, t->wishes[i], 4);

		ck_assert_msg(id == VERDICT_DONE, "%s, %s at message %u: %s", t->name,
			      fault_names[fault], at, verdict_name(id));
	}
	delivered = s->delivered;
	if (t->wishes[0]->figure == FIGURE_8)
		check_gateway_has_key(s);
	else
		check_pne_has_key(s, USER);
	sim_free(s);
	return delivered;
}

/* Under valgrind a sample has to do. */
static bool slow(void)
{
	return getenv("PNGW_VALGRIND") != NULL;
}

START_TEST(a_fault_at_any_message_is_survived)
{
	const struct trial *t = &trials[(size_t)_i / FAULTS];
	enum fault fault = (enum fault)((size_t)_i % FAULTS);
	unsigned count = try(t, FAULT_NONE, 0);

	ck_assert_uint_gt(count, 3);
	for (unsigned at = slow() ? (unsigned)_i % 48 : 0; fault != FAULT_NONE && at < count;
	     at += slow() ? 48 : 1)
		(void)try(t, fault, at);
}
END_TEST

/* A household with bad luck: every sixth message meets a fault, many seeds. */
START_TEST(many_faults_are_survived)
{
	const struct wish *wishes[] = {&registration, &figure8, &figure6, &figure7, &entry};
	/* Every other household renews by itself, and fills up. */
	static const struct pool_limits limits = {
		.low_water = 1, .size = 4, .lifetime_s = 3600, .renew_s = 2};
	uint32_t order = (uint32_t)_i * 2654435761U;
	struct sim *s;

	sim_gateway_pools(_i % 2 ? &limits : NULL);
	s = sim_new(true);
	give_temporary_key(s);
	ask_and_get(s, &registration);
	s->random = (uint32_t)_i * 7919 + 1;
	for (unsigned n = 0; n < 12; n++) {
		order = order * 1664525U + 1013904223U;
		(void)insist(s, wishes[(order >> 16) % 5], 2);
	}
	s->random = 0;
	s->fault = FAULT_NONE;
	for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
		enum verdict_id id = insist(s, wishes[i], 3);

		ck_assert_msg(id == VERDICT_DONE, "seed %d, Figure %d: %s", _i,
			      (int)wishes[i]->figure, verdict_name(id));
	}
	check_pne_has_key(s, USER);
	check_gateway_has_key(s);
	sim_gateway_pools(NULL);
	sim_free(s);
}
END_TEST

static uint32_t held_index(struct sim *s)
{
	uint8_t fingerprint[P1_FINGERPRINT_SIZE];
	struct name user;
	uint32_t index;

	ck_assert(sim_pne_fingerprint(s->pne, &user, &index, fingerprint));
	return index;
}

/* What a set is for: the next keys reach the PNE with the WAN down, and the server hears later. */
START_TEST(a_set_issues_keys_without_the_server)
{
	struct sim *s = sim_new(false);
	struct name user;
	uint8_t fingerprint[P1_FINGERPRINT_SIZE];

	give_temporary_key(s);
	ask_and_get(s, &registration);
	ask_and_get(s, &figure7);
	ck_assert_uint_eq(held_index(s), 1);
	wan_down(s);
	s->wan_due = SIM_NEVER;
	ask_and_get(s, &figure7);
	ck_assert_uint_eq(held_index(s), 2);
	restart_gateway(s);
	s->wan_due = SIM_NEVER;
	settle(s);
	ask_and_get(s, &figure7);
	ck_assert_uint_eq(held_index(s), 3);
	ck_assert_uint_ne(verdict_of(s, &figure7), VERDICT_DONE);
	ck_assert_uint_eq(held_index(s), 3);
	ck_assert_int_eq(name_set(&user, bytes_text(USER)), 0);
	ck_assert(sim_server_fingerprint(s->server, &user, SIM_PNE, 1, fingerprint));
	wan_up(s);
	settle(s);
	ck_assert(!sim_server_fingerprint(s->server, &user, SIM_PNE, 1, fingerprint));
	check_pne_has_key(s, USER);
	ask_and_get(s, &figure7);
	ck_assert_uint_eq(held_index(s), 4);
	sim_free(s);
}
END_TEST

static enum verdict_id renew(struct sim *s)
{
	memset(s->verdicts, 0, sizeof(s->verdicts));
	ck_assert_int_eq(sim_gateway_renew(s->gateway, 0), 1);
	ck_assert(run_until_verdict(s, ROLE_PNGW));
	ck_assert_uint_eq(s->verdicts[ROLE_PNGW], 1);
	settle(s);
	return s->last[ROLE_PNGW].id;
}

static void pass(struct sim *s, uint64_t ms)
{
	uint64_t until = s->now + ms;

	for (;;) {
		if (work(s))
			continue;
		if (s->queued > 0)
			deliver(s);
		else if (!pass_time(s, until))
			break;
	}
	s->now = until;
}

static void stay_offline(struct sim *s)
{
	s->offline = true;
	wan_down(s);
}

static struct sim_pool pool(struct sim *s)
{
	return sim_gateway_pool(s->gateway, SIM_PNE);
}

/* A PNE with a key and a pool of two, and the WAN down. */
static struct sim *sim_offline(const struct pool_limits *limits)
{
	struct sim *s;

	sim_gateway_pools(limits);
	sim_gateway_wall(0);
	s = sim_new(false);
	give_temporary_key(s);
	ask_and_get(s, &registration);
	ask_and_get(s, &figure7);
	stay_offline(s);
	ck_assert_uint_eq(held_index(s), 1);
	ck_assert_uint_eq(pool(s).left, 2);
	ck_assert_uint_eq(pool(s).current, 1);
	return s;
}

static void sim_end(struct sim *s)
{
	sim_gateway_pools(NULL);
	sim_free(s);
}

/* A renewal needs neither user nor server; a pool that is empty says so. */
START_TEST(a_pne_is_renewed_from_its_pool)
{
	struct sim *s = sim_offline(NULL);

	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	ck_assert_uint_eq(held_index(s), 2);
	ck_assert_uint_eq(pool(s).current, 2);
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 2);
	restart_gateway(s);
	settle(s);
	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	ck_assert_uint_eq(held_index(s), 3);
	ck_assert_uint_eq(renew(s), VERDICT_GATEWAY_POOL_EMPTY);
	ck_assert_uint_eq(verdict_of(s, &figure7), VERDICT_GATEWAY_POOL_EMPTY);
	ck_assert_uint_eq(sim_gateway_deliveries(s->gateway), 2);
	wan_up(s);
	settle(s);
	ck_assert_uint_eq(sim_gateway_deliveries(s->gateway), 0);
	check_pne_has_key(s, USER);
	ck_assert_int_eq(sim_gateway_renew(s->gateway, 1), 1);
	ck_assert_uint_eq(s->last[ROLE_PNGW].id, VERDICT_PNE_UNKNOWN);
	sim_end(s);
}
END_TEST

/* The PN GW starts and serves with no server there at all. */
START_TEST(a_gateway_starts_without_the_wan)
{
	struct sim *s = sim_offline(NULL);

	restart_gateway(s);
	pass(s, 1000);
	ck_assert(s->pan_up && !s->wan_up);
	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	ask_and_get(s, &figure7);
	ck_assert_uint_eq(held_index(s), 3);
	wan_up(s);
	settle(s);
	ck_assert_uint_eq(sim_gateway_deliveries(s->gateway), 0);
	check_pne_has_key(s, USER);
	sim_end(s);
}
END_TEST

START_TEST(a_password_is_checked_without_the_server)
{
	struct sim *s = sim_offline(NULL);
	struct wish wrong = figure7, other = figure7;

	wrong.password = "battery staple";
	other.user = "bob";
	ck_assert_uint_eq(verdict_of(s, &wrong), VERDICT_WRONG_PASSWORD);
	ck_assert_uint_ne(verdict_of(s, &other), VERDICT_DONE);
	ck_assert_uint_eq(held_index(s), 1);
	ck_assert_uint_eq(pool(s).left, 2);
	ask_and_get(s, &figure7);
	ck_assert_uint_eq(held_index(s), 2);
	sim_end(s);
}
END_TEST

START_TEST(a_pool_is_filled_up_at_low_water)
{
	static const struct pool_limits limits = {.low_water = 1, .size = 6};
	struct sim *s = sim_offline(&limits);
	struct pool_limits chain = limits;

	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	ck_assert_uint_eq(pool(s).left, 1);
	wan_up(s);
	settle(s);
	ck_assert_uint_eq(pool(s).left, 6);
	for (unsigned left = 5; left > 1; left--) {
		ck_assert_uint_eq(renew(s), VERDICT_DONE);
		settle(s);
		ck_assert_uint_eq(pool(s).left, left);
	}
	/* A chain on top of a random set. */
	chain.kind = KEY_SET_CHAIN;
	sim_gateway_pools(&chain);
	restart_gateway(s);
	settle(s);
	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	settle(s);
	ck_assert_uint_eq(pool(s).left, 6);
	stay_offline(s);
	for (unsigned left = 6; left > 0; left--)
		ck_assert_uint_eq(renew(s), VERDICT_DONE);
	ck_assert_uint_eq(renew(s), VERDICT_GATEWAY_POOL_EMPTY);
	wan_up(s);
	settle(s);
	check_pne_has_key(s, USER);
	ck_assert_uint_eq(pool(s).left, 6);
	ck_assert(!pool(s).needs_user);
	sim_end(s);
}
END_TEST

/* The device was given to somebody else at the server: no further keys without its user. */
START_TEST(a_pool_is_not_filled_up_against_the_server)
{
	static const struct pool_limits limits = {.low_water = 1, .size = 4};
	struct sim *s = sim_offline(&limits);

	sim_server_give_away(s->server, SIM_PNE, "bob");
	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	wan_up(s);
	settle(s);
	ck_assert(pool(s).needs_user);
	ck_assert_uint_eq(pool(s).left, 1);
	sim_server_give_away(s->server, SIM_PNE, USER);
	pass(s, 7200000);
	ck_assert_uint_eq(pool(s).left, 1);
	ask_and_get(s, &figure7);
	settle(s);
	ck_assert(!pool(s).needs_user);
	ck_assert_uint_eq(pool(s).left, 4);
	sim_end(s);
}
END_TEST

/* By the service clock: whatever the wall clock says, also over a restart. */
START_TEST(unspent_keys_expire)
{
	static const struct pool_limits limits = {.lifetime_s = 10 * 86400};
	struct sim *s = sim_offline(&limits);

	sim_gateway_wall(10 * 365 * INT64_C(86400));
	pass(s, 5 * 86400000U);
	restart_gateway(s);
	sim_gateway_wall(-1600000000);
	pass(s, 2 * 86400000U);
	restart_gateway(s);
	pass(s, 2 * 86400000U);
	ck_assert_uint_eq(pool(s).left, 2);
	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 2);
	pass(s, 86400000U + 8 * 3600000U);
	ck_assert_uint_eq(pool(s).left, 0);
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 1);
	ck_assert_uint_eq(renew(s), VERDICT_GATEWAY_POOL_EMPTY);
	ck_assert_uint_eq(held_index(s), 2);
	sim_end(s);
}
END_TEST

/* Where the wall clock lost the time, the vault's goes on; the server proves another. */
START_TEST(the_last_good_time_outlives_a_restart_in_1970)
{
	struct sim *s = sim_offline(NULL);
	uint64_t good;

	stop_gateway(s);
	good = sim_gateway_marked_wall(s->directory);
	ck_assert_uint_ge(good, 1700000000);
	sim_gateway_wall(-1700000000);
	s->gateway = sim_gateway_new(s, s->directory);
	settle(s);
	pass(s, 2 * 86400000U);
	stop_gateway(s);
	ck_assert_uint_ge(sim_gateway_marked_wall(s->directory), good + UINT64_C(2) * 86400);
	ck_assert_uint_le(sim_gateway_marked_wall(s->directory), good + UINT64_C(2) * 86400 + 600);
	sim_gateway_wall(-10 * INT64_C(86400));
	s->gateway = sim_gateway_new(s, s->directory);
	settle(s);
	wan_up(s);
	settle(s);
	/* What it was proven to be is not lost with the wall clock either. */
	sim_gateway_wall(-1700000000);
	stop_gateway(s);
	ck_assert_uint_lt(sim_gateway_marked_wall(s->directory), good - UINT64_C(7) * 86400);
	ck_assert_uint_gt(sim_gateway_marked_wall(s->directory), good - UINT64_C(11) * 86400);
	sim_gateway_wall(0);
	s->gateway = sim_gateway_new(s, s->directory);
	sim_end(s);
}
END_TEST

/* A damaged clock neither makes keys young again nor old. */
START_TEST(keys_expire_without_the_record_of_the_clock)
{
	static const struct pool_limits limits = {.lifetime_s = 10 * 86400};
	struct sim *s = sim_offline(&limits);

	pass(s, 100 * UINT64_C(86400000));
	wan_up(s);
	settle(s);
	ask_and_get(s, &figure7);
	stay_offline(s);
	stop_gateway(s);
	sim_gateway_lose_clock(s->directory);
	s->gateway = sim_gateway_new(s, s->directory);
	settle(s);
	ck_assert_uint_eq(pool(s).left, 2);
	pass(s, 9 * 86400000U);
	ck_assert_uint_eq(pool(s).left, 2);
	pass(s, 2 * 86400000U);
	ck_assert_uint_eq(pool(s).left, 0);
	sim_end(s);
}
END_TEST

/* "Released" is said of what is gone for good. */
START_TEST(a_release_is_durable_when_it_is_told)
{
	struct sim *s = sim_offline(NULL);

	ck_assert_int_lt(sim_gateway_release(s->gateway, SIM_PNE, true), 0);
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 3);
	ck_assert_int_eq(sim_gateway_release(s->gateway, SIM_PNE, false), 0);
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 0);
	sim_end(s);
}
END_TEST

START_TEST(keys_are_renewed_by_time)
{
	static const struct pool_limits limits = {.renew_s = 86400};
	struct sim *s = sim_offline(&limits);

	pass(s, 86400000U - 10000);
	ck_assert_uint_eq(held_index(s), 1);
	pass(s, 20000);
	ck_assert_uint_eq(held_index(s), 2);
	/* Asleep when it is due: at its wake-up. */
	pan_down(s);
	s->pan_due = SIM_NEVER;
	pass(s, 2 * 86400000U);
	ck_assert_uint_eq(held_index(s), 2);
	s->pan_due = s->now;
	pass(s, 1000);
	ck_assert_uint_eq(held_index(s), 3);
	sim_end(s);
}
END_TEST

/* What was due while nothing was there is done when the WAN is back. */
START_TEST(a_renewal_that_waits_for_keys_is_made_up_for)
{
	static const struct pool_limits limits = {.low_water = 1, .size = 3, .renew_s = 86400};
	struct sim *s = sim_offline(&limits);

	pass(s, 5 * 86400000U);
	ck_assert_uint_eq(held_index(s), 3);
	ck_assert_uint_eq(pool(s).left, 0);
	ck_assert_uint_eq(renew(s), VERDICT_GATEWAY_POOL_EMPTY);
	wan_up(s);
	pass(s, 60000);
	ck_assert_uint_eq(held_index(s), 4);
	check_pne_has_key(s, USER);
	sim_end(s);
}
END_TEST

START_TEST(new_limits_hold_at_once)
{
	static const struct pool_limits limits = {.renew_s = 60};
	struct sim *s = sim_offline(NULL);

	pass(s, 99000);
	ck_assert_uint_eq(held_index(s), 1);
	sim_gateway_pools(&limits);
	sim_gateway_reload(s->gateway);
	pass(s, 500);
	ck_assert_uint_eq(held_index(s), 2);
	ck_assert_uint_eq(pool(s).left, 1);
	sim_end(s);
}
END_TEST

/* What is done without being asked for makes way for a user. */
START_TEST(a_user_goes_before_a_renewal)
{
	static const struct pool_limits limits = {.renew_s = 100};
	struct sim *s = sim_offline(&limits);

	/* The PNE hears nothing of the renewal that is due. */
	s->delivered = 0;
	s->fault = FAULT_LOSE;
	pass(s, 101000);
	ck_assert_uint_eq(s->delivered, 1);
	ck_assert_uint_eq(pool(s).unconfirmed, 2);
	ck_assert_uint_eq(held_index(s), 1);
	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	ck_assert_uint_eq(held_index(s), 2);
	ck_assert_uint_eq(pool(s).left, 1);
	sim_end(s);
}
END_TEST

/* A user's set replaces what is left, in the pool and in the vault. */
START_TEST(a_new_set_replaces_the_pool)
{
	struct sim *s = sim_offline(NULL);

	wan_up(s);
	settle(s);
	ask_and_get(s, &figure7);
	ck_assert_uint_eq(held_index(s), 4);
	ck_assert_uint_eq(pool(s).left, 2);
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 3);
	stay_offline(s);
	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	ck_assert_uint_eq(held_index(s), 5);
	sim_end(s);
}
END_TEST

/* Figure 6 gives a higher index: what is left of a set would be refused, and is not issued. */
START_TEST(a_pool_that_was_passed_is_not_issued)
{
	struct sim *s = sim_offline(NULL);

	s->secure = true;
	pan_down(s);
	wan_up(s);
	settle(s);
	ask_and_get(s, &figure6);
	ck_assert_uint_eq(held_index(s), 4);
	stay_offline(s);
	ck_assert_uint_eq(renew(s), VERDICT_GATEWAY_POOL_EMPTY);
	pass(s, 8 * 3600000U);
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 1);
	sim_end(s);
}
END_TEST

/*
 * Two keys of Figure 5 on their way at once, and the receipt of the first never comes: what is
 * known of the second is not forgotten for that.
 */
START_TEST(a_key_that_was_passed_by_figure_5_stays_passed)
{
	struct sim *s = sim_offline(NULL);

	wan_up(s);
	settle(s);
	/* The PNE is restarted when the first key comes to it, and has forgotten that it asked. */
	s->delivered = 0;
	s->fault_at = 6;
	s->fault = FAULT_RESTART_PNE;
	(void)ask(s, &entry);
	s->fault = FAULT_NONE;
	ck_assert_uint_eq(held_index(s), 1);
	ask_and_get(s, &entry);
	ck_assert_uint_eq(held_index(s), 5);
	pass(s, 60000);
	stay_offline(s);
	ck_assert_uint_eq(renew(s), VERDICT_GATEWAY_POOL_EMPTY);
	sim_end(s);
}
END_TEST

/*
 * How far the PNE got by Figure 6 cannot be read: no key of the pool is spent on a guess. A new
 * set, or another key by Figure 6, makes up for it.
 */
START_TEST(a_damaged_record_of_what_was_relayed)
{
	static const struct pool_limits limits = {.low_water = 1, .size = 3, .renew_s = 100};
	struct sim *s = sim_offline(&limits);

	s->secure = true;
	pan_down(s);
	wan_up(s);
	settle(s);
	ask_and_get(s, &figure6);
	stop_gateway(s);
	sim_gateway_damage(s->directory, VAULT_ANSWER, SIM_PNE);
	s->gateway = sim_gateway_new(s, s->directory);
	settle(s);
	stay_offline(s);
	ck_assert_uint_eq(renew(s), VERDICT_GATEWAY_VAULT_DAMAGED);
	ck_assert_uint_eq(pool(s).left, 0);
	wan_up(s);
	pass(s, 8 * 3600000U);
	ck_assert_uint_eq(held_index(s), 4);
	ck_assert_uint_eq(renew(s), VERDICT_GATEWAY_VAULT_DAMAGED);
	if (_i == 0) {
		ask_and_get(s, &figure7);
		ck_assert_uint_gt(held_index(s), 4);
	} else {
		pan_down(s);
		settle(s);
		ask_and_get(s, &figure6);
	}
	stay_offline(s);
	ck_assert_uint_eq(renew(s), _i == 0 ? VERDICT_DONE : VERDICT_GATEWAY_POOL_EMPTY);
	sim_end(s);
}
END_TEST

/* Whoever connects can call itself anything: that is not remembered when it has gone. */
START_TEST(strangers_are_forgotten)
{
	static const struct pool_limits limits = {.low_water = 1, .size = 6, .renew_s = 3600};
	struct sim *s;

	sim_gateway_pools(&limits);
	s = sim_new(false);
	pass(s, 60000);
	ck_assert(s->pan_up);
	ck_assert_uint_eq(sim_gateway_pools_known(s->gateway), 0);
	/* Nor is what somebody asks about. */
	ck_assert_uint_eq(sim_gateway_pool(s->gateway, "stranger").left, 0);
	ck_assert_uint_eq(sim_gateway_pools_known(s->gateway), 0);
	sim_end(s);
}
END_TEST

/* One key was missing once: that is not all that the server gives at a time. */
START_TEST(a_pool_is_filled_up_at_once)
{
	static const struct pool_limits limits = {.low_water = 1, .size = 8};
	struct sim *s = sim_offline(&limits);
	uint64_t posts;

	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	/* A renewal while the pool is filled up. */
	wan_up(s);
	do {
		while (work(s) || s->queued > 0) {
			if (s->queued > 0)
				deliver(s);
		}
		ck_assert(pass_time(s, s->now + 1000));
	} while (s->queued == 0);
	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	ck_assert_uint_eq(pool(s).left, 8);
	stay_offline(s);
	while (pool(s).left > 1)
		ck_assert_uint_eq(renew(s), VERDICT_DONE);
	wan_up(s);
	posts = s->posts.last_id;
	settle(s);
	ck_assert_uint_eq(pool(s).left, 8);
	/* One for the keys; the others are reports. */
	ck_assert_uint_le(s->posts.last_id - posts, 2);
	sim_end(s);
}
END_TEST

/* An older copy of the vault came back: nothing of it is issued, then the server fills it up. */
START_TEST(a_rolled_back_vault_issues_nothing)
{
	static const struct pool_limits limits = {.low_water = 1, .size = 3};
	struct sim *s = sim_offline(&limits);

	sim_gateway_quarantine(s->gateway, 1000);
	settle(s);
	ck_assert_uint_eq(pool(s).left, 0);
	/* What the PNE holds, and the highest of the pool to prove the refill with. */
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 2);
	ck_assert_uint_eq(renew(s), VERDICT_GATEWAY_POOL_EMPTY);
	wan_up(s);
	settle(s);
	ck_assert_uint_eq(pool(s).left, 3);
	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	ck_assert_uint_gt(held_index(s), 3);
	check_pne_has_key(s, USER);
	sim_end(s);
}
END_TEST

/* There is no room for the erasures: until they are durable nothing is issued either. */
START_TEST(a_rolled_back_vault_on_a_full_disk)
{
	static const struct pool_limits limits = {.low_water = 1, .size = 3};
	struct sim *s = sim_offline(&limits);

	sim_gateway_quarantine_full(s->gateway, 1000);
	settle(s);
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 3);
	ck_assert_uint_eq(renew(s), VERDICT_GATEWAY_DISK_FULL);
	ck_assert_uint_eq(held_index(s), 1);
	pass(s, 60000);
	ck_assert_uint_eq(sim_gateway_keys(s->gateway, SIM_PNE), 2);
	ck_assert_uint_eq(pool(s).left, 0);
	wan_up(s);
	settle(s);
	ck_assert_uint_eq(pool(s).left, 3);
	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	ck_assert_uint_gt(held_index(s), 3);
	check_pne_has_key(s, USER);
	sim_end(s);
}
END_TEST

/*
 * That the vault is older than it should be turns out at any moment of a set's or a refill's way,
 * also while what came is not durable yet: nothing of before is spent afterwards, which the ledger
 * proves.
 */
START_TEST(a_rollback_is_found_at_any_message)
{
	static const struct pool_limits limits = {.low_water = 1, .size = 6};
	bool more = true;

	for (unsigned at = 1; more; at += slow() ? 3 : 1) {
		struct sim *s = sim_offline(&limits);

		ck_assert_uint_eq(renew(s), VERDICT_DONE);
		wan_up(s);
		if (_i == 1)
			ck_assert_int_eq(sim_gateway_start(s->gateway, FIGURE_7, USER, PASSWORD, 4),
					 1);
		for (unsigned seen = 0; more && seen < at;) {
			if (s->queued > 0) {
				deliver(s);
				seen++;
			} else if (!work(s)) {
				more = pass_time(s, s->now + 1000);
			}
		}
		sim_gateway_quarantine(s->gateway, 1000);
		settle(s);
		settle(s);
		ck_assert_uint_ge(pool(s).left, 2);
		ck_assert_uint_eq(renew(s), VERDICT_DONE);
		check_pne_has_key(s, USER);
		sim_end(s);
	}
}
END_TEST

static void copy_file(const struct sim *s, const char *from, const char *to)
{
	char path[128], data[4096];
	FILE *in, *out;
	size_t size;

	(void)snprintf(path, sizeof(path), "%s/%s", s->directory, from);
	in = fopen(path, "rb");
	(void)snprintf(path, sizeof(path), "%s/%s", s->directory, to);
	out = fopen(path, "wb");
	ck_assert(in && out);
	while ((size = fread(data, 1, sizeof(data), in)) > 0)
		ck_assert_uint_eq(fwrite(data, 1, size, out), size);
	(void)fclose(in);
	ck_assert_int_eq(fclose(out), 0);
}

/* The same with the file itself: its ledger knows of a key that the copy takes for unspent. */
/* Whoever has the PN GW's credentials tells the server that its vault is far ahead: it goes on all
 * the same. */
START_TEST(an_impossible_ledger_is_not_believed)
{
	static const struct pool_limits limits = {.low_water = 1, .size = 3};
	struct sim *s = sim_offline(&limits);
	char path[128];
	sqlite3 *db = NULL;

	wan_up(s);
	settle(s);
	sim_server_free(s->server);
	(void)snprintf(path, sizeof(path), "%s/server.db", s->directory);
	ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	ck_assert_int_eq(
		sqlite3_exec(db, "UPDATE vault SET sequence = 4294967294", NULL, NULL, NULL),
		SQLITE_OK);
	ck_assert_int_gt(sqlite3_changes(db), 0);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	s->server = sim_server_new(s, s->directory);
	restart_gateway(s);
	settle(s);
	ck_assert_uint_eq(pool(s).left, 2);
	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	check_pne_has_key(s, USER);
	restart_gateway(s);
	settle(s);
	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	sim_end(s);
}
END_TEST

START_TEST(an_older_copy_of_the_vault_issues_nothing)
{
	static const struct pool_limits limits = {.low_water = 1, .size = 3};
	struct sim *s = sim_offline(&limits);

	stop_gateway(s);
	copy_file(s, "gateway.vault", "copy");
	s->gateway = sim_gateway_new(s, s->directory);
	settle(s);
	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	ck_assert_uint_eq(held_index(s), 2);
	stop_gateway(s);
	copy_file(s, "copy", "gateway.vault");
	s->gateway = sim_gateway_new(s, s->directory);
	settle(s);
	ck_assert_uint_eq(pool(s).left, 0);
	ck_assert_uint_eq(renew(s), VERDICT_GATEWAY_POOL_EMPTY);
	ck_assert_uint_eq(held_index(s), 2);
	wan_up(s);
	settle(s);
	ck_assert_uint_eq(pool(s).left, 3);
	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	ck_assert_uint_gt(held_index(s), 3);
	check_pne_has_key(s, USER);
	/* It was told once and is over. */
	restart_gateway(s);
	settle(s);
	ck_assert_uint_eq(pool(s).left, 2);
	sim_end(s);
}
END_TEST

/* The box whose vault lies in the files of that name is the one that runs. */
static void change_box(struct sim *s, const char *now, const char *keep)
{
	char name[64];

	if (s->gateway)
		stop_gateway(s);
	if (keep) {
		copy_file(s, "gateway.vault", keep);
		(void)snprintf(name, sizeof(name), "%s.ledger", keep);
		copy_file(s, "gateway.vault.ledger", name);
	}
	if (now) {
		copy_file(s, now, "gateway.vault");
		(void)snprintf(name, sizeof(name), "%s.ledger", now);
		copy_file(s, name, "gateway.vault.ledger");
	}
}

static void start_box(struct sim *s, bool up)
{
	s->gateway = sim_gateway_new(s, s->directory);
	s->offline = true;
	if (up)
		wan_up(s);
	settle(s);
}

/*
 * The PN GW is handed over to another box. Each EUKey of the pool goes out once: until the server
 * has confirmed the new one it issues nothing, and from then on the old one does not, also one that
 * nobody marked.
 */
START_TEST(a_pool_is_handed_over)
{
	static const struct pool_limits limits = {.low_water = 0, .size = 3};
	struct sim *s = sim_offline(&limits);

	change_box(s, NULL, "old");
	sim_gateway_hand_over(s->directory, 1, 0, 7);
	start_box(s, false);
	ck_assert_uint_eq(renew(s), VERDICT_GATEWAY_HANDOVER_OPEN);
	ck_assert_uint_eq(verdict_of(s, &figure7), VERDICT_GATEWAY_HANDOVER_OPEN);
	pass(s, 60000);
	ck_assert_uint_eq(held_index(s), 1);
	ck_assert_uint_eq(pool(s).left, 2);
	/* By itself, once the server has said so. */
	wan_up(s);
	settle(s);
	stay_offline(s);
	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	ck_assert_uint_eq(held_index(s), 2);
	restart_gateway(s);
	settle(s);
	ck_assert_uint_eq(pool(s).left, 1);
	wan_up(s);
	settle(s);
	/* The old one: it would send index 2 again. */
	change_box(s, "old", "new");
	start_box(s, true);
	ck_assert_uint_eq(renew(s), VERDICT_GATEWAY_HANDED_OVER);
	ck_assert_uint_eq(verdict_of(s, &figure7), VERDICT_GATEWAY_HANDED_OVER);
	ck_assert_uint_eq(verdict_of(s, &figure8), VERDICT_GATEWAY_HANDED_OVER);
	stay_offline(s);
	restart_gateway(s);
	settle(s);
	ck_assert_uint_eq(renew(s), VERDICT_GATEWAY_HANDED_OVER);
	ck_assert_uint_eq(held_index(s), 2);
	ck_assert_uint_eq(pool(s).left, 2);
	/* The file taken a second time. */
	change_box(s, "old", NULL);
	sim_gateway_hand_over(s->directory, 1, 0, 8);
	start_box(s, true);
	ck_assert_uint_eq(renew(s), VERDICT_GATEWAY_HANDED_OVER);
	/* And the new one goes on. */
	change_box(s, "new", NULL);
	start_box(s, true);
	ck_assert_uint_eq(renew(s), VERDICT_DONE);
	ck_assert_uint_eq(held_index(s), 3);
	ask_and_get(s, &figure7);
	check_pne_has_key(s, USER);
	sim_end(s);
}
END_TEST

/* Handed over in the middle of whatever: what was under way goes on at the new box, or is begun
 * again there. */
START_TEST(a_figure_is_handed_over_at_any_message)
{
	static const struct pool_limits limits = {.low_water = 1, .size = 6};
	bool more = true;

	for (unsigned at = 1; more; at += slow() ? 3 : 1) {
		struct sim *s = sim_offline(&limits);

		ck_assert_uint_eq(renew(s), VERDICT_DONE);
		wan_up(s);
		ck_assert_int_eq(sim_gateway_start(s->gateway, FIGURE_7, USER, PASSWORD, 4), 1);
		for (unsigned seen = 0; more && seen < at;) {
			if (s->queued > 0) {
				deliver(s);
				seen++;
			} else if (!work(s)) {
				more = pass_time(s, s->now + 1000);
			}
		}
		change_box(s, NULL, NULL);
		sim_gateway_hand_over(s->directory, at, at - 1, 7);
		start_box(s, true);
		settle(s);
		ck_assert_uint_ge(pool(s).left, 2);
		ck_assert_uint_eq(renew(s), VERDICT_DONE);
		check_pne_has_key(s, USER);
		sim_end(s);
	}
}
END_TEST

/*
 * A renewal that meets a fault at any message, the WAN down: it goes on by itself, no key is passed
 * over and none is sent twice as another message.
 */
START_TEST(an_interrupted_renewal_goes_on)
{
	static const enum fault faults[] = {FAULT_LOSE, FAULT_DUPLICATE, FAULT_PAN_DOWN,
					    FAULT_RESTART_PNE, FAULT_RESTART_GATEWAY};

	for (unsigned at = 0; at < 2; at++) {
		struct sim *s = sim_offline(NULL);

		s->delivered = 0;
		s->fault_at = at;
		s->fault = faults[_i];
		ck_assert_int_eq(sim_gateway_renew(s->gateway, 0), 1);
		pass(s, 120000);
		ck_assert_uint_ge(s->delivered, 2);
		ck_assert_msg(held_index(s) == 2 && pool(s).current == 2, "%s at message %u",
			      fault_names[faults[_i]], at);
		ck_assert_uint_eq(pool(s).unconfirmed, 0);
		ck_assert_uint_eq(pool(s).left, 1);
		ck_assert(!s->wan_up);
		wan_up(s);
		settle(s);
		ck_assert_uint_eq(sim_gateway_deliveries(s->gateway), 0);
		check_pne_has_key(s, USER);
		sim_end(s);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("figures");
	TCase *c = tcase_create("figures");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 600);
	tcase_add_test(c, figure_5_assigns_a_key);
	tcase_add_test(c, figure_6_assigns_a_key);
	tcase_add_test(c, figure_7_assigns_what_the_user_asks_for_c271);
	tcase_add_test(c, figure_8_follows_the_password_entry_c283);
	tcase_add_test(c, figures_follow_each_other);
	tcase_add_test(c, a_wrong_password_is_refused);
	tcase_add_test(c, figure_6_needs_a_secure_pan);
	tcase_add_loop_test(c, figure_6_ends_when_the_level_drops, 0, 2);
	tcase_add_loop_test(c, a_receipt_that_is_lost_ends_nothing_else, 0, 3);
	tcase_add_test(c, figure_7_needs_a_temporary_key);
	tcase_add_test(c, somebody_elses_pne_gets_no_key);
	tcase_add_loop_test(c, a_fault_at_any_message_is_survived, 0,
			    (int)(sizeof(trials) / sizeof(trials[0]) * FAULTS));
	tcase_add_loop_test(c, many_faults_are_survived, 0, slow() ? 2 : 40);
	tcase_add_test(c, a_set_issues_keys_without_the_server);
	tcase_add_test(c, a_pne_is_renewed_from_its_pool);
	tcase_add_test(c, a_gateway_starts_without_the_wan);
	tcase_add_test(c, a_password_is_checked_without_the_server);
	tcase_add_test(c, a_pool_is_filled_up_at_low_water);
	tcase_add_test(c, a_pool_is_not_filled_up_against_the_server);
	tcase_add_test(c, unspent_keys_expire);
	tcase_add_test(c, the_last_good_time_outlives_a_restart_in_1970);
	tcase_add_test(c, keys_expire_without_the_record_of_the_clock);
	tcase_add_test(c, a_release_is_durable_when_it_is_told);
	tcase_add_test(c, keys_are_renewed_by_time);
	tcase_add_test(c, a_renewal_that_waits_for_keys_is_made_up_for);
	tcase_add_test(c, new_limits_hold_at_once);
	tcase_add_test(c, a_user_goes_before_a_renewal);
	tcase_add_test(c, a_new_set_replaces_the_pool);
	tcase_add_test(c, a_pool_that_was_passed_is_not_issued);
	tcase_add_test(c, a_rolled_back_vault_issues_nothing);
	tcase_add_test(c, a_key_that_was_passed_by_figure_5_stays_passed);
	tcase_add_loop_test(c, a_damaged_record_of_what_was_relayed, 0, 2);
	tcase_add_test(c, strangers_are_forgotten);
	tcase_add_test(c, a_pool_is_filled_up_at_once);
	tcase_add_test(c, a_rolled_back_vault_on_a_full_disk);
	tcase_add_loop_test(c, a_rollback_is_found_at_any_message, 0, 2);
	tcase_add_test(c, an_older_copy_of_the_vault_issues_nothing);
	tcase_add_test(c, a_pool_is_handed_over);
	tcase_add_test(c, a_figure_is_handed_over_at_any_message);
	tcase_add_test(c, an_impossible_ledger_is_not_believed);
	tcase_add_loop_test(c, an_interrupted_renewal_goes_on, 0, 5);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
