#include "gateway/metrics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <config.h>

#define FIGURES   9  /* by number */
#define STEPS_MAX 20 /* a figure has no step above */
#define BUCKETS   12
#define WATCHED   512 /* procedures whose steps are timed at a time */
#define RESULTS   2

enum metric_type { counter, gauge, histogram };

enum metric {
#define METRIC(name, metric, type, labels, meaning) METRIC_##name,
#include "gateway/metrics.def"
#undef METRIC
	METRICS
};

static const struct description {
	const char *name, *labels, *meaning;
	enum metric_type type;
} descriptions[METRICS] = {
#define METRIC(n, m, t, l, text) \
	[METRIC_##n] = {.name = m, .labels = l, .meaning = text, .type = t},
#include "gateway/metrics.def"
#undef METRIC
};

static const char *const type_names[] = {
	[counter] = "counter", [gauge] = "gauge", [histogram] = "histogram"};

/* Upper bounds in microseconds; above the last is +Inf. */
static const uint64_t bounds[BUCKETS] = {500,    1000,   2500,    5000,    10000,    50000,
					 100000, 250000, 1000000, 5000000, 15000000, 60000000};

struct timing {
	uint64_t buckets[BUCKETS + 1];
	uint64_t sum; /* microseconds */
};

/* The steps of one procedure. */
struct watched {
	enum figure figure; /* FIGURE_NONE: free */
	struct name user, entity;
	uint64_t first, last;
};

static const enum verdict_id verdict_ids[] = {
#define VERDICT(id, number, leg, retry, cause, next) VERDICT_##id,
#include "protocol/verdicts.def"
#undef VERDICT
};
#define VERDICTS (sizeof(verdict_ids) / sizeof(verdict_ids[0]))

struct metrics {
	struct timing steps[FIGURES][STEPS_MAX + 1];
	struct timing durations[FIGURES][RESULTS];
	struct timing commits;
	uint64_t batches;
	uint64_t verdicts[VERDICTS];
	uint64_t connects, losses;
	bool wan_up;
	uint64_t lag;
	struct watched watched[WATCHED];
	size_t next; /* to be taken when none is free: the oldest there may be */
};

struct metrics *gateway_metrics_new(void)
{
	return calloc(1, sizeof(struct metrics));
}

void gateway_metrics_free(struct metrics *m)
{
	free(m);
}

static void observe(struct timing *t, uint64_t microseconds)
{
	size_t i = 0;

	while (i < BUCKETS && microseconds > bounds[i])
		i++;
	t->buckets[i]++;
	t->sum += microseconds;
}

static struct watched *find(struct metrics *m, enum figure figure, const struct name *user,
			    const struct name *entity)
{
	for (size_t i = 0; i < WATCHED; i++) {
		struct watched *w = &m->watched[i];

		if (w->figure == figure && name_equal(&w->entity, entity) &&
		    name_equal(&w->user, user))
			return w;
	}
	return NULL;
}

/* A procedure that was forgotten for want of room is missing in the timings alone. */
static struct watched *take(struct metrics *m)
{
	for (size_t i = 0; i < WATCHED; i++) {
		if (m->watched[i].figure == FIGURE_NONE)
			return &m->watched[i];
	}
	m->next = (m->next + 1) % WATCHED;
	return &m->watched[m->next];
}

void gateway_metrics_step(struct metrics *m, uint64_t now, enum figure figure, unsigned step,
			  const struct name *user, const struct name *entity)
{
	struct watched *w;

	if (!m || figure == FIGURE_NONE || (size_t)figure >= FIGURES || step > STEPS_MAX)
		return;
	w = find(m, figure, user, entity);
	if (!w) {
		w = take(m);
		*w = (struct watched){
			.figure = figure, .user = *user, .entity = *entity, .first = now};
	} else {
		observe(&m->steps[figure][step], (now - w->last) * 1000);
	}
	w->last = now;
}

void gateway_metrics_verdict(struct metrics *m, uint64_t now, const struct verdict *v)
{
	struct watched *w;

	if (!m)
		return;
	for (size_t i = 0; i < VERDICTS; i++)
		m->verdicts[i] += verdict_ids[i] == v->id;
	if (v->figure == FIGURE_NONE || (size_t)v->figure >= FIGURES)
		return;
	w = find(m, v->figure, &v->user, &v->entity);
	if (!w)
		return;
	observe(&m->durations[v->figure][v->id == VERDICT_DONE ? 0 : 1], (now - w->first) * 1000);
	w->figure = FIGURE_NONE;
}

void gateway_metrics_commit(struct metrics *m, uint64_t microseconds, size_t batches)
{
	if (!m)
		return;
	observe(&m->commits, microseconds);
	m->batches += batches;
}

void gateway_metrics_wan(struct metrics *m, bool up)
{
	if (!m)
		return;
	m->connects += up && !m->wan_up;
	m->losses += !up && m->wan_up;
	m->wan_up = up;
}

void gateway_metrics_lag(struct metrics *m, uint64_t late)
{
	if (m)
		m->lag = late;
}

/* Writing. */

static void head(FILE *out, enum metric id)
{
	const struct description *d = &descriptions[id];

	(void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", d->name, d->meaning, d->name,
		      type_names[d->type]);
}

static void value(FILE *out, enum metric id, const char *labels, uint64_t v)
{
	const char *name = descriptions[id].name;

	if (labels[0])
		(void)fprintf(out, "%s{%s} %" PRIu64 "\n", name, labels, v);
	else
		(void)fprintf(out, "%s %" PRIu64 "\n", name, v);
}

static void one(FILE *out, enum metric id, uint64_t v)
{
	head(out, id);
	value(out, id, "", v);
}

/* Microseconds as seconds. */
static void seconds(FILE *out, uint64_t us)
{
	(void)fprintf(out, "%" PRIu64 ".%06" PRIu64, us / 1000000, us % 1000000);
}

static void timing(FILE *out, enum metric id, const char *labels, const struct timing *t)
{
	const char *name = descriptions[id].name;
	const char *comma = labels[0] ? "," : "";
	uint64_t count = 0;

	for (size_t i = 0; i < BUCKETS; i++) {
		count += t->buckets[i];
		(void)fprintf(out, "%s_bucket{%s%sle=\"", name, labels, comma);
		seconds(out, bounds[i]);
		(void)fprintf(out, "\"} %" PRIu64 "\n", count);
	}
	count += t->buckets[BUCKETS];
	(void)fprintf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma, count);
	(void)fprintf(out, labels[0] ? "%s_sum{%s} " : "%s_sum%s ", name, labels);
	seconds(out, t->sum);
	(void)fprintf(out,
		      labels[0] ? "\n%s_count{%s} %" PRIu64 "\n" : "\n%s_count%s %" PRIu64 "\n",
		      name, labels, count);
}

