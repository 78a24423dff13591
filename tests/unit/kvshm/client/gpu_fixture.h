/* SPDX-License-Identifier: Apache-2.0 */
/* gpu_fixture.h - a handle on the threaded daemon, a GPU side on the fake driver, an engine's pool between them */
#ifndef TESTS_UNIT_CLIENT_GPU_FIXTURE_H
#define TESTS_UNIT_CLIENT_GPU_FIXTURE_H

#include "fake.h"

#include "gpu/geometry.h"
#include "kvshm/client/gpu.h"
#include "tests/lib/fake_cuda.h"

#define GX_BLOCKS 8u			/* of the pool */
#define GX_SLOW "h2d=2e6;d2h=2e6"	/* a block takes 33 ms */
#define GX_US 5000000u

/* 4 layers, blocks of FAKE_LEN. */
static const struct gpu_model gx_model = { "small", 4, 2, 256, 0 }, gx_latent = { "latent", 4, 1, 1024, 1 };

struct gx {
	struct fake *f;
	struct fake_cuda c;
	struct kvshm *k;
	uint32_t ns[2];
	struct kvshm_gpu *g;
	struct gpu_layout l;
	struct kvshm_gpu_group group[2];
	struct kvshm_gpu_layer layer[8];
	struct kvshm_gpu_options o;
	char lib[512];
	char *pool;
	uint64_t pool_len;
};

static inline void gx_pool(struct gx *x, uint64_t len)
{
	CUdeviceptr dev;

	x->pool_len = len + 4096;
	assert_int_equal(gpu_ctx_enter(&x->c.ctx), 0);
	assert_int_equal(x->c.cu.MemAlloc(&dev, x->pool_len), 0);
	gpu_ctx_leave(&x->c.ctx);
	x->pool = (char *)(uintptr_t)dev;
}

static inline void gx_fill(struct gx *x, unsigned seed)
{
	for (uint64_t i = 0; i < x->pool_len; i++)
		x->pool[i] = (char)((i + seed) * 2654435761u >> 11);
}

/* The public form of .l */
static inline void gx_options(struct gx *x)
{
	for (uint32_t i = 0; i < x->l.nr_groups; i++) {
		const struct gpu_group *g = &x->l.group[i];

		x->group[i] = (struct kvshm_gpu_group){
			.nr_blocks = g->nr_blocks, .nr_tokens = g->nr_tokens, .nr_heads = g->nr_heads, .nr_parts = g->nr_parts,
			.run_len = g->run_len, .block_stride = g->block_stride, .head_stride = g->head_stride,
			.token_stride = g->token_stride,
		};
	}
	for (uint32_t i = 0; i < x->l.nr_layers; i++)
		x->layer[i] = (struct kvshm_gpu_layer){ .dev = { x->l.layer[i].dev[0], x->l.layer[i].dev[1] },
							.group = x->l.layer[i].group };
	x->o = (struct kvshm_gpu_options){
		.sz = sizeof(x->o), .libcuda = fake_cuda_path(x->lib, sizeof(x->lib)), .groups = x->group, .layers = x->layer,
		.nr_groups = x->l.nr_groups, .nr_layers = x->l.nr_layers, .max_jobs = 4, .max_blocks = 16,
		.timeout_ms = 2000, .bounce_len = 1 << 20,
	};
}

/* Device, pool and options. */
static inline void gx_device(struct gx *x, const struct gpu_model *m, const char *dims, const char *script)
{
	struct gpu_layout probe;
	uint64_t len;

	memset(x, 0, sizeof(*x));
	fake_cuda_start(&x->c, script);
	assert_int_equal(gpu_geometry_layout(m, dims, 16, GX_BLOCKS, 1 << 20, &probe, &len), 0);
	gx_pool(x, len);
	assert_int_equal(gpu_geometry_layout(m, dims, 16, GX_BLOCKS, (uintptr_t)x->pool, &x->l, NULL), 0);
	assert_int_equal(x->l.group[0].arena_len, FAKE_LEN);
	gx_options(x);
	gx_fill(x, 1);
}

/* And a handle; the side is opened by gx_open(). */
static inline void gx_begin(struct gx *x, struct fake *f, const struct gpu_model *m, const char *dims,
			    const char *script)
{
	gx_device(x, m, dims, script);
	x->f = f;
	x->k = fake_open(f, 0);
	x->ns[0] = fake_attach_ns(x->k);
}

/* The arena's extents are pinned, or refused. */
static inline void gx_settle(struct gx *x)
{
	uint64_t end = clock_ns() + FAKE_SOON_NS;
	struct kvshm_gpu_facts i = { .sz = sizeof(i) };

	do {
		assert_int_equal(kvshm_gpu_info(x->g, &i), 0);
		assert_true(clock_ns() < end);
	} while (i.nr_pinned + i.nr_refused < i.nr_extents);
}

