#ifndef PNGW_GATEWAY_METRICS_H
#define PNGW_GATEWAY_METRICS_H

/*
 * What pngwd counts and times, as Prometheus text: doc/metrics.md lists every metric, made from
 * metrics.def. No label has an Entity ID, a user or an address: what can be many or personal is
 * counted by state. One thread; times are milliseconds of any monotonic clock.
 */

#include <stdio.h>

#include "gateway/core.h"

struct metrics;

/* NULL: out of memory. */
struct metrics *gateway_metrics_new(void);
void gateway_metrics_free(struct metrics *m); /* NULL is allowed */

/* All that follow do nothing where m is NULL. */

/* A step of a figure was done for a user and a PNE ("" where the figure has none). */
void gateway_metrics_step(struct metrics *m, uint64_t now, enum figure figure, unsigned step,
			  const struct name *user, const struct name *entity);
/* A procedure has ended. */
void gateway_metrics_verdict(struct metrics *m, uint64_t now, const struct verdict *v);
/* A commit of the vault that made so many batches durable. */
void gateway_metrics_commit(struct metrics *m, uint64_t microseconds, size_t batches);
void gateway_metrics_wan(struct metrics *m, bool up);
/* How late a timer was, in milliseconds. */
void gateway_metrics_lag(struct metrics *m, uint64_t late);

/* What is read off when the text is made. */
enum metrics_pool { METRICS_POOL_FILLED, METRICS_POOL_LOW, METRICS_POOL_EMPTY, METRICS_POOL_USER };
#define METRICS_POOLS 4
struct metrics_now {
	uint64_t started;  /* seconds since 1970 */
	size_t links[3];   /* by enum pan_security */
	size_t procedures; /* under way */
	size_t pools[METRICS_POOLS];
	size_t keys_left;
	uint64_t records, ledger;
	struct core_counters counters;
};
void gateway_metrics_write(const struct metrics *m, const struct metrics_now *now, FILE *out);

/* The table of metrics for doc/metrics.md. */
void gateway_metrics_write_markdown(FILE *out);

#endif
