/* SPDX-License-Identifier: Apache-2.0 */
/* test_number.c - what commands take for a number, a size, a time, and what they say to the rest */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/number.h"

static char told[256];

#define ARG(text_) (&(struct number_arg){ "kvshm test", "size", text_ })

/* Calls @fn with stderr going to told[]. */
#define TELLS(call_) ({ \
	FILE *f_ = tmpfile(); \
	int keep_ = dup(STDERR_FILENO), ret_; \
	assert_non_null(f_); \
	dup2(fileno(f_), STDERR_FILENO); \
	ret_ = (call_); \
	fflush(stderr); \
	dup2(keep_, STDERR_FILENO); \
	close(keep_); \
	rewind(f_); \
	told[fread(told, 1, sizeof(told) - 1, f_)] = 0; \
	fclose(f_); \
	ret_; })

static void whole_numbers_have_powers_of_1024_behind_them(void **state)
{
	static const struct {
		const char *text;
		uint64_t v;
	} row[] = {
		{ "0", 0 }, { "1", 1 }, { "007", 7 }, { "4K", 4096 }, { "4k", 4096 }, { "4KiB", 4096 }, { "4KB", 4096 },
		{ "512M", 512ull << 20 }, { "3G", 3ull << 30 }, { "1t", 1ull << 40 },
		{ "18446744073709551615", UINT64_MAX },
	};
	uint64_t v;

	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		assert_int_equal(number_whole(ARG(row[i].text), 0, UINT64_MAX, &v), 0);
		assert_int_equal(v, row[i].v);
	}
}

static void what_is_no_whole_number_is_refused_in_a_sentence(void **state)
{
	static const char *const bad[] = { "", "x", "-1", "+1", " 1", "1 ", "1.5", "0x10", "1KK", "1Kib", "1P",
					   "18446744073709551616", "18014398509481984K", "nan", "K" };
	uint64_t v = 77;
	char want[160];

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(TELLS(number_whole(ARG(bad[i]), 0, UINT64_MAX, &v)), -1);
		snprintf(want, sizeof(want),
			 "kvshm test: --size takes a number from 0 to 18446744073709551615, not \"%s\"\n", bad[i]);
		assert_string_equal(told, want);
	}
	assert_int_equal(v, 77);
}

static void limits_hold_at_both_ends(void **state)
{
	uint32_t v = 0;

	assert_int_equal(number_whole32(ARG("2"), 2, 4096, &v), 0);
	assert_int_equal(number_whole32(ARG("4K"), 2, 4096, &v), 0);
	assert_int_equal(v, 4096);
	assert_int_equal(TELLS(number_whole32(ARG("1"), 2, 4096, &v)), -1);
	assert_int_equal(TELLS(number_whole32(ARG("4097"), 2, 4096, &v)), -1);
	assert_string_equal(told, "kvshm test: --size takes a number from 2 to 4096, not \"4097\"\n");
	assert_int_equal(v, 4096);
}

static void fractions_are_decimal_and_finite(void **state)
{
	static const char *const bad[] = { "", "inf", "nan", "-0.5", "+1", " 1", "1 ", "0x1p1", "1e9", "2.5s", ".5" };
	double v = 0;

	assert_int_equal(number_real(ARG("0.05"), 0.05, 60, &v), 0);
	assert_true(v == 0.05);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(TELLS(number_real(ARG(bad[i]), 0, 60, &v)), -1);
	assert_string_equal(told, "kvshm test: --size takes a number from 0 to 60, not \".5\"\n");
	assert_true(v == 0.05);
}

static void times_have_a_unit_or_are_seconds(void **state)
{
	static const char *const bad[] = { "", "x", "5h", "5 s", "-5s", "0", "0.5ms", "1000001s", "nans", "ms" };
	uint64_t v = 0;

	assert_int_equal(number_time(ARG("200ms"), &v), 0);
	assert_int_equal(v, 200000000);
	assert_int_equal(number_time(ARG("1.5"), &v), 0);
	assert_int_equal(v, 1500000000);
	assert_int_equal(number_time(ARG("5s"), &v), 0);
	assert_int_equal(v, 5000000000);
	assert_int_equal(number_time(ARG("2m"), &v), 0);
	assert_int_equal(v, 120000000000);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(TELLS(number_time(ARG(bad[i]), &v)), -1);
	assert_string_equal(told, "kvshm test: --size takes a time as 200ms, 5s or 1m, not \"ms\"\n");
	assert_int_equal(v, 120000000000);
}

static void permissions_are_octal(void **state)
{
	static const char *const bad[] = { "", "x", "-1", "+7", " 7", "8", "0668", "1000", "660 ", "0x1ff", "7K" };
	unsigned v = 77;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(TELLS(number_octal(ARG(bad[i]), 0777, &v)), -1);
	assert_string_equal(told, "kvshm test: --size takes an octal number up to 0777, not \"7K\"\n");
	assert_int_equal(v, 77);
	assert_int_equal(number_octal(ARG("0660"), 0777, &v), 0);
	assert_int_equal(v, 0660);
	assert_int_equal(number_octal(ARG("777"), 0777, &v), 0);
	assert_int_equal(v, 0777);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_numbers_have_powers_of_1024_behind_them),
		cmocka_unit_test(what_is_no_whole_number_is_refused_in_a_sentence),
		cmocka_unit_test(limits_hold_at_both_ends),
		cmocka_unit_test(fractions_are_decimal_and_finite),
		cmocka_unit_test(times_have_a_unit_or_are_seconds),
		cmocka_unit_test(permissions_are_octal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
