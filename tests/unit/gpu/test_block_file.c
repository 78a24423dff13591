/* SPDX-License-Identifier: Apache-2.0 */
/* test_block_file.c - blocks from an engine's pool into a file and back, by both backends, and what goes wrong */
#include "gpu/block_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gpu/cufile_loader.h"
#include "gpu/geometry.h"
#include "gpu/stage_cost.h"
#include "gpu/stream.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "tests/lib/fake_cufile.h"
#include "tests/lib/tmp_dir.h"

#define BLOCKS 16u			/* of the pool */
#define SLOTS 3u
#define NR 7u

/* Blocks of 16 KiB; and of 9 pages and a bit. */
static const struct gpu_model even = { "even", 4, 2, 64, 0 }, odd = { "odd", 3, 1, 392, 1 };

static const uint64_t places[NR] = { 4, 0, 9, 1, 2, 7, 3 };
static const uint32_t from[NR] = { 3, 1, 15, 8, 9, 10, 0 }, to[NR] = { 5, 2, 12, 7, 14, 4, 6 };

struct fixture {
	struct fake_cuda c;
	const struct cufile_fake *fake;
	struct cufile cufile;
	struct gpu_layout l;
	uint32_t group;
	uint64_t pool, pool_len;
	char *was;			/* the pool as it was filled */
	struct tmp_dir dir;
	char path[128];
	struct block_file *f;
};

static uint64_t soon(void)
{
	return clock_ns() + 10000000000ull;
}

static void begin(struct fixture *x, const struct gpu_model *m, const char *dims)
{
	struct gpu_layout probe;
	CUdeviceptr pool;
	char lib[512];

	memset(x, 0, sizeof(*x));
	fake_cuda_start(&x->c, NULL);
	x->fake = fake_cufile_open();
	assert_int_equal(x->fake->script("reset"), 0);
	assert_int_equal(cufile_load(fake_cufile_path(lib, sizeof(lib)), &x->c.ctx, &x->cufile), 0);
	assert_int_equal(gpu_geometry_layout(m, dims, 16, BLOCKS, 1 << 20, &probe, &x->pool_len), 0);
	assert_int_equal(gpu_ctx_enter(&x->c.ctx), 0);
	assert_int_equal(x->c.cu.MemAlloc(&pool, x->pool_len), 0);
	gpu_ctx_leave(&x->c.ctx);
	x->pool = pool;
	assert_int_equal(gpu_geometry_layout(m, dims, 16, BLOCKS, pool, &x->l, NULL), 0);
	for (uint64_t i = 0; i < x->pool_len; i++)
		((char *)(uintptr_t)pool)[i] = (char)(i * 2654435761u >> 13);
	x->was = malloc(x->pool_len);
	assert_non_null(x->was);
	memcpy(x->was, (char *)(uintptr_t)pool, x->pool_len);
	tmp_dir_create(&x->dir);
	snprintf(x->path, sizeof(x->path), "%s/blocks", x->dir.path);
}

static struct block_file_config config(struct fixture *x, const struct tier_ops *ops)
{
	return (struct block_file_config){ .ctx = &x->c.ctx, .layout = &x->l, .group = x->group, .ops = ops, .cufile = &x->cufile,
					   .path = x->path, .is_write = true, .nr_slots = SLOTS };
}

static void start(struct fixture *x, const struct tier_ops *ops)
{
	const struct block_file_config cfg = config(x, ops);

	assert_int_equal(block_file_open(&cfg, &x->f), 0);
}

static void end(struct fixture *x)
{
	struct cufile_counters n;

	assert_int_equal(block_file_close(x->f, soon()), 0);
	x->fake->counters(&n);
	assert_int_equal(n.handles + n.buffers + n.unregistered, 0);
	assert_int_equal(gpu_ctx_enter(&x->c.ctx), 0);
	assert_int_equal(x->c.cu.MemFree(x->pool), 0);
	gpu_ctx_leave(&x->c.ctx);
	free(x->was);
	tmp_dir_destroy(&x->dir);
	cufile_unload(&x->cufile);
	fake_cuda_stop(&x->c);
}

