/* SPDX-License-Identifier: Apache-2.0 */
/* test_stage_plan.c - plans move the same bytes as a loop over all elements, layer by layer, in the fewest copies */
#include "tests/unit/gpu/stage_world.h"

#include <errno.h>
#include <math.h>

#include "gpu/geometry.h"

#define WORLDS 3000u

/* Execute step by step; after each, all layers up to it are there and no other byte has changed. */
static void run_and_compare(struct world *w, uint64_t seed)
{
	uint8_t *dev = malloc(w->dev_len), *arena = malloc(w->arena_len + 1);
	const struct stage_plan *p = &w->plan;
	uint64_t bytes = 0, naive = 0;
	uint32_t op = 0;

	assert_non_null(dev);
	assert_non_null(arena);
	memcpy(dev, w->dev, w->dev_len);
	memcpy(arena, w->arena, w->arena_len);
	for (uint32_t i = 0; i < p->nr_steps; i++) {
		const struct stage_step *s = &p->steps[i];

		assert_int_equal(s->first_op, op);
		for (; op < s->first_op + s->nr_ops; op++)
			world_op(w, s->way, &p->ops[op]);
		naive += world_naive(w, s->first_layer, s->nr_layers, dev, arena).bytes;
		bytes += s->bytes;
		assert_int_equal(bytes, naive);
		if (memcmp(dev, w->dev, w->dev_len) || memcmp(arena, w->arena, w->arena_len))
			fail_msg("seed %llu: wrong bytes after step %u, way %d", (unsigned long long)seed, i, s->way);
	}
	assert_int_equal(op, p->nr_ops);
	assert_int_equal(p->nr_copies, p->nr_ops - p->nr_launches);
	assert_int_equal(p->bytes, bytes);
	free(dev);
	free(arena);
}

/* What was estimated is what was written: as many operations fit, and one less does not. */
static void fits_exactly(struct world *w)
{
	const uint32_t nr = w->plan.nr_ops;

	w->plan.max_ops = nr;
	assert_int_equal(stage_plan_make(&w->l, &w->req, &w->caps, &w->cost, &w->plan), 0);
	assert_int_equal(w->plan.nr_ops, nr);
	if (!nr)
		return;
	w->plan.max_ops = nr - 1;
	assert_int_equal(stage_plan_make(&w->l, &w->req, &w->caps, &w->cost, &w->plan), -ENOSPC);
}

static void each_way_moves_what_a_loop_over_all_elements_moves(void **state)
{
	unsigned done[STAGE_NR_WAYS] = { 0 };
	struct world *w = malloc(sizeof(*w));

	(void)state;
	assert_non_null(w);
	for (uint64_t seed = 1; seed <= WORLDS; seed++)
		for (unsigned way = 0; way < STAGE_NR_WAYS; way++) {
			int ret;

			world_init(w, seed, false);
			w->caps.ways = STAGE_MAY(way);
			world_arrays(w, 1 << 16, 512, 16, 4096);
			ret = stage_plan_make(&w->l, &w->req, &w->caps, &w->cost, &w->plan);
			if (ret == 0) {
				assert_int_equal(w->plan.way, way);
				run_and_compare(w, seed);
				fits_exactly(w);
				done[way]++;
			} else {
				assert_int_equal(ret, -EOPNOTSUPP);
				assert_int_equal(way, STAGE_WAY_LAND);
			}
			world_fini(w);
		}
	assert_int_equal(done[STAGE_WAY_COPY], WORLDS);
	assert_int_equal(done[STAGE_WAY_BATCH], WORLDS);
	assert_int_equal(done[STAGE_WAY_DIRECT], WORLDS);
	assert_true(done[STAGE_WAY_LAND] > WORLDS / 4);
	free(w);
}

static double price(const struct stage_plan *p, unsigned way)
{
	return p->way_ns[way] * (way == STAGE_WAY_DIRECT ? STAGE_DIRECT_PRICE : 1);
}

