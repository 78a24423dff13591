/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_stage_first.c - when the first byte leaves
 *
 * From submit to landed of the least job there is, one layer of one block, bounds it.  What a larger job adds is the
 * processor's time until the first operation is in the driver's hands: of all blocks, once with one layer and once with
 * all, a layer a step.  That one is this processor's on the fake too.
 */
#include <errno.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "utils/bench_stage.h"

#define REPEATS 200u
#define FAKE_REPEATS 1u			/* on its clock they are equal */
#define CALL_REPEATS 30u
#define WARM_UP 2u

/* ---- the least job --------------------------------------------------------------------------------------- */

/* Return: ns from submit to landed, -errno. */
static double land_one(struct stage_world *w, struct stage *s)
{
	const struct stage_list list[GPU_GROUPS_MAX] = { { w->items, 1 } };
	const struct stage_work work = { .dir = STAGE_H2D, .host = &w->host, .list = list, .nr_layers = 1 };
	uint64_t start = stage_world_now(w);
	struct stage_job *job;
	int ret = stage_submit(s, &work, &job);

	if (ret < 0)
		return ret;
	ret = stage_world_wait(w, job, UINT32_MAX);
	start = stage_world_now(w) - start;
	stage_job_put(job);
	return ret < 0 ? ret : (double)start;
}

static int report_least(struct stage_world *w, struct stage *s, struct jdoc *j)
{
	unsigned nr = w->fake ? FAKE_REPEATS : REPEATS;
	struct samples v = { 0 };
	double ns = 0;

	for (unsigned i = 0; i < WARM_UP + nr && ns >= 0; i++) {
		ns = land_one(w, s);
		if (i >= WARM_UP && ns >= 0)
			samples_add(&v, ns);
	}
	if (ns >= 0) {
		jdoc_real(j, "first_byte_us", samples_quantile(&v, 0.5) / 1000);
		jdoc_real(j, "first_byte_p99_us", samples_quantile(&v, 0.99) / 1000);
	}
	samples_fini(&v);
	return (int)min_of(ns, 0);
}

/* ---- the first call of a large one ------------------------------------------------------------------------- */

/* Stands between a stage and the driver, which has no argument for whom it is called by. */
static struct {
	struct cuda driver;
	uint64_t first_ns;		/* 0: none yet */
} tap;

static void tap_call(void)
{
	if (!tap.first_ns)
		tap.first_ns = clock_ns();
}

static CUresult tap_copy(CUdeviceptr dst, const void *src, size_t len, CUstream stream)
{
	tap_call();
	return tap.driver.MemcpyHtoDAsync(dst, src, len, stream);
}

static CUresult tap_copy_2d(const CUDA_MEMCPY2D *copy, CUstream stream)
{
	tap_call();
	return tap.driver.Memcpy2DAsync(copy, stream);
}

static CUresult tap_batch(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *lens, size_t nr, CUmemcpyAttributes *attrs,
			  size_t *attr_idxs, size_t nr_attrs, size_t *fail_idx, CUstream stream)
{
	tap_call();
	return tap.driver.MemcpyBatchAsync(dsts, srcs, lens, nr, attrs, attr_idxs, nr_attrs, fail_idx, stream);
}

static CUresult tap_launch(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
			   unsigned block_y, unsigned block_z, unsigned shared_len, CUstream stream, void **params,
			   void **extra)
{
	tap_call();
	return tap.driver.LaunchKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_len, stream,
				       params, extra);
}

static void tap_open(struct stage_world *w)
{
	tap.driver = w->cu;
	w->cu.MemcpyHtoDAsync = tap_copy;
	w->cu.Memcpy2DAsync = tap_copy_2d;
	w->cu.MemcpyBatchAsync = tap_batch;
	w->cu.LaunchKernel = tap_launch;
}

/* All blocks, @nr_layers (0: all), a layer a step.  Return: ns from submit to the first operation, -errno. */
static double first_call(struct stage_world *w, struct stage *s, uint32_t nr_layers)
{
	const struct stage_list list[GPU_GROUPS_MAX] = { { w->items, w->nr } };
	const struct stage_work work = { .dir = STAGE_H2D, .host = &w->host, .list = list, .nr_layers = nr_layers,
					 .layers_per_step = 1 };
	uint64_t start = clock_ns();
	struct stage_job *job;
	int ret;

	tap.first_ns = 0;
	ret = stage_submit(s, &work, &job);
	if (ret < 0)
		return ret;
	ret = stage_world_wait(w, job, UINT32_MAX);
	stage_job_put(job);
	return ret < 0 ? ret : (double)(tap.first_ns - start);
}

static int report_calls(struct stage_world *w, struct stage *s, struct jdoc *j)
{
	struct samples one = { 0 }, all = { 0 };
	double a = 0, z = 0;

	tap_open(w);
	for (unsigned i = 0; i < WARM_UP + CALL_REPEATS && a >= 0 && z >= 0; i++) {
		a = first_call(w, s, 1);
		z = first_call(w, s, 0);
		if (i < WARM_UP)
			continue;
		samples_add(&one, a);
		samples_add(&all, z);
	}
	w->cu = tap.driver;
	if (a >= 0 && z >= 0) {
		jdoc_real(j, "first_call_us", samples_quantile(&all, 0.5) / 1000);
		jdoc_real(j, "first_call_one_layer_us", samples_quantile(&one, 0.5) / 1000);
	}
	samples_fini(&one);
	samples_fini(&all);
	return (int)min_of(min_of(a, z), 0);
}

int stage_report_first(struct stage_world *w, struct jdoc *j)
{
	struct stage *s;
	int ret = stage_world_stage(w, STAGE_MAY_ALL, 1, &s);

	if (ret < 0)
		return ret;
	ret = report_least(w, s, j);
	if (!ret)
		ret = report_calls(w, s, j);
	stage_destroy(s, clock_ns() + STAGE_WAIT_NS);
	return ret;
}
