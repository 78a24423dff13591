/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hazard_estimate.c - from counts to the chance of a use, and to the Gittins index
 *
 * How long what was seen stays true differs: a load that is the same all day is known best by all that was ever
 * seen, one that changes by what was seen last.  So counts are kept in four memories, each fading in its own time.
 * Each foretells the next period, is scored by what comes, and the longest that is about as good as the best is used.
 *
 * With p[b] the probability of an event in bin b for who reaches it and w[b] the bin's width, holding a
 * block from bin b to the end of bin e costs the expected time E and brings the expected hits P:
 *
 *   P = sum of S[j] p[j]      E = sum of S[j] w[j] (1 - p[j]/2)      S[j] = product of (1 - p) from b to j
 *
 * The index of b is the largest P/E over e.  One pass from the oldest bin finds all of them: stretches
 * are kept on a stack, and a younger one takes in the next as long as that one's ratio is higher.
 *
 * Sums of doubles are in one order, made of + - * / only, so they are the same on every machine.
 */
#include "policy/hazard.h"

#include <string.h>

#define UNIT_WEIGHT 65536.0		/* one request */
#define SHRINK 8.0			/* requests at the parent's hazard that a class starts with */
#define PRIOR 0.05			/* of half an octave: hazard falls as 1/age, which orders as LRU does */
#define SLACK 0.10			/* of the best score, for a longer memory */
#define SCORE_KEEP 0.99			/* of scores, each period: eight minutes */
#define TINY 1e-9			/* requests that are none: what fades for days would end in denormals, which are slow */

static const struct {
	double keep;			/* of counts, each period of five seconds */
	double shrink_max;		/* requests of prior; what remembers less is told less beforehand */
} memories[HAZARD_MEMORIES] = {
	{ 1, 25 },			/* all */
	{ 0.99965, 12 },		/* four hours */
	{ 0.9972, 12 },			/* half an hour */
	{ 0.985, 12 },			/* five and a half minutes */
};

/* ---- memories -------------------------------------------------------------------------------------- */

/* Whole numbers, so exact in any order. */
static void sum_inside(struct hazard *h, uint32_t nr)
{
	uint32_t i;
	unsigned s, b;

	for (i = 0; i < nr; i++)
		for (b = 0; b < HAZARD_BINS; b++)
			h->fresh[i][b].inside = 0;
	for (s = 0; s < HAZARD_SLOTS_ALL; s++)
		for (i = 0; i < nr && h->bin_of_slot[s] < HAZARD_BINS; i++)
			h->fresh[i][h->bin_of_slot[s]].inside += (double)h->alive[s][i].weight;
}

/*
 * At risk in a bin in a period is who came back there or lived past it then, half of who was lost sight of.  Who lives
 * past it is either further on now or has left from there: so it is what that grew by.
 */
static void sum_fresh(struct hazard *h, uint32_t i)
{
	double later = 0, inside = 0;		/* left, and are, at greater ages */
	unsigned b;

	for (b = HAZARD_BINS; b-- > 0;) {
		struct hazard_fresh *f = &h->fresh[i][b];
		const double events = (double)h->node[i].events[b].weight / UNIT_WEIGHT;
		const double leave = (double)h->node[i].censored[b] / UNIT_WEIGHT, in = f->inside / UNIT_WEIGHT;

		f->inside = inside + 0.5 * in;
		f->now.events = events;
		f->now.risk = later + events + 0.5 * leave + f->inside - h->inside[i][b];
		later += events + leave;
		inside += in;
	}
}

void hazard_count(struct hazard *h, const struct class_tree *t)
{
	uint32_t i;

	hazard_settle(h);
	sum_inside(h, t->nr);
	for (i = 0; i < t->nr; i++)
		sum_fresh(h, i);
}

static void forget_fresh(struct hazard *h, uint32_t nr)
{
	uint32_t i;
	unsigned b;

	for (i = 0; i < nr; i++)
		for (b = 0; b < HAZARD_BINS; b++) {
			h->inside[i][b] = h->fresh[i][b].inside;
			h->node[i].events[b].weight = 0;
			h->node[i].censored[b] = 0;
		}
}

/*
 * With q the true probability, 2 p events - p^2 risk is expected to be risk (2 p q - p^2): most for p = q.  Over p as
 * all of them see it, each use counts about alike, as it would in a likelihood, and no logarithm is asked for.
 */
static void score(struct hazard *h, uint32_t i)
{
	unsigned b, m;

	for (b = 0; b < HAZARD_BINS; b++) {
		const struct hazard_sum *now = &h->fresh[i][b].now;
		double all = 0;

		if (!now->events && !now->risk)
			continue;
		for (m = 0; m < HAZARD_MEMORIES; m++)
			all += h->memory[m].prob[i][b];
		for (m = 0; m < HAZARD_MEMORIES && all > 0; m++) {
			const double p = h->memory[m].prob[i][b];

			h->memory[m].score += p * (2 * now->events - p * now->risk) / all;
		}
	}
}

