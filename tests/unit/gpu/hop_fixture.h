/* SPDX-License-Identifier: Apache-2.0 */
/* hop_fixture.h - two fake devices, an engine's pool on each */
#ifndef TESTS_UNIT_GPU_HOP_FIXTURE_H
#define TESTS_UNIT_GPU_HOP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "gpu/geometry.h"
#include "gpu/hop.h"
#include "gpu/stream.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "tests/lib/fake_cuda.h"

#ifndef HX_BLOCKS
#define HX_BLOCKS 64u			/* of a pool */
#define HX_HOP 8u			/* blocks of a hop */
#define HX_TOKENS 16u
#endif

/* 4 layers of 2 heads, 64 bytes: a token of 1 KiB. */
static const struct gpu_model hx_model = { "small", 4, 2, 64, 0 };

enum { HX_FROM, HX_TO };

struct hx {
	struct fake_cuda f;		/* .ctx is that of HX_FROM */
	struct gpu_ctx to_ctx;
	const struct gpu_ctx *ctx[2];
	struct gpu_layout l[2];
	uint64_t pool[2], pool_len[2];
	struct hops *h;
};

static inline uint64_t hx_soon(void)
{
	return clock_ns() + 5000000000ull;
}

static inline char *hx_at(uint64_t addr)
{
	return (char *)(uintptr_t)addr;
}

static inline void hx_script(struct hx *x, const char *text)
{
	assert_int_equal(x->f.fake->script(text), 0);
}

static inline void hx_pool(struct hx *x, unsigned side, const char *dims)
{
	CUdeviceptr pool;

	assert_int_equal(gpu_geometry_layout(&hx_model, dims, HX_TOKENS, HX_BLOCKS, 1 << 20, &x->l[side],
					     &x->pool_len[side]), 0);
	assert_int_equal(gpu_ctx_enter(x->ctx[side]), 0);
	assert_int_equal(x->f.cu.MemAlloc(&pool, x->pool_len[side]), 0);
	gpu_ctx_leave(x->ctx[side]);
	x->pool[side] = pool;
	assert_int_equal(gpu_geometry_layout(&hx_model, dims, HX_TOKENS, HX_BLOCKS, pool, &x->l[side], NULL), 0);
	/* no word of it twice */
	for (uint64_t i = 0; i < x->pool_len[side] / 8; i++)
		((uint64_t *)(void *)hx_at(pool))[i] = (2 * i + side) * 0x9e3779b97f4a7c15ull;
}

/* Devices, pools, layouts; the hops are made by hx_hops(). */
static inline void hx_begin(struct hx *x, const char *from, const char *to, const char *script)
{
	const struct gpu_group *g;

	memset(x, 0, sizeof(*x));
	fake_cuda_start(&x->f, "devices=2;peer=1");
	if (script)
		hx_script(x, script);
	assert_int_equal(x->f.nr_devices, 2);
	assert_int_equal(gpu_ctx_open(&x->f.cu, &x->f.device[1], &x->to_ctx), 0);
	x->ctx[HX_FROM] = &x->f.ctx;
	x->ctx[HX_TO] = &x->to_ctx;
	hx_pool(x, HX_FROM, from);
	hx_pool(x, HX_TO, to);
	/* one order where they meet */
	g = &x->l[HX_FROM].group[0];
	x->l[HX_TO].group[0].arena_layer_stride = g->arena_layer_stride;
	x->l[HX_TO].group[0].arena_part_stride = g->arena_part_stride;
	x->l[HX_TO].group[0].arena_head_stride = g->arena_head_stride;
	x->l[HX_TO].group[0].arena_token_stride = g->arena_token_stride;
	assert_int_equal(gpu_layout_check(&x->l[HX_TO], NULL), 0);
}

static inline struct hops_config hx_config(const struct hx *x, bool by_host)
{
	return (struct hops_config){ .from = { x->ctx[HX_FROM], &x->l[HX_FROM], NULL },
				     .to = { x->ctx[HX_TO], &x->l[HX_TO], NULL }, .by_host = by_host, .nr = 2, .max_blocks = HX_HOP };
}

static inline void hx_hops(struct hx *x, bool by_host)
{
	const struct hops_config cfg = hx_config(x, by_host);

	assert_int_equal(hops_create(&cfg, &x->h), 0);
}

static inline void hx_end(struct hx *x)
{
	assert_int_equal(hops_destroy(x->h, hx_soon()), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(gpu_ctx_enter(x->ctx[i]), 0);
		assert_int_equal(x->f.cu.MemFree(x->pool[i]), 0);
		gpu_ctx_leave(x->ctx[i]);
	}
	gpu_ctx_close(&x->to_ctx);
	fake_cuda_stop(&x->f);
}

/* A hybrid model: the upper half of the layers with a block table of its own. */
static inline void hx_split(struct gpu_layout *l)
{
	struct gpu_group *g = &l->group[0];

	g->arena_layer_stride = g->arena_part_stride = g->arena_head_stride = g->arena_token_stride = g->arena_len = 0;
	l->group[1] = *g;
	l->nr_groups = 2;
	for (uint32_t i = l->nr_layers / 2; i < l->nr_layers; i++)
		l->layer[i].group = 1;
	gpu_layout_pack(l);
	assert_int_equal(gpu_layout_check(l, NULL), 0);
}

static inline char *hx_run(const struct hx *x, unsigned side, uint32_t layer, uint32_t part, uint32_t head,
			   uint64_t token, uint32_t block)
{
	const struct gpu_group *g = &x->l[side].group[0];

	return hx_at(x->l[side].layer[layer].dev[part] + block * g->block_stride + head * g->head_stride +
		     token * g->token_stride);
}

/* Return: runs of the tokens from @first on, in layers of @group, of two blocks that differ. */
static inline uint64_t hx_differ_group(const struct hx *x, uint32_t group, uint32_t from, uint32_t to, uint32_t first,
				       uint32_t nr_tokens)
{
	const struct gpu_group *g = &x->l[HX_FROM].group[0];
	uint64_t nr = 0;

	for (uint32_t l = 0; l < x->l[HX_FROM].nr_layers; l++)
		for (uint32_t p = 0; x->l[HX_FROM].layer[l].group == group && p < g->nr_parts; p++)
			for (uint32_t h = 0; h < g->nr_heads; h++)
				for (uint32_t t = first; t < first + nr_tokens; t++)
					nr += memcmp(hx_run(x, HX_FROM, l, p, h, t, from), hx_run(x, HX_TO, l, p, h, t, to),
						     g->run_len) != 0;
	return nr;
}

static inline uint64_t hx_differ(const struct hx *x, uint32_t from, uint32_t to, uint32_t first, uint32_t nr_tokens)
{
	return hx_differ_group(x, 0, from, to, first, nr_tokens);
}

/* What the oldest hop came to.  Return: as hops_take(); 0: nothing until now. */
static inline int hx_take(struct hx *x)
{
	const uint64_t end = hx_soon();
	int ret;

	while (!(ret = hops_take(x->h)) && !hops_error(x->h, NULL))
		assert_true(clock_ns() < end);
	return ret;
}

#endif
