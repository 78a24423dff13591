/* SPDX-License-Identifier: Apache-2.0 */
/* test_retire.c - bad memory is left alone, and the books still add up */
#include "fixture.h"

#define LEN 65536u
#define UNITS 4u
#define PER_UNIT (HUGE_LEN / LEN)

static const uint64_t bad[] = { HUGE_LEN };
static struct fix f;
static uint16_t ns;

static int setup_of(unsigned nr_retired)
{
	const struct cache_config cfg = { .retired = bad, .nr_retired = nr_retired };

	fix_open(&f, 256, UNITS, &cfg);
	ns = fix_ns(&f, 1, LEN);
	return 0;
}

static int setup_good(void **state)
{
	return setup_of(0);
}

static int setup_bad(void **state)
{
	return setup_of(1);
}

static int teardown(void **state)
{
	fix_verify(&f);
	fix_close(&f);
	return 0;
}

static bool is_in_bad(blk_id_t id)
{
	uint64_t place = (uint64_t)f.dir.desc[id].page * KVSHM_PAGE;

	return place + LEN > bad[0] && place < bad[0] + HUGE_LEN;
}

static void check_sum(void)
{
	struct cache_counts n = fix_count(&f);

	assert_int_equal(n.free_bytes + n.granted_bytes + n.published_bytes + n.quarantined_bytes +
				 n.retired_bytes,
			 n.capacity_bytes);
}

static void no_block_is_granted_there(void **state)
{
	struct kvshm_id_run run[8];
	unsigned nr_runs, nr, seen = 0;

	nr = (unsigned)cache_grant(f.c, FIX_OWNER, ns, 0, UNITS * PER_UNIT, run, 8, &nr_runs, ++f.now);
	assert_int_equal(nr, (UNITS - 1) * PER_UNIT);
	for (unsigned i = 0; i < nr_runs; i++)
		for (unsigned j = 0; j < run[i].nr; j++, seen++)
			assert_false(is_in_bad(run[i].first + j));
	assert_int_equal(seen, nr);
	assert_int_equal(fix_count(&f).retired_bytes, HUGE_LEN);
	check_sum();
}

static void a_long_block_does_not_reach_into_it(void **state)
{
	uint16_t big = fix_ns(&f, 2, 3 * HUGE_LEN);

	assert_int_equal(fix_grant(&f, FIX_OWNER, big), 0);
	check_sum();
}

static void eviction_goes_on_beside_it(void **state)
{
	for (uint32_t chain = 1; chain <= 20; chain++)
		assert_int_equal(fix_chain(&f, ns, chain, 0, 16), 16);
	assert_true(fix_count(&f).evictions > 0);
	fix_verify(&f);
	check_sum();
}

static void what_lay_there_is_gone_after_the_restart_with_what_hung_below(void **state)
{
	uint32_t slot;
	long nr;

	assert_int_equal(fix_chain(&f, ns, 1, 0, 3 * PER_UNIT), 3 * PER_UNIT);
	assert_true(is_in_bad(fix_find(&f, ns, 1, PER_UNIT)));
	slot = fix_pin(&f, ns, 1, PER_UNIT);
	f.cfg.nr_retired = 1;
	nr = fix_restart(&f);
	assert_int_equal(nr, PER_UNIT);
	assert_int_equal(fix_count(&f).retired, 2 * PER_UNIT);
	assert_int_equal(fix_find(&f, ns, 1, PER_UNIT), 0);
	assert_int_not_equal(fix_find(&f, ns, 1, PER_UNIT - 1), 0);
	/* its reader meets the page, not another block's bytes */
	assert_int_equal(fix_count(&f).quarantined, 1);
	fix_verify(&f);
	fix_unpin(&f, slot);
	cache_tick(f.c, ++f.now);
	assert_int_equal(fix_count(&f).quarantined, 0);
	assert_int_equal(fix_count(&f).retired_bytes, HUGE_LEN);
	check_sum();
}

int main(void)
{
#define T(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(no_block_is_granted_there, setup_bad),
		T(a_long_block_does_not_reach_into_it, setup_bad),
		T(eviction_goes_on_beside_it, setup_bad),
		T(what_lay_there_is_gone_after_the_restart_with_what_hung_below, setup_good),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
