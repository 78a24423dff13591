/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_migrate_run.c - requests that run on while their blocks go to another GPU, and stop for one block at most
 *
 * What goes wrong: test_migrate_run_fail.c.
 */
#include "tests/unit/gpu/migrate_run_fixture.h"

static void long_request(bool by_host)
{
	struct mx *m = malloc(sizeof(*m));
	struct hops_info i;
	uint32_t n;

	assert_non_null(m);
	mx_begin(m, by_host);
	n = mx_add(m, 32768 + 16, 1030, 0);
	mx_run(m, 0, UINT32_MAX);
	assert_int_equal(migrate_run_state(m->r, n), 1);
	assert_int_equal(migrate_run_is_over(m->r, n), 1);
	assert_true(m->req[n].runs_there && !m->req[n].is_running);
	assert_int_equal(m->req[n].nr_pauses, 1);
	assert_int_equal(mx_info(m).pause_bytes_max, 16 * TOKEN_BYTES);
	assert_true(mx_info(m).pause_bytes_max <= BLOCK_BYTES);
	hops_info(m->x.h, &i);
	assert_int_equal(i.bytes, (32768 + 16) * TOKEN_BYTES);
	assert_int_equal(i.hops, 1024 / HX_HOP + 1);
	assert_int_equal(migrate_run_remove(m->r, n), 0);
	assert_int_equal(migrate_run_state(m->r, n), -EINVAL);
	mx_end(m);
	free(m);
}

static void a_long_request_pauses_for_its_tail_alone(void **state)
{
	(void)state;
	long_request(false);
	long_request(true);
}

static void a_request_grows_while_it_is_copied(void **state)
{
	struct mx *m = malloc(sizeof(*m));
	uint32_t n;

	(void)state;
	assert_non_null(m);
	mx_begin(m, false);
	hx_script(&m->x, "p2p=2e9");
	m->is_slow = true;
	m->late = 7;
	n = mx_add(m, 300 * HX_TOKENS, 1000, 0);
	mx_run(m, 3, UINT32_MAX);
	assert_int_equal(migrate_run_state(m->r, n), 1);
	assert_true(m->req[n].tokens > 300 * HX_TOKENS + 7);
	assert_true(mx_info(m).pause_bytes_max <= BLOCK_BYTES);
	mx_end(m);
	free(m);
}

static void blocks_that_are_there_are_not_copied(void **state)
{
	struct mx *m = malloc(sizeof(*m));
	struct hops_info i;
	uint32_t n;

	(void)state;
	assert_non_null(m);
	mx_begin(m, false);
	m->refuses = true;
	n = mx_add(m, 20 * HX_TOKENS, 20, 19);
	for (uint32_t b = 0; b < 19; b++)
		for (uint32_t t = 0; t < HX_TOKENS; t++)
			for (uint32_t l = 0; l < 4; l++)
				for (uint32_t p = 0; p < 2; p++)
					for (uint32_t h = 0; h < 2; h++)
						memcpy(hx_run(&m->x, HX_TO, l, p, h, t, m->req[n].to[b]),
						       hx_run(&m->x, HX_FROM, l, p, h, t, m->req[n].from[b]), 64);
	mx_run(m, 0, UINT32_MAX);
	hops_info(m->x.h, &i);
	assert_int_equal(i.bytes, BLOCK_BYTES);
	/* and the engine did not take it */
	assert_int_equal(migrate_run_state(m->r, n), -ECANCELED);
	assert_true(m->req[n].is_running);
	assert_int_equal(mx_info(m).aborted, 1);
	mx_end(m);
	free(m);
}

static void requests_share_their_hops(void **state)
{
	struct mx *m = malloc(sizeof(*m));
	struct migrate_run_info i;

	(void)state;
	assert_non_null(m);
	mx_begin(m, false);
	for (unsigned n = 0; n < REQUESTS; n++)
		mx_add(m, 40 * HX_TOKENS + 3, 42, 0);
	mx_run(m, 0, UINT32_MAX);
	i = mx_info(m);
	assert_int_equal(i.moved, REQUESTS);
	/* one by one: a hop for the 40 blocks and one for the tail of each */
	assert_true(i.pieces >= 2 * REQUESTS);
	assert_true(i.hops <= REQUESTS * 40 / HX_HOP + 4);
	print_message("# %u requests of 40 blocks and a tail: %u hops, one by one %u\n", REQUESTS, (unsigned)i.hops,
		      2 * REQUESTS);
	for (unsigned n = 0; n < REQUESTS; n++)
		assert_true(m->req[n].runs_there);
	mx_end(m);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_long_request_pauses_for_its_tail_alone),
		cmocka_unit_test(a_request_grows_while_it_is_copied),
		cmocka_unit_test(blocks_that_are_there_are_not_copied),
		cmocka_unit_test(requests_share_their_hops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
