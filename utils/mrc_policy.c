/* SPDX-License-Identifier: Apache-2.0 */
/* mrc_policy.c - sizes under a policy that is no stack, one simulation each */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "utils/mrc.h"

static int ratio_at(const struct sim_trace *t, const struct mrc *curve, const struct mrc_question *q, uint64_t blocks,
		    double *ret)
{
	const struct sim_config cfg = { .ops = q->policy, .capacity = blocks, .block_bytes = q->block_bytes };
	struct sim_result r;
	int err;

	if (q->policy == &policy_leaf_lru || blocks >= t->nr_blocks) {
		*ret = mrc_hit_ratio(curve, blocks);
		return 0;
	}
	if (q->shows_progress)
		fprintf(stderr, "\r%s with %llu blocks\033[K", q->policy->name, (unsigned long long)blocks);
	err = sim_run(t, &cfg, &r);
	if (q->shows_progress)
		fputs("\r\033[K", stderr);
	if (err == 0)
		*ret = r.blocks ? (double)r.block_hits / (double)r.blocks : 0;
	return err;
}

int mrc_policy_run(const struct sim_trace *t, const struct mrc *curve, const struct mrc_question *q,
		   struct mrc_policy *ret)
{
	struct mrc_policy p = { .now = NAN, .then = NAN };
	int err = 0;

	for (unsigned i = 0; err == 0 && i < MRC_SIZES; i++) {
		p.at_size[i] = NAN;
		if (q->policy)
			err = ratio_at(t, curve, q, mrc_size_at(t->nr_blocks, i), &p.at_size[i]);
	}
	if (err == 0 && q->policy && q->at)
		err = ratio_at(t, curve, q, q->at, &p.now);
	if (err == 0 && q->policy && q->at)
		err = ratio_at(t, curve, q, q->at + q->more, &p.then);
	if (err == 0)
		*ret = p;
	return err;
}

const struct policy_ops *mrc_find_policy(const char *name)
{
	const struct policy_ops *ops = policy_find(name);

	if (ops)
		return ops;
	fprintf(stderr, "kvshm mrc: unknown policy \"%s\"; known are", name);
	for (unsigned i = 0; policy_at(i); i++)
		fprintf(stderr, "%s %s", i ? "," : "", policy_at(i)->name);
	fputc('\n', stderr);
	return NULL;
}
