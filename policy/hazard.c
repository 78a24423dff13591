/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hazard.c - counts of what came back at which age, and the Gittins index
 *
 * With p[b] the probability of an event in bin b for who reaches it and w[b] the bin's width, holding a
 * block from bin b to the end of bin e costs the expected time E and brings the expected hits P:
 *
 *   P = sum of S[j] p[j]      E = sum of S[j] w[j] (1 - p[j]/2)      S[j] = product of (1 - p) from b to j
 *
 * The index of b is the largest P/E over e.  One pass from the oldest bin finds all of them: stretches
 * are kept on a stack, and a younger one takes in the next as long as that one's ratio is higher.
 *
 * Who is still inside has only a time of entry.  Entries are counted in slots of a second; as they age,
 * eight slots a level, two slots of a level become one of the next, so any age is known to a quarter
 * and nothing is kept per entry.  The slot of an entry follows from its birth and slot_now alone, which is
 * how it is found again when it leaves.
 *
 * Sums of doubles are in one order, made of + - * / only, so they are the same on every machine.
 */
#include "policy/hazard.h"

#include <stdlib.h>
#include <string.h>

#define FIRST 30u			/* units: half a second */
#define FIRST_ODD 42u			/* x sqrt 2 */
#define COARSE_OCTAVES 8u		/* of two bins; later ones have four, equally wide */
#define COARSE_BINS (1 + 2 * COARSE_OCTAVES)
#define SLOT_SHIFT 6			/* units of a slot of level 0: a second */
#define UNIT_WEIGHT 65536.0		/* one request */
#define SHRINK 8.0			/* requests at the parent's hazard that a class starts with */
#define SHRINK_MAX 25.0
#define PRIOR 0.05			/* of half an octave: hazard falls as 1/age, which orders as LRU does */

unsigned hazard_bin(uint32_t age)
{
	const uint32_t times = age / FIRST;
	unsigned l, b;

	if (!times)
		return 0;
	l = 31u - (unsigned)__builtin_clz(times);
	if (l < COARSE_OCTAVES)
		return 1 + 2 * l + (age >= FIRST_ODD << l);
	b = COARSE_BINS + 4 * (l - COARSE_OCTAVES) + (times >> (l - 2) & 3);
	return b < HAZARD_BINS ? b : HAZARD_BINS - 1;
}

double hazard_bin_low(unsigned b)
{
	if (b == 0)
		return 0;
	if (b < COARSE_BINS)
		return (double)(((b & 1) ? FIRST : FIRST_ODD) << (b - 1) / 2);
	b -= COARSE_BINS;
	return (double)((uint64_t)FIRST * (4 + b % 4) << (COARSE_OCTAVES - 2 + b / 4));
}

/* Bin of the ages in slot @s of level @l; HAZARD_BINS: nobody can be there. */
static unsigned bin_of_slot(const struct hazard *h, unsigned l, unsigned s)
{
	const uint32_t now = ((h->slot_now + 1) << SLOT_SHIFT) - 1;
	const uint32_t top = h->slot_now >> l, slot = top - ((top - s) & (HAZARD_SLOTS - 1));
	const uint32_t mid = (slot << l << SLOT_SHIFT) + (1u << (l + SLOT_SHIFT - 1));

	return slot > top ? HAZARD_BINS : hazard_bin(mid < now ? now - mid : 0);
}

static void find_bins(struct hazard *h)
{
	for (unsigned i = 0; i < HAZARD_SLOTS_ALL; i++)
		h->bin_of_slot[i] = (uint8_t)bin_of_slot(h, i / HAZARD_SLOTS, i % HAZARD_SLOTS);
}

void hazard_start(struct hazard *h, uint32_t now)
{
	h->slot_now = now >> SLOT_SHIFT;
	find_bins(h);
}

static void forget_notes(struct hazard *h)
{
	for (unsigned i = 0; i < HAZARD_NOTES; i++)
		h->note[i] = (struct hazard_note){ .at = &h->nowhere };
}

