/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_plan.c - what it costs to decide which copies move a prefix to the GPU, and how many they are
 *
 * No daemon, no device: the planner alone.  The prefix is 8 K tokens of an 8B model in blocks of 16, its arena
 * blocks neighbours as far as one commit put them there, its engine blocks anywhere in a pool of four times as many.
 * The floor is writing as many operations without thinking.  What the first byte waits for is the plan of the first
 * layer: it should be the same for a model of 32 layers and one of 80.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gather.h"
#include "gpu/geometry.h"
#include "gpu/stage_plan.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"
#include "utils/bench.h"
#include "utils/commands.h"

#define MODEL "llama-3.1-8b"
#define DEEP_MODEL "llama-3-70b"
#define BLOCK_TOKENS 16u
#define DEFAULT_BLOCKS 512ul
#define COMMIT_BLOCKS 32u
#define LANDING_LEN (64ull << 20)
#define BATCHES 60u
#define WARM_UP 5u
#define PIECES 65536u
#define PIECE_TOKENS 8u			/* 2 KiB of one head */

struct plan_world {
	struct gpu_layout l;
	uint32_t nr;
	struct stage_item *items;
	struct stage_caps caps;
	struct stage_plan p;
	struct stage_op *copy;		/* where the floor writes */
};

static void free_arrays(struct plan_world *w)
{
	free(w->p.ops);
	free(w->p.launches);
	free(w->p.steps);
	free(w->p.table);
	free(w->copy);
	w->copy = NULL;
	w->p = (struct stage_plan){ 0 };
}

static int make_arrays(struct plan_world *w)
{
	struct stage_plan *p = &w->p;
	int ret = stage_plan_size(&w->l, &w->caps, w->nr, 1, p);

	if (ret < 0)
		return ret;
	p->ops = calloc(p->max_ops, sizeof(*p->ops));
	p->launches = calloc(p->max_launches, sizeof(*p->launches));
	p->steps = calloc(p->max_steps, sizeof(*p->steps));
	p->table = calloc(p->max_table, sizeof(*p->table));
	w->copy = calloc(p->max_ops, sizeof(*w->copy));
	w->caps.table_dev = (uintptr_t)p->table;
	return p->ops && p->launches && p->steps && p->table && w->copy ? 0 : -ENOMEM;
}

static void make_items(struct plan_world *w)
{
	const uint32_t pool = w->l.group[0].nr_blocks;
	struct rand r;

	rand_init(&r, 7);
	for (uint32_t i = 0; i < w->nr; i++) {
		/* each commit in a place of its own, later ones before earlier ones */
		const uint32_t commit = (w->nr - 1 - i) / COMMIT_BLOCKS;

		w->items[i].arena = (2ull * commit * COMMIT_BLOCKS + i % COMMIT_BLOCKS) * w->l.group[0].arena_len;
		w->items[i].block = (uint32_t)rand_below(&r, pool);
	}
	w->caps.arena_span = (2ull * w->nr + 2 * COMMIT_BLOCKS) * w->l.group[0].arena_len;
}

/* The model's blocks in @order, and memory for any plan of them.  Return: 0, -errno. */
static int open_world(struct plan_world *w, const char *model, const char *order, uint32_t nr)
{
	int ret;

	memset(w, 0, sizeof(*w));
	w->nr = nr;
	ret = gpu_geometry_layout(gpu_model_find(model), gpu_order_find(order)->dims, BLOCK_TOKENS, 4 * nr, 1ull << 32,
				  &w->l, NULL);
	w->items = calloc(nr, sizeof(*w->items));
	if (ret < 0 || !w->items)
		return ret < 0 ? ret : -ENOMEM;
	make_items(w);
	w->caps.ways = STAGE_MAY_ALL;
	w->caps.has_2d = true;
	w->caps.landing = 1ull << 20;
	w->caps.landing_len = LANDING_LEN;
	w->caps.arena_dev = 1ull << 20;
	return make_arrays(w);
}

static void close_world(struct plan_world *w)
{
	free_arrays(w);
	free(w->items);
}