static int run(struct fixture *x)
{
	const uint64_t until = soon();
	int ret;

	while (!(ret = block_file_poll(x->f)))
		assert_true(clock_ns() < until);
	return ret;
}

static int transfer(struct fixture *x, bool is_write, const uint32_t *blocks, uint32_t nr)
{
	assert_int_equal(block_file_start(x->f, is_write, places, blocks, nr), 0);
	return run(x);
}

/* Return: runs of block @b that differ from what block @a was at first. */
static uint64_t differ(const struct fixture *x, uint32_t a, uint32_t b)
{
	const struct gpu_group *g = &x->l.group[0];
	uint64_t nr = 0;

	for (uint32_t l = 0; l < x->l.nr_layers; l++)
		for (uint32_t p = 0; x->l.layer[l].group == x->group && p < g->nr_parts; p++)
			for (uint32_t h = 0; h < g->nr_heads; h++)
				for (uint32_t t = 0; t < g->nr_tokens; t++) {
					const uint64_t at = x->l.layer[l].dev[p] + h * g->head_stride + t * g->token_stride;

					nr += memcmp(x->was + (at + a * g->block_stride - x->pool),
						     (char *)(uintptr_t)(at + b * g->block_stride), g->run_len) != 0;
				}
	return nr;
}

static void goes_there_and_back(const struct tier_ops *ops, const struct gpu_model *m, const char *dims)
{
	struct block_file_info i;
	struct cufile_counters n;
	struct fake_counters c;
	struct stat st;
	struct fixture x;

	begin(&x, m, dims);
	start(&x, ops);
	assert_int_equal(block_file_poll(x.f), 1);
	assert_int_equal(transfer(&x, true, from, NR), 1);
	memset((char *)(uintptr_t)x.pool, 0xee, x.pool_len);
	assert_int_equal(transfer(&x, false, to, NR), 1);
	for (uint32_t b = 0; b < NR; b++)
		assert_int_equal(differ(&x, from[b], to[b]), 0);
	assert_int_not_equal(differ(&x, 11, 11), 0);
	block_file_info(x.f, &i);
	assert_int_equal(i.in_blocks + i.out_blocks, 2 * NR);
	assert_int_equal(i.in_bytes, NR * block_file_stride(x.f));
	assert_int_equal(stat(x.path, &st), 0);
	assert_int_equal(st.st_size, 10 * block_file_stride(x.f));
	/* host memory is on the way of one of them only, and it is pinned */
	c = fake_cuda_counters(&x.c);
	x.fake->counters(&n);
	assert_int_equal(c.bytes[GPU_H2D], ops == &tier_file ? i.in_bytes : 0);
	assert_int_equal(c.pageable, 0);
	assert_int_equal(n.bytes, ops == &tier_file ? 0 : i.in_bytes + i.out_bytes);
	end(&x);
}

static void blocks_go_through_host_memory(void **state)
{
	(void)state;
	goes_there_and_back(&tier_file, &even, "L/BKHNC");
	goes_there_and_back(&tier_file, &even, "L/KBNHC");
	goes_there_and_back(&tier_file, &odd, "L/BNHC");
}

static void blocks_go_straight(void **state)
{
	(void)state;
	goes_there_and_back(&tier_cufile, &even, "L/BKHNC");
	goes_there_and_back(&tier_cufile, &odd, "L/BNHC");
}

static uint64_t launches_of(const struct stage_cost *cost)
{
	struct block_file_config cfg;
	uint64_t launches;
	struct fixture x;

	begin(&x, &even, "L/BKHNC");
	cfg = config(&x, &tier_cufile);
	cfg.cost = cost;
	assert_int_equal(block_file_open(&cfg, &x.f), 0);
	assert_int_equal(transfer(&x, true, from, NR), 1);
	launches = fake_cuda_counters(&x.c).launches;
	end(&x);
	return launches;
}

