/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stress_pin.c - readers pin and read tagged blocks while a writer evicts and publishes
 *
 * One process, so that TSan sees both sides.  Payload is plain memory: a block that is written
 * again under a pin is a wrong tag, and a race for TSan.  More blocks are asked for than there is
 * room, so every block number lives many lives.
 *
 * The scan reads pin files by pread, which TSan does not connect with the reader's store.  After each
 * scan the test loads all words with acquire, in the mapping, for TSan's eyes: what pread saw is there
 * or older.
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
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvshm/base/clock.h"
#define KVSHM_TESTPOINTS
#include "kvshm/pin/slot.c"
#include "tests/lib/fake_dir.h"

enum {
	READERS = 2, WORDS = 64, HELD = 3,
	CHAINS = 12, DEPTH = 6, BLOCKS = 40,	/* 72 blocks wanted, 40 there */
	PAYLOAD = 8,
	ENOUGH = 200,				/* crossings of each kind */
};
#define SOME_NS 300000000ull
#define MOST_NS 4000000000ull

static struct directory *dir;
static struct pin_set *set;
static uint64_t payload[BLOCKS + 1][PAYLOAD];	/* plain: covered by pins */
static struct kvshm_key keys[CHAINS][DEPTH];
static uint64_t *word[READERS];			/* mapped pin files */
static uint32_t stop;

struct reader {
	pthread_t thread;
	unsigned number;
	unsigned long hits, retries, wrong, unlinked;
};

static uint64_t tag_of(unsigned chain, unsigned i)
{
	return (uint64_t)(chain + 1) << 32 | i;
}

/* Between find and pin: now and then let the writer run, or the two would hardly ever meet there. */
static void widen_gap(const char *name)
{
	static _Thread_local unsigned n;

	if (!(++n % 8))
		sched_yield();
}

/* ---- readers ------------------------------------------------------------------------------- */

static void check_blocks(struct reader *r, unsigned chain, const blk_id_t *ids, unsigned nr)
{
	unsigned i, k;

	for (i = 0; i < nr; i++)
		for (k = 0; k < PAYLOAD; k++)
			r->wrong += payload[ids[i]][k] != tag_of(chain, i);
}

/* Pin, resolve, read twice; @yield between the reads, so that the writer meets the pin. */
static void read_chain(struct reader *r, struct pin_table *t, unsigned chain, bool yield)
{
	unsigned retries, nr;
	struct index_hit hit;
	blk_id_t ids[DEPTH];
	uint32_t slot;
	int len;

	len = pin_longest(t, dir, 0, keys[chain], DEPTH, FAKE_BLOCK_LEN, &hit, &slot, &retries);
	WRITE_ONCE(r->retries, r->retries + retries);
	if (len <= 0) {
		sched_yield();
		return;
	}
	nr = index_resolve(dir, 0, keys[chain], (unsigned)len, ids);
	if (nr != (unsigned)len || ids[nr - 1] != hit.id) {
		r->unlinked++;
	} else {
		check_blocks(r, chain, ids, nr);
		if (yield)
			sched_yield();
		check_blocks(r, chain, ids, nr);
		WRITE_ONCE(r->hits, r->hits + 1);
	}
	pin_drop(t, slot);
}

static void *read_loop(void *arg)
{
	struct reader *r = arg;
	struct pin_table t;
	uint32_t n;

	if (pin_table_init(&t, word[r->number], WORDS, 0) < 0)
		abort();
	for (n = r->number; !READ_ONCE(stop); n = n * 1103515245u + 12345u)
		read_chain(r, &t, (n >> 16) % CHAINS, n >> 8 & 1);
	pin_table_fini(&t);
	return NULL;
}

/* ---- the writer ----------------------------------------------------------------------------- */

struct writer {
	unsigned len[CHAINS];			/* published blocks of each chain */
	blk_id_t id[CHAINS][DEPTH];
	blk_id_t free[BLOCKS];
	unsigned nr_free;
	uint32_t random;
	unsigned long published, freed, restored;
};

static unsigned random_of(struct writer *w, unsigned below)
{
	w->random = w->random * 1103515245u + 12345u;
	return (w->random >> 16) % below;
}

static void publish_next(struct writer *w, unsigned chain)
{
	unsigned i = w->len[chain], k;
	blk_id_t id;

	if (i == DEPTH || !w->nr_free)
		return;
	id = w->free[--w->nr_free];
	fake_grant(dir, 0, id);
	for (k = 0; k < PAYLOAD; k++)
		payload[id][k] = tag_of(chain, i);
	if (fake_commit(dir, 0, &keys[chain][i], id, i ? w->id[chain][i - 1] : 0) < 0)
		abort();
	w->id[chain][i] = id;
	w->len[chain]++;
	w->published++;
}