static bool is_empty(const struct timing *t)
{
	for (size_t i = 0; i <= BUCKETS; i++) {
		if (t->buckets[i] > 0)
			return false;
	}
	return true;
}

static void write_steps(const struct metrics *m, FILE *out)
{
	char labels[96];

	head(out, METRIC_STEP);
	for (unsigned f = 0; f < FIGURES; f++) {
		for (unsigned s = 0; s <= STEPS_MAX; s++) {
			const struct timing *t = &m->steps[f][s];

			if (is_empty(t))
				continue;
			(void)snprintf(labels, sizeof(labels),
				       "figure=\"%u\",step=\"%u\",leg=\"%s\"", f, s,
				       role_name(step_role((enum figure)f, s)));
			timing(out, METRIC_STEP, labels, t);
		}
	}
	head(out, METRIC_DURATION);
	for (unsigned f = 0; f < FIGURES; f++) {
		for (unsigned r = 0; r < RESULTS; r++) {
			const struct timing *t = &m->durations[f][r];

			if (is_empty(t))
				continue;
			(void)snprintf(labels, sizeof(labels), "figure=\"%u\",result=\"%s\"", f,
				       r == 0 ? "done" : "failed");
			timing(out, METRIC_DURATION, labels, t);
		}
	}
}

static void write_verdicts(const struct metrics *m, FILE *out)
{
	char labels[160];

	head(out, METRIC_VERDICTS);
	for (size_t i = 0; i < VERDICTS; i++) {
		enum verdict_id id = verdict_ids[i];

		(void)snprintf(labels, sizeof(labels), "verdict=\"%s\",leg=\"%s\",retry=\"%s\"",
			       verdict_name(id), leg_name(verdict_leg(id)),
			       retry_name(verdict_retry(id)));
		value(out, METRIC_VERDICTS, labels, m->verdicts[i]);
	}
}

static void write_by(FILE *out, enum metric id, const char *label, const char *const *names,
		     const size_t *values, size_t count)
{
	char labels[64];

	head(out, id);
	for (size_t i = 0; i < count; i++) {
		(void)snprintf(labels, sizeof(labels), "%s=\"%s\"", label, names[i]);
		value(out, id, labels, values[i]);
	}
}

void gateway_metrics_write(const struct metrics *m, const struct metrics_now *now, FILE *out)
{
	static const char *const levels[] = {"none", "encrypted", "authenticated"};
	static const char *const pools[] = {[METRICS_POOL_FILLED] = "filled",
					    [METRICS_POOL_LOW] = "low",
					    [METRICS_POOL_EMPTY] = "empty",
					    [METRICS_POOL_USER] = "user"};

	if (!m)
		return;
	head(out, METRIC_BUILD);
	value(out, METRIC_BUILD, "version=\"" PACKAGE_VERSION "\"", 1);
	one(out, METRIC_START, now->started);
	head(out, METRIC_LAG);
	(void)fprintf(out, "%s ", descriptions[METRIC_LAG].name);
	seconds(out, m->lag * 1000);
	(void)fputc('\n', out);
	write_by(out, METRIC_LINKS, "level", levels, now->links, 3);
	one(out, METRIC_LINKS_TOTAL, now->counters.links);
	one(out, METRIC_WAN_UP, m->wan_up ? 1 : 0);
	one(out, METRIC_WAN_CONNECTS, m->connects);
	one(out, METRIC_WAN_LOSSES, m->losses);
	one(out, METRIC_RUNNING, now->procedures);
	one(out, METRIC_PROCEDURES, now->counters.procedures);
	write_verdicts(m, out);
	write_steps(m, out);
	one(out, METRIC_RELAYED, now->counters.relayed);
	one(out, METRIC_COALESCED, now->counters.coalesced);
	one(out, METRIC_REFUSED, now->counters.refused);
	one(out, METRIC_REPORTS, now->counters.reports);
	write_by(out, METRIC_POOLS, "state", pools, now->pools, METRICS_POOLS);
	one(out, METRIC_KEYS, now->keys_left);
	head(out, METRIC_COMMITS);
	timing(out, METRIC_COMMITS, "", &m->commits);
	one(out, METRIC_BATCHES, m->batches);
	one(out, METRIC_RECORDS, now->records);
	one(out, METRIC_LEDGER, now->ledger);
}

void gateway_metrics_write_markdown(FILE *out)
{
	(void)fputs("| metric | type | labels | meaning |\n|---|---|---|---|\n", out);
	for (size_t i = 0; i < METRICS; i++)
		(void)fprintf(out, "| `%s` | %s | %s | %s |\n", descriptions[i].name,
			      type_names[descriptions[i].type], descriptions[i].labels,
			      descriptions[i].meaning);
}
