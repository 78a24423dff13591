/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kvshm/arena/slab_class.h"
#include "kvshm/base/rand.h"

/* Bytes of memory that one block costs: its share of the slab, tail included. */
static double share_of(uint32_t length)
{
	struct slab_shape shape = slab_shape(slab_class(length));

	return (double)shape.units * HUGE_LEN / shape.slots;
}

static void assert_waste(uint32_t length)
{
	uint32_t len = slab_class_len(length);

	assert_true(len >= length && len % KVSHM_PAGE == 0);
	if (length >= 32768 && (share_of(length) - length) / share_of(length) > 0.125)
		fail_msg("%u bytes take %.0f", length, share_of(length));
}

static void no_size_from_32k_wastes_more_than_an_eighth(void **state)
{
	uint32_t length;

	/* Waste is worst one byte past a class, and falls up to its end: all pages, both sides. */
	for (length = KVSHM_PAGE; length < KVSHM_BLOCK_MAX; length += KVSHM_PAGE) {
		assert_waste(length - 1);
		assert_waste(length);
		assert_waste(length + 1);
	}
	assert_waste(KVSHM_BLOCK_MAX);
}

static void no_random_size_wastes_more_than_an_eighth(void **state)
{
	struct rand r;
	unsigned i;

	rand_init(&r, 1);
	for (i = 0; i < 200000; i++)
		assert_waste(32768 + (uint32_t)rand_below(&r, KVSHM_BLOCK_MAX - 32768 + 1));
}

static void classes_ascend_and_hold_their_own_length(void **state)
{
	struct slab_shape shape, last = { 0 };
	unsigned c;

	for (c = 0; c < slab_nr_classes(); c++) {
		shape = slab_shape(c);
		assert_true(shape.block_len > last.block_len);
		assert_int_equal(slab_class((uint32_t)shape.block_len), c);
		assert_int_equal(slab_class((uint32_t)last.block_len + 1), c);
		assert_true(shape.slots * shape.block_len <= shape.units * HUGE_LEN);
		assert_in_range(shape.slots, 1, SLAB_SLOTS_MAX);
		assert_in_range(shape.units, 1, SLAB_UNITS_MAX);
		last = shape;
	}
	assert_int_equal(last.block_len, KVSHM_BLOCK_MAX);
}

static void slots_of_a_slab_differ_modulo_2_mib(void **state)
{
	struct slab_shape shape;
	uint32_t i, j;
	unsigned c;

	for (c = 0; c < slab_nr_classes(); c++) {
		shape = slab_shape(c);
		for (i = 0; i < shape.slots; i++)
			for (j = 0; j < i; j++)
				assert_true(i * shape.block_len % HUGE_LEN != j * shape.block_len % HUGE_LEN);
	}
}

static void lengths_out_of_range_have_no_class_length(void **state)
{
	assert_int_equal(slab_class_len(0), 0);
	assert_int_equal(slab_class_len(KVSHM_BLOCK_MAX + 1), 0);
	assert_int_equal(slab_class_len(UINT32_MAX), 0);
	assert_int_equal(slab_class_len(1), 4096);
	assert_int_equal(slab_class_len(2u << 20), 2u << 20);
	assert_int_equal(slab_class_len(KVSHM_BLOCK_MAX), KVSHM_BLOCK_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_size_from_32k_wastes_more_than_an_eighth),
		cmocka_unit_test(no_random_size_wastes_more_than_an_eighth),
		cmocka_unit_test(classes_ascend_and_hold_their_own_length),
		cmocka_unit_test(slots_of_a_slab_differ_modulo_2_mib),
		cmocka_unit_test(lengths_out_of_range_have_no_class_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
