/* SPDX-License-Identifier: Apache-2.0 */
/* test_migrate.c - requests from one GPU side to another, through the library */
#include "gpu_fixture.h"

#include <kvshm/migrate.h>

#define BLOCKS 4u			/* of the request */

struct moving {
	struct gx a, b;			/* devices 0 and 1, one handle */
	struct kvshm_migrate *m;
	uint64_t tokens;
	unsigned nr_pauses, nr_resumes, nr_moves;
	bool is_quiet;			/* the engine answers nothing */
};

static const uint32_t from_table[BLOCKS] = { 5, 1, 2, 7 }, to_table[BLOCKS] = { 0, 6, 3, 4 };
/* and of a second group */
static const uint32_t other_from[BLOCKS] = { 3, 4, 6, 0 }, other_to[BLOCKS] = { 7, 2, 1, 5 };
static const uint32_t *const from_tables[] = { from_table, other_from }, *const to_tables[] = { to_table, other_to };

static void stop(void *arg, uint32_t request)
{
	struct moving *x = arg;

	x->nr_pauses++;
	if (!x->is_quiet)
		assert_int_equal(kvshm_migrate_paused(x->m, request, x->tokens), 0);
}

static void resume(void *arg, uint32_t request)
{
	struct moving *x = arg;

	(void)request;
	x->nr_resumes++;
}

static void move(void *arg, uint32_t request)
{
	struct moving *x = arg;

	x->nr_moves++;
	assert_int_equal(kvshm_migrate_moved(x->m, request, 1), 0);
}

/* Upper and lower layers with block tables of their own. */
static void split(struct gx *x)
{
	struct gpu_group *g = &x->l.group[0];

	g->arena_layer_stride = g->arena_part_stride = g->arena_head_stride = g->arena_token_stride = g->arena_len = 0;
	x->l.group[1] = *g;
	x->l.nr_groups = 2;
	x->l.layer[2].group = x->l.layer[3].group = 1;
	gx_options(x);
}

/* The same model on the other device, its blocks in another place. */
static void other_device(struct gx *y, const struct gx *x, const char *dims, bool is_hybrid)
{
	struct gpu_layout probe;
	uint64_t len;

	memset(y, 0, sizeof(*y));
	fake_cuda_start(&y->c, NULL);
	gpu_ctx_close(&y->c.ctx);
	assert_int_equal(gpu_ctx_open(&y->c.cu, &y->c.device[1], &y->c.ctx), 0);
	assert_int_equal(gpu_geometry_layout(&gx_model, dims, 16, GX_BLOCKS, 1 << 20, &probe, &len), 0);
	gx_pool(y, len);
	assert_int_equal(gpu_geometry_layout(&gx_model, dims, 16, GX_BLOCKS, (uintptr_t)y->pool, &y->l, NULL), 0);
	if (is_hybrid)
		split(y);
	gx_options(y);
	y->o.device = 1;
	y->k = x->k;
	gx_fill(y, 999);
	assert_int_equal(kvshm_gpu_open(y->k, &y->o, &y->g), 0);
}

static struct kvshm_migrate_options options(struct moving *x)
{
	return (struct kvshm_migrate_options){ .sz = sizeof(struct kvshm_migrate_options), .timeout_ms = 500,
					       .hop_len = 3 * FAKE_LEN, .arg = x, .pause = stop, .resume = resume, .move = move };
}

static void begin_model(struct moving *x, struct fake *f, const char *script, bool is_hybrid)
{
	memset(x, 0, sizeof(*x));
	gx_begin(&x->a, f, &gx_model, "L/BKHNC", script);
	if (is_hybrid)
		split(&x->a);
	gx_open(&x->a);
	other_device(&x->b, &x->a, "L/BKHNC", is_hybrid);
	x->tokens = 3 * 16 + 7;
}

static void begin(struct moving *x, struct fake *f, const char *script)
{
	begin_model(x, f, script, false);
}

static void open_way(struct moving *x)
{
	struct kvshm_migrate_options o = options(x);

	assert_int_equal(kvshm_migrate_open(x->a.g, x->b.g, &o, &x->m), 0);
}

static int add(struct moving *x, uint32_t nr_there)
{
	struct kvshm_migrate_request r = { .sz = sizeof(r), .from = from_tables, .to = to_tables, .nr_blocks = BLOCKS,
					   .nr_there = nr_there, .tokens = x->tokens };

	return kvshm_migrate_add(x->m, &r);
}

static void run(struct moving *x)
{
	const uint64_t until = clock_ns() + FAKE_SOON_NS;

	while (kvshm_migrate_poll(x->m) > 0)
		assert_true(clock_ns() < until);
}

static struct kvshm_migrate_facts info(struct moving *x)
{
	struct kvshm_migrate_facts i = { .sz = sizeof(i) };

