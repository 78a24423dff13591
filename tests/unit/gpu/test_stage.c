/* SPDX-License-Identifier: Apache-2.0 */
/* test_stage.c - blocks go there and back each way, layer by layer, in order; what goes wrong: test_stage_fail.c */
#include "tests/unit/gpu/stage_fixture.h"

#include "gpu/stage_word.h"
#include "tests/lib/fault.h"

/* Items whose arena and engine blocks are scattered, and a pair of neighbours. */
static void use_items(struct fx *x)
{
	static const uint32_t places[] = { 0, 1, 2, 15, 4, 9, 14, 3 }, blocks[] = { 0, 1, 9, 5, 12, 3, 10, 7 };

	for (uint32_t i = 0; i < ARRAY_SIZE(places); i++)
		x->items[i] = (struct stage_item){ .arena = places[i] * x->l.group[0].arena_len, .block = blocks[i] };
	x->list[0].nr = ARRAY_SIZE(places);
}

static void every_order(bool is_unpinned, uint32_t ways, uint32_t per_step, const char *script)
{
	struct stage_limits lim = { .nr_jobs = 2, .nr_items = FX_BLOCKS, .bounce_len = 64 << 10, .landing_len = 64 << 10,
				    .ways = ways };

	for (const struct gpu_order *o = gpu_orders; o->name; o++) {
		const struct gpu_model *m = strchr(o->dims, 'K') || strcmp(o->name, "mla") ? &fx_model : &fx_latent;
		struct fx x;

		fx_begin(&x, m, o->dims, is_unpinned, script);
		use_items(&x);
		assert_int_equal(stage_create(&x.f.ctx, &x.l, &lim, &x.s), 0);
		fx_there_and_back(&x, per_step);
		if (is_unpinned)
			assert_int_equal(fake_cuda_counters(&x.f).pageable, 0);
		fx_end(&x);
	}
}

static void every_order_goes_there_and_back(void **state)
{
	every_order(false, STAGE_MAY(STAGE_WAY_COPY), 1, NULL);
	every_order(false, STAGE_MAY(STAGE_WAY_COPY), 0, NULL);
}

static void every_order_goes_as_a_batch(void **state)
{
	every_order(false, STAGE_MAY(STAGE_WAY_BATCH), 1, NULL);
}

static void every_order_goes_by_landing_and_kernel(void **state)
{
	every_order(false, STAGE_MAY(STAGE_WAY_LAND), 0, NULL);
	every_order(false, STAGE_MAY(STAGE_WAY_LAND), 1, NULL);
}

static void every_order_goes_by_a_kernel_over_the_arena(void **state)
{
	every_order(false, STAGE_MAY(STAGE_WAY_DIRECT), 1, NULL);
}

static void memory_that_is_not_pinned_goes_through_slices(void **state)
{
	every_order(true, 0, 1, NULL);
	every_order(true, 0, 0, NULL);
}

static void a_refused_registration_goes_through_slices(void **state)
{
	struct fx x;

	fx_begin(&x, &fx_model, "L/BKHNC", true, "fail=cuMemHostRegister:1:801");
	assert_int_equal(hostreg_create(&x.f.ctx, &x.reg), 0);
	assert_int_equal(hostreg_add(x.reg, x.arena, x.arena_len, HOSTREG_LOOK), 0);
	assert_int_equal(hostreg_wait(x.reg, fx_soon()), 0);
	assert_true(hostreg_state(x.reg, x.arena, 4096) < 0);
	x.host.reg = x.reg;
	assert_int_equal(stage_create(&x.f.ctx, &x.l, NULL, &x.s), 0);
	fx_there_and_back(&x, 1);
	assert_int_equal(fake_cuda_counters(&x.f).pageable, 0);
	fx_end(&x);
}

