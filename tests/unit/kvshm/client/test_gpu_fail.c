/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes wrong on the device, by script: the result is the documented one, and no pin or grant ends before the
 * device is done with the memory.
 */
#include "gpu_fixture.h"

#include "gpu/stage_priv.h"

static void put_chain(struct gx *x, uint32_t chain)
{
	struct kvshm_completion done;
	struct gx_chain c;
	struct kvshm_stage *s = gx_save(x, &c, chain, 0);

	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, GX_US), 1);
	kvshm_stage_end(s);
	assert_int_equal(kvshm_poll(x->k, &done, 1, GX_US), 1);
	assert_int_equal(done.res, GX_NR);
}

static void begin(struct gx *x, struct fake *f)
{
	gx_begin(x, f, &gx_model, "L/BKHNC", NULL);
	gx_open(x);
	put_chain(x, 1);
	put_chain(x, 2);
}

static void script(struct gx *x, const char *text)
{
	assert_int_equal(x->c.fake->script(text), 0);
}

static uint64_t landed(struct gx *x, enum gpu_dir dir)
{
	return fake_cuda_counters(&x->c).landed[dir];
}

static void a_refused_third_copy_keeps_the_pin_until_two_have_landed(void **state)
{
	struct kvshm_stage *s;
	struct gx_chain c;
	uint64_t before;
	struct gx x;

	begin(&x, *state);
	before = landed(&x, GPU_H2D);
	script(&x, GX_SLOW ";fail=cuMemcpyHtoDAsync:3:700;fail=cuMemcpy2DAsync:3:700;fail=cuMemcpyBatchAsync:3:700");
	s = gx_load(&x, &c, 1, 1);
	assert_int_equal(kvshm_stage_wait(s, 3, GX_US), -ENOTRECOVERABLE);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, 0), -ENOTRECOVERABLE);
	assert_int_equal(kvshm_stage_is_over(s), 0);
	while (gx_pins_held(&x))
		kvshm_gpu_poll(x.g);
	assert_int_equal(landed(&x, GPU_H2D), fake_cuda_counters(&x.c).copies[GPU_H2D]);
	assert_true(landed(&x, GPU_H2D) > before);
	assert_int_equal(kvshm_stage_is_over(s), 1);
	assert_int_equal(gx_info(&x).failed, 1);
	kvshm_stage_end(s);
	/* the device answers, so it is used again */
	script(&x, "reset");
	s = gx_load(&x, &c, 2, 1);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, GX_US), 1);
	kvshm_stage_end(s);
	gx_end(&x);
}

static void a_refused_third_copy_of_a_save_returns_the_blocks(void **state)
{
	struct kvshm_completion done;
	struct kvshm_stage *s;
	struct fake *f = *state;
	struct gx_chain c;
	struct gx x;

	begin(&x, f);
	script(&x, GX_SLOW ";fail=cuMemcpyDtoHAsync:3:1;fail=cuMemcpy2DAsync:3:1;fail=cuMemcpyBatchAsync:3:1");
	s = gx_save(&x, &c, 5, 1);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, 0), -EINVAL);
	assert_int_equal(x.k->cur->nr_out, GX_NR);
	while (!kvshm_stage_is_over(s))
		assert_int_equal(x.k->cur->nr_out, GX_NR);
	assert_int_equal(fake_cuda_counters(&x.c).landed[GPU_D2H], fake_cuda_counters(&x.c).copies[GPU_D2H]);
	assert_int_equal(x.k->cur->nr_out, 0);
	kvshm_stage_end(s);
	assert_int_equal(kvshm_sync(x.k), 0);
	assert_int_equal(READ_ONCE(f->nr_returned), GX_NR);
	assert_int_equal(kvshm_poll(x.k, &done, 1, 0), 0);
	assert_int_equal(kvshm_acquire(x.k, x.ns[0], c.keys, GX_NR, &c.pin), 0);
	gx_end(&x);
}

static void a_cancelled_load_keeps_its_pin_until_it_has_landed(void **state)
{
	struct kvshm_stage *s;
	struct gx_chain c;
	struct gx x;

	begin(&x, *state);
	script(&x, GX_SLOW);
	s = gx_load(&x, &c, 1, 1);
	assert_int_equal(kvshm_stage_cancel(s), 0);
	assert_int_equal(kvshm_stage_wait(s, 3, 0), -ECANCELED);
	assert_int_equal(gx_pins_held(&x), 1);
	kvshm_stage_end(s);
	while (gx_pins_held(&x))
		kvshm_gpu_poll(x.g);
	assert_int_equal(fake_cuda_counters(&x.c).landed[GPU_H2D], fake_cuda_counters(&x.c).copies[GPU_H2D]);
	assert_int_equal(gx_info(&x).cancelled, 1);
	/* a job that was ended early is there again */
	for (unsigned i = 0; i < 4; i++) {
		s = gx_load(&x, &c, 2, 0);
		kvshm_stage_end(s);
	}
	while (gx_pins_held(&x))
		kvshm_gpu_poll(x.g);
	gx_end(&x);
}

