/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "kvshm/arena/backing.h"
#include "kvshm/arena/slab_nodes.h"

#define LEN 65536u
#define A_UNIT (HUGE_LEN / LEN)

/* Node 4 has units 0 and 2, node 9 unit 1: extents of the two in turn. */
static struct slab_nodes n;

static int setup(void **state)
{
	n = (struct slab_nodes){ 0 };
	return slab_nodes_add(&n, 4, 0, HUGE_LEN) || slab_nodes_add(&n, 9, HUGE_LEN, HUGE_LEN) ||
	       slab_nodes_add(&n, 4, 2 * HUGE_LEN, HUGE_LEN);
}

static int teardown(void **state)
{
	int ret = slab_nodes_verify(&n);

	slab_nodes_fini(&n);
	return ret;
}

/* A place that was wanted on @node.  Return: where it is. */
static uint32_t get(uint32_t node, uint64_t *ret_place)
{
	assert_int_equal(slab_nodes_get(&n, node, LEN, ret_place), 0);
	return slab_nodes_of(&n, *ret_place);
}

static void extents_keep_their_nodes(void **state)
{
	assert_int_equal(n.nr, 2);
	assert_true(slab_nodes_has(&n, 4));
	assert_true(slab_nodes_has(&n, 9));
	assert_false(slab_nodes_has(&n, 0));
	assert_int_equal(slab_nodes_of(&n, HUGE_LEN - 1), 4);
	assert_int_equal(slab_nodes_of(&n, HUGE_LEN), 9);
	assert_int_equal(slab_nodes_of(&n, 2 * HUGE_LEN), 4);
}

static void places_are_neighbours_on_the_node_that_is_wanted(void **state)
{
	uint64_t a, b, before = 0;

	for (unsigned i = 0; i < A_UNIT; i++) {
		assert_int_equal(get(9, &a), 9);
		assert_int_equal(get(4, &b), 4);
		if (i)
			assert_int_equal(a, before + LEN);
		before = a;
	}
}

static void a_full_node_spills_until_it_has_room(void **state)
{
	uint64_t first, place;

	assert_int_equal(get(9, &first), 9);
	for (unsigned i = 1; i < A_UNIT; i++)
		assert_int_equal(get(9, &place), 9);
	assert_int_equal(get(9, &place), 4);
	slab_nodes_put(&n, first, LEN);
	assert_int_equal(get(9, &place), 9);
	assert_int_equal(place, first);
}

static void a_node_that_is_not_there_is_any(void **state)
{
	uint64_t place;

	get(1000, &place);
	slab_nodes_put(&n, place, LEN);
}

static void only_all_nodes_together_are_full(void **state)
{
	uint64_t place;

	for (unsigned i = 0; i < 3 * A_UNIT; i++)
		get(9, &place);
	assert_int_equal(slab_nodes_get(&n, 9, LEN, &place), -ENOSPC);
	assert_int_equal(slab_nodes_get(&n, 4, LEN, &place), -ENOSPC);
	assert_int_equal(slab_nodes_get(&n, 9, KVSHM_BLOCK_MAX + 1, &place), -EINVAL);
}

static void the_roomiest_has_most_bytes_free(void **state)
{
	uint64_t place;

	assert_int_equal(slab_nodes_roomiest(&n), 4);
	for (unsigned i = 0; i <= A_UNIT; i++)
		get(4, &place);
	assert_int_equal(slab_nodes_roomiest(&n), 9);
	slab_nodes_put(&n, place, LEN);
	get(9, &place);
	assert_int_equal(slab_nodes_roomiest(&n), 4);
}

static void claims_find_their_node(void **state)
{
	uint64_t place;

	assert_int_equal(slab_nodes_claim(&n, HUGE_LEN + 3 * LEN, LEN), 0);
	assert_int_equal(slab_nodes_claim(&n, HUGE_LEN + 3 * LEN, LEN), -EEXIST);
	assert_int_equal(slab_nodes_claim(&n, 3 * HUGE_LEN, LEN), -EINVAL);
	assert_int_equal(slab_nodes_claim(&n, UINT64_MAX - 4095, LEN), -EINVAL);
	get(9, &place);
	assert_int_equal(place, HUGE_LEN);
}

static void sums_are_of_all_nodes(void **state)
{
	struct slab_stats s;
	uint64_t place;

	get(9, &place);
	get(4, &place);
	slab_nodes_stats(&n, &s);
	assert_int_equal(s.capacity, 3 * HUGE_LEN);
	assert_int_equal(s.used, 2 * LEN);
	assert_int_equal(s.free_units, HUGE_LEN);
	assert_int_equal(s.largest_free_run, HUGE_LEN);
}

/* What is nearly empty on the wanted node goes before what is as empty elsewhere. */
static void victims_are_near_first(void **state)
{
	uint64_t near[A_UNIT + 1], far[2 * A_UNIT], at, len;
	uint32_t small = LEN / 2;

	for (unsigned i = 0; i < 2 * A_UNIT; i++)
		get(4, &far[i]);
	for (unsigned i = 0; i < A_UNIT; i++)
		get(9, &near[i]);
	assert_int_equal(slab_nodes_victim(&n, 9, slab_class(small), &at, &len), 0);	/* nowhere to go */
	/* room on either node for the blocks of one slab, but only node 4 has two slabs */
	for (unsigned i = 0; i + 1 < A_UNIT; i++)
		slab_nodes_put(&n, far[i], LEN);
	slab_nodes_put(&n, far[A_UNIT], LEN);
	assert_int_equal(slab_nodes_victim(&n, 9, slab_class(small), &at, &len), 1);
	assert_int_equal(slab_nodes_of(&n, at), 4);
	assert_int_equal(slab_nodes_victim(&n, 4, slab_class(small), &at, &len), 1);
	assert_int_equal(slab_nodes_of(&n, at), 4);
}

static void there_is_an_end_to_nodes(void **state)
{
	uint64_t base = 3 * HUGE_LEN;

	for (uint32_t i = 2; i < SLAB_NODES_MAX; i++, base += HUGE_LEN)
		assert_int_equal(slab_nodes_add(&n, 100 + i, base, HUGE_LEN), 0);
	assert_int_equal(slab_nodes_add(&n, 77, base, HUGE_LEN), -ENOSPC);
	assert_int_equal(slab_nodes_add(&n, 9, base, HUGE_LEN), 0);
	assert_int_equal(slab_nodes_add(&n, 9, base, HUGE_LEN), -EINVAL);
}

static void a_bad_extent_adds_no_node(void **state)
{
	assert_int_equal(slab_nodes_add(&n, 5, 3 * HUGE_LEN, 4096), -EINVAL);
	assert_false(slab_nodes_has(&n, 5));
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(extents_keep_their_nodes),
		T(places_are_neighbours_on_the_node_that_is_wanted),
		T(a_full_node_spills_until_it_has_room),
		T(a_node_that_is_not_there_is_any),
		T(only_all_nodes_together_are_full),
		T(the_roomiest_has_most_bytes_free),
		T(claims_find_their_node),
		T(sums_are_of_all_nodes),
		T(victims_are_near_first),
		T(there_is_an_end_to_nodes),
		T(a_bad_extent_adds_no_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
