/* SPDX-License-Identifier: Apache-2.0 */
/* test_stage_fail.c - copies that are refused, do not land, are cancelled; stages and jobs that cannot be */
#include "tests/unit/gpu/stage_fixture.h"

#include "gpu/stage_word.h"
#include "tests/lib/fault.h"

static void a_refused_third_copy_ends_when_the_first_two_have_landed(void **state)
{
	struct fake_counters c;
	struct stage_job *j;
	struct fx x;

	fx_start(&x, FX_SLOW ";fail=cuMemcpyHtoDAsync:3:700;fail=cuMemcpy2DAsync:3:700");
	j = fx_submit(&x, STAGE_H2D, 1);
	assert_int_equal(stage_job_state(j), -ENOTRECOVERABLE);
	assert_int_equal(stage_word_look(&x.word[3], 5), -EIO);
	c = fake_cuda_counters(&x.f);
	assert_int_equal(c.copies[GPU_H2D], 2);
	assert_int_equal(c.landed[GPU_H2D], 0);
	stage_poll(x.s);
	assert_false(stage_job_is_over(j));
	assert_int_equal(stage_job_wait_over(j, fx_soon()), 0);
	assert_int_equal(fake_cuda_counters(&x.f).landed[GPU_H2D], 2);
	assert_int_equal(stage_job_state(j), -ENOTRECOVERABLE);
	stage_job_put(j);
	fx_there_and_back(&x, 1);
	fx_end(&x);
}

/* The steps behind it are not even planned then. */
static void a_refused_first_copy_fails_all_layers(void **state)
{
	struct stage_job *j;
	struct fx x;

	fx_start(&x, "fail=cuMemcpyHtoDAsync:1:1;fail=cuMemcpy2DAsync:1:1");
	j = fx_submit(&x, STAGE_H2D, 1);
	assert_int_equal(stage_job_state(j), -EINVAL);
	for (uint32_t i = 0; i < x.l.nr_layers; i++) {
		assert_int_equal(stage_job_layer(j, i), -EINVAL);
		assert_int_equal(stage_word_look(&x.word[i], 5), -EIO);
	}
	assert_int_equal(stage_job_layer(j, x.l.nr_layers), 1);
	assert_int_equal(stage_job_block(j, 3, NULL), -EINVAL);
	assert_int_equal(stage_job_wait_over(j, fx_soon()), 0);
	assert_int_equal(fake_cuda_counters(&x.f).copies[GPU_H2D], 0);
	stage_job_put(j);
	fx_there_and_back(&x, 1);
	fx_end(&x);
}

static void an_end_without_a_mark_asks_the_stream(void **state)
{
	struct stage_job *j;
	struct fx x;

	fx_start(&x, FX_SLOW ";fail=cuMemcpy2DAsync:2:1;fail=cuMemcpyHtoDAsync:2:1;fail=cuEventRecord:2:2");
	j = fx_submit(&x, STAGE_H2D, 1);
	assert_int_equal(stage_job_state(j), -EINVAL);
	stage_poll(x.s);
	assert_false(stage_job_is_over(j));
	assert_int_equal(stage_job_wait_over(j, fx_soon()), 0);
	assert_int_equal(fake_cuda_counters(&x.f).landed[GPU_H2D], 1);
	stage_job_put(j);
	fx_end(&x);
}

/* The device is made whole, so that the test can clean up what a real process would leave to its end. */
static void mend(struct fx *x)
{
	assert_int_equal(x->f.fake->script("reset"), 0);
	stage_free(x->s);
	x->s = NULL;
	fx_end(x);
}

static void a_copy_that_does_not_land_is_never_over(void **state)
{
	struct stage_job *j, *other = NULL;
	struct stage_work w;
	struct fx x;

	fx_start(&x, FX_SLOW ";land=3:700");
	j = fx_submit(&x, STAGE_H2D, 1);
	assert_int_equal(stage_job_wait(j, UINT32_MAX, fx_soon()), -ENOTRECOVERABLE);
	assert_true(stage_job_is_lost(j));
	assert_false(stage_job_is_over(j));
	assert_int_equal(stage_job_layer(j, 0), 1);
	assert_int_equal(stage_job_layer(j, 3), -ENOTRECOVERABLE);
	assert_int_equal(stage_word_look(&x.word[0], 5), 1);
	assert_int_equal(stage_word_look(&x.word[3], 5), -EIO);
	assert_int_equal(stage_job_wait_over(j, fx_soon()), -ENOTRECOVERABLE);
	assert_int_equal(stage_error(x.s), -ENOTRECOVERABLE);
	w = fx_work(&x, STAGE_H2D, 1);
	assert_int_equal(stage_submit(x.s, &w, &other), -ENOTRECOVERABLE);
	stage_job_put(j);
	assert_false(stage_job_is_over(j));
	assert_int_equal(stage_destroy(x.s, fx_soon()), -ENOTRECOVERABLE);
	mend(&x);
}

