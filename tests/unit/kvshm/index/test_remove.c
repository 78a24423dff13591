/* SPDX-License-Identifier: Apache-2.0 */
/* test_remove.c - the slot of this key and this block, and no other */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "kvshm/index/index.h"
#include "tests/lib/fake_dir.h"

static void a_removed_key_is_not_found_and_its_slot_is_free_again(void **state)
{
	struct directory *dir = fake_dir_create(4);
	struct kvshm_key key = fake_key(1, 0);
	struct index_hit hit;
	unsigned i;

	for (i = 0; i < 1000; i++) {	/* more rounds than slots */
		assert_int_equal(index_insert(dir, 0, &key, 2), 0);
		assert_int_equal(index_remove(dir, 0, &key, 2), 0);
	}
	fake_block(dir, 0, &key, 2, 0);
	assert_int_equal(index_find(dir, 0, &key, &hit), 0);
	fake_dir_destroy(dir);
}

static void another_block_of_the_same_key_keeps_its_slot(void **state)
{
	struct directory *dir = fake_dir_create(100);
	struct kvshm_key key = fake_key(1, 0);
	struct index_hit hit;

	fake_publish(dir, 0, &key, 2, 0);
	assert_int_equal(index_remove(dir, 0, &key, 3), -ENOENT);
	assert_int_equal(index_find(dir, 0, &key, &hit), 1);
	fake_dir_destroy(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_removed_key_is_not_found_and_its_slot_is_free_again),
		cmocka_unit_test(another_block_of_the_same_key_keeps_its_slot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
