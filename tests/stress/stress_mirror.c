/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stress_mirror.c - blocks come and go faster than they are followed: what is told is of one life, and in the end it
 * is what is there
 *
 * The writer grows chains of up to CHAIN blocks over few ids, so that each id is used again at once, and frees them
 * from their tails.  The follower falls behind, is overtaken by the ring now and then and walks in the
 * middle of it all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/rand.h"
#include "tests/lib/kv_dir.h"

/* The follower is of this file, so that its gap can be widened. */
#define KVSHM_TESTPOINTS
#include "utils/mirror.c"

#define BLOCKS 64u
#define CHAIN 8u			/* ids of a chain are neighbours */
#define RUN_NS 1000000000ull
#define DEADLINE_NS 20000000000ull
#define WALKS_MIN 20u
#define TOLD_MIN 1000u

static struct kv_dir k;
static uint32_t is_enough;
static uint32_t lives[BLOCKS + 1];	/* the follower's: generation that was told, 0: none */
static uint64_t told, wrong, doubled, orphans, walks, overtaken;

static void check(void *arg, enum kvshm_event_type type, const struct mirror_block *b, const struct mirror_block *parent)
{
	blk_id_t id = 0;

	(void)arg;
	/* Which id has such a key in this generation?  None: it was read out of two lives. */
	for (blk_id_t i = 1; i <= BLOCKS && !id; i++) {
		const struct kvshm_key key = kv_dir_key(i, b->generation);

		id = memcmp(&key, &b->key, sizeof(key)) ? 0 : i;
	}
	if (!id) {
		wrong++;
		return;
	}
	told++;
	if (type == KVSHM_EVENT_REMOVED) {
		doubled += lives[id] != b->generation;
		lives[id] = 0;
		return;
	}
	doubled += lives[id] != 0;
	lives[id] = b->generation;
	orphans += (id % CHAIN == 1) != !parent;
	if (parent)
		orphans += b->parent != id - 1 || lives[id - 1] != b->parent_generation;
}

static void walk(struct mirror *m, const struct event_ring *r, uint64_t *next)
{
	*next = events_next(r);
	assert_int_equal(mirror_walk(m), 0);
	memset(lives, 0, sizeof(lives));
	assert_int_equal(mirror_each(m, check, NULL), 0);
	walks++;
}

/* On one core nobody comes in between by himself. */
static void widen_gap(const char *name)
{
	(void)name;
	if (rand_mix(told + walks) % 64 == 0)
		sched_yield();
}

static void *write_(void *arg)
{
	struct rand r;
	unsigned len[BLOCKS / CHAIN] = { 0 };

	(void)arg;
	rand_init(&r, 1);
	while (!READ_ONCE(is_enough)) {
		const unsigned c = (unsigned)(rand_below(&r, BLOCKS / CHAIN));
		const blk_id_t first = c * CHAIN + 1;

		if (len[c] < CHAIN && rand_below(&r, 2))
			kv_dir_store(&k, first + len[c], len[c] ? first + len[c] - 1 : 0), len[c]++;
		else if (len[c])
			kv_dir_remove(&k, first + --len[c]);
		if (rand_below(&r, 256) == 0)
			sched_yield();
	}
	return NULL;
}

static void follow(struct mirror *m, const struct event_ring *r, uint64_t *next)
{
	struct kvshm_event e[32];
	uint64_t lost = 0;
	unsigned nr = events_read(r, next, e, 32, &lost);

	if (lost) {
		overtaken++;
		walk(m, r, next);
		return;
	}
	for (unsigned i = 0; i < nr; i++)
		assert_true(mirror_event(m, &e[i], check, NULL));
	if (nr == 0)
		sched_yield();
}

static void what_is_told_is_of_one_life_and_ends_as_what_is_there(void **state)
{
	const uint64_t begin = clock_ns();
	struct event_ring *r;
	struct mirror *m;
	uint64_t next, now;
	pthread_t writer;
	char path[96];

	(void)state;
	snprintf(path, sizeof(path), "%s/events", k.tmp.path);
	assert_int_equal(events_open(path, &r), 0);
	assert_int_equal(mirror_open(k.tmp.path, &m), 0);
	assert_int_equal(pthread_create(&writer, NULL, write_, NULL), 0);
	walk(m, r, &next);
	do {
		follow(m, r, &next);
		if (told % 64 == 0)
			walk(m, r, &next);
		now = clock_ns() - begin;
	} while ((now < RUN_NS || walks < WALKS_MIN || told < TOLD_MIN) && now < DEADLINE_NS);
	WRITE_ONCE(is_enough, 1);
	pthread_join(writer, NULL);
	while (next != events_next(r))
		follow(m, r, &next);
	print_message("%llu told, %llu walks, overtaken %llu times\n", (unsigned long long)told, (unsigned long long)walks,
		      (unsigned long long)overtaken);
	assert_int_equal(wrong, 0);
	assert_int_equal(doubled, 0);
	assert_int_equal(orphans, 0);
	assert_in_range(told, TOLD_MIN, ULONG_MAX);
	assert_in_range(walks, WALKS_MIN, ULONG_MAX);
	for (blk_id_t id = 1; id <= BLOCKS; id++) {
		const bool is_there = state_of(k.dir.desc[id].state) == KVSHM_BLOCK_PUBLISHED;

		assert_int_equal(lives[id], is_there ? kv_dir_generation(&k, id) : 0);
	}
	mirror_close(m);
	events_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(what_is_told_is_of_one_life_and_ends_as_what_is_there) };
	int ret;

	kv_dir_create(&k, BLOCKS);
	kv_dir_serve(&k);
	testpoint_hook = widen_gap;
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	kv_dir_destroy(&k);
	return ret;
}
