#include "tests/faults/scene.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECONNECT_MS 500U
#define LIMIT_MS     600000U

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
	const char *at = strstr(line, "verdict: ");

	if (getenv("FIGURES_VERBOSE"))
		(void)fprintf(stderr, "%6lu %s\n", (unsigned long)s->now, line);
	if (at && strncmp(line, "CPNS Server", 11) == 0 && !s->server_says[0] &&
	    !strstr(at, ": done"))
		(void)snprintf(s->server_says, sizeof(s->server_says), "%s",
			       at + strlen("verdict: "));
}

void sim_verdict(struct sim *s, enum role role, const struct verdict *v)
{
	char text[VERDICT_TEXT_SIZE];

	if (getenv("FIGURES_VERBOSE"))
		(void)fprintf(stderr, "%6lu %s verdict: %s\n", (unsigned long)s->now,
			      role_name(role), verdict_describe(v, text, sizeof(text)));
	if (s->has_seen[role])
		return;
	s->has_seen[role] = true;
	s->seen[role] = *v;
}

static void enqueue(struct sim *s, enum hop hop, uint64_t id, uint64_t epoch, struct bytes b)
{
	ck_assert_uint_lt(s->queued, QUEUE_MAX);
	s->queue[s->queued++] = (struct item){hop, id, epoch, sim_copy(b), b.size};
}

void scene_enqueue(struct sim *s, enum hop hop, struct bytes b)
{
	enqueue(s, hop, 0, s->pan_epoch, b);
}

int sim_post(struct sim *s, uint64_t token, struct bytes xml, unsigned deadline_ms, uint64_t pin)
{
	const struct post *p;

	if (pin != 0 && (!s->wan_up || pin != s->wan_epoch))
		return -ENOTCONN;
	p = posts_add(&s->posts, token, xml, s->now + deadline_ms, pin);
	if (s->wan_up)
		enqueue(s, HOP_SERVER, p->id, s->wan_epoch, xml);
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
		enqueue(s, from == ROLE_PNE ? HOP_GATEWAY : HOP_PNE, 0, s->pan_epoch, frame);
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
	s->pan_due = s->pan_away ? SIM_NEVER : s->now + RECONNECT_MS;
	sim_gateway_stream_down(s->gateway, 0);
	if (s->pne)
		sim_pne_stream_down(s->pne);
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
			enqueue(s, HOP_SERVER, s->posts.list[i].id, s->wan_epoch,
				bytes_of(s->posts.list[i].data, s->posts.list[i].size));
	}
}

static void wan_down(struct sim *s)
{
	uint64_t token;

	s->wan_up = false;
	s->wan_epoch++;
	s->wan_due = s->wan_away ? SIM_NEVER : s->now + RECONNECT_MS;
	sim_gateway_wan(s->gateway, false, NULL, 0);
	while (posts_take_pinned(&s->posts, &token))
		sim_gateway_failed(s->gateway, token, true);
}

void scene_pan(struct sim *s, bool up)
{
	s->pan_away = !up;
	if (!up)
		pan_down(s);
	else
		s->pan_due = s->now;
}

void scene_wan(struct sim *s, bool up)
{
	s->wan_away = !up;
	if (!up)
		wan_down(s);
	else
		s->wan_due = s->now;
}

void scene_restart_pne(struct sim *s)
{
	sim_pne_free(s->pne);
	s->pne = NULL;
	pan_down(s);
	s->pne = sim_pne_new(s, s->directory, 0);
}

static bool is_stale(const struct sim *s, const struct item *i)
{
	if (i->hop == HOP_SERVER || i->hop == HOP_ANSWER)
		return i->epoch != s->wan_epoch;
	return i->epoch != s->pan_epoch;
}

/* While role acts, its disk is as the fault has it. */
static void disk_begin(const struct sim *s, enum role role)
{
	if (s->disk_fails && s->disk_of == role)
		fault_plan(&s->disk);
}

static void disk_end(void)
{
	fault_plan(NULL);
}

