/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stress_index.c - readers look up while the writer inserts, removes and re-uses blocks
 *
 * Nothing is pinned, so a hit may be old when it comes back; it must still be true of the life it
 * names.  The writer notes the key of each life before it is published; readers compare.
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
#define KVSHM_TESTPOINTS
#include "kvshm/index/find.c"
#include "tests/lib/fake_dir.h"

enum {
	READERS = 2,
	BLOCKS = 16, KEYS = 24,			/* more keys than blocks: every block changes its key */
	STABLE = 8,				/* keys that stay published, ids above BLOCKS */
	LIVES = 1 << 12,			/* lives of a block that are remembered */
	ENOUGH = 1000,
};
#define SOME_NS 300000000ull
#define MOST_NS 4000000000ull

static struct directory *dir;
static struct kvshm_key keys[KEYS + STABLE + 1];	/* the last is never published */
static uint64_t life[BLOCKS + 1][LIVES];		/* generation << 32 | number of the key */
static uint32_t stop;

struct reader {
	pthread_t thread;
	uint32_t random;
	unsigned long hits, misses, old, wrong;	/* .old: hits whose life was over when they came back */
};

static unsigned random_of(uint32_t *x, unsigned below)
{
	*x = *x * 1103515245u + 12345u;
	return (*x >> 16) % below;
}

/* Between slot, state and key: now and then let the writer run through a life or two. */
static void widen_gap(const char *name)
{
	static _Thread_local uint32_t random;

	if (!random_of(&random, 8))
		sched_yield();
}

static bool is_true_hit(const struct index_hit *hit, unsigned key)
{
	uint64_t note;

	if (hit->id > BLOCKS)
		return key >= KEYS && key < KEYS + STABLE;
	note = READ_ONCE(life[hit->id][hit->generation % LIVES]);
	return (uint32_t)(note >> 32) != hit->generation || (uint32_t)note == key;
}

static void judge(struct reader *r, const struct index_hit *hit, unsigned key)
{
	bool is_stable = key >= KEYS && key < KEYS + STABLE;

	if (!hit->id) {
		r->misses++;
		r->wrong += is_stable;		/* never removed, never to be missed */
		return;
	}
	r->wrong += !is_true_hit(hit, key) || state_generation(hit->state) != hit->generation;
	WRITE_ONCE(r->hits, r->hits + !is_stable);
	if (READ_ONCE(dir->desc[hit->id].state) != hit->state)
		WRITE_ONCE(r->old, r->old + 1);
}

static void *read_loop(void *arg)
{
	struct kvshm_key asked[KEYS + STABLE + 1];
	struct index_hit hits[KEYS + STABLE + 1];
	struct reader *r = arg;
	unsigned i, nr = KEYS + STABLE + 1;

	memcpy(asked, keys, sizeof(asked));
	while (!READ_ONCE(stop)) {
		for (i = 0; i < 200; i++) {
			unsigned key = random_of(&r->random, nr);
			struct index_hit hit = { 0 };

			index_find(dir, 0, &asked[key], &hit);
			judge(r, &hit, key);
		}
		index_find_many(dir, 0, asked, nr, hits);
		for (i = 0; i < nr; i++)
			judge(r, &hits[i], i);
		sched_yield();
	}
	return NULL;
}

struct writer {
	uint32_t random;
	blk_id_t at[KEYS];			/* where a key is published, 0: nowhere */
	unsigned key[BLOCKS + 1];
	bool is_used[BLOCKS + 1];
	unsigned long changes;
};

static void change_one(struct writer *w)
{
	blk_id_t id = 1 + random_of(&w->random, BLOCKS);
	unsigned key = random_of(&w->random, KEYS);
	uint32_t generation;

	if (w->is_used[id]) {
		fake_evict(dir, id);
		w->at[w->key[id]] = 0;
		w->is_used[id] = false;
	}
	if (w->at[key])
		return;
	generation = state_generation(dir->desc[id].state);
	generation += generation == 0;
	WRITE_ONCE(life[id][generation % LIVES], (uint64_t)generation << 32 | key);
	if (fake_publish(dir, 0, &keys[key], id, 0) < 0)
		abort();
	w->at[key] = id;
	w->key[id] = key;
	w->is_used[id] = true;
	w->changes++;
}

static bool is_enough(const struct reader *r, uint64_t elapsed_ns)
{
	unsigned long hits = 0, old = 0;
	unsigned i;

	for (i = 0; i < READERS; i++) {
		hits += READ_ONCE(r[i].hits);
		old += READ_ONCE(r[i].old);
	}
	return elapsed_ns > MOST_NS || (elapsed_ns > SOME_NS && hits > ENOUGH && old > ENOUGH);
}

static void a_hit_is_true_of_the_life_it_names(void **state)
{
	struct reader r[READERS] = { 0 }, sum = { 0 };
	static struct writer w = { .random = 7 };
	uint64_t start = clock_ns();
	char first[160];
	unsigned i;

	testpoint_hook = widen_gap;
	dir = fake_dir_create(BLOCKS + STABLE);
	for (i = 0; i < KEYS + STABLE + 1; i++)
		keys[i] = fake_key(i, 0);
	for (i = 0; i < STABLE; i++)
		fake_publish(dir, 0, &keys[KEYS + i], BLOCKS + 1 + i, 0);
	for (i = 0; i < READERS; i++) {
		r[i].random = i;
		assert_int_equal(pthread_create(&r[i].thread, NULL, read_loop, &r[i]), 0);
	}
	while (!is_enough(r, clock_ns() - start)) {
		for (i = 0; i < 50; i++)
			change_one(&w);
		if (!random_of(&w.random, 8))
			sched_yield();
	}
	WRITE_ONCE(stop, 1);
	for (i = 0; i < READERS; i++) {
		pthread_join(r[i].thread, NULL);
		sum.hits += r[i].hits;
		sum.misses += r[i].misses;
		sum.old += r[i].old;
		sum.wrong += r[i].wrong;
	}
	print_message("%lu changes, %lu hits, %lu of them old, %lu misses\n", w.changes, sum.hits, sum.old,
		      sum.misses);
	assert_int_equal(sum.wrong, 0);
	assert_int_equal(index_verify(dir, first), 0);
	/* A run in which the sides never met has shown nothing. */
	assert_in_range(sum.hits, ENOUGH, ULONG_MAX);
	assert_in_range(sum.old, 100, ULONG_MAX);
	fake_dir_destroy(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hit_is_true_of_the_life_it_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
