/* SPDX-License-Identifier: Apache-2.0 */
/* test_kmod.c - the embedded kernels through the driver's table: a plan and a gather on the fake device */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gather.h"
#include "gpu/geometry.h"
#include "gpu/kern_text.h"
#include "gpu/kmod.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "tests/lib/fake_cuda.h"

#define NR_BLOCKS 6u
#define BLOCK_TOKENS 4u

struct fixture {
	struct fake_cuda f;
	struct gpu_stream s;
	struct kmod k;
	struct gpu_layout l;
	struct stage_item items[NR_BLOCKS];
	struct stage_plan p;
	CUdeviceptr dev, landing;
	uint64_t dev_len, arena_len;
	uint8_t *arena;			/* pinned, with the plan's table behind it */
	uint8_t *paged;			/* what the device shall hold */
};

static uint64_t soon(void)
{
	return clock_ns() + 5000000000u;
}

static void start(struct fixture *x)
{
	const struct gpu_model m = { "m", 3, 2, 64, 0 };

	memset(x, 0, sizeof(*x));
	fake_cuda_start(&x->f, NULL);
	assert_int_equal(gpu_stream_open(&x->f.ctx, true, &x->s), 0);
	assert_int_equal(kmod_open(&x->f.ctx, &x->k), 0);
	assert_int_equal(gpu_geometry_layout(&m, "LKBNHC", BLOCK_TOKENS, NR_BLOCKS, 4096, &x->l, &x->dev_len), 0);
	x->arena_len = NR_BLOCKS * x->l.group[0].arena_len;
	x->arena = aligned_alloc(4096, round_up(2 * x->arena_len, 4096ull));
	x->paged = calloc(1, x->dev_len);
	assert_true(x->arena && x->paged);
	for (uint64_t i = 0; i < x->arena_len; i++)
		x->arena[i] = (uint8_t)(i * 31 + (i >> 8));
	assert_int_equal(gpu_ctx_enter(&x->f.ctx), 0);
	assert_int_equal(x->f.cu.MemAlloc(&x->dev, x->dev_len), 0);
	assert_int_equal(x->f.cu.MemAlloc(&x->landing, x->arena_len), 0);
	assert_int_equal(x->f.cu.MemHostRegister(x->arena, 2 * x->arena_len, CU_MEMHOSTREGISTER_DEVICEMAP), 0);
	gpu_ctx_leave(&x->f.ctx);
	assert_int_equal(gpu_geometry_layout(&m, "LKBNHC", BLOCK_TOKENS, NR_BLOCKS, x->dev, &x->l, NULL), 0);
	for (unsigned i = 0; i < NR_BLOCKS; i++)
		x->items[i] = (struct stage_item){ .arena = i * x->l.group[0].arena_len, .block = NR_BLOCKS - 1 - i };
}

static void stop(struct fixture *x)
{
	kmod_close(&x->k);
	kmod_close(&x->k);
	gpu_stream_close(&x->s);
	assert_int_equal(gpu_ctx_enter(&x->f.ctx), 0);
	assert_int_equal(x->f.cu.MemHostUnregister(x->arena), 0);
	assert_int_equal(x->f.cu.MemFree(x->dev), 0);
	assert_int_equal(x->f.cu.MemFree(x->landing), 0);
	gpu_ctx_leave(&x->f.ctx);
	free(x->p.ops);
	free(x->p.launches);
	free(x->p.steps);
	free(x->paged);
	free(x->arena);
	fake_cuda_stop(&x->f);
}

static void make_plan(struct fixture *x, enum stage_way way, enum stage_dir dir)
{
	struct stage_caps caps = {
		.ways = STAGE_MAY(way), .landing = x->landing, .landing_len = x->arena_len,
		.arena_dev = (uintptr_t)x->arena, .arena_span = x->arena_len,
	};
	struct stage_request req = { .dir = dir, .layers_per_step = 1, .list = { { x->items, NR_BLOCKS } } };
	struct stage_plan *p = &x->p;

	assert_int_equal(stage_plan_size(&x->l, &caps, NR_BLOCKS, 1, p), 0);
	p->ops = calloc(p->max_ops, sizeof(*p->ops));
	p->launches = calloc(p->max_launches, sizeof(*p->launches));
	p->steps = calloc(p->max_steps, sizeof(*p->steps));
	p->table = (uint32_t *)(x->arena + x->arena_len);
	assert_true(p->max_table * sizeof(*p->table) <= x->arena_len);
	caps.table_dev = (uintptr_t)p->table;
	assert_int_equal(stage_plan_make(&x->l, &req, &caps, NULL, p), 0);
	assert_int_equal(p->way, way);
}

