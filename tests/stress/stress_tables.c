/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stress_tables.c - what the directory says while it grows: start count, namespaces, extents
 *
 * Each is an entry written once and a word that vouches for it (SB-1, NS-1, XT-1).  A reader follows
 * the word and reads the entries plainly, as clients do; TSan judges the order.
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
#include <sys/mman.h>
#include <unistd.h>

#include "kvshm/arena/arena.h"
#include "kvshm/arena/namespace.h"
#include "kvshm/base/clock.h"
#include "kvshm/cache/cache.h"
#include "tests/lib/tmp_dir.h"

enum { NR_NS = 60, NR_EXTENTS = 12, NR_STARTS = 2000 };

static const struct directory_geometry geometry = {
	.max_blocks = 1000, .max_ns = NR_NS + 2, .max_extents = NR_EXTENTS,
};

static struct tmp_dir tmp;
static struct directory dir;
static uint64_t repaired[NR_STARTS + 1];	/* plain: vouched for by the start count */

struct follower {
	pthread_t thread;
	unsigned long seen_half;		/* looks at a table that was neither empty nor full */
	unsigned long wrong;
	uint32_t is_ready, is_done;
};

static int setup(void **state)
{
	int fd = memfd_create("directory", MFD_CLOEXEC);
	int ret;

	tmp_dir_create(&tmp);
	if (ftruncate(fd, (off_t)directory_size(&geometry)) < 0)
		return -1;
	ret = directory_create(fd, &geometry, &dir);
	close(fd);
	return ret;
}

static int teardown(void **state)
{
	directory_detach(&dir);
	tmp_dir_destroy(&tmp);
	return 0;
}

static void begin(struct follower *f)
{
	WRITE_ONCE(f->is_ready, 1);
	sched_yield();
}

static void saw_half(struct follower *f, bool is_half)
{
	WRITE_ONCE(f->seen_half, f->seen_half + is_half);
}

/* On a busy machine all can be done before the other side has its turn. */
static void wait_for_a_look(const struct follower *f)
{
	uint64_t end = clock_ns() + 10000000000u;

	while (!READ_ONCE(f->seen_half) && clock_ns() < end)
		sched_yield();
}

/* Start @run, let @grow(i) be done for i < @nr, and judge. */
static void follow(void *(*run)(void *), void (*grow)(unsigned i), unsigned nr)
{
	struct follower f = { 0 };
	unsigned i;

	assert_int_equal(pthread_create(&f.thread, NULL, run, &f), 0);
	while (!READ_ONCE(f.is_ready))
		sched_yield();
	for (i = 0; i < nr; i++) {
		grow(i);
		sched_yield();
		if (i == nr / 2)
			wait_for_a_look(&f);
	}
	WRITE_ONCE(f.is_done, 1);
	pthread_join(f.thread, NULL);
	print_message("%lu looks at a half-grown table\n", f.seen_half);
	assert_int_equal(f.wrong, 0);
	/* A run in which the sides never met has shown nothing. */
	assert_in_range(f.seen_half, 1, ULONG_MAX);
}

/* ---- SB-1 ------------------------------------------------------------------------------------ */

static void start_once(unsigned i)
{
	repaired[i + 1] = i + 1;
	directory_set_state(&dir, KVSHM_SB_LIVE, i + 1);
}

static void *follow_starts(void *arg)
{
	struct follower *f = arg;

	for (begin(f); !READ_ONCE(f->is_done); sched_yield()) {
		uint32_t n = directory_start_count(directory_state(&dir));

		f->wrong += repaired[n] != n;
		saw_half(f, n > 0 && n < NR_STARTS);
	}
	return NULL;
}

static void a_start_count_vouches_for_the_repair_before_it(void **state)
{
	follow(follow_starts, start_once, NR_STARTS);
}

/* ---- NS-1 ------------------------------------------------------------------------------------ */

static struct cache *cache;

static void attach_one(unsigned i)
{
	struct kvshm_ns_args args = { .block_len = 65536 + i, .block_tokens = 16 };
	uint16_t ns;

	args.fingerprint[0] = (uint8_t)(i + 1);
	if (cache_ns_attach(cache, 1, &args, &ns) < 0)
		abort();
}

static void *follow_namespaces(void *arg)
{
	struct follower *f = arg;

	for (begin(f); !READ_ONCE(f->is_done); sched_yield()) {
		const struct kvshm_ns_entry *e;
		uint32_t ns;

		for (ns = 1; (e = ns_entry(&dir, ns)); ns++)
			f->wrong += e->fingerprint[0] != ns || e->block_len != 65536 + ns - 1;
		saw_half(f, ns > 1 && ns <= NR_NS);
	}
	return NULL;
}

static void a_live_namespace_has_its_whole_entry(void **state)
{
	struct arena arena = { 0 };
	struct cache_config cfg = { .dir = &dir, .arena = &arena };

	assert_int_equal(pin_set_create(1, &cfg.pins), 0);
	assert_int_equal(cache_create(&cfg, &cache), 0);
	follow(follow_namespaces, attach_one, NR_NS);
	cache_destroy(cache);
	pin_set_destroy(cfg.pins);
}

/* ---- XT-1 ------------------------------------------------------------------------------------ */

static struct arena growing;

static void grow_once(unsigned i)
{
	const struct arena_config cfg = {
		.dirfd = tmp.fd, .size = NR_EXTENTS * HUGE_LEN, .extent_len = HUGE_LEN,
	};

	if (arena_grow(&growing, &dir, &cfg) <= 0)
		abort();
}

static void *follow_extents(void *arg)
{
	struct follower *f = arg;
	struct arena a;

	if (arena_reserve(&a, 2 * NR_EXTENTS * HUGE_LEN, false) < 0)
		abort();
	for (begin(f); !READ_ONCE(f->is_done); sched_yield()) {
		f->wrong += arena_open(&a, &dir, tmp.fd) < 0;
		f->wrong += a.span != a.nr_extents * HUGE_LEN;
		saw_half(f, a.nr_extents > 0 && a.nr_extents < NR_EXTENTS);
	}
	arena_unmap(&a);
	return NULL;
}

static void a_counted_extent_has_its_whole_entry(void **state)
{
	assert_int_equal(arena_reserve(&growing, 2 * NR_EXTENTS * HUGE_LEN, true), 0);
	follow(follow_extents, grow_once, NR_EXTENTS);
	arena_unmap(&growing);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_start_count_vouches_for_the_repair_before_it),
		cmocka_unit_test(a_live_namespace_has_its_whole_entry),
		cmocka_unit_test(a_counted_extent_has_its_whole_entry),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
