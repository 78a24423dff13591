/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stress_touch.c - touch ring, client and daemon in two threads
 *
 * Records are numbered; the daemon must see them in order, whole, each once, and those missing must
 * be those that the client counted as dropped.  Plain records under TSan (ipc/ring.h): TR-1.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ipc/touch.h"
#include "kvshm/base/atomic.h"
#include "tests/stress/two_cores.h"

#define ENTRIES 16
#define NR_ITEMS 400000
#define BATCH 10

static struct kvshm_ring_ctl ctl;
static struct kvshm_touch ring[ENTRIES];
static uint32_t is_done;		/* all pushed */

struct drainer {
	struct qp_end end;
	uint64_t nr_seen, nr_empty, last;
	const char *error;
};

static void check(struct drainer *d, const struct kvshm_touch *t)
{
	if (t->time_ns <= d->last)
		d->error = "a record was seen twice or out of order";
	if (t->id != (uint32_t)t->time_ns || t->generation != ~t->id || t->resv != t->time_ns * 3)
		d->error = "a record was torn";
	d->last = t->time_ns;
	d->nr_seen++;
}

static void *drain(void *arg)
{
	struct drainer *d = arg;
	struct kvshm_touch out[BATCH];
	int i, nr, was_done;

	run_on_core(1);
	do {
		/* TR-1: nothing is pushed after this; pairs with the last store of the test. */
		was_done = (int)load_acquire(&is_done);
		nr = touch_drain(&d->end, out, BATCH);
		if (nr < 0)
			d->error = "touch_drain failed";
		for (i = 0; i < nr; i++)
			check(d, &out[i]);
		if (nr == 0) {
			d->nr_empty++;
			sched_yield();
		}
	} while (!d->error && (nr > 0 || !was_done));
	return NULL;
}

static void what_is_not_dropped_arrives_once_and_whole(void **state)
{
	struct drainer d = { .error = NULL };
	uint64_t n, nr_dropped = 0;
	struct kvshm_touch t;
	struct qp_end client;
	pthread_t th;

	run_on_core(0);
	qp_end_init(&client, &ctl, ring, ENTRIES);
	qp_end_init(&d.end, &ctl, ring, ENTRIES);
	assert_int_equal(pthread_create(&th, NULL, drain, &d), 0);
	for (n = 1; n <= NR_ITEMS; n++) {
		t = (struct kvshm_touch){ .time_ns = n, .id = (uint32_t)n, .generation = ~(uint32_t)n,
					  .resv = n * 3 };
		if (touch_push(&client, &t) < 0) {
			nr_dropped++;
			sched_yield();
		}
	}
	/* TR-1: all pushes before this; pairs with drain(). */
	store_release(&is_done, 1);
	pthread_join(th, NULL);
	if (d.error)
		fail_msg("%s", d.error);
	print_message("seen %lu, dropped %lu, empty %lu\n", (unsigned long)d.nr_seen,
		      (unsigned long)nr_dropped, (unsigned long)d.nr_empty);
	assert_int_equal(d.nr_seen + nr_dropped, NR_ITEMS);
	assert_true(nr_dropped > 100 && d.nr_seen > NR_ITEMS / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_dropped_arrives_once_and_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
