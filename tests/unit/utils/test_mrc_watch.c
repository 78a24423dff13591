/* SPDX-License-Identifier: Apache-2.0 */
/* test_mrc_watch.c - curves of a ring that is followed, beside those of the same requests as a trace */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/rand.h"
#include "kvshm/stats/events.h"
#include "tests/lib/tmp_dir.h"
#include "utils/mrc.h"
#include "utils/mrc_watch.h"

#define SECOND 1000000000ull
#define LEN 65536u
#define CHAINS 40u
#define DEPTH 4u
#define ARENA (64ull * LEN)

static struct tmp_dir dir;
static struct event_ring *ring;
static char path[128];
static struct target target;
static struct sim_trace trace;
static uint64_t now;

static int setup(void **state)
{
	(void)state;
	tmp_dir_create(&dir);
	snprintf(path, sizeof(path), "%s/kvshm.sock", dir.path);
	target = (struct target){ .socket = path };
	now = SECOND;
	return events_create(dir.fd, "events", &ring);
}

static int teardown(void **state)
{
	(void)state;
	events_close(ring);
	tmp_dir_destroy(&dir);
	return 0;
}

static void push(uint8_t type, unsigned ns, uint64_t chain, unsigned i)
{
	struct kvshm_event e = { .type = type, .time_ns = now, .key = chain * 100 + i + 1, .nr = i + 1, .length = LEN,
				 .block_tokens = 16, .tokens = 16, .ns = (uint16_t)ns, .id = 1 };

	if (type == KVSHM_EVENT_STORED && i)
		e.parent = e.key - 1;
	events_push(ring, &e);
}

/* A prompt that misses and is put. */
static void ask(unsigned ns, uint64_t chain)
{
	uint64_t hash[DEPTH];
	const struct sim_record rec = { .time_ns = now, .tokens = 16 * DEPTH, .hash = hash, .nr = DEPTH,
					.output_tokens = UINT64_MAX };

	for (unsigned i = 0; i < DEPTH; i++) {
		push(KVSHM_EVENT_STORED, ns, chain, i);
		hash[i] = chain * 100 + i + 1;
	}
	if (ns == 1)
		assert_int_equal(sim_trace_add(&trace, &rec), 0);
	now += 60 * SECOND;		/* over, by then */
}

static const struct mrc_watch_curve *one_curve(struct mrc_watch *w)
{
	const struct mrc_watch_curve *c;

	mrc_watch_look(w);
	assert_int_equal(mrc_watch_curves(w, ARENA, &c), 1);
	return c;
}

static void ask_some(unsigned nr, uint64_t seed)
{
	for (unsigned i = 0; i < nr; i++)
		ask(1, rand_mix(seed + i) % CHAINS);
	push(KVSHM_EVENT_STORED, 1, 9999, 0);	/* the clock goes on: all before are over */
}

static void the_curve_is_that_of_the_requests(void **state)
{
	struct mrc_watch *w = mrc_watch_create(&target);
	const struct mrc_watch_curve *c;
	struct mrc m;

	(void)state;
	sim_trace_init(&trace, 16);
	ask_some(500, 7);
	c = one_curve(w);
	assert_int_equal(mrc_run(&trace, -1, &m), 0);
	assert_int_equal(c->ns, 1);
	assert_int_equal(c->uses, m.uses);
	for (unsigned i = 0; i < MRC_WATCH_POINTS; i++) {
		const double is = mrc_hit_ratio(&m, (uint64_t)(64 * mrc_watch_sizes[i]));

		assert_true(c->ratio[i] > is - 1e-9 && c->ratio[i] < is + 1e-9);
	}
	assert_true(c->ratio[3] > c->ratio[0] + 0.1 && c->ratio_with_more >= c->ratio[7]);
	mrc_fini(&m);
	sim_trace_fini(&trace);
	mrc_watch_destroy(w);
}

static void another_daemon_begins_anew(void **state)
{
	struct mrc_watch *w = mrc_watch_create(&target);
	const struct mrc_watch_curve *c;

	(void)state;
	sim_trace_init(&trace, 16);
	ask_some(100, 1);
	assert_int_equal(one_curve(w)->uses, 100 * DEPTH);
	events_close(ring);
	assert_int_equal(events_create(dir.fd, "events", &ring), 0);
	/* It looks for another ring once a second. */
	for (uint64_t end = clock_ns() + 20 * SECOND; mrc_watch_curves(w, ARENA, &c); usleep(10000)) {
		assert_true(clock_ns() < end);
		mrc_watch_look(w);
	}
	ask_some(10, 1);
	assert_int_equal(one_curve(w)->uses, 10 * DEPTH);
	sim_trace_fini(&trace);
	mrc_watch_destroy(w);
}

static void without_a_daemon_there_is_no_curve(void **state)
{
	const struct target none = { .socket = "/nowhere/kvshm.sock" };
	struct mrc_watch *w = mrc_watch_create(&none);
	const struct mrc_watch_curve *c;

	(void)state;
	mrc_watch_look(w);
	assert_int_equal(mrc_watch_curves(w, ARENA, &c), 0);
	mrc_watch_destroy(w);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_curve_is_that_of_the_requests),
		T(another_daemon_begins_anew),
		T(without_a_daemon_there_is_no_curve),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
