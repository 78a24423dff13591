/* SPDX-License-Identifier: Apache-2.0 */
/* test_layout.c - what can be a layout, and what is said about the rest */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/geometry.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"

static struct gpu_layout l;

/* 4 layers, 2 heads of 32 bytes, 4 tokens, 8 blocks; @dims as in geometry.h. */
static void make(const char *dims)
{
	const struct gpu_model m = { "m", 4, 2, 32, 0 };

	assert_int_equal(gpu_geometry_layout(&m, dims, 4, 8, 4096, &l, NULL), 0);
}

static void refused(const char *why)
{
	struct gpu_layout_fault f = { 0 };

	assert_int_equal(gpu_layout_check(&l, &f), -EINVAL);
	assert_non_null(f.why);
	if (!strstr(f.why, why))
		fail_msg("\"%s\" does not say \"%s\"", f.why, why);
}

static void every_order_of_every_model_is_a_layout(void **state)
{
	uint64_t len;

	(void)state;
	for (const struct gpu_model *m = gpu_models; m->name; m++)
		for (const struct gpu_order *o = gpu_orders; o->name; o++) {
			const int ret = gpu_geometry_layout(m, o->dims, 16, 64, 1 << 20, &l, &len);
			uint64_t bytes;

			if (m->is_latent && strchr(o->dims, 'K')) {
				assert_int_equal(ret, -EINVAL);
				continue;
			}
			assert_int_equal(ret, 0);
			bytes = (uint64_t)m->nr_layers * m->nr_heads * m->content_len * 16 * (m->is_latent ? 1 : 2);
			assert_int_equal(gpu_layout_block_bytes(&l, 0), bytes);
			assert_int_equal(l.group[0].arena_len, bytes);
			assert_true(len >= bytes * 64);
			assert_int_equal(gpu_layout_within(&l, &(struct gpu_range){ 1 << 20, len }, 1, NULL), 0);
			assert_int_equal(gpu_layout_within(&l, &(struct gpu_range){ 1 << 20, len - 1 }, 1, NULL), -EFAULT);
			assert_int_equal(gpu_layout_within(&l, &(struct gpu_range){ (1 << 20) + 1, len }, 1, NULL), -EFAULT);
		}
}

