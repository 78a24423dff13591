/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_plan.c - a layout and a request of another process: whatever is planned stays inside what was handed over */
#include <stdbool.h>

#include "gpu/stage_plan.h"
#include "kvshm/base/compiler.h"
#include "tests/fuzz/fuzz.h"

#define DEV 0x10000000ull		/* the memory that was handed over, and our own landing space beside it */
#define DEV_LEN 0x4000000ull
#define LANDING (DEV + DEV_LEN)
#define LANDING_LEN 0x8000ull
#define SPAN 0x100000ull
#define NR_ITEMS 12u
#define NR_OPS 4096u

struct world {
	struct gpu_layout l;
	struct stage_item items[GPU_GROUPS_MAX][NR_ITEMS];
	struct stage_request req;
	struct stage_caps caps;
	struct stage_op ops[NR_OPS];
	struct stage_launch launches[64];
	struct stage_step steps[16];
	uint32_t table[1024] __attribute__((aligned(8)));
	struct stage_plan p;
};

/* Small mostly, now and then of any size. */
static uint64_t number(struct input *in)
{
	const uint8_t kind = take8(in);

	if (kind < 0xe0)
		return kind & 15;
	return kind < 0xf0 ? take16(in) : take64(in);
}

/* A dense group in some order, layers in one storage; then some of its words are any. */
static void take_group(struct input *in, struct gpu_layout *l, uint32_t group)
{
	struct gpu_group *g = &l->group[group];
	uint64_t at = DEV + take16(in);
	uint64_t plane;

	g->nr_blocks = 1 + take8(in) % 16;
	g->nr_tokens = 1 + take8(in) % 4;
	g->nr_heads = 1 + take8(in) % 4;
	g->nr_parts = 1 + take8(in) % 2;
	g->run_len = 1 + take8(in) % 32;
	g->token_stride = g->run_len + (take8(in) & 1);
	g->head_stride = g->token_stride * g->nr_tokens + (take8(in) & 1);
	g->block_stride = g->head_stride * g->nr_heads + (take8(in) & 7);
	plane = g->block_stride * g->nr_blocks;
	for (uint32_t i = 0; i < l->nr_layers; i++)
		if (l->layer[i].group == group)
			for (uint32_t p = 0; p < g->nr_parts; p++, at += plane)
				l->layer[i].dev[p] = at;
}

static void take_layout(struct input *in, struct gpu_layout *l)
{
	l->nr_groups = 1 + take8(in) % 3;
	l->nr_layers = l->nr_groups + take8(in) % 6;
	for (uint32_t i = 0; i < l->nr_layers; i++)
		l->layer[i].group = i < l->nr_groups ? i : take8(in) % l->nr_groups;
	for (uint32_t g = 0; g < l->nr_groups; g++)
		take_group(in, l, g);
	gpu_layout_pack(l);
	for (unsigned n = take8(in) % 4; n > 0; n--) {
		const size_t words = offsetof(struct gpu_layout, layer[8]) / 4;
		const uint64_t v = number(in);

		memcpy((uint32_t *)l + take16(in) % (words - 1), &v, v > UINT32_MAX ? 8 : 4);
	}
}

static void take_request(struct input *in, struct world *w)
{
	uint64_t seams[2] = { 0 };

	w->req.dir = (enum stage_dir)(take8(in) & 1);
	w->req.layers_per_step = (uint32_t)number(in);
	w->req.first_layer = take8(in) & 1 ? (uint32_t)number(in) : 0;
	w->req.nr_layers = take8(in) & 1 ? (uint32_t)number(in) : 0;
	for (unsigned g = 0; g < GPU_GROUPS_MAX; g++) {
		w->req.list[g] = (struct stage_list){ w->items[g], g < 3 ? take8(in) % (NR_ITEMS + 1) : 0 };
		for (uint32_t i = 0; i < w->req.list[g].nr; i++)
			w->items[g][i] = (struct stage_item){
				.arena = take8(in) & 0x80 ? number(in) : i * w->l.group[g].arena_len,
				.block = (uint32_t)number(in), .token = take8(in) & 0xc0 ? 0 : take8(in) & 3,
				.nr_tokens = take8(in) & 0xc0 ? 0 : take8(in) & 3,
			};
	}
	w->caps = (struct stage_caps){
		.ways = take8(in) & STAGE_MAY_ALL, .has_2d = take8(in) & 1, .max_pitch = number(in), .landing = LANDING,
		.landing_len = take16(in) % (LANDING_LEN + 1), .arena_dev = 1ull << 40, .arena_span = SPAN,
		.table_dev = (uintptr_t)w->table, .seams = seams, .nr_seams = 0,
	};
}

