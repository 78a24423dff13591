/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu_fixture.h"

#include <sys/wait.h>

#include "gpu/stage_word.h"

static void check_save(struct gx *x, struct gx_chain *c, uint32_t chain)
{
	struct kvshm_completion done;

	assert_int_equal(kvshm_poll(x->k, &done, 1, GX_US), 1);
	assert_int_equal(done.user_data, chain);
	assert_int_equal(done.res, GX_NR);
	gx_load_of(x, c, chain);
	for (unsigned i = 0; i < GX_NR; i++)
		assert_int_equal(gx_differ(x, 0, gx_from[i], c->blocks[i].ptr, x->l.group[0].nr_tokens), 0);
	kvshm_release(x->k, &c->pin);
}

static void check_load(struct gx *x, struct gx_chain *c)
{
	for (unsigned i = 0; i < GX_NR; i++)
		assert_int_equal(gx_differ(x, 0, gx_to[i], c->blocks[i].ptr, x->l.group[0].nr_tokens), 0);
}

static void there_and_back(struct gx *x, uint32_t chain, uint32_t per_step)
{
	struct kvshm_stage *s;
	struct gx_chain c;

	s = gx_save(x, &c, chain, per_step);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, GX_US), 1);
	kvshm_stage_end(s);
	check_save(x, &c, chain);
	gx_fill(x, 99);
	s = gx_load(x, &c, chain, per_step);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, GX_US), 1);
	check_load(x, &c);
	assert_int_equal(gx_pins_held(x), 0);
	kvshm_stage_end(s);
}

static void every_layout_goes_to_the_cache_and_back(void **state)
{
	static const char *const names[] = { "hnd", "nhd", "lbhnc", "blhnc", "mla" };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		const struct gpu_model *m = strcmp(names[i], "mla") ? &gx_model : &gx_latent;
		struct gx x;

		gx_begin(&x, *state, m, gpu_order_find(names[i])->dims, NULL);
		gx_open(&x);
		there_and_back(&x, 100 + i, 1);
		there_and_back(&x, 200 + i, 0);
		assert_int_equal(gx_info(&x).in_blocks, 2 * GX_NR);
		assert_int_equal(gx_info(&x).out_bytes, 2 * GX_NR * FAKE_LEN);
		assert_int_equal(gx_info(&x).bounced_bytes, 0);
		assert_int_equal(gx_info(&x).is_simulated, 1);
		assert_int_equal(x.k->cc[KVSHM_CC_GPU_IN_BLOCKS], 2 * GX_NR);
		assert_int_equal(x.k->cc[KVSHM_CC_GPU_OUT_BYTES], 2 * GX_NR * FAKE_LEN);
		gx_end(&x);
	}
}

/* Layers 0 and 2 of one kind, 1 and 3 of another, each with a namespace. */
static void hybrid_begin(struct gx *x, struct fake *f)
{
	struct kvshm_ns_desc d = fake_desc(9);
	struct gpu_layout *l = &x->l;

	memset(x, 0, sizeof(*x));
	x->f = f;
	fake_cuda_start(&x->c, NULL);
	gx_pool(x, 4 * GX_BLOCKS * FAKE_LEN / 2);
	l->nr_groups = 2;
	l->nr_layers = 4;
	/* K and V apart, 8 heads of 128 bytes; and a state of 32 KiB a layer */
	l->group[0] = (struct gpu_group){ .nr_blocks = GX_BLOCKS, .nr_tokens = 16, .nr_heads = 8, .nr_parts = 2,
					  .run_len = 128, .block_stride = 16384, .head_stride = 128, .token_stride = 1024 };
	l->group[1] = (struct gpu_group){ .nr_blocks = GX_BLOCKS, .nr_tokens = 16, .nr_heads = 1, .nr_parts = 1,
					  .run_len = 2048, .block_stride = 32768, .head_stride = 32768, .token_stride = 2048 };
	for (unsigned i = 0; i < 4; i++) {
		uint64_t at = (uintptr_t)x->pool + i * GX_BLOCKS * 32768;

		l->layer[i] = (struct gpu_layer){ .dev = { at, i % 2 ? 0 : at + GX_BLOCKS * 16384 }, .group = i % 2 };
	}
	gpu_layout_pack(l);
	assert_int_equal(gpu_layout_check(l, NULL), 0);
	gx_options(x);
	gx_fill(x, 1);
	x->k = fake_open(f, 0);
	x->ns[0] = fake_attach_ns(x->k);
	assert_int_equal(kvshm_attach_ns(x->k, &d, &x->ns[1]), 0);
}

