/* SPDX-License-Identifier: Apache-2.0 */
/* test_drop.c - dropped blocks are unfindable at once, and free when nobody reads them */
#include "fixture.h"

static struct fix f;
static uint16_t ns;

static int setup(void **state)
{
	fix_open(&f, 256, 4, NULL);
	ns = fix_ns(&f, 1, 65536);
	return 0;
}

static int teardown(void **state)
{
	fix_verify(&f);
	fix_close(&f);
	return 0;
}

static long drop(uint32_t chain, uint32_t i)
{
	const struct kvshm_key key = fix_key(chain, i);

	return cache_drop(f.c, ns, &key);
}

static void a_drop_takes_the_subtree(void **state)
{
	const struct kvshm_key parent = fix_key(1, 4), twig = fix_key(2, 0);
	struct cache_commit_result r;

	fix_chain(&f, ns, 1, 0, 10);
	fix_commit(&f, FIX_OWNER, ns, &parent, fix_rec(&f, fix_grant(&f, FIX_OWNER, ns), twig), &r);
	assert_int_equal(r.nr_published, 1);
	assert_int_equal(drop(1, 3), 8);
	assert_int_equal(fix_find(&f, ns, 2, 0), 0);
	assert_int_equal(fix_find(&f, ns, 1, 3), 0);
	assert_int_not_equal(fix_find(&f, ns, 1, 2), 0);
	assert_int_equal(fix_count(&f).published, 3);
	assert_int_equal(fix_count(&f).quarantined, 0);
	assert_int_equal(drop(1, 3), 0);
}

static void quarantined_blocks_wait_for_their_pins(void **state)
{
	uint32_t slot;
	blk_id_t id;

	fix_chain(&f, ns, 1, 0, 10);
	slot = fix_pin(&f, ns, 1, 6);
	id = fix_find(&f, ns, 1, 6);
	assert_int_equal(drop(1, 2), 8);
	assert_int_equal(fix_find(&f, ns, 1, 6), 0);
	assert_int_equal(fix_count(&f).quarantined, 5);		/* 2..6: 7..9 had no pin below */
	assert_int_equal(fix_bytes(&f, id)[0], 31 + 6);
	cache_tick(f.c, ++f.now);
	assert_int_equal(fix_count(&f).quarantined, 5);
	fix_verify(&f);
	fix_unpin(&f, slot);
	cache_tick(f.c, ++f.now);
	assert_int_equal(fix_count(&f).quarantined, 0);
	assert_int_equal(fix_count(&f).published, 2);
}

static void the_same_key_can_be_put_again_beside_its_quarantined_block(void **state)
{
	uint32_t slot;
	blk_id_t old;

	fix_chain(&f, ns, 1, 0, 3);
	slot = fix_pin(&f, ns, 1, 2);
	old = fix_find(&f, ns, 1, 2);
	assert_int_equal(drop(1, 2), 1);
	assert_int_equal(fix_chain(&f, ns, 1, 2, 1), 1);
	assert_int_not_equal(fix_find(&f, ns, 1, 2), old);
	fix_verify(&f);
	assert_int_equal(drop(1, 0), 3);
	assert_int_equal(fix_count(&f).quarantined, 3);		/* 0, 1 and the old 2 */
	fix_unpin(&f, slot);
	cache_tick(f.c, ++f.now);
	assert_int_equal(fix_count(&f).quarantined, 0);
}

static void a_victim_takes_its_unpinned_quarantined_children_along(void **state)
{
	uint32_t slot;

	fix_chain(&f, ns, 1, 0, 3);
	slot = fix_pin(&f, ns, 1, 2);
	drop(1, 2);
	assert_int_equal(fix_count(&f).quarantined, 1);
	assert_int_equal(cache_reclaim(f.c, UINT64_MAX, ++f.now), 0);
	assert_int_equal(fix_count(&f).published, 2);
	fix_unpin(&f, slot);
	assert_int_equal(cache_reclaim(f.c, UINT64_MAX, ++f.now), 3 * 65536);
}

