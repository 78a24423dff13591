/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_slot.c - take and drop
 *
 * Includes the source with test points, so that the writer can act inside pin_take().
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#define KVSHM_TESTPOINTS
#include "kvshm/pin/slot.c"
#include "tests/lib/fake_dir.h"

enum { WORDS = 8 };

struct fixture {
	struct directory *dir;
	struct pin_table t;
	uint64_t word[WORDS];
	struct index_hit hit;
};

static struct fixture f;

static int setup(void **state)
{
	struct kvshm_key key = fake_key(1, 9);

	f = (struct fixture){ .dir = fake_dir_create(100) };
	fake_chain(f.dir, 1, 10, 1);
	assert_int_equal(index_find(f.dir, 0, &key, &f.hit), 1);
	return pin_table_init(&f.t, f.word, WORDS, 0);
}

static int teardown(void **state)
{
	testpoint_hook = NULL;
	pin_table_fini(&f.t);
	fake_dir_destroy(f.dir);
	return 0;
}

static void a_pin_is_a_word_of_id_and_generation(void **state)
{
	uint32_t slot;

	assert_int_equal(pin_take(&f.t, f.dir, &f.hit, &slot), 0);
	assert_in_range(slot, 1, WORDS - 1);
	assert_int_equal(f.word[slot], pin_word(10, state_generation(f.dir->desc[10].state)));
	pin_drop(&f.t, slot);
	assert_int_equal(f.word[slot], 0);
}

static void a_lowered_pin_is_an_ancestor_and_costs_what_that_costs(void **state)
{
	uint64_t before;
	uint32_t slot;

	f.t.quota_bytes = 10 * FAKE_BLOCK_LEN;
	assert_int_equal(pin_take(&f.t, f.dir, &f.hit, &slot), 0);
	before = f.t.used_bytes;
	assert_int_equal(pin_lower(&f.t, f.dir, slot, 3), state_generation(f.dir->desc[3].state));
	assert_int_equal(f.word[slot], pin_word(3, state_generation(f.dir->desc[3].state)));
	assert_int_equal(before - f.t.used_bytes, 7 * FAKE_BLOCK_LEN);
	pin_drop(&f.t, slot);
	assert_int_equal(f.t.used_bytes, 0);
}

static void word_zero_covers_every_word_in_use(void **state)
{
	uint32_t slot[WORDS], i;

	for (i = 0; i < WORDS - 1; i++) {
		assert_int_equal(pin_take(&f.t, f.dir, &f.hit, &slot[i]), 0);
		assert_int_equal((uint32_t)f.word[0], KVSHM_PINFILE_OPEN);
		assert_true(f.word[0] >> 32 > slot[i]);
	}
	assert_int_equal(f.word[0] >> 32, WORDS);
}

static void all_words_taken_is_refused(void **state)
{
	uint32_t slot[WORDS], i, again = 77;

	for (i = 0; i < WORDS - 1; i++)
		assert_int_equal(pin_take(&f.t, f.dir, &f.hit, &slot[i]), 0);
	assert_int_equal(pin_take(&f.t, f.dir, &f.hit, &again), -ENOBUFS);
	assert_int_equal(again, 77);
	pin_drop(&f.t, slot[3]);
	assert_int_equal(pin_take(&f.t, f.dir, &f.hit, &again), 0);
	assert_int_equal(again, slot[3]);
}

static void dropping_what_is_not_taken_changes_nothing(void **state)
{
	uint32_t slot, nr_free;
	uint64_t zero = f.word[0];

	assert_int_equal(pin_take(&f.t, f.dir, &f.hit, &slot), 0);
	pin_drop(&f.t, slot);
	nr_free = f.t.nr_free;
	pin_drop(&f.t, slot);
	pin_drop(&f.t, 0);
	pin_drop(&f.t, WORDS);
	pin_drop(&f.t, UINT32_MAX);
	assert_int_equal(f.t.nr_free, nr_free);
	assert_int_equal(f.word[0] & 0xffffffff, zero & 0xffffffff);
}

