/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qp.h - the queue pair: SQ and CQ, single producer, single consumer, a hostile peer at the far end
 *
 * Geometry and own index are private to each side (struct qp_end); the peer's index is read once,
 * range-checked (pending <= entries) and never trusted; an entry is copied out once, word by word,
 * before it is looked at.  Labels: QP-1 SQ tail, QP-2 SQ head, QP-3 CQ tail, QP-4 CQ head.
 */
#ifndef IPC_QP_H
#define IPC_QP_H

#include <kvshm/abi.h>

struct qp_end {				/* one end of one ring, private memory of its process */
	struct kvshm_ring_ctl *ctl;	/* shared */
	void *ring;			/* shared: struct kvshm_sqe[] or kvshm_cqe[] */
	uint32_t mask;
	uint32_t own;			/* own free-running index: tail of a producer, head of a consumer */
	uint32_t peer;			/* peer's index as last read and checked */
};

/* Take the rings of a mapped segment; @entries are powers of two checked by the caller. */
void qp_end_init(struct qp_end *e, struct kvshm_ring_ctl *ctl, void *ring, uint32_t entries);

/* Client.  Return: 0; -EAGAIN full; -EPROTO the peer's index is impossible. */
int sq_push(struct qp_end *e, const struct kvshm_sqe *sqe);
/* Daemon.  Return: 1 copied to @ret; 0 empty; -EPROTO forged tail: the queue is bad. */
int sq_pop(struct qp_end *e, struct kvshm_sqe *ret);

/* Daemon.  Return as sq_push(). */
int cq_push(struct qp_end *e, const struct kvshm_cqe *cqe);
/* Client.  Return as sq_pop(). */
int cq_pop(struct qp_end *e, struct kvshm_cqe *ret);

/*
 * Entries that can be pushed now (producer): at least that many, exactly when less than half is free.
 * Return: number; -EPROTO the peer's index is impossible: the queue is bad.
 */
int qp_space(struct qp_end *e);
/* Something to pop?  A look without copying, for the sleeper's second look (DB-1). */
int qp_pending(struct qp_end *e);
/* For people: entries that are not consumed yet, 0 to all of the ring whatever the peer wrote. */
uint32_t sq_depth(const struct qp_end *e);	/* daemon */
uint32_t cq_depth(const struct qp_end *e);

#endif
