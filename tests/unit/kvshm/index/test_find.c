/* SPDX-License-Identifier: Apache-2.0 */
/* test_find.c - one key, and a vector of keys */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#define KVSHM_TESTPOINTS
#include "kvshm/index/find.c"
#include "tests/lib/fake_dir.h"

static void a_published_block_is_found_by_its_key(void **state)
{
	struct directory *dir = fake_dir_create(100);
	struct kvshm_key key = fake_key(1, 0);
	struct index_hit hit;

	assert_int_equal(fake_publish(dir, 0, &key, 7, 0), 0);
	assert_int_equal(index_find(dir, 0, &key, &hit), 1);
	assert_int_equal(hit.id, 7);
	assert_int_equal(hit.state, dir->desc[7].state);
	assert_int_equal(hit.generation, state_generation(dir->desc[7].state));
	fake_dir_destroy(dir);
}

static void a_key_that_differs_in_any_byte_is_not_found(void **state)
{
	struct directory *dir = fake_dir_create(100);
	struct kvshm_key key = fake_key(1, 0), other;
	struct index_hit hit = { .id = 99 };
	unsigned i;

	fake_block(dir, 0, &key, 7, 0);
	for (i = 0; i < KVSHM_KEY_LEN; i++) {
		other = key;
		other.bytes[i] ^= 0x10;
		/* A slot of the other key that names this block: only the compare is left. */
		assert_int_equal(index_insert(dir, 0, &other, 7), 0);
		assert_int_equal(index_find(dir, 0, &other, &hit), 0);
		assert_int_equal(hit.id, 99);
		assert_int_equal(index_remove(dir, 0, &other, 7), 0);
	}
	fake_dir_destroy(dir);
}

static void the_same_key_in_another_namespace_is_not_found(void **state)
{
	struct directory *dir = fake_dir_create(100);
	struct kvshm_key key = fake_key(1, 0);
	struct index_hit hit;

	fake_block(dir, 3, &key, 7, 0);
	assert_int_equal(index_insert(dir, 4, &key, 7), 0);
	assert_int_equal(index_find(dir, 4, &key, &hit), 0);
	assert_int_equal(index_insert(dir, 3, &key, 7), 0);
	assert_int_equal(index_find(dir, 3, &key, &hit), 1);
	fake_dir_destroy(dir);
}

static void evicting_counts_as_absent_except_for_the_writer(void **state)
{
	struct directory *dir = fake_dir_create(100);
	struct kvshm_key key = fake_key(1, 0);
	struct index_hit hit;

	fake_publish(dir, 0, &key, 7, 0);
	block_close(&dir->desc[7]);
	assert_int_equal(index_find(dir, 0, &key, &hit), 0);
	assert_int_equal(index_find_any(dir, 0, &key, &hit), 1);
	block_reopen(&dir->desc[7]);
	assert_int_equal(index_find(dir, 0, &key, &hit), 1);
	block_quarantine(&dir->desc[7]);
	assert_int_equal(index_find_any(dir, 0, &key, &hit), 0);
	fake_dir_destroy(dir);
}

static void an_id_out_of_range_is_not_followed(void **state)
{
	struct directory *dir = fake_dir_create(100);
	struct kvshm_key key = fake_key(1, 0);
	struct index_hit hit;

	index_insert(dir, 0, &key, 101);
	index_insert(dir, 0, &key, UINT32_MAX);
	assert_int_equal(index_find_any(dir, 0, &key, &hit), 0);
	fake_dir_destroy(dir);
}

static void a_full_bucket_of_garbage_is_only_a_miss(void **state)
{
	struct directory *dir = fake_dir_create(100);
	struct kvshm_key key = fake_key(1, 0);
	struct index_hit hit;
	uint64_t b;
	unsigned i;

	for (b = 0; b <= dir->bucket_mask; b++)
		for (i = 0; i < KVSHM_BUCKET_SLOTS; i++)
			dir->bucket[b].slot[i] = UINT64_MAX - b * 7919 - i;
	assert_int_equal(index_find_any(dir, 0, &key, &hit), 0);
	assert_int_equal(index_find_many(dir, 0, &key, 1, &hit), 0);
	assert_int_equal(index_longest(dir, 0, &key, 1, &hit), 0);
	fake_dir_destroy(dir);
}