static void groups_of_a_hybrid_model_go_in_one_job(void **state)
{
	struct kvshm_stage_save v[2] = { 0 };
	struct kvshm_stage_load l[2] = { 0 };
	struct kvshm_completion done[2];
	struct kvshm_stage *s;
	struct gx_chain c[2];
	uint32_t len;
	struct gx x;

	hybrid_begin(&x, *state);
	for (unsigned g = 0; g < 2; g++) {
		assert_int_equal(kvshm_gpu_block_len(&x.o, g, &len), 0);
		assert_int_equal(len, FAKE_LEN);
	}
	gx_open(&x);
	for (unsigned g = 0; g < 2; g++) {
		fake_keys(c[g].keys, GX_NR, 70 + g);
		assert_int_equal(kvshm_grant(x.k, x.ns[g], 0, GX_NR, c[g].blocks, GX_US), GX_NR);
		v[g] = (struct kvshm_stage_save){ .ns = x.ns[g], .keys = c[g].keys, .blocks = c[g].blocks,
						  .engine_blocks = gx_from, .nr = GX_NR - g, .user_data = g };
	}
	kvshm_return(x.k, &c[1].blocks[2], 1);
	assert_int_equal(kvshm_stage_out(x.g, v, NULL, NULL), 0);
	while (kvshm_gpu_poll(x.g) > 0)
		;
	assert_int_equal(kvshm_poll(x.k, done, 1, GX_US), 1);
	assert_int_equal(kvshm_poll(x.k, done, 1, GX_US), 1);
	for (unsigned g = 0; g < 2; g++) {
		int nr = (int)GX_NR - (int)g;

		assert_int_equal(kvshm_acquire(x.k, x.ns[g], c[g].keys, GX_NR, &c[g].pin), nr);
		assert_int_equal(kvshm_resolve(x.k, &c[g].pin, c[g].keys, c[g].blocks), nr);
		for (int i = 0; i < nr; i++)
			assert_int_equal(gx_differ(&x, g, gx_from[i], c[g].blocks[i].ptr, 16), 0);
		l[g] = (struct kvshm_stage_load){ .blocks = c[g].blocks, .engine_blocks = gx_to, .nr = (unsigned)nr,
						  .nr_pins = 1, .pins = &c[g].pin };
	}
	gx_fill(&x, 5);
	assert_int_equal(kvshm_stage_in(x.g, l, NULL, &s), 0);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, GX_US), 1);
	for (unsigned g = 0; g < 2; g++)
		for (unsigned i = 0; i < GX_NR - g; i++)
			assert_int_equal(gx_differ(&x, g, gx_to[i], c[g].blocks[i].ptr, 16), 0);
	kvshm_stage_end(s);
	gx_end(&x);
}

static void a_block_that_is_not_full_goes_as_far_as_its_tokens(void **state)
{
	struct kvshm_stage_save v;
	struct kvshm_stage_load l;
	struct kvshm_completion done;
	struct kvshm_stage *s;
	struct gx_chain c;
	struct gx x;

	gx_begin(&x, *state, &gx_model, "L/BKHNC", NULL);
	gx_open(&x);
	v = gx_save_of(&x, &c, 31);
	c.blocks[2].tokens = 5;
	assert_int_equal(kvshm_stage_out(x.g, &v, NULL, &s), 0);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, GX_US), 1);
	kvshm_stage_end(s);
	assert_int_equal(kvshm_poll(x.k, &done, 1, GX_US), 1);
	gx_fill(&x, 3);
	l = gx_load_of(&x, &c, 31);
	assert_int_equal(c.blocks[2].tokens, 5);
	assert_int_equal(kvshm_stage_in(x.g, &l, NULL, &s), 0);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, GX_US), 1);
	assert_int_equal(gx_differ(&x, 0, gx_to[1], c.blocks[1].ptr, 16), 0);
	assert_int_equal(gx_differ(&x, 0, gx_to[2], c.blocks[2].ptr, 5), 0);
	assert_true(gx_differ(&x, 0, gx_to[2], c.blocks[2].ptr, 6) > 0);
	kvshm_stage_end(s);
	gx_end(&x);
}

