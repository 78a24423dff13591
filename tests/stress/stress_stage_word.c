/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stress_stage_word.c - completion words, the polling thread and a waiting one
 *
 * One thread writes a layer's bytes and sets its word, the other waits for the word and reads the bytes, then lets the
 * layer be written again.  Plain bytes under TSan: GL-1.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gpu/stage_word.h"
#include "tests/stress/two_cores.h"

#define NR_LAYERS 4u
#define NR_ROUNDS 20000u

static uint64_t word[NR_LAYERS], taken[NR_LAYERS];
static uint64_t bytes[NR_LAYERS][8];

static void *poller(void *arg)
{
	(void)arg;
	run_on_core(1);
	for (uint64_t round = 1; round <= NR_ROUNDS; round++)
		for (unsigned l = 0; l < NR_LAYERS; l++) {
			/* GL-1: the reader is done; pairs with who_sees_the_word_sees_the_bytes(). */
			while (load_acquire(&taken[l]) != round - 1)
				sched_yield();
			for (unsigned i = 0; i < 8; i++)
				bytes[l][i] = round * 100 + l * 10 + i;
			stage_word_set(&word[l], round);
		}
	return NULL;
}

static void who_sees_the_word_sees_the_bytes(void **state)
{
	uint64_t nr_waits = 0;
	pthread_t th;

	run_on_core(0);
	assert_int_equal(pthread_create(&th, NULL, poller, NULL), 0);
	for (uint64_t round = 1; round <= NR_ROUNDS; round++)
		for (unsigned l = 0; l < NR_LAYERS; l++) {
			uint64_t got[8];

			while (stage_word_look(&word[l], round) != 1) {
				nr_waits++;
				sched_yield();
			}
			for (unsigned i = 0; i < 8; i++)
				got[i] = bytes[l][i];
			/* GL-1: read before it is written again, as a released block would be; pairs with poller(). */
			store_release(&taken[l], round);
			for (unsigned i = 0; i < 8; i++)
				assert_int_equal(got[i], round * 100 + l * 10 + i);
		}
	pthread_join(th, NULL);
	/* they did meet */
	assert_true(nr_waits > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_sees_the_word_sees_the_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
