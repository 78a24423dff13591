/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage_world.h - random layouts and block tables in real memory, and two ways to move their bytes
 *
 * world_run() executes a plan as a stream would; world_naive() moves byte by byte through the strides.  Both work on
 * addresses of this process, kernels run as their twins.
 */
#ifndef TESTS_STAGE_WORLD_H
#define TESTS_STAGE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/kern_twin.h"
#include "gpu/stage_plan.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"

#define WORLD_ITEMS 24u

struct world {
	struct rand r;
	struct gpu_layout l;
	uint8_t *dev, *arena, *landing;
	uint64_t dev_len, arena_len, landing_len;
	struct stage_item items[GPU_GROUPS_MAX][WORLD_ITEMS];
	struct stage_request req;
	struct stage_caps caps;
	struct stage_cost cost;
	uint64_t seams[4];
	struct stage_plan plan;
};

/* A stride for each of @nr dimensions in the order @at, innermost first; now and then with a gap. */
static inline uint64_t world_strides(struct rand *r, const uint64_t *nr, const unsigned *at, unsigned nr_dims,
				     uint64_t len, uint64_t *ret_stride)
{
	for (unsigned i = 0; i < nr_dims; i++) {
		if (!rand_below(r, 6))
			len += 1 + rand_below(r, 40);
		ret_stride[at[i]] = len;
		len *= nr[at[i]];
	}
	return len;
}

static inline void world_shuffle(struct rand *r, unsigned *at, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		at[i] = i;
	for (unsigned i = nr; i > 1; i--) {
		const unsigned j = (unsigned)rand_below(r, i), x = at[i - 1];

		at[i - 1] = at[j];
		at[j] = x;
	}
}

/* One group of @nr_layers: some dimensions inside one allocation, layers and parts perhaps in their own. */
static inline uint64_t world_group(struct world *w, unsigned group, unsigned nr_layers, uint64_t dev)
{
	static const uint32_t runs[] = { 1, 2, 3, 4, 6, 8, 16, 32, 48, 64 };
	struct gpu_group *g = &w->l.group[group];
	struct rand *r = &w->r;
	const bool apart = !rand_below(r, 3);
	uint64_t nr[5], stride[5] = { 0 }, len, part_stride;
	unsigned at[5];

	*g = (struct gpu_group){
		.nr_blocks = 4 + (uint32_t)rand_below(r, WORLD_ITEMS), .nr_tokens = 1 + (uint32_t)rand_below(r, 8),
		.nr_heads = 1 + (uint32_t)rand_below(r, 4), .nr_parts = 1 + (uint32_t)rand_below(r, 2),
		.run_len = runs[rand_below(r, ARRAY_SIZE(runs))],
	};
	nr[0] = g->nr_blocks, nr[1] = g->nr_heads, nr[2] = g->nr_tokens, nr[3] = g->nr_parts, nr[4] = nr_layers;
	world_shuffle(r, at, apart ? 3 : 5);
	len = world_strides(r, nr, at, apart ? 3 : 5, g->run_len, stride);
	g->block_stride = stride[0];
	g->head_stride = stride[1];
	g->token_stride = stride[2];
	part_stride = stride[3];
	for (unsigned i = 0, n = 0; i < w->l.nr_layers; i++) {
		if (w->l.layer[i].group != group)
			continue;
		for (unsigned p = 0; p < g->nr_parts; p++) {
			/* V before K where parts lie apart and the dice say so */
			const unsigned q = apart && g->run_len & 1 ? g->nr_parts - 1 - p : p;

			w->l.layer[i].dev[q] = apart ? dev : dev + n * stride[4] + p * part_stride;
			if (apart)
				dev += len + rand_below(r, 3) * 16;
		}
		n++;
	}
	if (rand_below(r, 2)) {
		/* an order of the arena's own: layer, part, head, token */
		const uint64_t dims[4] = { nr_layers, g->nr_parts, g->nr_heads, g->nr_tokens };
		uint64_t s[4];

		world_shuffle(r, at, 4);
		g->arena_len = world_strides(r, dims, at, 4, g->run_len, s);
		g->arena_layer_stride = s[0];
		g->arena_part_stride = s[1];
		g->arena_head_stride = s[2];
		g->arena_token_stride = s[3];
	}
	return apart ? dev : dev + len;
}