static void a_vector_finds_what_single_looks_find(void **state)
{
	enum { NR = 300 };
	struct directory *dir = fake_dir_create(1000);
	struct kvshm_key keys[NR];
	struct index_hit hits[NR], one;
	unsigned i, nr, found, expect;

	for (i = 0; i < NR; i++) {
		keys[i] = fake_key(i, 0);
		if (i % 3)
			fake_publish(dir, 0, &keys[i], i + 1, 0);
	}
	for (nr = 0; nr <= NR; nr += nr < 70 ? 1 : 23) {
		found = index_find_many(dir, 0, keys, nr, hits);
		for (i = expect = 0; i < nr; i++) {
			int is_there = index_find(dir, 0, &keys[i], &one);

			expect += (unsigned)is_there;
			assert_int_equal(hits[i].id, is_there ? one.id : 0);
		}
		assert_int_equal(found, expect);
	}
	fake_dir_destroy(dir);
}

static struct directory *reused;

/* Between the first look at the state and the compare: another life, of the wanted key. */
static void next_life(const char *name)
{
	struct kvshm_key wanted = fake_key(2, 0);

	if (strcmp(name, "probe: state seen"))
		return;
	testpoint_hook = NULL;
	fake_evict(reused, 7);
	fake_block(reused, 0, &wanted, 7, 0);
}

static void a_key_of_the_next_life_is_no_hit_of_this_one(void **state)
{
	struct kvshm_key key = fake_key(1, 0), wanted = fake_key(2, 0);
	struct index_hit hit;

	reused = fake_dir_create(100);
	fake_publish(reused, 0, &key, 7, 0);
	index_insert(reused, 0, &wanted, 7);	/* a slot that is seen late */
	testpoint_hook = next_life;
	assert_int_equal(index_find(reused, 0, &wanted, &hit), 0);
	assert_null(testpoint_hook);
	assert_int_equal(index_find(reused, 0, &wanted, &hit), 1);
	assert_int_equal(hit.generation, state_generation(reused->desc[7].state));
	fake_dir_destroy(reused);
}

static void set_flag(const char *name)
{
	if (strcmp(name, "probe: state seen"))
		return;
	testpoint_hook = NULL;
	reused->desc[7].state |= KVSHM_FLAG_CHECKSUM;
}

static void a_flag_that_changes_meanwhile_is_still_a_hit(void **state)
{
	struct kvshm_key key = fake_key(1, 0);
	struct index_hit hit;

	reused = fake_dir_create(100);
	fake_publish(reused, 0, &key, 7, 0);
	testpoint_hook = set_flag;
	assert_int_equal(index_find(reused, 0, &key, &hit), 1);
	assert_null(testpoint_hook);
	assert_int_equal(hit.state, reused->desc[7].state);
	fake_dir_destroy(reused);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_published_block_is_found_by_its_key),
		cmocka_unit_test(a_key_that_differs_in_any_byte_is_not_found),
		cmocka_unit_test(the_same_key_in_another_namespace_is_not_found),
		cmocka_unit_test(evicting_counts_as_absent_except_for_the_writer),
		cmocka_unit_test(an_id_out_of_range_is_not_followed),
		cmocka_unit_test(a_full_bucket_of_garbage_is_only_a_miss),
		cmocka_unit_test(a_key_of_the_next_life_is_no_hit_of_this_one),
		cmocka_unit_test(a_flag_that_changes_meanwhile_is_still_a_hit),
		cmocka_unit_test(a_vector_finds_what_single_looks_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
