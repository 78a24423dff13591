/* SPDX-License-Identifier: Apache-2.0 */
/* shadow.c - ages at which an order lets go, and how often that was right */
#include "policy/shadow.h"

#include <string.h>

#define RANK_SHIFT 48			/* sign and exponent, and 4 bits of the fraction */
#define RANK_MIN ((1023u - 56u) << 4)	/* 2^-56 */
#define KEEP (1 - 1.0 / 512)		/* of the counts, each period */
#define USES_MIN 5000.0			/* blocks, before anything is concluded */
#define MARGIN 1.02			/* of the live order: no going back and forth */
#define TRUST_BLOCKS 2000.0		/* hits that count as got when an order has not been live yet */

/* What is got of an order's hits, as far as that is not known yet. */
static const double trust[SHADOW_ARMS] = {
	[SHADOW_GIX] = 1, [SHADOW_USES] = 0.97, [SHADOW_ADMIT] = 0.97, [SHADOW_LRU] = 1,
};

uint32_t shadow_rank(double index)
{
	uint64_t bits;
	uint32_t r;

	memcpy(&bits, &index, sizeof(bits));
	r = (uint32_t)(bits >> RANK_SHIFT);
	if (r <= RANK_MIN)
		return 0;
	return r - RANK_MIN < RANKS ? r - RANK_MIN : RANKS - 1;
}

void shadow_init(struct shadow *s)
{
	memset(s, 0, sizeof(*s));
}

static double lru_index(unsigned bin)
{
	return 1 / (1 + hazard_bin_low(bin));
}

/* The node whose index blocks of @node go by. */
static uint16_t index_node(const struct shadow *s, enum shadow_arm arm, uint16_t node)
{
	const struct shadow_node *n = &s->node[node];

	return arm == SHADOW_USES ? node : arm == SHADOW_ADMIT && n->is_first ? 0 : n->plain;
}

double shadow_index(const struct shadow *s, enum shadow_arm arm, const struct hazard *h, uint16_t node, unsigned bin)
{
	return arm == SHADOW_LRU ? lru_index(bin) : h->index[index_node(s, arm, node)][bin];
}

void shadow_adopt(struct shadow *s, const struct class_tree *t, uint32_t from)
{
	for (; from < t->nr; from++) {
		const uint16_t up = t->parent[from];

		s->node[from] = s->node[up];
		s->node[from].plain = class_is_by_uses(t, from) ? up : (uint16_t)from;
		s->node[from].is_first = class_is_first(t, from);
	}
}

void shadow_use(struct shadow *s, uint16_t node, unsigned bin, uint32_t nr)
{
	const struct shadow_node *n = &s->node[node];

	if (!s->is_planned)
		return;
	s->uses += nr;
	for (unsigned a = 0; a < SHADOW_ARMS; a++)
		s->hits[a] += bin < n->hold[a] ? nr : bin < n->edge[a] ? nr * s->edge_share[a] : 0;
}

void shadow_use_all(struct shadow *s, struct hazard *h, const struct class_tree *t)
{
	for (uint32_t i = 0; i < t->nr; i++)
		for (unsigned b = 0; b < HAZARD_BINS; b++) {
			const int64_t nr = h->node[i].events[b].blocks;

			if (!nr)
				continue;
			shadow_use(s, (uint16_t)i, b, (uint32_t)nr);
			h->node[i].events[b].blocks = 0;
		}
}

/* The lowest rank that blocks of each node have had by the end of each bin. */
static void find_falls(struct shadow *s, const struct hazard *h, uint32_t nr)
{
	for (uint32_t i = 0; i <= nr; i++) {
		const bool is_lru = i == nr;
		uint16_t *f = s->fall[is_lru ? CLASS_MAX : i];
		uint32_t low = RANKS - 1;

		for (unsigned b = 0; b < HAZARD_BINS; b++) {
			const uint32_t r = shadow_rank(is_lru ? lru_index(b) : h->index[i][b]);

			low = r < low ? r : low;
			f[b] = (uint16_t)low;
		}
	}
}

static const uint16_t *fall_of(const struct shadow *s, enum shadow_arm arm, uint32_t node)
{
	return s->fall[arm == SHADOW_LRU ? CLASS_MAX : index_node(s, arm, (uint16_t)node)];
}

/* Whole numbers, so exact in any order. */
static void sum_blocks(struct shadow *s, const struct hazard *h, uint32_t nr, unsigned slot)
{
	const unsigned b = h->bin_of_slot[slot];

	for (uint32_t i = 0; i < nr && b < HAZARD_BINS; i++)
		for (unsigned a = 0; h->alive[slot][i].blocks && a < SHADOW_ARMS; a++)
			s->blocks[a][fall_of(s, a, i)[b]] += (double)h->alive[slot][i].blocks;
}

/* Return: the rank that @capacity cuts; *@ret_share of it is held. */
static uint32_t find_edge(const double *blocks, double capacity, double *ret_share)
{
	uint32_t r = RANKS - 1;

	for (; r > 0 && blocks[r] <= capacity; r--)
		capacity -= blocks[r];
	*ret_share = blocks[r] > capacity ? capacity / blocks[r] : 1;
	return r;
}

static void set_ages(struct shadow *s, enum shadow_arm a, uint32_t node, uint32_t edge)
{
	const uint16_t *f = fall_of(s, a, node);
	unsigned hold = 0, b;

	while (hold < HAZARD_BINS && f[hold] > edge)
		hold++;
	for (b = hold; b < HAZARD_BINS && f[b] == edge;)
		b++;
	s->node[node].hold[a] = (uint8_t)hold;
	s->node[node].edge[a] = (uint8_t)b;
}

void shadow_plan(struct shadow *s, const struct hazard *h, const struct class_tree *t, uint64_t capacity)
{
	memset(s->blocks, 0, sizeof(s->blocks));
	find_falls(s, h, t->nr);
	for (unsigned slot = 0; slot < HAZARD_SLOTS_ALL; slot++)
		sum_blocks(s, h, t->nr, slot);
	for (unsigned a = 0; a < SHADOW_ARMS; a++) {
		const uint32_t edge = find_edge(s->blocks[a], (double)capacity, &s->edge_share[a]);

		for (uint32_t i = 0; i < t->nr; i++)
			set_ages(s, a, i, edge);
	}
	s->is_planned = capacity != UINT32_MAX;
}

/* What the live order got, beside what was counted for it in the same period. */
static void judge_live(struct shadow *s)
{
	if (s->is_planned) {
		s->got[s->live] += (double)s->found;
		s->promised[s->live] += s->hits[s->live] - s->planned;
	}
	s->found = 0;
}

static double hits_of(const struct shadow *s, unsigned arm)
{
	return s->hits[arm] * (s->got[arm] + TRUST_BLOCKS * trust[arm]) / (s->promised[arm] + TRUST_BLOCKS);
}

void shadow_choose(struct shadow *s)
{
	double best;
	unsigned a;

	judge_live(s);
	best = MARGIN * hits_of(s, s->live);
	for (a = 0; a < SHADOW_ARMS && s->uses >= USES_MIN; a++)
		if (hits_of(s, a) > best) {
			best = hits_of(s, a);
			s->live = a;
		}
	s->uses *= KEEP;
	for (a = 0; a < SHADOW_ARMS; a++) {
		s->hits[a] *= KEEP;
		s->got[a] *= KEEP;
		s->promised[a] *= KEEP;
	}
	s->planned = s->hits[s->live];
}
