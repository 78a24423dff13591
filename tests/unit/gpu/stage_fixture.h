/* SPDX-License-Identifier: Apache-2.0 */
/* stage_fixture.h - an arena, an engine's pool on the fake device, and a stage between them */
#ifndef TESTS_UNIT_GPU_STAGE_FIXTURE_H
#define TESTS_UNIT_GPU_STAGE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "gpu/geometry.h"
#include "gpu/stage_priv.h"
#include "gpu/stream.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "tests/lib/fake_cuda.h"

#define FX_BLOCKS 16u			/* of arena and pool each */
#define FX_TOKENS 16u

/* 16 KiB at 1 MB/s: a step takes 8 ms, so that a test has time to look. */
#define FX_SLOW "h2d=1e6;d2h=1e6"

/* 4 layers of 2 heads, 64 bytes: a block of 16 KiB; and the same as a latent. */
static const struct gpu_model fx_model = { "small", 4, 2, 64, 0 }, fx_latent = { "small latent", 4, 1, 64, 1 };

struct fx {
	struct fake_cuda f;
	struct gpu_layout l;
	char *arena;
	uint64_t arena_len, pool, pool_len;
	struct hostreg *reg;
	struct stage_host host;
	struct stage *s;
	struct stage_item items[FX_BLOCKS];
	struct stage_list list[GPU_GROUPS_MAX];
	uint64_t word[GPU_LAYERS_MAX];
};

static inline uint64_t fx_soon(void)
{
	return clock_ns() + 5000000000ull;
}

static inline char *fx_at(uint64_t addr)
{
	return (char *)(uintptr_t)addr;
}

/* What makes a byte of arena or pool different from the others. */
static inline void fx_fill(char *p, uint64_t len, unsigned seed)
{
	for (uint64_t i = 0; i < len; i++)
		p[i] = (char)((i + seed) * 2654435761u >> 13);
}

/* Return: bytes of engine block @item->block that are not those of its place in the arena. */
static inline uint64_t fx_differ(const struct fx *x, const struct stage_item *item)
{
	uint64_t nr = 0;

	for (uint32_t i = 0; i < x->l.nr_layers; i++) {
		const struct gpu_layer *y = &x->l.layer[i];
		const struct gpu_group *g = &x->l.group[y->group];

		for (uint32_t p = 0; p < g->nr_parts; p++)
			for (uint32_t h = 0; h < g->nr_heads; h++)
				for (uint32_t t = 0; t < g->nr_tokens; t++) {
					const char *dev = fx_at(y->dev[p] + item->block * g->block_stride + h * g->head_stride +
								t * g->token_stride);
					const char *host = x->arena + item->arena + y->at * g->arena_layer_stride +
							   p * g->arena_part_stride + h * g->arena_head_stride +
							   t * g->arena_token_stride;

					for (uint64_t b = 0; b < g->run_len; b++)
						nr += dev[b] != host[b];
				}
	}
	return nr;
}

static inline uint64_t fx_differ_all(const struct fx *x)
{
	uint64_t nr = 0;

	for (uint32_t i = 0; i < x->list[0].nr; i++)
		nr += fx_differ(x, &x->items[i]);
	return nr;
}

