/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu/event.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kvshm/base/clock.h"
#include "tests/lib/fake_cuda.h"

#define LEN (1u << 20)

struct fixture {
	struct fake_cuda f;
	struct gpu_stream a, b;
	CUdeviceptr dev;
	char *host;
};

static void start(struct fixture *x, const char *script)
{
	fake_cuda_start(&x->f, script);
	assert_int_equal(gpu_stream_open(&x->f.ctx, true, &x->a), 0);
	assert_int_equal(gpu_stream_open(&x->f.ctx, true, &x->b), 0);
	assert_int_equal(gpu_ctx_enter(&x->f.ctx), 0);
	assert_int_equal(x->f.cu.MemAlloc(&x->dev, LEN), 0);
	x->host = aligned_alloc(4096, LEN);
	assert_non_null(x->host);
	memset(x->host, 1, LEN);
	assert_int_equal(x->f.cu.MemHostRegister(x->host, LEN, 0), 0);
	gpu_ctx_leave(&x->f.ctx);
}

static void stop(struct fixture *x)
{
	assert_int_equal(x->f.fake->script("reset"), 0);
	gpu_stream_close(&x->a);
	gpu_stream_close(&x->b);
	assert_int_equal(gpu_ctx_enter(&x->f.ctx), 0);
	assert_int_equal(x->f.cu.MemHostUnregister(x->host), 0);
	assert_int_equal(x->f.cu.MemFree(x->dev), 0);
	gpu_ctx_leave(&x->f.ctx);
	free(x->host);
	fake_cuda_stop(&x->f);
}

static void copy_in(struct fixture *x, struct gpu_stream *s)
{
	struct gpu_copy c = { .dst = x->dev, .src = (uintptr_t)x->host, .len = LEN };

	assert_int_equal(gpu_stream_copy(s, GPU_H2D, &c), 0);
}

static uint64_t soon(void)
{
	return clock_ns() + 2000000000u;
}

static void event_lands_with_what_stood_before_it(void **state)
{
	struct gpu_event first, second;
	struct fixture x;
	uint64_t ns;

	start(&x, "clock=virtual;h2d=1e9;latency=0");
	assert_int_equal(gpu_event_open(&x.f.ctx, GPU_EVENT_TIMED, &first), 0);
	assert_int_equal(gpu_event_open(&x.f.ctx, GPU_EVENT_TIMED, &second), 0);
	copy_in(&x, &x.a);
	assert_int_equal(gpu_event_record(&first, &x.a), 0);
	copy_in(&x, &x.a);
	assert_int_equal(gpu_event_record(&second, &x.a), 0);
	assert_int_equal(gpu_event_poll(&first), 0);
	assert_int_equal(gpu_event_elapsed_ns(&first, &second, &ns), -EAGAIN);
	assert_int_equal(gpu_event_wait(&first, soon()), 1);
	assert_int_equal(fake_cuda_counters(&x.f).landed[GPU_H2D], 1);
	assert_int_equal(gpu_event_poll(&second), 0);
	assert_int_equal(gpu_event_wait(&second, soon()), 1);
	assert_int_equal(gpu_event_elapsed_ns(&first, &second, &ns), 0);
	assert_in_range(ns, 1048000, 1049000);
	gpu_event_close(&first);
	gpu_event_close(&second);
	stop(&x);
}

static void stream_waits_for_an_event_of_another(void **state)
{
	struct fake_landed done[2];
	struct gpu_event e;
	struct fixture x;

	start(&x, "clock=virtual;h2d=1e9;d2d=1e12");
	assert_int_equal(gpu_event_open(&x.f.ctx, GPU_EVENT_PLAIN, &e), 0);
	copy_in(&x, &x.a);
	assert_int_equal(gpu_event_record(&e, &x.a), 0);
	assert_int_equal(gpu_stream_wait_event(&x.b, &e), 0);
	assert_int_equal(gpu_stream_copy(&x.b, GPU_D2D, &(struct gpu_copy){ x.dev, x.dev + LEN / 2, LEN / 2 }), 0);
	assert_int_equal(gpu_stream_wait(&x.b, soon()), 1);
	assert_int_equal(x.f.fake->landed(0, done, 2), 2);
	assert_int_equal(done[1].dir, GPU_D2D);
	assert_true(done[1].start_ns >= done[0].end_ns);
	gpu_event_close(&e);
	stop(&x);
}

/* The trap: record first, then tell others. */
static void event_never_recorded_is_no_wait(void **state)
{
	struct gpu_event e;
	struct fixture x;

	start(&x, NULL);
	assert_int_equal(gpu_event_open(&x.f.ctx, GPU_EVENT_PLAIN, &e), 0);
	assert_int_equal(gpu_event_poll(&e), 1);
	assert_int_equal(gpu_stream_wait_event(&x.b, &e), 0);
	assert_int_equal(gpu_stream_wait(&x.b, soon()), 1);
	gpu_event_close(&e);
	stop(&x);
}

static void our_stream_follows_the_engines(void **state)
{
	struct gpu_event e;
	struct fixture x;

	start(&x, "clock=virtual;h2d=1e9");
	assert_int_equal(gpu_event_open(&x.f.ctx, GPU_EVENT_PLAIN, &e), 0);
	copy_in(&x, &x.a);
	assert_int_equal(gpu_event_follow(&e, x.a.stream, &x.b), 0);
	assert_int_equal(gpu_stream_poll(&x.b), 0);
	assert_int_equal(gpu_stream_wait(&x.b, soon()), 1);
	assert_int_equal(fake_cuda_counters(&x.f).landed[GPU_H2D], 1);
	gpu_event_close(&e);
	stop(&x);
}

static void hung_event_ends_the_wait_at_its_deadline(void **state)
{
	struct gpu_event e;
	struct fixture x;

	start(&x, "hang=1");
	assert_int_equal(gpu_event_open(&x.f.ctx, GPU_EVENT_PLAIN, &e), 0);
	copy_in(&x, &x.a);
	assert_int_equal(gpu_event_record(&e, &x.a), 0);
	assert_int_equal(gpu_event_wait(&e, clock_ns() + 20000000u), -ETIMEDOUT);
	assert_int_equal(x.f.fake->script("lost=719"), 0);
	assert_int_equal(gpu_event_wait(&e, soon()), -ENOTRECOVERABLE);
	assert_int_equal(x.f.fake->script("reset"), 0);
	gpu_event_close(&e);
	stop(&x);
}

static void events_without_times_have_no_span(void **state)
{
	struct gpu_event e;
	struct fixture x;
	uint64_t ns = 7;

	start(&x, NULL);
	assert_int_equal(gpu_event_open(&x.f.ctx, GPU_EVENT_PLAIN, &e), 0);
	assert_int_equal(gpu_event_elapsed_ns(&e, &e, &ns), -EINVAL);
	assert_int_equal(ns, 7);
	gpu_event_close(&e);
	stop(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(event_lands_with_what_stood_before_it),
		cmocka_unit_test(stream_waits_for_an_event_of_another),
		cmocka_unit_test(event_never_recorded_is_no_wait),
		cmocka_unit_test(our_stream_follows_the_engines),
		cmocka_unit_test(hung_event_ends_the_wait_at_its_deadline),
		cmocka_unit_test(events_without_times_have_no_span),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
