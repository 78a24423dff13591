/* SPDX-License-Identifier: Apache-2.0 */
/* test_file.c - files of blocks through the library */
#include "gpu_fixture.h"

#include <kvshm/direct.h>

#include "tests/lib/fake_cufile.h"
#include "tests/lib/tmp_dir.h"

#define NR 5u

static const uint64_t places[NR] = { 2, 0, 1, 6, 3 };
static const uint32_t from[NR] = { 0, 1, 2, 3, 4 }, to[NR] = { 7, 6, 5, 3, 2 };

struct fx {
	struct gx x;
	const struct cufile_fake *fake;
	struct tmp_dir dir;
	char path[128], lib[512], *was;
	struct kvshm_file_options o;
	struct kvshm_file *f;
};

static void begin(struct fx *x, struct fake *f, const char *script)
{
	memset(x, 0, sizeof(*x));
	gx_begin(&x->x, f, &gx_model, "L/BKHNC", NULL);
	gx_open(&x->x);
	x->fake = fake_cufile_open();
	assert_int_equal(x->fake->script("reset"), 0);
	assert_int_equal(x->fake->script(script), 0);
	tmp_dir_create(&x->dir);
	snprintf(x->path, sizeof(x->path), "%s/blocks", x->dir.path);
	x->o = (struct kvshm_file_options){ .sz = sizeof(x->o), .flags = KVSHM_FILE_WRITE, .path = x->path,
					    .libcufile = fake_cufile_path(x->lib, sizeof(x->lib)), .timeout_ms = 2000 };
	x->was = malloc(x->x.pool_len);
	assert_non_null(x->was);
	memcpy(x->was, x->x.pool, x->x.pool_len);
}

static void end(struct fx *x)
{
	gx_end(&x->x);
	tmp_dir_destroy(&x->dir);
	free(x->was);
}

static struct kvshm_file_facts info(struct fx *x)
{
	struct kvshm_file_facts i = { .sz = sizeof(i) };

	assert_int_equal(kvshm_file_info(x->f, &i), 0);
	return i;
}

static uint64_t differ(const struct fx *x, uint32_t a, uint32_t b)
{
	const struct gpu_group *g = &x->x.l.group[0];
	uint64_t nr = 0;

	for (uint32_t l = 0; l < x->x.l.nr_layers; l++)
		for (uint32_t p = 0; p < g->nr_parts; p++) {
			const uint64_t at = x->x.l.layer[l].dev[p] - (uintptr_t)x->x.pool;

			for (uint64_t h = 0; h < g->nr_heads; h++)
				for (uint64_t t = 0; t < g->nr_tokens; t++)
					nr += memcmp(x->was + at + a * g->block_stride + h * g->head_stride + t * g->token_stride,
						     x->x.pool + at + b * g->block_stride + h * g->head_stride + t * g->token_stride,
						     g->run_len) != 0;
		}
	return nr;
}

static void there_and_back(struct fx *x)
{
	assert_int_equal(kvshm_file_open(x->x.g, &x->o, &x->f), 0);
	assert_int_equal(kvshm_file_wait(x->f, 0), 1);
	assert_int_equal(kvshm_file_save(x->f, places, from, NR), 0);
	assert_int_equal(kvshm_file_load(x->f, places, from, NR), -EBUSY);
	assert_int_equal(kvshm_file_wait(x->f, GX_US), 1);
	gx_fill(&x->x, 77);
	assert_int_equal(kvshm_file_load(x->f, places, to, NR), 0);
	assert_int_equal(kvshm_file_wait(x->f, GX_US), 1);
	for (unsigned i = 0; i < NR; i++)
		assert_int_equal(differ(x, from[i], to[i]), 0);
	assert_int_equal(info(x).in_blocks + info(x).out_blocks, 2 * NR);
	assert_int_equal(info(x).stride, FAKE_LEN);
}

static void a_file_goes_straight_where_it_can(void **state)
{
	struct fx x;

	begin(&x, *state, "nvfs=2");
	there_and_back(&x);
	assert_int_equal(info(&x).is_direct, 1);
	assert_string_equal(info(&x).how, "nvidia-fs 2.17");
	assert_string_equal(info(&x).why, "");
	assert_int_equal(kvshm_file_close(x.f), 0);
	end(&x);
}

