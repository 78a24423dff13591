/* SPDX-License-Identifier: Apache-2.0 */
/* test_index.c - repair after a crash between slot and descriptor */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kvshm/index/index.h"
#include "tests/lib/fake_dir.h"

static char first[160];

static void a_sound_index_is_left_alone(void **state)
{
	struct directory *dir = fake_dir_create(500);

	fake_chain(dir, 1, 400, 1);
	assert_int_equal(index_repair(dir), 0);
	assert_int_equal(index_verify(dir, first), 0);
	fake_dir_destroy(dir);
}

static void a_block_that_died_before_its_slot_gets_one(void **state)
{
	struct directory *dir = fake_dir_create(500);
	struct kvshm_key key = fake_key(2, 0);
	struct index_hit hit;

	fake_chain(dir, 1, 100, 1);
	fake_block(dir, 0, &key, 200, 0);
	assert_int_equal(index_verify(dir, first), 1);
	assert_int_equal(index_repair(dir), 1);
	assert_int_equal(index_find(dir, 0, &key, &hit), 1);
	assert_int_equal(index_verify(dir, first), 0);
	fake_dir_destroy(dir);
}

static void an_evicting_block_without_slot_gets_it_back(void **state)
{
	struct directory *dir = fake_dir_create(500);

	fake_chain(dir, 1, 100, 1);
	block_close(&dir->desc[100]);
	index_remove(dir, 0, &dir->desc[100].key, 100);
	assert_int_equal(index_repair(dir), 1);
	assert_int_equal(index_verify(dir, first), 0);
	fake_dir_destroy(dir);
}

static void a_slot_of_a_block_that_is_gone_is_cleared(void **state)
{
	struct directory *dir = fake_dir_create(500);
	struct kvshm_key key = fake_key(1, 7);

	fake_chain(dir, 1, 100, 1);
	block_free(&dir->desc[100]);
	index_insert(dir, 0, &key, 499);	/* never lived */
	index_insert(dir, 0, &key, 501);	/* out of range */
	assert_int_equal(index_repair(dir), 3);
	assert_int_equal(index_verify(dir, first), 0);
	fake_dir_destroy(dir);
}

static void a_slot_in_a_foreign_bucket_or_twice_is_cleared(void **state)
{
	struct directory *dir = fake_dir_create(500);
	struct kvshm_key key = fake_key(9, 9);
	uint64_t b, moved = 0;
	unsigned i;

	fake_chain(dir, 1, 100, 1);
	index_insert(dir, 0, &key, 50);		/* block 50 has another key */
	for (b = 0; b <= dir->bucket_mask && !moved; b++)
		for (i = 0; i < KVSHM_BUCKET_SLOTS - 1 && !moved; i++)
			if ((uint32_t)dir->bucket[b].slot[i] == 20 && !dir->bucket[b].slot[i + 1])
				moved = dir->bucket[b].slot[i + 1] = dir->bucket[b].slot[i];
	assert_int_not_equal(moved, 0);
	assert_int_equal(index_repair(dir), 2);
	assert_int_equal(index_verify(dir, first), 0);
	fake_dir_destroy(dir);
}

static void an_empty_index_is_filled_from_the_descriptors(void **state)
{
	struct directory *dir = fake_dir_create(500);

	fake_chain(dir, 1, 400, 1);
	memset(dir->bucket, 0, (dir->bucket_mask + 1) * sizeof(*dir->bucket));
	assert_int_equal(index_verify(dir, first), 400);
	assert_int_equal(index_repair(dir), 400);
	assert_int_equal(index_verify(dir, first), 0);
	fake_dir_destroy(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_index_is_left_alone),
		cmocka_unit_test(a_block_that_died_before_its_slot_gets_one),
		cmocka_unit_test(an_evicting_block_without_slot_gets_it_back),
		cmocka_unit_test(a_slot_of_a_block_that_is_gone_is_cleared),
		cmocka_unit_test(a_slot_in_a_foreign_bucket_or_twice_is_cleared),
		cmocka_unit_test(an_empty_index_is_filled_from_the_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
