/* SPDX-License-Identifier: Apache-2.0 */
/* attack_save.h - copies out of GPU buffers: pieces that do not fit, buffers of nobody, arguments that change */
#ifndef TESTS_HOSTILE_ATTACK_SAVE_H
#define TESTS_HOSTILE_ATTACK_SAVE_H

#include "tests/hostile/attack_queue.h"
#include "tests/hostile/raw.h"

#define SAVE_NR 4u			/* blocks of an entry, two pieces each */

struct save_args {
	struct kvshm_commit_rec rec[SAVE_NR];
	struct kvshm_stage_rec piece[2 * SAVE_NR];
};

/* All of it as it should be, but that kvshm-gpud has given nobody that buffer. */
static struct save_args save_of(uint64_t key)
{
	struct save_args a = { 0 };

	for (unsigned i = 0; i < SAVE_NR; i++)
		a.rec[i] = raw_rec(key + i, (struct kvshm_block_ref){ 0 }, RAW_BLOCK);
	for (unsigned i = 0; i < 2 * SAVE_NR; i++)
		a.piece[i] = (struct kvshm_stage_rec){ .off = i % 2 * (RAW_BLOCK / 2), .len = RAW_BLOCK / 2,
						       .buffer = 0xbad };
	return a;
}

static struct kvshm_sqe save_entry(const struct raw *r)
{
	return (struct kvshm_sqe){ .op = KVSHM_OP_STAGE_OUT, .flags = KVSHM_SQE_F_LOOSE, .ns = r->ns, .nr = SAVE_NR,
				   .len = sizeof(struct save_args) };
}

static void saves_nothing(struct raw *r, const struct save_args *a, int res)
{
	struct kvshm_cqe c;

	memcpy(raw_args(r), a, sizeof(*a));
	c = raw_call(r, save_entry(r));
	if (c.res != res || c.nr_dropped != SAVE_NR || c.nr_duplicate)
		die("a save ends with %d, not %d, %u dropped", c.res, res, c.nr_dropped);
}

static void save_pieces_forged(void)
{
	const struct save_args good = save_of(1000);
	struct save_args a;
	struct raw r;

	raw_open(&r, KVSHM_HELLO_F_UNTRUSTED);
	saves_nothing(&r, &good, -ENOENT);
#define FORGED(change) do { a = good; change; saves_nothing(&r, &a, -EINVAL); } while (0)
	FORGED(a.piece[0].len = 0);
	FORGED(a.piece[0].len = 0xffffffffu);
	FORGED(a.piece[0].len++);
	FORGED(a.piece[1].len--);
	FORGED(a.piece[0].off = 0x80000000u);
	FORGED(a.piece[1].off = 0);
	FORGED(a.piece[2].off = RAW_BLOCK);
	FORGED(a.piece[7].buffer = 0);
	FORGED(a.piece[7].resv = 1);
	FORGED(a.piece[3].block = raw_ref(&r, 1));
	FORGED(a.rec[3].block = raw_ref(&r, 1));
	FORGED(a.rec[3].length = 0);
	FORGED(a.rec[3].length = 0xffffffffu);
	FORGED(a.rec[3].length--);
	FORGED(a.rec[3].checksum = 1);
	FORGED(a.rec[3].flags = 1);
	FORGED(a.rec[3].resv[0] = 1);
#undef FORGED
	saves_nothing(&r, &good, -ENOENT);
}

/* Longer than a block of the namespace may be. */
static void save_beyond_the_namespace(void)
{
	struct save_args a = save_of(2000);
	struct raw r;

	raw_open(&r, KVSHM_HELLO_F_UNTRUSTED);
	a.rec[0].length += 4096;
	a.piece[1].len += 4096;
	saves_nothing(&r, &a, -EINVAL);
	r.ns = 999;
	a = save_of(2000);
	saves_nothing(&r, &a, -EINVAL);
}

/* As many as the queue holds, never taken, and then the session is gone: whose blocks were they? */
static void saves_and_dies(void)
{
	const struct save_args a = save_of(3000);
	struct kvshm_sqe e;
	struct raw r;

	raw_open(&r, KVSHM_HELLO_F_UNTRUSTED);
	memcpy(raw_args(&r), &a, sizeof(a));
	e = save_entry(&r);
	for (unsigned i = 0; i < KVSHM_SQ_ENTRIES; i++)
		raw_put(&r, &e);
	raw_ring(&r);
}

/* Good ones, while a thread changes what the daemon reads of them: each ends in one of its ways. */
static void save_arguments_flipped(void)
{
	struct save_args a = save_of(4000);
	struct flipper f = { 0 };
	struct kvshm_sqe e;
	struct kvshm_cqe c;
	pthread_t t;
	struct raw r;

	raw_open(&r, KVSHM_HELLO_F_UNTRUSTED);
	e = save_entry(&r);
	f.words = raw_args(&r);
	f.nr = sizeof(a) / 8;
	must(pthread_create(&t, NULL, flip, &f) == 0);
	for (unsigned nr = 0; nr < 200; nr++) {
		memcpy(raw_args(&r), &a, sizeof(a));
		raw_put(&r, &e);
		raw_ring(&r);
		if (!raw_pop(&r, &c, RAW_WAIT_NS))
			die("thrown out, or not answered");
		if (c.res != -ENOENT && c.res != -EINVAL && c.res != -ERANGE)
			die("a save ends with %d", c.res);
		must(c.nr_dropped == SAVE_NR);
	}
	WRITE_ONCE(f.stop, 1);
	pthread_join(t, NULL);
}

#endif
