/* SPDX-License-Identifier: Apache-2.0 */
/* test_reclaim.c - eviction beside pins */
#include "fixture.h"

static struct fix f;
static uint16_t ns;

/* 64 blocks of 64 KiB: 2 units of 32. */
static int setup(void **state)
{
	fix_open(&f, 256, 2, NULL);
	ns = fix_ns(&f, 1, 65536);
	return 0;
}

static int teardown(void **state)
{
	fix_verify(&f);
	fix_close(&f);
	return 0;
}

static unsigned present(uint32_t chain, uint32_t nr)
{
	uint32_t i, n = 0;

	for (i = 0; i < nr; i++)
		n += fix_find(&f, ns, chain, i) != 0;
	return n;
}

static void a_full_arena_gives_up_its_least_recent_tails(void **state)
{
	assert_int_equal(fix_chain(&f, ns, 1, 0, 32), 32);
	assert_int_equal(fix_chain(&f, ns, 2, 0, 32), 32);
	assert_int_equal(fix_count(&f).free_bytes, 0);
	assert_int_equal(fix_chain(&f, ns, 3, 0, 5), 5);
	assert_int_equal(present(2, 32), 32);
	assert_int_equal(present(1, 32), 27);
	assert_int_equal(present(1, 27), 27);
	assert_int_equal(fix_count(&f).evicted_unread, 5);
}

static void a_touch_saves_the_whole_run(void **state)
{
	struct kvshm_touch t = { .nr = 32 };

	fix_chain(&f, ns, 1, 0, 32);
	fix_chain(&f, ns, 2, 0, 32);
	t.id = fix_find(&f, ns, 1, 31);
	t.generation = fix_generation(&f, t.id);
	cache_touch(f.c, &t, 1, ++f.now);
	assert_int_equal(fix_chain(&f, ns, 3, 0, 32), 32);
	assert_int_equal(present(1, 32), 32);
	assert_int_equal(present(2, 32), 0);
	assert_int_equal(fix_chain(&f, ns, 4, 0, 8), 8);
	assert_int_equal(fix_count(&f).evicted_unread, 32);	/* those of chain 1 were used */
}

static void stale_and_forged_touches_are_ignored(void **state)
{
	struct kvshm_touch t = { .id = 0 };
	blk_id_t granted = fix_grant(&f, FIX_OWNER, ns);

	fix_chain(&f, ns, 1, 0, 1);
	cache_touch(f.c, &t, 1, ++f.now);
	t.id = f.dir.max_blocks + 1;
	cache_touch(f.c, &t, 1, ++f.now);
	t.id = UINT32_MAX;
	cache_touch(f.c, &t, 1, ++f.now);
	t.id = granted;
	t.generation = fix_generation(&f, granted);
	cache_touch(f.c, &t, 1, ++f.now);
	t.id = fix_find(&f, ns, 1, 0);
	t.generation = fix_generation(&f, t.id) + 1;
	cache_touch(f.c, &t, 1, ++f.now);
	assert_int_equal(fix_count(&f).touches, 5);
	assert_int_equal(fix_count(&f).touches_stale, 5);
}

static void pinned_victim_restores_its_ancestors(void **state)
{
	fix_chain(&f, ns, 1, 0, 64);
	/* Taken after the last scan: the whole chain is named as victims, and found pinned at 40. */
	fix_pin(&f, ns, 1, 40);
	assert_int_equal(cache_reclaim(f.c, UINT64_MAX, ++f.now), 23 * 65536);
	assert_int_equal(present(1, 41), 41);
	assert_int_equal(present(1, 64), 41);
	assert_int_equal(fix_count(&f).victims_restored, 41);
	assert_int_equal(fix_count(&f).pins, 1);
	assert_int_equal(fix_count(&f).pinned_bytes, 41 * 65536);
}