/* One plan by @ways, @nr_layers from the first on.  Return: ns, or -errno. */
static double time_plan(struct plan_world *w, unsigned ways, uint32_t nr_layers, uint32_t layers_per_step)
{
	const struct stage_request req = {
		.nr_layers = nr_layers, .layers_per_step = layers_per_step, .list = { { w->items, w->nr } },
	};
	uint64_t start;
	int ret;

	w->caps.ways = ways;
	start = clock_ns();
	ret = stage_plan_make(&w->l, &req, &w->caps, NULL, &w->p);
	return ret < 0 ? ret : (double)(clock_ns() - start);
}

/* What comes behind the first layer, planned as a part of its own.  Return: ns, or -errno. */
static double time_rest(struct plan_world *w)
{
	const struct stage_request req = { .first_layer = 1, .layers_per_step = 1, .list = { { w->items, w->nr } } };
	double ns = time_plan(w, STAGE_MAY_ALL, 1, 1);
	uint64_t start;
	int ret;

	if (ns < 0)
		return ns;
	start = clock_ns();
	ret = stage_plan_add(&w->l, &req, &w->caps, NULL, &w->p);
	return ret < 0 ? ret : (double)(clock_ns() - start);
}

static double time_floor(struct plan_world *w)
{
	const uint64_t start = clock_ns();

	memcpy(w->copy, w->p.ops, w->p.nr_ops * sizeof(*w->copy));
	return (double)(clock_ns() - start);
}

struct plan_samples {
	struct samples layered, floor, first, rest, whole;
};

static void sample(struct plan_world *w, struct plan_samples *s, bool is_counted)
{
	const double layered = time_plan(w, STAGE_MAY_ALL, 0, 1), floor = time_floor(w);
	const double whole = time_plan(w, STAGE_MAY_ALL, 0, 0), first = time_plan(w, STAGE_MAY_ALL, 1, 1);
	const double rest = time_rest(w);

	if (!is_counted)
		return;
	samples_add(&s->layered, layered);
	samples_add(&s->floor, floor);
	samples_add(&s->whole, whole);
	samples_add(&s->first, first);
	samples_add(&s->rest, rest);
}

static void measure(struct plan_world *w, struct jdoc *j)
{
	struct plan_samples s = { 0 };

	for (unsigned b = 0; b < WARM_UP + BATCHES; b++)
		sample(w, &s, b >= WARM_UP);
	jdoc_real(j, "p50_ns", samples_quantile(&s.layered, 0.5));
	jdoc_real(j, "p99_ns", samples_quantile(&s.layered, 0.99));
	jdoc_real(j, "floor_ns", samples_quantile(&s.floor, 0.5));
	jdoc_real(j, "first_layer_ns", samples_quantile(&s.first, 0.5));
	jdoc_real(j, "rest_ns", samples_quantile(&s.rest, 0.5));
	jdoc_real(j, "aggregated_ns", samples_quantile(&s.whole, 0.5));
	samples_fini(&s.layered);
	samples_fini(&s.floor);
	samples_fini(&s.first);
	samples_fini(&s.rest);
	samples_fini(&s.whole);
}

/* The first layer of a deep model beside that of MODEL, in turns.  Return: 0, -errno. */
static int measure_growth(struct plan_world *w, struct jdoc *j)
{
	struct samples few = { 0 }, many = { 0 };
	struct plan_world deep;
	int ret = open_world(&deep, DEEP_MODEL, "hnd", w->nr);

	for (unsigned b = 0; b < WARM_UP + BATCHES && ret == 0; b++) {
		const double a = time_plan(w, STAGE_MAY_ALL, 1, 1), z = time_plan(&deep, STAGE_MAY_ALL, 1, 1);

		if (b < WARM_UP)
			continue;
		samples_add(&few, a);
		samples_add(&many, z);
	}
	if (ret == 0)
		jdoc_real(j, "first_layer_growth", samples_quantile(&many, 0.5) / samples_quantile(&few, 0.5));
	samples_fini(&few);
	samples_fini(&many);
	close_world(&deep);
	return ret;
}

/* Copies a block by a way, NaN where it cannot. */
static double copies_by(struct plan_world *w, unsigned ways, uint32_t layers_per_step)
{
	return time_plan(w, ways, 0, layers_per_step) < 0 ? __builtin_nan("") : (double)w->p.nr_copies / w->nr;
}

