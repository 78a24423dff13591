/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_stage_costs.c - what copies and kernels cost here: the numbers that the planner weighs ways by
 *
 * Short operations go onto the stream in trains behind a copy that is long enough for all of them to be issued
 * meanwhile: so the processor's time and the engine's are seen apart.  What a byte costs comes from two sizes, which
 * takes away what every job costs.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gpu/cuda_err.h"
#include "gpu/event.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "utils/bench_stage.h"
#include "utils/commands.h"

#define REPEATS 15u
#define FAKE_REPEATS 1u			/* they are equal */
#define WARM_UP 1u
#define LONG_LEN (64ull << 20)		/* the copy in front, and the one that shows the link's rate */
#define TRAIN 128u			/* operations behind it */
#define SHORT_LEN 4096u
#define ROWS 64u
#define ROW_LEN 256u
#define ROW_PITCH 1024u

struct costs {
	struct stage_world *w;
	struct gpu_event from, to;
	struct stage *by_kernel;
	struct stage_cost c;
};

/* Medians; the first is thrown away.  Return: ns, or -errno. */
static double median(struct costs *k, double (*once)(struct costs *k, uint32_t arg), uint32_t arg)
{
	unsigned nr = k->w->fake ? FAKE_REPEATS : REPEATS;
	struct samples v = { 0 };
	double ns = 0;

	for (unsigned i = 0; i < WARM_UP + nr && ns >= 0; i++) {
		ns = once(k, arg);
		if (i >= WARM_UP && ns >= 0)
			samples_add(&v, ns);
	}
	ns = ns < 0 ? ns : samples_quantile(&v, 0.5);
	samples_fini(&v);
	return ns;
}

/* ---- trains ------------------------------------------------------------------------------------------------ */

enum train { COPIES, ROWS_2D };

static int push(struct costs *k, enum train what, uint32_t i)
{
	const uint64_t host = (uintptr_t)k->w->arena, dev = k->w->pool, at = (uint64_t)i * SHORT_LEN;
	const struct gpu_copy copy = { .dst = dev + at, .src = host + at, .len = SHORT_LEN };
	const struct gpu_copy_2d rows = { .dst = dev, .src = host, .dst_pitch = ROW_PITCH, .src_pitch = 2 * ROW_PITCH,
					  .width = ROW_LEN, .rows = ROWS };

	return what == COPIES ? gpu_stream_copy(&k->w->plain[STAGE_H2D], GPU_H2D, &copy) :
				gpu_stream_copy_2d(&k->w->plain[STAGE_H2D], GPU_H2D, &rows);
}

static int push_long(struct stage_world *w)
{
	const struct gpu_copy c = { .dst = w->pool, .src = (uintptr_t)w->arena,
				    .len = min_of(min_of(LONG_LEN, w->arena_len), w->pool_len) };

	return gpu_stream_copy(&w->plain[STAGE_H2D], GPU_H2D, &c);
}

/* Return: ns of the processor for all of a train, or -errno; the engine's are between .from and .to. */
static double run_train(struct costs *k, enum train what)
{
	struct gpu_stream *s = &k->w->plain[STAGE_H2D];
	uint64_t start;
	int ret = push_long(k->w);

	if (!ret)
		ret = gpu_event_record(&k->from, s);
	start = stage_world_now(k->w);
	for (uint32_t i = 0; i < TRAIN && !ret; i++)
		ret = push(k, what, i);
	start = stage_world_now(k->w) - start;
	if (!ret)
		ret = gpu_event_record(&k->to, s);
	/* what is on the stream lands, whatever came behind it */
	return stage_world_stream(k->w, s) < 0 || ret < 0 ? min_of(ret, -EIO) : (double)start;
}

/* What the engine took for what was @issued in that time.  Return: ns, or -errno. */
static double between(const struct costs *k, double issued)
{
	uint64_t elapsed;
	int ret;

	if (issued < 0)
		return issued;
	ret = gpu_event_elapsed_ns(&k->from, &k->to, &elapsed);
	return ret < 0 ? ret : (double)elapsed;
}

static double issue_once(struct costs *k, uint32_t what)
{
	return run_train(k, (enum train)what);
}

static double engine_once(struct costs *k, uint32_t what)
{
	return between(k, run_train(k, (enum train)what));
}

