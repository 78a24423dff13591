/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qp.c - the queue pair
 *
 *   client                        segment                        daemon
 *   own = tail   --- entry, then tail (QP-1) --->   SQ   ---->   own = head
 *                <-- head, after the copy (QP-2) --
 *   own = head   <-- entry, then tail (QP-3) ----   CQ   <----   own = tail
 *                --- head, after the copy (QP-4) ->
 *
 * Invariant: 0 <= tail - head <= entries, unsigned, both indices free-running.  Each side stores its
 * own index and never reads it back; it believes the peer's only if the invariant holds with it, and
 * whatever it believes, the mask keeps it inside the ring.  So the worst that a hostile peer does to
 * us is -EPROTO or rubbish in an entry, and rubbish is what ipc/wire.h is for.
 *
 * The peer's index is read again only when the ring looks full or empty by the old one: while both
 * run, each cache line crosses once for several entries, not at each.
 */
#include "ipc/qp.h"

#include "ipc/ring.h"

#define SQE_WORDS (sizeof(struct kvshm_sqe) / 8)
#define CQE_WORDS (sizeof(struct kvshm_cqe) / 8)

/* Both ends of a new segment start at 0; a segment serves one session and is never attached again. */
void qp_end_init(struct qp_end *e, struct kvshm_ring_ctl *ctl, void *ring, uint32_t entries)
{
	e->ctl = ctl;
	e->ring = ring;
	e->mask = entries - 1;
	e->own = 0;
	e->peer = 0;
}

int sq_push(struct qp_end *e, const struct kvshm_sqe *sqe)
{
	int ret;

	if (unlikely(ring_is_full(e))) {
		/* QP-2: the head before we write over what it gives back; pairs with sq_pop(). */
		ret = ring_take_head(e, load_acquire(&e->ctl->head));
		if (ret < 0)
			return ret;
	}
	ring_copy_in(ring_slot(e, e->own, SQE_WORDS), sqe, SQE_WORDS);
	e->own++;
	/* QP-1: the entry and its arguments before the tail; pairs with sq_pop(). */
	store_release(&e->ctl->tail, e->own);
	return 0;
}

int sq_pop(struct qp_end *e, struct kvshm_sqe *ret_sqe)
{
	int ret;

	if (ring_is_empty(e)) {
		/* QP-1: the tail before the entries; pairs with sq_push(). */
		ret = ring_take_tail(e, load_acquire(&e->ctl->tail));
		if (ret <= 0)
			return ret;
	}
	ring_copy_out(ret_sqe, ring_slot(e, e->own, SQE_WORDS), SQE_WORDS);
	e->own++;
	/* QP-2: the entry is copied before its place is given back; pairs with sq_push(). */
	store_release(&e->ctl->head, e->own);
	return 1;
}

int cq_push(struct qp_end *e, const struct kvshm_cqe *cqe)
{
	int ret;

	if (unlikely(ring_is_full(e))) {
		/* QP-4: the head before we write over what it gives back; pairs with cq_pop(). */
		ret = ring_take_head(e, load_acquire(&e->ctl->head));
		if (ret < 0)
			return ret;
	}
	ring_copy_in(ring_slot(e, e->own, CQE_WORDS), cqe, CQE_WORDS);
	e->own++;
	/* QP-3: the entry, and our last look at its arguments, before the tail; pairs with cq_pop(). */
	store_release(&e->ctl->tail, e->own);
	return 0;
}

int cq_pop(struct qp_end *e, struct kvshm_cqe *ret_cqe)
{
	int ret;

	if (ring_is_empty(e)) {
		/* QP-3: the tail before the entries; pairs with cq_push(). */
		ret = ring_take_tail(e, load_acquire(&e->ctl->tail));
		if (ret <= 0)
			return ret;
	}
	ring_copy_out(ret_cqe, ring_slot(e, e->own, CQE_WORDS), CQE_WORDS);
	e->own++;
	/* QP-4: the entry is copied before its place is given back; pairs with cq_push(). */
	store_release(&e->ctl->head, e->own);
	return 1;
}

/* Looks again only below half, so that a producer which asks before each push fetches no line. */
int qp_space(struct qp_end *e)
{
	uint32_t entries = e->mask + 1;

	/* QP-2, QP-4: as in a push, which may follow without a look of its own; pairs with sq_pop(), cq_pop(). */
	if (e->own - e->peer > entries / 2 && ring_take_head(e, load_acquire(&e->ctl->head)) == -EPROTO)
		return -EPROTO;
	return (int)(entries - (e->own - e->peer));
}

/* Only the peer's line is touched; order comes from the pop, or from the fence of DB-1. */
int qp_pending(struct qp_end *e)
{
	return !ring_is_empty(e) || READ_ONCE(e->ctl->tail) != e->own;
}

uint32_t sq_depth(const struct qp_end *e)
{
	return min_of(READ_ONCE(e->ctl->tail) - e->own, e->mask + 1);
}

uint32_t cq_depth(const struct qp_end *e)
{
	return min_of(e->own - READ_ONCE(e->ctl->head), e->mask + 1);
}
