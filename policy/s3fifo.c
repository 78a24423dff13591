/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3fifo.c - new blocks are on trial in a tenth of the room; used ones pass into the main queue
 *
 * What leaves the small queue unused is remembered for as many as the main queue holds, and comes back
 * into the main queue.  There a block goes round once for each use, at most three times.
 */
#include "policy/flat.h"

enum { SMALL, MAIN };

static void s3fifo_inserted(struct policy *p, pol_id_t id, const struct ghost *ghost)
{
	const bool is_back = ghost && flat_ghost_age(p, ghost) < p->count[SMALL] + p->count[MAIN];

	flat_push(p, is_back ? MAIN : SMALL, id);
}

static void s3fifo_used(struct policy *p, pol_id_t id)
{
}

static pol_id_t pick_small(struct policy *p)
{
	pol_id_t id;

	while ((id = flat_oldest(p, SMALL))) {
		flat_del(p, id);
		if (!p->blk[id].uses) {
			flat_ghost(p, id, 0);
			return id;
		}
		p->blk[id].uses = 0;
		flat_push(p, MAIN, id);
	}
	return 0;
}

static pol_id_t pick_main(struct policy *p)
{
	pol_id_t id;

	while ((id = flat_oldest(p, MAIN))) {
		flat_del(p, id);
		if (!p->blk[id].uses)
			return id;
		p->blk[id].uses--;
		flat_push(p, MAIN, id);
	}
	return 0;
}

static pol_id_t s3fifo_pick(struct policy *p)
{
	const uint32_t all = p->count[SMALL] + p->count[MAIN];
	pol_id_t id = 0;

	if (p->count[SMALL] * 10ull > all)
		id = pick_small(p);
	if (!id)
		id = pick_main(p);
	return id ? id : pick_small(p);
}

static const struct flat_rule s3fifo_rule = {
	.inserted = s3fifo_inserted, .used = s3fifo_used, .pick = s3fifo_pick,
};

static int s3fifo_create(const struct policy_config *cfg, struct policy **ret_p)
{
	return flat_create(cfg, &s3fifo_rule, ret_p);
}

const struct policy_ops policy_s3fifo = {
	.name = "s3fifo",
	.summary = "S3-FIFO: a small queue on trial, a main one, ghosts (flat: for comparison only)",
	.create = s3fifo_create,
	FLAT_OPS,
};
