/* SPDX-License-Identifier: Apache-2.0 */
/* test_relocate.c - a slab changes its class without losing its blocks */
#include "fixture.h"

static struct fix f;
static uint16_t small, big;

enum { UNITS = 4, SLOTS = 32, SPARSE = 6 };	/* SLOTS blocks of 64 KiB in a unit */

/* Units full of 64 KiB blocks, then all but SPARSE chains of one block in each unit dropped. */
static int setup(void **state)
{
	uint32_t i;

	fix_open(&f, 512, UNITS, NULL);
	small = fix_ns(&f, 1, 65536);
	big = fix_ns(&f, 2, 2u << 20);
	for (i = 0; i < UNITS * SLOTS; i++)
		assert_int_equal(fix_chain(&f, small, i, 0, 1), 1);
	for (i = 0; i < UNITS * SLOTS; i++) {
		const struct kvshm_key key = fix_key(i, 0);

		if (i % SLOTS >= SPARSE)
			assert_int_equal(cache_drop(f.c, small, &key), 1);
	}
	assert_int_equal(fix_count(&f).free_bytes, (uint64_t)UNITS * (SLOTS - SPARSE) * 65536);
	assert_int_equal(fix_count(&f).largest_free_bytes, 0);
	return 0;
}

static int teardown(void **state)
{
	fix_verify(&f);
	fix_close(&f);
	return 0;
}

static unsigned nr_small_with_their_bytes(void)
{
	unsigned n = 0;
	uint32_t i;
	blk_id_t id;

	for (i = 0; i < UNITS * SLOTS; i++) {
		id = fix_find(&f, small, i, 0);
		if (id) {
			n++;
			assert_int_equal(fix_bytes(&f, id)[0], (char)(i * 31));
		}
	}
	return n;
}

static void room_for_another_class_costs_no_block(void **state)
{
	unsigned i;

	for (i = 0; i < UNITS - 1; i++)
		assert_int_not_equal(fix_grant(&f, FIX_OWNER, big), 0);
	assert_int_equal(nr_small_with_their_bytes(), UNITS * SPARSE);
	assert_int_equal(fix_count(&f).evictions, 0);
	assert_int_equal(fix_count(&f).quarantined, 0);
	assert_true(fix_count(&f).relocations >= SPARSE);
}

/* ---- few ids ------------------------------------------------------------------------------------ */

enum { TINY_UNITS = 4, TINY_SLOTS = 512, TINY_STRIDE = 2, PAIR_UNITS = 4 };
enum { TINY_LEFT = TINY_UNITS * TINY_SLOTS / TINY_STRIDE };

/*
 * Half of the 4 KiB blocks of some units; all other units are granted in 8 KiB blocks, so that @nr_ids ids
 * are left, but no unit.
 */
static uint16_t open_with_ids(unsigned nr_ids)
{
	const unsigned nr_tiny = TINY_UNITS * TINY_SLOTS;
	uint16_t tiny, pair;
	uint32_t i;

	fix_open(&f, nr_tiny, TINY_UNITS + PAIR_UNITS, NULL);
	tiny = fix_ns(&f, 1, 4096);
	pair = fix_ns(&f, 2, 8192);
	big = fix_ns(&f, 3, 2u << 20);
	for (i = 0; i < nr_tiny; i++)
		assert_int_equal(fix_chain(&f, tiny, i, 0, 1), 1);
	for (i = 0; i < nr_tiny; i++) {
		const struct kvshm_key key = fix_key(i, 0);

		if (i % TINY_STRIDE)
			assert_int_equal(cache_drop(f.c, tiny, &key), 1);
	}
	for (i = TINY_LEFT + nr_ids; i < nr_tiny; i++)
		assert_int_not_equal(fix_grant(&f, FIX_OWNER, pair), 0);
	assert_int_equal(fix_count(&f).largest_free_bytes, 0);
	assert_int_equal(fix_count(&f).evictions, 0);
	return tiny;
}

static unsigned nr_tiny_with_their_bytes(uint16_t tiny)
{
	unsigned n = 0;
	blk_id_t id;

	for (uint32_t i = 0; i < TINY_UNITS * TINY_SLOTS; i++) {
		id = fix_find(&f, tiny, i, 0);
		if (!id)
			continue;
		n++;
		assert_int_equal(fix_bytes(&f, id)[0], (char)(i * 31));
	}
	return n;
}

/* More blocks to move than there are ids for their old places. */
static void blocks_move_in_portions(void **state)
{
	uint16_t tiny = open_with_ids(40);

	assert_int_not_equal(fix_grant(&f, FIX_OWNER, big), 0);
	assert_int_equal(fix_count(&f).relocations, TINY_SLOTS / TINY_STRIDE);
	assert_int_equal(fix_count(&f).evictions, 0);
	assert_int_equal(fix_count(&f).quarantined, 0);
	assert_int_equal(nr_tiny_with_their_bytes(tiny), TINY_LEFT);
}

