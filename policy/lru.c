/* SPDX-License-Identifier: Apache-2.0 */
/* lru.c - in order of use, block by block; a run is used tail first, so tails also go first */
#include "policy/flat.h"

static void lru_inserted(struct policy *p, pol_id_t id, const struct ghost *ghost)
{
	flat_push(p, 0, id);
}

static void lru_used(struct policy *p, pol_id_t id)
{
	flat_del(p, id);
	flat_push(p, 0, id);
}

static pol_id_t lru_pick(struct policy *p)
{
	pol_id_t id = flat_oldest(p, 0);

	if (id)
		flat_del(p, id);
	return id;
}

static const struct flat_rule lru_rule = { .inserted = lru_inserted, .used = lru_used, .pick = lru_pick };

static int lru_create(const struct policy_config *cfg, struct policy **ret_p)
{
	return flat_create(cfg, &lru_rule, ret_p);
}

const struct policy_ops policy_lru = {
	.name = "lru",
	.summary = "least recently used block (flat: for comparison only)",
	.create = lru_create,
	FLAT_OPS,
};
