/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lhd.c - least hit density: hits to be expected per time held, from lifetimes seen in the cache
 *
 * By class (octave of uses) and age: how many lives ended there in a hit, how many in an eviction.  The density of
 * an age is the share of the lives still to end that end in a hit, over their mean rest of life.
 */
#include "policy/leaves.h"

#include "policy/hazard.h"

#define CLASSES 8u
#define PERIOD 8192u			/* uses between estimates */
#define KEEP 0.9			/* of the counts, each period */

#define QUARTERS 17u			/* bins from here on are quarter octaves: two make one here, as counts are few */
#define BINS 38u

struct own {
	uint32_t since;
	double hits[CLASSES][BINS], ends[CLASSES][BINS];
	double density[CLASSES][BINS];
};

static unsigned class_of_uses(uint32_t uses)
{
	unsigned c = uses ? 31u - (unsigned)__builtin_clz(uses) : 0;

	return c < CLASSES ? c : CLASSES - 1;
}

static unsigned bin_of(uint32_t age)
{
	unsigned b = hazard_bin(age);

	b = b < QUARTERS ? b : QUARTERS + (b - QUARTERS) / 2;
	return b < BINS ? b : BINS - 1;
}

static double bin_low(unsigned b)
{
	return hazard_bin_low(b < QUARTERS ? b : QUARTERS + 2 * (b - QUARTERS));
}

static void estimate(struct own *o)
{
	unsigned c, b;

	for (c = 0; c < CLASSES; c++) {
		double hits = 0.01, ends = 0.1, life = 0.1;

		for (b = BINS; b-- > 0;) {
			const double width = bin_low(b + 1) - bin_low(b);

			life += ends * width + o->ends[c][b] * width / 2;
			hits += o->hits[c][b];
			ends += o->ends[c][b];
			o->density[c][b] = hits / life;
			o->hits[c][b] *= KEEP;
			o->ends[c][b] *= KEEP;
		}
	}
	o->since = 1;
}

static void lhd_before_use(struct policy *p, struct leaf_blk *b)
{
	struct own *o = p->own;
	const unsigned c = class_of_uses(b->uses), bin = bin_of(p->now - b->last);

	if (o->since++ == PERIOD || !o->density[0][0])
		estimate(o);
	/* A return after an eviction: that life had ended. */
	if (b->uses == 0 || b->remembered) {
		b->remembered = 0;
		return;
	}
	o->hits[c][bin]++;
	o->ends[c][bin]++;
}

static void lhd_chosen(struct policy *p, struct leaf_blk *b)
{
	struct own *o = p->own;

	o->ends[class_of_uses(b->uses)][bin_of(p->now - b->last)]++;
}

static uint16_t lhd_remember(const struct policy *p, const struct leaf_blk *b)
{
	return 1;
}

static double lhd_score(const struct policy *p, const struct leaf_blk *b)
{
	const struct own *o = p->own;

	return o->density[class_of_uses(b->uses)][bin_of(p->now - b->last)] / b->bytes;
}

static const struct leaf_rule lhd_rule = {
	.own_size = sizeof(struct own), .remember = lhd_remember, .before_use = lhd_before_use, .chosen = lhd_chosen, .score = lhd_score,
};

static int lhd_create(const struct policy_config *cfg, struct policy **ret_p)
{
	return leaves_create(cfg, &lhd_rule, ret_p);
}

const struct policy_ops policy_lhd = {
	.name = "lhd",
	.summary = "least hit density of the leaves, by uses and age",
	.create = lhd_create,
	LEAVES_OPS,
};
