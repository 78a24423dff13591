/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace.h - the parts of `kvshm trace`
 */
#ifndef UTILS_TRACE_H
#define UTILS_TRACE_H

#include <stdio.h>

#include "utils/json.h"
#include "utils/reader_load.h"

/* ---- characterise (trace_study.c) ------------------------------------------------------------------ */

/* Requests of one type at one turn: what was reused of the blocks that they used, and when. */
struct study_class {
	unsigned type, turn;		/* as in hints.h: turn 1, 2, 3 (3-4), 4 (5-9), 5 (10+), 0 not known */
	uint64_t requests, blocks, block_hits;
	uint64_t reused;		/* of its uses of blocks: those that were followed by another use */
	double *reuse_s;		/* sorted, [reused] */
	double *life_s;			/* sorted, [nr_lives]: first to last use of the blocks that it brought */
	size_t nr_lives;
	/* Of P(reused within t) = p (1 - exp(-t / mean)): what fits best, and the largest distance from it. */
	double fit_p, fit_mean_s, fit_distance;
};

struct study {
	uint64_t requests, blocks, unique, block_hits, tokens, token_hits;
	double span_s;
	uint64_t single_hits, multi_hits;	/* hits of first requests of sessions; of later ones */
	uint64_t same_session_hits;		/* the block's use before was the session's own */
	double top10_share;			/* of all hits that go to the tenth of blocks with the most */
	uint64_t reused_blocks;			/* blocks with a second use */
	struct study_class all;			/* type and turn 0 */
	struct study_class *class;
	unsigned nr_classes;
};

/* All of a trace.  Return: 0, -ENOMEM. */
int study_run(const struct sim_trace *t, struct study *ret);
void study_fini(struct study *s);

/* The value that a share @q of @n sorted ones does not exceed; NaN if there are none. */
double study_quantile(const double *sorted, size_t n, double q);

/* The share of @n sorted values that are at most @limit; NaN if there are none. */
double study_share_within(const double *sorted, size_t n, double limit);

/* ---- generate (tracegen.c) ---------------------------------------------------------------------------- */

struct tracegen {
	const char *load;		/* "chat", "api", "agent" or "mix" */
	const char *recipe;		/* "trace-a" or "trace-b" instead; NULL: none */
	uint64_t seed;
	uint64_t requests;		/* 0: as many as is usual */
	double rate;			/* requests a second, 0: the load's own */
	uint32_t block_tokens;
};

/* Write a trace of our own form.  Return: 0; -EINVAL unknown load or recipe; -ENOMEM; -EIO. */
int tracegen_write(const struct tracegen *g, FILE *out);

#endif