static void cheapest_possible_way_is_taken_and_its_cost_told(void **state)
{
	unsigned taken[STAGE_NR_WAYS] = { 0 };
	struct world *w = malloc(sizeof(*w));

	(void)state;
	assert_non_null(w);
	for (uint64_t seed = 1; seed <= WORLDS; seed++) {
		double best = INFINITY;

		world_init(w, seed, false);
		world_arrays(w, 1 << 16, 512, 16, 4096);
		assert_int_equal(stage_plan_make(&w->l, &w->req, &w->caps, &w->cost, &w->plan), 0);
		for (unsigned way = 0; way < STAGE_NR_WAYS; way++)
			best = fmin(best, price(&w->plan, way));
		assert_true(price(&w->plan, w->plan.way) == best);
		assert_true(w->plan.cost_ns == w->plan.way_ns[w->plan.way]);
		taken[w->plan.way]++;
		world_fini(w);
	}
	for (unsigned way = 0; way < STAGE_NR_WAYS; way++)
		assert_true(taken[way] > 0);
	free(w);
}

/* The arrays that stage_plan_size() asks for hold each way of any chain. */
static void sizes_suffice_for_chains(void **state)
{
	struct world *w = malloc(sizeof(*w));

	(void)state;
	assert_non_null(w);
	for (uint64_t seed = 1; seed <= WORLDS; seed++)
		for (unsigned way = 0; way < STAGE_NR_WAYS; way++) {
			struct stage_plan size = { 0 };
			uint32_t nr_items = 0;
			int ret;

			world_init(w, seed, true);
			w->caps.ways = STAGE_MAY(way);
			for (unsigned g = 0; g < w->l.nr_groups; g++)
				nr_items += w->req.list[g].nr;
			assert_int_equal(stage_plan_size(&w->l, &w->caps, nr_items, w->req.layers_per_step, &size), 0);
			world_arrays(w, size.max_ops, size.max_launches, size.max_steps, size.max_table);
			ret = stage_plan_make(&w->l, &w->req, &w->caps, &w->cost, &w->plan);
			if (ret != 0 && (ret != -EOPNOTSUPP || way != STAGE_WAY_LAND))
				fail_msg("seed %llu, way %u: %d", (unsigned long long)seed, way, ret);
			world_fini(w);
		}
	free(w);
}

/* The first step by one way, the rest by another, as far as there is a rest. */
static int make_in_two(struct world *w, unsigned first_way, unsigned rest_way)
{
	struct stage_request part = w->req;
	const uint32_t all = part.nr_layers ? part.nr_layers : w->l.nr_layers - part.first_layer;
	int ret;

	part.nr_layers = part.layers_per_step ? min_of(part.layers_per_step, all) : all;
	w->caps.ways = STAGE_MAY(first_way);
	ret = stage_plan_make(&w->l, &part, &w->caps, &w->cost, &w->plan);
	part.first_layer += part.nr_layers;
	part.nr_layers = all - part.nr_layers;
	if (ret < 0 || !part.nr_layers)
		return ret;
	w->caps.ways = STAGE_MAY(rest_way);
	ret = stage_plan_add(&w->l, &part, &w->caps, &w->cost, &w->plan);
	if (ret < 0)
		return ret;
	assert_int_equal(w->plan.steps[0].way, first_way);
	for (uint32_t i = 1; i < w->plan.nr_steps; i++)
		assert_int_equal(w->plan.steps[i].way, rest_way);
	return 2;
}