/* The longest memory that foretold nearly as well as the best. */
static void choose(struct hazard *h)
{
	double best = h->memory[0].score, slack;
	unsigned m;

	for (m = 1; m < HAZARD_MEMORIES; m++)
		best = h->memory[m].score > best ? h->memory[m].score : best;
	slack = SLACK * (best < 0 ? -best : best);
	for (m = 0; h->memory[m].score < best - slack;)
		m++;
	h->used = m;
}

static double faded(double x, double by)
{
	x *= by;
	return x > -TINY && x < TINY ? 0 : x;
}

static void remember(struct hazard *h, unsigned m, double by, uint32_t nr)
{
	uint32_t i;
	unsigned b;

	for (i = 0; i < nr; i++)
		for (b = 0; b < HAZARD_BINS; b++) {
			struct hazard_sum *own = &h->memory[m].own[i][b];

			own->events = faded(own->events, by) + h->fresh[i][b].now.events;
			own->risk = faded(own->risk, by) + h->fresh[i][b].now.risk;
			h->sum[i][b] = *own;
		}
}

/* ---- estimate -------------------------------------------------------------------------------------- */

static void add_to_parent(struct hazard *h, uint32_t i, uint16_t parent)
{
	unsigned b;

	for (b = 0; b < HAZARD_BINS; b++) {
		h->sum[parent][b].events += h->sum[i][b].events;
		h->sum[parent][b].risk += h->sum[i][b].risk;
	}
}

/*
 * Requests at the parent's hazard @up that a class starts with in bin @b.  Past the first two minutes uses are
 * rare, and one by chance would outweigh eight requests many times: there, as many as bring one use.
 */
static double shrink_of(unsigned m, unsigned b, double up)
{
	const double one_use = 1 / up;

	if (b < HAZARD_COARSE_BINS || one_use < SHRINK)
		return SHRINK;
	return one_use < memories[m].shrink_max ? one_use : memories[m].shrink_max;
}

static double prior_of(unsigned b)
{
	return b < HAZARD_COARSE_BINS ? PRIOR : PRIOR / 2;
}

static void probabilities(struct hazard *h, unsigned m, uint32_t i, const double *parent)
{
	unsigned b;

	for (b = 0; b < HAZARD_BINS; b++) {
		const struct hazard_sum *s = &h->sum[i][b];
		/* Late entries may seem to have come at a greater age than they live: not less than the events. */
		const double risk = s->risk > s->events ? s->risk : s->events;
		const double up = parent ? parent[b] : prior_of(b);
		const double shrink = parent ? shrink_of(m, b, up) : SHRINK;

		h->memory[m].prob[i][b] = (s->events + shrink * up) / (risk + shrink);
	}
}

static void index_of(struct hazard *h, uint32_t i)
{
	struct stretch {
		double hits, time, live;
	} st[HAZARD_BINS];
	unsigned b, top = 0;

	for (b = HAZARD_BINS; b-- > 0;) {
		const double p = hazard_prob(h, i, b);
		const double w = hazard_bin_low(b + 1) - hazard_bin_low(b);
		struct stretch s = { .hits = p, .time = w * (1 - 0.5 * p), .live = 1 - p };

		while (top && st[top - 1].hits * s.time > s.hits * st[top - 1].time) {
			const struct stretch *n = &st[--top];

			s.hits += s.live * n->hits;
			s.time += s.live * n->time;
			s.live *= n->live;
		}
		st[top++] = s;
		h->index[i][b] = s.hits / s.time;
	}
}

void hazard_adopt(struct hazard *h, const struct class_tree *t)
{
	for (; h->nr_known < t->nr; h->nr_known++) {
		const uint16_t up = t->parent[h->nr_known];

		memcpy(h->index[h->nr_known], h->index[up], sizeof(h->index[0]));
		for (unsigned m = 0; m < HAZARD_MEMORIES; m++)
			memcpy(h->memory[m].prob[h->nr_known], h->memory[m].prob[up], sizeof(h->memory[m].prob[0]));
	}
}

/* Has nobody entered or come back since the last estimate?  A night without requests is nothing to forget by. */
static bool is_idle(const struct hazard *h)
{
	return h->next_note == h->estimated_note;
}

void hazard_estimate(struct hazard *h, const struct class_tree *t)
{
	const bool fades = !is_idle(h);
	uint32_t i;
	unsigned m;

	hazard_count(h, t);
	for (m = 0; m < HAZARD_MEMORIES && fades; m++)
		h->memory[m].score = faded(h->memory[m].score, SCORE_KEEP);
	for (i = 0; i < t->nr; i++)
		score(h, i);
	choose(h);
	for (m = 0; m < HAZARD_MEMORIES; m++) {
		remember(h, m, fades ? memories[m].keep : 1, t->nr);
		for (i = t->nr; i-- > 1;)
			add_to_parent(h, i, t->parent[i]);
		for (i = 0; i < t->nr; i++)
			probabilities(h, m, i, i ? h->memory[m].prob[t->parent[i]] : NULL);
	}
	forget_fresh(h, t->nr);
	h->estimated_note = h->next_note;
	for (i = 0; i < t->nr; i++)
		index_of(h, i);
	h->nr_known = t->nr;
}
