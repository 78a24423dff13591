/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stress_resolve.c - readers resolve chains that are just growing, by guessed ids
 *
 * A guessed block is reached without its index slot, so only its own state word (BK-1) orders the
 * payload that the reader then reads.  Nothing is evicted: every block lives once.
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

#include "kvshm/base/clock.h"
#include "kvshm/index/index.h"
#include "tests/lib/fake_dir.h"

enum {
	READERS = 2,
	DEPTH = 32, CHAINS = 2000,
	PAYLOAD = 8,
	ENOUGH = 200,				/* growing chains seen by each reader */
};
#define MOST_NS 4000000000ull

static struct directory *dir;
static struct kvshm_key (*keys)[DEPTH];		/* [CHAINS] */
static uint64_t (*payload)[PAYLOAD];		/* plain; [block id] */
static uint32_t growing;			/* chain being written */
static uint32_t stop;

struct reader {
	pthread_t thread;
	unsigned long partial, blocks, wrong;	/* .partial: chains seen half grown */
};

static void read_chain(struct reader *r, unsigned chain)
{
	unsigned nr, i, k;
	blk_id_t ids[DEPTH];

	nr = index_resolve(dir, 0, keys[chain], DEPTH, ids);
	for (i = 0; i < nr; i++)
		for (k = 0; k < PAYLOAD; k++)
			r->wrong += payload[ids[i]][k] != ((uint64_t)chain << 32 | i);
	r->blocks += nr;
	WRITE_ONCE(r->partial, r->partial + (nr > 1 && nr < DEPTH));
}

static void *read_loop(void *arg)
{
	struct reader *r = arg;

	while (!READ_ONCE(stop)) {
		read_chain(r, READ_ONCE(growing));
		sched_yield();
	}
	return NULL;
}

static void grow_chain(unsigned chain)
{
	blk_id_t first = chain * DEPTH + 1;
	unsigned i, k;

	WRITE_ONCE(growing, chain);
	for (i = 0; i < DEPTH; i++) {
		fake_grant(dir, 0, first + i);
		for (k = 0; k < PAYLOAD; k++)
			payload[first + i][k] = (uint64_t)chain << 32 | i;
		if (fake_commit(dir, 0, &keys[chain][i], first + i, i ? first + i - 1 : 0) < 0)
			abort();
		if (i % 4 == 3)
			sched_yield();
	}
}

static bool is_enough(const struct reader *r, uint64_t elapsed_ns)
{
	bool enough = true;
	unsigned i;

	for (i = 0; i < READERS; i++)
		enough = enough && READ_ONCE(r[i].partial) > ENOUGH;
	return enough || elapsed_ns > MOST_NS;
}

static void a_guessed_block_has_its_payload(void **state)
{
	struct reader r[READERS] = { 0 };
	uint64_t start = clock_ns();
	unsigned c, i;

	dir = fake_dir_create(CHAINS * DEPTH);
	keys = calloc(CHAINS, sizeof(*keys));
	payload = calloc(CHAINS * DEPTH + 1, sizeof(*payload));
	assert_true(keys && payload);
	for (c = 0; c < CHAINS; c++)
		for (i = 0; i < DEPTH; i++)
			keys[c][i] = fake_key(c, i);
	for (i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&r[i].thread, NULL, read_loop, &r[i]), 0);
	for (c = 0; c < CHAINS && (c < ENOUGH || !is_enough(r, clock_ns() - start)); c++)
		grow_chain(c);
	WRITE_ONCE(stop, 1);
	for (i = 0; i < READERS; i++) {
		pthread_join(r[i].thread, NULL);
		print_message("%u chains, %lu seen half grown, %lu blocks read\n", c, r[i].partial,
			      r[i].blocks);
		assert_int_equal(r[i].wrong, 0);
		/* A run in which the sides never met has shown nothing. */
		assert_in_range(r[i].partial, 10, ULONG_MAX);
	}
	free(payload);
	free(keys);
	fake_dir_destroy(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guessed_block_has_its_payload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
