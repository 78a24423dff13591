/* SPDX-License-Identifier: Apache-2.0 */
/* test_gpu_gather.c - pieces of cached blocks into device memory, by the kernel */
#include "gpu_fixture.h"

#include "gpu/stream.h"

#define PIECES 400u

struct gathering {
	struct gx x;
	struct gx_chain c;
	struct kvshm_rows rows;
	struct kvshm_piece pieces[PIECES];
	struct kvshm_gather_request what;
	struct kvshm_gather_launch launch;
	char *pinned;			/* table, and what comes back */
	char want[PIECES * 2 * 256];
	CUdeviceptr dst;
};

#define TABLE_LEN (4 * PIECES * 16)
#define PINNED_LEN (1u << 20)

/* A chain that was saved from the pool, pinned; pieces of two tokens anywhere in it. */
static void gathering_begin(struct gathering *t, struct fake *f)
{
	const struct gpu_group *g = &t->x.l.group[0];
	struct kvshm_completion done;
	struct kvshm_stage *s;

	gx_begin(&t->x, f, &gx_model, gpu_order_find("hnd")->dims, NULL);
	gx_open(&t->x);
	s = gx_save(&t->x, &t->c, 40, 0);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, GX_US), 1);
	kvshm_stage_end(s);
	assert_int_equal(kvshm_poll(t->x.k, &done, 1, GX_US), 1);
	gx_load_of(&t->x, &t->c, 40);
	t->rows = (struct kvshm_rows){
		.nr_tokens = g->nr_tokens, .nr_heads = g->nr_heads, .nr_layers = t->x.l.nr_layers, .nr_parts = g->nr_parts,
		.run_len = g->run_len, .layer_stride = g->arena_layer_stride, .part_stride = g->arena_part_stride,
		.head_stride = g->arena_head_stride, .token_stride = g->arena_token_stride,
	};
	for (uint32_t i = 0; i < PIECES; i++)
		t->pieces[i] = (struct kvshm_piece){
			.id = i, .layer = (uint16_t)(i * 7 % 4), .head = (uint16_t)(i / 3 % 2), .part = (uint16_t)(i % 2),
			.token = i * 31 % (GX_NR * 16 - 1), .nr_tokens = 2,
		};
	t->pinned = aligned_alloc(4096, PINNED_LEN);
	assert_non_null(t->pinned);
	assert_int_equal(gpu_ctx_enter(&t->x.c.ctx), 0);
	assert_int_equal(t->x.c.cu.MemHostRegister(t->pinned, PINNED_LEN, CU_MEMHOSTREGISTER_DEVICEMAP), 0);
	assert_int_equal(t->x.c.cu.MemAlloc(&t->dst, sizeof(t->want)), 0);
	gpu_ctx_leave(&t->x.c.ctx);
	t->what = (struct kvshm_gather_request){
		.sz = sizeof(t->what), .rows = &t->rows, .blocks = t->c.blocks, .pieces = t->pieces,
		.dst = (void *)(uintptr_t)t->dst, .dst_len = sizeof(t->want), .nr_blocks = GX_NR, .nr_pieces = PIECES,
	};
	t->launch = (struct kvshm_gather_launch){ .sz = sizeof(t->launch), .table = t->pinned, .table_len = TABLE_LEN };
}

static void gathering_end(struct gathering *t)
{
	kvshm_release(t->x.k, &t->c.pin);
	assert_int_equal(gpu_ctx_enter(&t->x.c.ctx), 0);
	assert_int_equal(t->x.c.cu.MemHostUnregister(t->pinned), 0);
	assert_int_equal(t->x.c.cu.MemFree(t->dst), 0);
	gpu_ctx_leave(&t->x.c.ctx);
	free(t->pinned);
	gx_end(&t->x);
	free(t);
}

/* What the kernel packed, once its stream has passed it. */
static char *come_back(struct gathering *t, struct gpu_stream *s, uint64_t len)
{
	char *back = t->pinned + PINNED_LEN / 2;
	const struct gpu_copy c = { .dst = (uintptr_t)back, .src = t->dst, .len = len };

	assert_int_equal(gpu_stream_copy(s, GPU_D2H, &c), 0);
	assert_int_equal(gpu_stream_wait(s, clock_ns() + FAKE_SOON_NS), 1);
	return back;
}

static void kernel_packs_what_the_processor_packs(void **state)
{
	struct gathering *t = calloc(1, sizeof(*t));
	uint64_t held[7] = { 0x5555, 0, ~0ull }, len = 0, cpu_len = 0;
	struct kvshm_gather_request by_cpu;
	struct gpu_stream s;

	assert_non_null(t);
	gathering_begin(t, *state);
	assert_int_equal(gpu_stream_open(&t->x.c.ctx, true, &s), 0);
	t->launch.engine_stream = s.stream;
	t->what.held = held;
	t->what.nr_held = 400;
	by_cpu = t->what;
	by_cpu.dst = t->want;
	assert_int_equal(kvshm_gather(t->x.k, &by_cpu, &cpu_len), PIECES - 72);
	assert_int_equal(kvshm_gpu_gather(t->x.g, &t->what, &t->launch, &len), PIECES - 72);
	assert_int_equal(len, (PIECES - 72) * 2 * 256);
	assert_int_equal(cpu_len, len);
	assert_memory_equal(come_back(t, &s, len), t->want, len);
	assert_true(fake_cuda_counters(&t->x.c).launches > 0);
	gpu_stream_close(&s);
	gathering_end(t);
}

#define REFUSED(error, change)                                                                                         \
	do {                                                                                                           \
		const struct kvshm_gather_request what = t->what;                                                              \
		const struct kvshm_gather_launch launch = t->launch;                                                   \
		const struct kvshm_block block = t->c.blocks[1];                                                       \
		change;                                                                                                \
		assert_int_equal(kvshm_gpu_gather(t->x.g, &t->what, &t->launch, &len), error);                         \
		t->what = what;                                                                                        \
		t->launch = launch;                                                                                    \
		t->c.blocks[1] = block;                                                                                \
	} while (0)

static void what_the_kernel_must_not_see_is_refused(void **state)
{
	struct gathering *t = calloc(1, sizeof(*t));
	char elsewhere[FAKE_LEN];
	struct gpu_stream s;
	uint64_t len = 0;

	assert_non_null(t);
	gathering_begin(t, *state);
	assert_int_equal(gpu_stream_open(&t->x.c.ctx, true, &s), 0);
	t->launch.engine_stream = s.stream;
	REFUSED(-EINVAL, t->launch.sz--);
	REFUSED(-EINVAL, t->launch.table = t->pinned + 4);
	REFUSED(-ENOSPC, t->launch.table_len = 16 * 10);
	REFUSED(-ENOSPC, t->what.dst_len--);
	REFUSED(-EINVAL, t->what.nr_blocks--);
	REFUSED(-ESTALE, t->c.blocks[1].ptr = elsewhere);
	assert_int_equal(kvshm_gpu_gather(t->x.g, &t->what, &t->launch, &len), PIECES);
	come_back(t, &s, len);
	gpu_stream_close(&s);
	gathering_end(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(kernel_packs_what_the_processor_packs, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(what_the_kernel_must_not_see_is_refused, fake_setup, fake_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
