/* SPDX-License-Identifier: Apache-2.0 */
/* test_gather.c - pieces of a prefix, packed: by the CPU and by the kernel's twin */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gather.h"
#include "gpu/geometry.h"
#include "gpu/kern_twin.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"

#define NR_BLOCKS 24u
#define BLOCK_TOKENS 16u

struct world {
	struct rand r;
	struct gpu_layout l;
	uint8_t *arena;
	uint64_t blocks[NR_BLOCKS];
	struct gather_source s;
};

/* A small model with rows of 256 bytes, its blocks anywhere in the arena. */
static void world_init(struct world *w, const char *dims, uint64_t seed)
{
	const struct gpu_model m = { "m", 4, 8, 256, 0 };
	unsigned at[NR_BLOCKS];

	memset(w, 0, sizeof(*w));
	rand_init(&w->r, seed);
	assert_int_equal(gpu_geometry_layout(&m, dims, BLOCK_TOKENS, NR_BLOCKS, 4096, &w->l, NULL), 0);
	w->s = (struct gather_source){ .group = &w->l.group[0], .nr_layers = 4, .nr_blocks = NR_BLOCKS,
				       .nr_tokens = NR_BLOCKS * BLOCK_TOKENS, .blocks = w->blocks, .block_step = 1,
				       .span = NR_BLOCKS * w->l.group[0].arena_len };
	w->arena = aligned_alloc(4096, w->s.span);
	assert_non_null(w->arena);
	for (uint64_t i = 0; i < w->s.span; i += 8)
		*(uint64_t *)(w->arena + i) = rand_u64(&w->r);
	for (unsigned i = 0; i < NR_BLOCKS; i++)
		at[i] = i;
	for (unsigned i = NR_BLOCKS; i > 0; i--) {
		const unsigned j = (unsigned)rand_below(&w->r, i);

		w->blocks[i - 1] = at[j] * w->l.group[0].arena_len;
		at[j] = at[i - 1];
	}
}

/* Byte by byte. */
static uint64_t naive(const struct world *w, const struct gather_piece *p, uint8_t *dst)
{
	const struct gpu_group *g = &w->l.group[0];
	uint64_t n = 0;

	for (uint32_t t = p->token; t < p->token + p->nr_tokens; t++)
		for (uint64_t i = 0; i < g->run_len; i++)
			dst[n++] = w->arena[w->blocks[t / g->nr_tokens] + p->layer * g->arena_layer_stride +
					    p->part * g->arena_part_stride + p->head * g->arena_head_stride +
					    t % g->nr_tokens * g->arena_token_stride + i];
	return n;
}

static void by_kernel(const struct gather_plan *p, const struct world *w, uint8_t *dst)
{
	struct gpu_gather_args args;
	uint32_t ctas, threads;

	gather_args(p, (uintptr_t)w->arena, (uintptr_t)dst, (uintptr_t)p->runs, &args, &ctas, &threads);
	kern_twins[GPU_KERNEL_GATHER](ctas, threads, &args);
}

/* All pieces both ways against the loop; @held may be NULL. */
static struct gather_plan compare(struct world *w, const struct gather_piece *pieces, uint32_t nr, uint64_t max_len,
				  const struct gather_held *held)
{
	struct gather_plan p = { .max_runs = nr * 24 };
	uint8_t *cpu = calloc(1, max_len + 64), *want = malloc(max_len + 64);
	uint8_t *gpu = aligned_alloc(64, round_up(max_len + 64, 64));
	uint64_t *at = calloc(nr, sizeof(*at)), len = 0, copied = 0;

	p.runs = calloc(p.max_runs, sizeof(*p.runs));
	assert_true(cpu && gpu && want && at && p.runs);
	memset(gpu, 0, max_len + 64);
	assert_int_equal(gather_plan_make(&w->s, pieces, nr, held, &p, at), 0);
	for (uint32_t i = 0; i < nr; i++) {
		if (at[i] == GATHER_HELD)
			continue;
		assert_int_equal(at[i], len);
		len += naive(w, &pieces[i], want + len);
	}
	assert_int_equal(p.len, len);
	assert_int_equal(gather_copy(&w->s, pieces, nr, held, w->arena, cpu, len, at, &copied), nr - p.nr_held);
	assert_int_equal(copied, len);
	assert_memory_equal(cpu, want, len);
	if (len)
		assert_int_equal(gather_copy(&w->s, pieces, nr, held, w->arena, cpu, len - 1, NULL, &copied), -ENOSPC);
	memset(cpu, 0, len);
	gather_cpu(&p, w->arena, cpu);
	by_kernel(&p, w, gpu);
	assert_memory_equal(cpu, want, len);
	assert_memory_equal(gpu, want, len);
	for (unsigned i = 0; i < 64; i++)
		assert_true(!cpu[len + i] && !gpu[len + i]);
	free(p.runs);
	free(at);
	free(want);
	free(gpu);
	free(cpu);
	return p;
}

