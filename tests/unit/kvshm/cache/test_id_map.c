/* SPDX-License-Identifier: Apache-2.0 */
/* test_id_map.c - runs of free ids */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "kvshm/base/rand.h"
#include "kvshm/cache/id_map.h"

enum { IDS = 1000 };

static struct id_map m;

static int setup(void **state)
{
	return id_map_init(&m, IDS);
}

static int teardown(void **state)
{
	id_map_fini(&m);
	return 0;
}

static void ids_go_from_one_to_the_last(void **state)
{
	uint32_t first;

	assert_int_equal(id_map_take(&m, IDS + 5, &first), IDS);
	assert_int_equal(first, 1);
	assert_int_equal(id_map_take(&m, 1, &first), 0);
	id_map_put(&m, IDS, 1);
	assert_int_equal(id_map_take(&m, 3, &first), 1);
	assert_int_equal(first, IDS);
}

static void the_next_run_follows_the_last(void **state)
{
	uint32_t a, b;

	id_map_take(&m, 10, &a);
	id_map_put(&m, a, 10);
	id_map_take(&m, 10, &b);
	assert_int_equal(b, a + 10);
}

static void a_longer_run_is_preferred_to_a_nearer_one(void **state)
{
	uint32_t first;

	id_map_take(&m, IDS, &first);
	id_map_put(&m, 10, 3);
	id_map_put(&m, 500, 8);
	assert_int_equal(id_map_take(&m, 8, &first), 8);
	assert_int_equal(first, 500);
	assert_int_equal(id_map_take(&m, 8, &first), 3);
	assert_int_equal(first, 10);
}

static void a_claimed_id_is_taken(void **state)
{
	uint32_t first;

	id_map_claim(&m, 1);
	id_map_claim(&m, 2);
	assert_int_equal(id_map_take(&m, 1, &first), 1);
	assert_int_equal(first, 3);
	assert_false(id_map_is_free(&m, 2));
}

static void every_free_id_is_found_and_none_twice(void **state)
{
	static uint8_t is_taken[IDS + 1];
	uint32_t first, nr, i, taken = 0;
	struct rand r;
	unsigned round;

	rand_init(&r, 5);
	memset(is_taken, 0, sizeof(is_taken));
	for (round = 0; round < 100000; round++) {
		uint32_t want = 1 + (uint32_t)rand_below(&r, 20), id = 1 + (uint32_t)rand_below(&r, IDS);

		if (rand_below(&r, 10) && is_taken[id]) {
			id_map_put(&m, id, 1);
			is_taken[id] = 0;
			taken--;
		}
		if (rand_below(&r, 8))
			continue;
		nr = id_map_take(&m, want, &first);
		assert_true(nr <= want && (nr > 0 || taken == IDS));
		for (i = first; i < first + nr; i++) {
			assert_true(i >= 1 && i <= IDS && !is_taken[i]);
			is_taken[i] = 1;
		}
		taken += nr;
		assert_int_equal(m.nr_free, IDS - taken);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(ids_go_from_one_to_the_last),
		T(the_next_run_follows_the_last),
		T(a_longer_run_is_preferred_to_a_nearer_one),
		T(a_claimed_id_is_taken),
		T(every_free_id_is_found_and_none_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