static void a_layer_is_there_before_the_others(void **state)
{
	struct kvshm_stage_desc d = { .sz = sizeof(d), .layers_per_step = 1, .ticket = 12 };
	struct kvshm_stage_facts info = { .sz = sizeof(info) };
	struct kvshm_stage_load l;
	uint64_t word[4] = { 0 };
	struct kvshm_stage *s;
	struct gx_chain c;
	struct gx x;

	gx_begin(&x, *state, &gx_model, "L/BKHNC", NULL);
	gx_open(&x);
	there_and_back(&x, 8, 1);
	assert_int_equal(x.c.fake->script(GX_SLOW), 0);
	l = gx_load_of(&x, &c, 8);
	d.word = word;
	assert_int_equal(kvshm_stage_in(x.g, &l, &d, &s), 0);
	assert_int_equal(kvshm_stage_wait(s, 0, 0), 0);
	assert_int_equal(kvshm_stage_wait(s, 0, GX_US), 1);
	assert_int_equal(kvshm_stage_word(&word[0], 12), 1);
	assert_int_equal(kvshm_stage_word(&word[3], 12), 0);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, 0), 0);
	assert_int_equal(gx_pins_held(&x), 1);
	assert_int_equal(kvshm_stage_block(s, 3, NULL), 0);
	assert_int_equal(kvshm_stage_wait(s, 3, GX_US), 1);
	assert_int_equal(kvshm_stage_word(&word[3], 12), 1);
	assert_int_equal(gx_pins_held(&x), 0);
	assert_int_equal(kvshm_stage_info(s, &info), 0);
	assert_int_equal(info.nr_steps, 4);
	assert_int_equal(info.bytes, GX_NR * FAKE_LEN);
	kvshm_stage_end(s);
	gx_end(&x);
}

static void what_is_kept_stays_the_callers(void **state)
{
	struct kvshm_stage_desc d = { .sz = sizeof(d), .flags = KVSHM_STAGE_KEEP, .nr_layers = 2 };
	struct kvshm_stage_load l;
	struct kvshm_stage_save v;
	struct kvshm_completion done;
	struct kvshm_stage *s[2];
	struct gx_chain c;
	struct gx x;

	gx_begin(&x, *state, &gx_model, "L/BKHNC", NULL);
	gx_open(&x);
	/* layer by layer, as a forward pass makes them; one commit */
	v = gx_save_of(&x, &c, 61);
	v.keys = NULL;
	assert_int_equal(kvshm_stage_out(x.g, &v, &d, &s[0]), 0);
	d.first_layer = 2;
	assert_int_equal(kvshm_stage_out(x.g, &v, &d, &s[1]), 0);
	assert_int_equal(kvshm_stage_wait(s[1], KVSHM_STAGE_ALL, GX_US), 1);
	assert_int_equal(kvshm_stage_is_over(s[0]), 1);
	kvshm_stage_end(s[0]);
	kvshm_stage_end(s[1]);
	assert_int_equal(kvshm_commit(x.k, x.ns[0], NULL, c.keys, c.blocks, GX_NR, 0, 61), 0);
	check_save(&x, &c, 61);
	d = (struct kvshm_stage_desc){ .sz = sizeof(d), .flags = KVSHM_STAGE_KEEP };
	l = gx_load_of(&x, &c, 61);
	assert_int_equal(kvshm_stage_in(x.g, &l, &d, &s[0]), 0);
	assert_int_equal(kvshm_stage_wait(s[0], KVSHM_STAGE_ALL, GX_US), 1);
	assert_int_equal(gx_pins_held(&x), 1);
	kvshm_stage_end(s[0]);
	kvshm_release(x.k, &c.pin);
	assert_int_equal(gx_pins_held(&x), 0);
	(void)done;
	gx_end(&x);
}

/* ---- who may not pin -------------------------------------------------------------------------------- */