static void pieces_of_2_kib_by_the_65536_are_byte_exact(void **state)
{
	const uint32_t nr = 65536;
	struct gather_piece *pieces = calloc(nr, sizeof(*pieces));
	struct world w;
	struct gather_plan p;

	(void)state;
	assert_non_null(pieces);
	world_init(&w, "L/BKHNC", 1);
	for (uint32_t i = 0; i < nr; i++)
		pieces[i] = (struct gather_piece){
			.id = i, .layer = (uint16_t)rand_below(&w.r, 4), .head = (uint16_t)rand_below(&w.r, 8),
			.part = (uint16_t)rand_below(&w.r, 2), .nr_tokens = 8,
			.token = 8 * (uint32_t)rand_below(&w.r, NR_BLOCKS * BLOCK_TOKENS / 8),
		};
	p = compare(&w, pieces, nr, nr * 2048ull, NULL);
	assert_int_equal(p.len, nr * 2048ull);
	assert_in_range(p.nr_runs, nr - nr / 100, nr);
	free(w.arena);
	free(pieces);
}

static void any_ranges_in_any_order_are_byte_exact(void **state)
{
	const char *const orders[] = { "L/BKHNC", "L/KBNHC", "BLHNC", "LHBNC" };
	struct gather_piece pieces[200];
	struct world w;

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		world_init(&w, orders[i % ARRAY_SIZE(orders)], i);
		for (unsigned n = 0; n < ARRAY_SIZE(pieces); n++) {
			struct gather_piece *p = &pieces[n];

			*p = (struct gather_piece){
				.id = n, .layer = (uint16_t)rand_below(&w.r, 4), .head = (uint16_t)rand_below(&w.r, 8),
				.part = (uint16_t)rand_below(&w.r, w.l.group[0].nr_parts),
				.token = (uint32_t)rand_below(&w.r, NR_BLOCKS * BLOCK_TOKENS),
			};
			p->nr_tokens = 1 + (uint32_t)rand_below(&w.r, min_of(NR_BLOCKS * BLOCK_TOKENS - p->token, 40u));
			p->nr_tokens = min_of(p->nr_tokens, 24u);
		}
		compare(&w, pieces, ARRAY_SIZE(pieces), ARRAY_SIZE(pieces) * 24 * 512, NULL);
		free(w.arena);
	}
}

/* Sparse attention keeps 60 % of its pieces from step to step: 40 % of the bytes move. */
static void what_the_client_holds_is_not_moved(void **state)
{
	uint64_t bits[16] = { 0 };
	const struct gather_held held = { bits, 1000 };
	struct gather_piece pieces[1000];
	struct gather_plan p;
	struct world w;

	(void)state;
	world_init(&w, "L/BKHNC", 3);
	for (uint32_t i = 0; i < 1000; i++) {
		pieces[i] = (struct gather_piece){ .id = i, .head = (uint16_t)(i % 8), .nr_tokens = 8,
						   .token = 8 * (uint32_t)rand_below(&w.r, 48) };
		if (i % 5 < 3)
			bits[i / 64] |= 1ull << i % 64;
	}
	p = compare(&w, pieces, 1000, 1000 * 2048, &held);
	assert_int_equal(p.nr_held, 600);
	assert_int_equal(p.len, 400 * 2048);
	free(w.arena);
}

