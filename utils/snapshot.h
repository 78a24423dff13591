/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.h - a private copy of a statistics page, and what changed between two of them
 *
 * Views, checks, the full screen and the exporter work on copies, so that all figures of one answer are
 * of one look.
 */
#ifndef UTILS_SNAPSHOT_H
#define UTILS_SNAPSHOT_H

#include <stdbool.h>

#include "kvshm/stats/statpage.h"
#include "utils/target.h"

struct snapshot {
	enum target_state state;
	uint64_t at_ns;			/* when it was taken, CLOCK_MONOTONIC */
	uint64_t start_ns, pid;		/* of the daemon */
	char dir[512];			/* where the page lies */
	uint64_t heartbeat_ns[KVSHM_STATS_THREADS];	/* 0: no such thread */
	uint64_t metric[METRIC_LAST];
	struct hist hist[HIST_LAST];
	char text[KVSHM_STATS_TEXTS][KVSHM_STATS_TEXT_LEN];
	struct kvshm_stats_session session[KVSHM_STATS_SESSIONS];	/* those in use, labels printable */
	unsigned nr_sessions, nr_torn;
	struct kvshm_stats_use use[STAT_USES];	/* by stat_use_ns() and stat_use_class() */
	bool has_pids;			/* pids are those of this PID namespace */
	uint64_t prefill_rate;		/* tokens a second that an engine here computes; 0: nobody said */
};

/* Look at the page of @t once.  Prints why not.  Return: EXIT_FINE, else the exit status. */
int snapshot_take(const struct target *t, struct snapshot *ret_s);

/* The same without a word.  Return: 0, -errno as of instance_stats() and statpage_open(). */
int snapshot_look(const struct target *t, struct snapshot *ret_s);

/* The same of a page that is open. */
void snapshot_copy(const struct statpage *p, struct snapshot *ret_s);

/**
 * snapshot_rate() - how fast a counter grew
 * @before: an earlier one, NULL: since the daemon's start
 * Another daemon in between: since its start.  Return: per second.
 */
double snapshot_rate(const struct snapshot *now, const struct snapshot *before, enum metric m);

/* Blocks found of those asked for, 0 to 1; 0 when nothing was asked.  @before as above. */
double snapshot_hit_ratio(const struct snapshot *now, const struct snapshot *before);

bool snapshot_is_counter(enum metric m);

#endif