static bool is_in(uint64_t at, uint64_t len, uint64_t base, uint64_t size)
{
	return at >= base && at - base <= size && len <= size - (at - base);
}

static void check_copy(const struct stage_op *op)
{
	MUST(op->rows >= 1 && op->len > 0);
	for (uint32_t i = 0; i < op->rows; i++) {
		MUST(is_in(op->arena + i * op->arena_pitch, op->len, 0, SPAN));
		MUST(is_in(op->dev + i * op->dev_pitch, op->len, DEV, DEV_LEN) ||
		     is_in(op->dev + i * op->dev_pitch, op->len, LANDING, LANDING_LEN));
	}
}

/* The last byte of a kernel's plane on either side. */
static void check_launch(const struct world *w, const struct stage_launch *l)
{
	const struct gpu_spread_args *a = &l->args;
	const uint64_t run = (uint64_t)a->run_vecs << a->vec_shift;
	const uint64_t dev_len = (a->nr_outer - 1) * a->outer_dev + (a->nr_inner - 1) * a->inner_dev + run;
	const uint64_t packed_len = (a->nr_outer - 1) * a->outer_packed + (a->nr_inner - 1) * a->inner_packed + run;
	const uint32_t *blocks = (const uint32_t *)(uintptr_t)a->blocks;
	const struct gpu_plane *planes = (const struct gpu_plane *)(uintptr_t)a->planes;
	const uint64_t *offsets = (const uint64_t *)(uintptr_t)a->offsets;

	MUST(l->nr_ctas == (uint64_t)a->nr_blocks * a->nr_planes && a->vec_shift <= 4);
	MUST(is_in((uintptr_t)(blocks + a->nr_blocks), 0, (uintptr_t)w->table, sizeof(w->table)));
	MUST(is_in((uintptr_t)(planes + a->nr_planes), 0, (uintptr_t)w->table, sizeof(w->table)));
	for (uint32_t b = 0; b < a->nr_blocks; b++)
		for (uint32_t p = 0; p < a->nr_planes; p++) {
			const uint64_t packed = a->packed + planes[p].packed + (offsets ? offsets[b] : b * a->packed_stride);

			MUST(is_in(planes[p].dev + a->dev_shift + blocks[b] * a->block_stride, dev_len, DEV, DEV_LEN));
			MUST(offsets ? is_in(packed, packed_len, w->caps.arena_dev, SPAN) :
				       is_in(packed, packed_len, LANDING, w->caps.landing_len));
		}
}

static void check_plan(const struct world *w)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < w->p.nr_steps; i++) {
		MUST(w->p.steps[i].first_op == at);
		at += w->p.steps[i].nr_ops;
	}
	MUST(at == w->p.nr_ops && w->p.nr_ops <= NR_OPS);
	for (uint32_t i = 0; i < w->p.nr_ops; i++)
		if (w->p.ops[i].kind == STAGE_OP_KERNEL)
			check_launch(w, &w->p.launches[w->p.ops[i].launch]);
		else
			check_copy(&w->p.ops[i]);
}

/* The first layer of the request by itself, then the others, as far as both can be. */
static int plan_in_two(struct world *w)
{
	struct stage_request rest = w->req;
	int ret;

	w->req.nr_layers = 1;
	ret = stage_plan_make(&w->l, &w->req, &w->caps, NULL, &w->p);
	rest.first_layer++;
	rest.nr_layers -= rest.nr_layers > 1;
	return ret < 0 ? ret : stage_plan_add(&w->l, &rest, &w->caps, NULL, &w->p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct world w;
	const struct gpu_range range = { DEV, DEV_LEN };
	struct input in = { data, len };
	struct gpu_layout_fault f = { 0 };

	memset(&w.l, 0, sizeof(w.l));
	memset(&w.req, 0, sizeof(w.req));
	take_layout(&in, &w.l);
	if (gpu_layout_check(&w.l, &f) < 0) {
		MUST(f.why && *f.why);
		return 0;
	}
	if (gpu_layout_within(&w.l, &range, 1, NULL) < 0)
		return 0;
	take_request(&in, &w);
	w.p = (struct stage_plan){ .ops = w.ops, .launches = w.launches, .steps = w.steps, .table = w.table,
				   .max_ops = NR_OPS, .max_launches = ARRAY_SIZE(w.launches),
				   .max_steps = ARRAY_SIZE(w.steps), .max_table = ARRAY_SIZE(w.table) };
	if (stage_plan_make(&w.l, &w.req, &w.caps, NULL, &w.p) == 0)
		check_plan(&w);
	if (plan_in_two(&w) == 0)
		check_plan(&w);
	return 0;
}