static void an_untrusted_client_loads_and_saves_by_slices(void **state)
{
	struct kvshm_stage_save v = { .nr = GX_NR, .engine_blocks = gx_from, .user_data = 44 };
	struct kvshm_stage *s;
	struct gx_chain c;
	struct fake *f = *state;
	struct gx x;

	f->is_untrusted = 1;
	gx_begin(&x, f, &gx_model, "L/BKHNC", NULL);
	gx_open(&x);
	assert_int_equal(gx_info(&x).nr_refused, gx_info(&x).nr_extents);
	assert_true(gx_info(&x).why[0]);
	fake_keys(c.keys, GX_NR, 44);
	v.ns = x.ns[0];
	v.keys = c.keys;
	assert_int_equal(kvshm_stage_out(x.g, &v, NULL, &s), 0);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, GX_US), 1);
	kvshm_stage_end(s);
	check_save(&x, &c, 44);
	gx_fill(&x, 3);
	s = gx_load(&x, &c, 44, 1);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, GX_US), 1);
	check_load(&x, &c);
	/* the load at least: the buffer of the save may have been pinned by then */
	assert_true(gx_info(&x).bounced_bytes >= GX_NR * FAKE_LEN);
	assert_int_equal(fake_cuda_counters(&x.c).pageable, 0);
	assert_int_equal(x.g->buffer.nr_free, x.g->buffer.nr);
	kvshm_stage_end(s);
	gx_end(&x);
}

static void a_full_buffer_is_busy(void **state)
{
	struct kvshm_stage_save v = { .nr = GX_NR, .engine_blocks = gx_from };
	struct kvshm_stage *s;
	struct gx_chain c;
	struct gx x;

	gx_begin(&x, *state, &gx_model, "L/BKHNC", GX_SLOW);
	x.o.bounce_len = 4 * FAKE_LEN;
	gx_open(&x);
	fake_keys(c.keys, GX_NR, 45);
	v.ns = x.ns[0];
	v.keys = c.keys;
	assert_int_equal(kvshm_stage_out(x.g, &v, NULL, &s), 0);
	assert_int_equal(kvshm_stage_out(x.g, &v, NULL, NULL), -EBUSY);
	assert_int_equal(x.g->buffer.nr_free, 1);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, GX_US), 1);
	assert_int_equal(x.g->buffer.nr_free, 4);
	kvshm_stage_end(s);
	gx_end(&x);
}

/* ---- opening ------------------------------------------------------------------------------------------ */

static void what_is_no_gpu_side_is_refused(void **state)
{
	struct kvshm_gpu *g = NULL;
	struct kvshm_gpu_options o;
	struct gx x;
	uint32_t len = 7;

	gx_begin(&x, *state, &gx_model, "L/BKHNC", NULL);
	o = x.o;
	o.libcuda = "/nowhere/libcuda.so.1";
	assert_int_equal(kvshm_gpu_open(x.k, &o, &g), -ENOENT);
	o = x.o;
	o.device = 3;
	assert_int_equal(kvshm_gpu_open(x.k, &o, &g), -ENODEV);
	o = x.o;
	o.flags = 0x80;
	assert_int_equal(kvshm_gpu_open(x.k, &o, &g), -EINVAL);
	o = x.o;
	o.sz += 8;
	assert_int_equal(kvshm_gpu_open(x.k, &o, &g), -EINVAL);
	o.sz = offsetof(struct kvshm_gpu_options, max_jobs) - 1;
	assert_int_equal(kvshm_gpu_open(x.k, &o, &g), -EINVAL);
	assert_int_equal(kvshm_gpu_open(x.k, NULL, &g), -EINVAL);
	o = x.o;
	x.group[0].block_stride = 8;
	assert_int_equal(kvshm_gpu_open(x.k, &o, &g), -EINVAL);
	assert_int_equal(kvshm_gpu_block_len(&o, 0, &len), -EINVAL);
	assert_int_equal(len, 7);
	assert_null(g);
	assert_null(x.k->gpu);
	gx_end(&x);
}

static void the_current_context_names_the_device(void **state)
{
	struct gx x;

	gx_begin(&x, *state, &gx_model, "L/BKHNC", NULL);
	x.o.flags = KVSHM_GPU_CURRENT;
	assert_int_equal(kvshm_gpu_open(x.k, &x.o, &x.g), -ENODEV);
	assert_int_equal(gpu_ctx_enter(&x.c.ctx), 0);
	gx_open(&x);
	gpu_ctx_leave(&x.c.ctx);
	there_and_back(&x, 3, 1);
	gx_end(&x);
}