static void free_leaf(struct writer *w, unsigned chain)
{
	blk_id_t id = w->id[chain][--w->len[chain]];

	fake_evict(dir, id);
	memset(payload[id], 0xee, sizeof(payload[id]));
	w->free[w->nr_free++] = id;
	w->freed++;
}

static void scan(void)
{
	unsigned i, k;

	if (pin_set_scan(set, dir) < 0)
		abort();
	for (i = 0; i < READERS; i++)
		for (k = 1; k < WORDS; k++)
			/* PN-2: see the head of this file; pairs with pin_drop(). */
			(void)load_acquire(&word[i][k]);
}

/* The tails of all chains from depth @from on are victims: close, scan, restore, free. */
static void evict(struct writer *w, unsigned from)
{
	unsigned c, i, keep;

	for (c = 0; c < CHAINS; c++)
		for (i = w->len[c]; i-- > from;)
			block_close(&dir->desc[w->id[c][i]]);
	/* PN-1: all closed before the scan; pairs with pin_take(). */
	smp_mb();
	scan();
	for (c = 0; c < CHAINS; c++) {
		for (keep = from; keep < w->len[c] && pin_set_is_pinned(set, w->id[c][keep]); keep++) {
			block_reopen(&dir->desc[w->id[c][keep]]);
			w->restored++;
		}
		while (w->len[c] > keep)
			free_leaf(w, c);
	}
}

static void write_some(struct writer *w)
{
	unsigned i;

	for (i = 0; i < 8; i++)
		publish_next(w, random_of(w, CHAINS));
	if (w->nr_free < BLOCKS / 4)
		evict(w, random_of(w, DEPTH));
	if (!random_of(w, 4))
		sched_yield();
}

/* ---- the test ------------------------------------------------------------------------------- */

static void make_world(struct writer *w)
{
	unsigned c, i;

	dir = fake_dir_create(BLOCKS);
	assert_int_equal(pin_set_create(READERS, &set), 0);
	for (i = 0; i < READERS; i++) {
		int fd = memfd_create("pins", MFD_CLOEXEC);

		assert_true(fd >= 0);
		assert_int_equal(ftruncate(fd, WORDS * sizeof(uint64_t)), 0);
		word[i] = mmap(NULL, WORDS * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert_true(word[i] != MAP_FAILED);
		assert_int_equal(pin_set_add(set, i + 1, fd, WORDS, 0), 0);
	}
	for (c = 0; c < CHAINS; c++)
		for (i = 0; i < DEPTH; i++)
			keys[c][i] = fake_key(c, i);
	for (i = 0; i < BLOCKS; i++)
		w->free[w->nr_free++] = i + 1;
}

static bool is_enough(const struct writer *w, const struct reader *r, uint64_t elapsed_ns)
{
	unsigned long hits = 0, retries = 0;
	unsigned i;

	for (i = 0; i < READERS; i++) {
		hits += READ_ONCE(r[i].hits);
		retries += READ_ONCE(r[i].retries);
	}
	return elapsed_ns > MOST_NS || (elapsed_ns > SOME_NS && hits > 10 * ENOUGH && retries > 10 &&
					w->restored > ENOUGH && w->freed > ENOUGH);
}

static void no_block_is_reused_under_a_pin(void **state)
{
	static struct writer w = { .random = 1 };
	struct reader r[READERS] = { 0 }, sum = { 0 };
	uint64_t start = clock_ns();
	char first[160];
	unsigned i;

	make_world(&w);
	testpoint_hook = widen_gap;
	for (i = 0; i < READERS; i++) {
		r[i].number = i;
		assert_int_equal(pthread_create(&r[i].thread, NULL, read_loop, &r[i]), 0);
	}
	while (!is_enough(&w, r, clock_ns() - start))
		write_some(&w);
	WRITE_ONCE(stop, 1);
	for (i = 0; i < READERS; i++) {
		pthread_join(r[i].thread, NULL);
		sum.hits += r[i].hits;
		sum.retries += r[i].retries;
		sum.wrong += r[i].wrong;
		sum.unlinked += r[i].unlinked;
	}
	print_message("%lu hits, %lu retries, %lu published, %lu freed, %lu restored\n", sum.hits,
		      sum.retries, w.published, w.freed, w.restored);
	assert_int_equal(sum.wrong, 0);
	assert_int_equal(sum.unlinked, 0);
	assert_int_equal(index_verify(dir, first), 0);
	/* A run in which the sides never met has shown nothing. */
	assert_in_range(w.restored, ENOUGH, ULONG_MAX);
	assert_in_range(w.freed, ENOUGH, ULONG_MAX);
	assert_in_range(sum.retries, 1, ULONG_MAX);
	assert_in_range(sum.hits, ENOUGH, ULONG_MAX);
	pin_set_destroy(set);
	fake_dir_destroy(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_block_is_reused_under_a_pin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
