/* SPDX-License-Identifier: Apache-2.0 */
/* bench_stage.h - what the parts of kvshm bench stage share, and kvshm bench tier: a device, an arena, an engine's pool */
#ifndef UTILS_BENCH_STAGE_H
#define UTILS_BENCH_STAGE_H

#include "gpu/cuda_fake.h"
#include "gpu/geometry.h"
#include "gpu/stage.h"
#include "gpu/stream.h"
#include "utils/bench.h"

#define STAGE_WAIT_NS 60000000000ull	/* bound of any wait */

struct stage_world {
	struct cuda cu;
	const struct cuda_fake *fake;	/* NULL: a real driver */
	struct gpu_ctx ctx;
	const struct gpu_model *model;
	const struct gpu_order *order;
	struct gpu_layout l;
	uint32_t nr;			/* blocks of a job */
	CUdeviceptr pool;
	uint64_t pool_len;
	char *arena;
	uint64_t arena_len;
	struct hostreg *reg;
	struct stage_host host;
	struct gpu_stream plain[2];	/* for the floor, by direction */
	struct stage_item *items;
	struct stage_cost cost;		/* guesses, until stage_report_costs() */
};

/**
 * stage_world_open() - driver, device, pool of four times @nr blocks, arena, all by the options
 * @bench: whose messages they are
 * Return: an exit status; prints why.
 */
int stage_world_open(struct stage_world *w, const struct bench_options *o, const char *bench);
void stage_world_close(struct stage_world *w);

/* Another arena, on NUMA node @node (-1: wherever), in place of the present one.  Return: 0, -errno. */
int stage_world_arena(struct stage_world *w, int node);

/* Items scattered on both sides: no two neighbours. */
void stage_world_items(struct stage_world *w);

/* What the figures are of: device, driver, model, blocks. */
void stage_world_report(const struct stage_world *w, struct jdoc *j);

/* The fake driver as at the begin: no rules, counts from zero, nothing in flight, its model of times. */
void stage_world_reset(struct stage_world *w);

/* Now, on the clock that copies take their time by. */
uint64_t stage_world_now(const struct stage_world *w);

/* A stage of these ways for jobs of .nr blocks.  Return: 0, -errno. */
int stage_world_stage(const struct stage_world *w, uint32_t ways, uint32_t nr_jobs, struct stage **ret_s);

/* A job of the first @nr items.  Return: 0, -errno. */
int stage_world_submit(struct stage_world *w, struct stage *s, enum stage_dir dir, uint32_t nr, uint32_t per_step,
		       struct stage_job **ret_j);

/* Until a layer has landed, or all with UINT32_MAX.  Return: 1, -errno as stage_job_wait(). */
int stage_world_wait(struct stage_world *w, struct stage_job *j, uint32_t layer);

/* Until all on it has landed.  Return: 1, -errno. */
int stage_world_stream(struct stage_world *w, struct gpu_stream *s);

/* One pinned copy of @len bytes.  Return: ns, or -errno. */
double stage_world_plain(struct stage_world *w, enum stage_dir dir, uint64_t len);

/* bench_stage_engine.c: an engine's stream, and its kernel */
struct stage_engine {
	struct gpu_stream stream;
	CUmodule module;
	CUfunction busy;
};

/* Return: 0, -errno: stage_engine_close() all the same. */
int stage_engine_open(struct stage_world *w, struct stage_engine *e);
void stage_engine_close(struct stage_world *w, struct stage_engine *e);
/* A kernel that takes @ns onto its stream.  Return: 0, -errno. */
int stage_engine_compute(struct stage_engine *e, uint64_t ns);

/* bench_stage_costs.c: what was measured as a file for the planner.  Return: an exit status; prints why. */
int stage_costs_write(const struct stage_world *w, const char *path);

/* The parts of the report.  Return: 0, -errno. */
int stage_report_costs(struct stage_world *w, struct jdoc *j);	/* bench_stage_costs.c; the others plan by them */
int stage_report_ways(struct stage_world *w, struct jdoc *j);	/* bench_stage_ways.c */
int stage_report_nodes(struct stage_world *w, struct jdoc *j);
int stage_report_layers(struct stage_world *w, struct jdoc *j);	/* bench_stage_layers.c */
int stage_report_first(struct stage_world *w, struct jdoc *j);	/* bench_stage_first.c */
int stage_report_failures(struct stage_world *w, struct jdoc *j);	/* bench_stage_fail.c */

#endif