/* An 8B model's 16 tokens are one 2 MiB page; the others as in their published geometry. */
static void blocks_have_the_known_sizes(void **state)
{
	const struct {
		const char *model, *order;
		uint64_t kib;
	} rows[] = {
		{ "llama-2-7b", "nhd", 8192 },	 { "opt-13b", "nhd", 12800 },	  { "llama-3.1-8b", "lbhnc", 2048 },
		{ "qwen2.5-7b", "hnd", 896 },	 { "llama-3-70b", "blhnc", 5120 }, { "deepseek-v3", "mla", 1098 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(gpu_geometry_layout(gpu_model_find(rows[i].model), gpu_order_find(rows[i].order)->dims,
						     16, 8, 4096, &l, NULL), 0);
		assert_int_equal(l.group[0].arena_len, rows[i].kib << 10);
	}
	assert_null(gpu_model_find("none"));
	assert_null(gpu_order_find("none"));
}

static void words_that_are_no_order_are_refused(void **state)
{
	const struct gpu_model m = { "m", 4, 2, 32, 0 };
	const char *const words[] = { "", "LBHN", "LBHNCC", "LLBHNC", "LBHCN", "LXBHNC", "B/LHNC", "L/K/BHNC", "lbhnc" };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		assert_int_equal(gpu_geometry_layout(&m, words[i], 4, 8, 4096, &l, NULL), -EINVAL);
}

#define REFUSED(dims, why, change)                                                                                     \
	do {                                                                                                           \
		make(dims);                                                                                            \
		assert_int_equal(gpu_layout_check(&l, NULL), 0);                                                       \
		change;                                                                                                \
		refused(why);                                                                                          \
	} while (0)

static void numbers_out_of_range_are_refused_with_the_reason(void **state)
{
	(void)state;
	REFUSED("LBHNC", "groups", l.nr_groups = 0);
	REFUSED("LBHNC", "groups", l.nr_groups = GPU_GROUPS_MAX + 1);
	REFUSED("LBHNC", "layers", l.nr_layers = 0);
	REFUSED("LBHNC", "layers", l.nr_layers = GPU_LAYERS_MAX + 1);
	REFUSED("LBHNC", "group that there is not", l.layer[3].group = 1);
	REFUSED("LBHNC", "without layers", l.nr_groups = 2);
	REFUSED("LBHNC", "blocks", l.group[0].nr_blocks = 0);
	REFUSED("LBHNC", "tokens", l.group[0].nr_tokens = 0);
	REFUSED("LBHNC", "tokens", l.group[0].nr_tokens = GPU_TOKENS_MAX + 1);
	REFUSED("LBHNC", "heads", l.group[0].nr_heads = 0);
	REFUSED("LBHNC", "parts", l.group[0].nr_parts = 0);
	REFUSED("LBHNC", "parts", l.group[0].nr_parts = 3);
	REFUSED("LBHNC", "no bytes", l.group[0].run_len = 0);
	REFUSED("LBHNC", "no device address", l.layer[2].dev[0] = 0);
	REFUSED("LBHNC", "wraps", l.layer[2].dev[0] = UINT64_MAX - 8);
	REFUSED("LBHNC", "overflow", l.group[0].block_stride = UINT64_MAX / 2);
	REFUSED("LBHNC", "overflow", l.group[0].arena_layer_stride = UINT64_MAX / 2);
}

static void strides_that_overlap_are_refused_with_the_reason(void **state)
{
	(void)state;
	REFUSED("LBHNC", "two points", l.group[0].token_stride--);
	REFUSED("LBHNC", "two points", l.group[0].head_stride--);
	REFUSED("LBHNC", "two points", l.group[0].block_stride--);
	REFUSED("LBHNC", "two points", l.group[0].block_stride = 0);
	REFUSED("LBHNC", "two points", l.group[0].arena_token_stride--);
	REFUSED("LBHNC", "two points", l.group[0].arena_layer_stride = 0);
	REFUSED("LBHNC", "longer than the arena", l.group[0].arena_len--);
	REFUSED("LBHNC", "shares bytes", l.layer[1].dev[0]--);
	REFUSED("LBHNC", "shares bytes", l.layer[3].dev[0] = l.layer[0].dev[0]);
	REFUSED("L/BKHNC", "shares bytes", l.layer[0].dev[1] = l.layer[0].dev[0]);
	REFUSED("L/BKHNC", "shares bytes", l.layer[0].dev[1]--);
	REFUSED("BLHNC", "shares bytes", l.layer[1].dev[0] = l.layer[2].dev[0] + 7 * l.group[0].block_stride - 1);
	REFUSED("LHBNC", "shares bytes", l.layer[1].dev[0]++);
}

/* Planes may lie between each other's blocks, heads or tokens, as long as no byte is shared. */
static void interleaved_planes_are_told_from_overlapping_ones(void **state)
{
	struct rand r;
	unsigned free_of = 0, shared = 0;

	(void)state;
	rand_init(&r, 5);
	for (unsigned i = 0; i < 4000; i++) {
		static uint8_t owner[4096];
		struct gpu_group *g = &l.group[0];
		bool is_shared = false;

		memset(&l, 0, sizeof(l));
		memset(owner, 0, sizeof(owner));
		l.nr_groups = 1;
		l.nr_layers = 2;
		*g = (struct gpu_group){ .nr_blocks = 1 + (uint32_t)rand_below(&r, 3), .nr_tokens = 1 + (uint32_t)rand_below(&r, 3),
					 .nr_heads = 1 + (uint32_t)rand_below(&r, 3), .nr_parts = 1 + (uint32_t)rand_below(&r, 2),
					 .run_len = 1 + rand_below(&r, 4) };
		g->token_stride = g->run_len + rand_below(&r, 6);
		g->head_stride = g->token_stride * g->nr_tokens + rand_below(&r, 12);
		g->block_stride = g->head_stride * g->nr_heads + rand_below(&r, 30);
		gpu_layout_pack(&l);
		for (unsigned n = 0; n < 2 * g->nr_parts; n++) {
			const uint64_t at = 1 + rand_below(&r, 120);

			l.layer[n / g->nr_parts].dev[n % g->nr_parts] = at;
			for (unsigned b = 0; b < g->nr_blocks; b++)
				for (unsigned h = 0; h < g->nr_heads; h++)
					for (unsigned t = 0; t < g->nr_tokens; t++)
						for (unsigned c = 0; c < g->run_len; c++)
							is_shared |= owner[at + b * g->block_stride + h * g->head_stride +
									   t * g->token_stride + c]++;
		}
		assert_int_equal(gpu_layout_check(&l, NULL), is_shared ? -EINVAL : 0);
		*(is_shared ? &shared : &free_of) += 1;
	}
	assert_true(free_of > 300 && shared > 300);
}

/* Engines hand the same pages to one group of layers or another. */
static void groups_may_share_memory(void **state)
{
	(void)state;
	make("LBHNC");
	l.nr_groups = 2;
	l.group[1] = l.group[0];
	l.layer[2].group = l.layer[3].group = 1;
	l.layer[2].dev[0] = l.layer[0].dev[0];
	l.layer[3].dev[0] = l.layer[1].dev[0];
	assert_int_equal(gpu_layout_check(&l, NULL), 0);
	assert_int_equal(l.layer[3].at, 1);
	assert_int_equal(gpu_layout_group_layers(&l, 1), 2);
}

/* What another process sends is any bytes. */
static void any_bytes_are_answered(void **state)
{
	struct rand r;

	(void)state;
	rand_init(&r, 11);
	for (unsigned i = 0; i < 20000; i++) {
		make("L/BKHNC");
		for (unsigned n = 1 + (unsigned)rand_below(&r, 3); n > 0; n--) {
			const size_t at = rand_below(&r, offsetof(struct gpu_layout, layer[4])) & ~3ul;
			const uint32_t word = (uint32_t)rand_u64(&r) >> rand_below(&r, 32);

			memcpy((char *)&l + at, &word, 4);
		}
		gpu_layout_pack(&l);
		if (gpu_layout_check(&l, NULL) == 0)
			assert_true(gpu_layout_block_bytes(&l, 0) <= l.group[0].arena_len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_order_of_every_model_is_a_layout),
		cmocka_unit_test(blocks_have_the_known_sizes),
		cmocka_unit_test(words_that_are_no_order_are_refused),
		cmocka_unit_test(numbers_out_of_range_are_refused_with_the_reason),
		cmocka_unit_test(strides_that_overlap_are_refused_with_the_reason),
		cmocka_unit_test(interleaved_planes_are_told_from_overlapping_ones),
		cmocka_unit_test(groups_may_share_memory),
		cmocka_unit_test(any_bytes_are_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
