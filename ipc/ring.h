/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.h - what the rings of a session have in common: range checks and copies
 *
 * The ordered accesses stand in qp.c and touch.c, each under its label.
 */
#ifndef IPC_RING_H
#define IPC_RING_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/qp.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/compiler.h"

/*
 * Entries go through relaxed 64-bit atomics, so that a peer which writes at the same time can make
 * us copy rubbish but not see one word twice with two values.  Under TSan they are plain: it then
 * reports an entry that is not ordered by its index (the peers of its tests are friendly).
 */
#if defined(__SANITIZE_THREAD__)
#define ring_load(p) (*(p))
#define ring_store(p, v) (*(p) = (v))
#else
#define ring_load(p) READ_ONCE(*(p))
#define ring_store(p, v) WRITE_ONCE(*(p), v)
#endif

static inline void ring_copy_in(uint64_t *shared, const void *entry, unsigned nr_words)
{
	const uint64_t *src = entry;
	unsigned i;

	for (i = 0; i < nr_words; i++)
		ring_store(&shared[i], src[i]);
}

static inline void ring_copy_out(void *ret_entry, const uint64_t *shared, unsigned nr_words)
{
	uint64_t *dst = ret_entry;
	unsigned i;

	for (i = 0; i < nr_words; i++)
		dst[i] = ring_load(&shared[i]);
}

/* The slot of the end's own index; the mask keeps any index inside the ring. */
static inline uint64_t *ring_slot(const struct qp_end *e, uint32_t index, unsigned nr_words)
{
	return (uint64_t *)e->ring + (size_t)(index & e->mask) * nr_words;
}

/* Producer: no room by the peer's index as last read? */
static inline bool ring_is_full(const struct qp_end *e)
{
	return e->own - e->peer > e->mask;
}

/* Consumer: nothing to take by the peer's index as last read? */
static inline bool ring_is_empty(const struct qp_end *e)
{
	return e->own == e->peer;
}

/* Producer: take a head just read.  Return: 0 there is room; -EAGAIN; -EPROTO. */
static inline int ring_take_head(struct qp_end *e, uint32_t head)
{
	if (unlikely(e->own - head > e->mask + 1))
		return -EPROTO;
	e->peer = head;
	return ring_is_full(e) ? -EAGAIN : 0;
}

/* Consumer: take a tail just read.  Return: 1 there are entries; 0; -EPROTO. */
static inline int ring_take_tail(struct qp_end *e, uint32_t tail)
{
	if (unlikely(tail - e->own > e->mask + 1))
		return -EPROTO;
	e->peer = tail;
	return !ring_is_empty(e);
}

#endif
