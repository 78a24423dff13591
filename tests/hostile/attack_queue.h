/* SPDX-License-Identifier: Apache-2.0 */
/* attack_queue.h - rings and entries: indices, malformed and changing entries */
#ifndef TESTS_HOSTILE_ATTACK_QUEUE_H
#define TESTS_HOSTILE_ATTACK_QUEUE_H

#include <pthread.h>

#include "tests/hostile/raw.h"

#define FLIP_NS 300000000ull

/* ---- indices (H1) -------------------------------------------------------------------------------- */

static void sq_tail_beyond(void)
{
	struct raw r;

	raw_open(&r, 0);
	store_release(&r.seg->sq.tail, r.tail + KVSHM_SQ_ENTRIES + 1);
	must_be_thrown_out(&r);
}

static void sq_tail_back(void)
{
	struct raw r;

	raw_open(&r, 0);
	must(raw_nop(&r) == 0);
	store_release(&r.seg->sq.tail, r.tail - 1);
	must_be_thrown_out(&r);
}

static void sq_tail_half_round(void)
{
	struct raw r;

	raw_open(&r, 0);
	store_release(&r.seg->sq.tail, r.tail + 0x80000000u);
	must_be_thrown_out(&r);
}

/* All of the ring is rubbish that may be read: each entry is answered, or the session ends. */
static void sq_full_of_zero(void)
{
	struct kvshm_cqe c;
	struct raw r;
	unsigned n;

	raw_open(&r, 0);
	memset((char *)r.seg + r.seg->sq_off, 0, KVSHM_SQ_ENTRIES * sizeof(struct kvshm_sqe));
	r.tail += KVSHM_SQ_ENTRIES;
	store_release(&r.seg->sq.tail, r.tail);
	raw_ring(&r);
	for (n = 0; n < KVSHM_SQ_ENTRIES; n++)
		must(raw_pop(&r, &c, RAW_WAIT_NS) && c.res == 0);
}

static void sq_head_forged(void)
{
	struct raw r;
	unsigned i;

	raw_open(&r, 0);
	for (i = 0; i < 600; i++) {
		store_release(&r.seg->sq.head, i * 0x9e3779b1u);
		must(raw_nop(&r) == 0);
	}
}

static void cq_head_beyond(void)
{
	struct kvshm_sqe nop = { .op = KVSHM_OP_NOP };
	struct raw r;
	unsigned i;

	raw_open(&r, 0);
	store_release(&r.seg->cq.head, 0x40000000u);
	for (i = 0; i < KVSHM_SQ_ENTRIES; i++)
		raw_put(&r, &nop);
	raw_ring(&r);
	/* Looked at when the ring seems full: two rounds of the SQ. */
	nap(20000);
	for (i = 0; i < KVSHM_SQ_ENTRIES; i++)
		raw_put(&r, &nop);
	must_be_thrown_out(&r);
}

static void cq_tail_forged(void)
{
	struct kvshm_sqe nop = { .op = KVSHM_OP_NOP };
	struct raw r;
	unsigned i;

	raw_open(&r, 0);
	for (i = 0; i < 64; i++) {
		raw_put(&r, &nop);
		store_release(&r.seg->cq.tail, 0xdeadbeefu + i);
		raw_ring(&r);
	}
}

/* D7: its own queue pauses; what is there when it drains at last is all there. */
static void cq_never_drained(void)
{
	struct kvshm_sqe nop = { .op = KVSHM_OP_NOP };
	struct kvshm_cqe c;
	struct raw r;
	unsigned sent = 0, n;

	raw_open(&r, 0);
	for (n = 0; n < 2000; n++) {
		if (r.tail - load_acquire(&r.seg->sq.head) < KVSHM_SQ_ENTRIES) {
			nop.user_data = sent++;
			raw_put(&r, &nop);
			raw_ring(&r);
		} else {
			nap(50);
		}
	}
	for (n = 0; n < sent; n++)
		must(raw_pop(&r, &c, RAW_WAIT_NS) && c.user_data == n);
}

