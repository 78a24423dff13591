/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wa.c - the workload-aware policy of the ATC'25 study: chance of a reuse within the next five seconds
 *
 * Reuse times of a class are taken as exponential.  With p the share of uses that another one followed and
 * g the mean time to it, both fitted as they come in, a block of age t scores
 * p (exp(-t/g) - exp(-(t + 5 s)/g)).  Ties: what stands deeper goes first.
 *
 *   wa      classes are (type, turn), as in the paper
 *   wa-gap  classes are (uses, last gap), which need no hints
 */
#include "policy/leaves.h"

#include "policy/hazard.h"
#include "policy/hints.h"

#define LIFE 298u			/* five seconds, in hazard_time() */
#define CLASSES 4096u

struct fit {
	double uses, reuses, sum;	/* sum of the times to the next use */
};

struct own {
	struct fit fit[CLASSES];
};

/* exp(-x) for x >= 0, the same everywhere. */
static double exp_minus(double x)
{
	const double ln2 = 0.69314718055994531;
	double r, sum = 1, term = 1, scale = 1;
	unsigned n, i;

	if (x > 40)
		return 0;
	n = (unsigned)(x / ln2);
	r = x - n * ln2;
	for (i = 1; i <= 12; i++) {
		term *= -r / i;
		sum += term;
	}
	while (n--)
		scale *= 0.5;
	return sum * scale;
}

static unsigned turn_class(const struct leaf_blk *b)
{
	const struct hints h = hints_unpack(b->hints);

	return (h.type * 16u + h.turn) % CLASSES;
}

/* Uses 1, 2, 3-4, 5-8, 9-32, more; gaps none, < 5 s, 30 s, 2 min, 10 min, more. */
static unsigned gap_class(const struct leaf_blk *b)
{
	static const uint32_t uses[] = { 1, 2, 4, 8, 32 }, gaps[] = { 298, 1788, 7153, 35763 };
	unsigned u = 0, g = 0;

	while (u < 5 && b->uses > uses[u])
		u++;
	if (b->gap != UINT32_MAX)
		for (g = 1; g < 5 && b->gap >= gaps[g - 1];)
			g++;
	return u * 6 + g;
}

static void learn(struct policy *p, const struct leaf_blk *b, unsigned class)
{
	struct own *o = p->own;

	o->fit[class].reuses++;
	o->fit[class].sum += p->now - b->last;
}

static double score(const struct policy *p, const struct leaf_blk *b, unsigned class)
{
	const struct own *o = p->own;
	const struct fit *f = &o->fit[class];
	const double age = p->now - b->last, mean = (f->sum + 1000) / (f->reuses + 1);

	return (f->reuses + 1) / (f->uses + 2) * (exp_minus(age / mean) - exp_minus((age + LIFE) / mean));
}

#define WA(name, class_of)							\
static void name##_before_use(struct policy *p, struct leaf_blk *b)		\
{										\
	if (b->uses)								\
		learn(p, b, b->remembered);					\
}										\
static void name##_after_use(struct policy *p, struct leaf_blk *b)		\
{										\
	struct own *o = p->own;							\
										\
	b->remembered = (uint16_t)class_of(b);					\
	o->fit[b->remembered].uses++;						\
}										\
static uint16_t name##_remember(const struct policy *p, const struct leaf_blk *b)	\
{										\
	return b->remembered;							\
}										\
static double name##_score(const struct policy *p, const struct leaf_blk *b)	\
{										\
	return score(p, b, b->remembered);				\
}										\
static const struct leaf_rule name##_rule = {					\
	.own_size = sizeof(struct own), .remember = name##_remember, .before_use = name##_before_use,	\
	.after_use = name##_after_use, .score = name##_score,			\
};										\
static int name##_create(const struct policy_config *cfg, struct policy **ret_p)	\
{										\
	return leaves_create(cfg, &name##_rule, ret_p);				\
}

WA(wa, turn_class)
WA(wa_gap, gap_class)

const struct policy_ops policy_wa = {
	.name = "wa",
	.summary = "workload-aware (ATC'25): chance of a reuse in 5 s, exponential per (type, turn)",
	.create = wa_create,
	LEAVES_OPS,
};

const struct policy_ops policy_wa_gap = {
	.name = "wa-gap",
	.summary = "the same formula, per (uses, last gap)",
	.create = wa_gap_create,
	LEAVES_OPS,
};
