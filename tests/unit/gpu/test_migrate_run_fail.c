/* SPDX-License-Identifier: Apache-2.0 */
/* test_migrate_run_fail.c - a request that cannot go to another GPU runs on where it is */
#include "tests/unit/gpu/migrate_run_fixture.h"

#include "tests/lib/fault.h"

/* It stays where it was, whole; or it was too late and it has moved. */
static void abort_at_each_step_leaves_it_where_it_was(void **state)
{
	struct mx *m = malloc(sizeof(*m));
	unsigned aborted = 0, moved = 0;
	uint32_t n;
	int ret;

	(void)state;
	assert_non_null(m);
	mx_begin(m, false);
	m->is_slow = true;
	hx_script(&m->x, "p2p=2e9");
	for (unsigned at = 0; at < 60; at++) {
		m->next_block = 0;
		n = mx_add(m, 100 * HX_TOKENS + 5, 110, 0);
		mx_run(m, 0, at);
		ret = migrate_run_abort(m->r, n);
		mx_run(m, 0, UINT32_MAX);
		assert_int_equal(migrate_run_is_over(m->r, n), 1);
		if (m->req[n].runs_there) {
			assert_int_equal(migrate_run_state(m->r, n), 1);
			assert_int_equal(ret, -EALREADY);
			moved++;
		} else {
			assert_int_equal(ret, 0);
			assert_int_equal(migrate_run_state(m->r, n), -ECANCELED);
			assert_true(m->req[n].is_running);
			aborted++;
		}
		assert_int_equal(migrate_run_remove(m->r, n), 0);
		mx_req_free(&m->req[n]);
	}
	assert_true(aborted > 4 && moved > 4);
	mx_end(m);
	free(m);
}

/* The @k-th call is refused.  Return: did it come to that? */
static bool refused(const char *entry, unsigned k, bool by_host)
{
	struct mx *m = malloc(sizeof(*m));
	char rule[96];
	uint32_t n, other;
	bool is_hit;

	assert_non_null(m);
	mx_begin(m, by_host);
	snprintf(rule, sizeof(rule), "fail=%s:%u:700", entry, k);
	hx_script(&m->x, rule);
	n = mx_add(m, 130 * HX_TOKENS + 5, 140, 0);
	mx_run(m, 0, UINT32_MAX);
	assert_int_equal(migrate_run_is_over(m->r, n), 1);
	is_hit = !m->req[n].runs_there;
	if (is_hit) {
		assert_int_equal(migrate_run_state(m->r, n), -ENOTRECOVERABLE);
		assert_true(m->req[n].is_running);
	}
	/* the device answers, so it is used again */
	hx_script(&m->x, "reset;clock=virtual");
	other = mx_add(m, 50, 2, 0);
	mx_run(m, 0, UINT32_MAX);
	assert_int_equal(migrate_run_state(m->r, other), 1);
	mx_end(m);
	free(m);
	return is_hit;
}

static void a_refused_copy_on_either_device_leaves_it_where_it_was(void **state)
{
	unsigned nr = 0;

	(void)state;
	/* packing, spreading and what goes between, of whole blocks and of the tail */
	for (unsigned k = 1; refused("cuLaunchKernel", k, false); k++)
		nr++;
	assert_true(nr >= 6);
	for (nr = 1; refused("cuMemcpyPeerAsync", nr, false); nr++)
		;
	assert_int_equal(nr - 1, 4);
	assert_true(refused("cuMemcpy2DAsync", 1, true));
}

/* What a real process would keep to its end. */
static struct mx *kept[3];

static void lost(unsigned i, const char *rule)
{
	struct mx *m = kept[i] = malloc(sizeof(*m));
	struct migrate_tables t = { 0 };
	uint32_t n;

	assert_non_null(m);
	mx_begin(m, false);
	hx_script(&m->x, "p2p=1e6");
	n = mx_add(m, 130 * HX_TOKENS + 5, 140, 0);
	mx_run(m, 0, 1);
	hx_script(&m->x, rule);
	mx_run(m, 0, UINT32_MAX);
	assert_int_equal(migrate_run_state(m->r, n), -ENOTRECOVERABLE);
	assert_int_equal(migrate_run_is_over(m->r, n), -ENOTRECOVERABLE);
	assert_true(m->req[n].is_running);
	assert_int_equal(migrate_run_add(m->r, &t, 0, 0), -ENOTRECOVERABLE);
	assert_int_equal(hops_destroy(m->x.h, hx_soon()), -ENOTRECOVERABLE);
	migrate_run_destroy(m->r);
	mx_req_free(&m->req[n]);
}

static void a_lost_device_lets_it_run_where_it_is(void **state)
{
	(void)state;
	lost(0, "lost=999:0");
	lost(1, "lost=999:1");
}

