/* SPDX-License-Identifier: Apache-2.0 */
/* test_pin_verify.c - the checker names a pinned block that is gone */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvshm/pin/pin.h"
#include "tests/lib/fake_dir.h"

enum { WORDS = 100 };

static char first[160];
static struct directory *dir;
static struct pin_set *set;
static int fd;

static int setup(void **state)
{
	dir = fake_dir_create(100);
	fake_chain(dir, 1, 50, 1);
	fd = memfd_create("pins", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, WORDS * 8) < 0 || pin_set_create(2, &set) < 0)
		return -1;
	return pin_set_add(set, 3, fd, WORDS, 0);
}

static int teardown(void **state)
{
	close(fd);
	set = pin_set_destroy(set);
	dir = fake_dir_destroy(dir);
	return 0;
}

static void put_pin(blk_id_t id)
{
	uint64_t w = pin_word(id, state_generation(dir->desc[id].state));

	assert_int_equal(pwrite(fd, &w, sizeof(w), 40), sizeof(w));
}

static void pins_of_living_blocks_are_sound(void **state)
{
	put_pin(30);
	block_close(&dir->desc[30]);
	block_quarantine(&dir->desc[29]);
	assert_int_equal(pin_verify(set, dir, first), 0);
	assert_string_equal(first, "");
}

static void a_word_of_a_former_life_is_no_violation(void **state)
{
	put_pin(50);
	fake_evict(dir, 50);
	assert_int_equal(pin_verify(set, dir, first), 0);
}

static void a_pinned_block_in_the_wrong_state_is_named(void **state)
{
	put_pin(30);
	dir->desc[30].state = state_with(dir->desc[30].state, KVSHM_BLOCK_FREE);
	assert_int_equal(pin_verify(set, dir, first), 1);
	assert_string_equal(first, "pin: file 3 pins block 30, but block 30 is in state 0");
}

static void a_freed_ancestor_of_a_pin_is_named(void **state)
{
	put_pin(30);
	block_free(&dir->desc[12]);
	assert_int_equal(pin_verify(set, dir, first), 1);
	assert_string_equal(first, "pin: file 3 pins block 30, but block 12 is in state 0");
}

static void a_parent_out_of_range_or_in_a_cycle_is_named(void **state)
{
	put_pin(30);
	dir->desc[12].parent = 5000;
	assert_int_equal(pin_verify(set, dir, first), 1);
	dir->desc[12].parent = 20;
	assert_int_equal(pin_verify(set, dir, first), 1);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(pins_of_living_blocks_are_sound),
		T(a_word_of_a_former_life_is_no_violation),
		T(a_pinned_block_in_the_wrong_state_is_named),
		T(a_freed_ancestor_of_a_pin_is_named),
		T(a_parent_out_of_range_or_in_a_cycle_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
