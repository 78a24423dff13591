/* SPDX-License-Identifier: Apache-2.0 */
/* test_wait.c - waits are bounded, and learn from how they ended */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/wait.h"

/* Nothing comes: steps until told to sleep. */
static uint32_t wait_in_vain(struct wait *w)
{
	uint32_t steps = 0;

	wait_begin(w);
	while (wait_step(w))
		steps++;
	wait_end(w, false);
	return steps;
}

/* What is waited for is there after @spins looks. */
static void wait_for(struct wait *w, uint32_t spins)
{
	bool spun = true;

	wait_begin(w);
	while (spins-- && spun)
		spun = wait_step(w);
	wait_end(w, spun);
}

static void a_wait_in_vain_ends_in_sleep(void **state)
{
	struct wait w;

	wait_init(&w);
	assert_true(wait_in_vain(&w) <= WAIT_SPINS_MAX + WAIT_YIELDS);
}

static void no_wait_spins_past_its_time(void **state)
{
	uint64_t t, best = UINT64_MAX;
	struct wait w;
	int i;

	for (i = 0; i < 200; i++) {	/* the best of many: others may run in between */
		wait_init(&w);
		w.budget = WAIT_SPINS_MAX;
		t = clock_ns();
		wait_begin(&w);
		while (wait_step(&w) && !w.yields)
			;
		t = clock_ns() - t;
		best = t < best ? t : best;
	}
	assert_true(best < 4 * WAIT_SPIN_NS);
}

static void yields_come_after_spins(void **state)
{
	struct wait w;

	wait_init(&w);
	wait_begin(&w);
	while (wait_step(&w))
		if (w.yields)
			assert_int_equal(w.spins, w.limit);
	assert_int_equal(w.yields, WAIT_YIELDS);
}

static void waits_in_vain_spin_less_and_less(void **state)
{
	struct wait w;
	uint32_t first;
	int i;

	wait_init(&w);
	first = w.budget;
	for (i = 0; i < 20; i++)
		wait_in_vain(&w);
	assert_true(w.budget < first / 8);
	assert_true(w.budget > 0);
}

static void answers_that_come_soon_keep_a_small_budget_that_covers_them(void **state)
{
	struct wait w;
	int i;

	wait_init(&w);
	for (i = 0; i < 200; i++)
		wait_for(&w, 20);
	assert_in_range(w.budget, 20, 100);
}

static void a_shrunk_budget_recovers_when_spinning_pays_again(void **state)
{
	struct wait w;
	int i;

	wait_init(&w);
	for (i = 0; i < 50; i++)
		wait_in_vain(&w);
	assert_true(w.budget < 30);
	for (i = 0; i < 130; i++)	/* two tries at full length */
		wait_for(&w, 30);
	assert_true(w.budget >= 30);
	assert_int_equal(w.yields, 0);
}

static void the_budget_stays_in_bounds(void **state)
{
	struct wait w;
	int i;

	wait_init(&w);
	for (i = 0; i < 1000; i++) {
		wait_for(&w, i * 7919u % (2 * WAIT_SPINS_MAX));
		assert_in_range(w.budget, 1, WAIT_SPINS_MAX);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wait_in_vain_ends_in_sleep),
		cmocka_unit_test(no_wait_spins_past_its_time),
		cmocka_unit_test(yields_come_after_spins),
		cmocka_unit_test(waits_in_vain_spin_less_and_less),
		cmocka_unit_test(answers_that_come_soon_keep_a_small_budget_that_covers_them),
		cmocka_unit_test(a_shrunk_budget_recovers_when_spinning_pays_again),
		cmocka_unit_test(the_budget_stays_in_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
