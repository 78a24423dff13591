/* SPDX-License-Identifier: Apache-2.0 */
/* views.h - what kvshm stat, top and the exporter's page show: each view fills a table */
#ifndef UTILS_VIEWS_H
#define UTILS_VIEWS_H

#include "utils/snapshot.h"
#include "utils/table.h"

struct view {
	const char *name;
	/* @before: an earlier look, for rates; NULL: since the daemon's start.  table_end() is the caller's. */
	void (*fill)(struct table *t, const struct snapshot *now, const struct snapshot *before);
	const char *summary;
};

extern const struct view views[];		/* ends with a NULL name; the first is "summary" */

/* NULL: there is none of that name. */
const struct view *view_find(const char *name);

void view_clients(struct table *t, const struct snapshot *now, const struct snapshot *before);	/* view_clients.c */
void view_namespaces(struct table *t, const struct snapshot *now, const struct snapshot *before);	/* view_directory.c */
void view_hist(struct table *t, const struct snapshot *now, const struct snapshot *before);	/* view_hist.c */
void view_events(struct table *t, const struct snapshot *now, const struct snapshot *before);	/* view_events.c */
void view_config(struct table *t, const struct snapshot *now, const struct snapshot *before);	/* view_config.c */
void view_classes(struct table *t, const struct snapshot *now, const struct snapshot *before);	/* view_uses.c */
void view_queues(struct table *t, const struct snapshot *now, const struct snapshot *before);	/* view_queues.c */
void view_numa(struct table *t, const struct snapshot *now, const struct snapshot *before);

/* Prefill that @hit_tokens saved at @prefill_rate tokens a second; CELL_NONE: the rate is not known, 0. */
uint64_t view_saved_ns(uint64_t prefill_rate, uint64_t hit_tokens);

/* What is counted of a group of uses, in columns of both views that show it; @row: the first of them. */
#define VIEW_USE_COLUMNS                                                                                   \
	{ "hit_blocks", "FOUND", CELL_COUNT, 10, false }, { "put_blocks", "PUT", CELL_COUNT, 10, false }, \
	{ "found_ratio", "FOUND%", CELL_RATIO, 6, false }, { "hit_tokens", "HIT TOKENS", CELL_COUNT, 11, true }, \
	{ "put_tokens", "PUT TOKENS", CELL_COUNT, 11, true }, { "saved_prefill_ns", "SAVED", CELL_AGE, 6, true }
void view_use(struct cell *row, const struct kvshm_stats_use *use, uint64_t prefill_rate);

/* The cells of histogram @name ("op=grant", or the family's name) that hold something.  Return: 0; -1 no such. */
int view_hist_cells(struct table *t, const struct snapshot *now, const char *name);

/* The summary for people, in 80 columns; rates and the hit ratio are of the time since @before. */
void summary_print(const struct snapshot *now, const struct snapshot *before, FILE *out);

#endif
