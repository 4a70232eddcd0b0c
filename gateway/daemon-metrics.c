/* The daemon's metrics: what is read off, and the file they are written to. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gateway/core-internal.h"
#include "gateway/daemon-internal.h"
#include "storage/vault-manage.h"

/* Every pool is read no more often than that: with many PNEs it takes some milliseconds. */
#define POOLS_MS 60000

#define NAMES_AT_ONCE  256U
#define POOLS_AT_ONCE  64U
#define PIECES_AT_ONCE 8U /* in one turn, so that a count of few is there at once */

/* A count that goes on. */
struct daemon_count {
	struct known_walk walk;
	struct names names;
	size_t at;
	struct metrics_now now;
};

/* A text on its way to the file, on another thread. */
struct daemon_metrics_job {
	uv_work_t work;
	struct gateway_daemon *daemon; /* NULL: it has gone */
	char path[CONFIG_TEXT_MAX];
	char *text;
	size_t size;
	int result;
};

static void count_link(void *arg, const struct name *entity, enum pan_security level, bool ui,
		       const struct name *owner, const char *peer)
{
	struct metrics_now *now = arg;

	(void)entity, (void)ui, (void)owner, (void)peer;
	if ((size_t)level < 3)
		now->links[level]++;
}

static void count_pool(struct gateway_daemon *d, const struct name *entity, struct metrics_now *now)
{
	struct core_pool_info info;

	if (name_equal(entity, &d->config.entity_id) ||
	    gateway_core_pool_info(d->core, entity, &info) != 0)
		return;
	/* One that was never assigned a set has no pool. */
	if (info.left == 0 && info.current == 0 && info.unconfirmed == 0 && !info.refill_needs_user)
		return;
	now->keys_left += info.left;
	if (info.refill_needs_user)
		now->pools[METRICS_POOL_USER]++;
	else if (info.left == 0)
		now->pools[METRICS_POOL_EMPTY]++;
	else if (info.left <= gateway_config_low_water(&d->config))
		now->pools[METRICS_POOL_LOW]++;
	else
		now->pools[METRICS_POOL_FILLED]++;
}

static void count_end(struct daemon_metrics *x)
{
	if (!x->count)
		return;
	(void)uv_timer_stop(&x->turn);
	gateway_names_free(&x->count->names);
	free(x->count);
	x->count = NULL;
}

/* A piece of what is counted: first the names, then their pools. */
static void count_some(struct gateway_daemon *d)
{
	struct daemon_metrics *x = &d->metrics;
	struct daemon_count *count = x->count;

	if (!count->walk.ended) {
		if (gateway_core_known_some(d->core, &count->walk, NAMES_AT_ONCE, &count->names) !=
		    0)
			count_end(x);
		return;
	}
	for (unsigned i = 0; i < POOLS_AT_ONCE && count->at < count->names.count; i++)
		count_pool(d, &count->names.list[count->at++], &count->now);
	if (count->at < count->names.count)
		return;
	count->now.started = x->now.started;
	x->now = count->now;
	(void)vault_count_records(d->vault, &x->now.records);
	count_end(x);
}

static void on_turn(uv_timer_t *timer)
{
	struct gateway_daemon *d = timer->data;

	if (!d->core)
		count_end(&d->metrics);
	else
		count_some(d);
	if (d->metrics.count)
		(void)uv_timer_start(timer, on_turn, 0, 0);
}

/*
 * Fills in what stands in the vault, as it was at most POOLS_MS ago; with very many PNEs, as it was
 * when that was last counted, which takes many turns of the loop.
 */
static void count_pools(struct gateway_daemon *d)
{
	struct daemon_metrics *x = &d->metrics;
	uint64_t now = uv_now(d->loop);

	if (x->count || (x->read && now - x->read_at < POOLS_MS))
		return;
	x->count = calloc(1, sizeof(*x->count));
	if (!x->count)
		return;
	x->read = true;
	x->read_at = now;
	for (unsigned i = 0; i < PIECES_AT_ONCE && x->count; i++)
		count_some(d);
	if (x->count)
		(void)uv_timer_start(&x->turn, on_turn, 0, 0);
}

