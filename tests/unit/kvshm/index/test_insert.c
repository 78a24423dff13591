/* SPDX-License-Identifier: Apache-2.0 */
/* test_insert.c - slots are filled, balanced, and refused when full */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "kvshm/index/index.h"
#include "tests/lib/fake_dir.h"

static unsigned nr_used(const struct kvshm_bucket *b)
{
	unsigned i, nr = 0;

	for (i = 0; i < KVSHM_BUCKET_SLOTS; i++)
		nr += b->slot[i] != 0;
	return nr;
}

static unsigned long nr_used_all(const struct directory *dir)
{
	unsigned long nr = 0;
	uint64_t b;

	for (b = 0; b <= dir->bucket_mask; b++)
		nr += nr_used(&dir->bucket[b]);
	return nr;
}

static void inserting_twice_takes_one_slot(void **state)
{
	struct directory *dir = fake_dir_create(100);
	struct kvshm_key key = fake_key(1, 0);

	assert_int_equal(index_insert(dir, 0, &key, 5), 0);
	assert_int_equal(index_insert(dir, 0, &key, 5), 0);
	assert_int_equal(nr_used_all(dir), 1);
	fake_dir_destroy(dir);
}

static void a_full_directory_fits_at_half_load(void **state)
{
	enum { NR = 1 << 16 };
	struct directory *dir = fake_dir_create(NR);
	unsigned i, fullest = 0;
	uint64_t b;

	for (i = 1; i <= NR; i++) {
		struct kvshm_key key = fake_key(i, 0);

		assert_int_equal(index_insert(dir, 0, &key, i), 0);
	}
	for (b = 0; b <= dir->bucket_mask; b++)
		if (nr_used(&dir->bucket[b]) > fullest)
			fullest = nr_used(&dir->bucket[b]);
	/* Balanced two-choice: one choice would need more than eight. */
	assert_in_range(fullest, 4, 7);
	fake_dir_destroy(dir);
}

static void both_buckets_full_refuses_and_changes_nothing(void **state)
{
	struct directory *dir = fake_dir_create(4);	/* two buckets */
	struct kvshm_key key;
	unsigned i;

	assert_int_equal(dir->bucket_mask, 1);
	for (i = 0; i < 2 * KVSHM_BUCKET_SLOTS; i++) {
		key = fake_key(i, 0);
		assert_int_equal(index_insert(dir, 0, &key, 1), 0);
	}
	key = fake_key(1000, 0);
	assert_int_equal(index_insert(dir, 0, &key, 1), -ENOSPC);
	assert_int_equal(nr_used_all(dir), 2 * KVSHM_BUCKET_SLOTS);
	fake_dir_destroy(dir);
}

static void the_hash_depends_on_seed_and_namespace(void **state)
{
	enum { NR = 64 };
	struct directory *dir = fake_dir_create(1 << 12);
	uint64_t seed = dir->hash_seed;
	unsigned i, moved_ns = 0, moved_seed = 0;
	struct index_hit hit;

	for (i = 1; i <= NR; i++) {
		struct kvshm_key key = fake_key(i, 0);

		fake_publish(dir, 1, &key, i, 0);
		dir->desc[i].ns = 2;		/* only the bucket can hide it now */
		moved_ns += !index_find(dir, 2, &key, &hit);
		dir->desc[i].ns = 1;
		dir->hash_seed = seed + 1;
		moved_seed += !index_find(dir, 1, &key, &hit);
		dir->hash_seed = seed;
	}
	assert_in_range(moved_ns, NR - 2, NR);
	assert_in_range(moved_seed, NR - 2, NR);
	fake_dir_destroy(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inserting_twice_takes_one_slot),
		cmocka_unit_test(a_full_directory_fits_at_half_load),
		cmocka_unit_test(both_buckets_full_refuses_and_changes_nothing),
		cmocka_unit_test(the_hash_depends_on_seed_and_namespace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