static void expect_lost(void)
{
	uint32_t slot = 77, nr_free = f.t.nr_free, i;

	assert_int_equal(pin_take(&f.t, f.dir, &f.hit, &slot), -ESTALE);
	assert_int_equal(slot, 77);
	assert_int_equal(f.t.nr_free, nr_free);
	assert_int_equal(f.t.used_bytes, 0);
	for (i = 1; i < WORDS; i++)
		assert_int_equal(f.word[i], 0);
}

static void close_it(const char *name)
{
	block_close(&f.dir->desc[10]);
	testpoint_hook = NULL;
}

static void evict_it(const char *name)
{
	fake_evict(f.dir, 10);
	testpoint_hook = NULL;
}

static void evict_and_reuse_it(const char *name)
{
	struct kvshm_key key = fake_key(1, 9);

	fake_evict(f.dir, 10);
	fake_publish(f.dir, 0, &key, 10, 9);	/* the same key in the same place, another life */
	testpoint_hook = NULL;
}

static void a_block_closed_between_find_and_pin_is_not_pinned(void **state)
{
	testpoint_hook = close_it;
	expect_lost();
	assert_null(testpoint_hook);
}

static void a_block_evicted_between_find_and_pin_is_not_pinned(void **state)
{
	testpoint_hook = evict_it;
	expect_lost();
	assert_null(testpoint_hook);
}

static void another_life_of_the_block_is_not_pinned(void **state)
{
	testpoint_hook = evict_and_reuse_it;
	expect_lost();
	assert_null(testpoint_hook);
}

static void a_flag_that_changes_does_not_lose_the_pin(void **state)
{
	uint32_t slot;

	f.dir->desc[10].state |= KVSHM_FLAG_CHECKSUM;
	assert_int_equal(pin_take(&f.t, f.dir, &f.hit, &slot), 0);
}

static void a_hit_out_of_range_is_refused(void **state)
{
	uint32_t slot;

	f.hit.id = 0;
	assert_int_equal(pin_take(&f.t, f.dir, &f.hit, &slot), -ESTALE);
	f.hit.id = 101;
	assert_int_equal(pin_take(&f.t, f.dir, &f.hit, &slot), -ESTALE);
}

static void a_pin_costs_all_blocks_up_to_the_root(void **state)
{
	uint32_t a, b;

	assert_int_equal(pin_take(&f.t, f.dir, &f.hit, &a), 0);
	assert_int_equal(f.t.used_bytes, 10 * FAKE_BLOCK_LEN);
	assert_int_equal(pin_take(&f.t, f.dir, &f.hit, &b), 0);
	assert_int_equal(f.t.used_bytes, 20 * FAKE_BLOCK_LEN);
	pin_drop(&f.t, a);
	pin_drop(&f.t, b);
	assert_int_equal(f.t.used_bytes, 0);
}

static void a_pin_past_the_quota_is_refused_and_undone(void **state)
{
	uint32_t a, b = 77, i, nr = 0;

	f.t.quota_bytes = 19 * FAKE_BLOCK_LEN;
	assert_int_equal(pin_take(&f.t, f.dir, &f.hit, &a), 0);
	assert_int_equal(pin_take(&f.t, f.dir, &f.hit, &b), -ENOBUFS);
	assert_int_equal(b, 77);
	for (i = 1; i < WORDS; i++)
		nr += f.word[i] != 0;
	assert_int_equal(nr, 1);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_pin_is_a_word_of_id_and_generation),
		T(a_lowered_pin_is_an_ancestor_and_costs_what_that_costs),
		T(word_zero_covers_every_word_in_use),
		T(all_words_taken_is_refused),
		T(dropping_what_is_not_taken_changes_nothing),
		T(a_block_closed_between_find_and_pin_is_not_pinned),
		T(a_block_evicted_between_find_and_pin_is_not_pinned),
		T(another_life_of_the_block_is_not_pinned),
		T(a_flag_that_changes_does_not_lose_the_pin),
		T(a_hit_out_of_range_is_refused),
		T(a_pin_costs_all_blocks_up_to_the_root),
		T(a_pin_past_the_quota_is_refused_and_undone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
