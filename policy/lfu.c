/* SPDX-License-Identifier: Apache-2.0 */
/* lfu.c - the leaf used least often; counts are never forgotten while a block stays */
#include "policy/leaves.h"

static double lfu_score(const struct policy *p, const struct leaf_blk *b)
{
	return b->uses;
}

static const struct leaf_rule lfu_rule = { .score = lfu_score };

static int lfu_create(const struct policy_config *cfg, struct policy **ret_p)
{
	return leaves_create(cfg, &lfu_rule, ret_p);
}

const struct policy_ops policy_lfu = {
	.name = "lfu",
	.summary = "least frequently used leaf first",
	.create = lfu_create,
	LEAVES_OPS,
};