/* Two blocks, their places in halves of a block. */
static bool is_bounced(struct fx *x, uint32_t first, uint32_t second)
{
	const uint64_t half = x->l.group[0].arena_len / 2;
	struct stage_job_info info;
	struct stage_job *j;

	x->items[0].arena = first * half;
	x->items[1].arena = second * half;
	j = fx_submit(x, STAGE_H2D, 0);
	assert_int_equal(stage_job_wait(j, UINT32_MAX, fx_soon()), 1);
	assert_int_equal(fx_differ_all(x), 0);
	assert_int_equal(fake_cuda_counters(&x->f).pageable, 0);
	stage_job_info(j, &info);
	stage_job_put(j);
	return info.is_bounced;
}

/* Of four extents of four blocks the second is refused. */
static void a_block_that_is_not_within_a_pinned_extent_bounces_the_job(void **state)
{
	struct fx x;

	fx_begin(&x, &fx_model, "L/BKHNC", true, "fail=cuMemHostRegister:2:801");
	assert_int_equal(hostreg_create(&x.f.ctx, &x.reg), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(hostreg_add(x.reg, x.arena + i * x.arena_len / 4, x.arena_len / 4, HOSTREG_LOOK), 0);
	assert_int_equal(hostreg_wait(x.reg, fx_soon()), 0);
	x.host.reg = x.reg;
	assert_int_equal(stage_create(&x.f.ctx, &x.l, NULL, &x.s), 0);
	assert_false(is_bounced(&x, 0, 6));
	assert_false(is_bounced(&x, 6, 16));
	assert_false(is_bounced(&x, 30, 0));
	assert_true(is_bounced(&x, 6, 8));
	assert_true(is_bounced(&x, 14, 16));
	assert_true(is_bounced(&x, 16, 14));
	/* half in each of two that are pinned */
	assert_true(is_bounced(&x, 23, 16));
	assert_true(is_bounced(&x, 16, 23));
	fx_end(&x);
}

/* Blocks packed in memory of the device, as they lie in an arena: no byte goes over the link. */
static void packed_on_the_device(uint32_t ways, enum stage_way want)
{
	struct stage_cost slow_link = stage_cost_default;
	struct stage_limits lim = { .nr_jobs = 2, .nr_items = FX_BLOCKS, .landing_len = 64 << 10, .ways = ways,
				    .cost = &slow_link };
	struct stage_job_info info;
	struct fake_counters c;
	struct stage_job *j;
	CUdeviceptr packed;
	char *arena;
	struct fx x;

	fx_begin(&x, &fx_model, "L/BKHNC", false, NULL);
	use_items(&x);
	slow_link.link_bytes_per_ns = slow_link.direct_bytes_per_ns = 0.001;
	arena = x.arena;
	assert_int_equal(gpu_ctx_enter(&x.f.ctx), 0);
	assert_int_equal(x.f.cu.MemAlloc(&packed, x.arena_len), 0);
	gpu_ctx_leave(&x.f.ctx);
	x.arena = fx_at(packed);
	fx_fill(x.arena, x.arena_len, 9);
	x.host = (struct stage_host){ .base = packed, .dev = packed, .span = x.arena_len, .is_device = true };
	assert_int_equal(stage_create(&x.f.ctx, &x.l, &lim, &x.s), 0);
	j = fx_submit(&x, STAGE_H2D, 0);
	stage_job_info(j, &info);
	assert_int_equal(info.way, want);
	assert_true(info.cost_ns < (double)info.bytes / 0.001);
	stage_job_put(j);
	fx_there_and_back(&x, 0);
	c = fake_cuda_counters(&x.f);
	assert_int_equal(c.bytes[GPU_H2D] + c.bytes[GPU_D2H] + c.pageable, 0);
	assert_int_equal(gpu_ctx_enter(&x.f.ctx), 0);
	assert_int_equal(x.f.cu.MemFree(packed), 0);
	gpu_ctx_leave(&x.f.ctx);
	x.arena = arena;
	fx_end(&x);
}

static void blocks_packed_on_the_device_are_spread_there(void **state)
{
	(void)state;
	packed_on_the_device(STAGE_MAY(STAGE_WAY_COPY), STAGE_WAY_COPY);
	packed_on_the_device(STAGE_MAY(STAGE_WAY_BATCH), STAGE_WAY_BATCH);
	/* landing would be a copy more */
	packed_on_the_device(STAGE_MAY(STAGE_WAY_LAND) | STAGE_MAY(STAGE_WAY_COPY), STAGE_WAY_COPY);
	packed_on_the_device(STAGE_MAY_ALL, STAGE_WAY_DIRECT);
}

static void an_old_driver_copies_row_by_row(void **state)
{
	struct stage_limits lim = { .nr_jobs = 2, .nr_items = FX_BLOCKS };
	struct fx x;

	fx_begin(&x, &fx_model, "BLHNC", false, NULL);
	x.f.cu.features = 1u << CUDA_F_CORE | 1u << CUDA_F_HOSTREG;
	use_items(&x);
	assert_int_equal(stage_create(&x.f.ctx, &x.l, &lim, &x.s), 0);
	fx_there_and_back(&x, 1);
	assert_int_equal(fake_cuda_counters(&x.f).copies_2d, 0);
	assert_int_equal(fake_cuda_counters(&x.f).batches, 0);
	fx_end(&x);
}

static void layers_land_one_after_the_other(void **state)
{
	struct stage_job *j;
	struct fx x;

	fx_start(&x, FX_SLOW);
	j = fx_submit(&x, STAGE_H2D, 1);
	assert_int_equal(stage_word_look(&x.word[0], 5), 0);
	assert_int_equal(stage_job_wait(j, 0, fx_soon()), 1);
	assert_int_equal(stage_word_look(&x.word[0], 5), 1);
	assert_int_equal(stage_word_look(&x.word[3], 5), 0);
	assert_int_equal(stage_job_layer(j, 3), 0);
	assert_int_equal(stage_job_state(j), 0);
	assert_false(stage_job_is_over(j));
	assert_int_equal(stage_job_wait(j, 3, fx_soon()), 1);
	assert_int_equal(stage_word_look(&x.word[3], 5), 1);
	assert_true(stage_job_is_over(j));
	stage_job_put(j);
	fx_end(&x);
}

static void a_layer_blocks_a_stream_of_the_engine(void **state)
{
	struct stage_job *j;
	struct fx x;
	CUstream engine;

	fx_start(&x, FX_SLOW);
	assert_int_equal(gpu_ctx_enter(&x.f.ctx), 0);
	assert_int_equal(x.f.cu.StreamCreateWithPriority(&engine, CU_STREAM_NON_BLOCKING, 0), 0);
	j = fx_submit(&x, STAGE_H2D, 1);
	assert_int_equal(stage_job_block(j, 1, engine), 0);
	assert_int_equal(x.f.cu.StreamQuery(engine), CUDA_ERROR_NOT_READY);
	while (x.f.cu.StreamQuery(engine) == CUDA_ERROR_NOT_READY)
		;
	stage_poll(x.s);
	assert_int_equal(stage_job_layer(j, 1), 1);
	assert_int_equal(x.f.cu.StreamDestroy(engine), 0);
	gpu_ctx_leave(&x.f.ctx);
	assert_int_equal(stage_job_wait_over(j, fx_soon()), 0);
	stage_job_put(j);
	fx_end(&x);
}

static void the_engines_work_comes_first(void **state)
{
	struct stage_work w;
	struct stage_job *j;
	struct fx x;
	CUstream engine;

	fx_start(&x, FX_SLOW);
	assert_int_equal(gpu_ctx_enter(&x.f.ctx), 0);
	assert_int_equal(x.f.cu.StreamCreateWithPriority(&engine, CU_STREAM_NON_BLOCKING, 0), 0);
	/* the engine writes its pool; the put must see it */
	fx_fill(x.arena, x.arena_len, 40);
	assert_int_equal(x.f.cu.MemcpyHtoDAsync(x.pool, x.arena, x.l.group[0].block_stride, engine), 0);
	w = fx_work(&x, STAGE_D2H, 0);
	w.has_after = true;
	w.after = engine;
	assert_int_equal(stage_submit(x.s, &w, &j), 0);
	assert_int_equal(stage_job_wait(j, UINT32_MAX, fx_soon()), 1);
	assert_int_equal(fx_differ_all(&x), 0);
	assert_int_equal(x.f.cu.StreamQuery(engine), 0);
	assert_int_equal(x.f.cu.StreamDestroy(engine), 0);
	gpu_ctx_leave(&x.f.ctx);
	stage_job_put(j);
	fx_end(&x);
}

/* ---- order ---------------------------------------------------------------------------------------------------- */

static void a_put_keeps_little_in_flight_while_a_load_waits(void **state)
{
	/* a step of one layer is 2 blocks x 4 KiB */
	struct stage_limits lim = { .nr_jobs = 4, .nr_items = FX_BLOCKS, .put_max = 1 << 20, .put_max_loading = 8 << 10 };
	struct stage_job *in, *out;
	struct fx x;

	fx_begin(&x, &fx_model, "L/BKHNC", false, FX_SLOW);
	assert_int_equal(stage_create(&x.f.ctx, &x.l, &lim, &x.s), 0);
	in = fx_submit(&x, STAGE_H2D, 1);
	out = fx_submit(&x, STAGE_D2H, 1);
	assert_int_equal(fake_cuda_counters(&x.f).bytes[GPU_H2D], 32 << 10);
	assert_int_equal(fake_cuda_counters(&x.f).bytes[GPU_D2H], 8 << 10);
	assert_int_equal(stage_job_block(out, 3, NULL), -EAGAIN);
	assert_int_equal(stage_job_wait(in, UINT32_MAX, fx_soon()), 1);
	stage_poll(x.s);
	assert_int_equal(fake_cuda_counters(&x.f).bytes[GPU_D2H], 32 << 10);
	assert_int_equal(stage_job_wait(out, UINT32_MAX, fx_soon()), 1);
	stage_job_put(in);
	stage_job_put(out);
	fx_end(&x);
}

static void a_long_job_is_issued_in_portions(void **state)
{
	struct stage_limits lim = { .nr_jobs = 2, .nr_items = FX_BLOCKS, .ways = STAGE_MAY(STAGE_WAY_COPY) };
	struct gpu_model deep = { "deep", 64, 2, 64, 0 };
	uint64_t first, second;
	struct stage_job *j;
	struct fx x;

	/* 8 blocks of 64 layers, a copy each at least */
	fx_begin(&x, &deep, "L/BKHNC", false, FX_SLOW);
	use_items(&x);
	assert_int_equal(stage_create(&x.f.ctx, &x.l, &lim, &x.s), 0);
	j = fx_submit(&x, STAGE_H2D, 1);
	first = fake_cuda_counters(&x.f).copies[GPU_H2D];
	assert_true(first >= 16 && first < 32);
	/* a stream that waits for the last layer needs all of it issued */
	assert_int_equal(stage_job_block(j, 63, NULL), 0);
	second = fake_cuda_counters(&x.f).copies[GPU_H2D];
	assert_int_equal(j->nr_issued, 64);
	assert_true(second > first);
	assert_int_equal(x.f.fake->script("h2d=1e10"), 0);
	assert_int_equal(stage_job_wait(j, UINT32_MAX, fx_soon()), 1);
	assert_int_equal(fx_differ_all(&x), 0);
	stage_job_put(j);
	fx_end(&x);
}

/* Stands before the driver's copies: how much of the job was planned when its first one came. */
static struct {
	struct cuda driver;
	const struct stage_job *job;
	uint32_t nr_calls, nr_steps;
} watch;

static void watch_copy(void)
{
	if (!watch.nr_calls++)
		watch.nr_steps = watch.job->plan.nr_steps;
}

static CUresult watch_plain(CUdeviceptr dst, const void *src, size_t len, CUstream stream)
{
	watch_copy();
	return watch.driver.MemcpyHtoDAsync(dst, src, len, stream);
}

static CUresult watch_2d(const CUDA_MEMCPY2D *copy, CUstream stream)
{
	watch_copy();
	return watch.driver.Memcpy2DAsync(copy, stream);
}

static void watch_begin(struct fx *x)
{
	watch.driver = x->f.cu;
	watch.job = &x->s->job[0];
	watch.nr_calls = watch.nr_steps = 0;
	x->f.cu.MemcpyHtoDAsync = watch_plain;
	x->f.cu.Memcpy2DAsync = watch_2d;
}

static void the_first_step_is_issued_before_the_rest_is_planned(void **state)
{
	struct stage_limits lim = { .nr_jobs = 1, .nr_items = FX_BLOCKS, .ways = STAGE_MAY(STAGE_WAY_COPY) };
	struct gpu_model deep = { "deep", 64, 2, 64, 0 };
	struct stage_job *j;
	struct fx x;

	for (uint32_t per_step = 1; per_step <= 32; per_step += 31) {
		fx_begin(&x, &deep, "L/BKHNC", false, NULL);
		use_items(&x);
		assert_int_equal(stage_create(&x.f.ctx, &x.l, &lim, &x.s), 0);
		watch_begin(&x);
		j = fx_submit(&x, STAGE_H2D, per_step);
		assert_ptr_equal(j, watch.job);
		assert_int_equal(watch.nr_steps, 1);
		/* and when the call returns the list is the caller's */
		assert_int_equal(j->plan.nr_steps, 64 / per_step);
		memset(x.items, 0xff, sizeof(x.items));
		assert_int_equal(stage_job_wait(j, UINT32_MAX, fx_soon()), 1);
		use_items(&x);
		assert_int_equal(fx_differ_all(&x), 0);
		stage_job_put(j);
		fx_end(&x);
	}
}

static void a_submit_allocates_nothing(void **state)
{
	/* the second put finds no room in flight, so that no call of the fake driver allocates either */
	struct stage_limits lim = { .nr_jobs = 4, .nr_items = FX_BLOCKS, .put_max = 1 };
	struct stage_job *first, *second;
	struct fx x;
	bool fired;

	if (FAULT_MISSING)
		skip();
	fx_begin(&x, &fx_model, "L/BKHNC", false, FX_SLOW);
	assert_int_equal(stage_create(&x.f.ctx, &x.l, &lim, &x.s), 0);
	first = fx_submit(&x, STAGE_D2H, 0);
	fault_arm(1);
	second = fx_submit(&x, STAGE_D2H, 1);
	fired = fault_disarm();
	assert_false(fired);
	assert_int_equal(stage_job_wait(second, UINT32_MAX, fx_soon()), 1);
	stage_job_put(first);
	stage_job_put(second);
	fx_end(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_order_goes_there_and_back),
		cmocka_unit_test(every_order_goes_as_a_batch),
		cmocka_unit_test(every_order_goes_by_landing_and_kernel),
		cmocka_unit_test(every_order_goes_by_a_kernel_over_the_arena),
		cmocka_unit_test(memory_that_is_not_pinned_goes_through_slices),
		cmocka_unit_test(a_refused_registration_goes_through_slices),
		cmocka_unit_test(a_block_that_is_not_within_a_pinned_extent_bounces_the_job),
		cmocka_unit_test(blocks_packed_on_the_device_are_spread_there),
		cmocka_unit_test(an_old_driver_copies_row_by_row),
		cmocka_unit_test(layers_land_one_after_the_other),
		cmocka_unit_test(a_layer_blocks_a_stream_of_the_engine),
		cmocka_unit_test(the_engines_work_comes_first),
		cmocka_unit_test(a_put_keeps_little_in_flight_while_a_load_waits),
		cmocka_unit_test(a_long_job_is_issued_in_portions),
		cmocka_unit_test(the_first_step_is_issued_before_the_rest_is_planned),
		cmocka_unit_test(a_submit_allocates_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
