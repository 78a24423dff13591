/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu/cuda_err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kvshm/base/compiler.h"

static void errors_that_lose_the_context_are_one_errno(void **state)
{
	static const CUresult sticky[] = { 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 999 };

	for (unsigned i = 0; i < ARRAY_SIZE(sticky); i++) {
		assert_int_equal(cuda_errno(sticky[i]), -ENOTRECOVERABLE);
		assert_true(cuda_is_sticky(sticky[i]));
	}
}

static void errors_of_one_call_are_not_sticky(void **state)
{
	static const struct {
		CUresult code;
		int error;
	} plain[] = {
		{ 0, 0 }, { 1, -EINVAL }, { 2, -ENOMEM }, { 34, -ENODEV }, { 100, -ENODEV }, { 500, -ENOENT }, { 600, -EAGAIN },
		{ 704, -EALREADY }, { 712, -EEXIST }, { 713, -ENOENT }, { 800, -EPERM }, { 801, -EOPNOTSUPP },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(plain); i++) {
		assert_int_equal(cuda_errno(plain[i].code), plain[i].error);
		assert_false(cuda_is_sticky(plain[i].code));
	}
}

static void unknown_code_is_an_error_with_its_number(void **state)
{
	char text[64];

	assert_int_equal(cuda_errno(54321), -EIO);
	assert_string_equal(cuda_err_text(54321, text, sizeof(text)), "54321 not known to kvshm");
	assert_string_equal(cuda_err_text(700, text, sizeof(text)), "700 illegal address");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_that_lose_the_context_are_one_errno),
		cmocka_unit_test(errors_of_one_call_are_not_sticky),
		cmocka_unit_test(unknown_code_is_an_error_with_its_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