static void blocks_are_spread_by_the_costs_of_the_side(void **state)
{
	struct fx x;

	begin(&x, *state, "nvfs=2");
	x.x.g->cost.copy_ns = x.x.g->cost.batch_ns = 1e6;
	there_and_back(&x);
	/* each block, in each direction */
	assert_int_equal(fake_cuda_counters(&x.x.c).launches, 2 * NR);
	assert_int_equal(kvshm_file_close(x.f), 0);
	end(&x);
}

/* Each reason, and the bytes arrive all the same. */
static void else_it_goes_through_host_memory(void **state)
{
	static const struct {
		const char *script, *why;
		uint32_t flags;
	} cases[] = {
		{ "nvfs=0", "compatibility mode", 0 },
		{ "fail=cuFileDriverOpen:1:5001", "nvidia-fs is not loaded", 0 },
		{ "fail=cuFileHandleRegister:1:5008", "does not serve this file system", 0 },
		{ "nvfs=2", "the caller wants it", KVSHM_FILE_BOUNCE },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fx x;

		begin(&x, *state, cases[i].script);
		x.o.flags |= cases[i].flags;
		there_and_back(&x);
		assert_int_equal(info(&x).is_direct, 0);
		assert_string_equal(info(&x).how, "");
		assert_non_null(strstr(info(&x).why, cases[i].why));
		/* with the side, not before it */
		end(&x);
	}
}

static void what_cannot_be_is_refused(void **state)
{
	const uint32_t none = GX_BLOCKS;
	struct fx x;

	begin(&x, *state, "nvfs=0");
	x.o.flags = KVSHM_FILE_WRITE | KVSHM_FILE_DIRECT;
	assert_int_equal(kvshm_file_open(x.x.g, &x.o, &x.f), -EOPNOTSUPP);
	x.o.flags = KVSHM_FILE_BOUNCE | KVSHM_FILE_DIRECT;
	assert_int_equal(kvshm_file_open(x.x.g, &x.o, &x.f), -EINVAL);
	x.o.flags = 0;
	assert_int_equal(kvshm_file_open(x.x.g, &x.o, &x.f), -ENOENT);
	x.o.group = 1;
	assert_int_equal(kvshm_file_open(x.x.g, &x.o, &x.f), -EINVAL);
	x.o.group = 0;
	x.o.nr_slots = 65;
	assert_int_equal(kvshm_file_open(x.x.g, &x.o, &x.f), -EINVAL);
	x.o.nr_slots = 1;
	x.o.flags = KVSHM_FILE_WRITE;
	x.o.sz--;
	assert_int_equal(kvshm_file_open(x.x.g, &x.o, &x.f), -EINVAL);
	x.o.sz += 2;
	assert_int_equal(kvshm_file_open(x.x.g, &x.o, &x.f), -EINVAL);
	assert_int_equal(kvshm_file_open(x.x.g, NULL, &x.f), -EINVAL);
	x.o.sz--;
	assert_int_equal(kvshm_file_open(x.x.g, &x.o, &x.f), 0);
	assert_int_equal(kvshm_file_load(x.f, places, &none, 1), -EINVAL);
	assert_int_equal(kvshm_file_load(x.f, places, to, NR), 0);
	assert_int_equal(kvshm_file_wait(x.f, GX_US), -ENODATA);
	assert_int_equal(kvshm_file_info(x.f, &(struct kvshm_file_facts){ .sz = 1 }), -EINVAL);
	end(&x);
}

static void a_disk_that_does_not_answer_is_left_behind(void **state)
{
	static struct fx x;
	struct cufile_counters n;

	begin(&x, *state, "delay=1500");
	x.o.timeout_ms = 20;
	assert_int_equal(kvshm_file_open(x.x.g, &x.o, &x.f), 0);
	assert_int_equal(kvshm_file_load(x.f, places, to, NR), 0);
	do {
		assert_int_equal(kvshm_file_wait(x.f, 1000), 0);
		x.fake->counters(&n);
	} while (!n.begun);
	assert_int_equal(kvshm_file_close(x.f), -ETIMEDOUT);
	/* and so is the side that it reads into */
	assert_int_equal(kvshm_gpu_close(x.x.g), -ETIMEDOUT);
	kvshm_close(x.x.k);
	tmp_dir_destroy(&x.dir);
	free(x.was);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_file_goes_straight_where_it_can, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(blocks_are_spread_by_the_costs_of_the_side, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(else_it_goes_through_host_memory, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_is_refused, fake_setup, fake_teardown),
		/* what it leaves behind stays */
		cmocka_unit_test_setup_teardown(a_disk_that_does_not_answer_is_left_behind, fake_setup, fake_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