static void blocks_are_spread_by_the_costs_of_the_card(void **state)
{
	struct stage_cost c = stage_cost_default;

	(void)state;
	c.copy_ns = c.batch_ns = 1e6;
	assert_int_not_equal(launches_of(&c), 0);
	c = stage_cost_default;
	c.launch_ns = 1e6;
	assert_int_equal(launches_of(&c), 0);
}

/* A hybrid model: the last layer has blocks of its own, and a file of its own. */
static void a_file_holds_the_blocks_of_its_group(void **state)
{
	struct gpu_group *g;
	struct fixture x;

	(void)state;
	begin(&x, &even, "L/BKHNC");
	g = &x.l.group[0];
	g->arena_layer_stride = g->arena_part_stride = g->arena_head_stride = g->arena_token_stride = g->arena_len = 0;
	x.l.group[1] = *g;
	x.l.nr_groups = 2;
	x.l.layer[3].group = 1;
	gpu_layout_pack(&x.l);
	assert_int_equal(gpu_layout_check(&x.l, NULL), 0);
	x.group = 1;
	start(&x, &tier_cufile);
	assert_int_equal(block_file_stride(x.f), 4096);
	assert_int_equal(transfer(&x, true, from, NR), 1);
	assert_int_equal(transfer(&x, false, to, NR), 1);
	for (uint32_t b = 0; b < NR; b++)
		assert_int_equal(differ(&x, from[b], to[b]), 0);
	/* the other group's layers are as they were */
	x.group = 0;
	for (uint32_t b = 0; b < BLOCKS; b++)
		assert_int_equal(differ(&x, b, b), 0);
	end(&x);
}

/* The end comes in the middle of a block. */
static void a_file_that_ends_too_early_is_told(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 2; n++) {
		struct fixture x;

		begin(&x, &even, "L/BKHNC");
		start(&x, n ? &tier_cufile : &tier_file);
		assert_int_equal(transfer(&x, true, from, NR), 1);
		assert_int_equal(truncate(x.path, 8 * (off_t)block_file_stride(x.f) + 4096), 0);
		assert_int_equal(transfer(&x, false, to, NR), -ENODATA);
		/* of the others nothing is lost, and it can be used again */
		assert_int_equal(transfer(&x, false, to, 2), 1);
		assert_int_equal(differ(&x, from[0], to[0]) + differ(&x, from[1], to[1]), 0);
		end(&x);
	}
}

static void a_full_disk_is_told(void **state)
{
	struct block_file_config cfg;
	struct fixture x;

	(void)state;
	begin(&x, &even, "L/BKHNC");
	cfg = config(&x, &tier_file);
	cfg.path = "/dev/full";
	assert_int_equal(block_file_open(&cfg, &x.f), 0);
	assert_int_equal(transfer(&x, true, from, NR), -ENOSPC);
	assert_int_equal(block_file_close(x.f, soon()), 0);
	start(&x, &tier_cufile);
	assert_int_equal(x.fake->script("fail=cuFileWrite:3:28"), 0);
	assert_int_equal(transfer(&x, true, from, NR), -ENOSPC);
	assert_int_equal(transfer(&x, true, from, NR), 1);
	end(&x);
}

static void the_library_may_do_less_than_asked_and_fail(void **state)
{
	struct fixture x;

	(void)state;
	begin(&x, &even, "L/BKHNC");
	start(&x, &tier_cufile);
	assert_int_equal(x.fake->script("short=8192"), 0);
	assert_int_equal(transfer(&x, true, from, NR), 1);
	assert_int_equal(transfer(&x, false, to, NR), 1);
	for (uint32_t b = 0; b < NR; b++)
		assert_int_equal(differ(&x, from[b], to[b]), 0);
	assert_int_equal(x.fake->script("reset;fail=cuFileRead:2:5044"), 0);
	assert_int_equal(transfer(&x, false, to, NR), -EIO);
	assert_int_equal(transfer(&x, false, to, NR), 1);
	end(&x);
}

