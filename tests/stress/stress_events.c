/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stress_events.c - a writer that is faster than its readers: what they get is whole, the rest is counted
 *
 * Every word of an event follows from its number.  One reader keeps up, one sleeps and is overtaken, again and again
 * in the middle of an entry.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/rand.h"
#include "kvshm/stats/events.h"
#include "tests/lib/tmp_dir.h"

#define RUN_NS 1500000000ull
#define BATCH 64u

static struct tmp_dir tmp;
static struct event_ring *ring;
static uint32_t is_done;

struct listener {
	pthread_t thread;
	bool is_lazy;
	uint64_t heard, lost, wrong, end;
};

static struct kvshm_event event_of(uint64_t number)
{
	const uint64_t x = rand_mix(number);

	return (struct kvshm_event){
		.time_ns = number, .key = x, .parent = ~x, .nr = (uint32_t)x, .hint = (uint32_t)(x >> 32),
		.length = (uint32_t)~x, .block_tokens = (uint32_t)(x >> 7), .tokens = (uint16_t)x, .ns = (uint16_t)(x >> 9),
		.type = (uint8_t)x, .reason = (uint8_t)(x >> 8), .id = (uint32_t)(x >> 5), .generation = (uint32_t)(x >> 11),
	};
}

static bool is_whole(const struct kvshm_event *e)
{
	const struct kvshm_event want = event_of(e->time_ns);

	return e->seq == e->time_ns + 1 && e->key == want.key && e->parent == want.parent && e->nr == want.nr &&
	       e->hint == want.hint && e->length == want.length && e->block_tokens == want.block_tokens &&
	       e->tokens == want.tokens && e->ns == want.ns && e->type == want.type && e->reason == want.reason && e->id == want.id &&
	       e->generation == want.generation;
}

static void *listen_(void *arg)
{
	struct listener *l = arg;
	struct kvshm_event e[BATCH];
	struct event_ring *r;
	uint64_t next = 0, lost = 0;
	char path[128];

	snprintf(path, sizeof(path), "%s/events", tmp.path);
	if (events_open(path, &r) < 0)
		abort();
	while (!READ_ONCE(is_done)) {
		unsigned nr = events_read(r, &next, e, l->is_lazy ? 1 : BATCH, &lost);

		WRITE_ONCE(l->lost, lost);
		l->heard += nr;
		for (unsigned i = 0; i < nr; i++)
			l->wrong += !is_whole(&e[i]);
		/* The lazy one stays about a round behind, where entries change under its eyes. */
		if (l->is_lazy && events_next(r) > KVSHM_EVENTS_NR)
			next = events_next(r) - KVSHM_EVENTS_NR;
		else if (nr == 0)
			sched_yield();
	}
	l->end = next;
	events_close(r);
	return NULL;
}

static void what_is_heard_is_whole_and_what_is_not_is_counted(void **state)
{
	struct listener l[] = { { .is_lazy = false }, { .is_lazy = true } };
	const uint64_t end = clock_ns() + RUN_NS;
	uint64_t n = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(l); i++)
		assert_int_equal(pthread_create(&l[i].thread, NULL, listen_, &l[i]), 0);
	/* At least a few rounds, and until the lazy one was overtaken, however busy the machine is. */
	while ((clock_ns() < end || n < 4 * KVSHM_EVENTS_NR || !READ_ONCE(l[1].lost)) && clock_ns() < end + 20 * RUN_NS) {
		const struct kvshm_event e = event_of(n);

		events_push(ring, &e);
		if (++n % 512 == 0)
			sched_yield();
	}
	WRITE_ONCE(is_done, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(l); i++)
		pthread_join(l[i].thread, NULL);
	print_message("%llu events; heard %llu and %llu, lost %llu and %llu\n", (unsigned long long)n,
		      (unsigned long long)l[0].heard, (unsigned long long)l[1].heard, (unsigned long long)l[0].lost,
		      (unsigned long long)l[1].lost);
	assert_int_equal(l[0].wrong + l[1].wrong, 0);
	assert_int_equal(l[0].heard + l[0].lost, l[0].end);
	assert_in_range(l[0].heard, 1, ULONG_MAX);
	assert_in_range(l[1].heard, 1, ULONG_MAX);
	/* A run in which nobody was overtaken has shown nothing. */
	assert_in_range(l[1].lost, 1, ULONG_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(what_is_heard_is_whole_and_what_is_not_is_counted) };
	int ret;

	tmp_dir_create(&tmp);
	if (events_create(tmp.fd, "events", &ring) < 0)
		return 1;
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	events_close(ring);
	tmp_dir_destroy(&tmp);
	return ret;
}
