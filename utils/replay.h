/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay.h - the parts of `kvshm replay`: options, the grid of runs, what is printed of it
 *
 * Results stand in the order trace, capacity, policy.  Nothing is printed before all runs are done.
 */
#ifndef UTILS_REPLAY_H
#define UTILS_REPLAY_H

#include <stdio.h>

#include "utils/reader_load.h"
#include "utils/sim.h"

#define REPLAY_LIST_MAX 32u		/* policies, and capacities */
#define REPLAY_CURVE 100u		/* points over time */

enum replay_output { REPLAY_TEXT, REPLAY_JSON, REPLAY_CSV };

struct replay_options {
	const struct policy_ops *policy[REPLAY_LIST_MAX];
	unsigned nr_policies;
	char *capacity[REPLAY_LIST_MAX];	/* as given */
	unsigned nr_capacities;
	uint32_t block_bytes;		/* 0: not given */
	struct reader_options reader;
	struct policy_cost cost;
	double theta;
	enum sim_mode mode;
	enum replay_output output;
	bool has_gap;			/* leaf-lru and belady run too where they are not asked for */
	bool is_quiet;
	const char *plot;		/* NULL: none */
};

struct replay_result {
	const char *trace;		/* base name */
	const struct policy_ops *policy;
	const char *capacity;
	uint64_t capacity_blocks, unique_blocks;
	struct sim_result sim;
	double block_hit_ratio, token_hit_ratio;
	double ideal_ratio, opt_ratio, gap_ratio;	/* of block hits; NaN: not known */
	double bytes_per_block, bytes_per_ghost;
	struct {
		uint32_t asked, hit;
	} curve[REPLAY_CURVE];		/* over the time of the trace */
};

struct replay_results {
	struct replay_result *r;
	size_t nr;
};

/**
 * replay_capacity() - what a capacity means for a trace
 * @text: "5%" of its unique blocks, rounded down; "9139" blocks; "16G" bytes (K M G T, binary, also KiB)
 * @block_bytes: 0: bytes are refused
 * @ret_why: READER_WHY_LEN bytes, set on failure
 * Return: 0, -EINVAL no capacity, 0 blocks, or more than the trace has.
 */
int replay_capacity(const char *text, uint64_t unique_blocks, uint32_t block_bytes, uint64_t *ret_blocks,
		    char *ret_why);

/* Add the runs of one trace.  Says what is wrong.  Return: 0, an exit status. */
int replay_run(const struct replay_options *o, const char *path, const struct loaded_trace *l,
	       struct replay_results *results);

void report_text(const struct replay_results *results, FILE *out);
void report_csv(const struct replay_results *results, FILE *out);
void report_json(const struct replay_results *results, FILE *out);

/* Can @path be drawn?  Says why not.  Return: 0, an exit status. */
int replay_plot_check(const char *path);
/* Draw; @path is replaced only by a whole picture.  Says what is wrong.  Return: 0, an exit status. */
int replay_plot(const struct replay_results *results, const char *path);

#endif