static void a_lost_device_ends_every_wait(void **state)
{
	struct stage_job *in, *out;
	struct fx x;

	fx_start(&x, FX_SLOW);
	in = fx_submit(&x, STAGE_H2D, 1);
	out = fx_submit(&x, STAGE_D2H, 1);
	assert_int_equal(x.f.fake->script("lost=999"), 0);
	assert_int_equal(stage_job_wait(in, UINT32_MAX, fx_soon()), -ENOTRECOVERABLE);
	assert_int_equal(stage_job_wait(out, UINT32_MAX, fx_soon()), -ENOTRECOVERABLE);
	assert_true(stage_job_is_lost(in) && stage_job_is_lost(out));
	assert_int_equal(stage_destroy(x.s, fx_soon()), -ENOTRECOVERABLE);
	mend(&x);
}

static void a_hang_is_waited_for_no_longer_than_asked(void **state)
{
	struct stage_job *j;
	struct fx x;

	fx_start(&x, "hang=2");
	j = fx_submit(&x, STAGE_H2D, 1);
	assert_int_equal(stage_job_wait(j, 0, fx_soon()), 1);
	assert_int_equal(stage_job_wait(j, UINT32_MAX, clock_ns() + 20000000), -ETIMEDOUT);
	stage_job_cancel(j);
	assert_int_equal(stage_job_state(j), -ECANCELED);
	assert_int_equal(stage_job_wait_over(j, clock_ns() + 20000000), -ETIMEDOUT);
	assert_false(stage_job_is_over(j));
	stage_job_put(j);
	assert_false(stage_job_is_over(j));
	assert_int_equal(stage_destroy(x.s, clock_ns() + 20000000), -ETIMEDOUT);
	mend(&x);
}

static void a_cancel_waits_for_what_was_issued(void **state)
{
	struct stage_job *j, *behind;
	struct fx x;

	fx_start(&x, FX_SLOW);
	j = fx_submit(&x, STAGE_H2D, 1);
	behind = fx_submit(&x, STAGE_H2D, 1);
	stage_job_cancel(j);
	assert_int_equal(stage_job_state(j), -ECANCELED);
	stage_poll(x.s);
	assert_false(stage_job_is_over(j));
	assert_int_equal(stage_job_wait_over(j, fx_soon()), 0);
	assert_int_equal(stage_job_state(j), -ECANCELED);
	assert_int_equal(stage_job_wait(behind, UINT32_MAX, fx_soon()), 1);
	stage_job_cancel(behind);
	assert_int_equal(stage_job_state(behind), 1);
	stage_job_put(j);
	stage_job_put(behind);
	fx_end(&x);
}

static void an_abandoned_job_is_used_again_when_it_has_landed(void **state)
{
	struct stage_job *j[4], *more = NULL;
	struct stage_work w;
	struct fx x;

	fx_start(&x, FX_SLOW);
	for (unsigned i = 0; i < 4; i++)
		j[i] = fx_submit(&x, STAGE_H2D, 1);
	w = fx_work(&x, STAGE_H2D, 1);
	stage_job_put(j[0]);
	assert_int_equal(stage_submit(x.s, &w, &more), -EBUSY);
	assert_int_equal(stage_job_wait(j[1], 0, fx_soon()), 1);
	assert_int_equal(stage_submit(x.s, &w, &more), 0);
	assert_ptr_equal(more, j[0]);
	assert_int_equal(stage_job_wait(more, UINT32_MAX, fx_soon()), 1);
	stage_job_put(more);
	for (unsigned i = 1; i < 4; i++)
		stage_job_put(j[i]);
	fx_end(&x);
}

static void a_rest_that_cannot_be_planned_ends_the_job(void **state)
{
	struct stage_limits lim = { .nr_jobs = 1, .nr_items = FX_BLOCKS, .ways = STAGE_MAY(STAGE_WAY_COPY) };
	struct stage_job *j;
	struct fx x;

	fx_begin(&x, &fx_model, "L/BKHNC", false, FX_SLOW);
	assert_int_equal(stage_create(&x.f.ctx, &x.l, &lim, &x.s), 0);
	/* room for the first layer alone */
	x.s->job[0].plan.max_ops = 2;
	j = fx_submit(&x, STAGE_H2D, 1);
	assert_int_equal(stage_job_state(j), -ENOSPC);
	assert_true(fake_cuda_counters(&x.f).copies[GPU_H2D] > 0);
	assert_int_equal(stage_job_layer(j, 0), -ENOSPC);
	assert_int_equal(stage_job_layer(j, 3), -ENOSPC);
	assert_int_equal(stage_job_block(j, 3, NULL), -ENOSPC);
	for (uint32_t i = 0; i < x.l.nr_layers; i++)
		assert_int_equal(stage_word_look(&x.word[i], 5), -EIO);
	stage_poll(x.s);
	assert_false(stage_job_is_over(j));
	assert_int_equal(stage_job_wait_over(j, fx_soon()), 0);
	stage_job_put(j);
	fx_end(&x);
}

