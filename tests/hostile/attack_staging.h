/* SPDX-License-Identifier: Apache-2.0 */
/* attack_staging.h - touches, counters and the staging window */
#ifndef TESTS_HOSTILE_ATTACK_STAGING_H
#define TESTS_HOSTILE_ATTACK_STAGING_H

#include "tests/hostile/attack_queue.h"
#include "tests/hostile/raw.h"

/* ---- touches, counters (H6) --------------------------------------------------------------------------- */

static void touches_forged(void)
{
	struct kvshm_touch *ring;
	struct rand rnd;
	struct raw r;
	uint64_t end;

	raw_open(&r, 0);
	rand_init(&rnd, 3);
	ring = (void *)((char *)r.seg + r.seg->touch_off);
	for (end = clock_ns() + FLIP_NS; clock_ns() < end;) {
		fill_random(&rnd, ring, KVSHM_TOUCH_ENTRIES * sizeof(*ring) / 8);
		for (unsigned i = 0; i < KVSHM_TOUCH_ENTRIES; i += 2)
			ring[i].id = (uint32_t)rand_below(&rnd, 1200);
		store_release(&r.seg->touch.tail, load_acquire(&r.seg->touch.head) + KVSHM_TOUCH_ENTRIES);
	}
	must(raw_nop(&r) == 0);
}

static void counters_forged(void)
{
	struct rand rnd;
	struct raw r;
	unsigned i;

	raw_open(&r, 0);
	rand_init(&rnd, 4);
	for (i = 0; i < 30; i++) {
		fill_random(&rnd, r.seg->counter, KVSHM_CC_WORDS);
		nap(10000);
	}
	must(raw_nop(&r) == 0);
}

/* ---- staging (H7) --------------------------------------------------------------------------------------- */

static void staging_open(struct raw *r)
{
	raw_open(r, KVSHM_HELLO_F_UNTRUSTED);
	raw_staging(r);
}

/* A staged commit of @nr records, not waited for. */
static void staged_put(struct raw *r, uint64_t key, uint32_t nr, uint32_t length)
{
	struct kvshm_commit_rec *rec = raw_args(r);
	struct kvshm_sqe e = { .op = KVSHM_OP_COMMIT, .flags = KVSHM_SQE_F_STAGED | KVSHM_SQE_F_LOOSE, .ns = r->ns,
			       .nr = nr, .len = nr * (uint32_t)sizeof(*rec) };

	for (uint32_t i = 0; i < nr; i++)
		rec[i] = raw_rec(key + i, (struct kvshm_block_ref){ 0 }, length);
	raw_put(r, &e);
	raw_ring(r);
}

static void staging_tail_beyond(void)
{
	struct raw r;

	staging_open(&r);
	staged_put(&r, 1, 4, RAW_BLOCK);
	store_release(&r.seg->staging.tail, KVSHM_STAGING_SLICES + 1);
	must_be_thrown_out(&r);
}

static void staging_tail_back(void)
{
	struct kvshm_cqe c;
	struct raw r;

	staging_open(&r);
	staged_put(&r, 100, 1, RAW_BLOCK);
	store_release(&r.seg->staging.tail, 1);
	raw_ring(&r);
	must(raw_pop(&r, &c, RAW_WAIT_NS) && c.res + (int)c.nr_duplicate == 1);
	staged_put(&r, 101, 1, RAW_BLOCK);
	store_release(&r.seg->staging.tail, 0);
	must_be_thrown_out(&r);
}

static void staging_head_forged(void)
{
	struct kvshm_cqe c;
	struct raw r;

	staging_open(&r);
	for (uint32_t i = 0; i < 20; i++) {
		staged_put(&r, 200 + i, 1, RAW_BLOCK);
		store_release(&r.seg->staging.head, 0xffffff00u);
		store_release(&r.seg->staging.tail, i + 1);
		raw_ring(&r);
		must(raw_pop(&r, &c, RAW_WAIT_NS) && c.res + (int)c.nr_duplicate == 1);
	}
}

static void staging_without_commit(void)
{
	struct raw r;

	staging_open(&r);
	store_release(&r.seg->staging.tail, KVSHM_STAGING_SLICES);
	raw_ring(&r);
	must(raw_nop(&r) == 0);
}

/* Puts that never get their bytes go with their session. */
static void staged_never_filled(void)
{
	struct raw r;

	staging_open(&r);
	for (unsigned i = 0; i < 30; i++)
		staged_put(&r, 300 + 100 * i, 100, RAW_BLOCK);
	store_release(&r.seg->staging.tail, 3);
	raw_ring(&r);
	nap(20000);
}

static void staged_records_forged(void)
{
	static const uint32_t bad[] = { 0, KVSHM_BLOCK_MAX + 1, 0xffffffffu };
	struct raw broken[ARRAY_SIZE(bad)], r;
	struct kvshm_cqe c;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		staging_open(&broken[i]);
		staged_put(&broken[i], 400, 1, bad[i]);
		must(raw_pop(&broken[i], &c, RAW_WAIT_NS) && c.res < 0 && c.nr_dropped == 1);
		/* Whatever it puts into the window now may be that one's payload. */
		staged_put(&broken[i], 400, 1, RAW_BLOCK);
		must(raw_pop(&broken[i], &c, RAW_WAIT_NS) && c.res == -EINVAL);
	}
	staging_open(&r);
	/* Longer than the namespace's blocks: its slices are taken, nothing is published. */
	staged_put(&r, 401, 1, 2 * KVSHM_STAGING_SLICE);
	store_release(&r.seg->staging.tail, 2);
	raw_ring(&r);
	must(raw_pop(&r, &c, RAW_WAIT_NS) && c.res == 0 && c.nr_dropped == 1);
	r.ns = 999;
	staged_put(&r, 402, 1, RAW_BLOCK);
	store_release(&r.seg->staging.tail, 3);
	raw_ring(&r);
	must(raw_pop(&r, &c, RAW_WAIT_NS) && c.res == 0 && c.nr_dropped == 1);
}

static void staged_without_window(void)
{
	struct kvshm_cqe c;
	struct raw r;

	raw_open(&r, KVSHM_HELLO_F_UNTRUSTED);
	staged_put(&r, 500, 1, RAW_BLOCK);
	must(raw_pop(&r, &c, RAW_WAIT_NS) && c.res == -EINVAL);
}

/* What was copied is what was summed, whatever the client writes meanwhile. */
static void staged_bytes_flipped(void)
{
	struct flipper f = { .nr = KVSHM_STAGING_SLICE * KVSHM_STAGING_SLICES / 8 };
	uint64_t end = clock_ns() + FLIP_NS;
	struct kvshm_cqe c;
	pthread_t t;
	struct raw r;

	staging_open(&r);
	f.words = (void *)r.staging;
	must(pthread_create(&t, NULL, flip, &f) == 0);
	for (uint32_t i = 0; clock_ns() < end; i++) {
		staged_put(&r, 600 + i, 1, RAW_BLOCK);
		store_release(&r.seg->staging.tail, i + 1);
		raw_ring(&r);
		must(raw_pop(&r, &c, RAW_WAIT_NS));
	}
	WRITE_ONCE(f.stop, 1);
	pthread_join(t, NULL);
}

#endif
