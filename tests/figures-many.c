#include "tests/figures-many.h"

#include <errno.h>
#include <sys/stat.h>

#include "pan/frame.h"

#define RECONNECT_MS 500U
#define LIMIT_MS     120000U

void (*many_wire)(struct bytes b);

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
	ck_assert_uint_lt(s->count, MANY_VERDICTS_MAX);
	s->verdicts[s->count++] = *v;
}

static void enqueue(struct sim *s, enum hop hop, unsigned pne, uint64_t id, uint64_t epoch,
		    struct bytes b)
{
	ck_assert_uint_lt(s->queued, QUEUE_MAX);
	if (many_wire)
		many_wire(b);
	s->queue[s->queued++] = (struct item){hop, pne, id, epoch, sim_copy(b), b.size};
}

int sim_post(struct sim *s, uint64_t token, struct bytes xml, unsigned deadline_ms, uint64_t pin)
{
	const struct post *p;

	if (pin != 0 && (!s->wan_up || pin != s->wan_epoch))
		return -ENOTCONN;
	p = posts_add(&s->posts, token, xml, s->now + deadline_ms, pin);
	if (s->wan_up)
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
		if (s->posts.list[i].there && s->posts.list[i].pin == 0)
			enqueue(s, HOP_POST, 0, s->posts.list[i].id, s->wan_epoch,
				bytes_of(s->posts.list[i].data, s->posts.list[i].size));
	}
}

static void wan_down(struct sim *s)
{
	uint64_t token;

	s->wan_up = false;
	s->wan_epoch++;
	s->wan_due = s->wan_away ? SIM_NEVER : s->now + RECONNECT_MS;
	if (!s->gateway)
		return;
	sim_gateway_wan(s->gateway, false, NULL, 0);
	while (posts_take_pinned(&s->posts, &token))
		sim_gateway_failed(s->gateway, token, true);
}

void many_away(struct sim *s, unsigned pne, bool is)
{
	s->pan[pne].away = is;
	if (is)
		pan_down(s, pne);
	else
		s->pan[pne].due = s->now;
}

void many_offline(struct sim *s, bool is)
{
	s->wan_away = is;
	if (is)
		wan_down(s);
	else
		s->wan_due = s->now;
}

void many_restart_pne(struct sim *s, unsigned i)
{
	sim_pne_free(s->pan[i].pne);
	s->pan[i].pne = NULL;
	pan_down(s, i);
	s->pan[i].pne = sim_pne_new(s, s->directory, i);
}

void many_stop_gateway(struct sim *s)
{
	sim_gateway_free(s->gateway);
	s->gateway = NULL;
	posts_clear(&s->posts);
	for (unsigned i = 0; i < PNES; i++)
		pan_down(s, i);
	wan_down(s);
}

void many_restart_gateway(struct sim *s)
{
	many_stop_gateway(s);
	s->restarted = true;
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

void many_deliver(struct sim *s)
{
	struct item i = s->queue[0];
	bool lost = false;

	s->queued--;
	memmove(s->queue, s->queue + 1, s->queued * sizeof(i));
	if (!is_stale(s, &i) && is_counted(&i)) {
		s->delivered++;
		if (s->delivered == s->restart_at)
			many_restart_gateway(s);
		lost = s->delivered == s->lose_at;
	}
	if (!is_stale(s, &i) && !lost)
		hand_over(s, &i);
	free(i.data);
}

bool many_work(struct sim *s)
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
	uint64_t due = earliest(s->wan_due, sim_gateway_due(s->gateway)), token;

	for (unsigned i = 0; i < PNES; i++)
		due = earliest(due, earliest(s->pan[i].due, sim_pne_due(s->pan[i].pne)));
	due = earliest(due, posts_due(&s->posts));
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
	while (posts_take_late(&s->posts, s->now, &token))
		sim_gateway_failed(s->gateway, token, false);
	sim_gateway_tick(s->gateway);
	for (unsigned i = 0; i < PNES; i++)
		sim_pne_tick(s->pan[i].pne);
	return true;
}

void many_settle(struct sim *s)
{
	for (;;) {
		if (many_work(s))
			continue;
		if (s->queued == 0)
			return;
		many_deliver(s);
	}
}

void many_pass(struct sim *s, uint64_t ms)
{
	uint64_t limit = s->now + ms;

	many_settle(s);
	while (pass_time(s, limit))
		many_settle(s);
	s->now = limit;
}

void many_await(struct sim *s, size_t count)
{
	uint64_t limit = s->now + LIMIT_MS;

	many_settle(s);
	while (s->count < count && !s->restarted) {
		ck_assert_msg(pass_time(s, limit), "no verdict");
		many_settle(s);
	}
}

struct sim *many_new(bool secure)
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
		many_restart_pne(s, i);
		s->pan[i].due = s->now;
	}
	many_pass(s, 100);
	return s;
}

void many_free(struct sim *s)
{
	sim_gateway_free(s->gateway);
	for (unsigned i = 0; i < PNES; i++)
		sim_pne_free(s->pan[i].pne);
	sim_server_free(s->server);
	for (size_t i = 0; i < s->queued; i++)
		free(s->queue[i].data);
	posts_clear(&s->posts);
	secret_unref(s->exporter);
	sim_remove(s->directory);
	free(s);
	ck_assert_uint_eq(secret_count(), 0);
}