static int report_order(const char *order, uint32_t nr, struct jdoc *j)
{
	static const char *const ways[] = { "copy", "batch", "land", "direct" };
	struct plan_world w;
	struct jdoc *row;
	int ret = open_world(&w, MODEL, order, nr);

	if (ret == 0) {
		row = jdoc_append(j, "orders");
		jdoc_text(row, "order", order);
		for (unsigned layered = 0; layered < 2; layered++) {
			struct jdoc *at = jdoc_object(row, layered ? "layered_copies_per_block" : "copies_per_block");

			for (unsigned i = 0; i < STAGE_NR_WAYS; i++)
				jdoc_real(at, ways[i], copies_by(&w, STAGE_MAY(i), layered));
			time_plan(&w, STAGE_MAY_ALL, 0, layered);
			jdoc_text(at, "chosen", ways[w.p.way]);
		}
	}
	close_world(&w);
	return ret;
}

/* Pieces of one head of 2 KiB each, anywhere in the prefix.  Return: ns a piece, NaN without memory. */
static double time_gather(struct plan_world *w)
{
	struct gather_piece *pieces = calloc(PIECES, sizeof(*pieces));
	uint64_t *blocks = calloc(w->nr, sizeof(*blocks)), start = 0;
	struct gather_plan p = { .runs = calloc(PIECES, sizeof(*p.runs)), .max_runs = PIECES };
	const struct gather_source s = {
		.group = &w->l.group[0], .nr_layers = w->l.nr_layers, .nr_blocks = w->nr, .blocks = blocks,
		.nr_tokens = (uint64_t)w->nr * BLOCK_TOKENS, .block_step = 1, .span = w->caps.arena_span,
	};
	struct rand r;
	int ret = -ENOMEM;

	rand_init(&r, 3);
	if (pieces && blocks && p.runs) {
		for (uint32_t i = 0; i < w->nr; i++)
			blocks[i] = w->items[i].arena;
		for (uint32_t i = 0; i < PIECES; i++)
			pieces[i] = (struct gather_piece){
				.id = i, .layer = (uint16_t)rand_below(&r, w->l.nr_layers), .nr_tokens = PIECE_TOKENS,
				.head = (uint16_t)rand_below(&r, 8), .part = (uint16_t)(i & 1),
				.token = PIECE_TOKENS * (uint32_t)rand_below(&r, w->nr * BLOCK_TOKENS / PIECE_TOKENS),
			};
		start = clock_ns();
		ret = gather_plan_make(&s, pieces, PIECES, NULL, &p, NULL);
	}
	start = clock_ns() - start;
	free(p.runs);
	free(blocks);
	free(pieces);
	return ret < 0 ? __builtin_nan("") : (double)start / PIECES;
}

static int run(const struct bench_options *o, struct jdoc *j)
{
	const unsigned long nr = o->blocks ? o->blocks : DEFAULT_BLOCKS;
	struct plan_world w;
	int ret;

	if (nr < COMMIT_BLOCKS || nr > 65536) {
		fprintf(stderr, "kvshm bench plan: --blocks takes %u to 65536\n", COMMIT_BLOCKS);
		return EXIT_USAGE;
	}
	jdoc_text(j, "model", MODEL);
	jdoc_int(j, "blocks", (int64_t)nr);
	jdoc_int(j, "tokens", (int64_t)nr * BLOCK_TOKENS);
	ret = open_world(&w, MODEL, "hnd", (uint32_t)nr);
	if (ret == 0) {
		measure(&w, j);
		ret = measure_growth(&w, j);
		jdoc_real(j, "gather_ns_per_piece", time_gather(&w));
	}
	close_world(&w);
	for (const struct gpu_order *order = gpu_orders; order->name && ret == 0; order++)
		if (strcmp(order->name, "mla") != 0)
			ret = report_order(order->name, (uint32_t)nr, j);
	if (ret < 0)
		fprintf(stderr, "kvshm bench plan: %s\n", strerror(-ret));
	return ret < 0 ? EXIT_DEAD : EXIT_FINE;
}

const struct bench bench_plan = {
	"plan", run, "deciding which copies move a prefix to the GPU; no device needed",
};