/* In arrays of the size that is said to suffice, each pair of ways. */
static void a_plan_in_two_parts_moves_the_same(void **state)
{
	struct world *w = malloc(sizeof(*w));
	unsigned done[STAGE_NR_WAYS * STAGE_NR_WAYS] = { 0 };

	(void)state;
	assert_non_null(w);
	for (uint64_t seed = 1; seed <= WORLDS; seed++) {
		const unsigned pair = (unsigned)(seed % ARRAY_SIZE(done));
		const unsigned first = pair / STAGE_NR_WAYS, rest = pair % STAGE_NR_WAYS;
		struct stage_plan size = { 0 };
		uint32_t nr_items = 0;
		int ret;

		world_init(w, seed, true);
		w->caps.ways = STAGE_MAY(first) | STAGE_MAY(rest);
		for (unsigned g = 0; g < w->l.nr_groups; g++)
			nr_items += w->req.list[g].nr;
		assert_int_equal(stage_plan_size(&w->l, &w->caps, nr_items, w->req.layers_per_step, &size), 0);
		world_arrays(w, size.max_ops, size.max_launches, size.max_steps, size.max_table);
		ret = make_in_two(w, first, rest);
		if (ret >= 0)
			run_and_compare(w, seed);
		else if (ret != -EOPNOTSUPP || (first != STAGE_WAY_LAND && rest != STAGE_WAY_LAND))
			fail_msg("seed %llu, ways %u, %u: %d", (unsigned long long)seed, first, rest, ret);
		done[pair] += ret == 2;
		world_fini(w);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(done); i++)
		assert_true(done[i] > 10);
	free(w);
}

/* What is there stays as it is, and what is added finds no more room than is left. */
static void a_part_that_does_not_fit_leaves_the_first(void **state)
{
	struct world *w = malloc(sizeof(*w));
	unsigned refused = 0;

	(void)state;
	assert_non_null(w);
	for (uint64_t seed = 1; seed <= 300; seed++) {
		uint32_t nr;

		world_init(w, seed, false);
		world_arrays(w, 1 << 16, 512, 16, 4096);
		w->req.layers_per_step = 1;
		if (make_in_two(w, STAGE_WAY_COPY, STAGE_WAY_COPY) == 2 && w->plan.nr_ops > w->plan.steps[0].nr_ops) {
			nr = w->plan.nr_ops;
			w->plan.max_ops = nr - 1;
			assert_int_equal(make_in_two(w, STAGE_WAY_COPY, STAGE_WAY_COPY), -ENOSPC);
			assert_int_equal(w->plan.nr_steps, 1);
			assert_int_equal(w->plan.nr_ops, w->plan.steps[0].nr_ops);
			w->plan.max_ops = nr;
			assert_int_equal(make_in_two(w, STAGE_WAY_COPY, STAGE_WAY_COPY), 2);
			refused++;
		}
		world_fini(w);
	}
	assert_true(refused > 50);
	free(w);
}

static void too_small_arrays_are_told_and_nothing_is_set(void **state)
{
	struct world *w = malloc(sizeof(*w));
	unsigned refused = 0;

	(void)state;
	assert_non_null(w);
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct stage_plan before;

		world_init(w, seed, false);
		world_arrays(w, 2, 0, 16, 0);
		before = w->plan;
		if (stage_plan_make(&w->l, &w->req, &w->caps, &w->cost, &w->plan) < 0) {
			assert_memory_equal(&before, &w->plan, sizeof(before));
			refused++;
		} else {
			assert_true(w->plan.nr_ops <= 2);
		}
		world_fini(w);
	}
	assert_true(refused > 100);
	free(w);
}

/* ---- engine pages smaller than the arena's block ------------------------------------------------------ */