	assert_int_equal(kvshm_migrate_info(x->m, &i), 0);
	return i;
}

static uint64_t differs(const struct moving *x)
{
	const struct gpu_group *g = &x->a.l.group[0];
	const uint32_t *from, *to;
	uint64_t nr = 0;

	for (uint64_t t = 0; t < x->tokens; t++)
		for (uint32_t l = 0; l < 4; l++) {
			from = from_tables[x->a.l.layer[l].group];
			to = to_tables[x->a.l.layer[l].group];
			for (uint32_t p = 0; p < 2; p++)
				for (uint32_t h = 0; h < 2; h++) {
					const uint64_t at = h * g->head_stride + t % 16 * g->token_stride;

					nr += memcmp((char *)(uintptr_t)x->a.l.layer[l].dev[p] + from[t / 16] * g->block_stride + at,
						     (char *)(uintptr_t)x->b.l.layer[l].dev[p] + to[t / 16] * g->block_stride + at,
						     g->run_len) != 0;
				}
		}
	return nr;
}

static void end(struct moving *x)
{
	kvshm_close(x->a.k);
	gx_free_pool(&x->b);
	gpu_ctx_close(&x->b.c.ctx);
	cuda_unload(&x->b.c.cu);
	gx_free_pool(&x->a);
	fake_cuda_stop(&x->a.c);
}

static void moves(struct fake *f, const char *script, uint32_t way, bool is_hybrid)
{
	struct moving x;
	int n;

	begin_model(&x, f, script, is_hybrid);
	open_way(&x);
	assert_int_equal(info(&x).way, way);
	n = add(&x, 0);
	assert_int_equal(n, 0);
	assert_int_equal(kvshm_migrate_end(x.m, 0), -EBUSY);
	run(&x);
	assert_int_equal(kvshm_migrate_state(x.m, 0), 1);
	assert_int_equal(kvshm_migrate_is_over(x.m, 0), 1);
	assert_int_equal(differs(&x), 0);
	assert_int_equal(x.nr_pauses + x.nr_moves, 2);
	assert_int_equal(x.nr_resumes, 0);
	assert_int_equal(info(&x).bytes, FAKE_LEN / 16 * x.tokens);
	assert_int_equal(info(&x).pause_bytes_max, FAKE_LEN / 16 * 7);
	assert_int_equal(info(&x).moved, 1);
	assert_int_equal(kvshm_migrate_end(x.m, 0), 0);
	assert_int_equal(kvshm_migrate_state(x.m, 0), -EINVAL);
	assert_int_equal(kvshm_migrate_close(x.m), 0);
	end(&x);
}

static void a_request_moves_straight(void **state)
{
	moves(*state, "devices=2;peer=1", KVSHM_MIGRATE_PEER, false);
}

static void gpus_without_a_path_meet_in_host_memory(void **state)
{
	moves(*state, "devices=2;peer=0", KVSHM_MIGRATE_HOST, false);
}

static void a_request_of_a_hybrid_model_moves_with_all_its_tables(void **state)
{
	moves(*state, "devices=2;peer=1", KVSHM_MIGRATE_PEER, true);
}

/* The model's quotients decide, and a short prefill beats them. */
static void the_way_is_the_quickest(void **state)
{
	struct kvshm_migrate_options o;
	struct moving x;

	begin(&x, *state, "devices=2;peer=1");
	o = options(&x);
	o.peer_bytes_per_ns = 5;
	o.d2h_bytes_per_ns = o.h2d_bytes_per_ns = 50;
	assert_int_equal(kvshm_migrate_open(x.a.g, x.b.g, &o, &x.m), 0);
	assert_int_equal(info(&x).way, KVSHM_MIGRATE_HOST);
	/* 4 KiB a token, there and back at 50 */
	assert_int_equal(kvshm_migrate_advise(x.m, 1000, 1e9), KVSHM_MIGRATE_HOST);
	assert_int_equal(kvshm_migrate_advise(x.m, 1000, 4096 * 1000 / 25.0 - 1), KVSHM_MIGRATE_RECOMPUTE);
	end(&x);
}