static void touch_tail_beyond(void)
{
	struct raw r;

	raw_open(&r, 0);
	store_release(&r.seg->touch.tail, KVSHM_TOUCH_ENTRIES + 1);
	must_hang_up(r.sock);
}

/* The daemon made it and never reads it back. */
static void geometry_forged(void)
{
	struct raw r;
	uint32_t args, sq, cq;

	raw_open(&r, 0);
	args = r.seg->args_off, sq = r.seg->sq_off, cq = r.seg->cq_off;
	memset(r.seg, 0xff, offsetof(struct kvshm_segment, sq));
	r.seg->args_off = args, r.seg->sq_off = sq, r.seg->cq_off = cq;
	must(raw_nop(&r) == 0);
	must(raw_ns(&r, "hostile", RAW_BLOCK) == r.ns);
}

/* ---- entries (H2, H3) ------------------------------------------------------------------------------ */

static void refused(struct raw *r, struct kvshm_sqe e)
{
	struct kvshm_cqe c = raw_call(r, e);

	if (c.res >= 0)
		die("opcode %u nr %u off %u len %u is served: %d", e.op, e.nr, e.off, e.len, c.res);
}

static void entry_overflows(void)
{
	const uint32_t rec = sizeof(struct kvshm_commit_rec), end = KVSHM_ARGS_LEN;
	struct raw r;
	uint8_t op;

	raw_open(&r, 0);
	for (op = KVSHM_OP_RETURN; op <= KVSHM_OP_COMMIT; op++) {
		const uint32_t one = op == KVSHM_OP_COMMIT ? rec : 8;
		const struct { uint32_t nr, off, len; } bad[] = {
			{ 1, 0xfffffff8u, one }, { 1, end, one }, { 1, end - one + 8, one }, { 1, 4, one },
			{ 1, 0, 0 }, { 0, 0, 0 }, { 0, 0, one }, { 1, 0, one + 1 }, { 1, 0, 0xffffffffu },
			{ 0x04000000u, 0, 0 }, { 0x20000000u, 0, 0 }, { 0xffffffffu, 8, (uint32_t)-one },
			{ KVSHM_COMMIT_MAX + 1, 0, (KVSHM_COMMIT_MAX + 1) * one }, { 2, end - one, 2 * one },
		};

		for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
			refused(&r, (struct kvshm_sqe){ .op = op, .ns = r.ns, .nr = bad[i].nr, .off = bad[i].off,
							.len = bad[i].len });
	}
}

static void entry_reserved_bits(void)
{
	struct raw r;
	unsigned f;

	raw_open(&r, 0);
	for (f = 1; f < 256; f <<= 1)
		refused(&r, (struct kvshm_sqe){ .op = KVSHM_OP_NOP, .flags = (uint8_t)f });
	refused(&r, (struct kvshm_sqe){ .op = KVSHM_OP_NOP, .key = { { 1 } } });
	refused(&r, (struct kvshm_sqe){ .op = KVSHM_OP_NOP, .nr = 1 });
	refused(&r, (struct kvshm_sqe){ .op = KVSHM_OP_NOP, .off = 8 });
	refused(&r, (struct kvshm_sqe){ .op = KVSHM_OP_DROP, .ns = r.ns, .flags = KVSHM_SQE_F_ALL, .key = { { 1 } } });
	refused(&r, (struct kvshm_sqe){ .op = KVSHM_OP_COMMIT, .flags = KVSHM_SQE_F_NOPARENT | KVSHM_SQE_F_LOOSE,
					.ns = r.ns, .nr = 1, .len = sizeof(struct kvshm_commit_rec) });
	must(raw_nop(&r) == 0);
}

static void entry_unknown_opcodes(void)
{
	struct raw r;
	unsigned op;

	raw_open(&r, 0);
	for (op = KVSHM_OP_PREFETCH; op < 256; op++)
		if (op != KVSHM_OP_DETACH)
			refused(&r, (struct kvshm_sqe){ .op = (uint8_t)op });
}

