/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu/stage_sched.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void jobs_go_in_order_of_their_submission(void **state)
{
	struct sched_job a = { .dir = STAGE_H2D }, b = { .dir = STAGE_H2D }, c = { .dir = STAGE_D2H };
	struct stage_sched s;

	sched_init(&s, 100, 10);
	assert_null(sched_next(&s, STAGE_H2D));
	sched_add(&s, &a);
	sched_add(&s, &c);
	sched_add(&s, &b);
	assert_ptr_equal(sched_next(&s, STAGE_H2D), &a);
	assert_ptr_equal(sched_next(&s, STAGE_D2H), &c);
	a.is_issued = true;
	assert_ptr_equal(sched_next(&s, STAGE_H2D), &b);
	b.is_issued = true;
	assert_null(sched_next(&s, STAGE_H2D));
}

static void a_job_is_taken_out_of_the_middle(void **state)
{
	struct sched_job a = { .dir = STAGE_H2D }, b = { .dir = STAGE_H2D }, c = { .dir = STAGE_H2D };
	struct stage_sched s;

	sched_init(&s, 100, 10);
	sched_add(&s, &a);
	sched_add(&s, &b);
	sched_add(&s, &c);
	sched_remove(&s, &b);
	sched_remove(&s, &b);
	assert_ptr_equal(a.next, &c);
	sched_remove(&s, &c);
	assert_ptr_equal(s.queue[STAGE_H2D].last, &a);
	sched_remove(&s, &a);
	assert_null(s.queue[STAGE_H2D].first);
	sched_add(&s, &b);
	assert_ptr_equal(sched_next(&s, STAGE_H2D), &b);
}

static void a_load_goes_whatever_is_in_flight(void **state)
{
	struct stage_sched s;

	sched_init(&s, 100, 10);
	sched_issued(&s, STAGE_H2D, 1ull << 40);
	sched_issued(&s, STAGE_D2H, 1ull << 40);
	assert_true(sched_may(&s, STAGE_H2D, 1ull << 40));
}

static void puts_stay_under_their_limit(void **state)
{
	struct stage_sched s;

	sched_init(&s, 100, 10);
	assert_true(sched_may(&s, STAGE_D2H, 1000));	/* alone: it must go some day */
	sched_issued(&s, STAGE_D2H, 60);
	assert_true(sched_may(&s, STAGE_D2H, 40));
	assert_false(sched_may(&s, STAGE_D2H, 41));
	sched_landed(&s, STAGE_D2H, 20);
	assert_true(sched_may(&s, STAGE_D2H, 60));
	assert_false(sched_may(&s, STAGE_D2H, UINT64_MAX));
}

static void puts_stay_low_while_there_is_a_load(void **state)
{
	struct sched_job load = { .dir = STAGE_H2D };
	struct stage_sched s;

	sched_init(&s, 100, 10);
	sched_issued(&s, STAGE_D2H, 6);
	sched_add(&s, &load);
	load.is_issued = true;		/* in flight is enough */
	assert_true(sched_may(&s, STAGE_D2H, 4));
	assert_false(sched_may(&s, STAGE_D2H, 5));
	sched_remove(&s, &load);
	assert_true(sched_may(&s, STAGE_D2H, 94));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jobs_go_in_order_of_their_submission),
		cmocka_unit_test(a_job_is_taken_out_of_the_middle),
		cmocka_unit_test(a_load_goes_whatever_is_in_flight),
		cmocka_unit_test(puts_stay_under_their_limit),
		cmocka_unit_test(puts_stay_low_while_there_is_a_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
