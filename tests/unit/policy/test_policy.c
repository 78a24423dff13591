/* SPDX-License-Identifier: Apache-2.0 */
/* test_policy.c - the registry */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/policy.h"

static void every_policy_is_found_by_its_name_and_is_complete(void **state)
{
	const struct policy_ops *p;
	unsigned i;

	for (i = 0; (p = policy_at(i)); i++) {
		assert_ptr_equal(policy_find(p->name), p);
		assert_non_null(p->summary);
		assert_true(p->create && p->destroy && p->insert && p->touch && p->remove && p->victims &&
			    p->restore);
		p->destroy(NULL);
	}
	assert_true(i > 0);
}

static void unknown_names_are_not_found(void **state)
{
	assert_null(policy_find("no such policy"));
	assert_null(policy_find(""));
	assert_null(policy_at(UINT32_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_policy_is_found_by_its_name_and_is_complete),
		cmocka_unit_test(unknown_names_are_not_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