static inline void gx_open(struct gx *x)
{
	assert_int_equal(kvshm_gpu_open(x->k, &x->o, &x->g), 0);
	gx_settle(x);
}

static inline void gx_free_pool(struct gx *x)
{
	assert_int_equal(gpu_ctx_enter(&x->c.ctx), 0);
	assert_int_equal(x->c.cu.MemFree((uintptr_t)x->pool), 0);
	gpu_ctx_leave(&x->c.ctx);
}

static inline void gx_end(struct gx *x)
{
	kvshm_close(x->k);
	gx_free_pool(x);
	fake_cuda_stop(&x->c);
}

static inline struct kvshm_gpu_facts gx_info(struct gx *x)
{
	struct kvshm_gpu_facts i = { .sz = sizeof(i) };

	assert_int_equal(kvshm_gpu_info(x->g, &i), 0);
	return i;
}

/* Return: bytes of engine block @block of a group that differ from a block of the cache. */
static inline uint64_t gx_differ(const struct gx *x, uint32_t group, uint32_t block, const char *cached, uint32_t tokens)
{
	const struct gpu_group *g = &x->l.group[group];
	uint64_t nr = 0;

	for (uint32_t i = 0; i < x->l.nr_layers; i++) {
		const struct gpu_layer *y = &x->l.layer[i];

		for (uint32_t p = 0; y->group == group && p < g->nr_parts; p++)
			for (uint32_t h = 0; h < g->nr_heads; h++)
				for (uint32_t t = 0; t < tokens; t++) {
					const char *dev = (const char *)(uintptr_t)y->dev[p] + block * g->block_stride +
							  h * g->head_stride + t * g->token_stride;
					const char *at = cached + y->at * g->arena_layer_stride + p * g->arena_part_stride +
							 h * g->arena_head_stride + t * g->arena_token_stride;

					nr += memcmp(dev, at, g->run_len) != 0;
				}
	}
	return nr;
}

/* ---- a chain saved and loaded ------------------------------------------------------------------------ */

#define GX_NR 3u
static const uint32_t gx_from[GX_NR] = { 5, 1, 2 }, gx_to[GX_NR] = { 0, 7, 3 };

struct gx_chain {
	struct kvshm_key keys[GX_NR];
	struct kvshm_block blocks[GX_NR];
	struct kvshm_pin pin;
};

static inline struct kvshm_stage_save gx_save_of(struct gx *x, struct gx_chain *c, uint32_t chain)
{
	fake_keys(c->keys, GX_NR, chain);
	assert_int_equal(kvshm_grant(x->k, x->ns[0], 0, GX_NR, c->blocks, GX_US), GX_NR);
	return (struct kvshm_stage_save){ .ns = x->ns[0], .keys = c->keys, .blocks = c->blocks, .engine_blocks = gx_from,
					  .nr = GX_NR, .user_data = chain };
}

static inline struct kvshm_stage_load gx_load_of(struct gx *x, struct gx_chain *c, uint32_t chain)
{
	fake_keys(c->keys, GX_NR, chain);
	assert_int_equal(kvshm_acquire(x->k, x->ns[0], c->keys, GX_NR, &c->pin), GX_NR);
	assert_int_equal(kvshm_resolve(x->k, &c->pin, c->keys, c->blocks), GX_NR);
	return (struct kvshm_stage_load){ .blocks = c->blocks, .engine_blocks = gx_to, .nr = GX_NR, .nr_pins = 1,
					  .pins = &c->pin };
}

static inline struct kvshm_stage *gx_load(struct gx *x, struct gx_chain *c, uint32_t chain, uint32_t per_step)
{
	struct kvshm_stage_desc d = { .sz = sizeof(d), .layers_per_step = per_step };
	struct kvshm_stage_load l = gx_load_of(x, c, chain);
	struct kvshm_stage *s = NULL;

	assert_int_equal(kvshm_stage_in(x->g, &l, &d, &s), 0);
	assert_int_equal(c->pin.slot, 0);
	return s;
}

static inline struct kvshm_stage *gx_save(struct gx *x, struct gx_chain *c, uint32_t chain, uint32_t per_step)
{
	struct kvshm_stage_desc d = { .sz = sizeof(d), .layers_per_step = per_step };
	struct kvshm_stage_save v = gx_save_of(x, c, chain);
	struct kvshm_stage *s = NULL;

	assert_int_equal(kvshm_stage_out(x->g, &v, &d, &s), 0);
	return s;
}

static inline uint32_t gx_pins_held(const struct gx *x)
{
	uint32_t nr = 0;

	for (uint32_t i = 1; i < x->k->cur->pins.nr; i++)
		nr += READ_ONCE(x->k->cur->pins.word[i]) != 0;
	return nr;
}

#endif
