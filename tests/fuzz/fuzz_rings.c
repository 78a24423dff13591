/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_rings.c - F2: queue pair and touch ring, with a hostile peer
 *
 * The input is a sequence of calls of the daemon's ends, and of the peer's stores to index words and
 * entries in between.  The rings lie in allocations of their exact size.
 */
#include <errno.h>

#include "ipc/qp.h"
#include "ipc/touch.h"
#include "tests/fuzz/fuzz.h"

enum { ENTRIES = 8 };

static struct kvshm_ring_ctl *ctl[3];
static uint64_t *ring[3];
static const size_t ring_len[3] = {
	ENTRIES * sizeof(struct kvshm_sqe), ENTRIES * sizeof(struct kvshm_cqe), ENTRIES * sizeof(struct kvshm_touch),
};

static void peer_store(struct input *in)
{
	unsigned which = take8(in) % 3, at;
	uint32_t v = take32(in);

	switch (take8(in) % 4) {
	case 0:
		ctl[which]->tail = v;
		break;
	case 1:
		ctl[which]->head = v;
		break;
	case 2:
		ctl[which]->tail += v % (2 * ENTRIES);
		break;
	default:
		at = v % (unsigned)(ring_len[which] / 8);
		ring[which][at] = take64(in);
	}
}

/* Return: whether the daemon would go on with this session. */
static int call(struct input *in, struct qp_end *sq, struct qp_end *cq, struct qp_end *touch)
{
	struct kvshm_touch t[ENTRIES];
	struct kvshm_sqe sqe;
	struct kvshm_cqe cqe;
	int ret;

	switch (take8(in) % 6) {
	case 0:
		ret = sq_pop(sq, &sqe);
		MUST(ret == 0 || ret == 1 || ret == -EPROTO);
		return ret >= 0;
	case 1:
		take(in, &cqe, sizeof(cqe));
		ret = cq_push(cq, &cqe);
		MUST(ret == 0 || ret == -EAGAIN || ret == -EPROTO);
		return ret != -EPROTO;
	case 2:
		ret = touch_drain(touch, t, 1 + take8(in) % ENTRIES);
		MUST(ret == -EPROTO || (ret >= 0 && ret <= ENTRIES));
		return ret >= 0;
	case 3:
		MUST(qp_space(cq) <= ENTRIES);
		return 1;
	case 4:
		qp_pending(sq);
		return 1;
	default:
		peer_store(in);
		return 1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct input in = { data, len };
	struct qp_end end[3];
	unsigned i;

	for (i = 0; i < 3; i++) {
		if (!ring[i]) {
			ring[i] = malloc(ring_len[i]);
			ctl[i] = malloc(sizeof(*ctl[i]));
			MUST(ring[i] && ctl[i]);
		}
		memset(ctl[i], 0, sizeof(*ctl[i]));
		memset(ring[i], 0, ring_len[i]);
		qp_end_init(&end[i], ctl[i], ring[i], ENTRIES);
	}
	while (in.left && call(&in, &end[0], &end[1], &end[2]))
		;
	return 0;
}
