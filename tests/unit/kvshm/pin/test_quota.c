/* SPDX-License-Identifier: Apache-2.0 */
/* test_quota.c - match and pin in one, within the quota */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#define KVSHM_TESTPOINTS
#include "kvshm/pin/slot.c"
#include "tests/lib/fake_dir.h"

enum { NR = 40, WORDS = 16 };

static struct directory *dir;
static struct pin_table t;
static uint64_t word[WORDS];
static struct kvshm_key keys[NR];

static int setup(void **state)
{
	unsigned i;

	memset(word, 0, sizeof(word));
	dir = fake_dir_create(100);
	fake_chain(dir, 1, 30, 1);
	for (i = 0; i < NR; i++)
		keys[i] = fake_key(1, i);
	return pin_table_init(&t, word, WORDS, 0);
}

static int teardown(void **state)
{
	testpoint_hook = NULL;
	pin_table_fini(&t);
	dir = fake_dir_destroy(dir);
	return 0;
}

static int pin(unsigned nr, struct index_hit *hit, uint32_t *slot, unsigned *retries)
{
	return pin_longest(&t, dir, 0, keys, nr, FAKE_BLOCK_LEN, hit, slot, retries);
}

static void the_whole_prefix_is_pinned_by_its_last_block(void **state)
{
	struct index_hit hit;
	unsigned retries = 9;
	uint32_t slot;

	assert_int_equal(pin(NR, &hit, &slot, &retries), 30);
	assert_int_equal(hit.id, 30);
	assert_int_equal((uint32_t)word[slot], 30);
	assert_int_equal(retries, 0);
}

static void nothing_cached_and_no_keys_are_misses(void **state)
{
	struct index_hit hit;
	unsigned retries;
	uint32_t slot;

	assert_int_equal(pin(0, &hit, &slot, &retries), 0);
	keys[0] = fake_key(2, 0);
	assert_int_equal(pin(1, &hit, &slot, &retries), 0);
}

static void past_the_quota_the_longest_prefix_that_fits_is_pinned(void **state)
{
	struct index_hit hit;
	unsigned retries;
	uint32_t slot;

	t.quota_bytes = 25 * FAKE_BLOCK_LEN + 1;
	assert_int_equal(pin(NR, &hit, &slot, &retries), 25);
	assert_int_equal(hit.id, 25);
	assert_int_equal(pin(NR, &hit, &slot, &retries), -ENOBUFS);
	pin_drop(&t, slot);
	assert_int_equal(pin(10, &hit, &slot, &retries), 10);
	assert_int_equal(pin(NR, &hit, &slot, &retries), 15);
}

static void a_miss_at_the_quota_is_a_miss(void **state)
{
	struct index_hit hit;
	unsigned retries;
	uint32_t slot;

	t.quota_bytes = 1;
	assert_int_equal(pin(NR, &hit, &slot, &retries), -ENOBUFS);
	keys[0] = fake_key(2, 0);
	assert_int_equal(pin(NR, &hit, &slot, &retries), 0);
}

static unsigned nr_lost, lose;

/* The writer takes the leaf just before it is pinned. */
static void evict_the_leaf(const char *name)
{
	if (nr_lost < lose)
		fake_evict(dir, 30 - nr_lost++);
}

static void a_lost_race_searches_again(void **state)
{
	struct index_hit hit;
	unsigned retries;
	uint32_t slot;

	nr_lost = 0;
	lose = 3;
	testpoint_hook = evict_the_leaf;
	assert_int_equal(pin(NR, &hit, &slot, &retries), 27);
	assert_int_equal(hit.id, 27);
	assert_int_equal(retries, 3);
}

static void races_lost_for_ever_end_as_a_miss(void **state)
{
	struct index_hit hit;
	unsigned retries;
	uint32_t slot, i;

	nr_lost = 0;
	lose = 30;
	testpoint_hook = evict_the_leaf;
	assert_int_equal(pin(NR, &hit, &slot, &retries), 0);
	assert_int_equal(retries, 8);
	for (i = 1; i < WORDS; i++)
		assert_int_equal(word[i], 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_whole_prefix_is_pinned_by_its_last_block),
		T(nothing_cached_and_no_keys_are_misses),
		T(past_the_quota_the_longest_prefix_that_fits_is_pinned),
		T(a_miss_at_the_quota_is_a_miss),
		T(a_lost_race_searches_again),
		T(races_lost_for_ever_end_as_a_miss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