static void a_refused_registration_costs_time_only(void **state)
{
	struct kvshm_stage *s;
	struct gx_chain c;
	struct gx x;

	gx_begin(&x, *state, &gx_model, "L/BKHNC", "fail=cuMemHostRegister:0:801");
	gx_open(&x);
	assert_int_equal(gx_info(&x).nr_pinned, 0);
	assert_true(gx_info(&x).why[0]);
	put_chain(&x, 1);
	gx_fill(&x, 50);
	s = gx_load(&x, &c, 1, 1);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, GX_US), 1);
	for (unsigned i = 0; i < GX_NR; i++)
		assert_int_equal(gx_differ(&x, 0, gx_to[i], c.blocks[i].ptr, 16), 0);
	assert_int_equal(gx_info(&x).bounced_bytes, 2 * GX_NR * FAKE_LEN);
	kvshm_stage_end(s);
	gx_end(&x);
}

/* The test's process goes on where a real one would end: driver and library are made whole by hand. */
struct left {
	struct kvshm_gpu *g;
	struct attachment *a;
	int pin_fd;
};

static void left_take(struct left *l, struct gx *x)
{
	l->g = x->g;
	l->a = x->k->cur;
	l->pin_fd = dup(x->f->pin_fd);
	assert_true(l->pin_fd >= 0);
}

static void left_end(struct left *l, struct gx *x)
{
	script(x, "reset");
	stage_free(l->g->stage);
	assert_int_equal(gpu_mem_free(l->g, clock_ns() + FAKE_SOON_NS), 0);
	assert_int_equal(gpu_buffer_free(l->g, clock_ns() + FAKE_SOON_NS), 0);
	gpu_ctx_close(&l->g->ctx);
	for (uint32_t i = 0; i < l->g->max_jobs; i++) {
		free(l->g->job[i].pins);
		free(l->g->job[i].keys);
		free(l->g->job[i].blocks);
	}
	free(l->g->items);
	free(l->g->src);
	cuda_unload(&l->g->cu);
	free(l->g);
	l->a->is_left = false;
	attachment_free(l->a, true);
	close(l->pin_fd);
	gx_free_pool(x);
	fake_cuda_stop(&x->c);
}

/* Pin words in the file, as the daemon would scan it; *ret_state: OPEN or CLOSED. */
static unsigned words_in_file(const struct left *l, uint32_t *ret_state)
{
	uint64_t words[64];
	unsigned nr = 0;

	assert_int_equal(pread(l->pin_fd, words, sizeof(words), 0), sizeof(words));
	for (unsigned i = 1; i < 64; i++)
		nr += words[i] != 0;
	*ret_state = (uint32_t)words[0];
	return nr;
}

static void a_lost_device_holds_pins_and_blocks_until_the_process_ends(void **state)
{
	struct kvshm_stage *in, *out, *more = NULL;
	struct kvshm_stage_load again;
	struct gx_chain a, b, c;
	uint32_t file_state;
	struct left l;
	struct gx x;

	begin(&x, *state);
	left_take(&l, &x);
	script(&x, GX_SLOW);
	in = gx_load(&x, &a, 1, 1);
	out = gx_save(&x, &b, 6, 1);
	script(&x, "lost=999");
	assert_int_equal(kvshm_stage_wait(in, KVSHM_STAGE_ALL, GX_US), -ENOTRECOVERABLE);
	assert_int_equal(kvshm_stage_wait(out, KVSHM_STAGE_ALL, GX_US), -ENOTRECOVERABLE);
	assert_int_equal(kvshm_stage_is_over(in), -ENOTRECOVERABLE);
	assert_int_equal(kvshm_gpu_poll(x.g), -ENOTRECOVERABLE);
	assert_int_equal(gx_info(&x).held_jobs, 2);
	assert_int_equal(x.k->cc[KVSHM_CC_GPU_HELD], 2);
	/* host memory is read as before, the device is not used again */
	again = gx_load_of(&x, &c, 2);
	assert_int_equal(kvshm_stage_in(x.g, &again, NULL, &more), -ENOTRECOVERABLE);
	assert_true(c.pin.slot);
	kvshm_release(x.k, &c.pin);
	kvshm_stage_end(in);
	kvshm_stage_end(out);
	assert_int_equal(gx_pins_held(&x), 1);
	assert_int_equal(x.k->cur->nr_out, GX_NR);
	assert_int_equal(kvshm_gpu_close(x.g), -ENOTRECOVERABLE);
	assert_int_equal(gx_pins_held(&x), 1);
	kvshm_close(x.k);
	assert_int_equal(words_in_file(&l, &file_state), 1);
	assert_int_equal(file_state, KVSHM_PINFILE_OPEN);
	left_end(&l, &x);
}