/* Pages of 4 tokens, four of them in a block of 16: an item is its share, and the others' bytes are not its own. */
static void pages_share(const char *dims, enum stage_dir dir, unsigned way, int error)
{
	const struct gpu_model small = { "small", 3, 2, 32, 0 };
	struct world *w = calloc(1, sizeof(*w));
	struct gpu_layout of_16;
	struct gpu_group *g;

	assert_non_null(w);
	rand_init(&w->r, 9);
	w->dev_len = 1 << 16;
	w->dev = aligned_alloc(64, w->dev_len);
	assert_non_null(w->dev);
	assert_int_equal(gpu_geometry_layout(&small, dims, 16, 8, 4096, &of_16, NULL), 0);
	assert_int_equal(gpu_geometry_layout(&small, dims, 4, 32, (uintptr_t)w->dev, &w->l, NULL), 0);
	g = &w->l.group[0];
	g->arena_layer_stride = of_16.group[0].arena_layer_stride;
	g->arena_part_stride = of_16.group[0].arena_part_stride;
	g->arena_head_stride = of_16.group[0].arena_head_stride;
	g->arena_token_stride = of_16.group[0].arena_token_stride;
	g->arena_len = of_16.group[0].arena_len;
	assert_int_equal(gpu_layout_check(&w->l, NULL), 0);
	w->arena_len = 4 * g->arena_len;
	w->arena = aligned_alloc(4096, round_up(w->arena_len, 4096ull));
	assert_non_null(w->arena);
	for (unsigned i = 0; i < 14; i++)
		w->items[0][i] = (struct stage_item){ .block = i * 5 % 32, .arena = i / 4 * g->arena_len +
								   i % 4 * 4 * g->arena_token_stride };
	w->req = (struct stage_request){ .dir = dir, .list = { { w->items[0], 14 } } };
	w->landing_len = 1 << 14;
	w->landing = aligned_alloc(16, w->landing_len);
	w->caps = (struct stage_caps){ .ways = STAGE_MAY(way), .has_2d = true, .landing = (uintptr_t)w->landing,
				       .landing_len = w->landing_len, .arena_dev = (uintptr_t)w->arena,
				       .arena_span = w->arena_len };
	w->cost = stage_cost_default;
	world_fill(w, w->dev, w->dev_len);
	world_fill(w, w->arena, w->arena_len);
	world_arrays(w, 4096, 64, 16, 4096);
	assert_int_equal(stage_plan_make(&w->l, &w->req, &w->caps, &w->cost, &w->plan), error);
	if (!error)
		run_and_compare(w, way);
	world_fini(w);
	free(w);
}

static void small_pages_take_their_share_of_a_block(void **state)
{
	(void)state;
	for (unsigned way = 0; way < STAGE_NR_WAYS; way++)
		for (unsigned i = 0; i < 2; i++) {
			const char *const dims = i ? "LBKHNC" : "LKBNHC";

			pages_share(dims, STAGE_H2D, way, 0);
			/* landing to save would overwrite the neighbours' tokens */
			pages_share(dims, STAGE_D2H, way, way == STAGE_WAY_LAND ? -EOPNOTSUPP : 0);
		}
}

/* ---- named models --------------------------------------------------------------------------------- */

enum table { SIDE_BY_SIDE, SCATTERED };

/* Blocks whose neighbours in the chain are no neighbours of any distance on the device. */
static void fill_items(struct stage_item *items, unsigned nr, uint64_t arena_len, enum table table)
{
	for (unsigned i = 0; i < nr; i++)
		items[i] = (struct stage_item){
			.arena = i * arena_len, .block = table == SCATTERED ? nr - 1 - i : i,
		};
}

