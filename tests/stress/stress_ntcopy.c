/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stress_ntcopy.c - a payload copied past the cache is there when its word is (NT-1)
 *
 * Streaming stores wait in write-combining buffers, and only a fence puts them before the store that
 * publishes them.  No sanitizer sees that; the hardware shows it at once: without the fence most
 * readers find the old bytes at the end of the block.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/ntcopy.h"
#include "tests/stress/two_cores.h"

enum { LEN = 16384, WORDS = LEN / 8, ROUNDS = 20000 };

static struct {
	uint32_t published __cacheline_aligned;	/* round that may be read */
	uint32_t taken __cacheline_aligned;	/* round that was read */
	uint64_t payload[WORDS] __cacheline_aligned;
} sh;

struct reader {
	unsigned long rounds, waited, wrong;
	uint32_t last;
};

static void *read_loop(void *arg)
{
	struct reader *r = arg;
	uint32_t round;
	unsigned i;

	run_on_core(1);
	for (round = 1; round <= r->last; round++) {
		/* BK-1: stands for the state word; pairs with publish(). */
		while (load_acquire(&sh.published) != round) {
			r->waited++;
			cpu_relax();
			if (!(r->waited % 256))
				sched_yield();
		}
		for (i = WORDS; i-- > 0;)		/* the end is what comes late */
			if (READ_ONCE(sh.payload[i]) != round)
				break;
		r->wrong += i != -1u;
		r->rounds++;
		/* BK-1: all read before it is written again; pairs with publish(). */
		store_release(&sh.taken, round);
	}
	return NULL;
}

static void publish(uint64_t *source, uint32_t round)
{
	unsigned i, spins = 0;

	for (i = 0; i < WORDS; i++)
		source[i] = round;
	/* BK-1: as above; pairs with read_loop(). */
	while (load_acquire(&sh.taken) != round - 1) {
		cpu_relax();
		if (!(++spins % 256))
			sched_yield();
	}
	ntcopy(sh.payload, source, LEN);
	/* BK-1: stands for the state word, and orders plain stores only; pairs with read_loop(). */
	store_release(&sh.published, round);
}

static void a_copy_past_the_cache_is_complete_when_published(void **state)
{
	struct reader r = { .last = ROUNDS };
	uint64_t *source = aligned_alloc(64, LEN);
	uint32_t round;
	pthread_t thread;

	assert_non_null(source);
	run_on_core(0);
	assert_int_equal(pthread_create(&thread, NULL, read_loop, &r), 0);
	for (round = 1; round <= ROUNDS; round++)
		publish(source, round);
	pthread_join(thread, NULL);
	print_message("%lu rounds, %lu looks too early, %lu incomplete\n", r.rounds, r.waited, r.wrong);
	assert_int_equal(r.wrong, 0);
	/* A reader that never came early has shown nothing. */
	assert_in_range(r.waited, 1, ULONG_MAX);
	free(source);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_copy_past_the_cache_is_complete_when_published),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