/* The device answers after it, so the next transfer goes through. */
static void a_refused_copy_fails_the_transfer_alone(void **state)
{
	/* out of a slice, and out of a slot */
	static const char *const rules[] = { "fail=cuMemcpyHtoDAsync:2:700", "fail=cuMemcpy2DAsync:2:700" };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
		struct fixture x;

		begin(&x, &even, "L/BKHNC");
		start(&x, &tier_file);
		assert_int_equal(transfer(&x, true, from, NR), 1);
		assert_int_equal(x.c.fake->script(rules[i]), 0);
		assert_int_equal(transfer(&x, false, to, NR), -EIO);
		assert_int_equal(x.c.fake->script("reset"), 0);
		assert_int_equal(transfer(&x, false, to, NR), 1);
		for (uint32_t b = 0; b < NR; b++)
			assert_int_equal(differ(&x, from[b], to[b]), 0);
		end(&x);
	}
}

static void memory_that_cannot_be_registered_is_mapped_each_time(void **state)
{
	struct cufile_counters n;
	struct fixture x;

	(void)state;
	begin(&x, &even, "L/BKHNC");
	assert_int_equal(x.fake->script("fail=cuFileBufRegister:1:5036"), 0);
	start(&x, &tier_cufile);
	assert_int_equal(transfer(&x, true, from, NR), 1);
	assert_int_equal(transfer(&x, false, to, NR), 1);
	assert_int_equal(differ(&x, from[0], to[0]), 0);
	x.fake->counters(&n);
	assert_true(n.unregistered > 0);
	assert_int_equal(x.fake->script("reset"), 0);
	end(&x);
}

static void what_cannot_be_is_refused(void **state)
{
	const uint64_t far = INT64_MAX;
	const uint32_t none = BLOCKS;
	struct block_file_config cfg;
	struct block_file *f;
	struct fixture x;

	(void)state;
	begin(&x, &even, "L/BKHNC");
	cfg = config(&x, &tier_file);
	cfg.is_write = false;
	assert_int_equal(block_file_open(&cfg, &f), -ENOENT);
	cfg.group = 1;
	assert_int_equal(block_file_open(&cfg, &f), -EINVAL);
	cfg = config(&x, &tier_cufile);
	assert_int_equal(x.fake->script("fail=cuFileHandleRegister:2:5008"), 0);
	assert_int_equal(block_file_open(&cfg, &f), -EOPNOTSUPP);
	assert_int_equal(x.c.fake->script("fail=cuMemAlloc:1:2"), 0);
	assert_int_equal(block_file_open(&cfg, &f), -ENOMEM);
	start(&x, &tier_file);
	assert_int_equal(block_file_start(x.f, false, places, &none, 1), -EINVAL);
	assert_int_equal(block_file_start(x.f, false, &far, to, 1), -EOVERFLOW);
	assert_int_equal(block_file_start(x.f, true, places, from, NR), 0);
	assert_int_equal(block_file_start(x.f, true, places, from, NR), -EBUSY);
	assert_int_equal(run(&x), 1);
	assert_int_equal(block_file_close(x.f, soon()), 0);
	cfg = config(&x, &tier_file);
	cfg.is_write = false;
	assert_int_equal(block_file_open(&cfg, &x.f), 0);
	assert_int_equal(block_file_start(x.f, true, places, from, NR), -EROFS);
	end(&x);
}

