/* SPDX-License-Identifier: Apache-2.0 */
/* test_near.c - grants on the NUMA node where they are wanted, and what is counted of it */
#include "fixture.h"

#define LEN 65536u
#define UNITS 2u			/* of each node */
#define ROOM ((unsigned)(UNITS * HUGE_LEN / LEN))

static struct fix f;
static uint16_t ns;
static int second_fd;

/* The fixture's extent is node 0's; another one behind it is node 1's. */
static int setup(void **state)
{
	struct kvshm_extent_entry e = { .len = UNITS * HUGE_LEN, .node = 1, .page_kind = KVSHM_PAGES_4K };

	fix_open(&f, 1024, UNITS, NULL);
	second_fd = memfd_create("arena", MFD_CLOEXEC);
	assert_int_equal(ftruncate(second_fd, (off_t)e.len), 0);
	e.base = f.arena.span;
	assert_int_equal(arena_map_extent(&f.arena, &e, second_fd), 0);
	f.dir.extent[1] = e;
	f.dir.sb->nr_extents = 2;
	assert_int_equal(cache_add_extent(f.c, 1), 0);
	ns = fix_ns(&f, 1, LEN);
	return 0;
}

static int teardown(void **state)
{
	fix_verify(&f);
	fix_close(&f);
	close(second_fd);
	return 0;
}

static bool is_on_second(blk_id_t id)
{
	return (uint64_t)f.dir.desc[id].page * KVSHM_PAGE >= f.dir.extent[1].base;
}

/* @nr blocks in one call.  Return: how many of them lie on node 1. */
static unsigned grant(unsigned nr)
{
	struct kvshm_id_run run[8];
	unsigned nr_runs, on_second = 0;

	assert_int_equal(cache_grant(f.c, FIX_OWNER, ns, 0, nr, run, 8, &nr_runs, ++f.now), nr);
	for (unsigned i = 0; i < nr_runs; i++)
		for (uint32_t k = 0; k < run[i].nr; k++)
			on_second += is_on_second(run[i].first + k);
	return on_second;
}

static void grants_lie_on_the_node_that_is_wanted(void **state)
{
	cache_near(f.c, 1);
	assert_int_equal(grant(10), 10);
	cache_near(f.c, 0);
	assert_int_equal(grant(10), 0);
	assert_int_equal(fix_count(&f).near, 20);
	assert_int_equal(fix_count(&f).spilled, 0);
}

static void what_does_not_fit_there_spills_and_is_counted(void **state)
{
	cache_near(f.c, 1);
	assert_int_equal(grant(ROOM + 5), ROOM);
	assert_int_equal(fix_count(&f).near, ROOM);
	assert_int_equal(fix_count(&f).spilled, 5);
}

static void without_a_wish_the_emptier_node_is_filled(void **state)
{
	for (unsigned i = 0; i < 4; i++)
		grant(8);
	cache_near(f.c, 1);
	assert_int_equal(grant(ROOM - 16), ROOM - 16);		/* 16 of the 32 lie there */
	assert_int_equal(fix_count(&f).near, ROOM - 16);
	cache_near(f.c, -1);
	assert_int_equal(grant(ROOM - 16), 0);
	assert_int_equal(fix_count(&f).near, ROOM - 16);
	assert_int_equal(fix_count(&f).spilled, 0);
}

static void a_node_without_extents_is_no_wish(void **state)
{
	cache_near(f.c, 7);
	grant(3);
	assert_int_equal(fix_count(&f).near + fix_count(&f).spilled, 0);
}

/* Full: eviction makes room on both, and the near places are taken first. */
static void a_full_cache_goes_on_with_both_nodes(void **state)
{
	cache_near(f.c, 1);
	for (uint32_t chain = 1; chain <= 20; chain++)
		assert_int_equal(fix_chain(&f, ns, chain, 0, 16), 16);
	assert_true(fix_count(&f).evictions > 0);
	assert_true(fix_count(&f).spilled > 0);
	assert_int_equal(fix_count(&f).near + fix_count(&f).spilled, 20 * 16);
}

static void after_a_restart_each_block_is_where_it_was(void **state)
{
	blk_id_t id;

	cache_near(f.c, 1);
	assert_int_equal(fix_chain(&f, ns, 1, 0, 5), 5);
	id = fix_find(&f, ns, 1, 4);
	assert_true(is_on_second(id));
	assert_int_equal(fix_restart(&f), 5);
	assert_true(is_on_second(fix_find(&f, ns, 1, 4)));
	fix_verify(&f);
	cache_near(f.c, 1);
	assert_int_equal(grant(ROOM), ROOM - 5);
}

/* The arena grows while sessions are there. */
static void a_node_may_get_its_extents_later(void **state)
{
	struct kvshm_extent_entry e = { .base = f.arena.span, .len = HUGE_LEN, .node = 2, .page_kind = KVSHM_PAGES_4K };
	int fd = memfd_create("arena", MFD_CLOEXEC);

	cache_near(f.c, 2);
	grant(3);
	assert_int_equal(ftruncate(fd, HUGE_LEN), 0);
	assert_int_equal(arena_map_extent(&f.arena, &e, fd), 0);
	f.dir.extent[2] = e;
	f.dir.sb->nr_extents = 3;
	assert_int_equal(cache_add_extent(f.c, 2), 0);
	cache_near(f.c, 2);
	grant(3);
	assert_int_equal(fix_count(&f).near, 3);
	close(fd);
}

static void a_hint_names_any_node_and_nothing_else(void **state)
{
	struct kvshm_hint_rec rec = { .kind = KVSHM_HINT_NODE, .nr = 77 };
	const struct cache_hint h = { .owner = FIX_OWNER, .rec = &rec, .now_ns = f.now };

	assert_int_equal(cache_hint(f.c, &h), 1);
	assert_int_equal(fix_count(&f).hints, 1);
	rec.nr = UINT32_MAX;
	assert_int_equal(cache_hint(f.c, &h), -EINVAL);
	rec.nr = 1;
	rec.block.id = 1;
	assert_int_equal(cache_hint(f.c, &h), -EINVAL);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(grants_lie_on_the_node_that_is_wanted),
		T(what_does_not_fit_there_spills_and_is_counted),
		T(without_a_wish_the_emptier_node_is_filled),
		T(a_node_without_extents_is_no_wish),
		T(a_full_cache_goes_on_with_both_nodes),
		T(after_a_restart_each_block_is_where_it_was),
		T(a_node_may_get_its_extents_later),
		T(a_hint_names_any_node_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