static void plan_named(const char *model, const char *order, unsigned nr_blocks, enum table table,
		       uint32_t layers_per_step, unsigned ways, bool has_2d, struct stage_plan *p)
{
	static struct gpu_layout l;
	struct stage_item *items = calloc(nr_blocks, sizeof(*items));
	struct stage_request req = { .layers_per_step = layers_per_step };
	struct stage_caps caps = { .ways = ways, .has_2d = has_2d };
	struct stage_plan size;

	assert_non_null(items);
	assert_int_equal(gpu_geometry_layout(gpu_model_find(model), gpu_order_find(order)->dims, 16, nr_blocks, 1 << 21,
					     &l, NULL), 0);
	fill_items(items, nr_blocks, l.group[0].arena_len, table);
	caps.arena_span = nr_blocks * l.group[0].arena_len;
	caps.landing = 1 << 20;
	caps.landing_len = caps.arena_span;
	req.list[0] = (struct stage_list){ items, nr_blocks };
	assert_int_equal(stage_plan_size(&l, &caps, nr_blocks, layers_per_step, &size), 0);
	*p = (struct stage_plan){ .max_ops = size.max_ops, .max_launches = size.max_launches,
				  .max_steps = size.max_steps, .max_table = size.max_table };
	p->ops = calloc(p->max_ops, sizeof(*p->ops));
	p->launches = calloc(p->max_launches + 1, sizeof(*p->launches));
	p->steps = calloc(p->max_steps, sizeof(*p->steps));
	p->table = calloc(p->max_table, sizeof(*p->table));
	caps.table_dev = (uintptr_t)p->table;
	assert_int_equal(stage_plan_make(&l, &req, &caps, NULL, p), 0);
	free(items);
}

static void free_plan(struct stage_plan *p)
{
	free(p->ops);
	free(p->launches);
	free(p->steps);
	free(p->table);
}

struct named {
	const char *model, *order;
	enum table table;
	unsigned layers_per_step, ways;
	bool has_2d;
	unsigned copies;		/* of 512 blocks */
};

static void named_models_take_the_fewest_copies(void **state)
{
	const unsigned copy = STAGE_MAY(STAGE_WAY_COPY), land = STAGE_MAY(STAGE_WAY_LAND);
	const struct named rows[] = {
		/* an 8B model aggregated: one copy a block, not 64 */
		{ "llama-3.1-8b", "blhnc", SCATTERED, 0, copy, false, 512 },
		{ "llama-3.1-8b", "nhd", SCATTERED, 0, land, false, 1 },
		{ "llama-3.1-8b", "lbhnc", SCATTERED, 0, copy, true, 512 },
		{ "llama-3.1-8b", "lbhnc", SCATTERED, 0, copy, false, 512 * 32 },
		{ "llama-3.1-8b", "nhd", SCATTERED, 0, copy, false, 512 * 64 },
		/* neighbours on both sides melt */
		{ "llama-3.1-8b", "blhnc", SIDE_BY_SIDE, 0, copy, false, 1 },
		{ "llama-3.1-8b", "lbhnc", SIDE_BY_SIDE, 0, copy, true, 32 },
		/* a layer at a time */
		{ "llama-3.1-8b", "lbhnc", SCATTERED, 1, copy, true, 512 * 32 },
		{ "llama-3.1-8b", "lbhnc", SIDE_BY_SIDE, 1, copy, true, 32 },
		{ "llama-3.1-8b", "nhd", SCATTERED, 1, land, true, 32 },
		{ "llama-3-70b", "blhnc", SCATTERED, 0, copy, true, 512 },
		{ "qwen2.5-7b", "hnd", SCATTERED, 1, copy, true, 512 * 28 },
		{ "deepseek-v3", "mla", SCATTERED, 1, copy, true, 512 * 61 },
		{ "deepseek-v3", "mla", SCATTERED, 0, land, true, 1 },
	};
	struct stage_plan p;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		plan_named(rows[i].model, rows[i].order, 512, rows[i].table, rows[i].layers_per_step, rows[i].ways,
			   rows[i].has_2d, &p);
		if (p.nr_copies != rows[i].copies)
			fail_msg("%s %s: %u copies, not %u", rows[i].model, rows[i].order, p.nr_copies, rows[i].copies);
		free_plan(&p);
	}
}

/* ---- refusals: all else valid ------------------------------------------------------------------------ */

struct little {
	struct gpu_layout l;
	struct stage_item item;
	struct stage_request req;
	struct stage_caps caps;
	struct stage_cost cost;
	struct stage_op ops[4];
	struct stage_step steps[4];
	struct stage_plan p;
};

