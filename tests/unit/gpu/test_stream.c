/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu/stream.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gpu/event.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "tests/lib/fake_cuda.h"

#define LEN (1u << 20)

struct fixture {
	struct fake_cuda f;
	struct gpu_stream s;
	CUdeviceptr dev;
	unsigned char *host, *back;
};

static uint64_t soon(void)
{
	return clock_ns() + 2000000000u;
}

static void start(struct fixture *x, const char *script)
{
	fake_cuda_start(&x->f, script);
	assert_int_equal(gpu_stream_open(&x->f.ctx, true, &x->s), 0);
	assert_int_equal(gpu_ctx_enter(&x->f.ctx), 0);
	assert_int_equal(x->f.cu.MemAlloc(&x->dev, LEN), 0);
	x->host = aligned_alloc(4096, LEN);
	x->back = aligned_alloc(4096, LEN);
	assert_non_null(x->host);
	assert_non_null(x->back);
	assert_int_equal(x->f.cu.MemHostRegister(x->host, LEN, 0), 0);
	assert_int_equal(x->f.cu.MemHostRegister(x->back, LEN, 0), 0);
	gpu_ctx_leave(&x->f.ctx);
	for (unsigned i = 0; i < LEN; i++)
		x->host[i] = (unsigned char)(i * 7 + (i >> 8));
	memset(x->back, 0, LEN);
}

static void stop(struct fixture *x)
{
	gpu_stream_close(&x->s);
	assert_int_equal(gpu_ctx_enter(&x->f.ctx), 0);
	assert_int_equal(x->f.cu.MemHostUnregister(x->host), 0);
	assert_int_equal(x->f.cu.MemHostUnregister(x->back), 0);
	assert_int_equal(x->f.cu.MemFree(x->dev), 0);
	gpu_ctx_leave(&x->f.ctx);
	free(x->host);
	free(x->back);
	fake_cuda_stop(&x->f);
}

static void copies_there_and_back(void **state)
{
	struct fixture x;
	struct gpu_copy in, out;
	struct fake_counters c;

	start(&x, NULL);
	in = (struct gpu_copy){ .dst = x.dev, .src = (uintptr_t)x.host, .len = LEN };
	out = (struct gpu_copy){ .dst = (uintptr_t)x.back, .src = x.dev, .len = LEN };
	assert_int_equal(gpu_stream_copy(&x.s, GPU_H2D, &in), 0);
	assert_int_equal(gpu_stream_copy(&x.s, GPU_D2H, &out), 0);
	assert_int_equal(gpu_stream_wait(&x.s, soon()), 1);
	assert_memory_equal(x.host, x.back, LEN);
	c = fake_cuda_counters(&x.f);
	assert_int_equal(c.landed[GPU_H2D], 1);
	assert_int_equal(c.landed[GPU_D2H], 1);
	assert_int_equal(c.pageable, 0);
	stop(&x);
}

static void source_let_go_before_landing_shows(void **state)
{
	struct gpu_copy in;
	struct fixture x;

	start(&x, "clock=virtual;h2d=1e9");
	in = (struct gpu_copy){ .dst = x.dev, .src = (uintptr_t)x.host, .len = LEN };
	assert_int_equal(gpu_stream_copy(&x.s, GPU_H2D, &in), 0);
	assert_int_equal(gpu_stream_poll(&x.s), 0);
	x.host[5] ^= 0xff;
	assert_int_equal(gpu_stream_wait(&x.s, soon()), 1);
	assert_int_equal(((unsigned char *)(uintptr_t)x.dev)[5], x.host[5]);
	stop(&x);
}

static void rows_keep_their_pitches(void **state)
{
	struct gpu_copy_2d c;
	struct fixture x;

	start(&x, NULL);
	memset((void *)(uintptr_t)x.dev, 0, LEN);
	c = (struct gpu_copy_2d){ .dst = x.dev, .src = (uintptr_t)x.host, .dst_pitch = 512, .src_pitch = 4096, .width = 256, .rows = 100 };
	assert_int_equal(gpu_stream_copy_2d(&x.s, GPU_H2D, &c), 0);
	assert_int_equal(gpu_stream_wait(&x.s, soon()), 1);
	for (unsigned i = 0; i < 100; i++) {
		assert_memory_equal((char *)(uintptr_t)x.dev + i * 512, x.host + i * 4096, 256);
		assert_int_equal(((unsigned char *)(uintptr_t)x.dev)[i * 512 + 256], 0);
	}
	assert_int_equal(fake_cuda_counters(&x.f).rows_2d, 100);
	stop(&x);
}

