/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/hist.h"
#include "kvshm/base/rand.h"

#define LARGEST ((1ull << 39) - 1)

static struct hist a, b, both;

static int clear_all(void **state)
{
	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	memset(&both, 0, sizeof(both));
	return 0;
}

static uint64_t error_of(uint64_t got, uint64_t want)
{
	return got > want ? got - want : want - got;
}

/* A value of any magnitude, all octaves alike. */
static uint64_t any_value(struct rand *r)
{
	return rand_u64(r) >> (25 + rand_below(r, 39));
}

static int by_value(const void *x, const void *y)
{
	uint64_t p = *(const uint64_t *)x, q = *(const uint64_t *)y;

	return (p > q) - (p < q);
}

static void an_empty_histogram_has_quantile_zero(void **state)
{
	assert_int_equal(hist_total(&a), 0);
	assert_int_equal(hist_quantile(&a, 0.5), 0);
}

static void values_below_sixteen_are_exact(void **state)
{
	for (uint64_t v = 0; v < 16; v++) {
		clear_all(NULL);
		hist_record(&a, v);
		assert_int_equal(hist_quantile(&a, 1), v);
	}
}

static void one_value_is_known_to_a_sixteenth(void **state)
{
	struct rand r;

	rand_init(&r, 1);
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t v = any_value(&r);

		hist_record(&a, v);
		/* Error by the only cell that is not empty, then empty it again. */
		assert_true(error_of(hist_quantile(&a, 0.5), v) * 16 <= v);
		clear_all(NULL);
	}
}

static void both_ends_of_each_octave_are_known_to_a_sixteenth(void **state)
{
	for (unsigned bit = 0; bit < 39; bit++)
		for (int d = -1; d <= 1; d++) {
			uint64_t v = (1ull << bit) + (uint64_t)d;

			clear_all(NULL);
			hist_record(&a, v);
			assert_true(error_of(hist_quantile(&a, 1), v) * 16 <= v);
		}
}

static void too_large_a_value_counts_in_the_last_cell(void **state)
{
	hist_record(&a, LARGEST);
	hist_record(&a, LARGEST + 1);
	hist_record(&a, UINT64_MAX);
	assert_int_equal(a.count[HIST_CELLS - 1], 3);
}

static void quantiles_follow_the_sorted_values(void **state)
{
	static const double qs[] = { 0, 0.01, 0.25, 0.5, 0.9, 0.99, 1 };
	enum { NR = 5000 };
	static uint64_t v[NR];
	struct rand r;

	rand_init(&r, 2);
	for (unsigned i = 0; i < NR; i++) {
		v[i] = any_value(&r);
		hist_record(&a, v[i]);
	}
	qsort(v, NR, sizeof(v[0]), by_value);
	for (unsigned i = 0; i < sizeof(qs) / sizeof(qs[0]); i++) {
		unsigned rank = (unsigned)(qs[i] * NR + 0.5);
		uint64_t want = v[rank ? rank - 1 : 0];

		assert_true(error_of(hist_quantile(&a, qs[i]), want) * 16 <= want);
	}
}

static void a_merge_equals_recording_in_one(void **state)
{
	struct rand r;

	rand_init(&r, 3);
	for (unsigned i = 0; i < 10000; i++) {
		uint64_t v = any_value(&r);

		hist_record(i % 3 ? &a : &b, v);
		hist_record(&both, v);
	}
	hist_merge(&a, &b);
	assert_memory_equal(&a, &both, sizeof(a));
	assert_int_equal(hist_total(&a), 10000);
}

static void rank_counts_up_to_a_value_and_ends_at_the_total(void **state)
{
	struct hist h;
	uint64_t last = 0;

	memset(&h, 0, sizeof(h));
	for (uint64_t v = 1; v < 1u << 20; v += 7)
		hist_record(&h, v);
	for (uint64_t v = 1; v < 1u << 21; v *= 2) {
		uint64_t rank = hist_rank(&h, v), exact = (min_of(v, (1ull << 20) - 1) + 6) / 7;

		assert_true(rank >= last);
		/* A value is known to a sixteenth of itself. */
		assert_in_range(rank, exact, exact + exact / 16 + 1);
		last = rank;
	}
	assert_int_equal(hist_rank(&h, UINT64_MAX), hist_total(&h));
	assert_int_equal(hist_rank(&h, 0), 0);
}

static void the_sum_is_as_exact_as_the_values(void **state)
{
	static struct hist h;
	double sum = 0, got;

	memset(&h, 0, sizeof(h));
	for (uint64_t v = 3; v < 1u << 30; v = v * 5 / 4 + 1) {
		hist_record(&h, v);
		sum += (double)v;
	}
	got = (double)hist_sum(&h);
	assert_true(got > sum * 0.9375 && got < sum * 1.0625);
}

static void ranges_of_cells_follow_each_other(void **state)
{
	uint64_t low, high = 0;

	for (unsigned i = 0; i < HIST_CELLS; i++) {
		uint64_t next = hist_cell_range(i, &low);
		static struct hist h;

		assert_int_equal(low, high);
		assert_true(next > low);
		memset(&h, 0, sizeof(h));
		hist_record(&h, low);
		assert_int_equal(h.count[i], 1);
		hist_record(&h, next - 1);
		assert_int_equal(h.count[i], 2);
		high = next;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(an_empty_histogram_has_quantile_zero, clear_all),
		cmocka_unit_test_setup(values_below_sixteen_are_exact, clear_all),
		cmocka_unit_test_setup(one_value_is_known_to_a_sixteenth, clear_all),
		cmocka_unit_test_setup(both_ends_of_each_octave_are_known_to_a_sixteenth, clear_all),
		cmocka_unit_test_setup(too_large_a_value_counts_in_the_last_cell, clear_all),
		cmocka_unit_test_setup(quantiles_follow_the_sorted_values, clear_all),
		cmocka_unit_test_setup(a_merge_equals_recording_in_one, clear_all),
		cmocka_unit_test(rank_counts_up_to_a_value_and_ends_at_the_total),
		cmocka_unit_test(the_sum_is_as_exact_as_the_values),
		cmocka_unit_test(ranges_of_cells_follow_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
