/* SPDX-License-Identifier: Apache-2.0 */
/* touch.c - the lossy touch ring, drained in batches */
#include "ipc/touch.h"

#include "ipc/ring.h"

#define TOUCH_WORDS (sizeof(struct kvshm_touch) / 8)

int touch_push(struct qp_end *e, const struct kvshm_touch *t)
{
	if (unlikely(ring_is_full(e))) {
		/* TR-1: the head before we write over what it gives back; pairs with touch_drain(). */
		if (ring_take_head(e, load_acquire(&e->ctl->head)) < 0)
			return -EAGAIN;
	}
	ring_copy_in(ring_slot(e, e->own, TOUCH_WORDS), t, TOUCH_WORDS);
	e->own++;
	/* TR-1: the record before the tail; pairs with touch_drain(). */
	store_release(&e->ctl->tail, e->own);
	return 0;
}

int touch_drain(struct qp_end *e, struct kvshm_touch *ret, unsigned max)
{
	unsigned i, nr;
	int rc;

	if (ring_is_empty(e)) {
		/* TR-1: the tail before the records; pairs with touch_push(). */
		rc = ring_take_tail(e, load_acquire(&e->ctl->tail));
		if (rc <= 0)
			return rc;
	}
	nr = min_of(e->peer - e->own, max);
	for (i = 0; i < nr; i++)
		ring_copy_out(&ret[i], ring_slot(e, e->own + i, TOUCH_WORDS), TOUCH_WORDS);
	e->own += nr;
	/* TR-1: the records are copied before their places are given back; pairs with touch_push(). */
	store_release(&e->ctl->head, e->own);
	return (int)nr;
}
