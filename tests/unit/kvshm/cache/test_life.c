/* SPDX-License-Identifier: Apache-2.0 */
/* test_life.c - how long blocks stay, lie idle, wait for a use, are missed: each told by its histogram */
#include "fixture.h"

#include "kvshm/stats/statpage.h"
#include "tests/lib/tmp_dir.h"

#define LEN 65536u
#define S 1000000000ull

static struct tmp_dir tmp;
static struct statpage *page;
static struct fix f;
static uint16_t ns;

static int begin(void **state)
{
	(void)state;
	tmp_dir_create(&tmp);
	if (statpage_create(tmp.fd, "stats", "0", &page) < 0)
		return -1;
	fix_open(&f, 256, 4, NULL);
	cache_count_uses(f.c, page);
	ns = fix_ns(&f, 1, LEN);
	f.now = 1000 * S;
	return 0;
}

static int end(void **state)
{
	(void)state;
	fix_verify(&f);
	fix_close(&f);
	statpage_destroy(page);
	tmp_dir_destroy(&tmp);
	return 0;
}

/* @nr values, all of @ms, 7 % more or less. */
static void assert_hist(enum stat_hist which, unsigned nr, uint64_t ms)
{
	struct hist h;

	stat_get_hist(page, which, &h);
	assert_int_equal(hist_total(&h), nr);
	if (!nr)
		return;
	assert_in_range(hist_quantile(&h, 0), ms * 93 / 100, ms * 107 / 100);
	assert_in_range(hist_quantile(&h, 1), ms * 93 / 100, ms * 107 / 100);
}

static void use(uint32_t chain, uint32_t i)
{
	struct kvshm_touch t = { .id = fix_find(&f, ns, chain, i), .nr = i + 1 };

	t.generation = fix_generation(&f, t.id);
	cache_touch(f.c, &t, 1, f.now);
}

static void age_at_hit_is_from_the_last_use_or_the_put(void **state)
{
	(void)state;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 2), 2);
	assert_hist(HIST_REUSE_GAP, 0, 0);
	f.now += 10 * S;
	use(1, 1);
	assert_hist(HIST_REUSE_GAP, 1, 10000);
	f.now += 10 * S;
	use(1, 1);
	assert_hist(HIST_REUSE_GAP, 2, 10000);
}

static void a_block_stays_from_put_to_eviction_and_idles_from_its_last_use(void **state)
{
	(void)state;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 1), 1);
	f.now += 20 * S;
	use(1, 0);
	f.now += 30 * S;
	assert_int_equal(cache_reclaim(f.c, LEN, f.now), LEN);
	assert_hist(HIST_RESIDENCE, 1, 50000);
	assert_hist(HIST_IDLE, 1, 30000);
}

static void a_use_of_the_leaf_is_one_of_all_before_it(void **state)
{
	(void)state;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 3), 3);
	f.now += 20 * S;
	use(1, 2);
	f.now += 30 * S;
	assert_int_equal(cache_reclaim(f.c, 3 * LEN, f.now), 3 * LEN);
	assert_hist(HIST_RESIDENCE, 3, 50000);
	assert_hist(HIST_IDLE, 3, 30000);
}

static void what_returns_after_its_eviction_was_missed_for_that_long(void **state)
{
	(void)state;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 1), 1);
	f.now += S;
	assert_int_equal(cache_reclaim(f.c, LEN, f.now), LEN);
	f.now += 40 * S;
	assert_int_equal(fix_chain(&f, ns, 2, 0, 1), 1);	/* another */
	assert_hist(HIST_EVICT_TO_REUSE, 0, 0);
	assert_int_equal(fix_chain(&f, ns, 1, 0, 1), 1);
	assert_hist(HIST_EVICT_TO_REUSE, 1, 40000);
}

static void of_blocks_from_before_the_restart_nothing_is_claimed(void **state)
{
	(void)state;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 1), 1);
	fix_restart(&f);
	cache_count_uses(f.c, page);
	f.now += 5 * S;
	assert_int_equal(cache_reclaim(f.c, LEN, f.now), LEN);
	assert_hist(HIST_RESIDENCE, 0, 0);
	assert_hist(HIST_IDLE, 0, 0);
	assert_int_equal(fix_count(&f).evicted_unread, 0);
}

static void a_scan_is_timed(void **state)
{
	struct hist h;

	(void)state;
	cache_tick(f.c, f.now);
	stat_get_hist(page, HIST_PIN_SCAN, &h);
	assert_int_equal(hist_total(&h), 1);
	assert_in_range(hist_quantile(&h, 1), 1, S);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(age_at_hit_is_from_the_last_use_or_the_put),
		T(a_block_stays_from_put_to_eviction_and_idles_from_its_last_use),
		T(a_use_of_the_leaf_is_one_of_all_before_it),
		T(what_returns_after_its_eviction_was_missed_for_that_long),
		T(of_blocks_from_before_the_restart_nothing_is_claimed),
		T(a_scan_is_timed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