/* Distinct engine blocks and distinct places: runs of neighbours, jumps, and any order. */
static inline void world_items(struct world *w, unsigned group, bool as_chain)
{
	const struct gpu_group *g = &w->l.group[group];
	struct stage_item *items = w->items[group];
	const uint32_t nr = (uint32_t)rand_below(&w->r, min_of(g->nr_blocks, WORLD_ITEMS) + 1);
	unsigned blocks[64], places[64];
	const unsigned disorder = (unsigned)rand_below(&w->r, 3);

	world_shuffle(&w->r, blocks, g->nr_blocks);
	world_shuffle(&w->r, places, g->nr_blocks);
	for (unsigned i = 0; i < nr; i++) {
		items[i] = (struct stage_item){
			.block = disorder > 0 ? blocks[i] : i,
			.arena = w->arena_len + (disorder > 1 ? places[i] : i) * g->arena_len,
		};
		if (as_chain ? i == 0 || i == nr - 1 : !rand_below(&w->r, 8)) {
			items[i].token = (uint16_t)rand_below(&w->r, g->nr_tokens);
			items[i].nr_tokens = (uint16_t)rand_below(&w->r, g->nr_tokens - items[i].token + 1u);
		}
	}
	w->arena_len += g->nr_blocks * g->arena_len;
	w->req.list[group] = (struct stage_list){ items, nr };
}

static inline void world_fill(struct world *w, uint8_t *p, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		p[i] = (uint8_t)rand_u64(&w->r);
}

static inline void world_cost(struct world *w)
{
	struct rand *r = &w->r;

	w->cost = (struct stage_cost){
		.call_ns = rand_double(r) * 3000, .copy_ns = rand_double(r) * 3000, .row_ns = rand_double(r) * 100,
		.batch_ns = rand_double(r) * 5000, .entry_ns = rand_double(r) * 500,
		.entry_copy_ns = rand_double(r) * 3000,
		.launch_ns = rand_double(r) * 8000, .link_bytes_per_ns = 1 + rand_double(r) * 50,
		.device_bytes_per_ns = 1 + rand_double(r) * 2000, .direct_bytes_per_ns = 1 + rand_double(r) * 50,
	};
}

static inline void world_request(struct world *w)
{
	struct rand *r = &w->r;

	w->req.dir = rand_below(r, 2) ? STAGE_H2D : STAGE_D2H;
	w->req.layers_per_step = (uint32_t)rand_below(r, w->l.nr_layers + 1);
	if (!rand_below(r, 3)) {
		w->req.first_layer = (uint32_t)rand_below(r, w->l.nr_layers);
		w->req.nr_layers = (uint32_t)rand_below(r, w->l.nr_layers - w->req.first_layer + 1);
	}
	w->landing_len = 256 + rand_below(r, 1 << 15);
	w->landing = aligned_alloc(16, round_up(w->landing_len, 16));
	for (unsigned i = 0; i < ARRAY_SIZE(w->seams); i++)
		w->seams[i] = w->arena_len * (i + 1) / 5;
	w->caps = (struct stage_caps){
		.ways = STAGE_MAY_ALL, .has_2d = rand_below(r, 4) != 0, .landing = (uintptr_t)w->landing,
		.landing_len = w->landing_len, .arena_dev = (uintptr_t)w->arena, .arena_span = w->arena_len,
		.seams = w->seams, .nr_seams = (uint32_t)rand_below(r, ARRAY_SIZE(w->seams) + 1),
		.max_pitch = rand_below(r, 4) ? 0 : 200,
	};
	world_cost(w);
}

