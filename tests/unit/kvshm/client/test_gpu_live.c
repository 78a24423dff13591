/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client with a GPU side against a real kvshmd: killed in mid-copy, or with a device that hangs.  The client is a
 * child; what the device is doing is what the fake driver is scripted to do there.
 */
#include "live.h"

#include <sys/prctl.h>

#include "kvshm/stats/statpage.h"

#include "gpu_fixture.h"

struct child {
	pid_t pid;
	int told;			/* reads a byte when the child is where it should be */
};

/* Never returns: in the state that it was brought to. */
static void stay(int tell)
{
	if (write(tell, "x", 1) == 1)
		for (;;)
			pause();
	_exit(2);
}

static void child_begin(struct child *c, struct live *l, void (*fn)(struct gx *x, int tell), const char *script)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	c->pid = fork();
	c->told = fds[0];
	if (c->pid == 0) {
		struct gx x;

		close(fds[0]);
		/* a test that fails must not leave it behind */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		gx_device(&x, &gx_model, "L/BKHNC", NULL);
		x.o.timeout_ms = 100;
		x.k = open_live(l, 0);
		x.ns[0] = fake_attach_ns(x.k);
		gx_open(&x);
		assert_int_equal(x.c.fake->script(script), 0);
		fn(&x, fds[1]);
		_exit(1);
	}
	close(fds[1]);
}

static void child_wait(struct child *c)
{
	struct pollfd p = { .fd = c->told, .events = POLLIN };
	char byte;

	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(read(c->told, &byte, 1), 1);
}

static void child_kill(struct child *c)
{
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	close(c->told);
}

/* In the child: half-way through a load of chain 1, which the parent has put. */
static void load_half(struct gx *x, int tell)
{
	struct gx_chain c;
	struct kvshm_stage *s = gx_load(x, &c, 1, 1);

	if (kvshm_stage_wait(s, 1, GX_US) == 1 && kvshm_stage_wait(s, 3, 0) == 0)
		stay(tell);
}

static void save_half(struct gx *x, int tell)
{
	struct gx_chain c;
	struct kvshm_stage *s = gx_save(x, &c, 9, 1);

	if (kvshm_stage_wait(s, 1, GX_US) == 1 && kvshm_stage_wait(s, 3, 0) == 0)
		stay(tell);
}

/* The device hangs; the client closes all that it has and lives on. */
static void load_hung(struct gx *x, int tell)
{
	struct gx_chain c;
	struct kvshm_stage *s = gx_load(x, &c, 1, 1);

	if (kvshm_stage_wait(s, KVSHM_STAGE_ALL, 50000) != 0)
		return;
	kvshm_stage_end(s);
	kvshm_close(x->k);
	stay(tell);
}

static void save_hung(struct gx *x, int tell)
{
	struct gx_chain c;

	gx_save(x, &c, 9, 1);
	kvshm_close(x->k);
	stay(tell);
}

static void all_is_back(struct live *l)
{
	struct kvshm *k = open_live(l, 0);
	uint32_t ns = fake_attach_ns(k);

	check_chain(k, ns, 1, GX_NR);
	assert_true(kvshm_drop(k, ns, NULL) > 0);
	assert_int_equal(live_metric_gone(l, METRIC_QUARANTINED_BYTES), 0);
	/* all of the arena can be filled again */
	for (uint32_t i = 0; i < 30; i++)
		assert_int_equal(fake_put(k, ns, 100 + i, 40).res, 40);
	check_chain(k, ns, 129, 40);
	kvshm_close(k);
	assert_int_equal(live_metric_gone(l, METRIC_GRANTED), 0);
}

static void kill_in(struct live *l, void (*fn)(struct gx *x, int tell))
{
	struct kvshm *k = open_live(l, 0);
	struct child c;

	assert_int_equal(fake_put(k, fake_attach_ns(k), 1, GX_NR).res, GX_NR);
	kvshm_close(k);
	child_begin(&c, l, fn, "h2d=1e5;d2h=1e5");
	child_wait(&c);
	child_kill(&c);
	assert_int_equal(live_metric(l, METRIC_DEATHS, 1), 1);
	all_is_back(l);
}

static void a_client_killed_in_mid_load_harms_nobody(void **state)
{
	kill_in(*state, load_half);
}

static void a_client_killed_in_mid_save_harms_nobody(void **state)
{
	kill_in(*state, save_half);
}

static void a_hung_device_keeps_pinned_blocks_until_its_process_is_dead(void **state)
{
	struct live *l = *state;
	struct kvshm *k = open_live(l, 0);
	uint32_t ns = fake_attach_ns(k);
	struct child c;

	assert_int_equal(fake_put(k, ns, 1, GX_NR).res, GX_NR);
	child_begin(&c, l, load_hung, "hang=1");
	child_wait(&c);
	/* dropped, yet nobody gets the memory: the handle is closed, its pin counts */
	assert_int_equal(kvshm_drop(k, ns, NULL), GX_NR);
	assert_int_equal(live_metric(l, METRIC_QUARANTINED_BYTES, GX_NR * FAKE_LEN), GX_NR * FAKE_LEN);
	for (uint32_t i = 0; i < 30; i++)
		fake_put(k, ns, 100 + i, 40);
	assert_int_equal(live_metric(l, METRIC_QUARANTINED_BYTES, 0), GX_NR * FAKE_LEN);
	child_kill(&c);
	assert_int_equal(live_metric_gone(l, METRIC_QUARANTINED_BYTES), 0);
	kvshm_close(k);
}

static void a_hung_device_keeps_granted_blocks_until_its_process_is_dead(void **state)
{
	struct live *l = *state;
	struct kvshm *k = open_live(l, 0);
	uint32_t ns = fake_attach_ns(k);
	struct child c;

	assert_int_equal(fake_put(k, ns, 1, GX_NR).res, GX_NR);
	child_begin(&c, l, save_hung, "hang=1");
	child_wait(&c);
	for (uint32_t i = 0; i < 30; i++)
		fake_put(k, ns, 100 + i, 40);
	kvshm_close(k);
	assert_true(live_metric(l, METRIC_GRANTED, GX_NR) >= GX_NR);
	child_kill(&c);
	assert_int_equal(live_metric_gone(l, METRIC_GRANTED), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, live_setup, live_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_client_killed_in_mid_load_harms_nobody),
		T(a_client_killed_in_mid_save_harms_nobody),
		T(a_hung_device_keeps_pinned_blocks_until_its_process_is_dead),
		T(a_hung_device_keeps_granted_blocks_until_its_process_is_dead),
	};

	if (!live_is_built())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