/* What nobody measured for the call is as the costs of the sides have it, and they decide how blocks are packed. */
static void a_way_goes_by_the_costs_of_its_sides(void **state)
{
	struct moving x;

	begin(&x, *state, "devices=2;peer=0");
	x.a.g->cost.link_bytes_per_ns = 10;
	x.b.g->cost.link_bytes_per_ns = 40;
	open_way(&x);
	/* 4 KiB a token, a tenth of a nanosecond a byte and a fortieth */
	assert_int_equal(kvshm_migrate_advise(x.m, 1000, 4096 * 1000 / 8.0 + 1), KVSHM_MIGRATE_HOST);
	assert_int_equal(kvshm_migrate_advise(x.m, 1000, 4096 * 1000 / 8.0 - 1), KVSHM_MIGRATE_RECOMPUTE);
	assert_int_equal(kvshm_migrate_close(x.m), 0);
	assert_int_equal(x.a.c.fake->script("peer=1"), 0);
	open_way(&x);
	assert_int_equal(kvshm_migrate_advise(x.m, 1000, 4096 * 1000 / 10.0 + 1), KVSHM_MIGRATE_PEER);
	assert_int_equal(kvshm_migrate_advise(x.m, 1000, 4096 * 1000 / 10.0 - 1), KVSHM_MIGRATE_RECOMPUTE);
	assert_int_equal(kvshm_migrate_close(x.m), 0);
	x.a.g->cost.launch_ns = x.b.g->cost.launch_ns = 1e9;
	open_way(&x);
	assert_int_equal(add(&x, 0), 0);
	run(&x);
	assert_int_equal(differs(&x), 0);
	assert_int_equal(fake_cuda_counters(&x.a.c).launches, 0);
	end(&x);
}

static void what_does_not_fit_is_refused(void **state)
{
	struct kvshm_migrate_options o;
	struct moving x;
	struct gx c;

	begin(&x, *state, "devices=2;peer=1");
	o = options(&x);
	o.flags = 1;
	assert_int_equal(kvshm_migrate_open(x.a.g, x.b.g, &o, &x.m), -EINVAL);
	o = options(&x);
	o.sz--;
	assert_int_equal(kvshm_migrate_open(x.a.g, x.b.g, &o, &x.m), -EINVAL);
	o.sz += 2;
	assert_int_equal(kvshm_migrate_open(x.a.g, x.b.g, &o, &x.m), -EINVAL);
	assert_int_equal(kvshm_migrate_open(x.a.g, x.b.g, NULL, &x.m), -EINVAL);
	o = options(&x);
	o.move = NULL;
	assert_int_equal(kvshm_migrate_open(x.a.g, x.b.g, &o, &x.m), -EINVAL);
	/* packed in another order */
	other_device(&c, &x.a, "L/BKNHC", false);
	o = options(&x);
	assert_int_equal(kvshm_migrate_open(x.a.g, c.g, &o, &x.m), -EINVAL);
	assert_int_equal(kvshm_gpu_close(c.g), 0);
	gx_free_pool(&c);
	gpu_ctx_close(&c.c.ctx);
	cuda_unload(&c.c.cu);
	open_way(&x);
	assert_int_equal(kvshm_migrate_add(x.m, &(struct kvshm_migrate_request){ .sz = 8 }), -EINVAL);
	x.tokens = BLOCKS * 16 + 1;
	assert_int_equal(add(&x, 0), -EINVAL);
	assert_int_equal(kvshm_migrate_info(x.m, &(struct kvshm_migrate_facts){ .sz = 8 }), -EINVAL);
	end(&x);
}

/* By the side, with a request that was asked to stop and has not. */
static void a_side_that_closes_lets_requests_run(void **state)
{
	struct moving x;

	begin(&x, *state, "devices=2;peer=1");
	open_way(&x);
	x.is_quiet = true;
	assert_int_equal(add(&x, 3), 0);
	assert_int_equal(kvshm_migrate_poll(x.m), 1);
	assert_int_equal(x.nr_pauses, 1);
	assert_int_equal(kvshm_gpu_close(x.b.g), 0);
	assert_int_equal(x.nr_resumes, 1);
	end(&x);
}

static void a_device_that_hangs_is_left_behind(void **state)
{
	static struct moving x;

	begin(&x, *state, "devices=2;peer=1");
	open_way(&x);
	assert_int_equal(x.a.c.fake->script("hang=1"), 0);
	assert_int_equal(add(&x, 0), 0);
	assert_int_equal(kvshm_migrate_poll(x.m), 1);
	assert_int_equal(kvshm_migrate_close(x.m), -ETIMEDOUT);
	/* nothing of what the copy may touch goes with its sides */
	assert_int_equal(kvshm_gpu_close(x.b.g), -ETIMEDOUT);
	assert_int_equal(kvshm_gpu_close(x.a.g), -ETIMEDOUT);
	kvshm_close(x.a.k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_request_moves_straight, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(gpus_without_a_path_meet_in_host_memory, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(a_request_of_a_hybrid_model_moves_with_all_its_tables, fake_setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(the_way_is_the_quickest, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(a_way_goes_by_the_costs_of_its_sides, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(what_does_not_fit_is_refused, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(a_side_that_closes_lets_requests_run, fake_setup, fake_teardown),
		/* what it leaves behind stays */
		cmocka_unit_test_setup_teardown(a_device_that_hangs_is_left_behind, fake_setup, fake_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