void hazard_init(struct hazard *h)
{
	memset(h, 0, sizeof(*h));
	forget_notes(h);
	hazard_start(h, 0);
}

void hazard_settle(struct hazard *h)
{
	for (unsigned i = 0; i < HAZARD_NOTES; i++) {
		h->note[i].at->weight += h->note[i].add.weight;
		h->note[i].at->blocks += h->note[i].add.blocks;
	}
	forget_notes(h);
}

/* Where entries of that time are counted now. */
static unsigned slot_of(const struct hazard *h, uint32_t birth)
{
	const uint32_t s = birth >> SLOT_SHIFT, levels = (h->slot_now - s) / HAZARD_SLOTS;
	/* Too low by one at most: what lies between two slots is a whole number of them or one more. */
	unsigned l = 31u - (unsigned)__builtin_clz(2 * levels | 1);

	l += (h->slot_now >> l) - (s >> l) >= HAZARD_SLOTS;
	l = l < HAZARD_LEVELS ? l : HAZARD_LEVELS - 1;
	return l * HAZARD_SLOTS + (s >> l & (HAZARD_SLOTS - 1));
}

void hazard_age(const struct hazard *h, uint32_t birth, uint32_t now, struct hazard_age *ret)
{
	*ret = (struct hazard_age){ .birth = birth, .bin = hazard_bin(now - birth), .slot = slot_of(h, birth) };
}

void hazard_enter(struct hazard *h, const struct hazard_lot *lot)
{
	const struct hazard_age age = { .birth = lot->birth, .slot = slot_of(h, lot->birth) };

	hazard_enter_at(h, lot, &age);
}

/* It will leave as one who had been there from age 0 on, so until now it counts less than not at all. */
void hazard_enter_late(struct hazard *h, const struct hazard_lot *lot, uint32_t now)
{
	hazard_enter(h, lot);
	h->node[lot->node].censored[hazard_bin(now - lot->birth)] -= (int64_t)lot->weight * lot->nr;
}

void hazard_event(struct hazard *h, const struct hazard_lot *lot, uint32_t now)
{
	struct hazard_age age;

	hazard_age(h, lot->birth, now, &age);
	hazard_event_at(h, lot, &age);
}

void hazard_censor(struct hazard *h, const struct hazard_lot *lot, uint32_t now)
{
	struct hazard_node *n = &h->node[lot->node];
	const unsigned slot = slot_of(h, lot->birth);
	const int64_t weight = (int64_t)lot->weight * lot->nr;

	h->alive[slot][lot->node].weight -= weight;
	h->alive[slot][lot->node].blocks -= lot->nr;
	n->censored[hazard_bin(now - lot->birth)] += weight;
}

/* Level @l opens slot @now: what was there eight slots ago goes one level up. */
static void shift_level(struct hazard *h, uint32_t nr, unsigned l, uint32_t now)
{
	struct hazard_count *from = h->alive[l * HAZARD_SLOTS + (now & (HAZARD_SLOTS - 1))];
	struct hazard_count *to = h->alive[(l + 1) * HAZARD_SLOTS + ((now - HAZARD_SLOTS) >> 1 & (HAZARD_SLOTS - 1))];
	uint32_t i;

	for (i = 0; i < nr; i++) {
		to[i].weight += from[i].weight;
		to[i].blocks += from[i].blocks;
	}
	memset(from, 0, nr * sizeof(*from));
}

void hazard_advance(struct hazard *h, const struct class_tree *t, uint32_t now)
{
	const uint32_t end = now >> SLOT_SHIFT;
	unsigned l;

	if (h->slot_now >= end)
		return;
	hazard_settle(h);
	while (h->slot_now < end) {
		uint32_t s = ++h->slot_now;

		for (l = HAZARD_LEVELS - 1; l-- > 0;)
			if (!(s & ((1u << l) - 1)))
				shift_level(h, t->nr, l, s >> l);
	}
	find_bins(h);
}

