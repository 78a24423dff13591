/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu/bounce.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "tests/lib/fake_cuda.h"

#define SLICE 4096u
#define NR 3u
#define LEN (64u << 10)

struct fixture {
	struct fake_cuda f;
	struct gpu_stream s;
	struct bounce *b;
	char *slices, *host, *dev;
};

static void start(struct fixture *x, enum stage_dir dir, const char *script)
{
	CUdeviceptr dev;

	fake_cuda_start(&x->f, script);
	assert_int_equal(gpu_stream_open(&x->f.ctx, true, &x->s), 0);
	x->slices = aligned_alloc(4096, NR * SLICE);
	x->host = malloc(LEN);
	assert_non_null(x->slices);
	assert_non_null(x->host);
	assert_int_equal(gpu_ctx_enter(&x->f.ctx), 0);
	assert_int_equal(x->f.cu.MemAlloc(&dev, LEN), 0);
	assert_int_equal(x->f.cu.MemHostRegister(x->slices, NR * SLICE, 0), 0);
	gpu_ctx_leave(&x->f.ctx);
	x->dev = (char *)(uintptr_t)dev;
	for (unsigned i = 0; i < LEN; i++) {
		x->host[i] = (char)(i * 31 + (i >> 9));
		x->dev[i] = (char)(i * 17 + (i >> 7));
	}
	assert_int_equal(bounce_create(&x->s, dir, x->slices, SLICE, NR, NULL, &x->b), 0);
}

static void stop(struct fixture *x)
{
	bounce_destroy(x->b);
	gpu_stream_close(&x->s);
	assert_int_equal(gpu_ctx_enter(&x->f.ctx), 0);
	assert_int_equal(x->f.cu.MemHostUnregister(x->slices), 0);
	assert_int_equal(x->f.cu.MemFree((uintptr_t)x->dev), 0);
	gpu_ctx_leave(&x->f.ctx);
	free(x->slices);
	free(x->host);
	fake_cuda_stop(&x->f);
}

static void drain(struct fixture *x, uint64_t seq)
{
	uint64_t deadline = clock_ns() + 5000000000ull;

	while (!bounce_has_drained(x->b, seq)) {
		assert_int_equal(bounce_drain(x->b), 0);
		assert_true(clock_ns() < deadline);
	}
}

static void push(struct fixture *x, const struct stage_op *op)
{
	uint64_t at = 0, deadline = clock_ns() + 5000000000ull;
	int ret;

	while ((ret = bounce_push(x->b, (uintptr_t)x->host, op, &at)) == 0) {
		assert_int_equal(bounce_drain(x->b), 0);
		assert_true(clock_ns() < deadline);
	}
	assert_int_equal(ret, 1);
}

static void finish(struct fixture *x)
{
	uint64_t seq;

	assert_int_equal(bounce_flush(x->b, &seq), 0);
	drain(x, seq);
}

static void a_long_copy_is_cut_into_slices(void **state)
{
	const struct stage_op op = { .arena = 100, .len = 30001, .kind = STAGE_OP_COPY, .rows = 1 };
	struct fixture x;
	struct stage_op o = op;

	start(&x, STAGE_H2D, NULL);
	o.dev = (uintptr_t)x.dev + 7;
	push(&x, &o);
	finish(&x);
	assert_memory_equal(x.dev + 7, x.host + 100, op.len);
	assert_int_equal(x.dev[6], (char)(6 * 17));
	assert_int_equal(fake_cuda_counters(&x.f).copies[GPU_H2D], 8);
	assert_int_equal(fake_cuda_counters(&x.f).pageable, 0);
	stop(&x);
}

static void short_copies_share_a_slice(void **state)
{
	struct fixture x;

	start(&x, STAGE_H2D, "hang=1");
	for (unsigned i = 0; i < 16; i++) {
		struct stage_op op = { .arena = i * 300, .dev = (uintptr_t)x.dev + i * 200, .len = 200, .kind = STAGE_OP_COPY,
				       .rows = 1 };
		uint64_t at = 0;

		assert_int_equal(bounce_push(x.b, (uintptr_t)x.host, &op, &at), 1);
	}
	assert_int_equal(x.f.fake->script("reset"), 0);
	stop(&x);
}