static void a_copy_that_does_not_land_holds_its_pin(void **state)
{
	struct kvshm_stage *s;
	uint32_t file_state;
	struct gx_chain c;
	struct left l;
	struct gx x;

	begin(&x, *state);
	left_take(&l, &x);
	script(&x, GX_SLOW ";land=3:700");
	s = gx_load(&x, &c, 1, 1);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, GX_US), -ENOTRECOVERABLE);
	assert_int_equal(gx_pins_held(&x), 1);
	/* without a close of the side first */
	kvshm_close(x.k);
	assert_int_equal(words_in_file(&l, &file_state), 1);
	assert_int_equal(file_state, KVSHM_PINFILE_OPEN);
	left_end(&l, &x);
}

static void a_hang_ends_every_wait_and_holds_the_pin(void **state)
{
	struct kvshm_stage *s;
	uint32_t file_state;
	struct gx_chain c;
	uint64_t start;
	struct left l;
	struct gx x;

	gx_begin(&x, *state, &gx_model, "L/BKHNC", NULL);
	x.o.timeout_ms = 50;
	gx_open(&x);
	put_chain(&x, 1);
	left_take(&l, &x);
	script(&x, "hang=1");
	s = gx_load(&x, &c, 1, 1);
	assert_int_equal(kvshm_stage_wait(s, 0, 20000), 0);
	assert_int_equal(kvshm_stage_cancel(s), 0);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, 0), -ECANCELED);
	assert_int_equal(kvshm_stage_is_over(s), 0);
	kvshm_stage_end(s);
	assert_int_equal(gx_pins_held(&x), 1);
	start = clock_ns();
	assert_int_equal(kvshm_gpu_close(x.g), -ETIMEDOUT);
	assert_true(clock_ns() - start < 2000000000u);
	kvshm_close(x.k);
	assert_int_equal(words_in_file(&l, &file_state), 1);
	assert_int_equal(file_state, KVSHM_PINFILE_OPEN);
	left_end(&l, &x);
}

/* ---- the daemon's death ------------------------------------------------------------------------------ */

static void a_dead_daemon_costs_the_save_and_not_the_load(void **state)
{
	struct fake *f = *state;
	struct kvshm_completion done;
	struct kvshm_stage *in, *out;
	struct gx_chain a, b;
	struct gx x;

	begin(&x, f);
	script(&x, GX_SLOW);
	out = gx_save(&x, &b, 6, 0);
	fake_die(f);
	fake_hang_up(f);
	unlink(f->path);
	in = gx_load(&x, &a, 1, 1);
	assert_int_equal(kvshm_stage_wait(in, KVSHM_STAGE_ALL, GX_US), 1);
	for (unsigned i = 0; i < GX_NR; i++)
		assert_int_equal(gx_differ(&x, 0, gx_to[i], a.blocks[i].ptr, 16), 0);
	/* landed; whether the commit found the daemon dead, or left for it and was lost, kvshm_poll() tells */
	assert_int_not_equal(kvshm_stage_wait(out, KVSHM_STAGE_ALL, GX_US), 0);
	assert_int_equal(kvshm_poll(x.k, &done, 1, GX_US), -ECONNRESET);
	kvshm_stage_end(in);
	kvshm_stage_end(out);
	gx_end(&x);
	WRITE_ONCE(f->is_quitting, 0);
	fake_start(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_refused_third_copy_keeps_the_pin_until_two_have_landed, fake_setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(a_refused_third_copy_of_a_save_returns_the_blocks, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(a_cancelled_load_keeps_its_pin_until_it_has_landed, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(a_refused_registration_costs_time_only, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(a_lost_device_holds_pins_and_blocks_until_the_process_ends, fake_setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(a_copy_that_does_not_land_holds_its_pin, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(a_hang_ends_every_wait_and_holds_the_pin, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(a_dead_daemon_costs_the_save_and_not_the_load, fake_setup, fake_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
