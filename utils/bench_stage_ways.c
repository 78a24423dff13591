/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_stage_ways.c - each way of the plan, both directions, beside one large pinned copy
 *
 * Pairs alternate: the floor, then the job of the same bytes.  The job's time is from the call of submit to the look
 * that sees it landed, planning and issuing included (on the fake's clock: what its model gives a call).
 */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "utils/bench_stage.h"
#include "utils/commands.h"

#define PAIRS 30u
#define WARM_UP 5u
#define FAKE_RUNS 1u			/* of each: they are equal */
#define MAX_NODES 8u

/* On the fake's clock the processor's copies take no time: no figure then. */
struct way {
	const char *name;
	uint32_t ways;
	bool has_2d, is_bounced, is_real_only;
};

static const struct way all_ways[] = {
	{ "copies", STAGE_MAY(STAGE_WAY_COPY), false, false, false },
	{ "copies_2d", STAGE_MAY(STAGE_WAY_COPY), true, false, false },
	{ "batch", STAGE_MAY(STAGE_WAY_BATCH), true, false, false },
	{ "landing", STAGE_MAY(STAGE_WAY_LAND), true, false, false },
	{ "direct", STAGE_MAY(STAGE_WAY_DIRECT), true, false, false },
	{ "bounce", STAGE_MAY_ALL, true, true, true },
	{ "chosen", STAGE_MAY_ALL, true, false, false },
};

struct way_figures {
	struct samples own, plain, submit;
	struct stage_job_info info;
};

static int one_job(struct stage_world *w, struct stage *s, enum stage_dir dir, uint32_t per_step, struct way_figures *f,
		   bool is_counted)
{
	uint64_t start = stage_world_now(w), real = clock_ns();
	struct stage_job *job;
	double plain, own;
	int ret = stage_world_submit(w, s, dir, w->nr, per_step, &job);

	if (ret < 0)
		return ret;
	real = clock_ns() - real;
	ret = stage_world_wait(w, job, UINT32_MAX);
	own = (double)(stage_world_now(w) - start);
	stage_job_info(job, &f->info);
	stage_job_put(job);
	if (ret < 0)
		return ret;
	plain = stage_world_plain(w, dir, f->info.bytes);
	if (plain < 0)
		return (int)plain;
	if (is_counted) {
		samples_add(&f->own, own);
		samples_add(&f->plain, plain);
		samples_add(&f->submit, (double)real);
	}
	return 0;
}

static int run_way(struct stage_world *w, const struct way *way, enum stage_dir dir, uint32_t per_step,
		   struct way_figures *f)
{
	const struct hostreg *reg = w->host.reg;
	uint32_t features = w->cu.features, warm_up = w->fake ? FAKE_RUNS : WARM_UP, nr = w->fake ? FAKE_RUNS : PAIRS;
	struct stage *s;
	int ret;

	if (!way->has_2d)
		w->cu.features &= ~(1u << CUDA_F_COPY_2D);
	if (way->is_bounced)
		w->host.reg = NULL;
	ret = stage_world_stage(w, way->ways, 1, &s);
	if (!ret && !(stage_ways(s) & way->ways))
		ret = -EOPNOTSUPP;
	else if (!ret)
		for (unsigned i = 0; i < warm_up + nr && !ret; i++)
			ret = one_job(w, s, dir, per_step, f, i >= warm_up);
	if (ret != -ENOMEM)
		stage_destroy(s, clock_ns() + STAGE_WAIT_NS);
	w->cu.features = features;
	w->host.reg = (struct hostreg *)reg;
	return ret;
}

static double ratio_of(struct way_figures *f)
{
	return samples_quantile(&f->plain, 0.5) / samples_quantile(&f->own, 0.5);
}

static void report_way(const struct stage_world *w, const struct way *way, enum stage_dir dir, uint32_t per_step,
		       struct way_figures *f, struct jdoc *j)
{
	static const char *const chosen[] = { "copies", "batch", "landing", "direct" };
	struct jdoc *row = jdoc_append(j, "ways");
	bool has_time = !w->fake || !way->is_real_only;

	jdoc_text(row, "way", way->name);
	jdoc_text(row, "dir", dir == STAGE_H2D ? "h2d" : "d2h");
	jdoc_int(row, "layers_per_step", per_step ? per_step : w->l.nr_layers);
	jdoc_text(row, "planned_as", chosen[f->info.way]);
	jdoc_real(row, "ratio", has_time ? ratio_of(f) : NAN);
	jdoc_real(row, "gb_per_s", has_time ? (double)f->info.bytes / samples_quantile(&f->own, 0.5) : NAN);
	jdoc_real(row, "pinned_gb_per_s", (double)f->info.bytes / samples_quantile(&f->plain, 0.5));
	jdoc_real(row, "copies_per_block", (double)f->info.nr_copies / w->nr);
	jdoc_int(row, "launches", f->info.nr_launches);
	jdoc_real(row, "landed_us", has_time ? samples_quantile(&f->own, 0.5) / 1000 : NAN);
	jdoc_real(row, "expected_us", f->info.cost_ns / 1000);
	/* of this processor, also on the fake */
	jdoc_real(row, "submit_cpu_us", samples_quantile(&f->submit, 0.5) / 1000);
}

static void free_figures(struct way_figures *f)
{
	samples_fini(&f->own);
	samples_fini(&f->plain);
	samples_fini(&f->submit);
}

/* The figures that are named in a target: of what the cost model chooses. */
static void report_chosen(const struct stage_world *w, enum stage_dir dir, uint32_t per_step, struct way_figures *f,
			  struct jdoc *j)
{
	if (!per_step && dir == STAGE_H2D)
		jdoc_real(j, "copies_per_block", (double)f->info.nr_copies / w->nr);
	if (per_step)
		jdoc_real(j, dir == STAGE_H2D ? "h2d_layered_ratio" : "d2h_layered_ratio", ratio_of(f));
	else
		jdoc_real(j, dir == STAGE_H2D ? "h2d_ratio" : "d2h_ratio", ratio_of(f));
}

/* How far the cost model was off. */
static double cost_error(const struct stage_world *w, const struct way *way, struct way_figures *f)
{
	const double ns = samples_quantile(&f->own, 0.5);

	return w->fake && way->is_real_only ? 0 : fabs(f->info.cost_ns - ns) / ns;
}

static int measure_way(struct stage_world *w, const struct way *way, enum stage_dir dir, uint32_t per_step,
		       struct jdoc *j, double *error_max)
{
	struct way_figures f = { 0 };
	int ret = run_way(w, way, dir, per_step, &f);

	if (!ret) {
		report_way(w, way, dir, per_step, &f, j);
		*error_max = fmax(*error_max, cost_error(w, way, &f));
		if (way == &all_ways[ARRAY_SIZE(all_ways) - 1])
			report_chosen(w, dir, per_step, &f, j);
	}
	free_figures(&f);
	/* not every driver has every way */
	return ret == -EOPNOTSUPP ? 0 : ret;
}

int stage_report_ways(struct stage_world *w, struct jdoc *j)
{
	double error_max = 0;
	int ret = 0;

	for (enum stage_dir dir = STAGE_H2D; dir <= STAGE_D2H; dir++)
		for (uint32_t per_step = 0; per_step <= 1; per_step++)
			for (unsigned i = 0; i < ARRAY_SIZE(all_ways) && !ret; i++)
				ret = measure_way(w, &all_ways[i], dir, per_step, j, &error_max);
	jdoc_real(j, "cost_error_max", error_max);
	return ret;
}

/* ---- by NUMA node ------------------------------------------------------------------------------------------ */

static unsigned list_nodes(int *nodes)
{
	DIR *d = opendir("/sys/devices/system/node");
	struct dirent *e;
	unsigned nr = 0;
	int n;

	while (d && nr < MAX_NODES && (e = readdir(d)))
		if (sscanf(e->d_name, "node%d", &n) == 1)
			nodes[nr++] = n;
	if (d)
		closedir(d);
	return nr;
}

static int measure_node(struct stage_world *w, int node, struct jdoc *j)
{
	struct jdoc *row = jdoc_append(j, "nodes");
	int ret = 0;

	jdoc_int(row, "node", node);
	jdoc_bool(row, "is_near", node == w->ctx.device.node);
	for (enum stage_dir dir = STAGE_H2D; dir <= STAGE_D2H && !ret; dir++) {
		struct way_figures f = { 0 };

		ret = run_way(w, &all_ways[ARRAY_SIZE(all_ways) - 1], dir, 0, &f);
		jdoc_real(row, dir == STAGE_H2D ? "h2d_gb_per_s" : "d2h_gb_per_s",
			  (double)f.info.bytes / samples_quantile(&f.own, 0.5));
		free_figures(&f);
	}
	return ret;
}

int stage_report_nodes(struct stage_world *w, struct jdoc *j)
{
	int nodes[MAX_NODES], ret = 0;
	unsigned nr = list_nodes(nodes);

	jdoc_array(j, "nodes");
	for (unsigned i = 0; i < nr && !ret; i++) {
		/* a node without memory, or a kernel that binds nothing */
		if (stage_world_arena(w, nodes[i]) < 0)
			continue;
		ret = measure_node(w, nodes[i], j);
	}
	return ret;
}