/* The k-th call of each kind is refused, for every k.  Return: how many there were. */
static unsigned each_refusal(const struct tier_ops *ops, const char *rule, bool is_library)
{
	struct block_file_config cfg;
	char text[96];
	struct fixture x;
	int ret;

	for (unsigned k = 1;; k++) {
		begin(&x, &even, "L/BKHNC");
		cfg = config(&x, ops);
		snprintf(text, sizeof(text), rule, k);
		assert_int_equal(is_library ? x.fake->script(text) : x.c.fake->script(text), 0);
		ret = block_file_open(&cfg, &x.f);
		/* nothing is left behind, or this fails */
		end(&x);
		if (ret == 0)
			return k - 1;
		assert_true(ret < 0);
	}
}

static void a_file_that_cannot_be_opened_leaves_nothing_behind(void **state)
{
	(void)state;
	assert_int_equal(each_refusal(&tier_file, "fail=cuMemAlloc:%u:2", false), 1);
	/* the stage's two, and one a lane */
	assert_int_equal(each_refusal(&tier_file, "fail=cuStreamCreateWithPriority:%u:2", false), 2 + SLOTS);
	assert_true(each_refusal(&tier_file, "fail=cuEventCreate:%u:2", false) > 2 * 4 * SLOTS);
	assert_int_equal(each_refusal(&tier_cufile, "fail=cuFileHandleRegister:%u:5025", true), SLOTS);
}

/* ---- what is left behind ------------------------------------------------------------------------------------- */

static void a_disk_that_does_not_answer_is_left_behind(void **state)
{
	static struct fixture x;
	struct cufile_counters n;
	uint64_t at;

	(void)state;
	begin(&x, &even, "L/BKHNC");
	start(&x, &tier_cufile);
	assert_int_equal(x.fake->script("delay=2000"), 0);
	assert_int_equal(block_file_start(x.f, false, places, to, NR), 0);
	assert_int_equal(block_file_poll(x.f), 0);
	do
		x.fake->counters(&n);
	while (!n.begun);
	at = clock_ns();
	assert_int_equal(block_file_close(x.f, at + 20000000), -ETIMEDOUT);
	assert_true(clock_ns() - at < 1500000000u);
	assert_int_equal(x.fake->script("reset"), 0);
	tmp_dir_destroy(&x.dir);
	free(x.was);
}

static void a_lost_device_ends_it_for_good(void **state)
{
	static struct fixture x;

	(void)state;
	begin(&x, &even, "L/BKHNC");
	start(&x, &tier_file);
	assert_int_equal(transfer(&x, true, from, NR), 1);
	assert_int_equal(x.c.fake->script("h2d=1e5"), 0);
	assert_int_equal(block_file_start(x.f, false, places, to, NR), 0);
	assert_int_equal(block_file_poll(x.f), 0);
	assert_int_equal(x.c.fake->script("lost=999"), 0);
	assert_int_equal(run(&x), -ENOTRECOVERABLE);
	assert_int_equal(block_file_poll(x.f), -ENOTRECOVERABLE);
	assert_int_equal(block_file_start(x.f, false, places, to, NR), -ENOTRECOVERABLE);
	assert_int_equal(block_file_close(x.f, soon()), -ENOTRECOVERABLE);
	tmp_dir_destroy(&x.dir);
	free(x.was);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_go_through_host_memory),
		cmocka_unit_test(blocks_go_straight),
		cmocka_unit_test(blocks_are_spread_by_the_costs_of_the_card),
		cmocka_unit_test(a_file_holds_the_blocks_of_its_group),
		cmocka_unit_test(a_file_that_ends_too_early_is_told),
		cmocka_unit_test(a_full_disk_is_told),
		cmocka_unit_test(the_library_may_do_less_than_asked_and_fail),
		cmocka_unit_test(a_refused_copy_fails_the_transfer_alone),
		cmocka_unit_test(memory_that_cannot_be_registered_is_mapped_each_time),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(a_file_that_cannot_be_opened_leaves_nothing_behind),
		cmocka_unit_test(a_disk_that_does_not_answer_is_left_behind),
		cmocka_unit_test(a_lost_device_ends_it_for_good),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