static void rows_that_meet_are_one_run_and_none_is_too_long(void **state)
{
	struct gather_piece pieces[2] = { { .nr_tokens = 4 }, { .token = 4, .nr_tokens = BLOCK_TOKENS - 4 } };
	struct gather_plan p;
	struct world w;

	(void)state;
	world_init(&w, "L/BKHNC", 4);
	p = compare(&w, pieces, 2, BLOCK_TOKENS * 256, NULL);
	assert_int_equal(p.nr_runs, 1);
	free(w.arena);
	/* tokens outside heads: each token a run */
	world_init(&w, "L/KBNHC", 4);
	p = compare(&w, pieces, 2, BLOCK_TOKENS * 256, NULL);
	assert_int_equal(p.nr_runs, BLOCK_TOKENS);
	free(w.arena);
	/* all heads of a layer in turn are 32 KiB side by side */
	world_init(&w, "L/BKHNC", 4);
	struct gather_piece all[8];
	for (unsigned i = 0; i < 8; i++)
		all[i] = (struct gather_piece){ .id = i, .head = (uint16_t)i, .nr_tokens = BLOCK_TOKENS };
	p = compare(&w, all, 8, 8 * BLOCK_TOKENS * 256, NULL);
	assert_int_equal(p.nr_runs, 8 * BLOCK_TOKENS * 256 / GATHER_RUN_MAX);
	free(w.arena);
}

#define REFUSED(error, change)                                                                                         \
	do {                                                                                                           \
		piece = (struct gather_piece){ .nr_tokens = 8 };                                                       \
		p.max_runs = 4;                                                                                        \
		s = w.s;                                                                                               \
		assert_int_equal(gather_plan_make(&s, &piece, 1, NULL, &p, NULL), 0);                                  \
		change;                                                                                                \
		assert_int_equal(gather_plan_make(&s, &piece, 1, NULL, &p, NULL), error);                              \
	} while (0)

static void pieces_out_of_range_are_refused(void **state)
{
	struct gpu_gather_run runs[4];
	struct gather_plan p = { .runs = runs };
	struct gather_source s;
	struct gather_piece piece;
	struct world w;

	(void)state;
	world_init(&w, "L/BKHNC", 9);
	REFUSED(-EINVAL, piece.layer = 4);
	REFUSED(-EINVAL, piece.head = 8);
	REFUSED(-EINVAL, piece.part = 2);
	REFUSED(-EINVAL, piece.resv = 1);
	REFUSED(-EINVAL, piece.nr_tokens = 0);
	REFUSED(-EINVAL, piece.nr_tokens = NR_BLOCKS * BLOCK_TOKENS + 1);
	REFUSED(-EINVAL, piece.nr_tokens = UINT32_MAX);
	REFUSED(-EINVAL, piece.token = NR_BLOCKS * BLOCK_TOKENS - 7);
	REFUSED(-EINVAL, piece.token = UINT32_MAX);
	REFUSED(-EINVAL, s.nr_layers = 0);
	REFUSED(-EINVAL, s.nr_tokens++);
	REFUSED(-EINVAL, s.nr_tokens = 7);
	REFUSED(-EINVAL, s.span = w.l.group[0].arena_len - 1);
	REFUSED(-EINVAL, s.span = w.blocks[0] + w.l.group[0].arena_len - 1);
	REFUSED(-ENOSPC, p.max_runs = 0);
	free(w.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_of_2_kib_by_the_65536_are_byte_exact),
		cmocka_unit_test(any_ranges_in_any_order_are_byte_exact),
		cmocka_unit_test(what_the_client_holds_is_not_moved),
		cmocka_unit_test(rows_that_meet_are_one_run_and_none_is_too_long),
		cmocka_unit_test(pieces_out_of_range_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
