/* SPDX-License-Identifier: Apache-2.0 */
/* test_shadow.c - what an order would have hit, from counts alone */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "policy/shadow.h"

#define NOW (1000u << 6)		/* in hazard_time(): some eighteen minutes */
#define AGE(slots) ((uint32_t)(slots) << 6)

struct fixture {
	struct class_tree tree;
	struct hazard hazard;
	struct shadow shadow;
	uint16_t good, bad;		/* classes: index 1 and 0 at all ages */
};

static void enter(struct fixture *f, uint16_t node, uint32_t nr, uint32_t age)
{
	const struct hazard_lot lot = { .nr = nr, .weight = 1, .node = node, .birth = NOW - age };

	hazard_enter(&f->hazard, &lot);
}

/* Two classes used often enough; 100 blocks of each at each of three ages. */
static struct fixture *setup(void)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	class_init(&f->tree);
	hazard_init(&f->hazard);
	shadow_init(&f->shadow);
	f->good = class_child(&f->tree, 0, 2);
	f->bad = class_child(&f->tree, 0, 3);
	shadow_adopt(&f->shadow, &f->tree, 1);
	hazard_advance(&f->hazard, &f->tree, NOW);
	for (unsigned b = 0; b < HAZARD_BINS; b++) {
		f->hazard.index[f->good][b] = 1;
		f->hazard.index[f->bad][b] = 0.001;
	}
	for (unsigned i = 0; i < 3; i++) {
		enter(f, f->good, 100, AGE(20 << (2 * i)));
		enter(f, f->bad, 100, AGE(20 << (2 * i)));
	}
	hazard_settle(&f->hazard);
	return f;
}

static double hits(struct fixture *f, enum shadow_arm arm, uint16_t node, uint32_t age)
{
	const double before = f->shadow.hits[arm];

	shadow_use(&f->shadow, node, hazard_bin(age), 10);
	return f->shadow.hits[arm] - before;
}

static void nothing_is_counted_before_the_cache_was_full(void **state)
{
	struct fixture *f = setup();

	(void)state;
	shadow_plan(&f->shadow, &f->hazard, &f->tree, UINT32_MAX);
	shadow_use(&f->shadow, f->good, 3, 10);
	assert_true(f->shadow.uses <= 0);
	free(f);
}

static void order_by_age_holds_the_youngest_of_all_classes(void **state)
{
	struct fixture *f = setup();

	(void)state;
	shadow_plan(&f->shadow, &f->hazard, &f->tree, 400);
	assert_float_equal(hits(f, SHADOW_LRU, f->bad, AGE(10)), 10, 0);
	assert_float_equal(hits(f, SHADOW_LRU, f->bad, AGE(70)), 10, 0);
	assert_float_equal(hits(f, SHADOW_LRU, f->good, AGE(600)), 0, 0);
	free(f);
}

static void order_by_index_holds_the_better_class_whatever_its_age(void **state)
{
	struct fixture *f = setup();

	(void)state;
	shadow_plan(&f->shadow, &f->hazard, &f->tree, 300);
	assert_float_equal(hits(f, SHADOW_GIX, f->good, AGE(600)), 10, 0);
	assert_float_equal(hits(f, SHADOW_GIX, f->bad, AGE(10)), 0, 0);
	free(f);
}

static void half_of_what_stands_at_the_edge_is_held_when_there_is_room_for_half(void **state)
{
	struct fixture *f = setup();

	(void)state;
	shadow_plan(&f->shadow, &f->hazard, &f->tree, 450);
	assert_float_equal(hits(f, SHADOW_GIX, f->bad, AGE(10)), 5, 0.01);
	free(f);
}

static void block_that_had_to_go_young_is_no_hit_when_it_is_old(void **state)
{
	struct fixture *f = setup();

	(void)state;
	/* Worthless at first, dear later: nobody lives to see it. */
	f->hazard.index[f->good][2] = 1e-9;
	shadow_plan(&f->shadow, &f->hazard, &f->tree, 300);
	assert_float_equal(hits(f, SHADOW_GIX, f->good, AGE(600)), 0, 0);
	free(f);
}

static void new_class_is_held_as_long_as_its_parent(void **state)
{
	struct fixture *f = setup();
	uint16_t kid;

	(void)state;
	shadow_plan(&f->shadow, &f->hazard, &f->tree, 300);
	kid = class_child(&f->tree, f->good, 1 << 8 | 1);
	shadow_adopt(&f->shadow, &f->tree, kid);
	assert_float_equal(hits(f, SHADOW_GIX, kid, AGE(600)), 10, 0);
	free(f);
}

static void order_that_hits_more_is_followed_and_kept_against_one_that_is_as_good(void **state)
{
	struct fixture *f = setup();
	unsigned i;

	(void)state;
	shadow_plan(&f->shadow, &f->hazard, &f->tree, 400);
	for (i = 0; i < 600; i++)
		shadow_use(&f->shadow, f->bad, hazard_bin(AGE(70)), 10);
	shadow_found(&f->shadow, (uint32_t)(f->shadow.hits[SHADOW_GIX] + 0.5));
	shadow_choose(&f->shadow);
	assert_int_equal(f->shadow.live, SHADOW_LRU);
	f->shadow.hits[SHADOW_GIX] = f->shadow.hits[SHADOW_LRU] * 1.01;
	shadow_choose(&f->shadow);
	assert_int_equal(f->shadow.live, SHADOW_LRU);
	f->shadow.hits[SHADOW_GIX] = f->shadow.hits[SHADOW_LRU] * 1.03;
	shadow_choose(&f->shadow);
	assert_int_equal(f->shadow.live, SHADOW_GIX);
	free(f);
}

static void order_that_gets_less_than_was_counted_for_it_is_left(void **state)
{
	struct fixture *f = setup();
	unsigned i;

	(void)state;
	/* As many for either order. */
	shadow_plan(&f->shadow, &f->hazard, &f->tree, 600);
	for (i = 0; i < 600; i++)
		shadow_use(&f->shadow, f->good, hazard_bin(AGE(10)), 10);
	assert_float_equal(f->shadow.hits[SHADOW_GIX], 6000, 0.01);
	assert_float_equal(f->shadow.hits[SHADOW_LRU], 6000, 0.01);
	shadow_found(&f->shadow, 6000);
	shadow_choose(&f->shadow);
	assert_int_equal(f->shadow.live, SHADOW_GIX);
	/* The same again, of which half are there. */
	for (i = 0; i < 600; i++)
		shadow_use(&f->shadow, f->good, hazard_bin(AGE(10)), 10);
	shadow_found(&f->shadow, 3000);
	shadow_choose(&f->shadow);
	assert_int_equal(f->shadow.live, SHADOW_LRU);
	free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_counted_before_the_cache_was_full),
		cmocka_unit_test(order_by_age_holds_the_youngest_of_all_classes),
		cmocka_unit_test(order_by_index_holds_the_better_class_whatever_its_age),
		cmocka_unit_test(half_of_what_stands_at_the_edge_is_held_when_there_is_room_for_half),
		cmocka_unit_test(block_that_had_to_go_young_is_no_hit_when_it_is_old),
		cmocka_unit_test(new_class_is_held_as_long_as_its_parent),
		cmocka_unit_test(order_that_hits_more_is_followed_and_kept_against_one_that_is_as_good),
		cmocka_unit_test(order_that_gets_less_than_was_counted_for_it_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