static struct kvshm_cqe hint(struct raw *r, uint32_t nr)
{
	return raw_call(r, (struct kvshm_sqe){ .op = KVSHM_OP_HINT, .ns = r->ns, .nr = nr,
					       .len = nr * (uint32_t)sizeof(struct kvshm_hint_rec) });
}

/* Rubbish in every field of every record, about blocks of everybody. */
static void hints_random(void)
{
	struct kvshm_hint_rec *rec;
	struct rand rnd;
	struct raw r;
	unsigned n, i;

	raw_open(&r, 0);
	rec = raw_args(&r);
	rand_init(&rnd, 5);
	for (n = 0; n < 200; n++) {
		for (i = 0; i < KVSHM_HINTS_MAX; i++) {
			rec[i] = (struct kvshm_hint_rec){
				.block = raw_ref(&r, 1 + (uint32_t)rand_below(&rnd, raw_sb(&r)->max_blocks)),
				.kind = (uint32_t)rand_below(&rnd, KVSHM_HINT_LAST),
				.nr = (uint32_t)(rand_u64(&rnd) % 3 ? 0 : rand_u64(&rnd)),
				.ticket = rand_u64(&rnd) % 3,
				.ttl_ns = rand_u64(&rnd) % 3 ? 0 : rand_u64(&rnd),
				.priority = (uint32_t)rand_below(&rnd, 9),
			};
			if (rec[i].kind == KVSHM_HINT_CLOSED)
				rec[i].kind = 0;	/* a trusted client may: its own loss, and ours */
		}
		must(hint(&r, KVSHM_HINTS_MAX).res <= (int)KVSHM_HINTS_MAX);
	}
	must(raw_nop(&r) == 0);
}

/* Keeps everything that there is, of everybody, at the highest priority, for ever. */
static void hints_hoard(void)
{
	struct kvshm_hint_rec *rec;
	uint64_t heeded = 0;
	uint32_t id, nr = 0;
	struct raw r;

	raw_open(&r, 0);
	rec = raw_args(&r);
	for (id = 1; id <= raw_sb(&r)->max_blocks; id++) {
		if ((READ_ONCE(raw_desc(&r, id)->state) & KVSHM_STATE_MASK) != KVSHM_BLOCK_PUBLISHED)
			continue;
		rec[nr++] = (struct kvshm_hint_rec){ .block = raw_ref(&r, id), .kind = KVSHM_HINT_RETAIN,
						     .priority = KVSHM_HINT_PRIORITY_MAX, .ttl_ns = UINT64_MAX };
		if (nr < KVSHM_HINTS_MAX)
			continue;
		heeded += (uint64_t)hint(&r, nr).res;
		nr = 0;
	}
	must(heeded * RAW_BLOCK <= r.w.pin_quota_bytes);
	must(raw_nop(&r) == 0);
}

static void entry_budget(void)
{
	struct kvshm_sqe bad = { .op = 99 };
	struct kvshm_cqe c;
	struct raw r;
	unsigned n;

	raw_open(&r, 0);
	for (n = 0; n < 1000; n++) {
		raw_put(&r, &bad);
		raw_ring(&r);
		if (!raw_pop(&r, &c, RAW_WAIT_NS))
			break;
	}
	must(n < 300);
	must_hang_up(r.sock);
}

static void fill_random(struct rand *rnd, void *dst, size_t words)
{
	uint64_t *w = dst;

	while (words--)
		*w++ = rand_u64(rnd);
}

/* A random entry that a part of the checks lets pass. */
static struct kvshm_sqe entry_of(struct rand *rnd, uint16_t ns)
{
	struct kvshm_sqe e = { .op = (uint8_t)rand_below(rnd, 6), .ns = (uint16_t)(ns * rand_below(rnd, 3)) };