/* One call of @nr entries.  Return: ns of the processor, or -errno; the engine's are between .from and .to. */
static double batch_once(struct costs *k, uint32_t nr)
{
	struct gpu_stream *s = &k->w->plain[STAGE_H2D];
	CUdeviceptr dst[TRAIN], src[TRAIN];
	size_t len[TRAIN];
	uint64_t start;
	int ret = push_long(k->w);

	for (uint32_t i = 0; i < nr; i++) {
		dst[i] = k->w->pool + (uint64_t)i * SHORT_LEN;
		src[i] = (uintptr_t)k->w->arena + (uint64_t)i * SHORT_LEN;
		len[i] = SHORT_LEN;
	}
	if (!ret)
		ret = gpu_event_record(&k->from, s);
	start = stage_world_now(k->w);
	if (!ret)
		ret = gpu_stream_copy_batch(s, GPU_H2D, dst, src, len, nr);
	start = stage_world_now(k->w) - start;
	if (!ret)
		ret = gpu_event_record(&k->to, s);
	return stage_world_stream(k->w, s) < 0 || ret < 0 ? min_of(ret, -EIO) : (double)start;
}

static double batch_engine_once(struct costs *k, uint32_t nr)
{
	return between(k, batch_once(k, nr));
}

/* ---- bytes ------------------------------------------------------------------------------------------------- */

static double plain_once(struct costs *k, uint32_t dir)
{
	return stage_world_plain(k->w, (enum stage_dir)dir, LONG_LEN);
}

/* The slower direction. */
static int measure_link(struct costs *k)
{
	const double len = (double)min_of(min_of(LONG_LEN, k->w->arena_len), k->w->pool_len);
	double in = median(k, plain_once, STAGE_H2D), out = median(k, plain_once, STAGE_D2H);

	if (in < 0 || out < 0)
		return (int)min_of(in, out);
	k->c.link_bytes_per_ns = len / max_of(in, out);
	return 0;
}

/* Of @ns for a train, what one of @bytes takes beside them; a noisy machine is no reason for less than nothing. */
static double beside_bytes(const struct costs *k, double ns, double bytes)
{
	return fmax(ns / TRAIN - bytes / k->c.link_bytes_per_ns, 0);
}

static int measure_copies(struct costs *k)
{
	double issue = median(k, issue_once, COPIES), run = median(k, engine_once, COPIES);

	if (issue < 0 || run < 0)
		return (int)min_of(issue, run);
	k->c.call_ns = issue / TRAIN;
	k->c.copy_ns = beside_bytes(k, run, SHORT_LEN);
	return 0;
}

static int measure_rows(struct costs *k)
{
	double run;

	if (!cuda_has(&k->w->cu, CUDA_F_COPY_2D))
		return 0;
	run = median(k, engine_once, ROWS_2D);
	if (run < 0)
		return (int)run;
	k->c.row_ns = fmax(beside_bytes(k, run, ROWS * ROW_LEN) - k->c.copy_ns, 0) / ROWS;
	return 0;
}

static int measure_batch(struct costs *k)
{
	double one, all, run;

	if (!cuda_has(&k->w->cu, CUDA_F_COPY_BATCH))
		return 0;
	one = median(k, batch_once, 1);
	all = median(k, batch_once, TRAIN);
	run = median(k, batch_engine_once, TRAIN);
	if (one < 0 || all < 0 || run < 0)
		return (int)min_of(min_of(one, all), run);
	k->c.entry_ns = fmax(all - one, 0) / (TRAIN - 1);
	k->c.batch_ns = fmax(one - k->c.entry_ns, 0);
	k->c.entry_copy_ns = beside_bytes(k, run, SHORT_LEN);
	return 0;
}

/* ---- kernels ------------------------------------------------------------------------------------------------- */

static int measure_launch(struct costs *k)
{
	struct stage_engine e = { 0 };
	struct samples v = { 0 };
	int ret = stage_engine_open(k->w, &e);

	for (unsigned i = 0; i < WARM_UP + (k->w->fake ? FAKE_REPEATS : REPEATS) && ret >= 0; i++) {
		uint64_t start = stage_world_now(k->w);

		ret = stage_engine_compute(&e, 0);
		if (!ret)
			ret = stage_world_stream(k->w, &e.stream);
		if (i >= WARM_UP)
			samples_add(&v, (double)(stage_world_now(k->w) - start));
	}
	if (ret >= 0)
		k->c.launch_ns = samples_quantile(&v, 0.5);
	samples_fini(&v);
	stage_engine_close(k->w, &e);
	return min_of(ret, 0);
}

/* The scatter kernel over @nr blocks at .host.dev.  Return: ns from submit to landed, or -errno. */
static double scatter_once(struct costs *k, uint32_t nr)
{
	uint64_t start = stage_world_now(k->w);
	struct stage_job *j;
	int ret = stage_world_submit(k->w, k->by_kernel, STAGE_H2D, nr, 0, &j);

	if (ret < 0)
		return ret;
	ret = stage_world_wait(k->w, j, UINT32_MAX);
	start = stage_world_now(k->w) - start;
	stage_job_put(j);
	return ret < 0 ? ret : (double)start;
}