/* All of it from one number; @as_chain: only the ends of a list are partial. */
static inline void world_init(struct world *w, uint64_t seed, bool as_chain)
{
	struct gpu_layout_fault f = { 0 };
	unsigned nr[GPU_GROUPS_MAX] = { 0 };
	uint64_t end = 64;

	memset(w, 0, sizeof(*w));
	rand_init(&w->r, seed);
	w->l.nr_groups = 1 + (uint32_t)rand_below(&w->r, 3);
	w->l.nr_layers = w->l.nr_groups + (uint32_t)rand_below(&w->r, 6);
	for (unsigned i = 0; i < w->l.nr_layers; i++) {
		w->l.layer[i].group = i < w->l.nr_groups ? i : (uint32_t)rand_below(&w->r, w->l.nr_groups);
		nr[w->l.layer[i].group]++;
	}
	for (unsigned g = 0; g < w->l.nr_groups; g++)
		end = world_group(w, g, nr[g], end) + rand_below(&w->r, 2) * 7;
	w->dev_len = end;
	w->dev = aligned_alloc(64, round_up(end, 64));
	assert_non_null(w->dev);
	for (unsigned i = 0; i < w->l.nr_layers; i++)
		for (unsigned p = 0; p < w->l.group[w->l.layer[i].group].nr_parts; p++)
			w->l.layer[i].dev[p] += (uintptr_t)w->dev;
	gpu_layout_pack(&w->l);
	if (gpu_layout_check(&w->l, &f) < 0)
		fail_msg("seed %llu: %s (group %u, layer %u, %llu)", (unsigned long long)seed, f.why, f.group, f.layer,
			 (unsigned long long)f.value);
	w->arena_len = rand_below(&w->r, 2) * 4096;
	for (unsigned g = 0; g < w->l.nr_groups; g++)
		world_items(w, g, as_chain);
	w->arena = aligned_alloc(4096, round_up(w->arena_len, 4096ull) + 4096);
	assert_non_null(w->arena);
	world_request(w);
	world_fill(w, w->dev, w->dev_len);
	world_fill(w, w->arena, w->arena_len);
}

static inline void world_arrays(struct world *w, uint32_t ops, uint32_t launches, uint32_t steps, uint32_t table)
{
	struct stage_plan *p = &w->plan;

	*p = (struct stage_plan){ .max_ops = ops, .max_launches = launches, .max_steps = steps, .max_table = table };
	p->ops = calloc(ops + 1, sizeof(*p->ops));
	p->launches = calloc(launches + 1, sizeof(*p->launches));
	p->steps = calloc(steps + 1, sizeof(*p->steps));
	p->table = calloc(table + 2, sizeof(*p->table));
	w->caps.table_dev = (uintptr_t)p->table;
}

static inline void world_fini(struct world *w)
{
	free(w->plan.ops);
	free(w->plan.launches);
	free(w->plan.steps);
	free(w->plan.table);
	free(w->landing);
	free(w->arena);
	free(w->dev);
}

/* Is [dev, dev + len) in what the device has of this world. */
static inline bool world_is_dev(const struct world *w, uint64_t dev, uint64_t len)
{
	const uint64_t d = dev - (uintptr_t)w->dev, n = dev - (uintptr_t)w->landing;

	return (d <= w->dev_len && len <= w->dev_len - d) || (n <= w->landing_len && len <= w->landing_len - n);
}

static inline void world_row(struct world *w, uint64_t arena, uint64_t dev, uint64_t len)
{
	assert_true(arena <= w->arena_len && len <= w->arena_len - arena);
	assert_true(world_is_dev(w, dev, len));
	if (w->req.dir == STAGE_H2D)
		memcpy((void *)(uintptr_t)dev, w->arena + arena, len);
	else
		memcpy(w->arena + arena, (void *)(uintptr_t)dev, len);
}