/* While it stands still: it is let run again at once. */
static void a_device_lost_in_the_pause_lets_it_run_again(void **state)
{
	struct mx *m = kept[2] = malloc(sizeof(*m));
	uint32_t n;

	(void)state;
	assert_non_null(m);
	mx_begin(m, false);
	n = mx_add(m, 5, 2, 0);
	hx_script(&m->x, "p2p=1e4");
	mx_run(m, 0, 2);
	assert_false(m->req[n].is_running);
	hx_script(&m->x, "lost=719:1");
	mx_run(m, 0, UINT32_MAX);
	assert_true(m->req[n].is_running);
	assert_int_equal(migrate_run_is_over(m->r, n), -ENOTRECOVERABLE);
	assert_int_equal(hops_destroy(m->x.h, hx_soon()), -ENOTRECOVERABLE);
	migrate_run_destroy(m->r);
	mx_req_free(&m->req[n]);
}

static void an_engine_that_stops_too_late_is_given_up(void **state)
{
	struct mx *m = malloc(sizeof(*m));
	uint32_t n;

	(void)state;
	assert_non_null(m);
	mx_begin(m, false);
	m->late = HX_TOKENS + 1;
	n = mx_add(m, 200, 100, 0);
	mx_run(m, 0, UINT32_MAX);
	assert_int_equal(migrate_run_state(m->r, n), -EAGAIN);
	assert_int_equal(m->req[n].nr_pauses, 3);
	assert_true(m->req[n].is_running);
	assert_int_equal(mx_info(m).pause_bytes_max, 0);
	mx_end(m);
	free(m);
}

static void what_cannot_be_is_refused(void **state)
{
	struct migrate_run_config cfg = { .max_requests = 1, .max_pauses = 1 };
	uint32_t table[2] = { 0, 1 };
	struct migrate_tables t = { .from = { table }, .to = { table }, .nr_blocks = 2 };
	struct mx *m = malloc(sizeof(*m));
	struct migrate_run *r;

	(void)state;
	assert_non_null(m);
	mx_begin(m, false);
	assert_int_equal(migrate_run_create(m->x.h, &m->x.l[0], HX_HOP, &cfg, &r), -EINVAL);
	assert_int_equal(migrate_run_add(m->r, &t, 2 * HX_TOKENS + 1, 0), -EINVAL);
	assert_int_equal(migrate_run_add(m->r, &t, HX_TOKENS, 2), -EINVAL);
	assert_int_equal(migrate_run_add(m->r, &(struct migrate_tables){ .from = { table }, .nr_blocks = 2 }, 1, 0), -EINVAL);
	for (unsigned i = 0; i < REQUESTS; i++)
		assert_int_equal(migrate_run_add(m->r, &t, 1, 0), i);
	assert_int_equal(migrate_run_add(m->r, &t, 1, 0), -EBUSY);
	assert_int_equal(migrate_run_grew(m->r, 3, 2 * HX_TOKENS + 1), -EINVAL);
	assert_int_equal(migrate_run_paused(m->r, 3, 1), -EINVAL);
	assert_int_equal(migrate_run_moved(m->r, 3, true), -EINVAL);
	assert_int_equal(migrate_run_remove(m->r, 3), -EBUSY);
	assert_int_equal(migrate_run_abort(m->r, REQUESTS), -EINVAL);
	mx_end(m);
	free(m);
}

static struct mx *faulty;
static struct migrate_run *made;

static int make(void)
{
	const struct migrate_run_config cfg = { .max_requests = 2, .max_pauses = 1,
						.engine = { NULL, mx_pause, mx_resume, mx_move } };

	return migrate_run_create(faulty->x.h, &faulty->x.l[HX_FROM], HX_HOP, &cfg, &made);
}

static void unmake(void)
{
	migrate_run_destroy(made);
}

static void a_run_without_memory_leaves_nothing_behind(void **state)
{
	(void)state;
	if (FAULT_MISSING)
		skip();
	faulty = malloc(sizeof(*faulty));
	assert_non_null(faulty);
	mx_begin(faulty, false);
	assert_int_equal(fault_each(make, unmake), 3);
	mx_end(faulty);
	free(faulty);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(abort_at_each_step_leaves_it_where_it_was),
		cmocka_unit_test(a_refused_copy_on_either_device_leaves_it_where_it_was),
		cmocka_unit_test(an_engine_that_stops_too_late_is_given_up),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(a_run_without_memory_leaves_nothing_behind),
		/* what these leave behind stays */
		cmocka_unit_test(a_lost_device_lets_it_run_where_it_is),
		cmocka_unit_test(a_device_lost_in_the_pause_lets_it_run_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