static void hand_over(struct sim *s, const struct item *i)
{
	static const enum role receivers[] = {ROLE_SERVER, ROLE_PNGW, ROLE_PNE, ROLE_PNGW};
	struct bytes b = bytes_of(i->data, i->size);
	uint64_t token;

	disk_begin(s, receivers[i->hop]);
	switch (i->hop) {
	case HOP_SERVER:
		sim_server_request(s->server, i->id, b, s->exporter);
		break;
	case HOP_ANSWER:
		if (posts_take(&s->posts, i->id, &token))
			sim_gateway_answered(s->gateway, token, b);
		break;
	case HOP_PNE:
		sim_pne_stream_bytes(s->pne, b);
		break;
	case HOP_GATEWAY:
		sim_gateway_stream_bytes(s->gateway, 0, b);
		break;
	}
	disk_end();
}

static void deliver(struct sim *s)
{
	struct item i = s->queue[0];

	s->queued--;
	memmove(s->queue, s->queue + 1, s->queued * sizeof(i));
	if (!is_stale(s, &i) && (!s->meddle || s->meddle(s, &i)) && !is_stale(s, &i))
		hand_over(s, &i);
	free(i.data);
}

static bool work_of(struct sim *s, enum role role)
{
	bool done = false;

	disk_begin(s, role);
	switch (role) {
	case ROLE_PNE:
		done = sim_pne_work(s->pne);
		break;
	case ROLE_PNGW:
		done = sim_gateway_work(s->gateway);
		break;
	case ROLE_SERVER:
		done = sim_server_work(s->server);
		break;
	}
	disk_end();
	return done;
}

static bool work(struct sim *s)
{
	if (s->close_wanted) {
		pan_down(s);
		return true;
	}
	return work_of(s, ROLE_PNE) || work_of(s, ROLE_PNGW) || work_of(s, ROLE_SERVER);
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

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
	while (posts_take_late(&s->posts, s->now, &token)) {
		if (s->wan_up)
			sim_gateway_failed(s->gateway, token, false);
		else
			sim_gateway_unreached(s->gateway, token);
	}
	disk_begin(s, ROLE_PNGW);
	sim_gateway_tick(s->gateway);
	disk_end();
	disk_begin(s, ROLE_PNE);
	sim_pne_tick(s->pne);
	disk_end();
	return true;
}

void scene_begin(struct sim *s)
{
	memset(s->has_seen, 0, sizeof(s->has_seen));
	s->server_says[0] = '\0';
}

void scene_await(struct sim *s, enum role role)
{
	uint64_t limit = s->now + LIMIT_MS;

	for (;;) {
		if (s->has_seen[role] || (role == ROLE_SERVER && s->server_says[0]))
			return;
		if (work(s))
			continue;
		if (s->queued > 0)
			deliver(s);
		else if (!pass_time(s, limit))
			return;
	}
}

void scene_settle(struct sim *s)
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
}

struct sim *scene_new(bool secure)
{
	struct sim *s = calloc(1, sizeof(*s));
	const char *root = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	ck_assert_ptr_nonnull(s);
	(void)snprintf(s->directory, sizeof(s->directory), "%s/pngw-scene-XXXXXX", root);
	ck_assert_ptr_nonnull(mkdtemp(s->directory));
	s->now = 1000;
	s->secure = secure;
	s->pan_due = s->now;
	s->wan_due = s->now;
	s->server = sim_server_new(s, s->directory);
	s->gateway = sim_gateway_new(s, s->directory);
	s->pne = sim_pne_new(s, s->directory, 0);
	scene_settle(s);
	ck_assert(s->pan_up && s->wan_up);
	return s;
}

void scene_free(struct sim *s)
{
	sim_gateway_end(s->gateway, NULL);
	sim_pne_free(s->pne);
	sim_server_free(s->server);
	for (size_t i = 0; i < s->queued; i++)
		free(s->queue[i].data);
	posts_clear(&s->posts);
	secret_unref(s->exporter);
	sim_remove(s->directory);
	free(s);
}
