/* SPDX-License-Identifier: Apache-2.0 */
/* What a file of costs changes: the way of a job, and what kvshm_gpu_info() says. */
#include "gpu_fixture.h"

#include "tests/lib/tmp_dir.h"

#define CARD "fake device 0"

static struct tmp_dir dir;
static char path[160];

static void write_costs(const struct stage_cost *c, const char *card, bool is_simulated)
{
	char text[STAGE_COST_TEXT];
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_true(stage_cost_print(c, card, is_simulated, text, sizeof(text)) > 0);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void begin(struct gx *x, struct fake *f)
{
	unsetenv("KVSHM_STAGE_COSTS");
	tmp_dir_create(&dir);
	snprintf(path, sizeof(path), "%s/gpu.costs", dir.path);
	gx_begin(x, f, &gx_model, "L/BKHNC", NULL);
}

static void end(struct gx *x)
{
	gx_end(x);
	tmp_dir_destroy(&dir);
	unsetenv("KVSHM_STAGE_COSTS");
}

/* The way that a chain is loaded; the side is opened and closed for it. */
static uint32_t way_of_a_load(struct gx *x, uint32_t chain)
{
	struct kvshm_stage_facts i = { .sz = sizeof(i) };
	struct kvshm_completion done;
	struct kvshm_stage *s;
	struct gx_chain c;

	gx_open(x);
	s = gx_save(x, &c, chain, 1);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, GX_US), 1);
	kvshm_stage_end(s);
	assert_int_equal(kvshm_poll(x->k, &done, 1, GX_US), 1);
	s = gx_load(x, &c, chain, 1);
	assert_int_equal(kvshm_stage_info(s, &i), 0);
	assert_int_equal(kvshm_stage_wait(s, KVSHM_STAGE_ALL, GX_US), 1);
	kvshm_stage_end(s);
	return i.way;
}

static void a_file_decides_how_blocks_are_copied(void **state)
{
	struct stage_cost c = stage_cost_default;
	struct gx x;

	begin(&x, *state);
	x.o.costs = path;
	c.launch_ns = 0;
	c.copy_ns = c.batch_ns = 1e6;
	write_costs(&c, CARD, true);
	assert_int_equal(way_of_a_load(&x, 1), KVSHM_STAGE_DIRECT);
	assert_int_equal(gx_info(&x).has_costs, 1);
	assert_string_equal(gx_info(&x).costs, path);
	assert_int_equal(kvshm_gpu_close(x.g), 0);
	c = stage_cost_default;
	c.launch_ns = c.batch_ns = 1e6;
	write_costs(&c, CARD, true);
	/* from the environment, too */
	x.o.costs = NULL;
	setenv("KVSHM_STAGE_COSTS", path, 1);
	assert_int_equal(way_of_a_load(&x, 2), KVSHM_STAGE_COPIES);
	assert_int_equal(gx_info(&x).has_costs, 1);
	end(&x);
}

static void a_named_file_that_is_no_use_is_an_error(void **state)
{
	struct kvshm_gpu *g = NULL;
	struct gx x;

	begin(&x, *state);
	x.o.costs = path;
	assert_int_equal(kvshm_gpu_open(x.k, &x.o, &g), -EBADMSG);
	write_costs(&stage_cost_default, CARD, false);
	assert_int_equal(kvshm_gpu_open(x.k, &x.o, &g), -EBADMSG);
	write_costs(&stage_cost_default, "fake device 1", true);
	assert_int_equal(kvshm_gpu_open(x.k, &x.o, &g), -EBADMSG);
	assert_null(g);
	assert_null(x.k->gpu);
	write_costs(&stage_cost_default, CARD, true);
	gx_open(&x);
	end(&x);
}

static void a_file_of_the_environment_that_is_no_use_leaves_the_guesses(void **state)
{
	struct gx x;

	begin(&x, *state);
	write_costs(&stage_cost_default, CARD, false);
	setenv("KVSHM_STAGE_COSTS", path, 1);
	gx_open(&x);
	assert_int_equal(gx_info(&x).has_costs, 0);
	assert_non_null(strstr(gx_info(&x).costs, "was measured, and this driver is simulated"));
	assert_memory_equal(&x.g->cost, &stage_cost_default, sizeof(x.g->cost));
	end(&x);
}

/* Structures of before there were costs. */
static void an_older_program_is_served(void **state)
{
	struct kvshm_gpu_facts i;
	struct gx x;

	begin(&x, *state);
	x.o.sz = offsetof(struct kvshm_gpu_options, costs);
	x.o.costs = "/not/looked/at";
	gx_open(&x);
	memset(&i, 0x5a, sizeof(i));
	i.sz = offsetof(struct kvshm_gpu_facts, has_costs);
	assert_int_equal(kvshm_gpu_info(x.g, &i), 0);
	assert_int_equal(i.is_simulated, 1);
	assert_int_equal(i.has_costs, 0x5a5a5a5a);
	end(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_file_decides_how_blocks_are_copied, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(a_named_file_that_is_no_use_is_an_error, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(a_file_of_the_environment_that_is_no_use_leaves_the_guesses, fake_setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(an_older_program_is_served, fake_setup, fake_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
