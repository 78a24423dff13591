/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_stage.c - blocks to the GPU and back: each way of the plan beside one large pinned copy of the same run
 *
 * No daemon: the arena is memory of this process, as large as the blocks that are moved.  On the fake driver (--fake)
 * time is that of its model and passes only by waiting, so a run gives the same figures on every machine; they say
 * what the model says of our order of copies, and nothing about a GPU.
 */
#include "utils/bench_stage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "utils/commands.h"

#define BLOCK_TOKENS 16u
#define FAKE_BLOCKS 32u			/* 512 tokens: its copies are real copies of this processor */
#define REAL_BLOCKS 512u		/* 8 K tokens */
#define LANDING_LEN (64ull << 20)
#define PINNING_NS 120000000000ull
#define FAKE_MODEL "reset;clock=virtual;h2d=25e9;d2h=25e9;d2d=1e12;latency=1500;item=150;row=10;launch=3000;call=700"
#define FAKE_LOOK_NS 200u
#define BIND_TO_NODES 2			/* MPOL_BIND of <linux/mempolicy.h>, which not every libc brings */

/* ---- the world ----------------------------------------------------------------------------------------- */

void stage_world_reset(struct stage_world *w)
{
	w->fake->script(FAKE_MODEL);
}

uint64_t stage_world_now(const struct stage_world *w)
{
	return w->fake ? w->fake->now_ns() : clock_ns();
}

/* The tests' build puts it beside this program. */
static int load_driver(struct stage_world *w, const struct bench_options *o)
{
	char path[512];
	ssize_t n;
	int ret;

	if (!o->is_fake || o->fake)
		return cuda_load(o->fake, &w->cu);
	n = readlink("/proc/self/exe", path, sizeof(path) - 32);
	if (n < 0)
		return -errno;
	path[n] = 0;
	snprintf(strrchr(path, '/'), 32, "/fake/libcuda.so.1");
	ret = cuda_load(path, &w->cu);
	return ret;
}

static int open_device(struct stage_world *w, const struct bench_options *o, const char *bench)
{
	struct gpu_device list[GPU_MAX_DEVICES];
	int nr;

	if (load_driver(w, o) < 0) {
		fprintf(stderr, "kvshm bench %s: %s\n", bench, w->cu.why[CUDA_F_CORE]);
		return EXIT_DEAD;
	}
	w->fake = cuda_fake_open(&w->cu);
	if (o->is_fake && (!w->fake || w->fake->script(FAKE_MODEL) < 0)) {
		fprintf(stderr, "kvshm bench %s: --fake: the library is no fake driver\n", bench);
		return EXIT_USAGE;
	}
	nr = gpu_device_list(&w->cu, "/sys", list, GPU_MAX_DEVICES);
	for (int i = 0; i < nr; i++)
		if (list[i].ordinal == (int)o->device)
			return gpu_ctx_open(&w->cu, &list[i], &w->ctx) < 0 ? EXIT_DEAD : 0;
	fprintf(stderr, "kvshm bench %s: there is no device %u\n", bench, o->device);
	return EXIT_DEAD;
}

static int open_pool(struct stage_world *w)
{
	CUresult r;
	int ret = gpu_ctx_enter(&w->ctx);

	if (ret < 0)
		return ret;
	r = w->cu.MemAlloc(&w->pool, w->pool_len);
	gpu_ctx_leave(&w->ctx);
	if (r != CUDA_SUCCESS)
		return -ENOMEM;
	return gpu_geometry_layout(w->model, w->order->dims, BLOCK_TOKENS, 4 * w->nr, w->pool, &w->l, NULL);
}

static void close_arena(struct stage_world *w)
{
	hostreg_destroy(w->reg, clock_ns() + PINNING_NS);
	if (w->arena)
		munmap(w->arena, w->arena_len);
	w->reg = NULL;
	w->arena = NULL;
}

/* Bound before the first touch; a kernel without mbind() leaves it where it falls. */
static int bind_to(void *at, uint64_t len, int node)
{
	unsigned long mask = 1ul << node;

	return syscall(SYS_mbind, at, len, BIND_TO_NODES, &mask, 8 * sizeof(mask), 0) < 0 ? -errno : 0;
}