/* Two sizes: what does not grow with them falls out.  Return: bytes a ns, or -errno. */
static double scatter_rate(struct costs *k, uint64_t dev)
{
	const uint32_t half = k->w->nr / 2;
	const double bytes = (double)(k->w->nr - half) * (double)gpu_layout_block_bytes(&k->w->l, 0);
	const uint64_t was = k->w->host.dev;
	double all, part;

	k->w->host.dev = dev;
	all = median(k, scatter_once, k->w->nr);
	part = median(k, scatter_once, half);
	k->w->host.dev = was;
	if (all < 0 || part < 0)
		return min_of(all, part);
	/* a machine so busy that half takes as long says nothing */
	return all > part ? bytes / (all - part) : -ERANGE;
}

/* As if the arena lay on the device. */
static int measure_device(struct costs *k)
{
	CUdeviceptr dev;
	CUresult r;
	double rate;
	int ret = gpu_ctx_enter(&k->w->ctx);

	if (ret < 0)
		return ret;
	r = k->w->cu.MemAlloc(&dev, k->w->arena_len);
	gpu_ctx_leave(&k->w->ctx);
	if (r != CUDA_SUCCESS)
		return cuda_errno(r);
	rate = scatter_rate(k, dev);
	if (!gpu_ctx_enter(&k->w->ctx)) {
		k->w->cu.MemFree(dev);
		gpu_ctx_leave(&k->w->ctx);
	}
	if (rate < 0)
		return (int)rate;
	k->c.device_bytes_per_ns = rate;
	return 0;
}

/* A driver without kernels keeps the guesses, which nothing uses then; so it is with rows and batches. */
static int measure_kernels(struct costs *k)
{
	int ret = stage_world_stage(k->w, STAGE_MAY(STAGE_WAY_DIRECT), 1, &k->by_kernel);
	double rate;

	if (ret < 0 || !stage_ways(k->by_kernel))
		return ret;
	ret = measure_launch(k);
	if (ret < 0)
		return ret;
	rate = scatter_rate(k, k->w->host.dev);
	if (rate < 0)
		return (int)rate;
	k->c.direct_bytes_per_ns = rate;
	return measure_device(k);
}

/* ---- all ------------------------------------------------------------------------------------------------------- */

static int measure(struct costs *k)
{
	int ret = gpu_event_open(&k->w->ctx, GPU_EVENT_TIMED, &k->from);

	if (!ret)
		ret = gpu_event_open(&k->w->ctx, GPU_EVENT_TIMED, &k->to);
	if (!ret)
		ret = measure_link(k);
	if (!ret)
		ret = measure_copies(k);
	if (!ret)
		ret = measure_rows(k);
	if (!ret)
		ret = measure_batch(k);
	if (!ret)
		ret = measure_kernels(k);
	if (!ret && !stage_cost_is_sane(&k->c))
		ret = -ERANGE;
	stage_destroy(k->by_kernel, clock_ns() + STAGE_WAIT_NS);
	gpu_event_close(&k->from);
	gpu_event_close(&k->to);
	return ret;
}

int stage_report_costs(struct stage_world *w, struct jdoc *j)
{
	struct costs k = { .w = w, .c = stage_cost_default };
	struct jdoc *row = jdoc_object(j, "costs");
	const char *name;
	double v;
	int ret = measure(&k);

	if (ret < 0)
		return ret;
	w->cost = k.c;
	for (unsigned i = 0; (name = stage_cost_field(&w->cost, i, &v)); i++)
		jdoc_real(row, name, v);
	return 0;
}

/* Beside it first: who reads it meanwhile finds the old one or the new one. */
static int replace_file(const char *path, const char *text)
{
	char beside[4096];
	FILE *f;
	int ret;

	if (snprintf(beside, sizeof(beside), "%s.%d", path, (int)getpid()) >= (int)sizeof(beside))
		return -ENAMETOOLONG;
	f = fopen(beside, "wxe");
	if (!f)
		return -errno;
	ret = fputs(text, f) < 0 ? -EIO : 0;
	if (fclose(f) < 0 || (!ret && rename(beside, path) < 0))
		ret = -errno;
	if (ret < 0)
		unlink(beside);
	return ret;
}

int stage_costs_write(const struct stage_world *w, const char *path)
{
	char text[STAGE_COST_TEXT];
	int ret = stage_cost_print(&w->cost, w->ctx.device.name, w->fake, text, sizeof(text));

	if (ret >= 0)
		ret = replace_file(path, text);
	if (ret >= 0)
		return 0;
	fprintf(stderr, "kvshm bench stage: --costs %s: %s\n", path, strerror(-ret));
	return EXIT_DEAD;
}
