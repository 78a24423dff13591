/* SPDX-License-Identifier: Apache-2.0 */
/* fifo.c - in order of arrival */
#include "policy/flat.h"

static void fifo_inserted(struct policy *p, pol_id_t id, const struct ghost *ghost)
{
	flat_push(p, 0, id);
}

static void fifo_used(struct policy *p, pol_id_t id)
{
}

static pol_id_t fifo_pick(struct policy *p)
{
	pol_id_t id = flat_oldest(p, 0);

	if (id)
		flat_del(p, id);
	return id;
}

static const struct flat_rule fifo_rule = { .inserted = fifo_inserted, .used = fifo_used, .pick = fifo_pick };

static int fifo_create(const struct policy_config *cfg, struct policy **ret_p)
{
	return flat_create(cfg, &fifo_rule, ret_p);
}

const struct policy_ops policy_fifo = {
	.name = "fifo",
	.summary = "first in, first out (flat: for comparison only)",
	.create = fifo_create,
	FLAT_OPS,
};