static void what_cannot_be_loaded_is_refused_and_keeps_its_pin(void **state)
{
	uint32_t bad[GX_NR] = { 0, 1, GX_BLOCKS };
	struct kvshm_stage_desc d = { .sz = sizeof(d) };
	struct kvshm_stage_load l, m;
	struct kvshm_stage *s = NULL;
	struct gx_chain c;
	struct gx x;

	gx_begin(&x, *state, &gx_model, "L/BKHNC", NULL);
	gx_open(&x);
	there_and_back(&x, 1, 1);
	l = gx_load_of(&x, &c, 1);
	m = l;
	m.engine_blocks = bad;
	assert_int_equal(kvshm_stage_in(x.g, &m, NULL, &s), -EINVAL);
	m = l;
	m.nr_pins = 0;
	assert_int_equal(kvshm_stage_in(x.g, &m, NULL, &s), -EINVAL);
	d.flags = 0x100;
	assert_int_equal(kvshm_stage_in(x.g, &l, &d, &s), -EINVAL);
	d.flags = 0;
	d.first_layer = 4;
	assert_int_equal(kvshm_stage_in(x.g, &l, &d, &s), -EINVAL);
	d.first_layer = 0;
	d.ticket = 1ull << 63;
	assert_int_equal(kvshm_stage_in(x.g, &l, &d, &s), -EINVAL);
	c.blocks[1].tokens = 17;
	assert_int_equal(kvshm_stage_in(x.g, &l, NULL, &s), -EINVAL);
	c.blocks[1].tokens = 16;
	c.blocks[1].length--;
	assert_int_equal(kvshm_stage_in(x.g, &l, NULL, &s), -EINVAL);
	c.blocks[1].length++;
	assert_null(s);
	assert_true(c.pin.slot);
	assert_int_equal(gx_pins_held(&x), 1);
	kvshm_release(x.k, &c.pin);
	assert_int_equal(kvshm_stage_in(x.g, &l, NULL, &s), -EINVAL);
	gx_end(&x);
}

static void a_forked_child_has_no_gpu_side(void **state)
{
	struct kvshm_stage *s;
	struct gx_chain c;
	struct gx x;
	int status;
	pid_t pid;

	gx_begin(&x, *state, &gx_model, "L/BKHNC", NULL);
	gx_open(&x);
	s = gx_save(&x, &c, 9, 1);
	pid = fork();
	if (pid == 0)
		_exit(kvshm_gpu_poll(x.g) != -EOWNERDEAD || kvshm_stage_wait(s, 0, 10) != -EOWNERDEAD ||
		      kvshm_gpu_close(x.g) != -EOWNERDEAD);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, GX_US), 1);
	kvshm_stage_end(s);
	gx_end(&x);
}

static void closing_the_handle_lands_and_commits_what_is_on_its_way(void **state)
{
	struct fake *f = *state;
	struct gx_chain c;
	struct gx x;

	gx_begin(&x, f, &gx_model, "L/BKHNC", GX_SLOW);
	gx_open(&x);
	gx_save(&x, &c, 17, 1);
	kvshm_close(x.k);
	x.k = fake_open(f, 0);
	x.ns[0] = fake_attach_ns(x.k);
	gx_load_of(&x, &c, 17);
	for (unsigned i = 0; i < GX_NR; i++)
		assert_int_equal(gx_differ(&x, 0, gx_from[i], c.blocks[i].ptr, 16), 0);
	gx_end(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_layout_goes_to_the_cache_and_back, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(groups_of_a_hybrid_model_go_in_one_job, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(a_block_that_is_not_full_goes_as_far_as_its_tokens, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(a_layer_is_there_before_the_others, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(what_is_kept_stays_the_callers, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(an_untrusted_client_loads_and_saves_by_slices, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(a_full_buffer_is_busy, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(what_is_no_gpu_side_is_refused, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(the_current_context_names_the_device, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_loaded_is_refused_and_keeps_its_pin, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(a_forked_child_has_no_gpu_side, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(closing_the_handle_lands_and_commits_what_is_on_its_way, fake_setup,
						fake_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
