/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hazard.h - when blocks come back: hazards of reuse time by class and age, and the index made of them
 *
 * An access enters its class with a weight and leaves it by an event (used again) or censored (not seen
 * to its end: forgotten, dropped).  Those still inside count as exposed too; leaving them out would
 * make every class look as lively as its survivors.
 */
#ifndef POLICY_HAZARD_H
#define POLICY_HAZARD_H

#include <stddef.h>
#include <stdint.h>

#include "policy/class.h"

#define HAZARD_BINS 65u			/* of age: half octaves from half a second, quarters from two minutes, to six days */
#define HAZARD_LEVELS 18u
#define HAZARD_SLOTS 8u			/* of a level */
#define HAZARD_SLOTS_ALL (HAZARD_LEVELS * HAZARD_SLOTS)

/* Time in units of 2^24 ns: 32 bits last two years. */
static inline uint32_t hazard_time(uint64_t ns)
{
	return (uint32_t)(ns >> 24);
}

unsigned hazard_bin(uint32_t age);
/* Age at which a bin begins; up to HAZARD_BINS. */
double hazard_bin_low(unsigned b);

/* Blocks of one history: each counts as @weight, 65536 / blocks of its request. */
struct hazard_lot {
	uint32_t nr;
	uint16_t weight;
	uint16_t node;			/* of the class tree */
	uint32_t birth;			/* last use */
};

struct hazard_node {
	struct {
		int64_t weight;
		int64_t blocks;		/* since they were last asked for: shadow.h */
	} events[HAZARD_BINS];
	int64_t censored[HAZARD_BINS];	/* weights */
	struct {
		int64_t weight, blocks;
	} alive[HAZARD_SLOTS_ALL];	/* by time of entry, coarser with age */
};

struct hazard {
	uint32_t slot_now;		/* of level 0, as last advanced */
	uint8_t bin_of_slot[HAZARD_SLOTS_ALL];	/* of the ages there; HAZARD_BINS: nobody can be there */
	uint32_t nr_known;		/* nodes with an index */
	struct hazard_node node[CLASS_MAX];
	double index[CLASS_MAX][HAZARD_BINS];	/* Gittins: expected hits per unit of time held */
	double prob[CLASS_MAX][HAZARD_BINS];	/* of an event in the bin, having reached it */
	struct hazard_sum {
		double events, leave;
	} sum[CLASS_MAX][HAZARD_BINS];	/* scratch: a node with all below it */
};

void hazard_init(struct hazard *h);
/* Nobody is inside yet: the clock begins at @now. */
void hazard_start(struct hazard *h, uint32_t now);
void hazard_enter(struct hazard *h, const struct hazard_lot *lot);
/* At @now, from another class: of younger ages it tells nothing. */
void hazard_enter_late(struct hazard *h, const struct hazard_lot *lot, uint32_t now);
/* Where lots of one birth are counted, found once for all of them; until the next hazard_advance(). */
struct hazard_age {
	uint32_t birth;
	unsigned bin, slot;
};
void hazard_age(const struct hazard *h, uint32_t birth, uint32_t now, struct hazard_age *ret);
/* @lot of that age enters, or leaves by an event. */
static inline void hazard_enter_at(struct hazard *h, const struct hazard_lot *lot, const struct hazard_age *age)
{
	h->node[lot->node].alive[age->slot].weight += (int64_t)lot->weight * lot->nr;
	h->node[lot->node].alive[age->slot].blocks += lot->nr;
}
static inline void hazard_event_at(struct hazard *h, const struct hazard_lot *lot, const struct hazard_age *age)
{
	struct hazard_node *n = &h->node[lot->node];
	const int64_t weight = (int64_t)lot->weight * lot->nr;

	n->alive[age->slot].weight -= weight;
	n->alive[age->slot].blocks -= lot->nr;
	n->events[age->bin].weight += weight;
	n->events[age->bin].blocks += lot->nr;
}
void hazard_event(struct hazard *h, const struct hazard_lot *lot, uint32_t now);
void hazard_censor(struct hazard *h, const struct hazard_lot *lot, uint32_t now);
/* Add who is inside to @sums, by the bin of the age: weights, blocks. */
void hazard_alive_weights(const struct hazard *h, uint16_t node, int64_t sums[HAZARD_BINS]);
void hazard_alive_blocks(const struct hazard *h, uint16_t node, int64_t sums[HAZARD_BINS]);
/* Before anything enters or leaves at @now. */
void hazard_advance(struct hazard *h, const struct class_tree *t, uint32_t now);
/* Nodes that are new since the last estimate go by that of their parents. */
void hazard_adopt(struct hazard *h, const struct class_tree *t);
void hazard_estimate(struct hazard *h, const struct class_tree *t);

#endif