void hazard_alive_weights(const struct hazard *h, uint16_t node, int64_t sums[HAZARD_BINS])
{
	for (unsigned i = 0; i < HAZARD_SLOTS_ALL; i++)
		if (h->bin_of_slot[i] < HAZARD_BINS)
			sums[h->bin_of_slot[i]] += h->alive[i][node].weight;
}

/* ---- estimate -------------------------------------------------------------------------------------- */

/* Whole numbers until the end, so exact in any order. */
static void sum_own(struct hazard *h, uint32_t nr)
{
	uint32_t i;
	unsigned s, b;

	for (i = 0; i < nr; i++)
		for (b = 0; b < HAZARD_BINS; b++)
			h->sum[i][b].leave = (double)h->node[i].censored[b];
	for (s = 0; s < HAZARD_SLOTS_ALL; s++)
		for (i = 0; i < nr && h->bin_of_slot[s] < HAZARD_BINS; i++)
			h->sum[i][h->bin_of_slot[s]].leave += (double)h->alive[s][i].weight;
	for (i = 0; i < nr; i++)
		for (b = 0; b < HAZARD_BINS; b++) {
			h->sum[i][b].events = (double)h->node[i].events[b].weight / UNIT_WEIGHT;
			h->sum[i][b].leave /= UNIT_WEIGHT;
		}
}

static void add_to_parent(struct hazard *h, uint32_t i, uint16_t parent)
{
	unsigned b;

	for (b = 0; b < HAZARD_BINS; b++) {
		h->sum[parent][b].events += h->sum[i][b].events;
		h->sum[parent][b].leave += h->sum[i][b].leave;
	}
}

/*
 * Requests at the parent's hazard @up that a class starts with in bin @b.  Past the first two minutes uses are
 * rare, and one by chance would outweigh eight requests many times: there, as many as bring one use.
 */
static double shrink_of(unsigned b, double up)
{
	const double one_use = 1 / up;

	if (b < COARSE_BINS || one_use < SHRINK)
		return SHRINK;
	return one_use < SHRINK_MAX ? one_use : SHRINK_MAX;
}

static double prior_of(unsigned b)
{
	return b < COARSE_BINS ? PRIOR : PRIOR / 2;
}

static void probabilities(struct hazard *h, uint32_t i, const double *parent)
{
	double later = 0;		/* who lived past the bin */
	unsigned b;

	for (b = HAZARD_BINS; b-- > 0;) {
		const double ev = h->sum[i][b].events, leave = h->sum[i][b].leave;
		/* Late entries may seem to have come at a greater age than they live: not less than the events. */
		const double all = later + ev + 0.5 * leave, risk = all > ev ? all : ev;
		const double up = parent ? parent[b] : prior_of(b);
		const double shrink = parent ? shrink_of(b, up) : SHRINK;

		h->prob[i][b] = (ev + shrink * up) / (risk + shrink);
		later += ev + leave;
	}
}

static void index_of(struct hazard *h, uint32_t i)
{
	struct stretch {
		double hits, time, live;
	} st[HAZARD_BINS];
	unsigned b, top = 0;

	for (b = HAZARD_BINS; b-- > 0;) {
		const double p = h->prob[i][b];
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
		memcpy(h->prob[h->nr_known], h->prob[up], sizeof(h->prob[0]));
	}
}

void hazard_estimate(struct hazard *h, const struct class_tree *t)
{
	uint32_t i;

	hazard_settle(h);
	sum_own(h, t->nr);
	for (i = t->nr; i-- > 1;)
		add_to_parent(h, i, t->parent[i]);
	for (i = 0; i < t->nr; i++) {
		probabilities(h, i, i ? h->prob[t->parent[i]] : NULL);
		index_of(h, i);
	}
	h->nr_known = t->nr;
}
