/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_reclaim_race.c - readers pin and read while the writer evicts, drops, moves and fills again
 *
 * The bytes of a block follow from its key, so a reader that holds a pin knows what it must see; a
 * block that was freed under it is soon filled for another key.  Threads stand for processes: they
 * share the directory and the pin files, and nothing else.
 */
#include <pthread.h>
#include <sched.h>

#include "fixture.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"

enum { CHAINS = 60, DEPTH = 16, ROUNDS = 120000, READERS = FIX_SESSIONS - 1 };

struct reader {
	pthread_t thread;
	unsigned session;
	unsigned long hits, blocks, lost, wrong;
};

static struct fix f;
static uint16_t ns[2];
static uint32_t is_over;

static uint64_t tag_of(uint32_t chain, uint32_t i)
{
	return rand_mix((uint64_t)chain << 32 | (i + 1));
}

static uint64_t read_tag(blk_id_t id)
{
	const uint64_t *p = arena_ptr(&f.arena, block_offset(&f.dir.desc[id]));

	return READ_ONCE(*p);
}

static void read_prefix(struct reader *r, struct rand *rnd, uint32_t chain)
{
	struct kvshm_key keys[DEPTH];
	unsigned i, looks, retries = 0;
	blk_id_t ids[DEPTH];
	struct index_hit hit;
	uint32_t slot;
	int nr, n;

	for (i = 0; i < DEPTH; i++)
		keys[i] = fix_key(chain, i);
	nr = pin_longest(&f.table[r->session], &f.dir, ns[chain % 2], keys, DEPTH, 65536, &hit, &slot,
			 &retries);
	r->lost += retries;
	if (nr <= 0)
		return;
	/* Shorter than the pin if it was dropped meanwhile: what resolves is protected. */
	n = (int)index_resolve(&f.dir, ns[chain % 2], keys, (unsigned)nr, ids);
	for (looks = 1 + (unsigned)rand_below(rnd, 4); looks-- > 0; sched_yield())
		for (i = 0; i < (unsigned)n; i++)
			r->wrong += read_tag(ids[i]) != tag_of(chain, i);
	r->hits++;
	r->blocks += (unsigned)n;
	pin_drop(&f.table[r->session], slot);
}

static void *reader_main(void *arg)
{
	struct reader *r = arg;
	struct rand rnd;

	rand_init(&rnd, r->session);
	while (!READ_ONCE(is_over))
		read_prefix(r, &rnd, (uint32_t)rand_below(&rnd, CHAINS));
	return NULL;
}

/* One more block of this chain, if its parent is here. */
static void put_next(uint32_t chain)
{
	struct cache_commit_result r;
	struct kvshm_key parent;
	uint64_t tag;
	uint32_t i;
	blk_id_t id;

	for (i = 0; i < DEPTH && fix_find(&f, ns[chain % 2], chain, i); i++)
		;
	id = i < DEPTH ? fix_grant(&f, FIX_OWNER, ns[chain % 2]) : 0;
	if (!id)
		return;
	tag = tag_of(chain, i);
	WRITE_ONCE(*(uint64_t *)(void *)fix_bytes(&f, id), tag);
	parent = fix_key(chain, i - 1);
	fix_commit(&f, FIX_OWNER, ns[chain % 2], i ? &parent : NULL, fix_rec(&f, id, fix_key(chain, i)), &r);
}

static void writer_round(struct rand *rnd, unsigned round)
{
	uint32_t chain = (uint32_t)rand_below(rnd, CHAINS), i;
	const struct kvshm_key key = fix_key(chain, (uint32_t)rand_below(rnd, DEPTH));

	for (i = 0; i < 6; i++)
		put_next(chain);
	if (round % 20 == 0)
		cache_drop(f.c, ns[chain % 2], &key);
	if (round % 7 == 0)
		cache_tick(f.c, f.now += 2000000000u);
	if (round % 500 == 0)
		sched_yield();
}

static void no_reader_ever_sees_another_blocks_bytes(void **state)
{
	struct reader r[READERS] = { { 0 } };
	unsigned long hits = 0, lost = 0, blocks = 0;
	struct rand rnd;
	unsigned i;

	fix_open(&f, 256, 6, NULL);	/* room for a fifth of the keys */
	ns[0] = fix_ns(&f, 1, 65536);
	ns[1] = fix_ns(&f, 2, 40960);
	for (i = 0; i < READERS; i++) {
		r[i].session = 1 + i;
		assert_int_equal(pthread_create(&r[i].thread, NULL, reader_main, &r[i]), 0);
	}
	rand_init(&rnd, 99);
	for (i = 0; i < ROUNDS; i++)
		writer_round(&rnd, i);
	WRITE_ONCE(is_over, 1);
	for (i = 0; i < READERS; i++) {
		pthread_join(r[i].thread, NULL);
		assert_int_equal(r[i].wrong, 0);
		hits += r[i].hits;
		lost += r[i].lost;
		blocks += r[i].blocks;
	}
	print_message("%lu pins, %lu blocks read, %lu pins lost to the writer; %lu evicted, %lu restored, "
		      "%lu relocated\n", hits, blocks, lost, fix_count(&f).evictions,
		      fix_count(&f).victims_restored, fix_count(&f).relocations);
	/* The two sides must have met. */
	assert_true(hits > 0 && fix_count(&f).evictions > 0 && fix_count(&f).victims_restored > 0);
	cache_tick(f.c, f.now += 2000000000u);
	fix_verify(&f);
	fix_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_reader_ever_sees_another_blocks_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