static void all_pinned_drops_the_put_and_counts_it(void **state)
{
	uint64_t scans;
	uint32_t slot;

	fix_chain(&f, ns, 1, 0, 64);
	slot = fix_pin(&f, ns, 1, 63);
	scans = fix_count(&f).scans;
	assert_int_equal(fix_grant(&f, FIX_OWNER, ns), 0);
	assert_int_equal(fix_count(&f).dropped_full, 1);
	assert_true(fix_count(&f).scans - scans < 10);
	assert_int_equal(present(1, 64), 64);
	fix_unpin(&f, slot);
	assert_int_not_equal(fix_grant(&f, FIX_OWNER, ns), 0);
	assert_int_equal(fix_count(&f).dropped_full, 1);
}

static void a_block_pinned_at_the_last_scan_is_no_victim(void **state)
{
	uint64_t restored;

	fix_chain(&f, ns, 1, 0, 32);
	fix_chain(&f, ns, 2, 0, 32);
	fix_pin(&f, ns, 1, 31);
	cache_reclaim(f.c, 1, ++f.now);
	restored = fix_count(&f).victims_restored;
	cache_reclaim(f.c, 1, ++f.now);
	cache_reclaim(f.c, 1, ++f.now);
	assert_int_equal(fix_count(&f).victims_restored, restored);
	assert_int_equal(present(1, 32), 32);
}

static void a_pin_of_a_former_life_protects_nothing(void **state)
{
	uint32_t slot;

	fix_chain(&f, ns, 1, 0, 64);
	slot = fix_pin(&f, ns, 1, 63);
	f.word[0][slot] = pin_word(fix_find(&f, ns, 1, 63), fix_generation(&f, 1) + 7);
	assert_int_equal(cache_reclaim(f.c, UINT64_MAX, ++f.now), 64 * 65536);
	fix_unpin(&f, slot);
}

static void nothing_is_evicted_when_pins_cannot_be_read(void **state)
{
	int saved = dup(f.pin_fd[1]);

	fix_chain(&f, ns, 1, 0, 64);
	assert_true(dup2(f.dirfd, f.pin_fd[1]) >= 0);	/* pread of a directory fails */
	assert_int_equal(cache_reclaim(f.c, 1, ++f.now), 0);
	assert_int_equal(present(1, 64), 64);
	assert_true(dup2(saved, f.pin_fd[1]) >= 0);
	close(saved);
	assert_true(cache_reclaim(f.c, 1, ++f.now) > 0);
}

static void grants_are_no_victims(void **state)
{
	unsigned i;

	for (i = 0; i < 64; i++)
		assert_int_not_equal(fix_grant(&f, FIX_OWNER, ns), 0);
	assert_int_equal(fix_grant(&f, FIX_OWNER, ns), 0);
	assert_int_equal(fix_count(&f).granted, 64);
	assert_int_equal(fix_count(&f).dropped_full, 1);
}

static void ids_that_run_out_are_evicted_for(void **state)
{
	fix_close(&f);
	fix_open(&f, 16, 2, NULL);
	ns = fix_ns(&f, 1, 4096);
	assert_int_equal(fix_chain(&f, ns, 1, 0, 16), 16);
	assert_int_equal(fix_chain(&f, ns, 2, 0, 9), 9);
	assert_int_equal(present(1, 16), 7);
}

static void the_tick_recounts_pins_once_a_second(void **state)
{
	uint64_t scans;

	fix_chain(&f, ns, 1, 0, 3);
	fix_pin(&f, ns, 1, 2);
	cache_tick(f.c, 5000000000u);
	assert_int_equal(fix_count(&f).pins, 1);
	scans = fix_count(&f).scans;
	cache_tick(f.c, 5100000000u);
	assert_int_equal(fix_count(&f).scans, scans);
	cache_tick(f.c, 6000000000u);
	assert_int_equal(fix_count(&f).scans, scans + 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_full_arena_gives_up_its_least_recent_tails),
		T(a_touch_saves_the_whole_run),
		T(stale_and_forged_touches_are_ignored),
		T(pinned_victim_restores_its_ancestors),
		T(all_pinned_drops_the_put_and_counts_it),
		T(a_block_pinned_at_the_last_scan_is_no_victim),
		T(a_pin_of_a_former_life_protects_nothing),
		T(nothing_is_evicted_when_pins_cannot_be_read),
		T(grants_are_no_victims),
		T(ids_that_run_out_are_evicted_for),
		T(the_tick_recounts_pins_once_a_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
