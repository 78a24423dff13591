/* SPDX-License-Identifier: Apache-2.0 */
/* test_grant.c - blocks handed out, given back, and returned for the dead */
#include "fixture.h"

static struct fix f;
static uint16_t ns;

static int setup(void **state)
{
	fix_open(&f, 128, 4, NULL);
	ns = fix_ns(&f, 1, 65536);
	return 0;
}

static int teardown(void **state)
{
	fix_verify(&f);
	fix_close(&f);
	return 0;
}

static void blocks_of_a_grant_are_neighbours(void **state)
{
	struct kvshm_id_run run[4];
	unsigned nr_runs;

	assert_int_equal(cache_grant(f.c, FIX_OWNER, ns, 0, 30, run, 4, &nr_runs, 1), 30);
	assert_int_equal(nr_runs, 1);
	assert_int_equal(run[0].nr, 30);
}

/* Holes of one id everywhere, and one of twelve. */
static void neighbours_are_found_between_holes(void **state)
{
	struct kvshm_id_run run[8];
	unsigned nr_runs, i;

	assert_int_equal(cache_grant(f.c, FIX_OWNER, ns, 0, 128, run, 8, &nr_runs, 1), 128);
	for (i = 2; i < 60; i += 2)
		assert_int_equal(cache_return(f.c, FIX_OWNER, fix_ref(&f, i)), 0);
	for (i = 80; i < 92; i++)
		assert_int_equal(cache_return(f.c, FIX_OWNER, fix_ref(&f, i)), 0);
	assert_int_equal(cache_grant(f.c, FIX_OWNER, ns, 0, 12, run, 8, &nr_runs, 1), 12);
	assert_int_equal(nr_runs, 1);
	assert_int_equal(run[0].first, 80);
}

static void a_grant_ends_where_its_runs_do_and_drops_nothing(void **state)
{
	struct kvshm_id_run run[8];
	unsigned nr_runs, i;

	cache_grant(f.c, FIX_OWNER, ns, 0, 128, run, 8, &nr_runs, 1);
	for (i = 2; i < 60; i += 2)
		cache_return(f.c, FIX_OWNER, fix_ref(&f, i));
	assert_int_equal(cache_grant(f.c, FIX_OWNER, ns, 0, 12, run, 5, &nr_runs, 1), 5);
	assert_int_equal(nr_runs, 5);
	assert_int_equal(fix_count(&f).dropped_full, 0);
	assert_int_equal(fix_count(&f).granted, 128 - 29 + 5);
}

static void a_short_arena_grants_what_it_has(void **state)
{
	struct kvshm_id_run run[8];
	unsigned nr_runs;

	assert_int_equal(cache_grant(f.c, FIX_OWNER, fix_ns(&f, 2, 2u << 20), 0, 6, run, 8, &nr_runs, 1), 4);
	assert_int_equal(nr_runs, 1);
	assert_int_equal(run[0].nr, 4);
	assert_int_equal(fix_count(&f).dropped_full, 2);
	assert_int_equal(cache_grant(f.c, FIX_OWNER, ns, 0, 1, run, 8, &nr_runs, 1), 0);
	assert_int_equal(nr_runs, 0);
}

static void a_senseless_grant_is_refused(void **state)
{
	struct kvshm_id_run run[2];
	unsigned nr_runs = 9;

	assert_int_equal(cache_grant(f.c, FIX_OWNER, 0, 0, 1, run, 2, &nr_runs, 1), -EINVAL);
	assert_int_equal(cache_grant(f.c, FIX_OWNER, 2, 0, 1, run, 2, &nr_runs, 1), -EINVAL);
	assert_int_equal(cache_grant(f.c, FIX_OWNER, 65535, 0, 1, run, 2, &nr_runs, 1), -EINVAL);
	assert_int_equal(cache_grant(f.c, FIX_OWNER, ns, 65537, 1, run, 2, &nr_runs, 1), -EINVAL);
	assert_int_equal(cache_grant(f.c, KVSHM_OWNER_MAX + 1, ns, 0, 1, run, 2, &nr_runs, 1), -EINVAL);
	assert_int_equal(cache_grant(f.c, FIX_OWNER, ns, 0, 1, run, 0, &nr_runs, 1), -EINVAL);
	assert_int_equal(nr_runs, 9);
	assert_int_equal(fix_count(&f).granted, 0);
}

static void only_its_owner_gives_a_grant_back_and_only_once(void **state)
{
	struct kvshm_block_ref ref = fix_ref(&f, fix_grant(&f, FIX_OWNER, ns)), stale = ref;

	stale.generation++;
	assert_int_equal(cache_return(f.c, FIX_OWNER, stale), -ESTALE);
	assert_int_equal(cache_return(f.c, FIX_OWNER + 1, ref), -EPERM);
	assert_int_equal(cache_return(f.c, FIX_OWNER, (struct kvshm_block_ref){ .id = 0 }), -EINVAL);
	assert_int_equal(cache_return(f.c, FIX_OWNER, (struct kvshm_block_ref){ .id = 129 }), -EINVAL);
	assert_int_equal(cache_return(f.c, FIX_OWNER, ref), 0);
	assert_int_equal(cache_return(f.c, FIX_OWNER, ref), -ESTALE);
	assert_int_equal(fix_count(&f).granted, 0);
}

static void all_grants_of_the_dead_come_back_and_no_others(void **state)
{
	unsigned i;

	for (i = 0; i < 30; i++)
		fix_grant(&f, FIX_OWNER + i % 3, ns);
	fix_chain(&f, ns, 1, 0, 3);
	assert_int_equal(cache_owner_gone(f.c, FIX_OWNER), 10);
	assert_int_equal(cache_owner_gone(f.c, FIX_OWNER), 0);
	assert_int_equal(fix_count(&f).granted, 20);
	assert_int_equal(fix_count(&f).published, 3);
}

static void a_grant_of_the_next_life_is_another_one(void **state)
{
	struct kvshm_block_ref first = fix_ref(&f, fix_grant(&f, FIX_OWNER, ns)), again;
	unsigned i;

	cache_return(f.c, FIX_OWNER, first);
	for (i = 0; i < 128; i++) {
		again = fix_ref(&f, fix_grant(&f, FIX_OWNER, ns));
		if (again.id == first.id)
			break;
	}
	assert_int_equal(again.id, first.id);
	assert_int_not_equal(again.generation, first.generation);
}

static void the_place_of_a_grant_is_told_to_its_owner(void **state)
{
	struct kvshm_block_ref ref = fix_ref(&f, fix_grant(&f, 0, ns));
	uint32_t len = 0;

	assert_null(cache_grant_ptr(f.c, FIX_OWNER, ref, &len));
	assert_ptr_equal(cache_grant_ptr(f.c, 0, ref, &len), fix_bytes(&f, ref.id));
	assert_int_equal(len, 65536);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(blocks_of_a_grant_are_neighbours),
		T(neighbours_are_found_between_holes),
		T(a_grant_ends_where_its_runs_do_and_drops_nothing),
		T(a_short_arena_grants_what_it_has),
		T(a_senseless_grant_is_refused),
		T(only_its_owner_gives_a_grant_back_and_only_once),
		T(all_grants_of_the_dead_come_back_and_no_others),
		T(a_grant_of_the_next_life_is_another_one),
		T(the_place_of_a_grant_is_told_to_its_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