/* All operations of the plan onto the stream, and wait. */
static void run_plan(struct fixture *x, enum gpu_dir dir)
{
	for (uint32_t i = 0; i < x->p.nr_ops; i++) {
		const struct stage_op *op = &x->p.ops[i];
		const uint64_t host = (uintptr_t)x->arena + op->arena;
		const struct gpu_copy c = { .dst = dir == GPU_H2D ? op->dev : host,
					    .src = dir == GPU_H2D ? host : op->dev, .len = op->len };

		if (op->kind == STAGE_OP_KERNEL)
			assert_int_equal(kmod_spread(&x->k, &x->s, &x->p.launches[op->launch]), 0);
		else
			assert_int_equal(gpu_stream_copy(&x->s, dir, &c), 0);
	}
	assert_int_equal(gpu_stream_wait(&x->s, soon()), 1);
}

/* Every byte of every block where the strides say. */
static void fill_paged(struct fixture *x)
{
	const struct gpu_group *g = &x->l.group[0];

	for (unsigned i = 0; i < NR_BLOCKS; i++)
		for (uint32_t n = 0; n < 2 * x->l.nr_layers; n++)
			for (unsigned h = 0; h < g->nr_heads; h++)
				for (unsigned t = 0; t < g->nr_tokens; t++)
					memcpy(x->paged + (x->l.layer[n / 2].dev[n % 2] - x->dev) +
						       x->items[i].block * g->block_stride + h * g->head_stride +
						       t * g->token_stride,
					       x->arena + x->items[i].arena + n / 2 * g->arena_layer_stride +
						       n % 2 * g->arena_part_stride + h * g->arena_head_stride +
						       t * g->arena_token_stride,
					       g->run_len);
}

static void read_device(struct fixture *x, uint8_t *to)
{
	const struct gpu_copy c = { .dst = (uintptr_t)to, .src = x->dev, .len = x->dev_len };

	assert_int_equal(gpu_stream_copy(&x->s, GPU_D2H, &c), 0);
	assert_int_equal(gpu_stream_wait(&x->s, soon()), 1);
}

static void kernels_put_blocks_where_the_strides_say(enum stage_way way)
{
	struct fixture x;
	uint8_t *got, *before;

	start(&x);
	got = malloc(x.dev_len);
	before = malloc(x.arena_len);
	assert_true(got && before);
	make_plan(&x, way, STAGE_H2D);
	run_plan(&x, GPU_H2D);
	fill_paged(&x);
	read_device(&x, got);
	assert_memory_equal(got, x.paged, x.dev_len);
	/* and back into an arena that has forgotten them */
	memcpy(before, x.arena, x.arena_len);
	memset(x.arena, 0, x.arena_len);
	free(x.p.ops);
	free(x.p.launches);
	free(x.p.steps);
	make_plan(&x, way, STAGE_D2H);
	run_plan(&x, GPU_D2H);
	assert_memory_equal(before, x.arena, x.arena_len);
	free(got);
	free(before);
	stop(&x);
}

static void landed_blocks_are_scattered_and_collected(void **state)
{
	(void)state;
	kernels_put_blocks_where_the_strides_say(STAGE_WAY_LAND);
}

static void mapped_arena_is_read_and_written_directly(void **state)
{
	(void)state;
	kernels_put_blocks_where_the_strides_say(STAGE_WAY_DIRECT);
}

/* The fake's kernels take time for their bytes, more over the link than on the device. */
static void bytes_of_a_kernel_take_time(void **state)
{
	uint64_t took[2];
	struct fixture x;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		uint64_t from;

		start(&x);
		assert_int_equal(x.f.fake->script("clock=virtual;launch=0;latency=0;call=0;h2d=1e9;d2d=1e12"), 0);
		make_plan(&x, i ? STAGE_WAY_DIRECT : STAGE_WAY_LAND, STAGE_H2D);
		from = x.f.fake->now_ns();
		for (uint32_t n = 0; n < x.p.nr_launches; n++)
			assert_int_equal(kmod_spread(&x.k, &x.s, &x.p.launches[n]), 0);
		assert_int_equal(gpu_stream_wait(&x.s, soon()), 1);
		took[i] = x.f.fake->now_ns() - from;
		stop(&x);
	}
	/* 18 KiB: at a byte a nanosecond, and a thousand times faster */
	assert_true(took[1] >= x.arena_len);
	assert_true(took[0] < took[1] / 2);
}