static void rows_are_packed_and_unpacked(enum stage_dir dir, uint64_t len, uint32_t rows)
{
	struct stage_op op = { .arena = 16, .len = len, .arena_pitch = len + 24, .dev_pitch = len + 8, .kind = STAGE_OP_RECT,
			       .rows = rows };
	struct fixture x;

	start(&x, dir, NULL);
	op.dev = (uintptr_t)x.dev;
	push(&x, &op);
	finish(&x);
	for (uint32_t i = 0; i < rows; i++)
		assert_memory_equal(x.host + 16 + i * op.arena_pitch, x.dev + i * op.dev_pitch, len);
	/* what lies between the rows is nobody's business */
	if (dir == STAGE_D2H)
		assert_int_equal(x.host[16 + len], (char)((16 + len) * 31 + ((16 + len) >> 9)));
	else
		assert_int_equal(x.dev[len], (char)(len * 17 + (len >> 7)));
	stop(&x);
}

static void rectangles_go_both_ways(void **state)
{
	for (enum stage_dir dir = STAGE_H2D; dir <= STAGE_D2H; dir++) {
		rows_are_packed_and_unpacked(dir, 100, 300);
		rows_are_packed_and_unpacked(dir, 4096, 5);
		rows_are_packed_and_unpacked(dir, 5000, 5);
	}
}

static void bytes_reach_the_host_only_when_the_slice_has_landed(void **state)
{
	struct stage_op op = { .len = 1000, .kind = STAGE_OP_COPY, .rows = 1 };
	uint64_t at = 0, seq;
	struct fixture x;

	start(&x, STAGE_D2H, "d2h=1e5");
	op.dev = (uintptr_t)x.dev;
	assert_int_equal(bounce_push(x.b, (uintptr_t)x.host, &op, &at), 1);
	assert_int_equal(bounce_flush(x.b, &seq), 0);
	assert_int_equal(bounce_drain(x.b), 0);
	assert_false(bounce_has_drained(x.b, seq));
	assert_int_equal(x.host[1], 31);
	drain(&x, seq);
	assert_memory_equal(x.host, x.dev, 1000);
	stop(&x);
}

static void no_slice_is_used_again_before_it_has_landed(void **state)
{
	struct stage_op op = { .len = NR * SLICE + 1, .kind = STAGE_OP_COPY, .rows = 1 };
	uint64_t at = 0;
	struct fixture x;

	start(&x, STAGE_H2D, "hang=1");
	op.dev = (uintptr_t)x.dev;
	assert_int_equal(bounce_push(x.b, (uintptr_t)x.host, &op, &at), 0);
	assert_int_equal(at, NR * SLICE);
	assert_int_equal(bounce_drain(x.b), 0);
	assert_int_equal(bounce_push(x.b, (uintptr_t)x.host, &op, &at), 0);
	assert_int_equal(x.f.fake->script("reset"), 0);
	stop(&x);
}

static void a_slice_without_a_mark_lands_with_its_stream(void **state)
{
	struct stage_op op = { .len = 1000, .kind = STAGE_OP_COPY, .rows = 1 };
	uint64_t at = 0, seq = 0;
	struct fixture x;

	start(&x, STAGE_H2D, "h2d=1e5;fail=cuEventRecord:1:2");
	op.dev = (uintptr_t)x.dev;
	assert_int_equal(bounce_push(x.b, (uintptr_t)x.host, &op, &at), 1);
	assert_int_equal(bounce_flush(x.b, &seq), -ENOMEM);
	assert_int_equal(bounce_drain(x.b), 0);
	assert_false(bounce_has_drained(x.b, seq));
	drain(&x, seq);
	assert_int_equal(fake_cuda_counters(&x.f).landed[GPU_H2D], 1);
	stop(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_long_copy_is_cut_into_slices),
		cmocka_unit_test(short_copies_share_a_slice),
		cmocka_unit_test(rectangles_go_both_ways),
		cmocka_unit_test(bytes_reach_the_host_only_when_the_slice_has_landed),
		cmocka_unit_test(no_slice_is_used_again_before_it_has_landed),
		cmocka_unit_test(a_slice_without_a_mark_lands_with_its_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