static void little_init(struct little *s)
{
	const struct gpu_model m = { "m", 2, 2, 64, 0 };

	memset(s, 0, sizeof(*s));
	assert_int_equal(gpu_geometry_layout(&m, "BLHNC", 4, 8, 4096, &s->l, NULL), 0);
	s->item = (struct stage_item){ .arena = s->l.group[0].arena_len, .block = 7 };
	s->req.list[0] = (struct stage_list){ &s->item, 1 };
	s->caps.arena_span = 2 * s->l.group[0].arena_len;
	s->cost = stage_cost_default;
	s->p = (struct stage_plan){ .ops = s->ops, .steps = s->steps, .max_ops = 4, .max_steps = 4 };
}

static int little_make(struct little *s)
{
	return stage_plan_make(&s->l, &s->req, &s->caps, &s->cost, &s->p);
}

#define REFUSED(error, change)                                                                                         \
	do {                                                                                                           \
		little_init(&s);                                                                                       \
		assert_int_equal(little_make(&s), 0);                                                                  \
		little_init(&s);                                                                                       \
		change;                                                                                                \
		assert_int_equal(little_make(&s), error);                                                              \
	} while (0)

static void requests_out_of_range_are_refused(void **state)
{
	static struct little s;

	(void)state;
	REFUSED(-EINVAL, s.item.block = 8);
	REFUSED(-EINVAL, s.item.block = UINT32_MAX);
	REFUSED(-EINVAL, s.item.arena++);
	REFUSED(-EINVAL, s.item.arena = UINT64_MAX);
	REFUSED(-EINVAL, s.caps.arena_span = 0);
	REFUSED(-EINVAL, s.item.token = 4);
	REFUSED(-EINVAL, (s.item.token = 1, s.item.nr_tokens = 4));
	REFUSED(-EINVAL, s.req.first_layer = 2);
	REFUSED(-EINVAL, s.req.first_layer = UINT32_MAX);
	REFUSED(-EINVAL, s.req.nr_layers = 3);
	REFUSED(-EINVAL, s.req.list[1] = s.req.list[0]);
	REFUSED(-EINVAL, s.req.dir = (enum stage_dir)7);
	REFUSED(-EINVAL, s.cost.link_bytes_per_ns = 0);
	REFUSED(-EINVAL, s.cost.call_ns = NAN);
	REFUSED(-EINVAL, s.cost.row_ns = -1);
	REFUSED(-EOPNOTSUPP, s.caps.ways = STAGE_MAY(STAGE_WAY_LAND));
	REFUSED(-EOPNOTSUPP, s.caps.ways = STAGE_MAY(STAGE_WAY_DIRECT));
	REFUSED(-ENOSPC, s.p.max_ops = 0);
	REFUSED(-ENOSPC, s.p.max_steps = 0);
}

static void nothing_to_move_is_a_plan_of_empty_steps(void **state)
{
	static struct little s;

	(void)state;
	little_init(&s);
	s.req.list[0].nr = 0;
	s.req.layers_per_step = 1;
	assert_int_equal(little_make(&s), 0);
	assert_int_equal(s.p.nr_steps, 2);
	assert_int_equal(s.p.nr_ops, 0);
	assert_int_equal(s.p.bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_way_moves_what_a_loop_over_all_elements_moves),
		cmocka_unit_test(cheapest_possible_way_is_taken_and_its_cost_told),
		cmocka_unit_test(sizes_suffice_for_chains),
		cmocka_unit_test(a_plan_in_two_parts_moves_the_same),
		cmocka_unit_test(a_part_that_does_not_fit_leaves_the_first),
		cmocka_unit_test(too_small_arrays_are_told_and_nothing_is_set),
		cmocka_unit_test(small_pages_take_their_share_of_a_block),
		cmocka_unit_test(named_models_take_the_fewest_copies),
		cmocka_unit_test(requests_out_of_range_are_refused),
		cmocka_unit_test(nothing_to_move_is_a_plan_of_empty_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