char *gateway_daemon_metrics_text(struct gateway_daemon *d, size_t *size)
{
	struct daemon_metrics *x = &d->metrics;
	struct ledger_state ledger;
	char *text = NULL;
	FILE *out;

	if (d->core) {
		count_pools(d);
		vault_ledger_state(d->vault, &ledger);
		x->now.ledger = ledger.sequence;
		memset(x->now.links, 0, sizeof(x->now.links));
		gateway_core_each_link(d->core, count_link, &x->now);
		x->now.procedures = gateway_core_procedures(d->core);
		x->now.counters = *gateway_core_counters(d->core);
	}
	out = open_memstream(&text, size);
	if (!out)
		return NULL;
	gateway_metrics_write(x->metrics, &x->now, out);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* A collector sees the old text or the new one, never part of one. */
static int replace(const char *path, const char *text, size_t size)
{
	char temporary[CONFIG_TEXT_MAX + 8];
	ssize_t n;
	int fd, r = 0;

	(void)snprintf(temporary, sizeof(temporary), "%s.new", path);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return -errno;
	n = write(fd, text, size);
	if (n < 0)
		r = -errno;
	else if ((size_t)n < size)
		r = -ENOSPC;
	if (close(fd) != 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(temporary, path) != 0)
		r = -errno;
	if (r != 0)
		(void)unlink(temporary);
	return r;
}

static void write_work(uv_work_t *work)
{
	struct daemon_metrics_job *job = work->data;

	job->result = replace(job->path, job->text, job->size);
}

static void write_done(uv_work_t *work, int status)
{
	struct daemon_metrics_job *job = work->data;
	struct gateway_daemon *d = job->daemon;
	char line[CONFIG_TEXT_MAX + 96];

	if (d) {
		int r = status != 0 ? status : job->result;

		d->metrics.job = NULL;
		if (r != 0 && r != d->metrics.failed) {
			(void)snprintf(line, sizeof(line), "metrics.file %s is not written: %s",
				       job->path, strerror(-r));
			gateway_daemon_log(d, LOG_LEVEL_WARNING, line);
		}
		d->metrics.failed = r;
	}
	free(job->text);
	free(job);
}

static void write_file(struct gateway_daemon *d)
{
	struct daemon_metrics_job *job;

	if (d->metrics.job || !d->core)
		return;
	job = calloc(1, sizeof(*job));
	if (!job)
		return;
	job->text = gateway_daemon_metrics_text(d, &job->size);
	job->work.data = job;
	job->daemon = d;
	memcpy(job->path, d->config.metrics_file, sizeof(job->path));
	if (!job->text || uv_queue_work(d->loop, &job->work, write_work, write_done) != 0) {
		free(job->text);
		free(job);
		return;
	}
	d->metrics.job = job;
}

static void on_timer(uv_timer_t *timer)
{
	struct gateway_daemon *d = timer->data;
	uint64_t now = uv_hrtime() / 1000000;
	uint64_t interval = (uint64_t)d->config.metrics_interval * 1000;

	gateway_metrics_lag(d->metrics.metrics, now > d->metrics.due ? now - d->metrics.due : 0);
	write_file(d);
	d->metrics.due = now + interval;
	(void)uv_timer_start(timer, on_timer, interval, 0);
}

int gateway_daemon_metrics_init(struct gateway_daemon *d)
{
	struct timespec t;

	(void)uv_timer_init(d->loop, &d->metrics.timer);
	(void)uv_timer_init(d->loop, &d->metrics.turn);
	d->metrics.timer.data = d;
	d->metrics.turn.data = d;
	d->metrics.metrics = gateway_metrics_new();
	if (clock_gettime(CLOCK_REALTIME, &t) == 0)
		d->metrics.now.started = (uint64_t)t.tv_sec;
	return d->metrics.metrics ? 0 : -ENOMEM;
}

void gateway_daemon_metrics_configured(struct gateway_daemon *d)
{
	(void)uv_timer_stop(&d->metrics.timer);
	if (!d->config.metrics_file[0])
		return;
	uv_update_time(d->loop);
	d->metrics.due = uv_hrtime() / 1000000;
	(void)uv_timer_start(&d->metrics.timer, on_timer, 0, 0);
}

void gateway_daemon_metrics_stop(struct gateway_daemon *d)
{
	if (d->metrics.job)
		d->metrics.job->daemon = NULL;
	d->metrics.job = NULL;
	count_end(&d->metrics);
	uv_close((uv_handle_t *)&d->metrics.timer, NULL);
	uv_close((uv_handle_t *)&d->metrics.turn, NULL);
}