static void batch_is_one_call(void **state)
{
	CUdeviceptr dst[64], src[64];
	struct fixture x;
	size_t len[64];

	start(&x, NULL);
	for (unsigned i = 0; i < 64; i++) {
		dst[i] = x.dev + (63 - i) * 4096;
		src[i] = (uintptr_t)x.host + i * 4096;
		len[i] = 4096;
	}
	assert_int_equal(gpu_stream_copy_batch(&x.s, GPU_H2D, dst, src, len, 64), 0);
	assert_int_equal(gpu_stream_wait(&x.s, soon()), 1);
	for (unsigned i = 0; i < 64; i++)
		assert_memory_equal((void *)(uintptr_t)dst[i], (void *)(uintptr_t)src[i], 4096);
	assert_int_equal(fake_cuda_counters(&x.f).batches, 1);
	assert_int_equal(fake_cuda_counters(&x.f).batched, 64);
	stop(&x);
}

static void many_copies_are_a_batch_or_a_call_each(void **state)
{
	CUdeviceptr dst[3], src[3];
	struct fixture x;
	size_t len[3];

	start(&x, NULL);
	for (unsigned i = 0; i < 3; i++) {
		dst[i] = x.dev + (2 - i) * 4096;
		src[i] = (uintptr_t)x.host + i * 4096;
		len[i] = 4096;
	}
	assert_int_equal(gpu_stream_copy_many(&x.s, GPU_H2D, dst, src, len, 3), 0);
	assert_int_equal(gpu_stream_copy_many(&x.s, GPU_H2D, dst, src, len, 1), 0);
	assert_int_equal(fake_cuda_counters(&x.f).batches, 1);
	assert_int_equal(fake_cuda_counters(&x.f).copies[GPU_H2D], 4);
	assert_int_equal(gpu_stream_wait(&x.s, soon()), 1);
	memset((void *)(uintptr_t)x.dev, 0, 3 * 4096);
	x.f.cu.features &= ~(1u << CUDA_F_COPY_BATCH);
	assert_int_equal(gpu_stream_copy_many(&x.s, GPU_H2D, dst, src, len, 3), 0);
	assert_int_equal(fake_cuda_counters(&x.f).batches, 1);
	assert_int_equal(gpu_stream_wait(&x.s, soon()), 1);
	for (unsigned i = 0; i < 3; i++)
		assert_memory_equal((void *)(uintptr_t)dst[i], (void *)(uintptr_t)src[i], 4096);
	stop(&x);
}

static void refused_call_puts_nothing_on_the_stream(void **state)
{
	struct gpu_copy in;
	struct fixture x;

	start(&x, "fail=cuMemcpyHtoDAsync:2:2");
	in = (struct gpu_copy){ .dst = x.dev, .src = (uintptr_t)x.host, .len = 4096 };
	assert_int_equal(gpu_stream_copy(&x.s, GPU_H2D, &in), 0);
	assert_int_equal(gpu_stream_copy(&x.s, GPU_H2D, &in), -ENOMEM);
	assert_int_equal(gpu_stream_copy(&x.s, GPU_H2D, &in), 0);
	assert_int_equal(gpu_stream_wait(&x.s, soon()), 1);
	assert_int_equal(fake_cuda_counters(&x.f).landed[GPU_H2D], 2);
	stop(&x);
}

