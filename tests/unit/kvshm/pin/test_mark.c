/* SPDX-License-Identifier: Apache-2.0 */
/* test_mark.c - pins as counts in a tree */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kvshm/pin/mark.h"
#include "tests/lib/fake_dir.h"

static struct directory *dir;
static struct pin_marks marks;

/* 1..10 a chain, 11..15 a branch from 5. */
static int setup(void **state)
{
	unsigned i;

	dir = fake_dir_create(20);
	fake_chain(dir, 1, 10, 1);
	for (i = 11; i <= 15; i++) {
		struct kvshm_key key = fake_key(2, i);

		fake_publish(dir, 0, &key, i, i == 11 ? 5 : i - 1);
	}
	return pin_marks_init(&marks, 20);
}

static int teardown(void **state)
{
	pin_marks_fini(&marks);
	dir = fake_dir_destroy(dir);
	return 0;
}

static void a_block_counts_its_pins_and_its_marked_children(void **state)
{
	pin_mark_up(&marks, dir, 10);
	pin_mark_up(&marks, dir, 10);
	pin_mark_up(&marks, dir, 15);
	assert_int_equal(marks.m[10].refs, 2);
	assert_int_equal(marks.m[9].refs, 1);
	assert_int_equal(marks.m[5].refs, 2);
	assert_int_equal(marks.m[1].refs, 1);
	assert_int_equal(marks.bytes, 15 * FAKE_BLOCK_LEN);
}

static void what_goes_up_comes_down(void **state)
{
	unsigned i;

	pin_mark_up(&marks, dir, 10);
	pin_mark_up(&marks, dir, 15);
	pin_mark_down(&marks, 10);
	assert_int_equal(marks.m[6].refs, 0);
	assert_int_equal(marks.m[5].refs, 1);
	assert_int_equal(marks.bytes, 10 * FAKE_BLOCK_LEN);
	pin_mark_down(&marks, 15);
	for (i = 0; i <= 20; i++)
		assert_int_equal(marks.m[i].refs, 0);
	assert_int_equal(marks.bytes, 0);
}

static void it_comes_down_by_the_way_it_went_up(void **state)
{
	unsigned i;

	pin_mark_up(&marks, dir, 10);
	dir->desc[7].parent = 15;		/* damaged meanwhile */
	dir->desc[8].length = 1;
	pin_mark_down(&marks, 10);
	for (i = 0; i <= 20; i++)
		assert_int_equal(marks.m[i].refs, 0);
	assert_int_equal(marks.bytes, 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_block_counts_its_pins_and_its_marked_children),
		T(what_goes_up_comes_down),
		T(it_comes_down_by_the_way_it_went_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