int stage_world_arena(struct stage_world *w, int node)
{
	void *map;
	int ret = 0;

	close_arena(w);
	/* twice the blocks: none need be neighbours */
	w->arena_len = round_up(2ull * w->nr * w->l.group[0].arena_len, 2ull << 20);
	map = mmap(NULL, w->arena_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return -ENOMEM;
	w->arena = map;
	madvise(map, w->arena_len, MADV_HUGEPAGE);
	if (node >= 0)
		ret = bind_to(map, w->arena_len, node);
	if (ret < 0)
		return ret;
	memset(map, 1, w->arena_len);
	ret = hostreg_create(&w->ctx, &w->reg);
	if (!ret)
		ret = hostreg_add(w->reg, map, w->arena_len, HOSTREG_SHARED_RW);
	if (!ret)
		ret = hostreg_wait(w->reg, clock_ns() + PINNING_NS);
	w->host = (struct stage_host){ .base = (uintptr_t)map, .span = w->arena_len, .dev = (uintptr_t)map, .reg = w->reg };
	if (!ret && hostreg_state(w->reg, map, w->arena_len) != 1)
		ret = -EPERM;
	return ret;
}

void stage_world_items(struct stage_world *w)
{
	for (uint32_t i = 0; i < w->nr; i++)
		w->items[i] = (struct stage_item){ .arena = 2ull * (w->nr - 1 - i) * w->l.group[0].arena_len,
						   .block = (uint32_t)((i * 2654435761ull + 7) % w->nr * 4 + i % 3) };
}

int stage_world_open(struct stage_world *w, const struct bench_options *o, const char *bench)
{
	int ret;

	memset(w, 0, sizeof(*w));
	w->cost = stage_cost_default;
	w->model = gpu_model_find(o->model ? o->model : "llama-3.1-8b");
	w->order = gpu_order_find(o->order ? o->order : "hnd");
	w->nr = o->blocks ? (uint32_t)o->blocks : o->is_fake ? FAKE_BLOCKS : REAL_BLOCKS;
	if (!w->model || !w->order || w->nr > 65536 || w->nr < 4 ||
	    gpu_geometry_layout(w->model, w->order->dims, BLOCK_TOKENS, 4 * w->nr, 1ull << 21, &w->l, &w->pool_len) < 0) {
		fprintf(stderr, "kvshm bench %s: no such --model or --order, or not that one of this model, or --blocks not 4 "
			"to 65536\n", bench);
		return EXIT_USAGE;
	}
	ret = open_device(w, o, bench);
	if (ret)
		return ret;
	w->items = calloc(w->nr, sizeof(*w->items));
	ret = w->items ? open_pool(w) : -ENOMEM;
	if (!ret)
		ret = stage_world_arena(w, -1);
	for (unsigned d = 0; d < 2 && !ret; d++)
		ret = gpu_stream_open(&w->ctx, true, &w->plain[d]);
	if (ret < 0) {
		fprintf(stderr, "kvshm bench %s: %s: %s\n", bench, w->arena ? "the arena cannot be pinned" : "no pool",
			strerror(-ret));
		return EXIT_DEAD;
	}
	stage_world_items(w);
	return 0;
}

void stage_world_close(struct stage_world *w)
{
	for (unsigned d = 0; d < 2; d++)
		gpu_stream_close(&w->plain[d]);
	close_arena(w);
	if (w->pool && !gpu_ctx_enter(&w->ctx)) {
		w->cu.MemFree(w->pool);
		gpu_ctx_leave(&w->ctx);
	}
	if (w->ctx.ctx)
		gpu_ctx_close(&w->ctx);
	cuda_unload(&w->cu);
	free(w->items);
}

int stage_world_stage(const struct stage_world *w, uint32_t ways, uint32_t nr_jobs, struct stage **ret_s)
{
	const struct stage_limits lim = { .nr_jobs = nr_jobs, .nr_items = w->nr, .ways = ways,
					  .landing_len = LANDING_LEN, .cost = &w->cost };

	return stage_create(&w->ctx, &w->l, &lim, ret_s);
}

int stage_world_submit(struct stage_world *w, struct stage *s, enum stage_dir dir, uint32_t nr, uint32_t per_step,
		       struct stage_job **ret_j)
{
	const struct stage_list list[GPU_GROUPS_MAX] = { { w->items, nr } };
	const struct stage_work work = { .dir = dir, .host = &w->host, .list = list, .layers_per_step = per_step };

	return stage_submit(s, &work, ret_j);
}

/* On a virtual clock a look costs what a look costs: time passes here, in even steps, and not by how often is asked. */
int stage_world_wait(struct stage_world *w, struct stage_job *j, uint32_t layer)
{
	uint64_t deadline = clock_ns() + STAGE_WAIT_NS;
	int ret;

	if (!w->fake)
		return stage_job_wait(j, layer, deadline);
	while ((ret = stage_job_wait(j, layer, 0)) == -ETIMEDOUT && clock_ns() < deadline)
		w->fake->advance(FAKE_LOOK_NS);
	return ret;
}

int stage_world_stream(struct stage_world *w, struct gpu_stream *s)
{
	uint64_t deadline = clock_ns() + STAGE_WAIT_NS;
	int ret;

	while (!(ret = gpu_stream_poll(s)) && clock_ns() < deadline)
		if (w->fake)
			w->fake->advance(FAKE_LOOK_NS);
	return ret ? ret : -ETIMEDOUT;
}

double stage_world_plain(struct stage_world *w, enum stage_dir dir, uint64_t len)
{
	struct gpu_copy c = { .dst = w->pool, .src = (uintptr_t)w->arena, .len = min_of(min_of(len, w->arena_len), w->pool_len) };
	uint64_t start = stage_world_now(w);
	int ret;

	if (dir == STAGE_D2H)
		c = (struct gpu_copy){ .dst = c.src, .src = c.dst, .len = c.len };
	ret = gpu_stream_copy(&w->plain[dir], dir == STAGE_H2D ? GPU_H2D : GPU_D2H, &c);
	if (!ret)
		ret = stage_world_stream(w, &w->plain[dir]);
	return ret < 0 ? ret : (double)(stage_world_now(w) - start);
}

/* ---- the run --------------------------------------------------------------------------------------------- */

void stage_world_report(const struct stage_world *w, struct jdoc *j)
{
	jdoc_text(j, "source", w->fake ? "simulated: the fake driver's model of a link, no GPU" : "measured");
	jdoc_bool(j, "is_simulated", w->fake != NULL);
	jdoc_text(j, "device", w->ctx.device.name);
	jdoc_int(j, "driver_version", w->cu.version);
	jdoc_int(j, "device_node", w->ctx.device.node);
	if (w->fake)
		jdoc_text(j, "simulation", FAKE_MODEL);
	jdoc_text(j, "model", w->model->name);
	jdoc_text(j, "order", w->order->name);
	jdoc_int(j, "blocks", w->nr);
	jdoc_int(j, "block_bytes", (int64_t)gpu_layout_block_bytes(&w->l, 0));
	jdoc_int(j, "tokens", (int64_t)w->nr * BLOCK_TOKENS);
}

static int run(const struct bench_options *o, struct jdoc *j)
{
	struct stage_world *w = calloc(1, sizeof(*w));
	int ret;

	if (!w)
		return EXIT_DEAD;
	ret = stage_world_open(w, o, "stage");
	if (!ret) {
		stage_world_report(w, j);
		ret = stage_report_costs(w, j);
		if (!ret)
			ret = stage_report_ways(w, j);
		if (!ret)
			ret = stage_report_layers(w, j);
		if (!ret)
			ret = stage_report_first(w, j);
		if (!ret)
			ret = stage_report_failures(w, j);
		if (!ret)
			ret = stage_report_nodes(w, j);
		if (ret < 0) {
			fprintf(stderr, "kvshm bench stage: %s\n", strerror(-ret));
			ret = EXIT_DEAD;
		}
		if (!ret && o->costs)
			ret = stage_costs_write(w, o->costs);
	}
	stage_world_close(w);
	free(w);
	return ret;
}

const struct bench bench_stage = {
	"stage", run, "blocks to the GPU and back, against one pinned copy; --fake: simulated",
};