/* Arena, pool and layout, no stage yet; registered unless @is_unpinned. */
static inline void fx_begin(struct fx *x, const struct gpu_model *m, const char *dims, bool is_unpinned,
			    const char *script)
{
	struct gpu_layout probe;

	memset(x, 0, sizeof(*x));
	fake_cuda_start(&x->f, script);
	assert_int_equal(gpu_geometry_layout(m, dims, FX_TOKENS, FX_BLOCKS, 1 << 20, &probe, &x->pool_len), 0);
	assert_int_equal(gpu_ctx_enter(&x->f.ctx), 0);
	assert_int_equal(x->f.cu.MemAlloc((CUdeviceptr *)&x->pool, x->pool_len + 4096), 0);
	gpu_ctx_leave(&x->f.ctx);
	assert_int_equal(gpu_geometry_layout(m, dims, FX_TOKENS, FX_BLOCKS, x->pool, &x->l, NULL), 0);
	x->arena_len = round_up(FX_BLOCKS * x->l.group[0].arena_len, 4096ull);
	x->arena = mmap(NULL, x->arena_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(x->arena != MAP_FAILED);
	fx_fill(x->arena, x->arena_len, 1);
	fx_fill(fx_at(x->pool), x->pool_len, 77);
	x->host = (struct stage_host){ .base = (uintptr_t)x->arena, .span = x->arena_len };
	if (!is_unpinned) {
		assert_int_equal(hostreg_create(&x->f.ctx, &x->reg), 0);
		assert_int_equal(hostreg_add(x->reg, x->arena, x->arena_len, HOSTREG_LOOK), 0);
		assert_int_equal(hostreg_wait(x->reg, fx_soon()), 0);
		x->host.reg = x->reg;
		x->host.dev = (uintptr_t)x->arena;
	}
	/* scattered on both sides, two of them neighbours */
	for (uint32_t i = 0; i < FX_BLOCKS; i++)
		x->items[i] = (struct stage_item){ .arena = (i * 5 % FX_BLOCKS) * x->l.group[0].arena_len,
						   .block = i * 3 % FX_BLOCKS };
	x->items[1] = (struct stage_item){ .arena = x->l.group[0].arena_len, .block = 1 };
	x->items[0] = (struct stage_item){ .arena = 0, .block = 0 };
	x->list[0] = (struct stage_list){ x->items, 2 };
}

static inline void fx_start(struct fx *x, const char *script)
{
	struct stage_limits lim = { .nr_jobs = 4, .nr_items = FX_BLOCKS, .bounce_len = 64 << 10, .landing_len = 256 << 10 };

	fx_begin(x, &fx_model, "L/BKHNC", false, script);
	assert_int_equal(stage_create(&x->f.ctx, &x->l, &lim, &x->s), 0);
}

/* Frees what fx_begin() made; a stage that was left behind has had its device reset before. */
static inline void fx_end(struct fx *x)
{
	assert_int_equal(stage_destroy(x->s, fx_soon()), 0);
	assert_int_equal(hostreg_destroy(x->reg, fx_soon()), 0);
	assert_int_equal(gpu_ctx_enter(&x->f.ctx), 0);
	assert_int_equal(x->f.cu.MemFree(x->pool), 0);
	gpu_ctx_leave(&x->f.ctx);
	munmap(x->arena, x->arena_len);
	fake_cuda_stop(&x->f);
}

static inline struct stage_work fx_work(struct fx *x, enum stage_dir dir, uint32_t per_step)
{
	return (struct stage_work){ .dir = dir, .host = &x->host, .list = x->list, .layers_per_step = per_step,
				    .word = x->word, .ticket = 5 };
}

static inline struct stage_job *fx_submit(struct fx *x, enum stage_dir dir, uint32_t per_step)
{
	struct stage_work w = fx_work(x, dir, per_step);
	struct stage_job *j = NULL;

	assert_int_equal(stage_submit(x->s, &w, &j), 0);
	return j;
}

static inline void fx_there_and_back(struct fx *x, uint32_t per_step)
{
	struct stage_job *j = fx_submit(x, STAGE_H2D, per_step);
	struct stage_job_info info;

	assert_int_equal(stage_job_wait(j, UINT32_MAX, fx_soon()), 1);
	assert_true(stage_job_is_over(j));
	assert_int_equal(fx_differ_all(x), 0);
	stage_job_info(j, &info);
	if (x->s->lim.ways != STAGE_MAY_ALL)
		assert_true(x->s->lim.ways & STAGE_MAY(info.way));
	stage_job_put(j);
	fx_fill(fx_at(x->pool), x->pool_len, 3);
	j = fx_submit(x, STAGE_D2H, per_step);
	assert_int_equal(stage_job_wait(j, UINT32_MAX, fx_soon()), 1);
	assert_int_equal(fx_differ_all(x), 0);
	stage_job_put(j);
}

#endif