static void hung_copy_ends_the_wait_at_its_deadline(void **state)
{
	struct gpu_copy in;
	struct fixture x;
	uint64_t t;

	start(&x, "hang=2");
	in = (struct gpu_copy){ .dst = x.dev, .src = (uintptr_t)x.host, .len = 4096 };
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(gpu_stream_copy(&x.s, GPU_H2D, &in), 0);
	t = clock_ns();
	assert_int_equal(gpu_stream_wait(&x.s, t + 50000000u), -ETIMEDOUT);
	assert_true(clock_ns() - t < 1000000000u);
	assert_int_equal(fake_cuda_counters(&x.f).landed[GPU_H2D], 1);
	assert_int_equal(x.f.fake->script("reset"), 0);
	stop(&x);
}

static void word_is_waited_for_before_it_is_written(void **state)
{
	struct gpu_copy in, mark;
	struct fixture x;
	uint64_t *word;

	start(&x, NULL);
	word = (uint64_t *)(void *)x.back;
	in = (struct gpu_copy){ .dst = x.dev, .src = (uintptr_t)x.host, .len = 4096 };
	mark = (struct gpu_copy){ .dst = (uintptr_t)x.back + 64, .src = x.dev, .len = 8 };
	assert_int_equal(gpu_stream_wait_word(&x.s, (uintptr_t)word, 3), 0);
	assert_int_equal(gpu_stream_copy(&x.s, GPU_H2D, &in), 0);
	assert_int_equal(gpu_stream_copy(&x.s, GPU_D2H, &mark), 0);
	assert_int_equal(gpu_stream_write_word(&x.s, (uintptr_t)(word + 1), 9), 0);
	assert_int_equal(gpu_stream_wait(&x.s, clock_ns() + 20000000), -ETIMEDOUT);
	__atomic_store_n(word, 3, __ATOMIC_RELEASE);
	assert_int_equal(gpu_stream_wait(&x.s, soon()), 1);
	assert_int_equal(word[1], 9);
	stop(&x);
}

static void missing_abilities_are_refused(void **state)
{
	struct gpu_copy_2d c = { .rows = 1 };
	size_t len = 1;
	CUdeviceptr p = 0;
	struct fixture x;

	start(&x, NULL);
	x.f.cu.features &= ~(1u << CUDA_F_COPY_2D | 1u << CUDA_F_COPY_BATCH);
	x.f.ctx.device.has_stream_word = false;
	assert_int_equal(gpu_stream_copy_2d(&x.s, GPU_H2D, &c), -EOPNOTSUPP);
	assert_int_equal(gpu_stream_copy_batch(&x.s, GPU_H2D, &p, &p, &len, 1), -EOPNOTSUPP);
	assert_int_equal(gpu_stream_write_word(&x.s, 0, 0), -EOPNOTSUPP);
	assert_int_equal(gpu_stream_wait_word(&x.s, 0, 0), -EOPNOTSUPP);
	stop(&x);
}

static void illegal_address_stays_with_the_context(void **state)
{
	struct gpu_copy in;
	struct fixture x;

	start(&x, "clock=virtual;land=3:700");
	in = (struct gpu_copy){ .dst = x.dev, .src = (uintptr_t)x.host, .len = 4096 };
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(gpu_stream_copy(&x.s, GPU_H2D, &in), 0);
	assert_int_equal(gpu_stream_wait(&x.s, soon()), -ENOTRECOVERABLE);
	assert_int_equal(gpu_stream_copy(&x.s, GPU_H2D, &in), -ENOTRECOVERABLE);
	assert_int_equal(fake_cuda_counters(&x.f).landed[GPU_H2D], 2);
	assert_int_equal(x.f.fake->script("reset"), 0);
	stop(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_there_and_back),
		cmocka_unit_test(source_let_go_before_landing_shows),
		cmocka_unit_test(rows_keep_their_pitches),
		cmocka_unit_test(batch_is_one_call),
		cmocka_unit_test(many_copies_are_a_batch_or_a_call_each),
		cmocka_unit_test(refused_call_puts_nothing_on_the_stream),
		cmocka_unit_test(hung_copy_ends_the_wait_at_its_deadline),
		cmocka_unit_test(word_is_waited_for_before_it_is_written),
		cmocka_unit_test(missing_abilities_are_refused),
		cmocka_unit_test(illegal_address_stays_with_the_context),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