	e.nr = (uint32_t)rand_below(rnd, 40);
	e.flags = (uint8_t)rand_below(rnd, 8);
	if (e.op == KVSHM_OP_COMMIT)
		e.len = e.nr * (uint32_t)sizeof(struct kvshm_commit_rec);
	if (e.op == KVSHM_OP_RETURN)
		e.len = e.nr * (uint32_t)sizeof(struct kvshm_block_ref);
	if (e.op == KVSHM_OP_ATTACH_NS || e.op == KVSHM_OP_DROP)
		e.op = KVSHM_OP_GRANT;
	if (!e.flags && e.op == KVSHM_OP_COMMIT)
		fill_random(rnd, &e.key, 4);
	return e;
}

/* Three sessions, seeded: rubbish, half-rubbish, and arguments that are rubbish. */
static void entries_random(void)
{
	struct rand rnd;
	struct kvshm_cqe c;
	struct kvshm_sqe e;
	struct raw r;
	unsigned life, n;

	rand_init(&rnd, 1);
	for (life = 0; life < 3; life++) {
		raw_open(&r, 0);
		for (n = 0; n < 4000; n++) {
			fill_random(&rnd, raw_args(&r), 512);
			if (life == 0)
				fill_random(&rnd, &e, sizeof(e) / 8);
			else
				e = entry_of(&rnd, r.ns);
			raw_put(&r, &e);
			raw_ring(&r);
			if (!raw_pop(&r, &c, RAW_WAIT_NS))
				break;
		}
		must(life || n < 4000);
		raw_close(&r);
	}
}

struct flipper {
	uint64_t *words;
	size_t nr;
	int stop;
};

static void *flip(void *arg)
{
	struct flipper *f = arg;
	struct rand rnd;

	rand_init(&rnd, 7);
	while (!READ_ONCE(f->stop)) {
		size_t i = rand_below(&rnd, f->nr);

		WRITE_ONCE(f->words[i], READ_ONCE(f->words[i]) ^ 1ull << rand_below(&rnd, 64));
	}
	return NULL;
}

/* Good commits, while a thread changes what the daemon reads of them. */
static void flip_while_read(bool is_ring)
{
	struct flipper f = { 0 };
	struct kvshm_commit_rec rec[32];
	struct kvshm_sqe e;
	struct kvshm_cqe c;
	uint64_t end, key = 1ull << 40;	/* far from those that other attacks name: some are published */
	pthread_t t;
	struct raw r;
	unsigned i;

	for (end = clock_ns() + FLIP_NS; clock_ns() < end;) {
		raw_open(&r, 0);
		f.words = is_ring ? (void *)((char *)r.seg + r.seg->sq_off) : raw_args(&r);
		f.nr = is_ring ? KVSHM_SQ_ENTRIES * 8 : sizeof(rec) / 8;
		f.stop = 0;
		must(pthread_create(&t, NULL, flip, &f) == 0);
		while (clock_ns() < end) {
			e = (struct kvshm_sqe){ .op = KVSHM_OP_GRANT, .ns = r.ns, .nr = 32 };
			raw_put(&r, &e);
			raw_ring(&r);
			if (!raw_pop(&r, &c, RAW_WAIT_NS))
				break;
			for (i = 0; i < 32; i++)
				rec[i] = raw_rec(key++, raw_ref(&r, (c.run[0].first + i) % 1024), RAW_BLOCK);
			memcpy(raw_args(&r), rec, sizeof(rec));
			e = (struct kvshm_sqe){ .op = KVSHM_OP_COMMIT, .ns = r.ns, .nr = 32, .len = sizeof(rec),
						.flags = KVSHM_SQE_F_LOOSE };
			raw_put(&r, &e);
			raw_ring(&r);
			if (!raw_pop(&r, &c, RAW_WAIT_NS))
				break;
		}
		WRITE_ONCE(f.stop, 1);
		pthread_join(t, NULL);
		raw_close(&r);
	}
}

static void entries_flipped(void)
{
	flip_while_read(true);
}

static void arguments_flipped(void)
{
	flip_while_read(false);
}

#endif
