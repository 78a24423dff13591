/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_stage_layers.c - does loading hide behind computing, layer by layer?
 *
 * The engine's stream waits for a layer, computes it, waits for the next.  Exposed is what that takes longer than the
 * same kernels alone.
 * For L layers with load l and compute c each it is l where l <= c, else L * (l - c) + c: then the last layer lands
 * after L * l, and is computed.  l is measured in the same run, without computing.
 */
#include <errno.h>
#include <math.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "utils/bench_stage.h"

#define REPEATS 20u
#define FAKE_REPEATS 1u			/* they are equal */
#define WARM_UP 1u

/* ---- a forward pass ------------------------------------------------------------------------------------ */

/* Its stream waits for the layer, then computes; the processor waits for nothing but slices. */
static int engine_layer(struct stage_engine *e, struct stage *s, struct stage_job *job, uint32_t layer,
			uint64_t compute_ns)
{
	int ret = 0;

	while (job && (ret = stage_job_block(job, layer, e->stream.stream)) == -EAGAIN)
		stage_poll(s);
	return ret == 0 && compute_ns ? stage_engine_compute(e, compute_ns) : ret;
}

/* All layers, loaded first with @s, each computed.  Return: ns from the begin to the end of the last, or -errno. */
static double pass(struct stage_world *w, struct stage_engine *e, struct stage *s, uint64_t compute_ns)
{
	uint64_t start = stage_world_now(w);
	struct stage_job *job = NULL;
	int ret = s ? stage_world_submit(w, s, STAGE_H2D, w->nr, 1, &job) : 0;

	for (uint32_t i = 0; i < w->l.nr_layers && ret >= 0; i++)
		ret = engine_layer(e, s, job, i, compute_ns);
	if (ret >= 0)
		ret = stage_world_stream(w, &e->stream);
	start = stage_world_now(w) - start;
	if (job && ret >= 0)
		ret = stage_world_wait(w, job, UINT32_MAX);
	stage_job_put(job);
	return ret < 0 ? ret : (double)start;
}

static double median_pass(struct stage_world *w, struct stage_engine *e, struct stage *s, uint64_t compute_ns)
{
	unsigned nr = w->fake ? FAKE_REPEATS : REPEATS;
	struct samples v = { 0 };
	double ns = 0;

	for (unsigned i = 0; i < WARM_UP + nr && ns >= 0; i++) {
		ns = pass(w, e, s, compute_ns);
		if (i >= WARM_UP && ns >= 0)
			samples_add(&v, ns);
	}
	ns = ns < 0 ? ns : samples_quantile(&v, 0.5);
	samples_fini(&v);
	return ns;
}

/* ---- what is exposed ---------------------------------------------------------------------------------------- */

static double formula(double layers, double load, double compute)
{
	return load <= compute ? load : layers * (load - compute) + compute;
}

static int report_one(struct stage_world *w, struct stage_engine *e, struct stage *s, double load, double ratio, struct jdoc *j,
		      double *error_max)
{
	double layers = w->l.nr_layers, alone = median_pass(w, e, NULL, (uint64_t)(load * ratio));
	double both = median_pass(w, e, s, (uint64_t)(load * ratio)), compute, want, error;
	struct jdoc *row;

	if (alone < 0 || both < 0)
		return (int)min_of(alone, both);
	/* as it was, launches included */
	compute = alone / layers;
	want = formula(layers, load, compute);
	error = fabs(both - alone - want) / want;
	*error_max = max_of(*error_max, error);
	row = jdoc_append(j, "exposed");
	jdoc_real(row, "compute_load_ratio", ratio);
	jdoc_real(row, "load_us", load / 1000);
	jdoc_real(row, "compute_us", compute / 1000);
	jdoc_real(row, "exposed_us", (both - alone) / 1000);
	jdoc_real(row, "formula_us", want / 1000);
	jdoc_real(row, "error_ratio", error);
	jdoc_real(row, "hidden_percent", 100 * (1 - (both - alone) / (layers * load)));
	return 0;
}

static int report_exposed(struct stage_world *w, struct stage_engine *e, struct stage *s, struct jdoc *j)
{
	static const double ratios[] = { 0.25, 0.5, 1, 2 };
	double load = median_pass(w, e, s, 0) / w->l.nr_layers, error_max = 0;
	int ret = load < 0 ? -EIO : 0;

	for (unsigned i = 0; i < ARRAY_SIZE(ratios) && !ret; i++)
		ret = report_one(w, e, s, load, ratios[i], j, &error_max);
	if (!ret)
		jdoc_real(j, "formula_error_max", error_max);
	return ret;
}

int stage_report_layers(struct stage_world *w, struct jdoc *j)
{
	struct stage_engine e = { 0 };
	struct stage *s;
	int ret = stage_world_stage(w, STAGE_MAY_ALL, 2, &s);

	if (ret < 0)
		return ret;
	ret = stage_engine_open(w, &e);
	if (!ret)
		ret = report_exposed(w, &e, s, j);
	stage_engine_close(w, &e);
	stage_destroy(s, clock_ns() + STAGE_WAIT_NS);
	return ret;
}