/* An operation that crosses a seam is part of one block, which straddles it. */
static inline void world_seams(const struct world *w, const struct stage_op *op)
{
	const uint64_t end = op->arena + (op->rows - 1) * op->arena_pitch + op->len;
	bool is_crossed = false, is_inside = false;

	for (unsigned i = 0; i < w->caps.nr_seams; i++)
		is_crossed |= op->arena < w->seams[i] && w->seams[i] < end;
	for (unsigned g = 0; is_crossed && g < w->l.nr_groups; g++)
		for (uint32_t i = 0; i < w->req.list[g].nr; i++)
			is_inside |= w->items[g][i].arena <= op->arena &&
				     end <= w->items[g][i].arena + w->l.group[g].arena_len;
	assert_true(!is_crossed || is_inside);
}

/* One of a step that goes @way. */
static inline void world_op(struct world *w, enum stage_way way, const struct stage_op *op)
{
	if (op->kind == STAGE_OP_KERNEL) {
		const struct stage_launch *launch = &w->plan.launches[op->launch];

		assert_true(op->launch < w->plan.nr_launches);
		kern_twins[launch->kernel](launch->nr_ctas, launch->nr_threads, &launch->args);
		return;
	}
	assert_true(op->rows >= 1);
	assert_true(op->kind == STAGE_OP_RECT || op->rows == 1);
	if (op->kind == STAGE_OP_RECT) {
		const uint64_t max = w->caps.max_pitch ? w->caps.max_pitch : INT32_MAX;

		assert_true(w->caps.has_2d && way != STAGE_WAY_BATCH);
		assert_true(op->arena_pitch >= op->len && op->dev_pitch >= op->len);
		assert_true(op->arena_pitch <= max && op->dev_pitch <= max);
	}
	world_seams(w, op);
	for (uint32_t i = 0; i < op->rows; i++)
		world_row(w, op->arena + i * op->arena_pitch, op->dev + i * op->dev_pitch, op->len);
}

/* What world_naive() counts. */
struct world_tally {
	uint64_t bytes;
};

/* One plane of one block, a token of a head at a time. */
static inline void naive_plane(const struct world *w, const struct gpu_layer *layer, unsigned part,
			       const struct stage_item *item, uint8_t *dev, uint8_t *arena, struct world_tally *t)
{
	const struct gpu_group *g = &w->l.group[layer->group];
	const unsigned end = item->nr_tokens ? item->token + item->nr_tokens : g->nr_tokens;

	for (unsigned head = 0; head < g->nr_heads; head++)
		for (unsigned token = item->token; token < end; token++) {
			uint8_t *d = dev + (layer->dev[part] - (uintptr_t)w->dev) + item->block * g->block_stride +
				     head * g->head_stride + token * g->token_stride;
			uint8_t *a = arena + item->arena + layer->at * g->arena_layer_stride +
				     part * g->arena_part_stride + head * g->arena_head_stride +
				     token * g->arena_token_stride;

			for (uint64_t i = 0; i < g->run_len; i++)
				if (w->req.dir == STAGE_H2D)
					d[i] = a[i];
				else
					a[i] = d[i];
			t->bytes += g->run_len;
		}
}

/* The layers of a step, from @dev to @arena or back. */
static inline struct world_tally world_naive(const struct world *w, uint32_t first, uint32_t nr, uint8_t *dev,
					     uint8_t *arena)
{
	struct world_tally t = { 0 };

	for (uint32_t i = first; i < first + nr; i++) {
		const struct gpu_layer *layer = &w->l.layer[i];
		const struct stage_list *list = &w->req.list[layer->group];

		for (uint32_t n = 0; n < list->nr; n++)
			for (unsigned p = 0; p < w->l.group[layer->group].nr_parts; p++)
				naive_plane(w, layer, p, &list->items[n], dev, arena, &t);
	}
	return t;
}

#endif
