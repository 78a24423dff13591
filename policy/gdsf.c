/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gdsf.c - Greedy-Dual-Size-Frequency with saved seconds as the cost
 *
 * A use gives a block the score L + uses x saved seconds / bytes; L is the highest score that has been
 * evicted, so what is not used any more is overtaken.
 */
#include "policy/leaves.h"

struct own {
	double inflation;
};

static void gdsf_after_use(struct policy *p, struct leaf_blk *b)
{
	const struct own *o = p->own;

	b->score = o->inflation + b->uses * b->value / b->bytes;
}

static void gdsf_chosen(struct policy *p, struct leaf_blk *b)
{
	struct own *o = p->own;

	if (b->score > o->inflation)
		o->inflation = b->score;
}

static double gdsf_score(const struct policy *p, const struct leaf_blk *b)
{
	return b->score;
}

static const struct leaf_rule gdsf_rule = {
	.own_size = sizeof(struct own), .after_use = gdsf_after_use, .chosen = gdsf_chosen, .score = gdsf_score,
};

static int gdsf_create(const struct policy_config *cfg, struct policy **ret_p)
{
	return leaves_create(cfg, &gdsf_rule, ret_p);
}

const struct policy_ops policy_gdsf = {
	.name = "gdsf",
	.summary = "greedy dual: uses x saved seconds per byte, aged by what was evicted",
	.create = gdsf_create,
	LEAVES_OPS,
};