static void gather_packs_into_device_memory(void **state)
{
	struct fixture x;
	uint64_t blocks[NR_BLOCKS];
	struct gather_piece pieces[3] = { { .token = 3, .nr_tokens = 2 }, { .layer = 2, .head = 1, .nr_tokens = 1 },
					  { .part = 1, .token = 9, .nr_tokens = 4 } };
	struct gather_plan p = { .max_runs = 16 };
	struct gpu_gather_args args;
	struct gather_source s;
	uint8_t *got, want[512];
	uint32_t ctas, threads;

	(void)state;
	start(&x);
	for (unsigned i = 0; i < NR_BLOCKS; i++)
		blocks[i] = x.items[i].arena;
	s = (struct gather_source){ .group = &x.l.group[0], .nr_layers = 3, .nr_blocks = NR_BLOCKS,
				    .nr_tokens = NR_BLOCKS * BLOCK_TOKENS, .blocks = blocks, .block_step = 1,
				    .span = x.arena_len };
	p.runs = (struct gpu_gather_run *)(x.arena + x.arena_len);
	assert_int_equal(gather_plan_make(&s, pieces, 3, NULL, &p, NULL), 0);
	assert_int_equal(p.len, 7 * 64);
	gather_cpu(&p, x.arena, want);
	gather_args(&p, (uintptr_t)x.arena, x.dev, (uintptr_t)p.runs, &args, &ctas, &threads);
	assert_int_equal(kmod_launch(&x.k, &x.s, GPU_KERNEL_GATHER, ctas, threads, &args), 0);
	got = malloc(x.dev_len);
	assert_non_null(got);
	read_device(&x, got);
	assert_memory_equal(got, want, p.len);
	free(got);
	stop(&x);
}

static void driver_that_refuses_the_kernels_takes_only_them_away(void **state)
{
	const struct {
		const char *script;
		int error;
	} rows[] = {
		{ "fail=cuModuleLoadData:1:222", -ENOEXEC }, { "fail=cuModuleLoadData:1:209", -ENOEXEC },
		{ "fail=cuModuleGetFunction:2:500", -ENOENT }, { "fail=cuModuleLoadData:1:2", -ENOMEM },
	};
	struct fake_cuda f;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct kmod k = { 0 };

		fake_cuda_start(&f, rows[i].script);
		assert_int_equal(kmod_open(&f.ctx, &k), rows[i].error);
		assert_null(k.ctx);
		assert_int_equal(kmod_open(&f.ctx, &k), 0);
		kmod_close(&k);
		fake_cuda_stop(&f);
	}
}

static void launches_of_nothing_are_refused(void **state)
{
	const struct gpu_gather_args args = { 0 };
	struct fixture x;

	(void)state;
	start(&x);
	assert_int_equal(kmod_launch(&x.k, &x.s, GPU_NR_KERNELS, 1, 32, &args), -EINVAL);
	assert_int_equal(kmod_launch(&x.k, &x.s, GPU_KERNEL_GATHER, 0, 32, &args), -EINVAL);
	assert_int_equal(kmod_launch(&x.k, &x.s, GPU_KERNEL_GATHER, 1, 0, &args), -EINVAL);
	stop(&x);
}

static void text_names_each_kernel(void **state)
{
	(void)state;
	assert_non_null(strstr(kern_text, ".version"));
	for (unsigned i = 0; i < GPU_NR_KERNELS; i++)
		assert_non_null(strstr(kern_text, kern_names[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(landed_blocks_are_scattered_and_collected),
		cmocka_unit_test(mapped_arena_is_read_and_written_directly),
		cmocka_unit_test(bytes_of_a_kernel_take_time),
		cmocka_unit_test(gather_packs_into_device_memory),
		cmocka_unit_test(driver_that_refuses_the_kernels_takes_only_them_away),
		cmocka_unit_test(launches_of_nothing_are_refused),
		cmocka_unit_test(text_names_each_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
