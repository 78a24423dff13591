/* SPDX-License-Identifier: Apache-2.0 */
/* test_index_verify.c - the checker names what is broken */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kvshm/index/index.h"
#include "tests/lib/fake_dir.h"

static char first[160];

static struct directory *sound(void)
{
	struct directory *dir = fake_dir_create(500);

	fake_chain(dir, 1, 100, 1);
	assert_int_equal(index_verify(dir, first), 0);
	assert_string_equal(first, "");
	return dir;
}

static void a_published_block_without_slot_is_named(void **state)
{
	struct directory *dir = sound();

	index_remove(dir, 0, &dir->desc[42].key, 42);
	assert_int_equal(index_verify(dir, first), 1);
	assert_string_equal(first, "index: block 42 has 0 slots");
	fake_dir_destroy(dir);
}

static void a_slot_of_a_free_block_is_named(void **state)
{
	struct directory *dir = sound();

	block_free(&dir->desc[42]);
	assert_int_equal(index_verify(dir, first), 1);
	assert_non_null(strstr(first, "names block 42 in state 0"));
	fake_dir_destroy(dir);
}

static void an_id_out_of_range_is_named(void **state)
{
	struct directory *dir = sound();
	struct kvshm_key key = fake_key(3, 0);

	index_insert(dir, 0, &key, 501);
	assert_int_equal(index_verify(dir, first), 1);
	assert_non_null(strstr(first, "names block 501 of 500"));
	fake_dir_destroy(dir);
}

static void two_blocks_of_one_key_are_named(void **state)
{
	struct directory *dir = sound();
	struct kvshm_key key = fake_key(1, 41);

	fake_publish(dir, 0, &key, 300, 41);
	assert_int_equal(index_verify(dir, first), 1);
	assert_non_null(strstr(first, "is not what its key finds"));
	fake_dir_destroy(dir);
}

static void random_damage_is_counted_and_survived(void **state)
{
	struct directory *dir = sound();
	uint64_t x = 88172645463325252ull, *word = (uint64_t *)(void *)dir->desc;
	unsigned i;

	for (i = 0; i < 3000; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		word[8 + x % (dir->len / 8 - 8)] = x;
	}
	assert_in_range(index_verify(dir, NULL), 1, 100000);
	index_repair(dir);
	fake_dir_destroy(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_published_block_without_slot_is_named),
		cmocka_unit_test(a_slot_of_a_free_block_is_named),
		cmocka_unit_test(an_id_out_of_range_is_named),
		cmocka_unit_test(two_blocks_of_one_key_are_named),
		cmocka_unit_test(random_damage_is_counted_and_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