/* One id in hand would let them move one by one, a scan each, and a put would be dropped before the last. */
static void without_ids_some_are_evicted_and_the_others_move(void **state)
{
	uint16_t tiny = open_with_ids(2);
	uint64_t scans = fix_count(&f).scans;

	assert_int_not_equal(fix_grant(&f, FIX_OWNER, big), 0);
	assert_int_equal(fix_count(&f).dropped_full, 0);
	assert_in_range(fix_count(&f).evictions, 1, TINY_LEFT / 2);
	assert_true(fix_count(&f).relocations > 0);
	assert_in_range(fix_count(&f).scans - scans, 1, 16);
	assert_int_equal(nr_tiny_with_their_bytes(tiny), TINY_LEFT - fix_count(&f).evictions);
}

static void a_moved_block_keeps_its_life(void **state)
{
	struct kvshm_block_ref before[UNITS * SLOTS];
	unsigned moved = 0;
	uint32_t i;

	for (i = 0; i < UNITS * SLOTS; i++)
		before[i] = fix_ref(&f, fix_find(&f, small, i, 0));
	assert_int_not_equal(fix_grant(&f, FIX_OWNER, big), 0);
	for (i = 0; i < UNITS * SLOTS; i++) {
		blk_id_t id = fix_find(&f, small, i, 0);

		assert_int_equal(id, before[i].id);
		if (id)
			assert_int_equal(fix_generation(&f, id), before[i].generation);
		moved += id != 0;
	}
	assert_int_equal(moved, UNITS * SPARSE);
}

/* Pins after the last scan: the writer moves the block, and finds the pin only then. */
static void relocation_keeps_pinned_bytes(void **state)
{
	uint64_t place[UNITS * SLOTS];
	uint32_t slot[UNITS * SLOTS], i;
	unsigned old = 0;

	for (i = 0; i < UNITS * SLOTS; i++) {
		blk_id_t id = fix_find(&f, small, i, 0);

		if (!id)
			continue;
		place[i] = (uint64_t)f.dir.desc[id].page * KVSHM_PAGE;
		slot[i] = fix_pin(&f, small, i, 0);
	}
	fix_grant(&f, FIX_OWNER, big);
	assert_true(fix_count(&f).relocations > 0);
	assert_true(fix_count(&f).quarantined > 0);
	assert_int_equal(nr_small_with_their_bytes(), UNITS * SPARSE);
	fix_verify(&f);
	for (i = 0; i < UNITS * SLOTS; i++) {
		blk_id_t id = fix_find(&f, small, i, 0);

		if (!id)
			continue;
		assert_int_equal(*((char *)arena_ptr(&f.arena, place[i])), (char)(i * 31));
		old += place[i] != (uint64_t)f.dir.desc[id].page * KVSHM_PAGE;
		fix_unpin(&f, slot[i]);
	}
	assert_int_equal(old, fix_count(&f).quarantined);
	cache_tick(f.c, ++f.now);
	assert_int_equal(fix_count(&f).quarantined, 0);
}

static void old_places_outlive_a_restart(void **state)
{
	uint64_t quarantined;
	uint32_t slot, i;

	for (i = 0; i < UNITS * SLOTS; i++)
		if (fix_find(&f, small, i, 0))
			slot = fix_pin(&f, small, i, 0);
	fix_grant(&f, FIX_OWNER, big);
	quarantined = fix_count(&f).quarantined;
	assert_true(quarantined > 0);
	assert_int_equal(fix_restart(&f), UNITS * SPARSE);
	assert_int_equal(fix_count(&f).quarantined, quarantined);
	assert_int_equal(nr_small_with_their_bytes(), UNITS * SPARSE);
	fix_verify(&f);
	for (slot = 0; slot < FIX_PIN_WORDS; slot++)
		fix_unpin(&f, slot);
	cache_tick(f.c, ++f.now);
	assert_int_equal(fix_count(&f).quarantined, 0);
}

static void a_grant_in_the_slab_keeps_it_where_it_is(void **state)
{
	blk_id_t id = fix_grant(&f, FIX_OWNER, small);
	uint32_t page = f.dir.desc[id].page;
	unsigned i;

	for (i = 0; i < UNITS; i++)
		fix_grant(&f, FIX_OWNER, big);
	assert_int_equal(f.dir.desc[id].page, page);
	assert_int_equal(state_of(f.dir.desc[id].state), KVSHM_BLOCK_GRANTED);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(room_for_another_class_costs_no_block),
		T(a_moved_block_keeps_its_life),
		T(relocation_keeps_pinned_bytes),
		T(old_places_outlive_a_restart),
		T(a_grant_in_the_slab_keeps_it_where_it_is),
		cmocka_unit_test_teardown(blocks_move_in_portions, teardown),
		cmocka_unit_test_teardown(without_ids_some_are_evicted_and_the_others_move, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