static void dropping_a_namespace_leaves_the_others(void **state)
{
	uint16_t other = fix_ns(&f, 2, 65536);

	fix_chain(&f, ns, 1, 0, 10);
	fix_chain(&f, ns, 2, 0, 5);
	fix_chain(&f, other, 1, 0, 4);
	assert_int_equal(cache_drop_ns(f.c, ns), 15);
	assert_int_equal(fix_count(&f).published, 4);
	assert_int_not_equal(fix_find(&f, other, 1, 3), 0);
	assert_int_equal(cache_drop_ns(f.c, 9), -EINVAL);
	assert_int_equal(cache_drop_ns(f.c, 0), -EINVAL);
	assert_int_equal(fix_count(&f).drops, 15);
}

static unsigned finish(struct cache_drop *d, unsigned max)
{
	unsigned steps = 0;
	int ret;

	do {
		long before = d->nr;

		ret = cache_drop_step(f.c, d, max);
		assert_true(d->nr - before <= (long)max);
		fix_verify(&f);
		assert_true(++steps < 1000);
	} while (ret > 0);
	assert_int_equal(ret, 0);
	return steps;
}

static void a_step_is_bounded_whatever_the_shape(void **state)
{
	struct cache_drop d = { .ns = ns, .is_all = true };
	uint16_t other = fix_ns(&f, 2, 65536);

	fix_chain(&f, ns, 1, 0, 30); /* one tree */
	fix_chain(&f, ns, 2, 0, 1);
	fix_chain(&f, other, 1, 0, 20);
	fix_chain(&f, ns, 3, 0, 5);
	assert_int_equal(cache_drop_step(f.c, &d, 4), 1);
	assert_int_equal(fix_count(&f).published, 52);
	assert_true(finish(&d, 4) >= 8);
	assert_int_equal(d.nr, 36);
	assert_int_equal(fix_count(&f).published, 20);
}

static void what_comes_between_two_steps_goes_too_or_hangs_below_nothing(void **state)
{
	struct cache_drop d = { .ns = ns, .is_all = true };
	const struct kvshm_key parent = fix_key(1, 2), twig = fix_key(2, 0);
	struct cache_commit_result r;

	fix_chain(&f, ns, 1, 0, 10);
	assert_int_equal(cache_drop_step(f.c, &d, 5), 1);
	fix_commit(&f, FIX_OWNER, ns, &parent, fix_rec(&f, fix_grant(&f, FIX_OWNER, ns), twig), &r);
	assert_int_equal(r.nr_published, 1);
	fix_verify(&f);
	finish(&d, 5);
	assert_int_equal(d.nr, 11);
	assert_int_equal(fix_count(&f).published, 0);
}

static void the_top_may_be_evicted_between_two_steps(void **state)
{
	struct cache_drop d = { .ns = ns, .key = fix_key(1, 0) };

	fix_chain(&f, ns, 1, 0, 10);
	assert_int_equal(cache_drop_step(f.c, &d, 3), 1);
	cache_reclaim(f.c, UINT64_MAX, ++f.now);
	assert_int_equal(fix_count(&f).published, 0);
	fix_chain(&f, ns, 2, 0, 10);
	assert_int_equal(cache_drop_step(f.c, &d, 3), 0);
	assert_int_equal(d.nr, 3);
	assert_int_equal(fix_count(&f).published, 10);
}

static void pinned_blocks_do_not_hold_up_the_steps(void **state)
{
	struct cache_drop d = { .ns = ns, .is_all = true };
	uint32_t slot;

	fix_chain(&f, ns, 1, 0, 20);
	slot = fix_pin(&f, ns, 1, 15);
	finish(&d, 3);
	assert_int_equal(d.nr, 20);
	assert_int_equal(fix_count(&f).quarantined, 16);
	fix_unpin(&f, slot);
	cache_tick(f.c, ++f.now);
	assert_int_equal(fix_count(&f).quarantined, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_drop_takes_the_subtree),
		T(quarantined_blocks_wait_for_their_pins),
		T(the_same_key_can_be_put_again_beside_its_quarantined_block),
		T(a_victim_takes_its_unpinned_quarantined_children_along),
		T(dropping_a_namespace_leaves_the_others),
		T(a_step_is_bounded_whatever_the_shape),
		T(what_comes_between_two_steps_goes_too_or_hangs_below_nothing),
		T(the_top_may_be_evicted_between_two_steps),
		T(pinned_blocks_do_not_hold_up_the_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
