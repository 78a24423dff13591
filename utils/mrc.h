/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mrc.h - miss-ratio curve of a trace under leaf-lru, all sizes in one pass
 *
 * A request uses its chain tail first, so a block is never older than its children: leaf-lru with bypass
 * evicts exactly what LRU over single blocks does, and a block hits at all sizes from its stack
 * distance up.  Distances are counted in a Fenwick tree over the order of use.
 *
 * A policy that is no stack has no such pass; what it makes of a size is found by a run at that size.
 */
#ifndef UTILS_MRC_H
#define UTILS_MRC_H

#include "utils/sim.h"

struct mrc {
	uint64_t uses;			/* of blocks, all */
	uint32_t nr_blocks;
	uint64_t *hits;			/* [nr_blocks + 1]: at that many blocks, so it never falls */
};

/**
 * mrc_run() - the curve
 * @type: of requests, as in the trace's hints, counted as if alone; -1: all
 * Return: 0, -ENOMEM.
 */
int mrc_run(const struct sim_trace *t, int type, struct mrc *ret);
void mrc_fini(struct mrc *m);

/* Sizes that are printed, in percent of the unique blocks. */
#define MRC_SIZES 16u
extern const double mrc_shares[MRC_SIZES];

/* Size number @i of @nr_blocks, at least 1. */
uint64_t mrc_size_at(uint32_t nr_blocks, unsigned i);

/* Block hit ratio with @blocks blocks, 0..1. */
double mrc_hit_ratio(const struct mrc *m, uint64_t blocks);

/* ---- another policy (mrc_policy.c) ------------------------------------------------------------------ */

/* What is asked about a trace. */
struct mrc_question {
	const struct policy_ops *policy;	/* NULL: leaf-lru alone */
	uint32_t block_bytes;		/* 0: not known */
	uint64_t at, more;		/* blocks now, and blocks more; 0: the sizes alone */
	bool shows_progress;
};

/* Block hit ratios of the policy; NaN where it was not asked. */
struct mrc_policy {
	double at_size[MRC_SIZES];
	double now, then;
};

/**
 * mrc_policy_run() - simulate the policy at each size
 * @curve: of the same trace, all types.  It is the answer where nothing is ever evicted, and for leaf-lru
 * Return: 0, -ENOMEM.
 */
int mrc_policy_run(const struct sim_trace *t, const struct mrc *curve, const struct mrc_question *q,
		   struct mrc_policy *ret);

/* The policy of that name, or NULL, and the names that are known are told. */
const struct policy_ops *mrc_find_policy(const char *name);

#endif
