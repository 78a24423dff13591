/* SPDX-License-Identifier: Apache-2.0 */
/* test_recover.c - the content of a daemon that died, and of a file that was damaged */
#define KVSHM_TESTPOINTS
#include "kvshm/cache/drop.c"
#include "kvshm/cache/publish.c"
#include "kvshm/cache/reclaim.c"
#include "kvshm/cache/relocate.c"

#include "fixture.h"
#include "kvshm/base/rand.h"

static struct fix f;
static uint16_t ns;
static const char *die_at;
static jmp_buf death;

static void die_hook(const char *name)
{
	if (die_at && !strcmp(name, die_at)) {
		die_at = NULL;
		longjmp(death, 1);
	}
}

static int setup(void **state)
{
	testpoint_hook = die_hook;
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

static void a_recovered_cache_goes_on_as_before(void **state)
{
	struct cache_counts before;

	fix_chain(&f, ns, 1, 0, 20);
	fix_grant(&f, FIX_OWNER, ns);
	before = fix_count(&f);
	assert_int_equal(fix_restart(&f), 20);
	assert_int_equal(fix_count(&f).published_bytes, before.published_bytes);
	assert_int_equal(fix_count(&f).free_bytes, before.free_bytes);
	assert_int_equal(fix_count(&f).recovered, 20);
	assert_int_equal(fix_count(&f).damaged, 0);
	fix_verify(&f);
	assert_int_equal(fix_chain(&f, ns, 1, 20, 20), 20);
	assert_int_equal(cache_reclaim(f.c, UINT64_MAX, ++f.now), 40 * 65536);
}

static void grants_of_the_dead_and_of_the_daemon_return(void **state)
{
	blk_id_t alive = fix_grant(&f, FIX_OWNER, ns), dead = fix_grant(&f, FIX_OWNER + 1, ns);
	blk_id_t own = fix_grant(&f, 0, ns);

	f.dead_owner = FIX_OWNER + 1;
	fix_restart(&f);
	assert_int_equal(state_of(f.dir.desc[alive].state), KVSHM_BLOCK_GRANTED);
	assert_int_equal(state_of(f.dir.desc[dead].state), KVSHM_BLOCK_FREE);
	assert_int_equal(state_of(f.dir.desc[own].state), KVSHM_BLOCK_FREE);
	assert_int_equal(cache_return(f.c, FIX_OWNER, fix_ref(&f, alive)), 0);
}

static void evicting_becomes_published_at_recovery(void **state)
{
	uint32_t i;

	fix_chain(&f, ns, 1, 0, 20);
	fix_pin(&f, ns, 1, 12);
	die_at = "evict: closed, not scanned";
	if (!setjmp(death))
		cache_reclaim(f.c, UINT64_MAX, ++f.now);
	assert_null(die_at);
	assert_int_equal(fix_find(&f, ns, 1, 12), 0);
	assert_int_equal(fix_restart(&f), 20);
	for (i = 0; i < 20; i++)
		assert_int_not_equal(fix_find(&f, ns, 1, i), 0);
}

static void a_death_between_slot_and_free_brings_the_block_back(void **state)
{
	fix_chain(&f, ns, 1, 0, 20);
	die_at = "evict: closed without index slot";
	if (!setjmp(death))
		cache_reclaim(f.c, UINT64_MAX, ++f.now);
	assert_int_equal(fix_restart(&f), 20);
	assert_int_not_equal(fix_find(&f, ns, 1, 19), 0);
}

static void a_death_between_publish_and_slot_keeps_the_block(void **state)
{
	fix_chain(&f, ns, 1, 0, 3);
	die_at = "publish: descriptor without index slot";
	if (!setjmp(death))
		fix_chain(&f, ns, 1, 3, 1);
	assert_int_equal(fix_find(&f, ns, 1, 3), 0);
	assert_int_equal(fix_restart(&f), 4);
	assert_int_not_equal(fix_find(&f, ns, 1, 3), 0);
}

static void a_drop_that_was_cut_short_leaves_a_whole_chain(void **state)
{
	const struct kvshm_key root = fix_key(1, 0);

	fix_chain(&f, ns, 1, 0, 5);
	fix_pin(&f, ns, 1, 4);
	die_at = "drop: published without index slot";
	if (!setjmp(death))
		cache_drop(f.c, ns, &root);
	assert_int_equal(fix_restart(&f), 5);
	assert_int_equal(cache_drop(f.c, ns, &root), 5);
	assert_int_equal(fix_count(&f).quarantined, 5);
	assert_int_equal(fix_restart(&f), 0);
	assert_int_equal(fix_count(&f).quarantined, 5);
	fix_verify(&f);
	f.word[0][1] = 0;
	cache_tick(f.c, ++f.now);
	assert_int_equal(fix_count(&f).quarantined, 0);
}

/* 4 units, each with one block of 64 KiB left: the first grant of 2 MiB moves one. */
static void die_in_a_move(const char *where)
{
	uint16_t big = fix_ns(&f, 2, 2u << 20);
	uint32_t i;

	for (i = 0; i < 128; i++)
		fix_chain(&f, ns, i, 0, 1);
	for (i = 0; i < 128; i++) {
		const struct kvshm_key key = fix_key(i, 0);

		if (i % 32)
			cache_drop(f.c, ns, &key);
	}
	die_at = where;
	if (!setjmp(death))
		fix_grant(&f, FIX_OWNER, big);
	assert_null(die_at);
	assert_int_equal(fix_restart(&f), 4);
	assert_int_equal(fix_count(&f).quarantined, 0);	/* nobody has a pin */
	assert_int_equal(fix_count(&f).granted, 0);
	assert_int_equal(fix_count(&f).damaged, 0);
	for (i = 0; i < 128; i += 32)
		assert_int_equal(fix_bytes(&f, fix_find(&f, ns, i, 0))[0], (char)(i * 31));
}

static void a_move_that_only_granted_the_old_place_is_undone(void **state)
{
	die_in_a_move("relocate: old place granted");
}

static void a_move_that_did_not_store_the_new_place_is_undone(void **state)
{
	die_in_a_move("relocate: old place recorded");
}

static void a_move_that_was_stored_is_done(void **state)
{
	die_in_a_move("relocate: moved");
}

/* ---- damage ----------------------------------------------------------------------------------- */

static void a_missing_parent_takes_the_subtree_along(void **state)
{
	fix_chain(&f, ns, 1, 0, 10);
	block_free(&f.dir.desc[fix_find(&f, ns, 1, 3)]);
	assert_int_equal(fix_restart(&f), 3);
	assert_int_equal(fix_count(&f).damaged, 6);
}

static void of_two_blocks_in_one_place_one_stays(void **state)
{
	fix_chain(&f, ns, 1, 0, 1);
	fix_chain(&f, ns, 2, 0, 1);
	f.dir.desc[fix_find(&f, ns, 2, 0)].page = f.dir.desc[fix_find(&f, ns, 1, 0)].page;
	assert_int_equal(fix_restart(&f), 1);
	assert_int_equal(fix_count(&f).damaged, 1);
}

static void places_outside_the_arena_are_given_up(void **state)
{
	fix_chain(&f, ns, 1, 0, 2);
	fix_chain(&f, ns, 2, 0, 1);
	f.dir.desc[fix_find(&f, ns, 1, 0)].page = UINT32_MAX;
	f.dir.desc[fix_find(&f, ns, 2, 0)].length = 0;
	assert_int_equal(fix_restart(&f), 0);
	assert_int_equal(fix_count(&f).damaged, 3);
	assert_int_equal(fix_count(&f).free_bytes, fix_count(&f).capacity_bytes);
}

static void a_cycle_of_parents_is_cut(void **state)
{
	blk_id_t a, b;

	fix_chain(&f, ns, 1, 0, 3);
	a = fix_find(&f, ns, 1, 1);
	b = fix_find(&f, ns, 1, 2);
	f.dir.desc[a].parent = b;
	assert_int_equal(fix_restart(&f), 1);
	assert_int_equal(fix_count(&f).damaged, 2);
}

static void two_blocks_of_one_key_become_one(void **state)
{
	fix_chain(&f, ns, 1, 0, 1);
	fix_chain(&f, ns, 2, 0, 3);
	f.dir.desc[fix_find(&f, ns, 2, 0)].key = fix_key(1, 0);
	fix_restart(&f);
	assert_int_equal(fix_count(&f).published + fix_count(&f).damaged, 4);
	assert_true(fix_count(&f).damaged > 0);
}

static void an_impossible_table_of_extents_means_a_cold_start(void **state)
{
	f.dir.sb->nr_extents = 5;
	assert_int_equal(fix_restart(&f), -EUCLEAN);
	f.dir.sb->nr_extents = 2;
	f.dir.extent[1].base = HUGE_LEN;
	f.dir.extent[1].len = 1ull << 60;
	assert_int_equal(fix_restart(&f), -EUCLEAN);
	f.dir.extent[1].len = 0;
	f.dir.sb->nr_extents = 1;
	assert_int_equal(fix_restart(&f), 0);
}

static void a_death_between_a_namespace_and_its_count_leaves_it_usable(void **state)
{
	const uint32_t nr_ns = f.dir.sb->nr_ns;

	f.dir.sb->nr_ns--;
	fix_restart(&f);
	assert_int_equal(f.dir.sb->nr_ns, nr_ns);
	assert_int_equal(fix_ns(&f, 1, 65536), ns);
	assert_int_equal(fix_chain(&f, ns, 1, 0, 2), 2);
	fix_verify(&f);
	f.dir.sb->nr_ns = UINT32_MAX;
	assert_int_equal(fix_restart(&f), 2);
	assert_int_equal(f.dir.sb->nr_ns, nr_ns);
}

static void number_zero_is_no_block_again(void **state)
{
	f.dir.desc[0].state = state_make(KVSHM_BLOCK_PUBLISHED, 0, 0, 1);
	fix_restart(&f);
	assert_int_equal(f.dir.desc[0].state, 0);
	fix_verify(&f);
}

static void random_damage_never_survives_recovery(void **state)
{
	struct rand r;
	unsigned round, i;

	rand_init(&r, 11);
	for (round = 0; round < 600; round++) {
		char *desc = (char *)&f.dir.desc[1], *bucket = (char *)f.dir.bucket;

		for (i = 0; i < 6; i++)
			fix_chain(&f, ns, (uint32_t)(round * 6 + i), 0, 1 + (uint32_t)rand_below(&r, 12));
		fix_grant(&f, FIX_OWNER, ns);
		for (i = 0; i < 20; i++)
			desc[rand_below(&r, 256 * 64)] ^= (char)(1u << rand_below(&r, 8));
		for (i = 0; i < 20; i++)
			bucket[rand_below(&r, (f.dir.bucket_mask + 1) * 64)] ^= (char)(1u << rand_below(&r, 8));
		assert_true(fix_restart(&f) >= 0);
		fix_verify(&f);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_recovered_cache_goes_on_as_before),
		T(grants_of_the_dead_and_of_the_daemon_return),
		T(evicting_becomes_published_at_recovery),
		T(a_death_between_slot_and_free_brings_the_block_back),
		T(a_death_between_publish_and_slot_keeps_the_block),
		T(a_drop_that_was_cut_short_leaves_a_whole_chain),
		T(a_move_that_only_granted_the_old_place_is_undone),
		T(a_move_that_did_not_store_the_new_place_is_undone),
		T(a_move_that_was_stored_is_done),
		T(a_missing_parent_takes_the_subtree_along),
		T(of_two_blocks_in_one_place_one_stays),
		T(places_outside_the_arena_are_given_up),
		T(a_cycle_of_parents_is_cut),
		T(two_blocks_of_one_key_become_one),
		T(an_impossible_table_of_extents_means_a_cold_start),
		T(a_death_between_a_namespace_and_its_count_leaves_it_usable),
		T(number_zero_is_no_block_again),
		T(random_damage_never_survives_recovery),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
