/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu/ctx.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "gpu/event.h"
#include "gpu/stream.h"
#include "tests/lib/fake_cuda.h"

static CUcontext current(const struct fake_cuda *f)
{
	CUcontext c = NULL;

	assert_int_equal(f->cu.CtxGetCurrent(&c), 0);
	return c;
}

static void engine_keeps_its_current_context(void **state)
{
	struct gpu_copy bad = { .dst = 64, .src = 64, .len = 64 };
	struct gpu_ctx engine;
	struct gpu_stream s;
	struct gpu_event e;
	struct fake_cuda f;

	fake_cuda_start(&f, "devices=2");
	assert_int_equal(gpu_ctx_open(&f.cu, &f.device[1], &engine), 0);
	assert_int_equal(gpu_ctx_enter(&engine), 0);
	assert_int_equal(gpu_stream_open(&f.ctx, false, &s), 0);
	assert_int_equal(gpu_event_open(&f.ctx, GPU_EVENT_PLAIN, &e), 0);
	assert_int_equal(gpu_event_record(&e, &s), 0);
	assert_int_equal(gpu_stream_copy(&s, GPU_D2D, &bad), -EINVAL);
	gpu_event_close(&e);
	gpu_stream_close(&s);
	assert_ptr_equal(current(&f), engine.ctx);
	gpu_ctx_leave(&engine);
	assert_null(current(&f));
	gpu_ctx_close(&engine);
	assert_int_equal(f.fake->script("devices=1"), 0);
	fake_cuda_stop(&f);
}

static void entering_nests(void **state)
{
	struct fake_cuda f;

	fake_cuda_start(&f, NULL);
	assert_int_equal(gpu_ctx_enter(&f.ctx), 0);
	assert_int_equal(gpu_ctx_enter(&f.ctx), 0);
	gpu_ctx_leave(&f.ctx);
	assert_ptr_equal(current(&f), f.ctx.ctx);
	gpu_ctx_leave(&f.ctx);
	assert_null(current(&f));
	fake_cuda_stop(&f);
}

static void entering_that_fails_changes_nothing(void **state)
{
	struct gpu_stream s = { 0 };
	struct fake_cuda f;

	fake_cuda_start(&f, "fail=cuCtxPushCurrent:1:201");
	assert_int_equal(gpu_stream_open(&f.ctx, false, &s), -EINVAL);
	assert_null(s.ctx);
	assert_null(current(&f));
	fake_cuda_stop(&f);
}

static void device_in_exclusive_use_is_refused(void **state)
{
	struct gpu_ctx c = { 0 };
	struct fake_cuda f;

	fake_cuda_start(&f, "fail=cuDevicePrimaryCtxRetain:2:46");
	assert_int_equal(gpu_ctx_open(&f.cu, &f.device[0], &c), -EBUSY);
	assert_null(c.ctx);
	gpu_ctx_close(&c);
	fake_cuda_stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(engine_keeps_its_current_context),
		cmocka_unit_test(entering_nests),
		cmocka_unit_test(entering_that_fails_changes_nothing),
		cmocka_unit_test(device_in_exclusive_use_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