static struct fx *faulty;
static struct stage *made;

static int make(void)
{
	/* little of everything: each event is an allocation of the fake driver, and fails like one of the real one */
	struct stage_limits lim = { .nr_jobs = 1, .nr_items = 2, .layers_per_step = 2, .bounce_len = 32 << 10 };

	return stage_create(&faulty->f.ctx, &faulty->l, &lim, &made);
}

static void unmake(void)
{
	assert_int_equal(stage_destroy(made, fx_soon()), 0);
}

static void a_stage_that_cannot_be_made_leaves_nothing_behind(void **state)
{
	struct fake_counters before, after;
	struct fx x;

	if (FAULT_MISSING)
		skip();
	fx_begin(&x, &fx_model, "L/BKHNC", false, NULL);
	faulty = &x;
	before = fake_cuda_counters(&x.f);
	for (unsigned k = 1;; k++) {
		bool fired;
		int ret;

		fault_arm(k);
		ret = make();
		fired = fault_disarm();
		if (ret == 0)
			unmake();
		else
			assert_int_equal(ret, -ENOMEM);
		after = fake_cuda_counters(&x.f);
		assert_int_equal(after.streams, before.streams);
		assert_int_equal(after.events, before.events);
		assert_int_equal(after.allocations, before.allocations);
		assert_int_equal(after.registered, before.registered);
		if (!fired) {
			assert_int_equal(ret, 0);
			assert_true(k > 20);
			break;
		}
	}
	fx_end(&x);
}

static void a_stage_without_device_memory_leaves_nothing_behind(void **state)
{
	struct stage_limits lim = { .nr_jobs = 1, .nr_items = 2, .landing_len = 64 << 10 };
	struct fake_counters before, after;
	struct fx x;

	fx_begin(&x, &fx_model, "L/BKHNC", false, NULL);
	before = fake_cuda_counters(&x.f);
	for (unsigned i = 1; i <= 2; i++) {
		char script[32];

		snprintf(script, sizeof(script), "fail=cuMemAlloc:%u:2", i);
		assert_int_equal(x.f.fake->script(script), 0);
		assert_int_equal(stage_create(&x.f.ctx, &x.l, &lim, &x.s), -ENOMEM);
		assert_null(x.s);
		after = fake_cuda_counters(&x.f);
		assert_int_equal(after.streams, before.streams);
		assert_int_equal(after.events, before.events);
		assert_int_equal(after.allocations, before.allocations);
		assert_int_equal(after.registered, before.registered);
	}
	fx_end(&x);
}

static void what_cannot_be_a_job_is_refused(void **state)
{
	struct stage_job *j = NULL;
	struct stage_work w;
	struct fx x;

	fx_start(&x, NULL);
	w = fx_work(&x, STAGE_H2D, 1);
	x.items[0].block = FX_BLOCKS;
	assert_int_equal(stage_submit(x.s, &w, &j), -EINVAL);
	x.items[0] = (struct stage_item){ .arena = x.arena_len };
	assert_int_equal(stage_submit(x.s, &w, &j), -EINVAL);
	x.items[0].arena = 0;
	x.list[0].nr = FX_BLOCKS + 1;
	assert_int_equal(stage_submit(x.s, &w, &j), -E2BIG);
	x.list[0].nr = 2;
	w.first_layer = 2;
	w.nr_layers = 3;
	assert_int_equal(stage_submit(x.s, &w, &j), -EINVAL);
	w.first_layer = 4;
	w.nr_layers = 0;
	assert_int_equal(stage_submit(x.s, &w, &j), -EINVAL);
	assert_null(j);
	assert_int_equal(fake_cuda_counters(&x.f).copies[GPU_H2D], 0);
	fx_end(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refused_third_copy_ends_when_the_first_two_have_landed),
		cmocka_unit_test(a_refused_first_copy_fails_all_layers),
		cmocka_unit_test(an_end_without_a_mark_asks_the_stream),
		cmocka_unit_test(a_copy_that_does_not_land_is_never_over),
		cmocka_unit_test(a_lost_device_ends_every_wait),
		cmocka_unit_test(a_hang_is_waited_for_no_longer_than_asked),
		cmocka_unit_test(a_cancel_waits_for_what_was_issued),
		cmocka_unit_test(an_abandoned_job_is_used_again_when_it_has_landed),
		cmocka_unit_test(a_rest_that_cannot_be_planned_ends_the_job),
		cmocka_unit_test(a_stage_that_cannot_be_made_leaves_nothing_behind),
		cmocka_unit_test(a_stage_without_device_memory_leaves_nothing_behind),
		cmocka_unit_test(what_cannot_be_a_job_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
